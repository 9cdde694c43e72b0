//! The generators are wild, deterministic, and shrink to few events.

use std::collections::BTreeSet;

use lotline_domain::fact::Fact;
use lotline_testkit::generate::{Feature, Knobs, features_of, plant, plant_with, plants, shares};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

#[test]
fn every_wanted_feature_is_in_a_tenth_of_the_plants() {
    let plants: Vec<_> = (0..400).map(plant).collect();
    let shares = shares(&plants);
    for (feature, (count, total)) in &shares {
        println!("{feature}: {count} of {total} plants");
    }
    for feature in Feature::WANTED {
        let (count, total) = shares.get(&feature).copied().unwrap_or_default();
        assert!(count * 10 >= total && count > 0, "{feature} is in {count} of {total} plants only");
    }
    let events: usize = plants.iter().map(|plant| plant.commands.len()).sum();
    println!("{} events in a plant on average", events / plants.len());
}

#[test]
fn one_seed_makes_one_plant() {
    for seed in 0..20 {
        assert_eq!(plant(seed), plant(seed), "seed {seed}");
    }
    assert_ne!(plant(1), plant(2));
}

#[test]
fn ids_are_unique_where_no_conflict_is_asked_for() {
    for seed in 0..100 {
        let mut known: std::collections::BTreeMap<_, _> = Default::default();
        for command in plant(seed).commands {
            let event = command.event;
            let first = known.entry(event.id.clone()).or_insert_with(|| event.clone());
            assert_eq!(*first, event, "seed {seed}: two contents with one id");
        }
    }
}

#[test]
fn a_knob_that_is_off_keeps_its_feature_out() {
    for seed in 0..100 {
        let knobs =
            Knobs { rework: false, vessels: false, corrections: false, unknown_quantities: false, ..Knobs::WILD };
        let found = features_of(&plant_with(seed, knobs));
        for feature in [Feature::Vessels, Feature::Voids, Feature::Supersessions, Feature::UnknownQuantities] {
            assert!(!found.contains(&feature), "seed {seed}: {feature}");
        }
        let tame = features_of(&plant_with(seed, Knobs::TAME));
        let allowed = BTreeSet::from([Feature::BareCodes]);
        assert!(tame.is_subset(&allowed), "seed {seed}: {tame:?}");
    }
}

#[test]
fn a_failing_plant_shrinks_to_the_events_that_fail() {
    let mut runner = TestRunner::deterministic();
    let moves = |tree: &dyn Fn() -> lotline_testkit::generate::Plant| {
        tree().commands.iter().filter(|c| matches!(c.event.fact, Fact::Moved { .. })).count()
    };
    let mut shrunk = 0;
    for _ in 0..20 {
        let mut tree = plants().new_tree(&mut runner).expect("a plant");
        let fails = |tree: &dyn Fn() -> lotline_testkit::generate::Plant| moves(tree) >= 2;
        if !fails(&|| tree.current()) {
            continue;
        }
        shrunk += 1;
        // What proptest does: simplify while it fails, take back what made it pass.
        let mut more = tree.simplify();
        while more {
            more = if fails(&|| tree.current()) { tree.simplify() } else { tree.complicate() && tree.simplify() };
        }
        assert_eq!(tree.current().commands.len(), 2, "two moves are what fails");
    }
    assert!(shrunk > 5);
}
