//! Feeds: what read models tell of their changes, as JSON. Current values are rows of the answers.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::answer::{Amount, Batch, ExceptionRow, OnHandRow, Run, State, Tier, commit, schema_of};

/// A row of a read model is another than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "R: Deserialize<'de>"))]
#[schemars(rename = "{R}Change")]
pub struct Change<R> {
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
    pub old: Option<R>,
    /// What is there; left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<R>,
    /// The ids of the events behind it. Where none between the two commits names this batch or its container, all
    /// events in between, if they are not too many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// No event names this batch or its container: the change follows from others (a vessel, a run, master data).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub indirect: bool,
}

/// In which state a batch is at a place, whatever its quantity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRow {
    /// The batch.
    pub batch: Batch,
    /// Where it is; for goods in a container where that stands.
    pub place: String,
    /// The container that it is in, by its bare id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Seen from the walls.
    pub state: State,
    /// The holds that cover it; left out: none, it is free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// Commit bound.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
}

/// A batch that went into a run or vessel, or came out of it. What went into it is what that which came out is made of,
/// as far as times, windows and mappings allow: a trace says so exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeRow {
    /// What it went through.
    pub kind: EdgeKind,
    /// In or out.
    pub way: EdgeWay,
    /// The batch.
    pub batch: Batch,
    /// The run, where it is none of a vessel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The vessel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vessel: Option<String>,
    /// How much, in all; left out: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Amount>,
    /// How sure it is: certain where some of it is plainly recorded.
    pub tier: Tier,
    /// When it first went (RFC 3339).
    pub first: String,
    /// When it last went (RFC 3339).
    pub last: String,
    /// The events that say so.
    pub events: Vec<String>,
    /// Commit bound.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
}

/// What batches are made in, or through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// Goods became other goods.
    Production,
    /// One batch became several of the same goods.
    Split,
    /// Several batches became one.
    Merge,
    /// The same goods under a new batch, packed otherwise.
    Repack,
    /// Mixed in a vessel.
    Vessel,
}

impl EdgeKind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Split => "split",
            Self::Merge => "merge",
            Self::Repack => "repack",
            Self::Vessel => "vessel",
        }
    }
}

/// Into a run or vessel, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeWay {
    /// Into it.
    In,
    /// Out of it.
    Out,
}

impl EdgeWay {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
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

/// The newest whole snapshot of a read model. Its parts stand in one of two places, in turn, so that who reads one is not
/// in the way of who keeps the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotHead {
    /// The ledger.
    pub ledger: String,
    /// The read model: `genealogy`, `inventory` or `recall`.
    pub model: String,
    /// The commit that it is as of.
    #[serde(deserialize_with = "commit")]
    pub commit: u64,
    /// Its hash, hexadecimal.
    pub commit_hash: String,
    /// Version of the read models; another one cannot read it.
    pub version: u32,
    /// Where its parts are: `a` or `b`.
    pub place: String,
    /// How many parts, numbered from 1.
    pub parts: u32,
    /// How many bytes they have together.
    pub bytes: u64,
    /// BLAKE3 of the parts, one after the other, hexadecimal.
    pub blake3: String,
}

/// Reads what a bucket says of a snapshot.
pub fn read_snapshot_head(bytes: &[u8]) -> Option<SnapshotHead> {
    serde_json::from_slice(bytes).ok()
}

/// Writes it.
pub fn print_snapshot_head(head: &SnapshotHead) -> Vec<u8> {
    serde_json::to_vec(head).expect("it has text keys only")
}

/// The schema of each, by its name.
pub(crate) fn feed_schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("on-hand-change", schema_of::<Change<OnHandRow>>()),
        ("status-change", schema_of::<Change<StatusRow>>()),
        ("edges-change", schema_of::<Change<EdgeRow>>()),
        ("expiring-change", schema_of::<Change<OnHandRow>>()),
        ("exceptions-change", schema_of::<Change<ExceptionRow>>()),
        ("as-of", schema_of::<AsOf>()),
        ("snapshot-head", schema_of::<SnapshotHead>()),
    ]
}
