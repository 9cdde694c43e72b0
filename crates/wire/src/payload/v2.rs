//! Version 2 of the stored payload: version 1, and behind it until when the batches are good that it makes or brings
//! in. Never edited, like `v1.rs`; `schemas/payload-format.md` has both.

use bincode::{BorrowDecode, Encode};
use lotline_domain::command::Body;
use lotline_domain::expiry::{Day, Expires};
use lotline_domain::fact::{Correction, Fact};
use lotline_domain::time::Instant;

use super::v1::V1Payload;
use super::{DecodeError, StoredEvent, read};

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V2Payload<'a> {
    pub(super) first: V1Payload<'a>,
    /// At least one, in the order of depth and leg.
    pub(super) expiries: Vec<V2Expiry>,
}

#[derive(Debug, Encode, BorrowDecode)]
pub(super) struct V2Expiry {
    /// 0 in the event's own fact, 1 in the fact by which it supersedes another, and so on.
    depth: u8,
    /// Which line or output of that fact, from 0; 0 of what is drawn from a vessel.
    leg: u32,
    expires: V2Expires,
}

#[derive(Debug, Encode, BorrowDecode)]
enum V2Expires {
    Day(i32),
    Moment { instant: i64, offset_minutes: i32 },
}

/// What version 1 leaves out of a body.
pub(super) fn expiries(body: &Body) -> Vec<V2Expiry> {
    let Body::Fact { event, .. } = body else { return Vec::new() };
    let mut found = Vec::new();
    let mut next = Some((0, &event.fact));
    while let Some((depth, fact)) = next {
        next = match fact {
            Fact::Corrected { correction: Correction::Supersede { fact, .. }, .. } => Some((depth + 1, fact)),
            _ => None,
        };
        let told: Vec<Option<Expires>> = match fact {
            Fact::Received { lines, .. } => lines.iter().map(|line| line.expires).collect(),
            Fact::Produced(report) => report.outputs.iter().map(|output| output.expires).collect(),
            Fact::VesselDrawn { expires, .. } => vec![*expires],
            _ => Vec::new(),
        };
        let told = (0..).zip(told).filter_map(|(leg, expires)| Some((leg, expires?)));
        found.extend(told.map(|(leg, expires)| V2Expiry { depth, leg, expires: stored(expires) }));
    }
    found
}

fn stored(expires: Expires) -> V2Expires {
    match expires {
        Expires::Day(day) => V2Expires::Day(day.number()),
        Expires::Moment { instant, offset_minutes } => V2Expires::Moment { instant: instant.0, offset_minutes },
    }
}

/// Reads the bytes behind the version.
pub(super) fn read(bytes: &[u8]) -> Result<StoredEvent<'_>, DecodeError> {
    let V2Payload { first, expiries } = read::whole(bytes)?;
    let mut event = read::event(first)?;
    let wrong = |problem: &str| DecodeError::Value { what: "expiry", problem: problem.to_owned() };
    if expiries.is_empty() {
        return Err(wrong("is missing; without any it is written as version 1"));
    }
    if !expiries.is_sorted_by(|a, b| (a.depth, a.leg) < (b.depth, b.leg)) {
        return Err(wrong("is out of order"));
    }
    for V2Expiry { depth, leg, expires } in expiries {
        let expires = match expires {
            V2Expires::Day(number) => Day::from_number(number).map(Expires::Day),
            V2Expires::Moment { instant, offset_minutes } => {
                Some(Expires::Moment { instant: Instant(instant), offset_minutes })
                    .filter(|_| offset_minutes.unsigned_abs() < 24 * 60)
            }
        };
        let expires = expires.ok_or_else(|| wrong("is out of range"))?;
        let slot = slot(&mut event.body, depth, leg).ok_or_else(|| wrong("is of no line, output or draw"))?;
        *slot = Some(expires);
    }
    Ok(event)
}

fn slot(body: &mut Body, depth: u8, leg: u32) -> Option<&mut Option<Expires>> {
    let Body::Fact { event, .. } = body else { return None };
    let mut fact = &mut event.fact;
    for _ in 0..depth {
        match fact {
            Fact::Corrected { correction: Correction::Supersede { fact: inner, .. }, .. } => fact = inner,
            _ => return None,
        }
    }
    let leg = usize::try_from(leg).ok()?;
    match fact {
        Fact::Received { lines, .. } => lines.get_mut(leg).map(|line| &mut line.expires),
        Fact::Produced(report) => report.outputs.get_mut(leg).map(|output| &mut output.expires),
        Fact::VesselDrawn { expires, .. } if leg == 0 => Some(expires),
        _ => None,
    }
}
