//! The door of the room: callers on any thread hand in commands here and get their answers.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use lotline_domain::command::{Body, Command};
use lotline_ledger::{
    AppendError, CommitNumber, GroupOptions, GroupWriter, Keyring, LedgerId, MAX_EVENTS, MAX_FRAME_BYTES, Micros,
    Reader, Recovery, Storage, Writer,
};
use lotline_wire::content::content_hash;
use lotline_wire::key;
use lotline_wire::seal::{LedgerSecret, Sealer};

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use crate::clock::{Clock, SystemClock};
use crate::decider::{Decider, Job, Limits, Message, Parts, Prepared, Room, Source};
use crate::first::Frames;
use crate::group::{Reply, Tray};
use crate::keys::SealingKeys;
use crate::outcome::{CaptureError, OpenError, Outcome, SubmitError};
use crate::shelf::Shelf;

/// How a handler works.
#[derive(Clone)]
pub struct Options {
    /// How the ledger is written.
    pub ledger: lotline_ledger::Options,
    /// Most events of one commit, 1 to 4,096.
    pub group_events: usize,
    /// Most bytes of one commit, at most 900,000; one event always fits.
    pub group_bytes: usize,
    /// Most commands that may wait for their answers; further ones are told to come again.
    pub queue: usize,
    /// The decider forgets what it loaded when it holds more facts than this.
    pub book_facts: usize,
    /// The clock of decisions and recording times.
    pub clock: Arc<dyn Clock>,
    /// Begin a new keyring where the ledger's own is lost for ever.
    pub new_keyring: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ledger: lotline_ledger::Options::default(),
            group_events: MAX_EVENTS,
            group_bytes: MAX_FRAME_BYTES,
            queue: 16_384,
            book_facts: 4_000_000,
            clock: Arc::new(SystemClock::default()),
            new_keyring: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ledger, group_events, group_bytes, queue, book_facts, clock: _, new_keyring } = self;
        f.debug_struct("Options")
            .field("ledger", ledger)
            .field("group_events", group_events)
            .field("group_bytes", group_bytes)
            .field("queue", queue)
            .field("book_facts", book_facts)
            .field("new_keyring", new_keyring)
            .finish_non_exhaustive()
    }
}

/// A command with what its source said beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    command: Command,
    unknown: Vec<u8>,
    source: Source,
}

impl From<Command> for Submission {
    fn from(command: Command) -> Self {
        Self { command, unknown: Vec::new(), source: Source::Native }
    }
}

impl Submission {
    /// A command made of an EPCIS event: the event as it came is stored sealed with it. `unknown` is what
    /// the event says beyond the command, in a canonical form; it counts for "same content".
    pub fn epcis(command: Command, mapping_version: u32, original: Vec<u8>, unknown: Vec<u8>) -> Self {
        Self { command, unknown, source: Source::Epcis { mapping_version, original } }
    }

    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }
}

/// What a capture does about a command that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// All or nothing, in one commit.
    Rollback,
    /// The good ones.
    Proceed,
}

/// Takes commands for one ledger. Share it by reference or `Arc`; dropping it finishes what was handed in.
pub struct Handler {
    sender: Sender<Message>,
    room: Arc<Room>,
    reader: Reader,
    secret: LedgerSecret,
    recovery: Recovery,
    limits: Limits,
    thread: Option<JoinHandle<Result<(), AppendError>>>,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// How many commands of a capture travel together.
const CHUNK: usize = 512;

impl Handler {
    /// Makes a ledger with a random id in a folder, and opens it.
    ///
    /// # Errors
    /// [`OpenError`]; [`lotline_ledger::OpenError::Exists`] if there is one already.
    pub fn create(storage: Arc<dyn Storage>, dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| OpenError::System { what: "randomness", source: std::io::Error::other(error) })?;
        let writer = Writer::create(storage.clone(), &dir, LedgerId::new(id), options.ledger)?;
        let ring = Keyring::open(storage, &dir, LedgerId::new(id))?;
        Self::start(writer, ring, options)
    }

