//! The queue: what the server has taken is recorded once, whatever breaks on the way; what can never be recorded is put
//! aside, and nothing disappears.

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use lotline_bus::{Incoming, IntakeOptions, Reply, Stop, Taker};
use lotline_handler::{Handler, Options};
use lotline_ledger::OsStorage;
use lotline_wire::command::parse_command;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::bus_input::config;
use super::bus_intake::{events, ledger, serve, subject};
use super::bus_relay::reader;
use super::bus_server::{Server, until};
use super::bus_wire::{Came, Wire};
use super::cli_binary::{Said, batch, feed, received, run, ship};

/// Publishes to a stream, with an id for the server, and returns what it says.
#[track_caller]
fn publish(wire: &mut Wire, subject: &str, id: &str, more: &[(&str, &str)], body: &str) -> Value {
    wire.request(subject, &[&[("Nats-Msg-Id", id)], more].concat(), body.as_bytes()).json()
}

/// The queue's stream, and a source's subject in it, once they are there.
fn queue(folder: &Path, wire: &mut Wire, source: &str) -> (String, String) {
    let ledger = ledger(folder);
    let stream = format!("lotline-{ledger}-queue");
    until("the queue is there", || wire.streams().contains(&stream).then_some(()));
    (stream, format!("lotline.{ledger}.queue.{source}"))
}

/// Waits until the queue is empty: everything in it was acknowledged.
#[track_caller]
fn emptied(wire: &mut Wire, stream: &str) {
    until("the queue is empty", || (wire.count(stream).0 == 0).then_some(()));
}

/// Runs `dead-letters`.
fn letters(folder: &Path, server: &Server, arguments: &[&str]) -> Said {
    run(folder, &[&["dead-letters"], arguments, &["--nats", &server.url()]].concat())
}

/// Waits until there are so many open letters.
#[track_caller]
fn open_letters(folder: &Path, server: &Server, count: usize) -> Vec<Value> {
    until("the letters are there", || {
        let said = letters(folder, server, &["list", "--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        let lines = said.lines();
        (lines.len() == count).then_some(lines)
    })
}

fn delivery(number: u32) -> String {
    received(&format!("r{number}"), &batch("milk", &format!("M{number}")), "100")
}

#[test]
fn a_queued_message_is_recorded_once_and_its_answer_goes_where_it_asks() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let (stream, to) = queue(folder, &mut wire, "erp");
    wire.listen("plant.answers");
    let reply = [("Lotline-Reply-To", "plant.answers")];
    let answer = |wire: &mut Wire| loop {
        let came = wire.next();
        if came.subject == "plant.answers" {
            return came;
        }
    };

    // The server's own answer and the ledger's may come in any order.
    let put = |wire: &mut Wire, id: &str, body: &str| {
        let inbox = wire.start(&to, &[("Nats-Msg-Id", id), reply[0]], body.as_bytes());
        let came = [wire.next(), wire.next()];
        let (stored, answered): (Vec<Came>, Vec<Came>) = came.into_iter().partition(|came| came.subject == inbox);
        assert_eq!((stored.len(), answered.len()), (1, 1));
        (stored[0].json(), answered[0].clone())
    };
    let (stored, answered) = put(&mut wire, "r1", &delivery(1));
    assert_eq!((&stored["stream"], &stored["seq"]), (&json!(stream), &json!(1)));
    assert_eq!((answered.code(), answered.json()["answer"].as_str()), (None, Some("recorded")));
    emptied(&mut wire, &stream);

    // The server knows the id for a while; the ledger for ever, also under another one.
    assert_eq!(publish(&mut wire, &to, "r1", &reply, &delivery(1))["duplicate"], true);
    let (_, again) = put(&mut wire, "other", &delivery(1));
    assert_eq!(again.json()["answer"], "duplicate");
    assert_eq!(again.json()["first"]["receipt"], answered.json()["receipt"]);
    // An intent may come this way, too; its refusal is an answer.
    let (_, no) = put(&mut wire, "s1", &ship("s1", &batch("milk", "M1"), "1000"));
    assert_eq!((no.code(), no.json()["answer"].as_str()), (None, Some("rejected")));
    // One that would be an order to the server is sent to nobody, and the message is recorded all the same.
    let order = [("Lotline-Reply-To", "$JS.API.STREAM.PURGE.x")];
    publish(&mut wire, &to, "r2", &order, &delivery(2));
    emptied(&mut wire, &stream);
    wire.start(&to, &[reply[0]], delivery(2).as_bytes());
    assert_eq!(answer(&mut wire).json()["answer"], "duplicate");

    assert_eq!(events(folder), 3);
    open_letters(folder, &server, 0);
    let said = serve.interrupt("TERM");
    assert!(said.err.contains("5 messages taken from the queue, 0 put aside"), "{said:?}");
}

/// Records, and says so; whoever asked hears nothing.
struct Silent<'h> {
    handler: &'h Handler,
    held: Mutex<Vec<Reply>>,
    recorded: Sender<()>,
}

