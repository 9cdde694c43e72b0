//! Decides intents: may this happen, on the settled book at its head? Observations always pass.
//!
//! An intent passes when nothing of it would be an exception of the kinds that a rule forbids: it overdraws
//! no slice at its moment or at any known later one, names its sources or leaves no doubt about them, and
//! nothing that it ships, consumes or delivers is under hold. All its lines are decided together. What is known
//! to follow counts as the book has it: a later fact whose own source is in doubt may be picked otherwise then.
//!
//! A new output inherits the strictest status of its inputs without anything being stored: holds pass
//! through runs when they are asked for.

mod stock;

use std::borrow::Cow;
use std::cell::OnceCell;

use rustc_hash::FxHashMap;

use crate::book::{BatchIx, Book, Deed, EndKind, PlaceIx, PlaceKind};
use crate::command::{Amount, Command, Mode, Rejection, Rule};
use crate::effect::{ContainerMove, Effect, Flow, Origin, Phase, Target};
use crate::fact::{Correction, Destination, Event, Fact, HoldTarget, ReleaseTarget, RunKind};
use crate::id::{BatchRef, HoldId, PartyId, Place, Sink};
use crate::quantity::{Ratio, Stated};
use crate::settle::{Covers, Key, Settler, same_dimension};
use crate::time::Instant;

use self::stock::{Level, Rank, Stock, amount_in, contents};

/// Decides a command on all that a book holds, by the decision's own clock.
///
/// # Errors
/// [`Rejection`]: the rule, with the state that it found and what would fit.
pub fn decide(book: &Book, command: &Command, now: Instant) -> Result<(), Rejection> {
    match command.mode {
        Mode::Observation => Ok(()),
        Mode::Intent => decide_intent(&Settler::new(book, book.head()), &command.event, now),
    }
}

/// Decides an intent on what a settler knows.
///
/// # Errors
/// As [`decide`].
pub fn decide_intent(settler: &Settler<'_>, event: &Event, now: Instant) -> Result<(), Rejection> {
    let mut decision = Decision {
        settler,
        event,
        now,
        at: event.occurred_at.instant.0,
        stocks: FxHashMap::default(),
        levels: FxHashMap::default(),
        covers: OnceCell::new(),
    };
    decision.not_in_future(event.occurred_at.instant)?;
    if let Fact::Corrected { target, correction, .. } = &event.fact {
        if let Correction::Supersede { occurred_at, .. } = correction {
            decision.not_in_future(occurred_at.instant)?;
        }
        let known = settler.book().find_fact(target);
        if known.is_none_or(|fact| settler.book().fact(fact).commit > settler.known().0) {
            return Err(reject(Rule::UnknownTarget { target: target.clone() }, None, None));
        }
        return Ok(());
    }
    event.effects().iter().try_for_each(|effect| decision.effect(effect))
}

fn reject(rule: Rule, batch: Option<BatchRef>, place: Option<Place>) -> Rejection {
    Rejection { rule, batch, place }
}

/// Why goods leave, as far as a hold forbids it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Not,
    Forbidden,
}

struct Decision<'s, 'b> {
    settler: &'s Settler<'b>,
    event: &'s Event,
    now: Instant,
    at: i64,
    stocks: FxHashMap<BatchIx, Stock>,
    levels: FxHashMap<PlaceIx, Level>,
    covers: OnceCell<Covers>,
}

/// One quantity that an intent wants to take.
struct Want {
    batch: BatchIx,
    /// In base units and as stated; `None` is all of the only candidate.
    amount: Option<(Ratio, Stated)>,
    leaving: Leaving,
    rank: Rank,
}

impl Decision<'_, '_> {
    fn book(&self) -> &Book {
        self.settler.book()
    }

    fn not_in_future(&self, instant: Instant) -> Result<(), Rejection> {
        if instant > self.now { Err(reject(Rule::FutureDate { now: self.now }, None, None)) } else { Ok(()) }
    }

