//! Exact quantities: as stated (decimal and unit), and as ratios for sums and conversions.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;
use thiserror::Error;

use crate::unit::Unit;

/// The most digits behind the decimal point of a stated quantity.
pub const SCALE_MAX: u32 = 9;
/// The largest stated quantity: 15 digits before the point.
const VALUE_MAX: i64 = 999_999_999_999_999;

/// Why a number cannot be a quantity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Below zero.
    #[error("{0} is negative; a quantity is zero or more")]
    Negative(String),
    /// More than [`SCALE_MAX`] digits behind the point.
    #[error("{0} has more than {SCALE_MAX} digits behind the point")]
    TooFine(String),
    /// More than 15 digits before the point.
    #[error("{0} has more than 15 digits before the point")]
    TooLarge(String),
    /// More digits than are kept.
    #[error("{0} has too many digits: at most 15 before the point and {SCALE_MAX} behind it are kept exactly")]
    TooLong(String),
    /// Not a decimal number.
    #[error("{0:?} is not a decimal number")]
    Form(String),
}

/// A quantity as its source stated it: an exact decimal, zero or more, and a UN/ECE Rec 20 unit.
///
/// Two are equal when value and unit are: `1.50 KGM` equals `1.5 KGM`, and not `1500 GRM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stated {
    value: Decimal,
    unit: Unit,
}

impl Stated {
    /// A quantity of zero or more.
    ///
    /// # Errors
    /// [`QuantityError`] when it is negative, too fine or too large.
    pub fn new(value: Decimal, unit: Unit) -> Result<Self, QuantityError> {
        if value.is_sign_negative() && !value.is_zero() {
            return Err(QuantityError::Negative(value.to_string()));
        }
        Ok(Self { value: bounded(value)?, unit })
    }

    /// Parses a decimal such as `12.5` or `1e3`.
    ///
    /// # Errors
    /// [`QuantityError`] when it is no decimal, negative, too fine or too large.
    pub fn parse(value: &str, unit: Unit) -> Result<Self, QuantityError> {
        Self::new(parse_decimal(value)?, unit)
    }

    /// The number, normalised (no trailing zeros).
    pub fn value(&self) -> Decimal {
        self.value
    }

    /// The unit.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.value, self.unit)
    }
}

/// A signed difference as stated (an adjustment).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Difference {
    value: Decimal,
    unit: Unit,
}

impl Difference {
    /// A difference within the same bounds as a quantity.
    ///
    /// # Errors
    /// [`QuantityError`] when it is too fine or too large.
    pub fn new(value: Decimal, unit: Unit) -> Result<Self, QuantityError> {
        Ok(Self { value: bounded(value)?, unit })
    }

    /// Below zero.
    pub fn is_negative(&self) -> bool {
        self.value.is_sign_negative() && !self.value.is_zero()
    }

    /// Its size, without sign.
    pub fn size(&self) -> Stated {
        Stated { value: self.value.abs(), unit: self.unit }
    }

    /// The signed number.
    pub fn value(&self) -> Decimal {
        self.value
    }

    /// The unit.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

fn bounded(value: Decimal) -> Result<Decimal, QuantityError> {
    let value = value.normalize();
    if value.scale() > SCALE_MAX {
        return Err(QuantityError::TooFine(value.to_string()));
    }
    if value.abs().trunc() > Decimal::from(VALUE_MAX) {
        return Err(QuantityError::TooLarge(value.to_string()));
    }
    Ok(if value.is_zero() { Decimal::ZERO } else { value })
}

/// Parses a decimal number, with or without an exponent.
///
/// # Errors
/// [`QuantityError::Form`] when it is none, [`QuantityError::TooLong`] when it is one that cannot be held exactly.
pub fn parse_decimal(text: &str) -> Result<Decimal, QuantityError> {
    let parsed = match text.contains(['e', 'E']) {
        true => Decimal::from_scientific(text),
        false => Decimal::from_str_exact(text),
    };
    parsed.or_else(|_| {
        // Trailing zeros beyond 28 digits are still exact.
        match text.split_once('.') {
            Some((_, fraction)) if fraction.len() > 28 && !text.contains(['e', 'E']) => {
                Decimal::from_str_exact(text.trim_end_matches('0').trim_end_matches('.')).map_err(|_| not_held(text))
            }
            _ => Err(not_held(text)),
        }
    })
}

/// Why a text cannot be held as a decimal: it is none, or it has too many digits.
fn not_held(text: &str) -> QuantityError {
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let unsigned = |part: &str| part.strip_prefix(['-', '+']).unwrap_or(part).to_owned();
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (number, exponent) = (unsigned(number), unsigned(exponent));
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, "0"));
    let is_number = [whole, fraction, &exponent].iter().all(|part| !part.is_empty() && is_digits(part));
    if is_number { QuantityError::TooLong(text.to_owned()) } else { QuantityError::Form(text.to_owned()) }
}

