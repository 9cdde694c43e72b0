//! What there is of a batch, at an instant and ever after: what an intent may take without overdrawing a
//! slice now or at any later moment that is known already.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::book::{BatchIx, Deed, EndKind, PlaceIx, PlaceKind};
use crate::effect::Phase;
use crate::fact::CleanGrade;
use crate::quantity::{Ratio, Stated};
use crate::settle::{Measure, Node, Settled, Settlement, Settler, same_dimension};
use crate::unit::Unit;

/// The balances of a batch's slices over time, less what this decision has taken so far.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) measure: Measure,
    slices: FxHashMap<PlaceIx, Course>,
    taken: FxHashMap<PlaceIx, Ratio>,
    seen: Vec<Seen>,
}

/// A sighting that was covered by what was there: what is taken before it would have to come from elsewhere.
#[derive(Debug)]
struct Seen {
    at: i64,
    /// What lay there then, and what moved there because of it.
    said: Ratio,
    /// Where it was covered.
    places: Vec<PlaceIx>,
}

/// Where a step stands among those of its instant: the source's sequence, phase, event id, leg.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(pub(super) u64, pub(super) Phase, pub(super) String, pub(super) u16);

impl Rank {
    fn of(settler: &Settler<'_>, settled: &Settled) -> Self {
        let book = settler.book();
        let (sequence, phase) = (book.fact(settled.fact).sequence, phase_of(settler, settled));
        let leg = settled.stated.map_or(0, |flow| book.stated(flow).leg);
        Self(sequence, phase, book.event_id_text(settled.fact).to_owned(), leg)
    }
}

/// The phase of the step that a settled flow is of.
fn phase_of(settler: &Settler<'_>, settled: &Settled) -> Phase {
    let book = settler.book();
    match settled.stated {
        Some(flow) => book.stated(flow).phase,
        None if book.deeds_of_fact(settled.fact).any(|deed| matches!(deed, Deed::Count { .. })) => Phase::Count,
        None => Phase::Sourceless,
    }
}

/// A slice's balance after each step that changed it, in their order.
#[derive(Debug, Default)]
struct Course {
    steps: Vec<Step>,
    /// The steps at the decision's own instant, with their ranks.
    ties: Vec<(Rank, usize)>,
    /// Something of unknown quantity lies there: it covers whatever is asked.
    open: bool,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    at: i64,
    balance: i128,
    /// What this step leaves must not be taken: it found here what it needed and would find it nowhere else, or the
    /// instant ends with it. What is named may come and go within an instant in any order.
    binds: bool,
    /// A count explains nothing: what it makes up was short before.
    counts: bool,
}

impl Course {
    fn change(&mut self, at: i64, by: i128, picked: bool, counts: bool) {
        let balance = self.steps.last().map_or(0, |last| last.balance) + by;
        self.steps.push(Step { at, balance, binds: picked, counts });
    }

    /// Marks the last step of each instant, and the last before its counts.
    fn close(&mut self) {
        for index in 0..self.steps.len() {
            let step = self.steps[index];
            let next = self.steps.get(index + 1).filter(|next| next.at == step.at);
            if next.is_none_or(|next| next.counts && !step.counts) {
                self.steps[index].binds = true;
            }
        }
    }

    /// Just before a step.
    fn before(&self, instant: i64, rank: &Rank) -> i128 {
        let last = self.ties.iter().filter(|tie| tie.0 < *rank).map(|tie| tie.1).max();
        last.map_or_else(|| self.at(instant.saturating_sub(1)), |last| self.steps[last].balance)
    }

    fn at(&self, instant: i64) -> i128 {
        let upto = self.steps.partition_point(|step| step.at <= instant);
        upto.checked_sub(1).map_or(0, |last| self.steps[last].balance)
    }

    fn least_from(&self, instant: i64, rank: &Rank) -> i128 {
        let after = self.steps.partition_point(|step| step.at <= instant);
        let ties = self.ties.iter().filter(|tie| tie.0 > *rank).map(|tie| &self.steps[tie.1]);
        let bound = ties.chain(&self.steps[after..]).filter(|step| step.binds);
        bound.map(|step| step.balance).fold(self.at(instant), i128::min)
    }
}

