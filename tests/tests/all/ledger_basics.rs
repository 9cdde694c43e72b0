//! The ledger through its public door, on the real file system.

use std::path::Path;
use std::time::Duration;

use lotline_ledger::{
    AppendError, CommitNumber, Entry, Head, Key, LedgerId, MAX_EVENTS, Micros, OpenError, Options, OsStorage, Position,
    Reader, Receipt, Rejected, Writer,
};

const ID: LedgerId = LedgerId::new([7; 16]);

/// Segments so small that a few commits fill one.
fn small() -> Options {
    Options { segment_bytes: 2_000, ahead_bytes: 512, epoch: None }
}

fn create(dir: &Path) -> Writer {
    Writer::create(OsStorage::shared(), dir, ID, small()).expect("a new ledger")
}

fn open(dir: &Path) -> Writer {
    Writer::open(OsStorage::shared(), dir, small()).expect("an existing ledger")
}

fn key(number: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Key::new(bytes)
}

/// Event `number` carries its own key, and one that it shares with every third.
fn entry(number: u64) -> Entry {
    let shared = key(1_000_000 + number % 3);
    Entry::new([key(number), shared], format!("event {number}").as_bytes()).expect("within limits")
}

/// Appends one commit of `events` events that continue the numbering of `entry`.
fn append(writer: &mut Writer, events: u64) -> Receipt {
    let first = writer.head().next_position.get();
    let entries: Vec<Entry> = (first..first + events).map(entry).collect();
    writer.append(Micros::new(1_000), &entries).expect("appended")
}

fn fill(writer: &mut Writer, commits: u64) {
    for commit in 0..commits {
        append(writer, 1 + commit % 4);
    }
}

/// Every way to read agrees with what was appended.
fn check_reads(reader: &Reader) {
    let head = reader.head();
    let mut at = Head::empty(ID);
    for frame in reader.frames(CommitNumber::new(1)) {
        let frame = frame.expect("sound");
        at.check(frame.header()).expect("the chain goes on");
        at = at.after(frame.header(), frame.hash());
        let alone = reader.frame(at.commit).expect("sound").expect("there");
        assert_eq!(alone.bytes(), frame.bytes());
        let time = frame.header().recorded_at;
        assert_eq!(reader.last_commit_at(time).expect("sound"), at.commit);
        let before = Micros::new(time.get() - 1);
        assert_eq!(reader.last_commit_at(before).expect("sound").get(), at.commit.get() - 1);
    }
    assert_eq!(at, head);
    for number in 0..head.next_position.get() {
        let position = Position::new(number);
        let event = reader.event(position).expect("sound").expect("there");
        assert_eq!(event.payload(), format!("event {number}").as_bytes());
        assert_eq!(event.position(), position);
        assert_eq!(reader.positions(&key(number)).expect("sound"), [position]);
    }
    for rest in 0..3 {
        let expected: Vec<Position> =
            (0..head.next_position.get()).filter(|n| n % 3 == rest).map(Position::new).collect();
        assert_eq!(reader.positions(&key(1_000_000 + rest)).expect("sound"), expected);
    }
    assert!(reader.event(head.next_position).expect("sound").is_none());
    assert!(reader.frame(head.commit.next()).expect("sound").is_none());
    assert!(reader.positions(&key(u64::MAX)).expect("sound").is_empty());
}

#[test]
fn what_was_appended_is_read_back_by_number_position_key_and_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = create(dir.path());
    let reader = writer.reader();
    check_reads(&reader);
    for _ in 0..10 {
        fill(&mut writer, 7);
        check_reads(&reader);
    }
    let segments = std::fs::read_dir(dir.path())
        .expect("a folder")
        .filter(|entry| {
            let name = entry.as_ref().expect("a file").file_name();
            name.to_string_lossy().ends_with(".ledger")
        })
        .count();
    assert!(segments > 3, "only {segments} segments: the test does not reach sealed ones");
}

#[test]
fn a_reopened_ledger_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = create(dir.path());
    fill(&mut writer, 30);
    let head = writer.head();
    writer.close().expect("closed");
    for (round, drop_without_close) in [true, false, true].into_iter().enumerate() {
        let mut writer = open(dir.path());
        assert_eq!(writer.recovery(), &lotline_ledger::Recovery::default());
        assert_eq!(writer.head().commit.get(), 30 + 5 * round as u64);
        assert_eq!(writer.epoch().get(), 2 + round as u64);
        fill(&mut writer, 5);
        check_reads(&writer.reader());
        if !drop_without_close {
            writer.close().expect("closed");
        }
    }
    assert!(open(dir.path()).head().next_position > head.next_position);
}

#[test]
fn recording_times_strictly_increase_whatever_the_clock_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = create(dir.path());
    let mut times = Vec::new();
    for now in [50, 50, 40, 90, -5] {
        times.push(writer.append(Micros::new(now), &[entry(0)]).expect("appended").recorded_at.get());
    }
    assert_eq!(times, [50, 51, 52, 90, 91]);
}

#[test]
fn the_second_writer_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().expect("a folder");
    let writer = create(dir.path());
    let error = Writer::open(OsStorage::shared(), dir.path(), small()).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    drop(writer);
    open(dir.path());
}

#[test]
fn creating_twice_and_opening_nothing_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = Writer::open(OsStorage::shared(), dir.path(), small()).expect_err("nothing there");
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    let missing = dir.path().join("missing");
    let error = Writer::open(OsStorage::shared(), &missing, small()).expect_err("nothing there");
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    let error = Reader::open(OsStorage::shared(), dir.path()).expect_err("nothing there");
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    drop(create(dir.path()));
    let error = Writer::create(OsStorage::shared(), dir.path(), ID, small()).expect_err("there is one");
    assert!(matches!(error, OpenError::Exists { .. }), "{error}");
}

