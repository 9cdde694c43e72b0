//! An intent that passes overdraws nothing: neither itself nor what was known to follow it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lotline_domain::book::{BatchIx, Book, FactIx, PlaceIx};
use lotline_domain::command::{Body, Command, Mode, Recorded};
use lotline_domain::decide::decide;
use lotline_domain::fact::{CleanGrade, Fact};
use lotline_domain::id::Place;
use lotline_domain::settle::{Exception, ExceptionKind, Settler};
use lotline_domain::time::{CommitNo, Position, RecordedAt};
use lotline_testkit::property::cases;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

use crate::handler_plant::{command, instant, line, line_at, moved, received, shipped};

const NOW: &str = "2026-03-10T12:00:00Z";

fn place() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("dock"), Just("hall"), Just("bin-1"), Just("bin-2"), Just("container:P1")]
}

/// A line with or without its source.
fn some() -> impl Strategy<Value = String> {
    let from = prop_oneof![1 => Just(None), 2 => place().prop_map(Some)];
    (prop_oneof![4 => Just("F1"), 1 => Just("F2")], 1..12u32, from).prop_map(|(batch, kilograms, from)| {
        let kilograms = kilograms.to_string();
        from.map_or_else(|| line(batch, &kilograms), |from| line_at(batch, &kilograms, from))
    })
}

fn coming() -> impl Strategy<Value = String> {
    (prop_oneof![Just("F1"), Just("F2")], 5..40u32, prop_oneof![Just("dock"), Just("bin-1"), Just("bin-2")])
        .prop_map(|(batch, kilograms, to)| received(&line(batch, &kilograms.to_string()), to))
}

