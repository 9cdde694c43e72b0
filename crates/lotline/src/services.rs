//! The commands that work with a NATS server, and the service that is all of it in one process.

mod board;
pub mod feed;
mod http;
mod input;
mod intake;
mod letters;
pub mod live;
mod questions;
mod serve;
mod snapshots;
mod timed;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use lotline_bus::{
    Act, Bus, BusOptions, ChainBroken, Checkpoints, ConnectError, Cursor, FileError, Model, ProjectError,
    ProjectOptions, Relay, RelayError, RelayOptions, Relayed, Stop, TakenIn, Trouble,
};
use lotline_domain::time::CommitNo;
use lotline_ledger::{CommitHash, CommitNumber, Frame, LedgerId, Options, ReadError, Writer};
use lotline_projections::ReadModelKind;
use tracing_subscriber::EnvFilter;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::{self, Decoded, Folder};
use crate::print::finished;

use board::{Board, Role};
use feed::{FeedKind, Feeder};
pub use letters::dead_letters;
use live::{Live, Moved};
use questions::Questions;
pub use serve::serve;

/// Connects, and sends the connection's events to the standard error: `RUST_LOG` says which.
fn connect(url: &str, access: &args::Access, name: &str) -> Result<Bus, Failure> {
    let which = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(which).with_writer(std::io::stderr);
    // Somebody may have set up a log before.
    let _ = log.try_init();
    let has_password = url.split("://").any(|part| part.contains('@'));
    if has_password && std::env::var("NATS_URL").as_deref() != Ok(url) {
        return Err(Failure::new(
            Exit::Usage,
            "--nats has a password in it, which every user of this machine can read",
        )
        .advice("put the address into the variable NATS_URL, or use --nats-nkey or --nats-creds"));
    }
    let access = access.clone();
    let options = BusOptions {
        name: format!("lotline {name}"),
        credentials: access.nats_creds,
        nkey: access.nats_nkey,
        roots: access.nats_ca,
        certificate: access.nats_cert.zip(access.nats_key),
        inbox_prefix: access.nats_inbox_prefix,
    };
    Bus::connect(url, &options).map_err(|error| {
        let (exit, advice) = match &error {
            ConnectError::Address { .. } | ConnectError::InboxPrefix { .. } => (Exit::Usage, None),
            ConnectError::Server { .. } => (Exit::Busy, Some("start the server, or correct --nats")),
            ConnectError::Denied { anonymous: true, .. } => {
                (Exit::Denied, Some("name a file with --nats-nkey or --nats-creds"))
            }
            ConnectError::Denied { .. } => {
                (Exit::Denied, Some("look whether the server knows this user's public key, and whether it has expired"))
            }
            ConnectError::Tls { .. } => (
                Exit::Denied,
                Some(
                    "--nats-ca names the certificates to trust, --nats-cert and --nats-key this side's own; the name in \
                     --nats has to stand in the server's certificate",
                ),
            ),
            ConnectError::File(FileError::TooOpen { .. }) => {
                (Exit::Usage, Some("take the others' permissions away: chmod o-rwx,g-w FILE"))
            }
            ConnectError::File(_) => (Exit::Usage, Some("name another file, or mend it")),
            ConnectError::Thread(_) => (Exit::Disk, None),
        };
        let failure = Failure::new(exit, error.to_string()).because(error);
        match advice {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    })
}

/// Told when the process is asked to end.
fn interrupted() -> Result<Stop, Failure> {
    Stop::when_interrupted()
        .map_err(|error| Failure::new(Exit::Disk, "the signals to end cannot be waited for").because(error))
}

/// `relay`.
///
/// # Errors
/// Where the ledger cannot be read, or the stream must not be gone on with.
pub fn relay(asked: &args::Relay) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let reader = folder.reader()?;
    let stop = interrupted()?;
    let board = Board::new(Role::Relay, &asked.metrics);
    http::listen(&board, &asked.metrics)?;
    let bus = connect(&asked.nats, &asked.access, "relay")?;
    let options = RelayOptions { read_back: asked.read_back, ..RelayOptions::default() };
    let mut relay = Relay::new(&bus, reader.clone(), options.clone());
    match relay.compare(&stop) {
        Err(RelayError::Ahead { ledger, in_stream, .. }) if asked.catch_up => {
            catch_up(&folder, &bus, ledger, in_stream, &stop)?;
            reader.refresh()?;
            relay = Relay::new(&bus, reader.clone(), options);
        }
        compared => drop(compared.map_err(stopped)?),
    }
    board.works(Some(&bus), Some(relay.reader()), true);
    let over = Stop::new();
    let relayed = std::thread::scope(|scope| {
        if board.is_read() {
            scope.spawn(|| http::look(&board, reader.ledger(), &over));
        }
        let relayed = if asked.once { relay.once(&stop) } else { relay.run(&stop) };
        over.now();
        relayed
    });
    let relayed = relayed.map_err(stopped)?;
    finished(writeln!(std::io::stdout(), "{}", words(&relayed)))?;
    if asked.once && stop.is_told() {
        return Err(
            Failure::new(Exit::Busy, "interrupted before all was published").advice("the next time goes on there")
        );
    }
    Ok(Exit::Done)
}

