//! The naive model follows the rulings, each on the case that forces it.

use lotline_domain::fact::{CleanGrade, Destination, Fact, MixModel, RunReport, Window};
use lotline_domain::id::{BatchRef, LocationId, ShipmentId, VesselId};
use lotline_domain::time::{OccurredAt, Precision};
use lotline_testkit::naive::{Bounds, Rest};

use crate::naive_world::{World, at, batch, container, content, exact, lines, name, party, place, report};

#[test]
fn an_overdraft_is_evidence_of_a_missing_flow() {
    let mut w = World::default();
    w.receive(0, "A 100", "dock");
    w.run(10, "1", "A 100 @dock", "F 100 @line");
    let shipped = w.ship(20, "SH", "F 60 @gate", "C1");
    assert_eq!(w.book(Bounds::ALL), "F@gate -60, F@line 100, F@transit:SH 60");
    assert_eq!(w.slices("A"), "A@dock F@gate? F@line F@transit:SH?", "missing paperwork never loses a customer");
    // The paperwork comes: the inflow counts from the start of the negative interval.
    w.go(30, "F 60 @line", "gate");
    assert_eq!(w.book(Bounds::ALL), "F@line 40, F@transit:SH 60");
    assert_eq!(w.slices("A"), "A@dock F@gate F@line F@transit:SH?");
    assert_eq!(w.exceptions().into_iter().collect::<Vec<_>>(), [format!("negative: F@gate by {shipped}")]);
}

#[test]
fn what_leaves_from_nowhere_is_unplaced_and_what_appears_is_unexplained() {
    let mut w = World::default();
    let seen = w.see(0, "F 10", "dock");
    let shipped = w.ship(10, "SH", "G 5", "C1");
    assert_eq!(w.book(Bounds::ALL), "F@dock 10, G@transit:SH 5, G@unplaced -5");
    let found: Vec<_> = w.exceptions().into_iter().collect();
    assert_eq!(
        found,
        [format!("source unknown: F@dock by {seen}"), format!("source unknown: G@unplaced by {shipped}")]
    );
}

#[test]
fn a_named_place_covers_what_stands_in_it() {
    let mut w = World::default();
    w.locate("bin", "line");
    w.receive(0, "F 40", "line");
    w.pack(10, "F 40 @line", "SSCC1");
    w.run(20, "1", "F 10 @line", "G 10 @line");
    assert_eq!(w.book(Bounds::ALL), "F@container:SSCC1 30, G@line 10");
    assert!(w.exceptions().is_empty(), "one candidate is not ambiguous");
    w.receive(30, "F 5", "line");
    w.receive(31, "F 5", "bin");
    let used = w.run(40, "2", "F 12 @line", "H 12 @line");
    // Loose first, then the earliest arrived.
    assert_eq!(w.book(Bounds::ALL), "F@bin 5, F@container:SSCC1 23~, G@line 10, H@line 12");
    assert_eq!(w.exceptions().into_iter().collect::<Vec<_>>(), [format!("source ambiguous: F@line by {used}")]);
}

#[test]
fn several_candidates_are_assumed_and_all_are_traced() {
    let mut w = World::default();
    w.receive(0, "A 10", "x");
    w.receive(1, "A 10", "y");
    let seen = w.see(10, "A 5", "z");
    assert_eq!(w.book(Bounds::ALL), "A@x 5~, A@y 10, A@z 5~");
    assert_eq!(w.exceptions().into_iter().collect::<Vec<_>>(), [format!("source ambiguous: A@z by {seen}")]);
    let from_y = w.settled().trace_slice(&batch("A"), &place("y"), at(1));
    assert!(from_y.slices.contains_key(&(name("A"), "z".to_owned())), "{from_y:?}");
    // Exactly what the candidates hold together is not ambiguous.
    let mut exactly = World::default();
    exactly.receive(0, "A 10", "x");
    exactly.receive(1, "A 10", "y");
    exactly.see(10, "A 20", "z");
    assert_eq!(exactly.book(Bounds::ALL), "A@z 20");
    assert!(exactly.exceptions().is_empty());
}

