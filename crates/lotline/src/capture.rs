//! `capture`: EPCIS documents, each recorded whole or as far as it is good.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use lotline_domain::command::{Command, Mode};
use lotline_domain::id::SourceId;
use lotline_epcis::{self as epcis, Captured, MAPPING_VERSION, Mapped, Options, Spot};
use lotline_handler::{CaptureError, Handler, OnError, Outcome as Taken, Refusal as NotTaken, Submission, SubmitError};
use lotline_ledger::LedgerId;
use lotline_wire::answer::{First, Outcome, Refusal};

use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::outcome::{Names, answer, failed, receipt, worst};
use crate::print::{self, Sheet, finished, number, text};
use crate::submit;

/// How many refusals of a file are told one by one.
const TOLD_MAX: usize = 20;

impl From<args::OnError> for OnError {
    fn from(asked: args::OnError) -> Self {
        match asked {
            args::OnError::Rollback => Self::Rollback,
            args::OnError::Proceed => Self::Proceed,
        }
    }
}

/// What became of one document.
#[derive(Debug, Default)]
struct Told {
    events: u64,
    definitions: u64,
    recorded: u64,
    duplicates: u64,
    conflicts: u64,
    refused: u64,
    remarks: u64,
    outcomes: Vec<Outcome>,
    exit: Option<Exit>,
    rolled_back: bool,
}

/// `capture`.
///
/// # Errors
/// Where a file or the folder cannot be opened, or the disk fails.
pub fn capture(asked: &args::Capture) -> Result<Exit, Failure> {
    let source =
        SourceId::parse(&asked.source).map_err(|error| Failure::new(Exit::Usage, format!("--source {error}")))?;
    let options = Options { max_bytes: asked.max_bytes, ..Options::new(source) };
    let folder = Folder::new(&asked.folder.dir);
    let mut handler: Option<Handler> = None;
    let mut sheet = Sheet::new([
        text("file"),
        number("events"),
        number("definitions"),
        number("recorded"),
        number("duplicates"),
        number("conflicts"),
        number("refused"),
        number("remarks"),
    ]);
    let mut exit = Exit::Done;
    let mut outcomes = Vec::new();
    for file in &asked.files {
        let name = file.display().to_string();
        let told = match document(file, &options) {
            Err(failure) => {
                eprintln!("{failure}");
                exit = worst(exit, failure.exit());
                continue;
            }
            Ok(captured) => {
                if handler.is_none() {
                    handler = Some(folder.handler(None)?);
                }
                if asked.remarks {
                    remarks(&name, &captured);
                }
                let handler = handler.as_ref().expect("opened above");
                match record(handler, &name, &captured, asked.on_error) {
                    Ok(told) => told,
                    // What became of the files before it is told all the same.
                    Err(failure) => {
                        eprintln!("{name}: not recorded, and no file after it was read: {failure}");
                        exit = worst(exit, failure.exit());
                        break;
                    }
                }
            }
        };
        exit = worst(exit, told.exit.unwrap_or(Exit::Done));
        sheet.row([
            name.as_str().into(),
            told.events.into(),
            told.definitions.into(),
            told.recorded.into(),
            told.duplicates.into(),
            told.conflicts.into(),
            told.refused.into(),
            told.remarks.into(),
        ]);
        outcomes.extend(told.outcomes);
    }
    let head = handler.as_ref().map(|handler| handler.reader().head());
    if let Some(handler) = handler {
        handler.close()?;
    }
    if asked.form.json {
        finished(lines(&outcomes))?;
    } else {
        let last = head.map_or_else(
            || "Nothing was recorded.".to_owned(),
            |head| {
                format!("The ledger {} is at commit {}, with {} events.", head.ledger, head.commit, head.next_position)
            },
        );
        print::answer(&asked.form, &(), &[sheet], &last)?;
    }
    Ok(exit)
}

