//! Holds and shipments that race for the same goods (scenario 8).

use std::borrow::Cow;

use lotline_domain::command::{Body, Rule};
use lotline_domain::fact::Fact;
use lotline_domain::settle::{ExceptionKind, Settler};
use lotline_handler::Outcome;
use lotline_ledger::Reader;

use crate::handler_plant::{
    accepted, book, create, intended, line, line_at, observed, open, received, recorded, refused, shipped,
};

fn hold(id: &str, batch: &str) -> String {
    format!(r#""type":"held","hold":"{id}","batch":{{"item":"F","code":"{batch}"}}"#)
}

/// How often something left under hold.
fn shipped_under_hold(reader: &Reader) -> usize {
    let book = book(reader);
    let settler = Settler::new(&book, book.head());
    let settlement = |batch| Cow::Owned(settler.settle(batch, i64::MAX));
    let covers = settler.covers(i64::MAX, &settlement);
    let batches =
        (0..book.batch_count()).map(|at| lotline_domain::book::BatchIx(u32::try_from(at).expect("few batches")));
    batches
        .flat_map(|batch| settler.hold_exceptions(&covers, batch, i64::MAX))
        .filter(|exception| exception.kind == ExceptionKind::ShippedUnderHold)
        .count()
}

#[test]
fn a_hold_that_is_recorded_late_leaves_the_shipment_standing_and_stops_the_next() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let split = format!(
        r#""type":"split","run":"SP1","inputs":[{}],"outputs":[{},{}],"completed":true,"at":"dock""#,
        line("L", "100"),
        line("L1", "40"),
        line("L2", "60")
    );
    accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("L", "100"), "dock"))));
    accepted(handler.submit(observed("S1", "09T09:00:00", &split)));
    accepted(handler.submit(intended("I1", "09T09:30:00", &shipped(&line("L1", "40"), "SH-1"))));
    accepted(handler.submit(observed("I2", "09T10:02:00", &shipped(&line("L2", "5"), "SH-2"))));
    assert_eq!(shipped_under_hold(&handler.reader()), 0);
    // Recorded later, and it holds from ten o'clock on.
    accepted(handler.submit(intended("H1", "09T10:00:00", &hold("HOLD-1", "L"))));
    assert_eq!(shipped_under_hold(&handler.reader()), 1, "the shipment stands, as an exception");
    let refused_now = |id: &str, fact: &str| {
        let rule = refused(handler.submit(intended(id, "09T11:00:00", fact)));
        assert!(matches!(&rule, Rule::UnderHold { holds } if holds[0].as_str() == "HOLD-1"), "{rule:?}");
    };
    refused_now("I3", &shipped(&line("L2", "5"), "SH-3"));
    // Nobody gets around a hold by an earlier date.
    let rule = refused(handler.submit(intended("I4", "09T09:59:00", &shipped(&line("L2", "5"), "SH-3"))));
    assert!(matches!(rule, Rule::UnderHold { .. }), "{rule:?}");
    let sample = format!(r#""type":"disposed","sink":"sample","lines":[{}]"#, line("L2", "1"));
    accepted(handler.submit(intended("I5", "09T11:00:00", &sample)));
    let release = r#""type":"released","batch":{"item":"F","code":"L2"}"#;
    accepted(handler.submit(intended("I6", "09T12:00:00", release)));
    accepted(handler.submit(intended("I7", "09T13:00:00", &shipped(&line("L2", "5"), "SH-3"))));
    refused(handler.submit(intended("I8", "09T13:00:00", release)));
    assert_eq!(shipped_under_hold(&handler.reader()), 1, "what was shipped under hold stays so");
    handler.close().expect("closed");
    // A handler that has just been opened finds the hold on what the goods were made of.
    let handler = open(dir.path());
    accepted(handler.submit(intended("H2", "09T14:00:00", &hold("HOLD-2", "L"))));
    let rule = refused(handler.submit(intended("I9", "09T15:00:00", &shipped(&line("L2", "5"), "SH-4"))));
    assert!(matches!(rule, Rule::UnderHold { .. }), "{rule:?}");
}

#[test]
fn no_shipment_is_recorded_after_the_hold_that_forbids_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "1000"), "dock"))));
    let shipped_before = std::thread::scope(|scope| {
        let shippers: Vec<_> = (0..8)
            .map(|thread| {
                let handler = &handler;
                scope.spawn(move || {
                    let ship = |n: usize| {
                        let fact = shipped(&line_at("F1", "1", "dock"), "SH-1");
                        handler.submit(intended(&format!("I{thread}-{n}"), "09T09:00:00", &fact)).expect("answered")
                    };
                    (0..20).filter(|n| matches!(ship(*n), Outcome::Accepted(_))).count()
                })
            })
            .collect();
        accepted(handler.submit(intended("H1", "09T08:30:00", &hold("HOLD-1", "F1"))));
        shippers.into_iter().map(|thread| thread.join().expect("no panic")).sum::<usize>()
    });
    let all = recorded(&handler.reader());
    let is = |body: &Body, wanted: fn(&Fact) -> bool| matches!(body, Body::Fact { event, .. } if wanted(&event.fact));
    let held = all.iter().position(|one| is(&one.body, |fact| matches!(fact, Fact::Held { .. }))).expect("it was held");
    let shipments = |of: &[lotline_domain::command::Recorded]| {
        of.iter().filter(|one| is(&one.body, |fact| matches!(fact, Fact::Shipped { .. }))).count()
    };
    assert_eq!(shipments(&all[held..]), 0, "nothing leaves after the hold");
    assert_eq!(shipments(&all), shipped_before);
    assert_eq!(all.len(), 2 + 160, "refusals are recorded, too");
}
