//! Between the JSON forms and the domain's facts.

use lotline_domain::fact::{
    ByLoss, CleanGrade, Correction, Fact, FactorScope, HoldTarget, Input, Line, Output, ReleaseTarget, RunKind,
    RunReport, Window,
};
use lotline_domain::id::{BatchRef, ContainerId, LocationId, Place, SourceId};
use lotline_domain::quantity::Stated;
use serde_json::value::RawValue;

use super::check::makes_sense;
use super::facts::{
    Adjusted, ContainerEmptied, ContainerMoved, Corrected, CorrectionForm, Counted, Delivered, Disposed, FactForm,
    FactorDefined, Held, InputForm, ItemDefined, Labelled, LineForm, LossForm, Merged, Moved, Noted, OutputForm,
    Packed, PairForm, PartyDefined, PlaceDefined, PolicySet, Produced, Received, ReceivedLineForm, Released, Repacked,
    Returned, Seen, Shipped, Split, SupersedeForm, Unpacked, VesselCleaned, VesselDefined, VesselDrawn, VesselFilled,
    WindowForm,
};
use super::form::{
    BatchForm, BatchIdForm, DestinationText, DifferenceForm, ExpiresText, InstantText, MixWord, Named, Object,
    PlaceText, QuantityForm, RunForm, Several, SinkWord, Text, TimeText, UnitText, ZoneText,
};
use super::{CommandError, parse_fact, print_fact};

/// The fields that all four kinds of run share.
struct RunParts {
    run: RunForm,
    inputs: Vec<Object<InputForm>>,
    outputs: Vec<Object<OutputForm>>,
    losses: Vec<Object<LossForm>>,
    mapping: Vec<Object<PairForm>>,
    hold_up_micros: i64,
    completed: bool,
    at: Option<Named<LocationId>>,
}

impl FactForm {
    /// The fact. `source` is whose run names are meant; `depth` counts corrections around it.
    pub(super) fn into_fact(self, source: &SourceId, depth: u8) -> Result<Fact, CommandError> {
        let fact = self.told(source, depth)?;
        makes_sense(&fact)?;
        Ok(fact)
    }

