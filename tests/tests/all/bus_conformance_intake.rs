//! The ways in and the questions, over NATS and in this process.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::ScopedJoinHandle;

use lotline_bus::{
    Answer, Bus, Incoming, IntakeError, IntakeOptions, MESSAGE_MAX, Means, QuestionOptions, Received, Reply, SendError,
    Settled, Stop, TakenIn, Taker, Trouble,
};
use lotline_wire::channel;

use super::bus_conformance::{Ending, LEDGER, PATIENCE, on_both};
use super::bus_server::until;

type Ended<'s> = ScopedJoinHandle<'s, Result<TakenIn, IntakeError>>;

/// Hands each message to the test, which answers it.
struct Handing(Mutex<Sender<(Incoming, Reply)>>);

impl Taker for Handing {
    fn take(&self, message: Incoming, reply: Reply) {
        // Where the test has ended its reply is dropped, and nothing was taken.
        let _ = self.0.lock().expect("nobody panicked").send((message, reply));
    }
}

fn handing() -> (Handing, Receiver<(Incoming, Reply)>) {
    let (hand, handed) = mpsc::channel();
    (Handing(Mutex::new(hand)), handed)
}

/// Answers each message at once by its body: `bad` can never be taken, `parts` is answered at length.
struct Deciding {
    /// A large answer.
    large: Vec<u8>,
}

impl Taker for Deciding {
    fn take(&self, message: Incoming, reply: Reply) {
        let body = format!("{} from {}", String::from_utf8_lossy(&message.body), message.source).into_bytes();
        reply.give(match message.body.as_slice() {
            b"bad" => refused("it is bad"),
            b"parts" => Answer { word: "answer".to_owned(), body: self.large.clone(), means: Means::DoneInParts },
            _ => Answer { word: "recorded".to_owned(), body, means: Means::Done },
        });
    }
}

fn refused(reason: &str) -> Answer {
    let means = Means::Refused { code: 400, reason: reason.to_owned() };
    Answer { word: "refused".to_owned(), body: b"why".to_vec(), means }
}

fn recorded() -> Answer {
    Answer { word: "recorded".to_owned(), body: b"{}".to_vec(), means: Means::Done }
}

fn submit(source: &str) -> String {
    channel::submit_subject(&LEDGER.to_string(), source)
}

fn queue(source: &str) -> String {
    channel::queue_subject(&LEDGER.to_string(), source)
}

/// How many messages the queue has; `None` where it is not there yet.
fn queued(bus: &Bus) -> Option<u64> {
    let stream = channel::queue_stream(&LEDGER.to_string());
    bus.stream_state(&stream).expect("told").map(|state| state.messages)
}

/// Starts an intake, and returns when it takes requests and queued messages.
fn take_in<'s, 'e>(
    scope: &'s std::thread::Scope<'s, 'e>,
    bus: &Bus,
    taker: &'e impl Taker,
    options: &'e IntakeOptions,
    stop: &'e Stop,
) -> Ended<'s> {
    let own = bus.clone();
    let intake = scope.spawn(move || own.take_in(LEDGER, taker, options, stop));
    until("the queue is there", || queued(bus));
    let unfit = [("Lotline-Ledger", "another")];
    until("requests are answered", || bus.request(&submit("probe"), &unfit, b"", PATIENCE).ok());
    intake
}

fn one(received: Result<Vec<Received>, SendError>) -> Received {
    let mut parts = received.expect("an answer");
    assert_eq!(parts.len(), 1);
    parts.remove(0)
}

#[test]
fn a_request_is_answered_or_told_what_is_wrong_with_it() {
    on_both(|server| {
        let (bus, stop, options) = (server.bus(), Stop::new(), IntakeOptions::default());
        let taker = Deciding { large: Vec::new() };
        let client = server.bus();
        let ask = |source: &str, headers: &[(&str, &str)], body: &[u8]| {
            one(client.request(&submit(source), headers, body, PATIENCE))
        };
        assert!(matches!(client.request(&submit("erp"), &[], b"x", PATIENCE), Err(SendError::Unheard { .. })));
        let taken = std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let intake = take_in(scope, &bus, &taker, &options, &stop);
            let answer = ask("line_2E4", &[("X-Any", "1")], b"milk");
            assert_eq!(
                (answer.body.as_slice(), answer.header("Lotline-Answer")),
                (&b"milk from line.4"[..], Some("recorded"))
            );
            let answer = ask("erp", &[], b"bad");
            let told = ["Nats-Service-Error-Code", "Nats-Service-Error", "Lotline-Answer-Body", "Lotline-Answer"];
            assert_eq!(
                told.map(|name| answer.header(name).unwrap_or_default()),
                ["400", "it is bad", "why", "refused"]
            );
            let answer = ask("erp", &[("Lotline-Ledger", "another")], b"milk");
            assert_eq!(answer.header("Nats-Service-Error-Code"), Some("421"));
            let answer = ask("erp", &[], &vec![b' '; MESSAGE_MAX + 1]);
            assert_eq!(answer.header("Nats-Service-Error-Code"), Some("413"));
            assert_eq!(ask("not_a_token", &[], b"milk").header("Nats-Service-Error-Code"), Some("400"));
            stop.now();
            intake.join().expect("no panic").expect("it was stopped")
        });
        assert!(taken.requests >= 6, "{taken:?}");
        assert_eq!((taken.busy, taken.queued, taken.dead), (0, 0, 0));
        assert_eq!(bus.tally().requests, taken.requests);
    });
}

