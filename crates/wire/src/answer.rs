//! Answers, as every way of asking gives them: command line, services, feeds.
//!
//! Their JSON Schemas are in `schemas/answers/`. Quantities are exact decimals in strings; a value that no
//! decimal can say is rounded and stands beside its fraction. Every row of a query says as of when it is
//! (`as_of`, effective) and as known at which commit (`as_known_at`).

mod parts;
mod query;
mod submit;
mod unanswered;

pub use parts::{Amount, Asked, Batch, Finality, Run, Said, SaidKind, commit, instant, instant_of_micros, time};
pub use query::{
    Content, ContentTotal, Damage, Direction, ExceptionRow, ExceptionState, Exceptions, Expires, Grade, Held, History,
    HistoryKind, HistoryRow, Moment, OnHand, OnHandRow, Point, Recall, RecallRow, ReceivedBy, State, Tier, Trace,
    TraceEdge, TraceHub, TraceNode, Verified,
};
pub use submit::{First, Outcome, Receipt, Refusal, Rejection, Rule};
pub use unanswered::{Reason, Unanswered};

pub(crate) use query::{answer_schemas, schema_of};
