//! The naive model gives the answers of the written scenarios.

use lotline_domain::fact::{Fact, HoldTarget, MixModel, RunKind, RunReport};
use lotline_domain::id::{HoldId, VesselId};
use lotline_domain::unit::Unit;
use lotline_testkit::naive::{Bounds, Rest};

use crate::naive_world::{World, at, batch, content, exact, name, place, report};

#[test]
fn diamond_names_each_batch_once_and_adds_up() {
    let mut w = World::default();
    w.receive(0, "A 100", "dock");
    w.run(10, "1", "A 50 @dock", "B 50 @dock");
    w.run(20, "2", "A 50 @dock", "C 50 @dock");
    w.run(30, "3", "B 50 @dock, C 50 @dock", "D 100 @dock");
    w.sell(40, "D 70 @dock", "C1");
    assert_eq!(w.forward("A"), "B C D");
    assert_eq!(w.back("D"), "A B C");
    assert_eq!(w.book(Bounds::ALL), "D@dock 30, D@party:C1 70");
    assert_eq!(w.exposure("A", "D", "C1"), "70 70");
    assert!(w.exceptions().is_empty(), "{:?}", w.exceptions());
}

fn silo(mix: MixModel) -> (World, lotline_domain::id::EventId) {
    let mut w = World::default();
    w.mix(-10, "S1", mix);
    for (index, (batch, kilograms)) in [("A", 100), ("B", 50), ("C", 200), ("D", 100), ("E", 50)].iter().enumerate() {
        let time = 10 * index as i64;
        w.receive(time, &format!("{batch} {kilograms}"), "dock");
        w.fill(time + 5, &format!("{batch} {kilograms} @dock"), "S1");
    }
    let draw = w.draw(100, "S1", "X 125 @line");
    (w, draw)
}

#[test]
fn silo_answers_by_its_mix_model() {
    let parts =
        |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    let (first, draw) = silo(MixModel::FirstInFirstOut);
    assert_eq!(content(&first, &draw), parts(&[("A", "100"), ("B", "25")]));
    assert_eq!(first.book(Bounds::ALL), "B@vessel:S1 25, C@vessel:S1 200, D@vessel:S1 100, E@vessel:S1 50, X@line 125");
    assert_eq!(first.forward("C"), "");
    assert_eq!(first.slices("C"), "C@dock C@vessel:S1");
    let (full, draw) = silo(MixModel::Full);
    assert_eq!(content(&full, &draw), parts(&[("A", "25"), ("B", "25/2"), ("C", "50"), ("D", "25"), ("E", "25/2")]));
    assert_eq!(full.forward("C"), "X");
    let total = full.settled().vessel_total(&VesselId::parse("S1").unwrap());
    assert_eq!(total.get(&Unit::KILOGRAM), Some(&exact("375")));
}

#[test]
fn rework_respects_time_and_ends() {
    let mut w = World::default();
    w.receive(-20, "A1 100, A2 10", "dock");
    w.run(10, "1", "A1 100 @dock", "B1 100 @line");
    w.sell(20, "B1 40 @line", "C1");
    w.run(30, "2", "B1 10 @line", "R1 10 @line");
    w.run(40, "3", "R1 10 @line, A2 10 @dock", "B1 20 @line");
    w.sell(50, "B1 50 @line", "C2");
    assert_eq!(w.book(Bounds::ALL), "B1@line 20, B1@party:C1 40, B1@party:C2 50");
    assert_eq!(w.forward("A2"), "B1");
    assert_eq!(w.slices("A2"), "A2@dock B1@line B1@party:C2 B1@transit:SH-6");
    assert_eq!(w.forward("A1"), "B1 R1");
    assert_eq!(w.exposure("A1", "B1", "C1"), "40 40");
    assert_eq!(w.exposure("A1", "B1", "C2"), "50 50");
    assert_eq!(w.exposure("A2", "B1", "C1"), "nothing");
    assert_eq!(w.forward("B1"), "B1 R1", "a batch may be its own ancestor");
}

#[test]
fn back_dated_input_is_known_from_its_commit_on() {
    let mut w = World::default();
    w.receive(0, "A1 100, A9 20", "dock");
    w.tell(10, Fact::Produced(report("1", "A1 100 @dock", "F1 100 @line")));
    w.sell(20, "F1 60 @line", "C1");
    let tuesday = w.events.len() as u64;
    w.tell(10, Fact::Produced(report("1", "A9 5 @dock", "")));
    assert_eq!(w.forward_within("A9", Bounds::known(tuesday)), "");
    assert_eq!(w.forward("A9"), "F1");
    assert_eq!(w.exposure("A9", "F1", "C1"), "60 60");
    let monday = Bounds::ALL.as_of(at(15));
    assert_eq!(w.book(Bounds { known: tuesday, ..monday }), "A9@dock 20, F1@line 100");
    assert_eq!(w.book(monday), "A9@dock 15, F1@line 100");
}

