//! A recall question in a big genealogy: all descendants of a raw lot and the customers they went to.
//!
//! Cold: no settlement is at hand, each batch on the way is settled for this answer. Warm: asked again.

use std::path::Path;
use std::time::Duration;

use lotline::dairy::shape::Genealogy;
use lotline_domain::book::{BatchIx, Bounds, PlaceKind};
use lotline_domain::command::{Body, Mode, Recorded};
use lotline_domain::fact::{Event, Fact, Line};
use lotline_domain::id::{BatchRef, CommandId, EventId, LocationId, PartyId, Place, SourceId};
use lotline_domain::quantity::Stated;
use lotline_domain::time::{CommitNo, Instant, OccurredAt, Position, RecordedAt};
use lotline_domain::unit::Unit;
use lotline_projections::{
    CommitHash, CommitMeta, Direction, KEPT_BYTES, LedgerId, Point, ReadModel, ReadModelKind, trace,
};
use rustc_hash::FxHashSet;

use crate::measure::{median, ratio, time, timed};
use crate::peer::{Found, Sqlite, Walk};
use crate::table::{Row, Table};
use crate::{Options, Outcome, fixture};

const QUESTIONS: u64 = 50;

/// Raw lots to ask about, the same in each run.
pub fn suspects(genealogy: &Genealogy) -> Vec<u32> {
    let raw = u64::from(genealogy.raw_lots());
    // Multiplying by a large odd number scatters them.
    let scattered = (1..=QUESTIONS).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % raw);
    scattered.map(|lot| u32::try_from(lot).expect("lots are counted in 32 bits")).collect()
}

/// Measures it.
pub fn run(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    let genealogy = fixture::genealogy(options.lots);
    let lots = suspects(&genealogy);
    let folder = fixture::genealogy_ledger(dir, options.lots, &genealogy)?;
    let reader = fixture::reader(&folder)?;
    let mut models = [ReadModel::in_memory(ReadModelKind::Genealogy, LedgerId(*reader.ledger().as_bytes()))];
    fixture::catch_up(&mut models, &reader)?;
    let [mut model] = models;

    let mut walk = Walk::over(&genealogy);
    let (walk_cold, expected) = each(&lots, |lot| walk.ask(*lot));
    let walk_warm = again(options, &lots, |lot| walk.ask(*lot), &expected);
    let sqlite = Sqlite::with(&genealogy)?;
    let answer = |lot: &u32| sqlite.ask(*lot).expect("SQLite answers");
    let (sqlite_cold, found) = each(&lots, answer);
    assert_eq!(found, expected, "SQLite finds the same");
    let sqlite_warm = again(options, &lots, answer, &expected);
    drop(sqlite);

    let batches: Vec<BatchIx> = lots
        .iter()
        .map(|lot| model.book().find_batch(&BatchRef::Known(genealogy.batch(*lot))).expect("it was recorded"))
        .collect();
    let now = model.cursor().number;
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let asked = asked(&mut model, &batches, now);
        assert_eq!(asked.found, expected, "the same lots and customers as the plain walk");
        cold.push(asked.cold);
        warm.push(asked.warm);
    }
    let (cold, warm) = (median(cold), median(warm));
    let reached = expected.iter().map(|found| found.lots).sum::<usize>() / expected.len();
    let customers = expected.iter().map(|found| found.customers).sum::<usize>() / expected.len();
    let of = format!("of {} lots and {} edges", genealogy.lots.len(), genealogy.edges.len());
    for (what, ours, walk, sqlite, limit) in [
        ("warm", warm, walk_warm, sqlite_warm, "memory and hashing: flows, tiers and moments of each step"),
        ("cold", cold, walk_cold, sqlite_cold, "settling each batch on the way"),
    ] {
        table.add(Row {
            what: format!("trace of {reached} batches and {customers} customers, {of}; {what}"),
            figure: time(ours),
            aim: "< 0.5 ms".to_owned(),
            peer: format!("SQLite {}; plain walk {}", time(sqlite), time(walk)),
            ratio: format!("{} of SQLite, {} of the walk", ratio(ours, sqlite), ratio(ours, walk)),
            limit: limit.to_owned(),
        });
    }
    earlier(&mut model, &batches, &expected, options, table);
    late(&mut model, &batches, &expected, options, table)
}

/// The same as known at nine tenths of the commits, for those that have the same answer then.
fn earlier(model: &mut ReadModel, batches: &[BatchIx], expected: &[Found], options: &Options, table: &mut Table) {
    let now = model.cursor().number;
    let then = CommitNo(now.0 * 9 / 10);
    let same: Vec<BatchIx> = {
        let all = asked(model, batches, then);
        let pairs = batches.iter().zip(all.found.iter().zip(expected));
        pairs.filter(|(_, (then, now))| then == now).map(|(batch, _)| *batch).collect()
    };
    let what = format!("the same as known at 9/10 of the commits ({} lots with the same answer)", same.len());
    compare(model, &same, [then, now], what, options, table);
}

