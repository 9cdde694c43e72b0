//! Section 5: the book of one slice, its debts and its episodes.

use lotline_domain::id::EventId;
use lotline_domain::time::Instant;

use super::number::{Number, least, not_below_zero, zero};

/// What an outflow took that was not there, as far as it is not repaid.
#[derive(Debug, Clone)]
pub struct Debt {
    pub at: Instant,
    pub latest: Instant,
    pub left: Number,
    pub cause: EventId,
}

/// A time during which a slice was below zero.
#[derive(Debug, Clone)]
pub struct Interval {
    pub began: Instant,
    pub ended: Option<Instant>,
    pub cause: EventId,
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
    pub debts: Vec<Debt>,
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
            debts: Vec::new(),
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

    pub fn owed(&self) -> Number {
        self.debts.iter().fold(zero(), |sum, debt| sum + &debt.left)
    }

    /// Takes a quantity out. What is not there is a debt, except where an unknown quantity lies.
    pub fn take(&mut self, amount: &Number, at: Instant, latest: Instant, cause: &EventId) {
        let short = amount - not_below_zero(&self.balance);
        if !self.open && short > zero() {
            if self.debts.is_empty() {
                self.intervals.push(Interval { began: at, ended: None, cause: cause.clone() });
            }
            self.debts.push(Debt { at, latest, left: short, cause: cause.clone() });
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

    /// Puts a quantity in. Returns what of it paid debts of earlier instants: since when it counts, and
    /// how much; and how much of it paid debts at all.
    pub fn put(&mut self, amount: &Number, at: Instant) -> (Vec<(Instant, Number)>, Number) {
        let mut counts_from = Vec::new();
        let mut left = amount.clone();
        for debt in &mut self.debts {
            let part = least(&left, &debt.left);
            if part > zero() {
                debt.left -= &part;
                left -= &part;
                // Within one instant nothing was ever missing.
                if debt.at != at {
                    counts_from.push((debt.at, part));
                }
            }
        }
        self.debts.retain(|debt| debt.left > zero());
        if self.debts.is_empty()
            && let Some(interval) = self.intervals.last_mut()
            && interval.ended.is_none()
        {
            interval.ended = Some(at);
        }
        if !counts_from.is_empty() {
            self.disturbed.push(at);
        }
        self.balance += amount;
        if self.balance > zero() && self.since.is_none() {
            self.since = Some(at);
        }
        self.inflows.push(at);
        self.note(at);
        (counts_from, amount - left)
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

    /// Section 8: the instants at whose end the balance of an undisturbed slice was exactly zero.
    pub fn ends(&self) -> Vec<Instant> {
        let mut ends = Vec::new();
        if !self.disturbed.is_empty() || self.negative().next().is_some() {
            return ends;
        }
        for (index, moment) in self.history.iter().enumerate() {
            let last_of_instant = self.history.get(index + 1).is_none_or(|next| next.at != moment.at);
            let begun = ends.last().copied();
            let entered = self.inflows.iter().any(|at| *at <= moment.at && begun.is_none_or(|end| *at > end));
            if last_of_instant && entered && moment.balance == zero() {
                ends.push(moment.at);
            }
        }
        ends
    }
}
