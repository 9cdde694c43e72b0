//! Numbers to names, look-ups and chains.

use crate::id::{
    BatchCode, BatchId, BatchRef, EventId, Generation, HoldId, ItemId, PartyId, Place, RunId, RunName, Sink, SourceId,
};
use crate::time::CommitNo;

use super::names::NameIx;
use super::rows::{
    BatchIx, BatchRow, Deed, DeedIx, DeedRow, EndKind, FactIx, FactRow, FlowExtra, FlowIx, FlowRow, NONE, NameNo,
    PlaceIx, PlaceKind, PlaceRow, RunIx, RunRow,
};
use super::{Book, place_key};

impl Book {
    /// How many batches it knows by any name.
    pub fn batch_count(&self) -> usize {
        self.batches.len()
    }

    /// How many stated flows it holds.
    pub fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// How many facts it holds.
    pub fn fact_count(&self) -> usize {
        self.facts.len()
    }

    /// How many deeds it holds.
    pub fn deed_count(&self) -> usize {
        self.deeds.len()
    }

    /// How many runs it knows.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// How many places it knows.
    pub fn place_count(&self) -> usize {
        self.places.len()
    }

    /// The batch of a number.
    pub fn batch(&self, ix: BatchIx) -> BatchRef {
        let row = self.batches.row(ix.0);
        let code = self.code_text(NameNo(row.code));
        if row.item == NONE {
            return BatchRef::Code(code);
        }
        let word = |ix: u32| self.words.text(NameIx(ix));
        BatchRef::Known(BatchId {
            item: ItemId::parse(word(row.item)).expect("interned names are names"),
            issuer: (row.issuer != NONE).then(|| PartyId::parse(word(row.issuer)).expect("interned names are names")),
            code,
            generation: Generation(row.generation),
        })
    }

    /// The number of a batch, if the book knows it.
    pub fn find_batch(&self, batch: &BatchRef) -> Option<BatchIx> {
        let row = match batch {
            BatchRef::Known(id) => BatchRow {
                item: self.words.find(id.item.as_str())?.0,
                issuer: match &id.issuer {
                    Some(issuer) => self.words.find(issuer.as_str())?.0,
                    None => NONE,
                },
                code: self.codes.find(id.code.as_str())?.0,
                generation: id.generation.0,
            },
            BatchRef::Code(code) => {
                BatchRow { item: NONE, issuer: NONE, code: self.codes.find(code.as_str())?.0, generation: 0 }
            }
        };
        self.batches.find(&row).map(BatchIx)
    }

    /// True for a batch that is only known by its code.
    pub fn is_pseudo(&self, batch: BatchIx) -> bool {
        self.batches.row(batch.0).item == NONE
    }

    /// The place of a number.
    pub fn place(&self, ix: PlaceIx) -> Place {
        let row = self.places.row(ix.0);
        let name = self.words.text(NameIx(row.name));
        let text = match row.kind {
            PlaceKind::Location => format!("location:{name}"),
            PlaceKind::Vessel => format!("vessel:{name}"),
            PlaceKind::Container => format!("container:{name}"),
            PlaceKind::Transit => format!("transit:{name}"),
            PlaceKind::Party => format!("party:{name}"),
            PlaceKind::Sink => format!("sink:{name}"),
            PlaceKind::Unplaced => "unplaced".to_owned(),
        };
        Place::parse(&text).expect("interned places are places")
    }

    /// What kind of place it is.
    pub fn place_kind(&self, ix: PlaceIx) -> PlaceKind {
        self.places.row(ix.0).kind
    }

    /// The number of a place, if the book knows it.
    pub fn find_place(&self, place: &Place) -> Option<PlaceIx> {
        let (kind, name) = place_key(place);
        let name = self.words.find(name)?.0;
        self.places.find(&PlaceRow { kind, name }).map(PlaceIx)
    }

    /// The run of a number.
    pub fn run(&self, ix: RunIx) -> RunId {
        let row = self.runs.row(ix.0);
        RunId {
            source: SourceId::parse(self.words.text(NameIx(row.source))).expect("interned names are names"),
            name: RunName::parse(self.words.text(NameIx(row.name))).expect("interned names are names"),
            generation: Generation(row.generation),
        }
    }

    /// The number of a run, if the book knows it.
    pub fn find_run(&self, run: &RunId) -> Option<RunIx> {
        let row = RunRow {
            source: self.words.find(run.source.as_str())?.0,
            name: self.words.find(run.name.as_str())?.0,
            generation: run.generation.0,
        };
        self.runs.find(&row).map(RunIx)
    }