#[test]
fn a_sighting_is_covered_first_by_what_is_there() {
    let mut w = World::default();
    w.receive(0, "A 100", "dock 3");
    w.receive(0, "A 50", "dock 4");
    w.see(10, "A 100", "dock 3");
    assert_eq!(w.book(Bounds::ALL), "A@dock 3 100, A@dock 4 50");
    w.see(20, "A 120", "dock 3");
    assert_eq!(w.book(Bounds::ALL), "A@dock 3 120, A@dock 4 30");
    // Without a quantity: all of the only slice.
    w.receive(30, "B 7", "dock 4");
    w.see(40, "B ?", "dock 3");
    assert_eq!(w.book(Bounds::ALL), "A@dock 3 120, A@dock 4 30, B@dock 3 7");
    // A move moves all of its quantity.
    w.go(50, "B 3", "dock 4");
    assert_eq!(w.book(Bounds::ALL), "A@dock 3 120, A@dock 4 30, B@dock 3 4, B@dock 4 3");
    assert!(w.exceptions().is_empty());
}

#[test]
fn a_receipt_comes_from_transit_towards_it_and_else_from_outside() {
    let mut w = World::default();
    w.arrive(0, "A 10", "north");
    assert_eq!(w.book(Bounds::ALL), "A@north 10");
    let shipment = ShipmentId::parse("SH").unwrap();
    let to = Some(Destination::Location(LocationId::parse("south").unwrap()));
    w.tell(10, Fact::Shipped { shipment, to, lines: lines("A 6 @north"), containers: Vec::new() });
    w.arrive(20, "A 6", "south");
    assert_eq!(w.book(Bounds::ALL), "A@north 4, A@south 6", "not from the north, which is closer at hand");
    assert!(w.exceptions().is_empty());
}

#[test]
fn unknown_quantities_change_no_balance_and_are_marked() {
    let mut w = World::default();
    w.receive(0, "A ?", "dock");
    w.ship(10, "SH", "A 5 @dock", "C1");
    assert_eq!(w.book(Bounds::ALL), "A@dock -5?, A@transit:SH 5");
    assert_eq!(w.exceptions().into_iter().collect::<Vec<_>>(), ["quantity unknown: A@dock by e1"], "not overdrawn");
    w.count(20, "A 7", "dock");
    assert_eq!(w.book(Bounds::ALL), "A@dock 7, A@transit:SH 5", "counted: known again");
    assert_eq!(w.exceptions().len(), 1, "what was unknown does not differ");
    // Emptied instead: what was below zero is made zero first.
    let mut emptied = World::default();
    emptied.tell(-5, Fact::ContainerMoved { containers: vec![container("P")], to: place("dock") });
    emptied.receive(0, "A ?", "dock");
    emptied.pack(5, "A ? @dock", "P");
    emptied.go(10, "A 5 @container:P", "line");
    emptied.tell(20, Fact::ContainerEmptied { container: container("P") });
    assert_eq!(emptied.book(Bounds::ALL), "A@dock 0?, A@line 5");
}

#[test]
fn ties_are_possible_only_where_something_else_was_there() {
    let mut w = World::default();
    w.receive(0, "A 10, B 10", "dock");
    w.run(10, "1", "A 10 @dock", "F 10 @line");
    w.ship(10, "SH1", "F 4 @line", "C1");
    assert_eq!(w.slices("A"), "A@dock F@line F@transit:SH1");
    w.run(20, "2", "B 10 @dock", "F 10 @line");
    w.ship(20, "SH2", "F 4 @line", "C1");
    assert_eq!(w.slices("B"), "B@dock F@line F@transit:SH2?");
}

#[test]
fn a_fact_dated_by_day_is_followed_until_its_day_ends() {
    let mut w = World::default();
    w.receive(0, "A 10, B 10", "dock");
    w.run(10, "1", "A 10 @dock", "F 10 @line");
    w.ship(0, "SH", "F 4 @line", "C1");
    let day = &mut w.events.last_mut().unwrap().1;
    day.occurred_at = OccurredAt { precision: Precision::Day, ..OccurredAt::parse("2026-03-02Z").unwrap() };
    assert_eq!(w.slices("A"), "A@dock F@line F@transit:SH?");
}

