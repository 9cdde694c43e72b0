//! The columns' rows: small, copyable, numbers instead of names.

use crate::effect::{ContainerMove, Phase};
use crate::expiry::Expires;
use crate::fact::{MixModel, RunKind, Window};
use crate::id::{LocationId, Sink};
use crate::quantity::{Ratio, Stated};
use crate::unit::Unit;

use super::names::NameIx;

macro_rules! indexes {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into a column.
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }
    )+};
}

indexes! {
    /// A batch of a book, numbered in order of arrival.
    BatchIx,
    /// A place of a book.
    PlaceIx,
    /// A run of a book.
    RunIx,
    /// A fact of a book, numbered in order of position.
    FactIx,
    /// A stated flow of a book.
    FlowIx,
    /// A deed of a book: what is no flow.
    DeedIx,
}

/// No row.
pub const NONE: u32 = u32::MAX;

/// A batch as numbers of names; `item` is [`NONE`] for what is only known by its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchRow {
    /// Number of the item among the words.
    pub item: u32,
    /// Number of the issuer among the words, or [`NONE`].
    pub issuer: u32,
    /// Number of the code among the codes.
    pub code: u32,
    /// Which use of the code.
    pub generation: u32,
}

/// What kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PlaceKind {
    /// Inside the walls.
    Location,
    /// Vessel.
    Vessel,
    /// Container.
    Container,
    /// Shipment under way.
    Transit,
    /// Outside the walls.
    Party,
    /// Out of the book; its name is the sink's word.
    Sink,
    /// From nobody knows where.
    Unplaced,
}

/// A place as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaceRow {
    /// What kind.
    pub kind: PlaceKind,
    /// Number of its name among the words.
    pub name: u32,
}

/// A run as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunRow {
    /// Number of the source among the words.
    pub source: u32,
    /// Number of its name among the words.
    pub name: u32,
    /// Which use of the name.
    pub generation: u32,
}

/// Whether a fact is a correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CorrectionKind {
    /// It is none.
    None,
    /// A void.
    Void,
    /// A supersession.
    Supersede,
}

/// A fact's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FactRow {
    /// Effective instant of its effects, microseconds.
    pub instant: i64,
    /// Its own sequence number plus one; 0 is none.
    pub sequence: u64,
    /// Event position.
    pub position: u64,
    /// Commit number.
    pub commit: u64,
    /// Number of its event id among the event ids.
    pub id: u32,
    /// Number of the event id that it corrects, or [`NONE`].
    pub target: u32,
    /// Microseconds from `instant` to the last instant that it may mean, in units of one second, rounded up.
    pub vague_seconds: u32,
    /// Correction or not.
    pub correction: CorrectionKind,
    /// Dated after it was recorded.
    pub future: bool,
}

impl FactRow {
    /// The last instant that it may mean.
    pub fn latest(&self) -> i64 {
        if self.vague_seconds == 0 {
            return self.instant;
        }
        self.instant.saturating_add(i64::from(self.vague_seconds) * 1_000_000 - 1)
    }
}

/// One end of a stated flow, packed into four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct End(pub(crate) u32);

/// What an [`End`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndKind {
    /// A slice's place.
    Place(PlaceIx),
    /// A run.
    Run(RunIx),
    /// Outside: the supply of a party.
    Supply(PlaceIx),
    /// Not stated, a receipt; by whom.
    Receipt(Option<PlaceIx>),
    /// Not stated, a sighting.
    Sighting,
    /// Not stated.
    Unstated,
}

impl End {
    /// [`EndKind::Unstated`].
    pub const UNSTATED: Self = Self(UNSTATED << TAG_BITS);

    /// The four bytes as a number.
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// An end from its four bytes; `None` when they say nothing.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits >> TAG_BITS <= UNSTATED).then_some(Self(bits))
    }
}

/// The last link of each chain of rows, by the number of what the chain belongs to: four bytes each, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads(Vec<u32>);

