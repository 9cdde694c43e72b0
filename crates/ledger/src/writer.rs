//! The one writer of a ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::Head;
use crate::error::{AppendError, Failure, OpenError, Rejected};
use crate::files;
use crate::frame::{self, CommitHeader, Entry, Frame};
use crate::head::{HeadFile, Slot};
use crate::ids::{CommitHash, CommitNumber, Epoch, LedgerId, Micros, Position};
use crate::reader::Reader;
use crate::recovery::{self, Recovered, Recovery};
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::storage::{LockError, LockGuard, Storage, StorageFile, write_full};
use crate::view::View;
use crate::{MAX_EVENTS, MAX_FRAME_BYTES};

/// How a ledger is written. The format does not depend on any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment is sealed when the next frame would make it larger than this many bytes. At least 1,024, at most
    /// 1 GiB; a segment always takes at least one frame.
    pub segment_bytes: u64,
    /// Zeros are written ahead of the commits in steps that grow up to this many bytes, so that a sync finds no
    /// metadata to write. 0 writes none ahead. At most 64 MiB.
    pub ahead_bytes: u64,
    /// This writer's epoch; `None` takes the one after the last commit's.
    pub epoch: Option<Epoch>,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, ahead_bytes: 4 << 20, epoch: None }
    }
}

impl Options {
    fn check(&self) -> Result<(), OpenError> {
        if !(1 << 10..=1 << 30).contains(&self.segment_bytes) {
            return Err(OpenError::Options { what: "segment_bytes has to be 1 KiB to 1 GiB" });
        }
        if self.ahead_bytes > 64 << 20 {
            return Err(OpenError::Options { what: "ahead_bytes can be 64 MiB at most" });
        }
        if self.epoch == Some(Epoch::new(0)) {
            return Err(OpenError::Options { what: "epochs start at 1" });
        }
        Ok(())
    }
}

// A segment's offsets are 32 bits wide, also when a large frame comes last.
const _: () = assert!((1u64 << 30) + MAX_FRAME_BYTES as u64 <= u32::MAX as u64);
const _: () = assert!(MAX_EVENTS <= u32::MAX as usize);

/// Proof that a commit is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The commit's number.
    pub commit: CommitNumber,
    /// The commit's hash.
    pub hash: CommitHash,
    /// Position of the first event; the others follow it.
    pub first_position: Position,
    /// How many events.
    pub events: u32,
    /// When it was recorded: strictly later than the commit before it.
    pub recorded_at: Micros,
}

/// The one writer of a ledger. Holds the ledger's lock until it is dropped.
#[derive(Debug)]
pub struct Writer {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) view: Arc<View>,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) path: PathBuf,
    pub(crate) segment: CommitNumber,
    /// Where the next frame goes.
    pub(crate) end: u64,
    /// Up to here the file exists; between `end` and here it is zero.
    pub(crate) allocated: u64,
    pub(crate) head: Head,
    pub(crate) head_file: HeadFile,
    /// What the head file was told last.
    pub(crate) noted: Slot,
    epoch: Epoch,
    frame: Vec<u8>,
    poison: Option<Failure>,
    recovery: Recovery,
    _lock: Box<dyn LockGuard>,
}

