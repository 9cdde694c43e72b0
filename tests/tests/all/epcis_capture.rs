//! Reading documents: what nobody here wrote, what is malformed, ids and repetitions.

use std::collections::HashSet;

use lotline_domain::fact::Fact;
use lotline_epcis::{CaptureError, DocumentKind, MAX_BYTES, Options, Outcome, parse};

use crate::epcis_data::{capture, data, documents, mapped, options, refusal};

const GOOD: &str = r#"{"type": "ObjectEvent", "eventID": "urn:uuid:1", "eventTime": "2026-03-01T08:00:00+01:00",
  "eventTimeZoneOffset": "+01:00", "action": "ADD", "bizStep": "commissioning",
  "quantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.012345.A", "quantity": 200.5, "uom": "KGM"}]}"#;

#[test]
fn every_document_that_can_be_read_is_read_whole() {
    let Some(data) = data() else { return };
    let (mut read, mut events, mut refused_documents) = (0, 0, Vec::new());
    for path in documents(&data) {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let captured = match parse(&bytes, &options()) {
            Ok(captured) => captured,
            Err(error) => {
                refused_documents.push((name, error));
                continue;
            }
        };
        let refused: Vec<String> = captured.refused().map(ToString::to_string).collect();
        assert!(refused.is_empty(), "{name}: {refused:?}");
        let mapped = captured.events.iter().filter(|event| matches!(event.outcome, Outcome::Mapped(_))).count();
        assert_eq!(captured.events.len(), mapped + captured.duplicates(), "{name}");
        assert_eq!(captured.events.len(), listed(&bytes), "{name}");
        read += 1;
        events += captured.events.len();
    }
    let [(name, error)] = refused_documents.as_slice() else { panic!("{refused_documents:?}") };
    assert!(name.contains("malformed"), "{name}: {error}");
    assert!(matches!(error, CaptureError::Syntax { .. }), "{error}");
    assert!(read >= 50 && events >= 1_080, "{read} documents, {events} events");
}

/// Events of a document, counted in another way than the capture does.
fn listed(bytes: &[u8]) -> usize {
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let body = &document["epcisBody"];
    let list = if body["eventList"].is_array() {
        &body["eventList"]
    } else {
        &body["queryResults"]["resultsBody"]["eventList"]
    };
    list.as_array().unwrap().len()
}

#[test]
fn capturing_twice_gives_the_same_ids_and_contents() {
    let Some(data) = data() else { return };
    for path in documents(&data) {
        let bytes = std::fs::read(&path).unwrap();
        let (Ok(first), Ok(second)) = (parse(&bytes, &options()), parse(&bytes, &options())) else { continue };
        let first: Vec<_> = first.mapped().map(|mapped| (mapped.content, mapped.events.clone())).collect();
        let second: Vec<_> = second.mapped().map(|mapped| (mapped.content, mapped.events.clone())).collect();
        assert_eq!(first, second, "{}", path.display());
    }
}

#[test]
fn events_without_id_get_one_each_from_their_content() {
    let Some(data) = data() else { return };
    let bytes = std::fs::read(data.join("epcis-932/events.json")).unwrap();
    let captured = parse(&bytes, &options()).unwrap();
    let ids: HashSet<String> = captured.mapped().map(|mapped| mapped.id.to_string()).collect();
    assert_eq!((captured.events.len(), ids.len(), captured.duplicates()), (932, 932, 0));
    assert!(ids.iter().all(|id| id.starts_with("urn:lotline:blake3:") && id.len() == 83));
    // Its pallets have random check digits: taken as printed, and told.
    let remarks = captured.mapped().flat_map(|mapped| &mapped.remarks).count();
    assert!(remarks >= 200, "{remarks} remarks");
}

#[test]
fn a_repeated_event_is_found_and_a_contradiction_refused() {
    let Some(data) = data() else { return };
    let bytes = std::fs::read(data.join("gdst/EPCISQueryDocument_duplicate_eventIDs.jsonld")).unwrap();
    let captured = parse(&bytes, &options()).unwrap();
    assert_eq!((captured.kind, captured.events.len(), captured.duplicates()), (DocumentKind::QueryDocument, 2, 1));
    assert!(matches!(captured.events[1].outcome, Outcome::Duplicate { of: 0 }));

    let other = GOOD.replace("200.5", "200.50");
    assert_eq!(capture(&format!("[{GOOD}, {other}]")).unwrap().duplicates(), 1);
    let other = GOOD.replace("200.5", "200.4");
    let captured = capture(&format!("[{GOOD},\n{other}]")).unwrap();
    let refused: Vec<String> = captured.refused().map(ToString::to_string).collect();
    let expected = "[1] (line 4, column 1): event id \"urn:uuid:1\" is that of [0] too, with other content";
    assert_eq!(refused, [expected]);
}

