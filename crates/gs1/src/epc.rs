//! EPC URNs (`urn:epc:id:…`, `urn:epc:class:…`, `urn:epc:idpat:…`).
//!
//! They name the company prefix, and leave out check digits and separators that the keys have.

use crate::error::{Fault, IdError};
use crate::identifier::{Identifier, Item, Locus, Reading};
use crate::key::{Gln, Gtin, Sscc, check_digit, check_text, only_digits};
use crate::link;

/// `rest` is what follows `urn:epc:` in `text`.
pub(crate) fn read(text: &str, rest: &str) -> Result<Reading, IdError> {
    let mut parts = rest.splitn(3, ':');
    let (Some(kind), Some(scheme), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(IdError::form(
            "EPC URN",
            text,
            "has no scheme and value, as in urn:epc:id:sgtin:0614141.107346.2018",
        ));
    };
    let kind = kind.to_ascii_lowercase();
    let scheme = scheme.to_ascii_lowercase();
    let fields: Vec<&str> = match scheme.as_str() {
        // A serial may hold dots.
        "sgtin" | "lgtin" | "sgln" | "grai" | "gdti" => value.splitn(3, '.').collect(),
        _ => value.splitn(2, '.').collect(),
    };
    match (kind.as_str(), scheme.as_str(), fields.as_slice()) {
        ("id", "sgtin", [prefix, reference, serial]) => {
            let serial = decode(text, serial)?;
            let item = Item::Gtin(gtin(text, prefix, reference)?);
            let check = check_text("serial number (AI 21)", &serial, 20);
            Ok(Reading::of(Identifier::Serial { item, serial }, [check]))
        }
        ("class", "lgtin", [prefix, reference, code]) => {
            let code = decode(text, code)?;
            let item = Item::Gtin(gtin(text, prefix, reference)?);
            let check = check_text("batch (AI 10)", &code, 20);
            Ok(Reading::of(Identifier::Batch { item, code }, [check]))
        }
        ("idpat", "sgtin", [prefix, reference, "*"]) if *reference != "*" => {
            Ok(Reading::of(Identifier::Class { item: Item::Gtin(gtin(text, prefix, reference)?) }, []))
        }
        ("id", "sscc", [prefix, reference]) => {
            let body = joined(text, prefix, reference, 17)?;
            Ok(Reading::of(Identifier::Container(Sscc::completed(&body)?), []))
        }
        ("id", "sgln", [prefix, reference, extension]) => {
            let gln = Gln::completed(&plain(text, prefix, reference, 12)?)?;
            let extension = decode(text, extension)?;
            let check = check_text("GLN extension (AI 254)", &extension, 20);
            let extension = (extension != "0").then_some(extension);
            Ok(Reading::of(Identifier::Location(Locus::Gln { gln, extension }), [check]))
        }
        ("id", "pgln", [prefix, reference]) => {
            let gln = Gln::completed(&plain(text, prefix, reference, 12)?)?;
            Ok(Reading::of(Identifier::Party(Locus::Gln { gln, extension: None }), []))
        }
        ("id", "grai", [prefix, reference, serial]) => numbered(text, "8003/0", prefix, reference, serial),
        ("id", "gdti", [prefix, reference, serial]) => numbered(text, "253/", prefix, reference, serial),
        ("id", "giai", [prefix, reference]) => {
            let reference = decode(text, reference)?;
            only_digits("company prefix", prefix)?;
            let value = format!("{prefix}{reference}");
            let check = check_text("asset number (AI 8004)", &value, 30);
            let id = Identifier::Other(format!("https://id.gs1.org/8004/{}", link::encode(&value)));
            Ok(Reading::of(id, [check]))
        }
        ("id", "gsrn", [prefix, reference]) => {
            let body = plain(text, prefix, reference, 17)?;
            let id = Identifier::Other(format!("https://id.gs1.org/8018/{}", with_check_digit(text, &body)?));
            Ok(Reading::of(id, []))
        }
        ("id", "sgtin" | "sgln" | "grai" | "gdti", _) | ("class", "lgtin", _) => {
            Err(IdError::form("EPC URN", text, "should have three parts: company prefix, reference, serial or batch"))
        }
        ("id", "sscc" | "pgln" | "giai" | "gsrn", _) => {
            Err(IdError::form("EPC URN", text, "should have two parts: company prefix and reference"))
        }
        _ => Ok(Reading::of(Identifier::Other(text.to_owned()), [])),
    }
}

/// GTIN: the indicator stands first in the reference; `prefix` follows it in the key.
fn gtin(text: &str, prefix: &str, reference: &str) -> Result<Gtin, IdError> {
    Gtin::completed(&joined(text, prefix, reference, 13)?)
}

/// Keys whose first digit (indicator, extension) stands before the company prefix.
fn joined(text: &str, prefix: &str, reference: &str, length: usize) -> Result<String, IdError> {
    let body = plain(text, prefix, reference, length)?;
    let (head, tail) = reference.split_at_checked(1).unwrap_or_default();
    debug_assert_eq!(body.len(), length);
    Ok(format!("{head}{prefix}{tail}"))
}

