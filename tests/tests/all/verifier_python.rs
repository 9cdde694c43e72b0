//! The independent verifier in Python (`tests/verifier`), written from `schemas/ledger-format.md` alone, beside this
//! build's own: both must say the same of what this build writes, and name the same place in what was damaged since.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use lotline_ledger::{
    Damage, DamageKind, Entry, Frame, Key, KeyId, Keyring, LedgerId, Micros, OpenError, Options, OsStorage, Secret,
    Verified, VerifyOptions, Writer, verify,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::handler_plant::{accepted, create, line, observed, received};

const ID: LedgerId = LedgerId::new([9; 16]);
const COMMITS: u64 = 24;
const SEGMENT_HEADER: usize = 96;
const SLOT: usize = 512;

/// What the verifier says; `None`, with a word of it, where this machine has no Python (never in CI).
fn python(ledger: &Path) -> Option<Result<Value, Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verifier/verify_ledger.py");
    let mut command = Command::new("python3");
    // What one run compiles must not lie in the checkout.
    command.arg("-B").arg(script).arg(ledger).arg("--json");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have python3");
            println!("skipped: there is no python3");
            return None;
        }
        Err(error) => panic!("python3 could not be started: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {said}"));
    match output.status.code() {
        Some(0) => Some(Ok(answer)),
        Some(1) => Some(Err(answer["damage"].clone())),
        code => panic!("exit code {code:?}: {answer} {said}"),
    }
}

fn rust(ledger: &Path) -> Result<Verified, OpenError> {
    verify(&OsStorage::shared(), ledger, VerifyOptions::default(), |_| {})
}

/// A frame in its file.
struct Place {
    file: String,
    range: Range<usize>,
    commit: u64,
    positions: Range<u64>,
}

struct Ledger {
    folder: TempDir,
    /// Names of its segments, ascending.
    segments: Vec<String>,
    frames: Vec<Place>,
}

fn key(n: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Key::new(bytes)
}

/// Commit `n` has 1 to 4 events, each with 1 to 3 keys; some payloads are empty, some long.
fn entries(n: u64) -> Vec<Entry> {
    let entry = |i: u64| {
        let keys = (0..1 + (n + i) % 3).map(|k| key(n % 7 + 20 * k));
        let length = usize::try_from((n * 131 + i * 57) % 301).expect("below 301");
        let payload = vec![u8::try_from(n % 251).expect("below 251"); length];
        Entry::new(keys, payload.as_slice()).expect("within the limits")
    };
    (0..1 + n % 4).map(entry).collect()
}

/// Several segments, two writers, zeros ahead in the open segment unless it is closed, one key and one erased one.
fn ledger(closed: bool) -> Ledger {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let options = Options { segment_bytes: 4_000, ahead_bytes: 300, epoch: None };
    let mut writer = Writer::create(OsStorage::shared(), dir, ID, options).expect("a new ledger");
    for n in 1..=COMMITS {
        if n == COMMITS / 2 {
            writer.close().expect("closed");
            writer = Writer::open(OsStorage::shared(), dir, options).expect("opened");
        }
        let at = Micros::new(1_767_225_600_000_000 + i64::try_from(n).expect("few commits"));
        writer.append(at, &entries(n)).expect("a commit within the limits");
    }
    if closed {
        writer.close().expect("closed");
    } else {
        drop(writer);
    }
    let mut ring = Keyring::open(OsStorage::shared(), dir, ID).expect("none yet");
    let ids = [KeyId::new([0xaa; 16]), KeyId::new([0xbb; 16])];
    ring.insert(ids.map(|id| (id, Secret::new([0x11; 32]))), Micros::new(5)).expect("stored");
    ring.erase([ids[1]], Micros::new(6)).expect("erased");

    let mut segments: Vec<String> = names(dir).into_iter().filter(|name| name.ends_with(".ledger")).collect();
    segments.sort();
    let mut frames = Vec::new();
    for file in &segments {
        let bytes = std::fs::read(dir.join(file)).expect("a segment");
        let mut at = SEGMENT_HEADER;
        while bytes.get(at..at + 4) == Some(b"LTF1") {
            let length = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().expect("4 bytes")) as usize;
            let header = *Frame::decode(&bytes[at..at + length]).expect("sound").header();
            let first = header.first_position.get();
            let positions = first..first + u64::from(header.event_count);
            frames.push(Place { file: file.clone(), range: at..at + length, commit: header.number.get(), positions });
            at += length;
        }
    }
    assert_eq!(frames.len() as u64, COMMITS);
    assert!(segments.len() > 2, "several segments are wanted");
    Ledger { folder, segments, frames }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII names")).collect()
}