/// An exact ratio, always reduced, its denominator above zero.
///
/// Operations are exact; they return `None` when a number would leave 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    num: i128,
    den: i128,
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        // Divisions of 128 bits are slow, and quantities seldom need them.
        if let (Ok(a), Ok(b)) = (u64::try_from(a), u64::try_from(b)) {
            return small_gcd(a, b).into();
        }
        (a, b) = (b, a % b);
    }
    // Inputs are checked values well below 2^127 in magnitude except i128::MIN, which `new` refuses.
    i128::try_from(a).unwrap_or(1)
}

fn small_gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self { num: 0, den: 1 };
    /// One.
    pub const ONE: Self = Self { num: 1, den: 1 };

    /// `num / den`; `None` for a denominator of zero or numbers at the very end of the range.
    pub fn new(num: i128, den: i128) -> Option<Self> {
        if den == 0 || num == i128::MIN || den == i128::MIN {
            return None;
        }
        let divisor = gcd(num, den).max(1);
        if divisor == 1 && den > 0 {
            return Some(Self { num, den });
        }
        let sign = if den < 0 { -1 } else { 1 };
        Some(Self { num: sign * num / divisor, den: sign * den / divisor })
    }

    /// A whole number.
    pub fn whole(value: i64) -> Self {
        Self { num: value.into(), den: 1 }
    }

    /// The exact value of a decimal.
    pub fn from_decimal(value: Decimal) -> Self {
        if value.scale() == 0 {
            return Self { num: value.mantissa(), den: 1 };
        }
        let scale = 10i128.pow(value.scale());
        // A decimal has at most 96 bits of mantissa and a scale up to 28, both within range.
        Self::new(value.mantissa(), scale).expect("a decimal is a ratio")
    }

    /// Numerator, with the sign.
    pub fn num(self) -> i128 {
        self.num
    }

    /// Denominator, above zero.
    pub fn den(self) -> i128 {
        self.den
    }

    /// Sum.
    pub fn add(self, other: Self) -> Option<Self> {
        if self.den == other.den {
            return Self::new(self.num.checked_add(other.num)?, self.den);
        }
        let shared = gcd(self.den, other.den);
        let left = self.num.checked_mul(other.den / shared)?;
        let right = other.num.checked_mul(self.den / shared)?;
        Self::new(left.checked_add(right)?, self.den.checked_mul(other.den / shared)?)
    }

    /// Difference.
    pub fn sub(self, other: Self) -> Option<Self> {
        self.add(other.neg())
    }

    /// Product.
    pub fn mul(self, other: Self) -> Option<Self> {
        let a = gcd(self.num, other.den).max(1);
        let b = gcd(other.num, self.den).max(1);
        Self::new((self.num / a).checked_mul(other.num / b)?, (self.den / b).checked_mul(other.den / a)?)
    }

    /// Quotient; `None` also when `other` is zero.
    pub fn div(self, other: Self) -> Option<Self> {
        self.mul(Self::new(other.den, other.num)?)
    }

    /// With the other sign.
    pub fn neg(self) -> Self {
        Self { num: -self.num, den: self.den }
    }

    /// Below zero.
    pub fn is_negative(self) -> bool {
        self.num < 0
    }

    /// Exactly zero.
    pub fn is_zero(self) -> bool {
        self.num == 0
    }

    /// Above zero.
    pub fn is_positive(self) -> bool {
        self.num > 0
    }

    /// Its value times ten to the scale: the whole of it, rounded down, and what is over, in parts of its denominator.
    fn shifted(self, scale: u32) -> Option<(i128, i128)> {
        let shift = 10i128.checked_pow(scale)?;
        // The whole apart from the rest, so that long fractions fit.
        let whole = self.num.div_euclid(self.den).checked_mul(shift)?;
        let rest = self.num.rem_euclid(self.den);
        let (digits, rest) = match rest.checked_mul(shift) {
            Some(shifted) => (shifted / self.den, shifted % self.den),
            None => digits(rest, self.den, scale),
        };
        Some((whole.checked_add(digits)?, rest))
    }

    /// The largest multiple of 10^−scale that is not above it.
    pub fn floor_to(self, scale: u32) -> Option<Decimal> {
        let (floor, _) = self.shifted(scale)?;
        Decimal::try_from_i128_with_scale(floor, scale).ok()
    }

    /// The smallest multiple of 10^−scale that is not below it.
    pub fn ceil_to(self, scale: u32) -> Option<Decimal> {
        let (floor, rest) = self.shifted(scale)?;
        Decimal::try_from_i128_with_scale(floor + i128::from(rest > 0), scale).ok()
    }

    /// The nearest multiple of 10^−scale, halves away from zero.
    pub fn round_to(self, scale: u32) -> Option<Decimal> {
        let (floor, rest) = Self { num: self.num.abs(), den: self.den }.shifted(scale)?;
        let rounded = floor + i128::from(rest >= self.den - rest);
        Decimal::try_from_i128_with_scale(rounded * self.num.signum(), scale).ok()
    }

    /// The exact decimal, where there is one of at most 28 digits behind the point.
    pub fn to_decimal(self) -> Option<Decimal> {
        let mut scale = 0u32;
        let mut den = self.den;
        let (mut twos, mut fives) = (0u32, 0u32);
        while den % 2 == 0 {
            den /= 2;
            twos += 1;
        }
        while den % 5 == 0 {
            den /= 5;
            fives += 1;
        }
        if den != 1 {
            return None;
        }
        scale = scale.max(twos).max(fives);
        if scale > 28 {
            return None;
        }
        let factor = 10i128.checked_pow(scale)? / self.den;
        Decimal::try_from_i128_with_scale(self.num.checked_mul(factor)?, scale).ok().map(|d| d.normalize())
    }
}

