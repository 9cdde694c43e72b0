//! Feeds of the read models: values in a bucket and changes in a stream, without gap or repeat.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lotline_wire::channel::{text_of, token};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::bus_intake::{ledger, serve, subject};
use super::bus_projectors::{commits, publish};
use super::bus_server::{Running, Server, until};
use super::bus_wire::Wire;
use super::cli_binary::{batch, received, run, ship};

type Rows = BTreeMap<String, Value>;

/// A row without the commit that it is as of.
fn timeless(mut row: Value) -> Value {
    if let Some(row) = row.as_object_mut() {
        row.remove("as_known_at");
    }
    row
}

/// What the command line says is on hand, in order.
#[track_caller]
fn on_hand(folder: &Path) -> Vec<Value> {
    let said = run(folder, &["on-hand", "--dir", "plant", "--json"]);
    let mut rows: Vec<Value> = said.json()["rows"].as_array().expect("rows").iter().cloned().map(timeless).collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

fn sorted(rows: &Rows) -> Vec<Value> {
    let mut rows: Vec<Value> = rows.values().cloned().collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

fn changes_stream(folder: &Path, feed: &str) -> String {
    format!("lotline-{}-{feed}-changes", ledger(folder))
}

/// The values of the bucket by key, each with the commit that it is as of, and what it says of itself.
fn bucket(folder: &Path, wire: &mut Wire, feed: &str) -> (Rows, BTreeMap<String, u64>, Value) {
    let name = format!("lotline-{}-{feed}", ledger(folder));
    let prefix = format!("$KV.{name}.");
    let (mut rows, mut as_of, mut marker) = (Rows::new(), BTreeMap::new(), Value::Null);
    for subject in wire.subjects(&format!("KV_{name}")) {
        let came = wire.stored(&format!("KV_{name}"), &json!({ "last_by_subj": subject }));
        let key = subject.strip_prefix(&prefix).expect("a key").to_owned();
        if key == "as-of" {
            marker = came.json();
            continue;
        }
        let commit: u64 = came.header("Lotline-Commit").expect("a commit").parse().expect("a number");
        as_of.insert(key.clone(), commit);
        if came.header("KV-Operation") == Some("DEL") {
            continue;
        }
        assert_eq!(came.json()["as_known_at"], json!(commit), "it says so inside, too");
        rows.insert(key, timeless(came.json()));
    }
    (rows, as_of, marker)
}

/// Reads all changes, and checks that each follows from those before it; what they lead to.
#[track_caller]
fn followed(folder: &Path, wire: &mut Wire, feed: &str) -> (Rows, Vec<Value>) {
    let stream = changes_stream(folder, feed);
    let (count, last) = wire.count(&stream);
    assert_eq!(count, last, "none is missing");
    let mut rows = Rows::new();
    let mut all = Vec::new();
    let (mut step, mut next, mut of) = ((0, 0), 1, 0);
    for sequence in 1..=last {
        let came = wire.stored(&stream, &json!({ "seq": sequence }));
        let change = came.json();
        let key = change["key"].as_str().expect("a key").to_owned();
        let before = rows.get(&key).cloned().unwrap_or(Value::Null);
        assert_eq!(timeless(change["old"].clone()), before, "change {sequence} follows the one before: {change}");
        assert_ne!(timeless(change["old"].clone()), timeless(change["new"].clone()), "nothing is told twice: {change}");
        if change["new"].is_null() {
            rows.remove(&key);
        } else {
            rows.insert(key, timeless(change["new"].clone()));
        }
        let this = (change["since"].as_u64().expect("a commit"), change["commit"].as_u64().expect("a commit"));
        let (number, whole) = came.header("Lotline-Step").and_then(|text| text.split_once('/')).expect("a step");
        let (number, whole): (u64, u64) = (number.parse().expect("a number"), whole.parse().expect("a number"));
        if this != step {
            assert!(next == of + 1 && this.0 >= step.1 && this.1 > this.0, "{this:?} follows {step:?}, {next} of {of}");
            (step, next, of) = (this, 1, whole);
        }
        assert_eq!((number, whole), (next, of), "{change}");
        next += 1;
        assert_eq!(came.header("Lotline-Commit"), Some(&*this.1.to_string()));
        all.push(change);
    }
    let schema: Value = lotline_wire::schemas()
        .into_iter()
        .find_map(|(path, text)| {
            (path == format!("feeds/{feed}-change.schema.json")).then(|| serde_json::from_str(&text).ok())?
        })
        .expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(all.iter().all(|change| validator.is_valid(change)));
    assert_eq!(next, of + 1, "the last step is whole");
    (rows, all)
}

/// Waits until the bucket is as of a commit that has changes.
fn reached(folder: &Path, wire: &mut Wire, feed: &str, commit: u64) {
    until("the feed has come there", || {
        let stream = format!("KV_lotline-{}-{feed}", ledger(folder));
        let subject = format!("$KV.lotline-{}-{feed}.as-of", ledger(folder));
        if !wire.streams().contains(&stream) || wire.subjects(&stream).is_empty() {
            return None;
        }
        let there = wire.subjects(&stream).contains(&subject);
        let told = there.then(|| wire.stored(&stream, &json!({ "last_by_subj": subject })).json())?;
        (told["commit"].as_u64()? >= commit).then_some(())
    });
}

/// Bucket, changes and command line say the same.
#[track_caller]
fn agree(folder: &Path, wire: &mut Wire) -> Vec<Value> {
    let (values, changes) = told(folder, wire, "on-hand");
    assert_eq!(sorted(&values), on_hand(folder));
    changes
}

/// What a feed has told; its bucket and its changes say the same.
#[track_caller]
fn told(folder: &Path, wire: &mut Wire, feed: &str) -> (Rows, Vec<Value>) {
    let (values, _, marker) = bucket(folder, wire, feed);
    let (rows, changes) = followed(folder, wire, feed);
    assert_eq!(values, rows, "what the changes lead to is in the bucket");
    assert_eq!(marker["sequence"], json!(changes.len()));
    (values, changes)
}

#[test]
fn a_projector_built_beside_the_old_one_is_compared_and_takes_over_its_feed() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let mut serve = Running::start(folder, &["serve", "--dir", "plant", "--nats", &url, "--no-intake", "--no-feed"]);
    let mut record = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            serve.tell(&received(&format!("r{number}"), &batch("milk", &format!("M{}", number % 9)), "10"));
            assert!(serve.line().contains("recorded"));
        }
    };
    record(0..30);
    let mut wire = Wire::connect(&url);
    until("the stream is there", || (!wire.streams().is_empty()).then_some(()));
    let told = ["projector", "inventory", "--feed", "--nats", &url, "--dir"];
    let blue = Running::start_as_service(folder, &[&told[..], &["blue"]].concat());
    reached(folder, &mut wire, "on-hand", 30);

    // Beside it, and telling nothing: up to a commit, where both are to be the same.
    let arguments = ["projector", "inventory", "--nats", &url, "--dir", "green", "--until", "30"];
    let green = run(folder, &arguments);
    assert_eq!(green.code, 0, "{green:?}");
    let before = wire.count(&changes_stream(folder, "on-hand"));
    let blue = blue.interrupt("TERM");
    let digest = |said: &str| said.split_once(';').expect("a digest").0.to_owned();
    let last = blue.out.lines().last().expect("a line");
    assert_eq!(digest(last), digest(&green.out));
    assert!(last.contains("as of commit 30, digest "), "{blue:?}");

    // It takes over: what was told is not told again, what comes is told once.
    record(30..40);
    let _green = Running::start_as_service(folder, &[&told[..], &["green"]].concat());
    reached(folder, &mut wire, "on-hand", 40);
    let changes = agree(folder, &mut wire);
    assert!(
        changes[..usize::try_from(before.0).expect("few")].iter().all(|change| change["commit"].as_u64() <= Some(30))
    );
    assert!(
        changes[usize::try_from(before.0).expect("few")..].iter().all(|change| change["since"].as_u64() >= Some(30))
    );
}

