//! Answers to questions.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::parts::{Amount, Asked, Batch, Run, Said, commit, maybe_commit, small};
use super::submit::{Outcome, Rejection};
use super::unanswered::Unanswered;

/// Where goods are, seen from the walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Inside, at a place.
    OnHand,
    /// Inside, mixed in a vessel.
    InVessel,
    /// In an open run.
    InProcess,
    /// Nobody recorded where.
    Unplaced,
    /// On its way.
    InTransit,
    /// At a party outside.
    WithCustomer,
    /// Used up.
    Consumed,
    /// Lost.
    Lost,
    /// Taken as a sample.
    Sampled,
    /// Destroyed.
    Destroyed,
    /// Booked in or out by a count or an adjustment.
    Adjusted,
    /// Appeared or vanished, and no record says how.
    Unexplained,
}

/// How sure a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Reached by time, but the slice was empty in between.
    Cleared,
    /// Every path needs an assumption.
    Possible,
    /// Some path is recorded in every step.
    Certain,
}

/// What is where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnHand {
    /// The bounds.
    pub asked: Asked,
    /// Rows, by batch, place and container.
    pub rows: Vec<OnHandRow>,
    /// What the answer says about itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// How much of a batch is at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnHandRow {
    /// The batch.
    pub batch: Batch,
    /// Where it is; for goods in a container where that stands.
    pub place: String,
    /// The container that it is in, by its bare id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Seen from the walls.
    pub state: State,
    /// How much; below zero where the records lack something.
    pub quantity: Amount,
    /// Something of unknown quantity went in or out.
    pub unknown: bool,
    /// The book picked it among several candidates.
    pub assumed: bool,
    /// It is the mix model's share of a vessel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_model: bool,
    /// The holds that cover it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// For each of them that was set on a slice: how much of the quantity is what it was set on. It covers all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// Until when it is good there; left out: nobody told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expires>,
    /// Effective bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Commit bound.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
}

/// Until when goods are good where they lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expires {
    /// As a fact tells it: a day, which lasts until local midnight, or a time with its offset. Of several the one that is
    /// over first.
    pub told: String,
    /// The last local day on which they are good.
    pub day: String,
    /// The first instant at which they are good no more (RFC 3339, in UTC).
    pub at: String,
    /// The time zone that counts: of the place, or of the nearest one that it lies in that has one. UTC where none has.
    pub time_zone: String,
    /// No time zone is known of the place, and UTC was taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zone_unknown: bool,
    /// The batch that it was split, merged or re-packed from, and has it from; left out: it was told of the batch itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited_from: Option<Batch>,
    /// The event that tells it.
    pub event: String,
}

/// How much of what a hold covers is what it was set on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The hold's id.
    pub hold: String,
    /// So much.
    pub content: Content,
}

/// Towards outputs or towards inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// What was made of it, where is it, who received it?
    Forward,
    /// What is it made of?
    Back,
}

/// What a batch went into, or came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// The bounds.
    pub asked: Asked,
    /// Which way.
    pub direction: Direction,
    /// Where it begins.
    pub start: Vec<Batch>,
    /// Reached batches, by batch.
    pub nodes: Vec<TraceNode>,
    /// Runs and vessels on the way.
    pub hubs: Vec<TraceHub>,
    /// Steps, by moment.
    pub edges: Vec<TraceEdge>,
    /// What the answer says about itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// A reached batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceNode {
    /// The batch.
    pub batch: Batch,
    /// The best of its places.
    pub tier: Tier,
    /// It is where the trace begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start: bool,
    /// A path through a run or vessel comes back to where the trace begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rework: bool,
    /// Reached only by what stayed in a vessel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub residue: bool,
    /// Reached because a bare code fits several batches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ambiguous: bool,
    /// Its reached slices, by place.
    pub places: Vec<Moment>,
    /// Forward: the parties that ever received some of it, loose or in containers, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received_by: Vec<ReceivedBy>,
    /// Effective bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Commit bound.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
}

/// What a party received of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceivedBy {
    /// The party.
    pub party: String,
    /// How sure the surest arrival is.
    pub tier: Tier,
    /// The first arrival of that tier (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
    /// All affected arrivals, returns not taken off.
    pub ever_received: Amount,
    /// Ever received less returned.
    pub net: Amount,
    /// Something of unknown quantity was among them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// A slice, and since when (forward) or until when (back) it is on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// The place.
    pub place: String,
    /// How sure it is.
    pub tier: Tier,
    /// The moment (RFC 3339); left out: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
}

/// A run or a vessel on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceHub {
    /// Which.
    pub hub: Point,
    /// How sure it is.
    pub tier: Tier,
}

/// Where a step begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Point {
    /// Some of a batch at a place.
    Slice {
        /// The batch.
        batch: Batch,
        /// The place.
        place: String,
    },
    /// A run.
    Run {
        /// Which.
        run: Run,
    },
    /// A vessel.
    Vessel {
        /// Which.
        vessel: String,
    },
    /// The supply of a party.
    Supply {
        /// Which party.
        party: String,
    },
    /// Out of the book.
    Sink {
        /// How.
        sink: String,
    },
}

