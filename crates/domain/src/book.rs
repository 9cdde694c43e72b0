//! The book: every effect of a ledger in columns, with chains by batch, place and run.
//!
//! A book is a pure fold of recorded events. It holds what was stated; what follows from it (settled
//! flows, balances, traces) is computed by `settle` and the read models, for any known commit and any
//! effective bound.

mod export;
mod live;
mod look;
mod names;
mod rows;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::command::Recorded;
use crate::effect::{Effect, Flow, Origin, Target};
use crate::fact::{Destination, FactorScope, HoldTarget, ReleaseTarget};
use crate::id::{BatchRef, EventId, PartyId, Place, RunId, Sink};
use crate::quantity::Ratio;
use crate::time::{CommitNo, Instant, OccurredAt, Position};
use crate::told::{Happened, Told, What};

pub use self::export::{LoadError, Mark, NameTable, Parts, TextColumn};
use self::look::chain;
use self::names::{NameIx, Names, Rows};
pub use self::rows::{
    BatchIx, BatchRow, ConflictRow, CorrectionKind, Deed, DeedIx, DeedRow, End, EndKind, FactIx, FactRow, FlowExtra,
    FlowIx, FlowRow, NONE, NameNo, PlaceIx, PlaceKind, PlaceRow, RunIx, RunRow,
};
use self::rows::{EndHeads, Heads};

/// The bounds of a question: known up to a commit, effective up to an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounds {
    /// Facts of later commits are not known.
    pub known: CommitNo,
    /// Effects after this instant are left out.
    pub as_of: Instant,
}

impl Bounds {
    /// All that is known at a commit.
    pub fn known(known: CommitNo) -> Self {
        Self { known, as_of: Instant::MAX }
    }
}

/// What an event touched: whose settlements may differ from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Batches with new or changed effects.
    pub batches: Vec<BatchIx>,
    /// Containers, shipments and vessels.
    pub places: Vec<PlaceIx>,
    /// Runs.
    pub runs: Vec<RunIx>,
    /// Master data changed: the tree, an item, a factor, a label, a policy.
    pub everything: bool,
    /// Containers, shipments and vessels that may stand or go elsewhere than before, or were emptied.
    pub stations: Vec<PlaceIx>,
    /// Places with another parent.
    pub parents: Vec<PlaceIx>,
    /// Items with another base unit or another factor.
    pub items: Vec<NameNo>,
    /// Codes that may mean other batches than before.
    pub codes: Vec<NameNo>,
    /// Batches that may be good until another moment than before; what is made of them may inherit it.
    pub expiries: Vec<BatchIx>,
}

/// Every effect of a ledger, in columns.
#[derive(Debug, Clone, Default)]
pub struct Book {
    words: Names,
    codes: Names,
    event_ids: Names,
    batches: Rows<BatchRow>,
    places: Rows<PlaceRow>,
    runs: Rows<RunRow>,
    facts: Vec<FactRow>,
    /// Those dated after they were recorded.
    future_facts: Vec<FactIx>,
    fact_of_id: Vec<u32>,
    corrections: FxHashMap<u32, Vec<(FactIx, i64)>>,
    flows: Vec<FlowRow>,
    extras: Vec<FlowExtra>,
    /// Which of them a flow has. Few flows have one, and they are large: the table that grows holds numbers.
    extra_of_flow: FxHashMap<u32, u32>,
    next_of_batch: Vec<u32>,
    next_of_from: Vec<u32>,
    next_of_to: Vec<u32>,
    batch_flows: Vec<u32>,
    from_flows: EndHeads,
    to_flows: EndHeads,
    deeds: Vec<DeedRow>,
    next_deed: Vec<u32>,
    batch_deeds: Heads,
    place_deeds: Heads,
    run_deeds: Heads,
    holds: Vec<DeedIx>,
    master: Vec<DeedIx>,
    labels: Vec<DeedIx>,
    /// How many facts tell until when a batch is good, in force or not.
    expiries: usize,
    /// Which batches were counted at a place; one more for each count.
    counted: FxHashMap<PlaceIx, Vec<BatchIx>>,
    conflicts: Vec<ConflictRow>,
    /// Batches by code: the last one of each code, and for each batch the one before it.
    last_of_code: Vec<u32>,
    next_of_code: Vec<u32>,
    pseudo_batches: usize,
    without_statuses: bool,
    head: Option<(CommitNo, Position)>,
    touched: Touched,
}