#[test]
fn an_output_is_reached_from_its_own_time() {
    let mut w = World::default();
    w.receive(0, "A 10, B 10", "dock");
    w.run(7, "1", "B 10 @dock", "F 20 @line");
    w.sell(8, "F 20 @line", "C1");
    let mut more = report("1", "A 10 @dock", "");
    more.completed = true;
    w.tell(11, Fact::Produced(more));
    assert_eq!(w.forward("A"), "F?", "it came out before A went in");
    assert_eq!(w.forward("B"), "F");
    assert_eq!(w.exposure("A", "F", "C1"), "20 20");
    assert_eq!(w.forward_within("A", Bounds::ALL.as_of(at(9))), "");
    assert_eq!(w.settled().run_balances()["mes:1"].rest, Rest::Even);
    let earlier = w.naive().settle(Bounds::ALL.as_of(at(9))).run_balances();
    assert_eq!((earlier["mes:1"].open, &earlier["mes:1"].rest), (true, &Rest::InProcess(exact("-10"))));
}

#[test]
fn mapping_and_windows_narrow_a_run() {
    let mut w = World::default();
    w.receive(0, "A 10, B 10", "dock");
    let mut run = report("1", "A 10 @dock, B 10 @dock", "F 10 @line, G 10 @line");
    run.mapping = vec![(batch("A"), batch("F")), (batch("B"), batch("G"))];
    w.tell(10, Fact::Produced(run));
    assert_eq!((w.forward("A"), w.forward("B")), ("F".to_owned(), "G".to_owned()));

    let window = |from: i64, to: i64| Some(Window { from: at(from), to: at(to) });
    let mut run = report("2", "F 5 @line, G 5 @line", "M 5 @line, N 5 @line");
    run.inputs[0].window = window(0, 10);
    run.inputs[1].window = window(10, 20);
    run.outputs[0].window = window(5, 10);
    let told = w.tell(20, Fact::Produced(run.clone()));
    assert_eq!(w.forward("F"), "M N", "a pair with a window missing counts");
    assert_eq!(w.forward("G"), "N", "touching is not overlapping");
    assert!(w.exceptions().contains(&format!("no window: N@run:mes:2 by {told}")));
    let late = RunReport { run: crate::naive_world::run_id("3"), hold_up_micros: 60_000_000, ..run };
    let mut w = World::default();
    w.receive(0, "F 5, G 5", "line");
    let mut late = late;
    late.outputs[1].window = window(10, 15);
    w.tell(20, Fact::Produced(late));
    assert_eq!(w.forward("F"), "M N", "hold-up extends the input's end");
}

#[test]
fn a_draw_before_the_fill_is_a_debt_that_the_next_fill_pays() {
    let mut w = World::default();
    w.receive(0, "A 100", "dock");
    let draw = w.draw(5, "V", "X 30 @line");
    assert_eq!(w.exceptions().into_iter().collect::<Vec<_>>(), [format!("vessel overdrawn: X@vessel:V by {draw}")]);
    w.fill(6, "A 100 @dock", "V");
    assert_eq!(w.forward("A"), "X?");
    assert_eq!(w.book(Bounds::ALL), "A@vessel:V 70, X@line 30");
    let found: Vec<_> = w.exceptions().into_iter().collect();
    assert_eq!(found, [format!("vessel drawn before it was filled: X@vessel:V by {draw}")]);
}

#[test]
fn residue_touches_until_a_sufficient_clean() {
    let clean = |grade| Fact::VesselCleaned { vessel: VesselId::parse("V").unwrap(), grade: CleanGrade(grade) };
    let mut w = World::default();
    w.mix(-10, "V", MixModel::FirstInFirstOut);
    w.receive(0, "A 10, B 10", "dock");
    w.fill(10, "A 10 @dock", "V");
    w.draw(20, "V", "X 10 @line");
    w.fill(30, "B 10 @dock", "V");
    let mut cleaned = w.clone();
    w.draw(40, "V", "Y 10 @line");
    assert_eq!((w.forward("A"), w.forward("B")), ("X Y?".to_owned(), "Y".to_owned()));
    // A grade that is not enough leaves residue.
    cleaned.tell(25, clean(0));
    let mut enough = cleaned.clone();
    cleaned.draw(40, "V", "Y 10 @line");
    assert_eq!(cleaned.forward("A"), "X Y?");
    enough.tell(26, clean(1));
    enough.draw(40, "V", "Y 10 @line");
    assert_eq!(enough.forward("A"), "X");
    assert!(enough.exceptions().is_empty(), "nothing was in it");
}

