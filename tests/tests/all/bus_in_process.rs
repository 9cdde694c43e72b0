//! The server in this process alone: its bounds, its clock, and what it does when it is told to misbehave.

use std::collections::BTreeSet;
use std::time::Duration;

use lotline_bus::in_process::{Act, Fault, InProcess, InProcessOptions, Operation, Then};
use lotline_bus::{
    Answer, Bus, Found, Incoming, IntakeOptions, Means, ProjectError, ProjectOptions, Relay, RelayError, RelayOptions,
    Reply, SendError, Stop, Taker, Trouble, stream_name,
};
use lotline_ledger::{CommitNumber, Options, Writer};
use lotline_testkit::disk::FaultyDisk;
use lotline_wire::channel;

use super::bus_conformance::{Ending, LEDGER, Mirror, PATIENCE, append, stored};
use super::bus_relay::frames;
use super::bus_server::until;

fn ledger(commits: u64) -> Writer {
    let disk = FaultyDisk::new();
    let mut writer = Writer::create(disk.shared(), "one", LEDGER, Options::default()).expect("created");
    append(&mut writer, 1, commits);
    writer
}

fn connect(server: &InProcess) -> Bus {
    Bus::in_process(server).expect("a thread")
}

fn relay(bus: &Bus, writer: &Writer) -> Relay {
    Relay::new(bus, writer.reader(), RelayOptions { patience: PATIENCE, ..RelayOptions::default() })
}

/// Lets the `nth` operation of this kind go wrong, and no other.
fn once(server: &InProcess, act: Act, nth: u64, fault: Fault) {
    let mut seen = 0;
    server.misbehave(move |operation: &Operation<'_>, _| {
        seen += u64::from(operation.act == act);
        if operation.act == act && seen == nth { fault } else { Fault::None }
    });
}

/// Records everything.
struct Recording;

impl Taker for Recording {
    fn take(&self, _: Incoming, reply: Reply) {
        reply.give(Answer { word: "recorded".to_owned(), body: Vec::new(), means: Means::Done });
    }
}

fn queue() -> String {
    channel::queue_subject(&LEDGER.to_string(), "erp")
}

fn queued(bus: &Bus) -> Option<u64> {
    let stream = channel::queue_stream(&LEDGER.to_string());
    bus.stream_state(&stream).expect("told").map(|state| state.messages)
}

/// Makes the queue, by an intake that takes nothing.
fn with_queue(server: &InProcess) -> Bus {
    let (bus, stop) = (connect(server), Stop::new());
    std::thread::scope(|scope| {
        let _ending = Ending(&stop);
        let intake = scope.spawn(|| bus.take_in(LEDGER, &Recording, &IntakeOptions::default(), &stop));
        until("the queue is there", || queued(&bus));
        stop.now();
        assert!(intake.join().expect("no panic").is_ok());
    });
    bus
}

#[test]
fn what_does_not_fit_is_refused_and_what_is_there_stays() {
    let server = InProcess::new(InProcessOptions { max_bytes: 4_000, ..InProcessOptions::default() });
    let bus = with_queue(&server);
    let mut taken = 0;
    let refused = loop {
        match bus.put(&queue(), &[], &[7; 500]) {
            Ok(put) => taken = put.sequence,
            Err(error) => break error,
        }
    };
    let SendError::Server(Trouble::Refused { source, .. }) = refused else { panic!("{refused}") };
    assert_eq!(source.to_string(), "insufficient storage resources available");
    assert_eq!((taken, queued(&bus)), (8, Some(8)));

    let small = InProcess::new(InProcessOptions { max_payload: 10_000, ..InProcessOptions::default() });
    let error = relay(&connect(&small), &ledger(1)).once(&Stop::new()).expect_err("no commit might fit");
    assert!(matches!(error, RelayError::MaxPayload { found: 10_000, .. }), "{error}");
    let three = RelayOptions { replicas: 3, ..RelayOptions::default() };
    let error = Relay::new(&connect(&server), ledger(1).reader(), three).once(&Stop::new()).expect_err("one server");
    assert!(matches!(error, RelayError::Server(Trouble::Refused { .. })), "{error}");
}

#[test]
fn an_id_is_known_for_its_window_and_until_a_restart() {
    let server = InProcess::new(InProcessOptions::default());
    let bus = with_queue(&server);
    let put = || bus.put(&queue(), &[("Nats-Msg-Id", "mine")], b"milk").expect("stored");
    assert_eq!((put().duplicate, put().duplicate), (false, true));
    server.pass(Duration::from_secs(119));
    assert!(put().duplicate);
    server.pass(Duration::from_secs(1));
    assert_eq!((put().sequence, put().duplicate), (2, true));
    server.restart();
    assert_eq!((put().sequence, queued(&bus)), (3, Some(3)));
    assert_eq!(bus.tally().connections, 2);
}