fn fact() -> impl Strategy<Value = String> {
    let count = (1..20u32, place()).prop_map(|(kilograms, at)| {
        format!(r#""type":"counted","at":"{at}","lines":[{}]"#, line("F1", &kilograms.to_string()))
    });
    let seen = (1..12u32, prop_oneof![Just("dock"), Just("hall"), Just("bin-1")]).prop_map(|(kilograms, at)| {
        format!(r#""type":"seen","at":"{at}","lines":[{}]"#, line("F1", &kilograms.to_string()))
    });
    prop_oneof![
        6 => coming(),
        5 => (some(), prop_oneof![Just("bin-1"), Just("bin-2"), Just("line-1")]).prop_map(|(some, to)| moved(&some, to)),
        5 => (some(), some()).prop_map(|(one, two)| shipped(&format!("{one},{two}"), "SH-1")),
        4 => some().prop_map(|some| shipped(&some, "SH-1")),
        2 => some().prop_map(|some| format!(r#""type":"packed","container":"P1","lines":[{some}]"#)),
        2 => some().prop_map(|some| format!(r#""type":"disposed","sink":"loss","lines":[{some}]"#)),
        1 => Just(r#""type":"unpacked","container":"P1","to":"dock""#.to_owned()),
        1 => Just(r#""type":"delivered","shipment":"SH-1","to":"C1""#.to_owned()),
        1 => (1..12u32).prop_map(|kilograms| {
            format!(r#""type":"returned","from":"C1","to":"dock","lines":[{}]"#, line("F1", &kilograms.to_string()))
        }),
        2 => (1..12u32).prop_map(|kilograms| format!(
            r#""type":"vessel_drawn","vessel":"S1","batch":{{"item":"X","code":"X1"}},"quantity":{{"value":"{kilograms}","unit":"KGM"}},"to":"line-1""#
        )),
        2 => some().prop_map(|some| format!(r#""type":"vessel_filled","vessel":"S1","lines":[{some}]"#)),
        1 => count,
        1 => seen,
    ]
}

fn recorded(n: u64, command: &Command) -> Recorded {
    Recorded {
        position: Position(n),
        commit: CommitNo(n + 1),
        recorded_at: RecordedAt(instant(NOW)),
        body: Body::Fact { mode: command.mode, event: command.event.clone(), decided_on: None },
    }
}

type Slice = (ExceptionKind, Option<BatchIx>, Option<PlaceIx>);

/// How short each slice and vessel ever is, the doubts about one fact, and the doubts about others.
fn shortages(book: &Book, of: Option<FactIx>) -> (BTreeMap<Slice, i128>, Vec<Exception>, Vec<Exception>) {
    let settler = Settler::new(book, book.head());
    let unplaced = book.find_place(&Place::Unplaced);
    let mut depths: BTreeMap<Slice, i128> = BTreeMap::new();
    let (mut doubts, mut others) = (Vec::new(), Vec::new());
    let mut add = |exception: Exception| match exception.kind {
        ExceptionKind::Negative | ExceptionKind::ReturnedNeverSent | ExceptionKind::VesselOverdrawn => {
            let depth = depths.entry((exception.kind, exception.batch, exception.place)).or_default();
            *depth = (*depth).max(exception.amount.unwrap_or(1));
        }
        ExceptionKind::SourceUnknown if exception.place == unplaced => {
            let depth = depths.entry((exception.kind, exception.batch, exception.place)).or_default();
            *depth = (*depth).max(exception.amount.unwrap_or(1));
        }
        ExceptionKind::SourceUnknown | ExceptionKind::SourceAmbiguous | ExceptionKind::QuantityUnknown
            if Some(exception.cause) == of =>
        {
            doubts.push(exception);
        }
        ExceptionKind::SourceAmbiguous | ExceptionKind::SourceUnknown => others.push(exception),
        _ => {}
    };
    for at in 0..book.batch_count() {
        let batch = BatchIx(u32::try_from(at).expect("few batches"));
        settler.settle(batch, i64::MAX).exceptions.into_iter().for_each(&mut add);
    }
    if let Some(vessel) = Place::parse("vessel:S1").ok().and_then(|vessel| book.find_place(&vessel)) {
        let settlement = |batch| Cow::Owned(settler.settle(batch, i64::MAX));
        settler.vessel(vessel, i64::MAX, CleanGrade(1), &settlement).exceptions.into_iter().for_each(&mut add);
    }
    (depths, doubts, others)
}

proptest! {
    #![proptest_config(cases(400, 20_000))]

    #[test]
    fn an_intent_that_passes_makes_no_shortage(
        happened in proptest::collection::vec((any::<bool>(), 0..30u32, fact()), 4..28),
    ) {
        let mut book = Book::new();
        let tree = [r#""type":"place_defined","place":"bin-1","parent":"hall""#, r#""type":"place_defined","place":"bin-2","parent":"hall""#];
        let mut n = 0;
        let mut packed: Vec<u32> = Vec::new();
        for fact in tree {
            book.apply(&recorded(n, &command("observation", &format!("T{n}"), "01T00:00:00", fact)));
            n += 1;
        }
        for (intent, minute, fact) in happened {
            // Counts and sightings say what is so; they may well show that something is missing.
            let report = fact.contains("counted") || fact.contains("seen");
            let mode = if intent && !report { "intent" } else { "observation" };
            let command = command(mode, &format!("E{n}"), &format!("09T10:{minute:02}:00"), &fact);
            if decide(&book, &command, instant(NOW)).is_err() {
                continue;
            }
            let (before, _, _) = shortages(&book, None);
            book.apply(&recorded(n, &command));
            n += 1;
            let is_packing = matches!(command.event.fact, Fact::Packed { .. });
            let first_packing = is_packing && packed.iter().all(|at| *at >= minute);
            if is_packing {
                packed.push(minute);
            }
            if command.mode == Mode::Intent {
                let fact = book.find_fact(&command.event.id).expect("applied just now");
                let (after, doubts, others) = shortages(&book, Some(fact));
                prop_assert!(doubts.is_empty(), "{command:?}\nleaves in doubt {doubts:?}");
                // Packed for the first time, and earlier than was known, a container stands elsewhere than its later
                // facts say: they are at odds with it, whatever it took.
                if first_packing {
                    continue;
                }
                // What only comes in takes nothing. That later facts without a source are settled from there is
                // theirs: what they took up to now is short by less, what they leave may be short by more.
                if matches!(command.event.fact, Fact::Received { .. }) {
                    continue;
                }
                for (slice, depth) in &after {
                    // A later fact whose own source is in doubt may be picked from elsewhere now.
                    if others.iter().any(|other| other.batch == slice.1 && other.at >= command.event.occurred_at.instant.0) {
                        continue;
                    }
                    let had = before.get(slice).copied().unwrap_or(0);
                    prop_assert!(*depth <= had, "{command:?}\nmakes {slice:?} short by {depth}, it was {had}");
                }
            }
        }
    }
}
