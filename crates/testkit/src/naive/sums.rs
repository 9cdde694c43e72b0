//! Law 5: sums taken from the facts, and from no flow.

use std::collections::BTreeMap;

use lotline_domain::fact::{Fact, Line};
use lotline_domain::id::{BatchRef, EventId, Place, Sink};

use super::names::Batch;
use super::number::{Number, zero};
use super::settle::{Node, Settled};
use super::units::Measure;

/// What the facts say of one batch, in its base unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Receipts that name their supplier.
    pub received: Number,
    /// Outputs of runs.
    pub made: Number,
    /// Draws from vessels.
    pub drawn: Number,
    /// Adjustments, signed.
    pub adjusted: Number,
    /// Inputs of runs; an anonymous blend drawn into a run is drawn and consumed.
    pub consumed: Number,
    /// Disposals.
    pub disposed: BTreeMap<Sink, Number>,
    /// Some statement has no quantity, or one that does not convert: the sums are lower bounds.
    pub unknown: bool,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            received: zero(),
            made: zero(),
            drawn: zero(),
            adjusted: zero(),
            consumed: zero(),
            disposed: BTreeMap::new(),
            unknown: false,
        }
    }
}

impl Sums {
    /// What the facts leave of the batch in the book: what came in less what went out.
    pub fn rest(&self) -> Number {
        let disposed = self.disposed.values().fold(zero(), |sum, part| sum + part);
        &self.received + &self.made + &self.drawn + &self.adjusted - &self.consumed - disposed
    }
}

impl Settled {
    /// The sums of every batch that a fact within the bounds names.
    pub fn sums(&self) -> BTreeMap<String, Sums> {
        let mut sums: BTreeMap<Batch, Sums> = BTreeMap::new();
        let as_of = self.bounds.as_of;
        for event in self.live.iter().filter(|event| as_of.is_none_or(|as_of| event.instant() <= as_of)) {
            match &event.fact {
                Fact::Received { lines, from, .. } => {
                    self.add_lines(&mut sums, lines, |sums, amount| {
                        if from.is_some() {
                            sums.received += amount;
                        }
                    });
                }
                Fact::Produced(report) => {
                    for (leg, input) in (0u16..).zip(&report.inputs) {
                        let measure = Measure { first: input.quantity, second: input.second };
                        let vessel = match &input.from {
                            Some(Place::Vessel(vessel)) => Some(vessel),
                            _ => None,
                        };
                        match (&input.batch, vessel) {
                            (Some(batch), _) => {
                                self.add(&mut sums, batch, measure, |sums, amount| sums.consumed += amount)
                            }
                            (None, Some(vessel)) => {
                                let blend =
                                    BatchRef::Known(lotline_domain::fact::anonymous_blend(vessel, &event.id, leg));
                                self.add(&mut sums, &blend, measure, |sums, amount| {
                                    sums.consumed += &amount;
                                    sums.drawn += amount;
                                });
                            }
                            (None, None) => {}
                        }
                    }
                    for output in &report.outputs {
                        let measure = Measure { first: output.quantity, second: output.second };
                        self.add(&mut sums, &output.batch, measure, |sums, amount| sums.made += amount);
                    }
                }
                Fact::VesselDrawn { vessel, batch, quantity, .. } => {
                    let blend = || BatchRef::Known(lotline_domain::fact::anonymous_blend(vessel, &event.id, 0));
                    let batch = batch.clone().unwrap_or_else(blend);
                    self.add(&mut sums, &batch, Measure::of(*quantity), |sums, amount| sums.drawn += amount);
                }
                Fact::Adjusted { batch, difference, .. } => {
                    let measure = Measure::of(Some(difference.size()));
                    let less = difference.is_negative();
                    self.add(&mut sums, batch, measure, |sums, amount| {
                        if less { sums.adjusted -= amount } else { sums.adjusted += amount }
                    });
                }
                Fact::Disposed { lines, sink } => {
                    self.add_lines(&mut sums, lines, |sums, amount| {
                        *sums.disposed.entry(*sink).or_insert_with(zero) += amount
                    });
                }
                Fact::Moved { lines, .. }
                | Fact::Packed { lines, .. }
                | Fact::Unpacked { lines, .. }
                | Fact::Shipped { lines, .. }
                | Fact::Delivered { lines, .. }
                | Fact::Returned { lines, .. }
                | Fact::Seen { lines, .. }
                | Fact::VesselFilled { lines, .. } => self.add_lines(&mut sums, lines, |_, _| {}),
                _ => {}
            }
        }
        sums.into_iter().map(|(batch, sums)| (batch.to_string(), sums)).collect()
    }

    fn add_lines(&self, sums: &mut BTreeMap<Batch, Sums>, lines: &[Line], mut to: impl FnMut(&mut Sums, Number)) {
        for line in lines {
            self.add(sums, &line.batch, Measure { first: line.quantity, second: line.second }, &mut to);
        }
    }

    fn add(
        &self,
        sums: &mut BTreeMap<Batch, Sums>,
        batch: &BatchRef,
        measure: Measure,
        to: impl FnOnce(&mut Sums, Number),
    ) {
        let batch = self.names.resolve(batch);
        let base = self.units.base(&batch);
        let amount = self.units.convert(&batch, measure, base);
        let entry = sums.entry(batch).or_default();
        match amount {
            Some(amount) => to(entry, amount),
            None => entry.unknown = true,
        }
    }

    fn is_receipt(&self, event: &EventId) -> bool {
        self.live.iter().any(|live| live.id == *event && matches!(live.fact, Fact::Received { from: Some(_), .. }))
    }

    fn is_count(&self, event: &EventId) -> bool {
        self.live.iter().any(|live| live.id == *event && matches!(live.fact, Fact::Counted { .. }))
    }

    /// What settlement itself let in and out of a batch, beyond the statements of facts: from suppliers
    /// that no receipt names, from and to `unexplained`, the differences of counts, and the content of draws.
    pub fn beyond_facts(&self, batch: &BatchRef) -> Number {
        let mut sum = zero();
        for flow in self.flows.iter().filter(|flow| flow.batch == *batch && !flow.possible) {
            let amount = flow.amount.clone().unwrap_or_else(zero);
            let unexplained = |node: &Node| matches!(node, Node::Slice(_, Place::Sink(Sink::Unexplained)));
            match (&flow.from, &flow.to) {
                (Node::Origin(party), _) if *party == lotline_domain::id::unknown_party() => sum += amount,
                (from, _) if unexplained(from) => sum += amount,
                (_, to) if unexplained(to) => sum -= amount,
                (_, Node::Draw(..)) => sum -= amount,
                // What a count found is no statement of how much moved.
                (Node::Slice(_, Place::Sink(Sink::Adjustment)), _) if self.is_count(&flow.cause) => sum += amount,
                (_, Node::Slice(_, Place::Sink(Sink::Adjustment))) if self.is_count(&flow.cause) => sum -= amount,
                // A receipt of what its supplier had already only moves it.
                (Node::Slice(_, Place::Party(_)), _) if self.is_receipt(&flow.cause) => sum -= amount,
                _ => {}
            }
        }
        sum
    }
}
