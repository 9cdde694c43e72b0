//! The head file: what was acknowledged. Three slots of a sector each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::FORMAT_VERSION;
use crate::chain::Head;
use crate::error::{Damage, DamageKind, Failure, NewerFormat, ReadError};
use crate::files;
use crate::frame::{array_at, u32_at, u64_at};
use crate::ids::{CommitHash, CommitNumber, Epoch, LedgerId, Micros, Position};
use crate::segment::SEGMENT_HEADER_BYTES;
use crate::storage::{Access, Storage, StorageFile, read_full, write_full};

pub(crate) const SLOT_BYTES: usize = 512;
pub(crate) const SLOTS: usize = 3;
const ANCHOR: usize = 2;
const MAGIC: &[u8; 8] = b"LOTLHEAD";

/// An acknowledged head and where its frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) head: Head,
    /// First commit of the segment that holds it.
    pub(crate) segment: CommitNumber,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

pub(crate) enum SlotError {
    Damaged,
    Version(u32),
}

impl Slot {
    pub(crate) fn empty(ledger: LedgerId) -> Self {
        let start = SEGMENT_HEADER_BYTES as u64;
        Self { head: Head::empty(ledger), segment: CommitNumber::new(1), start, end: start }
    }

    pub(crate) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
        out[12..28].copy_from_slice(self.head.ledger.as_bytes());
        out[28..36].copy_from_slice(&self.head.commit.get().to_be_bytes());
        out[36..44].copy_from_slice(&self.head.next_position.get().to_be_bytes());
        out[44..52].copy_from_slice(&self.head.recorded_at.get().to_be_bytes());
        out[52..60].copy_from_slice(&self.head.epoch.get().to_be_bytes());
        out[60..92].copy_from_slice(self.head.hash.as_bytes());
        out[92..100].copy_from_slice(&self.segment.get().to_be_bytes());
        out[100..108].copy_from_slice(&self.start.to_be_bytes());
        out[108..116].copy_from_slice(&self.end.to_be_bytes());
        let checksum = crc32fast::hash(&out[..508]);
        out[508..].copy_from_slice(&checksum.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SlotError> {
        if bytes.len() != SLOT_BYTES || &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..508]) != u32_at(bytes, 508) {
            return Err(SlotError::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(SlotError::Version(version));
        }
        let slot = Self {
            head: Head {
                ledger: LedgerId::new(array_at(bytes, 12)),
                commit: CommitNumber::new(u64_at(bytes, 28)),
                next_position: Position::new(u64_at(bytes, 36)),
                recorded_at: Micros::new(u64_at(bytes, 44) as i64),
                epoch: Epoch::new(u64_at(bytes, 52)),
                hash: CommitHash::new(array_at(bytes, 60)),
            },
            segment: CommitNumber::new(u64_at(bytes, 92)),
            start: u64_at(bytes, 100),
            end: u64_at(bytes, 108),
        };
        let empty_is_empty = slot.head.commit != CommitNumber::ZERO || slot == Self::empty(slot.head.ledger);
        let zeros = bytes[116..508].iter().all(|byte| *byte == 0);
        let ordered = slot.start <= slot.end && slot.start >= SEGMENT_HEADER_BYTES as u64;
        if empty_is_empty && zeros && ordered { Ok(slot) } else { Err(SlotError::Damaged) }
    }
}

/// The head file, open.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: Arc<dyn StorageFile>,
    path: PathBuf,
}

impl HeadFile {
    /// The head file of a folder; `None` if there is none.
    pub(crate) fn open(storage: &dyn Storage, dir: &Path, access: Access) -> Result<Option<Self>, Failure> {
        let path = dir.join(files::HEAD);
        match storage.open(&path, access) {
            Ok(file) => Ok(Some(Self { file, path })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::of("open", &path)(error)),
        }
    }

    /// The slots as they are. The bytes beyond the third are an error of the caller's to find by length.
    pub(crate) fn slots(&self) -> Result<[Result<Slot, SlotError>; SLOTS], Failure> {
        let mut bytes = [0; SLOT_BYTES * SLOTS];
        let count = read_full(&*self.file, &mut bytes, 0).map_err(Failure::of("read", &self.path))?;
        Ok(std::array::from_fn(|slot| {
            let (from, to) = (slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES);
            if to <= count { Slot::decode(&bytes[from..to]) } else { Err(SlotError::Damaged) }
        }))
    }

    /// The valid slot with the greatest commit.
    pub(crate) fn best(&self) -> Result<Slot, ReadError> {
        let mut best: Option<Slot> = None;
        for (at, slot) in self.slots()?.into_iter().enumerate() {
            match slot {
                Ok(slot) if best.is_none_or(|best| best.head.commit < slot.head.commit) => {
                    best = Some(slot);
                }
                Ok(_) | Err(SlotError::Damaged) => {}
                Err(SlotError::Version(found)) => {
                    return Err(ReadError::NewerFormat(NewerFormat {
                        file: self.path.clone(),
                        offset: (at * SLOT_BYTES) as u64,
                        found,
                        known: FORMAT_VERSION,
                    }));
                }
            }
        }
        best.ok_or_else(|| {
            ReadError::Damaged(Damage {
                file: self.path.clone(),
                offset: 0,
                commit: None,
                position: None,
                kind: DamageKind::Head,
            })
        })
    }

    /// Notes an acknowledged commit, without a sync: the death of the process does not lose it, a power cut may.
    pub(crate) fn note(&self, slot: &Slot) -> Result<(), Failure> {
        let at = slot.head.commit.get() % 2;
        self.write(at as usize, slot)
    }

    /// Makes all slots name this head, durably. The anchor is written last and only after the others are
    /// durable, so that a crash at any moment leaves one of them whole.
    pub(crate) fn anchor(&self, slot: &Slot) -> Result<(), Failure> {
        self.write(0, slot)?;
        self.write(1, slot)?;
        self.file.sync_data().map_err(Failure::of("sync", &self.path))?;
        self.write(ANCHOR, slot)?;
        self.file.set_len((SLOTS * SLOT_BYTES) as u64).map_err(Failure::of("cut", &self.path))?;
        self.file.sync_data().map_err(Failure::of("sync", &self.path))
    }

    pub(crate) fn len(&self) -> Result<u64, Failure> {
        self.file.len().map_err(Failure::of("look at", &self.path))
    }

    fn write(&self, slot: usize, value: &Slot) -> Result<(), Failure> {
        write_full(&*self.file, &value.encode(), (slot * SLOT_BYTES) as u64).map_err(Failure::of("write", &self.path))
    }
}
