//! Many commands at once: all or nothing, or the good ones; and what stops a handler.

use std::path::Path;
use std::sync::Arc;

use lotline_domain::command::Rule;
use lotline_domain::quantity::Ratio;
use lotline_handler::{CaptureError, Handler, OnError, Options, Outcome, Refusal, Submission, SubmitError};
use lotline_ledger::{AppendError, OsStorage, Storage, VerifyOptions, verify};
use lotline_testkit::disk::{Fault, FaultyDisk};

use crate::handler_plant::{
    accepted, create, create_on, intended, line, line_at, moved, observed, on_hand, options, received, recorded,
    shipped,
};

fn submissions(commands: impl IntoIterator<Item = lotline_domain::command::Command>) -> Vec<Submission> {
    commands.into_iter().map(Submission::from).collect()
}

fn receipts(count: usize) -> Vec<Submission> {
    submissions((0..count).map(|n| observed(&format!("R{n}"), "09T08:00:00", &received(&line("F1", "1"), "dock"))))
}

#[test]
fn rollback_records_all_in_one_commit() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let answers = handler.capture(receipts(1_000), OnError::Rollback).expect("all recorded");
    assert_eq!(answers.len(), 1_000);
    let commits: Vec<u64> =
        answers.iter().map(|answer| answer.as_ref().expect("recorded").receipt().commit.0).collect();
    assert!(commits.iter().all(|commit| *commit == commits[0]), "one commit");
    assert_eq!(on_hand(&handler.reader(), "F1", "dock"), Ratio::whole(1_000));
    let again = handler.capture(receipts(1_000), OnError::Rollback).expect("all are duplicates");
    assert!(again.iter().all(|answer| matches!(answer, Ok(Outcome::Duplicate { rejection: None, .. }))));
    assert_eq!(recorded(&handler.reader()).len(), 1_000);
}

#[test]
fn rollback_records_nothing_when_one_is_refused_and_nothing_is_remembered_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    accepted(handler.submit(observed("R0", "09T07:00:00", &received(&line("F1", "5"), "dock"))));
    let head = handler.reader().head();
    let commands = [
        observed("R1", "09T08:00:00", &received(&line("F1", "50"), "dock")),
        intended("I1", "09T09:00:00", &shipped(&line_at("F1", "55", "dock"), "SH-1")),
        intended("I2", "09T10:00:00", &shipped(&line_at("F1", "1", "dock"), "SH-1")),
    ];
    let error = handler.capture(submissions(commands.clone()), OnError::Rollback).expect_err("55 + 1 of 55");
    let CaptureError::Refused(items) = error else { panic!("{error}") };
    assert!(matches!(&items[..], [None, None, Some(Refusal::Rejected(_))]), "{items:?}");
    assert_eq!(handler.reader().head(), head, "nothing was written");
    // What it had taken on the way is forgotten: 5 are there, not 55, and none was shipped.
    let answer = handler.submit(intended("I3", "09T10:00:00", &shipped(&line_at("F1", "6", "dock"), "SH-1")));
    let Ok(Outcome::Rejected { rejection, .. }) = answer else { panic!("{answer:?}") };
    let Rule::NotEnough { available, .. } = rejection.rule else { panic!("{rejection:?}") };
    assert_eq!(available.to_string(), "5 KGM");
    // Proceed takes the good ones of the same commands.
    let answers = handler.capture(submissions(commands), OnError::Proceed).expect("it proceeds");
    let stand: Vec<bool> = answers.iter().map(|answer| answer.as_ref().expect("answered").stands()).collect();
    assert_eq!(stand, [true, true, false]);
}

#[test]
fn rollback_of_more_than_a_commit_is_refused_before_anything_is_written_and_names_proceed() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let head = handler.reader().head();
    let error = handler.capture(receipts(4_097), OnError::Rollback).expect_err("too many");
    assert!(error.to_string().contains("proceed") && error.to_string().contains("4096"), "{error}");
    assert_eq!(handler.reader().head(), head);
    drop(handler);

    let small = tempfile::tempdir().expect("a folder");
    let (options, _) = options();
    let options = Options { group_bytes: 2_000, ..options };
    let handler = create_on(OsStorage::shared(), small.path(), options);
    let error = handler.capture(receipts(20), OnError::Rollback).expect_err("too large");
    assert!(error.to_string().contains("proceed"), "{error}");
    assert_eq!(handler.reader().head().commit.get(), 0);
    assert_eq!(handler.proceed(receipts(20)).iter().filter(|answer| answer.is_ok()).count(), 20);
    assert!(handler.reader().head().commit.get() > 1, "they need several commits");
}