impl Stock {
    /// What a settlement leaves for a decision about an instant.
    pub(super) fn of(settler: &Settler<'_>, settled: &Settlement, instant: i64) -> Self {
        let mut slices: FxHashMap<PlaceIx, Course> = FxHashMap::default();
        for flow in settled.flows.iter().filter(|flow| flow.in_book()) {
            for (node, sign) in [(flow.from, -1), (flow.to, 1)] {
                let Node::Place(place) = node else { continue };
                let course = slices.entry(place).or_default();
                match flow.amount {
                    Some(amount) => {
                        let phase = phase_of(settler, flow);
                        let named = flow
                            .stated
                            .is_some_and(|stated| settler.book().stated(stated).from.kind() == EndKind::Place(place));
                        let picked = sign < 0 && !named && phase != Phase::Count;
                        course.change(flow.at, sign * amount, picked, phase == Phase::Count);
                        if flow.at == instant {
                            course.ties.push((Rank::of(settler, flow), course.steps.len() - 1));
                        }
                    }
                    // What is emptied takes the unknown rest along.
                    None => course.open = sign > 0 || (course.open && flow.stated.is_some()),
                }
            }
        }
        slices.values_mut().for_each(Course::close);
        for deed in settler.book().deeds_of_batch(settled.batch) {
            let row = settler.book().deed_row(deed);
            if let Deed::Count { at: place, quantity: Some(_), .. } = row.deed
                && settler.book().in_force(row.fact, settler.known())
                && let Some(course) = slices.get_mut(&place)
            {
                let counted = settler.book().fact(row.fact).instant;
                let unknown_in =
                    |flow: &Settled| flow.in_book() && flow.amount.is_none() && flow.to == Node::Place(place);
                course.open &= settled.flows.iter().any(|flow| unknown_in(flow) && flow.at > counted);
            }
        }
        let mut stock = Self { measure: settled.measure, slices, taken: FxHashMap::default(), seen: Vec::new() };
        stock.seen = stock.sightings(settler, settled);
        stock
    }

    fn sightings(&self, settler: &Settler<'_>, settled: &Settlement) -> Vec<Seen> {
        let book = settler.book();
        let mut seen = Vec::new();
        let names = std::iter::once(settled.batch).chain(settler.aliases(settled.batch));
        for flow in names.flat_map(|name| book.flows_of_batch(name)) {
            let row = book.stated(flow);
            let (EndKind::Sighting, EndKind::Place(there)) = (row.from.kind(), row.to.kind()) else { continue };
            if !book.in_force(row.fact, settler.known()) {
                continue;
            }
            let second = book.extra(flow).and_then(|extra| extra.second);
            let said = amount_in(settler, Some(settled.batch), self.measure.base, (row.quantity, second));
            let Some((said, _)) = said else { continue };
            let moved = settled.flows.iter().filter(|other| other.stated == Some(flow) && other.in_book());
            let moved = self.measure.value(moved.filter_map(|other| other.amount).sum());
            let at = book.fact(row.fact).instant;
            let key = crate::settle::Key::end_of(at);
            let places =
                self.places().into_iter().filter(|place| *place == there || settler.lies_in(*place, there, key));
            if said.sub(moved).is_some_and(Ratio::is_positive) {
                seen.push(Seen { at, said, places: places.collect() });
            }
        }
        seen
    }

    /// Every place that the batch ever was at, in a stable order.
    pub(super) fn places(&self) -> Vec<PlaceIx> {
        let mut places: Vec<PlaceIx> = self.slices.keys().copied().collect();
        places.sort_unstable();
        places
    }

    pub(super) fn is_open(&self, place: PlaceIx) -> bool {
        self.slices.get(&place).is_some_and(|course| course.open)
    }

    /// What lies there at the end of an instant, in base units, never below zero.
    pub(super) fn at(&self, place: PlaceIx, instant: i64) -> Ratio {
        self.left(place, self.slices.get(&place).map_or(0, |course| course.at(instant)))
    }

    /// What lies there just before a step.
    pub(super) fn before(&self, place: PlaceIx, instant: i64, rank: &Rank) -> Ratio {
        self.left(place, self.slices.get(&place).map_or(0, |course| course.before(instant, rank)))
    }

    /// The most that a step can take without a shortage then or later.
    pub(super) fn spare(&self, place: PlaceIx, instant: i64, rank: &Rank) -> Ratio {
        let Some(course) = self.slices.get(&place) else { return Ratio::ZERO };
        let mut spare = self.left(place, course.before(instant, rank).min(course.least_from(instant, rank)));
        for seen in self.seen.iter().filter(|seen| seen.at >= instant && seen.places.contains(&place)) {
            let present = seen.places.iter().try_fold(Ratio::ZERO, |sum, other| sum.add(self.at(*other, seen.at)));
            let beyond = present.and_then(|present| present.sub(seen.said)).unwrap_or(Ratio::ZERO);
            spare = spare.min(beyond.max(Ratio::ZERO));
        }
        spare
    }

    fn left(&self, place: PlaceIx, balance: i128) -> Ratio {
        let taken = self.taken.get(&place).copied().unwrap_or(Ratio::ZERO);
        self.measure.value(balance).sub(taken).unwrap_or(Ratio::ZERO).max(Ratio::ZERO)
    }

    pub(super) fn take(&mut self, place: PlaceIx, amount: Ratio) {
        let taken = self.taken.entry(place).or_insert(Ratio::ZERO);
        *taken = taken.add(amount).unwrap_or(*taken);
    }
}

/// A vessel's total at the end of each instant, in its unit.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) unit: Unit,
    points: Vec<(i64, Ratio)>,
    cleans: Vec<i64>,
    taken: Ratio,
}

