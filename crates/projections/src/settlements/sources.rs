//! What a settlement follows from besides its own batch: where the containers stand that the batch was in,
//! where shipments went, and the batches whose packing tells where a container began.

use lotline_domain::book::{BatchIx, Book, Deed, EndKind, NameNo, PlaceIx, PlaceKind};
use lotline_domain::id::Place;
use lotline_domain::settle::{Node, Settlement};
use lotline_domain::time::CommitNo;
use rustc_hash::{FxHashMap, FxHashSet};

/// Beside its batch, its item and its codes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Containers, shipments and vessels.
    pub(crate) stations: Box<[PlaceIx]>,
    /// Batches first packed into one of the containers, from nobody said where.
    pub(crate) batches: Box<[BatchIx]>,
}

/// The batch itself and the pseudo-batches whose facts may count for it.
fn told_as(book: &Book, batch: BatchIx) -> impl Iterator<Item = BatchIx> + '_ {
    let aliases = bare_codes(book, batch).filter_map(|code| book.pseudo_of(code)).filter(move |alias| *alias != batch);
    std::iter::once(batch).chain(aliases)
}

/// The codes that a batch has or ever had and that some fact used alone.
pub(crate) fn bare_codes(book: &Book, batch: BatchIx) -> impl Iterator<Item = NameNo> + '_ {
    let codes = book.has_pseudo().then(|| {
        let labels = book.deeds_of_batch(batch).filter_map(|deed| match book.deed_row(deed).deed {
            Deed::Label { code, .. } => Some(code),
            _ => None,
        });
        std::iter::once(book.code_of(batch)).chain(labels)
    });
    codes.into_iter().flatten().filter(|code| book.pseudo_of(*code).is_some())
}

fn is_station(book: &Book, place: PlaceIx) -> bool {
    matches!(book.place_kind(place), PlaceKind::Container | PlaceKind::Transit | PlaceKind::Vessel)
}

/// True when any fact that may count for a batch speaks of a container, a shipment or a vessel.
fn told_at_station(book: &Book, batch: BatchIx) -> bool {
    told_as(book, batch).flat_map(|told| book.flows_of_batch(told)).any(|flow| {
        let row = book.stated(flow);
        let at_station = |end| matches!(end, EndKind::Place(place) if is_station(book, place));
        at_station(row.from.kind()) || at_station(row.to.kind())
    })
}

impl Sources {
    /// What a settlement follows from, as known at its commit; `None` when there is nothing.
    pub(crate) fn of(book: &Book, settlement: &Settlement, known: CommitNo) -> Option<Self> {
        if !told_at_station(book, settlement.batch) {
            return None;
        }
        let mut walk = Walk { book, known, places: FxHashSet::default(), batches: FxHashSet::default() };
        walk.batch(settlement.batch);
        walk.batches.remove(&settlement.batch);
        if walk.places.is_empty() && walk.batches.is_empty() {
            return None;
        }
        let mut stations: Vec<PlaceIx> = walk.places.into_iter().collect();
        let mut batches: Vec<BatchIx> = walk.batches.into_iter().collect();
        stations.sort_unstable();
        batches.sort_unstable();
        Some(Self { stations: stations.into(), batches: batches.into() })
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.stations) + size_of_val(&*self.batches)
    }
}

struct Walk<'b> {
    book: &'b Book,
    known: CommitNo,
    places: FxHashSet<PlaceIx>,
    batches: FxHashSet<BatchIx>,
}

impl Walk<'_> {
    fn batch(&mut self, batch: BatchIx) {
        let book = self.book;
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            if !self.batches.insert(batch) {
                continue;
            }
            for told in told_as(book, batch) {
                for flow in book.flows_of_batch(told) {
                    let row = book.stated(flow);
                    for end in [row.from.kind(), row.to.kind()] {
                        if let EndKind::Place(place) = end {
                            self.place(place, &mut waiting);
                        }
                    }
                }
            }
        }
    }

    /// A container, shipment or vessel, and what it stood in or was emptied into.
    fn place(&mut self, place: PlaceIx, batches: &mut Vec<BatchIx>) {
        let book = self.book;
        let mut waiting = vec![place];
        while let Some(place) = waiting.pop() {
            if !is_station(book, place) || !self.places.insert(place) {
                continue;
            }
            if book.place_kind(place) == PlaceKind::Vessel {
                continue;
            }
            for deed in book.deeds_of_place(place) {
                match book.deed_row(deed).deed {
                    Deed::Move { to, .. } | Deed::Empty { to: Some(to), .. } => waiting.push(to),
                    _ => {}
                }
            }
            if book.place_kind(place) == PlaceKind::Container {
                self.first_packing(place, &mut waiting, batches);
            }
        }
    }

    /// Which packing is the first is touched with the container itself; where its goods were, with them.
    fn first_packing(&self, container: PlaceIx, places: &mut Vec<PlaceIx>, batches: &mut Vec<BatchIx>) {
        let book = self.book;
        let packings = || {
            let flows = book.flows_to(EndKind::Place(container));
            flows.filter(|flow| book.stated(*flow).packs && book.in_force(book.stated(*flow).fact, self.known))
        };
        let Some(first) = packings().map(|flow| book.fact(book.stated(flow).fact).instant).min() else { return };
        for flow in packings() {
            let row = book.stated(flow);
            if book.fact(row.fact).instant != first {
                continue;
            }
            match row.from.kind() {
                EndKind::Place(place) => places.push(place),
                _ => batches.push(row.batch),
            }
        }
    }
}