#[test]
fn who_comes_when_too_many_wait_is_told_when_to_come_again() {
    on_both(|server| {
        let (bus, stop) = (server.bus(), Stop::new());
        let options = IntakeOptions { waiting: 2, ..IntakeOptions::default() };
        let (taker, handed) = handing();
        std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let intake = take_in(scope, &bus, &taker, &options, &stop);
            let client = server.bus();
            let waiting = [(); 2].map(|()| {
                let client = client.clone();
                let asking = scope.spawn(move || one(client.request(&submit("erp"), &[], b"milk", PATIENCE)));
                (asking, handed.recv_timeout(PATIENCE).expect("it came").1)
            });
            let busy = one(client.request(&submit("erp"), &[], b"milk", PATIENCE));
            assert_eq!(busy.header("Nats-Service-Error-Code"), Some("429"));
            let after = busy.header("Lotline-Retry-After-Ms").expect("when").parse::<u64>().expect("a number");
            assert!(after > 0);
            for (asking, reply) in waiting {
                reply.give(recorded());
                assert_eq!(asking.join().expect("no panic").header("Lotline-Answer"), Some("recorded"));
            }
            stop.now();
            let taken = intake.join().expect("no panic").expect("it was stopped");
            assert_eq!((taken.busy, bus.tally().busy), (1, 1));
        });
    });
}

#[test]
fn a_queued_message_stays_until_its_answer_and_comes_again_without_one() {
    on_both(|server| {
        let (bus, options) = (server.bus(), IntakeOptions::default());
        let mut answers = bus.listen("plant.answers", None).expect("it listens");
        let (taker, handed) = handing();
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let intake = take_in(scope, &bus, &taker, &options, &stop);
            for number in 0..3 {
                let id = format!("r{number}");
                let headers = [("Nats-Msg-Id", id.as_str()), ("Lotline-Reply-To", "plant.answers")];
                let put = bus.put(&queue("erp"), &headers, id.as_bytes()).expect("stored");
                assert_eq!((put.sequence, put.duplicate), (number + 1, false));
                assert!(bus.put(&queue("erp"), &headers, id.as_bytes()).expect("known").duplicate);
            }
            let held: Vec<(Incoming, Reply)> =
                (0..3).map(|_| handed.recv_timeout(PATIENCE).expect("it came")).collect();
            assert_eq!(queued(&bus), Some(3), "nothing is acknowledged before it is answered");
            held[1].1.give(recorded());
            assert_eq!(held[1].0.header("nats-msg-id"), Some("r1"));
            until("the answered one is gone", || (queued(&bus) == Some(2)).then_some(()));
            let answer = answers.next(PATIENCE).expect("it is told");
            assert_eq!((answer.header("Lotline-Answer"), answer.body.as_slice()), (Some("recorded"), &b"{}"[..]));
            stop.now();
            drop(held);
            assert_eq!(intake.join().expect("no panic").expect("it was stopped").queued, 1);
        });
        assert_eq!(queued(&bus), Some(2));

        let stop = Stop::new();
        std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let intake = take_in(scope, &bus, &taker, &options, &stop);
            let mut again: Vec<Vec<u8>> = (0..2)
                .map(|_| {
                    let (message, reply) = handed.recv_timeout(PATIENCE).expect("it comes again");
                    reply.give(recorded());
                    message.body
                })
                .collect();
            again.sort();
            assert_eq!(again, [b"r0".to_vec(), b"r2".to_vec()]);
            until("all are gone", || (queued(&bus) == Some(0)).then_some(()));
            stop.now();
            assert_eq!(intake.join().expect("no panic").expect("it was stopped").queued, 2);
        });
        assert_eq!(bus.tally().redelivered, 2);
    });
}

