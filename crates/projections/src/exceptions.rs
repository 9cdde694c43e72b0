//! Open discrepancies: derived from the facts within the bounds, never stored (ruling 31).

use std::collections::hash_map::Entry;

use lotline_domain::book::{BatchIx, Book, Deed, FactIx, PlaceIx, RunIx};
use lotline_domain::command::Amount;
use lotline_domain::settle::{Exception, ExceptionKind, RunBalance};
use lotline_domain::time::CommitNo;
use rustc_hash::FxHashMap;

use crate::expiry::differing;
use crate::on_hand::vessels;
use crate::question::Question;

/// In what a discrepancy is found. No two parts have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A batch: its own settlement, holds, its code, duplicates, dates.
    Batch(BatchIx),
    /// A run.
    Run(RunIx),
    /// A vessel.
    Vessel(PlaceIx),
    /// What facts say of each other: corrections, conflicts, dates in the future.
    Facts,
}

/// All parts of a book.
pub fn parts(question: &Question<'_>) -> Vec<Part> {
    let book = question.book();
    let batches = u32::try_from(book.batch_count()).expect("fewer than 2^32 batches");
    let runs = u32::try_from(book.run_count()).expect("fewer than 2^32 runs");
    let batches = (0..batches).map(|batch| Part::Batch(BatchIx(batch)));
    let runs = (0..runs).map(|run| Part::Run(RunIx(run)));
    batches.chain(runs).chain(vessels(question).into_iter().map(Part::Vessel)).chain([Part::Facts]).collect()
}

/// All discrepancies within the bounds, ordered by kind, moment and causing fact.
pub fn exceptions(question: &Question<'_>) -> Vec<Exception> {
    ordered(parts(question).into_iter().flat_map(|part| found_in(question, part)).collect())
}

/// The discrepancies of one part, in the same order.
pub fn of_part(question: &Question<'_>, part: Part) -> Vec<Exception> {
    ordered(found_in(question, part))
}

fn ordered(mut found: Vec<Exception>) -> Vec<Exception> {
    found.sort_by_key(|found| (found.kind, found.at, found.cause, found.batch, found.place));
    found.dedup_by(|a, b| (a.kind, a.batch, a.place, a.cause) == (b.kind, b.batch, b.place, b.cause));
    found
}

fn found_in(question: &Question<'_>, part: Part) -> Vec<Exception> {
    match part {
        Part::Batch(batch) => of_batch(question, batch),
        Part::Run(run) => question.settler().run_exceptions(&question.run(run), &|batch| question.cow(batch)),
        Part::Vessel(vessel) => question.vessel(vessel).exceptions.clone(),
        Part::Facts => {
            let mut found = of_corrections(question);
            found.extend(conflicts(question));
            found.extend(future_dates(question));
            found
        }
    }
}

/// The run that a discrepancy is of, which is the one that its causing fact reports, and by how much the run does
/// not balance, where that is what is wrong with it.
pub fn run_of_exception(question: &Question<'_>, found: &Exception) -> Option<(RunIx, Option<Amount>)> {
    let unbalanced = match found.kind {
        ExceptionKind::RunLostMass | ExceptionKind::RunGainedMass => true,
        ExceptionKind::NoWindow => false,
        _ => return None,
    };
    let run = question.book().deeds_of_fact(found.cause).find_map(|deed| match deed {
        Deed::Run { run, .. } => Some(*run),
        _ => None,
    })?;
    let balance = || question.settler().run_balance(&question.run(run), &|batch| question.cow(batch));
    let amount = match unbalanced.then(balance) {
        Some(RunBalance::Unexplained(value, unit) | RunBalance::Gained(value, unit)) => Some(Amount { value, unit }),
        _ => None,
    };
    Some((run, amount))
}

/// The discrepancies of one batch: of its own settlement, of holds, of its code, of duplicates.
pub fn of_batch(question: &Question<'_>, batch: BatchIx) -> Vec<Exception> {
    let settled = question.settlement(batch);
    let mut found = settled.exceptions.clone();
    found.extend(question.settler().reuse_exceptions(batch, question.as_of()));
    let covers = question.covers();
    if !covers.is_empty() {
        found.extend(question.settler().hold_exceptions(&covers, batch, question.as_of()));
    }
    if !question.settler().ambiguous_candidates(batch).is_empty() {
        for fact in naming(question, batch) {
            let at = question.book().fact(fact).instant;
            found.push(plain(ExceptionKind::CodeAmbiguous, Some(batch), fact, at));
        }
    }
    found.extend(suspected_duplicates(question, batch));
    found.extend(
        differing(question, batch)
            .into_iter()
            .map(|fact| plain(ExceptionKind::ExpiryDiffers, Some(batch), fact, question.book().fact(fact).instant)),
    );
    found
}

fn plain(kind: ExceptionKind, batch: Option<BatchIx>, cause: FactIx, at: i64) -> Exception {
    Exception { kind, batch, place: None, cause, at, until: None, amount: None }
}

/// The facts in force within the bounds that name a batch.
fn naming(question: &Question<'_>, batch: BatchIx) -> Vec<FactIx> {
    let book = question.book();
    let flows = book.flows_of_batch(batch).map(|flow| book.stated(flow).fact);
    let deeds = book.deeds_of_batch(batch).map(|deed| book.deed_row(deed).fact);
    let mut facts: Vec<FactIx> = flows.chain(deeds).collect();
    facts.sort_unstable();
    facts.dedup();
    facts.retain(|fact| book.fact(*fact).instant <= question.as_of() && book.in_force(*fact, question.bounds().known));
    facts
}

