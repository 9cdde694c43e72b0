//! A small bookkeeping of its own, for these tests: it follows the facts in effective order and knows
//! nothing of how the engine settles them.

use std::collections::{HashMap, HashSet};

use lotline_domain::fact::{Correction, Fact, FactorScope, Input, Line, Output, RunReport};
use lotline_domain::id::{BatchId, BatchRef, EventId, Place};
use lotline_domain::quantity::Stated;
use lotline_domain::time::Instant;
use lotline_domain::unit::Unit;

use crate::dairy::Told;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) grams: i64,
    pub(super) pieces: i64,
}

#[derive(Debug)]
pub(super) struct Count {
    pub(super) batch: BatchId,
    pub(super) book: i64,
    pub(super) counted: i64,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) balance: HashMap<(BatchId, String), Amount>,
    /// Slices that were below zero at any moment.
    pub(super) short: HashSet<(BatchId, String)>,
    pub(super) counts: Vec<Count>,
    /// In less out less lost, in grams.
    pub(super) runs: HashMap<String, i64>,
    pub(super) written_off: HashMap<BatchId, i64>,
    pub(super) returned_from: HashMap<String, String>,
    vessels: HashMap<String, i64>,
    stands: HashMap<String, String>,
    densities: HashMap<BatchId, i64>,
}

pub(super) fn grams(stated: &Stated) -> i64 {
    assert_eq!(stated.unit(), Unit::KILOGRAM);
    let mut value = stated.value();
    value.rescale(3);
    i64::try_from(value.mantissa()).expect("grams fit")
}

fn known(batch: &BatchRef) -> BatchId {
    match batch {
        BatchRef::Known(batch) => batch.clone(),
        BatchRef::Code(code) => panic!("bare code {code:?}"),
    }
}

impl Book {
    pub(super) fn of(told: &[Told]) -> Self {
        let mut void: HashSet<&EventId> = HashSet::new();
        let mut instead: HashMap<&EventId, (Instant, &Fact)> = HashMap::new();
        for told in told {
            if let Fact::Corrected { target, correction, .. } = &told.command.event.fact {
                match correction {
                    Correction::Void => assert!(void.insert(target)),
                    Correction::Supersede { occurred_at, fact } => {
                        assert!(instead.insert(target, (occurred_at.instant, fact)).is_none());
                    }
                }
            }
        }
        let mut facts: Vec<(Instant, &Fact)> = Vec::new();
        for told in told {
            let event = &told.command.event;
            if !void.contains(&event.id) {
                facts.push(*instead.get(&event.id).unwrap_or(&(event.occurred_at.instant, &event.fact)));
            }
        }
        facts.sort_by_key(|(at, _)| *at);
        let mut book = Self::default();
        for (_, fact) in &facts {
            if let Fact::FactorDefined { scope: FactorScope::Batch(batch), equals, .. } = fact {
                book.densities.insert(batch.clone(), grams(equals));
            }
        }
        for (_, fact) in facts {
            book.follow(fact);
        }
        book
    }

    /// Grams at parties or on the way to one.
    pub(super) fn outside(&self, batch: &BatchId) -> i64 {
        let mine = self.balance.iter().filter(|((of, _), _)| of == batch);
        let away = |place: &str| {
            let end = self.end_of(place);
            end.starts_with("party:") || end.starts_with("transit:")
        };
        mine.filter(|((_, place), _)| away(place)).map(|(_, amount)| amount.grams).sum()
    }

    pub(super) fn stands_at(&self, container: &str) -> String {
        self.end_of(&format!("container:{container}"))
    }

    fn end_of(&self, place: &str) -> String {
        let mut place = place.to_owned();
        while let Some(container) = place.strip_prefix("container:") {
            place = self.stands[container].clone();
        }
        place
    }

    fn amount(&self, batch: &BatchId, quantity: Option<&Stated>, second: Option<&Stated>) -> Amount {
        let quantity = quantity.expect("all quantities are known");
        match quantity.unit() {
            Unit::KILOGRAM => Amount { grams: grams(quantity), pieces: 0 },
            Unit::LITRE => {
                let litres = i64::try_from(quantity.value().mantissa()).expect("whole litres");
                assert_eq!(quantity.value().scale(), 0);
                Amount { grams: litres * self.densities[batch], pieces: 0 }
            }
            Unit::PIECE => {
                let count = i64::try_from(quantity.value().mantissa()).expect("whole pieces");
                assert_eq!(quantity.value().scale(), 0);
                Amount { grams: grams(second.expect("packs have a catch weight")), pieces: count }
            }
            other => panic!("unit {other}"),
        }
    }

