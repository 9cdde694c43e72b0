//! How much of a row is of the suspects: sound bounds and the homogeneous expectation (rulings 20 to 22).
//!
//! One sweep in effective order over the reached batches. A slice holds between `min` and `max` of
//! suspect matter, by mass; an outflow of `a` from a balance `b` takes at most `min(a, max)` and at least
//! `a − (b − min)`. Sound: they contain the tight bounds. What is behind an assumption is [0, all].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use lotline_domain::book::{BatchIx, FlowIx, PlaceIx, PlaceKind, RunIx};
use lotline_domain::command::Amount;
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::{
    Contact, Fill, Mark, Node, RunLeg, RunSettlement, Settled, Settlement, SliceHold, same_dimension,
};
use lotline_domain::unit::Unit;
use rustc_hash::{FxHashMap, FxHashSet};

mod part;
mod residue;

use self::part::{Part, held, less, share_of};
use self::residue::residue_only;
use crate::question::Question;
use crate::trace::{Point, Tier, Trace};

/// The grade of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// They contain the tight bounds.
    Sound,
}

impl Grade {
    /// Its word.
    pub fn word(self) -> &'static str {
        "sound"
    }
}

/// How much suspect matter is in a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// At least.
    pub min: Ratio,
    /// If every slice and run is homogeneous; `None` where that is not known.
    pub expected: Option<Ratio>,
    /// At most.
    pub max: Ratio,
    /// The unit of all three.
    pub unit: Unit,
    /// What kind of bounds.
    pub grade: Grade,
}

impl Content {
    /// Nothing is known but the quantity.
    pub(crate) fn up_to(max: Ratio, unit: Unit) -> Self {
        Self { min: Ratio::ZERO, expected: None, max, unit, grade: Grade::Sound }
    }

    /// What of a part of the whole is suspect, when it is known of the whole: all of it may be in the rest.
    pub(crate) fn within(self, whole: Amount, part: Amount) -> Self {
        let value = part.value.max(Ratio::ZERO);
        let all = self.min == self.max && self.max == whole.value && !whole.value.is_zero();
        if all {
            return Self::all_of(value, part.unit);
        }
        let any = Self::up_to(value, part.unit);
        if whole.unit != part.unit || whole.value.is_zero() {
            return any;
        }
        let share = |expected: Ratio| share_of(expected, value, whole.value);
        let min = whole.value.sub(self.min).and_then(|clean| value.sub(clean)).unwrap_or(Ratio::ZERO);
        Self { min: min.max(Ratio::ZERO), expected: self.expected.and_then(share), max: self.max.min(value), ..any }
    }

    /// What of a quantity is of either of two, which may mean the same.
    pub(crate) fn together(self, other: Self, there: Ratio) -> Self {
        let max = self.max.add(other.max).unwrap_or(there).min(there);
        Self { min: self.min.max(other.min), expected: None, max, ..self }
    }

    /// Nothing of it is suspect.
    pub(crate) fn none(unit: Unit) -> Self {
        Self::all_of(Ratio::ZERO, unit)
    }

    fn all_of(value: Ratio, unit: Unit) -> Self {
        Self { min: value, expected: Some(value), max: value, unit, grade: Grade::Sound }
    }
}

#[derive(Debug, Clone, Copy)]
struct SliceContent {
    balance: Ratio,
    part: Part,
    sure: bool,
}

/// So often at the most inputs that come after outputs are looked at again.
const SWEEPS_MAX: usize = 6;

/// Contents of all that a trace reached.
pub(crate) struct Contents {
    slices: FxHashMap<(BatchIx, PlaceIx), SliceContent>,
    flows: FxHashMap<(BatchIx, usize), Part>,
    /// What the sweep before this one found, for inputs that come after an output.
    earlier: FxHashMap<(BatchIx, usize), Part>,
    /// An input that comes after an output of its run was needed.
    looked_ahead: Cell<bool>,
    /// What came out of runs beyond all that went in, by mass.
    gained: RefCell<FxHashMap<RunIx, Ratio>>,
    suspects: FxHashSet<BatchIx>,
    /// Slices from a moment on instead: what was there then, and what came in at that very moment.
    slice: Option<(BatchIx, PlaceIx, i64)>,
    /// Slices that some of it may have come to in a way that no book tells.
    linked: FxHashSet<(BatchIx, PlaceIx)>,
    reached: FxHashSet<BatchIx>,
    /// What is in contact with the suspects without having any of them: drawn where they had only been, or made of that
    /// (ruling 17).
    residue_only: FxHashSet<Point>,
}

