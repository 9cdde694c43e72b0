//! The numeric keys, and the texts that go with them.

use std::fmt;

use crate::error::{Fault, IdError};

/// The GS1 check digit (weights 3 and 1 from the right, modulo 10) that belongs behind `digits`;
/// `None` when something in it is no digit.
#[must_use]
pub fn check_digit(digits: &str) -> Option<u8> {
    let mut sum = 0u32;
    for (index, byte) in digits.bytes().rev().enumerate() {
        if !byte.is_ascii_digit() {
            return None;
        }
        let weight = if index % 2 == 0 { 3 } else { 1 };
        sum = (sum + weight * u32::from(byte - b'0')) % 10;
    }
    u8::try_from((10 - sum) % 10).ok()
}

/// Whether the last digit is the right check digit.
pub(crate) fn checked(what: &'static str, digits: &str) -> Result<(), IdError> {
    let (body, last) = digits.split_at(digits.len() - 1);
    let (Some(expected), [found]) = (check_digit(body), last.as_bytes()) else {
        return Err(IdError::form(what, digits, "is not a row of digits"));
    };
    let found = found - b'0';
    if found == expected { Ok(()) } else { Err(IdError::new(what, digits, Fault::CheckDigit { found, expected })) }
}

pub(crate) fn only_digits(what: &'static str, text: &str) -> Result<(), IdError> {
    match text.chars().enumerate().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, found)) => Err(IdError::new(what, text, Fault::NotDigit { at, found })),
        None => Ok(()),
    }
}

/// Batch codes, serial numbers, extensions: 1 to `longest` characters of GS1's character set 82.
pub(crate) fn check_text(what: &'static str, text: &str, longest: usize) -> Result<(), IdError> {
    if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| !in_set_82(*c)) {
        return Err(IdError::new(what, text, Fault::Character { at, found }));
    }
    if text.is_empty() || text.len() > longest {
        let allowed = match longest {
            20 => "1 to 20",
            30 => "1 to 30",
            17 => "1 to 17",
            _ => "1 to 16",
        };
        return Err(IdError::new(what, text, Fault::Length { found: text.len(), allowed }));
    }
    Ok(())
}

fn in_set_82(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!\"%&'()*+,-./:;<=>?_".contains(c)
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $digits:literal, $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $digits]);

        impl $name {
            /// The digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("only digits are ever stored")
            }

            /// Whether the check digit is right; a key read from a record may be printed wrongly.
            ///
            /// # Errors
            /// [`Fault::CheckDigit`] with the digit that is expected.
            pub fn check(&self) -> Result<(), IdError> {
                checked($word, self.as_str())
            }

            /// The key of these digits followed by their check digit.
            pub(crate) fn completed(body: &str) -> Result<Self, IdError> {
                only_digits($word, body)?;
                let Some(last) = check_digit(body) else {
                    return Err(IdError::form($word, body, "is not a row of digits"));
                };
                Self::as_printed(&format!("{body}{last}"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", $word, self.as_str())
            }
        }
    };
}

key!(
    /// A trade item number, always as GTIN-14: shorter ones are filled with zeros on the left.
    Gtin,
    14,
    "GTIN"
);
key!(
    /// The number of a logistic unit (pallet, case), 18 digits.
    Sscc,
    18,
    "SSCC"
);
key!(
    /// The number of a place or of a party, 13 digits.
    Gln,
    13,
    "GLN"
);

impl Gtin {
    /// A GTIN-8, -12, -13 or -14 with a right check digit.
    ///
    /// # Errors
    /// [`IdError`] for another length, another character, or a wrong check digit.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let gtin = Self::as_printed(text)?;
        gtin.check()?;
        Ok(gtin)
    }

    /// As [`Gtin::parse`], but takes the check digit as it is.
    ///
    /// # Errors
    /// [`IdError`] for another length or another character.
    pub fn as_printed(text: &str) -> Result<Self, IdError> {
        only_digits("GTIN", text)?;
        if !matches!(text.len(), 8 | 12 | 13 | 14) {
            return Err(IdError::new("GTIN", text, Fault::Length { found: text.len(), allowed: "8, 12, 13 or 14" }));
        }
        let mut digits = [b'0'; 14];
        digits[14 - text.len()..].copy_from_slice(text.as_bytes());
        Ok(Self(digits))
    }
}

