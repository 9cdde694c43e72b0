//! A book's rows, out and in again. Every column only ever grows, so what a read model kept up to a mark
//! stays true; chains and look-ups follow from the rows and are built anew.

use std::ops::Range;

use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::time::{CommitNo, Position};

use super::names::{Names, Rows};
use super::rows::{
    BatchIx, BatchRow, ConflictRow, CorrectionKind, Deed, DeedIx, DeedRow, End, EndHeads, EndKind, FactIx, FactRow,
    FlowExtra, FlowIx, FlowRow, Heads, NONE, NameNo, PlaceIx, PlaceKind, PlaceRow, RunIx, RunRow,
};
use super::{Book, Touched};

/// One of a book's tables of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameTable {
    /// Items, places, parties, runs, sources, holds.
    Words,
    /// Batch codes and labels.
    Codes,
    /// Event ids.
    EventIds,
}

/// How many rows each column of a book has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Words.
    pub words: usize,
    /// Batch codes.
    pub codes: usize,
    /// Event ids.
    pub event_ids: usize,
    /// Batches.
    pub batches: usize,
    /// Places.
    pub places: usize,
    /// Runs.
    pub runs: usize,
    /// Facts.
    pub facts: usize,
    /// Stated flows.
    pub flows: usize,
    /// Deeds.
    pub deeds: usize,
    /// Conflicts.
    pub conflicts: usize,
}

/// Distinct texts, one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextColumn {
    /// All of them.
    pub text: String,
    /// Where each one ends, in bytes.
    pub ends: Vec<u32>,
}

impl TextColumn {
    fn is_sound(&self) -> bool {
        let mut start = 0;
        let sound = self.ends.iter().all(|&end| {
            let fits = start <= end && self.text.is_char_boundary(end as usize);
            start = end;
            fits
        });
        sound && start as usize == self.text.len()
    }
}

/// All rows of a book: what it is loaded from.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Words.
    pub words: TextColumn,
    /// Batch codes.
    pub codes: TextColumn,
    /// Event ids.
    pub event_ids: TextColumn,
    /// Batches.
    pub batches: Vec<BatchRow>,
    /// Places.
    pub places: Vec<PlaceRow>,
    /// Runs.
    pub runs: Vec<RunRow>,
    /// Facts.
    pub facts: Vec<FactRow>,
    /// When each correction says that it was made, microseconds; in order of their facts.
    pub corrected_at: Vec<(FactIx, i64)>,
    /// Stated flows, in order of their facts.
    pub flows: Vec<FlowRow>,
    /// What few flows have.
    pub extras: Vec<(FlowIx, FlowExtra)>,
    /// Deeds, in order of their facts.
    pub deeds: Vec<DeedRow>,
    /// Conflicts, in order of their commits.
    pub conflicts: Vec<ConflictRow>,
    /// The last commit and position that were folded.
    pub head: Option<(CommitNo, Position)>,
    /// As [`Book::without_statuses`].
    pub without_statuses: bool,
}

/// Rows that no book can have written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The texts of a table of names do not stand where they are said to end.
    #[error("the texts of a table of names do not end where they should")]
    Texts,
    /// A row names another one that is not there.
    #[error("row {row} of the {column} names a row that is not there")]
    Dangling {
        /// Which column.
        column: &'static str,
        /// Which of its rows.
        row: usize,
    },
    /// Flows, deeds or corrections are not in the order of their facts.
    #[error("the {column} are not in the order of their facts")]
    Order {
        /// Which column.
        column: &'static str,
    },
    /// A row that should have one beside it has none.
    #[error("there are {found} moments of corrections for {expected} corrections")]
    Corrections {
        /// As many as there are corrections.
        expected: usize,
        /// As many as were given.
        found: usize,
    },
}

