//! Every stored or sent form, by version.
//!
//! | module | form |
//! |---|---|
//! | [`payload`] | what stands in a ledger entry: versioned, binary, byte for byte in `schemas/payload-format.md` |
//! | [`key`] | the keys under which an entry is found |
//! | [`seal`] | ciphertext of what may name a person, and the keys to it |
//! | [`content`] | whether two commands of one id say the same |
//! | [`command`] | commands as JSON, one per line; schemas and examples in `schemas/commands/` |
//! | [`answer`] | answers as JSON; schemas and examples in `schemas/answers/` |
//! | [`question`] | questions as JSON; schemas and examples in `schemas/queries/` |
//! | [`feed`] | changes of read models as JSON |
//! | [`channel`] | names on a NATS server: subjects, streams, headers |
//!
//! This room never reads a clock, draws no randomness, opens no file, and never decides anything: it turns
//! bytes into domain values, or refuses them, and back. Stored structs and sent structs are different
//! types, and neither is the domain's.
//!
//! # Adding a version of the stored payload
//!
//! Versions 1 and 2 stay as they are for ever: ledgers hold them. A change of what is stored is a new version:
//!
//! 1. Write the new layout into `schemas/payload-format.md`, beside the others.
//! 2. What is added beside a fact is told behind the older version's bytes, as `payload/v2.rs` tells expiry dates
//!    behind version 1: then what lacks it is still written as before, and older programs read it. For what changes
//!    inside of a fact, copy `payload/v1.rs` with structs of a new prefix, and `write.rs` and `read.rs` with it.
//! 3. In `payload.rs` raise `VERSION`, and let `decode` choose by the first two bytes. Reading an older version *is*
//!    the upcast: it makes today's domain values of yesterday's bytes. What that version could not say becomes the
//!    value that it meant then, never a guess.
//! 4. Add golden files in a folder of `schemas/payloads/`; the others stay, and have to read back for ever.
//! 5. The content hash is over the canonical JSON of a command. A new field of a fact has to be left out
//!    of that JSON where it has the meaning that its absence had before, or old commands that come again
//!    would be taken for conflicts.
//! 6. Keys of entries never change their meaning; a new thing to look up gets a new kind, and entries of
//!    earlier versions are not found under it: say so where it is asked.

pub mod answer;
mod asyncapi;
pub mod channel;
pub mod command;
pub mod content;
pub mod feed;
pub mod key;
mod names;
pub mod payload;
pub mod question;
mod schema;
pub mod seal;

pub use schema::schemas;
