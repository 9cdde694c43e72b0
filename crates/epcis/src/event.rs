//! An EPCIS event, read: every field that the mapping looks at, typed and named.

use lotline_domain::expiry::{Day, Expires, Zone};
use lotline_domain::fact::Line;
use lotline_domain::id::{BatchId, ContainerId, LocationId, PartyId};
use lotline_domain::quantity::Stated;
use lotline_domain::time::{OccurredAt, Precision, TimeError};
use lotline_domain::unit::Unit;
use lotline_gs1::Identifier;

use crate::error::{EventError, Fault};
use crate::json::{Node, Object};
use crate::names::{self, Thing};
use crate::{Remark, vocabulary};

/// Which of the five events it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Aggregation,
    Transformation,
    Transaction,
    Association,
    /// An event type of somebody's own name space.
    Extension,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Add,
    Observe,
    Delete,
}

/// What a list of EPCs and a list of quantities name together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Goods {
    /// Batches, and serialised units as batches of one.
    pub(crate) lines: Vec<Line>,
    /// Logistic units, assets, vehicles: what holds goods and is none.
    pub(crate) containers: Vec<ContainerId>,
    /// The serialised units once more, as what may hold others: whether it is a bottle or a case of
    /// bottles cannot be told from its number.
    pub(crate) units: Vec<ContainerId>,
    /// Until when each line's batch is good, where its identifier (AI 17, AI 15) or the event's ILMD tells it.
    pub(crate) expires: Vec<Option<Expires>>,
}

impl Goods {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.containers.is_empty()
    }

    /// Everything that moves with all that it holds.
    pub(crate) fn holders(&self) -> Vec<ContainerId> {
        self.containers.iter().chain(&self.units).cloned().collect()
    }

    /// The lines with their dates, for facts that tell of a batch's beginning.
    pub(crate) fn dated(&self) -> Vec<Line> {
        self.lines.iter().zip(&self.expires).map(|(line, expires)| Line { expires: *expires, ..line.clone() }).collect()
    }

    /// The batches of the lines.
    pub(crate) fn batches(&self) -> Vec<lotline_domain::id::BatchRef> {
        self.lines.iter().map(|line| line.batch.clone()).collect()
    }
}

/// Where something comes from or goes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    pub(crate) possessing: Option<PartyId>,
    pub(crate) owning: Option<PartyId>,
    pub(crate) location: Option<LocationId>,
}

impl Ends {
    /// Who has it rather than who owns it.
    pub(crate) fn party(&self) -> Option<PartyId> {
        self.possessing.clone().or_else(|| self.owning.clone())
    }
}

/// A declaration that the event was wrong.
#[derive(Debug, Clone)]
pub(crate) struct ErrorDeclaration {
    pub(crate) declared_at: OccurredAt,
    pub(crate) reason: Option<String>,
    pub(crate) corrective: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct EpcisEvent {
    pub(crate) kind: Kind,
    pub(crate) action: Option<Action>,
    /// Business step: its bare CBV or GDST word in lower case, or the URI of another vocabulary.
    pub(crate) step: String,
    pub(crate) disposition: String,
    pub(crate) occurred_at: OccurredAt,
    pub(crate) id: Option<String>,
    pub(crate) read_point: Option<LocationId>,
    pub(crate) biz_location: Option<LocationId>,
    pub(crate) parent: Option<ContainerId>,
    /// Objects or children.
    pub(crate) goods: Goods,
    pub(crate) inputs: Goods,
    pub(crate) outputs: Goods,
    pub(crate) transformation: Option<String>,
    /// (type, id) of business transactions.
    pub(crate) transactions: Vec<(String, String)>,
    pub(crate) source: Ends,
    pub(crate) destination: Ends,
    pub(crate) owner: Option<PartyId>,
    pub(crate) provider: Option<PartyId>,
    pub(crate) error: Option<ErrorDeclaration>,
}

impl EpcisEvent {
    /// Where the objects are afterwards, or at least where they were seen.
    pub(crate) fn place(&self) -> Option<LocationId> {
        self.biz_location.clone().or_else(|| self.read_point.clone())
    }

