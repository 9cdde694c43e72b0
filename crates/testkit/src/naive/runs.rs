//! Section 6: runs, the pairs that they connect, and their balances.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Fact, RunKind, RunReport, Window, anonymous_blend};
use lotline_domain::id::{BatchRef, EventId, Place, RunId, Sink};
use lotline_domain::quantity::Stated;
use lotline_domain::time::Instant;
use lotline_domain::unit::Unit;

use super::Discrepancy;
use super::names::Batch;
use super::number::{Number, decimal, ratio, zero};
use super::settle::{Node, Settled};
use super::units::Measure;

/// What of a run went in or came out.
#[derive(Debug, Clone)]
pub struct Leg {
    pub event: EventId,
    pub leg: u32,
    pub batch: Batch,
    pub at: Instant,
    pub window: Option<Window>,
    pub measure: Measure,
    pub kind: RunKind,
}

/// A run as all its reports tell it.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub inputs: Vec<Leg>,
    pub outputs: Vec<Leg>,
    pub losses: Vec<(Sink, Stated)>,
    mapping: BTreeSet<(Batch, Batch)>,
    reports: usize,
    completed: bool,
    leg_after: bool,
    last: Option<EventId>,
}

/// What becomes of the difference of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// In is out and losses.
    Even,
    /// More went in: unexplained.
    Lost(Number),
    /// More came out: gained.
    Gained(Number),
    /// The run is open: in process; below zero when more came out so far.
    InProcess(Number),
    /// A quantity is missing, or the legs have no common dimension.
    Unknown,
}

/// The balance of a run (section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunBalance {
    /// More may come.
    pub open: bool,
    /// The unit of its sums, where all legs have one.
    pub unit: Option<Unit>,
    /// In less out less losses.
    pub rest: Rest,
}

impl Run {
    /// Whether an input reaches an output.
    pub fn connects(&self, input: &Leg, output: &Leg) -> bool {
        if !self.mapping.is_empty() && !self.mapping.contains(&(input.batch.clone(), output.batch.clone())) {
            return false;
        }
        match (input.window, output.window) {
            // Half-open: touching is not overlapping.
            (Some(into), Some(out)) => into.from < out.to && out.from < into.to,
            _ => true,
        }
    }

    fn gives_windows(&self) -> bool {
        self.inputs.iter().chain(&self.outputs).any(|leg| leg.window.is_some())
    }

    pub fn is_open(&self) -> bool {
        (self.reports > 1 && !self.completed) || self.leg_after
    }
}

impl Settled {
    /// All runs with the legs of their reports up to `as_of`.
    pub(super) fn runs(&self) -> BTreeMap<RunId, Run> {
        let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
        let mut hold_ups: BTreeMap<RunId, Vec<i64>> = BTreeMap::new();
        for event in &self.live {
            let Fact::Produced(report) = &event.fact else { continue };
            let run = runs.entry(report.run.clone()).or_default();
            run.reports += 1;
            if self.bounds.as_of.is_some_and(|as_of| event.instant() > as_of) {
                run.leg_after |= !report.inputs.is_empty() || !report.outputs.is_empty() || !report.losses.is_empty();
                continue;
            }
            run.completed |= report.completed;
            run.last = Some(event.id.clone());
            run.losses.extend(report.losses.iter().map(|loss| (loss.sink, loss.quantity)));
            let pairs = report.mapping.iter().map(|(a, b)| (self.names.resolve(a), self.names.resolve(b)));
            run.mapping.extend(pairs);
            hold_ups.entry(report.run.clone()).or_default().push(report.hold_up_micros);
            self.legs(run, report, &event.id, event.instant());
        }
        // CHOICE: the hold-up is the run's, whichever report tells it; of several the longest.
        for (id, run) in &mut runs {
            let hold_up = hold_ups.get(id).and_then(|all| all.iter().copied().max()).unwrap_or(0);
            for window in run.inputs.iter_mut().filter_map(|input| input.window.as_mut()) {
                *window = Window { from: window.from, to: window.to.plus_micros(hold_up) };
            }
        }
        runs
    }

    fn legs(&self, run: &mut Run, report: &RunReport, event: &EventId, at: Instant) {
        let mut number = 0;
        for input in &report.inputs {
            let batch = match (&input.batch, &input.from) {
                (Some(batch), _) => Some(self.names.resolve(batch)),
                (None, Some(Place::Vessel(vessel))) => {
                    let leg = u16::try_from(number).unwrap_or(u16::MAX);
                    Some(BatchRef::Known(anonymous_blend(vessel, event, leg)))
                }
                (None, _) => None,
            };
            let window = input.window;
            let measure = Measure { first: input.quantity, second: input.second };
            if let Some(batch) = batch {
                run.inputs.push(Leg {
                    event: event.clone(),
                    leg: number,
                    batch,
                    at,
                    window,
                    measure,
                    kind: report.kind,
                });
            }
            number += 1;
        }
        for output in &report.outputs {
            let batch = self.names.resolve(&output.batch);
            let measure = Measure { first: output.quantity, second: output.second };
            run.outputs.push(Leg {
                event: event.clone(),
                leg: number,
                batch,
                at,
                window: output.window,
                measure,
                kind: report.kind,
            });
            number += 1;
        }
    }

