//! What the demo tells about: found while it happens.

use lotline_domain::id::{BatchId, ContainerId, EventId, HoldId, LocationId, PartyId, RunId, ShipmentId};
use lotline_domain::quantity::Stated;
use lotline_domain::time::Instant;

/// The anchors of the story, all of them at the first site in the last days.
///
/// The planted discrepancies that stay open are `count` and `shortage`. At other sites, and in earlier
/// cycles, counts are written off on the next day and a lost slip stays lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The raw milk of the tanker that turns out to be suspect.
    pub suspect: BatchId,
    /// The farm that it came from.
    pub supplier: PartyId,
    /// When it was received.
    pub received_at: Instant,
    /// A batch of packs that holds some of the suspect milk: for tracing back. Before the correction was
    /// recorded, the records did not lead from it to the suspect milk by way of its cheese.
    pub finished: BatchId,
    /// The cheese that it was cut from, made in the run that was corrected.
    pub cheese: BatchId,
    /// The hold and its partial release.
    pub held: Held,
    /// The report that was put right a week later.
    pub corrected: Corrected,
    /// The case that came back.
    pub returned: Returned,
    /// The count that differs.
    pub count: CountDifference,
    /// The cheese whose way nobody recorded.
    pub shortage: Shortage,
}

/// A hold of a cheese, and the packs cut from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The hold.
    pub hold: HoldId,
    /// The fact that set it.
    pub event: EventId,
    /// The cheese; half of it was packed before the hold.
    pub batch: BatchId,
    /// Since when.
    pub held_at: Instant,
    /// Packs released two days later; they are shipped.
    pub released: Vec<BatchId>,
    /// Packs that still lie in quarantine, with the rest of the cheese and its trimmings.
    pub still_held: Vec<BatchId>,
    /// Where they lie.
    pub quarantine: LocationId,
}

/// A run's report that named the wrong milk, and its supersession.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrected {
    /// The wrong report.
    pub event: EventId,
    /// The fact that supersedes it.
    pub by: EventId,
    /// The run.
    pub run: RunId,
    /// The milk that was named.
    pub wrong: BatchId,
    /// The milk that it was.
    pub right: BatchId,
    /// When the run began.
    pub occurred_at: Instant,
    /// When the supersession was recorded: as known at any instant before, the scope is the old one.
    pub recorded_at: Instant,
}

/// A case that a customer sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// The fact.
    pub event: EventId,
    /// The shipment that it had gone out with.
    pub shipment: ShipmentId,
    /// Who sent it back.
    pub customer: PartyId,
    /// The pallet that it had stood on.
    pub pallet: ContainerId,
    /// The case.
    pub case: ContainerId,
    /// What is in it.
    pub batch: BatchId,
    /// When it came.
    pub returned_at: Instant,
}

/// A count that found less than the book says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountDifference {
    /// The fact.
    pub event: EventId,
    /// The cheese.
    pub batch: BatchId,
    /// The room.
    pub at: LocationId,
    /// What the book said once everything was recorded.
    pub book: Stated,
    /// What was there.
    pub counted: Stated,
    /// When.
    pub counted_at: Instant,
}

/// A cheese that was packed where the book never saw it arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The cheese.
    pub batch: BatchId,
    /// Where the run took it: short by `quantity`.
    pub taken_at: LocationId,
    /// Where the book still has it.
    pub left_at: LocationId,
    /// How much.
    pub quantity: Stated,
}

/// The story as far as it has happened.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) suspect: Option<(BatchId, PartyId, Instant)>,
    pub(super) cheese: Option<BatchId>,
    pub(super) finished: Option<BatchId>,
    pub(super) held: Option<Held>,
    pub(super) corrected: Option<Corrected>,
    pub(super) returned: Option<Returned>,
    pub(super) count: Option<CountDifference>,
    pub(super) shortage: Option<Shortage>,
}

impl Parts {
    pub(super) fn complete(&self) -> Option<Story> {
        let (suspect, supplier, received_at) = self.suspect.clone()?;
        Some(Story {
            suspect,
            supplier,
            received_at,
            finished: self.finished.clone()?,
            cheese: self.cheese.clone()?,
            held: self.held.clone()?,
            corrected: self.corrected.clone()?,
            returned: self.returned.clone()?,
            count: self.count.clone()?,
            shortage: self.shortage.clone()?,
        })
    }
}
