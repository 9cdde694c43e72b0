//! Checks the walk by trying everything: every state (slice, moment, tier) is followed on its own, none
//! is dropped for a better one. On small plants that ends, and must give the same answer.

use std::collections::BTreeSet;

use lotline_domain::id::{BatchRef, Place};
use lotline_domain::time::Instant;
use proptest::proptest;

use super::settle::{Flow, Node, Settled};
use super::slice::{Parts, SliceBook};
use super::walk::{Reached, Tier, Trace};
use super::{Bounds, Naive};
use crate::generate::{Knobs, plants_with};
use crate::property::cases;

/// A slice reached at a moment by a path of a tier, perhaps through a run or a vessel, perhaps over a difference.
type State = (BatchRef, Place, Instant, Tier, bool, bool);

fn parts_of(settled: &Settled, batch: &BatchRef, place: &Place) -> Option<Parts> {
    let plain = !matches!(place, Place::Vessel(_) | Place::Sink(_));
    settled.slices.get(&(batch.clone(), place.clone())).filter(|_| plain).map(SliceBook::parts)
}

/// Where a flow leads by a path of a tier.
fn ends(settled: &Settled, index: usize, tier: Tier, made: bool, doubt: bool) -> Vec<State> {
    let flow: &Flow = &settled.flows[index];
    let mut states = Vec::new();
    let mut onward = |from: Node, event: &lotline_domain::id::EventId, leg: u32, tier: Tier, doubt: bool| {
        for (next, flow) in settled.flows.iter().enumerate() {
            let of_leg = matches!(from, Node::Draw(..)) || (flow.cause == *event && flow.leg == leg);
            if flow.from == from && of_leg {
                states.extend(ends(settled, next, tier, true, doubt));
            }
        }
    };
    match &flow.to {
        Node::Run(id) => {
            let run = &settled.runs()[id];
            let input =
                run.inputs.iter().find(|input| input.event == flow.cause && input.leg == flow.leg).expect("a leg");
            for output in run.outputs.iter().filter(|output| run.connects(input, output)) {
                let step = if output.at < input.at { Tier::Possible } else { Tier::Certain };
                onward(flow.to.clone(), &output.event, output.leg, tier.min(step), doubt);
            }
        }
        Node::Slice(batch, place) => {
            if let Place::Vessel(id) = place {
                let vessel = &settled.vessels[id];
                for link in &vessel.links {
                    let fill = &vessel.fills[link.fill];
                    let same_leg = flow.possible && fill.key.event == flow.cause && fill.key.leg == flow.leg;
                    if fill.flows.contains(&index) || same_leg {
                        let draw = &vessel.draws[link.draw].key;
                        let doubt = doubt || (link.tier < Tier::Certain && !link.residue);
                        let hub = Node::Draw(draw.event.clone(), draw.leg);
                        onward(hub, &draw.event, draw.leg, tier.min(link.tier), doubt);
                    }
                }
            }
            states.push((batch.clone(), place.clone(), flow.at, tier, made, doubt));
            if let Some(from) = flow.counts_from {
                states.push((batch.clone(), place.clone(), from, tier.min(Tier::Possible), made, doubt));
            }
        }
        Node::Draw(..) | Node::Origin(_) => {}
    }
    states
}

fn steps_from(settled: &Settled, state: &State, start: &BatchRef, from_start: bool) -> Vec<State> {
    let (batch, place, moment, tier, made, doubt) = state;
    let mut states = Vec::new();
    if place.is_sink() {
        return states;
    }
    let here = Node::Slice(batch.clone(), place.clone());
    let parts = parts_of(settled, batch, place);
    for (index, flow) in settled.flows.iter().enumerate() {
        if flow.from != here || matches!(flow.to, Node::Draw(..)) {
            continue;
        }
        if from_start {
            let wholly = matches!(&flow.to, Node::Run(_) | Node::Slice(_, Place::Vessel(_)));
            let sure = !flow.possible && (!flow.assumed || wholly);
            let step = if sure { Tier::Certain } else { Tier::Possible };
            states.extend(ends(settled, index, step, *made, false));
        } else if flow.latest >= *moment {
            let had = settled.book(batch, place).had_before(*moment);
            let sure = !flow.assumed && !flow.possible && (flow.at > *moment || (flow.at == *moment && !had));
            let step = if sure { Tier::Certain } else { Tier::Possible };
            // What is missing elsewhere may be of it whatever this book says.
            let disturbed = parts.as_ref().is_some_and(|parts| parts.is_disturbed_by(parts.part(flow.at)));
            // What a suspect batch itself did is no difference, wherever the path came by.
            let own = batch == start && !*made;
            let doubt = *doubt || (!own && (disturbed || flow.assumed || flow.possible));
            let later = parts.as_ref().filter(|_| flow.at > *moment);
            let across = match later.map(|parts| parts.across(parts.part(*moment), parts.part(flow.at))) {
                Some(Tier::Cleared) if doubt => Tier::Possible,
                across => across.unwrap_or(Tier::Certain),
            };
            states.extend(ends(settled, index, (*tier).min(step).min(across), *made, doubt));
        }
    }
    states
}

fn every_path(settled: &Settled, start: &BatchRef) -> Trace {
    let mut seen: BTreeSet<State> = BTreeSet::new();
    let mut todo: Vec<State> = Vec::new();
    let mut trace = Trace::default();
    let own: Vec<Place> =
        settled.slices.keys().filter(|(batch, _)| batch == start).map(|(_, place)| place.clone()).collect();
    for place in own {
        let state = (start.clone(), place.clone(), Instant::MIN, Tier::Certain, false, false);
        todo.extend(steps_from(settled, &state, start, true));
        for (index, flow) in settled.flows.iter().enumerate() {
            if matches!(place, Place::Vessel(_))
                && flow.to == Node::Slice(start.clone(), place.clone())
                && !flow.possible
            {
                todo.extend(ends(settled, index, Tier::Certain, false, false).into_iter().filter(|state| state.4));
            }
        }
        note(&mut trace, &state, start);
    }
    while let Some(state) = todo.pop() {
        if seen.insert(state.clone()) {
            note(&mut trace, &state, start);
            // Later episodes of a reached slice are reached, cleared.
            todo.extend(steps_from(settled, &state, start, false));
        }
    }
    trace
}

fn note(trace: &mut Trace, (batch, place, moment, tier, made, _): &State, start: &BatchRef) {
    let reached = Reached { tier: *tier, moment: *moment };
    let known = trace.slices.entry((batch.to_string(), place.to_string())).or_insert(reached);
    if (*tier, std::cmp::Reverse(*moment)) > (known.tier, std::cmp::Reverse(known.moment)) {
        *known = reached;
    }
    if *made || batch != start {
        let best = trace.batches.entry(batch.to_string()).or_insert(*tier);
        *best = (*best).max(*tier);
    }
}

proptest! {
    #![proptest_config(cases(400, 20_000))]

    #[test]
    fn the_walk_finds_what_trying_every_path_finds(plant in plants_with(Knobs { bare_codes: false, most_events: 40, ..Knobs::WILD })) {
        let settled = Naive::new(plant.events()).settle(Bounds::ALL);
        for batch in settled.batches() {
            proptest::prop_assert_eq!(settled.trace_forward(&batch), every_path(&settled, &batch), "from {}", batch);
        }
    }
}
