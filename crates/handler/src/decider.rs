//! The deciding thread: one command after the other, each on all that was accepted before it.
//!
//! While commit n is being synced, commit n + 1 is decided. If n fails, n + 1 is forgotten with it: it was
//! decided on what did not come to be.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lotline_domain::command::{Body, Command, Mode, Recorded, Rejection, Rule};
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_ledger::{AppendError, Entry, GroupError, GroupWriter, Micros};
use lotline_wire::command::print_command;
use lotline_wire::content::ContentHash;
use lotline_wire::key::{self, Key};
use lotline_wire::payload::{self, Origin};
use lotline_wire::seal::{LedgerSecret, PLAIN_MAX, Sealer};
use rustc_hash::FxHashSet;

use crate::clock::{Clock, StepWatch};
use crate::first::{self, Before, Frames};
use crate::group::{Answer, Answers, Group, Kind, Reply, Whole, WholeItem};
use crate::keys::SealingKeys;
use crate::outcome::{CaptureError, LoadError, Outcome, Receipt, Refusal, SubmitError};
use crate::shelf::{Pending, Shelf};

/// Where an event came from, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Native,
    Epcis { mapping_version: u32, original: Vec<u8> },
}

impl Source {
    fn origin(&self) -> Origin<'_> {
        match self {
            Self::Native => Origin::Native,
            Self::Epcis { mapping_version, original } => Origin::Epcis { mapping_version: *mapping_version, original },
        }
    }
}

/// A command with all that does not depend on the ledger's state, computed by its caller.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) command: Command,
    pub(crate) unknown: Vec<u8>,
    pub(crate) source: Source,
    pub(crate) content: ContentHash,
    pub(crate) keys: Arc<[Key]>,
    /// The keys of the command's and the event's ids.
    pub(crate) ids: [lotline_ledger::Key; 2],
}

type WholeReply = Box<dyn FnOnce(Result<Vec<Outcome>, CaptureError>) + Send>;

/// Work for the decider.
pub(crate) enum Job {
    One(Box<Prepared>, Reply),
    Whole(Vec<Prepared>, WholeReply),
}

/// What the decider hears of.
pub(crate) enum Message {
    Jobs(Vec<Job>),
    Written(Result<(), GroupError>),
    AcceptClock,
    Close,
}

/// How many commands are in the house.
#[derive(Debug)]
pub(crate) struct Room {
    inside: Mutex<usize>,
    left: Condvar,
    limit: usize,
}

impl Room {
    pub(crate) fn new(limit: usize) -> Self {
        Self { inside: Mutex::new(0), left: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters, or tells how many are inside.
    pub(crate) fn enter(&self, count: usize) -> Result<(), usize> {
        let mut inside = self.lock();
        if *inside > 0 && *inside + count > self.limit {
            return Err(*inside);
        }
        *inside += count;
        Ok(())
    }

    /// Enters as soon as there is room.
    pub(crate) fn wait_and_enter(&self, count: usize) {
        let mut inside = self.lock();
        while *inside > 0 && *inside + count > self.limit {
            inside = self.left.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        *inside += count;
    }

    pub(crate) fn leave(&self, count: usize) {
        let mut inside = self.lock();
        *inside = inside.saturating_sub(count);
        drop(inside);
        self.left.notify_all();
    }
}

/// How large a commit may grow, and how much the decider remembers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) book_facts: usize,
}

/// A commit that was handed to the writer.
struct Flying {
    ids: FxHashSet<lotline_ledger::Key>,
    pending: usize,
}

enum Verdict {
    /// It depends on a commit that is not durable yet.
    Park,
    Same(Box<Outcome>),
    InGroup(usize),
    Conflict(Receipt),
    Refuse(Rejection),
    Accept,
}

/// An entry that was added, or why not.
enum Added {
    At(usize),
    /// The growing commit is full: hand it over first.
    Full,
}

pub(crate) struct Decider {
    pub(crate) inbox: Receiver<Message>,
    pub(crate) outbox: Sender<Message>,
    pub(crate) writer: GroupWriter,
    pub(crate) frames: Frames,
    pub(crate) shelf: Shelf,
    pub(crate) keys: SealingKeys,
    pub(crate) secret: LedgerSecret,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) room: Arc<Room>,
    pub(crate) limits: Limits,
    watch: StepWatch,
    group: Group,
    full: bool,
    /// The next job is a whole capture, which waits until nothing else is on its way.
    alone: bool,
    flying: VecDeque<Flying>,
    backlog: VecDeque<Job>,
    parked: Vec<Job>,
    pending: Vec<Pending>,
    /// Number of the commit that grows, and position of its first event.
    commit: u64,
    position: u64,
    recorded: Option<Instant>,
    failing: Option<SubmitError>,
    stopped: Option<AppendError>,
    closing: bool,
}

/// What the decider is made of.
pub(crate) struct Parts {
    pub(crate) inbox: Receiver<Message>,
    pub(crate) outbox: Sender<Message>,
    pub(crate) writer: GroupWriter,
    pub(crate) frames: Frames,
    pub(crate) shelf: Shelf,
    pub(crate) keys: SealingKeys,
    pub(crate) secret: LedgerSecret,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) room: Arc<Room>,
    pub(crate) limits: Limits,
}

