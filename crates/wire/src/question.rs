//! Questions, as they come over NATS: the parameters that the command line has, as JSON.
//!
//! Schemas and examples are in `schemas/queries/`; the answers are those of `schemas/answers/`.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::answer::{Direction, schema_of};

/// The longest time that a question may wait for a commit, in milliseconds.
pub const WAIT_MAX_MS: u64 = 30_000;
/// How long it waits where it does not say, in milliseconds.
pub const WAIT_MS: u64 = 2_000;

/// Up to what had been recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "as_known_at is neither the number of a commit nor a text")]
pub enum KnownAt {
    /// The number of a commit.
    Commit(u64),
    /// A time (RFC 3339, or a day with its offset), or the number of a commit as text.
    Time(String),
}

impl KnownAt {
    /// As the command line has it.
    pub fn text(&self) -> String {
        match self {
            Self::Commit(number) => number.to_string(),
            Self::Time(text) => text.clone(),
        }
    }

    /// The commit, where it names one.
    pub fn commit(&self) -> Option<u64> {
        match self {
            Self::Commit(number) => Some(*number),
            Self::Time(text) => text.parse().ok(),
        }
    }
}

/// What every question may say.
pub trait Question {
    /// Only what had happened by then.
    fn as_of(&self) -> Option<&str>;
    /// Only what had been recorded by then.
    fn as_known_at(&self) -> Option<&KnownAt>;
    /// The commit that the answer has to know of.
    fn min_commit(&self) -> Option<u64>;
    /// How long to wait for it, in milliseconds.
    fn wait_ms(&self) -> u64;
    /// Whether the answer may come in several messages.
    fn parts(&self) -> bool;
}

/// A question with its own fields and those of all.
macro_rules! question {
    ($(#[$about:meta])* $name:ident { $($(#[$says:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$says])* pub $field: $kind,)*
            /// Only what had happened by then: a time with its offset, or a day, to its end.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub as_of: Option<String>,
            /// Only what had been recorded by then. A commit that is not there yet is waited for.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub as_known_at: Option<KnownAt>,
            /// The answer has to know of this commit: the one that a receipt names, to read one's own writes.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub min_commit: Option<u64>,
            /// So many milliseconds it may be waited for; left out: 2000. After that the answer is an error 503.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(max = 30_000))]
            pub wait_ms: Option<u64>,
            /// An answer that one message cannot hold may come in several. Without it that is an error 413.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub parts: bool,
        }

        impl Question for $name {
            fn as_of(&self) -> Option<&str> {
                self.as_of.as_deref()
            }

            fn as_known_at(&self) -> Option<&KnownAt> {
                self.as_known_at.as_ref()
            }

            fn min_commit(&self) -> Option<u64> {
                self.min_commit
            }

            fn wait_ms(&self) -> u64 {
                self.wait_ms.unwrap_or(WAIT_MS)
            }

            fn parts(&self) -> bool {
                self.parts
            }
        }
    };
}

question! {
    /// What a batch was made of, or what was made of it.
    AskTrace {
        /// The batch, as the command line names it.
        batch: String,
        /// Which way.
        direction: Direction,
    }
}

question! {
    /// What is where.
    AskOnHand {
        /// Only batches of this item.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<String>,
        /// Only at this place, and what is inside of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
        /// Only this batch, wherever it is: also with customers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<String>,
        /// Only what is over by then: before the beginning of a day (`2026-12-01`) by the clock of the place where it
        /// is, or by a time with its offset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_before: Option<String>,
    }
}

question! {
    /// What a recall of batches must bring back.
    AskRecall {
        /// The suspect batches.
        #[schemars(length(min = 1))]
        batches: Vec<String>,
        /// A vessel has to have been cleaned at least this thoroughly to end contact; left out: 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clean_grade: Option<u8>,
    }
}

question! {
    /// Everything recorded of a batch, container, vessel, shipment or event.
    AskHistory {
        /// The batch; or `container:NAME`, `vessel:NAME`, `transit:NAME`, `event:ID`.
        of: String,
    }
}

question! {
    /// Open discrepancies of the records.
    AskExceptions {}
}

/// Reads a question; no text at all is one without fields.
///
/// # Errors
/// What is wrong, and where: unreadable, a field that is not known, a wait that is too long.
pub fn read<'t, Q: Question + Deserialize<'t>>(text: &'t [u8]) -> Result<Q, String> {
    let text = if text.iter().all(u8::is_ascii_whitespace) { b"{}" } else { text };
    let question: Q =
        serde_json::from_slice(text).map_err(|error| format!("the question is not understood: {error}"))?;
    if question.wait_ms() > WAIT_MAX_MS {
        return Err(format!("wait_ms is {}, and {WAIT_MAX_MS} are taken", question.wait_ms()));
    }
    Ok(question)
}

/// The schema of each, by its name.
pub(crate) fn question_schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("trace", schema_of::<AskTrace>()),
        ("on-hand", schema_of::<AskOnHand>()),
        ("recall", schema_of::<AskRecall>()),
        ("history", schema_of::<AskHistory>()),
        ("exceptions", schema_of::<AskExceptions>()),
    ]
}
