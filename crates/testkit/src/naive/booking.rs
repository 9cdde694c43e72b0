//! Section 5 in settlement: flows are booked into slices, debts are paid and what is missing is linked.

use lotline_domain::id::Place;

use super::names::Batch;
use super::number::{Number, least, zero};
use super::settle::{Flow, FlowKind, Node, Now, Settled, Want};
use super::slice::SliceBook;
use super::steps::Key;

impl Settled {
    /// A slice's book as it is now; an empty one where nothing happened.
    pub(super) fn book(&self, batch: &Batch, place: &Place) -> SliceBook {
        self.slices.get(&(batch.clone(), place.clone())).cloned().unwrap_or_default()
    }

    pub(super) fn book_mut(&mut self, batch: &Batch, place: &Place) -> &mut SliceBook {
        self.slices.entry((batch.clone(), place.clone())).or_default()
    }

    /// Books one flow, and pays what left from nobody knows where. Returns its index.
    pub(super) fn flow(
        &mut self,
        batch: &Batch,
        from: Node,
        to: Node,
        amount: Option<Number>,
        assumed: bool,
        now: &Now,
    ) -> usize {
        let (index, paid) = self.flow_alone(batch, from.clone(), to.clone(), amount.clone(), assumed, now);
        if let Node::Slice(_, place) = &to {
            self.pay_unplaced(batch, &from, place, amount.map(|amount| amount - paid), now);
        }
        index
    }

    /// Books one flow. Returns its index and how much of it paid debts of the entered slice.
    pub(super) fn flow_alone(
        &mut self,
        batch: &Batch,
        from: Node,
        to: Node,
        amount: Option<Number>,
        assumed: bool,
        now: &Now,
    ) -> (usize, Number) {
        let at = now.key.instant;
        let from_text = from.text();
        if let Node::Slice(_, place) = &from
            && from != to
        {
            self.take(batch, place, amount.as_ref(), assumed, now);
        }
        let index = self.record(Flow {
            batch: batch.clone(),
            from,
            to: to.clone(),
            amount: amount.clone(),
            at,
            latest: now.latest,
            counts_from: Vec::new(),
            assumed,
            possible: false,
            cause: now.key.event.clone(),
            leg: now.key.leg,
            kind: now.kind,
        });
        // A move onto itself is none.
        if amount.is_none() && from_text != to.text() {
            self.discrepancy("quantity unknown", batch, &to.text(), &now.key.event);
        }
        let paid = match &to {
            Node::Slice(_, place) if from_text != to.text() => {
                self.put(batch, place, amount.as_ref(), assumed, index, now)
            }
            _ => zero(),
        };
        (index, paid)
    }

    pub(super) fn record(&mut self, flow: Flow) -> usize {
        let root = |node: &Node| match node {
            Node::Slice(_, place) => Some(self.standing.root(place)),
            _ => None,
        };
        self.roots.push((root(&flow.from), root(&flow.to)));
        self.flows.push(flow);
        self.flows.len() - 1
    }

    pub(super) fn take(&mut self, batch: &Batch, place: &Place, amount: Option<&Number>, assumed: bool, now: &Now) {
        let (at, cause) = (now.key.instant, &now.key.event);
        let mut amount = amount.cloned();
        if let (Place::Vessel(vessel), Some(wanted)) = (place, &amount) {
            // CHOICE: taken as named (ruling 18); what the model has not is the slice's own debt.
            let taken = self.vessel(vessel).take_named(batch, wanted);
            let sum = taken.iter().fold(zero(), |sum, (_, part)| sum + part);
            if sum < *wanted {
                self.discrepancy("vessel has less of it", batch, &place.to_string(), cause);
            }
            amount = Some(wanted - sum);
        }
        let book = self.book_mut(batch, place);
        match &amount {
            None => book.take_unknown(at),
            Some(amount) if place.is_sink() => book.take_freely(amount, at),
            Some(amount) => book.take(amount, at, now.latest, cause),
        }
        if assumed {
            book.assumed = true;
        }
        if assumed || now.latest != at {
            book.disturbed.push(at);
        }
    }