#[test]
fn a_clean_sends_what_the_book_still_has_to_unexplained() {
    let mut w = World::default();
    w.receive(0, "A 10, B 10", "dock");
    w.fill(10, "A 10 @dock", "V");
    w.draw(20, "V", "X 4 @line");
    w.fill(30, "B 10 @dock", "V");
    let cleaned = w.tell(30, Fact::VesselCleaned { vessel: VesselId::parse("V").unwrap(), grade: CleanGrade(1) });
    assert_eq!(w.book(Bounds::ALL), "B@vessel:V 10, X@line 4", "the fill of its own moment stays");
    assert_eq!(
        w.exceptions().into_iter().collect::<Vec<_>>(),
        [format!("cleaned with content: A@vessel:V by {cleaned}")]
    );
    w.draw(40, "V", "Y 5 @line");
    assert_eq!(w.forward("A"), "X");
    // The clean did not happen after all.
    w.correct(50, cleaned.as_str(), None);
    assert_eq!(w.forward("A"), "X Y");
}

#[test]
fn shares_of_a_full_mix_sum_exactly() {
    let mut w = World::default();
    w.receive(0, "A 1, B 1, C 1", "dock");
    w.fill(10, "A 1 @dock, B 1 @dock, C 1 @dock", "V");
    let draw = w.draw(20, "V", "X 1 @line");
    let parts = content(&w, &draw);
    let third = |last: &str| format!("33333333{last}/1{}", "0".repeat(9));
    assert_eq!(parts[0], ("A".to_owned(), "166666667/500000000".to_owned()), "the remainder goes to the first batch");
    assert_eq!(parts[1], ("B".to_owned(), third("3")));
    let last = w.draw(30, "V", "Y 2 @line");
    assert_eq!(content(&w, &last).len(), 3);
    assert_eq!(w.book(Bounds::ALL), "X@line 1, Y@line 2");
}

#[test]
fn an_emptied_slice_clears_what_comes_later() {
    let mut w = World::default();
    w.receive(0, "A1 10, A2 10", "dock");
    w.run(10, "1", "A1 10 @dock", "B 10 @line");
    w.sell(20, "B 10 @line", "C1");
    w.run(30, "2", "A2 10 @dock", "B 10 @line");
    w.sell(40, "B 10 @line", "C2");
    assert_eq!(w.slices("A1"), "A1@dock B@line B@party:C1 B@party:C2- B@transit:SH-2 B@transit:SH-5-");
    assert_eq!(w.slices("A2"), "A2@dock B@line B@party:C2 B@transit:SH-5");
    assert_eq!(w.exposure("A1", "B", "C2"), "nothing");
    let rows = w.naive().recall(&batch("A1"), Bounds::ALL);
    assert!(!rows.contains_key(&(name("B"), "line".to_owned())), "ruling 25: nothing is there, and nobody had it");
    assert!(rows[&(name("B"), "party:C2".to_owned())].cleared);
    assert!(!rows[&(name("B"), "party:C1".to_owned())].cleared);
    // With a count that differed in between the book proves nothing.
    w.count(15, "B 11", "line");
    assert_eq!(w.slices("A1"), "A1@dock B@line B@party:C1 B@party:C2 B@transit:SH-2 B@transit:SH-5");
}

