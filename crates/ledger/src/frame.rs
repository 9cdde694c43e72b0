//! A commit as bytes: one frame. Encoding, strict decoding, and the events inside.

use std::fmt;

use crate::error::Rejected;
use crate::hash;
use crate::ids::{CommitHash, CommitNumber, Epoch, EventHash, Key, LedgerId, Micros, Position};
use crate::{FORMAT_VERSION, MAX_EVENTS, MAX_FRAME_BYTES, MAX_KEYS};

pub(crate) const FRAME_MAGIC: &[u8; 4] = b"LTF1";
/// Magic, checksum and length.
pub(crate) const PREFIX_BYTES: usize = 12;
pub(crate) const HEADER_BYTES: usize = 88;
/// What a frame has besides its entries.
pub(crate) const FRAME_OVERHEAD: usize = PREFIX_BYTES + HEADER_BYTES;
/// Length of the event bytes, then key count and one key.
const MIN_ENTRY_BYTES: usize = 4 + 2 + 16;
pub(crate) const MIN_FRAME_BYTES: usize = FRAME_OVERHEAD + MIN_ENTRY_BYTES;

/// An event to be appended: keys and payload, already in its stored form and hashed, so that this
/// work is the caller's and not the writer's.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    bytes: Vec<u8>,
    hash: EventHash,
}

impl Entry {
    /// An event with these keys and this payload. Keys are a set: they are stored in ascending order,
    /// each once.
    ///
    /// # Errors
    /// Without a key, with more than [`MAX_KEYS`], or too large for any commit.
    pub fn new(keys: impl IntoIterator<Item = Key>, payload: &[u8]) -> Result<Self, Rejected> {
        let mut keys: Vec<Key> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Err(Rejected::NoKeys);
        }
        if keys.len() > MAX_KEYS {
            return Err(Rejected::TooManyKeys { found: keys.len(), limit: MAX_KEYS });
        }
        let size = 2 + 16 * keys.len() + payload.len();
        let frame = FRAME_OVERHEAD + 4 + size;
        if frame > MAX_FRAME_BYTES {
            return Err(Rejected::TooLarge { bytes: frame, limit: MAX_FRAME_BYTES });
        }
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&(keys.len() as u16).to_be_bytes());
        for key in &keys {
            bytes.extend_from_slice(key.as_bytes());
        }
        bytes.extend_from_slice(payload);
        let hash = hash::with(|hasher| hasher.event(&bytes));
        Ok(Self { bytes, hash })
    }

    /// How many bytes of a frame it takes. A frame has 100 bytes besides.
    pub fn frame_bytes(&self) -> usize {
        4 + self.bytes.len()
    }

    /// Hash of its stored bytes.
    pub fn hash(&self) -> EventHash {
        self.hash
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Entry({}, {} bytes)", self.hash, self.bytes.len())
    }
}

/// Whether these entries fit into one commit.
pub(crate) fn check_limits<'a>(entries: impl ExactSizeIterator<Item = &'a Entry>) -> Result<usize, Rejected> {
    let count = entries.len();
    if count == 0 {
        return Err(Rejected::NoEvents);
    }
    if count > MAX_EVENTS {
        return Err(Rejected::TooManyEvents { found: count, limit: MAX_EVENTS });
    }
    let bytes = FRAME_OVERHEAD + entries.map(Entry::frame_bytes).sum::<usize>();
    if bytes > MAX_FRAME_BYTES {
        return Err(Rejected::TooLarge { bytes, limit: MAX_FRAME_BYTES });
    }
    Ok(bytes)
}

/// What a commit says about itself; hashed as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitHeader {
    /// The ledger it belongs to.
    pub ledger: LedgerId,
    /// Its number, from 1.
    pub number: CommitNumber,
    /// Position of its first event.
    pub first_position: Position,
    /// How many events it has, 1..=4096.
    pub event_count: u32,
    /// Which writer made it, from 1.
    pub epoch: Epoch,
    /// When it was recorded.
    pub recorded_at: Micros,
    /// Hash of the commit before it; zeros in commit 1.
    pub previous: CommitHash,
}