/// The flows of one reached batch, in step order, and how far they are swept.
struct Queue {
    batch: BatchIx,
    settled: std::sync::Arc<Settlement>,
    next: usize,
    /// Swept before their turn.
    ahead: FxHashSet<usize>,
}

impl Queue {
    /// What is not swept yet up to an instant, in step order.
    fn waiting(&self, instant: i64) -> impl Iterator<Item = (usize, Settled)> + '_ {
        let rest = self.settled.flows.iter().enumerate().skip(self.next);
        let rest = rest.filter(|(number, flow)| flow.in_book() && !self.ahead.contains(number));
        rest.take_while(move |(_, flow)| flow.at <= instant).map(|(number, flow)| (number, *flow))
    }

    fn swept(&mut self, number: usize) {
        self.ahead.insert(number);
        while let Some(flow) = self.settled.flows.get(self.next) {
            if flow.in_book() && !self.ahead.remove(&self.next) {
                return;
            }
            self.next += 1;
        }
    }
}

impl Contents {
    /// Sweeps all batches that a forward trace reached.
    pub(crate) fn of(question: &Question<'_>, trace: &Trace) -> Self {
        let suspects: FxHashSet<BatchIx> = trace.starts.iter().copied().collect();
        let mut batches: Vec<BatchIx> = trace.batches.keys().chain(&trace.starts).copied().collect();
        batches.sort_unstable();
        batches.dedup();
        let mut contents = Self::begun(&batches);
        contents.suspects = suspects;
        contents.residue_only = residue_only(question, trace);
        contents.swept(question, &batches);
        contents
    }

    /// Sweeps the batches that a hold on a slice covers some of: what of each slice is what the hold was set on.
    pub(crate) fn held(question: &Question<'_>, hold: &SliceHold) -> Self {
        let mut contents = Self::begun(&hold.batches);
        contents.slice = Some((hold.batch, hold.place, hold.from));
        for batch in &hold.batches {
            let settled = question.settlement(*batch);
            let links = settled
                .flows
                .iter()
                .filter(|flow| !flow.in_book())
                .filter_map(|flow| if let Node::Place(to) = flow.to { Some(to) } else { None });
            contents.linked.extend(links.map(|place| (*batch, place)));
        }
        contents.swept(question, &hold.batches);
        contents
    }

    fn begun(batches: &[BatchIx]) -> Self {
        Self {
            slices: FxHashMap::default(),
            flows: FxHashMap::default(),
            earlier: FxHashMap::default(),
            looked_ahead: Cell::new(false),
            gained: RefCell::default(),
            suspects: FxHashSet::default(),
            slice: None,
            linked: FxHashSet::default(),
            residue_only: FxHashSet::default(),
            reached: batches.iter().copied().collect(),
        }
    }

    fn swept(&mut self, question: &Question<'_>, batches: &[BatchIx]) {
        // Every input reaches every output of its run, also one that came out before (ruling 10): what is in such an
        // input is known once all was swept. Each sweep is sound, and the next one is at least as tight.
        for left in (0..SWEEPS_MAX).rev() {
            self.sweep_all(question, batches);
            if left == 0 || !self.looked_ahead.get() || self.flows == self.earlier {
                break;
            }
            self.earlier = std::mem::take(&mut self.flows);
            self.slices.clear();
            self.looked_ahead.set(false);
        }
    }

