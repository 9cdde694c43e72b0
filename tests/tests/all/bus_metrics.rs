//! What services tell of themselves over HTTP: metrics, health, and whether they are ready.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::tempdir;

use super::bus_damage::{flip, published};
use super::bus_intake::{ledger, subject};
use super::bus_relay::plant;
use super::bus_safety::remove;
use super::bus_secured::Secured;
use super::bus_server::{Running, Server, until};
use super::bus_wire::Wire;
use super::cli_binary::{batch, received, run, ship};

/// A service that answers HTTP.
pub struct Watched {
    /// Its process.
    pub service: Running,
    /// Where it answers.
    pub address: String,
}

impl Watched {
    /// Starts it; it has an address when this returns.
    pub fn start(folder: &Path, words: &[&str]) -> Self {
        let all = [words, &["--metrics", "127.0.0.1:0"]].concat();
        let mut service = Running::start_as_service(folder, &all);
        let note = service.note("metrics and health at http://");
        let (_, rest) = note.split_once("http://").expect("an address");
        let address = rest.split('/').next().expect("an address").to_owned();
        Self { service, address }
    }

    /// Status and body of an answer.
    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path)
    }

    fn ask(&self, verb: &str, path: &str) -> (u16, String) {
        let mut to = TcpStream::connect(&self.address).expect("it listens");
        to.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        write!(to, "{verb} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        to.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path);
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Every series with its value, and the names of all metrics.
    fn metrics(&self) -> (BTreeMap<String, f64>, BTreeSet<String>) {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names = types.filter_map(|line| line.split(' ').next()).map(str::to_owned);
        (series.collect(), names.collect())
    }

    #[track_caller]
    fn becomes_ready(&self) {
        until("it is ready", || (self.get("/ready").0 == 200).then_some(()));
    }

    /// Waits until a series has a value.
    #[track_caller]
    fn becomes(&self, series: &str, value: f64) {
        until(&format!("{series} {value}"), || {
            let all = self.metrics().0;
            all.get(series).is_some_and(|found| (found - value).abs() < 1e-9).then_some(())
        });
    }
}

/// The names in the table of the runbook.
pub fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/README.md");
    let text = fs::read_to_string(path).expect("the runbook");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `lotline_"));
    rows.map(|row| format!("lotline_{}", row.split(['`', '{']).next().expect("a name"))).collect()
}

#[test]
fn a_service_counts_its_work_and_the_runbook_has_every_metric() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let mut serve = Watched::start(folder, &["serve", "--dir", "plant", "--nats", &url]);
    serve.service.note("commands are taken from the NATS server");
    assert_eq!(serve.json("/health"), (200, serde_json::json!({ "healthy": true })));
    serve.becomes_ready();
    let (before, _) = serve.metrics();
    assert_eq!(before[&format!("lotline_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
    assert_eq!(before["lotline_recorded_commits_total"], 0.0);
    assert_eq!(before["lotline_commands_total{answer=\"recorded\"}"], 0.0);

    let mut wire = Wire::connect(&url);
    let to = subject(folder, &mut wire, "erp");
    let milk = batch("milk", "M1");
    for command in [
        received("r1", &milk, "100"),
        received("r1", &milk, "100"),
        received("r1", &milk, "99"),
        ship("s1", &milk, "1000"),
        "{".to_owned(),
    ] {
        wire.request(&to, &[], command.as_bytes());
    }
    let queue = to.replace(".submit.", ".queue.");
    wire.request(&queue, &[], received("q1", &milk, "7").as_bytes());
    wire.request(&queue, &[], b"no command");

    serve.becomes("lotline_dead_letters_total", 1.0);
    serve.becomes("lotline_queue_messages_total", 1.0);
    serve.becomes("lotline_dead_letters_open", 1.0);
    for model in ["genealogy", "inventory", "recall"] {
        serve.becomes(&format!("lotline_model_commit{{model=\"{model}\"}}"), 4.0);
        serve.becomes(&format!("lotline_model_lag_commits{{model=\"{model}\"}}"), 0.0);
    }
    serve.becomes("lotline_relay_head_commit", 4.0);
    let (after, of_serve) = serve.metrics();
    for (series, value) in [
        ("lotline_commands_total{answer=\"recorded\"}", 2.0),
        ("lotline_commands_total{answer=\"duplicate\"}", 1.0),
        ("lotline_commands_total{answer=\"conflict\"}", 1.0),
        ("lotline_commands_total{answer=\"rejected\"}", 1.0),
        ("lotline_commands_total{answer=\"refused\"}", 2.0),
        ("lotline_commands_total{answer=\"failed\"}", 0.0),
        ("lotline_rejections_total{rule=\"not-enough\"}", 1.0),
        ("lotline_recorded_commits_total", 4.0),
        ("lotline_recorded_events_total", 4.0),
        ("lotline_commit_events_count", 4.0),
        ("lotline_commit_events_bucket{le=\"1\"}", 4.0),
        ("lotline_requests_total", 5.0),
        ("lotline_requests_busy_total", 0.0),
        ("lotline_head_commit", 4.0),
        ("lotline_relay_published_total", 4.0),
        ("lotline_relay_lag_commits", 0.0),
        ("lotline_applied_commits_total{model=\"recall\"}", 4.0),
        ("lotline_applied_events_total{model=\"recall\"}", 4.0),
        ("lotline_nats_connected", 1.0),
        ("lotline_chain_errors_total", 0.0),
        ("lotline_permission_violations_total", 0.0),
    ] {
        assert_eq!(after.get(series), Some(&value), "{series} in {after:#?}");
    }
    assert!(after["lotline_sync_seconds_count"] >= 4.0, "{after:#?}");
    assert!(after["lotline_feed_step_seconds_count{feed=\"on-hand\"}"] >= 1.0, "{after:#?}");

    let projector = Watched::start(folder, &["projector", "recall", "--dir", "far", "--nats", &url]);
    projector.becomes("lotline_model_commit{model=\"recall\"}", 4.0);
    projector.becomes_ready();
    projector.becomes("lotline_exceptions_open", 0.0);
    let (_, of_projector) = projector.metrics();
    let exposed: BTreeSet<String> = of_serve.union(&of_projector).cloned().collect();
    assert_eq!(exposed, documented(), "deploy/README.md has a table of them");

    assert_eq!(serve.get("/other").0, 404);
    assert_eq!(serve.ask("POST", "/metrics").0, 405);

    server.stop();
    until("it is not ready without a server", || {
        let (status, ready) = serve.json("/ready");
        (status == 503)
            .then(|| assert!(ready["reasons"][0].as_str().is_some_and(|why| why.contains("no connection")), "{ready}"))
    });
    assert_eq!(serve.get("/health").0, 200, "it waits, and is well");
    server.run();
    serve.becomes_ready();
    let said = serve.service.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_projector_with_a_broken_chain_says_so_and_goes_on_with_the_next_generation() {
    let Some(mut server) = Server::start() else { return };
    let (folder, stream, frames) = published(&server);
    let folder = folder.path();
    flip(&mut server, &stream, &frames[3], false);
    let url = server.url();
    let words = ["projector", "inventory", "--dir", "far", "--nats", &url, "--ready-commits", "2"];
    let mut projector = Watched::start(folder, &words);
    projector.service.note("the chain is broken at commit 4");
    projector.becomes("lotline_model_lag_commits{model=\"inventory\"}", 3.0);

    let (status, health) = projector.json("/health");
    assert_eq!((status, &health["healthy"]), (503, &Value::Bool(false)), "{health}");
    assert!(health["why"].as_str().is_some_and(|why| why.contains("broken at commit 4")), "{health}");
    let (status, ready) = projector.json("/ready");
    assert_eq!(status, 503, "{ready}");
    assert_eq!(ready["models"]["inventory"]["commit"], 3, "{ready}");
    let reasons = ready["reasons"].to_string();
    assert!(reasons.contains("inventory is as of commit 3, 3 commits and "), "{ready}");
    let (metrics, _) = projector.metrics();
    assert_eq!(metrics["lotline_chain_errors_total"], 1.0, "{metrics:#?}");
    assert_eq!(metrics["lotline_ready"], 0.0, "{metrics:#?}");
    until("it has been behind for a while", || {
        (projector.metrics().0["lotline_model_lag_seconds{model=\"inventory\"}"] > 0.0).then_some(())
    });

    let said = run(folder, &["relay", "--read-back", "--once", "--dir", "plant", "--nats", &url]);
    assert_eq!(said.code, 0, "{said:?}");
    projector.becomes("lotline_model_commit{model=\"inventory\"}", 6.0);
    projector.becomes_ready();
    assert_eq!(projector.get("/health").0, 200);
    let said = projector.service.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("as of commit 6"), "{said:?}");
}

#[test]
fn a_projector_with_a_broken_chain_ends_with_its_code_when_it_is_asked_to() {
    let Some(mut server) = Server::start() else { return };
    let (folder, stream, frames) = published(&server);
    flip(&mut server, &stream, &frames[3], false);
    let words = ["projector", "inventory", "--dir", "far", "--nats", &server.url()];
    let mut projector = Watched::start(folder.path(), &words);
    projector.service.note("waiting for the next generation");
    let said = projector.service.interrupt("TERM");
    assert_eq!(said.code, 5, "{said:?}");
}

#[test]
fn a_denied_permission_is_told_in_metrics_and_readiness() {
    let Some(secured) = Secured::start_changed(|config, _| remove(&config, "lotline.LEDGER.dead-letters.*")) else {
        return;
    };
    let access = secured.access("handler");
    let words: Vec<&str> = ["serve", "--dir", "plant"].into_iter().chain(access.iter().map(String::as_str)).collect();
    let mut serve = Watched::start(secured.path(), &words);
    serve.service.note("commands are taken from the NATS server");
    serve.becomes_ready();
    let id = ledger(secured.path());
    secured.wire("source_erp").request(&format!("lotline.{id}.queue.erp"), &[], b"no command");
    let denied = format!("denied to publish to lotline.{id}.dead-letters.erp");
    until("the denial is told", || {
        let (status, ready) = serve.json("/ready");
        (status == 503 && ready["reasons"].to_string().contains(&denied)).then_some(())
    });
    assert!(serve.metrics().0["lotline_permission_violations_total"] >= 1.0);
    assert_eq!(serve.get("/health").0, 200, "everything else goes on");
}

#[test]
fn who_is_told_to_come_again_and_what_comes_again_are_counted() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let words = ["serve", "--dir", "plant", "--nats", &url, "--waiting", "1"];
    let mut serve = Watched::start(folder, &words);
    serve.service.note("commands are taken from the NATS server");
    let mut wire = Wire::connect(&url);
    let to = subject(folder, &mut wire, "erp");
    for number in 0..100 {
        let line = received(&format!("r{number}"), &batch("milk", &format!("M{number}")), "100");
        wire.start(&to, &[], line.as_bytes());
    }
    let busy = (0..100).filter(|_| wire.next().code() == Some("429")).count();
    assert!(busy > 0);
    serve.becomes("lotline_requests_busy_total", busy as f64);
    serve.becomes("lotline_requests_total", (100 - busy) as f64);
    assert_eq!(serve.service.interrupt("TERM").code, 0);

    // Somebody takes a message, and never answers it.
    let queue = to.replace(".submit.", ".queue.");
    wire.request(&queue, &[], received("q1", &batch("milk", "Q1"), "7").as_bytes());
    let stream = format!("lotline-{}-queue", ledger(folder));
    wire.deliver(&stream, "handler");
    let serve = Watched::start(folder, &words);
    serve.becomes("lotline_queue_redeliveries_total", 1.0);
    serve.becomes("lotline_queue_messages_total", 1.0);
}

#[test]
fn a_relay_tells_how_far_the_stream_is() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    plant(folder, "plant");
    let relay = Watched::start(folder, &["relay", "--dir", "plant", "--nats", &server.url()]);
    relay.becomes_ready();
    relay.becomes("lotline_relay_head_commit", 6.0);
    let (metrics, _) = relay.metrics();
    for (series, value) in [
        ("lotline_head_commit", 6.0),
        ("lotline_relay_published_total", 6.0),
        ("lotline_relay_lag_commits", 0.0),
        ("lotline_ready", 1.0),
    ] {
        assert_eq!(metrics.get(series), Some(&value), "{series} in {metrics:#?}");
    }
    let said = relay.service.interrupt("INT");
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn an_address_that_is_taken_is_told_at_the_start() {
    let folder = tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one").to_string();
    let said = run(folder.path(), &["serve", "--dir", "plant", "--metrics", &address]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains(&format!("--metrics {address} cannot be listened to")), "{said:?}");
    let said = run(folder.path(), &["serve", "--dir", "plant", "--metrics", "nowhere"]);
    assert_eq!(said.code, 2, "{said:?}");
}
