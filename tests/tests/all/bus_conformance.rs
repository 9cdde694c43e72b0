//! One suite for a NATS server and for the server in this process: what is above the seam cannot tell them apart. Here:
//! streams and subjects, the relay and projectors.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lotline_bus::in_process::InProcess;
use lotline_bus::{
    Bus, Cursor, Found, Model, OnDifference, ProjectError, ProjectOptions, Relay, RelayError, RelayOptions, SendError,
    Stop, Why, stream_name, subject,
};
use lotline_ledger::{
    CommitHash, CommitNumber, Entry, Frame, Key, LedgerId, Micros, Options, OsStorage, Reader, Writer,
};
use tempfile::tempdir;

use super::bus_damage::flip;
use super::bus_relay::{copy, frames};
use super::bus_server::{Server, until};

pub const LEDGER: LedgerId = LedgerId::new([7; 16]);
/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server of either kind, with what a test may do to it.
pub enum Either {
    Nats(Box<Server>),
    InProcess(InProcess),
}

/// What a server had at a moment.
pub enum Saved {
    Files(tempfile::TempDir),
    Last(Vec<(String, u64)>),
}

/// Ends what runs beside a test, when the test ends in whatever way: a scope waits for its threads.
pub struct Ending<'s>(pub &'s Stop);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// Runs a case on both; over NATS where there is a server.
pub fn on_both(case: impl Fn(&mut Either)) {
    eprintln!("in this process");
    case(&mut Either::InProcess(InProcess::new(Default::default())));
    if let Some(server) = Server::start() {
        eprintln!("over NATS");
        case(&mut Either::Nats(Box::new(server)));
    }
}

impl Either {
    /// A connection of its own.
    pub fn bus(&self) -> Bus {
        match self {
            Self::Nats(server) => server.bus(),
            Self::InProcess(server) => Bus::in_process(server).expect("a thread"),
        }
    }

    pub fn go_away(&mut self) {
        match self {
            Self::Nats(server) => server.stop(),
            Self::InProcess(server) => server.go_away(),
        }
    }

    pub fn come_back(&mut self) {
        match self {
            Self::Nats(server) => server.run(),
            Self::InProcess(server) => server.come_back(),
        }
    }

    /// Notes what it has in these streams.
    pub fn save(&mut self, streams: &[&str]) -> Saved {
        match self {
            Self::Nats(server) => {
                let folder = tempdir().expect("a folder");
                server.stop();
                copy(&server.store(), folder.path());
                server.run();
                Saved::Files(folder)
            }
            Self::InProcess(_) => {
                let bus = self.bus();
                let last = |name: &&str| bus.stream_state(name).expect("told").expect("a stream").last_sequence;
                Saved::Last(streams.iter().map(|name| ((*name).to_owned(), last(name))).collect())
            }
        }
    }

    /// It starts again with what it had then.
    pub fn put_back(&mut self, saved: &Saved) {
        match (self, saved) {
            (Self::Nats(server), Saved::Files(folder)) => {
                server.stop();
                fs::remove_dir_all(server.store()).expect("removed");
                copy(folder.path(), &server.store());
                server.run();
            }
            (Self::InProcess(server), Saved::Last(all)) => {
                all.iter().for_each(|(stream, last)| server.lose_tail(stream, *last));
            }
            _ => unreachable!("it was saved from another one"),
        }
    }

    /// It loses a message of a stream without a word: over NATS by one flipped bit in its files.
    pub fn lose(&mut self, stream: &str, sequence: u64, bytes: &[u8]) {
        match self {
            Self::Nats(server) => flip(server, stream, bytes, false),
            Self::InProcess(server) => assert!(server.lose(stream, sequence), "it was there"),
        }
    }
}

/// A copy of a ledger, as a model.
pub struct Mirror {
    cursor: Cursor,
    pub frames: Vec<Vec<u8>>,
}

impl Mirror {
    pub fn new() -> Self {
        let cursor = Cursor { ledger: LEDGER, commit: CommitNumber::ZERO, hash: CommitHash::ZERO };
        Self { cursor, frames: Vec::new() }
    }
}

impl Model for Mirror {
    type Error = std::convert::Infallible;
    type Prepared = (Frame, CommitHash);

    fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn prepare(frame: Frame, hash: CommitHash) -> Result<Self::Prepared, Self::Error> {
        Ok((frame, hash))
    }

    fn apply(&mut self, (frame, hash): &Self::Prepared) -> Result<(), Self::Error> {
        (self.cursor.commit, self.cursor.hash) = (frame.header().number, *hash);
        self.frames.push(frame.bytes().to_vec());
        Ok(())
    }

    fn save(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Records commits of one to three events, which differ by `mark`.
pub fn append(writer: &mut Writer, mark: u8, commits: u64) {
    for _ in 0..commits {
        let number = writer.head().commit.get();
        let entry = |event: u64| Entry::new([Key::new([mark; 16])], &[mark, number as u8, event as u8]);
        let entries: Vec<Entry> = (0..=number % 3).map(|event| entry(event).expect("within limits")).collect();
        writer.append(Micros::new(1_000 + number as i64), &entries).expect("durable");
    }
}

pub fn create(folder: &Path, commits: u64) -> Writer {
    let mut writer = Writer::create(OsStorage::shared(), folder, LEDGER, Options::default()).expect("created");
    append(&mut writer, 1, commits);
    writer
}

/// A second copy of a ledger's folder, to be written on its own.
fn second(writer: &Writer, folder: PathBuf) -> Writer {
    copy(writer.dir(), &folder);
    Writer::open(OsStorage::shared(), folder, Options::default()).expect("a sound copy")
}

fn relay(bus: &Bus, reader: Reader) -> Relay {
    Relay::new(bus, reader, RelayOptions { patience: PATIENCE, ..RelayOptions::default() })
}

fn project(
    bus: &Bus,
    model: &mut Mirror,
    until: u64,
) -> Result<lotline_bus::Projected, ProjectError<std::convert::Infallible>> {
    let options = ProjectOptions {
        until: Some(CommitNumber::new(until)),
        idle: Duration::from_millis(200),
        patience: Some(PATIENCE),
        ..ProjectOptions::default()
    };
    bus.project(model, &options, &Stop::new())
}

/// All that a stream has, without gaps.
#[track_caller]
pub fn stored(bus: &Bus, stream: &str) -> Vec<Vec<u8>> {
    let state = bus.stream_state(stream).expect("told").expect("there is a stream");
    assert_eq!(state.messages, state.last_sequence, "{stream} has gaps");
    let all = (1..=state.last_sequence).map(|sequence| bus.stored(stream, sequence).expect("told").expect("no gap"));
    all.map(|message| message.body).collect()
}

#[test]
fn a_ledger_is_relayed_and_projected_to_the_same_bytes() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let mut writer = create(&folder.path().join("one"), 40);
        let bus = server.bus();
        assert_eq!(bus.stream_head(LEDGER).expect("told"), None);
        let mut relay = relay(&bus, writer.reader());
        let relayed = relay.once(&Stop::new()).expect("published");
        assert_eq!((relayed.published, relayed.head.get(), relayed.generation), (40, 40, 1));
        assert_eq!(relay.once(&Stop::new()).expect("in step").published, 40, "nothing more");

        let mut model = Mirror::new();
        let projected = project(&server.bus(), &mut model, 40).expect("all of it");
        assert_eq!((projected.applied, projected.cursor.commit.get()), (40, 40));
        assert_eq!(model.frames, frames(&writer.reader()));
        append(&mut writer, 1, 5);
        relay.once(&Stop::new()).expect("published");
        assert_eq!(project(&bus, &mut model, 45).expect("the rest").applied, 5);
        assert_eq!(model.frames, frames(&writer.reader()));
        assert_eq!(bus.ledgers().expect("told"), [LEDGER]);
        let backlog = bus.backlog(LEDGER, CommitNumber::new(43)).expect("told").expect("a stream");
        assert_eq!((backlog.end.get(), backlog.oldest), (45, Some(Micros::new(1_043))));
        assert_eq!(stored(&bus, &stream_name(LEDGER, 1)), model.frames);
    });
}

