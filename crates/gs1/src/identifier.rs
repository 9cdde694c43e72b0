//! What a written identifier names.

use std::fmt;

use crate::error::IdError;
use crate::key::{Gln, Gtin, Sscc};
use crate::{element, epc, gdst, link};

/// A kind of goods: every batch and every serialised unit is of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A GS1 trade item.
    Gtin(Gtin),
    /// A product class of the GDST name space: the URN `urn:gdst:…:product:class:…`.
    Gdst(String),
}

/// A place or a party.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Locus {
    /// A GLN, with its extension (AI 254) where it has one: a door, a shelf.
    Gln {
        /// The number.
        gln: Gln,
        /// The extension; `0` in an SGLN means none.
        extension: Option<String>,
    },
    /// A URN of the GDST name space.
    Gdst(String),
}

/// What an identifier names. Equal when the same thing is named, however it was written.
///
/// Prints as its canonical form: a Digital Link of `id.gs1.org` for what has a GS1 key, the URN for what
/// is of GDST, the text itself for the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// A batch (lot) of an item: LGTIN, AI 01 + 10, GDST lot.
    Batch {
        /// Of what.
        item: Item,
        /// The batch code.
        code: String,
    },
    /// One unit of an item: SGTIN, AI 01 + 21, GDST serial. A batch code beside a serial is not part of
    /// the identity.
    Serial {
        /// Of what.
        item: Item,
        /// The serial number.
        serial: String,
    },
    /// An item without batch or serial.
    Class {
        /// Which.
        item: Item,
    },
    /// A logistic unit.
    Container(Sscc),
    /// A physical place: SGLN, AI 414, GDST location.
    Location(Locus),
    /// A company or organisation: PGLN, AI 417, GDST party.
    Party(Locus),
    /// Anything else, such as an asset (GRAI, GIAI), a document (GDTI), `geo:` or a URL. Assets and
    /// documents are in Digital Link form, so that URN and link are equal; the rest is as written.
    Other(String),
}

/// What a record wrote, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it names; [`Identifier::Other`] when that cannot be told.
    pub id: Identifier,
    /// What is wrong with it, if anything.
    pub flaw: Option<IdError>,
}

impl Reading {
    pub(crate) fn of(id: Identifier, checks: impl IntoIterator<Item = Result<(), IdError>>) -> Self {
        Self { id, flaw: checks.into_iter().find_map(Result::err) }
    }
}

/// Reads an identifier out of a record of what has happened. Never fails: a wrong check digit or a code
/// that is too long is taken as printed, what cannot be understood is [`Identifier::Other`]; both are told.
#[must_use]
pub fn read(text: &str) -> Reading {
    dispatch(text).unwrap_or_else(|flaw| Reading { id: Identifier::Other(text.to_owned()), flaw: Some(flaw) })
}

fn dispatch(text: &str) -> Result<Reading, IdError> {
    if text.is_empty() {
        return Err(IdError::form("identifier", text, "is empty"));
    }
    if let Some(rest) = strip_prefix_ignoring_case(text, "urn:epc:") {
        return epc::read(text, rest);
    }
    if let Some(rest) = strip_prefix_ignoring_case(text, "urn:gdst:") {
        return Ok(gdst::read(text, rest));
    }
    for scheme in ["https://", "http://"] {
        if let Some(rest) = strip_prefix_ignoring_case(text, scheme) {
            return link::read(text, rest);
        }
    }
    if text.starts_with('(') {
        return element::read(text);
    }
    Ok(Reading::of(Identifier::Other(text.to_owned()), []))
}

pub(crate) fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

impl Identifier {
    /// Parses an EPC URN, a Digital Link, a GDST URN or a bracketed element string. Another URI is
    /// [`Identifier::Other`].
    ///
    /// # Errors
    /// [`IdError`] for a key of one of these kinds that is written wrongly.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let reading = dispatch(text)?;
        match reading.flaw {
            Some(flaw) => Err(flaw),
            None => Ok(reading.id),
        }
    }

    /// The item of a batch, a serialised unit or a class.
    #[must_use]
    pub fn item(&self) -> Option<&Item> {
        match self {
            Self::Batch { item, .. } | Self::Serial { item, .. } | Self::Class { item } => Some(item),
            _ => None,
        }
    }

    /// The bracketed element string, for what has one.
    #[must_use]
    pub fn element_string(&self) -> Option<String> {
        match self {
            Self::Batch { item: Item::Gtin(gtin), code } => Some(format!("(01){gtin}(10){}", escape(code))),
            Self::Serial { item: Item::Gtin(gtin), serial } => Some(format!("(01){gtin}(21){}", escape(serial))),
            Self::Class { item: Item::Gtin(gtin) } => Some(format!("(01){gtin}")),
            Self::Container(sscc) => Some(format!("(00){sscc}")),
            Self::Location(Locus::Gln { gln, extension }) => Some(match extension {
                Some(extension) => format!("(414){gln}(254){}", escape(extension)),
                None => format!("(414){gln}"),
            }),
            Self::Party(Locus::Gln { gln, .. }) => Some(format!("(417){gln}")),
            _ => None,
        }
    }
}

fn escape(value: &str) -> String {
    value.replace('(', "\\(")
}

impl Item {
    /// The fourteen digits or the URN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Gtin(gtin) => gtin.as_str(),
            Self::Gdst(urn) => urn,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Locus {
    /// The thirteen digits, with `.extension` where there is one, or the URN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gln { gln, extension: None } => write!(f, "{gln}"),
            Self::Gln { gln, extension: Some(extension) } => write!(f, "{gln}.{extension}"),
            Self::Gdst(urn) => f.write_str(urn),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOST: &str = "https://id.gs1.org";
        match self {
            Self::Batch { item: Item::Gtin(gtin), code } => write!(f, "{HOST}/01/{gtin}/10/{}", link::encode(code)),
            Self::Serial { item: Item::Gtin(gtin), serial } => {
                write!(f, "{HOST}/01/{gtin}/21/{}", link::encode(serial))
            }
            Self::Class { item } => match item {
                Item::Gtin(gtin) => write!(f, "{HOST}/01/{gtin}"),
                Item::Gdst(urn) => f.write_str(urn),
            },
            Self::Batch { item: Item::Gdst(urn), code } => f.write_str(&gdst::batch_urn(urn, code)),
            Self::Serial { item: Item::Gdst(urn), serial } => f.write_str(&gdst::serial_urn(urn, serial)),
            Self::Container(sscc) => write!(f, "{HOST}/00/{sscc}"),
            Self::Location(Locus::Gln { gln, extension: None }) => write!(f, "{HOST}/414/{gln}"),
            Self::Location(Locus::Gln { gln, extension: Some(extension) }) => {
                write!(f, "{HOST}/414/{gln}/254/{}", link::encode(extension))
            }
            Self::Party(Locus::Gln { gln, .. }) => write!(f, "{HOST}/417/{gln}"),
            Self::Location(Locus::Gdst(urn)) | Self::Party(Locus::Gdst(urn)) | Self::Other(urn) => f.write_str(urn),
        }
    }
}
