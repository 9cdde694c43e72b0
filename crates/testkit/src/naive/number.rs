//! Exact numbers without an end.

use num_bigint::BigInt;
use num_rational::BigRational;
use rust_decimal::Decimal;

/// An exact rational number of any size.
pub type Number = BigRational;

/// The exact value of a decimal.
pub fn decimal(value: Decimal) -> Number {
    Number::new(BigInt::from(value.mantissa()), BigInt::from(10).pow(value.scale()))
}

/// A ratio of two whole numbers.
pub fn ratio(numerator: u64, denominator: u64) -> Number {
    Number::new(BigInt::from(numerator), BigInt::from(denominator))
}

/// A number from its decimal form, for tests.
///
/// # Panics
/// When the text is no decimal.
pub fn number(text: &str) -> Number {
    decimal(text.parse().expect("a decimal"))
}

/// Nothing.
pub fn zero() -> Number {
    Number::from_integer(BigInt::from(0))
}

/// The smaller one.
pub fn least(a: &Number, b: &Number) -> Number {
    if a <= b { a.clone() } else { b.clone() }
}

/// Itself, or nothing if it is below zero.
pub fn not_below_zero(a: &Number) -> Number {
    if *a > zero() { a.clone() } else { zero() }
}

/// 10⁻⁹.
pub fn billionth() -> Number {
    Number::new(BigInt::from(1), BigInt::from(10).pow(9))
}

/// The largest multiple of 10⁻⁹ that is not above it.
pub fn floor_nine(a: &Number) -> Number {
    let scale = Number::from_integer(BigInt::from(10).pow(9));
    (a * &scale).floor() / scale
}
