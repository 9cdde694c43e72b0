//! From an EPCIS event to facts: the table of `schemas/epcis-mapping.md`, row by row.
//!
//! The mapping sees one event and nothing else. An event maps to the same facts whatever was captured
//! before it and beside it; what the facts mean together is settled when asked.

use lotline_domain::fact::{Correction, Destination, Fact, Input, Line, Output, RunKind, RunReport};
use lotline_domain::id::{
    EventId, Generation, LocationId, PartyId, Place, RunId, RunName, ShipmentId, Sink, SourceId, unknown_party,
};

use crate::error::Fault;
use crate::event::{Action, EpcisEvent, Goods, Kind};
use crate::names::fit;

/// The row that an event maps by, and its facts: the first is the event's own, the others follow from the
/// same event.
pub(crate) struct Mapped {
    pub(crate) row: &'static str,
    pub(crate) facts: Vec<Fact>,
}

/// Steps that tell of a process and not of where goods are.
const HISTORY_STEPS: [&str; 5] = ["arriving", "consigning", "departing", "sensor_reporting", "transporting"];
/// Steps that bring goods to a place from wherever they were.
const RECEIVING_STEPS: [&str; 3] = ["receiving", "landing", "transshipment"];
/// Documents of one consignment: the despatch advice, the bill of lading.
const CONSIGNMENT: [&str; 2] = ["desadv", "bol"];
/// Documents on whose lines goods stand.
const DOCUMENTS: [&str; 3] = ["desadv", "bol", "inv"];

/// Maps an event, its error declaration aside. `id` names the shipment or the run where the event has no
/// better name for it.
pub(crate) fn map(event: &EpcisEvent, id: &EventId) -> Result<Mapped, Fault> {
    match (event.kind, event.action) {
        (Kind::Object, Some(Action::Add)) => Ok(added(event)),
        (Kind::Object, Some(Action::Observe)) => observed(event, id),
        (Kind::Object, _) => Ok(deleted(event)),
        (Kind::Aggregation, Some(Action::Add)) => Ok(packed(event)),
        (Kind::Aggregation, Some(Action::Delete)) => Ok(unpacked(event)),
        (Kind::Aggregation, _) => aggregation_observed(event, id),
        (Kind::Transformation, _) => transformed(event, id),
        (Kind::Transaction, _) => Ok(note("transaction", event)),
        (Kind::Association, _) => Ok(note("association", event)),
        (Kind::Extension, _) => Ok(note("other", event)),
    }
}

/// The facts that declare an event's facts wrong.
pub(crate) fn void(targets: Vec<EventId>, reason: Option<&str>, corrective: &[String]) -> Mapped {
    let reason = match (reason, corrective) {
        (None, []) => None,
        (Some(reason), []) => Some(reason.to_owned()),
        (reason, ids) => Some(format!("{}; corrected by {}", reason.unwrap_or("declared wrong"), ids.join(", "))),
    };
    let facts = targets
        .into_iter()
        .map(|target| Fact::Corrected { target, correction: Correction::Void, reason: reason.clone(), actor: None })
        .collect();
    Mapped { row: "error-declaration", facts }
}

fn one(row: &'static str, fact: Fact) -> Mapped {
    Mapped { row, facts: vec![fact] }
}

fn note(row: &'static str, event: &EpcisEvent) -> Mapped {
    let mut batches = event.goods.batches();
    batches.extend(event.inputs.batches());
    batches.extend(event.outputs.batches());
    let mut containers = event.goods.holders();
    containers.extend(event.inputs.holders());
    containers.extend(event.outputs.holders());
    containers.extend(event.parent.clone());
    let kind = match event.kind {
        Kind::Object => "object",
        Kind::Aggregation => "aggregation",
        Kind::Transformation => "transformation",
        Kind::Transaction => "transaction",
        Kind::Association => "association",
        Kind::Extension => "other",
    };
    // A step of somebody's own vocabulary is free text, and stays in the sealed original.
    let step = if event.step.is_empty() || event.step.contains(':') { "event" } else { event.step.as_str() };
    one(row, Fact::Noted { batches, containers, what: format!("epcis {kind} {step}") })
}

fn at(place: Option<LocationId>) -> Place {
    place.map_or(Place::Unplaced, Place::Location)
}

/// The lines, each on the document that the event names.
fn lines(event: &EpcisEvent) -> Vec<Line> {
    let document = event.transaction(&DOCUMENTS).map(fit);
    event.goods.lines.iter().map(|line| Line { document: document.clone(), ..line.clone() }).collect()
}

