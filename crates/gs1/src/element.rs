//! Bracketed element strings: `(01)09506000134352(10)ABC123`.

use crate::error::{Fault, IdError};
use crate::identifier::{Identifier, Locus, Reading};
use crate::key::{Gln, Sscc, check_text};
use crate::link;

/// Application identifiers with their values, in the order in which they stand.
pub type ElementString = Vec<(String, String)>;

/// Splits a bracketed element string. An opening bracket within a value is written `\(`.
///
/// # Errors
/// [`IdError`] when it is not bracketed, an identifier is not two to four digits, or a value is empty.
/// Values are not checked here: which are allowed depends on the identifier.
pub fn element_string(text: &str) -> Result<ElementString, IdError> {
    let form = |fault| IdError::form("element string", text, fault);
    let mut elements = ElementString::new();
    let mut rest =
        text.strip_prefix('(').ok_or_else(|| form("does not begin with an identifier in brackets, as in (01)"))?;
    loop {
        let (ai, tail) = rest.split_once(')').ok_or_else(|| form("has a bracket that does not close"))?;
        if !(2..=4).contains(&ai.len()) || !ai.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form("has an identifier that is not two to four digits"));
        }
        let (value, next) = value(tail);
        if value.is_empty() {
            return Err(form("has an identifier without a value"));
        }
        if let Some((at, found)) = value.chars().enumerate().find(|(_, c)| !c.is_ascii_graphic() || *c == '^') {
            return Err(IdError::new("element string", text, Fault::Character { at, found }));
        }
        elements.push((ai.to_owned(), value));
        match next {
            Some(next) => rest = next,
            None => return Ok(elements),
        }
    }
}

/// The value up to the next bracket that opens, and what follows that bracket.
fn value(tail: &str) -> (String, Option<&str>) {
    let mut value = String::new();
    let mut chars = tail.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '(') => {
                value.push('(');
                chars.next();
            }
            '(' => return (value, Some(&tail[at + 1..])),
            _ => value.push(c),
        }
    }
    (value, None)
}

pub(crate) fn read(text: &str) -> Result<Reading, IdError> {
    let elements = element_string(text)?;
    let find = |ai: &str| elements.iter().find(|(name, _)| name == ai).map(|(_, value)| value.as_str());
    if let Some(value) = find("00") {
        let sscc = Sscc::as_printed(value)?;
        return Ok(Reading::of(Identifier::Container(sscc), [sscc.check()]));
    }
    if let Some(gtin) = find("01") {
        if gtin.len() != 14 {
            return Err(IdError::new(
                "GTIN",
                gtin,
                Fault::Length { found: gtin.len(), allowed: "14 (in an element string)" },
            ));
        }
        let owned = |ai| find(ai).map(str::to_owned);
        return link::trade_item(text, gtin, owned("10"), owned("21"), owned("235"));
    }
    if let Some(value) = find("414") {
        let gln = Gln::as_printed(value)?;
        let extension = find("254").map(str::to_owned);
        let check = extension.as_deref().map_or(Ok(()), |text| check_text("GLN extension (AI 254)", text, 20));
        return Ok(Reading::of(Identifier::Location(Locus::Gln { gln, extension }), [gln.check(), check]));
    }
    if let Some(value) = find("417") {
        let gln = Gln::as_printed(value)?;
        return Ok(Reading::of(Identifier::Party(Locus::Gln { gln, extension: None }), [gln.check()]));
    }
    for ai in ["253", "255", "401", "402", "8003", "8004", "8017", "8018"] {
        if let Some(value) = find(ai) {
            let id = Identifier::Other(format!("https://id.gs1.org/{ai}/{}", link::encode(value)));
            return Ok(Reading::of(id, [link::check_other(ai, value)]));
        }
    }
    Err(IdError::form("element string", text, "has no key: (00), (01), (414), (417) or an asset or document"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_order_and_escapes() {
        let expected =
            [("01", "12345678901231"), ("10", "12345(")].map(|(ai, value)| (ai.to_owned(), value.to_owned()));
        assert_eq!(element_string("(01)12345678901231(10)12345\\(").unwrap(), expected);
    }

    #[test]
    fn a_serial_wins_over_a_batch() {
        let id = Identifier::parse("(01)12345678901231(10)B(21)S").unwrap();
        assert_eq!(id.to_string(), "https://id.gs1.org/01/12345678901231/21/S");
        assert!(Identifier::parse("(01)2345678901231(10)B").is_err());
        assert!(Identifier::parse("(10)B").is_err());
        assert!(matches!(Identifier::parse("(00)006141411234567890"), Ok(Identifier::Container(_))));
    }
}