#[test]
fn corrections_form_a_tree() {
    let mut w = World::default();
    w.receive(0, "A 10", "dock");
    w.correct(20, "e1", None);
    assert_eq!(w.book(Bounds::ALL), "");
    assert_eq!(w.book(Bounds::known(1)), "A@dock 10");
    assert_eq!(w.book(Bounds::ALL.as_of(at(10))), "", "as_of never hides a correction");
    w.correct(30, "e2", None);
    assert_eq!(w.book(Bounds::ALL), "A@dock 10", "a void of a void revives");
    let more = |kilograms: &str| {
        Some((
            0,
            Fact::Received {
                lines: lines(kilograms),
                containers: Vec::new(),
                from: Some(party("S")),
                shipment: None,
                by: None,
                to: place("dock"),
            },
        ))
    };
    w.correct(40, "e1", more("A 20"));
    w.correct(50, "e1", more("A 30"));
    assert_eq!(w.book(Bounds::ALL), "A@dock 30", "the later declared one holds");
    w.correct(60, "unheard-of", None);
    let found: Vec<_> = w.exceptions().into_iter().collect();
    assert_eq!(found, ["competing corrections: @ by e5", "correction of an unknown fact: @ by e6"]);
    w.correct(70, "e5", None);
    assert_eq!(w.book(Bounds::ALL), "A@dock 20");
    w.correct(80, "e9", None);
    w.correct(90, "e8", None);
    assert_eq!(w.book(Bounds::ALL), "A@dock 20", "a circle of corrections is dead");
}

#[test]
fn what_supersedes_a_supersession_keeps_the_original_out() {
    let mut w = World::default();
    let more = |kilograms: &str| Fact::Disposed { lines: lines(kilograms), sink: lotline_domain::id::Sink::Loss };
    w.receive(0, "A 100", "dock");
    w.tell(10, more("A 1 @dock"));
    w.correct(20, "e2", Some((10, more("A 2 @dock"))));
    assert_eq!(w.book(Bounds::ALL), "A@dock 98");
    w.correct(30, "e3", Some((10, more("A 4 @dock"))));
    assert_eq!(w.book(Bounds::ALL), "A@dock 96");
    w.correct(40, "e4", None);
    assert_eq!(w.book(Bounds::ALL), "A@dock 98", "the earlier replacement stands again");
    w.correct(50, "e3", None);
    assert_eq!(w.book(Bounds::ALL), "A@dock 99", "and without it the original");
    w.correct(60, "e6", Some((60, more("A 10 @dock"))));
    assert_eq!(w.book(Bounds::ALL), "A@dock 88", "a void that is superseded no longer voids");
}

#[test]
fn an_adjustment_speaks_of_that_very_place() {
    let mut w = World::default();
    w.receive(0, "A 10", "line");
    w.pack(10, "A 10 @line", "P");
    let difference =
        lotline_domain::quantity::Difference::new((-4).into(), lotline_domain::unit::Unit::KILOGRAM).unwrap();
    w.tell(20, Fact::Adjusted { at: place("line"), batch: batch("A"), difference, reason: None });
    assert_eq!(w.book(Bounds::ALL), "A@container:P 10, A@line -4");
}

#[test]
fn what_a_suspect_put_into_a_run_is_certain_from_wherever_it_was() {
    let mut w = World::default();
    w.receive(0, "A 10", "x");
    w.receive(1, "A 10", "y");
    w.run(10, "1", "A 5", "F 5 @line");
    assert_eq!(w.forward("A"), "F");
    let from_x = w.settled().trace_slice(&batch("A"), &place("x"), at(0));
    assert_eq!(from_x.batches[&name("F")], lotline_testkit::naive::Tier::Possible);
}

#[test]
fn packing_elsewhere_and_reusing_are_flagged() {
    let mut w = World::default();
    w.receive(0, "F 40", "line");
    w.receive(0, "G 5", "dock");
    w.pack(10, "F 40 @line", "P");
    let elsewhere = w.pack(20, "G 5 @dock", "P");
    assert_eq!(
        w.exceptions().into_iter().collect::<Vec<_>>(),
        [format!("container is elsewhere: G@container:P by {elsewhere}")]
    );
    w.tell(30, Fact::ContainerMoved { containers: vec![container("P")], to: place("party:C1") });
    assert_eq!(w.exposure("F", "F", "C1"), "40 40");
    w.tell(40, Fact::ContainerMoved { containers: vec![container("P")], to: place("dock") });
    w.receive(45, "H 1", "dock");
    let reused = w.pack(50, "H 1 @dock", "P");
    assert!(w.exceptions().contains(&format!("container re-used with content: H@container:P by {reused}")));
    w.tell(48, Fact::ContainerEmptied { container: container("P") });
    assert_eq!(w.book(Bounds::ALL), "F@dock 40, G@dock 5, H@container:P 1");
    assert!(!w.exceptions().iter().any(|e| e.starts_with("container re-used")));
}

