//! What a fact does to the read models: a closed list. Read models see effects and never facts, so a new
//! kind of fact needs no change in them.

use crate::expiry::Expires;
use crate::fact::{
    CleanGrade, Correction, Destination, Event, Fact, FactorScope, HoldTarget, Line, MixModel, ReleaseTarget, RunKind,
    RunReport, Window, anonymous_blend,
};
use crate::id::{
    BatchCode, BatchRef, ContainerId, EventId, HoldId, ItemId, LocationId, PartyId, Place, RunId, ShipmentId, Sink,
    VesselId,
};
use crate::quantity::Stated;
use crate::unit::Unit;

/// Phase within one instant (see `schemas/settlement.md`, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// From outside or from a run into a slice.
    In,
    /// Between slices, source stated.
    Move,
    /// Out of a slice into a run, transit or sink, source stated.
    Out,
    /// The source is not stated.
    Sourceless,
    /// Draws from a vessel and moves of containers.
    Draw,
    /// Cleaning.
    Clean,
    /// Counting.
    Count,
}

/// Where a flow comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A slice of the batch, a vessel included (then it is a draw).
    Place(Place),
    /// A run.
    Run(RunId),
    /// Outside: the supply of a party, without a balance; what lies at the party goes first.
    Supply(PartyId),
    /// Not said. A receipt's rest comes from the unknown party; `by` is who received it.
    Receipt {
        /// The receiving company, towards which a transit may go.
        by: Option<PartyId>,
    },
    /// Not said, and what is there already covers it first.
    Sighting,
    /// Not said.
    Unstated,
}

/// Where a flow goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A slice of the batch, a vessel or a sink included. For what lies beside a container: that container.
    Place(Place),
    /// A run.
    Run(RunId),
}

/// A quantity of a batch on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Number of the step within its fact.
    pub leg: u16,
    /// Its phase within its instant.
    pub phase: Phase,
    /// Which batch.
    pub batch: BatchRef,
    /// How much as stated; `None` is unknown.
    pub quantity: Option<Stated>,
    /// A second measure of the same.
    pub second: Option<Stated>,
    /// From where.
    pub from: Origin,
    /// Where to.
    pub to: Target,
    /// Declared window of a run's leg.
    pub window: Option<Window>,
    /// The document line that it stands on.
    pub document: Option<String>,
    /// Packing: the first one tells where the container stands.
    pub packs: bool,
    /// Where the packing was done, if said.
    pub packed_at: Option<LocationId>,
    /// Out of a container, to beside it: where it stands.
    pub beside: bool,
}

/// How a container came to stand elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerMove {
    /// It was moved.
    Moved,
    /// It was seen there: a move only if it stood elsewhere.
    Seen,
    /// It was taken out of `to`, which is a container, and stands where that stands.
    TakenOut,
    /// It was packed there: the place counts only for a container that stood nowhere before.
    PackedAt,
    /// `to`, a container, was packed into it: for one that stood nowhere before, it stands where that stood.
    PackedWith,
}

