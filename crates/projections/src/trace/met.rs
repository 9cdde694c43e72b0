//! What a walk has met: batches with their settlements, which of their flows were followed, and the best
//! limits at which their slices were reached.
//!
//! Flows and slices are known by their numbers in the settlement of their batch, so that all but the batch
//! itself is found without hashing.

use std::sync::Arc;

use lotline_domain::book::{BatchIx, FlowIx, PlaceIx, RunIx};
use lotline_domain::settle::{Joins, RunLeg, Settlement};
use rustc_hash::FxHashMap;

use super::Tier;

/// For each tier the best limit, in the walk's own scale; of a trace that is finished, the best moment.
pub(super) type Limits = [Option<i64>; 3];

/// The number of a batch among those met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MetIx(u32);

/// Of which kind a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Way {
    /// It has passed a run or a vessel.
    pub(super) made: bool,
    /// Forward: it has passed a negative, ambiguous or counted difference, so that no empty slice clears it
    /// (ruling 23). Back: the slice was left by an assumed pick or a link.
    pub(super) doubt: bool,
}

impl Way {
    const ALL: [Self; 4] = [
        Self { made: false, doubt: false },
        Self { made: true, doubt: false },
        Self { made: false, doubt: true },
        Self { made: true, doubt: true },
    ];

    fn number(self) -> u32 {
        u32::from(self.made) + 2 * u32::from(self.doubt)
    }
}

/// Spots of an episode: one for each kind of path.
const WAYS: usize = Way::ALL.len();

/// The number of a spot: a slice's episode, or a place without episodes, and the kind of path there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpotIx(u32);

/// A batch that was met.
#[derive(Debug, Clone)]
pub(super) struct Met {
    pub(super) settled: Arc<Settlement>,
    /// For a code: the only batch that it stands for on this path, which came from there.
    pub(super) via: Option<BatchIx>,
    /// The best tier at which something was made into it.
    pub(super) tier: Option<Tier>,
    first_flow: usize,
    first_slice: usize,
}

impl Met {
    /// True when its batch ever was anywhere.
    pub(super) fn is_anywhere(&self) -> bool {
        !self.settled.flows.is_empty() || !self.settled.slices.is_empty()
    }

    /// Something was made into its batch.
    pub(super) fn reach(&mut self, tier: Tier) {
        self.tier = self.tier.max(Some(tier));
    }
}

/// Batches, their flows and their spots.
#[derive(Debug, Clone, Default)]
pub(super) struct Batches {
    numbers: FxHashMap<BatchIx, MetIx>,
    /// Codes that paths came to from a batch that they may stand for, each for itself.
    coded: FxHashMap<BatchIx, Vec<MetIx>>,
    all: Vec<Met>,
    /// For each flow of each batch the best tier by which it was followed.
    followed: Vec<Option<Tier>>,
    many_followed: usize,
    /// For each slice of each batch its first spot; one of each kind for each of its episodes.
    slices: Vec<SpotIx>,
    spots: Vec<Limits>,
    /// Places where a batch has no slice: vessels.
    others: FxHashMap<(u32, PlaceIx, Way), SpotIx>,
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("fewer than 2^32 spots on a walk")
}

impl Batches {
    /// The number of a batch, whose settlement is asked for when it is met first.
    pub(super) fn meet(&mut self, batch: BatchIx, settlement: impl FnOnce() -> Arc<Settlement>) -> MetIx {
        if let Some(met) = self.numbers.get(&batch) {
            return *met;
        }
        let met = self.add(settlement(), None);
        self.numbers.insert(batch, met);
        met
    }

    /// The number of a code that a path comes to from a batch that it may stand for.
    pub(super) fn meet_code(
        &mut self,
        code: BatchIx,
        via: BatchIx,
        settlement: impl FnOnce() -> Arc<Settlement>,
    ) -> MetIx {
        let known = self.coded.get(&code).into_iter().flatten().copied();
        if let Some(met) = known.into_iter().find(|met| self.get(*met).via == Some(via)) {
            return met;
        }
        let met = self.add(settlement(), Some(via));
        self.coded.entry(code).or_default().push(met);
        met
    }

    fn add(&mut self, settled: Arc<Settlement>, via: Option<BatchIx>) -> MetIx {
        let met = MetIx(index(self.all.len()));
        let (first_flow, first_slice) = (self.followed.len(), self.slices.len());
        self.followed.resize(first_flow + settled.flows.len(), None);
        for slice in &settled.slices {
            self.slices.push(SpotIx(index(self.spots.len())));
            self.spots.resize(self.spots.len() + WAYS * (slice.zeros.len() + 1), [None; 3]);
        }
        self.all.push(Met { settled, via, tier: None, first_flow, first_slice });
        met
    }

    pub(super) fn get(&self, met: MetIx) -> &Met {
        &self.all[met.0 as usize]
    }

    pub(super) fn get_mut(&mut self, met: MetIx) -> &mut Met {
        &mut self.all[met.0 as usize]
    }

    /// The spot of an episode of the slice at a place.
    pub(super) fn spot(&mut self, met: MetIx, place: PlaceIx, episode: u32, way: Way) -> SpotIx {
        let Met { settled, first_slice, .. } = &self.all[met.0 as usize];
        if let Some(at) = settled.slices.iter().position(|slice| slice.place == place) {
            let first = self.slices[first_slice + at].0;
            return SpotIx(first + index(WAYS) * episode + way.number());
        }
        let spots = &mut self.spots;
        *self.others.entry((met.0, place, way)).or_insert_with(|| {
            spots.push([None; 3]);
            SpotIx(index(spots.len() - 1))
        })
    }