    /// The first business transaction of one of these types.
    pub(crate) fn transaction(&self, types: &[&str]) -> Option<&str> {
        types
            .iter()
            .find_map(|wanted| self.transactions.iter().find(|(kind, _)| kind == wanted).map(|(_, id)| id.as_str()))
    }

    pub(crate) fn read(node: Node<'_>, remarks: &mut Vec<Remark>) -> Result<Self, EventError> {
        Reader { remarks }.event(node)
    }
}

/// Until when the goods of an event are good, and in which year it was.
struct Dates {
    ilmd: Option<Expires>,
    used: i32,
}

/// The master data attributes of the CBV that tell it; the first goes before the other.
const EXPIRY_ATTRIBUTES: [&str; 2] = ["itemExpirationDate", "bestBeforeDate"];
/// The vocabularies that they are written with in full.
const ATTRIBUTE_VOCABULARIES: [&str; 4] =
    ["https://ref.gs1.org/cbv/", "https://ns.gs1.org/cbv/", "https://gs1.org/voc/", "https://www.gs1.org/voc/"];

/// An attribute by its bare name, with a prefix, or with its vocabulary's whole name.
fn attribute<'a>(ilmd: &Object<'a>, name: &str) -> Option<Node<'a>> {
    let in_full = |written: &str| {
        ATTRIBUTE_VOCABULARIES
            .iter()
            .any(|vocabulary| written.strip_prefix(vocabulary).is_some_and(|rest| rest == name))
    };
    let full = ilmd.members().find(|(written, node)| in_full(written) && !node.is_null()).map(|(_, node)| node);
    ilmd.local(name).or(full)
}

/// A day, a time with its offset, or a day with its offset, which is over where that offset is. Written bare, or as a
/// typed value of JSON-LD.
fn date(node: Node<'_>) -> Result<Expires, String> {
    let text = match node.kind() {
        "an object" => node.object().ok().and_then(|typed| typed.get("@value")).and_then(|value| value.string().ok()),
        _ => node.string().ok(),
    };
    let text = text.ok_or_else(|| format!("{} is no expiry date", node.kind()))?;
    match (Expires::parse(text.trim()), OccurredAt::parse(text.trim())) {
        (Ok(expires), _) => Ok(expires),
        (Err(_), Ok(at @ OccurredAt { precision: Precision::Day, .. })) => {
            Ok(Expires::Moment { instant: at.latest().plus_micros(1), offset_minutes: at.offset_minutes })
        }
        (Err(error), _) => Err(error.to_string()),
    }
}

struct Reader<'r> {
    remarks: &'r mut Vec<Remark>,
}

