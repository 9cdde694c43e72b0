//! Pictures of traces: batches as boxes, runs and vessels between them, suppliers at the beginning.
//!
//! Moves of one batch from place to place are not drawn: a box says where its batch is now, and which customers have
//! how much of it.

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
use crate::print::{count, quantity};

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
    /// A supplier.
    Party,
}

/// A node of a picture.
#[derive(Debug, Clone)]
pub struct Node {
    /// A batch of which a customer has some.
    pub outside: bool,
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
const PLACES_SHOWN: usize = 3;
/// Longer lines of a box are cut in their middle.
const LINE_MAX: usize = 36;

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
        let named = |name: String| vec![cut(&name)];
        let (kind, lines) = match thing {
            Thing::Batch(batch) => {
                let start = self.trace.starts.contains(&batch);
                let (outside, lines) = self.batch_lines(book, batch);
                let kind = if start { Kind::Start } else { Kind::Batch };
                return Node { outside, kind, lines, tier };
            }
            Thing::Run(run) => (Kind::Run, named(book.run(run).name.to_string())),
            Thing::Vessel(vessel) => (Kind::Vessel, named(name_of(&book.place(vessel)))),
            Thing::Party(party) => (Kind::Party, named(name_of(&book.place(party)))),
        };
        Node { outside: false, kind, lines, tier }
    }

    /// What is written in a batch's box, and whether a customer has some of it.
    fn batch_lines(&self, book: &Book, batch: BatchIx) -> (bool, Vec<String>) {
        let (item, code) = match book.batch(batch) {
            BatchRef::Known(id) => (id.item.to_string(), id.code.to_string()),
            BatchRef::Code(code) => ("?".to_owned(), code.to_string()),
        };
        let mut lines = vec![cut(&item), cut(&code)];
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
        let mut sums: BTreeMap<(bool, String), Option<DomainAmount>> = BTreeMap::new();
        for row in engine::slices_of(self.question, batch) {
            let place = row.place.map_or(Place::Unplaced, |place| book.place(place));
            let key = (row.state != State::AtParty, name_of(&place));
            let sum = sums.entry(key).or_insert(Some(DomainAmount { value: Ratio::ZERO, unit: row.amount.unit }));
            *sum = sum.and_then(|sum| Some(DomainAmount { value: sum.value.add(row.amount.value)?, ..sum }));
        }
        let outside = sums.keys().any(|(inside, _)| !inside);
        let more = sums.len().saturating_sub(PLACES_SHOWN);
        lines.extend(sums.iter().take(PLACES_SHOWN).map(|((_, place), sum)| {
            let much = sum.map_or_else(|| "much".to_owned(), shown);
            cut(&format!("{much} at {place}"))
        }));
        if more > 0 {
            lines.push(format!("and {}", count(more, "more place")));
        }
        (outside, lines)
    }
}

/// A text that fits into a box: the middle of a long one is left out.
fn cut(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= LINE_MAX {
        return text.to_owned();
    }
    let (head, tail) = (LINE_MAX / 3, LINE_MAX - LINE_MAX / 3 - 1);
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
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
            Kind::Batch if node.outside => "box, style=filled, fillcolor=\"#e9f5e4\"",
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