#[test]
fn nested_containers_travel_together() {
    let mut w = World::default();
    w.receive(0, "F 10", "line");
    w.pack(10, "F 10 @line", "case");
    w.tell(
        20,
        Fact::Packed {
            container: container("pallet"),
            lines: Vec::new(),
            containers: vec![container("case")],
            at: None,
        },
    );
    let hand = w.naive().on_hand(Bounds::ALL);
    assert_eq!(hand[&(name("F"), "container:case".to_owned())].stands, place("line"));
    w.ship_with(30, "SH", "", "pallet", "C1");
    w.deliver(40, "SH", "C1");
    let hand = w.naive().on_hand(Bounds::ALL);
    assert_eq!(hand[&(name("F"), "container:case".to_owned())].stands, place("party:C1"));
    assert_eq!(w.exposure("F", "F", "C1"), "10 10");
    assert_eq!(w.book(Bounds::ALL.as_of(at(35))), "F@container:case 10");
    w.give_back(50, "F 4", "C1", "dock");
    assert_eq!(w.book(Bounds::ALL), "F@container:case 6, F@dock 4");
    assert_eq!(w.exposure("F", "F", "C1"), "10 6");
    assert!(w.exceptions().is_empty());
}

#[test]
fn a_bare_code_means_the_only_batch_and_else_links_to_all() {
    let mut w = World::default();
    w.receive(0, "milk/7 10", "dock");
    w.run(10, "1", "?/7 4 @dock", "F 4 @line");
    assert_eq!(w.forward("milk/7"), "F");
    w.receive(0, "cream/7 10", "dock");
    assert_eq!(w.forward("milk/7"), "?/7? F?", "milk is no cream, and no way leads over the code");
    assert_eq!(w.forward("cream/7"), "?/7? F?");
    assert!(w.exceptions().contains("code ambiguous: ?/7@ by e2"));
    assert!(matches!(batch("?/7"), BatchRef::Code(_)));
}

#[test]
fn a_count_repays_no_overdraft_and_loses_no_customer() {
    // Ruling 1: an overdraft never repaid, also a count above book, is linked from every slice reached by then.
    let mut w = World::default();
    w.receive(0, "A 100", "dock");
    w.run(10, "1", "A 100 @dock", "F 100 @line");
    w.ship(20, "SH", "F 60 @gate", "C1");
    w.count(30, "F 0", "gate");
    assert_eq!(w.book(Bounds::ALL), "F@line 100, F@transit:SH 60");
    assert_eq!(w.slices("A"), "A@dock F@gate? F@line F@transit:SH?");
    // An adjustment upwards is no flow either.
    let mut adjusted = World::default();
    adjusted.receive(0, "A 100", "dock");
    adjusted.run(10, "1", "A 100 @dock", "F 100 @line");
    adjusted.adjust(15, "F", "8", "gate");
    adjusted.ship(20, "SH", "F 8 @gate", "C1");
    assert_eq!(adjusted.slices("A"), "A@dock F@gate? F@line F@transit:SH?");
}

#[test]
fn what_repays_an_overdraft_counts_from_the_start_of_the_negative_interval() {
    // Ruling 1: also the part that repays a later outflow of it.
    let mut w = World::default();
    w.receive(0, "A 5, B 10", "dock");
    w.ship(10, "SH1", "F 10 @gate", "C1");
    w.ship(20, "SH2", "F 5 @gate", "C2");
    w.run(30, "1", "B 10 @dock", "F 10 @gate");
    w.run(40, "2", "A 5 @dock", "F 5 @gate");
    assert_eq!(w.slices("A"), "A@dock F@gate F@transit:SH1? F@transit:SH2?");
    // Nobody knows how much an unknown inflow repays.
    let mut unknown = World::default();
    unknown.receive(0, "A 5", "dock");
    unknown.ship(10, "SH1", "F 10 @gate", "C1");
    unknown.run(40, "2", "A 5 @dock", "F ? @gate");
    assert_eq!(unknown.slices("A"), "A@dock F@gate F@transit:SH1?");
}

