//! How far a read model has come: ledger, commit number and commit hash.

use std::fmt;

use lotline_domain::time::{CommitNo, RecordedAt};

/// Version of what the read models make of effects. A folder that another one wrote is built anew.
pub const MODEL_VERSION: u32 = 4;

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $size]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

bytes! {
    /// Id of a ledger.
    LedgerId, 16
}
bytes! {
    /// Hash of a commit: one link of the chain.
    CommitHash, 32
}

impl CommitHash {
    /// What stands before the first commit.
    pub const ZERO: Self = Self([0; 32]);
}

/// The head of a commit, as far as a read model needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitMeta {
    /// Its number; the first is 1.
    pub number: CommitNo,
    /// Hash of the commit before it; [`CommitHash::ZERO`] before the first.
    pub prev_hash: CommitHash,
    /// Its own hash.
    pub hash: CommitHash,
    /// Ledger time.
    pub recorded_at: RecordedAt,
}

/// A reader's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// In which ledger.
    pub ledger: LedgerId,
    /// Everything up to this commit is in; 0 is nothing.
    pub number: CommitNo,
    /// Hash of that commit; [`CommitHash::ZERO`] for nothing.
    pub hash: CommitHash,
}

impl Cursor {
    /// Before the first commit of a ledger.
    pub fn start(ledger: LedgerId) -> Self {
        Self { ledger, number: CommitNo(0), hash: CommitHash::ZERO }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.ledger, self.number.0)
    }
}
