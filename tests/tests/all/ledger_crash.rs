//! The ledger on a disk that crashes at every operation and lies about syncs.
//!
//! The claim each time: what was acknowledged is recovered, what is recovered is a prefix of what was submitted, byte for
//! byte, and the ledger verifies afterwards and takes more.

use std::collections::HashSet;
use std::path::Path;

use lotline_ledger::{
    AppendError, CommitNumber, Entry, Key, LedgerId, Micros, OpenError, Options, Reader, VerifyOptions, Writer, verify,
};
use lotline_testkit::disk::{Crash, Draw, Fault, FaultyDisk};

const ID: LedgerId = LedgerId::new([9; 16]);
const DIR: &str = "/ledger";

/// One life of a ledger: what is appended when, and when it is closed and opened again.
struct Life {
    options: Options,
    /// Entries of each commit; `None` closes and opens the ledger.
    steps: Vec<Option<Vec<Entry>>>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let ahead_bytes = [0, 100, 700, 5_000][draw.below(4) as usize];
        let options = Options { segment_bytes: 1_024 + draw.below(1_500), ahead_bytes, epoch: None };
        let steps = (0..8 + draw.below(8))
            .map(|_| {
                if draw.below(7) == 0 {
                    return None;
                }
                let count = 1 + draw.below(3);
                Some((0..count).map(|_| entry(&mut draw)).collect())
            })
            .collect();
        Self { options, steps }
    }

    /// Lives on a disk until something fails. Gives the frames that were acknowledged.
    fn run(&self, disk: &FaultyDisk) -> Lived {
        let mut lived = Lived { created: false, acknowledged: 0 };
        let Ok(mut writer) = Writer::create(disk.shared(), DIR, ID, self.options) else {
            return lived;
        };
        lived.created = true;
        for step in &self.steps {
            let Some(entries) = step else {
                if writer.close().is_err() {
                    return lived;
                }
                let Ok(again) = Writer::open(disk.shared(), DIR, self.options) else {
                    return lived;
                };
                writer = again;
                continue;
            };
            if writer.append(Micros::new(1), entries).is_err() {
                // A writer that has failed once takes nothing more.
                let again = writer.append(Micros::new(1), entries);
                assert!(matches!(again, Err(AppendError::Poisoned(_))), "{again:?}");
                return lived;
            }
            lived.acknowledged += 1;
        }
        lived
    }

    /// The frames of an undisturbed life, and how many operations it takes.
    fn undisturbed(&self) -> (Vec<Vec<u8>>, u64) {
        let disk = FaultyDisk::new();
        let lived = self.run(&disk);
        let frames = frames(&disk);
        assert_eq!(lived.acknowledged, frames.len());
        (frames, disk.operations())
    }
}

struct Lived {
    created: bool,
    acknowledged: usize,
}

fn entry(draw: &mut Draw) -> Entry {
    let keys = (0..1 + draw.below(3)).map(|_| Key::new([draw.below(5) as u8; 16])).collect::<Vec<_>>();
    // Now and then larger than what a sector or a page would hold.
    let size = if draw.below(6) == 0 { draw.below(1_200) } else { draw.below(60) };
    let payload: Vec<u8> = (0..size).map(|_| draw.below(256) as u8).collect();
    Entry::new(keys, &payload).expect("within limits")
}

fn frames(disk: &FaultyDisk) -> Vec<Vec<u8>> {
    let reader = Reader::open(disk.shared(), DIR).expect("a ledger");
    reader.frames(CommitNumber::new(1)).map(|frame| frame.expect("sound").into_bytes()).collect()
}

/// What has to hold on a disk after a crash. Gives the number of recovered commits.
fn check(disk: &FaultyDisk, life: &Life, lived: &Lived, submitted: &[Vec<u8>]) -> usize {
    let mut writer = match Writer::open(disk.shared(), DIR, life.options) {
        Ok(writer) => writer,
        Err(OpenError::NotFound { .. }) if !lived.created => {
            Writer::create(disk.shared(), DIR, ID, life.options).expect("created after all")
        }
        Err(error) => panic!("not opened: {error}"),
    };
    let recovered = writer.head().commit.get() as usize;
    assert!(recovered >= lived.acknowledged, "{recovered} of {}", lived.acknowledged);
    assert!(recovered <= submitted.len());
    assert!(frames(disk) == submitted[..recovered], "not a prefix of what was submitted");
    let added = [Entry::new([Key::new([77; 16])], b"after the crash").expect("within limits")];
    let receipt = writer.append(Micros::new(5), &added).expect("takes more");
    assert_eq!(receipt.commit.get() as usize, recovered + 1);
    let reader = writer.reader();
    assert_eq!(reader.positions(&Key::new([77; 16])).expect("sound"), [receipt.first_position]);
    drop(writer);
    let verified = verify(&disk.shared(), DIR, VerifyOptions::default(), |_| {}).expect("sound");
    assert_eq!(verified.head.commit, receipt.commit);
    assert_eq!(verified.head.hash, receipt.hash);
    recovered
}

