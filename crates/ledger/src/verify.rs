//! Proving or refuting a whole ledger: every byte is read, every hash computed.
//!
//! Frames are checked and hashed in parallel, for neither events nor commits need anything from each other to be hashed;
//! only the comparison of each previous hash, and the top of the tree, go one by one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::chain::Head;
use crate::error::{Damage, DamageKind, Failure, NewerFormat, OpenError, ReadError};
use crate::files;
use crate::frame::{CommitHeader, Frame, FrameError};
use crate::hash;
use crate::head::{HeadFile, SLOT_BYTES, SLOTS, Slot, SlotError};
use crate::ids::{CommitHash, CommitNumber, Position};
use crate::index::Pair;
use crate::keyring;
use crate::segment::{self, SEGMENT_HEADER_BYTES, Segment};
use crate::storage::{Access, LockError, LockGuard, Storage, read_range};
use crate::tree::{self, Tree, TreeHash};
use crate::view::{self, Content};
use crate::{FORMAT_VERSION, frame};

/// What to verify besides the commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Build each key index again and compare it with its file. They can be rebuilt, so their damage loses nothing.
    pub indexes: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { indexes: true }
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last commit proven so far.
    pub head: Head,
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes of all segments when it began.
    pub total_bytes: u64,
}

/// What a verification has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The last commit; its number is the number of commits, its next position the number of events.
    pub head: Head,
    /// Root of the tree over all events.
    pub root: TreeHash,
    /// Segment files read.
    pub segments: usize,
    /// Key index files compared.
    pub indexes: usize,
    /// Key index files that are missing: they will be rebuilt, nothing is lost.
    pub missing_indexes: Vec<PathBuf>,
    /// Complete commits after the one that the head file names.
    pub beyond_head: u64,
    /// Whether a writer was at work, so that only what the head file named was verified, and not what follows.
    pub beside_writer: bool,
    /// Whether there is a keyring; without one nothing that was sealed can be read.
    pub keyring: bool,
}

/// Verifies the ledger in a folder and calls `progress` now and then. Changes nothing but for taking the writer's lock
/// meanwhile; if a writer has it, what follows the acknowledged head is left out, and the answer says so.
///
/// # Errors
/// [`OpenError::Damaged`] with the first damage and its place; [`OpenError::NotFound`] if there is no ledger.
pub fn verify(
    storage: &Arc<dyn Storage>,
    dir: impl AsRef<Path>,
    options: VerifyOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Verified, OpenError> {
    let dir = dir.as_ref();
    let names = match storage.list(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(OpenError::NotFound { dir: dir.to_path_buf() });
        }
        other => other.map_err(Failure::of("list", dir))?,
    };
    let segments = files::segments(&names);
    if segments.is_empty() && !names.iter().any(|name| name == files::HEAD) {
        return Err(OpenError::NotFound { dir: dir.to_path_buf() });
    }
    // Held to the end: nobody writes while this reads. A folder that cannot be written has no writer to keep out.
    let lock: Result<Box<dyn LockGuard>, LockError> = storage.lock(&dir.join(files::LOCK));
    let beside_writer = matches!(lock, Err(LockError::Busy));
    let (slots, damaged_slot) = read_slots(&**storage, dir, beside_writer)?;
    let best = *slots.iter().max_by_key(|slot| slot.head.commit).ok_or_else(|| no_head(dir))?;
    let mut check = Check::new(storage, dir, options, slots, best, beside_writer);
    check.damaged_slot = damaged_slot;
    // A writer may have gone on since the names were listed; what it added lies beyond the head.
    let segments: Vec<CommitNumber> =
        if beside_writer { segments.into_iter().filter(|first| *first <= best.segment).collect() } else { segments };
    for first in &segments {
        let path = files::segment(dir, *first);
        let file = storage.open(&path, Access::Read).map_err(Failure::of("open", &path))?;
        check.total_bytes += file.len().map_err(Failure::of("look at", &path))?;
    }
    if segments.is_empty() {
        return Err(check.missing(CommitNumber::new(1)).into());
    }
    for (at, first) in segments.iter().enumerate() {
        if let Err(damaged) = check.segment(*first, at + 1 == segments.len(), &mut progress) {
            progress(check.progress());
            check.await_index();
            return Err(damaged);
        }
    }
    check.finish(segments.len())
}

fn no_head(dir: &Path) -> ReadError {
    ReadError::Damaged(head_damage(dir, 0, DamageKind::Head))
}

fn head_damage(dir: &Path, offset: usize, kind: DamageKind) -> Damage {
    Damage { file: dir.join(files::HEAD), offset: offset as u64, commit: None, position: None, kind }
}

