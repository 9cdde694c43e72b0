//! Recall scope: what must come back, how certain that is, how much of it, and why.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lotline_domain::book::{BatchIx, PlaceIx, PlaceKind, RunIx};
use lotline_domain::command::Amount;
use lotline_domain::id::{Place, Sink};
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::{Fill, RunBalance, Settlement, VesselSettlement};
use rustc_hash::{FxHashMap, FxHashSet};

mod path;

use crate::content::{Content, Contents};
use crate::on_hand::{State, amount, state_of};
use crate::question::Question;
use crate::received::{Arrivals, Received};
use crate::trace::{Direction, Edge, Point, Tier, Trace, trace};

use self::path::Paths;

/// Where a row of a scope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spot {
    /// At a place: for goods in a container where that stands; `None` is unplaced.
    Place(Option<PlaceIx>),
    /// In a run.
    Run(RunIx),
}

/// One row of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeRow {
    /// Which batch; `None` for what belongs to a run: its losses, what is unexplained of it, what is still in it.
    pub batch: Option<BatchIx>,
    /// The slice: the very place, a container perhaps; `None` for a run.
    pub slice: Option<PlaceIx>,
    /// Where it is.
    pub spot: Spot,
    /// Seen from the walls.
    pub state: State,
    /// How sure the link is.
    pub tier: Tier,
    /// From when on it is reached, microseconds; `i64::MIN` is from the beginning.
    pub since: i64,
    /// How much is there of the batch, affected or not.
    pub quantity: Amount,
    /// Something of unknown quantity went in or out.
    pub unknown: bool,
    /// For a party's own row: all affected arrivals there, loose and in containers, returns not taken off.
    pub ever: Option<Amount>,
    /// Ever received less returned.
    pub net: Option<Amount>,
    /// How much of the quantity is of the suspects.
    pub content: Content,
    /// The steps of one best path from a suspect.
    pub why: Vec<Edge>,
    /// For a cleared row: when the slice on the path was empty.
    pub cleared_at: Option<i64>,
}

/// A recall scope.
#[derive(Debug, Clone)]
pub struct Scope {
    /// What is suspected.
    pub suspects: Vec<BatchIx>,
    /// Rows, by batch, place and container text.
    pub rows: Vec<ScopeRow>,
    /// The trace behind it.
    pub trace: Trace,
}

/// The scope of some suspect batches together.
pub fn scope(question: &Question<'_>, suspects: &[BatchIx]) -> Scope {
    let trace = trace(question, suspects, Direction::Forward);
    let contents = Contents::of(question, &trace);
    let paths = Paths::of(question, &trace);
    let mut rows: Vec<ScopeRow> = Vec::new();
    let mut batches: Vec<BatchIx> = trace.slices.keys().map(|(batch, _)| *batch).collect();
    batches.sort_unstable();
    batches.dedup();
    let arrivals = Arrivals::of(&trace);
    let asker = Asker { question, trace: &trace, contents: &contents, paths: &paths };
    for batch in batches {
        let mut received = arrivals.at_parties(question, batch);
        for slice in &question.settlement(batch).slices {
            rows.extend(asker.slice_row(batch, slice.place, received.remove(&slice.place)));
        }
        // Also where all that came was in containers, and never lay there loose.
        rows.extend(received.into_iter().filter_map(|(party, known)| asker.slice_row(batch, party, Some(known))));
    }
    rows.extend(asker.in_sinks());
    rows.extend(asker.in_vessels());
    rows.extend(asker.in_runs());
    let book = question.book();
    rows.sort_by_cached_key(|row| {
        let spot = match row.spot {
            Spot::Place(place) => place.map_or_else(String::new, |place| book.place(place).to_string()),
            Spot::Run(run) => format!("run:{}", book.run(run)),
        };
        let batch = row.batch.map(|batch| book.batch(batch).to_string());
        (batch.is_none(), batch, spot, row.slice.map(|slice| book.place(slice).to_string()), row.state)
    });
    Scope { suspects: trace.starts.clone(), rows, trace }
}

