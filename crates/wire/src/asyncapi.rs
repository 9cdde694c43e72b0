//! The document of everything that goes over NATS: AsyncAPI 3, made of the names in [`channel`](crate::channel).

use serde_json::{Map, Value, json};

use crate::channel::{self, code};

/// A header, and what it says.
struct Header {
    name: &'static str,
    says: &'static str,
    pattern: Option<&'static str>,
}

const fn header(name: &'static str, says: &'static str) -> Header {
    Header { name, says, pattern: None }
}

const fn number(name: &'static str, says: &'static str) -> Header {
    Header { name, says, pattern: Some("^[0-9]+$") }
}

const MESSAGE_ID: Header = header(
    "Nats-Msg-Id",
    "The id of the command. For two minutes the server takes no second message of this id; the ledger knows the id for ever.",
);

const COMMAND: [Header; 10] = [
    header(
        "Content-Type",
        "application/json (or nothing): a native command. application/ld+json: EPCIS 2.0, a document or a bare event.",
    ),
    header("GS1-EPCIS-Version", "With application/json: it is EPCIS of this version, which has to be 2."),
    header(channel::LEDGER, "The ledger that is meant; another one's is refused."),
    header(
        channel::ON_ERROR,
        "Of an EPCIS document: rollback (the default) records all or nothing, proceed what is good.",
    ),
    header("ce-specversion", "1.0: a CloudEvent in binary mode. The next three are needed then."),
    header("ce-id", "With ce-source the id of the event, if the body has none: SOURCE#ID."),
    header("ce-source", "See ce-id. The source of the command is that of the subject."),
    header("ce-type", "lotline.TYPE: the type of the command, if the body has none."),
    header("ce-time", "When it happened, if the body does not say."),
    header("ce-datacontenttype", "As Content-Type, which goes before it."),
];

const REPLY_TO: Header = header(
    channel::REPLY_TO,
    "Where the answer goes: a subject that begins neither with $ nor with lotline. It may come more than once.",
);

const ANSWER: [Header; 5] = [
    header(
        channel::ANSWER,
        "What came of it in a word: recorded, duplicate, rejected, conflict, refused, failed or busy.",
    ),
    header(channel::ANSWER_BODY, "Of an error: the answer, which is the body otherwise."),
    number(channel::RETRY_AFTER, "The same message may be sent again after so many milliseconds."),
    number("Nats-Service-Error-Code", "Of an error: its code; see components/x-codes."),
    header("Nats-Service-Error", "Of an error: what is wrong, in words."),
];

const LETTER: [Header; 6] = [
    header(channel::REASON, "Why it could not be taken."),
    number(channel::REASON_CODE, "The same as a code; see components/x-codes."),
    header(channel::ORIGINAL_SUBJECT, "The subject that it was sent to."),
    number(channel::ORIGINAL_SEQUENCE, "Its sequence in the queue."),
    header(channel::ORIGINAL_TIME, "When it came (RFC 3339)."),
    number(channel::DELIVERIES, "How often it was delivered."),
];

const SETTLED: [Header; 2] =
    [header(channel::SETTLED, "sent or dropped."), header(channel::SETTLED_REASON, "Why it was dropped.")];

const CHANGE: [Header; 4] = [
    number(channel::COMMIT, "The commit that it is as of."),
    header(channel::COMMIT_HASH, "The hash of that commit, hexadecimal."),
    number(channel::SINCE, "The commit that what was before is as of."),
    header(channel::STEP, "Its number among the changes between the two commits, from 1, and how many those are: 3/7."),
];

const VALUE: [Header; 2] = [
    number(channel::COMMIT, "The commit that the value is as of; it is replaced by later ones only."),
    header("KV-Operation", "DEL: nothing is there any more."),
];

const COMMIT: [Header; 2] = [
    header("Nats-Msg-Id", "The commit's hash, hexadecimal."),
    number("Nats-Expected-Last-Sequence", "The commit's number less one: its sequence in the stream is its number."),
];

