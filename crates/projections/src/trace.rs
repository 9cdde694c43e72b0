//! Traces: the time-respecting closure of flows, forward and back (`schemas/settlement.md`, section 8).
//!
//! The walk goes over flows, not over batches: a slice is reached by an inflow at a moment, and only
//! flows that leave it at or after that moment are followed. Every tier keeps the best moment of its own,
//! so the answer does not depend on the order of the walk, and cycles end by themselves.

mod met;

use std::collections::VecDeque;

use lotline_domain::book::{BatchIx, EndKind, FlowIx, PlaceIx, PlaceKind, RunIx};
use lotline_domain::effect::Phase;
use lotline_domain::settle::{Contact, Mark, Node, RunLeg, Settled, Settlement};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use self::met::{Batches, Limits, Met, MetIx, MetRun, Runs, SpotIx, Way, passed};
use crate::question::Question;

/// How sure it is that a link is real; ordered from the least sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// Reached by time, but an undisturbed book was empty in between.
    Cleared,
    /// Every path needs an assumption.
    Possible,
    /// Some path is recorded in every step.
    Certain,
}

impl Tier {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::Possible => "possible",
            Self::Certain => "certain",
        }
    }
}

/// Towards outputs or towards inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What was made of it, where is it, who received it?
    Forward,
    /// What is it made of?
    Back,
}

/// Where a step of a trace begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// A slice.
    Slice(BatchIx, PlaceIx),
    /// A run.
    Run(RunIx),
    /// A vessel.
    Vessel(PlaceIx),
    /// The supply of a party.
    Supply(PlaceIx),
    /// A sink.
    Sink(PlaceIx),
}

/// A followed step, with the best tier by which it is on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// From where.
    pub from: Point,
    /// Where to.
    pub to: Point,
    /// The batch that moves.
    pub batch: BatchIx,
    /// The settled flow.
    pub flow: Settled,
    /// Its number in the settlement of its batch.
    pub number: usize,
    /// Its tier.
    pub tier: Tier,
}

/// An earlier moment reaches more of what comes later, a later one more of what came before.
fn is_better(direction: Direction, new: i64, old: i64) -> bool {
    match direction {
        Direction::Forward => new < old,
        Direction::Back => new > old,
    }
}

/// A reached slice: for each tier the best moment (earliest forward, latest back), microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    moments: [Option<i64>; 3],
}

impl Reached {
    const NEVER: Self = Self { moments: [None; 3] };

    /// Takes what is better of the limits of a walk.
    fn improve(&mut self, limits: &[Option<i64>; 3], direction: Direction) {
        let moment = |limit| match limit {
            i64::MIN | i64::MAX => limit,
            limit => limit.div_euclid(2),
        };
        self.join(&Self { moments: limits.map(|limit| limit.map(moment)) }, direction);
    }

    fn join(&mut self, other: &Self, direction: Direction) {
        for (known, moment) in self.moments.iter_mut().zip(other.moments) {
            let better = match (*known, moment) {
                (_, None) => false,
                (None, _) => true,
                (Some(known), Some(moment)) => is_better(direction, moment, known),
            };
            if better {
                *known = moment;
            }
        }
    }

    /// The best tier.
    pub fn tier(&self) -> Tier {
        match self.moments {
            [_, _, Some(_)] => Tier::Certain,
            [_, Some(_), _] => Tier::Possible,
            _ => Tier::Cleared,
        }
    }

    /// The moment at which it is reached with at least a tier.
    pub fn moment(&self, tier: Tier) -> Option<i64> {
        self.moments[tier as usize..].iter().flatten().min().copied()
    }
}

/// A trace: everything reached, and the steps.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Which way.
    pub direction: Direction,
    /// Where it began.
    pub starts: Vec<BatchIx>,
    /// Reached slices; those of the starting batches are there with the earliest (or latest) moment.
    pub slices: FxHashMap<(BatchIx, PlaceIx), Reached>,
    /// The same by episode: from one moment at which the slice was empty to the next.
    met: Batches,
    /// Reached batches with their best tier. A starting batch is among them only when a run or vessel
    /// returns to it.
    pub batches: FxHashMap<BatchIx, Tier>,
    /// Runs on the way.
    pub runs: FxHashMap<RunIx, Tier>,
    /// Vessels on the way.
    pub vessels: FxHashMap<PlaceIx, Tier>,
    /// Followed steps.
    pub edges: Vec<Edge>,
    /// Contact without content: (vessel, batch drawn or filled) by residue alone.
    pub residues: Vec<(PlaceIx, BatchIx)>,
    /// Bare codes on the way that fit several batches.
    pub ambiguous: Vec<BatchIx>,
}