impl Taker for Silent<'_> {
    fn take(&self, message: Incoming, reply: Reply) {
        let line = String::from_utf8(message.body).expect("a line");
        self.handler.submit(parse_command(&line).expect("a command")).expect("durable");
        self.held.lock().expect("nobody panicked").push(reply);
        self.recorded.send(()).expect("the test waits");
    }
}

#[test]
fn what_was_recorded_and_not_acknowledged_comes_again_and_takes_effect_once() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let plant = folder.join("plant");
    std::fs::create_dir(&plant).expect("a folder");
    let handler = Handler::create(OsStorage::shared(), plant.join("ledger"), Options::default()).expect("a new ledger");
    let id = handler.reader().ledger();
    let (recorded, heard) = mpsc::channel();
    let silent = Silent { handler: &handler, held: Mutex::default(), recorded };
    let stop = Stop::new();
    let mut wire = Wire::connect(&server.url());
    let stream = std::thread::scope(|scope| {
        let bus = server.bus();
        let (silent, stop) = (&silent, &stop);
        let intake = scope.spawn(move || bus.take_in(id, silent, &IntakeOptions::default(), stop));
        let (stream, to) = queue(folder, &mut wire, "erp");
        for number in 0..5 {
            assert!(publish(&mut wire, &to, &format!("r{number}"), &[], &delivery(number))["seq"].is_u64());
            heard.recv_timeout(Duration::from_secs(60)).expect("it was recorded");
        }
        // The process ends here: five commits are durable, and the server was told of none.
        stop.now();
        silent.held.lock().expect("nobody panicked").clear();
        let taken = intake.join().expect("no panic").expect("it was stopped");
        assert_eq!(taken.queued, 0);
        stream
    });
    handler.close().expect("closed");
    assert_eq!((wire.count(&stream).0, events(folder)), (5, 5));

    let serve = serve(folder, &server, &[]);
    emptied(&mut wire, &stream);
    let said = serve.interrupt("TERM");
    assert!(said.err.contains("5 messages taken from the queue, 0 put aside"), "{said:?}");
    assert_eq!(events(folder), 5, "nothing twice");
}

#[test]
fn two_senders_lose_nothing_while_the_service_is_killed_and_the_server_restarted() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let mut running = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let (stream, to) = queue(folder, &mut wire, "erp");
    let url = server.url();
    let send = |from: u32| {
        let (url, to) = (url.clone(), to.clone());
        std::thread::spawn(move || {
            let mut wire = Wire::connect(&url);
            for number in from..from + 150 {
                let stored = publish(&mut wire, &to, &format!("r{number}"), &[], &delivery(number));
                assert!(stored["seq"].is_u64(), "{stored}");
            }
        })
    };
    for round in 0..2 {
        let senders = [send(1_000 * round), send(1_000 * round + 500)];
        let before = 300 * u64::from(round);
        let reader = reader(folder, "plant");
        // In the middle of its work: some are recorded, some acknowledged, some on their way.
        until("some are recorded", || {
            reader.refresh().expect("readable");
            (reader.head().next_position.get() > before + 20).then_some(())
        });
        running.kill();
        for sender in senders {
            sender.join().expect("all was stored");
        }
        if round == 1 {
            server.stop();
            server.run();
            wire = Wire::connect(&server.url());
        }
        running = serve(folder, &server, &[]);
        emptied(&mut wire, &stream);
    }
    assert_eq!(running.interrupt("TERM").code, 0);
    assert_eq!(events(folder), 600, "each once");
    let said = run(folder, &["on-hand", "--dir", "plant", "--json"]);
    assert_eq!(said.json()["rows"].as_array().map(Vec::len), Some(600));
}