impl Reader<'_> {
    fn event(&mut self, node: Node<'_>) -> Result<EpcisEvent, EventError> {
        // GS1's own examples have an event with two ids.
        let event = node.object_but("eventID")?;
        if event.has_one_twice() {
            let text = "has more than one eventID; the last one counts".to_owned();
            self.remarks.push(Remark { at: node.offset(), text });
        }
        // EPCIS 1.2 written as JSON keeps some members in a wrapper.
        let base = event.get("baseExtension").map(|node| node.object()).transpose()?;
        let in_base = |name: &str| event.get(name).or_else(|| base.as_ref().and_then(|base| base.get(name)));

        let kind = kind(&event)?;
        let action = match (kind, event.get("action")) {
            (Kind::Transformation | Kind::Extension, _) => None,
            (_, Some(node)) => Some(action(node)?),
            (_, None) => return Err(node.error(Fault::Missing("action"))),
        };
        let occurred_at = occurred_at(&event)?;
        let objects = if matches!(kind, Kind::Aggregation | Kind::Association) {
            ("childEPCs", "childQuantityList")
        } else {
            ("epcList", "quantityList")
        };
        let dates = self.dates(&event, &occurred_at);
        let goods = self.goods(&event, objects.0, objects.1, &dates)?;
        let inputs = self.goods(&event, "inputEPCList", "inputQuantityList", &dates)?;
        let outputs = self.goods(&event, "outputEPCList", "outputQuantityList", &dates)?;
        let parent = match event.string("parentID")? {
            Some(_) => {
                let node = event.need("parentID")?;
                Some(names::container(&self.identifier(node)?).map_err(|error| node.error(error))?)
            }
            None if kind == Kind::Aggregation && action != Some(Action::Observe) => {
                return Err(node.error(Fault::Missing("parentID")));
            }
            None => None,
        };
        let id = in_base("eventID").map(|node| node.string()).transpose()?;
        let error = match in_base("errorDeclaration") {
            Some(declaration) => Some(self.error_declaration(declaration, &occurred_at)?),
            None => None,
        };
        Ok(EpcisEvent {
            kind,
            action,
            step: event.string("bizStep")?.map(|text| vocabulary::step(&text)).unwrap_or_default(),
            disposition: event.string("disposition")?.map(|text| vocabulary::disposition(&text)).unwrap_or_default(),
            occurred_at,
            id: id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
            read_point: self.location(&event, "readPoint")?,
            biz_location: self.location(&event, "bizLocation")?,
            parent,
            goods,
            inputs,
            outputs,
            transformation: event.string("transformationID")?,
            transactions: transactions(&event)?,
            source: self.ends(&event, "sourceList", "source")?,
            destination: self.ends(&event, "destinationList", "destination")?,
            owner: self.party(&event, "productOwner")?,
            provider: self.party(&event, "informationProvider")?,
            error,
        })
    }

    fn identifier(&mut self, node: Node<'_>) -> Result<Identifier, EventError> {
        let text = node.string()?;
        let reading = lotline_gs1::read(text.trim());
        if let Some(flaw) = reading.flaw {
            self.remarks.push(Remark { at: node.offset(), text: format!("{flaw}; taken as it is written") });
        }
        Ok(reading.id)
    }

    fn goods(&mut self, event: &Object<'_>, epcs: &str, quantities: &str, dates: &Dates) -> Result<Goods, EventError> {
        let mut goods = Goods::default();
        for node in event.list(epcs)? {
            let id = self.identifier(node)?;
            let line = goods.lines.len();
            match names::thing(&id).map_err(|error| node.error(error))? {
                Thing::Batch(batch) => {
                    self.remarks.push(Remark {
                        at: node.offset(),
                        text: "names a class and not an instance; its quantity is unknown".to_owned(),
                    });
                    goods.lines.push(Line::new(batch, None));
                }
                Thing::Unit(batch, container) => {
                    goods.lines.push(Line::new(batch, Some(one())));
                    goods.units.push(container);
                }
                Thing::Container(container) => goods.containers.push(container),
            }
            if goods.lines.len() > line {
                goods.expires.push(self.own_date(node, dates)?.or(dates.ilmd));
            }
        }
        for node in event.list(quantities)? {
            goods.lines.push(self.quantity(node)?);
            goods.expires.push(self.own_date(node.object()?.need("epcClass")?, dates)?.or(dates.ilmd));
        }
        Ok(goods)
    }

    /// What the instance or lot master data of an event tell. A date that is none is kept with the original.
    fn dates(&mut self, event: &Object<'_>, at: &OccurredAt) -> Dates {
        let used = Zone::UTC.day_of(at.instant).year();
        let ilmd = event.local("ilmd").and_then(|node| node.object().ok());
        let found = ilmd.and_then(|ilmd| EXPIRY_ATTRIBUTES.iter().find_map(|name| attribute(&ilmd, name)));
        let ilmd = found.and_then(|node| match date(node) {
            Ok(expires) => Some(expires),
            Err(text) => {
                self.remarks.push(Remark { at: node.offset(), text: format!("{text}; no expiry date is taken") });
                None
            }
        });
        Dates { ilmd, used }
    }

    /// What an identifier itself tells, by AI 17 or AI 15.
    fn own_date(&mut self, node: Node<'_>, dates: &Dates) -> Result<Option<Expires>, EventError> {
        let text = node.string()?;
        let day = lotline_gs1::expiry(text.trim()).and_then(|found| {
            let Some(short) = found else { return Ok(None) };
            let (year, month) = (short.year_seen_from(dates.used), short.month.into());
            let day = match short.day {
                0 => Day::last_of_month(year, month),
                day => Day::from_ymd(year, month, day.into()),
            };
            day.map(Some).ok_or_else(|| format!("{year}-{month:02}-{:02}", short.day))
        });
        match day {
            Ok(day) => Ok(day.map(Expires::Day)),
            Err(text) => {
                let text = format!("{text:?} is no date; no expiry date is taken");
                self.remarks.push(Remark { at: node.offset(), text });
                Ok(None)
            }
        }
    }

    fn quantity(&mut self, node: Node<'_>) -> Result<Line, EventError> {
        let element = node.object()?;
        let class = element.need("epcClass")?;
        let batch: BatchId = names::batch(&self.identifier(class)?).map_err(|error| class.error(error))?;
        let unit = match element.get("uom") {
            Some(node) => Some(Unit::parse(&node.string()?).map_err(|error| node.error(error))?),
            None => None,
        };
        let quantity = match element.get("quantity") {
            // Without a unit it is a number of instances.
            Some(node) => {
                Some(Stated::parse(node.number()?, unit.unwrap_or(Unit::ONE)).map_err(|error| node.error(error))?)
            }
            None => None,
        };
        Ok(Line::new(batch, quantity))
    }

    fn location(&mut self, event: &Object<'_>, name: &str) -> Result<Option<LocationId>, EventError> {
        let Some(node) = event.get(name) else { return Ok(None) };
        let id = if node.kind() == "an object" { node.object()?.need("id")? } else { node };
        if id.string()?.trim().is_empty() {
            return Ok(None);
        }
        names::location(&self.identifier(id)?).map(Some).map_err(|error| id.error(error))
    }

    fn ends(&mut self, event: &Object<'_>, list: &str, value: &'static str) -> Result<Ends, EventError> {
        let mut ends = Ends::default();
        for node in event.list(list)? {
            let entry = node.object()?;
            let kind = vocabulary::source_destination(&entry.need("type")?.string()?);
            let node = entry.need(value)?;
            let id = self.identifier(node)?;
            match kind.as_str() {
                "possessing_party" => ends.possessing = Some(names::party(&id).map_err(|error| node.error(error))?),
                "owning_party" => ends.owning = Some(names::party(&id).map_err(|error| node.error(error))?),
                "location" => ends.location = Some(names::location(&id).map_err(|error| node.error(error))?),
                _ => {}
            }
        }
        Ok(ends)
    }

    /// A party that an extension of seafood traceability names.
    fn party(&mut self, event: &Object<'_>, local: &str) -> Result<Option<PartyId>, EventError> {
        let Some(node) = event.local(local) else { return Ok(None) };
        // An extension field: another form of it is somebody else's, and is kept with the original.
        let Ok(text) = node.string() else { return Ok(None) };
        if text.trim().is_empty() {
            return Ok(None);
        }
        names::party(&self.identifier(node)?).map(Some).map_err(|error| node.error(error))
    }

    fn error_declaration(&mut self, node: Node<'_>, event: &OccurredAt) -> Result<ErrorDeclaration, EventError> {
        let declaration = node.object()?;
        let time = declaration.need("declarationTime")?;
        let text = time.string()?;
        let declared_at = match OccurredAt::parse(text.trim()) {
            Ok(at) => at,
            Err(error @ TimeError::Form(_)) => {
                // EPCIS 1.2 systems leave the offset out here; the event itself has one.
                let local = format!("{}{}", text.trim(), offset_text(event.offset_minutes));
                let at = OccurredAt::parse(&local).map_err(|_| time.error(error))?;
                self.remarks.push(Remark {
                    at: time.offset(),
                    text: "has no offset; read with the offset of its event".to_owned(),
                });
                at
            }
            Err(error) => return Err(time.error(error)),
        };
        let mut corrective = Vec::new();
        for id in declaration.list("correctiveEventIDs")? {
            corrective.push(id.string()?);
        }
        Ok(ErrorDeclaration { declared_at, reason: declaration.string("reason")?, corrective })
    }
}

