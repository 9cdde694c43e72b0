//! Section 5 in settlement: flows are booked into slices, debts are paid and what is missing is linked.

use lotline_domain::id::{Place, Sink};

use super::names::Batch;
use super::number::{Number, least, zero};
use super::settle::{Flow, FlowKind, Node, Now, Settled, Want};
use super::slice::{Paid, Shortage, SliceBook};
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
            if is_explained_by_nothing(&from) {
                self.want(batch, place, now);
            }
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
            counts_from: None,
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
        // An adjustment is a difference that somebody counted (ruling 23).
        let is_adjustment = |node: &Node| matches!(node, Node::Slice(_, Place::Sink(Sink::Adjustment)));
        let Flow { from, to, .. } = self.flows[index].clone();
        for (end, other) in [(&from, &to), (&to, &from)] {
            if let (Node::Slice(_, place), true) = (end, is_adjustment(other)) {
                self.book_mut(batch, place).disturbed.push(at);
            }
        }
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
            // Taken as named (ruling 18); what the model has not is missing from the vessel's total.
            let taken = self.vessel(vessel).take_named(batch, wanted);
            let sum = taken.iter().fold(zero(), |sum, (_, part)| sum + part);
            let short = wanted - sum;
            if short > zero() {
                self.discrepancy("vessel has less of it", batch, &place.to_string(), cause);
                self.miss_in_vessel(vessel, batch, &short);
            }
            amount = Some(short);
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
        let shortages = self.book(batch, place).open_shortages();
        let paid = match (place, amount) {
            (_, None) => {
                let from = shortages.first().map(|shortage| shortage.at).filter(|began| *began != at);
                self.book_mut(batch, place).put_unknown(at);
                Paid { amount: zero(), from }
            }
            // What is in a vessel is in its layers, and not in the slice's own book.
            (Place::Vessel(vessel), Some(amount)) => {
                let book = self.book_mut(batch, place);
                let paid = book.pay(amount, at);
                book.balance += &paid.amount;
                book.inflows.push(at);
                self.miss_in_vessel(vessel, batch, &-&paid.amount);
                paid
            }
            (_, Some(amount)) => self.book_mut(batch, place).put(amount, at),
        };
        if let Place::Vessel(vessel) = place {
            self.fill(vessel, batch, amount.map(|amount| amount - &paid.amount).as_ref(), flow, now);
        }
        if paid.amount > zero() && is_explained_by_nothing(&self.flows[flow].from) {
            // A difference of the book is no flow that was missing: the overdraft is never repaid (ruling 1).
            self.want_for(batch, place, &shortages);
        }
        self.flows[flow].counts_from = paid.from;
        let book = self.book_mut(batch, place);
        if assumed {
            book.assumed = true;
        }
        if assumed || now.latest != at || paid.from.is_some() {
            book.disturbed.push(at);
        }
        paid.amount
    }

    /// What is new in the book, from a supplier, a run or a draw, pays what left from nobody knows where. What
    /// had left before and comes back does not: it is what left. Nor does what was seen or counted: it lies there.
    fn pay_unplaced(&mut self, batch: &Batch, from: &Node, entered: &Place, free: Option<Number>, now: &Now) {
        let is_new = !matches!(from, Node::Slice(..));
        let Some(free) = free else { return };
        if !is_new || *entered == Place::Unplaced || !self.standing.is_inside(entered) {
            return;
        }
        let part = least(&free, &self.book(batch, &Place::Unplaced).owed);
        if part > zero() {
            let (here, there) =
                (Node::Slice(batch.clone(), entered.clone()), Node::Slice(batch.clone(), Place::Unplaced));
            let now = Now { key: now.key, latest: now.latest, measure: None, kind: FlowKind::Other };
            self.flow(batch, here, there, Some(part), false, &now);
        }
    }

    pub(super) fn link(&mut self, batch: &Batch, from: &Place, to: Node, now: &Now) {
        self.record(Flow {
            batch: batch.clone(),
            from: Node::Slice(batch.clone(), from.clone()),
            to,
            amount: None,
            at: now.key.instant,
            latest: now.latest,
            counts_from: None,
            assumed: false,
            possible: true,
            cause: now.key.event.clone(),
            leg: now.key.leg,
            kind: FlowKind::Other,
        });
    }

    fn want_for(&mut self, batch: &Batch, place: &Place, shortages: &[Shortage]) {
        for Shortage { at, latest, cause } in shortages.iter().cloned() {
            self.wants.push(Want { batch: batch.clone(), place: place.clone(), at, latest, cause });
        }
    }

    /// Ruling 1: overdrafts that are never repaid, and what appeared by an unknown way, may have come from
    /// every other slice of the batch. A trace follows that from those that it has reached by then.
    pub(super) fn link_what_is_unexplained(&mut self) {
        let slices: Vec<(Batch, Place)> = self.slices.keys().cloned().collect();
        for (batch, place) in &slices {
            let shortages = self.book(batch, place).open_shortages();
            self.want_for(batch, place, &shortages);
        }
        for want in std::mem::take(&mut self.wants) {
            // CHOICE: sinks end paths, so none is a source.
            let others =
                slices.iter().filter(|(batch, place)| *batch == want.batch && *place != want.place && !place.is_sink());
            for (_, from) in others {
                let to = Node::Slice(want.batch.clone(), want.place.clone());
                let key = Key { instant: want.at, sequence: None, phase: 0, event: want.cause.clone(), leg: 0 };
                let now = Now { key: &key, latest: want.latest, measure: None, kind: FlowKind::Other };
                self.link(&want.batch, from, to, &now);
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

/// A difference of the book, which no flow between slices explains.
fn is_explained_by_nothing(from: &Node) -> bool {
    matches!(from, Node::Slice(_, Place::Sink(Sink::Adjustment | Sink::Unexplained)))
}
