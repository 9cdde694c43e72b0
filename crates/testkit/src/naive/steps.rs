//! Section 2: facts cut into steps, and the steps' order.

use lotline_domain::fact::{Destination, Fact, RunReport, anonymous_blend};
use lotline_domain::id::{
    BatchRef, ContainerId, EventId, PartyId, Place, RunId, ShipmentId, Sink, VesselId, unknown_party,
};
use lotline_domain::time::Instant;

use super::live::Live;
use super::names::{Batch, Names};
use super::units::Measure;

/// Where a step stands among all steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub instant: Instant,
    /// None before any number.
    pub sequence: Option<u64>,
    pub phase: u8,
    pub event: EventId,
    pub leg: u32,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub key: Key,
    /// The last instant that the fact may mean.
    pub latest: Instant,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Flow(FlowStep),
    /// Everything loose in the place flows to where it goes.
    EmptyAll {
        place: Place,
        to: Target,
    },
    /// A container is put at a place.
    Carry {
        container: ContainerId,
        to: Target,
        reason: Reason,
    },
    Draw {
        vessel: VesselId,
        batch: Batch,
        measure: Measure,
        to: Target,
    },
    Clean {
        vessel: VesselId,
        grade: u8,
    },
    Count {
        batch: Batch,
        place: Place,
        measure: Measure,
    },
}

/// A flow of one batch that is to be settled.
#[derive(Debug, Clone)]
pub struct FlowStep {
    pub batch: Batch,
    pub measure: Measure,
    pub from: Source,
    pub to: Target,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From a party's slice as far as it goes, the rest from outside.
    Supplier(PartyId),
    Run(RunId),
    Named(Place),
    NotStated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Place(Place),
    /// Wherever the container stands then.
    WhereStands(ContainerId),
    Run(RunId),
}

/// What kind of fact it is from, as far as rules ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Received {
        by: Option<PartyId>,
    },
    Packed {
        container: ContainerId,
        at: Option<Place>,
        first: bool,
    },
    Shipped {
        shipment: ShipmentId,
        to: Option<Destination>,
    },
    Delivered,
    Seen,
    Produced {
        production: bool,
    },
    /// Disposed of as consumed.
    UsedUp,
    Other,
}

struct Cutter<'a> {
    names: &'a Names,
    event: &'a Live,
    leg: u32,
    steps: Vec<Step>,
}

/// All steps in their order.
pub fn steps(live: &[Live], names: &Names, as_of: Option<Instant>) -> Vec<Step> {
    let mut steps = Vec::new();
    for event in live.iter().filter(|event| as_of.is_none_or(|as_of| event.instant() <= as_of)) {
        let mut cutter = Cutter { names, event, leg: 0, steps: Vec::new() };
        cutter.cut();
        steps.append(&mut cutter.steps);
    }
    steps.sort_by(|a, b| a.key.cmp(&b.key));
    steps
}

/// The phase of a flow: from outside or a run, between slices, out, or without a source.
fn phase(flow: &FlowStep) -> u8 {
    match (&flow.from, &flow.to) {
        (Source::Supplier(_) | Source::Run(_), _) => 0,
        (Source::NotStated, _) => 3,
        (Source::Named(Place::Sink(Sink::Adjustment)), _) | (_, Target::Place(Place::Sink(Sink::Adjustment))) => 1,
        (Source::Named(_), Target::Run(_) | Target::Place(Place::Transit(_) | Place::Sink(_))) => 2,
        (Source::Named(_), _) => 1,
    }
}