impl Trace {
    /// How a slice is reached in the episode that an instant is in; `None` when it is not.
    pub(crate) fn reached_at(&self, settled: &Settlement, place: PlaceIx, at: i64) -> Option<Reached> {
        let now = episode(settled, place, at);
        let in_episode = |episode, which: &dyn Fn(Way) -> bool| {
            let mut reached = Reached::NEVER;
            for (way, limits) in self.met.reached(settled.batch, place, episode) {
                if which(way) {
                    reached.improve(&limits, self.direction);
                }
            }
            (reached != Reached::NEVER).then_some(reached)
        };
        // By a doubtful book, or over a doubtful path, what was there before may be there still.
        let doubtful = settled.slice(place).is_some_and(|slice| slice.is_disturbed_by(at));
        let mut all = in_episode(now, &|_| true).unwrap_or(Reached::NEVER);
        for known in (0..now).filter_map(|episode| in_episode(episode, &|way| doubtful || way.doubt)) {
            let [cleared, possible, certain] = known.moments;
            let possible = [possible, certain].into_iter().flatten().min();
            let better = |new: Option<i64>, old: Option<i64>| new.into_iter().chain(old).min();
            all.moments[0] = better(cleared, all.moments[0]);
            all.moments[1] = better(possible, all.moments[1]);
        }
        (all != Reached::NEVER).then_some(all)
    }
}

/// Traces some batches together: their union.
pub fn trace(question: &Question<'_>, starts: &[BatchIx], direction: Direction) -> Trace {
    let mut walk = Walk::new(question, starts, direction);
    walk.begin();
    while let Some((spot, state)) = walk.queue.pop_front() {
        walk.expand(spot, state);
    }
    walk.finish()
}

/// A slice's episode, reached with a tier at a limit: forward twice the moment; back twice the last moment
/// at which it may have been entered, less one where a tie would not do.
#[derive(Debug, Clone, Copy)]
struct State {
    met: MetIx,
    place: PlaceIx,
    episode: u32,
    way: Way,
    tier: Tier,
    limit: i64,
}

struct Walk<'q, 'a> {
    question: &'q Question<'a>,
    direction: Direction,
    starts: Vec<BatchIx>,
    met: Batches,
    queue: VecDeque<(SpotIx, State)>,
    runs: Runs,
    vessels: FxHashMap<((PlaceIx, FlowIx), bool), Tier>,
    residues: FxHashMap<(PlaceIx, BatchIx), bool>,
    ambiguous: FxHashSet<BatchIx>,
    coded: FxHashSet<(BatchIx, Option<BatchIx>, Tier, i64, Way)>,
}

/// The episode of a slice that an instant is in.
fn episode(settled: &Settlement, place: PlaceIx, at: i64) -> u32 {
    let zeros = settled.slice(place).map_or(&[][..], |slice| &slice.zeros[..]);
    u32::try_from(zeros.partition_point(|zero| *zero < at)).unwrap_or(u32::MAX)
}

impl<'q, 'a> Walk<'q, 'a> {
    fn new(question: &'q Question<'a>, starts: &[BatchIx], direction: Direction) -> Self {
        let mut starts: Vec<BatchIx> = starts.iter().map(|batch| question.settler().resolve(*batch)).collect();
        starts.sort_unstable();
        starts.dedup();
        Self {
            question,
            direction,
            starts,
            met: Batches::default(),
            queue: VecDeque::new(),
            runs: Runs::default(),
            vessels: FxHashMap::default(),
            residues: FxHashMap::default(),
            ambiguous: FxHashSet::default(),
            coded: FxHashSet::default(),
        }
    }

    fn is_slice(&self, place: PlaceIx) -> bool {
        !matches!(self.question.book().place_kind(place), PlaceKind::Vessel | PlaceKind::Sink)
    }

