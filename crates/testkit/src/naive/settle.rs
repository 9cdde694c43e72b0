//! Sections 3 to 5 and 7: all steps of all batches, one after the other, into flows between slices.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Destination, Event};
use lotline_domain::id::{BatchRef, ContainerId, EventId, PartyId, Place, RunId, ShipmentId, Sink, VesselId};
use lotline_domain::time::Instant;
use lotline_domain::unit::Unit;

use super::live::{Live, live};
use super::names::{Batch, Names};
use super::number::{Number, least, not_below_zero, zero};
use super::pick::Picked;
use super::places::{Sites, Standing};
use super::slice::SliceBook;
use super::steps::{FlowStep, Key, Reason, Source, Step, Target, What, nobody, steps};
use super::units::{Measure, Units};
use super::vessel::{DrawContent, Vessel};
use super::{Balance, Bounds, Discrepancy};

/// An end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A batch at a place.
    Slice(BatchRef, Place),
    /// A run.
    Run(RunId),
    /// A draw from a vessel: event and leg.
    Draw(EventId, u32),
    /// Outside of the book: a supplier, or `unknown`.
    Origin(PartyId),
}

impl Node {
    /// Its written form: a place, `run:…`, `draw:…` or `party:…`.
    pub fn text(&self) -> String {
        match self {
            Self::Slice(_, place) => place.to_string(),
            Self::Run(run) => format!("run:{run}"),
            Self::Draw(event, leg) => format!("draw:{event}:{leg}"),
            Self::Origin(party) => format!("party:{party}"),
        }
    }
}

/// What a flow is, where holds ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowKind {
    /// Went into a production run, or was used up.
    Consumed,
    /// Anything else.
    Other,
}

/// A settled flow, or a possible link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Of which batch.
    pub batch: BatchRef,
    /// Where from.
    pub from: Node,
    /// Where to.
    pub to: Node,
    /// How much, in the batch's base unit; `None` is unknown, or for a possible link anything up to all.
    pub amount: Option<Number>,
    /// Its instant.
    pub at: Instant,
    /// The last instant that its fact may mean (the end of a day).
    pub latest: Instant,
    /// What of it paid an overdraft or a draw counts from this earlier moment on (rulings 1 and 16).
    pub counts_from: Option<Instant>,
    /// Picked among several candidates (ruling 4).
    pub assumed: bool,
    /// Not a flow: a link that is possible and moves nothing.
    pub possible: bool,
    /// The event that says so.
    pub cause: EventId,
    /// Which part of the event.
    pub leg: u32,
    /// For holds.
    pub kind: FlowKind,
}

/// What a container held when it was put somewhere.
#[derive(Debug, Clone)]
pub struct Held {
    pub batch: Batch,
    pub place: Place,
    pub amount: Number,
    pub unknown: bool,
}

/// A container that was put somewhere, with what it held.
#[derive(Debug, Clone)]
pub struct Carried {
    pub at: Instant,
    pub latest: Instant,
    pub cause: EventId,
    pub from: Place,
    pub to: Place,
    /// Slices in it, nested ones too, and how much each held.
    pub content: Vec<Held>,
}

/// Something appeared or was taken that no slice explains: the batch's other slices may.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub batch: Batch,
    pub place: Place,
    pub at: Instant,
    pub latest: Instant,
    pub cause: EventId,
}

/// Everything, settled within its bounds.
pub struct Settled {
    /// The flows in the order in which they were settled, possible links at the end.
    pub flows: Vec<Flow>,
    pub(super) bounds: Bounds,
    pub(super) live: Vec<Live>,
    pub(super) names: Names,
    pub(super) units: Units,
    pub(super) sites: Sites,
    pub(super) standing: Standing,
    pub(super) slices: BTreeMap<(Batch, Place), SliceBook>,
    pub(super) vessels: BTreeMap<VesselId, Vessel>,
    pub(super) destinations: BTreeMap<ShipmentId, Destination>,
    pub(super) carried: Vec<Carried>,
    pub(super) found: BTreeSet<Discrepancy>,
    /// Where the ends of each flow stood when it was settled, in the order of `flows`.
    pub(super) roots: Vec<(Option<Place>, Option<Place>)>,
    pub(super) vessel_units: BTreeMap<VesselId, Option<Unit>>,
    pub(super) first_packing: BTreeMap<ContainerId, EventId>,
    pub(super) outside: BTreeMap<ContainerId, Instant>,
    pub(super) wants: Vec<Want>,
}