    /// A fact's head.
    pub fn fact(&self, ix: FactIx) -> &FactRow {
        &self.facts[ix.at()]
    }

    /// The event id of a fact.
    pub fn event_id_of(&self, ix: FactIx) -> EventId {
        EventId::parse(self.event_id_text(ix)).expect("interned names are names")
    }

    /// The text of a fact's event id.
    pub fn event_id_text(&self, ix: FactIx) -> &str {
        self.event_ids.text(NameIx(self.facts[ix.at()].id))
    }

    /// The fact with an event id, if the book knows it.
    pub fn find_fact(&self, id: &EventId) -> Option<FactIx> {
        let name = self.event_ids.find(id.as_str())?;
        self.fact_of_id.get(name.0 as usize).filter(|&&fact| fact != NONE).map(|&fact| FactIx(fact))
    }

    /// A stated flow.
    pub fn stated(&self, ix: FlowIx) -> &FlowRow {
        &self.flows[ix.at()]
    }

    /// What few flows have.
    pub fn extra(&self, ix: FlowIx) -> Option<&FlowExtra> {
        self.extra_of_flow.get(&ix.0).map(|&extra| &self.extras[extra as usize])
    }

    /// A deed.
    pub fn deed_row(&self, ix: DeedIx) -> &DeedRow {
        &self.deeds[ix.at()]
    }

    /// The text of a hold's id.
    pub fn hold_id(&self, hold: NameNo) -> HoldId {
        HoldId::parse(self.words.text(hold.into())).expect("interned names are names")
    }

