//! Section 5: the book of one slice, its debts and its episodes.

use lotline_domain::id::EventId;
use lotline_domain::time::Instant;

use super::number::{Number, least, not_below_zero, zero};
use super::walk::Tier;

/// An outflow that took more than there was.
#[derive(Debug, Clone)]
pub struct Shortage {
    pub at: Instant,
    pub latest: Instant,
    pub cause: EventId,
}

/// A time during which a slice was below zero.
#[derive(Debug, Clone)]
pub struct Interval {
    pub began: Instant,
    pub ended: Option<Instant>,
    pub cause: EventId,
    /// Every outflow in it that took what was not there.
    pub shortages: Vec<Shortage>,
}

/// What an inflow paid of an overdraft.
#[derive(Debug, Clone)]
pub struct Paid {
    pub amount: Number,
    /// Since when the inflow counts: the beginning of the negative interval (ruling 1).
    pub from: Option<Instant>,
}

/// Where a slice's book divides into parts (ruling 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Break {
    /// From this instant on "nothing is left by the book" proves nothing.
    Disturbed,
    /// At the end of this instant nothing was left by the book.
    Empty,
}

/// The book as it stood after a step.
#[derive(Debug, Clone)]
pub struct Moment {
    pub at: Instant,
    pub balance: Number,
    pub unknown: bool,
}

/// One slice.
#[derive(Debug, Clone)]
pub struct SliceBook {
    pub balance: Number,
    /// An unknown quantity flowed to or from it since it was last emptied or counted.
    pub unknown: bool,
    /// It holds something of unknown quantity, and was not emptied or counted since.
    pub open: bool,
    pub assumed: bool,
    /// Since when the balance has been above zero (or in doubt) without a break.
    pub since: Option<Instant>,
    /// What it owes: taken, not there, and not repaid.
    pub owed: Number,
    pub intervals: Vec<Interval>,
    pub history: Vec<Moment>,
    pub inflows: Vec<Instant>,
    /// When something happened after which "exactly zero" proves nothing.
    pub disturbed: Vec<Instant>,
}

impl Default for SliceBook {
    fn default() -> Self {
        Self {
            balance: zero(),
            unknown: false,
            open: false,
            assumed: false,
            since: None,
            owed: zero(),
            intervals: Vec::new(),
            history: Vec::new(),
            inflows: Vec::new(),
            disturbed: Vec::new(),
        }
    }
}

impl SliceBook {
    /// A candidate: it holds something, or nobody knows how much.
    pub fn has_some(&self) -> bool {
        self.open || self.balance > zero()
    }

    /// Takes a quantity out. What is not there is owed, except where an unknown quantity lies.
    pub fn take(&mut self, amount: &Number, at: Instant, latest: Instant, cause: &EventId) {
        let short = amount - not_below_zero(&self.balance);
        if !self.open && short > zero() {
            if self.owed == zero() {
                self.intervals.push(Interval { began: at, ended: None, cause: cause.clone(), shortages: Vec::new() });
            }
            let interval = self.intervals.last_mut().expect("one began");
            interval.shortages.push(Shortage { at, latest, cause: cause.clone() });
            self.owed += short;
        }
        self.balance -= amount;
        if self.balance <= zero() && !self.open {
            self.since = None;
        }
        self.note(at);
    }

    /// Takes out of a sink, which owes nothing.
    pub fn take_freely(&mut self, amount: &Number, at: Instant) {
        self.balance -= amount;
        self.note(at);
    }

    /// Pays what it owes, as far as an inflow goes.
    pub fn pay(&mut self, amount: &Number, at: Instant) -> Paid {
        let paid = least(amount, &self.owed);
        if paid <= zero() {
            return Paid { amount: zero(), from: None };
        }
        self.owed -= &paid;
        let repaid = self.owed == zero();
        let interval = self.intervals.last_mut().expect("what is owed began with one");
        if repaid {
            interval.ended = Some(at);
        }
        // Within one instant nothing was ever missing.
        let from = (interval.began != at).then_some(interval.began);
        Paid { amount: paid, from }
    }

