//! The command line's answers and exit codes, on small folders.

use std::path::Path;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::cli_binary::{batch, feed, received, run, ship, verified_events};

/// 100 kg of milk, 60 of it made into 58 kg of cheese with 2 kg lost, 20 kg of that delivered to a shop.
fn plant() -> TempDir {
    let folder = tempdir().expect("a folder");
    let (milk, cheese) = (batch("milk", "M1"), batch("cheese", "C1"));
    let at = |hour: u32| format!(r#""source":"mes","occurred_at":"2026-03-01T{hour:02}:00:00+01:00""#);
    let kg = |value: &str| format!(r#"{{"value":"{value}","unit":"KGM"}}"#);
    let lines = [
        received("r", &milk, "100"),
        format!(
            r#"{{"type":"produced","id":"p",{},"run":"vat-1","at":"dairy","inputs":[{{"batch":{milk},"quantity":{},"from":"dock"}}],"outputs":[{{"batch":{cheese},"quantity":{}}}],"losses":[{{"sink":"loss","quantity":{}}}]}}"#,
            at(9),
            kg("60"),
            kg("58"),
            kg("2")
        ),
        format!(
            r#"{{"type":"shipped","id":"s",{},"shipment":"SH-1","to":"party:shop","lines":[{{"batch":{cheese},"quantity":{},"from":"dairy"}}]}}"#,
            at(10),
            kg("20")
        ),
        format!(r#"{{"type":"delivered","id":"d",{},"shipment":"SH-1","to":"shop"}}"#, at(11)),
    ];
    let said = feed(folder.path(), &["submit"], &lines.join("\n"));
    assert_eq!(said.code, 0, "{said:?}");
    folder
}

/// The row of a batch and a place.
#[track_caller]
fn row<'a>(answer: &'a Value, code: &str, place: &str) -> &'a Value {
    let rows = answer["rows"].as_array().expect("rows");
    let found = rows.iter().find(|row| row["batch"]["code"] == code && row["place"] == place);
    found.unwrap_or_else(|| panic!("no row of {code} at {place}: {answer:#}"))
}

#[test]
fn each_question_answers_from_what_was_submitted() {
    let folder = plant();
    let answer = run(folder.path(), &["on-hand", "--json"]).json();
    assert_eq!(row(&answer, "M1", "dock")["quantity"]["value"], "40");
    assert_eq!(row(&answer, "C1", "dairy")["quantity"]["value"], "38");

    let answer = run(folder.path(), &["recall", "M1", "--json"]).json();
    let shop = row(&answer, "C1", "party:shop");
    assert_eq!((&shop["state"], &shop["tier"]), (&"with-customer".into(), &"certain".into()));
    assert_eq!((&shop["quantity"]["value"], &shop["ever_received"]["value"]), (&"20".into(), &"20".into()));
    assert!(shop["why"].as_array().is_some_and(|why| why.len() >= 3), "{shop}");

    let answer = run(folder.path(), &["trace", "cheese/C1", "--back", "--json"]).json();
    let codes: Vec<&Value> =
        answer["nodes"].as_array().expect("nodes").iter().map(|node| &node["batch"]["code"]).collect();
    assert_eq!(codes, ["C1", "M1"]);

    let answer = run(folder.path(), &["history", "C1", "--json"]).json();
    let types: Vec<&Value> = answer["rows"].as_array().expect("rows").iter().map(|row| &row["fact"]["type"]).collect();
    assert_eq!(types, ["produced", "shipped"], "the delivery names the shipment alone");
    let answer = run(folder.path(), &["history", "transit:SH-1", "--json"]).json();
    assert_eq!(answer["rows"].as_array().map(Vec::len), Some(2));

    let answer = run(folder.path(), &["exceptions", "--json"]).json();
    assert_eq!(answer["rows"].as_array().map(Vec::len), Some(0), "{answer}");
}

#[test]
fn bounds_cut_an_answer_and_stand_in_it() {
    let folder = plant();
    let answer =
        run(folder.path(), &["on-hand", "--batch", "C1", "--as-of", "2026-03-01T09:30:00+01:00", "--json"]).json();
    assert_eq!(row(&answer, "C1", "dairy")["quantity"]["value"], "58");
    assert_eq!(answer["asked"]["as_of"], "2026-03-01T08:30:00Z");
    assert_eq!(answer["asked"]["finality"], "not-final");

    let answer = run(folder.path(), &["on-hand", "--as-known-at", "0", "--json"]).json();
    assert_eq!((&answer["rows"], &answer["asked"]["finality"]), (&Value::Array(Vec::new()), &"final".into()));

    let answer = run(folder.path(), &["on-hand", "--as-known-at", "2999-01-01Z", "--json"]).json();
    assert_eq!(answer["asked"]["finality"], "not-final", "a later commit may be recorded before then");
    assert_eq!(answer["said"][0]["kind"], "not-final");

    let said = run(folder.path(), &["on-hand", "--as-known-at", "99"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("the last commit is"), "{said:?}");
}

#[test]
fn an_intent_that_does_not_fit_is_rejected_with_what_would() {
    let folder = plant();
    let lines = [ship("big", &batch("milk", "M1"), "41"), ship("fits", &batch("milk", "M1"), "40")].join("\n");
    let said = feed(folder.path(), &["submit"], &lines);
    assert_eq!(said.code, 1, "{said:?}");
    let answers = said.lines();
    assert_eq!(answers[0]["answer"], "rejected");
    assert_eq!(answers[0]["rejection"]["rule"]["name"], "not-enough");
    assert_eq!(answers[0]["rejection"]["rule"]["available"]["value"], "40");
    assert_eq!(answers[1]["answer"], "recorded");

    let again = feed(folder.path(), &["submit"], &lines);
    assert_eq!(again.code, 1, "{again:?}");
    let repeated = again.lines();
    assert_eq!((&repeated[0]["answer"], &repeated[1]["answer"]), (&"duplicate".into(), &"duplicate".into()));
    assert_eq!(repeated[0]["first"]["rejection"], answers[0]["rejection"], "the first answer again");
    assert_eq!(verified_events(folder.path()), 6);
}

#[test]
fn the_same_id_with_other_content_is_a_conflict_and_an_open_exception() {
    let folder = plant();
    let said = feed(folder.path(), &["submit"], &received("r", &batch("milk", "M1"), "120"));
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.lines()[0]["answer"], "conflict");
    assert_eq!(said.lines()[0]["first"]["position"], 0);
    let answer = run(folder.path(), &["exceptions", "--json"]).json();
    assert_eq!((&answer["rows"][0]["kind"], &answer["rows"][0]["cause"]), (&"conflict".into(), &"r".into()));
    let answer = run(folder.path(), &["on-hand", "--json"]).json();
    assert_eq!(row(&answer, "M1", "dock")["quantity"]["value"], "40", "the first one stands");
}

#[test]
fn exit_codes_tell_apart_what_went_wrong() {
    let folder = plant();
    let code = |arguments: &[&str]| run(folder.path(), arguments).code;
    assert_eq!(code(&["--help"]), 0);
    assert_eq!(code(&["recall", "M1"]), 0);
    assert_eq!(code(&["recall", "nobody-knows"]), 1);
    assert_eq!(code(&["history", "nobody-knows"]), 1);
    assert_eq!(code(&["recall"]), 2);
    assert_eq!(code(&["trace", "M1"]), 2, "which way?");
    assert_eq!(code(&["on-hand", "--as-of", "yesterday"]), 2);
    assert_eq!(code(&["on-hand", "--dir", "nowhere"]), 2);
    assert_eq!(code(&["trace", "(01)123", "--back"]), 3);
    assert_eq!(code(&["trace", "(00)106141412345678908", "--back"]), 3, "a container is no batch");
    assert_eq!(code(&["submit", "not-there.jsonl"]), 3);
    assert_eq!(code(&["trace", "M1", "--forward", "--svg", "no/such/folder.svg"]), 7);
    let said = run(folder.path(), &["on-hand", "--dir", "nowhere"]);
    assert!(said.err.contains("there is no ledger in nowhere/ledger") && said.err.contains("--dir"), "{said:?}");
}

#[test]
fn a_batch_that_was_not_known_yet_is_answered_as_one_that_never_was() {
    let folder = plant();
    for code in ["C1", "cheese/C1", "nobody-knows", "cheese/nobody-knows"] {
        for arguments in [
            &["recall", code][..],
            &["trace", code, "--forward"],
            &["trace", code, "--back"],
            &["history", code],
            &["on-hand", "--batch", code],
        ] {
            // The cheese was made in a later commit than the milk came in.
            let said = run(folder.path(), &[arguments, &["--as-known-at", "0", "--json"]].concat());
            assert_eq!(said.code, 1, "{arguments:?}: {said:?}");
            assert_eq!(said.out, "", "{arguments:?}: {said:?}");
            let told = format!("as known at commit 0, nothing was recorded of a batch {code}");
            assert!(said.err.contains(&told), "{arguments:?}: {said:?}");
        }
    }
    for arguments in [&["recall", "no/C9"][..], &["on-hand", "--batch", "no/C9"], &["history", "no/C9"]] {
        let said = run(folder.path(), arguments);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("nothing is recorded of a batch no/C9"), "{said:?}");
    }
}

