//! Expiry dates, from what a document or a line says to what the command line answers.

use lotline_domain::expiry::Expires;
use lotline_domain::fact::{Fact, Line};
use lotline_domain::id::{LocationId, Place};
use lotline_handler::{Outcome, Submission};
use lotline_projections::Question;
use lotline_testkit::naive::{Bounds, Naive};
use lotline_wire::command::{parse_command, print_command};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::cli_binary::{feed, run};
use super::engine;
use super::epcis_data::mapped;
use super::handler_plant::{accepted, create};
use super::naive_world::{World, line, party};

const PLACES: &str = r#"{"type":"place_defined","id":"p1","occurred_at":"2026-03-01T06:00:00Z","place":"berlin","time_zone":"Europe/Berlin"}
{"type":"place_defined","id":"p2","occurred_at":"2026-03-01T06:00:00Z","place":"york","time_zone":"America/New_York"}
"#;

fn received(id: &str, code: &str, to: &str, expires: &str) -> String {
    let expires = if expires.is_empty() { String::new() } else { format!(r#","expires":"{expires}""#) };
    format!(
        r#"{{"type":"received","id":"{id}","occurred_at":"2026-03-01T08:00:00Z","from":"farm","to":"{to}","lines":[{{"batch":{{"item":"curd","code":"{code}"}},"quantity":{{"value":"5","unit":"KGM"}}{expires}}}]}}"#
    ) + "\n"
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["rows"].as_array().expect("rows").iter().filter_map(|row| row["batch"]["code"].as_str()).collect()
}

fn said<'a>(answer: &'a Value, kind: &str) -> Option<&'a str> {
    let said = answer["said"].as_array()?.iter().find(|said| said["kind"] == kind)?;
    said["message"].as_str()
}

#[test]
fn on_hand_tells_dates_and_filters_by_the_clock_of_the_place() {
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let input = [
        PLACES,
        &received("r1", "B", "berlin", "2026-03-28"),
        &received("r2", "Y", "york", "2026-03-28"),
        &received("r3", "Z", "shed", "2026-03-28"),
        &received("r4", "M", "york", "2026-03-29T10:00:00+02:00"),
        &received("r5", "N", "york", ""),
    ]
    .concat();
    let told = feed(folder, &["submit", "--dir", "plant", "--source", "erp"], &input);
    assert_eq!(told.code, 0, "{told:?}");
    let ask = |more: &[&str]| run(folder, &[&["on-hand", "--dir", "plant"], more].concat());

    let all = ask(&["--json"]).json();
    let expires = |code: &str| {
        let rows = all["rows"].as_array().expect("rows");
        rows.iter().find(|row| row["batch"]["code"] == code).expect("a row")["expires"].clone()
    };
    let day = "2026-03-28";
    assert_eq!(
        expires("B"),
        json!({"told": day, "day": day, "at": "2026-03-28T23:00:00Z", "time_zone": "Europe/Berlin", "event": "r1"})
    );
    assert_eq!(expires("Y")["at"], "2026-03-29T04:00:00Z");
    assert_eq!((&expires("Z")["time_zone"], &expires("Z")["zone_unknown"]), (&json!("UTC"), &json!(true)));
    assert_eq!(expires("M")["told"], "2026-03-29T10:00:00+02:00");
    assert_eq!((&expires("M")["at"], &expires("M")["day"]), (&json!("2026-03-29T08:00:00Z"), &json!("2026-03-29")));
    assert!(expires("N").is_null());
    assert_eq!(said(&all, "time-zone-unknown"), Some("no time zone is known of shed: days end there by UTC"));
    assert_eq!(said(&all, "no-expiry"), None, "nothing was left out");

    // A day begins where the goods are, a moment is the same everywhere.
    for (before, found) in [
        ("2026-03-28", vec![]),
        ("2026-03-29", vec!["B", "Y", "Z"]),
        ("2026-03-30", vec!["B", "M", "Y", "Z"]),
        ("2026-03-29T00:00:00Z", vec!["B", "Z"]),
        ("2026-03-29T04:00:00Z", vec!["B", "Y", "Z"]),
    ] {
        let answer = ask(&["--expires-before", before, "--json"]).json();
        assert_eq!(codes(&answer), found, "{before}");
        let left_out = said(&answer, "no-expiry").expect("what has no date is named");
        assert_eq!(left_out, "nobody told until when curd/N is good: not among these rows");
    }
    let none = ask(&["--expires-before", "2026-03-28"]);
    assert_eq!((none.code, none.out.starts_with("Nothing.")), (0, true), "nothing found: {none:?}");

    let csv = ask(&["--csv", "--item", "curd"]);
    let header = csv.out.lines().next().expect("a header");
    let column = |name: &str| header.split(',').position(|field| field == name).expect(name);
    let of_b: Vec<&str> = csv.out.lines().find(|line| line.contains("curd/B")).expect("a row").split(',').collect();
    assert_eq!((of_b[column("expires")], of_b[column("expires at")]), (day, "2026-03-28T23:00:00Z"));
    let table = ask(&[]).out;
    assert!(table.contains("time zone unknown") && table.contains("2026-03-29T04:00:00Z"), "{table}");

    let bad = ask(&["--expires-before", "29.03.2026"]);
    assert_eq!(bad.code, 3, "{bad:?}");
    assert!(bad.err.contains("--expires-before: \"29.03.2026\" is no expiry date; write a day such as"), "{bad:?}");
}

