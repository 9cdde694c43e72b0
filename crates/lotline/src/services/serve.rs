//! `serve`: everything in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lotline_bus::{Bus, IntakeOptions, Relay, RelayOptions, Relayed, Stop, TakenIn};
use lotline_domain::time::CommitNo;
use lotline_handler::Handler;
use lotline_ledger::{CommitNumber, Reader};
use lotline_projections::{LedgerId, ReadModel, ReadModelKind};

use super::board::{Board, Role};
use super::feed::{FeedKind, Feeder};
use super::http;
use super::input::Input;
use super::intake::{Desk, ended};
use super::live::{Live, Moved};
use super::questions::{Archive, Questions};
use super::timed::Timed;
use super::{asked_words, connect, count_exceptions, interrupted, stopped, tell, words};
use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::{self, Folder};
use crate::submit;

/// How often the read models look for new commits.
const LOOK: Duration = Duration::from_millis(50);
/// So long after a commit the read models are saved, at the latest.
const SAVED_WITHIN: Duration = Duration::from_secs(5);
/// At the start a server may need a while until its streams are there.
const PATIENCE: Duration = Duration::from_secs(30);
/// At the end nobody waits that long: what is not published then is next time.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// `serve`: one process records what comes in on its standard input and from a NATS server, where one is named, keeps
/// the three read models up to date, and relays to that server, until it is asked to end.
///
/// # Errors
/// Where another process records in the folder, or one of its parts has to stop.
pub fn serve(asked: &args::Serve) -> Result<Exit, Failure> {
    let stop = interrupted()?;
    let board = Board::new(Role::Serve, &asked.metrics);
    http::listen(&board, &asked.metrics)?;
    let folder = Folder::new(&asked.folder.dir);
    let handler = folder.handler_on(Arc::new(Timed::new(Folder::storage(), board.synced())), None)?;
    if asked.accept_clock {
        handler.accept_clock();
    }
    note_commits(&handler, &board);
    // As another process would read: it does not end with the handler.
    let reader = folder.reader()?;
    let bus = asked.nats.as_deref().map(|url| connect(url, &asked.access, "serve")).transpose()?;
    // Before anything is recorded: behind a ledger that was rolled back it would make another chain.
    let relay = bus.as_ref().map(|bus| compared(bus, &reader, &stop)).transpose()?;
    let feeders = match bus.as_ref().filter(|_| !asked.no_feed) {
        Some(bus) => FeedKind::ALL.into_iter().map(|kind| Feeder::open(bus, reader.ledger(), kind)).collect(),
        None => Ok(Vec::new()),
    }?;
    let moved = Arc::new(Moved::default());
    let models = open(&folder, &reader)?;
    let lives: Vec<Live> = models.into_iter().map(|model| Live::new(model, moved.clone())).collect();
    let archive = Archive { folder: folder.clone(), reader: reader.clone() };
    let answering = bus.as_ref().filter(|_| !asked.no_answers);
    let answering = answering.map(|bus| Questions::new(bus, &lives, Some(archive), &stop));
    // The models follow what is recorded here at once, and what others record when they look.
    let came = Arc::new(Moved::default());
    let wake = came.clone();
    handler.reader().watch(move |_| wake.now());

    board.works(bus.as_ref(), Some(&reader), relay.is_some());
    let recorded = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, reader, came, recorded, moved, board) = (&stop, &reader, &*came, &recorded, &*moved, &board);
        let over = Stop::new();
        if board.is_read() {
            scope.spawn(|| http::look(board, reader.ledger(), stop));
            let (live, over) = (of(&lives, ReadModelKind::Recall), over.clone());
            scope.spawn(move || count_exceptions(board, live, &over));
        }
        let keeping: Vec<_> = lives
            .iter()
            .map(|live| scope.spawn(move || or_stop(stop, keep(live, reader, came, board, stop, recorded))))
            .collect();
        let tell_one = |feeder: Feeder| {
            let (live, over) = (of(&lives, feeder.kind().model()), over.clone());
            scope.spawn(move || or_stop(stop, tell_changes(feeder, live, reader, board, &over)))
        };
        let telling: Vec<_> = feeders.into_iter().map(tell_one).collect();
        let answers = answering.as_ref().map(|questions| {
            let ledger = reader.ledger();
            scope.spawn(move || or_stop(stop, questions.answer(ledger, asked.questions, moved).map_err(ended)))
        });
        let relay = relay.map(|relay| scope.spawn(|| or_stop(stop, publish(relay, stop, recorded))));
        let answered = or_stop(stop, record(asked, &folder, handler, bus.as_ref(), board, stop));
        while !stop.wait(Duration::from_secs(3_600)) {}
        board.ends();
        // All that was answered is durable now. What the others do last, they do with all of it.
        recorded.store(true, Ordering::Release);
        came.now();
        let relayed = relay.map(|relay| relay.join().expect("the relay does not panic")).transpose();
        let kept: Result<Vec<()>, Failure> =
            keeping.into_iter().map(|keeping| keeping.join().expect("the read models do not panic")).collect();
        over.now();
        moved.now();
        let told: Result<Vec<()>, Failure> =
            telling.into_iter().map(|telling| telling.join().expect("the feed does not panic")).collect();
        let asked = answers.map(|answers| answers.join().expect("the answers do not panic")).transpose();
        answered?;
        if let Some(relayed) = relayed? {
            eprintln!("{}", words(&relayed));
        }
        if let Some(taken) = asked? {
            eprintln!("{}", asked_words(&taken));
        }
        kept?;
        told.map(|_| Exit::Done)
    })
}

