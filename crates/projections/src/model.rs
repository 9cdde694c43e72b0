//! A read model: the book of effects that its kind needs, its cursor, and the folder that keeps both.

mod load;
mod save;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lotline_domain::book::{Book, Bounds, Touched};
use lotline_domain::command::Recorded;
use lotline_domain::settle::MasterData;
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_domain::told::Told;
use thiserror::Error;

use crate::changes::{Changed, Changes};
use crate::cursor::{CommitHash, CommitMeta, Cursor, LedgerId};
use crate::pages::{Column, CursorForm};
use crate::question::Question;
use crate::settlements::Settlements;
use crate::store::{Doubt, NewPage, OpenError, SaveError, Store};

/// Which read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadModelKind {
    /// Whence and whither: needs no holds.
    Genealogy,
    /// How much, where, in which state.
    Inventory,
    /// What must come back: needs everything.
    Recall,
}

impl ReadModelKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Genealogy, Self::Inventory, Self::Recall];

    /// Its word; also the name of its folder.
    pub fn word(self) -> &'static str {
        match self {
            Self::Genealogy => "genealogy",
            Self::Inventory => "inventory",
            Self::Recall => "recall",
        }
    }

    /// An empty book that keeps what this kind needs.
    fn book(self) -> Book {
        if self.without_statuses() { Book::new().without_statuses() } else { Book::new() }
    }

    fn without_statuses(self) -> bool {
        self == Self::Genealogy
    }
}

/// Why a commit cannot be applied. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// It does not follow from what was applied last: the chain is broken, or commits were left out.
    #[error("the chain is broken at commit {}: {expected} was to follow, found {found}", at.0)]
    ChainBroken {
        /// Number of the commit that was offered.
        at: CommitNo,
        /// What would have fitted.
        expected: Link,
        /// What was offered.
        found: Link,
    },
    /// An event of it says that it is of another commit, or does not follow the one before.
    #[error("event {} does not belong at its place in commit {}", position.0, commit.0)]
    ForeignEvent {
        /// The commit.
        commit: CommitNo,
        /// The event.
        position: Position,
    },
}

/// A commit's number, and the hash that it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// Its number.
    pub number: CommitNo,
    /// Hash of the commit before.
    pub prev_hash: CommitHash,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "commit {} after {}", self.number.0, self.prev_hash)
    }
}

/// What to do with pages of another ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Clear,
    Refuse,
}

/// How much may be applied between two saves. What was not saved is applied again after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoints {
    /// Most commits.
    pub commits: u64,
    /// Most events.
    pub events: u64,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { commits: 4_096, events: 65_536 }
    }
}

/// Rows of one kind of read model with their cursor. Queries borrow it; who applies needs it alone.
#[derive(Debug)]
pub struct ReadModel {
    kind: ReadModelKind,
    book: Book,
    cursor: Cursor,
    /// When each commit was recorded, from commit 1 on, microseconds.
    recorded: Vec<i64>,
    changes: Changes,
    settlements: Settlements,
    master: Mutex<KeptMaster>,
    store: Option<SharedStore>,
    doubt: Option<Doubt>,
    /// How many commits and events were applied since it was opened,
    applied: Applied,
    /// and how many of these its pages have.
    saved: Applied,
    /// What the last commits touched that were applied since it was opened, in order.
    recent: VecDeque<(CommitNo, Touched)>,
}

/// What so many commits touched is remembered.
const RECENT: usize = 256;
/// What touched more than this counts as touching everything: to look it up would not be quicker.
const RECENT_SIZE: usize = 8_192;

impl ReadModel {
    /// A read model that is kept nowhere.
    pub fn in_memory(kind: ReadModelKind, ledger: LedgerId) -> Self {
        Self {
            kind,
            book: kind.book(),
            cursor: Cursor::start(ledger),
            recorded: Vec::new(),
            changes: Changes::default(),
            settlements: Settlements::default(),
            master: Mutex::default(),
            store: None,
            doubt: None,
            applied: Applied::default(),
            saved: Applied::default(),
            recent: VecDeque::new(),
        }
    }

