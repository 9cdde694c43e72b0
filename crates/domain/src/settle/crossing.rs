//! Goods that came to a party or left it, loose or in a container that was carried there (ruling 26).

use rustc_hash::FxHashMap;

use crate::book::{BatchIx, PlaceIx, PlaceKind};

use super::sweep::Done;
use super::{Key, Node, Settlement, Settler};

/// Goods of a batch that came to a party, or left one, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    /// How much, in the batch's measure; `None` is unknown.
    pub amount: Option<i128>,
    /// When, microseconds.
    pub at: i64,
    /// The last instant at which it may have been.
    pub latest: i64,
    /// From which party, if from one.
    pub from: Option<PlaceIx>,
    /// To which party, if to one.
    pub to: Option<PlaceIx>,
    /// By what.
    pub by: Passage,
}

/// How goods came over the threshold of a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// By a flow: its number in the settlement of the same bounds.
    Flow(usize),
    /// In a container, with all that it held.
    Carried(PlaceIx),
}

/// What a container held over time, of one batch.
pub(super) type Changes = Vec<Change>;

/// A step that changed what a container held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) key: Key,
    /// How much more or less.
    pub(super) by: i128,
    /// What it says of what is there in unknown quantity.
    pub(super) unknown: Option<Unknown>,
}

/// What is known of something of unknown quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It came in.
    Entered,
    /// It went out, and may have been what is there.
    Left,
    /// From now on there is none.
    Settled,
}

/// A batch swept, with the steps of what it did.
pub(super) struct Swept {
    pub(super) settled: Settlement,
    /// Flows in the book, by number, with their steps.
    pub(super) posted: Vec<(Key, usize)>,
    /// By container.
    pub(super) changes: FxHashMap<PlaceIx, Changes>,
}

impl Settler<'_> {
    /// Sweeps a batch and keeps what was in its containers.
    pub(super) fn swept(&self, batch: BatchIx, until: Key) -> Swept {
        let mut sweep = self.sweep_until(batch, until, None, true);
        let steps = sweep.take_steps();
        let settled = sweep.finish();
        let mut posted = Vec::with_capacity(steps.len());
        let mut changes: FxHashMap<PlaceIx, Changes> = FxHashMap::default();
        for (key, done) in steps {
            let number = match done {
                Done::Posted(number) => number,
                Done::Known(place) => {
                    changes.entry(place).or_default().push(Change { key, by: 0, unknown: Some(Unknown::Settled) });
                    continue;
                }
            };
            posted.push((key, number));
            let flow = &settled.flows[number];
            for (node, sign, went) in [(flow.from, -1, Unknown::Left), (flow.to, 1, Unknown::Entered)] {
                if let Node::Place(place) = node
                    && self.book.place_kind(place) == PlaceKind::Container
                {
                    let unknown = flow.amount.is_none().then_some(went);
                    let by = sign * flow.amount.unwrap_or(0);
                    changes.entry(place).or_default().push(Change { key, by, unknown });
                }
            }
        }
        Swept { settled, posted, changes }
    }

    /// All that came to parties and left them of one batch up to an instant, that included: flows in
    /// step order, then what each container carried.
    pub fn crossings(&self, batch: BatchIx, as_of: i64) -> Vec<Crossing> {
        let until = Key::end_of(as_of);
        let Swept { settled, posted, changes } = self.swept(batch, until);
        let mut found: Vec<Crossing> = Vec::new();
        for (key, number) in posted {
            let flow = &settled.flows[number];
            let from = self.party_of(flow.from, key);
            let to = self.party_of(flow.to, key.after());
            // What is counted, used up or thrown away at a party neither came there nor was returned.
            let derived = [flow.from, flow.to].iter().any(|node| self.is_sink(*node));
            if from != to && !derived {
                let by = Passage::Flow(number);
                found.push(Crossing { amount: flow.amount, at: flow.at, latest: flow.latest, from, to, by });
            }
        }
        for container in settled.slices.iter().map(|slice| slice.place) {
            let Some(changes) = changes.get(&container) else { continue };
            for key in self.turns_around(container, until) {
                let from = self.party_of(Node::Place(container), key);
                let to = self.party_of(Node::Place(container), key.after());
                if from == to {
                    continue;
                }
                let (held, unknown) = self.held_before(changes, &key);
                let (at, latest) = (key.instant, self.book.fact(key.fact).latest());
                let by = Passage::Carried(container);
                let crossing = |amount| Crossing { amount, at, latest, from, to, by };
                found.extend((held > 0).then(|| crossing(Some(held))));
                found.extend(unknown.then(|| crossing(None)));
            }
        }
        found
    }

    /// How much a container held just before a step, and whether something of unknown quantity was among it.
    pub(super) fn held_before(&self, changes: &Changes, key: &Key) -> (i128, bool) {
        let before = changes.iter().take_while(|change| self.order(&change.key, key).is_lt());
        before.fold((0, false), |(held, unknown), change| {
            (held + change.by, change.unknown.map_or(unknown, |said| said != Unknown::Settled))
        })
    }

    fn is_sink(&self, node: Node) -> bool {
        matches!(node, Node::Place(place) if self.book.place_kind(place) == PlaceKind::Sink)
    }

    /// The party at whose place something is just before a step.
    fn party_of(&self, node: Node, before: Key) -> Option<PlaceIx> {
        let Node::Place(place) = node else { return None };
        self.top(place, before).filter(|top| self.book.place_kind(*top) == PlaceKind::Party)
    }
}
