//! The server in this process misbehaves at random points while feeds are told, and commits relayed and projected: what
//! is in streams and buckets says at every moment no more than is so, and in the end all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lotline::folder::decode;
use lotline::services::feed::{FeedKind, Feeder};
use lotline::services::live::{Live, Moved};
use lotline_bus::in_process::{Fault, Holding, InProcess, Then};
use lotline_bus::{
    Answer, Bus, Incoming, IntakeOptions, Means, ProjectOptions, Received, Relay, RelayOptions, Reply, Stop, Taker,
    stream_name,
};
use lotline_domain::time::CommitNo;
use lotline_handler::{Handler, Options};
use lotline_ledger::{CommitNumber, Frame, LedgerId, Reader, Writer};
use lotline_projections::{LedgerId as ModelLedger, ReadModel};
use lotline_testkit::disk::FaultyDisk;
use lotline_testkit::generate::{Knobs, Plant, plants_with};
use lotline_testkit::property::cases;
use lotline_wire::channel;
use lotline_wire::feed::read_as_of;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::Value;

use super::bus_conformance::{Ending, LEDGER, Mirror, append, stored};

/// What may go wrong, and at the how manieth operation from now on.
#[derive(Debug, Clone, Copy)]
struct Trap {
    after: u64,
    fault: Fault,
}

fn silent(then: Then) -> impl Strategy<Value = Fault> {
    any::<bool>().prop_map(move |done| Fault::Silent { done, then })
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => silent(Then::Nothing),
        4 => silent(Then::Cut),
        2 => silent(Then::Restart),
        1 => Just(Fault::Refused),
    ]
}

fn trap(fault: impl Strategy<Value = Fault>) -> impl Strategy<Value = Trap> {
    (0u64..24, fault).prop_map(|(after, fault)| Trap { after, fault })
}

