//! How long a read model takes to apply, save and open, and what it weighs. `LOTLINE_FULL=1` makes it a
//! million events (run it alone and in release mode, or its memory is that of the other tests, too).

use std::time::{Duration, Instant as Clock};

use lotline_domain::book::{BatchIx, Bounds};
use lotline_domain::command::Recorded;
use lotline_domain::fact::{Event, Fact, Input, Line, Output, RunKind, RunReport};
use lotline_domain::id::{
    BatchCode, BatchId, BatchRef, CommandId, EventId, Generation, ItemId, LocationId, PartyId, Place, RunId, RunName,
    ShipmentId, SourceId,
};
use lotline_domain::quantity::Stated;
use lotline_domain::time::{CommitNo, Instant, OccurredAt};
use lotline_domain::unit::Unit;
use lotline_projections::{CommitMeta, ReadModel, ReadModelKind};

use crate::engine::{recorded, recorded_at};
use crate::projections_feed::{LEDGER, hash};

fn name<T>(parse: impl Fn(&str) -> Result<T, lotline_domain::id::NameError>, text: &str) -> T {
    parse(text).expect("a name")
}

fn location(text: &str) -> Place {
    Place::Location(name(LocationId::parse, text))
}

/// Five events of a day: five batches and thirteen flows.
struct Day(usize);

impl Day {
    fn batch(&self, number: usize) -> BatchRef {
        let item = name(ItemId::parse, &format!("{:014}", 4_000_000 + (self.0 * 7 + number) % 300));
        BatchRef::Known(BatchId::own(item, name(BatchCode::parse, &format!("L{:07}-{number}", self.0))))
    }

    fn line(&self, number: usize, kilograms: u32) -> Line {
        Line::new(self.batch(number), Some(self.kilograms(kilograms)))
    }

    fn kilograms(&self, kilograms: u32) -> Stated {
        Stated::parse(&format!("{kilograms}.{:02}", self.0 % 100), Unit::KILOGRAM).expect("a quantity")
    }

    fn input(&self, number: usize) -> Input {
        let (batch, quantity) = (Some(self.batch(number)), Some(self.kilograms(100)));
        Input { batch, quantity, second: None, from: Some(location("dock")), window: None }
    }

    fn output(&self, number: usize) -> Output {
        let quantity = Some(self.kilograms(60));
        Output {
            batch: self.batch(number),
            quantity,
            second: None,
            to: Some(location("line 1")),
            window: None,
            expires: None,
        }
    }

    fn facts(&self) -> [Fact; 5] {
        let transit = name(ShipmentId::parse, &format!("SH{:06}", self.0 / 10));
        let store = location(&format!("bin {}", self.0 % 500));
        let from_store = |number, kilograms| self.line(number, kilograms).from(store.clone());
        let run = RunReport {
            run: RunId {
                source: name(SourceId::parse, "mes"),
                name: name(RunName::parse, &format!("R{:07}", self.0)),
                generation: Generation(1),
            },
            kind: RunKind::Production,
            inputs: (0..2).map(|number| self.input(number)).collect(),
            outputs: (2..5).map(|number| self.output(number)).collect(),
            losses: Vec::new(),
            completed: true,
            at: None,
            mapping: Vec::new(),
            hold_up_micros: 0,
        };
        [
            Fact::Received {
                lines: vec![self.line(0, 100), self.line(1, 100)],
                containers: Vec::new(),
                from: Some(name(PartyId::parse, &format!("supplier {}", self.0 % 50))),
                shipment: None,
                by: None,
                to: location("dock"),
            },
            Fact::Produced(run),
            Fact::Moved {
                lines: (2..5).map(|number| self.line(number, 60).from(location("line 1"))).collect(),
                to: store.clone(),
            },
            Fact::Shipped {
                shipment: transit.clone(),
                to: None,
                lines: vec![from_store(2, 60), from_store(3, 40)],
                containers: Vec::new(),
            },
            Fact::Delivered {
                shipment: Some(transit),
                to: name(PartyId::parse, &format!("customer {}", self.0 % 400)),
                lines: vec![self.line(2, 60)],
                containers: Vec::new(),
            },
        ]
    }

