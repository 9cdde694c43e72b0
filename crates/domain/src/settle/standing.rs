//! Where containers stand: a timeline each, from their moves, from what was emptied around them, and
//! from where they were first packed.
//!
//! A timeline is told as far as somebody asks and no further, and every turn of it once. A turn looks
//! only at what was before it, at other containers as at settled batches, so telling it always ends.

use std::cell::RefCell;
use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use crate::book::{BatchIx, Deed, EndKind, FactIx, FlowIx, PlaceIx, PlaceKind};
use crate::effect::{ContainerMove, Phase};
use crate::id::Place;

use super::{Key, Node, Settler};

/// One station of a container.
#[derive(Debug, Clone, Copy)]
struct Station {
    key: Key,
    place: Option<PlaceIx>,
}

/// Timelines told so far, for one known commit.
#[derive(Debug, Default)]
pub(crate) struct Timelines {
    lines: RefCell<FxHashMap<PlaceIx, Line>>,
    /// Where packings without a stated place took their goods from, as the sweeps of their batches found.
    packed_from: RefCell<FxHashMap<FlowIx, Node>>,
}

/// The timeline of one container.
#[derive(Debug)]
struct Line {
    /// What its own facts say, in step order.
    planned: Vec<(Key, Turn)>,
    /// The first of them that is not told.
    next: usize,
    /// Told.
    stations: Vec<Station>,
    /// What comes next: before that step nothing more will change.
    upcoming: Option<(Key, Turn)>,
}

/// What moves a container.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// It is first packed, by a flow that states no place.
    Packed(FlowIx),
    /// Its own fact.
    Moved(PlaceIx, ContainerMove),
    /// The place that it stands in is emptied, to somewhere or beside it.
    Emptied(PlaceIx, Option<PlaceIx>),
}

/// A container whose timeline is not told up to a step.
#[derive(Debug, Clone, Copy)]
struct Untold(PlaceIx, Key);

/// Nested deeper than this, a chain of containers counts as a cycle.
const DEPTH_MAX: usize = 64;