impl CommitHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
        out[4..20].copy_from_slice(self.ledger.as_bytes());
        out[20..28].copy_from_slice(&self.number.get().to_be_bytes());
        out[28..36].copy_from_slice(&self.first_position.get().to_be_bytes());
        out[36..40].copy_from_slice(&self.event_count.to_be_bytes());
        out[40..48].copy_from_slice(&self.epoch.get().to_be_bytes());
        out[48..56].copy_from_slice(&self.recorded_at.get().to_be_bytes());
        out[56..88].copy_from_slice(self.previous.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let version = u32_at(bytes, 0);
        if version != FORMAT_VERSION {
            return Err(FrameError::Version { found: version });
        }
        let header = Self {
            ledger: LedgerId::new(array_at(bytes, 4)),
            number: CommitNumber::new(u64_at(bytes, 20)),
            first_position: Position::new(u64_at(bytes, 28)),
            event_count: u32_at(bytes, 36),
            epoch: Epoch::new(u64_at(bytes, 40)),
            recorded_at: Micros::new(u64_at(bytes, 48) as i64),
            previous: CommitHash::new(array_at(bytes, 56)),
        };
        if header.event_count == 0 || header.event_count as usize > MAX_EVENTS {
            return Err(FrameError::EventCount { found: header.event_count });
        }
        if header.epoch.get() == 0 {
            return Err(FrameError::NoEpoch);
        }
        if header.recorded_at == Micros::NONE {
            return Err(FrameError::NoTime);
        }
        let limit = 1 << 63;
        if header.number.get() >= limit || header.first_position.get() >= limit {
            return Err(FrameError::NumberRange);
        }
        Ok(header)
    }
}

/// Writes a frame to the end of `out` and returns its commit's hash. The entries are within the limits
/// and the header counts them.
pub(crate) fn encode<'a>(
    out: &mut Vec<u8>,
    header: &CommitHeader,
    entries: impl Iterator<Item = &'a Entry> + Clone,
) -> CommitHash {
    let start = out.len();
    let header = header.encode();
    out.extend_from_slice(FRAME_MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&header);
    for entry in entries.clone() {
        out.extend_from_slice(&(entry.bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(&entry.bytes);
    }
    let length = (out.len() - start) as u32;
    out[start + 8..start + 12].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32fast::hash(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_be_bytes());
    hash::with(|hasher| hasher.commit(&header, entries.map(Entry::hash)))
}

/// A decoded frame: bytes that passed every check that needs no other commit.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame<B = Vec<u8>> {
    bytes: B,
    header: CommitHeader,
}

impl<B: AsRef<[u8]>> Frame<B> {
    /// Checks `bytes` to be exactly one frame: magic, length, checksum, version, header, every entry, and
    /// nothing left over. It does not check the chain: see [`Head::check`](crate::Head::check).
    ///
    /// # Errors
    /// The first rule of the format that is broken.
    pub fn decode(bytes: B) -> Result<Self, FrameError> {
        let all = bytes.as_ref();
        let length = length_at(all)?;
        if length < all.len() {
            return Err(FrameError::TrailingBytes { count: all.len() - length });
        }
        if crc32fast::hash(&all[8..]) != u32_at(all, 4) {
            return Err(FrameError::Checksum);
        }
        let header = CommitHeader::decode(&all[PREFIX_BYTES..FRAME_OVERHEAD])?;
        check_entries(&all[FRAME_OVERHEAD..], header.event_count)?;
        Ok(Self { bytes, header })
    }

    /// Bytes that [`encode`] has just made.
    pub(crate) fn trusted(bytes: B, header: CommitHeader) -> Self {
        Self { bytes, header }
    }

    /// What the commit says about itself.
    pub fn header(&self) -> &CommitHeader {
        &self.header
    }

    /// The bytes as stored and as sent.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Its events, in order of position.
    pub fn events(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> + Clone {
        EventRefs {
            rest: &self.bytes.as_ref()[FRAME_OVERHEAD..],
            position: self.header.first_position,
            left: self.header.event_count as usize,
        }
    }

    /// Hash of the commit, computed from the bytes.
    pub fn hash(&self) -> CommitHash {
        hash::with(|hasher| {
            let hashes: Vec<EventHash> = self.events().map(|event| hasher.event(event.bytes)).collect();
            hasher.commit(self.header_bytes(), hashes)
        })
    }

    pub(crate) fn header_bytes(&self) -> &[u8] {
        &self.bytes.as_ref()[PREFIX_BYTES..FRAME_OVERHEAD]
    }

    /// The frame's bytes themselves.
    pub fn into_bytes(self) -> B {
        self.bytes
    }
}

impl<B> fmt::Debug for Frame<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Frame({:?})", self.header)
    }
}

/// One event inside of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    position: Position,
    bytes: &'a [u8],
}

impl<'a> EventRef<'a> {
    /// Its position in the ledger.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its keys, ascending.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Key> + use<'a> {
        self.bytes[2..2 + 16 * key_count(self.bytes)].chunks_exact(16).map(|key| Key::new(array_at(key, 0)))
    }

    /// Its payload.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[2 + 16 * key_count(self.bytes)..]
    }

    /// What is hashed: key count, keys, payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Hash of its bytes.
    pub fn hash(&self) -> EventHash {
        hash::with(|hasher| hasher.event(self.bytes))
    }
}

/// One event with the commit it was recorded in, owning its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Header of its commit.
    pub commit: CommitHeader,
    position: Position,
    bytes: Vec<u8>,
}

impl Event {
    pub(crate) fn new(commit: CommitHeader, event: EventRef<'_>) -> Self {
        Self { commit, position: event.position, bytes: event.bytes.to_vec() }
    }

