//! Keys under which the ledger finds events: 16 opaque bytes each, a hash of a kind and a natural key.
//!
//! `key = first 16 bytes of BLAKE3 derive_key("lotline 2026 entry key v1", material)`, where the material
//! is one byte for the kind, and then each part of the natural key as its length in bytes (u32,
//! big-endian) followed by the bytes. `schemas/payload-format.md` lists the kinds.

use std::cell::RefCell;

use lotline_domain::command::{Body, Rule};
use lotline_domain::fact::{
    Correction, Destination, Fact, FactorScope, HoldTarget, Line, ReleaseTarget, RunReport, anonymous_blend,
};
use lotline_domain::id::{
    BatchCode, BatchId, BatchRef, CommandId, ContainerId, EventId, HoldId, ItemId, LocationId, PartyId, Place, RunId,
    ShipmentId, VesselId,
};

/// A key of a ledger entry.
pub type Key = [u8; 16];

/// The most keys that an entry of the ledger can have.
pub const KEYS_MAX: usize = 4096;

const CONTEXT: &str = "lotline 2026 entry key v1";

fn key(kind: u8, parts: &[&[u8]]) -> Key {
    thread_local! {
        // Hashing the context costs as much as hashing a key, and so does copying a hasher.
        static HASHER: RefCell<blake3::Hasher> = RefCell::new(blake3::Hasher::new_derive_key(CONTEXT));
    }
    let mut material = [0u8; 1024];
    material[0] = kind;
    let mut used = 1;
    for part in parts {
        let length = u32::try_from(part.len()).expect("a name is short");
        material[used..used + 4].copy_from_slice(&length.to_be_bytes());
        material[used + 4..used + 4 + part.len()].copy_from_slice(part);
        used += 4 + part.len();
    }
    let hash: [u8; 32] = HASHER.with_borrow_mut(|hasher| hasher.reset().update(&material[..used]).finalize()).into();
    hash[..16].try_into().expect("32 bytes have a first half")
}

/// Facts and refusals that name this batch in full.
pub fn batch(id: &BatchId) -> Key {
    let issuer = id.issuer.as_ref();
    key(
        1,
        &[
            id.item.as_str().as_bytes(),
            id.code.as_str().as_bytes(),
            &[u8::from(issuer.is_some())],
            issuer.map_or("", PartyId::as_str).as_bytes(),
            &id.generation.0.to_be_bytes(),
        ],
    )
}

/// Facts and refusals that name a batch with this code, in full or by the code alone, or give it as a label.
pub fn batch_code(code: &BatchCode) -> Key {
    key(2, &[code.as_str().as_bytes()])
}

/// Facts that name this container.
pub fn container(id: &ContainerId) -> Key {
    key(3, &[id.as_str().as_bytes()])
}

/// Facts that name this vessel, its definition among them.
pub fn vessel(id: &VesselId) -> Key {
    key(4, &[id.as_str().as_bytes()])
}

/// Reports of this run.
pub fn run(id: &RunId) -> Key {
    key(5, &[id.source.as_str().as_bytes(), id.name.as_str().as_bytes(), &id.generation.0.to_be_bytes()])
}

/// Facts that name this shipment.
pub fn shipment(id: &ShipmentId) -> Key {
    key(6, &[id.as_str().as_bytes()])
}

/// Facts that set or lift this hold by its id.
pub fn hold(id: &HoldId) -> Key {
    key(7, &[id.as_str().as_bytes()])
}

/// Definitions and factors of this item.
pub fn item(id: &ItemId) -> Key {
    key(8, &[id.as_str().as_bytes()])
}

/// Definitions of this place.
pub fn place(id: &LocationId) -> Key {
    key(9, &[id.as_str().as_bytes()])
}

/// All definitions of places: the tree.
pub fn place_tree() -> Key {
    key(10, &[])
}

/// Definitions of this party.
pub fn party(id: &PartyId) -> Key {
    key(11, &[id.as_str().as_bytes()])
}

/// All policies.
pub fn policies() -> Key {
    key(12, &[])
}

/// What was recorded for this command: its fact or its refusal.
pub fn command(id: &CommandId) -> Key {
    key(13, &[id.as_str().as_bytes()])
}