    /// The balances of all runs, by written id.
    pub fn run_balances(&self) -> BTreeMap<String, RunBalance> {
        self.runs().into_iter().map(|(id, run)| (id.to_string(), self.run_balance(&id, &run))).collect()
    }

    pub(super) fn run_balance(&self, id: &RunId, run: &Run) -> RunBalance {
        let open = run.is_open();
        let common = [Unit::KILOGRAM, Unit::LITRE, Unit::ONE, Unit::METRE, Unit::SQUARE_METRE];
        let sums = common.into_iter().find_map(|unit| Some((unit, self.sum_of_run(id, run, unit)?)));
        let Some((unit, sum)) = sums else {
            return RunBalance { open, unit: None, rest: Rest::Unknown };
        };
        let rest = match () {
            () if open => Rest::InProcess(sum),
            () if sum > zero() => Rest::Lost(sum),
            () if sum < zero() => Rest::Gained(-sum),
            () => Rest::Even,
        };
        RunBalance { open, unit: Some(unit), rest }
    }

    /// In less out less losses in a unit, if every leg converts to it.
    fn sum_of_run(&self, id: &RunId, run: &Run, unit: Unit) -> Option<Number> {
        let mut sum = zero();
        for leg in &run.inputs {
            sum += self.leg_in(id, leg, unit)?;
        }
        for leg in &run.outputs {
            sum -= self.leg_in(id, leg, unit)?;
        }
        for (_, loss) in &run.losses {
            sum -= loss_in(*loss, unit)?;
        }
        Some(sum)
    }

    /// What a leg says, or where it says nothing what was settled for it.
    fn leg_in(&self, id: &RunId, leg: &Leg, unit: Unit) -> Option<Number> {
        if leg.measure.first.is_some() || leg.measure.second.is_some() {
            return self.units.convert(&leg.batch, leg.measure, unit);
        }
        let run = Node::Run(id.clone());
        let flows: Vec<_> = self
            .flows
            .iter()
            .filter(|flow| {
                !flow.possible && flow.cause == leg.event && flow.leg == leg.leg && (flow.to == run || flow.from == run)
            })
            .collect();
        let factor = self.units.factor(&leg.batch, self.units.base(&leg.batch), unit)?;
        let known: Option<Vec<Number>> = flows.iter().map(|flow| flow.amount.clone()).collect();
        known.filter(|known| !known.is_empty()).map(|known| known.iter().fold(zero(), |sum, part| sum + part) * factor)
    }

    pub(super) fn run_exceptions(&self) -> BTreeSet<Discrepancy> {
        let mut found = BTreeSet::new();
        for (id, run) in self.runs() {
            let place = format!("run:{id}");
            // CHOICE: the causing fact of a run's difference is the last of its reports in step order.
            let kind = match self.run_balance(&id, &run).rest {
                Rest::Lost(_) => Some("run lost mass"),
                Rest::Gained(_) => Some("run gained mass"),
                _ => None,
            };
            if let (Some(kind), Some(last)) = (kind, &run.last) {
                found.insert(Discrepancy { kind, batch: String::new(), place: place.clone(), cause: last.to_string() });
            }
            if run.gives_windows() {
                // CHOICE: one for each leg without a window that is part of a pair.
                let without = |leg: &&Leg| leg.window.is_none();
                let inputs = run
                    .inputs
                    .iter()
                    .filter(without)
                    .filter(|leg| run.outputs.iter().any(|out| run.connects(leg, out)));
                let outputs = run
                    .outputs
                    .iter()
                    .filter(without)
                    .filter(|leg| run.inputs.iter().any(|into| run.connects(into, leg)));
                for leg in inputs.chain(outputs) {
                    found.insert(Discrepancy {
                        kind: "no window",
                        batch: leg.batch.to_string(),
                        place: place.clone(),
                        cause: leg.event.to_string(),
                    });
                }
            }
        }
        found
    }
}

/// A loss is no batch's: it converts within its dimension only.
fn loss_in(loss: Stated, unit: Unit) -> Option<Number> {
    if loss.unit() == unit {
        return Some(decimal(loss.value()));
    }
    let same = loss.unit().dimension() == unit.dimension();
    let (numerator, denominator) = loss.unit().ratio().filter(|_| same)?;
    Some(decimal(loss.value()) * ratio(numerator, denominator))
}
