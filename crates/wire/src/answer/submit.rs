//! Answers to commands.

use lotline_domain::command::{Rejection as DomainRejection, Rule as DomainRule};
use lotline_domain::id::{CommandId, EventId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::{Amount, Batch, commit, instant, maybe_commit};
use crate::command::CommandError;

/// Where something was recorded. Given only when it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The ledger.
    pub ledger: String,
    /// The event's position in it; printed as `ledger#position`.
    #[serde(deserialize_with = "commit")]
    pub position: u64,
    /// The number of its commit.
    #[serde(deserialize_with = "commit")]
    pub commit: u64,
    /// The hash of that commit, hexadecimal.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub commit_hash: String,
    /// The ledger time of that commit (RFC 3339).
    pub recorded_at: String,
}

/// What came of a command; one per line of input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Outcome {
    /// It was recorded.
    Recorded {
        /// The command.
        command: String,
        /// The event's own id.
        event: String,
        /// Where.
        receipt: Receipt,
    },
    /// The same command with the same content was answered before: here is that answer again.
    Duplicate {
        /// The command.
        command: String,
        /// The first answer.
        first: First,
    },
    /// A business no. It is recorded, too.
    Rejected {
        /// The command.
        command: String,
        /// Why, and what would fit.
        rejection: Rejection,
        /// The commit that it was decided on.
        #[serde(deserialize_with = "commit")]
        decided_on: u64,
        /// Where the refusal is recorded.
        receipt: Receipt,
    },
    /// The id was used before with other content: the first use stands, and the conflict is reported.
    Conflict {
        /// The command.
        command: String,
        /// The id that is used already.
        id: String,
        /// Where its first use is recorded.
        first: Receipt,
        /// Where the conflict is recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<Receipt>,
    },
    /// The input could not be read. Nothing was recorded of it.
    Refused(Refusal),
    /// It was not taken for a reason that is not in it: too much to do, a full disk, a stopped ledger.
    /// Unless the message says otherwise, nothing was recorded.
    Failed {
        /// The command.
        command: String,
        /// What is wrong, and what to do.
        message: String,
        /// The same command may be sent again as it is.
        retry: bool,
    },
}

/// The first answer to a command that came again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "made once for an answer, and printed at once")]
pub enum First {
    /// It was recorded.
    Recorded {
        /// The event's own id.
        event: String,
        /// Where.
        receipt: Receipt,
    },
    /// It was rejected.
    Rejected {
        /// Why.
        rejection: Rejection,
        /// The commit that it was decided on.
        #[serde(deserialize_with = "commit")]
        decided_on: u64,
        /// Where the refusal is recorded.
        receipt: Receipt,
    },
}

/// Why input could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The file, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, deserialize_with = "maybe_commit", skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The place in the line or document, such as `lines[0].quantity.unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl Refusal {
    /// Of a line that is no command.
    pub fn of_line(file: Option<&str>, line: u64, error: &CommandError) -> Self {
        Self {
            file: file.map(str::to_owned),
            line: Some(line),
            path: (!error.path.is_empty()).then(|| error.path.clone()),
            message: error.problem.to_string(),
        }
    }
}

/// A business no, in fields and in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// The rule, with what it found.
    pub rule: Rule,
    /// The batch concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// The place concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// In words.
    pub message: String,
}

