//! Requests over NATS: each gets one answer, what is answered is durable, and nothing takes effect twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::bus_relay::reader;
use super::bus_server::{Running, Server, until};
use super::bus_wire::{Came, Wire};
use super::cli_binary::{batch, received, run, ship};

/// `serve` on a folder of its own, with the subject of a source's requests.
pub fn serve(folder: &Path, server: &Server, more: &[&str]) -> Running {
    let url = server.url();
    let arguments = [&["serve", "--dir", "plant", "--nats", &url], more].concat();
    let mut serve = Running::start_as_service(folder, &arguments);
    serve.note("commands are taken from the NATS server");
    serve
}

/// The ledger's id.
pub fn ledger(folder: &Path) -> String {
    reader(folder, "plant").ledger().to_string()
}

/// The subject of one source's requests; waits until somebody answers there.
pub fn subject(folder: &Path, wire: &mut Wire, source: &str) -> String {
    until("the service is found", || {
        let found = wire.request("$SRV.PING.lotline", &[], b"");
        (!found.body.is_empty()).then_some(())
    });
    format!("lotline.{}.submit.{source}", ledger(folder))
}

/// How many facts the ledger has, and how many refusals.
pub fn events(folder: &Path) -> u64 {
    let said = run(folder, &["verify", "--json", "--dir", "plant"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.json()["events"].as_u64().expect("a count")
}

#[track_caller]
fn refused(came: &Came, code: &str, words: &str) {
    assert_eq!(came.code(), Some(code), "{came:?}");
    assert!(came.header("Nats-Service-Error").is_some_and(|text| text.contains(words)), "{words}: {came:?}");
    assert_eq!(came.body, b"", "an error has its answer in a header");
}

fn valid(answer: &Value) {
    let path = super::wire_any::schemas().join("answers/submit.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a schema")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(validator.is_valid(answer), "{answer}");
}

#[test]
fn a_request_is_answered_when_it_is_durable_and_the_same_one_takes_effect_once() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");

    let milk = batch("milk", "M1");
    let came = wire.request(&to, &[], received("r1", &milk, "100").as_bytes());
    assert_eq!((came.code(), came.header("Lotline-Answer")), (None, Some("recorded")));
    let first = came.json();
    valid(&first);
    assert_eq!(
        (first["answer"].as_str(), first["receipt"]["ledger"].as_str()),
        (Some("recorded"), Some(&*ledger(folder)))
    );
    assert_eq!(events(folder), 1, "it is there before it is answered");

    let again = wire.request(&to, &[], received("r1", &milk, "100").as_bytes());
    assert_eq!((again.code(), again.json()["answer"].as_str()), (None, Some("duplicate")));
    assert_eq!(again.json()["first"]["receipt"], first["receipt"]);

    let no = wire.request(&to, &[("Content-Type", "application/json")], ship("s1", &milk, "1000").as_bytes());
    assert_eq!((no.code(), no.json()["answer"].as_str()), (None, Some("rejected")), "a business no is no error");
    assert_eq!(no.json()["rejection"]["rule"]["name"], "not-enough");
    valid(&no.json());

    let other = wire.request(&to, &[], received("r1", &milk, "99").as_bytes());
    refused(&other, "409", "the id r1 was used before with other content");
    assert_eq!(other.answer()["answer"], "conflict");
    valid(&other.answer());

    let said = serve.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("4 requests answered, 0 more told to come again"), "{said:?}");
    assert_eq!(events(folder), 3, "a fact, a refusal, a conflict");
}

#[test]
fn ordinary_tools_find_and_measure_the_service() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    wire.request(&to, &[], received("r1", &batch("milk", "M1"), "100").as_bytes());
    wire.request(&to, &[], b"{");

    let info = wire.ask("$SRV.INFO.lotline", b"");
    assert_eq!(info["type"], "io.nats.micro.v1.info_response");
    assert_eq!(info["metadata"]["ledger"], ledger(folder).as_str());
    let endpoint = &info["endpoints"][0];
    assert_eq!(endpoint["name"], "submit");
    assert_eq!(endpoint["subject"], format!("lotline.{}.submit.*", ledger(folder)));
    let ping = wire.ask("$SRV.PING.lotline", b"");
    assert_eq!((ping["name"].as_str(), &ping["id"]), (Some("lotline"), &info["id"]));
    // A request is counted behind its answer.
    let stats = until("both are counted", || {
        let stats = wire.ask("$SRV.STATS.lotline", b"")["endpoints"][0].take();
        (stats["num_requests"] == json!(2)).then_some(stats)
    });
    assert_eq!(stats["num_errors"], 1);
    assert!(stats["last_error"].as_str().is_some_and(|text| text.starts_with("400:")), "{stats}");
    assert!(stats["processing_time"].as_u64().is_some_and(|nanos| nanos > 0), "{stats}");
}

