//! The command line as it is written: its words, options and help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::failure::EXIT_CODES;

const BATCHES: &str = "\
A batch is named ITEM/CODE, ITEM/CODE@ISSUER where a supplier gave the code, with #2 for the second use of \
a code; by its bare code where that fits only one batch; or as GS1 writes it: (01)04012345678901(10)L42, a \
Digital Link, an EPC or GDST URN.";

const SERVE: &str = "\
It goes on until it is interrupted (Ctrl-C, or the termination signal), and then ends with everything that it
answered recorded, saved and, if the server answers, published; interrupted twice it ends at once.

Commands on the standard input are answered as `submit` answers them. With --nats it takes requests, too, on
lotline.LEDGER.submit.SOURCE (a NATS service: `nats micro info lotline`), and messages that the server keeps in a
queue, published to lotline.LEDGER.queue.SOURCE; then it alone records in the folder until it ends. With --no-intake,
or without a server, it lets go of that when the input ends, or there is none (under systemd it is /dev/null):
`submit` and `capture` may then record in the folder, one at a time, and this process follows them. Questions are
answered on lotline.LEDGER.ask.KIND (`nats micro info lotline-ask`), KIND being trace, on-hand, recall, history or
exceptions.

Exit codes tell how the service ended, not what became of single commands:
  0  it was asked to end
  2  --nats is no address, or a file with keys or certificates will not do
  4  the folder or the address of --metrics is in use, or the NATS server cannot be used at the start; one that
     goes away later is waited for
  5  the ledger is damaged, was rolled back behind its stream, or is recorded in by somebody else, too
  6  a newer program wrote the folder
  7  a file or disk failed: full, read-only, gone
  8  the NATS server refuses the credentials or a permission, or one side does not trust the other's certificate";

const RELAY: &str = "\
It reads the ledger beside whoever records in it, and keeps nothing itself: where it goes on follows from
comparing the stream's last commit with the ledger's. A stream that differs from the ledger, or has lost a
commit, is kept, and the next generation is started beside it. A stream that is ahead of the ledger means that
an older copy of the folder was put back: nothing is written then, unless --catch-up says so.

Exit codes:
  0  it was asked to end; with --once, all is published
  2  --dir names no data folder, --nats is no address, or a file with keys or certificates will not do
  4  the NATS server cannot be used at the start, or refuses; one that goes away later is waited for; the address
     of --metrics is in use
  5  the stream is ahead of the ledger or was written to by somebody else, or the ledger is damaged
  6  a newer program wrote the folder
  7  a file or disk failed: full, read-only, gone
  8  the NATS server refuses the credentials or a permission, or one side does not trust the other's certificate";

const PROJECTOR: &str = "\
Each commit's number, bytes and hash are checked. What is saved names the commit that it is as of, so that after
whatever end only the commits behind that one are applied. Questions are answered on lotline.LEDGER.ask.KIND, KIND
being trace for the genealogy, on-hand for the inventory, recall for the recall.

Exit codes:
  0  it was asked to end, or has come to --until
  2  --nats is no address, a file with keys or certificates will not do, several ledgers have streams and none is
     named, or the folder is another ledger's
  4  the folder or the address of --metrics is in use, the ledger has no stream yet, or the NATS server cannot be
     used at the start; one that goes away later is waited for
  5  the chain is broken at the commit named, or the folder was built from another chain
  6  a newer program wrote a commit
  7  a file or disk failed: full, read-only, gone
  8  the NATS server refuses the credentials or a permission, or one side does not trust the other's certificate";

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
    /// Record what comes on the standard input, keep the read models up to date, and relay to a NATS stream: all in
    /// one process.
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Publish the ledger's commits to a NATS stream, byte for byte.
    #[command(after_help = RELAY)]
    Relay(Relay),
    /// Build a read model from a NATS stream alone, and keep it up to date.
    #[command(after_help = PROJECTOR)]
    Projector(Projector),
    /// Messages from the queue on a NATS server that cannot be taken as they are: look at them, mend them and send them
    /// again, or drop them.
    DeadLetters(DeadLetters),
}

