//! The keys of sealed values. Small, always replaced as a whole, and synced before a commit uses them.
//!
//! This room stores the keys; what is sealed with them, and how, is `wire`'s matter. The writer's lock covers the
//! keyring, too: who opens it for changes holds the ledger's [`Writer`](crate::Writer).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::FORMAT_VERSION;
use crate::error::{Damage, DamageKind, Failure, NewerFormat, ReadError};
use crate::files;
use crate::frame::{array_at, u32_at, u64_at};
use crate::ids::{LedgerId, Micros};
use crate::recovery;
use crate::storage::{Access, Storage, read_range};
use crate::writer::write_zeros;

const MAGIC: &[u8; 8] = b"LOTLKEYS";
const HEADER: usize = 32;
const RECORD: usize = 60;
const PRESENT: u32 = 1;
const ERASED: u32 = 2;

/// Names a key of the keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Wraps the bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The plain bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A secret of 32 random bytes. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Wraps random bytes, which the caller has drawn.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

/// What the keyring knows of a key id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The key is there, since this time.
    Present(Secret, Micros),
    /// The key was destroyed at this time; what was sealed with it is gone.
    Erased(Micros),
}

/// Why the keyring was not changed or not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyringError {
    /// The id has a key, or had one: take another id.
    #[error("key {id} is there already, or was and has been erased")]
    Taken {
        /// The id.
        id: KeyId,
    },
    /// The stored bytes are not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A newer program wrote this.
    #[error(transparent)]
    NewerFormat(#[from] NewerFormat),
    /// The disk failed; the keyring on it is the old or the new one.
    #[error(transparent)]
    Io(#[from] Failure),
}

impl From<ReadError> for KeyringError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Damaged(damage),
            ReadError::NewerFormat(newer) => Self::NewerFormat(newer),
            ReadError::Io(failure) => Self::Io(failure),
        }
    }
}

/// The keys of a ledger's sealed values.
#[derive(Debug)]
pub struct Keyring {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    ledger: LedgerId,
    keys: BTreeMap<KeyId, KeyState>,
}

impl Keyring {
    /// Reads the keyring of a ledger; an empty one if none was stored yet.
    ///
    /// # Errors
    /// If it is damaged, or of another ledger.
    pub fn open(storage: Arc<dyn Storage>, dir: impl AsRef<Path>, ledger: LedgerId) -> Result<Self, KeyringError> {
        let dir = dir.as_ref().to_path_buf();
        let keys = read(&*storage, &dir, ledger)?.unwrap_or_default();
        Ok(Self { storage, dir, ledger, keys })
    }

    /// What is known of a key id; `None` if it never had a key.
    pub fn state(&self, id: &KeyId) -> Option<&KeyState> {
        self.keys.get(id)
    }

    /// The secret of a key id, if it is there.
    pub fn secret(&self, id: &KeyId) -> Option<&Secret> {
        match self.keys.get(id)? {
            KeyState::Present(secret, _) => Some(secret),
            KeyState::Erased(_) => None,
        }
    }

    /// All key ids with their states, ascending.
    pub fn states(&self) -> impl ExactSizeIterator<Item = (&KeyId, &KeyState)> {
        self.keys.iter()
    }

    /// Stores new keys, durably when this returns. They have to be stored before a commit that uses them.
    ///
    /// # Errors
    /// [`KeyringError::Taken`] if an id has or had a key; none of the keys is stored then.
    pub fn insert(&mut self, new: impl IntoIterator<Item = (KeyId, Secret)>, now: Micros) -> Result<(), KeyringError> {
        let mut keys = self.keys.clone();
        for (id, secret) in new {
            if keys.insert(id, KeyState::Present(secret, now)).is_some() {
                return Err(KeyringError::Taken { id });
            }
        }
        self.replace(keys)
    }