/// Out.
impl Book {
    /// How many rows it has now.
    pub fn mark(&self) -> Mark {
        Mark {
            words: self.words.len(),
            codes: self.codes.len(),
            event_ids: self.event_ids.len(),
            batches: self.batches.len(),
            places: self.places.len(),
            runs: self.runs.len(),
            facts: self.facts.len(),
            flows: self.flows.len(),
            deeds: self.deeds.len(),
            conflicts: self.conflicts.len(),
        }
    }

    /// The last commit and position that were folded.
    pub fn last(&self) -> Option<(CommitNo, Position)> {
        self.head
    }

    /// A name of a table.
    pub fn name(&self, table: NameTable, name: NameNo) -> &str {
        self.table(table).text(name.into())
    }

    fn table(&self, table: NameTable) -> &Names {
        match table {
            NameTable::Words => &self.words,
            NameTable::Codes => &self.codes,
            NameTable::EventIds => &self.event_ids,
        }
    }

    /// A batch as numbers of names.
    pub fn batch_row(&self, batch: BatchIx) -> BatchRow {
        self.batches.row(batch.0)
    }

    /// A place as numbers.
    pub fn place_row(&self, place: PlaceIx) -> PlaceRow {
        self.places.row(place.0)
    }

    /// A run as numbers.
    pub fn run_row(&self, run: RunIx) -> RunRow {
        self.runs.row(run.0)
    }

    /// Batches by number.
    pub fn batch_rows(&self, range: Range<usize>) -> &[BatchRow] {
        &self.batches.all()[range]
    }

    /// Places by number.
    pub fn place_rows(&self, range: Range<usize>) -> &[PlaceRow] {
        &self.places.all()[range]
    }

    /// Runs by number.
    pub fn run_rows(&self, range: Range<usize>) -> &[RunRow] {
        &self.runs.all()[range]
    }

    /// Facts by number.
    pub fn fact_rows(&self, range: Range<usize>) -> &[FactRow] {
        &self.facts[range]
    }

    /// When a correction says that it was made, microseconds; `None` for what is no correction.
    pub fn corrected_at(&self, fact: FactIx) -> Option<i64> {
        let rivals = self.corrections.get(&self.facts[fact.at()].target)?;
        rivals.iter().find(|(rival, _)| *rival == fact).map(|(_, at)| *at)
    }

    /// Stated flows by number; [`Book::extra`] has what few of them have.
    pub fn flow_rows(&self, range: Range<usize>) -> &[FlowRow] {
        &self.flows[range]
    }

    /// Deeds by number.
    pub fn deed_rows(&self, range: Range<usize>) -> &[DeedRow] {
        &self.deeds[range]
    }

    /// Conflicts by number.
    pub fn conflict_rows(&self, range: Range<usize>) -> &[ConflictRow] {
        &self.conflicts[range]
    }
}

