//! What an intent may do. Each case is decided twice: purely, on the whole book, and by a handler that was just
//! opened and loads what the intent touches.

use lotline_domain::book::Book;
use lotline_domain::command::{Body, Command, Recorded, Rejection};
use lotline_domain::decide::decide;
use lotline_domain::time::{CommitNo, Position, RecordedAt};
use lotline_handler::Outcome;

use crate::handler_plant::{create, instant, intended, line, line_at, moved, observed, open, received, shipped};

const NOW: &str = "2026-03-10T12:00:00Z";

/// What happened: day and time in March 2026, and the fact.
type Happened<'a> = &'a [(&'a str, String)];

fn book_of(commands: &[Command]) -> Book {
    let mut book = Book::new();
    for (at, command) in commands.iter().enumerate() {
        book.apply(&Recorded {
            position: Position(at as u64),
            commit: CommitNo(at as u64 + 1),
            recorded_at: RecordedAt(instant(NOW)),
            body: Body::Fact { mode: command.mode, event: command.event.clone(), decided_on: None },
        });
    }
    book
}

/// Decides an intent after what happened; both ways have to agree.
fn decided(happened: Happened<'_>, at: &str, intent: &str) -> Result<(), Rejection> {
    let facts: Vec<Command> =
        happened.iter().enumerate().map(|(n, (at, fact))| observed(&format!("E{n}"), at, fact)).collect();
    let intent = intended("I1", at, intent);
    let pure = decide(&book_of(&facts), &intent, instant(NOW));

    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    for answer in handler.proceed(facts.into_iter().map(Into::into)) {
        assert!(answer.expect("answered").stands());
    }
    handler.close().expect("closed");
    let loaded = match open(dir.path()).submit(intent).expect("answered") {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected { rejection, .. } => Err(rejection),
        other => panic!("neither yes nor no: {other:?}"),
    };
    assert_eq!(loaded, pure, "the handler decides as the whole book does");
    pure
}

#[track_caller]
fn passes(happened: Happened<'_>, at: &str, intent: &str) {
    let answer = decided(happened, at, intent);
    assert!(answer.is_ok(), "{answer:?}");
}

#[track_caller]
fn refused(word: &str, happened: Happened<'_>, at: &str, intent: &str) -> Rejection {
    let no = decided(happened, at, intent).expect_err("it is to be refused");
    assert_eq!(no.rule.word(), word, "{no:?}");
    no
}

/// F/`batch` comes to the dock on the ninth at eight.
fn came(batch: &str, kilograms: &str) -> (&'static str, String) {
    ("09T08:00:00", received(&line(batch, kilograms), "dock"))
}

fn produced(run: &str, inputs: &str, outputs: &str) -> String {
    format!(r#""type":"produced","run":"{run}","inputs":[{inputs}],"outputs":[{outputs}],"completed":true"#)
}

fn held(batch: &str) -> String {
    format!(r#""type":"held","hold":"H1","batch":{{"item":"F","code":"{batch}"}}"#)
}

#[test]
fn what_nobody_knows_cannot_be_taken() {
    refused("unknown-batch", &[came("F1", "50")], "09T09:00:00", &shipped(&line("F2", "1"), "SH-1"));
    refused("unknown-batch", &[], "09T09:00:00", &held("F2"));
    passes(&[], "09T09:00:00", &received(&line("F2", "1"), "dock"));
}

#[test]
fn a_bare_code_that_fits_two_batches_is_refused_with_both() {
    let two = [
        came("F1", "50"),
        (
            "09T08:00:00",
            received(r#"{"batch":{"item":"G","code":"F1"},"quantity":{"value":"5","unit":"KGM"}}"#, "dock"),
        ),
    ];
    let bare = r#"{"batch":"F1","quantity":{"value":"1","unit":"KGM"}}"#;
    let no = refused("ambiguous-code", &two, "09T09:00:00", &shipped(bare, "SH-1"));
    assert!(format!("{no:?}").contains("candidates"), "{no:?}");
    passes(&two[..1], "09T09:00:00", &shipped(bare, "SH-1"));
}

#[test]
fn no_more_than_there_is_can_be_taken_by_all_lines_together() {
    let happened = [came("F1", "50")];
    passes(&happened, "09T09:00:00", &shipped(&line_at("F1", "50", "dock"), "SH-1"));
    let no = refused("not-enough", &happened, "09T09:00:00", &shipped(&line_at("F1", "50.001", "dock"), "SH-1"));
    assert_eq!(no.place.map(|place| place.to_string()), Some("dock".to_owned()));
    let both = format!("{},{}", line_at("F1", "30", "dock"), line_at("F1", "30", "dock"));
    refused("not-enough", &happened, "09T09:00:00", &shipped(&both, "SH-1"));
    refused("not-enough", &happened, "09T09:00:00", &moved(&line_at("F1", "1", "gate"), "line-1"));
    refused("not-enough", &happened, "09T07:00:00", &shipped(&line("F1", "1"), "SH-1"));
}

#[test]
fn what_a_known_later_fact_needs_is_not_there_for_the_taking() {
    let happened = [came("F1", "50"), ("09T20:00:00", shipped(&line_at("F1", "40", "dock"), "SH-1"))];
    passes(&happened, "09T10:00:00", &moved(&line_at("F1", "10", "dock"), "line-1"));
    refused("not-enough", &happened, "09T10:00:00", &moved(&line_at("F1", "11", "dock"), "line-1"));
}

#[test]
fn a_named_place_includes_its_sub_places_and_containers() {
    let mut happened = vec![
        ("01T00:00:00", r#""type":"place_defined","place":"bin-1","parent":"hall""#.to_owned()),
        ("01T00:00:00", r#""type":"place_defined","place":"hall""#.to_owned()),
        ("09T08:00:00", received(&line("F1", "50"), "bin-1")),
    ];
    passes(&happened, "09T09:00:00", &shipped(&line_at("F1", "50", "hall"), "SH-1"));
    happened.push((
        "09T08:30:00",
        format!(r#""type":"packed","container":"P1","lines":[{}]"#, line_at("F1", "20", "bin-1")),
    ));
    passes(&happened, "09T09:00:00", &shipped(&line_at("F1", "50", "hall"), "SH-1"));
    passes(&happened, "09T09:00:00", &shipped(&line_at("F1", "20", "container:P1"), "SH-1"));
    refused("not-enough", &happened, "09T09:00:00", &shipped(&line_at("F1", "21", "container:P1"), "SH-1"));
    let no = refused("ambiguous-source", &happened, "09T09:00:00", &shipped(&line_at("F1", "40", "hall"), "SH-1"));
    assert!(format!("{no:?}").contains("bin-1"), "{no:?}");
}

#[test]
fn several_places_need_a_name_unless_they_hold_just_what_is_wanted() {
    let happened = [came("F1", "10"), ("09T08:10:00", received(&line("F1", "10"), "gate"))];
    // The second receipt has a supplier, so it moves nothing away from the dock.
    refused("ambiguous-source", &happened, "09T09:00:00", &shipped(&line("F1", "5"), "SH-1"));
    passes(&happened, "09T09:00:00", &shipped(&line("F1", "20"), "SH-1"));
    refused("not-enough", &happened, "09T09:00:00", &shipped(&line("F1", "21"), "SH-1"));
    passes(&happened, "09T09:00:00", &shipped(&line_at("F1", "5", "gate"), "SH-1"));
}

#[test]
fn quantities_have_to_be_said_in_a_unit_that_converts() {
    let drums = r#"{"batch":{"item":"F","code":"F1"},"quantity":{"value":"1","unit":"LTR"},"from":"dock"}"#;
    refused("quantity-unknown", &[came("F1", "50")], "09T09:00:00", &shipped(drums, "SH-1"));
    let factor =
        r#""type":"factor_defined","item":"F","one":{"value":"1","unit":"LTR"},"equals":{"value":"0.9","unit":"KGM"}"#;
    let happened = [came("F1", "50"), ("09T08:00:00", factor.to_owned())];
    passes(&happened, "09T09:00:00", &shipped(drums, "SH-1"));
    let too_much = drums.replace(r#""value":"1""#, r#""value":"60""#);
    let no = refused("not-enough", &happened, "09T09:00:00", &shipped(&too_much, "SH-1"));
    assert!(format!("{no:?}").contains("LTR"), "what would fit is said in the unit that was asked in: {no:?}");
    let unsaid = r#"{"batch":{"item":"F","code":"F1"},"from":"dock"}"#;
    refused("quantity-unknown", &[came("F1", "50")], "09T09:00:00", &shipped(unsaid, "SH-1"));
}

#[test]
fn a_hold_forbids_shipping_consuming_and_delivering_and_nothing_else() {
    let happened = [came("F1", "50"), ("09T10:00:00", held("F1"))];
    let at = "09T11:00:00";
    let one = line_at("F1", "1", "dock");
    for intent in [shipped(&one, "SH-1"), produced("R1", &one, &line("G1", "1"))] {
        let no = refused("under-hold", &happened, at, &intent);
        assert!(format!("{no:?}").contains("H1"), "{no:?}");
    }
    let passing = [
        moved(&one, "quarantine"),
        format!(r#""type":"disposed","sink":"sample","lines":[{one}]"#),
        format!(r#""type":"disposed","sink":"destroyed","lines":[{one}]"#),
        format!(r#""type":"split","run":"R1","inputs":[{one}],"outputs":[{}],"completed":true"#, line("F1a", "1")),
        format!(r#""type":"shipped","shipment":"SH-1","to":"party:S","lines":[{one}]"#),
    ];
    for intent in passing {
        passes(&happened, at, &intent);
    }
    let shipped_before = [came("F1", "50"), ("09T09:00:00", shipped(&one, "SH-1")), ("09T10:00:00", held("F1"))];
    refused("under-hold", &shipped_before, at, r#""type":"delivered","shipment":"SH-1","to":"C1""#);
    let mut released = happened.to_vec();
    released.push(("09T10:30:00", r#""type":"released","hold":"H1""#.to_owned()));
    passes(&released, at, &shipped(&one, "SH-1"));
}

#[test]
fn an_output_inherits_the_hold_of_its_inputs() {
    let made = produced("R1", &line_at("F1", "10", "dock"), &line("G1", "10"));
    let split = format!(
        r#""type":"split","run":"R2","inputs":[{}],"outputs":[{}],"completed":true"#,
        line("G1", "10"),
        line("G1a", "10")
    );
    let mut happened =
        vec![came("F1", "50"), ("09T09:00:00", made), ("09T09:30:00", split), ("09T10:00:00", held("F1"))];
    refused("under-hold", &happened, "09T11:00:00", &shipped(&line("G1a", "1"), "SH-1"));
    happened.push(("09T10:00:00", r#""type":"policy_set","holds_pass_runs":false"#.to_owned()));
    passes(&happened, "09T11:00:00", &shipped(&line("G1a", "1"), "SH-1"));
}

#[test]
fn a_pallet_with_held_goods_does_not_leave() {
    let happened = [
        came("F1", "50"),
        came("F2", "50"),
        (
            "09T08:30:00",
            format!(r#""type":"packed","container":"P1","lines":[{},{}]"#, line("F1", "10"), line("F2", "10")),
        ),
        ("09T08:40:00", r#""type":"packed","container":"P2","containers":["P1"],"at":"dock""#.to_owned()),
        ("09T10:00:00", held("F2")),
    ];
    let ship = r#""type":"shipped","shipment":"SH-1","to":"party:C1","containers":["P2"]"#;
    refused("under-hold", &happened, "09T11:00:00", ship);
    passes(&happened[..4], "09T11:00:00", ship);
    refused("unknown-place", &happened, "09T11:00:00", &ship.replace("P2", "P9"));
    passes(&happened, "09T11:00:00", r#""type":"container_moved","containers":["P2"],"to":"quarantine""#);
}

#[test]
fn intents_are_not_dated_in_the_future() {
    refused("future-date", &[came("F1", "50")], "10T12:00:01", &shipped(&line("F1", "1"), "SH-1"));
    passes(&[came("F1", "50")], "10T12:00:00", &shipped(&line("F1", "1"), "SH-1"));
}

#[test]
fn corrections_need_a_known_target_and_releases_a_hold() {
    passes(&[came("F1", "50")], "10T09:00:00", r#""type":"corrected","target":"E0","correction":"void""#);
    refused(
        "unknown-target",
        &[came("F1", "50")],
        "10T09:00:00",
        r#""type":"corrected","target":"E9","correction":"void""#,
    );
    let mut happened = vec![came("F1", "50"), ("09T10:00:00", held("F1"))];
    let by_id = r#""type":"released","hold":"H1""#;
    let by_batch = r#""type":"released","batch":{"item":"F","code":"F1"}"#;
    refused("nothing-to-release", &happened[..1], "10T09:00:00", by_id);
    refused("nothing-to-release", &happened[..1], "10T09:00:00", by_batch);
    passes(&happened, "10T09:00:00", by_id);
    passes(&happened, "10T09:00:00", by_batch);
    happened.push(("09T11:00:00", by_id.to_owned()));
    refused("nothing-to-release", &happened, "10T09:00:00", by_id);
    refused("nothing-to-release", &happened, "10T09:00:00", by_batch);
}

#[test]
fn containers_shipments_and_vessels_have_to_be_known_and_hold_what_is_asked() {
    let happened = [
        came("F1", "50"),
        ("09T08:30:00", format!(r#""type":"packed","container":"P1","lines":[{}]"#, line("F1", "10"))),
        ("09T08:40:00", format!(r#""type":"vessel_filled","vessel":"S1","lines":[{}]"#, line_at("F1", "30", "dock"))),
    ];
    let at = "09T09:00:00";
    refused("unknown-place", &happened, at, r#""type":"unpacked","container":"P9""#);
    passes(&happened, at, r#""type":"unpacked","container":"P1""#);
    refused("unknown-place", &happened, at, r#""type":"delivered","shipment":"SH-9","to":"C1""#);
    let draw = |vessel: &str, kilograms: &str| {
        format!(
            r#""type":"vessel_drawn","vessel":"{vessel}","batch":{{"item":"X","code":"X1"}},"quantity":{{"value":"{kilograms}","unit":"KGM"}},"to":"line-1""#
        )
    };
    passes(&happened, at, &draw("S1", "30"));
    refused("not-enough", &happened, at, &draw("S1", "30.5"));
    refused("unknown-place", &happened, at, &draw("S9", "1"));
    refused("not-enough", &happened, "09T08:39:00", &draw("S1", "1"));
}

#[test]
fn a_closed_run_takes_no_more_and_an_open_one_does() {
    let half = format!(r#""type":"produced","run":"R1","inputs":[{}]"#, line_at("F1", "10", "dock"));
    let open = [came("F1", "50"), ("09T09:00:00", half.clone())];
    passes(&open, "09T10:00:00", &half);
    let closed = [came("F1", "50"), ("09T09:00:00", format!(r#"{half},"completed":true"#))];
    refused("run-closed", &closed, "09T10:00:00", &half);
}

#[test]
fn what_was_never_sent_does_not_come_back() {
    let happened = [
        came("F1", "50"),
        ("09T09:00:00", shipped(&line_at("F1", "20", "dock"), "SH-1")),
        ("09T10:00:00", r#""type":"delivered","shipment":"SH-1","to":"C1""#.to_owned()),
    ];
    let back = |kilograms: &str| {
        format!(r#""type":"returned","from":"C1","to":"quarantine","lines":[{}]"#, line("F1", kilograms))
    };
    passes(&happened, "09T11:00:00", &back("20"));
    refused("never-sent", &happened, "09T11:00:00", &back("21"));
    refused("never-sent", &happened[..1], "09T11:00:00", &back("1"));
}

#[test]
fn what_was_corrected_is_decided_as_corrected() {
    let voided =
        [came("F1", "50"), ("09T09:00:00", r#""type":"corrected","target":"E0","correction":"void""#.to_owned())];
    refused("unknown-batch", &voided, "10T09:00:00", &shipped(&line("F1", "1"), "SH-1"));
    let less = format!(
        r#""type":"corrected","target":"E0","correction":{{"supersede":{{"occurred_at":"2026-03-09T08:00:00Z","fact":{{{}}}}}}}"#,
        received(&line("F1", "5"), "dock")
    );
    let superseded = [came("F1", "50"), ("09T09:00:00", less)];
    passes(&superseded, "10T09:00:00", &shipped(&line("F1", "5"), "SH-1"));
    refused("not-enough", &superseded, "10T09:00:00", &shipped(&line("F1", "6"), "SH-1"));
}

#[test]
fn observations_pass_however_inconvenient() {
    let inconvenient = observed("O1", "20T00:00:00", &shipped(&line("F9", "1000"), "SH-1"));
    assert_eq!(decide(&Book::new(), &inconvenient, instant(NOW)), Ok(()));
}
