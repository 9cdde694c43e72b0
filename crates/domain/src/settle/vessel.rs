//! Vessels: runs that never end. Inside, the total is certain and the split is the mix model's
//! (rulings 15 to 19).

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::book::{BatchIx, Deed, EndKind, FactIx, FlowIx, PlaceIx};
use crate::effect::Phase;
use crate::fact::{CleanGrade, MixModel};
use crate::quantity::Ratio;
use crate::unit::Unit;

use super::{Exception, ExceptionKind, Key, Measure, Node, Settled, Settlement, Settler};

/// What went in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// The stated flow.
    pub flow: FlowIx,
    /// The batch it counts for.
    pub batch: BatchIx,
    /// The fact.
    pub fact: FactIx,
    /// When, microseconds.
    pub at: i64,
    /// How much; `None` is unknown.
    pub amount: Option<Ratio>,
    /// The unit of its amount: the vessel's, or the batch's own where the vessel has none.
    pub unit: Unit,
    /// How much in the base unit of its batch.
    pub base: Option<Ratio>,
    /// The settled flows that brought it.
    pub settled: Vec<Settled>,
    /// Number of the first draw before which some of it had left.
    left_before: Option<usize>,
    /// Number of the first draw that a sufficient clean cut off from it.
    cut_before: Option<usize>,
    /// Number of the first draw after it.
    first_draw: usize,
}

impl Fill {
    /// A part of its amount in the base unit of its batch.
    pub fn in_base(&self, part: Ratio) -> Option<Ratio> {
        let whole = self.amount.filter(|amount| !amount.is_zero())?;
        self.base?.mul(part)?.div(whole)
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// The stated flow.
    pub flow: FlowIx,
    /// The batch it made.
    pub batch: BatchIx,
    /// The fact.
    pub fact: FactIx,
    /// When, microseconds.
    pub at: i64,
    /// How much; `None` is unknown.
    pub amount: Option<Ratio>,
    /// The unit of its amount: the vessel's, or the batch's own where the vessel has none.
    pub unit: Unit,
    /// What it is made of: number of the fill and how much, by the mix model.
    pub parts: Vec<(usize, Ratio)>,
    /// Parts that a later fill paid.
    pub paid_later: Vec<(usize, Ratio)>,
    /// More was drawn than was there: the vessel owes what no part explains.
    pub owes: bool,
}

/// How a draw is linked to a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It has some of it.
    Content(Ratio),
    /// A later fill paid for it.
    PaidLater(Ratio),
    /// It may have some of it: an unknown quantity is between them.
    Unknown,
    /// Only residue.
    Residue,
}

/// What a vessel lacks of a batch that records took out of it by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Which batch.
    pub batch: BatchIx,
    /// How much.
    pub amount: Ratio,
    /// The unit of the amount.
    pub unit: Unit,
}

/// A vessel within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VesselSettlement {
    /// Which.
    pub vessel: PlaceIx,
    /// How it mixes.
    pub mix: MixModel,
    /// The unit of its amounts; `None` when its legs have no common one.
    pub unit: Option<Unit>,
    /// Fills in step order.
    pub fills: Vec<Fill>,
    /// Draws in step order.
    pub draws: Vec<Draw>,
    /// What is left: number of the fill and how much, oldest first.
    pub layers: Vec<(usize, Ratio)>,
    /// What records took of a batch by its name beyond what the model has of it (ruling 18).
    pub missing: Vec<Missing>,
    /// Discrepancies.
    pub exceptions: Vec<Exception>,
    /// Amounts sent to unexplained by cleaning: number of the fill, how much, and the fact that cleaned.
    pub cleaned: Vec<(usize, Ratio, FactIx)>,
}

impl VesselSettlement {
    /// How a draw is linked to a fill, if it is.
    pub fn contact(&self, fill: usize, draw: usize) -> Option<Contact> {
        let (f, d) = (&self.fills[fill], &self.draws[draw]);
        if let Some((_, amount)) = d.parts.iter().find(|part| part.0 == fill) {
            return Some(Contact::Content(*amount));
        }
        if let Some((_, amount)) = d.paid_later.iter().find(|part| part.0 == fill) {
            return Some(Contact::PaidLater(*amount));
        }
        if draw < f.first_draw || f.cut_before.is_some_and(|cut| draw >= cut) {
            return None;
        }
        if f.amount.is_none() || d.amount.is_none() {
            return Some(Contact::Unknown);
        }
        f.left_before.is_some_and(|left| draw >= left).then_some(Contact::Residue)
    }