/// Who one is to a NATS server, and whom to trust. Secrets stand in files, never on the command line.
#[derive(Debug, Clone, Args, Default)]
#[command(next_help_heading = "NATS")]
pub struct Access {
    /// A user's credentials: a file with a JWT and its seed.
    #[arg(long, value_name = "FILE", env = "NATS_CREDS", conflicts_with = "nats_nkey")]
    pub nats_creds: Option<PathBuf>,
    /// A user's nkey: a file with its seed.
    #[arg(long, value_name = "FILE", env = "NATS_NKEY")]
    pub nats_nkey: Option<PathBuf>,
    /// Trust the certificates in this file (PEM), and not those of the system; there is no connection without TLS then.
    #[arg(long, value_name = "FILE", env = "NATS_CA")]
    pub nats_ca: Option<PathBuf>,
    /// A client certificate (PEM), where the server asks for one.
    #[arg(long, value_name = "FILE", env = "NATS_CERT", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", env = "NATS_KEY", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,
    /// What the names of inboxes begin with, where permissions give a user its own.
    #[arg(long, value_name = "PREFIX", env = "NATS_INBOX_PREFIX")]
    pub nats_inbox_prefix: Option<String>,
}

/// What a service tells of itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics and health")]
pub struct Metrics {
    /// Answer HTTP at this address, such as 127.0.0.1:9464: /metrics (Prometheus), /health and /ready. Whoever reaches it
    /// may read them.
    #[arg(long, value_name = "ADDRESS", env = "LOTLINE_METRICS")]
    pub metrics: Option<SocketAddr>,
    /// Not ready while more commits than these are missing,
    #[arg(long, value_name = "COMMITS", default_value_t = 1_000)]
    pub ready_commits: u64,
    /// or while one is missing that was recorded so long ago.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub ready_seconds: u64,
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
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(14..=7300))]
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
    /// The ledger's keyring is lost for ever, and there is no copy: begin a new one. What was sealed stays unreadable, and
    /// what was recorded before and is sent again is taken for a conflict.
    #[arg(long)]
    pub new_keyring: bool,
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
    /// Only what is over by then: before the beginning of a day (2026-12-01) by the clock of the place where it is, or by
    /// a time with its offset (2026-12-01T12:00:00+01:00).
    #[arg(long, value_name = "DATE|TIME")]
    pub expires_before: Option<String>,
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
    /// The batch: all facts that name it. What happened to a container with it inside is the history of container:NAME;
    /// vessel:NAME, transit:NAME and event:ID are understood, too.
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
    /// Relay to this NATS server, such as nats://localhost:4222, and take requests from it.
    #[arg(long, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    pub nats: Option<String>,
    /// What it tells of itself.
    #[command(flatten)]
    pub metrics: Metrics,
    /// How to connect.
    #[command(flatten)]
    pub access: Access,
    /// Take nothing in from the NATS server.
    #[arg(long, requires = "nats")]
    pub no_intake: bool,
    /// Tell no changes of the read models.
    #[arg(long, requires = "nats")]
    pub no_feed: bool,
    /// Answer no questions.
    #[arg(long, requires = "nats")]
    pub no_answers: bool,
    /// The clock was looked at and is right: take intents although it differs from what was recorded.
    #[arg(long)]
    pub accept_clock: bool,
    /// So many questions may wait for their answers; further ones are told when to come again.
    #[arg(long, value_name = "QUESTIONS", default_value_t = 256, requires = "nats",
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub questions: u32,
    /// So many requests may wait for their answers; further ones are told when to come again.
    #[arg(long, value_name = "REQUESTS", default_value_t = 2048, requires = "nats",
        value_parser = clap::value_parser!(u32).range(1..=2048))]
    pub waiting: u32,
    /// So many messages may be in the queue; who publishes more is told. Counts when the queue is made.
    #[arg(long, value_name = "MESSAGES", default_value_t = 1_000_000, requires = "nats",
        value_parser = clap::value_parser!(i64).range(1..))]
    pub queue_max: i64,
    /// Of which data.
    #[command(flatten)]
    pub folder: Folder,
}

