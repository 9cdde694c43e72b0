//! The world of one plant, its rough book, and how events get their heads and their order of arrival.
//!
//! The book here only serves to choose plausible amounts and places. It knows nothing of settlement.

use std::collections::BTreeMap;

use lotline_domain::command::{Command, Mode};
use lotline_domain::expiry::{Day, Expires};
use lotline_domain::fact::{CleanGrade, Event, Fact, FactorScope, MixModel, RunKind};
use lotline_domain::id::{
    BatchCode, BatchId, CommandId, ContainerId, EventId, Generation, ItemId, LocationId, PartyId, Place, RunId,
    ShipmentId, SourceId, VesselId,
};
use lotline_domain::quantity::Stated;
use lotline_domain::time::{Instant, OccurredAt, Precision};
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;

use super::random::Random;
use super::{Knobs, Plant};

/// 2026-03-02T06:00:00Z.
const BEGINNING: i64 = 1_772_431_200_000_000;
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 86_400_000_000;

/// Amounts of the rough book: thousandths of an item's usual unit.
pub type Milli = i64;

pub struct Item {
    pub id: ItemId,
    /// 0 raw, 1 intermediate, 2 product.
    pub stage: usize,
    /// In which its facts usually speak.
    pub unit: Unit,
    /// What else they may speak in, with so many of it for one of the usual; `None` by a factor.
    pub others: Vec<(Unit, Option<i64>)>,
    /// The base unit, where the plant defines it.
    pub base: Option<Unit>,
}

/// An event that was made, before it has a place in the order of arrival.
struct Told {
    event: Event,
    /// Smaller arrives earlier.
    arrival: u64,
}

/// An open run of which more may be told.
pub struct OpenRun {
    pub id: RunId,
    pub kind: RunKind,
}

pub struct Maker {
    pub random: Random,
    /// What it decides takes nothing from the other choices of a seed.
    dates: Random,
    pub knobs: Knobs,
    pub items: Vec<Item>,
    pub locations: Vec<LocationId>,
    pub vessels: Vec<VesselId>,
    pub containers: Vec<ContainerId>,
    pub suppliers: Vec<PartyId>,
    pub customers: Vec<PartyId>,
    pub shipments: Vec<(ShipmentId, Option<lotline_domain::fact::Destination>)>,
    pub batches: Vec<BatchId>,
    /// Codes in use, with which batches get labels or twins.
    pub codes: Vec<BatchCode>,
    pub book: BTreeMap<(BatchId, Place), Milli>,
    /// What batches were made of, directly.
    pub parents: BTreeMap<BatchId, Vec<BatchId>>,
    pub open_runs: Vec<OpenRun>,
    pub runs: u32,
    pub holds: u32,
    told: Vec<Told>,
    definitions: Vec<Told>,
    now: i64,
    clock: u64,
    names: u32,
}

fn named<T, E: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, E>, text: &str) -> T {
    parse(text).expect("made names are names")
}

pub fn unit(code: &str) -> Unit {
    Unit::parse(code).expect("a listed unit")
}

impl Maker {
    pub fn new(random: Random, dates: Random, knobs: Knobs) -> Self {
        let mut maker = Self {
            random,
            dates,
            knobs,
            items: Vec::new(),
            locations: Vec::new(),
            vessels: Vec::new(),
            containers: Vec::new(),
            suppliers: Vec::new(),
            customers: Vec::new(),
            shipments: Vec::new(),
            batches: Vec::new(),
            codes: Vec::new(),
            book: BTreeMap::new(),
            parents: BTreeMap::new(),
            open_runs: Vec::new(),
            runs: 0,
            holds: 0,
            told: Vec::new(),
            definitions: Vec::new(),
            now: BEGINNING,
            clock: 0,
            names: 0,
        };
        maker.found();
        maker
    }

    /// Until when something is good: a day of few, or a moment; often nobody says.
    pub fn expires(&mut self) -> Option<Expires> {
        if !self.knobs.dates || self.dates.chance(60) {
            return None;
        }
        if self.dates.chance(25) {
            let instant = Instant(BEGINNING + 6 * 3_600_000_000 * self.dates.range(0, 40));
            let offset_minutes = 60 * i32::try_from(self.dates.range(-5, 5)).unwrap_or(0);
            return Some(Expires::Moment { instant, offset_minutes });
        }
        let first = i32::try_from(BEGINNING / DAY).unwrap_or(0);
        let number = first + i32::try_from(self.dates.range(0, 4)).unwrap_or(0) * 13;
        Day::from_number(number).map(Expires::Day)
    }

