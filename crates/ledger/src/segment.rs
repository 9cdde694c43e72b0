//! A segment file: its header, and frames one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::Head;
use crate::error::{Damage, DamageKind, Failure, NewerFormat, ReadError};
use crate::files;
use crate::frame::{self, CommitHeader, Frame, FrameError, PREFIX_BYTES, array_at, u32_at, u64_at};
use crate::ids::{CommitHash, CommitNumber, Epoch, LedgerId, Micros, Position};
use crate::storage::{Access, Storage, StorageFile, read_full, read_range, read_range_into};
use crate::{FORMAT_VERSION, MAX_FRAME_BYTES};

pub(crate) const SEGMENT_HEADER_BYTES: usize = 96;
const MAGIC: &[u8; 8] = b"LOTLSEG1";

/// The header of the segment that begins after this head.
pub(crate) fn encode_header(head: &Head) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut out = [0; SEGMENT_HEADER_BYTES];
    out[0..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
    out[12..28].copy_from_slice(head.ledger.as_bytes());
    out[28..36].copy_from_slice(&head.commit.next().get().to_be_bytes());
    out[36..44].copy_from_slice(&head.next_position.get().to_be_bytes());
    out[44..52].copy_from_slice(&head.recorded_at.get().to_be_bytes());
    out[52..60].copy_from_slice(&head.epoch.get().to_be_bytes());
    out[60..92].copy_from_slice(head.hash.as_bytes());
    let checksum = crc32fast::hash(&out[..92]);
    out[92..].copy_from_slice(&checksum.to_be_bytes());
    out
}

/// A segment file with its header read.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) path: PathBuf,
    /// Number of its first commit.
    pub(crate) first: CommitNumber,
    /// The chain before its first commit, as its header tells it.
    pub(crate) before: Head,
}

impl Segment {
    /// Opens the segment that starts with commit `first`.
    pub(crate) fn open(
        storage: &dyn Storage,
        dir: &Path,
        first: CommitNumber,
        access: Access,
    ) -> Result<Self, ReadError> {
        let path = files::segment(dir, first);
        let file = match storage.open(&path, access) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ReadError::Damaged(Damage {
                    file: path,
                    offset: 0,
                    commit: Some(first),
                    position: None,
                    kind: DamageKind::SegmentMissing,
                }));
            }
            Err(error) => return Err(Failure::of("open", &path)(error).into()),
        };
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let count = read_full(&*file, &mut bytes, 0).map_err(Failure::of("read", &path))?;
        let before = decode_header(&bytes[..count], &path, first)?;
        Ok(Self { file, path, first, before })
    }

    pub(crate) fn len(&self) -> Result<u64, Failure> {
        self.file.len().map_err(Failure::of("look at", &self.path))
    }

    pub(crate) fn read(&self, from: u64, to: u64) -> Result<Vec<u8>, Failure> {
        read_range(&*self.file, from, to).map_err(Failure::of("read", &self.path))
    }

    /// The same into a buffer that had something else in it.
    pub(crate) fn read_into(&self, bytes: &mut Vec<u8>, from: u64, to: u64) -> Result<(), Failure> {
        read_range_into(&*self.file, bytes, from, to).map_err(Failure::of("read", &self.path))
    }

    /// The frame that starts at `offset`, checked for itself but not for its place in the chain.
    pub(crate) fn frame(&self, offset: u64, commit: CommitNumber) -> Result<Frame, ReadError> {
        // Most frames fit into the first read; a large one costs a second.
        let mut bytes = self.read(offset, offset + 4096)?;
        let needed = match frame::length_at(&bytes) {
            Ok(length) => length,
            Err(FrameError::Cut { needed, .. }) if needed > PREFIX_BYTES => {
                bytes = self.read(offset, offset + needed as u64)?;
                needed
            }
            Err(error) => return Err(self.bad_frame(error, offset, Some(commit), None)),
        };
        bytes.truncate(needed);
        Frame::decode(bytes).map_err(|error| self.bad_frame(error, offset, Some(commit), None))
    }

    pub(crate) fn damage(&self, offset: u64, at: &Head, kind: DamageKind) -> Damage {
        Damage {
            file: self.path.clone(),
            offset,
            commit: Some(at.commit.next()),
            position: Some(at.next_position),
            kind,
        }
    }

    pub(crate) fn bad_frame(
        &self,
        error: FrameError,
        offset: u64,
        commit: Option<CommitNumber>,
        position: Option<Position>,
    ) -> ReadError {
        match error {
            FrameError::Version { found } => ReadError::NewerFormat(NewerFormat {
                file: self.path.clone(),
                offset: offset + PREFIX_BYTES as u64,
                found,
                known: FORMAT_VERSION,
            }),
            error => ReadError::Damaged(Damage {
                file: self.path.clone(),
                offset,
                commit,
                position,
                kind: DamageKind::Frame(error),
            }),
        }
    }
}

