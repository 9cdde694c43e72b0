//! What a recorded event tells a book: all that folding it needs, made once for several books, and without the fact
//! itself.

use crate::command::{Body, Recorded, Rule};
use crate::effect::{Effect, Voids};
use crate::fact::{Correction, Event, Fact};
use crate::id::EventId;
use crate::time::{CommitNo, Instant, OccurredAt, Position};

/// An event as a book takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its place in the ledger.
    pub position: Position,
    /// The commit it is in.
    pub commit: CommitNo,
    /// What it says.
    pub what: What,
}

/// What an event says to a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Something happened.
    Fact(Happened),
    /// A fact that was refused: another one has its id.
    Conflict {
        /// That one.
        first: Position,
    },
    /// Any other refusal.
    Nothing,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The event's id.
    pub id: EventId,
    /// When it was said to happen.
    pub at: Instant,
    /// The same; of a supersession, when what stands in happened.
    pub occurred_at: OccurredAt,
    /// The source's own order within an instant.
    pub sequence: Option<u64>,
    /// Its own time was still to come when it was recorded.
    pub is_future: bool,
    /// What it corrects.
    pub corrects: Option<Voids>,
    /// What it does, in the order of its legs.
    pub effects: Vec<Effect>,
}

impl From<&Recorded> for Told {
    fn from(recorded: &Recorded) -> Self {
        let what = match &recorded.body {
            Body::Fact { event, .. } => What::Fact(happened(recorded, event)),
            Body::Refused { rejection, .. } => match rejection.rule {
                Rule::Conflict { first } => What::Conflict { first },
                _ => What::Nothing,
            },
        };
        Self { position: recorded.position, commit: recorded.commit, what }
    }
}

fn happened(recorded: &Recorded, event: &Event) -> Happened {
    Happened {
        id: event.id.clone(),
        at: event.occurred_at.instant,
        occurred_at: match &event.fact {
            Fact::Corrected { correction: Correction::Supersede { occurred_at, .. }, .. } => *occurred_at,
            _ => event.occurred_at,
        },
        sequence: event.sequence,
        is_future: event.occurred_at.instant > recorded.recorded_at.0,
        corrects: event.voids(),
        effects: event.effects(),
    }
}
