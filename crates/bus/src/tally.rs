//! What a connection has done so far, as plain counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the connection was made first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How often it was connected.
    pub connections: u64,
    /// Permissions that the server denied.
    pub violations: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were told to come again, because too many waited.
    pub busy: u64,
    /// Questions that were answered.
    pub questions: u64,
    /// Questions that were told to come again, because too many waited.
    pub questions_busy: u64,
    /// Messages of the queue that were answered for good.
    pub queued: u64,
    /// Messages of the queue that were delivered again.
    pub redelivered: u64,
    /// Messages of the queue that became dead letters.
    pub dead: u64,
    /// Commits that the relay sent and the server acknowledged.
    pub published: u64,
    /// The last commit that is in the stream and in the ledger, as the relay knows it.
    pub relayed: u64,
    /// Streams whose chain was found broken, or other than the ledger's.
    pub chain_errors: u64,
    /// Consumers that had to be made anew.
    pub recreated: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: Count,
    pub(crate) requests: Count,
    pub(crate) busy: Count,
    pub(crate) questions: Count,
    pub(crate) questions_busy: Count,
    pub(crate) queued: Count,
    pub(crate) redelivered: Count,
    pub(crate) dead: Count,
    pub(crate) published: Count,
    pub(crate) relayed: Count,
    pub(crate) chain_errors: Count,
    pub(crate) recreated: Count,
}

impl Counts {
    pub(crate) fn tally(&self, violations: u64) -> Tally {
        Tally {
            connections: self.connections.get(),
            violations,
            requests: self.requests.get(),
            busy: self.busy.get(),
            questions: self.questions.get(),
            questions_busy: self.questions_busy.get(),
            queued: self.queued.get(),
            redelivered: self.redelivered.get(),
            dead: self.dead.get(),
            published: self.published.get(),
            relayed: self.relayed.get(),
            chain_errors: self.chain_errors.get(),
            recreated: self.recreated.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
