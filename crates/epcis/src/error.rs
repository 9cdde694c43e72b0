//! What can be wrong with a document, and with one event of it.

use std::fmt;

use thiserror::Error;

/// Where in a document something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The way to it: `epcisBody.eventList[3].quantityList[0].uom`; empty for the whole document.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in bytes, from 1.
    pub column: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{} ", self.path)?;
        }
        write!(f, "(line {}, column {})", self.line, self.column)
    }
}

/// Why a document is refused as a whole. Nothing of it may be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CaptureError {
    /// More bytes than allowed.
    #[error("the document has {size} bytes, and {limit} are allowed; capture it in parts")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("the document is not UTF-8: byte {at} begins no character")]
    NotUtf8 {
        /// Bytes before the damage.
        at: usize,
    },
    /// Not JSON.
    #[error("the document is not JSON: {spot}: {reason}")]
    Syntax {
        /// Where reading stopped.
        spot: Spot,
        /// What the reader says.
        reason: String,
    },
    /// JSON, and no EPCIS document, query document, event or list of events.
    #[error("the document is not EPCIS: {spot}: {reason}")]
    NotEpcis {
        /// What is not as expected.
        spot: Spot,
        /// How.
        reason: String,
    },
}

/// Why one event is refused; the others of its document may be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{spot}: {fault}")]
pub struct EventError {
    /// What is wrong.
    pub spot: Spot,
    /// How.
    pub fault: Fault,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A field that has to be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Another type than expected.
    #[error("is {found}, and should be {expected}")]
    Type {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// One name twice in an object: which one counts cannot be told.
    #[error("has {0:?} twice")]
    Twice(String),
    /// Nested too deeply.
    #[error("is nested more than {0} levels deep")]
    Deep(usize),
    /// Not one of the allowed words.
    #[error("{found:?} is not one of {allowed}")]
    Word {
        /// What it is.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Not a time with its offset.
    #[error(transparent)]
    Time(#[from] lotline_domain::time::TimeError),
    /// Not an offset such as `+01:00`.
    #[error("{0:?} is not an offset such as +01:00")]
    Offset(String),
    /// Not a unit.
    #[error(transparent)]
    Unit(#[from] lotline_domain::unit::UnknownUnit),
    /// Not a quantity.
    #[error(transparent)]
    Quantity(#[from] lotline_domain::quantity::QuantityError),
    /// Cannot be a name.
    #[error("{0}")]
    Name(#[from] lotline_domain::id::NameError),
    /// Two events of the document have one id and different content.
    #[error("event id {id:?} is that of {other} too, with other content")]
    Conflict {
        /// The id.
        id: String,
        /// Path of the first event.
        other: String,
    },
}