/// In.
impl Book {
    /// The book of these rows. Nothing counts as touched.
    ///
    /// # Errors
    /// [`LoadError`] when a row names one that is not there, or rows are out of order.
    pub fn load(parts: Parts) -> Result<Self, LoadError> {
        parts.check()?;
        let Parts { words, codes, event_ids, batches, places, runs, facts, corrected_at, flows, extras, deeds, .. } =
            parts;
        let (ids, of_batches) = (event_ids.ends.len(), batches.len());
        let kinds: Vec<PlaceKind> = places.iter().map(|row| row.kind).collect();
        // The indexes of names and the chains of rows need nothing of each other.
        let (names, chains) = std::thread::scope(|scope| {
            let names = scope.spawn(|| {
                let table = |column: TextColumn| Names::load(column.text, column.ends);
                (table(words), table(codes), table(event_ids), Rows::load(batches), Rows::load(places))
            });
            let chains = (fact_of_id(ids, &facts), FlowChains::of(&kinds, of_batches, &flows), DeedChains::of(&deeds));
            (names.join().expect("building an index of names does not panic"), chains)
        });
        let (words, codes, event_ids, batches, places) = names;
        let (fact_of_id, flow_chains, deed_chains) = chains;
        let mut book = Self {
            words,
            codes,
            event_ids,
            batches,
            places,
            runs: Rows::load(runs),
            fact_of_id,
            corrections: corrections(&facts, &corrected_at),
            future_facts: (0..).map(FactIx).zip(&facts).filter(|(_, row)| row.future).map(|(fact, _)| fact).collect(),
            facts,
            flows,
            extra_of_flow: extras.iter().map(|(flow, _)| flow.0).zip(0..).collect(),
            extras: extras.into_iter().map(|(_, extra)| extra).collect(),
            next_of_batch: flow_chains.next_of_batch,
            next_of_from: flow_chains.next_of_from,
            next_of_to: flow_chains.next_of_to,
            batch_flows: flow_chains.of_batch,
            from_flows: flow_chains.of_from,
            to_flows: flow_chains.of_to,
            deeds,
            next_deed: deed_chains.next,
            batch_deeds: deed_chains.of_batch,
            place_deeds: deed_chains.of_place,
            run_deeds: deed_chains.of_run,
            holds: deed_chains.holds,
            master: deed_chains.master,
            labels: deed_chains.labels,
            expiries: deed_chains.expiries,
            counted: deed_chains.counted,
            conflicts: parts.conflicts,
            without_statuses: parts.without_statuses,
            head: parts.head,
            touched: Touched::default(),
            last_of_code: Vec::new(),
            next_of_code: Vec::with_capacity(of_batches),
            pseudo_batches: 0,
        };
        for at in 0..of_batches {
            let row = book.batches.all()[at];
            book.code_batch(row);
        }
        Ok(book)
    }
}

fn corrections(facts: &[FactRow], corrected_at: &[(FactIx, i64)]) -> FxHashMap<u32, Vec<(FactIx, i64)>> {
    let mut corrections: FxHashMap<u32, Vec<(FactIx, i64)>> = FxHashMap::default();
    for &(fact, at) in corrected_at {
        corrections.entry(facts[fact.at()].target).or_default().push((fact, at));
    }
    corrections
}

fn fact_of_id(ids: usize, facts: &[FactRow]) -> Vec<u32> {
    let mut fact_of_id = vec![NONE; ids];
    for (at, fact) in (0..).zip(facts) {
        fact_of_id[fact.id as usize] = at;
    }
    fact_of_id
}

#[derive(Default)]
struct FlowChains {
    of_batch: Vec<u32>,
    of_from: EndHeads,
    of_to: EndHeads,
    next_of_batch: Vec<u32>,
    next_of_from: Vec<u32>,
    next_of_to: Vec<u32>,
}

impl FlowChains {
    fn of(kinds: &[PlaceKind], batches: usize, flows: &[FlowRow]) -> Self {
        let mut chains = Self {
            of_batch: vec![NONE; batches],
            next_of_batch: Vec::with_capacity(flows.len()),
            next_of_from: Vec::with_capacity(flows.len()),
            next_of_to: Vec::with_capacity(flows.len()),
            ..Self::default()
        };
        let link = |heads: &mut EndHeads, end: End, at: u32| {
            let hub = is_hub(end, |place| kinds[place.at()]);
            if hub { heads.put(end.kind(), at) } else { NONE }
        };
        for (at, flow) in (0..).zip(flows) {
            let head = &mut chains.of_batch[flow.batch.at()];
            chains.next_of_batch.push(std::mem::replace(head, at));
            chains.next_of_from.push(link(&mut chains.of_from, flow.from, at));
            chains.next_of_to.push(link(&mut chains.of_to, flow.to, at));
        }
        chains
    }
}