#[test]
fn two_relays_at_once_publish_each_commit_once() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let mut writer = create(&folder.path().join("one"), 1);
        let stop = Stop::new();
        let published: u64 = std::thread::scope(|scope| {
            let relays = [(); 2].map(|()| {
                let (bus, reader, stop) = (server.bus(), writer.reader(), &stop);
                scope.spawn(move || relay(&bus, reader).run(stop).expect("neither comes to harm").published)
            });
            let _ending = Ending(&stop);
            (0..150).for_each(|_| append(&mut writer, 1, 1));
            let bus = server.bus();
            until("the stream has all", || {
                bus.stream_head(LEDGER).ok()?.filter(|head| head.commit.get() == 151).map(drop)
            });
            stop.now();
            relays.into_iter().map(|relay| relay.join().expect("no panic")).sum()
        });
        assert!(published <= 151, "some twice: {published}");
        assert_eq!(stored(&server.bus(), &stream_name(LEDGER, 1)), frames(&writer.reader()));
    });
}

#[test]
fn a_stream_that_is_ahead_is_told_and_not_written_to() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let mut today = create(&folder.path().join("today"), 6);
        let yesterday = second(&today, folder.path().join("yesterday"));
        append(&mut today, 1, 5);
        let bus = server.bus();
        relay(&bus, today.reader()).once(&Stop::new()).expect("published");
        let error = relay(&bus, yesterday.reader()).once(&Stop::new()).expect_err("it was rolled back");
        let RelayError::Ahead { in_stream, in_ledger, .. } = error else { panic!("{error}") };
        assert_eq!((in_stream.get(), in_ledger.get()), (11, 6));
        assert_eq!(stored(&bus, &stream_name(LEDGER, 1)), frames(&today.reader()));
    });
}

#[test]
fn a_stream_that_differs_is_kept_and_a_generation_started_beside_it() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let mut one = create(&folder.path().join("one"), 6);
        let mut other = second(&one, folder.path().join("other"));
        append(&mut one, 1, 5);
        append(&mut other, 2, 7);
        let bus = server.bus();
        relay(&bus, one.reader()).once(&Stop::new()).expect("published");
        let options = RelayOptions { on_difference: OnDifference::Stop, ..RelayOptions::default() };
        let error = Relay::new(&bus, other.reader(), options).once(&Stop::new()).expect_err("it differs");
        assert!(matches!(&error, RelayError::Differs(kept) if kept.head.get() == 11), "{error}");

        let relayed = relay(&bus, other.reader()).once(&Stop::new()).expect("published beside it");
        assert_eq!((relayed.published, relayed.generation), (13, 2));
        assert_eq!(relayed.kept[0].why, Why::Other { from: CommitNumber::new(7) });
        assert_eq!(stored(&bus, &stream_name(LEDGER, 1)), frames(&one.reader()), "not a byte was changed");
        assert_eq!(stored(&bus, &stream_name(LEDGER, 2)), frames(&other.reader()));
        let mut model = Mirror::new();
        assert_eq!(project(&bus, &mut model, 13).expect("the newest").generation, 2);
        assert_eq!(model.frames, frames(&other.reader()));
    });
}

#[test]
fn a_relay_is_fenced_out_by_another_writer() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let mut one = create(&folder.path().join("one"), 6);
        let mut other = second(&one, folder.path().join("other"));
        let bus = server.bus();
        let mut fenced = relay(&bus, one.reader());
        fenced.once(&Stop::new()).expect("published");
        append(&mut other, 2, 9);
        relay(&server.bus(), other.reader()).once(&Stop::new()).expect("published");
        append(&mut one, 1, 20);
        let error = fenced.once(&Stop::new()).expect_err("somebody else has written");
        assert!(matches!(&error, RelayError::Fenced(kept) if kept.head.get() == 15), "{error}");
        assert_eq!(stored(&bus, &stream_name(LEDGER, 1)), frames(&other.reader()), "nothing was overwritten");
    });
}

