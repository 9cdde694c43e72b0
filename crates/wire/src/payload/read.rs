//! Version 1 to domain values, strictly.

use std::borrow::Cow;

use lotline_domain::command::{Amount, Body, Mode, Rejection, Rule};
use lotline_domain::fact::{
    ByLoss, CleanGrade, Correction, Destination, Event, Fact, FactorScope, HoldTarget, Input, Line, MixModel, Output,
    ReleaseTarget, RunKind, RunReport, Window,
};
use lotline_domain::id::{BatchId, BatchRef, CommandId, ContainerId, EventId, Generation, Place, RunId, Sink};
use lotline_domain::quantity::{Difference, QuantityError, Ratio, Stated};
use lotline_domain::time::{CommitNo, Instant, OccurredAt, Position, Precision};
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;

use super::v1::{
    V1Amount, V1BatchId, V1BatchRef, V1Body, V1ByLoss, V1Correction, V1Decimal, V1Destination, V1Fact, V1FactorScope,
    V1HoldTarget, V1Input, V1Line, V1MixModel, V1Mode, V1OccurredAt, V1Origin, V1Output, V1Payload, V1Place,
    V1Quantity, V1Rejection, V1ReleaseTarget, V1Rule, V1RunKind, V1RunReport, V1Sealed, V1Sink, V1Window,
};
use super::{CONFIG, CORRECTION_DEPTH_MAX, DecodeError, Field, SealedField, StoredEvent, StoredOrigin};
use crate::content::ContentHash;
use crate::names::Name;
use crate::seal::SealedValue;

type Read<T> = Result<T, DecodeError>;

pub(super) fn whole<'a, T: bincode::BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Read<T> {
    let (value, used) = bincode::borrow_decode_from_slice(bytes, CONFIG).map_err(DecodeError::Form)?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(DecodeError::Trailing { extra }),
    }
}

pub(super) fn stored(bytes: &[u8]) -> Read<StoredEvent<'_>> {
    event(whole(bytes)?)
}

pub(super) fn event(payload: V1Payload<'_>) -> Read<StoredEvent<'_>> {
    let mut reader = Reader { sealed: Vec::new() };
    let body = reader.body(payload.body)?;
    let origin = match payload.origin {
        V1Origin::Native => StoredOrigin::Native,
        V1Origin::Epcis { mapping_version, original } => {
            StoredOrigin::Epcis { mapping_version, original: SealedValue::parse(borrowed(original))? }
        }
        V1Origin::Refused { command } => StoredOrigin::Refused { command: SealedValue::parse(borrowed(command))? },
    };
    Ok(StoredEvent { body, content: ContentHash(payload.content), origin, sealed: reader.sealed })
}

fn borrowed(bytes: Cow<'_, [u8]>) -> &[u8] {
    match bytes {
        Cow::Borrowed(bytes) => bytes,
        Cow::Owned(_) => unreachable!("decoding borrows"),
    }
}

struct Reader<'a> {
    sealed: Vec<SealedField<'a>>,
}

impl<'a> Reader<'a> {
    fn body(&mut self, body: V1Body<'a>) -> Read<Body> {
        Ok(match body {
            V1Body::Fact { mode, decided_on, id, command, source, occurred_at: at, sequence, fact } => {
                let id: EventId = name(id)?;
                let command = match command {
                    Some(text) if text == id.as_str() => {
                        return Err(value("command id", "repeats the event id, which is written as none"));
                    }
                    Some(text) => name(text)?,
                    None => CommandId::parse(id.as_str()).expect("the text of one name is another"),
                };
                let event = Event {
                    id,
                    command,
                    source: name(source)?,
                    occurred_at: occurred_at(at)?,
                    sequence,
                    fact: self.fact(fact, 0)?,
                };
                let mode = match mode {
                    V1Mode::Intent => Mode::Intent,
                    V1Mode::Observation => Mode::Observation,
                };
                Body::Fact { mode, event, decided_on: decided_on.map(CommitNo) }
            }
            V1Body::Refused { command, source, decided_on, rejection: no } => Body::Refused {
                command: name(command)?,
                source: name(source)?,
                rejection: rejection(no)?,
                decided_on: CommitNo(decided_on),
            },
        })
    }

