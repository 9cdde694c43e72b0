//! The digest of a read model: BLAKE3 over its derived answers, as of its latest commit.
//!
//! It speaks in names, not in numbers of rows, and sorts what it says: two models that give the same
//! answers have the same digest, whatever the order in which facts arrived, how they were batched, and how
//! often a process was restarted in between.

use std::fmt;
use std::ops::Range;

use lotline_domain::book::{BatchIx, Book, Bounds, Deed, FactIx, NONE, NameNo, NameTable, PlaceIx, PlaceKind, RunIx};
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::{Covers, Node, RunSettlement, Settled, Settlement};
use lotline_domain::time::Instant;
use lotline_domain::unit::Unit;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::expiry::expiry_at;
use crate::model::{ReadModel, ReadModelKind};
use crate::question::{NothingBorrowed, Question};

/// Digest of a read model's answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Batches, runs or vessels for one thread at a time.
const CHUNK: u32 = 1_024;

/// What one thing answers, hashed.
type Answer = [u8; 32];

impl ReadModel {
    /// The digest of its answers. It settles every batch, on all processors.
    pub fn digest(&self) -> Digest {
        let bounds = Bounds::known(self.cursor().number);
        let kind = self.kind();
        let covers = match kind {
            ReadModelKind::Recall => Some(self.question(bounds).covers()),
            _ => None,
        };
        let teller = Teller { model: self, bounds, covers: covers.as_deref() };
        let count = |many: usize| u32::try_from(many).expect("rows are numbered in 32 bits");
        let book = self.book();
        let mut answers = teller.each(count(book.batch_count()), |question, at| {
            let settlement = question.settlement(BatchIx(at));
            teller.batch(question, &settlement)
        });
        if kind == ReadModelKind::Genealogy {
            answers.extend(
                teller.each(count(book.run_count()), |question, at| teller.run(question, &question.run(RunIx(at)))),
            );
            answers.extend(teller.each(count(book.place_count()), |question, at| teller.vessel(question, PlaceIx(at))));
        }
        let conflicts = book.conflicts_known(bounds.known);
        answers.extend(conflicts.map(|fact| *blake3::hash(book.event_id_text(fact).as_bytes()).as_bytes()));
        answers.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.word().as_bytes());
        for answer in &answers {
            hasher.update(answer);
        }
        Digest(*hasher.finalize().as_bytes())
    }
}

struct Teller<'m> {
    model: &'m ReadModel,
    bounds: Bounds,
    covers: Option<&'m Covers>,
}

