//! Stored form of a deed.

use bincode::{Decode, Encode};
use lotline_domain::book::{BatchIx, Deed, DeedRow, FactIx, NameNo, PlaceIx, RunIx};
use lotline_domain::effect::ContainerMove;
use lotline_domain::expiry::{Day, Expires};
use lotline_domain::fact::{MixModel, RunKind};
use lotline_domain::id::Sink;
use lotline_domain::quantity::Ratio;
use lotline_domain::time::Instant;

use super::row::{StatedForm, Units, maybe_stated, phase};

/// A deed with its fact and step.
#[derive(Debug, Encode, Decode)]
pub(crate) struct DeedForm {
    fact: u32,
    leg: u16,
    what: What,
}

#[derive(Debug, Encode, Decode)]
enum What {
    Move(u32, u32, u8),
    Empty(u32, Option<u32>),
    Clean(u32, u8),
    Count(u32, u32, Option<StatedForm>, Option<StatedForm>),
    Hold(u32, u32, Option<u32>),
    ReleaseHold(u32),
    ReleaseBatch(u32),
    Run(RunTold),
    Bound(u32, u32, u8),
    Item(u32, [u8; 3]),
    Parent(u32, Option<u32>, Option<u32>),
    Vessel(u32, u8, Option<u32>),
    Factor { item: u32, batch: u32, from: [u8; 3], to: [u8; 3], num: i128, den: i128 },
    Policy(bool),
    Label(u32, u32),
    Mention(u32),
    ExpiryDay(u32, i32),
    ExpiryMoment(u32, i64, i32),
}

#[derive(Debug, Encode, Decode)]
struct RunTold {
    run: u32,
    kind: u8,
    completed: bool,
    mapping: Vec<(u32, u32)>,
    hold_up_micros: i64,
    losses: Vec<(u8, StatedForm)>,
}

/// Numbers of the closed lists. A new member does not compile until it has one.
fn move_number(how: ContainerMove) -> u8 {
    match how {
        ContainerMove::Moved => 0,
        ContainerMove::Seen => 1,
        ContainerMove::TakenOut => 2,
        ContainerMove::PackedAt => 3,
        ContainerMove::PackedWith => 4,
    }
}

fn move_of(number: u8) -> Option<ContainerMove> {
    Some(match number {
        0 => ContainerMove::Moved,
        1 => ContainerMove::Seen,
        2 => ContainerMove::TakenOut,
        3 => ContainerMove::PackedAt,
        4 => ContainerMove::PackedWith,
        _ => return None,
    })
}

fn kind_number(kind: RunKind) -> u8 {
    match kind {
        RunKind::Production => 0,
        RunKind::Split => 1,
        RunKind::Merge => 2,
        RunKind::Repack => 3,
    }
}

fn kind_of(number: u8) -> Option<RunKind> {
    Some(match number {
        0 => RunKind::Production,
        1 => RunKind::Split,
        2 => RunKind::Merge,
        3 => RunKind::Repack,
        _ => return None,
    })
}

fn mix_number(mix: MixModel) -> u8 {
    match mix {
        MixModel::Full => 0,
        MixModel::FirstInFirstOut => 1,
    }
}

fn mix_of(number: u8) -> Option<MixModel> {
    Some(match number {
        0 => MixModel::Full,
        1 => MixModel::FirstInFirstOut,
        _ => return None,
    })
}

impl DeedForm {
    pub(crate) fn of(row: &DeedRow) -> Self {
        Self { fact: row.fact.0, leg: row.leg, what: What::of(&row.deed) }
    }

    pub(crate) fn row(self, units: &mut Units) -> Option<DeedRow> {
        Some(DeedRow { fact: FactIx(self.fact), leg: self.leg, deed: self.what.deed(units)? })
    }
}

