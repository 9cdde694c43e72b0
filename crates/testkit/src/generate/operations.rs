//! What happens in a plant besides runs: receipts, moves, containers, shipments, vessels, counts, holds,
//! corrections.

use lotline_domain::fact::{Correction, Fact, FactorScope, HoldTarget, Line, ReleaseTarget};
use lotline_domain::id::{BatchId, BatchRef, ContainerId, HoldId, PartyId, Place, Sink};
use lotline_domain::quantity::Difference;
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;

use super::make::{Maker, Milli};

impl Maker {
    /// One more thing happens.
    pub fn operate(&mut self) {
        if self.batches.len() < 2 {
            return self.receive();
        }
        let knobs = self.knobs;
        match self.random.below(40) {
            0..=3 => self.receive(),
            4..=8 => self.produce(),
            9..=11 => self.relocate(),
            12..=15 => self.ship(),
            16..=18 => self.deliver(),
            19 | 20 if knobs.containers => self.pack(),
            21 if knobs.containers => self.unpack(),
            22 if knobs.containers => self.move_containers(),
            23..=25 if knobs.vessels => self.fill(),
            26..=28 if knobs.vessels => self.draw(),
            29 if knobs.vessels => self.clean(),
            30 if knobs.returns => self.give_back(),
            31 if knobs.sightings => self.see(),
            32 if knobs.holds => self.hold(),
            33 if knobs.counts => self.count(),
            34 => self.dispose(),
            35 | 36 if knobs.corrections => self.correct(),
            37 => self.redefine(),
            38 if knobs.splits => self.split_or_merge(),
            39 if knobs.rework => self.rework(),
            _ => self.receive_or_move(),
        }
    }

    fn receive_or_move(&mut self) {
        if self.random.chance(50) { self.receive() } else { self.relocate() }
    }

    /// A line; `from` is left out at times, or told less exactly than it could be.
    pub fn line(&mut self, batch: &BatchId, amount: Milli, from: Option<Place>) -> Line {
        let item = self.item_of(batch);
        let from = self.told_from(from);
        Line {
            batch: self.name(batch),
            quantity: self.state(item, amount),
            second: self.second(item),
            from,
            document: None,
            expires: None,
        }
    }

    /// The place as a source might give it.
    pub fn told_from(&mut self, from: Option<Place>) -> Option<Place> {
        if self.knobs.missing_sources && self.random.chance(25) {
            return None;
        }
        // Nobody reports that something was nowhere.
        let from = from.filter(|place| *place != Place::Unplaced);
        // From somewhere else than where it is, or from the place that its container stands in.
        if self.knobs.overdrafts && self.random.chance(8) { Some(self.inside()) } else { from }
    }

    /// The batch fully named, or by its code alone.
    pub fn name(&mut self, batch: &BatchId) -> BatchRef {
        if self.knobs.bare_codes && self.random.chance(7) {
            return BatchRef::Code(batch.code.clone());
        }
        BatchRef::Known(batch.clone())
    }

    fn receive(&mut self) {
        let known = self.random.chance(20);
        let batch = match self.random.pick(&self.batches).cloned() {
            Some(batch) if known => batch,
            _ => {
                let stage = if self.random.chance(80) { 0 } else { self.random.below(3) };
                let item = self.item_at(stage);
                self.new_batch(item)
            }
        };
        let to = match self.random.pick(&self.vessels).cloned() {
            Some(vessel) if self.random.chance(15) => Place::Vessel(vessel),
            _ => Place::Location(self.location()),
        };
        let amount = 1000 * self.random.range(5, 120);
        let item = self.item_of(&batch);
        let mut line = Line::new(self.name(&batch), self.state(item, amount));
        line.second = self.second(item);
        line.expires = self.expires();
        if self.random.chance(20) {
            line.document = Some(format!("DN{}", self.random.below(6)));
        }
        let stated = !self.knobs.missing_sources || self.random.chance(70);
        let from = if stated { self.random.pick(&self.suppliers).cloned() } else { None };
        let shipment =
            if self.random.chance(8) { self.random.pick(&self.shipments).map(|s| s.0.clone()) } else { None };
        let by = if self.random.chance(5) { self.random.pick(&self.customers).cloned() } else { None };
        let containers = if self.random.chance(8) { self.some_containers() } else { Vec::new() };
        self.book(&batch, &to, amount);
        self.tell(Fact::Received { lines: vec![line], containers, from, shipment, by, to });
    }

