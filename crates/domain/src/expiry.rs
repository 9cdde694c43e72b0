//! Until when goods are good: a day or a moment as a fact tells it, and what that is at a place.
//!
//! A day ends at the local midnight of the place where the goods are. The zones come with the program, so that
//! two machines never disagree about one.

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use thiserror::Error;

use crate::time::{Instant, OccurredAt, Precision, TimeError};

/// A day of the calendar, in the years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(NaiveDate);

impl Day {
    /// The day that many days after 1970-01-01; `None` outside of the years 1 to 9999.
    pub fn from_number(days: i32) -> Option<Self> {
        NaiveDate::from_epoch_days(days).filter(in_years).map(Self)
    }

    /// How many days it is after 1970-01-01.
    pub fn number(self) -> i32 {
        self.0.to_epoch_days()
    }

    /// Its year.
    pub fn year(self) -> i32 {
        self.0.year()
    }

    /// The day of a text such as `2026-12-01`.
    ///
    /// # Errors
    /// [`ExpiresError`] when it has another form, or there is no such day.
    pub fn parse(text: &str) -> Result<Self, ExpiresError> {
        // What is wrong with a day is told by the time that begins it.
        match Expires::parse(text)? {
            Expires::Day(day) => Ok(day),
            Expires::Moment { .. } => Err(ExpiresError::Form(text.to_owned())),
        }
    }

    /// The day of a year, a month and a day; `None` where there is none.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        NaiveDate::from_ymd_opt(year, month, day).filter(in_years).map(Self)
    }

    /// The last day of a month.
    pub fn last_of_month(year: i32, month: u32) -> Option<Self> {
        (28..=31).rev().find_map(|day| Self::from_ymd(year, month, day))
    }

    /// The instant at which it begins in a zone: the first one of its date, or of a later one where its local midnight
    /// was skipped. Where that comes twice, the first counts.
    pub fn begins(self, zone: Zone) -> Instant {
        first_of(self.0, zone.0)
    }

    /// The instant at which it is over in a zone: the first one after it.
    pub fn ends(self, zone: Zone) -> Instant {
        first_of(self.0.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX), zone.0)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

fn in_years(day: &NaiveDate) -> bool {
    (1..=9999).contains(&day.year())
}

/// The first instant whose local date is a day or later.
fn first_of(day: NaiveDate, zone: Tz) -> Instant {
    let midnight = day.and_hms_opt(0, 0, 0).expect("every day has a midnight on the clock's face");
    if let Some(found) = zone.from_local_datetime(&midnight).earliest() {
        return Instant(found.timestamp_micros());
    }
    // The clocks were put forward over midnight: the first moment behind the gap, to the second.
    let local = |at: i64| local_at(zone, at);
    let (mut before, mut behind) = (midnight.and_utc().timestamp() - GAP_SECONDS, midnight.and_utc().timestamp());
    behind += GAP_SECONDS;
    while behind - before > 1 {
        let middle = before + (behind - before) / 2;
        if local(middle) < midnight { before = middle } else { behind = middle }
    }
    Instant(behind * 1_000_000)
}

/// No clock is farther from UTC than this, not even behind a day that was left out.
const GAP_SECONDS: i64 = 50 * 3_600;

