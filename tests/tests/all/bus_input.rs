//! What a person or a script gets wrong about servers, streams and folders: one message, and a code to tell them apart.

use std::fs;
use std::path::{Path, PathBuf};

use lotline_bus::{stream_name, subject};
use lotline_ledger::{Entry, Key, LedgerId, Micros, Options, OsStorage, Writer};
use tempfile::tempdir;

use super::bus_projectors::publish;
use super::bus_relay::{frames, plant, reader};
use super::bus_server::{Running, Server};
use super::bus_wire::Wire;
use super::cli_binary::{Said, run};

/// It ended with this code, and one message that has all of this in it.
#[track_caller]
fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, code, "{said:?}");
    assert_eq!(said.out, "", "nothing was answered: {said:?}");
    let messages = said.err.lines().filter(|line| line.starts_with("lotline: ")).count();
    assert_eq!(messages, 1, "one message: {said:?}");
    for word in words {
        assert!(said.err.contains(word), "«{word}» is missing: {said:?}");
    }
}

/// The three commands that need a server, at this address.
#[track_caller]
fn each_is_refused(folder: &Path, url: &str, code: i32, words: &[&str]) {
    let commands = [
        vec!["relay", "--dir", "plant"],
        vec!["relay", "--once", "--dir", "plant"],
        vec!["serve", "--dir", "plant"],
        vec!["projector", "genealogy", "--dir", "elsewhere"],
    ];
    for command in commands {
        refused(&run(folder, &[&command[..], &["--nats", url]].concat()), code, words);
    }
}

/// A configuration with nothing in it but this.
pub fn config(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("nats.conf");
    fs::write(&path, text).expect("written");
    path
}

#[test]
fn an_address_where_no_server_is_or_can_be_is_told() {
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    plant(folder, "plant");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let url = format!("nats://{nobody}");
    each_is_refused(folder, &url, 4, &[&format!("no NATS server can be reached at {url}: "), "start the server"]);
    for url in ["http://localhost:4222", "nats://localhost:port"] {
        let words =
            format!("lotline: {url} is no address of a NATS server, which is written such as nats://localhost:4222: ");
        each_is_refused(folder, url, 2, &[&words]);
    }
}

#[test]
fn a_server_that_keeps_no_streams_or_too_small_ones_is_told() {
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let Some(server) = Server::start_with(&config(folder, "server_name: plain\n")) else { return };
    plant(folder, "plant");
    each_is_refused(folder, &server.url(), 4, &["has JetStream switched off", "deploy/nats/lotline.conf"]);
    drop(server);

    let small = config(folder, "max_payload: 900000\njetstream { store_dir: nats-data }\n");
    let server = Server::start_with(&small).expect("there is one");
    for command in [&["relay", "--once"][..], &["relay"], &["serve"]] {
        let said = run(folder, &[command, &["--dir", "plant", "--nats", &server.url()]].concat());
        refused(&said, 4, &["takes messages of 900000 bytes, a commit may need 904096; raise its max_payload"]);
    }
    assert_eq!(Wire::connect(&server.url()).streams(), Vec::<String>::new(), "nothing was made there");
}

#[test]
fn a_ledger_that_no_stream_or_no_word_tells_of_has_to_be_named() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let project = |more: &[&str]| {
        run(folder, &[&["projector", "recall", "--dir", "elsewhere", "--nats", &url, "--until", "6"], more].concat())
    };
    refused(&project(&[]), 4, &["no ledger has a stream on this server", "start `lotline relay`"]);
    let nobody = "00112233445566778899aabbccddeeff";
    refused(&project(&["--ledger", nobody]), 4, &[nobody, "has no stream on this server", "start `lotline relay`"]);
    refused(&project(&["--ledger", "dairy"]), 2, &["--ledger dairy is no id of a ledger, which has 32 hex digits"]);

    let ledgers = ["one", "two"].map(|dir| {
        plant(folder, dir);
        publish(folder, dir, &url);
        reader(folder, dir).ledger().to_string()
    });
    let [one, two] = &ledgers;
    refused(&project(&[]), 2, &["several ledgers have streams on this server", "name one with --ledger", one, two]);
    refused(&project(&["--ledger", nobody]), 4, &["has no stream on this server", one, two]);
    let said = project(&["--ledger", two]);
    assert_eq!(said.code, 0, "{said:?}");

    // This folder is the second one's now.
    let words = ["elsewhere/models/recall holds the read model of ledger ", two, "--dir", "nothing was changed"];
    refused(&project(&["--ledger", one]), 2, &words);
    let said = project(&["--ledger", two]);
    assert!(said.out.ends_with("; 0 commits applied\n"), "it is as it was: {said:?}");

    let said = run(folder, &["relay", "--once", "--dir", "nowhere", "--nats", &url]);
    refused(&said, 2, &["nowhere", "--dir"]);
}

