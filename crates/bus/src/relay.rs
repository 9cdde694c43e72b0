//! The relay: a ledger's commits to its stream, each once, in order, byte for byte.
//!
//! It remembers nothing. Where it has to go on follows from comparing heads, which is done before the first write,
//! after every doubt, and after each reconnection.
//!
//! Each message is fenced twice. By sequence: the server takes commit n only as number n. That alone is not enough
//! while several are under way: where another writer has put five commits of its own, the first five of ours are
//! refused, and the sixth has just the right number. So each message carries its commit's hash as its id, and is
//! taken only behind the message whose id is the previous hash: the chain's own rule, kept by the server. It knows
//! the last id only of what it took since it started, so the first message after heads were compared goes alone,
//! fenced by its number.

mod standing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lotline_ledger::{CommitNumber, Frame, LedgerId, MAX_FRAME_BYTES, ReadError, Reader};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::connect::Bus;
use crate::error::{BoxError, Trouble};
use crate::seam::{Acknowledgement, Publish};
use crate::stop::Stop;
use crate::stream::{Commits, of_commits};
use standing::{Standing, read_back, standing};

/// So many commits may wait for their acknowledgement.
const WINDOW: usize = 16;
/// Room for subject and headers beside a frame.
const MESSAGE_OVERHEAD: usize = 4_096;
/// How often the files are looked at for commits of a writer in another process.
const LOOK: Duration = Duration::from_millis(50);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// So often in a row nothing of what was sent was stored although the server answers: then it is refused.
const FRUITLESS: u32 = 5;

// What may be under way at once stays small beside the memory of any machine.
const _: () = assert!(WINDOW * MAX_FRAME_BYTES <= 16 << 20);

/// What to do about a stream that differs from the ledger. It is kept in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDifference {
    /// Start the next generation beside it, from commit 1.
    StartGeneration,
    /// Stop with [`RelayError::Differs`].
    Stop,
}

/// How to relay.
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// What to do about a stream that differs from the ledger when the relay starts.
    pub on_difference: OnDifference,
    /// Before the first write, read the whole stream back and compare it with the ledger. Without it heads alone are
    /// compared, and a commit that the server lost or damaged in the middle is found by projectors only.
    pub read_back: bool,
    /// How many servers of a cluster keep a new stream: 1, 3 or 5.
    pub replicas: usize,
    /// How long [`Relay::compare`] and [`Relay::once`] try to reach a server that does not answer.
    pub patience: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            on_difference: OnDifference::StartGeneration,
            read_back: false,
            replicas: 1,
            patience: Duration::from_secs(30),
        }
    }
}

/// What a relay has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// How many commits it sent that the server acknowledged.
    pub published: u64,
    /// The last commit that is in the stream and in the ledger.
    pub head: CommitNumber,
    /// The stream's name.
    pub stream: String,
    /// Its generation.
    pub generation: u32,
    /// Streams that differ from the ledger, and were left beside.
    pub kept: Vec<Kept>,
}

/// A stream that was left as it is, because it is not this ledger's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub stream: String,
    /// Its last commit.
    pub head: CommitNumber,
    /// What is wrong with it.
    pub why: Why,
}

/// Why a stream cannot be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It holds other commits from this one on.
    Other {
        /// The first one that differs.
        from: CommitNumber,
    },
    /// It has lost this commit although it goes on behind it; a stream cannot be filled again there.
    Lost {
        /// The first one that is not there.
        commit: CommitNumber,
    },
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Other { from } => write!(f, "it differs from the ledger from commit {from} on"),
            Self::Lost { commit } => write!(f, "it has lost commit {commit}"),
        }
    }
}