/// What was taken although something about it is odd, with its line.
fn remarks(file: &str, captured: &Captured) {
    for event in captured.master_data.iter().chain(&captured.events) {
        let epcis::Outcome::Mapped(mapped) = &event.outcome else { continue };
        for remark in &mapped.remarks {
            let before = mapped.original.as_bytes().iter().take(remark.at);
            let line = event.spot.line + before.filter(|byte| **byte == b'\n').count();
            eprintln!("{file}: line {line}: {}", remark.text);
        }
    }
}

fn lines(outcomes: &[Outcome]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for outcome in outcomes {
        serde_json::to_writer(&mut out, outcome)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads and parses a file, no more of it than is allowed.
fn document(path: &PathBuf, options: &Options) -> Result<Captured, Failure> {
    let limit = options.max_bytes as u64;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        let file = submit::open(path)?;
        match file.metadata() {
            // Not even begun: a file may be larger than the memory.
            Ok(about) if about.len() > limit => return Err(too_large(path, Some(about.len()), limit)),
            _ => file.take(limit + 1).read_to_end(&mut bytes),
        }
    };
    read.map_err(|error| Failure::new(Exit::Input, format!("cannot read {}", path.display())).because(error))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(path, None, limit));
    }
    epcis::parse(&bytes, options).map_err(|error| {
        Failure::new(Exit::Input, format!("{}: {error}", path.display())).advice("nothing of this file was recorded")
    })
}

fn too_large(path: &Path, size: Option<u64>, limit: u64) -> Failure {
    let size = size.map_or_else(|| "more".to_owned(), |size| format!("{size} bytes"));
    Failure::new(Exit::Input, format!("{}: the document has {size}, and {limit} are allowed", path.display()))
        .advice("nothing of this file was recorded; split it, or raise --max-bytes if there is memory for it")
}

/// A fact to record, and which element of the document it comes from.
struct Part<'c> {
    spot: &'c Spot,
    element: usize,
    names: Names,
}

fn submissions(captured: &Captured) -> (Vec<Submission>, Vec<Part<'_>>) {
    let mut submissions = Vec::new();
    let mut parts = Vec::new();
    for (element, event) in captured.master_data.iter().chain(&captured.events).enumerate() {
        let epcis::Outcome::Mapped(mapped) = &event.outcome else { continue };
        let mapped: &Mapped = mapped;
        for (index, fact) in mapped.events.iter().enumerate() {
            let command = Command { mode: Mode::Observation, event: fact.clone() };
            parts.push(Part { spot: &event.spot, element, names: Names::from(&command) });
            // The original is kept once, with the first fact made of it.
            let original = if index == 0 { mapped.original.clone().into_bytes() } else { Vec::new() };
            submissions.push(Submission::epcis(command, MAPPING_VERSION.into(), original, mapped.content.to_vec()));
        }
    }
    (submissions, parts)
}

fn record(handler: &Handler, file: &str, captured: &Captured, on_error: args::OnError) -> Result<Told, Failure> {
    let elements = || captured.master_data.iter().chain(&captured.events);
    let mut told = Told {
        events: captured.events.len() as u64,
        definitions: captured.master_data.len() as u64,
        remarks: captured.mapped().map(|mapped| mapped.remarks.len() as u64).sum(),
        ..Told::default()
    };
    let refusals: Vec<Refusal> = elements()
        .filter_map(|element| match &element.outcome {
            epcis::Outcome::Refused(error) => Some(refusal(file, &error.spot, error.fault.to_string())),
            _ => None,
        })
        .collect();
    if !refusals.is_empty() && on_error == args::OnError::Rollback {
        return Ok(told.rolled_back(file, refusals));
    }
    told.refused(refusals);
    let (submissions, parts) = submissions(captured);
    let answers: Vec<Result<Taken, SubmitError>> = if submissions.is_empty() {
        Vec::new()
    } else {
        match handler.capture(submissions, on_error.into()) {
            Ok(answers) => answers,
            Err(CaptureError::Refused(items)) => {
                let ledger = handler.reader().ledger();
                let mut refused = Vec::new();
                for (item, part) in items.iter().zip(&parts).filter_map(|(item, part)| Some((item.as_ref()?, part))) {
                    match not_taken(ledger, item, part) {
                        Outcome::Refused(why) => refused.push(Refusal { file: Some(file.to_owned()), ..why }),
                        conflict => told.conflicts_with(file, part, conflict),
                    }
                }
                return Ok(told.rolled_back(file, refused));
            }
            Err(CaptureError::Failed(error)) => return Err(error.into()),
            Err(error) => {
                return Ok(told.rolled_back(
                    file,
                    vec![Refusal { file: Some(file.to_owned()), line: None, path: None, message: error.to_string() }],
                ));
            }
        }
    };
    told.answered(handler, file, captured, &parts, &answers);
    Ok(told)
}

