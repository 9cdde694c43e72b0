//! Measurements, each beside a peer or a limit in the same run. None of them is a test: nothing fails
//! because a machine is slow.
//!
//! `cargo run --release -p lotline-benches -- all`

mod append;
mod bus;
mod fixture;
mod ledger;
mod load;
mod measure;
mod memory;
mod models;
mod observations;
mod peer;
mod table;
mod trace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use load::Load;
use table::Table;

/// What can go wrong is the disk, and a bench has nobody to mend it.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(about = "Measures Lotline beside its peers and limits, in one run.")]
struct Cli {
    #[command(subcommand)]
    theme: Theme,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct Options {
    /// Lots of the genealogy for `trace` and `memory`.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    lots: u32,
    /// Events of the dairy's ledger for `verify`, `rebuild` and `open`.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    events: u64,
    /// How often each figure is taken; the median is shown.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    /// Where ledgers are made. Those of the same size that stand there are used again; without it, a
    /// temporary folder is used and removed.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand, Clone, PartialEq)]
enum Theme {
    /// All of them, one after the other.
    All,
    /// Durable intents, one event each, with 1, 8 and 32 writers.
    Append,
    /// Observations from JSON Lines to durable.
    Observations,
    /// The whole-chain verification.
    Verify,
    /// All three read models from the ledger alone.
    Rebuild,
    /// Opening the ledger and the read models.
    Open,
    /// A recall question in a big genealogy.
    Trace,
    /// Relay, intake, feed and projectors over a NATS server.
    Nats,
    /// What a process needs that holds this genealogy.
    Memory,
    /// One measured process of `memory`.
    #[command(hide = true)]
    Measured {
        /// Folder of the data.
        folder: PathBuf,
        /// What it is to do.
        #[arg(value_enum)]
        part: memory::Part,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            let mut source = error.source();
            while let Some(inner) = source {
                eprintln!("  because {inner}");
                source = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Outcome {
    let temporary;
    let dir: &Path = match &cli.options.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            dir
        }
        None => {
            temporary = tempfile::tempdir()?;
            temporary.path()
        }
    };
    let options = &cli.options;
    if let Theme::Measured { folder, part } = &cli.theme {
        return memory::measured(folder, *part);
    }
    println!("{}", load::machine());
    type Bench = fn(&Path, &Options, &mut Table) -> Outcome;
    let themes: [(Theme, &str, Bench); 8] = [
        (Theme::Append, "Durable single-event intents", append::run),
        (Theme::Observations, "Observations from JSON Lines", observations::run),
        (Theme::Verify, "Verification", ledger::verify),
        (Theme::Rebuild, "Rebuild of the read models", models::rebuild),
        (Theme::Open, "Opening", models::open),
        (Theme::Trace, "Trace in a big genealogy", trace::run),
        (Theme::Nats, "Over NATS", bus::run),
        (Theme::Memory, "Memory", memory::run),
    ];
    for (theme, title, bench) in themes {
        if cli.theme == Theme::All || cli.theme == theme {
            let mut table = Table::default();
            let load = Load::begin();
            bench(dir, options, &mut table)?;
            println!("\n### {title}\n\n{table}\n\n{}", load.end());
        }
    }
    Ok(())
}
