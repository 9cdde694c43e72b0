//! The JSON form of commands: strict, exact, and with errors that say where and what.

use lotline_domain::command::Mode;
use lotline_domain::fact::Fact;
use lotline_domain::id::{BatchRef, SourceId};
use lotline_testkit::property::cases;
use lotline_wire::command::{CommandError, Defaults, parse_command, parse_command_with, print_command};
use proptest::prelude::{prop_assert_eq, proptest};

use crate::wire_any;

fn refusal(line: &str) -> CommandError {
    parse_command(line).expect_err("this line is to be refused")
}

/// A `received` line with something in place of its quantity.
fn received(quantity: &str) -> String {
    format!(
        r#"{{"type":"received","id":"E1","source":"erp-1","occurred_at":"2026-03-01T08:00:00+01:00","lines":[{{"batch":"M1","quantity":{quantity}}}],"to":"dock-2"}}"#
    )
}

proptest! {
    #![proptest_config(cases(512, 20_000))]

    #[test]
    fn a_printed_command_reads_back_as_itself(command in wire_any::readable_command()) {
        let line = print_command(&command);
        let read = parse_command(&line).map_err(|error| proptest::test_runner::TestCaseError::fail(format!("{error}\n{line}")))?;
        prop_assert_eq!(&read, &command);
        prop_assert_eq!(print_command(&read), line);
    }

    #[test]
    fn any_text_is_a_command_or_an_error_and_never_a_panic(text in ".{0,80}") {
        let _ = parse_command(&text).map_err(|error| error.to_string());
    }
}

#[test]
fn the_readable_form_reads_as_it_says() {
    let line = r#"{"type":"received","id":"E1","mode":"observation","source":"erp-1","occurred_at":"2026-03-01T08:00:00+01:00","sequence":7,"lines":[{"batch":{"item":"milk","code":"M1","issuer":"farm-7","generation":1},"quantity":{"value":"100","unit":"KGM"},"from":"dock-1"}],"to":"dock-2"}"#;
    let command = parse_command(line).expect("the example of the documentation");
    assert_eq!(command.mode, Mode::Observation);
    assert_eq!(command.event.command.as_str(), "E1", "a command's id defaults to the event's");
    let Fact::Received { lines, to, .. } = &command.event.fact else { panic!("another fact") };
    assert_eq!(lines[0].batch.to_string(), "milk/M1@farm-7");
    assert_eq!(lines[0].quantity.map(|stated| stated.to_string()), Some("100 KGM".to_owned()));
    assert_eq!(to.to_string(), "dock-2");
}

#[test]
fn a_string_is_a_bare_code_and_a_missing_quantity_is_unknown() {
    let line = received("null");
    let command = parse_command(&line).expect("null is nothing");
    let Fact::Received { lines, .. } = command.event.fact else { panic!("another fact") };
    assert!(matches!(&lines[0].batch, BatchRef::Code(code) if code.as_str() == "M1"));
    assert_eq!(lines[0].quantity, None);
}

#[test]
fn a_full_name_is_not_taken_for_a_bare_code() {
    let told = |batch: &str| received("null").replace("\"M1\"", &format!("{batch:?}"));
    for name in [
        "milk/M1",
        "milk/M1@farm",
        "(01)04012345123456(10)L42",
        "URN:epc:id:x",
        "https://id.example/01/04012345123456/10/L42",
    ] {
        let error = parse_command(&told(name)).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("\"item\"") && error.contains("?/"), "{error}");
        // The same as the code itself is written so, and printed so again.
        let command = parse_command(&told(&format!("?/{name}"))).expect(name);
        let Fact::Received { lines, .. } = &command.event.fact else { panic!("another fact") };
        assert!(matches!(&lines[0].batch, BatchRef::Code(code) if code.as_str() == name));
        assert_eq!(parse_command(&print_command(&command)).as_ref(), Ok(&command));
    }
}

