//! What comes in over NATS: read, handed to the handler, answered.

mod event;
mod form;

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use lotline_bus::{Answer, Incoming, Means, Reply, Taker};
use lotline_domain::id::SourceId;
use lotline_epcis::{self as epcis, Options as EpcisOptions};
use lotline_handler::{Handler, SubmitError};
use lotline_wire::answer::{Outcome, Refusal};
use lotline_wire::channel::{self, code};
use lotline_wire::command::{Defaults, parse_command_with};

use self::form::Form;
use crate::args::OnError;
use crate::capture;
use crate::failure::{Exit, Failure, exit_of};
use crate::outcome::{Counted, Names, answer, failed, word};

/// So many documents may wait for the thread that takes them, one after the other.
const DOCUMENTS: usize = 64;
/// What is wrong with a disk or a clock takes a while to be mended.
const LATER: Duration = Duration::from_secs(1);

/// A document on its way.
struct Document {
    body: Vec<u8>,
    source: SourceId,
    on_error: OnError,
    reply: Reply,
}

/// The desk where messages are taken.
pub struct Desk<'h> {
    handler: &'h Handler,
    documents: SyncSender<Document>,
    counted: Counted,
}

/// The thread's end of a desk.
pub struct Documents<'h> {
    handler: &'h Handler,
    coming: Receiver<Document>,
    counted: Counted,
}

impl<'h> Desk<'h> {
    /// A desk, and what a thread of its own has to do: see [`Documents::work`].
    pub fn new(handler: &'h Handler, counted: Counted) -> (Self, Documents<'h>) {
        let (documents, coming) = sync_channel(DOCUMENTS);
        (Self { handler, documents, counted: counted.clone() }, Documents { handler, coming, counted })
    }

    fn read(&self, message: Incoming, reply: &Reply) -> Result<(), Answer> {
        let source = SourceId::parse(&message.source)
            .map_err(|error| unreadable(None, format!("the source that the subject names {error}")))?;
        match form::of(&message)? {
            Form::Native => self.command(&message, source, reply),
            Form::Epcis => {
                let on_error = on_error(&message)?;
                let document = Document { body: message.body, source, on_error, reply: reply.clone() };
                self.documents.try_send(document).map_err(|error| match error {
                    TrySendError::Full(_) => not_now(code::BUSY, "too many documents are waiting".to_owned()),
                    TrySendError::Disconnected(_) => not_now(code::NOT_NOW, "the service is ending".to_owned()),
                })
            }
        }
    }

    fn command(&self, message: &Incoming, source: SourceId, reply: &Reply) -> Result<(), Answer> {
        let text = std::str::from_utf8(&message.body).map_err(|error| {
            unreadable(None, format!("is not UTF-8: byte {} begins no character", error.valid_up_to()))
        })?;
        let text = event::completed(message, text.trim()).map_err(|text| unreadable(None, text))?;
        let defaults = Defaults { source: Some(&source), secret: Some(self.handler.secret()) };
        let command = parse_command_with(&text, defaults).map_err(|error| {
            let path = (!error.path.is_empty()).then_some(error.path);
            unreadable(path, error.problem.to_string())
        })?;
        let own = &command.event.source;
        if *own != source {
            let message = format!("names {own}, and the subject it was sent to is that of {source}");
            return Err(refusal(code::OTHER_SOURCE, Some("source".to_owned()), message));
        }
        let names = Names::from(&command);
        let ledger = self.handler.reader().ledger();
        let (later, told, counted) = (reply.clone(), names.clone(), self.counted.clone());
        let submitted = self.handler.submit_with(command, move |taken| {
            later.give(match taken {
                Ok(taken) => {
                    let outcome = answer(ledger, &told, &taken).0;
                    counted.count(&outcome);
                    of_outcome(&outcome)
                }
                Err(error) => {
                    let answer = of_failure(&told, &error);
                    count_error(&counted, &answer);
                    answer
                }
            });
        });
        submitted.map_err(|error| of_failure(&names, &error))
    }
}

impl Taker for Desk<'_> {
    fn take(&self, message: Incoming, reply: Reply) {
        if let Err(answer) = self.read(message, &reply) {
            count_error(&self.counted, &answer);
            reply.give(answer);
        }
    }
}

impl Documents<'_> {
    /// Takes documents, until the desk is gone.
    pub fn work(self) {
        for Document { body, source, on_error, reply } in &self.coming {
            reply.give(self.handler_takes(&body, source, on_error));
        }
    }

    fn handler_takes(&self, body: &[u8], source: SourceId, on_error: OnError) -> Answer {
        let captured = match epcis::parse(body, &EpcisOptions::new(source)) {
            Ok(captured) => captured,
            Err(error) => {
                let answer = unreadable(None, error.to_string());
                count_error(&self.counted, &answer);
                return answer;
            }
        };
        match capture::taken(self.handler, &captured, on_error) {
            Ok(outcomes) => {
                outcomes.iter().for_each(|outcome| self.counted.count(outcome));
                of_document(&outcomes)
            }
            Err(failure) => of_end(&failure),
        }
    }
}

fn on_error(message: &Incoming) -> Result<OnError, Answer> {
    match message.header(channel::ON_ERROR) {
        None | Some("rollback") => Ok(OnError::Rollback),
        Some("proceed") => Ok(OnError::Proceed),
        Some(other) => {
            let what = format!("the header {} is {other:?}, and has to be rollback or proceed", channel::ON_ERROR);
            Err(unreadable(None, what))
        }
    }
}