    fn is_start(&self, batch: BatchIx) -> bool {
        self.starts.binary_search(&batch).is_ok()
    }

    /// No limit: a slice reached from the beginning, or needed to the end.
    fn no_limit(&self) -> i64 {
        match self.direction {
            Direction::Forward => i64::MIN,
            Direction::Back => i64::MAX,
        }
    }

    fn meet(&mut self, batch: BatchIx) -> MetIx {
        let question = self.question;
        self.met.meet(batch, || question.settlement(batch))
    }

    /// Every slice of the starting batches, from the beginning or to the end.
    fn begin(&mut self) {
        for batch in self.starts.clone() {
            let met = self.meet(batch);
            let way = Way { made: false, doubt: false };
            self.whole_batch(met, Tier::Certain, self.no_limit(), way);
            if self.direction == Direction::Forward && self.met.get(met).is_anywhere() {
                self.codes(met, Tier::Certain, self.no_limit(), way);
            }
        }
    }

    fn whole_batch(&mut self, met: MetIx, tier: Tier, limit: i64, way: Way) {
        let settled = self.met.get(met).settled.clone();
        for slice in &settled.slices {
            for episode in 0..=u32::try_from(slice.zeros.len()).unwrap_or(u32::MAX) {
                self.push(State { met, place: slice.place, episode, way, tier, limit });
            }
        }
        for place in self.vessels_of(&settled) {
            self.push(State { met, place, episode: 0, way, tier, limit });
        }
        // What was never in a slice of its own: from a supply or a run straight into a vessel or a run.
        for (number, flow) in settled.flows.iter().enumerate() {
            let (near, far) = self.ends(flow);
            let loose = |node: Node| !matches!(node, Node::Place(place) if self.is_slice(place));
            let into_vessel = matches!(flow.to, Node::Place(place) if !self.is_slice(place));
            match (self.direction, far) {
                (Direction::Forward, Node::Place(vessel)) if into_vessel && flow.in_book() => {
                    // A fill before that moment is entered, for a code says nothing of when; it is no step in time.
                    if self.in_time(flow, limit) {
                        self.met.follow(met, number, tier);
                    }
                    self.through_vessel(settled.batch, flow, vessel, tier, way.doubt);
                }
                _ if loose(near) && loose(far) && self.in_time(flow, limit) => {
                    self.pass(met, &settled, flow, far, tier, way)
                }
                _ => {}
            }
        }
    }

    /// Whether a flow that touches no slice is within a limit.
    fn in_time(&self, flow: &Settled, limit: i64) -> bool {
        match self.direction {
            Direction::Forward => limit == i64::MIN || flow.latest >= limit.div_euclid(2),
            Direction::Back => limit == i64::MAX || flow.counts_from.saturating_mul(2) <= limit,
        }
    }

    /// The vessels that a batch went into: named takes and possible links leave from there.
    fn vessels_of(&self, settled: &Settlement) -> Vec<PlaceIx> {
        let mut found: Vec<PlaceIx> = Vec::new();
        for flow in &settled.flows {
            if let Node::Place(place) = flow.to
                && self.question.book().place_kind(place) == PlaceKind::Vessel
                && !found.contains(&place)
            {
                found.push(place);
            }
        }
        found
    }

    fn is_draw(&self, flow: &Settled) -> bool {
        flow.mark != Mark::Link
            && flow.stated.is_some_and(|stated| self.question.book().stated(stated).phase == Phase::Draw)
    }

    /// An ambiguous bare code links possibly to and from each of its candidates. What came to it from one of them is
    /// that one, and goes on to no other.
    fn codes(&mut self, met: MetIx, tier: Tier, limit: i64, way: Way) {
        let question = self.question;
        let settler = question.settler();
        if !settler.book().has_pseudo() {
            return;
        }
        let (batch, via) = (self.met.get(met).settled.batch, self.met.get(met).via);
        let aliases = settler.ambiguous_aliases(batch);
        let candidates =
            settler.ambiguous_candidates(batch).into_iter().filter(|one| via.is_none_or(|via| via == *one));
        let others: Vec<(BatchIx, Option<BatchIx>)> =
            aliases.into_iter().map(|code| (code, Some(batch))).chain(candidates.map(|one| (one, None))).collect();
        if others.is_empty() {
            return;
        }
        self.ambiguous.insert(batch);
        let tier = self.doubted(tier).min(Tier::Possible);
        let way = Way { doubt: self.direction == Direction::Forward, ..way };
        for (other, via) in others {
            self.ambiguous.insert(other);
            if !self.coded.insert((other, via, tier, limit, way)) {
                continue;
            }
            let met = match via {
                Some(via) => self.met.meet_code(other, via, || question.settlement(other)),
                None => self.meet(other),
            };
            if self.met.get(met).is_anywhere() && (way.made || !self.is_start(other)) {
                self.met.get_mut(met).reach(tier);
            }
            self.whole_batch(met, tier, limit, way);
        }
    }