#[test]
fn the_declared_error_in_the_old_notation_is_a_correction() {
    let Some(data) = data() else { return };
    let bytes = std::fs::read(data.join("gdst/EPCISQUERYDOCUMENT_with_errorDeclarations.jsonld")).unwrap();
    let captured = parse(&bytes, &options()).unwrap();
    let corrections: Vec<String> = captured
        .mapped()
        .flat_map(|mapped| &mapped.events)
        .filter_map(|event| match &event.fact {
            Fact::Corrected { target, .. } => Some(format!("{target} at {}", event.occurred_at)),
            _ => None,
        })
        .collect();
    let expected = "urn:uuid:e80e77e0-ae16-4a5c-a5e6-44ff7f26f381 at 2022-10-05T00:37:31-03:00";
    assert_eq!(corrections, [expected]);
}

#[test]
fn lists_single_events_and_documents_are_told_apart() {
    assert_eq!(capture(GOOD).unwrap().kind, DocumentKind::Event);
    assert_eq!(capture(&format!("[{GOOD}]")).unwrap().kind, DocumentKind::List);
    assert_eq!(capture("[]").unwrap().events.len(), 0);
    let document = format!(r#"{{"type": "EPCISDocument", "epcisBody": {{"eventList": [{GOOD}]}}}}"#);
    assert_eq!(capture(&document).unwrap().kind, DocumentKind::Document);
    let marked = format!("\u{feff}{document}");
    assert_eq!(capture(&marked).unwrap().events.len(), 1);
    let query = format!(
        r#"{{"type": "EPCISQueryDocument", "epcisBody": {{"queryResults": {{"resultsBody": {{"eventList": [{GOOD}]}}}}}}}}"#
    );
    assert_eq!(capture(&query).unwrap().kind, DocumentKind::QueryDocument);
}

#[test]
fn the_original_is_kept_to_the_byte() {
    let odd = GOOD.replace("\"action\"", "\"example:x\" :  [1.50,\t\"\\u0041\"],\n\"action\"");
    assert_eq!(mapped(&odd).original, odd);
    assert_eq!(mapped(&format!("[ {odd} ]")).original, odd);
}

#[test]
fn malformed_events_are_refused_with_path_line_and_reason() {
    let cases: &[(&str, &str, &str)] = &[
        (
            r#""uom": "KGM""#,
            r#""uom": "kg""#,
            "quantityList[0].uom (line 3, column 99): unit \"kg\" is no code of UN/ECE Recommendation 20; write KGM",
        ),
        (r#""uom": "KGM""#, r#""uom": "KILO""#, "quantityList[0].uom"),
        (
            r#""uom": "KGM""#,
            r#""uom": 5"#,
            "quantityList[0].uom (line 3, column 99): is a number, and should be a text",
        ),
        ("200.5", "-200.5", "quantityList[0].quantity (line 3, column 85): -200.5 is negative"),
        ("200.5", "\"200.5\"", "quantityList[0].quantity (line 3, column 85): is a text, and should be a number"),
        ("200.5", "0.12345678901", "has more than 9 digits behind the point"),
        ("200.5", "1e300", "quantityList[0].quantity"),
        ("200.5", "true", "is true or false, and should be a number"),
        (
            "+01:00\",\n",
            "\",\n",
            "eventTime (line 1, column 63): \"2026-03-01T08:00:00\" is not a time with its offset",
        ),
        ("2026-03-01T08", "2026-02-30T08", "eventTime"),
        ("\"eventTime\": ", "\"time\": ", "(line 1, column 1): eventTime is missing"),
        (
            "\"+01:00\", \"action\"",
            "\"CET\", \"action\"",
            "eventTimeZoneOffset (line 2, column 26): \"CET\" is not an offset",
        ),
        ("\"action\": \"ADD\",", "", "action is missing"),
        ("\"ADD\"", "\"add\"", "action (line 2, column 46): \"add\" is not one of ADD, OBSERVE, DELETE"),
        ("\"ADD\"", "7", "action"),
        (
            "\"epcClass\": \"urn:epc:class:lgtin:4012345.012345.A\", ",
            "",
            "quantityList[0] (line 3, column 20): epcClass is missing",
        ),
        ("urn:epc:class:lgtin:4012345.012345.A", "\\u0007", "quantityList[0].epcClass"),
        ("[{\"epcClass\"", "{\"x\": [{\"epcClass\"", "quantityList"),
        (
            "\"bizStep\": \"commissioning\"",
            "\"bizStep\": {}",
            "bizStep (line 2, column 64): is an object, and should be a text",
        ),
        ("\"bizStep\": \"commissioning\"", "\"action\": \"OBSERVE\"", "has \"action\" twice"),
        ("\"bizStep\": \"commissioning\"", "\"bizLocation\": {}", "bizLocation (line 2, column 68): id is missing"),
        (
            "\"bizStep\": \"commissioning\"",
            "\"sourceList\": [{\"type\": \"owning_party\"}]",
            "sourceList[0] (line 2, column 68): source is missing",
        ),
        (
            "\"bizStep\": \"commissioning\"",
            "\"epcList\": \"urn:epc:id:sgtin:0614141.107346.2018\"",
            "epcList (line 2, column 64): is a text, and should be a list",
        ),
        ("\"bizStep\": \"commissioning\"", "\"epcList\": [5]", "epcList[0] (line 2, column 65): is a number"),
        (
            "\"bizStep\": \"commissioning\"",
            "\"errorDeclaration\": {\"reason\": \"x\"}",
            "errorDeclaration (line 2, column 73): declarationTime is missing",
        ),
        (
            "\"urn:uuid:1\"",
            "\"\\ud800\"",
            "eventID (line 1, column 36): is a text, and should be a text without broken escapes",
        ),
        ("\"ObjectEvent\"", "\"AggregationEvent\"", "parentID is missing"),
        ("\"ObjectEvent\"", "\"ThingEvent\"", "type (line 1, column 10): \"ThingEvent\" is not one of"),
    ];
    let mut wrong = Vec::new();
    for (old, new, expected) in cases {
        let text = GOOD.replacen(old, new, 1);
        let text = if *new == "{\"x\": [{\"epcClass\"" { format!("{text}}}") } else { text };
        assert_ne!(text, GOOD, "{old} is not in the sample");
        let refusal = refusal(&text);
        if !refusal.contains(expected) {
            wrong.push(format!("{old} -> {new}\n  said     {refusal}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refused_event_does_not_touch_its_neighbours() {
    let bad = GOOD.replace("KGM", "QQQ").replace("uuid:1", "uuid:2");
    let last = GOOD.replace("uuid:1", "uuid:3");
    let document = format!(r#"{{"type": "EPCISDocument", "epcisBody": {{"eventList": [{GOOD}, {bad}, 17, {last}]}}}}"#);
    let captured = capture(&document).unwrap();
    let refused: Vec<String> = captured.refused().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("epcisBody.eventList[1].quantityList[0].uom (line 5, column"), "{refused:?}");
    assert!(refused[1].starts_with("epcisBody.eventList[2] (line 5, column"), "{refused:?}");
    assert!(refused[1].ends_with("is a number, and should be an object"), "{refused:?}");
    assert_eq!(captured.mapped().count(), 2);
}

#[test]
fn unreadable_documents_are_refused_whole_with_their_place() {
    let said = |text: &str| capture(text).unwrap_err().to_string();
    assert_eq!(said(""), "the document is not JSON: (line 1, column 1): EOF while parsing a value");
    let cut =
        format!("{{\"type\": \"EPCISDocument\",\n \"epcisBody\": {{\"eventList\": [{GOOD},\n  {{\"type\": oops}}]}}}}");
    let error = said(&cut);
    assert!(error.starts_with("the document is not JSON: epcisBody.eventList[1].type (line 5, column"), "{error}");
    assert!(said(&GOOD[..200]).contains("EOF while parsing"));
    assert!(said("{} {}").contains("trailing characters"));
    assert!(said("17").contains("is a number, and should be an object"));
    assert!(said("{}").starts_with("the document is not EPCIS: (line 1, column 1)"), "{}", said("{}"));
    let foreign = said(r#"{"type": "Invoice", "epcisBody": {}}"#);
    assert!(foreign.contains("type (line 1, column 10): \"Invoice\" is not one of EPCISDocument"), "{foreign}");
    assert!(said(r#"{"type": "EPCISDocument"}"#).contains("epcisBody is missing"));
    assert!(
        said(r#"{"type": "EPCISDocument", "epcisBody": {}}"#)
            .contains("epcisBody (line 1, column 40): eventList is missing")
    );
    assert!(
        said(r#"{"type": "EPCISDocument", "epcisBody": {"eventList": {}}}"#)
            .contains("is an object, and should be a list")
    );
    let error = parse(b"[\"\xff\"]", &options()).unwrap_err();
    assert_eq!(error, CaptureError::NotUtf8 { at: 2 });
}

#[test]
fn a_document_above_the_limit_is_refused_before_it_is_looked_at() {
    let limited = Options { max_bytes: 100, ..options() };
    let error = parse(&[b'?'; 101], &limited).unwrap_err();
    assert_eq!(error, CaptureError::TooLarge { size: 101, limit: 100 });
    assert_eq!(error.to_string(), "the document has 101 bytes, and 100 are allowed; capture it in parts");
    assert_eq!(options().max_bytes, MAX_BYTES);
}

#[test]
fn hostile_nesting_is_an_error_and_no_crash() {
    let deep = "[".repeat(100_000);
    let error = capture(&deep).unwrap_err();
    assert!(matches!(error, CaptureError::Syntax { .. }) && error.to_string().len() < 1_000, "{error}");
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let said: Vec<String> = capture(&closed).unwrap().refused().map(ToString::to_string).collect();
    assert!(said[0].contains("is a list, and should be an object"), "{said:?}");
    let inside = GOOD.replace("\"commissioning\"", &format!("\"commissioning\", \"x\": {closed}"));
    assert!(refusal(&inside).contains("is nested more than 64 levels deep"));
}

#[test]
fn writings_of_one_thing_map_to_one_name() {
    let urn = mapped(GOOD);
    let link =
        mapped(&GOOD.replace("urn:epc:class:lgtin:4012345.012345.A", "https://example.com/01/04012345123456/10/A"));
    assert_eq!(urn.events, link.events);
    assert_eq!(urn.content, link.content);
}

#[test]
fn of_two_ids_the_last_counts_and_it_is_told() {
    let two = mapped(&GOOD.replace("\"action\"", "\"eventID\": \"urn:uuid:2\", \"action\""));
    assert_eq!(two.id.as_str(), "urn:uuid:2");
    assert_eq!(two.remarks.len(), 1, "{:?}", two.remarks);
}

#[test]
fn quantities_are_exact_and_may_be_unknown() {
    let line = |text: &str| match &mapped(text).events[0].fact {
        Fact::Received { lines, .. } => lines[0].quantity.map(|quantity| quantity.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(line(&GOOD.replace("200.5", "55.791865200")), Some("55.7918652 KGM".into()));
    assert_eq!(line(&GOOD.replace("200.5", "2.5e2")), Some("250 KGM".into()));
    assert_eq!(line(&GOOD.replace(r#", "uom": "KGM""#, "")), Some("200.5 C62".into()));
    assert_eq!(line(&GOOD.replace(r#""quantity": 200.5, "#, "")), None);
    assert_eq!(line(&GOOD.replace("200.5", "null")), None);
}

#[test]
fn the_time_has_the_offset_of_the_event() {
    let at = |text: &str| mapped(text).events[0].occurred_at.to_string();
    assert_eq!(at(GOOD), "2026-03-01T08:00:00+01:00");
    let utc = GOOD.replace("08:00:00+01:00", "07:00:00.0000000Z");
    assert_eq!(at(&utc), "2026-03-01T08:00:00+01:00");
    assert_eq!(at(&utc.replace(r#""eventTimeZoneOffset": "+01:00","#, "")), "2026-03-01T07:00:00Z");
}

#[test]
fn damaged_documents_are_refused_or_read_and_never_a_crash() {
    let text = format!(r#"{{"type": "EPCISDocument", "epcisBody": {{"eventList": [{GOOD}, {GOOD}]}}}}"#);
    let (mut refused, mut read) = (0, 0);
    for at in 0..text.len() {
        for damage in [b'"', b'}', b']', b'0', b'-', b'\\', 0xff, b'\n', b'{'] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = damage;
            match parse(&bytes, &options()) {
                Ok(captured) => {
                    assert_eq!(captured.events.len(), 2);
                    read += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        assert!(parse(&text.as_bytes()[..at], &options()).is_err(), "cut at {at}");
    }
    assert!(refused > 1_000 && read > 1_000, "{refused} refused, {read} read");
}