    fn told(self, source: &SourceId, depth: u8) -> Result<Fact, CommandError> {
        Ok(match self {
            Self::Received(form) => Fact::Received {
                lines: received_lines(form.lines),
                containers: names(form.containers),
                from: form.from.map(|name| name.0),
                shipment: form.shipment.map(|name| name.0),
                by: form.by.map(|name| name.0),
                to: form.to.0,
            },
            Self::Produced(form) => Fact::Produced(RunParts::from(form).report(RunKind::Production, source)?),
            Self::Split(form) => Fact::Produced(RunParts::from(form).report(RunKind::Split, source)?),
            Self::Merged(form) => Fact::Produced(RunParts::from(form).report(RunKind::Merge, source)?),
            Self::Repacked(form) => Fact::Produced(RunParts::from(form).report(RunKind::Repack, source)?),
            Self::Moved(form) => Fact::Moved { lines: lines(form.lines.0), to: form.to.0 },
            Self::Packed(form) => Fact::Packed {
                container: form.container.0,
                lines: lines(form.lines),
                containers: names(form.containers),
                at: form.at.map(|name| name.0),
            },
            Self::Unpacked(form) => Fact::Unpacked {
                container: form.container.0,
                lines: lines(form.lines),
                containers: names(form.containers),
                to: form.to.map(|name| name.0),
            },
            Self::ContainerMoved(form) => Fact::ContainerMoved { containers: names(form.containers.0), to: form.to.0 },
            Self::ContainerEmptied(form) => Fact::ContainerEmptied { container: form.container.0 },
            Self::Shipped(form) => Fact::Shipped {
                shipment: form.shipment.0,
                to: form.to.map(|to| to.0),
                lines: lines(form.lines),
                containers: names(form.containers),
            },
            Self::Delivered(form) => Fact::Delivered {
                shipment: form.shipment.map(|name| name.0),
                to: form.to.0,
                lines: lines(form.lines),
                containers: names(form.containers),
            },
            Self::Returned(form) => Fact::Returned {
                from: form.from.0,
                lines: lines(form.lines),
                containers: names(form.containers),
                to: form.to.0,
            },
            Self::Seen(form) => {
                Fact::Seen { lines: lines(form.lines), containers: names(form.containers), at: form.at.0 }
            }
            Self::Held(form) => Fact::Held {
                hold: form.hold.0,
                target: match form.at {
                    None => HoldTarget::Batch(form.batch.0),
                    Some(at) => HoldTarget::Slice(form.batch.0, at.0),
                },
                reason: form.reason,
            },
            Self::Released(form) => Fact::Released {
                target: match (form.hold, form.batch) {
                    (Some(hold), None) => ReleaseTarget::Hold(hold.0),
                    (None, Some(batch)) => ReleaseTarget::Batch(batch.0),
                    _ => return Err(one_of("hold", "batch")),
                },
                reason: form.reason,
            },
            Self::Counted(form) => Fact::Counted { at: form.at.0, lines: lines(form.lines.0) },
            Self::Adjusted(form) => Fact::Adjusted {
                at: form.at.0,
                batch: form.batch.0,
                difference: form.difference.0,
                reason: form.reason,
            },
            Self::Disposed(form) => Fact::Disposed { lines: lines(form.lines.0), sink: form.sink.0 },
            Self::VesselFilled(form) => Fact::VesselFilled { vessel: form.vessel.0, lines: lines(form.lines.0) },
            Self::VesselDrawn(form) => Fact::VesselDrawn {
                vessel: form.vessel.0,
                batch: form.batch.map(|batch| batch.0),
                quantity: form.quantity.map(|quantity| quantity.0),
                to: form.to.map(|place| place.0),
                expires: form.expires.map(|expires| expires.0),
            },
            Self::VesselCleaned(form) => Fact::VesselCleaned { vessel: form.vessel.0, grade: CleanGrade(form.grade) },
            Self::ItemDefined(form) => Fact::ItemDefined { item: form.item.0, base: form.base.0, name: form.name },
            Self::PlaceDefined(form) => Fact::PlaceDefined {
                place: form.place.0,
                parent: form.parent.map(|name| name.0),
                time_zone: form.time_zone.map(|zone| zone.0),
                name: form.name,
            },
            Self::VesselDefined(form) => {
                Fact::VesselDefined { vessel: form.vessel.0, mix: form.mix.0, at: form.at.map(|name| name.0) }
            }
            Self::PartyDefined(form) => Fact::PartyDefined { party: form.party.0, name: form.name },
            Self::FactorDefined(form) => Fact::FactorDefined {
                scope: match (form.item, form.batch) {
                    (Some(item), None) => FactorScope::Item(item.0),
                    (None, Some(batch)) => FactorScope::Batch(batch.0),
                    _ => return Err(one_of("item", "batch")),
                },
                one: not_zero("one", form.one.0)?,
                equals: not_zero("equals", form.equals.0)?,
            },
            Self::Labelled(form) => Fact::Labelled { batch: form.batch.0, label: form.label.0 },
            Self::PolicySet(form) => Fact::PolicySet { holds_pass_runs: form.holds_pass_runs },
            Self::Corrected(form) => Fact::Corrected {
                target: form.target.0,
                correction: match form.correction {
                    CorrectionForm::Void => Correction::Void,
                    CorrectionForm::Supersede(Object(form)) => Correction::Supersede {
                        occurred_at: form.occurred_at.0,
                        fact: Box::new(
                            parse_fact(form.fact.get(), source, depth + 1)
                                .map_err(|error| error.under("correction.supersede.fact"))?,
                        ),
                    },
                },
                reason: form.reason,
                actor: form.actor.map(|name| name.0),
            },
            Self::Noted(form) => Fact::Noted {
                batches: form.batches.into_iter().map(|batch| batch.0).collect(),
                containers: names(form.containers),
                what: form.what,
            },
        })
    }