impl Level {
    /// `None` when nothing ever went into it, or its legs have no common unit.
    pub(super) fn of(settler: &Settler<'_>, vessel: PlaceIx) -> Option<Self> {
        let settlement = |batch: BatchIx| std::borrow::Cow::Owned(settler.settle(batch, i64::MAX));
        let settled = settler.vessel(vessel, i64::MAX, CleanGrade(1), &settlement);
        let unit = settled.unit?;
        if settled.fills.is_empty() {
            return None;
        }
        let mut cleans: Vec<i64> = Vec::new();
        for deed in settler.book().deeds_of_place(vessel) {
            let row = settler.book().deed_row(deed);
            if matches!(row.deed, Deed::Clean { .. }) && settler.book().in_force(row.fact, settler.known()) {
                cleans.push(settler.book().fact(row.fact).instant);
            }
        }
        cleans.sort_unstable();
        // Fills before draws before cleans, as within an instant.
        let fills = settled.fills.iter().map(|fill| (fill.at, 0, fill.amount));
        let draws = settled.draws.iter().map(|draw| (draw.at, 1, draw.amount.map(Ratio::neg)));
        let cleaned = cleans.iter().map(|at| (*at, 2, None));
        let mut steps: Vec<(i64, u8, Option<Ratio>)> = fills.chain(draws).chain(cleaned).collect();
        steps.sort_by_key(|step| (step.0, step.1));
        let (mut total, mut own) = (Ratio::ZERO, Ratio::ZERO);
        let mut points: Vec<(i64, Ratio)> = Vec::new();
        for (at, phase, amount) in steps {
            if points.last().is_none_or(|last| last.0 != at) {
                own = Ratio::ZERO;
                points.push((at, total));
            }
            match (phase, amount) {
                (2, _) => total = total.min(own),
                (_, Some(by)) => {
                    total = total.add(by)?;
                    own = own.add(by.max(Ratio::ZERO))?;
                }
                (_, None) => {}
            }
            if let Some(last) = points.last_mut() {
                last.1 = total;
            }
        }
        Some(Self { unit, points, cleans, taken: Ratio::ZERO })
    }

    /// The most that can be drawn at an instant without a shortage then or before it is cleaned.
    pub(super) fn spare(&self, instant: i64) -> Ratio {
        let cleaned = self.cleans.iter().copied().find(|at| *at > instant).unwrap_or(i64::MAX);
        let after = self.points.partition_point(|point| point.0 <= instant);
        let now = after.checked_sub(1).map_or(Ratio::ZERO, |last| self.points[last].1);
        let later = self.points[after..].iter().take_while(|point| point.0 < cleaned).map(|point| point.1);
        later.fold(now, Ratio::min).sub(self.taken).unwrap_or(Ratio::ZERO).max(Ratio::ZERO)
    }

    pub(super) fn take(&mut self, amount: Ratio) {
        self.taken = self.taken.add(amount).unwrap_or(self.taken);
    }
}

/// A statement in a unit: what was said, or what was said beside it. Also the statement that converts.
pub(super) fn amount_in(
    settler: &Settler<'_>,
    batch: Option<BatchIx>,
    to: Unit,
    statement: (Option<Stated>, Option<Stated>),
) -> Option<(Ratio, Stated)> {
    let factor = |from: Unit| match batch {
        Some(batch) => settler.convert(batch, from, to),
        None => same_dimension(from, to),
    };
    let convert = |stated: Stated| Some((factor(stated.unit())?.mul(Ratio::from_decimal(stated.value()))?, stated));
    statement.0.and_then(convert).or_else(|| statement.1.and_then(convert))
}

/// What lies loose in a place or in the containers that stand in it: batch and place.
pub(super) fn contents(settler: &Settler<'_>, place: PlaceIx, instant: i64) -> Vec<(BatchIx, PlaceIx)> {
    let book = settler.book();
    let key = crate::settle::Key::end_of(instant);
    let mut around = vec![place];
    for other in (0..book.place_count()).filter_map(|at| u32::try_from(at).ok()).map(PlaceIx) {
        if book.place_kind(other) == PlaceKind::Container && other != place && settler.lies_in(other, place, key) {
            around.push(other);
        }
    }
    let mut found: FxHashSet<(BatchIx, PlaceIx)> = FxHashSet::default();
    for at in around {
        for flow in book.flows_to(EndKind::Place(at)) {
            let row = book.stated(flow);
            if book.in_force(row.fact, settler.known()) {
                found.insert((settler.resolve(row.batch), at));
            }
        }
        // What is only known by a count.
        found.extend(book.counted_at(at).map(|batch| (settler.resolve(batch), at)));
        // What was taken out of a container beside it lies where that stands, and no stated flow names it.
        for flow in book.flows_from(EndKind::Place(at)) {
            let row = book.stated(flow);
            if row.to == row.from
                && let Some(beside) = settler.beside(at, key)
                && (beside == place || settler.lies_in(beside, place, key))
            {
                found.insert((settler.resolve(row.batch), beside));
            }
        }
    }
    let mut found: Vec<(BatchIx, PlaceIx)> = found.into_iter().collect();
    found.sort_unstable();
    found
}
