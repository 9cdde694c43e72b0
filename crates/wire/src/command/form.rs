//! The small forms: names, places, batches, quantities, times. Each reads strictly, prints canonically,
//! and describes itself as JSON Schema.

mod quantity;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use lotline_domain::command::Mode;
use lotline_domain::expiry::{Expires, Zone};
use lotline_domain::fact::{Destination, MixModel};
use lotline_domain::id::{
    BatchCode, BatchId, BatchRef, ContainerId, Generation, ItemId, LocationId, NAME_MAX, PartyId, Place, RunId,
    RunName, ShipmentId, Sink, SourceId, VesselId,
};
use lotline_domain::time::{Instant, OccurredAt, Precision, TimeError};
use lotline_domain::unit::Unit;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use crate::names::Name;

pub(crate) use quantity::{DifferenceForm, QuantityForm};

/// A form that is a JSON string.
pub(crate) trait Word: Sized {
    /// For the message when it is no string: `a place, such as …`.
    const WHAT: &'static str;
    /// Reads the string; the error says what is wrong and what would do.
    fn read(text: &str) -> Result<Self, String>;
    /// The canonical string.
    fn print(&self) -> Cow<'_, str>;
    /// The schema of the string.
    fn schema() -> Schema;
}

struct WordVisitor<T>(PhantomData<T>);

impl<T: Word> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", T::WHAT)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }
}

macro_rules! words {
    ($([$($generic:tt)*] $form:ty),+ $(,)?) => {$(
        impl<'de, $($generic)*> Deserialize<'de> for $form {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(WordVisitor(PhantomData))
            }
        }

        impl<$($generic)*> Serialize for $form {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.print())
            }
        }

        impl<$($generic)*> JsonSchema for $form {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed(Self::WHAT)
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Self::schema()
            }
        }
    )+};
}

words! {
    [T: Name] Text<T>,
    [T: Placed] Named<T>,
    [] PlaceText,
    [] DestinationText,
    [] TimeText,
    [] InstantText,
    [] ExpiresText,
    [] ZoneText,
    [] UnitText,
    [] SinkWord,
    [] ModeWord,
    [] MixWord,
}

/// A plain name.
#[derive(Debug, Clone)]
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Name> Word for Text<T> {
    const WHAT: &'static str = T::WHAT;

    fn read(text: &str) -> Result<Self, String> {
        T::from_text(text).map(Self).map_err(|error| format!("the {} {error}", T::WHAT))
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0.text())
    }

    fn schema() -> Schema {
        name_schema(T::WHAT)
    }
}

/// What a name is made of, as a regular expression.
const NAME: &str =
    "[^\\s\\u0000-\\u001f\\u007f-\\u009f]([^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f])?";

fn name_schema(what: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": NAME_MAX,
        "pattern": format!("^{NAME}$"),
        "description": format!("A {what}: at most {NAME_MAX} bytes of UTF-8, no control characters, no white space at either end."),
    })
}

/// A name that also has a place's written form.
pub(crate) trait Placed: Name {
    /// Takes it out of a place that is of this kind.
    fn out_of(place: Place) -> Option<Self>;
    /// The prefix of its written form, with the colon.
    const PREFIX: &'static str;
}

macro_rules! placed {
    ($($name:ident: $variant:ident, $prefix:literal);+ $(;)?) => {$(
        impl Placed for $name {
            const PREFIX: &'static str = $prefix;

            fn out_of(place: Place) -> Option<Self> {
                match place {
                    Place::$variant(id) => Some(id),
                    _ => None,
                }
            }
        }
    )+};
}

placed! {
    PartyId: Party, "party:";
    ContainerId: Container, "container:";
    VesselId: Vessel, "vessel:";
    ShipmentId: Transit, "transit:";
    LocationId: Location, "location:";
}

/// The name of a party, container, vessel, shipment or location where only that can stand: bare, or in
/// the written form of a place (`party:C1`), so that the two are never confused.
#[derive(Debug, Clone)]
pub(crate) struct Named<T>(pub(crate) T);

const PREFIXES: [&str; 6] = ["party:", "container:", "vessel:", "transit:", "location:", "sink:"];