impl What {
    fn of(deed: &Deed) -> Self {
        let number = |place: &Option<PlaceIx>| place.map(|place| place.0);
        match deed {
            Deed::Move { container, to, how } => Self::Move(container.0, to.0, move_number(*how)),
            Deed::Empty { place, to } => Self::Empty(place.0, number(to)),
            Deed::Clean { vessel, grade } => Self::Clean(vessel.0, *grade),
            Deed::Count { batch, at, quantity, second } => {
                let form = |stated: &Option<_>| stated.as_ref().map(StatedForm::of);
                Self::Count(batch.0, at.0, form(quantity), form(second))
            }
            Deed::Hold { hold, batch, slice } => Self::Hold(hold.0, batch.0, number(slice)),
            Deed::ReleaseHold { hold } => Self::ReleaseHold(hold.0),
            Deed::ReleaseBatch { batch } => Self::ReleaseBatch(batch.0),
            Deed::Run { run, kind, completed, mapping, hold_up_micros, losses } => Self::Run(RunTold {
                run: run.0,
                kind: kind_number(*kind),
                completed: *completed,
                mapping: mapping.iter().map(|(input, output)| (input.0, output.0)).collect(),
                hold_up_micros: *hold_up_micros,
                losses: losses.iter().map(|(sink, lost)| (*sink as u8, StatedForm::of(lost))).collect(),
            }),
            Deed::Bound { shipment, to, phase } => Self::Bound(shipment.0, to.0, *phase as u8),
            Deed::Item { item, base } => Self::Item(item.0, base.to_bytes()),
            Deed::Parent { place, parent, zone } => Self::Parent(place.0, number(parent), zone.map(|zone| zone.0)),
            Deed::Vessel { vessel, mix, at } => Self::Vessel(vessel.0, mix_number(*mix), number(at)),
            Deed::Factor { item, batch, from, to, ratio } => Self::Factor {
                item: *item,
                batch: *batch,
                from: from.to_bytes(),
                to: to.to_bytes(),
                num: ratio.num(),
                den: ratio.den(),
            },
            Deed::Policy { holds_pass_runs } => Self::Policy(*holds_pass_runs),
            Deed::Label { batch, code } => Self::Label(batch.0, code.0),
            Deed::Mention { batch } => Self::Mention(batch.0),
            Deed::Expiry { batch, expires: Expires::Day(day) } => Self::ExpiryDay(batch.0, day.number()),
            Deed::Expiry { batch, expires: Expires::Moment { instant, offset_minutes } } => {
                Self::ExpiryMoment(batch.0, instant.0, *offset_minutes)
            }
        }
    }

    fn deed(self, units: &mut Units) -> Option<Deed> {
        Some(match self {
            Self::Move(container, to, how) => {
                Deed::Move { container: PlaceIx(container), to: PlaceIx(to), how: move_of(how)? }
            }
            Self::Empty(place, to) => Deed::Empty { place: PlaceIx(place), to: to.map(PlaceIx) },
            Self::Clean(vessel, grade) => Deed::Clean { vessel: PlaceIx(vessel), grade },
            Self::Count(batch, at, quantity, second) => Deed::Count {
                batch: BatchIx(batch),
                at: PlaceIx(at),
                quantity: maybe_stated(quantity.as_ref(), units)?,
                second: maybe_stated(second.as_ref(), units)?,
            },
            Self::Hold(hold, batch, slice) => {
                Deed::Hold { hold: NameNo(hold), batch: BatchIx(batch), slice: slice.map(PlaceIx) }
            }
            Self::ReleaseHold(hold) => Deed::ReleaseHold { hold: NameNo(hold) },
            Self::ReleaseBatch(batch) => Deed::ReleaseBatch { batch: BatchIx(batch) },
            Self::Run(told) => told.deed(units)?,
            Self::Bound(shipment, to, number) => {
                Deed::Bound { shipment: PlaceIx(shipment), to: PlaceIx(to), phase: phase(number)? }
            }
            Self::Item(item, base) => Deed::Item { item: NameNo(item), base: units.unit(base)? },
            Self::Parent(place, parent, zone) => {
                Deed::Parent { place: PlaceIx(place), parent: parent.map(PlaceIx), zone: zone.map(NameNo) }
            }
            Self::Vessel(vessel, mix, at) => {
                Deed::Vessel { vessel: PlaceIx(vessel), mix: mix_of(mix)?, at: at.map(PlaceIx) }
            }
            Self::Factor { item, batch, from, to, num, den } => {
                let ratio = Ratio::new(num, den)?;
                Deed::Factor { item, batch, from: units.unit(from)?, to: units.unit(to)?, ratio }
            }
            Self::Policy(holds_pass_runs) => Deed::Policy { holds_pass_runs },
            Self::Label(batch, code) => Deed::Label { batch: BatchIx(batch), code: NameNo(code) },
            Self::Mention(batch) => Deed::Mention { batch: BatchIx(batch) },
            Self::ExpiryDay(batch, day) => {
                Deed::Expiry { batch: BatchIx(batch), expires: Expires::Day(Day::from_number(day)?) }
            }
            Self::ExpiryMoment(batch, instant, offset_minutes) => {
                let expires = Expires::Moment { instant: Instant(instant), offset_minutes };
                Deed::Expiry { batch: BatchIx(batch), expires }
            }
        })
    }
}

impl RunTold {
    fn deed(self, units: &mut Units) -> Option<Deed> {
        let mut losses = Vec::with_capacity(self.losses.len());
        for (sink, lost) in &self.losses {
            losses.push((Sink::ALL.into_iter().find(|one| *one as u8 == *sink)?, lost.stated(units)?));
        }
        Some(Deed::Run {
            run: RunIx(self.run),
            kind: kind_of(self.kind)?,
            completed: self.completed,
            mapping: self.mapping.into_iter().map(|(input, output)| (BatchIx(input), BatchIx(output))).collect(),
            hold_up_micros: self.hold_up_micros,
            losses,
        })
    }
}
