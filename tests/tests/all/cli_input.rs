//! Bad input: one clear message with its place and what to do, and nothing half recorded.

use lotline_ledger::{Entry, Key, LedgerId, Micros, Options, OsStorage, Writer};
use serde_json::Value;
use tempfile::tempdir;

use super::cli_binary::{batch, feed, lotline, received, run, verified_events};

fn line(fields: &str) -> String {
    format!(r#"{{"type":"received","id":"bad","source":"erp","occurred_at":"2026-03-01T08:00:00+01:00",{fields}}}"#)
}

fn quantity(quantity: &str) -> String {
    line(&format!(r#""lines":[{{"batch":"M1","quantity":{quantity}}}],"to":"dock""#))
}

/// Submits a good line, a bad one, a good one: the bad one is refused with its line and place, the others are recorded.
#[track_caller]
fn refused(bad: &str, path: Option<&str>, message: &str) {
    let folder = tempdir().expect("a folder");
    let good = [received("a", &batch("milk", "M1"), "10"), received("b", &batch("milk", "M2"), "20")];
    let said = feed(folder.path(), &["submit"], &format!("{}\n{bad}\n{}\n", good[0], good[1]));
    assert_eq!(said.code, 3, "{said:?}");
    let answers = said.lines();
    assert_eq!(answers.len(), 3, "one answer per line: {said:?}");
    assert_eq!(answers[0]["answer"], "recorded");
    assert_eq!(answers[1]["answer"], "refused", "{said:?}");
    assert_eq!(answers[1]["line"], 2);
    assert_eq!(answers[1]["path"], path.map_or(Value::Null, Into::into), "{}", answers[1]);
    let told = answers[1]["message"].as_str().expect("a message");
    assert!(told.contains(message), "{told}");
    assert_eq!(answers[2]["answer"], "recorded");
    assert_eq!(verified_events(folder.path()), 2);
}

#[test]
fn malformed_json_is_refused_with_its_line() {
    refused(r#"{"type":"received","#, None, "is not JSON");
    refused("five pallets of milk", None, "is not JSON");
}

#[test]
fn a_wrong_type_is_refused_with_its_place() {
    refused(&line(r#""lines":"M1","to":"dock""#), Some("lines"), "invalid type");
    refused(&line(r#""lines":[{"batch":7}],"to":"dock""#), Some("lines[0].batch"), "batch");
}

#[test]
fn a_unit_that_is_none_is_refused_with_the_one_that_is_meant() {
    refused(&quantity(r#"{"value":"1","unit":"KG"}"#), Some("lines[0].quantity.unit"), "perhaps KGM is meant");
    refused(
        &quantity(r#"{"value":"1","unit":"kg"}"#),
        Some("lines[0].quantity.unit"),
        "\"kg\" is no code of UN/ECE Recommendation 20; write KGM",
    );
    refused(&quantity(r#"{"value":"1","unit":"stone"}"#), Some("lines[0].quantity.unit"), "Recommendation 20");
}

#[test]
fn a_negative_quantity_is_refused() {
    refused(&quantity(r#"{"value":"-1","unit":"KGM"}"#), Some("lines[0].quantity"), "-1 is negative");
}

#[test]
fn a_time_without_offset_is_refused_with_one_that_would_do() {
    let bad = r#"{"type":"received","source":"erp","occurred_at":"2026-03-01T08:00:00","lines":[{"batch":"M1"}],"to":"dock"}"#;
    refused(bad, Some("occurred_at"), "2026-03-01T08:00:00+01:00");
}

#[test]
fn a_day_or_an_offset_that_is_none_is_refused_as_that() {
    let bad = |time: &str| line(r#""lines":[{"batch":"M1"}],"to":"dock""#).replace("2026-03-01T08:00:00+01:00", time);
    refused(&bad("2026-02-30T08:00:00Z"), Some("occurred_at"), "there is no day 2026-02-30");
    refused(&bad("2026-03-01T08:00:00+25:00"), Some("occurred_at"), "the offset +25:00 is out of range");
    refused(&bad("2026-03-01T08:00:60Z"), Some("occurred_at"), "second 60 is refused");
}

#[test]
fn a_fact_that_says_nothing_or_of_a_place_that_is_none_is_refused() {
    refused(&line(r#""lines":[],"to":"dock""#), Some("lines"), "so that nothing happened");
    refused(&line(r#""lines":[{"batch":"M1"}],"to":"sink:loss""#), Some("to"), "is a sink, where nothing lies");
}

#[test]
fn an_unknown_field_is_refused_by_its_name() {
    refused(&line(r#""lines":[{"batch":"M1","qty":1}],"to":"dock""#), Some("lines[0].qty"), "qty");
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_next_one_is_read() {
    let long = line(&format!(r#""lines":[{{"batch":"{}"}}],"to":"dock""#, "x".repeat(5 << 20)));
    refused(&long, None, "longer than");
}

#[test]
fn a_code_that_fits_two_batches_lists_them() {
    let folder = tempdir().expect("a folder");
    let lines = [received("a", &batch("milk", "L1"), "10"), received("b", &batch("cream", "L1"), "20")].join("\n");
    assert_eq!(feed(folder.path(), &["submit"], &lines).code, 0);
    for arguments in
        [&["recall", "L1"][..], &["trace", "L1", "--back"], &["history", "L1"], &["on-hand", "--batch", "L1"]]
    {
        let said = run(folder.path(), arguments);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains("fits 2 batches"), "{said:?}");
        assert!(said.err.contains("cream/L1") && said.err.contains("milk/L1"), "{said:?}");
    }
    let said = run(folder.path(), &["on-hand", "--batch", "milk/L1", "--json"]);
    assert_eq!(said.json()["rows"][0]["quantity"]["value"], "10", "the full name is exact: {said:?}");
}

const EVENT: &str = r#"{"type":"ObjectEvent","action":"OBSERVE","bizStep":"receiving","eventTime":"TIME","eventTimeZoneOffset":"+01:00","readPoint":{"id":"urn:epc:id:sgln:0614141.07346.0"},"extension":{},"quantityList":[{"epcClass":"urn:epc:class:lgtin:4012345.012345.CODE","quantity":QUANTITY,"uom":"UNIT"}]}"#;

fn event(code: &str, quantity: &str, unit: &str) -> String {
    EVENT
        .replace("\"extension\":{},", "")
        .replace("TIME", "2026-03-01T08:00:00+01:00")
        .replace("CODE", code)
        .replace("QUANTITY", quantity)
        .replace("UNIT", unit)
}

fn document(events: &[String]) -> String {
    format!(
        r#"{{"@context":"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld","type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-03-01T09:00:00Z","epcisBody":{{"eventList":[
{}]}}}}"#,
        events.join(",\n")
    )
}

#[test]
fn a_document_with_a_bad_event_is_recorded_not_at_all_or_as_far_as_it_is_good() {
    let folder = tempdir().expect("a folder");
    let text =
        document(&[event("A", "1", "KGM"), event("B", "-1", "KGM"), event("C", "1", "stone"), event("D", "4", "KGM")]);
    std::fs::write(folder.path().join("mixed.json"), &text).expect("written");
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10")).code, 0);

    let said = run(folder.path(), &["capture", "mixed.json"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("mixed.json: line 3: epcisBody.eventList[1]"), "{said:?}");
    assert!(said.err.contains("mixed.json: line 4: epcisBody.eventList[2]"), "{said:?}");
    assert!(said.err.contains("--on-error proceed"), "{said:?}");
    assert_eq!(verified_events(folder.path()), 1, "nothing of it is recorded");

    let said = run(folder.path(), &["capture", "mixed.json", "--on-error", "proceed", "--csv"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.out.contains("mixed.json,4,0,2,0,0,2,"), "{said:?}");
    assert_eq!(verified_events(folder.path()), 3, "exactly the good ones are recorded");

    let again = run(folder.path(), &["capture", "mixed.json", "--on-error", "proceed", "--csv"]);
    assert!(again.out.contains("mixed.json,4,0,0,2,0,2,"), "{again:?}");
    assert_eq!(verified_events(folder.path()), 3, "a repetition records nothing");
}

#[test]
fn a_document_that_is_no_json_is_refused_before_a_folder_is_made() {
    let folder = tempdir().expect("a folder");
    std::fs::write(folder.path().join("cut.json"), &document(&[event("A", "1", "KGM")])[..300]).expect("written");
    let said = run(folder.path(), &["capture", "cut.json"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("cut.json: the document is not JSON"), "{said:?}");
    assert!(!folder.path().join("lotline-data").exists());
}

#[test]
fn a_document_of_200_megabytes_is_refused_unread_with_what_to_do() {
    let folder = tempdir().expect("a folder");
    let file = std::fs::File::create(folder.path().join("huge.json")).expect("created");
    file.set_len(200 << 20).expect("a hole");
    let said = run(folder.path(), &["capture", "huge.json"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("huge.json: the document has 209715200 bytes, and 67108864 are allowed"), "{said:?}");
    assert!(said.err.contains("split it, or raise --max-bytes"), "{said:?}");
}

#[test]
fn a_large_document_needs_proceed_and_the_message_says_so() {
    let folder = tempdir().expect("a folder");
    let events: Vec<String> = (0..4_200).map(|number| event(&format!("L{number}"), "1", "KGM")).collect();
    std::fs::write(folder.path().join("large.json"), document(&events)).expect("written");
    let said = run(folder.path(), &["capture", "large.json"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("4096") && said.err.contains("proceed"), "{said:?}");
    assert_eq!(verified_events(folder.path()), 0, "nothing was written");
    let said = run(folder.path(), &["capture", "large.json", "--on-error", "proceed", "--csv"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(verified_events(folder.path()), 4_200);
}

#[test]
fn a_folder_in_use_is_named_with_what_to_do() {
    let folder = tempdir().expect("a folder");
    let ledger = folder.path().join("lotline-data/ledger");
    let writer = Writer::create(OsStorage::shared(), &ledger, LedgerId::new([7; 16]), Options::default());
    let writer = writer.expect("a ledger");
    let said = feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10"));
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("lotline-data/ledger is in use"), "{said:?}");
    assert!(said.err.contains("wait for it, or stop it"), "{said:?}");
    drop(writer);
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10")).code, 0);
}

#[test]
fn reading_needs_no_lock() {
    let folder = tempdir().expect("a folder");
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10")).code, 0);
    let ledger = folder.path().join("lotline-data/ledger");
    let writer = Writer::open(OsStorage::shared(), ledger, Options::default()).expect("the lock");
    let said = run(folder.path(), &["on-hand", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.json()["rows"][0]["quantity"]["value"], "10");
    drop(writer);
}

#[test]
fn what_a_newer_program_wrote_is_not_guessed_at() {
    let folder = tempdir().expect("a folder");
    let ledger = folder.path().join("lotline-data/ledger");
    let mut writer =
        Writer::create(OsStorage::shared(), ledger, LedgerId::new([7; 16]), Options::default()).expect("a ledger");
    let entry = Entry::new([Key::new([1; 16])], &[0xff, 0xfe, 1, 2, 3]).expect("an entry");
    writer.append(Micros::new(1_000), &[entry]).expect("appended");
    drop(writer);
    let said = run(folder.path(), &["on-hand"]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.err.contains("position 0") && said.err.contains("use a newer program"), "{said:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempdir().expect("a folder");
    let lines: Vec<String> = (0..40_000)
        .map(|number| received(&format!("e{number}"), &batch("milk", &format!("M{number}")), "10"))
        .collect();
    std::fs::write(folder.path().join("lines.jsonl"), lines.join("\n")).expect("written");
    assert_eq!(feed(folder.path(), &["submit"], &received("first", &batch("milk", "first"), "1")).code, 0);
    // A file may grow to 6 MB, and no further.
    let said =
        super::cli_binary::shell(folder.path(), "trap '' XFSZ; ulimit -f 12000; exec \"$LOTLINE\" submit lines.jsonl");
    assert_eq!(said.code, 7, "{}", said.err);
    let answers = said.lines();
    let recorded = answers.iter().filter(|answer| answer["answer"] == "recorded").count() as u64;
    let refused = answers.iter().find(|answer| answer["answer"] == "failed").expect("one that did not fit");
    assert!(refused["message"].as_str().is_some_and(|told| told.contains("disk is full")), "{refused}");
    assert!(recorded > 0, "{answers:?}");
    let stopped = format!("lines.jsonl: stopped after line {}", answers.len());
    assert!(said.err.contains(&stopped), "{stopped}: {}", said.err);
    assert_eq!(verified_events(folder.path()), recorded + 1, "what was acknowledged, and no more");
    // With room again all of it goes in, and what was there is told as such.
    let said = run(folder.path(), &["submit", "lines.jsonl"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let again = said.lines().iter().filter(|answer| answer["answer"] == "duplicate").count() as u64;
    assert_eq!(again, recorded);
    assert_eq!(verified_events(folder.path()), 40_001);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempdir().expect("a folder");
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10")).code, 0);
    let mut child = std::process::Command::new(lotline(folder.path(), &[]).get_program())
        .args(["on-hand", "--json"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
