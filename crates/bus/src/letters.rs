//! Dead letters: messages of the queue that can never be taken as they are. Each is kept as it came, with its reason,
//! until somebody sends it again, mended or not, or drops it with a reason; then it is kept as settled.

use std::time::Duration;

use lotline_ledger::LedgerId;
use lotline_wire::channel;

use crate::connect::Bus;
use crate::denied::{Act, names};
use crate::error::Trouble;
use crate::intake;
use crate::seam::{Headers, Job, Publish, Retention, Said, Stored, StreamConfig};

/// For so long the server knows by its id that it has a letter already.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3_600);
/// The longest reason, in bytes.
const REASON_MAX: usize = 1_000;
/// The headers of a letter that are not the message's own.
const OWN: [&str; 8] = [
    channel::REASON,
    channel::REASON_CODE,
    channel::ORIGINAL_SUBJECT,
    channel::ORIGINAL_SEQUENCE,
    channel::ORIGINAL_TIME,
    channel::DELIVERIES,
    channel::SETTLED,
    channel::SETTLED_REASON,
];

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number among the dead letters; 0 before it is there.
    pub number: u64,
    /// Why.
    pub reason: String,
    /// The same as a code.
    pub code: u16,
    /// The subject that it was sent to.
    pub subject: String,
    /// Its sequence in the queue.
    pub sequence: u64,
    /// When it came (RFC 3339).
    pub came: String,
    /// How often it was delivered.
    pub deliveries: i64,
    /// Its headers, as they came.
    pub headers: Vec<(String, String)>,
    /// Its body, as it came.
    pub body: Vec<u8>,
    /// Whether it was sent again or dropped, and why.
    pub settled: Option<Settled>,
}

/// What was done about a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is in the queue again.
    Sent,
    /// It was given up.
    Dropped {
        /// Why.
        reason: String,
    },
}

impl Letter {
    /// A message of the queue, as a letter without a reason.
    pub(crate) fn of(job: &Job) -> Option<Self> {
        let (place, message) = (job.place?, &job.message);
        Some(Self {
            number: 0,
            reason: String::new(),
            code: 0,
            subject: message.subject.clone(),
            sequence: place.sequence,
            came: rfc3339(place.came.0, place.came.1),
            deliveries: place.deliveries,
            headers: message.headers.clone().into_pairs(),
            body: message.body.to_vec(),
            settled: None,
        })
    }

    fn read(message: &Stored) -> Self {
        let text = |name: &str| message.headers.value(name).unwrap_or_default().to_owned();
        let all = message.headers.clone().into_pairs();
        let headers = all
            .into_iter()
            .filter(|(name, _)| !is_own(name) && !name.starts_with("Nats-"))
            .map(|(name, value)| (name.strip_prefix(channel::ORIGINAL_PREFIX).unwrap_or(&name).to_owned(), value));
        let settled = match text(channel::SETTLED).as_str() {
            "sent" => Some(Settled::Sent),
            "dropped" => Some(Settled::Dropped { reason: text(channel::SETTLED_REASON) }),
            _ => None,
        };
        Self {
            number: message.sequence,
            reason: text(channel::REASON),
            code: text(channel::REASON_CODE).parse().unwrap_or(0),
            subject: text(channel::ORIGINAL_SUBJECT),
            sequence: text(channel::ORIGINAL_SEQUENCE).parse().unwrap_or(0),
            came: text(channel::ORIGINAL_TIME),
            deliveries: text(channel::DELIVERIES).parse().unwrap_or(0),
            headers: headers.collect(),
            body: message.body.to_vec(),
            settled,
        }
    }

    /// The last token of its subject.
    fn source(&self) -> &str {
        self.subject.rsplit('.').next().unwrap_or_default()
    }