/// Flows are also chained by runs, vessels, containers and shipments.
pub(super) fn is_hub(end: End, kind_of: impl Fn(PlaceIx) -> PlaceKind) -> bool {
    match end.kind() {
        EndKind::Run(_) => true,
        EndKind::Place(place) => {
            matches!(kind_of(place), PlaceKind::Vessel | PlaceKind::Container | PlaceKind::Transit)
        }
        _ => false,
    }
}

#[derive(Default)]
struct DeedChains {
    next: Vec<u32>,
    of_batch: Heads,
    of_place: Heads,
    of_run: Heads,
    holds: Vec<DeedIx>,
    master: Vec<DeedIx>,
    labels: Vec<DeedIx>,
    expiries: usize,
    counted: FxHashMap<PlaceIx, Vec<BatchIx>>,
}

impl DeedChains {
    fn of(deeds: &[DeedRow]) -> Self {
        let mut chains = Self { next: Vec::with_capacity(deeds.len()), ..Self::default() };
        for (at, row) in (0..).zip(deeds) {
            let next = match &row.deed {
                Deed::Move { container: place, .. }
                | Deed::Empty { place, .. }
                | Deed::Clean { vessel: place, .. }
                | Deed::Vessel { vessel: place, .. }
                | Deed::Bound { shipment: place, .. } => chains.of_place.put(place.0, at),
                Deed::Count { batch, .. }
                | Deed::Mention { batch }
                | Deed::Hold { batch, .. }
                | Deed::ReleaseBatch { batch }
                | Deed::Expiry { batch, .. }
                | Deed::Label { batch, .. } => chains.of_batch.put(batch.0, at),
                Deed::Run { run, .. } => chains.of_run.put(run.0, at),
                Deed::ReleaseHold { .. } => NONE,
                Deed::Item { .. } | Deed::Parent { .. } | Deed::Factor { .. } | Deed::Policy { .. } => {
                    chains.master.push(DeedIx(at));
                    NONE
                }
            };
            match row.deed {
                Deed::Hold { .. } | Deed::ReleaseHold { .. } | Deed::ReleaseBatch { .. } => {
                    chains.holds.push(DeedIx(at))
                }
                Deed::Label { .. } => chains.labels.push(DeedIx(at)),
                Deed::Expiry { .. } => chains.expiries += 1,
                Deed::Count { batch, at, .. } => chains.counted.entry(at).or_default().push(batch),
                _ => {}
            }
            chains.next.push(next);
        }
        chains
    }
}

/// Nothing that is read from pages may lead beyond the end of a column.
impl Parts {
    fn check(&self) -> Result<(), LoadError> {
        if ![&self.words, &self.codes, &self.event_ids].into_iter().all(TextColumn::is_sound) {
            return Err(LoadError::Texts);
        }
        let word = |name: u32| (name as usize) < self.words.ends.len();
        let code = |name: u32| (name as usize) < self.codes.ends.len();
        let id = |name: u32| (name as usize) < self.event_ids.ends.len();
        let or_none = |name: u32, known: &dyn Fn(u32) -> bool| name == NONE || known(name);
        all("batches", &self.batches, |row| or_none(row.item, &word) && or_none(row.issuer, &word) && code(row.code))?;
        all("places", &self.places, |row| word(row.name))?;
        all("runs", &self.runs, |row| word(row.source) && word(row.name))?;
        all("facts", &self.facts, |row| id(row.id) && or_none(row.target, &id))?;
        all("flows", &self.flows, |row| {
            self.has_batch(row.batch)
                && self.has_fact(row.fact)
                && self.has_end(row.from)
                && self.has_end(row.to)
                && matches!(row.to.kind(), EndKind::Place(_) | EndKind::Run(_))
        })?;
        all("extras", &self.extras, |(flow, _)| flow.at() < self.flows.len())?;
        all("deeds", &self.deeds, |row| self.has_fact(row.fact) && self.has_deed(&row.deed, &word, &code))?;
        all("conflicts", &self.conflicts, |row| self.has_fact(row.fact))?;
        all("corrections", &self.corrected_at, |(fact, _)| {
            self.facts.get(fact.at()).is_some_and(|row| row.correction != CorrectionKind::None)
        })?;
        self.check_order()
    }

