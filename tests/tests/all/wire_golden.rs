//! Stored bytes of every fact and refusal, kept for ever: `schemas/payloads/v1/`.
//!
//! A file that is there is never written again. If one of these tests fails, ledgers that exist can no
//! longer be read, or their content no longer compares: the change is wrong, not the file. A new fact's file
//! is written by a run under `LOTLINE_WRITE_GOLDEN=1`, which writes missing ones only.

use std::collections::BTreeMap;
use std::fmt::Write;

use lotline_domain::command::{Amount, Body, Command, Rejection, Rule};
use lotline_domain::id::{BatchRef, CommandId, EventId, HoldId, Place, SourceId};
use lotline_domain::quantity::Ratio;
use lotline_domain::time::{CommitNo, Instant, Position};
use lotline_domain::unit::Unit;
use lotline_wire::command::parse_command;
use lotline_wire::content::content_hash;
use lotline_wire::key::keys_of;
use lotline_wire::payload::{Origin, StoredOrigin, decode, encode};
use lotline_wire::seal::{Opened, Sealer};

use crate::wire_any::{MemoryKeys, schemas};

const ORIGINAL: &[u8] = b"{\"type\":\"ObjectEvent\"}";

fn from_example(file: &str) -> Command {
    let text = std::fs::read_to_string(schemas().join("commands").join(file)).expect("an example");
    parse_command(&text).expect("an example that reads")
}

fn rules() -> Vec<Rule> {
    let amount = |num, den| Amount { value: Ratio::new(num, den).expect("a ratio"), unit: Unit::KILOGRAM };
    let batch = match from_example("held.example.json").event.fact {
        lotline_domain::fact::Fact::Held { target: lotline_domain::fact::HoldTarget::Slice(batch, _), .. } => batch,
        other => panic!("{other:?}"),
    };
    vec![
        Rule::UnknownBatch,
        Rule::AmbiguousCode {
            candidates: vec![
                batch.clone(),
                BatchRef::Code(lotline_domain::id::BatchCode::parse("P1").expect("a name")),
            ],
        },
        Rule::NotEnough { available: amount(100, 3), asked: amount(-7, 1) },
        Rule::QuantityUnknown,
        Rule::AmbiguousSource {
            candidates: ["dock-1", "vessel:S1", "container:C", "transit:T", "party:P", "sink:loss", "unplaced"]
                .map(|text| Place::parse(text).expect("a place"))
                .to_vec(),
        },
        Rule::UnderHold { holds: vec![HoldId::parse("H-1").expect("a name")] },
        Rule::FutureDate { now: Instant(-1) },
        Rule::UnknownTarget { target: EventId::parse("E1").expect("a name") },
        Rule::NothingToRelease,
        Rule::UnknownPlace,
        Rule::RunClosed,
        Rule::NeverSent { available: amount(0, 1), asked: amount(5, 1) },
        Rule::Conflict { first: Position(41) },
    ]
}

/// Every golden body by name, the hash of its content, and its origin.
fn bodies(sealer: &Sealer<'_>) -> BTreeMap<String, (Body, [u8; 32], Origin<'static>)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(schemas().join("commands")).expect("examples") {
        let file = entry.expect("an entry").file_name().into_string().expect("text");
        let Some(name) = file.strip_suffix(".example.json") else { continue };
        let command = from_example(&file);
        let content = content_hash(&command, b"", sealer.secret()).0;
        let Command { mode, event } = command;
        let decided_on = (mode == lotline_domain::command::Mode::Intent).then_some(CommitNo(12));
        let origin = match name {
            "received" => Origin::Epcis { mapping_version: 1, original: ORIGINAL },
            _ => Origin::Native,
        };
        all.insert(name.to_owned(), (Body::Fact { mode, event, decided_on }, content, origin));
    }
    for (name, text) in DATED {
        let command = parse_command(text).expect("a command");
        let content = content_hash(&command, b"", sealer.secret()).0;
        let Command { mode, event } = command;
        all.insert(name.to_owned(), (Body::Fact { mode, event, decided_on: None }, content, Origin::Native));
    }
    for rule in rules() {
        let name = format!("refused-{}", rule.word());
        let body = Body::Refused {
            command: CommandId::parse("CMD-6").expect("a name"),
            source: SourceId::parse("erp-1").expect("a name"),
            rejection: Rejection {
                batch: Some(BatchRef::Code(lotline_domain::id::BatchCode::parse("K1").expect("a name"))),
                place: (rule != Rule::RunClosed).then(|| Place::parse("store-1").expect("a place")),
                rule,
            },
            decided_on: CommitNo(12),
        };
        all.insert(name, (body, [0x11; 32], Origin::Native));
    }
    all
}

