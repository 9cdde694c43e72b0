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
pub trait Model: Send {
    /// Why a commit cannot be applied or saved.
    type Error: std::error::Error + Send + Sync + 'static;

    /// A commit that is ready to be applied.
    type Prepared: Send;

    /// How far it has come, with what is not saved yet.
    fn cursor(&self) -> Cursor;

    /// Makes a commit ready, in another thread perhaps, while those before it are applied. Its number, previous hash and
    /// own bytes were checked; `hash` is its hash.
    ///
    /// # Errors
    /// When it cannot be read.
    fn prepare(frame: Frame, hash: CommitHash) -> Result<Self::Prepared, Self::Error>;

    /// Applies the next commit.
    ///
    /// # Errors
    /// When it cannot; then nothing of it was applied.
    fn apply(&mut self, commit: &Self::Prepared) -> Result<(), Self::Error>;

    /// Saves what was applied, with the cursor, all or nothing. It may be under way still when this returns, and then
    /// goes on while further commits are applied.
    ///
    /// # Errors
    /// When it, or the save before it, cannot; what was saved before is whole.
    fn save(&mut self) -> Result<(), Self::Error>;

    /// Waits for what is under way.
    ///
    /// # Errors
    /// When it could not be saved; what was saved before is whole.
    fn saved(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
