//! A site: its places, its desks, and what it holds at the moment. Nothing in it grows with time.

use std::collections::VecDeque;

use lotline_domain::fact::{Fact, MixModel};
use lotline_domain::id::{
    BatchCode, BatchId, ContainerId, EventId, HoldId, ItemId, LocationId, PartyId, Place, RunId, RunName, ShipmentId,
    VesselId,
};
use lotline_domain::time::OccurredAt;
use lotline_gs1::check_digit;

use super::catalogue::Catalogue;
use super::random::Random;
use super::tell::{Desk, Teller, When};
use super::{STORY_DAYS, Shift};

/// Some of one batch by weight: (batch, grams).
pub(super) type Weight = (BatchId, i64);

#[derive(Debug)]
pub(super) struct Places {
    pub(super) dock: LocationId,
    pub(super) milk_hold: LocationId,
    pub(super) separator: LocationId,
    pub(super) churn: LocationId,
    pub(super) dry_store: LocationId,
    pub(super) vat_hall: LocationId,
    pub(super) whey_tank: LocationId,
    pub(super) ripening: [LocationId; 3],
    pub(super) packing: LocationId,
    pub(super) trim_cold: LocationId,
    pub(super) kitchen: LocationId,
    pub(super) quarantine: LocationId,
    pub(super) cold_store: LocationId,
    pub(super) silos: [VesselId; 2],
    pub(super) cream_tank: VesselId,
}

/// Who reports: each is a source of its own.
#[derive(Debug)]
pub(super) struct Desks {
    pub(super) dock: Desk,
    pub(super) floor: Desk,
    pub(super) store: Desk,
    pub(super) office: Desk,
    pub(super) lab: Desk,
}

/// An ingredient that is bought in lots.
#[derive(Debug)]
pub(super) struct Supply {
    pub(super) item: ItemId,
    pub(super) lot_grams: i64,
    /// Grams for one vat.
    pub(super) per_vat: (i64, i64),
    pub(super) lots: VecDeque<Weight>,
}

#[derive(Debug, Clone)]
pub(super) struct Cheese {
    pub(super) batch: BatchId,
    pub(super) sort: usize,
    /// What is really there; the book may say otherwise after a count.
    pub(super) grams: i64,
    pub(super) ready_on: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) batch: BatchId,
    pub(super) pieces: i64,
    pub(super) grams: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) id: ContainerId,
    pub(super) content: Pack,
}

#[derive(Debug, Clone)]
pub(super) struct Pallet {
    pub(super) id: ContainerId,
    pub(super) cases: Vec<Case>,
}

/// On its way to a customer.
#[derive(Debug, Clone)]
pub(super) struct Consignment {
    pub(super) shipment: ShipmentId,
    pub(super) customer: PartyId,
    pub(super) pallets: Vec<Pallet>,
}

/// What a hold keeps back.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) hold: HoldId,
    pub(super) rest: Weight,
    pub(super) packs: Vec<Pack>,
    pub(super) trimmings: Weight,
}

/// A run's report that is found to be wrong on a later day.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) due: u32,
    pub(super) target: EventId,
    pub(super) run: RunId,
    pub(super) occurred_at: OccurredAt,
    pub(super) right: Fact,
    pub(super) batches: (BatchId, BatchId),
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) number: u32,
    pub(super) tag: String,
    name: String,
    pub(super) cycle_shift: u32,
    pub(super) random: Random,
    pub(super) places: Places,
    pub(super) desks: Desks,
    pub(super) supplies: [Supply; 3],
    /// Grams in each silo.
    pub(super) silos: [i64; 2],
    /// Grams in the cream tank.
    pub(super) cream: i64,
    pub(super) milk: VecDeque<Weight>,
    pub(super) ripening: VecDeque<Cheese>,
    /// Yesterday's, which go into today's melt.
    pub(super) trimmings: Vec<Weight>,
    pub(super) new_trimmings: Vec<Weight>,
    pub(super) melt_left: Option<Weight>,
    pub(super) whey: Vec<Weight>,
    pub(super) packs: Vec<Pack>,
    pub(super) cases: Vec<Case>,
    pub(super) stock: VecDeque<Pallet>,
    pub(super) on_the_road: Vec<Consignment>,
    pub(super) whey_on_the_road: Option<ShipmentId>,
    pub(super) delivered: Option<Consignment>,
    pub(super) kept: Option<Kept>,
    pub(super) wrong: Option<Wrong>,
    /// Room, batch, grams that a count did not find.
    pub(super) missing: Option<(LocationId, Weight)>,
    pub(super) shipments: u32,
    serial: u64,
}