    /// The tier of a path behind a negative, ambiguous or counted difference. Back, what a slice farther on cleared is
    /// not cleared any more: on the way there the path had passed the difference.
    fn doubted(&self, tier: Tier) -> Tier {
        match self.direction {
            Direction::Forward => tier,
            Direction::Back => tier.max(Tier::Possible),
        }
    }

    /// Near and far end of a flow as the walk goes.
    fn ends(&self, flow: &Settled) -> (Node, Node) {
        match self.direction {
            Direction::Forward => (flow.from, flow.to),
            Direction::Back => (flow.to, flow.from),
        }
    }

    fn push(&mut self, state: State) {
        let spot = self.met.spot(state.met, state.place, state.episode, state.way);
        // A surer tier at least as good says the same.
        let known = |best: &Limits| {
            best[state.tier as usize..].iter().flatten().any(|old| !is_better(self.direction, state.limit, *old))
        };
        if known(self.met.limits(spot)) {
            return;
        }
        self.met.limits_mut(spot)[state.tier as usize] = Some(state.limit);
        self.queue.push_back((spot, state));
    }

    /// Follows what leaves a slice (forward) or what entered it (back).
    fn expand(&mut self, spot: SpotIx, state: State) {
        let current = self.met.limits(spot)[state.tier as usize] == Some(state.limit);
        if !current {
            return;
        }
        let settled = self.met.get(state.met).settled.clone();
        let here = Node::Place(state.place);
        self.codes(state.met, state.tier, state.limit, state.way);
        match self.direction {
            Direction::Forward => {
                for flow in settled.flows_from(here) {
                    if self.is_draw(flow) && !self.is_slice(state.place) {
                        continue;
                    }
                    if let Some((tier, doubt)) = forward_tier(&settled, &state, flow) {
                        self.pass(state.met, &settled, flow, flow.to, tier, Way { doubt, ..state.way });
                    }
                }
            }
            Direction::Back => {
                for flow in settled.flows_to(here) {
                    if let Some(tier) = back_tier(&settled, &state, flow) {
                        self.pass(state.met, &settled, flow, flow.from, tier, state.way);
                    }
                }
            }
        }
    }

    /// Goes over a flow to its far end; `tier` is that of the path up to the flow, its own mark excepted.
    fn pass(&mut self, met: MetIx, settled: &Settlement, flow: &Settled, far: Node, tier: Tier, way: Way) {
        let batch = settled.batch;
        let marked = match flow.mark {
            Mark::Plain => tier,
            _ => tier.min(Tier::Possible),
        };
        // Every candidate of a suspect's own flow into a run is a slice of the suspect.
        let into_hub = match flow.to {
            Node::Run(_) => true,
            Node::Place(place) => !self.is_slice(place),
            Node::Supply(_) => false,
        };
        let own = self.direction == Direction::Forward && into_hub && self.is_start(batch);
        let tier_on = if own { tier } else { marked };
        let number = settled.number_of(flow).expect("a flow of the settlement that it is passed with");
        self.met.follow(met, number, tier_on);
        match far {
            Node::Place(place) if self.is_slice(place) => {
                self.enter(met, settled, flow, place, marked, way);
            }
            Node::Place(place) if self.question.book().place_kind(place) == PlaceKind::Vessel => {
                if self.direction == Direction::Forward || self.is_draw(flow) {
                    self.through_vessel(batch, flow, place, tier_on, way.doubt);
                }
                if self.direction == Direction::Forward || !self.is_draw(flow) {
                    self.enter(met, settled, flow, place, tier_on, way);
                }
            }
            Node::Run(run) => self.through_run(batch, flow, run, tier_on, way.doubt),
            _ => {}
        }
    }