impl ScopeRow {
    /// The same slice, to which more came in another way.
    fn join(&mut self, other: Self) {
        let sum = |a: Ratio, b: Ratio| a.add(b);
        let content = || {
            Some(Content {
                min: sum(self.content.min, other.content.min)?,
                expected: self.content.expected.zip(other.content.expected).and_then(|(a, b)| sum(a, b)),
                max: sum(self.content.max, other.content.max)?,
                ..self.content
            })
        };
        let joined = sum(self.quantity.value, other.quantity.value).zip(content());
        // Beyond what a sum can be, the quantity is at least this much.
        self.unknown |= other.unknown || joined.is_none();
        if let Some((quantity, content)) = joined {
            self.quantity.value = quantity;
            self.content = content;
        }
        if other.tier > self.tier {
            (self.tier, self.why) = (other.tier, other.why);
        }
        self.since = self.since.min(other.since);
    }
}

/// What the rows of a scope are made from.
struct Asker<'s, 'q> {
    question: &'s Question<'q>,
    trace: &'s Trace,
    contents: &'s Contents,
    paths: &'s Paths<'s>,
}

impl Asker<'_, '_> {
    /// The row of a slice that is reached and not empty, or of a party that ever received something.
    fn slice_row(&self, batch: BatchIx, place: PlaceIx, received: Option<Received>) -> Option<ScopeRow> {
        let question = self.question;
        let settled = question.settlement(batch);
        let reached = self.trace.slices.contains_key(&(batch, place));
        let slice = settled.slice(place).filter(|_| reached);
        let (balance, unknown) = slice.map_or((0, false), |slice| (slice.balance, slice.unknown));
        // What only came back is no arrival.
        let arrived = received.filter(|known| known.ever > 0 || known.unknown);
        let there = balance != 0 || unknown;
        if !there && arrived.is_none() {
            return None;
        }
        let standing = question.settler().place_at(place, question.as_of());
        let state = state_of(question, place, standing);
        // What is there now counts by how it got there, and not by what was there before.
        let now = there.then(|| self.reached_now(&settled, place));
        let (tier, since) = match (now, arrived) {
            (Some(now), Some(known)) if known.tier > now.0 => (known.tier, known.since),
            (Some(now), _) => now,
            (None, known) => known.map(|known| (known.tier, known.since))?,
        };
        let point = match arrived {
            Some(known) if now.is_none_or(|now| known.tier > now.0) => known.slice,
            _ => Point::Slice(batch, place),
        };
        let why = self.paths.to(point, tier);
        let cleared_at = (tier == Tier::Cleared)
            .then(|| self.emptied_last(&settled, place).or_else(|| emptied_before(question, &why)))
            .flatten();
        let at_party = question.book().place_kind(place) == PlaceKind::Party;
        let (ever, net) = received.map_or((0, 0), |known| (known.ever, known.net));
        Some(ScopeRow {
            batch: Some(batch),
            slice: Some(place),
            spot: Spot::Place(standing),
            state,
            tier,
            since,
            quantity: amount(&settled, balance),
            unknown: unknown || received.is_some_and(|known| known.unknown),
            ever: at_party.then(|| amount(&settled, ever)),
            net: at_party.then(|| amount(&settled, net)),
            content: match slice {
                Some(_) => self.contents.of_slice(question, (batch, place), tier),
                // What lies there loose is not affected: what arrived was in containers.
                None => Content::none(settled.measure.base),
            },
            why,
            cleared_at,
        })
    }

    /// How and since when that is reached which is in a slice at the end of the bounds.
    fn reached_now(&self, settled: &Settlement, place: PlaceIx) -> (Tier, i64) {
        let cleared = (Tier::Cleared, i64::MIN);
        let Some(reached) = self.trace.reached_at(settled, place, i64::MAX) else { return cleared };
        let tier = reached.tier();
        (tier, reached.moment(tier).unwrap_or(i64::MIN))
    }

