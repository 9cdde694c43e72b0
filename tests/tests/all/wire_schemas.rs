//! JSON Schemas of commands and answers: each has an example that it accepts and the program reads, and
//! both refuse the same mistakes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lotline_wire::answer::{
    ExceptionRow, Exceptions, History, OnHand, OnHandRow, Outcome, Recall, Trace, Unanswered, Verified,
};
use lotline_wire::command::{parse_command, print_command};
use lotline_wire::feed::{AsOf, Change, EdgeRow, SnapshotHead, StatusRow};
use lotline_wire::question::{self, AskExceptions, AskHistory, AskOnHand, AskRecall, AskTrace};
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    crate::wire_any::schemas().join(name)
}

fn example(kind: &str, name: &str) -> String {
    let path = folder(kind).join(format!("{name}.example.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Generated schemas by name, of one folder.
fn generated(kind: &str) -> BTreeMap<String, Value> {
    let of_kind = |(path, content): (String, String)| {
        let name = path.strip_prefix(kind)?.strip_prefix('/')?.strip_suffix(".schema.json")?.to_owned();
        Some((name, serde_json::from_str(&content).expect("a schema is JSON")))
    };
    lotline_wire::schemas().into_iter().filter_map(of_kind).collect()
}

fn errors(schema: &Value, instance: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).expect("a valid schema");
    validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_checked_in_schemas_are_those_of_the_forms() {
    for (path, content) in lotline_wire::schemas() {
        let there = std::fs::read_to_string(folder(&path)).unwrap_or_default();
        assert!(there == content, "schemas/{path} is stale: run `cargo xtask schemas`");
    }
}

#[test]
fn every_type_of_command_has_an_example_that_schema_and_program_accept() {
    let schemas = generated("commands");
    assert_eq!(schemas.len(), 31);
    for (name, schema) in schemas {
        let text = example("commands", &name);
        let value: Value = serde_json::from_str(&text).expect("an example is JSON");
        assert_eq!(value["type"], name.as_str());
        assert_eq!(errors(&schema, &value), Vec::<String>::new(), "{name}");
        let command = parse_command(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let line = print_command(&command);
        assert_eq!(parse_command(&line).as_ref(), Ok(&command), "{line}");
        let printed: Value = serde_json::from_str(&line).expect("printed JSON");
        assert_eq!(errors(&schema, &printed), Vec::<String>::new(), "{name} as printed");
    }
}

#[test]
fn schema_and_program_refuse_the_same_mistakes() {
    let schemas = generated("commands");
    type Edit = Box<dyn Fn(&mut Value)>;
    const RUN: [&str; 6] = ["inputs", "outputs", "losses", "mapping", "hold_up_micros", "completed"];
    let without = |fields: &'static [&'static str]| -> Edit {
        Box::new(move |v| v.as_object_mut().expect("an object").retain(|field, _| !fields.contains(&field.as_str())))
    };
    let edits: Vec<(&str, &str, Edit)> = vec![
        ("unknown field", "received", Box::new(|v| v["quality"] = json!("good"))),
        ("unknown field of a line", "received", Box::new(|v| v["lines"][0]["uom"] = json!("KGM"))),
        ("negative quantity", "received", Box::new(|v| v["lines"][0]["quantity"]["value"] = json!("-1"))),
        ("negative number", "received", Box::new(|v| v["lines"][0]["quantity"]["value"] = json!(-1))),
        ("no number", "received", Box::new(|v| v["lines"][0]["quantity"]["value"] = json!("a lot"))),
        ("lower-case unit", "received", Box::new(|v| v["lines"][0]["quantity"]["unit"] = json!("kgm"))),
        ("quantity as text", "received", Box::new(|v| v["lines"][0]["quantity"] = json!("100 KGM"))),
        ("line as an array", "received", Box::new(|v| v["lines"][0] = json!(["M1"]))),
        ("batch without item", "received", Box::new(|v| v["lines"][0]["batch"] = json!({"code": "M1"}))),
        ("no offset", "received", Box::new(|v| v["occurred_at"] = json!("2026-03-01T08:00:00"))),
        ("no time", "received", Box::new(|v| drop(v.as_object_mut().expect("an object").remove("occurred_at")))),
        ("no place", "received", Box::new(|v| drop(v.as_object_mut().expect("an object").remove("to")))),
        ("a party's place for a container", "packed", Box::new(|v| v["container"] = json!("party:C1"))),
        ("unknown sink as a place", "received", Box::new(|v| v["to"] = json!("sink:hole"))),
        ("padded name", "received", Box::new(|v| v["source"] = json!(" erp"))),
        ("empty name", "received", Box::new(|v| v["id"] = json!(""))),
        ("other mode", "received", Box::new(|v| v["mode"] = json!("wish"))),
        ("other type", "received", Box::new(|v| v["type"] = json!("teleported"))),
        ("negative sequence", "received", Box::new(|v| v["sequence"] = json!(-1))),
        ("no lines", "moved", Box::new(|v| v["lines"] = json!([]))),
        ("nothing received", "received", without(&["lines", "containers", "shipment"])),
        ("empty lists", "packed", Box::new(|v| (v["lines"], v["containers"]) = (json!([]), json!([])))),
        ("nothing shipped", "shipped", without(&["lines", "containers"])),
        ("nothing delivered", "delivered", without(&["lines", "containers", "shipment"])),
        ("nothing returned", "returned", without(&["lines", "containers"])),
        ("nothing seen", "seen", without(&["lines", "containers"])),
        ("a run of nothing", "produced", without(&RUN)),
        ("a merge of nothing", "merged", without(&RUN)),
        ("into a sink", "received", Box::new(|v| v["to"] = json!("sink:loss"))),
        ("out of a sink", "moved", Box::new(|v| v["lines"][0]["from"] = json!("sink:loss"))),
        ("second 60", "received", Box::new(|v| v["occurred_at"] = json!("2026-03-01T08:00:60Z"))),
        ("both targets", "released", Box::new(|v| v["batch"] = json!("K1"))),
        ("no target", "released", Box::new(|v| drop(v.as_object_mut().expect("an object").remove("hold")))),
        ("unknown sink", "disposed", Box::new(|v| v["sink"] = json!("hole"))),
        ("unknown mix", "vessel_defined", Box::new(|v| v["mix"] = json!("shaken"))),
        ("grade above 255", "vessel_cleaned", Box::new(|v| v["grade"] = json!(256))),
        (
            "head inside of a correction",
            "corrected",
            Box::new(|v| v["correction"]["supersede"]["fact"]["id"] = json!("X")),
        ),
        (
            "unknown fact inside of a correction",
            "corrected",
            Box::new(|v| v["correction"]["supersede"]["fact"]["type"] = json!("x")),
        ),
        ("a word for a truth", "policy_set", Box::new(|v| v["holds_pass_runs"] = json!("yes"))),
    ];
    for (what, name, edit) in edits {
        let mut value: Value = serde_json::from_str(&example("commands", name)).expect("an example is JSON");
        edit(&mut value);
        let line = value.to_string();
        assert!(parse_command(&line).is_err(), "the program accepts: {what}: {line}");
        assert!(!errors(&schemas[name], &value).is_empty(), "the schema accepts: {what}: {line}");
    }
}

/// Reads an example as an answer and prints it again.
fn again<T: serde::de::DeserializeOwned + serde::Serialize>(text: &str) -> Value {
    let answer: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    serde_json::to_value(&answer).expect("an answer is JSON")
}

#[test]
fn every_answer_has_examples_that_read_and_print_by_their_schema() {
    let schemas = generated("answers");
    let names: Vec<&str> = schemas.keys().map(String::as_str).collect();
    assert_eq!(names, ["exceptions", "history", "on-hand", "recall", "submit", "trace", "unanswered", "verify"]);
    for (name, schema) in &schemas {
        let examples: Vec<Value> = serde_json::from_str(&example("answers", name)).expect("a list of examples");
        assert!(!examples.is_empty(), "{name}");
        for value in examples {
            assert_eq!(errors(schema, &value), Vec::<String>::new(), "{name}: {value}");
            let text = value.to_string();
            let printed = match name.as_str() {
                "submit" => again::<Outcome>(&text),
                "on-hand" => again::<OnHand>(&text),
                "trace" => again::<Trace>(&text),
                "recall" => again::<Recall>(&text),
                "exceptions" => again::<Exceptions>(&text),
                "history" => again::<History>(&text),
                "verify" => again::<Verified>(&text),
                "unanswered" => again::<Unanswered>(&text),
                other => panic!("no type for {other}"),
            };
            assert_eq!(printed, value, "{name}");
        }
    }
}

#[test]
fn every_feed_has_examples_that_read_and_print_by_their_schema() {
    let schemas = generated("feeds");
    assert_eq!(schemas.len(), 7);
    for (name, schema) in &schemas {
        let examples: Vec<Value> = serde_json::from_str(&example("feeds", name)).expect("a list of examples");
        assert!(!examples.is_empty(), "{name}");
        for value in examples {
            assert_eq!(errors(schema, &value), Vec::<String>::new(), "{name}: {value}");
            let text = value.to_string();
            let printed = match name.as_str() {
                "on-hand-change" | "expiring-change" => again::<Change<OnHandRow>>(&text),
                "status-change" => again::<Change<StatusRow>>(&text),
                "edges-change" => again::<Change<EdgeRow>>(&text),
                "exceptions-change" => again::<Change<ExceptionRow>>(&text),
                "as-of" => again::<AsOf>(&text),
                "snapshot-head" => again::<SnapshotHead>(&text),
                other => panic!("no type for {other}"),
            };
            assert_eq!(printed, value, "{name}");
        }
    }
}

/// Reads a text as a question of a kind, and prints it again.
fn asked(name: &str, text: &str) -> Result<Value, String> {
    let text = text.as_bytes();
    let printed = match name {
        "trace" => serde_json::to_value(question::read::<AskTrace>(text)?),
        "on-hand" => serde_json::to_value(question::read::<AskOnHand>(text)?),
        "recall" => serde_json::to_value(question::read::<AskRecall>(text)?),
        "history" => serde_json::to_value(question::read::<AskHistory>(text)?),
        "exceptions" => serde_json::to_value(question::read::<AskExceptions>(text)?),
        other => panic!("no type for {other}"),
    };
    Ok(printed.expect("a question is JSON"))
}

#[test]
fn every_question_has_examples_and_schema_and_program_refuse_the_same() {
    let schemas = generated("queries");
    assert_eq!(schemas.len(), 5);
    for (name, schema) in &schemas {
        let examples: Vec<Value> = serde_json::from_str(&example("queries", name)).expect("a list of examples");
        assert!(!examples.is_empty(), "{name}");
        for value in examples {
            assert_eq!(errors(schema, &value), Vec::<String>::new(), "{name}: {value}");
            assert_eq!(asked(name, &value.to_string()), Ok(value.clone()), "{name}");
            for (field, wrong) in [
                ("depth", json!(3)),
                ("min_commit", json!(-1)),
                ("min_commit", json!("seven")),
                ("wait_ms", json!(30_001)),
                ("as_known_at", json!([1])),
                ("as_known_at", json!(-1)),
                ("as_of", json!(7)),
                ("parts", json!("yes")),
            ] {
                let mut value = value.clone();
                value[field] = wrong;
                assert!(asked(name, &value.to_string()).is_err(), "the program accepts {name}: {value}");
                assert!(!errors(schema, &value).is_empty(), "the schema accepts {name}: {value}");
            }
        }
    }
    assert_eq!(asked("exceptions", " \n"), Ok(json!({})), "no text asks for everything");
    assert!(asked("trace", "").is_err_and(|text| text.contains("batch")), "a field is missing");
}
