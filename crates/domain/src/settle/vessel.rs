//! Vessels: runs that never end. Inside, the total is certain and the split is the mix model's
//! (rulings 15 to 19).

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::book::{BatchIx, Deed, EndKind, FactIx, FlowIx, PlaceIx};
use crate::effect::Phase;
use crate::fact::{CleanGrade, MixModel};
use crate::quantity::Ratio;
use crate::unit::Unit;

use super::{Exception, ExceptionKind, Key, Node, Settled, Settlement, Settler};

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
    /// How much in the vessel's unit; `None` is unknown.
    pub amount: Option<Ratio>,
    /// The settled flows that brought it.
    pub settled: Vec<Settled>,
    /// Number of the first draw before which some of it had left.
    left_before: Option<usize>,
    /// Number of the first draw that a sufficient clean cut off from it.
    cut_before: Option<usize>,
    /// Number of the first draw after it.
    first_draw: usize,
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
    /// How much in the vessel's unit; `None` is unknown.
    pub amount: Option<Ratio>,
    /// What it is made of: number of the fill and how much, by the mix model.
    pub parts: Vec<(usize, Ratio)>,
    /// Parts that a later fill paid.
    pub paid_later: Vec<(usize, Ratio)>,
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
    /// Discrepancies.
    pub exceptions: Vec<Exception>,
    /// Amounts sent to unexplained by cleaning: number of the fill and how much.
    pub cleaned: Vec<(usize, Ratio)>,
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
        if self.unit.is_none() || f.amount.is_none() || d.amount.is_none() {
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

    /// The total in the vessel: fills less draws and what cleaning sent away.
    pub fn total(&self) -> Option<Ratio> {
        self.unit?;
        self.layers.iter().try_fold(Ratio::ZERO, |sum, (_, amount)| sum.add(*amount))
    }
}