impl Heads {
    /// The last link; [`NONE`] where there is no chain.
    pub(crate) fn get(&self, owner: u32) -> u32 {
        self.0.get(owner as usize).copied().unwrap_or(NONE)
    }

    /// Puts a new last link; the one before it.
    pub(crate) fn put(&mut self, owner: u32, link: u32) -> u32 {
        let at = owner as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, NONE);
        }
        std::mem::replace(&mut self.0[at], link)
    }
}

/// The same for chains that belong to runs or places.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndHeads {
    runs: Heads,
    places: Heads,
}

impl EndHeads {
    /// The last link; [`NONE`] where there is no chain.
    pub(crate) fn get(&self, end: EndKind) -> u32 {
        match end {
            EndKind::Run(run) => self.runs.get(run.0),
            EndKind::Place(place) => self.places.get(place.0),
            _ => NONE,
        }
    }

    /// Puts a new last link at a run or a place; the one before it.
    pub(crate) fn put(&mut self, end: EndKind, link: u32) -> u32 {
        match end {
            EndKind::Run(run) => self.runs.put(run.0, link),
            EndKind::Place(place) => self.places.put(place.0, link),
            _ => NONE,
        }
    }
}

const UNSTATED: u32 = 5;
const TAG_BITS: u32 = 29;
const VALUE: u32 = (1 << TAG_BITS) - 1;

impl End {
    pub(crate) fn pack(kind: EndKind) -> Self {
        let (tag, value) = match kind {
            EndKind::Place(place) => (0, place.0),
            EndKind::Run(run) => (1, run.0),
            EndKind::Supply(place) => (2, place.0),
            EndKind::Receipt(by) => (3, by.map_or(VALUE, |place| place.0)),
            EndKind::Sighting => (4, 0),
            EndKind::Unstated => (UNSTATED, 0),
        };
        assert!(value <= VALUE, "fewer than 2^29 places and runs");
        Self(tag << TAG_BITS | value)
    }

    /// What it says.
    pub fn kind(self) -> EndKind {
        let value = self.0 & VALUE;
        match self.0 >> TAG_BITS {
            0 => EndKind::Place(PlaceIx(value)),
            1 => EndKind::Run(RunIx(value)),
            2 => EndKind::Supply(PlaceIx(value)),
            3 => EndKind::Receipt((value != VALUE).then_some(PlaceIx(value))),
            4 => EndKind::Sighting,
            _ => EndKind::Unstated,
        }
    }
}

/// A flow as stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowRow {
    /// How much; `None` is unknown.
    pub quantity: Option<Stated>,
    /// Whose.
    pub fact: FactIx,
    /// Of which batch.
    pub batch: BatchIx,
    /// From where.
    pub from: End,
    /// Where to.
    pub to: End,
    /// Number of the step.
    pub leg: u16,
    /// Its phase.
    pub phase: Phase,
    /// It packs: the first packing tells where a container stands.
    pub packs: bool,
}

/// What few flows have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FlowExtra {
    /// Second measure.
    pub second: Option<Stated>,
    /// Declared window.
    pub window: Option<Window>,
    /// Document line.
    pub document: Option<String>,
    /// Where the packing was done.
    pub packed_at: Option<LocationId>,
    /// Goes to where the container `to` stands.
    pub beside: bool,
}

