//! Observations from JSON Lines, end to end: read and parsed, checked for duplicates, encoded, appended,
//! durable.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use lotline::folder::Folder;
use lotline_domain::command::Command;
use lotline_wire::command::{parse_command, print_command};

use crate::load::processor;
use crate::measure::{median, per_second, rate, time, timed, times};
use crate::table::{Row, Table};
use crate::{Options, Outcome, fixture};

/// Measures it.
pub fn run(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    let work = tempfile::tempdir_in(dir)?;
    let path = work.path().join("dairy.jsonl");
    let events = options.events.min(300_000);
    let mut bytes = 0u64;
    let mut out = BufWriter::new(File::create(&path)?);
    for command in fixture::dairy(events) {
        let line = print_command(&command);
        bytes += line.len() as u64 + 1;
        writeln!(out, "{line}")?;
    }
    out.into_inner()?.sync_all()?;
    let (mut parsing, mut all, mut again, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let (parsed, count) = timed(|| lines(&path).map(|iter| iter.count()));
        assert_eq!(count? as u64, events);
        parsing.push(parsed);
        let folder = Folder::new(work.path().join(format!("round-{round}")));
        let handler = fixture::handler(&folder)?;
        let used = processor();
        let (passed, recorded) = timed(|| lines(&path).map(|lines| fixture::proceed(&handler, lines)));
        cpu.push(processor() - used);
        assert_eq!(recorded??, events, "every line is recorded");
        all.push(passed);
        let head = handler.reader().head();
        let (passed, recorded) = timed(|| lines(&path).map(|lines| fixture::proceed(&handler, lines)));
        assert_eq!(recorded??, events, "every line is known");
        assert_eq!(handler.reader().head(), head, "nothing is recorded twice");
        again.push(passed);
        handler.close()?;
        std::fs::remove_dir_all(folder.path())?;
    }
    let [parsing, all, again, cpu] = [parsing, all, again, cpu].map(median);
    let parse_rate = rate(events, parsing);
    table.add(Row {
        what: format!("observations from JSON Lines, {events} of {} bytes each", bytes / events),
        figure: per_second(rate(events, all)),
        aim: "≥ 100 k/s".to_owned(),
        peer: format!("parsing alone, one thread: {}", per_second(parse_rate)),
        ratio: times(rate(events, all) / parse_rate),
        limit: format!("processors: {} each", time(per(cpu, events))),
    });
    table.add(Row {
        what: "the same file again: all are duplicates".to_owned(),
        figure: per_second(rate(events, again)),
        peer: format!("recording: {}", per_second(rate(events, all))),
        ratio: times(all.as_secs_f64() / again.as_secs_f64()),
        limit: "reading the first answers".to_owned(),
        ..Row::default()
    });
    Ok(())
}

fn per(time: Duration, count: u64) -> Duration {
    Duration::from_secs_f64(time.as_secs_f64() / count as f64)
}

fn lines(path: &Path) -> std::io::Result<impl Iterator<Item = Command> + use<>> {
    let file = BufReader::with_capacity(1 << 16, File::open(path)?);
    Ok(file.lines().map(|line| {
        let line = line.expect("the file was just written");
        parse_command(&line).expect("the dairy's lines are commands")
    }))
}
