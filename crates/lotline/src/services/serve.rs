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
use super::feed::{Feeder, troubled};
use super::http;
use super::input::Input;
use super::intake::{Desk, ended};
use super::timed::Timed;
use super::{connect, interrupted, stopped, words};
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
    note_commits(&handler, &board);
    // As another process would read: it does not end with the handler.
    let reader = folder.reader()?;
    let bus = asked.nats.as_deref().map(|url| connect(url, &asked.access, "serve")).transpose()?;
    // Before anything is recorded: behind a ledger that was rolled back it would make another chain.
    let relay = bus.as_ref().map(|bus| compared(bus, &reader, &stop)).transpose()?;
    let models = open(&folder, &reader)?;
    let feeder = bus.as_ref().filter(|_| !asked.no_feed).map(|bus| Feeder::open(bus, reader.ledger())).transpose()?;

    board.works(bus.as_ref(), Some(&reader), relay.is_some());
    let recorded = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if board.is_read() {
            scope.spawn(|| http::look(&board, reader.ledger(), &stop));
        }
        let models = scope.spawn(|| or_stop(&stop, keep(models, feeder, &reader, &board, &stop, &recorded)));
        let relay = relay.map(|relay| scope.spawn(|| or_stop(&stop, publish(relay, &stop, &recorded))));
        let answered = or_stop(&stop, record(asked, &folder, handler, bus.as_ref(), &board, &stop));
        while !stop.wait(Duration::from_secs(3_600)) {}
        board.ends();
        // All that was answered is durable now. What the others do last, they do with all of it.
        recorded.store(true, Ordering::Release);
        let relayed = relay.map(|relay| relay.join().expect("the relay does not panic")).transpose();
        let kept = models.join().expect("the read models do not panic");
        answered?;
        if let Some(relayed) = relayed? {
            eprintln!("{}", words(&relayed));
        }
        kept.map(|()| Exit::Done)
    })
}

/// Counts the commits that are recorded here.
fn note_commits(handler: &Handler, board: &Board) {
    let reader = handler.reader();
    reader.watch(board.recorded(reader.head()));
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

/// Keeps the read models up to date until the stop, and at last with all that was recorded until then.
fn keep(
    mut models: Vec<ReadModel>,
    mut feeder: Option<Feeder>,
    reader: &Reader,
    board: &Board,
    stop: &Stop,
    recorded: &AtomicBool,
) -> Result<(), Failure> {
    models.iter().for_each(|model| board.model(model.kind(), model.cursor().number.0, 0, None));
    let mut unsaved_since: Option<Instant> = None;
    loop {
        reader.refresh()?;
        catch_up(&mut models, reader, board)?;
        tell(feeder.as_mut(), &models, reader, board)?;
        if models.iter().all(|model| model.unsaved_commits() == 0) {
            unsaved_since = None;
        } else if unsaved_since.get_or_insert_with(Instant::now).elapsed() >= SAVED_WITHIN {
            save(&mut models)?;
        }
        if stop.wait(LOOK) {
            wait(recorded);
            reader.refresh()?;
            catch_up(&mut models, reader, board)?;
            tell(feeder.as_mut(), &models, reader, board)?;
            return save(&mut models);
        }
    }
}

fn catch_up(models: &mut [ReadModel], reader: &Reader, board: &Board) -> Result<(), Failure> {
    let before: Vec<CommitNo> = models.iter().map(|model| model.cursor().number).collect();
    folder::catch_up(models, reader)?;
    for (model, before) in models.iter().zip(before) {
        let now = model.cursor().number;
        if now > before {
            let events = events_up_to(reader, now).saturating_sub(events_up_to(reader, before));
            board.model(model.kind(), now.0, events, None);
        }
    }
    let recall = models.iter().find(|model| model.kind() == ReadModelKind::Recall);
    if let Some(model) = recall.filter(|_| board.is_read()) {
        board.count_exceptions(model);
    }
    Ok(())
}

/// How many events a ledger has up to a commit that was read before.
fn events_up_to(reader: &Reader, commit: CommitNo) -> u64 {
    let frame = reader.frame(CommitNumber::new(commit.0)).ok().flatten();
    frame.map_or(0, |frame| frame.header().first_position.get() + u64::from(frame.header().event_count))
}

/// Tells what has changed in the inventory. What cannot be told now is told later, or by the next run.
fn tell(feeder: Option<&mut Feeder>, models: &[ReadModel], reader: &Reader, board: &Board) -> Result<(), Failure> {
    let inventory = models.iter().find(|model| model.kind() == ReadModelKind::Inventory);
    let (Some(feeder), Some(model)) = (feeder, inventory) else { return Ok(()) };
    let hash_of = |commit: CommitNo| {
        let frame = reader.frame(CommitNumber::new(commit.0)).ok().flatten();
        frame.map(|frame| frame.hash())
    };
    loop {
        let told = match feeder.due(model, &hash_of) {
            Ok(None) => Ok(false),
            Ok(Some(due)) => board.timed(feeder.name(), || feeder.tell(due)).map(|()| true),
            Err(trouble) => Err(trouble),
        };
        if !troubled(told)? {
            return Ok(());
        }
    }
}

fn save(models: &mut [ReadModel]) -> Result<(), Failure> {
    models.iter_mut().try_for_each(|model| Ok(model.save()?))
}

/// Waits until nothing more is recorded.
fn wait(recorded: &AtomicBool) {
    while !recorded.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(5));
    }
}
