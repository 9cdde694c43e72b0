//! Cheese runs, each told by several facts, and the way into ripening.

use lotline_domain::fact::{Fact, Input, Output, RunReport};
use lotline_domain::id::{BatchId, Place};

use super::Shift;
use super::catalogue::{kilograms, pieces};
use super::incidents::SUSPECT_DAY;
use super::milk::{input, line, lost, output, report};
use super::site::{Cheese, Weight, Wrong, take};
use super::tell::{When, clock};

const VATS: usize = 6;
/// A cheese is good for so many days from its making.
const CHEESE_DAYS: u64 = 90;
/// Days until a wrong report is put right; it needs so many days to come.
const CORRECTED_AFTER: u32 = 7;

impl Shift<'_> {
    pub(super) fn make_cheese(&mut self) {
        let total: i64 = self.site.milk.iter().map(|milk| milk.1).sum();
        let first = self.site.milk.front().expect("milk was pasteurised today").0.clone();
        for vat in 0..VATS {
            let left: i64 = self.site.milk.iter().map(|milk| milk.1).sum();
            let share = total / 6;
            let grams = if vat == VATS - 1 { left } else { self.site.random.permille(share, 975, 1020) };
            let milk = take(&mut self.site.milk, grams);
            self.vat(vat, &milk, grams, &first);
        }
    }

    fn vat(&mut self, vat: usize, milk: &[Weight], milk_grams: i64, first: &BatchId) {
        let catalogue = self.catalogue;
        let (number, sort) = (vat + 1, &catalogue.sorts[vat / 2]);
        let hall = self.site.places.vat_hall.clone();
        let run = self.run("vat", number);
        let begun = clock(9, 0) + 25 * 60 * i64::try_from(vat).expect("few vats") + self.site.random.between(0, 600);

        let (ingredients, ingredient_grams) = self.ingredients();
        let milk_inputs = |batches: &[Weight], hold: &Place| -> Vec<Input> {
            batches.iter().map(|(batch, grams)| input(batch.clone(), kilograms(*grams), Some(hold.clone()))).collect()
        };
        let hold = Place::Location(self.site.places.milk_hold.clone());
        let mut inputs = milk_inputs(milk, &hold);
        inputs.extend(ingredients.iter().cloned());
        let fact = Fact::Produced(RunReport { inputs, ..report(run.clone(), &hall) });
        let when = self.prompt(begun);
        if let Some(right) = self.milk_mixed_up(vat, milk) {
            let mut inputs = milk_inputs(&[(first.clone(), milk_grams)], &hold);
            inputs.extend(ingredients);
            let wrong = Fact::Produced(RunReport { inputs, ..report(run.clone(), &hall) });
            let occurred_at = self.tell.occurred(when);
            let target = self.tell.tell(&mut self.site.desks.floor, when, wrong);
            let due = self.today.day + CORRECTED_AFTER;
            let batches = (first.clone(), right);
            self.site.wrong = Some(Wrong { due, target, run: run.clone(), occurred_at, right: fact, batches });
        } else {
            self.tell.tell(&mut self.site.desks.floor, when, fact);
        }

        let into_run = milk_grams + ingredient_grams;
        let cheese_grams = self.site.random.permille(milk_grams, sort.yields.0, sort.yields.1);
        let loss = self.site.random.permille(milk_grams, 2, 5);
        let whey_grams = into_run - cheese_grams - loss;
        let whey = self.batch(&catalogue.items.whey, "W", number);
        let drained = output(&whey, whey_grams, &self.site.places.whey_tank);
        let fact = Fact::Produced(RunReport { outputs: vec![drained], ..report(run.clone(), &hall) });
        let when = self.prompt(begun + 3 * 3600);
        self.tell.tell(&mut self.site.desks.floor, when, fact);
        self.site.whey.push((whey, whey_grams));

        let batch = self.batch(&sort.item, "C", number);
        let wheels = (cheese_grams / sort.wheel_grams).max(1);
        let (second, expires) = (Some(pieces(wheels)), self.today.good_for(CHEESE_DAYS));
        let moulded = Output { second, expires, ..output(&batch, cheese_grams, &hall) };
        let fact = Fact::Produced(RunReport {
            outputs: vec![moulded],
            losses: lost(loss),
            completed: true,
            ..report(run, &hall)
        });
        let when = self.prompt(begun + 4 * 3600);
        self.tell.tell(&mut self.site.desks.floor, when, fact);
        let corrected_later =
            self.site.wrong.as_ref().is_some_and(|wrong| wrong.due == self.today.day + CORRECTED_AFTER);
        if let (true, Some(story)) = (corrected_later, &mut self.story) {
            story.cheese = Some(batch.clone());
        }
        self.ripen(vat / 2, batch, cheese_grams, begun + 5 * 3600);
    }

    /// On the day of the suspect tanker the last vat's milk, all of one batch, is written down as the
    /// day's first: the answer is what it really was.
    fn milk_mixed_up(&self, vat: usize, milk: &[Weight]) -> Option<BatchId> {
        let happens = self.cycle() == SUSPECT_DAY && self.today.left > CORRECTED_AFTER && vat == VATS - 1;
        match milk {
            [(only, _)] if happens => Some(only.clone()),
            _ => None,
        }
    }

    fn ingredients(&mut self) -> (Vec<Input>, i64) {
        let store = Place::Location(self.site.places.dry_store.clone());
        let mut inputs = Vec::new();
        let mut sum = 0;
        for supply in &mut self.site.supplies {
            let grams = self.site.random.between(supply.per_vat.0, supply.per_vat.1);
            sum += grams;
            for (batch, part) in take(&mut supply.lots, grams) {
                inputs.push(input(batch, kilograms(part), Some(store.clone())));
            }
        }
        (inputs, sum)
    }

    fn ripen(&mut self, sort: usize, batch: BatchId, grams: i64, at: i64) {
        let from = self.stated(&self.site.places.vat_hall.clone(), 8);
        let fact = Fact::Moved {
            lines: vec![line(&batch, kilograms(grams), from)],
            to: Place::Location(self.site.places.ripening[sort].clone()),
        };
        let random = &mut self.site.random;
        let when = if random.percent(4) {
            let days = random.between(1, 3);
            When::late(at, days, random)
        } else {
            When::prompt(at, random)
        };
        self.tell.tell(&mut self.site.desks.store, when, fact);
        let ready_on = self.today.day + self.catalogue.sorts[sort].ripening_days;
        self.site.ripening.push_back(Cheese { batch, sort, grams, ready_on });
    }
}
