//! Questions over NATS: the answers of the command line, byte for byte, and never older than what one knows of.

use serde_json::{Value, json};
use tempfile::tempdir;

use super::bus_intake::{ledger, serve, subject};
use super::bus_projectors::{commits, publish};
use super::bus_server::{Running, Server, until};
use super::bus_wire::{Came, Wire};
use super::cli_binary::{batch, received, run, ship};

/// The subject of questions of a kind; waits until somebody answers there.
fn ask(wire: &mut Wire, ledger: &str, kind: &str) -> String {
    let subject = format!("lotline.{ledger}.ask.{kind}");
    until("somebody answers", || {
        let came = wire.request(&subject, &[], b"no question");
        (came.code() == Some("400")).then_some(())
    });
    subject
}

#[track_caller]
fn refused(came: &Came, code: &str, reason: &str, words: &str) -> Value {
    assert_eq!(came.code(), Some(code), "{came:?}");
    assert!(came.header("Nats-Service-Error").is_some_and(|text| text.contains(words)), "{words}: {came:?}");
    let why = came.answer();
    assert_eq!(why["reason"], reason, "{why}");
    let schema: Value = lotline_wire::schemas()
        .into_iter()
        .find_map(|(path, text)| {
            (path == "answers/unanswered.schema.json").then(|| serde_json::from_str(&text).ok())?
        })
        .expect("a schema");
    assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&why), "{why}");
    why
}

/// An answer in however many messages it comes.
fn whole(wire: &mut Wire, subject: &str, question: &Value) -> (Vec<u8>, usize) {
    let inbox = wire.start(subject, &[], question.to_string().as_bytes());
    let (mut body, mut count) = (Vec::new(), 0);
    loop {
        let came = wire.next();
        if came.subject != inbox {
            continue;
        }
        assert_eq!(came.code(), None, "{came:?}");
        body.extend(&came.body);
        count += 1;
        let Some((number, of)) = came.header("Lotline-Part").and_then(|text| text.split_once('/')) else {
            return (body, count);
        };
        assert_eq!(number, count.to_string());
        if number == of {
            return (body, count);
        }
    }
}

/// The questions of the README's session, as arguments and as JSON, without bounds.
fn questions() -> Vec<(&'static str, Vec<&'static str>, Value)> {
    vec![
        ("on-hand", vec!["on-hand"], json!({})),
        ("on-hand", vec!["on-hand", "--place", "hillbrook"], json!({ "place": "hillbrook" })),
        ("on-hand", vec!["on-hand", "--item", "salt"], json!({ "item": "salt" })),
        ("on-hand", vec!["on-hand", "--batch", "brook-young/A26064-C6"], json!({ "batch": "brook-young/A26064-C6" })),
        ("recall", vec!["recall", "brook-young/A26064-C6"], json!({ "batches": ["brook-young/A26064-C6"] })),
        (
            "recall",
            vec!["recall", "salt/A26061-G3@bright-ferments", "A26064-C6", "--clean-grade", "3"],
            json!({ "batches": ["salt/A26061-G3@bright-ferments", "A26064-C6"], "clean_grade": 3 }),
        ),
        (
            "trace",
            vec!["trace", "brook-young/A26064-C6", "--back"],
            json!({ "batch": "brook-young/A26064-C6", "direction": "back" }),
        ),
        (
            "trace",
            vec!["trace", "brook-young/A26064-C6", "--forward"],
            json!({ "batch": "brook-young/A26064-C6", "direction": "forward" }),
        ),
        ("history", vec!["history", "brook-young/A26064-C6"], json!({ "of": "brook-young/A26064-C6" })),
        (
            "history",
            vec!["history", "event:hillbrook-office-0001302"],
            json!({ "of": "event:hillbrook-office-0001302" }),
        ),
        ("exceptions", vec!["exceptions"], json!({})),
    ]
}

