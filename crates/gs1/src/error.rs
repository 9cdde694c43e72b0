//! What can be wrong with an identifier, and where.

use thiserror::Error;

/// A text that is not the identifier it looks like.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} {text:?} {fault}")]
pub struct IdError {
    /// Which key or part: `GTIN`, `SSCC`, `batch (AI 10)`, `EPC URN` …
    pub what: &'static str,
    /// The key or part as it was written.
    pub text: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// Too short or too long.
    #[error("has {found} characters; {allowed} are allowed")]
    Length {
        /// Characters found.
        found: usize,
        /// The allowed lengths, in words.
        allowed: &'static str,
    },
    /// A character that is no digit.
    #[error("has {found:?} at {at}, where only digits are allowed")]
    NotDigit {
        /// Character index, from 0.
        at: usize,
        /// The character.
        found: char,
    },
    /// A character outside of the key's character set.
    #[error("has {found:?} at {at}, which is not allowed there")]
    Character {
        /// Character index, from 0.
        at: usize,
        /// The character.
        found: char,
    },
    /// The last digit does not follow from the others.
    #[error("ends with check digit {found}, which should be {expected}")]
    CheckDigit {
        /// The digit printed.
        found: u8,
        /// The digit that the others give.
        expected: u8,
    },
    /// A company prefix of a length that is not assigned, or not fitting to the reference behind it.
    #[error("has a company prefix and a reference of {prefix} and {reference} digits; {allowed}")]
    Prefix {
        /// Digits of the company prefix.
        prefix: usize,
        /// Digits of the reference.
        reference: usize,
        /// What fits, in words.
        allowed: &'static str,
    },
    /// Not the parts that it should have.
    #[error("{0}")]
    Form(&'static str),
}

impl IdError {
    pub(crate) fn new(what: &'static str, text: &str, fault: Fault) -> Self {
        Self { what, text: text.to_owned(), fault }
    }

    pub(crate) fn form(what: &'static str, text: &str, fault: &'static str) -> Self {
        Self::new(what, text, Fault::Form(fault))
    }
}
