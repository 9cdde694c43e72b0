//! Section 10: what holds cover.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Destination, Fact, HoldTarget, ReleaseTarget, RunKind};
use lotline_domain::id::{EventId, HoldId, PartyId, Place, RunId, Sink};
use lotline_domain::time::Instant;

use super::Discrepancy;
use super::names::Batch;
use super::settle::{Carried, FlowKind, Node, Settled};
use super::steps::nobody;
use super::walk::Walk;

/// A hold, with what lifts it.
#[derive(Debug, Clone)]
pub struct HoldCover {
    /// Its id.
    pub hold: HoldId,
    batch: Batch,
    /// The slice's place; `None` for the whole batch.
    place: Option<Place>,
    from: Instant,
    /// When it ends as a whole.
    ended: Option<Instant>,
    /// When it was lifted for a batch made of the held one.
    released: BTreeMap<Batch, Instant>,
}

impl Settled {
    /// All holds set within the bounds.
    pub fn hold_covers(&self) -> Vec<HoldCover> {
        let effective =
            || self.live.iter().filter(|event| self.bounds.as_of.is_none_or(|as_of| event.instant() <= as_of));
        let mut covers = Vec::new();
        for event in effective() {
            if let Fact::Held { hold, target, .. } = &event.fact {
                let (batch, place) = match target {
                    HoldTarget::Batch(batch) => (batch, None),
                    HoldTarget::Slice(batch, place) => (batch, Some(place.clone())),
                };
                let batch = self.names.resolve(batch);
                let from = event.instant();
                covers.push(HoldCover {
                    hold: hold.clone(),
                    batch,
                    place,
                    from,
                    ended: None,
                    released: BTreeMap::new(),
                });
            }
        }
        for event in effective() {
            let Fact::Released { target, .. } = &event.fact else { continue };
            let at = event.instant();
            // CHOICE: a release lifts holds that were set by then, also by id.
            for cover in covers.iter_mut().filter(|cover| cover.from <= at) {
                let earliest = |known: Option<Instant>| Some(known.map_or(at, |known| known.min(at)));
                match target {
                    ReleaseTarget::Hold(hold) if *hold == cover.hold => cover.ended = earliest(cover.ended),
                    ReleaseTarget::Hold(_) => {}
                    ReleaseTarget::Batch(batch) => match self.names.resolve(batch) {
                        batch if batch == cover.batch => cover.ended = earliest(cover.ended),
                        batch => {
                            let known = cover.released.entry(batch).or_insert(at);
                            *known = (*known).min(at);
                        }
                    },
                }
            }
        }
        covers
    }

    fn holds_pass_runs(&self) -> bool {
        let policies = self.live.iter().filter_map(|event| match &event.fact {
            Fact::PolicySet { holds_pass_runs } => Some(*holds_pass_runs),
            _ => None,
        });
        policies.fold(true, |_, last| last)
    }

    /// Which batch was made of which, when, and whether by a production run. CHOICE: a draw is one
    /// (ruling 15: a vessel is a run), and residue makes nothing.
    fn made_of(&self) -> Vec<(Batch, Batch, Instant, bool)> {
        let mut edges = Vec::new();
        for run in self.runs().values() {
            for input in &run.inputs {
                for output in run.outputs.iter().filter(|output| run.connects(input, output)) {
                    edges.push((
                        input.batch.clone(),
                        output.batch.clone(),
                        output.at,
                        output.kind == RunKind::Production,
                    ));
                }
            }
        }
        for vessel in self.vessels.values() {
            for link in vessel.links.iter().filter(|link| !link.residue) {
                let draw = &vessel.draws[link.draw];
                edges.push((vessel.fills[link.fill].batch.clone(), draw.batch.clone(), draw.key.instant, true));
            }
        }
        edges
    }

