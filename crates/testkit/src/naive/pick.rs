//! Sections 3 and 4: from which slices a flow comes.

use lotline_domain::fact::Destination;
use lotline_domain::id::{PartyId, Place, Sink};

use super::names::Batch;
use super::number::{Number, least, zero};
use super::settle::{Node, Settled};
use super::steps::Reason;

/// A part of a flow from one place; `None` of unknown quantity.
pub struct Pick {
    pub place: Place,
    pub amount: Option<Number>,
    pub assumed: bool,
}

/// What was found for a flow.
#[derive(Default)]
pub struct Picked {
    pub picks: Vec<Pick>,
    /// Candidates that it may as well have come from.
    pub links: Vec<Place>,
    pub ambiguous: bool,
    /// What no candidate covers; `None` when the flow is of unknown quantity and has no candidate.
    pub rest: Option<Number>,
}

impl Settled {
    /// Slices of a batch that hold something, by earliest arrival, then by written place.
    fn candidates(&self, batch: &Batch, fits: impl Fn(&Place) -> bool) -> Vec<Place> {
        let mut found: Vec<(Option<lotline_domain::time::Instant>, String, Place)> = Vec::new();
        for ((of, place), book) in &self.slices {
            if of == batch && book.has_some() && fits(place) && !matches!(place, Place::Vessel(_) | Place::Sink(_)) {
                found.push((book.since, place.to_string(), place.clone()));
            }
        }
        found.sort();
        found.into_iter().map(|(_, _, place)| place).collect()
    }

    /// Takes from candidates of one step in their order.
    fn take_in_order(&self, batch: &Batch, candidates: &[Place], wanted: &Number, picked: &mut Picked) -> Number {
        let mut left = wanted.clone();
        let open = candidates.iter().any(|place| self.book(batch, place).open);
        let sum = candidates.iter().fold(zero(), |sum, place| sum + self.book(batch, place).balance);
        let ambiguous = candidates.len() > 1 && (open || sum != *wanted) && *wanted > zero();
        picked.ambiguous |= ambiguous;
        for place in candidates {
            let book = self.book(batch, place);
            let part = if book.open { left.clone() } else { least(&left, &book.balance) };
            if ambiguous && part < *wanted {
                picked.links.push(place.clone());
            }
            if part > zero() {
                left -= &part;
                picked.picks.push(Pick { place: place.clone(), amount: Some(part), assumed: ambiguous });
            }
        }
        left
    }

    /// Section 3: a named source covers what is loose there first, then what lies below it.
    ///
    /// CHOICE: transit and parties cover what stands in them as locations do; the destination itself is
    /// never a source; candidates that were not picked have possible links, as in section 4 (ruling 4).
    pub fn pick_named(&self, batch: &Batch, named: &Place, to: &Node, amount: Option<&Number>) -> Picked {
        let mut picked = Picked::default();
        // An adjustment speaks of that very place alone.
        let adjusts = matches!(to, Node::Slice(_, Place::Sink(Sink::Adjustment)));
        let Some(amount) = amount else {
            // What is loose there, else what lies in it; else the very slice, and nobody knows from where.
            picked.rest = Some(zero());
            let below = self.candidates(batch, |place| {
                self.standing.is_within(place, named, &self.sites) && Node::Slice(batch.clone(), place.clone()) != *to
            });
            match below.as_slice() {
                [first, others @ ..] if !adjusts && !self.book(batch, named).has_some() => {
                    picked.picks.push(Pick { place: first.clone(), amount: None, assumed: !others.is_empty() });
                    picked.ambiguous = !others.is_empty();
                    picked.links.extend_from_slice(others);
                }
                _ => picked.picks.push(Pick { place: named.clone(), amount: None, assumed: false }),
            }
            return picked;
        };
        if adjusts || matches!(named, Place::Vessel(_) | Place::Sink(_)) || *amount == zero() {
            picked.picks.push(Pick { place: named.clone(), amount: Some(amount.clone()), assumed: false });
            picked.rest = Some(zero());
            return picked;
        }
        let loose = self.book(batch, named);
        let first =
            if loose.open { amount.clone() } else { least(amount, &super::number::not_below_zero(&loose.balance)) };
        let below = self.candidates(batch, |place| {
            self.standing.is_within(place, named, &self.sites) && Node::Slice(batch.clone(), place.clone()) != *to
        });
        let left = self.take_in_order(batch, &below, &(amount - &first), &mut picked);
        // What is still missing overdraws the named slice itself.
        let own = first + left;
        if own > zero() {
            picked.picks.insert(0, Pick { place: named.clone(), amount: Some(own), assumed: false });
        }
        picked.rest = Some(zero());
        picked
    }