    fn sweep_all(&mut self, question: &Question<'_>, batches: &[BatchIx]) {
        let mut queues: Vec<Queue> = batches
            .iter()
            .map(|&batch| Queue { batch, settled: question.settlement(batch), next: 0, ahead: FxHashSet::default() })
            .collect();
        let mut instants: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (at, queue) in queues.iter().enumerate() {
            for flow in queue.settled.flows.iter().filter(|flow| flow.in_book()) {
                let entry = instants.entry(flow.at).or_default();
                if entry.last() != Some(&at) {
                    entry.push(at);
                }
            }
        }
        let mut waits = self.slice;
        for (instant, mut at) in instants {
            if let Some((batch, place, _)) = waits.take_if(|(_, _, from)| *from <= instant) {
                self.begin(batch, place);
            }
            at.dedup();
            self.sweep(question, &mut queues, &at, instant);
        }
        if let Some((batch, place, _)) = waits {
            self.begin(batch, place);
        }
    }

    /// All of what is in a slice is of the suspects.
    fn begin(&mut self, batch: BatchIx, place: PlaceIx) {
        if let Some(slice) = self.slices.get_mut(&(batch, place)) {
            slice.part = Part::all(slice.balance.max(Ratio::ZERO));
        }
    }

    /// Nothing is suspect yet.
    fn is_before(&self, at: i64) -> bool {
        self.slice.is_some_and(|(_, _, from)| at < from)
    }

    /// It comes into the suspect slice at the moment from which on that is suspect; into a vessel, whose book is of
    /// fills, by then.
    fn comes_in(&self, question: &Question<'_>, batch: BatchIx, flow: &Settled) -> bool {
        self.slice.is_some_and(|(of, place, from)| {
            let is_vessel = question.book().place_kind(place) == PlaceKind::Vessel;
            of == batch && flow.to == Node::Place(place) && (flow.at == from || (is_vessel && flow.at < from))
        })
    }

    /// All flows of one instant. What waits for another batch's goes later. Where all wait for each other, what leaves
    /// a slice that holds enough of it is older than what comes in at that instant, and goes first; what then still
    /// goes in a ring is cut as unknown. Neither depends on the order in which anything was recorded.
    fn sweep(&mut self, question: &Question<'_>, queues: &mut [Queue], at: &[usize], instant: i64) {
        loop {
            let mut stuck: Vec<usize> = Vec::new();
            let mut moved = false;
            for &index in at {
                loop {
                    let head = queues[index].waiting(instant).next();
                    let Some((number, flow)) = head else { break };
                    if !self.ready(question, queues[index].batch, &flow, instant) {
                        stuck.push(index);
                        break;
                    }
                    self.take(question, &mut queues[index], number, &flow, false);
                    moved = true;
                }
            }
            if stuck.is_empty() {
                return;
            }
            if moved {
                continue;
            }
            let older = |index: usize| {
                let queue = &queues[index];
                let leaves = |(_, flow): &(usize, Settled)| self.leaves_enough(&queue.settled, flow);
                queue.waiting(instant).find(leaves).map(|(number, flow)| (index, number, flow))
            };
            let first = |found: &(usize, usize, Settled)| named(question, queues[found.0].batch, &found.2);
            let next = stuck.iter().filter_map(|index| older(*index)).min_by_key(first);
            let ring = || {
                let heads = stuck.iter().filter_map(|index| {
                    queues[*index].waiting(instant).next().map(|(number, flow)| (*index, number, flow))
                });
                heads.min_by_key(first)
            };
            let (Some((index, number, flow)), forced) = next.map_or_else(|| (ring(), true), |next| (Some(next), false))
            else {
                return;
            };
            self.take(question, &mut queues[index], number, &flow, forced);
        }
    }

    fn take(&mut self, question: &Question<'_>, queue: &mut Queue, number: usize, flow: &Settled, forced: bool) {
        let settled = queue.settled.clone();
        self.step(question, queue.batch, &settled, number, flow, forced);
        queue.swept(number);
    }

    /// A flow out of a slice that holds all of it already.
    fn leaves_enough(&self, settled: &Settlement, flow: &Settled) -> bool {
        let (Node::Place(place), Some(amount)) = (flow.from, flow.amount) else { return false };
        let held = self.slices.get(&(settled.batch, place)).map_or(Ratio::ZERO, |slice| slice.balance);
        held.sub(settled.measure.value(amount)).is_some_and(|left| !left.is_negative())
            && settled.slice(place).is_some()
    }

