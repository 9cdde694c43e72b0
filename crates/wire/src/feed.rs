//! Feeds: what read models tell of their changes, as JSON. Current values are rows of the answers.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::answer::{OnHandRow, commit, schema_of};

/// How much of a batch at a place is another than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnHandChange {
    /// The ledger.
    pub ledger: String,
    /// The commit that `new` is as of.
    #[serde(deserialize_with = "commit")]
    pub commit: u64,
    /// The commit that `old` is as of. Between the two nothing else was told of this key.
    #[serde(deserialize_with = "commit")]
    pub since: u64,
    /// The key in the bucket.
    pub key: String,
    /// What was there; left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<OnHandRow>,
    /// What is there; left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<OnHandRow>,
    /// The ids of the events behind it. Where none between the two commits moves this batch or its container, all
    /// events in between, if they are not too many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// No event names this batch or its container: the change follows from others (a vessel, a run, master data).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub indirect: bool,
}

/// Up to where a bucket is. All changes up to that sequence are in its values; a value may be newer, and says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AsOf {
    /// The ledger.
    pub ledger: String,
    /// The commit.
    #[serde(deserialize_with = "commit")]
    pub commit: u64,
    /// Its hash, hexadecimal.
    pub commit_hash: String,
    /// Sequence of the last change in the stream; 0 before the first.
    #[serde(deserialize_with = "commit")]
    pub sequence: u64,
}

/// Reads what a bucket has under its own key.
pub fn read_as_of(bytes: &[u8]) -> Option<AsOf> {
    serde_json::from_slice(bytes).ok()
}

/// Writes it.
pub fn print_as_of(as_of: &AsOf) -> Vec<u8> {
    serde_json::to_vec(as_of).expect("it has text keys only")
}

/// The schema of each, by its name.
pub(crate) fn feed_schemas() -> Vec<(&'static str, Schema)> {
    vec![("on-hand-change", schema_of::<OnHandChange>()), ("as-of", schema_of::<AsOf>())]
}