/// The valid slots of the head file, and the first one that is not. Beside a writer one may be half written; the others
/// count then.
fn read_slots(
    storage: &dyn Storage,
    dir: &Path,
    beside_writer: bool,
) -> Result<(Vec<Slot>, Option<Damage>), ReadError> {
    let file = HeadFile::open(storage, dir, Access::Read)?.ok_or_else(|| no_head(dir))?;
    let mut slots = Vec::new();
    let mut damaged = None;
    for (number, slot) in file.slots()?.into_iter().enumerate() {
        let offset = number * SLOT_BYTES;
        match slot {
            Ok(slot) => slots.push(slot),
            Err(SlotError::Damaged) if beside_writer => {}
            Err(SlotError::Damaged) => {
                damaged = damaged.or_else(|| Some(head_damage(dir, offset, DamageKind::HeadSlot { slot: number })));
            }
            Err(SlotError::Version(found)) => {
                return Err(ReadError::NewerFormat(NewerFormat {
                    file: dir.join(files::HEAD),
                    offset: offset as u64,
                    found,
                    known: FORMAT_VERSION,
                }));
            }
        }
    }
    if file.len()? == (SLOTS * SLOT_BYTES) as u64 {
        Ok((slots, damaged))
    } else {
        Err(damaged.unwrap_or_else(|| head_damage(dir, SLOTS * SLOT_BYTES, DamageKind::Head)).into())
    }
}

struct Check<'a> {
    storage: &'a Arc<dyn Storage>,
    dir: &'a Path,
    options: VerifyOptions,
    /// Slots of the head file whose commits have not come yet.
    slots: Vec<Slot>,
    /// A slot that is damaged, told once the chain has turned out to be whole.
    damaged_slot: Option<Damage>,
    best: Slot,
    beside_writer: bool,
    head: Head,
    tree: Tree,
    /// Leaves that do not fill a part of the tree yet.
    leaves: Vec<TreeHash>,
    bytes: u64,
    total_bytes: u64,
    /// Room for the portion that is proven, and for the one that is read meanwhile.
    buffers: [Vec<u8>; 2],
    /// What the index of the segment at work has to tell, where it is to be compared.
    content: Option<Content>,
    /// The index of the segment before, which is compared meanwhile.
    compared: Option<mpsc::Receiver<Result<Option<PathBuf>, OpenError>>>,
    /// How the indexes have turned out: there, missing, or damaged. Damage of the chain is told first.
    indexes: Vec<Result<Option<PathBuf>, OpenError>>,
}

/// A frame that was checked for itself.
struct Proven {
    header: CommitHeader,
    hash: CommitHash,
    bytes: u64,
    leaves: Vec<TreeHash>,
    /// Its part of the key index, if that was asked for.
    pairs: Vec<Pair>,
}

/// Frames are handed to the threads in portions of about this many bytes.
const PORTION_BYTES: u64 = 16 << 20;
/// Less than this is not worth waking other threads for.
const ALONE_BYTES: usize = 64 << 10;
/// Complete subtrees of this many leaves are hashed in parallel.
const PART_LEAVES: usize = 1024;

impl<'a> Check<'a> {
    fn new(
        storage: &'a Arc<dyn Storage>,
        dir: &'a Path,
        options: VerifyOptions,
        slots: Vec<Slot>,
        best: Slot,
        beside_writer: bool,
    ) -> Self {
        let mut check = Self {
            storage,
            dir,
            options,
            slots,
            damaged_slot: None,
            best,
            beside_writer,
            head: Head::empty(best.head.ledger),
            tree: Tree::new(),
            leaves: Vec::new(),
            bytes: 0,
            total_bytes: 0,
            buffers: [const { Vec::new() }; 2],
            content: None,
            compared: None,
            indexes: Vec::new(),
        };
        check.slots.retain(|slot| *slot != Slot::empty(check.head.ledger));
        check
    }

    fn progress(&self) -> Progress {
        Progress { head: self.head, bytes: self.bytes, total_bytes: self.total_bytes }
    }

