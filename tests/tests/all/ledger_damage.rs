//! Every change of a ledger's bytes is found, with its place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use lotline_ledger::{
    CommitNumber, Damage, DamageKind, Entry, Frame, Key, LedgerId, Micros, OpenError, Options, Position, Reader,
    VerifyOptions, Writer, verify,
};
use lotline_testkit::disk::{Draw, FaultyDisk};

const DIR: &str = "/ledger";
/// Bytes of a frame before the commit's header.
const PREFIX: usize = 12;

/// A frame in its file.
#[derive(Clone)]
struct Place {
    file: PathBuf,
    range: Range<usize>,
    commit: CommitNumber,
    first_position: Position,
}

struct Sample {
    disk: FaultyDisk,
    frames: Vec<Place>,
}

fn options() -> Options {
    Options { segment_bytes: 2_200, ahead_bytes: 300, epoch: None }
}

/// A ledger of 50 events in several segments, the last of which has zeros ahead.
fn sample() -> Sample {
    let disk = FaultyDisk::new();
    let id = LedgerId::new([5; 16]);
    let mut writer = Writer::create(disk.shared(), DIR, id, options()).expect("created");
    let mut draw = Draw::new(3);
    let mut left = 50;
    while left > 0 {
        let count = (1 + draw.below(4)).min(left);
        left -= count;
        let entries: Vec<Entry> = (0..count)
            .map(|_| {
                let payload: Vec<u8> = (0..draw.below(90)).map(|_| draw.below(256) as u8).collect();
                Entry::new([Key::new([draw.below(6) as u8; 16])], &payload).expect("within limits")
            })
            .collect();
        writer.append(Micros::new(1_000_000), &entries).expect("appended");
    }
    drop(writer);
    let mut frames = Vec::new();
    let mut number = CommitNumber::new(1);
    for file in segments(&disk) {
        let bytes = disk.content(&file);
        let mut at = 96;
        while bytes.get(at..at + 4) == Some(b"LTF1") {
            let length = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().expect("4 bytes"));
            let range = at..at + length as usize;
            let frame = Frame::decode(&bytes[range.clone()]).expect("sound");
            assert_eq!(frame.header().number, number);
            let (file, first_position) = (file.clone(), frame.header().first_position);
            at = range.end;
            frames.push(Place { file, range, commit: number, first_position });
            number = number.next();
        }
    }
    Sample { disk, frames }
}

fn segments(disk: &FaultyDisk) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|p| p.extension().is_some_and(|e| e == "ledger")).collect()
}

fn find(disk: &FaultyDisk) -> Result<(), OpenError> {
    verify(&disk.shared(), DIR, VerifyOptions::default(), |_| {}).map(drop)
}

fn damage(disk: &FaultyDisk) -> Damage {
    match find(disk) {
        Err(OpenError::Damaged(damage)) => damage,
        other => panic!("not found: {other:?}"),
    }
}

#[test]
fn the_sample_is_sound_and_has_what_the_other_tests_need() {
    let sample = sample();
    let verified = verify(&sample.disk.shared(), DIR, VerifyOptions::default(), |_| {}).expect("sound");
    assert_eq!(verified.head.next_position.get(), 50);
    assert!(verified.segments >= 3 && verified.indexes == verified.segments - 1);
    let last = segments(&sample.disk).pop().expect("segments");
    assert_eq!(sample.disk.content(&last).last(), Some(&0), "no zeros ahead");
}

#[test]
fn every_flipped_bit_is_found_and_located() {
    let sample = sample();
    let mut bits = 0;
    for path in sample.disk.paths() {
        let original = sample.disk.content(&path);
        for at in 0..original.len() {
            for bit in 0..8 {
                let mut flipped = original.clone();
                flipped[at] ^= 1 << bit;
                sample.disk.overwrite(&path, &flipped);
                let found = damage(&sample.disk);
                check_place(&sample, &path, at, &found);
                bits += 1;
            }
        }
        sample.disk.overwrite(&path, &original);
    }
    println!("{bits} bits flipped in {} files", sample.disk.paths().len());
    find(&sample.disk).expect("sound again");
}

/// The damage that was found at a flipped bit names the file and the thing that the bit is in.
fn check_place(sample: &Sample, path: &Path, at: usize, found: &Damage) {
    let what = format!("{}, byte {at}: {found}", path.display());
    assert_eq!(found.file, path, "{what}");
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    if name == "head" {
        assert_eq!(found.offset as usize, at / 512 * 512, "{what}");
        assert!(matches!(found.kind, DamageKind::HeadSlot { slot } if slot == at / 512), "{what}");
    } else if name.ends_with(".index") {
        assert_eq!((found.offset as usize, &found.kind), (at, &DamageKind::Index), "{what}");
    } else if at < 96 {
        assert_eq!((found.offset, &found.kind), (0, &DamageKind::SegmentHeader), "{what}");
    } else if let Some(frame) = sample.frames.iter().find(|frame| frame.file == path && frame.range.contains(&at)) {
        assert_eq!(found.offset as usize, frame.range.start, "{what}");
        assert_eq!(found.commit, Some(frame.commit), "{what}");
        assert_eq!(found.position, Some(frame.first_position), "{what}");
    } else {
        // The zeros ahead: located at the byte, or at their start if it is where a frame would begin.
        let end = sample.frames.last().expect("frames").range.end;
        let offset = found.offset as usize;
        assert!(at >= end && (offset == at || (offset == end && at < end + PREFIX)), "{what}");
    }
}

