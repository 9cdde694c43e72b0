//! Read models that follow a ledger while they are asked, and while their changes are told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use lotline_domain::book::{BatchIx, Bounds};
use lotline_domain::time::CommitNo;
use lotline_ledger::{CommitHash, Reader};
use lotline_projections::{ReadModel, ReadModelKind, Snapshot};

use super::lock;
use crate::failure::Failure;
use crate::folder::{self, Decoded};

/// So many hashes are remembered: the feed is not further behind, or goes to the head in one step.
const HASHES: usize = 1_024;

/// So many batches are settled between others' turns.
const SETTLED_AT_ONCE: u32 = 4_096;

/// Tells threads that something has moved on.
#[derive(Debug, Default)]
pub struct Moved {
    count: Mutex<u64>,
    told: Condvar,
}

impl Moved {
    /// Wakes up all that wait.
    pub fn now(&self) {
        *lock(&self.count) += 1;
        self.told.notify_all();
    }

    /// Waits until it has moved beyond what was seen, or the limit has passed; what is seen now.
    pub fn beyond(&self, seen: u64, limit: Duration) -> u64 {
        let count = lock(&self.count);
        let waited = self.told.wait_timeout_while(count, limit, |count| *count == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A read model that questions borrow and one thread applies commits to. Who waits to apply goes before questions that
/// come later, so a commit waits for the questions under way at most.
#[derive(Debug)]
pub struct Live {
    kind: ReadModelKind,
    model: RwLock<ReadModel>,
    commit: AtomicU64,
    /// Of the last commits, for the feed.
    hashes: Mutex<VecDeque<(u64, CommitHash)>>,
    moved: Arc<Moved>,
    /// One save at a time.
    saving: Mutex<()>,
}

impl Live {
    /// A read model as far as it has come, and whom to tell when it goes on.
    pub fn new(model: ReadModel, moved: Arc<Moved>) -> Self {
        let commit = AtomicU64::new(model.cursor().number.0);
        Self {
            kind: model.kind(),
            model: RwLock::new(model),
            commit,
            hashes: Mutex::default(),
            moved,
            saving: Mutex::default(),
        }
    }

    /// Which read model.
    pub fn kind(&self) -> ReadModelKind {
        self.kind
    }

    /// How far it has come, at least.
    pub fn commit(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    /// Told when it has come further.
    pub fn moved(&self) -> &Moved {
        &self.moved
    }

    /// To ask it.
    pub fn read(&self) -> RwLockReadGuard<'_, ReadModel> {
        // Every change under the lock is whole at each of its steps.
        self.model.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles all batches, some at a time, so that a question about all of them finds most of it done and holds up
    /// nobody for long.
    pub fn settle_all(&self, bounds: Bounds) {
        let count = u32::try_from(self.read().book().batch_count()).expect("fewer than 2^32 batches");
        for first in (0..count).step_by(SETTLED_AT_ONCE as usize) {
            let model = self.read();
            for batch in first..count.min(first.saturating_add(SETTLED_AT_ONCE)) {
                drop(model.settlement(BatchIx(batch), bounds));
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, ReadModel> {
        self.model.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash of one of the last commits that were applied here.
    pub fn hash_of(&self, commit: CommitNo) -> Option<CommitHash> {
        lock(&self.hashes).iter().find(|(number, _)| *number == commit.0).map(|(_, hash)| *hash)
    }

    /// Applies a commit.
    ///
    /// # Errors
    /// Where it does not follow.
    pub fn apply(&self, commit: &Decoded) -> Result<(), Failure> {
        let number = commit.meta.number.0;
        {
            let mut hashes = lock(&self.hashes);
            hashes.truncate(HASHES - 1);
            hashes.push_front((number, CommitHash::new(commit.meta.hash.0)));
        }
        folder::apply_one(&mut self.write(), commit)?;
        self.came_to(number);
        Ok(())
    }

    /// Applies what a ledger has and it has not.
    ///
    /// # Errors
    /// Where the ledger cannot be read, or its chain is broken.
    pub fn follow(&self, reader: &Reader) -> Result<(), Failure> {
        folder::follow(CommitNo(self.commit()), reader, |apply| {
            let mut model = self.write();
            apply(&mut model)?;
            let number = model.cursor().number.0;
            drop(model);
            self.came_to(number);
            Ok(())
        })
    }

    fn came_to(&self, commit: u64) {
        self.commit.store(commit, Ordering::Release);
        self.moved.now();
    }

    /// How many commits a restart would have to apply again.
    pub fn unsaved_commits(&self) -> u64 {
        self.read().unsaved_commits()
    }

    /// Saves it. It is asked, and commits are applied, while the pages are being written.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self) -> Result<(), Failure> {
        let _one = lock(&self.saving);
        // Taken apart, so that the lock is let go of before the disk is waited for.
        let saving = self.write().begin_save()?;
        if let Some(saving) = saving {
            let commit = saving.commit().0;
            let saved = saving.write()?;
            self.write().saved(saved);
            tracing::info!(commit, "saved");
        }
        Ok(())
    }

    /// Saves it, and gives what was saved; `None` before its first commit.
    ///
    /// # Errors
    /// Where it cannot be written or read.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, Failure> {
        self.save()?;
        let Some(kept) = self.read().kept() else { return Ok(None) };
        Ok(kept.snapshot()?)
    }

    /// The read model, when nobody asks it any more.
    pub fn into_model(self) -> ReadModel {
        self.model.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