/// What each code of an error means.
const CODES: [(u16, &str); 9] = [
    (code::UNREADABLE, "unreadable: mend the message"),
    (code::OTHER_SOURCE, "it names another source than its subject does"),
    (code::CONFLICT, "its id was used before with other content; the first use stands"),
    (code::TOO_LARGE, "too large: split it"),
    (code::CONTENT_TYPE, "a content type that is not understood"),
    (code::OTHER_LEDGER, "it is for another ledger"),
    (code::BUSY, "too many wait; nothing was recorded; send it again later"),
    (code::STOPPED, "whether it was recorded is not known: send it again when the service runs again"),
    (code::NOT_NOW, "not now, for a reason that is not in it; nothing was recorded; send it again later"),
];

fn headers(all: &[&[Header]]) -> Value {
    let mut properties = Map::new();
    for header in all.iter().copied().flatten() {
        let mut schema = json!({ "type": "string", "description": header.says });
        if let Some(pattern) = header.pattern {
            schema["pattern"] = json!(pattern);
        }
        properties.insert(header.name.to_owned(), schema);
    }
    json!({ "type": "object", "properties": properties })
}

/// Something below `schemas/`.
fn file(path: &str) -> Value {
    json!({ "$ref": path })
}

fn message(title: &str, says: &str, kind: &str, headers: Value, payload: Value) -> Value {
    json!({ "name": title, "summary": says, "contentType": kind, "headers": headers, "payload": payload })
}

fn commands() -> Value {
    let all: Vec<Value> = crate::command::facts::command_schemas()
        .into_iter()
        .map(|(word, _)| file(&format!("./commands/{word}.schema.json")))
        .collect();
    json!({ "description": "A native command; or EPCIS 2.0 (see Content-Type), whose schema is GS1's.", "anyOf":
        [{ "oneOf": all }, { "title": "EPCIS 2.0", "type": ["object", "array"] }] })
}

fn parameters(names: &[(&str, &str)]) -> Value {
    let all = names.iter().map(|(name, says)| ((*name).to_owned(), json!({ "description": says })));
    Value::Object(all.collect())
}

const LEDGER: (&str, &str) = ("ledger", "The ledger's id: 32 hexadecimal digits.");
const SOURCE: (&str, &str) = ("source", "Who sends it, as a token: permissions say who may send as whom.");

fn address(channel: &str, says: &str, names: &[(&str, &str)], messages: &[&str], stream: Value) -> Value {
    let messages =
        messages.iter().map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/messages/{name}") })));
    let mut channel = json!({ "address": channel, "description": says, "parameters": parameters(names),
        "messages": messages.collect::<Map<String, Value>>() });
    if !stream.is_null() {
        channel["x-jetstream"] = stream;
    }
    channel
}

