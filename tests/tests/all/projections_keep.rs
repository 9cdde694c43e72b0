//! Law 6: a read model is a pure function of the ledger, wherever it was kept in between.

use std::fs;
use std::path::Path;

use lotline_domain::book::{BatchIx, Bounds};
use lotline_domain::fact::Event;
use lotline_domain::settle::Settler;
use lotline_domain::time::CommitNo;
use lotline_projections::{ApplyError, Checkpoints, Doubt, LedgerId, OpenError, ReadModel, ReadModelKind, SaveError};
use lotline_testkit::generate::plant;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use crate::projections_feed::{Feed, LEDGER, apply, digest, fed, feed, hash};

fn events(seed: u64) -> Vec<Event> {
    plant(seed).commands.into_iter().map(|command| command.event).collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn open(folder: &Path, kind: ReadModelKind) -> ReadModel {
    ReadModel::open(folder, kind, LEDGER).expect("the folder opens")
}

/// Copies files and folders, the lock aside.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if entry.file_name() != "lock" {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[derive(Debug, Clone)]
struct Schedule {
    seed: u64,
    /// Sizes of commits.
    sizes: Vec<usize>,
    /// After each commit: save, restart, both or nothing.
    steps: Vec<(bool, bool)>,
    kind: ReadModelKind,
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let sizes = proptest::collection::vec(0usize..6, 1..4).prop_map(|mut sizes| {
        sizes.push(1);
        sizes
    });
    let steps = proptest::collection::vec((any::<bool>(), proptest::bool::weighted(0.3)), 1..20);
    let kind = proptest::sample::select(ReadModelKind::ALL.to_vec());
    (0u64..100_000, sizes, steps, kind).prop_map(|(seed, sizes, steps, kind)| Schedule { seed, sizes, steps, kind })
}

#[test]
fn restarts_saves_and_commit_sizes_do_not_show_in_the_digest() {
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    runner
        .run(&schedules(), |schedule| {
            let events = events(schedule.seed);
            let one_by_one = feed(&events, &[1]);
            let feed = feed(&events, &schedule.sizes);
            let folder = folder();
            let mut model = open(folder.path(), schedule.kind);
            let mut saved = 0;
            for (at, (meta, events)) in feed.iter().enumerate() {
                if meta.number.0 > model.cursor().number.0 {
                    model.apply(*meta, events).expect("it follows");
                }
                let (save, restart) = schedule.steps[at % schedule.steps.len()];
                if save {
                    model.save().expect("saved");
                    saved = model.cursor().number.0;
                }
                if restart {
                    drop(model);
                    model = open(folder.path(), schedule.kind);
                    assert!(model.doubt().is_none(), "{:?}", model.doubt());
                    assert_eq!(model.cursor().number.0, saved, "what was saved, no more and no less");
                    apply(&mut model, &feed[..=at]);
                }
            }
            assert_eq!(model.digest(), digest(schedule.kind, &one_by_one), "against a rebuilt one");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_loaded_book_is_the_folded_book() {
    for seed in 0..40 {
        let feed = feed(&events(seed), &[1, 3, 0, 2]);
        let folder = folder();
        let kind = ReadModelKind::ALL[seed as usize % 3];
        let mut model = open(folder.path(), kind);
        let half = feed.len() / 2;
        apply(&mut model, &feed[..half]);
        model.save().expect("saved");
        drop(model);
        let mut loaded = open(folder.path(), kind);
        assert_eq!(loaded.cursor().number.0, half as u64);
        assert_eq!(apply(&mut loaded, &feed), feed.len() - half, "only the commits after its cursor");
        let folded = fed(kind, &feed);
        assert_eq!(loaded.book().mark(), folded.book().mark(), "seed {seed}");
        for known in 0..=feed.len() as u64 {
            let (mine, theirs) =
                (Settler::new(loaded.book(), CommitNo(known)), Settler::new(folded.book(), CommitNo(known)));
            for batch in (0..u32::try_from(folded.book().batch_count()).expect("few")).map(BatchIx) {
                assert_eq!(mine.settle(batch, i64::MAX), theirs.settle(batch, i64::MAX), "seed {seed}, {known}");
            }
            assert_eq!(loaded.recorded_at(CommitNo(known)), folded.recorded_at(CommitNo(known)));
        }
        assert_eq!(loaded.digest(), folded.digest(), "seed {seed}");
    }
}

#[test]
fn kinds_have_digests_of_their_own_and_different_plants_differ() {
    let feeds: Vec<Feed> = (0..6).map(|seed| feed(&events(seed), &[1])).collect();
    let mut seen = std::collections::BTreeSet::new();
    for feed in &feeds {
        for kind in ReadModelKind::ALL {
            assert!(seen.insert(digest(kind, feed)), "two models share a digest");
        }
    }
}

/// What a copy of the folder, made at any moment, opens to: a saved state, whole.
#[test]
fn a_copy_of_the_folder_at_any_moment_holds_a_saved_state_or_nothing() {
    let kind = ReadModelKind::Recall;
    let feed = feed(&events(3), &[2]);
    let folder = folder();
    let copies = tempfile::tempdir().expect("a folder");
    let mut model = open(folder.path(), kind);
    let mut saved = vec![0];
    for (at, (meta, events)) in feed.iter().enumerate() {
        model.apply(*meta, events).expect("it follows");
        if at % 3 == 0 {
            model.save().expect("saved");
            saved.push(model.cursor().number.0);
        }
        copy(folder.path(), &copies.path().join(at.to_string()));
    }
    for at in 0..feed.len() {
        let model = open(&copies.path().join(at.to_string()), kind);
        let number = model.cursor().number.0;
        assert!(model.doubt().is_none(), "{:?}", model.doubt());
        assert_eq!(Some(&number), saved.iter().rev().find(|number| **number <= at as u64 + 1));
        assert_eq!(model.digest(), digest(kind, &feed[..usize::try_from(number).expect("few")]));
    }
}

/// Damages a copy of a saved folder and checks that what opens is whole, or in doubt and empty.
fn check_damaged(original: &Path, kind: ReadModelKind, feed: &Feed, damage: impl FnOnce(&Path)) -> bool {
    let copied = folder();
    copy(original, copied.path());
    damage(copied.path());
    let mut model = open(copied.path(), kind);
    let doubted = model.doubt().is_some();
    let number = usize::try_from(model.cursor().number.0).expect("few commits");
    if doubted {
        assert_eq!(number, 0, "in doubt, so it begins anew");
    }
    assert_eq!(model.digest(), digest(kind, &feed[..number]), "what opened is what the cursor says");
    apply(&mut model, feed);
    model.save().expect("saved");
    drop(model);
    let model = open(copied.path(), kind);
    assert!(model.doubt().is_none(), "after a rebuild all is well: {:?}", model.doubt());
    assert_eq!(model.digest(), digest(kind, feed));
    doubted
}

#[test]
fn a_damaged_byte_is_found_or_changes_nothing() {
    let kind = ReadModelKind::Inventory;
    let feed = feed(&(0..12).flat_map(events).collect::<Vec<_>>(), &[5]);
    let original = folder();
    let mut model = open(original.path(), kind);
    for upto in [feed.len() / 3, feed.len() / 2, feed.len()] {
        apply(&mut model, &feed[..upto]);
        model.save().expect("saved");
    }
    drop(model);
    let mut doubted = 0;
    let mut cases = 0;
    for file in files(&original.path().join("pages")) {
        let name = file.strip_prefix(original.path()).expect("below").to_owned();
        let bytes = fs::read(&file).expect("a file");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for nth in 0..60 {
            let at = nth * used / 60;
            if used == 0 {
                break;
            }
            cases += 1;
            doubted += usize::from(check_damaged(original.path(), kind, &feed, |copied| {
                let mut bytes = bytes.clone();
                let length = bytes.len();
                for byte in &mut bytes[at..(at + 3).min(length)] {
                    *byte ^= 0x5a;
                }
                fs::write(copied.join(&name), bytes).expect("written");
            }));
        }
        for nth in 0..12 {
            cases += 1;
            doubted += usize::from(check_damaged(original.path(), kind, &feed, |copied| {
                fs::write(copied.join(&name), &bytes[..nth * used / 12]).expect("written");
            }));
        }
    }
    println!("{doubted} of {cases} damaged folders were thrown away with a reason");
    assert!(doubted * 4 > cases, "{doubted} of {cases}: most of the files is in use");
}

#[test]
fn a_cursor_that_the_ledger_does_not_have_is_thrown_away_with_its_pages() {
    let kind = ReadModelKind::Genealogy;
    let feed = feed(&events(1), &[1]);
    for (at_cursor, ahead) in [(None, true), (Some(hash(9, feed.len() as u64)), false)] {
        let folder = folder();
        let mut model = open(folder.path(), kind);
        apply(&mut model, &feed);
        model.save().expect("saved");
        assert!(model.check_against(Some(hash(1, feed.len() as u64))).expect("checked").is_none());
        let cursor = model.cursor();
        match model.check_against(at_cursor).expect("cleared") {
            Some(Doubt::AheadOfLedger { cursor: found }) if ahead => assert_eq!(*found, cursor),
            Some(Doubt::OtherChain { cursor: found }) if !ahead => assert_eq!(*found, cursor),
            other => panic!("{other:?}"),
        }
        assert_eq!(model.cursor().number.0, 0);
        drop(model);
        let mut model = open(folder.path(), kind);
        assert_eq!(model.cursor().number.0, 0, "its pages are gone, too");
        apply(&mut model, &feed);
        assert_eq!(model.digest(), digest(kind, &feed));
    }
}

#[test]
fn a_folder_of_another_ledger_or_kind_is_built_anew() {
    let feed = feed(&events(2), &[4]);
    let folder = folder();
    let mut model = open(folder.path(), ReadModelKind::Recall);
    apply(&mut model, &feed);
    model.save().expect("saved");
    drop(model);
    let other = ReadModel::open(folder.path(), ReadModelKind::Recall, LedgerId([8; 16])).expect("opens");
    assert!(matches!(other.doubt(), Some(Doubt::OtherLedger { found }) if *found == LEDGER), "{:?}", other.doubt());
    drop(other);
    let mut model = open(folder.path(), ReadModelKind::Recall);
    assert_eq!(model.cursor().number.0, 0, "thrown away for good");
    apply(&mut model, &feed);
    model.save().expect("saved");
    drop(model);
    let other = open(folder.path(), ReadModelKind::Genealogy);
    assert!(matches!(other.doubt(), Some(Doubt::OtherKind)), "{:?}", other.doubt());
}

#[test]
fn a_folder_in_use_is_refused_and_left_alone() {
    let feed = feed(&events(2), &[4]);
    let folder = folder();
    let mut model = open(folder.path(), ReadModelKind::Recall);
    apply(&mut model, &feed);
    model.save().expect("saved");
    let second = ReadModel::open(folder.path(), ReadModelKind::Recall, LEDGER);
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
    drop(model);
    assert_eq!(open(folder.path(), ReadModelKind::Recall).cursor().number.0, feed.len() as u64);
}

#[test]
fn a_broken_chain_is_refused_and_nothing_of_it_applied() {
    let kind = ReadModelKind::Inventory;
    let feed = feed(&events(4), &[2]);
    let mut model = fed(kind, &feed[..5]);
    let before = model.digest();
    let (next, events) = &feed[5];
    let mut left_out = feed[6].clone();
    assert!(matches!(model.apply(left_out.0, &left_out.1), Err(ApplyError::ChainBroken { at, .. }) if at.0 == 7));
    left_out.0.number = CommitNo(5);
    assert!(matches!(model.apply(left_out.0, &left_out.1), Err(ApplyError::ChainBroken { .. })), "applied before");
    let mut other = *next;
    other.prev_hash = hash(9, 5);
    let error = model.apply(other, events).expect_err("another chain");
    assert!(matches!(error, ApplyError::ChainBroken { .. }), "{error}");
    let error = model.apply(*next, &feed[6].1).expect_err("events of another commit");
    assert!(matches!(error, ApplyError::ForeignEvent { .. }), "{error}");
    assert_eq!(model.digest(), before);
    model.apply(*next, events).expect("the right one follows");
}

#[test]
fn a_save_that_fails_leaves_the_model_whole_and_the_next_one_writes_everything() {
    let kind = ReadModelKind::Recall;
    let feed = feed(&events(5), &[2]);
    let folder = folder();
    let mut model = open(folder.path(), kind);
    apply(&mut model, &feed[..4]);
    // Where sled wants a folder stands a file.
    fs::write(folder.path().join("pages"), "in the way").expect("written");
    let error = model.save().expect_err("no store there");
    assert!(matches!(error, SaveError::Store { .. }), "{error}");
    apply(&mut model, &feed);
    model.save().expect("the file was cleared away");
    drop(model);
    let model = open(folder.path(), kind);
    assert!(model.doubt().is_none(), "{:?}", model.doubt());
    assert_eq!(model.digest(), digest(kind, &feed));
}

#[test]
fn checkpoints_save_when_they_are_due_and_not_before() {
    let feed = feed(&events(6), &[2]);
    let folder = folder();
    let mut model = open(folder.path(), ReadModelKind::Recall);
    let checkpoints = Checkpoints { commits: 4, events: 1_000 };
    let mut saves = 0;
    for (meta, events) in &feed {
        model.apply(*meta, events).expect("it follows");
        saves += usize::from(model.save_when_due(checkpoints).expect("saved"));
        assert!(model.unsaved_commits() < 4);
    }
    assert_eq!(saves, feed.len() / 4);
    drop(model);
    let model = open(folder.path(), ReadModelKind::Recall);
    assert_eq!(model.cursor().number.0, (feed.len() / 4 * 4) as u64);
    assert_eq!(model.known_at(crate::engine::recorded_at(3).0).0, 3, "recorded times come back");
}

#[test]
fn an_empty_ledger_has_a_digest_and_bounds_beyond_the_head_count_as_the_head() {
    let model = ReadModel::in_memory(ReadModelKind::Inventory, LEDGER);
    assert_eq!(model.digest(), digest(ReadModelKind::Inventory, &[]));
    let feed = feed(&events(7), &[1]);
    let model = fed(ReadModelKind::Inventory, &feed);
    let question = model.question(Bounds::known(CommitNo(1_000_000)));
    assert_eq!(question.bounds().known.0, feed.len() as u64);
}