#[test]
fn a_dairy_of_two_weeks_is_told_whole_from_its_stream() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let said = run(folder, &["demo", "--seed", "7", "--days", "14", "--dir", "plant"]);
    assert_eq!(said.code, 0, "{said:?}");
    let url = server.url();
    publish(folder, "plant", &url);
    let mut wire = Wire::connect(&url);
    let head = commits(folder, "plant");
    // A dozen commits at a time, each a step of its own; then nothing more.
    for until in (1..head).step_by(12).chain([head, head]) {
        let arguments =
            ["projector", "inventory", "--feed", "--nats", &url, "--dir", "beside", "--until", &until.to_string()];
        let said = run(folder, &arguments);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let changes = agree(folder, &mut wire);
    assert!(changes.len() > 100, "{}", changes.len());
    assert!(changes.iter().any(|change| change["new"].is_null()), "what is gone is told, too");
    assert!(changes.iter().any(|change| change["new"]["holds"].is_array()), "so are holds");

    // What of it has a date is told by that: an overdrawn place has no stock.
    let (dated, _) = told(folder, &mut wire, "expiring");
    let is_stock =
        |row: &Value| row["quantity"]["value"].as_str().is_some_and(|value| !value.starts_with('-') && value != "0");
    let expected: Vec<Value> =
        on_hand(folder).into_iter().filter(|row| row["expires"].is_object() && is_stock(row)).collect();
    assert!(expected.len() > 30, "{}", expected.len());
    assert_eq!(sorted(&dated), expected);

    // Status follows from the same rows. That nothing is told of it where only a quantity is another, each of its changes
    // says, which are not those of one row to itself.
    let (values, told_of_status) = told(folder, &mut wire, "status");
    assert_eq!(sorted(&values), statuses(folder));
    let held = |row: &Value| row["holds"].is_array();
    assert!(told_of_status.iter().any(|change| !held(&change["old"]) && held(&change["new"])), "holds begin");
    let sites: BTreeSet<&str> = values.keys().filter_map(|key| key.split('.').next()).collect();
    assert_eq!(sites, BTreeSet::from(["_", "tarnbrook-dairy"]), "one site, and what is on its way");
}