impl Ledger {
    /// A copy with a change.
    fn changed(&self, change: impl FnOnce(&Path)) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        for name in names(self.folder.path()) {
            std::fs::copy(self.folder.path().join(&name), copy.path().join(&name)).expect("copied");
        }
        change(copy.path());
        copy
    }

    fn frame(&self, commit: u64) -> &Place {
        self.frames.iter().find(|frame| frame.commit == commit).expect("a commit of it")
    }

    /// Both refuse the copy, at the same place; false where there is no Python.
    fn refused_by_both(&self, what: &str, change: impl FnOnce(&Path)) -> bool {
        let copy = self.changed(change);
        let mine = match rust(copy.path()) {
            Err(OpenError::Damaged(damage)) => damage,
            other => panic!("{what}: this build says {other:?}"),
        };
        let Some(theirs) = python(copy.path()) else { return false };
        let theirs = theirs.expect_err(what);
        self.check_same_place(what, &mine, &theirs);
        true
    }

    /// This build tells where the damaged thing starts, the other one the byte in it.
    fn check_same_place(&self, what: &str, mine: &Damage, theirs: &Value) {
        let both = format!("{what}\nthis build: {mine:?}\nPython: {theirs}");
        let file = mine.file.file_name().expect("a file").to_string_lossy();
        let number = |field: &str| theirs[field].as_u64();
        let commit = mine.commit.map(|commit| commit.get());
        match mine.kind {
            // What is not there has no place of its own: they name the file that tells of it, or its end.
            DamageKind::Cut { .. } | DamageKind::SegmentMissing => {
                assert_eq!(number("commit"), commit, "{both}");
                assert_eq!(number("position"), mine.position.map(|position| position.get()), "{both}");
                return;
            }
            DamageKind::Index | DamageKind::Keyring => {
                assert_eq!(theirs["file"], *file, "{both}");
                return;
            }
            _ => {}
        }
        assert_eq!(theirs["file"], *file, "{both}");
        assert_eq!(number("commit"), commit, "{both}");
        let offset = number("offset").expect("an offset");
        let place = commit.and_then(|commit| self.frames.iter().find(|frame| frame.commit == commit));
        match place {
            Some(place) if mine.offset >= SEGMENT_HEADER as u64 => {
                let length = place.range.len() as u64;
                assert!((mine.offset..=mine.offset + length).contains(&offset), "{both}");
                let position = number("position").expect("a position");
                assert_eq!(mine.position.map(|position| position.get()), Some(place.positions.start), "{both}");
                assert!((place.positions.start..=place.positions.end).contains(&position), "{both}");
            }
            _ if file == "head" => assert_eq!(offset / SLOT as u64, mine.offset / SLOT as u64, "{both}"),
            Some(_) => assert!(offset < SEGMENT_HEADER as u64, "{both}"),
            None => assert_eq!(offset, mine.offset, "{both}"),
        }
    }
}

fn rewrite(dir: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path: PathBuf = dir.join(name);
    let mut bytes = std::fs::read(&path).expect("a file");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

fn check_same_answer(dir: &Path) -> Option<Value> {
    let mine = rust(dir).expect("this build accepts it");
    let theirs = python(dir)?.expect("the other one accepts it");
    assert_eq!(theirs["ledger"], mine.head.ledger.to_string());
    assert_eq!(theirs["commits"], mine.head.commit.get());
    assert_eq!(theirs["events"], mine.head.next_position.get());
    assert_eq!(theirs["hash"], mine.head.hash.to_string());
    assert_eq!(theirs["epoch"], mine.head.epoch.get());
    assert_eq!(theirs["root"], mine.root.to_string());
    assert_eq!(theirs["segments"], mine.segments);
    assert_eq!(theirs["indexes"], mine.indexes);
    Some(theirs)
}

#[test]
fn python_and_this_build_say_the_same_of_what_the_writer_wrote() {
    for closed in [true, false] {
        let ledger = ledger(closed);
        let Some(theirs) = check_same_answer(ledger.folder.path()) else { return };
        assert_eq!(theirs["commits"], COMMITS);
        assert_eq!((&theirs["keys_present"], &theirs["keys_erased"]), (&Value::from(1), &Value::from(1)));
        assert_eq!(theirs["notes"], serde_json::json!([]), "every sealed segment has an index");
    }
}

#[test]
fn python_and_this_build_say_the_same_of_what_the_handler_wrote_with_a_sealed_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let handler = create(folder.path());
    accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "100"), "dock"))));
    // The second content of a conflict is kept, sealed.
    handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "120"), "dock"))).expect("answered");
    handler.close().expect("closed");
    let Some(theirs) = check_same_answer(folder.path()) else { return };
    assert!(theirs["keys_present"].as_u64().is_some_and(|keys| keys > 0), "{theirs}");
}

#[test]
fn an_empty_ledger_is_right_for_both() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(Writer::create(OsStorage::shared(), folder.path(), ID, Options::default()).expect("a new ledger"));
    if let Some(theirs) = check_same_answer(folder.path()) {
        assert_eq!((&theirs["commits"], &theirs["events"]), (&Value::from(0), &Value::from(0)));
    }
}