    /// Opens the read model of a folder, which is made if it is not there. On any doubt about its pages
    /// they are thrown away, the model begins at commit 0, and [`ReadModel::doubt`] tells why.
    ///
    /// # Errors
    /// [`OpenError`] when the folder is in use or cannot be used.
    pub fn open(folder: &Path, kind: ReadModelKind, ledger: LedgerId) -> Result<Self, OpenError> {
        Self::open_as(folder, kind, ledger, Strangers::Clear)
    }

    /// The same, but pages of another ledger are left as they are: for a folder that no ledger stands beside.
    ///
    /// # Errors
    /// [`OpenError::OtherLedger`], and those of [`ReadModel::open`].
    pub fn open_own(folder: &Path, kind: ReadModelKind, ledger: LedgerId) -> Result<Self, OpenError> {
        Self::open_as(folder, kind, ledger, Strangers::Refuse)
    }

    fn open_as(folder: &Path, kind: ReadModelKind, ledger: LedgerId, strangers: Strangers) -> Result<Self, OpenError> {
        let mut store = Store::take(folder)?;
        let mut model = match load::load(&mut store, kind, ledger) {
            Ok(Some(model)) => model,
            Ok(None) => Self::in_memory(kind, ledger),
            Err(Doubt::OtherLedger { found }) if strangers == Strangers::Refuse => {
                return Err(OpenError::OtherLedger { folder: folder.to_owned(), found });
            }
            Err(doubt) => {
                store.clear()?;
                Self { doubt: Some(doubt), ..Self::in_memory(kind, ledger) }
            }
        };
        let bloated = store.is_bloated();
        if bloated {
            store.clear()?;
            model.applied.commits = model.cursor.number.0;
        }
        model.store = Some(Arc::new(Mutex::new(store)));
        if bloated {
            // Should this fail, all of it is still unsaved, and the next save reports why it cannot.
            let _ = model.save();
        }
        Ok(model)
    }

    /// Compares the cursor with the ledger: `at_cursor` is the hash of the ledger's commit that has the
    /// cursor's number, `None` when the ledger has no such commit. Where they differ everything is thrown
    /// away, and the doubt is returned. A cursor at 0 fits every ledger.
    ///
    /// # Errors
    /// [`OpenError`] when the folder cannot be cleared.
    pub fn check_against(&mut self, at_cursor: Option<CommitHash>) -> Result<Option<&Doubt>, OpenError> {
        let cursor = self.cursor;
        let doubt = match at_cursor {
            _ if cursor.number.0 == 0 => return Ok(None),
            Some(hash) if hash == cursor.hash => return Ok(None),
            Some(_) => Doubt::OtherChain { cursor },
            None => Doubt::AheadOfLedger { cursor },
        };
        self.begin_anew()?;
        self.doubt = Some(doubt);
        Ok(self.doubt.as_ref())
    }

    /// Throws all rows and pages away: the cursor stands before the first commit again.
    ///
    /// # Errors
    /// [`OpenError`] when the folder cannot be cleared.
    pub fn begin_anew(&mut self) -> Result<(), OpenError> {
        let store = self.store.take();
        if let Some(store) = &store {
            lock(store).clear()?;
        }
        *self = Self { store, ..Self::in_memory(self.kind, self.cursor.ledger) };
        Ok(())
    }

    /// Applies the next commit with all of its events.
    ///
    /// # Errors
    /// [`ApplyError`] when it does not follow; then nothing was applied.
    pub fn apply(&mut self, commit: CommitMeta, events: &[Recorded]) -> Result<(), ApplyError> {
        self.apply_told(commit, &events.iter().map(Told::from).collect::<Vec<_>>())
    }

    /// The same, for who applies events to several models, or has made them ready elsewhere.
    ///
    /// # Errors
    /// As [`ReadModel::apply`].
    pub fn apply_told(&mut self, commit: CommitMeta, events: &[Told]) -> Result<(), ApplyError> {
        self.check_next(commit, events)?;
        for event in events {
            self.book.take(event);
        }
        self.applied(commit, events.len());
        Ok(())
    }