fn local_at(zone: Tz, second: i64) -> NaiveDateTime {
    let utc = DateTime::from_timestamp(second, 0).expect("within the years of days").naive_utc();
    utc + TimeDelta::seconds(i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
}

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

impl Zone {
    /// What counts where no zone is known.
    pub const UTC: Self = Self(Tz::UTC);

    /// The zone of a name such as `Europe/Berlin`.
    ///
    /// # Errors
    /// [`NoSuchZone`] when the database has none of this name.
    pub fn parse(name: &str) -> Result<Self, NoSuchZone> {
        name.parse().map(Self).map_err(|_| NoSuchZone {
            name: name.to_owned(),
            like: TZ_VARIANTS.into_iter().map(Tz::name).find(|known| alike(known, name)),
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The local day of an instant.
    pub fn day_of(self, at: Instant) -> Day {
        let utc = DateTime::from_timestamp_micros(at.0).unwrap_or(DateTime::UNIX_EPOCH);
        Day(utc.with_timezone(&self.0).date_naive())
    }
}

/// The same but for case, blanks and a missing region.
fn alike(known: &str, name: &str) -> bool {
    let name = name.trim().replace(' ', "_");
    let city = known.rsplit('/').next().unwrap_or(known);
    known.eq_ignore_ascii_case(&name) || city.eq_ignore_ascii_case(name.rsplit('/').next().unwrap_or(&name))
}

/// There is no time zone of a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{name:?} is no time zone of the IANA database; write {}",
    .like.map_or("one such as Europe/Berlin, or UTC".to_owned(), |like| format!("{like:?}, if that is meant"))
)]
pub struct NoSuchZone {
    /// The name as given.
    pub name: String,
    /// One that is nearly of this name.
    pub like: Option<&'static str>,
}

/// Until when goods are good, as told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expires {
    /// To the end of a day, at the place where they are.
    Day(Day),
    /// To a moment, wherever they are.
    Moment {
        /// When.
        instant: Instant,
        /// Minutes east of UTC in which it was told, less than a day in either direction.
        offset_minutes: i32,
    },
}

/// Why a text tells no expiry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpiresError {
    /// Neither a day nor a time with its offset.
    #[error(
        "{0:?} is no expiry date; write a day such as 2026-12-01, which lasts until local midnight where the goods are, \
         or a time with its offset, such as 2026-12-01T12:00:00+01:00"
    )]
    Form(String),
    /// It has the form, and a part of it does not exist.
    #[error(transparent)]
    Time(TimeError),
    /// Outside of the years that can be kept.
    #[error("{0:?}: the year is out of range; write one from 0001 to 9999")]
    Year(String),
}

impl Expires {
    /// Parses a day (`2026-12-01`) or RFC 3339 with an offset. More than six fractional digits are cut.
    ///
    /// # Errors
    /// [`ExpiresError`] for anything else, a time without offset and a day with one above all.
    pub fn parse(text: &str) -> Result<Self, ExpiresError> {
        let is_day = text.len() == 10 && text.is_ascii() && !text.contains(['T', 't', ' ']);
        let whole = if is_day { format!("{text}Z") } else { text.to_owned() };
        let at = OccurredAt::parse(&whole).map_err(|error| match error {
            TimeError::Form(_) => ExpiresError::Form(text.to_owned()),
            TimeError::NoSuchDay { day, last, .. } => {
                ExpiresError::Time(TimeError::NoSuchDay { text: text.to_owned(), day, last })
            }
            other => ExpiresError::Time(other),
        })?;
        let (year, day) = (DateTime::from_timestamp_micros(at.instant.0).map(|at| at.date_naive()), at.instant.0);
        if !year.as_ref().is_some_and(in_years) {
            return Err(ExpiresError::Year(text.to_owned()));
        }
        match (at.precision, is_day) {
            (Precision::Instant, _) => Ok(Self::Moment { instant: at.instant, offset_minutes: at.offset_minutes }),
            (Precision::Day, true) => {
                let number = i32::try_from(day.div_euclid(DAY_MICROS)).expect("within the years of days");
                Day::from_number(number).map(Self::Day).ok_or_else(|| ExpiresError::Year(text.to_owned()))
            }
            (Precision::Day, false) => Err(ExpiresError::Form(text.to_owned())),
        }
    }

    /// The first instant at which goods in a zone are good no more.
    pub fn at(self, zone: Zone) -> Instant {
        match self {
            Self::Day(day) => day.ends(zone),
            Self::Moment { instant, .. } => instant,
        }
    }

    /// The local day on which goods in a zone are good for the last time.
    pub fn day(self, zone: Zone) -> Day {
        match self {
            Self::Day(day) => day,
            Self::Moment { instant, .. } => zone.day_of(instant),
        }
    }