/// Counts the commits that are recorded here.
fn note_commits(handler: &Handler, board: &Board) {
    let reader = handler.reader();
    reader.watch(board.recorded(reader.head()));
}

fn of(lives: &[Live], kind: ReadModelKind) -> &Live {
    lives.iter().find(|live| live.kind() == kind).expect("there is one of each kind")
}

/// Records what comes in, from the standard input to its end, and from the server to the stop; lets go of the folder
/// then.
fn record(
    asked: &args::Serve,
    folder: &Folder,
    handler: Handler,
    bus: Option<&Bus>,
    board: &Board,
    stop: &Stop,
) -> Result<(), Failure> {
    let bus = bus.filter(|_| !asked.no_intake);
    let (answered, taken) = std::thread::scope(|scope| {
        let (desk, documents) = Desk::new(&handler, board.counted());
        let intake = bus.map(|bus| {
            scope.spawn(move || documents.work());
            let options = IntakeOptions {
                waiting: asked.waiting as usize,
                queue_messages: asked.queue_max,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let ledger = handler.reader().ledger();
            scope.spawn(move || or_stop(stop, bus.take_in(ledger, &desk, &options, stop).map_err(ended)))
        });
        let answered = Input::new(stop).and_then(|input| submit::lines(&handler, input, None, None, &board.counted()));
        let answered = or_stop(stop, answered.and_then(only_own));
        if intake.is_some() && !stop.is_told() {
            eprintln!("note: the input has ended; commands are taken from the NATS server");
        }
        (answered, intake.map(|intake| intake.join().expect("the intake does not panic")).transpose())
    });
    let closed = handler.close().map_err(Failure::from);
    answered?;
    if let Some(taken) = taken? {
        eprintln!("{}", taken_words(&taken));
    }
    closed?;
    if !stop.is_told() {
        eprintln!("note: the input has ended; other processes may record in {folder} now, and are followed");
    }
    Ok(())
}

fn taken_words(taken: &TakenIn) -> String {
    let TakenIn { requests, busy, queued, dead } = taken;
    format!(
        "{requests} requests answered, {busy} more told to come again; {queued} messages taken from the queue, {dead} \
         put aside as dead letters"
    )
}

/// A part that cannot go on ends all of them.
fn or_stop<T>(stop: &Stop, result: Result<T, Failure>) -> Result<T, Failure> {
    if result.is_err() {
        stop.now();
    }
    result
}

/// What became of single commands was told line by line. Only what ends the service is its own.
fn only_own(exit: Exit) -> Result<(), Failure> {
    match exit {
        Exit::Disk | Exit::Damage | Exit::Newer => {
            Err(Failure::new(exit, "nothing more can be recorded; the last answers say why"))
        }
        Exit::Done | Exit::No | Exit::Usage | Exit::Input | Exit::Busy | Exit::Denied => Ok(()),
    }
}

fn compared(bus: &Bus, reader: &Reader, stop: &Stop) -> Result<Relay, Failure> {
    let options = RelayOptions { patience: PATIENCE, ..RelayOptions::default() };
    let mut relay = Relay::new(bus, reader.clone(), options);
    relay.compare(stop).map_err(stopped)?;
    Ok(relay)
}

/// Publishes until the stop, and then what was recorded until then.
fn publish(mut relay: Relay, stop: &Stop, recorded: &AtomicBool) -> Result<Relayed, Failure> {
    let relayed = relay.run(stop).map_err(stopped)?;
    wait(recorded);
    relay.set_patience(LAST_PATIENCE);
    match relay.once(&Stop::new()) {
        Ok(relayed) => Ok(relayed),
        Err(lotline_bus::RelayError::Server(trouble)) => {
            eprintln!("note: not everything could be published: {trouble}; it will be when the service runs again");
            Ok(relayed)
        }
        Err(error) => Err(stopped(error)),
    }
}

/// The read models of the folder, as far as they are kept.
fn open(folder: &Folder, reader: &Reader) -> Result<Vec<ReadModel>, Failure> {
    let ledger = LedgerId(*reader.ledger().as_bytes());
    let models = ReadModelKind::ALL.into_iter().map(|kind| {
        let mut model = ReadModel::open(&folder.model(kind), kind, ledger)?;
        folder::check(&mut model, reader)?;
        Ok(model)
    });
    models.collect()
}

/// Keeps a read model up to date until the stop, and at last with all that was recorded until then.
fn keep(
    live: &Live,
    reader: &Reader,
    came: &Moved,
    board: &Board,
    stop: &Stop,
    recorded: &AtomicBool,
) -> Result<(), Failure> {
    board.model(live.kind(), live.commit(), 0, None);
    let mut unsaved_since: Option<Instant> = None;
    let mut seen = 0;
    loop {
        seen = came.beyond(seen, LOOK);
        let is_last = stop.is_told();
        if is_last {
            wait(recorded);
        }
        reader.refresh()?;
        let before = live.commit();
        live.follow(reader)?;
        let now = live.commit();
        if now > before {
            let events = events_up_to(reader, now).saturating_sub(events_up_to(reader, before));
            board.model(live.kind(), now, events, None);
        }
        if is_last {
            return live.save();
        }
        if live.unsaved_commits() == 0 {
            unsaved_since = None;
        } else if unsaved_since.get_or_insert_with(Instant::now).elapsed() >= SAVED_WITHIN {
            live.save()?;
        }
    }
}

/// How many events a ledger has up to a commit that was read before.
fn events_up_to(reader: &Reader, commit: u64) -> u64 {
    let frame = reader.frame(CommitNumber::new(commit)).ok().flatten();
    frame.map_or(0, |frame| frame.header().first_position.get() + u64::from(frame.header().event_count))
}

/// Tells what has changed in a read model. What cannot be told now is told later, or by the next run.
fn tell_changes(feeder: Feeder, live: &Live, reader: &Reader, board: &Board, over: &Stop) -> Result<(), Failure> {
    let hash_of = |commit: CommitNo| {
        let frame = reader.frame(CommitNumber::new(commit.0)).ok().flatten();
        frame.map(|frame| frame.hash())
    };
    tell(feeder, live, &hash_of, board, over)
}

/// Waits until nothing more is recorded.
fn wait(recorded: &AtomicBool) {
    while !recorded.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(5));
    }
}