/// Makes a server fall into a trap, once, and looks at what it holds before each operation.
fn set(server: &InProcess, trap: Option<Trap>, mut look: impl FnMut(&Holding<'_>) + Send + 'static) {
    let first = server.operations();
    server.misbehave(move |operation, holding| {
        look(holding);
        match trap {
            Some(trap) if operation.number == first + 1 + trap.after => trap.fault,
            _ => Fault::None,
        }
    });
}

/// A row without the commits that it is as of.
fn timeless(row: &Value) -> Value {
    let mut row = row.clone();
    if let Some(row) = row.as_object_mut() {
        row.remove("as_known_at");
    }
    row
}

type Rows = BTreeMap<String, Value>;

/// In what some rows are not others.
fn differences(some: &Rows, others: &Rows) -> Vec<String> {
    let keys: BTreeSet<&String> = some.keys().chain(others.keys()).collect();
    let text = |row: Option<&Value>| row.map_or("nothing".to_owned(), Value::to_string);
    let differ = keys.into_iter().filter(|key| some.get(*key) != others.get(*key));
    differ
        .map(|key| format!("{key}: {} where there should be {}", text(some.get(key)), text(others.get(key))))
        .collect()
}

/// One change, as a client reads it.
struct Told {
    sequence: u64,
    commit: u64,
    since: u64,
    step: (u64, u64),
    key: String,
    old: Option<Value>,
    new: Option<Value>,
}

fn number(message: &Received, name: &str) -> u64 {
    message.header(name).expect("a header").parse().expect("a number")
}

fn told(message: &Received) -> Told {
    let body: Value = serde_json::from_slice(&message.body).expect("JSON");
    let (at, of) = message.header(channel::STEP).and_then(|text| text.split_once('/')).expect("its step");
    let row = |name: &str| body.get(name).map(timeless);
    Told {
        sequence: message.sequence,
        commit: number(message, channel::COMMIT),
        since: number(message, channel::SINCE),
        step: (at.parse().expect("a number"), of.parse().expect("a number")),
        key: body["key"].as_str().expect("a key").to_owned(),
        old: row("old"),
        new: row("new"),
    }
}

/// The names of a feed's stream and bucket.
#[derive(Debug, Clone)]
struct Names {
    changes: String,
    bucket: String,
}

impl Names {
    fn of(ledger: LedgerId, kind: FeedKind) -> Self {
        let ledger = ledger.to_string();
        Self { changes: channel::feed_stream(&ledger, kind.word()), bucket: channel::feed_bucket(&ledger, kind.word()) }
    }
}

/// What a feed holds at a moment.
struct Held {
    changes: Vec<Told>,
    /// Value and commit by key; `None` where nothing is there any more.
    values: BTreeMap<String, (u64, Option<Value>)>,
    /// Commit and sequence that the bucket says it is as of.
    as_of: (u64, u64),
}

impl Held {
    fn of(names: &Names, holding: &Holding<'_>) -> Self {
        let changes = holding.messages(&names.changes).iter().map(told).collect();
        let (mut values, mut as_of) = (BTreeMap::new(), (0, 0));
        for message in holding.messages(&format!("KV_{}", names.bucket)) {
            let key = message.subject.strip_prefix(&format!("$KV.{}.", names.bucket)).expect("a key").to_owned();
            if key == channel::AS_OF_KEY {
                let read = read_as_of(&message.body).expect("a mark");
                as_of = (read.commit, read.sequence);
                continue;
            }
            let is_gone = message.header("KV-Operation") == Some("DEL");
            let value = (!is_gone).then(|| timeless(&serde_json::from_slice(&message.body).expect("JSON")));
            values.insert(key, (number(&message, channel::COMMIT), value));
        }
        Self { changes, values, as_of }
    }

    /// Each change goes on where the one of its key before ended, each step where the one before ended.
    fn assert_changes_follow(&self) -> Rows {
        let mut rows = Rows::new();
        let mut before: Option<&Told> = None;
        for (change, expected) in self.changes.iter().zip(1..) {
            assert_eq!(change.sequence, expected, "a gap");
            match before {
                Some(before) if before.step.0 < before.step.1 => {
                    let step = (before.since, before.commit, before.step.0 + 1, before.step.1);
                    assert_eq!((change.since, change.commit, change.step.0, change.step.1), step, "{}", change.key);
                }
                // What differs in nothing is not told: a step may begin later than the one before ended.
                other => {
                    assert!(change.since >= other.map_or(0, |before| before.commit), "{}: a repeat", change.key);
                    assert_eq!(change.step.0, 1, "{}: it begins in the middle", change.key);
                }
            }
            assert!(change.since < change.commit, "{}", change.key);
            assert_eq!(rows.get(&change.key), change.old.as_ref(), "{} at {}", change.key, change.commit);
            match &change.new {
                Some(row) => rows.insert(change.key.clone(), row.clone()),
                None => rows.remove(&change.key),
            };
            before = Some(change);
        }
        rows
    }

    /// What a client has that reads the bucket now and applies what is told behind its mark.
    fn client(&self) -> Rows {
        let mut values = self.values.clone();
        for change in self.changes.iter().filter(|change| change.sequence > self.as_of.1) {
            let value = values.entry(change.key.clone()).or_insert((0, None));
            if change.commit > value.0 {
                *value = (change.commit, change.new.clone());
            }
        }
        values.into_iter().filter_map(|(key, (_, value))| Some((key, value?))).collect()
    }

    /// The bucket's mark says no more than the bucket has: who begins with it comes to where the changes lead.
    fn assert_joins(&self) {
        let rows = self.assert_changes_follow();
        assert!(self.as_of.1 <= self.changes.len() as u64, "the mark {:?} is beyond the changes", self.as_of);
        assert_eq!(differences(&self.client(), &rows), Vec::<String>::new(), "as of {:?}", self.as_of);
    }
}

/// A ledger in memory, a commit for each command of a plant.
fn recorded(plant: &Plant) -> (Reader, Vec<Frame>) {
    let handler =
        Handler::create(FaultyDisk::new().shared(), Path::new("ledger"), Options::default()).expect("created");
    for command in &plant.commands {
        handler.submit(command.clone()).expect("durable");
    }
    let reader = handler.reader();
    let frames = reader.frames(CommitNumber::new(1)).map(|frame| frame.expect("sound")).collect();
    handler.close().expect("closed");
    (reader, frames)
}

/// A projector that tells a feed: its read model is as far as it was applied, and it has a connection of its own.
struct Projector {
    live: Live,
    feeder: Option<Feeder>,
    bus: Bus,
}

impl Projector {
    fn start(server: &InProcess, kind: FeedKind, ledger: LedgerId, frames: &[Frame]) -> Self {
        let model = ReadModel::in_memory(kind.model(), ModelLedger(*ledger.as_bytes()));
        let live = Live::new(model, Arc::new(Moved::default()));
        frames.iter().for_each(|frame| live.apply(&decode(frame).expect("it is readable")).expect("it follows"));
        Self { live, feeder: None, bus: Bus::in_process(server).expect("a thread") }
    }

    /// Tells what is due, once. Where something goes wrong it is as if it was started anew: it remembers nothing. Whether
    /// nothing was due.
    fn tell(&mut self, server: &InProcess, kind: FeedKind, ledger: LedgerId) -> bool {
        let Self { live, feeder, bus } = self;
        let told = (|| {
            let feeder = match feeder {
                Some(feeder) => feeder,
                None => feeder.insert(Feeder::open(bus, ledger, kind).ok()?),
            };
            let due = feeder.due(live, &|commit: CommitNo| live.hash_of(commit), true).ok()?;
            let Some(due) = due else { return Some(true) };
            feeder.tell(due).ok()?;
            Some(false)
        })();
        if told.is_none() {
            *feeder = None;
            *bus = Bus::in_process(server).expect("a thread");
        }
        told.unwrap_or(false)
    }
}

/// What happens in a case.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Projector `0` or `1` applies so many further commits.
    Apply(usize, usize),
    /// It tells what is due, and perhaps something goes wrong meanwhile.
    Tell(usize, Option<Trap>),
    /// It is killed, and starts with the model that it saved so many commits earlier.
    Kill(usize, usize),
}

