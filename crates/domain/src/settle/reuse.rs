//! Containers that are packed again while they hold what they carried outside (ruling 28).

use crate::book::{BatchIx, EndKind, PlaceIx, PlaceKind};

use super::crossing::{Changes, Unknown};
use super::{Exception, ExceptionKind, Key, Settler};

impl Settler<'_> {
    /// Packings of a batch into containers that still hold, of whatever batch, what they carried outside.
    pub fn reuse_exceptions(&self, batch: BatchIx, as_of: i64) -> Vec<Exception> {
        let mut found: Vec<Exception> = Vec::new();
        if self.stands_for(batch).is_some() {
            return found;
        }
        let names = std::iter::once(batch).chain(self.aliases(batch));
        for flow in names.flat_map(|name| self.book.flows_of_batch(name)) {
            let row = self.book.stated(flow);
            let at = self.book.fact(row.fact).instant;
            let EndKind::Place(container) = row.to.kind() else { continue };
            if !row.packs || at > as_of || !self.book.in_force(row.fact, self.known) {
                continue;
            }
            let key = self.key(row.fact, row.phase, row.leg);
            let Some(carried) = self.last_outside(container, key) else { continue };
            let flows = self.book.flows_to(EndKind::Place(container)).map(|flow| self.book.stated(flow).batch);
            let mut others: Vec<BatchIx> =
                flows.chain(self.book.counted_at(container)).map(|batch| self.resolve(batch)).collect();
            others.sort_unstable();
            others.dedup();
            let holds = |other: BatchIx| {
                let changes = self.swept(other, key).changes;
                changes.get(&container).and_then(held_since).is_some_and(|since| since <= carried)
            };
            if others.into_iter().any(holds) {
                found.push(Exception {
                    kind: ExceptionKind::ContainerReused,
                    batch: Some(batch),
                    place: Some(container),
                    cause: row.fact,
                    at,
                    until: None,
                    amount: None,
                });
            }
        }
        found
    }

    /// The last instant before a step at which a container was outside the walls.
    fn last_outside(&self, container: PlaceIx, before: Key) -> Option<i64> {
        let mut last = None;
        let mut outside = false;
        for turn in self.turns_around(container, before) {
            if outside {
                last = Some(turn.instant);
            }
            let top = self.top(container, turn.after()).map(|top| self.book.place_kind(top));
            outside = matches!(top, Some(PlaceKind::Transit | PlaceKind::Party));
            if outside {
                last = Some(turn.instant);
            }
        }
        if outside { Some(before.instant) } else { last }
    }
}

/// Since when a container has held what it holds; `None` when it is empty.
fn held_since(changes: &Changes) -> Option<i64> {
    let (mut balance, mut unknown, mut since) = (0i128, false, None);
    for change in changes {
        balance += change.by;
        match change.unknown {
            Some(Unknown::Entered) => unknown = true,
            Some(Unknown::Settled) => unknown = false,
            Some(Unknown::Left) | None => {}
        }
        if balance > 0 || unknown { since = since.or(Some(change.key.instant)) } else { since = None }
    }
    since
}