    /// The zone that a place says, if any.
    pub fn time_zone(&mut self) -> Option<String> {
        let zones = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "UTC"];
        let says = self.knobs.dates && self.dates.chance(40);
        says.then(|| self.dates.pick(&zones).map(|zone| (*zone).to_owned())).flatten()
    }

    /// Sets the plant up: who and what there is.
    fn found(&mut self) {
        let items = self.random.range(3, 12);
        for index in 0..items {
            let stage = usize::try_from(index % 3).unwrap_or(0);
            let name = format!("{}{}", ["raw", "mid", "prod"][stage], index / 3);
            let item = self.item(&name, stage);
            self.items.push(item);
        }
        let locations = self.random.range(2, 6);
        for index in 0..locations {
            let name = ["site", "dock", "line", "store", "bin", "gate"][usize::try_from(index).unwrap_or(0)];
            let place = named(LocationId::parse, name);
            let parent =
                if index > 0 && self.random.chance(70) { self.random.pick(&self.locations).cloned() } else { None };
            let fact = Fact::PlaceDefined { place: place.clone(), parent, time_zone: self.time_zone(), name: None };
            self.define(fact);
            self.locations.push(place);
        }
        let parties = self.random.range(1, 3);
        for index in 0..parties {
            self.suppliers.push(named(PartyId::parse, &format!("S{index}")));
            self.customers.push(named(PartyId::parse, &format!("C{index}")));
        }
        if self.knobs.vessels {
            for index in 0..self.random.range(1, 3) {
                let vessel = named(VesselId::parse, &format!("V{index}"));
                if self.random.chance(80) {
                    let fact = self.vessel_definition(vessel.clone());
                    self.define(fact);
                }
                self.vessels.push(vessel);
            }
        }
        if self.knobs.containers {
            for index in 0..self.random.range(2, 5) {
                self.containers.push(named(ContainerId::parse, &format!("P{index}")));
            }
        }
        for index in 0..self.random.range(1, 3) {
            let to = self.destination();
            self.shipments.push((named(ShipmentId::parse, &format!("SH{index}")), to));
        }
        self.define_items();
        if self.random.chance(30) {
            let holds_pass_runs = self.random.chance(50);
            self.define(Fact::PolicySet { holds_pass_runs });
        }
    }

    fn item(&mut self, name: &str, stage: usize) -> Item {
        let id = named(ItemId::parse, name);
        let (unit, same, across): (Unit, Unit, Unit) = match self.random.below(6) {
            0 => (Unit::ONE, Unit::PIECE, Unit::KILOGRAM),
            1 => (Unit::LITRE, Unit::MILLILITRE, Unit::KILOGRAM),
            _ => (Unit::KILOGRAM, Unit::GRAM, [Unit::LITRE, Unit::ONE, unit("XCS")][self.random.below(3)]),
        };
        let factor = if unit == Unit::ONE { 1 } else { 1000 };
        let base = if self.random.chance(50) { Some(if self.random.chance(80) { unit } else { across }) } else { None };
        Item { id, stage, unit, others: vec![(same, Some(factor)), (across, None)], base }
    }

    fn define_items(&mut self) {
        let mut facts = Vec::new();
        for item in &self.items {
            if let Some(base) = item.base {
                facts.push(Fact::ItemDefined { item: item.id.clone(), base, name: None });
            }
        }
        if self.knobs.units {
            for index in 0..self.items.len() {
                if self.random.chance(60) {
                    let scope = FactorScope::Item(self.items[index].id.clone());
                    facts.push(self.factor(scope, index));
                }
            }
        }
        for fact in facts {
            self.define(fact);
        }
    }

    /// A factor between an item's usual unit and the one across; a third among them.
    pub fn factor(&mut self, scope: FactorScope, item: usize) -> Fact {
        let (across, usual) = (self.items[item].others[1].0, self.items[item].unit);
        let (one, equals) = [("1", "1.25"), ("3", "1"), ("1", "0.9"), ("1", "8"), ("7", "2")][self.random.below(5)];
        let stated = |text: &str, unit| Stated::parse(text, unit).expect("a quantity");
        Fact::FactorDefined { scope, one: stated(one, across), equals: stated(equals, usual) }
    }

    pub fn vessel_definition(&mut self, vessel: VesselId) -> Fact {
        let mix = if self.random.chance(50) { MixModel::Full } else { MixModel::FirstInFirstOut };
        let at = if self.random.chance(50) { self.random.pick(&self.locations).cloned() } else { None };
        Fact::VesselDefined { vessel, mix, at }
    }

    pub fn destination(&mut self) -> Option<lotline_domain::fact::Destination> {
        use lotline_domain::fact::Destination;
        match self.random.below(5) {
            0 => None,
            1 => self.random.pick(&self.locations).cloned().map(Destination::Location),
            _ => self.random.pick(&self.customers).cloned().map(Destination::Party),
        }
    }

    pub fn grade(&mut self) -> CleanGrade {
        CleanGrade([0, 1, 1, 2][self.random.below(4)])
    }

    /// A new batch of an item, its code at times one that is in use.
    pub fn new_batch(&mut self, item: usize) -> BatchId {
        self.names += 1;
        let used = self.knobs.bare_codes && self.random.chance(25);
        let code = match self.random.pick(&self.codes).cloned() {
            Some(code) if used => code,
            _ => named(BatchCode::parse, &format!("L{}", self.names)),
        };
        self.codes.push(code.clone());
        let issuer = if self.items[item].stage == 0 && self.random.chance(30) {
            self.random.pick(&self.suppliers).cloned()
        } else {
            None
        };
        let mut id = BatchId { item: self.items[item].id.clone(), issuer, code, generation: Generation::default() };
        while self.batches.contains(&id) {
            id.generation.0 += 1;
        }
        self.batches.push(id.clone());
        id
    }

    pub fn item_of(&self, batch: &BatchId) -> Option<usize> {
        self.items.iter().position(|item| item.id == batch.item)
    }

    /// An item of a stage, or any if there is none.
    pub fn item_at(&mut self, stage: usize) -> usize {
        let fitting: Vec<usize> = (0..self.items.len()).filter(|i| self.items[*i].stage == stage).collect();
        self.random.pick(&fitting).copied().unwrap_or(0)
    }

    /// So much of an item, as a source might state it.
    pub fn state(&mut self, item: Option<usize>, amount: Milli) -> Option<Stated> {
        if self.knobs.unknown_quantities && self.random.chance(9) {
            return None;
        }
        let usual = item.map_or(Unit::KILOGRAM, |item| self.items[item].unit);
        if self.knobs.units && self.random.chance(20) {
            let other = item.and_then(|item| {
                let others = &self.items[item].others;
                let at = self.random.below(others.len());
                others.get(at).copied()
            });
            match other {
                Some((unit, Some(times))) => return stated(amount * times, unit),
                Some((unit, None)) => return stated(1000 * self.random.range(1, 40), unit),
                None => {}
            }
        }
        stated(amount, usual)
    }

    /// A second measure, seldom.
    pub fn second(&mut self, item: Option<usize>) -> Option<Stated> {
        if !self.knobs.catch_weights || !self.random.chance(15) {
            return None;
        }
        let across = item.map_or(Unit::ONE, |item| self.items[item].others[1].0);
        stated(1000 * self.random.range(1, 40), across)
    }

    /// Changes the rough book.
    pub fn book(&mut self, batch: &BatchId, place: &Place, by: Milli) {
        *self.book.entry((batch.clone(), place.clone())).or_default() += by;
    }

    /// A slice that holds something, with how much; at times one that does not.
    pub fn slice(&mut self) -> Option<(BatchId, Place, Milli)> {
        if self.knobs.overdrafts && self.random.chance(10) {
            let batch = self.random.pick(&self.batches).cloned()?;
            let place = self.inside();
            return Some((batch, place, 1000 * self.random.range(1, 60)));
        }
        let inside = |place: &Place| matches!(place, Place::Location(_) | Place::Container(_) | Place::Unplaced);
        let full: Vec<_> = self
            .book
            .iter()
            .filter(|((_, place), held)| **held > 0 && inside(place))
            .map(|((b, p), held)| (b.clone(), p.clone(), *held))
            .collect();
        self.random.pick(&full).cloned()
    }

    /// A location or, seldom, a container.
    pub fn inside(&mut self) -> Place {
        if self.random.chance(15)
            && let Some(container) = self.random.pick(&self.containers)
        {
            return Place::Container(container.clone());
        }
        Place::Location(self.location())
    }

    pub fn location(&mut self) -> LocationId {
        self.random.pick(&self.locations).cloned().expect("a plant has locations")
    }

    /// Some of what is there: all, half, a part, or more than that.
    pub fn part(&mut self, of: Milli) -> Milli {
        let part = match self.random.below(10) {
            0..=3 => of,
            4 | 5 => of / 2,
            6 if self.knobs.overdrafts => of + 1000 * self.random.range(1, 20),
            _ => self.random.range(1, (of / 500).max(1)) * 500,
        };
        part.max(500)
    }

    /// A definition: first in effective time, anywhere in the order of arrival.
    fn define(&mut self, fact: Fact) {
        let event = self.event(BEGINNING - DAY, fact);
        let arrival = if self.knobs.late && self.random.chance(20) { self.random.bits() % 80_000 } else { 0 };
        self.definitions.push(Told { event, arrival });
    }

    fn event(&mut self, at: i64, fact: Fact) -> Event {
        let number = self.told.len() + self.definitions.len();
        // Ids tell nothing of the order of arrival: a tie must not be decided by it in disguise.
        let id = format!("{:03x}-{number}", self.random.bits() % 4096);
        let source = named(SourceId::parse, ["erp", "mes", "wms"][self.random.below(3)]);
        let sequence =
            if self.knobs.sequences && self.random.chance(30) { Some(self.random.bits() % 20) } else { None };
        let occurred_at = self.occurred(at);
        Event {
            id: named(EventId::parse, &id),
            command: named(CommandId::parse, &id),
            source,
            occurred_at,
            sequence,
            fact,
        }
    }

    fn occurred(&mut self, at: i64) -> OccurredAt {
        let offset_minutes = [0, 0, 60, -300][self.random.below(4)];
        if self.knobs.days && self.random.chance(6) {
            let east = i64::from(offset_minutes) * MINUTE;
            let midnight = (at + east).div_euclid(DAY) * DAY - east;
            return OccurredAt { instant: Instant(midnight), offset_minutes, precision: Precision::Day };
        }
        OccurredAt { instant: Instant(at), offset_minutes, precision: Precision::Instant }
    }

    /// Tells a fact at the plant's present time, and lets time go on. Returns the event's id.
    pub fn tell(&mut self, fact: Fact) -> EventId {
        let at = if self.knobs.late && self.random.chance(8) {
            self.now - self.random.range(1, 40) * 30 * MINUTE
        } else {
            self.now
        };
        let event = self.event(at, fact);
        let id = event.id.clone();
        self.clock += 1000;
        let delay = if self.knobs.late && self.random.chance(20) { self.random.bits() % 25_000 } else { 0 };
        self.told.push(Told { event, arrival: self.clock + delay });
        let tie = self.knobs.ties && self.random.chance(18);
        if !tie {
            self.now += [1, 30, 30, 300, 1440][self.random.below(5)] * MINUTE;
        }
        id
    }

    /// An id that was told, or will perhaps never be.
    pub fn some_event(&mut self) -> Option<EventId> {
        if self.random.chance(8) {
            return Some(named(EventId::parse, "never-told"));
        }
        // Some definitions are corrected too.
        let from = if self.random.chance(8) { &self.definitions } else { &self.told };
        let at = self.random.below(from.len());
        from.get(at).map(|told| told.event.id.clone())
    }

    /// The fact of an id.
    pub fn fact_of(&self, id: &EventId) -> Option<&Event> {
        self.told.iter().chain(&self.definitions).map(|told| &told.event).find(|event| event.id == *id)
    }

    /// Points a correction at another target, to close a circle.
    pub fn retarget(&mut self, id: &EventId, to: &EventId) {
        for told in &mut self.told {
            if let (true, Fact::Corrected { target, .. }) = (told.event.id == *id, &mut told.event.fact) {
                *target = to.clone();
            }
        }
    }

    pub fn present(&self) -> Instant {
        Instant(self.now)
    }

    pub fn new_run(&mut self) -> RunId {
        self.runs += 1;
        let source = named(SourceId::parse, ["mes", "line"][self.random.below(2)]);
        let again = self.runs > 1 && self.random.chance(15);
        let (name, generation) = if again { (self.runs - 1, 2) } else { (self.runs, 1) };
        RunId {
            source,
            name: named(lotline_domain::id::RunName::parse, &format!("R{name}")),
            generation: Generation(generation),
        }
    }

    /// Runs the plant and puts what was told into its order of arrival.
    pub fn plant(mut self, seed: u64) -> Plant {
        let events = self.random.range(10, i64::from(self.knobs.most_events.max(10)));
        for _ in 0..events {
            self.operate();
        }
        self.repeat();
        let mut all = self.definitions;
        all.append(&mut self.told);
        all.sort_by_key(|told| told.arrival);
        let commands = all.into_iter().map(|told| Command { mode: Mode::Observation, event: told.event }).collect();
        Plant { seed, commands }
    }

    /// Copies of events: the same, with another id, or (a conflict) with other content.
    fn repeat(&mut self) {
        let copies = self.told.len() / 12;
        for _ in 0..copies {
            let at = self.random.below(self.told.len());
            let Told { event, arrival } = &self.told[at];
            let (mut event, arrival) = (event.clone(), arrival + 1 + self.random.bits() % 30_000);
            if self.knobs.conflicts && self.random.chance(30) {
                event.sequence = Some(event.sequence.unwrap_or(0) + 1);
            } else if !self.knobs.duplicates {
                continue;
            } else if self.random.chance(25) {
                // The same paper under another id: a suspected duplicate.
                let again = format!("{}-again", event.id);
                if self.told.iter().any(|told| told.event.id.as_str() == again) || event.id.as_str().ends_with("again")
                {
                    continue;
                }
                event.id = named(EventId::parse, &again);
                event.command = named(CommandId::parse, &again);
            }
            self.told.push(Told { event, arrival });
        }
    }
}

fn stated(amount: Milli, unit: Unit) -> Option<Stated> {
    Stated::new(Decimal::new(amount, 3), unit).ok()
}