#[test]
fn what_is_over_a_limit_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = create(dir.path());
    let before = std::fs::read(dir.path().join("segment-00000000000000000001.ledger")).expect("read");
    let refused = |result: Result<Receipt, AppendError>| match result {
        Err(AppendError::Rejected(rejected)) => rejected,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refused(writer.append(Micros::new(1), &[])), Rejected::NoEvents);
    let many = vec![entry(1); MAX_EVENTS + 1];
    assert!(matches!(
        refused(writer.append(Micros::new(1), &many)),
        Rejected::TooManyEvents { found: 4_097, limit: 4_096 }
    ));
    let half = Entry::new([key(1)], &[0; 450_000]).expect("within limits");
    assert!(matches!(
        refused(writer.append(Micros::new(1), &[half.clone(), half])),
        Rejected::TooLarge { limit: 900_000, .. }
    ));
    assert_eq!(Entry::new([], b"x"), Err(Rejected::NoKeys));
    assert!(matches!(Entry::new([key(1)], &[0; 900_000]), Err(Rejected::TooLarge { .. })));
    let keys = (0..5_000).map(key);
    assert!(matches!(Entry::new(keys, b"x"), Err(Rejected::TooManyKeys { found: 5_000, .. })));
    let after = std::fs::read(dir.path().join("segment-00000000000000000001.ledger")).expect("read");
    assert_eq!(before, after);
    append(&mut writer, 1);
}

#[test]
fn the_largest_commit_fits() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = create(dir.path());
    append(&mut writer, 2);
    let most = Entry::new([key(9)], &vec![1; 900_000 - 100 - 4 - 2 - 16]).expect("exactly fits");
    writer.append(Micros::new(1), &[most]).expect("appended");
    let entries: Vec<Entry> = (0..MAX_EVENTS as u64).map(entry).collect();
    let receipt = writer.append(Micros::new(1), &entries).expect("appended");
    assert_eq!((receipt.commit.get(), receipt.first_position.get(), receipt.events), (3, 3, 4096));
    drop(writer);
    let writer = open(dir.path());
    assert_eq!(writer.head().next_position.get(), 4_099);
    let last = writer.reader().event(Position::new(4_098)).expect("sound").expect("there");
    assert_eq!(last.payload(), b"event 4095");
}

#[test]
fn a_reader_of_another_process_sees_what_is_acknowledged_and_follows() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = create(dir.path());
    fill(&mut writer, 10);
    let reader = Reader::open(OsStorage::shared(), dir.path()).expect("opened beside the writer");
    check_reads(&reader);
    assert_eq!(reader.head(), writer.head());
    // Over several seals, with many and with no commits in between.
    for commits in [1, 0, 40, 3, 100] {
        fill(&mut writer, commits);
        assert_eq!(reader.refresh().expect("sound"), writer.head());
        check_reads(&reader);
    }
    let head = reader.wait_beyond(writer.head().commit, Duration::from_millis(5)).expect("sound");
    assert_eq!(head, writer.head());
}

#[test]
fn frames_of_one_ledger_build_a_byte_identical_copy() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let mut writer = create(dirs[0].path());
    fill(&mut writer, 50);
    let mut copy = create(dirs[1].path());
    for frame in writer.reader().frames(CommitNumber::new(1)) {
        copy.append_frame(frame.expect("sound").bytes()).expect("continues");
    }
    assert_eq!(copy.head(), writer.head());
    writer.close().expect("closed");
    copy.close().expect("closed");
    let mut names: Vec<_> =
        std::fs::read_dir(dirs[0].path()).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    names.sort();
    assert!(names.len() > 6);
    for name in names {
        let [one, two] = [0, 1].map(|at| std::fs::read(dirs[at].path().join(&name)).expect("read"));
        assert!(one == two, "{name:?} differs");
    }
}

#[test]
fn a_frame_that_does_not_fit_is_refused_and_changes_nothing() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let mut writer = create(dirs[0].path());
    fill(&mut writer, 3);
    let frames: Vec<Vec<u8>> =
        writer.reader().frames(CommitNumber::new(1)).map(|frame| frame.expect("sound").into_bytes()).collect();
    let mut copy = create(dirs[1].path());
    copy.append_frame(&frames[0]).expect("continues");
    let head = copy.head();
    let mut flipped = frames[1].clone();
    flipped[120] ^= 1;
    let mut longer = frames[1].clone();
    longer.push(0);
    for wrong in [&frames[0], &frames[2], &flipped, &longer, &frames[1][..50].to_vec()] {
        let error = copy.append_frame(wrong).expect_err("does not fit");
        assert!(matches!(error, AppendError::Rejected(_)), "{error}");
        assert_eq!(copy.head(), head);
    }
    copy.append_frame(&frames[1]).expect("continues");
}

#[test]
fn a_watch_is_told_of_each_commit_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = create(dir.path());
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = seen.clone();
    let reader = writer.reader();
    let id = reader.watch(move |head| into.lock().expect("not poisoned").push(head.commit.get()));
    fill(&mut writer, 20);
    reader.unwatch(id);
    fill(&mut writer, 1);
    assert_eq!(*seen.lock().expect("not poisoned"), (1..=20).collect::<Vec<u64>>());
}