/// The same, with what is told of until when they are good.
fn dated_lines(event: &EpcisEvent) -> Vec<Line> {
    let document = event.transaction(&DOCUMENTS).map(fit);
    event.goods.dated().into_iter().map(|line| Line { document: document.clone(), ..line }).collect()
}

fn added(event: &EpcisEvent) -> Mapped {
    let by = event.owner.clone().or_else(|| event.provider.clone()).or_else(|| event.destination.party());
    one(
        "object-add",
        Fact::Received {
            lines: dated_lines(event),
            containers: event.goods.holders(),
            from: Some(event.source.party().unwrap_or_else(unknown_party)),
            shipment: None,
            by,
            to: at(event.place()),
        },
    )
}

fn observed(event: &EpcisEvent, id: &EventId) -> Result<Mapped, Fault> {
    let step = event.step.as_str();
    if event.goods.is_empty() || HISTORY_STEPS.contains(&step) {
        return Ok(note("object-note", event));
    }
    if step == "shipping" {
        return Ok(one("object-ship", shipped(event, id, lines(event), event.goods.holders())?));
    }
    if step == "receiving"
        && event.disposition == "returned"
        && let Some(from) = event.source.party()
    {
        let (lines, containers) = (lines(event), event.goods.holders());
        return Ok(one("object-return", Fact::Returned { from, lines, containers, to: at(event.place()) }));
    }
    if RECEIVING_STEPS.contains(&step) {
        return Ok(one("object-receive", received(event, dated_lines(event), event.goods.holders(), None)));
    }
    if step == "void_shipping" {
        let Some(shipment) = event.transaction(&CONSIGNMENT) else { return Ok(note("object-note", event)) };
        let shipment = ShipmentId::parse(&fit(shipment))?;
        let fact = received(event, lines(event), event.goods.holders(), Some(shipment));
        return Ok(one("object-void-ship", fact));
    }
    let Some(place) = event.place() else { return Ok(note("object-note", event)) };
    let counting = matches!(step, "cycle_counting" | "stock_taking");
    if counting && event.goods.containers.is_empty() && event.goods.lines.iter().all(|line| line.quantity.is_some()) {
        return Ok(one("object-count", Fact::Counted { at: Place::Location(place), lines: lines(event) }));
    }
    let (lines, containers) = (lines(event), event.goods.holders());
    Ok(one("object-see", Fact::Seen { lines, containers, at: Place::Location(place) }))
}

fn deleted(event: &EpcisEvent) -> Mapped {
    let mut facts = Vec::new();
    let mut row = "object-delete";
    let consumer = matches!(event.step.as_str(), "retail_selling" | "dispensing");
    if let (true, Some(to)) = (consumer, event.destination.party()) {
        let (lines, containers) = (lines(event), event.goods.holders());
        return one("object-sell", Fact::Delivered { shipment: None, to, lines, containers });
    }
    let sink = match event.step.as_str() {
        "destroying" => {
            row = "object-destroy";
            Sink::Destroyed
        }
        "sampling" => {
            row = "object-sample";
            Sink::Sample
        }
        _ => Sink::Consumed,
    };
    if !event.goods.lines.is_empty() {
        facts.push(Fact::Disposed { lines: lines(event), sink });
    }
    // The number of a logistic unit ends; what it held stays where it was.
    facts.extend(event.goods.containers.iter().cloned().map(|container| Fact::ContainerEmptied { container }));
    if facts.is_empty() {
        return note("object-note", event);
    }
    Mapped { row, facts }
}

fn shipped(
    event: &EpcisEvent,
    id: &EventId,
    lines: Vec<Line>,
    containers: Vec<lotline_domain::id::ContainerId>,
) -> Result<Fact, Fault> {
    let shipment = ShipmentId::parse(&fit(event.transaction(&CONSIGNMENT).unwrap_or(id.as_str())))?;
    let to = match (event.destination.party(), &event.destination.location, &event.owner) {
        (Some(party), _, _) => Some(Destination::Party(party)),
        (None, Some(location), _) => Some(Destination::Location(location.clone())),
        (None, None, Some(owner)) => Some(Destination::Party(owner.clone())),
        (None, None, None) => None,
    };
    Ok(Fact::Shipped { shipment, to, lines, containers })
}

