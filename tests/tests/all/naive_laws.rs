//! The laws, tried on the naive model itself: an oracle that breaks them is none.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::command::Command;
use lotline_domain::time::Instant;
use lotline_testkit::generate::{Knobs, Plant, plants, plants_with};
use lotline_testkit::naive::{Balance, Bounds, Discrepancy, Flow, Naive, Node, Number, Settled, Tier, number};
use lotline_testkit::property::cases;
use proptest::prelude::{any, prop_assert, prop_assert_eq};
use proptest::proptest;

fn settled(plant: &Plant) -> Settled {
    Naive::new(plant.events()).settle(Bounds::ALL)
}

/// All that can be asked, to be compared as a whole.
#[derive(Debug, PartialEq)]
struct Answers {
    on_hand: BTreeMap<(String, String), Balance>,
    flows: Vec<Flow>,
    forward: BTreeMap<String, BTreeMap<String, Tier>>,
    exceptions: BTreeSet<Discrepancy>,
}

fn answers(settled: &Settled) -> Answers {
    let forward = settled.batches().iter().map(|batch| (batch.to_string(), settled.forward(batch))).collect();
    Answers { on_hand: settled.on_hand(), flows: settled.flows.clone(), forward, exceptions: settled.exceptions() }
}

/// Some instant of the plant, to ask as of.
fn middle(plant: &Plant) -> Instant {
    let mut instants: Vec<Instant> = plant.commands.iter().map(|c| c.event.occurred_at.instant).collect();
    instants.sort();
    instants.get(instants.len() / 2).copied().unwrap_or(Instant::MAX)
}

proptest! {
    #![proptest_config(cases(150, 4_000))]

    #[test]
    fn order_of_arrival_does_not_matter(plant in plants(), seed in any::<u64>()) {
        prop_assert_eq!(answers(&settled(&plant)), answers(&settled(&plant.shuffled(seed))));
    }

    #[test]
    fn duplicates_do_not_matter(plant in plants()) {
        let mut twice: Vec<Command> = plant.commands.clone();
        twice.extend(plant.commands.iter().rev().cloned());
        let twice = Plant { seed: plant.seed, commands: twice };
        prop_assert_eq!(answers(&settled(&plant)), answers(&settled(&twice)));
    }

    #[test]
    fn the_past_does_not_change(plant in plants(), cut in any::<proptest::sample::Index>()) {
        let events = plant.events();
        let known = cut.index(events.len() + 1);
        let then = Naive::new(events[..known].to_vec()).settle(Bounds::ALL);
        let now = Naive::new(events).settle(Bounds::known(known as u64));
        prop_assert_eq!(answers(&then), answers(&now));
    }

    #[test]
    fn back_and_forward_are_duals(plant in plants_with(Knobs { most_events: 30, ..Knobs::WILD })) {
        let settled = settled(&plant);
        let batches: Vec<_> = settled.batches().into_iter().collect();
        let back: Vec<_> = batches.iter().map(|batch| settled.back(batch)).collect();
        for from in &batches {
            let forward = settled.forward(from);
            for (to, back) in batches.iter().zip(&back) {
                prop_assert_eq!(forward.get(&to.to_string()), back.get(&from.to_string()), "{} to {}", from, to);
            }
        }
    }

    #[test]
    fn every_slice_is_its_flows(plant in plants()) {
        let settled = settled(&plant);
        let mut sums: BTreeMap<(String, String), Number> = BTreeMap::new();
        for flow in settled.flows.iter().filter(|flow| !flow.possible) {
            let Some(amount) = &flow.amount else { continue };
            for (node, sign) in [(&flow.from, -1), (&flow.to, 1)] {
                if let Node::Slice(batch, place) = node {
                    let sum = sums.entry((batch.to_string(), place.to_string())).or_insert_with(|| number("0"));
                    *sum += amount * number(&sign.to_string());
                }
            }
        }
        let on_hand = settled.on_hand();
        for (slice, sum) in &sums {
            let balance = on_hand.get(slice).map_or_else(|| number("0"), |balance| balance.amount.clone());
            let in_vessel = slice.1.starts_with("vessel:");
            // A leg that does not convert to the vessel's unit is in its total and not in its layers.
            if !in_vessel || !on_hand.get(slice).is_some_and(|balance| balance.unknown) {
                prop_assert_eq!(&balance, sum, "{:?}", slice);
            }
        }
    }

    #[test]
    fn quantities_balance_against_the_facts(plant in plants()) {
        let settled = settled(&plant);
        let sums = settled.sums();
        let mut held: BTreeMap<String, Number> = BTreeMap::new();
        let mut doubtful = BTreeSet::new();
        for ((batch, place), balance) in settled.on_hand() {
            if !place.starts_with("sink:") {
                *held.entry(batch.clone()).or_insert_with(|| number("0")) += balance.amount;
            }
            if balance.unknown {
                doubtful.insert(batch);
            }
        }
        for batch in settled.batches() {
            let text = batch.to_string();
            let Some(sums) = sums.get(&text) else { continue };
            // Where a statement has no quantity, the facts alone do not say how much moved.
            if sums.unknown || doubtful.contains(&text) {
                continue;
            }
            let rest = sums.rest() + settled.beyond_facts(&batch);
            let held = held.get(&text).cloned().unwrap_or_else(|| number("0"));
            prop_assert_eq!(held, rest, "{}", text);
        }
    }

    #[test]
    fn what_happens_later_changes_no_balance_before(plant in plants()) {
        let as_of = middle(&plant);
        let whole = Naive::new(plant.events());
        let early = whole.settle(Bounds::ALL.as_of(as_of));
        for flow in &early.flows {
            prop_assert!(flow.at <= as_of);
        }
        // Settled flows up to a moment are the first of all settled flows.
        let plain = |settled: &Settled| -> Vec<(String, String, String, Option<Number>, Instant)> {
            let flows = settled.flows.iter().filter(|flow| !flow.possible && flow.at <= as_of);
            flows.map(|f| (f.batch.to_string(), f.from.text(), f.to.text(), f.amount.clone(), f.at)).collect()
        };
        let vessels = |flows: &[(String, String, String, Option<Number>, Instant)]| {
            flows.iter().any(|(_, from, to, ..)| from.starts_with("vessel:") || to.starts_with("vessel:"))
        };
        let (early, all) = (plain(&early), plain(&whole.settle(Bounds::ALL)));
        // A vessel's unit is chosen by all its legs, and first packings look ahead: those may differ.
        let looks_ahead = plant.commands.iter().any(|c| matches!(c.event.fact, lotline_domain::fact::Fact::Packed { .. }));
        if !vessels(&all) && !looks_ahead {
            prop_assert_eq!(early, all);
        }
    }
}
