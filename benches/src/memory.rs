//! What a process needs that holds the genealogy: each figure is that of a process of its own, so that
//! nothing else is counted.

use std::path::Path;
use std::process::Command as Process;

use clap::ValueEnum;
use lotline::folder::Folder;
use lotline_domain::book::{BatchIx, Bounds};
use lotline_projections::{Direction, LedgerId, ReadModel, ReadModelKind, trace};

use crate::load::status;
use crate::measure::megabytes;
use crate::table::{Row, Table};
use crate::{Options, Outcome, fixture};

/// What the measured process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Builds the genealogy model from the ledger, in an empty folder.
    Build,
    /// Opens it from its pages.
    Open,
    /// Opens it and settles every batch, so that as many settlements are kept as may be.
    Settle,
}

/// Measures it.
pub fn run(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    let genealogy = fixture::genealogy(options.lots);
    let folder = fixture::genealogy_ledger(dir, options.lots, &genealogy)?;
    let edges = genealogy.edges.len();
    drop(genealogy);
    for (part, what, limit) in [
        (Part::Build, "projector, from nothing", "the pages that are being written, beside the columns"),
        (Part::Open, "opened from its pages", "columns, names and links"),
        (Part::Settle, "opened, and every batch settled once", "256 MB of settlements kept for later questions"),
    ] {
        let output = Process::new(std::env::current_exe()?)
            .arg("measured")
            .arg(folder.path())
            .arg(part.to_possible_value().expect("no part is hidden").get_name())
            .output()?;
        if !output.status.success() {
            return Err(format!("the measured process failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [most, now, empty, batches, flows] = numbers[..] else {
            return Err(format!("the measured process said {text:?}").into());
        };
        table.add(Row {
            what: format!("genealogy model, {batches} batches, {edges} edges told in {flows} flows; {what}"),
            figure: format!("{} at most, {} at the end", megabytes(most), megabytes(now)),
            aim: "< 1 GB".to_owned(),
            peer: format!("an empty process: {}", megabytes(empty)),
            ratio: format!("{} bytes per flow", now.saturating_sub(empty) / flows),
            limit: limit.to_owned(),
        });
    }
    Ok(())
}

/// The measured process: says most and present memory, that at the beginning, batches and flows.
pub fn measured(folder: &Path, part: Part) -> Outcome {
    let empty = status("VmRSS");
    let folder = Folder::new(folder);
    let reader = fixture::reader(&folder)?;
    let (kind, ledger) = (ReadModelKind::Genealogy, LedgerId(*reader.ledger().as_bytes()));
    let mut models = [ReadModel::open(&folder.model(kind), kind, ledger)?];
    if part == Part::Build {
        models[0].begin_anew()?;
        fixture::catch_up(&mut models, &reader)?;
        models[0].save()?;
    }
    let [model] = models;
    assert_eq!(model.cursor().number.0, reader.head().commit.get(), "the model is up to date");
    let batches = model.book().batch_count();
    let bounds = Bounds::known(model.cursor().number);
    if part == Part::Settle {
        for batch in 0..u32::try_from(batches)? {
            model.settlement(BatchIx(batch), bounds);
        }
        let question = model.question(bounds);
        trace(&question, &[BatchIx(0)], Direction::Forward);
    }
    let (most, now) = (status("VmHWM"), status("VmRSS"));
    println!("{most} {now} {empty} {batches} {}", model.book().flow_count());
    Ok(())
}
