//! One projector at work.

use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use lotline_ledger::{CommitHash, CommitNumber, Frame, FrameError, Head};
use tokio::time::{Instant, sleep, timeout};

use super::{ChainBroken, Found, ProjectError, ProjectOptions, Projected, head_of};
use crate::connect::Bus;
use crate::error::{BoxError, Trouble};
use crate::model::Model;
use crate::seam::{Delivered, Read};
use crate::stop::Stop;
use crate::stream::{Commits, of_commits};

const GONE: &str = "the thread ends with its sender, or panics with the scope";
/// How much may be on its way to this process.
const BATCH_MESSAGES: usize = 1_000;
const BATCH_BYTES: usize = 16 << 20;
/// At most so many commits are made ready while others are applied,
const READY_COMMITS: usize = 256;
/// and no more when they have so many bytes: an event that was made ready takes many times the room of its bytes.
const READY_BYTES: usize = 1 << 20;
/// What comes alone and has no more bytes is made ready at once.
const SMALL: usize = 16 << 10;
/// So many times that may wait to be made ready, so that neither thread waits for the other at each one.
const UNDER_WAY: usize = 3;
/// The server says so often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);
const PULL: Duration = Duration::from_secs(30);
/// After so long without its reader the server forgets a consumer.
const FORGOTTEN: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Feed<'a, M: Model> {
    bus: &'a Bus,
    model: &'a mut M,
    options: &'a ProjectOptions,
    stop: &'a Stop,
    applied: u64,
    generation: u32,
    recreated: u64,
    refetched: u64,
    unsaved: Unsaved,
    waiting: Waiting,
    /// Applied, and to be let go of.
    spent: Vec<Ready<M::Prepared>>,
    beside: Beside<M>,
    /// How often something was handed to the other thread and has not come back.
    under_way: usize,
    /// The last message that was.
    handed: CommitNumber,
}

/// A commit that is the next link behind those before it.
struct Ready<P> {
    at: CommitNumber,
    events: u64,
    prepared: P,
}

/// A message: its sequence, and a commit's bytes.
type Message = (CommitNumber, Vec<u8>);

/// What is to be checked, behind a head or else behind what was checked before; and what was applied: to let go of it
/// takes a good part of the time to apply it.
struct Work<M: Model> {
    head: Option<Head>,
    some: Vec<Message>,
    spent: Vec<Ready<M::Prepared>>,
}

/// What was made of some messages, and the head behind them.
struct Checked<M: Model> {
    head: Head,
    ready: Vec<Ready<M::Prepared>>,
    then: Then<M::Error>,
}

/// A thread that makes commits ready while others are applied.
pub(super) struct Beside<M: Model> {
    work: Sender<Work<M>>,
    checked: Receiver<Option<Checked<M>>>,
}

impl<M: Model> Beside<M> {
    pub(super) fn start<'s>(scope: &'s Scope<'s, '_>) -> Self
    where
        M: 's,
    {
        let (work, todo) = channel::<Work<M>>();
        let (done, checked) = channel();
        scope.spawn(move || {
            let mut behind = None;
            for Work { head, some, spent } in todo {
                drop(spent);
                // Behind what did not end well nothing more is looked at.
                let checked = head.or(behind).map(|head| check_all::<M>(head, some));
                behind = checked.as_ref().filter(|checked| matches!(checked.then, Then::Next)).map(|it| it.head);
                if done.send(checked).is_err() {
                    return;
                }
            }
        });
        Self { work, checked }
    }
}

/// How the checking of some messages ended.
enum Then<E> {
    /// With the last one.
    Next,
    /// With one that was there before.
    Again,
    /// With one that is not the next commit.
    Other(CommitNumber),
    /// With one that is the next commit, and cannot be read.
    Unreadable(CommitNumber, E),
}

#[derive(Default)]
struct Unsaved {
    commits: u64,
    events: u64,
    since: Option<Instant>,
}

/// How long there has been no progress that could be hoped for.
#[derive(Default)]
struct Waiting {
    since: Option<Instant>,
    wait: Duration,
}

