//! Recall scope: what must come back, how certain that is, how much of it, and why.

use lotline_domain::book::{BatchIx, PlaceIx, PlaceKind, RunIx};
use lotline_domain::command::Amount;
use lotline_domain::id::Sink;
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::{Node, RunBalance, Settlement};
use rustc_hash::FxHashMap;

use crate::content::{Content, Contents};
use crate::on_hand::{State, amount, state_of};
use crate::question::Question;
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
    /// All affected arrivals at a party, returns not taken off.
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
    let mut reached: Vec<((BatchIx, PlaceIx), Tier, i64)> = trace
        .slices
        .iter()
        .map(|(slice, how)| (*slice, how.tier(), how.moment(how.tier()).unwrap_or(i64::MIN)))
        .collect();
    reached.sort_unstable();
    for ((batch, place), tier, since) in reached {
        rows.extend(slice_row(question, &trace, &contents, &paths, batch, place, tier, since));
    }
    rows.extend(gone(question, &trace, &contents, &paths));
    rows.extend(in_runs(question, &trace, &paths));
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

#[expect(clippy::too_many_arguments, reason = "one row needs all that the scope knows")]
fn slice_row(
    question: &Question<'_>,
    trace: &Trace,
    contents: &Contents,
    paths: &Paths<'_>,
    batch: BatchIx,
    place: PlaceIx,
    tier: Tier,
    since: i64,
) -> Option<ScopeRow> {
    let settled = question.settlement(batch);
    let slice = settled.slice(place)?;
    let standing = question.settler().place_at(place, question.as_of());
    let state = state_of(question, place, standing);
    let (ever, net) = received(question, trace, &settled, place, state);
    let held_something = ever.is_some_and(|ever| ever.value.is_positive());
    if slice.balance == 0 && !slice.unknown && !held_something {
        return None;
    }
    let why = paths.to(Point::Slice(batch, place), tier);
    let cleared_at = (tier == Tier::Cleared).then(|| emptied_before(question, &why)).flatten();
    Some(ScopeRow {
        batch,
        slice: Some(place),
        spot: Spot::Place(standing),
        state,
        tier,
        since,
        quantity: amount(&settled, slice.balance),
        unknown: slice.unknown,
        ever,
        net,
        content: contents.of_slice(question, batch, place, tier),
        why,
        cleared_at,
    })
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

/// What ever arrived at a party, and what of it stayed (ruling 26).
fn received(
    question: &Question<'_>,
    trace: &Trace,
    settled: &Settlement,
    place: PlaceIx,
    state: State,
) -> (Option<Amount>, Option<Amount>) {
    let book = question.book();
    let kind = book.place_kind(place);
    let here = Node::Place(place);
    let followed = |flow: &lotline_domain::settle::Settled| {
        trace
            .slices
            .get(&(settled.batch, place))
            .is_some_and(|reached| reached.moment(Tier::Cleared).is_none_or(|moment| flow.latest >= moment))
    };
    let (mut ever, mut back) = (0i128, 0i128);
    match kind {
        PlaceKind::Party => {
            for flow in settled.flows_to(here).filter(|flow| flow.in_book() && followed(flow)) {
                ever += flow.amount.unwrap_or(0);
            }
            for flow in settled.flows_from(here).filter(|flow| flow.in_book()) {
                back += flow.amount.unwrap_or(0);
            }
        }
        PlaceKind::Container => {
            let stations = question.settler().stations(place, question.as_of());
            let at_party = |at: i64| {
                let index = stations.partition_point(|(since, _)| *since <= at);
                index
                    .checked_sub(1)
                    .and_then(|index| stations[index].1)
                    .filter(|top| book.place_kind(*top) == PlaceKind::Party)
            };
            let mut before: Option<PlaceIx> = None;
            for (at, top) in &stations {
                let now = top.filter(|top| book.place_kind(*top) == PlaceKind::Party);
                let content = lotline_domain::settle::balance_at(settled, place, *at);
                if now.is_some() && now != before {
                    ever += content;
                }
                if before.is_some() && now != before {
                    back += content;
                }
                before = now;
            }
            for flow in settled.flows_to(here).filter(|flow| flow.in_book() && followed(flow)) {
                let arrived_then = stations.iter().any(|(at, _)| *at == flow.at);
                if at_party(flow.at).is_some() && !arrived_then {
                    ever += flow.amount.unwrap_or(0);
                }
            }
            for flow in settled.flows_from(here).filter(|flow| flow.in_book()) {
                let goes_to_party = matches!(flow.to, Node::Place(to) if book.place_kind(to) == PlaceKind::Party);
                if at_party(flow.at).is_some() && !goes_to_party {
                    back += flow.amount.unwrap_or(0);
                }
            }
        }
        _ => return (None, None),
    }
    if state != State::AtParty && ever == 0 {
        return (None, None);
    }
    (Some(amount(settled, ever)), Some(amount(settled, ever - back)))
}

/// What went into sinks and vessels.
fn gone(question: &Question<'_>, trace: &Trace, contents: &Contents, paths: &Paths<'_>) -> Vec<ScopeRow> {
    let book = question.book();
    let mut sums: FxHashMap<(BatchIx, PlaceIx), (i128, bool, Tier, i64)> = FxHashMap::default();
    for edge in trace.edges.iter().filter(|edge| edge.flow.in_book()) {
        let (Point::Sink(place) | Point::Vessel(place)) = edge.to else { continue };
        let entry = sums.entry((edge.batch, place)).or_insert((0, false, edge.tier, edge.flow.counts_from));
        entry.0 += edge.flow.amount.unwrap_or(0);
        entry.1 |= edge.flow.amount.is_none();
        entry.2 = entry.2.max(edge.tier);
        entry.3 = entry.3.min(edge.flow.counts_from);
    }
    let mut rows = Vec::new();
    for ((batch, place), (sum, unknown, tier, since)) in sums {
        let settled = question.settlement(batch);
        let (state, quantity, point) = match book.sink(place) {
            Some(sink) => (sink_state(sink), amount(&settled, sum), Point::Sink(place)),
            None => {
                let left = crate::on_hand::slices_of(question, batch).into_iter().find(|row| row.slice == place);
                let Some(left) = left else { continue };
                (State::InVessel, left.amount, Point::Vessel(place))
            }
        };
        rows.push(ScopeRow {
            batch,
            slice: Some(place),
            spot: Spot::Place(Some(place)),
            state,
            tier,
            since,
            content: contents.of_flows(question, trace, batch, point, quantity),
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
fn in_runs(question: &Question<'_>, trace: &Trace, paths: &Paths<'_>) -> Vec<ScopeRow> {
    let mut sums: FxHashMap<(BatchIx, RunIx), (i128, bool, Tier, i64)> = FxHashMap::default();
    for edge in trace.edges.iter().filter(|edge| edge.flow.in_book()) {
        let Point::Run(run) = edge.to else { continue };
        let entry = sums.entry((edge.batch, run)).or_insert((0, false, edge.tier, edge.flow.counts_from));
        entry.0 += edge.flow.amount.unwrap_or(0);
        entry.1 |= edge.flow.amount.is_none();
        entry.2 = entry.2.max(edge.tier);
        entry.3 = entry.3.min(edge.flow.counts_from);
    }
    let mut rows = Vec::new();
    for ((batch, run), (sum, unknown, tier, since)) in sums {
        let settled = question.settlement(batch);
        let told = question.run(run);
        let rest = match question.settler().run_balance(&told, &|batch| question.cow(batch)) {
            RunBalance::InProcess(rest, unit) => Some(Amount { value: rest, unit }),
            _ => None,
        };
        let (state, quantity) = match rest {
            Some(rest) => (State::InProcess, rest),
            None => (State::Consumed, amount(&settled, sum)),
        };
        let content = Content::up_to(quantity.value.max(Ratio::ZERO), quantity.unit);
        rows.push(ScopeRow {
            batch,
            slice: None,
            spot: Spot::Run(run),
            state,
            tier,
            since,
            quantity,
            unknown,
            ever: None,
            net: None,
            content,
            why: paths.to_batch(Point::Run(run), batch, tier),
            cleared_at: None,
        });
    }
    rows
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
