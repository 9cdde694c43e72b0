//! What commits touched: whose rows may differ behind them. What else a batch's rows follow from than its own facts is
//! noted when it is looked at, so that a commit is looked up and not searched for.

use lotline_domain::book::{BatchIx, Book, Bounds, Deed, EndKind, NameNo, PlaceIx, PlaceKind, RunIx};
use lotline_domain::time::CommitNo;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::exceptions::Part;
use crate::expiry::heirs;
use crate::model::ReadModel;
use crate::question::Question;
use crate::settlements::{Sources, bare_codes};

/// What the rows of a batch may follow from besides its own facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// A container, shipment or vessel that it is or was in.
    Station(PlaceIx),
    /// A batch whose packing tells where a container began.
    Batch(BatchIx),
    /// A code that facts use alone.
    Code(NameNo),
}

/// Batches by what their rows follow from.
#[derive(Debug, Default)]
pub struct Dependents {
    of: FxHashMap<Source, FxHashSet<BatchIx>>,
    /// All batches before this one were noted.
    next: usize,
}

impl Dependents {
    /// Notes what the rows of a batch follow from within the bounds of a question.
    pub fn note(&mut self, question: &Question<'_>, batch: BatchIx) {
        let book = question.book();
        if let Some(sources) = Sources::of(book, &question.settlement(batch), question.bounds().known) {
            sources.stations.iter().for_each(|place| self.put(Source::Station(*place), batch));
            sources.batches.iter().for_each(|other| self.put(Source::Batch(*other), batch));
        }
        bare_codes(book, batch).for_each(|code| self.put(Source::Code(code), batch));
        self.next = self.next.max(batch.at() + 1);
    }

    fn put(&mut self, source: Source, batch: BatchIx) {
        self.of.entry(source).or_default().insert(batch);
    }

