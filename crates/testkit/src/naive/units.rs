//! Section 9, second part: base units and conversions.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Fact, FactorScope};
use lotline_domain::id::{BatchId, BatchRef, ItemId};
use lotline_domain::quantity::Stated;
use lotline_domain::unit::{Dimension, Unit};

use super::live::Live;
use super::names::{Batch, Names};
use super::number::{Number, decimal, ratio, zero};

/// A quantity as a fact states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    pub first: Option<Stated>,
    pub second: Option<Stated>,
}

impl Measure {
    pub fn of(first: Option<Stated>) -> Self {
        Self { first, second: None }
    }

    fn all(&self) -> impl Iterator<Item = Stated> {
        self.first.into_iter().chain(self.second)
    }
}

/// The units that convert into each other without a factor have one name: the base unit of their
/// dimension, or the unit itself where it has no exact ratio.
fn class(unit: Unit) -> (Unit, Number) {
    match (base_of(unit.dimension()), unit.ratio()) {
        (Some(base), Some((numerator, denominator))) => (base, ratio(numerator, denominator)),
        _ => (unit, ratio(1, 1)),
    }
}

fn base_of(dimension: Dimension) -> Option<Unit> {
    let parsed = |code| Unit::parse(code).ok();
    match dimension {
        Dimension::Mass => Some(Unit::KILOGRAM),
        Dimension::Volume => Some(Unit::LITRE),
        Dimension::Length => Some(Unit::METRE),
        Dimension::Area => Some(Unit::SQUARE_METRE),
        Dimension::Count => Some(Unit::ONE),
        Dimension::Energy => parsed("JOU"),
        Dimension::Time => parsed("SEC"),
        Dimension::Other => None,
    }
}

/// The dimensions that a batch's base unit may be taken from, in this order.
const ORDER: [Dimension; 5] =
    [Dimension::Mass, Dimension::Volume, Dimension::Count, Dimension::Length, Dimension::Area];

/// Factors between two classes of units.
type Factors = BTreeMap<(Unit, Unit), Number>;

/// Base units and factors, as the last live definitions in step order have them.
pub struct Units {
    defined: BTreeMap<ItemId, Unit>,
    of_item: BTreeMap<ItemId, Factors>,
    of_batch: BTreeMap<BatchId, Factors>,
    used: BTreeMap<Batch, BTreeSet<Unit>>,
}

impl Units {
    /// CHOICE: definitions and the statements that decide on a base unit count whatever `as_of` says; a
    /// second measure is a use of its unit, too.
    pub fn new(live: &[Live], names: &Names) -> Self {
        let mut units = Self {
            defined: BTreeMap::new(),
            of_item: BTreeMap::new(),
            of_batch: BTreeMap::new(),
            used: BTreeMap::new(),
        };
        for event in live {
            match &event.fact {
                Fact::ItemDefined { item, base, .. } => drop(units.defined.insert(item.clone(), *base)),
                Fact::FactorDefined { scope, one, equals } => {
                    let (from, a) = in_class(*one);
                    let (to, b) = in_class(*equals);
                    if a == zero() || b == zero() {
                        continue;
                    }
                    let factors = match scope {
                        FactorScope::Item(item) => units.of_item.entry(item.clone()).or_default(),
                        FactorScope::Batch(batch) => units.of_batch.entry(batch.clone()).or_default(),
                    };
                    // CHOICE: a factor holds for the whole dimensions of its two units, so that litres to
                    // kilograms converts millilitres to grams; the same pair either way round is one pair.
                    factors.insert((from, to), &b / &a);
                    factors.insert((to, from), &a / &b);
                }
                fact => {
                    for (batch, measure) in statements(fact) {
                        let used = units.used.entry(names.resolve(&batch)).or_default();
                        used.extend(measure.all().map(|stated| stated.unit()));
                    }
                    if let Fact::VesselDrawn { vessel, batch: None, quantity, .. } = fact {
                        let blend = lotline_domain::fact::anonymous_blend(vessel, &event.id, 0);
                        units.used.entry(BatchRef::Known(blend)).or_default().extend(quantity.map(|q| q.unit()));
                    }
                    if let Fact::Produced(report) = fact {
                        for (leg, input) in (0u16..).zip(&report.inputs) {
                            if let (None, Some(lotline_domain::id::Place::Vessel(vessel))) = (&input.batch, &input.from)
                            {
                                let blend = lotline_domain::fact::anonymous_blend(vessel, &event.id, leg);
                                let measure = Measure { first: input.quantity, second: input.second };
                                units
                                    .used
                                    .entry(BatchRef::Known(blend))
                                    .or_default()
                                    .extend(measure.all().map(|s| s.unit()));
                            }
                        }
                    }
                }
            }
        }
        units
    }

