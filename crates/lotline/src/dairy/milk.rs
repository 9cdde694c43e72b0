//! From the farms to pasteurised milk and cream.

use lotline_domain::fact::{ByLoss, CleanGrade, Fact, FactorScope, Input, Line, Output, RunKind, RunReport};
use lotline_domain::id::{BatchCode, BatchId, Generation, LocationId, PartyId, Place, RunId, Sink};
use lotline_domain::quantity::Stated;

use super::Shift;
use super::catalogue::{kilograms, litres};
use super::incidents::SUSPECT_DAY;
use super::site::Weight;
use super::tell::{When, clock};

pub(super) const TANKERS: usize = 6;
const VATS: i64 = 6;

pub(super) fn input(batch: BatchId, quantity: Stated, from: Option<Place>) -> Input {
    Input { batch: Some(batch.into()), quantity: Some(quantity), second: None, from, window: None }
}

pub(super) fn output(batch: &BatchId, grams: i64, to: &LocationId) -> Output {
    Output {
        batch: batch.clone().into(),
        quantity: Some(kilograms(grams)),
        second: None,
        to: Some(Place::Location(to.clone())),
        window: None,
        expires: None,
    }
}

pub(super) fn lost(grams: i64) -> Vec<ByLoss> {
    if grams == 0 { Vec::new() } else { vec![ByLoss { sink: Sink::Loss, quantity: kilograms(grams) }] }
}

/// A report of a production run with nothing in it yet.
pub(super) fn report(run: RunId, at: &LocationId) -> RunReport {
    RunReport {
        run,
        kind: RunKind::Production,
        inputs: Vec::new(),
        outputs: Vec::new(),
        losses: Vec::new(),
        mapping: Vec::new(),
        hold_up_micros: 0,
        completed: false,
        at: Some(at.clone()),
    }
}

pub(super) fn line(batch: &BatchId, quantity: Stated, from: Option<Place>) -> Line {
    Line { batch: batch.clone().into(), quantity: Some(quantity), second: None, from, document: None, expires: None }
}

