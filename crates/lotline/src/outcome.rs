//! What came of a command, in the form of answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lotline_domain::command::Command;
use lotline_domain::id::{CommandId, EventId};
use lotline_handler as handler;
use lotline_ledger::LedgerId;
use lotline_wire::answer::{First, Outcome, Receipt, Refusal, Rejection, instant};

use crate::failure::{Exit, exit_of};

/// Counts what comes of commands; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Counted(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    answers: BTreeMap<&'static str, u64>,
    rules: BTreeMap<String, u64>,
}

impl Counted {
    /// One more.
    pub fn count(&self, outcome: &Outcome) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.answers.entry(word(outcome)).or_default() += 1;
        if let Outcome::Rejected { rejection, .. } = outcome {
            let rule = serde_json::to_value(&rejection.rule).ok();
            let name = rule.as_ref().and_then(|rule| rule["name"].as_str()).unwrap_or("other").to_owned();
            *counts.rules.entry(name).or_default() += 1;
        }
    }

    /// How many answers had each word, and how many rejections each rule.
    pub fn all(&self) -> (Vec<(&'static str, u64)>, Vec<(String, u64)>) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = WORDS.iter().map(|word| (*word, counts.answers.get(word).copied().unwrap_or(0)));
        (answers.collect(), counts.rules.iter().map(|(rule, count)| (rule.clone(), *count)).collect())
    }
}

const WORDS: [&str; 6] = ["recorded", "duplicate", "rejected", "conflict", "refused", "failed"];

/// What an answer begins with.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Recorded { .. } => "recorded",
        Outcome::Duplicate { .. } => "duplicate",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Conflict { .. } => "conflict",
        Outcome::Refused(_) => "refused",
        Outcome::Failed { .. } => "failed",
    }
}

/// The names of a command, kept for its answer.
#[derive(Debug, Clone)]
pub struct Names {
    command: CommandId,
    event: EventId,
}

impl From<&Command> for Names {
    fn from(command: &Command) -> Self {
        Self { command: command.event.command.clone(), event: command.event.id.clone() }
    }
}

impl Names {
    /// The ids of command and event.
    pub fn texts(&self) -> (String, String) {
        (self.command.to_string(), self.event.to_string())
    }
}

/// A receipt as answers have it.
pub fn receipt(ledger: LedgerId, receipt: &handler::Receipt) -> Receipt {
    Receipt {
        ledger: ledger.to_string(),
        position: receipt.position.0,
        commit: receipt.commit.0,
        commit_hash: receipt.hash.to_string(),
        recorded_at: instant(receipt.recorded_at.0),
    }
}

/// The answer to a command that was taken, and what it means for the exit code.
pub fn answer(ledger: LedgerId, names: &Names, outcome: &handler::Outcome) -> (Outcome, Exit) {
    let command = names.command.to_string();
    let event = names.event.to_string();
    match outcome {
        handler::Outcome::Accepted(at) => {
            (Outcome::Recorded { command, event, receipt: receipt(ledger, at) }, Exit::Done)
        }
        handler::Outcome::Duplicate { first, rejection: None } => {
            let first = First::Recorded { event, receipt: receipt(ledger, first) };
            (Outcome::Duplicate { command, first }, Exit::Done)
        }
        handler::Outcome::Duplicate { first, rejection: Some((rejection, decided_on)) } => {
            let first = First::Rejected {
                rejection: Rejection::from(rejection),
                decided_on: decided_on.0,
                receipt: receipt(ledger, first),
            };
            (Outcome::Duplicate { command, first }, Exit::No)
        }
        handler::Outcome::Rejected { rejection, decided_on, receipt: at } => {
            let answer = Outcome::Rejected {
                command,
                rejection: Rejection::from(rejection),
                decided_on: decided_on.0,
                receipt: receipt(ledger, at),
            };
            (answer, Exit::No)
        }
        handler::Outcome::Conflict { first, receipt: at } => {
            let (first, at) = (receipt(ledger, first), receipt(ledger, at));
            (Outcome::Conflict { command, id: event, first, receipt: Some(at) }, Exit::No)
        }
    }
}

/// The answer to a command that could not be taken.
pub fn failed(file: Option<&str>, line: Option<u64>, names: &Names, error: &handler::SubmitError) -> (Outcome, Exit) {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    let exit = exit_of(error);
    let outcome = match exit {
        // It is the command itself that does not fit.
        Exit::Input => Outcome::Refused(Refusal { file: file.map(str::to_owned), line, path: None, message }),
        // What was recorded after all is answered as a duplicate.
        _ => Outcome::Failed { command: names.command.to_string(), message, retry: exit != Exit::Damage },
    };
    (outcome, exit)
}

/// The exit code of several outcomes: what a script has to look at first.
pub fn worst(a: Exit, b: Exit) -> Exit {
    let weight = |exit: Exit| match exit {
        Exit::Done => 0,
        Exit::No => 1,
        Exit::Input => 2,
        Exit::Usage => 3,
        Exit::Busy => 4,
        Exit::Newer => 5,
        Exit::Disk => 6,
        Exit::Damage => 7,
        Exit::Denied => 8,
    };
    if weight(b) > weight(a) { b } else { a }
}