/// The event with this id of its own.
pub fn event(id: &EventId) -> Key {
    key(14, &[id.as_str().as_bytes()])
}

/// Corrections of the event with this id, known or not.
pub fn correction_of(target: &EventId) -> Key {
    key(15, &[target.as_str().as_bytes()])
}

/// All holds and releases.
pub fn holds() -> Key {
    key(16, &[])
}

/// All keys of an entry, ascending, none twice. Never empty.
pub fn keys_of(body: &Body) -> Vec<Key> {
    let mut keys = Collector { keys: Vec::with_capacity(8), event: None };
    match body {
        Body::Fact { event: recorded, .. } => {
            keys.event = Some(&recorded.id);
            keys.keys.push(event(&recorded.id));
            keys.keys.push(command(&recorded.command));
            keys.fact(&recorded.fact);
        }
        Body::Refused { command: refused, rejection, .. } => {
            keys.keys.push(command(refused));
            keys.batches(rejection.batch.iter());
            keys.places(rejection.place.iter());
            if let Rule::UnknownTarget { target } = &rejection.rule {
                keys.keys.push(correction_of(target));
            }
        }
    }
    keys.keys.sort_unstable();
    keys.keys.dedup();
    keys.keys
}

struct Collector<'b> {
    keys: Vec<Key>,
    /// The event whose fact is walked; it names anonymous blends.
    event: Option<&'b EventId>,
}