/// The same batch, quantity, document line and effective time under another id: the later by id is suspected.
fn suspected_duplicates(question: &Question<'_>, batch: BatchIx) -> Vec<Exception> {
    let book = question.book();
    let (settler, known) = (question.settler(), question.bounds().known);
    let mut found = Vec::new();
    // What a bare code tells of the only batch that it fits is told of that batch.
    if settler.stands_for(batch).is_some() {
        return found;
    }
    let mut seen: FxHashMap<(String, Option<lotline_domain::quantity::Stated>, i64), Vec<FactIx>> =
        FxHashMap::default();
    let names = std::iter::once(batch).chain(settler.aliases(batch));
    for flow in names.flat_map(|name| book.flows_of_batch(name)) {
        let row = book.stated(flow);
        let Some(document) = book.extra(flow).and_then(|extra| extra.document.clone()) else { continue };
        let at = book.fact(row.fact).instant;
        if at <= question.as_of() && book.in_force(row.fact, known) {
            seen.entry((document, row.quantity, at)).or_default().push(row.fact);
        }
    }
    for ((_, _, at), mut facts) in seen {
        facts.sort_by_key(|fact| book.event_id_text(*fact).to_owned());
        facts.dedup();
        found.extend(facts.iter().skip(1).map(|fact| plain(ExceptionKind::SuspectedDuplicate, Some(batch), *fact, at)));
    }
    found
}

fn of_corrections(question: &Question<'_>) -> Vec<Exception> {
    let book = question.book();
    let known = question.bounds().known;
    let mut found = Vec::new();
    for correction in book.corrections_known(known) {
        let row = book.fact(correction);
        match book.target_of(correction, known) {
            // One that is voided itself waits no more.
            None if !book.is_live_correction(correction, known) => {}
            None => found.push(plain(ExceptionKind::CorrectionOfUnknown, None, correction, row.instant)),
            Some(target) => {
                let rivals = book.live_rivals(target, known);
                let any_supersedes = rivals.iter().any(|(rival, _)| book.replaces(*rival));
                if let (Some((winner, said)), true) = (rivals.last(), rivals.len() > 1 && any_supersedes) {
                    found.push(plain(ExceptionKind::CompetingCorrections, None, *winner, *said));
                }
            }
        }
    }
    for circle in circles(book, known) {
        // Of the corrections of a circle the one that would win tells it, whatever the order of arrival.
        let latest = circle.into_iter().max_by_key(|fact| (book.corrected_at(*fact), book.event_id_text(*fact)));
        found.extend(latest.map(|fact| {
            let at = book.corrected_at(fact).unwrap_or(book.fact(fact).instant);
            plain(ExceptionKind::CompetingCorrections, None, fact, at)
        }));
    }
    found
}

/// Corrections that correct each other in a circle, or themselves: none of them counts.
fn circles(book: &Book, known: CommitNo) -> Vec<Vec<FactIx>> {
    let mut circles = Vec::new();
    // Each correction has one target: a walk that meets itself went around a circle, one that meets an earlier
    // walk finds nothing new.
    let mut walked: FxHashMap<FactIx, FactIx> = FxHashMap::default();
    for start in book.corrections_known(known) {
        let mut next = Some(start);
        while let Some(at) = next {
            match walked.entry(at) {
                Entry::Vacant(unseen) => drop(unseen.insert(start)),
                Entry::Occupied(seen) => {
                    if *seen.get() == start {
                        circles.push(circle_from(book, at, known));
                    }
                    break;
                }
            }
            next = book.target_of(at, known);
        }
    }
    circles
}

fn circle_from(book: &Book, member: FactIx, known: CommitNo) -> Vec<FactIx> {
    let following = |at: &FactIx| book.target_of(*at, known).filter(|target| *target != member);
    std::iter::successors(Some(member), following).collect()
}

/// What competes where corrections do: the corrections of the circle that one is in, beginning with it; else
/// the live rivals of the fact that it corrects, which come with that fact.
pub fn competing(question: &Question<'_>, correction: FactIx) -> Competing {
    let (book, known) = (question.book(), question.bounds().known);
    match book.target_of(correction, known) {
        // The cause of an exception of a circle is a member of it, and no member of one is alive.
        Some(target) if book.is_live_correction(correction, known) => {
            let rivals = book.live_rivals(target, known).into_iter().map(|(rival, _)| rival).collect();
            Competing::Rivals { target, rivals }
        }
        _ => Competing::Circle(circle_from(book, correction, known)),
    }
}

/// Corrections that cannot all count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Competing {
    /// They correct one fact; the last one holds.
    Rivals {
        /// The fact.
        target: FactIx,
        /// The corrections.
        rivals: Vec<FactIx>,
    },
    /// Each corrects the next one, and the last one the first: none holds.
    Circle(Vec<FactIx>),
}

/// One for every fact whose id came again with other content; what was refused is in the ledger.
fn conflicts(question: &Question<'_>) -> Vec<Exception> {
    let book = question.book();
    let facts = book.conflicts_known(question.bounds().known);
    let found = facts.map(|fact| plain(ExceptionKind::Conflict, None, fact, book.fact(fact).instant));
    found.filter(|found| found.at <= question.as_of()).collect()
}

fn future_dates(question: &Question<'_>) -> Vec<Exception> {
    let book = question.book();
    let known = question.bounds().known;
    book.future_facts()
        .filter(|fact| book.in_force(*fact, known))
        .map(|fact| plain(ExceptionKind::FutureDate, None, fact, book.fact(fact).instant))
        .collect()
}