fn crashes(seed: u64) -> Vec<Crash> {
    let mixed = (0..5).map(|part| Crash::Mixed(seed.wrapping_mul(31).wrapping_add(part)));
    [Crash::Process, Crash::Lost, Crash::Kept].into_iter().chain(mixed).collect()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    let mut states = HashSet::new();
    let (mut cut, mut beyond) = (0, 0);
    for seed in 0..55 {
        let life = Life::new(seed);
        let (submitted, operations) = life.undisturbed();
        for operation in 0..operations {
            let disk = FaultyDisk::new();
            disk.plan(operation, Fault::Stop);
            let lived = life.run(&disk);
            for crash in crashes(seed * 1_000 + operation) {
                let after = disk.after(crash);
                if states.insert((seed, after.fingerprint(), lived.acknowledged)) {
                    let recovered = check(&after, &life, &lived, &submitted);
                    beyond += usize::from(recovered > lived.acknowledged);
                    cut += usize::from(after.paths().iter().any(|path| is_cut(path)));
                }
            }
        }
    }
    println!("{} distinct crash states, {cut} with a torn tail, {beyond} with more than acknowledged", states.len());
    assert!(states.len() >= 20_000, "only {} distinct crash states", states.len());
    assert!(cut > 500 && beyond > 500, "the crashes are too tame: {cut} cut, {beyond} beyond");
}

fn is_cut(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cut-"))
}

#[test]
fn a_crash_during_recovery_and_once_more_loses_nothing_acknowledged() {
    let mut states = HashSet::new();
    for seed in 100..112 {
        let life = Life::new(seed);
        let (submitted, operations) = life.undisturbed();
        for operation in (seed % 3..operations).step_by(3) {
            let disk = FaultyDisk::new();
            disk.plan(operation, Fault::Stop);
            let lived = life.run(&disk);
            let first = disk.after(Crash::Mixed(seed * 7 + operation));
            crash_in_recovery(&first, &life, &lived, &submitted, 2, &mut states);
        }
    }
    println!("{} distinct states after crashes during recovery", states.len());
    assert!(states.len() >= 5_000, "only {} distinct states", states.len());
}

/// Crashes at every operation of opening this disk, to a depth.
fn crash_in_recovery(
    disk: &FaultyDisk,
    life: &Life,
    lived: &Lived,
    submitted: &[Vec<u8>],
    depth: u64,
    states: &mut HashSet<u64>,
) {
    let whole = disk.image();
    drop(Writer::open(whole.shared(), DIR, life.options));
    for operation in 0..whole.operations() {
        let crashed = disk.image();
        crashed.plan(operation, Fault::Stop);
        Writer::open(crashed.shared(), DIR, life.options).expect_err("the disk has stopped");
        for crash in [Crash::Process, Crash::Lost, Crash::Mixed(operation), Crash::Mixed(depth)] {
            let after = crashed.after(crash);
            if !states.insert(after.fingerprint()) {
                continue;
            }
            if depth > 1 && operation % 4 == 1 {
                crash_in_recovery(&after, life, lived, submitted, depth - 1, states);
            }
            check(&after, life, lived, submitted);
        }
    }
}

