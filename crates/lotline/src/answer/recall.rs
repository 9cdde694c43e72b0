//! What must come back.

use lotline_domain::book::PlaceKind;
use lotline_domain::command::Amount as DomainAmount;
use lotline_domain::id::Place;
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::Node;
use lotline_domain::unit::Unit;
use lotline_projections::{self as engine, Question, Spot};
use lotline_wire::answer::{Amount, Content, ContentTotal, Grade, Recall, RecallRow, Said, SaidKind};

use super::on_hand::name_of;
use super::trace::{edge, words};
use super::{batch, mix_models, moment, nothing_known, state, tier, unknown_quantities};
use crate::bounds::Within;
use crate::print::quantity;

/// Answers it, from a scope of the engine.
pub fn answer(question: &Question<'_>, within: &Within, scope: &engine::Scope, clean_grade: u8) -> Recall {
    let book = question.book();
    let totals = totals(question, scope);
    let mut said = within.said.clone();
    said.extend(scope.suspects.iter().filter_map(|suspect| nothing_known(question, *suspect, within.known())));
    said.extend(unknown_quantities(scope.rows.iter().filter(|row| row.unknown).map(|row| batch(book, row.batch))));
    said.extend(mix_models(question, scope.trace.vessels.keys().copied()));
    if scope.rows.len() > 1 {
        said.push(Said {
            kind: SaidKind::MaximaDoNotAdd,
            message: "the same suspect matter cannot be everywhere at once: the greatest contents of the rows do not \
                      add up; each total has its own"
                .to_owned(),
            batches: Vec::new(),
        });
    }
    Recall {
        asked: within.asked.clone(),
        suspects: scope.suspects.iter().map(|suspect| batch(book, *suspect)).collect(),
        clean_grade: clean_grade.into(),
        rows: scope.rows.iter().map(|found| row(question, found, within)).collect(),
        totals,
        said,
    }
}

fn row(question: &Question<'_>, row: &engine::ScopeRow, within: &Within) -> RecallRow {
    let book = question.book();
    let container = row.slice.filter(|slice| book.place_kind(*slice) == PlaceKind::Container);
    RecallRow {
        batch: batch(book, row.batch),
        place: match row.spot {
            Spot::Place(place) => place.map_or(Place::Unplaced, |place| book.place(place)).to_string(),
            Spot::Run(run) => format!("run:{}", book.run(run)),
        },
        container: container.map(|container| name_of(&book.place(container))),
        state: state(row.state),
        tier: tier(row.tier),
        since: moment(row.since),
        quantity: Amount::from(&row.quantity),
        unknown: row.unknown,
        ever_received: row.ever.as_ref().map(Amount::from),
        net: row.net.as_ref().map(Amount::from),
        content: content(&row.content),
        why: why(question, row),
        cleared_at: row.cleared_at.and_then(moment),
        as_of: within.as_of(),
        as_known_at: within.known(),
    }
}

fn content(content: &engine::Content) -> Content {
    let amount = |value: Ratio| Amount::from(DomainAmount { value, unit: content.unit });
    Content {
        min: amount(content.min),
        expected: content.expected.map(amount),
        max: amount(content.max),
        grade: match content.grade {
            engine::Grade::Sound => Grade::Sound,
        },
    }
}

/// The steps of the path, in words.
fn why(question: &Question<'_>, row: &engine::ScopeRow) -> Vec<String> {
    let book = question.book();
    if row.why.is_empty() {
        return vec![format!("{} is suspected itself", book.batch(row.batch))];
    }
    row.why
        .iter()
        .map(|step| {
            let told = edge(question, step);
            let amount = told.quantity.as_ref().map_or_else(|| "an unknown quantity".to_owned(), quantity);
            let mark = told.mark.as_ref().map(|mark| format!(" ({mark})")).unwrap_or_default();
            format!(
                "{} {amount} of {} from {} to {}{mark}, recorded in {}",
                told.at,
                book.batch(step.batch),
                words(&told.from),
                words(&told.to),
                told.event.unwrap_or_default()
            )
        })
        .collect()
}

/// Sums of one state and one pair of units.
struct Sum {
    state: engine::State,
    unit: Unit,
    quantity: Option<Ratio>,
    content_unit: Unit,
    min: Option<Ratio>,
    expected: Option<Ratio>,
    max: Option<Ratio>,
}

/// Sums over the rows of a state; what was cleared is in none of them. The content of all of them together is at
/// least the sum of the least, at most the sum of the greatest, and never more than there was of the suspects.
fn totals(question: &Question<'_>, scope: &engine::Scope) -> Vec<ContentTotal> {
    let mut sums: Vec<Sum> = Vec::new();
    for row in scope.rows.iter().filter(|row| row.tier != engine::Tier::Cleared) {
        let (unit, content_unit) = (row.quantity.unit, row.content.unit);
        let same = |sum: &&mut Sum| (sum.state, sum.unit, sum.content_unit) == (row.state, unit, content_unit);
        let plus = |sum: Option<Ratio>, more: Option<Ratio>| sum.and_then(|sum| sum.add(more?));
        match sums.iter_mut().find(same) {
            Some(sum) => {
                sum.quantity = plus(sum.quantity, Some(row.quantity.value));
                sum.min = plus(sum.min, Some(row.content.min));
                sum.expected = plus(sum.expected, row.content.expected);
                sum.max = plus(sum.max, Some(row.content.max));
            }
            None => sums.push(Sum {
                state: row.state,
                unit,
                quantity: Some(row.quantity.value),
                content_unit,
                min: Some(row.content.min),
                expected: row.content.expected,
                max: Some(row.content.max),
            }),
        }
    }
    sums.sort_by(|a, b| (a.state, a.unit.as_str()).cmp(&(b.state, b.unit.as_str())));
    sums.into_iter()
        .filter_map(|sum| {
            let all = suspect_matter(question, scope, sum.content_unit);
            let max = sum.max.map(|max| all.map_or(max, |all| if less(all, max) { all } else { max }));
            let amount = |value: Ratio| Amount::from(DomainAmount { value, unit: sum.content_unit });
            let content = sum.min.zip(max).map(|(min, max)| Content {
                min: amount(min),
                expected: sum.expected.map(amount),
                max: amount(max),
                grade: Grade::Sound,
            });
            let quantity = Amount::from(DomainAmount { value: sum.quantity?, unit: sum.unit });
            Some(ContentTotal { state: state(sum.state), quantity, content })
        })
        .collect()
}

fn less(a: Ratio, b: Ratio) -> bool {
    a.sub(b).is_some_and(Ratio::is_negative)
}

/// All that there ever was of the suspects; `None` where that is not known in this unit.
fn suspect_matter(question: &Question<'_>, scope: &engine::Scope, unit: Unit) -> Option<Ratio> {
    let book = question.book();
    let mut all = Ratio::ZERO;
    for suspect in &scope.suspects {
        let settled = question.settlement(*suspect);
        let factor = question.settler().convert(*suspect, settled.measure.base, unit)?;
        for flow in settled.flows.iter().filter(|flow| flow.in_book()) {
            let enters = match flow.from {
                Node::Supply(_) | Node::Run(_) => true,
                Node::Place(place) => matches!(book.place_kind(place), PlaceKind::Vessel | PlaceKind::Sink),
            };
            if enters {
                all = all.add(settled.measure.value(flow.amount?).mul(factor)?)?;
            }
        }
        // What is owed came from somewhere.
        if settled.slices.iter().any(|slice| slice.balance < 0 || slice.unknown) {
            return None;
        }
    }
    Some(all)
}
