//! A writer in a process of its own, killed again and again on the real file system.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lotline_ledger::{
    CommitNumber, Entry, Key, LedgerId, Micros, OpenError, Options, OsStorage, Reader, VerifyOptions, Writer, verify,
};
use lotline_testkit::disk::Draw;

/// Where it is set, this program is the child that appends there.
const DIR: &str = "LOTLINE_TEST_KILL_DIR";
const TEST: &str = "two_hundred_kills_lose_nothing_acknowledged";

fn options() -> Options {
    Options { segment_bytes: 30_000, ahead_bytes: 4_000, epoch: None }
}

fn open(dir: &Path) -> Writer {
    match Writer::open(OsStorage::shared(), dir, options()) {
        Err(OpenError::NotFound { .. }) => {
            Writer::create(OsStorage::shared(), dir, LedgerId::new([3; 16]), options()).expect("created")
        }
        other => other.expect("opened"),
    }
}

fn append_until_killed(dir: &Path) -> ! {
    let mut writer = open(dir);
    let mut out = std::io::stdout().lock();
    loop {
        let payload = (writer.head().commit.get() + 1).to_be_bytes();
        let entry = Entry::new([Key::new([1; 16])], &payload.repeat(20)).expect("within limits");
        let receipt = writer.append(Micros::new(1), &[entry]).expect("durable");
        assert_eq!(receipt.commit, writer.head().commit);
        writeln!(out, "acknowledged {}", receipt.commit).expect("the parent listens");
    }
}

#[test]
fn two_hundred_kills_lose_nothing_acknowledged() {
    if let Some(dir) = std::env::var_os(DIR) {
        append_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut draw = Draw::new(11);
    let mut acknowledged = 0;
    for cycle in 0..200 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([TEST, "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let patience = Instant::now();
        let mut wanted = draw.below(20);
        let mut note = |line: &str| {
            let number = line.split("acknowledged ").nth(1).and_then(|number| number.parse().ok());
            acknowledged = acknowledged.max(number.unwrap_or(0));
            u64::from(number.is_some())
        };
        while wanted > 0 {
            let line = lines.next().expect("the child lives").expect("text");
            wanted -= note(&line);
            assert!(patience.elapsed() < Duration::from_secs(60), "the child appends nothing");
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        // What it had said before it died counts, too; its last line may be cut.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        for line in rest.iter().take(rest.len().saturating_sub(1)) {
            note(line);
        }
        check(dir.path(), acknowledged, cycle);
    }
    println!("{acknowledged} commits acknowledged over 200 kills");
    assert!(acknowledged > 200);
}

fn check(dir: &Path, acknowledged: u64, cycle: u64) {
    if acknowledged == 0 {
        // Perhaps killed before the ledger was made.
        return;
    }
    match verify(&OsStorage::shared(), dir, VerifyOptions::default(), |_| {}) {
        // Killed in the middle of a write: the next opening cuts what is torn.
        Err(OpenError::Damaged(_)) => {}
        verified => {
            let verified = verified.expect("readable");
            assert!(verified.head.commit.get() >= acknowledged, "cycle {cycle}");
        }
    }
    let reader = Reader::open(OsStorage::shared(), dir).expect("readable");
    assert!(reader.head().commit.get() >= acknowledged, "cycle {cycle}: the head file lags");
    // Everything now and then, the newest always.
    let first = if cycle % 20 == 19 { 1 } else { acknowledged.saturating_sub(50).max(1) };
    for number in first..=acknowledged {
        let frame = reader.frame(CommitNumber::new(number)).expect("sound").expect("there");
        let event = frame.events().next().expect("one event");
        assert_eq!(event.payload(), number.to_be_bytes().repeat(20));
    }
}
