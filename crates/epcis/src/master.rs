//! Master data of a document's header: parties, places and items, with their names.

use std::collections::HashMap;

use lotline_domain::fact::{Fact, Line};
use lotline_domain::id::{BatchRef, ItemId};
use lotline_domain::time::OccurredAt;
use lotline_domain::unit::{Dimension, Unit};
use lotline_gs1::Identifier;

use crate::capture::{CapturedEvent, Options, Outcome, definition};
use crate::error::{EventError, Fault};
use crate::json::{Node, Object};
use crate::names;

/// The vocabularies of a document, wherever they stand in it.
fn vocabularies<'a>(document: &Object<'a>) -> Result<Vec<Node<'a>>, EventError> {
    for holder in ["epcisHeader", "epcisBody"] {
        let Some(holder) = document.get(holder) else { continue };
        let holder = holder.object()?;
        if let Some(list) = holder.get("vocabularyList") {
            return list.list();
        }
        if let Some(master) = holder.get("epcisMasterData") {
            return master.object()?.list("vocabularyList");
        }
    }
    Ok(Vec::new())
}

pub(crate) fn is_there(document: &Object<'_>) -> bool {
    vocabularies(document).is_ok_and(|list| !list.is_empty())
}

/// The definitions. An item is defined in the unit in which the document's own events measure it, since
/// master data name none; an item that no event measures is left alone.
pub(crate) fn definitions(document: &Object<'_>, events: &[CapturedEvent], options: &Options) -> Vec<CapturedEvent> {
    let refused =
        |error: EventError| vec![CapturedEvent { spot: error.spot.clone(), outcome: Outcome::Refused(error) }];
    let vocabularies = match vocabularies(document) {
        Ok(list) if list.is_empty() => return Vec::new(),
        Ok(list) => list,
        Err(error) => return refused(error),
    };
    let at = match dated(document, events) {
        Ok(Some(at)) => at,
        Ok(None) => return refused(document.node().error(Fault::Missing("creationDate"))),
        Err(error) => return refused(error),
    };
    let units = units(events);
    let mut found = Vec::new();
    for vocabulary in vocabularies {
        match of_vocabulary(vocabulary, at, &units, options) {
            Ok(definitions) => found.extend(definitions),
            Err(error) => found.extend(refused(error)),
        }
    }
    found
}

/// Master data hold from when the document was made; without that, from its first event on.
fn dated(document: &Object<'_>, events: &[CapturedEvent]) -> Result<Option<OccurredAt>, EventError> {
    if let Some(node) = document.get("creationDate")
        && let Ok(at) = OccurredAt::parse(node.string()?.trim())
    {
        return Ok(Some(at));
    }
    let times = events.iter().filter_map(|event| match &event.outcome {
        Outcome::Mapped(mapped) => mapped.events.first().map(|event| event.occurred_at),
        _ => None,
    });
    Ok(times.min_by_key(|at| at.instant))
}