    fn effect(&mut self, effect: &Effect) -> Result<(), Rejection> {
        match effect {
            Effect::Flow(flow) => self.flow(flow),
            Effect::PlaceMoved { container, to, how, .. } => {
                let place = Place::Container(container.clone());
                let arrives =
                    matches!(self.event.fact, Fact::Received { .. } | Fact::Seen { .. } | Fact::Returned { .. });
                if *how != ContainerMove::PackedAt && !arrives {
                    let ix = self.known_place(&place)?;
                    if self.leaving_to(to) == Leaving::Forbidden {
                        self.contents_not_held(ix)?;
                    }
                }
                Ok(())
            }
            Effect::PlaceEmptied { place, to, leg } => self.emptied(place, to.as_ref(), *leg),
            Effect::Counted { batch, at, quantity, second, .. } => {
                let ix = self.known_batch(batch)?;
                let unit = self.stock(ix).measure.base;
                let amount = amount_in(self.settler, Some(ix), unit, (*quantity, *second));
                amount.map(|_| ()).ok_or_else(|| self.no(Rule::QuantityUnknown, ix, Some(at.clone())))
            }
            Effect::StatusHeld { target, .. } => {
                let (HoldTarget::Batch(batch) | HoldTarget::Slice(batch, _)) = target;
                self.known_batch(batch).map(|_| ())
            }
            Effect::StatusReleased { target } => self.released(target),
            Effect::RunTold { run, .. } => {
                let Some(ix) = self.book().find_run(run) else { return Ok(()) };
                let closed = self.book().deeds_of_run(ix).any(|deed| {
                    let row = self.book().deed_row(deed);
                    matches!(row.deed, Deed::Run { completed: true, .. }) && self.in_force(row.fact)
                });
                if closed { Err(reject(Rule::RunClosed, None, None)) } else { Ok(()) }
            }
            Effect::LabelSet { batch, .. } => self.known_batch(batch).map(|_| ()),
            Effect::ContactBroken { .. }
            | Effect::ShipmentBound { .. }
            | Effect::ItemSet { .. }
            | Effect::PlaceSet { .. }
            | Effect::ExpirySet { .. }
            | Effect::VesselSet { .. }
            | Effect::FactorSet { .. }
            | Effect::PolicySet { .. }
            | Effect::Mentioned { .. } => Ok(()),
        }
    }

    /// Everything loose flows out: nothing of it may be needed there later.
    fn emptied(&mut self, place: &Place, to: Option<&Place>, leg: u16) -> Result<(), Rejection> {
        let ix = self.known_place(place)?;
        let found = contents(self.settler, ix, self.at);
        let some = found.iter().any(|(batch, at)| self.holds_some(*batch, *at));
        if !some && !matches!(self.event.fact, Fact::ContainerEmptied { .. }) {
            return Err(reject(Rule::UnknownPlace, None, Some(place.clone())));
        }
        let (at, rank) = (self.at, self.rank(Phase::Sourceless, leg));
        for (batch, _) in found.into_iter().filter(|(_, at)| *at == ix) {
            let stock = self.stock(batch);
            let (all, spare) = (stock.before(ix, at, &rank), stock.spare(ix, at, &rank));
            if spare < all && !stock.is_open(ix) {
                let amount = |value| Amount { value, unit: stock.measure.base };
                let rule = Rule::NotEnough { available: amount(spare), asked: amount(all) };
                return Err(self.no(rule, batch, Some(place.clone())));
            }
        }
        match to {
            Some(to) if self.leaving_to(to) == Leaving::Forbidden => self.contents_not_held(ix),
            _ => Ok(()),
        }
    }

    fn rank(&self, phase: Phase, leg: u16) -> Rank {
        let sequence = self.event.sequence.map_or(0, |n| n.saturating_add(1));
        Rank(sequence, phase, self.event.id.as_str().to_owned(), leg)
    }

    fn in_force(&self, fact: crate::book::FactIx) -> bool {
        self.book().in_force(fact, self.settler.known())
    }

