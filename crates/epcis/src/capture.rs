//! A document, from its bytes to the facts of its events.

use std::collections::HashMap;

use lotline_domain::fact::{Event, Fact};
use lotline_domain::id::{CommandId, EventId, SourceId};
use lotline_domain::time::OccurredAt;
use serde_json::value::RawValue;

use crate::content::{self, ContentHash};
use crate::error::{CaptureError, EventError, Fault, Spot};
use crate::event::EpcisEvent;
use crate::json::{Frame, Node, Object, path_at};
use crate::{MAX_BYTES, Remark, map, master, names};

/// How a document is captured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who reports: becomes the source of every event.
    pub source: SourceId,
    /// The largest document that is taken, in bytes.
    pub max_bytes: usize,
}

impl Options {
    /// With the limit of [`MAX_BYTES`].
    #[must_use]
    pub fn new(source: SourceId) -> Self {
        Self { source, max_bytes: MAX_BYTES }
    }
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// `EPCISDocument`.
    Document,
    /// `EPCISQueryDocument`.
    QueryDocument,
    /// A bare list of events.
    List,
    /// A single event.
    Event,
}

/// A document, taken apart.
#[derive(Debug, Clone)]
pub struct Captured {
    /// What it is.
    pub kind: DocumentKind,
    /// Master data of its header: definitions of parties, places and items. Each is an outcome of its
    /// own, beside the events.
    pub master_data: Vec<CapturedEvent>,
    /// Its events, in the order in which they stand. As many as the document has.
    pub events: Vec<CapturedEvent>,
}

impl Captured {
    /// The events and definitions that were refused, with their reasons.
    pub fn refused(&self) -> impl Iterator<Item = &EventError> {
        self.master_data.iter().chain(&self.events).filter_map(|event| match &event.outcome {
            Outcome::Refused(error) => Some(error),
            _ => None,
        })
    }

    /// What is to be recorded: definitions first, then the mapped events.
    pub fn mapped(&self) -> impl Iterator<Item = &Mapped> {
        self.master_data.iter().chain(&self.events).filter_map(|event| match &event.outcome {
            Outcome::Mapped(mapped) => Some(&**mapped),
            _ => None,
        })
    }

    /// How many events repeat an earlier one of the same document.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.outcome, Outcome::Duplicate { .. })).count()
    }
}

/// One event of a document.
#[derive(Debug, Clone)]
pub struct CapturedEvent {
    /// Where it stands.
    pub spot: Spot,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an event.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It maps to facts.
    Mapped(Box<Mapped>),
    /// It says the same, under the same id, as an earlier event of the document.
    Duplicate {
        /// Index of the earlier one.
        of: usize,
    },
    /// It cannot be recorded.
    Refused(EventError),
}

/// An event, mapped.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// Its own id, or the one that follows from its content. An error declaration has one that follows
    /// from its content always, because it bears the id of the event that it declares wrong.
    pub id: EventId,
    /// What it says, for telling a repetition from a contradiction.
    pub content: ContentHash,
    /// The row of the mapping table.
    pub row: &'static str,
    /// Its facts, at least one. The first has the event's id, the others `id#2`, `id#3` …
    pub events: Vec<Event>,
    /// What was taken although something is wrong with it.
    pub remarks: Vec<Remark>,
    /// The event as it was sent, byte for byte: to be sealed by the caller.
    pub original: String,
}

