//! What goes wrong, on set days of a cycle: holds, returns, counts, corrections.

use lotline_domain::fact::{Correction, Fact, HoldTarget, ReleaseTarget};
use lotline_domain::id::{ActorId, BatchId, ContainerId, EventId, HoldId, LocationId, Place, Sink};
use lotline_domain::quantity::Difference;
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;

use super::Shift;
use super::catalogue::kilograms;
use super::milk::line;
use super::packing::pack_line;
use super::site::Kept;
use super::story::{Corrected, CountDifference, Held, Returned};
use super::tell::clock;

/// A tanker of this day turns out to be suspect, and a vat's milk is written down wrongly.
pub(super) const SUSPECT_DAY: u32 = 11;
/// A cheese is packed whose way to the packing hall nobody recorded.
pub(super) const SHORTAGE_DAY: u32 = 10;
/// A cheese, half of it packed, is held.
pub(super) const HOLD_DAY: u32 = 9;
/// Two of its batches of packs are released.
const RELEASE_DAY: u32 = 7;
/// A customer sends a case back.
const RETURN_DAY: u32 = 6;
/// A count finds less than the book says; the other one agrees.
const COUNT_DAY: u32 = 5;
const AGREEING_COUNT_DAY: u32 = 12;
/// A sample is recorded twice, once is voided.
pub(super) const VOID_DAY: u32 = 3;