    fn add(&mut self, batch: &BatchId, place: &str, amount: Amount, sign: i64) {
        let slice = (batch.clone(), place.to_owned());
        let balance = self.balance.entry(slice.clone()).or_default();
        balance.grams += sign * amount.grams;
        balance.pieces += sign * amount.pieces;
        if balance.grams < 0 || balance.pieces < 0 {
            self.short.insert(slice);
        }
    }

    /// Where it was: as stated, or the one place that has some.
    fn source(&self, batch: &BatchId, from: Option<&Place>) -> String {
        if let Some(from) = from {
            return from.to_string();
        }
        let holding = |((of, place), amount): &(&(BatchId, String), &Amount)| {
            of == batch && amount.grams > 0 && !place.starts_with("party:") && !place.starts_with("sink:")
        };
        let mut places: Vec<_> = self.balance.iter().filter(holding).map(|((_, place), _)| place.clone()).collect();
        assert_eq!(places.len(), 1, "{batch} without a source may be at one place only: {places:?}");
        places.remove(0)
    }

    fn line_out(&mut self, line: &Line) -> (BatchId, Amount) {
        let batch = known(&line.batch);
        let amount = self.amount(&batch, line.quantity.as_ref(), line.second.as_ref());
        let from = self.source(&batch, line.from.as_ref());
        self.add(&batch, &from, amount, -1);
        (batch, amount)
    }

    fn move_lines(&mut self, lines: &[Line], to: &str) {
        for line in lines {
            let (batch, amount) = self.line_out(line);
            self.add(&batch, to, amount, 1);
        }
    }

    fn follow(&mut self, fact: &Fact) {
        match fact {
            Fact::Received { lines, to, from: Some(_), .. } => {
                for line in lines {
                    let batch = known(&line.batch);
                    let amount = self.amount(&batch, line.quantity.as_ref(), line.second.as_ref());
                    self.add(&batch, &to.to_string(), amount, 1);
                }
            }
            Fact::Produced(report) => self.run(report),
            Fact::Moved { lines, to } => self.move_lines(lines, &to.to_string()),
            Fact::Disposed { lines, sink } => self.move_lines(lines, &Place::Sink(*sink).to_string()),
            Fact::Packed { container, lines, containers, at } => {
                self.pack(container.as_str(), lines, containers, at.as_ref())
            }
            Fact::ContainerMoved { containers, to } => {
                for container in containers {
                    self.stands.insert(container.to_string(), to.to_string());
                }
            }
            Fact::Shipped { shipment, lines, containers, .. } => {
                let transit = Place::Transit(shipment.clone()).to_string();
                self.move_lines(lines, &transit);
                for container in containers {
                    let stood = self.stands.insert(container.to_string(), transit.clone());
                    assert!(stood.expect("the pallet stood somewhere").ends_with("cold-store"));
                }
            }
            Fact::Delivered { shipment: Some(shipment), to, lines, containers } => {
                assert!(lines.is_empty() && containers.is_empty());
                self.arrive(&Place::Transit(shipment.clone()).to_string(), &Place::Party(to.clone()).to_string());
            }
            Fact::Returned { lines, containers, to, .. } => {
                assert!(lines.is_empty());
                for container in containers {
                    self.returned_from.insert(container.to_string(), self.stands_at(container.as_str()));
                    self.stands.insert(container.to_string(), to.to_string());
                }
            }
            Fact::Counted { at, lines } => self.count(&at.to_string(), lines),
            Fact::Adjusted { at, batch, difference, .. } => {
                assert!(difference.is_negative());
                let amount = Amount { grams: grams(&difference.size()), pieces: 0 };
                self.written_off.insert(known(batch), amount.grams);
                self.add(&known(batch), &at.to_string(), amount, -1);
            }
            Fact::VesselFilled { vessel, lines } => {
                for line in lines {
                    let (_, amount) = self.line_out(line);
                    *self.vessels.entry(vessel.to_string()).or_default() += amount.grams;
                }
            }
            Fact::VesselDrawn { vessel, batch, quantity, to, .. } => {
                let batch = known(batch.as_ref().expect("draws are named"));
                let amount = self.amount(&batch, quantity.as_ref(), None);
                self.draw(vessel.as_str(), amount.grams);
                self.add(&batch, &to.as_ref().expect("a place").to_string(), amount, 1);
            }
            Fact::VesselCleaned { vessel, .. } => {
                assert_eq!(self.vessels[vessel.as_str()], 0, "{vessel} is cleaned with content");
            }
            Fact::Held { .. } | Fact::Released { .. } | Fact::Labelled { .. } | Fact::Corrected { .. } => {}
            Fact::ItemDefined { .. } | Fact::PlaceDefined { .. } | Fact::VesselDefined { .. } => {}
            Fact::PartyDefined { .. } | Fact::FactorDefined { .. } | Fact::PolicySet { .. } => {}
            other => panic!("not told by this dairy: {other:?}"),
        }
    }

