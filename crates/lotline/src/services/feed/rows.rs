//! What feeds tell: the rows of each, with their keys and what their subjects are filtered by.

use std::collections::BTreeMap;

use lotline_domain::book::{BatchIx, Book, PlaceIx, PlaceKind, RunIx};
use lotline_domain::command::Amount as DomainAmount;
use lotline_domain::fact::RunKind;
use lotline_domain::id::BatchRef;
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::{Mark, Node, Settled};
use lotline_domain::time::{CommitNo, Instant};
use lotline_projections::{self as engine, Dependents, Part, Question, ReadModel, ReadModelKind, State};
use lotline_wire::answer::{Amount, ExceptionRow, OnHandRow, Run, Tier, instant};
use lotline_wire::channel::token;
use lotline_wire::feed::{EdgeKind, EdgeRow, EdgeWay, StatusRow};
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::answer;
use crate::answer::on_hand::{Tree, row};

/// A feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedKind {
    /// What is on hand.
    OnHand,
    /// Its state and its holds.
    Status,
    /// What of it has an expiry date.
    Expiring,
    /// What went into runs and vessels, and came out of them.
    Edges,
    /// Open discrepancies.
    Exceptions,
}

impl FeedKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::OnHand, Self::Status, Self::Expiring, Self::Edges, Self::Exceptions];

    /// Its name, in subjects, streams and buckets.
    pub fn word(self) -> &'static str {
        match self {
            Self::OnHand => "on-hand",
            Self::Status => "status",
            Self::Expiring => "expiring",
            Self::Edges => "edges",
            Self::Exceptions => "exceptions",
        }
    }

    /// The read model that knows.
    pub fn model(self) -> ReadModelKind {
        match self {
            Self::OnHand | Self::Status | Self::Expiring => ReadModelKind::Inventory,
            Self::Edges => ReadModelKind::Genealogy,
            Self::Exceptions => ReadModelKind::Recall,
        }
    }

    /// What its rows are looked at by: batches, and for discrepancies what else they may be found in.
    pub fn parts(self, question: &Question<'_>) -> Vec<Part> {
        if self == Self::Exceptions {
            return engine::parts(question);
        }
        let count = u32::try_from(question.book().batch_count()).expect("fewer than 2^32 batches");
        (0..count).map(|batch| Part::Batch(BatchIx(batch))).collect()
    }

    /// Those of them that may be others at a commit than at an earlier one; `None` where that is any.
    pub fn touched(
        self,
        dependents: &Dependents,
        model: &ReadModel,
        since: CommitNo,
        until: CommitNo,
    ) -> Option<Vec<Part>> {
        if self == Self::Exceptions {
            return dependents.touched_parts(model, since, until);
        }
        Some(dependents.touched(model, since, until)?.into_iter().map(Part::Batch).collect())
    }
}

/// A row of any feed. The commit that it is as of is no part of what it says: it is 0 until it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Row {
    OnHand(OnHandRow),
    Status(StatusRow),
    Edge(EdgeRow),
    Exception(ExceptionRow),
}

impl Row {
    /// The row as of a commit.
    pub fn known(mut self, commit: CommitNo) -> Self {
        let known = match &mut self {
            Self::OnHand(row) => &mut row.as_known_at,
            Self::Status(row) => &mut row.as_known_at,
            Self::Edge(row) => &mut row.as_known_at,
            Self::Exception(row) => &mut row.as_known_at,
        };
        *known = commit.0;
        self
    }
}

/// A row with what its subject and its causes need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub row: Row,
    /// What it is filtered by.
    pub tokens: [String; 3],
    /// The batch that it is of, and where that is.
    pub of: (Option<BatchIx>, Option<PlaceIx>),
}

/// Rows by their keys.
pub type Rows = BTreeMap<String, Kept>;

