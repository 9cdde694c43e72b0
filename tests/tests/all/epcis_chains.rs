//! Chains over several companies, captured from EPCIS and traced from end to end.

use std::collections::BTreeSet;

use lotline_domain::book::{BatchIx, Book, Bounds};
use lotline_domain::command::{Body, Mode, Recorded};
use lotline_domain::effect::Effect;
use lotline_domain::fact::Destination;
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_epcis::{names, parse};
use lotline_gs1::Identifier;
use lotline_projections::{Direction, Point, Question, exceptions, on_hand, trace};

use crate::epcis_data::{data, documents, options};

/// After everything that the documents tell.
const RECORDED: Instant = Instant(1_800_000_000_000_000);

/// Captured documents as a book: what a ledger of one commit would give.
struct Chain {
    book: Book,
    bound: Vec<String>,
}

impl Chain {
    fn of(documents: &[&[u8]]) -> Self {
        let mut book = Book::new();
        let mut bound = Vec::new();
        let mut position = 0;
        for bytes in documents {
            let captured = parse(bytes, &options()).expect("the document can be read");
            for event in captured.mapped().flat_map(|mapped| &mapped.events) {
                bound.extend(event.effects().into_iter().filter_map(|effect| match effect {
                    Effect::ShipmentBound { to: Destination::Party(party), .. } => Some(party.to_string()),
                    _ => None,
                }));
                book.apply(&Recorded {
                    position: Position(position),
                    commit: CommitNo(1),
                    recorded_at: RecordedAt(RECORDED),
                    body: Body::Fact { mode: Mode::Observation, event: event.clone(), decided_on: None },
                });
                position += 1;
            }
        }
        Self { book, bound }
    }

    fn read(name: &str) -> Option<Self> {
        let bytes = std::fs::read(data()?.join(name)).expect("the document is there");
        Some(Self::of(&[&bytes]))
    }

    fn question(&self) -> Question<'_> {
        Question::new(&self.book, Bounds::known(CommitNo(1)))
    }

    #[track_caller]
    fn batch(&self, text: &str) -> BatchIx {
        let batch = names::batch(&Identifier::parse(text).expect(text)).expect("a name");
        self.book.find_batch(&BatchRef::Known(batch)).unwrap_or_else(|| panic!("{text} is not known"))
    }

    /// `tier batch` and `tier batch @ place` of everything reached, the start included.
    #[track_caller]
    fn reached(&self, text: &str, direction: Direction) -> BTreeSet<String> {
        let question = self.question();
        let trace = trace(&question, &[self.batch(text)], direction);
        let mut found = BTreeSet::new();
        for ((batch, place), reached) in &trace.slices {
            let (batch, place) = (self.book.batch(*batch), self.book.place(*place));
            found.insert(format!("{} {batch} @ {}", reached.tier().word(), self.where_is(&place)));
        }
        for (batch, tier) in &trace.batches {
            found.insert(format!("{} {}", tier.word(), self.book.batch(*batch)));
        }
        for edge in &trace.edges {
            if let Point::Supply(place) = edge.from {
                found.insert(format!("from {}", self.book.place(place)));
            }
        }
        found
    }

    /// A place; for a container also where it stands at the end.
    fn where_is(&self, place: &Place) -> String {
        let question = self.question();
        let Some(ix) = self.book.find_place(place) else { return place.to_string() };
        match (place, question.settler().place_at(ix, i64::MAX)) {
            (Place::Container(_), Some(stands)) if stands != ix => format!("{place} at {}", self.book.place(stands)),
            _ => place.to_string(),
        }
    }

    fn balances(&self) -> Vec<String> {
        let question = self.question();
        let mut rows: Vec<String> = on_hand(&question)
            .iter()
            .map(|row| {
                format!(
                    "{} @ {} = {}: {}",
                    self.book.batch(row.batch),
                    row.place.map_or(String::new(), |place| self.book.place(place).to_string()),
                    self.book.place(row.slice),
                    row.amount
                )
            })
            .collect();
        rows.sort();
        rows
    }

    fn exceptions(&self) -> Vec<String> {
        let question = self.question();
        exceptions(&question)
            .iter()
            .map(|exception| {
                let batch = exception.batch.map_or(String::new(), |batch| self.book.batch(batch).to_string());
                let place = exception.place.map_or(String::new(), |place| self.book.place(place).to_string());
                format!("{}: {batch} @ {place}", exception.kind.words())
            })
            .collect()
    }
}

#[track_caller]
fn contains(found: &BTreeSet<String>, expected: &[&str]) {
    for expected in expected {
        let all: String = found.iter().map(|row| format!("  {row}\n")).collect();
        assert!(found.contains(*expected), "{expected} is not in\n{all}");
    }
}

