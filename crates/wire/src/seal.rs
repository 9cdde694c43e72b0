//! Sealed values: what may name a person is ciphertext inside of the stored bytes, and destroying its
//! key erases it. The layout is that of `schemas/ledger-format.md`, section 9.
//!
//! This module never stores a key and draws no randomness: keys come from a [`Keyring`], and nonces
//! are derived from key, context and plain text. So the same value in the same event seals to the same
//! bytes, and two different ones never share a nonce.

use std::error::Error;
use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use lotline_domain::id::{ActorId, SourceId};
use thiserror::Error;

/// The longest plain text that can be sealed, in bytes.
pub const PLAIN_MAX: usize = 800_000;

const VERSION: u8 = 1;
const KEY_ID: usize = 1;
const COMMITMENT: usize = 17;
const NONCE: usize = 49;
const LENGTH: usize = 73;
const CIPHERTEXT: usize = 77;
const TAG_LEN: usize = 16;

/// The identity of a key in the keyring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// The ledger's own secret: keyed hashes of content and key ids come from it. It lives in the
    /// keyring like any other, and is never erased while the ledger takes commands.
    pub const LEDGER_SECRET: Self = Self(*b"ledger secret v1");
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// 32 secret bytes; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a keyring knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// Here it is.
    Present(Secret),
    /// It was destroyed on purpose.
    Erased,
    /// This keyring never had it (a copy of a ledger without its keys).
    Unknown,
}

/// Reads keys.
pub trait Keys {
    /// What is known of a key.
    fn state(&self, id: KeyId) -> KeyState;
}

/// Reads keys, and makes new ones.
pub trait Keyring: Keys {
    /// Makes a fresh random key under an id that is [`KeyState::Unknown`] so far. Who writes a commit syncs
    /// the keyring before.
    ///
    /// # Errors
    /// [`KeyringError`] when it could not be made or kept.
    fn create(&mut self, id: KeyId) -> Result<Secret, KeyringError>;
}

/// A keyring without any key: all sealed values are unavailable.
#[derive(Debug, Clone, Copy)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn state(&self, _: KeyId) -> KeyState {
        KeyState::Unknown
    }
}

/// The keyring could not make or keep a key.
#[derive(Debug, Error)]
#[error("the keyring could not make a new key")]
pub struct KeyringError(#[source] pub Box<dyn Error + Send + Sync>);

/// Why a value could not be sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// Too long.
    #[error("a sealed text may have {PLAIN_MAX} bytes; this one has {len}")]
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// The keyring failed.
    #[error("no key to seal with")]
    Keyring(#[from] KeyringError),
    /// The ledger's own secret was erased: it can take no more commands.
    #[error("the ledger's secret was erased from the keyring; restore the keyring to record anything more")]
    SecretErased,
}

/// Why bytes are no sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealedFormError {
    /// Shorter than its head, or of another length than it says.
    #[error("a sealed value has another length than it says")]
    Length,
    /// Of a version that this program does not know.
    #[error("a sealed value has version {0}, this program knows version {VERSION}")]
    Version(u8),
}

/// Why a sealed value could not be opened although its key is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The key under this id is another one than it was sealed with.
    #[error("the keyring's key {0} is not the one this value was sealed with")]
    OtherKey(KeyId),
    /// The ciphertext was changed.
    #[error("the sealed value under key {0} was changed")]
    Changed(KeyId),
    /// The plain text is not what belongs there.
    #[error("the sealed value under key {0} does not hold what it should")]
    Content(KeyId),
}

/// What came of opening a sealed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened<T> {
    /// The plain value.
    Plain(T),
    /// Its key was destroyed.
    Erased,
    /// Its key is not in this keyring.
    Unavailable,
}

impl<T> Opened<T> {
    /// The plain value, if it is open.
    pub fn plain(self) -> Option<T> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Erased | Self::Unavailable => None,
        }
    }
}

/// A sealed value, as it stands in a payload. Borrowed: opening is a separate step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealedValue<'a> {
    bytes: &'a [u8],
}