    /// The draws that a fill may have come into: from its first to the one a clean cut off, and those it paid.
    pub fn draws_of(&self, fill: usize) -> impl Iterator<Item = (usize, Contact)> + '_ {
        (0..self.draws.len()).filter_map(move |draw| self.contact(fill, draw).map(|contact| (draw, contact)))
    }

    /// The fills that may have come into a draw.
    pub fn fills_of(&self, draw: usize) -> impl Iterator<Item = (usize, Contact)> + '_ {
        (0..self.fills.len()).filter_map(move |fill| self.contact(fill, draw).map(|contact| (fill, contact)))
    }

    /// The total in the vessel: fills less draws, takes and what cleaning sent away; below zero while it owes
    /// something. `None` without a common unit.
    pub fn total(&self) -> Option<Ratio> {
        self.unit?;
        let left = self.layers.iter().try_fold(Ratio::ZERO, |sum, (_, amount)| sum.add(*amount))?;
        let left = self.missing.iter().try_fold(left, |sum, missing| sum.sub(missing.amount))?;
        self.draws.iter().try_fold(left, |sum, draw| {
            let Some(amount) = draw.amount else { return Some(sum) };
            let parts = draw.parts.iter().chain(&draw.paid_later);
            let owed = parts.map(|(_, part)| *part).try_fold(amount, Ratio::sub)?;
            if draw.owes { sum.sub(owed) } else { Some(sum) }
        })
    }
}

enum Op {
    Fill(Fill),
    Draw(Draw),
    /// A record names what it takes out: the batch's own layers (ruling 18).
    Take(Draw),
    Clean(CleanGrade, FactIx, i64),
    Count(Counted),
}

/// How much of a batch was counted.
struct Counted {
    batch: BatchIx,
    /// In the base unit of the batch.
    amount: Ratio,
    /// Its measure.
    measure: Measure,
    fact: FactIx,
    at: i64,
}

/// Digits behind the point to which a full mix apportions.
const SHARE_SCALE: u32 = 9;