    fn draw(&mut self, vessel: &str, grams: i64) {
        let content = self.vessels.get_mut(vessel).expect("drawn after a fill");
        *content -= grams;
        assert!(*content >= 0, "{vessel} is overdrawn by {content}");
    }

    fn run(&mut self, report: &RunReport) {
        let at = report.at.as_ref().expect("every run says where").to_string();
        let mut rest = 0;
        for Input { batch, quantity, second, from, .. } in &report.inputs {
            match (batch, from) {
                (None, Some(Place::Vessel(vessel))) => {
                    let drawn = grams(quantity.as_ref().expect("known"));
                    self.draw(vessel.as_str(), drawn);
                    rest += drawn;
                }
                (batch, from) => {
                    let batch = known(batch.as_ref().expect("named"));
                    let amount = self.amount(&batch, quantity.as_ref(), second.as_ref());
                    let from = from.as_ref().map_or_else(|| at.clone(), ToString::to_string);
                    self.add(&batch, &from, amount, -1);
                    rest += amount.grams;
                }
            }
        }
        for Output { batch, quantity, second, to, .. } in &report.outputs {
            let batch = known(batch);
            let amount = self.amount(&batch, quantity.as_ref(), second.as_ref());
            let to = to.as_ref().map_or_else(|| at.clone(), ToString::to_string);
            self.add(&batch, &to, amount, 1);
            rest -= amount.grams;
        }
        rest -= report.losses.iter().map(|loss| grams(&loss.quantity)).sum::<i64>();
        *self.runs.entry(report.run.to_string()).or_default() += rest;
    }

    fn pack(
        &mut self,
        container: &str,
        lines: &[Line],
        containers: &[lotline_domain::id::ContainerId],
        at: Option<&lotline_domain::id::LocationId>,
    ) {
        let at = at.expect("packing says where").to_string();
        self.stands.entry(container.to_owned()).or_insert(at.clone());
        let inside = format!("container:{container}");
        self.move_lines(lines, &inside);
        for smaller in containers {
            let stood = self.stands.insert(smaller.to_string(), inside.clone());
            assert_eq!(stood, Some(at.clone()), "the case stands where it is stacked");
        }
    }

    fn arrive(&mut self, transit: &str, party: &str) {
        let mut arrived = 0;
        for place in self.stands.values_mut().filter(|place| *place == transit) {
            *place = party.to_owned();
            arrived += 1;
        }
        let loose = self.balance.iter().filter(|((_, place), amount)| place == transit && amount.grams > 0);
        let loose: Vec<_> = loose.map(|((batch, _), amount)| (batch.clone(), *amount)).collect();
        assert!(arrived + loose.len() > 0, "nothing was on {transit}");
        for (batch, amount) in loose {
            self.add(&batch, transit, amount, -1);
            self.add(&batch, party, amount, 1);
        }
    }

    fn count(&mut self, at: &str, lines: &[Line]) {
        for line in lines {
            let batch = known(&line.batch);
            let book = self.balance.get(&(batch.clone(), at.to_owned())).map_or(0, |amount| amount.grams);
            let counted = self.amount(&batch, line.quantity.as_ref(), None).grams;
            self.counts.push(Count { batch, book, counted });
        }
    }
}