/// What to do after a look at the stream.
enum Next {
    /// Read on.
    Read,
    /// The consumer has to begin again behind the cursor.
    Recreate,
    /// A newer generation is there.
    Reopen,
}

type Messages = BoxStream<'static, Result<Delivered, BoxError>>;

type Outcome<T, M> = Result<T, ProjectError<<M as Model>::Error>>;

impl<'a, M: Model> Feed<'a, M> {
    pub(super) fn new(
        bus: &'a Bus,
        model: &'a mut M,
        options: &'a ProjectOptions,
        stop: &'a Stop,
        beside: Beside<M>,
    ) -> Self {
        Self {
            bus,
            model,
            options,
            stop,
            applied: 0,
            generation: 0,
            recreated: 0,
            refetched: 0,
            unsaved: Unsaved::default(),
            waiting: Waiting::default(),
            spent: Vec::new(),
            beside,
            under_way: 0,
            handed: CommitNumber::ZERO,
        }
    }

    pub(super) async fn run(mut self) -> Outcome<Projected, M> {
        let ended = self.follow().await;
        if let Err(ProjectError::Broken(_) | ProjectError::OtherChain { .. }) = &ended {
            self.bus.counts().chain_errors.one_more();
        }
        let saved = self.save().and_then(|()| self.model.saved().map_err(ProjectError::Save));
        ended?;
        saved?;
        Ok(Projected {
            applied: self.applied,
            cursor: self.model.cursor(),
            generation: self.generation,
            recreated: self.recreated,
            refetched: self.refetched,
        })
    }

