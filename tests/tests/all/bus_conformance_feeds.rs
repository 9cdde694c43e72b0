//! Feeds, over NATS and in this process: steps told and kept, resumed, and told by two at once.

use lotline_bus::{Bus, Change, Feed, FeedError, Step, Tail, Trouble};
use lotline_ledger::CommitNumber;
use lotline_wire::channel;
use lotline_wire::feed::{AsOf, read_as_of};

use super::bus_conformance::{LEDGER, on_both, stored};

const FEED: &str = "on-hand";

fn stream() -> String {
    channel::feed_stream(&LEDGER.to_string(), FEED)
}

fn step(since: u64, commit: u64) -> Step {
    let commit_of = CommitNumber::new;
    Step { since: commit_of(since), commit: commit_of(commit), hash: format!("hash-{commit}") }
}

/// Changes of keys, each to a value that tells its commit; without a commit to nothing.
fn changes(keys: &[&str], commit: Option<u64>) -> Vec<Change> {
    let change = |key: &&str| Change {
        tokens: ["site.1".to_owned(), (*key).to_owned(), "*".to_owned()],
        key: (*key).to_owned(),
        body: format!("{key} at {commit:?}").into_bytes(),
        value: commit.map(|commit| format!("{key} as of {commit}").into_bytes()),
    };
    keys.iter().map(change).collect()
}

fn open(bus: &Bus) -> Feed {
    bus.feed(LEDGER, FEED).expect("made")
}

/// What a bucket has of a key.
fn value(bus: &Bus, key: &str) -> Option<(String, String)> {
    let bucket = channel::feed_bucket(&LEDGER.to_string(), FEED);
    let found = bus.stored_last(&format!("KV_{bucket}"), &format!("$KV.{bucket}.{key}")).expect("told")?;
    let commit = found.header("Lotline-Commit").expect("its commit").to_owned();
    let gone = found.header("KV-Operation") == Some("DEL");
    Some((commit, if gone { "gone".to_owned() } else { String::from_utf8(found.body).expect("text") }))
}

#[track_caller]
fn has(bus: &Bus, key: &str, commit: u64, text: &str) {
    assert_eq!(value(bus, key), Some((commit.to_string(), text.to_owned())), "{key}");
}

fn as_of(bus: &Bus) -> Option<AsOf> {
    let (_, text) = value(bus, "as-of")?;
    read_as_of(text.as_bytes())
}

#[test]
fn a_step_is_told_and_kept_and_the_next_follows_it() {
    on_both(|server| {
        let bus = server.bus();
        let mut feed = open(&bus);
        assert_eq!((feed.tail().expect("told"), feed.as_of().expect("told")), (None, None));
        feed.tell(step(0, 2), changes(&["a", "b", "c"], Some(2)), 0).expect("told");
        feed.tell(step(2, 3), changes(&["b"], Some(3)), 0).expect("told");
        feed.tell(step(3, 5), changes(&["a"], None), 0).expect("told");
        feed.settled().expect("kept");

        has(&bus, "a", 5, "gone");
        has(&bus, "b", 3, "b as of 3");
        has(&bus, "c", 2, "c as of 2");
        let ledger = LEDGER.to_string();
        let expected = AsOf { ledger: ledger.clone(), commit: 5, commit_hash: "hash-5".to_owned(), sequence: 5 };
        assert_eq!(as_of(&bus), Some(expected.clone()));
        assert_eq!(feed.as_of().expect("told"), Some(expected));
        let bodies = ["a at Some(2)", "b at Some(2)", "c at Some(2)", "b at Some(3)", "a at None"];
        assert_eq!(stored(&bus, &stream()), bodies.map(|text| text.as_bytes().to_vec()));

        let second = bus.stored(&stream(), 2).expect("told").expect("it is there");
        assert_eq!(second.subject, format!("lotline.{ledger}.on-hand.site_2E1.b._2A"), "escaped");
        let headers = ["Lotline-Since", "Lotline-Commit", "Lotline-Commit-Hash", "Lotline-Step", "Nats-Msg-Id"];
        let told = headers.map(|name| second.header(name).unwrap_or_default());
        assert_eq!(told, ["0", "2", "hash-2", "2/3", "0.2.2"]);
        let tail = feed.tail().expect("told").expect("a last change");
        assert_eq!((tail.sequence, tail.number, tail.of, tail.is_whole()), (5, 1, 1, true));
    });
}

