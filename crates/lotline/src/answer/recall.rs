//! What must come back.

use std::collections::BTreeSet;

use lotline_domain::book::{BatchIx, PlaceKind};
use lotline_domain::command::Amount as DomainAmount;
use lotline_domain::id::{BatchRef, Place};
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::{Node, same_dimension};
use lotline_domain::unit::Unit;
use lotline_projections::{self as engine, Question, Spot};
use lotline_wire::answer::{Amount, Content, ContentTotal, Expires, Grade, Recall, RecallRow, Said, SaidKind};
use rust_decimal::Decimal;

use super::on_hand::{expires, name_of};
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
    let unknown = scope.rows.iter().filter(|row| row.unknown).filter_map(|row| row.batch);
    said.extend(unknown_quantities(unknown.map(|ix| batch(book, ix))));
    said.extend(mix_models(question, scope.trace.vessels.keys().copied()));
    said.extend(not_convertible(question, scope));
    said.extend(below_zero(question, scope));
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
        rows: scope.rows.iter().map(|found| row(question, found, &scope.suspects, within)).collect(),
        totals,
        said,
    }
}

/// Where more went out than had come in, a record is missing, and nobody knows where that is.
fn below_zero(question: &Question<'_>, scope: &engine::Scope) -> Option<Said> {
    let below = scope.rows.iter().filter(|row| row.quantity.value.is_negative());
    let batches: BTreeSet<BatchIx> = below.filter_map(|row| row.batch).collect();
    (!batches.is_empty()).then(|| Said {
        kind: SaidKind::BelowZero,
        message:
            "where a row is below zero, more went out than had come in and a record is missing: the quantities in all \
                  are less these rows, the contents in all are not"
                .to_owned(),
        batches: batches.into_iter().map(|ix| batch(question.book(), ix)).collect(),
    })
}

/// Shares go by mass: the items whose quantities no factor turns into mass.
fn not_convertible(question: &Question<'_>, scope: &engine::Scope) -> Option<Said> {
    let without = |batch: &BatchIx| {
        let base = question.settlement(*batch).measure.base;
        question.settler().convert(*batch, base, Unit::KILOGRAM).is_none()
    };
    let book = question.book();
    let batches: BTreeSet<BatchIx> = scope.rows.iter().filter_map(|row| row.batch).filter(without).collect();
    let items: BTreeSet<String> = batches
        .iter()
        .map(|batch| match book.batch(*batch) {
            BatchRef::Known(id) => id.item.to_string(),
            code @ BatchRef::Code(_) => code.to_string(),
        })
        .collect();
    (!batches.is_empty()).then(|| Said {
        kind: SaidKind::NotConvertible,
        message: format!(
            "no factor to mass is known for {}: there the content is anything from nothing to all",
            items.into_iter().collect::<Vec<_>>().join(", ")
        ),
        batches: batches.into_iter().map(|ix| batch(book, ix)).collect(),
    })
}

fn row(question: &Question<'_>, row: &engine::ScopeRow, suspects: &[BatchIx], within: &Within) -> RecallRow {
    let book = question.book();
    let container = row.slice.filter(|slice| book.place_kind(*slice) == PlaceKind::Container);
    RecallRow {
        batch: row.batch.map(|ix| batch(book, ix)),
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
        why: why(question, row, suspects),
        cleared_at: row.cleared_at.and_then(moment),
        expires: expires_of(question, row),
        as_of: within.as_of(),
        as_known_at: within.known(),
    }
}

fn expires_of(question: &Question<'_>, row: &engine::ScopeRow) -> Option<Expires> {
    let (Some(batch), Spot::Place(place)) = (row.batch, row.spot) else { return None };
    let is_sink = place.is_some_and(|place| question.book().place_kind(place) == PlaceKind::Sink);
    let expiry = engine::expiry_at(question, batch, place).filter(|_| !is_sink)?;
    Some(expires(question.book(), batch, &expiry))
}

/// Decimals of a content in an answer: as many as mix models apportion to.
const CONTENT_SCALE: u32 = 9;

pub(super) fn content(content: &engine::Content) -> Content {
    // Bounds are rounded outward, what is expected to the nearest.
    let amount = |value: Ratio, rounded: fn(Ratio, u32) -> Option<Decimal>| {
        let value = rounded(value, CONTENT_SCALE).map_or(value, Ratio::from_decimal);
        Amount::from(DomainAmount { value, unit: content.unit })
    };
    Content {
        min: amount(content.min, Ratio::floor_to),
        expected: content.expected.map(|expected| amount(expected, Ratio::round_to)),
        max: amount(content.max, Ratio::ceil_to),
        grade: match content.grade {
            engine::Grade::Sound => Grade::Sound,
        },
    }
}

