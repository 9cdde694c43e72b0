//! Bounds of an amount, and their arithmetic: exact as long as 128 bits hold it, then cut outward.

use lotline_domain::quantity::Ratio;

/// Bounds of an amount, in the batch's base unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) min: Ratio,
    pub(super) expected: Option<Ratio>,
    pub(super) max: Ratio,
}

/// Which way a value is rounded that no fraction of 128 bits can hold.
pub(super) type Cut = fn(Ratio, u32) -> Option<rust_decimal::Decimal>;

/// Digits behind the point that long fractions are cut to; more than answers tell.
const SCALE: u32 = 12;

/// An operation; where its result cannot be held, that of its operands, cut.
pub(super) fn held(
    a: Ratio,
    b: Ratio,
    of: fn(Ratio, Ratio) -> Option<Ratio>,
    [cut_a, cut_b]: [Cut; 2],
) -> Option<Ratio> {
    of(a, b).or_else(|| {
        let mut scales = (6..=SCALE).rev().step_by(3);
        scales.find_map(|scale| {
            let short = |value: Ratio, to: Cut| to(value, scale).map(Ratio::from_decimal);
            of(short(a, cut_a)?, short(b, cut_b)?)
        })
    })
}

/// A sum, rounded one way.
fn plus(a: Ratio, b: Ratio, cut: Cut) -> Option<Ratio> {
    held(a, b, Ratio::add, [cut, cut])
}

/// A difference, rounded one way.
pub(super) fn less(a: Ratio, b: Ratio, down: bool) -> Option<Ratio> {
    let cuts: [Cut; 2] = if down { [Ratio::floor_to, Ratio::ceil_to] } else { [Ratio::ceil_to, Ratio::floor_to] };
    held(a, b, Ratio::sub, cuts)
}

/// A product of what is not below zero, rounded one way.
fn times(a: Ratio, b: Ratio, cut: Cut) -> Option<Ratio> {
    held(a, b, Ratio::mul, [cut, cut])
}

/// What of an expectation goes with a part of the whole; to the nearest.
pub(super) fn share_of(expected: Ratio, part: Ratio, whole: Ratio) -> Option<Ratio> {
    if whole.is_zero() {
        return Some(Ratio::ZERO);
    }
    // Cut as late as can be: the share itself may be a long fraction of small numbers.
    let near: [Cut; 2] = [Ratio::round_to; 2];
    let share = held(part, whole, Ratio::div, near)?;
    held(expected, share, Ratio::mul, near)
}

impl Part {
    pub(super) const NONE: Self = Self { min: Ratio::ZERO, expected: Some(Ratio::ZERO), max: Ratio::ZERO };

    pub(super) fn any(max: Ratio) -> Self {
        Self { min: Ratio::ZERO, expected: None, max: max.max(Ratio::ZERO) }
    }

    pub(super) fn all(value: Ratio) -> Self {
        Self { min: value, expected: Some(value), max: value }
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        let expected = match (self.expected, other.expected) {
            (Some(a), Some(b)) => plus(a, b, Ratio::round_to),
            _ => None,
        };
        Some(Self {
            min: plus(self.min, other.min, Ratio::floor_to)?,
            expected,
            max: plus(self.max, other.max, Ratio::ceil_to)?,
        })
    }

    pub(super) fn scaled(self, factor: Ratio) -> Option<Self> {
        Some(Self {
            min: times(self.min, factor, Ratio::floor_to)?,
            expected: self.expected.and_then(|expected| times(expected, factor, Ratio::round_to)),
            max: times(self.max, factor, Ratio::ceil_to)?,
        })
    }

    /// What of so much out of a mixed whole: at least what the clean rest cannot make up. What is more than the whole is of
    /// nobody knows what, and so may be all of it.
    pub(super) fn out_of(self, total: Ratio, out: Ratio) -> Option<Self> {
        let max = out.min(self.max);
        let min = match out > total {
            true => Ratio::ZERO,
            false => less(out, less(total, self.min, false)?, true)?.max(Ratio::ZERO).min(max),
        };
        let expected = self.expected.and_then(|expected| share_of(expected, out, total.max(out)));
        Some(Self { min, expected, max }.in_order())
    }

    /// What is expected is within the bounds, also where it was rounded.
    pub(super) fn in_order(self) -> Self {
        Self { expected: self.expected.map(|expected| expected.clamp(self.min, self.max.max(self.min))), ..self }
    }

    /// Long fractions are cut outward, the expectation to the nearest.
    pub(super) fn cut(self) -> Self {
        const LONG: i128 = 1_000_000_000_000_000_000;
        let short = |value: Ratio, to: Cut| {
            if value.den() < LONG { value } else { to(value, SCALE).map_or(value, Ratio::from_decimal) }
        };
        Self {
            min: short(self.min, Ratio::floor_to),
            expected: self.expected.map(|expected| short(expected, Ratio::round_to)),
            max: short(self.max, Ratio::ceil_to),
        }
    }
}