    /// When a slice was empty for the last time before what is in it came.
    fn emptied_last(&self, settled: &Settlement, place: PlaceIx) -> Option<i64> {
        let reached = self.trace.reached_at(settled, place, i64::MAX);
        let zeros = settled.slice(place).map_or(&[][..], |slice| &slice.zeros[..]);
        zeros.last().copied().filter(|_| reached.is_none())
    }
}

/// The last trusted zero that a path of cleared tier steps over.
fn emptied_before(question: &Question<'_>, why: &[Edge]) -> Option<i64> {
    let mut last = None;
    for pair in why.windows(2) {
        let (entry, exit) = (&pair[0], &pair[1]);
        let Point::Slice(batch, place) = exit.from else { continue };
        let settled = question.settlement(batch);
        let zeros = settled.slice(place).map_or(&[][..], |slice| &slice.zeros[..]);
        last =
            zeros.iter().copied().filter(|zero| *zero >= entry.flow.counts_from && *zero < exit.flow.at).max().or(last);
    }
    last
}

/// Some of what a batch filled into a vessel, in its measure.
struct OfFills {
    quantity: Amount,
    /// There is more, which does not convert to that.
    unknown: bool,
    content: Content,
}

fn vessel_of(point: Point) -> Option<PlaceIx> {
    if let Point::Vessel(place) = point { Some(place) } else { None }
}

/// What a batch put into a run, a vessel or a sink on followed steps.
struct PutIn {
    sum: i128,
    unknown: bool,
    tier: Tier,
    since: i64,
    /// Their numbers in the settlement.
    flows: FxHashSet<usize>,
}

impl PutIn {
    fn by(edge: &Edge) -> Self {
        Self { sum: 0, unknown: false, tier: edge.tier, since: edge.flow.counts_from, flows: FxHashSet::default() }
    }

    fn add(&mut self, edge: &Edge) {
        if !self.flows.insert(edge.number) {
            return;
        }
        self.sum += edge.flow.amount.unwrap_or(0);
        self.unknown |= edge.flow.amount.is_none();
        self.tier = self.tier.max(edge.tier);
        self.since = self.since.min(edge.flow.counts_from);
    }
}

impl Asker<'_, '_> {
    /// What a trace followed into points of one kind, by batch.
    fn put_in<P: std::hash::Hash + Eq>(&self, point: impl Fn(Point) -> Option<P>) -> FxHashMap<(BatchIx, P), PutIn> {
        let mut sums: FxHashMap<(BatchIx, P), PutIn> = FxHashMap::default();
        for edge in self.trace.edges.iter().filter(|edge| edge.flow.in_book()) {
            let Some(into) = point(edge.to) else { continue };
            sums.entry((edge.batch, into)).or_insert_with(|| PutIn::by(edge)).add(edge);
        }
        sums
    }

    fn row_of(&self, batch: BatchIx, spot: Spot, put_in: &PutIn) -> ScopeRow {
        let whole = amount(&self.question.settlement(batch), put_in.sum);
        let (point, slice) = match spot {
            Spot::Run(run) => (Point::Run(run), None),
            Spot::Place(place) => {
                let place = place.expect("what went somewhere went to a place");
                let vessel = self.question.book().place_kind(place) == PlaceKind::Vessel;
                (if vessel { Point::Vessel(place) } else { Point::Sink(place) }, Some(place))
            }
        };
        ScopeRow {
            batch: Some(batch),
            slice,
            spot,
            state: State::Consumed,
            tier: put_in.tier,
            since: put_in.since,
            quantity: whole,
            unknown: put_in.unknown,
            ever: None,
            net: None,
            content: self.contents.of_flows(self.question, batch, &put_in.flows, whole),
            why: self.paths.to_batch(point, batch, put_in.tier),
            cleared_at: None,
        }
    }

