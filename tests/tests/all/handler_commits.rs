//! What is recorded of commands, when it is acknowledged, and what comes of it a second time.

use lotline_domain::command::{Body, Rule};
use lotline_domain::quantity::Ratio;
use lotline_domain::time::CommitNo;
use lotline_handler::{Handler, LedgerKeys, Options, Outcome};
use lotline_ledger::{CommitNumber, Keyring, OsStorage, VerifyOptions, verify};
use lotline_wire::command::print_command;
use lotline_wire::payload::{StoredOrigin, decode};

use crate::handler_plant::{
    accepted, book, create, intended, line, line_at, moved, observed, on_hand, open, options, received, recorded,
    refused, shipped,
};

#[test]
fn receipts_point_to_what_reads_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let first = observed("R1", "09T08:00:00", &received(&line("F1", "50"), "dock"));
    let second = intended("I1", "09T09:00:00", &moved(&line_at("F1", "20", "dock"), "line-1"));
    let receipts = [accepted(handler.submit(first.clone())), accepted(handler.submit(second.clone()))];
    let reader = handler.reader();
    for (receipt, command) in receipts.iter().zip([&first, &second]) {
        let read = lotline_handler::body_at(&reader, receipt.position).expect("it reads back");
        let Body::Fact { event, decided_on, .. } = &read.body else { panic!("no fact") };
        assert_eq!(event, &command.event);
        assert_eq!(read.commit, receipt.commit);
        assert_eq!(read.recorded_at, receipt.recorded_at);
        let frame = reader.frame(CommitNumber::new(receipt.commit.0)).expect("sound").expect("there");
        assert_eq!(frame.hash(), receipt.hash);
        assert_eq!(*decided_on, (event.id.as_str() == "I1").then_some(CommitNo(1)));
    }
    assert!(receipts[0].recorded_at < receipts[1].recorded_at);
    assert_eq!(on_hand(&reader, "F1", "line-1"), Ratio::whole(20));
}

#[test]
fn a_refusal_says_what_would_fit_and_is_recorded_without_effects() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "50"), "dock"))));
    let rule = refused(handler.submit(intended("I1", "09T09:00:00", &shipped(&line("F1", "60"), "SH-1"))));
    let Rule::NotEnough { available, asked } = rule else { panic!("another rule: {rule:?}") };
    assert_eq!((available.to_string(), asked.to_string()), ("50 KGM".to_owned(), "60 KGM".to_owned()));
    let reader = handler.reader();
    let last = recorded(&reader).pop().expect("a refusal");
    assert!(matches!(last.body, Body::Refused { ref command, .. } if command.as_str() == "I1"));
    assert_eq!(book(&reader).fact_count(), 1);
    assert_eq!(on_hand(&reader, "F1", "dock"), Ratio::whole(50));
}

#[test]
fn the_same_command_gets_its_first_answer_for_ever() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let receive = observed("R1", "09T08:00:00", &received(&line("F1", "50"), "dock"));
    let too_much = intended("I1", "09T09:00:00", &shipped(&line("F1", "60"), "SH-1"));
    let first = accepted(handler.submit(receive.clone()));
    let Ok(Outcome::Rejected { rejection, decided_on, receipt }) = handler.submit(too_much.clone()) else {
        panic!("60 of 50 were shipped")
    };
    // Now it would fit; the first answer stands all the same.
    accepted(handler.submit(observed("R2", "09T08:30:00", &received(&line("F1", "50"), "dock"))));
    let head = handler.reader().head();
    let again = |handler: &Handler| {
        assert_eq!(handler.submit(receive.clone()).expect("answered"), Outcome::Duplicate { first, rejection: None });
        assert_eq!(
            handler.submit(too_much.clone()).expect("answered"),
            Outcome::Duplicate { first: receipt, rejection: Some((rejection.clone(), decided_on)) }
        );
        assert_eq!(handler.reader().head(), head, "nothing was recorded");
    };
    again(&handler);
    handler.close().expect("closed");
    again(&open(dir.path()));
}

#[test]
fn numbers_and_offsets_are_compared_as_values_not_as_text() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "50"), "dock"))));
    let same = observed("R1", "09T08:00:00", &received(&line("F1", "50.000"), "dock"));
    assert!(matches!(handler.submit(same), Ok(Outcome::Duplicate { .. })));
}