    /// The stated flows of a batch, latest recorded first, dead ones included.
    pub fn flows_of_batch(&self, batch: BatchIx) -> impl Iterator<Item = FlowIx> + '_ {
        chain(self.batch_flows.get(batch.at()).copied().unwrap_or(NONE), &self.next_of_batch).map(FlowIx)
    }

    /// The stated flows out of a run, vessel, container or transit, latest recorded first.
    pub fn flows_from(&self, end: EndKind) -> impl Iterator<Item = FlowIx> + '_ {
        chain(self.from_flows.get(end), &self.next_of_from).map(FlowIx)
    }

    /// The stated flows into a run, vessel, container or transit, latest recorded first.
    pub fn flows_to(&self, end: EndKind) -> impl Iterator<Item = FlowIx> + '_ {
        chain(self.to_flows.get(end), &self.next_of_to).map(FlowIx)
    }

    /// The deeds of a batch, latest recorded first.
    pub fn deeds_of_batch(&self, batch: BatchIx) -> impl Iterator<Item = DeedIx> + '_ {
        chain(self.batch_deeds.get(batch.0), &self.next_deed).map(DeedIx)
    }

    /// The deeds of a container, transit or vessel, latest recorded first.
    pub fn deeds_of_place(&self, place: PlaceIx) -> impl Iterator<Item = DeedIx> + '_ {
        chain(self.place_deeds.get(place.0), &self.next_deed).map(DeedIx)
    }

    /// The batches that facts, in force or not, counted at a place; some several times.
    pub fn counted_at(&self, place: PlaceIx) -> impl Iterator<Item = BatchIx> + '_ {
        self.counted.get(&place).into_iter().flatten().copied()
    }

    /// The reports of a run, latest recorded first.
    pub fn deeds_of_run(&self, run: RunIx) -> impl Iterator<Item = DeedIx> + '_ {
        chain(self.run_deeds.get(run.0), &self.next_deed).map(DeedIx)
    }

    /// Holds and releases, in order of recording.
    pub fn hold_deeds(&self) -> &[DeedIx] {
        &self.holds
    }

    /// Items, places, factors and policies, in order of recording.
    pub fn master_deeds(&self) -> &[DeedIx] {
        &self.master
    }

    /// True when any fact, in force or not, tells until when a batch is good.
    pub fn has_expiries(&self) -> bool {
        self.expiries > 0
    }

    /// The item's number of a batch; `None` for what is only known by its code.
    pub fn item_of(&self, batch: BatchIx) -> Option<NameNo> {
        let item = self.batches.row(batch.0).item;
        (item != NONE).then_some(NameNo(item))
    }

    /// The flows of one fact. They stand together in the column.
    pub fn flows_of_fact(&self, fact: FactIx) -> impl Iterator<Item = FlowRow> + '_ {
        let first = self.flows.partition_point(|flow| flow.fact < fact);
        self.flows[first..].iter().take_while(move |flow| flow.fact == fact).copied()
    }

    /// The deeds of one fact.
    pub fn deeds_of_fact(&self, fact: FactIx) -> impl Iterator<Item = &Deed> + '_ {
        let first = self.deeds.partition_point(|row| row.fact < fact);
        self.deeds[first..].iter().take_while(move |row| row.fact == fact).map(|row| &row.deed)
    }

    /// All batches that have this code or bear it as a label at a commit, in order of their numbers;
    /// only those that a fact in force speaks of.
    pub fn batches_with_code(&self, code: &BatchCode, known: CommitNo) -> Vec<BatchIx> {
        self.codes.find(code.as_str()).map_or_else(Vec::new, |code| self.candidates(code.into(), known))
    }

    pub(crate) fn candidates(&self, code: NameNo, known: CommitNo) -> Vec<BatchIx> {
        let mut found: Vec<BatchIx> = self.batches_of_code(code).collect();
        found.retain(|batch| self.spoken_of(*batch, known));
        for label in &self.labels {
            let row = self.deed_row(*label);
            if let Deed::Label { batch, code: labelled } = &row.deed
                && *labelled == code
                && self.in_force(row.fact, known)
            {
                found.push(*batch);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn spoken_of(&self, batch: BatchIx, known: CommitNo) -> bool {
        self.flows_of_batch(batch).any(|flow| self.in_force(self.stated(flow).fact, known))
            || self.deeds_of_batch(batch).any(|deed| self.in_force(self.deed_row(deed).fact, known))
    }

    /// The codes of a batch at a commit: its own, then its labels.
    pub(crate) fn codes_of(&self, batch: BatchIx, known: CommitNo) -> Vec<NameNo> {
        let mut codes = vec![NameNo(self.batches.row(batch.0).code)];
        for deed in self.deeds_of_batch(batch) {
            let row = self.deed_row(deed);
            if let Deed::Label { code, .. } = row.deed
                && self.in_force(row.fact, known)
            {
                codes.push(code);
            }
        }
        codes
    }

    /// The labels that facts recorded up to a commit gave a batch, be they in force or not.
    pub fn labels_told(&self, batch: BatchIx, known: CommitNo) -> Vec<BatchCode> {
        let told = self.deeds_of_batch(batch).filter_map(|deed| {
            let row = self.deed_row(deed);
            let recorded = self.fact(row.fact).commit <= known.0;
            if let Deed::Label { code, .. } = row.deed
                && recorded
            {
                Some(self.code_text(code))
            } else {
                None
            }
        });
        told.collect()
    }

    fn code_text(&self, code: NameNo) -> BatchCode {
        BatchCode::parse(self.codes.text(NameIx(code.0))).expect("interned names are names")
    }

    /// True when some fact named a batch by its code alone.
    pub fn has_pseudo(&self) -> bool {
        self.pseudo_batches > 0
    }

    /// The number of a place that settlement itself needs; a new book knows them all.
    pub(crate) fn special_place(&self, place: &Place) -> PlaceIx {
        self.find_place(place).expect("a book begins with the places that settlement needs")
    }

    /// True when master data was recorded after a commit, or a correction of any.
    pub fn master_changed_after(&self, known: CommitNo) -> bool {
        let later = |deed: &DeedIx| {
            let fact = self.deed_row(*deed).fact;
            self.fact(fact).commit > known.0
                || self
                    .corrections
                    .get(&self.fact(fact).id)
                    .is_some_and(|all| all.iter().any(|(correction, _)| self.fact(*correction).commit > known.0))
        };
        self.master.iter().any(later)
    }

    /// The pseudo-batch of a code, if any fact named it barely.
    pub fn pseudo_of(&self, code: NameNo) -> Option<BatchIx> {
        if self.pseudo_batches == 0 {
            return None;
        }
        self.batches.find(&BatchRow { item: NONE, issuer: NONE, code: code.0, generation: 0 }).map(BatchIx)
    }

    /// The number of a batch's own code.
    pub fn code_of(&self, batch: BatchIx) -> NameNo {
        NameNo(self.batches.row(batch.0).code)
    }

    /// The sink of a place that is one.
    pub fn sink(&self, place: PlaceIx) -> Option<Sink> {
        match self.place(place) {
            Place::Sink(sink) => Some(sink),
            _ => None,
        }
    }
}

pub(super) fn chain(head: u32, next: &[u32]) -> impl Iterator<Item = u32> + '_ {
    std::iter::successors((head != NONE).then_some(head), move |&at| {
        let following = next[at as usize];
        (following != NONE).then_some(following)
    })
}
