//! What people write for a unit that is no code of Recommendation 20, and the code that they mean.

use super::Unit;

/// (symbol or word in small letters, the code that is meant, another one that may be meant), sorted by symbol.
/// A symbol that is a listed code as it is written never gets here.
const SYMBOLS: [(&str, [u8; 3], Option<[u8; 3]>); 83] = [
    ("cl", *b"CLT", None),
    ("cm", *b"CMT", None),
    ("cm2", *b"CMK", None),
    ("cm3", *b"CMQ", None),
    ("cm²", *b"CMK", None),
    ("cm³", *b"CMQ", None),
    ("day", *b"DAY", None),
    ("days", *b"DAY", None),
    ("dl", *b"DLT", None),
    ("doz", *b"DZN", None),
    ("dozen", *b"DZN", None),
    ("dz", *b"DZN", None),
    ("each", *b"EA ", Some(*b"H87")),
    ("ft", *b"FOT", None),
    ("g", *b"GRM", None),
    ("gal", *b"GLL", Some(*b"GLI")),
    ("gr", *b"GRM", Some(*b"GRN")),
    ("gram", *b"GRM", None),
    ("gramme", *b"GRM", None),
    ("grams", *b"GRM", None),
    ("h", *b"HUR", None),
    ("hl", *b"HLT", None),
    ("hour", *b"HUR", None),
    ("hours", *b"HUR", None),
    ("hr", *b"HUR", None),
    ("in", *b"INH", None),
    ("inch", *b"INH", None),
    ("j", *b"JOU", None),
    ("kg", *b"KGM", None),
    ("kgs", *b"KGM", None),
    ("kilo", *b"KGM", None),
    ("kilogram", *b"KGM", None),
    ("kilogramme", *b"KGM", None),
    ("kilograms", *b"KGM", None),
    ("kilos", *b"KGM", None),
    ("km", *b"KMT", None),
    ("l", *b"LTR", None),
    ("lb", *b"LBR", None),
    ("lbs", *b"LBR", None),
    ("liter", *b"LTR", None),
    ("liters", *b"LTR", None),
    ("litre", *b"LTR", None),
    ("litres", *b"LTR", None),
    ("lt", *b"LTR", None),
    ("m", *b"MTR", None),
    ("m2", *b"MTK", None),
    ("m3", *b"MTQ", None),
    ("meter", *b"MTR", None),
    ("meters", *b"MTR", None),
    ("metre", *b"MTR", None),
    ("metres", *b"MTR", None),
    ("mg", *b"MGM", None),
    ("ml", *b"MLT", None),
    ("mm", *b"MMT", None),
    ("mt", *b"TNE", None),
    ("m²", *b"MTK", None),
    ("m³", *b"MTQ", None),
    ("ounce", *b"ONZ", Some(*b"OZA")),
    ("ounces", *b"ONZ", Some(*b"OZA")),
    ("oz", *b"ONZ", Some(*b"OZA")),
    ("pc", *b"H87", Some(*b"C62")),
    ("pce", *b"H87", Some(*b"C62")),
    ("pcs", *b"H87", Some(*b"C62")),
    ("piece", *b"H87", Some(*b"C62")),
    ("pieces", *b"H87", Some(*b"C62")),
    ("pound", *b"LBR", None),
    ("pounds", *b"LBR", None),
    ("s", *b"SEC", None),
    ("sec", *b"SEC", None),
    ("st", *b"H87", Some(*b"C62")),
    ("stk", *b"H87", Some(*b"C62")),
    ("stück", *b"H87", Some(*b"C62")),
    ("t", *b"TNE", None),
    ("to", *b"TNE", None),
    ("ton", *b"TNE", None),
    ("tonne", *b"TNE", None),
    ("tonnes", *b"TNE", None),
    ("tons", *b"TNE", None),
    ("u", *b"C62", Some(*b"H87")),
    ("unit", *b"C62", Some(*b"H87")),
    ("units", *b"C62", Some(*b"H87")),
    ("yd", *b"YRD", None),
    ("µg", *b"MC ", None),
];

/// What is meant by a symbol, in whatever case, and what else may be.
pub(super) fn meant_by(symbol: &str) -> Option<(Unit, Option<Unit>)> {
    let small = symbol.to_lowercase();
    let index = SYMBOLS.binary_search_by_key(&small.as_str(), |entry| entry.0).ok()?;
    let (_, meant, or) = SYMBOLS[index];
    Some((Unit(meant), or.map(Unit)))
}

#[cfg(test)]
mod tests {
    use super::super::{codes, contains};
    use super::*;

    #[test]
    fn symbols_are_sorted_and_mean_listed_codes() {
        assert!(SYMBOLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (symbol, meant, or) in SYMBOLS {
            assert_eq!(symbol, symbol.to_lowercase());
            for code in std::iter::once(meant).chain(or) {
                assert!(contains(codes::LISTED, code), "{symbol} means {code:?}");
            }
        }
    }
}
