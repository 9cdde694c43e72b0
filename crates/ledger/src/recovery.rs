//! Opening for writing: what a crash may have left is mended here, and nothing else.

use std::path::{Path, PathBuf};

use crate::chain::Head;
use crate::error::{Damage, DamageKind, Failure, OpenError, ReadError};
use crate::files;
use crate::frame::FrameError;
use crate::head::{HeadFile, Slot};
use crate::ids::CommitNumber;
use crate::load::{self, Loaded};
use crate::segment::{self, Next, Segment};
use crate::storage::{Access, Storage, StorageFile, write_full};
use crate::view::{OpenSegment, Sealed};

/// What opening a ledger for writing found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Complete commits that the head file did not know yet; they are part of the ledger.
    pub beyond_head: u64,
    /// A torn tail that was cut off.
    pub cut: Option<Cut>,
    /// Slots of the head file that were torn.
    pub torn_slots: usize,
    /// Key indexes that were missing or damaged and were rebuilt, by the first commit of their segments.
    pub rebuilt_indexes: Vec<CommitNumber>,
}

/// A torn tail: bytes of a commit that was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment file.
    pub file: PathBuf,
    /// Where the cut bytes began.
    pub from: u64,
    /// Where they ended.
    pub to: u64,
    /// The file in which they are kept.
    pub kept_in: PathBuf,
}

/// A ledger that is ready for its writer.
pub(crate) struct Recovered {
    pub(crate) loaded: Loaded,
    pub(crate) head_file: HeadFile,
    pub(crate) slot: Slot,
    /// Length of the open segment's file; the bytes after its last commit are zero.
    pub(crate) allocated: u64,
    pub(crate) report: Recovery,
}

/// Mends and loads. The caller holds the lock.
pub(crate) fn recover(storage: &dyn Storage, dir: &Path) -> Result<Recovered, OpenError> {
    let names = storage.list(dir).map_err(Failure::of("list", dir))?;
    let Some(head_file) = HeadFile::open(storage, dir, Access::Write)? else {
        return Err(without_head(storage, dir, &names));
    };
    for name in names.iter().filter(|name| name.ends_with(files::TEMPORARY)) {
        let path = dir.join(name);
        storage.remove(&path).map_err(Failure::of("remove", &path))?;
    }
    let acknowledged = head_file.best()?;
    let torn_slots = head_file.slots()?.iter().filter(|slot| slot.is_err()).count();
    let mut report = Recovery { torn_slots, ..Recovery::default() };
    let mut loaded = load::load(storage, dir, &acknowledged, Access::Write)?;
    let mut head = acknowledged.head;
    let allocated = loop {
        let known = head.commit;
        let rest = read_beyond(&mut loaded.open, &mut head)?;
        let found = head.commit.get() - known.get();
        report.beyond_head += found;
        if found > 0 {
            make_durable(&loaded.open, found)?;
        }
        let Some(next) = loaded.later.first().copied() else {
            break mend_tail(storage, dir, &loaded.open, &head, &rest, &mut report)?;
        };
        if let Some(at) = segment::first_not_zero(&rest) {
            return Err(damaged_rest(&loaded.open.segment, &head, loaded.open.end, &rest, at));
        }
        loaded.later.remove(0);
        go_on(storage, dir, &mut loaded, &head, next, !rest.is_empty())?;
    };
    // A segment's name may not be durable if the crash came between its making and the sync of the folder.
    storage.sync_dir(dir).map_err(Failure::of("sync", dir))?;
    report.rebuilt_indexes = write_indexes(storage, dir, &loaded)?;
    let slot = slot_of(&loaded, &acknowledged, head);
    head_file.anchor(&slot)?;
    Ok(Recovered { loaded, head_file, slot, allocated, report })
}

/// Where the head's frame stands after recovery: in the open segment, or where the head file has it.
fn slot_of(loaded: &Loaded, acknowledged: &Slot, head: Head) -> Slot {
    if let Some(last) = loaded.open.commits.last() {
        let (start, end) = (u64::from(last.offset), loaded.open.end);
        return Slot { head, segment: loaded.open.segment.first, start, end };
    }
    let sealed = loaded.sealed.last().and_then(|sealed| {
        let commits = sealed.index().about.commits;
        let last = sealed.ask(|index| index.commit(commits - 1)).ok()?;
        let (start, end) = (u64::from(last.offset), sealed.len);
        Some(Slot { head, segment: sealed.segment.first, start, end })
    });
    sealed.unwrap_or(*acknowledged)
}