    /// As a view, with keys, payload and hash.
    pub fn view(&self) -> EventRef<'_> {
        EventRef { position: self.position, bytes: &self.bytes }
    }

    /// Its position in the ledger.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        self.view().payload()
    }
}

#[derive(Clone)]
struct EventRefs<'a> {
    rest: &'a [u8],
    position: Position,
    left: usize,
}

impl<'a> Iterator for EventRefs<'a> {
    type Item = EventRef<'a>;

    fn next(&mut self) -> Option<EventRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        let end = 4 + u32_at(self.rest, 0) as usize;
        let event = EventRef { position: self.position, bytes: &self.rest[4..end] };
        self.rest = &self.rest[end..];
        self.position = self.position.plus(1);
        Some(event)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for EventRefs<'_> {}

/// The frame's length as its prefix tells it, with that many bytes there.
pub(crate) fn length_at(bytes: &[u8]) -> Result<usize, FrameError> {
    if bytes.len() < PREFIX_BYTES {
        return Err(FrameError::Cut { bytes: bytes.len(), needed: PREFIX_BYTES });
    }
    if &bytes[..4] != FRAME_MAGIC {
        return Err(FrameError::Magic);
    }
    let length = u32_at(bytes, 8) as usize;
    if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&length) {
        return Err(FrameError::Length { found: length });
    }
    if length > bytes.len() {
        return Err(FrameError::Cut { bytes: bytes.len(), needed: length });
    }
    Ok(length)
}

fn check_entries(mut rest: &[u8], count: u32) -> Result<(), FrameError> {
    for index in 0..count {
        if rest.len() < 4 {
            return Err(FrameError::EntryCut { index });
        }
        let length = u32_at(rest, 0) as usize;
        let Some(event) = rest.get(4..4 + length) else {
            return Err(FrameError::EntryCut { index });
        };
        check_event(event, index)?;
        rest = &rest[4 + length..];
    }
    if rest.is_empty() { Ok(()) } else { Err(FrameError::TrailingBytes { count: rest.len() }) }
}

fn check_event(event: &[u8], index: u32) -> Result<(), FrameError> {
    if event.len() < 2 {
        return Err(FrameError::EntryCut { index });
    }
    let count = key_count(event);
    if count == 0 || count > MAX_KEYS {
        return Err(FrameError::KeyCount { index, found: count });
    }
    let Some(keys) = event.get(2..2 + 16 * count) else {
        return Err(FrameError::EntryCut { index });
    };
    let ascending = keys.chunks_exact(16).zip(keys[16..].chunks_exact(16)).all(|(a, b)| a < b);
    if ascending { Ok(()) } else { Err(FrameError::KeyOrder { index }) }
}

fn key_count(event: &[u8]) -> usize {
    usize::from(u16::from_be_bytes(array_at(event, 0)))
}

/// The `N` bytes at `at`. The caller has checked that they are there.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array_at(bytes, at))
}

/// Which rule of the format a frame breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the frame does.
    #[error("the frame is cut: {bytes} of {needed} bytes are there")]
    Cut {
        /// How many bytes are there.
        bytes: usize,
        /// How many it needs.
        needed: usize,
    },
    /// It does not start like a frame.
    #[error("this is not the start of a frame")]
    Magic,
    /// Its length cannot be.
    #[error("a frame of {found} bytes cannot be")]
    Length {
        /// The length it tells.
        found: usize,
    },
    /// The checksum differs.
    #[error("the frame's checksum does not fit its bytes")]
    Checksum,
    /// It was written by a newer program.
    #[error("format version {found} is not known here")]
    Version {
        /// The version it tells.
        found: u32,
    },
    /// Zero events, or too many.
    #[error("a commit of {found} events cannot be")]
    EventCount {
        /// The count it tells.
        found: u32,
    },
    /// Epoch 0.
    #[error("the commit has no epoch")]
    NoEpoch,
    /// No recording time.
    #[error("the commit has no recording time")]
    NoTime,
    /// A commit number or position beyond 2^63.
    #[error("commit number or position out of range")]
    NumberRange,
    /// An entry runs beyond the frame, or its keys beyond the entry.
    #[error("entry {index} of the commit runs beyond its end")]
    EntryCut {
        /// Which entry, from 0.
        index: u32,
    },
    /// Bytes after the last entry, or after the frame.
    #[error("{count} bytes too many at the end")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// No key, or too many.
    #[error("entry {index} of the commit has {found} keys")]
    KeyCount {
        /// Which entry, from 0.
        index: u32,
        /// The count it tells.
        found: usize,
    },
    /// Keys not strictly ascending.
    #[error("the keys of entry {index} of the commit are not in ascending order")]
    KeyOrder {
        /// Which entry, from 0.
        index: u32,
    },
}
