//! Section 12: until when batches are good.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use lotline_domain::expiry::Expires;
use lotline_domain::fact::{Fact, RunKind, anonymous_blend};
use lotline_domain::id::{BatchRef, EventId, Place, RunId};
use lotline_domain::time::Instant;

use super::Discrepancy;
use super::live::Live;
use super::names::Batch;
use super::settle::Settled;

/// A date that a fact tells, with the order of that fact.
#[derive(Debug, Clone)]
struct Told {
    order: (Instant, Option<u64>, EventId),
    expires: Expires,
}

/// What a fact tells until when.
fn dates(event: &Live) -> Vec<(BatchRef, Expires)> {
    match &event.fact {
        Fact::Received { lines, .. } => {
            lines.iter().filter_map(|line| Some((line.batch.clone(), line.expires?))).collect()
        }
        Fact::Produced(report) => {
            report.outputs.iter().filter_map(|output| Some((output.batch.clone(), output.expires?))).collect()
        }
        Fact::VesselDrawn { vessel, batch, expires: Some(expires), .. } => {
            let blend = || BatchRef::Known(anonymous_blend(vessel, &event.id, 0));
            vec![(batch.clone().unwrap_or_else(blend), *expires)]
        }
        _ => Vec::new(),
    }
}

impl Settled {
    /// All that facts tell of a batch itself.
    fn own_dates(&self, batch: &Batch) -> Vec<Told> {
        let mut found = Vec::new();
        for event in &self.live {
            if self.bounds.as_of.is_some_and(|as_of| event.instant() > as_of) {
                continue;
            }
            let (at, sequence, id) = event.order();
            for (of, expires) in dates(event) {
                if self.names.resolve(&of) == *batch {
                    found.push(Told { order: (at, sequence, id.clone()), expires });
                }
            }
        }
        found
    }

    /// Its own, or those of what it was split, merged or re-packed from.
    fn dates(&self, batch: &Batch) -> Vec<Told> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([batch.clone()]);
        let mut waiting = vec![batch.clone()];
        while let Some(next) = waiting.pop() {
            let own = self.own_dates(&next);
            if own.is_empty() {
                for parent in self.made_from(&next) {
                    if seen.insert(parent.clone()) {
                        waiting.push(parent);
                    }
                }
            }
            found.extend(own);
        }
        found
    }

    fn made_from(&self, batch: &Batch) -> Vec<Batch> {
        let mut found = Vec::new();
        for (id, run) in self.runs() {
            if self.kind_of_run(&id) == Some(RunKind::Production) {
                continue;
            }
            for output in run.outputs.iter().filter(|output| output.batch == *batch) {
                found.extend(run.inputs.iter().filter(|i| run.connects(i, output)).map(|i| i.batch.clone()));
            }
        }
        found
    }

    /// By its last report in step order.
    fn kind_of_run(&self, run: &RunId) -> Option<RunKind> {
        let mut last = None;
        for event in &self.live {
            match &event.fact {
                Fact::Produced(report)
                    if report.run == *run && self.bounds.as_of.is_none_or(|as_of| event.instant() <= as_of) =>
                {
                    last = Some(report.kind);
                }
                _ => {}
            }
        }
        last
    }

    /// Until when a batch is good at a place: the date, the instant and the zone, in one text; empty where nobody tells.
    pub fn expiry(&self, batch: &Batch, stands: &Place) -> String {
        let zone: Tz = self.zone_name(stands).and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC);
        let moments = self.dates(batch).into_iter().map(|told| {
            let (rank, over) = match told.expires {
                Expires::Day(day) => (0, end_of(&day.to_string(), zone)),
                Expires::Moment { instant, .. } => (1, instant),
            };
            (over, rank, told.order, told.expires)
        });
        let Some((over, _, _, expires)) = moments.min() else {
            return String::new();
        };
        format!("{expires} until {over} in {}", zone.name())
    }

    /// The nearest place around that says a zone which exists.
    fn zone_name(&self, stands: &Place) -> Option<String> {
        let mut at = match stands {
            Place::Location(location) => Some(location),
            Place::Vessel(vessel) => self.sites.vessel_at(vessel),
            _ => None,
        };
        while let Some(location) = at {
            match self.sites.zone(location) {
                Some(name) if name.parse::<Tz>().is_ok() => return Some(name.to_owned()),
                _ => at = self.sites.parent(location),
            }
        }
        None
    }

    pub(super) fn differing_dates(&self) -> BTreeSet<Discrepancy> {
        let mut found = BTreeSet::new();
        let batches: BTreeSet<Batch> =
            self.live.iter().flat_map(dates).map(|(batch, _)| self.names.resolve(&batch)).collect();
        for batch in batches {
            let mut told = self.own_dates(&batch);
            told.sort_by(|a, b| a.order.cmp(&b.order));
            let same = |a: Expires, b: Expires| match (a, b) {
                (Expires::Day(a), Expires::Day(b)) => a == b,
                (Expires::Moment { instant: a, .. }, Expires::Moment { instant: b, .. }) => a == b,
                _ => false,
            };
            // CHOICE: of several dates in one fact the first is a day before a time, and the earlier.
            let first = told
                .iter()
                .filter(|other| other.order == told[0].order)
                .min_by_key(|other| match other.expires {
                    Expires::Day(day) => (0, i64::from(day.number()), 0),
                    Expires::Moment { instant, offset_minutes } => (1, instant.0, offset_minutes),
                })
                .map(|first| first.expires);
            for other in &told {
                if first.is_some_and(|first| !same(first, other.expires)) {
                    found.insert(Discrepancy {
                        kind: "expiry differs",
                        batch: batch.to_string(),
                        place: String::new(),
                        cause: other.order.2.to_string(),
                    });
                }
            }
        }
        found
    }
}

/// The first instant whose local date is later than a day: looked for by the hour, the minute and the second.
fn end_of(day: &str, zone: Tz) -> Instant {
    let day: NaiveDate = day.parse().expect("printed days are days");
    let later = |at: &DateTime<Utc>| zone.from_utc_datetime(&at.naive_utc()).date_naive() > day;
    let mut at = day.and_hms_opt(0, 0, 0).expect("a midnight").and_utc() - chrono::TimeDelta::hours(16);
    for step in [3600, 60, 1] {
        let step = chrono::TimeDelta::seconds(step);
        while !later(&(at + step)) {
            at += step;
        }
    }
    Instant((at + chrono::TimeDelta::seconds(1)).timestamp_micros())
}