impl Book {
    /// An empty book: it knows the sinks, `unplaced` and the unknown party.
    pub fn new() -> Self {
        let mut book = Self::default();
        for sink in Sink::ALL {
            book.place_ix(&Place::Sink(sink));
        }
        book.place_ix(&Place::Unplaced);
        book.place_ix(&Place::Party(crate::id::unknown_party()));
        book
    }

    /// The book for those who never ask for holds: of them it keeps only which batches they speak of.
    pub fn without_statuses(mut self) -> Self {
        self.without_statuses = true;
        self
    }

    /// The commit that it was folded up to; 0 before the first.
    pub fn head(&self) -> CommitNo {
        self.head.map_or(CommitNo(0), |(commit, _)| commit)
    }

    /// Notes that everything of a commit was folded, also when it had no effects.
    pub fn reached(&mut self, commit: CommitNo, last: Position) {
        self.head = Some((commit, last));
    }

    /// Takes what was touched since it was last taken.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Folds one recorded event. Refusals have no effects, but a conflict with a fact is remembered beside
    /// it; a second event with a known id has no effects either.
    pub fn apply(&mut self, recorded: &Recorded) {
        self.take(&recorded.into());
    }

    /// The same, for who folds one event into several books.
    pub fn take(&mut self, told: &Told) {
        self.head = Some((told.commit, told.position));
        let event = match &told.what {
            What::Fact(event) => event,
            What::Conflict { first } => return self.conflict(told.commit, *first),
            What::Nothing => return,
        };
        let id = self.event_id(&event.id);
        if self.fact_of_id[id.0 as usize] != NONE {
            return;
        }
        let fact = FactIx(u32::try_from(self.facts.len()).expect("fewer than 2^32 facts"));
        let row = self.fact_row(told, event, id);
        self.facts.push(row);
        if row.future {
            self.future_facts.push(fact);
        }
        self.fact_of_id[id.0 as usize] = fact.0;
        if row.correction != CorrectionKind::None {
            self.corrections.entry(row.target).or_default().push((fact, event.at.0));
            self.touch_target(row.target);
        }
        if self.corrections.contains_key(&id.0) {
            // A correction came before what it corrects: what that fact corrects in turn changes too.
            self.touch_target(id.0);
        }
        for effect in &event.effects {
            self.effect(fact, effect);
        }
    }

    /// What was refused because a fact has its id with other content. Where that was refused too, there is no fact.
    fn conflict(&mut self, commit: CommitNo, first: Position) {
        let at = self.facts.partition_point(|row| row.position < first.0);
        if self.facts.get(at).is_some_and(|row| row.position == first.0) {
            let fact = FactIx(u32::try_from(at).expect("fewer than 2^32 facts"));
            self.conflicts.push(ConflictRow { commit: commit.0, fact });
        }
    }

    /// The facts that something known at a commit was refused for: it had the same id and other content.
    pub fn conflicts_known(&self, known: CommitNo) -> impl Iterator<Item = FactIx> {
        let many = self.conflicts.partition_point(|row| row.commit <= known.0);
        self.conflicts[..many].iter().map(|row| row.fact)
    }

    fn fact_row(&mut self, told: &Told, event: &Happened, id: NameIx) -> FactRow {
        let correction = match &event.corrects {
            Some(voids) if voids.replaces => CorrectionKind::Supersede,
            Some(_) => CorrectionKind::Void,
            None => CorrectionKind::None,
        };
        let target = event.corrects.as_ref().map_or(NONE, |voids| self.event_id(&voids.target).0);
        FactRow {
            instant: event.occurred_at.instant.0,
            sequence: event.sequence.map_or(0, |n| n.saturating_add(1)),
            position: told.position.0,
            commit: told.commit.0,
            id: id.0,
            target,
            vague_seconds: vague_seconds(&event.occurred_at),
            correction,
            future: event.is_future,
        }
    }

    fn event_id(&mut self, id: &EventId) -> NameIx {
        let ix = self.event_ids.intern(id.as_str());
        if self.fact_of_id.len() < self.event_ids.len() {
            self.fact_of_id.resize(self.event_ids.len(), NONE);
        }
        ix
    }