/// What a fact does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// A flow.
    Flow(Flow),
    /// A container stands elsewhere, with all that it holds.
    PlaceMoved {
        /// Number of the step.
        leg: u16,
        /// Which.
        container: ContainerId,
        /// Where now.
        to: Place,
        /// How.
        how: ContainerMove,
    },
    /// Everything loose in a container or a transit flows on, containers in it move on.
    PlaceEmptied {
        /// Number of the step.
        leg: u16,
        /// Which container or transit.
        place: Place,
        /// Where to; `None`: where it stands.
        to: Option<Place>,
    },
    /// A vessel was cleaned.
    ContactBroken {
        /// Number of the step.
        leg: u16,
        /// Which.
        vessel: VesselId,
        /// How thoroughly.
        grade: CleanGrade,
    },
    /// So much was there.
    Counted {
        /// Number of the step.
        leg: u16,
        /// Which batch.
        batch: BatchRef,
        /// Where.
        at: Place,
        /// How much; `None` is unknown (then it says nothing about the book).
        quantity: Option<Stated>,
        /// A second measure.
        second: Option<Stated>,
    },
    /// A hold begins.
    StatusHeld {
        /// Its id.
        hold: HoldId,
        /// What it covers.
        target: HoldTarget,
    },
    /// Holds end.
    StatusReleased {
        /// Which.
        target: ReleaseTarget,
    },
    /// Something about a run.
    RunTold {
        /// Which.
        run: RunId,
        /// What kind.
        kind: RunKind,
        /// Nothing more will come.
        completed: bool,
        /// The only connected pairs, if any are given.
        mapping: Vec<(BatchRef, BatchRef)>,
        /// Hold-up in microseconds.
        hold_up_micros: i64,
        /// Declared losses.
        losses: Vec<(Sink, Stated)>,
    },
    /// Where a shipment goes.
    ShipmentBound {
        /// Which.
        shipment: ShipmentId,
        /// Where to.
        to: Destination,
        /// The phase from which on it counts within its instant.
        phase: Phase,
    },
    /// An item's base unit.
    ItemSet {
        /// Which.
        item: ItemId,
        /// Its base unit.
        base: Unit,
    },
    /// A place's parent in the tree, and its time zone.
    PlaceSet {
        /// Which.
        place: LocationId,
        /// Its parent.
        parent: Option<LocationId>,
        /// IANA time zone, as told.
        time_zone: Option<String>,
    },
    /// A vessel's mix model.
    VesselSet {
        /// Which.
        vessel: VesselId,
        /// Its model.
        mix: MixModel,
        /// Where it stands.
        at: Option<LocationId>,
    },
    /// A conversion factor.
    FactorSet {
        /// Of what.
        scope: FactorScope,
        /// So much …
        one: Stated,
        /// … is so much.
        equals: Stated,
    },
    /// A policy.
    PolicySet {
        /// Holds pass through production runs.
        holds_pass_runs: bool,
    },
    /// A further code of a batch.
    LabelSet {
        /// Which.
        batch: BatchRef,
        /// The code.
        label: BatchCode,
    },
    /// Until when a batch is good.
    ExpirySet {
        /// Number of the step that brings it.
        leg: u16,
        /// Which.
        batch: BatchRef,
        /// As told.
        expires: Expires,
    },
    /// Speaks of a batch, and no more.
    Mentioned {
        /// Which.
        batch: BatchRef,
    },
}

/// What an event corrects, and whether something stands in for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voids {
    /// The corrected event.
    pub target: EventId,
    /// True when a replacement stands in.
    pub replaces: bool,
}

impl Event {
    /// What it corrects, if it is a correction.
    pub fn voids(&self) -> Option<Voids> {
        match &self.fact {
            Fact::Corrected { target, correction, .. } => {
                Some(Voids { target: target.clone(), replaces: matches!(correction, Correction::Supersede { .. }) })
            }
            _ => None,
        }
    }

    /// Its effects, in the order of their legs. A supersession's are those of its replacement.
    pub fn effects(&self) -> Vec<Effect> {
        let fact = match &self.fact {
            Fact::Corrected { correction: Correction::Supersede { fact, .. }, .. } => fact.as_ref(),
            fact => fact,
        };
        let mut legs = Legs { event: &self.id, next: 0, effects: Vec::with_capacity(expected(fact)) };
        legs.fact(fact);
        legs.effects
    }
}

/// About how many effects a fact has: an effect is large, and a list that grows would reserve several.
fn expected(fact: &Fact) -> usize {
    match fact {
        Fact::Produced(report) => report.inputs.len() + report.outputs.len() + 1,
        Fact::Shipped { lines, containers, .. } => lines.len() + containers.len() + 1,
        Fact::Received { lines, containers, .. }
        | Fact::Packed { lines, containers, .. }
        | Fact::Unpacked { lines, containers, .. }
        | Fact::Delivered { lines, containers, .. }
        | Fact::Returned { lines, containers, .. }
        | Fact::Seen { lines, containers, .. } => lines.len() + containers.len(),
        Fact::Moved { lines, .. } | Fact::Disposed { lines, .. } | Fact::VesselFilled { lines, .. } => lines.len(),
        _ => 1,
    }
}

struct Legs<'a> {
    event: &'a EventId,
    next: u16,
    effects: Vec<Effect>,
}