#[test]
fn what_cannot_be_taken_gets_one_clear_answer() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let line = received("r1", &batch("milk", "M1"), "100");

    refused(&wire.request(&to, &[], b"{\"type\":"), "400", "is not JSON");
    refused(&wire.request(&to, &[], b""), "400", "is not JSON");
    refused(&wire.request(&to, &[], b"\xff"), "400", "is not UTF-8: byte 0");
    let unit = wire.request(&to, &[], line.replace("KGM", "FURLONGS").as_bytes());
    refused(&unit, "400", "lines[0].quantity.unit: ");
    assert_eq!(unit.answer()["path"], "lines[0].quantity.unit");
    valid(&unit.answer());
    refused(&wire.request(&to, &[("Content-Type", "text/xml")], line.as_bytes()), "415", "text/xml");
    refused(&wire.request(&to, &[], &vec![b' '; 900_001]), "413", "900001 bytes, and 900000 are taken");
    let stranger = "00112233445566778899aabbccddeeff";
    refused(&wire.request(&to, &[("Lotline-Ledger", stranger)], line.as_bytes()), "421", stranger);
    let [other, none] = ["wms", "a_"].map(|source| subject(folder, &mut wire, source));
    refused(&wire.request(&other, &[], line.as_bytes()), "403", "names erp");
    refused(&wire.request(&none, &[], line.as_bytes()), "400", "names no source");
    let nobody = wire.request(&format!("lotline.{stranger}.submit.erp"), &[], line.as_bytes());
    assert!(nobody.head.starts_with("NATS/1.0 503"), "nobody answers for another ledger: {nobody:?}");
    assert_eq!(events(folder), 0, "nothing was recorded");

    let mine = [("Lotline-Ledger", &*ledger(folder))];
    assert_eq!(wire.request(&to, &mine, line.as_bytes()).json()["answer"], "recorded");
}

const EPCIS: &str = r#"{"@context":["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"],"type":"EPCISDocument",
 "schemaVersion":"2.0","creationDate":"2026-03-01T10:00:00Z","epcisBody":{"eventList":[
 {"type":"ObjectEvent","eventID":"ni:///sha-256;one?ver=CBV2.0","eventTime":"2026-03-01T08:00:00+01:00",
  "eventTimeZoneOffset":"+01:00","action":"OBSERVE","bizStep":"receiving",
  "readPoint":{"id":"urn:epc:id:sgln:4012345.00001.0"},
  "quantityList":[{"epcClass":"urn:epc:class:lgtin:4012345.012345.L42","quantity":20,"uom":"KGM"}]}]}}"#;

#[test]
fn epcis_documents_and_cloud_events_are_taken_by_their_headers() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "scanner-3");
    let ld = [("Content-Type", "application/ld+json")];
    let came = wire.request(&to, &ld, EPCIS.as_bytes());
    assert_eq!((came.code(), came.json()["answer"].as_str()), (None, Some("recorded")), "{came:?}");
    let named = [("Content-Type", "application/json"), ("GS1-EPCIS-Version", "2.0.0")];
    let again = wire.request(&to, &named, EPCIS.as_bytes());
    assert_eq!(
        (again.header("Lotline-Answer"), again.json()["answer"].as_str()),
        (Some("duplicate"), Some("duplicate"))
    );
    refused(&wire.request(&to, &ld, EPCIS.replace("20,", "21,").as_bytes()), "409", "ni:///sha-256;one?ver=CBV2.0");
    refused(
        &wire.request(&to, &ld, EPCIS.replace("+01:00\",\n", "\",\n").as_bytes()),
        "400",
        "line 3: epcisBody.eventList[0].eventTime: ",
    );
    refused(&wire.request(&to, &ld, b"<epcis/>"), "400", "");
    refused(&wire.request(&to, &[ld[0], ("Lotline-On-Error", "ignore")], EPCIS.as_bytes()), "400", "proceed");

    let event = [
        ("ce-specversion", "1.0"),
        ("ce-id", "A 7"),
        ("ce-source", "/plant/scanner-3"),
        ("ce-type", "lotline.received"),
        ("ce-time", "2026-03-01T08:00:00Z"),
        ("Content-Type", "application/json"),
    ];
    let body = format!(
        r#"{{"lines":[{{"batch":{},"quantity":{{"value":"1","unit":"KGM"}}}}],"to":"dock"}}"#,
        batch("milk", "M1")
    );
    let came = wire.request(&to, &event, body.as_bytes());
    assert_eq!((came.code(), came.json()["event"].as_str()), (None, Some("/plant/scanner-3#A 7")), "{came:?}");
    assert_eq!(wire.request(&to, &event, body.as_bytes()).json()["answer"], "duplicate");
    refused(&wire.request(&to, &event[..3], body.as_bytes()), "400", "is a CloudEvent without ce-type");
    let structured = [("Content-Type", "application/cloudevents+json")];
    refused(&wire.request(&to, &structured, b"{}"), "415", "binary mode");
    let history = run(folder, &["history", "milk/M1", "--dir", "plant", "--json"]);
    assert_eq!(history.json()["rows"][0]["source"], "scanner-3", "{history:?}");
}