    /// Returns how much of it paid debts of the slice.
    pub(super) fn put(
        &mut self,
        batch: &Batch,
        place: &Place,
        amount: Option<&Number>,
        assumed: bool,
        flow: usize,
        now: &Now,
    ) -> Number {
        let at = now.key.instant;
        let mut paid = zero();
        if let Place::Vessel(vessel) = place {
            self.fill(vessel, batch, amount, flow, now);
        }
        let in_vessel = matches!(place, Place::Vessel(_));
        let book = self.book_mut(batch, place);
        match amount {
            None => book.put_unknown(at),
            // What is in a vessel is in its layers, and not in the slice's own book.
            Some(_) if in_vessel => book.inflows.push(at),
            Some(amount) => {
                let (counts_from, of_debts) = book.put(amount, at);
                paid = of_debts;
                self.flows[flow].counts_from = counts_from;
            }
        }
        let book = self.book_mut(batch, place);
        if assumed {
            book.assumed = true;
        }
        if assumed || now.latest != at {
            book.disturbed.push(at);
        }
        paid
    }

    /// Section 5: what comes in from outside or from a run pays what left from nobody knows where.
    pub(super) fn pay_unplaced(
        &mut self,
        batch: &Batch,
        from: &Node,
        entered: &Place,
        free: Option<Number>,
        now: &Now,
    ) {
        let from_outside = match from {
            Node::Slice(_, place) => !self.standing.is_inside(place) && !matches!(place, Place::Vessel(_)),
            _ => true,
        };
        let Some(free) = free else { return };
        if !from_outside || *entered == Place::Unplaced || !self.standing.is_inside(entered) {
            return;
        }
        let part = least(&free, &self.book(batch, &Place::Unplaced).owed());
        if part > zero() {
            let (here, there) =
                (Node::Slice(batch.clone(), entered.clone()), Node::Slice(batch.clone(), Place::Unplaced));
            let now = Now { key: now.key, latest: now.latest, measure: None, kind: FlowKind::Other };
            self.flow(batch, here, there, Some(part), false, &now);
        }
    }

    pub(super) fn link(&mut self, batch: &Batch, from: &Place, to: Node, now: &Now) {
        let at = now.key.instant;
        self.book_mut(batch, from).disturbed.push(at);
        if let Node::Slice(_, place) = &to {
            self.book_mut(batch, &place.clone()).disturbed.push(at);
        }
        self.record(Flow {
            batch: batch.clone(),
            from: Node::Slice(batch.clone(), from.clone()),
            to,
            amount: None,
            at,
            latest: now.latest,
            counts_from: Vec::new(),
            assumed: false,
            possible: true,
            cause: now.key.event.clone(),
            leg: now.key.leg,
            kind: FlowKind::Other,
        });
    }

    /// Section 5: unpaid debts, what a count found above the book and what came from `unexplained` may
    /// have come from every other slice of the batch that had an inflow by then.
    pub(super) fn link_what_is_unexplained(&mut self) {
        let mut wants = std::mem::take(&mut self.wants);
        for ((batch, place), book) in &self.slices {
            for debt in &book.debts {
                let want = Want {
                    batch: batch.clone(),
                    place: place.clone(),
                    at: debt.at,
                    latest: debt.latest,
                    cause: debt.cause.clone(),
                };
                wants.push(want);
            }
        }
        for want in wants {
            let others: Vec<Place> = self
                .slices
                .iter()
                // CHOICE: sinks end paths, so none is a source.
                .filter(|((batch, place), _)| *batch == want.batch && *place != want.place && !place.is_sink())
                .filter(|(_, book)| book.inflows.iter().any(|at| *at <= want.at))
                .map(|((_, place), _)| place.clone())
                .collect();
            for from in others {
                let to = Node::Slice(want.batch.clone(), want.place.clone());
                let key = Key { instant: want.at, sequence: None, phase: 0, event: want.cause.clone(), leg: 0 };
                let now = Now { key: &key, latest: want.latest, measure: None, kind: FlowKind::Other };
                self.link(&want.batch, &from, to, &now);
            }
        }
    }

    /// The balance of a slice, in a vessel by its layers.
    pub(super) fn balance(&self, batch: &Batch, place: &Place) -> Number {
        let own = self.book(batch, place).balance;
        match place {
            Place::Vessel(vessel) => own + self.vessels.get(vessel).map_or_else(zero, |vessel| vessel.holds(batch).0),
            _ => own,
        }
    }
}
