//! Commands: intents ask, observations report. What comes of one is an outcome.

use std::fmt;

use crate::effect::Effect;
use crate::fact::Event;
use crate::id::{BatchRef, CommandId, EventId, HoldId, Place, SourceId};
use crate::quantity::Ratio;
use crate::time::{CommitNo, Instant, Position, RecordedAt};
use crate::unit::Unit;

/// Whether a command may be refused for business reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Asks for something that has not happened; may be rejected.
    Intent,
    /// Reports what has happened; is recorded, however inconvenient.
    Observation,
}

/// One command: the event to be recorded, and how it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Intent or observation.
    pub mode: Mode,
    /// What is asked or reported; its `command` is the command's id.
    pub event: Event,
}

/// An amount in a unit, for messages and answers; may be a fraction or negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    /// How much.
    pub value: Ratio,
    /// Of what.
    pub unit: Unit,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.value, self.unit)
    }
}

/// The rule by which an intent is refused, with the state that it found and what would fit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Nothing is known of the batch.
    UnknownBatch,
    /// The bare code fits several batches.
    AmbiguousCode {
        /// All that it fits.
        candidates: Vec<BatchRef>,
    },
    /// Less is there than was asked for.
    NotEnough {
        /// What is there; a smaller intent of this much would fit.
        available: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// The quantity has to be said, or cannot be converted to the item's unit.
    QuantityUnknown,
    /// Several places hold some of it; the source has to be named.
    AmbiguousSource {
        /// The places.
        candidates: Vec<Place>,
    },
    /// A hold forbids it.
    UnderHold {
        /// The holds that cover it.
        holds: Vec<HoldId>,
    },
    /// Dated after the decision's own clock.
    FutureDate {
        /// The clock it was decided by.
        now: Instant,
    },
    /// The fact that it corrects is not known.
    UnknownTarget {
        /// Which.
        target: EventId,
    },
    /// The hold or the holds that it releases are not there.
    NothingToRelease,
    /// The container, shipment or vessel is not known, or does not hold what is asked.
    UnknownPlace,
    /// The run is closed.
    RunClosed,
    /// The party never received so much.
    NeverSent {
        /// What it has of it.
        available: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// Its id is another content's: the first recorded stands, this one is kept for the report.
    Conflict {
        /// Where the first one stands.
        first: Position,
    },
}

/// A business no: which rule, about which batch, where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// The rule, with what it found.
    pub rule: Rule,
    /// The batch concerned, where there is one.
    pub batch: Option<BatchRef>,
    /// The place concerned, where there is one.
    pub place: Option<Place>,
}

impl Rule {
    /// The rule's stable word, as it stands in answers.
    pub fn word(&self) -> &'static str {
        match self {
            Self::UnknownBatch => "unknown-batch",
            Self::AmbiguousCode { .. } => "ambiguous-code",
            Self::NotEnough { .. } => "not-enough",
            Self::QuantityUnknown => "quantity-unknown",
            Self::AmbiguousSource { .. } => "ambiguous-source",
            Self::UnderHold { .. } => "under-hold",
            Self::FutureDate { .. } => "future-date",
            Self::UnknownTarget { .. } => "unknown-target",
            Self::NothingToRelease => "nothing-to-release",
            Self::UnknownPlace => "unknown-place",
            Self::RunClosed => "run-closed",
            Self::NeverSent { .. } => "never-sent",
            Self::Conflict { .. } => "conflict",
        }
    }
}

/// What was recorded for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The fact.
    Fact {
        /// Intent or observation.
        mode: Mode,
        /// The event, whole.
        event: Event,
        /// The commit that an intent was decided on; `None` for observations.
        decided_on: Option<CommitNo>,
    },
    /// A refusal: an event without effects.
    Refused {
        /// The refused command.
        command: CommandId,
        /// Who sent it.
        source: SourceId,
        /// Why.
        rejection: Rejection,
        /// The commit that it was decided on.
        decided_on: CommitNo,
    },
}

/// An event of the ledger, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the ledger.
    pub position: Position,
    /// The commit it is in.
    pub commit: CommitNo,
    /// The commit's ledger time.
    pub recorded_at: RecordedAt,
    /// What it says.
    pub body: Body,
}

impl Recorded {
    /// What it does; a refusal does nothing.
    pub fn effects(&self) -> Vec<Effect> {
        match &self.body {
            Body::Fact { event, .. } => event.effects(),
            Body::Refused { .. } => Vec::new(),
        }
    }
}
