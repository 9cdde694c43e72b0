//! What a hold covers: its batch or slice, and what comes of it (ruling 32).

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::book::{BatchIx, Deed, DeedIx, EndKind, FlowIx, NameNo, PlaceIx, PlaceKind, RunIx};
use crate::fact::{CleanGrade, RunKind};
use crate::id::{HoldId, Sink};

use super::crossing::Swept;
use super::master::deed_order;
use super::{Contact, Exception, ExceptionKind, Key, Mark, Node, Settled, Settlement, Settler};

/// One hold and what it covers.
#[derive(Debug, Clone)]
struct Cover {
    hold: NameNo,
    from: i64,
    /// When it ended; a flow at that very instant is still under it.
    until: Option<i64>,
    /// The slice that it was set on; none where it is on the whole batch.
    slice: Option<(BatchIx, PlaceIx)>,
    /// From when on; without a place the whole batch.
    covered: FxHashMap<Part, i64>,
    /// Fills of vessels that took in some of what it covers for a slice, and the moment from which on draws have it.
    fills: FxHashMap<FlowIx, i64>,
}

/// A hold on a slice, and what it came to cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceHold {
    /// The batch.
    pub batch: BatchIx,
    /// The place.
    pub place: PlaceIx,
    /// When it was set.
    pub from: i64,
    /// The batches that it covers some of, its own among them.
    pub batches: Vec<BatchIx>,
}

/// A batch, or an episode of one of its slices: what came in anew after that was empty is not what was held.
type Part = (BatchIx, Option<(PlaceIx, usize)>);

/// Where a hold comes to.
enum Reached {
    /// A whole batch or one of its slices, from when on.
    Part((BatchIx, Option<PlaceIx>), i64),
    /// A fill of a vessel; draws before a moment have none of it.
    Fill(PlaceIx, FlowIx, i64),
}

/// What a slice's book says of its episodes.
#[derive(Debug, Clone, Default)]
struct Course {
    /// Ends of episodes.
    zeros: Box<[i64]>,
    /// From when on it proves no end.
    disturbed: Option<i64>,
}

impl Course {
    fn of(settled: &Settlement, place: PlaceIx) -> Self {
        let slice = settled.slices.iter().find(|slice| slice.place == place);
        slice.map_or_else(Self::default, |slice| Self { zeros: slice.zeros.clone(), disturbed: slice.disturbed })
    }

    fn episode(&self, at: i64) -> usize {
        self.zeros.partition_point(|zero| *zero < at)
    }

    /// Whether what was there in an episode may be there at an instant.
    fn lasts(&self, episode: usize, at: i64) -> bool {
        let now = self.episode(at);
        now == episode || (now > episode && self.disturbed.is_some_and(|since| since <= at))
    }
}

/// All holds in force, with what they cover.
#[derive(Debug, Clone, Default)]
pub struct Covers {
    holds: Vec<Cover>,
    /// Of each slice that is covered for itself.
    courses: FxHashMap<(BatchIx, PlaceIx), Course>,
    /// Releases of a batch: when.
    released: FxHashMap<BatchIx, Vec<i64>>,
}