    /// The canonical form of a fact that `source` reports.
    pub(super) fn from_fact(fact: &Fact, source: &SourceId) -> Self {
        match fact {
            Fact::Received { lines, containers, from, shipment, by, to } => Self::Received(Received::new(
                received_line_forms(lines),
                name_forms(containers),
                from.clone().map(Named),
                shipment.clone().map(Named),
                by.clone().map(Named),
                PlaceText(to.clone()),
            )),
            Fact::Produced(report) => RunParts::of(report, source).form(report.kind),
            Fact::Moved { lines, to } => Self::Moved(Moved::new(Several(line_forms(lines)), PlaceText(to.clone()))),
            Fact::Packed { container, lines, containers, at } => Self::Packed(Packed::new(
                Named(container.clone()),
                line_forms(lines),
                name_forms(containers),
                at.clone().map(Named),
            )),
            Fact::Unpacked { container, lines, containers, to } => Self::Unpacked(Unpacked::new(
                Named(container.clone()),
                line_forms(lines),
                name_forms(containers),
                to.clone().map(Named),
            )),
            Fact::ContainerMoved { containers, to } => {
                Self::ContainerMoved(ContainerMoved::new(Several(name_forms(containers)), PlaceText(to.clone())))
            }
            Fact::ContainerEmptied { container } => {
                Self::ContainerEmptied(ContainerEmptied::new(Named(container.clone())))
            }
            Fact::Shipped { shipment, to, lines, containers } => Self::Shipped(Shipped::new(
                Named(shipment.clone()),
                to.clone().map(DestinationText),
                line_forms(lines),
                name_forms(containers),
            )),
            Fact::Delivered { shipment, to, lines, containers } => Self::Delivered(Delivered::new(
                shipment.clone().map(Named),
                Named(to.clone()),
                line_forms(lines),
                name_forms(containers),
            )),
            Fact::Returned { from, lines, containers, to } => Self::Returned(Returned::new(
                Named(from.clone()),
                line_forms(lines),
                name_forms(containers),
                PlaceText(to.clone()),
            )),
            Fact::Seen { lines, containers, at } => {
                Self::Seen(Seen::new(line_forms(lines), name_forms(containers), PlaceText(at.clone())))
            }
            Fact::Held { hold, target, reason } => {
                let (batch, at) = match target {
                    HoldTarget::Batch(batch) => (batch, None),
                    HoldTarget::Slice(batch, at) => (batch, Some(PlaceText(at.clone()))),
                };
                Self::Held(Held::new(Text(hold.clone()), BatchForm(batch.clone()), at, reason.clone()))
            }
            Fact::Released { target, reason } => {
                let (hold, batch) = match target {
                    ReleaseTarget::Hold(hold) => (Some(Text(hold.clone())), None),
                    ReleaseTarget::Batch(batch) => (None, Some(BatchForm(batch.clone()))),
                };
                Self::Released(Released::new(hold, batch, reason.clone()))
            }
            Fact::Counted { at, lines } => {
                Self::Counted(Counted::new(PlaceText(at.clone()), Several(line_forms(lines))))
            }
            Fact::Adjusted { at, batch, difference, reason } => Self::Adjusted(Adjusted::new(
                PlaceText(at.clone()),
                BatchForm(batch.clone()),
                DifferenceForm(*difference),
                reason.clone(),
            )),
            Fact::Disposed { lines, sink } => {
                Self::Disposed(Disposed::new(Several(line_forms(lines)), SinkWord(*sink)))
            }
            Fact::VesselFilled { vessel, lines } => {
                Self::VesselFilled(VesselFilled::new(Named(vessel.clone()), Several(line_forms(lines))))
            }
            Fact::VesselDrawn { vessel, batch, quantity, to, expires } => Self::VesselDrawn(VesselDrawn::new(
                Named(vessel.clone()),
                batch.clone().map(BatchForm),
                quantity.map(QuantityForm),
                to.clone().map(PlaceText),
                expires.map(ExpiresText),
            )),
            Fact::VesselCleaned { vessel, grade } => {
                Self::VesselCleaned(VesselCleaned::new(Named(vessel.clone()), grade.0))
            }
            Fact::ItemDefined { item, base, name } => {
                Self::ItemDefined(ItemDefined::new(Text(item.clone()), UnitText(*base), name.clone()))
            }
            Fact::PlaceDefined { place, parent, time_zone, name } => Self::PlaceDefined(PlaceDefined::new(
                Named(place.clone()),
                parent.clone().map(Named),
                time_zone.clone().map(ZoneText),
                name.clone(),
            )),
            Fact::VesselDefined { vessel, mix, at } => {
                Self::VesselDefined(VesselDefined::new(Named(vessel.clone()), MixWord(*mix), at.clone().map(Named)))
            }
            Fact::PartyDefined { party, name } => {
                Self::PartyDefined(PartyDefined::new(Named(party.clone()), name.clone()))
            }
            Fact::FactorDefined { scope, one, equals } => {
                let (item, batch) = match scope {
                    FactorScope::Item(item) => (Some(Text(item.clone())), None),
                    FactorScope::Batch(batch) => (None, Some(BatchIdForm(batch.clone()))),
                };
                Self::FactorDefined(FactorDefined::new(item, batch, QuantityForm(*one), QuantityForm(*equals)))
            }
            Fact::Labelled { batch, label } => {
                Self::Labelled(Labelled::new(BatchForm(batch.clone()), Text(label.clone())))
            }
            Fact::PolicySet { holds_pass_runs } => Self::PolicySet(PolicySet::new(*holds_pass_runs)),
            Fact::Corrected { target, correction, reason, actor } => {
                let correction = match correction {
                    Correction::Void => CorrectionForm::Void,
                    Correction::Supersede { occurred_at, fact } => {
                        let fact = RawValue::from_string(print_fact(fact, source)).expect("printed JSON is JSON");
                        CorrectionForm::Supersede(Object(SupersedeForm { occurred_at: TimeText(*occurred_at), fact }))
                    }
                };
                Self::Corrected(Corrected::new(
                    Text(target.clone()),
                    correction,
                    reason.clone(),
                    actor.clone().map(Text),
                ))
            }
            Fact::Noted { batches, containers, what } => Self::Noted(Noted::new(
                batches.iter().cloned().map(BatchForm).collect(),
                name_forms(containers),
                what.clone(),
            )),
        }
    }
}

