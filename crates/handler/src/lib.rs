//! Takes commands: loads the batches they touch, decides, commits, answers. Idempotency lives here.
//!
//! One thread decides one command after the other, each on all that was accepted before it, also within
//! the commit that is still growing; another one writes. Nobody is answered before the commit is durable.
//!
//! This room never says no for a business reason of its own (`domain` decides), never looks into the
//! ledger's files, and never answers from a read model.

mod clock;
mod decider;
mod first;
mod front;
mod group;
mod keys;
mod outcome;
mod shelf;

pub use clock::{Clock, SystemClock};
pub use front::{Handler, OnError, Options, Submission};
pub use keys::LedgerKeys;
pub use outcome::{CaptureError, LoadError, OpenError, Outcome, Receipt, Refusal, SubmitError};
pub use shelf::body_at;