/// The same chain stands in three documents, with and without a `u` behind its names.
fn hatchery_to_importer(document: &str, u: &str, vessel: &str) {
    let Some(chain) = Chain::read(document) else { return };
    let lot = |name: &str, code: &str| format!("urn:gdst:example.org:product:lot:class:{name}{u}.{code}");
    let batch = |name: &str, code: &str| format!("certain urn:gdst:example.org:product:class:{name}{u}/{code}");
    let at = |place: &str| format!("urn:gdst:example.org:location:loc:{place}{u}");
    let filet = lot("processor.2", "v1-0122-2022");

    let back = chain.reached(&filet, Direction::Back);
    contains(
        &back,
        &[
            &format!("{} @ {}", batch("hatchery.1", "tf12012021"), at("hatchery.1")),
            &format!("{} @ {}", batch("feedmill.1", "ff11252021"), at("feedmill.1")),
            &format!("{} @ {vessel}", batch("fisherman01.tuna", "v1-0122-2022")),
            &batch("processor.10", "commingle-01232022"),
            &format!("{} @ {}", batch("fishfarm.1", "farmed-tuna-01192022"), at("fishfarm.1")),
            "from party:unknown",
        ],
    );
    let buyer = format!("{} @ {}", batch("processor.2", "v1-0122-2022"), at("importer.123"));
    let packed = "container:urn:epc:id:sscc:08600031303.000";
    for origin in
        [lot("hatchery.1", "tf12012021"), lot("feedmill.1", "ff11252021"), lot("fisherman01.tuna", "v1-0122-2022")]
    {
        let forward = chain.reached(&origin, Direction::Forward);
        contains(&forward, &[&buyer]);
        let through_the_pallet = |row: &String| row.contains(packed) && row.ends_with(&at("importer.123"));
        assert!(forward.iter().any(through_the_pallet), "{origin}: {forward:?}");
        assert!(forward.iter().all(|row| !row.starts_with("possible")), "{origin}: {forward:?}");
    }
    let importer = format!("urn:gdst:example.org:party:importer.1{u}");
    assert!(chain.bound.contains(&importer), "{:?}", chain.bound);
    // 10,000 kg of a lot of 9,876 kg went into the run: kept, and told.
    let short =
        format!("source unknown: urn:gdst:example.org:product:class:fisherman01.tuna{u}/v1-0122-2022 @ unplaced");
    assert!(chain.exceptions().contains(&short), "{:?}", chain.exceptions());
}

#[test]
fn the_chain_with_master_data_runs_from_hatchery_and_vessel_to_the_importer() {
    hatchery_to_importer("gdst/gdst_data_withmasterdata.jsonld", "u", "0860003130315.1");
}

#[test]
fn the_chain_with_nested_pallets_runs_from_hatchery_and_vessel_to_the_importer() {
    hatchery_to_importer("gdst/driver-full-chain.jsonld", "u", "0860003130315.1");
}

#[test]
fn the_chain_of_the_capability_tool_runs_from_hatchery_and_vessel_to_the_importer() {
    hatchery_to_importer("gdst/cap_tool_events.jsonld", "", "0860003130315");
}

#[test]
fn both_chains_of_one_document_run_apart() {
    hatchery_to_importer("gdst/all_wholechain_events.jsonld", "", "0860003130315");
    let Some(chain) = Chain::read("gdst/all_wholechain_events.jsonld") else { return };
    let filet = chain
        .reached("urn:gdst:wholechain.com:product:lot:class:processingcompany.tunafilet.34e5e863", Direction::Back);
    let of = |name: &str| format!("certain urn:gdst:wholechain.com:product:class:fishcompany.{name}");
    contains(
        &filet,
        &[
            &format!("{} @ urn:gdst:wholechain.com:location:loc:fishcompany.boat1", of("tuna/23423445")),
            &format!("{} @ urn:gdst:wholechain.com:location:loc:fishcompany.boat1", of("tuna/23423")),
            &format!("{} @ urn:gdst:wholechain.com:location:loc:fishcompany.boat2", of("hgtuna/8a25a035")),
        ],
    );
    // What shares a pallet does not share a history.
    assert!(filet.iter().all(|row| !row.contains("sal-") && !row.contains("example.org")), "{filet:?}");
    let salmon =
        chain.reached("urn:gdst:wholechain.com:product:lot:class:fishcompany.sal-fry.weio348", Direction::Forward);
    contains(
        &salmon,
        &[&format!("{} @ urn:gdst:wholechain.com:location:loc:processingcompany.plant1", of("sal-whole/eiwo493"))],
    );
}

