//! The data folder: `ledger/` is the truth; `models/<kind>/` are the read models made from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lotline_domain::command::Recorded;
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_domain::told::Told;
use lotline_handler::{Clock, Handler, Options};
use lotline_ledger::{CommitNumber, Frame, Head, Keyring, OpenError, OsStorage, ReadError, Reader, Storage};
use lotline_projections::{
    Checkpoints, CommitHash, CommitMeta, LedgerId, OpenError as ModelError, ReadModel, ReadModelKind,
};
use lotline_wire::answer::instant;
use lotline_wire::payload;
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::failure::{Exit, Failure, undecodable};
use crate::progress;

/// A data folder.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
    new_keyring: bool,
}

/// At most so many commits are decoded at once,
const CHUNK: usize = 256;
/// and no more when they have so many events: decoded, an event takes many times the room of its bytes.
const CHUNK_EVENTS: u64 = 8_192;
/// A ledger whose last commit is dated so far ahead of the clock, in microseconds, takes no intents.
const CLOCK_AHEAD: i64 = 5 * 60 * 1_000_000;
/// Fewer commits than this are quickly applied: no bar.
const WORTH_A_BAR: u64 = 2_000;

impl Folder {
    /// The folder of this path; nothing is opened or made yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), new_keyring: false }
    }

    /// The same; who opens it to record begins a new keyring, if that is asked for and the ledger's own is lost.
    #[must_use]
    pub fn with_new_keyring(self, new_keyring: bool) -> Self {
        Self { new_keyring, ..self }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Where the ledger is.
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger")
    }

    /// Where a read model is.
    pub fn model(&self, kind: ReadModelKind) -> PathBuf {
        self.dir.join("models").join(kind.word())
    }

    /// How files are reached.
    pub fn storage() -> Arc<dyn Storage> {
        OsStorage::shared()
    }

    /// The ledger, to read. Needs no lock.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read.
    pub fn reader(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(Self::storage(), self.ledger())?)
    }

    /// The keyring of sealed values, to read.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn keyring(&self, reader: &Reader) -> Result<Keyring, Failure> {
        Ok(Keyring::open(Self::storage(), self.ledger(), reader.ledger())?)
    }

    /// Opens it to record, and makes it where there is none yet.
    ///
    /// # Errors
    /// Where another process has it open, or it cannot be opened.
    pub fn handler(&self, clock: Option<Arc<dyn Clock>>) -> Result<Handler, Failure> {
        self.handler_on(Self::storage(), clock)
    }

    /// The same through another storage, which goes to the same files.
    ///
    /// # Errors
    /// As [`Folder::handler`].
    pub fn handler_on(&self, storage: Arc<dyn Storage>, clock: Option<Arc<dyn Clock>>) -> Result<Handler, Failure> {
        let mut options = Options { new_keyring: self.new_keyring, ..Options::default() };
        if let Some(clock) = clock {
            options.clock = clock;
        }
        let clock = options.clock.clone();
        let ledger = self.ledger();
        let handler = match Handler::open(storage.clone(), &ledger, options.clone()) {
            Err(lotline_handler::OpenError::Ledger(OpenError::NotFound { .. })) => {
                std::fs::create_dir_all(&self.dir)
                    .map_err(|error| Failure::file("make the folder", &self.dir, error))?;
                Handler::create(storage, &ledger, options)?
            }
            other => other?,
        };
        report_recovery(&handler, clock.now());
        Ok(handler)
    }

    /// A read model, up to date with the ledger. Where another process has its pages open, one in memory
    /// is made instead, and a note says so.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn up_to_date(&self, kind: ReadModelKind, reader: &Reader) -> Result<ReadModel, Failure> {
        let ledger = LedgerId(*reader.ledger().as_bytes());
        let folder = self.model(kind);
        let mut model = match ReadModel::open(&folder, kind, ledger) {
            Ok(model) => model,
            Err(error @ (ModelError::InUse(_) | ModelError::Folder { .. })) => {
                eprintln!("note: {error}; the {} model is made in memory for this answer", kind.word());
                ReadModel::in_memory(kind, ledger)
            }
            Err(error) => return Err(error.into()),
        };
        check(&mut model, reader)?;
        catch_up(std::slice::from_mut(&mut model), reader)?;
        // The answer does not depend on it: without pages the next question begins where these end.
        if let Err(error) = model.save() {
            eprintln!("note: {}", Failure::from(error));
        }
        Ok(model)
    }
}

fn report_recovery(handler: &Handler, now: Instant) {
    let found = handler.recovery();
    let last = Instant(handler.reader().head().recorded_at.get());
    if handler.reader().head().commit != CommitNumber::ZERO && last.0.saturating_sub(now.0) > CLOCK_AHEAD {
        eprintln!(
            "note: the last commit is dated {}, and this machine's clock says {}: one of the two is wrong. Intents are \
             refused until the clock is past that, or --accept-clock is given, to each run of submit or serve",
            instant(last),
            instant(now)
        );
    }
    if let Some(cut) = &found.cut {
        eprintln!(
            "note: an unfinished commit, bytes {} to {} of {}, was cut off; it had not been acknowledged, and is kept in {}",
            cut.from,
            cut.to,
            cut.file.display(),
            cut.kept_in.display()
        );
    }
    if found.beyond_head > 0 {
        eprintln!("note: {} complete commits that nobody had been told of were found and kept", found.beyond_head);
    }
}