    fn enter(&mut self, met: MetIx, settled: &Settlement, flow: &Settled, place: PlaceIx, tier: Tier, way: Way) {
        let way = match self.direction {
            Direction::Forward => way,
            Direction::Back => Way { doubt: is_doubtful(flow), ..way },
        };
        let (at, limit) = match self.direction {
            Direction::Forward => (flow.counts_from, flow.counts_from.saturating_mul(2)),
            // The slice must have been entered before it was left; a tie is sure only if it was alone there.
            Direction::Back => (flow.at, flow.latest.saturating_mul(2)),
        };
        let episode = episode(settled, place, at);
        if self.direction == Direction::Back && flow.latest > flow.at {
            // The dual of following a fact dated by day out of episodes that began later on its day.
            let last = self::episode(settled, place, flow.latest);
            for episode in episode + 1..=last {
                self.push(State { met, place, episode, way, tier: tier.min(Tier::Possible), limit });
            }
        }
        if self.direction == Direction::Back && flow.mark == Mark::Link {
            // The dual of following a link out of whatever episode.
            for episode in 0..episode {
                self.push(State { met, place, episode, way, tier: tier.min(Tier::Possible), limit });
            }
        }
        if self.direction == Direction::Back && tier == Tier::Certain {
            let sure = flow.at.saturating_mul(2).saturating_sub(i64::from(!flow.alone));
            self.push(State { met, place, episode, way, tier, limit: sure });
            self.push(State { met, place, episode, way, tier: Tier::Possible, limit });
        } else {
            self.push(State { met, place, episode, way, tier, limit });
        }
    }

    fn through_run(&mut self, batch: BatchIx, flow: &Settled, run: RunIx, tier: Tier, doubt: bool) {
        let Some(stated) = flow.stated else { return };
        let (question, direction) = (self.question, self.direction);
        let tell = || {
            let (settler, as_of) = (question.settler(), question.as_of());
            let far = match direction {
                Direction::Forward => settler.outputs(run, as_of),
                Direction::Back => settler.inputs(run, as_of),
            };
            (settler.joins(run, as_of), far)
        };
        let Some(met) = self.runs.pass(run, stated, tier, self.forward_only(doubt), tell) else { return };
        let window = question.book().extra(stated).and_then(|extra| extra.window);
        let here = RunLeg { flow: stated, batch, at: flow.at, fact: flow.fact, window };
        for number in 0..self.runs.get(met).far.len() {
            let MetRun { joins, far, .. } = self.runs.get(met);
            let there = &far[number];
            let (input, output) = match direction {
                Direction::Forward => (&here, there),
                Direction::Back => (there, &here),
            };
            if joins.connects(input, output) {
                let step = if output.at < input.at { Tier::Possible } else { Tier::Certain };
                let (batch, flow) = (there.batch, there.flow);
                self.continue_at(batch, flow, EndKind::Run(run), tier.min(step), doubt);
            }
        }
    }

    fn through_vessel(&mut self, batch: BatchIx, flow: &Settled, vessel: PlaceIx, tier: Tier, doubt: bool) {
        let Some(stated) = flow.stated else { return };
        let doubt = self.forward_only(doubt);
        if passed(&mut self.vessels, (vessel, stated), tier, doubt) {
            return;
        }
        let mixed = self.question.vessel(vessel);
        let step = |contact: Contact| match contact {
            Contact::Content(_) => Tier::Certain,
            _ => Tier::Possible,
        };
        let mut next: Vec<(BatchIx, FlowIx, Contact)> = Vec::new();
        match self.direction {
            Direction::Forward => {
                let Some(fill) = mixed.fills.iter().position(|fill| fill.flow == stated) else { return };
                let draws = mixed.draws_of(fill);
                next.extend(draws.map(|(at, contact)| (mixed.draws[at].batch, mixed.draws[at].flow, contact)));
            }
            Direction::Back => {
                let Some(draw) = mixed.draws.iter().position(|draw| draw.flow == stated) else { return };
                let fills = mixed.fills_of(draw);
                next.extend(fills.map(|(at, contact)| (mixed.fills[at].batch, mixed.fills[at].flow, contact)));
            }
        }
        for (other, flow, contact) in next {
            if contact == Contact::Residue {
                let drawn = if self.direction == Direction::Forward { other } else { batch };
                self.residues.insert((vessel, drawn), true);
            }
            // What a vessel owed was not all recorded.
            let owed = step(contact) < Tier::Certain && contact != Contact::Residue;
            let tier = if owed { self.doubted(tier) } else { tier };
            self.continue_at(other, flow, EndKind::Place(vessel), tier.min(step(contact)), doubt || owed);
        }
    }