    pub(super) fn hold_exceptions(&self) -> BTreeSet<Discrepancy> {
        let covers = self.hold_covers();
        let mut found = BTreeSet::new();
        let productions: BTreeSet<&RunId> = self
            .live
            .iter()
            .filter_map(|event| match &event.fact {
                Fact::Produced(report) if report.kind == RunKind::Production => Some(&report.run),
                _ => None,
            })
            .collect();
        let mut check = |batch: &Batch, place: &Place, to: Option<&Place>, at, latest, kind, cause: &EventId| {
            if to.is_some_and(|to| self.goes_back_to_supplier(batch, to)) {
                return;
            }
            if covers.iter().any(|cover| cover.covers(self, batch, place, at, latest)) {
                let place = self.drawn_from(batch, cause).unwrap_or_else(|| place.clone()).to_string();
                let (batch, cause) = (batch.to_string(), cause.to_string());
                found.insert(Discrepancy { kind, batch, place, cause });
            }
        };
        for (flow, (stood, stands)) in self.flows.iter().zip(&self.roots).filter(|(flow, _)| !flow.possible) {
            // What is taken out of a container where that stands goes nowhere.
            let to = stands.as_ref().filter(|to| stood.as_ref() != Some(*to));
            let consumed =
                flow.kind == FlowKind::Consumed && matches!(&flow.to, Node::Run(run) if productions.contains(run));
            // A vessel is a run (ruling 15): what is filled in is consumed.
            let filled = match (&flow.from, &flow.to) {
                (Node::Slice(_, from), Node::Slice(_, to)) => from != to && matches!(to, Place::Vessel(_)),
                (Node::Draw(..), Node::Slice(_, to)) => matches!(to, Place::Vessel(_)),
                _ => false,
            };
            let kind = if consumed || filled { Some(CONSUMED) } else { to.and_then(left_to) };
            let from_sink = matches!(&flow.from, Node::Slice(_, place) if place.is_sink());
            match (kind, &flow.from, &flow.to) {
                (Some(kind), Node::Slice(batch, place), _) if !from_sink => {
                    check(batch, place, to, flow.at, flow.latest, kind, &flow.cause);
                }
                // What is drawn straight to where it leaves.
                (Some(kind), Node::Draw(..), Node::Slice(batch, place)) => {
                    check(batch, place, to, flow.at, flow.latest, kind, &flow.cause);
                }
                _ => {}
            }
        }
        // A move onto itself is none.
        for carried in self.carried.iter().filter(|carried| carried.from != carried.to) {
            for held in &carried.content {
                let Carried { at, latest, cause, to, .. } = carried;
                if let (Some(left), true) = (left_to(to), held.amount != super::number::zero() || held.unknown) {
                    check(&held.batch, &held.place, Some(to), *at, *latest, left, cause);
                }
            }
        }
        found
    }
}

impl Settled {
    /// Scenario 8: held goods may go back to who supplied them, or what they were split, merged or re-packed from.
    fn goes_back_to_supplier(&self, batch: &Batch, to: &Place) -> bool {
        let party = match self.standing.root(to) {
            Place::Party(party) => Some(party),
            Place::Transit(shipment) => match self.destinations.get(&shipment) {
                Some(Destination::Party(party)) => Some(party.clone()),
                _ => None,
            },
            _ => None,
        };
        party.is_some_and(|party| self.suppliers(batch).contains(&party))
    }

    /// The vessel that an anonymous blend was drawn from by the fact itself: it lies nowhere else.
    fn drawn_from(&self, batch: &Batch, cause: &EventId) -> Option<Place> {
        self.vessels.iter().find_map(|(id, vessel)| {
            let draws = |draw: &super::vessel::Draw| draw.batch == *batch && draw.key.event == *cause;
            vessel.draws.iter().any(draws).then(|| Place::Vessel(id.clone()))
        })
    }

    fn suppliers(&self, batch: &Batch) -> BTreeSet<PartyId> {
        let edges = self.made_of();
        let mut same_goods = BTreeSet::from([batch.clone()]);
        loop {
            let more = edges.iter().filter(|(_, to, _, production)| !production && same_goods.contains(to));
            let more: BTreeSet<Batch> = more.map(|(from, ..)| from.clone()).collect();
            if more.is_subset(&same_goods) {
                break;
            }
            same_goods.extend(more);
        }
        let supplied = self.flows.iter().filter(|flow| same_goods.contains(&flow.batch));
        supplied
            .filter_map(|flow| match &flow.from {
                Node::Origin(party) if *party != nobody() => Some(party.clone()),
                _ => None,
            })
            .collect()
    }
}