#[test]
fn facts_that_differ_are_one_exception_that_names_them() {
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let input = [
        PLACES,
        &received("r1", "B", "berlin", "2026-03-28"),
        &received("r2", "B", "york", "2026-03-27"),
        &received("r3", "B", "york", "2026-03-28"),
    ]
    .concat();
    assert_eq!(feed(folder, &["submit", "--dir", "plant", "--source", "erp"], &input).code, 0);
    let answer = run(folder, &["exceptions", "--dir", "plant", "--json"]).json();
    let [row] = answer["rows"].as_array().expect("rows").as_slice() else { panic!("{answer}") };
    assert_eq!((&row["kind"], &row["cause"], &row["state"]), (&json!("expiry differs"), &json!("r2"), &json!("open")));
    assert_eq!(
        row["detail"],
        "curd/B is told to be good until 2026-03-28 by r1, 2026-03-27 by r2, 2026-03-28 by r3; what is over first counts"
    );
    let answer = run(folder, &["on-hand", "--dir", "plant", "--json"]).json();
    for row in answer["rows"].as_array().expect("rows") {
        assert_eq!((&row["expires"]["told"], &row["expires"]["event"]), (&json!("2026-03-27"), &json!("r2")));
    }
}

#[test]
fn bad_dates_and_zones_are_refused_with_their_place() {
    let line = r#"{"type":"received","id":"E","source":"s","occurred_at":"2026-03-01T08:00:00Z","to":"d","lines":[{"batch":"A","expires":"DATE"}]}"#;
    let output = r#"{"type":"split","id":"E","source":"s","occurred_at":"2026-03-01T08:00:00Z","run":"R","outputs":[{"batch":"A","expires":"DATE"}]}"#;
    let place = r#"{"type":"place_defined","id":"E","source":"s","occurred_at":"2026-03-01T08:00:00Z","place":"d","time_zone":"DATE"}"#;
    let moved = r#"{"type":"moved","id":"E","source":"s","occurred_at":"2026-03-01T08:00:00Z","to":"d","lines":[{"batch":"A","expires":"2026-12-01"}]}"#;
    for (text, value, at, told) in [
        (
            line,
            "2026-02-30",
            "lines[0].expires",
            "there is no day 2026-02-30; the last one of that month is 2026-02-28",
        ),
        (line, "2026-12-01T10:00:00", "lines[0].expires", "a time with its offset, such as 2026-12-01T12:00:00+01:00"),
        (output, "tomorrow", "outputs[0].expires", "write a day such as 2026-12-01"),
        (place, "europe/berlin", "time_zone", "write \"Europe/Berlin\", if that is meant"),
        (place, "CET+1", "time_zone", "is no time zone of the IANA database"),
        (moved, "", "lines[0]", "unknown field `expires`"),
    ] {
        let error = parse_command(&text.replace("DATE", value)).expect_err(value).to_string();
        assert!(error.contains(at) && error.contains(told), "{value}: {error}");
    }
}

