//! Traces: the time-respecting closure of flows, forward and back (`schemas/settlement.md`, section 8).
//!
//! The walk goes over flows, not over batches: a slice is reached by an inflow at a moment, and only
//! flows that leave it at or after that moment are followed. Every tier keeps the best moment of its own,
//! so the answer does not depend on the order of the walk, and cycles end by themselves.

use std::collections::VecDeque;
use std::sync::Arc;

use lotline_domain::book::{BatchIx, EndKind, FlowIx, PlaceIx, PlaceKind, RunIx};
use lotline_domain::effect::Phase;
use lotline_domain::settle::{Contact, Mark, Node, Settled, Settlement};
use rustc_hash::{FxHashMap, FxHashSet};

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

/// A reached slice: for each tier the best moment (earliest forward, latest back), microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    moments: [Option<i64>; 3],
}

impl Reached {
    const NEVER: Self = Self { moments: [None; 3] };

    /// Takes what is better of the limits of a walk.
    fn improve(&mut self, limits: &[Option<i64>; 3], direction: Direction) {
        for (known, limit) in self.moments.iter_mut().zip(limits) {
            let Some(limit) = limit else { continue };
            let moment = match *limit {
                i64::MIN | i64::MAX => *limit,
                limit => limit.div_euclid(2),
            };
            let better = known.is_none_or(|known| match direction {
                Direction::Forward => moment < known,
                Direction::Back => moment > known,
            });
            if better {
                *known = Some(moment);
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
    episodes: FxHashMap<(BatchIx, PlaceIx, u32), Reached>,
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
        let reached = self.episodes.get(&(settled.batch, place, now)).copied();
        let doubtful = settled.slice(place).is_some_and(|slice| slice.is_disturbed_by(at));
        if !doubtful {
            return reached;
        }
        // By a doubtful book what was there before may be there still.
        let mut all = reached.unwrap_or(Reached::NEVER);
        let earlier = (0..now).filter_map(|episode| self.episodes.get(&(settled.batch, place, episode)));
        for known in earlier {
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
    while let Some(state) = walk.queue.pop_front() {
        walk.expand(state);
    }
    walk.finish()
}

/// A slice's episode, reached with a tier at a limit: forward twice the moment; back twice the last moment
/// at which it may have been entered, less one where a tie would not do.
#[derive(Debug, Clone, Copy)]
struct State {
    batch: BatchIx,
    place: PlaceIx,
    episode: u32,
    /// The path has passed a run or a vessel.
    made: bool,
    tier: Tier,
    limit: i64,
}

/// A slice's episode; whether the path there has passed a run or a vessel.
type Spot = (BatchIx, PlaceIx, u32, bool);

struct Walk<'q, 'a> {
    question: &'q Question<'a>,
    direction: Direction,
    starts: Vec<BatchIx>,
    best: FxHashMap<Spot, [Option<i64>; 3]>,
    queue: VecDeque<State>,
    runs: FxHashMap<(RunIx, FlowIx), Tier>,
    vessels: FxHashMap<(PlaceIx, FlowIx), Tier>,
    batches: FxHashMap<BatchIx, Tier>,
    edges: FxHashMap<EdgeKey, Edge>,
    residues: FxHashMap<(PlaceIx, BatchIx), bool>,
    ambiguous: FxHashSet<BatchIx>,
    coded: FxHashSet<(BatchIx, Tier, i64, bool)>,
}

/// A batch, and the number of a flow in its settlement.
type EdgeKey = (BatchIx, usize);

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
            best: FxHashMap::default(),
            queue: VecDeque::new(),
            runs: FxHashMap::default(),
            vessels: FxHashMap::default(),
            batches: FxHashMap::default(),
            edges: FxHashMap::default(),
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

    /// Every slice of the starting batches, from the beginning or to the end.
    fn begin(&mut self) {
        for batch in self.starts.clone() {
            self.whole_batch(batch, Tier::Certain, self.no_limit(), false);
            let settled = self.question.settlement(batch);
            let anywhere = !settled.flows.is_empty() || !settled.slices.is_empty();
            if self.direction == Direction::Forward && anywhere {
                self.codes(batch, Tier::Certain, self.no_limit(), false);
            }
        }
    }

    fn whole_batch(&mut self, batch: BatchIx, tier: Tier, limit: i64, made: bool) {
        let settled = self.question.settlement(batch);
        for slice in &settled.slices {
            for episode in 0..=u32::try_from(slice.zeros.len()).unwrap_or(u32::MAX) {
                self.push(State { batch, place: slice.place, episode, made, tier, limit });
            }
        }
        for place in self.vessels_of(&settled) {
            self.push(State { batch, place, episode: 0, made, tier, limit });
        }
        // What was never in a slice of its own: from a supply or a run straight into a vessel or a run.
        for (number, flow) in settled.flows.iter().enumerate() {
            let (near, far) = self.ends(flow);
            let loose = |node: Node| !matches!(node, Node::Place(place) if self.is_slice(place));
            let into_vessel = matches!(flow.to, Node::Place(place) if !self.is_slice(place));
            match (self.direction, far) {
                (Direction::Forward, Node::Place(vessel)) if into_vessel && flow.in_book() => {
                    self.edge(batch, number, flow, tier);
                    self.through_vessel(batch, flow, vessel, tier);
                }
                _ if loose(near) && loose(far) && self.in_time(flow, limit) => {
                    self.pass(&settled, flow, far, tier, made)
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

    /// An ambiguous bare code links possibly to and from each of its candidates.
    fn codes(&mut self, batch: BatchIx, tier: Tier, limit: i64, made: bool) {
        let settler = self.question.settler();
        let mut others = settler.ambiguous_aliases(batch);
        others.extend(settler.ambiguous_candidates(batch));
        if others.is_empty() {
            return;
        }
        self.ambiguous.insert(batch);
        let tier = tier.min(Tier::Possible);
        for other in others {
            self.ambiguous.insert(other);
            if !self.coded.insert((other, tier, limit, made)) {
                continue;
            }
            let settled = self.question.settlement(other);
            let anywhere = !settled.flows.is_empty() || !settled.slices.is_empty();
            if anywhere && (made || !self.is_start(other)) {
                self.reach_batch(other, tier);
            }
            self.whole_batch(other, tier, limit, made);
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
        let better = |new: i64, old: i64| match self.direction {
            Direction::Forward => new < old,
            Direction::Back => new > old,
        };
        let best = self.best.entry((state.batch, state.place, state.episode, state.made)).or_default();
        // A surer tier at least as good says the same.
        let known = best[state.tier as usize..].iter().flatten().any(|old| !better(state.limit, *old));
        if known {
            return;
        }
        best[state.tier as usize] = Some(state.limit);
        self.queue.push_back(state);
    }

    fn reach_batch(&mut self, batch: BatchIx, tier: Tier) {
        let known = self.batches.entry(batch).or_insert(tier);
        *known = (*known).max(tier);
    }

    /// Follows what leaves a slice (forward) or what entered it (back).
    fn expand(&mut self, state: State) {
        let best = self.best[&(state.batch, state.place, state.episode, state.made)];
        let current = best[state.tier as usize] == Some(state.limit);
        if !current {
            return;
        }
        let settled: Arc<Settlement> = self.question.settlement(state.batch);
        let here = Node::Place(state.place);
        self.codes(state.batch, state.tier, state.limit, state.made);
        match self.direction {
            Direction::Forward => {
                for flow in settled.flows_from(here) {
                    if self.is_draw(flow) && !self.is_slice(state.place) {
                        continue;
                    }
                    if let Some(tier) = forward_tier(&settled, &state, flow) {
                        self.pass(&settled, flow, flow.to, tier, state.made);
                    }
                }
            }
            Direction::Back => {
                for flow in settled.flows_to(here) {
                    if let Some(tier) = back_tier(&settled, &state, flow) {
                        self.pass(&settled, flow, flow.from, tier, state.made);
                    }
                }
            }
        }
    }

    /// Goes over a flow to its far end; `tier` is that of the path up to the flow, its own mark excepted.
    fn pass(&mut self, settled: &Settlement, flow: &Settled, far: Node, tier: Tier, made: bool) {
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
        self.edge(batch, number, flow, tier_on);
        match far {
            Node::Place(place) if self.is_slice(place) => {
                self.enter(batch, flow, place, marked, made);
            }
            Node::Place(place) if self.question.book().place_kind(place) == PlaceKind::Vessel => {
                if self.direction == Direction::Forward || self.is_draw(flow) {
                    self.through_vessel(batch, flow, place, tier_on);
                }
                if self.direction == Direction::Forward || !self.is_draw(flow) {
                    self.enter(batch, flow, place, tier_on, made);
                }
            }
            Node::Run(run) => self.through_run(flow, run, tier_on),
            _ => {}
        }
    }

    fn enter(&mut self, batch: BatchIx, flow: &Settled, place: PlaceIx, tier: Tier, made: bool) {
        let settled = self.question.settlement(batch);
        let (at, limit) = match self.direction {
            Direction::Forward => (flow.counts_from, flow.counts_from.saturating_mul(2)),
            // The slice must have been entered before it was left; a tie is sure only if it was alone there.
            Direction::Back => (flow.at, flow.latest.saturating_mul(2)),
        };
        let episode = episode(&settled, place, at);
        if self.direction == Direction::Back && flow.latest > flow.at {
            // The dual of following a fact dated by day out of episodes that began later on its day.
            let last = self::episode(&settled, place, flow.latest);
            for episode in episode + 1..=last {
                self.push(State { batch, place, episode, made, tier: tier.min(Tier::Possible), limit });
            }
        }
        if self.direction == Direction::Back && flow.mark == Mark::Link {
            // The dual of following a link out of whatever episode.
            for episode in 0..episode {
                self.push(State { batch, place, episode, made, tier: tier.min(Tier::Possible), limit });
            }
        }
        if self.direction == Direction::Back && tier == Tier::Certain {
            let sure = flow.at.saturating_mul(2).saturating_sub(i64::from(!flow.alone));
            self.push(State { batch, place, episode, made, tier, limit: sure });
            self.push(State { batch, place, episode, made, tier: Tier::Possible, limit });
        } else {
            self.push(State { batch, place, episode, made, tier, limit });
        }
    }

    fn through_run(&mut self, flow: &Settled, run: RunIx, tier: Tier) {
        let Some(stated) = flow.stated else { return };
        let known = self.runs.get(&(run, stated)).copied();
        if known.is_some_and(|known| known >= tier) {
            return;
        }
        self.runs.insert((run, stated), tier);
        let told = self.question.run(run);
        match self.direction {
            Direction::Forward => {
                let Some(input) = told.inputs.iter().find(|leg| leg.flow == stated) else { return };
                for output in told.outputs.iter().filter(|output| told.connects(input, output)) {
                    let step = if output.at < input.at { Tier::Possible } else { Tier::Certain };
                    self.continue_at(output.batch, output.flow, EndKind::Run(run), tier.min(step));
                }
            }
            Direction::Back => {
                let Some(output) = told.outputs.iter().find(|leg| leg.flow == stated) else { return };
                for input in told.inputs.iter().filter(|input| told.connects(input, output)) {
                    let step = if output.at < input.at { Tier::Possible } else { Tier::Certain };
                    self.continue_at(input.batch, input.flow, EndKind::Run(run), tier.min(step));
                }
            }
        }
    }

    fn through_vessel(&mut self, batch: BatchIx, flow: &Settled, vessel: PlaceIx, tier: Tier) {
        let Some(stated) = flow.stated else { return };
        let known = self.vessels.get(&(vessel, stated)).copied();
        if known.is_some_and(|known| known >= tier) {
            return;
        }
        self.vessels.insert((vessel, stated), tier);
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
            self.continue_at(other, flow, EndKind::Place(vessel), tier.min(step(contact)));
        }
    }

    /// Goes on behind a hub with the settled flows of a stated one.
    fn continue_at(&mut self, batch: BatchIx, stated: FlowIx, hub: EndKind, tier: Tier) {
        let settled = self.question.settlement(batch);
        let near = match hub {
            EndKind::Run(run) => Node::Run(run),
            EndKind::Place(place) => Node::Place(place),
            _ => return,
        };
        self.reach_batch(batch, tier);
        for flow in settled.flows.iter().filter(|flow| flow.stated == Some(stated)) {
            let (flow_near, far) = self.ends(flow);
            if flow_near == near {
                self.pass(&settled, flow, far, tier, true);
            }
        }
        if self.direction == Direction::Back && matches!(hub, EndKind::Place(_)) {
            // The dual of entering all fills of a code's candidate.
            let poured = |flow: &Settled| flow.stated == Some(stated) && flow.in_book();
            if settled.flows.iter().any(poured) {
                self.codes(batch, tier, self.no_limit(), true);
            }
        }
    }

    fn edge(&mut self, batch: BatchIx, number: usize, flow: &Settled, tier: Tier) {
        let point = |node: Node| match node {
            Node::Run(run) => Point::Run(run),
            Node::Supply(party) => Point::Supply(party),
            Node::Place(place) => match self.question.book().place_kind(place) {
                PlaceKind::Vessel => Point::Vessel(place),
                PlaceKind::Sink => Point::Sink(place),
                _ => Point::Slice(batch, place),
            },
        };
        let (from, to) = (point(flow.from), point(flow.to));
        let edge = Edge { from, to, batch, flow: *flow, number, tier };
        let edge = self.edges.entry((batch, number)).or_insert(edge);
        edge.tier = edge.tier.max(tier);
    }

    fn finish(self) -> Trace {
        let mut slices: FxHashMap<(BatchIx, PlaceIx), Reached> = FxHashMap::default();
        let mut episodes: FxHashMap<(BatchIx, PlaceIx, u32), Reached> = FxHashMap::default();
        for ((batch, place, episode, _), limits) in &self.best {
            slices.entry((*batch, *place)).or_insert(Reached::NEVER).improve(limits, self.direction);
            episodes.entry((*batch, *place, *episode)).or_insert(Reached::NEVER).improve(limits, self.direction);
        }
        let mut runs: FxHashMap<RunIx, Tier> = FxHashMap::default();
        for ((run, _), tier) in &self.runs {
            let known = runs.entry(*run).or_insert(*tier);
            *known = (*known).max(*tier);
        }
        let mut vessels: FxHashMap<PlaceIx, Tier> = FxHashMap::default();
        for ((vessel, _), tier) in &self.vessels {
            let known = vessels.entry(*vessel).or_insert(*tier);
            *known = (*known).max(*tier);
        }
        let mut residues: Vec<(PlaceIx, BatchIx)> = self.residues.into_keys().collect();
        residues.sort_unstable();
        let mut ambiguous: Vec<BatchIx> = self.ambiguous.into_iter().collect();
        ambiguous.retain(|batch| self.question.book().is_pseudo(*batch));
        ambiguous.sort_unstable();
        let mut edges: Vec<Edge> = self.edges.into_values().collect();
        edges.sort_unstable_by_key(|edge| {
            (edge.flow.at, edge.flow.fact, edge.from, edge.to, edge.flow.mark, edge.number)
        });
        Trace {
            direction: self.direction,
            starts: self.starts,
            slices,
            episodes,
            batches: self.batches,
            runs,
            vessels,
            edges,
            residues,
            ambiguous,
        }
    }
}

/// The tier of a step out of a slice, its own mark excepted; `None` when it is not followed.
fn forward_tier(settled: &Settlement, state: &State, flow: &Settled) -> Option<Tier> {
    if state.limit == i64::MIN {
        let same = episode(settled, state.place, flow.at) == state.episode;
        return same.then_some(state.tier);
    }
    let moment = state.limit.div_euclid(2);
    if flow.latest < moment {
        return None;
    }
    // A fact dated by day may have happened later on its day, in whichever episode.
    if flow.at < moment {
        return Some(state.tier.min(Tier::Possible));
    }
    let leaves = episode(settled, state.place, flow.at);
    if leaves < state.episode {
        return None;
    }
    if leaves > state.episode {
        return Some(behind_zero(settled, state, flow.at, flow.mark == Mark::Link));
    }
    let sure = flow.at > moment || (flow.at == moment && flow.alone);
    Some(if sure { state.tier } else { state.tier.min(Tier::Possible) })
}

/// What leaves after the slice was empty is cleared; by a doubtful book, it is possible (ruling 23).
///
/// A link is drawn because something else is missing: it is possible whatever this slice's book says.
fn behind_zero(settled: &Settlement, state: &State, leaves: i64, link: bool) -> Tier {
    let doubtful = settled.slice(state.place).is_some_and(|slice| slice.is_disturbed_by(leaves));
    if doubtful || link { state.tier.min(Tier::Possible) } else { Tier::Cleared }
}

/// The tier of a step into a slice as seen from where it left; `None` when it is not followed.
fn back_tier(settled: &Settlement, state: &State, flow: &Settled) -> Option<Tier> {
    let enters = episode(settled, state.place, flow.counts_from);
    if state.limit == i64::MAX {
        return (enters == state.episode).then_some(state.tier);
    }
    if flow.counts_from.saturating_mul(2) > state.limit {
        return None;
    }
    match enters.cmp(&state.episode) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Less => Some(behind_zero(settled, state, state.limit.div_euclid(2), false)),
        std::cmp::Ordering::Equal => Some(state.tier),
    }
}