/// Takes a document apart.
///
/// # Errors
/// [`CaptureError`] when it is larger than allowed, not UTF-8, not JSON, or not EPCIS. What is wrong with
/// single events is told by their outcomes.
pub fn parse(bytes: &[u8], options: &Options) -> Result<Captured, CaptureError> {
    if bytes.len() > options.max_bytes {
        return Err(CaptureError::TooLarge { size: bytes.len(), limit: options.max_bytes });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| CaptureError::NotUtf8 { at: error.valid_up_to() })?;
    // Some systems put a byte order mark before their JSON.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str::<&RawValue>(text).map_err(|error| syntax(text, &error))?;

    let frame = Frame { text, path: "", line: 1, column: 1 };
    let found = find(Node::root(frame)).map_err(|error| not_epcis(&error))?;
    let mut lines = Lines { text, offset: 0, line: 1, line_start: 0 };
    let mut seen: HashMap<String, (usize, ContentHash)> = HashMap::new();
    let mut events = Vec::with_capacity(found.events.len());
    for (index, node) in found.events.iter().enumerate() {
        let (line, column) = lines.at(node.offset());
        let path = format!("{}[{index}]", found.path);
        let path = if found.kind == DocumentKind::Event { String::new() } else { path };
        let frame = Frame { text: node.text(), path: &path, line, column };
        let spot = Spot { path: path.clone(), line, column };
        let outcome = match event(Node::root(frame), options) {
            Err(error) => Outcome::Refused(error),
            Ok(mapped) => match seen.get(mapped.id.as_str()) {
                Some((of, content)) if *content == mapped.content => Outcome::Duplicate { of: *of },
                Some((of, _)) => Outcome::Refused(EventError {
                    spot: spot.clone(),
                    fault: Fault::Conflict { id: mapped.id.to_string(), other: format!("{}[{of}]", found.path) },
                }),
                None => {
                    seen.insert(mapped.id.to_string(), (index, mapped.content));
                    Outcome::Mapped(Box::new(mapped))
                }
            },
        };
        events.push(CapturedEvent { spot, outcome });
    }
    let master_data = match &found.document {
        Some(document) => master::definitions(document, &events, options),
        None => Vec::new(),
    };
    Ok(Captured { kind: found.kind, master_data, events })
}

/// The events of a document, where they are.
struct Found<'a> {
    kind: DocumentKind,
    path: &'static str,
    events: Vec<Node<'a>>,
    document: Option<Object<'a>>,
}

