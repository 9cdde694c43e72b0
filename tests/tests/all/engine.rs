//! The engine under test: a book folded from events, and its answers as text, to be compared.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::book::{BatchIx, Book, Bounds, EndKind};
use lotline_domain::command::{Body, Mode, Recorded};
use lotline_domain::fact::Event;
use lotline_domain::id::{BatchRef, Place, Sink};
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::Node;
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_projections::{
    Direction, Question, Spot, Tier, exceptions, run_of_exception, scope, slices_of, trace, vessels,
};
use lotline_testkit::generate::Plant;

/// Ledger time of a commit in these tests: far after every fact, a second apart.
pub fn recorded_at(commit: u64) -> RecordedAt {
    RecordedAt(Instant(4_000_000_000_000_000 + i64::try_from(commit).unwrap_or(0) * 1_000_000))
}

/// An event as the ledger would give it.
pub fn recorded(index: usize, commit: u64, event: &Event) -> Recorded {
    Recorded {
        position: Position(index as u64),
        commit: CommitNo(commit),
        recorded_at: recorded_at(commit),
        body: Body::Fact { mode: Mode::Observation, event: event.clone(), decided_on: None },
    }
}

/// A book of these events.
pub fn book(events: &[(u64, Event)]) -> Book {
    let mut book = Book::new();
    for (index, (commit, event)) in events.iter().enumerate() {
        book.apply(&recorded(index, *commit, event));
    }
    book
}

/// A book of a plant in its order of arrival.
pub fn book_of(plant: &Plant) -> Book {
    book(&plant.events())
}

/// Every batch of a book that a fact in force speaks of by flow or count, resolved.
pub fn batches(question: &Question<'_>) -> BTreeMap<String, BatchIx> {
    let book = question.book();
    let count = u32::try_from(book.batch_count()).expect("few batches");
    (0..count)
        .map(BatchIx)
        .filter(|batch| question.settler().stands_for(*batch).is_none())
        .map(|batch| (book.batch(batch).to_string(), batch))
        .collect()
}

/// A slice as text: amount, marks, where it stands, holds, until when it is good.
pub type SliceText = (String, bool, bool, String, String, String);

/// What is where: slices, sinks, vessels.
pub fn on_hand(question: &Question<'_>) -> BTreeMap<(String, String), SliceText> {
    let book = question.book();
    let mut all = BTreeMap::new();
    for (name, batch) in batches(question) {
        for row in slices_of(question, batch) {
            let place = book.place(row.slice).to_string();
            let stands = row.place.map_or_else(|| "unplaced".to_owned(), |place| book.place(place).to_string());
            let holds = row.holds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let expires = row.expires.map_or_else(String::new, |expiry| {
                format!("{} until {} in {}", expiry.told.expires, expiry.at, expiry.zone.name())
            });
            let amount = row.amount.value.to_string();
            all.insert((name.clone(), place), (amount, row.unknown, row.assumed, stands, holds, expires));
        }
        let settled = question.settlement(batch);
        let mut sinks: BTreeMap<String, (i128, bool)> = BTreeMap::new();
        for flow in settled.flows.iter().filter(|flow| flow.in_book()) {
            for (node, sign) in [(flow.to, 1), (flow.from, -1)] {
                if let Node::Place(place) = node
                    && book.place(place).is_sink()
                {
                    let entry = sinks.entry(book.place(place).to_string()).or_default();
                    entry.0 += sign * flow.amount.unwrap_or(0);
                    entry.1 |= flow.amount.is_none();
                }
            }
        }
        let mut cleaned: BTreeMap<String, Ratio> = BTreeMap::new();
        for vessel in vessels(question) {
            let mixed = question.vessel(vessel);
            for (fill, gone, _) in mixed.cleaned.iter().filter(|gone| mixed.fills[gone.0].batch == batch) {
                let Some(gone) = mixed.fills[*fill].in_base(*gone) else {
                    // Of unknown quantity in the batch's own unit.
                    sinks.entry("sink:unexplained".to_owned()).or_default().1 = true;
                    continue;
                };
                let sum = cleaned.entry("sink:unexplained".to_owned()).or_insert(Ratio::ZERO);
                *sum = sum.add(gone).expect("small");
                sinks.entry("sink:unexplained".to_owned()).or_default();
            }
        }
        for (place, (amount, unknown)) in sinks {
            let more = cleaned.get(&place).copied().unwrap_or(Ratio::ZERO);
            let value = settled.measure.value(amount).add(more).expect("small").to_string();
            if value == "0" && !unknown {
                continue;
            }
            all.insert((name.clone(), place.clone()), (value, unknown, false, place, String::new(), String::new()));
        }
    }
    all
}

