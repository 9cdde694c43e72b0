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
        "What came of it in a word: recorded, duplicate, rejected, conflict, refused, failed or busy; of a question answered, nothing, refused, failed or busy.",
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

const QUESTION: [Header; 1] = [header(channel::LEDGER, "The ledger that is meant; another one's is refused.")];

const PARTS: [Header; 1] = [header(
    channel::PART,
    "Of an answer in several messages, which only come where the question says `parts`: its number, from 1, and how many there are: 2/5. Their bodies, one behind the other, are the answer.",
)];

const COMMIT: [Header; 2] = [
    header("Nats-Msg-Id", "The commit's hash, hexadecimal."),
    number("Nats-Expected-Last-Sequence", "The commit's number less one: its sequence in the stream is its number."),
];

/// What each code of an error means.
const CODES: [(u16, &str); 11] = [
    (code::SEVERAL, "what is asked for fits several batches; the answer lists them"),
    (code::UNREADABLE, "unreadable: mend the message"),
    (code::OTHER_SOURCE, "it names another source than its subject does"),
    (code::UNKNOWN, "nothing is recorded of what is asked for"),
    (code::CONFLICT, "its id was used before with other content; the first use stands"),
    (code::TOO_LARGE, "too large: split it; of a question, the answer is: ask for less, or for parts"),
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
    let letters = json!({ "stream": channel::dead_stream(ledger), "retention": "limits", "discard": "new" });
    let mut channels = json!({
        "submit": address(&channel::submit_subject(ledger, source),
            "Requests. Each is answered when its commit is durable; one without an answer promises nothing. A NATS service: $SRV.PING, $SRV.INFO and $SRV.STATS find and measure it.",
            &[LEDGER, SOURCE], &["command"], Value::Null),
        "answers": { "address": null, "description": "The reply subject of a request, or where Lotline-Reply-To asks for it.",
            "messages": { "answer": { "$ref": "#/components/messages/answer" } } },
        "told": { "address": null, "description": "The reply subject of a question.",
            "messages": questions().map(|kind| (format!("{kind}-answer"), json!({ "$ref": format!("#/components/messages/{kind}-answer") })))
                .collect::<Map<String, Value>>() },
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
    });
    for kind in questions() {
        let says = "Questions, answered by whoever knows: `serve`, and projectors. A NATS service, lotline-ask; who answers one kind shares its questions.";
        channels[format!("ask-{kind}")] =
            address(&channel::ask_subject(ledger, kind), says, &[LEDGER], &[&format!("ask-{kind}")], Value::Null);
    }
    for feed in &FEEDS {
        let (name, bucket) = (feed.name, channel::feed_bucket(ledger, feed.name));
        let kept = json!({ "stream": format!("KV_{bucket}"), "bucket": bucket });
        let [first, second, third] = feed.tokens;
        let tokens = [first, second, third].map(|(token, _)| format!("{{{token}}}"));
        let key = ("key", feed.key);
        channels[format!("{name}-changes")] = address(
            &channel::feed_subject(ledger, name, [&tokens[0], &tokens[1], &tokens[2]]),
            &format!("How {} changed, in order, without gap or repeat.", feed.says),
            &[LEDGER, first, second, third],
            &[&format!("{name}-change")],
            json!({ "stream": channel::feed_stream(ledger, name), "retention": "limits", "discard": "new", "denyDelete": true }),
        );
        channels[name] = address(
            &format!("$KV.{bucket}.{{key}}"),
            &format!(
                "What is now: {}. Read it, then apply the changes beyond the commit that each value is as of.",
                feed.says
            ),
            &[LEDGER, key],
            &[&format!("{name}-value")],
            kept.clone(),
        );
        channels[format!("{name}-as-of")] = address(
            &format!("$KV.{bucket}.{}", channel::AS_OF_KEY),
            "Up to which change all values of the bucket are: read it first, and follow the changes behind it.",
            &[LEDGER],
            &["asOf"],
            kept,
        );
    }
    let bucket = channel::snapshots_bucket(ledger);
    let kept = json!({ "stream": format!("KV_{bucket}"), "bucket": bucket });
    let model = ("model", "`genealogy`, `inventory` or `recall`.");
    channels["snapshot"] = address(
        &format!("$KV.{bucket}.{}", channel::snapshot_head_key("{model}")),
        "The newest whole snapshot of a read model, to begin another one with.",
        &[LEDGER, model],
        &["snapshot"],
        kept.clone(),
    );
    channels["snapshot-part"] = address(
        &format!("$KV.{bucket}.{}", channel::snapshot_part_key("{model}", "{place}", "{part}")),
        "A part of a snapshot.",
        &[LEDGER, model, ("place", "`a` or `b`, in turn."), ("part", "Its number, from 1.")],
        &["snapshotPart"],
        kept,
    );
    channels
}

