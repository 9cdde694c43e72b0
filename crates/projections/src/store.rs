//! The folder of a read model: pages and cursor in sled, which holds nothing that the ledger could not
//! rebuild. On any doubt the pages are thrown away.
//!
//! What is durable when: pages that the cursor does not count yet may be written at any time and mean
//! nothing. The last batch of a save holds the pages that grew and the cursor, so that either all of it
//! counts or none. The cursor counts the pages and seals the list of their checksums, so that pages which
//! sled lost without a word are missed.

use std::fs::{File, TryLockError};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lotline_domain::book::LoadError;
use thiserror::Error;

use crate::cursor::{Cursor, MODEL_VERSION};
use crate::pages::{self, Column, CursorForm, PageError, Seal};

/// Sorts before all pages.
pub(crate) const CURSOR_KEY: [u8; 1] = [0];

/// No batch is larger: each of its entries costs sled memory until the batch is through.
const BATCH_MAX: usize = 100;

/// Files so many times as large as the pages in them, and somewhat more, are written anew.
const BLOAT_TIMES: u64 = 4;
const BLOAT_FROM: u64 = 64 << 20;

/// How long a closed sled may keep its lock.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);

/// Who lets go of a folder may hold its lock for a moment longer: a process that was just started by another thread has
/// it, too, until it runs its own program.
const LET_GO_WITHIN: Duration = Duration::from_millis(250);

/// sled's own cache. Pages are read once, on opening.
const CACHE_BYTES: u64 = 64 << 20;

/// sled counts only what stands in its log itself as cached, which several pages together do not: what it
/// was given it keeps in memory. After so many bytes it is closed, and opened again by the next save.
const CLOSED_AFTER: usize = 32 << 20;

/// Why a folder of pages was thrown away.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Doubt {
    /// The store itself reports an error.
    #[error("the store of its pages reports an error")]
    Store(#[source] sled::Error),
    /// The store stopped while it read its own files.
    #[error("the store of its pages cannot read its own files: {0}")]
    Unreadable(String),
    /// Pages without a cursor.
    #[error("its pages have no cursor")]
    NoCursor,
    /// Another version of the read models wrote it.
    #[error("model version {found} wrote it; this is {MODEL_VERSION}")]
    OtherVersion {
        /// Theirs.
        found: u32,
    },
    /// Another kind of read model wrote it.
    #[error("it holds another kind of read model")]
    OtherKind,
    /// It belongs to another ledger.
    #[error("it belongs to ledger {found}")]
    OtherLedger {
        /// Which.
        found: crate::cursor::LedgerId,
    },
    /// A page is damaged.
    #[error("page {page} of the {column} is damaged: {what}")]
    DamagedPage {
        /// Which column.
        column: String,
        /// Which of its pages.
        page: u32,
        /// In what way.
        what: String,
    },
    /// The cursor is damaged.
    #[error("its cursor is damaged: {0}")]
    DamagedCursor(String),
    /// A page that the cursor counts is not there.
    #[error("page {page} of the {column} is missing")]
    MissingPage {
        /// Which column.
        column: String,
        /// Which of its pages.
        page: u32,
    },
    /// The pages are not those that the cursor was written with.
    #[error("its pages are not those that its cursor was written with")]
    OtherPages,
    /// The rows do not fit each other.
    #[error("its rows do not fit each other")]
    Rows(#[source] LoadError),
    /// It knows more commits than the ledger has.
    #[error("its cursor {cursor} is ahead of the ledger")]
    AheadOfLedger {
        /// Its cursor.
        cursor: Cursor,
    },
    /// The ledger's commit of that number is another one.
    #[error("the ledger's commit {cursor} is not the one that it was built from")]
    OtherChain {
        /// Its cursor.
        cursor: Cursor,
    },
}

/// Why a read model cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("{} is in use by another process; stop that one or ask it", .0.display())]
    InUse(PathBuf),
    /// It holds the read model of another ledger, and was not to be thrown away.
    #[error("{} holds the read model of ledger {found}", folder.display())]
    OtherLedger {
        /// Which folder.
        folder: PathBuf,
        /// Whose it is.
        found: crate::cursor::LedgerId,
    },
    /// The folder cannot be made, read or cleared.
    #[error("{} cannot be used as the folder of a read model", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Even an empty store cannot be opened there.
    #[error("no store can be opened in {}", folder.display())]
    Store {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: sled::Error,
    },
}

