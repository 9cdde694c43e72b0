//! Ledgers to measure on: the simulated dairy, and the big genealogy.

use std::path::Path;

use chrono::NaiveDate;
use lotline::dairy::{Dairy, Options, shape};
use lotline::folder::{self, Folder};
use lotline_domain::command::Command;
use lotline_handler::{Handler, SubmitError};
use lotline_ledger::Reader;
use lotline_projections::ReadModel;

use crate::Outcome;

/// Sites of the dairy that work side by side.
const SITES: u32 = 20;
/// Events that a site records in a day, less than it does: so that the dairy lives long enough.
const A_DAY: u64 = 50;
const SEED: u64 = 7;

/// What the dairy tells, all of it in the past; at least so many events.
pub fn dairy(events: u64) -> impl Iterator<Item = Command> {
    let days = u32::try_from(events / (A_DAY * u64::from(SITES)) + 15).unwrap_or(u32::MAX);
    let last = NaiveDate::from_ymd_opt(2026, 10, 31).expect("a day of the calendar");
    let options = Options { seed: SEED, days, scale: SITES, ..Options::default() }.ending(last);
    let events = usize::try_from(events).unwrap_or(usize::MAX);
    Dairy::new(options).take(events).map(|told| told.command)
}

/// A folder with so many events of the dairy.
pub fn dairy_ledger(dir: &Path, events: u64) -> Outcome<Folder> {
    ledger(dir, &format!("dairy-{events}"), events, dairy(events))
}

/// A folder with the genealogy.
pub fn genealogy_ledger(dir: &Path, lots: u32, genealogy: &shape::Genealogy) -> Outcome<Folder> {
    let events = (genealogy.lots.len() + genealogy.deliveries.len()) as u64;
    ledger(dir, &format!("genealogy-{lots}"), events, genealogy.commands().map(|told| told.command))
}

/// The genealogy: a million lots have some 2.6 million edges.
pub fn genealogy(lots: u32) -> shape::Genealogy {
    shape::shape(lots, SEED)
}

fn ledger(dir: &Path, name: &str, events: u64, commands: impl Iterator<Item = Command>) -> Outcome<Folder> {
    let folder = Folder::new(dir.join(name));
    if folder.ledger().exists() {
        let found = reader(&folder)?.head().next_position.get();
        if found == events {
            return Ok(folder);
        }
        return Err(format!("{folder} holds {found} events instead of {events}: remove it").into());
    }
    eprintln!("  recording {events} events for the ledger {name}");
    let handler = handler(&folder)?;
    let recorded = proceed(&handler, commands)?;
    handler.close()?;
    if recorded != events {
        return Err(format!("{recorded} events were recorded for {name}, {events} were wanted").into());
    }
    Ok(folder)
}

/// The folder's ledger, to read.
pub fn reader(folder: &Folder) -> Outcome<Reader> {
    folder.reader().map_err(|failure| failure.to_string().into())
}

/// The folder, open to record.
pub fn handler(folder: &Folder) -> Outcome<Handler> {
    folder.handler(None).map_err(|failure| failure.to_string().into())
}

/// Brings read models up to date with a ledger, as the program does it.
pub fn catch_up(models: &mut [ReadModel], reader: &Reader) -> Outcome {
    folder::catch_up(models, reader).map_err(|failure| failure.to_string().into())
}

/// Hands in commands, and counts those that are recorded. In parts, so that the answers take little room.
pub fn proceed(handler: &Handler, commands: impl Iterator<Item = Command>) -> Result<u64, SubmitError> {
    const PART: usize = 65_536;
    let mut commands = commands.peekable();
    let mut recorded = 0;
    while commands.peek().is_some() {
        for answer in handler.proceed(commands.by_ref().take(PART).map(Into::into)) {
            recorded += u64::from(answer?.stands());
        }
    }
    Ok(recorded)
}

/// Bytes of the ledger's segments.
pub fn segments(folder: &Folder) -> Outcome<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.ledger())? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("segment-") && name.ends_with(".ledger") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
