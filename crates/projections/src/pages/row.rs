//! Stored forms of rows, and of the cursor. Numbers that may be "none" ([`NONE`]) are written one up, so
//! that none is a short zero.

use bincode::{Decode, Encode};
use lotline_domain::book::{
    BatchIx, BatchRow, CorrectionKind, End, FactIx, FactRow, FlowExtra, FlowRow, NONE, PlaceKind, PlaceRow, RunRow,
};
use lotline_domain::effect::Phase;
use lotline_domain::fact::Window;
use lotline_domain::id::LocationId;
use lotline_domain::quantity::Stated;
use lotline_domain::time::Instant;
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;

const _: () = assert!(NONE == u32::MAX, "one up from none is zero");

fn up(number: u32) -> u32 {
    number.wrapping_add(1)
}

fn down(number: u32) -> u32 {
    number.wrapping_sub(1)
}

/// The unit that was last looked up: most rows of a page have the same.
#[derive(Debug, Default)]
pub(crate) struct Units(Option<([u8; 3], Unit)>);

impl Units {
    pub(crate) fn unit(&mut self, bytes: [u8; 3]) -> Option<Unit> {
        match self.0 {
            Some((known, unit)) if known == bytes => Some(unit),
            _ => {
                let unit = Unit::parse(std::str::from_utf8(&bytes).ok()?.trim_end()).ok()?;
                self.0 = Some((bytes, unit));
                Some(unit)
            }
        }
    }
}

/// A stated quantity.
#[derive(Debug, Clone, Copy, Encode, Decode)]
pub(crate) struct StatedForm {
    mantissa: i128,
    scale: u8,
    unit: [u8; 3],
}

impl StatedForm {
    pub(crate) fn of(stated: &Stated) -> Self {
        let value = stated.value();
        let scale = u8::try_from(value.scale()).expect("a decimal's scale is at most 28");
        Self { mantissa: value.mantissa(), scale, unit: stated.unit().to_bytes() }
    }

    pub(crate) fn stated(&self, units: &mut Units) -> Option<Stated> {
        let value = Decimal::try_from_i128_with_scale(self.mantissa, self.scale.into()).ok()?;
        Stated::new(value, units.unit(self.unit)?).ok()
    }
}

/// The quantity behind an optional form; the outer `None` is a form that nothing writes.
#[expect(clippy::option_option, reason = "an absent quantity and a wrong one are different things")]
pub(crate) fn maybe_stated(form: Option<&StatedForm>, units: &mut Units) -> Option<Option<Stated>> {
    match form {
        None => Some(None),
        Some(form) => form.stated(units).map(Some),
    }
}

/// A batch as numbers.
#[derive(Debug, Encode, Decode)]
pub(crate) struct BatchForm(u32, u32, u32, u32);

impl BatchForm {
    pub(crate) fn of(row: &BatchRow) -> Self {
        Self(up(row.item), up(row.issuer), row.code, row.generation)
    }

    pub(crate) fn row(&self) -> BatchRow {
        BatchRow { item: down(self.0), issuer: down(self.1), code: self.2, generation: self.3 }
    }
}

/// A place as numbers.
#[derive(Debug, Encode, Decode)]
pub(crate) struct PlaceForm(u8, u32);

impl PlaceForm {
    pub(crate) fn of(row: &PlaceRow) -> Self {
        Self(row.kind as u8, row.name)
    }

    pub(crate) fn row(&self) -> Option<PlaceRow> {
        let kind = match self.0 {
            0 => PlaceKind::Location,
            1 => PlaceKind::Vessel,
            2 => PlaceKind::Container,
            3 => PlaceKind::Transit,
            4 => PlaceKind::Party,
            5 => PlaceKind::Sink,
            6 => PlaceKind::Unplaced,
            _ => return None,
        };
        Some(PlaceRow { kind, name: self.1 })
    }
}

/// A run as numbers.
#[derive(Debug, Encode, Decode)]
pub(crate) struct RunForm(u32, u32, u32);

impl RunForm {
    pub(crate) fn of(row: &RunRow) -> Self {
        Self(row.source, row.name, row.generation)
    }

    pub(crate) fn row(&self) -> RunRow {
        RunRow { source: self.0, name: self.1, generation: self.2 }
    }
}

/// A fact's head, and when a correction says that it was made.
#[derive(Debug, Encode, Decode)]
pub(crate) struct FactForm {
    instant: i64,
    sequence: u64,
    position: u64,
    commit: u64,
    id: u32,
    target: u32,
    vague_seconds: u32,
    correction: u8,
    future: bool,
    corrected_at: Option<i64>,
}