/// Adds the complete commits after the known end, and returns the bytes after them.
fn read_beyond(open: &mut OpenSegment, head: &mut Head) -> Result<Vec<u8>, OpenError> {
    let bytes = open.segment.read(open.end, open.segment.len()?)?;
    let mut at = 0;
    while let Next::Frame(frame) = segment::next(&bytes[at..]) {
        if let Err(broken) = head.check(frame.header()) {
            let damage = open.segment.damage(open.end, head, DamageKind::Chain(Box::new(broken)));
            return Err(damage.into());
        }
        *head = head.after(frame.header(), frame.hash());
        open.add(&frame);
        at += frame.bytes().len();
    }
    Ok(bytes[at..].to_vec())
}

/// After a failed sync the system may show bytes that are not on the disk, and not write them at the next sync.
/// So what was never acknowledged is written once more before anything relies on it. The same bytes go to the same
/// place: a crash in between leaves nothing worse than before.
fn make_durable(open: &OpenSegment, count: u64) -> Result<(), OpenError> {
    let first = open.commits.len() - count as usize;
    let from = u64::from(open.commits[first].offset);
    let bytes = open.segment.read(from, open.end)?;
    let path = &open.segment.path;
    write_full(&*open.segment.file, &bytes, from).map_err(Failure::of("write", path))?;
    open.segment.file.sync_data().map_err(Failure::of("sync", path))?;
    Ok(())
}

/// Looks at what follows the last complete commit of the ledger, and cuts a torn tail. Returns the file's length.
fn mend_tail(
    storage: &dyn Storage,
    dir: &Path,
    open: &OpenSegment,
    head: &Head,
    rest: &[u8],
    report: &mut Recovery,
) -> Result<u64, OpenError> {
    let to = open.end + rest.len() as u64;
    let Some(not_zero) = segment::first_not_zero(rest) else {
        return Ok(to);
    };
    let newer = matches!(segment::next(rest), Next::Bad(FrameError::Version { .. }));
    // One commit is in flight at a time. What is followed by a later one was durable once: it is damaged, not torn.
    if newer || segment::has_later_frame(rest, head.ledger, head.commit) {
        return Err(damaged_rest(&open.segment, head, open.end, rest, not_zero));
    }
    let kept_in = keep(storage, dir, head.commit.next(), open.end, rest)?;
    let path = &open.segment.path;
    open.segment.file.set_len(open.end).map_err(Failure::of("cut", path))?;
    open.segment.file.sync_data().map_err(Failure::of("sync", path))?;
    report.cut = Some(Cut { file: path.clone(), from: open.end, to, kept_in });
    Ok(open.end)
}

fn keep(
    storage: &dyn Storage,
    dir: &Path,
    commit: CommitNumber,
    offset: u64,
    bytes: &[u8],
) -> Result<PathBuf, OpenError> {
    let mut number = 1;
    let (path, file) = loop {
        let path = files::cut(dir, commit, offset, number);
        match storage.create(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Failure::of("create", &path)(error).into()),
        }
    };
    write_full(&*file, bytes, 0).map_err(Failure::of("write", &path))?;
    file.sync_data().map_err(Failure::of("sync", &path))?;
    storage.sync_dir(dir).map_err(Failure::of("sync", dir))?;
    Ok(path)
}

fn damaged_rest(segment: &Segment, head: &Head, end: u64, rest: &[u8], not_zero: usize) -> OpenError {
    match segment::next(rest) {
        Next::Bad(error) => {
            let (commit, position) = (head.commit.next(), head.next_position);
            segment.bad_frame(error, end, Some(commit), Some(position)).into()
        }
        Next::Zeros | Next::Frame(_) => segment.damage(end + not_zero as u64, head, DamageKind::NotZero).into(),
    }
}