/// All places by which the tree may have a say in a settlement: those that it names, and those that what
/// it follows from names.
pub(crate) fn places(book: &Book, settlement: &Settlement) -> Vec<PlaceIx> {
    let sources = Sources::of(book, settlement, CommitNo(u64::MAX));
    let mut places: Vec<PlaceIx> = settlement.slices.iter().map(|slice| slice.place).collect();
    for flow in &settlement.flows {
        places.extend([flow.from, flow.to].into_iter().filter_map(|node| match node {
            Node::Place(place) => Some(place),
            _ => None,
        }));
    }
    let others = sources.iter().flat_map(|sources| sources.batches.iter().copied());
    for batch in std::iter::once(settlement.batch).chain(others) {
        for told in told_as(book, batch) {
            places_of_batch(book, told, &mut places);
        }
    }
    for &station in sources.iter().flat_map(|sources| sources.stations.iter()) {
        places_of_station(book, station, &mut places);
    }
    places
}

fn places_of_batch(book: &Book, batch: BatchIx, places: &mut Vec<PlaceIx>) {
    for flow in book.flows_of_batch(batch) {
        let row = book.stated(flow);
        for end in [row.from.kind(), row.to.kind()] {
            if let EndKind::Place(place) = end {
                places.push(place);
            }
        }
        packed_at(book, flow, places);
    }
    for deed in book.deeds_of_batch(batch) {
        if let Deed::Count { at, .. } = book.deed_row(deed).deed {
            places.push(at);
        }
    }
}

fn packed_at(book: &Book, flow: lotline_domain::book::FlowIx, places: &mut Vec<PlaceIx>) {
    let at = book.extra(flow).and_then(|extra| extra.packed_at.clone());
    places.extend(at.and_then(|at| book.find_place(&Place::Location(at))));
}

fn places_of_station(book: &Book, station: PlaceIx, places: &mut Vec<PlaceIx>) {
    for deed in book.deeds_of_place(station) {
        match book.deed_row(deed).deed {
            Deed::Move { to, .. }
            | Deed::Bound { to, .. }
            | Deed::Empty { to: Some(to), .. }
            | Deed::Vessel { at: Some(to), .. } => places.push(to),
            _ => {}
        }
    }
    for flow in book.flows_to(EndKind::Place(station)).filter(|flow| book.stated(*flow).packs) {
        packed_at(book, flow, places);
        if let EndKind::Place(place) = book.stated(flow).from.kind() {
            places.push(place);
        }
    }
}

/// All parents that places ever had: a change of any of them, or of one above, may matter.
#[derive(Debug, Default)]
pub(crate) struct Tree(FxHashMap<PlaceIx, Vec<PlaceIx>>);

impl Tree {
    pub(crate) fn of(book: &Book) -> Self {
        let mut parents: FxHashMap<PlaceIx, Vec<PlaceIx>> = FxHashMap::default();
        for deed in book.master_deeds() {
            if let Deed::Parent { place, parent: Some(parent), .. } = book.deed_row(*deed).deed {
                parents.entry(place).or_default().push(parent);
            }
        }
        Self(parents)
    }

    /// The places and all that they ever lay in.
    pub(crate) fn with_ancestors(&self, mut waiting: Vec<PlaceIx>) -> FxHashSet<PlaceIx> {
        let mut seen = FxHashSet::default();
        while let Some(place) = waiting.pop() {
            if seen.insert(place) {
                waiting.extend(self.0.get(&place).into_iter().flatten());
            }
        }
        seen
    }
}