#[test]
fn a_slice_reached_by_what_repaid_it_is_reached_by_then() {
    // Ruling 1: "from every slice of the same batch reached by then"; the line is reached from 10 on.
    let mut w = World::default();
    w.receive(0, "A 100", "dock");
    w.run(10, "2", "F 10 @line", "G 10 @x");
    w.ship(20, "SH2", "F 10 @gate", "C2");
    w.run(30, "1", "A 100 @dock", "F 100 @line");
    assert_eq!(w.slices("A"), "A@dock F@gate? F@line F@transit:SH2? G@x?");
}

#[test]
fn only_what_is_new_in_the_book_pays_what_left_unplaced() {
    let mut w = World::default();
    // Rulings 2 and 29: counted is counted.
    w.ship(10, "SH1", "G 5", "C1");
    w.count(20, "G 10", "dock");
    assert_eq!(w.book(Bounds::ALL), "G@dock 10, G@transit:SH1 5, G@unplaced -5");
    // Ruling 5: what was seen is there.
    let mut w = World::default();
    w.ship(10, "SH1", "K 60", "C1");
    w.see(20, "K 40", "dock");
    assert_eq!(w.book(Bounds::ALL), "K@dock 40, K@transit:SH1 60, K@unplaced -60");
    // Scenario 12: C1 returns 20, in quarantine there are 20.
    let mut w = World::default();
    w.sell(10, "J 60", "C1");
    w.give_back(20, "J 20", "C1", "quarantine");
    assert_eq!(w.book(Bounds::ALL), "J@party:C1 40, J@quarantine 20, J@unplaced -60");
    // What left arrives elsewhere inside: it is the same.
    let mut w = World::default();
    let to = Some(Destination::Location(LocationId::parse("south").unwrap()));
    let shipment = ShipmentId::parse("SH").unwrap();
    w.tell(10, Fact::Shipped { shipment: shipment.clone(), to, lines: lines("H 60"), containers: Vec::new() });
    let receipt = |lines| Fact::Received {
        lines,
        containers: Vec::new(),
        from: None,
        shipment: Some(shipment.clone()),
        by: None,
        to: place("south"),
    };
    let mut whole = w.clone();
    w.tell(20, receipt(lines("H 60")));
    assert_eq!(w.book(Bounds::ALL), "H@south 60, H@unplaced -60");
    // Nothing named is the whole shipment.
    whole.tell(20, receipt(Vec::new()));
    assert_eq!(whole.book(Bounds::ALL), "H@south 60, H@unplaced -60");
}

#[test]
fn all_that_is_reached_from_an_assumed_slice_is_assumed() {
    // Ruling 4: A 10 @x, A 10 @y; "A 5 seen @z".
    let mut w = World::default();
    w.receive(0, "A 10", "x");
    w.receive(1, "A 10", "y");
    w.see(10, "A 5", "z");
    w.go(20, "A 3 @z", "w");
    w.go(30, "A 2 @x", "v");
    assert_eq!(w.book(Bounds::ALL), "A@v 2, A@w 3~, A@x 3~, A@y 10, A@z 2~");
    w.ship(40, "SH", "A 3 @w", "C1");
    assert_eq!(w.book(Bounds::ALL), "A@transit:SH 3~, A@v 2, A@x 3~, A@y 10, A@z 2~");
}