impl Writer {
    /// Makes a new ledger in a folder, which is made too if it does not exist. The id should be random.
    ///
    /// # Errors
    /// [`OpenError::Exists`] if there is a ledger, [`OpenError::InUse`] if somebody is just making one.
    pub fn create(
        storage: Arc<dyn Storage>,
        dir: impl AsRef<Path>,
        id: LedgerId,
        options: Options,
    ) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        options.check()?;
        storage.create_dir(dir).map_err(Failure::of("create", dir))?;
        if let Some(parent) = dir.parent() {
            storage.sync_dir(parent).map_err(Failure::of("sync", parent))?;
        }
        let lock = take_lock(&*storage, dir)?;
        let names = storage.list(dir).map_err(Failure::of("list", dir))?;
        if names.iter().any(|name| name == files::HEAD) || recovery::holds_commits(&*storage, dir, &names)? {
            return Err(OpenError::Exists { dir: dir.to_path_buf() });
        }
        let head = Head::empty(id);
        let path = files::segment(dir, head.commit.next());
        recovery::replace(&*storage, &path, &segment::encode_header(&head))?;
        storage.sync_dir(dir).map_err(Failure::of("sync", dir))?;
        // Only now: a head file says that there is a ledger.
        recovery::replace_head(&*storage, dir, &Slot::empty(id))?;
        storage.sync_dir(dir).map_err(Failure::of("sync", dir))?;
        let recovered = recovery::recover(&*storage, dir)?;
        Ok(Self::start(storage, dir, options, recovered, lock))
    }

    /// Opens a ledger for writing, and mends what a crash may have left: see [`Writer::recovery`].
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::InUse`], [`OpenError::Damaged`] with its place, and others.
    pub fn open(storage: Arc<dyn Storage>, dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        options.check()?;
        let names = match storage.list(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(OpenError::NotFound { dir: dir.to_path_buf() });
            }
            other => other.map_err(Failure::of("list", dir))?,
        };
        let ours = |name: &String| name == files::HEAD || name.starts_with("segment-");
        if !names.iter().any(ours) {
            // Do not leave a lock file in a folder that is none of ours.
            return Err(OpenError::NotFound { dir: dir.to_path_buf() });
        }
        let lock = take_lock(&*storage, dir)?;
        let recovered = recovery::recover(&*storage, dir)?;
        Ok(Self::start(storage, dir, options, recovered, lock))
    }

    fn start(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: Options,
        recovered: Recovered,
        lock: Box<dyn LockGuard>,
    ) -> Self {
        let Recovered { loaded, head_file, slot, allocated, report } = recovered;
        let segment = loaded.open.segment.clone();
        let end = loaded.open.end;
        Self {
            storage,
            dir: dir.to_path_buf(),
            options,
            view: Arc::new(View::new(loaded.sealed, loaded.open, slot.head)),
            file: segment.file,
            path: segment.path,
            segment: segment.first,
            end,
            allocated,
            head: slot.head,
            head_file,
            noted: slot,
            epoch: options.epoch.unwrap_or(slot.head.epoch.plus(1)),
            frame: Vec::new(),
            poison: None,
            recovery: report,
            _lock: lock,
        }
    }

    /// What opening the ledger found and mended.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The last commit.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The epoch of the commits of this writer.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The ledger's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A reader that sees each commit as soon as it is durable.
    pub fn reader(&self) -> Reader {
        Reader::of_writer(self.view.clone())
    }

    /// Why this writer has stopped, if it has.
    pub fn poison(&self) -> Option<&Failure> {
        self.poison.as_ref()
    }

    /// Appends one commit with these events. When this returns `Ok`, the commit is durable. Its recording time is
    /// `now`, or 1 µs after the commit before it, whichever is later.
    ///
    /// # Errors
    /// [`AppendError::Rejected`] for 0 or more than 4,096 events or more than 900,000 bytes: nothing was written.
    /// [`AppendError::DiskFull`]: nothing was recorded, try again later. [`AppendError::Poisoned`]: open the ledger
    /// again to learn whether the commit is there.
    pub fn append(&mut self, now: Micros, entries: &[Entry]) -> Result<Receipt, AppendError> {
        self.append_all(now, entries.iter())
    }

    pub(crate) fn append_all<'a>(
        &mut self,
        now: Micros,
        entries: impl ExactSizeIterator<Item = &'a Entry> + Clone,
    ) -> Result<Receipt, AppendError> {
        self.check_poison()?;
        frame::check_limits(entries.clone())?;
        if self.epoch < self.head.epoch {
            let (own, head) = (self.epoch, self.head.epoch);
            return Err(Rejected::StaleEpoch { own, head }.into());
        }
        let header = CommitHeader {
            ledger: self.head.ledger,
            number: self.head.commit.next(),
            first_position: self.head.next_position,
            event_count: entries.len() as u32,
            epoch: self.epoch,
            recorded_at: now.max(self.head.recorded_at.next()),
            previous: self.head.hash,
        };
        let mut bytes = std::mem::take(&mut self.frame);
        bytes.clear();
        let hash = frame::encode(&mut bytes, &header, entries);
        let frame = Frame::trusted(bytes, header);
        let result = self.store(&frame, hash);
        self.frame = frame.into_bytes();
        result
    }

    /// Appends a commit that another copy of this ledger has, byte for byte. It is checked as strictly as if it were
    /// read from the disk, and must be the next one.
    ///
    /// # Errors
    /// As [`Writer::append`]; [`Rejected::Frame`] and [`Rejected::Chain`] say why it does not fit.
    pub fn append_frame(&mut self, bytes: &[u8]) -> Result<Receipt, AppendError> {
        self.check_poison()?;
        let frame = Frame::decode(bytes).map_err(Rejected::Frame)?;
        self.head.check(frame.header()).map_err(Rejected::Chain)?;
        let hash = frame.hash();
        self.store(&frame, hash)
    }

    /// Writes a frame that continues the chain. Each step says what is safe after it.
    fn store<B: AsRef<[u8]>>(&mut self, frame: &Frame<B>, hash: CommitHash) -> Result<Receipt, AppendError> {
        let header = *frame.header();
        let (bytes, len) = (frame.bytes(), frame.bytes().len() as u64);
        let full = self.end + len > self.options.segment_bytes;
        if full && self.end > SEGMENT_HEADER_BYTES as u64 {
            // A crash in here loses nothing: every commit so far stays where it is.
            self.roll(len)?;
        }
        // The frame's place exists after this, as zeros: a full disk shows itself here, where nothing is lost.
        self.allocate(self.end + len)?;
        let start = self.end;
        // A crash from here on leaves the frame whole, torn or absent; recovery takes the first and cuts the second.
        write_full(&*self.file, bytes, start).map_err(|error| self.stop("write", error))?;
        self.file.sync_data().map_err(|error| self.stop("sync", error))?;
        // The commit is durable. Everything below only tells so.
        self.end += len;
        self.head = self.head.after(&header, hash);
        self.noted = Slot { head: self.head, segment: self.segment, start, end: self.end };
        if let Err(failure) = self.head_file.note(&self.noted) {
            // This commit stands; but a disk that refuses 512 bytes gets no more of them.
            self.poison = Some(failure);
        }
        self.view.publish(frame, self.head);
        Ok(Receipt {
            commit: header.number,
            hash,
            first_position: header.first_position,
            events: header.event_count,
            recorded_at: header.recorded_at,
        })
    }

    /// Makes sure that the file has zeros up to `upto`, and some ahead.
    fn allocate(&mut self, upto: u64) -> Result<(), AppendError> {
        if upto <= self.allocated {
            return Ok(());
        }
        // Small ledgers stay small: the steps grow with the segment.
        let ahead = self.allocated.clamp(1 << 16, 4 << 20).min(self.options.ahead_bytes);
        let wanted = upto.max((self.allocated + ahead).min(self.options.segment_bytes));
        match write_zeros(&*self.file, self.allocated, wanted) {
            Ok(()) => {
                self.allocated = wanted;
                Ok(())
            }
            Err(error) => {
                let failure = Failure::of("write", &self.path)(error);
                // What was written of the zeros is harmless, and is written again next time.
                if failure.is_disk_full() { Err(AppendError::DiskFull(failure)) } else { Err(self.stop_with(failure)) }
            }
        }
    }

    /// Cuts the zeros ahead, makes the head file durable, and lets go of the lock. Dropping a writer is as safe; the
    /// next opening then has a little more to do.
    ///
    /// # Errors
    /// What the disk answered. All acknowledged commits are durable in any case.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.check_poison()?;
        let (file, end) = (self.file.clone(), self.end);
        file.set_len(end).map_err(|error| self.stop("cut", error))?;
        file.sync_data().map_err(|error| self.stop("sync", error))?;
        self.head_file.anchor(&self.noted).map_err(|failure| self.stop_with(failure))
    }

    fn check_poison(&self) -> Result<(), AppendError> {
        match &self.poison {
            Some(failure) => Err(AppendError::Poisoned(failure.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn stop(&mut self, doing: &'static str, error: std::io::Error) -> AppendError {
        let failure = Failure::of(doing, &self.path)(error);
        self.stop_with(failure)
    }

    /// Nobody knows what is on the disk now. It is never tried again on the same pages.
    pub(crate) fn stop_with(&mut self, failure: Failure) -> AppendError {
        self.poison = Some(failure.clone());
        AppendError::Poisoned(failure)
    }
}

fn take_lock(storage: &dyn Storage, dir: &Path) -> Result<Box<dyn LockGuard>, OpenError> {
    let path = dir.join(files::LOCK);
    storage.lock(&path).map_err(|error| match error {
        LockError::Busy => OpenError::InUse { dir: dir.to_path_buf() },
        LockError::Io(error) => Failure::of("lock", &path)(error).into(),
    })
}

pub(crate) fn write_zeros(file: &dyn StorageFile, from: u64, to: u64) -> std::io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let mut at = from;
    while at < to {
        let count = (to - at).min(ZEROS.len() as u64);
        write_full(file, &ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}
