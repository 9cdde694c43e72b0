//! Facts: what happened. Each tells its effects (see [`crate::effect`]); what they mean together is
//! written in `schemas/settlement.md`.

use crate::expiry::Expires;
use crate::id::{
    ActorId, BatchId, BatchRef, CommandId, ContainerId, EventId, Generation, HoldId, ItemId, LocationId, PartyId,
    Place, RunId, ShipmentId, Sink, SourceId, VesselId,
};
use crate::quantity::{Difference, Stated};
use crate::time::OccurredAt;
use crate::unit::Unit;

/// A fact with its head: who says so, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// Its own id, unique in the ledger.
    pub id: EventId,
    /// The command that brought it.
    pub command: CommandId,
    /// Who reported it.
    pub source: SourceId,
    /// When it happened.
    pub occurred_at: OccurredAt,
    /// The source's own sequence number, which orders what happened at one instant.
    pub sequence: Option<u64>,
    /// What happened.
    pub fact: Fact,
}

/// A line of a fact: some of one batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    /// Which batch.
    pub batch: BatchRef,
    /// How much; `None` is unknown.
    pub quantity: Option<Stated>,
    /// A second measure of the same goods (catch weight: pieces and kilograms).
    pub second: Option<Stated>,
    /// Where it was; `None` where the source did not say.
    pub from: Option<Place>,
    /// The document line that it stands on, such as a delivery note's, to find suspected duplicates.
    pub document: Option<String>,
    /// Until when the batch is good. Only what was received tells it.
    pub expires: Option<Expires>,
}

impl Line {
    /// A line with a batch and a quantity.
    pub fn new(batch: impl Into<BatchRef>, quantity: Option<Stated>) -> Self {
        Self { batch: batch.into(), quantity, second: None, from: None, document: None, expires: None }
    }

    /// The same, from a place.
    pub fn from(mut self, place: Place) -> Self {
        self.from = Some(place);
        self
    }
}

impl From<BatchId> for BatchRef {
    fn from(id: BatchId) -> Self {
        Self::Known(id)
    }
}

/// Declared time window of a leg of a run, half-open, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// First instant inside.
    pub from: crate::time::Instant,
    /// First instant after.
    pub to: crate::time::Instant,
}

/// What went into a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    /// The batch; `None` only with `from` a vessel: an anonymous blend drawn straight into the run.
    pub batch: Option<BatchRef>,
    /// How much; `None` is unknown.
    pub quantity: Option<Stated>,
    /// A second measure.
    pub second: Option<Stated>,
    /// Where it was taken from.
    pub from: Option<Place>,
    /// When it was going in, where that is declared.
    pub window: Option<Window>,
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Output {
    /// The batch.
    pub batch: BatchRef,
    /// How much; `None` is unknown.
    pub quantity: Option<Stated>,
    /// A second measure.
    pub second: Option<Stated>,
    /// Where it lies; `None`: the report's place, and without one a place nobody named
    /// (the batch's `unplaced` slice).
    pub to: Option<Place>,
    /// When it was coming out, where that is declared.
    pub window: Option<Window>,
    /// Until when the batch is good.
    pub expires: Option<Expires>,
}

/// What left a run as no batch: declared loss, samples, destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ByLoss {
    /// Which sink.
    pub sink: Sink,
    /// How much.
    pub quantity: Stated,
}

/// What kind of run it is; all are runs, and holds pass differently through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunKind {
    /// Goods became other goods.
    Production,
    /// One batch became several of the same goods.
    Split,
    /// Several batches became one.
    Merge,
    /// The same goods under a new batch, packed otherwise.
    Repack,
}

/// A report of a run: all of it, or a part (a run told by several facts has the same [`RunId`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// What kind.
    pub kind: RunKind,
    /// What went in.
    pub inputs: Vec<Input>,
    /// What came out.
    pub outputs: Vec<Output>,
    /// What was lost, by sink.
    pub losses: Vec<ByLoss>,
    /// Pairs (input batch, output batch) that alone are connected; empty: every input reaches every
    /// output. Pairs of all reports of a run count together.
    pub mapping: Vec<(BatchRef, BatchRef)>,
    /// Hold-up: extends the end of every input's window, in microseconds.
    pub hold_up_micros: i64,
    /// Nothing more will come. A run told by a single fact is closed without it.
    pub completed: bool,
    /// Where it ran: default place of inputs and outputs that name none.
    pub at: Option<LocationId>,
}

/// Where a shipment goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Out of the walls.
    Party(PartyId),
    /// To another own place.
    Location(LocationId),
}

/// What a hold covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HoldTarget {
    /// The batch wherever it is, and what comes of it.
    Batch(BatchRef),
    /// What lies at one place now, wherever it goes.
    Slice(BatchRef, Place),
}

