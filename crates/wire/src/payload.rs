//! The stored payload: what stands in the opaque part of a ledger entry. `schemas/payload-format.md` has
//! it byte by byte.
//!
//! Reading needs no keys: what is sealed stays closed until somebody opens it, and no effect depends on
//! it. Each value has exactly one stored form.

mod read;
mod v1;
mod v2;
mod write;

use bincode::config::{BigEndian, Configuration, Fixint, Limit};
use lotline_domain::command::Body;
use lotline_domain::fact::{Correction, Fact};
use lotline_domain::id::ActorId;
use thiserror::Error;

use crate::content::ContentHash;
use crate::seal::{Keys, OpenError, Opened, SealError, SealedFormError, SealedValue, Sealer};

/// The newest version. What the first one can say is still written as that, and reads in an older program.
pub const VERSION: u16 = 2;
const FIRST_VERSION: u16 = 1;

/// The longest payload in bytes: with as many keys as an entry can have it still fits into a frame.
pub const PAYLOAD_MAX: usize = 834_000;

// Frame, commit header, entry's length and key count, 4,096 keys (ledger-format.md, sections 4 to 6).
const _: () = assert!(PAYLOAD_MAX <= 900_000 - 100 - 4 - 2 - 4096 * 16);

/// How deep a correction may correct by a correction.
pub const CORRECTION_DEPTH_MAX: u8 = 4;

/// The limit counts memory, not bytes: the smallest stored line has 16 bytes and takes up to 300.
const CONFIG: Configuration<BigEndian, Fixint, Limit<{ 32 << 20 }>> =
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<{ 32 << 20 }>();

/// Where an event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A native command.
    Native,
    /// An EPCIS document's event.
    Epcis {
        /// The version of the mapping that made the fact of it.
        mapping_version: u32,
        /// The event as it came; it is stored sealed.
        original: &'a [u8],
    },
    /// A refused command of which nothing else is recorded: its canonical JSON; it is stored sealed.
    Refused {
        /// The command.
        command: &'a [u8],
    },
}

/// Where an event came from, the original still sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredOrigin<'a> {
    /// A native command.
    Native,
    /// An EPCIS document's event.
    Epcis {
        /// The version of the mapping that made the fact of it.
        mapping_version: u32,
        /// The event as it came.
        original: SealedValue<'a>,
    },
    /// A refused command of which nothing else is recorded.
    Refused {
        /// Its canonical JSON.
        command: SealedValue<'a>,
    },
}

/// A field that is stored sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Why: of holds, releases, adjustments and corrections.
    Reason,
    /// The display name of an item, place or party.
    Name,
    /// What a note says.
    Note,
    /// Who answers for a correction.
    Actor,
    /// The original document.
    Original,
}

impl Field {
    fn code(self) -> u8 {
        match self {
            Self::Reason => 1,
            Self::Name => 2,
            Self::Note => 3,
            Self::Actor => 4,
            Self::Original => 5,
        }
    }
}

/// A sealed field of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedField<'a> {
    /// Which.
    pub field: Field,
    /// 0 in the event's own fact, 1 in the fact by which it supersedes another, and so on.
    pub depth: u8,
    /// The value.
    pub value: SealedValue<'a>,
}

/// A decoded payload; sealed values are borrowed from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent<'a> {
    /// What was recorded. Sealed fields are closed: `None`, and a note's text is empty.
    /// [`StoredEvent::open_body`] fills them in.
    pub body: Body,
    /// Tells whether another command of the same id has the same content.
    pub content: ContentHash,
    /// Where it came from.
    pub origin: StoredOrigin<'a>,
    /// The sealed fields, in the order of the bytes.
    pub sealed: Vec<SealedField<'a>>,
}