    fn some_containers(&mut self) -> Vec<ContainerId> {
        self.random.pick(&self.containers).cloned().into_iter().collect()
    }

    fn relocate(&mut self) {
        let Some((batch, from, held)) = self.slice() else { return self.receive() };
        let amount = self.part(held);
        let to = match self.random.pick(&self.vessels).cloned() {
            Some(vessel) if self.random.chance(10) => Place::Vessel(vessel),
            _ => self.inside(),
        };
        let line = self.line(&batch, amount, Some(from.clone()));
        self.book(&batch, &from, -amount);
        self.book(&batch, &to, amount);
        self.tell(Fact::Moved { lines: vec![line], to });
    }

    fn ship(&mut self) {
        let Some((shipment, to)) = self.random.pick(&self.shipments).cloned() else { return };
        let to = if self.random.chance(20) { None } else { to };
        if !self.containers.is_empty() && self.random.chance(40) {
            let containers = self.some_containers();
            self.carry(&containers, &Place::Transit(shipment.clone()));
            self.tell(Fact::Shipped { shipment, to, lines: Vec::new(), containers });
            return;
        }
        let Some((batch, from, held)) = self.slice() else { return self.receive() };
        let amount = self.part(held);
        let line = self.line(&batch, amount, Some(from.clone()));
        self.book(&batch, &from, -amount);
        self.book(&batch, &Place::Transit(shipment.clone()), amount);
        self.tell(Fact::Shipped { shipment, to, lines: vec![line], containers: Vec::new() });
    }

    /// In the rough book goods leave a container that leaves the walls.
    fn carry(&mut self, containers: &[ContainerId], to: &Place) {
        for container in containers {
            let here = Place::Container(container.clone());
            let held: Vec<_> =
                self.book.iter().filter(|((_, p), _)| *p == here).map(|((b, _), held)| (b.clone(), *held)).collect();
            for (batch, amount) in held {
                self.book(&batch, &here, -amount);
                self.book(&batch, to, amount);
            }
        }
    }

    fn deliver(&mut self) {
        let Some(to) = self.random.pick(&self.customers).cloned() else { return };
        let (shipment, declared) = self.random.pick(&self.shipments).cloned().expect("a plant has shipments");
        let to = match declared {
            Some(lotline_domain::fact::Destination::Party(party)) if self.random.chance(85) => party,
            _ => to,
        };
        let place = Place::Transit(shipment.clone());
        let lines = self.travelling(&place);
        if lines.is_empty() || self.random.chance(35) {
            let containers = if self.random.chance(25) { self.some_containers() } else { Vec::new() };
            self.empty_book(&place, &Place::Party(to.clone()));
            self.tell(Fact::Delivered { shipment: Some(shipment), to, lines: Vec::new(), containers });
            return;
        }
        let (batch, held) = lines[self.random.below(lines.len())].clone();
        let amount = self.part(held);
        let mut line = self.line(&batch, amount, None);
        line.from = None;
        let shipment = if self.random.chance(60) { Some(shipment) } else { None };
        self.book(&batch, &place, -amount);
        self.book(&batch, &Place::Party(to.clone()), amount);
        self.tell(Fact::Delivered { shipment, to, lines: vec![line], containers: Vec::new() });
    }

    fn travelling(&self, place: &Place) -> Vec<(BatchId, Milli)> {
        self.book
            .iter()
            .filter(|((_, p), held)| p == place && **held > 0)
            .map(|((b, _), held)| (b.clone(), *held))
            .collect()
    }

    fn empty_book(&mut self, from: &Place, to: &Place) {
        for (batch, amount) in self.travelling(from) {
            self.book(&batch, from, -amount);
            self.book(&batch, to, amount);
        }
    }

