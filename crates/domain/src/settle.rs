//! Settlement: stated facts become flows between definite slices, per batch, in effective order, from
//! what is known at the asked commit. The rules are written in `schemas/settlement.md`.
//!
//! It never looks at positions to decide who comes first, and never at facts outside of its bounds.

mod candidates;
mod crossing;
mod hold;
mod master;
mod measure;
mod reuse;
mod run;
mod standing;
mod sweep;
mod vessel;

use std::cmp::Ordering;
use std::sync::Arc;

use crate::book::{BatchIx, Book, Deed, DeedIx, EndKind, FactIx, FlowIx, PlaceIx, PlaceKind, RunIx};
use crate::effect::Phase;
use crate::expiry::Zone;
use crate::fact::MixModel;
use crate::id::{Place, Sink, unknown_party};
use crate::quantity::Stated;
use crate::time::CommitNo;
use crate::unit::Unit;

pub use self::crossing::{Crossing, Passage};
pub use self::hold::{Covers, SliceHold, balance_at};
pub(crate) use self::master::Master;
pub use self::master::same_dimension;
pub use self::measure::Measure;
pub use self::run::{Joins, RunBalance, RunLeg, RunSettlement};
use self::standing::Timelines;
pub use self::vessel::{Contact, Draw, Fill, Missing, VesselSettlement};

/// Step order: effective instant, the source's own sequence, phase, event id, leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Microseconds.
    pub instant: i64,
    sequence: u64,
    phase: u8,
    fact: FactIx,
    leg: u16,
}

impl Key {
    /// Before every step.
    pub(crate) const BEGIN: Self = Self { instant: i64::MIN, sequence: 0, phase: 0, fact: FactIx(u32::MAX), leg: 0 };

    /// After every step.
    pub(crate) const END: Self =
        Self { instant: i64::MAX, sequence: u64::MAX, phase: u8::MAX, fact: FactIx(u32::MAX), leg: u16::MAX };

    /// After this step, and before every other one.
    pub(crate) fn after(self) -> Self {
        Self { leg: self.leg.saturating_add(1), ..self }
    }

    /// After every step of an instant.
    pub(crate) fn end_of(instant: i64) -> Self {
        Self { instant, ..Self::END }
    }
}

/// One end of a settled flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The batch's slice at a place; a vessel or a sink is a place, too.
    Place(PlaceIx),
    /// A run.
    Run(RunIx),
    /// Outside: the supply of a party.
    Supply(PlaceIx),
}

/// How a settled flow came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// Recorded, source and all.
    Plain,
    /// In the book, but picked among several candidates or moved on from what was picked so.
    Assumed,
    /// Not in the book: the part of a flow that pays a debt, counted from the debt's moment.
    Repays,
    /// Not in the book: it may have come this way.
    Link,
}

/// A settled flow, or a possible link beside the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settled {
    /// How much, in the batch's measure; `None` is unknown. For a link the most that it can be.
    pub amount: Option<i128>,
    /// When it left, microseconds.
    pub at: i64,
    /// The last instant at which it may have left.
    pub latest: i64,
    /// When it counts as arrived.
    pub counts_from: i64,
    /// The stated flow that it settles, if one does.
    pub stated: Option<FlowIx>,
    /// The causing fact.
    pub fact: FactIx,
    /// From where.
    pub from: Node,
    /// Where to.
    pub to: Node,
    /// How it came about.
    pub mark: Mark,
    /// Nothing was in the source slice before this instant.
    pub alone: bool,
}

impl Settled {
    /// True for what moves balances.
    pub fn in_book(&self) -> bool {
        matches!(self.mark, Mark::Plain | Mark::Assumed)
    }
}

/// A slice of the batch at the end of the bounds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Inflows less outflows, in the batch's measure; below zero when overdrawn.
    pub balance: i128,
    /// Where.
    pub place: PlaceIx,
    /// First inflow, microseconds; `i64::MAX` when there was none.
    pub first_in: i64,
    /// Since when the balance has been above zero.
    pub arrived: i64,
    /// Ends of episodes: instants at whose end the book was zero or less, and something had been there.
    pub zeros: Box<[i64]>,
    /// Something of unknown quantity went in or out.
    pub unknown: bool,
    /// It is picked from, or entered by a pick.
    pub assumed: bool,
    /// Since when its book cannot prove that it is empty, microseconds; `None` is never.
    pub disturbed: Option<i64>,
}

impl Slice {
    /// True when its book proves nothing about what leaves at an instant.
    pub fn is_disturbed_by(&self, instant: i64) -> bool {
        self.disturbed.is_some_and(|since| since <= instant)
    }
}