/// `relay`.
#[derive(Debug, Args)]
pub struct Relay {
    /// The NATS server, such as nats://localhost:4222.
    #[arg(long, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    pub nats: String,
    /// What it tells of itself.
    #[command(flatten)]
    pub metrics: Metrics,
    /// How to connect.
    #[command(flatten)]
    pub access: Access,
    /// Publish what is there, and end.
    #[arg(long)]
    pub once: bool,
    /// Read the whole stream back first, and compare it with the ledger: where it has lost or damaged a commit, a new
    /// generation is started beside it. Without it the last commits alone are compared.
    #[arg(long)]
    pub read_back: bool,
    /// If the stream is ahead of the ledger, append its commits to the ledger first, each verified. The keyring of
    /// sealed values is not in the stream.
    #[arg(long)]
    pub catch_up: bool,
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
    #[arg(long, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    pub nats: String,
    /// What it tells of itself.
    #[command(flatten)]
    pub metrics: Metrics,
    /// How to connect.
    #[command(flatten)]
    pub access: Access,
    /// The ledger, where several have streams on that server.
    #[arg(long, value_name = "ID")]
    pub ledger: Option<String>,
    /// Tell its changes, current values in a bucket, old and new ones in a stream: of the inventory on-hand and status, of
    /// the genealogy edges, of the recall exceptions.
    #[arg(long)]
    pub feed: bool,
    /// Answer no questions. Nor are any answered with --until.
    #[arg(long)]
    pub no_answers: bool,
    /// So many questions may wait for their answers; further ones are told when to come again.
    #[arg(long, value_name = "QUESTIONS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub questions: u32,
    /// End when this commit is applied; without it, when interrupted.
    #[arg(long, value_name = "COMMIT")]
    pub until: Option<u64>,
    /// A stream that mirrors the ledger's: what is missing or damaged in that is taken from here, checked like any other.
    /// May be given several times.
    #[arg(long = "copy", value_name = "STREAM")]
    pub copies: Vec<String>,
    /// Begin with the newest snapshot on the server where the folder has no read model yet; without one, at the first
    /// commit.
    #[arg(long)]
    pub from_snapshot: bool,
    /// Keep a snapshot on the server after so many commits, and at the end, for others to begin with.
    #[arg(long, value_name = "COMMITS", value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_every: Option<u64>,
    /// Save after so many commits; after five seconds in any case.
    #[arg(long, value_name = "COMMITS", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: u64,
    /// Where to keep it.
    #[command(flatten)]
    pub folder: Folder,
}

/// `dead-letters`.
#[derive(Debug, Args)]
pub struct DeadLetters {
    /// What to do.
    #[command(subcommand)]
    pub what: Letters,
}

/// Where the letters are.
#[derive(Debug, Args)]
pub struct Post {
    /// The NATS server, such as nats://localhost:4222.
    #[arg(long, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    pub nats: String,
    /// How to connect.
    #[command(flatten)]
    pub access: Access,
    /// The ledger, where several have streams on that server.
    #[arg(long, value_name = "ID")]
    pub ledger: Option<String>,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Letters {
    /// List them, each with its reason.
    List {
        /// Those, too, that were sent again or dropped.
        #[arg(long)]
        all: bool,
        /// Answer in JSON, one letter per line.
        #[arg(long)]
        json: bool,
        /// Where.
        #[command(flatten)]
        post: Post,
    },
    /// Show one whole: reason, headers and body.
    Show {
        /// Its number.
        number: u64,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
        /// Where.
        #[command(flatten)]
        post: Post,
    },
    /// Put its message into the queue again, as it came or mended.
    Send {
        /// Its number.
        number: u64,
        /// The mended body; - is the standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where.
        #[command(flatten)]
        post: Post,
    },
    /// Give it up. It is kept among the settled ones, with the reason.
    Drop {
        /// Its number.
        number: u64,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Where.
        #[command(flatten)]
        post: Post,
    },
}
