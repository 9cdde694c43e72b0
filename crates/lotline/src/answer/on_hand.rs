//! What is where.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;

use lotline_domain::book::{BatchIx, Book, Deed, FactIx, PlaceIx, PlaceKind};
use lotline_domain::expiry::Expires as ExpiresBefore;
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::time::CommitNo;
use lotline_projections::{self as engine, Question, ReadModel};
use lotline_wire::answer::{Amount, Batch, Expires, Held, OnHand, OnHandRow, Said, SaidKind, instant};

use super::recall::content;
use super::{batch, mix_models, nothing_known, state, unknown_quantities};
use crate::bounds::Within;
use crate::failure::{Exit, Failure};

/// What of all that is there is asked for.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only batches of an item.
    pub item: Option<String>,
    /// Only at a place, and below it.
    pub place: Option<Place>,
    /// Only a batch, then wherever it is.
    pub batch: Option<BatchIx>,
    /// Only what is over before the beginning of a day where it is, or by a moment.
    pub expires_before: Option<ExpiresBefore>,
}

impl Filter {
    /// Whether item and place were ever named.
    ///
    /// # Errors
    /// Where one was not.
    pub fn is_known(&self, book: &Book) -> Result<(), Failure> {
        let none = |message| Failure::new(Exit::No, message).advice("`lotline on-hand` lists what is there");
        if let Some(item) = &self.item {
            let count = u32::try_from(book.batch_count()).expect("fewer than 2^32 batches");
            let is_of =
                |batch: u32| matches!(book.batch(BatchIx(batch)), BatchRef::Known(id) if id.item.as_str() == item);
            if !(0..count).any(is_of) {
                return Err(none(format!("no batch is recorded of an item {item}")));
            }
        }
        match &self.place {
            Some(place) if book.find_place(place).is_none() => {
                Err(none(format!("nothing is recorded of a place {place}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a row is over by then; `None` where nobody told until when it is good.
    fn is_over(&self, row: &engine::OnHand) -> Option<bool> {
        let expiry = row.expires?;
        Some(match self.expires_before {
            None => true,
            Some(ExpiresBefore::Day(day)) => expiry.at <= day.begins(expiry.zone),
            Some(ExpiresBefore::Moment { instant, .. }) => expiry.at <= instant,
        })
    }
}

/// Answers it.
pub fn answer(question: &Question<'_>, within: &Within, filter: &Filter) -> OnHand {
    let mut gathered = Gathered::default();
    gathered.gather(question, within, filter, &Gathered::of(question, filter));
    gathered.finish(question, within, filter)
}

/// Answers it from a read model that is borrowed for some batches at a time, so that others come in between. What is
/// known at a commit does not change meanwhile.
pub fn answer_in_turns<M: Deref<Target = ReadModel>>(lend: impl Fn() -> M, within: &Within, filter: &Filter) -> OnHand {
    let batches = Gathered::of(&lend().question(within.bounds), filter);
    let mut gathered = Gathered::default();
    for some in batches.chunks(AT_ONCE) {
        gathered.gather(&lend().question(within.bounds), within, filter, some);
    }
    gathered.finish(&lend().question(within.bounds), within, filter)
}

/// For so many batches a read model is borrowed at a time.
const AT_ONCE: usize = 4_096;

/// Rows that were found, with the names that they are ordered by, and the vessels whose models they follow.
#[derive(Debug, Default)]
struct Gathered {
    rows: Vec<((String, String), OnHandRow)>,
    vessels: Vec<PlaceIx>,
    /// What was left out because nobody told until when it is good.
    undated: Vec<String>,
    undated_batches: Vec<Batch>,
    /// Places with a date and no time zone.
    zoneless: BTreeSet<String>,
}

impl Gathered {
    /// The batches that may have rows.
    fn of(question: &Question<'_>, filter: &Filter) -> Vec<BatchIx> {
        if let Some(batch) = filter.batch {
            return vec![question.settler().resolve(batch)];
        }
        let count = u32::try_from(question.book().batch_count()).expect("fewer than 2^32 batches");
        (0..count).map(BatchIx).collect()
    }

    fn gather(&mut self, question: &Question<'_>, within: &Within, filter: &Filter, batches: &[BatchIx]) {
        let book = question.book();
        let place =
            filter.place.as_ref().map(|place| (Tree::at(book, question.bounds().known), book.find_place(place)));
        let is_there = |row: &engine::OnHand| match &place {
            None => true,
            Some((_, None)) => false,
            Some((tree, Some(asked))) => {
                row.slice == *asked || row.place.is_some_and(|at| tree.is_in(book, at, *asked))
            }
        };
        let is_meant = |batch: &BatchIx| match (&filter.item, book.batch(*batch)) {
            (None, _) => true,
            (Some(item), BatchRef::Known(id)) => id.item.as_str() == item,
            (Some(_), BatchRef::Code(_)) => false,
        };
        for batch in batches.iter().copied().filter(is_meant) {
            for found in engine::slices_of(question, batch).into_iter().filter(is_there) {
                // A batch alone is told wherever it is.
                if found.state == engine::State::AtParty && filter.batch.is_none() {
                    continue;
                }
                if filter.expires_before.is_some() {
                    match filter.is_over(&found) {
                        Some(true) => {}
                        Some(false) => continue,
                        None => {
                            self.left_out(book.batch(batch));
                            continue;
                        }
                    }
                }
                if found.by_model {
                    self.vessels.push(found.slice);
                }
                if found.expires.is_some_and(|expiry| !expiry.zone_known) {
                    self.zoneless.insert(found.place.map_or(Place::Unplaced, |place| book.place(place)).to_string());
                }
                let name = (book.batch(batch).to_string(), book.place(found.slice).to_string());
                self.rows.push((name, row(book, &found, within.as_of(), within.known())));
            }
        }
    }

    /// A batch has rows next to each other.
    fn left_out(&mut self, batch: BatchRef) {
        let name = batch.to_string();
        if self.undated.last() != Some(&name) {
            self.undated.push(name);
            self.undated_batches.push(Batch(batch));
        }
    }

    fn finish(mut self, question: &Question<'_>, within: &Within, filter: &Filter) -> OnHand {
        if filter.batch.is_none() {
            self.rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let rows: Vec<OnHandRow> = self.rows.into_iter().map(|(_, row)| row).collect();
        let mut said = within.said.clone();
        said.extend(filter.batch.and_then(|batch| nothing_known(question, batch, within.known())));
        said.extend(unknown_quantities(rows.iter().filter(|row| row.unknown).map(|row| row.batch.clone())));
        said.extend(mix_models(question, self.vessels));
        said.extend((!self.zoneless.is_empty()).then(|| Said {
            kind: SaidKind::TimeZoneUnknown,
            message: format!("no time zone is known of {}: days end there by UTC", few(self.zoneless)),
            batches: Vec::new(),
        }));
        said.extend((!self.undated.is_empty()).then(|| Said {
            kind: SaidKind::NoExpiry,
            message: format!("nobody told until when {} is good: not among these rows", few(self.undated)),
            batches: self.undated_batches,
        }));
        OnHand { asked: within.asked.clone(), rows, said }
    }
}

/// Some names, and how many more there are.
fn few(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    match names.len() {
        0..=4 => names.join(", "),
        more => format!("{} and {} more", names[..3].join(", "), more - 3),
    }
}

/// Until when goods are good, as answers have it.
pub(crate) fn expires(book: &Book, of: BatchIx, expiry: &engine::Expiry) -> Expires {
    Expires {
        told: expiry.told.expires.to_string(),
        day: expiry.day.to_string(),
        at: instant(expiry.at),
        time_zone: expiry.zone.name().to_owned(),
        zone_unknown: !expiry.zone_known,
        inherited_from: (expiry.told.of != of).then(|| batch(book, expiry.told.of)),
        event: book.event_id_text(expiry.told.fact).to_owned(),
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
        expires: row.expires.as_ref().map(|expiry| expires(book, row.batch, expiry)),
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
            let Deed::Parent { place, parent, .. } = &row.deed else { continue };
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
