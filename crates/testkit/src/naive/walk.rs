//! Section 8: traces.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::RunKind;
use lotline_domain::id::{BatchRef, Place, RunId, VesselId};
use lotline_domain::time::Instant;

use super::names::Batch;
use super::runs::Run;
use super::settle::{Node, Settled};
use super::slice::Parts;

/// How sure a link is; the better one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// An undisturbed book was empty in between.
    Cleared,
    /// Every path needs an assumption.
    Possible,
    /// Some path whose every step is recorded.
    Certain,
}

impl Tier {
    const ALL: [Self; 3] = [Self::Cleared, Self::Possible, Self::Certain];

    fn index(self) -> usize {
        self as usize
    }
}

/// How a slice is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// By its best path.
    pub tier: Tier,
    /// The earliest moment for that tier.
    pub moment: Instant,
}

/// Everything that is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Batches with the best tier of their slices; the start only where it comes back through a run or
    /// a vessel (rework).
    pub batches: BTreeMap<String, Tier>,
    /// Slices, the start's own included.
    pub slices: BTreeMap<(String, String), Reached>,
}

/// A slice in one of its episodes; `made` once the path has passed a run or a vessel, `doubt` once it has passed a
/// negative, ambiguous or counted difference: then no empty slice clears it (ruling 23); `via` in the goods of a code
/// alone, where the path came from one of the batches that it fits: they are that one's then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub batch: Batch,
    pub place: Place,
    pub episode: usize,
    made: bool,
    doubt: bool,
    via: Option<Batch>,
}

/// Decides whether a path may go from one batch into another made of it: input, output, when the
/// output came out, and whether by a production run.
pub type Pass<'a> = &'a dyn Fn(&Batch, &Batch, Instant, bool) -> bool;

pub struct Walk<'a> {
    settled: &'a Settled,
    runs: BTreeMap<RunId, Run>,
    pass: Pass<'a>,
    /// For a trace: codes and residue are followed. Holds pass by neither.
    traces: bool,
    /// It started from whole batches, and not from a slice.
    whole: bool,
    /// Fills of vessels that were reached.
    fills: BTreeSet<(VesselId, usize)>,
    /// Draws before it have nothing of what was started from.
    drawn_from: Instant,
    pub moments: BTreeMap<Spot, [Option<Instant>; 3]>,
    /// Flows that were followed, by index, with the best tier.
    pub followed: BTreeMap<usize, Tier>,
    /// The parts of the books of slices. What is in vessels and sinks has none of its own.
    parts: BTreeMap<(Batch, Place), Parts>,
    todo: BTreeSet<Spot>,
}

impl<'a> Walk<'a> {
    pub fn new(settled: &'a Settled, pass: Pass<'a>, traces: bool) -> Self {
        let runs = settled.runs();
        let plain = settled.slices.iter().filter(|((_, place), _)| !matches!(place, Place::Vessel(_) | Place::Sink(_)));
        let parts = plain.map(|(slice, book)| (slice.clone(), book.parts())).collect();
        Self {
            settled,
            runs,
            pass,
            traces,
            whole: false,
            fills: BTreeSet::new(),
            drawn_from: Instant::MIN,
            moments: BTreeMap::new(),
            followed: BTreeMap::new(),
            parts,
            todo: BTreeSet::new(),
        }
    }

    pub fn episode(&self, batch: &Batch, place: &Place, at: Instant) -> usize {
        self.parts.get(&(batch.clone(), place.clone())).map_or(0, |parts| parts.part(at))
    }

    fn episodes_of(&self, batch: &Batch, place: &Place) -> usize {
        self.parts.get(&(batch.clone(), place.clone())).map_or(1, Parts::count)
    }

    /// All slices of a batch from a moment on, in all their episodes.
    pub fn start(&mut self, batch: &Batch) {
        self.whole = true;
        self.reach_all(batch, Tier::Certain, Instant::MIN, false, false, None);
        if self.settled.slices.keys().any(|(of, _)| of == batch) {
            self.by_codes(batch, Tier::Certain, Instant::MIN, false, None);
        }
    }

    /// One slice from a moment on.
    pub fn start_slice(&mut self, batch: &Batch, place: &Place, from: Instant) {
        let episode = self.episode(batch, place, from);
        let spot = Spot { batch: batch.clone(), place: place.clone(), episode, made: false, doubt: false, via: None };
        self.reach(spot, Tier::Certain, from);
        if let Place::Vessel(vessel) = place {
            self.drawn_from = from;
            for fill in self.fills(vessel, |fill| fill.batch == *batch && fill.key.instant <= from) {
                self.through_vessel(vessel, fill, Tier::Certain, false);
            }
            self.drawn_from = Instant::MIN;
        }
    }