/// Seals the open segment in memory and goes on with the next one on the disk.
fn go_on(
    storage: &dyn Storage,
    dir: &Path,
    loaded: &mut Loaded,
    head: &Head,
    next: CommitNumber,
    zeros: bool,
) -> Result<(), OpenError> {
    if zeros || loaded.open.commits.is_empty() {
        let segment = &loaded.open.segment;
        return Err(segment.damage(loaded.open.end, head, DamageKind::SegmentEnd).into());
    }
    let segment = Segment::open(storage, dir, next, Access::Write)?;
    load::check_continues(&segment, head)?;
    if segment.before != *head {
        return Err(segment.damage(0, head, DamageKind::SegmentOrder).into());
    }
    let sealed = std::mem::replace(&mut loaded.open, OpenSegment::new(segment));
    let (sealed, image) = load::load_sealed(storage, dir, sealed.segment.first, &sealed.segment.before)?;
    loaded.rebuilt.extend(image.map(|image| (sealed.segment.first, image)));
    loaded.sealed.push(Sealed::into_shared(sealed));
    Ok(())
}

fn write_indexes(storage: &dyn Storage, dir: &Path, loaded: &Loaded) -> Result<Vec<CommitNumber>, OpenError> {
    let mut written = Vec::new();
    for (first, image) in &loaded.rebuilt {
        // Without the file this ledger works as well, only slower to open: a full disk is no reason to stop here.
        if replace(storage, &files::index(dir, *first), image).is_ok() {
            written.push(*first);
        }
    }
    Ok(written)
}

/// Replaces a file as a whole: after a crash the old or the new content is there. The name is durable after the
/// folder's sync.
pub(crate) fn replace(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
) -> Result<std::sync::Arc<dyn StorageFile>, Failure> {
    let temporary = files::temporary(path);
    let made = create_synced(storage, &temporary, bytes).and_then(|file| {
        storage.rename(&temporary, path).map_err(Failure::of("rename", &temporary))?;
        Ok(file)
    });
    if made.is_err() {
        // What is left of it would be removed at the next opening; sooner is better on a full disk.
        let _ = storage.remove(&temporary);
    }
    made
}

pub(crate) fn create_synced(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
) -> Result<std::sync::Arc<dyn StorageFile>, Failure> {
    let file = match storage.create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            storage.remove(path).map_err(Failure::of("remove", path))?;
            storage.create(path)
        }
        other => other,
    }
    .map_err(Failure::of("create", path))?;
    write_full(&*file, bytes, 0).map_err(Failure::of("write", path))?;
    file.sync_data().map_err(Failure::of("sync", path))?;
    Ok(file)
}

/// Makes the head file of a new ledger.
pub(crate) fn replace_head(storage: &dyn Storage, dir: &Path, slot: &Slot) -> Result<(), Failure> {
    replace(storage, &dir.join(files::HEAD), &slot.encode().repeat(crate::head::SLOTS)).map(drop)
}

/// There is no head file: no ledger, one whose making was interrupted, or a damaged one.
pub(crate) fn without_head(storage: &dyn Storage, dir: &Path, names: &[String]) -> OpenError {
    match holds_commits(storage, dir, names) {
        Ok(false) => OpenError::NotFound { dir: dir.to_path_buf() },
        Ok(true) => OpenError::Damaged(Damage {
            file: dir.join(files::HEAD),
            offset: 0,
            commit: None,
            position: None,
            kind: DamageKind::Head,
        }),
        Err(error) => error.into(),
    }
}

/// Whether a folder without a head file holds more than the beginning of a ledger. The head file is made last, so an
/// interrupted creation leaves at most one segment without a commit.
pub(crate) fn holds_commits(storage: &dyn Storage, dir: &Path, names: &[String]) -> Result<bool, ReadError> {
    let segments = files::segments(names);
    let [first] = segments.as_slice() else {
        return Ok(!segments.is_empty());
    };
    if first.get() != 1 {
        return Ok(true);
    }
    let Ok(segment) = Segment::open(storage, dir, *first, Access::Read) else {
        return Ok(true);
    };
    let rest = segment.read(segment::SEGMENT_HEADER_BYTES as u64, segment.len()?)?;
    Ok(segment::first_not_zero(&rest).is_some())
}
