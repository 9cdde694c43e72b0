//! Where containers stand: a timeline each, from their moves, from what was emptied around them, and
//! from where they were first packed.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::book::{Deed, EndKind, FactIx, FlowIx, PlaceIx, PlaceKind};
use crate::effect::{ContainerMove, Phase};
use crate::id::Place;

use super::{Key, Settler};

/// One station of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Station {
    pub(crate) key: Key,
    pub(crate) place: Option<PlaceIx>,
}

/// Timelines computed so far, for one known commit.
#[derive(Debug, Default)]
pub(crate) struct Timelines {
    known: RefCell<FxHashMap<PlaceIx, Rc<Vec<Station>>>>,
    /// Being computed, innermost last: what is asked of them meanwhile is earlier than where they are.
    partial: RefCell<Vec<(PlaceIx, Vec<Station>)>>,
    /// Something looked into an unfinished one.
    saw_partial: Cell<bool>,
}

/// Nested deeper than this, a chain of containers counts as a cycle.
const DEPTH_MAX: usize = 64;

impl Settler<'_> {
    /// Where a container stands just before a step; `None` is `unplaced`.
    pub(crate) fn standing(&self, container: PlaceIx, before: Key) -> Option<PlaceIx> {
        let timeline = self.timeline(container);
        let at = timeline.partition_point(|station| self.order(&station.key, &before) == Ordering::Less);
        if at == 0 {
            return None;
        }
        timeline[at - 1].place
    }

    /// The place at the top of a chain of containers: a location, transit, party; `None` is `unplaced`.
    pub(crate) fn top(&self, place: PlaceIx, before: Key) -> Option<PlaceIx> {
        let mut at = place;
        for _ in 0..DEPTH_MAX {
            match self.book.place_kind(at) {
                PlaceKind::Container => at = self.standing(at, before)?,
                PlaceKind::Unplaced => return None,
                _ => return Some(at),
            }
        }
        None
    }

    /// The places where a container ever stood; none for anything else.
    pub(crate) fn stood_at(&self, place: PlaceIx) -> Vec<PlaceIx> {
        if self.book.place_kind(place) != PlaceKind::Container {
            return Vec::new();
        }
        self.timeline(place).iter().filter_map(|station| station.place).collect()
    }

    /// True when a place lies in another one just before a step, through containers and the tree.
    pub(crate) fn lies_in(&self, place: PlaceIx, above: PlaceIx, before: Key) -> bool {
        let mut at = place;
        for _ in 0..DEPTH_MAX {
            if at == above {
                return true;
            }
            match self.book.place_kind(at) {
                PlaceKind::Container => match self.standing(at, before) {
                    Some(next) => at = next,
                    None => return false,
                },
                PlaceKind::Location => return self.master.is_below(at, above),
                _ => return false,
            }
        }
        false
    }

    /// True when what is in a place is inside the walls just before a step.
    pub(crate) fn inside(&self, place: PlaceIx, before: Key) -> bool {
        match self.book.place_kind(place) {
            PlaceKind::Location | PlaceKind::Unplaced => true,
            PlaceKind::Container => {
                self.top(place, before).is_none_or(|top| self.book.place_kind(top) == PlaceKind::Location)
            }
            _ => false,
        }
    }

    /// When the goods in a container came to be where, and by which fact.
    pub(super) fn station_causes(&self, container: PlaceIx, as_of: i64) -> Vec<(i64, Option<PlaceIx>, FactIx)> {
        // A container's place changes with its own stations and with those of what it stands in.
        let mut changes: Vec<(i64, FactIx)> = Vec::new();
        let mut around = vec![container];
        for depth in 0..around.len().max(DEPTH_MAX) {
            let Some(&at) = around.get(depth) else { break };
            for station in self.timeline(at).iter() {
                changes.push((station.key.instant, station.key.fact));
                if let Some(place) = station.place
                    && self.book.place_kind(place) == PlaceKind::Container
                    && !around.contains(&place)
                {
                    around.push(place);
                }
            }
        }
        changes.retain(|(instant, _)| *instant <= as_of);
        changes.sort_unstable();
        changes.dedup_by_key(|change| change.0);
        let mut stations: Vec<(i64, Option<PlaceIx>, FactIx)> = Vec::new();
        for (instant, fact) in changes {
            let top = self.top(container, Key::end_of(instant));
            if stations.last().is_none_or(|last| last.1 != top) {
                stations.push((instant, top, fact));
            }
        }
        stations
    }

    fn timeline(&self, container: PlaceIx) -> Rc<Vec<Station>> {
        if let Some(known) = self.timelines.known.borrow().get(&container) {
            return known.clone();
        }
        if let Some((_, partial)) = self.timelines.partial.borrow().iter().find(|(of, _)| *of == container) {
            self.timelines.saw_partial.set(true);
            return Rc::new(partial.clone());
        }
        let before = self.timelines.saw_partial.replace(false);
        self.timelines.partial.borrow_mut().push((container, Vec::new()));
        let timeline = Rc::new(self.compute_timeline(container));
        self.timelines.partial.borrow_mut().pop();
        // What looked into an unfinished one may have seen only a part of it; the outermost saw all.
        if !self.timelines.saw_partial.get() || self.timelines.partial.borrow().is_empty() {
            self.timelines.known.borrow_mut().insert(container, timeline.clone());
        }
        self.timelines.saw_partial.set(before || self.timelines.saw_partial.get());
        timeline
    }

    fn publish(&self, stations: &[Station]) {
        if let Some((_, partial)) = self.timelines.partial.borrow_mut().last_mut() {
            partial.clear();
            partial.extend_from_slice(stations);
        }
    }

    fn compute_timeline(&self, container: PlaceIx) -> Vec<Station> {
        let mut moves: Vec<(Key, PlaceIx, ContainerMove)> = Vec::new();
        for deed in self.book.deeds_of_place(container) {
            let row = self.book.deed_row(deed);
            if let Deed::Move { to, how, .. } = row.deed
                && self.book.in_force(row.fact, self.known)
            {
                moves.push((self.key(row.fact, Phase::Draw, row.leg), to, how));
            }
        }
        moves.sort_by(|a, b| self.order(&a.0, &b.0));
        let mut stations: Vec<Station> = Vec::new();
        let packed_with = moves.iter().find(|(_, _, how)| *how == ContainerMove::PackedWith).map(|first| first.0);
        let moved = moves.iter().find(|(_, _, how)| *how != ContainerMove::PackedWith).map(|first| first.0);
        if let Some(first) = self.first_packing(container, moved, packed_with) {
            stations.push(first);
        }
        for (index, (key, to, how)) in moves.iter().enumerate() {
            self.carry_out_emptied(container, &mut stations, *key);
            self.publish(&stations);
            let now = stations.last().and_then(|station| station.place);
            let place = match how {
                ContainerMove::Moved => Some(*to),
                ContainerMove::Seen => {
                    let there = now.is_some_and(|now| self.lies_in(now, *to, *key));
                    if there { now } else { Some(*to) }
                }
                ContainerMove::TakenOut => self.standing(*to, *key),
                ContainerMove::PackedWith => {
                    let nowhere = stations.iter().all(|station: &Station| station.place.is_none());
                    if nowhere { self.standing(*to, *key) } else { now }
                }
                ContainerMove::PackedAt => {
                    if stations.is_empty() {
                        Some(*to)
                    } else {
                        now
                    }
                }
            };
            let place = if place.is_none_or(|place| self.can_stand(place)) { place } else { now };
            let closes = place.is_some_and(|place| self.would_close(container, place, *key));
            stations.push(Station { key: *key, place: if closes { None } else { place } });
            if index + 1 == moves.len() {
                self.carry_out_emptied(container, &mut stations, Key::END);
            }
        }
        if moves.is_empty() {
            self.carry_out_emptied(container, &mut stations, Key::END);
        }
        stations
    }

    fn can_stand(&self, place: PlaceIx) -> bool {
        use PlaceKind::{Container, Location, Party, Transit};
        matches!(self.book.place_kind(place), Location | Container | Transit | Party)
    }

    fn would_close(&self, container: PlaceIx, mut place: PlaceIx, before: Key) -> bool {
        for _ in 0..DEPTH_MAX {
            if place == container {
                return true;
            }
            if self.book.place_kind(place) != PlaceKind::Container {
                return false;
            }
            match self.standing(place, before) {
                Some(next) => place = next,
                None => return false,
            }
        }
        true
    }

    /// While it stands in a container or a transit, emptying that takes it along.
    fn carry_out_emptied(&self, container: PlaceIx, stations: &mut Vec<Station>, until: Key) {
        for _ in 0..DEPTH_MAX {
            let Some(Station { key, place: Some(place) }) = stations.last().copied() else { return };
            if !matches!(self.book.place_kind(place), PlaceKind::Container | PlaceKind::Transit) {
                return;
            }
            let Some((when, to)) = self.next_emptying(place, key, until) else { return };
            let to = to.or_else(|| self.beside(place, when));
            let closes = to.is_some_and(|to| self.would_close(container, to, when));
            stations.push(Station { key: when, place: if closes { None } else { to } });
        }
    }

    /// Where what comes out of a container or transit lies when nothing else is said.
    pub(crate) fn beside(&self, place: PlaceIx, before: Key) -> Option<PlaceIx> {
        match self.book.place_kind(place) {
            PlaceKind::Container => self.standing(place, before),
            _ => Some(place),
        }
    }

    fn next_emptying(&self, place: PlaceIx, after: Key, until: Key) -> Option<(Key, Option<PlaceIx>)> {
        let mut next: Option<(Key, Option<PlaceIx>)> = None;
        for deed in self.book.deeds_of_place(place) {
            let row = self.book.deed_row(deed);
            let Deed::Empty { to, .. } = row.deed else { continue };
            if !self.book.in_force(row.fact, self.known) {
                continue;
            }
            let key = self.key(row.fact, Phase::Sourceless, row.leg);
            let between = self.order(&key, &after) == Ordering::Greater && self.order(&key, &until) == Ordering::Less;
            if between && next.as_ref().is_none_or(|(other, _)| self.order(&key, other) == Ordering::Less) {
                next = Some((key, to));
            }
        }
        next
    }

    /// A container first seen by packing is where the packed goods are (ruling 28).
    fn first_packing(&self, container: PlaceIx, first_move: Option<Key>, packed_with: Option<Key>) -> Option<Station> {
        let mut first: Option<(Key, FlowIx)> = None;
        for flow in self.book.flows_to(EndKind::Place(container)) {
            let row = self.book.stated(flow);
            let later = self.book.fact(row.fact).instant > self.as_of;
            if !row.packs || later || !self.book.in_force(row.fact, self.known) {
                continue;
            }
            let key = self.key(row.fact, row.phase, row.leg);
            if first.as_ref().is_none_or(|(other, _)| self.order(&key, other) == Ordering::Less) {
                first = Some((key, flow));
            }
        }
        let (key, flow) = first?;
        // An earlier packing of containers alone was the first.
        if packed_with.is_some_and(|with| with.fact != key.fact && self.order(&with, &key) == Ordering::Less) {
            return None;
        }
        // Where a place is stated the container stood there all along; else only settlement can tell.
        if let Some(place) = self.packed_stated(flow) {
            return Some(Station { key: Key::BEGIN, place: Some(place) });
        }
        if first_move.is_some_and(|moved| self.order(&moved, &key) == Ordering::Less) {
            return None;
        }
        let place = self.packed_where(flow, key);
        let closes = place.is_some_and(|place| place == container);
        Some(Station { key, place: if closes { None } else { place } })
    }

    fn packed_stated(&self, flow: FlowIx) -> Option<PlaceIx> {
        if let Some(at) = self.book.extra(flow).and_then(|extra| extra.packed_at.clone()) {
            return self.book.find_place(&Place::Location(at));
        }
        match self.book.stated(flow).from.kind() {
            EndKind::Place(place) if self.book.place_kind(place) == PlaceKind::Location => Some(place),
            _ => None,
        }
    }

    fn packed_where(&self, flow: FlowIx, key: Key) -> Option<PlaceIx> {
        let row = *self.book.stated(flow);
        match row.from.kind() {
            EndKind::Place(place) => self.beside_or_self(place, key),
            _ => {
                let settled = self.settle_until(row.batch, key, Some(flow));
                let from =
                    settled.flows.iter().find(|settled| settled.stated == Some(flow)).map(|settled| settled.from);
                match from {
                    Some(super::Node::Place(place)) => self.beside_or_self(place, key),
                    _ => None,
                }
            }
        }
    }

    /// Goods packed out of a container into another: that one stands beside the first.
    fn beside_or_self(&self, place: PlaceIx, key: Key) -> Option<PlaceIx> {
        match self.book.place_kind(place) {
            PlaceKind::Container => self.standing(place, key),
            PlaceKind::Location => Some(place),
            _ => None,
        }
    }

    /// Containers whose packing named another place than where they stood (ruling 28).
    pub(crate) fn packed_elsewhere(&self, flow: FlowIx, fact: FactIx, container: PlaceIx, key: Key) -> bool {
        let row = self.book.stated(flow);
        debug_assert_eq!(row.fact, fact);
        let Some(stands) = self.top(container, key) else { return false };
        let said = match self.book.extra(flow).and_then(|extra| extra.packed_at.clone()) {
            Some(at) => self.book.find_place(&Place::Location(at)),
            None => match row.from.kind() {
                EndKind::Place(place) => self.top(place, key),
                _ => None,
            },
        };
        let Some(said) = said else { return false };
        !(self.lies_in(stands, said, key) || self.lies_in(said, stands, key))
    }
}