    pub(super) fn limits(&self, spot: SpotIx) -> &Limits {
        &self.spots[spot.0 as usize]
    }

    pub(super) fn limits_mut(&mut self, spot: SpotIx) -> &mut Limits {
        &mut self.spots[spot.0 as usize]
    }

    /// Notes that a flow was followed.
    pub(super) fn follow(&mut self, met: MetIx, number: usize, tier: Tier) {
        let known = &mut self.followed[self.all[met.0 as usize].first_flow + number];
        self.many_followed += usize::from(known.is_none());
        *known = (*known).max(Some(tier));
    }

    /// How many flows were followed.
    pub(super) fn many_followed(&self) -> usize {
        self.many_followed
    }

    /// The followed flows of each batch by number, with their tiers; those of a code once for each way to it.
    pub(super) fn followed(&self) -> impl Iterator<Item = (&Met, usize, Tier)> {
        self.all.iter().flat_map(|met| {
            let tiers = &self.followed[met.first_flow..][..met.settled.flows.len()];
            tiers.iter().enumerate().filter_map(move |(number, tier)| tier.map(|tier| (met, number, tier)))
        })
    }

    pub(super) fn all(&self) -> &[Met] {
        &self.all
    }

    /// How many slices the batches have.
    pub(super) fn many_slices(&self) -> usize {
        self.slices.len() + self.others.len()
    }

    /// What was reached at each place, with all of its spots.
    pub(super) fn places(&self) -> impl Iterator<Item = (BatchIx, PlaceIx, &[Limits])> {
        let slices = self.all.iter().flat_map(move |met| {
            met.settled.slices.iter().enumerate().map(move |(at, slice)| {
                let first = self.slices[met.first_slice + at].0 as usize;
                (met.settled.batch, slice.place, &self.spots[first..][..WAYS * (slice.zeros.len() + 1)])
            })
        });
        let others = self
            .others
            .iter()
            .map(|((met, place, _), spot)| (self.all[*met as usize].settled.batch, *place, self.spot_of(*spot)));
        slices.chain(others)
    }

    fn spot_of(&self, spot: SpotIx) -> &[Limits] {
        std::slice::from_ref(&self.spots[spot.0 as usize])
    }

    /// The limits at which a place is reached in an episode, by each kind of path.
    pub(super) fn reached(
        &self,
        batch: BatchIx,
        place: PlaceIx,
        episode: u32,
    ) -> impl Iterator<Item = (Way, Limits)> + '_ {
        let coded = self.coded.get(&batch).into_iter().flatten();
        let mets = self.numbers.get(&batch).into_iter().chain(coded);
        mets.flat_map(move |met| {
            Way::ALL.map(|way| (way, self.limits_of(*met, place, episode, way).unwrap_or_default()))
        })
    }

    fn limits_of(&self, met: MetIx, place: PlaceIx, episode: u32, way: Way) -> Option<Limits> {
        let Met { settled, first_slice, .. } = self.get(met);
        let spot = match settled.slices.iter().position(|slice| slice.place == place) {
            Some(at) => SpotIx(self.slices[first_slice + at].0 + index(WAYS) * episode + way.number()),
            None => *self.others.get(&(met.0, place, way)).filter(|_| episode == 0)?,
        };
        Some(self.spots[spot.0 as usize])
    }
}

/// Passes something; true where it was passed at least as surely. What was passed in doubt reaches all that it would
/// without.
pub(super) fn passed<K: Copy + Eq + std::hash::Hash>(
    known: &mut FxHashMap<(K, bool), Tier>,
    key: K,
    tier: Tier,
    doubt: bool,
) -> bool {
    let is_known = [doubt, true].into_iter().any(|doubt| known.get(&(key, doubt)).is_some_and(|known| *known >= tier));
    if !is_known {
        known.insert((key, doubt), tier);
    }
    is_known
}

/// A run on the way.
#[derive(Debug)]
pub(super) struct MetRun {
    run: RunIx,
    pub(super) joins: Joins,
    /// Its legs on the side that the walk goes to.
    pub(super) far: Vec<RunLeg>,
    tier: Tier,
}

/// Runs on the way, and the best tier by which each leg on the near side was passed.
#[derive(Debug, Default)]
pub(super) struct Runs {
    numbers: FxHashMap<RunIx, usize>,
    all: Vec<MetRun>,
    passed: FxHashMap<(FlowIx, bool), Tier>,
}

impl Runs {
    /// Passes a leg into a run, which is told when it is met first; `None` when the leg was passed at least
    /// as surely.
    pub(super) fn pass(
        &mut self,
        run: RunIx,
        leg: FlowIx,
        tier: Tier,
        doubt: bool,
        tell: impl FnOnce() -> (Joins, Vec<RunLeg>),
    ) -> Option<usize> {
        if passed(&mut self.passed, leg, tier, doubt) {
            return None;
        }
        let all = &mut self.all;
        let at = *self.numbers.entry(run).or_insert_with(|| {
            let (joins, far) = tell();
            all.push(MetRun { run, joins, far, tier });
            all.len() - 1
        });
        let met = &mut self.all[at];
        met.tier = met.tier.max(tier);
        Some(at)
    }

    pub(super) fn get(&self, at: usize) -> &MetRun {
        &self.all[at]
    }

    /// The runs with the best tier of each.
    pub(super) fn tiers(&self) -> impl Iterator<Item = (RunIx, Tier)> {
        self.all.iter().map(|met| (met.run, met.tier))
    }
}
