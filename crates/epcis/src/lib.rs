//! EPCIS 2.0 documents in JSON, to domain facts.
//!
//! [`parse`] takes the bytes of a document, a query document, a list of events or a single event. What
//! cannot be read at all is refused as a whole ([`CaptureError`]); else each event is mapped, found to be
//! a repetition, or refused with its reason and place, so that the caller can record all or none of them
//! (`rollback`) or the good ones (`proceed`). The mapping is the table in `schemas/epcis-mapping.md`.
//!
//! A document is held in memory as one text of at most [`Options::max_bytes`] bytes; beside it only one
//! event at a time is taken apart, and every mapped event keeps its own original.
//!
//! This room never does I/O, reads no clock, and never looks at what was captured before: an event maps to
//! the same facts whatever it stands beside.

mod capture;
mod content;
mod error;
mod event;
mod json;
mod map;
mod master;
pub mod names;
mod vocabulary;

pub use capture::{Captured, CapturedEvent, DocumentKind, Mapped, Options, Outcome, parse};
pub use content::ContentHash;
pub use error::{CaptureError, EventError, Fault, Spot};

/// Version of the mapping in `schemas/epcis-mapping.md`. It is stored with what is mapped; a later version
/// is applied to what was captured by recorded corrections.
pub const MAPPING_VERSION: u16 = 2;

/// The largest document, in bytes, that is taken unless the caller says otherwise: 64 MiB.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Something about an event that was taken as it is and deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Byte offset within the event's original.
    pub at: usize,
    /// What.
    pub text: String,
}