impl fmt::Debug for SealedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedValue({}, {} bytes)", self.key_id(), self.bytes.len())
    }
}

impl<'a> SealedValue<'a> {
    /// Checks the outer form.
    ///
    /// # Errors
    /// [`SealedFormError`] when the length or the version is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SealedFormError> {
        let version = *bytes.first().ok_or(SealedFormError::Length)?;
        if version != VERSION {
            return Err(SealedFormError::Version(version));
        }
        let stated = bytes.get(LENGTH..CIPHERTEXT).and_then(|field| <[u8; 4]>::try_from(field).ok());
        let stated = u32::from_be_bytes(stated.ok_or(SealedFormError::Length)?) as usize;
        let fits = (TAG_LEN..=PLAIN_MAX + TAG_LEN).contains(&stated) && bytes.len() - CIPHERTEXT == stated;
        if fits { Ok(Self { bytes }) } else { Err(SealedFormError::Length) }
    }

    /// The key that it is sealed with.
    pub fn key_id(&self) -> KeyId {
        KeyId(self.bytes[KEY_ID..COMMITMENT].try_into().expect("checked by parse"))
    }

    /// The bytes as they are stored.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The plain bytes, if the key is there.
    ///
    /// # Errors
    /// [`OpenError`] when the key is another one, or the value was changed.
    pub fn open(&self, keys: &dyn Keys) -> Result<Opened<Vec<u8>>, OpenError> {
        let id = self.key_id();
        let secret = match keys.state(id) {
            KeyState::Present(secret) => secret,
            KeyState::Erased => return Ok(Opened::Erased),
            KeyState::Unknown => return Ok(Opened::Unavailable),
        };
        if commitment(&secret) != self.bytes[COMMITMENT..NONCE] {
            return Err(OpenError::OtherKey(id));
        }
        let nonce = XNonce::try_from(&self.bytes[NONCE..LENGTH]).expect("checked by parse");
        let payload = Payload { msg: &self.bytes[CIPHERTEXT..], aad: &self.bytes[..LENGTH] };
        cipher(&secret).decrypt(&nonce, payload).map(Opened::Plain).map_err(|_| OpenError::Changed(id))
    }

    /// The plain text, if the key is there.
    ///
    /// # Errors
    /// [`OpenError`] as for [`SealedValue::open`], also when the plain bytes are no text.
    pub fn open_text(&self, keys: &dyn Keys) -> Result<Opened<String>, OpenError> {
        Ok(match self.open(keys)? {
            Opened::Plain(bytes) => {
                Opened::Plain(String::from_utf8(bytes).map_err(|_| OpenError::Content(self.key_id()))?)
            }
            Opened::Erased => Opened::Erased,
            Opened::Unavailable => Opened::Unavailable,
        })
    }
}

fn commitment(secret: &Secret) -> [u8; 32] {
    blake3::derive_key("lotline 2026 key commitment v1", &secret.0)
}

fn cipher(secret: &Secret) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&blake3::derive_key("lotline 2026 sealed value v1", &secret.0).into())
}

/// The ledger's secret, ready for keyed hashes.
#[derive(Clone)]
pub struct LedgerSecret {
    key_ids: [u8; 32],
    pub(crate) content: [u8; 32],
    pub(crate) event_ids: [u8; 32],
}

impl LedgerSecret {
    /// From the 32 bytes under [`KeyId::LEDGER_SECRET`].
    pub fn new(secret: &Secret) -> Self {
        Self {
            key_ids: blake3::derive_key("lotline 2026 key id v1", &secret.0),
            content: blake3::derive_key("lotline 2026 content v1", &secret.0),
            event_ids: blake3::derive_key("lotline 2026 event id v1", &secret.0),
        }
    }
}

impl fmt::Debug for LedgerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerSecret(..)")
    }
}

/// Whose values share a key, and are erased together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A known person.
    Person(ActorId),
    /// What one source reported of one day.
    SourceDay {
        /// The source.
        source: SourceId,
        /// Days since 1970-01-01 (UTC) of `occurred_at`; `None` for a refusal, which happened on no day.
        day: Option<i64>,
    },
}