    /// Whether something is left in a vessel of a fill of a batch that is or may be reached.
    pub fn is_left_in(&self, batch: &Batch, vessel: &VesselId) -> bool {
        let mut reached = self.fills.iter().filter(|(of, _)| of == vessel);
        reached.any(|(_, fill)| {
            let fill = &self.settled.vessels[vessel].fills[*fill];
            fill.batch == *batch && (fill.left > super::number::zero() || fill.amount.is_none())
        })
    }

    pub fn run(&mut self) {
        while let Some(spot) = self.todo.pop_first() {
            let moments = self.moments[&spot];
            for tier in Tier::ALL {
                if let Some(moment) = moments[tier.index()] {
                    self.leave(&spot, tier, moment);
                }
            }
        }
    }

    fn reach_all(&mut self, batch: &Batch, tier: Tier, moment: Instant, made: bool, doubt: bool, via: Option<&Batch>) {
        let places: Vec<Place> =
            self.settled.slices.keys().filter(|(of, _)| of == batch).map(|(_, place)| place.clone()).collect();
        for place in places {
            for episode in 0..self.episodes_of(batch, &place) {
                let via = via.cloned();
                self.reach(
                    Spot { batch: batch.clone(), place: place.clone(), episode, made, doubt, via },
                    tier,
                    moment,
                );
            }
            if matches!(place, Place::Vessel(_)) {
                self.enter_fills(batch, &place, tier, doubt);
            }
        }
    }

    /// An ambiguous bare code links possibly to and from each of its candidates; from one of them to no other one.
    fn by_codes(&mut self, batch: &Batch, tier: Tier, moment: Instant, made: bool, via: Option<&Batch>) {
        if !self.traces {
            return;
        }
        for other in self.settled.names.alternatives(batch) {
            if via.is_some_and(|via| *via != other) {
                continue;
            }
            let via = matches!(other, BatchRef::Code(_)).then_some(batch);
            self.reach_all(&other, tier.min(Tier::Possible), moment, made, true, via);
        }
    }

    fn reach(&mut self, spot: Spot, tier: Tier, moment: Instant) {
        let moments = self.moments.entry(spot.clone()).or_default();
        let known = moments[tier.index()..].iter().flatten().any(|known| *known <= moment);
        if known {
            return;
        }
        moments[tier.index()] = Some(moment);
        self.todo.insert(spot.clone());
        for later in spot.episode + 1..self.episodes_of(&spot.batch, &spot.place) {
            let parts = &self.parts[&(spot.batch.clone(), spot.place.clone())];
            let across = match parts.across(spot.episode, later) {
                Tier::Cleared if spot.doubt => Tier::Possible,
                across => across,
            };
            let tier = tier.min(across);
            self.reach(Spot { episode: later, ..spot.clone() }, tier, moment);
        }
        self.by_codes(&spot.batch, tier, moment, spot.made, spot.via.as_ref());
    }

    /// Follows what leaves a slice that is reached at a moment.
    fn leave(&mut self, spot: &Spot, tier: Tier, moment: Instant) {
        if spot.place.is_sink() {
            return;
        }
        let here = Node::Slice(spot.batch.clone(), spot.place.clone());
        let settled = self.settled;
        for (index, flow) in settled.flows.iter().enumerate() {
            // What leaves a vessel by a draw is followed from its fills.
            if flow.from != here || matches!(flow.to, Node::Draw(..)) {
                continue;
            }
            // A fact dated by day may have happened later on its day, in whichever part of the book.
            let later_that_day = flow.at < moment && flow.latest >= moment;
            let part = self.episode(&spot.batch, &spot.place, flow.at);
            // What is missing elsewhere may be of it whatever this book says (ruling 1), and so may be what was picked
            // among several (ruling 23).
            let doubted = flow.possible || (flow.assumed && self.traces && moment > Instant::MIN);
            let now = flow.at >= moment && (part == spot.episode || (doubted && part > spot.episode));
            if !now && !later_that_day {
                continue;
            }
            let had = || {
                settled
                    .slices
                    .get(&(spot.batch.clone(), spot.place.clone()))
                    .is_some_and(|book| book.had_before(moment))
            };
            let timely = flow.at > moment || (flow.at == moment && !had());
            // What a suspect batch itself put into a run or a vessel: every candidate is a slice of it.
            let wholly = moment == Instant::MIN && matches!(&flow.to, Node::Run(_) | Node::Slice(_, Place::Vessel(_)));
            let picked = !flow.assumed || (wholly && self.whole);
            let step = if timely && picked && !flow.possible { Tier::Certain } else { Tier::Possible };
            let disturbed = self.parts.get(&(spot.batch.clone(), spot.place.clone()));
            let disturbed = disturbed.is_some_and(|parts| parts.is_disturbed_by(part));
            // A suspect batch is suspect wherever it is.
            let own = moment == Instant::MIN;
            let doubt = spot.doubt || (!own && (disturbed || flow.assumed || flow.possible));
            self.follow(index, tier.min(step), spot.made, doubt && self.traces, spot.via.as_ref());
        }
    }