fn event(fault: impl Strategy<Value = Fault> + Clone) -> impl Strategy<Value = Event> {
    let who = || 0usize..2;
    prop_oneof![
        3 => (who(), 1usize..12).prop_map(|(who, commits)| Event::Apply(who, commits)),
        5 => (who(), proptest::option::weighted(0.6, trap(fault))).prop_map(|(who, trap)| Event::Tell(who, trap)),
        1 => (who(), 0usize..6).prop_map(|(who, back)| Event::Kill(who, back)),
    ]
}

/// Feeds told once from the beginning, by nobody that is disturbed: keys and rows at the head.
fn undisturbed(kind: FeedKind, ledger: LedgerId, frames: &[Frame]) -> Rows {
    let server = InProcess::new(Default::default());
    let mut projector = Projector::start(&server, kind, ledger, frames);
    finish(&server, &mut projector, kind, ledger);
    let held = look_at(&server, &Names::of(ledger, kind));
    held.assert_joins();
    held.client()
}

/// Tells until nothing is due.
fn finish(server: &InProcess, projector: &mut Projector, kind: FeedKind, ledger: LedgerId) {
    let rounds = (0..200).find(|_| projector.tell(server, kind, ledger));
    assert!(rounds.is_some(), "it does not come to an end");
}

/// What a server holds of a feed now.
fn look_at(server: &InProcess, names: &Names) -> Held {
    let found = Arc::new(Mutex::new(None));
    let (into, own) = (found.clone(), names.clone());
    set(server, None, move |holding| *into.lock().expect("nobody panicked") = Some(Held::of(&own, holding)));
    let _ = Bus::in_process(server).expect("a thread").ledgers();
    server.behave();
    found.lock().expect("nobody panicked").take().expect("it was asked")
}