/// Whether a bare name would be read as the written form of a place.
fn reads_as_place(text: &str) -> bool {
    text == "unplaced" || (text.contains(':') && PREFIXES.iter().any(|prefix| text.starts_with(prefix)))
}

impl<T: Placed> Word for Named<T> {
    const WHAT: &'static str = T::WHAT;

    fn read(text: &str) -> Result<Self, String> {
        if !reads_as_place(text) {
            return Text::read(text).map(|Text(name)| Self(name));
        }
        let place = Place::parse(text).map_err(|error| error.to_string())?;
        T::out_of(place)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is another kind of place; a {} belongs here", T::WHAT))
    }

    fn print(&self) -> Cow<'_, str> {
        let bare = self.0.text();
        if reads_as_place(bare) { Cow::Owned(format!("{}{bare}", T::PREFIX)) } else { Cow::Borrowed(bare) }
    }

    fn schema() -> Schema {
        let mut schema = name_schema(T::WHAT);
        let prefix = T::PREFIX;
        let others: Vec<&str> =
            PREFIXES.iter().filter(|other| **other != prefix).map(|other| other.trim_end_matches(':')).collect();
        schema
            .insert("not".to_owned(), serde_json::json!({"pattern": format!("^(({}):|unplaced$)", others.join("|"))}));
        schema.insert("description".to_owned(), format!("A {}: its bare name, or {prefix}NAME.", T::WHAT).into());
        // The prefix comes on top of the name.
        schema.insert("maxLength".to_owned(), (NAME_MAX + prefix.len()).into());
        schema
    }
}

/// Any place where goods can lie: a sink is none. What leaves the book is told by `disposed`, or as a loss of a
/// run, and nothing is taken, seen, counted or held where nothing lies.
#[derive(Debug, Clone)]
pub(crate) struct PlaceText(pub(crate) Place);

impl Word for PlaceText {
    const WHAT: &'static str = "place, such as \"dock-1\", \"vessel:S1\", \"container:SSCC1\" or \"party:C1\"";

    fn read(text: &str) -> Result<Self, String> {
        match Place::parse(text) {
            Ok(Place::Sink(sink)) => Err(format!(
                "{text:?} is a sink, where nothing lies; name a place, and tell what left the book with \"disposed\" \
                 and \"sink\":\"{}\", or as a loss of its run",
                sink.word()
            )),
            Ok(place) => Ok(Self(place)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn print(&self) -> Cow<'_, str> {
        match &self.0 {
            Place::Location(id) if !reads_as_place(id.as_str()) => Cow::Borrowed(id.as_str()),
            place => Cow::Owned(place.to_string()),
        }
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": NAME_MAX + "container:".len(),
            "pattern": "^((location|vessel|container|transit|party):\\S|(?!(location|vessel|container|transit|party|sink):)\\S)",
            "description": "A place: a location by its bare name (or location:NAME), vessel:NAME, container:NAME, transit:SHIPMENT, party:NAME, or unplaced. No sink: nothing lies there.",
        })
    }
}

/// Where a shipment goes: a party or an own location.
#[derive(Debug, Clone)]
pub(crate) struct DestinationText(pub(crate) Destination);

impl Word for DestinationText {
    const WHAT: &'static str = "destination, such as \"party:C1\" or \"site-2\"";

    fn read(text: &str) -> Result<Self, String> {
        match Place::parse(text).map_err(|error| error.to_string())? {
            Place::Party(id) => Ok(Self(Destination::Party(id))),
            Place::Location(id) => Ok(Self(Destination::Location(id))),
            _ => Err(format!("{text:?} is no destination: a shipment goes to a party (party:NAME) or a location")),
        }
    }

    fn print(&self) -> Cow<'_, str> {
        let place = match &self.0 {
            Destination::Party(id) => Place::Party(id.clone()),
            Destination::Location(id) => Place::Location(id.clone()),
        };
        Cow::Owned(place.to_string())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": NAME_MAX + "location:".len(),
            "pattern": "^((location|party):\\S|(?!(location|vessel|container|transit|party|sink):|unplaced$)\\S)",
            "description": "Where a shipment goes: party:NAME, or a location by its bare name (or location:NAME).",
        })
    }
}