#[test]
fn a_failed_sync_poisons_the_writer_and_reopening_does_not_believe_the_cache() {
    let mut failed = 0;
    for seed in 200..230 {
        let life = Life::new(seed);
        let (submitted, operations) = life.undisturbed();
        for operation in 0..operations {
            for fault in [Fault::SyncLost, Fault::SyncKept, Fault::WriteHalf] {
                let disk = FaultyDisk::new();
                disk.plan(operation, fault);
                let lived = life.run(&disk);
                if lived.acknowledged == submitted.len() {
                    // The operation was none that this fault concerns, or only a rebuildable file suffered.
                    continue;
                }
                failed += 1;
                for crash in crashes(seed + operation) {
                    check(&disk.after(crash), &life, &lived, &submitted);
                }
                // Without a crash in between: what the reopened ledger shows counts as acknowledged, so a power cut
                // after that must not take it away.
                let same = disk.after(Crash::Process);
                let Ok(writer) = Writer::open(same.shared(), DIR, life.options) else { continue };
                let shown = writer.head().commit.get() as usize;
                drop(writer);
                assert!(shown >= lived.acknowledged);
                let lived = Lived { created: true, acknowledged: shown };
                for crash in [Crash::Lost, Crash::Mixed(operation)] {
                    check(&same.after(crash), &life, &lived, &submitted);
                }
            }
        }
    }
    println!("{failed} lives with a failed write or sync");
    assert!(failed > 1_000, "only {failed} lives failed");
}

#[test]
fn short_writes_change_nothing() {
    for seed in 300..320 {
        let life = Life::new(seed);
        let (submitted, _) = life.undisturbed();
        let disk = FaultyDisk::new();
        disk.write_short(Some(40));
        let lived = life.run(&disk);
        assert_eq!(lived.acknowledged, submitted.len());
        assert!(frames(&disk) == submitted);
    }
}

#[test]
fn a_full_disk_refuses_and_the_ledger_goes_on_once_there_is_room() {
    let mut refusals = 0;
    for (seed, room) in (400..430).flat_map(|seed| [(seed, 150), (seed, 1_100), (seed, 2_600)]) {
        let life = Life::new(seed);
        let disk = FaultyDisk::new();
        let mut writer = Writer::create(disk.shared(), DIR, ID, life.options).expect("created");
        let mut draw = Draw::new(seed);
        let mut acknowledged = 0;
        disk.limit(Some(disk.used() + room));
        let error = loop {
            match writer.append(Micros::new(1), &[entry(&mut draw)]) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 1_000, "the disk never gets full");
        };
        assert!(matches!(error, AppendError::DiskFull(_)), "{error}");
        assert!(error.to_string().contains("disk is full"), "{error}");
        assert_eq!(frames(&disk).len(), acknowledged);
        // As full as before: refused again, and still not poisoned.
        let large = Entry::new([Key::new([1; 16])], &[0; 3_000]).expect("within limits");
        let again = writer.append(Micros::new(1), &[large]).expect_err("still full");
        assert!(matches!(again, AppendError::DiskFull(_)), "{again}");
        refusals += 1;
        let crashed = disk.after(Crash::Mixed(seed));
        crashed.limit(None);
        let reopened = Writer::open(crashed.shared(), DIR, life.options).expect("opened");
        assert_eq!(reopened.head().commit.get(), acknowledged as u64);
        disk.limit(None);
        for _ in 0..20 {
            writer.append(Micros::new(1), &[entry(&mut draw)]).expect("there is room");
        }
        drop(writer);
        let verified = verify(&disk.shared(), DIR, VerifyOptions::default(), |_| {}).expect("sound");
        assert_eq!(verified.head.commit.get(), acknowledged as u64 + 20);
    }
    assert_eq!(refusals, 90);
}

#[test]
fn a_torn_tail_is_cut_kept_aside_and_reported() {
    let disk = FaultyDisk::new();
    let options = Options { segment_bytes: 4_096, ahead_bytes: 1_000, epoch: None };
    let mut writer = Writer::create(disk.shared(), DIR, ID, options).expect("created");
    let mut draw = Draw::new(1);
    for _ in 0..3 {
        writer.append(Micros::new(1), &[entry(&mut draw)]).expect("appended");
    }
    drop(writer);
    let path = Path::new(DIR).join("segment-00000000000000000001.ledger");
    let mut bytes = disk.content(&path);
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("commits") as u64 + 1;
    bytes[end as usize..end as usize + 8].copy_from_slice(b"LTF1torn");
    disk.overwrite(&path, &bytes);
    let error = verify(&disk.shared(), DIR, VerifyOptions::default(), |_| {}).expect_err("torn");
    assert!(matches!(&error, OpenError::Damaged(damage) if damage.offset == end), "{error}");
    let writer = Writer::open(disk.shared(), DIR, options).expect("mended");
    let cut = writer.recovery().cut.clone().expect("reported");
    assert_eq!((cut.file.as_path(), cut.from, cut.to), (path.as_path(), end, bytes.len() as u64));
    assert_eq!(disk.content(&cut.kept_in), bytes[end as usize..]);
    assert_eq!(writer.head().commit.get(), 3);
}