    /// An output waits for the inputs of its run up to its own moment, a draw for the fills that it holds.
    fn ready(&self, question: &Question<'_>, batch: BatchIx, flow: &Settled, instant: i64) -> bool {
        if self.suspects.contains(&batch) {
            return true;
        }
        match flow.from {
            Node::Run(run) => {
                let told = question.run(run);
                let mut legs = told.inputs.iter().filter(|leg| leg.at <= instant);
                legs.all(|leg| self.leg(question, leg.batch, leg.flow, false).is_some())
            }
            Node::Place(place) if question.book().place_kind(place) == PlaceKind::Vessel => {
                let mixed = question.vessel(place);
                let Some(draw) = mixed.draws.iter().position(|draw| Some(draw.flow) == flow.stated) else {
                    return true;
                };
                mixed.draws[draw].parts.iter().all(|(fill, _)| {
                    let fill = &mixed.fills[*fill];
                    self.leg(question, fill.batch, fill.flow, false).is_some()
                })
            }
            _ => true,
        }
    }

    /// The content of a stated flow into a hub and its whole amount, once all of it was swept; `ahead` takes what the
    /// sweep before this one found.
    fn leg(
        &self,
        question: &Question<'_>,
        batch: BatchIx,
        stated: FlowIx,
        ahead: bool,
    ) -> Option<Option<(Part, Ratio)>> {
        let settled = question.settlement(batch);
        let mut sum = Some((Part::NONE, Ratio::ZERO));
        let parts = settled.flows.iter().enumerate();
        for (number, flow) in parts.filter(|(_, flow)| flow.stated == Some(stated) && flow.in_book()) {
            let Some(amount) = flow.amount else { return Some(None) };
            let value = settled.measure.value(amount);
            let part = if self.suspects.contains(&batch) {
                Part::all(value)
            } else if self.reached.contains(&batch) {
                match self.flows.get(&(batch, number)) {
                    Some(part) => *part,
                    None if ahead => {
                        self.looked_ahead.set(true);
                        *self.earlier.get(&(batch, number))?
                    }
                    None => return None,
                }
            } else {
                Part::NONE
            };
            sum = sum.and_then(|(parts, all)| Some((parts.add(part)?, all.add(value)?)));
        }
        Some(sum)
    }

    /// Sweeps one flow: what part of it is suspect, and what that leaves and makes.
    fn step(
        &mut self,
        question: &Question<'_>,
        batch: BatchIx,
        settled: &Settlement,
        number: usize,
        flow: &Settled,
        forced: bool,
    ) {
        let Some(amount) = flow.amount else { return };
        let value = settled.measure.value(amount);
        let mut part = if self.suspects.contains(&batch) {
            Part::all(value)
        } else if self.is_before(flow.at) {
            self.move_out(settled, flow, value);
            Part::NONE
        } else if forced {
            Part::any(value)
        } else {
            self.part(question, settled, flow, value).unwrap_or(Part::any(value)).cut()
        };
        if self.comes_in(question, batch, flow) {
            part = Part::all(value);
        }
        self.flows.insert((batch, number), part);
        if let Node::Place(place) = flow.to
            && settled.slice(place).is_some()
        {
            let sure = self.is_sure(settled, place);
            let slice = self.slices.entry((batch, place)).or_insert(SliceContent::EMPTY);
            slice.sure &= sure;
            slice.balance = slice.balance.add(value).unwrap_or(slice.balance);
            slice.part = slice.part.add(part).unwrap_or(Part::any(slice.balance));
        }
    }

    fn part(&mut self, question: &Question<'_>, settled: &Settlement, flow: &Settled, value: Ratio) -> Option<Part> {
        let kind = |place| question.book().place_kind(place);
        match flow.from {
            Node::Supply(_) => Some(Part::NONE),
            Node::Run(run) => self.out_of_run(question, settled, run, flow, value),
            Node::Place(place) if kind(place) == PlaceKind::Vessel => {
                self.out_of_vessel(question, settled, place, flow, value)
            }
            Node::Place(place) if kind(place) == PlaceKind::Sink => Some(Part::any(value)),
            Node::Place(place) => self.out_of_slice(settled, place, flow, value),
        }
    }