/// When it happened.
#[derive(Debug, Clone)]
pub(crate) struct TimeText(pub(crate) OccurredAt);

impl Word for TimeText {
    const WHAT: &'static str = "time with its offset, such as \"2026-03-01T08:00:00+01:00\"";

    fn read(text: &str) -> Result<Self, String> {
        OccurredAt::parse(text).map(Self).map_err(|error| error.to_string())
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-5][0-9](\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})|(Z|[+-][0-9]{2}:?[0-9]{2}))$",
            "description": "RFC 3339 with its offset (2026-03-01T08:00:00+01:00), or a local day with its offset (2026-03-01+01:00). Microseconds at most; finer digits are cut. A second 60 is refused: leap seconds are not counted.",
        })
    }
}

/// An instant; printed in UTC.
#[derive(Debug, Clone)]
pub(crate) struct InstantText(pub(crate) Instant);

impl Word for InstantText {
    const WHAT: &'static str = "time with its offset, such as \"2026-03-01T07:00:00Z\"";

    fn read(text: &str) -> Result<Self, String> {
        match OccurredAt::parse(text) {
            Ok(OccurredAt { instant, precision: Precision::Instant, .. }) => Ok(Self(instant)),
            Ok(_) => Err(format!("{text:?} is a day, and a time is needed, such as 2026-03-01T07:00:00Z")),
            Err(TimeError::Form(_)) => {
                Err(format!("{text:?} is not a time with its offset, such as 2026-03-01T07:00:00Z"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-5][0-9](\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
            "description": "RFC 3339 with its offset. A second 60 is refused: leap seconds are not counted.",
        })
    }
}

/// Until when goods are good.
#[derive(Debug, Clone)]
pub(crate) struct ExpiresText(pub(crate) Expires);

impl Word for ExpiresText {
    const WHAT: &'static str = "day, such as \"2026-12-01\", or time with its offset";

    fn read(text: &str) -> Result<Self, String> {
        Expires::parse(text).map(Self).map_err(|error| error.to_string())
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-5][0-9](\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$",
            "description": "Until when goods are good: a day (2026-12-01), to its end by the clock of the place where they are, or RFC 3339 with its offset (2026-12-01T12:00:00+01:00). Years 0001 to 9999.",
        })
    }
}

/// A time zone's name.
#[derive(Debug, Clone)]
pub(crate) struct ZoneText(pub(crate) String);

impl Word for ZoneText {
    const WHAT: &'static str = "time zone of the IANA database, such as \"Europe/Berlin\"";

    fn read(text: &str) -> Result<Self, String> {
        Zone::parse(text).map(|zone| Self(zone.name().to_owned())).map_err(|error| error.to_string())
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z0-9_+/-]+$",
            "description": "A time zone by its name in the IANA database, such as Europe/Berlin; one that is not there is refused.",
        })
    }
}

/// A unit of measure.
#[derive(Debug, Clone)]
pub(crate) struct UnitText(pub(crate) Unit);

impl Word for UnitText {
    const WHAT: &'static str = "unit of UN/ECE Recommendation 20, such as \"KGM\"";

    fn read(text: &str) -> Result<Self, String> {
        Unit::parse(text).map(Self).map_err(|error| error.to_string())
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0.as_str())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9A-Z]{2,3}$",
            "description": "A common code of UN/ECE Recommendation 20 (KGM, GRM, LTR, MTR, C62 …), or of Recommendation 21 behind an X (XPX).",
        })
    }
}

macro_rules! closed_lists {
    ($($(#[$doc:meta])* $form:ident($inner:ty), $what:literal: $($word:literal = $value:expr),+;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(crate) struct $form(pub(crate) $inner);

        impl Word for $form {
            const WHAT: &'static str = $what;

            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self($value)),)+
                    _ => Err(format!("{text:?} is no {}; allowed: {}", $what, [$($word),+].join(", "))),
                }
            }

            fn print(&self) -> Cow<'_, str> {
                $(if self.0 == $value {
                    return Cow::Borrowed($word);
                })+
                unreachable!("the list has every {}", $what)
            }

            fn schema() -> Schema {
                json_schema!({"type": "string", "enum": [$($word),+]})
            }
        }
    )+};
}

