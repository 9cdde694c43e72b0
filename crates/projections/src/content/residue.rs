//! What is in contact with suspects without having any of them (ruling 17).

use lotline_domain::book::{BatchIx, PlaceIx};
use lotline_domain::settle::Contact;
use rustc_hash::FxHashSet;

use crate::question::Question;
use crate::trace::{Point, Tier, Trace};

/// The points of a trace that all followed steps lead to over residue.
pub(super) fn residue_only(question: &Question<'_>, trace: &Trace) -> FxHashSet<Point> {
    if trace.residues.is_empty() {
        return FxHashSet::default();
    }
    let followed = || trace.edges.iter().filter(|edge| edge.tier > Tier::Cleared);
    let entered: FxHashSet<Point> = followed().map(|edge| edge.to).collect();
    // What no step leads to begins a trace: a suspect's own, or what a code alone stands for.
    let coded =
        |batch: &BatchIx| trace.ambiguous.contains(batch) || !question.settler().ambiguous_aliases(*batch).is_empty();
    let begins = |point: &Point| match point {
        Point::Slice(batch, _) if trace.starts.contains(batch) || coded(batch) => true,
        _ => !entered.contains(point),
    };
    let mut with_content: FxHashSet<Point> = followed().map(|edge| edge.from).filter(begins).collect();
    let mut filled: FxHashSet<(PlaceIx, BatchIx)> = FxHashSet::default();
    loop {
        let before = (with_content.len(), filled.len());
        for edge in followed() {
            let leads = match edge.from {
                Point::Vessel(vessel) => {
                    let mixed = question.vessel(vessel);
                    let has = |fill: usize| filled.contains(&(vessel, mixed.fills[fill].batch));
                    match mixed.draws.iter().position(|draw| Some(draw.flow) == edge.flow.stated) {
                        Some(draw) => {
                            let mut contacts = mixed.fills_of(draw);
                            mixed.draws[draw].paid_later.iter().any(|(fill, _)| has(*fill))
                                || contacts.any(|(fill, contact)| contact != Contact::Residue && has(fill))
                        }
                        // Taken out by its name.
                        None => filled.contains(&(vessel, edge.batch)),
                    }
                }
                from => with_content.contains(&from),
            };
            if leads {
                with_content.insert(edge.to);
                if let Point::Vessel(vessel) = edge.to {
                    filled.insert((vessel, edge.batch));
                }
            }
        }
        if before == (with_content.len(), filled.len()) {
            break;
        }
    }
    entered.into_iter().filter(|point| !with_content.contains(point)).collect()
}