    /// Destroys keys, durably when this returns, and overwrites the bytes of the file that held them. Ids without a
    /// key are marked as erased, so that they never get one.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn erase(&mut self, ids: impl IntoIterator<Item = KeyId>, now: Micros) -> Result<(), KeyringError> {
        let mut keys = self.keys.clone();
        for id in ids {
            let state = keys.entry(id).or_insert(KeyState::Erased(now));
            if matches!(state, KeyState::Present(..)) {
                *state = KeyState::Erased(now);
            }
        }
        let path = self.path();
        // Opened before it is replaced: afterwards the old bytes have no name.
        let old = match self.storage.open(&path, Access::Write) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::of("open", &path)(error).into()),
        };
        self.replace(keys)?;
        if let Some(old) = old {
            let len = old.len().map_err(Failure::of("look at", &path))?;
            write_zeros(&*old, 0, len).map_err(Failure::of("overwrite", &path))?;
            old.sync_data().map_err(Failure::of("sync", &path))?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join(files::KEYRING)
    }

    fn replace(&mut self, keys: BTreeMap<KeyId, KeyState>) -> Result<(), KeyringError> {
        recovery::replace(&*self.storage, &self.path(), &encode(self.ledger, &keys))?;
        self.storage.sync_dir(&self.dir).map_err(Failure::of("sync", &self.dir))?;
        self.keys = keys;
        Ok(())
    }
}

/// The keyring's content; `None` if there is no file.
pub(crate) fn read(
    storage: &dyn Storage,
    dir: &Path,
    ledger: LedgerId,
) -> Result<Option<BTreeMap<KeyId, KeyState>>, ReadError> {
    let path = dir.join(files::KEYRING);
    let file = match storage.open(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::of("open", &path)(error).into()),
    };
    let len = file.len().map_err(Failure::of("look at", &path))?;
    let bytes = read_range(&*file, 0, len).map_err(Failure::of("read", &path))?;
    decode(&bytes, &path, ledger).map(Some)
}

fn encode(ledger: LedgerId, keys: &BTreeMap<KeyId, KeyState>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + keys.len() * RECORD + 4);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
    out.extend_from_slice(ledger.as_bytes());
    out.extend_from_slice(&(keys.len() as u32).to_be_bytes());
    for (id, state) in keys {
        let (mark, at, secret) = match state {
            KeyState::Present(secret, at) => (PRESENT, at, secret.0),
            KeyState::Erased(at) => (ERASED, at, [0; 32]),
        };
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&mark.to_be_bytes());
        out.extend_from_slice(&at.get().to_be_bytes());
        out.extend_from_slice(&secret);
    }
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

fn decode(bytes: &[u8], path: &Path, ledger: LedgerId) -> Result<BTreeMap<KeyId, KeyState>, ReadError> {
    let damaged = |offset: usize| {
        ReadError::Damaged(Damage {
            file: path.to_path_buf(),
            offset: offset as u64,
            commit: None,
            position: None,
            kind: DamageKind::Keyring,
        })
    };
    let Some(body) = bytes.len().checked_sub(4).filter(|body| *body >= HEADER) else {
        return Err(damaged(0));
    };
    if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..body]) != u32_at(bytes, body) {
        return Err(damaged(0));
    }
    let version = u32_at(bytes, 8);
    if version != FORMAT_VERSION {
        let (file, known) = (path.to_path_buf(), FORMAT_VERSION);
        return Err(ReadError::NewerFormat(NewerFormat { file, offset: 0, found: version, known }));
    }
    let count = u32_at(bytes, 28) as usize;
    if LedgerId::new(array_at(bytes, 12)) != ledger || HEADER + count * RECORD != body {
        return Err(damaged(0));
    }
    let mut keys = BTreeMap::new();
    for (index, record) in bytes[HEADER..body].chunks_exact(RECORD).enumerate() {
        let id = KeyId(array_at(record, 0));
        let at = Micros::new(u64_at(record, 20) as i64);
        let secret = array_at(record, 28);
        let state = match u32_at(record, 16) {
            PRESENT => KeyState::Present(Secret(secret), at),
            ERASED if secret == [0; 32] => KeyState::Erased(at),
            _ => return Err(damaged(HEADER + index * RECORD)),
        };
        if keys.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(damaged(HEADER + index * RECORD));
        }
        keys.insert(id, state);
    }
    Ok(keys)
}
