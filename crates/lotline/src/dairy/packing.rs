//! From ripe cheese to portion packs, and from yesterday's trimmings to processed cheese.

use lotline_domain::fact::{Fact, Line, Output, RunReport};
use lotline_domain::id::{BatchCode, BatchId, ItemId, LocationId, Place, Sink};

use super::Shift;
use super::catalogue::{kilograms, pieces};
use super::incidents::{HOLD_DAY, SHORTAGE_DAY, VOID_DAY};
use super::milk::{input, line, lost, output, report};
use super::site::{Cheese, Kept, Pack, Weight};
use super::story::Shortage;
use super::tell::clock;

const SAMPLE_GRAMS: i64 = 300;

/// Packs are good for so many days.
const PACK_DAYS: u64 = 45;

/// A line of packs: pieces, and what they really weigh.
pub(super) fn pack_line(pack: &Pack, from: Option<Place>) -> Line {
    Line { second: Some(kilograms(pack.grams)), ..line(&pack.batch, pieces(pack.pieces), from) }
}

impl Shift<'_> {
    pub(super) fn pack(&self, item: &ItemId, kind: &str, number: usize, grams: i64, each: i64) -> Pack {
        let batch = self.batch(item, kind, number);
        Pack { batch, pieces: (grams / each).max(1), grams }
    }

    /// Packs come out of their run onto the packing hall's floor.
    pub(super) fn pack_output(&self, pack: &Pack) -> Output {
        let to = &self.site.places.packing;
        Output {
            quantity: Some(pieces(pack.pieces)),
            second: Some(kilograms(pack.grams)),
            expires: self.today.good_for(PACK_DAYS),
            ..output(&pack.batch, pack.grams, to)
        }
    }

    pub(super) fn pack_ripe_cheese(&mut self) {
        let (ripe, still): (Vec<_>, Vec<_>) =
            self.site.ripening.drain(..).partition(|cheese| cheese.ready_on <= self.today.day);
        self.site.ripening.extend(still);
        let hold = self.cheese_to_hold(&ripe);
        let mut number = 0;
        for (index, mut cheese) in ripe.into_iter().enumerate() {
            let minutes = 6 * i64::try_from(index).expect("few cheeses");
            let at = clock(5, 30) + minutes * 60 + self.site.random.between(0, 200);
            if index == 0 {
                self.sample(&mut cheese, at - 1800);
            }
            self.out_of_ripening(&mut cheese, at, index);
            let at = clock(7, 0) + (index * 25 * 60) as i64 + self.site.random.between(0, 600);
            if hold == Some(index) {
                self.pack_half_and_hold(&cheese, at, &mut number);
            } else {
                let (packs, trimmings) = self.packing_run(&cheese, cheese.grams, at, &mut number);
                self.note_finished(&cheese, &packs);
                self.site.packs.extend(packs);
                self.site.new_trimmings.push(trimmings);
            }
        }
    }

    fn cheese_to_hold(&self, ripe: &[Cheese]) -> Option<usize> {
        let mixed_up = self.site.wrong.as_ref().map(|wrong| &wrong.run);
        // The mixed-up vat is the last of its day, and its cheese the last that is ripe.
        (self.cycle() == HOLD_DAY && ripe.len() > usize::from(mixed_up.is_some())).then_some(0)
    }

    /// The laboratory takes a piece; on one day of the cycle the slip is typed in twice, and voided.
    fn sample(&mut self, cheese: &mut Cheese, at: i64) {
        let room = Place::Location(self.site.places.ripening[cheese.sort].clone());
        let fact = Fact::Disposed {
            lines: vec![line(&cheese.batch, kilograms(SAMPLE_GRAMS), Some(room))],
            sink: Sink::Sample,
        };
        let when = self.prompt(at);
        if self.cycle() == VOID_DAY {
            let twice = self.tell.tell(&mut self.site.desks.lab, when, fact.clone());
            self.void(twice, at + 7200, "the same slip was typed in twice");
        }
        self.tell.tell(&mut self.site.desks.lab, when, fact);
        cheese.grams -= SAMPLE_GRAMS;
    }

    fn out_of_ripening(&mut self, cheese: &mut Cheese, at: i64, index: usize) {
        let (low, high) = self.catalogue.sorts[cheese.sort].drying;
        let dried = self.site.random.permille(cheese.grams, low, high);
        let room = self.site.places.ripening[cheese.sort].clone();
        let from = self.stated(&room, 5);
        let fact = Fact::Disposed { lines: vec![line(&cheese.batch, kilograms(dried), from)], sink: Sink::Loss };
        let when = self.prompt(at);
        self.tell.tell(&mut self.site.desks.store, when, fact);
        cheese.grams -= dried;

        let packing = self.site.places.packing.clone();
        if self.cycle() == SHORTAGE_DAY && index == 0 {
            // The slip is lost: the packing line takes what nobody has brought.
            if let Some(story) = &mut self.story {
                story.shortage = Some(Shortage {
                    batch: cheese.batch.clone(),
                    taken_at: packing,
                    left_at: room,
                    quantity: kilograms(cheese.grams),
                });
            }
            return;
        }
        let from = self.stated(&room, 8);
        let fact = Fact::Moved {
            lines: vec![line(&cheese.batch, kilograms(cheese.grams), from)],
            to: Place::Location(packing),
        };
        let when = self.prompt(at + 900);
        self.tell.tell(&mut self.site.desks.store, when, fact);
    }

    /// Cuts `grams` of a cheese into six or seven batches of packs; the trimmings are kept for tomorrow.
    fn packing_run(&mut self, cheese: &Cheese, grams: i64, at: i64, number: &mut usize) -> (Vec<Pack>, Weight) {
        let catalogue = self.catalogue;
        let sort = &catalogue.sorts[cheese.sort];
        let hall = self.site.places.packing.clone();
        let trim_grams = self.site.random.permille(grams, 25, 50);
        let loss = self.site.random.permille(grams, 2, 5);
        let count = self.site.random.between(6, 7);
        let mut left = grams - trim_grams - loss;
        let share = left / count;
        let mut packs = Vec::new();
        for last in (0..count).rev() {
            let weight = if last == 0 { left } else { self.site.random.permille(share, 960, 1010) };
            left -= weight;
            *number += 1;
            packs.push(self.pack(&sort.pack, "K", *number, weight, sort.pack_grams));
        }
        let first = *number;
        let trimmings = self.batch(&catalogue.items.trimmings, "T", first);
        let mut outputs: Vec<_> = packs.iter().map(|pack| self.pack_output(pack)).collect();
        outputs.push(output(&trimmings, trim_grams, &self.site.places.trim_cold));
        let from = self.stated(&hall, 10);
        let report = RunReport {
            inputs: vec![input(cheese.batch.clone(), kilograms(grams), from)],
            outputs,
            losses: lost(loss),
            completed: true,
            ..report(self.run("packing", first), &hall)
        };
        let when = self.prompt(at);
        self.tell.tell(&mut self.site.desks.floor, when, Fact::Produced(report));
        (packs, (trimmings, trim_grams))
    }

    fn pack_half_and_hold(&mut self, cheese: &Cheese, at: i64, number: &mut usize) {
        let half = cheese.grams / 2;
        let (packs, trimmings) = self.packing_run(cheese, half, at, number);
        let rest = (cheese.batch.clone(), cheese.grams - half);
        self.hold(Kept { hold: self.hold_id(), rest, packs, trimmings });
    }

    fn note_finished(&mut self, cheese: &Cheese, packs: &[Pack]) {
        if let (Some(story), Some(pack)) = (&mut self.story, packs.first())
            && story.cheese.as_ref() == Some(&cheese.batch)
        {
            story.finished = Some(pack.batch.clone());
        }
    }

    /// Yesterday's trimmings and what was left of the last melt. On some days the first pot's start-up
    /// waste goes into the second pot of the same batch, which then is an ancestor of itself.
    pub(super) fn melt_trimmings(&mut self) {
        let trimmings = std::mem::take(&mut self.site.trimmings);
        if trimmings.is_empty() {
            return;
        }
        let (melt, grams) = self.melt_pots(&trimmings);
        let kept = if self.today.day % 7 == 6 { 0 } else { self.site.random.permille(grams, 30, 60) };
        let loss = self.site.random.permille(grams, 4, 9);
        let pack = self.pack(&self.catalogue.items.melt_pack, "S", 1, grams - kept - loss, 200);
        let kitchen = self.site.places.kitchen.clone();
        let report = RunReport {
            inputs: vec![input(melt.clone(), kilograms(grams - kept), Some(Place::Location(kitchen.clone())))],
            outputs: vec![self.pack_output(&pack)],
            losses: lost(loss),
            completed: true,
            ..report(self.run("slicer", 1), &kitchen)
        };
        let when = self.prompt(clock(10, 30));
        self.tell.tell(&mut self.site.desks.floor, when, Fact::Produced(report));
        self.site.packs.push(pack);
        // Every seventh day nothing is kept, so that rework does not link a plant's whole life.
        self.site.melt_left = (kept > 0).then_some((melt, kept));
    }

    fn melt_pots(&mut self, trimmings: &[Weight]) -> Weight {
        let melt = self.batch(&self.catalogue.items.melt, "Q", 1);
        let twice = trimmings.len() > 1 && self.site.random.percent(40);
        let split = if twice { trimmings.len().div_ceil(2) } else { trimmings.len() };
        let kitchen = self.site.places.kitchen.clone();
        let cold = self.site.places.trim_cold.clone();
        let left = self.site.melt_left.take();
        let first_at = clock(7, 30) + self.site.random.between(0, 900);
        let into = trimmings[..split].iter().map(|weight| (weight.clone(), &cold));
        let into: Vec<_> = into.chain(left.map(|weight| (weight, &kitchen))).collect();
        let made = self.pot(&melt, &into, 1, first_at);
        if !twice {
            return (melt, made);
        }
        let waste = self.site.random.permille(made, 50, 90);
        let mut into: Vec<_> = trimmings[split..].iter().map(|weight| (weight.clone(), &cold)).collect();
        into.push(((melt.clone(), waste), &kitchen));
        let more = self.pot(&melt, &into, 2, first_at + 5400);
        (melt, made - waste + more)
    }

    fn pot(&mut self, melt: &BatchId, into: &[(Weight, &LocationId)], number: usize, at: i64) -> i64 {
        let kitchen = self.site.places.kitchen.clone();
        let grams: i64 = into.iter().map(|(weight, _)| weight.1).sum();
        let loss = self.site.random.permille(grams, 5, 12);
        let inputs = into.iter().map(|((batch, grams), from)| {
            input(batch.clone(), kilograms(*grams), Some(Place::Location((*from).clone())))
        });
        let report = RunReport {
            inputs: inputs.collect(),
            outputs: vec![output(melt, grams - loss, &kitchen)],
            losses: lost(loss),
            completed: true,
            ..report(self.run("melting-pot", number), &kitchen)
        };
        let when = self.prompt(at);
        self.tell.tell(&mut self.site.desks.floor, when, Fact::Produced(report));
        grams - loss
    }

    /// A customer's own number for one of the day's batches.
    pub(super) fn label(&mut self, pack: &Pack, at: i64) {
        let label = BatchCode::parse(&format!("CUST-{}", self.today.code)).expect("a generated name is a name");
        let when = self.prompt(at);
        let fact = Fact::Labelled { batch: pack.batch.clone().into(), label };
        self.tell.tell(&mut self.site.desks.office, when, fact);
    }
}