    /// Section 4: the source is not stated.
    pub fn pick_unnamed(&self, batch: &Batch, to: &Node, amount: Option<&Number>, reason: &Reason) -> Picked {
        let destination = match to {
            Node::Slice(_, place) => Some(place.clone()),
            _ => None,
        };
        let covered = match (reason, &destination) {
            (Reason::Seen, Some(place)) => self.there(batch, place),
            _ => Vec::new(),
        };
        let mut picked = Picked { rest: Some(zero()), ..Picked::default() };
        let mut wanted = amount.cloned();
        if !covered.is_empty() {
            let open = covered.iter().any(|place| self.book(batch, place).open);
            let there = covered.iter().fold(zero(), |sum, place| sum + self.book(batch, place).balance);
            match &wanted {
                Some(seen) if !open && *seen > there => wanted = Some(seen - there),
                _ => return picked,
            }
        }
        let free = |place: &Place| Some(place) != destination.as_ref() && !covered.contains(place);
        let travelling = match &destination {
            Some(place) => self.candidates(batch, |from| free(from) && self.goes_towards(from, place, reason)),
            None => Vec::new(),
        };
        let inside = self.candidates(batch, |from| free(from) && self.standing.is_inside(from));
        // CHOICE: a shipment that does not say where it goes may go here. What is received, or comes to a
        // party, was more likely on its way than inside; what is found inside more likely never left.
        let somewhere = self.candidates(batch, |from| free(from) && self.goes_anywhere(from));
        let arrives = matches!(reason, Reason::Received { .. }) || matches!(destination, Some(Place::Party(_)));
        let steps = if arrives { [travelling, somewhere, inside] } else { [travelling, inside, somewhere] };
        let Some(wanted) = wanted else {
            // CHOICE: the first step that has any candidate decides.
            let first = steps.into_iter().find(|step| !step.is_empty()).unwrap_or_default();
            self.all_of_the_only_one(batch, &first, &mut picked);
            return picked;
        };
        let mut left = wanted;
        for step in &steps {
            left = self.take_in_order(batch, step, &left, &mut picked);
        }
        picked.rest = Some(left);
        picked
    }

    fn all_of_the_only_one(&self, batch: &Batch, candidates: &[Place], picked: &mut Picked) {
        match candidates {
            [] => picked.rest = None,
            [only] => {
                let book = self.book(batch, only);
                let amount = if book.open { None } else { Some(book.balance.clone()) };
                picked.picks.push(Pick { place: only.clone(), amount, assumed: false });
            }
            [first, others @ ..] => {
                picked.ambiguous = true;
                picked.picks.push(Pick { place: first.clone(), amount: None, assumed: true });
                picked.links.extend_from_slice(others);
            }
        }
    }

    /// What of a batch is at a place already, in its sub-places and containers, too.
    fn there(&self, batch: &Batch, at: &Place) -> Vec<Place> {
        self.candidates(batch, |place| place == at || self.standing.is_within(place, at, &self.sites))
    }

    /// Whether a slice is on a shipment of which nothing says yet where it goes.
    fn goes_anywhere(&self, from: &Place) -> bool {
        let Place::Transit(shipment) = self.standing.root(from) else { return false };
        !self.destinations.contains_key(&shipment)
    }

    /// Whether a slice is on a shipment that goes towards a destination.
    fn goes_towards(&self, from: &Place, to: &Place, reason: &Reason) -> bool {
        let Place::Transit(shipment) = self.standing.root(from) else { return false };
        let Some(declared) = self.destinations.get(&shipment) else { return false };
        let by = match reason {
            Reason::Received { by: Some(party) } => Some(party),
            _ => None,
        };
        let location = match self.standing.root(to) {
            Place::Location(location) => Some(location),
            Place::Vessel(vessel) => self.sites.vessel_at(&vessel).cloned(),
            _ => None,
        };
        let party: Option<PartyId> = match self.standing.root(to) {
            Place::Party(party) => Some(party),
            _ => None,
        };
        match declared {
            Destination::Location(goal) => location.is_some_and(|location| self.sites.are_in_line(goal, &location)),
            Destination::Party(goal) => party.as_ref() == Some(goal) || by == Some(goal),
        }
    }
}
