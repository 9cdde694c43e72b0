//! Section 7 in settlement: fills, draws and cleans, and what they move.

use std::collections::BTreeMap;

use lotline_domain::id::{Place, Sink, VesselId};
use lotline_domain::time::Instant;
use lotline_domain::unit::Unit;

use super::Discrepancy;
use super::names::Batch;
use super::number::{Number, zero};
use super::settle::{Flow, FlowKind, Node, Now, Settled};
use super::steps::{FlowStep, Key, Step, Target, What};
use super::units::Measure;
use super::vessel::{Draw, Fill, Vessel, in_base};

impl Settled {
    /// Section 7: the dimension common to all fills and draws of a vessel, if there is one.
    pub(super) fn choose_vessel_units(&mut self, steps: &[Step]) {
        let mut legs: BTreeMap<VesselId, Vec<(Batch, Measure)>> = BTreeMap::new();
        for step in steps {
            match &step.what {
                What::Flow(FlowStep { batch, measure, to: Target::Place(Place::Vessel(vessel)), .. })
                | What::Draw { vessel, batch, measure, .. } => {
                    legs.entry(vessel.clone()).or_default().push((batch.clone(), *measure));
                }
                _ => {}
            }
        }
        for (vessel, legs) in legs {
            // CHOICE: legs of unknown quantity do not count here.
            let stated: Vec<_> =
                legs.iter().filter(|(_, measure)| measure.first.is_some() || measure.second.is_some()).collect();
            let all = |unit| stated.iter().all(|(batch, measure)| self.units.convert(batch, *measure, unit).is_some());
            let common = [Unit::KILOGRAM, Unit::LITRE].into_iter().find(|unit| all(*unit));
            self.vessel_units.insert(vessel, common);
        }
    }

    /// CHOICE: without a common dimension each leg keeps the base unit of its batch, and only legs of the
    /// same unit meet.
    pub(super) fn vessel_unit(&self, vessel: &VesselId, batch: &Batch) -> Unit {
        self.vessel_units.get(vessel).copied().flatten().unwrap_or_else(|| self.units.base(batch))
    }

    pub(super) fn vessel(&mut self, id: &VesselId) -> &mut Vessel {
        let mix = self.sites.mix(id);
        self.vessels.entry(id.clone()).or_insert_with(|| Vessel::new(mix))
    }

    /// A flow into a vessel is a fill.
    pub(super) fn fill(&mut self, id: &VesselId, batch: &Batch, amount: Option<&Number>, flow: usize, now: &Now) {
        let unit = self.vessel_unit(id, batch);
        let base = self.units.base(batch);
        let stated = now.measure.and_then(|measure| self.units.convert(batch, measure, unit));
        let whole = now.measure.and_then(|measure| self.units.convert(batch, measure, base));
        let in_vessel = match (amount, stated, whole) {
            // A part of what was stated, in proportion.
            (Some(part), Some(stated), Some(whole)) if whole > zero() => Some(part * stated / whole),
            (Some(part), _, _) => self.units.factor(batch, base, unit).map(|factor| part * factor),
            (None, stated, _) => stated,
        };
        let fill = Fill {
            batch: batch.clone(),
            key: now.key.clone(),
            flows: vec![flow],
            base: amount.cloned(),
            amount: in_vessel,
            left: zero(),
            unit,
        };
        let (index, paid) = self.vessel(id).fill(fill);
        for (draw, part) in paid {
            let vessel = &self.vessels[id];
            let (owed, fill) = (vessel.draws[draw].key.clone(), &vessel.fills[index]);
            let base = in_base(fill, &part);
            self.content(batch, id, &owed, base, Some(owed.instant), now);
        }
    }

    /// Notes what a record takes of a batch beyond what the model has, or gives back (in the batch's base unit).
    pub(super) fn miss_in_vessel(&mut self, id: &VesselId, batch: &Batch, base: &Number) {
        let unit = self.vessel_unit(id, batch);
        if let (true, Some(factor)) = (*base != zero(), self.units.factor(batch, self.units.base(batch), unit)) {
            *self.vessel(id).missing.entry((batch.clone(), unit)).or_insert_with(zero) += base * factor;
        }
    }

