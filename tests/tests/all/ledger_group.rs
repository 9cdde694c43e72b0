//! Group commit, and readers beside a writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use lotline_ledger::{
    AppendError, CommitNumber, Entry, GroupError, GroupOptions, GroupWriter, Head, Key, LedgerId, Micros, Options,
    OsStorage, Position, Reader, Receipt, Rejected, VerifyOptions, Writer, verify,
};
use lotline_testkit::disk::FaultyDisk;

const ID: LedgerId = LedgerId::new([4; 16]);
const DIR: &str = "/ledger";

fn entry(thread: u64, number: u64) -> Entry {
    Entry::new([key(thread, number), key(thread, u64::MAX)], &number.to_be_bytes()).expect("within limits")
}

fn key(thread: u64, number: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&thread.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Key::new(bytes)
}

fn options() -> Options {
    Options { segment_bytes: 20_000, ahead_bytes: 2_000, epoch: None }
}

#[test]
fn many_threads_get_each_their_own_events_durable_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let writer = Writer::create(OsStorage::shared(), dir.path(), ID, options()).expect("created");
    let group = GroupWriter::start(writer, GroupOptions::default()).expect("started");
    let (threads, each) = (16, 40);
    let receipts: Vec<Vec<Receipt>> = std::thread::scope(|scope| {
        let group = &group;
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let append = |number| {
                        let entries = (0..=number % 3).map(|part| entry(thread, 3 * number + part));
                        group.append(Micros::new(7), entries.collect()).expect("durable")
                    };
                    (0..each).map(append).collect()
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let reader = group.reader();
    for (thread, receipts) in receipts.iter().enumerate() {
        let mut last = None;
        for (number, receipt) in receipts.iter().enumerate() {
            assert!(Some(receipt.first_position) > last, "out of order");
            last = Some(receipt.first_position);
            assert_eq!(u64::from(receipt.events), number as u64 % 3 + 1);
            for part in 0..u64::from(receipt.events) {
                let wanted = 3 * number as u64 + part;
                let position = receipt.first_position.plus(part);
                let key = key(thread as u64, wanted);
                assert_eq!(reader.positions(&key).expect("sound"), [position]);
                let event = reader.event(position).expect("sound").expect("there");
                assert_eq!(event.payload(), wanted.to_be_bytes());
                assert_eq!(event.commit.number, receipt.commit);
            }
        }
    }
    let events: u64 = receipts.iter().flatten().map(|receipt| u64::from(receipt.events)).sum();
    let head = group.close().expect("no callback panicked").head();
    assert_eq!(head.next_position.get(), events);
    let commits = head.commit.get();
    assert!(commits < threads * each, "{commits} commits: nothing was grouped");
    println!("{} submissions in {commits} commits", threads * each);
    let verified = verify(&OsStorage::shared(), dir.path(), VerifyOptions::default(), |_| {}).expect("sound");
    assert_eq!(verified.head, head);
}

#[test]
fn what_is_submitted_alone_is_a_commit_of_its_own() {
    let disk = FaultyDisk::new();
    let writer = Writer::create(disk.shared(), DIR, ID, options()).expect("created");
    let group = GroupWriter::start(writer, GroupOptions::default()).expect("started");
    // The first callback holds the writer's thread until all others are queued.
    let (release, held) = mpsc::channel::<()>();
    group.submit(Micros::new(1), vec![entry(0, 0)], move |_| held.recv().expect("released")).expect("within limits");
    while group.reader().head().commit.get() == 0 {
        std::thread::yield_now();
    }
    let commits = Arc::new(Mutex::new(Vec::new()));
    for number in 1..=9 {
        let commits = commits.clone();
        let done = move |outcome: Result<Receipt, GroupError>| {
            let receipt = outcome.expect("durable");
            commits.lock().expect("no panic").push(receipt.commit.get());
        };
        let entries = vec![entry(0, number)];
        let alone = number == 4 || number == 5;
        if alone {
            group.submit_alone(Micros::new(1), entries, done).expect("within limits");
        } else {
            group.submit(Micros::new(1), entries, done).expect("within limits");
        }
    }
    release.send(()).expect("the callback waits");
    drop(group);
    assert_eq!(*commits.lock().expect("no panic"), [2, 2, 2, 3, 4, 5, 5, 5, 5]);
}

#[test]
fn a_failed_commit_halts_what_was_decided_after_it() {
    let disk = FaultyDisk::new();
    let writer = Writer::create(disk.shared(), DIR, ID, options()).expect("created");
    let group = GroupWriter::start(writer, GroupOptions::default()).expect("started");
    group.append(Micros::new(1), vec![entry(0, 0)]).expect("durable");
    disk.limit(Some(disk.used()));
    let large = Entry::new([key(0, 1)], &[0; 10_000]).expect("within limits");
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    for entries in [vec![large], vec![entry(0, 2)], vec![entry(0, 3)]] {
        let outcomes = outcomes.clone();
        group
            .submit_alone(Micros::new(1), entries, move |outcome| {
                outcomes.lock().expect("no panic").push(outcome);
            })
            .expect("within limits");
    }
    let halted = group.append(Micros::new(1), vec![entry(0, 4)]).expect_err("halted");
    assert!(matches!(halted, GroupError::Halted), "{halted}");
    {
        let outcomes = outcomes.lock().expect("no panic");
        assert_eq!(outcomes.len(), 3);
        let full = outcomes[0].as_ref().expect_err("the disk is full");
        assert!(matches!(full, GroupError::Append(AppendError::DiskFull(_))), "{full}");
        for outcome in &outcomes[1..] {
            assert!(matches!(outcome, Err(GroupError::Halted)), "{outcome:?}");
        }
    }
    disk.limit(None);
    group.resume();
    let receipt = group.append(Micros::new(1), vec![entry(0, 5)]).expect("durable");
    assert_eq!((receipt.commit.get(), receipt.first_position), (2, Position::new(1)));
}

#[test]
fn what_cannot_fit_is_refused_at_the_door_and_a_closed_writer_says_so() {
    let disk = FaultyDisk::new();
    let writer = Writer::create(disk.shared(), DIR, ID, options()).expect("created");
    let group = GroupWriter::start(writer, GroupOptions { queue_bytes: 1 }).expect("started");
    let refused = group.submit(Micros::new(1), vec![], |_| panic!("must not be called"));
    assert_eq!(refused, Err(Rejected::NoEvents));
    for number in 0..10 {
        // Each waits for room, for the queue takes one byte.
        group.submit(Micros::new(1), vec![entry(0, number)], drop).expect("within limits");
    }
    let reader = group.reader();
    let mut writer = group.close().expect("no callback panicked");
    assert_eq!(reader.head().next_position.get(), 10);
    writer.append(Micros::new(1), &[entry(0, 10)]).expect("the writer is mine again");
}

#[test]
fn readers_beside_a_writer_see_only_whole_chained_commits_and_all_of_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::create(OsStorage::shared(), dir.path(), ID, options()).expect("created");
    let commits = 600;
    let inside = writer.reader();
    let outside = Reader::open(OsStorage::shared(), dir.path()).expect("opened");
    let looks = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in [inside.clone(), outside.clone(), outside] {
            let looks = &looks;
            scope.spawn(move || {
                let mut head = Head::empty(ID);
                let mut frames = reader.frames(CommitNumber::new(1));
                while head.commit.get() < commits {
                    let limit = Duration::from_secs(60);
                    let seen = reader.wait_beyond(head.commit, limit).expect("sound");
                    assert!(seen.commit > head.commit, "nothing new for a minute");
                    for frame in frames.by_ref() {
                        let frame = frame.expect("whole");
                        head.check(frame.header()).expect("chained");
                        head = head.after(frame.header(), frame.hash());
                    }
                    assert!(head.commit >= seen.commit);
                    // Whatever is seen can be found by its key.
                    let last = Position::new(head.next_position.get() - 1);
                    let event = reader.event(last).expect("sound").expect("there");
                    let key = event.view().keys().next().expect("a key");
                    assert!(reader.positions(&key).expect("sound").contains(&last));
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..commits {
            writer.append(Micros::new(1), &[entry(1, number)]).expect("durable");
        }
    });
    assert_eq!(inside.head(), writer.head());
    let looks = looks.into_inner();
    assert!(looks > 10, "only {looks} looks: the readers were not beside the writer");
}

#[test]
fn a_ledger_can_be_verified_beside_its_writer() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::create(OsStorage::shared(), dir.path(), ID, options()).expect("created");
    for number in 0..200 {
        writer.append(Micros::new(1), &[entry(1, number)]).expect("durable");
    }
    let mut last = None;
    let verified = verify(&OsStorage::shared(), dir.path(), VerifyOptions::default(), |progress| {
        last = Some(progress);
    })
    .expect("sound");
    assert!(verified.beside_writer);
    assert_eq!(verified.head, writer.head());
    let last = last.expect("progress was told");
    assert_eq!((last.head.commit.get(), last.head.next_position.get()), (200, 200));
    drop(writer);
    let verified = verify(&OsStorage::shared(), dir.path(), VerifyOptions::default(), |_| {}).expect("sound");
    assert!(!verified.beside_writer);
}
