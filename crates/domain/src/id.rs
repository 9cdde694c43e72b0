//! Names of things: parsed once at the edge, compared by value ever after.

use std::fmt;

use smol_str::SmolStr;
use thiserror::Error;

/// The longest name, in bytes of UTF-8.
pub const NAME_MAX: usize = 200;

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("is {len} bytes long; at most {NAME_MAX} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// A control character.
    #[error("has a control character at byte {at}")]
    Control {
        /// Byte offset of the first one.
        at: usize,
    },
    /// White space at the beginning or the end.
    #[error("begins or ends with white space")]
    Padded,
}

fn check_name(text: &str) -> Result<(), NameError> {
    // Nearly all names are printable ASCII without a blank, which needs none of what follows.
    if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    if text.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_MAX {
        return Err(NameError::TooLong { len: text.len() });
    }
    if let Some(at) = text.find(char::is_control) {
        return Err(NameError::Control { at });
    }
    if text.trim() != text {
        return Err(NameError::Padded);
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// Parses a name: not empty, no control characters, not padded, at most [`NAME_MAX`] bytes.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check_name(text)?;
                Ok(Self(text.into()))
            }

            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }
    )+};
}

names! {
    /// What a batch is a batch of: a GTIN or an internal item code.
    ItemId,
    /// A company or a site outside of the walls: supplier, customer, carrier.
    PartyId,
    /// A place inside the walls: site, building, line, bin.
    LocationId,
    /// A location with a mix model: tank, silo, hopper.
    VesselId,
    /// A pallet, case or tote that holds goods and moves: an SSCC or an internal code.
    ContainerId,
    /// Goods on their way under one consignment.
    ShipmentId,
    /// The printed or spoken code of a batch, without its item.
    BatchCode,
    /// An event's own id, given by its source or derived from its content.
    EventId,
    /// A command's own id; an observation's is its event id.
    CommandId,
    /// The system or device that reported: an ERP, a scanner, a partner's gateway.
    SourceId,
    /// One hold; a release may name it.
    HoldId,
    /// The name of a run within its source.
    RunName,
    /// A person or system that answers for a correction or a decision.
    ActorId,
}

/// Which use of a re-used code is meant; 1 is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Default for Generation {
    fn default() -> Self {
        Self(1)
    }
}

/// The identity of a batch (lot): item, issuer, code and generation.
///
/// The same code is re-used across suppliers, items and years, so a code alone is never an identity.
/// Written `item/code`, `item/code@issuer`, `item/code#2`, `item/code@issuer#2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    /// What it is a batch of.
    pub item: ItemId,
    /// Who gave the code; `None` is the ledger's own company.
    pub issuer: Option<PartyId>,
    /// The code on the label.
    pub code: BatchCode,
    /// Which use of the code.
    pub generation: Generation,
}

impl BatchId {
    /// The first generation of an own batch.
    pub fn own(item: ItemId, code: BatchCode) -> Self {
        Self { item, issuer: None, code, generation: Generation::default() }
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.item, self.code)?;
        if let Some(issuer) = &self.issuer {
            write!(f, "@{issuer}")?;
        }
        if self.generation != Generation::default() {
            write!(f, "#{}", self.generation.0)?;
        }
        Ok(())
    }
}

/// How a fact names a batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BatchRef {
    /// Fully.
    Known(BatchId),
    /// By its code alone; which batch that is follows from the batches known with this code.
    Code(BatchCode),
}

impl fmt::Display for BatchRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(id) => id.fmt(f),
            Self::Code(code) => write!(f, "?/{code}"),
        }
    }
}

/// The identity of a production run: "line 3" every day must not be one hub.
///
/// Written `source:name` or `source:name#2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    /// Who names it.
    pub source: SourceId,
    /// Its name there.
    pub name: RunName,
    /// Which use of the name.
    pub generation: Generation,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.name)?;
        if self.generation != Generation::default() {
            write!(f, "#{}", self.generation.0)?;
        }
        Ok(())
    }
}

/// Where what leaves the book goes, and where what nobody explained comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sink {
    /// Used up without a run that says for what.
    Consumed,
    /// Lost: spill, shrinkage, giveaway.
    Loss,
    /// Taken as a sample.
    Sample,
    /// Destroyed or otherwise disposed of.
    Destroyed,
    /// The difference of a count or an adjustment.
    Adjustment,
    /// Appeared or vanished, and no record says how.
    Unexplained,
}

