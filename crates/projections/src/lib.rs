//! The projections room.

mod changes;
mod content;
mod cursor;
mod digest;
mod exceptions;
mod expiry;
mod model;
mod on_hand;
mod pages;
mod question;
mod received;
mod scope;
mod settlements;
mod snapshot;
mod store;
mod touched;
mod trace;

pub use content::{Content, Grade};
pub use cursor::{CommitHash, CommitMeta, Cursor, LedgerId, MODEL_VERSION};
pub use digest::Digest;
pub use exceptions::{
    Competing, Part, competing, exceptions, of_batch as exceptions_of_batch, of_part as exceptions_of_part, parts,
    run_of_exception,
};
pub use expiry::{Expiry, ToldExpiry, expiry_at};
pub use model::{ApplyError, Checkpoints, Kept, Link, ReadModel, ReadModelKind, Saved, Saving};
pub use on_hand::{OnHand, State, on_hand, slices_of, vessels};
pub use question::{Borrow, NothingBorrowed, Question};
pub use received::{ReceivedBy, received};
pub use scope::{Scope, ScopeRow, Spot, scope};
pub use settlements::KEPT_BYTES;
pub use snapshot::{BeginError, Snapshot};
pub use store::{Doubt, OpenError, SaveError};
pub use touched::Dependents;
pub use trace::{Direction, Edge, Point, Reached, Tier, Trace, trace};
