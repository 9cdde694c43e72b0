//! Domain values to version 1; what that cannot say is left out.

use std::borrow::Cow;

use lotline_domain::command::{Amount, Body, Mode, Rejection, Rule};
use lotline_domain::fact::{
    Correction, Destination, Fact, FactorScope, HoldTarget, Input, Line, MixModel, Output, ReleaseTarget, RunKind,
    RunReport, Window,
};
use lotline_domain::id::{ActorId, BatchId, BatchRef, Place, Sink, SourceId};
use lotline_domain::quantity::Stated;
use lotline_domain::time::{OccurredAt, Precision};
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;

use super::v1::{
    V1Amount, V1BatchId, V1BatchRef, V1Body, V1ByLoss, V1Correction, V1Decimal, V1Destination, V1Fact, V1FactorScope,
    V1HoldTarget, V1Input, V1Line, V1MixModel, V1Mode, V1OccurredAt, V1Origin, V1Output, V1Place, V1Quantity,
    V1Rejection, V1ReleaseTarget, V1Rule, V1RunId, V1RunKind, V1RunReport, V1Sealed, V1Sink, V1Window,
};
use super::{CONFIG, CORRECTION_DEPTH_MAX, EncodeError, Field, Origin};
use crate::names::Name;
use crate::seal::{Scope, Sealer};

const DAY_MICROS: i64 = 86_400_000_000;

/// Seals the fields of one event.
pub(super) struct Pen<'s, 'k> {
    sealer: &'s mut Sealer<'k>,
    scope: Scope,
    event: &'s str,
}

impl<'s, 'k> Pen<'s, 'k> {
    pub(super) fn new(body: &'s Body, sealer: &'s mut Sealer<'k>) -> Self {
        let (event, source, day) = match body {
            Body::Fact { event, .. } => {
                (event.id.as_str(), &event.source, Some(event.occurred_at.instant.0.div_euclid(DAY_MICROS)))
            }
            Body::Refused { command, source, .. } => (command.as_str(), source, None),
        };
        Self { sealer, scope: source_day(source, day), event }
    }