/// Which holds a release lifts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReleaseTarget {
    /// One hold, by its id.
    Hold(HoldId),
    /// All holds of a batch.
    Batch(BatchRef),
}

/// How the contents of a vessel mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MixModel {
    /// Every draw takes the same share of everything.
    Full,
    /// What went in first comes out first.
    FirstInFirstOut,
}

/// How thoroughly a vessel was cleaned; a hazard asks for at least some grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CleanGrade(pub u8);

/// What a conversion factor holds for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactorScope {
    /// Every batch of an item.
    Item(ItemId),
    /// One batch (a density of its own); goes before the item's.
    Batch(BatchId),
}

/// A correction of an earlier (or not yet known) fact.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Correction {
    /// It did not happen.
    Void,
    /// It happened otherwise.
    Supersede {
        /// When it really happened.
        occurred_at: OccurredAt,
        /// What really happened.
        fact: Box<Fact>,
    },
}

/// Text that may name a person: stored sealed.
pub type Sealed = Option<String>;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Goods came in. Without `from` they come from wherever the batch was, transit towards here first;
    /// what was never seen comes from `party:unknown`.
    Received {
        /// How much of what.
        lines: Vec<Line>,
        /// Containers that came in with all they hold.
        containers: Vec<ContainerId>,
        /// The supplier, where stated.
        from: Option<PartyId>,
        /// The shipment it came by, where stated.
        shipment: Option<ShipmentId>,
        /// The receiving company, where the place is not the ledger's own.
        by: Option<PartyId>,
        /// Where it lies now.
        to: Place,
    },
    /// A run, split, merge or re-pack, or a part of it.
    Produced(RunReport),
    /// Goods went from place to place inside the walls.
    Moved {
        /// How much of what.
        lines: Vec<Line>,
        /// Where to.
        to: Place,
    },
    /// Goods or containers were put into a container.
    Packed {
        /// Into which.
        container: ContainerId,
        /// Loose goods.
        lines: Vec<Line>,
        /// Smaller containers.
        containers: Vec<ContainerId>,
        /// Where that was done, if said.
        at: Option<LocationId>,
    },
    /// Goods or containers were taken out of a container; nothing named means all.
    Unpacked {
        /// Out of which.
        container: ContainerId,
        /// Loose goods.
        lines: Vec<Line>,
        /// Smaller containers.
        containers: Vec<ContainerId>,
        /// Where they lie now; `None`: where the container stands.
        to: Option<LocationId>,
    },
    /// Containers were moved, with all they hold.
    ContainerMoved {
        /// Which.
        containers: Vec<ContainerId>,
        /// Where to.
        to: Place,
    },
    /// A container was seen empty: its content ended where it last was.
    ContainerEmptied {
        /// Which.
        container: ContainerId,
    },
    /// Goods left on a shipment.
    Shipped {
        /// The shipment.
        shipment: ShipmentId,
        /// Where to, if said.
        to: Option<Destination>,
        /// Loose goods.
        lines: Vec<Line>,
        /// Containers, with all they hold.
        containers: Vec<ContainerId>,
    },
    /// Goods arrived at a party. Nothing named means the whole shipment.
    Delivered {
        /// The shipment, if said.
        shipment: Option<ShipmentId>,
        /// Who has them now.
        to: PartyId,
        /// Loose goods.
        lines: Vec<Line>,
        /// Containers.
        containers: Vec<ContainerId>,
    },
    /// Goods came back from a party.
    Returned {
        /// Who gave them back.
        from: PartyId,
        /// Loose goods.
        lines: Vec<Line>,
        /// Containers.
        containers: Vec<ContainerId>,
        /// Where they lie now.
        to: Place,
    },
    /// Goods were seen at a place; nobody says that they moved. What is there already covers it first.
    Seen {
        /// How much of what.
        lines: Vec<Line>,
        /// Containers.
        containers: Vec<ContainerId>,
        /// Where.
        at: Place,
    },
    /// A hold was set.
    Held {
        /// Its id.
        hold: HoldId,
        /// What it covers.
        target: HoldTarget,
        /// Why.
        reason: Sealed,
    },
    /// Holds were lifted.
    Released {
        /// Which.
        target: ReleaseTarget,
        /// Why.
        reason: Sealed,
    },
    /// Goods were counted: so much was there at that moment.
    Counted {
        /// Where.
        at: Place,
        /// How much of what; `from` is not used.
        lines: Vec<Line>,
    },
    /// The book was changed by a difference.
    Adjusted {
        /// Where.
        at: Place,
        /// Which batch.
        batch: BatchRef,
        /// By how much, signed.
        difference: Difference,
        /// Why.
        reason: Sealed,
    },
    /// Goods went out of the book: lost, sampled, destroyed, used up.
    Disposed {
        /// How much of what.
        lines: Vec<Line>,
        /// How.
        sink: Sink,
    },
    /// Goods went into a vessel.
    VesselFilled {
        /// Which.
        vessel: VesselId,
        /// How much of what.
        lines: Vec<Line>,
    },
    /// Goods were drawn from a vessel; they are a batch, named or an anonymous blend.
    VesselDrawn {
        /// Which.
        vessel: VesselId,
        /// The batch drawn; `None` is an anonymous blend ([`anonymous_blend`]).
        batch: Option<BatchRef>,
        /// How much; `None` is unknown.
        quantity: Option<Stated>,
        /// Where it lies now; `None`: the batch's `unplaced` slice.
        to: Option<Place>,
        /// Until when the batch is good.
        expires: Option<Expires>,
    },
    /// A vessel was cleaned.
    VesselCleaned {
        /// Which.
        vessel: VesselId,
        /// How thoroughly.
        grade: CleanGrade,
    },
    /// Master data of an item.
    ItemDefined {
        /// Which.
        item: ItemId,
        /// The unit its balances are kept in.
        base: Unit,
        /// Its name.
        name: Sealed,
    },
    /// Master data of a place: its parent in the tree, its time zone.
    PlaceDefined {
        /// Which.
        place: LocationId,
        /// The place it is part of.
        parent: Option<LocationId>,
        /// IANA time zone of a site.
        time_zone: Option<String>,
        /// Its name.
        name: Sealed,
    },
    /// Master data of a vessel: how it mixes, where it stands.
    VesselDefined {
        /// Which.
        vessel: VesselId,
        /// How its contents mix, from now on and before: the last definition known counts for all time.
        mix: MixModel,
        /// Where it stands.
        at: Option<LocationId>,
    },
    /// Master data of a party.
    PartyDefined {
        /// Which.
        party: PartyId,
        /// Its name.
        name: Sealed,
    },
    /// `one` of a unit is `equals` of another: an exact ratio.
    FactorDefined {
        /// Of what.
        scope: FactorScope,
        /// So much …
        one: Stated,
        /// … is so much. Neither may be zero.
        equals: Stated,
    },
    /// A label was put on a batch (re-coding, a customer's number); the batch stays what it is.
    Labelled {
        /// Which.
        batch: BatchRef,
        /// The further code.
        label: crate::id::BatchCode,
    },
    /// Which rules hold here, as data.
    PolicySet {
        /// Holds pass through production runs (they always pass through splits, merges and re-packs).
        holds_pass_runs: bool,
    },
    /// An earlier fact was wrong.
    Corrected {
        /// Which.
        target: EventId,
        /// How.
        correction: Correction,
        /// Why.
        reason: Sealed,
        /// Who says so.
        actor: Option<ActorId>,
    },
    /// Kept for the history of what it mentions; no effects.
    Noted {
        /// Batches it speaks of.
        batches: Vec<BatchRef>,
        /// Containers it speaks of.
        containers: Vec<ContainerId>,
        /// What kind of note.
        what: String,
    },
}

