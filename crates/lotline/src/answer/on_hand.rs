//! What is where.

use std::collections::HashMap;

use lotline_domain::book::{BatchIx, Book, Deed, FactIx, PlaceIx, PlaceKind};
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::time::CommitNo;
use lotline_projections::{self as engine, Question};
use lotline_wire::answer::{Amount, Held, OnHand, OnHandRow};

use super::recall::content;
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
            asked.is_some_and(|asked| row.slice == asked || row.place.is_some_and(|at| tree.is_in(at, asked)))
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
        held: row.held.iter().map(|(hold, held)| Held { hold: hold.to_string(), content: content(held) }).collect(),
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
struct Tree {
    parents: HashMap<PlaceIx, PlaceIx>,
}

impl Tree {
    fn at(book: &Book, known: CommitNo) -> Self {
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
        // Vessels stand in the tree, too.
        let mut parents: HashMap<PlaceIx, PlaceIx> =
            last.into_iter().filter_map(|(place, (_, parent))| Some((place, parent?))).collect();
        let places = u32::try_from(book.place_count()).expect("places are numbered in 32 bits");
        for vessel in (0..places).map(PlaceIx).filter(|place| book.place_kind(*place) == PlaceKind::Vessel) {
            let stands = book.deeds_of_place(vessel).find_map(|deed| {
                let row = book.deed_row(deed);
                match &row.deed {
                    Deed::Vessel { at, .. } if book.in_force(row.fact, known) => *at,
                    _ => None,
                }
            });
            parents.extend(stands.map(|at| (vessel, at)));
        }
        Self { parents }
    }

    fn is_in(&self, place: PlaceIx, outer: PlaceIx) -> bool {
        let mut at = Some(place);
        // A tree is not deeper than it has places; a circle ends here.
        for _ in 0..=self.parents.len() {
            match at {
                Some(place) if place == outer => return true,
                Some(place) => at = self.parents.get(&place).copied(),
                None => return false,
            }
        }
        false
    }
}