/// The rows of a feed within the bounds of a question that one part has.
pub fn rows_of(kind: FeedKind, question: &Question<'_>, tree: &Tree, part: Part) -> Rows {
    match (kind, part) {
        (FeedKind::Exceptions, part) => exceptions(question, tree, part),
        (FeedKind::OnHand, Part::Batch(batch)) => on_hand(question, tree, batch, |found| {
            Some((Row::OnHand(row(question.book(), found, None, 0)), share(found)))
        }),
        (FeedKind::Status, Part::Batch(batch)) => on_hand(question, tree, batch, |found| {
            let OnHandRow { batch, place, container, state, holds, .. } = row(question.book(), found, None, 0);
            let row = StatusRow { batch, place, container, state, holds, as_known_at: 0 };
            (!found.by_model).then_some((Row::Status(row), ""))
        }),
        (FeedKind::Expiring, Part::Batch(batch)) => expiring(question, tree, batch),
        (FeedKind::Edges, Part::Batch(batch)) => edges(question, batch),
        _ => Rows::new(),
    }
}

fn site(book: &Book, tree: &Tree, place: Option<PlaceIx>) -> String {
    place.and_then(|place| tree.site(book, place)).map_or_else(String::new, |site| book.place(site).to_string())
}

/// Inside the walls and on the way.
fn on_hand(
    question: &Question<'_>,
    tree: &Tree,
    batch: BatchIx,
    told: impl Fn(&engine::OnHand) -> Option<(Row, &'static str)>,
) -> Rows {
    let book = question.book();
    let found = engine::slices_of(question, batch).into_iter().filter(|found| found.state != State::AtParty);
    let rows = found.filter_map(|found| {
        let (row, end) = told(&found)?;
        let [item, own @ ..] = named(Some(&book.batch(batch)));
        let (site, place) = (site(book, tree, found.place), book.place(found.slice).to_string());
        let key = key([&site, &item].into_iter().chain(&own).chain([&place])) + end;
        Some((key, Kept { row, tokens: [site, item, place], of: (Some(batch), Some(found.slice)) }))
    });
    rows.collect()
}

/// What distinguishes the key of what a mix model says.
fn share(found: &engine::OnHand) -> &'static str {
    if found.by_model { ".share" } else { "" }
}

/// What is there and has a date. The day is part of the key: what is good until another day leaves the one subject
/// and comes to the other.
fn expiring(question: &Question<'_>, tree: &Tree, batch: BatchIx) -> Rows {
    let book = question.book();
    if question.expiries(batch).is_empty() {
        return Rows::new();
    }
    let there =
        |found: &engine::OnHand| found.state != State::AtParty && (found.unknown || found.amount.value > Ratio::ZERO);
    let rows = engine::slices_of(question, batch).into_iter().filter(there).filter_map(|found| {
        let day = found.expires?.day.to_string();
        let [item, own @ ..] = named(Some(&book.batch(batch)));
        let (site, place) = (site(book, tree, found.place), book.place(found.slice).to_string());
        let key = key([&site, &item, &day].into_iter().chain(&own).chain([&place])) + share(&found);
        let row = Row::OnHand(row(book, &found, None, 0));
        Some((key, Kept { row, tokens: [site, item, day], of: (Some(batch), Some(found.slice)) }))
    });
    rows.collect()
}

/// A key of texts, each a token.
fn key<'t>(texts: impl IntoIterator<Item = &'t String>) -> String {
    texts.into_iter().map(|text| token(text)).collect::<Vec<_>>().join(".")
}

/// Item, code, issuer and generation.
fn named(batch: Option<&BatchRef>) -> [String; 4] {
    match batch {
        Some(BatchRef::Known(id)) => {
            let issuer = id.issuer.as_ref().map_or_else(String::new, ToString::to_string);
            [id.item.to_string(), id.code.to_string(), issuer, id.generation.0.to_string()]
        }
        Some(BatchRef::Code(code)) => [String::new(), code.to_string(), String::new(), String::new()],
        None => [const { String::new() }; 4],
    }
}

/// A run or a vessel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hub {
    Run(RunIx),
    Vessel(PlaceIx),
}