/// The kinds of questions.
fn questions() -> impl Iterator<Item = &'static str> {
    crate::question::question_schemas().into_iter().map(|(kind, _)| kind)
}

/// A feed of a read model.
struct Feed {
    name: &'static str,
    says: &'static str,
    tokens: [(&'static str, &'static str); 3],
    key: &'static str,
    row: &'static str,
}

const SITE: (&str, &str) = (
    "site",
    "The top of the tree of places that the place lies in, as a token; for goods in a container where that stands. `_` where it lies in none: on its way, unplaced. What goes to another site is gone from one and new at the other.",
);
const ITEM: (&str, &str) = ("item", "The item as a token; `_` where only a code is known.");
const PLACE: (&str, &str) = ("place", "The very place as a token: a container, say, not where it stands.");

const FEEDS: [Feed; 5] = [
    Feed {
        name: "on-hand",
        says: "what is on hand",
        tokens: [SITE, ITEM, PLACE],
        key: "SITE.ITEM.CODE.ISSUER.GENERATION.PLACE, each a token, and `.share` behind it for what a mix model says of a vessel.",
        row: "./answers/on-hand.schema.json#/$defs/OnHandRow",
    },
    Feed {
        name: "status",
        says: "the state and the holds of what is on hand",
        tokens: [SITE, ITEM, PLACE],
        key: "SITE.ITEM.CODE.ISSUER.GENERATION.PLACE, each a token.",
        row: "./feeds/status-change.schema.json#/$defs/StatusRow",
    },
    Feed {
        name: "expiring",
        says: "all stock of which somebody told until when it is good; what is soon follows from the reader's clock",
        tokens: [SITE, ITEM, ("day", "The last local day on which it is good: 2026-12-01.")],
        key: "SITE.ITEM.DAY.CODE.ISSUER.GENERATION.PLACE, each a token, and `.share` behind it for what a mix model says of a vessel. Another day is another key.",
        row: "./answers/on-hand.schema.json#/$defs/OnHandRow",
    },
    Feed {
        name: "edges",
        says: "what went into runs and vessels, and came out of them",
        tokens: [("kind", "production, split, merge, repack or vessel."), ITEM, ("way", "in or out.")],
        key: "KIND.ITEM.CODE.ISSUER.GENERATION.WAY.HUB, each a token; HUB is the vessel, or SOURCE/NAME#GENERATION of the run.",
        row: "./feeds/edges-change.schema.json#/$defs/EdgeRow",
    },
    Feed {
        name: "exceptions",
        says: "open discrepancies of the records",
        tokens: [SITE, ITEM, ("kind", "The kind of discrepancy, in words, as a token.")],
        key: "SITE.ITEM.KIND.CODE.ISSUER.GENERATION.PLACE.CAUSE, each a token.",
        row: "./answers/exceptions.schema.json#/$defs/ExceptionRow",
    },
];