/// Why pages could not be saved. The model in memory is whole; its pages were thrown away, and the next
/// save writes all of them.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The store reports an error.
    #[error("the pages in {} could not be written; they will be written anew", folder.display())]
    Store {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: sled::Error,
    },
    /// A row is longer than a page may hold.
    #[error("a row of the {column} is too long for a page")]
    Row {
        /// Which column.
        column: String,
        /// Why.
        #[source]
        source: bincode::error::EncodeError,
    },
    /// The folder cannot be opened again.
    #[error("the folder of the read model cannot be opened again")]
    Open(#[source] OpenError),
    /// What was saved is not what can be read: the next start builds it anew.
    #[error("what was saved of the read model cannot be read")]
    Unreadable(#[source] Doubt),
}

/// A page as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageHead {
    /// Its first row.
    pub(crate) first: u64,
    /// How many rows.
    pub(crate) rows: u32,
    pub(crate) full: bool,
    /// Its length with its seal.
    pub(crate) bytes: usize,
    pub(crate) seal: Seal,
}

/// A page read back, its checksum not yet compared.
#[derive(Debug)]
pub(crate) struct ReadPage {
    pub(crate) column: Column,
    pub(crate) number: u32,
    rows: usize,
    bytes: sled::IVec,
}

impl ReadPage {
    /// Its rows, in order; `each` returns `None` for a row that nothing writes.
    pub(crate) fn read<F: bincode::Decode<()>>(&self, each: impl FnMut(F) -> Option<()>) -> Result<(), Doubt> {
        self.content().and_then(|content| pages::read_rows(content, each)).map_err(|error| self.damaged(&error))
    }

    /// The same for names.
    pub(crate) fn read_texts(&self, each: impl FnMut(&str) -> Option<()>) -> Result<(), Doubt> {
        self.content().and_then(|content| pages::read_texts(content, each)).map_err(|error| self.damaged(&error))
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// More rows may be added to it.
    pub(crate) fn is_open(&self) -> bool {
        !pages::is_closed(self.bytes.len())
    }

    fn content(&self) -> Result<&[u8], PageError> {
        pages::unseal(&self.column.key(self.number), &self.bytes)
    }

    fn damaged(&self, error: &PageError) -> Doubt {
        damaged(self.column, self.number, error)
    }
}

fn damaged(column: Column, page: u32, error: &PageError) -> Doubt {
    Doubt::DamagedPage { column: column.to_string(), page, what: error.to_string() }
}

/// Pages and cursor of one read model.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Held as long as the store is open.
    _lock: File,
    db: Option<sled::Db>,
    /// Bytes of pages that it was given since it was opened.
    given: usize,
    /// For each column the heads of its pages.
    heads: Vec<Vec<PageHead>>,
}

/// A new or grown page on its way.
#[derive(Debug)]
pub(crate) struct NewPage {
    pub(crate) column: Column,
    pub(crate) number: u32,
    pub(crate) first: u64,
    pub(crate) rows: u32,
    pub(crate) content: Vec<u8>,
}