/// Sixty-four hexadecimal digits a line; first the payload, then after an empty line the entry's keys.
fn told(payload: &[u8], keys: &[[u8; 16]]) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all");
            text
        })
    };
    let mut text = String::new();
    for line in payload.chunks(32) {
        writeln!(text, "{}", hex(line)).expect("a string takes all");
    }
    for key in keys {
        write!(text, "\n{}", hex(key)).expect("a string takes all");
    }
    text + "\n"
}

fn file(name: &str) -> std::path::PathBuf {
    schemas().join("payloads").join(version(name)).join(format!("{name}.hex"))
}

/// What tells an expiry date is stored as version 2.
fn version(name: &str) -> &'static str {
    if name.ends_with("-expires") { "v2" } else { "v1" }
}

/// Commands with expiry dates; the others are the examples.
const DATED: [(&str, &str); 4] = [
    (
        "received-expires",
        r#"{"type":"received","id":"E1","source":"erp-1","occurred_at":"2026-03-01T08:00:00+01:00","lines":[{"batch":{"item":"milk","code":"M1"},"quantity":{"value":"10","unit":"LTR"}},{"batch":{"item":"cheese","code":"C1"},"expires":"2026-12-01"},{"batch":"C2","expires":"2026-12-01T12:00:00.5+01:00"}],"to":"dock-1"}"#,
    ),
    (
        "split-expires",
        r#"{"type":"split","id":"E2","source":"erp-1","occurred_at":"2026-03-01+01:00","run":"R1","inputs":[{"batch":"C1"}],"outputs":[{"batch":"C3","expires":"0001-01-01"},{"batch":"C4","expires":"9999-12-31"}]}"#,
    ),
    (
        "vessel_drawn-expires",
        r#"{"type":"vessel_drawn","id":"E3","source":"erp-1","occurred_at":"2026-03-01T08:00:00Z","vessel":"S1","batch":"C5","expires":"1969-12-31"}"#,
    ),
    (
        "corrected-expires",
        r#"{"type":"corrected","id":"E4","source":"erp-1","occurred_at":"2026-03-02T08:00:00Z","target":"E1","correction":{"supersede":{"occurred_at":"2026-03-01T08:00:00Z","fact":{"type":"received","lines":[{"batch":"C1","expires":"2026-12-02"}],"to":"dock-1"}}},"reason":"misread"}"#,
    ),
];

/// Every golden body as text, and what it must decode to.
fn golden() -> Vec<(String, String, Vec<u8>, Body, MemoryKeys)> {
    let mut keys = MemoryKeys::default();
    let all = bodies(&Sealer::new(&mut keys).expect("a sealer"));
    let mut made = Vec::new();
    for (name, (body, content, origin)) in all {
        let mut sealer = Sealer::new(&mut keys).expect("a sealer");
        let payload = encode(&body, lotline_wire::content::ContentHash(content), origin, &mut sealer).expect("fits");
        made.push((name, told(&payload, &keys_of(&body)), payload, body));
    }
    made.into_iter().map(|(name, text, payload, body)| (name, text, payload, body, keys.clone())).collect()
}

#[test]
fn stored_bytes_and_keys_are_those_of_the_first_day() {
    let golden = golden();
    assert_eq!(golden.len(), 31 + 13 + DATED.len());
    for (name, text, ..) in &golden {
        let path = file(name);
        if std::env::var_os("LOTLINE_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, text).expect("written");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(*text == there, "{name}: other bytes than on the first day:\n{text}\nthere:\n{there}");
    }
    let files =
        |version: &str| std::fs::read_dir(schemas().join("payloads").join(version)).expect("the folder").count();
    assert_eq!((files("v1"), files("v2")), (31 + 13, DATED.len()), "a golden file without its value");
    for (name, _, payload, _, _) in &golden {
        assert_eq!(payload[1], if version(name) == "v2" { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn bytes_of_the_first_day_read_back() {
    for (name, _, payload, body, keys) in golden() {
        let there = std::fs::read_to_string(file(&name)).expect("a golden file");
        let hex: String = there.split("\n\n").next().expect("a payload").split_whitespace().collect();
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect();
        assert_eq!(bytes, payload, "{name}");
        let read = decode(&bytes).expect("decodes");
        assert_eq!(read.open_body(&keys).expect("opens"), body, "{name}");
        if let StoredOrigin::Epcis { original, .. } = read.origin {
            assert_eq!(original.open(&keys), Ok(Opened::Plain(ORIGINAL.to_vec())));
        }
    }
}