const CONSUMED: &str = "consumed under hold";

/// What going to a place breaks of a hold, whatever fact it was.
fn left_to(place: &Place) -> Option<&'static str> {
    match place {
        Place::Transit(_) => Some("shipped under hold"),
        Place::Party(_) => Some("delivered under hold"),
        Place::Sink(Sink::Consumed) => Some(CONSUMED),
        _ => None,
    }
}

impl HoldCover {
    /// Whether it covers a slice at an instant; `latest` is the last instant that is meant, for facts
    /// dated by day. A tie counts as under hold, with its beginning and with its end.
    pub fn covers(&self, settled: &Settled, batch: &Batch, place: &Place, at: Instant, latest: Instant) -> bool {
        self.covers_if(settled, batch, at, latest, |walk| walk.is_reached_by(batch, place, at, latest))
    }

    /// Whether it covers what lies somewhere at the end of the bounds; in a vessel, what is left of fills.
    pub fn lies_under(&self, settled: &Settled, batch: &Batch, place: &Place, at: Instant) -> bool {
        // The tie of a release is with a movement: what was released at that instant lies free at its end.
        let after = Instant(at.0.saturating_add(1));
        self.covers_if(settled, batch, after, after, |walk| match place {
            Place::Vessel(vessel) => walk.is_left_in(batch, vessel),
            _ => walk.is_reached_by(batch, place, at, at),
        })
    }

    fn covers_if(
        &self,
        settled: &Settled,
        batch: &Batch,
        at: Instant,
        latest: Instant,
        reached: impl Fn(&Walk<'_>) -> bool,
    ) -> bool {
        if latest < self.from || self.ended.is_some_and(|ended| at > ended) {
            return false;
        }
        let lifted: BTreeMap<&Batch, Instant> =
            self.released.iter().filter(|(_, when)| at > **when).map(|(batch, when)| (batch, *when)).collect();
        if lifted.contains_key(batch) {
            return false;
        }
        let by_policy = settled.holds_pass_runs();
        let pass = |from: &Batch, _: &Batch, made: Instant, production: bool| {
            (by_policy || !production) && lifted.get(from).is_none_or(|when| made <= *when)
        };
        match &self.place {
            None => self.descendants(settled, &pass).contains(batch),
            Some(held) => self.moved(settled, held, &pass).is_some_and(|walk| reached(&walk)),
        }
    }

    fn descendants(&self, settled: &Settled, pass: super::walk::Pass) -> BTreeSet<Batch> {
        let edges = settled.made_of();
        let mut covered = BTreeSet::from([self.batch.clone()]);
        loop {
            let more = edges
                .iter()
                .filter(|(from, to, at, production)| covered.contains(from) && pass(from, to, *at, *production));
            let more: BTreeSet<Batch> = more.map(|(_, to, _, _)| to.clone()).collect();
            if more.is_subset(&covered) {
                return covered;
            }
            covered.extend(more);
        }
    }

    /// CHOICE: what may have moved is covered like what did; what is cleared is not.
    fn moved<'s>(&self, settled: &'s Settled, held: &Place, pass: super::walk::Pass<'s>) -> Option<Walk<'s>> {
        let book = settled.book(&self.batch, held);
        // It covers what lies there at its moment: nothing lies in an empty slice. A vessel's book is of its fills.
        let lay_there = match held {
            Place::Vessel(_) => true,
            _ => book.had_before(self.from) || book.inflows.contains(&self.from),
        };
        if !lay_there {
            return None;
        }
        let mut walk = Walk::new(settled, pass, false);
        walk.start_slice(&self.batch, held, self.from);
        walk.run();
        Some(walk)
    }
}