macro_rules! run_parts {
    ($($form:ident),+) => {$(
        impl From<$form> for RunParts {
            fn from(form: $form) -> Self {
                let $form { run, inputs, outputs, losses, mapping, hold_up_micros, completed, at, .. } = form;
                Self { run, inputs, outputs, losses, mapping, hold_up_micros, completed, at }
            }
        }

        impl From<RunParts> for $form {
            fn from(parts: RunParts) -> Self {
                let RunParts { run, inputs, outputs, losses, mapping, hold_up_micros, completed, at } = parts;
                Self::new(run, inputs, outputs, losses, mapping, hold_up_micros, completed, at)
            }
        }
    )+};
}

run_parts!(Produced, Split, Merged, Repacked);

impl RunParts {
    fn report(self, kind: RunKind, source: &SourceId) -> Result<RunReport, CommandError> {
        for (at, Object(leg)) in self.inputs.iter().enumerate() {
            let from_vessel = matches!(leg.from, Some(PlaceText(Place::Vessel(_))));
            if leg.batch.is_none() && !from_vessel {
                let message =
                    "is missing: only what is drawn from a vessel (\"from\":\"vessel:NAME\") may have no name";
                return Err(CommandError::field(format!("inputs[{at}].batch"), message));
            }
        }
        Ok(RunReport {
            run: self.run.at(source),
            kind,
            inputs: self.inputs.into_iter().map(|Object(leg)| input(leg)).collect(),
            outputs: self.outputs.into_iter().map(|Object(leg)| output(leg)).collect(),
            losses: self
                .losses
                .into_iter()
                .map(|Object(loss)| ByLoss { sink: loss.sink.0, quantity: loss.quantity.0 })
                .collect(),
            mapping: self.mapping.into_iter().map(|Object(pair)| (pair.input.0, pair.output.0)).collect(),
            hold_up_micros: self.hold_up_micros,
            completed: self.completed,
            at: self.at.map(|name| name.0),
        })
    }

    fn of(report: &RunReport, source: &SourceId) -> Self {
        Self {
            run: RunForm::of(&report.run, source),
            inputs: report.inputs.iter().map(|leg| Object(input_form(leg))).collect(),
            outputs: report.outputs.iter().map(|leg| Object(output_form(leg))).collect(),
            losses: report
                .losses
                .iter()
                .map(|loss| Object(LossForm { sink: SinkWord(loss.sink), quantity: QuantityForm(loss.quantity) }))
                .collect(),
            mapping: report.mapping.iter().map(pair_form).collect(),
            hold_up_micros: report.hold_up_micros,
            completed: report.completed,
            at: report.at.clone().map(Named),
        }
    }

    fn form(self, kind: RunKind) -> FactForm {
        match kind {
            RunKind::Production => FactForm::Produced(self.into()),
            RunKind::Split => FactForm::Split(self.into()),
            RunKind::Merge => FactForm::Merged(self.into()),
            RunKind::Repack => FactForm::Repacked(self.into()),
        }
    }
}