    /// The batch that a name means; `None` when nothing is known of it.
    fn batch(&self, named: &BatchRef) -> Result<Option<BatchIx>, Rejection> {
        let (book, known) = (self.book(), self.settler.known());
        if let BatchRef::Code(code) = named {
            match book.batches_with_code(code, known)[..] {
                [] => {}
                [only] => return Ok(Some(only)),
                ref several => {
                    let candidates = several.iter().map(|batch| book.batch(*batch)).collect();
                    return Err(reject(Rule::AmbiguousCode { candidates }, Some(named.clone()), None));
                }
            }
        }
        let found = book.find_batch(named).filter(|batch| {
            book.flows_of_batch(*batch).any(|flow| self.in_force(book.stated(flow).fact))
                || book.deeds_of_batch(*batch).any(|deed| self.in_force(book.deed_row(deed).fact))
        });
        Ok(found)
    }

    fn known_batch(&self, named: &BatchRef) -> Result<BatchIx, Rejection> {
        self.batch(named)?.ok_or_else(|| reject(Rule::UnknownBatch, Some(named.clone()), None))
    }

    /// A container, shipment or vessel that some fact in force speaks of.
    fn known_place(&self, place: &Place) -> Result<PlaceIx, Rejection> {
        let book = self.book();
        let known = book.find_place(place).filter(|ix| {
            let end = EndKind::Place(*ix);
            book.deeds_of_place(*ix).any(|deed| self.in_force(book.deed_row(deed).fact))
                || book.flows_to(end).any(|flow| self.in_force(book.stated(flow).fact))
        });
        known.ok_or_else(|| reject(Rule::UnknownPlace, None, Some(place.clone())))
    }

    fn stock(&mut self, batch: BatchIx) -> &mut Stock {
        let (settler, at) = (self.settler, self.at);
        self.stocks.entry(batch).or_insert_with(|| Stock::of(settler, &settler.settle(batch, i64::MAX), at))
    }

    fn holds_some(&mut self, batch: BatchIx, place: PlaceIx) -> bool {
        let at = self.at;
        let stock = self.stock(batch);
        stock.is_open(place) || stock.at(place, at).is_positive()
    }

    fn no(&self, rule: Rule, batch: BatchIx, place: Option<Place>) -> Rejection {
        reject(rule, Some(self.book().batch(batch)), place)
    }

    fn flow(&mut self, flow: &Flow) -> Result<(), Rejection> {
        let statement = (flow.quantity, flow.second);
        if let Origin::Place(Place::Vessel(_)) = &flow.from {
            return self.draw(flow);
        }
        let batch = self.batch(&flow.batch)?;
        let enters = match &flow.from {
            Origin::Run(_) | Origin::Supply(_) => true,
            // An adjustment upwards.
            Origin::Place(place) => place.is_sink(),
            Origin::Receipt { .. } => batch.is_none(),
            Origin::Sighting | Origin::Unstated => false,
        };
        let stated = matches!(flow.from, Origin::Run(_) | Origin::Supply(_) | Origin::Place(_));
        let Some(batch) = batch else {
            let rule = match statement {
                _ if !enters => Rule::UnknownBatch,
                (None, None) => Rule::QuantityUnknown,
                _ => return Ok(()),
            };
            return Err(reject(rule, Some(flow.batch.clone()), None));
        };
        let base = self.stock(batch).measure.base;
        let amount = amount_in(self.settler, Some(batch), base, statement);
        let nothing_said = flow.quantity.is_none() && flow.second.is_none();
        if amount.is_none() && (stated || !nothing_said || matches!(flow.from, Origin::Receipt { .. })) {
            return Err(self.no(Rule::QuantityUnknown, batch, None));
        }
        if enters {
            return Ok(());
        }
        let rank = self.rank(flow.phase, flow.leg);
        let want = Want { batch, amount, leaving: self.leaving(flow, batch), rank };
        match &flow.from {
            Origin::Place(place) => self.take_named(&want, place, &flow.to),
            Origin::Receipt { by } => self.take_anywhere(&want, &flow.to, by.as_ref(), true, &[]),
            Origin::Sighting => self.take_unseen(&want, &flow.to),
            _ => self.take_anywhere(&want, &flow.to, None, false, &[]),
        }
    }

