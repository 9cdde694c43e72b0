//! What comes of a command, and what can be wrong before anything does.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::command::Rejection;
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_ledger::{AppendError, CommitHash, Failure, KeyringError, ReadError};
use lotline_wire::payload::{DecodeError, EncodeError};
use thiserror::Error;

/// Where an event stands in the ledger; it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The event's position.
    pub position: Position,
    /// Number of its commit.
    pub commit: CommitNo,
    /// Hash of its commit.
    pub hash: CommitHash,
    /// Ledger time of its commit.
    pub recorded_at: RecordedAt,
}

/// What came of a command. All of these are recorded and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The fact stands in the ledger.
    Accepted(Receipt),
    /// A business no; the refusal stands in the ledger.
    Rejected {
        /// The rule, and what would fit.
        rejection: Rejection,
        /// The commit that it was decided on.
        decided_on: CommitNo,
        /// Where the refusal stands.
        receipt: Receipt,
    },
    /// The same command came before: this is its first answer.
    Duplicate {
        /// Where the first answer stands.
        first: Receipt,
        /// If it was refused: why, and the commit that this was decided on.
        rejection: Option<(Rejection, CommitNo)>,
    },
    /// Another command or event has this id with other content. The first one stands.
    Conflict {
        /// Where the first one stands.
        first: Receipt,
        /// Where the conflict stands, for the report.
        receipt: Receipt,
    },
}

impl Outcome {
    /// Where the answer stands.
    pub fn receipt(&self) -> &Receipt {
        match self {
            Self::Accepted(receipt) | Self::Rejected { receipt, .. } | Self::Conflict { receipt, .. } => receipt,
            Self::Duplicate { first, .. } => first,
        }
    }

    /// True when the fact stands in the ledger, by this command or the same one before.
    pub fn stands(&self) -> bool {
        matches!(self, Self::Accepted(_) | Self::Duplicate { rejection: None, .. })
    }
}

/// Something of the ledger could not be read.
#[derive(Debug, Clone, Error)]
pub enum LoadError {
    /// The ledger could not be read.
    #[error("the ledger could not be read")]
    Ledger(#[from] ReadError),
    /// The index names a position that is not there.
    #[error("the ledger has no event at position {}, which its index names", .0.0)]
    Missing(Position),
    /// An event could not be understood.
    #[error("the event at position {} could not be read", .position.0)]
    Payload {
        /// Where.
        position: Position,
        /// Why.
        #[source]
        source: Arc<DecodeError>,
    },
}

/// Why a command was not taken. Nothing of it is recorded, unless it says otherwise.
#[derive(Debug, Clone, Error)]
pub enum SubmitError {
    /// Come again later.
    #[error("too many commands are waiting; try again in {} ms", .retry_after.as_millis())]
    Busy {
        /// When there may be room.
        retry_after: Duration,
    },
    /// Somebody has to look at the clock; observations are taken all the same.
    #[error(
        "the clock says {now}, {expected} was expected; intents are stopped until it is set right, or accepted \
         (--accept-clock)"
    )]
    ClockStepped {
        /// What the clock says.
        now: Instant,
        /// What was expected, or was recorded last.
        expected: Instant,
    },
    /// Split the command.
    #[error("the command cannot be stored")]
    Unfit(#[source] Arc<EncodeError>),
    /// Split the command.
    #[error("the command does not fit into a commit")]
    TooLarge(#[source] lotline_ledger::Rejected),
    /// Free some space and try again.
    #[error("the disk is full; nothing was recorded; free some space and try again")]
    DiskFull(#[source] Failure),
    /// A commit before this one failed; try again.
    #[error("an earlier commit failed, so nothing was recorded; try again")]
    Halted,
    /// The keyring could not be written: see to the disk and try again.
    #[error("the keyring of sealed values could not be written; nothing was recorded")]
    Keyring(#[source] Arc<KeyringError>),
    /// The ledger is damaged, or was written by a newer program.
    #[error("what the command touches could not be loaded; nothing was recorded")]
    Load(#[source] Arc<LoadError>),
    /// Stop the process and open the ledger again: only that tells whether the command was recorded.
    #[error("the ledger has stopped after a failure of the disk; stop, and open it again")]
    Stopped(#[source] AppendError),
    /// The handler was closed.
    #[error("the handler was closed; nothing was recorded")]
    Closed,
}

impl From<LoadError> for SubmitError {
    fn from(error: LoadError) -> Self {
        Self::Load(Arc::new(error))
    }
}

/// Why nothing of a capture with rollback was recorded.
#[derive(Debug, Clone, Error)]
pub enum CaptureError {
    /// Use `proceed`, or split it.
    #[error("{found} commands; with rollback at most {limit} fit into one commit: use proceed, or split the file")]
    TooMany {
        /// How many.
        found: usize,
        /// How many fit.
        limit: usize,
    },
    /// Use `proceed`, or split it.
    #[error(
        "more than {limit} bytes when stored; with rollback all has to fit into one commit: use proceed, or split the file"
    )]
    TooLarge {
        /// How many fit.
        limit: usize,
    },
    /// Some of the commands are refused; per command what came of it, `None` where it would have been recorded.
    #[error("{} of the commands are refused, so nothing was recorded", .0.iter().filter(|item| item.is_some()).count())]
    Refused(Vec<Option<Refusal>>),
    /// Nothing was recorded for a reason that is not in the commands.
    #[error(transparent)]
    Failed(#[from] SubmitError),
}

/// Why one command of a capture with rollback is refused.
#[derive(Debug, Clone, Error)]
pub enum Refusal {
    /// A business no.
    #[error("refused by the rule {}", .0.rule.word())]
    Rejected(Rejection),
    /// Its id is another content's, which stands there (in this very capture: `None`).
    #[error("another command or event has its id and other content")]
    Conflict(Option<Receipt>),
    /// It could not be taken.
    #[error(transparent)]
    Failed(SubmitError),
}

/// Why a handler was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The ledger was not opened.
    #[error(transparent)]
    Ledger(#[from] lotline_ledger::OpenError),
    /// The keyring was not opened.
    #[error("the keyring of sealed values could not be opened")]
    Keyring(#[from] KeyringError),
    /// The ledger has commits, and its keyring is missing, or has no secret of the ledger.
    #[error(
        "the keyring of the ledger is missing: without it nothing that was sealed can be read, and what is sent again \
         cannot be told from what is new"
    )]
    NoKeyring,
    /// No secret to hash contents with.
    #[error("the ledger's secret is missing")]
    Secret(#[from] lotline_wire::seal::SealError),
    /// The master data could not be loaded.
    #[error("the ledger's master data could not be loaded")]
    Load(#[from] LoadError),
    /// No randomness, or no thread.
    #[error("the operating system gave no {what}")]
    System {
        /// What it did not give.
        what: &'static str,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
}
