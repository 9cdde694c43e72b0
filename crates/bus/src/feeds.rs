//! Feeds: what a read model says now, in a bucket, and how it changed, in a stream.
//!
//! Changes go by steps: all that differs between one commit and a later one. Each message says which step it is of, and
//! which of how many, and is taken only behind the one before; so whoever publishes needs no memory of its own. Where
//! it has to go on follows from the stream's last message, and the same step computed again is the same messages. Two
//! that publish at once get into each other's way, and neither comes to harm.
//!
//! A value in the bucket names its commit in a header, and is replaced only by a later one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use futures_util::FutureExt;
use lotline_ledger::{CommitNumber, LedgerId};
use lotline_wire::channel;
use lotline_wire::feed::AsOf;
use tokio::task::JoinHandle;

use crate::connect::Bus;
use crate::denied::{Act, names};
use crate::error::Trouble;
use crate::seam::{Acknowledgement, Failed, Publish, Retention, Said, Stored, StreamConfig, header};

/// So many messages may wait for their acknowledgement.
const WINDOW: usize = 64;
/// So many values may wait until those before them are written.
const UNWRITTEN_MAX: usize = 4_096;
/// So many parts of a bucket are read at a time.
const READERS: u64 = 16;
/// So many revisions of keys are remembered.
const REVISIONS_MAX: usize = 200_000;

/// A step: from one commit to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was before is as of this commit.
    pub since: CommitNumber,
    /// What is now is as of this one.
    pub commit: CommitNumber,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// The last message of a stream of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its step; the hash as text.
    pub since: CommitNumber,
    /// The commit that it is as of.
    pub commit: CommitNumber,
    /// That commit's hash, hexadecimal.
    pub hash: String,
    /// Its number in the step, from 1.
    pub number: usize,
    /// How many the step has.
    pub of: usize,
}

impl Tail {
    /// Whether the step was told to its end.
    pub fn is_whole(&self) -> bool {
        self.number >= self.of
    }

    /// The sequence that the last whole step ends with; 0 where there is none.
    pub fn whole_sequence(&self) -> u64 {
        if self.is_whole() { self.sequence } else { self.sequence.saturating_sub(self.number as u64) }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Three texts by which its subject can be filtered.
    pub tokens: [String; 3],
    /// The key in the bucket, made of tokens.
    pub key: String,
    /// What is told of it.
    pub body: Vec<u8>,
    /// The value in the bucket; `None` where nothing is there any more.
    pub value: Option<Vec<u8>>,
}

/// What a bucket has under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The commit that it is as of.
    pub commit: CommitNumber,
    /// The value; `None` where nothing is there any more.
    pub value: Option<Vec<u8>>,
}

/// Values by key; `None` is to be taken away.
pub type Wanted = BTreeMap<String, Option<Vec<u8>>>;

/// Why a step was not told. Look at the tail again, and go on from there.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The stream is not where it was thought to be: somebody else publishes, too, or an answer was lost.
    #[error("the stream of changes is not where it was left")]
    Moved,
    /// The server does not do what it has to.
    #[error(transparent)]
    Server(#[from] Trouble),
}

/// A feed of a read model.
#[derive(Debug)]
pub struct Feed {
    bus: Bus,
    ledger: String,
    name: &'static str,
    stream: String,
    bucket: String,
    /// Sequence and id of the last change that the server has taken.
    last: (u64, String),
    /// What was sent behind it.
    sent: VecDeque<Sent>,
    /// The steps of that, each with its values and the sequence that it ends with.
    told: VecDeque<(Step, Vec<(String, Option<Vec<u8>>)>, u64)>,
    /// Whether the server knows that id: of what it took in this run.
    is_linked: bool,
    values: Values,
    unwritten: Unwritten,
    /// At which connection the bucket's values were read, if all that was written since is known to be there.
    read_at: Option<u64>,
}

