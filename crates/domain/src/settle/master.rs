//! Master data in force at a commit: the place tree, base units, factors, mix models, policy.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use crate::book::{BatchIx, Book, Deed, DeedIx, NameNo, NameTable, PlaceIx};
use crate::expiry::Zone;
use crate::fact::MixModel;
use crate::quantity::Ratio;
use crate::time::CommitNo;
use crate::unit::{Dimension, Unit};

/// Of several live definitions of one thing the last in step order counts, for all time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Master {
    parents: FxHashMap<PlaceIx, PlaceIx>,
    zones: FxHashMap<PlaceIx, Zone>,
    bases: FxHashMap<NameNo, Unit>,
    item_factors: FxHashMap<NameNo, Vec<Factor>>,
    batch_factors: FxHashMap<BatchIx, Vec<Factor>>,
    pub(crate) holds_pass_runs: bool,
}

#[derive(Debug, Clone, Copy)]
struct Factor {
    from: Unit,
    to: Unit,
    ratio: Ratio,
}

/// The base unit that a unit converts to exactly, and how much of it one is; itself where there is none.
fn class(unit: Unit) -> (Unit, Ratio) {
    let base = ranked_base(unit).1;
    same_dimension(unit, base).map_or((unit, Ratio::ONE), |ratio| (base, ratio))
}

impl Factor {
    /// A factor holds for all units of its two dimensions: litres to kilograms converts millilitres to grams.
    fn between_classes(from: Unit, to: Unit, ratio: Ratio) -> Option<Self> {
        let ((from, up), (to, down)) = (class(from), class(to));
        Some(Self { from, to, ratio: ratio.mul(down)?.div(up)? })
    }

    /// How much of the other side one of a class is, when it is one of the two.
    fn across(&self, from: Unit) -> Option<(Unit, Ratio)> {
        if self.from == from {
            return Some((self.to, self.ratio));
        }
        (self.to == from).then(|| Ratio::ONE.div(self.ratio)).flatten().map(|ratio| (self.from, ratio))
    }

    fn pair(&self) -> (Unit, Unit) {
        if self.from <= self.to { (self.from, self.to) } else { (self.to, self.from) }
    }
}

/// Step order of two deeds.
pub(crate) fn deed_order(book: &Book, a: DeedIx, b: DeedIx) -> Ordering {
    let (a, b) = (book.deed_row(a), book.deed_row(b));
    let (fa, fb) = (book.fact(a.fact), book.fact(b.fact));
    (fa.instant, fa.sequence)
        .cmp(&(fb.instant, fb.sequence))
        .then_with(|| book.event_id_text(a.fact).as_bytes().cmp(book.event_id_text(b.fact).as_bytes()))
        .then_with(|| a.leg.cmp(&b.leg))
}

impl Master {
    pub(crate) fn at(book: &Book, known: CommitNo) -> Self {
        let mut deeds: Vec<DeedIx> = book.master_deeds().to_vec();
        deeds.retain(|deed| book.in_force(book.deed_row(*deed).fact, known));
        deeds.sort_by(|a, b| deed_order(book, *a, *b));
        let mut master = Self { holds_pass_runs: true, ..Self::default() };
        // In step order of the definition that counts.
        let mut parents: Vec<(PlaceIx, PlaceIx)> = Vec::new();
        for deed in deeds {
            match &book.deed_row(deed).deed {
                Deed::Parent { place, parent, zone } => {
                    parents.retain(|known| known.0 != *place);
                    parents.extend(parent.map(|parent| (*place, parent)));
                    // What was recorded before zones were read may have any text.
                    match zone.and_then(|zone| Zone::parse(book.name(NameTable::Words, zone)).ok()) {
                        Some(zone) => master.zones.insert(*place, zone),
                        None => master.zones.remove(place),
                    };
                }
                Deed::Item { item, base } => {
                    master.bases.insert(*item, *base);
                }
                Deed::Factor { item, batch, from, to, ratio } => {
                    let Some(factor) = Factor::between_classes(*from, *to, *ratio) else { continue };
                    let list = if *batch == u32::MAX {
                        master.item_factors.entry(NameNo(*item)).or_default()
                    } else {
                        master.batch_factors.entry(BatchIx(*batch)).or_default()
                    };
                    list.retain(|other| other.pair() != factor.pair());
                    list.push(factor);
                }
                Deed::Policy { holds_pass_runs } => master.holds_pass_runs = *holds_pass_runs,
                _ => {}
            }
        }
        master.parents = without_cycles(&parents);
        master
    }

    /// The place that a location is part of.
    pub(crate) fn parent(&self, place: PlaceIx) -> Option<PlaceIx> {
        self.parents.get(&place).copied()
    }

