//! Why a question has no answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::{Batch, maybe_commit};

/// Why a question has no answer, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unanswered {
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The batches that the name fits, where it fits several; not more than a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Batch>,
    /// The commit that the read model knows up to, where that matters.
    #[serde(default, deserialize_with = "maybe_commit", skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// How many bytes the answer has, where it is too large.
    #[serde(default, deserialize_with = "maybe_commit", skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It cannot be read, or names what cannot be.
    Unreadable,
    /// Nothing is recorded of what it names.
    Unknown,
    /// What it names fits several batches.
    Several,
    /// The answer is larger than a message.
    TooLarge,
    /// The read model does not know of the commit that is asked for.
    Behind,
    /// It cannot be answered now, for a reason that is not in it.
    Failed,
}
