//! Section 11: the recall scope, and all exceptions.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Fact, Line};
use lotline_domain::id::{BatchRef, PartyId, Place, RunId, Sink};
use lotline_domain::quantity::Stated;
use lotline_domain::time::Instant;

use super::Discrepancy;
use super::names::{Batch, named};
use super::number::{Number, not_below_zero, number, zero};
use super::runs::{Rest, Run};
use super::settle::{Node, Settled};
use super::walk::{Tier, Walk};

/// One row of a recall scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// By the best path to what is there; for what was ever received, to that.
    pub tier: Tier,
    /// By where it is: `on hand`, `in transit`, `with customer`, `consumed`, `in process`, `lost` …
    pub state: &'static str,
    /// What is there now is none of it: the slice was empty in between (ruling 23).
    pub cleared: bool,
    /// The slice's balance, in the batch's base unit; for a run what went into it, or is still in it.
    pub quantity: Number,
    /// Something of unknown quantity is in it.
    pub unknown: bool,
    /// Where it stands: for a container the place that it stands at in the end.
    pub stands: Place,
    /// For a party: what it ever got and what it has of that.
    pub exposure: Option<Exposure>,
}

/// What a party ever received of a batch (ruling 26).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// All affected arrivals, returns not taken off.
    pub ever: Number,
    /// Ever less returned.
    pub net: Number,
    /// Something of unknown quantity was among them.
    pub unknown: bool,
}

impl Exposure {
    fn none() -> Self {
        Self { ever: zero(), net: zero(), unknown: false }
    }
}

impl Settled {
    /// The scope of these batches: rows by batch and place. A run has the place `run:…`.
    pub fn recall(&self, suspects: &[BatchRef]) -> BTreeMap<(String, String), Row> {
        let suspects: Vec<Batch> = suspects.iter().map(|batch| self.names.resolve(batch)).collect();
        let walk = self.walk_from(&suspects);
        let exposures = self.exposures_of(&walk);
        let mut rows = BTreeMap::new();
        let trace = walk.trace(&suspects);
        for ((batch, place), book) in &self.slices {
            let key = (batch.to_string(), place.to_string());
            let Some(reached) = trace.slices.get(&key) else { continue };
            self.passed_on(batch, place, reached.tier, &mut rows);
            let quantity = self.balance(batch, place);
            let exposure = match place {
                Place::Party(party) => exposures.get(&(batch.clone(), party.clone())).cloned(),
                _ => None,
            };
            // Ruling 25: rows for what is not zero or was ever received.
            let ever = exposure.as_ref().is_some_and(|exposure| exposure.ever > zero() || exposure.unknown);
            let unknown = book.unknown || self.unknown_in_vessel(batch, place);
            if quantity == zero() && !unknown && !ever {
                continue;
            }
            let now = walk.episode(batch, place, Instant::MAX);
            let present = walk.at(batch, place, now).map_or(Tier::Cleared, |reached| reached.tier);
            // What was ever received is told by its best path, and what is there by a path to that.
            let tier = if ever { reached.tier } else { present };
            let stands = self.standing.root(place);
            let (state, cleared) = (state(&stands), present == Tier::Cleared);
            rows.insert(key, Row { tier, state, cleared, quantity, unknown, stands, exposure });
        }
        self.run_rows(&walk, &mut rows);
        rows
    }

    /// A vessel is a run (ruling 15): what draws took of a batch is consumed there.
    fn passed_on(&self, batch: &Batch, place: &Place, tier: Tier, rows: &mut BTreeMap<(String, String), Row>) {
        let here = Node::Slice(batch.clone(), place.clone());
        let drawn = || self.flows.iter().filter(|flow| flow.from == here && matches!(flow.to, Node::Draw(..)));
        let unknown = drawn().any(|flow| flow.amount.is_none() && !flow.possible);
        let quantity = drawn().filter_map(|flow| flow.amount.clone()).fold(zero(), |sum, amount| sum + amount);
        if quantity > zero() || unknown {
            let (state, stands) = ("consumed", place.clone());
            let row = Row { tier, state, cleared: false, quantity, unknown, stands, exposure: None };
            rows.insert((batch.to_string(), format!("{place}/consumed")), row);
        }
    }