/// A change on its way.
struct Sent {
    /// Its sequence and id.
    link: (u64, String),
    ack: Acknowledgement,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Sent{:?}", self.link)
    }
}

/// Values that are told and not being written yet: of each key the last one.
#[derive(Debug, Default)]
struct Unwritten {
    /// The last step, and the sequence that it ends with.
    step: Option<(Step, u64)>,
    values: BTreeMap<String, (CommitNumber, Option<Vec<u8>>)>,
}

impl Unwritten {
    fn add(&mut self, step: Step, values: impl IntoIterator<Item = (String, Option<Vec<u8>>)>, sequence: u64) {
        let commit = step.commit;
        self.values.extend(values.into_iter().map(|(key, value)| (key, (commit, value))));
        self.step = Some((step, sequence));
    }
}

/// The values of a feed, which come behind its changes: while those of some steps are written, the next ones are told.
#[derive(Debug)]
enum Values {
    Resting(Bucket),
    Written(JoinHandle<(Bucket, Result<(), FeedError>)>),
    /// In between, and when a task was lost with its thread.
    Gone,
}

#[derive(Debug)]
struct Bucket {
    bus: Bus,
    ledger: String,
    name: String,
    revisions: HashMap<String, u64>,
}

impl Bus {
    /// A feed of a ledger by its name, such as `on-hand`: its stream and bucket are made where they are not there.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub fn feed(&self, ledger: LedgerId, name: &'static str) -> Result<Feed, Trouble> {
        let ledger = ledger.to_string();
        let (stream, bucket) = (channel::feed_stream(&ledger, name), channel::feed_bucket(&ledger, name));
        let last = (0, String::new());
        let values =
            Bucket { bus: self.clone(), ledger: ledger.clone(), name: bucket.clone(), revisions: HashMap::new() };
        let (values, unwritten) = (Values::Resting(values), Unwritten::default());
        let feed = Feed {
            bus: self.clone(),
            ledger,
            name,
            stream,
            bucket,
            last,
            sent: VecDeque::new(),
            told: VecDeque::new(),
            is_linked: false,
            values,
            unwritten,
            read_at: None,
        };
        let work = feed.need();
        self.block_on(self.unless_denied("make the feed", feed.concerns(), work))?;
        Ok(feed)
    }
}

/// The stream of changes. Who has read them may drop old ones by setting a limit; nothing here does.
fn changes(ledger: &str, name: &str) -> StreamConfig {
    StreamConfig {
        name: channel::feed_stream(ledger, name),
        description: format!("changes of the feed {name} of Lotline ledger {ledger}"),
        subjects: vec![channel::feed_subject(ledger, name, ["*"; 3])],
        retention: Retention::Limits,
        deny_delete: true,
        ..StreamConfig::default()
    }
}

impl Feed {
    /// Makes stream and bucket where they are not there: a server may have lost them.
    async fn need(&self) -> Result<(), Trouble> {
        self.bus.need_stream(changes(&self.ledger, self.name)).await?;
        let description = format!("values of the feed {} of Lotline ledger {}", self.name, self.ledger);
        let made = self.bus.server().need_bucket(self.bucket.clone(), description).await;
        made.map_err(|error| error.trouble("make a bucket"))
    }

    /// Whether a subject is one of this feed's.
    fn concerns(&self) -> impl Fn(Act, &str) -> bool + use<> {
        let names_of = [self.stream.clone(), self.bucket.clone(), format!("KV_{}", self.bucket)];
        let changes = format!("lotline.{}.{}.", self.ledger, self.name);
        move |_, subject| {
            // Making a bucket begins with a question about the account.
            subject == "$JS.API.INFO"
                || subject.starts_with(&changes)
                || names_of.iter().any(|name| names(subject, name))
        }
    }