/// An event with an ilmd, or goods of its own.
fn document(ilmd: &str, class: &str) -> String {
    format!(
        r#"{{"type":"ObjectEvent","eventID":"urn:uuid:1","eventTime":"2026-03-01T08:00:00+01:00","eventTimeZoneOffset":"+01:00",
            "action":"ADD","bizStep":"commissioning","ilmd":{{{ilmd}}},
            "quantityList":[{{"epcClass":"{class}","quantity":20,"uom":"KGM"}}]}}"#
    )
}

const LGTIN: &str = "urn:epc:class:lgtin:4012345.012345.998877";

fn date_of(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Received { lines, .. } => lines[0].expires.map(|expires: Expires| expires.to_string()),
        Fact::Produced(report) => report.outputs[0].expires.map(|expires| expires.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_examples_of_the_page_tell_the_dates_that_it_says() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/epcis-mapping.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, section) = page.split_once("## Expiry dates").expect("its section");
    let (section, _) = section.split_once("\n## ").expect("the next one");
    let mut count = 0;
    for line in section.lines().filter(|line| line.starts_with("| ilmd") || line.starts_with("| identifier")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [told_in, example, date] = cells[..] else { panic!("{line}") };
        let example = example.trim_matches('`');
        let event = mapped(&if told_in == "ilmd" { document(example, LGTIN) } else { document("", example) });
        assert_eq!(event.row, "object-add");
        let found = date_of(&event.events[0].fact);
        assert_eq!(found.as_deref(), (!date.starts_with("none")).then_some(date), "{line}");
        let remark = event.remarks.iter().any(|remark| remark.text.contains("no expiry date is taken"));
        assert_eq!(remark, date.ends_with("with a remark"), "{line}: {:?}", event.remarks);
        count += 1;
    }
    assert_eq!(count, 14);
}