/// What settlement let in and out of a batch beyond what facts state, in its base unit: from and to nowhere,
/// the differences of counts, suppliers that nobody named, and what mix models took out of vessels.
pub fn beyond_facts(question: &Question<'_>, batch: BatchIx) -> Option<Ratio> {
    let book = question.book();
    let settled = question.settlement(batch);
    let named = |node: Node| match node {
        Node::Place(place) => Some(book.place(place)),
        _ => None,
    };
    let unknown = lotline_domain::id::unknown_party();
    let mut sum = Ratio::ZERO;
    for flow in settled.flows.iter().filter(|flow| flow.in_book()) {
        let (from, to) = (named(flow.from), named(flow.to));
        let made_up = |place: &Option<Place>| match place {
            Some(Place::Sink(Sink::Unexplained)) => true,
            // An adjustment states its difference, a count does not.
            Some(Place::Sink(Sink::Adjustment)) => flow.stated.is_none(),
            _ => false,
        };
        let from_nobody =
            matches!(flow.from, Node::Supply(party) if book.place(party) == Place::Party(unknown.clone()));
        let states_supply = |stated| matches!(book.stated(stated).from.kind(), EndKind::Supply(_));
        let came_back = matches!(from, Some(Place::Party(_))) && flow.stated.is_some_and(states_supply);
        let value = settled.measure.value(flow.amount.unwrap_or(0));
        if from_nobody || made_up(&from) {
            sum = sum.add(value)?;
        } else if made_up(&to) || came_back {
            sum = sum.sub(value)?;
        }
    }
    for vessel in vessels(question) {
        let mixed = question.vessel(vessel);
        let parts = mixed.draws.iter().flat_map(|draw| draw.parts.iter().chain(&draw.paid_later).copied());
        let gone = mixed.cleaned.iter().map(|(fill, amount, _)| (*fill, *amount));
        for (fill, amount) in parts.chain(gone).filter(|(fill, _)| mixed.fills[*fill].batch == batch) {
            sum = sum.sub(mixed.fills[fill].in_base(amount)?)?;
        }
    }
    Some(sum)
}

/// A trace as text.
pub fn traced(question: &Question<'_>, batch: BatchIx, direction: Direction) -> BTreeMap<String, &'static str> {
    let found = trace(question, &[batch], direction);
    found.batches.iter().map(|(batch, tier)| (question.book().batch(*batch).to_string(), tier.word())).collect()
}

/// Reached slices with tier and moment.
pub fn traced_slices(question: &Question<'_>, batch: BatchIx) -> BTreeMap<(String, String), (&'static str, i64)> {
    let found = trace(question, &[batch], Direction::Forward);
    let book = question.book();
    found
        .slices
        .iter()
        .map(|((batch, place), reached)| {
            let tier: Tier = reached.tier();
            let names = (book.batch(*batch).to_string(), book.place(*place).to_string());
            (names, (tier.word(), reached.moment(tier).unwrap_or(i64::MIN)))
        })
        .collect()
}

/// Open discrepancies as (kind, batch, place or run, causing event).
pub fn discrepancies(question: &Question<'_>) -> BTreeSet<(String, String, String, String)> {
    let book = question.book();
    exceptions(question)
        .into_iter()
        .map(|exception| {
            let run = run_of_exception(question, &exception).map(|(run, _)| format!("run:{}", book.run(run)));
            (
                exception.kind.words().to_owned(),
                exception.batch.map(|batch| book.batch(batch).to_string()).unwrap_or_default(),
                exception.place.map(|place| book.place(place).to_string()).or(run).unwrap_or_default(),
                book.event_id_text(exception.cause).to_owned(),
            )
        })
        .collect()
}

/// A row of a scope as text: state, tier, quantity, unknown, ever received and net.
pub type RowText = (String, String, String, bool, Option<(String, String)>);

/// A scope's rows of slices as text, by batch and place.
pub fn scoped(question: &Question<'_>, batch: BatchIx) -> BTreeMap<(String, String), RowText> {
    let book = question.book();
    let found = scope(question, &[batch]);
    let slices = found.rows.iter().filter_map(|row| {
        let (Spot::Place(_), Some(slice)) = (row.spot, row.slice) else { return None };
        let place = book.place(slice);
        if place.is_sink() || matches!(place, Place::Vessel(_)) {
            return None;
        }
        let exposure = row.ever.zip(row.net).map(|(ever, net)| (ever.value.to_string(), net.value.to_string()));
        let (state, tier) = (row.state.words().to_owned(), row.tier.word().to_owned());
        let value = (state, tier, row.quantity.value.to_string(), row.unknown, exposure);
        Some(((book.batch(row.batch?).to_string(), place.to_string()), value))
    });
    slices.collect()
}

/// The number of a batch in a book.
pub fn find(book: &Book, name: &BatchRef) -> Option<BatchIx> {
    book.find_batch(name)
}

/// Bounds of everything known in a book.
pub fn all(book: &Book) -> Bounds {
    Bounds::known(book.head())
}