    /// Runs are places, too: what a batch put in is consumed there, and the losses of a run, what is unexplained of it
    /// and what is still in it belong to the run (rulings 12 and 25).
    fn run_rows(&self, walk: &Walk, rows: &mut BTreeMap<(String, String), Row>) {
        let runs = self.runs();
        let mut reached: BTreeMap<&RunId, Tier> = BTreeMap::new();
        let row = |tier, state, quantity| Row {
            tier,
            state,
            cleared: false,
            quantity,
            unknown: false,
            stands: Place::Unplaced,
            exposure: None,
        };
        for (index, tier) in &walk.followed {
            let flow = &self.flows[*index];
            let (Node::Run(id), false) = (&flow.to, flow.possible) else { continue };
            let key = (flow.batch.to_string(), flow.to.text());
            let row = rows.entry(key).or_insert_with(|| row(*tier, "consumed", zero()));
            row.tier = row.tier.max(*tier);
            row.unknown |= flow.amount.is_none();
            row.quantity += flow.amount.clone().unwrap_or_else(zero);
            let known = reached.entry(id).or_insert(*tier);
            *known = (*known).max(*tier);
        }
        for (id, tier) in reached {
            let Some(run) = runs.get(id) else { continue };
            for (state, quantity) in self.rest_of(id, run) {
                let place = format!("{} {state}", Node::Run(id.clone()).text());
                let row = rows.entry((String::new(), place)).or_insert_with(|| row(tier, state, zero()));
                row.quantity += quantity;
            }
        }
    }