impl FactForm {
    pub(crate) fn of(row: &FactRow, corrected_at: Option<i64>) -> Self {
        Self {
            instant: row.instant,
            sequence: row.sequence,
            position: row.position,
            commit: row.commit,
            id: row.id,
            target: up(row.target),
            vague_seconds: row.vague_seconds,
            correction: row.correction as u8,
            future: row.future,
            corrected_at,
        }
    }

    pub(crate) fn row(&self) -> Option<(FactRow, Option<i64>)> {
        let correction = match self.correction {
            0 => CorrectionKind::None,
            1 => CorrectionKind::Void,
            2 => CorrectionKind::Supersede,
            _ => return None,
        };
        let row = FactRow {
            instant: self.instant,
            sequence: self.sequence,
            position: self.position,
            commit: self.commit,
            id: self.id,
            target: down(self.target),
            vague_seconds: self.vague_seconds,
            correction,
            future: self.future,
        };
        Some((row, self.corrected_at))
    }
}

/// What few flows have.
#[derive(Debug, Encode, Decode)]
pub(crate) struct ExtraForm {
    second: Option<StatedForm>,
    window: Option<(i64, i64)>,
    document: Option<String>,
    packed_at: Option<String>,
    beside: bool,
}

impl ExtraForm {
    fn of(extra: &FlowExtra) -> Self {
        Self {
            second: extra.second.as_ref().map(StatedForm::of),
            window: extra.window.map(|window| (window.from.0, window.to.0)),
            document: extra.document.clone(),
            packed_at: extra.packed_at.as_ref().map(|at| at.as_str().to_owned()),
            beside: extra.beside,
        }
    }

    fn extra(self, units: &mut Units) -> Option<FlowExtra> {
        let packed_at = match self.packed_at {
            None => None,
            Some(name) => Some(LocationId::parse(&name).ok()?),
        };
        Some(FlowExtra {
            second: maybe_stated(self.second.as_ref(), units)?,
            window: self.window.map(|(from, to)| Window { from: Instant(from), to: Instant(to) }),
            document: self.document,
            packed_at,
            beside: self.beside,
        })
    }
}

/// A flow as stated.
#[derive(Debug, Encode, Decode)]
pub(crate) struct FlowForm {
    quantity: Option<StatedForm>,
    fact: u32,
    batch: u32,
    from: u32,
    to: u32,
    leg: u16,
    phase: u8,
    packs: bool,
    extra: Option<ExtraForm>,
}

impl FlowForm {
    pub(crate) fn of(row: &FlowRow, extra: Option<&FlowExtra>) -> Self {
        Self {
            quantity: row.quantity.as_ref().map(StatedForm::of),
            fact: row.fact.0,
            batch: row.batch.0,
            from: row.from.to_bits(),
            to: row.to.to_bits(),
            leg: row.leg,
            phase: row.phase as u8,
            packs: row.packs,
            extra: extra.map(ExtraForm::of),
        }
    }

    pub(crate) fn row(self, units: &mut Units) -> Option<(FlowRow, Option<FlowExtra>)> {
        let extra = match self.extra {
            None => None,
            Some(form) => Some(form.extra(units)?),
        };
        let row = FlowRow {
            quantity: maybe_stated(self.quantity.as_ref(), units)?,
            fact: FactIx(self.fact),
            batch: BatchIx(self.batch),
            from: End::from_bits(self.from)?,
            to: End::from_bits(self.to)?,
            leg: self.leg,
            phase: phase(self.phase)?,
            packs: self.packs,
        };
        Some((row, extra))
    }
}

/// The phase of a number.
pub(super) fn phase(number: u8) -> Option<Phase> {
    let all = [Phase::In, Phase::Move, Phase::Out, Phase::Sourceless, Phase::Draw, Phase::Clean, Phase::Count];
    all.into_iter().find(|phase| *phase as u8 == number)
}

/// When a commit was recorded, microseconds.
#[derive(Debug, Encode, Decode)]
pub(crate) struct CommitForm(pub(crate) i64);

/// A refusal for a fact's sake: its commit, and the number of the fact.
#[derive(Debug, Encode, Decode)]
pub(crate) struct ConflictForm(pub(crate) u64, pub(crate) u32);

/// What a commit touched last: a kind, a number, and the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChangeForm {
    pub(crate) kind: u8,
    pub(crate) number: u32,
    pub(crate) commit: u64,
}

/// The cursor and what stands in the pages at that moment.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CursorForm {
    pub(crate) kind: u8,
    pub(crate) ledger: [u8; 16],
    pub(crate) number: u64,
    pub(crate) hash: [u8; 32],
    /// Last folded commit and position.
    pub(crate) last: Option<(u64, u64)>,
    /// For each column: pages and rows.
    pub(crate) columns: Vec<(u32, u64)>,
    /// BLAKE3 over the seals of all pages, column by column.
    pub(crate) root: [u8; 32],
}
