//! What those do who send commands, ask questions or read what is told: for programs that embed a server, and for tests.
//! Elsewhere any NATS client does it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lotline_wire::channel;
use tokio::time::{Instant, timeout_at};

use crate::connect::Bus;
use crate::denied::names;
use crate::error::Trouble;
use crate::seam::{Failed, Headers, Message, Publish, Said, Stored};

/// A message, as it came or as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its subject.
    pub subject: String,
    /// Its sequence, where it is one of a stream's; else 0.
    pub sequence: u64,
    /// Its headers, in no order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Received {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl From<Message> for Received {
    fn from(message: Message) -> Self {
        let Message { subject, headers, body, .. } = message;
        Self { subject, sequence: 0, headers: headers.into_pairs(), body: body.to_vec() }
    }
}

impl From<Stored> for Received {
    fn from(stored: Stored) -> Self {
        let Stored { sequence, subject, headers, body } = stored;
        Self { subject, sequence, headers: headers.into_pairs(), body: body.to_vec() }
    }
}

/// What a server says of a message that a stream has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The stream.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// It was there already: one of its id was taken a while ago.
    pub duplicate: bool,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// How many messages it has.
    pub messages: u64,
    /// The sequence of the first one.
    pub first_sequence: u64,
    /// The sequence of the last one that it had.
    pub last_sequence: u64,
}

/// Why a message was not sent, or not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Split it: the server takes no message of this size.
    #[error("a message to {subject} has {size} bytes, and the server takes {most}")]
    TooLarge {
        /// Where it was to go.
        subject: String,
        /// What it has, headers included.
        size: usize,
        /// What is taken.
        most: usize,
    },
    /// Start who listens there, or correct the subject.
    #[error("nobody listens to {subject}")]
    Unheard {
        /// The subject.
        subject: String,
    },
    /// Look where the stream ends, and expect that: somebody else has put something there.
    #[error("the stream is not where it was expected to be")]
    Moved,
    /// The server does not do what it has to.
    #[error(transparent)]
    Server(#[from] Trouble),
}

const SENDING: &str = "send a message";
const READING: &str = "read a message";

fn headers_of(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    pairs.iter().for_each(|(name, value)| headers.append((*name).to_owned(), crate::intake::one_line(value)));
    headers
}

impl Bus {
    /// Puts a message into the stream that listens to a subject, a queued command for one, and returns when it is
    /// stored there. `Nats-Msg-Id` among the headers makes it known for a while.
    ///
    /// # Errors
    /// [`SendError`]; behind [`Trouble::Unreachable`] it may be stored all the same.
    pub fn put(&self, subject: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Put, SendError> {
        let message = Publish::new(body.to_vec()).headers(headers_of(headers));
        self.check_size(subject, &message.headers, body)?;
        let sorted = |error: Failed| match error.said {
            Said::Moved => SendError::Moved,
            _ => error.trouble(SENDING).into(),
        };
        let work = async {
            let taken = self.server().publish(subject.to_owned(), message).await.map_err(sorted)?;
            let taken = taken.await.map_err(sorted)?;
            Ok(Put { stream: taken.stream, sequence: taken.sequence, duplicate: taken.duplicate })
        };
        self.block_on(self.unless_denied(SENDING, |_, denied| denied == subject, work))
    }

    /// Sends a message to whoever listens, and waits for the answer: one message, or the parts of it in their order.
    ///
    /// # Errors
    /// [`SendError`]; an answer that is not whole after `patience` is [`Trouble::Unreachable`], and what was asked for
    /// may be done all the same.
    pub fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        patience: Duration,
    ) -> Result<Vec<Received>, SendError> {
        let headers = headers_of(headers);
        self.check_size(subject, &headers, body)?;
        let failed = |error: Failed| SendError::from(error.trouble(SENDING));
        let work = async {
            let ends = Instant::now() + patience;
            let inbox = self.server().inbox();
            let mut answers = self.server().subscribe(inbox.clone(), None).await.map_err(failed)?;
            let body = Bytes::copy_from_slice(body);
            self.server().send(subject.to_owned(), Some(inbox), headers, body).await.map_err(failed)?;
            let mut parts = Vec::new();
            loop {
                let Ok(Some(part)) = timeout_at(ends, answers.next()).await else {
                    let source = format!("{} parts of the answer came in {patience:?}", parts.len()).into();
                    return Err(Trouble::Unreachable { doing: "answer a request", source }.into());
                };
                if part.is_unheard {
                    return Err(SendError::Unheard { subject: subject.to_owned() });
                }
                let part = Received::from(part);
                let is_last = part.header(channel::PART).and_then(|text| text.split_once('/'));
                let is_last = is_last.is_none_or(|(number, of)| number == of);
                parts.push(part);
                if is_last {
                    return Ok(parts);
                }
            }
        };
        self.block_on(self.unless_denied(SENDING, |_, denied| denied == subject, work))
    }