    fn pack(&mut self) {
        let Some(container) = self.random.pick(&self.containers).cloned() else { return };
        let at = if self.random.chance(40) { Some(self.location()) } else { None };
        let nested = self.random.chance(20);
        let containers = if nested { self.some_containers() } else { Vec::new() };
        let Some((batch, from, held)) = self.slice() else { return self.receive() };
        let amount = self.part(held);
        let to = Place::Container(container.clone());
        let lines = if nested && self.random.chance(60) {
            Vec::new()
        } else {
            self.book(&batch, &from, -amount);
            self.book(&batch, &to, amount);
            vec![self.line(&batch, amount, Some(from))]
        };
        self.tell(Fact::Packed { container, lines, containers, at });
    }

    fn unpack(&mut self) {
        let Some(container) = self.random.pick(&self.containers).cloned() else { return };
        let here = Place::Container(container.clone());
        let to = if self.random.chance(60) { Some(self.location()) } else { None };
        let there = to.clone().map_or(Place::Unplaced, Place::Location);
        let inside = self.travelling(&here);
        match self.random.below(4) {
            0 => {
                self.empty_book(&here, &there);
                self.tell(Fact::ContainerEmptied { container });
            }
            1 if !inside.is_empty() => {
                let (batch, held) = inside[self.random.below(inside.len())].clone();
                let amount = self.part(held);
                let mut line = self.line(&batch, amount, None);
                line.from = None;
                self.book(&batch, &here, -amount);
                self.book(&batch, &there, amount);
                self.tell(Fact::Unpacked { container, lines: vec![line], containers: Vec::new(), to });
            }
            2 if self.random.chance(50) => {
                let containers = self.some_containers();
                self.tell(Fact::Unpacked { container, lines: Vec::new(), containers, to });
            }
            _ => {
                self.empty_book(&here, &there);
                self.tell(Fact::Unpacked { container, lines: Vec::new(), containers: Vec::new(), to });
            }
        }
    }

    fn move_containers(&mut self) {
        let containers = self.some_containers();
        let to = match self.random.below(8) {
            0 => self.random.pick(&self.customers).cloned().map_or(Place::Unplaced, Place::Party),
            1 => self.random.pick(&self.shipments).map_or(Place::Unplaced, |s| Place::Transit(s.0.clone())),
            2 => self.random.pick(&self.containers).cloned().map_or(Place::Unplaced, Place::Container),
            _ => Place::Location(self.location()),
        };
        // A place that cannot be named is none to move to.
        let to = if to == Place::Unplaced { Place::Location(self.location()) } else { to };
        self.tell(Fact::ContainerMoved { containers, to });
    }

    fn fill(&mut self) {
        let Some(vessel) = self.random.pick(&self.vessels).cloned() else { return };
        let Some((batch, from, held)) = self.slice() else { return self.receive() };
        let amount = self.part(held);
        let line = self.line(&batch, amount, Some(from.clone()));
        self.book(&batch, &from, -amount);
        self.book(&batch, &Place::Vessel(vessel.clone()), amount);
        self.tell(Fact::VesselFilled { vessel, lines: vec![line] });
    }

    fn draw(&mut self) {
        let Some(vessel) = self.random.pick(&self.vessels).cloned() else { return };
        let amount = 1000 * self.random.range(1, 60);
        let item = self.item_at(1);
        let again = self.random.chance(10);
        let batch = match self.random.pick(&self.batches).cloned() {
            _ if self.random.chance(25) => None,
            Some(batch) if again && !self.book.contains_key(&(batch.clone(), Place::Vessel(vessel.clone()))) => {
                Some(batch)
            }
            _ => Some(self.new_batch(item)),
        };
        let to = if self.random.chance(80) { Some(self.inside()) } else { None };
        if let Some(batch) = &batch {
            self.book(batch, to.as_ref().unwrap_or(&Place::Unplaced), amount);
        }
        let quantity = self.state(Some(item), amount);
        let batch = batch.map(|batch| self.name(&batch));
        let expires = self.expires();
        self.tell(Fact::VesselDrawn { vessel, batch, quantity, to, expires });
    }

    fn clean(&mut self) {
        let Some(vessel) = self.random.pick(&self.vessels).cloned() else { return };
        let grade = self.grade();
        self.tell(Fact::VesselCleaned { vessel, grade });
    }

