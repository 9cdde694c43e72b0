//! GS1 keys and what is written like them: parsed, checked, compared, printed.
//!
//! The same thing is written in several ways: an EPC URN (`urn:epc:class:lgtin:0614141.077777.987`), a
//! GS1 Digital Link of any domain (`https://example.com/01/00614141777778/10/987`), a bracketed element
//! string (`(01)00614141777778(10)987`). [`Identifier`] is what they have in common, so that two of them
//! are equal when they name the same thing. GDST URNs are identifiers of the same kinds in a name space
//! of their own.
//!
//! [`Identifier::parse`] is strict. [`read`] is for records of what has happened: it never fails, takes a
//! key as it is printed even when its check digit is wrong, and says what is wrong with it.
//!
//! This room never does I/O, knows nothing of batches, events or places, and keeps no table of company
//! prefixes: from digits alone no company prefix can be told, so URNs are read and never written.

mod date;
mod element;
mod epc;
mod error;
mod gdst;
mod identifier;
mod key;
mod link;

pub use date::{ShortDate, expiry};
pub use element::{ElementString, element_string};
pub use error::{Fault, IdError};
pub use identifier::{Identifier, Item, Locus, Reading, read};
pub use key::{Gln, Gtin, Sscc, check_digit};
