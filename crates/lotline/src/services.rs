//! What runs on its own: the relay to a NATS stream, a projector fed from that stream alone, and `serve`, which
//! keeps the read models of a folder up to date and relays its ledger.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use lotline_bus::{
    Bus, BusOptions, Cursor, Model, OnDifference, ProjectError, ProjectOptions, Projected, Relay as Relaying,
    RelayError, RelayOptions, Relayed, Stop, Trouble,
};
use lotline_ledger::{AppendError, CommitHash, CommitNumber, Frame, LedgerId, Options, Reader, Writer};
use lotline_projections::{self as projections, ReadModel, ReadModelKind};
use tracing_subscriber::EnvFilter;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::{Folder, catch_up, check, decode};
use crate::print::finished;

/// How often a folder is looked at for commits of another process.
const LOOK: Duration = Duration::from_millis(50);
/// The read models of `serve` are saved so long after the first commit that is not saved.
const SAVE_AFTER: Duration = Duration::from_secs(5);

/// Which NATS server, and as whom.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// Address of the NATS server; several with commas between them.
    #[arg(long, value_name = "URL")]
    pub nats: String,
    /// Credentials for it.
    #[arg(long, value_name = "FILE")]
    pub nats_credentials: Option<std::path::PathBuf>,
}

/// What to do when the stream goes on where the ledger ends: the folder is an older copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnRollback {
    /// Append the missing commits from the stream, each verified.
    CatchUp,
    /// Stop and say so.
    Stop,
}

/// `relay`.
#[derive(Debug, Args)]
pub struct Relay {
    /// Where to.
    #[command(flatten)]
    pub server: Server,
    /// End when the stream has all that the ledger has.
    #[arg(long)]
    pub once: bool,
    /// When the stream has more than the ledger.
    #[arg(long, value_name = "WHAT", default_value = "catch-up")]
    pub on_rollback: OnRollback,
    /// Stop when the stream differs from the ledger, instead of starting a new generation beside it.
    #[arg(long)]
    pub stop_on_difference: bool,
    /// How many servers of a cluster keep a new stream.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,
    /// Of which data.
    #[command(flatten)]
    pub folder: args::Folder,
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

impl From<Kind> for ReadModelKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Genealogy => Self::Genealogy,
            Kind::Inventory => Self::Inventory,
            Kind::Recall => Self::Recall,
        }
    }
}

/// How far a projector goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the stream's end as it is now.
    Head,
    /// To this commit.
    Commit(u64),
}

impl std::str::FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "head" {
            return Ok(Self::Head);
        }
        text.parse().map(Self::Commit).map_err(|_| "neither `head` nor the number of a commit".to_owned())
    }
}

/// `projector`.
#[derive(Debug, Args)]
pub struct Projector {
    /// Which read model.
    pub kind: Kind,
    /// Where from.
    #[command(flatten)]
    pub server: Server,
    /// The ledger's id, where the server has streams of several.
    #[arg(long, value_name = "ID")]
    pub ledger: Option<String>,
    /// End at this commit, or at `head`, the stream's last commit now.
    #[arg(long, value_name = "COMMIT|head")]
    pub until: Option<Until>,
    /// Folder of the read model; an empty or new one begins at commit 1.
    #[command(flatten)]
    pub folder: args::Folder,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address of a NATS server to relay the ledger to.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Credentials for it.
    #[arg(long, value_name = "FILE", requires = "nats")]
    pub nats_credentials: Option<std::path::PathBuf>,
    /// Of which data.
    #[command(flatten)]
    pub folder: args::Folder,
}

fn connect(server: &Server, name: &str) -> Result<Bus, Failure> {
    log();
    let options = BusOptions {
        name: format!("lotline {name}"),
        credentials: server.nats_credentials.clone(),
        ..BusOptions::default()
    };
    Bus::connect(&server.nats, &options).map_err(|error| {
        Failure::new(Exit::Busy, error.to_string()).because(error).advice("start the server, or correct --nats")
    })
}

/// Sends the bus's events to the standard error, where a denied permission is told and nowhere else. `RUST_LOG` says
/// which.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,lotline_bus=info"));
    // Somebody else may have set it up already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// `relay`.