    fn leaving(&self, flow: &Flow, batch: BatchIx) -> Leaving {
        let leaving = match &flow.to {
            Target::Run(_) => {
                let production =
                    matches!(&self.event.fact, Fact::Produced(report) if report.kind == RunKind::Production);
                if production { Leaving::Forbidden } else { Leaving::Not }
            }
            Target::Place(place) => self.leaving_to(place),
        };
        if leaving == Leaving::Forbidden && self.goes_back_to_supplier(batch) { Leaving::Not } else { leaving }
    }

    fn leaving_to(&self, place: &Place) -> Leaving {
        match place {
            // A vessel is a run (ruling 15): what is filled in is consumed.
            Place::Transit(_) | Place::Party(_) | Place::Sink(Sink::Consumed) | Place::Vessel(_) => Leaving::Forbidden,
            _ => Leaving::Not,
        }
    }

    /// A return to a supplier of the batch passes under hold.
    fn goes_back_to_supplier(&self, batch: BatchIx) -> bool {
        let to = match &self.event.fact {
            Fact::Shipped { to: Some(Destination::Party(party)), .. } | Fact::Delivered { to: party, .. } => party,
            _ => return false,
        };
        let Some(party) = self.book().find_place(&Place::Party(to.clone())) else { return false };
        self.settler.is_supplied_by(batch, party)
    }

    fn covers(&self) -> &Covers {
        self.covers.get_or_init(|| {
            let settlement = |batch| Cow::Owned(self.settler.settle(batch, i64::MAX));
            self.settler.covers(i64::MAX, &settlement)
        })
    }

    /// Holds over a slice at the intent's moment, or by now: what did not happen yet cannot go before a hold.
    fn holds(&self, batch: BatchIx, place: PlaceIx) -> Vec<HoldId> {
        let covers = self.covers();
        if covers.is_empty() {
            return Vec::new();
        }
        let mut holds = self.settler.holds_over(covers, batch, place, self.at);
        holds.extend(self.settler.holds_over(covers, batch, place, self.now.0));
        holds.sort();
        holds.dedup();
        holds
    }

    fn not_held(&self, batch: BatchIx, place: PlaceIx) -> Result<(), Rejection> {
        let holds = self.holds(batch, place);
        if holds.is_empty() {
            return Ok(());
        }
        Err(self.no(Rule::UnderHold { holds }, batch, Some(self.book().place(place))))
    }

    fn contents_not_held(&mut self, place: PlaceIx) -> Result<(), Rejection> {
        if self.covers().is_empty() {
            return Ok(());
        }
        for (batch, at) in contents(self.settler, place, self.at) {
            if self.holds_some(batch, at) && !self.goes_back_to_supplier(batch) {
                self.not_held(batch, at)?;
            }
        }
        Ok(())
    }

    fn pick(&mut self, want: &Want, place: PlaceIx, amount: Ratio) -> Result<(), Rejection> {
        if want.leaving == Leaving::Forbidden {
            self.not_held(want.batch, place)?;
        }
        self.stock(want.batch).take(place, amount);
        Ok(())
    }

    fn take_named(&mut self, want: &Want, from: &Place, to: &Target) -> Result<(), Rejection> {
        if matches!(from, Place::Container(_) | Place::Transit(_)) {
            self.known_place(from)?;
        }
        let Some((wanted, _)) = want.amount else {
            return Err(self.no(Rule::QuantityUnknown, want.batch, Some(from.clone())));
        };
        let Some(place) = self.book().find_place(from) else {
            return Err(self.short(want, Ratio::ZERO, Some(from)));
        };
        let (at, settler) = (self.at, self.settler);
        let stock = self.stock(want.batch);
        if stock.is_open(place) {
            return self.pick(want, place, wanted);
        }
        let loose = stock.before(place, at, &want.rank).min(wanted);
        let spare = stock.spare(place, at, &want.rank);
        if spare < loose {
            return Err(self.short(want, spare, Some(from)));
        }
        let left = wanted.sub(loose).unwrap_or(wanted);
        if loose.is_positive() {
            self.pick(want, place, loose)?;
        }
        if !left.is_positive() {
            return Ok(());
        }
        let key = Key::end_of(at);
        let into = self.target_place(to);
        let very_place = *to == Target::Place(Place::Sink(Sink::Adjustment));
        let within: Vec<PlaceIx> = self
            .stock(want.batch)
            .places()
            .into_iter()
            .filter(|other| !very_place && *other != place && Some(*other) != into)
            .filter(|other| settler.lies_in(*other, place, key))
            .collect();
        let rest = self.take_candidates(want, &within, left, Some(from))?;
        if rest.is_positive() {
            return Err(self.short(want, wanted.sub(rest).unwrap_or(Ratio::ZERO), Some(from)));
        }
        Ok(())
    }

