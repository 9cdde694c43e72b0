//! Answers: what the read models and the ledger say, in the forms of `wire`.

pub mod exceptions;
pub mod history;
pub mod on_hand;
pub mod recall;
pub mod trace;

use lotline_domain::book::{BatchIx, Book, PlaceIx, PlaceKind};
use lotline_domain::time::Instant;
use lotline_projections as engine;
use lotline_projections::Question;
use lotline_wire::answer::{Batch, Said, SaidKind, State, Tier, instant};

/// An engine's tier as answers have it.
pub(crate) fn tier(tier: engine::Tier) -> Tier {
    match tier {
        engine::Tier::Certain => Tier::Certain,
        engine::Tier::Possible => Tier::Possible,
        engine::Tier::Cleared => Tier::Cleared,
    }
}

/// An engine's state as answers have it.
pub(crate) fn state(state: engine::State) -> State {
    match state {
        engine::State::OnHand => State::OnHand,
        engine::State::InVessel => State::InVessel,
        engine::State::InProcess => State::InProcess,
        engine::State::Unplaced => State::Unplaced,
        engine::State::InTransit => State::InTransit,
        engine::State::AtParty => State::WithCustomer,
        engine::State::Consumed => State::Consumed,
        engine::State::Lost => State::Lost,
        engine::State::Sampled => State::Sampled,
        engine::State::Destroyed => State::Destroyed,
        engine::State::Adjusted => State::Adjusted,
        engine::State::Unexplained => State::Unexplained,
    }
}

/// A moment of a path; the ends of time stand for "from the beginning" and "to the end".
pub(crate) fn moment(micros: i64) -> Option<String> {
    (micros != i64::MIN && micros != i64::MAX).then(|| instant(Instant(micros)))
}

pub(crate) fn batch(book: &Book, ix: BatchIx) -> Batch {
    Batch::from(&book.batch(ix))
}

/// Remarks about unknown quantities, where there are any.
pub(crate) fn unknown_quantities(batches: impl IntoIterator<Item = Batch>) -> Option<Said> {
    let mut batches: Vec<Batch> = batches.into_iter().collect();
    batches.dedup();
    (!batches.is_empty()).then(|| Said {
        kind: SaidKind::UnknownQuantity,
        message: "some quantities were not stated; they are in no sum".to_owned(),
        batches,
    })
}

/// Which mix models the content of vessels follows, where vessels matter.
pub(crate) fn mix_models(question: &Question<'_>, vessels: impl IntoIterator<Item = PlaceIx>) -> Option<Said> {
    use lotline_domain::fact::MixModel;
    let mut named: Vec<String> = vessels
        .into_iter()
        .filter(|place| question.book().place_kind(*place) == PlaceKind::Vessel)
        .map(|vessel| {
            let model = match question.settler().mix_model(vessel) {
                MixModel::Full => "full mix",
                MixModel::FirstInFirstOut => "first in, first out",
            };
            format!("{}: {model}", question.book().place(vessel))
        })
        .collect();
    named.sort();
    named.dedup();
    (!named.is_empty()).then(|| Said {
        kind: SaidKind::MixModel,
        message: format!("what came out of a vessel is split by its mix model: {}", named.join("; ")),
        batches: Vec::new(),
    })
}

/// The remark that nothing is known of a batch within the bounds.
pub(crate) fn nothing_known(question: &Question<'_>, ix: BatchIx, known: u64) -> Option<Said> {
    let settled = question.settlement(question.settler().resolve(ix));
    let named = batch(question.book(), ix);
    (settled.flows.is_empty() && settled.slices.is_empty()).then(|| Said {
        kind: SaidKind::UnknownBatch,
        message: format!(
            "as known at commit {known}, nothing of {} moved within the bounds",
            question.book().batch(ix)
        ),
        batches: vec![named],
    })
}