    fn check_next(&self, commit: CommitMeta, events: &[Told]) -> Result<(), ApplyError> {
        let expected = Link { number: CommitNo(self.cursor.number.0 + 1), prev_hash: self.cursor.hash };
        let found = Link { number: commit.number, prev_hash: commit.prev_hash };
        if found != expected {
            return Err(ApplyError::ChainBroken { at: commit.number, expected, found });
        }
        let mut next = self.book.last().map(|(_, position)| position.0 + 1);
        for event in events {
            if event.commit != commit.number || next.is_some_and(|next| event.position.0 != next) {
                return Err(ApplyError::ForeignEvent { commit: commit.number, position: event.position });
            }
            next = Some(event.position.0 + 1);
        }
        Ok(())
    }

    fn applied(&mut self, commit: CommitMeta, events: usize) {
        let touched = self.book.take_touched();
        self.changes.note(&self.book, &touched, commit.number);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        let size = touched.batches.len() + touched.stations.len() + touched.places.len() + touched.runs.len();
        let touched = if size > RECENT_SIZE { Touched { everything: true, ..Touched::default() } } else { touched };
        self.recent.push_back((commit.number, touched));
        self.recorded.push(commit.recorded_at.0.0);
        self.cursor = Cursor { ledger: self.cursor.ledger, number: commit.number, hash: commit.hash };
        self.applied.commits += 1;
        self.applied.events += events as u64;
    }

    /// Writes new pages and the cursor, all or nothing, and flushes them. Does nothing for a model that is
    /// kept nowhere, or when there is nothing new.
    ///
    /// # Errors
    /// [`SaveError`] when they could not be written; the model in memory is whole.
    pub fn save(&mut self) -> Result<(), SaveError> {
        if let Some(saving) = self.begin_save()? {
            let saved = saving.write()?;
            self.saved(saved);
        }
        Ok(())
    }

    /// The first part of [`ReadModel::save`]: what has to be written, which takes the disk's time and needs the model no
    /// more. [`ReadModel::saved`] is the last. One save at a time: this waits for one that is being written.
    ///
    /// # Errors
    /// [`SaveError::Row`] when a row fits into no page.
    pub fn begin_save(&mut self) -> Result<Option<Saving>, SaveError> {
        if self.unsaved_commits() == 0 {
            return Ok(None);
        }
        let Some(store) = self.store.clone() else { return Ok(None) };
        let pages = save::pages(self, &lock(&store))?;
        Ok(Some(Saving { cursor: save::cursor_of(self), pages, store, applied: self.applied }))
    }

    /// Takes note of what was written.
    pub fn saved(&mut self, saved: Saved) {
        self.changes.forget_before(saved.changes);
        self.saved = saved.applied;
    }

    /// Its pages; `None` for a model that is kept nowhere.
    pub fn kept(&self) -> Option<Kept> {
        self.store.clone().map(Kept)
    }

    /// Saves when a checkpoint is due; true when it did.
    ///
    /// # Errors
    /// As [`ReadModel::save`].
    pub fn save_when_due(&mut self, checkpoints: Checkpoints) -> Result<bool, SaveError> {
        let unsaved_events = self.applied.events - self.saved.events;
        let due = self.unsaved_commits() >= checkpoints.commits || unsaved_events >= checkpoints.events;
        if due {
            self.save()?;
        }
        Ok(due)
    }

    /// Which read model.
    pub fn kind(&self) -> ReadModelKind {
        self.kind
    }

    /// How far it has come. Answers are as of its commit.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Why the pages that were found in its folder were thrown away, if they were.
    pub fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    /// How many commits a restart would have to apply again.
    pub fn unsaved_commits(&self) -> u64 {
        self.applied.commits - self.saved.commits
    }

    /// Its rows.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// When a commit was recorded; `None` for those that it does not know.
    pub fn recorded_at(&self, commit: CommitNo) -> Option<RecordedAt> {
        let at = usize::try_from(commit.0.checked_sub(1)?).ok()?;
        self.recorded.get(at).map(|micros| RecordedAt(Instant(*micros)))
    }