#[test]
fn a_server_that_restarts_under_the_service_has_its_queue_read_on() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let mut running = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let (stream, to) = queue(folder, &mut wire, "erp");
    for round in 0..3 {
        for number in 0..20 {
            let number = 100 * round + number;
            assert!(publish(&mut wire, &to, &format!("r{number}"), &[], &delivery(number))["seq"].is_u64());
        }
        // What was not connected has no connection that breaks.
        subject(folder, &mut wire, "erp");
        server.stop();
        running.note("the connection to the NATS server broke");
        server.run();
        wire = Wire::connect(&server.url());
    }
    emptied(&mut wire, &stream);
    assert_eq!(running.interrupt("TERM").code, 0);
    assert_eq!(events(folder), 60);
}

#[test]
fn what_can_never_be_taken_is_put_aside_mended_and_sent_again() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let _serve = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let (stream, to) = queue(folder, &mut wire, "erp");
    publish(&mut wire, &to, "r1", &[], &delivery(1));
    let bad = delivery(2).replace("KGM", "FURLONGS");
    let stored = publish(&mut wire, &to, "r2", &[("X-Line", "7"), ("Lotline-Reason", "mine")], &bad);
    let contrary = delivery(1).replace("100", "99");
    publish(&mut wire, &to, "r1-again", &[], &contrary);
    publish(&mut wire, &to, "x", &[("Content-Type", "text/xml")], "<a/>");
    emptied(&mut wire, &stream);

    // What is contradictory is known only behind a commit, so that it may be put aside later.
    let mut found = open_letters(folder, &server, 3);
    found.sort_by_key(|letter| letter["code"].as_u64());
    let [unreadable, contradictory, foreign] = &found[..] else { unreachable!("there are three") };
    assert_eq!(
        (&unreadable["code"], &unreadable["sequence"], &unreadable["body"]),
        (&json!(400), &stored["seq"], &json!(bad))
    );
    assert!(
        unreadable["reason"].as_str().is_some_and(|text| text.starts_with("lines[0].quantity.unit: ")),
        "{found:?}"
    );
    assert_eq!(unreadable["subject"], to.as_str());
    let header = |name: &str, value: &str| json!({ "name": name, "value": value });
    let mut headers = unreadable["headers"].as_array().expect("a list").clone();
    headers.sort_by_key(ToString::to_string);
    assert_eq!(
        headers,
        [header("Lotline-Reason", "mine"), header("Nats-Msg-Id", "r2"), header("X-Line", "7")],
        "as they came"
    );
    assert_eq!((&contradictory["code"], &contradictory["body"]), (&json!(409), &json!(contrary)));
    assert_eq!(foreign["code"], 415);
    let number = |letter: &Value| letter["number"].to_string();

    let said = letters(folder, &server, &["list"]);
    assert!(said.out.contains("FURLONGS") && said.out.contains("3 dead letters of ledger "), "{said:?}");
    let said = letters(folder, &server, &["show", &number(unreadable)]);
    assert!(said.out.ends_with(&format!("\n\n{bad}\n")) && said.out.contains("header:  X-Line: 7"), "{said:?}");
    assert_eq!(letters(folder, &server, &["show", "99"]).code, 1);
    assert_eq!(letters(folder, &server, &["drop", &number(foreign), "--reason", " "]).code, 2);

    // Unmended it comes back, under a new number; mended it is recorded, although its id was seen a moment ago.
    assert_eq!(letters(folder, &server, &["send", &number(contradictory)]).code, 0);
    until("it is back", || {
        let last = letters(folder, &server, &["list", "--json"]).lines().pop()?;
        (last["body"] == json!(contrary) && last["number"] != contradictory["number"]).then_some(())
    });
    std::fs::write(folder.join("mended.json"), delivery(2) + "\n").expect("written");
    let said = letters(folder, &server, &["send", &number(unreadable), "--file", "mended.json"]);
    assert_eq!((said.code, said.out.contains("is in the queue again")), (0, true), "{said:?}");
    emptied(&mut wire, &stream);
    assert_eq!(letters(folder, &server, &["send", &number(unreadable)]).code, 1, "once");
    let history = run(folder, &["history", "milk/M2", "--dir", "plant", "--json"]).json();
    assert_eq!(history["rows"].as_array().map(Vec::len), Some(1), "{history}");

    assert_eq!(letters(folder, &server, &["drop", &number(foreign), "--reason", "no XML here"]).code, 0);
    let left = open_letters(folder, &server, 1);
    assert_eq!(left[0]["code"], 409);
    let all = letters(folder, &server, &["list", "--all", "--json"]).lines();
    let mut settled: Vec<&Value> = all.iter().map(|letter| &letter["settled"]).filter(|it| !it.is_null()).collect();
    settled.sort_by_key(ToString::to_string);
    assert_eq!(settled, ["dropped: no XML here", "sent again", "sent again"], "nothing has disappeared");
    assert!(all.iter().any(|letter| letter["body"] == json!(bad)), "as it came");
}