fn one() -> Stated {
    Stated::parse("1", Unit::ONE).expect("one is a quantity")
}

fn kind(event: &Object<'_>) -> Result<Kind, EventError> {
    let node = match event.get("isA") {
        Some(node) if event.get("type").is_none() => node,
        _ => event.need("type")?,
    };
    let text = node.string()?;
    match text.trim().strip_prefix("epcis:").unwrap_or(text.trim()) {
        "ObjectEvent" => Ok(Kind::Object),
        "AggregationEvent" => Ok(Kind::Aggregation),
        "TransformationEvent" => Ok(Kind::Transformation),
        "TransactionEvent" => Ok(Kind::Transaction),
        "AssociationEvent" => Ok(Kind::Association),
        other if other.contains(':') => Ok(Kind::Extension),
        other => Err(node.error(Fault::Word {
            found: other.to_owned(),
            allowed: "ObjectEvent, AggregationEvent, TransformationEvent, TransactionEvent, AssociationEvent, \
                      or a type with the prefix of its name space",
        })),
    }
}

fn action(node: Node<'_>) -> Result<Action, EventError> {
    match node.string()?.as_str() {
        "ADD" => Ok(Action::Add),
        "OBSERVE" => Ok(Action::Observe),
        "DELETE" => Ok(Action::Delete),
        other => Err(node.error(Fault::Word { found: other.to_owned(), allowed: "ADD, OBSERVE, DELETE" })),
    }
}