///
/// # Errors
/// Where there is no ledger, the server cannot be used, or ledger and stream differ.
pub fn relay(asked: &Relay) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let reader = folder.reader()?;
    let bus = connect(&asked.server, "relay")?;
    let stop = Stop::new();
    bus.stop_when_interrupted(&stop);
    let on_difference = if asked.stop_on_difference { OnDifference::Stop } else { OnDifference::StartGeneration };
    let options =
        RelayOptions { on_difference, replicas: usize::from(asked.replicas), ..RelayOptions::default() };
    let relayed = relay_from(&bus, &folder, reader, &options, asked.on_rollback, &stop, asked.once)?;
    let mut out = std::io::stdout().lock();
    let mut told = Ok(());
    for kept in &relayed.kept {
        told = told.and_then(|()| {
            writeln!(out, "stream {} was left as it is, with commits up to {}: {}", kept.stream, kept.head, kept.why)
        });
    }
    let (published, stream, head) = (relayed.published, &relayed.stream, relayed.head);
    finished(told.and_then(|()| writeln!(out, "{published} commits published; stream {stream} is at commit {head}")))?;
    Ok(Exit::Done)
}

/// Relays, and where the ledger turns out to be an older copy catches it up first if it is told to.
fn relay_from(
    bus: &Bus,
    folder: &Folder,
    mut reader: Reader,
    options: &RelayOptions,
    on_rollback: OnRollback,
    stop: &Stop,
    once: bool,
) -> Result<Relayed, Failure> {
    loop {
        let mut relay = Relaying::new(bus, reader, options.clone());
        let ended = if once { relay.once() } else { relay.run(stop) };
        match ended {
            Err(RelayError::Ahead { in_stream, .. }) if on_rollback == OnRollback::CatchUp => {
                let restored = restore(bus, folder, in_stream, stop)?;
                eprintln!(
                    "note: the ledger ended before the stream: it is an older copy; {restored} commits were verified \
                     and appended from the stream, up to commit {in_stream}. Keys of values that were sealed in them \
                     are in the newer folder's keyring only"
                );
                reader = folder.reader()?;
            }
            ended => return ended.map_err(relay_failure),
        }
    }
}

/// Appends to a folder's ledger what the stream has beyond it, each commit checked to be the next link of its chain,
/// and returns how many those were.
///
/// # Errors
/// Where another process is recording, the stream's chain is broken, or the disk fails.
pub fn restore(bus: &Bus, folder: &Folder, up_to: CommitNumber, stop: &Stop) -> Result<u64, Failure> {
    let writer = Writer::open(Folder::storage(), folder.ledger(), Options::default())?;
    let mut copy = Copy { writer };
    let options = ProjectOptions {
        name: "restore".to_owned(),
        until: Some(up_to),
        patience: Some(Duration::from_secs(30)),
        ..ProjectOptions::default()
    };
    let restored = bus.project(&mut copy, &options, stop).map_err(project_failure)?;
    copy.writer.close()?;
    Ok(restored.applied)
}

/// A ledger that is caught up from a stream.
struct Copy {
    writer: Writer,
}

impl Model for Copy {
    type Error = AppendError;

    fn cursor(&self) -> Cursor {
        let head = self.writer.head();
        Cursor { ledger: head.ledger, commit: head.commit, hash: head.hash }
    }

    fn apply(&mut self, frame: &Frame, _hash: CommitHash) -> Result<(), AppendError> {
        self.writer.append_frame(frame.bytes()).map(|_| ())
    }

    fn save(&mut self) -> Result<(), AppendError> {
        // Each append is durable when it returns.
        Ok(())
    }
}

fn relay_failure(error: RelayError) -> Failure {
    let (exit, advice) = match &error {
        RelayError::Ahead { .. } => {
            (Exit::Damage, Some("use --on-rollback catch-up, or restore the newer data folder"))
        }
        RelayError::Differs(_) | RelayError::Fenced(_) => {
            (Exit::Damage, Some("find out which folder is the right one; only one may relay"))
        }
        RelayError::MaxPayload { .. } => (Exit::Usage, None),
        RelayError::Ledger(_) => (Exit::Damage, Some("run `lotline verify`")),
        RelayError::Server(_) => (Exit::Busy, None),
    };
    told(Failure::new(exit, error.to_string()).because(error), advice)
}

