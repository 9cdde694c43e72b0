//! Units of measure: the common codes of UN/ECE Recommendation 20, as a closed list.
//!
//! A [`Unit`] is always a listed code. It knows what it measures and, where that is exact by definition,
//! its ratio to the base unit of its dimension. It never converts between dimensions: kilograms to
//! pieces or litres is a factor of the item or of the batch, and not a property of a unit.

mod codes;
mod ratios;
mod symbols;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A common code of UN/ECE Recommendation 20 (revision 17), such as `KGM`, or of Recommendation 21
/// prefixed with `X`, such as `XPX` (pallet).
///
/// Ordered by code. Three bytes, so that a quantity stays small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit([u8; 3]);

/// What a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Base unit kilogram (`KGM`).
    Mass,
    /// Base unit litre (`LTR`).
    Volume,
    /// Base unit metre (`MTR`).
    Length,
    /// Base unit square metre (`MTK`).
    Area,
    /// Base unit one (`C62`); pieces, dozens, and packages of every kind.
    Count,
    /// Base unit joule (`JOU`).
    Energy,
    /// Base unit second (`SEC`).
    Time,
    /// Anything else: rates, densities, temperatures, sensor units.
    Other,
}

/// Why a text is not a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownUnit {
    /// The code is not in the recommendation at all.
    #[error("unit {0:?} is not in UN/ECE Recommendation 20; use a common code such as KGM, GRM, LTR, MTR, C62 or XPX")]
    NotListed(String),
    /// It is no code and never was one, but a symbol or word for a unit that has a code.
    #[error("unit {given:?} is no code of UN/ECE Recommendation 20; write {meant}{}", alternative(.or))]
    Symbol {
        /// The text as given.
        given: String,
        /// What is most likely meant.
        meant: Unit,
        /// What else may be meant.
        or: Option<Unit>,
    },
    /// The code is listed in capitals only.
    #[error("unit {given:?} must be written in capitals: {code}")]
    NotCapitals {
        /// The text as given.
        given: String,
        /// The listed code.
        code: Unit,
    },
    /// An earlier revision listed the code, the present one removed it.
    #[error("unit {code:?} was removed from UN/ECE Recommendation 20{}", hint(.instead))]
    Removed {
        /// The removed code.
        code: String,
        /// What was most likely meant.
        instead: Option<Unit>,
    },
}

fn alternative(or: &Option<Unit>) -> String {
    or.map_or_else(String::new, |unit| format!(" or {unit}"))
}

fn hint(instead: &Option<Unit>) -> String {
    instead.map_or_else(String::new, |unit| format!("; perhaps {unit} is meant"))
}

impl Unit {
    /// Kilogram.
    pub const KILOGRAM: Unit = Unit(*b"KGM");
    /// Gram.
    pub const GRAM: Unit = Unit(*b"GRM");
    /// Tonne.
    pub const TONNE: Unit = Unit(*b"TNE");
    /// Litre.
    pub const LITRE: Unit = Unit(*b"LTR");
    /// Millilitre.
    pub const MILLILITRE: Unit = Unit(*b"MLT");
    /// Metre.
    pub const METRE: Unit = Unit(*b"MTR");
    /// Square metre.
    pub const SQUARE_METRE: Unit = Unit(*b"MTK");
    /// One, the base unit of counts; also what a serialised unit counts as.
    pub const ONE: Unit = Unit(*b"C62");
    /// Piece.
    pub const PIECE: Unit = Unit(*b"H87");
    /// Each.
    pub const EACH: Unit = Unit(*b"EA ");

    /// The unit of this code; two or three capital letters and digits, exactly as listed.
    ///
    /// # Errors
    /// [`UnknownUnit`] for anything else. A code that the recommendation has removed is refused: `KG`
    /// was a keg, and who writes it today means kilograms. `kg` never was a code.
    pub fn parse(text: &str) -> Result<Unit, UnknownUnit> {
        match padded(text) {
            Some(code) if contains(codes::LISTED, code) => Ok(Unit(code)),
            code => Err(unknown(text, code)),
        }
    }