fn phase_of(from: &Origin, to: &Target) -> Phase {
    match (from, to) {
        (Origin::Receipt { .. } | Origin::Sighting | Origin::Unstated, _) => Phase::Sourceless,
        (Origin::Supply(_) | Origin::Run(_), _) => Phase::In,
        (Origin::Place(Place::Sink(Sink::Adjustment)), _) | (_, Target::Place(Place::Sink(Sink::Adjustment))) => {
            Phase::Move
        }
        (Origin::Place(_), Target::Run(_) | Target::Place(Place::Transit(_) | Place::Sink(_))) => Phase::Out,
        (Origin::Place(_), Target::Place(_)) => Phase::Move,
    }
}

impl Legs<'_> {
    fn leg(&mut self) -> u16 {
        let leg = self.next;
        self.next = self.next.saturating_add(1);
        leg
    }

    fn flow(
        &mut self,
        batch: &BatchRef,
        quantity: Option<Stated>,
        second: Option<Stated>,
        from: Origin,
        to: Target,
    ) -> &mut Flow {
        let leg = self.leg();
        let phase = phase_of(&from, &to);
        self.effects.push(Effect::Flow(Flow {
            leg,
            phase,
            batch: batch.clone(),
            quantity,
            second,
            from,
            to,
            window: None,
            document: None,
            packs: false,
            packed_at: None,
            beside: false,
        }));
        match self.effects.last_mut() {
            Some(Effect::Flow(flow)) => flow,
            _ => unreachable!("a flow was just pushed"),
        }
    }

    fn line(&mut self, line: &Line, otherwise: Origin, to: Target) -> &mut Flow {
        let from = line.from.clone().map_or(otherwise, Origin::Place);
        let flow = self.flow(&line.batch, line.quantity, line.second, from, to);
        flow.document.clone_from(&line.document);
        flow
    }

    fn lines(&mut self, lines: &[Line], otherwise: &Origin, to: &Place) {
        for line in lines {
            self.line(line, otherwise.clone(), Target::Place(to.clone()));
        }
    }

    /// Lines whose source the fact itself says; a line's own place does not count.
    fn lines_from(&mut self, lines: &[Line], from: &Origin, to: &Place) {
        for line in lines {
            let to = Target::Place(to.clone());
            let flow = self.flow(&line.batch, line.quantity, line.second, from.clone(), to);
            flow.document.clone_from(&line.document);
        }
    }

    fn containers(&mut self, containers: &[ContainerId], to: &Place) {
        for container in containers {
            let leg = self.leg();
            let how = ContainerMove::Moved;
            self.effects.push(Effect::PlaceMoved { leg, container: container.clone(), to: to.clone(), how });
        }
    }

    fn emptied(&mut self, place: Place, to: Option<Place>) {
        let leg = self.leg();
        self.effects.push(Effect::PlaceEmptied { leg, place, to });
    }

    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Received { lines, containers, from, shipment, by, to } => {
                let origin = match (from, shipment) {
                    (Some(party), _) => Origin::Supply(party.clone()),
                    (None, Some(shipment)) => Origin::Place(Place::Transit(shipment.clone())),
                    (None, None) => Origin::Receipt { by: by.clone() },
                };
                self.lines_from(lines, &origin, to);
                for (leg, line) in (0..).zip(lines) {
                    self.expires(leg, &line.batch, line.expires);
                }
                self.containers(containers, to);
                if let (Some(shipment), true, true) = (shipment, lines.is_empty(), containers.is_empty()) {
                    self.emptied(Place::Transit(shipment.clone()), Some(to.clone()));
                }
            }
            Fact::Produced(report) => self.run(report),
            Fact::Moved { lines, to } => self.lines(lines, &Origin::Unstated, to),
            Fact::Packed { container, lines, containers, at } => {
                let into = Place::Container(container.clone());
                for line in lines {
                    let flow = self.line(line, Origin::Unstated, Target::Place(into.clone()));
                    flow.packs = true;
                    flow.packed_at.clone_from(at);
                }
                if let (Some(inner), None) = (containers.first(), at) {
                    let leg = self.leg();
                    let (container, to) = (container.clone(), Place::Container(inner.clone()));
                    self.effects.push(Effect::PlaceMoved { leg, container, to, how: ContainerMove::PackedWith });
                }
                self.containers(containers, &into);
                if let (Some(at), true) = (at, lines.is_empty()) {
                    let leg = self.leg();
                    let (container, to) = (container.clone(), Place::Location(at.clone()));
                    self.effects.push(Effect::PlaceMoved { leg, container, to, how: ContainerMove::PackedAt });
                }
            }
            Fact::Unpacked { container, lines, containers, to } => {
                let from = Place::Container(container.clone());
                let onto = to.clone().map(Place::Location);
                if lines.is_empty() && containers.is_empty() {
                    self.emptied(from, onto);
                    return;
                }
                for line in lines {
                    // Without a stated place the goods lie where the container stands.
                    let beside = onto.clone().unwrap_or_else(|| from.clone());
                    let flow = self.line(line, Origin::Place(from.clone()), Target::Place(beside));
                    flow.beside = onto.is_none();
                }
                for inner in containers {
                    let leg = self.leg();
                    let (to, how) = match &onto {
                        Some(onto) => (onto.clone(), ContainerMove::Moved),
                        None => (from.clone(), ContainerMove::TakenOut),
                    };
                    self.effects.push(Effect::PlaceMoved { leg, container: inner.clone(), to, how });
                }
            }
            Fact::ContainerMoved { containers, to } => self.containers(containers, to),
            Fact::ContainerEmptied { container } => self.emptied(Place::Container(container.clone()), None),
            Fact::Shipped { shipment, to, lines, containers } => {
                let transit = Place::Transit(shipment.clone());
                self.lines(lines, &Origin::Unstated, &transit);
                self.containers(containers, &transit);
                if let Some(to) = to {
                    let phase = match (lines.iter().any(|line| line.from.is_some()), lines.is_empty()) {
                        (true, _) => Phase::Out,
                        (false, false) => Phase::Sourceless,
                        (false, true) => Phase::Draw,
                    };
                    self.effects.push(Effect::ShipmentBound { shipment: shipment.clone(), to: to.clone(), phase });
                }
            }
            Fact::Delivered { shipment, to, lines, containers } => {
                let party = Place::Party(to.clone());
                let origin = shipment.clone().map_or(Origin::Unstated, |s| Origin::Place(Place::Transit(s)));
                self.lines(lines, &origin, &party);
                self.containers(containers, &party);
                if let (Some(shipment), true, true) = (shipment, lines.is_empty(), containers.is_empty()) {
                    self.emptied(Place::Transit(shipment.clone()), Some(party));
                }
            }
            Fact::Returned { from, lines, containers, to } => {
                self.lines_from(lines, &Origin::Place(Place::Party(from.clone())), to);
                self.containers(containers, to);
            }
            Fact::Seen { lines, containers, at } => {
                self.lines_from(lines, &Origin::Sighting, at);
                for container in containers {
                    let leg = self.leg();
                    let (container, to) = (container.clone(), at.clone());
                    self.effects.push(Effect::PlaceMoved { leg, container, to, how: ContainerMove::Seen });
                }
            }
            Fact::Disposed { lines, sink } => self.lines(lines, &Origin::Unstated, &Place::Sink(*sink)),
            Fact::VesselFilled { vessel, lines } => {
                self.lines(lines, &Origin::Unstated, &Place::Vessel(vessel.clone()));
            }
            Fact::VesselDrawn { vessel, batch, quantity, to, expires } => {
                let batch = self.drawn(vessel, batch.as_ref());
                let to = to.clone().unwrap_or(Place::Unplaced);
                let from = Origin::Place(Place::Vessel(vessel.clone()));
                self.flow(&batch, *quantity, None, from, Target::Place(to)).phase = Phase::Draw;
                self.expires(0, &batch, *expires);
            }
            other => self.quiet(other),
        }
    }

    fn expires(&mut self, leg: u16, batch: &BatchRef, expires: Option<Expires>) {
        self.effects.extend(expires.map(|expires| Effect::ExpirySet { leg, batch: batch.clone(), expires }));
    }

    fn drawn(&self, vessel: &VesselId, batch: Option<&BatchRef>) -> BatchRef {
        batch.cloned().unwrap_or_else(|| anonymous_blend(vessel, self.event, self.next).into())
    }

    fn run(&mut self, report: &RunReport) {
        let place = report.at.clone().map(Place::Location);
        for input in &report.inputs {
            let stated = input.from.clone().or_else(|| place.clone());
            let batch = match (&input.batch, &stated) {
                (Some(batch), _) => batch.clone(),
                (None, Some(Place::Vessel(vessel))) => self.drawn(vessel, None),
                (None, _) => continue,
            };
            let from = stated.map_or(Origin::Unstated, Origin::Place);
            let into = Target::Run(report.run.clone());
            let flow = self.flow(&batch, input.quantity, input.second, from, into);
            flow.window = input.window;
            if input.batch.is_none() {
                flow.phase = Phase::Draw;
            }
        }
        for output in &report.outputs {
            let to = output.to.clone().or_else(|| place.clone()).unwrap_or(Place::Unplaced);
            let from = Origin::Run(report.run.clone());
            let flow = self.flow(&output.batch, output.quantity, output.second, from, Target::Place(to));
            flow.window = output.window;
            let leg = flow.leg;
            self.expires(leg, &output.batch, output.expires);
        }
        self.effects.push(Effect::RunTold {
            run: report.run.clone(),
            kind: report.kind,
            completed: report.completed,
            mapping: report.mapping.clone(),
            hold_up_micros: report.hold_up_micros,
            losses: report.losses.iter().map(|loss| (loss.sink, loss.quantity)).collect(),
        });
    }

    /// Facts that move nothing.
    fn quiet(&mut self, fact: &Fact) {
        let leg = self.next;
        match fact {
            Fact::Held { hold, target, .. } => {
                self.effects.push(Effect::StatusHeld { hold: hold.clone(), target: target.clone() });
            }
            Fact::Released { target, .. } => self.effects.push(Effect::StatusReleased { target: target.clone() }),
            Fact::Counted { at, lines } => {
                for line in lines {
                    let leg = self.leg();
                    self.effects.push(Effect::Counted {
                        leg,
                        batch: line.batch.clone(),
                        at: at.clone(),
                        quantity: line.quantity,
                        second: line.second,
                    });
                }
            }
            Fact::Adjusted { at, batch, difference, .. } => {
                let book = Place::Sink(Sink::Adjustment);
                let (from, to) = if difference.is_negative() { (at.clone(), book) } else { (book, at.clone()) };
                self.flow(batch, Some(difference.size()), None, Origin::Place(from), Target::Place(to));
            }
            Fact::VesselCleaned { vessel, grade } => {
                self.effects.push(Effect::ContactBroken { leg, vessel: vessel.clone(), grade: *grade });
            }
            Fact::ItemDefined { item, base, .. } => {
                self.effects.push(Effect::ItemSet { item: item.clone(), base: *base });
            }
            Fact::PlaceDefined { place, parent, time_zone, .. } => {
                let (place, parent, time_zone) = (place.clone(), parent.clone(), time_zone.clone());
                self.effects.push(Effect::PlaceSet { place, parent, time_zone });
            }
            Fact::VesselDefined { vessel, mix, at } => {
                self.effects.push(Effect::VesselSet { vessel: vessel.clone(), mix: *mix, at: at.clone() });
            }
            Fact::FactorDefined { scope, one, equals } => {
                self.effects.push(Effect::FactorSet { scope: scope.clone(), one: *one, equals: *equals });
            }
            Fact::PolicySet { holds_pass_runs } => {
                self.effects.push(Effect::PolicySet { holds_pass_runs: *holds_pass_runs });
            }
            Fact::Labelled { batch, label } => {
                self.effects.push(Effect::LabelSet { batch: batch.clone(), label: label.clone() });
            }
            Fact::Noted { batches, .. } => {
                for batch in batches {
                    self.effects.push(Effect::Mentioned { batch: batch.clone() });
                }
            }
            _ => {}
        }
    }
}