#[test]
fn a_batch_that_was_taken_back_is_still_known() {
    let folder = tempdir().expect("a folder");
    let void = r#"{"type":"corrected","id":"v","source":"erp","occurred_at":"2026-03-02T08:00:00Z","target":"a","correction":"void"}"#;
    let lines = [received("a", &batch("milk", "M1"), "10"), void.to_owned()].join("\n");
    assert_eq!(feed(folder.path(), &["submit"], &lines).code, 0);
    let said = run(folder.path(), &["history", "milk/M1", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.json()["rows"].as_array().map(Vec::len), Some(2), "{said:?}");
    let said = run(folder.path(), &["recall", "milk/M1", "--json"]);
    assert_eq!((said.code, &said.json()["said"][0]["kind"]), (1, &"unknown-batch".into()), "{said:?}");
}

#[test]
fn a_container_is_written_by_its_bare_id() {
    let folder = tempdir().expect("a folder");
    let pack = format!(
        r#"{{"type":"packed","id":"k","source":"wms","occurred_at":"2026-03-01T09:00:00+01:00","container":"container:K1","lines":[{{"batch":{},"quantity":{{"value":"4","unit":"KGM"}},"from":"dock"}}]}}"#,
        batch("milk", "M1")
    );
    let lines = [received("a", &batch("milk", "M1"), "10"), pack].join("\n");
    assert_eq!(feed(folder.path(), &["submit"], &lines).code, 0);
    for arguments in [&["on-hand", "--json"][..], &["recall", "M1", "--json"]] {
        let answer = run(folder.path(), arguments).json();
        let rows = answer["rows"].as_array().expect("rows");
        let containers: Vec<&Value> = rows.iter().filter_map(|row| row.get("container")).collect();
        assert_eq!(containers, ["K1"], "{answer:#}");
        assert!(rows.iter().all(|row| row["place"] == "dock"), "{answer:#}");
    }
}

#[test]
fn what_a_run_lost_or_gained_is_told_with_the_run_and_the_amount() {
    let folder = tempdir().expect("a folder");
    let made = |id: &str, out: &str| {
        format!(
            r#"{{"type":"produced","id":"{id}","source":"mes","occurred_at":"2026-03-01T09:00:00+01:00","run":"vat-{id}","at":"dairy","inputs":[{{"batch":{},"quantity":{{"value":"10","unit":"KGM"}},"from":"dock"}}],"outputs":[{{"batch":{},"quantity":{{"value":"{out}","unit":"KGM"}}}}]}}"#,
            batch("milk", "M1"),
            batch("cheese", id)
        )
    };
    let lines = [received("r", &batch("milk", "M1"), "100"), made("less", "9.5"), made("more", "10.25")].join("\n");
    assert_eq!(feed(folder.path(), &["submit"], &lines).code, 0);
    let answer = run(folder.path(), &["exceptions", "--json"]).json();
    let rows = answer["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{answer:#}");
    for (row, kind, run, amount) in [
        (&rows[1], "run lost mass", "run:mes:vat-less", "0.5"),
        (&rows[0], "run gained mass", "run:mes:vat-more", "0.25"),
    ] {
        assert_eq!((&row["kind"], &row["place"]), (&kind.into(), &run.into()), "{row:#}");
        assert_eq!(row["amount"], serde_json::json!({"value": amount, "unit": "KGM"}), "{row:#}");
        let detail = row["detail"].as_str().expect("words");
        assert!(detail.contains(run) && detail.contains(&format!("{amount} kg")), "{detail}");
    }
    let csv = run(folder.path(), &["exceptions", "--csv"]).out;
    assert!(csv.contains(",run:mes:vat-less,0.5,KGM,"), "{csv}");
    let table = run(folder.path(), &["exceptions"]).out;
    assert!(table.contains("run:mes:vat-more") && table.contains("0.25 kg"), "{table}");
}

#[test]
fn corrections_in_a_circle_are_an_open_exception_that_names_them() {
    let folder = tempdir().expect("a folder");
    let void = |id: &str, target: &str| {
        format!(
            r#"{{"type":"corrected","id":"{id}","source":"erp","occurred_at":"2026-03-02T08:00:00Z","target":"{target}","correction":"void"}}"#
        )
    };
    let lines = [void("own", "own"), void("a", "b"), void("b", "a"), void("c", "a")].join("\n");
    assert_eq!(feed(folder.path(), &["submit"], &lines).code, 0);
    let answer = run(folder.path(), &["exceptions", "--json"]).json();
    let rows = answer["rows"].as_array().expect("rows");
    let told: Vec<_> = rows.iter().map(|row| (&row["kind"], &row["cause"], &row["state"])).collect();
    let (kind, open) = ("competing corrections".into(), "open".into());
    assert_eq!(told, [(&kind, &"b".into(), &open), (&kind, &"own".into(), &open)], "{answer:#}");
    assert!(rows[0]["detail"].as_str().is_some_and(|detail| detail.contains("b, a correct each other")), "{answer:#}");
    assert!(rows[1]["detail"].as_str().is_some_and(|detail| detail.contains("own corrects itself")), "{answer:#}");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("read");
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let folder = plant();
    let ledger = folder.path().join("lotline-data/ledger");
    let segment = std::fs::read_dir(&ledger)
        .expect("a folder")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("seg")))
        .min()
        .expect("a segment");
    flip(&segment, 400);
    let said = run(folder.path(), &["verify"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains("DAMAGED") && said.out.contains("position 0"), "{said:?}");
    let answer = run(folder.path(), &["verify", "--json"]).json();
    assert_eq!((&answer["intact"], &answer["damage"][0]["commit"]), (&Value::Bool(false), &1.into()), "{answer}");
    let said = run(folder.path(), &["on-hand"]);
    assert_eq!(said.code, 5, "{said:?}");
}