fn project_failure<E: std::error::Error + Send + Sync + 'static>(error: ProjectError<E>) -> Failure {
    let (exit, advice) = match &error {
        ProjectError::Broken(_) => (
            Exit::Damage,
            Some("what came before it is saved; start the relay again: beside a damaged stream it starts a new one"),
        ),
        ProjectError::OtherChain { .. } => (Exit::Damage, Some("name an empty folder")),
        ProjectError::NoStream { .. } => (Exit::No, Some("start `lotline relay` first")),
        ProjectError::Behind { .. } => (Exit::Busy, Some("start `lotline relay`, which fills the stream again")),
        ProjectError::Apply { .. } => (Exit::Damage, None),
        ProjectError::Save(_) => (Exit::Disk, None),
        ProjectError::Server(_) => (Exit::Busy, None),
    };
    told(Failure::new(exit, error.to_string()).because(error), advice)
}

fn trouble(error: Trouble) -> Failure {
    Failure::new(Exit::Busy, error.to_string()).because(error)
}

fn told(failure: Failure, advice: Option<&str>) -> Failure {
    match advice {
        Some(advice) => failure.advice(advice),
        None => failure,
    }
}

/// `projector`.
///
/// # Errors
/// Where the server cannot be used, the chain is broken, or the folder is in use.
pub fn projector(asked: &Projector) -> Result<Exit, Failure> {
    let bus = connect(&asked.server, "projector")?;
    let stop = Stop::new();
    bus.stop_when_interrupted(&stop);
    let ledger = ledger_of(&bus, asked.ledger.as_deref())?;
    let until = match asked.until {
        None => None,
        Some(Until::Commit(number)) => Some(CommitNumber::new(number)),
        Some(Until::Head) => Some(bus.stream_head(ledger).map_err(trouble)?.map_or(CommitNumber::ZERO, |head| head.commit)),
    };
    let folder = Folder::new(&asked.folder.dir);
    let (projected, model) = project(&bus, asked.kind.into(), &folder, ledger, until, &stop)?;
    let kind = model.kind().word();
    let (applied, commit) = (projected.applied, projected.cursor.commit);
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{kind} as of commit {commit}, {applied} commits applied, digest {}", model.digest());
    finished(written)?;
    Ok(Exit::Done)
}

/// Builds or goes on with a read model in `folder` from the stream of a ledger, and returns it.
///
/// # Errors
/// As [`projector`].
pub fn project(
    bus: &Bus,
    kind: ReadModelKind,
    folder: &Folder,
    ledger: LedgerId,
    until: Option<CommitNumber>,
    stop: &Stop,
) -> Result<(Projected, ReadModel), Failure> {
    let model = ReadModel::open(&folder.model(kind), kind, projections::LedgerId(*ledger.as_bytes()))?;
    if let Some(doubt) = model.doubt() {
        eprintln!("note: the {} model is built anew: {doubt}", kind.word());
    }
    let mut fed = Fed { model };
    let options = ProjectOptions { name: kind.word().to_owned(), until, ..ProjectOptions::default() };
    let mut projected = bus.project(&mut fed, &options, stop);
    if let Err(error @ ProjectError::OtherChain { .. }) = &projected {
        // Pages hold only what the stream can give again.
        eprintln!("note: the {} model is built anew: {error}", kind.word());
        fed.model.begin_anew()?;
        projected = bus.project(&mut fed, &options, stop);
    }
    Ok((projected.map_err(project_failure)?, fed.model))
}