#[test]
fn opening_finds_every_flipped_bit_of_what_it_trusts_and_cuts_none_of_it() {
    let sample = sample();
    let last = segments(&sample.disk).pop().expect("segments");
    let original = sample.disk.content(&last);
    let end = sample.frames.last().expect("frames").range.end;
    for at in 0..end {
        let disk = sample.disk.image();
        let mut flipped = original.clone();
        flipped[at] ^= 1 << (at % 8);
        disk.overwrite(&last, &flipped);
        let error = Writer::open(disk.shared(), DIR, options()).expect_err("damaged");
        let OpenError::Damaged(found) = error else { panic!("byte {at}: {error}") };
        check_place(&sample, &last, at, &found);
        let error = Reader::open(disk.shared(), DIR).expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged(_)), "byte {at}: {error}");
        assert_eq!(disk.content(&last), flipped, "opening has changed a damaged ledger");
    }
}

/// Writes the ledger's frames anew, as an attacker would who can compute checksums but not hashes.
fn rewrite(sample: &Sample, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> FaultyDisk {
    let disk = sample.disk.image();
    let last = segments(&disk).pop().expect("segments");
    let bytes = disk.content(&last);
    let inside = sample.frames.iter().filter(|frame| frame.file == last);
    let mut frames: Vec<Vec<u8>> = inside.map(|frame| bytes[frame.range.clone()].to_vec()).collect();
    change(&mut frames);
    let mut changed = bytes[..96].to_vec();
    for frame in &mut frames {
        let checksum = crc32(&frame[8..]);
        frame[4..8].copy_from_slice(&checksum.to_be_bytes());
        changed.extend_from_slice(frame);
    }
    changed.resize(changed.len().max(bytes.len()), 0);
    disk.overwrite(&last, &changed);
    disk
}

/// The checksum by its definition, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn inserted_deleted_reordered_and_edited_commits_are_found() {
    let sample = sample();
    let last = segments(&sample.disk).pop().expect("segments");
    let first = sample.frames.iter().find(|frame| frame.file == last).expect("frames").commit;
    let count = sample.frames.iter().filter(|frame| frame.file == last).count();
    assert!(count >= 3, "only {count} commits in the last segment");
    type Change = fn(&mut Vec<Vec<u8>>);
    // What is done to the commits of the last segment, and the first commit (from 0) that cannot stand then.
    let changes: [(&str, Change, u64); 8] = [
        ("deleted", |frames| drop(frames.remove(1)), 1),
        ("first deleted", |frames| drop(frames.remove(0)), 0),
        ("reordered", |frames| frames.swap(0, 1), 0),
        ("inserted again", |frames| frames.insert(2, frames[1].clone()), 2),
        ("other time", |frames| frames[0][PREFIX + 55] ^= 0x80, 1),
        ("other epoch", |frames| frames[0][PREFIX + 47] ^= 2, 1),
        ("other payload", |frames| *frames[0].last_mut().expect("bytes") ^= 1, 1),
        ("other key", |frames| frames[0][100 + 4 + 2 + 15] ^= 1, 1),
    ];
    for (what, change, at) in changes {
        let found = damage(&rewrite(&sample, change));
        assert_eq!(found.file, last, "{what}: {found}");
        assert_eq!(found.commit, Some(first.plus(at)), "{what}: {found}");
        assert!(matches!(found.kind, DamageKind::Chain(_)), "{what}: {found}");
    }
    find(&rewrite(&sample, |_| {})).expect("rewriting alone changes nothing");
}

#[test]
fn an_edit_of_the_last_commit_contradicts_the_head_file() {
    let sample = sample();
    let disk = rewrite(&sample, |frames| {
        *frames.last_mut().expect("frames").last_mut().expect("bytes") ^= 1;
    });
    let found = damage(&disk);
    assert!(matches!(found.kind, DamageKind::HeadDiffers { .. }), "{found}");
    let error = Writer::open(disk.shared(), DIR, options()).expect_err("differs");
    assert!(error.to_string().contains("does not agree"), "{error}");
}