/// What kind of discrepancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExceptionKind {
    /// More went out of a slice than had come in.
    Negative,
    /// Nobody recorded where it came from.
    SourceUnknown,
    /// Several places fit.
    SourceAmbiguous,
    /// No quantity, or one that does not convert.
    QuantityUnknown,
    /// A count differs from the book.
    CountDiffers,
    /// Facts tell of different moments until which a batch is good.
    ExpiryDiffers,
    /// Came back from somebody who never had it.
    ReturnedNeverSent,
    /// Same id, other content.
    Conflict,
    /// Several live corrections of one fact.
    CompetingCorrections,
    /// The corrected fact is not known.
    CorrectionOfUnknown,
    /// Same batch, quantity, document line and time as another fact.
    SuspectedDuplicate,
    /// Less came out of a run than went in.
    RunLostMass,
    /// More came out of a run than went in.
    RunGainedMass,
    /// A leg without a window in a run that gives some.
    NoWindow,
    /// More was drawn from a vessel than was in it.
    VesselOverdrawn,
    /// A draw was paid by a later fill.
    VesselDrawnBeforeFilled,
    /// The vessel's model has less of what a record names.
    VesselHasLess,
    /// A vessel was cleaned with content in the book.
    CleanedWithContent,
    /// Packed into a container that stands elsewhere.
    ContainerElsewhere,
    /// Packed into a container that still holds what it carried outside.
    ContainerReused,
    /// A bare code fits several batches.
    CodeAmbiguous,
    /// Dated after it was recorded.
    FutureDate,
    /// Shipped under hold.
    ShippedUnderHold,
    /// Consumed under hold.
    ConsumedUnderHold,
    /// Delivered under hold.
    DeliveredUnderHold,
}

impl ExceptionKind {
    /// Its stable words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::SourceUnknown => "source unknown",
            Self::SourceAmbiguous => "source ambiguous",
            Self::QuantityUnknown => "quantity unknown",
            Self::CountDiffers => "count differs",
            Self::ExpiryDiffers => "expiry differs",
            Self::ReturnedNeverSent => "returned but never sent",
            Self::Conflict => "conflict",
            Self::CompetingCorrections => "competing corrections",
            Self::CorrectionOfUnknown => "correction of an unknown fact",
            Self::SuspectedDuplicate => "suspected duplicate",
            Self::RunLostMass => "run lost mass",
            Self::RunGainedMass => "run gained mass",
            Self::NoWindow => "no window",
            Self::VesselOverdrawn => "vessel overdrawn",
            Self::VesselDrawnBeforeFilled => "vessel drawn before it was filled",
            Self::VesselHasLess => "vessel has less of it",
            Self::CleanedWithContent => "cleaned with content",
            Self::ContainerElsewhere => "container is elsewhere",
            Self::ContainerReused => "container re-used with content",
            Self::CodeAmbiguous => "code ambiguous",
            Self::FutureDate => "future date",
            Self::ShippedUnderHold => "shipped under hold",
            Self::ConsumedUnderHold => "consumed under hold",
            Self::DeliveredUnderHold => "delivered under hold",
        }
    }
}

/// An open discrepancy; its identity is (kind, slice, causing fact).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exception {
    /// What kind.
    pub kind: ExceptionKind,
    /// Of which batch, where there is one.
    pub batch: Option<BatchIx>,
    /// Where, where there is a place.
    pub place: Option<PlaceIx>,
    /// The causing fact.
    pub cause: FactIx,
    /// When it began, microseconds.
    pub at: i64,
    /// When an interval of it ended; `None` while it lasts or where it has no duration.
    pub until: Option<i64>,
    /// By how much, in the batch's measure, where that says something.
    pub amount: Option<i128>,
}

/// One batch, settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which.
    pub batch: BatchIx,
    /// How its amounts are measured.
    pub measure: Measure,
    /// Flows and links, in step order; links of unpaid debts last.
    pub flows: Vec<Settled>,
    /// Its slices, in order of first touch.
    pub slices: Vec<Slice>,
    /// Its own discrepancies.
    pub exceptions: Vec<Exception>,
    /// Vessels that something of it was filled into from behind an assumed pick.
    pub assumed_vessels: Vec<PlaceIx>,
    /// Numbers of the flows by source and by destination, where there are many.
    by_end: Option<Box<ByEnd>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ByEnd {
    from: Vec<u32>,
    to: Vec<u32>,
}

