//! What parties ever received of the batches that a trace reaches (ruling 26).

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::book::{BatchIx, PlaceIx, PlaceKind};
use lotline_domain::command::Amount;
use lotline_domain::settle::{Crossing, Node, Passage, Settlement};
use rustc_hash::FxHashMap;

use crate::on_hand::amount;
use crate::question::Question;
use crate::trace::{Point, Tier, Trace};

/// What one party received of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// All affected arrivals, returns not taken off, in the batch's measure.
    pub(crate) ever: i128,
    /// Ever received less returned.
    pub(crate) net: i128,
    /// Something of unknown quantity was among them.
    pub(crate) unknown: bool,
    /// The best tier of an arrival.
    pub(crate) tier: Tier,
    /// The first arrival of that tier, microseconds.
    pub(crate) since: i64,
    /// The slice that it came in: the party's own, or that of a container.
    pub(crate) slice: Point,
}

impl Received {
    fn nothing(slice: Point) -> Self {
        Self { ever: 0, net: 0, unknown: false, tier: Tier::Cleared, since: i64::MAX, slice }
    }
}

/// What a party ever received of a batch that a trace reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedBy {
    /// The party.
    pub party: PlaceIx,
    /// All affected arrivals, loose and in containers, returns not taken off.
    pub ever: Amount,
    /// Ever received less returned.
    pub net: Amount,
    /// Something of unknown quantity was among them.
    pub unknown: bool,
    /// The best tier of an arrival.
    pub tier: Tier,
    /// The first arrival of that tier, microseconds.
    pub since: i64,
}

/// Who ever received some of the batches that a forward trace reaches, its own included (ruling 26).
pub fn received(question: &Question<'_>, trace: &Trace) -> FxHashMap<BatchIx, Vec<ReceivedBy>> {
    let arrivals = Arrivals::of(trace);
    let batches: BTreeSet<BatchIx> = trace.batches.keys().chain(&trace.starts).copied().collect();
    let mut found = FxHashMap::default();
    for batch in batches {
        let settled = question.settlement(batch);
        let parties: Vec<ReceivedBy> = arrivals
            .at_parties(question, batch)
            .into_iter()
            .filter(|(_, known)| known.ever > 0 || known.unknown)
            .map(|(party, known)| ReceivedBy {
                party,
                ever: amount(&settled, known.ever),
                net: amount(&settled, known.net),
                unknown: known.unknown,
                tier: known.tier,
                since: known.since,
            })
            .collect();
        if !parties.is_empty() {
            found.insert(batch, parties);
        }
    }
    found
}

/// The followed steps of a trace, by batch and number of the flow.
pub(crate) struct Arrivals<'t> {
    trace: &'t Trace,
    followed: FxHashMap<(BatchIx, usize), Tier>,
}

impl<'t> Arrivals<'t> {
    pub(crate) fn of(trace: &'t Trace) -> Self {
        Self { trace, followed: trace.edges.iter().map(|edge| ((edge.batch, edge.number), edge.tier)).collect() }
    }

    /// What each party received of a batch.
    pub(crate) fn at_parties(&self, question: &Question<'_>, batch: BatchIx) -> BTreeMap<PlaceIx, Received> {
        let mut found: BTreeMap<PlaceIx, Received> = BTreeMap::new();
        let settled = question.settlement(batch);
        let kind = |place| question.book().place_kind(place);
        if !settled.slices.iter().any(|slice| matches!(kind(slice.place), PlaceKind::Party | PlaceKind::Container)) {
            return found;
        }
        for crossing in question.settler().crossings(batch, question.as_of()) {
            let Some(tier) = self.tier(&settled, &crossing) else { continue };
            let amount = crossing.amount.unwrap_or(0);
            for (party, came) in [(crossing.to, true), (crossing.from, false)] {
                let Some(party) = party else { continue };
                let known = found.entry(party).or_insert(Received::nothing(Point::Slice(batch, party)));
                known.net += if came { amount } else { -amount };
                known.unknown |= crossing.amount.is_none();
                if !came {
                    continue;
                }
                known.ever += amount;
                if (known.tier, std::cmp::Reverse(known.since)) < (tier, std::cmp::Reverse(crossing.at)) {
                    let place = match crossing.by {
                        Passage::Carried(container) => container,
                        Passage::Flow(number) => match settled.flows[number].to {
                            Node::Place(place) => place,
                            _ => party,
                        },
                    };
                    *known = Received { tier, since: crossing.at, slice: Point::Slice(batch, place), ..*known };
                }
            }
        }
        found
    }

    /// How surely what crossed is affected; `None` when it is not.
    fn tier(&self, settled: &Settlement, crossing: &Crossing) -> Option<Tier> {
        if self.trace.starts.contains(&settled.batch) {
            return Some(Tier::Certain);
        }
        let tier = match crossing.by {
            Passage::Flow(number) => self.followed.get(&(settled.batch, number)).copied()?,
            Passage::Carried(container) => {
                let reached = self.trace.reached_at(settled, container, crossing.at)?;
                let by = |tier| reached.moment(tier).is_some_and(|moment| moment <= crossing.latest);
                [Tier::Certain, Tier::Possible].into_iter().find(|tier| by(*tier))?
            }
        };
        (tier > Tier::Cleared).then_some(tier)
    }
}