    fn seal(&mut self, field: Field, depth: u8, bytes: V1Sealed<'a>) -> Read<()> {
        let value = SealedValue::parse(borrowed(bytes))?;
        self.sealed.push(SealedField { field, depth, value });
        Ok(())
    }

    /// Keeps a sealed text; the fact's field stays empty until it is opened.
    fn closed<T>(&mut self, field: Field, depth: u8, bytes: Option<V1Sealed<'a>>) -> Read<Option<T>> {
        if let Some(bytes) = bytes {
            self.seal(field, depth, bytes)?;
        }
        Ok(None)
    }

    fn fact(&mut self, fact: V1Fact<'a>, depth: u8) -> Read<Fact> {
        Ok(match fact {
            V1Fact::Received { lines: l, containers: c, from, shipment, by, to } => Fact::Received {
                lines: lines(l)?,
                containers: containers(c)?,
                from: maybe(from)?,
                shipment: maybe(shipment)?,
                by: maybe(by)?,
                to: place(to)?,
            },
            V1Fact::Produced(report) => Fact::Produced(run(report)?),
            V1Fact::Moved { lines: l, to } => Fact::Moved { lines: lines(l)?, to: place(to)? },
            V1Fact::Packed { container, lines: l, containers: c, at } => Fact::Packed {
                container: name(container)?,
                lines: lines(l)?,
                containers: containers(c)?,
                at: maybe(at)?,
            },
            V1Fact::Unpacked { container, lines: l, containers: c, to } => Fact::Unpacked {
                container: name(container)?,
                lines: lines(l)?,
                containers: containers(c)?,
                to: maybe(to)?,
            },
            V1Fact::ContainerMoved { containers: c, to } => {
                Fact::ContainerMoved { containers: containers(c)?, to: place(to)? }
            }
            V1Fact::ContainerEmptied { container } => Fact::ContainerEmptied { container: name(container)? },
            V1Fact::Shipped { shipment, to, lines: l, containers: c } => Fact::Shipped {
                shipment: name(shipment)?,
                to: to.map(destination).transpose()?,
                lines: lines(l)?,
                containers: containers(c)?,
            },
            V1Fact::Delivered { shipment, to, lines: l, containers: c } => Fact::Delivered {
                shipment: maybe(shipment)?,
                to: name(to)?,
                lines: lines(l)?,
                containers: containers(c)?,
            },
            V1Fact::Returned { from, lines: l, containers: c, to } => {
                Fact::Returned { from: name(from)?, lines: lines(l)?, containers: containers(c)?, to: place(to)? }
            }
            V1Fact::Seen { lines: l, containers: c, at } => {
                Fact::Seen { lines: lines(l)?, containers: containers(c)?, at: place(at)? }
            }
            V1Fact::Held { hold, target, reason } => Fact::Held {
                hold: name(hold)?,
                target: match target {
                    V1HoldTarget::Batch(named) => HoldTarget::Batch(batch(named)?),
                    V1HoldTarget::Slice(named, at) => HoldTarget::Slice(batch(named)?, place(at)?),
                },
                reason: self.closed(Field::Reason, depth, reason)?,
            },
            V1Fact::Released { target, reason } => Fact::Released {
                target: match target {
                    V1ReleaseTarget::Hold(id) => ReleaseTarget::Hold(name(id)?),
                    V1ReleaseTarget::Batch(named) => ReleaseTarget::Batch(batch(named)?),
                },
                reason: self.closed(Field::Reason, depth, reason)?,
            },
            V1Fact::Counted { at, lines: l } => Fact::Counted { at: place(at)?, lines: lines(l)? },
            V1Fact::Adjusted { at, batch: named, difference: by, reason } => Fact::Adjusted {
                at: place(at)?,
                batch: batch(named)?,
                difference: difference(by)?,
                reason: self.closed(Field::Reason, depth, reason)?,
            },
            V1Fact::Disposed { lines: l, sink: out } => Fact::Disposed { lines: lines(l)?, sink: sink(out) },
            V1Fact::VesselFilled { vessel, lines: l } => Fact::VesselFilled { vessel: name(vessel)?, lines: lines(l)? },
            V1Fact::VesselDrawn { vessel, batch: named, quantity: drawn, to } => Fact::VesselDrawn {
                vessel: name(vessel)?,
                batch: named.map(batch).transpose()?,
                quantity: drawn.map(quantity).transpose()?,
                to: to.map(place).transpose()?,
                expires: None,
            },
            V1Fact::VesselCleaned { vessel, grade } => {
                Fact::VesselCleaned { vessel: name(vessel)?, grade: CleanGrade(grade) }
            }
            V1Fact::ItemDefined { item, base, name: called } => Fact::ItemDefined {
                item: name(item)?,
                base: unit(base)?,
                name: self.closed(Field::Name, depth, called)?,
            },
            V1Fact::PlaceDefined { place: id, parent, time_zone, name: called } => Fact::PlaceDefined {
                place: name(id)?,
                parent: maybe(parent)?,
                time_zone: time_zone.map(str::to_owned),
                name: self.closed(Field::Name, depth, called)?,
            },
            V1Fact::VesselDefined { vessel, mix, at } => Fact::VesselDefined {
                vessel: name(vessel)?,
                mix: match mix {
                    V1MixModel::Full => MixModel::Full,
                    V1MixModel::FirstInFirstOut => MixModel::FirstInFirstOut,
                },
                at: maybe(at)?,
            },
            V1Fact::PartyDefined { party, name: called } => {
                Fact::PartyDefined { party: name(party)?, name: self.closed(Field::Name, depth, called)? }
            }
            V1Fact::FactorDefined { scope, one, equals } => Fact::FactorDefined {
                scope: match scope {
                    V1FactorScope::Item(id) => FactorScope::Item(name(id)?),
                    V1FactorScope::Batch(id) => FactorScope::Batch(batch_id(id)?),
                },
                one: quantity(one)?,
                equals: quantity(equals)?,
            },
            V1Fact::Labelled { batch: named, label } => Fact::Labelled { batch: batch(named)?, label: name(label)? },
            V1Fact::PolicySet { holds_pass_runs } => Fact::PolicySet { holds_pass_runs },
            V1Fact::Corrected { target, correction, reason, actor } => Fact::Corrected {
                target: name(target)?,
                correction: self.correction(correction, depth)?,
                reason: self.closed(Field::Reason, depth, reason)?,
                actor: self.closed(Field::Actor, depth, actor)?,
            },
            V1Fact::Noted { batches, containers: c, what } => {
                self.seal(Field::Note, depth, what)?;
                Fact::Noted { batches: all(batches, batch)?, containers: containers(c)?, what: String::new() }
            }
        })
    }

