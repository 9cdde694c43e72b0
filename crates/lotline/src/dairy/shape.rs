//! A bare plant-shaped genealogy: lots in six stages, a few inputs each, two in a hundred with rework,
//! and the customers of the last stage. For the trace benches, as commands and as the CSV files that the
//! peers read, so that all are measured on the same data.
//!
//! Every lot is made before it is used and has enough for what is taken of it, so the descendants of a
//! lot are the same with and without regard to time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use lotline_domain::command::{Command, Mode};
use lotline_domain::fact::{ByLoss, Event, Fact, Input, Line, Output, RunKind, RunReport};
use lotline_domain::id::{
    BatchCode, BatchId, CommandId, EventId, Generation, ItemId, LocationId, PartyId, Place, RunId, RunName, Sink,
    SourceId,
};
use lotline_domain::time::{Instant, OccurredAt};

use super::Told;
use super::catalogue::kilograms;
use super::random::Random;

const STAGES: usize = 6;
const HOURS: u64 = 8_760;
const CUSTOMERS: u64 = 5_000;
const SUPPLIERS: u32 = 40;
const YEAR_SECONDS: u64 = HOURS * 3_600;
/// 2025-01-01T00:00:00Z.
const BEGIN: i64 = 1_735_689_600_000_000;

/// A lot; its number is its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lot {
    /// Which item: a hundred per stage, of which forty are used.
    pub item: u32,
    /// 0 is raw, 5 is finished.
    pub stage: u8,
    /// Hours after the year's beginning at which it was received or made.
    pub hour: u32,
    /// How much was received or made, in kilograms.
    pub quantity: i64,
    /// What its run lost, in kilograms.
    pub loss: i64,
}

/// Some of one lot went into another's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The lot consumed.
    pub parent: u32,
    /// The lot made; it is made at the hour of all its edges.
    pub child: u32,
    /// Kilograms.
    pub quantity: i64,
}

/// Some of a finished lot went to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The lot.
    pub lot: u32,
    /// The customer's number, from 0.
    pub customer: u32,
    /// Kilograms.
    pub quantity: i64,
    /// Hours after the year's beginning.
    pub hour: u32,
}

/// A whole genealogy, in memory: 24 bytes per lot and delivery, 16 per edge.
#[derive(Debug)]
pub struct Genealogy {
    /// By number. The first quarter is raw.
    pub lots: Vec<Lot>,
    /// By child, then as drawn.
    pub edges: Vec<Edge>,
    /// By hour, then by lot.
    pub deliveries: Vec<Delivery>,
    /// Where each lot's edges begin in `edges`; one more than there are lots.
    first_edge: Vec<u32>,
}

/// A plant-shaped genealogy of so many lots (at least 1,000 make sense): a million lots have about
/// 2.6 million edges and 450,000 deliveries, and a raw lot has about 214 descendants.
#[must_use]
pub fn shape(lots: u32, seed: u64) -> Genealogy {
    let mut random = Random::new(seed, 0x5AFE);
    let counts = stage_counts(lots);
    let mut starts = [0u32; STAGES + 1];
    for stage in 0..STAGES {
        starts[stage + 1] = starts[stage] + counts[stage];
    }
    let positions: Vec<Vec<u32>> = counts.iter().map(|count| positions(*count, &mut random)).collect();
    let mut all = Vec::with_capacity(lots as usize);
    for (stage, positions) in positions.iter().enumerate() {
        for position in positions {
            let item = u32::try_from(stage * 100).expect("six stages") + small(random.below(40));
            let hour = position / 3_600 + 24 * u32::try_from(stage).expect("six stages");
            all.push(Lot { item, stage: stage as u8, hour, quantity: 0, loss: 0 });
        }
    }
    let mut edges = Vec::new();
    let mut first_edge = vec![0; starts[1] as usize];
    for stage in 1..STAGES {
        let drawn = Stage { previous: starts[stage - 1], start: starts[stage], end: starts[stage + 1] };
        drawn.draw(&positions[stage], &mut random, &mut edges, &mut first_edge);
    }
    first_edge.push(small(edges.len() as u64));
    let mut genealogy = Genealogy { lots: all, edges, deliveries: Vec::new(), first_edge };
    genealogy.put_in_time();
    genealogy.deliver(starts[STAGES - 1], &mut random);
    genealogy.make_enough();
    genealogy
}