    fn events(&self) -> impl Iterator<Item = Event> + use<> {
        let facts = self.facts().into_iter().enumerate();
        let day = self.0;
        facts.map(move |(number, fact)| {
            let id = format!("urn:event:{day:08}:{number}");
            let micros = 1_500_000_000_000_000 + (day * 5 + number) as i64 * 60_000_000;
            Event {
                id: name(EventId::parse, &id),
                command: name(CommandId::parse, &id),
                source: name(SourceId::parse, "mes"),
                occurred_at: OccurredAt::utc(Instant(micros)),
                sequence: None,
                fact,
            }
        })
    }
}

/// Resident memory of this process in bytes; 0 where the system does not say.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4_096)
}

/// Processor time of this process so far, on all of its threads: on a busy machine the clock says little.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in brackets, user and system time are the 12th and 13th field, in hundredths.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Does something and says how long it took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (begun, used) = (Clock::now(), processor());
    let done = work();
    println!("{what} in {:?} ({:?} of processors)", begun.elapsed(), processor() - used);
    done
}

const DAYS_IN_A_COMMIT: usize = 200;

/// Applies so many days; the time taken by the model alone.
pub fn grow(model: &mut ReadModel, days: usize) -> Duration {
    let mut applying = Duration::ZERO;
    for (number, first) in (1u64..).zip((0..days).step_by(DAYS_IN_A_COMMIT)) {
        let events: Vec<Event> =
            (first..(first + DAYS_IN_A_COMMIT).min(days)).flat_map(|day| Day(day).events()).collect();
        let positions = first * 5..;
        let commit: Vec<Recorded> =
            events.iter().zip(positions).map(|(event, position)| recorded(position, number, event)).collect();
        let meta = CommitMeta {
            number: CommitNo(number),
            prev_hash: hash(1, number - 1),
            hash: hash(1, number),
            recorded_at: recorded_at(number),
        };
        let begun = Clock::now();
        model.apply(meta, &commit).expect("it follows");
        applying += begun.elapsed();
    }
    applying
}

#[test]
fn a_big_read_model_opens_from_pages_as_it_was() {
    let full = std::env::var_os("LOTLINE_FULL").is_some_and(|value| value == "1");
    let days = if full { 200_000 } else { 2_000 };
    let folder = tempfile::tempdir().expect("a folder");
    let kind = ReadModelKind::Inventory;
    let empty = resident();
    let mut model = ReadModel::open(folder.path(), kind, LEDGER).expect("opens");
    let applying = grow(&mut model, days);
    let (flows, batches) = (model.book().flow_count(), model.book().batch_count());
    assert_eq!((flows, batches), (days * 13, days * 5));
    println!("{} events, {batches} batches, {flows} flows: applied in {applying:?}", model.book().fact_count());
    println!("folded: {} bytes a flow", resident().saturating_sub(empty) / flows);
    timed("saved", || model.save()).expect("saved");
    println!("folded and saved: {} bytes a flow", resident().saturating_sub(empty) / flows);
    let digest = timed("digest", || model.digest());
    drop(model);
    println!("dropped: {} MB more than at first", resident().saturating_sub(empty) >> 20);

    let disk: u64 = pages_size(&folder.path().join("pages"));
    println!("on disk: {} bytes a flow", disk / flows as u64);
    if full {
        assert!(disk < flows as u64 * 120, "pages are compact");
    }

    let before = resident();
    let model = timed("opened", || ReadModel::open(folder.path(), kind, LEDGER)).expect("opens");
    println!("opened: {} bytes a flow", resident().saturating_sub(before) / flows);
    assert!(model.doubt().is_none(), "{:?}", model.doubt());
    let bounds = Bounds::known(model.cursor().number);
    timed("settled all, one after the other,", || {
        for batch in (0..u32::try_from(batches).expect("in range")).map(BatchIx) {
            model.settlement(batch, bounds);
        }
    });
    println!("kept {} MB of settlements", model.kept_bytes() >> 20);
    println!("with kept settlements: {} bytes a flow", resident().saturating_sub(before) / flows);
    assert!(model.kept_bytes() <= lotline_projections::KEPT_BYTES);
    assert_eq!(model.digest(), digest);
}

fn pages_size(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let meta = entry.metadata().expect("metadata");
            if meta.is_dir() { pages_size(&entry.path()) } else { meta.len() }
        })
        .sum()
}