/// Room that is made at once for the steps of a batch.
const FEW_STEPS: usize = 12;

/// Up to this many flows a linear look is as fast as an index.
const INDEX_FROM: usize = 24;

impl Settlement {
    fn index(&mut self) {
        if self.flows.len() <= INDEX_FROM {
            return;
        }
        let all = 0..u32::try_from(self.flows.len()).expect("fewer than 2^32 flows of a batch");
        let (mut from, mut to): (Vec<u32>, Vec<u32>) = (all.clone().collect(), all.collect());
        from.sort_by_key(|&at| self.flows[at as usize].from);
        to.sort_by_key(|&at| self.flows[at as usize].to);
        self.by_end = Some(Box::new(ByEnd { from, to }));
    }

    /// The flows and links out of a node, in step order.
    pub fn flows_from(&self, node: Node) -> impl Iterator<Item = &Settled> {
        let by_end = self.by_end.as_ref().map(|by_end| by_end.from.as_slice());
        self.at_end(by_end, node, |flow| flow.from)
    }

    /// The flows and links into a node, in step order.
    pub fn flows_to(&self, node: Node) -> impl Iterator<Item = &Settled> {
        let by_end = self.by_end.as_ref().map(|by_end| by_end.to.as_slice());
        self.at_end(by_end, node, |flow| flow.to)
    }

    fn at_end<'s>(
        &'s self,
        order: Option<&'s [u32]>,
        node: Node,
        end: impl Fn(&Settled) -> Node + Copy + 's,
    ) -> impl Iterator<Item = &'s Settled> {
        let ordered = order.map_or(&[][..], |order| {
            let first = order.partition_point(|&at| end(&self.flows[at as usize]) < node);
            let many = order[first..].partition_point(|&at| end(&self.flows[at as usize]) == node);
            &order[first..first + many]
        });
        let linear = if order.is_none() { &self.flows[..] } else { &[][..] };
        ordered.iter().map(|&at| &self.flows[at as usize]).chain(linear.iter().filter(move |flow| end(flow) == node))
    }

    /// The number of one of its flows or links.
    pub fn number_of(&self, flow: &Settled) -> Option<usize> {
        self.flows.element_offset(flow)
    }

    /// The slice at a place.
    pub fn slice(&self, place: PlaceIx) -> Option<&Slice> {
        self.slices.iter().find(|slice| slice.place == place)
    }
}

/// Settles batches of a book as known at one commit.
#[derive(Debug)]
pub struct Settler<'a> {
    pub(crate) book: &'a Book,
    pub(crate) known: CommitNo,
    pub(crate) master: Arc<Master>,
    pub(crate) special: Special,
    as_of: i64,
    timelines: Timelines,
}

/// The places that settlement itself moves things from and to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Special {
    pub(crate) unplaced: PlaceIx,
    pub(crate) unexplained: PlaceIx,
    pub(crate) adjustment: PlaceIx,
    pub(crate) unknown_party: PlaceIx,
}

/// Master data in force at a commit, to be shared between settlers of the same commit.
#[derive(Debug, Clone)]
pub struct MasterData(Arc<Master>);

impl MasterData {
    /// What is in force at a commit.
    pub fn at(book: &Book, known: CommitNo) -> Self {
        Self(Arc::new(Master::at(book, known)))
    }
}

/// What a step settles.
#[derive(Debug, Clone, Copy)]
enum Step {
    Flow(FlowIx),
    Deed(DeedIx),
}

impl<'a> Settler<'a> {
    /// A settler for all that is known at a commit.
    pub fn new(book: &'a Book, known: CommitNo) -> Self {
        Self::with_master(book, known, &MasterData::at(book, known))
    }

    /// A settler with the master data that is in force at its commit.
    pub fn with_master(book: &'a Book, known: CommitNo, master: &MasterData) -> Self {
        let special = Special {
            unplaced: book.special_place(&Place::Unplaced),
            unexplained: book.special_place(&Place::Sink(Sink::Unexplained)),
            adjustment: book.special_place(&Place::Sink(Sink::Adjustment)),
            unknown_party: book.special_place(&Place::Party(unknown_party())),
        };
        Self { book, known, master: master.0.clone(), special, as_of: i64::MAX, timelines: Timelines::default() }
    }

    /// The same for questions up to an instant: what comes later does not tell where a container stood.
    #[must_use]
    pub fn up_to(mut self, as_of: i64) -> Self {
        self.as_of = as_of;
        self
    }

