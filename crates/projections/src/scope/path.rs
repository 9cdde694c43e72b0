//! Why a row is in a scope: one path of fewest steps from a suspect, of a given tier.
//!
//! The steps are those that the trace followed. A step is reached by a step: out of a slice one that leaves when what
//! came in was there, out of a run or a vessel one that its input reaches. Each step is reached once, so no path goes
//! in a circle. Among paths of one length the order of the steps' own names decides, never that of recording.

use std::cell::OnceCell;
use std::collections::VecDeque;

use lotline_domain::book::{BatchIx, FlowIx, PlaceIx, RunIx};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::question::Question;
use crate::trace::{Edge, Point, Tier, Trace};

/// The followed steps of a trace, and the paths that they make.
pub(super) struct Paths<'t> {
    question: &'t Question<'t>,
    edges: Vec<&'t Edge>,
    /// Steps out of slices, the one that leaves first at the end.
    out: FxHashMap<Point, Vec<usize>>,
    /// Steps out of runs and vessels, by what they settle.
    of_hub: FxHashMap<(Point, FlowIx), Vec<usize>>,
    starts: FxHashSet<BatchIx>,
    /// Batches that an ambiguous code may mean, and the code's own.
    coded: FxHashSet<BatchIx>,
    trees: [OnceCell<Tree>; 3],
}

/// The first step into each point, and how it is reached.
struct Tree {
    before: FxHashMap<usize, Option<usize>>,
    into: FxHashMap<Point, usize>,
    into_by_batch: FxHashMap<(Point, BatchIx), usize>,
}

impl<'t> Paths<'t> {
    pub(super) fn of(question: &'t Question<'t>, trace: &'t Trace) -> Self {
        let book = question.book();
        let mut edges: Vec<&Edge> = trace.edges.iter().collect();
        edges.sort_by_cached_key(|edge| {
            let event = book.event_id_text(edge.flow.fact).to_owned();
            (edge.flow.counts_from, event, book.batch(edge.batch).to_string(), edge.number)
        });
        let mut out: FxHashMap<Point, Vec<usize>> = FxHashMap::default();
        let mut of_hub: FxHashMap<(Point, FlowIx), Vec<usize>> = FxHashMap::default();
        for (at, edge) in edges.iter().enumerate() {
            match (edge.from, edge.flow.stated) {
                (Point::Run(_) | Point::Vessel(_), Some(stated)) => {
                    of_hub.entry((edge.from, stated)).or_default().push(at)
                }
                (Point::Slice(..), _) => out.entry(edge.from).or_default().push(at),
                _ => {}
            }
        }
        for leaving in out.values_mut() {
            leaving.sort_by_key(|at| (edges[*at].flow.latest, std::cmp::Reverse(*at)));
        }
        let settler = question.settler();
        let candidates = trace.ambiguous.iter().flat_map(|pseudo| settler.ambiguous_candidates(*pseudo));
        let coded = trace.ambiguous.iter().copied().chain(candidates).collect();
        let starts = trace.starts.iter().copied().collect();
        Self { question, edges, out, of_hub, starts, coded, trees: Default::default() }
    }

    /// To a point; empty where a suspect is there from the beginning.
    pub(super) fn to(&self, point: Point, tier: Tier) -> Vec<Edge> {
        let tree = self.tree(tier);
        self.back_from(tree, tree.into.get(&point).copied())
    }

    /// To a point, by a step of a batch.
    pub(super) fn to_batch(&self, point: Point, batch: BatchIx, tier: Tier) -> Vec<Edge> {
        let tree = self.tree(tier);
        self.back_from(tree, tree.into_by_batch.get(&(point, batch)).copied())
    }

    fn back_from(&self, tree: &Tree, last: Option<usize>) -> Vec<Edge> {
        let mut path = Vec::new();
        let mut at = last;
        while let Some(step) = at {
            path.push(*self.edges[step]);
            at = tree.before.get(&step).copied().flatten();
        }
        path.reverse();
        path
    }

    fn tree(&self, tier: Tier) -> &Tree {
        self.trees[tier as usize].get_or_init(|| self.grow(tier))
    }

    fn grow(&self, tier: Tier) -> Tree {
        let mut tree =
            Tree { before: FxHashMap::default(), into: FxHashMap::default(), into_by_batch: FxHashMap::default() };
        let mut out = self.out.clone();
        let mut waiting = VecDeque::new();
        // What only an ambiguous code leads to comes after all that is reached without.
        for seeds in [&self.starts, &self.coded] {
            for (at, edge) in self.edges.iter().enumerate() {
                let begins = match edge.from {
                    Point::Slice(batch, _) => seeds.contains(&batch),
                    _ => seeds.contains(&edge.batch) && !matches!(edge.to, Point::Slice(..)),
                };
                if begins {
                    self.reach(&mut tree, &mut waiting, tier, at, None);
                }
            }
            while let Some(at) = waiting.pop_front() {
                for next in self.after(at, &mut out) {
                    self.reach(&mut tree, &mut waiting, tier, next, Some(at));
                }
            }
        }
        tree
    }

    fn reach(&self, tree: &mut Tree, waiting: &mut VecDeque<usize>, tier: Tier, at: usize, before: Option<usize>) {
        let edge = self.edges[at];
        if edge.tier < tier || tree.before.contains_key(&at) {
            return;
        }
        tree.before.insert(at, before);
        tree.into.entry(edge.to).or_insert(at);
        tree.into_by_batch.entry((edge.to, edge.batch)).or_insert(at);
        waiting.push_back(at);
    }

    /// The steps that may come after one.
    fn after(&self, at: usize, out: &mut FxHashMap<Point, Vec<usize>>) -> Vec<usize> {
        let edge = self.edges[at];
        match edge.to {
            Point::Slice(..) => {
                let Some(leaving) = out.get_mut(&edge.to) else { return Vec::new() };
                let since = edge.flow.counts_from;
                let still = leaving.partition_point(|next| self.edges[*next].flow.latest < since);
                let mut after = leaving.split_off(still);
                after.sort_unstable();
                after
            }
            Point::Run(run) => self.out_of_run(edge, run),
            Point::Vessel(vessel) => self.out_of_vessel(edge, vessel),
            Point::Supply(_) | Point::Sink(_) => Vec::new(),
        }
    }

    fn out_of_run(&self, edge: &Edge, run: RunIx) -> Vec<usize> {
        let told = self.question.run(run);
        let Some(input) = told.inputs.iter().find(|input| Some(input.flow) == edge.flow.stated) else {
            return Vec::new();
        };
        let outputs = told.outputs.iter().filter(|output| told.connects(input, output));
        self.leaving(edge.to, outputs.map(|output| output.flow))
    }

    fn out_of_vessel(&self, edge: &Edge, vessel: PlaceIx) -> Vec<usize> {
        let mixed = self.question.vessel(vessel);
        let Some(fill) = mixed.fills.iter().position(|fill| Some(fill.flow) == edge.flow.stated) else {
            return Vec::new();
        };
        self.leaving(edge.to, mixed.draws_of(fill).map(|(draw, _)| mixed.draws[draw].flow))
    }

    fn leaving(&self, hub: Point, stated: impl Iterator<Item = FlowIx>) -> Vec<usize> {
        let mut found: Vec<usize> =
            stated.flat_map(|stated| self.of_hub.get(&(hub, stated)).into_iter().flatten().copied()).collect();
        found.sort_unstable();
        found
    }
}
