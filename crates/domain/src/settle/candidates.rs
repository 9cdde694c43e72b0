//! Where a quantity was taken from: named sources with what lies in them, and sources nobody named.

use crate::book::{Deed, PlaceIx, PlaceKind};

use super::master::deed_order;
use super::sweep::Sweep;
use super::{Key, Node, Settler};

/// What is said of goods whose source nobody named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// They were received, by a party perhaps.
    Received(Option<PlaceIx>),
    /// They were seen.
    Seen,
    /// They were moved, shipped, used.
    Moved,
}

/// A part of a quantity, taken from one slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick {
    pub(super) place: PlaceIx,
    pub(super) amount: Option<i128>,
    pub(super) assumed: bool,
}

/// What was taken from where, and what nothing explains.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) wanted: Option<i128>,
    pub(super) picks: Vec<Pick>,
    /// Candidates not picked, or not to the full: it may have come from there.
    pub(super) others: Vec<PlaceIx>,
    pub(super) ambiguous: bool,
    excess: Option<Option<i128>>,
}

impl Taken {
    fn new(wanted: Option<i128>) -> Self {
        Self { wanted, picks: Vec::new(), others: Vec::new(), ambiguous: false, excess: None }
    }

    /// What is left over; the inner `None` is an unknown quantity.
    pub(super) fn excess(&self) -> Option<Option<i128>> {
        self.excess
    }

    fn left(&self, wanted: i128) -> i128 {
        wanted - self.picks.iter().filter_map(|pick| pick.amount).sum::<i128>()
    }
}

impl Sweep<'_, '_> {
    /// Slices with something in them, earliest arrival first, then by place.
    fn ranked(&self, fits: impl Fn(PlaceIx) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> =
            (0..self.slices.len()).filter(|&at| self.slices[at].has_some() && fits(self.slices[at].place)).collect();
        if found.len() > 1 {
            let book = self.settler.book;
            found.sort_by_cached_key(|&at| (self.slices[at].arrived, book.place(self.slices[at].place).to_string()));
        }
        found
    }

    /// Takes from candidates in their order; ambiguous unless there is one, or they hold just what is wanted.
    fn take_from(&self, taken: &mut Taken, candidates: &[usize], want: i128) {
        if candidates.is_empty() || want <= 0 {
            return;
        }
        let exact = candidates.iter().all(|&at| !self.slices[at].open_unknown)
            && candidates.iter().map(|&at| self.slices[at].balance).sum::<i128>() == want;
        let assumed = candidates.len() > 1 && !exact;
        let mut left = want;
        for &at in candidates {
            let slice = &self.slices[at];
            let amount = slice.covers(left);
            if amount > 0 {
                taken.picks.push(Pick { place: slice.place, amount: Some(amount), assumed });
                left -= amount;
            }
            if assumed && amount < want {
                taken.others.push(slice.place);
            }
        }
        taken.ambiguous |= assumed;
    }

    /// An unknown quantity: from the only candidate, or from the first, assumed.
    fn take_unknown(&self, taken: &mut Taken, candidates: &[usize]) {
        let Some((&first, rest)) = candidates.split_first() else { return };
        let assumed = !rest.is_empty();
        taken.picks.push(Pick { place: self.slices[first].place, amount: None, assumed });
        taken.others.extend(rest.iter().map(|&at| self.slices[at].place));
        taken.ambiguous |= assumed;
    }

    /// A named source: what is loose there, then what stands in it; the rest overdraws it (ruling 3).
    pub(super) fn take_named(&self, place: PlaceIx, to: Node, wanted: Option<i128>, key: Key) -> Taken {
        let mut taken = Taken::new(wanted);
        let loose = self.find(place).filter(|&at| self.slices[at].has_some());
        let very_place = to == Node::Place(self.settler.special.adjustment);
        let within = |other: PlaceIx| {
            !very_place && other != place && Node::Place(other) != to && self.settler.lies_in(other, place, key)
        };
        let Some(want) = wanted else {
            match loose {
                Some(at) => self.take_unknown(&mut taken, &[at]),
                None => self.take_unknown(&mut taken, &self.ranked(within)),
            }
            if taken.picks.is_empty() {
                taken.excess = Some(None);
            }
            return taken;
        };
        if let Some(at) = loose {
            let amount = self.slices[at].covers(want);
            taken.picks.push(Pick { place, amount: Some(amount), assumed: false });
        }
        let left = taken.left(want);
        if left > 0 {
            self.take_from(&mut taken, &self.ranked(within), left);
        }
        let left = taken.left(want);
        if left > 0 || taken.picks.is_empty() {
            taken.excess = Some(Some(left));
        }
        taken
    }

