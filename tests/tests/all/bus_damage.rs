//! A NATS server whose files were damaged, and projectors that were killed.

use std::fs;
use std::path::{Path, PathBuf};

use lotline_bus::stream_name;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use super::bus_projectors::{embedded, publish};
use super::bus_relay::{deliver, frames, plant, reader};
use super::bus_server::{Running, Server, until};
use super::bus_wire::Wire;
use super::cli_binary::run;

/// The server's files of a stream.
fn stored(server: &Server, stream: &str) -> PathBuf {
    let accounts = server.store().join("jetstream");
    let mut found = fs::read_dir(accounts).expect("the store").map(|entry| entry.expect("an account").path());
    let folder =
        found.find_map(|account| Some(account.join("streams").join(stream).join("msgs")).filter(|it| it.is_dir()));
    folder.expect("the stream's messages")
}

/// Flips one bit in the middle of a commit as the server has stored it. `forget` takes the server's index away, too,
/// as after a crash: it then reads all of its messages again when it starts.
pub fn flip(server: &mut Server, stream: &str, commit: &[u8], forget: bool) {
    server.stop();
    let folder = stored(server, stream);
    let block = folder.join("1.blk");
    let mut bytes = fs::read(&block).expect("a block of messages");
    let at = bytes.windows(commit.len()).position(|window| window == commit).expect("the commit is in it");
    bytes[at + commit.len() / 2] ^= 0x04;
    fs::write(&block, bytes).expect("written");
    if forget {
        fs::remove_file(folder.join("index.db")).expect("removed");
    }
    server.run();
}

/// A published plant; its stream's name and its commits.
pub fn published(server: &Server) -> (TempDir, String, Vec<Vec<u8>>) {
    let folder = tempdir().expect("a folder");
    let stream = plant(folder.path(), "plant");
    publish(folder.path(), "plant", &server.url());
    let frames = frames(&reader(folder.path(), "plant"));
    (folder, stream, frames)
}

/// A projector of the inventory up to a commit.
fn project(folder: &Path, server: &Server, until: usize) -> super::cli_binary::Said {
    let until = until.to_string();
    run(folder, &["projector", "inventory", "--nats", &server.url(), "--dir", "elsewhere", "--until", &until])
}

#[test]
fn a_flipped_bit_in_the_servers_store_is_found_with_its_commit_and_healed_by_a_new_generation() {
    let Some(mut server) = Server::start() else { return };
    let (folder, stream, frames) = published(&server);
    let folder = folder.path();
    flip(&mut server, &stream, &frames[3], false);

    let said = project(folder, &server, 6);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains(&format!("lotline: the chain is broken at commit 4 of stream {stream}")), "{said:?}");
    assert!(said.err.contains("lotline relay --read-back"), "it says what to do: {said:?}");
    // What came before is saved, and again it goes no further.
    let said = project(folder, &server, 6);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("3 commits are kept"), "{said:?}");

    let said = run(folder, &["relay", "--read-back", "--once", "--dir", "plant", "--nats", &server.url()]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&format!("kept beside it: {stream} up to commit 6: it has lost commit 4")), "{said:?}");
    let second = stream_name(reader(folder, "plant").ledger(), 2);
    assert_eq!(Wire::connect(&server.url()).messages(&second), frames);
    let said = project(folder, &server, 6);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.ends_with("; 3 commits applied, 4 to 6\n"), "{said:?}");
    assert!(said.out.contains(&embedded(folder, "plant")[1]), "{said:?}");
}

#[test]
fn a_flipped_bit_in_the_last_commit_is_found_although_nothing_follows() {
    let Some(mut server) = Server::start() else { return };
    let (folder, stream, frames) = published(&server);
    flip(&mut server, &stream, &frames[5], false);
    let said = project(folder.path(), &server, 6);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains(&format!("the chain is broken at commit 6 of stream {stream}")), "{said:?}");
}

