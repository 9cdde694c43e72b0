//! Reading a ledger up to an acknowledged head: what opening for writing and for reading share.

use std::path::Path;
use std::sync::Arc;

use crate::chain::Head;
use crate::error::{Damage, DamageKind, Failure, ReadError};
use crate::files;
use crate::head::Slot;
use crate::ids::CommitNumber;
use crate::index::{Index, Source};
use crate::segment::{self, Next, Segment};
use crate::storage::{Access, Storage};
use crate::view::{self, OpenSegment, Sealed};

/// A ledger as of its head slot.
pub(crate) struct Loaded {
    pub(crate) sealed: Vec<Arc<Sealed>>,
    pub(crate) open: OpenSegment,
    /// Index files that were missing or damaged, with the bytes that they should have.
    pub(crate) rebuilt: Vec<(CommitNumber, Vec<u8>)>,
    /// First commits of segments after the one that holds the head.
    pub(crate) later: Vec<CommitNumber>,
}

/// Loads the ledger up to the head. Sealed segments are trusted as far as their headers and indexes fit each
/// other; the segment with the head is read and hashed.
pub(crate) fn load(storage: &dyn Storage, dir: &Path, slot: &Slot, access: Access) -> Result<Loaded, ReadError> {
    let names = storage.list(dir).map_err(Failure::of("list", dir))?;
    let segments = files::segments(&names);
    let before = segments.partition_point(|first| *first < slot.segment);
    let mut rebuilt = Vec::new();
    let mut sealed: Vec<Arc<Sealed>> = Vec::with_capacity(before);
    let mut at = Head::empty(slot.head.ledger);
    for first in &segments[..before] {
        let (next, image) = load_sealed(storage, dir, *first, &at)?;
        rebuilt.extend(image.map(|image| (*first, image)));
        let about = next.index().about;
        at = Head {
            ledger: about.ledger,
            commit: next.segment.before.commit.plus(u64::from(about.commits)),
            hash: about.last_hash,
            next_position: next.segment.before.next_position.plus(u64::from(about.events)),
            // Told by the next segment's header; not known here.
            recorded_at: next.segment.before.recorded_at,
            epoch: next.segment.before.epoch,
        };
        sealed.push(Arc::new(next));
    }
    let segment = Segment::open(storage, dir, slot.segment, access)?;
    check_continues(&segment, &at)?;
    let mut open = OpenSegment::new(segment);
    let before = open.segment.before;
    let head = follow(&mut open, before, slot.end)?;
    let start = open.commits.last().map_or(open.end, |last| u64::from(last.offset));
    if head != slot.head || start != slot.start {
        return Err(ReadError::Damaged(Damage {
            file: dir.join(files::HEAD),
            offset: 0,
            commit: Some(slot.head.commit),
            position: None,
            kind: DamageKind::HeadDiffers { head: slot.head.commit },
        }));
    }
    let after = segments.partition_point(|first| *first <= slot.segment);
    Ok(Loaded { sealed, open, rebuilt, later: segments[after..].to_vec() })
}

/// A sealed segment that continues the ledger at `at`, and its index's bytes if the file could not be used.
pub(crate) fn load_sealed(
    storage: &dyn Storage,
    dir: &Path,
    first: CommitNumber,
    at: &Head,
) -> Result<(Sealed, Option<Vec<u8>>), ReadError> {
    let segment = Segment::open(storage, dir, first, Access::Read)?;
    check_continues(&segment, at)?;
    let len = segment.len()?;
    let usable = storage
        .open(&files::index(dir, first), Access::Read)
        .ok()
        .and_then(|file| Index::load(Source::File(file)).ok())
        .filter(|index| {
            let about = index.about;
            about.ledger == segment.before.ledger
                && about.first == segment.first
                && about.first_position == segment.before.next_position
                && about.segment_bytes == len
        });
    if let Some(index) = usable {
        return Ok((Sealed::new(segment, len, index), None));
    }
    let (index, image) = view::rebuild(&segment, len)?;
    Ok((Sealed::new(segment, len, index), Some(image)))
}

/// Whether a segment's header continues the ledger at `at`. Time and epoch are not compared: an index does not tell
/// them.
pub(crate) fn check_continues(segment: &Segment, at: &Head) -> Result<(), ReadError> {
    let before = &segment.before;
    if before.commit > at.commit && before.ledger == at.ledger {
        // A segment between the two is not there.
        return Err(ReadError::Damaged(Damage {
            file: files::segment(segment.path.parent().unwrap_or(Path::new("")), at.commit.next()),
            ..segment.damage(0, at, DamageKind::SegmentMissing)
        }));
    }
    let continues = before.ledger == at.ledger
        && before.commit == at.commit
        && before.hash == at.hash
        && before.next_position == at.next_position;
    if continues { Ok(()) } else { Err(segment.damage(0, at, DamageKind::SegmentOrder).into()) }
}

/// Reads the commits from the segment's known end up to `to`, checks each and its place in the chain, and adds them.
/// All of the bytes up to `to` must be commits.
pub(crate) fn follow(open: &mut OpenSegment, from: Head, to: u64) -> Result<Head, ReadError> {
    let bytes = open.segment.read(open.end, to)?;
    let start = open.end;
    let mut head = from;
    while open.end < to {
        let rest = &bytes[((open.end - start) as usize).min(bytes.len())..];
        match segment::next(rest) {
            Next::Frame(frame) => {
                if let Err(broken) = head.check(frame.header()) {
                    let kind = DamageKind::Chain(Box::new(broken));
                    return Err(open.segment.damage(open.end, &head, kind).into());
                }
                head = head.after(frame.header(), frame.hash());
                open.add(&frame);
            }
            Next::Zeros => {
                let kind = DamageKind::Cut { commit: head.commit.next() };
                return Err(open.segment.damage(open.end, &head, kind).into());
            }
            Next::Bad(error) => {
                let (commit, position) = (head.commit.next(), head.next_position);
                return Err(open.segment.bad_frame(error, open.end, Some(commit), Some(position)));
            }
        }
    }
    Ok(head)
}