/// The step that is being settled.
pub(super) struct Now<'a> {
    pub key: &'a Key,
    pub latest: Instant,
    pub measure: Option<Measure>,
    pub kind: FlowKind,
}

impl Settled {
    /// Settles what is known within the bounds.
    pub fn new(events: &[(u64, Event)], bounds: Bounds) -> Self {
        let (live, found) = live(events, bounds.known);
        let names = Names::new(&live);
        let steps = steps(&live, &names, bounds.as_of);
        let mut settled = Self {
            flows: Vec::new(),
            bounds,
            units: Units::new(&live, &names),
            sites: Sites::new(&live),
            standing: Standing::default(),
            slices: BTreeMap::new(),
            vessels: BTreeMap::new(),
            destinations: BTreeMap::new(),
            carried: Vec::new(),
            found,
            roots: Vec::new(),
            vessel_units: BTreeMap::new(),
            first_packing: BTreeMap::new(),
            outside: BTreeMap::new(),
            wants: Vec::new(),
            live,
            names,
        };
        settled.stand_by_first_packing(&steps);
        settled.choose_vessel_units(&steps);
        for step in &steps {
            settled.step(step);
        }
        settled.link_what_is_unexplained();
        settled
    }

    pub(super) fn discrepancy(&mut self, kind: &'static str, batch: &Batch, place: &str, cause: &EventId) {
        self.found.insert(Discrepancy {
            kind,
            batch: batch.to_string(),
            place: place.to_owned(),
            cause: cause.to_string(),
        });
    }

    fn step(&mut self, step: &Step) {
        let mut now = Now { key: &step.key, latest: step.latest, measure: None, kind: FlowKind::Other };
        match &step.what {
            What::Flow(flow) => self.settle_flow(flow, &mut now),
            What::EmptyAll { place, to } => self.empty_all(place, to, &mut now),
            What::Carry { container, to, reason } => self.carry(container, to, reason, &mut now),
            What::Draw { vessel, batch, measure, to } => self.draw(vessel, batch, *measure, to, &mut now),
            What::Clean { vessel, grade } => self.clean(vessel, *grade, &now),
            What::Count { batch, place, measure } => self.count(batch, place, *measure, &now),
        }
    }

    pub(super) fn target(&self, batch: &Batch, to: &Target) -> Node {
        match to {
            Target::Place(place) => Node::Slice(batch.clone(), place.clone()),
            Target::WhereStands(container) => Node::Slice(batch.clone(), self.standing.of(container)),
            Target::Run(run) => Node::Run(run.clone()),
        }
    }

    /// The stated quantity in the base unit. What is stated and does not convert is an exception.
    pub(super) fn base_amount(&mut self, batch: &Batch, measure: Measure, place: &str, now: &Now) -> Option<Number> {
        let base = self.units.base(batch);
        let amount = self.units.convert(batch, measure, base);
        if amount.is_none() && (measure.first.is_some() || measure.second.is_some()) {
            self.discrepancy("quantity unknown", batch, place, &now.key.event);
        }
        amount
    }

    fn settle_flow(&mut self, flow: &FlowStep, now: &mut Now) {
        let FlowStep { batch, measure, from, to, reason } = flow;
        let to = self.target(batch, to);
        now.measure = Some(*measure);
        now.kind = match reason {
            Reason::Shipped { shipment, to } => {
                self.declare(shipment, to.as_ref());
                FlowKind::Other
            }
            Reason::Produced { production: true } | Reason::UsedUp => FlowKind::Consumed,
            _ => FlowKind::Other,
        };
        let amount = self.base_amount(batch, *measure, &to.text(), now);
        if let Reason::Packed { container, at, first } = reason {
            self.pack(flow, container, at.as_ref(), *first, now);
        }
        match from {
            Source::Run(run) => {
                self.flow(batch, Node::Run(run.clone()), to, amount, false, now);
            }
            Source::Supplier(party) => self.supplied(batch, party, to, amount, now),
            Source::Named(place) => {
                let picked = self.pick_named(batch, place, &to, amount.as_ref());
                let plain = !matches!(place, Place::Vessel(_) | Place::Sink(_));
                if plain
                    && amount.is_none()
                    && picked.picks.iter().any(|pick| pick.place == *place)
                    && !self.book(batch, place).has_some()
                {
                    self.want(batch, place, now);
                }
                self.settle_picked(batch, picked, to, reason, Some(place), now);
            }
            Source::NotStated => {
                let picked = self.pick_unnamed(batch, &to, amount.as_ref(), reason);
                // From nowhere that is known: then nobody knows where the container stands.
                let place = picked.picks.first().map_or(Place::Unplaced, |pick| pick.place.clone());
                if let Reason::Packed { container, first: true, .. } = reason
                    && self.is_first_packing(container, now)
                {
                    self.appear(container, &place, now);
                }
                self.settle_picked(batch, picked, to, reason, None, now);
            }
        }
    }