    /// Follows a flow to where it ends.
    fn follow(&mut self, index: usize, tier: Tier, made: bool, doubt: bool, via: Option<&Batch>) {
        let best = self.followed.entry(index).or_insert(tier);
        *best = (*best).max(tier);
        let flow = self.settled.flows[index].clone();
        match &flow.to {
            Node::Slice(batch, place) => {
                let episode = self.episode(batch, place, flow.at);
                let via = via.cloned();
                let spot = Spot { batch: batch.clone(), place: place.clone(), episode, made, doubt, via };
                self.reach(spot.clone(), tier, flow.at);
                if let Some(from) = flow.counts_from {
                    let episode = self.episode(batch, place, from);
                    self.reach(Spot { episode, ..spot.clone() }, tier.min(Tier::Possible), from);
                }
                if let Place::Vessel(vessel) = place {
                    let fills: Vec<usize> = self.fills(vessel, |fill| {
                        fill.flows.contains(&index)
                            || (flow.possible && fill.key.event == flow.cause && fill.key.leg == flow.leg)
                    });
                    for fill in fills {
                        self.through_vessel(vessel, fill, tier, doubt);
                    }
                }
            }
            Node::Run(id) => self.through_run(id, &flow.cause, flow.leg, tier, doubt),
            Node::Draw(..) | Node::Origin(_) => {}
        }
    }

    fn fills(&self, vessel: &VesselId, which: impl Fn(&super::vessel::Fill) -> bool) -> Vec<usize> {
        let fills = self.settled.vessels.get(vessel).map_or(&[][..], |vessel| &vessel.fills);
        (0..fills.len()).filter(|index| which(&fills[*index])).collect()
    }

    fn enter_fills(&mut self, batch: &Batch, place: &Place, tier: Tier, doubt: bool) {
        let Place::Vessel(vessel) = place else { return };
        for fill in self.fills(vessel, |fill| fill.batch == *batch) {
            self.through_vessel(vessel, fill, tier, doubt);
        }
    }

    fn through_vessel(&mut self, vessel: &VesselId, fill: usize, tier: Tier, doubt: bool) {
        let settled = self.settled;
        self.fills.insert((vessel.clone(), fill));
        let vessel = &settled.vessels[vessel];
        let traces = self.traces;
        for link in vessel.links.iter().filter(|link| link.fill == fill && (traces || !link.residue)) {
            let draw = &vessel.draws[link.draw];
            if draw.key.instant < self.drawn_from {
                continue;
            }
            if !(self.pass)(&vessel.fills[fill].batch, &draw.batch, draw.key.instant, true) {
                continue;
            }
            let hub = Node::Draw(draw.key.event.clone(), draw.key.leg);
            for index in 0..settled.flows.len() {
                if settled.flows[index].from == hub {
                    let owed = self.traces && link.tier < Tier::Certain && !link.residue;
                    self.follow(index, tier.min(link.tier), true, doubt || owed, None);
                }
            }
        }
    }

    fn through_run(&mut self, id: &RunId, event: &lotline_domain::id::EventId, leg: u32, tier: Tier, doubt: bool) {
        let Some(run) = self.runs.get(id).cloned() else { return };
        let Some(input) = run.inputs.iter().find(|input| input.event == *event && input.leg == leg) else { return };
        for output in run.outputs.iter().filter(|output| run.connects(input, output)) {
            if !(self.pass)(&input.batch, &output.batch, output.at, output.kind == RunKind::Production) {
                continue;
            }
            let step = if output.at < input.at { Tier::Possible } else { Tier::Certain };
            let from = Node::Run(id.clone());
            for index in 0..self.settled.flows.len() {
                let flow = &self.settled.flows[index];
                if flow.from == from && flow.cause == output.event && flow.leg == output.leg {
                    self.follow(index, tier.min(step), true, doubt, None);
                }
            }
        }
    }

