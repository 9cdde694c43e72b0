//! What a batch went into, or came from.

use lotline_domain::book::{BatchIx, Book};
use lotline_domain::command::Amount as DomainAmount;
use lotline_domain::settle::Mark;
use lotline_domain::time::Instant;
use lotline_projections::{self as engine, Question};
use lotline_wire::answer::{
    Amount, Direction, Moment, Point, ReceivedBy, Run, Said, SaidKind, Trace, TraceEdge, TraceHub, TraceNode, instant,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{batch, mix_models, moment, nothing_known, tier};
use crate::bounds::Within;
use crate::print::quantity;

/// Answers it, from a trace of the engine.
pub fn answer(question: &Question<'_>, within: &Within, asked: BatchIx, trace: &engine::Trace) -> Trace {
    let book = question.book();
    let mut places: FxHashMap<BatchIx, Vec<Moment>> = FxHashMap::default();
    for ((batch, place), reached) in &trace.slices {
        let sure = reached.tier();
        places.entry(*batch).or_default().push(Moment {
            place: book.place(*place).to_string(),
            tier: tier(sure),
            moment: reached.moment(sure).and_then(moment),
        });
    }
    let mut said = within.said.clone();
    said.extend(nothing_known(question, asked, within.known()));
    said.extend(trace.ambiguous.iter().map(|code| ambiguous(question, *code)));
    said.extend(mix_models(question, trace.vessels.keys().copied()));
    said.extend(residue(book, trace));
    let mut edges: Vec<TraceEdge> = trace.edges.iter().map(|found| edge(question, found)).collect();
    // Equal moments are told in the order of their words, so that the answer does not depend on numbers of rows.
    edges.sort_by_cached_key(|edge| {
        let (amount, batch) = (edge.quantity.as_ref().map(quantity), edge.batch.0.to_string());
        (edge.at.clone(), words(&edge.from), words(&edge.to), batch, edge.event.clone(), amount)
    });
    Trace {
        asked: within.asked.clone(),
        direction: match trace.direction {
            engine::Direction::Forward => Direction::Forward,
            engine::Direction::Back => Direction::Back,
        },
        start: trace.starts.iter().map(|start| batch(book, *start)).collect(),
        nodes: nodes(question, within, trace, places),
        hubs: hubs(book, trace),
        edges,
        said,
    }
}

fn nodes(
    question: &Question<'_>,
    within: &Within,
    trace: &engine::Trace,
    mut places: FxHashMap<BatchIx, Vec<Moment>>,
) -> Vec<TraceNode> {
    let book = question.book();
    let starts: FxHashSet<BatchIx> = trace.starts.iter().copied().collect();
    let residues: FxHashSet<BatchIx> = trace.residues.iter().map(|(_, batch)| *batch).collect();
    let mut received = match trace.direction {
        engine::Direction::Forward => engine::received(question, trace),
        engine::Direction::Back => FxHashMap::default(),
    };
    let by_content =
        |batch: BatchIx| trace.edges.iter().any(|edge| edge.batch == batch && edge.tier == engine::Tier::Certain);
    let reached: FxHashSet<BatchIx> = trace.batches.keys().copied().chain(starts.iter().copied()).collect();
    let mut nodes: Vec<(String, TraceNode)> = reached
        .into_iter()
        .map(|ix| {
            let mut places = places.remove(&ix).unwrap_or_default();
            places.sort_by(|a, b| a.place.cmp(&b.place));
            let start = starts.contains(&ix);
            let sure = if start { engine::Tier::Certain } else { trace.batches[&ix] };
            let node = TraceNode {
                batch: batch(book, ix),
                tier: tier(sure),
                start,
                rework: start && trace.batches.contains_key(&ix),
                residue: residues.contains(&ix) && !by_content(ix),
                ambiguous: trace.ambiguous.contains(&ix) || !question.settler().ambiguous_aliases(ix).is_empty(),
                places,
                received_by: received_by(book, received.remove(&ix).unwrap_or_default()),
                as_of: within.as_of(),
                as_known_at: within.known(),
            };
            (book.batch(ix).to_string(), node)
        })
        .collect();
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    nodes.into_iter().map(|(_, node)| node).collect()
}

fn received_by(book: &Book, found: Vec<engine::ReceivedBy>) -> Vec<ReceivedBy> {
    let mut parties: Vec<ReceivedBy> = found
        .into_iter()
        .map(|known| ReceivedBy {
            party: book.place(known.party).to_string(),
            tier: tier(known.tier),
            moment: moment(known.since),
            ever_received: Amount::from(&known.ever),
            net: Amount::from(&known.net),
            unknown: known.unknown,
        })
        .collect();
    parties.sort_by(|a, b| a.party.cmp(&b.party));
    parties
}

fn hubs(book: &Book, trace: &engine::Trace) -> Vec<TraceHub> {
    let runs = trace.runs.iter().map(|(run, sure)| (engine::Point::Run(*run), *sure));
    let vessels = trace.vessels.iter().map(|(vessel, sure)| (engine::Point::Vessel(*vessel), *sure));
    let mut hubs: Vec<TraceHub> =
        runs.chain(vessels).map(|(at, sure)| TraceHub { hub: point(book, at), tier: tier(sure) }).collect();
    hubs.sort_by_cached_key(|hub| words(&hub.hub));
    hubs
}

fn ambiguous(question: &Question<'_>, code: BatchIx) -> Said {
    let book = question.book();
    let mut candidates: Vec<String> =
        question.settler().ambiguous_candidates(code).into_iter().map(|one| book.batch(one).to_string()).collect();
    candidates.sort();
    Said {
        kind: SaidKind::AmbiguousCode,
        message: format!(
            "records name {} by its code alone, which fits {}; all of them are included as possible",
            book.batch(code),
            candidates.join(", ")
        ),
        batches: question.settler().ambiguous_candidates(code).into_iter().map(|one| batch(book, one)).collect(),
    }
}

fn residue(book: &Book, trace: &engine::Trace) -> Option<Said> {
    let mut batches: Vec<BatchIx> = trace.residues.iter().map(|(_, batch)| *batch).collect();
    batches.sort_unstable();
    batches.dedup();
    (!batches.is_empty()).then(|| Said {
        kind: SaidKind::Residue,
        message: "some contact is only by what stayed in a vessel that was not cleaned in between".to_owned(),
        batches: batches.into_iter().map(|ix| batch(book, ix)).collect(),
    })
}

/// A point of a trace in the answer's form.
pub(crate) fn point(book: &Book, at: engine::Point) -> Point {
    match at {
        engine::Point::Slice(ix, place) => {
            Point::Slice { batch: batch(book, ix), place: book.place(place).to_string() }
        }
        engine::Point::Run(run) => Point::Run { run: Run::from(&book.run(run)) },
        engine::Point::Vessel(vessel) => Point::Vessel { vessel: book.place(vessel).to_string() },
        engine::Point::Supply(party) => Point::Supply { party: book.place(party).to_string() },
        engine::Point::Sink(sink) => Point::Sink { sink: book.place(sink).to_string() },
    }
}

/// A point in words.
pub(crate) fn words(at: &Point) -> String {
    match at {
        Point::Slice { place, .. } => place.clone(),
        Point::Run { run } => format!("run {}", run_words(run)),
        Point::Vessel { vessel } => vessel.clone(),
        Point::Supply { party } => format!("supply of {party}"),
        Point::Sink { sink } => sink.clone(),
    }
}

fn run_words(run: &Run) -> String {
    match run.generation {
        1 => format!("{}:{}", run.source, run.name),
        generation => format!("{}:{}#{generation}", run.source, run.name),
    }
}

/// A step in the answer's form.
pub(crate) fn edge(question: &Question<'_>, found: &engine::Edge) -> TraceEdge {
    let book = question.book();
    let measure = &question.settlement(found.batch).measure;
    let run = [found.from, found.to].into_iter().find_map(|at| match at {
        engine::Point::Run(run) => Some(Run::from(&book.run(run))),
        _ => None,
    });
    TraceEdge {
        from: point(book, found.from),
        to: point(book, found.to),
        batch: batch(book, found.batch),
        run,
        quantity: found
            .flow
            .amount
            .map(|amount| Amount::from(DomainAmount { value: measure.value(amount), unit: measure.base })),
        at: instant(Instant(found.flow.at)),
        tier: tier(found.tier),
        mark: mark(found.flow.mark).map(str::to_owned),
        cleared: (found.tier == engine::Tier::Cleared).then(|| "the slice was empty in between".to_owned()),
        event: Some(book.event_id_text(found.flow.fact).to_owned()),
    }
}

fn mark(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::Plain => None,
        Mark::Assumed => Some("assumed"),
        Mark::Repays => Some("debt"),
        Mark::Link => Some("possible link"),
    }
}