#[test]
fn many_threads_and_connections_share_one_server() {
    let server = InProcess::new(InProcessOptions::default());
    let bus = with_queue(&server);
    let sequences: BTreeSet<u64> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let bus = connect(&server);
                let put = move |_| bus.put(&queue(), &[], b"milk").expect("stored").sequence;
                scope.spawn(move || (0..200).map(put).collect::<Vec<_>>())
            })
            .collect();
        senders.into_iter().flat_map(|sender| sender.join().expect("no panic")).collect()
    });
    assert_eq!((sequences.len(), sequences.last()), (1_600, Some(&1_600)), "each has its own");
    assert_eq!(queued(&bus), Some(1_600));
}

#[test]
fn a_commit_whose_acknowledgement_is_lost_is_not_sent_twice() {
    for (done, nth) in [(true, 1), (true, 5), (false, 5), (true, 9)] {
        let server = InProcess::new(InProcessOptions::default());
        let writer = ledger(40);
        once(&server, Act::Publish, nth, Fault::Silent { done, then: Then::Nothing });
        let relayed = relay(&connect(&server), &writer).once(&Stop::new()).expect("it goes on");
        assert_eq!((relayed.head.get(), relayed.generation), (40, 1));
        server.behave();
        assert_eq!(stored(&connect(&server), &stream_name(LEDGER, 1)), frames(&writer.reader()), "{done} {nth}");
    }
}

#[test]
fn a_projector_finds_what_its_delivery_lost_and_what_is_damaged() {
    let server = InProcess::new(InProcessOptions::default());
    let (writer, bus) = (ledger(20), connect(&server));
    relay(&bus, &writer).once(&Stop::new()).expect("published");
    let options = ProjectOptions {
        until: Some(CommitNumber::new(20)),
        idle: Duration::from_millis(20),
        patience: Some(PATIENCE),
        ..ProjectOptions::default()
    };
    for nth in [1, 7, 20] {
        once(&server, Act::Deliver, nth, Fault::Silent { done: false, then: Then::Nothing });
        let mut model = Mirror::new();
        bus.project(&mut model, &options, &Stop::new()).expect("the leader has it");
        assert_eq!(model.frames, frames(&writer.reader()), "{nth}");
    }
    server.behave();
    assert!(server.damage(&stream_name(LEDGER, 1), 9, |bytes| bytes[20] ^= 1));
    let mut model = Mirror::new();
    let error = bus.project(&mut model, &options, &Stop::new()).expect_err("commit 9 is damaged");
    let ProjectError::Broken(broken) = error else { panic!("{error}") };
    assert!(matches!(broken.found, Found::Damaged(_)), "{broken}");
    assert_eq!((broken.at.get(), model.frames.len()), (9, 8));
}

#[test]
fn a_job_of_a_taker_that_died_comes_again_when_it_is_due() {
    let server = InProcess::new(InProcessOptions::default());
    let bus = with_queue(&server);
    for _ in 0..3 {
        bus.put(&queue(), &[], b"milk").expect("stored");
    }
    let (dying, stop) = (connect(&server), Stop::new());
    once(&server, Act::Acknowledge, 2, Fault::Silent { done: false, then: Then::Cut });
    std::thread::scope(|scope| {
        let _ending = Ending(&stop);
        let intake = scope.spawn(|| dying.take_in(LEDGER, &Recording, &IntakeOptions::default(), &stop));
        until("it was cut off", || (!dying.is_connected()).then_some(()));
        stop.now();
        assert!(intake.join().expect("no panic").is_ok(), "a server that is away is waited for");
    });
    server.behave();
    assert_eq!(queued(&bus), Some(2), "one was acknowledged");

    let stop = Stop::new();
    std::thread::scope(|scope| {
        let _ending = Ending(&stop);
        let intake = scope.spawn(|| bus.take_in(LEDGER, &Recording, &IntakeOptions::default(), &stop));
        until("what never went out is done", || (queued(&bus)? < 3).then_some(()));
        server.pass(Duration::from_secs(10));
        until("the rest is done", || (queued(&bus)? == 0).then_some(()));
        stop.now();
        assert_eq!(intake.join().expect("no panic").expect("it was stopped").queued, 2);
    });
    assert!(bus.tally().redelivered >= 1, "{:?}", bus.tally());
}
