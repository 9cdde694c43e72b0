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
    /// From when on; without a place the whole batch.
    covered: FxHashMap<Part, i64>,
}

/// A batch, or an episode of one of its slices: what came in anew after that was empty is not what was held.
type Part = (BatchIx, Option<(PlaceIx, usize)>);

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
                    covers.holds.push(Cover { hold: *hold, from: at, until: None, covered: FxHashMap::default() });
                    targets.push((self.resolve(*batch), *slice));
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
        let mut queue = VecDeque::from([(target, from)]);
        while let Some(((batch, place), since)) = queue.pop_front() {
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
                            queue.push_back(((made, None), from));
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
                        if !leaves || !stays || lifted(flow.at) {
                            continue;
                        }
                        match flow.to {
                            Node::Place(to) if self.book.place_kind(to) == PlaceKind::Vessel => {
                                // Also into draws from before it, which it paid.
                                queue.extend(self.drawn_of(to, flow.stated, as_of, settlement));
                            }
                            Node::Place(to) if self.book.place_kind(to) != PlaceKind::Sink => {
                                queue.push_back(((batch, Some(to)), flow.counts_from));
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

    /// The slices that draws with some of a fill entered.
    fn drawn_of<'s>(
        &self,
        vessel: PlaceIx,
        fill: Option<FlowIx>,
        as_of: i64,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> Vec<((BatchIx, Option<PlaceIx>), i64)> {
        if !self.holds_pass_runs() {
            return Vec::new();
        }
        let mixed = self.vessel(vessel, as_of, CleanGrade(1), settlement);
        let Some(fill) = mixed.fills.iter().position(|known| Some(known.flow) == fill) else { return Vec::new() };
        let mut entered = Vec::new();
        for (draw, _) in mixed.draws_of(fill).filter(|(_, contact)| *contact != Contact::Residue) {
            let draw = &mixed.draws[draw];
            // Drawn into a run, it lies nowhere but in the vessel.
            entered.push(((draw.batch, Some(vessel)), draw.at));
            let out = |flow: &&Settled| flow.stated == Some(draw.flow) && flow.from == Node::Place(vessel);
            for flow in settlement(draw.batch).flows.iter().filter(out) {
                if let Node::Place(place) = flow.to {
                    entered.push(((draw.batch, Some(place)), flow.counts_from));
                }
            }
        }
        entered
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
    ) -> Vec<((BatchIx, Option<PlaceIx>), i64)> {
        let told = self.run(run, as_of);
        if !self.passes(told.kind) {
            return Vec::new();
        }
        let mut entered = Vec::new();
        for input in told.inputs.iter().filter(|leg| Some(leg.flow) == input) {
            for output in told.outputs.iter().filter(|output| told.connects(input, output)) {
                let out = |flow: &&Settled| flow.stated == Some(output.flow) && flow.from == Node::Run(run);
                for flow in settlement(output.batch).flows.iter().filter(out) {
                    let Node::Place(place) = flow.to else { continue };
                    // What repays an overdraft was there from its beginning.
                    entered.push(((output.batch, Some(place)), flow.counts_from));
                    if self.book.place_kind(place) == PlaceKind::Vessel && flow.in_book() {
                        entered.extend(self.drawn_of(place, Some(output.flow), as_of, settlement));
                    }
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
