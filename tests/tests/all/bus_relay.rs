//! The relay: what is in the stream is what is in the ledger, byte for byte, whatever happens to either of them.

use std::fs;
use std::path::Path;

use lotline_bus::{Relay, RelayOptions, Stop, stream_name};
use lotline_ledger::{CommitNumber, Entry, Key, LedgerId, Micros, Options, OsStorage, Reader, Writer};
use tempfile::tempdir;

use super::bus_projectors::{commits, embedded, publish};
use super::bus_server::{Running, Server, until};
use super::bus_wire::Wire;
use super::cli_binary::{batch, feed, received, run};

/// The ledger of a data folder.
pub fn reader(folder: &Path, dir: &str) -> Reader {
    Reader::open(OsStorage::shared(), folder.join(dir).join("ledger")).expect("a ledger")
}

/// The bytes of all its commits.
pub fn frames(reader: &Reader) -> Vec<Vec<u8>> {
    reader.refresh().expect("readable");
    reader.frames(CommitNumber::new(1)).map(|frame| frame.expect("sound").into_bytes()).collect()
}

/// Records deliveries with these numbers, in as many commits as there are numbers.
#[track_caller]
pub fn deliver(folder: &Path, dir: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let line = received(&format!("late-{number}"), &batch("milk", &format!("M{number}")), "100");
        let said = feed(folder, &["submit", "--dir", dir], &line);
        assert_eq!(said.code, 0, "{said:?}");
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

/// A small plant with a ledger of some commits; the name of its first stream.
#[track_caller]
pub fn plant(folder: &Path, dir: &str) -> String {
    deliver(folder, dir, 0..6);
    stream_name(reader(folder, dir).ledger(), 1)
}

fn ledger_of_odd_commits(dir: &Path) -> Writer {
    let mut writer =
        Writer::create(OsStorage::shared(), dir, LedgerId::new([7; 16]), Options::default()).expect("created");
    for number in 0u64..40 {
        let events = [1, 2, 300, 4_096][number as usize % 4];
        let bytes = [1, 20, 900, 100][number as usize % 4];
        let entry = |event: u64| Entry::new([Key::new([number as u8; 16])], &vec![event as u8; bytes]);
        let entries: Vec<Entry> = (0..events).map(|event| entry(event).expect("within limits")).collect();
        writer.append(Micros::new(1_000 + number as i64), &entries).expect("durable");
    }
    // The largest that a commit may be: it has to fit into one message.
    let overhead = 100 + 4 + 2 + 16;
    let entry = Entry::new([Key::new([9; 16])], &vec![0xab; lotline_ledger::MAX_FRAME_BYTES - overhead]);
    writer.append(Micros::new(2_000), &[entry.expect("within limits")]).expect("the largest commit");
    writer
}

#[test]
fn the_stream_holds_the_commits_byte_for_byte_under_their_numbers() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let writer = ledger_of_odd_commits(folder.path());
    let bus = server.bus();
    let relayed = Relay::new(&bus, writer.reader(), RelayOptions::default()).once(&Stop::new()).expect("published");
    assert_eq!((relayed.published, relayed.head), (41, CommitNumber::new(41)));

    let mut wire = Wire::connect(&server.url());
    let stream = stream_name(LedgerId::new([7; 16]), 1);
    assert_eq!(wire.streams(), std::slice::from_ref(&stream));
    let messages = wire.messages(&stream);
    assert_eq!(messages, frames(&writer.reader()), "sequence and bytes");
    assert_eq!(messages.iter().map(Vec::len).max(), Some(lotline_ledger::MAX_FRAME_BYTES));

    // Another relay, and the same one again: there is nothing to do.
    for _ in 0..2 {
        let mut again = Relay::new(&bus, writer.reader(), RelayOptions { read_back: true, ..RelayOptions::default() });
        for _ in 0..2 {
            assert_eq!(again.once(&Stop::new()).expect("in step").published, 0);
        }
    }
    assert_eq!(wire.count(&stream), (41, 41), "nothing came twice");
}

