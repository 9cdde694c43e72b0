//! One projector at work.

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lotline_ledger::{CommitHash, CommitNumber, Frame, FrameError, Head};
use tokio::time::{Instant, sleep, timeout};

use super::{ChainBroken, Found, ProjectError, ProjectOptions, Projected, head_of};
use crate::connect::Bus;
use crate::error::{BoxError, Trouble};
use crate::model::{Cursor, Model};
use crate::seam::{Delivered, Read};
use crate::stop::Stop;
use crate::stream::{Commits, of_commits};

/// How much may be on its way to this process.
const BATCH_MESSAGES: usize = 1_000;
const BATCH_BYTES: usize = 16 << 20;
/// The server says so often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);
const PULL: Duration = Duration::from_secs(30);
/// After so long without its reader the server forgets a consumer.
const FORGOTTEN: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Feed<'a, M> {
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
    pub(super) fn new(bus: &'a Bus, model: &'a mut M, options: &'a ProjectOptions, stop: &'a Stop) -> Self {
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
        }
    }

    pub(super) async fn run(mut self) -> Outcome<Projected, M> {
        let ended = self.follow().await;
        if let Err(ProjectError::Broken(_) | ProjectError::OtherChain { .. }) = &ended {
            self.bus.counts().chain_errors.one_more();
        }
        let saved = self.save();
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

    async fn read(&mut self, commits: &Commits, head: &mut Head, messages: &mut Messages) -> Outcome<Next, M> {
        let mut connected = self.bus.connected();
        connected.mark_unchanged();
        while !self.is_done() {
            let arrived = tokio::select! {
                biased;
                () = self.stop.told() => return Ok(Next::Read),
                // The server has forgotten the consumer, if it was started anew.
                Ok(()) = connected.changed() => return Ok(Next::Recreate),
                arrived = timeout(self.options.idle, messages.next()) => arrived,
            };
            let next = match arrived {
                Ok(Some(Ok(message))) => {
                    self.take(commits, head, CommitNumber::new(message.sequence), message.body.to_vec()).await?
                }
                Ok(Some(Err(error))) => {
                    tracing::warn!(%error, stream = commits.name, "the consumer failed; making it anew");
                    if !self.wait().await {
                        let doing = "deliver commits";
                        return Err(Trouble::Unreachable { doing, source: error }.into());
                    }
                    Next::Recreate
                }
                Ok(None) => Next::Recreate,
                Err(_idle) => self.look(commits, head).await?,
            };
            self.save_when_due()?;
            if !matches!(next, Next::Read) {
                return Ok(next);
            }
        }
        Ok(Next::Read)
    }

    /// A message: applied if it is the next commit. If not, the leader is asked, once, before the chain is called
    /// broken: a consumer that was cut off may have lost what the stream still has.
    async fn take(
        &mut self,
        commits: &Commits,
        head: &mut Head,
        number: CommitNumber,
        bytes: Vec<u8>,
    ) -> Outcome<Next, M> {
        let expected = head.commit.next();
        if number < expected {
            return Ok(Next::Recreate);
        }
        if number == expected
            && let Ok((frame, hash)) = check(head, bytes)
        {
            self.apply(head, &frame, hash)?;
            return Ok(Next::Read);
        }
        tracing::warn!(%expected, %number, stream = commits.name, "not the next commit; asking the stream's leader");
        self.ask_leader(commits, head, number).await
    }

    /// Reads the next commit from the leader; `up_to` is a later one that is known to have been there.
    async fn ask_leader(&mut self, commits: &Commits, head: &mut Head, up_to: CommitNumber) -> Outcome<Next, M> {
        let expected = head.commit.next();
        let found = match commits.at(expected).await? {
            Some(bytes) => match check(head, bytes) {
                Ok((frame, hash)) => {
                    self.apply(head, &frame, hash)?;
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
                self.apply(head, &frame, hash)?;
                self.refetched += 1;
                return Ok(Next::Recreate);
            }
        }
        Err(unfit(commits, expected, head.hash, found))
    }

    fn apply(&mut self, head: &mut Head, frame: &Frame, hash: CommitHash) -> Outcome<(), M> {
        let at = frame.header().number;
        self.model.apply(frame, hash).map_err(|source| ProjectError::Apply { at, source })?;
        *head = head.after(frame.header(), hash);
        debug_assert_eq!(self.model.cursor(), Cursor { ledger: head.ledger, commit: head.commit, hash: head.hash });
        self.applied += 1;
        self.waiting = Waiting::default();
        self.unsaved.commits += 1;
        self.unsaved.events += u64::from(frame.header().event_count);
        self.unsaved.since.get_or_insert_with(Instant::now);
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
            let Cursor { commit, .. } = self.model.cursor();
            tracing::info!(commit = commit.get(), commits = self.unsaved.commits, "saved");
            self.unsaved = Unsaved::default();
        }
        Ok(())
    }
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