    fn seal(
        &mut self,
        person: Option<&ActorId>,
        field: Field,
        depth: u8,
        plain: &[u8],
    ) -> Result<V1Sealed<'static>, EncodeError> {
        let person = person.map(|actor| Scope::Person(actor.clone()));
        let scope = person.as_ref().unwrap_or(&self.scope);
        let sealed = self.sealer.seal(scope, &[self.event.as_bytes(), &[field.code(), depth]], plain)?;
        Ok(Cow::Owned(sealed))
    }

    fn text(
        &mut self,
        person: Option<&ActorId>,
        field: Field,
        depth: u8,
        text: &Option<String>,
    ) -> Result<Option<V1Sealed<'static>>, EncodeError> {
        text.as_ref().map(|text| self.seal(person, field, depth, text.as_bytes())).transpose()
    }

    pub(super) fn origin(&mut self, origin: Origin<'_>) -> Result<V1Origin<'static>, EncodeError> {
        Ok(match origin {
            Origin::Native => V1Origin::Native,
            Origin::Epcis { mapping_version, original } => {
                V1Origin::Epcis { mapping_version, original: self.seal(None, Field::Original, 0, original)? }
            }
            Origin::Refused { command } => V1Origin::Refused { command: self.seal(None, Field::Original, 0, command)? },
        })
    }

    pub(super) fn body<'a>(&mut self, body: &'a Body) -> Result<V1Body<'a>, EncodeError> {
        Ok(match body {
            Body::Fact { mode, event, decided_on } => V1Body::Fact {
                mode: match mode {
                    Mode::Intent => V1Mode::Intent,
                    Mode::Observation => V1Mode::Observation,
                },
                decided_on: decided_on.map(|commit| commit.0),
                id: event.id.as_str(),
                command: (event.command.as_str() != event.id.as_str()).then(|| event.command.as_str()),
                source: event.source.as_str(),
                occurred_at: occurred_at(event.occurred_at),
                sequence: event.sequence,
                fact: self.fact(&event.fact, 0)?,
            },
            Body::Refused { command, source, rejection: no, decided_on } => V1Body::Refused {
                command: command.as_str(),
                source: source.as_str(),
                decided_on: decided_on.0,
                rejection: rejection(no),
            },
        })
    }

    fn fact<'a>(&mut self, fact: &'a Fact, depth: u8) -> Result<V1Fact<'a>, EncodeError> {
        Ok(match fact {
            Fact::Received { lines: l, containers, from, shipment, by, to } => V1Fact::Received {
                lines: lines(l),
                containers: texts(containers),
                from: text(from),
                shipment: text(shipment),
                by: text(by),
                to: place(to),
            },
            Fact::Produced(report) => V1Fact::Produced(run(report)),
            Fact::Moved { lines: l, to } => V1Fact::Moved { lines: lines(l), to: place(to) },
            Fact::Packed { container, lines: l, containers, at } => V1Fact::Packed {
                container: container.as_str(),
                lines: lines(l),
                containers: texts(containers),
                at: text(at),
            },
            Fact::Unpacked { container, lines: l, containers, to } => V1Fact::Unpacked {
                container: container.as_str(),
                lines: lines(l),
                containers: texts(containers),
                to: text(to),
            },
            Fact::ContainerMoved { containers, to } => {
                V1Fact::ContainerMoved { containers: texts(containers), to: place(to) }
            }
            Fact::ContainerEmptied { container } => V1Fact::ContainerEmptied { container: container.as_str() },
            Fact::Shipped { shipment, to, lines: l, containers } => V1Fact::Shipped {
                shipment: shipment.as_str(),
                to: to.as_ref().map(|to| match to {
                    Destination::Party(id) => V1Destination::Party(id.as_str()),
                    Destination::Location(id) => V1Destination::Location(id.as_str()),
                }),
                lines: lines(l),
                containers: texts(containers),
            },
            Fact::Delivered { shipment, to, lines: l, containers } => V1Fact::Delivered {
                shipment: text(shipment),
                to: to.as_str(),
                lines: lines(l),
                containers: texts(containers),
            },
            Fact::Returned { from, lines: l, containers, to } => {
                V1Fact::Returned { from: from.as_str(), lines: lines(l), containers: texts(containers), to: place(to) }
            }
            Fact::Seen { lines: l, containers, at } => {
                V1Fact::Seen { lines: lines(l), containers: texts(containers), at: place(at) }
            }
            Fact::Held { hold, target, reason } => V1Fact::Held {
                hold: hold.as_str(),
                target: match target {
                    HoldTarget::Batch(named) => V1HoldTarget::Batch(batch(named)),
                    HoldTarget::Slice(named, at) => V1HoldTarget::Slice(batch(named), place(at)),
                },
                reason: self.text(None, Field::Reason, depth, reason)?,
            },
            Fact::Released { target, reason } => V1Fact::Released {
                target: match target {
                    ReleaseTarget::Hold(id) => V1ReleaseTarget::Hold(id.as_str()),
                    ReleaseTarget::Batch(named) => V1ReleaseTarget::Batch(batch(named)),
                },
                reason: self.text(None, Field::Reason, depth, reason)?,
            },
            Fact::Counted { at, lines: l } => V1Fact::Counted { at: place(at), lines: lines(l) },
            Fact::Adjusted { at, batch: named, difference, reason } => V1Fact::Adjusted {
                at: place(at),
                batch: batch(named),
                difference: V1Quantity { value: decimal(difference.value()), unit: difference.unit().to_bytes() },
                reason: self.text(None, Field::Reason, depth, reason)?,
            },
            Fact::Disposed { lines: l, sink: out } => V1Fact::Disposed { lines: lines(l), sink: sink(*out) },
            Fact::VesselFilled { vessel, lines: l } => {
                V1Fact::VesselFilled { vessel: vessel.as_str(), lines: lines(l) }
            }
            Fact::VesselDrawn { vessel, batch: named, quantity: drawn, to, expires: _ } => V1Fact::VesselDrawn {
                vessel: vessel.as_str(),
                batch: named.as_ref().map(batch),
                quantity: drawn.as_ref().map(quantity),
                to: to.as_ref().map(place),
            },
            Fact::VesselCleaned { vessel, grade } => V1Fact::VesselCleaned { vessel: vessel.as_str(), grade: grade.0 },
            Fact::ItemDefined { item, base, name } => V1Fact::ItemDefined {
                item: item.as_str(),
                base: base.to_bytes(),
                name: self.text(None, Field::Name, depth, name)?,
            },
            Fact::PlaceDefined { place: id, parent, time_zone, name } => V1Fact::PlaceDefined {
                place: id.as_str(),
                parent: text(parent),
                time_zone: time_zone.as_deref(),
                name: self.text(None, Field::Name, depth, name)?,
            },
            Fact::VesselDefined { vessel, mix, at } => V1Fact::VesselDefined {
                vessel: vessel.as_str(),
                mix: match mix {
                    MixModel::Full => V1MixModel::Full,
                    MixModel::FirstInFirstOut => V1MixModel::FirstInFirstOut,
                },
                at: text(at),
            },
            Fact::PartyDefined { party, name } => {
                V1Fact::PartyDefined { party: party.as_str(), name: self.text(None, Field::Name, depth, name)? }
            }
            Fact::FactorDefined { scope, one, equals } => V1Fact::FactorDefined {
                scope: match scope {
                    FactorScope::Item(id) => V1FactorScope::Item(id.as_str()),
                    FactorScope::Batch(id) => V1FactorScope::Batch(batch_id(id)),
                },
                one: quantity(one),
                equals: quantity(equals),
            },
            Fact::Labelled { batch: named, label } => V1Fact::Labelled { batch: batch(named), label: label.as_str() },
            Fact::PolicySet { holds_pass_runs } => V1Fact::PolicySet { holds_pass_runs: *holds_pass_runs },
            Fact::Corrected { target, correction, reason, actor } => {
                let by = actor.as_ref();
                V1Fact::Corrected {
                    target: target.as_str(),
                    correction: self.correction(correction, depth)?,
                    reason: self.text(by, Field::Reason, depth, reason)?,
                    actor: by.map(|actor| self.seal(by, Field::Actor, depth, actor.as_str().as_bytes())).transpose()?,
                }
            }
            Fact::Noted { batches, containers, what } => V1Fact::Noted {
                batches: batches.iter().map(batch).collect(),
                containers: texts(containers),
                what: self.seal(None, Field::Note, depth, what.as_bytes())?,
            },
        })
    }

    fn correction(&mut self, correction: &Correction, depth: u8) -> Result<V1Correction<'static>, EncodeError> {
        Ok(match correction {
            Correction::Void => V1Correction::Void,
            Correction::Supersede { occurred_at: at, fact } => {
                if depth == CORRECTION_DEPTH_MAX {
                    return Err(EncodeError::TooDeep);
                }
                let fact = self.fact(fact, depth + 1)?;
                let bytes = bincode::encode_to_vec(fact, CONFIG).map_err(EncodeError::Form)?;
                V1Correction::Supersede { occurred_at: occurred_at(*at), fact: Cow::Owned(bytes) }
            }
        })
    }
}

