//! Recall scope: what must come back, how certain that is, how much of it, and why.

use lotline_domain::book::{BatchIx, PlaceIx, PlaceKind, RunIx};
use lotline_domain::command::Amount;
use lotline_domain::id::Sink;
use lotline_domain::settle::{RunBalance, RunSettlement, Settlement};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::content::{Content, Contents};
use crate::on_hand::{State, amount, state_of};
use crate::question::Question;
use crate::received::{Arrivals, Received};
use crate::trace::{Direction, Edge, Point, Tier, Trace, trace};

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
    /// Which batch.
    pub batch: BatchIx,
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
    let paths = Paths::of(&trace);
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
    rows.extend(gone(question, &trace, &contents, &paths));
    rows.extend(in_runs(question, &trace, &contents, &paths));
    let book = question.book();
    rows.sort_by_cached_key(|row| {
        let spot = match row.spot {
            Spot::Place(place) => place.map_or_else(String::new, |place| book.place(place).to_string()),
            Spot::Run(run) => format!("run:{}", book.run(run)),
        };
        (book.batch(row.batch).to_string(), spot, row.slice.map(|slice| book.place(slice).to_string()), row.state)
    });
    Scope { suspects: trace.starts.clone(), rows, trace }
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
            batch,
            slice: Some(place),
            spot: Spot::Place(standing),
            state,
            tier,
            since,
            quantity: amount(&settled, balance),
            unknown: unknown || received.is_some_and(|known| known.unknown),
            ever: at_party.then(|| amount(&settled, ever)),
            net: at_party.then(|| amount(&settled, net)),
            content: self.contents.of_slice(question, self.trace, (batch, place), tier),
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

/// What went into sinks and vessels.
fn gone(question: &Question<'_>, trace: &Trace, contents: &Contents, paths: &Paths<'_>) -> Vec<ScopeRow> {
    let book = question.book();
    let mut sums: FxHashMap<(BatchIx, PlaceIx), PutIn> = FxHashMap::default();
    for edge in trace.edges.iter().filter(|edge| edge.flow.in_book()) {
        let (Point::Sink(place) | Point::Vessel(place)) = edge.to else { continue };
        sums.entry((edge.batch, place)).or_insert_with(|| PutIn::by(edge)).add(edge);
    }
    let mut rows = Vec::new();
    for ((batch, place), PutIn { sum, unknown, tier, since, flows }) in sums {
        let settled = question.settlement(batch);
        let (state, quantity, point, content) = match book.sink(place) {
            Some(sink) => {
                let quantity = amount(&settled, sum);
                let content = contents.of_flows(question, batch, &flows, quantity);
                (sink_state(sink), quantity, Point::Sink(place), content)
            }
            None => {
                let left = crate::on_hand::slices_of(question, batch).into_iter().find(|row| row.slice == place);
                let Some(left) = left else { continue };
                let whole = amount(&settled, sum);
                let content = contents.of_flows(question, batch, &flows, whole).within(whole, left.amount);
                (State::InVessel, left.amount, Point::Vessel(place), content)
            }
        };
        rows.push(ScopeRow {
            batch,
            slice: Some(place),
            spot: Spot::Place(Some(place)),
            state,
            tier,
            since,
            content,
            quantity,
            unknown,
            ever: None,
            net: None,
            why: paths.to_batch(point, batch, tier),
            cleared_at: None,
        });
    }
    rows
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

/// What runs used up, and what is still in open ones.
fn in_runs(question: &Question<'_>, trace: &Trace, contents: &Contents, paths: &Paths<'_>) -> Vec<ScopeRow> {
    let mut sums: FxHashMap<(BatchIx, RunIx), PutIn> = FxHashMap::default();
    for edge in trace.edges.iter().filter(|edge| edge.flow.in_book()) {
        let Point::Run(run) = edge.to else { continue };
        sums.entry((edge.batch, run)).or_insert_with(|| PutIn::by(edge)).add(edge);
    }
    let mut rows = Vec::new();
    for ((batch, run), put_in) in sums {
        let told = question.run(run);
        let whole = amount(&question.settlement(batch), put_in.sum);
        let quantity = if told.open { still_in_process(question, &told, batch) } else { Some(whole) };
        let state = if told.open { State::InProcess } else { State::Consumed };
        let unknown = put_in.unknown || quantity.is_none();
        let quantity = quantity.unwrap_or(whole);
        let content = contents.of_flows(question, batch, &put_in.flows, whole).within(whole, quantity);
        rows.push(ScopeRow {
            batch,
            slice: None,
            spot: Spot::Run(run),
            state,
            tier: put_in.tier,
            since: put_in.since,
            quantity,
            unknown,
            ever: None,
            net: None,
            content,
            why: paths.to_batch(Point::Run(run), batch, put_in.tier),
            cleared_at: None,
        });
    }
    rows
}

/// What of a batch is in an open run: its share of what is in it at all; `None` where that does not compare.
fn still_in_process(question: &Question<'_>, told: &RunSettlement, batch: BatchIx) -> Option<Amount> {
    let settlement = |batch| question.cow(batch);
    let RunBalance::InProcess(rest, unit) = question.settler().run_balance(told, &settlement) else { return None };
    let shares = question.settler().shares_of_inputs(told, rest, unit, &settlement)?;
    let (_, value) = shares.into_iter().find(|(input, _)| *input == batch)?;
    Some(Amount { value, unit })
}

/// Finds one best path to a point.
struct Paths<'t> {
    into: FxHashMap<Point, Vec<&'t Edge>>,
    starts: &'t [BatchIx],
}