    fn on(&self, source: Source) -> impl Iterator<Item = BatchIx> + '_ {
        self.of.get(&source).into_iter().flatten().copied()
    }

    /// All batches whose slices, holds or flows through runs and vessels may be others at a commit than at an earlier
    /// one; some more may be among them. Those that were touched have to be noted again. `None` means any: master data
    /// has changed, or the commits in between were applied too long ago.
    ///
    /// Every batch has to have been noted as of the earlier commit or a later one.
    pub fn touched(&self, model: &ReadModel, since: CommitNo, until: CommitNo) -> Option<Vec<BatchIx>> {
        let book = model.book();
        let mut found: FxHashSet<BatchIx> = FxHashSet::default();
        let mut runs: FxHashSet<RunIx> = FxHashSet::default();
        let mut stations: FxHashSet<PlaceIx> = FxHashSet::default();
        let mut codes: FxHashSet<NameNo> = FxHashSet::default();
        let mut expiries: Vec<BatchIx> = Vec::new();
        for touched in model.touched_between(since, until)? {
            if touched.everything || !touched.parents.is_empty() || !touched.items.is_empty() {
                return None;
            }
            found.extend(&touched.batches);
            runs.extend(&touched.runs);
            stations.extend(touched.stations.iter().chain(&touched.places));
            codes.extend(&touched.codes);
            expiries.extend(&touched.expiries);
        }
        if book.has_pseudo() {
            codes.extend(found.iter().map(|batch| book.code_of(*batch)).filter(|code| book.pseudo_of(*code).is_some()));
        }
        let own: Vec<BatchIx> = found.iter().copied().collect();
        found.extend(own.into_iter().flat_map(|batch| self.on(Source::Batch(batch))));
        found.extend(stations.into_iter().flat_map(|place| self.on(Source::Station(place))));
        found.extend(codes.into_iter().flat_map(|code| self.on(Source::Code(code))));
        for run in runs {
            let legs = book.flows_to(EndKind::Run(run)).chain(book.flows_from(EndKind::Run(run)));
            let legs: Vec<BatchIx> = legs.map(|flow| book.stated(flow).batch).collect();
            expiries.extend(&legs);
            found.extend(legs);
        }
        if book.has_expiries() {
            if book.has_pseudo() {
                // What a code means decides whose date it tells, and what was made of what.
                expiries.extend(&found);
            }
            // What is told of a bare code is told of the batches that it may mean, and they pass it on, too.
            let mut wide: FxHashSet<BatchIx> = expiries.into_iter().collect();
            loop {
                let before = wide.len();
                wide = heirs(book, wide);
                let codes: Vec<NameNo> =
                    wide.iter().filter(|batch| book.is_pseudo(**batch)).map(|batch| book.code_of(*batch)).collect();
                wide.extend(codes.into_iter().flat_map(|code| self.on(Source::Code(code))));
                if wide.len() == before {
                    break;
                }
            }
            found.extend(wide);
        }
        let count = u32::try_from(book.batch_count()).expect("fewer than 2^32 batches");
        found.extend((0..count).map(BatchIx).skip(self.next));
        // What a vessel's model says of one batch changes with what went in or out of the others.
        let vessels: FxHashSet<PlaceIx> = found.iter().flat_map(|batch| vessels_of(book, *batch)).collect();
        found.extend(vessels.into_iter().flat_map(|vessel| self.on(Source::Station(vessel))));
        if !book.hold_deeds().is_empty() {
            for known in [since, until] {
                found.extend(model.question(Bounds::known(known)).covers().batches());
            }
        }
        let mut found: Vec<BatchIx> = found.into_iter().collect();
        found.sort_unstable();
        Some(found)
    }

    /// All parts whose discrepancies may be others at a commit than at an earlier one, as [`Self::touched`] tells of
    /// batches.
    pub fn touched_parts(&self, model: &ReadModel, since: CommitNo, until: CommitNo) -> Option<Vec<Part>> {
        let book = model.book();
        let mut batches: FxHashSet<BatchIx> = self.touched(model, since, until)?.into_iter().collect();
        let mut parts: FxHashSet<Part> = FxHashSet::default();
        for touched in model.touched_between(since, until)? {
            parts.extend(touched.runs.iter().map(|run| Part::Run(*run)));
            let vessels = touched.stations.iter().chain(&touched.places);
            parts.extend(
                vessels.filter(|place| book.place_kind(**place) == PlaceKind::Vessel).map(|it| Part::Vessel(*it)),
            );
        }
        let mut shared: FxHashSet<PlaceIx> = FxHashSet::default();
        for end in batches.iter().flat_map(|batch| ends_of(book, *batch)) {
            match end {
                EndKind::Run(run) => drop(parts.insert(Part::Run(run))),
                EndKind::Place(place) => match book.place_kind(place) {
                    PlaceKind::Vessel => drop(parts.insert(Part::Vessel(place))),
                    // Whether a container is packed again while it holds something follows from all that is in it.
                    PlaceKind::Container => drop(shared.insert(place)),
                    _ => {}
                },
                _ => {}
            }
        }
        for deed in batches.iter().flat_map(|batch| book.deeds_of_batch(*batch)) {
            let Deed::Count { at, .. } = book.deed_row(deed).deed else { continue };
            match book.place_kind(at) {
                PlaceKind::Container => drop(shared.insert(at)),
                PlaceKind::Vessel => drop(parts.insert(Part::Vessel(at))),
                _ => {}
            }
        }
        batches.extend(shared.into_iter().flat_map(|container| self.on(Source::Station(container))));
        parts.extend(batches.into_iter().map(Part::Batch));
        parts.insert(Part::Facts);
        let mut parts: Vec<Part> = parts.into_iter().collect();
        parts.sort_unstable();
        Some(parts)
    }
}

/// The runs and places that any fact about a batch names, or about a code that may mean it.
fn ends_of(book: &Book, batch: BatchIx) -> impl Iterator<Item = EndKind> + '_ {
    let codes = bare_codes(book, batch).filter_map(|code| book.pseudo_of(code));
    let flows = std::iter::once(batch).chain(codes).flat_map(|told| book.flows_of_batch(told));
    flows.flat_map(|flow| [book.stated(flow).from, book.stated(flow).to]).map(|end| end.kind())
}

fn vessels_of(book: &Book, batch: BatchIx) -> impl Iterator<Item = PlaceIx> + '_ {
    ends_of(book, batch).filter_map(|end| match end {
        EndKind::Place(place) if book.place_kind(place) == PlaceKind::Vessel => Some(place),
        _ => None,
    })
}