/// The instant of `eventTime`, which has to have an offset; with the local offset of the event.
fn occurred_at(event: &Object<'_>) -> Result<OccurredAt, EventError> {
    let node = event.need("eventTime")?;
    let mut at = OccurredAt::parse(node.string()?.trim()).map_err(|error| node.error(error))?;
    if let Some(node) = event.get("eventTimeZoneOffset") {
        let text = node.string()?;
        at.offset_minutes = offset_minutes(text.trim()).ok_or_else(|| node.error(Fault::Offset(text.clone())))?;
    }
    Ok(at)
}

/// `+01:00` in minutes; `Z` is zero.
fn offset_minutes(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 || !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 18 && minutes < 60 && hours * 60 + minutes <= 18 * 60).then_some(sign * (hours * 60 + minutes))
}

fn offset_text(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

fn transactions(event: &Object<'_>) -> Result<Vec<(String, String)>, EventError> {
    let mut found = Vec::new();
    for node in event.list("bizTransactionList")? {
        let entry = node.object()?;
        let kind = entry.string("type")?.map(|text| vocabulary::transaction(&text)).unwrap_or_default();
        let id = entry.need("bizTransaction")?.string()?;
        found.push((kind, lotline_gs1::read(id.trim()).id.to_string()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_read_back_what_they_print() {
        for minutes in [0, 60, -330, 1080, -1080] {
            assert_eq!(offset_minutes(&offset_text(minutes)), Some(minutes));
        }
        for text in ["", "+1:00", "0100", "+0100", "+19:00", "+01:60", "+01:0a", "UTC"] {
            assert_eq!(offset_minutes(text), None, "{text}");
        }
    }
}