/// The first `scale` digits behind the point of `rest / den`, which is below one, and what is over, by long division.
fn digits(rest: i128, den: i128, scale: u32) -> (i128, i128) {
    // Below 2^127 each, so that twice of it fits without its sign.
    let (mut rest, den) = (rest.unsigned_abs(), den.unsigned_abs());
    let mut digits = 0;
    for _ in 0..scale {
        // Ten times the rest as sums of two that are each below the denominator.
        let add = |a: (i128, u128), b: (i128, u128)| {
            let sum = a.1 + b.1;
            (a.0 + b.0 + i128::from(sum >= den), if sum >= den { sum - den } else { sum })
        };
        let one = (0, rest);
        let two = add(one, one);
        let four = add(two, two);
        let ten = add(add(four, four), two);
        digits = digits * 10 + ten.0;
        rest = ten.1;
    }
    (digits, i128::try_from(rest).expect("below the denominator"))
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.den == other.den {
            return self.num.cmp(&other.num);
        }
        if let (Some(a), Some(b)) = (self.num.checked_mul(other.den), other.num.checked_mul(self.den)) {
            return a.cmp(&b);
        }
        // Compare by continued fractions where the products do not fit.
        let (a, b) = (self.num.div_euclid(self.den), other.num.div_euclid(other.den));
        if a != b {
            return a.cmp(&b);
        }
        let (ra, rb) = (self.num.rem_euclid(self.den), other.num.rem_euclid(other.den));
        match (ra, rb) {
            (0, 0) => Ordering::Equal,
            (0, _) => Ordering::Less,
            (_, 0) => Ordering::Greater,
            _ => Self { num: other.den, den: rb }.cmp(&Self { num: self.den, den: ra }),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_decimal() {
            Some(decimal) => decimal.fmt(f),
            None => write!(f, "{}/{}", self.num, self.den),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(num: i128, den: i128) -> Ratio {
        Ratio::new(num, den).expect("a ratio")
    }

    #[test]
    fn three_thirds_are_one() {
        let third = ratio(1, 3);
        let sum = third.add(third).and_then(|two| two.add(third)).expect("in range");
        assert_eq!(sum, Ratio::ONE);
        assert_eq!(third.to_string(), "1/3");
        assert_eq!(ratio(5, 4).to_string(), "1.25");
    }

    #[test]
    fn rounding_goes_the_way_it_says() {
        let third = ratio(1, 3);
        assert_eq!(third.floor_to(2).map(|d| d.to_string()), Some("0.33".into()));
        assert_eq!(third.ceil_to(2).map(|d| d.to_string()), Some("0.34".into()));
        assert_eq!(ratio(-1, 3).floor_to(2).map(|d| d.to_string()), Some("-0.34".into()));
        assert_eq!(ratio(1, 2).round_to(0).map(|d| d.to_string()), Some("1".into()));
        assert_eq!(ratio(-1, 2).round_to(0).map(|d| d.to_string()), Some("-1".into()));
    }

    #[test]
    fn long_fractions_have_their_digits_too() {
        let (num, den) = (i128::MAX / 3, i128::MAX - 2);
        let long = ratio(num, den);
        assert_eq!(long.floor_to(9).map(|d| d.to_string()), Some("0.333333333".into()));
        assert_eq!(long.ceil_to(9).map(|d| d.to_string()), Some("0.333333334".into()));
        assert_eq!(long.neg().floor_to(9).map(|d| d.to_string()), Some("-0.333333334".into()));
        assert_eq!(long.round_to(0).map(|d| d.to_string()), Some("0".into()));
        // Long division gives what the short way gives.
        for (rest, den) in [(1, 3), (2, 7), (999, 1000), (0, 5), (10_i128.pow(20) + 7, 10_i128.pow(21) + 1)] {
            let shift = 1_000_000_000;
            assert_eq!(digits(rest, den, 9), (rest * shift / den, rest * shift % den));
        }
    }

    #[test]
    fn order_holds_where_products_do_not_fit() {
        let big = i128::MAX / 3;
        assert!(ratio(big, big - 1) > Ratio::ONE);
        assert!(ratio(big, big - 1) > ratio(big + 1, big));
        assert!(ratio(-big, big - 1) < ratio(-1, 1));
    }

    #[test]
    fn a_quantity_is_bounded_and_not_negative() {
        let unit = Unit::parse("KGM").expect("a unit");
        assert!(matches!(Stated::parse("-1", unit), Err(QuantityError::Negative(_))));
        assert!(matches!(Stated::parse("0.0000000001", unit), Err(QuantityError::TooFine(_))));
        assert!(matches!(Stated::parse("1000000000000000", unit), Err(QuantityError::TooLarge(_))));
        assert!(matches!(Stated::parse("one", unit), Err(QuantityError::Form(_))));
        assert!(matches!(Stated::parse("1.2.3", unit), Err(QuantityError::Form(_))));
        assert!(matches!(Stated::parse("", unit), Err(QuantityError::Form(_))));
        for long in ["1".repeat(40), format!("1.{}", "1".repeat(40)), "1e400".to_owned()] {
            assert!(matches!(Stated::parse(&long, unit), Err(QuantityError::TooLong(_))), "{long}");
        }
        assert!(Stated::parse("999999999999999.9", unit).is_ok());
        assert_eq!(Stated::parse("1.50", unit), Stated::parse("1.5", unit));
        assert_eq!(Stated::parse("1e3", unit), Stated::parse("1000", unit));
    }
}
