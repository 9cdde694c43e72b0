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
    /// Minutes east of UTC, less than a day in either direction.
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
    /// Its day is not in the calendar.
    #[error("{text:?}: there is no day {day}; {}", remedy(.last))]
    NoSuchDay {
        /// The text as given.
        text: String,
        /// Its day.
        day: String,
        /// The last day of its month; `None` where the month is none.
        last: Option<String>,
    },
    /// Its hour, minute or second is none.
    #[error("{text:?}: there is no time of day {time}; write hours from 00 to 23, minutes and seconds from 00 to 59")]
    NoSuchTime {
        /// The text as given.
        text: String,
        /// Its time of day.
        time: String,
    },
    /// It has a second 60. Instants do not count leap seconds, so that one would be told as the second after
    /// it; and what is no leap second is a slip of the pen.
    #[error(
        "{0:?}: second 60 is refused, as leap seconds are not counted here; write second 59, or 00 of the next minute"
    )]
    LeapSecond(String),
    /// Its offset is none that a clock can have.
    #[error(
        "{text:?}: the offset {offset} is out of range; write one from -23:59 to +23:59, such as +01:00, or Z for UTC"
    )]
    NoSuchOffset {
        /// The text as given.
        text: String,
        /// Its offset.
        offset: String,
    },
}

fn remedy(last: &Option<String>) -> String {
    match last {
        Some(last) => format!("the last one of that month is {last}"),
        None => "write months from 01 to 12".to_owned(),
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

impl OccurredAt {
    /// Parses RFC 3339 with an offset, or a day with an offset (`2026-03-01+01:00`, `2026-03-01Z`).
    /// More than six fractional digits are cut. Leap seconds are not supported.
    ///
    /// # Errors
    /// [`TimeError::Form`] for anything else, above all a time without offset; the other kinds say which part
    /// of a text that has the form is none.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            let micros = at.timestamp_micros();
            let offset_minutes = at.offset().local_minus_utc() / 60;
            if at.offset().local_minus_utc() % 60 != 0 || !text.is_ascii() {
                return Err(TimeError::Form(text.to_owned()));
            }
            // The clock's library tells second 60 as more than a second's worth of nanoseconds.
            if at.timestamp_subsec_nanos() >= 1_000_000_000 {
                return Err(TimeError::LeapSecond(text.to_owned()));
            }
            return Ok(Self { instant: Instant(micros), offset_minutes, precision: Precision::Instant });
        }
        Self::parse_day(text).ok_or_else(|| problem(text))
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

/// What is wrong with a text that is no time.
fn problem(text: &str) -> TimeError {
    Parts::read(text).and_then(|parts| parts.problem(text)).unwrap_or_else(|| TimeError::Form(text.to_owned()))
}

/// What a text says that has the form of a time or a day with its offset, in range or not.
struct Parts<'t> {
    day: &'t str,
    time: Option<&'t str>,
    offset: &'t str,
}

impl<'t> Parts<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let (day, rest) = cut(text, "dddd-dd-dd")?;
        let Some(after) = rest.strip_prefix(['T', 't', ' ']) else {
            let offset = ["+dd:dd", "-dd:dd", "+dddd", "-dddd"];
            let is_offset =
                rest == "Z" || offset.iter().any(|form| cut(rest, form).is_some_and(|(_, end)| end.is_empty()));
            return is_offset.then_some(Self { day, time: None, offset: rest });
        };
        let (time, rest) = cut(after, "dd:dd:dd")?;
        let offset = match rest.strip_prefix('.') {
            Some(digits) => digits.trim_start_matches(|digit: char| digit.is_ascii_digit()),
            None => rest,
        };
        let is_offset = offset.eq_ignore_ascii_case("z")
            || ["+dd:dd", "-dd:dd"].iter().any(|form| cut(offset, form).is_some_and(|(_, end)| end.is_empty()));
        is_offset.then_some(Self { day, time: Some(time), offset })
    }

    fn problem(&self, text: &str) -> Option<TimeError> {
        let text = text.to_owned();
        let (year, month, day) = (&self.day[..4], &self.day[5..7], &self.day[8..]);
        let (year, month, day) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
        if NaiveDate::from_ymd_opt(year, month, day).is_none() {
            let last = (28..=31).rev().find_map(|last| NaiveDate::from_ymd_opt(year, month, last));
            let last = last.map(|day| day.to_string());
            return Some(TimeError::NoSuchDay { text, day: self.day.to_owned(), last });
        }
        if let Some(time) = self.time {
            let number = |at: usize| time[at..at + 2].parse::<u32>().ok();
            let (hour, minute, second) = (number(0)?, number(3)?, number(6)?);
            if hour > 23 || minute > 59 || second > 60 {
                return Some(TimeError::NoSuchTime { text, time: time.to_owned() });
            }
        }
        let minutes = |of: &str| of.get(of.len().checked_sub(2)?..)?.parse::<u32>().ok();
        let hours = |of: &str| of.get(1..3)?.parse::<u32>().ok();
        let off = hours(self.offset).is_some_and(|hours| hours > 23) || minutes(self.offset).is_some_and(|m| m > 59);
        off.then(|| TimeError::NoSuchOffset { text, offset: self.offset.to_owned() })
    }
}

/// The beginning of a text that has a form, where `d` stands for a digit, and what is behind it.
fn cut<'t>(text: &'t str, form: &str) -> Option<(&'t str, &'t str)> {
    let (start, rest) = text.split_at_checked(form.len())?;
    let fits = |(found, wanted): (u8, u8)| if wanted == b'd' { found.is_ascii_digit() } else { found == wanted };
    start.bytes().zip(form.bytes()).all(fits).then_some((start, rest))
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
    fn a_part_that_is_none_is_told_by_its_name() {
        for (text, told) in [
            ("2026-02-30T08:00:00Z", "there is no day 2026-02-30; the last one of that month is 2026-02-28"),
            ("2026-02-30+01:00", "there is no day 2026-02-30; the last one of that month is 2026-02-28"),
            ("2028-02-30Z", "the last one of that month is 2028-02-29"),
            ("2026-13-01T08:00:00Z", "there is no day 2026-13-01; write months from 01 to 12"),
            ("2026-03-00T08:00:00Z", "there is no day 2026-03-00"),
            ("2026-03-01T24:00:00Z", "there is no time of day 24:00:00; write hours from 00 to 23"),
            ("2026-03-01T08:60:00Z", "there is no time of day 08:60:00"),
            ("2026-03-01T08:00:61Z", "there is no time of day 08:00:61"),
            ("2026-03-01T08:00:00+25:00", "the offset +25:00 is out of range; write one from -23:59 to +23:59"),
            ("2026-03-01T08:00:00.5-01:75", "the offset -01:75 is out of range"),
            ("2026-03-01+2500", "the offset +2500 is out of range"),
            ("2026-03-01T08:00:60Z", "second 60 is refused"),
            ("2016-12-31T23:59:60Z", "leap seconds are not counted here; write second 59, or 00 of the next minute"),
            ("2026-02-30T08:00:00", "is not a time with its offset"),
            ("2026-03-01T08:00:00Q", "is not a time with its offset"),
            ("2026-03-01T08:00:0\u{661}Z", "is not a time with its offset"),
            ("2026-02-3", "is not a time with its offset"),
        ] {
            let error = OccurredAt::parse(text).expect_err(text);
            assert!(error.to_string().contains(told), "{error}");
        }
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