    /// A source nobody named: transit towards here first, then wherever it was (rulings 1, 4, 5).
    pub(super) fn take_unstated(&self, to: Node, wanted: Option<i128>, key: Key, said: Said) -> Taken {
        let sighting = said == Said::Seen;
        let by = if let Said::Received(by) = said { by } else { None };
        let mut taken = Taken::new(wanted);
        let mut want = wanted;
        if let (true, Node::Place(there)) = (sighting, to) {
            let present = self.ranked(|place| place == there || self.settler.lies_in(place, there, key));
            match want {
                None if !present.is_empty() => return taken,
                None => {}
                Some(amount) => {
                    let mut covered = 0;
                    for &at in &present {
                        covered += self.slices[at].covers(amount - covered);
                    }
                    want = Some(amount - covered);
                    if want == Some(0) && amount > 0 {
                        return taken;
                    }
                }
            }
        }
        let towards = self.transits_towards(to, key, by);
        let undeclared = self.undeclared_transits(to, key);
        let inside = |place: PlaceIx| {
            Node::Place(place) != to
                && self.settler.inside(place, key)
                && !(sighting && self.lies_there(place, to, key))
        };
        // What arrives has been under way; what turns up inside most likely never left.
        let arrives = matches!(said, Said::Received(_))
            || matches!(to, Node::Place(place) if self.settler.book.place_kind(place) == PlaceKind::Party);
        let inside = self.ranked(inside);
        let steps = if arrives { [towards, undeclared, inside] } else { [towards, inside, undeclared] };
        let Some(want) = want else {
            self.take_all_of_the_only(&mut taken, &steps);
            return taken;
        };
        taken.wanted = Some(want);
        for candidates in &steps {
            let left = taken.left(want);
            self.take_from(&mut taken, candidates, left);
        }
        let left = taken.left(want);
        if left > 0 {
            taken.excess = Some(Some(left));
        }
        taken
    }

    fn lies_there(&self, place: PlaceIx, to: Node, key: Key) -> bool {
        match to {
            Node::Place(there) => self.settler.lies_in(place, there, key),
            _ => false,
        }
    }

    fn take_all_of_the_only(&self, taken: &mut Taken, steps: &[Vec<usize>]) {
        for candidates in steps {
            match candidates[..] {
                [] => {}
                [only] => {
                    let slice = &self.slices[only];
                    let amount = (!slice.open_unknown).then_some(slice.balance);
                    taken.picks.push(Pick { place: slice.place, amount, assumed: false });
                    return;
                }
                _ => {
                    self.take_unknown(taken, candidates);
                    return;
                }
            }
        }
        taken.excess = Some(None);
    }

    /// Slices under way with shipments that say nowhere where they go: they may go here.
    fn undeclared_transits(&self, to: Node, key: Key) -> Vec<usize> {
        let settler = self.settler;
        self.ranked(|place| {
            Node::Place(place) != to
                && self.under_way(place, key).is_some_and(|transit| settler.bound_for(transit, key).is_none())
        })
    }

    /// The shipment that a slice is under way with, loose or in a container.
    fn under_way(&self, place: PlaceIx, key: Key) -> Option<PlaceIx> {
        let kind = |place| self.settler.book.place_kind(place);
        let may = matches!(kind(place), PlaceKind::Transit | PlaceKind::Container);
        let top = if may { self.settler.top(place, key) } else { None };
        top.filter(|top| kind(*top) == PlaceKind::Transit)
    }

    /// Slices under way to a destination, loose or in containers.
    fn transits_towards(&self, to: Node, key: Key, by: Option<PlaceIx>) -> Vec<usize> {
        let Node::Place(to) = to else { return Vec::new() };
        let settler = self.settler;
        let goal = match settler.book.place_kind(to) {
            PlaceKind::Location | PlaceKind::Party => Some(to),
            PlaceKind::Container => settler.top(to, key),
            PlaceKind::Vessel => settler.vessel_stands(to),
            _ => return Vec::new(),
        };
        self.ranked(|place| {
            let Some(transit) = self.under_way(place, key) else { return false };
            let Some(bound) = settler.bound_for(transit, key) else { return false };
            Some(bound) == by
                || goal.is_some_and(|goal| {
                    bound == goal || settler.master.is_below(goal, bound) || settler.master.is_below(bound, goal)
                })
        })
    }
}

impl Settler<'_> {
    /// The destination of a shipment that its latest fact before a step declares.
    pub(crate) fn bound_for(&self, shipment: PlaceIx, before: Key) -> Option<PlaceIx> {
        let mut best: Option<(Key, PlaceIx)> = None;
        for deed in self.book.deeds_of_place(shipment) {
            let row = self.book.deed_row(deed);
            let Deed::Bound { to, phase, .. } = row.deed else { continue };
            let key = self.key(row.fact, phase, row.leg);
            if self.book.in_force(row.fact, self.known)
                && self.order(&key, &before).is_le()
                && best.is_none_or(|(other, _)| self.order(&key, &other).is_gt())
            {
                best = Some((key, to));
            }
        }
        best.map(|(_, to)| to)
    }

    fn vessel_stands(&self, vessel: PlaceIx) -> Option<PlaceIx> {
        let mut best = None;
        for deed in self.book.deeds_of_place(vessel) {
            let row = self.book.deed_row(deed);
            if let Deed::Vessel { at, .. } = row.deed
                && self.book.in_force(row.fact, self.known)
                && best.is_none_or(|(other, _)| deed_order(self.book, deed, other).is_gt())
            {
                best = Some((deed, at));
            }
        }
        best.and_then(|(_, at)| at)
    }
}
