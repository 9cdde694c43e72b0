//! Pictures of traces: batches as boxes, runs and vessels between them, suppliers and customers at the ends.
//!
//! Moves of one batch from place to place are not drawn: a box says where its batch is now.

mod layout;
mod svg;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lotline_domain::book::{BatchIx, Book, PlaceIx, PlaceKind, RunIx};
use lotline_domain::command::Amount as DomainAmount;
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::Node as Near;
use lotline_projections::{self as engine, Point, Question, State, Tier, Trace};
use lotline_wire::answer::Amount;

use crate::answer::on_hand::name_of;
use crate::print::quantity;

pub use svg::{Drawn, svg};

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Where the trace begins.
    Start,
    /// A batch on the way.
    Batch,
    /// A run.
    Run,
    /// A vessel.
    Vessel,
    /// A supplier or customer.
    Party,
}

/// A node of a picture.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it stands for.
    pub kind: Kind,
    /// What is written in it; the first line is its name.
    pub lines: Vec<String>,
    /// How sure it is that it belongs here.
    pub tier: Tier,
}

/// A line between two nodes.
#[derive(Debug, Clone)]
pub struct Line {
    /// Number of the node that it leaves.
    pub from: usize,
    /// Number of the node that it enters.
    pub to: usize,
    /// How much went that way.
    pub label: String,
    /// How sure it is.
    pub tier: Tier,
}

/// A trace to be drawn.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// So many places are named in a box.
const PLACES_SHOWN: usize = 2;

/// What a node is, by which it is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Batch(BatchIx),
    Run(RunIx),
    Vessel(PlaceIx),
    Party(PlaceIx),
}

struct Gather<'q, 'a> {
    question: &'q Question<'a>,
    trace: &'q Trace,
    nodes: BTreeMap<Thing, Tier>,
    lines: BTreeMap<(Thing, Thing), (Option<DomainAmount>, Tier)>,
}

/// The picture of a trace.
pub fn of_trace(question: &Question<'_>, trace: &Trace) -> Picture {
    let mut gather = Gather { question, trace, nodes: BTreeMap::new(), lines: BTreeMap::new() };
    gather.steps();
    if trace.direction == engine::Direction::Forward {
        gather.customers();
    }
    gather.picture()
}

impl Gather<'_, '_> {
    fn node(&mut self, thing: Thing, tier: Tier) {
        let known = self.nodes.entry(thing).or_insert(tier);
        *known = (*known).max(tier);
    }

    fn line(&mut self, from: Thing, to: Thing, amount: Option<DomainAmount>, tier: Tier) {
        self.node(from, tier);
        self.node(to, tier);
        let known = self
            .lines
            .entry((from, to))
            .or_insert((Some(DomainAmount { value: Ratio::ZERO, unit: unit_of(amount) }), tier));
        known.0 = known
            .0
            .zip(amount)
            .and_then(|(sum, more)| Some(DomainAmount { value: sum.value.add(more.value)?, unit: more.unit }));
        known.1 = known.1.max(tier);
    }

    fn steps(&mut self) {
        for batch in self.trace.starts.clone() {
            self.node(Thing::Batch(batch), Tier::Certain);
        }
        for (batch, tier) in self.trace.batches.clone() {
            self.node(Thing::Batch(batch), tier);
        }
        for step in self.trace.edges.clone() {
            let measure = &self.question.settlement(step.batch).measure;
            let amount =
                step.flow.amount.map(|amount| DomainAmount { value: measure.value(amount), unit: measure.base });
            // A debt's payment is in the book by its own flow already.
            let amount = if step.flow.in_book() {
                amount
            } else {
                Some(DomainAmount { value: Ratio::ZERO, unit: measure.base })
            };
            let of = |point: Point| match point {
                Point::Slice(batch, _) => Some(Thing::Batch(batch)),
                Point::Run(run) => Some(Thing::Run(run)),
                Point::Vessel(vessel) => Some(Thing::Vessel(vessel)),
                Point::Supply(party) => Some(Thing::Party(party)),
                Point::Sink(_) => None,
            };
            if let (Some(from), Some(to)) = (of(step.from), of(step.to))
                && from != to
            {
                // Supplies go straight into runs and vessels at times; their batch is drawn between.
                let own = Thing::Batch(step.batch);
                if from == own || to == own {
                    self.line(from, to, amount, step.tier);
                } else {
                    self.line(from, own, amount, step.tier);
                    self.line(own, to, amount, step.tier);
                }
            }
        }
    }

    /// Who has what now.
    fn customers(&mut self) {
        let batches: Vec<(BatchIx, Tier)> =
            self.nodes.iter().filter_map(|(thing, tier)| Some((batch_of(*thing)?, *tier))).collect();
        for (batch, _) in batches {
            for row in engine::slices_of(self.question, batch) {
                let Some(party) = row.place.filter(|_| row.state == State::AtParty) else { continue };
                let Some(reached) = self.trace.slices.get(&(batch, row.slice)) else { continue };
                let tier = reached.tier();
                self.line(Thing::Batch(batch), Thing::Party(party), Some(row.amount), tier);
            }
        }
    }