const SITE_NAMES: [&str; 5] = ["hillbrook", "stonebridge", "eastmoor", "fernvale", "greycliff"];

impl Site {
    pub(super) fn new(number: u32, seed: u64, catalogue: &Catalogue) -> Self {
        let index = usize::try_from(number).expect("an index fits");
        let base = SITE_NAMES[index % SITE_NAMES.len()];
        let name = match index / SITE_NAMES.len() {
            0 => base.to_owned(),
            round => format!("{base}-{}", round + 1),
        };
        let mut random = Random::new(seed, u64::from(number));
        let cycle_shift = if number == 0 { 0 } else { number_below(&mut random, STORY_DAYS) };
        let at = |room: &str| LocationId::parse(&format!("{name}/{room}")).expect("a generated name is a name");
        let vessel = |room: &str| VesselId::parse(&format!("{name}/{room}")).expect("a generated name is a name");
        let places = Places {
            dock: at("dock"),
            milk_hold: at("milk-hold"),
            separator: at("separator"),
            churn: at("churn"),
            dry_store: at("dry-store"),
            vat_hall: at("vat-hall"),
            whey_tank: at("whey-tank"),
            ripening: [at("ripening/1"), at("ripening/2"), at("ripening/3")],
            packing: at("packing-hall"),
            trim_cold: at("trim-cold"),
            kitchen: at("melting-kitchen"),
            quarantine: at("quarantine"),
            cold_store: at("cold-store"),
            silos: [vessel("silo-A"), vessel("silo-B")],
            cream_tank: vessel("cream-tank"),
        };
        let desk = |role: &str, numbered| Desk::new(&format!("{name}-{role}"), numbered);
        let desks = Desks {
            dock: desk("dock", false),
            floor: desk("floor", true),
            store: desk("store", false),
            office: desk("office", false),
            lab: desk("lab", false),
        };
        let supply = |item: &ItemId, lot_grams, per_vat| Supply {
            item: item.clone(),
            lot_grams,
            per_vat,
            lots: VecDeque::new(),
        };
        let supplies = [
            supply(&catalogue.items.culture, 40_000, (700, 900)),
            supply(&catalogue.items.rennet, 15_000, (250, 340)),
            supply(&catalogue.items.salt, 1_000_000, (10_000, 14_000)),
        ];
        Self {
            number,
            tag: tag(number),
            name,
            cycle_shift,
            random,
            places,
            desks,
            supplies,
            silos: [0; 2],
            cream: 0,
            milk: VecDeque::new(),
            ripening: VecDeque::new(),
            trimmings: Vec::new(),
            new_trimmings: Vec::new(),
            melt_left: None,
            whey: Vec::new(),
            packs: Vec::new(),
            cases: Vec::new(),
            stock: VecDeque::new(),
            on_the_road: Vec::new(),
            whey_on_the_road: None,
            delivered: None,
            kept: None,
            wrong: None,
            missing: None,
            shipments: 0,
            serial: 0,
        }
    }