    fn segment(
        &mut self,
        first: CommitNumber,
        last: bool,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), OpenError> {
        if first > self.head.commit.next() {
            return Err(self.missing(self.head.commit.next()).into());
        }
        let segment = Segment::open(&**self.storage, self.dir, first, Access::Read)?;
        if segment.before != self.head {
            return Err(segment.damage(0, &self.head, DamageKind::SegmentOrder).into());
        }
        let len = segment.len()?;
        let live = self.beside_writer && first == self.best.segment;
        let upto = if live { self.best.end } else { len };
        let mut at = SEGMENT_HEADER_BYTES as u64;
        self.content = (!last && self.options.indexes).then(Content::default);
        let pairs_from = self.content.as_ref().map(|_| segment.before.next_position);
        let [mut bytes, mut behind] = std::mem::take(&mut self.buffers);
        segment.read_into(&mut bytes, at, upto.min(at + PORTION_BYTES))?;
        loop {
            let frames = complete_frames(&bytes);
            let end = at + frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
            let mut read_on = || segment.read_into(&mut behind, end, upto.min(end + PORTION_BYTES));
            let (proven, read) = if bytes.len() < ALONE_BYTES {
                (frames.iter().map(|frame| prove(frame, pairs_from)).collect(), read_on())
            } else {
                rayon::join(|| prove_all(&frames, bytes.len(), pairs_from), read_on)
            };
            self.portion(&segment, first, at, proven)?;
            self.bytes += end - at;
            progress(self.progress());
            if end == at {
                break;
            }
            read?;
            std::mem::swap(&mut bytes, &mut behind);
            at = end;
        }
        self.buffers = [bytes, behind];
        self.end_of_segment(&segment, at, upto, last)?;
        if let Some(content) = self.content.take() {
            self.compare_index(segment, len, content);
        }
        Ok(())
    }

    /// Compares the index of a segment that is proven, beside what is proven next, once that of the one before is done.
    fn compare_index(&mut self, segment: Segment, len: u64, content: Content) {
        self.await_index();
        let (storage, dir, head) = (Arc::clone(self.storage), self.dir.to_path_buf(), self.head);
        let check = move || check_index(&*storage, &dir, &segment, len, content, &head);
        if len < ALONE_BYTES as u64 {
            self.indexes.push(check());
        } else {
            let (done, compared) = mpsc::sync_channel(1);
            // It is waited for, whatever becomes of the verification.
            rayon::spawn(move || drop(done.send(check())));
            self.compared = Some(compared);
        }
    }

    /// Takes in how the index that is compared has turned out.
    fn await_index(&mut self) {
        if let Some(compared) = self.compared.take() {
            self.indexes.push(compared.recv().expect("the comparison does not panic"));
        }
    }

    /// Follows the chain over proven frames, the first of which stands at `at`.
    fn portion(
        &mut self,
        segment: &Segment,
        first: CommitNumber,
        mut at: u64,
        proven: Vec<Result<Proven, FrameError>>,
    ) -> Result<(), OpenError> {
        for one in proven {
            let one = one.map_err(|error| self.bad_frame(segment, error, at))?;
            if let Err(broken) = self.head.check(&one.header) {
                return Err(segment.damage(at, &self.head, DamageKind::Chain(Box::new(broken))).into());
            }
            self.head = self.head.after(&one.header, one.hash);
            if let Some(content) = &mut self.content {
                content.add(segment, at, &one.header, one.pairs);
            }
            self.leaves.extend(one.leaves);
            self.check_slots(first, at, at + one.bytes)?;
            at += one.bytes;
        }
        self.grow_tree();
        Ok(())
    }

    fn bad_frame(&self, segment: &Segment, error: FrameError, at: u64) -> ReadError {
        let (commit, position) = (self.head.commit.next(), self.head.next_position);
        segment.bad_frame(error, at, Some(commit), Some(position))
    }

    /// Whether the slots that name the commit just proven, which stands at `start..end`, agree with it.
    fn check_slots(&mut self, first: CommitNumber, start: u64, end: u64) -> Result<(), Damage> {
        if self.slots.iter().all(|slot| slot.head.commit != self.head.commit) {
            return Ok(());
        }
        let right = Slot { head: self.head, segment: first, start, end };
        let differs = |slot: &Slot| slot.head.commit == right.head.commit && *slot != right;
        if self.slots.iter().any(differs) {
            let kind = DamageKind::HeadDiffers { head: right.head.commit };
            return Err(head_damage(self.dir, 0, kind));
        }
        self.slots.retain(|slot| *slot != right);
        Ok(())
    }

    /// What stands after the last complete frame: nothing, or in the last segment zeros.
    fn end_of_segment(&self, segment: &Segment, at: u64, upto: u64, last: bool) -> Result<(), OpenError> {
        let rest = segment.read(at, upto)?;
        if let segment::Next::Bad(error) = segment::next(&rest) {
            return Err(self.bad_frame(segment, error, at).into());
        }
        if let Some(not_zero) = segment::first_not_zero(&rest) {
            let offset = at + not_zero as u64;
            return Err(segment.damage(offset, &self.head, DamageKind::NotZero).into());
        }
        if !last && (!rest.is_empty() || at == SEGMENT_HEADER_BYTES as u64) {
            return Err(segment.damage(at, &self.head, DamageKind::SegmentEnd).into());
        }
        Ok(())
    }