impl Settler<'_> {
    /// A vessel as known, with its operations up to an instant. A hazard that asks for `grade` is cut off
    /// by cleans of at least that grade. `settlement` gives the settlement of a batch within the same bounds.
    pub fn vessel<'s>(
        &self,
        vessel: PlaceIx,
        as_of: i64,
        grade: CleanGrade,
        settlement: &impl Fn(BatchIx) -> Cow<'s, Settlement>,
    ) -> VesselSettlement {
        let mut ops = self.operations(vessel, as_of, settlement);
        ops.sort_by(|a, b| self.order(&a.0, &b.0));
        let mix = self.mix_model(vessel);
        let mut state = Mixing::new(self, vessel, mix, grade);
        state.choose_unit(&mut ops, settlement);
        for (_, op) in ops {
            match op {
                Op::Fill(fill) => state.fill(fill),
                Op::Draw(draw) => state.draw(draw),
                Op::Take(take) => state.take_named(&take),
                Op::Clean(grade, fact, at) => state.clean(grade, fact, at),
                Op::Count(counted) => state.count(&counted),
            }
        }
        state.finish()
    }

    fn operations<'s>(
        &self,
        vessel: PlaceIx,
        as_of: i64,
        settlement: &impl Fn(BatchIx) -> Cow<'s, Settlement>,
    ) -> Vec<(Key, Op)> {
        let mut ops: Vec<(Key, Op)> = Vec::new();
        let end = EndKind::Place(vessel);
        for flow in self.book.flows_to(end) {
            let Some((key, batch, fact, at)) = self.operation(flow, as_of) else { continue };
            let settled: Vec<Settled> = settlement(batch)
                .flows
                .iter()
                .filter(|settled| settled.stated == Some(flow) && settled.to == Node::Place(vessel))
                .copied()
                .collect();
            ops.push((
                key,
                Op::Fill(Fill {
                    flow,
                    batch,
                    fact,
                    at,
                    amount: None,
                    base: None,
                    unit: settlement(batch).measure.base,
                    settled,
                    left_before: None,
                    cut_before: None,
                    first_draw: 0,
                }),
            ));
        }
        for flow in self.book.flows_from(end) {
            let Some((key, batch, fact, at)) = self.operation(flow, as_of) else { continue };
            let draw = Draw {
                flow,
                batch,
                fact,
                at,
                amount: None,
                unit: settlement(batch).measure.base,
                parts: Vec::new(),
                paid_later: Vec::new(),
                owes: false,
            };
            let draws = self.book.stated(flow).phase == Phase::Draw;
            ops.push((key, if draws { Op::Draw(draw) } else { Op::Take(draw) }));
        }
        for deed in self.book.deeds_of_place(vessel) {
            let row = self.book.deed_row(deed);
            let Deed::Clean { grade, .. } = row.deed else { continue };
            let at = self.book.fact(row.fact).instant;
            if self.book.in_force(row.fact, self.known) && at <= as_of {
                ops.push((self.key(row.fact, Phase::Clean, row.leg), Op::Clean(CleanGrade(grade), row.fact, at)));
            }
        }
        let mut counted: Vec<BatchIx> = self.book.counted_at(vessel).collect();
        counted.sort_unstable();
        counted.dedup();
        for named in counted {
            let batch = self.resolve(named);
            for row in self.book.deeds_of_batch(named).map(|deed| self.book.deed_row(deed)) {
                let Deed::Count { at: place, quantity, second, .. } = row.deed else { continue };
                let at = self.book.fact(row.fact).instant;
                if place != vessel || at > as_of || !self.book.in_force(row.fact, self.known) {
                    continue;
                }
                let measure = settlement(batch).measure;
                let base = measure.base;
                let amount = [quantity, second].into_iter().flatten().find_map(|stated| {
                    Ratio::from_decimal(stated.value()).mul(self.convert(batch, stated.unit(), base)?)
                });
                // What does not convert is an exception of the batch.
                if let Some(amount) = amount {
                    let counted = Counted { batch, amount, measure, fact: row.fact, at };
                    ops.push((self.key(row.fact, Phase::Count, row.leg), Op::Count(counted)));
                }
            }
        }
        ops
    }

    fn operation(&self, flow: FlowIx, as_of: i64) -> Option<(Key, BatchIx, FactIx, i64)> {
        let row = self.book.stated(flow);
        let at = self.book.fact(row.fact).instant;
        (self.book.in_force(row.fact, self.known) && at <= as_of)
            .then(|| (self.key(row.fact, row.phase, row.leg), self.resolve(row.batch), row.fact, at))
    }
}

struct Mixing<'s, 'b> {
    settler: &'s Settler<'b>,
    grade: CleanGrade,
    out: VesselSettlement,
    layers: VecDeque<(usize, Ratio)>,
    debts: VecDeque<(usize, Ratio)>,
    /// Something of unknown quantity went in since the last clean.
    open: bool,
}

impl<'s, 'b> Mixing<'s, 'b> {
    fn new(settler: &'s Settler<'b>, vessel: PlaceIx, mix: MixModel, grade: CleanGrade) -> Self {
        let out = VesselSettlement {
            vessel,
            mix,
            unit: None,
            fills: Vec::new(),
            draws: Vec::new(),
            layers: Vec::new(),
            missing: Vec::new(),
            exceptions: Vec::new(),
            cleaned: Vec::new(),
        };
        Self { settler, grade, out, layers: VecDeque::new(), debts: VecDeque::new(), open: false }
    }