/// Records a document that came without a file; the answers, one for each of its facts and refusals.
///
/// # Errors
/// Where nothing of it was recorded for a reason that is not in it.
pub fn taken(handler: &Handler, captured: &Captured, on_error: args::OnError) -> Result<Vec<Outcome>, SubmitError> {
    let elements = captured.master_data.iter().chain(&captured.events);
    let refusals = elements.filter_map(|element| match &element.outcome {
        epcis::Outcome::Refused(error) => Some(told_of(&error.spot, error.fault.to_string())),
        _ => None,
    });
    let mut outcomes: Vec<Outcome> = refusals.map(Outcome::Refused).collect();
    if !outcomes.is_empty() && on_error == args::OnError::Rollback {
        return Ok(outcomes);
    }
    let (submissions, parts) = submissions(captured);
    if submissions.is_empty() {
        return Ok(outcomes);
    }
    let answers = match handler.capture(submissions, on_error.into()) {
        Ok(answers) => answers,
        Err(CaptureError::Failed(error)) => return Err(error),
        Err(CaptureError::Refused(items)) => {
            let ledger = handler.reader().ledger();
            let refused = items.iter().zip(&parts).filter_map(|(item, part)| Some((item.as_ref()?, part)));
            return Ok(refused.map(|(item, part)| not_taken(ledger, item, part)).collect());
        }
        Err(error) => {
            let spot = Spot { path: String::new(), line: 1, column: 1 };
            return Ok(vec![Outcome::Refused(told_of(&spot, error.to_string()))]);
        }
    };
    let ledger = handler.reader().ledger();
    outcomes.extend(parts.iter().zip(&answers).map(|(part, taken)| match taken {
        Ok(taken) => answer(ledger, &part.names, taken).0,
        Err(error) => failed(None, Some(part.spot.line as u64), &part.names, error).0,
    }));
    Ok(outcomes)
}

/// Why one fact of a document kept all of it from being recorded.
fn not_taken(ledger: LedgerId, why: &NotTaken, part: &Part<'_>) -> Outcome {
    match why {
        NotTaken::Conflict(Some(first)) => {
            let (command, event) = part.names.texts();
            Outcome::Conflict { command, id: event, first: receipt(ledger, first), receipt: None }
        }
        NotTaken::Conflict(None) => {
            let (_, event) = part.names.texts();
            let message = format!("another event of this document has the id {event} and other content");
            Outcome::Refused(told_of(part.spot, message))
        }
        other => Outcome::Refused(told_of(part.spot, other.to_string())),
    }
}

fn told_of(spot: &Spot, message: String) -> Refusal {
    let path = (!spot.path.is_empty()).then(|| spot.path.clone());
    Refusal { file: None, line: Some(spot.line as u64), path, message }
}

fn refusal(file: &str, spot: &Spot, message: String) -> Refusal {
    Refusal {
        file: Some(file.to_owned()),
        line: Some(spot.line as u64),
        path: (!spot.path.is_empty()).then(|| spot.path.clone()),
        message,
    }
}

impl Told {
    /// Nothing of the file is recorded; the reasons are told.
    fn rolled_back(mut self, file: &str, refusals: Vec<Refusal>) -> Self {
        self.rolled_back = true;
        self.refused(refusals);
        eprintln!("{file}: nothing of this file was recorded; mend it, or record the rest with --on-error proceed");
        self
    }

