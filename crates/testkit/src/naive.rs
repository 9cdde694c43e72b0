//! The naive model: a second, independent answer to every question about settlement.
//!
//! It follows `schemas/settlement.md` and the rulings as literally as it can, recomputes everything for
//! every question, and knows no speed. It shares nothing with the engine but the plain types of facts.
//! Where the pages leave a choice, the comment at the place says `CHOICE` and which one was taken.
//!
//! ```text
//! events ─ live (1) ─ names, units (9) ─ steps (2) ─ settle (3, 4, 5, 7) ─ flows, contents
//!                                                    └ walk (8), runs (6), holds (10), scope (11), expiry (12)
//! ```
//! The numbers are the sections of `schemas/settlement.md`.

mod booking;
mod containers;
mod expiry;
mod filling;
mod holds;
mod live;
mod names;
mod number;
#[cfg(test)]
mod paths;
mod pick;
mod places;
mod runs;
mod scope;
mod settle;
mod slice;
mod steps;
mod sums;
mod units;
mod vessel;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::Event;
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::time::Instant;

pub use holds::HoldCover;
pub use number::{Number, decimal, number};
pub use runs::{Rest, RunBalance};
pub use scope::{Exposure, Row};
pub use settle::{Flow, Node, Settled};
pub use sums::Sums;
pub use vessel::DrawContent;
pub use walk::{Reached, Tier, Trace};

/// Within which bounds something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The last commit that counts.
    pub known: u64,
    /// The last instant whose effects count; `None` for all.
    pub as_of: Option<Instant>,
    /// The grade of clean that cuts contact; 1 unless a hazard asks for more.
    pub hazard: u8,
}

impl Bounds {
    /// Everything that is known.
    pub const ALL: Self = Self { known: u64::MAX, as_of: None, hazard: 1 };

    /// Everything known at a commit.
    pub fn known(known: u64) -> Self {
        Self { known, ..Self::ALL }
    }

    /// The same, up to an instant of effective time.
    #[must_use]
    pub fn as_of(mut self, as_of: Instant) -> Self {
        self.as_of = Some(as_of);
        self
    }
}

/// What one slice holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// In the base unit of the batch, exact; below zero for an overdraft.
    pub amount: Number,
    /// Something of unknown quantity flowed to or from it (section 4).
    pub unknown: bool,
    /// It was picked from or entered by an assumed pick, or is reached from what one entered (ruling 4).
    pub assumed: bool,
    /// Where it is: for a container where that stands, else the place itself (section 3).
    pub stands: Place,
    /// The holds that cover it at the asked moment (section 10).
    pub holds: BTreeSet<String>,
    /// Until when it is good there, in words; empty where nobody tells (section 12).
    pub expires: String,
}

/// An open discrepancy: what kind, about which batch and place, and which fact caused it (ruling 31).
/// Batch or place are empty where there is none; the place of a run is `run:<its id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Discrepancy {
    /// Its kind, in the words of ruling 31.
    pub kind: &'static str,
    /// Written form of the batch.
    pub batch: String,
    /// Written form of the place.
    pub place: String,
    /// The event that caused it.
    pub cause: String,
}

/// All recorded events; answers are computed from them anew for every question.
#[derive(Debug, Clone)]
pub struct Naive {
    events: Vec<(u64, Event)>,
}

impl Naive {
    /// A model that knows these events with the numbers of their commits, in order of recording.
    pub fn new(events: Vec<(u64, Event)>) -> Self {
        Self { events }
    }

    /// The events that it knows.
    pub fn events(&self) -> &[(u64, Event)] {
        &self.events
    }

    /// Settles everything within the bounds; the answers are methods of what comes back.
    pub fn settle(&self, bounds: Bounds) -> Settled {
        Settled::new(&self.events, bounds)
    }

    /// What is where: every slice whose balance is not zero or in doubt, sinks and parties included
    /// (sections 3 to 5 and 7; in a vessel the split is the mix model's).
    pub fn on_hand(&self, bounds: Bounds) -> BTreeMap<(String, String), Balance> {
        self.settle(bounds).on_hand()
    }

    /// The settled flows in step order (sections 3 to 5).
    pub fn flows(&self, bounds: Bounds) -> Vec<Flow> {
        self.settle(bounds).flows
    }

    /// Everything that a batch reaches, without itself unless it comes back to itself (section 8).
    pub fn forward(&self, batch: &BatchRef, bounds: Bounds) -> BTreeMap<String, Tier> {
        self.settle(bounds).forward(batch)
    }

    /// Everything that reaches a batch (ruling 27).
    pub fn back(&self, batch: &BatchRef, bounds: Bounds) -> BTreeMap<String, Tier> {
        self.settle(bounds).back(batch)
    }

    /// The recall scope of a batch (section 11).
    pub fn recall(&self, batch: &BatchRef, bounds: Bounds) -> BTreeMap<(String, String), Row> {
        self.settle(bounds).recall(std::slice::from_ref(batch))
    }

    /// Open discrepancies (ruling 31).
    pub fn exceptions(&self, bounds: Bounds) -> BTreeSet<Discrepancy> {
        self.settle(bounds).exceptions()
    }

    /// Sums taken from the facts and not from any flow, by batch (law 5).
    pub fn sums(&self, bounds: Bounds) -> BTreeMap<String, Sums> {
        self.settle(bounds).sums()
    }
}