impl Store {
    /// Takes the folder, which is made if it is not there. Nothing is read yet.
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        let deadline = Instant::now() + LET_GO_WITHIN;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(folder.to_owned())),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        let store = Self { folder: folder.to_owned(), _lock: lock, db: None, given: 0, heads: empty_heads() };
        if store.wait_released() { Ok(store) } else { Err(OpenError::InUse(folder.to_owned())) }
    }

    /// sled lets go of its file some moments after it was dropped, when its threads have ended. Who opens or
    /// clears the folder before that gets an error, or in the way of what is still being written.
    fn wait_released(&self) -> bool {
        let file = self.pages_folder().join("db");
        let deadline = Instant::now() + RELEASED_WITHIN;
        loop {
            match File::open(&file).map(|file| file.try_lock_shared()) {
                Ok(Err(TryLockError::WouldBlock)) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(Err(TryLockError::WouldBlock)) => return false,
                _ => return true,
            }
        }
    }

    fn close(&mut self) {
        self.given = 0;
        if self.db.take().is_some() {
            self.wait_released();
        }
    }

    fn pages_folder(&self) -> PathBuf {
        self.folder.join("pages")
    }

    fn config(&self) -> sled::Config {
        sled::Config::new().path(self.pages_folder()).flush_every_ms(None).cache_capacity(CACHE_BYTES)
    }

    /// Reads the cursor, and the pages that it counts; the pages' own checksums are compared when their rows
    /// are read. `None` for an empty folder.
    pub(crate) fn read(&mut self) -> Result<Option<(CursorForm, Vec<ReadPage>)>, Doubt> {
        if !self.pages_folder().exists() {
            return Ok(None);
        }
        // sled asserts where it should report: on some damage it panics.
        let config = self.config();
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let db = config.open()?;
            let entries: Vec<(sled::IVec, sled::IVec)> = db.iter().collect::<Result<_, _>>()?;
            Ok((db, entries))
        }));
        let (db, entries) = opened.map_err(|panic| Doubt::Unreadable(words_of(&*panic)))?.map_err(Doubt::Store)?;
        self.db = Some(db);
        self.check(entries).map(Some)
    }

    fn check(&mut self, entries: Vec<(sled::IVec, sled::IVec)>) -> Result<(CursorForm, Vec<ReadPage>), Doubt> {
        let mut entries = entries.into_iter().peekable();
        let (_, stored) = entries.next_if(|(key, _)| key[..] == CURSOR_KEY).ok_or(Doubt::NoCursor)?;
        let cursor = read_cursor(&stored)?;
        let mut found = Vec::new();
        let mut heads = empty_heads();
        for column in Column::ALL {
            let (pages, rows) = cursor.columns[column.at()];
            let heads = &mut heads[column.at()];
            let mut first = 0u64;
            for number in 0..pages {
                let key = column.key(number);
                let missing = || Doubt::MissingPage { column: column.to_string(), page: number };
                let (_, bytes) = entries.next_if(|(other, _)| other[..] == key).ok_or_else(missing)?;
                let (seal, rows) = pages::claims(&bytes).map_err(|error| damaged(column, number, &error))?;
                heads.push(PageHead { first, rows, full: pages::is_closed(bytes.len()), bytes: bytes.len(), seal });
                first += u64::from(rows);
                found.push(ReadPage { column, number, rows: rows as usize, bytes });
            }
            if first != rows {
                return Err(Doubt::OtherPages);
            }
            // Pages beyond those that the cursor counts were written by a save that did not come to its end.
            while entries.next_if(|(key, _)| key[0] == column as u8).is_some() {}
        }
        if entries.next().is_some() || root(&heads) != cursor.root {
            return Err(Doubt::OtherPages);
        }
        self.heads = heads;
        Ok((cursor, found))
    }

    /// Throws all pages away.
    pub(crate) fn clear(&mut self) -> Result<(), OpenError> {
        self.close();
        self.heads = empty_heads();
        let pages = self.pages_folder();
        let is_folder = std::fs::symlink_metadata(&pages).is_ok_and(|found| found.is_dir());
        let removed = if is_folder { std::fs::remove_dir_all(&pages) } else { std::fs::remove_file(&pages) };
        match removed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(OpenError::Folder { folder: pages, source })
            }
            _ => Ok(()),
        }
    }

    /// All that it holds, its cursor first: pages that the cursor does not count yet are among them. Nothing for a store
    /// that was never written to.
    pub(crate) fn entries(&mut self) -> Result<Vec<(sled::IVec, sled::IVec)>, SaveError> {
        let entries = self.try_entries().map_err(|source| SaveError::Store { folder: self.pages_folder(), source });
        // What was read stays in memory otherwise.
        self.close();
        entries
    }

    fn try_entries(&mut self) -> Result<Vec<(sled::IVec, sled::IVec)>, sled::Error> {
        if self.db.is_none() {
            self.db = Some(self.config().open()?);
        }
        self.db.as_ref().expect("opened above").iter().collect()
    }

    /// Fills an empty store with the entries of another one, the cursor last: before it nothing counts.
    pub(crate) fn fill(&mut self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), sled::Error> {
        let db = self.config().open()?;
        let (cursor, pages): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key[..] == CURSOR_KEY);
        for some in pages.chunks(BATCH_MAX) {
            let mut batch = sled::Batch::default();
            some.iter().for_each(|(key, value)| batch.insert(&key[..], &value[..]));
            db.apply_batch(batch)?;
        }
        db.flush()?;
        for (key, value) in cursor {
            db.insert(key, value)?;
        }
        db.flush()?;
        self.db = Some(db);
        self.close();
        Ok(())
    }

    /// From which row on the pages of a column have to be written, and under which number.
    pub(crate) fn next_page(&self, column: Column) -> (u32, u64) {
        let heads = &self.heads[column.at()];
        let count = u32::try_from(heads.len()).expect("fewer than 2^32 pages");
        match heads.last() {
            None => (0, 0),
            Some(last) if last.full => (count, last.first + u64::from(last.rows)),
            Some(last) => (count - 1, last.first),
        }
    }

    /// Writes pages, then what grew and the cursor, all or nothing. The counts and seals of the cursor are filled in.
    pub(crate) fn write(&mut self, cursor: CursorForm, pages: Vec<NewPage>) -> Result<(), SaveError> {
        match self.try_write(cursor, pages) {
            Ok(()) => Ok(()),
            Err(source) => {
                let failed = SaveError::Store { folder: self.pages_folder(), source };
                self.clear().map_err(SaveError::Open)?;
                Err(failed)
            }
        }
    }

    fn try_write(&mut self, cursor: CursorForm, pages: Vec<NewPage>) -> Result<(), sled::Error> {
        if self.db.is_none() {
            self.db = Some(self.config().open()?);
        }
        let db = self.db.as_ref().expect("opened above");
        let mut writing = Writing {
            db,
            heads: self.heads.clone(),
            ahead: sled::Batch::default(),
            entries: 0,
            given: 0,
            last: sled::Batch::default(),
        };
        pages.into_iter().try_for_each(|page| writing.page(page))?;
        let given = writing.given;
        self.heads = writing.finish(cursor)?;
        self.given += given;
        if self.given > CLOSED_AFTER {
            self.close();
        }
        Ok(())
    }

    /// True when sled's files have grown far beyond the pages in them: then they are better written anew.
    pub(crate) fn is_bloated(&self) -> bool {
        let on_disk = self.db.as_ref().and_then(|db| db.size_on_disk().ok()).unwrap_or(0);
        let live: usize = self.heads.iter().flatten().map(|head| head.bytes).sum();
        on_disk > BLOAT_FROM + BLOAT_TIMES * live as u64
    }
}

