//! Runs: hubs between inputs and outputs, without an instant of their own (rulings 10 to 14).

use std::cmp::Ordering;

use crate::book::{BatchIx, Deed, EndKind, FactIx, FlowIx, FlowRow, RunIx};
use crate::fact::{RunKind, Window};
use crate::id::Sink;
use crate::quantity::{Ratio, Stated};
use crate::time::Instant;
use crate::unit::Unit;

use super::master::same_dimension;
use super::{Exception, ExceptionKind, Settlement, Settler};

/// An input or output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLeg {
    /// The stated flow.
    pub flow: FlowIx,
    /// The batch it counts for.
    pub batch: BatchIx,
    /// When, microseconds.
    pub at: i64,
    /// The fact that tells it.
    pub fact: FactIx,
    /// Declared window.
    pub window: Option<Window>,
}

/// What of a run's inputs its outputs and losses explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunBalance {
    /// All of it.
    Balanced,
    /// Closed, and so much is missing.
    Unexplained(Ratio, Unit),
    /// Closed, and so much more came out.
    Gained(Ratio, Unit),
    /// Still open: so much is in it.
    InProcess(Ratio, Unit),
    /// Quantities are unknown or do not convert to one unit.
    NotComparable,
}

/// A run as told up to the bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettlement {
    /// Which.
    pub run: RunIx,
    /// What kind.
    pub kind: RunKind,
    /// More may come.
    pub open: bool,
    /// Inputs up to the effective bound, in step order.
    pub inputs: Vec<RunLeg>,
    /// Outputs up to the effective bound, in step order.
    pub outputs: Vec<RunLeg>,
    /// Declared losses, with the facts that tell them.
    pub losses: Vec<(Sink, Stated, FactIx)>,
    /// The last of its reports up to the effective bound, in step order.
    pub last_report: Option<FactIx>,
    joins: Joins,
}

/// What joins the legs of a run: every input reaches every output, if nothing narrows that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joins {
    mapping: Vec<(BatchIx, BatchIx)>,
    hold_up: i64,
}

impl Joins {
    /// Whether an input reaches an output: by the mapping if there is one, and by the windows if both have one.
    pub fn connects(&self, input: &RunLeg, output: &RunLeg) -> bool {
        if !self.mapping.is_empty() && !self.mapping.contains(&(input.batch, output.batch)) {
            return false;
        }
        match (input.window, output.window) {
            (Some(a), Some(b)) => {
                let end = Instant(a.to.0.saturating_add(self.hold_up));
                a.from < b.to && b.from < end
            }
            _ => true,
        }
    }
}

impl RunSettlement {
    /// Whether an input reaches an output.
    pub fn connects(&self, input: &RunLeg, output: &RunLeg) -> bool {
        self.joins.connects(input, output)
    }

    /// The legs without a window that are part of a pair, in a run that gives some.
    pub fn without_window(&self) -> Vec<&RunLeg> {
        let legs = || self.inputs.iter().chain(&self.outputs);
        if legs().all(|leg| leg.window.is_none()) {
            return Vec::new();
        }
        let inputs = self.inputs.iter().filter(|input| self.outputs.iter().any(|output| self.connects(input, output)));
        let outputs = self.outputs.iter().filter(|output| self.inputs.iter().any(|input| self.connects(input, output)));
        inputs.chain(outputs).filter(|leg| leg.window.is_none()).collect()
    }
}