#[test]
fn proceed_records_exactly_the_good_ones_and_the_ledger_verifies() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let commands = [
        observed("R1", "09T08:00:00", &received(&line("F1", "10"), "dock")),
        observed("R1", "09T08:00:00", &received(&line("F1", "11"), "dock")),
        observed("R1", "09T08:00:00", &received(&line("F1", "10"), "dock")),
        intended("I1", "09T09:00:00", &moved(&line_at("F1", "11", "dock"), "line-1")),
        intended("I2", "09T09:00:00", &moved(&line_at("F1", "10", "dock"), "line-1")),
    ];
    let answers: Vec<Outcome> =
        handler.proceed(submissions(commands)).into_iter().map(|answer| answer.expect("answered")).collect();
    assert!(
        matches!(
            &answers[..],
            [
                Outcome::Accepted(_),
                Outcome::Conflict { .. },
                Outcome::Duplicate { rejection: None, .. },
                Outcome::Rejected { .. },
                Outcome::Accepted(_)
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(on_hand(&handler.reader(), "F1", "line-1"), Ratio::whole(10));
    assert_eq!(recorded(&handler.reader()).len(), 4, "two facts, a conflict, a refusal");
    handler.close().expect("closed");
    let verified = verify(&OsStorage::shared(), dir.path(), VerifyOptions::default(), |_| {});
    assert!(verified.is_ok(), "{verified:?}");
}

#[test]
fn a_thousand_single_observations_share_commits() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let answers = handler.proceed(receipts(1_000));
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Outcome::Accepted(_)))));
    let commits = handler.reader().head().commit.get();
    assert!(commits < 100, "{commits} commits for 1,000 observations");
}

#[test]
fn a_step_of_the_clock_stops_intents_and_not_observations() {
    const MINUTE: i64 = 60_000_000;
    for step in [-6 * MINUTE, 6 * MINUTE] {
        let dir = tempfile::tempdir().expect("a folder");
        let (options, clock) = options();
        let handler = create_on(OsStorage::shared(), dir.path(), options);
        let first = accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "10"), "dock"))));
        let ship = |id: &str| intended(id, "09T09:00:00", &shipped(&line("F1", "1"), "SH-1"));
        accepted(handler.submit(ship("I1")));
        clock.pass(60 * MINUTE);
        accepted(handler.submit(ship("I2")));
        clock.step(step);
        let answer = handler.submit(ship("I3"));
        assert!(matches!(answer, Err(SubmitError::ClockStepped { .. })), "{answer:?}");
        let later = accepted(handler.submit(observed("R2", "09T08:00:00", &received(&line("F1", "10"), "dock"))));
        assert!(later.recorded_at > first.recorded_at, "ledger time goes on");
        handler.accept_clock();
        accepted(handler.submit(ship("I3")));
    }
}

#[test]
fn a_full_house_says_when_to_come_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let (options, _) = options();
    let handler = create_on(OsStorage::shared(), dir.path(), Options { queue: 1, ..options });
    let (block, blocked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let first = observed("R1", "09T08:00:00", &received(&line("F1", "1"), "dock"));
    // The writer's thread waits in the first answer; the house is as full as its queue.
    let answered = handler.submit_with(first, move |answer| {
        let _ = blocked.recv();
        let _ = tell.send(answer);
    });
    answered.expect("there was room");
    let second = observed("R2", "09T08:00:00", &received(&line("F1", "1"), "dock"));
    let busy = handler.submit_with(second, |_| {});
    assert!(matches!(busy, Err(SubmitError::Busy { retry_after }) if !retry_after.is_zero()), "{busy:?}");
    drop(block);
    accepted(told.recv().expect("answered"));
}

#[test]
fn a_disk_that_fails_stops_the_handler_and_nothing_more_is_acknowledged() {
    let dir = Path::new("/plant");
    let disk = FaultyDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let handler = create_on(storage, dir, options().0);
    let receive = |n: usize| observed(&format!("R{n}"), "09T08:00:00", &received(&line("F1", "1"), "dock"));
    let mut acknowledged = 0;
    for n in 0..10 {
        accepted(handler.submit(receive(n)));
        acknowledged += 1;
    }
    disk.plan(disk.operations() + 1, Fault::SyncLost);
    let answers: Vec<_> = (10..40).map(|n| handler.submit(receive(n))).collect();
    for answer in &answers {
        match answer {
            Ok(Outcome::Accepted(_)) => acknowledged += 1,
            Err(SubmitError::Stopped(AppendError::Poisoned(_))) => {}
            other => panic!("neither recorded nor stopped: {other:?}"),
        }
    }
    assert!(matches!(answers.last(), Some(Err(SubmitError::Stopped(_)))), "it stays stopped");
    let intent = handler.submit(intended("I1", "09T09:00:00", &shipped(&line("F1", "1"), "SH-1")));
    assert!(matches!(intent, Err(SubmitError::Stopped(_))), "{intent:?}");
    assert!(matches!(handler.close(), Err(AppendError::Poisoned(_))));
    let storage: Arc<dyn Storage> = Arc::new(disk.after(lotline_testkit::disk::Crash::Lost));
    let opened = Handler::open(storage, dir, options().0).expect("it opens again");
    assert!(recorded(&opened.reader()).len() >= acknowledged, "what was acknowledged is there");
}
