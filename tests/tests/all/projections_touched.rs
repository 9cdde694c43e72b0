//! What a commit touched: every batch whose rows are others behind it, found by comparing all of them.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::book::{BatchIx, Bounds, EndKind, PlaceIx, PlaceKind};
use lotline_domain::command::Amount;
use lotline_domain::fact::Event;
use lotline_domain::settle::{Exception, Node, Settled};
use lotline_domain::time::CommitNo;
use lotline_projections::{
    Dependents, OnHand, Part, ReadModel, ReadModelKind, exceptions, exceptions_of_part, parts, run_of_exception,
    slices_of,
};
use lotline_testkit::generate::plant;

use crate::projections_feed::{LEDGER, feed};

/// The slices of a batch, and its flows through runs and vessels.
type Rows = (Vec<OnHand>, Vec<Settled>);

fn rows(model: &ReadModel, known: CommitNo) -> BTreeMap<BatchIx, Rows> {
    let question = model.question(Bounds::known(known));
    let book = model.book();
    let hub = |node| match node {
        Node::Run(_) => true,
        Node::Place(place) => book.place_kind(place) == PlaceKind::Vessel,
        Node::Supply(_) => false,
    };
    let count = u32::try_from(book.batch_count()).expect("few batches");
    let of = |batch| {
        let settled = question.settlement(batch);
        let flows = settled.flows.iter().filter(|flow| hub(flow.from) || hub(flow.to)).copied().collect();
        (slices_of(&question, batch), flows)
    };
    (0..count).map(BatchIx).map(|batch| (batch, of(batch))).collect()
}

/// Plants of many kinds; commits of one event and of several, looked at one by one and some at a time.
#[test]
fn what_differs_behind_a_commit_was_touched_by_it() {
    let (mut differed, mut touched_in_all, mut compared, mut unknown, mut steps) = (0, 0, 0, 0, 0);
    for seed in 0..600 {
        let events: Vec<Event> = plant(seed).commands.into_iter().map(|command| command.event).collect();
        let feed = feed(&events, &[1, 1, 3]);
        let mut model = ReadModel::in_memory(ReadModelKind::Inventory, LEDGER);
        let mut dependents = Dependents::default();
        let mut since = CommitNo(0);
        let mut before = BTreeMap::new();
        for (meta, events) in &feed {
            model.apply(*meta, events).expect("it follows");
            let until = meta.number;
            if seed % 3 == 0 && until.0 % 4 != 0 {
                continue;
            }
            let touched = dependents.touched(&model, since, until);
            let now = rows(&model, until);
            steps += 1;
            let differ: Vec<BatchIx> = now
                .iter()
                .filter(|(batch, rows)| {
                    before.get(*batch).is_none_or(|before| before != *rows)
                        && !(rows.0.is_empty() && rows.1.is_empty() && !before.contains_key(*batch))
                })
                .map(|(batch, _)| *batch)
                .collect();
            match &touched {
                None => unknown += 1,
                Some(touched) => {
                    for batch in &differ {
                        let name = model.book().batch(*batch);
                        assert!(
                            touched.contains(batch),
                            "seed {seed}: {name} differs between {} and {}",
                            since.0,
                            until.0
                        );
                    }
                    differed += differ.len();
                    touched_in_all += touched.len();
                    compared += now.len();
                }
            }
            let question = model.question(Bounds::known(until));
            for batch in touched.unwrap_or_else(|| now.keys().copied().collect()) {
                dependents.note(&question, batch);
            }
            drop(question);
            (since, before) = (until, now);
        }
    }
    println!(
        "{steps} steps, {unknown} of them any batch; of {compared} rows {touched_in_all} touched, {differed} differed"
    );
    assert!(unknown * 3 < steps, "master data is not what most commits change");
    assert!(differed > 1_000, "{differed}");
    // The plants are small and their holds wide: even so most batches are left alone.
    assert!(touched_in_all * 2 < compared, "{touched_in_all} of {compared}");
}

/// What is told of the discrepancies of a part: where each one's place stands, and by how much its run does not balance.
type Discrepancies = Vec<(Exception, Option<PlaceIx>, Option<Amount>)>;

