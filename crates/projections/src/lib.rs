//! The projections room.

mod content;
mod exceptions;
mod on_hand;
mod question;
mod scope;
mod trace;

pub use content::{Content, Grade};
pub use exceptions::{exceptions, of_batch as exceptions_of_batch};
pub use on_hand::{OnHand, State, on_hand, slices_of, vessels};
pub use scope::{Scope, ScopeRow, Spot, scope};
pub use question::{Borrow, NothingBorrowed, Question};
pub use trace::{Direction, Edge, Point, Reached, Tier, Trace, trace};
