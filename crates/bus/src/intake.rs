//! Intake: messages from a NATS server to whoever decides, and the answers back.
//!
//! Two ways in. A **request** is answered when its commit is durable; if it is not answered, nothing is promised. A
//! message in the **queue** is kept by the server until its commit is durable: it is delivered again after every
//! break, and the ledger knows by its id that it was recorded. What can never be taken goes to the dead letters.
//!
//! This room reads no body: it hands messages to a [`Taker`] and passes its answers on.

mod queue;
pub(crate) mod requests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lotline_ledger::LedgerId;
use lotline_wire::channel::{self, code};
use tokio::sync::oneshot;

use crate::connect::Bus;
use crate::error::Trouble;
use crate::letters;
use crate::seam::{Headers, Message};
use crate::stop::Stop;

use self::requests::Offered;

/// The largest message that is taken, in bytes: what can be recorded in one commit is not larger.
pub const MESSAGE_MAX: usize = 900_000;
/// The largest message that is queued, headers included. A dead letter has more of them, and has to fit, too.
pub(crate) const STORED_MAX: u32 = 900_000;

/// A message, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Who sends it, by the subject.
    pub source: String,
    /// Its headers, in no order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Incoming {
    /// The first value of a header; upper and lower case are one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What comes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the answer says in a word, such as `recorded`.
    pub word: String,
    /// The answer, as `schemas/answers/submit.schema.json` describes it; of a document one per line.
    pub body: Vec<u8>,
    /// What it means for the message.
    pub means: Means,
}

/// What an answer means for the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// It is answered for good, and that is durable; a business no is an answer, too.
    Done,
    /// The same, and the body may go in several messages.
    DoneInParts,
    /// It can never be taken as it is.
    Refused {
        /// Which error ([`code`]).
        code: u16,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is wrong with it: it may come again.
    NotNow {
        /// Which error ([`code`]).
        code: u16,
        /// Why not now.
        reason: String,
        /// When there may be room.
        retry_after: Duration,
    },
    /// Nothing can be taken any more, and whether this was is not known.
    Stopped {
        /// What has happened.
        reason: String,
    },
}

/// Whoever decides: messages are read and recorded there.
pub trait Taker: Sync {
    /// Takes a message. It must not wait: the answer is given on any thread, later, once its commit is durable.
    fn take(&self, message: Incoming, reply: Reply);
}

/// The way back of an answer; the first one counts. Where the last of its clones is dropped without one, the message
/// was not taken.
#[derive(Debug, Clone)]
pub struct Reply(Arc<Mutex<Option<oneshot::Sender<Answer>>>>);

impl Reply {
    fn new() -> (Self, oneshot::Receiver<Answer>) {
        let (tell, told) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(tell)))), told)
    }

    /// Gives the answer.
    pub fn give(&self, answer: Answer) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            // Who asked has gone away only if the intake ends.
            let _ = waiting.send(answer);
        }
    }
}

/// How much is taken at once.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// So many requests may wait for their answers; further ones are told when to come again. With a full queue's and
    /// a standard input's it has to be less than what a handler takes, so that nobody else is turned away for them.
    pub waiting: usize,
    /// So many messages may be in the queue; who publishes more is refused. Counts where the stream is made now.
    pub queue_messages: i64,
    /// A version that tools show beside the service.
    pub version: String,
}

impl Default for IntakeOptions {
    fn default() -> Self {
        Self { waiting: 2_048, queue_messages: 1_000_000, version: "0.1.0".to_owned() }
    }
}

/// What an intake has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TakenIn {
    /// Requests that were answered.
    pub requests: u64,
    /// Further requests that were told to come again.
    pub busy: u64,
    /// Messages of the queue that are answered for good.
    pub queued: u64,
    /// Messages of the queue that became dead letters.
    pub dead: u64,
}

/// Why an intake ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Whoever decides cannot go on.
    #[error("nothing more can be taken in: {reason}")]
    Stopped {
        /// What has happened.
        reason: String,
    },
    /// The server does not do what it has to.
    #[error(transparent)]
    Server(#[from] Trouble),
}