    /// CHOICE: a shipment goes to the destination that its latest fact so far declares.
    pub(super) fn declare(&mut self, shipment: &ShipmentId, to: Option<&Destination>) {
        if let Some(to) = to {
            self.destinations.insert(shipment.clone(), to.clone());
        }
    }

    fn supplied(&mut self, batch: &Batch, party: &PartyId, to: Node, amount: Option<Number>, now: &Now) {
        let place = Place::Party(party.clone());
        let book = self.book(batch, &place);
        let slice = Node::Slice(batch.clone(), place);
        let origin = Node::Origin(party.clone());
        let Some(amount) = amount else {
            let from = if book.has_some() { slice } else { origin };
            self.flow(batch, from, to, None, false, now);
            return;
        };
        let had = if book.open { amount.clone() } else { least(&amount, &not_below_zero(&book.balance)) };
        if had > zero() {
            self.flow(batch, slice, to.clone(), Some(had.clone()), false, now);
        }
        if amount > had || amount == zero() {
            self.flow(batch, origin, to, Some(amount - had), false, now);
        }
    }

    fn settle_picked(
        &mut self,
        batch: &Batch,
        picked: Picked,
        to: Node,
        reason: &Reason,
        named: Option<&Place>,
        now: &Now,
    ) {
        if picked.ambiguous {
            let place = named.map_or_else(|| to.text(), ToString::to_string);
            self.discrepancy("source ambiguous", batch, &place, &now.key.event);
        }
        for pick in picked.picks {
            // A move onto itself is none.
            if Node::Slice(batch.clone(), pick.place.clone()) == to {
                continue;
            }
            self.flow(batch, Node::Slice(batch.clone(), pick.place), to.clone(), pick.amount, pick.assumed, now);
        }
        for place in picked.links {
            self.link(batch, &place, to.clone(), now);
        }
        if picked.rest.as_ref().is_none_or(|rest| *rest > zero()) {
            self.excess(batch, to, picked.rest, reason, now);
        }
    }

    /// Section 4: what exceeds all candidates.
    fn excess(&mut self, batch: &Batch, to: Node, amount: Option<Number>, reason: &Reason, now: &Now) {
        // CHOICE: a receipt into a vessel or outside of the walls has a source outside, too (ruling 6).
        if matches!(reason, Reason::Received { .. }) {
            self.flow(batch, Node::Origin(nobody()), to, amount, false, now);
            return;
        }
        let inside = match &to {
            Node::Slice(_, place) if self.standing.is_inside(place) => Some(place.clone()),
            _ => None,
        };
        match inside {
            Some(place) => {
                self.discrepancy("source unknown", batch, &place.to_string(), &now.key.event);
                let from = Node::Slice(batch.clone(), Place::Sink(Sink::Unexplained));
                self.flow(batch, from, to, amount, false, now);
            }
            None => {
                if amount.is_none() {
                    self.discrepancy("source unknown", batch, "unplaced", &now.key.event);
                }
                self.flow(batch, Node::Slice(batch.clone(), Place::Unplaced), to, amount, false, now);
            }
        }
    }

    pub(super) fn want(&mut self, batch: &Batch, place: &Place, now: &Now) {
        let want = Want {
            batch: batch.clone(),
            place: place.clone(),
            at: now.key.instant,
            latest: now.latest,
            cause: now.key.event.clone(),
        };
        self.wants.push(want);
    }

    /// A book of unknown content is set, from or to `unexplained`. CHOICE: that pays no debt of `unplaced`
    /// and needs no possible links: the unknown inflow is the explanation.
    pub(super) fn set_unknown(&mut self, batch: &Batch, place: &Place, to: &Number, now: &Now) {
        let difference = to - self.book(batch, place).balance;
        let (here, sink) =
            (Node::Slice(batch.clone(), place.clone()), Node::Slice(batch.clone(), Place::Sink(Sink::Unexplained)));
        let (from, to) = if difference > zero() { (sink, here) } else { (here, sink) };
        if difference != zero() {
            let amount = if difference > zero() { difference } else { -difference };
            self.flow_alone(batch, from, to, Some(amount), false, now);
        }
    }