    /// A correction changes what its target did, what that corrected in turn, and so the fate of everything
    /// that corrects any of these.
    fn touch_target(&mut self, id: u32) {
        let mut waiting = vec![self.uncorrected(id)];
        let mut seen: FxHashSet<u32> = waiting.iter().copied().collect();
        while let Some(id) = waiting.pop() {
            let corrections = self.corrections.get(&id).into_iter().flatten();
            waiting.extend(corrections.map(|(fact, _)| self.facts[fact.at()].id).filter(|id| seen.insert(*id)));
            let fact = self.fact_of_id[id as usize];
            if fact == NONE {
                continue;
            }
            for flow in self.flows_of_fact(FactIx(fact)).collect::<Vec<FlowRow>>() {
                self.touch_flow(&flow);
            }
            for deed in self.deeds_of_fact(FactIx(fact)).cloned().collect::<Vec<Deed>>() {
                self.touch_deed(&deed);
            }
        }
    }

    /// What stands at the top of a tree of corrections; in a cycle, any of it.
    fn uncorrected(&self, mut id: u32) -> u32 {
        for _ in 0..=self.corrections.len() {
            let fact = self.fact_of_id[id as usize];
            match self.facts.get(fact as usize).map(|row| row.target) {
                None | Some(NONE) => break,
                Some(target) => id = target,
            }
        }
        id
    }

    fn touch_flow(&mut self, flow: &FlowRow) {
        self.touched.batches.push(flow.batch);
        for end in [flow.from, flow.to] {
            match end.kind() {
                EndKind::Run(run) => self.touched.runs.push(run),
                EndKind::Place(place) if !matches!(self.place_kind(place), PlaceKind::Location | PlaceKind::Party) => {
                    self.touched.places.push(place);
                }
                _ => {}
            }
        }
        if let (true, EndKind::Place(container)) = (flow.packs, flow.to.kind()) {
            self.touched.stations.push(container);
        }
    }

    fn touch_deed(&mut self, deed: &Deed) {
        match deed {
            Deed::Move { container: place, .. }
            | Deed::Empty { place, .. }
            | Deed::Bound { shipment: place, .. }
            | Deed::Vessel { vessel: place, .. } => self.touched.stations.push(*place),
            Deed::Parent { place, .. } => self.touched.parents.push(*place),
            Deed::Item { item, .. } => self.touched.items.push(*item),
            Deed::Factor { item, batch: NONE, .. } => self.touched.items.push(NameNo(*item)),
            Deed::Factor { batch, .. } => self.touched.batches.push(BatchIx(*batch)),
            Deed::Label { batch, code } => {
                self.touched.batches.push(*batch);
                self.touched.codes.push(*code);
            }
            _ => {}
        }
        match deed {
            Deed::Move { container, .. } => self.touched.places.push(*container),
            Deed::Empty { place, .. } => self.touched.places.push(*place),
            Deed::Clean { vessel, .. } | Deed::Vessel { vessel, .. } => self.touched.places.push(*vessel),
            Deed::Count { batch, .. }
            | Deed::Mention { batch }
            | Deed::ReleaseBatch { batch }
            | Deed::Hold { batch, .. } => {
                self.touched.batches.push(*batch);
            }
            Deed::Expiry { batch, .. } => {
                self.touched.batches.push(*batch);
                self.touched.expiries.push(*batch);
            }
            Deed::Run { run, .. } => self.touched.runs.push(*run),
            Deed::Bound { shipment, .. } => self.touched.places.push(*shipment),
            Deed::ReleaseHold { .. } => {}
            Deed::Item { .. }
            | Deed::Parent { .. }
            | Deed::Factor { .. }
            | Deed::Policy { .. }
            | Deed::Label { .. } => {
                self.touched.everything = true;
            }
        }
    }