    /// Opens the ledger in a folder.
    ///
    /// # Errors
    /// [`OpenError`]; [`lotline_ledger::OpenError::NotFound`] if there is none.
    pub fn open(storage: Arc<dyn Storage>, dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let writer = Writer::open(storage.clone(), &dir, options.ledger)?;
        let ring = Keyring::open(storage, &dir, writer.head().ledger)?;
        Self::start(writer, ring, options)
    }

    /// Starts on a ledger that is open for writing, with its keyring.
    ///
    /// # Errors
    /// [`OpenError`] when the keyring is missing or cannot be written, master data cannot be read, or there is no thread.
    pub fn start(writer: Writer, ring: Keyring, options: Options) -> Result<Self, OpenError> {
        let reader = writer.reader();
        let recovery = writer.recovery().clone();
        let mut keys = SealingKeys::new(ring);
        // The secret is stored before the first commit: where there are commits, it was there.
        let is_new = writer.head().commit == CommitNumber::ZERO;
        if !is_new && !options.new_keyring && !keys.has_ledger_secret() {
            return Err(OpenError::NoKeyring);
        }
        let secret = Sealer::new(&mut keys)?.secret().clone();
        keys.store(Micros::new(options.clock.now().0))?;
        let mut frames = Frames::new(reader.clone());
        let shelf = Shelf::open(&mut frames)?;
        let no_thread = |source| OpenError::System { what: "thread", source };
        let group = GroupOptions::default();
        let writer = GroupWriter::start(writer, group).map_err(no_thread)?;
        let (sender, inbox) = mpsc::channel();
        let room = Arc::new(Room::new(options.queue.max(1)));
        let limits = Limits {
            events: options.group_events.clamp(1, MAX_EVENTS),
            bytes: options.group_bytes.min(MAX_FRAME_BYTES),
            book_facts: options.book_facts,
        };
        let decider = Decider::new(Parts {
            inbox,
            outbox: sender.clone(),
            writer,
            frames,
            shelf,
            keys,
            secret: secret.clone(),
            clock: options.clock,
            room: room.clone(),
            limits,
        });
        let thread = std::thread::Builder::new().name("decider".to_owned()).spawn(move || decider.run());
        let thread = Some(thread.map_err(no_thread)?);
        Ok(Self { sender, room, reader, secret, recovery, limits, thread })
    }

    /// A reader of the ledger; it sees each commit as soon as it is durable.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The ledger's secret, for the ids of commands that bring none.
    pub fn secret(&self) -> &LedgerSecret {
        &self.secret
    }