/// A ledger that takes the commits of its own stream.
struct Copy(Writer);

impl Model for Copy {
    type Error = Failure;
    type Prepared = Frame;

    fn cursor(&self) -> Cursor {
        let head = self.0.head();
        Cursor { ledger: head.ledger, commit: head.commit, hash: head.hash }
    }

    fn prepare(frame: Frame, _: CommitHash) -> Result<Frame, Failure> {
        Ok(frame)
    }

    fn apply(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.0.append_frame(frame.bytes())?;
        Ok(())
    }

    /// Each commit was durable when it was appended.
    fn save(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Appends to a ledger that was rolled back what its stream has beyond it.
fn catch_up(folder: &Folder, bus: &Bus, ledger: LedgerId, until: CommitNumber, stop: &Stop) -> Result<(), Failure> {
    let mut copy = Copy(Writer::open(Folder::storage(), folder.ledger(), Options::default())?);
    let from = copy.cursor().commit;
    let options =
        ProjectOptions { name: "lotline-catch-up".to_owned(), until: Some(until), ..ProjectOptions::default() };
    let projected = bus.project(&mut copy, &options, stop).map_err(broken);
    let closed = copy.0.close();
    let projected = projected?;
    closed?;
    eprintln!(
        "note: the ledger {ledger} ended with commit {from}; {} commits were appended to it from its stream, up to {}. \
         The keyring is not in the stream: copy a newer one into {}, if there is one",
        projected.applied,
        projected.cursor.commit,
        folder.ledger().display()
    );
    Ok(())
}

fn stopped(error: RelayError) -> Failure {
    let (exit, advice) = match &error {
        RelayError::Ahead { .. } => {
            (Exit::Damage, Some("`lotline relay --catch-up` appends the stream's commits to the ledger, each verified"))
        }
        RelayError::Differs(_) => (Exit::Damage, None),
        RelayError::Fenced(_) => (
            Exit::Damage,
            Some(
                "two processes record into copies of one ledger: find the other one; started again, a new generation is begun",
            ),
        ),
        RelayError::Ledger(ReadError::NewerFormat(_)) => (Exit::Newer, None),
        RelayError::Ledger(ReadError::Io(_)) => (Exit::Disk, None),
        RelayError::Ledger(ReadError::Damaged(_)) => (Exit::Damage, Some("run `lotline verify` for the whole picture")),
        RelayError::MaxPayload { .. } => (Exit::Busy, None),
        RelayError::Server(trouble) => (exit_on(trouble), advice_on(trouble)),
    };
    failure(exit, error, advice)
}

fn advice_on(trouble: &Trouble) -> Option<&'static str> {
    match trouble {
        Trouble::NoJetStream => Some("start it with JetStream, as deploy/nats/lotline.conf does"),
        Trouble::Denied { act: Act::Subscribe, subject, .. } if !subject.starts_with("lotline.") => {
            Some("answers come there: --nats-inbox-prefix has to be what this user's permissions allow")
        }
        Trouble::Denied { .. } => Some(
            "use the user of the right role, or let its permissions allow this: deploy/nats/secured.conf has what \
             source, handler (serve, relay), projector, analyst and administrator (dead-letters) need",
        ),
        _ => None,
    }
}

/// The exit code of trouble with a server.
fn exit_on(trouble: &Trouble) -> Exit {
    if matches!(trouble, Trouble::Denied { .. }) { Exit::Denied } else { Exit::Busy }
}

/// Trouble with a server, as what a process ends with.
fn troubled(trouble: Trouble) -> Failure {
    let (exit, advice) = (exit_on(&trouble), advice_on(&trouble));
    failure(exit, trouble, advice)
}

fn failure(exit: Exit, error: impl std::error::Error + Send + Sync + 'static, advice: Option<&str>) -> Failure {
    let failure = Failure::new(exit, error.to_string()).because(error);
    match advice {
        Some(advice) => failure.advice(advice),
        None => failure,
    }
}

fn words(relayed: &Relayed) -> String {
    let Relayed { published, head, stream, generation, kept } = relayed;
    if stream.is_empty() {
        return "0 commits published; no stream was reached".to_owned();
    }
    let mut text =
        format!("{published} commits published; stream {stream} (generation {generation}) is at commit {head}");
    for kept in kept {
        text.push_str(&format!("\nkept beside it: {} up to commit {}: {}", kept.stream, kept.head, kept.why));
    }
    text
}

/// A read model that is fed from a stream, while it is asked and its changes are told.
struct Fed<'s, 'e> {
    live: &'s Live,
    board: &'s Board,
    scope: &'s Scope<'s, 'e>,
    /// A save that is under way.
    saving: Option<ScopedJoinHandle<'s, Result<(), Failure>>>,
}

/// What is under a lock is whole whatever thread has ended.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model for Fed<'_, '_> {
    type Error = Failure;
    type Prepared = Decoded;