    fn rest_of(&self, id: &RunId, run: &Run) -> Vec<(&'static str, Number)> {
        let losses =
            run.losses.iter().map(|(sink, stated)| (state(&Place::Sink(*sink)), number(&stated.value().to_string())));
        let mut found: Vec<(&'static str, Number)> = losses.collect();
        match self.run_balance(id, run).rest {
            Rest::Lost(rest) => found.push(("unexplained", rest)),
            Rest::InProcess(rest) if rest > zero() => found.push(("in process", rest)),
            _ => {}
        }
        found
    }

    /// What every party ever received of what these batches reach, in containers or loose.
    pub fn exposures(&self, suspects: &[BatchRef]) -> BTreeMap<(BatchRef, PartyId), Exposure> {
        let suspects: Vec<Batch> = suspects.iter().map(|batch| self.names.resolve(batch)).collect();
        self.exposures_of(&self.walk_from(&suspects))
    }

    fn exposures_of(&self, walk: &Walk) -> BTreeMap<(Batch, PartyId), Exposure> {
        let mut exposures: BTreeMap<(Batch, PartyId), Exposure> = BTreeMap::new();
        let mut crossing = |batch: &Batch, from: Option<&Place>, to: Option<&Place>, amount: Option<Number>| {
            // What is counted, used up or thrown away at a party neither came there nor was returned.
            let derived = [from, to].iter().any(|end| matches!(end, Some(Place::Sink(_))));
            if from == to || derived {
                return;
            }
            let known = amount.clone().unwrap_or_else(zero);
            if let Some(Place::Party(party)) = to {
                let exposure = exposures.entry((batch.clone(), party.clone())).or_insert_with(Exposure::none);
                exposure.ever += &known;
                exposure.net += &known;
                exposure.unknown |= amount.is_none();
            }
            if let Some(Place::Party(party)) = from {
                let exposure = exposures.entry((batch.clone(), party.clone())).or_insert_with(Exposure::none);
                exposure.net -= &known;
                exposure.unknown |= amount.is_none();
            }
        };
        for (index, tier) in &walk.followed {
            let flow = &self.flows[*index];
            if *tier > Tier::Cleared && !flow.possible {
                let (from, to) = &self.roots[*index];
                crossing(&flow.batch, from.as_ref(), to.as_ref(), flow.amount.clone());
            }
        }
        self.first_arrivals(walk, &mut crossing);
        for carried in &self.carried {
            for held in &carried.content {
                let affected = walk.is_reached_by(&held.batch, &held.place, carried.at, carried.latest);
                if affected && held.amount > zero() {
                    crossing(&held.batch, Some(&carried.from), Some(&carried.to), Some(held.amount.clone()));
                }
                if affected && held.unknown {
                    crossing(&held.batch, Some(&carried.from), Some(&carried.to), None);
                }
            }
        }
        exposures
    }

    /// Arrivals that begin a trace: those flows of a suspect that come from no slice of it.
    fn first_arrivals(
        &self,
        walk: &Walk,
        crossing: &mut impl FnMut(&Batch, Option<&Place>, Option<&Place>, Option<Number>),
    ) {
        for (index, flow) in self.flows.iter().enumerate() {
            if walk.followed.contains_key(&index) || flow.possible || matches!(flow.from, Node::Slice(..)) {
                continue;
            }
            let Node::Slice(batch, place) = &flow.to else { continue };
            let reached = walk.at(batch, place, walk.episode(batch, place, flow.at));
            if reached.is_some_and(|reached| reached.moment == Instant::MIN && reached.tier == Tier::Certain) {
                let (_, to) = &self.roots[index];
                crossing(batch, None, to.as_ref(), flow.amount.as_ref().map(not_below_zero));
            }
        }
    }

    /// See [`super::Naive::exceptions`]. A future date is not found: that needs the clock of the ledger.
    pub fn exceptions(&self) -> BTreeSet<Discrepancy> {
        let mut found = self.found.clone();
        found.extend(self.negative());
        found.extend(self.run_exceptions());
        found.extend(self.hold_exceptions());
        found.extend(self.vessel_exceptions());
        found.extend(self.ambiguous_codes());
        found.extend(self.suspected_duplicates());
        found.extend(self.differing_dates());
        found
    }

    /// Section 5: one for every negative interval of a length.
    fn negative(&self) -> BTreeSet<Discrepancy> {
        let mut found = BTreeSet::new();
        for ((batch, place), book) in &self.slices {
            let kind = match place {
                Place::Unplaced => "source unknown",
                Place::Party(_) => "returned but never sent",
                // Flagged as «vessel has less of it».
                Place::Vessel(_) => continue,
                _ => "negative",
            };
            for interval in book.negative() {
                let cause = interval.cause.to_string();
                found.insert(Discrepancy { kind, batch: batch.to_string(), place: place.to_string(), cause });
            }
        }
        found
    }

    /// Section 7. CHOICE: a debt that is paid in part only is still one of a vessel overdrawn.
    fn vessel_exceptions(&self) -> BTreeSet<Discrepancy> {
        let mut found = BTreeSet::new();
        for (id, vessel) in &self.vessels {
            for (draw, repaid) in vessel.overdrawn() {
                let kind = if repaid { "vessel drawn before it was filled" } else { "vessel overdrawn" };
                let (batch, cause) = (draw.batch.to_string(), draw.key.event.to_string());
                found.insert(Discrepancy { kind, batch, place: format!("vessel:{id}"), cause });
            }
        }
        found
    }

    fn effective(&self) -> impl Iterator<Item = &super::live::Live> {
        self.live.iter().filter(|event| self.bounds.as_of.is_none_or(|as_of| event.instant() <= as_of))
    }

    /// Section 9. CHOICE: one for every fact that names such a code, without a place.
    fn ambiguous_codes(&self) -> BTreeSet<Discrepancy> {
        let mut found = BTreeSet::new();
        for event in self.effective() {
            for batch in named(&event.fact).iter().filter(|batch| self.names.is_ambiguous(batch)) {
                let (batch, cause) = (batch.to_string(), event.id.to_string());
                found.insert(Discrepancy { kind: "code ambiguous", batch, place: String::new(), cause });
            }
        }
        found
    }

    /// Ruling 31: the same batch, quantity, document line and effective time. CHOICE: the first of them
    /// in step order is taken for the original, the others are suspected.
    fn suspected_duplicates(&self) -> BTreeSet<Discrepancy> {
        let mut found = BTreeSet::new();
        let mut originals: BTreeMap<(Batch, Option<String>, String, Instant), String> = BTreeMap::new();
        for event in self.effective() {
            for line in documented(&event.fact) {
                let batch = self.names.resolve(&line.batch);
                let stated = line.quantity.as_ref().map(Stated::to_string);
                let document = line.document.clone().unwrap_or_default();
                let key = (batch.clone(), stated, document, event.instant());
                let original = originals.entry(key).or_insert_with(|| event.id.to_string());
                if *original != event.id.to_string() {
                    let (batch, cause) = (batch.to_string(), event.id.to_string());
                    found.insert(Discrepancy { kind: "suspected duplicate", batch, place: String::new(), cause });
                }
            }
        }
        found
    }
}

fn documented(fact: &Fact) -> Vec<&Line> {
    let lines = match fact {
        Fact::Received { lines, .. }
        | Fact::Moved { lines, .. }
        | Fact::Packed { lines, .. }
        | Fact::Unpacked { lines, .. }
        | Fact::Shipped { lines, .. }
        | Fact::Delivered { lines, .. }
        | Fact::Returned { lines, .. }
        | Fact::Disposed { lines, .. }
        | Fact::VesselFilled { lines, .. } => lines.as_slice(),
        _ => &[],
    };
    lines.iter().filter(|line| line.document.is_some()).collect()
}

fn state(stands: &Place) -> &'static str {
    match stands {
        Place::Vessel(_) => "in vessel",
        Place::Location(_) | Place::Container(_) | Place::Unplaced => "on hand",
        Place::Transit(_) => "in transit",
        Place::Party(_) => "with customer",
        Place::Sink(Sink::Consumed) => "consumed",
        Place::Sink(Sink::Loss) => "lost",
        Place::Sink(Sink::Sample) => "sampled",
        Place::Sink(Sink::Destroyed) => "destroyed",
        Place::Sink(Sink::Adjustment) => "adjusted",
        Place::Sink(Sink::Unexplained) => "unexplained",
    }
}