    fn target_place(&self, to: &Target) -> Option<PlaceIx> {
        match to {
            Target::Place(place) => self.book().find_place(place),
            Target::Run(_) => None,
        }
    }

    /// Takes from candidates; doubt is refused. What they do not cover is given back.
    fn take_candidates(
        &mut self,
        want: &Want,
        places: &[PlaceIx],
        wanted: Ratio,
        named: Option<&Place>,
    ) -> Result<Ratio, Rejection> {
        let (at, rank) = (self.at, &want.rank);
        let stock = self.stock(want.batch);
        let found: Vec<PlaceIx> = places
            .iter()
            .copied()
            .filter(|place| stock.is_open(*place) || stock.before(*place, at, rank).is_positive())
            .collect();
        if let [only] = found[..]
            && stock.is_open(only)
        {
            self.pick(want, only, wanted)?;
            return Ok(Ratio::ZERO);
        }
        let spare = |stock: &Stock| {
            found
                .iter()
                .try_fold(Ratio::ZERO, |sum, place| sum.add(stock.spare(*place, at, rank)))
                .unwrap_or(Ratio::ZERO)
        };
        let there = found.iter().try_fold(Ratio::ZERO, |sum, place| sum.add(stock.before(*place, at, rank)));
        let open = found.iter().any(|place| stock.is_open(*place));
        let ambiguous = found.len() > 1 && (open || there.is_none_or(|there| there > wanted));
        if ambiguous && (open || spare(stock) >= wanted) {
            let mut candidates: Vec<Place> = found.iter().map(|place| self.book().place(*place)).collect();
            candidates.sort();
            return Err(self.no(Rule::AmbiguousSource { candidates }, want.batch, named.cloned()));
        }
        let all = spare(stock);
        let mut left = wanted;
        for place in found {
            let stock = self.stock(want.batch);
            let amount = stock.before(place, at, rank).min(left);
            if stock.spare(place, at, rank) < amount {
                // Enough is there now, but what is known of later needs it.
                let before = want.amount.and_then(|(whole, _)| whole.sub(wanted)).unwrap_or(Ratio::ZERO);
                return Err(self.short(want, before.add(all).unwrap_or(all), named));
            }
            if amount.is_positive() {
                self.pick(want, place, amount)?;
                left = left.sub(amount).unwrap_or(left);
            }
        }
        Ok(left)
    }

    /// Transit towards here first, then wherever it is inside but for some places.
    fn take_anywhere(
        &mut self,
        want: &Want,
        to: &Target,
        by: Option<&PartyId>,
        receipt: bool,
        except: &[PlaceIx],
    ) -> Result<(), Rejection> {
        let (at, settler) = (self.at, self.settler);
        let key = Key::end_of(at);
        let into = self.target_place(to);
        let places = self.stock(want.batch).places();
        let towards: Vec<PlaceIx> =
            places.iter().copied().filter(|place| self.goes_towards(*place, to, by, key)).collect();
        let inside: Vec<PlaceIx> = places
            .iter()
            .copied()
            .filter(|place| Some(*place) != into && !towards.contains(place) && !except.contains(place))
            .filter(|place| settler.inside(*place, key))
            .collect();
        let Some((wanted, _)) = want.amount else {
            return self.take_all_of_the_only(want, [&towards, &inside]);
        };
        let left = self.take_candidates(want, &towards, wanted, None)?;
        let left = if left.is_positive() { self.take_candidates(want, &inside, left, None)? } else { left };
        if left.is_positive() && !receipt {
            return Err(self.short(want, wanted.sub(left).unwrap_or(Ratio::ZERO), None));
        }
        Ok(())
    }