    /// Goes on behind a hub with the settled flows of a stated one.
    fn continue_at(&mut self, batch: BatchIx, stated: FlowIx, hub: EndKind, tier: Tier, doubt: bool) {
        let met = self.meet(batch);
        let way = Way { made: true, doubt: self.forward_only(doubt) };
        let near = match hub {
            EndKind::Run(run) => Node::Run(run),
            EndKind::Place(place) => Node::Place(place),
            _ => return,
        };
        self.met.get_mut(met).reach(tier);
        let settled = self.met.get(met).settled.clone();
        match self.direction {
            Direction::Forward => {
                for flow in settled.flows_from(near).filter(|flow| flow.stated == Some(stated)) {
                    self.pass(met, &settled, flow, flow.to, tier, way);
                }
            }
            Direction::Back => {
                for flow in settled.flows_to(near).filter(|flow| flow.stated == Some(stated)) {
                    self.pass(met, &settled, flow, flow.from, tier, way);
                }
            }
        }
        if self.direction == Direction::Back && matches!(hub, EndKind::Place(_)) {
            // The dual of entering all fills of a code's candidate.
            let poured = |flow: &Settled| flow.stated == Some(stated) && flow.in_book();
            if settled.flows.iter().any(poured) {
                self.codes(met, tier, self.no_limit(), way);
            }
        }
    }

    /// Of a hub it is of no account back.
    fn forward_only(&self, doubt: bool) -> bool {
        doubt && self.direction == Direction::Forward
    }

    fn point(&self, batch: BatchIx, node: Node) -> Point {
        match node {
            Node::Run(run) => Point::Run(run),
            Node::Supply(party) => Point::Supply(party),
            Node::Place(place) => match self.question.book().place_kind(place) {
                PlaceKind::Vessel => Point::Vessel(place),
                PlaceKind::Sink => Point::Sink(place),
                _ => Point::Slice(batch, place),
            },
        }
    }

    /// The followed steps by moment, then by fact, then by what they go from and to.
    fn edges(&self) -> Vec<Edge> {
        let mut followed: Vec<(&Met, usize, Tier)> = Vec::with_capacity(self.met.many_followed());
        followed.extend(self.met.followed());
        // Steps are large: their order is found by short keys, each with the number of its step behind it.
        let mut order: Vec<u128> = Vec::with_capacity(followed.len());
        order.extend((0u32..).zip(&followed).map(|(at, (met, number, _))| {
            let flow = &met.settled.flows[*number];
            let instant = flow.at.cast_unsigned() ^ i64::MIN.cast_unsigned();
            u128::from(instant) << 64 | u128::from(flow.fact.0) << 32 | u128::from(at)
        }));
        order.sort_unstable();
        let mut edges: Vec<Edge> = Vec::with_capacity(order.len());
        edges.extend(order.into_iter().map(|key| {
            let (met, number, tier) = followed[(key as u32) as usize];
            let (batch, flow) = (met.settled.batch, met.settled.flows[number]);
            let (from, to) = (self.point(batch, flow.from), self.point(batch, flow.to));
            Edge { from, to, batch, flow, number, tier }
        }));
        for of_fact in edges.chunk_by_mut(|a, b| (a.flow.at, a.flow.fact) == (b.flow.at, b.flow.fact)) {
            of_fact.sort_unstable_by_key(|edge| (edge.from, edge.to, edge.flow.mark, edge.number, edge.batch));
        }
        // A step of a code may be on several ways to it.
        edges.dedup_by(|again, edge| {
            let same = (again.batch, again.number) == (edge.batch, edge.number);
            edge.tier = if same { edge.tier.max(again.tier) } else { edge.tier };
            same
        });
        edges
    }

