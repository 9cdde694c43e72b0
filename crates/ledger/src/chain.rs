//! How one commit follows another: the one place that knows the rules of the chain.

use crate::frame::CommitHeader;
use crate::ids::{CommitHash, CommitNumber, Epoch, LedgerId, Micros, Position};

/// The end of a ledger at some commit: all that the next commit has to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The ledger.
    pub ledger: LedgerId,
    /// Number of the last commit; 0 while there is none.
    pub commit: CommitNumber,
    /// Hash of the last commit; zeros while there is none.
    pub hash: CommitHash,
    /// Position that the next event gets, which is the number of events so far.
    pub next_position: Position,
    /// Recording time of the last commit; [`Micros::NONE`] while there is none.
    pub recorded_at: Micros,
    /// Epoch of the last commit; 0 while there is none.
    pub epoch: Epoch,
}

impl Head {
    /// The head of a ledger without a commit.
    pub fn empty(ledger: LedgerId) -> Self {
        Self {
            ledger,
            commit: CommitNumber::ZERO,
            hash: CommitHash::ZERO,
            next_position: Position::new(0),
            recorded_at: Micros::NONE,
            epoch: Epoch::new(0),
        }
    }

    /// Whether a commit with this header continues the chain here.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, next: &CommitHeader) -> Result<(), ChainBreak> {
        if next.ledger != self.ledger {
            return Err(ChainBreak::Ledger { expected: self.ledger, found: next.ledger });
        }
        if next.number != self.commit.next() {
            return Err(ChainBreak::Number { expected: self.commit.next(), found: next.number });
        }
        if next.previous != self.hash {
            return Err(ChainBreak::Previous { expected: self.hash, found: next.previous });
        }
        if next.first_position != self.next_position {
            return Err(ChainBreak::Position { expected: self.next_position, found: next.first_position });
        }
        if next.recorded_at <= self.recorded_at {
            return Err(ChainBreak::RecordedAt { previous: self.recorded_at, found: next.recorded_at });
        }
        if next.epoch < self.epoch {
            return Err(ChainBreak::Epoch { previous: self.epoch, found: next.epoch });
        }
        Ok(())
    }

    /// The head after a commit with this header and hash, which has passed [`Head::check`].
    pub fn after(&self, next: &CommitHeader, hash: CommitHash) -> Self {
        Self {
            ledger: self.ledger,
            commit: next.number,
            hash,
            next_position: next.first_position.plus(u64::from(next.event_count)),
            recorded_at: next.recorded_at,
            epoch: next.epoch,
        }
    }
}

/// Why a commit does not continue the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// It is of another ledger.
    #[error("it belongs to ledger {found}, not to {expected}")]
    Ledger {
        /// This ledger.
        expected: LedgerId,
        /// The ledger it names.
        found: LedgerId,
    },
    /// It does not have the next number.
    #[error("commit number {found} where {expected} has to come")]
    Number {
        /// The next number.
        expected: CommitNumber,
        /// The number it has.
        found: CommitNumber,
    },
    /// It names another previous commit.
    #[error("it follows a commit with hash {found}, but the one before it has {expected}")]
    Previous {
        /// Hash of the commit before it.
        expected: CommitHash,
        /// The hash it names.
        found: CommitHash,
    },
    /// Its positions leave a gap or overlap.
    #[error("first position {found} where {expected} has to come")]
    Position {
        /// The next position.
        expected: Position,
        /// The position it has.
        found: Position,
    },
    /// It was not recorded after the previous commit.
    #[error("recorded at {found}, which is not after {previous}")]
    RecordedAt {
        /// Time of the commit before it.
        previous: Micros,
        /// Its own time.
        found: Micros,
    },
    /// It was made by an earlier writer than the previous commit.
    #[error("epoch {found} after epoch {previous}")]
    Epoch {
        /// Epoch of the commit before it.
        previous: Epoch,
        /// Its own epoch.
        found: Epoch,
    },
}