fn find(root: Node<'_>) -> Result<Found<'_>, EventError> {
    if root.kind() == "a list" {
        return Ok(Found { kind: DocumentKind::List, path: "", events: root.list()?, document: None });
    }
    let document = root.object_at_first_sight()?;
    let kind = document.string("type")?.or(document.string("isA")?).unwrap_or_default();
    let kind = kind.strip_prefix("epcis:").unwrap_or(&kind).to_owned();
    if kind.ends_with("Event") || (document.get("eventTime").is_some() && document.get("epcisBody").is_none()) {
        return Ok(Found { kind: DocumentKind::Event, path: "", events: vec![root], document: None });
    }
    let document = root.object()?;
    if !matches!(kind.as_str(), "EPCISDocument" | "EPCISQueryDocument") {
        return Err(document.get("type").unwrap_or(root).error(Fault::Word {
            found: kind,
            allowed: "EPCISDocument, EPCISQueryDocument, an event, a list of events",
        }));
    }
    let body = document.need("epcisBody")?.object()?;
    if let Some(results) = body.get("queryResults") {
        let events = results.object()?.need("resultsBody")?.object()?.need("eventList")?.list()?;
        let path = "epcisBody.queryResults.resultsBody.eventList";
        return Ok(Found { kind: DocumentKind::QueryDocument, path, events, document: Some(document) });
    }
    // A document may bring master data alone.
    let events = match body.get("eventList") {
        Some(list) => list.list()?,
        None if master::is_there(&document) => Vec::new(),
        None => return Err(body.node().error(Fault::Missing("eventList"))),
    };
    Ok(Found { kind: DocumentKind::Document, path: "epcisBody.eventList", events, document: Some(document) })
}

fn event(node: Node<'_>, options: &Options) -> Result<Mapped, EventError> {
    let mut remarks = Vec::new();
    let content = content::hash(node, &[])?;
    let epcis = EpcisEvent::read(node, &mut remarks)?;
    let named = |text: &str| EventId::parse(text).map_err(|error| node.error(error));

    let Some(declaration) = &epcis.error else {
        let id = named(&event_id(node, &epcis)?)?;
        let mapped = map::map(&epcis, &id).map_err(|fault| node.error(fault))?;
        let events = numbered(&id, mapped.facts, epcis.occurred_at, options).map_err(|fault| node.error(fault))?;
        return Ok(Mapped { id, content, row: mapped.row, events, remarks, original: node.text().to_owned() });
    };
    // The event repeats what it declares wrong, id included. What it would map to is what is void.
    let target = named(&event_id(node, &epcis)?)?;
    let wrong = map::map(&epcis, &target).map_err(|fault| node.error(fault))?;
    let targets = (0..wrong.facts.len()).map(|index| part(&target, index)).collect::<Result<Vec<_>, _>>();
    let mapped =
        map::void(targets.map_err(|fault| node.error(fault))?, declaration.reason.as_deref(), &declaration.corrective);
    let id = named(&content::id(&content))?;
    let events = numbered(&id, mapped.facts, declaration.declared_at, options).map_err(|fault| node.error(fault))?;
    Ok(Mapped { id, content, row: mapped.row, events, remarks, original: node.text().to_owned() })
}

/// Its own id, or the one that follows from what it says without its error declaration.
fn event_id(node: Node<'_>, epcis: &EpcisEvent) -> Result<String, EventError> {
    match &epcis.id {
        // Room for the `#2` of further facts.
        Some(id) if id.len() <= lotline_domain::id::NAME_MAX - 8 => Ok(id.clone()),
        Some(id) => Ok(content::id_of_text(id)),
        None => Ok(content::id(&content::hash(node, &["errorDeclaration", "eventID"])?)),
    }
}

fn part(id: &EventId, index: usize) -> Result<EventId, Fault> {
    if index == 0 { Ok(id.clone()) } else { Ok(EventId::parse(&format!("{id}#{}", index + 1))?) }
}

fn numbered(id: &EventId, facts: Vec<Fact>, occurred_at: OccurredAt, options: &Options) -> Result<Vec<Event>, Fault> {
    let numbered = facts.into_iter().enumerate();
    numbered
        .map(|(index, fact)| {
            let id = part(id, index)?;
            let command = CommandId::parse(id.as_str())?;
            Ok(Event { id, command, source: options.source.clone(), occurred_at, sequence: None, fact })
        })
        .collect()
}

/// A definition out of master data: its id follows from what it says, when, and the unit of an item.
pub(crate) fn definition(
    node: Node<'_>,
    fact: Fact,
    unit: &str,
    occurred_at: OccurredAt,
    options: &Options,
) -> Result<Mapped, EventError> {
    let element = content::hash(node, &[])?;
    let mut hasher = blake3::Hasher::new_derive_key("lotline 2026 epcis definition v1");
    hasher.update(&element).update(format!("{occurred_at} {unit}").as_bytes());
    let content = *hasher.finalize().as_bytes();
    let id = EventId::parse(&names::fit(&content::id(&content))).map_err(|error| node.error(error))?;
    let events = numbered(&id, vec![fact], occurred_at, options).map_err(|fault| node.error(fault))?;
    let (row, original) = ("master-data", node.text().to_owned());
    Ok(Mapped { id, content, row, events, remarks: Vec::new(), original })
}

fn syntax(text: &str, error: &serde_json::Error) -> CaptureError {
    let (line, column) = (error.line().max(1), error.column());
    let start = text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
    let path = path_at(text, start + column.saturating_sub(1));
    let reason = error.to_string();
    // The reader's own words end with the place, which is told already.
    let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason).to_owned();
    CaptureError::Syntax { spot: Spot { path, line, column: column.max(1) }, reason }
}

fn not_epcis(error: &EventError) -> CaptureError {
    CaptureError::NotEpcis { spot: error.spot.clone(), reason: error.fault.to_string() }
}

/// Lines of ever later offsets, without counting from the beginning each time.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    line_start: usize,
}

impl Lines<'_> {
    fn at(&mut self, offset: usize) -> (usize, usize) {
        for (index, byte) in self.text.as_bytes()[self.offset..offset].iter().enumerate() {
            if *byte == b'\n' {
                self.line += 1;
                self.line_start = self.offset + index + 1;
            }
        }
        self.offset = offset;
        (self.line, offset - self.line_start + 1)
    }
}
