//! A few words to write small worlds in, for the tests of the naive model.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{
    Correction, Destination, Event, Fact, HoldTarget, Input, Line, MixModel, Output, ReleaseTarget, RunKind, RunReport,
};
use lotline_domain::id::{
    BatchCode, BatchId, BatchRef, CommandId, ContainerId, EventId, Generation, HoldId, ItemId, LocationId, PartyId,
    Place, RunId, RunName, ShipmentId, SourceId, VesselId,
};
use lotline_domain::quantity::{Difference, Stated};
use lotline_domain::time::{Instant, OccurredAt};
use lotline_domain::unit::Unit;
use lotline_testkit::naive::{Bounds, Naive, Settled, Tier, number};

/// Events as they are recorded, one commit each.
#[derive(Default, Clone)]
pub struct World {
    pub events: Vec<(u64, Event)>,
}

/// Minutes of the test's time.
pub fn at(minutes: i64) -> Instant {
    Instant(1_772_431_200_000_000 + minutes * 60_000_000)
}

pub fn batch(text: &str) -> BatchRef {
    let (item, code) = text.split_once('/').unwrap_or(("item", text));
    if item == "?" {
        return BatchRef::Code(BatchCode::parse(code).unwrap());
    }
    BatchRef::Known(BatchId::own(ItemId::parse(item).unwrap(), BatchCode::parse(code).unwrap()))
}

/// The written form of a batch of the default item.
pub fn name(text: &str) -> String {
    batch(text).to_string()
}

pub fn place(text: &str) -> Place {
    Place::parse(text).unwrap()
}

