//! Snapshots of read models: kept on the server by one projector, begun with by another.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::bus_intake::ledger;
use super::bus_projectors::{commits, publish};
use super::bus_server::{Running, Server, until};
use super::bus_wire::Wire;
use super::cli_binary::{Said, batch, received, run};

const KINDS: [&str; 3] = ["genealogy", "inventory", "recall"];

fn dairy(folder: &Path) {
    let said = run(folder, &["demo", "--seed", "11", "--days", "14", "--dir", "plant"]);
    assert_eq!(said.code, 0, "{said:?}");
}

/// A projector up to the ledger's last commit.
#[track_caller]
fn project(folder: &Path, url: &str, kind: &str, dir: &str, more: &[&str]) -> Said {
    let until = commits(folder, "plant").to_string();
    let arguments = ["projector", kind, "--nats", url, "--dir", dir, "--until", &until];
    let said = run(folder, &[&arguments[..], more].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said
}

/// Kind, commit and digest, as both `projector` and `rebuild` tell them.
fn digest(line: &str) -> String {
    line.split_once(';').map_or(line, |(told, _)| told).trim().to_owned()
}

/// The digests of read models made from the ledger itself.
fn own(folder: &Path) -> Vec<String> {
    let said = run(folder, &["rebuild", "--dir", "plant"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out.lines().map(digest).collect()
}

fn more(folder: &Path, id: &str) {
    std::fs::write(folder.join("more"), received(id, &batch("milk", id), "10")).expect("written");
    let said = run(folder, &["submit", "--dir", "plant", "more"]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn key(folder: &Path, key: &str) -> String {
    format!("$KV.lotline-{}-snapshots.{key}", ledger(folder))
}

fn head(folder: &Path, wire: &mut Wire, kind: &str) -> Value {
    let stream = format!("KV_lotline-{}-snapshots", ledger(folder));
    let head = wire.stored(&stream, &json!({ "last_by_subj": key(folder, &format!("{kind}.head")) })).json();
    let schema = lotline_wire::schemas().into_iter().find(|(path, _)| path == "feeds/snapshot-head.schema.json");
    let schema: Value = serde_json::from_str(&schema.expect("a schema").1).expect("JSON");
    assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&head), "{head}");
    head
}

#[test]
fn who_begins_with_a_snapshot_applies_what_is_behind_it_and_comes_to_the_same() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    dairy(folder);
    publish(folder, "plant", &url);
    let mut wire = Wire::connect(&url);
    let first = commits(folder, "plant");
    for kind in KINDS {
        let said = project(folder, &url, kind, "beside", &["--from-snapshot", "--snapshot-every", "1000000"]);
        assert!(said.err.contains("the server has no snapshot of it"), "{said:?}");
        let head = head(folder, &mut wire, kind);
        assert_eq!((&head["commit"], &head["model"]), (&json!(first), &json!(kind)));
    }
    more(folder, "later");
    publish(folder, "plant", &url);
    let own = own(folder);
    for kind in KINDS {
        let said = project(folder, &url, kind, "other", &["--from-snapshot"]);
        assert!(said.err.contains(&format!("begun with the snapshot as of commit {first}")), "{said:?}");
        assert!(said.out.contains(&format!("; 1 commits applied, {} to {}", first + 1, first + 1)), "{said:?}");
        assert!(own.contains(&digest(&said.out)), "{said:?} {own:?}");
        // Where there is a model already it goes on, and without being asked to nobody looks for one.
        let said = project(folder, &url, kind, "other", &["--from-snapshot"]);
        assert!(!said.err.contains("snapshot") && said.out.contains("0 commits applied"), "{said:?}");
        let said = project(folder, &url, kind, "third", &[]);
        assert!(said.out.contains(&format!("{} commits applied, 1 to", first + 1)), "{said:?}");
    }

    // The next one stands in the other place, the one after that in the first.
    let places: Vec<Value> = ["second", "third", "fourth"]
        .into_iter()
        .map(|id| {
            more(folder, id);
            publish(folder, "plant", &url);
            // Only the one at the end: how many are kept on the way is a matter of time.
            project(folder, &url, "recall", "beside", &["--snapshot-every", "1000000"]);
            let head = head(folder, &mut wire, "recall");
            assert_eq!(head["commit"], json!(commits(folder, "plant")));
            head["place"].clone()
        })
        .collect();
    assert_eq!(places, ["b", "a", "b"]);
}

#[test]
fn a_projector_at_work_keeps_snapshots_and_one_that_is_killed_leaves_a_whole_one() {
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
    let arguments =
        ["projector", "inventory", "--nats", &url, "--dir", "beside", "--snapshot-every", "5", "--save-every", "3"];
    let projector = Running::start_as_service(folder, &arguments);
    let subject = key(folder, "inventory.head");
    let stream = format!("KV_lotline-{}-snapshots", ledger(folder));
    let mut reached = |commit: u64| {
        until("there is a snapshot", || {
            let there = wire.streams().contains(&stream) && wire.subjects(&stream).contains(&subject);
            there.then_some(())?;
            (head(folder, &mut wire, "inventory")["commit"].as_u64()? >= commit).then_some(())
        });
    };
    reached(26);
    record(30..60);
    reached(56);
    projector.kill();
    record(60..62);
    let arguments = ["projector", "inventory", "--nats", &url, "--dir", "other", "--until", "62", "--from-snapshot"];
    let said = run(folder, &arguments);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("begun with the snapshot as of commit "), "{said:?}");
    assert_eq!(serve.interrupt("TERM").code, 0);
    assert!(own(folder).contains(&digest(&said.out)), "{said:?}");
}

#[test]
fn an_unfit_snapshot_is_told_and_the_model_begins_at_the_first_commit() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    dairy(folder);
    publish(folder, "plant", &url);
    let mut wire = Wire::connect(&url);
    let until = commits(folder, "plant");
    let own = own(folder);
    project(folder, &url, "inventory", "beside", &["--snapshot-every", "1"]);
    let good = head(folder, &mut wire, "inventory");
    let head_key = key(folder, "inventory.head");
    let stream = format!("KV_lotline-{}-snapshots", ledger(folder));
    let part_key = key(folder, &format!("inventory.{}.1", good["place"].as_str().expect("a place")));
    let part = wire.stored(&stream, &json!({ "last_by_subj": part_key })).body;
    let mut dirs = 0;
    let mut begins = |wire: &mut Wire, head: &Value, part: &[u8], why: &str| {
        assert!(wire.request(&head_key, &[], head.to_string().as_bytes()).json()["seq"].is_u64());
        assert!(wire.request(&part_key, &[], part).json()["seq"].is_u64());
        dirs += 1;
        let said = project(folder, &url, "inventory", &format!("beside-{dirs}"), &["--from-snapshot"]);
        assert!(said.err.contains(why) && said.err.contains("begins at the first commit"), "{why}: {said:?}");
        assert!(said.out.contains(&format!("; {until} commits applied, 1 to {until}")), "{said:?}");
        assert!(own.contains(&digest(&said.out)), "{said:?}");
    };
    let with = |field: &str, value: Value| {
        let mut head = good.clone();
        head[field] = value;
        head
    };
    let mut flipped = part.clone();
    flipped[part.len() / 2] ^= 1;
    begins(&mut wire, &good, &flipped, "its parts are others");
    begins(&mut wire, &with("parts", json!(99)), &part, "is not there");
    begins(&mut wire, &with("version", json!(9_999)), &part, "is of version 9999");
    // Pages that seal themselves are looked at again: what was flipped before it was sent is found, too.
    if good["parts"] == json!(1) {
        let sum = blake3::hash(&flipped).to_hex().to_string();
        begins(&mut wire, &with("blake3", json!(sum)), &flipped, "is no read model");
    }
    begins(&mut wire, &with("commit", json!(until - 1)), &part, "is as of commit");
    begins(&mut wire, &json!("nonsense"), &part, "its head cannot be read");
    // Who keeps one puts it in the place of a head that cannot be read.
    project(folder, &url, "inventory", "beside", &["--snapshot-every", "1000000"]);
    assert_eq!(head(folder, &mut wire, "inventory")["commit"], json!(until));
    // As it was it is taken.
    assert!(wire.request(&head_key, &[], good.to_string().as_bytes()).json()["seq"].is_u64());
    let said = project(folder, &url, "inventory", "whole", &["--from-snapshot"]);
    assert!(said.out.contains("0 commits applied"), "{said:?}");
}
