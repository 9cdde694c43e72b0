//! The command line as it is written: its words, options and help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::failure::EXIT_CODES;

const BATCHES: &str = "\
A batch is named ITEM/CODE, ITEM/CODE@ISSUER where a supplier gave the code, with #2 for the second use of \
a code; by its bare code where that fits only one batch; or as GS1 writes it: (01)04012345678901(10)L42, a \
Digital Link, an EPC or GDST URN.";

/// Batch traceability: records what happened to batches, and answers where they came from, where they
/// went, how much of them is where, and what a recall must bring back.
#[derive(Debug, Parser)]
#[command(name = "lotline", version, max_term_width = 110, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all of it on a simulated dairy.
    Demo(Demo),
    /// Record EPCIS 2.0 documents (JSON).
    Capture(Capture),
    /// Record commands, one JSON object per line; one answer per line, in order.
    Submit(Submit),
    /// Follow a batch to what it was made of, or to what was made of it.
    #[command(after_help = BATCHES)]
    Trace(Trace),
    /// What is where.
    OnHand(OnHand),
    /// What a recall of batches must bring back, how certain that is, how much of it, and why.
    #[command(after_help = BATCHES)]
    Recall(Recall),
    /// Everything recorded of a batch.
    #[command(after_help = BATCHES)]
    History(History),
    /// Open discrepancies of the records.
    Exceptions(Exceptions),
    /// Read the whole ledger again and prove that nothing of it was changed.
    Verify(Verify),
    /// Delete the read models and build them again from the ledger.
    Rebuild(Rebuild),
    /// Keep the read models up to date with the ledger, and relay it to a NATS stream.
    Serve(Serve),
    /// Publish the ledger's commits to a NATS stream, byte for byte.
    Relay(Relay),
    /// Build a read model from a NATS stream alone.
    Projector(Projector),
}

/// Which data.
#[derive(Debug, Args)]
pub struct Folder {
    /// The data folder: the ledger, and the read models made from it.
    #[arg(long, value_name = "DIR", default_value = "lotline-data")]
    pub dir: PathBuf,
}

/// Up to when.
#[derive(Debug, Args, Default)]
pub struct Bounds {
    /// Only what had happened by then: a time with its offset (2026-03-01T08:00:00+01:00), or a day (2026-03-01+01:00, to
    /// its end).
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    /// Only what had been recorded by then: the number of a commit, or a time.
    #[arg(long, value_name = "COMMIT|TIME")]
    pub as_known_at: Option<String>,
}

/// In which form to answer.
#[derive(Debug, Args, Default)]
#[group(multiple = false)]
pub struct Form {
    /// Answer in JSON; schemas/answers/ describes it.
    #[arg(long)]
    pub json: bool,
    /// Answer in CSV, for spreadsheets.
    #[arg(long)]
    pub csv: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// All chance in the dairy follows from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many days; the story needs 14.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(14..=3660))]
    pub days: u32,
    /// A new folder to keep the data and the pictures in; without it a folder for temporary files is made.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// What to do with the rest when something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Record nothing of the file.
    Rollback,
    /// Record the good ones.
    Proceed,
}

/// `capture`.
#[derive(Debug, Args)]
pub struct Capture {
    /// The documents; - is the standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// When something in a file is refused: record nothing of that file (all of it has to fit into one commit then), or
    /// the good ones.
    #[arg(long, value_name = "WHAT", default_value = "rollback")]
    pub on_error: OnError,
    /// Who sends them; stands in every event.
    #[arg(long, default_value = "epcis")]
    pub source: String,
    /// The largest document, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = lotline_epcis::MAX_BYTES)]
    pub max_bytes: usize,
    /// List what was taken although something about it is odd.
    #[arg(long)]
    pub remarks: bool,
    /// Where to.
    #[command(flatten)]
    pub folder: Folder,
    /// How to answer.
    #[command(flatten)]
    pub form: Form,
}