pub fn container(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

pub fn party(text: &str) -> PartyId {
    PartyId::parse(text).unwrap()
}

fn kilograms(text: &str) -> Option<Stated> {
    if text == "?" { None } else { Some(Stated::parse(text, Unit::KILOGRAM).unwrap()) }
}

/// "A 10 @line": a batch, a quantity (`?` is unknown) and perhaps where from.
pub fn line(text: &str) -> Line {
    let mut words = text.split(' ');
    let mut line = Line::new(batch(words.next().unwrap()), kilograms(words.next().unwrap()));
    line.from = words.next().map(|word| place(word.trim_start_matches('@')));
    line
}

pub fn lines(text: &str) -> Vec<Line> {
    text.split(", ").filter(|part| !part.is_empty()).map(line).collect()
}

pub fn run_id(name: &str) -> RunId {
    RunId { source: SourceId::parse("mes").unwrap(), name: RunName::parse(name).unwrap(), generation: Generation(1) }
}

/// A run: "A 50 @line, B 10" into "C 60 @line".
pub fn report(name: &str, inputs: &str, outputs: &str) -> RunReport {
    let inputs = lines(inputs).into_iter();
    let outputs = lines(outputs).into_iter();
    RunReport {
        run: run_id(name),
        kind: RunKind::Production,
        inputs: inputs
            .map(|l| Input { batch: Some(l.batch), quantity: l.quantity, second: None, from: l.from, window: None })
            .collect(),
        outputs: outputs
            .map(|l| Output {
                batch: l.batch,
                quantity: l.quantity,
                second: None,
                to: l.from,
                window: None,
                expires: l.expires,
            })
            .collect(),
        losses: Vec::new(),
        mapping: Vec::new(),
        hold_up_micros: 0,
        completed: false,
        at: None,
    }
}

impl World {
    pub fn tell_as(&mut self, id: &str, time: i64, fact: Fact) -> EventId {
        let event = Event {
            id: EventId::parse(id).unwrap(),
            command: CommandId::parse(id).unwrap(),
            source: SourceId::parse("erp").unwrap(),
            occurred_at: OccurredAt::utc(at(time)),
            sequence: None,
            fact,
        };
        self.events.push((self.events.len() as u64 + 1, event.clone()));
        event.id
    }

    pub fn tell(&mut self, time: i64, fact: Fact) -> EventId {
        let id = format!("e{}", self.events.len() + 1);
        self.tell_as(&id, time, fact)
    }

    pub fn receive(&mut self, time: i64, what: &str, to: &str) -> EventId {
        let fact = Fact::Received {
            lines: lines(what),
            containers: Vec::new(),
            from: Some(party("S")),
            shipment: None,
            by: None,
            to: place(to),
        };
        self.tell(time, fact)
    }

    /// Without a supplier.
    pub fn arrive(&mut self, time: i64, what: &str, to: &str) -> EventId {
        let fact = Fact::Received {
            lines: lines(what),
            containers: Vec::new(),
            from: None,
            shipment: None,
            by: None,
            to: place(to),
        };
        self.tell(time, fact)
    }

    pub fn run(&mut self, time: i64, name: &str, inputs: &str, outputs: &str) -> EventId {
        self.tell(time, Fact::Produced(report(name, inputs, outputs)))
    }

    pub fn go(&mut self, time: i64, what: &str, to: &str) -> EventId {
        self.tell(time, Fact::Moved { lines: lines(what), to: place(to) })
    }

    pub fn see(&mut self, time: i64, what: &str, at: &str) -> EventId {
        self.tell(time, Fact::Seen { lines: lines(what), containers: Vec::new(), at: place(at) })
    }

    pub fn ship(&mut self, time: i64, shipment: &str, what: &str, to: &str) -> EventId {
        self.ship_with(time, shipment, what, "", to)
    }

    pub fn ship_with(&mut self, time: i64, shipment: &str, what: &str, containers: &str, to: &str) -> EventId {
        let to = (!to.is_empty()).then(|| Destination::Party(party(to)));
        let containers = containers.split(' ').filter(|c| !c.is_empty()).map(container).collect();
        let shipment = ShipmentId::parse(shipment).unwrap();
        self.tell(time, Fact::Shipped { shipment, to, lines: lines(what), containers })
    }

    pub fn deliver(&mut self, time: i64, shipment: &str, to: &str) -> EventId {
        let shipment = Some(ShipmentId::parse(shipment).unwrap());
        self.tell(time, Fact::Delivered { shipment, to: party(to), lines: Vec::new(), containers: Vec::new() })
    }

    /// Shipped and delivered at once.
    pub fn sell(&mut self, time: i64, what: &str, to: &str) {
        let shipment = format!("SH-{}", self.events.len());
        self.ship(time, &shipment, what, to);
        self.deliver(time + 1, &shipment, to);
    }

    pub fn give_back(&mut self, time: i64, what: &str, from: &str, to: &str) -> EventId {
        self.tell(time, Fact::Returned { from: party(from), lines: lines(what), containers: Vec::new(), to: place(to) })
    }

    pub fn pack(&mut self, time: i64, what: &str, into: &str) -> EventId {
        self.tell(
            time,
            Fact::Packed { container: container(into), lines: lines(what), containers: Vec::new(), at: None },
        )
    }

    pub fn fill(&mut self, time: i64, what: &str, vessel: &str) -> EventId {
        self.tell(time, Fact::VesselFilled { vessel: VesselId::parse(vessel).unwrap(), lines: lines(what) })
    }

    pub fn draw(&mut self, time: i64, vessel: &str, what: &str) -> EventId {
        let line = line(what);
        let vessel = VesselId::parse(vessel).unwrap();
        self.tell(
            time,
            Fact::VesselDrawn {
                vessel,
                batch: Some(line.batch),
                quantity: line.quantity,
                to: line.from,
                expires: line.expires,
            },
        )
    }

    pub fn mix(&mut self, time: i64, vessel: &str, mix: MixModel) -> EventId {
        self.tell(time, Fact::VesselDefined { vessel: VesselId::parse(vessel).unwrap(), mix, at: None })
    }

    pub fn hold(&mut self, time: i64, hold: &str, what: &str) -> EventId {
        self.tell(
            time,
            Fact::Held { hold: HoldId::parse(hold).unwrap(), target: HoldTarget::Batch(batch(what)), reason: None },
        )
    }

    pub fn release(&mut self, time: i64, what: &str) -> EventId {
        self.tell(time, Fact::Released { target: ReleaseTarget::Batch(batch(what)), reason: None })
    }

    pub fn count(&mut self, time: i64, what: &str, at: &str) -> EventId {
        self.tell(time, Fact::Counted { at: place(at), lines: lines(what) })
    }

    pub fn adjust(&mut self, time: i64, what: &str, difference: &str, at: &str) -> EventId {
        let difference = Difference::new(difference.parse().unwrap(), Unit::KILOGRAM).unwrap();
        self.tell(time, Fact::Adjusted { at: place(at), batch: batch(what), difference, reason: None })
    }

    pub fn correct(&mut self, time: i64, target: &str, with: Option<(i64, Fact)>) -> EventId {
        let correction = match with {
            None => Correction::Void,
            Some((time, fact)) => {
                Correction::Supersede { occurred_at: OccurredAt::utc(at(time)), fact: Box::new(fact) }
            }
        };
        let target = EventId::parse(target).unwrap();
        self.tell(time, Fact::Corrected { target, correction, reason: None, actor: None })
    }

    pub fn locate(&mut self, what: &str, parent: &str) -> EventId {
        let (place, parent) = (LocationId::parse(what).unwrap(), Some(LocationId::parse(parent).unwrap()));
        self.tell(-1000, Fact::PlaceDefined { place, parent, time_zone: None, name: None })
    }

    pub fn naive(&self) -> Naive {
        Naive::new(self.events.clone())
    }

    pub fn settled(&self) -> Settled {
        self.naive().settle(Bounds::ALL)
    }

    /// "A@line 10, A@x -5": every slice that is not zero, sinks left out; `?` marks an unknown one, `~`
    /// an assumed one.
    pub fn book(&self, bounds: Bounds) -> String {
        let on_hand = self.naive().on_hand(bounds);
        let rows = on_hand.iter().filter(|((_, place), _)| !place.starts_with("sink:"));
        let rows = rows.map(|((batch, place), balance)| {
            let marks = [(balance.unknown, "?"), (balance.assumed, "~")];
            let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
            format!("{}@{place} {}{marks}", short(batch), balance.amount)
        });
        rows.collect::<Vec<_>>().join(", ")
    }

    /// "B C D?": the forward trace; `?` is possible, `-` cleared.
    pub fn forward(&self, of: &str) -> String {
        self.forward_within(of, Bounds::ALL)
    }

    pub fn forward_within(&self, of: &str, bounds: Bounds) -> String {
        tiers(&self.naive().forward(&batch(of), bounds))
    }

    pub fn back(&self, of: &str) -> String {
        tiers(&self.naive().back(&batch(of), Bounds::ALL))
    }

    /// Slices of the forward trace, in the same form.
    pub fn slices(&self, of: &str) -> String {
        let trace = self.settled().trace_forward(&batch(of));
        let slices =
            trace.slices.iter().map(|((batch, place), reached)| (format!("{}@{place}", short(batch)), reached.tier));
        tiers(&slices.collect())
    }

    /// "kind: batch@place by event".
    pub fn exceptions(&self) -> BTreeSet<String> {
        let found = self.naive().exceptions(Bounds::ALL);
        found.iter().map(|e| format!("{}: {}@{} by {}", e.kind, short(&e.batch), e.place, e.cause)).collect()
    }

    /// "ever net" of a party.
    pub fn exposure(&self, of: &str, got: &str, who: &str) -> String {
        let exposures = self.settled().exposures(&[batch(of)]);
        match exposures.get(&(batch(got), party(who))) {
            Some(exposure) => format!("{} {}", exposure.ever, exposure.net),
            None => "nothing".into(),
        }
    }
}

/// Without the default item.
fn short(batch: &str) -> &str {
    batch.trim_start_matches("item/")
}

fn tiers(found: &BTreeMap<String, Tier>) -> String {
    let words = found.iter().map(|(name, tier)| {
        let mark = match tier {
            Tier::Certain => "",
            Tier::Possible => "?",
            Tier::Cleared => "-",
        };
        format!("{}{mark}", short(name))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The content of a draw: "A 25, B 12.5".
pub fn content(world: &World, event: &EventId) -> Vec<(String, String)> {
    let content = world.settled().draw_content(event).expect("a draw");
    content.parts.iter().map(|(batch, part)| (short(batch).to_owned(), part.to_string())).collect()
}

pub fn exact(text: &str) -> lotline_testkit::naive::Number {
    number(text)
}