#[test]
fn answers_are_those_of_the_command_line_at_the_head_and_in_the_past() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let said = run(folder, &["demo", "--seed", "7", "--days", "14", "--dir", "plant"]);
    assert_eq!(said.code, 0, "{said:?}");
    let head = commits(folder, "plant");
    let bounds: [(Vec<&str>, Value); 4] = [
        (vec![], json!({})),
        (vec!["--as-known-at", "120"], json!({ "as_known_at": 120 })),
        (vec!["--as-of", "2026-03-08T00:00:00Z"], json!({ "as_of": "2026-03-08T00:00:00Z", "min_commit": head })),
        (
            vec!["--as-of", "2026-03-08+10:00", "--as-known-at", "2026-03-10T00:00:00Z"],
            json!({ "as_of": "2026-03-08+10:00", "as_known_at": "2026-03-10T00:00:00Z", "wait_ms": 30_000 }),
        ),
    ];
    // The command line asks before: beside a service it would build models of its own.
    let mut expected = Vec::new();
    for (kind, arguments, question) in questions() {
        for (more, within) in &bounds {
            let said = run(folder, &[&arguments[..], more, &["--json", "--dir", "plant"]].concat());
            assert!(said.code <= 1, "{said:?}");
            let mut question = question.clone();
            question.as_object_mut().expect("an object").extend(within.as_object().expect("an object").clone());
            expected.push((kind, question, said));
        }
    }
    let serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let id = ledger(folder);
    for kind in ["trace", "on-hand", "recall", "history", "exceptions"] {
        ask(&mut wire, &id, kind);
    }
    for (kind, mut question, said) in expected {
        question["parts"] = json!(true);
        question["min_commit"] = json!(head);
        let (body, _) = whole(&mut wire, &format!("lotline.{id}.ask.{kind}"), &question);
        if said.code == 0 || !said.out.is_empty() {
            assert_eq!(String::from_utf8_lossy(&body), said.out, "{kind} {question}");
        }
    }
    let ended = serve.interrupt("TERM");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains(" questions answered, 0 more told to come again"), "{ended:?}");

    // The projectors answer the same, each what it knows; two share the questions of one kind.
    publish(folder, "plant", &server.url());
    let url = server.url();
    let projectors: Vec<Running> = ["genealogy", "inventory", "recall", "inventory"]
        .iter()
        .zip(["one", "two", "three", "four"])
        .map(|(kind, dir)| Running::start_as_service(folder, &["projector", kind, "--nats", &url, "--dir", dir]))
        .collect();
    for (kind, arguments, mut question) in questions() {
        if ["history", "exceptions"].contains(&kind) {
            continue;
        }
        ask(&mut wire, &id, kind);
        let said = run(folder, &[&arguments[..], &["--json", "--dir", "plant"]].concat());
        question["min_commit"] = json!(head);
        question["wait_ms"] = json!(30_000);
        question["parts"] = json!(true);
        let (body, _) = whole(&mut wire, &format!("lotline.{id}.ask.{kind}"), &question);
        assert_eq!(String::from_utf8_lossy(&body), said.out, "{kind} {question}");
    }
    let info = wire.ask("$SRV.INFO.lotline-ask", b"");
    assert_eq!(info["metadata"]["ledger"], id.as_str());
    for projector in projectors {
        let said = projector.interrupt("TERM");
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.err.contains(" questions answered"), "{said:?}");
    }
}

#[test]
fn one_reads_ones_own_writes() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let id = ledger(folder);
    let from = ask(&mut wire, &id, "on-hand");
    let whole = ask(&mut wire, &id, "exceptions");
    for number in 1..=200_u64 {
        let line = received(&format!("r{number}"), &batch("milk", "M1"), "1");
        let receipt = wire.request(&to, &[], line.as_bytes()).json()["receipt"].take();
        let question = json!({ "batch": "milk/M1", "min_commit": receipt["commit"], "wait_ms": 30_000 });
        let answer = wire.request(&from, &[], question.to_string().as_bytes()).json();
        assert!(answer["asked"]["as_known_at"].as_u64() >= receipt["commit"].as_u64(), "{answer}");
        assert_eq!(answer["rows"][0]["quantity"]["value"], number.to_string(), "{answer}");
    }
    let question = json!({ "as_known_at": 200 });
    let answer = wire.request(&whole, &[], question.to_string().as_bytes()).json();
    assert_eq!((&answer["asked"]["as_known_at"], &answer["asked"]["finality"]), (&json!(200), &json!("final")));
}