closed_lists! {
    /// Where goods go that leave the book.
    SinkWord(Sink), "sink":
        "consumed" = Sink::Consumed, "loss" = Sink::Loss, "sample" = Sink::Sample, "destroyed" = Sink::Destroyed,
        "adjustment" = Sink::Adjustment, "unexplained" = Sink::Unexplained;
    /// Whether a command may be refused.
    ModeWord(Mode), "mode": "intent" = Mode::Intent, "observation" = Mode::Observation;
    /// How a vessel mixes.
    MixWord(MixModel), "mix model": "full" = MixModel::Full, "first-in-first-out" = MixModel::FirstInFirstOut;
}

impl Default for ModeWord {
    fn default() -> Self {
        Self(Mode::Observation)
    }
}

/// A JSON object and nothing else (serde's own structs would also be read from arrays).
#[derive(Debug, Clone)]
pub(crate) struct Object<T>(pub(crate) T);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A list that names at least one thing.
#[derive(Debug, Clone)]
pub(crate) struct Several<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let list = Vec::deserialize(from)?;
        if list.is_empty() { Err(D::Error::custom("has to name at least one")) } else { Ok(Self(list)) }
    }
}

impl<T: Serialize> Serialize for Several<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Owned(format!("several {}", T::schema_name()))
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "minItems": 1, "items": generator.subschema_for::<T>()})
    }
}

/// A whole batch identity.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "batch-id")]
struct BatchFields {
    /// What it is a batch of.
    item: Text<ItemId>,
    /// The code on the label.
    code: Text<BatchCode>,
    /// Who gave the code; left out: the ledger's own company.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<Named<PartyId>>,
    /// Which use of the code; the first is 1.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    generation: u32,
}

fn first() -> u32 {
    1
}

fn is_first(generation: &u32) -> bool {
    *generation == first()
}

/// A batch by its whole identity.
#[derive(Debug, Clone)]
pub(crate) struct BatchIdForm(pub(crate) BatchId);

impl From<BatchFields> for BatchIdForm {
    fn from(fields: BatchFields) -> Self {
        Self(BatchId {
            item: fields.item.0,
            issuer: fields.issuer.map(|issuer| issuer.0),
            code: fields.code.0,
            generation: Generation(fields.generation),
        })
    }
}

impl<'de> Deserialize<'de> for BatchIdForm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Object::<BatchFields>::deserialize(from).map(|Object(fields)| fields.into())
    }
}

impl Serialize for BatchIdForm {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let id = &self.0;
        let mut fields = to.serialize_struct("batch id", 4)?;
        fields.serialize_field("item", id.item.as_str())?;
        fields.serialize_field("code", id.code.as_str())?;
        match &id.issuer {
            Some(issuer) => fields.serialize_field("issuer", &Named(issuer.clone()))?,
            None => fields.skip_field("issuer")?,
        }
        match id.generation.0 {
            1 => fields.skip_field("generation")?,
            more => fields.serialize_field("generation", &more)?,
        }
        fields.end()
    }
}

impl JsonSchema for BatchIdForm {
    fn schema_name() -> Cow<'static, str> {
        BatchFields::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BatchFields::json_schema(generator)
    }
}

/// A batch: an object with its whole identity, or a string with its bare code. A bare code that reads like a full name
/// has `?/` before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchForm(pub BatchRef);

/// What stands before a bare code where it would read like a full name.
const BARE: &str = "?/";

/// Whether a text reads like a batch's full name (`item/code@issuer`) or like a GS1 identifier. Who writes one where a
/// bare code is meant would speak of a batch that nobody else speaks of.
fn is_like_a_name(text: &str) -> bool {
    let starts = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    text.contains('/') || text.starts_with('(') || starts("urn:")
}