#[test]
fn what_can_never_be_taken_is_put_aside_sent_again_or_dropped() {
    on_both(|server| {
        let (bus, stop, options) = (server.bus(), Stop::new(), IntakeOptions::default());
        let taker = Deciding { large: Vec::new() };
        assert_eq!((bus.open_letters(LEDGER).expect("told"), bus.letters(LEDGER, true).expect("told")), (0, vec![]));
        std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let intake = take_in(scope, &bus, &taker, &options, &stop);
            for number in 0..3 {
                let id = format!("r{number}");
                bus.put(&queue("erp"), &[("Nats-Msg-Id", &id), ("X-Line", "7")], b"bad").expect("stored");
            }
            until("all are put aside", || (bus.open_letters(LEDGER).ok()? == 3).then_some(()));
            until("they are gone from the queue", || (queued(&bus) == Some(0)).then_some(()));
            let letters = bus.letters(LEDGER, false).expect("told");
            let first = &letters[0];
            assert_eq!((first.code, first.reason.as_str(), first.body.as_slice()), (400, "it is bad", &b"bad"[..]));
            assert_eq!((first.subject.as_str(), first.deliveries), (queue("erp").as_str(), 1));
            let mut headers = first.headers.clone();
            headers.sort();
            assert_eq!(headers[1], ("X-Line".to_owned(), "7".to_owned()));
            assert_eq!(headers[0].0, "Nats-Msg-Id");
            let alone = bus.letter(LEDGER, first.number).expect("told").expect("it is there");
            assert_eq!((alone.number, &alone.came, &alone.body), (first.number, &first.came, &first.body));

            bus.send_again(LEDGER, first, Some(b"mended".to_vec())).expect("sent");
            bus.drop_letter(LEDGER, &letters[1], "no use").expect("dropped");
            until("it was taken", || (bus.tally().queued == 1).then_some(()));
            let open = bus.letters(LEDGER, false).expect("told");
            assert_eq!(open.iter().map(|letter| letter.number).collect::<Vec<_>>(), [letters[2].number]);
            let settled: Vec<Settled> =
                bus.letters(LEDGER, true).expect("told").into_iter().filter_map(|letter| letter.settled).collect();
            assert_eq!(settled, [Settled::Sent, Settled::Dropped { reason: "no use".to_owned() }]);
            stop.now();
            let taken = intake.join().expect("no panic").expect("it was stopped");
            assert_eq!((taken.queued, taken.dead), (1, 3));
        });
    });
}

#[test]
fn a_queue_that_is_full_refuses_and_takes_more_when_there_is_room() {
    on_both(|server| {
        let (bus, stop) = (server.bus(), Stop::new());
        let options = IntakeOptions { queue_messages: 3, ..IntakeOptions::default() };
        let (taker, handed) = handing();
        std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let intake = take_in(scope, &bus, &taker, &options, &stop);
            let put = |id: &str, body: &[u8]| bus.put(&queue("erp"), &[("Nats-Msg-Id", id)], body);
            for id in ["r0", "r1", "r2"] {
                put(id, b"milk").expect("there is room");
            }
            let refuses = |said: Result<lotline_bus::Put, SendError>, words: &str| {
                let Err(SendError::Server(Trouble::Refused { source, .. })) = said else { panic!("{said:?}") };
                assert!(
                    source.to_string().contains("publish failed") || source.to_string().contains(words),
                    "{source}"
                );
            };
            refuses(put("r3", b"milk"), "maximum messages");
            refuses(put("large", &vec![b' '; 900_001]), "message size");
            handed.recv_timeout(PATIENCE).expect("it came").1.give(recorded());
            until("there is room", || (queued(&bus) == Some(2)).then_some(()));
            assert!(!put("r3", b"milk").expect("there is room").duplicate, "refused is not known");
            for _ in 0..3 {
                handed.recv_timeout(PATIENCE).expect("it came").1.give(recorded());
            }
            until("it is empty", || (queued(&bus) == Some(0)).then_some(()));
            stop.now();
            assert_eq!(intake.join().expect("no panic").expect("it was stopped").queued, 4);
        });
    });
}

#[test]
fn questions_are_shared_and_large_answers_come_in_parts() {
    on_both(|server| {
        let stop = Stop::new();
        let taker = Deciding { large: (0..2_500_000u32).map(|at| at as u8).collect() };
        let options = QuestionOptions { waiting: 64, version: "0.1.0".to_owned() };
        let buses = [server.bus(), server.bus()];
        let client = server.bus();
        let subject = channel::ask_subject(&LEDGER.to_string(), "trace");
        let answered: u64 = std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let answering = buses.each_ref().map(|bus| {
                let (taker, options, stop) = (&taker, &options, &stop);
                scope.spawn(move || bus.take_questions(LEDGER, &["trace", "recall"], taker, options, stop))
            });
            until("somebody answers", || client.request(&subject, &[], b"first", PATIENCE).ok());
            for number in 0..40 {
                let answer = one(client.request(&subject, &[], format!("{number}").as_bytes(), PATIENCE));
                assert_eq!(answer.body, format!("{number} from trace").as_bytes());
            }
            let parts = client.request(&subject, &[], b"parts", PATIENCE).expect("all parts");
            assert_eq!(parts.len(), 3);
            assert_eq!(parts[1].header("Lotline-Part"), Some("2/3"));
            let whole: Vec<u8> = parts.into_iter().flat_map(|part| part.body).collect();
            assert_eq!(whole, taker.large);
            // Who wants no answer is not heard.
            client.send(&subject, &[], b"nobody waits").expect("sent");
            stop.now();
            answering.map(|it| it.join().expect("no panic").expect("it was stopped").requests).iter().sum()
        });
        assert_eq!(answered, 42);
        assert_eq!(buses.iter().map(|bus| bus.tally().questions).sum::<u64>(), 42);
        assert!(matches!(client.request(&subject, &[], b"late", PATIENCE), Err(SendError::Unheard { .. })));
    });
}