/// Why a body could not be encoded.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// Longer than a ledger entry can be.
    #[error("the event has {len} bytes when stored; at most {PAYLOAD_MAX} fit, so it has to be split")]
    TooLong {
        /// Bytes it would have.
        len: usize,
    },
    /// Corrections nested too deep.
    #[error("a correction by a correction by a correction … ends at depth {CORRECTION_DEPTH_MAX}")]
    TooDeep,
    /// A value could not be sealed.
    #[error("a value could not be sealed")]
    Seal(#[from] SealError),
    /// The encoder refused.
    #[error("the event could not be encoded")]
    Form(#[source] bincode::error::EncodeError),
}

/// Why bytes are no payload.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Written by a newer program.
    #[error(
        "payload version {found} is unknown; this program knows versions {FIRST_VERSION} to {VERSION}: use a newer program"
    )]
    UnknownVersion {
        /// The version that it says.
        found: u16,
    },
    /// Longer than any payload.
    #[error("a payload of {len} bytes; at most {PAYLOAD_MAX} are allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// Cut short, or an impossible tag or length.
    #[error("the payload is cut or malformed")]
    Form(#[source] bincode::error::DecodeError),
    /// Bytes left over.
    #[error("{extra} bytes follow the payload")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A value that its type does not allow.
    #[error("the payload's {what} {problem}")]
    Value {
        /// Which field.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Corrections nested too deep.
    #[error("the payload nests corrections deeper than {CORRECTION_DEPTH_MAX}")]
    TooDeep,
    /// A sealed value has no such form.
    #[error("a sealed value of the payload is malformed")]
    Sealed(#[from] SealedFormError),
}

/// Encodes a body for a ledger entry. The entry's keys are [`crate::key::keys_of`].
///
/// # Errors
/// [`EncodeError`] when it does not fit into an entry, or a value cannot be sealed.
pub fn encode(
    body: &Body,
    content: ContentHash,
    origin: Origin<'_>,
    sealer: &mut Sealer<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let mut pen = write::Pen::new(body, sealer);
    let first = v1::V1Payload { content: content.0, body: pen.body(body)?, origin: pen.origin(origin)? };
    let expiries = v2::expiries(body);
    let mut bytes = Vec::with_capacity(512);
    if expiries.is_empty() {
        bytes.extend_from_slice(&FIRST_VERSION.to_be_bytes());
        bincode::encode_into_std_write(first, &mut bytes, CONFIG).map_err(EncodeError::Form)?;
    } else {
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bincode::encode_into_std_write(v2::V2Payload { first, expiries }, &mut bytes, CONFIG)
            .map_err(EncodeError::Form)?;
    }
    if bytes.len() > PAYLOAD_MAX {
        return Err(EncodeError::TooLong { len: bytes.len() });
    }
    Ok(bytes)
}

/// Decodes a payload, without opening what is sealed.
///
/// # Errors
/// [`DecodeError`] for bytes that [`encode`] could not have written; never panics.
pub fn decode(bytes: &[u8]) -> Result<StoredEvent<'_>, DecodeError> {
    if bytes.len() > PAYLOAD_MAX {
        return Err(DecodeError::TooLong { len: bytes.len() });
    }
    let cut = || DecodeError::Form(bincode::error::DecodeError::UnexpectedEnd { additional: 2 - bytes.len() });
    let (version, rest) = bytes.split_first_chunk::<2>().ok_or_else(cut)?;
    match u16::from_be_bytes(*version) {
        FIRST_VERSION => read::stored(rest),
        VERSION => v2::read(rest),
        found => Err(DecodeError::UnknownVersion { found }),
    }
}

impl StoredEvent<'_> {
    /// The body with every sealed field filled in whose key is there. A note's text and other fields that
    /// are erased or unavailable stay empty; [`StoredEvent::texts`] tells which.
    ///
    /// # Errors
    /// [`OpenError`] when a value was changed, or the keyring holds another key.
    pub fn open_body(&self, keys: &dyn Keys) -> Result<Body, OpenError> {
        let mut body = self.body.clone();
        if let Body::Fact { event, .. } = &mut body {
            for sealed in &self.sealed {
                if let Opened::Plain(text) = sealed.value.open_text(keys)? {
                    fill(&mut event.fact, sealed, text)?;
                }
            }
        }
        Ok(body)
    }

    /// The texts of all sealed fields, in the order of [`StoredEvent::sealed`].
    ///
    /// # Errors
    /// [`OpenError`] when a value was changed, or the keyring holds another key.
    pub fn texts(&self, keys: &dyn Keys) -> Result<Vec<(Field, Opened<String>)>, OpenError> {
        self.sealed.iter().map(|sealed| Ok((sealed.field, sealed.value.open_text(keys)?))).collect()
    }
}

fn fill(fact: &mut Fact, sealed: &SealedField<'_>, text: String) -> Result<(), OpenError> {
    let mut fact = fact;
    for _ in 0..sealed.depth {
        match fact {
            Fact::Corrected { correction: Correction::Supersede { fact: inner, .. }, .. } => fact = inner,
            _ => return Ok(()),
        }
    }
    match (fact, sealed.field) {
        (
            Fact::Held { reason: slot, .. }
            | Fact::Released { reason: slot, .. }
            | Fact::Adjusted { reason: slot, .. }
            | Fact::Corrected { reason: slot, .. },
            Field::Reason,
        )
        | (
            Fact::ItemDefined { name: slot, .. }
            | Fact::PlaceDefined { name: slot, .. }
            | Fact::PartyDefined { name: slot, .. },
            Field::Name,
        ) => *slot = Some(text),
        (Fact::Corrected { actor, .. }, Field::Actor) => {
            let parsed = ActorId::parse(&text).map_err(|_| OpenError::Content(sealed.value.key_id()))?;
            *actor = Some(parsed);
        }
        (Fact::Noted { what, .. }, Field::Note) => *what = text,
        // The reader made the list of fields from this very fact.
        _ => {}
    }
    Ok(())
}
