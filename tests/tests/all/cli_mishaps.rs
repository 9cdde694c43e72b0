//! What goes wrong around the command line: keyrings, heads and disks that are gone, names that are not whole, and what
//! is said then.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use super::cli_binary::{batch, feed, received, run, ship, verified_events};

fn ledger(folder: &Path, file: &str) -> std::path::PathBuf {
    folder.join("lotline-data/ledger").join(file)
}

#[test]
fn a_lost_keyring_is_not_replaced_unasked() {
    let folder = tempdir().expect("a folder");
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10")).code, 0);
    let (keyring, copy) = (ledger(folder.path(), "keyring"), folder.path().join("copy"));
    fs::rename(&keyring, &copy).expect("moved away");

    let said = run(folder.path(), &["verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("there is no keyring"), "{said:?}");
    let second = received("b", &batch("milk", "M2"), "10");
    for arguments in [&["submit"][..], &["serve"]] {
        let said = feed(folder.path(), arguments, &second);
        assert_eq!(said.code, 5, "{said:?}");
        assert!(
            said.err.contains("keyring of the ledger is missing") && said.err.contains("--new-keyring"),
            "{said:?}"
        );
    }
    assert!(!keyring.exists(), "nothing was made in its place");
    assert_eq!(verified_events(folder.path()), 1);

    // With its copy what came before is known again.
    fs::copy(&copy, &keyring).expect("put back");
    let said = feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10"));
    assert_eq!(said.lines()[0]["answer"], "duplicate", "{said:?}");

    // Without a copy a new one begins when that is asked for, and what was recorded stays.
    fs::remove_file(&keyring).expect("removed");
    assert_eq!(feed(folder.path(), &["submit", "--new-keyring"], &second).code, 0);
    assert_eq!(feed(folder.path(), &["submit"], &received("c", &batch("milk", "M3"), "10")).code, 0);
    assert_eq!(verified_events(folder.path()), 3);
}

#[test]
fn a_ledger_without_its_head_is_damaged_and_not_absent() {
    let folder = tempdir().expect("a folder");
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10")).code, 0);
    fs::remove_file(ledger(folder.path(), "head")).expect("removed");
    for arguments in [&["on-hand"][..], &["verify"], &["submit"]] {
        let said = feed(folder.path(), arguments, "");
        assert_eq!(said.code, 5, "{said:?}");
        assert!(!format!("{}{}", said.out, said.err).contains("begin a new one"), "{said:?}");
    }
}

#[test]
fn a_verification_tells_what_it_proved_before_the_damage() {
    let folder = tempdir().expect("a folder");
    for number in 0..5 {
        let line = received(&format!("e{number}"), &batch("milk", &format!("M{number}")), "10");
        assert_eq!(feed(folder.path(), &["submit"], &line).code, 0);
    }
    let whole = run(folder.path(), &["verify", "--json"]).json();
    let segment = ledger(folder.path(), "segment-00000000000000000001.ledger");
    let bytes = fs::read(&segment).expect("read");
    // In the last commit, behind which zeros stand.
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    let mut damaged = bytes.clone();
    damaged[last] ^= 1;
    fs::write(&segment, &damaged).expect("written");
    let said = run(folder.path(), &["verify", "--json"]);
    assert_eq!(said.code, 5, "{said:?}");
    let answer = said.json();
    assert_eq!((&answer["commits"], &answer["events"]), (&4.into(), &4.into()), "{answer}");
    assert_eq!(answer["ledger"], whole["ledger"]);
    assert_eq!(answer["damage"][0]["commit"], 5, "{answer}");
    fs::write(&segment, &bytes).expect("written");

    // A slot of the head file that a power cut tore loses nothing, and that is said.
    let head = ledger(folder.path(), "head");
    let mut slots = fs::read(&head).expect("read");
    slots[20] ^= 1;
    fs::write(&head, &slots).expect("written");
    let said = run(folder.path(), &["verify"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains("5 commits with 5 events were proven"), "{said:?}");
    assert!(said.out.contains("nothing that was recorded is lost"), "{said:?}");
    assert_eq!(feed(folder.path(), &["submit"], &received("f", &batch("milk", "M9"), "10")).code, 0);
    assert_eq!(verified_events(folder.path()), 6, "who records next mends it");
}

#[test]
fn a_batch_is_found_without_its_issuer_where_only_one_fits() {
    let folder = tempdir().expect("a folder");
    let of = |issuer: &str| format!(r#"{{"item":"milk","code":"M1","issuer":"{issuer}"}}"#);
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &of("farm"), "10")).code, 0);
    let said = run(folder.path(), &["on-hand", "--batch", "milk/M1", "--json"]);
    assert_eq!((said.code, &said.json()["rows"][0]["quantity"]["value"]), (0, &"10".into()), "{said:?}");
    assert_eq!(feed(folder.path(), &["submit"], &received("b", &of("other"), "20")).code, 0);
    let said = run(folder.path(), &["on-hand", "--batch", "milk/M1"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("milk/M1@farm") && said.err.contains("milk/M1@other"), "{said:?}");
}

#[test]
fn nothing_of_what_is_known_is_an_answer_and_what_was_never_heard_of_is_not() {
    let folder = tempdir().expect("a folder");
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("milk", "M1"), "10")).code, 0);
    assert_eq!(run(folder.path(), &["trace", "milk/M1", "--forward"]).code, 0);
    for (arguments, told) in [
        (&["on-hand", "--item", "mlik"][..], "no batch is recorded of an item mlik"),
        (&["on-hand", "--place", "attic"], "nothing is recorded of a place attic"),
    ] {
        let said = run(folder.path(), arguments);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(told), "{said:?}");
    }
    let disposed = r#"{"type":"disposed","id":"d","source":"erp","occurred_at":"2026-03-01T09:00:00+01:00","sink":"destroyed","lines":[{"batch":{"item":"milk","code":"M1"},"quantity":{"value":"10","unit":"KGM"},"from":"dock"}]}"#;
    let said = feed(folder.path(), &["submit"], disposed);
    assert_eq!(said.code, 0, "{said:?}");
    let said = run(folder.path(), &["on-hand", "--place", "dock"]);
    assert_eq!((said.code, said.out.starts_with("Nothing.\n")), (0, true), "{said:?}");
}