impl Cutter<'_> {
    fn push(&mut self, phase: u8, what: What) {
        let Live { id, occurred_at, sequence, .. } = self.event;
        let key = Key { instant: occurred_at.instant, sequence: *sequence, phase, event: id.clone(), leg: self.leg };
        self.steps.push(Step { key, latest: occurred_at.latest(), what });
        self.leg += 1;
    }

    fn flow(&mut self, batch: &BatchRef, measure: Measure, from: Source, to: Target, reason: Reason) {
        let flow = FlowStep { batch: self.names.resolve(batch), measure, from, to, reason };
        self.push(phase(&flow), What::Flow(flow));
    }

    fn lines(&mut self, lines: &[lotline_domain::fact::Line], default: Source, to: &Target, reason: &Reason) {
        for (index, line) in lines.iter().enumerate() {
            let from = line.from.clone().map_or_else(|| default.clone(), Source::Named);
            let mut reason = reason.clone();
            if let Reason::Packed { first, .. } = &mut reason {
                *first = index == 0;
            }
            self.flow(&line.batch, Measure { first: line.quantity, second: line.second }, from, to.clone(), reason);
        }
    }

    fn carry(&mut self, containers: &[ContainerId], to: &Target, reason: &Reason) {
        for container in containers {
            self.push(4, What::Carry { container: container.clone(), to: to.clone(), reason: reason.clone() });
        }
    }

    fn cut(&mut self) {
        let place = |place: &Place| Target::Place(place.clone());
        match &self.event.fact {
            Fact::Received { lines, containers, from, shipment, by, to } => {
                // CHOICE: where supplier and shipment are both stated, the goods come from the supplier.
                let source = match (from, shipment) {
                    (Some(party), _) => Source::Supplier(party.clone()),
                    (None, Some(shipment)) => Source::Named(Place::Transit(shipment.clone())),
                    (None, None) => Source::NotStated,
                };
                let reason = Reason::Received { by: by.clone() };
                for line in lines {
                    self.flow(
                        &line.batch,
                        Measure { first: line.quantity, second: line.second },
                        source.clone(),
                        place(to),
                        reason.clone(),
                    );
                }
                self.carry(containers, &place(to), &reason);
                // Nothing named is the whole shipment, as for a delivery.
                if let (Some(shipment), true, true) = (shipment, lines.is_empty(), containers.is_empty()) {
                    self.push(3, What::EmptyAll { place: Place::Transit(shipment.clone()), to: place(to) });
                }
            }
            Fact::Produced(report) => self.report(report),
            Fact::Moved { lines, to } => self.lines(lines, Source::NotStated, &place(to), &Reason::Other),
            Fact::Packed { container, lines, containers, at } => {
                let to = Target::Place(Place::Container(container.clone()));
                let at = at.clone().map(Place::Location);
                let reason = Reason::Packed { container: container.clone(), at, first: false };
                self.lines(lines, Source::NotStated, &to, &reason);
                self.carry(containers, &to, &reason);
            }
            Fact::Unpacked { container, lines, containers, to } => {
                let out = to
                    .clone()
                    .map_or_else(|| Target::WhereStands(container.clone()), |l| Target::Place(Place::Location(l)));
                let inside = Place::Container(container.clone());
                if lines.is_empty() && containers.is_empty() {
                    return self.push(3, What::EmptyAll { place: inside, to: out });
                }
                self.lines(lines, Source::Named(inside), &out, &Reason::Other);
                self.carry(containers, &out, &Reason::Other);
            }
            Fact::ContainerMoved { containers, to } => self.carry(containers, &place(to), &Reason::Other),
            Fact::ContainerEmptied { container } => {
                let what = What::EmptyAll {
                    place: Place::Container(container.clone()),
                    to: Target::WhereStands(container.clone()),
                };
                self.push(3, what);
            }
            Fact::Shipped { shipment, to, lines, containers } => {
                let transit = Target::Place(Place::Transit(shipment.clone()));
                let reason = Reason::Shipped { shipment: shipment.clone(), to: to.clone() };
                self.lines(lines, Source::NotStated, &transit, &reason);
                self.carry(containers, &transit, &reason);
            }
            Fact::Delivered { shipment, to, lines, containers } => {
                let party = Target::Place(Place::Party(to.clone()));
                let transit = shipment.clone().map(Place::Transit);
                if lines.is_empty() && containers.is_empty() {
                    if let Some(place) = transit {
                        self.push(3, What::EmptyAll { place, to: party });
                    }
                    return;
                }
                let source = transit.map_or(Source::NotStated, Source::Named);
                self.lines(lines, source, &party, &Reason::Delivered);
                self.carry(containers, &party, &Reason::Delivered);
            }
            Fact::Returned { from, lines, containers, to } => {
                let source = Source::Named(Place::Party(from.clone()));
                for line in lines {
                    self.flow(
                        &line.batch,
                        Measure { first: line.quantity, second: line.second },
                        source.clone(),
                        place(to),
                        Reason::Other,
                    );
                }
                self.carry(containers, &place(to), &Reason::Other);
            }
            Fact::Seen { lines, containers, at } => {
                for line in lines {
                    self.flow(
                        &line.batch,
                        Measure { first: line.quantity, second: line.second },
                        Source::NotStated,
                        place(at),
                        Reason::Seen,
                    );
                }
                self.carry(containers, &place(at), &Reason::Seen);
            }
            Fact::Counted { at, lines } => {
                for line in lines {
                    let batch = self.names.resolve(&line.batch);
                    let measure = Measure { first: line.quantity, second: line.second };
                    self.push(6, What::Count { batch, place: at.clone(), measure });
                }
            }
            Fact::Adjusted { at, batch, difference, .. } => {
                let sink = Place::Sink(Sink::Adjustment);
                let (from, to) = if difference.is_negative() { (at.clone(), sink) } else { (sink, at.clone()) };
                let measure = Measure::of(Some(difference.size()));
                self.flow(batch, measure, Source::Named(from), Target::Place(to), Reason::Other);
            }
            Fact::Disposed { lines, sink } => {
                let reason = if *sink == Sink::Consumed { Reason::UsedUp } else { Reason::Other };
                self.lines(lines, Source::NotStated, &Target::Place(Place::Sink(*sink)), &reason)
            }
            Fact::VesselFilled { vessel, lines } => {
                self.lines(lines, Source::NotStated, &Target::Place(Place::Vessel(vessel.clone())), &Reason::Other);
            }
            Fact::VesselDrawn { vessel, batch, quantity, to, expires: _ } => {
                let blend = || BatchRef::Known(anonymous_blend(vessel, &self.event.id, 0));
                let batch = batch.as_ref().map_or_else(blend, |batch| self.names.resolve(batch));
                let to = Target::Place(to.clone().unwrap_or(Place::Unplaced));
                self.push(4, What::Draw { vessel: vessel.clone(), batch, measure: Measure::of(*quantity), to });
            }
            Fact::VesselCleaned { vessel, grade } => {
                self.push(5, What::Clean { vessel: vessel.clone(), grade: grade.0 })
            }
            Fact::Held { .. }
            | Fact::Released { .. }
            | Fact::ItemDefined { .. }
            | Fact::PlaceDefined { .. }
            | Fact::VesselDefined { .. }
            | Fact::PartyDefined { .. }
            | Fact::FactorDefined { .. }
            | Fact::Labelled { .. }
            | Fact::PolicySet { .. }
            | Fact::Corrected { .. }
            | Fact::Noted { .. } => {}
        }
    }

    fn report(&mut self, report: &RunReport) {
        let at = report.at.clone().map(Place::Location);
        let reason = Reason::Produced { production: report.kind == lotline_domain::fact::RunKind::Production };
        let run = Target::Run(report.run.clone());
        for input in &report.inputs {
            let measure = Measure { first: input.quantity, second: input.second };
            match (&input.batch, &input.from) {
                (Some(batch), from) => {
                    let from = from.clone().or_else(|| at.clone()).map_or(Source::NotStated, Source::Named);
                    self.flow(batch, measure, from, run.clone(), reason.clone());
                }
                (None, Some(Place::Vessel(vessel))) => {
                    let leg = u16::try_from(self.leg).unwrap_or(u16::MAX);
                    let batch = BatchRef::Known(anonymous_blend(vessel, &self.event.id, leg));
                    self.push(4, What::Draw { vessel: vessel.clone(), batch, measure, to: run.clone() });
                }
                // Neither a batch nor a vessel: nothing is said of anything.
                (None, _) => self.leg += 1,
            }
        }
        for output in &report.outputs {
            let to = output.to.clone().or_else(|| at.clone()).unwrap_or(Place::Unplaced);
            let measure = Measure { first: output.quantity, second: output.second };
            self.flow(&output.batch, measure, Source::Run(report.run.clone()), Target::Place(to), reason.clone());
        }
        // Losses are no batch's; the run's balance reads them from the report.
    }
}

/// The origin that stands for "nobody said who" (ruling 6).
pub fn nobody() -> PartyId {
    unknown_party()
}