    fn effect(&mut self, fact: FactIx, effect: &Effect) {
        match effect {
            Effect::Flow(flow) => self.flow(fact, flow),
            Effect::PlaceMoved { leg, container, to, how } => {
                let container = self.named_place(PlaceKind::Container, container.as_str());
                let to = self.place_ix(to);
                self.place_deed(fact, *leg, container, Deed::Move { container, to, how: *how });
            }
            Effect::PlaceEmptied { leg, place, to } => {
                let place = self.place_ix(place);
                let to = to.as_ref().map(|to| self.place_ix(to));
                self.place_deed(fact, *leg, place, Deed::Empty { place, to });
            }
            Effect::ContactBroken { leg, vessel, grade } => {
                let vessel = self.named_place(PlaceKind::Vessel, vessel.as_str());
                self.place_deed(fact, *leg, vessel, Deed::Clean { vessel, grade: grade.0 });
            }
            Effect::Counted { leg, batch, at, quantity, second } => {
                let batch = self.batch_ix(batch);
                let at = self.place_ix(at);
                let deed = Deed::Count { batch, at, quantity: *quantity, second: *second };
                self.batch_deed(fact, *leg, batch, deed);
                self.counted.entry(at).or_default().push(batch);
            }
            Effect::RunTold { run, kind, completed, mapping, hold_up_micros, losses } => {
                let run = self.run_ix(run);
                let mapping: Vec<_> = mapping.iter().map(|(i, o)| (self.batch_ix(i), self.batch_ix(o))).collect();
                for batch in mapping.iter().flat_map(|(input, output)| [*input, *output]) {
                    self.batch_deed(fact, 0, batch, Deed::Mention { batch });
                }
                let (kind, completed, hold_up_micros) = (*kind, *completed, *hold_up_micros);
                let deed = Deed::Run { run, kind, completed, mapping, hold_up_micros, losses: losses.clone() };
                self.touched.runs.push(run);
                let at = self.deed(fact, 0, deed, self.run_deeds.get(run.0));
                self.run_deeds.put(run.0, at.0);
            }
            Effect::ExpirySet { leg, batch, expires } => {
                let batch = self.batch_ix(batch);
                self.batch_deed(fact, *leg, batch, Deed::Expiry { batch, expires: *expires });
                self.expiries += 1;
            }
            Effect::Mentioned { batch } => {
                let batch = self.batch_ix(batch);
                self.batch_deed(fact, 0, batch, Deed::Mention { batch });
            }
            other => self.standing_effect(fact, other),
        }
    }

    /// Statuses and attributes.
    fn standing_effect(&mut self, fact: FactIx, effect: &Effect) {
        match effect {
            Effect::StatusHeld { target: HoldTarget::Batch(batch) | HoldTarget::Slice(batch, _), .. }
            | Effect::StatusReleased { target: ReleaseTarget::Batch(batch) }
                if self.without_statuses =>
            {
                let batch = self.batch_ix(batch);
                self.batch_deed(fact, 0, batch, Deed::Mention { batch });
            }
            Effect::StatusReleased { .. } if self.without_statuses => {}
            Effect::StatusHeld { hold, target } => {
                let hold = self.words.intern(hold.as_str()).into();
                let (batch, slice) = match target {
                    HoldTarget::Batch(batch) => (batch, None),
                    HoldTarget::Slice(batch, place) => (batch, Some(self.place_ix(place))),
                };
                let batch = self.batch_ix(batch);
                let at = self.batch_deed(fact, 0, batch, Deed::Hold { hold, batch, slice });
                self.holds.push(at);
            }
            Effect::StatusReleased { target: ReleaseTarget::Hold(hold) } => {
                let hold = self.words.intern(hold.as_str()).into();
                let at = self.deed(fact, 0, Deed::ReleaseHold { hold }, NONE);
                self.holds.push(at);
            }
            Effect::StatusReleased { target: ReleaseTarget::Batch(batch) } => {
                let batch = self.batch_ix(batch);
                let at = self.batch_deed(fact, 0, batch, Deed::ReleaseBatch { batch });
                self.holds.push(at);
            }
            Effect::ShipmentBound { shipment, to, phase } => {
                let shipment = self.named_place(PlaceKind::Transit, shipment.as_str());
                let to = match to {
                    Destination::Party(party) => self.named_place(PlaceKind::Party, party.as_str()),
                    Destination::Location(location) => self.named_place(PlaceKind::Location, location.as_str()),
                };
                self.place_deed(fact, 0, shipment, Deed::Bound { shipment, to, phase: *phase });
            }
            Effect::ItemSet { item, base } => {
                let item = self.words.intern(item.as_str()).into();
                self.master_deed(fact, Deed::Item { item, base: *base });
            }
            Effect::PlaceSet { place, parent, time_zone } => {
                let place = self.named_place(PlaceKind::Location, place.as_str());
                let parent = parent.as_ref().map(|parent| self.named_place(PlaceKind::Location, parent.as_str()));
                let zone = time_zone.as_ref().map(|zone| self.words.intern(zone).into());
                self.master_deed(fact, Deed::Parent { place, parent, zone });
            }
            Effect::VesselSet { vessel, mix, at } => {
                let vessel = self.named_place(PlaceKind::Vessel, vessel.as_str());
                let at = at.as_ref().map(|at| self.named_place(PlaceKind::Location, at.as_str()));
                self.place_deed(fact, 0, vessel, Deed::Vessel { vessel, mix: *mix, at });
            }
            Effect::FactorSet { scope, one, equals } => {
                let (left, right) = (Ratio::from_decimal(one.value()), Ratio::from_decimal(equals.value()));
                let (item, batch) = match scope {
                    FactorScope::Item(item) => (self.words.intern(item.as_str()).0, NONE),
                    FactorScope::Batch(batch) => {
                        let batch = self.batch_ix(&BatchRef::Known(batch.clone()));
                        self.batch_deed(fact, 0, batch, Deed::Mention { batch });
                        (NONE, batch.0)
                    }
                };
                if let (Some(ratio), false) = (right.div(left), right.is_zero()) {
                    self.master_deed(fact, Deed::Factor { item, batch, from: one.unit(), to: equals.unit(), ratio });
                }
            }
            Effect::PolicySet { holds_pass_runs } => {
                self.master_deed(fact, Deed::Policy { holds_pass_runs: *holds_pass_runs });
            }
            Effect::LabelSet { batch, label } => {
                let batch = self.batch_ix(batch);
                let code = self.codes.intern(label.as_str()).into();
                let at = self.batch_deed(fact, 0, batch, Deed::Label { batch, code });
                self.touched.everything = true;
                self.labels.push(at);
            }
            _ => {}
        }
    }