    /// What leaves a slice before anything in it is suspect.
    fn move_out(&mut self, settled: &Settlement, flow: &Settled, value: Ratio) {
        let Node::Place(place) = flow.from else { return };
        if settled.slice(place).is_some() {
            let sure = self.is_sure(settled, place);
            let slice = self.slices.entry((settled.batch, place)).or_insert(SliceContent::EMPTY);
            slice.sure &= sure;
            slice.balance = slice.balance.sub(value).unwrap_or(slice.balance);
        }
    }

    /// Its book tells all that came in and left.
    fn is_sure(&self, settled: &Settlement, place: PlaceIx) -> bool {
        let disturbed = settled.slice(place).is_none_or(|slice| slice.disturbed.is_some());
        !disturbed && !self.linked.contains(&(settled.batch, place))
    }

    fn out_of_slice(&mut self, settled: &Settlement, place: PlaceIx, flow: &Settled, value: Ratio) -> Option<Part> {
        let sure = self.is_sure(settled, place);
        let slice = self.slices.entry((settled.batch, place)).or_insert(SliceContent::EMPTY);
        slice.sure &= sure;
        let before = *slice;
        slice.balance = before.balance.sub(value)?;
        if !before.sure || value > before.balance || flow.mark != Mark::Plain {
            slice.part = Part::any(slice.balance);
            return Some(Part::any(value));
        }
        let part = before.part.out_of(before.balance, value)?;
        let rest = |all: Ratio, out: Ratio| held(all, out, Ratio::sub, [Ratio::round_to; 2]);
        slice.part = Part {
            min: less(before.part.min, part.max, true)?.max(Ratio::ZERO),
            expected: before.part.expected.zip(part.expected).and_then(|(all, out)| rest(all, out)),
            max: before.part.max.min(slice.balance),
        }
        .in_order();
        Some(part)
    }

    /// What of a run's losses, or of what its other legs do not explain, is suspect: outputs like others (ruling 21).
    pub(crate) fn of_rest(&self, question: &Question<'_>, run: RunIx, quantity: Amount, tier: Tier) -> Content {
        if self.residue_only.contains(&Point::Run(run)) {
            return Content::all_of(Ratio::ZERO, quantity.unit);
        }
        let any = Content::up_to(quantity.value, quantity.unit);
        if tier != Tier::Certain {
            return any;
        }
        let part = || {
            let mass = same_dimension(quantity.unit, Unit::KILOGRAM)?;
            let told = question.run(run);
            let (inside, total) = self.put_in(question, told.inputs.iter())?;
            let total = total.add(self.gained(question, &told))?;
            inside.out_of(total, quantity.value.mul(mass)?)?.scaled(Ratio::ONE.div(mass)?)
        };
        part().map_or(any, |part| Content { min: part.min, expected: part.expected, max: part.max, ..any })
    }

