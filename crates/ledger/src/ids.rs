//! Ids, numbers and hashes, each its own type.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps the number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number that is `by` greater. Numbers stay below 2^63, so this does not overflow.
            pub const fn plus(self, by: u64) -> Self {
                Self(self.0.saturating_add(by))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

number! {
    /// Number of a commit: dense, from 1. 0 stands for "before the first commit".
    CommitNumber
}
number! {
    /// Position of an event in its ledger: dense, from 0.
    Position
}
number! {
    /// Which writer made a commit; never decreases along the chain. 0 stands for "none yet".
    Epoch
}

impl CommitNumber {
    /// Before the first commit.
    pub const ZERO: Self = Self::new(0);

    /// The number after this one.
    pub const fn next(self) -> Self {
        self.plus(1)
    }
}

/// A recording time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(i64);

impl Micros {
    /// "No time": the recorded_at of an empty ledger. It is before every time.
    pub const NONE: Self = Self(i64::MIN);

    /// Wraps microseconds since the epoch. `i64::MIN` is [`Micros::NONE`].
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// The plain microseconds.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// One microsecond later.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE { out.write_str("none") } else { write!(out, "{} µs", self.0) }
    }
}

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $size]);

        impl $name {
            /// Wraps the bytes.
            pub const fn new(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// The plain bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }

            /// Reads what it is printed as: lower-case hexadecimal digits, and nothing else.
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $size];
                if text.len() != 2 * $size || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                    return None;
                }
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({self})", stringify!($name))
            }
        }
    };
}

bytes! {
    /// Id of a ledger, given by whoever creates it; random, so that two ledgers never share one.
    LedgerId, 16
}
bytes! {
    /// An opaque key by which an event is found: a hash of kind and natural key, made elsewhere.
    Key, 16
}
bytes! {
    /// Hash of an event's stored bytes; does not depend on where the event stands.
    EventHash, 32
}
bytes! {
    /// Hash of a commit's header and its events' hashes: one link of the chain.
    CommitHash, 32
}

impl CommitHash {
    /// The previous hash of the first commit.
    pub const ZERO: Self = Self([0; 32]);
}