    fn check_order(&self) -> Result<(), LoadError> {
        if !self.flows.is_sorted_by_key(|row| row.fact) {
            return Err(LoadError::Order { column: "flows" });
        }
        if !self.deeds.is_sorted_by_key(|row| row.fact) {
            return Err(LoadError::Order { column: "deeds" });
        }
        if !self.conflicts.is_sorted_by_key(|row| row.commit) {
            return Err(LoadError::Order { column: "conflicts" });
        }
        if !self.corrected_at.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(LoadError::Order { column: "corrections" });
        }
        let expected = self.facts.iter().filter(|row| row.correction != CorrectionKind::None).count();
        if expected != self.corrected_at.len() {
            return Err(LoadError::Corrections { expected, found: self.corrected_at.len() });
        }
        Ok(())
    }

    fn has_batch(&self, batch: BatchIx) -> bool {
        batch.at() < self.batches.len()
    }

    fn has_fact(&self, fact: FactIx) -> bool {
        fact.at() < self.facts.len()
    }

    fn has_place(&self, place: PlaceIx) -> bool {
        place.at() < self.places.len()
    }

    fn has_run(&self, run: RunIx) -> bool {
        run.at() < self.runs.len()
    }

    fn has_end(&self, end: End) -> bool {
        match end.kind() {
            EndKind::Place(place) | EndKind::Supply(place) | EndKind::Receipt(Some(place)) => self.has_place(place),
            EndKind::Run(run) => self.has_run(run),
            EndKind::Receipt(None) | EndKind::Sighting | EndKind::Unstated => true,
        }
    }

    fn has_deed(&self, deed: &Deed, word: &dyn Fn(u32) -> bool, code: &dyn Fn(u32) -> bool) -> bool {
        let maybe = |place: &Option<PlaceIx>| place.is_none_or(|place| self.has_place(place));
        match deed {
            Deed::Move { container: place, to, .. } | Deed::Bound { shipment: place, to, .. } => {
                self.has_place(*place) && self.has_place(*to)
            }
            Deed::Parent { place, parent, zone } => {
                self.has_place(*place) && maybe(parent) && zone.is_none_or(|zone| word(zone.0))
            }
            Deed::Empty { place, to } | Deed::Vessel { vessel: place, at: to, .. } => {
                self.has_place(*place) && maybe(to)
            }
            Deed::Clean { vessel, .. } => self.has_place(*vessel),
            Deed::Count { batch, at, .. } => self.has_batch(*batch) && self.has_place(*at),
            Deed::Hold { hold, batch, slice } => word(hold.0) && self.has_batch(*batch) && maybe(slice),
            Deed::ReleaseHold { hold } => word(hold.0),
            Deed::ReleaseBatch { batch } | Deed::Mention { batch } | Deed::Expiry { batch, .. } => {
                self.has_batch(*batch)
            }
            Deed::Run { run, mapping, .. } => {
                self.has_run(*run)
                    && mapping.iter().all(|(input, output)| self.has_batch(*input) && self.has_batch(*output))
            }
            Deed::Item { item, .. } => word(item.0),
            Deed::Factor { item, batch, .. } => {
                (*item == NONE || word(*item)) && (*batch == NONE || self.has_batch(BatchIx(*batch)))
            }
            Deed::Label { batch, code: label } => self.has_batch(*batch) && code(label.0),
            Deed::Policy { .. } => true,
        }
    }
}

fn all<R>(column: &'static str, rows: &[R], sound: impl Fn(&R) -> bool) -> Result<(), LoadError> {
    match rows.iter().position(|row| !sound(row)) {
        None => Ok(()),
        Some(row) => Err(LoadError::Dangling { column, row }),
    }
}