/// The steps of the path, in words.
fn why(question: &Question<'_>, row: &engine::ScopeRow, suspects: &[BatchIx]) -> Vec<String> {
    let book = question.book();
    if let (true, Some(batch)) = (row.why.is_empty(), row.batch) {
        let named = book.batch(batch);
        return vec![match suspects.contains(&batch) {
            true => format!("{named} is suspected itself"),
            false => {
                format!("a record names a code alone that fits {named} and a suspect: nobody knows which was meant")
            }
        }];
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
    /// The greatest minimum of the rows whose matter other rows may have, too.
    least: Ratio,
    /// There are such rows.
    twice: bool,
    expected: Option<Ratio>,
    max: Option<Ratio>,
}

/// Digits behind the point of a sum that no exact fraction can hold any more.
const SCALE: u32 = 9;

/// A sum; exact as long as its fraction can be held, then cut to [`SCALE`] digits in the direction of `cut`.
pub(crate) fn plus(
    sum: Option<Ratio>,
    more: Option<Ratio>,
    cut: fn(Ratio, u32) -> Option<rust_decimal::Decimal>,
) -> Option<Ratio> {
    let (sum, more) = sum.zip(more)?;
    sum.add(more).or_else(|| {
        let short = |value: Ratio| cut(value, SCALE).map(Ratio::from_decimal);
        short(sum)?.add(short(more)?)
    })
}

/// A product, as exact as [`plus`].
fn times(value: Ratio, factor: Ratio, cut: fn(Ratio, u32) -> Option<Decimal>) -> Option<Ratio> {
    value.mul(factor).or_else(|| Ratio::from_decimal(cut(value, SCALE)?).mul(factor))
}

/// How much suspect matter is in a row, by mass where that is known: pieces of different goods do not add up.
pub(crate) fn by_mass(question: &Question<'_>, row: &engine::ScopeRow) -> engine::Content {
    let content = row.content;
    let in_mass = |factor: Ratio| {
        Some(engine::Content {
            min: times(content.min, factor, Ratio::floor_to)?,
            expected: content.expected.and_then(|expected| times(expected, factor, Ratio::round_to)),
            max: times(content.max, factor, Ratio::ceil_to)?,
            unit: Unit::KILOGRAM,
            ..content
        })
    };
    let factor = match row.batch {
        Some(batch) => question.settler().convert(batch, content.unit, Unit::KILOGRAM),
        None => same_dimension(content.unit, Unit::KILOGRAM),
    };
    factor.and_then(in_mass).unwrap_or(content)
}

/// Whether a row may hold matter that another row of its state has, too: what was used up is made of what was used up
/// before, unless it is a suspect that was not made of any.
fn is_counted_twice(scope: &engine::Scope, row: &engine::ScopeRow) -> bool {
    let begins = |batch: BatchIx| scope.suspects.contains(&batch) && !scope.trace.batches.contains_key(&batch);
    row.state == engine::State::Consumed && !row.batch.is_some_and(begins)
}

/// Sums over the rows of a state; what was cleared is in none of them. The content of all of them together is at
/// least the sum of the least, at most the sum of the greatest, and never more than there was of the suspects. Of rows
/// that may hold the same matter it is at least the greatest of the least, and nothing is expected of their sum.
fn totals(question: &Question<'_>, scope: &engine::Scope) -> Vec<ContentTotal> {
    let mut sums: Vec<Sum> = Vec::new();
    for row in scope.rows.iter().filter(|row| row.tier != engine::Tier::Cleared) {
        let content = by_mass(question, row);
        let key = (row.state, row.quantity.unit, content.unit);
        let twice = is_counted_twice(scope, row);
        match sums.iter_mut().find(|sum| (sum.state, sum.unit, sum.content_unit) == key) {
            Some(sum) => {
                sum.quantity = plus(sum.quantity, Some(row.quantity.value), Ratio::round_to);
                sum.expected = plus(sum.expected, content.expected, Ratio::round_to).filter(|_| !twice && !sum.twice);
                sum.twice |= twice;
                match twice {
                    true => sum.least = sum.least.max(content.min),
                    false => sum.min = plus(sum.min, Some(content.min), Ratio::floor_to),
                }
                sum.max = plus(sum.max, Some(content.max), Ratio::ceil_to);
            }
            None => sums.push(Sum {
                state: row.state,
                unit: row.quantity.unit,
                quantity: Some(row.quantity.value),
                content_unit: content.unit,
                min: Some(if twice { Ratio::ZERO } else { content.min }),
                least: if twice { content.min } else { Ratio::ZERO },
                twice,
                expected: content.expected,
                max: Some(content.max),
            }),
        }
    }
    sums.sort_by(|a, b| {
        (a.state, a.unit.as_str(), a.content_unit.as_str()).cmp(&(b.state, b.unit.as_str(), b.content_unit.as_str()))
    });
    let all = suspect_matter(question, scope);
    sums.into_iter()
        .filter_map(|sum| {
            let cap = all.filter(|_| sum.content_unit == Unit::KILOGRAM);
            // The same matter may go through several runs or vessels: a sum over them counts it each time.
            let at_most = |value: Ratio| cap.filter(|cap| less(*cap, value)).unwrap_or(value);
            let max = sum.max.map(at_most);
            let amount = |value: Ratio| Amount::from(DomainAmount { value, unit: sum.content_unit });
            let min = sum.min.map(|min| at_most(min.max(sum.least)));
            let content = min.zip(max).map(|(min, max)| Content {
                min: amount(min),
                expected: sum.expected.map(at_most).map(amount),
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

/// The mass of all that there ever was of the suspects; `None` where that is not known.
pub(crate) fn suspect_matter(question: &Question<'_>, scope: &engine::Scope) -> Option<Ratio> {
    let book = question.book();
    let mut all = Ratio::ZERO;
    for suspect in &scope.suspects {
        let settled = question.settlement(*suspect);
        let factor = question.settler().convert(*suspect, settled.measure.base, Unit::KILOGRAM)?;
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