/// Why a relay stopped. Nothing in any stream was changed by it.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The ledger was rolled back, by an older copy of its folder perhaps: the stream goes on where the ledger ends,
    /// and all that both have is the same. Catch the ledger up from the stream ([`Bus::project`] into it), or stop.
    #[error(
        "stream {stream} has commits up to {in_stream}, the ledger ends with {in_ledger}: the ledger was rolled \
         back; nothing was written; catch it up from the stream, or restore the newer folder"
    )]
    Ahead {
        /// The stream.
        stream: String,
        /// The ledger's id.
        ledger: LedgerId,
        /// The stream's last commit.
        in_stream: CommitNumber,
        /// The ledger's last commit.
        in_ledger: CommitNumber,
    },
    /// Look into it: the stream is not this ledger's, and the relay was told to stop then.
    #[error("stream {} cannot be gone on with: {}; it was left as it is", .0.stream, .0.why)]
    Differs(Kept),
    /// Step down: somebody else has written to the stream while this relay was at work.
    #[error("another writer has written to stream {}: {}; this relay stops, nothing was overwritten", .0.stream, .0.why)]
    Fenced(Kept),
    /// Raise `max_payload` of the server.
    #[error("the NATS server takes messages of {found} bytes, a commit may need {needed}; raise its max_payload")]
    MaxPayload {
        /// The server's limit.
        found: usize,
        /// What is needed.
        needed: usize,
    },
    /// Verify the ledger: it cannot be read.
    #[error("the ledger cannot be read")]
    Ledger(#[from] ReadError),
    /// The server does not do what it has to.
    #[error(transparent)]
    Server(#[from] Trouble),
}

/// Publishes the commits of one ledger.
#[derive(Debug)]
pub struct Relay {
    bus: Bus,
    reader: Reader,
    options: RelayOptions,
    /// The stream, and the last commit known to be in it; `None` before heads were compared.
    place: Option<(Commits, CommitNumber)>,
    /// Heads have to be compared again.
    in_doubt: bool,
    /// The last commit was sent by this relay, since heads were compared: the server knows its id.
    is_linked: bool,
    /// The stream was read back, or need not be.
    is_read: bool,
    /// Once heads were found in step, a stream that differs was written by somebody else.
    was_in_step: bool,
    published: u64,
    kept: Vec<Kept>,
}

/// What a round is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// To know where the stream stands.
    Compare,
    /// To send what it does not have.
    Send,
}

/// How sending went.
enum Sent {
    /// All that the ledger has is acknowledged; all that was sent, if it was stopped.
    All,
    /// Something is unknown: heads have to be compared.
    Doubt(BoxError),
}

impl Relay {
    /// A relay of the ledger that `reader` reads; its writer may be in this process or in another.
    pub fn new(bus: &Bus, reader: Reader, options: RelayOptions) -> Self {
        Self {
            bus: bus.clone(),
            reader,
            place: None,
            in_doubt: true,
            is_linked: false,
            is_read: !options.read_back,
            options,
            was_in_step: false,
            published: 0,
            kept: Vec::new(),
        }
    }

    /// What it reads the ledger with.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// From now on [`Relay::compare`] and [`Relay::once`] try for so long to reach a server that does not answer.
    pub fn set_patience(&mut self, patience: Duration) {
        self.options.patience = patience;
    }

    /// Finds the stream, made if there is none, and compares its head with the ledger's; publishes nothing. Who
    /// records into the ledger calls this first: what is recorded behind a ledger that was rolled back makes it
    /// another chain than its stream.
    ///
    /// # Errors
    /// As [`Relay::once`].
    pub fn compare(&mut self, stop: &Stop) -> Result<Relayed, RelayError> {
        let (bus, patience) = (self.bus.clone(), self.options.patience);
        bus.block_on(self.work(Round::Compare, Some(patience), stop))
    }

    /// Publishes what the stream does not have yet, and returns when all that the ledger had is acknowledged, or it
    /// is stopped.
    ///
    /// # Errors
    /// [`RelayError`]; a server that does not answer is tried again for as long as the options say.
    pub fn once(&mut self, stop: &Stop) -> Result<Relayed, RelayError> {
        let (bus, patience) = (self.bus.clone(), self.options.patience);
        bus.block_on(self.work(Round::Send, Some(patience), stop))
    }

    /// Publishes commits as they are recorded, until it is stopped; then what is under way is still acknowledged, and
    /// the rest is left for the next time. A server that does not answer is tried again
    /// without end.
    ///
    /// # Errors
    /// [`RelayError`], those of the server aside.
    pub fn run(&mut self, stop: &Stop) -> Result<Relayed, RelayError> {
        let bus = self.bus.clone();
        let reader = self.reader.clone();
        let recorded = Arc::new(Notify::new());
        let wake = recorded.clone();
        let watch = reader.watch(move |_| wake.notify_one());
        let ended = bus.block_on(self.forever(stop, &recorded));
        reader.unwatch(watch);
        ended
    }