    /// What went into sinks, and what cleans of vessels sent there.
    fn in_sinks(&self) -> Vec<ScopeRow> {
        let sink = |point| if let Point::Sink(place) = point { Some(place) } else { None };
        let rows = self.put_in(sink).into_iter().map(|((batch, place), put_in)| {
            let state = self.question.book().sink(place).map_or(State::Consumed, sink_state);
            ScopeRow { state, ..self.row_of(batch, Spot::Place(Some(place)), &put_in) }
        });
        let mut rows: Vec<ScopeRow> = rows.collect();
        for cleaned in self.cleaned() {
            match rows.iter_mut().find(|row| (row.batch, row.slice) == (cleaned.batch, cleaned.slice)) {
                Some(row) => row.join(cleaned),
                None => rows.push(cleaned),
            }
        }
        rows
    }

    /// What cleans sent to `unexplained` of what batches put into vessels (ruling 17).
    fn cleaned(&self) -> Vec<ScopeRow> {
        let book = self.question.book();
        let sink = book.find_place(&Place::Sink(Sink::Unexplained)).expect("every book has this place");
        let mut rows = Vec::new();
        for ((batch, place), put_in) in self.put_in(vessel_of) {
            let mixed = self.question.vessel(place);
            let cleaned = mixed.cleaned.iter().map(|(fill, part, _)| (*fill, *part));
            let row = self.row_of(batch, Spot::Place(Some(place)), &put_in);
            let gone = self.of_fills(batch, &row, &mixed, cleaned);
            if gone.quantity.value.is_positive() || gone.unknown {
                rows.push(ScopeRow {
                    slice: Some(sink),
                    spot: Spot::Place(Some(sink)),
                    state: State::Unexplained,
                    quantity: gone.quantity,
                    unknown: row.unknown || gone.unknown,
                    content: gone.content,
                    ..row
                });
            }
        }
        rows
    }

    /// What went into vessels: what is left there, and what they passed on, by their mix models.
    fn in_vessels(&self) -> Vec<ScopeRow> {
        let mut rows = Vec::new();
        for ((batch, place), put_in) in self.put_in(vessel_of) {
            let row = self.row_of(batch, Spot::Place(Some(place)), &put_in);
            let mixed = self.question.vessel(place);
            let left = crate::on_hand::slices_of(self.question, batch).into_iter().find(|row| row.slice == place);
            if let Some(left) = left {
                let inside = self.of_fills(batch, &row, &mixed, mixed.layers.iter().copied());
                let content = match inside.quantity.value.cmp(&left.amount.value) {
                    Ordering::Equal => inside.content,
                    // Less what records took out of it by its name beyond what was there.
                    Ordering::Greater => inside.content.within(inside.quantity, left.amount),
                    // The model has no part of a fill whose quantity does not convert.
                    Ordering::Less => Content::up_to(left.amount.value, left.amount.unit),
                };
                rows.push(ScopeRow { state: State::InVessel, quantity: left.amount, content, ..row.clone() });
            }
            let drawn = mixed.draws.iter().flat_map(|draw| draw.parts.iter().chain(&draw.paid_later)).copied();
            let passed = self.of_fills(batch, &row, &mixed, drawn);
            if passed.quantity.value.is_positive() || passed.unknown {
                let (quantity, content, unknown) = (passed.quantity, passed.content, row.unknown || passed.unknown);
                rows.push(ScopeRow { quantity, unknown, content, ..row });
            }
        }
        rows
    }

