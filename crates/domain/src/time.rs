//! The two clocks: when it happened in the world, and when it was recorded.

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDate, SecondsFormat, TimeZone};
use thiserror::Error;

/// An instant: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub i64);

impl Instant {
    /// Before everything.
    pub const MIN: Self = Self(i64::MIN);
    /// After everything.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `micros` microseconds later, at most [`Instant::MAX`].
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

/// How finely a source dated its fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// To the instant.
    Instant,
    /// To the local day: the instant is the day's beginning at the offset.
    Day,
}

/// Effective time in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OccurredAt {
    /// The instant; for a day its local beginning.
    pub instant: Instant,
    /// Minutes east of UTC, −1,080 to 1,080.
    pub offset_minutes: i32,
    /// Day or instant.
    pub precision: Precision,
}

/// Why a text is not an effective time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimeError {
    /// Not RFC 3339, or without an offset.
    #[error("{0:?} is not a time with its offset, such as 2026-03-01T08:00:00+01:00 (or a day: 2026-03-01+01:00)")]
    Form(String),
    /// Before year 1 or after year 9999.
    #[error("{0:?} is outside of the years 0001 to 9999")]
    Range(String),
}

const DAY_MICROS: i64 = 86_400_000_000;

impl OccurredAt {
    /// Parses RFC 3339 with an offset, or a day with an offset (`2026-03-01+01:00`, `2026-03-01Z`).
    /// More than six fractional digits are cut.
    ///
    /// # Errors
    /// [`TimeError::Form`] for anything else, above all a time without offset.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            let micros = at.timestamp_micros();
            let offset_minutes = at.offset().local_minus_utc() / 60;
            if at.offset().local_minus_utc() % 60 != 0 || !text.is_ascii() {
                return Err(TimeError::Form(text.to_owned()));
            }
            return Ok(Self { instant: Instant(micros), offset_minutes, precision: Precision::Instant });
        }
        Self::parse_day(text).ok_or_else(|| TimeError::Form(text.to_owned()))
    }

    fn parse_day(text: &str) -> Option<Self> {
        if !text.is_ascii() || text.len() < 11 {
            return None;
        }
        let (day, offset) = text.split_at(10);
        let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
        let midnight = day.and_hms_opt(0, 0, 0)?;
        let offset = if offset == "Z" { "+00:00" } else { offset };
        let offset: FixedOffset = offset.parse().ok()?;
        let instant = offset.from_local_datetime(&midnight).single()?;
        Some(Self {
            instant: Instant(instant.timestamp_micros()),
            offset_minutes: offset.local_minus_utc() / 60,
            precision: Precision::Day,
        })
    }

    /// At the instant, in UTC.
    pub fn utc(instant: Instant) -> Self {
        Self { instant, offset_minutes: 0, precision: Precision::Instant }
    }

    /// The last instant that it may mean: itself, or the end of its day (exclusive end less 1 µs).
    pub fn latest(&self) -> Instant {
        match self.precision {
            Precision::Instant => self.instant,
            Precision::Day => self.instant.plus_micros(DAY_MICROS - 1),
        }
    }
}

impl fmt::Display for OccurredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = FixedOffset::east_opt(self.offset_minutes.saturating_mul(60));
        let (Some(offset), Some(at)) = (offset, DateTime::from_timestamp_micros(self.instant.0)) else {
            return write!(f, "{}us", self.instant.0);
        };
        let at = at.with_timezone(&offset);
        match self.precision {
            Precision::Instant => f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, self.offset_minutes == 0)),
            Precision::Day => write!(f, "{}{}", at.format("%Y-%m-%d"), at.format("%:z")),
        }
    }
}

/// Ledger time: strictly increasing from commit to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordedAt(pub Instant);

/// The dense number of a commit; the first is 1, 0 means "before everything".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo(pub u64);

/// The dense index of an event in its ledger, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_offset_is_refused() {
        assert!(OccurredAt::parse("2026-03-01T08:00:00").is_err());
        assert!(OccurredAt::parse("2026-03-01").is_err());
        assert!(OccurredAt::parse("yesterday").is_err());
    }

    #[test]
    fn times_print_what_they_read() {
        for text in [
            "2026-03-01T08:00:00+01:00",
            "2026-03-01T08:00:00Z",
            "2026-03-01T08:00:00.000250-05:30",
            "2026-03-01+01:00",
        ] {
            let at = OccurredAt::parse(text).expect(text);
            assert_eq!(at.to_string(), text);
        }
    }

    #[test]
    fn a_day_lasts_until_its_local_midnight() {
        let day = OccurredAt::parse("2026-03-01+01:00").expect("a day");
        assert_eq!(day.instant.to_string(), "2026-02-28T23:00:00Z");
        assert_eq!(day.latest().to_string(), "2026-03-01T22:59:59.999999Z");
    }
}