#[test]
fn a_relay_keeps_up_with_a_writer_in_another_process() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let stream = plant(folder, "plant");
    // Two of them get into each other's way, and neither comes to harm.
    let arguments = ["relay", "--dir", "plant", "--nats", &server.url()];
    let relays = [Running::start_as_service(folder, &arguments), Running::start_as_service(folder, &arguments)];
    let mut writer = Running::start(folder, &["submit", "--dir", "plant"]);
    for number in 0..200 {
        writer.tell(&received(&format!("r{number}"), &batch("milk", &format!("X{number}")), "100"));
        // Only then the next one, so that there are many commits, and not one of all.
        writer.line();
    }
    let said = writer.end();
    assert_eq!(said.code, 0, "{said:?}");
    let head = commits(folder, "plant");
    assert_eq!(head, 206);

    let mut wire = Wire::connect(&server.url());
    until("the stream has all commits", || (wire.count(&stream).1 == head).then_some(()));
    let mut published = 0;
    for relay in relays {
        let said = relay.interrupt("TERM");
        assert_eq!(said.code, 0, "{said:?}");
        published += said.out.split_once(" commits published").expect("a count").0.parse::<u64>().expect("a count");
    }
    assert!(published <= head, "{published} of {head} commits were published: some twice");
    assert_eq!(wire.messages(&stream), frames(&reader(folder, "plant")));
    assert_eq!(wire.streams(), [stream]);
}

/// Yesterday's copy of a folder, and today's stream of it.
fn rolled_back(folder: &Path, server: &Server) -> (String, Vec<Vec<u8>>) {
    let stream = plant(folder, "today");
    publish(folder, "today", &server.url());
    copy(&folder.join("today"), &folder.join("yesterday"));
    deliver(folder, "today", 100..105);
    publish(folder, "today", &server.url());
    let held = Wire::connect(&server.url()).messages(&stream);
    assert_eq!(held.len(), 11);
    (stream, held)
}

#[test]
fn yesterdays_folder_beside_todays_stream_writes_nothing_and_records_nothing() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let (stream, held) = rolled_back(folder, &server);
    let url = server.url();
    let before = frames(&reader(folder, "yesterday"));
    assert_eq!(before[..], held[..6]);

    let relay = ["relay", "--once", "--dir", "yesterday", "--nats", &url];
    let serve = ["serve", "--dir", "yesterday", "--nats", &url];
    let line = received("new", &batch("milk", "N1"), "100");
    for arguments in [&relay[..], &serve[..]] {
        let said = feed(folder, arguments, &line);
        assert_eq!(said.code, 5, "{said:?}");
        let expected = format!("lotline: stream {stream} has commits up to 11, the ledger ends with 6: the ledger was");
        assert!(said.err.starts_with(&expected), "{said:?}");
        assert!(said.err.contains("relay --catch-up"), "it says what to do: {said:?}");
        assert_eq!(said.out, "", "no command was answered");
    }
    let mut wire = Wire::connect(&url);
    assert_eq!(wire.streams(), std::slice::from_ref(&stream));
    assert_eq!(wire.messages(&stream), held);
    assert_eq!(frames(&reader(folder, "yesterday")), before);
}

#[test]
fn yesterdays_folder_is_caught_up_from_the_stream_when_asked_to() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let (stream, held) = rolled_back(folder, &server);
    let said = run(folder, &["relay", "--catch-up", "--once", "--dir", "yesterday", "--nats", &server.url()]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("5 commits were appended to it from its stream, up to 11"), "{said:?}");
    assert!(said.out.starts_with("0 commits published; "), "{said:?}");
    assert_eq!(frames(&reader(folder, "yesterday")), held, "the same bytes as in the stream");
    assert_eq!(embedded(folder, "yesterday"), embedded(folder, "today"));

    // What was answered then is known now, and the ledger goes on in the same stream.
    let again = received("late-104", &batch("milk", "M104"), "100");
    let said = feed(folder, &["submit", "--dir", "yesterday"], &again);
    assert_eq!((said.code, said.lines()[0]["answer"].as_str()), (0, Some("duplicate")), "{said:?}");
    deliver(folder, "yesterday", 200..203);
    let said = publish(folder, "yesterday", &server.url());
    assert!(said.starts_with("3 commits published; "), "{said}");
    let mut wire = Wire::connect(&server.url());
    assert_eq!(wire.streams(), std::slice::from_ref(&stream));
    let messages = wire.messages(&stream);
    assert_eq!((&messages[..11], messages.len()), (&held[..], 14));
}

