//! What a projector feeds.

use lotline_ledger::{CommitHash, CommitNumber, Frame, LedgerId};

/// How far a model has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// In which ledger.
    pub ledger: LedgerId,
    /// Everything up to this commit is in; 0 is nothing.
    pub commit: CommitNumber,
    /// Hash of that commit; [`CommitHash::ZERO`] for nothing.
    pub hash: CommitHash,
}

/// Something that is made from commits, in order: a read model, or a copy of a ledger. It owns its cursor, which is
/// saved together with what was made, so that a commit is never applied twice and never left out.
pub trait Model {
    /// Why a commit cannot be applied or saved.
    type Error: std::error::Error + Send + Sync + 'static;

    /// How far it has come, with what is not saved yet.
    fn cursor(&self) -> Cursor;

    /// Applies the next commit. Number, previous hash and the commit's own bytes were checked; `hash` is its hash.
    ///
    /// # Errors
    /// When it cannot; then nothing of it was applied.
    fn apply(&mut self, frame: &Frame, hash: CommitHash) -> Result<(), Self::Error>;

    /// Saves what was applied, with the cursor, all or nothing.
    ///
    /// # Errors
    /// When it cannot; what was saved before is whole.
    fn save(&mut self) -> Result<(), Self::Error>;
}
