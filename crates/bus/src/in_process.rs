//! A server in this process, for programs that embed the whole of it, and for tests: streams and buckets in memory, and
//! subjects without a network. [`Bus::in_process`](crate::Bus::in_process) connects to one; what is done over it is the
//! same as over NATS, with the same bounds, names, headers and errors.
//!
//! It is one server without a cluster, for any number of connections and threads. It has no users and no permissions,
//! and keeps nothing beyond its process. Its time is tokio's, and can be [passed](InProcess::pass).
//!
//! It can be told to misbehave, as servers and networks do: [`InProcess::misbehave`] decides it at each operation.
//!
//! ```
//! use lotline_bus::in_process::InProcess;
//! use lotline_bus::{Bus, Relay, RelayOptions, Stop};
//! use lotline_ledger::{CommitNumber, Entry, Key, LedgerId, Micros, Options, OsStorage, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("ledger");
//! let mut ledger = Writer::create(OsStorage::shared(), &folder, LedgerId::new([7; 16]), Options::default())?;
//! ledger.append(Micros::new(1), &[Entry::new([Key::new([1; 16])], b"an event")?])?;
//!
//! let server = InProcess::new(Default::default());
//! let bus = Bus::in_process(&server)?;
//! let relayed = Relay::new(&bus, ledger.reader(), RelayOptions::default()).once(&Stop::new())?;
//! assert_eq!((relayed.published, relayed.head), (1, CommitNumber::new(1)));
//!
//! // Another connection to the same server sees it.
//! let head = Bus::in_process(&server)?.stream_head(ledger.reader().ledger())?;
//! assert_eq!(head.map(|head| head.commit), Some(CommitNumber::new(1)));
//! # Ok(())
//! # }
//! ```

mod link;
mod streams;
mod subjects;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::streams::Streams;
use self::subjects::Listeners;
use crate::client::Received;
pub(crate) use link::Link;
use link::State;

/// How large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InProcessOptions {
    /// The largest message that it takes, in bytes, headers included.
    pub max_payload: usize,
    /// So many bytes may be in all streams; then messages are refused.
    pub max_bytes: u64,
}

impl Default for InProcessOptions {
    /// Messages of 1 MiB, as NATS servers take them, and 1 GiB in all.
    fn default() -> Self {
        Self { max_payload: 1 << 20, max_bytes: 1 << 30 }
    }
}

/// A server in this process. Clones are one server, which lasts as long as one of them or a connection to it.
#[derive(Debug, Clone)]
pub struct InProcess {
    shared: Arc<Shared>,
}

/// What a server is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Make a stream or a bucket.
    Make,
    /// List the streams.
    List,
    /// Tell the state of a stream, or count in it.
    State,
    /// Read a message of a stream.
    Read,
    /// Take a message into a stream.
    Publish,
    /// Delete a message of a stream.
    Delete,
    /// Begin to deliver a stream's messages.
    Consume,
    /// Deliver one of them.
    Deliver,
    /// Take the acknowledgement of a delivery.
    Acknowledge,
    /// Pass a message on to whoever listens.
    Send,
    /// Begin to pass messages on.
    Listen,
}

/// One thing that a server is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Its number among all of this server, from 1.
    pub number: u64,
    /// Over which connection it comes: they are numbered from 1 as they are made.
    pub connection: u64,
    /// What.
    pub act: Act,
    /// The stream or the subject that it is about.
    pub on: &'a str,
}

/// What a server holds at a moment.
#[derive(Debug)]
pub struct Holding<'a> {
    streams: &'a Streams,
}

impl Holding<'_> {
    /// All messages of a stream, in order; none where there is no such stream. That of a bucket has its name behind
    /// `KV_`, and holds the last one of each key.
    pub fn messages(&self, stream: &str) -> Vec<Received> {
        self.streams.messages(stream).into_iter().map(Received::from).collect()
    }
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is done.
    None,
    /// It is refused, and not done. A message is refused as by a stream that is full.
    Refused,
    /// No answer comes.
    Silent {
        /// It is done all the same.
        done: bool,
        /// What happens then.
        then: Then,
    },
}

/// What happens behind an operation without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next one is as usual: only this was lost on its way.
    Nothing,
    /// This connection is dead for ever, as that of a process that was killed.
    Cut,
    /// The server is away, until it [comes back](InProcess::come_back).
    Away,
    /// The server starts anew, as [`InProcess::restart`] tells.
    Restart,
    /// The same, and of every stream so many of the last messages are lost.
    RestartWithout(u64),
}