fn channels() -> Value {
    let (ledger, source) = ("{ledger}", "{source}");
    let generation = ("generation", "Which stream of the ledger: a stream that differed was kept, and the next begun.");
    let item = ("item", "The item as a token; `_` where only a code is known.");
    let place = ("place", "The very place as a token: a container, say, not where it stands.");
    let key = (
        "key",
        "ITEM.CODE.ISSUER.GENERATION.PLACE, each a token, and `.share` behind it for what a mix model says of a vessel.",
    );
    let letters = json!({ "stream": channel::dead_stream(ledger), "retention": "limits", "discard": "new" });
    let bucket = format!("KV_{}", channel::on_hand_bucket(ledger));
    json!({
        "submit": address(&channel::submit_subject(ledger, source),
            "Requests. Each is answered when its commit is durable; one without an answer promises nothing. A NATS service: $SRV.PING, $SRV.INFO and $SRV.STATS find and measure it.",
            &[LEDGER, SOURCE], &["command"], Value::Null),
        "answers": { "address": null, "description": "The reply subject of a request, or where Lotline-Reply-To asks for it.",
            "messages": { "answer": { "$ref": "#/components/messages/answer" } } },
        "queue": address(&channel::queue_subject(ledger, source),
            "Messages that the server keeps until their commit is durable. A full queue refuses.",
            &[LEDGER, SOURCE], &["queued"],
            json!({ "stream": channel::queue_stream(ledger), "retention": "workqueue", "discard": "new", "consumer": channel::CONSUMER })),
        "deadLetters": address(&channel::dead_subject(ledger, source),
            "Messages of the queue that can never be taken as they are, as they came.",
            &[LEDGER, SOURCE], &["deadLetter"], letters.clone()),
        "settledLetters": address(&channel::settled_subject(ledger, source),
            "Dead letters that were sent again or dropped.", &[LEDGER, SOURCE], &["settledLetter"], letters),
        "commits": address(&channel::commits_subject(ledger, "{generation}"),
            "The ledger, byte for byte: one commit is one message, and its sequence is its number.",
            &[LEDGER, generation], &["commit"],
            json!({ "stream": channel::commits_stream(ledger, "{generation}"), "retention": "limits", "discard": "new", "denyDelete": true, "denyPurge": true })),
        "onHandChanges": address(&channel::on_hand_changes_subject(ledger, "{item}", "{place}"),
            "How what is on hand changed, in order, without gap or repeat.",
            &[LEDGER, item, place], &["onHandChange"],
            json!({ "stream": channel::on_hand_changes_stream(ledger), "retention": "limits", "discard": "new", "denyDelete": true })),
        "onHand": address(&format!("$KV.{}.{{key}}", channel::on_hand_bucket(ledger)),
            "What is on hand. Read it, then apply the changes beyond the commit that each value is as of.",
            &[LEDGER, key], &["onHandValue"], json!({ "stream": bucket, "bucket": channel::on_hand_bucket(ledger) })),
        "onHandAsOf": address(&format!("$KV.{}.{}", channel::on_hand_bucket(ledger), channel::AS_OF_KEY),
            "Up to which change all values of the bucket are: read it first, and follow the changes behind it.",
            &[LEDGER], &["asOf"], json!({ "stream": bucket, "bucket": channel::on_hand_bucket(ledger) })),
    })
}

fn operations() -> Value {
    let operation = |action: &str, channel: &str, says: &str| json!({ "action": action, "channel": { "$ref": format!("#/channels/{channel}") }, "summary": says });
    let mut submit = operation("receive", "submit", "Record a command, and answer.");
    submit["reply"] = json!({ "channel": { "$ref": "#/channels/answers" } });
    json!({
        "submit": submit,
        "takeFromQueue": operation("receive", "queue", "Record what is queued."),
        "putAside": operation("send", "deadLetters", "Keep what cannot be taken."),
        "settle": operation("send", "settledLetters", "Keep what became of it."),
        "publishCommit": operation("send", "commits", "Publish a commit."),
        "tellChange": operation("send", "onHandChanges", "Tell a change."),
        "keepValue": operation("send", "onHand", "Keep the value that is so now."),
        "keepAsOf": operation("send", "onHandAsOf", "Say up to where the values are."),
    })
}

