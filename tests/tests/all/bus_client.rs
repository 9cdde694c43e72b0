//! A client in Python that is not ours (`tests/client`), through restarts of the server, the handler and the projector.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::bus_intake::ledger;
use super::bus_server::{Running, Server, until};
use super::cli_binary::run;

/// The folder of Python's NATS client; `None`, told, where it is not at hand.
fn client() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("LOTLINE_NATS_PY") {
        return Some(folder.into());
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "LOTLINE_NATS_PY names no folder of Python's NATS client");
    eprintln!("skipped: LOTLINE_NATS_PY names no folder of Python's NATS client; `cargo xtask test` fetches it");
    None
}

fn serve(folder: &Path, url: &str) -> Running {
    Running::start_as_service(folder, &["serve", "--nats", url, "--no-feed", "--dir", "plant"])
}

fn projector(folder: &Path, url: &str) -> Running {
    let arguments = ["projector", "inventory", "--feed", "--nats", url, "--dir", "elsewhere", "--save-every", "256"];
    Running::start_as_service(folder, &arguments)
}

#[test]
fn a_client_that_is_not_ours_gets_receipts_and_follows_the_changes_through_restarts_of_everything() {
    let (Some(mut server), Some(client)) = (Server::start(), client()) else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let events = if std::env::var_os("LOTLINE_FULL").is_some() { 100_000 } else { 6_000 };
    let url = server.url();
    let mut handler = serve(folder, &url);
    until("there is a ledger", || folder.join("plant/ledger/head").exists().then_some(()));
    let ledger = ledger(folder);
    let bus = server.bus();
    until("it has a stream", || bus.ledgers().ok().filter(|ledgers| !ledgers.is_empty()));
    drop(bus);
    let mut follower = projector(folder, &url);
    follower.note("commits are kept");

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("client/follow.py");
    let mut python = Command::new("python3");
    python.arg("-B").arg(script).args(["--url", &url, "--ledger", &ledger, "--events", &events.to_string()]);
    python.env("PYTHONPATH", client);
    let mut python = Running::start_other(python);
    for tenth in 1..=9 {
        let line = python.line();
        assert_eq!(line, format!("sent {}", tenth * events / 10));
        match tenth {
            2 | 7 => {
                server.stop();
                server.run();
            }
            3 | 8 => {
                handler.kill();
                handler = serve(folder, &url);
            }
            5 | 9 => {
                follower.kill();
                follower = projector(folder, &url);
            }
            _ => {}
        }
    }
    let said = python.end_within(std::time::Duration::from_secs(600));
    assert_eq!(said.code, 0, "{said:?}");
    let told: Value = serde_json::from_str(said.out.lines().last().expect("a line")).expect("JSON");
    println!("{told}");
    assert_eq!((&told["events"], &told["receipts"]), (&json!(events), &json!(events)));
    let count = |name: &str| told[name].as_u64().expect("a count");
    assert!(count("changes") >= count("rows") && count("rows") == events / 2, "{told}");
    assert!(count("in_bucket_in_mid_way") > 0, "{told}");
    assert!(count("resumed") > 1, "it had to begin its reading anew: {told}");

    assert_eq!(handler.interrupt("TERM").code, 0);
    assert_eq!(follower.interrupt("TERM").code, 0);
    // Once each, and what the command line says is what the client came to.
    let said = run(folder, &["verify", "--json", "--dir", "plant"]);
    assert_eq!(said.json()["events"], json!(events), "{said:?}");
    let said = run(folder, &["on-hand", "--json", "--dir", "plant"]);
    assert_eq!(said.json()["rows"].as_array().map(Vec::len), usize::try_from(count("rows")).ok());
}