    fn flow(&mut self, fact: FactIx, flow: &Flow) {
        let batch = self.batch_ix(&flow.batch);
        let party = |book: &mut Self, party: &PartyId| book.named_place(PlaceKind::Party, party.as_str());
        let from = match &flow.from {
            Origin::Place(place) => EndKind::Place(self.place_ix(place)),
            Origin::Run(run) => EndKind::Run(self.run_ix(run)),
            Origin::Supply(supplier) => EndKind::Supply(party(self, supplier)),
            Origin::Receipt { by } => EndKind::Receipt(by.as_ref().map(|by| party(self, by))),
            Origin::Sighting => EndKind::Sighting,
            Origin::Unstated => EndKind::Unstated,
        };
        let to = match &flow.to {
            Target::Place(place) => EndKind::Place(self.place_ix(place)),
            Target::Run(run) => EndKind::Run(self.run_ix(run)),
        };
        let (from, to) = (End::pack(from), End::pack(to));
        if flow.second.is_some()
            || flow.window.is_some()
            || flow.document.is_some()
            || flow.packed_at.is_some()
            || flow.beside
        {
            let (document, packed_at) = (flow.document.clone(), flow.packed_at.clone());
            if let Some(at) = &packed_at {
                self.named_place(PlaceKind::Location, at.as_str());
            }
            let &Flow { second, window, beside, .. } = flow;
            let at = u32::try_from(self.flows.len()).expect("fewer than 2^32 flows");
            self.extra_of_flow.insert(at, u32::try_from(self.extras.len()).expect("fewer extras than flows"));
            self.extras.push(FlowExtra { second, window, document, packed_at, beside });
        }
        let row = FlowRow {
            quantity: flow.quantity,
            fact,
            batch,
            from,
            to,
            leg: flow.leg,
            phase: flow.phase,
            packs: flow.packs,
        };
        self.push_flow(row);
    }

    fn push_flow(&mut self, row: FlowRow) {
        let at = u32::try_from(self.flows.len()).expect("fewer than 2^32 flows");
        self.flows.push(row);
        let head = &mut self.batch_flows[row.batch.at()];
        self.next_of_batch.push(std::mem::replace(head, at));
        let from = if self.is_hub(row.from) { self.from_flows.put(row.from.kind(), at) } else { NONE };
        self.next_of_from.push(from);
        let to = if self.is_hub(row.to) { self.to_flows.put(row.to.kind(), at) } else { NONE };
        self.next_of_to.push(to);
        self.touch_flow(&row);
    }

    fn is_hub(&self, end: End) -> bool {
        export::is_hub(end, |place| self.place_kind(place))
    }

    fn deed(&mut self, fact: FactIx, leg: u16, deed: Deed, next: u32) -> DeedIx {
        let at = DeedIx(u32::try_from(self.deeds.len()).expect("fewer than 2^32 deeds"));
        self.touch_deed(&deed);
        self.deeds.push(DeedRow { fact, leg, deed });
        self.next_deed.push(next);
        at
    }

    fn place_deed(&mut self, fact: FactIx, leg: u16, place: PlaceIx, deed: Deed) {
        let at = self.deed(fact, leg, deed, self.place_deeds.get(place.0));
        self.place_deeds.put(place.0, at.0);
    }

