//! The commands that work with a NATS server, and the service that is all of it in one process.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lotline_bus::{
    Bus, BusOptions, Cursor, Model, ProjectError, ProjectOptions, Relay, RelayError, RelayOptions, Relayed, Stop,
};
use lotline_domain::time::CommitNo;
use lotline_ledger::{CommitHash, CommitNumber, Frame, LedgerId, Reader};
use lotline_projections::{LedgerId as ModelLedger, ReadModel, ReadModelKind};
use tracing_subscriber::EnvFilter;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::{self, Folder};
use crate::print::finished;
use crate::submit;

/// Connects, and sends the connection's events to the standard error: `RUST_LOG` says which.
fn connect(url: &str, name: &str) -> Result<Bus, Failure> {
    let which = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(which).with_writer(std::io::stderr);
    // Somebody may have set up a log before.
    let _ = log.try_init();
    let options = BusOptions { name: format!("lotline {name}"), ..BusOptions::default() };
    Bus::connect(url, &options).map_err(|error| Failure::new(Exit::Busy, error.to_string()).because(error))
}

/// `relay`.
///
/// # Errors
/// Where the ledger cannot be read, or the stream must not be gone on with.
pub fn relay(asked: &args::Relay) -> Result<Exit, Failure> {
    let reader = Folder::new(&asked.folder.dir).reader()?;
    let bus = connect(&asked.nats, "relay")?;
    let stop = Stop::new();
    bus.stop_when_interrupted(&stop);
    let mut relay = Relay::new(&bus, reader, RelayOptions::default());
    let relayed = if asked.once { relay.once() } else { relay.run(&stop) };
    let relayed = relayed.map_err(stopped)?;
    finished(writeln!(std::io::stdout(), "{}", words(&relayed)))?;
    Ok(Exit::Done)
}

fn stopped(error: RelayError) -> Failure {
    let exit = match &error {
        RelayError::Ahead { .. } | RelayError::Differs(_) | RelayError::Fenced(_) => Exit::Damage,
        RelayError::Ledger(_) => Exit::Damage,
        RelayError::MaxPayload { .. } | RelayError::Server(_) => Exit::Busy,
    };
    Failure::new(exit, error.to_string()).because(error)
}

fn words(relayed: &Relayed) -> String {
    let Relayed { published, head, stream, generation, kept } = relayed;
    let mut text =
        format!("{published} commits published; stream {stream} (generation {generation}) is at commit {head}");
    for kept in kept {
        text.push_str(&format!("\nkept beside it: {} up to commit {}: {}", kept.stream, kept.head, kept.why));
    }
    text
}

/// A read model that is fed from a stream.
struct Fed(ReadModel);

impl Model for Fed {
    type Error = Failure;

    fn cursor(&self) -> Cursor {
        let cursor = self.0.cursor();
        Cursor {
            ledger: LedgerId::new(cursor.ledger.0),
            commit: CommitNumber::new(cursor.number.0),
            hash: CommitHash::new(cursor.hash.0),
        }
    }

    fn apply(&mut self, frame: &Frame, _: CommitHash) -> Result<(), Failure> {
        folder::apply_frame(&mut self.0, frame)
    }

    fn save(&mut self) -> Result<(), Failure> {
        Ok(self.0.save()?)
    }
}

/// `projector`.
///
/// # Errors
/// Where there is no stream, its chain is broken, or the read model cannot be kept.
pub fn projector(asked: &args::Projector) -> Result<Exit, Failure> {
    let kind = match asked.kind {
        args::Kind::Genealogy => ReadModelKind::Genealogy,
        args::Kind::Inventory => ReadModelKind::Inventory,
        args::Kind::Recall => ReadModelKind::Recall,
    };
    let bus = connect(&asked.nats, kind.word())?;
    let ledger = ledger(&bus, asked.ledger.as_deref())?;
    let folder = Folder::new(&asked.folder.dir).model(kind);
    let mut model = Fed(ReadModel::open(&folder, kind, ModelLedger(*ledger.as_bytes()))?);
    if let Some(doubt) = model.0.doubt() {
        eprintln!("note: the {} model is built anew: {doubt}", kind.word());
    }
    let stop = Stop::new();
    bus.stop_when_interrupted(&stop);
    let until = asked.until.map(CommitNumber::new);
    let options = ProjectOptions { name: format!("lotline-{}", kind.word()), until, ..ProjectOptions::default() };
    let projected = bus.project(&mut model, &options, &stop).map_err(broken)?;
    let CommitNo(commit) = model.0.cursor().number;
    let text = format!(
        "{:<10} as of commit {commit}, digest {}; {} commits applied",
        kind.word(),
        model.0.digest(),
        projected.applied
    );
    finished(writeln!(std::io::stdout(), "{text}"))?;
    Ok(Exit::Done)
}