    fn grow_tree(&mut self) {
        let whole = self.leaves.len() / PART_LEAVES * PART_LEAVES;
        if whole == 0 {
            return;
        }
        let parts: Vec<&[TreeHash]> = self.leaves[..whole].chunks_exact(PART_LEAVES).collect();
        let roots: Vec<TreeHash> = parts.par_iter().map(|leaves| tree::complete_root(leaves)).collect();
        roots.into_iter().for_each(|root| self.tree.push_part(PART_LEAVES as u64, root));
        self.leaves.drain(..whole);
    }

    fn missing(&self, first: CommitNumber) -> Damage {
        Damage {
            file: files::segment(self.dir, first),
            offset: 0,
            commit: Some(first),
            position: Some(self.head.next_position),
            kind: DamageKind::SegmentMissing,
        }
    }

    fn finish(mut self, segments: usize) -> Result<Verified, OpenError> {
        if self.best.head.commit > self.head.commit {
            let commit = self.head.commit.next();
            let damage = head_damage(self.dir, 0, DamageKind::Cut { commit });
            let (commit, position) = (Some(commit), Some(self.head.next_position));
            return Err(Damage { commit, position, ..damage }.into());
        }
        // A slot that is left names a commit beyond the chain, which the line above has excluded for the best one, or
        // commit 0 with anything else than zeros, which is not valid.
        if let Some(slot) = self.slots.first() {
            let kind = DamageKind::HeadDiffers { head: slot.head.commit };
            return Err(head_damage(self.dir, 0, kind).into());
        }
        if let Some(damaged) = self.damaged_slot {
            return Err(damaged.into());
        }
        let keyring = keyring::read(&**self.storage, self.dir, self.head.ledger)?.is_some();
        self.await_index();
        let checked: Vec<Option<PathBuf>> = self.indexes.into_iter().collect::<Result<_, _>>()?;
        let compared = checked.len();
        let missing_indexes: Vec<PathBuf> = checked.into_iter().flatten().collect();
        std::mem::take(&mut self.leaves).into_iter().for_each(|leaf| self.tree.push(leaf));
        Ok(Verified {
            head: self.head,
            root: self.tree.root(),
            segments,
            indexes: compared - missing_indexes.len(),
            missing_indexes,
            beyond_head: self.head.commit.get() - self.best.head.commit.get(),
            beside_writer: self.beside_writer,
            keyring,
        })
    }
}

/// Compares a key index with the one that the segment gives, whose chain ends at `head`; the path if there is none.
fn check_index(
    storage: &dyn Storage,
    dir: &Path,
    segment: &Segment,
    len: u64,
    content: Content,
    head: &Head,
) -> Result<Option<PathBuf>, OpenError> {
    let path = files::index(dir, segment.first);
    let file = match storage.open(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Some(path)),
        Err(error) => return Err(Failure::of("open", &path)(error).into()),
    };
    let right = content.image(segment, len, head);
    let upto = file.len().map_err(Failure::of("look at", &path))?;
    let found = read_range(&*file, 0, upto).map_err(Failure::of("read", &path))?;
    if found == right {
        return Ok(None);
    }
    let same = found.iter().zip(&right).take_while(|(a, b)| a == b).count();
    Err(OpenError::Damaged(Damage {
        file: path,
        offset: same as u64,
        commit: Some(segment.first),
        position: Some(segment.before.next_position),
        kind: DamageKind::Index,
    }))
}

/// The complete frames at the start of some bytes. What does not look like a frame ends them.
fn complete_frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Ok(length) = frame::length_at(bytes) {
        frames.push(&bytes[..length]);
        bytes = &bytes[length..];
    }
    frames
}

/// Checks frames of so many bytes for themselves, by all threads: one frame may be as large as thousands.
fn prove_all(frames: &[&[u8]], bytes: usize, pairs_from: Option<Position>) -> Vec<Result<Proven, FrameError>> {
    let enough = frames.len() * ALONE_BYTES / bytes;
    frames.par_iter().with_min_len(enough.max(1)).map(|frame| prove(frame, pairs_from)).collect()
}

/// Checks a frame for itself and hashes it; lists its keys, if they are asked for, counted from a position.
fn prove(bytes: &[u8], pairs_from: Option<Position>) -> Result<Proven, FrameError> {
    let frame = Frame::decode(bytes)?;
    let header = *frame.header();
    let pairs = pairs_from.map_or_else(Vec::new, |first| view::pairs_of(&frame, first).collect());
    hash::with(|hasher| {
        let mut leaves = Vec::with_capacity(header.event_count as usize);
        let mut hashes = Vec::with_capacity(header.event_count as usize);
        for event in frame.events() {
            let hash = hasher.event(event.bytes());
            hashes.push(hash);
            leaves.push(tree::leaf_hash(event.position(), header.recorded_at, hash));
        }
        let hash = hasher.commit(frame.header_bytes(), hashes);
        Ok(Proven { header, hash, bytes: bytes.len() as u64, leaves, pairs })
    })
}
