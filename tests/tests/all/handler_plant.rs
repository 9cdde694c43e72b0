//! A handler on a ledger of its own, and short words for commands.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lotline_domain::book::Book;
use lotline_domain::command::{Command, Recorded, Rule};
use lotline_domain::id::Place;
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::Settler;
use lotline_domain::time::{CommitNo, Instant, OccurredAt, Position};
use lotline_handler::{Clock, Handler, Options, Outcome, Receipt, SubmitError, body_at};
use lotline_ledger::{OsStorage, Reader, Storage};
use lotline_wire::command::parse_command;

/// A clock that tests set.
#[derive(Debug)]
pub struct TestClock {
    now: AtomicI64,
    passed: AtomicI64,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { now: AtomicI64::new(instant("2026-03-10T12:00:00Z").0), passed: AtomicI64::new(0) }
    }
}

impl TestClock {
    /// Time passes, and the clock shows it.
    pub fn pass(&self, micros: i64) {
        self.now.fetch_add(micros, Ordering::SeqCst);
        self.passed.fetch_add(micros, Ordering::SeqCst);
    }

    /// Somebody sets the clock.
    pub fn step(&self, micros: i64) {
        self.now.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.passed.load(Ordering::SeqCst)).expect("time passes forwards"))
    }
}

pub fn instant(text: &str) -> Instant {
    OccurredAt::parse(text).expect("a time").instant
}

/// Options with a clock that stands at noon of 10 March 2026.
pub fn options() -> (Options, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    (Options { clock: clock.clone(), ..Options::default() }, clock)
}

pub fn create(dir: &Path) -> Handler {
    Handler::create(OsStorage::shared(), dir, options().0).expect("a new ledger")
}

pub fn open(dir: &Path) -> Handler {
    Handler::open(OsStorage::shared(), dir, options().0).expect("an existing ledger")
}

pub fn create_on(storage: Arc<dyn Storage>, dir: &Path, options: Options) -> Handler {
    Handler::create(storage, dir, options).expect("a new ledger")
}

/// `{"type":…}` without its braces, id, source and mode: `fact("intent", "I1", r#""type":"shipped",…"#)`.
pub fn command(mode: &str, id: &str, at: &str, fact: &str) -> Command {
    let line = format!(r#"{{"id":"{id}","mode":"{mode}","source":"test","occurred_at":"2026-03-{at}Z",{fact}}}"#);
    parse_command(&line).unwrap_or_else(|error| panic!("{error}\n{line}"))
}

pub fn observed(id: &str, at: &str, fact: &str) -> Command {
    command("observation", id, at, fact)
}

pub fn intended(id: &str, at: &str, fact: &str) -> Command {
    command("intent", id, at, fact)
}

/// A line: `line("F1", "50")` is 50 kg of batch F/F1, `line_at` says where from.
pub fn line(batch: &str, kilograms: &str) -> String {
    format!(r#"{{"batch":{{"item":"F","code":"{batch}"}},"quantity":{{"value":"{kilograms}","unit":"KGM"}}}}"#)
}

pub fn line_at(batch: &str, kilograms: &str, from: &str) -> String {
    let bare = line(batch, kilograms);
    format!(r#"{},"from":"{from}"}}"#, &bare[..bare.len() - 1])
}

pub fn received(lines: &str, to: &str) -> String {
    format!(r#""type":"received","lines":[{lines}],"from":"S","to":"{to}""#)
}

pub fn moved(lines: &str, to: &str) -> String {
    format!(r#""type":"moved","lines":[{lines}],"to":"{to}""#)
}

pub fn shipped(lines: &str, shipment: &str) -> String {
    format!(r#""type":"shipped","shipment":"{shipment}","to":"party:C1","lines":[{lines}]"#)
}

pub fn accepted(answer: Result<Outcome, SubmitError>) -> Receipt {
    match answer {
        Ok(Outcome::Accepted(receipt)) => receipt,
        other => panic!("not accepted: {other:?}"),
    }
}

pub fn refused(answer: Result<Outcome, SubmitError>) -> Rule {
    match answer {
        Ok(Outcome::Rejected { rejection, .. }) => rejection.rule,
        other => panic!("not refused: {other:?}"),
    }
}

/// Everything that a ledger says, in order.
pub fn recorded(reader: &Reader) -> Vec<Recorded> {
    let count = reader.head().next_position.get();
    (0..count).map(|at| body_at(reader, Position(at)).expect("it reads back")).collect()
}

/// The book of a ledger, folded in order.
pub fn book(reader: &Reader) -> Book {
    let mut book = Book::new();
    recorded(reader).iter().for_each(|recorded| book.apply(recorded));
    book
}

/// How much of batch F/`code` lies at a place, in base units.
pub fn on_hand(reader: &Reader, code: &str, place: &str) -> Ratio {
    let book = book(reader);
    let named = observed("x", "01T00:00:00", &received(&line(code, "1"), "dock"));
    let batch = named.event.effects().into_iter().find_map(|effect| match effect {
        lotline_domain::effect::Effect::Flow(flow) => Some(flow.batch),
        _ => None,
    });
    let batch = book.find_batch(&batch.expect("a receipt has a flow")).expect("the batch is known");
    let Some(place) = book.find_place(&Place::parse(place).expect("a place")) else { return Ratio::ZERO };
    let settled = Settler::new(&book, CommitNo(u64::MAX)).settle(batch, i64::MAX);
    settled.slice(place).map_or(Ratio::ZERO, |slice| settled.measure.value(slice.balance))
}
