//! What holds of the contents of any recall, whatever a plant did: bounds are in their order and within the quantity, and
//! what lies apart holds no more together than there ever was of the suspect.

use lotline_domain::book::{BatchIx, Bounds, PlaceKind};
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::Node;
use lotline_domain::unit::Unit;
use lotline_projections::{Question, ScopeRow, State, scope};
use lotline_testkit::generate::{Knobs, Plant, plant, plant_with};

use crate::engine;
use crate::laws::hold_of;

/// All that there ever was of a batch, by mass; `None` where not all is recorded, or not by mass.
fn ever(question: &Question<'_>, batch: BatchIx) -> Option<Ratio> {
    let settled = question.settlement(batch);
    if settled.slices.iter().any(|slice| slice.balance < 0 || slice.unknown) {
        return None;
    }
    let mass = question.settler().convert(batch, settled.measure.base, Unit::KILOGRAM)?;
    let kind = |place| question.book().place_kind(place);
    let enters = |from| match from {
        Node::Supply(_) | Node::Run(_) => true,
        Node::Place(place) => matches!(kind(place), PlaceKind::Vessel | PlaceKind::Sink),
    };
    let mut flows = settled.flows.iter().filter(|flow| flow.in_book() && enters(flow.from));
    flows.try_fold(Ratio::ZERO, |sum, flow| sum.add(settled.measure.value(flow.amount?).mul(mass)?))
}

/// Content that no other row has, too.
fn apart(row: &ScopeRow) -> bool {
    row.state != State::Consumed && row.content.unit == Unit::KILOGRAM
}

fn contents_hold_together(plant: &Plant) -> Option<String> {
    let book = engine::book_of(plant);
    let question = Question::new(&book, Bounds::known(book.head()));
    for (name, batch) in engine::batches(&question) {
        let found = scope(&question, &[batch]);
        for row in &found.rows {
            let (content, there) = (row.content, row.quantity.value.max(Ratio::ZERO));
            let expected = content.expected.is_none_or(|expected| content.min <= expected && expected <= content.max);
            let ordered = !content.min.is_negative() && content.min <= content.max && expected;
            if !ordered || (!row.unknown && content.max > there) {
                return Some(format!("recall of {name}: {row:?}"));
            }
        }
        let Some(all) = ever(&question, batch) else { continue };
        let mut minima = found.rows.iter().filter(|row| apart(row)).map(|row| row.content.min);
        let Some(sum) = minima.try_fold(Ratio::ZERO, Ratio::add) else { continue };
        if sum > all {
            return Some(format!("recall of {name}: its rows have at least {sum}, and there was only {all}"));
        }
    }
    None
}

#[test]
fn contents_are_in_their_order_and_no_more_than_there_is() {
    hold_of("contents", plant, contents_hold_together);
}

#[test]
fn contents_of_tame_plants_are_in_their_order_and_no_more_than_there_is() {
    // Where less is missing more is certain, and more can be wrong.
    let knobs = Knobs {
        vessels: true,
        rework: true,
        splits: true,
        runs_in_parts: true,
        mapping: true,
        windows: true,
        counts: true,
        ..Knobs::TAME
    };
    hold_of("contents of tame plants", |seed| plant_with(seed, knobs), contents_hold_together);
}