    /// What of the suspects went into a run with some of its inputs, and all that did, by mass.
    fn put_in<'l>(&self, question: &Question<'_>, inputs: impl Iterator<Item = &'l RunLeg>) -> Option<(Part, Ratio)> {
        let (mut inside, mut total) = (Part::NONE, Ratio::ZERO);
        for input in inputs {
            let (part, all) = self.leg(question, input.batch, input.flow, true)??;
            let base = question.settlement(input.batch).measure.base;
            let mass = question.settler().convert(input.batch, base, Unit::KILOGRAM)?;
            inside = inside.add(part.scaled(mass)?)?;
            total = total.add(all.mul(mass)?)?;
        }
        Some((inside, total))
    }

    /// What came out of a run beyond what went in, by mass: nobody knows from where, and it may be in any of its outputs.
    fn gained(&self, question: &Question<'_>, run: &RunSettlement) -> Ratio {
        let known = |batch| question.cow(batch);
        *self.gained.borrow_mut().entry(run.run).or_insert_with(|| question.settler().run_excess(run, &known))
    }

    /// By mass: at most the suspect matter that went in, at least what clean inputs, and what the run gained, cannot
    /// make up.
    fn out_of_run(
        &self,
        question: &Question<'_>,
        settled: &Settlement,
        run: RunIx,
        flow: &Settled,
        value: Ratio,
    ) -> Option<Part> {
        let settler = question.settler();
        let told = question.run(run);
        let output = told.outputs.iter().find(|leg| Some(leg.flow) == flow.stated)?;
        let connected: Vec<&RunLeg> = told.inputs.iter().filter(|input| told.connects(input, output)).collect();
        let (inside, total) = self.put_in(question, connected.iter().copied())?;
        let mass = settler.convert(settled.batch, settled.measure.base, Unit::KILOGRAM)?;
        let out = value.mul(mass)?;
        let more = match connected.len() < told.inputs.len() {
            true => crowded(question, &told, &connected, total).unwrap_or(out),
            false => Ratio::ZERO,
        };
        let total = total.add(self.gained(question, &told).max(more))?;
        inside.out_of(total, out)?.scaled(Ratio::ONE.div(mass)?)
    }

    /// The mix model's parts, exact; what a later fill paid is [0, all].
    fn out_of_vessel(
        &self,
        question: &Question<'_>,
        settled: &Settlement,
        vessel: PlaceIx,
        flow: &Settled,
        value: Ratio,
    ) -> Option<Part> {
        let settler = question.settler();
        let mixed = question.vessel(vessel);
        let draw = mixed.draws.iter().position(|draw| Some(draw.flow) == flow.stated)?;
        let unit = mixed.draws[draw].unit;
        let mut sum = Part::NONE;
        for (fill, amount) in &mixed.draws[draw].parts {
            let fill = &mixed.fills[*fill];
            let (part, all) = self.leg(question, fill.batch, fill.flow, true)??;
            let base = question.settlement(fill.batch).measure.base;
            let factor = settler.convert(fill.batch, base, unit)?;
            let (part, all) = (part.scaled(factor)?, all.mul(factor)?);
            sum = sum.add(part.out_of(all, *amount)?)?;
        }
        for (fill, amount) in &mixed.draws[draw].paid_later {
            if self.reached.contains(&mixed.fills[*fill].batch) {
                sum = sum.add(Part::any(*amount))?;
            }
        }
        let mut unknown = mixed.fills_of(draw).filter(|(_, contact)| *contact == Contact::Unknown).peekable();
        if unknown.peek().is_some() {
            // Some of it may be of what nobody measured: so much less of the others, or so much more.
            if unknown.any(|(fill, _)| self.reached.contains(&mixed.fills[fill].batch)) {
                return Some(Part::any(value));
            }
            sum = Part { min: Ratio::ZERO, expected: None, ..sum };
        }
        sum.scaled(settler.convert(settled.batch, unit, settled.measure.base)?)
    }

    /// What a slice holds of the suspects at the end of the bounds.
    pub(crate) fn of_slice(&self, question: &Question<'_>, (batch, place): (BatchIx, PlaceIx), tier: Tier) -> Content {
        let settled = question.settlement(batch);
        let unit = settled.measure.base;
        let balance = settled.slice(place).map_or(Ratio::ZERO, |slice| settled.measure.value(slice.balance));
        let there = balance.max(Ratio::ZERO);
        // Of nothing, nothing is suspect.
        if there.is_zero() && !settled.slice(place).is_some_and(|slice| slice.unknown) {
            return Content::all_of(Ratio::ZERO, unit);
        }
        if self.suspects.contains(&batch) {
            return Content::all_of(there, unit);
        }
        if tier == Tier::Cleared {
            return Content::all_of(Ratio::ZERO, unit);
        }
        if self.residue_only.contains(&Point::Slice(batch, place)) {
            return Content::all_of(Ratio::ZERO, unit);
        }
        match self.slices.get(&(batch, place)) {
            Some(slice) if slice.sure && tier == Tier::Certain => Content {
                min: slice.part.min.min(there),
                expected: slice.part.expected,
                max: slice.part.max.min(there),
                unit,
                grade: Grade::Sound,
            },
            _ => Content::up_to(there, unit),
        }
    }

    /// How much of a slice is what a hold was set on, at the end of the bounds.
    pub(crate) fn held_in(&self, question: &Question<'_>, batch: BatchIx, place: PlaceIx) -> Content {
        let settled = question.settlement(batch);
        let unit = settled.measure.base;
        let there = settled.slice(place).map_or(Ratio::ZERO, |slice| settled.measure.value(slice.balance));
        let there = there.max(Ratio::ZERO);
        match self.slices.get(&(batch, place)) {
            Some(slice) if slice.sure && !self.linked.contains(&(batch, place)) => Content {
                min: slice.part.min.min(there),
                expected: slice.part.expected,
                max: slice.part.max.min(there),
                unit,
                grade: Grade::Sound,
            },
            _ => Content::up_to(there, unit),
        }
    }

    /// How much of what is left of fills in a vessel is what a hold was set on, `whole` together.
    pub(crate) fn held_of_fills(&self, question: &Question<'_>, left: &[(&Fill, Ratio)], whole: Amount) -> Content {
        let any = Content::up_to(whole.value.max(Ratio::ZERO), whole.unit);
        let sum = left.iter().try_fold(Part::NONE, |sum, (fill, left)| {
            let (part, all) = self.leg(question, fill.batch, fill.flow, false)??;
            sum.add(part.out_of(all, fill.in_base(*left)?)?)
        });
        sum.map_or(any, |part| Content { min: part.min, expected: part.expected, max: part.max.min(any.max), ..any })
    }

    /// What went of the suspects with some flows of a batch, `whole` together.
    pub(crate) fn of_flows(
        &self,
        question: &Question<'_>,
        batch: BatchIx,
        flows: &FxHashSet<usize>,
        whole: Amount,
    ) -> Content {
        let unit = whole.unit;
        if self.suspects.contains(&batch) {
            return Content::all_of(whole.value.max(Ratio::ZERO), unit);
        }
        let any = Content::up_to(whole.value.max(Ratio::ZERO), unit);
        let settled = question.settlement(batch);
        let mut sum = Part::NONE;
        for number in flows {
            if !settled.flows.get(*number).is_some_and(Settled::in_book) {
                continue;
            }
            match self.flows.get(&(batch, *number)).and_then(|part| sum.add(*part)) {
                Some(more) => sum = more,
                None => return any,
            }
        }
        Content { min: sum.min, expected: sum.expected, max: sum.max.min(any.max), unit, grade: Grade::Sound }
    }
}

