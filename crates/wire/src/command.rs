//! Native commands: one JSON object per line, every fact in one flat, readable form.
//!
//! `schemas/commands/` has a JSON Schema and an example for each. Reading is strict: a field that is not
//! known, a quantity below zero, a time without offset are errors that name their place and what would do.

mod check;
mod convert;
pub(crate) mod facts;
pub(crate) mod form;

use std::borrow::Cow;
use std::fmt;

use lotline_domain::command::{Body, Command, Mode};
use lotline_domain::fact::{Event, Fact};
use lotline_domain::id::{CommandId, EventId, SourceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::{KEYS_MAX, keys_of};
use crate::payload::CORRECTION_DEPTH_MAX;
use crate::seal::LedgerSecret;
use facts::{FactForm, WORDS};
use form::{ModeWord, TimeText};

/// What a line may leave out, and how an event without an id gets one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Defaults<'a> {
    /// The source of commands that name none; without it they are refused.
    pub source: Option<&'a SourceId>,
    /// Where it is given, ids made from content that has free text are keyed, so that a text that was
    /// erased later cannot be guessed from its event's id.
    pub secret: Option<&'a LedgerSecret>,
}

/// Why a line is no command: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct CommandError {
    /// The place in the line: `lines[0].quantity.unit`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// Not JSON.
    #[error("is not JSON: {message} (at character {column})")]
    Malformed {
        /// What the parser says.
        message: String,
        /// Where it gave up, from 1.
        column: usize,
    },
    /// JSON, and no object.
    #[error("has to be an object: {{\"type\": …}}")]
    NotAnObject,
    /// No `type`, or not one of the known ones.
    #[error("{}; known types: {}", no_type(.given), WORDS.join(", "))]
    UnknownType {
        /// What was given, if anything.
        given: Option<String>,
    },
    /// A field is missing, unknown, given twice, of a wrong type, or its value is not allowed.
    #[error("{0}")]
    Field(String),
    /// More than an entry of the ledger can name.
    #[error("names {found} batches, containers and other things; an event may name {KEYS_MAX}: split it")]
    TooMany {
        /// How many keys it would need.
        found: usize,
    },
    /// Corrections of corrections of corrections.
    #[error("nests corrections deeper than {CORRECTION_DEPTH_MAX}")]
    TooDeep,
}

fn no_type(given: &Option<String>) -> String {
    given.as_ref().map_or_else(|| "has no type".to_owned(), |word| format!("{word:?} is no type"))
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, problem } = self;
        if path.is_empty() { write!(f, "the command {problem}") } else { write!(f, "{path}: {problem}") }
    }
}

impl CommandError {
    fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), problem: Problem::Field(message.into()) }
    }

    fn under(self, parent: &str) -> Self {
        let path = match self.path.as_str() {
            "" => parent.to_owned(),
            inner => format!("{parent}.{inner}"),
        };
        Self { path, problem: self.problem }
    }
}

/// The head of a command, as it is read.
#[derive(Debug)]
pub(crate) struct Head {
    id: Option<EventId>,
    command: Option<CommandId>,
    mode: Mode,
    source: Option<SourceId>,
    occurred_at: lotline_domain::time::OccurredAt,
    sequence: Option<u64>,
}

/// Reads one line; every command names its source and, if it is an intent, its id.
///
/// # Errors
/// [`CommandError`] with the place in the line and what would do.
pub fn parse_command(line: &str) -> Result<Command, CommandError> {
    parse_command_with(line, Defaults::default())
}