enum Op {
    Fill(Fill),
    Draw(Draw),
    Clean(CleanGrade, FactIx, i64),
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
                Op::Clean(grade, fact, at) => state.clean(grade, fact, at),
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
            ops.push((key, Op::Fill(Fill {
                flow,
                batch,
                fact,
                at,
                amount: None,
                settled,
                left_before: None,
                cut_before: None,
                first_draw: 0,
            })));
        }
        for flow in self.book.flows_from(end) {
            let Some((key, batch, fact, at)) = self.operation(flow, as_of) else { continue };
            let draw = Draw { flow, batch, fact, at, amount: None, parts: Vec::new(), paid_later: Vec::new() };
            ops.push((key, Op::Draw(draw)));
        }
        for deed in self.book.deeds_of_place(vessel) {
            let row = self.book.deed_row(deed);
            let Deed::Clean { grade, .. } = row.deed else { continue };
            let at = self.book.fact(row.fact).instant;
            if self.book.in_force(row.fact, self.known) && at <= as_of {
                ops.push((self.key(row.fact, Phase::Clean, row.leg), Op::Clean(CleanGrade(grade), row.fact, at)));
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
            exceptions: Vec::new(),
            cleaned: Vec::new(),
        };
        Self { settler, grade, out, layers: VecDeque::new(), debts: VecDeque::new() }
    }

    /// Mass if every stated leg converts to it, else volume, else pieces and so on.
    fn choose_unit<'c>(&mut self, ops: &mut [(Key, Op)], settlement: &impl Fn(BatchIx) -> Cow<'c, Settlement>) {
        for base in [Unit::KILOGRAM, Unit::LITRE, Unit::ONE, Unit::METRE, Unit::SQUARE_METRE] {
            let amounts: Option<Vec<Option<Ratio>>> =
                ops.iter().map(|(_, op)| self.amount_in(op, base, settlement)).collect();
            let Some(amounts) = amounts else { continue };
            self.out.unit = Some(base);
            for ((_, op), amount) in ops.iter_mut().zip(amounts) {
                match op {
                    Op::Fill(fill) => fill.amount = amount,
                    Op::Draw(draw) => draw.amount = amount,
                    Op::Clean(..) => {}
                }
            }
            return;
        }
    }

    /// `None`: a stated leg does not convert. `Some(None)`: its quantity is unknown.
    fn amount_in<'c>(
        &self,
        op: &Op,
        base: Unit,
        settlement: &impl Fn(BatchIx) -> Cow<'c, Settlement>,
    ) -> Option<Option<Ratio>> {
        let (flow, batch, settled) = match op {
            Op::Fill(fill) => (fill.flow, fill.batch, fill.settled.as_slice()),
            Op::Draw(draw) => (draw.flow, draw.batch, &[][..]),
            Op::Clean(..) => return Some(None),
        };
        let book = self.settler.book;
        let second = book.extra(flow).and_then(|extra| extra.second);
        let stated = [book.stated(flow).quantity, second];
        for stated in stated.into_iter().flatten() {
            if let Some(ratio) = self.settler.convert(batch, stated.unit(), base) {
                return Ratio::from_decimal(stated.value()).mul(ratio).map(Some);
            }
        }
        if stated[0].is_some() {
            return None;
        }
        let in_book = || settled.iter().filter(|flow| flow.in_book());
        let sum = in_book().map(|flow| flow.amount).try_fold(0i128, |sum, amount| Some(sum + amount?));
        let Some(sum) = sum.filter(|_| in_book().next().is_some()) else { return Some(None) };
        let measure = settlement(batch).measure;
        measure.value(sum).mul(self.settler.convert(batch, measure.base, base)?).map(Some)
    }

    fn total(&self) -> Ratio {
        self.layers.iter().try_fold(Ratio::ZERO, |sum, (_, amount)| sum.add(*amount)).unwrap_or(Ratio::ZERO)
    }

    fn exception(&mut self, kind: ExceptionKind, batch: Option<BatchIx>, cause: FactIx, at: i64) {
        let place = Some(self.out.vessel);
        self.out.exceptions.push(Exception { kind, batch, place, cause, at, until: None, amount: None });
    }

    fn fill(&mut self, mut fill: Fill) {
        let index = self.out.fills.len();
        fill.first_draw = self.out.draws.len();
        let mut left = fill.amount.unwrap_or(Ratio::ZERO);
        while left.is_positive()
            && let Some((draw, owed)) = self.debts.front().copied()
        {
            let pays = owed.min(left);
            left = left.sub(pays).unwrap_or(Ratio::ZERO);
            self.out.draws[draw].paid_later.push((index, pays));
            // Some of it has left for a draw that came before it.
            fill.left_before = Some(fill.first_draw);
            self.debts.pop_front();
            match owed.sub(pays) {
                Some(rest) if rest.is_positive() => self.debts.push_front((draw, rest)),
                _ => {
                    let (batch, cause, at) = {
                        let paid = &self.out.draws[draw];
                        (paid.batch, paid.fact, paid.at)
                    };
                    self.exception(ExceptionKind::VesselDrawnBeforeFilled, Some(batch), cause, at);
                }
            }
        }
        if left.is_positive() {
            self.layers.push_back((index, left));
        }
        self.out.fills.push(fill);
    }

    fn draw(&mut self, mut draw: Draw) {
        let index = self.out.draws.len();
        let Some(wanted) = draw.amount else {
            // How much is unknown: it may hold some of whatever is there, and what is there stays.
            for (fill, _) in &self.layers {
                self.out.fills[*fill].left_before.get_or_insert(index + 1);
            }
            self.out.draws.push(draw);
            return;
        };
        let total = self.total();
        let taken = wanted.min(total);
        draw.parts = match self.out.mix {
            MixModel::FirstInFirstOut => self.take_oldest(taken),
            MixModel::Full => self.take_shares(taken, total),
        };
        for (fill, _) in &draw.parts {
            self.out.fills[*fill].left_before.get_or_insert(index + 1);
        }
        if let Some(short) = wanted.sub(taken).filter(|short| short.is_positive()) {
            self.debts.push_back((index, short));
        }
        self.out.draws.push(draw);
    }

    fn take_oldest(&mut self, mut wanted: Ratio) -> Vec<(usize, Ratio)> {
        let mut parts = Vec::new();
        while wanted.is_positive()
            && let Some((fill, there)) = self.layers.pop_front()
        {
            let part = there.min(wanted);
            parts.push((fill, part));
            wanted = wanted.sub(part).unwrap_or(Ratio::ZERO);
            if let Some(rest) = there.sub(part).filter(|rest| rest.is_positive()) {
                self.layers.push_front((fill, rest));
            }
        }
        parts
    }

    /// Shares in proportion, apportioned by largest remainder to nine decimals (ruling 19).
    fn take_shares(&mut self, wanted: Ratio, total: Ratio) -> Vec<(usize, Ratio)> {
        if !wanted.is_positive() {
            return Vec::new();
        }
        if wanted == total {
            return self.layers.drain(..).collect();
        }
        let unit = Ratio::new(1, 10i128.pow(SHARE_SCALE)).unwrap_or(Ratio::ONE);
        let mut shares: Vec<(usize, Ratio, Ratio)> = Vec::new();
        let mut rest = wanted;
        for (at, (_, there)) in self.layers.iter().enumerate() {
            let exact = wanted.mul(*there).and_then(|share| share.div(total)).unwrap_or(Ratio::ZERO);
            let floor = exact.floor_to(SHARE_SCALE).map_or(Ratio::ZERO, Ratio::from_decimal);
            rest = rest.sub(floor).unwrap_or(Ratio::ZERO);
            shares.push((at, floor, exact.sub(floor).unwrap_or(Ratio::ZERO)));
        }
        let mut order: Vec<usize> = (0..shares.len()).collect();
        let name = |at: usize| self.settler.book.batch(self.out.fills[self.layers[at].0].batch).to_string();
        order.sort_by(|a, b| {
            shares[*b].2.cmp(&shares[*a].2).then_with(|| name(*a).cmp(&name(*b))).then_with(|| a.cmp(b))
        });
        for at in order.iter().copied().cycle().take(order.len() * 2) {
            if !rest.is_positive() {
                break;
            }
            let room = self.layers[at].1.sub(shares[at].1).unwrap_or(Ratio::ZERO);
            let more = rest.min(unit).min(room);
            shares[at].1 = shares[at].1.add(more).unwrap_or(shares[at].1);
            rest = rest.sub(more).unwrap_or(Ratio::ZERO);
        }
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
        let own: Ratio = self
            .layers
            .iter()
            .filter(|(fill, _)| self.out.fills[*fill].at == at)
            .try_fold(Ratio::ZERO, |sum, (_, amount)| sum.add(*amount))
            .unwrap_or(Ratio::ZERO);
        let away = self.total().sub(own).unwrap_or(Ratio::ZERO);
        if away.is_positive() {
            for (fill, amount) in self.take_oldest(away) {
                self.out.fills[fill].left_before.get_or_insert(next_draw);
                self.out.cleaned.push((fill, amount));
            }
            self.exception(ExceptionKind::CleanedWithContent, None, fact, at);
        }
        if grade >= self.grade {
            for fill in &mut self.out.fills {
                if fill.at < at {
                    fill.cut_before.get_or_insert(next_draw);
                }
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