    fn take_all_of_the_only(&mut self, want: &Want, steps: [&[PlaceIx]; 2]) -> Result<(), Rejection> {
        for places in steps {
            let (at, stock) = (self.at, self.stock(want.batch));
            let some = |place: &PlaceIx| stock.is_open(*place) || stock.before(*place, at, &want.rank).is_positive();
            let found: Vec<PlaceIx> = places.iter().copied().filter(some).collect();
            match found[..] {
                [] => {}
                [only] => {
                    let all = stock.before(only, at, &want.rank);
                    let spare = stock.spare(only, at, &want.rank);
                    if spare < all && !stock.is_open(only) {
                        return Err(self.no(Rule::QuantityUnknown, want.batch, None));
                    }
                    return self.pick(want, only, all);
                }
                _ => {
                    let mut candidates: Vec<Place> = found.iter().map(|place| self.book().place(*place)).collect();
                    candidates.sort();
                    return Err(self.no(Rule::AmbiguousSource { candidates }, want.batch, None));
                }
            }
        }
        Err(self.no(Rule::QuantityUnknown, want.batch, None))
    }

    /// A sighting is covered first by what is there.
    fn take_unseen(&mut self, want: &Want, to: &Target) -> Result<(), Rejection> {
        let key = Key::end_of(self.at);
        let (Some(there), Some((wanted, stated))) = (self.target_place(to), want.amount) else {
            return self.take_anywhere(want, to, None, false, &[]);
        };
        let (at, settler) = (self.at, self.settler);
        let stock = self.stock(want.batch);
        let present = stock.places().into_iter().filter(|place| *place == there || settler.lies_in(*place, there, key));
        let present: Vec<PlaceIx> = present.collect();
        if present.iter().any(|place| stock.is_open(*place)) {
            return Ok(());
        }
        let rank = &want.rank;
        let covered = present.iter().try_fold(Ratio::ZERO, |sum, place| sum.add(stock.before(*place, at, rank)));
        let rest = wanted.sub(covered.unwrap_or(Ratio::ZERO)).unwrap_or(wanted);
        if !rest.is_positive() {
            return Ok(());
        }
        let amount = Some((rest, stated));
        let want = Want { batch: want.batch, amount, leaving: want.leaving, rank: want.rank.clone() };
        self.take_anywhere(&want, to, None, false, &present)
    }

    /// Under way, and bound for the destination.
    fn goes_towards(&self, place: PlaceIx, to: &Target, by: Option<&PartyId>, key: Key) -> bool {
        let book = self.book();
        if !matches!(book.place_kind(place), PlaceKind::Transit | PlaceKind::Container) {
            return false;
        }
        let transit = self.settler.top(place, key).filter(|top| book.place_kind(*top) == PlaceKind::Transit);
        let Some(bound) = transit.and_then(|transit| self.settler.bound_for(transit, key)) else { return false };
        if by.and_then(|by| book.find_place(&Place::Party(by.clone()))) == Some(bound) {
            return true;
        }
        let goal = self.target_place(to).and_then(|to| match book.place_kind(to) {
            PlaceKind::Location | PlaceKind::Party => Some(to),
            PlaceKind::Container => self.settler.top(to, key),
            _ => None,
        });
        goal.is_some_and(|goal| {
            bound == goal || self.settler.lies_in(goal, bound, key) || self.settler.lies_in(bound, goal, key)
        })
    }

    /// Not enough, in the unit that was asked in where that converts.
    fn short(&self, want: &Want, available: Ratio, place: Option<&Place>) -> Rejection {
        let base = self.stocks.get(&want.batch).map(|stock| stock.measure.base);
        let (Some(base), Some((_, stated))) = (base, want.amount) else {
            return self.no(Rule::QuantityUnknown, want.batch, place.cloned());
        };
        let asked = Amount { value: Ratio::from_decimal(stated.value()), unit: stated.unit() };
        let converted = self.settler.convert(want.batch, base, asked.unit).and_then(|factor| available.mul(factor));
        let available = match converted {
            Some(value) => Amount { value, unit: asked.unit },
            None => Amount { value: available, unit: base },
        };
        let rule = match place {
            Some(Place::Party(_)) => Rule::NeverSent { available, asked },
            _ => Rule::NotEnough { available, asked },
        };
        self.no(rule, want.batch, place.cloned())
    }