/// The supplier is not taken as the source: the goods may be on their way from it within this ledger,
/// and a stated source would leave them on their way for ever.
fn received(
    event: &EpcisEvent,
    lines: Vec<Line>,
    containers: Vec<lotline_domain::id::ContainerId>,
    shipment: Option<ShipmentId>,
) -> Fact {
    let by: Option<PartyId> = event.destination.party().or_else(|| event.owner.clone());
    Fact::Received { lines, containers, from: None, shipment, by, to: at(event.place()) }
}

fn packed(event: &EpcisEvent) -> Mapped {
    let Some(container) = event.parent.clone() else { return note("aggregate-note", event) };
    let (lines, containers) = (event.goods.lines.clone(), event.goods.holders());
    one("pack", Fact::Packed { container, lines, containers, at: event.place() })
}

fn unpacked(event: &EpcisEvent) -> Mapped {
    let Some(container) = event.parent.clone() else { return note("aggregate-note", event) };
    let (lines, containers) = (event.goods.lines.clone(), event.goods.holders());
    let row = if event.goods.is_empty() { "unpack-all" } else { "unpack" };
    one(row, Fact::Unpacked { container, lines, containers, to: event.place() })
}

/// The parent is what moves. That the children are in it is told by the same event, as a sighting: it
/// changes nothing when they are known to be there.
fn aggregation_observed(event: &EpcisEvent, id: &EventId) -> Result<Mapped, Fault> {
    let Some(parent) = event.parent.clone() else {
        // Several things that are together and in nothing.
        let mapped = observed(event, id)?;
        let row = match mapped.row {
            "object-ship" => "aggregate-ship",
            "object-receive" | "object-return" | "object-void-ship" => "aggregate-receive",
            "object-note" => "aggregate-note",
            _ => "aggregate-see",
        };
        return Ok(Mapped { row, ..mapped });
    };
    let step = event.step.as_str();
    let (row, first) = if step == "shipping" {
        ("aggregate-ship", shipped(event, id, Vec::new(), vec![parent.clone()])?)
    } else if RECEIVING_STEPS.contains(&step) {
        ("aggregate-receive", received(event, Vec::new(), vec![parent.clone()], None))
    } else {
        match event.place() {
            Some(place) if !HISTORY_STEPS.contains(&step) => (
                "aggregate-see",
                Fact::Seen { lines: Vec::new(), containers: vec![parent.clone()], at: Place::Location(place) },
            ),
            _ => return Ok(note("aggregate-note", event)),
        }
    };
    let mut facts = vec![first];
    if !event.goods.is_empty() {
        facts.push(Fact::Seen {
            lines: event.goods.lines.clone(),
            containers: event.goods.holders(),
            at: Place::Container(parent),
        });
    }
    Ok(Mapped { row, facts })
}

fn transformed(event: &EpcisEvent, id: &EventId) -> Result<Mapped, Fault> {
    if event.inputs.lines.is_empty() && event.outputs.lines.is_empty() {
        return Ok(note("transform-note", event));
    }
    let (row, kind) = match event.step.as_str() {
        "commingling" if event.outputs.lines.len() == 1 => ("transform-merge", RunKind::Merge),
        "repackaging" => ("transform-repack", RunKind::Repack),
        _ => ("transform", RunKind::Production),
    };
    let run = RunId {
        // A transformation id is unique in the world: reports of several systems are of one run.
        source: SourceId::parse("epcis")?,
        name: RunName::parse(&fit(event.transformation.as_deref().unwrap_or(id.as_str())))?,
        generation: Generation::default(),
    };
    let place = event.place().map(Place::Location);
    let report = RunReport {
        run,
        kind,
        inputs: inputs(&event.inputs),
        outputs: outputs(&event.outputs, place.as_ref()),
        losses: Vec::new(),
        mapping: Vec::new(),
        hold_up_micros: 0,
        completed: false,
        // Where it ran is where the outputs are; the inputs come from wherever they were.
        at: None,
    };
    Ok(one(row, Fact::Produced(report)))
}

fn inputs(goods: &Goods) -> Vec<Input> {
    goods
        .lines
        .iter()
        .map(|line| Input {
            batch: Some(line.batch.clone()),
            quantity: line.quantity,
            second: line.second,
            from: None,
            window: None,
        })
        .collect()
}

fn outputs(goods: &Goods, place: Option<&Place>) -> Vec<Output> {
    goods
        .lines
        .iter()
        .zip(goods.expires.iter().copied())
        .map(|(line, expires)| Output {
            batch: line.batch.clone(),
            quantity: line.quantity,
            second: line.second,
            to: place.cloned(),
            window: None,
            expires,
        })
        .collect()
}
