//! URNs of the Global Dialogue on Seafood Traceability: `urn:gdst:<domain>:<kind>:<company>.<name>…`.
//!
//! They have no check digits and no table of lengths. Company and name are opaque; the batch code is
//! what follows the second dot.

use crate::identifier::{Identifier, Item, Locus, Reading};

const BATCH: &str = "product:lot:class:";
const SERIAL: &str = "product:serial:obj:";
const CLASS: &str = "product:class:";

/// `rest` is what follows `urn:gdst:` in `text`. What is of no known kind is [`Identifier::Other`].
pub(crate) fn read(text: &str, rest: &str) -> Reading {
    Reading::of(identifier(rest).unwrap_or_else(|| Identifier::Other(text.to_owned())), [])
}

fn identifier(rest: &str) -> Option<Identifier> {
    let (domain, rest) = rest.split_once(':')?;
    // Domain names compare without case; the rest of a URN with it.
    let domain = domain.to_ascii_lowercase();
    let urn = |kind: &str, name: &str| format!("urn:gdst:{domain}:{kind}{name}");
    let filled = |name: &str| (!name.is_empty()).then_some(());
    if let Some(name) = rest.strip_prefix(BATCH) {
        let (class, code) = split_code(name)?;
        return Some(Identifier::Batch { item: Item::Gdst(urn(CLASS, class)), code: code.to_owned() });
    }
    if let Some(name) = rest.strip_prefix(SERIAL) {
        let (class, serial) = split_code(name)?;
        return Some(Identifier::Serial { item: Item::Gdst(urn(CLASS, class)), serial: serial.to_owned() });
    }
    if let Some(name) = rest.strip_prefix(CLASS) {
        filled(name)?;
        return Some(Identifier::Class { item: Item::Gdst(urn(CLASS, name)) });
    }
    for kind in ["location:loc:", "location:"] {
        if let Some(name) = rest.strip_prefix(kind) {
            filled(name)?;
            return Some(Identifier::Location(Locus::Gdst(urn(kind, name))));
        }
    }
    let name = rest.strip_prefix("party:")?;
    filled(name)?;
    Some(Identifier::Party(Locus::Gdst(urn("party:", name))))
}

/// `company.product.code` into `company.product` and `code`.
fn split_code(name: &str) -> Option<(&str, &str)> {
    let first = name.find('.')?;
    let second = first + 1 + name[first + 1..].find('.')?;
    let code = &name[second + 1..];
    (!code.is_empty()).then_some((&name[..second], code))
}

/// The URN of a batch, from its class URN.
pub(crate) fn batch_urn(class: &str, code: &str) -> String {
    format!("{}.{code}", class.replacen(CLASS, BATCH, 1))
}

/// The URN of a serialised unit, from its class URN.
pub(crate) fn serial_urn(class: &str, serial: &str) -> String {
    format!("{}.{serial}", class.replacen(CLASS, SERIAL, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_is_of_the_class_that_its_first_two_parts_name() {
        let lot = Identifier::parse("urn:gdst:example.org:product:lot:class:processor.2u.v1-0122-2022").unwrap();
        let class = Identifier::parse("urn:gdst:example.org:product:class:processor.2u").unwrap();
        assert_eq!(lot.item(), class.item());
        let Identifier::Batch { code, .. } = &lot else { panic!("{lot:?}") };
        assert_eq!(code, "v1-0122-2022");
    }

    #[test]
    fn urns_print_as_they_were_read() {
        for urn in [
            "urn:gdst:example.org:product:lot:class:a.b.c.d",
            "urn:gdst:example.org:product:serial:obj:a.b.7",
            "urn:gdst:example.org:product:class:a.b",
            "urn:gdst:example.org:location:loc:importer.123u",
            "urn:gdst:example.org:party:hatchery.1u",
            "urn:gdst:bizStep:landing",
        ] {
            assert_eq!(Identifier::parse(urn).unwrap().to_string(), urn);
        }
        assert_eq!(
            Identifier::parse("URN:GDST:Example.ORG:party:A.1"),
            Identifier::parse("urn:gdst:example.org:party:A.1")
        );
    }

    #[test]
    fn what_lacks_a_part_is_something_else() {
        for urn in ["urn:gdst:example.org:product:lot:class:a.b", "urn:gdst:example.org:party:", "urn:gdst:x"] {
            assert!(matches!(Identifier::parse(urn), Ok(Identifier::Other(_))), "{urn}");
        }
    }
}