#[test]
fn the_order_of_capture_and_repetitions_change_no_answer() {
    let Some(data) = data() else { return };
    let read = |name: &str| std::fs::read(data.join("gdst").join(name)).unwrap();
    let (first, second) = (read("driver-full-chain.jsonld"), read("all_wholechain_events.jsonld"));
    let forth = Chain::of(&[&first, &second]);
    let back_and_twice = Chain::of(&[&second, &first, &second, &first]);
    for origin in [
        "urn:gdst:example.org:product:lot:class:hatchery.1u.tf12012021",
        "urn:gdst:example.org:product:lot:class:feedmill.1.ff11252021",
        "urn:gdst:wholechain.com:product:lot:class:fishcompany.tuna.23423",
    ] {
        assert_eq!(forth.reached(origin, Direction::Forward), back_and_twice.reached(origin, Direction::Forward));
    }
    assert_eq!(forth.balances(), back_and_twice.balances());
}

/// An event of a small chain of two companies.
fn event(id: u32, hour: u32, rest: &str) -> String {
    format!(
        r#"{{"eventID": "urn:uuid:{id}", "eventTime": "2026-03-01T{hour:02}:00:00Z", "eventTimeZoneOffset": "+00:00", {rest}}}"#
    )
}

const LOT: &str = "urn:epc:class:lgtin:4012345.012345.L1";

fn lot(quantity: u32) -> String {
    format!(r#""quantityList": [{{"epcClass": "{LOT}", "quantity": {quantity}, "uom": "KGM"}}]"#)
}

fn place(name: &str) -> String {
    format!(r#""bizLocation": {{"id": "urn:gdst:example.org:location:loc:{name}"}}"#)
}

const TO_BUYER: &str =
    r#""destinationList": [{"type": "possessing_party", "destination": "urn:gdst:example.org:party:buyer.1"}]"#;

#[test]
fn a_part_that_was_shipped_and_received_leaves_the_rest_where_it_was() {
    let events = [
        event(1, 8, &format!(r#""type": "ObjectEvent", "action": "ADD", {}, {}"#, lot(100), place("maker.dock"))),
        event(
            2,
            9,
            &format!(
                r#""type": "ObjectEvent", "action": "OBSERVE", "bizStep": "shipping", {}, {TO_BUYER}, {}"#,
                lot(40),
                place("maker.dock")
            ),
        ),
        event(
            3,
            10,
            &format!(
                r#""type": "ObjectEvent", "action": "OBSERVE", "bizStep": "receiving", {}, {TO_BUYER}, {}"#,
                lot(40),
                place("buyer.hall")
            ),
        ),
        event(
            4,
            11,
            &format!(
                r#""type": "ObjectEvent", "action": "OBSERVE", "bizStep": "storing", {}, {}"#,
                lot(40),
                place("buyer.hall")
            ),
        ),
    ];
    let chain = Chain::of(&[format!("[{}]", events.join(",")).as_bytes()]);
    let at = |name: &str, amount: u32| {
        let place = format!("urn:gdst:example.org:location:loc:{name}");
        format!("04012345123456/L1 @ {place} = {place}: {amount} KGM")
    };
    assert_eq!(chain.balances(), [at("buyer.hall", 40), at("maker.dock", 60)]);
    assert_eq!(chain.exceptions(), Vec::<String>::new());
}

#[test]
fn a_declared_error_takes_the_event_out_of_the_answer_whichever_comes_first() {
    let good =
        event(1, 8, &format!(r#""type": "ObjectEvent", "action": "ADD", {}, {}"#, lot(100), place("maker.dock")));
    let declared = r#""errorDeclaration": {"declarationTime": "2026-03-02T08:00:00Z", "reason": "did_not_occur"}"#;
    let bad = event(
        1,
        8,
        &format!(r#""type": "ObjectEvent", "action": "ADD", {declared}, {}, {}"#, lot(100), place("maker.dock")),
    );
    for order in [[&good, &bad], [&bad, &good]] {
        let documents = order.map(|event| event.as_bytes());
        assert_eq!(Chain::of(&documents).balances(), Vec::<String>::new());
        assert_eq!(Chain::of(&documents).exceptions(), Vec::<String>::new());
    }
    assert_eq!(Chain::of(&[good.as_bytes()]).balances().len(), 1);
    assert_eq!(Chain::of(&[bad.as_bytes()]).exceptions().len(), 1, "a correction of an unknown fact waits");
}

#[test]
fn every_document_settles_and_its_totals_are_told() {
    let Some(data) = data() else { return };
    let bytes: Vec<Vec<u8>> = documents(&data).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let readable: Vec<&[u8]> =
        bytes.iter().map(Vec::as_slice).filter(|bytes| parse(bytes, &options()).is_ok()).collect();
    let chain = Chain::of(&readable);
    assert!(chain.book.batch_count() > 200, "{} batches", chain.book.batch_count());
    assert!(!chain.balances().is_empty());
    assert!(!chain.exceptions().is_empty());
}