#[test]
fn a_history_has_what_was_told_of_a_label() {
    let folder = tempdir().expect("a folder");
    let at = |hour: u32| format!(r#""source":"erp","occurred_at":"2026-03-01T{hour:02}:00:00+01:00""#);
    let lines = [
        received("a", &batch("milk", "M1"), "10"),
        format!(r#"{{"type":"labelled","id":"l",{},"batch":{},"label":"LOT-60"}}"#, at(9), batch("milk", "M1")),
        format!(r#"{{"type":"moved","id":"m",{},"lines":[{{"batch":"LOT-60","from":"dock"}}],"to":"store"}}"#, at(10)),
    ];
    assert_eq!(feed(folder.path(), &["submit"], &lines.join("\n")).code, 0);
    for name in ["milk/M1", "M1", "LOT-60"] {
        let answer = run(folder.path(), &["history", name, "--json"]).json();
        let ids: Vec<&str> =
            answer["rows"].as_array().expect("rows").iter().filter_map(|row| row["fact"]["id"].as_str()).collect();
        assert_eq!(ids, ["a", "l", "m"], "{name}");
    }
}

#[test]
fn a_trace_forward_tells_who_has_what_went_in_containers() {
    let folder = tempdir().expect("a folder");
    let at = |hour: u32| format!(r#""source":"erp","occurred_at":"2026-03-01T{hour:02}:00:00+01:00""#);
    let milk = batch("milk", "M1");
    let lines = [
        received("a", &milk, "10"),
        format!(
            r#"{{"type":"packed","id":"p",{},"container":"P1","lines":[{{"batch":{milk},"quantity":{{"value":"4","unit":"KGM"}},"from":"dock"}}]}}"#,
            at(9)
        ),
        format!(r#"{{"type":"shipped","id":"s",{},"shipment":"SH","to":"party:shop","containers":["P1"]}}"#, at(10)),
        format!(r#"{{"type":"delivered","id":"d",{},"shipment":"SH","to":"shop","containers":["P1"]}}"#, at(11)),
    ];
    let said = feed(folder.path(), &["submit"], &lines.join("\n"));
    assert_eq!(said.code, 0, "{said:?}");
    let answer = run(folder.path(), &["trace", "milk/M1", "--forward", "--json"]).json();
    let received = &answer["nodes"][0]["received_by"];
    assert_eq!(
        (&received[0]["party"], &received[0]["ever_received"]["value"]),
        (&"party:shop".into(), &"4".into()),
        "{answer:#}"
    );
    let table = run(folder.path(), &["trace", "milk/M1", "--forward"]).out;
    assert!(table.contains("received by") && table.contains("party:shop"), "{table}");
}

#[test]
fn an_id_that_came_again_with_other_content_is_a_conflict_of_a_document_too() {
    let event = |quantity: u32| {
        format!(
            r#"{{"type":"ObjectEvent","eventID":"urn:uuid:f8a1b2c3-0000-4000-8000-000000000001","action":"OBSERVE","bizStep":"receiving","eventTime":"2026-03-01T08:00:00+01:00","eventTimeZoneOffset":"+01:00","readPoint":{{"id":"urn:epc:id:sgln:0614141.07346.0"}},"quantityList":[{{"epcClass":"urn:epc:class:lgtin:4012345.012345.A","quantity":{quantity},"uom":"KGM"}}]}}"#
        )
    };
    let folder = tempdir().expect("a folder");
    for (name, quantity) in [("one.json", 1), ("two.json", 2)] {
        fs::write(folder.path().join(name), event(quantity)).expect("written");
    }
    assert_eq!(run(folder.path(), &["capture", "one.json"]).code, 0);
    for arguments in [&["capture", "two.json", "--csv"][..], &["capture", "two.json", "--csv", "--on-error", "proceed"]]
    {
        let said = run(folder.path(), arguments);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("was used before with other content, at position 0"), "{said:?}");
        assert!(said.out.contains("two.json,1,0,0,0,1,0,"), "one conflict: {said:?}");
    }
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() {
    let folder = tempdir().expect("a folder");
    let said = feed(folder.path(), &["submit"], &format!("\u{feff}{}", received("a", &batch("milk", "M1"), "10")));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(verified_events(folder.path()), 1);
    // An intent on it is decided as ever.
    assert_eq!(feed(folder.path(), &["submit"], &ship("s", &batch("milk", "M1"), "4")).code, 0);
}