impl Teller<'_> {
    fn each(&self, count: u32, tell: impl Fn(&Question<'_>, u32) -> Option<Answer> + Sync) -> Vec<Answer> {
        let master = self.model.master_data(self.bounds.known);
        let chunks = 0..count.div_ceil(CHUNK);
        let told = chunks.into_par_iter().map(|chunk| {
            let question = Question::lent(self.model.book(), self.bounds, &master, &NothingBorrowed);
            let numbers: Range<u32> = chunk * CHUNK..(chunk * CHUNK).saturating_add(CHUNK).min(count);
            numbers.filter_map(|at| tell(&question, at)).collect::<Vec<Answer>>()
        });
        told.flatten_iter().collect()
    }

    fn batch(&self, question: &Question<'_>, settlement: &Settlement) -> Option<Answer> {
        let mut lines = Lines::new(self.model.book());
        let kind = self.model.kind();
        for flow in settlement.flows.iter().filter(|flow| kind == ReadModelKind::Recall || self.is_link(flow)) {
            if kind != ReadModelKind::Inventory {
                lines.line(|line| line.flow(settlement, flow));
            }
        }
        if kind != ReadModelKind::Genealogy {
            for slice in settlement.slices.iter().filter(|slice| slice.balance != 0) {
                let place = question.settler().place_at(slice.place, Instant::MAX.0);
                lines.line(|line| {
                    line.place(slice.place);
                    line.maybe(place, Line::place);
                    line.ratio(settlement.measure.value(slice.balance));
                    line.unit(settlement.measure.base);
                    line.flags([slice.unknown, slice.assumed, slice.disturbed.is_some()]);
                    if let Some(covers) = self.covers {
                        let holds =
                            question.settler().holds_on(covers, settlement.batch, slice.place, Instant::MAX.0 - 1);
                        line.number(holds.len() as i64);
                        holds.iter().for_each(|hold| line.text(hold.as_str()));
                    }
                    // Where no date is told nothing is said, as before there were any. The zone's name and not the
                    // instant, which another version of the time zones may see otherwise.
                    if let Some(expiry) = expiry_at(question, settlement.batch, place) {
                        line.text(&expiry.told.expires.to_string());
                        line.text(expiry.zone.name());
                    }
                });
            }
        }
        lines.answer(b'b', |line| line.batch(settlement.batch))
    }

    /// Touches a run or a vessel.
    fn is_link(&self, flow: &Settled) -> bool {
        [flow.from, flow.to].into_iter().any(|node| match node {
            Node::Run(_) => true,
            Node::Place(place) => self.model.book().place_kind(place) == PlaceKind::Vessel,
            Node::Supply(_) => false,
        })
    }

    /// Its legs and what limits their pairs; not the pairs themselves, of which there may be millions.
    fn run(&self, question: &Question<'_>, run: &RunSettlement) -> Option<Answer> {
        let book = self.model.book();
        let mut lines = Lines::new(book);
        for (side, legs) in [(0, &run.inputs), (1, &run.outputs)] {
            for leg in legs {
                lines.line(|line| {
                    line.number(side);
                    line.batch(leg.batch);
                    line.fact(leg.fact);
                    line.number(leg.at);
                    line.maybe(leg.window, |line, window| {
                        line.number(window.from.0);
                        line.number(window.to.0);
                    });
                });
            }
        }
        let mut hold_up = 0;
        for deed in book.deeds_of_run(run.run).map(|deed| book.deed_row(deed)) {
            let Deed::Run { mapping, hold_up_micros, .. } = &deed.deed else { continue };
            if !book.in_force(deed.fact, self.bounds.known) {
                continue;
            }
            hold_up = hold_up.max(*hold_up_micros);
            for (input, output) in mapping {
                lines.line(|line| {
                    line.batch(question.settler().resolve(*input));
                    line.batch(question.settler().resolve(*output));
                });
            }
        }
        for (sink, lost, fact) in &run.losses {
            lines.line(|line| {
                line.text(sink.word());
                line.ratio(Ratio::from_decimal(lost.value()));
                line.unit(lost.unit());
                line.fact(*fact);
            });
        }
        lines.answer(b'r', |line| {
            line.run(run.run);
            line.number(run.kind as i64);
            line.number(hold_up);
            line.flags([run.open, false, false]);
        })
    }

    fn vessel(&self, question: &Question<'_>, place: PlaceIx) -> Option<Answer> {
        if self.model.book().place_kind(place) != PlaceKind::Vessel {
            return None;
        }
        let vessel = question.vessel(place);
        let mut lines = Lines::new(self.model.book());
        for (number, draw) in vessel.draws.iter().enumerate() {
            for (fill, contact) in vessel.fills_of(number) {
                let fill = &vessel.fills[fill];
                lines.line(|line| {
                    line.batch(fill.batch);
                    line.fact(fill.fact);
                    line.batch(draw.batch);
                    line.fact(draw.fact);
                    line.contact(contact);
                });
            }
        }
        for (fill, left) in &vessel.layers {
            lines.line(|line| {
                line.batch(vessel.fills[*fill].batch);
                line.fact(vessel.fills[*fill].fact);
                line.ratio(*left);
            });
        }
        lines.answer(b'v', |line| {
            line.place(place);
            line.number(vessel.mix as i64);
        })
    }
}

/// What one thing answers: lines that are sorted before they are hashed.
struct Lines<'b> {
    line: Line<'b>,
    spans: Vec<Range<usize>>,
}

/// Bytes under way; every text is preceded by its length, so that no two answers run together.
struct Line<'b> {
    book: &'b Book,
    bytes: Vec<u8>,
}

