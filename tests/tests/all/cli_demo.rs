//! The demo tells nothing that its own folder does not answer.

use std::collections::BTreeMap;
use std::path::Path;

use lotline_domain::quantity::{Ratio, parse_decimal};
use serde_json::Value;
use tempfile::tempdir;

use super::cli_binary::run;

fn demo(folder: &Path, seed: &str) -> String {
    let said = run(folder, &["demo", "--seed", seed, "--days", "14", "--dir", "dairy"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out
}

fn ask(folder: &Path, arguments: &[&str]) -> Value {
    let said = run(folder, &[arguments, &["--dir", "dairy", "--json"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.json()
}

fn rows(answer: &Value) -> &Vec<Value> {
    answer["rows"].as_array().expect("rows")
}

/// The text as one line, for what is broken over two.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands between two pieces of a text.
#[track_caller]
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no «{before}» in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no «{after}» behind «{before}» in {rest}")).0
}

#[track_caller]
fn count(text: &str, before: &str, after: &str) -> usize {
    let found = between(text, before, after);
    found.parse().unwrap_or_else(|_| panic!("{found} is no number"))
}

/// The number that stands right before a piece of a text.
#[track_caller]
fn count_before(text: &str, after: &str) -> usize {
    let (before, _) = text.split_once(after).unwrap_or_else(|| panic!("no «{after}» in {text}"));
    let word = before.rsplit(' ').next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// Sums of what is inside, by item, from the answer's own rows.
fn sums(on_hand: &Value) -> BTreeMap<String, Ratio> {
    let mut sums = BTreeMap::new();
    for row in rows(on_hand).iter().filter(|row| row["state"] != "in-transit") {
        let item = row["batch"]["item"].as_str().expect("an item").to_owned();
        let quantity = &row["quantity"];
        let value = match quantity["exact"].as_str().and_then(|exact| exact.split_once('/')) {
            Some((num, den)) => Ratio::new(num.parse().expect("a number"), den.parse().expect("a number")),
            None => quantity["value"].as_str().and_then(|value| parse_decimal(value).ok()).map(Ratio::from_decimal),
        };
        let sum = sums.entry(item).or_insert(Ratio::ZERO);
        *sum = sum.add(value.expect("a value")).expect("a sum");
    }
    sums
}

#[test]
fn the_demo_tells_what_its_folder_answers() {
    for seed in ["3", "20260301"] {
        let folder = tempdir().expect("a folder");
        let folder = folder.path();
        let told = demo(folder, seed);
        let text = flat(&told);

        let verified = ask(folder, &["verify"]);
        assert_eq!(count(&text, "was recorded as ", " events"), verified["events"].as_u64().expect("a count") as usize);
        assert_eq!(count(&text, " events in ", " commits"), verified["commits"].as_u64().expect("a count") as usize);
        assert!(text.contains(verified["commit_hash"].as_str().expect("a hash")), "the head's hash");
        assert!(text.contains(verified["root"].as_str().expect("a root")), "the tree's root");

        let on_hand = ask(folder, &["on-hand"]);
        let batches: std::collections::BTreeSet<String> =
            rows(&on_hand).iter().map(|row| row["batch"].to_string()).collect();
        assert_eq!(count_before(&text, " batches are inside"), batches.len());
        for (item, sum) in sums(&on_hand) {
            let line = told.lines().find(|line| line.trim_start().starts_with(&format!("{item} ")));
            let line = line.unwrap_or_else(|| panic!("no line of {item} in {told}"));
            let shown = sum.round_to(3).expect("a decimal").normalize().to_string();
            assert!(sum.is_zero() || line.contains(&shown), "{item}: {shown} is not in {line}");
        }

        let suspect = between(&text, "The scope of a recall of ", " has ").to_owned();
        let recall = ask(folder, &["recall", &suspect]);
        assert_eq!(count(&text, &format!("of {suspect} has "), " rows"), rows(&recall).len());
        let mut customers: Vec<&str> =
            rows(&recall).iter().filter_map(|row| row["place"].as_str()?.strip_prefix("party:")).collect();
        customers.sort_unstable();
        customers.dedup();
        assert!(!customers.is_empty());
        for customer in customers {
            assert!(text.contains(customer), "{customer} is not told of");
        }

        let then = between(&text, "as they were on ", ")");
        let commit = then.rsplit_once("(commit ").expect("a commit").1;
        let earlier = ask(folder, &["recall", &suspect, "--as-known-at", commit]);
        assert_eq!(count(&text, &format!("(commit {commit}): "), " rows"), rows(&earlier).len());

        let correction = between(&text, "is a correction, recorded on ", "):");
        let with: u64 = correction.rsplit_once("(commit ").expect("a commit").1.parse().expect("a number");
        let after = ask(folder, &["recall", &suspect, "--as-known-at", &with.to_string()]);
        let before = ask(folder, &["recall", &suspect, "--as-known-at", &(with - 1).to_string()]);
        assert_eq!(count(&text, "One commit earlier the scope had ", " rows"), rows(&before).len());
        assert_eq!(count(&text, "rows, with it ", "."), rows(&after).len());
        assert_ne!(before["rows"], after["rows"], "the correction changed the scope");

        let refusal = ask(folder, &["history", "event:order-desk-1"]);
        assert_eq!(rows(&refusal)[0]["kind"], "refusal");
        assert_eq!(rows(&refusal)[0]["rejection"]["rule"]["name"], "under-hold");
        let message = rows(&refusal)[0]["rejection"]["message"].as_str().expect("a message");
        assert!(text.contains(message), "{message}");
        let position = rows(&refusal)[0]["position"].as_u64().expect("a position");
        assert_eq!(count(&text, "The refusal is recorded, too, at position ", "."), position as usize);

        let exceptions = ask(folder, &["exceptions"]);
        let open = rows(&exceptions).iter().filter(|row| row["state"] == "open").count();
        assert_eq!(count(&text, "until something settles it. ", " discrepancies are open"), open);
        let differs = rows(&exceptions).iter().find(|row| row["kind"] == "count differs").expect("the planted count");
        assert!(text.contains(&differs["detail"].as_str().expect("words")[1..]), "{differs}");

        for picture in ["back.svg", "back.dot", "forward.svg", "forward.dot"] {
            let drawn = std::fs::read_to_string(folder.join("dairy/pictures").join(picture)).expect("a picture");
            assert!(drawn.len() > 1_000, "{picture} is empty");
        }
    }
}

#[test]
fn a_seed_makes_one_story_and_one_ledger() {
    let [first, again, other] = [tempdir(), tempdir(), tempdir()].map(|folder| folder.expect("a folder"));
    let told = demo(first.path(), "5");
    assert_eq!(told, demo(again.path(), "5"), "byte for byte, hashes included");
    assert_ne!(told, demo(other.path(), "6"));
    let said = run(first.path(), &["demo", "--dir", "dairy"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("not empty"), "the demo writes into nobody's folder: {said:?}");
}