    /// The unit that the balances of a batch are kept in.
    pub fn base(&self, batch: &Batch) -> Unit {
        if let BatchRef::Known(id) = batch
            && let Some(unit) = self.defined.get(&id.item)
        {
            return *unit;
        }
        let used = self.used.get(batch);
        let uses = |dimension: Dimension| {
            used.is_some_and(|units| units.iter().any(|unit| unit.dimension() == dimension && unit.ratio().is_some()))
        };
        let first = ORDER.into_iter().find(|dimension| uses(*dimension)).and_then(base_of);
        let least = || used.and_then(|units| units.first().copied());
        first.or_else(least).unwrap_or(Unit::KILOGRAM)
    }

    /// A statement in a unit, exactly; `None` where it does not convert or is not known.
    pub fn convert(&self, batch: &Batch, measure: Measure, to: Unit) -> Option<Number> {
        measure.all().find_map(|stated| self.convert_stated(batch, stated, to))
    }

    /// Of one measure.
    pub fn convert_stated(&self, batch: &Batch, stated: Stated, to: Unit) -> Option<Number> {
        Some(decimal(stated.value()) * self.factor(batch, stated.unit(), to)?)
    }

    /// How many of `to` one of `from` is, for this batch.
    pub fn factor(&self, batch: &Batch, from: Unit, to: Unit) -> Option<Number> {
        if from == to {
            return Some(ratio(1, 1));
        }
        let ((from, up), (to, down)) = (class(from), class(to));
        Some(up * self.between(batch, from, to)? / down)
    }

    fn between(&self, batch: &Batch, from: Unit, to: Unit) -> Option<Number> {
        if from == to {
            return Some(ratio(1, 1));
        }
        if let Some(direct) = self.one_factor(batch, from, to) {
            return Some(direct);
        }
        // CHOICE: of several ways over a third unit the one over the least unit code.
        let mut over = BTreeSet::new();
        if let BatchRef::Known(id) = batch {
            let tables = [self.of_batch.get(id), self.of_item.get(&id.item)];
            over.extend(tables.into_iter().flatten().flat_map(|factors| factors.keys().map(|(a, _)| *a)));
        }
        over.into_iter()
            .find_map(|middle| Some(self.one_factor(batch, from, middle)? * self.one_factor(batch, middle, to)?))
    }

    /// The batch's own factor goes before the item's.
    fn one_factor(&self, batch: &Batch, from: Unit, to: Unit) -> Option<Number> {
        let BatchRef::Known(id) = batch else { return None };
        let own = self.of_batch.get(id).and_then(|factors| factors.get(&(from, to)));
        own.or_else(|| self.of_item.get(&id.item).and_then(|factors| factors.get(&(from, to)))).cloned()
    }
}

fn in_class(stated: Stated) -> (Unit, Number) {
    let (unit, up) = class(stated.unit());
    (unit, decimal(stated.value()) * up)
}

/// Every statement of a quantity of a batch in a fact.
fn statements(fact: &Fact) -> Vec<(BatchRef, Measure)> {
    match fact {
        Fact::Received { lines, .. }
        | Fact::Moved { lines, .. }
        | Fact::Packed { lines, .. }
        | Fact::Unpacked { lines, .. }
        | Fact::Shipped { lines, .. }
        | Fact::Delivered { lines, .. }
        | Fact::Returned { lines, .. }
        | Fact::Seen { lines, .. }
        | Fact::Counted { lines, .. }
        | Fact::Disposed { lines, .. }
        | Fact::VesselFilled { lines, .. } => lines
            .iter()
            .map(|line| (line.batch.clone(), Measure { first: line.quantity, second: line.second }))
            .collect(),
        Fact::Produced(report) => {
            let inputs = report
                .inputs
                .iter()
                .filter_map(|leg| Some((leg.batch.clone()?, Measure { first: leg.quantity, second: leg.second })));
            let outputs = report
                .outputs
                .iter()
                .map(|leg| (leg.batch.clone(), Measure { first: leg.quantity, second: leg.second }));
            inputs.chain(outputs).collect()
        }
        Fact::Adjusted { batch, difference, .. } => vec![(batch.clone(), Measure::of(Some(difference.size())))],
        Fact::VesselDrawn { batch: Some(batch), quantity, .. } => vec![(batch.clone(), Measure::of(*quantity))],
        _ => Vec::new(),
    }
}