    fn picture(self) -> Picture {
        let book = self.question.book();
        let numbers: BTreeMap<Thing, usize> = self.nodes.keys().enumerate().map(|(at, thing)| (*thing, at)).collect();
        let nodes = self.nodes.iter().map(|(thing, tier)| self.draw(book, *thing, *tier)).collect();
        let lines = self
            .lines
            .iter()
            .map(|((from, to), (amount, tier))| Line {
                from: numbers[from],
                to: numbers[to],
                label: amount.filter(|amount| !amount.value.is_zero()).map(shown).unwrap_or_default(),
                tier: *tier,
            })
            .collect();
        let starts: Vec<String> = self.trace.starts.iter().map(|start| book.batch(*start).to_string()).collect();
        let way = match self.trace.direction {
            engine::Direction::Forward => "What was made of",
            engine::Direction::Back => "What went into",
        };
        Picture { title: format!("{way} {}", starts.join(", ")), nodes, lines }
    }

    fn draw(&self, book: &Book, thing: Thing, tier: Tier) -> Node {
        let (kind, lines) = match thing {
            Thing::Batch(batch) => {
                let start = self.trace.starts.contains(&batch);
                (if start { Kind::Start } else { Kind::Batch }, self.batch_lines(book, batch))
            }
            Thing::Run(run) => (Kind::Run, vec![book.run(run).name.to_string()]),
            Thing::Vessel(vessel) => (Kind::Vessel, vec![name_of(&book.place(vessel))]),
            Thing::Party(party) => (Kind::Party, vec![name_of(&book.place(party))]),
        };
        Node { kind, lines, tier }
    }

    fn batch_lines(&self, book: &Book, batch: BatchIx) -> Vec<String> {
        let (item, code) = match book.batch(batch) {
            BatchRef::Known(id) => (id.item.to_string(), id.code.to_string()),
            BatchRef::Code(code) => ("?".to_owned(), code.to_string()),
        };
        let mut lines = vec![item, code];
        let settled = self.question.settlement(batch);
        let made: i128 = settled
            .flows
            .iter()
            .filter(|flow| flow.in_book())
            .filter(|flow| match flow.from {
                Near::Run(_) | Near::Supply(_) => true,
                Near::Place(place) => book.place_kind(place) == PlaceKind::Vessel,
            })
            .filter_map(|flow| flow.amount)
            .sum();
        if made > 0 {
            lines.push(shown(DomainAmount { value: settled.measure.value(made), unit: settled.measure.base }));
        }
        let mut inside: Vec<String> = engine::slices_of(self.question, batch)
            .into_iter()
            .filter(|row| row.state != State::AtParty)
            .map(|row| {
                let place = row.place.map_or(Place::Unplaced, |place| book.place(place));
                format!("{} at {}", shown(row.amount), name_of(&place))
            })
            .collect();
        inside.sort();
        let more = inside.len().saturating_sub(PLACES_SHOWN);
        inside.truncate(PLACES_SHOWN);
        lines.extend(inside);
        if more > 0 {
            lines.push(format!("and at {more} more places"));
        }
        lines
    }
}

fn batch_of(thing: Thing) -> Option<BatchIx> {
    match thing {
        Thing::Batch(batch) => Some(batch),
        _ => None,
    }
}

fn unit_of(amount: Option<DomainAmount>) -> lotline_domain::unit::Unit {
    amount.map_or(lotline_domain::unit::Unit::KILOGRAM, |amount| amount.unit)
}

fn shown(amount: DomainAmount) -> String {
    quantity(&Amount::from(amount))
}

/// The picture for Graphviz.
pub fn dot(picture: &Picture) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out = String::from("digraph trace {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=10];\n");
    let _ = writeln!(out, "  label=\"{}\";", quoted(&picture.title));
    for (at, node) in picture.nodes.iter().enumerate() {
        let lines: Vec<String> = node.lines.iter().map(|line| quoted(line)).collect();
        let shape = match node.kind {
            Kind::Start => "box, penwidth=3",
            Kind::Batch => "box",
            Kind::Run => "box, style=rounded, fontsize=8",
            Kind::Vessel => "cylinder",
            Kind::Party => "house",
        };
        let _ = writeln!(out, "  n{at} [shape={shape}, {}label=\"{}\"];", tone(node.tier), lines.join("\\n"));
    }
    for line in &picture.lines {
        let (from, to, label) = (line.from, line.to, quoted(&line.label));
        let _ = writeln!(out, "  n{from} -> n{to} [{}label=\"{label}\", fontsize=8];", tone(line.tier));
    }
    out.push_str("}\n");
    out
}

fn tone(tier: Tier) -> &'static str {
    match tier {
        Tier::Certain => "",
        Tier::Possible => "style=dashed, ",
        Tier::Cleared => "color=gray, fontcolor=gray, ",
    }
}