fn small(number: u64) -> u32 {
    u32::try_from(number).expect("lots and edges are counted in 32 bits")
}

fn stage_counts(lots: u32) -> [u32; STAGES] {
    let part = small(u64::from(lots) * 15 / 100);
    let mut counts = [part; STAGES];
    counts[0] = lots - part * (small(STAGES as u64) - 1);
    counts
}

/// Moments of the year in seconds, ascending.
fn positions(count: u32, random: &mut Random) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..count).map(|_| small(random.below(YEAR_SECONDS))).collect();
    positions.sort_unstable();
    positions
}

/// The lots of one stage and where the stage before begins.
struct Stage {
    previous: u32,
    start: u32,
    end: u32,
}

impl Stage {
    /// Each lot takes two to five of the stage before, made shortly before it; two in a hundred are
    /// partly reworked into a later lot of their own stage.
    fn draw(&self, positions: &[u32], random: &mut Random, edges: &mut Vec<Edge>, first_edge: &mut Vec<u32>) {
        let before = self.start - self.previous;
        let window = u64::from((before / 2000 + 4).max(4));
        let mut rework: Vec<(u32, u32)> = Vec::new();
        for lot in self.start..self.end {
            if random.below(100) < 2 {
                let into = (lot + 1 + small(random.below(49))).min(self.end - 1);
                if into > lot {
                    rework.push((into, lot));
                }
            }
        }
        rework.sort_unstable();
        let mut rework = rework.into_iter().peekable();
        for (index, position) in positions.iter().enumerate() {
            let child = self.start + small(index as u64);
            first_edge.push(small(edges.len() as u64));
            let first = edges.len();
            let near = small(u64::from(*position) * u64::from(before) / YEAR_SECONDS);
            for _ in 0..2 + random.below(4) {
                let back = small(random.below(window));
                let parent = self.previous + near.saturating_sub(back).min(before - 1);
                add(edges, first, Edge { parent, child, quantity: random.between(1, 499) });
            }
            while let Some((_, source)) = rework.next_if(|(into, _)| *into == child) {
                add(edges, first, Edge { parent: source, child, quantity: random.between(1, 49) });
            }
        }
    }
}

/// Adds the edge unless its child has one from the same parent already.
fn add(edges: &mut Vec<Edge>, first: usize, edge: Edge) {
    if edges[first..].iter().all(|known| known.parent != edge.parent) {
        edges.push(edge);
    }
}

impl Genealogy {
    /// The edges into a lot.
    #[must_use]
    pub fn inputs(&self, lot: u32) -> &[Edge] {
        let lot = lot as usize;
        &self.edges[self.first_edge[lot] as usize..self.first_edge[lot + 1] as usize]
    }

    /// How many lots are raw: those with the numbers below it.
    #[must_use]
    pub fn raw_lots(&self) -> u32 {
        small(self.lots.partition_point(|lot| lot.stage == 0) as u64)
    }

    /// The batch that stands for a lot in the commands.
    #[must_use]
    pub fn batch(&self, lot: u32) -> BatchId {
        Names::default().batch(lot, self.lots[lot as usize].item)
    }

    /// Moves lots later until each is made after all that went into it.
    fn put_in_time(&mut self) {
        // Parents have smaller numbers than their children.
        for lot in self.raw_lots()..small(self.lots.len() as u64) {
            let latest = self.inputs(lot).iter().map(|edge| self.lots[edge.parent as usize].hour).max();
            let own = &mut self.lots[lot as usize].hour;
            *own = (*own).max(latest.map_or(0, |hour| hour + 1));
        }
    }

    fn deliver(&mut self, first_finished: u32, random: &mut Random) {
        for lot in first_finished..small(self.lots.len() as u64) {
            let hour = self.lots[lot as usize].hour + 48;
            for _ in 0..1 + random.below(5) {
                let customer = small(random.below(CUSTOMERS));
                self.deliveries.push(Delivery { lot, customer, quantity: random.between(1, 99), hour });
            }
        }
        self.deliveries.sort_by_key(|delivery| (delivery.hour, delivery.lot));
    }

