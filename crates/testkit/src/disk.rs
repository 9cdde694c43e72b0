//! A disk in memory that keeps what programs see and what a power cut leaves apart.
//!
//! A write is seen at once and *pending* until its file is synced; a name (made, renamed, removed) is pending until its
//! folder is synced. [`FaultyDisk::after`] gives the disk as it may look after a crash: pending changes lost, kept,
//! torn, or kept without the ones before them. Faults are planned by operation number, so that a test can try each.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lotline_ledger::{Access, LockError, LockGuard, Storage, StorageFile};

/// What a crash makes of pending changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies and the system lives: everything that was seen is still seen, and still pending.
    Process,
    /// The power fails: all that is pending is lost.
    Lost,
    /// The power fails just after everything was written.
    Kept,
    /// The power fails and each pending change, drawn from this seed, is lost, kept, or torn: cut at a byte, or with only
    /// some of its 64-byte pieces there.
    Mixed(u64),
}

/// A fault that happens at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// From this operation on nothing works any more: a write may have happened (it is pending), a sync has not.
    Stop,
    /// A sync fails, none of its pending changes is on the disk, and they are taken for clean: seen, but never written
    /// again unless they are changed again. Linux does this.
    SyncLost,
    /// A sync fails, and yet everything is on the disk.
    SyncKept,
    /// A write fails half way.
    WriteHalf,
}

/// A disk in memory with planned faults. Clones share the disk; [`FaultyDisk::image`] copies it.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    nodes: Vec<Node>,
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    stopped: bool,
    capacity: Option<u64>,
    short_writes: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl NameChange {
    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path, _)) = self;
        path.parent() == Some(dir)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(len) => bytes.resize(*len, 0),
            Self::Write(at, written) => {
                let end = at + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(written);
            }
        }
    }

    /// Applies it as a power cut may have left it.
    fn apply_torn(&self, bytes: &mut Vec<u8>, draw: &mut Draw) {
        match (self, draw.below(4)) {
            (_, 0) => {}
            (_, 1) | (Self::Length(_), _) => self.apply(bytes),
            (Self::Write(at, written), 2) => {
                let upto = draw.below(written.len() as u64 + 1) as usize;
                Self::Write(*at, written[..upto].to_vec()).apply(bytes);
            }
            (Self::Write(at, written), _) => {
                for (piece, part) in written.chunks(64).enumerate() {
                    if draw.below(2) == 0 {
                        Self::Write(at + 64 * piece, part.to_vec()).apply(bytes);
                    }
                }
            }
        }
    }
}

/// A small generator of numbers (splitmix64): what it draws depends on the seed alone.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