    async fn forever(&mut self, stop: &Stop, recorded: &Notify) -> Result<Relayed, RelayError> {
        let mut connected = self.bus.connected();
        connected.mark_unchanged();
        loop {
            let relayed = self.work(Round::Send, None, stop).await?;
            if stop.is_told() {
                return Ok(relayed);
            }
            tokio::select! {
                () = stop.told() => return Ok(relayed),
                () = recorded.notified() => {}
                () = sleep(LOOK) => {}
                // Perhaps to a server that has lost its tail.
                Ok(()) = connected.changed() => self.in_doubt = true,
            }
        }
    }

    /// One round, from wherever the stream is to the ledger's head. Without `patience` a silent server is tried
    /// until the stop.
    async fn work(&mut self, round: Round, patience: Option<Duration>, stop: &Stop) -> Result<Relayed, RelayError> {
        let mut since = Instant::now();
        let mut wait = FIRST_WAIT;
        let mut fruitless = 0;
        let mut best = CommitNumber::ZERO;
        loop {
            let bus = self.bus.clone();
            let concerns = of_commits(self.reader.ledger());
            let advanced = bus.unless_denied("publish commits", concerns, self.advance(round, stop)).await;
            let trouble = match advanced {
                Ok(Sent::All) => return Ok(self.report()),
                Ok(Sent::Doubt(source)) => {
                    let at = self.place.as_ref().map_or(CommitNumber::ZERO, |(_, at)| *at);
                    if at > best {
                        (best, wait, fruitless, since) = (at, FIRST_WAIT, 0, Instant::now());
                    } else {
                        fruitless += 1;
                    }
                    tracing::warn!(error = %source, "commits were not acknowledged; comparing heads");
                    Trouble::Refused { doing: "take a commit", source }
                }
                // Later it may be an operator's slip, which must not end what goes on without a server.
                Err(error @ RelayError::Server(Trouble::NoJetStream)) if self.place.is_none() => return Err(error),
                Err(RelayError::Server(trouble)) => {
                    if matches!(trouble, Trouble::Refused { .. } | Trouble::Denied { .. }) {
                        fruitless = FRUITLESS;
                    }
                    tracing::warn!(error = %trouble, source = ?std::error::Error::source(&trouble), "trying again");
                    trouble
                }
                Err(other) => return Err(other),
            };
            self.in_doubt = true;
            if patience.is_some_and(|patience| fruitless >= FRUITLESS || since.elapsed() >= patience) {
                return Err(trouble.into());
            }
            if fruitless >= FRUITLESS {
                tracing::error!(error = %trouble, "the server does not take the ledger's commits");
            }
            tokio::select! {
                () = stop.told() => return Ok(self.report()),
                () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            }
        }
    }

    fn report(&self) -> Relayed {
        let (stream, generation, head) = match &self.place {
            Some((commits, at)) => (commits.name.clone(), commits.generation, *at),
            None => (String::new(), 0, CommitNumber::ZERO),
        };
        Relayed { published: self.published, head, stream, generation, kept: self.kept.clone() }
    }

    async fn advance(&mut self, round: Round, stop: &Stop) -> Result<Sent, RelayError> {
        let place = self.place.clone().filter(|_| !self.in_doubt);
        let (commits, mut at) = match place {
            Some(place) => place,
            None => {
                self.is_linked = false;
                self.find().await?
            }
        };
        self.in_doubt = false;
        self.set_place(&commits, at);
        self.reader.refresh()?;
        if round == Round::Compare || self.reader.head().commit <= at {
            return Ok(Sent::All);
        }
        let sent = self.send(&commits, &mut at, stop).await;
        self.set_place(&commits, at);
        sent
    }

    fn set_place(&mut self, commits: &Commits, at: CommitNumber) {
        self.place = Some((commits.clone(), at));
        self.bus.counts().relayed.set(at.get());
    }