/// Reads one line, with defaults for what it leaves out.
///
/// # Errors
/// [`CommandError`] with the place in the line and what would do.
pub fn parse_command_with(line: &str, defaults: Defaults<'_>) -> Result<Command, CommandError> {
    let word = type_of(line)?;
    let (head, form) = FactForm::read_command(&word, line).ok_or_else(|| unknown_type(&word))??;
    let source = head.source.or_else(|| defaults.source.cloned()).ok_or_else(|| {
        CommandError::field("source", "is missing: name the system that reports this, such as \"erp-1\"")
    })?;
    let fact = form.into_fact(&source, 0)?;
    let nameless = head.id.is_none();
    if nameless && head.mode == Mode::Intent {
        return Err(CommandError::field("id", "is missing: an intent needs an id of its own, to be asked only once"));
    }
    let id = head.id.unwrap_or_else(|| EventId::parse("-").expect("a name"));
    let of_event = || CommandId::parse(id.as_str()).expect("the text of one name is another");
    let command = head.command.clone().unwrap_or_else(of_event);
    let event = Event { id, command, source, occurred_at: head.occurred_at, sequence: head.sequence, fact };
    let mut command = Command { mode: head.mode, event };
    if nameless {
        command.event.id = id_from_content(&command, head.command.is_some(), defaults.secret);
        if head.command.is_none() {
            command.event.command =
                CommandId::parse(command.event.id.as_str()).expect("the text of one name is another");
        }
    }
    check_keys(command)
}

/// The command as canonical JSON: one line, fields in one order, defaults left out. Reading it gives the
/// command again.
pub fn print_command(command: &Command) -> String {
    print(command, Some(&command.event.id))
}

#[derive(Serialize)]
struct Printed<'a> {
    #[serde(rename = "type")]
    word: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    mode: ModeWord,
    source: &'a str,
    occurred_at: TimeText,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(flatten)]
    fact: FactForm,
}

#[derive(Serialize)]
struct PrintedFact {
    #[serde(rename = "type")]
    word: &'static str,
    #[serde(flatten)]
    fact: FactForm,
}

fn print(command: &Command, id: Option<&EventId>) -> String {
    let event = &command.event;
    let fact = FactForm::from_fact(&event.fact, &event.source);
    let own = event.command.as_str() != event.id.as_str();
    let printed = Printed {
        word: fact.word(),
        id: id.map(EventId::as_str),
        command: own.then(|| event.command.as_str()),
        mode: ModeWord(command.mode),
        source: event.source.as_str(),
        occurred_at: TimeText(event.occurred_at),
        sequence: event.sequence,
        fact,
    };
    serde_json::to_string(&printed).expect("a command has text keys only")
}

/// A fact inside of another, without a head.
pub(crate) fn print_fact(fact: &Fact, source: &SourceId) -> String {
    let fact = FactForm::from_fact(fact, source);
    serde_json::to_string(&PrintedFact { word: fact.word(), fact }).expect("a fact has text keys only")
}

pub(crate) fn parse_fact(text: &str, source: &SourceId, depth: u8) -> Result<Fact, CommandError> {
    if depth > CORRECTION_DEPTH_MAX {
        return Err(CommandError { path: String::new(), problem: Problem::TooDeep });
    }
    let word = type_of(text)?;
    let form = FactForm::read_fact(&word, text).ok_or_else(|| unknown_type(&word))??;
    form.into_fact(source, depth)
}

/// `urn:lotline:blake3:` and the hash of the canonical form without `id` (and without `command`, unless given).
fn id_from_content(command: &Command, own_command: bool, secret: Option<&LedgerSecret>) -> EventId {
    let mut nameless = command.clone();
    if !own_command {
        nameless.event.command = CommandId::parse(nameless.event.id.as_str()).expect("the text of one name is another");
    }
    let canonical = print(&nameless, None);
    let hash = match secret.filter(|_| has_text(&command.event.fact)) {
        Some(secret) => blake3::keyed_hash(&secret.event_ids, canonical.as_bytes()),
        None => blake3::hash(canonical.as_bytes()),
    };
    EventId::parse(&format!("urn:lotline:blake3:{hash}")).expect("hex digits make a name")
}

