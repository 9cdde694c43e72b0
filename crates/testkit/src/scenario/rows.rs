//! Answers as rows, and how they are compared.

use std::collections::BTreeMap;
use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use rust_decimal::Decimal;

use super::About;
use super::words;
use crate::naive::decimal;

/// What is said of one row, by name; a single value has the empty name.
pub type Row = BTreeMap<String, String>;

/// The rows of an answer, by their subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows(pub BTreeMap<String, Row>);

impl Rows {
    /// Adds a row with a single value.
    pub fn put(&mut self, subject: impl Into<String>, value: &str) {
        self.0.insert(subject.into(), Row::from([(String::new(), plain(value))]));
    }

    /// What is not as it should be; `None` when all is right.
    ///
    /// Each expected row has to be there with all that is expected of it; other rows may be there only where
    /// the answer is not `exact`. What a `partial` answerer does not say of a row is not held against it.
    pub fn wrong(&self, found: &Self, exact: bool, partial: bool) -> Option<String> {
        let mut wrong = Vec::new();
        for (subject, row) in &self.0 {
            let Some(have) = found.0.get(subject) else {
                wrong.push(format!("{subject} is missing"));
                continue;
            };
            for (name, value) in row {
                match have.get(name) {
                    Some(said) if said == value => {}
                    None if partial => {}
                    said => wrong.push(format!("{subject} {name} is {said:?}")),
                }
            }
        }
        if exact {
            let more = found.0.keys().filter(|subject| !self.0.contains_key(*subject));
            wrong.extend(more.map(|subject| format!("{subject} is too much")));
        }
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let rows = self.0.iter().map(|(subject, row)| {
            let said = row.iter().map(|(name, value)| format!("{name} {value}").trim().to_owned());
            format!("{subject} {}", said.collect::<Vec<_>>().join(" ")).trim().to_owned()
        });
        f.write_str(&rows.collect::<Vec<_>>().join("; "))
    }
}

/// A number as a decimal where it is one, without trailing zeros; `25/2` is 12.5. Anything else as it is.
pub fn plain(text: &str) -> String {
    let digits = text.trim_end_matches(['?', '~']);
    let marks = &text[digits.len()..];
    let number = match digits.parse::<Decimal>() {
        Ok(value) => Some(decimal(value)),
        Err(_) => digits.parse::<BigRational>().ok(),
    };
    match number.as_ref().and_then(in_digits) {
        Some(written) => format!("{written}{marks}"),
        None => text.to_owned(),
    }
}

fn in_digits(number: &BigRational) -> Option<String> {
    let scale = (0..=28).find(|scale| (number * BigInt::from(10).pow(*scale)).is_integer())?;
    let digits: i128 = (number * BigInt::from(10).pow(scale)).to_integer().try_into().ok()?;
    Some(Decimal::try_from_i128_with_scale(digits, scale).ok()?.to_string())
}

const TIERS: [&str; 3] = ["certain", "possible", "cleared"];

/// Reads the right answer of a question.
pub fn expected(about: &About, answer: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    if answer == "nothing" {
        return Ok(rows);
    }
    match about {
        About::Content(..) | About::OfHold(..) | About::Total(_) | About::Paths(..) | About::Run(_) => {
            rows.put("", &packed(answer))
        }
        About::Scope(_) | About::Received(_) => {
            for part in parts(answer, &[';']) {
                let (subject, row) = scope_row(part)?;
                rows.0.insert(subject, row);
            }
        }
        About::Exceptions => {
            for part in parts(answer, &[';', ',']) {
                rows.0.insert(part.split_whitespace().collect::<Vec<_>>().join(" "), Row::new());
            }
        }
        _ => {
            for part in parts(answer, &[';', ',']) {
                let (subject, value) =
                    part.rsplit_once(' ').ok_or_else(|| format!("{part:?} lacks a value behind what it is of"))?;
                rows.put(subject.trim(), value);
            }
        }
    }
    Ok(rows)
}

fn parts<'a>(answer: &'a str, marks: &'a [char]) -> impl Iterator<Item = &'a str> {
    answer.split(marks).map(str::trim).filter(|part| !part.is_empty())
}

/// A single value without the blanks in it, so that `[0, 6, 20]` is one word; `lost 5` stays two.
fn packed(answer: &str) -> String {
    match answer.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => bounds(inner),
        None => answer.split_whitespace().map(plain).collect::<Vec<_>>().join(" "),
    }
}

fn bounds(inner: &str) -> String {
    let values = inner.split(',').map(|value| plain(value.trim()));
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

/// `D party:C1 certain with-customer 70 ever 70 net 70 at dock [0, 6, 20] cleared-at t3`
fn scope_row(part: &str) -> Result<(String, Row), String> {
    let mut row = Row::new();
    let said = match part.split_once('[') {
        Some((before, rest)) => {
            let (inner, after) = rest.split_once(']').ok_or_else(|| format!("{part:?} lacks a ]"))?;
            row.insert("content".to_owned(), bounds(inner));
            format!("{before} {after}")
        }
        None => part.to_owned(),
    };
    let mut words = words::Words::of(&said);
    let subject = format!("{} {}", words.next("a batch")?, words.next("a place")?);
    while let Ok(word) = words.next("more") {
        let (name, value) = match word {
            "ever" | "net" | "at" => (word, plain(words.next("a value")?)),
            "cleared-at" => (word, words::time(words.next("a time")?)?.instant.to_string()),
            tier if TIERS.contains(&tier) => ("tier", tier.to_owned()),
            number if number.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '?') => {
                ("quantity", plain(number))
            }
            state => ("state", state.to_owned()),
        };
        row.insert(name.to_owned(), value);
    }
    Ok((subject, row))
}