#[test]
fn what_cannot_be_answered_says_why_and_what_to_do() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let serve = serve(folder, &server, &["--questions", "3"]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let id = ledger(folder);
    for (number, milk) in [batch("milk", "M1"), batch("cream", "M1")].iter().enumerate() {
        wire.request(&to, &[], received(&format!("r{number}"), milk, "100").as_bytes());
    }
    wire.request(&to, &[], ship("s1", &batch("milk", "M1"), "1").as_bytes());
    let from = ask(&mut wire, &id, "trace");
    let on_hand = ask(&mut wire, &id, "on-hand");
    let mut trace = |question: Value| wire.request(&from, &[], question.to_string().as_bytes());

    let forward = |batch: &str| json!({ "batch": batch, "direction": "forward", "min_commit": 3 });
    let why = refused(&trace(forward("M1")), "300", "several", "M1 fits 2 batches");
    assert_eq!(why["candidates"], json!([{ "item": "cream", "code": "M1" }, { "item": "milk", "code": "M1" }]));
    let why = refused(&trace(forward("M2")), "404", "unknown", "nothing is recorded of a batch M2");
    assert_eq!(why["commit"], 3);
    refused(&trace(forward("(01)1")), "400", "unreadable", "is no GS1 identifier");
    refused(&trace(json!({ "batch": "M1" })), "400", "unreadable", "missing field `direction`");
    refused(&trace(json!({ "batch": "M1", "direction": "up" })), "400", "unreadable", "unknown variant `up`");
    let more = json!({ "batch": "M1", "direction": "back", "depth": 3 });
    refused(&trace(more), "400", "unreadable", "unknown field `depth`");
    let time = json!({ "batch": "milk/M1", "direction": "back", "as_of": "yesterday" });
    refused(&trace(time), "400", "unreadable", "as_of ");
    let long = json!({ "batch": "milk/M1", "direction": "back", "wait_ms": 30_001 });
    refused(&trace(long), "400", "unreadable", "30000 are taken");

    // Behind: waited for, and then said so.
    for bound in ["min_commit", "as_known_at"] {
        let mut question = json!({ "batch": "milk/M1", "direction": "back", "wait_ms": 50 });
        question[bound] = json!(99);
        let came = trace(question);
        let why = refused(&came, "503", "behind", "behind: at commit 3, and commit 99 is asked for");
        assert_eq!(why["commit"], 3);
        assert!(came.header("Lotline-Retry-After-Ms").is_some(), "{came:?}");
    }

    // Another ledger, by the header; by the subject nobody is there.
    let stranger = "00112233445566778899aabbccddeeff";
    let came = wire.request(&on_hand, &[("Lotline-Ledger", stranger)], b"");
    assert_eq!(came.code(), Some("421"), "{came:?}");
    let came = wire.request(&format!("lotline.{stranger}.ask.on-hand"), &[], b"");
    assert!(came.head.starts_with("NATS/1.0 503"), "{came:?}");

    // Three wait, and the fourth is told to come again; when those have gone on, it is answered.
    let waiting = json!({ "min_commit": 4, "wait_ms": 30_000 }).to_string();
    let inboxes: Vec<String> = (0..3).map(|_| wire.start(&on_hand, &[], waiting.as_bytes())).collect();
    let came = wire.request(&on_hand, &[], b"{}");
    assert_eq!(came.code(), Some("429"), "{came:?}");
    assert!(came.header("Lotline-Retry-After-Ms").is_some(), "{came:?}");
    // Who waits for no answer, and who has gone away, hold up nobody.
    wire.put(&on_hand, "", &[], waiting.as_bytes());
    let written = wire.start(&to, &[], received("r9", &batch("milk", "M9"), "1").as_bytes());
    let mut missing: Vec<String> = inboxes.into_iter().chain([written]).collect();
    while !missing.is_empty() {
        let came = wire.next();
        assert_eq!(came.code(), None, "{came:?}");
        missing.retain(|inbox| *inbox != came.subject);
    }
    let mut gone = Wire::connect(&server.url());
    for _ in 0..2 {
        gone.start(&on_hand, &[], json!({ "min_commit": 5, "wait_ms": 200 }).to_string().as_bytes());
    }
    drop(gone);
    let answer = until("there is room again", || {
        let came = wire.request(&on_hand, &[], b"{}");
        came.code().is_none().then_some(came)
    });
    assert_eq!(answer.json()["asked"]["as_known_at"], 4);

    // At the end nobody waits in vain.
    let inbox = wire.start(&on_hand, &[], json!({ "min_commit": 99, "wait_ms": 30_000 }).to_string().as_bytes());
    let ending = std::thread::spawn(move || serve.interrupt("TERM"));
    let came = wire.next();
    assert_eq!((came.subject.as_str(), came.code()), (inbox.as_str(), Some("503")), "{came:?}");
    assert_eq!(ending.join().expect("it ends").code, 0);
}

#[test]
fn a_large_answer_is_refused_or_comes_in_parts() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let lines: String = (0..4_000)
        .map(|number| received(&format!("r{number}"), &batch("milk", &format!("M{number}")), "1") + "\n")
        .collect();
    std::fs::write(folder.join("lines"), lines).expect("written");
    let said = run(folder, &["submit", "lines", "--dir", "plant"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let expected = run(folder, &["on-hand", "--json", "--dir", "plant"]).out;
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let from = ask(&mut wire, &ledger(folder), "on-hand");
    let head = commits(folder, "plant");
    let question = json!({ "min_commit": head, "wait_ms": 30_000 });
    let came = wire.request(&from, &[], question.to_string().as_bytes());
    let why = refused(&came, "413", "too-large", &format!("the answer has {} bytes", expected.len()));
    assert_eq!(why["bytes"], json!(expected.len()));
    let mut question = question;
    question["parts"] = json!(true);
    let (body, count) = whole(&mut wire, &from, &question);
    assert!(count > 1, "{count}");
    assert!(body == expected.as_bytes(), "the parts are the answer");
    question["batch"] = json!("milk/M7");
    let (body, count) = whole(&mut wire, &from, &question);
    assert_eq!(
        (count, serde_json::from_slice::<Value>(&body).expect("JSON")["rows"].as_array().map(Vec::len)),
        (1, Some(1))
    );
}