impl Bus {
    /// Takes messages in for a ledger until it is stopped; then what was begun is still answered. A server that goes
    /// away is waited for.
    ///
    /// # Errors
    /// [`IntakeError`].
    pub fn take_in(
        &self,
        ledger: LedgerId,
        taker: &impl Taker,
        options: &IntakeOptions,
        stop: &Stop,
    ) -> Result<TakenIn, IntakeError> {
        let intake = Intake { bus: self, ledger: ledger.to_string(), taker, options, stop };
        self.block_on(intake.run())
    }
}

/// An intake at work.
pub(crate) struct Intake<'a, T> {
    pub(crate) bus: &'a Bus,
    pub(crate) ledger: String,
    pub(crate) taker: &'a T,
    pub(crate) options: &'a IntakeOptions,
    pub(crate) stop: &'a Stop,
}

impl<T: Taker> Intake<'_, T> {
    async fn run(self) -> Result<TakenIn, IntakeError> {
        let offered = Offered {
            name: channel::SERVICE,
            description: "records commands in a Lotline ledger; the last token of the subject is the source",
            endpoints: vec![("submit", channel::submit_subject(&self.ledger, "*"))],
            only_answers: false,
        };
        let (requests, queue) = tokio::join!(self.requests(&offered), self.queue());
        let (requests, queue) = (requests?, queue?);
        Ok(TakenIn { queued: queue.queued, dead: queue.dead, ..requests })
    }

    /// Makes the streams of queue and dead letters, where they are not there.
    async fn streams(&self) -> Result<(), Trouble> {
        self.bus.need_stream(letters::queue(&self.ledger, self.options.queue_messages)).await?;
        self.bus.need_stream(letters::dead_letters(&self.ledger)).await
    }

    /// Asks whoever decides.
    async fn ask(&self, message: Incoming) -> Answer {
        let (reply, told) = Reply::new();
        self.taker.take(message, reply);
        told.await.unwrap_or_else(|_| Answer {
            word: "failed".to_owned(),
            body: Vec::new(),
            means: Means::NotNow {
                code: code::NOT_NOW,
                reason: "the service is ending; nothing was recorded".to_owned(),
                retry_after: Duration::from_secs(1),
            },
        })
    }

    /// What is wrong with a message whatever its body says.
    fn unfit(&self, message: &Incoming, size: usize) -> Option<(u16, String)> {
        if size > MESSAGE_MAX {
            let reason = format!("the message has {size} bytes, and {MESSAGE_MAX} are taken; split it");
            return Some((code::TOO_LARGE, reason));
        }
        let meant = message.header(channel::LEDGER)?;
        (!meant.eq_ignore_ascii_case(&self.ledger)).then(|| {
            (code::OTHER_LEDGER, format!("the message is for ledger {meant}, and this is ledger {}", self.ledger))
        })
    }
}

/// A message without what is NATS's own; `None` where its subject names no source.
fn incoming(message: &Message) -> Option<Incoming> {
    let source = message.subject.rsplit('.').next().and_then(channel::text_of)?;
    Some(Incoming { source, headers: message.headers.clone().into_pairs(), body: message.body.to_vec() })
}

/// A text as a header can hold it: in one line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

/// The headers of an answer.
fn headers_of(answer: &Answer) -> Headers {
    let mut headers = Headers::new();
    headers.insert(channel::ANSWER, one_line(&answer.word));
    if !matches!(answer.means, Means::Done | Means::DoneInParts) && !answer.body.is_empty() {
        headers.insert(channel::ANSWER_BODY, one_line(&String::from_utf8_lossy(&answer.body)));
    }
    if let Means::NotNow { retry_after, .. } = answer.means {
        headers.insert(channel::RETRY_AFTER, retry_after.as_millis().to_string());
    }
    headers
}

/// Code and text of an answer that is an error.
fn error_of(answer: &Answer) -> Option<(u16, String)> {
    match &answer.means {
        Means::Done | Means::DoneInParts => None,
        Means::Refused { code, reason } | Means::NotNow { code, reason, .. } => Some((*code, one_line(reason))),
        Means::Stopped { reason } => Some((code::STOPPED, one_line(reason))),
    }
}

fn refused(code: u16, reason: String) -> Answer {
    Answer { word: "refused".to_owned(), body: Vec::new(), means: Means::Refused { code, reason } }
}
