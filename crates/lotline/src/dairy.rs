//! A simulated dairy: farm tankers, silos, pasteurising, cheese, rework, packs, pallets, customers.
//!
//! It is the `demo` command's data and the benches' generator. Everything follows from the seed; there is
//! no clock in it. Days are made one at a time, so memory does not grow with their number. Its books are
//! tidy once everything is recorded, apart from a few planted discrepancies (see [`Story`]).
//!
//! It invents what happened and never says what follows from it: no balance, no trace, no scope comes
//! from here.

mod catalogue;
mod cheese;
mod dispatch;
mod incidents;
mod milk;
mod packing;
mod random;
pub mod shape;
mod site;
mod story;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use chrono::{Datelike, Days, NaiveDate};
use lotline_domain::command::Command;
use lotline_domain::expiry::{Day, Expires};
use lotline_domain::time::Instant;

use catalogue::Catalogue;
use site::Site;
use story::Parts;
pub use story::{Corrected, CountDifference, Held, Returned, Shortage, Story};
use tell::Teller;

/// The IANA time zone of all sites. It has no summer time, so every local day has 24 hours.
pub const TIME_ZONE: &str = "Australia/Brisbane";
/// Minutes east of UTC of [`TIME_ZONE`], all year.
pub const OFFSET_MINUTES: i32 = 600;
/// The fewest days in which the whole [`Story`] happens.
pub const STORY_DAYS: u32 = 14;

/// What dairy to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// All chance follows from it.
    pub seed: u64,
    /// Local days, from `start` on. The planted incidents repeat every [`STORY_DAYS`] days, counted back
    /// from the last day; with fewer days some of them do not happen.
    pub days: u32,
    /// The first local day.
    pub start: NaiveDate,
    /// How many sites like the first one work side by side; 0 is taken as 1.
    pub scale: u32,
}

impl Default for Options {
    fn default() -> Self {
        let start = NaiveDate::from_ymd_opt(2026, 3, 2).expect("a day of the calendar");
        Self { seed: 1, days: 21, start, scale: 1 }
    }
}

impl Options {
    /// The same, with the last day being `day`.
    ///
    /// # Panics
    /// Where the first day would lie before the calendar begins (some 260,000 years ago).
    #[must_use]
    pub fn ending(mut self, day: NaiveDate) -> Self {
        let back = Days::new(u64::from(self.days.saturating_sub(1)));
        self.start = day.checked_sub_days(back).expect("the first day is in the calendar");
        self
    }
}

/// A command, and when the simulated ledger records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Strictly increasing from one to the next; never before the fact's own instant.
    pub recorded_at: Instant,
    /// What is told; all are observations.
    pub command: Command,
}

/// The stream of what the dairy records, in recorded order.
#[derive(Debug)]
pub struct Dairy {
    options: Options,
    catalogue: Catalogue,
    sites: Vec<Site>,
    teller: Teller,
    parts: Parts,
    day: u32,
    ready: VecDeque<Told>,
    last: Instant,
}

impl Dairy {
    /// A dairy before its first day.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let options = Options { scale: options.scale.max(1), ..options };
        let catalogue = Catalogue::new();
        let sites = (0..options.scale).map(|number| Site::new(number, options.seed, &catalogue)).collect();
        let teller = Teller::new(midnight(options.start), options.days);
        Self {
            options,
            catalogue,
            sites,
            teller,
            parts: Parts::default(),
            day: 0,
            ready: VecDeque::new(),
            last: Instant::MIN,
        }
    }

    /// What the demo tells about, as it happened at the first site in the last [`STORY_DAYS`] days:
    /// `None` until all of it has been generated, and for ever with fewer days than that.
    #[must_use]
    pub fn story(&self) -> Option<Story> {
        self.parts.complete()
    }

    /// The local midnight after the last day: nothing happens or is recorded later.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.teller.end()
    }

    /// Everything at once, with its story: for small dairies.
    #[must_use]
    pub fn collect_all(mut self) -> (Vec<Told>, Option<Story>) {
        let told = self.by_ref().collect();
        (told, self.story())
    }

    fn live_a_day(&mut self) {
        let date = self.options.start + Days::new(u64::from(self.day));
        self.teller.begin_day(self.day);
        if self.day == 0 {
            self.catalogue.define(&mut self.teller);
        }
        for site in &mut self.sites {
            if self.day == 0 {
                site.define(&self.catalogue, &mut self.teller);
            }
            let today = Today {
                day: self.day,
                left: self.options.days - self.day,
                code: format!("{}{:02}{:03}", site.tag, date.year().rem_euclid(100), date.ordinal()),
                date,
            };
            let noting = (site.number == 0 && today.left <= STORY_DAYS).then_some(&mut self.parts);
            let mut shift =
                Shift { site, catalogue: &self.catalogue, tell: &mut self.teller, today: &today, story: noting };
            shift.work();
        }
        self.day += 1;
        let last_day = self.day == self.options.days;
        for (raw, command) in self.teller.take_recorded(last_day) {
            let recorded_at = raw.max(self.last.plus_micros(1));
            self.last = recorded_at;
            if let Some(corrected) = self.parts.corrected.as_mut().filter(|found| found.by == command.event.id) {
                corrected.recorded_at = recorded_at;
            }
            self.ready.push_back(Told { recorded_at, command });
        }
    }
}

impl Iterator for Dairy {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        while self.ready.is_empty() && self.day < self.options.days {
            self.live_a_day();
        }
        self.ready.pop_front()
    }
}

fn midnight(date: NaiveDate) -> Instant {
    let utc = date.and_hms_opt(0, 0, 0).expect("every day has a midnight").and_utc();
    Instant(utc.timestamp_micros() - i64::from(OFFSET_MINUTES) * 60_000_000)
}

/// One day of one site.
struct Today {
    /// From 0.
    day: u32,
    /// Days left, this one included: the last day has 1.
    left: u32,
    /// Begins every code that is given today: site, year, day of the year.
    code: String,
    date: NaiveDate,
}

impl Today {
    /// To the end of a day, so many days from now.
    fn good_for(&self, days: u64) -> Option<Expires> {
        let last = self.date.checked_add_days(Days::new(days))?;
        Day::from_ymd(last.year(), last.month(), last.day()).map(Expires::Day)
    }
}

/// A site at work on one day: what the parts of the process share.
struct Shift<'a> {
    site: &'a mut Site,
    catalogue: &'a Catalogue,
    tell: &'a mut Teller,
    today: &'a Today,
    /// Where the story is noted, if this is the day and the site of it.
    story: Option<&'a mut Parts>,
}

impl Shift<'_> {
    fn work(&mut self) {
        self.settle_yesterday();
        self.receive_supplies();
        self.receive_milk();
        self.pasteurise();
        self.make_cheese();
        self.churn();
        self.pack_ripe_cheese();
        self.melt_trimmings();
        self.fill_cases();
        self.deliver();
        self.take_back();
        self.stack_and_ship();
        self.ship_whey();
        self.count();
        self.clean();
    }

    /// Where in the cycle of incidents this day is: 14 to 1, and 1 on the first site's last day.
    fn cycle(&self) -> u32 {
        (self.today.left - 1 + self.site.cycle_shift) % STORY_DAYS + 1
    }
}
