//! Quantities and differences, exact on their whole way.

use std::borrow::Cow;

use lotline_domain::quantity::{Difference, Stated, parse_decimal};
use lotline_domain::unit::Unit;
use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Object, UnitText, Word};

/// An exact decimal: a JSON number, or the same digits in a string. Never a float on its way.
#[derive(Debug, Clone, Copy)]
struct Digits(Decimal);

const DIGITS: &str = "a decimal number, such as \"12.5\" or 12.5";

/// The grammar of a JSON number.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(from)?.get();
        let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let text = inner.unwrap_or(raw);
        if !is_number(text) {
            return Err(D::Error::custom(format!("{raw} is not {DIGITS}")));
        }
        parse_decimal(text).map(Self).map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantityFields {
    value: Digits,
    unit: UnitText,
}

/// A quantity as stated, zero or more.
#[derive(Debug, Clone)]
pub(crate) struct QuantityForm(pub(crate) Stated);

/// A signed difference.
#[derive(Debug, Clone)]
pub(crate) struct DifferenceForm(pub(crate) Difference);

fn print_quantity<S: Serializer>(to: S, value: Decimal, unit: Unit) -> Result<S::Ok, S::Error> {
    let mut fields = to.serialize_struct("quantity", 2)?;
    fields.serialize_field("value", &value.to_string())?;
    fields.serialize_field("unit", unit.as_str())?;
    fields.end()
}

fn quantity_schema(sign: &str, bound: Schema, what: &str) -> Schema {
    let pattern = format!("^{sign}(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?$");
    json_schema!({
        "type": "object",
        "description": format!("{what}: an exact decimal with at most 15 digits before and 9 behind the point, as a string or a number, and its unit."),
        "properties": {
            "value": {"anyOf": [{"type": "string", "pattern": pattern}, bound]},
            "unit": UnitText::schema(),
        },
        "required": ["value", "unit"],
        "additionalProperties": false,
    })
}

macro_rules! quantities {
    ($($form:ident, $inner:ident, $name:literal, $sign:literal, $bound:tt, $what:literal;)+) => {$(
        impl<'de> Deserialize<'de> for $form {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let Object(fields) = Object::<QuantityFields>::deserialize(from)?;
                $inner::new(fields.value.0, fields.unit.0).map(Self).map_err(D::Error::custom)
            }
        }

        impl Serialize for $form {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                print_quantity(to, self.0.value(), self.0.unit())
            }
        }

        impl JsonSchema for $form {
            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                quantity_schema($sign, json_schema!($bound), $what)
            }
        }
    )+};
}

quantities! {
    QuantityForm, Stated, "quantity", "", {"type": "number", "minimum": 0}, "A quantity, zero or more";
    DifferenceForm, Difference, "difference", "-?", {"type": "number"}, "A signed difference";
}