    fn batch_deed(&mut self, fact: FactIx, leg: u16, batch: BatchIx, deed: Deed) -> DeedIx {
        let at = self.deed(fact, leg, deed, self.batch_deeds.get(batch.0));
        self.batch_deeds.put(batch.0, at.0);
        at
    }

    fn master_deed(&mut self, fact: FactIx, deed: Deed) {
        let at = self.deed(fact, 0, deed, NONE);
        self.master.push(at);
    }
}

fn vague_seconds(occurred: &OccurredAt) -> u32 {
    let micros = occurred.latest().0 - occurred.instant.0;
    // A day is the only vagueness: its last microsecond is rounded up to whole seconds.
    if micros == 0 { 0 } else { u32::try_from((micros + 1) / 1_000_000).unwrap_or(u32::MAX) }
}

/// Names to numbers.
impl Book {
    pub(crate) fn batch_ix(&mut self, batch: &BatchRef) -> BatchIx {
        let row = match batch {
            BatchRef::Known(id) => {
                let item = self.words.intern(id.item.as_str()).0;
                let issuer = id.issuer.as_ref().map_or(NONE, |issuer| self.words.intern(issuer.as_str()).0);
                let code = self.codes.intern(id.code.as_str()).0;
                BatchRow { item, issuer, code, generation: id.generation.0 }
            }
            BatchRef::Code(code) => {
                BatchRow { item: NONE, issuer: NONE, code: self.codes.intern(code.as_str()).0, generation: 0 }
            }
        };
        self.intern_batch(row)
    }

    fn intern_batch(&mut self, row: BatchRow) -> BatchIx {
        let known = self.batches.len();
        let ix = BatchIx(self.batches.intern(row));
        if self.batches.len() > known {
            self.batch_flows.push(NONE);
            self.code_batch(row);
            // A new batch of a code may change what the bare code means.
            if self.pseudo_batches > 0 {
                let pseudo = BatchRow { item: NONE, issuer: NONE, code: row.code, generation: 0 };
                if let Some(pseudo) = self.batches.find(&pseudo) {
                    self.touched.batches.push(BatchIx(pseudo));
                    let all: Vec<BatchIx> = self.batches_of_code(NameNo(row.code)).collect();
                    self.touched.batches.extend(all);
                }
            }
        }
        ix
    }

    /// Chains a new batch by its code; one that is only known by its code stands in no chain.
    fn code_batch(&mut self, row: BatchRow) {
        let at = u32::try_from(self.next_of_code.len()).expect("fewer than 2^32 batches");
        if row.item == NONE {
            self.pseudo_batches += 1;
            self.next_of_code.push(NONE);
            return;
        }
        if self.last_of_code.len() <= row.code as usize {
            self.last_of_code.resize(row.code as usize + 1, NONE);
        }
        self.next_of_code.push(std::mem::replace(&mut self.last_of_code[row.code as usize], at));
    }

    fn batches_of_code(&self, code: NameNo) -> impl Iterator<Item = BatchIx> + '_ {
        chain(self.last_of_code.get(code.0 as usize).copied().unwrap_or(NONE), &self.next_of_code).map(BatchIx)
    }

    pub(crate) fn place_ix(&mut self, place: &Place) -> PlaceIx {
        let (kind, name) = place_key(place);
        self.named_place(kind, name)
    }

    fn named_place(&mut self, kind: PlaceKind, name: &str) -> PlaceIx {
        let name = self.words.intern(name).0;
        PlaceIx(self.places.intern(PlaceRow { kind, name }))
    }

    fn run_ix(&mut self, run: &RunId) -> RunIx {
        let row = RunRow {
            source: self.words.intern(run.source.as_str()).0,
            name: self.words.intern(run.name.as_str()).0,
            generation: run.generation.0,
        };
        RunIx(self.runs.intern(row))
    }
}

fn place_key(place: &Place) -> (PlaceKind, &str) {
    match place {
        Place::Location(id) => (PlaceKind::Location, id.as_str()),
        Place::Vessel(id) => (PlaceKind::Vessel, id.as_str()),
        Place::Container(id) => (PlaceKind::Container, id.as_str()),
        Place::Transit(id) => (PlaceKind::Transit, id.as_str()),
        Place::Party(id) => (PlaceKind::Party, id.as_str()),
        Place::Sink(sink) => (PlaceKind::Sink, sink.word()),
        Place::Unplaced => (PlaceKind::Unplaced, "unplaced"),
    }
}