    /// A flow of content from a vessel to a draw; the layers are booked already.
    pub(super) fn content(
        &mut self,
        batch: &Batch,
        vessel: &VesselId,
        draw: &Key,
        amount: Option<Number>,
        counts_from: Option<Instant>,
        now: &Now,
    ) {
        self.record(Flow {
            batch: batch.clone(),
            from: Node::Slice(batch.clone(), Place::Vessel(vessel.clone())),
            to: Node::Draw(draw.event.clone(), draw.leg),
            amount,
            at: now.key.instant,
            latest: now.latest,
            counts_from,
            assumed: false,
            possible: false,
            cause: now.key.event.clone(),
            leg: now.key.leg,
            kind: FlowKind::Other,
        });
    }

    pub(super) fn draw(&mut self, id: &VesselId, batch: &Batch, measure: Measure, to: &Target, now: &mut Now) {
        now.measure = Some(measure);
        let unit = self.vessel_unit(id, batch);
        let amount = self.units.convert(batch, measure, unit);
        let draw = Draw { batch: batch.clone(), key: now.key.clone(), amount, unit, debt: zero(), overdrawn: false };
        for (fill, part) in self.vessel(id).draw(draw) {
            let fill = self.vessels[id].fills[fill].clone();
            let base = in_base(&fill, &part);
            self.content(&fill.batch, id, now.key, base, None, now);
        }
        let hub = Node::Draw(now.key.event.clone(), now.key.leg);
        match to {
            Target::Run(run) => {
                // The blend lies nowhere: it passes through its own slice into the run.
                let passing = Node::Slice(batch.clone(), Place::Unplaced);
                let base = self.base_amount(batch, measure, &Node::Run(run.clone()).text(), now);
                let index = self.flow(batch, hub, passing.clone(), base.clone(), false, now);
                // Said once: of what goes into the run.
                let cause = self.flows[index].cause.to_string();
                let twice = |found: &Discrepancy| {
                    found.kind == "quantity unknown" && found.batch == batch.to_string() && found.cause == cause
                };
                self.found.retain(|found| !twice(found));
                now.kind = FlowKind::Consumed;
                self.flow(batch, passing, Node::Run(run.clone()), base, false, now);
                self.book_mut(batch, &Place::Unplaced).close(now.key.instant);
            }
            target => {
                let to = self.target(batch, target);
                let base = self.base_amount(batch, measure, &to.text(), now);
                self.flow(batch, hub, to, base, false, now);
            }
        }
    }

    pub(super) fn clean(&mut self, id: &VesselId, grade: u8, now: &Now) {
        let sufficient = grade >= self.bounds.hazard;
        let gone = self.vessel(id).clean(now.key, sufficient);
        let place = Place::Vessel(id.clone());
        for (fill, part) in gone {
            let fill = self.vessels[id].fills[fill].clone();
            let base = in_base(&fill, &part);
            self.discrepancy("cleaned with content", &fill.batch, &place.to_string(), &now.key.event);
            let sink = Place::Sink(Sink::Unexplained);
            let index = self.record(Flow {
                batch: fill.batch.clone(),
                from: Node::Slice(fill.batch.clone(), place.clone()),
                to: Node::Slice(fill.batch.clone(), sink.clone()),
                amount: base.clone(),
                at: now.key.instant,
                latest: now.latest,
                counts_from: None,
                assumed: false,
                possible: false,
                cause: now.key.event.clone(),
                leg: now.key.leg,
                kind: FlowKind::Other,
            });
            self.put(&fill.batch, &sink, base.as_ref(), false, index, now);
        }
        // Whatever was of unknown quantity is gone with it.
        let open = self.vessels[id].open;
        for ((_, at), book) in &mut self.slices {
            if *at == place && !open {
                book.close(now.key.instant);
            }
        }
    }
}