#[test]
fn a_bit_that_makes_the_server_forget_the_rest_is_healed_by_the_relay() {
    let Some(mut server) = Server::start() else { return };
    let (folder, stream, frames) = published(&server);
    let folder = folder.path();
    flip(&mut server, &stream, &frames[3], true);
    let (count, last) = Wire::connect(&server.url()).count(&stream);
    assert_eq!((count, last), (3, 3), "this server drops an acknowledged tail without a word");

    // The projector waits for what is not there, and gets it from the relay.
    let arguments = ["projector", "inventory", "--nats", &server.url(), "--dir", "elsewhere", "--until", "6"];
    let mut projector = Running::start_as_service(folder, &arguments);
    projector.note("0 commits are kept");
    let said = publish(folder, "plant", &server.url());
    assert!(said.starts_with("3 commits published; "), "{said}");
    let said = projector.end();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&embedded(folder, "plant")[1]), "{said:?}");
    assert_eq!(Wire::connect(&server.url()).messages(&stream), frames);
}

#[test]
fn what_the_stream_has_lost_is_taken_from_a_copy_and_from_no_copy_that_is_damaged_too() {
    let Some(mut server) = Server::start() else { return };
    let (folder, stream, frames) = published(&server);
    let folder = folder.path();
    let mut wire = Wire::connect(&server.url());
    for copy in ["first-copy", "second-copy"] {
        let config = json!({ "name": copy, "storage": "file", "mirror": { "name": stream } });
        let made = wire.ask(&format!("$JS.API.STREAM.CREATE.{copy}"), config.to_string().as_bytes());
        assert_eq!(made["error"], json!(null), "{made}");
        until("it has everything", || (wire.count(copy) == (6, 6)).then_some(()));
    }
    drop(wire);
    flip(&mut server, &stream, &frames[3], false);
    flip(&mut server, "first-copy", &frames[3], false);

    let url = server.url();
    let project = |dir: &str, copies: &[&str]| {
        let mut arguments = vec!["projector", "inventory", "--nats", &url, "--dir", dir, "--until", "6"];
        arguments.extend(copies.iter().flat_map(|copy| ["--copy", copy]));
        run(folder, &arguments)
    };
    let said = project("alone", &["first-copy", "no-such-stream"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("the chain is broken at commit 4"), "{said:?}");
    let said = project("copied", &["no-such-stream", "first-copy", "second-copy"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&embedded(folder, "plant")[1]), "{said:?}");
    assert!(said.out.contains("6 commits applied, 1 to 6; 1 of them from a copy"), "{said:?}");
}

#[test]
fn a_truncated_store_is_filled_again_with_its_index_and_without() {
    for forget in [false, true] {
        let Some(mut server) = Server::start() else { return };
        let (folder, stream, frames) = published(&server);
        let folder = folder.path();
        server.stop();
        let messages = stored(&server, &stream);
        let block = messages.join("1.blk");
        let bytes = fs::read(&block).expect("a block of messages");
        let at = bytes.windows(frames[3].len()).position(|window| window == frames[3]).expect("the commit is in it");
        fs::write(&block, &bytes[..at + frames[3].len() / 2]).expect("written");
        if forget {
            fs::remove_file(messages.join("index.db")).expect("removed");
        }
        server.run();

        // Whatever the server makes of it: a projector goes no further than the chain, and the relay makes it whole.
        let arguments = ["projector", "recall", "--nats", &server.url(), "--dir", "elsewhere", "--until", "6"];
        let mut projector = Running::start_as_service(folder, &arguments);
        projector.note("0 commits are kept");
        let said = run(folder, &["relay", "--read-back", "--once", "--dir", "plant", "--nats", &server.url()]);
        assert_eq!(said.code, 0, "{said:?}");
        let ledger = reader(folder, "plant").ledger();
        let whole = [stream.clone(), stream_name(ledger, 2)];
        let mut wire = Wire::connect(&server.url());
        let there = wire.streams();
        let newest = whole.iter().rev().find(|name| there.contains(name)).expect("a stream");
        assert_eq!(wire.messages(newest), frames, "forgotten index: {forget}");
        let said = projector.end();
        if said.code == 5 {
            assert!(said.err.contains("the chain is broken at commit 4"), "{said:?}");
            let said = run(folder, &arguments);
            assert_eq!(said.code, 0, "{said:?}");
            assert!(said.out.contains(&embedded(folder, "plant")[2]), "{said:?}");
        } else {
            assert_eq!(said.code, 0, "{said:?}");
            assert!(said.out.contains(&embedded(folder, "plant")[2]), "{said:?}");
        }
    }
}

/// The number behind a word in a line.
fn number(line: &str, word: &str) -> u64 {
    let (_, rest) = line.split_once(word).unwrap_or_else(|| panic!("no {word} in {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {word} in {line}"))
}

/// How many commits a projector had saved when it began.
fn kept(projector: &mut Running) -> u64 {
    let line = projector.note(" commits are kept");
    number(&line, ": ")
}

#[test]
fn a_projector_killed_again_and_again_applies_only_what_follows_its_cursor() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let said = run(folder, &["demo", "--days", "30", "--dir", "dairy"]);
    assert_eq!(said.code, 0, "{said:?}");
    publish(folder, "dairy", &server.url());
    let head = super::bus_projectors::commits(folder, "dairy");
    let url = server.url();
    let (until, mut killed, mut saved) = (head.to_string(), 0, 0);
    let arguments = ["projector", "recall", "--nats", &url, "--dir", "own", "--save-every", "16", "--until", &until];
    for _ in 0..6 {
        let mut projector = Running::start_as_service(folder, &arguments);
        let begun = kept(&mut projector);
        assert!(begun >= saved, "{begun} after {saved} had been saved");
        assert!(begun < head, "there is something left to be killed in");
        for _ in 0..2 {
            saved = number(&projector.note("saved commit="), "commit=");
            assert!(saved > begun && saved <= head);
        }
        let said = projector.kill();
        killed += u32::from(said.code != 0);
    }
    assert_eq!(killed, 6, "killed in the middle of its work each time");

    let mut projector = Running::start_as_service(folder, &arguments);
    let begun = kept(&mut projector);
    assert!(begun >= saved && begun < head, "{begun} of {head}");
    let said = projector.end();
    assert_eq!(said.code, 0, "{said:?}");
    let applied = format!("; {} commits applied, {} to {head}\n", head - begun, begun + 1);
    assert_eq!(said.out, format!("{:<10} {}{applied}", "recall", embedded(folder, "dairy")[2]));
    println!("{head} commits; killed 6 times, then {} were applied", head - begun);

    // There is nothing left to do, and it knows.
    let said = run(folder, &arguments);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.ends_with("; 0 commits applied\n"), "{said:?}");
}

#[test]
fn a_projector_at_work_changes_over_to_a_new_generation() {
    let Some(mut server) = Server::start() else { return };
    let (folder, stream, frames) = published(&server);
    let folder = folder.path();
    let mut projector =
        Running::start_as_service(folder, &["projector", "recall", "--nats", &server.url(), "--dir", "elsewhere"]);
    projector.note("saved commit=6");
    // It has read that commit already; nobody who comes later will.
    flip(&mut server, &stream, &frames[1], false);
    let said = run(folder, &["relay", "--read-back", "--once", "--dir", "plant", "--nats", &server.url()]);
    assert!(said.out.contains("(generation 2)"), "{said:?}");
    deliver(folder, "plant", 50..53);
    publish(folder, "plant", &server.url());
    projector.note("saved commit=9");
    let said = projector.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&embedded(folder, "plant")[2]) && said.out.ends_with(", 1 to 9\n"), "{said:?}");
}