/// A step of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceEdge {
    /// From where.
    pub from: Point,
    /// Where to.
    pub to: Point,
    /// The batch that moves.
    pub batch: Batch,
    /// The run that it goes into or comes out of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// How much; left out: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Amount>,
    /// When (RFC 3339).
    pub at: String,
    /// How sure it is.
    pub tier: Tier,
    /// Why it is not plainly recorded: `assumed`, `possible link`, `debt` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// For a cleared step: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<String>,
    /// The event that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// What must come back, how certain that is, how much of it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// The bounds.
    pub asked: Asked,
    /// What is suspected.
    pub suspects: Vec<Batch>,
    /// The grade of cleaning that ends contact.
    #[serde(deserialize_with = "small")]
    pub clean_grade: u32,
    /// Rows, by batch, place and container.
    pub rows: Vec<RecallRow>,
    /// Sums over the rows, per unit.
    pub totals: Vec<ContentTotal>,
    /// What the answer says about itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// One row of a recall scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecallRow {
    /// The batch; left out for what belongs to a run itself: its losses, what is unexplained of it, what is still in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// Where it is; for goods in a container where that stands; for a run `run:` and its name.
    pub place: String,
    /// The container that it is in, by its bare id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Seen from the walls.
    pub state: State,
    /// How sure the link is.
    pub tier: Tier,
    /// From when on it is reached (RFC 3339); left out: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How much is there, affected or not.
    pub quantity: Amount,
    /// Something of unknown quantity went in or out.
    pub unknown: bool,
    /// At a party: all affected arrivals, returns not taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ever_received: Option<Amount>,
    /// At a party: ever received less returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<Amount>,
    /// How much of the quantity is of the suspects.
    pub content: Content,
    /// Why: the steps of one best path from a suspect, in words.
    pub why: Vec<String>,
    /// For a cleared row: when the slice on the path was empty (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<String>,
    /// Until when it is good there; left out: nobody told it, or it is in a run or gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expires>,
    /// Effective bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Commit bound.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
}

/// Bounds of how much suspect matter is in a quantity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// At least.
    pub min: Amount,
    /// If all slices and runs are homogeneous; left out: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Amount>,
    /// At most.
    pub max: Amount,
    /// What kind of bounds.
    pub grade: Grade,
}

/// What kind of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The least and greatest that any assignment in accord with the records has.
    Tight,
    /// They contain the tight bounds.
    Sound,
}

/// A sum over rows of one unit and state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentTotal {
    /// Which rows.
    pub state: State,
    /// The sum of their quantities.
    pub quantity: Amount,
    /// Bounds of the suspect matter in all of them together; left out: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// Open and settled discrepancies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    /// The bounds.
    pub asked: Asked,
    /// Rows, by kind and moment.
    pub rows: Vec<ExceptionRow>,
    /// What the answer says about itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// A discrepancy of recorded facts. Its identity is (kind, batch, place, cause).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionRow {
    /// What kind, in words: `negative`, `count differs`, `shipped under hold` …
    pub kind: String,
    /// The batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// The place; for a run `run:` and its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The event that caused it.
    pub cause: String,
    /// Since when (RFC 3339).
    pub at: String,
    /// Until when, where it ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// By how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// In words.
    pub detail: String,
    /// Whether it lasts.
    pub state: ExceptionState,
    /// Effective bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Commit bound.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
}

/// Whether a discrepancy lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExceptionState {
    /// It lasts.
    Open,
    /// Something settled it.
    Settled,
}

/// What was recorded of a batch, container, run …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The bounds.
    pub asked: Asked,
    /// What was asked for, in words.
    pub of: String,
    /// Rows, in the order of recording.
    pub rows: Vec<HistoryRow>,
    /// What the answer says about itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// One recorded event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryRow {
    /// Its position in the ledger.
    #[serde(deserialize_with = "commit")]
    pub position: u64,
    /// Its commit.
    #[serde(deserialize_with = "commit")]
    pub commit: u64,
    /// The ledger time of that commit (RFC 3339).
    pub recorded_at: String,
    /// What it is.
    pub kind: HistoryKind,
    /// The command that brought it.
    pub command: String,
    /// Who sent it.
    pub source: String,
    /// The whole command, in the form of `schemas/commands/`; left out for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<serde_json::Value>,
    /// For a refusal: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// The commit that it was decided on.
    #[serde(default, deserialize_with = "maybe_commit", skip_serializing_if = "Option::is_none")]
    pub decided_on: Option<u64>,
    /// The correction by which it has no effect any more, or another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected_by: Option<String>,
    /// Sealed fields that cannot be shown: their key was erased, or is not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// Effective bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Commit bound.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
}

/// What a recorded event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryKind {
    /// An intent that was accepted.
    Intent,
    /// An observation.
    Observation,
    /// The refusal of an intent.
    Refusal,
}

/// What re-reading a ledger found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// The ledger.
    pub ledger: String,
    /// Nothing is damaged.
    pub intact: bool,
    /// Commits that are whole and chained.
    #[serde(deserialize_with = "commit")]
    pub commits: u64,
    /// Events in them.
    #[serde(deserialize_with = "commit")]
    pub events: u64,
    /// The hash of the last of them, hexadecimal.
    pub commit_hash: String,
    /// The root of the tree over all events, hexadecimal, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Where it is damaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<Damage>,
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// The file, inside of the ledger's folder.
    pub file: String,
    /// The offset in it, in bytes.
    #[serde(default, deserialize_with = "maybe_commit", skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The commit concerned.
    #[serde(default, deserialize_with = "maybe_commit", skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// The position concerned.
    #[serde(default, deserialize_with = "maybe_commit", skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// What is wrong, and what to do.
    pub message: String,
}

pub(crate) fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// The schema of each answer, by its name.
pub(crate) fn answer_schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("submit", schema_of::<Outcome>()),
        ("on-hand", schema_of::<OnHand>()),
        ("trace", schema_of::<Trace>()),
        ("recall", schema_of::<Recall>()),
        ("exceptions", schema_of::<Exceptions>()),
        ("history", schema_of::<History>()),
        ("verify", schema_of::<Verified>()),
        ("unanswered", schema_of::<Unanswered>()),
    ]
}
