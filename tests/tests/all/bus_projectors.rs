//! Projectors in processes of their own, with nothing but an empty folder and the address of a NATS server.

use std::path::Path;

use tempfile::tempdir;

use super::bus_server::{Running, Server};
use super::cli_binary::run;
use super::epcis_data;

const KINDS: [&str; 3] = ["genealogy", "inventory", "recall"];

/// What the read models of a folder are, built from its ledger: `as of commit N, digest D`, in order of the kinds.
#[track_caller]
pub fn embedded(folder: &Path, dir: &str) -> Vec<String> {
    let said = run(folder, &["rebuild", "--dir", dir]);
    assert_eq!(said.code, 0, "{said:?}");
    let lines = said.out.lines().zip(KINDS);
    let models: Vec<String> =
        lines.map(|(line, kind)| line.strip_prefix(kind).expect("its kind").trim().to_owned()).collect();
    assert_eq!(models.len(), 3, "{said:?}");
    models
}

/// How many commits a ledger has.
#[track_caller]
pub fn commits(folder: &Path, dir: &str) -> u64 {
    let said = run(folder, &["verify", "--json", "--dir", dir]);
    assert_eq!(said.code, 0, "{said:?}");
    said.json()["commits"].as_u64().expect("a count")
}

/// Publishes a ledger, and ends; what it said.
#[track_caller]
pub fn publish(folder: &Path, dir: &str, url: &str) -> String {
    let said = run(folder, &["relay", "--once", "--dir", dir, "--nats", url]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out
}

/// All three read models from the stream alone, in empty folders, all at once; they have to be those of the ledger.
#[track_caller]
fn projectors_reach_what_is_embedded(folder: &Path, dir: &str, server: &Server) {
    let head = commits(folder, dir).to_string();
    let url = server.url();
    let running: Vec<Running> = KINDS
        .into_iter()
        .map(|kind| {
            let empty = format!("empty-{kind}");
            Running::start_as_service(folder, &["projector", kind, "--nats", &url, "--dir", &empty, "--until", &head])
        })
        .collect();
    for ((process, embedded), kind) in running.into_iter().zip(embedded(folder, dir)).zip(KINDS) {
        let said = process.end();
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(said.out, format!("{kind:<10} {embedded}; {head} commits applied, 1 to {head}\n"));
        assert!(embedded.starts_with(&format!("as of commit {head}, digest ")), "{embedded}");
        assert!(!folder.join(format!("empty-{kind}/ledger")).exists(), "a projector needs no ledger");
    }
}

#[test]
fn from_the_stream_alone_each_projector_reaches_the_digest_of_the_embedded_model() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    // A million events in the long battery.
    let (days, least) = if std::env::var_os("LOTLINE_FULL").is_some() { ("4500", 1_000_000) } else { ("30", 5_000) };
    let said = run(folder, &["demo", "--days", days, "--dir", "dairy"]);
    assert_eq!(said.code, 0, "{said:?}");
    let told: serde_json::Value =
        serde_json::from_str(&run(folder, &["verify", "--dir", "dairy", "--json"]).out).expect("JSON");
    assert!(told["events"].as_u64().is_some_and(|events| events >= least), "{told}");
    let said = publish(folder, "dairy", &server.url());
    assert!(said.starts_with(&format!("{} commits published", commits(folder, "dairy"))), "{said}");
    projectors_reach_what_is_embedded(folder, "dairy", &server);
}

#[test]
fn captured_documents_reach_the_projectors_over_the_stream() {
    let (Some(server), Some(data)) = (Server::start(), epcis_data::data()) else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    for document in epcis_data::documents(&data) {
        let document = document.to_str().expect("a path is text");
        let said = run(folder, &["capture", "--on-error", "proceed", "--dir", "plant", "--json", document]);
        // Two of the documents use one id for different events, and one is malformed.
        assert!([0, 1, 3].contains(&said.code), "{said:?}");
    }
    publish(folder, "plant", &server.url());
    assert!(commits(folder, "plant") > 10, "the documents are there");
    projectors_reach_what_is_embedded(folder, "plant", &server);
}