    /// The time zone of a location: its own, else that of the nearest place that it lies in.
    pub(crate) fn zone(&self, place: PlaceIx) -> Option<Zone> {
        let mut around = std::iter::successors(Some(place), |place| self.parent(*place));
        around.find_map(|place| self.zones.get(&place).copied())
    }

    /// True when a location is the other or lies below it in the tree.
    pub(crate) fn is_below(&self, mut place: PlaceIx, above: PlaceIx) -> bool {
        loop {
            if place == above {
                return true;
            }
            match self.parent(place) {
                Some(parent) => place = parent,
                None => return false,
            }
        }
    }

    pub(crate) fn base_of(&self, item: NameNo) -> Option<Unit> {
        self.bases.get(&item).copied()
    }

    /// How much of `to` one `from` of a batch is: the same unit, the same dimension, a factor, two factors in a row.
    pub(crate) fn convert(&self, book: &Book, batch: BatchIx, from: Unit, to: Unit) -> Option<Ratio> {
        if let Some(direct) = same_dimension(from, to) {
            return Some(direct);
        }
        let ((from, up), (to, down)) = (class(from), class(to));
        let of_batch = self.batch_factors.get(&batch).map_or(&[][..], Vec::as_slice);
        let of_item = book.item_of(batch).and_then(|item| self.item_factors.get(&item)).map_or(&[][..], Vec::as_slice);
        // The batch's own factor goes before the item's.
        let one = |from: Unit, to: Unit| {
            of_batch.iter().chain(of_item).find_map(|factor| {
                let (other, ratio) = factor.across(from)?;
                (other == to).then_some(ratio)
            })
        };
        let over = || {
            let mut middles: Vec<Unit> = of_batch.iter().chain(of_item).flat_map(|f| [f.from, f.to]).collect();
            middles.sort_unstable();
            middles.dedup();
            middles.into_iter().find_map(|middle| one(from, middle)?.mul(one(middle, to)?))
        };
        one(from, to).or_else(over)?.mul(up)?.div(down)
    }
}

/// A parent that would close a cycle with those before it is ignored.
fn without_cycles(wanted: &[(PlaceIx, PlaceIx)]) -> FxHashMap<PlaceIx, PlaceIx> {
    let mut tree: FxHashMap<PlaceIx, PlaceIx> = FxHashMap::default();
    for &(place, parent) in wanted {
        let mut at = Some(parent);
        while let Some(above) = at {
            if above == place {
                break;
            }
            at = tree.get(&above).copied();
        }
        if at.is_none() {
            tree.insert(place, parent);
        }
    }
    tree
}

/// How much of `to` one `from` is where both are of one dimension.
pub fn same_dimension(from: Unit, to: Unit) -> Option<Ratio> {
    if from == to {
        return Some(Ratio::ONE);
    }
    if from.dimension() != to.dimension() {
        return None;
    }
    let ((fnum, fden), (tnum, tden)) = (from.ratio()?, to.ratio()?);
    Ratio::new(fnum.into(), fden.into())?.div(Ratio::new(tnum.into(), tden.into())?)
}

/// The base unit of a dimension, by rank; what has no rank is its own base.
pub(crate) fn ranked_base(unit: Unit) -> (u8, Unit) {
    match unit.dimension() {
        Dimension::Mass => (0, Unit::KILOGRAM),
        Dimension::Volume => (1, Unit::LITRE),
        Dimension::Count if unit.ratio().is_some() => (2, Unit::ONE),
        Dimension::Length => (3, Unit::METRE),
        Dimension::Area => (4, Unit::SQUARE_METRE),
        _ => (5, unit),
    }
}

/// Where a vessel stands, by its last definition in step order, whatever the effective bound.
pub(crate) fn stands_at(book: &Book, vessel: PlaceIx, known: CommitNo) -> Option<PlaceIx> {
    let defined = book.deeds_of_place(vessel).filter(|deed| {
        let row = book.deed_row(*deed);
        matches!(row.deed, Deed::Vessel { .. }) && book.in_force(row.fact, known)
    });
    match book.deed_row(defined.max_by(|a, b| deed_order(book, *a, *b))?).deed {
        Deed::Vessel { at, .. } => at,
        _ => None,
    }
}

/// The mix model of a vessel at a commit: the last definition in step order, whatever the effective bound.
pub(crate) fn mix_of(book: &Book, vessel: PlaceIx, known: CommitNo) -> MixModel {
    let mut best: Option<(DeedIx, MixModel)> = None;
    for deed in book.deeds_of_place(vessel) {
        let row = book.deed_row(deed);
        if let Deed::Vessel { mix, .. } = row.deed
            && book.in_force(row.fact, known)
            && best.is_none_or(|(other, _)| deed_order(book, deed, other) == Ordering::Greater)
        {
            best = Some((deed, mix));
        }
    }
    best.map_or(MixModel::Full, |(_, mix)| mix)
}