impl SliceContent {
    const EMPTY: Self = Self { balance: Ratio::ZERO, part: Part::NONE, sure: true };
}

/// What a flow is called, whatever was recorded first.
fn named(question: &Question<'_>, batch: BatchIx, flow: &Settled) -> (String, u16, String) {
    let book = question.book();
    let leg = flow.stated.map_or(0, |stated| book.stated(stated).leg);
    (book.event_id_text(flow.fact).to_owned(), leg, book.batch(batch).to_string())
}

/// How much more came out of a run than went in, of outputs that only some of its inputs reach: pairs that were told
/// leave room for nothing else, and so it is of nobody knows what. `None` where that is too much to look at.
fn crowded(question: &Question<'_>, run: &RunSettlement, connected: &[&RunLeg], total: Ratio) -> Option<Ratio> {
    const PAIRS_MAX: usize = 100_000;
    if run.inputs.len() * run.outputs.len() > PAIRS_MAX {
        return None;
    }
    let is_among = |input: &RunLeg| connected.iter().any(|leg| leg.flow == input.flow);
    let fed_alone = |output: &&RunLeg| run.inputs.iter().all(|input| !run.connects(input, output) || is_among(input));
    let mass = |output: &RunLeg| question.settler().leg_mass(output, &|batch| question.cow(batch));
    let mut out = run.outputs.iter().filter(fed_alone).filter_map(mass);
    Some(out.try_fold(Ratio::ZERO, Ratio::add)?.sub(total)?.max(Ratio::ZERO))
}