#[test]
fn names_with_dots_wildcards_and_spaces_stay_what_they_are() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    // The source `plant.1 *` as a token.
    let to = subject(folder, &mut wire, "plant_2E1_20_2A");
    for code in ["A.1", "A.*", "A.>", "A 1", "$SYS.x", "ä/ö", "_41"] {
        let line = received(&format!("in {code}"), &batch("milk.*", code), "100").replace(r#""source":"erp","#, "");
        let came = wire.request(&to, &[], line.as_bytes());
        assert_eq!(came.json()["answer"], "recorded", "{came:?}");
        let history = run(folder, &["history", &format!("milk.*/{code}"), "--dir", "plant", "--json"]).json();
        assert_eq!(history["rows"].as_array().map(Vec::len), Some(1), "{history}");
        assert_eq!(history["rows"][0]["source"], "plant.1 *");
    }
}

#[test]
fn two_senders_at_once_share_commits_and_each_gets_its_own_answers() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let milk = batch("milk", "M1");
    wire.request(&to, &[], received("r1", &milk, "50").as_bytes());

    let mut senders = [wire, Wire::connect(&server.url())];
    let mut expected = BTreeMap::new();
    for number in 0..32 {
        for (sender, wire) in senders.iter_mut().enumerate() {
            let id = format!("s{sender}-{number}");
            let inbox = wire.start(&to, &[], ship(&id, &milk, "1").as_bytes());
            expected.insert((sender, inbox), id);
        }
    }
    let mut words: BTreeMap<String, u32> = BTreeMap::new();
    let mut commits = BTreeSet::new();
    for (sender, wire) in senders.iter_mut().enumerate() {
        for _ in 0..32 {
            let came = wire.next();
            let answer = came.json();
            assert_eq!(Some(&answer["command"]), expected.remove(&(sender, came.subject)).map(Value::from).as_ref());
            *words.entry(answer["answer"].as_str().expect("a word").to_owned()).or_default() += 1;
            commits.insert(answer["receipt"]["commit"].as_u64());
        }
    }
    assert_eq!(words, BTreeMap::from([("recorded".to_owned(), 50), ("rejected".to_owned(), 14)]));
    assert!(commits.len() < 64, "{} commits for 64 intents", commits.len());
}

#[test]
fn beyond_what_may_wait_a_request_is_told_when_to_come_again_and_nothing_of_it_is_recorded() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let serve = serve(folder, &server, &["--waiting", "2"]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let mut open: BTreeMap<String, u32> = BTreeMap::new();
    let line = |number: u32| received(&format!("r{number}"), &batch("milk", &format!("M{number}")), "100");
    for number in 0..300 {
        open.insert(wire.start(&to, &[], line(number).as_bytes()), number);
    }
    let (mut recorded, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let came = wire.next();
        let number = open.remove(&came.subject).expect("one answer to each");
        if came.code().is_some() {
            refused(&came, "429", "nothing was recorded of this one");
            let wait: u64 = came.header("Lotline-Retry-After-Ms").expect("when").parse().expect("a number");
            assert!((1..10_000).contains(&wait), "{wait}");
            busy.push(number);
        } else {
            assert_eq!(came.json()["answer"], "recorded");
            recorded.push(number);
        }
    }
    assert!(!busy.is_empty() && !recorded.is_empty(), "{} busy, {} recorded", busy.len(), recorded.len());
    assert_eq!(events(folder), recorded.len() as u64, "what was told to come again is not there");
    for number in busy {
        assert_eq!(wire.request(&to, &[], line(number).as_bytes()).json()["answer"], "recorded");
    }
    assert_eq!(events(folder), 300);
    let said = serve.interrupt("TERM");
    assert!(said.err.contains("300 requests answered, "), "{said:?}");
}

#[test]
fn what_was_answered_survives_a_kill_and_the_service_comes_back_with_its_server() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let first = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let line = received("r1", &batch("milk", "M1"), "100");
    let receipt = wire.request(&to, &[], line.as_bytes()).json()["receipt"].take();
    first.kill();
    let mut second = serve(folder, &server, &[]);
    subject(folder, &mut wire, "erp");
    let again = wire.request(&to, &[], line.as_bytes()).json();
    assert_eq!((&again["answer"], &again["first"]["receipt"]), (&json!("duplicate"), &receipt));

    server.stop();
    second.note("the connection to the NATS server broke");
    server.run();
    let mut wire = Wire::connect(&server.url());
    subject(folder, &mut wire, "erp");
    assert_eq!(wire.request(&to, &[], line.as_bytes()).json()["answer"], "duplicate");
    assert_eq!(second.interrupt("TERM").code, 0);
    assert_eq!(events(folder), 1);
}
