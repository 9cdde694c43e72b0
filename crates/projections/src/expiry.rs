//! Until when batches are good, by the facts within the bounds (`schemas/settlement.md`, section 12).

use std::rc::Rc;

use lotline_domain::book::{BatchIx, Book, Deed, EndKind, FactIx, PlaceIx, RunIx};
use lotline_domain::expiry::{Day, Expires, Zone};
use lotline_domain::fact::RunKind;
use lotline_domain::time::Instant;
use rustc_hash::FxHashSet;

use crate::question::Question;
use crate::settlements::bare_codes;

/// A date that a fact tells of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ToldExpiry {
    /// As told.
    pub expires: Expires,
    /// By which fact.
    pub fact: FactIx,
    /// Of which batch: another one's is inherited.
    pub of: BatchIx,
}

/// Until when goods at a place are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// As told.
    pub told: ToldExpiry,
    /// The zone of the place; UTC where none is known.
    pub zone: Zone,
    /// Whether the place has one, or lies in one that does.
    pub zone_known: bool,
    /// The first instant at which they are good no more.
    pub at: Instant,
    /// Their last day there.
    pub day: Day,
}

/// Until when a batch is good where it lies; of several dates the one that is over first. `None` where nobody told it.
pub fn expiry_at(question: &Question<'_>, batch: BatchIx, place: Option<PlaceIx>) -> Option<Expiry> {
    let told = question.expiries(batch);
    if told.is_empty() {
        return None;
    }
    let known = place.and_then(|place| question.settler().zone(place));
    let zone = known.unwrap_or(Zone::UTC);
    // They are in step order, and the first of equals is taken.
    let first =
        told.iter().min_by_key(|told| (told.expires.at(zone), matches!(told.expires, Expires::Moment { .. })))?;
    Some(Expiry {
        told: *first,
        zone,
        zone_known: known.is_some(),
        at: first.expires.at(zone),
        day: first.expires.day(zone),
    })
}

/// The dates of a batch: its own, or, where it has none, those of the batches that it was split, merged or re-packed
/// from. In the order of the facts' steps.
pub(crate) fn of(question: &Question<'_>, batch: BatchIx) -> Rc<[ToldExpiry]> {
    let mut found = Vec::new();
    if question.book().has_expiries() {
        let mut seen: FxHashSet<BatchIx> = FxHashSet::from_iter([batch]);
        let mut waiting = vec![batch];
        while let Some(at) = waiting.pop() {
            let own = own(question, at);
            if own.is_empty() {
                waiting.extend(parents(question, at).into_iter().filter(|parent| seen.insert(*parent)));
            }
            found.extend(own);
        }
        in_step_order(question, &mut found);
    }
    found.into()
}

fn in_step_order(question: &Question<'_>, found: &mut [ToldExpiry]) {
    let book = question.book();
    found.sort_by_cached_key(|told| {
        let fact = book.fact(told.fact);
        (fact.instant, fact.sequence, book.event_id_text(told.fact).to_owned(), told.expires)
    });
}

/// The dates that facts in force within the bounds tell of the batch itself, in step order.
pub(crate) fn own(question: &Question<'_>, batch: BatchIx) -> Vec<ToldExpiry> {
    let (book, settler) = (question.book(), question.settler());
    // What a bare code tells of the only batch that it fits is told of that batch.
    if !book.has_expiries() || settler.stands_for(batch).is_some() {
        return Vec::new();
    }
    let names = std::iter::once(batch).chain(settler.aliases(batch));
    let mut found: Vec<ToldExpiry> = names
        .flat_map(|name| book.deeds_of_batch(name))
        .filter_map(|deed| {
            let row = book.deed_row(deed);
            let Deed::Expiry { expires, .. } = row.deed else { return None };
            Some(ToldExpiry { expires, fact: row.fact, of: batch })
        })
        .filter(|told| counts(question, told.fact))
        .collect();
    in_step_order(question, &mut found);
    found
}

fn counts(question: &Question<'_>, fact: FactIx) -> bool {
    let book = question.book();
    book.fact(fact).instant <= question.as_of() && book.in_force(fact, question.bounds().known)
}

/// What a batch was split, merged or re-packed from within the bounds.
fn parents(question: &Question<'_>, batch: BatchIx) -> Vec<BatchIx> {
    let (book, settler) = (question.book(), question.settler());
    if settler.stands_for(batch).is_some() {
        return Vec::new();
    }
    let names = std::iter::once(batch).chain(settler.aliases(batch));
    let flows =
        names.flat_map(|name| book.flows_of_batch(name)).filter_map(|flow| match book.stated(flow).from.kind() {
            EndKind::Run(run) => Some(run),
            _ => None,
        });
    let mut runs: Vec<RunIx> = flows.collect();
    runs.sort_unstable();
    runs.dedup();
    let mut found = Vec::new();
    // Most runs are production runs, and need not be settled for this.
    for run in runs.into_iter().filter(|run| passes_on(book, *run)) {
        let told = question.run(run);
        if told.kind == RunKind::Production {
            continue;
        }
        let own = || told.outputs.iter().filter(|output| output.batch == batch);
        let connected = told.inputs.iter().filter(|input| own().any(|output| told.connects(input, output)));
        found.extend(connected.map(|input| input.batch));
    }
    found
}

/// The batches that may have inherited a date by way of these: made of them in any run but a production run, by facts
/// in force or not.
pub(crate) fn heirs(book: &Book, of: impl IntoIterator<Item = BatchIx>) -> FxHashSet<BatchIx> {
    let mut waiting: Vec<BatchIx> = of.into_iter().collect();
    let mut found: FxHashSet<BatchIx> = waiting.iter().copied().collect();
    let mut runs: FxHashSet<RunIx> = FxHashSet::default();
    while let Some(batch) = waiting.pop() {
        let codes = bare_codes(book, batch).filter_map(|code| book.pseudo_of(code));
        let flows = std::iter::once(batch).chain(codes).flat_map(|name| book.flows_of_batch(name));
        for flow in flows {
            let EndKind::Run(run) = book.stated(flow).to.kind() else { continue };
            if !runs.insert(run) || !passes_on(book, run) {
                continue;
            }
            let outputs = book.flows_from(EndKind::Run(run)).map(|flow| book.stated(flow).batch);
            waiting.extend(outputs.filter(|output| found.insert(*output)));
        }
    }
    found
}

/// Whether any report of a run, in force or not, tells that it is no production run.
fn passes_on(book: &Book, run: RunIx) -> bool {
    book.deeds_of_run(run)
        .any(|deed| matches!(&book.deed_row(deed).deed, Deed::Run { kind, .. } if *kind != RunKind::Production))
}

/// The facts that tell of other dates than the first one in step order does, of the batch itself.
pub(crate) fn differing(question: &Question<'_>, batch: BatchIx) -> Vec<FactIx> {
    let own = own(question, batch);
    let Some(first) = own.first() else { return Vec::new() };
    let mut facts: Vec<FactIx> =
        own.iter().filter(|told| !told.expires.is_same(first.expires)).map(|told| told.fact).collect();
    facts.dedup();
    facts
}