#[test]
fn out_of_order_is_flagged_and_settled() {
    let mut w = World::default();
    w.ship(60, "SH", "F1 60", "C1");
    assert_eq!(w.book(Bounds::ALL), "F1@transit:SH 60, F1@unplaced -60");
    assert_eq!(w.exceptions().into_iter().collect::<Vec<_>>(), ["source unknown: F1@unplaced by e1"]);
    let mut settled = w.clone();
    settled.run(0, "1", "A 100 @dock", "F1 100 @line");
    settled.receive(-10, "A 100", "dock");
    assert_eq!(settled.book(Bounds::ALL), "F1@line 40, F1@transit:SH 60");
    assert!(settled.exceptions().is_empty());
    let mut late = w.clone();
    late.run(120, "1", "A 100 @dock", "F1 100 @line");
    late.receive(-10, "A 100", "dock");
    assert_eq!(late.book(Bounds::ALL), "F1@line 40, F1@transit:SH 60");
    assert_eq!(late.exceptions().into_iter().collect::<Vec<_>>(), ["source unknown: F1@unplaced by e1"]);
    assert_eq!(late.slices("A"), "A@dock F1@line F1@transit:SH? F1@unplaced", "the edge stays");
}

#[test]
fn duplicates_count_once_and_conflicts_are_reported() {
    let mut w = World::default();
    let fact = |kilograms: &str| Fact::Received {
        lines: vec![lotline_domain::fact::Line {
            document: Some("DN 7/1".into()),
            ..crate::naive_world::line(kilograms)
        }],
        containers: Vec::new(),
        from: Some(crate::naive_world::party("S")),
        shipment: None,
        by: None,
        to: place("dock"),
    };
    w.tell_as("a", 0, fact("F 100"));
    w.tell_as("a", 0, fact("F 100"));
    assert_eq!(w.book(Bounds::ALL), "F@dock 100");
    assert!(w.exceptions().is_empty());
    w.tell_as("a", 0, fact("F 120"));
    assert_eq!(w.book(Bounds::ALL), "F@dock 100");
    w.tell_as("b", 0, fact("F 100"));
    assert_eq!(w.book(Bounds::ALL), "F@dock 200", "flagged, not dropped");
    let found: Vec<_> = w.exceptions().into_iter().collect();
    assert_eq!(found, ["conflict: @ by a", "suspected duplicate: F@ by b"]);
}

fn split(run: &str, inputs: &str, outputs: &str) -> Fact {
    Fact::Produced(RunReport { kind: RunKind::Split, ..report(run, inputs, outputs) })
}

#[test]
fn hold_covers_what_comes_of_the_batch() {
    let mut w = World::default();
    w.receive(0, "L 100", "dock");
    w.tell(10, split("1", "L 100 @dock", "L1 40 @dock, L2 60 @dock"));
    w.sell(20, "L1 40 @dock", "C1");
    w.hold(60, "H", "L");
    let held = w.naive().on_hand(Bounds::ALL);
    assert!(held[&(name("L2"), "dock".to_owned())].holds.contains("H"));
    assert!(held[&(name("L1"), "party:C1".to_owned())].holds.contains("H"));
    assert!(w.exceptions().is_empty(), "shipped before the hold");
    let shipped = w.ship(62, "SH-9", "L2 5 @dock", "C2");
    assert_eq!(w.exceptions().into_iter().collect::<Vec<_>>(), [format!("shipped under hold: L2@dock by {shipped}")]);
    let used = w.run(70, "2", "L2 10 @dock", "M 10 @dock");
    assert!(w.exceptions().contains(&format!("consumed under hold: L2@dock by {used}")));
    let held = w.naive().on_hand(Bounds::ALL);
    assert!(held[&(name("M"), "dock".to_owned())].holds.contains("H"), "a run makes held output");
    w.release(80, "L2");
    let held = w.naive().on_hand(Bounds::ALL);
    assert!(held[&(name("L2"), "dock".to_owned())].holds.is_empty());
    assert!(held[&(name("L1"), "party:C1".to_owned())].holds.contains("H"), "releasing L2 does not clear C1");
    assert!(held[&(name("M"), "dock".to_owned())].holds.contains("H"), "made before the release");
    let made = w.run(90, "3", "L2 10 @dock", "N 10 @dock");
    assert!(w.naive().on_hand(Bounds::ALL)[&(name("N"), "dock".to_owned())].holds.is_empty());
    assert!(!w.exceptions().iter().any(|e| e.ends_with(made.as_str())));
}