#[test]
fn rebuilding_gives_the_same_digests() {
    let folder = plant();
    let first = run(folder.path(), &["rebuild"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(first.out.lines().count(), 3, "{first:?}");
    assert_eq!(run(folder.path(), &["on-hand"]).code, 0);
    assert_eq!(run(folder.path(), &["rebuild"]).out, first.out);
}

#[test]
fn a_csv_is_safe_to_open_in_a_spreadsheet() {
    let folder = tempdir().expect("a folder");
    let lines =
        [received("a", &batch("=HYPERLINK(1)", "M1"), "10"), received("b", &batch("@sum", "M2"), "20")].join("\n");
    assert_eq!(feed(folder.path(), &["submit"], &lines).code, 0);
    let said = run(folder.path(), &["on-hand", "--csv"]);
    assert_eq!(said.code, 0, "{said:?}");
    let starts: Vec<&str> = said.out.lines().map(|line| line.split(',').next().expect("a field")).collect();
    assert_eq!(starts, ["batch", "'=HYPERLINK(1)/M1", "'@sum/M2"], "{said:?}");
}

#[test]
fn a_picture_draws_every_batch_and_run_of_a_trace() {
    let folder = plant();
    let said = run(folder.path(), &["trace", "M1", "--forward", "--dot", "t.dot", "--svg", "t.svg"]);
    assert_eq!(said.code, 0, "{said:?}");
    for file in ["t.dot", "t.svg"] {
        let picture = std::fs::read_to_string(folder.path().join(file)).expect("written");
        for name in ["M1", "C1", "vat-1", "shop", "20 kg"] {
            assert!(picture.contains(name), "{file} without {name}");
        }
    }
}

#[test]
fn batches_are_found_as_gs1_writes_them() {
    let folder = tempdir().expect("a folder");
    assert_eq!(feed(folder.path(), &["submit"], &received("a", &batch("04012345123456", "L42"), "10")).code, 0);
    for written in [
        "04012345123456/L42",
        "(01)04012345123456(10)L42",
        "https://id.gs1.org/01/04012345123456/10/L42",
        "urn:epc:class:lgtin:4012345.012345.L42",
        "L42",
    ] {
        let said = run(folder.path(), &["on-hand", "--batch", written, "--json"]);
        assert_eq!(said.code, 0, "{written}: {said:?}");
        assert_eq!(said.json()["rows"][0]["batch"]["code"], "L42", "{written}");
    }
}
