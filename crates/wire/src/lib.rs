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
//! # Adding version 2 of the stored payload
//!
//! Version 1 stays as it is for ever: ledgers hold it. A change of what is stored is a new version:
//!
//! 1. Write the new layout into `schemas/payload-format.md`, as version 2 beside version 1.
//! 2. Copy `payload/v1.rs` to `payload/v2.rs` with `V2…` structs and change those; copy `payload/write.rs`
//!    and `payload/read.rs` the same way (`read_v2.rs`). Of version 1 keep `v1.rs` and `read.rs` only.
//! 3. In `payload.rs` set `VERSION` to 2, and let `decode` choose by the first two bytes. Reading version
//!    1 *is* the upcast: `read.rs` makes today's domain values of yesterday's bytes. What version 1 could
//!    not say becomes the value that it meant then, never a guess.
//! 4. Add golden files in `schemas/payloads/v2/`; those of `v1/` stay, and have to read back for ever.
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