impl Scope {
    /// The key id of a scope. `round` counts from 0: after an erasure new values of the scope go under the
    /// next round, so that what was erased stays so. Not guessable without the ledger's secret.
    pub fn key_id(&self, secret: &LedgerSecret, round: u32) -> KeyId {
        let mut hasher = blake3::Hasher::new_keyed(&secret.key_ids);
        hasher.update(&round.to_be_bytes());
        match self {
            Self::Person(actor) => hasher.update(b"person").update(actor.as_str().as_bytes()),
            Self::SourceDay { source, day } => {
                hasher.update(b"source").update(&day.unwrap_or(i64::MIN).to_be_bytes());
                hasher.update(source.as_str().as_bytes())
            }
        };
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        KeyId(id)
    }
}

/// Seals values with keys of a keyring.
pub struct Sealer<'k> {
    keyring: &'k mut dyn Keyring,
    secret: LedgerSecret,
}

impl fmt::Debug for Sealer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl<'k> Sealer<'k> {
    /// A sealer over a keyring; makes the ledger's secret where there is none yet.
    ///
    /// # Errors
    /// [`SealError`] when the keyring fails, or the ledger's secret was erased.
    pub fn new(keyring: &'k mut dyn Keyring) -> Result<Self, SealError> {
        let secret = match keyring.state(KeyId::LEDGER_SECRET) {
            KeyState::Present(secret) => secret,
            KeyState::Erased => return Err(SealError::SecretErased),
            KeyState::Unknown => keyring.create(KeyId::LEDGER_SECRET)?,
        };
        Ok(Self { secret: LedgerSecret::new(&secret), keyring })
    }

    /// A sealer whose ledger's secret was read before: deriving its keys costs more than most events.
    pub fn with_secret(keyring: &'k mut dyn Keyring, secret: LedgerSecret) -> Self {
        Self { keyring, secret }
    }

    /// The ledger's secret, for [`crate::content::content_hash`].
    pub fn secret(&self) -> &LedgerSecret {
        &self.secret
    }

    /// Seals a value. `context` says where it stands (event and field), so that equal values in two
    /// places do not look equal.
    ///
    /// # Errors
    /// [`SealError`] when it is too long or there is no key.
    pub fn seal(&mut self, scope: &Scope, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        if plain.len() > PLAIN_MAX {
            return Err(SealError::TooLong { len: plain.len() });
        }
        let (id, secret) = self.key(scope)?;
        let mut nonce = blake3::Hasher::new_keyed(&blake3::derive_key("lotline 2026 sealed nonce v1", &secret.0));
        for part in context.iter().chain([&plain]) {
            nonce.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        let mut sealed = vec![0; LENGTH];
        sealed[0] = VERSION;
        sealed[KEY_ID..COMMITMENT].copy_from_slice(&id.0);
        sealed[COMMITMENT..NONCE].copy_from_slice(&commitment(&secret));
        nonce.finalize_xof().fill(&mut sealed[NONCE..LENGTH]);
        let nonce = XNonce::try_from(&sealed[NONCE..LENGTH]).expect("24 bytes");
        let ciphertext = cipher(&secret)
            .encrypt(&nonce, Payload { msg: plain, aad: &sealed })
            .expect("a text of this length can be sealed");
        let length = u32::try_from(ciphertext.len()).expect("bounded by PLAIN_MAX");
        sealed.extend_from_slice(&length.to_be_bytes());
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    fn key(&mut self, scope: &Scope) -> Result<(KeyId, Secret), SealError> {
        for round in 0.. {
            let id = scope.key_id(&self.secret, round);
            match self.keyring.state(id) {
                KeyState::Present(secret) => return Ok((id, secret)),
                KeyState::Unknown => return Ok((id, self.keyring.create(id)?)),
                KeyState::Erased => {}
            }
        }
        unreachable!("a keyring with 2^32 erased keys of one scope")
    }
}