fn of_vocabulary(
    vocabulary: Node<'_>,
    at: OccurredAt,
    units: &HashMap<ItemId, Unit>,
    options: &Options,
) -> Result<Vec<CapturedEvent>, EventError> {
    let vocabulary = vocabulary.object()?;
    let kind = vocabulary.need("type")?.string()?;
    let kind = kind.rsplit([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
    let mut found = Vec::new();
    for node in vocabulary.list("vocabularyElementList")? {
        let outcome = match fact(node, &kind, units) {
            Ok(None) => continue,
            Ok(Some(fact)) => {
                let unit = if let Fact::ItemDefined { base, .. } = &fact { base.to_string() } else { String::new() };
                definition(node, fact, &unit, at, options)
            }
            Err(error) => Err(error),
        };
        let outcome = outcome.map_or_else(Outcome::Refused, |mapped| Outcome::Mapped(Box::new(mapped)));
        found.push(CapturedEvent { spot: node.spot(), outcome });
    }
    Ok(found)
}

fn fact(node: Node<'_>, kind: &str, units: &HashMap<ItemId, Unit>) -> Result<Option<Fact>, EventError> {
    let element = node.object()?;
    let id_node = element.need("id")?;
    let id = lotline_gs1::read(id_node.string()?.trim()).id;
    let named = |error| id_node.error(Fault::Name(error));
    match kind {
        "party" => {
            let party = names::party(&id).map_err(named)?;
            Ok(Some(Fact::PartyDefined { party, name: attribute(&element, "name")? }))
        }
        "location" | "businesslocation" | "readpoint" => {
            let place = names::location(&id).map_err(named)?;
            let name = attribute(&element, "name")?;
            Ok(Some(Fact::PlaceDefined { place, parent: None, time_zone: None, name }))
        }
        "epcclass" => {
            let item = match &id {
                Identifier::Other(_) => ItemId::parse(&names::fit(&id.to_string())),
                _ => names::batch(&id).map(|batch| batch.item),
            };
            let item = item.map_err(named)?;
            let Some(base) = units.get(&item).copied() else { return Ok(None) };
            let name = match attribute(&element, "descriptionShort")? {
                Some(name) => Some(name),
                None => attribute(&element, "name")?,
            };
            Ok(Some(Fact::ItemDefined { item, base, name }))
        }
        _ => Ok(None),
    }
}

/// The value of an attribute by the local part of its name (`urn:epcglobal:cbv:mda#name`).
fn attribute(element: &Object<'_>, local: &str) -> Result<Option<String>, EventError> {
    for node in element.list("attributes")? {
        let attribute = node.object()?;
        let Some(id) = attribute.string("id")? else { continue };
        if id.rsplit(['#', ':', '/']).next() == Some(local)
            && let Some(value) = attribute.get("attribute").filter(|value| value.kind() == "a text")
        {
            return Ok(Some(value.string()?));
        }
    }
    Ok(None)
}

/// For each item the base unit of what its events are measured in: mass before volume before count.
fn units(events: &[CapturedEvent]) -> HashMap<ItemId, Unit> {
    const ORDER: [(Dimension, Unit); 5] = [
        (Dimension::Mass, Unit::KILOGRAM),
        (Dimension::Volume, Unit::LITRE),
        (Dimension::Count, Unit::ONE),
        (Dimension::Length, Unit::METRE),
        (Dimension::Area, Unit::SQUARE_METRE),
    ];
    let mut best: HashMap<ItemId, usize> = HashMap::new();
    let mut see = |batch: &BatchRef, unit: Option<Unit>| {
        let (BatchRef::Known(batch), Some(unit)) = (batch, unit) else { return };
        let Some(rank) = ORDER.iter().position(|(dimension, _)| *dimension == unit.dimension()) else { return };
        best.entry(batch.item.clone()).and_modify(|known| *known = rank.min(*known)).or_insert(rank);
    };
    for event in events {
        let Outcome::Mapped(mapped) = &event.outcome else { continue };
        for event in &mapped.events {
            match &event.fact {
                Fact::Produced(report) => {
                    for input in &report.inputs {
                        if let Some(batch) = &input.batch {
                            see(batch, input.quantity.map(|quantity| quantity.unit()));
                        }
                    }
                    for output in &report.outputs {
                        see(&output.batch, output.quantity.map(|quantity| quantity.unit()));
                    }
                }
                fact => {
                    for line in lines(fact) {
                        see(&line.batch, line.quantity.map(|quantity| quantity.unit()));
                    }
                }
            }
        }
    }
    best.into_iter().map(|(item, rank)| (item, ORDER[rank].1)).collect()
}

fn lines(fact: &Fact) -> &[Line] {
    match fact {
        Fact::Received { lines, .. }
        | Fact::Packed { lines, .. }
        | Fact::Unpacked { lines, .. }
        | Fact::Shipped { lines, .. }
        | Fact::Delivered { lines, .. }
        | Fact::Returned { lines, .. }
        | Fact::Seen { lines, .. }
        | Fact::Counted { lines, .. }
        | Fact::Disposed { lines, .. } => lines,
        _ => &[],
    }
}
