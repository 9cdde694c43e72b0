//! The projector's way out of a stream: commits in order, each checked to be the next link of the chain.

mod feed;

use std::time::Duration;

use lotline_ledger::{ChainBreak, CommitHash, CommitNumber, FrameError, Head, LedgerId};

use crate::connect::Bus;
use crate::error::Trouble;
use crate::model::{Cursor, Model};
use crate::stop::Stop;

/// When a model is saved. What was not saved is applied again after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoints {
    /// After so many commits,
    pub commits: u64,
    /// or so many events,
    pub events: u64,
    /// or so long after the first commit that is not saved.
    pub interval: Duration,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { commits: 4_096, events: 65_536, interval: Duration::from_secs(5) }
    }
}

/// How to project.
#[derive(Debug, Clone)]
pub struct ProjectOptions {
    /// What the consumer's name begins with, so that permissions can name it: letters, digits, `-` and `_`.
    pub name: String,
    /// Return when this commit is applied; without it, when stopped.
    pub until: Option<CommitNumber>,
    /// When to save.
    pub checkpoints: Checkpoints,
    /// After so long without a message the server is asked whether there should have been one.
    pub idle: Duration,
    /// Streams that mirror the ledger's: a commit that is missing or damaged in its own is looked for there, before the
    /// chain is called broken. It has to be the next link like any other.
    pub copies: Vec<String>,
    /// How long to wait for a server that does not answer, for a stream that is not there yet, or for one that has
    /// less than the model or than `until`. Without it, for ever.
    pub patience: Option<Duration>,
}

impl Default for ProjectOptions {
    fn default() -> Self {
        Self {
            name: "projector".to_owned(),
            until: None,
            checkpoints: Checkpoints::default(),
            idle: Duration::from_secs(5),
            copies: Vec::new(),
            patience: None,
        }
    }
}

/// What a projector has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Projected {
    /// How many commits it applied; the last one is the cursor's.
    pub applied: u64,
    /// How far the model is now.
    pub cursor: Cursor,
    /// Generation of the stream that it read.
    pub generation: u32,
    /// How often the consumer was made anew.
    pub recreated: u64,
    /// How many commits came from a copy.
    pub refetched: u64,
}

/// A stream does not go on where the model ends. What had been applied until then is saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the chain is broken at commit {at} of stream {stream}, which has to follow a commit with hash {expected}: {found}"
)]
pub struct ChainBroken {
    /// The stream.
    pub stream: String,
    /// The commit that could not be applied.
    pub at: CommitNumber,
    /// Hash of the commit before it.
    pub expected: CommitHash,
    /// What stands there.
    pub found: Found,
}

/// What stands where the next commit has to be. Read twice, the second time from the stream's leader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Found {
    /// Nothing, although the stream goes on behind it.
    #[error("the stream has nothing there, and goes on up to commit {up_to}")]
    Nothing {
        /// The last one that the stream tells of.
        up_to: CommitNumber,
    },
    /// Bytes that are no commit.
    #[error("what is there is damaged: {0}")]
    Damaged(#[from] FrameError),
    /// Another chain's commit.
    #[error("what is there does not follow: {0}")]
    Other(ChainBreak),
}

/// Why a projector stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError<E: std::error::Error + 'static> {
    /// Repair the stream: let the relay read it back, and start a new generation beside it.
    #[error(transparent)]
    Broken(#[from] ChainBroken),
    /// Use a newer program: a newer one wrote this commit.
    #[error("commit {at} of stream {stream} has format version {found}, which this program does not know")]
    NewerFormat {
        /// The stream.
        stream: String,
        /// The commit.
        at: CommitNumber,
        /// Its format version.
        found: u32,
    },
    /// Empty the model and begin anew: it was made from another chain.
    #[error("the model is as of commit {at} with hash {own}, but in stream {stream} that commit has hash {found}")]
    OtherChain {
        /// The stream.
        stream: String,
        /// The model's last commit.
        at: CommitNumber,
        /// Its hash in the model.
        own: CommitHash,
        /// Its hash in the stream.
        found: CommitHash,
    },
    /// Start the relay, or name another server: there is no stream of this ledger.
    #[error("ledger {ledger} has no stream on this server")]
    NoStream {
        /// The ledger.
        ledger: LedgerId,
    },
    /// Wait for the relay to fill the stream, or empty the model: the stream has less than the model.
    #[error("the model is as of commit {at}, stream {stream} ends with commit {end}")]
    Behind {
        /// The stream.
        stream: String,
        /// The model's last commit.
        at: CommitNumber,
        /// The stream's last commit.
        end: CommitNumber,
    },
    /// Start the relay, or ask for less: the stream ends before the commit that was to be reached.
    #[error("stream {stream} ends with commit {end}, and commit {until} does not come")]
    Ends {
        /// The stream.
        stream: String,
        /// The commit that was asked for.
        until: CommitNumber,
        /// The stream's last commit.
        end: CommitNumber,
    },
    /// The model cannot apply a commit.
    #[error("commit {at} cannot be applied")]
    Apply {
        /// The commit.
        at: CommitNumber,
        /// Why.
        #[source]
        source: E,
    },
    /// The model cannot be saved.
    #[error("the model cannot be saved")]
    Save(#[source] E),
    /// The server does not do what it has to.
    #[error(transparent)]
    Server(#[from] Trouble),
}

impl Bus {
    /// Feeds a model from the newest stream of its ledger, from behind its cursor on, until it has come to
    /// `options.until` or is stopped; saves it now and then, and at the end, whatever the end is.
    ///
    /// Each commit's number has to be the next, its bytes have to be sound, and its previous hash has to be that of
    /// the commit before, which for the first one is read from the stream and compared with the cursor.
    ///
    /// # Errors
    /// [`ProjectError`]. It never goes on behind a commit that is missing, damaged or of another chain.
    pub fn project<M: Model>(
        &self,
        model: &mut M,
        options: &ProjectOptions,
        stop: &Stop,
    ) -> Result<Projected, ProjectError<M::Error>> {
        std::thread::scope(|scope| {
            let beside = feed::Beside::start(scope);
            self.block_on(feed::Feed::new(self, model, options, stop, beside).run())
        })
    }
}

/// A head for the empty ledger, or for what stands at a cursor.
fn head_of(cursor: Cursor) -> Option<Head> {
    (cursor.commit == CommitNumber::ZERO).then(|| Head::empty(cursor.ledger))
}