    async fn follow(&mut self) -> Outcome<(), M> {
        while !self.is_done() {
            let bus = self.bus;
            let concerns = of_commits(self.model.cursor().ledger);
            match bus.unless_denied("read commits", concerns, self.follow_stream()).await {
                Ok(()) => {}
                // What stays away may come: the relay makes streams and fills them.
                Err(
                    error @ (ProjectError::Server(Trouble::Unreachable { .. } | Trouble::NoJetStream)
                    | ProjectError::NoStream { .. }
                    | ProjectError::Behind { .. }),
                ) => {
                    tracing::warn!(%error, source = ?error.source(), "waiting");
                    self.save_when_due()?;
                    if !self.wait().await {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.stop.is_told() || self.options.until.is_some_and(|until| self.model.cursor().commit >= until)
    }

    /// Waits a while; false when that has been long enough.
    async fn wait(&mut self) -> bool {
        let since = *self.waiting.since.get_or_insert_with(Instant::now);
        if self.options.patience.is_some_and(|patience| since.elapsed() >= patience) {
            return false;
        }
        self.waiting.wait = (self.waiting.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        tokio::select! {
            () = sleep(self.waiting.wait) => {}
            () = self.stop.told() => {}
        }
        true
    }

    /// Follows one generation. Returns when all is done, or a newer one is there.
    async fn follow_stream(&mut self) -> Outcome<(), M> {
        let ledger = self.model.cursor().ledger;
        let Some(commits) = self.bus.newest(ledger).await? else {
            return Err(ProjectError::NoStream { ledger });
        };
        self.generation = commits.generation;
        let mut head = self.anchor(&commits).await?;
        while !self.is_done() {
            let mut messages = self.consume(&commits, head.commit.next()).await?;
            match self.read(&commits, &mut head, &mut messages).await? {
                Next::Reopen => return Ok(()),
                Next::Read | Next::Recreate if !self.is_done() => {
                    self.recreated += 1;
                    self.bus.counts().recreated.one_more();
                }
                Next::Read | Next::Recreate => {}
            }
        }
        Ok(())
    }

    /// The chain's end at the cursor, read from the stream, so that it is the same chain.
    async fn anchor(&mut self, commits: &Commits) -> Outcome<Head, M> {
        let cursor = self.model.cursor();
        if let Some(head) = head_of(cursor) {
            return Ok(head);
        }
        let Some(bytes) = commits.at(cursor.commit).await? else {
            let state = commits.state().await?.map_or(0, |state| state.last_sequence);
            let end = CommitNumber::new(state);
            let stream = commits.name.clone();
            if end < cursor.commit {
                return Err(ProjectError::Behind { stream, at: cursor.commit, end });
            }
            return Err(unfit(commits, cursor.commit, cursor.hash, Found::Nothing { up_to: end }));
        };
        let frame = Frame::decode(bytes).map_err(|error| unfit(commits, cursor.commit, cursor.hash, error.into()))?;
        let found = frame.hash();
        if found != cursor.hash || frame.header().ledger != cursor.ledger {
            let stream = commits.name.clone();
            return Err(ProjectError::OtherChain { stream, at: cursor.commit, own: cursor.hash, found });
        }
        Ok(Head::empty(cursor.ledger).after(frame.header(), found))
    }

    async fn consume(&self, commits: &Commits, from: CommitNumber) -> Outcome<Messages, M> {
        let read = Read {
            name: format!("{}-{}", self.options.name, self.bus.unique()),
            description: "a projector; it keeps its own cursor",
            from: from.get(),
            messages: BATCH_MESSAGES,
            bytes: BATCH_BYTES,
            heartbeat: HEARTBEAT,
            pull: PULL,
            forgotten: FORGOTTEN,
        };
        let messages = self.bus.server().read(commits.name.clone(), read).await;
        Ok(messages.map_err(|error| error.trouble("make a consumer"))?)
    }

    /// Reads until something else has to be done; everything that was checked is applied then, unless it went wrong.
    async fn read(&mut self, commits: &Commits, head: &mut Head, messages: &mut Messages) -> Outcome<Next, M> {
        self.handed = head.commit;
        let mut read = self.read_on(commits, head, messages).await;
        while self.under_way > 0 {
            match read {
                Ok(next) => read = self.come_back(head).map(|_| next),
                Err(_) => {
                    self.beside.checked.recv().expect(GONE);
                    self.under_way -= 1;
                }
            }
        }
        read
    }

    async fn read_on(&mut self, commits: &Commits, head: &mut Head, messages: &mut Messages) -> Outcome<Next, M> {
        let mut connected = self.bus.connected();
        connected.mark_unchanged();
        loop {
            let (mut some, mut ended) = self.arrived(messages);
            if some.is_empty() && ended.is_none() && self.under_way == 0 {
                if self.is_done() {
                    return Ok(Next::Read);
                }
                let first = tokio::select! {
                    biased;
                    () = self.stop.told() => return Ok(Next::Read),
                    // The server has forgotten the consumer, if it was started anew.
                    Ok(()) = connected.changed() => return Ok(Next::Recreate),
                    first = timeout(self.options.idle, messages.next()) => first,
                };
                match first {
                    Ok(Some(Ok(message))) => some.push(of_message(&message)),
                    Ok(end) => ended = Some(end.and_then(Result::err)),
                    Err(_idle) => match self.look(commits, head).await? {
                        Next::Read => {}
                        next => return Ok(next),
                    },
                }
            }
            match self.take(head, some)? {
                Then::Next => {}
                Then::Again => return Ok(Next::Recreate),
                Then::Other(number) => {
                    let expected = head.commit.next();
                    let stream = &commits.name;
                    tracing::warn!(%expected, %number, stream, "not the next commit; asking the stream's leader");
                    return self.ask_leader(commits, head, number).await;
                }
                Then::Unreadable(at, source) => return Err(ProjectError::Apply { at, source }),
            }
            self.save_when_due()?;
            if self.stop.is_told() {
                return Ok(Next::Read);
            }
            if let Some(ended) = ended {
                if let Some(error) = ended {
                    tracing::warn!(%error, stream = commits.name, "the consumer failed; making it anew");
                    if !self.wait().await {
                        let doing = "deliver commits";
                        return Err(Trouble::Unreachable { doing, source: error }.into());
                    }
                }
                return Ok(Next::Recreate);
            }
        }
    }

    /// What has come already, and how the consumer ended if it did; nothing is waited for.
    fn arrived(&self, messages: &mut Messages) -> (Vec<Message>, Option<Option<BoxError>>) {
        let (mut some, mut bytes) = (Vec::new(), 0);
        let is_last = |some: &[Message]| {
            let last = some.last().map_or(self.handed, |(number, _)| *number);
            self.options.until.is_some_and(|until| last >= until)
        };
        while some.len() < READY_COMMITS && bytes < READY_BYTES && !is_last(&some) {
            match messages.next().now_or_never() {
                None => break,
                Some(Some(Ok(message))) => {
                    bytes += message.body.len();
                    some.push(of_message(&message));
                }
                Some(end) => return (some, Some(end.and_then(Result::err))),
            }
        }
        (some, None)
    }

    /// Has messages made ready that are the next commits, while those that are ready are applied. If one is not the next,
    /// the leader is asked, once, before the chain is called broken: a consumer that was cut off may have lost what the
    /// stream still has.
    fn take(&mut self, head: &mut Head, some: Vec<Message>) -> Outcome<Then<M::Error>, M> {
        let more = !some.is_empty();
        if let ([(_, bytes)], 0) = (&some[..], self.under_way)
            && bytes.len() <= SMALL
        {
            // Another thread would cost more than it does.
            self.spent.clear();
            let Checked { head: behind, ready, then } = check_all::<M>(*head, some);
            *head = behind;
            self.apply_all(ready)?;
            return Ok(then);
        }
        if more {
            let (spent, head) = (std::mem::take(&mut self.spent), (self.under_way == 0).then_some(*head));
            self.handed = some.last().map_or(self.handed, |(number, _)| *number);
            self.beside.work.send(Work { head, some, spent }).map_err(drop).expect(GONE);
            self.under_way += 1;
        }
        // While more comes nothing is waited for.
        if self.under_way == 0 || (more && self.under_way < UNDER_WAY) {
            return Ok(Then::Next);
        }
        self.come_back(head)
    }

    /// Waits for what was made ready first, applies it, and says how the checking ended.
    fn come_back(&mut self, head: &mut Head) -> Outcome<Then<M::Error>, M> {
        let checked = self.beside.checked.recv().expect(GONE);
        self.under_way -= 1;
        let Some(Checked { head: behind, ready, then }) = checked else { return Ok(Then::Again) };
        *head = behind;
        self.apply_all(ready)?;
        Ok(then)
    }

    /// Reads the next commit from the leader; `up_to` is a later one that is known to have been there.
    async fn ask_leader(&mut self, commits: &Commits, head: &mut Head, up_to: CommitNumber) -> Outcome<Next, M> {
        let expected = head.commit.next();
        let found = match commits.at(expected).await? {
            Some(bytes) => match check(head, bytes) {
                Ok((frame, hash)) => {
                    self.apply_one(head, frame, hash)?;
                    return Ok(Next::Recreate);
                }
                Err(found) => found,
            },
            None => Found::Nothing { up_to },
        };
        for copy in &self.options.copies {
            // A copy that is away, or is no better, is no reason to stop: the chain is broken anyway.
            let bytes = commits.copy(copy).at(expected).await.unwrap_or_else(|error| {
                tracing::warn!(%error, copy, "a copy cannot be read");
                None
            });
            if let Some((frame, hash)) = bytes.and_then(|bytes| check(head, bytes).ok()) {
                tracing::warn!(%expected, stream = commits.name, copy, %found, "taken from a copy; repair the stream");
                self.apply_one(head, frame, hash)?;
                self.refetched += 1;
                return Ok(Next::Recreate);
            }
        }
        Err(unfit(commits, expected, head.hash, found))
    }

    fn apply_one(&mut self, head: &mut Head, frame: Frame, hash: CommitHash) -> Outcome<(), M> {
        let at = frame.header().number;
        let one = ready::<M>(head, frame, hash).map_err(|source| ProjectError::Apply { at, source })?;
        self.apply_all(vec![one])
    }

    fn apply_all(&mut self, ready: Vec<Ready<M::Prepared>>) -> Outcome<(), M> {
        for one in ready {
            let Ready { at, events, ref prepared } = one;
            self.model.apply(prepared).map_err(|source| ProjectError::Apply { at, source })?;
            debug_assert_eq!(self.model.cursor().commit, at);
            self.applied += 1;
            self.waiting = Waiting::default();
            self.unsaved.commits += 1;
            self.unsaved.events += events;
            self.unsaved.since.get_or_insert_with(Instant::now);
            self.spent.push(one);
            self.save_when_due()?;
        }
        Ok(())
    }

    /// Nothing has come for a while. Is there nothing, does the consumer sleep, or did the server skip a record
    /// without a word?
    async fn look(&mut self, commits: &Commits, head: &mut Head) -> Outcome<Next, M> {
        if let Some(newest) = self.bus.newest(head.ledger).await?
            && newest.generation > commits.generation
        {
            tracing::warn!(from = commits.name, to = newest.name, "a new generation was started; changing over");
            return Ok(Next::Reopen);
        }
        let Some(state) = commits.state().await? else {
            return Err(ProjectError::NoStream { ledger: head.ledger });
        };
        let end = CommitNumber::new(state.last_sequence);
        if end > head.commit {
            tracing::warn!(cursor = %head.commit, %end, stream = commits.name, "nothing comes, although there is more");
            return self.ask_leader(commits, head, end).await;
        }
        if end < head.commit {
            tracing::warn!(cursor = %head.commit, %end, stream = commits.name, "the stream has lost its tail");
        }
        if let (Some(until), Some(patience)) = (self.options.until, self.options.patience)
            && self.waiting.since.get_or_insert_with(Instant::now).elapsed() >= patience
        {
            return Err(ProjectError::Ends { stream: commits.name.clone(), until, end });
        }
        Ok(Next::Read)
    }

    fn save_when_due(&mut self) -> Outcome<(), M> {
        let due = self.options.checkpoints;
        let late = self.unsaved.since.is_some_and(|since| since.elapsed() >= due.interval);
        if late || self.unsaved.commits >= due.commits || self.unsaved.events >= due.events {
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> Outcome<(), M> {
        if self.unsaved.commits > 0 {
            self.model.save().map_err(ProjectError::Save)?;
            self.unsaved = Unsaved::default();
        }
        Ok(())
    }
}

fn of_message(message: &Delivered) -> Message {
    (CommitNumber::new(message.sequence), message.body.to_vec())
}

/// Checks messages and makes them ready, until one is not the next commit behind the head, which moves on.
fn check_all<M: Model>(mut head: Head, some: Vec<Message>) -> Checked<M> {
    let mut all = Vec::with_capacity(some.len());
    let mut then = Then::Next;
    for (number, bytes) in some {
        let expected = head.commit.next();
        if number < expected {
            then = Then::Again;
        } else if number == expected
            && let Ok((frame, hash)) = check(&head, bytes)
        {
            match ready::<M>(&mut head, frame, hash) {
                Ok(ready) => {
                    all.push(ready);
                    continue;
                }
                Err(error) => then = Then::Unreadable(number, error),
            }
        } else {
            then = Then::Other(number);
        }
        break;
    }
    Checked { head, ready: all, then }
}

/// Makes the next commit ready, and moves the head on to it.
fn ready<M: Model>(head: &mut Head, frame: Frame, hash: CommitHash) -> Result<Ready<M::Prepared>, M::Error> {
    let header = frame.header();
    let (at, events, after) = (header.number, u64::from(header.event_count), head.after(header, hash));
    let prepared = M::prepare(frame, hash)?;
    *head = after;
    Ok(Ready { at, events, prepared })
}

/// Whether these bytes are the next link of the chain.
fn check(head: &Head, bytes: Vec<u8>) -> Result<(Frame, CommitHash), Found> {
    let frame = Frame::decode(bytes)?;
    head.check(frame.header()).map_err(Found::Other)?;
    let hash = frame.hash();
    Ok((frame, hash))
}

/// Why a projector cannot go on. What a newer program wrote is sound: its checksum was compared first.
fn unfit<E: Error>(commits: &Commits, at: CommitNumber, expected: CommitHash, found: Found) -> ProjectError<E> {
    let stream = commits.name.clone();
    match found {
        Found::Damaged(FrameError::Version { found }) => ProjectError::NewerFormat { stream, at, found },
        found => ChainBroken { stream, at, expected, found }.into(),
    }
}
