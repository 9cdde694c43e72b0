//! The format's test vectors: checked in, compared, and never made anew silently.
//!
//! For a new format version set `LOTLINE_NEW_VECTORS` to a folder that does not exist yet; this test then writes what it
//! would compare there, and fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lotline_ledger::{
    CommitNumber, Entry, Key, KeyId, Keyring, LedgerId, Micros, Options, OsStorage, Position, Reader, Secret, Tree,
    VerifyOptions, Writer, leaf_hash, verify,
};
use lotline_testkit::disk::FaultyDisk;
use serde_json::{Value, json};

const DIR: &str = "/ledger";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/ledger-vectors")
}

fn key(number: u8) -> Key {
    Key::new([number; 16])
}

fn entry(keys: &[u8], payload: &[u8]) -> Entry {
    Entry::new(keys.iter().map(|number| key(*number)), payload).expect("within limits")
}

/// The ledger of the vectors, written by this build.
fn build() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let id = LedgerId::new(std::array::from_fn(|at| at as u8));
    let options = Options { segment_bytes: 2_048, ahead_bytes: 200, epoch: None };
    let long: Vec<u8> = (0..3_000u32).map(|at| (at % 251) as u8).collect();
    let commits: [(i64, Vec<Entry>); 9] = [
        (1_767_225_600_000_000, vec![entry(&[1], b"first")]),
        (1_767_225_600_000_000, vec![entry(&[2, 1], b"same moment"), entry(&[3], b"")]),
        (1_767_225_599_000_000, vec![entry(&[9, 8, 7, 6, 5, 4, 3, 2, 1], b"clock went back")]),
        (1_767_225_601_000_000, (0..20).map(|n| entry(&[n + 1], &[n; 40])).collect()),
        (1_767_225_602_000_000, vec![entry(&[1, 2], &long)]),
        (1_767_225_603_000_000, vec![entry(&[255], b"\x00\xff"), entry(&[0], b"zero key")]),
        (1_767_225_604_000_000, vec![entry(&[1], "Käse, 1½ kg".as_bytes())]),
        (1_767_225_605_000_000, vec![entry(&[4], b"another writer"), entry(&[4], b"another writer")]),
        (1_767_225_606_000_000, vec![entry(&[5, 4], b"last")]),
    ];
    let mut writer = Writer::create(disk.shared(), DIR, id, options).expect("created");
    for (number, (now, entries)) in commits.iter().enumerate() {
        if number == 7 {
            writer.close().expect("closed");
            writer = Writer::open(disk.shared(), DIR, options).expect("opened");
        }
        writer.append(Micros::new(*now), entries).expect("appended");
    }
    drop(writer);
    let mut keyring = Keyring::open(disk.shared(), DIR, id).expect("none yet");
    let [present, erased] = [KeyId::new([0xaa; 16]), KeyId::new([0xbb; 16])];
    let new = [(present, Secret::new([0x11; 32])), (erased, Secret::new([0x22; 32]))];
    keyring.insert(new, Micros::new(1_767_225_600_000_000)).expect("stored");
    keyring.erase([erased], Micros::new(1_767_225_607_000_000)).expect("erased");
    disk
}

fn files(disk: &FaultyDisk) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    disk.paths().iter().map(|path| (name(path), disk.content(path))).collect()
}

