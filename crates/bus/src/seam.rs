//! The seam between this room and a server: what is asked of one, in types of our own. Behind it stand a NATS server
//! (`nats.rs`) and one in this process (`in_process.rs`); what is above it is the same for both.

use std::borrow::Cow;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::watch;

use crate::error::{BoxError, Trouble};

/// Work that a server does, or why it did not.
pub(crate) type Doing<'a, T> = BoxFuture<'a, Result<T, Failed>>;

/// A server, seen over one connection.
pub(crate) trait Server: Debug + Send + Sync {
    /// Whether there is a connection now.
    fn is_connected(&self) -> bool;

    /// Counts how often the connection was made, to be watched.
    fn connected(&self) -> watch::Receiver<u64>;

    /// Whether it says that it keeps streams.
    fn has_streams(&self) -> bool;

    /// The largest message that it takes, in bytes, headers included.
    fn max_payload(&self) -> usize;

    /// A subject for answers that nobody else has.
    fn inbox(&self) -> String;

    /// Makes a stream; no error where it is there already, just as it should be.
    fn make_stream(&self, config: StreamConfig) -> Doing<'_, ()>;

    /// Makes a bucket that keeps one value per key, where there is none.
    fn need_bucket(&self, name: String, description: String) -> Doing<'_, ()>;

    /// The names of all streams.
    fn stream_names(&self) -> Doing<'_, Vec<String>>;

    /// What the leader says of a stream.
    fn stream<'a>(&'a self, name: &'a str) -> Doing<'a, StreamInfo>;

    /// A message by its sequence, read from the leader.
    fn message<'a>(&'a self, stream: &'a str, sequence: u64) -> Doing<'a, Stored>;

    /// The first message at or behind a sequence whose subject fits, read from the leader.
    fn next_message<'a>(&'a self, stream: &'a str, from: u64, subject: &'a str) -> Doing<'a, Stored>;

    /// The last message of a subject, read from the leader.
    fn last_message<'a>(&'a self, stream: &'a str, subject: &'a str) -> Doing<'a, Stored>;

    /// How many messages a stream has whose subjects fit.
    fn count<'a>(&'a self, stream: &'a str, subject: &'a str) -> Doing<'a, u64>;

    /// Deletes a message.
    fn delete<'a>(&'a self, stream: &'a str, sequence: u64) -> Doing<'a, ()>;

    /// Sends a message to a stream. When this is done the message is on its way, and others may be sent behind it; what
    /// it gives is the acknowledgement, which is waited for apart.
    fn publish(&self, subject: String, message: Publish) -> Doing<'_, Acknowledgement>;

    /// Reads a stream in order, from a sequence on, without end; nothing is acknowledged. The server forgets the reader
    /// when it restarts, or when nobody reads.
    fn read(&self, stream: String, read: Read) -> Doing<'_, BoxStream<'static, Result<Delivered, BoxError>>>;

    /// Takes jobs from a work queue through a consumer that the server keeps; all that name it share them.
    fn work(&self, stream: String, work: Work) -> Doing<'_, BoxStream<'static, Result<Job, BoxError>>>;

    /// Sends a message to whoever listens.
    fn send(&self, subject: String, reply: Option<String>, headers: Headers, body: Bytes) -> Doing<'_, ()>;

    /// Listens to subjects. Of a group each message comes to one.
    fn subscribe(&self, subject: String, group: Option<String>) -> Doing<'_, BoxStream<'static, Message>>;

    /// Offers a service under its endpoints.
    fn offer(&self, service: Service) -> Doing<'_, Endpoints>;
}

/// The way of an acknowledgement.
pub(crate) type Acknowledgement = BoxFuture<'static, Result<Taken, Failed>>;

/// Why a server did not do something.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What it said, as far as anybody cares.
    pub(crate) said: Said,
    /// Its words, or the client's.
    pub(crate) source: BoxError,
}

/// What a server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing: whether it was done is not known.
    Nothing,
    /// It cannot now: there is no leader yet, or it is just starting.
    NotNow,
    /// There is no such stream.
    NoStream,
    /// There is no such message.
    NoMessage,
    /// The stream, or the subject in it, does not end where it was expected to.
    Moved,
    /// No, for another reason.
    No,
}

impl Failed {
    /// By what can be done about it.
    pub(crate) fn trouble(self, doing: &'static str) -> Trouble {
        match self.said {
            // A stream that was there is made again by who fills it, when the server lost it.
            Said::Nothing | Said::NotNow | Said::NoStream => Trouble::Unreachable { doing, source: self.source },
            Said::NoMessage | Said::Moved | Said::No => Trouble::Refused { doing, source: self.source },
        }
    }
}

/// Headers, each with its values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(Cow<'static, str>, String)>);

impl Headers {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The first value.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Sets a header, in place of what it had.
    pub(crate) fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let name = name.into();
        self.0.retain(|(own, _)| *own != name);
        self.0.push((name, value.into()));
    }

    /// Gives a header one more value.
    pub(crate) fn append(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
    }

    /// How many bytes they take in a message.
    pub(crate) fn size(&self) -> usize {
        const FRAME: usize = "NATS/1.0\r\n\r\n".len();
        let own: usize = self.0.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum();
        if self.0.is_empty() { 0 } else { FRAME + own }
    }
}