    /// What opening the ledger found and mended.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Hands in a command and waits for its answer, which is durable.
    ///
    /// # Errors
    /// [`SubmitError`] says what to do next.
    pub fn submit(&self, submission: impl Into<Submission>) -> Result<Outcome, SubmitError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.submit_with(submission, move |answer| {
            // The receiver waits below.
            let _ = tell.send(answer);
        })?;
        told.recv().unwrap_or(Err(SubmitError::Closed))
    }

    /// Hands in a command; `reply` is called once, on another thread. It has to be quick and must not wait
    /// for another command.
    ///
    /// # Errors
    /// [`SubmitError::Busy`] when too many wait already; `reply` is not called with an answer then.
    pub fn submit_with(
        &self,
        submission: impl Into<Submission>,
        reply: impl FnOnce(Result<Outcome, SubmitError>) + Send + 'static,
    ) -> Result<(), SubmitError> {
        if let Err(inside) = self.room.enter(1) {
            // A commit of 4,096 takes some tens of milliseconds.
            let retry_after = Duration::from_millis(20 + 20 * (inside / MAX_EVENTS) as u64);
            return Err(SubmitError::Busy { retry_after });
        }
        let job = Job::One(Box::new(self.prepare(submission.into())), Reply::call(reply));
        self.send(vec![job]);
        Ok(())
    }

    fn send(&self, jobs: Vec<Job>) {
        // Where the decider is gone the jobs are dropped, and say so themselves.
        let _ = self.sender.send(Message::Jobs(jobs));
    }

    fn prepare(&self, submission: Submission) -> Prepared {
        let Submission { command, unknown, source } = submission;
        let content = content_hash(&command, &unknown, &self.secret);
        let Command { mode, event } = command;
        let ids = [key::command(&event.command), key::event(&event.id)].map(lotline_ledger::Key::new);
        let body = Body::Fact { mode, event, decided_on: None };
        let keys = key::keys_of(&body).into();
        let Body::Fact { mode, event, .. } = body else { unreachable!("made just now") };
        Prepared { command: Command { mode, event }, unknown, source, content, keys, ids }
    }

    /// Hands in many commands, in order, and waits for the answers; waits for room where there is none.
    /// Those that are refused hinder no others.
    pub fn proceed(&self, submissions: impl IntoIterator<Item = Submission>) -> Vec<Result<Outcome, SubmitError>> {
        let tray = Arc::new(Tray::default());
        let mut submissions = submissions.into_iter().peekable();
        while submissions.peek().is_some() {
            let chunk: Vec<Submission> = submissions.by_ref().take(CHUNK).collect();
            // Most of a command's work is here, and needs no order.
            let chunk: Vec<Prepared> =
                chunk.into_par_iter().with_min_len(32).map(|submission| self.prepare(submission)).collect();
            self.room.wait_and_enter(chunk.len());
            let first = tray.expect(chunk.len());
            let jobs = chunk
                .into_iter()
                .enumerate()
                .map(|(at, prepared)| Job::One(Box::new(prepared), Reply::slot(tray.clone(), first + at)));
            self.send(jobs.collect());
        }
        tray.wait()
    }

    /// Hands in many commands that are recorded in one commit or not at all.
    ///
    /// # Errors
    /// [`CaptureError`]: nothing was recorded, and why; also before anything is written when they do not fit
    /// into one commit.
    pub fn all_or_nothing(&self, submissions: Vec<Submission>) -> Result<Vec<Outcome>, CaptureError> {
        let (found, limit) = (submissions.len(), self.limits.events);
        if found > limit {
            return Err(CaptureError::TooMany { found, limit });
        }
        let items = submissions.into_iter().map(|submission| self.prepare(submission)).collect();
        self.room.wait_and_enter(found);
        let (tell, told) = mpsc::sync_channel(1);
        let reply = Box::new(move |answer| {
            // The receiver waits below.
            let _ = tell.send(answer);
        });
        self.send(vec![Job::Whole(items, reply)]);
        told.recv().unwrap_or(Err(CaptureError::Failed(SubmitError::Closed)))
    }

    /// Hands in many commands, and does what was asked for about refused ones. With
    /// [`OnError::Rollback`] all answers are outcomes.
    ///
    /// # Errors
    /// As [`Handler::all_or_nothing`].
    pub fn capture(
        &self,
        submissions: Vec<Submission>,
        on_error: OnError,
    ) -> Result<Vec<Result<Outcome, SubmitError>>, CaptureError> {
        match on_error {
            OnError::Proceed => Ok(self.proceed(submissions)),
            OnError::Rollback => Ok(self.all_or_nothing(submissions)?.into_iter().map(Ok).collect()),
        }
    }

    /// An operator has looked at the clock: intents go on by it.
    pub fn accept_clock(&self) {
        // Where the decider is gone nothing depends on its clock.
        let _ = self.sender.send(Message::AcceptClock);
    }

    /// Finishes what was handed in, and closes the ledger.
    ///
    /// # Errors
    /// Why the ledger had stopped, or what closing it said; all that was acknowledged is durable in any case.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), AppendError> {
        // A decider that is gone is closed.
        let _ = self.sender.send(Message::Close);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(closed)) => closed,
            _ => Ok(()),
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // Who wants to know calls `close`; what was acknowledged is durable.
        let _ = self.end();
    }
}
