//! What is where.

use std::collections::HashMap;

use lotline_domain::book::{BatchIx, Book, Deed, FactIx, PlaceIx, PlaceKind};
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::time::CommitNo;
use lotline_projections::{self as engine, Question};
use lotline_wire::answer::{Amount, OnHand, OnHandRow};

use super::{batch, mix_models, nothing_known, state, unknown_quantities};
use crate::bounds::Within;

/// What of all that is there is asked for.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only batches of an item.
    pub item: Option<String>,
    /// Only at a place, and below it.
    pub place: Option<Place>,
    /// Only a batch, then wherever it is.
    pub batch: Option<BatchIx>,
}

/// Answers it.
pub fn answer(question: &Question<'_>, within: &Within, filter: &Filter) -> OnHand {
    let book = question.book();
    let mut found = match filter.batch {
        Some(batch) => engine::slices_of(question, question.settler().resolve(batch)),
        None => engine::on_hand(question),
    };
    if let Some(item) = &filter.item {
        found.retain(|row| matches!(book.batch(row.batch), BatchRef::Known(id) if id.item.as_str() == item));
    }
    if let Some(place) = &filter.place {
        let tree = Tree::at(book, question.bounds().known);
        let asked = book.find_place(place);
        found.retain(|row| {
            asked.is_some_and(|asked| row.slice == asked || row.place.is_some_and(|at| tree.is_in(book, at, asked)))
        });
    }
    let mut said = within.said.clone();
    said.extend(filter.batch.and_then(|batch| nothing_known(question, batch, within.known())));
    said.extend(unknown_quantities(found.iter().filter(|row| row.unknown).map(|row| batch(book, row.batch))));
    said.extend(mix_models(question, found.iter().filter(|row| row.by_model).map(|row| row.slice)));
    OnHand {
        asked: within.asked.clone(),
        rows: found.iter().map(|found| row(book, found, within.as_of(), within.known())).collect(),
        said,
    }
}

/// A row as answers have it, within these bounds.
pub(crate) fn row(book: &Book, row: &engine::OnHand, as_of: Option<String>, as_known_at: u64) -> OnHandRow {
    let in_container = book.place_kind(row.slice) == PlaceKind::Container;
    OnHandRow {
        batch: batch(book, row.batch),
        place: row.place.map_or(Place::Unplaced, |place| book.place(place)).to_string(),
        container: in_container.then(|| name_of(&book.place(row.slice))),
        state: state(row.state),
        quantity: Amount::from(&row.amount),
        unknown: row.unknown,
        assumed: row.assumed,
        by_model: row.by_model,
        holds: row.holds.iter().map(ToString::to_string).collect(),
        as_of,
        as_known_at,
    }
}

/// A place's name without its prefix.
pub(crate) fn name_of(place: &Place) -> String {
    match place {
        Place::Container(id) => id.to_string(),
        Place::Vessel(id) => id.to_string(),
        Place::Transit(id) => id.to_string(),
        Place::Party(id) => id.to_string(),
        Place::Location(id) => id.to_string(),
        other => other.to_string(),
    }
}

/// The tree of places as known at a commit: the last definition in force counts.
#[derive(Debug)]
pub(crate) struct Tree {
    known: CommitNo,
    parents: HashMap<PlaceIx, PlaceIx>,
}

impl Tree {
    /// Its locations; vessels are looked up when they are asked for.
    pub(crate) fn at(book: &Book, known: CommitNo) -> Self {
        let order = |fact: FactIx| (book.fact(fact).instant, book.fact(fact).sequence, book.event_id_text(fact));
        let mut last: HashMap<PlaceIx, (FactIx, Option<PlaceIx>)> = HashMap::new();
        for deed in book.master_deeds() {
            let row = book.deed_row(*deed);
            let Deed::Parent { place, parent } = &row.deed else { continue };
            if !book.in_force(row.fact, known) {
                continue;
            }
            let known = last.entry(*place).or_insert((row.fact, *parent));
            if order(row.fact) >= order(known.0) {
                *known = (row.fact, *parent);
            }
        }
        let parents = last.into_iter().filter_map(|(place, (_, parent))| Some((place, parent?))).collect();
        Self { known, parents }
    }

    /// The same locations at another commit, up to which no master data has changed.
    pub(crate) fn known(&mut self, known: CommitNo) {
        self.known = known;
    }

    /// What a place lies in; of a vessel where it stands.
    fn parent(&self, book: &Book, place: PlaceIx) -> Option<PlaceIx> {
        if book.place_kind(place) != PlaceKind::Vessel {
            return self.parents.get(&place).copied();
        }
        book.deeds_of_place(place).find_map(|deed| {
            let row = book.deed_row(deed);
            match &row.deed {
                Deed::Vessel { at, .. } if book.in_force(row.fact, self.known) => *at,
                _ => None,
            }
        })
    }

    /// The location that a place lies in with all others above it; `None` for what lies in none.
    pub(crate) fn site(&self, book: &Book, place: PlaceIx) -> Option<PlaceIx> {
        let mut top = place;
        // A tree is not deeper than it has places; a circle ends here.
        for _ in 0..=self.parents.len() + 1 {
            let Some(parent) = self.parent(book, top) else { break };
            top = parent;
        }
        (book.place_kind(top) == PlaceKind::Location).then_some(top)
    }

    fn is_in(&self, book: &Book, place: PlaceIx, outer: PlaceIx) -> bool {
        let mut at = Some(place);
        // A vessel may stand in the deepest place.
        for _ in 0..=self.parents.len() + 1 {
            match at {
                Some(place) if place == outer => return true,
                Some(place) => at = self.parent(book, place),
                None => return false,
            }
        }
        false
    }
}