#[test]
fn holds_pass_production_by_policy_and_splits_always() {
    let mut w = World::default();
    w.tell(-10, Fact::PolicySet { holds_pass_runs: false });
    w.receive(0, "L 100", "dock");
    w.tell(10, split("1", "L 50 @dock", "L1 50 @dock"));
    w.run(20, "2", "L 50 @dock", "M 50 @dock");
    w.hold(60, "H", "L");
    let held = w.naive().on_hand(Bounds::ALL);
    assert!(held[&(name("L1"), "dock".to_owned())].holds.contains("H"));
    assert!(held[&(name("M"), "dock".to_owned())].holds.is_empty());
}

#[test]
fn hold_on_a_slice_moves_with_the_material() {
    let mut w = World::default();
    w.receive(0, "L 100", "dock");
    w.go(10, "L 40 @dock", "store");
    let target = HoldTarget::Slice(batch("L"), place("store"));
    w.tell(20, Fact::Held { hold: HoldId::parse("H").unwrap(), target, reason: None });
    w.go(30, "L 10 @store", "line");
    w.go(40, "L 5 @dock", "bin");
    let held = w.naive().on_hand(Bounds::ALL);
    let holds = |place: &str| held[&(name("L"), place.to_owned())].holds.len();
    assert_eq!([holds("store"), holds("line"), holds("dock"), holds("bin")], [1, 1, 0, 0]);
}

#[test]
fn pallets_keep_what_was_shipped() {
    let mut w = World::default();
    w.receive(0, "F1 40, F2 20", "line");
    w.pack(10, "F1 40 @line, F2 20 @line", "SSCC1");
    w.pack(20, "F1 10 @container:SSCC1", "SSCC2");
    w.ship_with(30, "SH", "", "SSCC1", "C1");
    w.deliver(40, "SH", "C1");
    assert_eq!(w.book(Bounds::ALL), "F1@container:SSCC1 30, F1@container:SSCC2 10, F2@container:SSCC1 20");
    let rows = w.naive().recall(&batch("F1"), Bounds::ALL);
    let row = |at: &str| &rows[&(name("F1"), at.to_owned())];
    assert_eq!((row("container:SSCC1").state, row("container:SSCC2").state), ("with customer", "on hand"));
    assert_eq!(row("container:SSCC2").stands, place("line"));
    assert_eq!(w.exposure("F1", "F1", "C1"), "30 30");
    // A re-pack after shipping changes nothing before it.
    w.pack(50, "F1 30 @container:SSCC1", "SSCC3");
    assert_eq!(w.exposure("F1", "F1", "C1"), "30 30");
    assert!(w.exceptions().is_empty(), "{:?}", w.exceptions());
}

#[test]
fn returns_do_not_lessen_what_was_ever_received() {
    let mut w = World::default();
    w.receive(0, "F1 50, F2 10", "dock");
    w.sell(10, "F1 50 @dock", "C1");
    w.give_back(20, "F1 20", "C1", "quarantine");
    assert_eq!(w.exposure("F1", "F1", "C1"), "50 30");
    assert_eq!(w.book(Bounds::ALL), "F1@party:C1 30, F1@quarantine 20, F2@dock 10");
    assert!(w.exceptions().is_empty());
    let never = w.give_back(30, "F2 5", "C1", "quarantine");
    assert_eq!(
        w.exceptions().into_iter().collect::<Vec<_>>(),
        [format!("returned but never sent: F2@party:C1 by {never}")]
    );
    assert_eq!(w.book(Bounds::ALL), "F1@party:C1 30, F1@quarantine 20, F2@dock 10, F2@party:C1 -5, F2@quarantine 5");
    // A return of a return.
    w.sell(40, "F1 20 @quarantine", "C1");
    w.give_back(50, "F1 20", "C1", "quarantine");
    assert_eq!(w.exposure("F1", "F1", "C1"), "70 30");
}

#[test]
fn mass_balance_names_what_a_run_lost() {
    let mut w = World::default();
    w.receive(0, "A 1000", "dock");
    let mut run = report("1", "A 900 @dock", "F 880 @line");
    run.losses = vec![lotline_domain::fact::ByLoss {
        sink: lotline_domain::id::Sink::Loss,
        quantity: lotline_domain::quantity::Stated::parse("15", Unit::KILOGRAM).unwrap(),
    }];
    let told = w.tell(10, Fact::Produced(run));
    let counted = w.count(20, "A 92", "dock");
    assert_eq!(w.settled().run_balances()["mes:1"].rest, Rest::Lost(exact("5")));
    let found: Vec<_> = w.exceptions().into_iter().collect();
    assert_eq!(found, [format!("count differs: A@dock by {counted}"), format!("run lost mass: @run:mes:1 by {told}")]);
    assert_eq!(w.book(Bounds::ALL), "A@dock 92, F@line 880");
    // Eight that were shipped earlier are recorded late: they explain the count.
    w.ship(15, "SH", "A 8 @dock", "C1");
    assert_eq!(w.book(Bounds::ALL), "A@dock 92, A@transit:SH 8, F@line 880");
    assert!(!w.exceptions().iter().any(|e| e.starts_with("count differs")));
}