    /// Finds the stream and the last commit that it shares with the ledger.
    async fn find(&mut self) -> Result<(Commits, CommitNumber), RelayError> {
        let (found, needed) = (self.bus.max_payload(), MAX_FRAME_BYTES + MESSAGE_OVERHEAD);
        if found < needed {
            return Err(RelayError::MaxPayload { found, needed });
        }
        let ledger = self.reader.ledger();
        let Some(commits) = self.bus.newest(ledger).await? else {
            let commits = self.bus.start(ledger, 1, self.options.replicas).await?;
            tracing::info!(stream = commits.name, "made a stream for the ledger");
            self.was_in_step = true;
            return Ok((commits, CommitNumber::ZERO));
        };
        match standing(&commits, &self.reader).await? {
            Standing::At(at) => {
                if !self.is_read
                    && let Some(kept) = read_back(&commits, &self.reader, at).await?
                {
                    return self.leave(commits, kept).await;
                }
                (self.is_read, self.was_in_step) = (true, true);
                Ok((commits, at))
            }
            Standing::Ahead { in_stream, in_ledger } => {
                Err(RelayError::Ahead { stream: commits.name, ledger, in_stream, in_ledger })
            }
            Standing::Useless(kept) => self.leave(commits, kept).await,
        }
    }

    /// Leaves a stream as it is, and starts the next generation beside it.
    async fn leave(&mut self, commits: Commits, kept: Kept) -> Result<(Commits, CommitNumber), RelayError> {
        let foreign = matches!(kept.why, Why::Other { .. });
        if self.options.on_difference == OnDifference::Stop {
            return Err(RelayError::Differs(kept));
        }
        if foreign && self.was_in_step {
            return Err(RelayError::Fenced(kept));
        }
        self.bus.counts().chain_errors.one_more();
        let next = self.bus.start(commits.ledger, commits.generation + 1, self.options.replicas).await?;
        tracing::error!(
            kept = kept.stream,
            head = kept.head.get(),
            why = %kept.why,
            started = next.name,
            "the stream cannot be gone on with; it is kept, and a new generation is started beside it"
        );
        self.kept.push(kept);
        (self.is_read, self.was_in_step) = (true, true);
        Ok((next, CommitNumber::ZERO))
    }

    /// Sends what follows `at`, which moves on with each acknowledgement.
    async fn send(&mut self, commits: &Commits, at: &mut CommitNumber, stop: &Stop) -> Result<Sent, RelayError> {
        let mut frames = self.reader.frames(at.next());
        let mut connected = self.bus.connected();
        connected.mark_unchanged();
        let mut under_way: VecDeque<(CommitNumber, Acknowledgement)> = VecDeque::with_capacity(WINDOW);
        let doubt = loop {
            let mut failed = None;
            let window = if self.is_linked { WINDOW } else { 1 };
            while under_way.len() < window && !stop.is_told() {
                let Some(frame) = frames.next() else { break };
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(error) => {
                        settle(under_way).await;
                        return Err(error.into());
                    }
                };
                let number = frame.header().number;
                let message = message(commits, frame, self.is_linked);
                match self.bus.server().publish(commits.subject.clone(), message).await {
                    Ok(ack) => under_way.push_back((number, ack)),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            if let Some(error) = failed {
                break error.source;
            }
            let Some((number, ack)) = under_way.pop_front() else {
                return Ok(Sent::All);
            };
            let answer = tokio::select! {
                answer = ack => answer,
                // Then the answer was lost with the connection.
                Ok(()) = connected.changed() => return Ok(Sent::Doubt("the connection broke".into())),
            };
            match answer {
                Ok(ack) if ack.sequence == number.get() && ack.stream == commits.name && !ack.duplicate => {
                    *at = number;
                    self.is_linked = true;
                    self.published += 1;
                    self.bus.counts().published.one_more();
                    self.bus.counts().relayed.set(number.get());
                }
                Ok(ack) => break format!("commit {number} was acknowledged as {ack:?}").into(),
                Err(error) => break error.source,
            }
        };
        settle(under_way).await;
        Ok(Sent::Doubt(doubt))
    }
}

/// Waits until nothing is under way any more. What became of it is read from the stream afterwards.
async fn settle(under_way: VecDeque<(CommitNumber, Acknowledgement)>) {
    join_all(under_way.into_iter().map(|(_, ack)| ack)).await;
}

/// A commit as a message.
fn message(commits: &Commits, frame: Frame, is_linked: bool) -> Publish {
    let (number, previous, hash) = (frame.header().number, frame.header().previous, frame.hash());
    let message = Publish::new(frame.into_bytes())
        .expected_stream(&commits.name)
        .expected_last_sequence(number.get() - 1)
        .id(hash.to_string());
    if is_linked { message.expected_last_id(previous.to_string()) } else { message }
}