fn run(plant: &Plant, events: &[Event], kind: FeedKind, always: bool) {
    let (reader, frames) = recorded(plant);
    let ledger = reader.ledger();
    let names = Names::of(ledger, kind);
    let server = InProcess::new(Default::default());
    let mut applied = [0, 0];
    let mut projectors = [(); 2].map(|()| Projector::start(&server, kind, ledger, &[]));
    let wrong: Arc<Mutex<Option<String>>> = Arc::default();
    for event in events {
        match *event {
            Event::Apply(who, commits) => {
                let until = frames.len().min(applied[who] + commits);
                for frame in &frames[applied[who]..until] {
                    projectors[who].live.apply(&decode(frame).expect("it is readable")).expect("it follows");
                }
                applied[who] = until;
            }
            Event::Kill(who, back) => {
                applied[who] -= back.min(applied[who]);
                projectors[who] = Projector::start(&server, kind, ledger, &frames[..applied[who]]);
            }
            Event::Tell(who, trap) => {
                let (own, found) = (names.clone(), wrong.clone());
                set(&server, trap, move |holding| {
                    if always && found.lock().expect("nobody panicked").is_none() {
                        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            Held::of(&own, holding).assert_joins();
                        }));
                        if let Err(panic) = looked {
                            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                            *found.lock().expect("nobody panicked") = Some(text);
                        }
                    }
                });
                projectors[who].tell(&server, kind, ledger);
                server.behave();
            }
        }
        assert_eq!(*wrong.lock().expect("nobody panicked"), None, "at one moment");
    }
    // In the end one of them goes on undisturbed.
    for who in 0..2 {
        for frame in &frames[applied[who]..] {
            projectors[who].live.apply(&decode(frame).expect("it is readable")).expect("it follows");
        }
        finish(&server, &mut projectors[who], kind, ledger);
    }
    drop(projectors);
    // Who comes anew looks at everything at once, and finds nothing to tell and nothing to put right.
    let mut anew = Projector::start(&server, kind, ledger, &frames);
    let ends = || [names.changes.clone(), format!("KV_{}", names.bucket)].map(|stream| end_of(&server, &stream));
    let before = ends();
    finish(&server, &mut anew, kind, ledger);
    assert_eq!(ends(), before, "something was told otherwise than it is");
    drop(anew);
    let held = look_at(&server, &names);
    held.assert_joins();
    let values: Rows = held.values.iter().filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?))).collect();
    let none = Vec::<String>::new();
    assert_eq!(differences(&values, &held.assert_changes_follow()), none, "the bucket is what the changes lead to");
    assert_eq!(differences(&values, &undisturbed(kind, ledger, &frames)), none, "and what is so");
    assert_eq!(held.as_of.1, held.changes.len() as u64);
}

fn end_of(server: &InProcess, stream: &str) -> u64 {
    bus_of(server).stream_state(stream).expect("told").map_or(0, |state| state.last_sequence)
}

fn small() -> impl Strategy<Value = Plant> {
    plants_with(Knobs { most_events: 20, ..Knobs::WILD })
}

/// What happens to a ledger's stream.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Record(u64),
    Relay(Option<Trap>),
    Project(Option<Trap>),
    Restart,
}

/// The same, and a server that was started anew has lost what came last.
fn losing() -> impl Strategy<Value = Fault> {
    let lost = (any::<bool>(), 1u64..6);
    prop_oneof![
        4 => fault(),
        2 => lost.prop_map(|(done, lost)| Fault::Silent { done, then: Then::RestartWithout(lost) }),
    ]
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (1u64..20).prop_map(Happens::Record),
        3 => proptest::option::weighted(0.7, trap(losing())).prop_map(Happens::Relay),
        3 => proptest::option::weighted(0.7, trap(losing())).prop_map(Happens::Project),
        1 => Just(Happens::Restart),
    ]
}