/// Throws a read model away that was not built from this ledger.
///
/// # Errors
/// Where the ledger cannot be read, or the folder cannot be cleared.
pub fn check(model: &mut ReadModel, reader: &Reader) -> Result<(), Failure> {
    if let Some(doubt) = model.doubt() {
        eprintln!("note: the {} model is built anew: {doubt}", model.kind().word());
        return Ok(());
    }
    let cursor = model.cursor().number;
    let at_cursor = if cursor.0 == 0 {
        None
    } else {
        reader.frame(CommitNumber::new(cursor.0))?.map(|frame| CommitHash(*frame.hash().as_bytes()))
    };
    let kind = model.kind().word();
    if let Some(doubt) = model.check_against(at_cursor)? {
        eprintln!("note: the {kind} model is built anew: {doubt}");
    }
    Ok(())
}

/// A commit, decoded.
#[derive(Debug)]
pub struct Decoded {
    /// What it says of itself.
    pub meta: CommitMeta,
    /// Its events, and what they do.
    pub events: Vec<Told>,
}

/// Decodes a commit.
///
/// # Errors
/// Where an event cannot be read: a newer program wrote it.
pub fn decode(frame: &Frame) -> Result<Decoded, Failure> {
    decode_hashed(frame, frame.hash())
}

/// The same for who knows the commit's hash already.
///
/// # Errors
/// As [`decode`].
pub fn decode_hashed(frame: &Frame, hash: lotline_ledger::CommitHash) -> Result<Decoded, Failure> {
    let header = frame.header();
    let commit = CommitNo(header.number.get());
    let recorded_at = RecordedAt(Instant(header.recorded_at.get()));
    let meta = CommitMeta {
        number: commit,
        prev_hash: CommitHash(*header.previous.as_bytes()),
        hash: CommitHash(*hash.as_bytes()),
        recorded_at,
    };
    let events = frame.events().map(|event| {
        let position = event.position().get();
        let stored = payload::decode(event.payload()).map_err(|error| undecodable(position, error))?;
        let recorded = Recorded { position: Position(position), commit, recorded_at, body: stored.body };
        // What it says is let go of at once: others have as little of it as they need.
        Ok(Told::from(&recorded))
    });
    Ok(Decoded { meta, events: events.collect::<Result<_, Failure>>()? })
}

/// Reads and decodes the next commits; none when there are no more.
fn decode_some(frames: &mut impl Iterator<Item = Result<Frame, ReadError>>) -> Result<Vec<Decoded>, Failure> {
    let (mut chunk, mut events) = (Vec::new(), 0);
    while chunk.len() < CHUNK && events < CHUNK_EVENTS {
        let Some(frame) = frames.next() else { break };
        let frame = frame?;
        events += u64::from(frame.header().event_count);
        chunk.push(frame);
    }
    chunk.par_iter().map(decode).collect()
}

/// Applies to read models what the ledger has and they have not. Each commit is decoded once, and what its
/// events do is found once.
///
/// # Errors
/// Where the ledger cannot be read, or its chain is broken.
pub fn catch_up(models: &mut [ReadModel], reader: &Reader) -> Result<(), Failure> {
    let Some(from) = models.iter().map(|model| model.cursor().number.0).min() else { return Ok(()) };
    let head: Head = reader.head();
    let missing = head.commit.get().saturating_sub(from);
    let bar = (missing >= WORTH_A_BAR).then(|| progress::bar(missing, "reading the ledger"));
    let mut frames = reader.frames(CommitNumber::new(from + 1));
    let mut decoded = decode_some(&mut frames)?;
    while !decoded.is_empty() {
        let (applied, next) = rayon::join(
            || models.par_iter_mut().try_for_each(|model| apply(model, &decoded)),
            || decode_some(&mut frames),
        );
        applied?;
        if let Some(bar) = &bar {
            bar.inc(decoded.len() as u64);
        }
        std::mem::replace(&mut decoded, next?).into_par_iter().for_each(drop);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(())
}

/// What applies some commits to a read model.
pub type Applying<'a> = &'a dyn Fn(&mut ReadModel) -> Result<(), Failure>;

/// Hands over what a ledger has behind a commit, some commits at a time and each decoded, to be applied.
///
/// # Errors
/// Where the ledger cannot be read, or its chain is broken.
pub fn follow(
    from: CommitNo,
    reader: &Reader,
    mut hand: impl FnMut(Applying<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if reader.head().commit.get() <= from.0 {
        return Ok(());
    }
    let mut frames = reader.frames(CommitNumber::new(from.0 + 1));
    loop {
        let decoded = decode_some(&mut frames)?;
        if decoded.is_empty() {
            return Ok(());
        }
        hand(&|model| apply(model, &decoded))?;
    }
}

/// Applies one commit to one read model.
///
/// # Errors
/// Where it does not follow.
pub fn apply_one(model: &mut ReadModel, commit: &Decoded) -> Result<(), Failure> {
    let Decoded { meta, events } = commit;
    model.apply_told(*meta, events).map_err(|error| {
        Failure::new(Exit::Damage, format!("commit {} does not follow what was applied", meta.number.0)).because(error)
    })
}

fn apply(model: &mut ReadModel, commits: &[Decoded]) -> Result<(), Failure> {
    for commit in commits.iter().filter(|commit| commit.meta.number > model.cursor().number).collect::<Vec<_>>() {
        model.apply_told(commit.meta, &commit.events).map_err(|error| {
            Failure::new(Exit::Damage, "the ledger does not continue what the read model was built from")
                .because(error)
                .advice("run `lotline verify`, then `lotline rebuild`")
        })?;
        if let Err(error) = model.save_when_due(Checkpoints::default()) {
            eprintln!("note: {}", Failure::from(error));
        }
    }
    Ok(())
}

impl std::fmt::Display for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.dir.display().fmt(f)
    }
}