fn operations() -> Value {
    let operation = |action: &str, channel: &str, says: &str| json!({ "action": action, "channel": { "$ref": format!("#/channels/{channel}") }, "summary": says });
    let mut submit = operation("receive", "submit", "Record a command, and answer.");
    submit["reply"] = json!({ "channel": { "$ref": "#/channels/answers" } });
    let mut operations = json!({
        "submit": submit,
        "takeFromQueue": operation("receive", "queue", "Record what is queued."),
        "putAside": operation("send", "deadLetters", "Keep what cannot be taken."),
        "settle": operation("send", "settledLetters", "Keep what became of it."),
        "publishCommit": operation("send", "commits", "Publish a commit."),
    });
    for kind in questions() {
        let name = format!("ask-{kind}");
        operations[&name] = operation("receive", &name, "Answer a question.");
        operations[&name]["reply"] = json!({ "channel": { "$ref": "#/channels/told" } });
    }
    for Feed { name, .. } in &FEEDS {
        operations[format!("tell-{name}-change")] = operation("send", &format!("{name}-changes"), "Tell a change.");
        operations[format!("keep-{name}")] = operation("send", name, "Keep the value that is so now.");
        operations[format!("keep-{name}-as-of")] =
            operation("send", &format!("{name}-as-of"), "Say up to where the values are.");
    }
    operations["keep-snapshot"] = operation("send", "snapshot", "Say that a snapshot is whole.");
    operations["keep-snapshot-part"] = operation("send", "snapshot-part", "Keep a part of a snapshot.");
    operations
}

fn messages() -> Value {
    let json = "application/json";
    let original = json!({ "description": "The body as it came." });
    let mut messages = json!({
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
        "snapshot": message("Snapshot", "A snapshot, when all of its parts are there.", json, headers(&[&VALUE]),
            file("./feeds/snapshot-head.schema.json")),
        "snapshotPart": message("Part of a snapshot", "Pages of a read model, which programs of the same version read.",
            "application/octet-stream", headers(&[&VALUE]), json!({ "type": "string", "format": "binary", "maxLength": 900_000 })),
        "asOf": message("As of", "Up to where a bucket is.", json, headers(&[&VALUE]), file("./feeds/as-of.schema.json")),
    });
    for kind in questions() {
        messages[format!("ask-{kind}")] = message(
            &format!("Question: {kind}"),
            "What the command line asks, with the same parameters; an empty body names none.",
            json,
            headers(&[&QUESTION]),
            file(&format!("./queries/{kind}.schema.json")),
        );
        messages[format!("{kind}-answer")] = message(
            &format!("Answer: {kind}"),
            "The bytes that the command line gives with --json. Empty with an error: why stands in Lotline-Answer-Body, by answers/unanswered.schema.json.",
            json,
            headers(&[&ANSWER, &PARTS]),
            file(&format!("./answers/{kind}.schema.json")),
        );
    }
    for Feed { name, says, row, .. } in &FEEDS {
        messages[format!("{name}-change")] = message(
            &format!("Change: {name}"),
            &format!("How {says} changed: old and new value, and the events behind it."),
            json,
            headers(&[&CHANGE]),
            file(&format!("./feeds/{name}-change.schema.json")),
        );
        messages[format!("{name}-value")] = message(
            &format!("Value: {name}"),
            &format!("A row of {says}; empty where nothing is there any more."),
            json,
            headers(&[&VALUE]),
            file(row),
        );
    }
    messages
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
        for name in names().into_iter().filter(|name| ![channel::SERVICE].contains(name)) {
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
            channel::ask_subject("{ledger}", "trace"),
            channel::feed_bucket("{ledger}", "status"),
            channel::snapshots_bucket("{ledger}"),
            channel::snapshot_head_key("{model}"),
            channel::snapshot_part_key("{model}", "{place}", "{part}"),
            channel::feed_stream("{ledger}", "edges"),
            channel::feed_subject("{ledger}", "on-hand", ["{site}", "{item}", "{place}"]),
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