#[test]
fn numbers_are_exact_as_numbers_and_as_strings() {
    for (written, kept) in [
        (r#"{"value":0.1,"unit":"KGM"}"#, "0.1 KGM"),
        (r#"{"value":"0.10","unit":"KGM"}"#, "0.1 KGM"),
        (r#"{"value":999999999999998.123456789,"unit":"KGM"}"#, "999999999999998.123456789 KGM"),
        (r#"{"value":1e3,"unit":"KGM"}"#, "1000 KGM"),
        (r#"{"unit":"C62","value":12}"#, "12 C62"),
    ] {
        let command = parse_command(&received(written)).expect(written);
        let Fact::Received { lines, .. } = command.event.fact else { panic!("another fact") };
        assert_eq!(lines[0].quantity.map(|stated| stated.to_string()).as_deref(), Some(kept), "{written}");
    }
}

#[test]
fn bad_quantities_are_refused_with_path_and_reason() {
    for (written, path, reason) in [
        (r#"{"value":"-1","unit":"KGM"}"#, "lines[0].quantity", "-1 is negative"),
        (r#"{"value":-0.5,"unit":"KGM"}"#, "lines[0].quantity", "-0.5 is negative"),
        (r#"{"value":"1","unit":"KG"}"#, "lines[0].quantity.unit", "perhaps KGM is meant"),
        (r#"{"value":"1","unit":"kg"}"#, "lines[0].quantity.unit", "is no code of UN/ECE Recommendation 20; write KGM"),
        (r#"{"value":"1","unit":"pcs"}"#, "lines[0].quantity.unit", "write H87 or C62"),
        (r#"{"value":"1","unit":"CS"}"#, "lines[0].quantity.unit", "was removed from UN/ECE Recommendation 20"),
        (r#"{"value":"1","unit":"stone"}"#, "lines[0].quantity.unit", "not in UN/ECE Recommendation 20"),
        (r#"{"value":"1","unit":5}"#, "lines[0].quantity.unit", "expected unit of UN/ECE"),
        (r#"{"value":"1"}"#, "lines[0].quantity", "missing field `unit`"),
        (
            r#"{"value":"1","unit":"KGM","uom":"x"}"#,
            "lines[0].quantity.uom",
            "unknown field `uom`, expected `value` or `unit`",
        ),
        (r#"{"value":"1_000","unit":"KGM"}"#, "lines[0].quantity.value", "is not a decimal number"),
        (r#"{"value":"0x10","unit":"KGM"}"#, "lines[0].quantity.value", "is not a decimal number"),
        (r#"{"value":"٣","unit":"KGM"}"#, "lines[0].quantity.value", "is not a decimal number"),
        (r#"{"value":true,"unit":"KGM"}"#, "lines[0].quantity.value", "is not a decimal number"),
        (
            r#"{"value":{"$serde_json::private::Number":"1"},"unit":"KGM"}"#,
            "lines[0].quantity.value",
            "is not a decimal number",
        ),
        (r#"{"value":0.1234567891,"unit":"KGM"}"#, "lines[0].quantity", "more than 9 digits behind"),
        (r#"{"value":1e15,"unit":"KGM"}"#, "lines[0].quantity", "more than 15 digits before"),
        (r#"{"value":1e999999999,"unit":"KGM"}"#, "lines[0].quantity.value", "too many digits"),
        (r#"["1","KGM"]"#, "lines[0].quantity", "expected an object"),
        (r#""1 KGM""#, "lines[0].quantity", "expected an object"),
    ] {
        let error = refusal(&received(written));
        assert_eq!(error.path, path, "{written}: {error}");
        assert!(error.to_string().contains(reason), "{written}: {error}");
    }
}

#[test]
fn bad_lines_are_refused_with_path_and_reason() {
    for (line, path, reason) in [
        ("", "", "is not JSON"),
        ("{", "", "is not JSON"),
        (r#"{"type":"moved","#, "", "is not JSON"),
        (r#"{"type":"container_emptied","container":"C","occurred_at":"2026-03-01Z"} x"#, "", "trailing characters"),
        ("[]", "", "has to be an object"),
        (r#"["moved"]"#, "", "has to be an object"),
        ("5", "", "has to be an object"),
        ("{}", "type", "has no type"),
        (r#"{"type":"teleported"}"#, "type", "\"teleported\" is no type; known types: received, produced"),
        (r#"{"type":5}"#, "type", "invalid type"),
        (
            r#"{"type":"moved","occurred_at":"2026-03-01T08:00:00","lines":[],"to":"a"}"#,
            "occurred_at",
            "with its offset",
        ),
        (r#"{"type":"moved","occurred_at":"2026-03-01T08:00:00Z","lines":[],"to":"a"}"#, "lines", "at least one"),
        (
            r#"{"type":"moved","occurred_at":"2026-03-01T08:00:00Z","lines":[["M1"]],"to":"a"}"#,
            "lines[0]",
            "expected an object",
        ),
        (r#"{"type":"moved","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1"}]}"#, "", "missing field `to`"),
        (
            r#"{"type":"moved","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1"}],"to":"a"}"#,
            "source",
            "is missing",
        ),
        (
            r#"{"type":"moved","mode":"intent","source":"s","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1"}],"to":"a"}"#,
            "id",
            "an intent needs an id",
        ),
        (
            r#"{"type":"moved","mode":"wish","source":"s","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1"}],"to":"a"}"#,
            "mode",
            "allowed: intent, observation",
        ),
        (
            r#"{"type":"moved","source":"s","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1","qty":1}],"to":"a"}"#,
            "lines[0].qty",
            "unknown field `qty`, expected one of `batch`, `quantity`",
        ),
        (
            r#"{"type":"moved","source":"s","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1"}],"to":"sink:hole"}"#,
            "to",
            "is no sink",
        ),
        (
            r#"{"type":"moved","source":" s","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1"}],"to":"a"}"#,
            "source",
            "white space",
        ),
        (
            r#"{"type":"moved","source":"s","source":"t","occurred_at":"2026-03-01T08:00:00Z","lines":[{"batch":"M1"}],"to":"a"}"#,
            "",
            "duplicate field",
        ),
        (
            r#"{"type":"delivered","source":"s","occurred_at":"2026-03-01T08:00:00Z","to":"vessel:S1"}"#,
            "to",
            "another kind of place; a party belongs here",
        ),
        (
            r#"{"type":"released","source":"s","occurred_at":"2026-03-01T08:00:00Z"}"#,
            "",
            "exactly one of `hold` and `batch`",
        ),
        (
            r#"{"type":"produced","run":"R","inputs":[{"from":"dock"}],"source":"s","occurred_at":"2026-03-01T08:00:00Z"}"#,
            "inputs[0].batch",
            "drawn from a vessel",
        ),
        (
            r#"{"type":"corrected","target":"E1","correction":{"supersede":{"occurred_at":"2026-03-01T08:00:00Z","fact":{"type":"moved","lines":[{"batch":""}],"to":"a"}}},"source":"s","occurred_at":"2026-03-01T08:00:00Z"}"#,
            "correction.supersede.fact.lines[0].batch",
            "is empty",
        ),
        (
            r#"{"type":"corrected","target":"E1","correction":{"supersede":{"occurred_at":"2026-03-01T08:00:00Z","fact":{"type":"moved","id":"E2","lines":[{"batch":"M"}],"to":"a"}}},"source":"s","occurred_at":"2026-03-01T08:00:00Z"}"#,
            "correction.supersede.fact.id",
            "unknown field `id`",
        ),
    ] {
        let error = refusal(line);
        assert_eq!(error.path, path, "{line}: {error}");
        assert!(error.to_string().contains(reason), "{line}: {error}");
    }
}

/// A command of one type with these fields.
fn command(fields: &str) -> String {
    format!(r#"{{"source":"s","id":"E","occurred_at":"2026-03-01T08:00:00Z",{fields}}}"#)
}

#[test]
fn a_time_that_is_none_is_refused_with_what_is_wrong_about_it() {
    for (time, reason) in [
        ("2026-02-30T08:00:00Z", "there is no day 2026-02-30; the last one of that month is 2026-02-28"),
        ("2026-02-30+01:00", "there is no day 2026-02-30"),
        ("2026-03-01T08:00:00+25:00", "the offset +25:00 is out of range; write one from -23:59 to +23:59"),
        ("2026-03-01T25:00:00Z", "there is no time of day 25:00:00"),
        ("2026-03-01T08:00:60Z", "second 60 is refused"),
        ("2026-03-01T08:00:00", "is not a time with its offset"),
    ] {
        let line = command(r#""type":"container_emptied","container":"K""#).replace("2026-03-01T08:00:00Z", time);
        let error = refusal(&line);
        assert_eq!(error.path, "occurred_at", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    for (from, reason) in [
        ("2026-02-30T08:00:00Z", "there is no day 2026-02-30"),
        ("2026-03-01T08:00:60Z", "second 60 is refused"),
        ("2026-03-01Z", "is a day, and a time is needed"),
        ("yesterday", "is not a time with its offset"),
    ] {
        let line = command(&format!(
            r#""type":"produced","run":"R","inputs":[{{"batch":"M","window":{{"from":"{from}","to":"2026-03-02T08:00:00Z"}}}}]"#
        ));
        let error = refusal(&line);
        assert_eq!(error.path, "inputs[0].window.from", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_fact_by_which_nothing_happened_is_refused() {
    for (fields, path) in [
        (r#""type":"received","to":"dock""#, "lines"),
        (r#""type":"received","lines":[],"from":"S","to":"dock""#, "lines"),
        (r#""type":"packed","container":"K","at":"line""#, "lines"),
        (r#""type":"packed","container":"K","lines":[],"containers":[]"#, "lines"),
        (r#""type":"shipped","shipment":"SH","to":"party:C""#, "lines"),
        (r#""type":"delivered","to":"C""#, "lines"),
        (r#""type":"returned","from":"C","lines":[],"to":"dock""#, "lines"),
        (r#""type":"seen","at":"dock""#, "lines"),
        (r#""type":"moved","lines":[],"to":"dock""#, "lines"),
        (r#""type":"counted","lines":[],"at":"dock""#, "lines"),
        (r#""type":"disposed","lines":[],"sink":"loss""#, "lines"),
        (r#""type":"vessel_filled","vessel":"V","lines":[]"#, "lines"),
        (r#""type":"container_moved","containers":[],"to":"dock""#, "containers"),
        (r#""type":"produced","run":"R","at":"line""#, "inputs"),
        (r#""type":"merged","run":"R","inputs":[],"outputs":[]"#, "inputs"),
        (
            r#""type":"corrected","target":"E1","correction":{"supersede":{"occurred_at":"2026-03-01T08:00:00Z","fact":{"type":"seen","at":"dock"}}}"#,
            "correction.supersede.fact.lines",
        ),
    ] {
        let error = refusal(&command(fields));
        assert_eq!(error.path, path, "{fields}: {error}");
        let told = error.to_string();
        assert!(told.contains("so that nothing happened: name") || told.contains("at least one"), "{told}");
    }
    for fields in [
        r#""type":"received","shipment":"SH","to":"dock""#,
        r#""type":"received","containers":["K"],"to":"dock""#,
        r#""type":"packed","container":"K","containers":["K2"]"#,
        r#""type":"unpacked","container":"K""#,
        r#""type":"shipped","shipment":"SH","containers":["K"]"#,
        r#""type":"delivered","shipment":"SH","to":"C""#,
        r#""type":"seen","containers":["K"],"at":"dock""#,
        r#""type":"produced","run":"R","outputs":[{"batch":"M"}]"#,
        r#""type":"produced","run":"R","losses":[{"sink":"loss","quantity":{"value":"1","unit":"KGM"}}]"#,
        r#""type":"produced","run":"R","completed":true"#,
        r#""type":"split","run":"R","mapping":[{"input":"M","output":"N"}]"#,
        r#""type":"noted","what":"a delivery was late""#,
    ] {
        parse_command(&command(fields)).unwrap_or_else(|error| panic!("{fields}: {error}"));
    }
}

#[test]
fn a_place_where_nothing_can_be_is_refused_by_its_field() {
    for (fields, path) in [
        (r#""type":"received","lines":[{"batch":"M"}],"to":"sink:loss""#, "to"),
        (r#""type":"moved","lines":[{"batch":"M"}],"to":"sink:destroyed""#, "to"),
        (r#""type":"moved","lines":[{"batch":"M","from":"sink:loss"}],"to":"dock""#, "lines[0].from"),
        (r#""type":"packed","container":"K","lines":[{"batch":"M"}],"at":"sink:loss""#, "at"),
        (r#""type":"unpacked","container":"K","to":"sink:loss""#, "to"),
        (r#""type":"container_moved","containers":["K"],"to":"sink:loss""#, "to"),
        (r#""type":"container_moved","containers":["K"],"to":"vessel:V""#, "to"),
        (r#""type":"received","containers":["K"],"to":"vessel:V""#, "to"),
        (r#""type":"seen","containers":["K"],"at":"vessel:V""#, "at"),
        (r#""type":"shipped","shipment":"SH","lines":[{"batch":"M"}],"to":"sink:loss""#, "to"),
        (r#""type":"returned","from":"C","lines":[{"batch":"M"}],"to":"sink:loss""#, "to"),
        (r#""type":"seen","lines":[{"batch":"M"}],"at":"sink:loss""#, "at"),
        (r#""type":"counted","lines":[{"batch":"M"}],"at":"sink:loss""#, "at"),
        (r#""type":"adjusted","batch":"M","difference":{"value":"1","unit":"KGM"},"at":"sink:adjustment""#, "at"),
        (r#""type":"held","hold":"H","batch":"M","at":"sink:loss""#, "at"),
        (r#""type":"vessel_filled","vessel":"V","lines":[{"batch":"M","from":"sink:loss"}]"#, "lines[0].from"),
        (r#""type":"vessel_drawn","vessel":"V","batch":"M","to":"sink:loss""#, "to"),
        (r#""type":"disposed","lines":[{"batch":"M","from":"sink:loss"}],"sink":"loss""#, "lines[0].from"),
        (r#""type":"produced","run":"R","inputs":[{"batch":"M","from":"sink:consumed"}]"#, "inputs[0].from"),
        (r#""type":"produced","run":"R","outputs":[{"batch":"M","to":"sink:loss"}]"#, "outputs[0].to"),
    ] {
        let error = refusal(&command(fields));
        assert_eq!(error.path, path, "{fields}: {error}");
        let told = error.to_string();
        assert!(told.contains("sink") || told.contains("where no container stands"), "{told}");
    }
    let error = refusal(&command(r#""type":"received","lines":[{"batch":"M"}],"to":"sink:loss""#));
    let told = "is a sink, where nothing lies; name a place, and tell what left the book with \"disposed\"";
    assert!(error.to_string().contains(told), "{error}");
    for fields in [
        r#""type":"received","lines":[{"batch":"M"}],"to":"vessel:V""#,
        r#""type":"received","lines":[{"batch":"M"}],"by":"C","to":"party:C""#,
        r#""type":"moved","lines":[{"batch":"M","from":"transit:SH"}],"to":"container:K""#,
        r#""type":"disposed","lines":[{"batch":"M","from":"party:C"}],"sink":"destroyed""#,
        r#""type":"counted","lines":[{"batch":"M"}],"at":"unplaced""#,
    ] {
        parse_command(&command(fields)).unwrap_or_else(|error| panic!("{fields}: {error}"));
    }
}

#[test]
fn corrections_nest_only_so_deep() {
    let mut fact = r#"{"type":"corrected","target":"E","correction":"void"}"#.to_owned();
    let whole = |fact: &str| fact.replacen("{", r#"{"source":"s","occurred_at":"2026-03-01T08:00:00Z","id":"X","#, 1);
    for _ in 0..4 {
        fact = format!(
            r#"{{"type":"corrected","target":"E","correction":{{"supersede":{{"occurred_at":"2026-03-01T08:00:00Z","fact":{fact}}}}}}}"#
        );
        parse_command(&whole(&fact)).expect("not too deep yet");
    }
    let deeper = format!(
        r#"{{"type":"corrected","target":"E","correction":{{"supersede":{{"occurred_at":"2026-03-01T08:00:00Z","fact":{fact}}}}}}}"#
    );
    assert!(refusal(&whole(&deeper)).to_string().contains("deeper than 4"));
}

#[test]
fn an_observation_without_an_id_gets_one_from_its_content() {
    let line = |value: &str, zone: &str| {
        let body = received(&format!(r#"{{"value":{value},"unit":"KGM"}}"#)).replace(r#""id":"E1","#, "");
        body.replace("+01:00", zone)
    };
    let id = |line: &str| parse_command(line).expect("an observation").event.id;
    let first = id(&line("1.5", "+01:00"));
    assert!(first.as_str().starts_with("urn:lotline:blake3:"));
    assert_eq!(first.as_str().len(), "urn:lotline:blake3:".len() + 64);
    assert_eq!(first, id(&line("\"1.50\"", "+01:00")), "the same number written otherwise");
    assert_ne!(first, id(&line("1.51", "+01:00")));
    assert_ne!(first, id(&line("1.5", "+02:00")));
}

#[test]
fn the_source_may_come_from_the_connection() {
    let line = r#"{"type":"container_emptied","container":"C","occurred_at":"2026-03-01+01:00"}"#;
    let source = SourceId::parse("scanner-7").expect("a name");
    let command = parse_command_with(line, Defaults { source: Some(&source), secret: None }).expect("with its default");
    assert_eq!(command.event.source, source);
    assert_eq!(refusal(line).path, "source");
}

#[test]
fn more_than_an_entry_can_name_is_refused() {
    let lines: Vec<String> = (0..4100).map(|n| format!(r#"{{"batch":"M{n}"}}"#)).collect();
    let line = format!(
        r#"{{"type":"moved","id":"E","source":"s","occurred_at":"2026-03-01T08:00:00Z","lines":[{}],"to":"a"}}"#,
        lines.join(",")
    );
    assert!(refusal(&line).to_string().contains("an event may name 4096"));
}