/// A save under way.
struct Writing<'d> {
    db: &'d sled::Db,
    heads: Vec<Vec<PageHead>>,
    ahead: sled::Batch,
    entries: usize,
    given: usize,
    last: sled::Batch,
}

impl Writing<'_> {
    /// Takes the next page of a column. New full pages are written at once: the cursor does not count them
    /// yet. What replaces an open page, or is one, waits for the cursor.
    fn page(&mut self, page: NewPage) -> Result<(), sled::Error> {
        let key = page.column.key(page.number);
        let sealed = pages::seal(&key, &page.content);
        let (seal, _) = pages::claims(&sealed).expect("a sealed page begins with its seal");
        let full = pages::is_closed(sealed.len());
        let heads = &mut self.heads[page.column.at()];
        let at = page.number as usize;
        let grows = at < heads.len();
        self.given += sealed.len();
        heads.truncate(at);
        heads.push(PageHead { first: page.first, rows: page.rows, full, bytes: sealed.len(), seal });
        if grows || !full {
            // At most two for each column: the page that grew and the one that is open now.
            self.last.insert(&key, sealed);
            return Ok(());
        }
        self.ahead.insert(&key, sealed);
        self.entries += 1;
        if self.entries == BATCH_MAX { self.write_ahead() } else { Ok(()) }
    }

    fn write_ahead(&mut self) -> Result<(), sled::Error> {
        self.entries = 0;
        self.db.apply_batch(std::mem::take(&mut self.ahead))
    }

    fn finish(mut self, mut cursor: CursorForm) -> Result<Vec<Vec<PageHead>>, sled::Error> {
        if self.entries > 0 {
            self.write_ahead()?;
        }
        let counts = self.heads.iter().map(|heads| {
            let rows = heads.last().map_or(0, |last| last.first + u64::from(last.rows));
            (u32::try_from(heads.len()).expect("fewer than 2^32 pages"), rows)
        });
        cursor.columns = counts.collect();
        cursor.root = root(&self.heads);
        self.last.insert(&CURSOR_KEY, write_cursor(&cursor));
        self.db.apply_batch(self.last)?;
        self.db.flush()?;
        Ok(self.heads)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

const _: () = assert!(2 * Column::ALL.len() < BATCH_MAX, "the last batch of a save is small, too");

fn empty_heads() -> Vec<Vec<PageHead>> {
    vec![Vec::new(); Column::ALL.len()]
}

fn root(heads: &[Vec<PageHead>]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for heads in heads {
        hasher.update(&(heads.len() as u64).to_be_bytes());
        for head in heads {
            hasher.update(&head.seal);
        }
    }
    *hasher.finalize().as_bytes()
}

/// The version stands in front of the seal, so that another version's cursor is told from a damaged one.
fn write_cursor(cursor: &CursorForm) -> Vec<u8> {
    let content = pages::encode(cursor).expect("a cursor is far below the limit");
    let mut stored = MODEL_VERSION.to_be_bytes().to_vec();
    stored.extend(pages::seal(&CURSOR_KEY, &content));
    stored
}

pub(crate) fn read_cursor(stored: &[u8]) -> Result<CursorForm, Doubt> {
    let damaged = |error: &PageError| Doubt::DamagedCursor(error.to_string());
    let (version, sealed) = stored.split_first_chunk::<4>().ok_or_else(|| damaged(&PageError::Short))?;
    let found = u32::from_be_bytes(*version);
    if found != MODEL_VERSION {
        return Err(Doubt::OtherVersion { found });
    }
    let content = pages::unseal(&CURSOR_KEY, sealed).map_err(|error| damaged(&error))?;
    let cursor: CursorForm = pages::decode(content).map_err(|error| damaged(&error))?;
    if cursor.columns.len() == Column::ALL.len() { Ok(cursor) } else { Err(damaged(&PageError::Value)) }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "it stopped".into())
}