/// Whether it holds what is stored sealed.
fn has_text(fact: &Fact) -> bool {
    use lotline_domain::fact::Correction;
    match fact {
        Fact::Held { reason: text, .. }
        | Fact::Released { reason: text, .. }
        | Fact::Adjusted { reason: text, .. }
        | Fact::ItemDefined { name: text, .. }
        | Fact::PlaceDefined { name: text, .. }
        | Fact::PartyDefined { name: text, .. } => text.is_some(),
        Fact::Corrected { correction, reason, actor, .. } => {
            let inner = match correction {
                Correction::Void => false,
                Correction::Supersede { fact, .. } => has_text(fact),
            };
            inner || reason.is_some() || actor.is_some()
        }
        Fact::Noted { .. } => true,
        _ => false,
    }
}

fn check_keys(command: Command) -> Result<Command, CommandError> {
    let lists = match &command.event.fact {
        Fact::Received { lines, containers, .. }
        | Fact::Packed { lines, containers, .. }
        | Fact::Unpacked { lines, containers, .. }
        | Fact::Shipped { lines, containers, .. }
        | Fact::Delivered { lines, containers, .. }
        | Fact::Returned { lines, containers, .. }
        | Fact::Seen { lines, containers, .. } => lines.len() + containers.len(),
        Fact::Moved { lines, .. }
        | Fact::Counted { lines, .. }
        | Fact::Disposed { lines, .. }
        | Fact::VesselFilled { lines, .. } => lines.len(),
        Fact::ContainerMoved { containers, .. } => containers.len(),
        Fact::Noted { batches, containers, .. } => batches.len() + containers.len(),
        Fact::Produced(report) => report.inputs.len() + report.outputs.len() + 2 * report.mapping.len(),
        Fact::Corrected { .. } => usize::MAX,
        _ => 0,
    };
    // An entry of a list has at most three keys; hashing them is left to who stores the event.
    if lists <= 1000 {
        return Ok(command);
    }
    let Command { mode, event } = command;
    let body = Body::Fact { mode, event, decided_on: None };
    let found = keys_of(&body).len();
    match body {
        Body::Fact { mode, event, .. } if found <= KEYS_MAX => Ok(Command { mode, event }),
        _ => Err(CommandError { path: String::new(), problem: Problem::TooMany { found } }),
    }
}

fn unknown_type(word: &str) -> CommandError {
    CommandError { path: "type".to_owned(), problem: Problem::UnknownType { given: Some(word.to_owned()) } }
}

#[derive(Deserialize)]
struct TypeOnly<'a> {
    #[serde(rename = "type", borrow)]
    word: Option<Cow<'a, str>>,
}

/// The word behind `type`, without reading the rest where it stands first.
fn type_of(text: &str) -> Result<Cow<'_, str>, CommandError> {
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if let Some((word, _)) = start.strip_prefix("{\"type\":\"").and_then(|rest| rest.split_once('"'))
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        return Ok(Cow::Borrowed(word));
    }
    let only: TypeOnly<'_> = match serde_json::from_str(text) {
        Ok(_) if !start.starts_with('{') => {
            return Err(CommandError { path: String::new(), problem: Problem::NotAnObject });
        }
        Ok(only) => only,
        Err(error) => {
            let located = explain::<TypeOnly<'_>>(text, error);
            return match located.problem {
                Problem::Field(_) if !start.starts_with('{') => {
                    Err(CommandError { path: String::new(), problem: Problem::NotAnObject })
                }
                _ => Err(located),
            };
        }
    };
    only.word.ok_or_else(|| CommandError { path: "type".to_owned(), problem: Problem::UnknownType { given: None } })
}

/// Reads a form, and finds out where it went wrong only if it did.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, CommandError> {
    serde_json::from_str(text).map_err(|error| explain::<T>(text, error))
}

fn explain<'t, T: Deserialize<'t>>(text: &'t str, error: serde_json::Error) -> CommandError {
    let message = message_of(&error);
    if !error.is_data() {
        let problem = Problem::Malformed { message, column: error.column() };
        return CommandError { path: String::new(), problem };
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(located) => {
            let path = located.path().to_string();
            let path = if path == "." { String::new() } else { path };
            CommandError::field(path, message_of(located.inner()))
        }
        Ok(_) => CommandError::field("", message),
    }
}

/// The parser's message without its line and column: a command is one line.
fn message_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