    /// Parts of what a batch filled into a vessel, fill by fill: one may have been of the suspects, and another not.
    fn of_fills(
        &self,
        batch: BatchIx,
        put_in: &ScopeRow,
        mixed: &VesselSettlement,
        parts: impl Iterator<Item = (usize, Ratio)>,
    ) -> OfFills {
        let unit = self.question.settlement(batch).measure.base;
        let (mut sum, mut unknown) = (Ratio::ZERO, false);
        let mut by_fill: BTreeMap<usize, Ratio> = BTreeMap::new();
        for (fill, part) in parts.filter(|(fill, _)| mixed.fills[*fill].batch == batch) {
            let known = by_fill.entry(fill).or_insert(Ratio::ZERO);
            let more = mixed.fills[fill].in_base(part).and_then(|base| sum.add(base)).zip(known.add(part));
            match more {
                Some((all, of_fill)) => (sum, *known) = (all, of_fill),
                None => unknown |= !part.is_zero(),
            }
        }
        let fills: Vec<(&Fill, Ratio)> = by_fill.into_iter().map(|(fill, part)| (&mixed.fills[fill], part)).collect();
        let quantity = Amount { value: sum, unit };
        let content = match unknown {
            // What is not known to be less may be all that went in.
            true => Content::up_to(put_in.content.max, unit),
            false => self.contents.held_of_fills(self.question, &fills, quantity),
        };
        OfFills { quantity, unknown, content }
    }

    /// What went into runs, batch by batch, and what belongs to the runs themselves (rulings 11, 12 and 21).
    fn in_runs(&self) -> Vec<ScopeRow> {
        let run = |point| if let Point::Run(run) = point { Some(run) } else { None };
        let mut rows = Vec::new();
        let mut runs: FxHashMap<RunIx, (BatchIx, Tier, i64)> = FxHashMap::default();
        for ((batch, run), put_in) in self.put_in(run) {
            rows.push(self.row_of(batch, Spot::Run(run), &put_in));
            let best = (batch, put_in.tier, put_in.since);
            let stable = |of: &(BatchIx, Tier, i64)| {
                (std::cmp::Reverse(of.1), of.2, self.question.book().batch(of.0).to_string())
            };
            let known = runs.entry(run).or_insert(best);
            if stable(&best) < stable(known) {
                *known = best;
            }
        }
        for (run, (batch, tier, since)) in runs {
            for (state, quantity) in self.rest_of(run) {
                rows.push(ScopeRow {
                    batch: None,
                    slice: None,
                    spot: Spot::Run(run),
                    state,
                    tier,
                    since,
                    quantity,
                    unknown: false,
                    ever: None,
                    net: None,
                    content: self.contents.of_rest(self.question, run, quantity, tier),
                    why: self.paths.to_batch(Point::Run(run), batch, tier),
                    cleared_at: None,
                });
            }
        }
        rows
    }

    /// The declared losses of a run, by sink and unit, and what its other legs do not explain.
    fn rest_of(&self, run: RunIx) -> Vec<(State, Amount)> {
        let told = self.question.run(run);
        let mut found: Vec<(State, Amount)> = Vec::new();
        for (sink, stated, _) in &told.losses {
            let (state, unit) = (sink_state(*sink), stated.unit());
            let value = Ratio::from_decimal(stated.value());
            match found.iter_mut().find(|(of, amount)| *of == state && amount.unit == unit) {
                Some((_, amount)) if let Some(sum) = amount.value.add(value) => amount.value = sum,
                // The first one, or one beyond what a sum can be: a row of its own.
                _ => found.push((state, Amount { value, unit })),
            }
        }
        match self.question.settler().run_balance(&told, &|batch| self.question.cow(batch)) {
            RunBalance::Unexplained(value, unit) => found.push((State::Unexplained, Amount { value, unit })),
            RunBalance::InProcess(value, unit) if value.is_positive() => {
                found.push((State::InProcess, Amount { value, unit }));
            }
            _ => {}
        }
        found
    }
}

fn sink_state(sink: Sink) -> State {
    match sink {
        Sink::Consumed => State::Consumed,
        Sink::Loss => State::Lost,
        Sink::Sample => State::Sampled,
        Sink::Destroyed => State::Destroyed,
        Sink::Adjustment => State::Adjusted,
        Sink::Unexplained => State::Unexplained,
    }
}
