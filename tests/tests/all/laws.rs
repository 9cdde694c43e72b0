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
    std::env::var("LOTLINE_PLANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(if full { 4_000 } else { 400 })
}

/// How many failing plants are shown before it stops.
fn show() -> usize {
    std::env::var("LOTLINE_SHOW").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn first_seed() -> u64 {
    std::env::var("LOTLINE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// What differs, in words; `None` when all is the same.
pub type Check = fn(&Plant) -> Option<String>;

/// Checks many plants; a failing one is cut down to what still fails.
fn hold(law: &str, check: Check) {
    hold_of(law, plant, check);
}

/// The same with plants of some kind.
pub fn hold_of(law: &str, plant_of: impl Fn(u64) -> Plant, check: Check) {
    let mut shown = 0;
    for seed in first_seed()..first_seed() + plants() {
        let found = plant_of(seed);
        if check(&found).is_none() {
            continue;
        }
        let small = shrink(&found, check);
        let why = check(&small).unwrap_or_default();
        let events: Vec<String> = small.commands.iter().map(lotline_wire::command::print_command).collect();
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
                let amount = balance.amount.to_string();
                // What went into a sink lies in no slice.
                let assumed = balance.assumed && !key.1.starts_with("sink:");
                // Nor can it be held.
                let is_sink = key.1.starts_with("sink:");
                let holds = balance.holds.into_iter().filter(|_| !is_sink).collect::<Vec<_>>().join(" ");
                let expires = if is_sink { String::new() } else { balance.expires };
                (key, (amount, balance.unknown, assumed, balance.stands.to_string(), holds, expires))
            })
            .collect();
        let ours: BTreeMap<_, _> = ours
            .into_iter()
            .map(|(key, row)| {
                let amount = fraction(&row.0);
                (key, (amount, row.1, row.2, row.3, row.4, row.5))
            })
            .collect();
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
                let theirs: BTreeMap<_, _> = theirs.into_iter().map(|(key, tier)| (key, tier_word(tier))).collect();
                if let Some(why) = differs(&format!("{bounds:?} {direction:?} of {name}"), &ours, &theirs) {
                    return Some(why);
                }
            }
        }
    }
    None
}

/// Recall scopes: which slices, how sure, how much, and what every party ever received.
fn same_scopes(plant: &Plant) -> Option<String> {
    let book: Book = engine::book_of(plant);
    let naive = naive_of(plant);
    for (bounds, naive_bounds) in some_bounds(plant) {
        let question = Question::new(&book, bounds);
        let settled = naive.settle(naive_bounds);
        for (name, batch) in engine::batches(&question) {
            let suspects = [book.batch(batch)];
            let ours: BTreeMap<_, _> = engine::scoped(&question, batch)
                .into_iter()
                .map(|(key, (state, tier, quantity, unknown, exposure))| {
                    let exposure = exposure.map(|(ever, net)| (fraction(&ever), fraction(&net)));
                    (key, (state, tier, fraction(&quantity), unknown, exposure))
                })
                .collect();
            let theirs = settled.recall(&suspects);
            let mut theirs: BTreeMap<_, _> = theirs
                .into_iter()
                .filter(|((_, place), _)| !["run:", "sink:", "vessel:"].iter().any(|kind| place.starts_with(kind)))
                .map(|(key, row)| {
                    let tier = if row.cleared { "cleared" } else { tier_word(row.tier) };
                    let exposure = key.1.starts_with("party:").then(|| ("0".to_owned(), "0".to_owned()));
                    let nowhere = key.1 == "unplaced";
                    let state = if nowhere { "unplaced" } else { row.state }.to_owned();
                    (key, (state, tier.to_owned(), row.quantity.to_string(), row.unknown, exposure))
                })
                .filter(|(_, row)| row.2 != "0" || row.3)
                .collect();
            for ((reached, party), exposure) in settled.exposures(&suspects) {
                let key = (reached.to_string(), format!("party:{party}"));
                let arrived = exposure.ever != lotline_testkit::naive::number("0") || exposure.unknown;
                if !arrived && !theirs.contains_key(&key) {
                    continue;
                }
                // Where nothing is left, how sure its arrival was is asked of the traces.
                let tier = ours.get(&key).map_or_else(|| "?".to_owned(), |row| row.1.clone());
                let row = theirs
                    .entry(key)
                    .or_insert_with(|| ("with customer".to_owned(), tier.clone(), "0".to_owned(), false, None));
                // The engine's row of a party is as sure as its surest arrival, in a container perhaps.
                row.1 = if tier == "certain" { tier } else { row.1.clone() };
                row.3 |= exposure.unknown;
                row.4 = Some((exposure.ever.to_string(), exposure.net.to_string()));
            }
            if let Some(why) = differs(&format!("{bounds:?} scope of {name}"), &ours, &theirs) {
                return Some(why);
            }
        }
    }
    None
}

/// An amount as the engine writes it: a decimal, or a fraction where there is none.
fn exact(text: &str) -> lotline_testkit::naive::Number {
    match text.contains('/') {
        true => text.parse().expect("a fraction"),
        false => lotline_testkit::naive::number(text),
    }
}