fn one_of(a: &str, b: &str) -> CommandError {
    CommandError::field("", format!("needs exactly one of `{a}` and `{b}`"))
}

fn not_zero(field: &str, stated: Stated) -> Result<Stated, CommandError> {
    if stated.value().is_zero() {
        return Err(CommandError::field(format!("{field}.value"), "is zero; a factor is above zero on both sides"));
    }
    Ok(stated)
}

fn names<T>(forms: Vec<Named<T>>) -> Vec<T> {
    forms.into_iter().map(|name| name.0).collect()
}

fn name_forms(ids: &[ContainerId]) -> Vec<Named<ContainerId>> {
    ids.iter().cloned().map(Named).collect()
}

fn lines(forms: Vec<Object<LineForm>>) -> Vec<Line> {
    let line = |Object(form): Object<LineForm>| Line {
        batch: form.batch.0,
        quantity: form.quantity.map(|quantity| quantity.0),
        second: form.second.map(|quantity| quantity.0),
        from: form.from.map(|place| place.0),
        document: form.document,
        expires: None,
    };
    forms.into_iter().map(line).collect()
}

fn line_forms(lines: &[Line]) -> Vec<Object<LineForm>> {
    let form = |line: &Line| {
        Object(LineForm {
            batch: BatchForm(line.batch.clone()),
            quantity: line.quantity.map(QuantityForm),
            second: line.second.map(QuantityForm),
            from: line.from.clone().map(PlaceText),
            document: line.document.clone(),
        })
    };
    lines.iter().map(form).collect()
}

fn received_lines(forms: Vec<Object<ReceivedLineForm>>) -> Vec<Line> {
    let line = |Object(form): Object<ReceivedLineForm>| Line {
        batch: form.batch.0,
        quantity: form.quantity.map(|quantity| quantity.0),
        second: form.second.map(|quantity| quantity.0),
        from: form.from.map(|place| place.0),
        document: form.document,
        expires: form.expires.map(|expires| expires.0),
    };
    forms.into_iter().map(line).collect()
}

fn received_line_forms(lines: &[Line]) -> Vec<Object<ReceivedLineForm>> {
    let form = |line: &Line| {
        Object(ReceivedLineForm {
            batch: BatchForm(line.batch.clone()),
            quantity: line.quantity.map(QuantityForm),
            second: line.second.map(QuantityForm),
            from: line.from.clone().map(PlaceText),
            document: line.document.clone(),
            expires: line.expires.map(ExpiresText),
        })
    };
    lines.iter().map(form).collect()
}

fn window(Object(form): Object<WindowForm>) -> Window {
    Window { from: form.from.0, to: form.to.0 }
}

fn window_form(window: Window) -> Object<WindowForm> {
    Object(WindowForm { from: InstantText(window.from), to: InstantText(window.to) })
}

fn input(form: InputForm) -> Input {
    Input {
        batch: form.batch.map(|batch| batch.0),
        quantity: form.quantity.map(|quantity| quantity.0),
        second: form.second.map(|quantity| quantity.0),
        from: form.from.map(|place| place.0),
        window: form.window.map(window),
    }
}

fn input_form(leg: &Input) -> InputForm {
    InputForm {
        batch: leg.batch.clone().map(BatchForm),
        quantity: leg.quantity.map(QuantityForm),
        second: leg.second.map(QuantityForm),
        from: leg.from.clone().map(PlaceText),
        window: leg.window.map(window_form),
    }
}

fn output(form: OutputForm) -> Output {
    Output {
        batch: form.batch.0,
        quantity: form.quantity.map(|quantity| quantity.0),
        second: form.second.map(|quantity| quantity.0),
        to: form.to.map(|place| place.0),
        window: form.window.map(window),
        expires: form.expires.map(|expires| expires.0),
    }
}

fn output_form(leg: &Output) -> OutputForm {
    OutputForm {
        batch: BatchForm(leg.batch.clone()),
        quantity: leg.quantity.map(QuantityForm),
        second: leg.second.map(QuantityForm),
        to: leg.to.clone().map(PlaceText),
        window: leg.window.map(window_form),
        expires: leg.expires.map(ExpiresText),
    }
}

fn pair_form((input, output): &(BatchRef, BatchRef)) -> Object<PairForm> {
    Object(PairForm { input: BatchForm(input.clone()), output: BatchForm(output.clone()) })
}
