//! The table of `schemas/epcis-mapping.md`, row by row: every row has a sample, every sample a row, and
//! facts and effects are those of the page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lotline_domain::effect::{Effect, Origin, Target};
use lotline_domain::fact::{Correction, Destination, Event, Fact, RunKind};
use lotline_domain::id::{Place, Sink};

use crate::epcis_data::{capture, mapped};

/// A row of the page.
#[derive(Debug, Clone)]
struct Row {
    event: String,
    action: String,
    facts: String,
    effects: BTreeSet<String>,
}

fn rows() -> BTreeMap<String, Vec<Row>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/epcis-mapping.md");
    let page = std::fs::read_to_string(page).expect("the mapping page is there");
    let (_, table) = page.split_once("## The table").expect("the page has its table");
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 8, "{line}");
        let effects = cells[6].split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty());
        let row = Row {
            event: cells[1].to_owned(),
            action: cells[2].to_owned(),
            facts: cells[5].to_owned(),
            effects: effects.collect(),
        };
        rows.entry(cells[0].trim_matches('`').to_owned()).or_default().push(row);
    }
    rows
}

/// A batch, a unit and a pallet, as an object event lists them.
const OBJECTS: &str = r#""epcList": ["urn:epc:id:sgtin:0614141.107346.2018", "urn:epc:id:sscc:0614141.1234567890"],
    "quantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.012345.998877", "quantity": 200.5, "uom": "KGM"}]"#;
const UNITS: &str = r#""epcList": ["urn:epc:id:sgtin:0614141.107346.2018"],
    "quantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.012345.998877", "quantity": 200.5, "uom": "KGM"}]"#;
const CHILDREN: &str = r#""parentID": "urn:epc:id:sscc:0614141.1234567890",
    "childEPCs": ["urn:epc:id:sgtin:0614141.107346.2018"],
    "childQuantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.012345.998877", "quantity": 20}]"#;
const PLACE: &str = r#""bizLocation": {"id": "urn:epc:id:sgln:0614141.00888.0"}"#;
const BUYER: &str =
    r#""destinationList": [{"type": "possessing_party", "destination": "urn:epc:id:pgln:0614141.00777"}]"#;
const SELLER: &str = r#""sourceList": [{"type": "owning_party", "source": "urn:epc:id:pgln:4012345.00225"}]"#;
const RUN: &str = r#""inputQuantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.011111.A", "quantity": 10, "uom": "KGM"}],
    "outputQuantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.022222.B", "quantity": 9, "uom": "KGM"}]"#;

fn event(kind: &str, action: &str, step: &str, rest: &[&str]) -> String {
    let action = if action == "–" { String::new() } else { format!("\"action\": \"{action}\",") };
    format!(
        r#"{{"type": "{kind}", "eventID": "urn:uuid:1", "eventTime": "2026-03-01T08:00:00+01:00",
            "eventTimeZoneOffset": "+01:00", {action} "bizStep": "{step}", {}}}"#,
        rest.join(", ")
    )
}