impl<'b> Lines<'b> {
    fn new(book: &'b Book) -> Self {
        Self { line: Line { book, bytes: Vec::new() }, spans: Vec::new() }
    }

    fn line(&mut self, write: impl FnOnce(&mut Line<'b>)) {
        let start = self.line.bytes.len();
        write(&mut self.line);
        self.spans.push(start..self.line.bytes.len());
    }

    /// The hash of a heading and all lines; `None` when there are none.
    fn answer(mut self, kind: u8, heading: impl FnOnce(&mut Line<'b>)) -> Option<Answer> {
        if self.spans.is_empty() {
            return None;
        }
        let start = self.line.bytes.len();
        self.line.bytes.push(kind);
        heading(&mut self.line);
        let bytes = &self.line.bytes;
        self.spans.sort_unstable_by(|a, b| bytes[a.clone()].cmp(&bytes[b.clone()]));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[start..]);
        for span in self.spans {
            hasher.update(&(span.len() as u64).to_be_bytes()).update(&bytes[span]);
        }
        Some(*hasher.finalize().as_bytes())
    }
}

impl Line<'_> {
    fn number(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as i64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn flags(&mut self, flags: [bool; 3]) {
        self.bytes.extend(flags.map(u8::from));
    }

    fn ratio(&mut self, ratio: Ratio) {
        self.bytes.extend_from_slice(&ratio.num().to_be_bytes());
        self.bytes.extend_from_slice(&ratio.den().to_be_bytes());
    }

    fn unit(&mut self, unit: Unit) {
        self.bytes.extend_from_slice(&unit.to_bytes());
    }

    fn maybe<T>(&mut self, thing: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bytes.push(u8::from(thing.is_some()));
        if let Some(thing) = thing {
            write(self, thing);
        }
    }

    fn word(&mut self, name: u32) {
        let book = self.book;
        self.maybe((name != NONE).then_some(NameNo(name)), |line, name| line.text(book.name(NameTable::Words, name)));
    }

    fn batch(&mut self, batch: BatchIx) {
        let row = self.book.batch_row(batch);
        self.word(row.item);
        self.word(row.issuer);
        self.text(self.book.name(NameTable::Codes, NameNo(row.code)));
        self.number(row.generation.into());
    }

    fn place(&mut self, place: PlaceIx) {
        let row = self.book.place_row(place);
        self.bytes.push(row.kind as u8);
        self.word(row.name);
    }

    fn run(&mut self, run: RunIx) {
        let row = self.book.run_row(run);
        self.word(row.source);
        self.word(row.name);
        self.number(row.generation.into());
    }

    fn fact(&mut self, fact: FactIx) {
        self.text(self.book.event_id_text(fact));
    }

    fn node(&mut self, node: Node) {
        match node {
            Node::Place(place) => self.place(place),
            Node::Run(run) => {
                self.bytes.push(b'r');
                self.run(run);
            }
            Node::Supply(place) => {
                self.bytes.push(b's');
                self.place(place);
            }
        }
    }

    fn flow(&mut self, settlement: &Settlement, flow: &Settled) {
        self.fact(flow.fact);
        self.node(flow.from);
        self.node(flow.to);
        for at in [flow.at, flow.latest, flow.counts_from] {
            self.number(at);
        }
        self.maybe(flow.amount, |line, amount| line.ratio(settlement.measure.value(amount)));
        self.unit(settlement.measure.base);
        self.bytes.push(flow.mark as u8);
        self.flags([flow.alone, flow.stated.is_some(), false]);
    }

    fn contact(&mut self, contact: lotline_domain::settle::Contact) {
        use lotline_domain::settle::Contact;
        match contact {
            Contact::Content(amount) => {
                self.bytes.push(0);
                self.ratio(amount);
            }
            Contact::PaidLater(amount) => {
                self.bytes.push(1);
                self.ratio(amount);
            }
            Contact::Unknown => self.bytes.push(2),
            Contact::Residue => self.bytes.push(3),
        }
    }
}