    fn correction(&mut self, correction: V1Correction<'a>, depth: u8) -> Read<Correction> {
        Ok(match correction {
            V1Correction::Void => Correction::Void,
            V1Correction::Supersede { occurred_at: at, fact } => {
                if depth == CORRECTION_DEPTH_MAX {
                    return Err(DecodeError::TooDeep);
                }
                let fact = self.fact(whole(borrowed(fact))?, depth + 1)?;
                Correction::Supersede { occurred_at: occurred_at(at)?, fact: Box::new(fact) }
            }
        })
    }
}

fn value(what: &'static str, problem: impl ToString) -> DecodeError {
    DecodeError::Value { what, problem: problem.to_string() }
}

fn name<T: Name>(text: &str) -> Read<T> {
    T::from_text(text).map_err(|error| value(T::WHAT, error))
}

fn maybe<T: Name>(text: Option<&str>) -> Read<Option<T>> {
    text.map(name).transpose()
}

fn all<A, B>(values: Vec<A>, read: impl Fn(A) -> Read<B>) -> Read<Vec<B>> {
    values.into_iter().map(read).collect()
}

fn containers(texts: Vec<&str>) -> Read<Vec<ContainerId>> {
    all(texts, name)
}

fn occurred_at(at: V1OccurredAt) -> Read<OccurredAt> {
    if at.offset_minutes.unsigned_abs() >= 24 * 60 {
        return Err(value("offset", "is a day or more"));
    }
    Ok(OccurredAt {
        instant: Instant(at.instant),
        offset_minutes: at.offset_minutes,
        precision: if at.day { Precision::Day } else { Precision::Instant },
    })
}