#[test]
fn other_content_under_a_known_id_is_a_conflict_that_is_reported_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    let first = accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "100"), "dock"))));
    let other = observed("R1", "09T08:00:00", &received(&line("F1", "120"), "dock"));
    let answer = handler.submit(other.clone()).expect("answered");
    let Outcome::Conflict { first: stands, receipt } = answer.clone() else { panic!("no conflict: {answer:?}") };
    assert_eq!(stands, first);
    let read = lotline_handler::body_at(&handler.reader(), receipt.position).expect("it reads back");
    let Body::Refused { rejection, .. } = read.body else { panic!("no refusal") };
    assert_eq!(rejection.rule, Rule::Conflict { first: first.position });
    let event =
        handler.reader().event(lotline_ledger::Position::new(receipt.position.0)).expect("sound").expect("there");
    let stored = decode(event.payload()).expect("decodes");
    let StoredOrigin::Refused { command } = stored.origin else { panic!("the second content is lost") };
    let ring = Keyring::open(OsStorage::shared(), dir.path(), handler.reader().ledger()).expect("a keyring");
    let kept = command.open_text(&LedgerKeys(ring)).expect("opens").plain();
    assert_eq!(kept, Some(print_command(&other)), "both contents are kept");
    let head = handler.reader().head();
    assert_eq!(handler.submit(other.clone()).expect("answered"), answer, "the same conflict is the same answer");
    handler.close().expect("closed");
    let handler = open(dir.path());
    assert_eq!(handler.submit(other).expect("answered"), answer);
    assert_eq!(handler.reader().head(), head);
    assert_eq!(on_hand(&handler.reader(), "F1", "dock"), Ratio::whole(100));
}

/// 64 intents of 1 kg each on 50 kg, from 64 threads.
fn fifty_of_sixty_four(group_events: usize, named: bool) {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options { group_events, ..options().0 };
    let handler = Handler::create(OsStorage::shared(), dir.path(), options).expect("a new ledger");
    accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "50"), "dock"))));
    let commits_before = handler.reader().head().commit.get();
    let answers: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|n| {
                let handler = &handler;
                let one = if named { line_at("F1", "1", "dock") } else { line("F1", "1") };
                scope.spawn(move || {
                    let intent = intended(&format!("I{n}"), "10T11:00:00", &shipped(&one, "SH-1"));
                    handler.submit(intent).expect("answered")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let accepted = answers.iter().filter(|answer| matches!(answer, Outcome::Accepted(_))).count();
    let short = |answer: &&Outcome| matches!(answer, Outcome::Rejected { rejection, .. } if matches!(rejection.rule, Rule::NotEnough { .. }));
    assert_eq!((accepted, answers.iter().filter(short).count()), (50, 14));
    let commits = handler.reader().head().commit.get() - commits_before;
    if group_events == 1 {
        assert_eq!(commits, 64);
    } else {
        assert!(commits < 64, "{commits} commits for 64 concurrent intents");
    }
    assert_eq!(on_hand(&handler.reader(), "F1", "dock"), Ratio::ZERO);
    assert_eq!(on_hand(&handler.reader(), "F1", "transit:SH-1"), Ratio::whole(50));
}

#[test]
fn of_64_concurrent_intents_of_1_kg_on_50_kg_exactly_50_pass_in_large_groups() {
    fifty_of_sixty_four(4_096, true);
    fifty_of_sixty_four(4_096, false);
}

#[test]
fn of_64_concurrent_intents_of_1_kg_on_50_kg_exactly_50_pass_in_many_groups() {
    fifty_of_sixty_four(1, true);
    fifty_of_sixty_four(3, false);
}

#[test]
fn one_group_of_64_intents_accepts_exactly_50() {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = create(dir.path());
    accepted(handler.submit(observed("R1", "09T08:00:00", &received(&line("F1", "50"), "dock"))));
    let intents = (0..64).map(|n| intended(&format!("I{n}"), "10T11:00:00", &shipped(&line("F1", "1"), "SH-1")).into());
    let answers = handler.proceed(intents.collect::<Vec<_>>());
    let accepted = answers.iter().filter(|answer| matches!(answer, Ok(Outcome::Accepted(_)))).count();
    assert_eq!(accepted, 50);
    assert!(handler.reader().head().commit.get() <= 3, "they shared commits");
    let report = verify(&OsStorage::shared(), dir.path(), VerifyOptions::default(), |_| {});
    assert!(report.is_ok(), "{report:?}");
}