impl Shift<'_> {
    pub(super) fn receive_supplies(&mut self) {
        for number in 0..self.site.supplies.len() {
            let supply = &self.site.supplies[number];
            let left: i64 = supply.lots.iter().map(|lot| lot.1).sum();
            if left >= supply.per_vat.1 * VATS * 2 {
                continue;
            }
            let (item, grams) = (supply.item.clone(), supply.lot_grams);
            let party = self.catalogue.ingredients.clone();
            let batch = self.bought(&item, &party, "G", number + 1);
            self.site.supplies[number].lots.push_back((batch.clone(), grams));
            let when = self.prompt(clock(2, 10 + 5 * i64::try_from(number).expect("three supplies")));
            let mut line = line(&batch, kilograms(grams), None);
            line.document = Some(format!("DN-{}/{}", self.today.code, number + 1));
            let fact = self.received(line, &party, &self.site.places.dry_store.clone());
            self.tell.tell(&mut self.site.desks.dock, when, fact);
        }
    }

    fn bought(&self, item: &lotline_domain::id::ItemId, from: &PartyId, kind: &str, number: usize) -> BatchId {
        let code = format!("{}-{kind}{number}", self.today.code);
        BatchId {
            item: item.clone(),
            issuer: Some(from.clone()),
            code: BatchCode::parse(&code).expect("a generated name is a name"),
            generation: Generation::default(),
        }
    }

    fn received(&self, line: Line, from: &PartyId, to: &LocationId) -> Fact {
        Fact::Received {
            lines: vec![line],
            containers: Vec::new(),
            from: Some(from.clone()),
            shipment: None,
            by: None,
            to: Place::Location(to.clone()),
        }
    }

    /// Six tankers: three for each silo. Some are weighed, some metered in litres.
    pub(super) fn receive_milk(&mut self) {
        let suspect = TANKERS / 2 + self.site.random.index(TANKERS / 2);
        for tanker in 0..TANKERS {
            let minutes = 35 * i64::try_from(tanker).expect("few tankers");
            let at = clock(3, 5) + minutes * 60 + self.site.random.between(0, 900);
            let round = usize::try_from(self.today.day + self.site.number).expect("an index fits");
            let farm = self.catalogue.farms[(round * TANKERS + tanker) % self.catalogue.farms.len()].clone();
            let batch = self.bought(&self.catalogue.items.raw, &farm, "M", tanker + 1);
            let silo = tanker * 2 / TANKERS;
            let (quantity, grams) = self.tanker_load(&batch, at);
            let dock = self.site.places.dock.clone();
            let fact = self.received(line(&batch, quantity, None), &farm, &dock);
            let when = self.prompt(at);
            self.tell.tell(&mut self.site.desks.dock, when, fact);

            let from = self.stated(&dock, 6);
            let vessel = self.site.places.silos[silo].clone();
            let fact = Fact::VesselFilled { vessel, lines: vec![line(&batch, quantity, from)] };
            let pumped = at + self.site.random.between(600, 1500);
            let when = self.prompt(pumped);
            self.tell.tell(&mut self.site.desks.floor, when, fact);
            self.site.silos[silo] += grams;

            if tanker == suspect && self.cycle() == SUSPECT_DAY {
                let received_at = self.tell.instant(at);
                if let Some(story) = &mut self.story {
                    story.suspect = Some((batch, farm, received_at));
                }
            }
        }
    }

    /// What the tanker brings, as stated and in grams; a metered load gets a density of its own.
    fn tanker_load(&mut self, batch: &BatchId, at: i64) -> (Stated, i64) {
        let random = &mut self.site.random;
        let kilos = random.between(520, 840) * 10;
        if !random.percent(40) {
            return (kilograms(kilos * 1000), kilos * 1000);
        }
        let grams_per_litre = random.between(1_027, 1_034);
        let fact = Fact::FactorDefined {
            scope: FactorScope::Batch(batch.clone()),
            one: litres(1),
            equals: kilograms(grams_per_litre),
        };
        // The laboratory measures the density, now and then only days later.
        let when = if random.percent(15) {
            let days = random.between(1, 3);
            When::late(at, days, random)
        } else {
            When::prompt(at, random)
        };
        self.tell.tell(&mut self.site.desks.lab, when, fact);
        (litres(kilos), kilos * grams_per_litre)
    }

    /// Two runs from each silo; before a cleaning night the second takes all that is left.
    pub(super) fn pasteurise(&mut self) {
        for number in 0..4 {
            let silo = number / 2;
            let content = self.site.silos[silo];
            let grams = if number % 2 == 0 {
                self.site.random.permille(content, 440, 480)
            } else if self.cleaned_tonight(silo) {
                content
            } else {
                self.site.random.permille(content, 820, 930)
            };
            let minutes = [0, 50, 25, 75][number];
            let at = clock(7, 0) + minutes * 60 + self.site.random.between(0, 600);
            let milk = self.pasteurising_run(number, silo, grams, at);
            self.site.silos[silo] -= grams;
            self.site.milk.push_back(milk);
        }
    }

    fn pasteurising_run(&mut self, number: usize, silo: usize, grams: i64, at: i64) -> Weight {
        let cream_grams = self.site.random.permille(grams, 70, 95);
        let loss = self.site.random.permille(grams, 3, 7);
        let milk_grams = grams - cream_grams - loss;
        let milk = self.batch(&self.catalogue.items.milk, "P", number + 1);
        let cream = self.batch(&self.catalogue.items.cream, "R", number + 1);
        let separator = self.site.places.separator.clone();
        // Straight out of the silo: nobody gives the blend a name.
        let blend = Input {
            batch: None,
            quantity: Some(kilograms(grams)),
            second: None,
            from: Some(Place::Vessel(self.site.places.silos[silo].clone())),
            window: None,
        };
        let report = RunReport {
            inputs: vec![blend],
            outputs: vec![
                output(&milk, milk_grams, &self.site.places.milk_hold),
                output(&cream, cream_grams, &separator),
            ],
            losses: lost(loss),
            completed: true,
            ..report(self.run("pasteuriser", number + 1), &separator)
        };
        let when = self.prompt(at);
        self.tell.tell(&mut self.site.desks.floor, when, Fact::Produced(report));

        let from = self.stated(&separator, 6);
        let fact = Fact::VesselFilled {
            vessel: self.site.places.cream_tank.clone(),
            lines: vec![line(&cream, kilograms(cream_grams), from)],
        };
        let when = self.prompt(at + 600);
        self.tell.tell(&mut self.site.desks.floor, when, fact);
        self.site.cream += cream_grams;
        (milk, milk_grams)
    }

    fn cleaned_tonight(&self, silo: usize) -> bool {
        (self.today.day + u32::try_from(silo).expect("two silos")) % 3 == 2
    }

    fn cream_cleaned_tonight(&self) -> bool {
        self.today.day % 7 == 6
    }

    /// Butter from the cream tank, where what went in first comes out first.
    pub(super) fn churn(&mut self) {
        let all = self.cream_cleaned_tonight();
        let grams = if all { self.site.cream } else { self.site.random.permille(self.site.cream, 800, 950) };
        self.site.cream -= grams;
        let churn = self.site.places.churn.clone();
        let drawn = self.batch(&self.catalogue.items.churning, "D", 1);
        let at = clock(9, 30) + self.site.random.between(0, 1200);
        let fact = Fact::VesselDrawn {
            vessel: self.site.places.cream_tank.clone(),
            batch: Some(drawn.clone().into()),
            quantity: Some(kilograms(grams)),
            to: Some(Place::Location(churn.clone())),
            expires: None,
        };
        let when = self.prompt(at);
        self.tell.tell(&mut self.site.desks.floor, when, fact);

        let butter_grams = self.site.random.permille(grams, 440, 480);
        let loss = self.site.random.permille(grams, 4, 9);
        let buttermilk_grams = grams - butter_grams - loss;
        let buttermilk = self.batch(&self.catalogue.items.buttermilk, "Y", 1);
        let butter = self.pack(&self.catalogue.items.butter, "B", 1, butter_grams, 250);
        let from = self.stated(&churn, 8);
        let report = RunReport {
            inputs: vec![input(drawn, kilograms(grams), from)],
            outputs: vec![
                self.pack_output(&butter),
                output(&buttermilk, buttermilk_grams, &self.site.places.whey_tank),
            ],
            losses: lost(loss),
            completed: true,
            ..report(self.run("churn", 1), &churn)
        };
        let when = self.prompt(at + 2700);
        self.tell.tell(&mut self.site.desks.floor, when, Fact::Produced(report));
        self.site.whey.push((buttermilk, buttermilk_grams));
        self.site.packs.push(butter);
    }

    /// At night: each silo every third one, the cream tank every seventh. All are empty by then.
    pub(super) fn clean(&mut self) {
        for silo in 0..2 {
            if self.cleaned_tonight(silo) {
                let vessel = self.site.places.silos[silo].clone();
                let at = clock(22, 0) + self.site.random.between(0, 3600);
                let when = self.prompt(at);
                let fact = Fact::VesselCleaned { vessel, grade: CleanGrade(2) };
                self.tell.tell(&mut self.site.desks.floor, when, fact);
            }
        }
        if self.cream_cleaned_tonight() {
            let vessel = self.site.places.cream_tank.clone();
            let when = self.prompt(clock(23, 10));
            let fact = Fact::VesselCleaned { vessel, grade: CleanGrade(2) };
            self.tell.tell(&mut self.site.desks.floor, when, fact);
        }
    }
}