/// Whether what a stream holds is the beginning of a ledger.
fn is_beginning(held: &[Vec<u8>], frames: &[Vec<u8>]) -> bool {
    frames.starts_with(held)
}

fn relayed(events: &[Happens]) {
    let disk = FaultyDisk::new();
    let mut writer = Writer::create(disk.shared(), Path::new("one"), LEDGER, Default::default()).expect("created");
    let server = InProcess::new(Default::default());
    let stream = stream_name(LEDGER, 1);
    let bus = || Bus::in_process(&server).expect("a thread");
    let mut relay = Relay::new(&bus(), writer.reader(), impatient());
    let (mut model, mut projecting) = (Mirror::new(), bus());
    let frames = |writer: &Writer| super::bus_relay::frames(&writer.reader());
    for event in events {
        match *event {
            Happens::Record(commits) => append(&mut writer, 1, commits),
            Happens::Restart => server.restart(),
            Happens::Relay(trap) => {
                set(&server, trap, |_| {});
                if relay.once(&Stop::new()).is_err() {
                    relay = Relay::new(&bus(), writer.reader(), impatient());
                }
            }
            Happens::Project(trap) => {
                set(&server, trap, |_| {});
                let until = writer.head().commit;
                let options = ProjectOptions {
                    until: Some(until),
                    idle: Duration::from_millis(5),
                    patience: Some(Duration::ZERO),
                    ..ProjectOptions::default()
                };
                if projecting.project(&mut model, &options, &Stop::new()).is_err() {
                    projecting = bus();
                }
            }
        }
        server.behave();
        let all = frames(&writer);
        assert!(is_beginning(&model.frames, &all), "a projector has what the ledger has not");
        if bus().stream_state(&stream).expect("told").is_some() {
            assert!(is_beginning(&stored(&bus(), &stream), &all), "the stream has what the ledger has not");
        }
    }
    append(&mut writer, 1, 1);
    let patient = RelayOptions { patience: Duration::from_secs(20), ..RelayOptions::default() };
    let done = Relay::new(&bus(), writer.reader(), patient).once(&Stop::new()).expect("undisturbed");
    assert_eq!((done.head, done.generation), (writer.head().commit, 1));
    assert_eq!(stored(&bus(), &stream), frames(&writer), "each once, in order");
    let until = Some(writer.head().commit);
    let options = ProjectOptions { until, patience: Some(Duration::from_secs(20)), ..ProjectOptions::default() };
    bus().project(&mut model, &options, &Stop::new()).expect("undisturbed");
    assert_eq!(model.frames, frames(&writer), "nothing twice, nothing left out");
}

fn impatient() -> RelayOptions {
    RelayOptions { patience: Duration::ZERO, ..RelayOptions::default() }
}

/// What comes into the queue, and whoever takes it.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// So many messages, of which every third can never be taken.
    Sent(u64, Option<Trap>),
    /// An intake takes some, until this has gone wrong or nothing is left that is due.
    Taken(Option<Trap>),
    /// What is out is due.
    Passed,
}

fn comes() -> impl Strategy<Value = Comes> {
    prop_oneof![
        3 => (1u64..8, proptest::option::of(trap(fault()))).prop_map(|(count, trap)| Comes::Sent(count, trap)),
        3 => proptest::option::weighted(0.7, trap(fault())).prop_map(Comes::Taken),
        1 => Just(Comes::Passed),
    ]
}

/// Notes each message as a ledger records it: once, by its id.
#[derive(Default)]
struct Book(Mutex<BTreeMap<String, u64>>);

impl Taker for Book {
    fn take(&self, message: Incoming, reply: Reply) {
        let id = String::from_utf8(message.body).expect("text");
        let means = if id.starts_with("bad") {
            Means::Refused { code: 400, reason: "it is bad".to_owned() }
        } else {
            *self.0.lock().expect("nobody panicked").entry(id).or_default() += 1;
            Means::Done
        };
        reply.give(Answer { word: "answered".to_owned(), body: Vec::new(), means });
    }
}