    fn cursor(&self) -> Cursor {
        let cursor = self.live.read().cursor();
        Cursor {
            ledger: LedgerId::new(cursor.ledger.0),
            commit: CommitNumber::new(cursor.number.0),
            hash: CommitHash::new(cursor.hash.0),
        }
    }

    fn prepare(frame: Frame, hash: CommitHash) -> Result<Decoded, Failure> {
        folder::decode_hashed(&frame, hash)
    }

    fn apply(&mut self, commit: &Decoded) -> Result<(), Failure> {
        self.live.apply(commit)?;
        let Decoded { meta, events } = commit;
        let recorded_at = lotline_ledger::Micros::new(meta.recorded_at.0.0);
        self.board.model(self.live.kind(), meta.number.0, events.len() as u64, Some(recorded_at));
        Ok(())
    }

    /// Beside what is applied next.
    fn save(&mut self) -> Result<(), Failure> {
        self.saved()?;
        let live = self.live;
        self.saving = Some(self.scope.spawn(move || live.save()));
        Ok(())
    }

    fn saved(&mut self) -> Result<(), Failure> {
        self.saving.take().map_or(Ok(()), |saving| saving.join().expect("a save does not panic"))
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
    let stop = interrupted()?;
    let board = Board::new(Role::Projector, &asked.metrics);
    http::listen(&board, &asked.metrics)?;
    let bus = connect(&asked.nats, &asked.access, kind.word())?;
    let ledger = ledger(&bus, asked.ledger.as_deref())?;
    let folder = Folder::new(&asked.folder.dir).model(kind);
    let model = snapshots::begun(&bus, ledger, kind, &folder, asked.from_snapshot)?;
    if let Some(doubt) = model.doubt() {
        eprintln!("note: the {} model is built anew: {doubt}", kind.word());
    }
    let CommitNo(from) = model.cursor().number;
    eprintln!("{} of ledger {ledger}: {from} commits are kept, going on behind them", kind.word());
    let feeds = FeedKind::ALL.into_iter().filter(|feed| asked.feed && feed.model() == kind);
    let feeders = feeds.map(|feed| Feeder::open(&bus, ledger, feed)).collect::<Result<Vec<_>, _>>()?;
    let options = ProjectOptions {
        name: format!("lotline-{}", kind.word()),
        until: asked.until.map(CommitNumber::new),
        checkpoints: Checkpoints { commits: asked.save_every, ..Checkpoints::default() },
        copies: asked.copies.clone(),
        ..ProjectOptions::default()
    };
    board.model(kind, from, 0, None);
    board.works(Some(&bus), None, false);
    let moved = Arc::new(Moved::default());
    let lives = [Live::new(model, moved.clone())];
    let over = Stop::new();
    let answers = asked.until.is_none() && !asked.no_answers;
    let (projected, told, answered) = std::thread::scope(|scope| {
        let tell_one = |feeder: Feeder| {
            let (live, stop, over, board) = (&lives[0], &stop, &over, &board);
            scope.spawn(move || {
                let told = tell(feeder, live, &|commit| live.hash_of(commit), board, over);
                if told.is_err() {
                    stop.now();
                }
                told
            })
        };
        let telling: Vec<_> = feeders.into_iter().map(tell_one).collect();
        let answering = answers.then(|| {
            let questions = Questions::new(&bus, &lives, None, &stop);
            let moved = &moved;
            scope.spawn(move || questions.answer(ledger, asked.questions, moved))
        });
        if board.is_read() {
            scope.spawn(|| http::look(&board, ledger, &over));
        }
        if kind == ReadModelKind::Recall && board.is_read() {
            scope.spawn(|| count_exceptions(&board, &lives[0], &over));
        }
        if let Some(every) = asked.snapshot_every {
            let (bus, live, over) = (&bus, &lives[0], &over);
            scope.spawn(move || snapshots::keep_on(bus, ledger, live, every, over));
        }
        let mut fed = Fed { live: &lives[0], board: &board, scope, saving: None };
        let projected = loop {
            let projected = bus.project(&mut fed, &options, &stop);
            match &projected {
                Err(ProjectError::Broken(found)) if board.is_read() => {
                    let words = broken(found.clone().into()).to_string();
                    if wait_for_another(&bus, ledger, found, words, &board, &stop) {
                        continue;
                    }
                }
                _ => {}
            }
            break projected.map_err(broken);
        };
        board.ends();
        over.now();
        stop.now();
        moved.now();
        let answered = answering.map(|answering| answering.join().expect("the answers do not panic")).transpose();
        let told: Result<Vec<()>, Failure> =
            telling.into_iter().map(|telling| telling.join().expect("the feed does not panic")).collect();
        (projected, told, answered)
    });
    let projected = projected?;
    told?;
    if let Some(taken) = answered.map_err(intake::ended)? {
        eprintln!("{}", asked_words(&taken));
    }
    let [live] = lives;
    if asked.snapshot_every.is_some() {
        snapshots::keep_last(&bus, ledger, &live)?;
    }
    let model = live.into_model();
    let CommitNo(commit) = model.cursor().number;
    let applied = match projected.applied {
        0 => "0 commits applied".to_owned(),
        count => format!("{count} commits applied, {} to {commit}", from + 1),
    };
    let applied = match projected.refetched {
        0 => applied,
        count => format!("{applied}; {count} of them from a copy: repair the stream with `lotline relay --read-back`"),
    };
    let text = format!("{:<10} as of commit {commit}, digest {}; {applied}", kind.word(), model.digest());
    finished(writeln!(std::io::stdout(), "{text}"))?;
    Ok(Exit::Done)
}

/// Waits until the relay has started another generation of a broken stream, and tells meanwhile why nothing goes on;
/// false when stopped before.
fn wait_for_another(
    bus: &Bus,
    ledger: LedgerId,
    found: &ChainBroken,
    words: String,
    board: &Board,
    stop: &Stop,
) -> bool {
    eprintln!("lotline: {words}\nnote: waiting for the next generation of the stream; /health says why");
    board.stopped(Some(words));
    while !stop.wait(GENERATION_LOOK) {
        let newest = bus.stream_head(ledger).ok().flatten();
        if newest.is_some_and(|newest| lotline_bus::stream_name(ledger, newest.generation) != found.stream) {
            eprintln!("note: there is another generation of the stream; going on with it");
            board.stopped(None);
            return true;
        }
    }
    false
}

/// How often a projector with a broken stream looks for another generation.
const GENERATION_LOOK: Duration = Duration::from_secs(1);

/// Counts the open exceptions of a model now and then, until the end.
fn count_exceptions(board: &Board, live: &Live, over: &Stop) {
    loop {
        board.count_exceptions(&live.read());
        if over.wait(Duration::from_secs(1)) {
            return;
        }
    }
}

/// What became of questions.
fn asked_words(taken: &TakenIn) -> String {
    format!("{} questions answered, {} more told to come again", taken.requests, taken.busy)
}

/// Tells what changes in a model, and at last all that has changed.
fn tell(mut feeder: Feeder, live: &Live, hash_of: feed::HashOf<'_>, board: &Board, over: &Stop) -> Result<(), Failure> {
    let mut seen = 0;
    loop {
        let is_last = over.is_told();
        let due = feeder.due(live, hash_of, is_last);
        let told = match due {
            Ok(None) => Ok(false),
            Ok(Some(due)) => board.timed(feeder.name(), || feeder.tell(due)).map(|()| true),
            Err(trouble) => Err(trouble),
        };
        match feed::troubled(told)? {
            true => {}
            false if is_last => return Ok(()),
            false => seen = live.moved().beyond(seen, if feeder.is_behind() { BUCKET_LOOK } else { FEED_LOOK }),
        }
    }
}

/// How often the feed looks for changes, whatever has moved.
const FEED_LOOK: Duration = Duration::from_millis(100);

/// How often while its bucket is not up to what was told.
const BUCKET_LOOK: Duration = Duration::from_millis(10);

/// The ledger that is meant: the only one that has a stream on the server, if none is named.
fn ledger(bus: &Bus, named: Option<&str>) -> Result<LedgerId, Failure> {
    let there = bus.ledgers().map_err(troubled)?;
    let listed = there.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (named, &there[..]) {
        (Some(named), _) if named.len() != 32 || !named.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            Err(Failure::new(Exit::Usage, format!("--ledger {named} is no id of a ledger, which has 32 hex digits")))
        }
        (Some(named), _) => {
            let found = there.iter().find(|ledger| ledger.to_string().eq_ignore_ascii_case(named)).copied();
            found.ok_or_else(|| {
                let failure = Failure::new(Exit::Busy, format!("ledger {named} has no stream on this server"));
                if there.is_empty() {
                    failure.advice(RELAY_FIRST)
                } else {
                    failure.advice(format!("there are: {listed}"))
                }
            })
        }
        (None, [only]) => Ok(*only),
        (None, []) => Err(Failure::new(Exit::Busy, "no ledger has a stream on this server").advice(RELAY_FIRST)),
        (None, _) => Err(Failure::new(Exit::Usage, "several ledgers have streams on this server")
            .advice(format!("name one with --ledger: {listed}"))),
    }
}

const RELAY_FIRST: &str = "start `lotline relay` or `lotline serve --nats` first";

fn broken(error: ProjectError<Failure>) -> Failure {
    let (exit, advice) = match &error {
        ProjectError::Broken(_) => (
            Exit::Damage,
            Some("what came before is saved; `lotline relay --read-back` starts a new generation of the stream"),
        ),
        ProjectError::OtherChain { .. } => (
            Exit::Damage,
            Some(
                "the ledger's stream was begun anew from another history: look into why, then name an empty folder with --dir",
            ),
        ),
        ProjectError::NewerFormat { .. } => (Exit::Newer, Some("use a newer version of this program")),
        ProjectError::Apply { source, .. } => (source.exit(), None),
        ProjectError::Save(source) => (source.exit(), None),
        ProjectError::Server(trouble) => (exit_on(trouble), advice_on(trouble)),
        ProjectError::NoStream { .. } | ProjectError::Behind { .. } | ProjectError::Ends { .. } => (Exit::Busy, None),
    };
    failure(exit, error, advice)
}