    /// Ruling 29: a count is compared with the book of its own moment, whenever asked; the difference goes to
    /// or comes from `sink:adjustment`.
    fn count(&mut self, batch: &Batch, place: &Place, measure: Measure, now: &Now) {
        let Some(counted) = self.base_amount(batch, measure, &place.to_string(), now) else { return };
        let balance = self.balance(batch, place);
        let at = now.key.instant;
        if self.book(batch, place).open {
            self.set_unknown(batch, place, &counted, now);
            self.book_mut(batch, place).close(at);
            return;
        }
        if let Place::Vessel(vessel) = place {
            // Told, and nothing is moved for it: the split is the model's.
            let (there, unknown) = self.vessels.get(vessel).map_or((zero(), false), |vessel| vessel.holds(batch));
            if !unknown && there != counted {
                self.discrepancy("count differs", batch, &place.to_string(), &now.key.event);
            }
            return;
        }
        self.book_mut(batch, place).close(at);
        if counted != balance {
            self.discrepancy("count differs", batch, &place.to_string(), &now.key.event);
            let (here, sink) =
                (Node::Slice(batch.clone(), place.clone()), Node::Slice(batch.clone(), Place::Sink(Sink::Adjustment)));
            if counted > balance {
                self.flow(batch, sink, here, Some(counted - balance), false, now);
            } else {
                self.flow(batch, here, sink, Some(balance - counted), false, now);
            }
            self.book_mut(batch, place).disturbed.push(at);
        }
    }

    /// See [`super::Naive::on_hand`].
    pub fn on_hand(&self) -> BTreeMap<(String, String), Balance> {
        let covers = self.hold_covers();
        let behind_assumptions = self.behind_assumptions();
        let at = self.bounds.as_of.unwrap_or(Instant::MAX);
        let mut answer = BTreeMap::new();
        for ((batch, place), book) in &self.slices {
            let amount = self.balance(batch, place);
            let unknown = book.unknown || self.unknown_in_vessel(batch, place);
            if amount == zero() && !unknown {
                continue;
            }
            let holds = covers
                .iter()
                .filter(|cover| cover.lies_under(self, batch, place, at))
                .map(|cover| cover.hold.to_string())
                .collect();
            let assumed = book.assumed || behind_assumptions.contains_key(&(batch.clone(), place.clone()));
            let stands = self.standing.root(place);
            let expires = self.expiry(batch, &stands);
            let balance = Balance { amount, unknown, assumed, stands, holds, expires };
            answer.insert((batch.to_string(), place.to_string()), balance);
        }
        answer
    }

    /// Ruling 4: the slices that an assumed pick entered and all of the batch that flows on from there, with the
    /// moments from which on they are reached. CHOICE: it ends at runs and draws, which make another batch.
    fn behind_assumptions(&self) -> BTreeMap<(Batch, Place), Instant> {
        let mut reached: BTreeMap<(Batch, Place), Instant> = BTreeMap::new();
        loop {
            let mut more = false;
            for flow in self.flows.iter().filter(|flow| !flow.possible) {
                let Node::Slice(batch, to) = &flow.to else { continue };
                let follows = match &flow.from {
                    Node::Slice(batch, from) if !from.is_sink() => {
                        reached.get(&(batch.clone(), from.clone())).is_some_and(|moment| *moment <= flow.latest)
                    }
                    _ => false,
                };
                if flow.assumed || follows {
                    let moment = flow.counts_from.unwrap_or(flow.at);
                    let known = reached.entry((batch.clone(), to.clone())).or_insert(Instant::MAX);
                    more |= moment < *known;
                    *known = moment.min(*known);
                }
            }
            if !more {
                return reached;
            }
        }
    }

    pub(super) fn unknown_in_vessel(&self, batch: &Batch, place: &Place) -> bool {
        match place {
            Place::Vessel(vessel) => self.vessels.get(vessel).is_some_and(|vessel| vessel.holds(batch).1),
            _ => false,
        }
    }

    /// What the draw of an event is made of, by the vessel's mix model (section 7).
    pub fn draw_content(&self, event: &EventId) -> Option<DrawContent> {
        self.vessels.values().find_map(|vessel| {
            let first = vessel.draws.iter().find(|draw| draw.key.event == *event)?;
            vessel.draw_of(event, first.key.leg).map(|draw| vessel.content(draw))
        })
    }

    /// What a vessel holds less what it owes, by unit (section 7).
    pub fn vessel_total(&self, vessel: &VesselId) -> BTreeMap<Unit, Number> {
        self.vessels.get(vessel).map(Vessel::totals).unwrap_or_default()
    }
}
