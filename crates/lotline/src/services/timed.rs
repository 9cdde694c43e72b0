//! Storage that tells how long each sync of a ledger's commits took.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lotline_ledger::{Access, LockError, LockGuard, Storage, StorageFile};

type Tell = dyn Fn(Duration) + Send + Sync;

/// Storage whose segment files are timed.
pub struct Timed {
    inner: Arc<dyn Storage>,
    tell: Arc<Tell>,
}

impl std::fmt::Debug for Timed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Timed").field(&self.inner).finish()
    }
}

impl Timed {
    /// The same storage; `tell` is called after each sync of a segment, on the thread that waited for it.
    pub fn new(inner: Arc<dyn Storage>, tell: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self { inner, tell: Arc::new(tell) }
    }

    fn file(&self, path: &Path, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        if path.extension().is_some_and(|extension| extension == "ledger") {
            return Arc::new(TimedFile { inner: file, tell: self.tell.clone() });
        }
        file
    }
}

impl Storage for Timed {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.inner.create(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.inner.open(path, access)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.inner.lock(path)
    }
}

struct TimedFile {
    inner: Arc<dyn StorageFile>,
    tell: Arc<Tell>,
}

impl std::fmt::Debug for TimedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TimedFile").field(&self.inner).finish()
    }
}

impl StorageFile for TimedFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        let started = Instant::now();
        let done = self.inner.sync_data();
        (self.tell)(started.elapsed());
        done
    }
}
