//! The laws, as property tests of the engine against the naive model.

use std::collections::BTreeMap;

use lotline_domain::book::{Book, Bounds};
use lotline_domain::time::{CommitNo, Instant};
use lotline_projections::{Direction, Question};
use lotline_testkit::generate::{Plant, plant};
use lotline_testkit::naive::{Bounds as NaiveBounds, Naive};

use crate::engine;

/// How many plants a law looks at; the long battery takes more.
fn plants() -> u64 {
    let full = std::env::var_os("LOTLINE_FULL").is_some();
    std::env::var("LOTLINE_PLANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(if full { 20_000 } else { 400 })
}

/// How many failing plants are shown before it stops.
fn show() -> usize {
    std::env::var("LOTLINE_SHOW").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn first_seed() -> u64 {
    std::env::var("LOTLINE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// What differs, in words; `None` when all is the same.
type Check = fn(&Plant) -> Option<String>;

/// Checks many plants; a failing one is cut down to what still fails.
fn hold(law: &str, check: Check) {
    let mut shown = 0;
    for seed in first_seed()..first_seed() + plants() {
        let found = plant(seed);
        if check(&found).is_none() {
            continue;
        }
        let small = shrink(&found, check);
        let why = check(&small).unwrap_or_default();
        let events: Vec<String> =
            small.commands.iter().map(lotline_wire::command::print_command).collect();
        let message = format!("{law}: seed {seed}, cut to {} events:\n{}\n{why}", events.len(), events.join("\n"));
        shown += 1;
        println!("{message}\n");
        assert!(shown < show(), "{law} fails");
    }
    assert!(shown == 0, "{law} fails for {shown} plants");
}

fn shrink(found: &Plant, check: Check) -> Plant {
    let mut small = found.clone();
    let mut step = small.commands.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < small.commands.len() {
            let mut fewer = small.clone();
            let end = (at + step).min(fewer.commands.len());
            fewer.commands.drain(at..end);
            if check(&fewer).is_some() {
                small = fewer;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    small
}

fn differs<K: Ord + Clone + std::fmt::Debug, V: PartialEq + Clone + std::fmt::Debug>(
    what: &str,
    engine: &BTreeMap<K, V>,
    naive: &BTreeMap<K, V>,
) -> Option<String> {
    let mut lines = Vec::new();
    for key in engine.keys().chain(naive.keys().filter(|key| !engine.contains_key(key))) {
        if engine.get(key) != naive.get(key) {
            lines.push(format!("{what} {key:?}: engine {:?}, naive {:?}", engine.get(key), naive.get(key)));
        }
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn naive_of(plant: &Plant) -> Naive {
    Naive::new(plant.events())
}

/// Bounds to ask within: all, an earlier commit, an earlier instant.
fn some_bounds(plant: &Plant) -> Vec<(Bounds, NaiveBounds)> {
    let commits = plant.commands.len() as u64;
    let middle = plant.commands.get(plant.commands.len() / 2).map_or(0, |command| command.event.occurred_at.instant.0);
    vec![
        (Bounds::known(CommitNo(commits)), NaiveBounds::known(commits)),
        (Bounds::known(CommitNo(commits / 2)), NaiveBounds::known(commits / 2)),
        (
            Bounds { known: CommitNo(commits), as_of: Instant(middle) },
            NaiveBounds::known(commits).as_of(Instant(middle)),
        ),
    ]
}

fn same_balances(plant: &Plant) -> Option<String> {
    let book: Book = engine::book_of(plant);
    let naive = naive_of(plant);
    for (bounds, naive_bounds) in some_bounds(plant) {
        let question = Question::new(&book, bounds);
        let ours = engine::on_hand(&question);
        let theirs: BTreeMap<_, _> = naive
            .on_hand(naive_bounds)
            .into_iter()
            .map(|(key, balance)| {
                (key, (balance.amount.to_string(), balance.unknown, balance.assumed, balance.stands.to_string()))
            })
            .collect();
        let ours: BTreeMap<_, _> = ours.into_iter().map(|(key, row)| (key, (fraction(&row.0), row.1, row.2, row.3))).collect();
        if let Some(why) = differs(&format!("{bounds:?} on hand"), &ours, &theirs) {
            return Some(why);
        }
    }
    None
}

/// The naive model writes fractions, the engine decimals where there are any.
fn fraction(text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { lotline_testkit::naive::number(text).to_string() }
}

fn same_traces(plant: &Plant) -> Option<String> {
    let book: Book = engine::book_of(plant);
    let naive = naive_of(plant);
    for (bounds, naive_bounds) in some_bounds(plant) {
        let question = Question::new(&book, bounds);
        let settled = naive.settle(naive_bounds);
        for (name, batch) in engine::batches(&question) {
            let reference = book.batch(batch);
            for direction in [Direction::Forward, Direction::Back] {
                let ours = engine::traced(&question, batch, direction);
                let theirs = match direction {
                    Direction::Forward => settled.forward(&reference),
                    Direction::Back => settled.back(&reference),
                };
                let theirs: BTreeMap<_, _> =
                    theirs.into_iter().map(|(key, tier)| (key, tier_word(tier))).collect();
                if let Some(why) = differs(&format!("{bounds:?} {direction:?} of {name}"), &ours, &theirs) {
                    return Some(why);
                }
            }
        }
    }
    None
}

fn tier_word(tier: lotline_testkit::naive::Tier) -> &'static str {
    match tier {
        lotline_testkit::naive::Tier::Certain => "certain",
        lotline_testkit::naive::Tier::Possible => "possible",
        lotline_testkit::naive::Tier::Cleared => "cleared",
    }
}

fn same_exceptions(plant: &Plant) -> Option<String> {
    let book: Book = engine::book_of(plant);
    let naive = naive_of(plant);
    for (bounds, naive_bounds) in some_bounds(plant) {
        let question = Question::new(&book, bounds);
        let ours: BTreeMap<_, _> = engine::discrepancies(&question).into_iter().map(|row| (row, ())).collect();
        let theirs: BTreeMap<_, _> = naive
            .exceptions(naive_bounds)
            .into_iter()
            .map(|row| {
                let place = if row.place.starts_with("run:") { String::new() } else { row.place };
                ((row.kind.to_owned(), row.batch, place, row.cause), ())
            })
            .collect();
        // Kinds that the naive model sees over all batches of a container at once.
        let theirs: BTreeMap<_, _> =
            theirs.into_iter().filter(|((kind, ..), ())| kind != "container re-used with content").collect();
        let ours: BTreeMap<_, _> =
            ours.into_iter().filter(|((kind, ..), ())| kind != "container re-used with content").collect();
        if let Some(why) = differs(&format!("{bounds:?} exception"), &ours, &theirs) {
            return Some(why);
        }
    }
    None
}

#[test]
fn balances_are_those_of_the_naive_model() {
    hold("balances", same_balances);
}

#[test]
fn traces_are_those_of_the_naive_model() {
    hold("traces", same_traces);
}

#[test]
fn exceptions_are_those_of_the_naive_model() {
    hold("exceptions", same_exceptions);
}