    /// The code, two or three characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = if self.0[2] == b' ' { 2 } else { 3 };
        std::str::from_utf8(&self.0[..length]).expect("listed codes are ASCII")
    }

    /// The code padded with a space to three bytes, for stored forms.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        self.0
    }

    /// What it measures. Package codes (`X..`) are counts.
    #[must_use]
    pub fn dimension(self) -> Dimension {
        if let Some((dimension, _, _)) = self.exact() {
            return dimension;
        }
        match ratios::WITHOUT_RATIO.binary_search_by_key(&self.0, |entry| entry.0) {
            Ok(index) => ratios::WITHOUT_RATIO[index].1,
            Err(_) if self.is_package() => Dimension::Count,
            Err(_) => Dimension::Other,
        }
    }

    /// How much of the dimension's base unit one of this unit is, exactly: (numerator, denominator),
    /// both above zero and without a common factor. `None` where no exact ratio exists: packages and
    /// sets (what is in them is a property of the item), net or dry weights, and `Dimension::Other`.
    #[must_use]
    pub fn ratio(self) -> Option<(u64, u64)> {
        self.exact().map(|(_, numerator, denominator)| (numerator, denominator))
    }

    /// Whether it is a package type of Recommendation 21 (`X` and two characters).
    #[must_use]
    pub fn is_package(self) -> bool {
        // X1 (Gunter's chain) is the one unit of Recommendation 20 that begins with X.
        self.0[0] == b'X' && self.0[2] != b' '
    }

    fn exact(self) -> Option<(Dimension, u64, u64)> {
        let index = ratios::RATIOS.binary_search_by_key(&self.0, |entry| entry.0).ok()?;
        let (_, dimension, numerator, denominator) = ratios::RATIOS[index];
        Some((dimension, numerator, denominator))
    }
}

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(text: &str) -> Result<Unit, UnknownUnit> {
        Unit::parse(text)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

fn padded(text: &str) -> Option<[u8; 3]> {
    let bytes = text.as_bytes();
    if !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    match *bytes {
        [a, b] => Some([a, b, b' ']),
        [a, b, c] => Some([a, b, c]),
        _ => None,
    }
}

fn contains(table: &str, code: [u8; 3]) -> bool {
    let table = table.as_bytes();
    let (mut low, mut high) = (0, table.len() / codes::WIDTH);
    while low < high {
        let middle = low + (high - low) / 2;
        let start = middle * codes::WIDTH;
        match table[start..start + 3].cmp(&code) {
            Ordering::Equal => return true,
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    false
}

/// Why a text that is no listed code is none. What people write for a unit goes before what a code in small
/// letters would be: `oz` is an ounce's symbol, and not the code `OZ` written wrongly.
fn unknown(text: &str, code: Option<[u8; 3]>) -> UnknownUnit {
    let given = text.to_owned();
    let symbol = symbols::meant_by(text);
    if let Some(code) = code.filter(|code| contains(codes::REMOVED, *code)) {
        let instead = replaced_by(code).or(symbol.map(|(meant, _)| meant));
        return UnknownUnit::Removed { code: given, instead };
    }
    if let Some((meant, or)) = symbol {
        return UnknownUnit::Symbol { given, meant, or };
    }
    let capitals = code.map(|code| code.map(|byte| byte.to_ascii_uppercase()));
    if let Some(capitals) = capitals.filter(|capitals| contains(codes::LISTED, *capitals)) {
        return UnknownUnit::NotCapitals { given, code: Unit(capitals) };
    }
    match capitals.and_then(replaced_by) {
        Some(meant) => UnknownUnit::Symbol { given, meant, or: None },
        None => UnknownUnit::NotListed(given),
    }
}

/// What is meant by a removed code that people still write.
fn replaced_by(code: [u8; 3]) -> Option<Unit> {
    let meant = match &code {
        b"KG " => *b"KGM",
        b"BG " => *b"XBG",
        b"BO " => *b"XBO",
        b"BX " => *b"XBX",
        b"CA " => *b"XCA",
        b"CR " => *b"XCR",
        b"CS " => *b"XCS",
        b"CT " => *b"XCT",
        b"DR " => *b"XDR",
        b"PA " => *b"XPA",
        b"PF " | b"D97" => *b"XPX",
        b"PK " => *b"XPK",
        b"RL " => *b"XRL",
        b"RO " => *b"XRO",
        b"SA " => *b"XSA",
        b"TU " => *b"XTU",
        b"KTM" => *b"KMT",
        _ => return None,
    };
    Some(Unit(meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes_of(table: &str) -> Vec<&str> {
        table.as_bytes().chunks(codes::WIDTH).map(|chunk| std::str::from_utf8(chunk).unwrap().trim()).collect()
    }

    #[test]
    fn every_listed_code_parses_and_prints_itself() {
        let listed = codes_of(codes::LISTED);
        assert_eq!(listed.len(), 2232);
        for code in listed {
            assert_eq!(Unit::parse(code).unwrap().to_string(), code);
        }
    }

    #[test]
    fn tables_are_sorted_without_doubles_and_apart() {
        for table in [codes::LISTED, codes::REMOVED] {
            let padded: Vec<_> = table.as_bytes().chunks(codes::WIDTH).collect();
            assert!(padded.windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert!(codes_of(codes::REMOVED).iter().all(|code| Unit::parse(code).is_err()));
        assert!(ratios::RATIOS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(ratios::WITHOUT_RATIO.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(ratios::RATIOS.iter().all(|entry| contains(codes::LISTED, entry.0)));
        assert!(ratios::WITHOUT_RATIO.iter().all(|entry| contains(codes::LISTED, entry.0)));
    }

    #[test]
    fn hints_name_listed_units() {
        for code in codes_of(codes::REMOVED) {
            if let Err(UnknownUnit::Removed { instead: Some(unit), .. }) = Unit::parse(code) {
                assert!(contains(codes::LISTED, unit.0), "{code} hints at {unit}");
            }
        }
        let Err(UnknownUnit::Removed { instead, .. }) = Unit::parse("KG") else { panic!("KG was a keg") };
        assert_eq!(instead, Some(Unit::KILOGRAM));
    }

    #[test]
    fn what_is_not_listed_is_refused_with_its_reason() {
        for text in ["", "K", "KGMM", "stone", "K M", "KG M", "ÄÖ", "Q99", "X", "XXXX", "\0\0\0"] {
            assert_eq!(Unit::parse(text), Err(UnknownUnit::NotListed(text.to_owned())), "{text:?}");
        }
        let lower = Unit::parse("kgm").unwrap_err();
        assert_eq!(lower.to_string(), "unit \"kgm\" must be written in capitals: KGM");
    }

    #[test]
    fn a_symbol_that_never_was_a_code_is_told_with_the_code_that_is_meant() {
        for (text, told) in [
            ("kg", "unit \"kg\" is no code of UN/ECE Recommendation 20; write KGM"),
            ("Kg", "write KGM"),
            ("g", "write GRM"),
            ("G", "write GRM"),
            ("l", "write LTR"),
            ("L", "write LTR"),
            ("pcs", "write H87 or C62"),
            ("PCS", "write H87 or C62"),
            ("t", "write TNE"),
            ("T", "write TNE"),
            ("lb", "write LBR"),
            ("LBS", "write LBR"),
            ("oz", "write ONZ"),
            ("m³", "write MTQ"),
            ("kilogram", "write KGM"),
            ("cs", "unit \"cs\" is no code of UN/ECE Recommendation 20; write XCS"),
            ("KG", "unit \"KG\" was removed from UN/ECE Recommendation 20; perhaps KGM is meant"),
            ("ST", "was removed from UN/ECE Recommendation 20; perhaps H87 is meant"),
            ("ea", "must be written in capitals: EA"),
            ("stone", "is not in UN/ECE Recommendation 20"),
        ] {
            let error = Unit::parse(text).expect_err(text);
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn ratios_follow_the_legal_definitions() {
        let cases: [(&str, Dimension, Option<(u64, u64)>); 14] = [
            ("KGM", Dimension::Mass, Some((1, 1))),
            ("GRM", Dimension::Mass, Some((1, 1000))),
            ("TNE", Dimension::Mass, Some((1000, 1))),
            ("LBR", Dimension::Mass, Some((45_359_237, 100_000_000))),
            ("ONZ", Dimension::Mass, Some((45_359_237, 1_600_000_000))),
            ("GLL", Dimension::Volume, Some((473_176_473, 125_000_000))),
            ("MTQ", Dimension::Volume, Some((1000, 1))),
            ("CMT", Dimension::Length, Some((1, 100))),
            ("FTK", Dimension::Area, Some((145_161, 1_562_500))),
            ("DZN", Dimension::Count, Some((12, 1))),
            ("XPX", Dimension::Count, None),
            ("X1", Dimension::Length, Some((12_573, 625))),
            ("58", Dimension::Mass, None),
            ("CEL", Dimension::Other, None),
        ];
        for (code, dimension, ratio) in cases {
            let unit = Unit::parse(code).unwrap();
            assert_eq!((unit.dimension(), unit.ratio()), (dimension, ratio), "{code}");
        }
        for (_, _, numerator, denominator) in ratios::RATIOS {
            assert!(numerator > 0 && denominator > 0 && gcd(numerator, denominator) == 1);
        }
    }

    fn gcd(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
}
