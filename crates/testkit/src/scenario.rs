//! Scenarios: what happened, one line each, and what a right engine answers, one line each.
//!
//! ```text
//! # a comment
//! t1 receive A 100 from S -> dock                        the first event: commit k1, id e1
//! t2 run R1: A 50 @dock -> B 48 @line; loss 2 id made    an id of its own
//! t3 ask ship B 9 @line on SH1 to C1 => under-hold       an intent, and how it is refused
//! ? on-hand B: line 48                                   asked on what stands above this line
//! ? forward A known k1 as of t2: nothing                 within bounds
//! ? scope A has: B line certain 48                       these rows, and perhaps others
//! ? paths A -> D: 2 !known-gap why                       wrong today; has to be unmarked when it is right
//! ```
//! The order of lines is the order of recording. `t1`, `t1.5`, `t10:05` are hours after [`base`], `d1` is its
//! first day without a time. A batch is `A`, `milk/A`, `milk/A@S#2` or a bare code `?/A`; a quantity is `5`
//! (kilograms), `5LTR`, `5KGM+2C62` (two measures) or `?`; a place is written as [`Place`] is.
//!
//! This module reads the language and compares rows. It asks no engine.

mod facts;
mod rows;
mod words;

use lotline_domain::command::{Command, Mode};
use lotline_domain::fact::Event;
use lotline_domain::id::{BatchRef, CommandId, EventId, HoldId, Place, RunId, SourceId, VesselId};
use lotline_domain::time::Instant;
use thiserror::Error;

pub use rows::{Row, Rows, plain};
pub use words::{base, run_id, short};

use words::Words;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {problem}: {text}")]
pub struct ScenarioError {
    /// Which, from 1.
    pub line: usize,
    /// What would do.
    pub problem: String,
    /// The line.
    pub text: String,
}

/// A scenario, read.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its lines that say or ask something, in order.
    pub steps: Vec<Step>,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which, from 1.
    pub line: usize,
    /// What it says or asks.
    pub what: What,
    /// It is known to be answered wrongly, for this reason.
    pub known_gap: Option<String>,
}

/// What a line is.
#[derive(Debug, Clone)]
pub enum What {
    /// A command, and what has to come of it.
    Tell(Box<Command>, Verdict),
    /// A question, and its right answer.
    Ask(Box<Ask>),
}

/// What has to come of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is recorded.
    Accepted,
    /// It was recorded before.
    Duplicate,
    /// Its id is another content's.
    Conflict,
    /// It is refused by the rule of this word.
    Refused(String),
}

/// A question with its right answer.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What is asked.
    pub about: About,
    /// As known after so many event lines; `None` is all above the question.
    pub known: Option<u64>,
    /// Up to this instant; `None` is all.
    pub as_of: Option<Instant>,
    /// The grade of clean that the hazard asks for.
    pub hazard: u8,
    /// The answer has no other rows.
    pub exact: bool,
    /// The right rows.
    pub rows: Rows,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// `on-hand A`: place and amount, `?` behind it for unknown, `~` for assumed; sinks included.
    OnHand(BatchRef),
    /// `book`: the same of all batches.
    Book,
    /// `held`: batch, place and hold of everything that is under one.
    Held,
    /// `expires A`: place and the instant at which it is good no more there.
    Expires(BatchRef),
    /// `of-hold H1 in D line`: `[min, expected, max]`: how much there is what a hold on a slice was set on.
    OfHold(HoldId, BatchRef, String),
    /// `forward A`: batch and tier.
    Forward(BatchRef),
    /// `back A`: batch and tier.
    Back(BatchRef),
    /// `slices A`: batch, place and tier of all that is reached forward.
    Slices(BatchRef),
    /// `scope A, B`: batch and place, then any of tier, state, quantity, `ever`, `net`, `at`, `[min, expected, max]`.
    Scope(Vec<BatchRef>),
    /// `received A`: batch and party, then `ever` and `net`.
    Received(BatchRef),
    /// `content A in D line`: `[min, expected, max]`.
    Content(BatchRef, BatchRef, String),
    /// `exceptions`: kind, batch, place, causing event.
    Exceptions,
    /// `draw X from S1`: batch and amount by the mix model.
    Draw(VesselId, BatchRef),
    /// `total S1`: what the vessel holds.
    Total(VesselId),
    /// `paths A -> D`: how many ways through runs there are.
    Paths(BatchRef, BatchRef),
    /// `run R1`: `even`, `lost 5`, `gained 5`, `in-process 5`, `unknown`.
    Run(RunId),
}

impl Scenario {
    /// Reads the lines of a scenario.
    ///
    /// # Errors
    /// The first line that cannot be read, and what would do.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let mut steps = Vec::new();
        let mut events = 0;
        for (index, whole) in text.lines().enumerate() {
            let said = whole.split("# ").next().unwrap_or_default().trim().trim_end_matches('#');
            if said.is_empty() {
                continue;
            }
            let error = |problem| ScenarioError { line: index + 1, problem, text: whole.to_owned() };
            let (said, known_gap) = match said.split_once("!known-gap") {
                Some((said, why)) => (said.trim(), Some(why.trim().to_owned())),
                None => (said, None),
            };
            let what = match said.strip_prefix('?') {
                Some(question) => What::Ask(Box::new(ask(question.trim()).map_err(error)?)),
                None => {
                    events += 1;
                    let (command, verdict) = tell(said, events).map_err(error)?;
                    What::Tell(Box::new(command), verdict)
                }
            };
            steps.push(Step { line: index + 1, what, known_gap });
        }
        Ok(Self { steps })
    }
}