/// The rule by which an intent was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Rule {
    /// Nothing is known of the batch.
    UnknownBatch,
    /// The bare code fits several batches.
    AmbiguousCode {
        /// All that it fits; name one in full.
        candidates: Vec<Batch>,
    },
    /// Less is there than was asked for.
    NotEnough {
        /// What is there: an intent of this much would fit.
        available: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// The quantity has to be said, or cannot be converted to the item's unit.
    QuantityUnknown,
    /// Several places hold some of it; name one as `from`.
    AmbiguousSource {
        /// The places.
        candidates: Vec<String>,
    },
    /// A hold forbids it.
    UnderHold {
        /// The holds that cover it.
        holds: Vec<String>,
    },
    /// Dated after the clock that it was decided by.
    FutureDate {
        /// That clock (RFC 3339).
        now: String,
    },
    /// The fact that it corrects is not known.
    UnknownTarget {
        /// Its id.
        target: String,
    },
    /// The hold or the holds that it lifts are not there.
    NothingToRelease,
    /// The container, shipment or vessel is not known, or does not hold what is asked.
    UnknownPlace,
    /// The run is closed.
    RunClosed,
    /// The party never received so much.
    NeverSent {
        /// What it has of it.
        available: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// Its id was used before with other content.
    Conflict {
        /// The position of its first use.
        #[serde(deserialize_with = "commit")]
        first: u64,
    },
}

impl From<&DomainRule> for Rule {
    fn from(rule: &DomainRule) -> Self {
        match rule {
            DomainRule::UnknownBatch => Self::UnknownBatch,
            DomainRule::AmbiguousCode { candidates } => {
                Self::AmbiguousCode { candidates: candidates.iter().map(Batch::from).collect() }
            }
            DomainRule::NotEnough { available, asked } => {
                Self::NotEnough { available: available.into(), asked: asked.into() }
            }
            DomainRule::QuantityUnknown => Self::QuantityUnknown,
            DomainRule::AmbiguousSource { candidates } => {
                Self::AmbiguousSource { candidates: candidates.iter().map(ToString::to_string).collect() }
            }
            DomainRule::UnderHold { holds } => {
                Self::UnderHold { holds: holds.iter().map(ToString::to_string).collect() }
            }
            DomainRule::FutureDate { now } => Self::FutureDate { now: instant(*now) },
            DomainRule::UnknownTarget { target } => Self::UnknownTarget { target: target.to_string() },
            DomainRule::NothingToRelease => Self::NothingToRelease,
            DomainRule::UnknownPlace => Self::UnknownPlace,
            DomainRule::RunClosed => Self::RunClosed,
            DomainRule::NeverSent { available, asked } => {
                Self::NeverSent { available: available.into(), asked: asked.into() }
            }
            DomainRule::Conflict { first } => Self::Conflict { first: first.0 },
        }
    }
}

impl From<&DomainRejection> for Rejection {
    fn from(no: &DomainRejection) -> Self {
        Self {
            rule: (&no.rule).into(),
            batch: no.batch.as_ref().map(Batch::from),
            place: no.place.as_ref().map(ToString::to_string),
            message: words(no),
        }
    }
}

fn list<T: ToString>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn words(no: &DomainRejection) -> String {
    let batch = no.batch.as_ref().map_or_else(|| "it".to_owned(), ToString::to_string);
    let place = no.place.as_ref().map_or_else(String::new, |place| format!(" at {place}"));
    match &no.rule {
        DomainRule::UnknownBatch => format!("nothing is known of batch {batch}"),
        DomainRule::AmbiguousCode { candidates } => {
            format!("the code {batch} fits several batches: {}; name one of them in full", list(candidates))
        }
        DomainRule::NotEnough { available, asked } => {
            format!("{asked} of {batch} were asked for, and {available} are there{place}; at most that would fit")
        }
        DomainRule::QuantityUnknown => {
            format!("say how much of {batch}, in a unit that converts to the item's own (or define a factor)")
        }
        DomainRule::AmbiguousSource { candidates } => {
            format!("{batch} lies at several places: {}; name one of them as \"from\"", list(candidates))
        }
        DomainRule::UnderHold { holds } => {
            format!("{batch} is under hold{place}: {}; release it first", list(holds))
        }
        DomainRule::FutureDate { now } => format!("it is dated after now ({now}); an intent cannot lie in the future"),
        DomainRule::UnknownTarget { target } => format!("no event has the id {target}"),
        DomainRule::NothingToRelease => format!("there is no such hold on {batch}"),
        DomainRule::UnknownPlace => format!("the place{place} is not known, or does not hold what is asked"),
        DomainRule::RunClosed => "the run is closed; correct its report instead".to_owned(),
        DomainRule::NeverSent { available, asked } => {
            format!("{asked} of {batch} would come back{place}, where {available} are")
        }
        DomainRule::Conflict { first } => {
            format!("the id was used before with other content, at position {}; the first use stands", first.0)
        }
    }
}

impl Outcome {
    /// The recorded answer.
    pub fn recorded(command: &CommandId, event: &EventId, receipt: Receipt) -> Self {
        Self::Recorded { command: command.to_string(), event: event.to_string(), receipt }
    }
}