#[test]
fn a_stream_of_another_history_is_kept_and_a_new_generation_started_beside_it() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let (stream, held) = rolled_back(folder, &server);
    let url = server.url();
    let projector = ["projector", "inventory", "--nats", &url, "--dir", "old", "--until", "11"];
    let said = run(folder, &projector);
    assert_eq!(said.code, 0, "{said:?}");

    // Recorded without the relay, so that nobody could stop it.
    deliver(folder, "yesterday", 300..307);
    let said = publish(folder, "yesterday", &url);
    assert!(said.starts_with("13 commits published; ") && said.contains("(generation 2)"), "{said}");
    assert!(said.contains(&format!("{stream} up to commit 11: it differs from the ledger from commit 7 on")), "{said}");
    let mut wire = Wire::connect(&url);
    let second = stream_name(reader(folder, "yesterday").ledger(), 2);
    assert_eq!(wire.streams(), [stream.clone(), second.clone()]);
    assert_eq!(wire.messages(&stream), held, "not a byte of it was changed");
    assert_eq!(wire.messages(&second), frames(&reader(folder, "yesterday")));
    assert!(publish(folder, "yesterday", &url).starts_with("0 commits published; "));

    // A projector of the old history does not go on in the new one.
    let said = run(folder, &["projector", "inventory", "--nats", &url, "--dir", "old", "--until", "13"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("the model is as of commit 11 with hash "), "{said:?}");
    let said = run(folder, &["projector", "inventory", "--nats", &url, "--dir", "new", "--until", "13"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&embedded(folder, "yesterday")[1]), "{said:?}");
}

#[test]
fn a_second_writer_beside_a_relay_at_work_is_found_and_nothing_overwritten() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let stream = plant(folder, "one");
    copy(&folder.join("one"), &folder.join("two"));
    let url = server.url();
    let relay = Running::start_as_service(folder, &["relay", "--dir", "one", "--nats", &url]);
    let mut wire = Wire::connect(&url);
    until("the stream is there", || (wire.streams().len() == 1 && wire.count(&stream).1 == 6).then_some(()));
    deliver(folder, "two", 500..509);
    publish(folder, "two", &url);
    deliver(folder, "one", 600..603);
    let said = relay.end();
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains(&format!("another writer has written to stream {stream}")), "{said:?}");
    assert_eq!(wire.streams(), std::slice::from_ref(&stream));
    assert_eq!(wire.messages(&stream), frames(&reader(folder, "two")));
}

#[test]
fn a_server_that_lost_its_tail_is_filled_again_by_the_relay_at_work() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let stream = plant(folder, "plant");
    publish(folder, "plant", &server.url());
    server.stop();
    let older = folder.join("older");
    copy(&server.store(), &older);
    server.run();
    let mut relay = Running::start_as_service(folder, &["relay", "--dir", "plant", "--nats", &server.url()]);
    let url = server.url();
    let holds = |head: u64| {
        until("the stream has all commits", || {
            let mut wire = Wire::connect(&url);
            // A server that lost everything has no stream until the relay makes it.
            (wire.streams().contains(&stream) && wire.count(&stream) == (head, head)).then_some(())
        });
    };
    deliver(folder, "plant", 10..14);
    holds(10);
    // Once more while the relay runs, and more is recorded while there is no server.
    for round in 1..3u32 {
        server.stop();
        fs::remove_dir_all(server.store()).expect("removed");
        copy(&older, &server.store());
        deliver(folder, "plant", round * 100..round * 100 + 3);
        server.run();
        holds(u64::from(10 + 3 * round));
        assert!(relay.lives());
    }
    // A server that has nothing at all gets everything.
    server.stop();
    fs::remove_dir_all(server.store()).expect("removed");
    server.run();
    holds(16);
    let said = relay.interrupt("INT");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(Wire::connect(&url).messages(&stream), frames(&reader(folder, "plant")));
    assert!(said.out.contains("is at commit 16"), "{said:?}");
}