fn plain(text: &str, prefix: &str, reference: &str, length: usize) -> Result<String, IdError> {
    only_digits("company prefix", prefix)?;
    only_digits("reference", reference)?;
    let allowed = match length {
        12 => "a prefix of 6 to 12 and together 12 are right",
        13 => "a prefix of 6 to 12 and together 13 are right",
        _ => "a prefix of 6 to 12 and together 17 are right",
    };
    if !(6..=12).contains(&prefix.len()) || prefix.len() + reference.len() != length {
        let fault = Fault::Prefix { prefix: prefix.len(), reference: reference.len(), allowed };
        return Err(IdError::new("EPC URN", text, fault));
    }
    Ok(format!("{prefix}{reference}"))
}

fn numbered(text: &str, path: &str, prefix: &str, reference: &str, serial: &str) -> Result<Reading, IdError> {
    let number = with_check_digit(text, &plain(text, prefix, reference, 12)?)?;
    let serial = decode(text, serial)?;
    let check = check_text("serial number", &serial, 17);
    Ok(Reading::of(Identifier::Other(format!("https://id.gs1.org/{path}{number}{}", link::encode(&serial))), [check]))
}

fn with_check_digit(text: &str, body: &str) -> Result<String, IdError> {
    let last = check_digit(body).ok_or_else(|| IdError::form("EPC URN", text, "has letters where digits belong"))?;
    Ok(format!("{body}{last}"))
}

fn decode(text: &str, part: &str) -> Result<String, IdError> {
    link::decode(part).ok_or_else(|| IdError::form("EPC URN", text, "has a % that is not followed by two hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(urn: &str, canonical: &str) {
        assert_eq!(Identifier::parse(urn).expect(urn).to_string(), canonical);
    }

    #[test]
    fn keys_get_their_indicator_and_check_digit() {
        check("urn:epc:class:lgtin:0614141.077777.987", "https://id.gs1.org/01/00614141777778/10/987");
        check("urn:epc:id:sgtin:0614141.107346.2018", "https://id.gs1.org/01/10614141073464/21/2018");
        check("urn:epc:id:sgtin:4012345.011111.A%2FB", "https://id.gs1.org/01/04012345111118/21/A%2FB");
        check("urn:epc:idpat:sgtin:4012345.066666.*", "https://id.gs1.org/01/04012345666663");
        check("urn:epc:id:sscc:0614141.1234567890", "https://id.gs1.org/00/106141412345678908");
        check("urn:epc:id:sgln:0614141.00777.0", "https://id.gs1.org/414/0614141007776");
        check("urn:epc:id:sgln:0614141.07346.1234", "https://id.gs1.org/414/0614141073467/254/1234");
        check("urn:epc:id:pgln:4012345.00225", "https://id.gs1.org/417/4012345002256");
        check("urn:epc:id:grai:4012345.55555.987", "https://id.gs1.org/8003/04012345555554987");
        check("urn:epc:id:giai:4000001.111", "https://id.gs1.org/8004/4000001111");
        check("urn:epc:id:gdti:0614141.00001.1618034", "https://id.gs1.org/253/06141410000121618034");
        check("urn:epc:id:gsrn:0614141.0000010253", "https://id.gs1.org/8018/061414100000102534");
        check("URN:EPC:ID:SGTIN:0614141.107346.2018", "https://id.gs1.org/01/10614141073464/21/2018");
    }

    #[test]
    fn a_short_sscc_is_refused_with_its_lengths() {
        let error = Identifier::parse("urn:epc:id:sscc:08600031303.0004").unwrap_err();
        assert!(matches!(error.fault, Fault::Prefix { prefix: 11, reference: 4, .. }), "{error}");
        let reading = crate::read("urn:epc:id:sscc:08600031303.0004");
        assert_eq!(reading.id, Identifier::Other("urn:epc:id:sscc:08600031303.0004".into()));
        assert_eq!(reading.flaw, Some(error));
    }

    #[test]
    fn malformed_urns_say_what_is_missing() {
        for urn in [
            "urn:epc:",
            "urn:epc:id",
            "urn:epc:id:sgtin",
            "urn:epc:id:sgtin:",
            "urn:epc:id:sgtin:0614141.107346",
            "urn:epc:id:sgtin:0614141.10734A.1",
            "urn:epc:id:sgtin:0614141.1073461.1",
            "urn:epc:id:sgtin:0614141.107346.%zz",
            "urn:epc:id:sgtin:0614141.107346.",
            "urn:epc:class:lgtin:0614141.107346.a b",
            "urn:epc:id:sscc:1",
            "urn:epc:id:sgln:061414é.07346.0",
        ] {
            assert!(Identifier::parse(urn).is_err(), "{urn}");
        }
        assert!(matches!(Identifier::parse("urn:epc:idpat:sgtin:4012345.*.*"), Ok(Identifier::Other(_))));
    }
}