    /// Raises inputs until every lot has enough for what is taken of it; what is over stays on hand, less
    /// a loss of two in a hundred.
    fn make_enough(&mut self) {
        let mut needed = vec![0i64; self.lots.len()];
        for delivery in &self.deliveries {
            needed[delivery.lot as usize] += delivery.quantity;
        }
        for lot in (0..self.lots.len()).rev() {
            let edges = &mut self.edges[self.first_edge[lot] as usize..self.first_edge[lot + 1] as usize];
            let Some((first, others)) = edges.split_first_mut() else {
                self.lots[lot].quantity = needed[lot].max(100);
                continue;
            };
            // Children were visited before: what is needed of this lot is final.
            let others: i64 = others.iter().map(|edge| edge.quantity).sum();
            first.quantity = first.quantity.max(needed[lot] - others);
            let input = first.quantity + others;
            let made = needed[lot].max(input - input * 2 / 100);
            self.lots[lot].quantity = made;
            self.lots[lot].loss = input - made;
            for edge in edges {
                needed[edge.parent as usize] += edge.quantity;
            }
        }
    }

    /// The genealogy as observations, in effective order: one receipt per raw lot, one run per other lot,
    /// one delivery per customer's part.
    pub fn commands(&self) -> impl Iterator<Item = Told> + use<'_> {
        let mut made: Vec<u32> = (0..small(self.lots.len() as u64)).collect();
        made.sort_by_key(|lot| (self.lots[*lot as usize].hour, *lot));
        let mut names = Names::default();
        let mut made = made.into_iter().peekable();
        let mut deliveries = self.deliveries.iter().peekable();
        let mut last = Instant::MIN;
        let mut number = 0u64;
        std::iter::from_fn(move || {
            let next_made = made.peek().map(|lot| self.lots[*lot as usize].hour);
            let next_delivery = deliveries.peek().map(|delivery| delivery.hour);
            let (hour, fact) = match (next_made, next_delivery) {
                (None, None) => return None,
                (Some(hour), other) if other.is_none_or(|other| hour <= other) => {
                    (hour, self.lot_fact(made.next()?, &mut names))
                }
                _ => {
                    let delivery = deliveries.next()?;
                    (delivery.hour, self.delivery_fact(delivery, &mut names))
                }
            };
            number += 1;
            let occurred = Instant(BEGIN).plus_micros(i64::from(hour) * 3_600_000_000);
            last = occurred.plus_micros(1_000_000).max(last.plus_micros(1));
            Some(Told { recorded_at: last, command: names.command(number, occurred, fact) })
        })
    }

    fn lot_fact(&self, number: u32, names: &mut Names) -> Fact {
        let lot = self.lots[number as usize];
        let batch = names.batch(number, lot.item);
        let edges = self.inputs(number);
        if edges.is_empty() {
            let quantity = Some(kilograms(lot.quantity * 1000));
            return Fact::Received {
                lines: vec![Line::new(batch, quantity)],
                containers: Vec::new(),
                from: Some(names.supplier(number % SUPPLIERS)),
                shipment: None,
                by: None,
                to: names.stage(0),
            };
        }
        let inputs = edges.iter().map(|edge| {
            let parent = self.lots[edge.parent as usize];
            Input {
                batch: Some(names.batch(edge.parent, parent.item).into()),
                quantity: Some(kilograms(edge.quantity * 1000)),
                second: None,
                from: Some(names.stage(parent.stage)),
                window: None,
            }
        });
        let inputs = inputs.collect();
        let losses = (lot.loss > 0).then(|| ByLoss { sink: Sink::Loss, quantity: kilograms(lot.loss * 1000) });
        let output = Output {
            batch: batch.into(),
            quantity: Some(kilograms(lot.quantity * 1000)),
            second: None,
            to: Some(names.stage(lot.stage)),
            window: None,
            expires: None,
        };
        Fact::Produced(RunReport {
            run: names.run(number),
            kind: RunKind::Production,
            inputs,
            outputs: vec![output],
            losses: losses.into_iter().collect(),
            mapping: Vec::new(),
            hold_up_micros: 0,
            completed: true,
            at: None,
        })
    }

    fn delivery_fact(&self, delivery: &Delivery, names: &mut Names) -> Fact {
        let lot = self.lots[delivery.lot as usize];
        let batch = names.batch(delivery.lot, lot.item);
        let line = Line::new(batch, Some(kilograms(delivery.quantity * 1000))).from(names.stage(lot.stage));
        Fact::Delivered {
            shipment: None,
            to: names.customer(delivery.customer),
            lines: vec![line],
            containers: Vec::new(),
        }
    }

    /// Writes `lots.csv` (id, item, stage, hour), `edges.csv` (parent, child, quantity, hour) and
    /// `shipments.csv` (lot, customer, quantity, hour) into an existing folder, without headings.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_csv(&self, folder: &Path) -> io::Result<()> {
        let mut lots = BufWriter::new(File::create(folder.join("lots.csv"))?);
        for (number, lot) in self.lots.iter().enumerate() {
            writeln!(lots, "{number},{},{},{}", lot.item, lot.stage, lot.hour)?;
        }
        lots.flush()?;
        let mut edges = BufWriter::new(File::create(folder.join("edges.csv"))?);
        let mut by_hour: Vec<&Edge> = self.edges.iter().collect();
        by_hour.sort_by_key(|edge| self.lots[edge.child as usize].hour);
        for edge in by_hour {
            let hour = self.lots[edge.child as usize].hour;
            writeln!(edges, "{},{},{},{hour}", edge.parent, edge.child, edge.quantity)?;
        }
        edges.flush()?;
        let mut shipments = BufWriter::new(File::create(folder.join("shipments.csv"))?);
        for delivery in &self.deliveries {
            writeln!(shipments, "{},{},{},{}", delivery.lot, delivery.customer, delivery.quantity, delivery.hour)?;
        }
        shipments.flush()
    }
}