    /// Mass if every stated leg converts to it, else volume, else unit by unit.
    fn choose_unit<'c>(&mut self, ops: &mut [(Key, Op)], settlement: &impl Fn(BatchIx) -> Cow<'c, Settlement>) {
        let legs = |op: &Op| match op {
            Op::Fill(fill) => Some((fill.flow, fill.batch)),
            Op::Draw(draw) | Op::Take(draw) => Some((draw.flow, draw.batch)),
            Op::Clean(..) | Op::Count(_) => None,
        };
        let fits = |base: Unit| {
            ops.iter()
                .filter_map(|(_, op)| legs(op))
                .all(|(flow, batch)| !self.is_stated(flow) || self.stated_in(flow, batch, base).is_some())
        };
        self.out.unit = [Unit::KILOGRAM, Unit::LITRE].into_iter().find(|base| fits(*base));
        for (_, op) in ops {
            match op {
                Op::Fill(fill) => {
                    fill.unit = self.out.unit.unwrap_or(fill.unit);
                    let base = settlement(fill.batch).measure.base;
                    let stated = || self.stated_in(fill.flow, fill.batch, fill.unit);
                    fill.amount = match self.base_sum(fill, settlement) {
                        Some(_) if self.stated_in(fill.flow, fill.batch, base).is_some() => stated(),
                        Some(taken) => {
                            self.settler.convert(fill.batch, base, fill.unit).and_then(|ratio| ratio.mul(taken))
                        }
                        None => stated(),
                    };
                    fill.base = self.base_sum(fill, settlement);
                }
                Op::Draw(draw) | Op::Take(draw) => {
                    draw.unit = self.out.unit.unwrap_or(draw.unit);
                    draw.amount = self.stated_in(draw.flow, draw.batch, draw.unit);
                }
                Op::Clean(..) | Op::Count(_) => {}
            }
        }
    }

    fn is_stated(&self, flow: FlowIx) -> bool {
        let book = self.settler.book;
        book.stated(flow).quantity.is_some() || book.extra(flow).is_some_and(|extra| extra.second.is_some())
    }

    fn stated_in(&self, flow: FlowIx, batch: BatchIx, base: Unit) -> Option<Ratio> {
        let book = self.settler.book;
        let second = book.extra(flow).and_then(|extra| extra.second);
        [book.stated(flow).quantity, second].into_iter().flatten().find_map(|stated| {
            let ratio = self.settler.convert(batch, stated.unit(), base)?;
            Ratio::from_decimal(stated.value()).mul(ratio)
        })
    }

    /// What settlement booked, in the base unit of the batch.
    fn base_sum<'c>(&self, fill: &Fill, settlement: &impl Fn(BatchIx) -> Cow<'c, Settlement>) -> Option<Ratio> {
        let in_book = || fill.settled.iter().filter(|flow| flow.in_book());
        in_book().next()?;
        let sum = in_book().map(|flow| flow.amount).try_fold(0i128, |sum, amount| Some(sum + amount?))?;
        Some(settlement(fill.batch).measure.value(sum))
    }

    fn total(&self, unit: Unit) -> Ratio {
        let own = self.layers.iter().filter(|(fill, _)| self.out.fills[*fill].unit == unit);
        own.into_iter().try_fold(Ratio::ZERO, |sum, (_, amount)| sum.add(*amount)).unwrap_or(Ratio::ZERO)
    }

    /// What records took that the layers do not have.
    fn missing(&self, unit: Unit) -> Ratio {
        let missing = self.out.missing.iter().filter(|missing| missing.unit == unit);
        missing.map(|missing| missing.amount).try_fold(Ratio::ZERO, Ratio::add).unwrap_or(Ratio::ZERO)
    }

    fn exception(&mut self, kind: ExceptionKind, batch: Option<BatchIx>, cause: FactIx, at: i64) {
        let place = Some(self.out.vessel);
        self.out.exceptions.push(Exception { kind, batch, place, cause, at, until: None, amount: None });
    }

    fn fill(&mut self, mut fill: Fill) {
        let index = self.out.fills.len();
        fill.first_draw = self.out.draws.len();
        self.open |= fill.amount.is_none();
        let mut left = fill.amount.unwrap_or(Ratio::ZERO);
        for missing in &mut self.out.missing {
            if (missing.batch, missing.unit) == (fill.batch, fill.unit) {
                let pays = missing.amount.min(left);
                missing.amount = missing.amount.sub(pays).unwrap_or(Ratio::ZERO);
                left = left.sub(pays).unwrap_or(Ratio::ZERO);
            }
        }
        self.out.missing.retain(|missing| missing.amount.is_positive());
        for owing in 0..self.debts.len() {
            let (draw, owed) = self.debts[owing];
            let pays = owed.min(left);
            if self.out.draws[draw].unit != fill.unit || !pays.is_positive() {
                continue;
            }
            left = left.sub(pays).unwrap_or(Ratio::ZERO);
            self.out.draws[draw].paid_later.push((index, pays));
            // Some of it has left for a draw that came before it.
            fill.left_before = Some(fill.first_draw);
            self.debts[owing].1 = owed.sub(pays).unwrap_or(Ratio::ZERO);
            if self.debts[owing].1.is_zero() {
                let paid = &self.out.draws[draw];
                let (batch, cause, at) = (paid.batch, paid.fact, paid.at);
                self.exception(ExceptionKind::VesselDrawnBeforeFilled, Some(batch), cause, at);
            }
        }
        self.debts.retain(|(_, owed)| owed.is_positive());
        if left.is_positive() {
            self.layers.push_back((index, left));
        }
        self.out.fills.push(fill);
    }

    fn draw(&mut self, mut draw: Draw) {
        let index = self.out.draws.len();
        let Some(wanted) = draw.amount else {
            // How much is unknown: it may hold some of whatever is there, and what is there stays.
            self.out.draws.push(draw);
            return;
        };
        let unit = draw.unit;
        let total = self.total(unit);
        let there = total.sub(self.missing(unit)).unwrap_or(Ratio::ZERO).max(Ratio::ZERO);
        let taken = wanted.min(there);
        draw.parts = match self.out.mix {
            MixModel::FirstInFirstOut => self.take_oldest(taken, unit),
            MixModel::Full => self.take_shares(taken, total, unit),
        };
        for (fill, _) in &draw.parts {
            self.out.fills[*fill].left_before.get_or_insert(index + 1);
        }
        if let Some(short) = wanted.sub(taken).filter(|short| short.is_positive() && !self.open) {
            draw.owes = true;
            self.debts.push_back((index, short));
        }
        self.out.draws.push(draw);
    }

    /// Takes a named batch out of its own layers, oldest first; what the model has not is flagged.
    fn take_named(&mut self, take: &Draw) {
        let next_draw = self.out.draws.len();
        let mut wanted = take.amount.unwrap_or(Ratio::ZERO);
        for (fill, there) in &mut self.layers {
            let own = self.out.fills[*fill].batch == take.batch;
            let part = (*there).min(wanted);
            if !own || !part.is_positive() {
                continue;
            }
            *there = there.sub(part).unwrap_or(Ratio::ZERO);
            wanted = wanted.sub(part).unwrap_or(Ratio::ZERO);
            self.out.fills[*fill].left_before.get_or_insert(next_draw);
        }
        self.layers.retain(|(_, left)| left.is_positive());
        if wanted.is_positive() {
            self.exception(ExceptionKind::VesselHasLess, Some(take.batch), take.fact, take.at);
            let missing = self.out.missing.iter_mut();
            match missing.into_iter().find(|missing| (missing.batch, missing.unit) == (take.batch, take.unit)) {
                Some(missing) => missing.amount = missing.amount.add(wanted).unwrap_or(missing.amount),
                None => self.out.missing.push(Missing { batch: take.batch, amount: wanted, unit: take.unit }),
            }
        }
    }

    fn take_oldest(&mut self, mut wanted: Ratio, unit: Unit) -> Vec<(usize, Ratio)> {
        let mut parts = Vec::new();
        for (fill, there) in &mut self.layers {
            let part = (*there).min(wanted);
            if self.out.fills[*fill].unit != unit || !part.is_positive() {
                continue;
            }
            parts.push((*fill, part));
            wanted = wanted.sub(part).unwrap_or(Ratio::ZERO);
            *there = there.sub(part).unwrap_or(Ratio::ZERO);
        }
        self.layers.retain(|(_, left)| left.is_positive());
        parts
    }

    /// Shares in proportion, apportioned by largest remainder to nine decimals (ruling 19).
    fn take_shares(&mut self, wanted: Ratio, total: Ratio, unit: Unit) -> Vec<(usize, Ratio)> {
        if !wanted.is_positive() {
            return Vec::new();
        }
        if wanted == total {
            return self.take_oldest(total, unit);
        }
        let step = Ratio::new(1, 10i128.pow(SHARE_SCALE)).unwrap_or(Ratio::ONE);
        // Number of the layer, whole share, what was cut off.
        let mut shares: Vec<(usize, Ratio, Ratio)> = Vec::new();
        let mut rest = wanted;
        for (at, (fill, there)) in self.layers.iter().enumerate() {
            if self.out.fills[*fill].unit != unit {
                continue;
            }
            let exact = wanted.mul(*there).and_then(|share| share.div(total)).unwrap_or(Ratio::ZERO);
            let floor = exact.floor_to(SHARE_SCALE).map_or(Ratio::ZERO, Ratio::from_decimal);
            rest = rest.sub(floor).unwrap_or(Ratio::ZERO);
            shares.push((at, floor, exact.sub(floor).unwrap_or(Ratio::ZERO)));
        }
        let name = |at: usize| self.settler.book.batch(self.out.fills[self.layers[at].0].batch).to_string();
        shares.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| name(a.0).cmp(&name(b.0))).then_with(|| a.0.cmp(&b.0)));
        let mut given = true;
        while rest.is_positive() && given {
            given = false;
            for (at, share, _) in &mut shares {
                let room = self.layers[*at].1.sub(*share).unwrap_or(Ratio::ZERO);
                let more = rest.min(step).min(room);
                if more.is_positive() {
                    *share = share.add(more).unwrap_or(*share);
                    rest = rest.sub(more).unwrap_or(Ratio::ZERO);
                    given = true;
                }
            }
        }
        shares.sort_by_key(|share| share.0);
        let mut parts = Vec::new();
        for (at, share, _) in shares {
            let (fill, there) = self.layers[at];
            if share.is_positive() {
                parts.push((fill, share));
                self.layers[at] = (fill, there.sub(share).unwrap_or(Ratio::ZERO));
            }
        }
        self.layers.retain(|(_, left)| left.is_positive());
        parts
    }

    fn clean(&mut self, grade: CleanGrade, fact: FactIx, at: i64) {
        let next_draw = self.out.draws.len();
        let mut units: Vec<Unit> = self.layers.iter().map(|(fill, _)| self.out.fills[*fill].unit).collect();
        units.sort_unstable();
        units.dedup();
        for unit in units {
            // Its total, debts taken off, less the fills of its own moment.
            let owed = self.debts.iter().filter(|(draw, _)| self.out.draws[*draw].unit == unit);
            let owed = owed.into_iter().try_fold(Ratio::ZERO, |sum, (_, owed)| sum.add(*owed));
            let own = self.out.fills.iter().filter(|fill| fill.at == at && fill.unit == unit);
            let own = own.filter_map(|fill| fill.amount).try_fold(Ratio::ZERO, Ratio::add);
            let away =
                owed.zip(own).and_then(|(owed, own)| self.total(unit).sub(self.missing(unit))?.sub(owed)?.sub(own));
            for (fill, amount) in self.take_oldest(away.unwrap_or(Ratio::ZERO).max(Ratio::ZERO), unit) {
                self.out.fills[fill].left_before.get_or_insert(next_draw);
                self.out.cleaned.push((fill, amount, fact));
                let batch = self.out.fills[fill].batch;
                self.exception(ExceptionKind::CleanedWithContent, Some(batch), fact, at);
            }
        }
        self.open &= self.out.fills.iter().any(|fill| fill.at == at && fill.amount.is_none());
        if grade >= self.grade {
            for fill in &mut self.out.fills {
                if fill.at < at {
                    fill.cut_before.get_or_insert(next_draw);
                }
            }
        }
    }

    /// Compares a count with what the model has of the batch. The difference is told, and nothing is moved for it: which of
    /// its fills it would belong to no count says.
    fn count(&mut self, counted: &Counted) {
        let fills = &self.out.fills;
        if fills.iter().any(|fill| fill.batch == counted.batch && (fill.amount.is_none() || fill.base.is_none())) {
            return;
        }
        let own = self.layers.iter().filter(|(fill, _)| fills[*fill].batch == counted.batch);
        let there = own.into_iter().try_fold(Ratio::ZERO, |sum, (fill, left)| sum.add(fills[*fill].in_base(*left)?));
        let Some(there) = there else { return };
        if there != counted.amount {
            self.exception(ExceptionKind::CountDiffers, Some(counted.batch), counted.fact, counted.at);
            let difference = counted.amount.sub(there).zip(Ratio::new(counted.measure.den, 1));
            let difference = difference.and_then(|(by, den)| by.mul(den)).filter(|parts| parts.den() == 1);
            if let Some(told) = self.out.exceptions.last_mut() {
                told.amount = difference.map(Ratio::num);
            }
        }
    }

    fn finish(mut self) -> VesselSettlement {
        let mut unpaid: Vec<usize> = self.debts.iter().map(|(draw, _)| *draw).collect();
        unpaid.dedup();
        for draw in unpaid {
            let (batch, cause, at) = {
                let owing = &self.out.draws[draw];
                (owing.batch, owing.fact, owing.at)
            };
            self.exception(ExceptionKind::VesselOverdrawn, Some(batch), cause, at);
        }
        self.out.layers = self.layers.into_iter().collect();
        self.out
    }
}
