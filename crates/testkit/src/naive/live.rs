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
        let rivals = corrections.live_rivals(&event.id);
        if let Some(winner) = corrections.winner(&event.id)
            && rivals.len() > 1
            && rivals.iter().any(|rival| replacement(rival).is_some())
        {
            // CHOICE: the causing fact is the correction that wins.
            exceptions.insert(exception("competing corrections", &winner.id));
        }
        // CHOICE: one exception for a cycle, caused by the correction of it that would win.
        if let Some(latest) = corrections.cycle(event).into_iter().max_by_key(|one| (one.occurred_at.instant, &one.id))
        {
            exceptions.insert(exception("competing corrections", &latest.id));
        }
        match &event.fact {
            Fact::Corrected { target, .. } if !by_id.contains_key(target) => {
                if corrections.is_live(event) {
                    exceptions.insert(exception("correction of an unknown fact", &event.id));
                }
            }
            Fact::Corrected { .. } => {}
            fact => match corrections.winner(&event.id) {
                None => live.push(Live {
                    id: event.id.clone(),
                    occurred_at: event.occurred_at,
                    sequence: event.sequence,
                    fact: fact.clone(),
                }),
                Some(winner) => live.extend(corrections.stand_in(winner)),
            },
        }
        // A void that is superseded no longer voids, and what replaces it stands by itself.
        if let (Fact::Corrected { correction: Correction::Void, .. }, Some(winner)) =
            (&event.fact, corrections.winner(&event.id))
        {
            live.extend(corrections.stand_in(winner));
        }
    }
    live.sort_by(|a, b| a.order().cmp(&b.order()));
    (live, exceptions)
}

fn exception(kind: &'static str, cause: &EventId) -> Discrepancy {
    Discrepancy { kind, batch: String::new(), place: String::new(), cause: cause.to_string() }
}

fn replacement(event: &Event) -> Option<(OccurredAt, &Fact)> {
    match &event.fact {
        Fact::Corrected { correction: Correction::Supersede { occurred_at, fact }, .. } => Some((*occurred_at, fact)),
        _ => None,
    }
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

    /// A correction lives while no void of it wins and it is in no cycle. One that is superseded lives on
    /// if it supersedes itself: it keeps its target out.
    fn is_live(&self, correction: &Event) -> bool {
        let superseded = || self.winner(&correction.id);
        !self.in_cycle(&correction.id)
            && superseded().is_none_or(|winner| replacement(winner).is_some() && replacement(correction).is_some())
    }

    fn live_rivals(&self, target: &EventId) -> Vec<&'a Event> {
        let of = self.of.get(target).map_or(&[][..], Vec::as_slice);
        of.iter().filter(|event| self.is_live(event)).copied().collect()
    }

    /// Of several live corrections the latest declared one, then the greatest id.
    fn winner(&self, target: &EventId) -> Option<&'a Event> {
        self.live_rivals(target).into_iter().max_by_key(|event| (event.occurred_at.instant, &event.id))
    }

    /// What stands in the place of what a supersession corrects: its replacement, or what supersedes that.
    fn stand_in(&self, winner: &'a Event) -> Option<Live> {
        let (occurred_at, fact) = replacement(winner)?;
        if let Some(later) = self.winner(&winner.id) {
            return self.stand_in(later);
        }
        // A replacement is never itself a correction.
        let plain = !matches!(fact, Fact::Corrected { .. });
        plain.then(|| Live { id: winner.id.clone(), occurred_at, sequence: winner.sequence, fact: fact.clone() })
    }

    /// The corrections of the cycle that one is in; none if it is in no cycle.
    fn cycle(&self, member: &'a Event) -> Vec<&'a Event> {
        let mut cycle = Vec::new();
        if self.in_cycle(&member.id) {
            let mut at = &member.id;
            loop {
                cycle.extend(self.of.values().flatten().find(|event| event.id == *at).copied());
                at = self.target[at];
                if *at == member.id {
                    break;
                }
            }
        }
        cycle
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