impl Shift<'_> {
    /// What earlier days left to be done today.
    pub(super) fn settle_yesterday(&mut self) {
        self.site.trimmings = std::mem::take(&mut self.site.new_trimmings);
        self.site.shipments = 0;
        if self.cycle() == RELEASE_DAY {
            self.release_some();
        }
        if self.cycle() == HOLD_DAY {
            self.destroy_what_is_held();
        }
        if self.site.wrong.as_ref().is_some_and(|wrong| wrong.due == self.today.day) {
            self.correct();
        }
        if let Some((room, (batch, grams))) = self.site.missing.take() {
            self.write_off(room, batch, grams);
        }
    }

    pub(super) fn hold_id(&self) -> HoldId {
        HoldId::parse(&format!("HOLD-{}", self.today.code)).expect("a generated name is a name")
    }

    pub(super) fn hold(&mut self, kept: Kept) {
        let held_at = clock(10, 20);
        let when = self.prompt(held_at);
        let fact = Fact::Held {
            hold: kept.hold.clone(),
            target: HoldTarget::Batch(kept.rest.0.clone().into()),
            reason: Some("a laboratory sample of this cheese was positive; second opinion ordered".to_owned()),
        };
        let event = self.tell.tell(&mut self.site.desks.lab, when, fact);
        if let Some(story) = &mut self.story {
            story.held = Some(Held {
                hold: kept.hold.clone(),
                event,
                batch: kept.rest.0.clone(),
                held_at: self.tell.instant(held_at),
                released: Vec::new(),
                still_held: kept.packs.iter().map(|pack| pack.batch.clone()).collect(),
                quarantine: self.site.places.quarantine.clone(),
            });
        }
        let hall = Place::Location(self.site.places.packing.clone());
        let cold = Place::Location(self.site.places.trim_cold.clone());
        let mut lines: Vec<_> = kept.packs.iter().map(|pack| pack_line(pack, Some(hall.clone()))).collect();
        lines.push(line(&kept.rest.0, kilograms(kept.rest.1), Some(hall)));
        lines.push(line(&kept.trimmings.0, kilograms(kept.trimmings.1), Some(cold)));
        let to = Place::Location(self.site.places.quarantine.clone());
        let when = self.prompt(clock(10, 50));
        self.tell.tell(&mut self.site.desks.store, when, Fact::Moved { lines, to });
        self.site.kept = Some(kept);
    }

    fn release_some(&mut self) {
        let Some(mut kept) = self.site.kept.take() else { return };
        let quarantine = Place::Location(self.site.places.quarantine.clone());
        let hall = Place::Location(self.site.places.packing.clone());
        for pack in kept.packs.drain(..2.min(kept.packs.len())) {
            let when = self.prompt(clock(9, 0));
            let fact = Fact::Released {
                target: ReleaseTarget::Batch(pack.batch.clone().into()),
                reason: Some("second opinion: this batch is in order".to_owned()),
            };
            self.tell.tell(&mut self.site.desks.lab, when, fact);
            let when = self.prompt(clock(10, 0));
            let fact = Fact::Moved { lines: vec![pack_line(&pack, Some(quarantine.clone()))], to: hall.clone() };
            self.tell.tell(&mut self.site.desks.store, when, fact);
            if let Some(held) = self.story.as_mut().and_then(|story| story.held.as_mut()) {
                held.still_held.retain(|batch| *batch != pack.batch);
                held.released.push(pack.batch.clone());
            }
            self.site.packs.push(pack);
        }
        self.site.kept = Some(kept);
    }

    /// The end of the cycle before: what is still under hold is destroyed.
    fn destroy_what_is_held(&mut self) {
        let Some(kept) = self.site.kept.take() else { return };
        let from = Some(Place::Location(self.site.places.quarantine.clone()));
        let mut lines: Vec<_> = kept.packs.iter().map(|pack| pack_line(pack, from.clone())).collect();
        for (batch, grams) in [&kept.rest, &kept.trimmings] {
            lines.push(line(batch, kilograms(*grams), from.clone()));
        }
        let when = self.prompt(clock(8, 0));
        let fact = Fact::Disposed { lines, sink: Sink::Destroyed };
        self.tell.tell(&mut self.site.desks.office, when, fact);
    }

    fn correct(&mut self) {
        let wrong = self.site.wrong.take().expect("the caller saw it");
        let when = self.prompt(clock(10, 0));
        let fact = Fact::Corrected {
            target: wrong.target.clone(),
            correction: Correction::Supersede { occurred_at: wrong.occurred_at, fact: Box::new(wrong.right) },
            reason: Some("the vat sheet shows that another batch of milk went in".to_owned()),
            actor: Some(ActorId::parse("shift-lead").expect("a word is a name")),
        };
        let by = self.tell.tell(&mut self.site.desks.office, when, fact);
        if let Some(story) = &mut self.story {
            story.corrected = Some(Corrected {
                event: wrong.target,
                by,
                run: wrong.run,
                wrong: wrong.batches.0,
                right: wrong.batches.1,
                occurred_at: wrong.occurred_at.instant,
                // The stream sets it when it hands the fact out.
                recorded_at: wrong.occurred_at.instant,
            });
        }
    }

    pub(super) fn void(&mut self, target: EventId, at: i64, reason: &str) {
        let when = self.prompt(at);
        let fact = Fact::Corrected {
            target,
            correction: Correction::Void,
            reason: Some(reason.to_owned()),
            actor: Some(ActorId::parse("laboratory-lead").expect("a word is a name")),
        };
        self.tell.tell(&mut self.site.desks.lab, when, fact);
    }

    pub(super) fn goods_come_back_today(&self) -> bool {
        self.cycle() == RETURN_DAY
    }

    /// A customer sends one case of an earlier delivery back; it goes to quarantine.
    pub(super) fn take_back(&mut self) {
        if !self.goods_come_back_today() {
            return;
        }
        let Some(mut consignment) = self.site.delivered.take() else { return };
        let mut pallet = consignment.pallets.swap_remove(0);
        let case = pallet.cases.swap_remove(self.site.random.index(pallet.cases.len()));
        let quarantine = self.site.places.quarantine.clone();
        let at = clock(14, 40);
        let when = self.prompt(at);
        let fact = returned(&consignment.customer, &case.id, &quarantine);
        let event = self.tell.tell(&mut self.site.desks.dock, when, fact);
        if let Some(story) = &mut self.story {
            story.returned = Some(Returned {
                event,
                shipment: consignment.shipment,
                customer: consignment.customer,
                pallet: pallet.id,
                case: case.id,
                batch: case.content.batch,
                returned_at: self.tell.instant(at),
            });
        }
    }

    /// One ripening room is counted, cheese by cheese.
    pub(super) fn count(&mut self) {
        let differs = self.cycle() == COUNT_DAY;
        if !differs && self.cycle() != AGREEING_COUNT_DAY {
            return;
        }
        let Some(sort) = self.site.ripening.back().map(|cheese| cheese.sort) else { return };
        let room = self.site.places.ripening[sort].clone();
        let short = differs.then(|| self.site.random.between(1_200, 4_800));
        let mut lines = Vec::new();
        let mut found = None;
        for cheese in self.site.ripening.iter_mut().filter(|cheese| cheese.sort == sort) {
            if let (Some(grams), None) = (short, &found) {
                found = Some((cheese.batch.clone(), cheese.grams, grams));
                cheese.grams -= grams;
            }
            lines.push(line(&cheese.batch, kilograms(cheese.grams), None));
        }
        let at = clock(21, 0);
        let when = self.prompt(at);
        let fact = Fact::Counted { at: Place::Location(room.clone()), lines };
        let event = self.tell.tell(&mut self.site.desks.store, when, fact);
        let Some((batch, book, short)) = found else { return };
        match &mut self.story {
            // The last difference stays open, for somebody to look into.
            Some(story) => {
                story.count = Some(CountDifference {
                    event,
                    batch,
                    at: room,
                    book: kilograms(book),
                    counted: kilograms(book - short),
                    counted_at: self.tell.instant(at),
                });
            }
            None => self.site.missing = Some((room, (batch, short))),
        }
    }

    fn write_off(&mut self, room: LocationId, batch: BatchId, grams: i64) {
        let when = self.prompt(clock(9, 15));
        let difference = Difference::new(Decimal::new(-grams, 3), Unit::KILOGRAM).expect("a small weight");
        let fact = Fact::Adjusted {
            at: Place::Location(room),
            batch: batch.into(),
            difference,
            reason: Some("not found at the count; written off".to_owned()),
        };
        self.tell.tell(&mut self.site.desks.office, when, fact);
    }
}

fn returned(from: &lotline_domain::id::PartyId, case: &ContainerId, to: &LocationId) -> Fact {
    Fact::Returned {
        from: from.clone(),
        lines: Vec::new(),
        containers: vec![case.clone()],
        to: Place::Location(to.clone()),
    }
}