fn tell(said: &str, number: usize) -> Result<(Command, Verdict), String> {
    let (said, verdict) = match said.split_once("=>") {
        None => (said, Verdict::Accepted),
        Some((said, word)) => match word.trim() {
            "duplicate" => (said, Verdict::Duplicate),
            "conflict" => (said, Verdict::Conflict),
            rule => (said, Verdict::Refused(rule.to_owned())),
        },
    };
    let mut words = Words::of(said);
    let mut id = format!("e{number}");
    let mut sequence = None;
    while let Some((key, value)) = words.last_two().filter(|(key, _)| ["id", "seq"].contains(key)) {
        match key {
            "id" => id = value.to_owned(),
            _ => sequence = Some(value.parse().map_err(|_| format!("{value:?} is no sequence number"))?),
        }
        words.drop_last_two();
    }
    let occurred_at = words::time(words.next("a time")?)?;
    let mode = if words.take("ask") { Mode::Intent } else { Mode::Observation };
    let fact = facts::fact(&mut words)?;
    words.finish()?;
    let event = Event {
        id: EventId::parse(&id).map_err(words::bad("id"))?,
        command: CommandId::parse(&id).map_err(words::bad("id"))?,
        source: SourceId::parse("erp").map_err(words::bad("source"))?,
        occurred_at,
        sequence,
        fact,
    };
    Ok((Command { mode, event }, verdict))
}

fn ask(question: &str) -> Result<Ask, String> {
    let (asked, answer) = match question.split_once(": ") {
        Some((asked, answer)) => (asked, answer),
        None => (question.strip_suffix(':').ok_or("a question ends with a colon and its answer")?, "nothing"),
    };
    let mut words = Words::of(asked);
    let about = about(&mut words)?;
    let mut ask = Ask { about, known: None, as_of: None, hazard: 1, exact: true, rows: Rows::default() };
    while let Ok(word) = words.next("a bound") {
        match word {
            "known" => {
                let commit = words.next("a commit, such as k2")?;
                let number = commit.strip_prefix('k').and_then(|number| number.parse().ok());
                ask.known = Some(number.ok_or_else(|| format!("{commit:?} is no commit, such as k2"))?);
            }
            "as" if words.take("of") => ask.as_of = Some(words::time(words.next("a time")?)?.instant),
            "hazard" => ask.hazard = words.next("a grade")?.parse().map_err(|_| "a grade is a number")?,
            "has" => ask.exact = false,
            other => return Err(format!("{other:?} is no bound: known k2, as of t2, hazard 2, has")),
        }
    }
    ask.rows = rows::expected(&ask.about, answer.trim())?;
    Ok(ask)
}

fn about(words: &mut Words<'_>) -> Result<About, String> {
    let batch = |words: &mut Words<'_>| words::batch(words.next("a batch")?);
    Ok(match words.next("what is asked")? {
        "on-hand" => About::OnHand(batch(words)?),
        "book" => About::Book,
        "held" => About::Held,
        "expires" => About::Expires(batch(words)?),
        "of-hold" => {
            let word = words.next("a hold")?;
            let hold = HoldId::parse(word).map_err(words::bad(word))?;
            words.expect("in")?;
            let reached = batch(words)?;
            let place = words.next("a place")?;
            Place::parse(place).map_err(words::bad(place))?;
            About::OfHold(hold, reached, place.to_owned())
        }
        "forward" => About::Forward(batch(words)?),
        "back" => About::Back(batch(words)?),
        "slices" => About::Slices(batch(words)?),
        "scope" => {
            let mut suspects = Vec::new();
            loop {
                let word = words.next("a batch")?;
                suspects.push(words::batch(word.trim_end_matches(','))?);
                if !word.ends_with(',') {
                    break About::Scope(suspects);
                }
            }
        }
        "received" => About::Received(batch(words)?),
        "content" => {
            let suspect = batch(words)?;
            words.expect("in")?;
            let reached = batch(words)?;
            let place = words.next("a place")?;
            Place::parse(place).map_err(words::bad(place))?;
            About::Content(suspect, reached, place.to_owned())
        }
        "exceptions" => About::Exceptions,
        "draw" => {
            let drawn = batch(words)?;
            words.expect("from")?;
            About::Draw(words::vessel(words)?, drawn)
        }
        "total" => About::Total(words::vessel(words)?),
        "paths" => {
            let from = batch(words)?;
            words.expect("->")?;
            About::Paths(from, batch(words)?)
        }
        "run" => About::Run(run_id(words.next("a run")?)?),
        other => return Err(format!("{other:?} is no question")),
    })
}