fn messages() -> Value {
    let json = "application/json";
    let original = json!({ "description": "The body as it came." });
    json!({
        "command": message("Command", "A command, as a request.", json, headers(&[&COMMAND]), commands()),
        "queued": message("Queued command", "A command in the queue.", json, headers(&[&[MESSAGE_ID, REPLY_TO], &COMMAND]), commands()),
        "answer": message("Answer", "What came of a command; of an EPCIS document one answer per line. Empty with an error.", json,
            headers(&[&ANSWER]), file("./answers/submit.schema.json")),
        "deadLetter": message("Dead letter", "Its own headers are kept beside these; those that mean something to the server, or are among these, with Lotline-Was- before their names.",
            "application/octet-stream", headers(&[&LETTER]), original.clone()),
        "settledLetter": message("Settled letter", "A dead letter that was sent again or dropped.", "application/octet-stream",
            headers(&[&LETTER, &SETTLED]), original),
        "commit": message("Commit", "A frame of the ledger; ledger-format.md describes it byte by byte.", "application/octet-stream",
            headers(&[&COMMIT]), json!({ "type": "string", "format": "binary", "maxLength": 900_000 })),
        "onHandChange": message("Change of what is on hand", "Old and new value, and the events behind it.", json,
            headers(&[&CHANGE]), file("./feeds/on-hand-change.schema.json")),
        "onHandValue": message("What is on hand", "A row as `lotline on-hand --json` has it; empty where nothing is there any more.", json,
            headers(&[&VALUE]), file("./answers/on-hand.schema.json#/$defs/OnHandRow")),
        "asOf": message("As of", "Up to where a bucket is.", json, headers(&[&VALUE]), file("./feeds/as-of.schema.json")),
    })
}

/// The document, as it is checked in.
pub(crate) fn document() -> Value {
    let codes: Map<String, Value> = CODES.iter().map(|(code, says)| (code.to_string(), json!(says))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lotline over NATS",
            "version": "1.0.0",
            "description": "Every subject, stream, bucket, header and payload. A token is made of A-Z a-z 0-9 - and _ alone: every other byte of a name in UTF-8 is _ and two hexadecimal digits (A.1 is A_2E1), and no text at all is a lone _.",
        },
        "defaultContentType": "application/json",
        "servers": { "nats": { "host": "localhost:4222", "protocol": "nats", "description": "Any server with JetStream that takes messages of 904,096 bytes." } },
        "channels": channels(),
        "operations": operations(),
        "components": { "messages": messages(), "x-codes": codes },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of all constants in the room of names.
    fn names() -> Vec<&'static str> {
        let source = include_str!("channel.rs");
        let constants = source.lines().filter(|line| line.starts_with("pub const ") && line.contains(": &str = "));
        constants.filter_map(|line| line.split('"').nth(1)).collect()
    }

    #[test]
    fn every_name_that_is_used_is_in_the_document() {
        let text = document().to_string();
        assert!(names().len() > 15, "{:?}", names());
        for name in names().into_iter().filter(|name| *name != channel::SERVICE) {
            assert!(text.contains(name), "{name} is missing");
        }
        let functions = include_str!("channel.rs").lines().filter(|line| line.starts_with("pub fn ")).count();
        let told = [
            channel::commits_stream("{ledger}", "{generation}"),
            channel::commits_subject("{ledger}", "{generation}"),
            channel::submit_subject("{ledger}", "{source}"),
            channel::queue_subject("{ledger}", "{source}"),
            channel::queue_stream("{ledger}"),
            channel::dead_subject("{ledger}", "{source}"),
            channel::settled_subject("{ledger}", "{source}"),
            channel::dead_stream("{ledger}"),
            channel::on_hand_bucket("{ledger}"),
            channel::on_hand_changes_stream("{ledger}"),
            channel::on_hand_changes_subject("{ledger}", "{item}", "{place}"),
        ];
        // The other two are the escape and its way back.
        assert_eq!(told.len() + 2, functions, "a name was added: describe it, and list it here");
        for name in told {
            assert!(text.contains(&format!("\"{name}\"")) || text.contains(&name), "{name} is missing");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 40, "{}", found.len());
        let files = crate::schemas();
        for reference in found {
            let (file, inside) = reference.split_once('#').unwrap_or((reference, ""));
            let target: Value = match file.strip_prefix("./") {
                None => document.clone(),
                Some(path) => {
                    let content = files.iter().find(|(name, _)| name == path).map(|(_, content)| content);
                    serde_json::from_str(content.unwrap_or_else(|| panic!("{path} is not generated"))).expect("JSON")
                }
            };
            assert!(target.pointer(inside).is_some(), "{reference} leads nowhere");
        }
    }
}