impl Covers {
    /// True when no hold was ever set.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    fn released_between(&self, batch: BatchIx, from: i64, until: i64) -> bool {
        // A release at the very moment of a movement: the movement still counts as under hold.
        self.released.get(&batch).is_some_and(|all| all.iter().any(|at| *at >= from && *at < until))
    }

    /// The holds over a slice between two instants that mean one moment; a tie counts as under hold.
    fn on(&self, batch: BatchIx, place: Option<PlaceIx>, at: i64, latest: i64) -> Vec<NameNo> {
        let mut holds = Vec::new();
        for cover in &self.holds {
            if cover.from > latest || cover.until.is_some_and(|until| until < at) {
                continue;
            }
            let whole = cover.covered.get(&(batch, None)).is_some_and(|since| *since <= latest);
            let part = || {
                let Some(place) = place else { return false };
                let Some(course) = self.courses.get(&(batch, place)) else { return false };
                (0..=course.episode(at)).any(|episode| {
                    let since = cover.covered.get(&(batch, Some((place, episode))));
                    since.is_some_and(|since| *since <= latest) && course.lasts(episode, at)
                })
            };
            if (whole || part()) && !self.released_between(batch, cover.from, at) {
                holds.push(cover.hold);
            }
        }
        holds.sort_unstable();
        holds.dedup();
        holds
    }

    /// The holds over a batch in a vessel at the end of an instant, of which these fills are left there.
    fn in_vessel(&self, batch: BatchIx, fills: &[FlowIx], at: i64) -> Vec<NameNo> {
        let after = at.saturating_add(1);
        let mut holds = self.on(batch, None, after, after);
        let own = self.holds.iter().filter(|cover| cover.until.is_none_or(|until| until >= after));
        let own = own.filter(|cover| fills.iter().any(|fill| cover.fills.contains_key(fill)));
        holds.extend(own.filter(|cover| !self.released_between(batch, cover.from, after)).map(|cover| cover.hold));
        holds.sort_unstable();
        holds.dedup();
        holds
    }

    /// The holds of an id if all of them are on slices; none where one is on a whole batch.
    fn on_slices(&self, hold: NameNo) -> Option<Vec<SliceHold>> {
        let of_it = self.holds.iter().filter(|cover| cover.hold == hold);
        let slices = of_it.map(|cover| {
            let (batch, place) = cover.slice?;
            let mut batches: Vec<BatchIx> = cover.covered.keys().map(|(batch, _)| *batch).chain([batch]).collect();
            batches.sort_unstable();
            batches.dedup();
            Some(SliceHold { batch, place, from: cover.from, batches })
        });
        slices.collect()
    }

    /// Whether any hold covers or covered some of a batch.
    fn touch(&self, batch: BatchIx) -> bool {
        self.holds.iter().any(|cover| cover.covered.keys().any(|(of, _)| *of == batch))
    }

    /// All batches that any hold covers or covered.
    pub fn batches(&self) -> Vec<BatchIx> {
        let mut all: Vec<BatchIx> =
            self.holds.iter().flat_map(|cover| cover.covered.keys().map(|(batch, _)| *batch)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Settler<'_> {
    /// The holds that cover a slice at the end of an instant, by id.
    pub fn holds_on(&self, covers: &Covers, batch: BatchIx, place: PlaceIx, at: i64) -> Vec<HoldId> {
        let after = at.saturating_add(1);
        let mut holds: Vec<HoldId> =
            covers.on(batch, Some(place), after, after).into_iter().map(|hold| self.book.hold_id(hold)).collect();
        holds.sort();
        holds
    }

    /// The holds that cover what is left of a batch in a vessel at the end of an instant, by id; `fills` are those of
    /// which something is left.
    pub fn holds_in_vessel(&self, covers: &Covers, batch: BatchIx, fills: &[FlowIx], at: i64) -> Vec<HoldId> {
        let mut holds: Vec<HoldId> =
            covers.in_vessel(batch, fills, at).into_iter().map(|hold| self.book.hold_id(hold)).collect();
        holds.sort();
        holds
    }

    /// The holds of an id where all of them are on slices: only a part of what they cover may be what they were set on.
    /// `None` where one of them is on a whole batch.
    pub fn slice_holds(&self, covers: &Covers, hold: &HoldId) -> Option<Vec<SliceHold>> {
        let number = covers.holds.iter().map(|cover| cover.hold).find(|number| self.book.hold_id(*number) == *hold)?;
        covers.on_slices(number)
    }

    /// The holds that cover a movement out of a slice at an instant; a tie counts as under hold.
    pub fn holds_over(&self, covers: &Covers, batch: BatchIx, place: PlaceIx, at: i64) -> Vec<HoldId> {
        let mut holds: Vec<HoldId> =
            covers.on(batch, Some(place), at, at).into_iter().map(|hold| self.book.hold_id(hold)).collect();
        holds.sort();
        holds
    }

    /// All holds known and set up to an instant, with what they cover. `settlement` gives the settlement
    /// of a batch within the same bounds.
    pub fn covers<'s>(&self, as_of: i64, settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>) -> Covers {
        let mut deeds: Vec<DeedIx> = self.book.hold_deeds().to_vec();
        deeds.retain(|deed| {
            let fact = self.book.deed_row(*deed).fact;
            self.book.in_force(fact, self.known) && self.book.fact(fact).instant <= as_of
        });
        if deeds.is_empty() {
            return Covers::default();
        }
        // A release lifts what was set by its instant, whichever of the two comes first within it.
        let releases = |deed: DeedIx| !matches!(self.book.deed_row(deed).deed, Deed::Hold { .. });
        deeds.sort_by(|a, b| releases(*a).cmp(&releases(*b)).then_with(|| deed_order(self.book, *a, *b)));
        let mut covers = Covers::default();
        let mut targets: Vec<(BatchIx, Option<PlaceIx>)> = Vec::new();
        for deed in deeds {
            let row = self.book.deed_row(deed);
            let at = self.book.fact(row.fact).instant;
            match &row.deed {
                Deed::Hold { hold, batch, slice } => {
                    let target = (self.resolve(*batch), *slice);
                    covers.holds.push(Cover {
                        hold: *hold,
                        from: at,
                        until: None,
                        slice: target.1.map(|place| (target.0, place)),
                        covered: FxHashMap::default(),
                        fills: FxHashMap::default(),
                    });
                    targets.push(target);
                }
                Deed::ReleaseHold { hold } => {
                    for cover in covers.holds.iter_mut().filter(|cover| cover.hold == *hold && cover.from <= at) {
                        cover.until.get_or_insert(at);
                    }
                }
                Deed::ReleaseBatch { batch } => {
                    let batch = self.resolve(*batch);
                    for (cover, target) in covers.holds.iter_mut().zip(&targets) {
                        if target.0 == batch && cover.from <= at {
                            cover.until.get_or_insert(at);
                        }
                    }
                    covers.released.entry(batch).or_default().push(at);
                }
                _ => {}
            }
        }
        let released = std::mem::take(&mut covers.released);
        let mut courses = FxHashMap::default();
        for (cover, target) in covers.holds.iter_mut().zip(&targets) {
            if let (batch, Some(place)) = target
                && !lay_there(&settlement(*batch), *place, cover.from)
            {
                continue;
            }
            self.spread(cover, &mut courses, *target, as_of, &released, settlement);
        }
        covers.courses = courses;
        // A release of the held batch itself ended its holds; it lifts nothing that was held later.
        covers.released = released;
        covers
    }

    fn spread<'s>(
        &self,
        cover: &mut Cover,
        courses: &mut FxHashMap<(BatchIx, PlaceIx), Course>,
        target: (BatchIx, Option<PlaceIx>),
        as_of: i64,
        released: &FxHashMap<BatchIx, Vec<i64>>,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) {
        let from = cover.from;
        let mut queue = VecDeque::from([Reached::Part(target, from)]);
        if let (batch, Some(vessel)) = target
            && self.book.place_kind(vessel) == PlaceKind::Vessel
        {
            let mixed = self.vessel(vessel, as_of, CleanGrade(1), settlement);
            let own = mixed.fills.iter().filter(|fill| fill.batch == batch && fill.at <= from);
            queue.extend(own.map(|fill| Reached::Fill(vessel, fill.flow, from)));
        }
        while let Some(next) = queue.pop_front() {
            let ((batch, place), since) = match next {
                Reached::Part(part, since) => (part, since),
                Reached::Fill(vessel, fill, since) => {
                    let known = cover.fills.entry(fill).or_insert(i64::MAX);
                    if since < *known {
                        *known = since;
                        queue.extend(self.drawn_of(vessel, fill, since, as_of, settlement));
                    }
                    continue;
                }
            };
            let course = place
                .map(|place| &*courses.entry((batch, place)).or_insert_with(|| Course::of(&settlement(batch), place)));
            let part = place.zip(course).map(|(place, course)| (place, course.episode(since)));
            let known = cover.covered.entry((batch, part)).or_insert(i64::MAX);
            if *known <= since {
                continue;
            }
            *known = since;
            let lifted = |at: i64| {
                batch != target.0 && released.get(&batch).is_some_and(|all| all.iter().any(|r| *r >= from && *r <= at))
            };
            match part.zip(course) {
                None => {
                    for (made, at) in self.made_of(batch, as_of, None) {
                        if !lifted(at) {
                            queue.push_back(Reached::Part((made, None), from));
                        }
                    }
                }
                Some(((place, episode), course)) => {
                    for flow in &settlement(batch).flows {
                        // What may have moved is covered like what did.
                        let leaves = flow.from == Node::Place(place) && flow.latest >= since;
                        // A fact dated by day may have happened later on its day, and what is missing elsewhere may be
                        // of it whatever this book says.
                        let stays = course.lasts(episode, flow.at) || flow.at < since || flow.mark == Mark::Link;
                        // What is drawn from a vessel is followed from its fills.
                        let drawn = flow.in_book() && self.book.place_kind(place) == PlaceKind::Vessel;
                        if !leaves || !stays || drawn || lifted(flow.at) {
                            continue;
                        }
                        match flow.to {
                            Node::Place(to) if self.book.place_kind(to) == PlaceKind::Vessel => {
                                // Also into draws from before it, which it paid.
                                queue.extend(flow.stated.map(|fill| Reached::Fill(to, fill, i64::MIN)));
                            }
                            Node::Place(to) if self.book.place_kind(to) != PlaceKind::Sink => {
                                queue.push_back(Reached::Part((batch, Some(to)), flow.counts_from));
                            }
                            Node::Run(run) => {
                                queue.extend(self.outputs_at(run, flow.stated, as_of, settlement));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    /// Where draws with some of a fill came to.
    fn drawn_of<'s>(
        &self,
        vessel: PlaceIx,
        fill: FlowIx,
        since: i64,
        as_of: i64,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> Vec<Reached> {
        if !self.holds_pass_runs() {
            return Vec::new();
        }
        let mixed = self.vessel(vessel, as_of, CleanGrade(1), settlement);
        let Some(fill) = mixed.fills.iter().position(|known| known.flow == fill) else { return Vec::new() };
        let mut entered = Vec::new();
        for (draw, _) in mixed.draws_of(fill).filter(|(_, contact)| *contact != Contact::Residue) {
            let draw = &mixed.draws[draw];
            if draw.at < since {
                continue;
            }
            // Drawn into a run, it lies nowhere but in the vessel.
            entered.push(Reached::Part((draw.batch, Some(vessel)), draw.at));
            let out = |flow: &&Settled| flow.stated == Some(draw.flow) && flow.from == Node::Place(vessel);
            for flow in settlement(draw.batch).flows.iter().filter(out) {
                match flow.to {
                    Node::Run(run) => entered.extend(self.outputs_at(run, flow.stated, as_of, settlement)),
                    _ => entered.extend(self.entered(draw.batch, flow)),
                }
            }
        }
        entered
    }

    /// Where a flow out of a run or a vessel came to. What repays an overdraft was there from its beginning.
    fn entered(&self, batch: BatchIx, flow: &Settled) -> impl Iterator<Item = Reached> + use<> {
        let Node::Place(place) = flow.to else { return None.into_iter().chain(None) };
        let is_fill = self.book.place_kind(place) == PlaceKind::Vessel && flow.in_book();
        let fill = flow.stated.filter(|_| is_fill).map(|fill| Reached::Fill(place, fill, i64::MIN));
        Some(Reached::Part((batch, Some(place)), flow.counts_from)).into_iter().chain(fill)
    }

    fn passes(&self, kind: RunKind) -> bool {
        kind != RunKind::Production || self.holds_pass_runs()
    }

    /// The batches made of one directly: by runs and out of vessels, with the moment of the output.
    fn made_of(&self, batch: BatchIx, as_of: i64, only: Option<RunIx>) -> Vec<(BatchIx, i64)> {
        let mut made = Vec::new();
        let mut vessels: Vec<PlaceIx> = Vec::new();
        let names = std::iter::once(batch).chain(self.aliases(batch));
        for flow in names.flat_map(|name| self.book.flows_of_batch(name)) {
            let row = self.book.stated(flow);
            if !self.book.in_force(row.fact, self.known) || self.book.fact(row.fact).instant > as_of {
                continue;
            }
            match row.to.kind() {
                EndKind::Run(run) if only.is_none_or(|only| only == run) => {
                    let run = self.run(run, as_of);
                    if !self.passes(run.kind) {
                        continue;
                    }
                    let Some(input) = run.inputs.iter().find(|input| input.flow == flow) else { continue };
                    let reached = run.outputs.iter().filter(|output| run.connects(input, output));
                    made.extend(reached.map(|output| (output.batch, output.at)));
                }
                EndKind::Place(place) if self.book.place_kind(place) == PlaceKind::Vessel => vessels.push(place),
                _ => {}
            }
        }
        if self.holds_pass_runs() {
            vessels.sort_unstable();
            vessels.dedup();
            for vessel in vessels {
                let settlement = |batch| std::borrow::Cow::Owned(self.settle(batch, as_of));
                let settled = self.vessel(vessel, as_of, CleanGrade(1), &settlement);
                for (index, draw) in settled.draws.iter().enumerate() {
                    let of_it = |(fill, contact): (usize, Contact)| {
                        settled.fills[fill].batch == batch && contact != Contact::Residue
                    };
                    if settled.fills_of(index).any(of_it) {
                        made.push((draw.batch, draw.at));
                    }
                }
            }
        }
        made
    }

    /// The slices that the outputs entered which an input of a run reaches, each from its own time on.
    fn outputs_at<'s>(
        &self,
        run: RunIx,
        input: Option<FlowIx>,
        as_of: i64,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> Vec<Reached> {
        let told = self.run(run, as_of);
        if !self.passes(told.kind) {
            return Vec::new();
        }
        let mut entered = Vec::new();
        for input in told.inputs.iter().filter(|leg| Some(leg.flow) == input) {
            for output in told.outputs.iter().filter(|output| told.connects(input, output)) {
                let out = |flow: &&Settled| flow.stated == Some(output.flow) && flow.from == Node::Run(run);
                for flow in settlement(output.batch).flows.iter().filter(out) {
                    entered.extend(self.entered(output.batch, flow));
                }
            }
        }
        entered
    }

    /// What left of a batch while it was under hold, loose or in a container that was carried away.
    pub fn hold_exceptions(&self, covers: &Covers, batch: BatchIx, as_of: i64) -> Vec<Exception> {
        let mut found = Vec::new();
        if !covers.touch(batch) {
            return found;
        }
        let until = Key::end_of(as_of);
        let Swept { settled, posted, changes } = self.swept(batch, until);
        let mut add = |kind, place, key: Key, latest| {
            if covers.on(batch, Some(place), key.instant, latest).is_empty() {
                return;
            }
            let (cause, at) = (key.fact, key.instant);
            let (batch, place) = (Some(batch), Some(place));
            found.push(Exception { kind, batch, place, cause, at, until: None, amount: None });
        };
        for (key, number) in posted {
            let flow = &settled.flows[number];
            let Node::Place(from) = flow.from else { continue };
            if self.book.place_kind(from) == PlaceKind::Sink {
                continue;
            }
            let kind = match flow.to {
                Node::Run(run) => {
                    (self.run(run, as_of).kind == RunKind::Production).then_some(ExceptionKind::ConsumedUnderHold)
                }
                // A vessel is a run (ruling 15): what is filled in is consumed.
                Node::Place(to) if to != from && self.book.place_kind(to) == PlaceKind::Vessel => {
                    Some(ExceptionKind::ConsumedUnderHold)
                }
                Node::Place(to) => self.left_under_hold(batch, self.top(from, key), self.top(to, key.after()), key),
                Node::Supply(_) => None,
            };
            if let Some(kind) = kind {
                add(kind, from, key, flow.latest);
            }
        }
        for container in settled.slices.iter().map(|slice| slice.place) {
            let Some(changes) = changes.get(&container) else { continue };
            for key in self.turns_around(container, until) {
                let (before, after) = (self.top(container, key), self.top(container, key.after()));
                let Some(kind) = self.left_under_hold(batch, before, after, key) else { continue };
                if self.held_before(changes, &key) != (0, false) {
                    add(kind, container, key, self.book.fact(key.fact).latest());
                }
            }
        }
        found
    }

    fn left_under_hold(
        &self,
        batch: BatchIx,
        from: Option<PlaceIx>,
        to: Option<PlaceIx>,
        key: Key,
    ) -> Option<ExceptionKind> {
        to.filter(|to| from != Some(*to)).and_then(|to| self.leaves_to(batch, to, key.instant))
    }

    /// What going to a place breaks of a hold: a return to a supplier breaks nothing.
    fn leaves_to(&self, batch: BatchIx, place: PlaceIx, at: i64) -> Option<ExceptionKind> {
        let (kind, party) = match self.book.place_kind(place) {
            PlaceKind::Transit => (ExceptionKind::ShippedUnderHold, self.bound_for(place, Key::end_of(at))),
            PlaceKind::Party => (ExceptionKind::DeliveredUnderHold, Some(place)),
            PlaceKind::Sink if self.book.sink(place) == Some(Sink::Consumed) => {
                (ExceptionKind::ConsumedUnderHold, None)
            }
            _ => return None,
        };
        (!party.is_some_and(|party| self.is_supplied_by(batch, party))).then_some(kind)
    }

    /// Whether a party supplied a batch, or what that was split, merged or re-packed from.
    pub fn is_supplied_by(&self, batch: BatchIx, party: PlaceIx) -> bool {
        let mut of = vec![batch];
        let mut next = 0;
        while let Some(&at) = of.get(next) {
            next += 1;
            let names = std::iter::once(at).chain(self.aliases(at));
            for flow in names.flat_map(|name| self.book.flows_of_batch(name)) {
                let row = self.book.stated(flow);
                if !self.book.in_force(row.fact, self.known) {
                    continue;
                }
                match row.from.kind() {
                    EndKind::Supply(supplier) if supplier == party => return true,
                    EndKind::Run(run) => {
                        let run = self.run(run, i64::MAX);
                        let output = run.outputs.iter().find(|output| output.flow == flow);
                        let Some(output) = output.filter(|_| run.kind != RunKind::Production) else { continue };
                        for input in run.inputs.iter().filter(|input| run.connects(input, output)) {
                            if !of.contains(&input.batch) {
                                of.push(input.batch);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        false
    }
}

/// True when something was in a slice before an instant, or came in at it.
fn lay_there(settled: &Settlement, place: PlaceIx, at: i64) -> bool {
    let here = Node::Place(place);
    let enters = settled.flows.iter().any(|flow| flow.in_book() && flow.to == here && flow.at == at);
    let unknown = settled
        .flows
        .iter()
        .any(|flow| flow.in_book() && flow.amount.is_none() && (flow.to == here || flow.from == here) && flow.at < at);
    enters || unknown || balance_at(settled, place, at.saturating_sub(1)) != 0
}

/// The balance of a slice at the end of an instant.
pub fn balance_at(settled: &Settlement, place: PlaceIx, at: i64) -> i128 {
    let here = Node::Place(place);
    settled
        .flows
        .iter()
        .filter(|flow| flow.in_book() && flow.at <= at)
        .map(|flow| {
            let amount = flow.amount.unwrap_or(0);
            i128::from(flow.to == here) * amount - i128::from(flow.from == here) * amount
        })
        .sum()
}