    /// Whether a slice, as it was at `at`, is or may be reached by an instant.
    pub fn is_reached_by(&self, batch: &Batch, place: &Place, at: Instant, latest: Instant) -> bool {
        let episode = self.episode(batch, place, at);
        self.spots(batch, place, episode).any(|moments| {
            [Tier::Possible, Tier::Certain].iter().any(|tier| moments[tier.index()].is_some_and(|m| m <= latest))
        })
    }

    /// A slice's part, reached by paths of each kind.
    fn spots(&self, batch: &Batch, place: &Place, episode: usize) -> impl Iterator<Item = &[Option<Instant>; 3]> {
        let (batch, place) = (batch.clone(), place.clone());
        let first = Spot { batch: batch.clone(), place: place.clone(), episode, made: false, doubt: false, via: None };
        let here = move |spot: &Spot| spot.batch == batch && spot.place == place && spot.episode == episode;
        self.moments.range(first..).take_while(move |(spot, _)| here(spot)).map(|(_, moments)| moments)
    }

    /// The best tier of a spot, over all kinds of paths, with its moment.
    pub fn at(&self, batch: &Batch, place: &Place, episode: usize) -> Option<Reached> {
        let reached = self.spots(batch, place, episode).filter_map(best);
        reached.max_by_key(|reached| (reached.tier, std::cmp::Reverse(reached.moment)))
    }

    pub fn trace(&self, starts: &[Batch]) -> Trace {
        let mut trace = Trace::default();
        for (spot, moments) in &self.moments {
            let Some(reached) = best(moments) else { continue };
            let slice = (spot.batch.to_string(), spot.place.to_string());
            let known = trace.slices.entry(slice).or_insert(reached);
            if (reached.tier, std::cmp::Reverse(reached.moment)) > (known.tier, std::cmp::Reverse(known.moment)) {
                *known = reached;
            }
            if spot.made || !starts.contains(&spot.batch) {
                let tier = trace.batches.entry(spot.batch.to_string()).or_insert(reached.tier);
                *tier = (*tier).max(reached.tier);
            }
        }
        trace
    }
}

fn best(moments: &[Option<Instant>; 3]) -> Option<Reached> {
    Tier::ALL.into_iter().rev().find_map(|tier| moments[tier.index()].map(|moment| Reached { tier, moment }))
}

impl Settled {
    pub(super) fn walk_from(&self, starts: &[Batch]) -> Walk<'_> {
        let mut walk = Walk::new(self, &|_, _, _, _| true, true);
        for batch in starts {
            walk.start(batch);
        }
        walk.run();
        walk
    }

    /// See [`super::Naive::forward`].
    pub fn forward(&self, batch: &BatchRef) -> BTreeMap<String, Tier> {
        self.trace_forward(batch).batches
    }

    /// The forward trace of a batch, with slices.
    pub fn trace_forward(&self, batch: &BatchRef) -> Trace {
        let batch = self.names.resolve(batch);
        self.walk_from(std::slice::from_ref(&batch)).trace(&[batch])
    }

    /// The forward trace of one slice from a moment on (ruling 24).
    pub fn trace_slice(&self, batch: &BatchRef, place: &Place, from: Instant) -> Trace {
        let batch = self.names.resolve(batch);
        let mut walk = Walk::new(self, &|_, _, _, _| true, true);
        walk.start_slice(&batch, place, from);
        walk.run();
        walk.trace(&[batch])
    }

    /// See [`super::Naive::back`]: X is in it exactly when this batch is in the forward trace of X.
    pub fn back(&self, batch: &BatchRef) -> BTreeMap<String, Tier> {
        let batch = self.names.resolve(batch).to_string();
        let traced = |other: &Batch| Some((other.to_string(), *self.forward(other).get(&batch)?));
        self.batches().iter().filter_map(traced).collect()
    }

    /// All batches that anything was settled for.
    pub fn batches(&self) -> BTreeSet<BatchRef> {
        self.slices
            .keys()
            .map(|(batch, _)| batch.clone())
            .chain(self.flows.iter().map(|flow| flow.batch.clone()))
            .collect()
    }
}