impl Default for FaultyDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self { disk: Arc::default() }
    }

    /// In the form in which writers and readers take a storage.
    pub fn shared(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Plans a fault at an operation. Operations that change something are counted from 0.
    pub fn plan(&self, operation: u64, fault: Fault) {
        self.disk().faults.insert(operation, fault);
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Limits the sum of all files' sizes; `None` lifts the limit.
    pub fn limit(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// Makes every write stop short after 1 to `most` bytes; `None` ends this.
    pub fn write_short(&self, most: Option<u64>) {
        self.disk().short_writes = most;
    }

    /// Sum of the sizes of all files.
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// A copy of the disk, pending changes and planned faults included. Nobody holds a lock on it.
    pub fn image(&self) -> Self {
        let mut disk = self.disk().clone();
        disk.locks.clear();
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// A copy of the disk as it may look after a crash now, without planned faults, its operations counted from 0.
    pub fn after(&self, crash: Crash) -> Self {
        let mut disk = self.disk().clone();
        disk.locks.clear();
        disk.faults.clear();
        disk.stopped = false;
        disk.operations = 0;
        match crash {
            Crash::Process => {}
            Crash::Lost => disk.power_cut(|_, _| {}, |_, _| {}),
            Crash::Kept => disk.power_cut(|change, bytes| change.apply(bytes), NameChange::apply),
            Crash::Mixed(seed) => {
                let draw = std::cell::RefCell::new(Draw::new(seed));
                disk.power_cut(
                    |change, bytes| change.apply_torn(bytes, &mut draw.borrow_mut()),
                    |change, names| {
                        if draw.borrow_mut().below(2) == 0 {
                            change.apply(names);
                        }
                    },
                );
            }
        }
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// A number that differs, in all likelihood, for disks that differ: in names, contents, or what is durable.
    pub fn fingerprint(&self) -> u64 {
        let disk = self.disk();
        let mut hasher = DefaultHasher::new();
        for (path, node) in &disk.names {
            (path, &disk.nodes[*node].seen).hash(&mut hasher);
        }
        for (path, node) in &disk.durable_names {
            (path, &disk.nodes[*node].durable).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Content of a file as it is seen.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let disk = self.disk();
        let node = disk.names.get(path).expect("the file is there");
        disk.nodes[*node].seen.clone()
    }

    /// Replaces a file's content, seen and durable, without counting as an operation: damage from outside.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) {
        let mut disk = self.disk();
        let node = *disk.names.get(path).expect("the file is there");
        disk.nodes[node] = Node { seen: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() };
    }

    /// Whether these bytes stand anywhere on the disk, also in files that have no name any more.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let inside = |content: &[u8]| content.windows(bytes.len()).any(|window| window == bytes);
        self.disk().nodes.iter().any(|node| inside(&node.durable) || inside(&node.seen))
    }

    /// Paths of all files as they are seen.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk().names.keys().cloned().collect()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, node: usize, access: Access) -> Arc<dyn StorageFile> {
        Arc::new(OpenFile { disk: self.clone(), node, access })
    }
}

impl Disk {
    fn used(&self) -> u64 {
        self.names.values().map(|node| self.nodes[*node].seen.len() as u64).sum()
    }

    fn power_cut(
        &mut self,
        content: impl Fn(&Change, &mut Vec<u8>),
        name: impl Fn(&NameChange, &mut BTreeMap<PathBuf, usize>),
    ) {
        for node in &mut self.nodes {
            for change in std::mem::take(&mut node.pending) {
                content(&change, &mut node.durable);
            }
            node.seen = node.durable.clone();
        }
        for change in std::mem::take(&mut self.pending_names) {
            name(&change, &mut self.durable_names);
        }
        self.names = self.durable_names.clone();
    }

    /// Counts an operation and gives the fault that is planned for it.
    fn operate(&mut self) -> io::Result<Option<Fault>> {
        self.alive()?;
        let fault = self.faults.get(&self.operations).copied();
        self.operations += 1;
        if fault == Some(Fault::Stop) {
            self.stopped = true;
        }
        Ok(fault)
    }

    fn alive(&self) -> io::Result<()> {
        if self.stopped { Err(io::Error::other("the disk has stopped")) } else { Ok(()) }
    }

    fn rename(&mut self, change: NameChange) -> io::Result<()> {
        change.apply(&mut self.names);
        self.pending_names.push(change);
        self.alive()
    }
}

impl Storage for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        // Folders are taken for durable at once: the ledger makes one, before anything else.
        self.disk().dirs.insert(dir.to_path_buf());
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk();
        disk.operate()?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = disk.nodes.len();
        disk.nodes.push(Node::default());
        disk.rename(NameChange::Add(path.to_path_buf(), node))?;
        Ok(self.file(node, Access::Write))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let disk = self.disk();
        disk.alive()?;
        let node = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(node, access))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        let node = *disk.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        disk.rename(NameChange::Rename(from.to_path_buf(), to.to_path_buf(), node))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        if !disk.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.rename(NameChange::Remove(path.to_path_buf()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        disk.alive()?;
        if !disk.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.operate()?;
        disk.alive()?;
        let (inside, outside) =
            std::mem::take(&mut disk.pending_names).into_iter().partition::<Vec<_>, _>(|change| change.is_in(dir));
        if fault == Some(Fault::SyncLost) {
            // Names are journalled: a failed sync leaves them pending.
            disk.pending_names = inside.into_iter().chain(outside).collect();
            return Err(io::Error::other("sync failed"));
        }
        disk.pending_names = outside;
        inside.iter().for_each(|change| change.apply(&mut disk.durable_names));
        match fault {
            Some(Fault::SyncKept) => Err(io::Error::other("sync failed")),
            _ => Ok(()),
        }
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        let mut disk = self.disk();
        disk.alive().map_err(LockError::Io)?;
        if !disk.locks.insert(path.to_path_buf()) {
            return Err(LockError::Busy);
        }
        Ok(Box::new(Held { disk: self.clone(), path: path.to_path_buf() }))
    }
}

#[derive(Debug)]
struct Held {
    disk: FaultyDisk,
    path: PathBuf,
}

impl LockGuard for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.disk().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct OpenFile {
    disk: FaultyDisk,
    node: usize,
    access: Access,
}

impl OpenFile {
    fn may_write(&self) -> io::Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn change(&self, disk: &mut Disk, change: Change) {
        let node = &mut disk.nodes[self.node];
        change.apply(&mut node.seen);
        node.pending.push(change);
    }
}

impl StorageFile for OpenFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.disk();
        disk.alive()?;
        let seen = &disk.nodes[self.node].seen;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
        let count = into.len().min(seen.len() - from);
        into[..count].copy_from_slice(&seen[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.may_write()?;
        let mut disk = self.disk.disk();
        let fault = disk.operate()?;
        let at = offset as usize;
        let mut count = bytes.len();
        if let Some(most) = disk.short_writes {
            let seed = disk.operations;
            count = count.min(1 + Draw::new(seed).below(most) as usize);
        }
        if fault == Some(Fault::WriteHalf) {
            count = bytes.len() / 2;
        }
        if let Some(capacity) = disk.capacity {
            let free = capacity.saturating_sub(disk.used()) as usize;
            let room = disk.nodes[self.node].seen.len().saturating_sub(at) + free;
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            count = count.min(room);
        }
        self.change(&mut disk, Change::Write(at, bytes[..count].to_vec()));
        disk.alive()?;
        match fault {
            Some(Fault::WriteHalf) => Err(io::Error::other("write failed")),
            _ => Ok(count),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        let mut disk = self.disk.disk();
        disk.operate()?;
        self.change(&mut disk, Change::Length(len as usize));
        disk.alive()
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.disk();
        disk.alive()?;
        Ok(disk.nodes[self.node].seen.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let fault = disk.operate()?;
        disk.alive()?;
        let node = &mut disk.nodes[self.node];
        let pending = std::mem::take(&mut node.pending);
        if fault != Some(Fault::SyncLost) {
            pending.iter().for_each(|change| change.apply(&mut node.durable));
        }
        match fault {
            Some(Fault::SyncLost | Fault::SyncKept) => Err(io::Error::other("sync failed")),
            _ => Ok(()),
        }
    }
}