    /// Whether two tell the same: the same day, or the same moment in whatever offset.
    pub fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Moment { instant, .. }, Self::Moment { instant: other, .. }) => instant == other,
            (one, other) => one == other,
        }
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Day(day) => day.fmt(f),
            Self::Moment { instant, offset_minutes } => {
                OccurredAt { instant, offset_minutes, precision: Precision::Instant }.fmt(f)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(day: &str, zone: &str) -> String {
        let zone = Zone::parse(zone).expect("a zone");
        Day::parse(day).expect("a day").ends(zone).to_string()
    }

    #[test]
    fn a_day_ends_at_local_midnight_in_summer_and_in_winter() {
        for (day, zone, at) in [
            ("2026-12-01", "UTC", "2026-12-02T00:00:00Z"),
            ("2026-12-01", "Europe/Berlin", "2026-12-01T23:00:00Z"),
            ("2026-07-01", "Europe/Berlin", "2026-07-01T22:00:00Z"),
            // The day on which the clocks are put forward, and the one on which they are put back.
            ("2026-03-29", "Europe/Berlin", "2026-03-29T22:00:00Z"),
            ("2026-03-28", "Europe/Berlin", "2026-03-28T23:00:00Z"),
            ("2026-10-25", "Europe/Berlin", "2026-10-25T23:00:00Z"),
            ("2026-12-01", "America/New_York", "2026-12-02T05:00:00Z"),
            ("2026-12-01", "Asia/Kathmandu", "2026-12-01T18:15:00Z"),
        ] {
            assert_eq!(ends(day, zone), at, "{day} in {zone}");
        }
    }

    #[test]
    fn a_midnight_that_is_skipped_or_comes_twice_is_no_doubt() {
        for (day, zone, at) in [
            // Put forward at midnight: the next day begins at 01:00.
            ("2018-11-03", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
            ("2024-04-25", "Africa/Cairo", "2024-04-25T22:00:00Z"),
            // Put back at 01:00 to 00:00: midnight comes twice, and the first counts.
            ("2025-11-01", "America/Havana", "2025-11-02T04:00:00Z"),
            // Put back at midnight to 23:00: the day has 25 hours.
            ("2018-02-17", "America/Sao_Paulo", "2018-02-18T03:00:00Z"),
            // A day that was left out: what was good until the day before it was good until its end.
            ("2011-12-29", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(ends(day, zone), at, "{day} in {zone}");
        }
    }

    #[test]
    fn the_end_of_a_day_is_the_beginning_of_the_next_in_every_zone() {
        for zone in TZ_VARIANTS.map(Zone) {
            for number in (-40_000..40_000).step_by(617) {
                let day = Day::from_number(number).expect("a day");
                let next = Day::from_number(number + 1).expect("a day");
                let at = day.ends(zone);
                assert_eq!(at, next.begins(zone), "{day} in {}", zone.name());
                assert!(zone.day_of(at) > day, "{day} in {}", zone.name());
                assert!(zone.day_of(at.plus_micros(-1)) <= day, "{day} in {}", zone.name());
            }
        }
    }

    #[test]
    fn what_is_printed_is_what_was_read() {
        for text in ["2026-12-01", "0001-01-01", "9999-12-30", "2026-12-01T12:00:00+01:00", "2026-12-01T12:00:00.250Z"]
        {
            assert_eq!(Expires::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn bad_dates_and_zones_say_what_to_do() {
        for (text, told) in [
            ("2026-02-30", "\"2026-02-30\": there is no day 2026-02-30; the last one of that month is 2026-02-28"),
            ("2026-13-01", "write months from 01 to 12"),
            ("2026-12-01T12:00:00", "is no expiry date; write a day such as 2026-12-01"),
            ("2026-12-01+01:00", "is no expiry date"),
            ("01.12.2026", "is no expiry date"),
            ("", "is no expiry date"),
            ("2026-12-0é", "is no expiry date"),
            ("2026-12-01T25:00:00Z", "there is no time of day 25:00:00"),
            ("0000-12-01", "the year is out of range"),
        ] {
            let error = Expires::parse(text).expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        for (name, told) in [
            ("europe/berlin", "write \"Europe/Berlin\", if that is meant"),
            ("Berlin", "write \"Europe/Berlin\", if that is meant"),
            ("America/New York", "write \"America/New_York\""),
            ("Europe/Nowhere", "write one such as Europe/Berlin, or UTC"),
            ("", "write one such as Europe/Berlin, or UTC"),
        ] {
            let error = Zone::parse(name).expect_err(name).to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
    }
}
