//! Pages: runs of rows of one column, encoded and sealed with a checksum. They can be rebuilt from the
//! ledger at any time, so there is one version at a time ([`crate::cursor::MODEL_VERSION`]) and no
//! upcasting: what another version wrote is thrown away.

mod deed;
mod row;

use std::fmt;

use bincode::config::{Configuration, LittleEndian, Varint};
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use thiserror::Error;

pub(crate) use self::deed::DeedForm;
pub(crate) use self::row::{
    BatchForm, ChangeForm, CommitForm, ConflictForm, CursorForm, FactForm, FlowForm, PlaceForm, RunForm, Units,
};

/// A column of a read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Column {
    Words = 1,
    Codes = 2,
    EventIds = 3,
    Batches = 4,
    Places = 5,
    Runs = 6,
    Facts = 7,
    Flows = 8,
    Deeds = 9,
    Commits = 10,
    Changes = 11,
    Conflicts = 12,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words => "words",
            Self::Codes => "codes",
            Self::EventIds => "event ids",
            Self::Batches => "batches",
            Self::Places => "places",
            Self::Runs => "runs",
            Self::Facts => "facts",
            Self::Flows => "flows",
            Self::Deeds => "deeds",
            Self::Commits => "commits",
            Self::Changes => "changes",
            Self::Conflicts => "conflicts",
        })
    }
}

impl Column {
    pub(crate) const ALL: [Self; 12] = [
        Self::Words,
        Self::Codes,
        Self::EventIds,
        Self::Batches,
        Self::Places,
        Self::Runs,
        Self::Facts,
        Self::Flows,
        Self::Deeds,
        Self::Commits,
        Self::Changes,
        Self::Conflicts,
    ];

    /// Its place among all.
    pub(crate) fn at(self) -> usize {
        self as usize - 1
    }

    /// Key of a page: column, then number, so that pages stand in order.
    pub(crate) fn key(self, page: u32) -> [u8; 5] {
        let [a, b, c, d] = page.to_be_bytes();
        [self as u8, a, b, c, d]
    }
}

/// A page that is as long as this is closed; a single long row may make it longer.
const CLOSED_FROM: usize = 32 * 1024;

/// No row is longer than a commit may be.
const ROW_LIMIT: usize = 1 << 20;

const CONFIG: Configuration<LittleEndian, Varint, bincode::config::Limit<ROW_LIMIT>> =
    bincode::config::standard().with_limit::<ROW_LIMIT>();

/// Sixteen bytes of BLAKE3 over a page's key and content.
pub(crate) type Seal = [u8; 16];

/// Why a page cannot be what was written.
#[derive(Debug, Error)]
pub(crate) enum PageError {
    #[error("its checksum does not fit")]
    Seal,
    #[error("it is too short")]
    Short,
    #[error("it has {0} bytes too many")]
    Trailing(usize),
    #[error("a row does not decode")]
    Row(#[source] DecodeError),
    #[error("a row has a value that nothing writes")]
    Value,
}

/// Seals content under a key: checksum, then content.
pub(crate) fn seal(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(16 + content.len());
    sealed.extend_from_slice(&checksum(key, content));
    sealed.extend_from_slice(content);
    sealed
}

fn checksum(key: &[u8], content: &[u8]) -> Seal {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[u8::try_from(key.len()).unwrap_or(u8::MAX)]).update(key).update(content);
    let mut seal = [0; 16];
    seal.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    seal
}

/// The content behind a checksum that fits.
pub(crate) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], PageError> {
    let (stored, content) = sealed.split_first_chunk::<16>().ok_or(PageError::Short)?;
    if checksum(key, content) == *stored { Ok(content) } else { Err(PageError::Seal) }
}

/// What a sealed page says of itself: its checksum, and how many rows it has.
pub(crate) fn claims(sealed: &[u8]) -> Result<(Seal, u32), PageError> {
    let (seal, content) = sealed.split_first_chunk::<16>().ok_or(PageError::Short)?;
    Ok((*seal, row_count(content)?))
}

/// A sealed page of so many bytes gets no more rows.
pub(crate) fn is_closed(sealed_len: usize) -> bool {
    sealed_len >= CLOSED_FROM
}

/// Rows on their way into a page: how many, then one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    rows: u32,
    bytes: Vec<u8>,
}

impl Draft {
    pub(crate) fn push(&mut self, row: &impl Encode) -> Result<(), EncodeError> {
        bincode::encode_into_std_write(row, &mut self.bytes, CONFIG)?;
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) fn is_full(&self) -> bool {
        is_closed(size_of::<Seal>() + size_of::<u32>() + self.bytes.len())
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut content = self.rows.to_be_bytes().to_vec();
        content.extend_from_slice(&self.bytes);
        content
    }
}

/// How many rows a page has.
fn row_count(content: &[u8]) -> Result<u32, PageError> {
    content.first_chunk::<4>().map(|count| u32::from_be_bytes(*count)).ok_or(PageError::Short)
}

/// Reads all rows of a page, one after the other, and nothing else.
pub(crate) fn read_rows<R: Decode<()>>(content: &[u8], mut each: impl FnMut(R) -> Option<()>) -> Result<(), PageError> {
    let count = row_count(content)?;
    let mut rest = &content[4..];
    for _ in 0..count {
        let (row, read) = bincode::decode_from_slice::<R, _>(rest, CONFIG).map_err(PageError::Row)?;
        rest = &rest[read..];
        each(row).ok_or(PageError::Value)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(PageError::Trailing(rest.len())) }
}

/// Reads all texts of a page.
pub(crate) fn read_texts(content: &[u8], mut each: impl FnMut(&str) -> Option<()>) -> Result<(), PageError> {
    let count = row_count(content)?;
    let mut rest = &content[4..];
    for _ in 0..count {
        let (text, read) = bincode::borrow_decode_from_slice::<&str, _>(rest, CONFIG).map_err(PageError::Row)?;
        rest = &rest[read..];
        each(text).ok_or(PageError::Value)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(PageError::Trailing(rest.len())) }
}

/// Encodes one form by itself.
pub(crate) fn encode(form: &impl Encode) -> Result<Vec<u8>, EncodeError> {
    bincode::encode_to_vec(form, CONFIG)
}

/// Decodes one form by itself.
pub(crate) fn decode<F: Decode<()>>(content: &[u8]) -> Result<F, PageError> {
    let (form, read) = bincode::decode_from_slice(content, CONFIG).map_err(PageError::Row)?;
    if read == content.len() { Ok(form) } else { Err(PageError::Trailing(content.len() - read)) }
}