/// What a verifier must find, told by this build's reader.
fn expected(disk: &FaultyDisk) -> Value {
    let reader = Reader::open(disk.shared(), DIR).expect("opened");
    let files = files(disk);
    let mut tree = Tree::new();
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut commits = Vec::new();
    for frame in reader.frames(CommitNumber::new(1)) {
        let frame = frame.expect("sound");
        let header = *frame.header();
        let mut events = Vec::new();
        for event in frame.events() {
            let leaf = leaf_hash(event.position(), header.recorded_at, event.hash());
            tree.push(leaf);
            for key in event.keys() {
                by_key.entry(key.to_string()).or_default().push(event.position().get());
            }
            events.push(json!({
                "position": event.position().get(),
                "event_hash": event.hash().to_string(),
                "leaf_hash": leaf.to_string(),
                "keys": event.keys().map(|key| key.to_string()).collect::<Vec<_>>(),
                "payload_bytes": event.payload().len(),
            }));
        }
        let (file, offset) = place(&files, frame.bytes());
        commits.push(json!({
            "number": header.number.get(),
            "file": file,
            "offset": offset,
            "length": frame.bytes().len(),
            "first_position": header.first_position.get(),
            "epoch": header.epoch.get(),
            "recorded_at": header.recorded_at.get(),
            "previous": header.previous.to_string(),
            "commit_hash": frame.hash().to_string(),
            "root_after": tree.root().to_string(),
            "events": events,
        }));
    }
    let head = reader.head();
    json!({
        "format_version": 1,
        "ledger": head.ledger.to_string(),
        "commits": commits,
        "head": {
            "commit": head.commit.get(),
            "hash": head.hash.to_string(),
            "next_position": head.next_position.get(),
            "recorded_at": head.recorded_at.get(),
            "epoch": head.epoch.get(),
        },
        "root": tree.root().to_string(),
        "positions_by_key": by_key,
    })
}

fn place(files: &BTreeMap<String, Vec<u8>>, frame: &[u8]) -> (String, usize) {
    files
        .iter()
        .filter(|(name, _)| name.ends_with(".ledger"))
        .find_map(|(name, bytes)| {
            let at = bytes.windows(frame.len()).position(|window| window == frame)?;
            Some((name.clone(), at))
        })
        .expect("a frame stands in a segment")
}

/// Changes that must be refused: in each kind of field of the second commit, in the other files, and cuts.
fn damaged(expected: &Value) -> Value {
    let second = &expected["commits"][1];
    let (file, offset) = (&second["file"], second["offset"].as_u64().expect("a number"));
    let fields = [
        ("magic", 0),
        ("checksum", 5),
        ("length", 11),
        ("version", 15),
        ("ledger id", 20),
        ("commit number", 39),
        ("first position", 47),
        ("event count", 51),
        ("epoch", 59),
        ("recorded_at", 67),
        ("previous hash", 80),
        ("entry length", 103),
        ("key count", 105),
        ("key", 110),
        ("payload", 140),
    ];
    let mut flips: Vec<Value> = fields
        .iter()
        .map(|(what, at)| json!({"what": what, "file": file, "offset": offset + at, "xor": 1, "commit": 2}))
        .collect();
    let last = expected["commits"].as_array().and_then(|commits| commits.last()).expect("commits");
    let end = last["offset"].as_u64().expect("a number") + last["length"].as_u64().expect("a number");
    let first = "segment-00000000000000000001.ledger";
    flips.extend([
        json!({"what": "segment header", "file": first, "offset": 60, "xor": 128, "commit": 1}),
        json!({"what": "zeros ahead", "file": last["file"], "offset": end + 50, "xor": 4, "commit": 10}),
        json!({"what": "head slot 0", "file": "head", "offset": 30, "xor": 1, "commit": null}),
        json!({"what": "head slot 1, zeros", "file": "head", "offset": 800, "xor": 1, "commit": null}),
        json!({"what": "head slot 2", "file": "head", "offset": 1535, "xor": 1, "commit": null}),
        json!({"what": "keyring", "file": "keyring", "offset": 70, "xor": 1, "commit": null}),
        json!({"what": "key index", "file": "segment-00000000000000000001.index", "offset": 5000, "xor": 1, "commit": null}),
    ]);
    let cuts = [
        json!({"what": "last commit cut off", "file": last["file"], "length": last["offset"], "commit": 9}),
        json!({"what": "last commit cut in the middle", "file": last["file"], "length": end - 10, "commit": 9}),
        json!({"what": "sealed segment cut", "file": first, "length": 96, "commit": 1}),
        json!({"what": "head file cut", "file": "head", "length": 1024, "commit": null}),
    ];
    json!({"flips": flips, "cuts": cuts})
}