#[test]
fn what_is_no_date_is_told_and_the_event_taken_all_the_same() {
    for (value, told) in [
        (
            r#""2026-02-30""#,
            "there is no day 2026-02-30; the last one of that month is 2026-02-28; no expiry date is taken",
        ),
        (r#""2026-12-01T10:00:00""#, "no expiry date is taken"),
        ("20261201", "a number is no expiry date; no expiry date is taken"),
    ] {
        let event = mapped(&document(&format!(r#""cbvmda:itemExpirationDate":{value}"#), LGTIN));
        assert_eq!(date_of(&event.events[0].fact), None, "{value}");
        assert!(event.remarks.iter().any(|remark| remark.text.contains(told)), "{:?}", event.remarks);
    }
}

/// What was recorded before zones were looked up may be any text.
#[test]
fn a_zone_that_does_not_exist_counts_as_none() {
    let mut world = World::default();
    let define = |place: &str, parent: Option<&str>, zone: &str| Fact::PlaceDefined {
        place: LocationId::parse(place).expect("a name"),
        parent: parent.map(|parent| LocationId::parse(parent).expect("a name")),
        time_zone: Some(zone.to_owned()),
        name: None,
    };
    world.tell(0, define("site", None, "Europe/Berlin"));
    world.tell(0, define("dock", Some("site"), "Mars/Base"));
    world.tell(0, define("shed", None, "Mars/Base"));
    let dated = |place: &str| Fact::Received {
        lines: vec![Line { expires: Some(Expires::parse("2026-12-01").expect("a day")), ..line("A 5") }],
        containers: Vec::new(),
        from: Some(party("S")),
        shipment: None,
        by: None,
        to: Place::parse(place).expect("a place"),
    };
    world.tell(60, dated("dock"));
    world.tell(60, dated("shed"));
    let book = engine::book(&world.events);
    let question = Question::new(&book, engine::all(&book));
    let found: Vec<String> = engine::on_hand(&question).into_values().map(|row| row.5).collect();
    assert_eq!(
        found,
        ["2026-12-01 until 2026-12-01T23:00:00Z in Europe/Berlin", "2026-12-01 until 2026-12-02T00:00:00Z in UTC",]
    );
    let naive = Naive::new(world.events.clone()).on_hand(Bounds::ALL);
    assert_eq!(naive.into_values().map(|balance| balance.expires).collect::<Vec<_>>(), found);
}

#[test]
fn what_identifies_goods_may_tell_their_date() {
    let ilmd = r#""cbvmda:itemExpirationDate":"2026-12-31""#;
    for (class, expected) in [
        ("(01)00614141777778(17)261201(10)987", "2026-12-01"),
        ("(01)00614141777778(15)261200(10)987", "2026-12-31"),
        ("https://id.gs1.org/01/00614141777778/10/987?17=261130", "2026-11-30"),
        (LGTIN, "2026-12-31"),
    ] {
        let event = mapped(&document(ilmd, class));
        assert_eq!(date_of(&event.events[0].fact).as_deref(), Some(expected), "{class}");
    }
    let event = mapped(&document("", "(01)00614141777778(17)260231(10)987"));
    assert_eq!(date_of(&event.events[0].fact), None);
    assert!(event.remarks.iter().any(|remark| remark.text.contains("no expiry date is taken")), "{:?}", event.remarks);

    // A receipt and an output have it, what is only seen or moved on has not.
    let shipped = document(ilmd, LGTIN).replace("ADD", "OBSERVE").replace("commissioning", "receiving");
    assert_eq!(date_of(&mapped(&shipped).events[0].fact).as_deref(), Some("2026-12-31"));
    let run = format!(
        r#"{{"type":"TransformationEvent","eventID":"urn:uuid:2","eventTime":"2026-03-01T08:00:00Z","eventTimeZoneOffset":"+01:00",
            "inputQuantityList":[{{"epcClass":"{LGTIN}","quantity":10,"uom":"KGM"}}],"ilmd":{{{ilmd}}},
            "outputQuantityList":[{{"epcClass":"urn:epc:class:lgtin:4012345.022222.B","quantity":9,"uom":"KGM"}}]}}"#
    );
    assert_eq!(date_of(&mapped(&run).events[0].fact).as_deref(), Some("2026-12-31"));
    let seen = document(ilmd, LGTIN).replace("ADD", "OBSERVE").replace("commissioning", "storing");
    let Fact::Noted { .. } = &mapped(&seen).events[0].fact else { panic!("no place: history") };
}

#[test]
fn an_event_captured_before_dates_were_read_is_the_same_event() {
    let dir = tempdir().expect("a folder");
    let handler = create(dir.path());
    let event = mapped(&document(r#""cbvmda:itemExpirationDate":"2026-12-01""#, LGTIN));
    let command = |fact: &Fact| {
        let event = lotline_domain::fact::Event { fact: fact.clone(), ..event.events[0].clone() };
        lotline_domain::command::Command { mode: lotline_domain::command::Mode::Observation, event }
    };
    let dated = event.events[0].fact.clone();
    let mut undated = dated.clone();
    assert!(undated.forget_expiries());
    let unknown = event.content.to_vec();
    let original = event.original.clone().into_bytes();
    // As the first version of the mapping told it.
    let first = Submission::epcis(command(&undated), 1, original.clone(), unknown.clone());
    let receipt = accepted(handler.submit(first));
    let again = Submission::epcis(command(&dated), 2, original.clone(), unknown);
    let Ok(Outcome::Duplicate { first, rejection: None }) = handler.submit(again) else { panic!("a duplicate") };
    assert_eq!(first.position, receipt.position);
    // Another content of the event is another one; so is a date that a native command adds.
    let other = Submission::epcis(command(&dated), 2, original, vec![7; 32]);
    assert!(matches!(handler.submit(other), Ok(Outcome::Conflict { .. })));
    let native = |expires: &str| {
        parse_command(
            received("n", "N", "dock", expires).trim().replace("{\"type\"", "{\"source\":\"erp\",\"type\"").as_str(),
        )
    };
    accepted(handler.submit(native("").expect("a command")));
    let command = native("2026-12-01").expect("a command");
    assert!(print_command(&command).contains(r#""expires":"2026-12-01""#));
    assert!(matches!(handler.submit(command), Ok(Outcome::Conflict { .. })));
}
