//! The decider's book: it holds the batches that intents touch, loaded by key when they are first needed,
//! and kept up to date with everything that is recorded of them.

use std::sync::Arc;

use lotline_domain::book::{BatchIx, Book, Deed, EndKind, FlowIx, PlaceIx, PlaceKind, RunIx};
use lotline_domain::command::{Body, Recorded, Rejection};
use lotline_domain::decide::decide_intent;
use lotline_domain::effect::{Effect, Origin, Target};
use lotline_domain::fact::{Correction, Event, Fact, HoldTarget, ReleaseTarget};
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::settle::{MasterData, Settler};
use lotline_domain::time::{CommitNo, Instant, Position};
use lotline_ledger::Reader;
use lotline_wire::key::{self, Key};
use lotline_wire::payload;
use rustc_hash::FxHashSet;

use crate::first::Frames;
use crate::outcome::LoadError;

/// An event that is accepted and not durable yet.
pub(crate) struct Pending {
    pub(crate) keys: Arc<[Key]>,
    pub(crate) recorded: Arc<Recorded>,
}

/// What a ledger says at a position.
///
/// # Errors
/// [`LoadError`] when there is no event, or it cannot be read.
pub fn body_at(reader: &Reader, position: Position) -> Result<Recorded, LoadError> {
    recorded_at(&mut Frames::new(reader.clone()), position.0)
}

fn recorded_at(frames: &mut Frames, position: u64) -> Result<Recorded, LoadError> {
    let kept = frames.holding(position)?;
    let at = Position(position);
    let bytes = kept.payload(position).ok_or(LoadError::Missing(at))?;
    let stored =
        payload::decode(bytes).map_err(|source| LoadError::Payload { position: at, source: Arc::new(source) })?;
    Ok(Recorded { position: at, commit: kept.commit(), recorded_at: kept.recorded_at(), body: stored.body })
}

/// The book and what was loaded into it.
pub(crate) struct Shelf {
    book: Book,
    loaded: FxHashSet<Key>,
    applied: FxHashSet<u64>,
    /// What was loaded around, with all its neighbours; what changed since is stale.
    gathered: FxHashSet<Next>,
    stale: Vec<Next>,
    holds: bool,
    master: Option<MasterData>,
}

impl Shelf {
    /// An empty book with the master data that every decision may need.
    pub(crate) fn open(frames: &mut Frames) -> Result<Self, LoadError> {
        let mut shelf = Self::unopened();
        for key in [key::place_tree(), key::policies(), key::holds()] {
            shelf.load(key, frames, &[])?;
        }
        Ok(shelf)
    }