fn unit(code: [u8; 3]) -> Read<Unit> {
    let code = match &code {
        [head @ .., b' '] => head,
        whole => &whole[..],
    };
    let text = std::str::from_utf8(code).map_err(|_| value("unit", "is not text"))?;
    Unit::parse(text).map_err(|error| value("unit", error))
}

fn decimal(stored: V1Decimal) -> Read<Decimal> {
    Decimal::try_from_i128_with_scale(stored.mantissa, stored.scale.into())
        .map_err(|_| value("number", "is out of range"))
}

/// What the domain made of a number has to be the number that was stored.
fn same<T>(made: Result<T, QuantityError>, given: Decimal, kept: impl Fn(&T) -> Decimal) -> Read<T> {
    let made = made.map_err(|error| value("quantity", error))?;
    let kept = kept(&made);
    if (kept.mantissa(), kept.scale()) == (given.mantissa(), given.scale()) {
        Ok(made)
    } else {
        Err(value("quantity", "is not in its shortest form"))
    }
}

fn quantity(stored: V1Quantity) -> Read<Stated> {
    let number = decimal(stored.value)?;
    same(Stated::new(number, unit(stored.unit)?), number, Stated::value)
}

fn difference(stored: V1Quantity) -> Read<Difference> {
    let number = decimal(stored.value)?;
    same(Difference::new(number, unit(stored.unit)?), number, Difference::value)
}

fn batch_id(id: V1BatchId<'_>) -> Read<BatchId> {
    Ok(BatchId {
        item: name(id.item)?,
        issuer: maybe(id.issuer)?,
        code: name(id.code)?,
        generation: Generation(id.generation),
    })
}

fn batch(named: V1BatchRef<'_>) -> Read<BatchRef> {
    Ok(match named {
        V1BatchRef::Known(id) => BatchRef::Known(batch_id(id)?),
        V1BatchRef::Code(code) => BatchRef::Code(name(code)?),
    })
}

fn sink(sink: V1Sink) -> Sink {
    match sink {
        V1Sink::Consumed => Sink::Consumed,
        V1Sink::Loss => Sink::Loss,
        V1Sink::Sample => Sink::Sample,
        V1Sink::Destroyed => Sink::Destroyed,
        V1Sink::Adjustment => Sink::Adjustment,
        V1Sink::Unexplained => Sink::Unexplained,
    }
}

fn place(at: V1Place<'_>) -> Read<Place> {
    Ok(match at {
        V1Place::Location(id) => Place::Location(name(id)?),
        V1Place::Vessel(id) => Place::Vessel(name(id)?),
        V1Place::Container(id) => Place::Container(name(id)?),
        V1Place::Transit(id) => Place::Transit(name(id)?),
        V1Place::Party(id) => Place::Party(name(id)?),
        V1Place::Sink(out) => Place::Sink(sink(out)),
        V1Place::Unplaced => Place::Unplaced,
    })
}

fn destination(to: V1Destination<'_>) -> Read<Destination> {
    Ok(match to {
        V1Destination::Party(id) => Destination::Party(name(id)?),
        V1Destination::Location(id) => Destination::Location(name(id)?),
    })
}

