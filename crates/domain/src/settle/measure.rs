//! Amounts of one batch as whole numbers of its base unit divided by a common denominator.

use crate::book::{BatchIx, Book};
use crate::quantity::{Ratio, Stated};
use crate::unit::Unit;

use super::master::{Master, ranked_base};

/// How a batch's statements become whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// The base unit.
    pub base: Unit,
    /// An amount of `n` means `n / den` base units.
    pub den: i128,
}

/// A statement: what was said, and what was said beside it.
pub(crate) type Statement = (Option<Stated>, Option<Stated>);

/// The largest denominator: beyond it a statement counts as unknown rather than as rounded.
const DEN_MAX: i128 = 1_000_000_000_000_000_000_000_000;

impl Measure {
    /// The measure that keeps all statements exact.
    pub(crate) fn of(book: &Book, master: &Master, batch: BatchIx, all: &[Statement]) -> Self {
        let defined = book.item_of(batch).and_then(|item| master.base_of(item));
        let base = defined.unwrap_or_else(|| {
            let stated = all.iter().flat_map(|(first, second)| first.iter().chain(second));
            let mut units = stated.map(Stated::unit);
            let Some(mut last) = units.next() else { return Unit::KILOGRAM };
            let mut best = ranked_base(last);
            // Most statements of a batch are in one unit.
            for unit in units {
                if unit != last {
                    last = unit;
                    best = best.min(ranked_base(unit));
                }
            }
            best.1
        });
        let mut den: i128 = 1;
        for statement in all {
            if let Some(ratio) = exact(book, master, batch, base, statement)
                && let Some(wider) = common(den, ratio.den())
                && wider <= DEN_MAX
            {
                den = wider;
            }
        }
        Self { base, den }
    }

    /// The whole number of a statement; `None` when it is unknown or does not convert.
    pub(crate) fn amount(&self, book: &Book, master: &Master, batch: BatchIx, statement: &Statement) -> Option<i128> {
        let ratio = exact(book, master, batch, self.base, statement)?;
        (self.den % ratio.den() == 0).then(|| ratio.num().checked_mul(self.den / ratio.den())).flatten()
    }

    /// The exact value of a whole number.
    pub fn value(&self, amount: i128) -> Ratio {
        Ratio::new(amount, self.den).unwrap_or(Ratio::ZERO)
    }
}

fn exact(book: &Book, master: &Master, batch: BatchIx, base: Unit, statement: &Statement) -> Option<Ratio> {
    let convert = |stated: &Stated| {
        let value = Ratio::from_decimal(stated.value());
        if stated.unit() == base {
            return Some(value);
        }
        master.convert(book, batch, stated.unit(), base)?.mul(value)
    };
    statement.0.as_ref().and_then(convert).or_else(|| statement.1.as_ref().and_then(convert))
}

fn common(a: i128, b: i128) -> Option<i128> {
    if a % b == 0 {
        return Some(a);
    }
    let shared = Ratio::new(a, b)?;
    // a / gcd × b: the reduced numerator is a / gcd.
    shared.num().checked_mul(b)
}
