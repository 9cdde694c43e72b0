//! Read models: built from the ledger alone, and opened from their pages.

use std::path::Path;
use std::time::Duration;

use lotline::folder::Folder;
use lotline_domain::command::Recorded;
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_ledger::{CommitNumber, Frame, Reader, Writer};
use lotline_projections::{CommitHash, CommitMeta, LedgerId, ReadModel, ReadModelKind};
use lotline_wire::payload;
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};

use crate::load::processor;
use crate::measure::{median, per_second, rate, ratio, time, timed, times};
use crate::table::{Row, Table};
use crate::{Options, Outcome, fixture};

/// So many commits are decoded at once, as the program does it.
const CHUNK: usize = 256;

/// Measures a rebuild of all three, and what it is made of.
pub fn rebuild(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    let folder = fixture::dairy_ledger(dir, options.events)?;
    let (mut whole, mut saving, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let used = processor();
        let (passed, saved) = timed(|| rebuild_all(&folder));
        cpu.push(processor() - used);
        whole.push(passed);
        saving.push(saved?);
    }
    let mut parts = Vec::new();
    for _ in 0..options.rounds {
        parts.push(alone(&folder)?);
    }
    let [whole, saving, cpu] = [whole, saving, cpu].map(median);
    let decoding = median(parts.iter().map(|parts| parts.decoding).collect());
    let applying: [Duration; 3] =
        std::array::from_fn(|at| median(parts.iter().map(|parts| parts.applying[at]).collect()));
    let events = options.events;
    table.add(Row {
        what: format!("rebuild of all three read models, {events} events, saved"),
        figure: format!("{} ({})", time(whole), per_second(rate(events, whole))),
        aim: "< 15 s".to_owned(),
        peer: format!("reading and decoding alone: {}", time(decoding)),
        ratio: ratio(whole, decoding),
        limit: format!("processors: {} of their time; the last save {}", time(cpu), time(saving)),
    });
    for (kind, applying) in ReadModelKind::ALL.into_iter().zip(applying) {
        table.add(Row {
            what: format!("applying alone, {}", kind.word()),
            figure: format!("{} ({})", per_second(rate(events, applying)), time(applying)),
            peer: format!("decoding, both processors: {}", per_second(rate(events, decoding))),
            ratio: times(decoding.as_secs_f64() / applying.as_secs_f64()),
            limit: "memory: interning names, writing columns".to_owned(),
            ..Row::default()
        });
    }
    Ok(())
}

/// What `lotline rebuild` does; how long the last save took.
fn rebuild_all(folder: &Folder) -> Outcome<Duration> {
    let reader = fixture::reader(folder)?;
    let ledger = LedgerId(*reader.ledger().as_bytes());
    let mut models = Vec::new();
    for kind in ReadModelKind::ALL {
        let mut model = ReadModel::open(&folder.model(kind), kind, ledger)?;
        model.begin_anew()?;
        models.push(model);
    }
    fixture::catch_up(&mut models, &reader)?;
    let (saving, saved) = timed(|| models.iter_mut().try_for_each(ReadModel::save));
    saved?;
    Ok(saving)
}

struct Parts {
    decoding: Duration,
    applying: [Duration; 3],
}

fn alone(folder: &Folder) -> Outcome<Parts> {
    let reader = fixture::reader(folder)?;
    let ledger = LedgerId(*reader.ledger().as_bytes());
    let mut models = ReadModelKind::ALL.map(|kind| ReadModel::in_memory(kind, ledger));
    let mut parts = Parts { decoding: Duration::ZERO, applying: [Duration::ZERO; 3] };
    let mut frames = reader.frames(CommitNumber::new(1));
    loop {
        let (passed, decoded) = timed(|| {
            let chunk: Vec<Frame> = frames.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
            Ok::<_, lotline_ledger::ReadError>(chunk.par_iter().map(decoded).collect::<Vec<_>>())
        });
        let decoded = decoded?;
        if decoded.is_empty() {
            return Ok(parts);
        }
        parts.decoding += passed;
        for (model, applying) in models.iter_mut().zip(&mut parts.applying) {
            let (passed, applied) =
                timed(|| decoded.iter().try_for_each(|(commit, events)| model.apply(*commit, events)));
            applied?;
            *applying += passed;
        }
    }
}