/// One sample of every row, in the order of the page.
fn samples() -> Vec<(&'static str, String)> {
    let object = |action, step, rest: &[&str]| event("ObjectEvent", action, step, rest);
    let aggregation = |action, step, rest: &[&str]| event("AggregationEvent", action, step, rest);
    let transformation = |step, rest: &[&str]| event("TransformationEvent", "–", step, rest);
    vec![
        ("object-add", object("ADD", "commissioning", &[OBJECTS, PLACE])),
        ("object-ship", object("OBSERVE", "shipping", &[OBJECTS, PLACE, BUYER])),
        ("object-return", object("OBSERVE", "receiving", &[OBJECTS, PLACE, SELLER, r#""disposition": "returned""#])),
        ("object-receive", object("OBSERVE", "urn:gdst:bizStep:landing", &[OBJECTS, PLACE, SELLER])),
        (
            "object-void-ship",
            object(
                "OBSERVE",
                "void_shipping",
                &[OBJECTS, PLACE, r#""bizTransactionList": [{"type": "desadv", "bizTransaction": "urn:x:1"}]"#],
            ),
        ),
        ("object-count", object("OBSERVE", "stock_taking", &[UNITS, PLACE])),
        ("object-note", object("OBSERVE", "departing", &[OBJECTS, PLACE])),
        ("object-see", object("OBSERVE", "storing", &[OBJECTS, PLACE])),
        ("object-destroy", object("DELETE", "destroying", &[OBJECTS])),
        ("object-sample", object("DELETE", "sampling", &[OBJECTS])),
        ("object-sell", object("DELETE", "retail_selling", &[OBJECTS, BUYER])),
        ("object-delete", object("DELETE", "decommissioning", &[OBJECTS])),
        ("pack", aggregation("ADD", "packing", &[CHILDREN, PLACE])),
        (
            "unpack-all",
            aggregation("DELETE", "unpacking", &[r#""parentID": "urn:epc:id:sscc:0614141.1234567890""#, PLACE]),
        ),
        ("unpack", aggregation("DELETE", "unpacking", &[CHILDREN, PLACE])),
        ("aggregate-ship", aggregation("OBSERVE", "shipping", &[CHILDREN, PLACE, BUYER])),
        ("aggregate-receive", aggregation("OBSERVE", "receiving", &[CHILDREN, PLACE])),
        ("aggregate-note", aggregation("OBSERVE", "transporting", &[CHILDREN, PLACE])),
        ("aggregate-see", aggregation("OBSERVE", "storing", &[CHILDREN, PLACE])),
        ("transform-merge", transformation("urn:gdst:bizStep:commingling", &[RUN, PLACE])),
        ("transform-repack", transformation("repackaging", &[RUN, PLACE])),
        ("transform", transformation("commissioning", &[RUN, PLACE])),
        (
            "transform-note",
            transformation("commissioning", &[r#""inputEPCList": ["urn:epc:id:sscc:0614141.1234567890"]"#]),
        ),
        ("transaction", event("TransactionEvent", "ADD", "shipping", &[OBJECTS])),
        (
            "association",
            event(
                "AssociationEvent",
                "ADD",
                "installing",
                &[
                    r#""parentID": "urn:epc:id:grai:4012345.55555.987""#,
                    r#""childQuantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.012345.998877"}]"#,
                ],
            ),
        ),
        ("other", event("example:InspectionEvent", "–", "inspecting", &[OBJECTS])),
        (
            "error-declaration",
            object(
                "ADD",
                "commissioning",
                &[
                    OBJECTS,
                    r#""errorDeclaration": {"declarationTime": "2026-03-02T08:00:00+01:00", "reason": "did_not_occur"}"#,
                ],
            ),
        ),
    ]
}

fn fact_word(fact: &Fact) -> &'static str {
    match fact {
        Fact::Received { .. } => "Received",
        Fact::Produced(_) => "Produced",
        Fact::Packed { .. } => "Packed",
        Fact::Unpacked { .. } => "Unpacked",
        Fact::ContainerEmptied { .. } => "ContainerEmptied",
        Fact::Shipped { .. } => "Shipped",
        Fact::Delivered { .. } => "Delivered",
        Fact::Returned { .. } => "Returned",
        Fact::Seen { .. } => "Seen",
        Fact::Counted { .. } => "Counted",
        Fact::Disposed { .. } => "Disposed",
        Fact::ItemDefined { .. } => "ItemDefined",
        Fact::PlaceDefined { .. } => "PlaceDefined",
        Fact::PartyDefined { .. } => "PartyDefined",
        Fact::Corrected { correction: Correction::Void, .. } => "Corrected",
        Fact::Noted { .. } => "Noted",
        other => panic!("the mapping makes no {other:?}"),
    }
}

fn effect_words(events: &[Event]) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for event in events {
        if event.voids().is_some() {
            words.insert("voids".to_owned());
        }
        for effect in event.effects() {
            let word = match effect {
                Effect::Flow(_) => "flow",
                Effect::PlaceMoved { .. } => "place moved",
                Effect::PlaceEmptied { .. } => "place emptied",
                Effect::Counted { .. } => "counted",
                Effect::RunTold { .. } => "run told",
                Effect::ShipmentBound { .. } => "shipment bound",
                Effect::ItemSet { .. } => "item set",
                Effect::PlaceSet { .. } => "place set",
                Effect::Mentioned { .. } => "mentioned",
                other => panic!("the page has no word for {other:?}"),
            };
            words.insert(word.to_owned());
        }
    }
    words
}

fn facts_of(events: &[Event]) -> String {
    let mut words: Vec<&str> = events.iter().map(|event| fact_word(&event.fact)).collect();
    // However many logistic units there are, the page names their fact once.
    words.dedup_by(|a, b| a == b && *a == "ContainerEmptied");
    words.join(" + ")
}

#[test]
fn every_row_of_the_page_has_a_sample_and_every_sample_its_row() {
    let on_page: BTreeSet<String> = rows().into_keys().filter(|row| row != "master-data").collect();
    let tested: BTreeSet<String> = samples().into_iter().map(|(row, _)| row.to_owned()).collect();
    assert_eq!(on_page, tested);
}

#[test]
fn every_sample_maps_by_its_row_to_the_facts_and_effects_of_the_page() {
    let rows = rows();
    for (name, sample) in samples() {
        let mapped = mapped(&sample);
        assert_eq!(mapped.row, name, "{sample}");
        let [row] = rows[name].as_slice() else { panic!("{name} stands on the page more than once") };
        assert_eq!(facts_of(&mapped.events), row.facts, "{name}");
        assert_eq!(effect_words(&mapped.events), row.effects, "{name}");
        let kind = row.event.as_str();
        assert!(kind == "any" || kind.starts_with("a type") || sample.contains(&format!("\"{kind}Event\"")), "{name}");
        assert!(
            matches!(row.action.as_str(), "any" | "–") || sample.contains(&format!("\"{}\"", row.action)),
            "{name}"
        );
    }
}

#[test]
fn master_data_maps_as_its_rows_say() {
    let text = r#"{"type": "EPCISDocument", "creationDate": "2026-03-01T00:00:00Z",
        "epcisHeader": {"epcisMasterData": {"vocabularyList": [
            {"type": "urn:epcglobal:epcis:vtype:Party", "vocabularyElementList": [
                {"id": "urn:gdst:example.org:party:a.1", "attributes": [{"id": "urn:epcglobal:cbv:mda#name", "attribute": "A"}]}]},
            {"type": "urn:epcglobal:epcis:vtype:Location", "vocabularyElementList": [{"id": "urn:gdst:example.org:location:loc:a.1"}]},
            {"type": "urn:epcglobal:epcis:vtype:EPCClass", "vocabularyElementList": [
                {"id": "urn:gdst:example.org:product:class:a.fish"}, {"id": "urn:gdst:example.org:product:class:a.unused"}]}]}},
        "epcisBody": {"eventList": [{"type": "ObjectEvent", "action": "ADD", "eventTime": "2026-03-01T08:00:00Z",
            "quantityList": [{"epcClass": "urn:gdst:example.org:product:lot:class:a.fish.1", "quantity": 5000, "uom": "GRM"}]}]}}"#;
    let captured = capture(text).unwrap();
    let found: Vec<_> = captured.mapped().filter(|mapped| mapped.row == "master-data").collect();
    let facts: Vec<String> = found.iter().map(|mapped| facts_of(&mapped.events)).collect();
    let page: Vec<String> = rows()["master-data"].iter().map(|row| row.facts.clone()).collect();
    assert_eq!(facts, page);
    for (mapped, row) in found.iter().zip(&rows()["master-data"]) {
        assert_eq!(effect_words(&mapped.events), row.effects);
    }
    let Fact::ItemDefined { base, .. } = &found[2].events[0].fact else { panic!("{:?}", found[2]) };
    assert_eq!(base.as_str(), "KGM", "the base unit of what the events measure in grams");
}

#[test]
fn commissioned_goods_come_from_nobody_known_or_from_the_source_party() {
    let plain = mapped(&event("ObjectEvent", "ADD", "urn:gdst:bizStep:hatching", &[OBJECTS, PLACE]));
    let Fact::Received { from, to, .. } = &plain.events[0].fact else { panic!("{plain:?}") };
    assert_eq!(from.as_ref().map(ToString::to_string), Some("unknown".into()));
    assert_eq!(to.to_string(), "0614141008889");
    let supplied = mapped(&event("ObjectEvent", "ADD", "commissioning", &[OBJECTS, SELLER]));
    let Fact::Received { from, to, .. } = &supplied.events[0].fact else { panic!("{supplied:?}") };
    assert_eq!(from.as_ref().map(ToString::to_string), Some("4012345002256".into()));
    assert_eq!(*to, Place::Unplaced);
}

#[test]
fn a_shipment_goes_to_the_destination_and_is_named_by_its_despatch_advice() {
    let ship = |rest: &[&str]| {
        let mut all = vec![OBJECTS];
        all.extend(rest);
        match mapped(&event("ObjectEvent", "OBSERVE", "shipping", &all)).events.remove(0).fact {
            Fact::Shipped { shipment, to, .. } => (shipment.to_string(), to),
            other => panic!("{other:?}"),
        }
    };
    let papers = r#""bizTransactionList": [{"type": "po", "bizTransaction": "urn:x:po"}, {"type": "desadv", "bizTransaction": "urn:x:asn"}]"#;
    let both = r#""destinationList": [{"type": "location", "destination": "urn:epc:id:sgln:0614141.00777.0"},
        {"type": "owning_party", "destination": "urn:epc:id:pgln:0614141.00777"}]"#;
    let site = r#""destinationList": [{"type": "location", "destination": "urn:epc:id:sgln:0614141.00777.5"}]"#;
    let owner = r#""gdst:productOwner": "urn:gdst:example.org:party:importer.1""#;
    let name = |to: Option<Destination>| match to {
        Some(Destination::Party(party)) => format!("party {party}"),
        Some(Destination::Location(location)) => format!("location {location}"),
        None => "nowhere".to_owned(),
    };
    let (shipment, to) = ship(&[papers, both]);
    assert_eq!((shipment.as_str(), name(to)), ("urn:x:asn", "party 0614141007776".into()));
    let (shipment, to) = ship(&[site, owner]);
    assert_eq!((shipment.as_str(), name(to)), ("urn:uuid:1", "location 0614141007776.5".into()));
    assert_eq!(name(ship(&[owner]).1), "party urn:gdst:example.org:party:importer.1");
    assert_eq!(name(ship(&[]).1), "nowhere");
}

#[test]
fn a_receipt_is_by_the_buyer_and_leaves_its_source_to_settlement() {
    let receipt = mapped(&event("ObjectEvent", "OBSERVE", "receiving", &[OBJECTS, PLACE, SELLER, BUYER]));
    let Fact::Received { from, shipment, by, .. } = &receipt.events[0].fact else { panic!("{receipt:?}") };
    assert_eq!((from, shipment), (&None, &None));
    assert_eq!(by.as_ref().map(ToString::to_string), Some("0614141007776".into()));
    let owner = r#""gdst:productOwner": "urn:gdst:example.org:party:importer.1""#;
    let receipt = mapped(&event("ObjectEvent", "OBSERVE", "receiving", &[OBJECTS, PLACE, owner]));
    let Fact::Received { by, .. } = &receipt.events[0].fact else { panic!("{receipt:?}") };
    assert_eq!(by.as_ref().map(ToString::to_string), Some("urn:gdst:example.org:party:importer.1".into()));
}

#[test]
fn no_outflow_states_a_source_that_the_event_does_not() {
    for (name, sample) in samples() {
        if matches!(name, "object-add" | "object-return" | "object-void-ship" | "unpack" | "unpack-all") {
            continue;
        }
        for effect in mapped(&sample).events.iter().flat_map(Event::effects) {
            let Effect::Flow(flow) = effect else { continue };
            let out_of_a_run = matches!(flow.from, Origin::Run(_));
            assert!(out_of_a_run || !matches!(flow.from, Origin::Place(_) | Origin::Supply(_)), "{name}: {flow:?}");
        }
    }
}

#[test]
fn a_transformation_id_is_the_run_and_without_one_the_event_is() {
    let run = |rest: &[&str]| {
        let mut all = vec![RUN, PLACE];
        all.extend(rest);
        match mapped(&event("TransformationEvent", "–", "commissioning", &all)).events.remove(0).fact {
            Fact::Produced(report) => report,
            other => panic!("{other:?}"),
        }
    };
    let named = run(&[r#""transformationID": "urn:epc:id:gdti:0614141.12345.400""#]);
    assert_eq!(named.run.to_string(), "epcis:urn:epc:id:gdti:0614141.12345.400");
    assert_eq!(named.kind, RunKind::Production);
    for none in [&[][..], &[r#""transformationID": """#][..], &[r#""transformationID": null"#][..]] {
        assert_eq!(run(none).run.to_string(), "epcis:urn:uuid:1");
    }
    assert_eq!(named.outputs[0].to.as_ref().map(ToString::to_string), Some("0614141008889".into()));
    assert_eq!(named.inputs[0].from, None);
}

#[test]
fn commingling_is_a_merge_only_when_one_batch_comes_of_it() {
    let two = r#""inputQuantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.011111.A"}],
        "outputQuantityList": [{"epcClass": "urn:epc:class:lgtin:4012345.022222.B"}, {"epcClass": "urn:epc:class:lgtin:4012345.022222.C"}]"#;
    assert_eq!(mapped(&event("TransformationEvent", "–", "urn:gdst:bizStep:commingling", &[two])).row, "transform");
}

#[test]
fn a_case_is_a_unit_and_a_container_of_one_name() {
    let pack = mapped(&event("AggregationEvent", "ADD", "packing", &[CHILDREN]));
    let Fact::Packed { lines, containers, .. } = &pack.events[0].fact else { panic!("{pack:?}") };
    assert_eq!(lines[0].batch.to_string(), "10614141073464/(21)2018");
    assert_eq!(lines[0].quantity.map(|q| q.to_string()), Some("1 C62".into()));
    assert_eq!(containers[0].as_str(), "10614141073464/(21)2018");
    let outer = event(
        "AggregationEvent",
        "ADD",
        "packing",
        &[
            r#""parentID": "urn:epc:id:sgtin:0614141.107346.2018""#,
            r#""childEPCs": ["urn:epc:id:sgtin:0614141.207346.1"]"#,
        ],
    );
    let Fact::Packed { container, .. } = &mapped(&outer).events[0].fact else { panic!("{outer}") };
    assert_eq!(container, &containers[0]);
}

#[test]
fn deleted_goods_go_where_the_step_says() {
    for (step, sink) in [("destroying", Sink::Destroyed), ("sampling", Sink::Sample), ("killing", Sink::Consumed)] {
        let flows = mapped(&event("ObjectEvent", "DELETE", step, &[OBJECTS])).events[0].effects();
        let Some(Effect::Flow(flow)) = flows.first() else { panic!("{flows:?}") };
        assert_eq!(flow.to, Target::Place(Place::Sink(sink)), "{step}");
    }
}

#[test]
fn an_error_declaration_voids_every_fact_of_its_event() {
    let declared = r#""errorDeclaration": {"declarationTime": "2026-03-02T08:00:00+01:00", "reason": "incorrect_data",
        "correctiveEventIDs": ["urn:uuid:2"]}"#;
    let good = mapped(&event("AggregationEvent", "OBSERVE", "shipping", &[CHILDREN, BUYER]));
    let bad = mapped(&event("AggregationEvent", "OBSERVE", "shipping", &[CHILDREN, BUYER, declared]));
    let targets: Vec<String> = bad
        .events
        .iter()
        .map(|event| match &event.fact {
            Fact::Corrected { target, correction: Correction::Void, reason, .. } => {
                assert_eq!(reason.as_deref(), Some("incorrect_data; corrected by urn:uuid:2"));
                target.to_string()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let facts: Vec<String> = good.events.iter().map(|event| event.id.to_string()).collect();
    assert_eq!(targets, facts);
    assert_ne!(bad.id, good.id);
    assert_eq!(bad.events[0].occurred_at.to_string(), "2026-03-02T08:00:00+01:00");
}

#[test]
fn an_event_without_id_is_voided_by_its_content() {
    let good = event("ObjectEvent", "ADD", "commissioning", &[OBJECTS]).replace(r#""eventID": "urn:uuid:1","#, "");
    let declared = r#""errorDeclaration": {"declarationTime": "2026-03-02T08:00:00Z"}"#;
    let bad =
        event("ObjectEvent", "ADD", "commissioning", &[OBJECTS, declared]).replace(r#""eventID": "urn:uuid:1","#, "");
    let good = mapped(&good);
    assert!(good.id.as_str().starts_with("urn:lotline:blake3:"));
    let Fact::Corrected { target, .. } = &mapped(&bad).events[0].fact else { panic!("{bad}") };
    assert_eq!(*target, good.id);
}