    /// The last commit that was recorded at or before an instant; 0 when none was.
    pub fn known_at(&self, instant: Instant) -> CommitNo {
        CommitNo(self.recorded.partition_point(|micros| *micros <= instant.0) as u64)
    }

    /// A question to it. A commit that it does not know yet counts as its last one.
    pub fn question(&self, bounds: Bounds) -> Question<'_> {
        let bounds = Bounds { known: bounds.known.min(self.cursor.number), ..bounds };
        Question::lent(&self.book, bounds, &self.master_data(bounds.known), self)
    }

    /// What the commits behind one and up to another touched; `None` where not all of them are remembered.
    pub(crate) fn touched_between(&self, since: CommitNo, until: CommitNo) -> Option<Vec<&Touched>> {
        let first = self.recent.front().map_or(self.cursor.number.0 + 1, |(number, _)| number.0);
        if since >= until {
            return Some(Vec::new());
        }
        let range = self.recent.iter().filter(|(number, _)| *number > since && *number <= until);
        (first <= since.0 + 1).then(|| range.map(|(_, touched)| touched).collect())
    }

    /// The last commit that changed any master data; 0 when none did.
    pub fn master_changed(&self) -> CommitNo {
        self.changes.last(Changed::Master)
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn settlements(&self) -> &Settlements {
        &self.settlements
    }

    /// Keeps settlements within so many bytes; those kept so far are let go.
    pub fn keep_settlements(&mut self, bytes: usize) {
        self.settlements = Settlements::with_room(bytes);
    }

    /// Master data in force at a commit: the latest is kept until it changes, an earlier one until another
    /// earlier one is asked for.
    pub(crate) fn master_data(&self, known: CommitNo) -> MasterData {
        let changed = self.changes.last(Changed::Master);
        let latest = known >= changed;
        let mut kept = self.master.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let slot = if latest { &mut kept.latest } else { &mut kept.earlier };
        match slot {
            Some((at, master)) if (latest && *at >= changed) || *at == known => master.clone(),
            _ => {
                let at = if latest { self.cursor.number } else { known };
                slot.insert((at, MasterData::at(&self.book, at))).1.clone()
            }
        }
    }
}

/// Shared with who writes to it while the model goes on.
type SharedStore = Arc<Mutex<Store>>;

/// A store that somebody left in the midst of a write is doubted by its own seals when it is read.
fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much was applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Applied {
    commits: u64,
    events: u64,
}

/// What a save has to write.
#[derive(Debug)]
pub struct Saving {
    cursor: CursorForm,
    pages: Vec<NewPage>,
    store: SharedStore,
    applied: Applied,
}

impl Saving {
    /// The last commit that it saves.
    pub fn commit(&self) -> CommitNo {
        CommitNo(self.cursor.number)
    }

    /// Writes the pages and the cursor, all or nothing, and flushes them.
    ///
    /// # Errors
    /// [`SaveError`] when they could not be written; the next save writes all pages.
    pub fn write(self) -> Result<Saved, SaveError> {
        let mut store = lock(&self.store);
        store.write(self.cursor, self.pages)?;
        Ok(Saved { applied: self.applied, changes: store.next_page(Column::Changes).1 })
    }
}

/// What was written.
#[derive(Debug)]
pub struct Saved {
    applied: Applied,
    /// The first row of changes that is in no closed page.
    changes: u64,
}

/// The pages of a read model as they were saved last. They are read without it.
#[derive(Debug, Clone)]
pub struct Kept(SharedStore);

impl Kept {
    pub(crate) fn entries(&self) -> Result<Vec<(sled::IVec, sled::IVec)>, SaveError> {
        lock(&self.0).entries()
    }
}

/// Master data that was made for questions, with the commits it was made at.
#[derive(Debug, Default)]
struct KeptMaster {
    latest: Option<(CommitNo, MasterData)>,
    earlier: Option<(CommitNo, MasterData)>,
}