#[test]
fn a_cut_at_a_commit_boundary_is_found_by_the_head_file() {
    let sample = sample();
    let last = segments(&sample.disk).pop().expect("segments");
    let bytes = sample.disk.content(&last);
    for frame in sample.frames.iter().filter(|frame| frame.file == last) {
        // Cut short, and overwritten with zeros.
        let zeroed = [&bytes[..frame.range.start], &vec![0; bytes.len() - frame.range.start]];
        for cut in [bytes[..frame.range.start].to_vec(), zeroed.concat()] {
            let disk = sample.disk.image();
            disk.overwrite(&last, &cut);
            let found = damage(&disk);
            assert_eq!(found.commit, Some(frame.commit), "{found}");
            assert_eq!(found.position, Some(frame.first_position), "{found}");
            assert_eq!(found.kind, DamageKind::Cut { commit: frame.commit }, "{found}");
            let error = Writer::open(disk.shared(), DIR, options()).expect_err("cut");
            assert!(error.to_string().contains("the ledger was cut"), "{error}");
        }
    }
}

#[test]
fn a_missing_file_is_found() {
    let sample = sample();
    for path in sample.disk.paths() {
        let disk = sample.disk.image();
        disk.shared().remove(&path).expect("removed");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".index") {
            let verified = verify(&disk.shared(), DIR, VerifyOptions::default(), |_| {}).expect("sound");
            assert_eq!(verified.missing_indexes, std::slice::from_ref(&path));
            let writer = Writer::open(disk.shared(), DIR, options()).expect("rebuilt");
            assert_eq!(writer.recovery().rebuilt_indexes.len(), 1);
            assert_eq!(disk.content(&path), sample.disk.content(&path));
            continue;
        }
        let found = damage(&disk);
        let expected = match name.as_str() {
            "head" => DamageKind::Head,
            _ if Some(&path) == segments(&sample.disk).last() => {
                let first = sample.frames.iter().find(|frame| frame.file == path);
                DamageKind::Cut { commit: first.expect("frames").commit }
            }
            _ => DamageKind::SegmentMissing,
        };
        assert_eq!(found.kind, expected, "{name}: {found}");
        let error = Writer::open(disk.shared(), DIR, options()).expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged(_)), "{name}: {error}");
    }
}

#[test]
fn a_damaged_index_is_replaced_and_never_answers_wrongly() {
    let sample = sample();
    let keys: Vec<Key> = (0..7).map(|number| Key::new([number; 16])).collect();
    let answers = |disk: &FaultyDisk| -> Vec<Vec<Position>> {
        let reader = Reader::open(disk.shared(), DIR).expect("opened");
        keys.iter().map(|key| reader.positions(key).expect("sound")).collect()
    };
    let right = answers(&sample.disk);
    assert_eq!(right.iter().map(Vec::len).sum::<usize>(), 50);
    for path in sample.disk.paths() {
        if path.extension().is_none_or(|extension| extension != "index") {
            continue;
        }
        let original = sample.disk.content(&path);
        for at in (0..original.len()).step_by(97) {
            let disk = sample.disk.image();
            let mut flipped = original.clone();
            flipped[at] ^= 0x10;
            disk.overwrite(&path, &flipped);
            assert!(answers(&disk) == right, "byte {at}");
        }
    }
}

#[test]
fn a_newer_format_is_named_and_not_taken_for_damage() {
    let sample = sample();
    let disk = rewrite(&sample, |frames| frames[0][PREFIX + 3] = 2);
    for error in
        [find(&disk).expect_err("newer"), Writer::open(disk.shared(), DIR, options()).map(drop).expect_err("newer")]
    {
        let OpenError::NewerFormat(newer) = &error else { panic!("{error}") };
        assert_eq!((newer.found, newer.known), (2, 1));
        assert!(error.to_string().contains("format version 2"), "{error}");
    }
}

#[test]
fn damage_beyond_the_head_that_a_later_commit_follows_is_not_taken_for_a_torn_tail() {
    // A power cut has lost the newest slots of the head file: it names an older commit.
    let disk = FaultyDisk::new();
    let id = LedgerId::new([5; 16]);
    let options = Options { segment_bytes: 100_000, ..options() };
    let mut writer = Writer::create(disk.shared(), DIR, id, options).expect("created");
    let head = Path::new(DIR).join("head");
    let old = disk.content(&head);
    for number in 0..3 {
        let entry = Entry::new([Key::new([number; 16])], b"payload").expect("within limits");
        writer.append(Micros::new(1), &[entry]).expect("appended");
    }
    drop(writer);
    disk.overwrite(&head, &old);
    let path = segments(&disk).pop().expect("a segment");
    let bytes = disk.content(&path);
    for (at, torn) in [(110, false), (96 + 130, false), (96 + 2 * 129 + 5, true)] {
        let damaged = disk.image();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        damaged.overwrite(&path, &flipped);
        match Writer::open(damaged.shared(), DIR, options) {
            Ok(writer) => {
                assert!(torn, "byte {at}");
                assert_eq!(writer.head().commit.get(), 2);
                assert_eq!(writer.recovery().beyond_head, 2);
            }
            Err(error) => assert!(!torn && matches!(error, OpenError::Damaged(_)), "{error}"),
        }
    }
}