impl Sink {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Consumed, Self::Loss, Self::Sample, Self::Destroyed, Self::Adjustment, Self::Unexplained];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Consumed => "consumed",
            Self::Loss => "loss",
            Self::Sample => "sample",
            Self::Destroyed => "destroyed",
            Self::Adjustment => "adjustment",
            Self::Unexplained => "unexplained",
        }
    }
}

/// Where a quantity of a batch can be.
///
/// Written: a location by its bare name, the others with a prefix (`vessel:S1`, `container:SSCC1`,
/// `transit:SH-9`, `party:C1`, `sink:loss`, `unplaced`). Ordered as declared, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Inside the walls.
    Location(LocationId),
    /// In a vessel, mixed with what else is there.
    Vessel(VesselId),
    /// In a container, wherever that is.
    Container(ContainerId),
    /// On its way.
    Transit(ShipmentId),
    /// Outside of the walls.
    Party(PartyId),
    /// Out of the book.
    Sink(Sink),
    /// The batch's own slice for what left from nobody knows where.
    Unplaced,
}

/// Why a text is not a place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// The name behind the prefix is not a name.
    #[error("the name of the place {0}")]
    Name(NameError),
    /// `sink:` with another word.
    #[error("{0:?} is no sink; the sinks are consumed, loss, sample, destroyed, adjustment, unexplained")]
    UnknownSink(String),
}

impl Place {
    /// Parses the written form.
    ///
    /// # Errors
    /// [`PlaceError`] when the name behind the prefix is none.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let name = PlaceError::Name;
        match text.split_once(':') {
            Some(("vessel", rest)) => Ok(Self::Vessel(VesselId::parse(rest).map_err(name)?)),
            Some(("container", rest)) => Ok(Self::Container(ContainerId::parse(rest).map_err(name)?)),
            Some(("transit", rest)) => Ok(Self::Transit(ShipmentId::parse(rest).map_err(name)?)),
            Some(("party", rest)) => Ok(Self::Party(PartyId::parse(rest).map_err(name)?)),
            Some(("location", rest)) => Ok(Self::Location(LocationId::parse(rest).map_err(name)?)),
            Some(("sink", rest)) => Sink::ALL
                .into_iter()
                .find(|sink| sink.word() == rest)
                .map(Self::Sink)
                .ok_or_else(|| PlaceError::UnknownSink(rest.to_owned())),
            _ if text == "unplaced" => Ok(Self::Unplaced),
            _ => Ok(Self::Location(LocationId::parse(text).map_err(name)?)),
        }
    }

    /// True for a sink.
    pub fn is_sink(&self) -> bool {
        matches!(self, Self::Sink(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(id) => {
                let bare = id.as_str();
                let needs_prefix = Self::parse(bare) != Ok(self.clone());
                if needs_prefix { write!(f, "location:{bare}") } else { f.write_str(bare) }
            }
            Self::Vessel(id) => write!(f, "vessel:{id}"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Transit(id) => write!(f, "transit:{id}"),
            Self::Party(id) => write!(f, "party:{id}"),
            Self::Sink(sink) => write!(f, "sink:{}", sink.word()),
            Self::Unplaced => f.write_str("unplaced"),
        }
    }
}

/// The party that stands for "nobody said who".
pub fn unknown_party() -> PartyId {
    PartyId("unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_what_it_prints() {
        for text in
            ["dock 3", "vessel:S1", "container:x:y", "transit:SH-9", "party:C1", "sink:loss", "unplaced", "urn:gdst:a"]
        {
            let place = Place::parse(text).expect("a place");
            assert_eq!(Place::parse(&place.to_string()), Ok(place.clone()), "{text}");
        }
        let odd = Place::Location(LocationId::parse("party:C1").expect("a name"));
        assert_eq!(odd.to_string(), "location:party:C1");
        assert_eq!(Place::parse(&odd.to_string()), Ok(odd));
    }

    #[test]
    fn bad_names_are_refused_with_their_reason() {
        assert_eq!(ItemId::parse(" "), Err(NameError::Empty));
        assert_eq!(ItemId::parse("a\tb"), Err(NameError::Control { at: 1 }));
        assert_eq!(ItemId::parse("a "), Err(NameError::Padded));
        assert_eq!(ItemId::parse(&"x".repeat(201)), Err(NameError::TooLong { len: 201 }));
        assert!(matches!(Place::parse("sink:hole"), Err(PlaceError::UnknownSink(_))));
    }
}