/// Takes in what is due, over a connection that may be cut meanwhile.
fn take(server: &InProcess, book: &Book, trap: Option<Trap>, is_enough: impl Fn(&Bus) -> bool) {
    let (bus, looking, stop) = (bus_of(server), bus_of(server), Stop::new());
    set(server, trap, |_| {});
    std::thread::scope(|scope| {
        let _ending = Ending(&stop);
        let intake = scope.spawn(|| bus.take_in(LEDGER, book, &IntakeOptions::default(), &stop));
        // What is lost on its way is due later.
        let mut looks = 0..40;
        while looks.next().is_some() && !is_enough(&looking) && !intake.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.now();
        // Refused or silent when it began, it says so.
        let _ = intake.join().expect("no panic");
    });
    server.behave();
}

fn bus_of(server: &InProcess) -> Bus {
    Bus::in_process(server).expect("a thread")
}

fn taken_in(events: &[Comes]) {
    let server = InProcess::new(Default::default());
    let (bus, book) = (bus_of(&server), Book::default());
    let ledger = LEDGER.to_string();
    let (queue, to) = (channel::queue_stream(&ledger), channel::queue_subject(&ledger, "erp"));
    let left = |bus: &Bus| bus.stream_state(&queue).ok().flatten().map(|state| state.messages);
    while left(&bus).is_none() {
        take(&server, &book, None, |bus| left(bus).is_some());
    }
    let (mut sent, mut promised) = (0, Vec::new());
    for event in events {
        match *event {
            Comes::Sent(count, trap) => {
                let sender = bus_of(&server);
                set(&server, trap, |_| {});
                for _ in 0..count {
                    sent += 1;
                    let id = if sent % 3 == 0 { format!("bad{sent}") } else { format!("good{sent}") };
                    if sender.put(&to, &[("Nats-Msg-Id", &id)], id.as_bytes()).is_ok() {
                        promised.push(id);
                    }
                }
                server.behave();
            }
            Comes::Taken(trap) => take(&server, &book, trap, |bus| left(bus) == Some(0)),
            Comes::Passed => server.pass(Duration::from_secs(10)),
        }
    }
    for _ in 0..100 {
        server.pass(Duration::from_secs(10));
        take(&server, &book, None, |bus| left(bus) == Some(0));
        if left(&bus) == Some(0) {
            break;
        }
    }
    assert_eq!(left(&bus), Some(0), "everything is answered in the end");
    let letters = bus.letters(LEDGER, false).expect("told");
    let recorded = book.0.lock().expect("nobody panicked");
    for id in &promised {
        let is_aside = letters.iter().any(|letter| letter.body == id.as_bytes() && letter.reason == "it is bad");
        assert_eq!((recorded.contains_key(id), is_aside), (id.starts_with("good"), id.starts_with("bad")), "{id}");
    }
    assert!(recorded.keys().all(|id| id.starts_with("good")));
}

proptest! {
    #![proptest_config(cases(160, 2_000))]

    #[test]
    fn whatever_breaks_a_bucket_says_no_more_than_it_has_and_changes_follow(
        plant in small(),
        events in vec(event(fault().boxed()), 1..40),
        kind in prop_oneof![Just(FeedKind::OnHand), Just(FeedKind::Edges), Just(FeedKind::Exceptions)],
    ) {
        run(&plant, &events, kind, true);
    }

    #[test]
    fn a_server_that_lost_the_ends_of_streams_and_buckets_has_them_again_in_the_end(
        plant in small(),
        events in vec(event(losing().boxed()), 1..40),
    ) {
        run(&plant, &events, FeedKind::OnHand, false);
    }

    #[test]
    fn whatever_breaks_what_the_queue_has_taken_is_recorded_or_put_aside(events in vec(comes(), 1..10)) {
        taken_in(&events);
    }

    #[test]
    fn whatever_breaks_each_commit_is_relayed_and_projected_once(events in vec(happens(), 1..30)) {
        relayed(&events);
    }
}