impl Collector<'_> {
    fn batch(&mut self, named: &BatchRef) {
        match named {
            BatchRef::Known(id) => {
                self.keys.push(batch(id));
                self.keys.push(batch_code(&id.code));
            }
            BatchRef::Code(code) => self.keys.push(batch_code(code)),
        }
    }

    fn batches<'a>(&mut self, named: impl IntoIterator<Item = &'a BatchRef>) {
        named.into_iter().for_each(|named| self.batch(named));
    }

    fn places<'a>(&mut self, places: impl IntoIterator<Item = &'a Place>) {
        for place in places {
            match place {
                Place::Container(id) => self.keys.push(container(id)),
                Place::Vessel(id) => self.keys.push(vessel(id)),
                Place::Transit(id) => self.keys.push(shipment(id)),
                Place::Location(_) | Place::Party(_) | Place::Sink(_) | Place::Unplaced => {}
            }
        }
    }

    fn lines(&mut self, lines: &[Line]) {
        for line in lines {
            self.batch(&line.batch);
            self.places(line.from.iter());
        }
    }

    fn containers<'a>(&mut self, ids: impl IntoIterator<Item = &'a ContainerId>) {
        self.keys.extend(ids.into_iter().map(container));
    }

    fn shipments<'a>(&mut self, ids: impl IntoIterator<Item = &'a ShipmentId>) {
        self.keys.extend(ids.into_iter().map(shipment));
    }

    fn run(&mut self, report: &RunReport) {
        self.keys.push(run(&report.run));
        for (leg, input) in report.inputs.iter().enumerate() {
            self.drawn(input.batch.as_ref(), input.from.as_ref(), leg);
            self.places(input.from.iter());
        }
        for output in &report.outputs {
            self.batch(&output.batch);
            self.places(output.to.iter());
        }
        for (input, output) in &report.mapping {
            self.batch(input);
            self.batch(output);
        }
    }

    /// What a run takes without a name straight from a vessel is an anonymous blend.
    fn drawn(&mut self, named: Option<&BatchRef>, from: Option<&Place>, leg: usize) {
        match (named, from) {
            (Some(named), _) => self.batch(named),
            (None, Some(Place::Vessel(vessel))) => self.blend(vessel, leg),
            (None, _) => {}
        }
    }

    fn blend(&mut self, vessel: &VesselId, leg: usize) {
        if let (Some(event), Ok(leg)) = (self.event, u16::try_from(leg)) {
            let blend = anonymous_blend(vessel, event, leg);
            self.keys.push(batch(&blend));
            self.keys.push(batch_code(&blend.code));
        }
    }

    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Received { lines, containers, from: _, shipment, by: _, to } => {
                self.lines(lines);
                self.containers(containers);
                self.shipments(shipment);
                self.places([to]);
            }
            Fact::Produced(report) => self.run(report),
            Fact::Moved { lines, to } => {
                self.lines(lines);
                self.places([to]);
            }
            Fact::Packed { container, lines, containers, at: _ }
            | Fact::Unpacked { container, lines, containers, to: _ } => {
                self.containers([container]);
                self.lines(lines);
                self.containers(containers);
            }
            Fact::ContainerMoved { containers, to } => {
                self.containers(containers);
                self.places([to]);
            }
            Fact::ContainerEmptied { container } => self.containers([container]),
            Fact::Shipped { shipment, to, lines, containers } => {
                self.shipments([shipment]);
                match to {
                    Some(Destination::Party(_) | Destination::Location(_)) | None => {}
                }
                self.lines(lines);
                self.containers(containers);
            }
            Fact::Delivered { shipment, to: _, lines, containers } => {
                self.shipments(shipment);
                self.lines(lines);
                self.containers(containers);
            }
            Fact::Returned { from: _, lines, containers, to } => {
                self.lines(lines);
                self.containers(containers);
                self.places([to]);
            }
            Fact::Seen { lines, containers, at } => {
                self.lines(lines);
                self.containers(containers);
                self.places([at]);
            }
            Fact::Held { hold: id, target, reason: _ } => {
                self.keys.push(hold(id));
                self.keys.push(holds());
                match target {
                    HoldTarget::Batch(named) => self.batch(named),
                    HoldTarget::Slice(named, place) => {
                        self.batch(named);
                        self.places([place]);
                    }
                }
            }
            Fact::Released { target, reason: _ } => {
                self.keys.push(holds());
                match target {
                    ReleaseTarget::Hold(id) => self.keys.push(hold(id)),
                    ReleaseTarget::Batch(named) => self.batch(named),
                }
            }
            Fact::Counted { at, lines } => {
                self.places([at]);
                self.lines(lines);
            }
            Fact::Adjusted { at, batch, difference: _, reason: _ } => {
                self.places([at]);
                self.batch(batch);
            }
            Fact::Disposed { lines, sink: _ } => self.lines(lines),
            Fact::VesselFilled { vessel: id, lines } => {
                self.keys.push(vessel(id));
                self.lines(lines);
            }
            Fact::VesselDrawn { vessel: id, batch, quantity: _, to, expires: _ } => {
                self.keys.push(vessel(id));
                match batch {
                    Some(named) => self.batch(named),
                    None => self.blend(id, 0),
                }
                self.places(to);
            }
            Fact::VesselCleaned { vessel: id, grade: _ } | Fact::VesselDefined { vessel: id, mix: _, at: _ } => {
                self.keys.push(vessel(id));
            }
            Fact::ItemDefined { item: id, base: _, name: _ } => self.keys.push(item(id)),
            Fact::PlaceDefined { place: id, parent: _, time_zone: _, name: _ } => {
                self.keys.push(place(id));
                self.keys.push(place_tree());
            }
            Fact::PartyDefined { party: id, name: _ } => self.keys.push(party(id)),
            Fact::FactorDefined { scope, one: _, equals: _ } => match scope {
                FactorScope::Item(id) => self.keys.push(item(id)),
                FactorScope::Batch(id) => {
                    self.keys.push(batch(id));
                    self.keys.push(batch_code(&id.code));
                }
            },
            Fact::Labelled { batch, label } => {
                self.batch(batch);
                self.keys.push(batch_code(label));
            }
            Fact::PolicySet { holds_pass_runs: _ } => self.keys.push(policies()),
            Fact::Corrected { target, correction, reason: _, actor: _ } => {
                self.keys.push(correction_of(target));
                match correction {
                    Correction::Void => {}
                    Correction::Supersede { occurred_at: _, fact } => self.fact(fact),
                }
            }
            Fact::Noted { batches, containers, what: _ } => {
                self.batches(batches);
                self.containers(containers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_format_one_after_the_other() {
        for code in ["A", "a longer code than the one before", "B"] {
            let mut material = vec![2];
            material.extend_from_slice(&u32::try_from(code.len()).expect("short").to_be_bytes());
            material.extend_from_slice(code.as_bytes());
            let expected = blake3::derive_key(CONTEXT, &material);
            assert_eq!(batch_code(&BatchCode::parse(code).expect("a name")), expected[..16]);
        }
    }
}