fn discrepancies(model: &ReadModel, known: CommitNo) -> BTreeMap<Part, Discrepancies> {
    let question = model.question(Bounds::known(known));
    let stands = |found: &Exception| question.settler().place_at(found.place?, question.as_of());
    let balance = |found: &Exception| run_of_exception(&question, found).and_then(|(_, amount)| amount);
    let of = |part| {
        let found = exceptions_of_part(&question, part).into_iter();
        found.map(|found| (found.clone(), stands(&found), balance(&found))).collect()
    };
    parts(&question).into_iter().map(|part| (part, of(part))).collect()
}

#[test]
fn discrepancies_that_differ_behind_a_commit_are_of_parts_that_were_touched_by_it() {
    let (mut differed, mut touched_in_all, mut compared) = (0, 0, 0);
    let mut kinds = BTreeSet::new();
    for seed in 0..600 {
        let events: Vec<Event> = plant(seed).commands.into_iter().map(|command| command.event).collect();
        let feed = feed(&events, &[1, 1, 3]);
        let mut model = ReadModel::in_memory(ReadModelKind::Recall, LEDGER);
        let mut dependents = Dependents::default();
        let mut since = CommitNo(0);
        let mut before: BTreeMap<Part, Discrepancies> = BTreeMap::new();
        for (meta, events) in &feed {
            model.apply(*meta, events).expect("it follows");
            let until = meta.number;
            if seed % 3 == 0 && until.0 % 4 != 0 {
                continue;
            }
            let touched = dependents.touched_parts(&model, since, until);
            let now = discrepancies(&model, until);
            let question = model.question(Bounds::known(until));
            let in_parts: BTreeSet<_> = now.values().flatten().map(|(found, ..)| format!("{found:?}")).collect();
            let whole: BTreeSet<_> = exceptions(&question).iter().map(|found| format!("{found:?}")).collect();
            assert_eq!(in_parts, whole, "seed {seed} at {}", until.0);
            kinds.extend(now.values().flatten().map(|(found, ..)| found.kind.words()));
            if let Some(touched) = &touched {
                for (part, found) in &now {
                    let old = before.get(part).map_or(&[][..], Vec::as_slice);
                    if old != found {
                        differed += 1;
                        assert!(
                            touched.contains(part),
                            "seed {seed}: {part:?} differs between {} and {}: {old:?}, {found:?}",
                            since.0,
                            until.0
                        );
                    }
                }
                touched_in_all += touched.len();
                compared += now.len();
            }
            for part in touched.unwrap_or_else(|| now.keys().copied().collect()) {
                if let Part::Batch(batch) = part {
                    dependents.note(&question, batch);
                }
            }
            drop(question);
            (since, before) = (until, now);
        }
    }
    println!("of {compared} parts {touched_in_all} touched, {differed} differed; {kinds:?}");
    assert!(differed > 1_000, "{differed}");
    assert!(kinds.len() > 20, "{kinds:?}");
    assert!(touched_in_all * 2 < compared, "{touched_in_all} of {compared}");
}

#[test]
fn plants_have_what_rows_follow_from_besides_their_own_facts() {
    let (mut stations, mut runs, mut bare) = (0, 0, 0);
    for seed in 0..80 {
        let events: Vec<Event> = plant(seed).commands.into_iter().map(|command| command.event).collect();
        let model = crate::projections_feed::fed(ReadModelKind::Inventory, &feed(&events, &[8]));
        let book = model.book();
        let count = u32::try_from(book.batch_count()).expect("few batches");
        bare += usize::from(book.has_pseudo());
        for flow in (0..count).map(BatchIx).flat_map(|batch| book.flows_of_batch(batch)) {
            let row = book.stated(flow);
            for end in [row.from.kind(), row.to.kind()] {
                match end {
                    EndKind::Run(_) => runs += 1,
                    EndKind::Place(place) if book.place_kind(place) != PlaceKind::Location => stations += 1,
                    _ => {}
                }
            }
        }
    }
    assert!(stations > 100 && runs > 100 && bare > 8, "{stations} {runs} {bare}");
}
