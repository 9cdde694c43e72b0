//! The dates of AI 17 (expiration date) and AI 15 (best before date): `YYMMDD`.

use crate::element::element_string;

/// A date of six digits, in a century that its reader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortDate {
    /// Last two digits of the year.
    pub year: u8,
    /// Month, from 1 to 12.
    pub month: u8,
    /// Day of the month; 0 where none is told, which means its last one.
    pub day: u8,
}

impl ShortDate {
    /// The date of six digits; `None` for anything else. Whether its month has the day is not looked at.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let part = |at: usize| text[at..at + 2].parse().ok();
        let date = Self { year: part(0)?, month: part(2)?, day: part(4)? };
        ((1..=12).contains(&date.month) && date.day <= 31).then_some(date)
    }

    /// The whole year, seen from one in which the date was used: from 49 years before it to 50 after, as the GS1
    /// General Specifications have it.
    pub fn year_seen_from(self, used: i32) -> i32 {
        let century = used - used.rem_euclid(100);
        match i32::from(self.year) - used.rem_euclid(100) {
            51.. => century - 100 + i32::from(self.year),
            ..=-50 => century + 100 + i32::from(self.year),
            _ => century + i32::from(self.year),
        }
    }
}

/// Until when what a text names is good: by AI 17, else by AI 15, of an element string (`(01)…(17)261201`) or in the
/// query of a Digital Link (`…?17=261201`). `None` where it has neither.
///
/// # Errors
/// The value as it is written, where it is no date.
pub fn expiry(text: &str) -> Result<Option<ShortDate>, String> {
    let elements: Vec<(String, String)> = if text.starts_with('(') {
        element_string(text).unwrap_or_default()
    } else if text.starts_with("http://") || text.starts_with("https://") {
        let query = text.split('#').next().and_then(|text| text.split_once('?')).map_or("", |(_, query)| query);
        let pairs = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    } else {
        return Ok(None);
    };
    let value = |ai: &str| elements.iter().find(|(name, _)| name == ai).map(|(_, value)| value);
    match value("17").or_else(|| value("15")) {
        None => Ok(None),
        Some(value) => ShortDate::parse(value).map(Some).ok_or_else(|| value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_where_they_stand() {
        let date = |year, month, day| Ok(Some(ShortDate { year, month, day }));
        assert_eq!(expiry("(01)00614141777778(17)261201(10)987"), date(26, 12, 1));
        assert_eq!(expiry("(01)00614141777778(15)261200(10)987"), date(26, 12, 0));
        assert_eq!(expiry("(01)00614141777778(15)261130(17)261201"), date(26, 12, 1), "the expiration date goes first");
        assert_eq!(expiry("https://id.gs1.org/01/00614141777778/10/987?17=261201"), date(26, 12, 1));
        assert_eq!(expiry("https://example.com/01/00614141777778?a=b&15=261130#17=1"), date(26, 11, 30));
        assert_eq!(expiry("https://example.com/01/00614141777778/10/17"), Ok(None));
        assert_eq!(expiry("urn:epc:class:lgtin:0614141.077777.987"), Ok(None));
        for wrong in ["261301", "2612", "26120x", "261232"] {
            assert_eq!(expiry(&format!("(01)00614141777778(17){wrong}")), Err(wrong.to_owned()));
        }
    }

    #[test]
    fn the_century_is_the_nearest() {
        let year = |year: u8, used| ShortDate { year, month: 1, day: 1 }.year_seen_from(used);
        assert_eq!((year(26, 2026), year(76, 2026), year(77, 2026)), (2026, 2076, 1977));
        assert_eq!((year(2, 2098), year(48, 2098), year(49, 2098)), (2102, 2148, 2049));
    }
}