#[test]
fn a_folder_in_use_is_told_and_left_alone() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    plant(folder, "plant");
    publish(folder, "plant", &url);
    let arguments = ["projector", "inventory", "--nats", &url, "--dir", "elsewhere"];
    let mut projector = Running::start_as_service(folder, &arguments);
    projector.note("commits are kept");
    refused(&run(folder, &arguments), 4, &["elsewhere/models/inventory is in use by another process"]);
    assert_eq!(projector.interrupt("TERM").code, 0);

    let serve = ["serve", "--dir", "plant", "--nats", &url];
    let mut first = Running::start(folder, &serve);
    first.tell("");
    first.tell("{}");
    first.line();
    refused(&run(folder, &serve), 4, &["plant/ledger", "one process at a time records in a folder"]);
    let said = run(folder, &["relay", "--catch-up", "--once", "--dir", "plant", "--nats", &url]);
    assert_eq!(said.code, 0, "a relay that has nothing to catch up records nothing: {said:?}");
    assert_eq!(first.interrupt("TERM").code, 0);
}

/// The checksum of frames, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// Somebody else's stream of a ledger, with these messages; what a projector makes of it.
#[track_caller]
fn projected(server: &Server, folder: &Path, ledger: LedgerId, messages: &[Vec<u8>]) -> Said {
    let mut wire = Wire::connect(&server.url());
    wire.make(&stream_name(ledger, 1), &subject(ledger, 1));
    for message in messages {
        wire.publish(&subject(ledger, 1), message);
    }
    let (ledger, until) = (ledger.to_string(), messages.len().to_string());
    let dir = format!("of-{ledger}");
    let more = ["--ledger", &ledger, "--until", &until];
    run(folder, &[&["projector", "inventory", "--nats", &server.url(), "--dir", &dir][..], &more].concat())
}

/// Three commits of a ledger of its own, whose payloads begin with this version.
fn ledger(folder: &Path, id: u8, version: u16) -> (LedgerId, Vec<Vec<u8>>) {
    let (dir, id) = (folder.join(format!("ledger-{id}")), LedgerId::new([id; 16]));
    let mut writer = Writer::create(OsStorage::shared(), &dir, id, Options::default()).expect("created");
    let payload = [&version.to_be_bytes()[..], &[0; 40]].concat();
    for now in 1..=3 {
        let entry = Entry::new([Key::new([1; 16])], &payload).expect("within limits");
        writer.append(Micros::new(now), &[entry]).expect("durable");
    }
    (id, frames(&writer.reader()))
}

#[test]
fn what_a_newer_program_wrote_and_what_no_program_wrote_are_told_apart() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    plant(folder, "plant");
    let id = reader(folder, "plant").ledger();
    let mut messages = frames(&reader(folder, "plant"));
    // The version of the third commit, under a checksum that fits.
    messages[2][15] = 2;
    let checksum = crc32(&messages[2][8..]);
    messages[2][4..8].copy_from_slice(&checksum.to_be_bytes());
    let said = projected(&server, folder, id, &messages);
    refused(&said, 6, &["commit 3 of stream ", "has format version 2", "use a newer version of this program"]);
    let said = run(folder, &["projector", "inventory", "--nats", &server.url(), "--dir", &format!("of-{id}")]);
    refused(&said, 6, &["2 commits are kept", "commit 3 of stream "]);

    let (id, messages) = ledger(folder, 3, 3);
    refused(&projected(&server, folder, id, &messages), 6, &["commit 1 cannot be applied", "version 3"]);
    let (id, messages) = ledger(folder, 4, 1);
    refused(&projected(&server, folder, id, &messages), 5, &["commit 1 cannot be applied"]);

    let (id, messages) = ledger(folder, 5, 1);
    let junk = vec![b"not a commit".to_vec(), messages[1].clone()];
    let words = ["the chain is broken at commit 1 of stream ", "what is there is damaged: "];
    refused(&projected(&server, folder, id, &junk), 5, &words);
    let (id, messages) = ledger(folder, 6, 1);
    let words = ["the chain is broken at commit 1 of stream ", "commit number 2 where 1 has to come"];
    refused(&projected(&server, folder, id, &messages[1..]), 5, &words);
    let other = messages;
    let (id, _) = ledger(folder, 7, 1);
    refused(&projected(&server, folder, id, &other), 5, &["chain is broken at commit 1", "it belongs to ledger "]);
}
