//! Wild random plants: small worlds of items, places and parties, and what is reported of them, in the
//! order in which it arrives.
//!
//! Everything follows from one seed. Nothing is tame: events arrive late and twice, say less than one
//! would like, contradict each other and are corrected. What the pages that rule settlement do not speak
//! of is left out unless [`Knobs::unruled`] asks for it, so that a difference between two engines is a
//! difference about a rule.

pub mod features;
pub mod random;
pub mod shrink;

mod make;
mod operations;
mod reports;

use lotline_domain::command::Command;
use lotline_domain::fact::Event;

pub use features::{Feature, features_of, shares};
pub use shrink::{plants, plants_with};

/// Commands in arrival order: a whole plant with its definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plant {
    /// What it was made from; a shrunk plant keeps it.
    pub seed: u64,
    /// What arrives, all of it observations.
    pub commands: Vec<Command>,
}

impl Plant {
    /// The events with commit numbers from 1 on, one commit for each, as they arrived. Repeated ids are
    /// still in it: whoever settles them has to see that the first counts.
    pub fn events(&self) -> Vec<(u64, Event)> {
        self.commands.iter().zip(1..).map(|(command, commit)| (commit, command.event.clone())).collect()
    }

    /// The same commands in another order of arrival, drawn from `seed`.
    pub fn shuffled(&self, seed: u64) -> Self {
        let mut commands = self.commands.clone();
        random::Random::new(seed).shuffle(&mut commands);
        Self { seed: self.seed, commands }
    }
}

/// What may occur. Turn single ones off to narrow down which of them a failing law needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Knobs {
    /// Most events besides definitions and copies; at least ten are made.
    pub most_events: u16,
    /// A batch as input of a run that adds to it or to what it was made of.
    pub rework: bool,
    /// Packing, unpacking, nesting, shipping by container.
    pub containers: bool,
    /// Fills, draws and cleans.
    pub vessels: bool,
    /// Voids and supersessions.
    pub corrections: bool,
    /// Facts that arrive later than what happened after them.
    pub late: bool,
    /// Lines that do not say where the goods were.
    pub missing_sources: bool,
    /// Goods taken from where there are none, or not enough.
    pub overdrafts: bool,
    /// Lines without a quantity.
    pub unknown_quantities: bool,
    /// Several events at one instant.
    pub ties: bool,
    /// The sources' own sequence numbers.
    pub sequences: bool,
    /// Runs told by several facts.
    pub runs_in_parts: bool,
    /// Runs with explicit pairs.
    pub mapping: bool,
    /// Legs with declared windows.
    pub windows: bool,
    /// Splits, merges and re-packs.
    pub splits: bool,
    /// Second measures.
    pub catch_weights: bool,
    /// Statements in another unit than the item's usual one, factors, late factors.
    pub units: bool,
    /// Holds and releases.
    pub holds: bool,
    /// Counts and adjustments.
    pub counts: bool,
    /// Returns, also of what was never sent.
    pub returns: bool,
    /// Sightings.
    pub sightings: bool,
    /// Facts that name a batch by its code alone; the same code on several batches; labels.
    pub bare_codes: bool,
    /// Facts dated by day.
    pub days: bool,
    /// Expiry dates, and time zones of places.
    pub dates: bool,
    /// The same event again.
    pub duplicates: bool,
    /// Definitions of places, vessels and policies that change.
    pub redefinitions: bool,
    /// The same event id with other content. Order of arrival matters then: the laws do not hold.
    pub conflicts: bool,
    /// What the pages do not rule: a named batch taken out of a vessel by another fact than a draw,
    /// counts and sightings in vessels and sinks.
    pub unruled: bool,
}

impl Knobs {
    /// All that the rules speak of.
    pub const WILD: Self = Self {
        most_events: 80,
        rework: true,
        containers: true,
        vessels: true,
        corrections: true,
        late: true,
        missing_sources: true,
        overdrafts: true,
        unknown_quantities: true,
        ties: true,
        sequences: true,
        runs_in_parts: true,
        mapping: true,
        windows: true,
        splits: true,
        catch_weights: true,
        units: true,
        holds: true,
        counts: true,
        returns: true,
        sightings: true,
        bare_codes: true,
        days: true,
        dates: true,
        duplicates: true,
        redefinitions: true,
        conflicts: false,
        unruled: false,
    };

    /// Nothing but receipts, moves, runs and shipments that say all and arrive in order.
    pub const TAME: Self = Self {
        most_events: 40,
        rework: false,
        containers: false,
        vessels: false,
        corrections: false,
        late: false,
        missing_sources: false,
        overdrafts: false,
        unknown_quantities: false,
        ties: false,
        sequences: false,
        runs_in_parts: false,
        mapping: false,
        windows: false,
        splits: false,
        catch_weights: false,
        units: false,
        holds: false,
        counts: false,
        returns: false,
        sightings: false,
        bare_codes: false,
        days: false,
        dates: false,
        duplicates: false,
        redefinitions: false,
        conflicts: false,
        unruled: false,
    };

    /// Of what is on, a part that is drawn from `random`: a plant that has everything at once hides what
    /// a few features do to each other.
    fn thinned(mut self, random: &mut random::Random) -> Self {
        for knob in [
            &mut self.rework,
            &mut self.containers,
            &mut self.vessels,
            &mut self.corrections,
            &mut self.late,
            &mut self.missing_sources,
            &mut self.overdrafts,
            &mut self.unknown_quantities,
            &mut self.ties,
            &mut self.sequences,
            &mut self.runs_in_parts,
            &mut self.mapping,
            &mut self.windows,
            &mut self.splits,
            &mut self.catch_weights,
            &mut self.units,
            &mut self.holds,
            &mut self.counts,
            &mut self.returns,
            &mut self.sightings,
            &mut self.bare_codes,
            &mut self.days,
            &mut self.duplicates,
            &mut self.redefinitions,
        ] {
            *knob = *knob && random.chance(60);
        }
        self
    }
}

/// Tells the choices of dates from the others of a seed.
const DATES: u64 = 0x6461_7465;

/// The plant of a seed, with everything that the rules speak of.
pub fn plant(seed: u64) -> Plant {
    plant_with(seed, Knobs::WILD)
}

/// The plant of a seed, with what `knobs` allows.
pub fn plant_with(seed: u64, knobs: Knobs) -> Plant {
    let mut random = random::Random::new(seed);
    let mut dates = random::Random::new(seed ^ DATES);
    let knobs = knobs.thinned(&mut random);
    let knobs = Knobs { dates: knobs.dates && dates.chance(60), ..knobs };
    make::Maker::new(random, dates, knobs).plant(seed)
}
