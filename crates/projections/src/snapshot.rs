//! A read model's pages, to begin another one with.

use std::path::Path;

use lotline_domain::time::CommitNo;

use crate::cursor::{CommitHash, Cursor, LedgerId};
use crate::model::{Kept, ReadModel, ReadModelKind};
use crate::pages;
use crate::store::{CURSOR_KEY, Doubt, OpenError, SaveError, Store, read_cursor};

/// A part has about so many bytes: a page more at most.
const PART_BYTES: usize = 256 << 10;

/// The pages of a read model as they were saved, in parts. They seal themselves: what is missing, damaged or another's is
/// found when a read model begins with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Up to where.
    pub cursor: Cursor,
    /// The pages; for the same [`MODEL_VERSION`](crate::MODEL_VERSION) alone.
    pub parts: Vec<Vec<u8>>,
}

/// Why a read model does not begin with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Begin at the first commit: these are no pages.
    #[error("part {part} of the snapshot is damaged")]
    Part {
        /// Which, from 1.
        part: usize,
    },
    /// The pages cannot be written.
    #[error("the pages of the snapshot cannot be written")]
    Write(#[source] sled::Error),
    /// The folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Kept {
    /// What was saved last; `None` where nothing was yet. A save that is being written is waited for.
    ///
    /// # Errors
    /// [`SaveError`] when the pages cannot be read.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, SaveError> {
        let entries = self.entries()?;
        if entries.is_empty() {
            return Ok(None);
        }
        let stored = entries.iter().find(|(key, _)| key[..] == CURSOR_KEY).ok_or(Doubt::NoCursor);
        let cursor = stored.and_then(|(_, stored)| read_cursor(stored)).map_err(SaveError::Unreadable)?;
        let cursor =
            Cursor { ledger: LedgerId(cursor.ledger), number: CommitNo(cursor.number), hash: CommitHash(cursor.hash) };
        let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut cut = |part: &mut Vec<(Vec<u8>, Vec<u8>)>| {
            parts.push(pages::encode(&std::mem::take(part)).expect("a part is far below the limit"));
        };
        for (key, value) in entries {
            bytes += key.len() + value.len();
            part.push((key.to_vec(), value.to_vec()));
            if bytes >= PART_BYTES {
                cut(&mut part);
                bytes = 0;
            }
        }
        if !part.is_empty() {
            cut(&mut part);
        }
        Ok(Some(Snapshot { cursor, parts }))
    }
}

impl ReadModel {
    /// Begins a read model in a folder with a snapshot. Pages that the folder has are thrown away. Where the snapshot's are
    /// unfit the model begins at commit 0, and [`ReadModel::doubt`] tells why.
    ///
    /// # Errors
    /// [`BeginError`] when the parts are no pages, or the folder cannot be used.
    pub fn begin_with(
        folder: &Path,
        kind: ReadModelKind,
        ledger: LedgerId,
        parts: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, BeginError> {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            let some: Vec<(Vec<u8>, Vec<u8>)> =
                pages::decode(part.as_ref()).map_err(|_| BeginError::Part { part: at + 1 })?;
            entries.extend(some);
        }
        let mut store = Store::take(folder)?;
        store.clear()?;
        if let Err(error) = store.fill(entries) {
            store.clear()?;
            return Err(BeginError::Write(error));
        }
        drop(store);
        Ok(Self::open(folder, kind, ledger)?)
    }
}