    /// Puts a quantity in.
    pub fn put(&mut self, amount: &Number, at: Instant) -> Paid {
        let paid = self.pay(amount, at);
        self.balance += amount;
        if self.balance > zero() && self.since.is_none() {
            self.since = Some(at);
        }
        self.inflows.push(at);
        self.note(at);
        paid
    }

    /// The outflows of the negative interval that has not ended.
    pub fn open_shortages(&self) -> Vec<Shortage> {
        let open = self.intervals.last().filter(|interval| interval.ended.is_none());
        open.map_or_else(Vec::new, |interval| interval.shortages.clone())
    }

    /// Something of unknown quantity came in.
    pub fn put_unknown(&mut self, at: Instant) {
        self.open = true;
        self.unknown = true;
        self.since = self.since.or(Some(at));
        self.disturbed.push(at);
        self.inflows.push(at);
        self.note(at);
    }

    /// Something of unknown quantity went out.
    pub fn take_unknown(&mut self, at: Instant) {
        self.unknown = true;
        self.disturbed.push(at);
        self.note(at);
    }

    /// Emptied or counted: what is there is known again. CHOICE: the mark goes, too.
    pub fn close(&mut self, at: Instant) {
        self.open = false;
        self.unknown = false;
        if self.balance <= zero() {
            self.since = None;
        }
        self.note(at);
    }

    fn note(&mut self, at: Instant) {
        self.history.push(Moment { at, balance: self.balance.clone(), unknown: self.unknown });
    }

    /// Negative intervals that have a length.
    pub fn negative(&self) -> impl Iterator<Item = &Interval> {
        self.intervals.iter().filter(|interval| interval.ended != Some(interval.began))
    }

    /// Whether anything was in it before an instant.
    pub fn had_before(&self, instant: Instant) -> bool {
        let before = self.history.iter().rev().find(|moment| moment.at < instant);
        before.is_some_and(|moment| moment.unknown || moment.balance != zero())
    }

    /// Ruling 23: the instants at whose end nothing was left by the book of what had come in, and the first
    /// one from which on the book proves nothing.
    pub fn parts(&self) -> Parts {
        let negative = self.negative().map(|interval| interval.began);
        let disturbed = self.disturbed.iter().copied().chain(negative).min();
        let mut breaks: Vec<_> = disturbed.map(|at| (at, Break::Disturbed)).into_iter().collect();
        let mut begun = None;
        for (index, moment) in self.history.iter().enumerate() {
            let last_of_instant = self.history.get(index + 1).is_none_or(|next| next.at != moment.at);
            let entered = self.inflows.iter().any(|at| *at <= moment.at && begun.is_none_or(|end| *at > end));
            if last_of_instant && entered && moment.balance <= zero() && !moment.unknown {
                breaks.push((moment.at, Break::Empty));
                begun = Some(moment.at);
            }
        }
        breaks.sort();
        Parts(breaks)
    }
}

/// The parts of a slice's book.
#[derive(Debug, Clone)]
pub struct Parts(Vec<(Instant, Break)>);

impl Parts {
    /// In which part of the book an instant lies. What happens at the instant of an emptiness is before it.
    pub fn part(&self, at: Instant) -> usize {
        let passed = |(when, what): &&(Instant, Break)| match what {
            Break::Disturbed => *when <= at,
            Break::Empty => *when < at,
        };
        self.0.iter().filter(passed).count()
    }

    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.0.len() + 1
    }

    /// Whether by a part the book proves nothing any more.
    pub fn is_disturbed_by(&self, part: usize) -> bool {
        self.0[..part].iter().any(|(_, what)| *what == Break::Disturbed)
    }

    /// How sure it can be that what was there in one part is there in a later one: where nothing was left in
    /// between it is not, or, if the book was disturbed by then, possibly.
    pub fn across(&self, from: usize, to: usize) -> Tier {
        let emptied = self.0[from..to].iter().any(|(_, what)| *what == Break::Empty);
        match (emptied, self.is_disturbed_by(to)) {
            (false, _) => Tier::Certain,
            (true, true) => Tier::Possible,
            (true, false) => Tier::Cleared,
        }
    }
}
