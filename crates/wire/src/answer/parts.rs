//! What several answers are made of.

use lotline_domain::command::Amount as DomainAmount;
use lotline_domain::id::{BatchId, BatchRef, RunId};
use lotline_domain::time::{Instant, OccurredAt};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

pub use crate::command::form::BatchForm as Batch;

impl From<&BatchRef> for Batch {
    fn from(named: &BatchRef) -> Self {
        Self(named.clone())
    }
}

impl From<&BatchId> for Batch {
    fn from(id: &BatchId) -> Self {
        Self(BatchRef::Known(id.clone()))
    }
}

/// The digits behind the point of a value that no decimal says exactly.
const SCALE: u32 = 9;

/// An amount; may be below zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// An exact decimal, or the value rounded to nine digits behind the point where `exact` is given.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub value: String,
    /// Its unit (UN/ECE Recommendation 20).
    pub unit: String,
    /// The exact value as a reduced fraction, where no decimal says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^-?[0-9]+/[0-9]+$"))]
    pub exact: Option<String>,
}

impl From<&DomainAmount> for Amount {
    fn from(amount: &DomainAmount) -> Self {
        let unit = amount.unit.to_string();
        let ratio = amount.value;
        let fraction = || Some(format!("{}/{}", ratio.num(), ratio.den()));
        match (ratio.to_decimal(), ratio.round_to(SCALE)) {
            (Some(exact), _) => Self { value: exact.normalize().to_string(), unit, exact: None },
            (None, Some(rounded)) => Self { value: rounded.normalize().to_string(), unit, exact: fraction() },
            // So large that only whole units can be said.
            (None, None) => Self { value: ratio.num().div_euclid(ratio.den()).to_string(), unit, exact: fraction() },
        }
    }
}

impl From<DomainAmount> for Amount {
    fn from(amount: DomainAmount) -> Self {
        Self::from(&amount)
    }
}

/// A production run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Who names it.
    pub source: String,
    /// Its name there.
    pub name: String,
    /// Which use of the name.
    #[serde(deserialize_with = "small")]
    pub generation: u32,
}

impl From<&RunId> for Run {
    fn from(id: &RunId) -> Self {
        Self { source: id.source.to_string(), name: id.name.to_string(), generation: id.generation.0 }
    }
}

/// Whether an answer may still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Finality {
    /// Both bounds are fixed: this answer never changes again.
    Final,
    /// Something more may be recorded within the bounds.
    NotFinal,
}

/// What was asked: the bounds within which everything in the answer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The ledger.
    pub ledger: String,
    /// Effective bound (RFC 3339); left out: everything known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// The commit as known at which it is answered.
    #[serde(deserialize_with = "commit")]
    pub as_known_at: u64,
    /// That commit's ledger time (RFC 3339); left out: before the first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
    /// Whether it may still change.
    pub finality: Finality,
    /// The version of the rules by which facts were settled.
    #[serde(deserialize_with = "small")]
    pub model: u32,
}

/// Something that an answer says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// What kind.
    pub kind: SaidKind,
    /// In words.
    pub message: String,
    /// The batches concerned; for an ambiguous code its candidates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Batch>,
}

/// What an answer may have to say about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SaidKind {
    /// A bare code fits several batches; all of them are included as possible.
    AmbiguousCode,
    /// Asked about something that nobody recorded.
    UnknownBatch,
    /// The answer was cut at a limit.
    Limited,
    /// More may be recorded within the bounds.
    NotFinal,
    /// Quantities that nobody stated are not in the sums.
    UnknownQuantity,
    /// No factor to a common unit.
    NotConvertible,
    /// The maxima of rows do not add up; the total has its own.
    MaximaDoNotAdd,
    /// Rows are below zero: totals of quantity are less them, and totals of content are not.
    BelowZero,
    /// A batch reached only by what stayed in a vessel.
    Residue,
    /// Which mix model the content of vessels follows.
    MixModel,
    /// No time zone is known of a place, and days end there by UTC.
    TimeZoneUnknown,
    /// What nobody told an expiry of is not in an answer that asks for one.
    NoExpiry,
}

/// Reads a commit number, position or line number, also out of a buffered value.
///
/// # Errors
/// When it is no whole number of 64 bits.
pub fn commit<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    number.as_u64().ok_or_else(|| serde::de::Error::custom(format!("{number} is no whole number of 64 bits")))
}

pub(super) fn small<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = commit(from)?;
    u32::try_from(number).map_err(|_| serde::de::Error::custom(format!("{number} is too large")))
}

pub(super) fn maybe_commit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(from)?;
    number.map(|number| commit(number).map_err(serde::de::Error::custom)).transpose()
}

/// An effective time as answers write it.
pub fn time(at: OccurredAt) -> String {
    at.to_string()
}

/// An instant as answers write it: RFC 3339 in UTC.
pub fn instant(at: Instant) -> String {
    at.to_string()
}

/// The same of microseconds since 1970.
pub fn instant_of_micros(micros: i64) -> String {
    instant(Instant(micros))
}