#[test]
fn a_tail_that_the_server_lost_is_filled_again_and_a_projector_goes_on() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let mut writer = create(&folder.path().join("one"), 6);
        let (bus, stream) = (server.bus(), stream_name(LEDGER, 1));
        relay(&bus, writer.reader()).once(&Stop::new()).expect("published");
        let saved = server.save(&[&stream]);
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let (reader, bus) = (writer.reader(), server.bus());
            let relaying = {
                let stop = &stop;
                scope.spawn(move || relay(&bus, reader).run(stop))
            };
            let bus = server.bus();
            let projecting = scope.spawn(move || {
                let mut model = Mirror::new();
                project(&bus, &mut model, 26).map(|_| model.frames)
            });
            let bus = server.bus();
            let filled = |commits: u64| {
                until("the stream has all", || {
                    bus.stream_head(LEDGER).ok()?.filter(|head| head.commit.get() == commits).map(drop)
                });
            };
            append(&mut writer, 1, 10);
            filled(16);
            server.put_back(&saved);
            filled(16);
            append(&mut writer, 1, 10);
            filled(26);
            stop.now();
            assert_eq!(relaying.join().expect("no panic").expect("it goes on").head.get(), 26);
            assert_eq!(projecting.join().expect("no panic").expect("all of it"), frames(&writer.reader()));
        });
        assert_eq!(stored(&bus, &stream), frames(&writer.reader()));
    });
}

#[test]
fn a_commit_that_is_missing_in_the_middle_is_a_broken_chain() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let writer = create(&folder.path().join("one"), 8);
        let (bus, stream, held) = (server.bus(), stream_name(LEDGER, 1), frames(&writer.reader()));
        relay(&bus, writer.reader()).once(&Stop::new()).expect("published");
        server.lose(&stream, 4, &held[3]);
        let mut model = Mirror::new();
        let error = project(&server.bus(), &mut model, 8).expect_err("commit 4 is missing");
        let ProjectError::Broken(broken) = error else { panic!("{error}") };
        assert_eq!((broken.at.get(), model.frames.len()), (4, 3));
        assert!(matches!(broken.found, Found::Nothing { .. }), "{broken}");

        // Heads alone do not tell; the gap in the count does, and the stream is told anew beside it.
        let options = RelayOptions { read_back: true, ..RelayOptions::default() };
        let relayed = Relay::new(&server.bus(), writer.reader(), options).once(&Stop::new()).expect("told anew");
        assert_eq!((relayed.generation, relayed.kept[0].why), (2, Why::Lost { commit: CommitNumber::new(4) }));
        assert_eq!(project(&server.bus(), &mut model, 8).expect("the rest").applied, 5);
        assert_eq!(model.frames, held);
    });
}

#[test]
fn commits_recorded_while_the_server_is_away_follow_when_it_is_back() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let mut writer = create(&folder.path().join("one"), 30);
        let bus = server.bus();
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let _ending = Ending(&stop);
            let (reader, other) = (writer.reader(), server.bus());
            let relaying = {
                let stop = &stop;
                scope.spawn(move || relay(&other, reader).run(stop))
            };
            for round in 1..3 {
                append(&mut writer, 1, 30);
                server.go_away();
                until("the connection is broken", || (!bus.is_connected()).then_some(()));
                append(&mut writer, 1, 30);
                server.come_back();
                let all = 30 + 60 * round;
                until("the stream has all", || {
                    bus.stream_head(LEDGER).ok()?.filter(|head| head.commit.get() == all).map(drop)
                });
                assert!(bus.is_connected());
            }
            stop.now();
            relaying.join().expect("no panic").expect("it goes on");
        });
        assert_eq!(bus.tally().connections, 3, "once, and at each return");
        assert_eq!(stored(&bus, &stream_name(LEDGER, 1)), frames(&writer.reader()));
    });
}