impl<'t> Paths<'t> {
    fn of(trace: &'t Trace) -> Self {
        let mut into: FxHashMap<Point, Vec<&'t Edge>> = FxHashMap::default();
        for edge in &trace.edges {
            into.entry(edge.to).or_default().push(edge);
        }
        Self { into, starts: &trace.starts }
    }

    fn to(&self, point: Point, tier: Tier) -> Vec<Edge> {
        let last = self.best(point, tier, None, &[]);
        last.map_or_else(Vec::new, |last| self.back_from(last, tier))
    }

    fn to_batch(&self, point: Point, batch: BatchIx, tier: Tier) -> Vec<Edge> {
        let entries = self.into.get(&point).into_iter().flatten();
        let last = entries
            .filter(|edge| edge.batch == batch && edge.tier >= tier)
            .min_by_key(|edge| edge.flow.counts_from)
            .copied();
        last.map_or_else(Vec::new, |last| self.back_from(last, tier))
    }

    /// The earliest step into a point that is sure enough and not after `latest`.
    fn best(&self, point: Point, tier: Tier, latest: Option<i64>, used: &[Edge]) -> Option<&'t Edge> {
        let entries = self.into.get(&point).into_iter().flatten();
        entries
            .filter(|edge| edge.tier >= tier && latest.is_none_or(|latest| edge.flow.counts_from <= latest))
            .filter(|edge| !used.contains(edge))
            .min_by_key(|edge| (std::cmp::Reverse(edge.tier), edge.flow.counts_from))
            .copied()
    }

    fn back_from(&self, last: &'t Edge, tier: Tier) -> Vec<Edge> {
        let mut path = vec![*last];
        let mut at = last;
        loop {
            let begins = match at.from {
                Point::Slice(batch, _) => self.starts.contains(&batch),
                Point::Supply(_) | Point::Sink(_) => true,
                Point::Run(_) | Point::Vessel(_) => false,
            };
            if begins {
                break;
            }
            let latest = matches!(at.from, Point::Slice(..)).then_some(at.flow.latest);
            match self.best(at.from, tier, latest, &path) {
                Some(before) => {
                    path.push(*before);
                    at = before;
                }
                None => break,
            }
        }
        path.reverse();
        path
    }
}