/// `submit`.
#[derive(Debug, Args)]
pub struct Submit {
    /// JSON Lines; - is the standard input. schemas/commands/ describes each type.
    #[arg(default_value = "-", value_name = "FILE")]
    pub file: PathBuf,
    /// Who sends the lines that name no source.
    #[arg(long)]
    pub source: Option<String>,
    /// The clock was looked at and is right: take intents although it differs from what was recorded.
    #[arg(long)]
    pub accept_clock: bool,
    /// Where to.
    #[command(flatten)]
    pub folder: Folder,
}

/// `trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// The batch.
    pub batch: String,
    /// Which way.
    #[command(flatten)]
    pub direction: Direction,
    /// Write a picture for Graphviz.
    #[arg(long, value_name = "FILE")]
    pub dot: Option<PathBuf>,
    /// Write a picture.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Bounds.
    #[command(flatten)]
    pub bounds: Bounds,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
    /// How to answer.
    #[command(flatten)]
    pub form: Form,
}

/// Which way a trace goes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Direction {
    /// Towards what it was made of.
    #[arg(long)]
    pub back: bool,
    /// Towards what was made of it, and who has it.
    #[arg(long)]
    pub forward: bool,
}

/// `on-hand`.
#[derive(Debug, Args)]
pub struct OnHand {
    /// Only batches of this item.
    #[arg(long)]
    pub item: Option<String>,
    /// Only at this place, and what is inside of it.
    #[arg(long)]
    pub place: Option<String>,
    /// Only this batch, wherever it is: also with customers.
    #[arg(long)]
    pub batch: Option<String>,
    /// Bounds.
    #[command(flatten)]
    pub bounds: Bounds,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
    /// How to answer.
    #[command(flatten)]
    pub form: Form,
}

/// `recall`.
#[derive(Debug, Args)]
pub struct Recall {
    /// The suspect batches.
    #[arg(required = true, value_name = "BATCH")]
    pub batches: Vec<String>,
    /// A vessel has to have been cleaned at least this thoroughly to end contact.
    #[arg(long, value_name = "GRADE", default_value_t = 1)]
    pub clean_grade: u8,
    /// Bounds.
    #[command(flatten)]
    pub bounds: Bounds,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
    /// How to answer.
    #[command(flatten)]
    pub form: Form,
}

/// `history`.
#[derive(Debug, Args)]
pub struct History {
    /// The batch; container:NAME, vessel:NAME, transit:NAME and event:ID are understood too.
    #[arg(value_name = "BATCH")]
    pub of: String,
    /// Bounds.
    #[command(flatten)]
    pub bounds: Bounds,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
    /// How to answer.
    #[command(flatten)]
    pub form: Form,
}

/// `exceptions`.
#[derive(Debug, Args)]
pub struct Exceptions {
    /// Bounds.
    #[command(flatten)]
    pub bounds: Bounds,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
    /// How to answer.
    #[command(flatten)]
    pub form: Form,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
    /// Answer in JSON; schemas/answers/verify.schema.json describes it.
    #[arg(long)]
    pub json: bool,
}

/// `rebuild`.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Relay to this NATS server, such as nats://localhost:4222. Without one the service ends with its input.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
}

/// `relay`.
#[derive(Debug, Args)]
pub struct Relay {
    /// The NATS server, such as nats://localhost:4222.
    #[arg(long, value_name = "URL")]
    pub nats: String,
    /// Publish what is there, and end.
    #[arg(long)]
    pub once: bool,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
}

/// Which read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Whence and whither.
    Genealogy,
    /// How much, where, in which state.
    Inventory,
    /// What must come back.
    Recall,
}

/// `projector`.
#[derive(Debug, Args)]
pub struct Projector {
    /// Which read model.
    pub kind: Kind,
    /// The NATS server, such as nats://localhost:4222.
    #[arg(long, value_name = "URL")]
    pub nats: String,
    /// The ledger, where several have streams on that server.
    #[arg(long, value_name = "ID")]
    pub ledger: Option<String>,
    /// End when this commit is applied; without it, when interrupted.
    #[arg(long, value_name = "COMMIT")]
    pub until: Option<u64>,
    /// Where to keep it.
    #[command(flatten)]
    pub folder: Folder,
}