    /// Sends a message to whoever listens, and waits for nothing.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, subject: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(), SendError> {
        let headers = headers_of(headers);
        self.check_size(subject, &headers, body)?;
        let sent = self.server().send(subject.to_owned(), None, headers, Bytes::copy_from_slice(body));
        self.block_on(sent).map_err(|error| error.trouble(SENDING).into())
    }

    /// Listens to the subjects that a pattern fits, from now on. Of a group each message comes to one.
    ///
    /// # Errors
    /// When the server does not do it.
    pub fn listen(&self, pattern: &str, group: Option<&str>) -> Result<Listening, Trouble> {
        let doing = "listen to a subject";
        let work = async {
            let messages = self.server().subscribe(pattern.to_owned(), group.map(str::to_owned)).await;
            messages.map_err(|error| error.trouble(doing))
        };
        let messages = self.block_on(self.unless_denied(doing, |_, denied| denied == pattern, work))?;
        Ok(Listening { messages, bus: self.clone() })
    }

    /// A message of a stream by its sequence; `None` where there is none.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn stored(&self, stream: &str, sequence: u64) -> Result<Option<Received>, Trouble> {
        let work = async { found(self.server().message(stream, sequence).await) };
        self.block_on(self.unless_denied(READING, |_, subject| names(subject, stream), work))
    }

    /// The first message of a stream at or behind a sequence whose subject fits a pattern; `None` where there is none.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn stored_from(&self, stream: &str, sequence: u64, pattern: &str) -> Result<Option<Received>, Trouble> {
        let work = async { found(self.server().next_message(stream, sequence, pattern).await) };
        self.block_on(self.unless_denied(READING, |_, subject| names(subject, stream), work))
    }

    /// The last message of a subject in a stream; `None` where there is none. Of a bucket the stream has the name
    /// behind `KV_`, and the subject is `$KV.BUCKET.KEY`.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn stored_last(&self, stream: &str, subject: &str) -> Result<Option<Received>, Trouble> {
        let work = async { found(self.server().last_message(stream, subject).await) };
        self.block_on(self.unless_denied(READING, |_, denied| names(denied, stream), work))
    }

    /// How far a stream has come; `None` where there is none.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn stream_state(&self, stream: &str) -> Result<Option<StreamState>, Trouble> {
        let doing = "tell the state of a stream";
        let work = async {
            match self.server().stream(stream).await {
                Ok(info) => {
                    let crate::seam::State { messages, first_sequence, last_sequence } = info.state;
                    Ok(Some(StreamState { messages, first_sequence, last_sequence }))
                }
                Err(error) if error.said == Said::NoStream => Ok(None),
                Err(error) => Err(error.trouble(doing)),
            }
        };
        self.block_on(self.unless_denied(doing, |_, subject| names(subject, stream), work))
    }

    fn check_size(&self, subject: &str, headers: &Headers, body: &[u8]) -> Result<(), SendError> {
        let (size, most) = (headers.size() + body.len(), self.max_payload());
        if size > most { Err(SendError::TooLarge { subject: subject.to_owned(), size, most }) } else { Ok(()) }
    }
}

fn found(found: Result<Stored, Failed>) -> Result<Option<Received>, Trouble> {
    match found {
        Ok(stored) => Ok(Some(stored.into())),
        Err(error) if error.said == Said::NoMessage => Ok(None),
        Err(error) => Err(error.trouble(READING)),
    }
}

/// Messages as they come, until it is dropped.
pub struct Listening {
    messages: BoxStream<'static, Message>,
    bus: Bus,
}

impl Listening {
    /// Waits for the next message; `None` where none came in time.
    pub fn next(&mut self, patience: Duration) -> Option<Received> {
        let messages = &mut self.messages;
        let next = self.bus.block_on(async { timeout_at(Instant::now() + patience, messages.next()).await });
        next.ok().flatten().map(Received::from)
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}