impl IntoIterator for Headers {
    type Item = (Cow<'static, str>, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What servers read in messages to streams.
pub(crate) mod header {
    pub(crate) const ID: &str = "Nats-Msg-Id";
    pub(crate) const STREAM: &str = "Nats-Expected-Stream";
    pub(crate) const LAST_SEQUENCE: &str = "Nats-Expected-Last-Sequence";
    pub(crate) const LAST_ID: &str = "Nats-Expected-Last-Msg-Id";
    pub(crate) const LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
    /// The operation that a message in a bucket stands for, where it is no value.
    pub(crate) const BUCKET_OPERATION: &str = "KV-Operation";
    /// Of an answer that is an error.
    pub(crate) const ERROR: &str = "Nats-Service-Error";
    pub(crate) const ERROR_CODE: &str = "Nats-Service-Error-Code";
}

/// A message to a stream, with what the server has to find there first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Publish {
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

impl Publish {
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        Self { headers: Headers::new(), body: body.into() }
    }

    /// Sets all headers; before the others.
    pub(crate) fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// By this id the server knows it for a while.
    pub(crate) fn id(self, id: impl Into<String>) -> Self {
        self.header(header::ID, id)
    }

    pub(crate) fn expected_stream(self, name: impl Into<String>) -> Self {
        self.header(header::STREAM, name)
    }

    pub(crate) fn expected_last_sequence(self, sequence: u64) -> Self {
        self.header(header::LAST_SEQUENCE, sequence.to_string())
    }

    pub(crate) fn expected_last_id(self, id: impl Into<String>) -> Self {
        self.header(header::LAST_ID, id)
    }

    /// Sequence of the last message of the same subject; 0 for none.
    pub(crate) fn expected_last_subject_sequence(self, sequence: u64) -> Self {
        self.header(header::LAST_SUBJECT_SEQUENCE, sequence.to_string())
    }
}

/// What a server says of a message that it has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) stream: String,
    pub(crate) sequence: u64,
    /// It had it already, and that is its sequence.
    pub(crate) duplicate: bool,
}

/// A message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// A stream as it has to be. None drops old messages when it is full; none drops them for their age.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: Retention,
    /// So many messages may be in it.
    pub(crate) max_messages: Option<u64>,
    /// So many bytes may be in it.
    pub(crate) max_bytes: Option<u64>,
    /// So large may one be, headers included.
    pub(crate) max_message_size: Option<u32>,
    /// For so long ids are known; without it, for as long as the server is used to.
    pub(crate) duplicate_window: Option<Duration>,
    pub(crate) deny_delete: bool,
    pub(crate) deny_purge: bool,
    /// How many servers keep it.
    pub(crate) replicas: usize,
}

/// How long messages stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Retention {
    /// For ever.
    #[default]
    Limits,
    /// Until they are acknowledged.
    WorkQueue,
    /// As nobody here wants it.
    Other,
}

/// What is said of a stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamInfo {
    pub(crate) retention: Retention,
    /// It refuses messages when it is full.
    pub(crate) discards_new: bool,
    pub(crate) subjects: Vec<String>,
    pub(crate) state: State,
}

/// What a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) messages: u64,
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
}

/// How to read a stream.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// The reader's name.
    pub(crate) name: String,
    pub(crate) description: &'static str,
    pub(crate) from: u64,
    /// How much may be on its way.
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// The server says so often that it is still there.
    pub(crate) heartbeat: Duration,
    /// For so long one request for messages holds.
    pub(crate) pull: Duration,
    /// After so long without its reader the server forgets it.
    pub(crate) forgotten: Duration,
}

/// A message that was read.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) sequence: u64,
    pub(crate) body: Bytes,
}

/// How to take jobs.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// The consumer's name.
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// What is not acknowledged for so long comes again.
    pub(crate) ack_wait: Duration,
    /// So many may be out.
    pub(crate) max_pending: usize,
    /// So many are asked for at once.
    pub(crate) batch: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) pull: Duration,
}

/// A message of a queue, to be worked on.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message: Message,
    /// `None` where the server did not say it.
    pub(crate) place: Option<Place>,
    pub(crate) way: Box<dyn Way>,
}

/// Where a job stands in its queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    /// How often it was delivered, this time included.
    pub(crate) deliveries: i64,
    /// When it came, in seconds since 1970 and nanoseconds.
    pub(crate) came: (i64, u32),
}

/// The way back of a job.
pub(crate) trait Way: Debug + Send + Sync {
    /// Says how it stands, and waits for nothing.
    fn tell(&self, ack: Ack) -> Doing<'_, ()>;

    /// The same, and returns when the server has it.
    fn settle(&self, ack: Ack) -> Doing<'_, ()>;
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// It is done.
    Done,
    /// It has to come again, at once or after a while.
    Again(Option<Duration>),
    /// It is worked on.
    Progress,
    /// It must not come again.
    Never,
}

/// A message to whoever listens.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// It is the server's own, and nobody listens to what was sent.
    pub(crate) is_unheard: bool,
}

/// A service as tools find it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) version: String,
    pub(crate) about: Vec<(String, String)>,
    /// Name and subject of each.
    pub(crate) endpoints: Vec<(&'static str, String)>,
}

/// What comes to a service.
pub(crate) struct Endpoints {
    /// The requests of all endpoints.
    pub(crate) requests: BoxStream<'static, Request>,
    /// Ends it: further requests are not sent here; those on their way still come.
    pub(crate) stop: BoxFuture<'static, ()>,
}

/// A request.
pub(crate) struct Request {
    pub(crate) message: Message,
    pub(crate) answer: Box<dyn Respond>,
}

/// The way of an answer, counted as tools show it.
pub(crate) trait Respond: Send + Sync {
    /// Sends a body, or an error's code and text. An error where the message asks for no answer.
    fn respond(&self, answer: Result<Bytes, (u16, String)>, headers: Headers) -> BoxFuture<'_, Result<(), BoxError>>;
}