/// The ledger that is meant: the only one that has a stream on the server, if none is named.
fn ledger(bus: &Bus, named: Option<&str>) -> Result<LedgerId, Failure> {
    let there = bus.ledgers().map_err(|error| Failure::new(Exit::Busy, error.to_string()).because(error))?;
    let listed = || there.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (named, &there[..]) {
        (Some(named), _) => there.iter().find(|ledger| ledger.to_string() == named).copied().ok_or_else(|| {
            Failure::new(Exit::No, format!("ledger {named} has no stream on this server"))
                .advice(format!("there are: {}", listed()))
        }),
        (None, [only]) => Ok(*only),
        (None, []) => {
            Err(Failure::new(Exit::No, "no ledger has a stream on this server").advice("start `lotline relay` first"))
        }
        (None, _) => Err(Failure::new(Exit::Usage, "several ledgers have streams on this server")
            .advice(format!("name one with --ledger: {}", listed()))),
    }
}

fn broken(error: ProjectError<Failure>) -> Failure {
    let exit = match &error {
        ProjectError::Broken(_) | ProjectError::OtherChain { .. } | ProjectError::Apply { .. } => Exit::Damage,
        ProjectError::Save(_) => Exit::Disk,
        _ => Exit::Busy,
    };
    Failure::new(exit, error.to_string()).because(error)
}

/// How often the read models look whether they have to end.
const LOOK: Duration = Duration::from_millis(200);

/// `serve`: one process records what comes in on its standard input, keeps the three read models up to date, and
/// relays to a NATS server where one is named. Without one it ends with its input.
///
/// # Errors
/// Where another process records in the folder, or one of its parts has to stop.
pub fn serve(asked: &args::Serve) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let handler = folder.handler(None)?;
    let reader = handler.reader();
    let bus = asked.nats.as_deref().map(|url| connect(url, "serve")).transpose()?;
    let stop = Stop::new();
    let done = AtomicBool::new(false);
    let exit = std::thread::scope(|scope| {
        let models = scope.spawn(|| keep_models(&folder, &reader, &done));
        let relay = bus.as_ref().map(|bus| {
            bus.stop_when_interrupted(&stop);
            scope.spawn(|| {
                let relayed = Relay::new(bus, reader.clone(), RelayOptions::default()).run(&stop).map_err(stopped);
                if let Err(failure) = &relayed {
                    eprintln!("lotline: the relay stopped: {failure}");
                }
                relayed
            })
        });
        let answered = submit::lines(&handler, std::io::stdin().lock(), None, None);
        // With a relay the service goes on until it is asked to end.
        let relayed = relay.map(|relay| relay.join().expect("the relay does not panic")).transpose();
        done.store(true, Ordering::Relaxed);
        let kept = models.join().expect("the read models do not panic");
        let exit = answered?;
        if let Some(relayed) = relayed? {
            eprintln!("{}", words(&relayed));
        }
        kept.map(|()| exit)
    });
    let closed = handler.close();
    let exit = exit?;
    closed?;
    Ok(exit)
}

/// Keeps the three read models up to date until it is told that all is done.
fn keep_models(folder: &Folder, reader: &Reader, done: &AtomicBool) -> Result<(), Failure> {
    let mut models = ReadModelKind::ALL
        .into_iter()
        .map(|kind| folder.up_to_date(kind, reader))
        .collect::<Result<Vec<ReadModel>, _>>()?;
    loop {
        let ending = done.load(Ordering::Relaxed);
        folder::catch_up(&mut models, reader)?;
        if ending {
            return models.iter_mut().try_for_each(|model| Ok(model.save()?));
        }
        let seen = models.iter().map(|model| model.cursor().number.0).min().unwrap_or(0);
        reader.wait_beyond(CommitNumber::new(seen), LOOK)?;
    }
}
