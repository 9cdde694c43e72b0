//! Durable intents through the handler, one event each, beside a bare loop of write and fdatasync with the
//! same bytes per commit in the same folder.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH};

use lotline::folder::Folder;
use lotline_domain::command::{Command, Mode};
use lotline_domain::fact::{Event, Fact, Line};
use lotline_domain::id::{
    BatchCode, BatchId, BatchRef, CommandId, EventId, ItemId, LocationId, NameError, PartyId, Place, SourceId,
};
use lotline_domain::quantity::Stated;
use lotline_domain::time::{Instant, OccurredAt};
use lotline_domain::unit::Unit;
use lotline_handler::{Handler, Outcome as Answer};
use lotline_ledger::CommitNumber;

use crate::measure::{median, middle, per_second, rate, time, times};
use crate::table::{Row, Table};
use crate::{Options, Outcome, fixture};

/// How long each round lasts.
const ROUND: Duration = Duration::from_millis(1_500);
/// Batches that were received before; intents take of one after the other.
const BATCHES: u64 = 50_000;

/// Measures it.
pub fn run(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    let work = tempfile::tempdir_in(dir)?;
    let folder = Folder::new(work.path().join("intents"));
    let handler = fixture::handler(&folder)?;
    let received = (0..BATCHES).map(|number| received(&format!("L{number:06}"), 1_000_000));
    fixture::proceed(&handler, received.chain([received_hot()]))?;
    let next = AtomicU64::new(0);
    let (mut alone, mut bytes_alone) = (0.0, 0);
    for (writers, aim) in [(1, "the disk's"), (8, ""), (32, "")] {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            let round = intents(&handler, writers, &next, |number| format!("L{:06}", number % BATCHES))?;
            let raw = raw(work.path(), round.bytes_per_commit)?;
            rounds.push((round, raw));
        }
        let ours = middle(rounds.iter().map(|(round, _)| round.rate).collect());
        let grouped = middle(rounds.iter().map(|(round, _)| round.events_per_commit).collect());
        let raw = middle(rounds.iter().map(|(_, raw)| *raw).collect());
        let ratio = middle(rounds.iter().map(|(round, raw)| round.rate / (raw * round.events_per_commit)).collect());
        let waited = median(rounds.iter().map(|(round, _)| round.wait).collect());
        let bytes = rounds[0].0.bytes_per_commit;
        if writers == 1 {
            (alone, bytes_alone) = (ours, bytes);
        }
        table.add(Row {
            what: format!("intents, {writers} writer{}", if writers == 1 { "" } else { "s" }),
            figure: format!("{} (median wait {})", per_second(ours), time(waited)),
            aim: aim.to_owned(),
            peer: format!("write + fdatasync of {bytes} bytes: {}", per_second(raw)),
            ratio: format!("{} of {grouped:.1} events a sync", times(ratio)),
            limit: if writers == 1 { "one sync per event".to_owned() } else { "syncs, shared by a group".to_owned() },
        });
    }
    let hot = intents(&handler, 32, &next, |_| "HOT".to_owned())?;
    table.add(Row {
        what: "the same, 32 writers, all of one batch".to_owned(),
        figure: per_second(hot.rate),
        peer: format!("1 writer: {} of {bytes_alone} bytes", per_second(alone)),
        limit: format!("settling a batch with {} flows for each decision", hot.events),
        ..Row::default()
    });
    handler.close()?;
    Ok(())
}

struct Round {
    events: u64,
    /// Events in a second.
    rate: f64,
    events_per_commit: f64,
    bytes_per_commit: usize,
    /// From handing in to the answer, in the middle.
    wait: Duration,
}

fn intents(handler: &Handler, writers: usize, next: &AtomicU64, code: impl Fn(u64) -> String + Sync) -> Outcome<Round> {
    let before = handler.reader().head();
    let stop = AtomicBool::new(false);
    let begun = Clock::now();
    let waits: Vec<Vec<Duration>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(|| {
                    let mut waits = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let command = moved(number, &code(number));
                        let handed_in = Clock::now();
                        match handler.submit(command) {
                            Ok(Answer::Accepted(_)) => waits.push(handed_in.elapsed()),
                            other => panic!("an intent that is covered is accepted: {other:?}"),
                        }
                    }
                    waits
                })
            })
            .collect();
        std::thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("a writer does not panic")).collect()
    });
    let passed = begun.elapsed();
    let waits: Vec<Duration> = waits.into_iter().flatten().collect();
    let events = waits.len() as u64;
    let reader = handler.reader();
    let (mut commits, mut bytes) = (0u64, 0);
    for frame in reader.frames(CommitNumber::new(before.commit.get() + 1)) {
        commits += 1;
        bytes += frame?.bytes().len();
    }
    Ok(Round {
        events,
        rate: rate(events, passed),
        events_per_commit: events as f64 / commits as f64,
        bytes_per_commit: bytes / usize::try_from(commits)?,
        wait: median(waits),
    })
}

/// Writes so many bytes and syncs them, again and again, into a file whose zeros are there already; how
/// often in a second.
fn raw(dir: &Path, bytes: usize) -> Outcome<f64> {
    let path = dir.join("raw");
    let file = File::create(&path)?;
    let room = 64 << 20;
    file.write_all_at(&vec![0; room], 0)?;
    file.sync_all()?;
    let block = vec![0x5A; bytes];
    let (mut count, mut at) = (0, 0);
    let begun = Clock::now();
    while begun.elapsed() < ROUND {
        file.write_all_at(&block, at as u64)?;
        file.sync_data()?;
        count += 1;
        at += bytes;
        if at + bytes > room {
            at = 0;
        }
    }
    let measured = rate(count, begun.elapsed());
    std::fs::remove_file(&path)?;
    Ok(measured)
}

fn name<T>(parse: impl Fn(&str) -> Result<T, NameError>, text: &str) -> T {
    parse(text).expect("a generated name is a name")
}

fn line(code: &str, kilograms: u32) -> Line {
    let batch = BatchId::own(name(ItemId::parse, "milk"), name(BatchCode::parse, code));
    let quantity = Stated::parse(&kilograms.to_string(), Unit::KILOGRAM).expect("a quantity");
    Line::new(BatchRef::Known(batch), Some(quantity))
}

fn place(text: &str) -> Place {
    Place::Location(name(LocationId::parse, text))
}

fn command(mode: Mode, id: &str, fact: Fact) -> Command {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let micros = i64::try_from(passed.as_micros()).expect("in range");
    let event = Event {
        id: name(EventId::parse, id),
        command: name(CommandId::parse, id),
        source: name(SourceId::parse, "bench"),
        occurred_at: OccurredAt::utc(Instant(micros)),
        sequence: None,
        fact,
    };
    Command { mode, event }
}

fn received(code: &str, kilograms: u32) -> Command {
    let fact = Fact::Received {
        lines: vec![line(code, kilograms)],
        containers: Vec::new(),
        from: Some(name(PartyId::parse, "farm")),
        shipment: None,
        by: None,
        to: place("store"),
    };
    command(Mode::Observation, &format!("received-{code}"), fact)
}

fn received_hot() -> Command {
    received("HOT", 1_000_000)
}

/// The intent to move a kilogram.
fn moved(number: u64, code: &str) -> Command {
    let fact = Fact::Moved { lines: vec![line(code, 1).from(place("store"))], to: place("line") };
    command(Mode::Intent, &format!("moved-{number}"), fact)
}