    /// The id of an element came before with other content, which stands.
    fn conflicts_with(&mut self, file: &str, part: &Part<'_>, conflict: Outcome) {
        if let Outcome::Conflict { id, first, .. } = &conflict {
            self.conflicts += 1;
            self.exit = Some(worst(self.exit.unwrap_or(Exit::Done), Exit::No));
            if self.conflicts as usize <= TOLD_MAX {
                eprintln!(
                    "{file}: line {}: the id {id} was used before with other content, at position {}; that one stands",
                    part.spot.line, first.position
                );
            }
        }
        self.outcomes.push(conflict);
    }

    fn refused(&mut self, refusals: Vec<Refusal>) {
        if refusals.is_empty() {
            return;
        }
        self.refused += refusals.len() as u64;
        self.exit = Some(worst(self.exit.unwrap_or(Exit::Done), Exit::Input));
        for refusal in refusals.iter().take(TOLD_MAX) {
            let Refusal { file, line, path, message } = refusal;
            let file = file.as_deref().unwrap_or_default();
            let line = line.map_or_else(String::new, |line| format!(" line {line}:"));
            let path = path.as_ref().map_or_else(String::new, |path| format!(" {path}:"));
            eprintln!("{file}:{line}{path} {message}");
        }
        if refusals.len() > TOLD_MAX {
            eprintln!("… and {} more; --json lists all of them", refusals.len() - TOLD_MAX);
        }
        self.outcomes.extend(refusals.into_iter().map(Outcome::Refused));
    }

    /// Counts elements of the document, not the facts made of them: an element is recorded when one of its
    /// facts is new.
    fn answered(
        &mut self,
        handler: &Handler,
        file: &str,
        captured: &Captured,
        parts: &[Part<'_>],
        answers: &[Result<Taken, SubmitError>],
    ) {
        let ledger = handler.reader().ledger();
        let mut last: Option<usize> = None;
        let mut firsts: Vec<(usize, &Part<'_>, &Taken)> = Vec::new();
        for (part, taken) in parts.iter().zip(answers) {
            let (outcome, means) = match taken {
                Ok(taken) => answer(ledger, &part.names, taken),
                Err(error) => failed(Some(file), Some(part.spot.line as u64), &part.names, error),
            };
            self.exit = Some(worst(self.exit.unwrap_or(Exit::Done), means));
            let is_first = last != Some(part.element);
            if is_first {
                match &outcome {
                    Outcome::Recorded { .. } => self.recorded += 1,
                    Outcome::Duplicate { .. } => self.duplicates += 1,
                    // Counted, and told, below.
                    Outcome::Conflict { .. } => {}
                    Outcome::Rejected { .. } | Outcome::Refused(_) | Outcome::Failed { .. } => {
                        self.refused += 1;
                        if let Err(error) = taken {
                            eprintln!("{file}: line {}: {error}", part.spot.line);
                        }
                    }
                }
                if let Ok(taken) = taken {
                    firsts.push((part.element, part, taken));
                }
                last = Some(part.element);
            }
            match outcome {
                Outcome::Conflict { .. } if is_first => self.conflicts_with(file, part, outcome),
                _ => self.outcomes.push(outcome),
            }
        }
        // What repeats an earlier event of the same document has the answer of that one.
        for event in &captured.events {
            let epcis::Outcome::Duplicate { of } = event.outcome else { continue };
            self.duplicates += 1;
            let element = captured.master_data.len() + of;
            if let Some((_, part, taken)) = firsts.iter().find(|(at, ..)| *at == element) {
                let (first, _) = answer(ledger, &part.names, taken);
                if let Outcome::Recorded { command, event, .. } = first {
                    let first = First::Recorded { event, receipt: receipt(ledger, taken.receipt()) };
                    self.outcomes.push(Outcome::Duplicate { command, first });
                } else {
                    self.outcomes.push(first);
                }
            }
        }
    }
}