#[test]
fn a_full_queue_tells_the_publisher_and_takes_more_when_there_is_room() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let running = serve(folder, &server, &["--queue-max", "3"]);
    let mut wire = Wire::connect(&server.url());
    let (stream, to) = queue(folder, &mut wire, "erp");
    assert_eq!(running.interrupt("TERM").code, 0);
    for number in 0..3 {
        assert!(publish(&mut wire, &to, &format!("r{number}"), &[], &delivery(number))["seq"].is_u64());
    }
    let told = publish(&mut wire, &to, "r3", &[], &delivery(3));
    assert!(told["error"]["description"].as_str().is_some_and(|text| text.contains("maximum messages")), "{told}");
    let told = publish(&mut wire, &to, "large", &[], &" ".repeat(900_001));
    assert!(told["error"]["description"].as_str().is_some_and(|text| text.contains("message size")), "{told}");
    let running = serve(folder, &server, &[]);
    emptied(&mut wire, &stream);
    assert!(publish(&mut wire, &to, "r3", &[], &delivery(3))["seq"].is_u64(), "refused is not known");
    emptied(&mut wire, &stream);
    assert_eq!(running.interrupt("TERM").code, 0);
    assert_eq!(events(folder), 4);
}

#[test]
fn a_message_at_which_the_process_ends_again_and_again_is_put_aside() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let running = serve(folder, &server, &[]);
    let mut wire = Wire::connect(&server.url());
    let (stream, to) = queue(folder, &mut wire, "erp");
    until("the consumer is there", || {
        wire.ask(&format!("$JS.API.CONSUMER.INFO.{stream}.handler"), b"")["config"].is_object().then_some(())
    });
    assert_eq!(running.interrupt("TERM").code, 0);
    publish(&mut wire, &to, "r1", &[], &delivery(1));
    for _ in 0..20 {
        let came = wire.deliver(&stream, "handler");
        assert_eq!(came.body, delivery(1).as_bytes());
        wire.put(&came.reply, "", &[], b"-NAK");
    }
    let _running = serve(folder, &server, &[]);
    let found = open_letters(folder, &server, 1);
    assert_eq!(found[0]["reason"], "it was delivered 21 times and never answered");
    assert_eq!(events(folder), 0);
    assert_eq!(letters(folder, &server, &["send", &found[0]["number"].to_string()]).code, 0);
    emptied(&mut wire, &stream);
    assert_eq!(events(folder), 1);
}

#[test]
fn a_stream_that_would_lose_messages_is_not_used() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    feed(folder, &["submit", "--dir", "plant"], &delivery(1));
    let ledger = ledger(folder);
    let mut wire = Wire::connect(&server.url());
    wire.make(&format!("lotline-{ledger}-queue"), &format!("lotline.{ledger}.queue.*"));
    let said = run(folder, &["serve", "--dir", "plant", "--nats", &server.url()]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("-queue will not do: its retention is another one"), "{said:?}");
}

#[test]
fn a_server_without_streams_is_told_as_before() {
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let Some(server) = Server::start_with(&config(folder, "server_name: plain\n")) else { return };
    let said = run(folder, &["dead-letters", "list", "--nats", &server.url()]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("has JetStream switched off"), "{said:?}");
}