/// What is no flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Deed {
    /// A container stands elsewhere.
    Move {
        /// Which.
        container: PlaceIx,
        /// Where.
        to: PlaceIx,
        /// How.
        how: ContainerMove,
    },
    /// All that is loose in a place flows on.
    Empty {
        /// Out of where.
        place: PlaceIx,
        /// Where to; `None`: where it stands.
        to: Option<PlaceIx>,
    },
    /// A vessel was cleaned.
    Clean {
        /// Which.
        vessel: PlaceIx,
        /// How thoroughly.
        grade: u8,
    },
    /// So much was there.
    Count {
        /// Of which batch.
        batch: BatchIx,
        /// Where.
        at: PlaceIx,
        /// How much.
        quantity: Option<Stated>,
        /// Second measure.
        second: Option<Stated>,
    },
    /// A hold.
    Hold {
        /// Number of its id.
        hold: NameNo,
        /// Of which batch.
        batch: BatchIx,
        /// Only what lies there.
        slice: Option<PlaceIx>,
    },
    /// A hold's end.
    ReleaseHold {
        /// Number of its id.
        hold: NameNo,
    },
    /// The end of all holds of a batch.
    ReleaseBatch {
        /// Which.
        batch: BatchIx,
    },
    /// Something about a run.
    Run {
        /// Which.
        run: RunIx,
        /// What kind.
        kind: RunKind,
        /// Nothing more will come.
        completed: bool,
        /// The only connected pairs.
        mapping: Vec<(BatchIx, BatchIx)>,
        /// Hold-up in microseconds.
        hold_up_micros: i64,
        /// Declared losses.
        losses: Vec<(Sink, Stated)>,
    },
    /// Where a shipment goes.
    Bound {
        /// Which.
        shipment: PlaceIx,
        /// Where to.
        to: PlaceIx,
        /// The phase from which on it counts within its instant.
        phase: Phase,
    },
    /// An item's base unit.
    Item {
        /// Number of its name.
        item: NameNo,
        /// Its base.
        base: Unit,
    },
    /// A place's parent and time zone.
    Parent {
        /// Which place.
        place: PlaceIx,
        /// Its parent.
        parent: Option<PlaceIx>,
        /// Number of its zone's name among the words.
        zone: Option<NameNo>,
    },
    /// A vessel's model.
    Vessel {
        /// Which.
        vessel: PlaceIx,
        /// Its model.
        mix: MixModel,
        /// Where it stands.
        at: Option<PlaceIx>,
    },
    /// A conversion factor: one `from` is `ratio` `to`.
    Factor {
        /// Number of the item's name, or [`NONE`].
        item: u32,
        /// Number of the batch, or [`NONE`].
        batch: u32,
        /// Unit.
        from: Unit,
        /// Other unit.
        to: Unit,
        /// How many of the other.
        ratio: Ratio,
    },
    /// A policy.
    Policy {
        /// Holds pass through production runs.
        holds_pass_runs: bool,
    },
    /// A further code.
    Label {
        /// Of which batch.
        batch: BatchIx,
        /// Number of the code.
        code: NameNo,
    },
    /// Until when a batch is good.
    Expiry {
        /// Which.
        batch: BatchIx,
        /// As told.
        expires: Expires,
    },
    /// Speaks of a batch.
    Mention {
        /// Which.
        batch: BatchIx,
    },
}

/// The number of a name in a table that the context tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameNo(pub u32);

impl From<NameIx> for NameNo {
    fn from(name: NameIx) -> Self {
        Self(name.0)
    }
}

impl From<NameNo> for NameIx {
    fn from(name: NameNo) -> Self {
        Self(name.0)
    }
}

/// A deed with its step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeedRow {
    /// Whose.
    pub fact: FactIx,
    /// Number of the step.
    pub leg: u16,
    /// What.
    pub deed: Deed,
}

/// A refusal for a fact's sake: the same id, other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConflictRow {
    /// The commit that it was refused in.
    pub commit: u64,
    /// The fact that was recorded first.
    pub fact: FactIx,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_unpacks_to_what_was_packed() {
        for kind in [
            EndKind::Place(PlaceIx(7)),
            EndKind::Run(RunIx(0)),
            EndKind::Supply(PlaceIx(3)),
            EndKind::Receipt(None),
            EndKind::Receipt(Some(PlaceIx(9))),
            EndKind::Sighting,
            EndKind::Unstated,
        ] {
            assert_eq!(End::pack(kind).kind(), kind);
        }
    }

    #[test]
    fn a_flow_row_stays_small() {
        assert!(size_of::<FlowRow>() <= 48, "{}", size_of::<FlowRow>());
        assert!(size_of::<FactRow>() <= 56, "{}", size_of::<FactRow>());
    }
}