/// What the command line says of the states of what is on hand, shares of vessels aside.
#[track_caller]
fn statuses(folder: &Path) -> Vec<Value> {
    let mut rows = on_hand(folder);
    rows.retain(|row| row["by_model"] != json!(true));
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        for field in ["quantity", "unknown", "assumed", "expires"] {
            row.remove(field);
        }
    }
    rows.sort_by_key(ToString::to_string);
    rows
}

#[test]
fn edges_and_exceptions_of_a_dairy_are_told_from_their_own_models() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let said = run(folder, &["demo", "--seed", "7", "--days", "14", "--dir", "plant"]);
    assert_eq!(said.code, 0, "{said:?}");
    let url = server.url();
    publish(folder, "plant", &url);
    let mut wire = Wire::connect(&url);
    let head = commits(folder, "plant");
    for until in (1..head).step_by(30).chain([head, head]) {
        for kind in ["genealogy", "recall"] {
            let arguments =
                ["projector", kind, "--feed", "--nats", &url, "--dir", "beside", "--until", &until.to_string()];
            let said = run(folder, &arguments);
            assert_eq!(said.code, 0, "{said:?}");
        }
    }
    let (exceptions, changes) = told(folder, &mut wire, "exceptions");
    let said = run(folder, &["exceptions", "--dir", "plant", "--json"]).json();
    let open = |row: &&Value| row["state"] == "open";
    let mut expected: Vec<Value> =
        said["rows"].as_array().expect("rows").iter().filter(open).cloned().map(timeless).collect();
    expected.sort_by_key(ToString::to_string);
    assert_eq!(sorted(&exceptions), expected);
    assert!(changes.iter().any(|change| change["new"].is_null()), "what is settled is told, too");
    let negative = format!("lotline.{}.exceptions.tarnbrook-dairy.brook-young.negative", ledger(folder));
    assert!(wire.subjects(&changes_stream(folder, "exceptions")).contains(&negative));

    // What went into the runs behind a cheese and came out of them, as the trace has it.
    let (edges, _) = told(folder, &mut wire, "edges");
    let said = run(folder, &["trace", "brook-young/A26064-C6", "--back", "--dir", "plant", "--json"]).json();
    let mut legs = 0;
    for edge in said["edges"].as_array().expect("edges").iter().filter(|edge| edge["run"].is_object()) {
        let way = if edge["to"]["kind"] == "run" { "in" } else { "out" };
        let same =
            |row: &&Value| (&row["batch"], &row["run"], &row["way"]) == (&edge["batch"], &edge["run"], &json!(way));
        let found: Vec<&Value> = edges.values().filter(same).collect();
        let [row] = found[..] else { panic!("{edge} is told once: {found:?}") };
        assert_eq!(row["tier"], "certain", "{row}");
        assert!(row["events"].as_array().is_some_and(|events| events.contains(&edge["event"])), "{row} {edge}");
        legs += 1;
    }
    assert!(legs > 3, "{legs}");
    for kind in ["production", "vessel", "split"] {
        let of_kind = edges.values().filter(|row| row["kind"] == kind);
        assert!(of_kind.count() > 0 || kind == "split", "{kind}");
    }
}