    fn give_back(&mut self) {
        let Some(from) = self.random.pick(&self.customers).cloned() else { return };
        let place = Place::Party(from.clone());
        let there = self.travelling(&place);
        let known = self.random.pick(&there).cloned();
        let any = self.random.pick(&self.batches).cloned();
        // Also what that party never had.
        let (batch, held) = match (known, any) {
            (Some(known), _) if self.random.chance(75) => known,
            (_, Some(batch)) => (batch, 20_000),
            _ => return,
        };
        let amount = self.part(held);
        let mut line = self.line(&batch, amount, None);
        line.from = None;
        let containers = if self.random.chance(10) { self.some_containers() } else { Vec::new() };
        let to = Place::Location(self.location());
        self.book(&batch, &place, -amount);
        self.book(&batch, &to, amount);
        self.tell(Fact::Returned { from, lines: vec![line], containers, to });
    }

    fn see(&mut self) {
        let Some((batch, _, held)) = self.slice() else { return self.receive() };
        let at = if self.knobs.unruled && self.random.chance(10) {
            self.random.pick(&self.vessels).cloned().map_or(Place::Unplaced, Place::Vessel)
        } else {
            self.inside()
        };
        let amount = self.part(held);
        let mut line = self.line(&batch, amount, None);
        line.from = None;
        let containers = if self.random.chance(25) { self.some_containers() } else { Vec::new() };
        self.tell(Fact::Seen { lines: vec![line], containers, at });
    }

    fn hold(&mut self) {
        let Some((batch, place, _)) = self.slice() else { return self.receive() };
        if self.holds > 0 && self.random.chance(35) {
            let target = if self.random.chance(50) {
                ReleaseTarget::Hold(
                    HoldId::parse(&format!("H{}", self.random.range(1, i64::from(self.holds)))).expect("a name"),
                )
            } else {
                ReleaseTarget::Batch(BatchRef::Known(batch))
            };
            self.tell(Fact::Released { target, reason: None });
            return;
        }
        self.holds += 1;
        let hold = HoldId::parse(&format!("H{}", self.holds)).expect("a name");
        let named = self.name(&batch);
        let place = self.somewhere(place);
        let target = if self.random.chance(65) { HoldTarget::Batch(named) } else { HoldTarget::Slice(named, place) };
        self.tell(Fact::Held { hold, target, reason: None });
    }

    /// The place, or another where it is none that a report could name.
    fn somewhere(&mut self, place: Place) -> Place {
        if place == Place::Unplaced { self.inside() } else { place }
    }

    fn count(&mut self) {
        let Some((batch, place, held)) = self.slice() else { return self.receive() };
        let place = self.somewhere(place);
        let named = self.name(&batch);
        if self.random.chance(60) {
            let seen = if self.random.chance(40) { held } else { (held + 500 * self.random.range(-20, 20)).max(0) };
            let item = self.item_of(&batch);
            let quantity = self.state(item, seen);
            self.book.insert((batch.clone(), place.clone()), seen);
            let line = Line::new(named, quantity);
            self.tell(Fact::Counted { at: place, lines: vec![line] });
        } else {
            let by = 500 * self.random.range(-20, 20);
            let unit = self.item_of(&batch).map_or(Unit::KILOGRAM, |item| self.items[item].unit);
            let Ok(difference) = Difference::new(Decimal::new(by, 3), unit) else { return };
            self.book(&batch, &place, by);
            self.tell(Fact::Adjusted { at: place, batch: named, difference, reason: None });
        }
    }

    fn dispose(&mut self) {
        let Some((batch, from, held)) = self.slice() else { return self.receive() };
        let amount = self.part(held);
        let line = self.line(&batch, amount, Some(from.clone()));
        let sink = [Sink::Consumed, Sink::Loss, Sink::Sample, Sink::Destroyed][self.random.below(4)];
        self.book(&batch, &from, -amount);
        self.tell(Fact::Disposed { lines: vec![line], sink });
    }