impl Fact {
    /// Takes all expiry dates out of it; true when it had any.
    pub fn forget_expiries(&mut self) -> bool {
        match self {
            Self::Received { lines, .. } => lines.iter_mut().filter_map(|line| line.expires.take()).count() > 0,
            Self::Produced(report) => report.outputs.iter_mut().filter_map(|output| output.expires.take()).count() > 0,
            Self::VesselDrawn { expires, .. } => expires.take().is_some(),
            Self::Corrected { correction: Correction::Supersede { fact, .. }, .. } => fact.forget_expiries(),
            _ => false,
        }
    }
}

/// The batch that an unnamed draw makes: item `blend`, code `<vessel>:<event id>:<leg>` (cut to fit a name).
pub fn anonymous_blend(vessel: &VesselId, event: &EventId, leg: u16) -> BatchId {
    let text = format!("{vessel}:{event}:{leg}");
    let fits = if text.len() <= crate::id::NAME_MAX {
        text
    } else {
        // Long ids keep their distinguishing tail.
        let cut = text.len() - crate::id::NAME_MAX;
        let start = (cut..text.len()).find(|at| text.is_char_boundary(*at));
        text[start.unwrap_or(cut)..].trim_start().to_owned()
    };
    let code = crate::id::BatchCode::parse(&fits).expect("joined names are a name");
    let item = ItemId::parse("blend").expect("a word is a name");
    BatchId { item, issuer: None, code, generation: Generation::default() }
}