/// The same as known before a late fact about every batch on the way.
fn late(
    model: &mut ReadModel,
    batches: &[BatchIx],
    expected: &[Found],
    options: &Options,
    table: &mut Table,
) -> Outcome {
    let then = model.cursor().number;
    let mut touched: FxHashSet<BatchIx> = FxHashSet::default();
    for batch in batches {
        let question = model.question(Bounds::known(then));
        touched.extend(trace(&question, &[*batch], Direction::Forward).batches.keys());
        touched.insert(*batch);
    }
    let mut touched: Vec<BatchIx> = touched.into_iter().collect();
    touched.sort_unstable();
    tell_late(model, &touched)?;
    let now = model.cursor().number;
    assert_eq!(asked(model, batches, then).found, expected, "what was known then does not change");
    let what = format!("the same as known before a late fact on each of the {} batches", touched.len());
    compare(model, batches, [then, now], what, options, table);
    Ok(())
}

fn compare(
    model: &mut ReadModel,
    batches: &[BatchIx],
    [then, now]: [CommitNo; 2],
    what: String,
    options: &Options,
    table: &mut Table,
) {
    let [mut before, mut after] = [const { (Vec::new(), Vec::new()) }; 2];
    for _ in 0..options.rounds {
        for (known, times) in [(now, &mut after), (then, &mut before)] {
            let asked = asked(model, batches, known);
            times.0.push(asked.cold);
            times.1.push(asked.warm);
        }
    }
    let [before, after] = [before, after].map(|(cold, warm)| (median(cold), median(warm)));
    for (state, ours, peer) in [("warm", before.1, after.1), ("cold", before.0, after.0)] {
        table.add(Row {
            what: format!("{what}; {state}"),
            figure: time(ours),
            aim: "≤ 1.5× now".to_owned(),
            peer: format!("as known now: {}", time(peer)),
            ratio: ratio(ours, peer),
            limit: "settling from what was known then, where that differs".to_owned(),
        });
    }
}

/// Some kilograms of each batch came to the store, as is learned now only.
fn tell_late(model: &mut ReadModel, batches: &[BatchIx]) -> Outcome {
    let cursor = model.cursor();
    let (commit, recorded_at) = (CommitNo(cursor.number.0 + 1), RecordedAt(Instant(1_800_000_000_000_000)));
    let first = model.book().last().map_or(0, |(_, position)| position.0 + 1);
    let mut events = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        let quantity = Stated::parse("3", Unit::KILOGRAM)?;
        let fact = Fact::Received {
            lines: vec![Line::new(model.book().batch(*batch), Some(quantity))],
            containers: Vec::new(),
            from: Some(PartyId::parse("supplier-late")?),
            shipment: None,
            by: None,
            to: Place::Location(LocationId::parse("plant/late")?),
        };
        let text = format!("late-{number}");
        let event = Event {
            id: EventId::parse(&text)?,
            command: CommandId::parse(&text)?,
            source: SourceId::parse("plant")?,
            occurred_at: OccurredAt::utc(Instant(1_760_000_000_000_000)),
            sequence: None,
            fact,
        };
        let body = Body::Fact { mode: Mode::Observation, event, decided_on: None };
        events.push(Recorded { position: Position(first + number as u64), commit, recorded_at, body });
    }
    let meta = CommitMeta { number: commit, prev_hash: cursor.hash, hash: CommitHash([7; 32]), recorded_at };
    Ok(model.apply(meta, &events)?)
}

/// Answers, and the median times with nothing kept and when asked again.
pub struct Asked {
    /// With nothing kept.
    pub cold: Duration,
    /// Asked again.
    pub warm: Duration,
    found: Vec<Found>,
}

/// Asks about each of the batches, cold and then warm.
pub fn asked(model: &mut ReadModel, batches: &[BatchIx], known: CommitNo) -> Asked {
    model.keep_settlements(KEPT_BYTES);
    let model = &*model;
    let ask = |batch: &BatchIx| {
        let question = model.question(Bounds::known(known));
        trace(&question, &[*batch], Direction::Forward)
    };
    let (mut cold, mut found) = (Vec::new(), Vec::new());
    for batch in batches {
        let (passed, traced) = timed(|| ask(batch));
        cold.push(passed);
        let party = |place| model.book().place_kind(place) == PlaceKind::Party;
        let points = traced.edges.iter().map(|edge| edge.to);
        let customers: FxHashSet<_> = points
            .filter_map(|point| match point {
                Point::Slice(_, place) if party(place) => Some(place),
                _ => None,
            })
            .collect();
        found.push(Found { lots: traced.batches.len() + 1, customers: customers.len() });
    }
    let warm = (0..5).flat_map(|_| batches).map(|batch| timed(|| ask(batch)).0).collect();
    Asked { cold: median(cold), warm: median(warm), found }
}

/// Asks each once: the median time, and the answers.
fn each<Q>(questions: &[Q], mut ask: impl FnMut(&Q) -> Found) -> (Duration, Vec<Found>) {
    let (times, found): (Vec<_>, Vec<_>) = questions.iter().map(|question| timed(|| ask(question))).unzip();
    (median(times), found)
}

/// Asks each again: the median time.
fn again<Q>(options: &Options, questions: &[Q], mut ask: impl FnMut(&Q) -> Found, expected: &[Found]) -> Duration {
    let rounds = (0..options.rounds).map(|_| {
        let (passed, found) = each(questions, &mut ask);
        assert_eq!(found, expected, "asked again, the answers are the same");
        passed
    });
    median(rounds.collect())
}