    fn message(&self) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in &self.headers {
            // What means something to the server must not mean it here.
            let own = is_own(name) || name.to_ascii_lowercase().starts_with("nats-");
            let name = if own { format!("{}{name}", channel::ORIGINAL_PREFIX) } else { name.clone() };
            headers.append(name, intake::one_line(value));
        }
        headers.insert(channel::REASON, cut(&intake::one_line(&self.reason)));
        headers.insert(channel::REASON_CODE, self.code.to_string());
        headers.insert(channel::ORIGINAL_SUBJECT, self.subject.as_str());
        headers.insert(channel::ORIGINAL_SEQUENCE, self.sequence.to_string());
        headers.insert(channel::ORIGINAL_TIME, self.came.as_str());
        headers.insert(channel::DELIVERIES, self.deliveries.to_string());
        match &self.settled {
            None => {}
            Some(Settled::Sent) => headers.insert(channel::SETTLED, "sent"),
            Some(Settled::Dropped { reason }) => {
                headers.insert(channel::SETTLED, "dropped");
                headers.insert(channel::SETTLED_REASON, intake::one_line(reason));
            }
        }
        headers
    }
}

/// Whether a subject is one of the queue or its dead letters, or of questions about their streams.
pub(crate) fn of_letters(ledger: &str) -> impl Fn(Act, &str) -> bool {
    let names_of = [channel::queue_stream(ledger), channel::dead_stream(ledger)];
    let subjects = ["queue", "dead-letters", "settled-letters"].map(|word| format!("lotline.{ledger}.{word}."));
    move |_, subject| {
        names_of.iter().any(|name| names(subject, name)) || subjects.iter().any(|own| subject.starts_with(own))
    }
}

/// So much of a reason as has room beside the largest message.
fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_MAX)]
}

fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn rfc3339(seconds: i64, nanos: u32) -> String {
    let micros = seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanos / 1_000));
    lotline_wire::answer::instant_of_micros(micros)
}