fn source_day(source: &SourceId, day: Option<i64>) -> Scope {
    Scope::SourceDay { source: source.clone(), day }
}

fn text<T: Name>(name: &Option<T>) -> Option<&str> {
    name.as_ref().map(Name::text)
}

fn texts<T: Name>(names: &[T]) -> Vec<&str> {
    names.iter().map(Name::text).collect()
}

fn occurred_at(at: OccurredAt) -> V1OccurredAt {
    V1OccurredAt {
        instant: at.instant.0,
        offset_minutes: at.offset_minutes,
        day: match at.precision {
            Precision::Instant => false,
            Precision::Day => true,
        },
    }
}

fn decimal(value: Decimal) -> V1Decimal {
    let scale = u8::try_from(value.scale()).expect("a decimal's scale is at most 28");
    V1Decimal { mantissa: value.mantissa(), scale }
}

fn quantity(stated: &Stated) -> V1Quantity {
    V1Quantity { value: decimal(stated.value()), unit: stated.unit().to_bytes() }
}

fn batch_id(id: &BatchId) -> V1BatchId<'_> {
    V1BatchId { item: id.item.as_str(), issuer: text(&id.issuer), code: id.code.as_str(), generation: id.generation.0 }
}

fn batch(named: &BatchRef) -> V1BatchRef<'_> {
    match named {
        BatchRef::Known(id) => V1BatchRef::Known(batch_id(id)),
        BatchRef::Code(code) => V1BatchRef::Code(code.as_str()),
    }
}

fn sink(sink: Sink) -> V1Sink {
    match sink {
        Sink::Consumed => V1Sink::Consumed,
        Sink::Loss => V1Sink::Loss,
        Sink::Sample => V1Sink::Sample,
        Sink::Destroyed => V1Sink::Destroyed,
        Sink::Adjustment => V1Sink::Adjustment,
        Sink::Unexplained => V1Sink::Unexplained,
    }
}

