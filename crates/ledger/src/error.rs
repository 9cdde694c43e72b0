//! Errors, by what the caller has to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::ChainBreak;
use crate::frame::FrameError;
use crate::ids::{CommitNumber, Epoch, Position};

/// An operation of the disk that failed: what was done to which path.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct Failure {
    /// What was being done, as a verb: "read", "sync".
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's answer.
    #[source]
    pub source: Arc<io::Error>,
}

impl Failure {
    pub(crate) fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { doing, path, source: Arc::new(source) }
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// Why nothing was appended. What the caller can do differs per variant.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Change the input: it can never be appended. Nothing was written.
    #[error("the commit is refused: {0}")]
    Rejected(Rejected),
    /// Free some space and try again. Nothing was recorded, and the ledger can still be used.
    #[error("the disk is full; free some space and try again, nothing was recorded")]
    DiskFull(#[source] Failure),
    /// Stop: open the ledger again in order to learn what is on the disk. Whether this commit is there is unknown
    /// if this call was the one that failed; calls after it wrote nothing.
    #[error("the ledger's writer has stopped after a failure of the disk; open the ledger again")]
    Poisoned(#[source] Failure),
}

/// Why a commit can never be appended as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A commit without events.
    #[error("a commit needs at least one event")]
    NoEvents,
    /// More events than a commit may hold.
    #[error("{found} events in one commit, the limit is {limit}")]
    TooManyEvents {
        /// How many were given.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// More bytes than a frame may have.
    #[error("a commit of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the whole frame.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// An event without a key.
    #[error("an event needs at least one key")]
    NoKeys,
    /// More keys than an event may carry.
    #[error("{found} keys on one event, the limit is {limit}")]
    TooManyKeys {
        /// How many different ones were given.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Another writer has recorded with a later epoch.
    #[error("this writer has epoch {own}, the ledger is at epoch {head}")]
    StaleEpoch {
        /// Epoch of this writer.
        own: Epoch,
        /// Epoch of the last commit.
        head: Epoch,
    },
    /// Bytes that are not a frame.
    #[error("not a valid frame: {0}")]
    Frame(FrameError),
    /// A frame that does not continue this ledger.
    #[error("it does not continue the ledger: {0}")]
    Chain(ChainBreak),
}

impl From<Rejected> for AppendError {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

/// Why a ledger was not opened or created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no ledger here: create one, or name another folder.
    #[error("there is no ledger in {}", dir.display())]
    NotFound {
        /// The folder.
        dir: PathBuf,
    },
    /// There is a ledger here already: open it.
    #[error("there is a ledger in {} already", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// Another process or writer has it open: wait for it, or ask it.
    #[error("the ledger in {} is in use by another writer", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The options contradict themselves.
    #[error("bad option: {what}")]
    Options {
        /// What is wrong.
        what: &'static str,
    },
    /// Free some space and try again.
    #[error("the disk is full; free some space and try again")]
    DiskFull(#[source] Failure),
    /// Restore from a copy, or look into it by hand: this cannot be repaired honestly.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// Use a newer program.
    #[error(transparent)]
    NewerFormat(#[from] NewerFormat),
    /// The disk failed.
    #[error(transparent)]
    Io(Failure),
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Damaged(damage),
            ReadError::NewerFormat(newer) => Self::NewerFormat(newer),
            ReadError::Io(failure) => failure.into(),
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        if failure.is_disk_full() { Self::DiskFull(failure) } else { Self::Io(failure) }
    }
}

/// Why something could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The stored bytes are not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A newer program wrote this.
    #[error(transparent)]
    NewerFormat(#[from] NewerFormat),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] Failure),
}

/// A format version that this build does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at offset {offset} has format version {found}, this program knows {known}; use a newer one", file.display())]
pub struct NewerFormat {
    /// The file.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// The version that was found.
    pub found: u32,
    /// The newest version that this build knows.
    pub known: u32,
}

/// Bytes that are not what was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file; the folder if a file is missing.
    pub file: PathBuf,
    /// Where the damaged thing (frame, header, slot, page, zeros) starts.
    pub offset: u64,
    /// The commit that stands there, or would have to.
    pub commit: Option<CommitNumber>,
    /// The position of the first event that it holds, or would have to.
    pub position: Option<Position>,
    /// What is wrong.
    pub kind: DamageKind,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "damage in {} at offset {}", self.file.display(), self.offset)?;
        if let Some(commit) = self.commit {
            write!(out, ", commit {commit}")?;
        }
        if let Some(position) = self.position {
            write!(out, ", position {position}")?;
        }
        write!(out, ": {}", self.kind)
    }
}

impl std::error::Error for Damage {}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// A frame breaks the format.
    #[error("{0}")]
    Frame(FrameError),
    /// A commit does not continue the chain.
    #[error("{0}")]
    Chain(Box<ChainBreak>),
    /// A segment's header is not one.
    #[error("the segment's header is damaged")]
    SegmentHeader,
    /// A segment's header does not continue the chain, or does not fit the file's name.
    #[error("the segment's header does not continue the ledger")]
    SegmentOrder,
    /// A segment is not there.
    #[error("the segment file is missing")]
    SegmentMissing,
    /// A sealed segment without a commit, or with bytes after its last one.
    #[error("the sealed segment does not end with a complete commit")]
    SegmentEnd,
    /// A byte that has to be zero is not, or a commit was torn and not repaired yet.
    #[error("bytes that have to be zero are not")]
    NotZero,
    /// The head file is not there, or has no valid slot.
    #[error("the head file is missing or has no valid slot")]
    Head,
    /// One slot of the head file is not valid.
    #[error("slot {slot} of the head file is damaged")]
    HeadSlot {
        /// Which, 0..=2.
        slot: usize,
    },
    /// A commit that was acknowledged is not there: the ledger was cut.
    #[error("commit {commit} was acknowledged and is not there: the ledger was cut")]
    Cut {
        /// The first commit that is not there.
        commit: CommitNumber,
    },
    /// The head file names a commit that differs from the one that is there.
    #[error("the head file does not agree with commit {head}")]
    HeadDiffers {
        /// The commit it names.
        head: CommitNumber,
    },
    /// A key index differs from its segment; it is rebuilt when the ledger is opened for writing.
    #[error("the key index is damaged")]
    Index,
    /// The keyring is damaged, or of another ledger.
    #[error("the keyring is damaged")]
    Keyring,
}

impl DamageKind {
    /// True for what the next writer makes anew: nothing that was recorded is lost.
    pub fn is_mended_by_a_writer(&self) -> bool {
        matches!(self, Self::HeadSlot { .. } | Self::Index)
    }
}
