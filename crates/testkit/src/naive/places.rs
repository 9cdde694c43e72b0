//! Section 3: the tree of locations, and where containers stand.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Fact, MixModel};
use lotline_domain::id::{ContainerId, LocationId, Place, VesselId};

use super::live::Live;

/// The tree of locations and the definitions of vessels, for all time.
pub struct Sites {
    parent: BTreeMap<LocationId, LocationId>,
    zones: BTreeMap<LocationId, Option<String>>,
    vessels: BTreeMap<VesselId, (MixModel, Option<LocationId>)>,
}

impl Sites {
    /// `live` is in step order: later definitions of a place replace earlier ones.
    pub fn new(live: &[Live]) -> Self {
        let mut last: Vec<(LocationId, Option<LocationId>)> = Vec::new();
        let (mut vessels, mut zones) = (BTreeMap::new(), BTreeMap::new());
        for event in live {
            match &event.fact {
                Fact::PlaceDefined { place, parent, time_zone, .. } => {
                    zones.insert(place.clone(), time_zone.clone());
                    last.retain(|(known, _)| known != place);
                    last.push((place.clone(), parent.clone()));
                }
                Fact::VesselDefined { vessel, mix, at } => drop(vessels.insert(vessel.clone(), (*mix, at.clone()))),
                _ => {}
            }
        }
        let mut sites = Self { parent: BTreeMap::new(), zones, vessels };
        // CHOICE: of the definitions that together close a cycle the last one in step order is ignored.
        for (place, parent) in last {
            if let Some(parent) = parent
                && parent != place
                && !sites.is_below(&parent, &place)
            {
                sites.parent.insert(place, parent);
            }
        }
        sites
    }

    /// The zone that a location's last definition says.
    pub fn zone(&self, place: &LocationId) -> Option<&str> {
        self.zones.get(place)?.as_deref()
    }

    pub fn parent(&self, place: &LocationId) -> Option<&LocationId> {
        self.parent.get(place)
    }

    /// Strictly below in the tree.
    pub fn is_below(&self, place: &LocationId, above: &LocationId) -> bool {
        let mut at = place;
        while let Some(parent) = self.parent.get(at) {
            if parent == above {
                return true;
            }
            at = parent;
        }
        false
    }

    /// The same place, or one above or below the other.
    pub fn are_in_line(&self, a: &LocationId, b: &LocationId) -> bool {
        a == b || self.is_below(a, b) || self.is_below(b, a)
    }

    pub fn mix(&self, vessel: &VesselId) -> MixModel {
        self.vessels.get(vessel).map_or(MixModel::Full, |(mix, _)| *mix)
    }

    pub fn vessel_at(&self, vessel: &VesselId) -> Option<&LocationId> {
        self.vessels.get(vessel).and_then(|(_, at)| at.as_ref())
    }
}

/// Where every container stands, as settlement goes along.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// By its last move.
    moved: BTreeMap<ContainerId, Place>,
    /// By its first packing, until its first move.
    packed: BTreeMap<ContainerId, Place>,
}

impl Standing {
    /// The place that a container was put at: a location, a container, transit, a party, or `unplaced`.
    pub fn of(&self, container: &ContainerId) -> Place {
        self.moved.get(container).or_else(|| self.packed.get(container)).cloned().unwrap_or(Place::Unplaced)
    }

    /// Moves a container. Vessels and sinks are no places for one; a move into what it holds itself
    /// leaves it `unplaced`.
    pub fn put(&mut self, container: &ContainerId, to: &Place) {
        if matches!(to, Place::Vessel(_) | Place::Sink(_)) {
            return;
        }
        let to =
            if self.chain(to).contains(&Place::Container(container.clone())) { Place::Unplaced } else { to.clone() };
        self.moved.insert(container.clone(), to);
    }

    /// Where the first packing took the goods from; counts until the container is moved.
    pub fn pack_first(&mut self, container: &ContainerId, goods_from: &Place) {
        if self.packed.contains_key(container) {
            return;
        }
        // Goods in a container are where that stands: the new one stands beside it, not in it.
        let at = match goods_from {
            Place::Container(other) => self.of(other),
            Place::Vessel(_) | Place::Sink(_) => Place::Unplaced,
            place => place.clone(),
        };
        let circular = self.chain(&at).contains(&Place::Container(container.clone()));
        self.packed.insert(container.clone(), if circular { Place::Unplaced } else { at });
    }

    /// The containers that were put directly at a place.
    pub fn standing_at(&self, place: &Place) -> Vec<ContainerId> {
        let known: BTreeSet<&ContainerId> = self.moved.keys().chain(self.packed.keys()).collect();
        known.into_iter().filter(|container| self.of(container) == *place).cloned().collect()
    }

    /// Every container that ever stood anywhere.
    pub fn containers(&self) -> Vec<ContainerId> {
        let known: BTreeSet<&ContainerId> = self.moved.keys().chain(self.packed.keys()).collect();
        known.into_iter().cloned().collect()
    }

    /// The place and all places that it is in, through containers.
    fn chain(&self, place: &Place) -> Vec<Place> {
        let mut chain = vec![place.clone()];
        while let Some(Place::Container(container)) = chain.last().cloned() {
            let next = self.of(&container);
            if chain.contains(&next) {
                chain.push(Place::Unplaced);
                break;
            }
            chain.push(next);
        }
        chain
    }

    /// The place itself, or for a container the one that it stands at in the end.
    pub fn root(&self, place: &Place) -> Place {
        self.chain(place).pop().unwrap_or(Place::Unplaced)
    }

    /// In `outer` or in a sub-place of it, directly or in a container; not `outer` itself.
    pub fn is_within(&self, place: &Place, outer: &Place, sites: &Sites) -> bool {
        if place == outer {
            return false;
        }
        let chain = self.chain(place);
        let below = match (chain.last(), outer) {
            (Some(Place::Location(at)), Place::Location(named)) => sites.is_below(at, named),
            _ => false,
        };
        below || chain.contains(outer)
    }

    /// Inside the walls: a location, `unplaced`, or a container that stands there. A vessel is neither
    /// in nor out for the rules that ask this: its content has a rule of its own.
    pub fn is_inside(&self, place: &Place) -> bool {
        matches!(self.root(place), Place::Location(_) | Place::Unplaced)
    }
}
