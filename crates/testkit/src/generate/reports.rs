//! What runs do: production, splits, merges, re-packs, rework, told at once or in parts.

use std::collections::BTreeSet;

use lotline_domain::fact::{ByLoss, Fact, Input, Output, RunKind, RunReport, Window};
use lotline_domain::id::{BatchId, Place, Sink};
use lotline_domain::quantity::Stated;
use rust_decimal::Decimal;

use super::make::{Maker, Milli, OpenRun};

/// What goes in or comes out, before it is told.
type Leg = (BatchId, Place, Milli);

const QUARTER: i64 = 900_000_000;

impl Maker {
    pub fn produce(&mut self) {
        let inputs = self.inputs(3);
        let Some((first, _, _)) = inputs.first().cloned() else { return };
        let stage = self.item_of(&first).map_or(1, |item| (self.items[item].stage + 1).min(2));
        let total: Milli = inputs.iter().map(|(_, _, amount)| *amount).sum();
        let mut outputs = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            let item = self.item_at(stage);
            // Several runs may make one batch.
            let batch = match self.random.pick(&self.batches).cloned() {
                Some(batch) if self.random.chance(10) && self.may_become(&inputs, &batch) => batch,
                _ => self.new_batch(item),
            };
            outputs.push((batch, self.whereto(), total));
        }
        let share = i64::try_from(outputs.len()).unwrap_or(1);
        for output in &mut outputs {
            let loss = if self.random.chance(40) { 500 * self.random.range(-2, 8) } else { 0 };
            output.2 = (total / share - loss).max(500);
        }
        self.run(RunKind::Production, inputs, outputs);
    }

    /// Without rework no batch comes out of what was made of it.
    fn may_become(&self, inputs: &[Leg], batch: &BatchId) -> bool {
        self.knobs.rework || inputs.iter().all(|(input, _, _)| input != batch && !self.ancestors(input).contains(batch))
    }

    fn ancestors(&self, of: &BatchId) -> BTreeSet<BatchId> {
        let mut found = BTreeSet::new();
        let mut todo = vec![of.clone()];
        while let Some(next) = todo.pop() {
            for parent in self.parents.get(&next).into_iter().flatten() {
                if found.insert(parent.clone()) {
                    todo.push(parent.clone());
                }
            }
        }
        found
    }

    pub fn rework(&mut self) {
        let inputs = self.inputs(2);
        let Some((first, place, amount)) = inputs.first().cloned() else { return };
        let ancestors: Vec<_> = self.ancestors(&first).into_iter().collect();
        // Into what it was made of, or into itself.
        let target = self.random.pick(&ancestors).cloned().unwrap_or(first);
        let to = if self.random.chance(50) { place } else { self.whereto() };
        self.run(RunKind::Production, inputs, vec![(target, to, amount)]);
    }

    pub fn split_or_merge(&mut self) {
        let kind = [RunKind::Split, RunKind::Merge, RunKind::Repack][self.random.below(3)];
        let inputs = self.inputs(if kind == RunKind::Merge { 3 } else { 1 });
        let Some((first, _, _)) = inputs.first().cloned() else { return };
        let item = self.item_of(&first).unwrap_or(0);
        let total: Milli = inputs.iter().map(|(_, _, amount)| *amount).sum();
        let parts = if kind == RunKind::Split { 2 } else { 1 };
        let mut outputs = Vec::new();
        for _ in 0..parts {
            let batch = self.new_batch(item);
            outputs.push((batch, self.whereto(), (total / parts).max(500)));
        }
        self.run(kind, inputs, outputs);
    }

    fn inputs(&mut self, most: usize) -> Vec<Leg> {
        let mut inputs: Vec<Leg> = Vec::new();
        for _ in 0..1 + self.random.below(most) {
            if let Some((batch, from, held)) = self.slice()
                && !inputs.iter().any(|(b, p, _)| *b == batch && *p == from)
            {
                let amount = self.part(held);
                inputs.push((batch, from, amount));
            }
        }
        inputs
    }

    fn whereto(&mut self) -> Place {
        match self.random.pick(&self.vessels).cloned() {
            Some(vessel) if self.random.chance(8) => Place::Vessel(vessel),
            _ => self.inside(),
        }
    }

    fn run(&mut self, kind: RunKind, inputs: Vec<Leg>, outputs: Vec<Leg>) {
        for (batch, from, amount) in &inputs {
            self.book(batch, from, -amount);
        }
        for (batch, to, amount) in &outputs {
            self.book(batch, to, *amount);
            let parents = self.parents.entry(batch.clone()).or_default();
            parents.extend(inputs.iter().map(|(input, _, _)| input.clone()));
        }
        let reopened = if self.knobs.runs_in_parts && self.random.chance(25) {
            self.random.pick(&self.open_runs).map(|run| (run.id.clone(), run.kind))
        } else {
            None
        };
        let (run, kind) = match reopened {
            Some(open) => open,
            None => (self.new_run(), kind),
        };
        let windows = self.knobs.windows && self.random.chance(30);
        let at = if self.random.chance(30) { Some(self.location()) } else { None };
        let mut report = RunReport {
            run,
            kind,
            inputs: inputs.iter().map(|leg| self.input(leg, windows)).collect(),
            outputs: outputs.iter().map(|leg| self.output(leg, windows)).collect(),
            losses: self.losses(&inputs),
            mapping: Vec::new(),
            hold_up_micros: if windows && self.random.chance(30) { 2 * QUARTER } else { 0 },
            completed: self.random.chance(10),
            at,
        };
        if self.knobs.vessels && self.random.chance(8) {
            report.inputs.extend(self.blend());
        }
        if self.knobs.mapping && self.random.chance(20) {
            report.mapping = self.pairs(&report);
        }
        if self.knobs.runs_in_parts && self.random.chance(30) {
            self.in_parts(report)
        } else {
            drop(self.tell(Fact::Produced(report)))
        }
    }

    fn input(&mut self, (batch, from, amount): &Leg, windows: bool) -> Input {
        let item = self.item_of(batch);
        Input {
            batch: Some(self.name(batch)),
            quantity: self.state(item, *amount),
            second: self.second(item),
            from: self.told_from(Some(from.clone())),
            window: self.window(windows),
        }
    }

    fn output(&mut self, (batch, to, amount): &Leg, windows: bool) -> Output {
        let item = self.item_of(batch);
        let to = if self.knobs.missing_sources && self.random.chance(10) { None } else { Some(to.clone()) };
        Output {
            batch: self.name(batch),
            quantity: self.state(item, *amount),
            second: self.second(item),
            to,
            window: self.window(windows),
            expires: self.expires(),
        }
    }

    /// On a grid of quarters of an hour, so that windows touch.
    fn window(&mut self, declared: bool) -> Option<Window> {
        if !declared || self.random.chance(20) {
            return None;
        }
        let from = self.present().plus_micros(QUARTER * self.random.range(-4, 4));
        Some(Window { from, to: from.plus_micros(QUARTER * self.random.range(1, 4)) })
    }

    fn losses(&mut self, inputs: &[Leg]) -> Vec<ByLoss> {
        if !self.random.chance(25) {
            return Vec::new();
        }
        let item = inputs.first().and_then(|(batch, _, _)| self.item_of(batch));
        let unit = item.map_or(lotline_domain::unit::Unit::KILOGRAM, |item| self.items[item].unit);
        let sink = [Sink::Loss, Sink::Sample, Sink::Destroyed][self.random.below(3)];
        let amount = Decimal::new(500 * self.random.range(1, 10), 3);
        Stated::new(amount, unit).ok().map(|quantity| ByLoss { sink, quantity }).into_iter().collect()
    }

    /// An anonymous blend drawn straight into the run.
    fn blend(&mut self) -> Option<Input> {
        let vessel = self.random.pick(&self.vessels).cloned()?;
        let item = self.item_at(0);
        let amount = 1000 * self.random.range(1, 40);
        let quantity = self.state(Some(item), amount);
        Some(Input { batch: None, quantity, second: None, from: Some(Place::Vessel(vessel)), window: None })
    }

    fn pairs(&mut self, report: &RunReport) -> Vec<(lotline_domain::id::BatchRef, lotline_domain::id::BatchRef)> {
        let mut pairs = Vec::new();
        for input in &report.inputs {
            for output in &report.outputs {
                if let (Some(batch), true) = (&input.batch, self.random.chance(60)) {
                    pairs.push((batch.clone(), output.batch.clone()));
                }
            }
        }
        pairs
    }

    /// The legs one report after the other, with other things happening between.
    fn in_parts(&mut self, report: RunReport) {
        let part = RunReport {
            inputs: Vec::new(),
            outputs: Vec::new(),
            losses: Vec::new(),
            mapping: Vec::new(),
            completed: false,
            ..report.clone()
        };
        let outputs_first = self.random.chance(25);
        let inputs = RunReport { inputs: report.inputs, mapping: report.mapping, ..part.clone() };
        let outputs = RunReport { outputs: report.outputs, losses: report.losses, ..part.clone() };
        let (first, second) = if outputs_first { (outputs, inputs) } else { (inputs, outputs) };
        self.tell(Fact::Produced(first));
        if self.random.chance(60) {
            self.operate();
        }
        let with_end = self.random.chance(40);
        self.tell(Fact::Produced(RunReport { completed: with_end, ..second }));
        if with_end {
            return;
        }
        if self.random.chance(40) {
            self.tell(Fact::Produced(RunReport { completed: true, ..part }));
        } else {
            self.open_runs.push(OpenRun { id: part.run, kind: part.kind });
        }
    }
}