#[test]
fn a_flipped_bit_of_each_region_is_refused_by_both_at_the_same_place() {
    let ledger = ledger(false);
    let mut regions: Vec<(String, usize)> = Vec::new();
    for file in &ledger.segments {
        // Magic, version, id, first commit, position, time, hash and checksum of its header.
        regions.extend([0, 9, 20, 35, 43, 51, 80, 95].map(|at| (file.clone(), at)));
    }
    for commit in [1, COMMITS / 2, COMMITS] {
        let Place { file, range, .. } = ledger.frame(commit);
        // Magic, checksum, length, the commit's header field by field, an entry's length, keys, and its last byte.
        let within = [0, 5, 9, 11, 13, 20, 39, 47, 51, 59, 67, 80, 101, 105, 110];
        regions.extend(within.map(|at| (file.clone(), range.start + at)));
        regions.push((file.clone(), range.end - 1));
    }
    let last = ledger.frames.last().expect("commits");
    let zeros = std::fs::read(ledger.folder.path().join(&last.file)).expect("a segment").len();
    assert!(zeros > last.range.end + 12, "zeros ahead are wanted");
    regions.extend([last.range.end, last.range.end + 12, zeros - 1].map(|at| (last.file.clone(), at)));
    for slot in 0..3 {
        regions.extend([0, 10, 30, 70, 110, 300, 511].map(|at| ("head".to_owned(), slot * SLOT + at)));
    }
    regions.extend([0, 10, 20, 30, 40, 100, 155].map(|at| ("keyring".to_owned(), at)));
    let index = ledger.segments[0].replace(".ledger", ".index");
    regions.extend([0, 50, 4_090, 4_096, 8_192].map(|at| (index.clone(), at)));
    for (nth, (file, at)) in regions.iter().enumerate() {
        let bit = nth % 8;
        let flip = |dir: &Path| rewrite(dir, file, |bytes| bytes[*at] ^= 1 << bit);
        if !ledger.refused_by_both(&format!("bit {bit} of byte {at} of {file}"), flip) {
            return;
        }
    }
    println!("{} of {} flipped bits were refused by both at the same place", regions.len(), regions.len());
}

#[test]
fn removed_and_reordered_commits_and_an_inserted_byte_are_refused_by_both_at_the_same_place() {
    let ledger = ledger(true);
    let pair = ledger.frames.windows(2).find(|pair| pair[0].commit > 3 && pair[0].file == pair[1].file);
    let [one, two] = pair.expect("two commits in a segment") else { unreachable!("windows of two") };
    let remove = |dir: &Path| rewrite(dir, &one.file, |bytes| drop(bytes.drain(one.range.clone())));
    let reorder = |dir: &Path| {
        rewrite(dir, &one.file, |bytes| bytes[one.range.start..two.range.end].rotate_left(one.range.len()));
    };
    ledger.refused_by_both("a removed commit", remove);
    ledger.refused_by_both("two commits in the other order", reorder);
    for (what, at) in [("before a frame", one.range.start), ("within a frame", one.range.start + 150)] {
        let insert = |dir: &Path| rewrite(dir, &one.file, |bytes| bytes.insert(at, 7));
        ledger.refused_by_both(&format!("a byte inserted {what}"), insert);
    }
    for (nth, segment) in ledger.segments.iter().enumerate() {
        let remove = |dir: &Path| std::fs::remove_file(dir.join(segment)).expect("removed");
        ledger.refused_by_both(&format!("segment {nth} removed"), remove);
    }
    ledger.refused_by_both("no head file", |dir| std::fs::remove_file(dir.join("head")).expect("removed"));
    ledger.refused_by_both("a short head file", |dir| rewrite(dir, "head", |bytes| bytes.truncate(1_000)));
}

#[test]
fn cuts_are_refused_by_both_at_the_same_commit() {
    let ledger = ledger(true);
    let open = ledger.segments.last().expect("segments");
    for frame in ledger.frames.iter().filter(|frame| frame.file == *open) {
        for (what, length) in [
            ("at its start", frame.range.start),
            ("behind its twelfth byte", frame.range.start + 12),
            ("before its last byte", frame.range.end - 1),
        ] {
            let cut = |dir: &Path| rewrite(dir, open, |bytes| bytes.truncate(length));
            if !ledger.refused_by_both(&format!("cut {what}: commit {}", frame.commit), cut) {
                return;
            }
        }
    }
    // The same with zeros in place of what was cut off.
    let last = ledger.frame(COMMITS);
    let blank = |dir: &Path| rewrite(dir, open, |bytes| bytes[last.range.clone()].fill(0));
    ledger.refused_by_both("zeros in place of the last commit", blank);
}

/// They take most of a minute where Python hashes by itself, so only the long battery has them.
#[test]
fn the_verifiers_own_tests_pass() {
    if std::env::var_os("LOTLINE_FULL").is_none() {
        println!("skipped: LOTLINE_FULL is not set");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verifier/test_verifier.py");
    let output = Command::new("python3").arg("-B").arg(script).output().expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