fn ledger_of(bus: &Bus, named: Option<&str>) -> Result<LedgerId, Failure> {
    let there = bus.ledgers().map_err(trouble)?;
    let list = || there.iter().map(LedgerId::to_string).collect::<Vec<_>>().join(", ");
    match named {
        Some(named) => there.iter().copied().find(|ledger| ledger.to_string() == named).ok_or_else(|| {
            let message = format!("the server has no stream of ledger {named}; it has those of: {}", list());
            Failure::new(Exit::No, message).advice("start `lotline relay` first, or correct --ledger")
        }),
        None => match there[..] {
            [only] => Ok(only),
            [] => Err(Failure::new(Exit::No, "the server has no stream of a ledger")
                .advice("start `lotline relay` first")),
            _ => Err(Failure::new(Exit::Input, format!("the server has streams of several ledgers: {}", list()))
                .advice("name one with --ledger")),
        },
    }
}

/// A read model that is fed with commits.
struct Fed {
    model: ReadModel,
}

/// Why a commit could not be applied or a model not saved, for an error's chain.
#[derive(Debug)]
pub struct Fault(Failure);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl Model for Fed {
    type Error = Fault;

    fn cursor(&self) -> Cursor {
        let cursor = self.model.cursor();
        Cursor {
            ledger: LedgerId::new(cursor.ledger.0),
            commit: CommitNumber::new(cursor.number.0),
            hash: CommitHash::new(cursor.hash.0),
        }
    }

    fn apply(&mut self, frame: &Frame, _hash: CommitHash) -> Result<(), Fault> {
        let decoded = decode(frame).map_err(Fault)?;
        let applied = self.model.apply(decoded.meta, &decoded.events);
        applied.map_err(|error| Fault(Failure::new(Exit::Damage, "the commit does not follow").because(error)))
    }

    fn save(&mut self) -> Result<(), Fault> {
        self.model.save().map_err(|error| Fault(error.into()))
    }
}

/// `serve`: keeps the read models up to date with the ledger, whoever records in it, and relays it if a server is
/// named. Runs until it is stopped.
///
/// # Errors
/// Where there is no ledger, it is damaged, a read model is in use, or the relay has to stop.
pub fn serve(asked: &Serve) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let reader = folder.reader()?;
    let Some(nats) = &asked.nats else {
        eprintln!("serving {folder}: three read models; end with Ctrl-C");
        follow(&folder, &reader, &Stop::new())?;
        return Ok(Exit::Done);
    };
    let server = Server { nats: nats.clone(), nats_credentials: asked.nats_credentials.clone() };
    let bus = connect(&server, "serve")?;
    let stop = Stop::new();
    bus.stop_when_interrupted(&stop);
    eprintln!("serving {folder}: three read models, and the relay to {nats}; end with Ctrl-C");
    let options = RelayOptions::default();
    let (followed, relayed) = std::thread::scope(|threads| {
        let relay = threads.spawn(|| {
            let ended = relay_from(&bus, &folder, reader.clone(), &options, OnRollback::CatchUp, &stop, false);
            stop.now();
            ended
        });
        let followed = follow(&folder, &reader, &stop);
        stop.now();
        (followed, relay.join())
    });
    followed?;
    relayed.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Exit::Done)
}

/// Keeps all read models of a folder up to date until it is stopped, and saves them.
fn follow(folder: &Folder, reader: &Reader, stop: &Stop) -> Result<(), Failure> {
    let ledger = projections::LedgerId(*reader.ledger().as_bytes());
    let mut models: Vec<ReadModel> = ReadModelKind::ALL
        .into_iter()
        .map(|kind| {
            let mut model = ReadModel::open(&folder.model(kind), kind, ledger)?;
            check(&mut model, reader)?;
            Ok(model)
        })
        .collect::<Result<_, Failure>>()?;
    let mut unsaved: Option<Instant> = None;
    while !stop.is_told() {
        let before = models.iter().map(|model| model.cursor().number).min();
        reader.refresh()?;
        catch_up(&mut models, reader)?;
        if models.iter().map(|model| model.cursor().number).min() != before {
            unsaved.get_or_insert_with(Instant::now);
        }
        if unsaved.is_some_and(|since| since.elapsed() >= SAVE_AFTER) {
            save(&mut models)?;
            unsaved = None;
        }
        std::thread::sleep(LOOK);
    }
    save(&mut models)
}

fn save(models: &mut [ReadModel]) -> Result<(), Failure> {
    models.iter_mut().try_for_each(|model| model.save().map_err(Failure::from))
}