    /// A draw from a vessel makes a batch, known or not.
    fn draw(&mut self, flow: &Flow) -> Result<(), Rejection> {
        let Origin::Place(from) = &flow.from else { return Ok(()) };
        let drawn = self.batch(&flow.batch)?;
        let no = |rule| Err(reject(rule, Some(flow.batch.clone()), Some(from.clone())));
        let vessel = self.known_place(from)?;
        if !self.levels.contains_key(&vessel) {
            match Level::of(self.settler, vessel) {
                Some(level) => self.levels.insert(vessel, level),
                None => return no(Rule::UnknownPlace),
            };
        }
        let level = &self.levels[&vessel];
        let Some((wanted, stated)) = amount_in(self.settler, drawn, level.unit, (flow.quantity, flow.second)) else {
            return no(Rule::QuantityUnknown);
        };
        let spare = level.spare(self.at);
        if spare < wanted {
            let back = amount_in_unit(self.settler, drawn, level.unit, stated.unit());
            let available = match back.and_then(|factor| spare.mul(factor)) {
                Some(value) => Amount { value, unit: stated.unit() },
                None => Amount { value: spare, unit: level.unit },
            };
            let asked = Amount { value: Ratio::from_decimal(stated.value()), unit: stated.unit() };
            return no(Rule::NotEnough { available, asked });
        }
        if let Some(level) = self.levels.get_mut(&vessel) {
            level.take(wanted);
        }
        Ok(())
    }

    fn released(&self, target: &ReleaseTarget) -> Result<(), Rejection> {
        let book = self.book();
        match target {
            ReleaseTarget::Hold(hold) => {
                let (mut set, mut lifted) = (None, false);
                for deed in book.hold_deeds() {
                    let row = book.deed_row(*deed);
                    if !self.in_force(row.fact) {
                        continue;
                    }
                    match &row.deed {
                        Deed::Hold { hold: other, batch, .. } if book.hold_id(*other) == *hold => {
                            set = Some((self.settler.resolve(*batch), book.fact(row.fact).instant));
                        }
                        Deed::ReleaseHold { hold: other } => lifted |= book.hold_id(*other) == *hold,
                        _ => {}
                    }
                }
                let ended = set.is_some_and(|(batch, from)| self.released_batch_after(batch, from));
                if set.is_none() || lifted || ended {
                    return Err(reject(Rule::NothingToRelease, set.map(|(batch, _)| book.batch(batch)), None));
                }
                Ok(())
            }
            ReleaseTarget::Batch(named) => {
                let batch = self.known_batch(named)?;
                let places = self.settler.settle(batch, i64::MAX).slices;
                let none = places.iter().all(|slice| self.holds(batch, slice.place).is_empty());
                // A batch without a slice may be held all the same.
                let unplaced = book.find_place(&Place::Unplaced);
                if none && unplaced.is_none_or(|place| self.holds(batch, place).is_empty()) {
                    return Err(self.no(Rule::NothingToRelease, batch, None));
                }
                Ok(())
            }
        }
    }

    fn released_batch_after(&self, batch: BatchIx, from: i64) -> bool {
        self.book().hold_deeds().iter().any(|deed| {
            let row = self.book().deed_row(*deed);
            matches!(row.deed, Deed::ReleaseBatch { batch: other } if self.settler.resolve(other) == batch)
                && self.in_force(row.fact)
                && self.book().fact(row.fact).instant >= from
        })
    }
}

fn amount_in_unit(
    settler: &Settler<'_>,
    batch: Option<BatchIx>,
    from: crate::unit::Unit,
    to: crate::unit::Unit,
) -> Option<Ratio> {
    match batch {
        Some(batch) => settler.convert(batch, from, to),
        None => same_dimension(from, to),
    }
}