    /// An empty book that has to be opened before it is used.
    pub(crate) fn unopened() -> Self {
        Self {
            book: Book::new(),
            loaded: FxHashSet::default(),
            applied: FxHashSet::default(),
            gathered: FxHashSet::default(),
            stale: Vec::new(),
            holds: false,
            master: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.loaded.contains(&key::policies())
    }

    /// How many facts it holds.
    pub(crate) fn facts(&self) -> usize {
        self.book.fact_count()
    }

    /// Takes what was just accepted, if it concerns anything that is loaded.
    pub(crate) fn note(&mut self, keys: &[Key], recorded: &Recorded) {
        if keys.iter().any(|key| self.loaded.contains(key)) {
            self.apply(recorded);
        }
    }

    fn apply(&mut self, recorded: &Recorded) -> bool {
        if !self.applied.insert(recorded.position.0) {
            return false;
        }
        self.book.apply(recorded);
        let touched = self.book.take_touched();
        if touched.everything {
            self.master = None;
        }
        let batches = touched.batches.into_iter().map(Next::Batch);
        let places = touched.places.into_iter().flat_map(|place| [Next::Place(place), Next::Contents(place)]);
        let runs = touched.runs.into_iter().map(Next::Run);
        for next in batches.chain(places).chain(runs) {
            if self.gathered.remove(&next) {
                self.stale.push(next);
            }
        }
        if !self.holds && !self.book.hold_deeds().is_empty() {
            // From now on ancestors matter, also those of what was gathered.
            self.holds = true;
            self.stale.extend(self.gathered.drain());
        }
        true
    }

    /// Decides an intent on everything accepted so far.
    pub(crate) fn decide(
        &mut self,
        event: &Event,
        keys: &[Key],
        commit: CommitNo,
        now: Instant,
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<Result<(), Rejection>, LoadError> {
        self.gather(event, keys, frames, pending)?;
        // Loading applied older events; the decision knows the commit that is growing.
        self.book.reached(commit, Position(u64::MAX));
        let book = &self.book;
        let master = self.master.get_or_insert_with(|| MasterData::at(book, commit));
        let settler = Settler::with_master(book, commit, master);
        Ok(decide_intent(&settler, event, now))
    }

    /// Loads the events that carry a key, once.
    fn load(&mut self, key: Key, frames: &mut Frames, pending: &[Pending]) -> Result<(), LoadError> {
        let mut wanted = vec![key];
        while let Some(key) = wanted.pop() {
            if !self.loaded.insert(key) {
                continue;
            }
            for position in frames.reader().positions(&lotline_ledger::Key::new(key))? {
                if !self.applied.contains(&position.get()) {
                    let recorded = recorded_at(frames, position.get())?;
                    self.take(&recorded, &mut wanted);
                }
            }
            for held in pending.iter().filter(|held| held.keys.contains(&key)) {
                self.take(&held.recorded, &mut wanted);
            }
        }
        Ok(())
    }

    /// What an event needs beside it: its corrections and what it corrects, a hold's releases, a label's code.
    fn take(&mut self, recorded: &Recorded, wanted: &mut Vec<Key>) {
        if !self.apply(recorded) {
            return;
        }
        let Body::Fact { event, .. } = &recorded.body else { return };
        wanted.push(key::correction_of(&event.id));
        let mut fact = &event.fact;
        while let Fact::Corrected { target, correction, .. } = fact {
            wanted.push(key::event(target));
            wanted.push(key::correction_of(target));
            match correction {
                Correction::Supersede { fact: inner, .. } => fact = inner,
                Correction::Void => return,
            }
        }
        match fact {
            Fact::Held { hold, .. } => wanted.push(key::hold(hold)),
            Fact::Labelled { label, .. } => wanted.push(key::batch_code(label)),
            _ => {}
        }
    }

    /// Loads all that a decision about an event looks at.
    fn gather(
        &mut self,
        event: &Event,
        keys: &[Key],
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<(), LoadError> {
        for key in keys {
            self.load(*key, frames, pending)?;
        }
        if let Fact::Corrected { target, .. } = &event.fact {
            return self.load(key::event(target), frames, pending);
        }
        let mut todo = Todo::default();
        for effect in event.effects() {
            self.touch_effect(&effect, &mut todo, frames, pending)?;
        }
        while let Some(next) = todo.queue.pop().or_else(|| self.stale.pop()) {
            if !self.gathered.insert(next) {
                continue;
            }
            match next {
                Next::Batch(batch) => self.gather_batch(batch, &mut todo, frames, pending)?,
                Next::Place(place) => self.gather_place(place, &mut todo, frames, pending)?,
                Next::Contents(place) => self.gather_contents(place, &mut todo, frames, pending)?,
                Next::Run(run) => self.gather_run(run, &mut todo, frames, pending)?,
            }
        }
        Ok(())
    }

    fn touch_effect(
        &mut self,
        effect: &Effect,
        todo: &mut Todo,
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<(), LoadError> {
        match effect {
            Effect::Flow(flow) => {
                self.touch_batch(&flow.batch, todo, frames, pending)?;
                if let Origin::Place(place) = &flow.from {
                    match place {
                        Place::Vessel(_) => self.touch_place(place, Next::Contents, todo),
                        _ => self.touch_place(place, Next::Place, todo),
                    }
                }
                if let Target::Place(place) = &flow.to {
                    self.touch_place(place, Next::Place, todo);
                }
            }
            Effect::Counted { batch, .. }
            | Effect::LabelSet { batch, .. }
            | Effect::StatusHeld { target: HoldTarget::Batch(batch) | HoldTarget::Slice(batch, _), .. }
            | Effect::StatusReleased { target: ReleaseTarget::Batch(batch) } => {
                self.touch_batch(batch, todo, frames, pending)?;
            }
            Effect::PlaceMoved { container, to, .. } => {
                self.touch_place(&Place::Container(container.clone()), Next::Contents, todo);
                self.touch_place(to, Next::Place, todo);
            }
            Effect::PlaceEmptied { place, .. } => self.touch_place(place, Next::Contents, todo),
            _ => {}
        }
        Ok(())
    }

    fn touch_batch(
        &mut self,
        named: &BatchRef,
        todo: &mut Todo,
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<(), LoadError> {
        let code = match named {
            BatchRef::Known(id) => {
                self.load(key::item(&id.item), frames, pending)?;
                &id.code
            }
            BatchRef::Code(code) => code,
        };
        let known = self.book.head();
        let candidates = self.book.batches_with_code(code, CommitNo(u64::MAX).max(known));
        match named {
            BatchRef::Code(_) => candidates.into_iter().for_each(|batch| todo.batch(batch)),
            BatchRef::Known(_) => {}
        }
        if let Some(batch) = self.book.find_batch(named) {
            todo.batch(batch);
        }
        Ok(())
    }

    fn touch_place(&self, place: &Place, next: fn(PlaceIx) -> Next, todo: &mut Todo) {
        if let Some(ix) = self.book.find_place(place) {
            todo.push(next(ix));
        }
    }

    fn gather_batch(
        &mut self,
        batch: BatchIx,
        todo: &mut Todo,
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<(), LoadError> {
        match self.book.batch(batch) {
            BatchRef::Known(id) => {
                self.load(key::batch(&id), frames, pending)?;
                self.load(key::batch_code(&id.code), frames, pending)?;
                self.load(key::item(&id.item), frames, pending)?;
            }
            BatchRef::Code(code) => self.load(key::batch_code(&code), frames, pending)?,
        }
        let mut names = vec![batch];
        names.extend(self.book.pseudo_of(self.book.code_of(batch)));
        let flows: Vec<FlowIx> = names.into_iter().flat_map(|name| self.book.flows_of_batch(name)).collect();
        for flow in flows {
            let row = *self.book.stated(flow);
            for (end, out) in [(row.from.kind(), true), (row.to.kind(), false)] {
                match end {
                    EndKind::Place(place) => match self.book.place_kind(place) {
                        PlaceKind::Container | PlaceKind::Transit => todo.push(Next::Place(place)),
                        PlaceKind::Vessel if out && self.holds => todo.push(Next::Contents(place)),
                        _ => {}
                    },
                    // A hold on what it was made of covers it.
                    EndKind::Run(run) if out && self.holds => todo.push(Next::Run(run)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn load_place(&mut self, place: PlaceIx, frames: &mut Frames, pending: &[Pending]) -> Result<(), LoadError> {
        match self.book.place(place) {
            Place::Container(id) => self.load(key::container(&id), frames, pending),
            Place::Transit(id) => self.load(key::shipment(&id), frames, pending),
            Place::Vessel(id) => self.load(key::vessel(&id), frames, pending),
            _ => Ok(()),
        }
    }

    /// Where a container stands follows from its moves, from those of what it stands in, and from where the
    /// goods were that were packed first.
    fn gather_place(
        &mut self,
        place: PlaceIx,
        todo: &mut Todo,
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<(), LoadError> {
        self.load_place(place, frames, pending)?;
        for deed in self.book.deeds_of_place(place) {
            if let Deed::Move { to, .. } = self.book.deed_row(deed).deed
                && matches!(self.book.place_kind(to), PlaceKind::Container | PlaceKind::Transit)
            {
                todo.push(Next::Place(to));
            }
        }
        let packings = self.book.flows_to(EndKind::Place(place)).filter(|flow| self.book.stated(*flow).packs);
        let first = packings.min_by_key(|flow| {
            let row = self.book.stated(*flow);
            let fact = self.book.fact(row.fact);
            (fact.instant, fact.sequence, row.phase, self.book.event_id_text(row.fact), row.leg)
        });
        if let Some(first) = first {
            let row = *self.book.stated(first);
            match row.from.kind() {
                EndKind::Place(from) => todo.push(Next::Place(from)),
                _ => todo.batch(row.batch),
            }
        }
        Ok(())
    }

    /// What lies in a container, shipment or vessel, nested or not.
    fn gather_contents(
        &mut self,
        place: PlaceIx,
        todo: &mut Todo,
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<(), LoadError> {
        self.gather_place(place, todo, frames, pending)?;
        for flow in self.book.flows_to(EndKind::Place(place)) {
            todo.batch(self.book.stated(flow).batch);
        }
        if self.book.place_kind(place) == PlaceKind::Vessel {
            return Ok(());
        }
        for other in (0..self.book.place_count()).filter_map(|at| u32::try_from(at).ok()).map(PlaceIx) {
            let stood_here = |deed| matches!(self.book.deed_row(deed).deed, Deed::Move { to, .. } if to == place);
            if self.book.place_kind(other) == PlaceKind::Container && self.book.deeds_of_place(other).any(stood_here) {
                todo.push(Next::Contents(other));
            }
        }
        Ok(())
    }

    fn gather_run(
        &mut self,
        run: RunIx,
        todo: &mut Todo,
        frames: &mut Frames,
        pending: &[Pending],
    ) -> Result<(), LoadError> {
        self.load(key::run(&self.book.run(run)), frames, pending)?;
        for flow in self.book.flows_to(EndKind::Run(run)) {
            todo.batch(self.book.stated(flow).batch);
        }
        Ok(())
    }
}

/// One thing to load around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Next {
    Batch(BatchIx),
    Place(PlaceIx),
    Contents(PlaceIx),
    Run(RunIx),
}

#[derive(Debug, Default)]
struct Todo {
    queue: Vec<Next>,
}

impl Todo {
    fn push(&mut self, next: Next) {
        self.queue.push(next);
    }

    fn batch(&mut self, batch: BatchIx) {
        self.push(Next::Batch(batch));
    }
}