impl Settler<'_> {
    /// Where a container stands just before a step; `None` is `unplaced`.
    pub(crate) fn standing(&self, container: PlaceIx, before: Key) -> Option<PlaceIx> {
        self.tell(|| self.stood(container, before))
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

    /// The places where a container stood before a step; none for anything else.
    pub(crate) fn stood_at(&self, place: PlaceIx, before: Key) -> Vec<PlaceIx> {
        if self.book.place_kind(place) != PlaceKind::Container {
            return Vec::new();
        }
        let stations = self.stations_before(place, before);
        stations.into_iter().filter_map(|station| station.place).collect()
    }

    /// True when a place lies in another one just before a step, through containers and the tree.
    pub(crate) fn lies_in(&self, place: PlaceIx, above: PlaceIx, before: Key) -> bool {
        if place == above {
            return true;
        }
        match self.book.place_kind(place) {
            PlaceKind::Container => self.tell(|| self.lay_in(place, above, before)),
            PlaceKind::Location => self.master.is_below(place, above),
            _ => false,
        }
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

    /// Where the goods in a container were over time: each station from when on, its top place.
    pub fn stations(&self, container: PlaceIx, as_of: i64) -> Vec<(i64, Option<PlaceIx>)> {
        let mut changes: Vec<i64> =
            self.turns_around(container, Key::end_of(as_of)).into_iter().map(|key| key.instant).collect();
        changes.dedup();
        let mut stations: Vec<(i64, Option<PlaceIx>)> = Vec::new();
        for instant in changes {
            let top = self.top(container, Key::end_of(instant));
            if stations.last().is_none_or(|last| last.1 != top) {
                stations.push((instant, top));
            }
        }
        stations
    }

    /// The steps before another one at which a container may have come elsewhere, in their order: its own
    /// stations, and those of what it stood in.
    pub(super) fn turns_around(&self, container: PlaceIx, before: Key) -> Vec<Key> {
        let mut turns: Vec<Key> = Vec::new();
        let mut around = vec![container];
        let mut depth = 0;
        while let Some(&at) = around.get(depth) {
            for station in self.stations_before(at, before) {
                turns.push(station.key);
                if let Some(place) = station.place
                    && self.book.place_kind(place) == PlaceKind::Container
                    && !around.contains(&place)
                {
                    around.push(place);
                }
            }
            depth += 1;
        }
        turns.sort_by(|a, b| self.order(a, b));
        turns.dedup();
        turns
    }

    fn stations_before(&self, container: PlaceIx, before: Key) -> Vec<Station> {
        self.standing(container, before);
        let lines = self.timelines.lines.borrow();
        let stations = lines.get(&container).map_or(&[][..], |line| &line.stations[..]);
        let many = stations.partition_point(|station| self.order(&station.key, &before).is_lt());
        stations[..many].to_vec()
    }

    /// Where a container stood just before a step, if its timeline is told so far.
    fn stood(&self, container: PlaceIx, before: Key) -> Result<Option<PlaceIx>, Untold> {
        let lines = self.timelines.lines.borrow();
        let line = lines.get(&container).ok_or(Untold(container, before))?;
        if line.upcoming.is_some_and(|(upcoming, _)| self.order(&upcoming, &before).is_lt()) {
            return Err(Untold(container, before));
        }
        let many = line.stations.partition_point(|station| self.order(&station.key, &before).is_lt());
        Ok(many.checked_sub(1).and_then(|last| line.stations[last].place))
    }

    fn lay_in(&self, place: PlaceIx, above: PlaceIx, before: Key) -> Result<bool, Untold> {
        let mut at = place;
        for _ in 0..DEPTH_MAX {
            if at == above {
                return Ok(true);
            }
            match self.book.place_kind(at) {
                PlaceKind::Container => match self.stood(at, before)? {
                    Some(next) => at = next,
                    None => return Ok(false),
                },
                PlaceKind::Location => return Ok(self.master.is_below(at, above)),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Asks until all that it asks for is told.
    fn tell<T>(&self, ask: impl Fn() -> Result<T, Untold>) -> T {
        loop {
            match ask() {
                Ok(answer) => return answer,
                Err(untold) => self.go_on(untold),
            }
        }
    }

    /// Tells a timeline up to a step, and before each turn of it the others that it looks at.
    fn go_on(&self, untold: Untold) {
        let mut asked = vec![untold];
        while let Some(&Untold(container, before)) = asked.last() {
            self.plan(container);
            let upcoming = self.timelines.lines.borrow().get(&container).and_then(|line| line.upcoming);
            let Some((key, turn)) = upcoming.filter(|(key, _)| self.order(key, &before).is_lt()) else {
                asked.pop();
                continue;
            };
            match self.turn(container, key, turn) {
                Ok(station) => self.push(container, key, station),
                Err(earlier) => asked.push(earlier),
            }
        }
    }

    /// Adds the station that a turn leads to, and looks for the next turn.
    fn push(&self, container: PlaceIx, key: Key, place: Option<Option<PlaceIx>>) {
        let mut lines = self.timelines.lines.borrow_mut();
        let line = lines.get_mut(&container).expect("a timeline is planned before it is told");
        if line.planned.get(line.next).is_some_and(|(planned, _)| *planned == key) {
            line.next += 1;
        }
        line.stations.extend(place.map(|place| Station { key, place }));
        line.upcoming = self.upcoming(line);
    }

    /// The next fact of its own, or an earlier emptying of what it stands in.
    fn upcoming(&self, line: &Line) -> Option<(Key, Turn)> {
        let planned = line.planned.get(line.next).copied();
        let Some(Station { key, place: Some(place) }) = line.stations.last().copied() else { return planned };
        if !matches!(self.book.place_kind(place), PlaceKind::Container | PlaceKind::Transit) {
            return planned;
        }
        let until = planned.map_or(Key::END, |(key, _)| key);
        let emptied = self.next_emptying(place, key, until);
        emptied.map(|(key, to)| (key, Turn::Emptied(place, to))).or(planned)
    }

    fn plan(&self, container: PlaceIx) {
        if self.timelines.lines.borrow().contains_key(&container) {
            return;
        }
        let mut planned: Vec<(Key, Turn)> = Vec::new();
        let mut moved: Option<Key> = None;
        let mut packed: Option<(Key, First)> = None;
        for deed in self.book.deeds_of_place(container) {
            let row = self.book.deed_row(deed);
            let Deed::Move { to, how, .. } = row.deed else { continue };
            if !self.book.in_force(row.fact, self.known) {
                continue;
            }
            let key = self.key(row.fact, Phase::Draw, row.leg);
            let later = key.instant > self.as_of;
            match how {
                ContainerMove::PackedAt if !later => self.pack_first(&mut packed, key, First::At(to)),
                ContainerMove::PackedWith if !later => self.pack_first(&mut packed, key, First::With),
                ContainerMove::PackedAt | ContainerMove::PackedWith => {}
                ContainerMove::Moved | ContainerMove::Seen if !self.can_stand(to) => continue,
                _ if moved.is_none_or(|other| self.order(&key, &other).is_lt()) => moved = Some(key),
                _ => {}
            }
            planned.push((key, Turn::Moved(to, how)));
        }
        let mut stations = Vec::new();
        match self.first_packing(container, moved, packed) {
            Some(Packing::Stated(place)) => stations.push(Station { key: Key::BEGIN, place: Some(place) }),
            Some(Packing::Settled(key, flow)) => planned.push((key, Turn::Packed(flow))),
            None => {}
        }
        planned.sort_by(|a, b| self.order(&a.0, &b.0));
        let mut line = Line { planned, next: 0, stations, upcoming: None };
        line.upcoming = self.upcoming(&line);
        self.timelines.lines.borrow_mut().insert(container, line);
    }

    /// Where a turn leads to; the outer `None` is nowhere else.
    fn turn(&self, container: PlaceIx, key: Key, turn: Turn) -> Result<Option<Option<PlaceIx>>, Untold> {
        let now = self.stood(container, key)?;
        let to = match turn {
            Turn::Packed(flow) => {
                // Settling may tell other timelines; nothing is borrowed here.
                return Ok(Some(self.packed_where(flow, key)?.filter(|place| *place != container)));
            }
            Turn::Emptied(place, to) => match to {
                Some(to) => Some(to),
                None => self.besides(place, key)?,
            },
            Turn::Moved(to, how) => {
                let place = match how {
                    ContainerMove::Moved => Some(to),
                    ContainerMove::Seen => match now {
                        Some(now) if self.lay_in(now, to, key)? => Some(now),
                        _ => Some(to),
                    },
                    ContainerMove::TakenOut => self.stood(to, key)?,
                    // Only the first packing says where a container stands, and only one that nothing moved before.
                    ContainerMove::PackedWith if self.has_no_station(container) => self.stood(to, key)?,
                    ContainerMove::PackedWith | ContainerMove::PackedAt => now,
                };
                if place.is_none_or(|place| self.can_stand(place)) { place } else { now }
            }
        };
        let closes = match to {
            Some(to) => self.would_close(container, to, key)?,
            None => false,
        };
        Ok(Some(if closes { None } else { to }))
    }

    fn has_no_station(&self, container: PlaceIx) -> bool {
        self.timelines.lines.borrow().get(&container).is_none_or(|line| line.stations.is_empty())
    }

    fn can_stand(&self, place: PlaceIx) -> bool {
        use PlaceKind::{Container, Location, Party, Transit};
        matches!(self.book.place_kind(place), Location | Container | Transit | Party)
    }

    fn would_close(&self, container: PlaceIx, mut place: PlaceIx, before: Key) -> Result<bool, Untold> {
        for _ in 0..DEPTH_MAX {
            if place == container {
                return Ok(true);
            }
            if self.book.place_kind(place) != PlaceKind::Container {
                return Ok(false);
            }
            match self.stood(place, before)? {
                Some(next) => place = next,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Where what comes out of a container or transit lies when nothing else is said.
    pub(crate) fn beside(&self, place: PlaceIx, before: Key) -> Option<PlaceIx> {
        self.tell(|| self.besides(place, before))
    }

    fn besides(&self, place: PlaceIx, before: Key) -> Result<Option<PlaceIx>, Untold> {
        match self.book.place_kind(place) {
            PlaceKind::Container => self.stood(place, before),
            _ => Ok(Some(place)),
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

    fn pack_first(&self, first: &mut Option<(Key, First)>, key: Key, how: First) {
        if first.is_none_or(|(other, _)| self.order(&key, &other).is_lt()) {
            *first = Some((key, how));
        }
    }

    /// A container first seen by packing is where the packed goods are (ruling 28).
    fn first_packing(
        &self,
        container: PlaceIx,
        moved: Option<Key>,
        mut packed: Option<(Key, First)>,
    ) -> Option<Packing> {
        for flow in self.book.flows_to(EndKind::Place(container)) {
            let row = self.book.stated(flow);
            let later = self.book.fact(row.fact).instant > self.as_of;
            if row.packs && !later && self.book.in_force(row.fact, self.known) {
                self.pack_first(&mut packed, self.key(row.fact, row.phase, row.leg), First::Goods(flow));
            }
        }
        // Where a place is stated the container stood there all along; else only settlement can tell.
        match packed? {
            (_, First::At(place)) => Some(Packing::Stated(place)),
            (_, First::With) => None,
            (key, First::Goods(flow)) => match self.packed_stated(flow) {
                Some(place) => Some(Packing::Stated(place)),
                None if moved.is_some_and(|moved| self.order(&moved, &key).is_lt()) => None,
                None => Some(Packing::Settled(key, flow)),
            },
        }
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

    /// A sweep found where a packing took its goods from: nobody has to settle again to know it.
    pub(super) fn packed(&self, flow: FlowIx, from: Node) {
        self.timelines.packed_from.borrow_mut().entry(flow).or_insert(from);
    }

    fn packed_where(&self, flow: FlowIx, key: Key) -> Result<Option<PlaceIx>, Untold> {
        let row = *self.book.stated(flow);
        let from = match row.from.kind() {
            EndKind::Place(place) => Some(Node::Place(place)),
            _ => self.packed_from(flow, row.batch, key),
        };
        match from {
            Some(Node::Place(place)) => self.beside_or_self(place, key),
            _ => Ok(None),
        }
    }

    fn packed_from(&self, flow: FlowIx, batch: BatchIx, key: Key) -> Option<Node> {
        let found = |settler: &Self| settler.timelines.packed_from.borrow().get(&flow).copied();
        if let Some(known) = found(self) {
            return Some(known);
        }
        // The sweep tells it on its way.
        self.settle_until(self.resolve(batch), key, Some(flow));
        found(self)
    }

    /// Goods packed out of a container into another: that one stands beside the first.
    fn beside_or_self(&self, place: PlaceIx, key: Key) -> Result<Option<PlaceIx>, Untold> {
        match self.book.place_kind(place) {
            PlaceKind::Container => self.stood(place, key),
            PlaceKind::Location | PlaceKind::Transit | PlaceKind::Party => Ok(Some(place)),
            _ => Ok(None),
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

/// What a container was first packed with.
#[derive(Debug, Clone, Copy)]
enum First {
    /// With goods.
    Goods(FlowIx),
    /// With containers, at a stated place.
    At(PlaceIx),
    /// With containers.
    With,
}

/// Where the first packing of a container puts it.
#[derive(Debug, Clone, Copy)]
enum Packing {
    /// At a stated place, from the beginning.
    Stated(PlaceIx),
    /// Where its goods were taken from, which is known once that flow is settled.
    Settled(Key, FlowIx),
}
