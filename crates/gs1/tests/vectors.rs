//! The published vectors of the GS1 reference engine, where they speak of what this room does.

use std::path::PathBuf;

use lotline_gs1::{Identifier, check_digit, element_string, read};

/// The rows of one table, or `None` (told on standard error) where the data is not at hand.
fn rows(name: &str) -> Option<Vec<Vec<String>>> {
    let data = std::env::var_os("LOTLINE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = data.join("gs1/vectors").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{}: {error}", path.display());
            eprintln!("skipped: {} is not there", path.display());
            None
        }
    }
}

#[test]
fn digital_links_are_links_exactly_when_the_reference_engine_says_so() {
    let Some(rows) = rows("parseDLuri.tsv") else { return };
    // What this room does not decide. Short GTINs: the engine takes them or not by a setting, and both
    // stand in the table. Attributes behind `?` and characters of the URL outside of the key are not
    // read here. TPX and `x/99/` belong to no key of ours.
    let left_out = |uri: &str| {
        uri.contains('?')
            || ["/01/2112345678900", "/01/416000336108", "/01/02345673", "[fe80", "a$"]
                .iter()
                .any(|part| uri.contains(part))
    };
    let mut compared = 0;
    for row in rows {
        let uri = &row[1];
        if left_out(uri) {
            continue;
        }
        let expected = row[0] == "true";
        let is_link = !matches!(Identifier::parse(uri), Ok(Identifier::Other(other)) if other == *uri)
            && Identifier::parse(uri).is_ok();
        assert_eq!(is_link, expected, "{uri}");
        compared += 1;
    }
    assert!(compared >= 25, "only {compared} rows");
}

#[test]
fn links_of_the_reference_engine_name_what_it_reads_from_them() {
    let Some(rows) = rows("parseDLuri.tsv") else { return };
    let mut compared = 0;
    // A third party's serial (AI 235) is kept as written.
    for row in rows.iter().filter(|row| row[0] == "true" && !row[1].contains("/235/")) {
        // `^01` + 14 digits [`22` …] [`10` batch], up to the next `^`.
        let Some(data) = row[2].strip_prefix("^01") else { continue };
        let gtin = &data[..14];
        let id = read(&row[1]).id;
        let item = id.item().unwrap_or_else(|| panic!("{}: {id:?}", row[1]));
        assert_eq!(item.as_str(), gtin, "{}", row[1]);
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} rows");
}

#[test]
fn bracketed_strings_split_as_in_the_reference_engine() {
    let Some(rows) = rows("parseAIdata.tsv") else { return };
    let mut compared = 0;
    for row in rows {
        if row[1] == "inbuf" {
            continue; // the names of the C function's arguments
        }
        let text = row[1].replace("\\\\", "\\");
        let split = element_string(&text);
        // Lengths of single values are the engine's; here only the form is split.
        assert_eq!(split.is_ok(), row[0] == "true", "{text}");
        if let Ok(elements) = split {
            let joined: String = elements.iter().map(|(ai, value)| format!("{ai}{value}")).collect();
            assert_eq!(joined, row[2].replace('^', ""), "{text}");
        }
        compared += 1;
    }
    assert!(compared >= 14, "only {compared} rows");
}

#[test]
fn check_digits_are_those_of_the_reference_engine() {
    let Some(rows) = rows("linter_cases.tsv") else { return };
    let mut compared = 0;
    for row in rows.iter().filter(|row| row[0] == "csum" && row[2].len() > 1) {
        let (body, last) = row[2].split_at(row[2].len() - 1);
        let right = check_digit(body).map(|digit| digit.to_string()).as_deref() == Some(last);
        assert_eq!(right, row[1] == "PASS", "{}", row[2]);
        compared += 1;
    }
    assert!(compared >= 5, "only {compared} rows");
}

#[test]
fn links_written_by_the_reference_engine_equal_the_element_strings_they_come_from() {
    let Some(rows) = rows("GenerateDLuri.tsv") else { return };
    let mut compared = 0;
    for row in rows.iter().filter(|row| row[0] == "true") {
        let from_link = read(&row[3]).id;
        let from_elements = read(&row[2]).id;
        if matches!(from_elements, Identifier::Other(_)) {
            continue;
        }
        assert_eq!(from_link, from_elements, "{}", row[3]);
        compared += 1;
    }
    assert!(compared >= 6, "only {compared} rows");
}