#[test]
fn a_step_that_was_begun_is_ended_without_gap_or_repeat() {
    on_both(|server| {
        let bus = server.bus();
        let mut feed = open(&bus);
        feed.tell(step(0, 1), changes(&["a"], Some(1)), 0).expect("told");
        drop(feed);
        // As a feeder leaves it that was killed behind its second message.
        for at in 1..=2 {
            let key = ["a", "b", "c", "d"][at - 1];
            let subject = channel::feed_subject(&LEDGER.to_string(), FEED, ["site_2E1", key, "_2A"]);
            let headers = [
                ("Lotline-Since", "1".to_owned()),
                ("Lotline-Commit", "4".to_owned()),
                ("Lotline-Commit-Hash", "hash-4".to_owned()),
                ("Lotline-Step", format!("{at}/4")),
                ("Nats-Msg-Id", format!("1.4.{at}")),
            ];
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            bus.put(&subject, &headers, format!("{key} at Some(4)").as_bytes()).expect("stored");
        }
        let mut feed = open(&server.bus());
        let tail = feed.tail().expect("told").expect("a last change");
        let expected = Tail {
            sequence: 3,
            since: CommitNumber::new(1),
            commit: CommitNumber::new(4),
            hash: "hash-4".to_owned(),
            number: 2,
            of: 4,
        };
        assert_eq!((&tail, tail.is_whole(), tail.whole_sequence()), (&expected, false, 1));
        assert_eq!(as_of(&bus).map(|as_of| as_of.sequence), Some(1), "no more than it has");

        feed.tell(step(1, 4), changes(&["a", "b", "c", "d"], Some(4)), tail.number).expect("told");
        feed.settled().expect("kept");
        let bodies = ["a at Some(1)", "a at Some(4)", "b at Some(4)", "c at Some(4)", "d at Some(4)"];
        assert_eq!(stored(&bus, &stream()), bodies.map(|text| text.as_bytes().to_vec()));
        for key in ["a", "b", "c", "d"] {
            has(&bus, key, 4, &format!("{key} as of 4"));
        }
        assert_eq!(as_of(&bus).map(|as_of| (as_of.commit, as_of.sequence)), Some((4, 5)));
    });
}

#[test]
fn two_feeders_get_into_each_others_way_and_neither_comes_to_harm() {
    on_both(|server| {
        let bus = server.bus();
        let (mut one, mut other) = (open(&bus), open(&server.bus()));
        assert_eq!((one.tail().expect("told"), other.tail().expect("told")), (None, None));
        one.tell(step(0, 1), changes(&["a", "b"], Some(1)), 0).expect("told");
        one.settled().expect("kept");
        let moved = other.tell(step(0, 1), changes(&["a", "b"], Some(1)), 0);
        assert!(matches!(moved, Err(FeedError::Moved)), "{moved:?}");
        assert_eq!(other.tail().expect("told").map(|tail| tail.sequence), Some(2));
        other.tell(step(1, 2), changes(&["a"], Some(2)), 0).expect("told");
        other.settled().expect("kept");
        let moved = one.tell(step(1, 2), changes(&["a"], Some(2)), 0).and_then(|()| one.settled());
        assert!(matches!(moved, Err(FeedError::Moved)), "{moved:?}");

        // One that is behind brings the bucket nothing that is older than what it has.
        let wanted = changes(&["a", "b", "c"], Some(1)).into_iter().map(|change| (change.key, change.value)).collect();
        one.keep(step(0, 1), wanted, 2, None).expect("kept");
        has(&bus, "a", 2, "a as of 2");
        has(&bus, "b", 1, "b as of 1");
        has(&bus, "c", 1, "c as of 1");
        assert_eq!(as_of(&bus).map(|as_of| (as_of.commit, as_of.sequence)), Some((2, 3)));
        assert_eq!(stored(&bus, &stream()).len(), 3);
    });
}

#[test]
fn a_feed_goes_on_when_the_server_is_back() {
    on_both(|server| {
        let mut feed = open(&server.bus());
        feed.tell(step(0, 1), changes(&["a"], Some(1)), 0).expect("told");
        feed.settled().expect("kept");
        server.go_away();
        let watch = &feed;
        super::bus_server::until("the connection is broken", || (!watch.is_connected()).then_some(()));
        let told = feed.tail();
        assert!(matches!(told, Err(Trouble::Unreachable { .. })), "{told:?}");
        server.come_back();
        super::bus_server::until("the connection is back", || feed.is_connected().then_some(()));
        let tail = super::bus_server::until("the stream is back", || feed.tail().ok());
        assert_eq!(tail.map(|tail| (tail.sequence, tail.is_whole())), Some((1, true)));
        feed.tell(step(1, 2), changes(&["a", "b"], Some(2)), 0).expect("told");
        feed.settled().expect("kept");
        let bus = server.bus();
        assert_eq!(stored(&bus, &stream()).len(), 3);
        has(&bus, "b", 2, "b as of 2");
        assert_eq!(as_of(&bus).map(|as_of| (as_of.commit, as_of.sequence)), Some((2, 3)));
    });
}
