//! GS1 Digital Link URIs: `https://any.domain/stem/01/gtin/10/batch`.

use std::fmt::Write;

use crate::error::IdError;
use crate::identifier::{Identifier, Item, Locus, Reading};
use crate::key::{Gln, Gtin, Sscc, check_text, checked, only_digits};

/// The primary keys that may stand in a path, each with the qualifiers that may follow it, in order.
const PRIMARY: [(&str, &[&str]); 13] = [
    ("00", &[]),
    ("01", &["22", "10", "21", "235"]),
    ("253", &[]),
    ("255", &[]),
    ("401", &[]),
    ("402", &[]),
    ("414", &["254", "7040"]),
    ("417", &["7040"]),
    ("8003", &[]),
    ("8004", &["7040"]),
    ("8010", &["8011"]),
    ("8017", &["8019"]),
    ("8018", &["8019"]),
];

/// `rest` is what follows the scheme in `text`. A URL that is no Digital Link is [`Identifier::Other`].
pub(crate) fn read(text: &str, rest: &str) -> Result<Reading, IdError> {
    let other = || Reading::of(Identifier::Other(text.to_owned()), []);
    let Some((domain, path)) = rest.split_once('/') else { return Ok(other()) };
    if domain.is_empty() {
        return Err(IdError::form("URL", text, "has no domain"));
    }
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let segments: Vec<&str> = path[..end].split('/').collect();
    let Some((key, value, qualifiers)) = primary_key(&segments) else { return Ok(other()) };

    let value = decoded(text, value)?;
    let mut found: Vec<(&str, String)> = Vec::new();
    for pair in qualifiers.chunks_exact(2) {
        found.push((alias(pair[0]), decoded(text, pair[1])?));
    }
    let qualifier = |ai: &str| found.iter().find(|(name, _)| *name == ai).map(|(_, value)| value.clone());
    match key {
        "00" => {
            let sscc = Sscc::as_printed(&value)?;
            Ok(Reading::of(Identifier::Container(sscc), [sscc.check()]))
        }
        "01" => trade_item(text, &value, qualifier("10"), qualifier("21"), qualifier("235")),
        "414" => {
            let gln = Gln::as_printed(&value)?;
            let extension = qualifier("254");
            let check = extension.as_deref().map_or(Ok(()), |text| check_text("GLN extension (AI 254)", text, 20));
            Ok(Reading::of(Identifier::Location(Locus::Gln { gln, extension }), [gln.check(), check]))
        }
        "417" => {
            let gln = Gln::as_printed(&value)?;
            Ok(Reading::of(Identifier::Party(Locus::Gln { gln, extension: None }), [gln.check()]))
        }
        ai => {
            let check = check_other(ai, &value);
            Ok(Reading::of(Identifier::Other(format!("https://id.gs1.org/{ai}/{}", encode(&value))), [check]))
        }
    }
}

/// The item with its batch or serial. A third party's serial (AI 235) is not GS1's to compare: kept as
/// it was written.
pub(crate) fn trade_item(
    text: &str,
    gtin: &str,
    batch: Option<String>,
    serial: Option<String>,
    third_party: Option<String>,
) -> Result<Reading, IdError> {
    let gtin = Gtin::as_printed(gtin)?;
    let item = Item::Gtin(gtin);
    let batch_check = batch.as_deref().map_or(Ok(()), |code| check_text("batch (AI 10)", code, 20));
    let serial_check = serial.as_deref().map_or(Ok(()), |text| check_text("serial number (AI 21)", text, 20));
    let id = match (batch, serial) {
        _ if third_party.is_some() => Identifier::Other(text.to_owned()),
        (_, Some(serial)) => Identifier::Serial { item, serial },
        (Some(code), None) => Identifier::Batch { item, code },
        (None, None) => Identifier::Class { item },
    };
    Ok(Reading::of(id, [gtin.check(), batch_check, serial_check]))
}