fn decoded(frame: &Frame) -> (CommitMeta, Vec<Recorded>) {
    let header = frame.header();
    let commit = CommitNo(header.number.get());
    let recorded_at = RecordedAt(Instant(header.recorded_at.get()));
    let meta = CommitMeta {
        number: commit,
        prev_hash: CommitHash(*header.previous.as_bytes()),
        hash: CommitHash(*frame.hash().as_bytes()),
        recorded_at,
    };
    let recorded = frame.events().map(|event| {
        let body = payload::decode(event.payload()).expect("the handler wrote it").body;
        Recorded { position: Position(event.position().get()), commit, recorded_at, body }
    });
    (meta, recorded.collect())
}

/// Measures opening after all that.
pub fn open(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    let folder = fixture::dairy_ledger(dir, options.events)?;
    let reader = fixture::reader(&folder)?;
    let ledger = LedgerId(*reader.ledger().as_bytes());
    let saved = |kind: ReadModelKind| -> Outcome<bool> {
        Ok(ReadModel::open(&folder.model(kind), kind, ledger)?.cursor().number.0 == reader.head().commit.get())
    };
    for kind in ReadModelKind::ALL {
        if !saved(kind)? {
            rebuild_all(&folder)?;
            break;
        }
    }
    let pages = folder.path().join("models");
    let [mut writer, mut follower, mut handler] = [const { Vec::new() }; 3];
    let mut models = [const { Vec::new() }; 3];
    let mut peers = Vec::new();
    for _ in 0..options.rounds {
        let (passed, opened) =
            timed(|| Writer::open(Folder::storage(), folder.ledger(), lotline_ledger::Options::default()));
        drop(opened?);
        writer.push(passed);
        let (passed, opened) = timed(|| Reader::open(Folder::storage(), folder.ledger()));
        drop(opened?);
        follower.push(passed);
        let (passed, opened) = timed(|| fixture::handler(&folder));
        opened?.close()?;
        handler.push(passed);
        for (kind, times) in ReadModelKind::ALL.into_iter().zip(&mut models) {
            let (passed, opened) = timed(|| ReadModel::open(&folder.model(kind), kind, ledger));
            let opened = opened?;
            assert!(opened.doubt().is_none(), "its pages are whole");
            assert_eq!(opened.cursor().number.0, reader.head().commit.get(), "all of it was saved");
            times.push(passed);
        }
        peers.push(timed(|| read_all(&pages.join(ReadModelKind::Recall.word()))));
    }
    let bytes = peers[0].1.as_ref().map_or(0, |bytes| *bytes);
    let reading = median(peers.iter().map(|(passed, _)| *passed).collect());
    let mut row = |what: &str, times: Vec<Duration>, aim: &str, peer: Option<(String, Duration)>, limit: &str| {
        let figure = median(times);
        table.add(Row {
            what: what.to_owned(),
            figure: time(figure),
            aim: aim.to_owned(),
            ratio: peer.as_ref().map(|(_, peer)| ratio(figure, *peer)).unwrap_or_default(),
            peer: peer.map(|(text, _)| text).unwrap_or_default(),
            limit: limit.to_owned(),
        });
    };
    row("ledger, to write", writer, "< 1 s", None, "the open segment is read and its keys are indexed");
    row("ledger, to read", follower, "< 1 s", None, "the same");
    row("handler", handler, "< 1 s", None, "the same, and master data is loaded");
    for (kind, times) in ReadModelKind::ALL.into_iter().zip(models) {
        let peer = (kind == ReadModelKind::Recall)
            .then(|| (format!("reading its {} MB of files: {}", bytes / 1_000_000, time(reading)), reading));
        let limit = "memory: names and links are indexed anew";
        row(&format!("read model {}", kind.word()), times, "< 1 s", peer, limit);
    }
    Ok(())
}

/// Reads all files below a folder; how many bytes they have.
pub fn read_all(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        bytes += if path.is_dir() { read_all(&path)? } else { std::fs::read(&path)?.len() as u64 };
    }
    Ok(bytes)
}