impl Sscc {
    /// 18 digits with a right check digit.
    ///
    /// # Errors
    /// [`IdError`] for another length, another character, or a wrong check digit.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let sscc = Self::as_printed(text)?;
        sscc.check()?;
        Ok(sscc)
    }

    /// As [`Sscc::parse`], but takes the check digit as it is.
    ///
    /// # Errors
    /// [`IdError`] for another length or another character.
    pub fn as_printed(text: &str) -> Result<Self, IdError> {
        only_digits("SSCC", text)?;
        let digits = text
            .as_bytes()
            .try_into()
            .map_err(|_| IdError::new("SSCC", text, Fault::Length { found: text.len(), allowed: "18" }))?;
        Ok(Self(digits))
    }
}

impl Gln {
    /// 13 digits with a right check digit.
    ///
    /// # Errors
    /// [`IdError`] for another length, another character, or a wrong check digit.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let gln = Self::as_printed(text)?;
        gln.check()?;
        Ok(gln)
    }

    /// As [`Gln::parse`], but takes the check digit as it is.
    ///
    /// # Errors
    /// [`IdError`] for another length or another character.
    pub fn as_printed(text: &str) -> Result<Self, IdError> {
        only_digits("GLN", text)?;
        let digits = text
            .as_bytes()
            .try_into()
            .map_err(|_| IdError::new("GLN", text, Fault::Length { found: text.len(), allowed: "13" }))?;
        Ok(Self(digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gtin_of_every_length_is_the_same_fourteen_digits() {
        for (text, full) in [
            ("02345673", "00000002345673"),
            ("416000336108", "00416000336108"),
            ("2112345678900", "02112345678900"),
            ("24012345678905", "24012345678905"),
        ] {
            assert_eq!(Gtin::parse(text).unwrap().as_str(), full);
        }
        assert_eq!(Gtin::parse("4012345678901"), Gtin::parse("04012345678901"));
    }

    #[test]
    fn a_wrong_check_digit_is_named_with_the_right_one() {
        let error = Gtin::parse("4012345678902").unwrap_err();
        assert_eq!(error.fault, Fault::CheckDigit { found: 2, expected: 1 });
        assert_eq!(error.to_string(), "GTIN \"04012345678902\" ends with check digit 2, which should be 1");
        assert_eq!(Gtin::as_printed("4012345678902").unwrap().as_str(), "04012345678902");
        assert!(Sscc::parse("006141411234567891").is_err());
        assert!(Gln::parse("9506000134308").is_err());
        assert!(Gln::parse("9506000134352").is_ok());
    }

    #[test]
    fn lengths_and_letters_are_refused_with_their_place() {
        assert_eq!(Gtin::parse("123").unwrap_err().fault, Fault::Length { found: 3, allowed: "8, 12, 13 or 14" });
        assert_eq!(Sscc::parse("00614141123456789O").unwrap_err().fault, Fault::NotDigit { at: 17, found: 'O' });
        assert_eq!(Gln::parse("").unwrap_err().fault, Fault::Length { found: 0, allowed: "13" });
    }

    #[test]
    fn texts_keep_to_character_set_82() {
        assert!(check_text("batch", "a!\"%&'()*+,-./Z", 20).is_ok());
        assert_eq!(check_text("batch", "A B", 20).unwrap_err().fault, Fault::Character { at: 1, found: ' ' });
        assert!(check_text("batch", "", 20).is_err());
        assert!(check_text("batch", &"x".repeat(21), 20).is_err());
    }
}