#[test]
fn behind_a_zero_of_a_disturbed_book_it_stays_possible() {
    // Ruling 23: "with a negative, ambiguous or counted difference on the path it stays possible".
    let mut w = World::default();
    w.receive(0, "A1 10, A2 10", "dock");
    w.run(10, "1", "A1 10 @dock", "B 10 @line");
    w.ship(20, "SH1", "B 10 @line", "C1");
    w.run(30, "2", "A2 10 @dock", "B 10 @line");
    w.ship(40, "SH2", "B 5 @line", "C2");
    w.count(50, "B 3", "line");
    w.ship(60, "SH3", "B 2 @line", "C3");
    assert_eq!(w.slices("A1"), "A1@dock B@line B@sink:adjustment? B@transit:SH1 B@transit:SH2- B@transit:SH3?");
    let rows = w.naive().recall(&batch("A1"), Bounds::ALL);
    assert!(!rows[&(name("B"), "line".to_owned())].cleared, "1 is left, and was counted otherwise");
    // Overdrawn: less than nothing was left.
    let mut negative = World::default();
    negative.receive(0, "A1 10, A2 20", "dock");
    negative.run(10, "1", "A1 10 @dock", "B 10 @line");
    negative.ship(20, "SH1", "B 12 @line", "C1");
    negative.run(30, "2", "A2 20 @dock", "B 20 @line");
    negative.ship(40, "SH2", "B 5 @line", "C2");
    assert_eq!(negative.slices("A1"), "A1@dock B@line B@transit:SH1 B@transit:SH2?");
    assert_eq!(negative.slices("A2"), "A2@dock B@line B@transit:SH1? B@transit:SH2");
}

#[test]
fn what_a_record_names_is_taken_as_named() {
    // Ruling 18, and 16: the total stays in less out throughout.
    let mut w = World::default();
    w.receive(0, "A 10, B 10", "dock");
    w.fill(10, "A 10 @dock, B 10 @dock", "V");
    w.go(20, "A 13 @vessel:V", "line");
    let moved = w.events.last().unwrap().1.id.clone();
    assert_eq!(w.book(Bounds::ALL), "A@line 13, A@vessel:V -3, B@vessel:V 10");
    let total = |w: &World| w.settled().vessel_total(&VesselId::parse("V").unwrap()).into_values().next().unwrap();
    assert_eq!(total(&w), exact("7"));
    assert_eq!(
        w.exceptions().into_iter().collect::<Vec<_>>(),
        [format!("vessel has less of it: A@vessel:V by {moved}")],
        "and no negative slice besides"
    );
    let mut drawn = w.clone();
    let draw = drawn.draw(30, "V", "X 8 @line");
    assert_eq!(total(&drawn), exact("-1"));
    assert!(drawn.exceptions().contains(&format!("vessel overdrawn: X@vessel:V by {draw}")));
    // What comes later pays it.
    w.receive(25, "A 5", "dock");
    w.fill(30, "A 5 @dock", "V");
    assert_eq!(w.book(Bounds::ALL), "A@line 13, A@vessel:V 2, B@vessel:V 10");
    assert_eq!(total(&w), exact("12"));
}

#[test]
fn one_statement_fills_one_layer() {
    // Ruling 18: layers keep (batch, fill), from however many slices a fill was taken; ruling 19 splits by them.
    let mut w = World::default();
    w.receive(0, "A 0.000000003", "x");
    w.receive(1, "A 0.000000003", "y");
    w.receive(2, "B 0.000000004, C 9.99999999", "dock");
    w.fill(10, "A 0.000000006, B 0.000000004 @dock, C 9.99999999 @dock", "V");
    let draw = w.draw(20, "V", "X 1 @line");
    assert_eq!(content(&w, &draw)[0], ("A".to_owned(), "1/1000000000".to_owned()), "six tenths are most");
}

#[test]
fn a_missing_flow_may_have_left_before_the_slice_was_empty() {
    // Ruling 1: linked from every slice reached by then; the line was reached, though by the book it is empty.
    let mut w = World::default();
    w.receive(0, "A 10", "dock");
    w.run(10, "1", "A 10 @dock", "F 10 @line");
    w.ship(20, "SH1", "F 10 @line", "C1");
    w.ship(30, "SH2", "F 5 @gate", "C2");
    assert_eq!(w.slices("A"), "A@dock F@gate? F@line F@transit:SH1 F@transit:SH2?");
}
