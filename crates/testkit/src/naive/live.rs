//! Section 1: which facts count.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Correction, Event, Fact};
use lotline_domain::id::EventId;
use lotline_domain::time::{Instant, OccurredAt};

use super::Discrepancy;

/// A fact that counts, in the place of what it corrects.
#[derive(Debug, Clone)]
pub struct Live {
    pub id: EventId,
    pub occurred_at: OccurredAt,
    pub sequence: Option<u64>,
    pub fact: Fact,
}

impl Live {
    pub fn instant(&self) -> Instant {
        self.occurred_at.instant
    }

    /// Where definitions stand in the order of steps: they have no phase of their own.
    pub fn order(&self) -> (Instant, Option<u64>, &EventId) {
        (self.occurred_at.instant, self.sequence, &self.id)
    }
}

/// The facts that count at a commit, in step order, and what is wrong with the corrections.
pub fn live(events: &[(u64, Event)], known: u64) -> (Vec<Live>, BTreeSet<Discrepancy>) {
    let mut exceptions = BTreeSet::new();
    let mut recorded: Vec<&(u64, Event)> = events.iter().filter(|(commit, _)| *commit <= known).collect();
    recorded.sort_by_key(|(commit, _)| *commit);
    // Two facts with one event id: the first recorded counts.
    let mut by_id: BTreeMap<&EventId, &Event> = BTreeMap::new();
    for (_, event) in recorded {
        let first = by_id.entry(&event.id).or_insert(event);
        if *first != event {
            exceptions.insert(exception("conflict", &event.id));
        }
    }
    let corrections = Corrections::of(&by_id);
    let mut live = Vec::new();
    for event in by_id.values() {
        if corrections.is_dead(&event.id) {
            continue;
        }
        if let Fact::Corrected { target, .. } = &event.fact {
            if !by_id.contains_key(target) {
                exceptions.insert(exception("correction of an unknown fact", &event.id));
            }
            continue;
        }
        live.push(Live {
            id: event.id.clone(),
            occurred_at: event.occurred_at,
            sequence: event.sequence,
            fact: event.fact.clone(),
        });
    }
    for target in by_id.keys() {
        let rivals = corrections.live_rivals(target);
        let Some(winner) = rivals.iter().max_by_key(|event| (event.occurred_at.instant, &event.id)) else { continue };
        let supersedes =
            |event: &&Event| matches!(event.fact, Fact::Corrected { correction: Correction::Supersede { .. }, .. });
        if rivals.len() > 1 && rivals.iter().any(supersedes) {
            // CHOICE: the causing fact is the correction that wins.
            exceptions.insert(exception("competing corrections", &winner.id));
        }
        if let Fact::Corrected { correction: Correction::Supersede { occurred_at, fact }, .. } = &winner.fact {
            // CHOICE: a replacement that is itself a correction has no effect.
            if !matches!(**fact, Fact::Corrected { .. }) {
                live.push(Live {
                    id: winner.id.clone(),
                    occurred_at: *occurred_at,
                    sequence: winner.sequence,
                    fact: (**fact).clone(),
                });
            }
        }
    }
    live.sort_by(|a, b| a.order().cmp(&b.order()));
    (live, exceptions)
}

fn exception(kind: &'static str, cause: &EventId) -> Discrepancy {
    Discrepancy { kind, batch: String::new(), place: String::new(), cause: cause.to_string() }
}

struct Corrections<'a> {
    /// The corrections of each target.
    of: BTreeMap<&'a EventId, Vec<&'a Event>>,
    target: BTreeMap<&'a EventId, &'a EventId>,
}

impl<'a> Corrections<'a> {
    fn of(events: &BTreeMap<&'a EventId, &'a Event>) -> Self {
        let mut corrections = Self { of: BTreeMap::new(), target: BTreeMap::new() };
        for event in events.values() {
            if let Fact::Corrected { target, .. } = &event.fact {
                corrections.of.entry(target).or_default().push(event);
                corrections.target.insert(&event.id, target);
            }
        }
        corrections
    }

    /// Dead while a live correction of it is known, and always in a cycle.
    fn is_dead(&self, id: &EventId) -> bool {
        self.in_cycle(id) || !self.live_rivals(id).is_empty()
    }

    fn live_rivals(&self, target: &EventId) -> Vec<&'a Event> {
        let of = self.of.get(target).map_or(&[][..], Vec::as_slice);
        of.iter().filter(|event| !self.is_dead(&event.id)).copied().collect()
    }

    /// Each correction has one target: following them from a member of a cycle comes back to it.
    fn in_cycle(&self, id: &EventId) -> bool {
        let mut at = id;
        for _ in 0..=self.target.len() {
            match self.target.get(at) {
                Some(next) if *next == id => return true,
                Some(next) => at = next,
                None => return false,
            }
        }
        false
    }
}