/// Names that come up again are made once.
struct Names {
    source: SourceId,
    items: Vec<Option<ItemId>>,
    customers: Vec<Option<PartyId>>,
    suppliers: Vec<Option<PartyId>>,
    stages: Vec<Place>,
}

impl Default for Names {
    fn default() -> Self {
        let stage = |stage| LocationId::parse(&format!("plant/stage-{stage}")).expect("a generated name is a name");
        Self {
            source: SourceId::parse("plant").expect("a word is a name"),
            items: Vec::new(),
            customers: Vec::new(),
            suppliers: Vec::new(),
            stages: (0..STAGES).map(|number| Place::Location(stage(number))).collect(),
        }
    }
}

/// The entry of that number, made when it is first asked for.
fn entry<T: Clone>(known: &mut Vec<Option<T>>, number: u32, make: impl FnOnce() -> T) -> T {
    let index = number as usize;
    if known.len() <= index {
        known.resize(index + 1, None);
    }
    known[index].get_or_insert_with(make).clone()
}

impl Names {
    fn batch(&mut self, lot: u32, item: u32) -> BatchId {
        let make = || ItemId::parse(&format!("item-{item:03}")).expect("a generated name is a name");
        let item = entry(&mut self.items, item, make);
        BatchId::own(item, BatchCode::parse(&format!("L{lot:07}")).expect("a generated name is a name"))
    }

    fn customer(&mut self, number: u32) -> PartyId {
        let make = || PartyId::parse(&format!("customer-{number:04}")).expect("a generated name is a name");
        entry(&mut self.customers, number, make)
    }

    fn supplier(&mut self, number: u32) -> PartyId {
        let make = || PartyId::parse(&format!("supplier-{number:02}")).expect("a generated name is a name");
        entry(&mut self.suppliers, number, make)
    }

    fn stage(&self, stage: u8) -> Place {
        self.stages[usize::from(stage)].clone()
    }

    fn run(&self, lot: u32) -> RunId {
        let name = RunName::parse(&format!("run-{lot:07}")).expect("a generated name is a name");
        RunId { source: self.source.clone(), name, generation: Generation::default() }
    }

    fn command(&self, number: u64, occurred: Instant, fact: Fact) -> Command {
        let text = format!("plant-{number:07}");
        let event = Event {
            id: EventId::parse(&text).expect("a generated name is a name"),
            command: CommandId::parse(&text).expect("a generated name is a name"),
            source: self.source.clone(),
            occurred_at: OccurredAt::utc(occurred),
            sequence: None,
            fact,
        };
        Command { mode: Mode::Observation, event }
    }
}