#[test]
fn what_goes_to_another_site_is_gone_from_one_and_new_at_the_other() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let put = |wire: &mut Wire, id: &str, hour: u32, rest: &str| {
        let line = format!(r#"{{"id":"{id}","source":"erp","occurred_at":"2026-03-01T{hour:02}:00:00Z",{rest}}}"#);
        let answer = wire.request(&to, &[], line.as_bytes()).json();
        assert_eq!(answer["answer"], "recorded", "{answer}");
        answer["receipt"]["commit"].as_u64().expect("a commit")
    };
    for (place, parent) in [("east/dock", "east"), ("west/dock", "west"), ("east/dock/1", "east/dock")] {
        put(
            &mut wire,
            &format!("p-{place}"),
            1,
            &format!(r#""type":"place_defined","place":"{place}","parent":"{parent}""#),
        );
    }
    let line = r#"{"batch":{"item":"milk","code":"M1"},"quantity":{"value":"10","unit":"KGM"}}"#;
    put(&mut wire, "r1", 2, &format!(r#""type":"received","lines":[{line}],"from":"farm","to":"east/dock/1""#));
    put(&mut wire, "k1", 3, &format!(r#""type":"packed","container":"P1","lines":[{line}],"at":"east/dock/1""#));
    let moved = put(&mut wire, "m1", 4, r#""type":"container_moved","containers":["P1"],"to":"west/dock""#);
    reached(folder, &mut wire, "on-hand", moved);
    reached(folder, &mut wire, "status", moved);
    for feed in ["on-hand", "status"] {
        let (_, changes) = told(folder, &mut wire, feed);
        let of_move: Vec<&Value> = changes.iter().filter(|change| change["commit"] == json!(moved)).collect();
        let [gone, new] = of_move[..] else { panic!("{of_move:?}") };
        assert_eq!((gone["old"]["place"].as_str(), gone["new"].is_null()), (Some("east/dock/1"), true), "{gone}");
        assert_eq!((new["new"]["place"].as_str(), new["old"].is_null()), (Some("west/dock"), true), "{new}");
        assert_eq!((&gone["causes"], &new["causes"]), (&json!(["m1"]), &json!(["m1"])));
        for site in ["east", "west"] {
            let subject = format!("lotline.{}.{feed}.{site}.milk.container_3AP1", ledger(folder));
            assert!(wire.subjects(&changes_stream(folder, feed)).contains(&subject), "{subject}");
        }
    }
    // The tree is another: all that lies in it is at another site.
    let joined = put(&mut wire, "p-west", 5, r#""type":"place_defined","place":"west","parent":"north""#);
    reached(folder, &mut wire, "on-hand", joined);
    let (values, _) = told(folder, &mut wire, "on-hand");
    assert_eq!(values.keys().collect::<Vec<_>>(), ["north.milk.M1._.1.container_3AP1"]);
    agree(folder, &mut wire);
}

#[test]
fn each_commit_is_told_with_its_cause_and_a_client_joins_snapshot_and_changes() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let put = |wire: &mut Wire, line: &str| {
        let answer = wire.request(&to, &[], line.as_bytes()).json();
        assert_eq!(answer["answer"], "recorded", "{answer}");
        answer["receipt"]["commit"].as_u64().expect("a commit")
    };
    let names = ["M.1", "M *", "M>", "$M/ä"];
    for (number, code) in names.into_iter().enumerate() {
        put(&mut wire, &received(&format!("r{number}"), &batch("milk.fresh", code), "100"));
    }
    let commit = put(&mut wire, &ship("s1", &batch("milk.fresh", "M.1"), "40"));
    reached(folder, &mut wire, "on-hand", commit);
    let changes = agree(folder, &mut wire);
    let one = changes.iter().find(|change| change["commit"] == json!(commit) && change["old"].is_object());
    let one = one.expect("it was there before");
    assert_eq!((&one["causes"], &one["since"]), (&json!(["s1"]), &json!(commit - 1)));
    let value = |row: &Value| row["quantity"]["value"].as_str().map(str::to_owned);
    assert_eq!((value(&one["old"]), value(&one["new"])), (Some("100".to_owned()), Some("60".to_owned())));

    // Names are tokens, and are read back.
    for change in &changes {
        let key = change["key"].as_str().expect("a key");
        let parts: Vec<String> = key.split('.').map(|part| text_of(part).expect("a token")).collect();
        let [site, item, code, issuer, _, place] = &parts[..] else { panic!("{key}") };
        let row = if change["new"].is_null() { &change["old"] } else { &change["new"] };
        assert_eq!((json!(item), json!(code)), (row["batch"]["item"].clone(), row["batch"]["code"].clone()));
        assert_eq!((issuer.as_str(), json!(place)), ("", row["place"].clone()));
        assert_eq!(site, if place == "dock" { "dock" } else { "" }, "what is on its way is at no site");
    }
    // One item at one place, by the subject alone.
    let of_dock = format!("lotline.{}.on-hand.dock.{}.{}", ledger(folder), token("milk.fresh"), token("dock"));
    assert!(wire.subjects(&changes_stream(folder, "on-hand")).contains(&of_dock));

    // A client: the snapshot, and then only what is beyond it, key by key.
    let (mut mine, as_of, marker) = bucket(folder, &mut wire, "on-hand");
    let mut last = 0;
    for number in 0..30 {
        last = put(&mut wire, &received(&format!("more{number}"), &batch("milk.fresh", names[number % 4]), "1"));
    }
    reached(folder, &mut wire, "on-hand", last);
    let from = marker["sequence"].as_u64().expect("a sequence") + 1;
    let stream = changes_stream(folder, "on-hand");
    for sequence in from..=wire.count(&stream).1 {
        let change = wire.stored(&stream, &json!({ "seq": sequence })).json();
        let key = change["key"].as_str().expect("a key").to_owned();
        if change["commit"].as_u64() > as_of.get(&key).copied() {
            mine.insert(key, timeless(change["new"].clone()));
        }
    }
    assert_eq!(sorted(&mine), on_hand(folder));
    agree(folder, &mut wire);
}

#[test]
fn killed_and_restarted_projectors_leave_no_gap_and_no_repeat() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    // The service tells nothing itself here; two projectors do, at once, and are killed in turn.
    let mut serve = Running::start(folder, &["serve", "--dir", "plant", "--nats", &url, "--no-intake", "--no-feed"]);
    let mut number = 0_u32;
    let mut record = |count: u32| {
        for _ in 0..count {
            number += 1;
            serve.tell(&received(&format!("r{number}"), &batch("milk", &format!("M{}", number % 50)), "10"));
            assert!(serve.line().contains("recorded"));
        }
        u64::from(number)
    };
    record(1);
    let mut wire = Wire::connect(&url);
    until("the stream is there", || (wire.streams().len() == 1).then_some(()));
    let projector = |dir: &str| {
        let arguments = ["projector", "inventory", "--feed", "--nats", &url, "--dir", dir, "--save-every", "7"];
        let mut projector = Running::start_as_service(folder, &arguments);
        projector.note("commits are kept");
        projector
    };
    let mut pair = [projector("one"), projector("two")];
    for round in 0..6 {
        let head = record(40);
        let dir = ["one", "two"][round % 2];
        let replaced = std::mem::replace(&mut pair[round % 2], projector_of(folder, &url, "spare"));
        replaced.kill();
        let spare = std::mem::replace(&mut pair[round % 2], projector(dir));
        spare.kill();
        if round == 3 {
            server.stop();
            server.run();
            wire = Wire::connect(&url);
        }
        if round % 2 == 1 {
            reached(folder, &mut wire, "on-hand", head - 1);
        }
    }
    let head = record(1);
    reached(folder, &mut wire, "on-hand", head);
    for projector in pair {
        assert_eq!(projector.interrupt("TERM").code, 0);
    }
    let changes = agree(folder, &mut wire);
    assert!(changes.len() > 50, "{}", changes.len());
}

/// Found with a client that took its snapshot between: the bucket was brought up to the last whole step, and said that it
/// had what was told of the next one.
#[test]
fn a_bucket_behind_a_step_that_was_begun_says_no_more_than_it_has() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let project = |folder: &Path, url: &str| {
        let until = commits(folder, "plant").to_string();
        let arguments = ["projector", "inventory", "--feed", "--nats", url, "--dir", "beside", "--until", &until];
        let said = run(folder, &arguments);
        assert_eq!(said.code, 0, "{said:?}");
    };
    let lines: Vec<String> =
        (0..40).map(|number| received(&format!("r{number}"), &batch("milk", &format!("M{number}")), "10")).collect();
    for (name, lines) in [("first", &lines[..20]), ("second", &lines[20..])] {
        std::fs::write(folder.join(name), lines.join("\n")).expect("written");
        let said = run(folder, &["submit", "--dir", "plant", name]);
        assert_eq!(said.code, 0, "{said:?}");
        publish(folder, "plant", &url);
        project(folder, &url);
    }
    let mut wire = Wire::connect(&url);
    let stream = changes_stream(folder, "on-hand");
    let changes = agree(folder, &mut wire);
    // Its last step, and where the one before it ends.
    let last = &changes[changes.len() - 1]["commit"];
    let whole = changes.iter().filter(|change| change["commit"] != *last).count();
    assert!(whole > 0 && changes.len() > whole + 1, "{whole} of {}", changes.len());

    // Of the last step only one change was told, and of no step any value was kept.
    wire.cut(&stream, whole as u64 + 1);
    wire.delete(&format!("KV_lotline-{}-on-hand", ledger(folder)));
    wire.listen(&format!("$KV.lotline-{}-on-hand.as-of", ledger(folder)));
    project(folder, &url);
    let mut marks = [wire.next(), wire.next()].map(|came| came.json());
    assert_eq!((&marks[0]["commit"], &marks[0]["sequence"]), (&changes[whole - 1]["commit"], &json!(whole)));
    assert_eq!(marks[1]["sequence"].take(), json!(changes.len()));
    agree(folder, &mut Wire::connect(&url));
}

#[test]
fn a_server_that_lost_everything_is_told_everything_again() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let serve = serve(folder, &server, &[]);
    for round in 0..2 {
        let mut wire = Wire::connect(&server.url());
        let to = subject(folder, &mut wire, "erp");
        let mut commit = 0;
        for number in 0..10 {
            let line = received(&format!("r{round}-{number}"), &batch("milk", &format!("M{number}")), "100");
            commit = wire.request(&to, &[], line.as_bytes()).json()["receipt"]["commit"].as_u64().expect("a commit");
        }
        reached(folder, &mut wire, "on-hand", commit);
        agree(folder, &mut wire);
        if round == 0 {
            server.stop();
            std::fs::remove_dir_all(server.store()).expect("removed");
            server.run();
        }
    }
    assert_eq!(serve.interrupt("TERM").code, 0);
}

/// One more that tells, in a folder of its own.
fn projector_of(folder: &Path, url: &str, dir: &str) -> Running {
    Running::start_as_service(folder, &["projector", "inventory", "--feed", "--nats", url, "--dir", dir])
}

/// By site, item and day; a date that is corrected leaves its subject and comes to another.
#[test]
fn stock_with_a_date_is_told_by_site_item_and_day() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let to = subject(folder, &mut wire, "erp");
    let put = |wire: &mut Wire, id: &str, hour: u32, rest: &str| {
        let line = format!(r#"{{"id":"{id}","source":"erp","occurred_at":"2026-03-01T{hour:02}:00:00Z",{rest}}}"#);
        let answer = wire.request(&to, &[], line.as_bytes()).json();
        assert_eq!(answer["answer"], "recorded", "{answer}");
        answer["receipt"]["commit"].as_u64().expect("a commit")
    };
    put(&mut wire, "p1", 1, r#""type":"place_defined","place":"east","time_zone":"Europe/Berlin""#);
    put(&mut wire, "p2", 1, r#""type":"place_defined","place":"east/dock","parent":"east""#);
    let dated = |day: &str| {
        format!(
            r#""type":"received","from":"farm","to":"east/dock","lines":[{{"batch":{{"item":"curd","code":"C1"}},"quantity":{{"value":"10","unit":"KGM"}},"expires":"{day}"}},{{"batch":{{"item":"salt","code":"S1"}},"quantity":{{"value":"3","unit":"KGM"}}}}]"#
        )
    };
    put(&mut wire, "r1", 2, &dated("2026-03-28"));
    // What is split off inherits the date, here and at a place without a zone.
    let parts = r#""outputs":[{"batch":{"item":"curd","code":"C2"},"quantity":{"value":"4","unit":"KGM"},"to":"east/dock"},{"batch":{"item":"curd","code":"C3"},"quantity":{"value":"1","unit":"KGM"},"to":"west"}]"#;
    let whole =
        r#""inputs":[{"batch":{"item":"curd","code":"C1"},"quantity":{"value":"5","unit":"KGM"},"from":"east/dock"}]"#;
    let split = put(&mut wire, "s1", 3, &format!(r#""type":"split","run":"R1",{whole},{parts}"#));
    reached(folder, &mut wire, "expiring", split);
    let stream = changes_stream(folder, "expiring");
    let subjects = |day: &str, site: &str| format!("lotline.{}.expiring.{site}.curd.{day}", ledger(folder));
    let (values, changes) = told(folder, &mut wire, "expiring");
    assert_eq!(changes.len(), 4, "three batches, and what is left of the first: {changes:?}");
    let keys: Vec<&str> = values.keys().map(String::as_str).collect();
    let key = |site: &str, code: &str, place: &str| format!("{site}.curd.2026-03-28.{code}._.1.{place}");
    assert_eq!(keys, [key("east", "C1", "east_2Fdock"), key("east", "C2", "east_2Fdock"), key("west", "C3", "west")]);
    assert_eq!(
        values[&key("east", "C2", "east_2Fdock")]["expires"],
        json!({
            "told": "2026-03-28", "day": "2026-03-28", "at": "2026-03-28T23:00:00Z", "time_zone": "Europe/Berlin",
            "inherited_from": {"item": "curd", "code": "C1"}, "event": "r1"
        })
    );
    let west = &values[&key("west", "C3", "west")]["expires"];
    assert_eq!((&west["at"], &west["zone_unknown"]), (&json!("2026-03-29T00:00:00Z"), &json!(true)));
    // The feed is what is on hand with a date.
    let expected: Vec<Value> = on_hand(folder).into_iter().filter(|row| row["expires"].is_object()).collect();
    assert_eq!(sorted(&values), expected);
    assert_eq!(on_hand(folder).len(), expected.len() + 1, "salt has none");

    // The date was wrong: another day for it, and for those that inherited it.
    let supersede = format!(
        r#""type":"corrected","target":"r1","correction":{{"supersede":{{"occurred_at":"2026-03-01T02:00:00Z","fact":{{{}}}}}}}"#,
        dated("2026-03-29")
    );
    let corrected = put(&mut wire, "r2", 4, &supersede);
    reached(folder, &mut wire, "expiring", corrected);
    let (values, changes) = told(folder, &mut wire, "expiring");
    let of_it: Vec<&Value> = changes.iter().filter(|change| change["commit"] == json!(corrected)).collect();
    assert_eq!(of_it.iter().filter(|change| change["new"].is_null()).count(), 3, "{of_it:?}");
    assert_eq!(of_it.iter().filter(|change| change["old"].is_null()).count(), 3, "{of_it:?}");
    let cause = |change: &&Value| change["causes"] == json!(["r2"]);
    assert!(of_it.iter().all(cause), "{of_it:?}");
    // In summer time the day ends an hour earlier.
    let ends: BTreeSet<&str> = values.values().filter_map(|row| row["expires"]["at"].as_str()).collect();
    assert_eq!(ends, BTreeSet::from(["2026-03-29T22:00:00Z", "2026-03-30T00:00:00Z"]));
    for (day, site) in [("2026-03-28", "east"), ("2026-03-29", "east"), ("2026-03-28", "west"), ("2026-03-29", "west")]
    {
        assert!(wire.subjects(&stream).contains(&subjects(day, site)), "{day} {site}");
    }
    assert!(values.keys().all(|key| key.split('.').nth(2) == Some("2026-03-29")), "{values:?}");

    // Another zone of the site: the same day, and another end of it. What is used up is gone.
    put(&mut wire, "p3", 5, r#""type":"place_defined","place":"east","time_zone":"Asia/Kathmandu""#);
    let gone = r#""type":"disposed","sink":"destroyed","lines":[{"batch":{"item":"curd","code":"C2"},"quantity":{"value":"4","unit":"KGM"},"from":"east/dock"}]"#;
    let gone = put(&mut wire, "d1", 6, gone);
    reached(folder, &mut wire, "expiring", gone);
    let (values, _) = told(folder, &mut wire, "expiring");
    let ends: Vec<&str> = values.values().filter_map(|row| row["expires"]["at"].as_str()).collect();
    assert_eq!(ends, ["2026-03-29T18:15:00Z", "2026-03-30T00:00:00Z"]);

    // The question over NATS, with the bytes of the command line.
    let ask = format!("lotline.{}.ask.on-hand", ledger(folder));
    let question = json!({ "expires_before": "2026-03-29T20:00:00Z", "min_commit": gone });
    let came = wire.request(&ask, &[], question.to_string().as_bytes());
    let said = run(folder, &["on-hand", "--expires-before", "2026-03-29T20:00:00Z", "--json", "--dir", "plant"]);
    assert_eq!(came.json(), said.json());
    assert_eq!(came.json()["rows"].as_array().map(Vec::len), Some(1), "{}", came.json());
    let came = wire.request(&ask, &[], json!({ "expires_before": "2026-02-30" }).to_string().as_bytes());
    assert_eq!(came.code(), Some("400"), "{came:?}");
    let why = came.answer().to_string();
    assert!(why.contains("expires_before") && why.contains("the last one of that month is 2026-02-28"), "{why}");
}