impl Decider {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { inbox, outbox, writer, frames, shelf, keys, secret, clock, room, limits } = parts;
        let mut decider = Self {
            inbox,
            outbox,
            writer,
            frames,
            shelf,
            keys,
            secret,
            clock,
            room,
            limits,
            watch: StepWatch::default(),
            group: Group::default(),
            full: false,
            alone: false,
            flying: VecDeque::new(),
            backlog: VecDeque::new(),
            parked: Vec::new(),
            pending: Vec::new(),
            commit: 0,
            position: 0,
            recorded: None,
            failing: None,
            stopped: None,
            closing: false,
        };
        decider.read_head();
        decider
    }

    fn read_head(&mut self) {
        let head = self.frames.reader().head();
        self.commit = head.commit.get() + 1;
        self.position = head.next_position.get();
        self.recorded = (head.recorded_at != Micros::NONE).then(|| Instant(head.recorded_at.get()));
    }

    /// Works until it is closed; what closing the ledger said.
    pub(crate) fn run(mut self) -> Result<(), AppendError> {
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.hear(message);
            }
            let may_fly = self.failing.is_none() && (self.flying.is_empty() || (self.full && self.flying.len() < 2));
            let may_work = self.failing.is_none() && !self.full && !(self.alone && self.is_busy());
            if !self.group.is_empty() && may_fly && (self.full || self.alone || self.backlog.is_empty()) {
                self.hand_over();
            } else if let Some(job) = may_work.then(|| self.backlog.pop_front()).flatten() {
                self.alone = false;
                self.work(job);
            } else if self.closing && !self.is_busy() && self.backlog.is_empty() {
                break;
            } else {
                match self.inbox.recv() {
                    Ok(message) => self.hear(message),
                    Err(_) => break,
                }
            }
        }
        match (self.stopped, self.writer.close()) {
            (Some(error), _) => Err(error),
            (None, Some(writer)) => writer.close(),
            (None, None) => Ok(()),
        }
    }

    /// Something is decided and not durable.
    fn is_busy(&self) -> bool {
        !self.group.is_empty() || !self.flying.is_empty()
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Jobs(jobs) => self.backlog.extend(jobs),
            Message::AcceptClock => self.watch.accept(self.clock.now(), self.clock.elapsed()),
            Message::Close => self.closing = true,
            Message::Written(Ok(())) => {
                let landed = self.flying.pop_front();
                self.pending.drain(..landed.map_or(0, |landed| landed.pending));
                self.unpark();
            }
            Message::Written(Err(error)) => {
                self.flying.pop_front();
                if let GroupError::Append(error @ AppendError::Poisoned(_)) = &error {
                    self.stopped = Some(error.clone());
                }
                self.failing.get_or_insert_with(|| submit_error(&error));
                if self.flying.is_empty() {
                    self.forget_failed();
                }
            }
        }
    }

    fn unpark(&mut self) {
        for job in self.parked.drain(..).rev() {
            self.backlog.push_front(job);
        }
    }

    /// A commit failed: what was built on it is gone, too.
    fn forget_failed(&mut self) {
        let Some(error) = self.failing.take() else { return };
        let group = self.take_group();
        let callers = group.callers();
        group.answers().fail(&error);
        self.room.leave(callers);
        self.pending.clear();
        self.read_head();
        self.forget_book();
        self.unpark();
        if self.stopped.is_none() {
            self.writer.resume();
        }
    }

    /// The book knows something that did not come to be, or has grown too large: it is loaded anew.
    fn forget_book(&mut self) {
        match Shelf::open(&mut self.frames) {
            Ok(shelf) => self.shelf = shelf,
            // Tried again with the next intent.
            Err(_) => self.shelf = Shelf::unopened(),
        }
    }

    fn take_group(&mut self) -> Group {
        self.full = false;
        std::mem::take(&mut self.group)
    }

    fn hand_over(&mut self) {
        let now = self.clock.now().max(self.recorded.map_or(Instant::MIN, |last| last.plus_micros(1)));
        let stored = self.keys.store(Micros::new(now.0));
        let mut group = self.take_group();
        if let Err(error) = stored {
            // Nothing was handed over, but what was decided here is not to be; the one before it may still fly.
            let error = SubmitError::Keyring(Arc::new(error));
            let callers = group.callers();
            group.answers().fail(&error);
            self.room.leave(callers);
            self.failing = Some(error);
            if self.flying.is_empty() {
                self.forget_failed();
            }
            return;
        }
        let entries = std::mem::take(&mut group.entries);
        let flown: usize = self.flying.iter().map(|flying| flying.pending).sum();
        self.flying.push_back(Flying { ids: group.ids.keys().copied().collect(), pending: self.pending.len() - flown });
        self.commit += 1;
        self.position += entries.len() as u64;
        self.recorded = Some(now);
        let callers = group.callers();
        let (room, outbox) = (self.room.clone(), self.outbox.clone());
        // Shared, so that the answers are not lost where the writer refuses at once.
        let answers: Arc<Mutex<Option<Answers>>> = Arc::new(Mutex::new(Some(group.answers())));
        let finish = move |outcome: lotline_ledger::Outcome| {
            let waiting = answers.lock().unwrap_or_else(PoisonError::into_inner).take();
            let written = match outcome {
                Ok(receipt) => {
                    waiting.into_iter().for_each(|waiting| waiting.tell(&receipt));
                    Ok(())
                }
                Err(error) => {
                    let told = submit_error(&error);
                    waiting.into_iter().for_each(|waiting| waiting.fail(&told));
                    Err(error)
                }
            };
            room.leave(callers);
            // The decider outlives its writer.
            let _ = outbox.send(Message::Written(written));
        };
        let done = finish.clone();
        if let Err(rejected) = self.writer.submit_alone(Micros::new(now.0), entries, done) {
            finish(Err(rejected.into()));
        }
    }

    fn work(&mut self, job: Job) {
        if let Some(error) = &self.stopped {
            let error = SubmitError::Stopped(error.clone());
            match job {
                Job::One(_, reply) => self.reply(reply, Err(error)),
                Job::Whole(items, reply) => self.reply_whole(items.len(), reply, Err(error.into())),
            }
            return;
        }
        if self.shelf.facts() > self.limits.book_facts && !self.is_busy() {
            self.forget_book();
        }
        match job {
            Job::One(prepared, reply) => self.one(prepared, reply),
            Job::Whole(items, reply) => self.whole(items, reply),
        }
    }

    fn reply(&self, reply: Reply, answer: Answer) {
        reply.give(answer);
        self.room.leave(1);
    }

    fn reply_whole(&self, count: usize, reply: WholeReply, answer: Result<Vec<Outcome>, CaptureError>) {
        reply(answer);
        self.room.leave(count);
    }

    fn one(&mut self, prepared: Box<Prepared>, reply: Reply) {
        let verdict = match self.judge(&prepared) {
            Ok(verdict) => verdict,
            Err(error) => return self.reply(reply, Err(error)),
        };
        let added = match verdict {
            Verdict::Park => return self.park(Job::One(prepared, reply)),
            Verdict::Same(outcome) => return self.reply(reply, Ok(*outcome)),
            Verdict::InGroup(at) => return self.group.wait(at, true, reply),
            Verdict::Conflict(first) => self.refuse(&prepared, conflict(&first), Kind::Conflict(first)),
            Verdict::Refuse(rejection) => {
                let kind = Kind::Refused(rejection.clone(), self.decided_on());
                self.refuse(&prepared, rejection, kind)
            }
            Verdict::Accept => self.accept(&prepared),
        };
        match added {
            Ok(Added::At(at)) => self.group.wait(at, false, reply),
            Ok(Added::Full) => {
                self.full = true;
                self.backlog.push_front(Job::One(prepared, reply));
            }
            Err(error) => self.reply(reply, Err(error)),
        }
        self.full |= self.group.len() >= self.limits.events;
    }

    /// Waits until the commits that it depends on are durable.
    fn park(&mut self, job: Job) {
        self.parked.push(job);
        // Where only the growing commit is meant, it must not wait for more.
        self.full |= !self.group.is_empty() && self.backlog.is_empty();
    }

    /// The last commit that is whole: what a decision was made on, with the part of its own before it.
    fn decided_on(&self) -> CommitNo {
        CommitNo(self.commit - 1)
    }

    fn judge(&mut self, prepared: &Prepared) -> Result<Verdict, SubmitError> {
        for id in &prepared.ids {
            if let Some(at) = self.group.ids.get(id) {
                let same = self.group.contents[*at] == prepared.content.0;
                return Ok(if same { Verdict::InGroup(*at) } else { Verdict::Park });
            }
            if self.flying.iter().any(|flying| flying.ids.contains(id)) {
                return Ok(Verdict::Park);
            }
        }
        let Prepared { command, unknown, content, .. } = prepared;
        match first::before(&mut self.frames, command, *content, &self.secret, unknown, prepared.ids)? {
            Before::Same(outcome) => return Ok(Verdict::Same(outcome)),
            Before::Other(first) => return Ok(Verdict::Conflict(first)),
            Before::Nothing => {}
        }
        if command.mode == Mode::Observation {
            return Ok(Verdict::Accept);
        }
        let now = self.clock.now();
        if let Err(expected) = self.watch.check(now, self.clock.elapsed(), self.recorded) {
            return Err(SubmitError::ClockStepped { now, expected });
        }
        let commit = CommitNo(self.commit);
        if !self.shelf.is_open() {
            self.shelf = Shelf::open(&mut self.frames)?;
        }
        match self.shelf.decide(&command.event, &prepared.keys, commit, now, &mut self.frames, &self.pending) {
            Ok(Ok(())) => Ok(Verdict::Accept),
            Ok(Err(rejection)) => Ok(Verdict::Refuse(rejection)),
            Err(error) => {
                // It is loaded in part, and does not know which.
                self.shelf = Shelf::unopened();
                Err(error.into())
            }
        }
    }

    fn accept(&mut self, prepared: &Prepared) -> Result<Added, SubmitError> {
        let Command { mode, event } = &prepared.command;
        let decided_on = (*mode == Mode::Intent).then(|| self.decided_on());
        let body = Body::Fact { mode: *mode, event: event.clone(), decided_on };
        let entry = self.encode(&body, &prepared.keys, prepared.content, prepared.source.origin())?;
        if self.overflows(&entry) {
            return Ok(Added::Full);
        }
        let recorded = Arc::new(Recorded {
            position: Position(self.position + self.group.len() as u64),
            commit: CommitNo(self.commit),
            recorded_at: RecordedAt(self.clock.now().max(self.recorded.unwrap_or(Instant::MIN))),
            body,
        });
        let at = self.group.push(entry, Kind::Fact, prepared.content.0);
        for id in prepared.ids {
            self.group.ids.insert(id, at);
        }
        self.shelf.note(&prepared.keys, &recorded);
        self.pending.push(Pending { keys: prepared.keys.clone(), recorded });
        Ok(Added::At(at))
    }

    fn refuse(&mut self, prepared: &Prepared, rejection: Rejection, kind: Kind) -> Result<Added, SubmitError> {
        let event = &prepared.command.event;
        let body = Body::Refused {
            command: event.command.clone(),
            source: event.source.clone(),
            rejection,
            decided_on: self.decided_on(),
        };
        // Of a conflict both contents are kept: the first stands, the second is here (where it can be sealed).
        let kept = matches!(kind, Kind::Conflict(_)).then(|| print_command(&prepared.command).into_bytes());
        let origin = match (&prepared.source, &kept) {
            (Source::Native, Some(command)) if command.len() <= PLAIN_MAX => Origin::Refused { command },
            (source, _) => source.origin(),
        };
        let entry = self.encode(&body, &key::keys_of(&body), prepared.content, origin)?;
        if self.overflows(&entry) {
            return Ok(Added::Full);
        }
        let at = self.group.push(entry, kind, prepared.content.0);
        self.group.ids.insert(prepared.ids[0], at);
        Ok(Added::At(at))
    }

    fn encode(
        &mut self,
        body: &Body,
        keys: &[Key],
        content: ContentHash,
        origin: Origin<'_>,
    ) -> Result<Entry, SubmitError> {
        let unfit = |error| SubmitError::Unfit(Arc::new(error));
        let mut sealer = Sealer::with_secret(&mut self.keys, self.secret.clone());
        let bytes = payload::encode(body, content, origin, &mut sealer).map_err(unfit)?;
        Entry::new(keys.iter().map(|key| lotline_ledger::Key::new(*key)), &bytes).map_err(SubmitError::TooLarge)
    }

    /// A frame has 100 bytes besides its entries.
    fn overflows(&self, entry: &Entry) -> bool {
        !self.group.is_empty() && 100 + self.group.bytes + entry.frame_bytes() > self.limits.bytes
    }

    fn whole(&mut self, items: Vec<Prepared>, reply: WholeReply) {
        let (count, limit) = (items.len(), self.limits.events);
        if count > limit {
            return self.reply_whole(count, reply, Err(CaptureError::TooMany { found: count, limit }));
        }
        if self.is_busy() {
            // It begins a commit of its own, and nothing that it is compared with is on its way.
            self.alone = true;
            self.backlog.push_front(Job::Whole(items, reply));
            return;
        }
        match self.whole_items(&items) {
            Ok(found) if self.group.is_empty() => {
                let before = found.into_iter().filter_map(|item| match item {
                    WholeItem::Before(outcome) => Some(*outcome),
                    WholeItem::Entry { .. } => None,
                });
                let outcomes = before.collect();
                self.reply_whole(count, reply, Ok(outcomes));
            }
            Ok(items) => {
                self.group.wait_whole(Whole { items, reply });
                self.full |= self.group.len() >= self.limits.events;
            }
            Err(error) => {
                let changed = !self.group.is_empty();
                self.take_group();
                self.pending.clear();
                if changed {
                    self.forget_book();
                }
                self.reply_whole(count, reply, Err(error));
            }
        }
    }

    fn whole_items(&mut self, items: &[Prepared]) -> Result<Vec<WholeItem>, CaptureError> {
        let mut found = Vec::with_capacity(items.len());
        let mut refusals: Vec<Option<Refusal>> = Vec::with_capacity(items.len());
        let too_large = CaptureError::TooLarge { limit: self.limits.bytes };
        for prepared in items {
            let refusal = match self.judge(prepared) {
                Ok(Verdict::Accept) => match self.accept(prepared) {
                    Ok(Added::At(at)) => {
                        found.push(WholeItem::Entry { at, again: false });
                        None
                    }
                    Ok(Added::Full) => return Err(too_large),
                    Err(error) => Some(Refusal::Failed(error)),
                },
                Ok(Verdict::InGroup(at)) => {
                    found.push(WholeItem::Entry { at, again: true });
                    None
                }
                Ok(Verdict::Same(outcome)) => match *outcome {
                    Outcome::Duplicate { rejection: Some((rejection, _)), .. } => Some(Refusal::Rejected(rejection)),
                    Outcome::Conflict { first, .. } => Some(Refusal::Conflict(Some(first))),
                    _ => {
                        found.push(WholeItem::Before(outcome));
                        None
                    }
                },
                Ok(Verdict::Conflict(first)) => Some(Refusal::Conflict(Some(first))),
                // Nothing is on its way but this capture itself.
                Ok(Verdict::Park) => Some(Refusal::Conflict(None)),
                Ok(Verdict::Refuse(rejection)) => Some(Refusal::Rejected(rejection)),
                Err(error @ (SubmitError::Load(_) | SubmitError::Keyring(_))) => return Err(error.into()),
                Err(error) => Some(Refusal::Failed(error)),
            };
            refusals.push(refusal);
        }
        if refusals.iter().any(Option::is_some) { Err(CaptureError::Refused(refusals)) } else { Ok(found) }
    }
}

fn conflict(first: &Receipt) -> Rejection {
    Rejection { rule: Rule::Conflict { first: first.position }, batch: None, place: None }
}

fn submit_error(error: &GroupError) -> SubmitError {
    match error {
        GroupError::Append(AppendError::DiskFull(failure)) => SubmitError::DiskFull(failure.clone()),
        GroupError::Append(AppendError::Rejected(rejected)) => SubmitError::TooLarge(rejected.clone()),
        GroupError::Append(stopped @ AppendError::Poisoned(_)) => SubmitError::Stopped(stopped.clone()),
        GroupError::Halted => SubmitError::Halted,
        GroupError::Closed => SubmitError::Closed,
    }
}

impl From<LoadError> for CaptureError {
    fn from(error: LoadError) -> Self {
        Self::Failed(error.into())
    }
}