    fn finish(self) -> Trace {
        let mut slices = FxHashMap::with_capacity_and_hasher(self.met.many_slices(), FxBuildHasher);
        for (batch, place, spots) in self.met.places() {
            let mut reached = Reached::NEVER;
            for limits in spots {
                reached.improve(limits, self.direction);
            }
            if reached != Reached::NEVER {
                slices.entry((batch, place)).or_insert(Reached::NEVER).join(&reached, self.direction);
            }
        }
        let mut batches = FxHashMap::with_capacity_and_hasher(self.met.all().len(), FxBuildHasher);
        for (batch, tier) in self.met.all().iter().filter_map(|met| Some((met.settled.batch, met.tier?))) {
            let known = batches.entry(batch).or_insert(tier);
            *known = tier.max(*known);
        }
        let mut vessels: FxHashMap<PlaceIx, Tier> = FxHashMap::default();
        for (((vessel, _), _), tier) in &self.vessels {
            let known = vessels.entry(*vessel).or_insert(*tier);
            *known = (*known).max(*tier);
        }
        let edges = self.edges();
        let mut residues: Vec<(PlaceIx, BatchIx)> = self.residues.into_keys().collect();
        residues.sort_unstable();
        let mut ambiguous: Vec<BatchIx> = self.ambiguous.into_iter().collect();
        ambiguous.retain(|batch| self.question.book().is_pseudo(*batch));
        ambiguous.sort_unstable();
        Trace {
            direction: self.direction,
            starts: self.starts,
            slices,
            met: self.met,
            batches,
            runs: self.runs.tiers().collect(),
            vessels,
            edges,
            residues,
            ambiguous,
        }
    }
}

/// Picked among several candidates, or drawn because something is missing.
fn is_doubtful(flow: &Settled) -> bool {
    matches!(flow.mark, Mark::Assumed | Mark::Link)
}

/// The tier of a step out of a slice, its own mark excepted, and whether the path has passed a doubtful difference then;
/// `None` when it is not followed.
fn forward_tier(settled: &Settlement, state: &State, flow: &Settled) -> Option<(Tier, bool)> {
    if state.limit == i64::MIN {
        let same = episode(settled, state.place, flow.at) == state.episode;
        return same.then_some((state.tier, state.way.doubt));
    }
    let moment = state.limit.div_euclid(2);
    if flow.latest < moment {
        return None;
    }
    let disturbed = || settled.slice(state.place).is_some_and(|slice| slice.is_disturbed_by(flow.at));
    let doubt = state.way.doubt || is_doubtful(flow) || disturbed();
    // A fact dated by day may have happened later on its day, in whichever episode.
    if flow.at < moment {
        return Some((state.tier.min(Tier::Possible), doubt));
    }
    let leaves = episode(settled, state.place, flow.at);
    if leaves < state.episode {
        return None;
    }
    if leaves > state.episode {
        // What leaves after the slice was empty is cleared; over a doubtful path, it is possible (ruling 23).
        return Some((if doubt { state.tier.min(Tier::Possible) } else { Tier::Cleared }, doubt));
    }
    let sure = flow.at > moment || (flow.at == moment && flow.alone);
    Some((if sure { state.tier } else { state.tier.min(Tier::Possible) }, doubt))
}

/// The tier of a step into a slice as seen from where it left; `None` when it is not followed. What a slice farther on
/// cleared is possible behind a doubtful difference: seen forward, that comes first.
fn back_tier(settled: &Settlement, state: &State, flow: &Settled) -> Option<Tier> {
    let enters = episode(settled, state.place, flow.counts_from);
    if state.limit == i64::MAX {
        return (enters == state.episode).then_some(state.tier);
    }
    if flow.counts_from.saturating_mul(2) > state.limit {
        return None;
    }
    let left = state.limit.div_euclid(2);
    let disturbed = || settled.slice(state.place).is_some_and(|slice| slice.is_disturbed_by(left));
    let doubt = || state.way.doubt || disturbed();
    match enters.cmp(&state.episode) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Less => Some(if doubt() { Tier::Possible } else { Tier::Cleared }),
        std::cmp::Ordering::Equal if state.tier == Tier::Cleared && doubt() => Some(Tier::Possible),
        std::cmp::Ordering::Equal => Some(state.tier),
    }
}