    fn correct(&mut self) {
        let Some(target) = self.some_event() else { return self.receive() };
        let replacement = match self.fact_of(&target).cloned() {
            Some(event) if self.random.chance(40) => self.changed(&event.fact).map(|fact| (event.occurred_at, fact)),
            _ => None,
        };
        let correction = match replacement {
            Some((mut occurred_at, fact)) => {
                if self.random.chance(30) {
                    occurred_at.instant = self.present();
                }
                Correction::Supersede { occurred_at, fact: Box::new(fact) }
            }
            None => Correction::Void,
        };
        let circle = self.random.chance(6);
        let id = self.tell(Fact::Corrected { target: target.clone(), correction, reason: None, actor: None });
        if circle && self.fact_of(&target).is_some_and(|event| matches!(event.fact, Fact::Corrected { .. })) {
            self.retarget(&target, &id);
        }
    }

    /// The same fact with another quantity, another batch or another place.
    fn changed(&mut self, fact: &Fact) -> Option<Fact> {
        let mut fact = fact.clone();
        let batch = self.random.pick(&self.batches).cloned()?;
        let place = self.inside();
        let amount = 500 * self.random.range(1, 100);
        let otherwise = self.random.below(3);
        match &mut fact {
            Fact::Received { lines, .. }
            | Fact::Shipped { lines, .. }
            | Fact::Disposed { lines, .. }
            | Fact::Packed { lines, .. }
            | Fact::VesselFilled { lines, .. }
            | Fact::Delivered { lines, .. }
            | Fact::Counted { lines, .. }
            | Fact::Moved { lines, .. } => {
                let line = lines.first_mut()?;
                match otherwise {
                    0 => line.batch = BatchRef::Known(batch),
                    1 if line.from.is_some() => line.from = Some(place),
                    _ => line.quantity = self.state(None, amount),
                }
            }
            Fact::Produced(report) => match otherwise {
                0 => report.inputs.first_mut()?.batch = Some(BatchRef::Known(batch)),
                1 => report.outputs.first_mut()?.quantity = self.state(None, amount),
                _ => drop(report.inputs.pop()),
            },
            Fact::VesselDrawn { quantity, .. } => *quantity = self.state(None, amount),
            Fact::ContainerMoved { to, .. } => *to = Place::Location(self.location()),
            Fact::Adjusted { at, .. } => *at = Place::Location(self.location()),
            // The original does not stand if something else replaces its correction.
            Fact::Corrected { .. } => {
                fact = Fact::Noted {
                    batches: vec![BatchRef::Known(batch)],
                    containers: Vec::new(),
                    what: "not a correction".into(),
                }
            }
            _ => return None,
        }
        Some(fact)
    }

    fn redefine(&mut self) {
        let Some(batch) = self.random.pick(&self.batches).cloned() else { return };
        let item = self.item_of(&batch);
        let knobs = self.knobs;
        let vessel = self.random.pick(&self.vessels).cloned();
        let fact = match (self.random.below(7), item, vessel) {
            (0, Some(item), _) if knobs.units => {
                let scope = FactorScope::Batch(batch);
                self.factor(scope, item)
            }
            (1, Some(item), _) if knobs.units => {
                let scope = FactorScope::Item(batch.item);
                self.factor(scope, item)
            }
            (2, _, Some(vessel)) if knobs.redefinitions => self.vessel_definition(vessel),
            (3, _, _) if knobs.redefinitions => {
                let (place, parent) = (self.location(), Some(self.location()));
                Fact::PlaceDefined { place, parent, time_zone: self.time_zone(), name: None }
            }
            (4, _, _) if knobs.redefinitions => Fact::PolicySet { holds_pass_runs: self.random.chance(50) },
            (5, _, _) if knobs.bare_codes => {
                let used = self.random.pick(&self.codes).cloned().unwrap_or_else(|| batch.code.clone());
                let new = lotline_domain::id::BatchCode::parse(&format!("X{}", self.random.below(5))).expect("a name");
                let label = if self.random.chance(40) { used } else { new };
                Fact::Labelled { batch: BatchRef::Known(batch), label }
            }
            _ => {
                let party = PartyId::parse("C0").expect("a name");
                Fact::PartyDefined { party, name: None }
            }
        };
        self.tell(fact);
    }
}