/// The flows of a batch into and out of runs and vessels, those of each together.
fn edges(question: &Question<'_>, batch: BatchIx) -> Rows {
    let book = question.book();
    let hub = |node| match node {
        Node::Run(run) => Some(Hub::Run(run)),
        Node::Place(place) => (book.place_kind(place) == PlaceKind::Vessel).then_some(Hub::Vessel(place)),
        Node::Supply(_) => None,
    };
    let settled = question.settlement(batch);
    let mut found: FxHashMap<(Hub, EdgeWay), Vec<&Settled>> = FxHashMap::default();
    for flow in &settled.flows {
        for (node, way) in [(flow.to, EdgeWay::In), (flow.from, EdgeWay::Out)] {
            if let Some(hub) = hub(node) {
                found.entry((hub, way)).or_default().push(flow);
            }
        }
    }
    let rows = found.into_iter().map(|((hub, way), flows)| {
        let (kind, run, vessel) = match hub {
            Hub::Run(run) => (kind_of(question.run(run).kind), Some(Run::from(&book.run(run))), None),
            Hub::Vessel(vessel) => (EdgeKind::Vessel, None, Some(book.place(vessel).to_string())),
        };
        let in_book = flows.iter().filter(|flow| flow.in_book());
        let sum = in_book.map(|flow| flow.amount).try_fold(0_i128, |sum, amount| sum.checked_add(amount?));
        let measure = &settled.measure;
        let amount = sum.map(|sum| Amount::from(DomainAmount { value: measure.value(sum), unit: measure.base }));
        let is_certain = flows.iter().any(|flow| flow.mark == Mark::Plain);
        let moments = || flows.iter().map(|flow| flow.at);
        let mut events: Vec<String> = flows.iter().map(|flow| book.event_id_text(flow.fact).to_owned()).collect();
        events.sort();
        events.dedup();
        let hub = run.as_ref().map(|run| format!("{}/{}#{}", run.source, run.name, run.generation));
        let hub = hub.or_else(|| vessel.clone()).unwrap_or_default();
        let [item, own @ ..] = named(Some(&book.batch(batch)));
        let words = [kind.word().to_owned(), way.word().to_owned()];
        let key = key([&words[0], &item].into_iter().chain(&own).chain([&words[1], &hub]));
        let row = EdgeRow {
            kind,
            way,
            batch: answer::batch(book, batch),
            run,
            vessel,
            quantity: amount,
            tier: if is_certain { Tier::Certain } else { Tier::Possible },
            first: instant(Instant(moments().min().unwrap_or_default())),
            last: instant(Instant(moments().max().unwrap_or_default())),
            events,
            as_known_at: 0,
        };
        let [kind, way] = words;
        (key, Kept { row: Row::Edge(row), tokens: [kind, item, way], of: (Some(batch), None) })
    });
    rows.collect()
}

fn kind_of(kind: RunKind) -> EdgeKind {
    match kind {
        RunKind::Production => EdgeKind::Production,
        RunKind::Split => EdgeKind::Split,
        RunKind::Merge => EdgeKind::Merge,
        RunKind::Repack => EdgeKind::Repack,
    }
}

/// The discrepancies of a part that last.
fn exceptions(question: &Question<'_>, tree: &Tree, part: Part) -> Rows {
    let book = question.book();
    let found = engine::exceptions_of_part(question, part).into_iter().filter(|found| found.until.is_none());
    let rows = found.map(|found| {
        let row = answer::exceptions::row(question, &found, None, 0);
        let at = found.place.and_then(|place| question.settler().place_at(place, question.as_of()));
        let [item, own @ ..] = named(found.batch.map(|batch| book.batch(batch)).as_ref());
        let (site, kind) = (site(book, tree, at), row.kind.clone());
        let place = row.place.clone().unwrap_or_default();
        let key = key([&site, &item, &kind].into_iter().chain(&own).chain([&place, &row.cause]));
        (key, Kept { row: Row::Exception(row), tokens: [site, item, kind], of: (found.batch, found.place) })
    });
    rows.collect()
}