#[test]
fn a_message_is_fenced_and_known_by_its_id() {
    on_both(|server| {
        let folder = tempdir().expect("a folder");
        let writer = create(&folder.path().join("one"), 3);
        let (bus, stream, to) = (server.bus(), stream_name(LEDGER, 1), subject(LEDGER, 1));
        relay(&bus, writer.reader()).once(&Stop::new()).expect("published");
        let ids: Vec<String> = frames(&writer.reader())
            .into_iter()
            .map(|bytes| Frame::decode(bytes).expect("sound").hash().to_string())
            .collect();
        let put = |headers: &[(&str, &str)]| bus.put(&to, headers, b"a body");
        for headers in [
            [("Nats-Expected-Last-Sequence", "2"), ("X", "")],
            [("Nats-Expected-Last-Sequence", "4"), ("X", "")],
            [("Nats-Expected-Last-Msg-Id", ids[1].as_str()), ("X", "")],
            [("Nats-Expected-Last-Subject-Sequence", "1"), ("X", "")],
            // An expectation comes before an id that is known.
            [("Nats-Expected-Last-Sequence", "2"), ("Nats-Msg-Id", ids[2].as_str())],
        ] {
            assert!(matches!(put(&headers), Err(SendError::Moved)), "{headers:?}");
        }
        let refused = put(&[("Nats-Expected-Stream", "another")]).expect_err("it is another stream's");
        assert!(refused.to_string().starts_with("the NATS server refuses"), "{refused}");
        let unheard = bus.put("nobody.listens", &[], b"").expect_err("no stream listens");
        assert!(unheard.to_string().contains("does not answer"), "{unheard}");

        let fence = [
            ("Nats-Expected-Stream", stream.as_str()),
            ("Nats-Expected-Last-Sequence", "3"),
            ("Nats-Expected-Last-Msg-Id", ids[2].as_str()),
            ("Nats-Msg-Id", "mine"),
        ];
        let taken = put(&fence).expect("it fits");
        assert_eq!((taken.stream.as_str(), taken.sequence, taken.duplicate), (stream.as_str(), 4, false));
        let again = put(&[("Nats-Msg-Id", "mine")]).expect("it is known");
        assert_eq!((again.sequence, again.duplicate), (4, true));
        let held = bus.stored(&stream, 4).expect("told").expect("it is there");
        assert_eq!((held.body.as_slice(), held.subject.as_str()), (&b"a body"[..], to.as_str()));
        assert_eq!(held.header("Nats-Msg-Id"), Some("mine"));
        assert_eq!(bus.stored(&stream, 5).expect("told"), None);
        assert_eq!(bus.stored_last(&stream, &to).expect("told").map(|last| last.sequence), Some(4));
        assert_eq!(bus.stored_from(&stream, 2, "lotline.>").expect("told").map(|next| next.sequence), Some(2));
        assert_eq!(bus.stored_from(&stream, 1, "other.*").expect("told"), None);
        assert_eq!(bus.stream_state("no-such-stream").expect("told"), None);
        let state = bus.stream_state(&stream).expect("told").expect("it is there");
        assert_eq!((state.messages, state.first_sequence, state.last_sequence), (4, 1, 4));
    });
}

#[test]
fn messages_come_to_all_that_listen_and_to_one_of_a_group() {
    on_both(|server| {
        let (one, other) = (server.bus(), server.bus());
        let mut all = one.listen("plant.>", None).expect("it listens");
        let mut group = [(); 2].map(|()| one.listen("plant.*", Some("shift")).expect("it listens"));
        for number in 0..20 {
            other.send("plant.line", &[("X-Number", &number.to_string())], b"moved").expect("sent");
        }
        other.send("plant.line.deep", &[], b"").expect("sent");
        other.send("elsewhere", &[], b"").expect("sent");
        let numbers: Vec<String> = (0..20)
            .map(|_| all.next(PATIENCE).expect("it came").header("X-Number").expect("its number").to_owned())
            .collect();
        assert_eq!(numbers, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!(all.next(PATIENCE).expect("it came").subject, "plant.line.deep");
        let moment = Duration::from_millis(300);
        let shares = group.each_mut().map(|member| std::iter::from_fn(|| member.next(moment)).count());
        assert_eq!(shares.iter().sum::<usize>(), 20, "each once: {shares:?}");
        assert_eq!(all.next(moment), None);

        let unheard = one.request("nobody.there", &[], b"?", PATIENCE).expect_err("nobody listens");
        assert!(matches!(&unheard, SendError::Unheard { subject } if subject == "nobody.there"), "{unheard}");
        let large = one.send("plant.line", &[], &vec![0; 2 << 20]).expect_err("too large");
        assert!(matches!(large, SendError::TooLarge { size: 2_097_152, most: 1_048_576, .. }), "{large}");
    });
}
