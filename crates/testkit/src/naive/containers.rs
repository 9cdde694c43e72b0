//! Sections 3 and 4 in settlement: packing, carrying and emptying containers.

use lotline_domain::id::{ContainerId, Place};

use super::names::Batch;
use super::number::zero;
use super::places::Standing;
use super::settle::{Carried, Held, Node, Now, Settled};
use super::steps::{FlowStep, Reason, Source, Step, Target, What};

impl Settled {
    /// Section 3: where the first packing says where, the container stood there all along.
    pub(super) fn stand_by_first_packing(&mut self, steps: &[Step]) {
        for step in steps {
            let (What::Flow(FlowStep { reason, .. }) | What::Carry { reason, .. }) = &step.what else { continue };
            let Reason::Packed { container, at, first } = reason else { continue };
            let event = self.first_packing.entry(container.clone()).or_insert_with(|| step.key.event.clone());
            if *event != step.key.event {
                continue;
            }
            match (at, &step.what) {
                (Some(at), _) => self.standing.pack_first(container, at),
                // A container as source is resolved at the packing, when it is known where that stands.
                (None, What::Flow(FlowStep { from: Source::Named(from), .. }))
                    if *first && !matches!(from, Place::Container(_)) =>
                {
                    self.standing.pack_first(container, from);
                }
                _ => {}
            }
        }
    }

    pub(super) fn is_first_packing(&self, container: &ContainerId, now: &Now) -> bool {
        self.first_packing.get(container) == Some(&now.key.event)
    }

    /// What packing says of the container.
    pub(super) fn pack(
        &mut self,
        flow: &FlowStep,
        container: &ContainerId,
        at: Option<&Place>,
        first: bool,
        now: &Now,
    ) {
        let batch = &flow.batch;
        let here = Place::Container(container.clone());
        let from = match &flow.from {
            Source::Named(place) => Some(place.clone()),
            _ => None,
        };
        let is_outside = matches!(self.standing.root(&here), Place::Transit(_) | Place::Party(_));
        let outside = if is_outside { Some(now.key.instant) } else { self.outside.get(container).copied() };
        if let (true, Some(from)) = (first && self.is_first_packing(container, now), &from) {
            self.appear(container, from, now);
        }
        // Compared are the places where container and goods stand in the end; one in the other is no difference.
        let stated = at.cloned().or(from).map(|place| self.standing.root(&place));
        let stands = self.standing.root(&here);
        let apart = |stated: &Place| {
            *stated != stands
                && !self.standing.is_within(stated, &stands, &self.sites)
                && !self.standing.is_within(&stands, stated, &self.sites)
        };
        // Where nobody said that one of them is, they are not apart.
        let known = |place: &Place| *place != Place::Unplaced;
        if known(&stands) && stated.is_some_and(|stated| known(&stated) && apart(&stated)) {
            self.discrepancy("container is elsewhere", batch, &here.to_string(), &now.key.event);
        }
        // CHOICE: re-used is what has been outside since its present content came in.
        let since = self
            .slices
            .iter()
            .filter(|((_, place), book)| *place == here && book.has_some())
            .filter_map(|(_, book)| book.since)
            .min();
        if since.zip(outside).is_some_and(|(since, outside)| since <= outside) {
            self.discrepancy("container re-used with content", batch, &here.to_string(), &now.key.event);
        }
    }

    pub(super) fn empty_all(&mut self, place: &Place, to: &Target, now: &mut Now) {
        let batches: Vec<Batch> =
            self.slices.keys().filter(|(_, at)| at == place).map(|(batch, _)| batch.clone()).collect();
        for batch in batches {
            if self.book(&batch, place).open && self.book(&batch, place).balance < zero() {
                self.set_unknown(&batch, place, &zero(), now);
            }
            let book = self.book(&batch, place);
            let (from, to) = (Node::Slice(batch.clone(), place.clone()), self.target(&batch, to));
            if book.balance > zero() {
                self.flow(&batch, from.clone(), to.clone(), Some(book.balance), false, now);
            }
            if book.unknown {
                self.flow(&batch, from, to, None, false, now);
            }
            self.book_mut(&batch, place).close(now.key.instant);
        }
        // CHOICE: containers in it come out as well, of a container as of a shipment (ruling 28).
        let to = match to {
            Target::WhereStands(container) => self.standing.of(container),
            Target::Place(place) => place.clone(),
            Target::Run(_) => return,
        };
        for container in self.standing.standing_at(place) {
            self.put_container(&container, &to, now);
        }
    }

    pub(super) fn carry(&mut self, container: &ContainerId, to: &Target, reason: &Reason, now: &mut Now) {
        if let Reason::Shipped { shipment, to } = reason {
            self.declare(shipment, to.as_ref());
        }
        if let Reason::Packed { container: outer, at: None, .. } = reason {
            // Ruling 28: a container first seen by packing is where the packed goods are. CHOICE: that
            // holds for packed containers, too.
            if self.is_first_packing(outer, now) {
                self.appear(outer, &Place::Container(container.clone()), now);
            }
        }
        let to = match to {
            Target::Place(place) => place.clone(),
            Target::WhereStands(outer) => self.standing.of(outer),
            Target::Run(_) => return,
        };
        // Seen in a wider place than where it stands: it stands there still.
        let here = Place::Container(container.clone());
        if *reason == Reason::Seen && self.standing.is_within(&here, &to, &self.sites) {
            return;
        }
        self.put_container(container, &to, now);
    }

    pub(super) fn put_container(&mut self, container: &ContainerId, to: &Place, now: &mut Now) {
        self.note_outside(now.key.instant);
        self.carried_by(container, now, |standing| standing.put(container, to));
    }

    /// The first packing says where a container stands, with all that it may hold already.
    pub(super) fn appear(&mut self, container: &ContainerId, goods_from: &Place, now: &Now) {
        self.carried_by(container, now, |standing| standing.pack_first(container, goods_from));
    }

    fn carried_by(&mut self, container: &ContainerId, now: &Now, moves: impl FnOnce(&mut Standing)) {
        let here = Place::Container(container.clone());
        let from = self.standing.root(&here);
        let mut content = Vec::new();
        for ((batch, place), book) in &self.slices {
            if *place == here || self.standing.is_within(place, &here, &self.sites) {
                let (batch, place) = (batch.clone(), place.clone());
                content.push(Held { batch, place, amount: book.balance.clone(), unknown: book.unknown });
            }
        }
        let (at, cause) = (now.key.instant, now.key.event.clone());
        moves(&mut self.standing);
        let to = self.standing.root(&here);
        self.carried.push(Carried { at, latest: now.latest, cause, from, to, content });
        self.note_outside(at);
    }

    /// Notes which containers are outside at a moment.
    fn note_outside(&mut self, at: lotline_domain::time::Instant) {
        for container in self.standing.containers() {
            if matches!(self.standing.root(&Place::Container(container.clone())), Place::Transit(_) | Place::Party(_)) {
                self.outside.insert(container, at);
            }
        }
    }
}