/// A bare code as it is written.
fn bare(code: &BatchCode) -> Cow<'_, str> {
    match is_like_a_name(code.as_str()) {
        true => Cow::Owned(format!("{BARE}{code}")),
        false => Cow::Borrowed(code.as_str()),
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = BatchForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch: {\"item\": …, \"code\": …} or its bare code as a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<BatchForm, E> {
        let code = match text.strip_prefix(BARE) {
            Some(code) => code,
            None if is_like_a_name(text) => {
                return Err(E::custom(format!(
                    "{text:?} reads like a full name, and a string is a bare code: write {{\"item\": …, \"code\": …}}, \
                     with \"issuer\" where a supplier gave the code; or {:?} if this is the code itself",
                    format!("{BARE}{text}")
                )));
            }
            None => text,
        };
        Text::read(code).map(|Text(code)| BatchForm(BatchRef::Code(code))).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BatchForm, A::Error> {
        let fields = BatchFields::deserialize(MapAccessDeserializer::new(map))?;
        Ok(BatchForm(BatchRef::Known(BatchIdForm::from(fields).0)))
    }
}

impl<'de> Deserialize<'de> for BatchForm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(BatchVisitor)
    }
}

impl Serialize for BatchForm {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            BatchRef::Known(id) => BatchIdForm(id.clone()).serialize(to),
            BatchRef::Code(code) => to.serialize_str(&bare(code)),
        }
    }
}

impl JsonSchema for BatchForm {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("batch")
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A batch: its whole identity, or its bare code where that is all that is known. A bare code that \
                            reads like a full name (it has a /, or begins with ( or urn:) has ?/ before it.",
            "anyOf": [
                generator.subschema_for::<BatchIdForm>(),
                {"allOf": [Text::<BatchCode>::schema(), {"pattern": "^(?![(]|[uU][rR][nN]:)[^/]*$"}]},
                {"type": "string", "maxLength": BARE.len() + NAME_MAX, "pattern": format!("^[?]/{NAME}$")},
            ],
        })
    }
}

/// The identity of a run: an object, or a string with its name at the command's own source.
#[derive(Debug, Clone)]
pub(crate) enum RunForm {
    /// A name, first use, at the command's own source.
    Own(RunName),
    /// Anything else.
    Whole(RunId),
}

impl RunForm {
    pub(crate) fn of(id: &RunId, source: &SourceId) -> Self {
        if id.source == *source && id.generation == Generation::default() {
            Self::Own(id.name.clone())
        } else {
            Self::Whole(id.clone())
        }
    }

    pub(crate) fn at(self, source: &SourceId) -> RunId {
        match self {
            Self::Own(name) => RunId { source: source.clone(), name, generation: Generation::default() },
            Self::Whole(id) => id,
        }
    }
}

/// A run's whole identity.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "run-id")]
struct RunFields {
    /// Who names it.
    source: Text<SourceId>,
    /// Its name there.
    name: Text<RunName>,
    /// Which use of the name; the first is 1.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    generation: u32,
}

struct RunVisitor;

impl<'de> Visitor<'de> for RunVisitor {
    type Value = RunForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a run: its name as a string, or {\"source\": …, \"name\": …}")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<RunForm, E> {
        Text::read(name).map(|Text(name)| RunForm::Own(name)).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RunForm, A::Error> {
        let fields = RunFields::deserialize(MapAccessDeserializer::new(map))?;
        let generation = Generation(fields.generation);
        Ok(RunForm::Whole(RunId { source: fields.source.0, name: fields.name.0, generation }))
    }
}

impl<'de> Deserialize<'de> for RunForm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RunVisitor)
    }
}

impl Serialize for RunForm {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own(name) => to.serialize_str(name.as_str()),
            Self::Whole(id) => {
                let mut fields = to.serialize_struct("run id", 3)?;
                fields.serialize_field("source", id.source.as_str())?;
                fields.serialize_field("name", id.name.as_str())?;
                match id.generation.0 {
                    1 => fields.skip_field("generation")?,
                    more => fields.serialize_field("generation", &more)?,
                }
                fields.end()
            }
        }
    }
}

impl JsonSchema for RunForm {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("run")
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A run: its name at the command's own source, or its whole identity.",
            "anyOf": [generator.subschema_for::<RunFields>(), Text::<RunName>::schema()],
        })
    }
}
