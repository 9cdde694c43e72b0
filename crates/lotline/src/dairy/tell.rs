//! Turns what happened into commands, with the time at which each is recorded.

use std::cmp::Reverse;
use std::fmt::Write;

use lotline_domain::command::{Command, Mode};
use lotline_domain::fact::{Event, Fact};
use lotline_domain::id::{CommandId, EventId, SourceId};
use lotline_domain::time::{Instant, OccurredAt, Precision};

use super::OFFSET_MINUTES;
use super::random::Random;

const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400;

/// Seconds after the local midnight.
pub(super) const fn clock(hour: i64, minute: i64) -> i64 {
    hour * 3600 + minute * 60
}

/// A reporting system; the floor's numbers its messages.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) source: SourceId,
    numbered: bool,
    sent: u64,
}

impl Desk {
    pub(super) fn new(source: &str, numbered: bool) -> Self {
        Self { source: SourceId::parse(source).expect("a generated name is a name"), numbered, sent: 0 }
    }
}

/// When something happened, and how long its paperwork takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    /// Seconds after today's local midnight.
    pub(super) at: i64,
    /// Seconds until it is recorded, at most until the simulation ends.
    pub(super) paper: i64,
    /// Dated by its day only.
    pub(super) by_day: bool,
}

impl When {
    /// Recorded within the quarter of an hour.
    pub(super) fn prompt(at: i64, random: &mut Random) -> Self {
        Self { at, paper: random.between(5, 840), by_day: false }
    }

    /// Recorded some days later.
    pub(super) fn late(at: i64, days: i64, random: &mut Random) -> Self {
        Self { at, paper: days * DAY + random.between(0, 7200), by_day: false }
    }
}

#[derive(Debug)]
pub(super) struct Teller {
    first: Instant,
    end: Instant,
    midnight: Instant,
    told: u64,
    text: String,
    /// What is not yet recorded at the end of the day stays here: late paperwork.
    drafts: Vec<(Instant, u64, Command)>,
}

impl Teller {
    pub(super) fn new(first: Instant, days: u32) -> Self {
        let end = first.plus_micros(i64::from(days) * DAY * SECOND);
        Self { first, end, midnight: first, told: 0, text: String::new(), drafts: Vec::new() }
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// How many facts wait for their recording.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.drafts.len()
    }

    pub(super) fn begin_day(&mut self, day: u32) {
        self.midnight = self.first.plus_micros(i64::from(day) * DAY * SECOND);
    }

    /// The instant so many seconds after today's local midnight.
    pub(super) fn instant(&self, at: i64) -> Instant {
        self.midnight.plus_micros(at * SECOND)
    }

    pub(super) fn occurred(&self, when: When) -> OccurredAt {
        let (instant, precision) =
            if when.by_day { (self.midnight, Precision::Day) } else { (self.instant(when.at), Precision::Instant) };
        OccurredAt { instant, offset_minutes: OFFSET_MINUTES, precision }
    }

    /// Tells it as an observation; the answer is the event's id.
    pub(super) fn tell(&mut self, desk: &mut Desk, when: When, fact: Fact) -> EventId {
        self.told += 1;
        desk.sent += 1;
        self.text.clear();
        write!(self.text, "{}-{:07}", desk.source, self.told).expect("a string takes all text");
        let id = EventId::parse(&self.text).expect("a generated name is a name");
        let command = CommandId::parse(&self.text).expect("a generated name is a name");
        let happened = self.instant(when.at);
        // What would come in after the last day is handed in on its evening.
        let closing = self.end.plus_micros(-SECOND).max(happened);
        let recorded = happened.plus_micros(when.paper * SECOND).min(closing);
        let event = Event {
            id: id.clone(),
            command,
            source: desk.source.clone(),
            occurred_at: self.occurred(when),
            sequence: desk.numbered.then_some(desk.sent),
            fact,
        };
        self.drafts.push((recorded, self.told, Command { mode: Mode::Observation, event }));
        id
    }

    /// What is recorded before the next midnight (on the last day: all), in recorded order.
    pub(super) fn take_recorded(&mut self, all: bool) -> impl Iterator<Item = (Instant, Command)> + use<'_> {
        let tomorrow = self.instant(DAY);
        // Descending, so that what is due can be cut off the end.
        self.drafts.sort_unstable_by_key(|draft| Reverse((draft.0, draft.1)));
        let kept = if all { 0 } else { self.drafts.partition_point(|draft| draft.0 >= tomorrow) };
        self.drafts.drain(kept..).rev().map(|(recorded, _, command)| (recorded, command))
    }
}