impl Bus {
    /// The open dead letters of a ledger, or all of them, settled ones included; in order of their numbers.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn letters(&self, ledger: LedgerId, settled_too: bool) -> Result<Vec<Letter>, Trouble> {
        let ledger = ledger.to_string();
        let subject = if settled_too { format!("lotline.{ledger}.>") } else { channel::dead_subject(&ledger, "*") };
        let read = async {
            let mut letters = Vec::new();
            let mut from = 1;
            while let Some(letter) = self.next_letter(&ledger, from, &subject).await? {
                from = letter.number + 1;
                letters.push(letter);
            }
            Ok(letters)
        };
        self.block_on(self.unless_denied("read the dead letters", of_letters(&ledger), read))
    }

    /// A dead letter; `None` where there is none of this number.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn letter(&self, ledger: LedgerId, number: u64) -> Result<Option<Letter>, Trouble> {
        let ledger = ledger.to_string();
        let subject = format!("lotline.{ledger}.>");
        let read = self.next_letter(&ledger, number, &subject);
        let found = self.block_on(self.unless_denied("read a dead letter", of_letters(&ledger), read))?;
        Ok(found.filter(|letter| letter.number == number))
    }

    async fn next_letter(&self, ledger: &str, from: u64, subject: &str) -> Result<Option<Letter>, Trouble> {
        let doing = "read a dead letter";
        match self.server().next_message(&channel::dead_stream(ledger), from, subject).await {
            Ok(message) => Ok(Some(Letter::read(&message))),
            // Without a stream nothing was taken in for this ledger yet.
            Err(error) if matches!(error.said, Said::NoMessage | Said::NoStream) => Ok(None),
            Err(error) => Err(error.trouble(doing)),
        }
    }

    /// Puts a letter's message into the queue again, with another body where one is given, and settles the letter.
    /// Killed in between, the letter stays open, and the message may be there twice: it takes effect once.
    ///
    /// # Errors
    /// When the server refuses, or does not answer; then the letter is open still.
    pub fn send_again(&self, ledger: LedgerId, letter: &Letter, mended: Option<Vec<u8>>) -> Result<(), Trouble> {
        let mut headers = Headers::new();
        for (name, value) in &letter.headers {
            // Under its old id the server would take it for the message that came before, and drop it.
            if !name.to_ascii_lowercase().starts_with("nats-") {
                headers.append(name.clone(), intake::one_line(value));
            }
        }
        let body = mended.unwrap_or_else(|| letter.body.clone());
        let message = Publish::new(body).headers(headers);
        let message = message.expected_stream(channel::queue_stream(&ledger.to_string()));
        let send = async {
            self.publish("put a message into the queue", letter.subject.clone(), message).await?;
            self.settle(ledger, letter, Settled::Sent).await
        };
        self.block_on(self.unless_denied("send a dead letter again", of_letters(&ledger.to_string()), send))
    }

    /// Gives a letter up. It is kept among the settled ones, with the reason.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub fn drop_letter(&self, ledger: LedgerId, letter: &Letter, reason: &str) -> Result<(), Trouble> {
        let settle = self.settle(ledger, letter, Settled::Dropped { reason: reason.to_owned() });
        self.block_on(self.unless_denied("drop a dead letter", of_letters(&ledger.to_string()), settle))
    }

    async fn settle(&self, ledger: LedgerId, letter: &Letter, settled: Settled) -> Result<(), Trouble> {
        let ledger = ledger.to_string();
        let name = channel::dead_stream(&ledger);
        let copy = Letter { settled: Some(settled), ..letter.clone() };
        let message = Publish::new(copy.body.clone()).headers(copy.message());
        let message = message.expected_stream(&name).id(format!("settled.{}.{}", letter.number, letter.came));
        self.publish("keep a settled letter", channel::settled_subject(&ledger, letter.source()), message).await?;
        let doing = "remove a settled letter from the open ones";
        self.server().delete(&name, letter.number).await.map_err(|error| error.trouble(doing))
    }

    /// Stores a letter; the same one again is known by its id.
    pub(crate) async fn put_letter(&self, ledger: &str, letter: &Letter) -> Result<(), Trouble> {
        let id = format!("{}.{}", letter.sequence, letter.came);
        let message = Publish::new(letter.body.clone()).headers(letter.message());
        let message = message.expected_stream(channel::dead_stream(ledger)).id(id);
        self.publish("store a dead letter", channel::dead_subject(ledger, letter.source()), message).await
    }

    async fn publish(&self, doing: &'static str, to: String, message: Publish) -> Result<(), Trouble> {
        let sent = self.server().publish(to, message).await.map_err(|error| error.trouble(doing))?;
        sent.await.map(drop).map_err(|error| error.trouble(doing))
    }

    /// Makes a stream as it has to be, where there is none; one that is there is left as it is, if it will do.
    pub(crate) async fn need_stream(&self, config: StreamConfig) -> Result<(), Trouble> {
        let there = match self.server().stream(&config.name).await {
            Ok(info) => info,
            Err(error) if error.said == Said::NoStream => {
                return self.server().make_stream(config).await.map_err(|error| error.trouble("make a stream"));
            }
            Err(error) if !self.has_streams() && error.said == Said::Nothing => return Err(Trouble::NoJetStream),
            Err(error) => return Err(error.trouble("tell the state of a stream")),
        };
        let why = if there.retention != config.retention {
            Some("its retention is another one")
        } else if !there.discards_new {
            Some("it would drop old messages when it is full, instead of refusing new ones")
        } else if !config.subjects.iter().all(|subject| there.subjects.contains(subject)) {
            Some("it does not listen to the subjects that it has to")
        } else {
            None
        };
        why.map_or(Ok(()), |why| Err(Trouble::Unsuitable { stream: config.name, why }))
    }
}

/// The stream of dead letters. Nothing in it is ever dropped by the server.
pub(crate) fn dead_letters(ledger: &str) -> StreamConfig {
    StreamConfig {
        name: channel::dead_stream(ledger),
        description: format!("messages that could not be taken into Lotline ledger {ledger}"),
        subjects: vec![channel::dead_subject(ledger, "*"), channel::settled_subject(ledger, "*")],
        retention: Retention::Limits,
        duplicate_window: Some(KNOWN_FOR),
        ..StreamConfig::default()
    }
}

/// The work-queue stream.
pub(crate) fn queue(ledger: &str, messages_max: i64) -> StreamConfig {
    StreamConfig {
        name: channel::queue_stream(ledger),
        description: format!("commands on their way into Lotline ledger {ledger}"),
        subjects: vec![channel::queue_subject(ledger, "*")],
        retention: Retention::WorkQueue,
        // When it is full the publisher is told.
        max_messages: u64::try_from(messages_max).ok().filter(|most| *most > 0),
        max_message_size: Some(intake::STORED_MAX),
        // Only that a repeated message need not travel: the ledger knows its id for ever.
        duplicate_window: Some(Duration::from_secs(120)),
        ..StreamConfig::default()
    }
}