impl InProcess {
    /// A server that has nothing yet.
    pub fn new(options: InProcessOptions) -> Self {
        let world = World {
            streams: Streams::default(),
            listeners: Listeners::default(),
            links: Vec::new(),
            away: false,
            operations: 0,
            connections: 0,
            inboxes: 0,
            runs: 0,
            ahead: Duration::ZERO,
            plan: None,
        };
        Self { shared: Arc::new(Shared { options, world: Mutex::new(world), changed: watch::Sender::new(0) }) }
    }

    /// From now on this says what becomes of each operation. It is asked in their order, before each, with what the
    /// server holds then, and must not use the server otherwise.
    pub fn misbehave(&self, plan: impl FnMut(&Operation<'_>, &Holding<'_>) -> Fault + Send + 'static) {
        self.shared.world().plan = Some(Box::new(plan));
    }

    /// From now on everything is done.
    pub fn behave(&self) {
        self.shared.world().plan = None;
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.shared.world().operations
    }

    /// The connections break, and nothing is done until it comes back.
    pub fn go_away(&self) {
        self.shared.world().away = true;
        self.shared.change();
    }

    /// It is there again, as it was; connections that are not cut are made anew.
    pub fn come_back(&self) {
        let mut world = self.shared.world();
        if std::mem::take(&mut world.away) {
            world.connect_anew();
        }
        drop(world);
        self.shared.change();
    }

    /// It ends and starts at once: it keeps its streams, their messages and the consumers of queues, and forgets the ids
    /// of messages and who reads streams. Connections are made anew.
    pub fn restart(&self) {
        self.shared.world().restart(0);
        self.shared.change();
    }

    /// The same, and of one stream it has the messages up to a sequence alone, as after a power cut.
    pub fn lose_tail(&self, stream: &str, keep: u64) {
        let mut world = self.shared.world();
        world.streams.cut(stream, keep);
        world.restart(0);
        drop(world);
        self.shared.change();
    }

    /// Loses one message of a stream without a word; whether it was there.
    pub fn lose(&self, stream: &str, sequence: u64) -> bool {
        self.shared.world().streams.lose(stream, sequence)
    }

    /// Changes the body of a stored message; whether it was there.
    pub fn damage(&self, stream: &str, sequence: u64, damage: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.shared.world().streams.damage(stream, sequence, damage)
    }

    /// Removes a stream; whether it was there. That of a bucket has its name behind `KV_`.
    pub fn remove(&self, stream: &str) -> bool {
        let removed = self.shared.world().streams.remove(stream);
        self.shared.change();
        removed
    }

    /// Lets time pass: what has waited for so long is due.
    pub fn pass(&self, time: Duration) {
        self.shared.world().ahead += time;
        self.shared.change();
    }
}

struct Shared {
    options: InProcessOptions,
    world: Mutex<World>,
    /// Wakes who waits for something.
    changed: watch::Sender<u64>,
}

struct World {
    streams: Streams,
    listeners: Listeners,
    links: Vec<Weak<State>>,
    away: bool,
    operations: u64,
    connections: u64,
    inboxes: u64,
    /// How often it was started anew.
    runs: u64,
    /// Its clock before tokio's.
    ahead: Duration,
    plan: Option<Plan>,
}

type Plan = Box<dyn FnMut(&Operation<'_>, &Holding<'_>) -> Fault + Send>;

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl World {
    fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    fn restart(&mut self, without: u64) {
        self.streams.cut_all(without);
        self.streams.restart();
        self.runs += 1;
        if !self.away {
            self.connect_anew();
        }
    }

    fn connect_anew(&mut self) {
        self.links.retain(|link| link.strong_count() > 0);
        for link in self.links.iter().filter_map(Weak::upgrade) {
            link.connect();
        }
    }

    fn fault(&mut self, connection: u64, act: Act, on: &str) -> Fault {
        self.operations += 1;
        let operation = Operation { number: self.operations, connection, act, on };
        let holding = Holding { streams: &self.streams };
        self.plan.as_mut().map_or(Fault::None, |plan| plan(&operation, &holding))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world();
        let mut shown = f.debug_struct("InProcess");
        shown.field("options", &self.options).field("streams", &world.streams.names());
        shown.field("operations", &world.operations).field("away", &world.away).finish_non_exhaustive()
    }
}