fn place(at: &Place) -> V1Place<'_> {
    match at {
        Place::Location(id) => V1Place::Location(id.as_str()),
        Place::Vessel(id) => V1Place::Vessel(id.as_str()),
        Place::Container(id) => V1Place::Container(id.as_str()),
        Place::Transit(id) => V1Place::Transit(id.as_str()),
        Place::Party(id) => V1Place::Party(id.as_str()),
        Place::Sink(out) => V1Place::Sink(sink(*out)),
        Place::Unplaced => V1Place::Unplaced,
    }
}

fn lines(lines: &[Line]) -> Vec<V1Line<'_>> {
    lines.iter().map(line).collect()
}

fn line(line: &Line) -> V1Line<'_> {
    let Line { batch: named, quantity: stated, second, from, document, expires: _ } = line;
    V1Line {
        batch: batch(named),
        quantity: stated.as_ref().map(quantity),
        second: second.as_ref().map(quantity),
        from: from.as_ref().map(place),
        document: document.as_deref(),
    }
}

fn window(window: &Window) -> V1Window {
    V1Window { from: window.from.0, to: window.to.0 }
}

fn run(report: &RunReport) -> V1RunReport<'_> {
    V1RunReport {
        run: V1RunId {
            source: report.run.source.as_str(),
            name: report.run.name.as_str(),
            generation: report.run.generation.0,
        },
        kind: match report.kind {
            RunKind::Production => V1RunKind::Production,
            RunKind::Split => V1RunKind::Split,
            RunKind::Merge => V1RunKind::Merge,
            RunKind::Repack => V1RunKind::Repack,
        },
        inputs: report.inputs.iter().map(input).collect(),
        outputs: report.outputs.iter().map(output).collect(),
        losses: report
            .losses
            .iter()
            .map(|loss| V1ByLoss { sink: sink(loss.sink), quantity: quantity(&loss.quantity) })
            .collect(),
        mapping: report.mapping.iter().map(|(from, to)| (batch(from), batch(to))).collect(),
        hold_up_micros: report.hold_up_micros,
        completed: report.completed,
        at: text(&report.at),
    }
}

fn input(leg: &Input) -> V1Input<'_> {
    let Input { batch: named, quantity: stated, second, from, window: declared } = leg;
    V1Input {
        batch: named.as_ref().map(batch),
        quantity: stated.as_ref().map(quantity),
        second: second.as_ref().map(quantity),
        from: from.as_ref().map(place),
        window: declared.as_ref().map(window),
    }
}

fn output(leg: &Output) -> V1Output<'_> {
    let Output { batch: named, quantity: stated, second, to, window: declared, expires: _ } = leg;
    V1Output {
        batch: batch(named),
        quantity: stated.as_ref().map(quantity),
        second: second.as_ref().map(quantity),
        to: to.as_ref().map(place),
        window: declared.as_ref().map(window),
    }
}

fn unit(unit: Unit) -> [u8; 3] {
    unit.to_bytes()
}

fn amount(amount: &Amount) -> V1Amount {
    V1Amount { num: amount.value.num(), den: amount.value.den(), unit: unit(amount.unit) }
}

fn rejection(no: &Rejection) -> V1Rejection<'_> {
    V1Rejection {
        rule: match &no.rule {
            Rule::UnknownBatch => V1Rule::UnknownBatch,
            Rule::AmbiguousCode { candidates } => {
                V1Rule::AmbiguousCode { candidates: candidates.iter().map(batch).collect() }
            }
            Rule::NotEnough { available, asked } => {
                V1Rule::NotEnough { available: amount(available), asked: amount(asked) }
            }
            Rule::QuantityUnknown => V1Rule::QuantityUnknown,
            Rule::AmbiguousSource { candidates } => {
                V1Rule::AmbiguousSource { candidates: candidates.iter().map(place).collect() }
            }
            Rule::UnderHold { holds } => V1Rule::UnderHold { holds: texts(holds) },
            Rule::FutureDate { now } => V1Rule::FutureDate { now: now.0 },
            Rule::UnknownTarget { target } => V1Rule::UnknownTarget { target: target.as_str() },
            Rule::NothingToRelease => V1Rule::NothingToRelease,
            Rule::UnknownPlace => V1Rule::UnknownPlace,
            Rule::RunClosed => V1Rule::RunClosed,
            Rule::NeverSent { available, asked } => {
                V1Rule::NeverSent { available: amount(available), asked: amount(asked) }
            }
            Rule::Conflict { first } => V1Rule::Conflict { first: first.0 },
        },
        batch: no.batch.as_ref().map(batch),
        place: no.place.as_ref().map(place),
    }
}