    /// Tells the site's places and vessels.
    pub(super) fn define(&mut self, catalogue: &Catalogue, tell: &mut Teller) {
        let desk = &mut self.desks.office;
        let when = When { at: 2, paper: 1, by_day: false };
        let root = LocationId::parse(&self.name).expect("a generated name is a name");
        let ripening = LocationId::parse(&format!("{}/ripening", self.name)).expect("a generated name is a name");
        let mut define = |place: &LocationId, parent: &LocationId| {
            let name = place.as_str().rsplit('/').next().map(|last| last.replace('-', " "));
            let fact = Fact::PlaceDefined { place: place.clone(), parent: Some(parent.clone()), time_zone: None, name };
            tell.tell(desk, when, fact);
        };
        let p = &self.places;
        define(&root, &catalogue.company);
        let rooms = [
            &p.dock,
            &p.milk_hold,
            &p.separator,
            &p.churn,
            &p.dry_store,
            &p.vat_hall,
            &p.whey_tank,
            &ripening,
            &p.packing,
            &p.trim_cold,
            &p.kitchen,
            &p.quarantine,
            &p.cold_store,
        ];
        for room in rooms {
            define(room, &root);
        }
        for room in &p.ripening {
            define(room, &ripening);
        }
        for (vessel, mix, at) in [
            (&p.silos[0], MixModel::Full, &p.dock),
            (&p.silos[1], MixModel::Full, &p.dock),
            (&p.cream_tank, MixModel::FirstInFirstOut, &p.separator),
        ] {
            tell.tell(desk, when, Fact::VesselDefined { vessel: vessel.clone(), mix, at: Some(at.clone()) });
        }
    }

    /// The next container of the site: an SSCC under the prefix that GS1 keeps for demonstrations.
    pub(super) fn container(&mut self) -> ContainerId {
        self.serial += 1;
        let body = format!("{}952{:04}{:09}", self.serial % 10, self.number % 10_000, self.serial);
        let digit = check_digit(&body).expect("all digits");
        ContainerId::parse(&format!("{body}{digit}")).expect("digits are a name")
    }
}

impl Shift<'_> {
    /// A new batch of ours, its code beginning with site and day.
    pub(super) fn batch(&self, item: &ItemId, kind: &str, number: usize) -> BatchId {
        let code = format!("{}-{kind}{number}", self.today.code);
        BatchId::own(item.clone(), BatchCode::parse(&code).expect("a generated name is a name"))
    }

    pub(super) fn run(&self, line: &str, number: usize) -> RunId {
        let name = format!("{}-{line}-{number}", self.today.code);
        RunId {
            source: self.site.desks.floor.source.clone(),
            name: RunName::parse(&name).expect("a generated name is a name"),
            generation: lotline_domain::id::Generation::default(),
        }
    }

    /// Recorded within the quarter of an hour.
    pub(super) fn prompt(&mut self, at: i64) -> When {
        When::prompt(at, &mut self.site.random)
    }

    /// The place, or now and then nothing: the source did not say.
    pub(super) fn stated(&mut self, place: &LocationId, missing_percent: u64) -> Option<Place> {
        (!self.site.random.percent(missing_percent)).then(|| Place::Location(place.clone()))
    }
}

/// Takes `grams` from the front of a queue, from as many batches as it needs. The queue must hold them.
pub(super) fn take(queue: &mut VecDeque<Weight>, mut grams: i64) -> Vec<Weight> {
    let mut taken = Vec::new();
    while grams > 0 {
        let front = queue.front_mut().expect("the caller checked that there is enough");
        let part = grams.min(front.1);
        taken.push((front.0.clone(), part));
        grams -= part;
        front.1 -= part;
        if front.1 == 0 {
            queue.pop_front();
        }
    }
    taken
}

fn number_below(random: &mut Random, bound: u32) -> u32 {
    u32::try_from(random.below(u64::from(bound))).expect("below a u32")
}

/// A, B … Z, AA, AB …
fn tag(mut number: u32) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'A' + u8::try_from(number % 26).expect("below 26")));
        if number < 26 {
            break;
        }
        number = number / 26 - 1;
    }
    letters.iter().rev().collect()
}