fn decode_header(bytes: &[u8], path: &Path, first: CommitNumber) -> Result<Head, ReadError> {
    let damage = |kind| {
        ReadError::Damaged(Damage { file: path.to_path_buf(), offset: 0, commit: Some(first), position: None, kind })
    };
    if bytes.len() < SEGMENT_HEADER_BYTES || &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..92]) != u32_at(bytes, 92)
    {
        return Err(damage(DamageKind::SegmentHeader));
    }
    let version = u32_at(bytes, 8);
    if version != FORMAT_VERSION {
        return Err(ReadError::NewerFormat(NewerFormat {
            file: path.to_path_buf(),
            offset: 0,
            found: version,
            known: FORMAT_VERSION,
        }));
    }
    let number = u64_at(bytes, 28);
    if number != first.get() || number == 0 {
        return Err(damage(DamageKind::SegmentOrder));
    }
    let before = Head {
        ledger: LedgerId::new(array_at(bytes, 12)),
        commit: CommitNumber::new(number - 1),
        next_position: Position::new(u64_at(bytes, 36)),
        recorded_at: Micros::new(u64_at(bytes, 44) as i64),
        epoch: Epoch::new(u64_at(bytes, 52)),
        hash: CommitHash::new(array_at(bytes, 60)),
    };
    if number == 1 && before != Head::empty(before.ledger) {
        return Err(damage(DamageKind::SegmentOrder));
    }
    Ok(before)
}

/// What stands at some place of a segment.
pub(crate) enum Next<'a> {
    /// A complete frame.
    Frame(Frame<&'a [u8]>),
    /// Zeros where a frame would start, or the end of the bytes.
    Zeros,
    /// Something else.
    Bad(FrameError),
}

/// What stands at the start of `bytes`.
pub(crate) fn next(bytes: &[u8]) -> Next<'_> {
    let prefix = &bytes[..bytes.len().min(PREFIX_BYTES)];
    if prefix.iter().all(|byte| *byte == 0) {
        return Next::Zeros;
    }
    match frame::length_at(bytes).and_then(|length| Frame::decode(&bytes[..length])) {
        Ok(frame) => Next::Frame(frame),
        Err(error) => Next::Bad(error),
    }
}

/// Whether a complete frame of this ledger, with a number beyond `after`, stands anywhere in `bytes`.
/// If so, what stands before it was synced once and is no torn tail.
pub(crate) fn has_later_frame(bytes: &[u8], ledger: LedgerId, after: CommitNumber) -> bool {
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], frame::FRAME_MAGIC) {
        at += found;
        // Compared first, because it is cheap: a payload may be full of what looks like frames.
        let its = PREFIX_BYTES + 4..PREFIX_BYTES + 20;
        if bytes[at..].get(its) == Some(ledger.as_bytes().as_slice())
            && let Next::Frame(frame) = next(&bytes[at..])
        {
            let CommitHeader { ledger: its, number, .. } = *frame.header();
            if its == ledger && number > after {
                return true;
            }
        }
        at += 1;
    }
    false
}

fn find(bytes: &[u8], magic: &[u8; 4]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes[at..].iter().position(|byte| *byte == magic[0])?;
        if bytes[at..].starts_with(magic) {
            return Some(at);
        }
        at += 1;
    }
}

/// Offset of the first byte that is not zero.
pub(crate) fn first_not_zero(bytes: &[u8]) -> Option<usize> {
    const BLOCK: [u8; 4096] = [0; 4096];
    let mut at = 0;
    for block in bytes.chunks(BLOCK.len()) {
        if block != &BLOCK[..block.len()] {
            return block.iter().position(|byte| *byte != 0).map(|inner| at + inner);
        }
        at += block.len();
    }
    None
}

// A whole frame fits into the buffer that the readers fill at once.
const _: () = assert!(MAX_FRAME_BYTES < 1 << 20);