/// The numeric beginning of the assets' and documents' keys.
pub(crate) fn check_other(ai: &str, value: &str) -> Result<(), IdError> {
    let (what, skip, length) = match ai {
        "253" => ("document number (AI 253)", 0, 13),
        "255" => ("coupon number (AI 255)", 0, 13),
        "8003" => ("returnable asset (AI 8003)", 1, 13),
        "8017" | "8018" => ("service relation (AI 8017, 8018)", 0, 18),
        "402" => ("shipment number (AI 402)", 0, 17),
        _ => return check_text("key", value, 30),
    };
    let digits = value.get(skip..skip + length).ok_or_else(|| IdError::form(what, value, "is too short"))?;
    only_digits(what, digits)?;
    checked(what, digits)?;
    match &value[skip + length..] {
        "" => Ok(()),
        serial => check_text("serial number", serial, 17),
    }
}

/// The last primary key of the path behind which nothing but its own qualifiers stands.
fn primary_key<'a>(segments: &'a [&'a str]) -> Option<(&'static str, &'a str, &'a [&'a str])> {
    let mut start = segments.len().checked_sub(2)?;
    loop {
        let name = alias(segments[start]);
        if let Some((key, allowed)) = PRIMARY.iter().find(|(key, _)| *key == name) {
            let qualifiers = &segments[start + 2..];
            let mut allowed = allowed.iter();
            let in_order =
                qualifiers.chunks_exact(2).all(|pair| !pair[1].is_empty() && allowed.any(|ai| *ai == alias(pair[0])));
            return (in_order && !segments[start + 1].is_empty()).then_some((key, segments[start + 1], qualifiers));
        }
        start = start.checked_sub(2)?;
    }
}

/// The words that earlier editions allowed in place of the numbers.
fn alias(segment: &str) -> &str {
    match segment {
        "gtin" => "01",
        "sscc" => "00",
        "lot" => "10",
        "ser" => "21",
        "cpv" => "22",
        "gln" => "414",
        "glnx" => "254",
        "party" => "417",
        "grai" => "8003",
        "giai" => "8004",
        "gdti" => "253",
        other => other,
    }
}

fn decoded(text: &str, part: &str) -> Result<String, IdError> {
    decode(part)
        .ok_or_else(|| IdError::form("Digital Link", text, "has a % that is not followed by two hex digits of UTF-8"))
}

/// Resolves `%2F`; `None` when a `%` is not followed by two hex digits, or the bytes are not UTF-8.
pub(crate) fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Writes `%2F` and the like for all but letters, digits and `-._~`.
pub(crate) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_domain_and_stem_names_the_same_batch() {
        let batch = Identifier::parse("urn:epc:class:lgtin:0614141.077777.987").unwrap();
        for link in [
            "https://id.gs1.org/01/00614141777778/10/987",
            "http://example.com/some/stem/01/00614141777778/10/987?3103=000195#x",
            "HTTPS://EXAMPLE.com/gtin/00614141777778/lot/987",
            "https://example.com/01/614141777778/22/2A/10/987",
        ] {
            assert_eq!(Identifier::parse(link).unwrap(), batch, "{link}");
        }
        assert_eq!(Identifier::parse("(01)00614141777778(10)987").unwrap(), batch);
        assert_eq!(batch.element_string().unwrap(), "(01)00614141777778(10)987");
    }

    #[test]
    fn escapes_are_resolved_and_written_again() {
        let id = Identifier::parse("https://id.gs1.org/01/00614141777778/10/A%2fB%25").unwrap();
        let Identifier::Batch { code, .. } = &id else { panic!("{id:?}") };
        assert_eq!(code, "A/B%");
        assert_eq!(id.to_string(), "https://id.gs1.org/01/00614141777778/10/A%2FB%25");
        assert!(Identifier::parse("https://id.gs1.org/01/00614141777778/10/A%2").is_err());
        assert!(Identifier::parse("https://id.gs1.org/01/00614141777778/10/A%FF").is_err());
    }

    #[test]
    fn what_is_no_digital_link_is_a_url() {
        for url in ["https://example.com", "https://example.com/about", "https://example.com/99/x", "https://a/01//123"]
        {
            assert!(matches!(Identifier::parse(url), Ok(Identifier::Other(_))), "{url}");
        }
    }

    #[test]
    fn a_wrong_check_digit_is_taken_as_printed_and_told() {
        let reading = crate::read("https://id.gs1.org/00/401234500173447592");
        assert!(matches!(reading.id, Identifier::Container(sscc) if sscc.as_str() == "401234500173447592"));
        assert!(reading.flaw.unwrap().to_string().contains("check digit"));
    }
}