impl Settler<'_> {
    /// A run as known, with its legs up to an instant.
    pub fn run(&self, run: RunIx, as_of: i64) -> RunSettlement {
        let mut reports = 0usize;
        let mut completed = false;
        let mut settled = RunSettlement {
            run,
            kind: RunKind::Production,
            open: false,
            inputs: Vec::new(),
            outputs: Vec::new(),
            losses: Vec::new(),
            last_report: None,
            joins: Joins::default(),
        };
        let mut told: Vec<_> = self.book.deeds_of_run(run).map(|deed| self.book.deed_row(deed)).collect();
        told.retain(|row| self.book.in_force(row.fact, self.known));
        told.sort_by(|a, b| {
            let key = |fact| self.key(fact, crate::effect::Phase::In, 0);
            self.order(&key(a.fact), &key(b.fact))
        });
        for row in told {
            let Deed::Run { kind, completed: done, mapping, hold_up_micros, losses, .. } = &row.deed else { continue };
            reports += 1;
            if self.book.fact(row.fact).instant > as_of {
                continue;
            }
            completed |= done;
            settled.kind = *kind;
            self.join(&mut settled.joins, mapping, *hold_up_micros);
            settled.last_report = Some(row.fact);
            settled.losses.extend(losses.iter().map(|(sink, stated)| (*sink, *stated, row.fact)));
        }
        let end = EndKind::Run(run);
        let (inputs, later_in) = self.legs(self.book.flows_to(end), as_of);
        let (outputs, later_out) = self.legs(self.book.flows_from(end), as_of);
        settled.inputs = inputs;
        settled.outputs = outputs;
        settled.open = (reports >= 2 && !completed) || later_in || later_out;
        settled
    }

    fn join(&self, joins: &mut Joins, mapping: &[(BatchIx, BatchIx)], hold_up: i64) {
        joins.hold_up = joins.hold_up.max(hold_up);
        joins.mapping.extend(mapping.iter().map(|(input, output)| (self.resolve(*input), self.resolve(*output))));
    }

    /// What joins the legs of a run by its reports up to an instant, and nothing else of it.
    pub fn joins(&self, run: RunIx, as_of: i64) -> Joins {
        let mut joins = Joins::default();
        for deed in self.book.deeds_of_run(run) {
            let row = self.book.deed_row(deed);
            if let Deed::Run { mapping, hold_up_micros, .. } = &row.deed
                && self.book.in_force(row.fact, self.known)
                && self.book.fact(row.fact).instant <= as_of
            {
                self.join(&mut joins, mapping, *hold_up_micros);
            }
        }
        joins
    }

    /// The inputs of a run up to an instant, in step order.
    pub fn inputs(&self, run: RunIx, as_of: i64) -> Vec<RunLeg> {
        self.legs(self.book.flows_to(EndKind::Run(run)), as_of).0
    }

    /// The outputs of a run up to an instant, in step order.
    pub fn outputs(&self, run: RunIx, as_of: i64) -> Vec<RunLeg> {
        self.legs(self.book.flows_from(EndKind::Run(run)), as_of).0
    }

    /// The batch that a name stands for.
    pub fn resolve(&self, batch: BatchIx) -> BatchIx {
        if !self.book.has_pseudo() {
            return batch;
        }
        self.stands_for(batch).unwrap_or(batch)
    }

    fn legs(&self, flows: impl Iterator<Item = FlowIx>, as_of: i64) -> (Vec<RunLeg>, bool) {
        let mut legs = Vec::new();
        let mut later = false;
        // Most legs of a run are told by one fact.
        let mut last: Option<(FactIx, bool)> = None;
        for flow in flows {
            let row = self.book.stated(flow);
            let in_force = match last {
                Some((fact, in_force)) if fact == row.fact => in_force,
                _ => self.book.in_force(row.fact, self.known),
            };
            last = Some((row.fact, in_force));
            if !in_force {
                continue;
            }
            let at = self.book.fact(row.fact).instant;
            if at > as_of {
                later = true;
                continue;
            }
            let window = self.book.extra(flow).and_then(|extra| extra.window);
            legs.push(RunLeg { flow, batch: self.resolve(row.batch), at, fact: row.fact, window });
        }
        // They come latest recorded first; turned round, those of one fact are in order already.
        legs.reverse();
        legs.sort_unstable_by(|a, b| self.leg_order(a, b));
        (legs, later)
    }

    fn leg_order(&self, a: &RunLeg, b: &RunLeg) -> Ordering {
        let (first, second) = (self.book.stated(a.flow), self.book.stated(b.flow));
        let steps = if a.fact == b.fact {
            (first.phase as u8, first.leg).cmp(&(second.phase as u8, second.leg))
        } else {
            let key = |row: &FlowRow| self.key(row.fact, row.phase, row.leg);
            self.order(&key(first), &key(second))
        };
        // A fact of more steps than are counted has several with the last number.
        steps.then_with(|| b.flow.cmp(&a.flow))
    }

    /// What a run's outputs and losses explain of its inputs. `settlement` gives the settlement of a batch
    /// within the same bounds.
    pub fn run_balance<'s>(
        &self,
        run: &RunSettlement,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> RunBalance {
        for base in [Unit::KILOGRAM, Unit::LITRE, Unit::ONE, Unit::METRE, Unit::SQUARE_METRE] {
            let total = |legs: &[RunLeg]| {
                legs.iter().try_fold(Ratio::ZERO, |sum, leg| sum.add(self.leg_amount(leg, base, settlement)?))
            };
            let lost = run.losses.iter().try_fold(Ratio::ZERO, |sum, (_, stated, _)| {
                sum.add(Ratio::from_decimal(stated.value()).mul(same_dimension(stated.unit(), base)?)?)
            });
            let (Some(inputs), Some(outputs), Some(lost)) = (total(&run.inputs), total(&run.outputs), lost) else {
                continue;
            };
            let Some(rest) = inputs.sub(outputs).and_then(|rest| rest.sub(lost)) else { continue };
            return match (run.open, rest) {
                (true, rest) => RunBalance::InProcess(rest, base),
                (false, rest) if rest.is_positive() => RunBalance::Unexplained(rest, base),
                (false, rest) if rest.is_negative() => RunBalance::Gained(rest.neg(), base),
                _ => RunBalance::Balanced,
            };
        }
        RunBalance::NotComparable
    }

    /// How many kilograms came out of a run, losses included, beyond what went in, as far as quantities are known by mass;
    /// zero where that is nothing, or not all that went in is known.
    pub fn run_excess<'s>(
        &self,
        run: &RunSettlement,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> Ratio {
        let mass = |leg: &RunLeg| self.leg_mass(leg, settlement);
        let lost = run.losses.iter().filter_map(|(_, stated, _)| {
            Ratio::from_decimal(stated.value()).mul(same_dimension(stated.unit(), Unit::KILOGRAM)?)
        });
        let inputs = run.inputs.iter().try_fold(Ratio::ZERO, |sum, leg| sum.add(mass(leg)?));
        let outputs = run.outputs.iter().filter_map(mass).chain(lost).try_fold(Ratio::ZERO, Ratio::add);
        inputs.zip(outputs).and_then(|(inputs, outputs)| outputs.sub(inputs)).unwrap_or(Ratio::ZERO).max(Ratio::ZERO)
    }

    /// How many kilograms a leg of a run has, where that is known.
    pub fn leg_mass<'s>(
        &self,
        leg: &RunLeg,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> Option<Ratio> {
        self.leg_amount(leg, Unit::KILOGRAM, settlement)
    }

    fn leg_amount<'s>(
        &self,
        leg: &RunLeg,
        base: Unit,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> Option<Ratio> {
        let row = self.book.stated(leg.flow);
        let second = self.book.extra(leg.flow).and_then(|extra| extra.second);
        for stated in [row.quantity, second].into_iter().flatten() {
            if let Some(ratio) = self.convert(leg.batch, stated.unit(), base) {
                return Ratio::from_decimal(stated.value()).mul(ratio);
            }
        }
        // What is stated and does not convert is unknown, whatever was taken for it.
        if row.quantity.is_some() || second.is_some() {
            return None;
        }
        // No quantity stated: what settlement took, where it took a definite amount.
        let settled = settlement(leg.batch);
        let mut parts = settled.flows.iter().filter(|flow| flow.stated == Some(leg.flow) && flow.in_book()).peekable();
        parts.peek()?;
        let sum = parts.map(|flow| flow.amount).try_fold(0i128, |sum, amount| Some(sum + amount?))?;
        settled.measure.value(sum).mul(self.convert(leg.batch, settled.measure.base, base)?)
    }

    /// The discrepancies of a run.
    pub fn run_exceptions<'s>(
        &self,
        run: &RunSettlement,
        settlement: &impl Fn(BatchIx) -> std::borrow::Cow<'s, Settlement>,
    ) -> Vec<Exception> {
        let mut found: Vec<Exception> = Vec::new();
        let mut add = |kind, cause: FactIx, batch| {
            let at = self.book.fact(cause).instant;
            found.push(Exception { kind, batch, place: None, cause, at, until: None, amount: None });
        };
        for leg in run.without_window() {
            add(ExceptionKind::NoWindow, leg.fact, Some(leg.batch));
        }
        if let Some(cause) = run.last_report {
            match self.run_balance(run, settlement) {
                RunBalance::Unexplained(..) => add(ExceptionKind::RunLostMass, cause, None),
                RunBalance::Gained(..) => add(ExceptionKind::RunGainedMass, cause, None),
                _ => {}
            }
        }
        found
    }
}