fn write_new(new: &Path, files: &BTreeMap<String, Vec<u8>>, texts: &[(&str, &Value)]) {
    std::fs::create_dir(new).expect("a folder that does not exist yet");
    std::fs::create_dir(new.join("ledger")).expect("a new folder");
    for (name, bytes) in files {
        std::fs::write(new.join("ledger").join(name), bytes).expect("written");
    }
    for (name, value) in texts {
        let text = serde_json::to_string_pretty(value).expect("a JSON value has a text") + "\n";
        std::fs::write(new.join(name), text).expect("written");
    }
}

#[test]
fn this_build_writes_the_vectors_byte_by_byte() {
    let disk = build();
    let expected = expected(&disk);
    let texts = [("expected.json", &expected), ("damaged.json", &damaged(&expected))];
    if let Some(new) = std::env::var_os("LOTLINE_NEW_VECTORS").map(PathBuf::from) {
        write_new(&new, &files(&disk), &texts);
        panic!("new vectors are in {}: look at them, and unset LOTLINE_NEW_VECTORS", new.display());
    }
    for (name, bytes) in &files(&disk) {
        let vector = std::fs::read(folder().join("ledger").join(name)).expect("a checked-in vector");
        assert!(vector == *bytes, "{name} differs from what this build writes");
    }
    for (name, value) in texts {
        assert!(stored(name) == *value, "{name} differs from what this build reads");
    }
    let count = std::fs::read_dir(folder().join("ledger")).expect("a folder").count();
    assert_eq!(count, files(&disk).len(), "a file too many or too few in ledger-vectors/ledger");
}

/// A copy of the checked-in ledger that may be written to.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(folder().join("ledger")).expect("a folder") {
        let entry = entry.expect("a file");
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
    }
    dir
}

fn stored(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).expect("a checked-in vector");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_checked_in_ledger_verifies_to_the_expected_values() {
    let (dir, expected) = (copy(), stored("expected.json"));
    let verified = verify(&OsStorage::shared(), dir.path(), VerifyOptions::default(), |_| {}).expect("sound");
    assert_eq!(verified.root.to_string(), expected["root"].as_str().expect("text"));
    assert_eq!(verified.head.hash.to_string(), expected["head"]["hash"].as_str().expect("text"));
    assert!(verified.segments >= 3 && verified.missing_indexes.is_empty());
    let writer = Writer::open(OsStorage::shared(), dir.path(), Options::default()).expect("opened");
    let commits = expected["commits"].as_array().expect("a list");
    for commit in commits {
        let number = CommitNumber::new(commit["number"].as_u64().expect("a number"));
        let frame = writer.reader().frame(number).expect("sound").expect("there");
        assert_eq!(frame.hash().to_string(), commit["commit_hash"].as_str().expect("text"));
        let event = writer.reader().event(frame.header().first_position).expect("sound");
        let hash = event.expect("there").view().hash().to_string();
        assert_eq!(hash, commit["events"][0]["event_hash"].as_str().expect("text"));
    }
    for number in 0..10 {
        let found = writer.reader().positions(&key(number)).expect("sound");
        let found: Vec<u64> = found.into_iter().map(Position::get).collect();
        assert_eq!(json!(found), expected["positions_by_key"][key(number).to_string()]);
    }
}

#[test]
fn each_damaged_vector_is_refused_at_its_commit() {
    let damaged = stored("damaged.json");
    let list = |name: &str| damaged[name].as_array().expect("a list").clone();
    let all = [list("flips"), list("cuts")].concat();
    assert!(all.len() > 20);
    for change in all {
        let dir = copy();
        let path = dir.path().join(change["file"].as_str().expect("text"));
        let mut bytes = std::fs::read(&path).expect("read");
        if let Some(length) = change["length"].as_u64() {
            bytes.truncate(length as usize);
        } else {
            let at = change["offset"].as_u64().expect("a number") as usize;
            bytes[at] ^= change["xor"].as_u64().expect("a number") as u8;
        }
        std::fs::write(&path, bytes).expect("written");
        let error = verify(&OsStorage::shared(), dir.path(), VerifyOptions::default(), |_| {}).expect_err("refused");
        let lotline_ledger::OpenError::Damaged(found) = error else { panic!("{change}: {error}") };
        if let Some(commit) = change["commit"].as_u64() {
            assert_eq!(found.commit, Some(CommitNumber::new(commit)), "{change}: {found}");
        }
    }
}