    /// Whether there is a connection to the server now.
    pub fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }

    /// The name of its stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Where the stream ends, read from its leader; publishing goes on behind it.
    ///
    /// # Errors
    /// When the server does not tell, or what is there is nobody's change.
    pub fn tail(&mut self) -> Result<Option<Tail>, Trouble> {
        let (bus, concerns) = (self.bus.clone(), self.concerns());
        let work = async {
            // Whatever became of it: where the stream and the bucket are, is found out again.
            self.forget_sent();
            let _ = self.settle().await;
            self.need().await?;
            let doing = "read the last change";
            let info = bus.server().stream(&self.stream).await;
            let state = info.map_err(|error| error.trouble(doing))?.state;
            self.is_linked = false;
            self.bucket().revisions.clear();
            self.last = (state.last_sequence, String::new());
            if state.last_sequence == 0 {
                return Ok(None);
            }
            let message = bus.server().message(&self.stream, state.last_sequence).await;
            // What is not there now was a moment ago.
            let message = message.map_err(|Failed { source, .. }| Trouble::Unreachable { doing, source })?;
            let text = |name: &str| message.headers.value(name).unwrap_or_default().to_owned();
            let tail = read_tail(&text(channel::SINCE), &text(channel::COMMIT), &text(channel::STEP));
            let Some((since, commit, number, of)) = tail else {
                let source = format!("message {} of stream {} is no change", state.last_sequence, self.stream);
                return Err(Trouble::Refused { doing, source: source.into() });
            };
            let sequence = state.last_sequence;
            Ok(Some(Tail { sequence, since, commit, hash: text(channel::COMMIT_HASH), number, of }))
        };
        bus.block_on(bus.unless_denied("read the last change", concerns, work))
    }

    /// Up to where the bucket is.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn as_of(&mut self) -> Result<Option<AsOf>, Trouble> {
        let (bus, concerns) = (self.bus.clone(), self.concerns());
        let work = async {
            let _ = self.settle().await;
            self.bucket().value(channel::AS_OF_KEY).await
        };
        let found = bus.block_on(bus.unless_denied("read a value of a bucket", concerns, work))?;
        Ok(found.and_then(|(_, _, body)| lotline_wire::feed::read_as_of(&body)))
    }

    /// The sequence of the last change that was told here, or found.
    pub fn sequence(&self) -> u64 {
        self.sent.back().map_or(self.last.0, |sent| sent.link.0)
    }

    /// What the bucket has, by key, without its mark.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn values(&mut self) -> Result<BTreeMap<String, Value>, Trouble> {
        let (bus, concerns) = (self.bus.clone(), self.concerns());
        let connection = *bus.server().connected().borrow();
        let work = async {
            // What is not written is seen here.
            let _ = self.settle().await;
            self.bucket().all().await
        };
        let all = bus.block_on(bus.unless_denied("read the values of a bucket", concerns, work))?;
        self.read_at = Some(connection);
        Ok(all)
    }

    /// Whether the bucket's values were read on this connection, and nothing went wrong since. On another one the server
    /// may be one that has lost some.
    pub fn is_read(&self) -> bool {
        self.read_at == Some(*self.bus.server().connected().borrow())
    }

    /// Tells a step, without its first `told` changes, which are in the stream already. The server's word that it has
    /// taken them is waited for by whatever comes next, and the bucket is brought up to what was taken while this goes
    /// on, as [`settled`](Self::settled) tells.
    ///
    /// # Errors
    /// [`FeedError`]: some of it, or of the steps before, may be told or not, and the bucket is not up to them.
    pub fn tell(&mut self, step: Step, changes: Vec<Change>, told: usize) -> Result<(), FeedError> {
        let (bus, concerns) = (self.bus.clone(), self.concerns());
        let work = async {
            self.publish(&step, &changes, told).await?;
            let values = changes.into_iter().map(|change| (change.key, change.value)).collect();
            self.told.push_back((step, values, self.sequence()));
            self.taken(WINDOW).await?;
            match &self.values {
                // What is told meanwhile is written at once when this is done, each value once.
                Values::Written(writing) if !writing.is_finished() && self.unwritten.values.len() < UNWRITTEN_MAX => {
                    Ok(())
                }
                Values::Written(_) => self.written().await,
                _ => Ok(()),
            }
        };
        bus.block_on(bus.unless_denied("tell changes", concerns, work))?;
        if self.unwritten.step.is_some() && !matches!(self.values, Values::Written(_)) {
            self.write();
        }
        Ok(())
    }

    /// Takes the server's word for what was sent, as far as it is here, and waits until at most so much is without.
    async fn taken(&mut self, without: usize) -> Result<(), FeedError> {
        let taken = self.take_word(without).await;
        if taken.is_err() {
            self.forget_sent();
        }
        taken
    }

    async fn take_word(&mut self, without: usize) -> Result<(), FeedError> {
        loop {
            let has_to_wait = self.sent.len() > without;
            let Some(sent) = self.sent.front_mut() else { return Ok(()) };
            let ack = match (&mut sent.ack).now_or_never() {
                Some(ack) => ack,
                None if has_to_wait => (&mut sent.ack).await,
                None => return Ok(()),
            };
            let ack = ack.map_err(sorted)?;
            if ack.sequence != sent.link.0 || ack.duplicate {
                return Err(FeedError::Moved);
            }
            let Some(Sent { link, .. }) = self.sent.pop_front() else { unreachable!("it was the first") };
            let sequence = link.0;
            self.last = link;
            self.is_linked = true;
            while let Some((step, values, end)) = self.told.pop_front_if(|(.., end)| *end <= sequence) {
                self.unwritten.add(step, values, end);
            }
        }
    }

    fn forget_sent(&mut self) {
        self.sent.clear();
        self.told.clear();
    }

    /// Begins to write what is unwritten.
    fn write(&mut self) {
        self.bucket();
        let Values::Resting(mut bucket) = std::mem::replace(&mut self.values, Values::Gone) else {
            unreachable!("it was just made so")
        };
        let (bus, concerns, unwritten) = (self.bus.clone(), self.concerns(), std::mem::take(&mut self.unwritten));
        let write = async move {
            let bus = bucket.bus.clone();
            let work = bucket.put(&unwritten);
            let written = bus.unless_denied("keep current values", concerns, work).await;
            (bucket, written)
        };
        self.values = Values::Written(bus.spawn(write));
    }

    /// Goes on with bringing the bucket up to all that was told, and waits for nothing; true while it is not.
    ///
    /// # Errors
    /// [`FeedError`]: it is not, and does not come to it.
    pub fn go_on(&mut self) -> Result<bool, FeedError> {
        let (bus, concerns) = (self.bus.clone(), self.concerns());
        bus.block_on(bus.unless_denied("tell changes", concerns, self.taken(WINDOW)))?;
        match &self.values {
            Values::Written(writing) if !writing.is_finished() => return Ok(true),
            Values::Written(_) => {
                let bus = self.bus.clone();
                bus.block_on(self.written())?;
            }
            _ => {}
        }
        let is_behind = self.unwritten.step.is_some();
        if is_behind {
            self.write();
        }
        Ok(is_behind || !self.told.is_empty())
    }

    /// Waits until the bucket is up to all that was told.
    ///
    /// # Errors
    /// [`FeedError`]: it is not.
    pub fn settled(&mut self) -> Result<(), FeedError> {
        let bus = self.bus.clone();
        bus.block_on(self.settle())
    }

    async fn settle(&mut self) -> Result<(), FeedError> {
        self.taken(0).await?;
        self.written().await?;
        let unwritten = std::mem::take(&mut self.unwritten);
        if unwritten.step.is_none() {
            return Ok(());
        }
        let put = self.bucket().put(&unwritten).await;
        self.or_unread(put)
    }

    /// What the bucket has is not known when something went wrong.
    fn or_unread(&mut self, written: Result<(), FeedError>) -> Result<(), FeedError> {
        if written.is_err() {
            self.read_at = None;
        }
        written
    }

    /// Waits until what is being written is. Where it is not, what is behind it is left, too: where the bucket is has to
    /// be found out anew.
    async fn written(&mut self) -> Result<(), FeedError> {
        match std::mem::replace(&mut self.values, Values::Gone) {
            Values::Written(writing) => {
                let written = match writing.await {
                    Ok((bucket, written)) => {
                        self.values = Values::Resting(bucket);
                        written
                    }
                    Err(error) => Err(FeedError::Server(Trouble::Unreachable {
                        doing: "keep current values",
                        source: error.into(),
                    })),
                };
                if written.is_err() {
                    self.unwritten = Unwritten::default();
                }
                self.or_unread(written)
            }
            other => {
                self.values = other;
                Ok(())
            }
        }
    }

    fn bucket(&mut self) -> &mut Bucket {
        if !matches!(self.values, Values::Resting(_)) {
            let (ledger, name) = (self.ledger.clone(), self.bucket.clone());
            self.values = Values::Resting(Bucket { bus: self.bus.clone(), ledger, name, revisions: HashMap::new() });
        }
        let Values::Resting(bucket) = &mut self.values else { unreachable!("it was just made so") };
        bucket
    }

    /// Brings the bucket up to a step that is in the stream whole, and ends there with a sequence; another step may have
    /// begun behind it. What is there of this commit or a later one stays, but for a mark that is known to be unfit.
    ///
    /// # Errors
    /// [`FeedError`]: some of it may be there.
    pub fn keep(&mut self, step: Step, values: Wanted, sequence: u64, unfit: Option<&AsOf>) -> Result<(), FeedError> {
        let (bus, concerns) = (self.bus.clone(), self.concerns());
        let work = async {
            let _ = self.settle().await;
            let mut unwritten = Unwritten::default();
            unwritten.add(step, values, sequence);
            if let Some(unfit) = unfit {
                self.bucket().take_mark_back(&unwritten, unfit).await?;
            }
            self.bucket().put(&unwritten).await
        };
        let kept = bus.block_on(bus.unless_denied("keep current values", concerns, work));
        self.or_unread(kept)
    }

    async fn publish(&mut self, step: &Step, changes: &[Change], told: usize) -> Result<(), FeedError> {
        for (at, change) in changes.iter().enumerate().skip(told) {
            // The first one behind a look at the tail goes alone, fenced by its number: only then the server knows
            // its id, and takes the next ones behind it and nothing else.
            self.taken(if self.is_linked { WINDOW - 1 } else { 0 }).await?;
            let next = self.sent.back().map_or(&self.last, |sent| &sent.link);
            let id = format!("{}.{}.{}", step.since, step.commit, at + 1);
            let mut message = Publish::new(change.body.clone())
                .header(channel::SINCE, step.since.to_string())
                .header(channel::COMMIT, step.commit.to_string())
                .header(channel::COMMIT_HASH, step.hash.as_str())
                .header(channel::STEP, format!("{}/{}", at + 1, changes.len()))
                .expected_stream(&self.stream)
                .expected_last_sequence(next.0)
                .id(&id);
            if self.is_linked {
                message = message.expected_last_id(&next.1);
            }
            let link = (next.0 + 1, id);
            let [first, second, third] = change.tokens.each_ref().map(|text| channel::token(text));
            let subject = channel::feed_subject(&self.ledger, self.name, [&first, &second, &third]);
            match self.bus.server().publish(subject, message).await {
                Ok(ack) => self.sent.push_back(Sent { link, ack }),
                Err(error) => {
                    self.forget_sent();
                    return Err(sorted(error));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // What goes on holds the connection, which must not end in its own thread.
        let bus = self.bus.clone();
        let _ = bus.block_on(self.settle());
    }
}

impl Bucket {
    /// All that it has, without its mark. Who changes it meanwhile is seen or not.
    async fn all(&self) -> Result<BTreeMap<String, Value>, Trouble> {
        let (doing, stream) = ("read the values of a bucket", format!("KV_{}", self.name));
        let info = self.bus.server().stream(&stream).await.map_err(|error| error.trouble(doing))?;
        let (first, end) = (info.state.first_sequence.max(1), info.state.last_sequence + 1);
        let length = end.saturating_sub(first).div_ceil(READERS).max(1);
        let parts = (first..end).step_by(usize::try_from(length).unwrap_or(usize::MAX));
        let parts = parts.map(|from| self.between(&stream, from, end.min(from + length)));
        let found = futures_util::future::try_join_all(parts).await.map_err(|error| error.trouble(doing))?;
        // In their order: what has changed while it was read may be among them twice.
        let mut all: BTreeMap<String, Value> = found.into_iter().flatten().collect();
        all.remove(channel::AS_OF_KEY);
        Ok(all)
    }

    async fn between(&self, stream: &str, mut from: u64, end: u64) -> Result<Vec<(String, Value)>, Failed> {
        let (all, prefix) = (self.subject(">"), self.subject(""));
        let mut found = Vec::new();
        while from < end {
            let message = match self.bus.server().next_message(stream, from, &all).await {
                Ok(message) if message.sequence < end => message,
                Ok(_) => break,
                Err(error) if error.said == Said::NoMessage => break,
                Err(error) => return Err(error),
            };
            from = message.sequence + 1;
            if let Some(key) = message.subject.strip_prefix(&prefix) {
                found.push((key.to_owned(), value_of(&message)));
            }
        }
        Ok(found)
    }

    /// Replaces the mark, if it still is one that tells of changes that are not there.
    async fn take_mark_back(&mut self, unwritten: &Unwritten, unfit: &AsOf) -> Result<(), FeedError> {
        let Some((step, sequence)) = &unwritten.step else { return Ok(()) };
        let Some((revision, _, body)) = self.value(channel::AS_OF_KEY).await? else { return Ok(()) };
        if lotline_wire::feed::read_as_of(&body).as_ref() != Some(unfit) {
            return Ok(());
        }
        let as_of = self.mark(step, *sequence);
        let message = value_message(&self.name, step.commit, Some(&as_of), revision);
        let sent = self.bus.server().publish(self.subject(channel::AS_OF_KEY), message).await.map_err(sorted)?;
        let ack = sent.await.map_err(sorted)?;
        self.revisions.insert(channel::AS_OF_KEY.to_owned(), ack.sequence);
        Ok(())
    }

    fn mark(&self, step: &Step, sequence: u64) -> Vec<u8> {
        let (ledger, commit_hash) = (self.ledger.clone(), step.hash.clone());
        lotline_wire::feed::print_as_of(&AsOf { ledger, commit: step.commit.get(), commit_hash, sequence })
    }

    /// Writes values, and then that the bucket is up to their last step.
    async fn put(&mut self, unwritten: &Unwritten) -> Result<(), FeedError> {
        let Some((step, sequence)) = &unwritten.step else { return Ok(()) };
        if self.revisions.len() > REVISIONS_MAX {
            self.revisions.clear();
        }
        let mut values = unwritten.values.iter();
        loop {
            let mut under_way = Vec::with_capacity(WINDOW);
            for (key, (commit, value)) in values.by_ref().take(WINDOW) {
                let expected = self.revisions.get(key).copied().unwrap_or(0);
                let message = value_message(&self.name, *commit, value.as_deref(), expected);
                let sent = self.bus.server().publish(self.subject(key), message).await.map_err(sorted)?;
                under_way.push((key, *commit, value, sent));
            }
            if under_way.is_empty() {
                break;
            }
            for (key, commit, value, sent) in under_way {
                match sent.await.map_err(sorted) {
                    Ok(ack) => drop(self.revisions.insert(key.clone(), ack.sequence)),
                    // Somebody else has written it, or this is the first look at it.
                    Err(FeedError::Moved) => self.put_behind(commit, key, value.as_deref()).await?,
                    Err(error) => return Err(error),
                }
            }
        }
        let as_of = self.mark(step, *sequence);
        // Whoever wrote it last knows its revision, and needs no look at it.
        if let Some(expected) = self.revisions.get(channel::AS_OF_KEY).copied() {
            let message = value_message(&self.name, step.commit, Some(&as_of), expected);
            let sent = self.bus.server().publish(self.subject(channel::AS_OF_KEY), message).await;
            match sent.map_err(sorted)?.await.map_err(sorted) {
                Ok(ack) => {
                    self.revisions.insert(channel::AS_OF_KEY.to_owned(), ack.sequence);
                    return Ok(());
                }
                Err(FeedError::Moved) => {}
                Err(error) => return Err(error),
            }
        }
        self.put_behind(step.commit, channel::AS_OF_KEY, Some(&as_of)).await
    }

    /// Writes a value unless one of this commit or a later one is there.
    async fn put_behind(&mut self, commit: CommitNumber, key: &str, value: Option<&[u8]>) -> Result<(), FeedError> {
        loop {
            let expected = match self.value(key).await? {
                Some((revision, there, _)) if there >= commit => {
                    self.revisions.insert(key.to_owned(), revision);
                    return Ok(());
                }
                Some((revision, ..)) => revision,
                None => 0,
            };
            let message = value_message(&self.name, commit, value, expected);
            let sent = self.bus.server().publish(self.subject(key), message).await.map_err(sorted)?;
            match sent.await.map_err(sorted) {
                Ok(ack) => {
                    self.revisions.insert(key.to_owned(), ack.sequence);
                    return Ok(());
                }
                Err(FeedError::Moved) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }

    /// Revision, commit and body of what a key has, read from the leader.
    async fn value(&self, key: &str) -> Result<Option<(u64, CommitNumber, Vec<u8>)>, Trouble> {
        let doing = "read a value of a bucket";
        match self.bus.server().last_message(&format!("KV_{}", self.name), &self.subject(key)).await {
            Ok(message) => Ok(Some((message.sequence, commit_of(&message), message.body.to_vec()))),
            Err(error) if error.said == Said::NoMessage => Ok(None),
            Err(error) => Err(error.trouble(doing)),
        }
    }
}

fn commit_of(message: &Stored) -> CommitNumber {
    let commit = message.headers.value(channel::COMMIT).and_then(|text| text.parse().ok());
    CommitNumber::new(commit.unwrap_or(0))
}

fn value_of(message: &Stored) -> Value {
    let is_there = message.headers.value(header::BUCKET_OPERATION).is_none();
    Value { commit: commit_of(message), value: is_there.then(|| message.body.to_vec()) }
}

/// The name of the stream keeps the value out of others: who may read it can have it delivered to any subject.
fn value_message(bucket: &str, commit: CommitNumber, value: Option<&[u8]>, expected: u64) -> Publish {
    let message = Publish::new(value.unwrap_or_default().to_vec())
        .expected_stream(format!("KV_{bucket}"))
        .header(channel::COMMIT, commit.to_string())
        .expected_last_subject_sequence(expected);
    // What is gone has a marker, as buckets mark it.
    if value.is_none() { message.header(header::BUCKET_OPERATION, "DEL") } else { message }
}

fn read_tail(since: &str, commit: &str, step: &str) -> Option<(CommitNumber, CommitNumber, usize, usize)> {
    let (number, of) = step.split_once('/')?;
    let [since, commit] = [since, commit].map(|text| text.parse().ok().map(CommitNumber::new));
    Some((since?, commit?, number.parse().ok()?, of.parse().ok()?))
}

fn sorted(error: Failed) -> FeedError {
    match error.said {
        // Another writer's message came in between, or an answer was lost before.
        Said::Moved => FeedError::Moved,
        _ => error.trouble("take a change").into(),
    }
}