/// Law 5: what is held is what the facts state, plus and less what settlement had to make up.
fn quantities_balance(plant: &Plant) -> Option<String> {
    let book: Book = engine::book_of(plant);
    let naive = naive_of(plant);
    for (bounds, naive_bounds) in some_bounds(plant) {
        let question = Question::new(&book, bounds);
        let sums = naive.settle(naive_bounds).sums();
        let mut held: BTreeMap<String, (lotline_testkit::naive::Number, bool)> = BTreeMap::new();
        for ((batch, place), (amount, unknown, ..)) in engine::on_hand(&question) {
            let zero = || (lotline_testkit::naive::number("0"), false);
            let held = held.entry(batch).or_insert_with(zero);
            held.1 |= unknown;
            if !place.starts_with("sink:") {
                held.0 += exact(&amount);
            }
        }
        for (name, batch) in engine::batches(&question) {
            let Some(stated) = sums.get(&name) else { continue };
            let (held, unknown) =
                held.get(&name).cloned().unwrap_or_else(|| (lotline_testkit::naive::number("0"), false));
            // Where a statement has no quantity, the facts alone do not say how much moved.
            if stated.unknown || unknown {
                continue;
            }
            let Some(beyond) = engine::beyond_facts(&question, batch) else { continue };
            let rest = stated.rest() + exact(&beyond.to_string());
            if held != rest {
                return Some(format!("{bounds:?} {name}: {held} is held, the facts leave {rest}"));
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
                // A leg's own discrepancy is told of its batch, one of the run or of its windows of the run.
                let of_run = ["run lost mass", "run gained mass", "no window"].contains(&row.kind);
                let place = if row.place.starts_with("run:") && !of_run { String::new() } else { row.place };
                ((row.kind.to_owned(), row.batch, place, row.cause), ())
            })
            .collect();
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
fn quantities_balance_against_the_facts() {
    hold("quantities", quantities_balance);
}

#[test]
fn scopes_are_those_of_the_naive_model() {
    hold("scopes", same_scopes);
}

#[test]
fn exceptions_are_those_of_the_naive_model() {
    hold("exceptions", same_exceptions);
}

/// All answers of a book as text.
fn answers(book: &Book, bounds: Bounds) -> BTreeMap<String, String> {
    let question = Question::new(book, bounds);
    let mut all = BTreeMap::new();
    for (key, row) in engine::on_hand(&question) {
        all.insert(format!("on hand {key:?}"), format!("{row:?}"));
    }
    for (name, batch) in engine::batches(&question) {
        for direction in [Direction::Forward, Direction::Back] {
            let found = engine::traced(&question, batch, direction);
            if !found.is_empty() {
                all.insert(format!("{direction:?} of {name}"), format!("{found:?}"));
            }
        }
    }
    for row in engine::discrepancies(&question) {
        all.insert(format!("exception {row:?}"), String::new());
    }
    all
}

/// Ledger time decides what was a future date: left out where the order of recording is changed.
fn without_future(mut answers: BTreeMap<String, String>) -> BTreeMap<String, String> {
    answers.retain(|key, _| !key.contains("future date"));
    answers
}

/// Law 2: an answer at a commit is that of a fresh engine fed up to it.
fn the_past_stays(plant: &Plant) -> Option<String> {
    let book = engine::book_of(plant);
    let commits = plant.commands.len() as u64;
    for known in [commits / 3, commits / 2] {
        let bounds = Bounds::known(CommitNo(known));
        let events: Vec<_> = plant.events().into_iter().filter(|(commit, _)| *commit <= known).collect();
        let fresh = engine::book(&events);
        let why = differs(&format!("known {known}"), &answers(&book, bounds), &answers(&fresh, bounds));
        if why.is_some() {
            return why;
        }
    }
    None
}

/// Laws 3 and 4: neither the order of arrival nor repetition matters.
fn order_and_repetition_do_not_matter(plant: &Plant) -> Option<String> {
    let book = engine::book_of(plant);
    let expected = without_future(answers(&book, engine::all(&book)));
    let shuffled = engine::book_of(&plant.shuffled(plant.seed ^ 0x5eed));
    let found = without_future(answers(&shuffled, engine::all(&shuffled)));
    if let Some(why) = differs("in another order", &found, &expected) {
        return Some(why);
    }
    let mut twice = plant.clone();
    twice.commands.extend(plant.commands.clone());
    let twice = engine::book_of(&twice);
    differs("all of it twice", &without_future(answers(&twice, engine::all(&twice))), &expected)
}

/// Law 7: X is in back(Y) exactly when Y is in forward(X), with the same tier.
fn back_is_the_dual_of_forward(plant: &Plant) -> Option<String> {
    let book = engine::book_of(plant);
    let question = Question::new(&book, engine::all(&book));
    let batches = engine::batches(&question);
    let mut forward: BTreeMap<(String, String), &'static str> = BTreeMap::new();
    let mut back: BTreeMap<(String, String), &'static str> = BTreeMap::new();
    for (name, batch) in &batches {
        for (reached, tier) in engine::traced(&question, *batch, Direction::Forward) {
            forward.insert((name.clone(), reached), tier);
        }
        for (reached, tier) in engine::traced(&question, *batch, Direction::Back) {
            back.insert((reached, name.clone()), tier);
        }
    }
    differs("(from, to) by back and forward", &back, &forward)
}

#[test]
fn the_past_is_immutable() {
    hold("past", the_past_stays);
}

#[test]
fn arrival_order_and_duplicates_do_not_matter() {
    hold("order", order_and_repetition_do_not_matter);
}

#[test]
fn traces_back_and_forward_are_duals() {
    hold("duality", back_is_the_dual_of_forward);
}