    /// The book that it settles.
    pub fn book(&self) -> &'a Book {
        self.book
    }

    /// The commit that it knows.
    pub fn known(&self) -> CommitNo {
        self.known
    }

    /// Settles one batch with all effects up to an instant, that included.
    pub fn settle(&self, batch: BatchIx, as_of: i64) -> Settlement {
        self.settle_until(batch, Key::end_of(as_of), None)
    }

    /// The base unit of an item, where one is defined.
    pub fn base_unit(&self, batch: BatchIx) -> Option<Unit> {
        self.book.item_of(batch).and_then(|item| self.master.base_of(item))
    }

    /// How much of `to` one `from` of a batch is, exactly.
    pub fn convert(&self, batch: BatchIx, from: Unit, to: Unit) -> Option<crate::quantity::Ratio> {
        self.master.convert(self.book, batch, from, to)
    }

    /// Whether holds pass through production runs.
    pub fn holds_pass_runs(&self) -> bool {
        self.master.holds_pass_runs
    }

    /// How a vessel mixes.
    pub fn mix_model(&self, vessel: PlaceIx) -> MixModel {
        master::mix_of(self.book, vessel, self.known)
    }

    /// The time zone of a place: of a vessel that of where it stands; `None` where none is known.
    pub fn zone(&self, place: PlaceIx) -> Option<Zone> {
        match self.book.place_kind(place) {
            PlaceKind::Location => self.master.zone(place),
            PlaceKind::Vessel => self.master.zone(master::stands_at(self.book, place, self.known)?),
            _ => None,
        }
    }

    /// Where goods in a place are at the end of an instant: the top of its chain of containers; `None`
    /// is unplaced.
    pub fn place_at(&self, place: PlaceIx, instant: i64) -> Option<PlaceIx> {
        self.top(place, Key::end_of(instant))
    }

    /// The batch that a pseudo-batch stands for: the only one known with its code.
    pub fn stands_for(&self, batch: BatchIx) -> Option<BatchIx> {
        if !self.book.is_pseudo(batch) {
            return None;
        }
        match self.book.candidates(self.book.code_of(batch), self.known)[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The candidates of an ambiguous pseudo-batch; empty when it is none.
    pub fn ambiguous_candidates(&self, batch: BatchIx) -> Vec<BatchIx> {
        if !self.book.is_pseudo(batch) {
            return Vec::new();
        }
        let found = self.book.candidates(self.book.code_of(batch), self.known);
        if found.len() > 1 { found } else { Vec::new() }
    }

    /// The pseudo-batches whose facts count for a batch.
    pub fn aliases(&self, batch: BatchIx) -> Vec<BatchIx> {
        if !self.book.has_pseudo() || self.book.is_pseudo(batch) {
            return Vec::new();
        }
        self.pseudo_of(batch).into_iter().filter(|pseudo| self.stands_for(*pseudo) == Some(batch)).collect()
    }

    /// The ambiguous pseudo-batches that a batch is a candidate of.
    pub fn ambiguous_aliases(&self, batch: BatchIx) -> Vec<BatchIx> {
        if !self.book.has_pseudo() || self.book.is_pseudo(batch) {
            return Vec::new();
        }
        let pseudo = self.pseudo_of(batch).into_iter();
        pseudo.filter(|pseudo| self.ambiguous_candidates(*pseudo).contains(&batch)).collect()
    }

    /// The pseudo-batches of a batch's code and labels, each once: a label may repeat the code.
    fn pseudo_of(&self, batch: BatchIx) -> Vec<BatchIx> {
        let codes = self.book.codes_of(batch, self.known);
        let mut pseudo: Vec<BatchIx> = codes.into_iter().filter_map(|code| self.book.pseudo_of(code)).collect();
        pseudo.sort_unstable();
        pseudo.dedup();
        pseudo
    }

    /// The step key of a fact's leg.
    pub(crate) fn key(&self, fact: FactIx, phase: Phase, leg: u16) -> Key {
        let row = self.book.fact(fact);
        Key { instant: row.instant, sequence: row.sequence, phase: phase as u8, fact, leg }
    }

    /// Step order.
    pub(crate) fn order(&self, a: &Key, b: &Key) -> Ordering {
        (a.instant, a.sequence, a.phase)
            .cmp(&(b.instant, b.sequence, b.phase))
            .then_with(|| {
                if a.fact == b.fact {
                    return Ordering::Equal;
                }
                if a.fact.0 == u32::MAX || b.fact.0 == u32::MAX {
                    return a.fact.cmp(&b.fact);
                }
                self.book.event_id_text(a.fact).as_bytes().cmp(self.book.event_id_text(b.fact).as_bytes())
            })
            .then_with(|| a.leg.cmp(&b.leg))
    }

    fn settle_until(&self, batch: BatchIx, until: Key, including: Option<FlowIx>) -> Settlement {
        let mut settlement = self.sweep_until(batch, until, including, false).finish();
        settlement.index();
        settlement
    }

    fn sweep_until(
        &self,
        batch: BatchIx,
        until: Key,
        including: Option<FlowIx>,
        keep_steps: bool,
    ) -> sweep::Sweep<'_, '_> {
        let (steps, measure) = self.steps(batch, until);
        let mut sweep = sweep::Sweep::new(self, batch, measure, until.instant, steps.len());
        if keep_steps {
            sweep.keep_steps();
        }
        for (key, step) in steps {
            let last = match (including, step) {
                (Some(wanted), Step::Flow(flow)) => wanted == flow,
                _ => false,
            };
            if !last && self.order(&key, &until) != Ordering::Less {
                break;
            }
            match step {
                Step::Flow(flow) => sweep.flow(key, flow),
                Step::Deed(deed) => sweep.deed(key, deed),
            }
            if last {
                break;
            }
        }
        sweep
    }

    /// All steps in force that concern a batch, in order, and the measure that keeps them exact.
    fn steps(&self, batch: BatchIx, until: Key) -> (Vec<(Key, Step)>, Measure) {
        // Most batches have few steps.
        let mut steps: Vec<(Key, Step)> = Vec::with_capacity(FEW_STEPS);
        let mut statements: Vec<(Option<Stated>, Option<Stated>)> = Vec::with_capacity(FEW_STEPS);
        let mut emptied: Vec<PlaceIx> = Vec::new();
        if self.stands_for(batch).is_none() {
            self.collect(batch, &mut steps, &mut statements, &mut emptied);
        }
        for alias in self.aliases(batch) {
            self.collect(alias, &mut steps, &mut statements, &mut emptied);
        }
        self.around(&mut emptied, until);
        for place in emptied {
            for deed in self.book.deeds_of_place(place) {
                let row = self.book.deed_row(deed);
                if matches!(row.deed, Deed::Empty { .. }) && self.book.in_force(row.fact, self.known) {
                    steps.push((self.key(row.fact, Phase::Sourceless, row.leg), Step::Deed(deed)));
                }
            }
        }
        // They come latest recorded first, and what is recorded late is the exception.
        steps.reverse();
        steps.sort_unstable_by(|a, b| self.order(&a.0, &b.0));
        (steps, Measure::of(self.book, &self.master, batch, &statements))
    }

    /// What is emptied out of a container lies where that stands: in another one, in a transit.
    fn around(&self, places: &mut Vec<PlaceIx>, until: Key) {
        let hub = |place: &PlaceIx| matches!(self.book.place_kind(*place), PlaceKind::Container | PlaceKind::Transit);
        let mut at = 0;
        while at < places.len() {
            for station in self.stood_at(places[at], until).into_iter().filter(hub) {
                if !places.contains(&station) {
                    places.push(station);
                }
            }
            at += 1;
        }
        places.sort_unstable();
        places.dedup();
    }

    fn collect(
        &self,
        batch: BatchIx,
        steps: &mut Vec<(Key, Step)>,
        statements: &mut Vec<(Option<Stated>, Option<Stated>)>,
        emptied: &mut Vec<PlaceIx>,
    ) {
        for flow in self.book.flows_of_batch(batch) {
            let row = self.book.stated(flow);
            if !self.book.in_force(row.fact, self.known) {
                continue;
            }
            steps.push((self.key(row.fact, row.phase, row.leg), Step::Flow(flow)));
            statements.push((row.quantity, self.book.extra(flow).and_then(|extra| extra.second)));
            for end in [row.from.kind(), row.to.kind()] {
                if let EndKind::Place(place) = end
                    && matches!(self.book.place_kind(place), PlaceKind::Container | PlaceKind::Transit)
                {
                    emptied.push(place);
                }
            }
        }
        for deed in self.book.deeds_of_batch(batch) {
            let row = self.book.deed_row(deed);
            if let Deed::Count { at, quantity, second, .. } = row.deed
                && self.book.in_force(row.fact, self.known)
            {
                if matches!(self.book.place_kind(at), PlaceKind::Container | PlaceKind::Transit) {
                    emptied.push(at);
                }
                steps.push((self.key(row.fact, Phase::Count, row.leg), Step::Deed(deed)));
                statements.push((quantity, second));
            }
        }
    }
}