fn lines(lines: Vec<V1Line<'_>>) -> Read<Vec<Line>> {
    let read = |line: V1Line<'_>| {
        Ok(Line {
            batch: batch(line.batch)?,
            quantity: line.quantity.map(quantity).transpose()?,
            second: line.second.map(quantity).transpose()?,
            from: line.from.map(place).transpose()?,
            document: line.document.map(str::to_owned),
            expires: None,
        })
    };
    all(lines, read)
}

fn window(window: V1Window) -> Window {
    Window { from: Instant(window.from), to: Instant(window.to) }
}

fn run(report: V1RunReport<'_>) -> Read<RunReport> {
    Ok(RunReport {
        run: RunId {
            source: name(report.run.source)?,
            name: name(report.run.name)?,
            generation: Generation(report.run.generation),
        },
        kind: match report.kind {
            V1RunKind::Production => RunKind::Production,
            V1RunKind::Split => RunKind::Split,
            V1RunKind::Merge => RunKind::Merge,
            V1RunKind::Repack => RunKind::Repack,
        },
        inputs: all(report.inputs, input)?,
        outputs: all(report.outputs, output)?,
        losses: all(report.losses, |loss: V1ByLoss| {
            Ok(ByLoss { sink: sink(loss.sink), quantity: quantity(loss.quantity)? })
        })?,
        mapping: all(report.mapping, |(from, to)| Ok((batch(from)?, batch(to)?)))?,
        hold_up_micros: report.hold_up_micros,
        completed: report.completed,
        at: maybe(report.at)?,
    })
}

fn input(leg: V1Input<'_>) -> Read<Input> {
    Ok(Input {
        batch: leg.batch.map(batch).transpose()?,
        quantity: leg.quantity.map(quantity).transpose()?,
        second: leg.second.map(quantity).transpose()?,
        from: leg.from.map(place).transpose()?,
        window: leg.window.map(window),
    })
}

fn output(leg: V1Output<'_>) -> Read<Output> {
    Ok(Output {
        batch: batch(leg.batch)?,
        quantity: leg.quantity.map(quantity).transpose()?,
        second: leg.second.map(quantity).transpose()?,
        to: leg.to.map(place).transpose()?,
        window: leg.window.map(window),
        expires: None,
    })
}

fn amount(stored: V1Amount) -> Read<Amount> {
    match Ratio::new(stored.num, stored.den) {
        Some(ratio) if (ratio.num(), ratio.den()) == (stored.num, stored.den) => {
            Ok(Amount { value: ratio, unit: unit(stored.unit)? })
        }
        _ => Err(value("amount", "is not a reduced fraction")),
    }
}

fn rejection(no: V1Rejection<'_>) -> Read<Rejection> {
    Ok(Rejection {
        rule: match no.rule {
            V1Rule::UnknownBatch => Rule::UnknownBatch,
            V1Rule::AmbiguousCode { candidates } => Rule::AmbiguousCode { candidates: all(candidates, batch)? },
            V1Rule::NotEnough { available, asked } => {
                Rule::NotEnough { available: amount(available)?, asked: amount(asked)? }
            }
            V1Rule::QuantityUnknown => Rule::QuantityUnknown,
            V1Rule::AmbiguousSource { candidates } => Rule::AmbiguousSource { candidates: all(candidates, place)? },
            V1Rule::UnderHold { holds } => Rule::UnderHold { holds: all(holds, name)? },
            V1Rule::FutureDate { now } => Rule::FutureDate { now: Instant(now) },
            V1Rule::UnknownTarget { target } => Rule::UnknownTarget { target: name(target)? },
            V1Rule::NothingToRelease => Rule::NothingToRelease,
            V1Rule::UnknownPlace => Rule::UnknownPlace,
            V1Rule::RunClosed => Rule::RunClosed,
            V1Rule::NeverSent { available, asked } => {
                Rule::NeverSent { available: amount(available)?, asked: amount(asked)? }
            }
            V1Rule::Conflict { first } => Rule::Conflict { first: Position(first) },
        },
        batch: no.batch.map(batch).transpose()?,
        place: no.place.map(place).transpose()?,
    })
}