/// Counts an answer to a single command that was not taken; who is told to come again has no answer yet.
fn count_error(counted: &Counted, answer: &Answer) {
    let is_busy = matches!(answer.means, Means::NotNow { code: code::BUSY, .. });
    if let Ok(outcome) = serde_json::from_slice(&answer.body)
        && !is_busy
    {
        counted.count(&outcome);
    }
}

fn json(outcome: &Outcome) -> Vec<u8> {
    serde_json::to_vec(outcome).expect("an answer has text keys only")
}

/// What an outcome means for its message, where it is not one of a failure.
fn meaning(outcome: &Outcome) -> Means {
    match outcome {
        Outcome::Recorded { .. } | Outcome::Duplicate { .. } | Outcome::Rejected { .. } => Means::Done,
        Outcome::Conflict { id, first, .. } => Means::Refused {
            code: code::CONFLICT,
            reason: format!(
                "the id {id} was used before with other content, at position {}; the first use stands",
                first.position
            ),
        },
        Outcome::Refused(refusal) => {
            let Refusal { line, path, message, .. } = refusal;
            let line = line.map_or_else(String::new, |line| format!("line {line}: "));
            let path = path.as_ref().map_or_else(|| "the message ".to_owned(), |path| format!("{path}: "));
            Means::Refused { code: code::UNREADABLE, reason: format!("{line}{path}{message}") }
        }
        Outcome::Failed { message, .. } => {
            Means::NotNow { code: code::NOT_NOW, reason: message.clone(), retry_after: LATER }
        }
    }
}

fn of_outcome(outcome: &Outcome) -> Answer {
    Answer { word: word(outcome).to_owned(), body: json(outcome), means: meaning(outcome) }
}

/// Of a command that was not taken.
fn of_failure(names: &Names, error: &SubmitError) -> Answer {
    let (outcome, exit) = failed(None, None, names, error);
    let means = match (error, meaning(&outcome)) {
        (SubmitError::Busy { retry_after }, _) => {
            Means::NotNow { code: code::BUSY, reason: error.to_string(), retry_after: *retry_after }
        }
        (SubmitError::TooLarge(_) | SubmitError::Unfit(_), Means::Refused { reason, .. }) => {
            Means::Refused { code: code::TOO_LARGE, reason }
        }
        (SubmitError::Stopped(_) | SubmitError::Load(_), _) => Means::Stopped { reason: error.to_string() },
        (_, means) => means,
    };
    debug_assert!(exit != Exit::Done, "a failure");
    Answer { word: word(&outcome).to_owned(), body: json(&outcome), means }
}

/// Of a document that could not be taken for a reason that is not in it.
fn of_end(error: &SubmitError) -> Answer {
    let means = match (error, exit_of(error)) {
        (SubmitError::Stopped(_) | SubmitError::Load(_), _) => Means::Stopped { reason: error.to_string() },
        (SubmitError::Busy { retry_after }, _) => {
            Means::NotNow { code: code::BUSY, reason: error.to_string(), retry_after: *retry_after }
        }
        (_, Exit::Input) => Means::Refused { code: code::TOO_LARGE, reason: error.to_string() },
        _ => Means::NotNow { code: code::NOT_NOW, reason: error.to_string(), retry_after: LATER },
    };
    Answer { word: "failed".to_owned(), body: Vec::new(), means }
}

/// Of a document: one answer per line, and the worst of them decides.
fn of_document(outcomes: &[Outcome]) -> Answer {
    let lines: Vec<u8> = outcomes.iter().flat_map(|outcome| [json(outcome), b"\n".to_vec()].concat()).collect();
    let refused = outcomes.iter().filter(|outcome| !matches!(meaning(outcome), Means::Done | Means::DoneInParts));
    let count = refused.clone().count();
    let weight = |outcome: &&Outcome| match meaning(outcome) {
        Means::Done | Means::DoneInParts => 0,
        Means::Refused { .. } => 1,
        Means::NotNow { .. } => 2,
        Means::Stopped { .. } => 3,
    };
    let Some(worst) = refused.max_by_key(weight) else {
        let first = outcomes.iter().find(|outcome| matches!(outcome, Outcome::Recorded { .. })).or(outcomes.first());
        let word = first.map_or("recorded", word).to_owned();
        return Answer { word, body: lines, means: Means::Done };
    };
    let means = match meaning(worst) {
        Means::Refused { code, reason } => {
            Means::Refused { code, reason: format!("{reason} ({count} of {} refused)", outcomes.len()) }
        }
        other => other,
    };
    // The answer stands in a header, which has no room for thousands.
    Answer { word: word(worst).to_owned(), body: json(worst), means }
}

fn refusal(code: u16, path: Option<String>, message: String) -> Answer {
    let outcome = Outcome::Refused(Refusal { file: None, line: None, path, message });
    let Means::Refused { reason, .. } = meaning(&outcome) else { unreachable!("it is refused") };
    Answer { word: word(&outcome).to_owned(), body: json(&outcome), means: Means::Refused { code, reason } }
}

fn unreadable(path: Option<String>, message: String) -> Answer {
    refusal(code::UNREADABLE, path, message)
}

fn not_now(code: u16, reason: String) -> Answer {
    Answer { word: "busy".to_owned(), body: Vec::new(), means: Means::NotNow { code, reason, retry_after: LATER } }
}

/// What ends an intake ends the service.
pub fn ended(error: lotline_bus::IntakeError) -> Failure {
    match error {
        lotline_bus::IntakeError::Stopped { .. } => Failure::new(Exit::Disk, error.to_string())
            .advice("start the service again: only that tells what was recorded"),
        lotline_bus::IntakeError::Server(trouble) => super::troubled(trouble),
    }
}
