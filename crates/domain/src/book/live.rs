//! Which facts are in force at a commit: corrections form a tree by event id (ruling 30).

use crate::id::EventId;
use crate::time::CommitNo;

use super::rows::{CorrectionKind, FactIx, NONE};
use super::{Book, NameIx};

impl Book {
    /// True when a fact's effects count at a commit.
    pub fn in_force(&self, fact: FactIx, known: CommitNo) -> bool {
        let row = self.fact(fact);
        if row.commit > known.0 || row.correction == CorrectionKind::Void {
            return false;
        }
        if row.correction == CorrectionKind::None && !self.corrections.contains_key(&row.id) {
            return true;
        }
        if self.in_cycle(fact, known) || self.winner(fact, known).is_some() {
            return false;
        }
        row.correction == CorrectionKind::None || self.stands_in(fact, known)
    }

    /// A supersession's replacement counts while it is the winner of what it supersedes, and so on up.
    fn stands_in(&self, fact: FactIx, known: CommitNo) -> bool {
        let mut at = fact;
        loop {
            let Some(target) = self.target_of(at, known) else { return false };
            if self.winner(target, known) != Some(at) {
                return false;
            }
            if self.fact(target).correction != CorrectionKind::Supersede {
                return true;
            }
            at = target;
        }
    }

    /// The live correction that decides over a fact.
    pub fn winner(&self, fact: FactIx, known: CommitNo) -> Option<FactIx> {
        self.live_rivals(fact, known).into_iter().map(|(rival, _)| rival).next_back()
    }

    /// All live corrections of a fact, the winner last.
    pub fn live_rivals(&self, fact: FactIx, known: CommitNo) -> Vec<(FactIx, i64)> {
        let Some(all) = self.corrections.get(&self.fact(fact).id) else { return Vec::new() };
        let mut live: Vec<(FactIx, i64)> =
            all.iter().copied().filter(|(rival, _)| self.is_live_correction(*rival, known)).collect();
        live.sort_by(|a, b| {
            a.1.cmp(&b.1).then_with(|| self.event_id_text(a.0).as_bytes().cmp(self.event_id_text(b.0).as_bytes()))
        });
        live
    }

    /// True when a correction is known and neither voided nor replaced by a void.
    pub fn is_live_correction(&self, fact: FactIx, known: CommitNo) -> bool {
        let row = self.fact(fact);
        if row.commit > known.0 || self.in_cycle(fact, known) {
            return false;
        }
        match self.winner(fact, known) {
            None => true,
            // A superseded supersession keeps its target out; a superseded void no longer voids.
            Some(winner) => {
                row.correction == CorrectionKind::Supersede && self.fact(winner).correction == CorrectionKind::Supersede
            }
        }
    }

    /// What a correction corrects, if that is known.
    pub fn target_of(&self, fact: FactIx, known: CommitNo) -> Option<FactIx> {
        let target = self.fact(fact).target;
        let found = *self.fact_of_id.get(target as usize)?;
        (target != NONE && found != NONE && self.facts[found as usize].commit <= known.0).then_some(FactIx(found))
    }

    /// True for a correction whose replacement stands in.
    pub fn replaces(&self, fact: FactIx) -> bool {
        self.fact(fact).correction == CorrectionKind::Supersede
    }

    /// The facts dated after they were recorded.
    pub fn future_facts(&self) -> impl Iterator<Item = FactIx> {
        self.future_facts.iter().copied()
    }

    /// The event id that a correction names.
    pub fn target_id(&self, fact: FactIx) -> Option<EventId> {
        let target = self.fact(fact).target;
        (target != NONE).then(|| EventId::parse(self.event_ids.text(NameIx(target))).expect("interned names are names"))
    }

    fn in_cycle(&self, fact: FactIx, known: CommitNo) -> bool {
        let mut at = fact;
        for _ in 0..=self.corrections.len() {
            match self.target_of(at, known) {
                None => return false,
                Some(target) if target == fact => return true,
                Some(target) => at = target,
            }
        }
        // Runs into a cycle further up, of which it is no part.
        false
    }

    /// All corrections known at a commit, in order of recording.
    pub fn corrections_known(&self, known: CommitNo) -> Vec<FactIx> {
        let mut all: Vec<FactIx> = self.corrections.values().flatten().map(|entry| entry.0).collect();
        all.retain(|fact| self.fact(*fact).commit <= known.0);
        all.sort_unstable();
        all
    }
}
