//! The way over NATS: relay, intake, feed and projectors, beside a bare client that publishes the same bytes.
//!
//! The server is the one that `LOTLINE_NATS_SERVER` names (`cargo xtask tools` fetches one and tells its path), with the
//! configuration of `deploy/`, on this machine. The processes are those of the command line, built beside this bench.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, message::PublishMessage};
use futures_util::StreamExt;
use lotline_bus::{Bus, BusOptions, Relay, RelayOptions, Stop};
use lotline_ledger::{CommitNumber, Entry, Key, LedgerId, Micros, Options as LedgerOptions, OsStorage, Writer};
use tokio::runtime::Runtime;

use crate::measure::{median, middle, per_second, rate, time, timed, times};
use crate::table::{Row, Table};
use crate::{Options, Outcome, fixture};

const KINDS: [&str; 3] = ["genealogy", "inventory", "recall"];
/// Bytes of an event.
const EVENT: usize = 300;
/// So many messages of the bare client are under way at once, as many as the relay has.
const WINDOW: usize = 16;
/// Requests in a second, and for how long.
const RATE: u64 = 1_000;
const SECONDS: u64 = 10;

/// Measures it.
pub fn run(dir: &Path, options: &Options, table: &mut Table) -> Outcome {
    for (sync, told) in [("always", "each message synced"), ("2m", "synced every 2 minutes")] {
        let server = Server::start(sync)?;
        for events in [1, 10, 100] {
            relaying(dir, options, table, &server, events, told)?;
        }
    }
    for (sync, told) in [("always", "each message synced"), ("2m", "synced every 2 minutes")] {
        answering(dir, table, &Server::start(sync)?, told)?;
    }
    let server = Server::start("2m")?;
    replaying(dir, options, table, &server)
}

/// A server in a folder of its own.
struct Server {
    child: Child,
    port: u16,
    /// Removed when it has ended.
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(sync: &str) -> Outcome<Self> {
        let program = std::env::var_os("LOTLINE_NATS_SERVER")
            .ok_or("LOTLINE_NATS_SERVER has to name a NATS server: `cargo xtask tools` fetches one and tells where")?;
        let folder = tempfile::tempdir()?;
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/lotline.conf");
        let text = std::fs::read_to_string(config)?.replace("sync_interval: always", &format!("sync_interval: {sync}"));
        std::fs::write(folder.path().join("server.conf"), text)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["--config", "server.conf", "--port", &port.to_string()]).current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { child, port, _folder: folder };
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the NATS server does not listen".into())
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn bus(&self) -> Outcome<Bus> {
        Ok(Bus::connect(&self.url(), &BusOptions::default())?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Commits that are written one after the other, each synced, while the relay publishes them; beside them the same
/// bytes published alone.
fn relaying(dir: &Path, options: &Options, table: &mut Table, server: &Server, events: u64, told: &str) -> Outcome {
    let commits = if events == 100 { 1_500 } else { 3_000 };
    let runtime = Runtime::new()?;
    let (mut ours, mut bare, mut behind, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let work = tempfile::tempdir_in(dir)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let mut writer = Writer::create(OsStorage::shared(), work.path(), LedgerId::new(id), LedgerOptions::default())?;
        let reader = writer.reader();
        let bus = server.bus()?;
        let stop = Stop::new();
        let mut relay = Relay::new(&bus, reader.clone(), RelayOptions::default());
        relay.compare(&stop)?;
        let done = std::thread::scope(|scope| -> Outcome<Duration> {
            let relaying = scope.spawn(|| relay.run(&stop));
            let begun = Instant::now();
            for number in 0..commits {
                let entries: Result<Vec<Entry>, _> = (0..events)
                    .map(|event| {
                        let key = Key::new((u128::from(number) * 128 + u128::from(event)).to_be_bytes());
                        Entry::new([key], &[event as u8; EVENT][..])
                    })
                    .collect();
                writer.append(Micros::new(1 + number as i64), &entries?)?;
            }
            while bus.stream_head(reader.ledger())?.is_none_or(|head| head.commit.get() < commits) {
                std::thread::sleep(Duration::from_micros(500));
            }
            let passed = begun.elapsed();
            stop.now();
            relaying.join().expect("the relay does not panic")?;
            Ok(passed)
        })?;
        let frames: Result<Vec<Vec<u8>>, _> =
            reader.frames(CommitNumber::new(1)).map(|frame| frame.map(|frame| frame.bytes().to_vec())).collect();
        let frames = frames?;
        let alone = runtime.block_on(publish(&server.url(), &format!("bare-{events}-{round}"), &frames))?;
        // What the relay does with a ledger that is there already.
        let again = server_without(server, &runtime, reader.ledger())?;
        let mut relay = Relay::new(&bus, reader.clone(), RelayOptions::default());
        let (catching_up, relayed) = timed(|| relay.once(&Stop::new()));
        if relayed?.published != commits || !again {
            return Err("the relay did not publish all of it anew".into());
        }
        let count = commits * events;
        ours.push(rate(count, done));
        bare.push(rate(count, alone));
        behind.push(rate(count, catching_up));
        ratios.push(alone.as_secs_f64() / done.as_secs_f64());
    }
    let bare = middle(bare);
    let behind = middle(behind);
    table.add(Row {
        what: format!("ledger and relay, {events} events a commit; {told}"),
        figure: format!("{} events", per_second(middle(ours))),
        aim: "0.7 times".to_owned(),
        peer: format!("bare publishing {}", per_second(bare)),
        ratio: times(middle(ratios)),
        limit: format!("one sync a commit; the relay alone, behind: {} of it", times(behind / bare)),
    });
    Ok(())
}

/// Takes a ledger's stream away, so that it is published anew.
fn server_without(server: &Server, runtime: &Runtime, ledger: LedgerId) -> Outcome<bool> {
    runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(server.url()).await?);
        Ok(context.delete_stream(lotline_bus::stream_name(ledger, 1)).await?.success)
    })
}

/// A client that publishes and waits for its acknowledgements, nothing else.
async fn publish(url: &str, name: &str, frames: &[Vec<u8>]) -> Outcome<Duration> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let config = Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        storage: StorageType::File,
        ..Config::default()
    };
    context.create_stream(config).await?;
    let begun = Instant::now();
    let mut under_way = std::collections::VecDeque::new();
    for frame in frames {
        if under_way.len() == WINDOW {
            let ack: jetstream::context::PublishAckFuture = under_way.pop_front().expect("a window of them");
            ack.await?;
        }
        let message = PublishMessage::build().payload(frame.clone().into());
        under_way.push_back(context.send_publish(name.to_owned(), message).await?);
    }
    for ack in under_way {
        ack.await?;
    }
    Ok(begun.elapsed())
}

/// The command line that was built beside this bench.
fn program() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("lotline");
    match program.is_file() {
        true => Ok(program),
        false => Err(format!("{} is not there: cargo build --release -p lotline", program.display()).into()),
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Requests at a steady rate: from sending to the receipt, and to the change on the feed.
fn answering(dir: &Path, table: &mut Table, server: &Server, told: &str) -> Outcome {
    let work = tempfile::tempdir_in(dir)?;
    let mut serve = Command::new(program()?);
    serve.args(["serve", "--nats", &server.url(), "--dir", "plant"]).current_dir(work.path());
    let serve = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let _serve = Running(serve);
    let (receipts, changes, sent) = Runtime::new()?.block_on(ask(&server.url()))?;
    for (what, mut waits) in [("receipt", receipts), ("change on the feed", changes)] {
        waits.sort_unstable();
        let at = |share: usize| waits.get(waits.len() * share / 1000).copied().unwrap_or_default();
        table.add(Row {
            what: format!("request to {what}, {RATE} a second for {SECONDS} s; {told}"),
            figure: format!("p50 {}, p99 {} ({} of {sent})", time(at(500)), time(at(990)), waits.len()),
            aim: "p99 < 15 ms".to_owned(),
            limit: format!("worst {}", time(waits.last().copied().unwrap_or_default())),
            ..Row::default()
        });
    }
    Ok(())
}

async fn ask(url: &str) -> Outcome<(Vec<Duration>, Vec<Duration>, u64)> {
    let client = async_nats::connect(url).await?;
    let mut ledger = None;
    for _ in 0..500 {
        if let Ok(found) = client.request("$SRV.INFO.lotline", "".into()).await {
            let found: serde_json::Value = serde_json::from_slice(&found.payload)?;
            let subject = found["endpoints"][0]["subject"].as_str().unwrap_or_default();
            ledger = subject.split('.').nth(1).map(str::to_owned);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ledger = ledger.ok_or("the service is not found")?;
    let mut feed = client.subscribe(format!("lotline.{ledger}.on-hand.>")).await?;
    client.flush().await?;
    // The feed and its streams are there once there is something to tell.
    let submit = format!("lotline.{ledger}.submit.bench");
    for warm in 0..200 {
        client.request(submit.clone(), received(&format!("w{warm}")).into()).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let total = RATE * SECONDS;
    let due = move |number: u64| begun + Duration::from_micros(number * 1_000_000 / RATE);
    let hearing = tokio::spawn(async move {
        let mut heard = Vec::new();
        let mut seen: HashMap<u64, ()> = HashMap::new();
        while heard.len() < total as usize {
            let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(5), feed.next()).await else { break };
            let Ok(change) = serde_json::from_slice::<serde_json::Value>(&message.payload) else { continue };
            let now = Instant::now();
            for cause in change["causes"].as_array().into_iter().flatten() {
                let number = cause.as_str().and_then(|cause| cause.strip_prefix('b')).and_then(|n| n.parse().ok());
                if let Some(number) = number.filter(|number| seen.insert(*number, ()).is_none()) {
                    heard.push(now.saturating_duration_since(due(number)));
                }
            }
        }
        heard
    });
    let mut asking = Vec::new();
    for number in 0..total {
        tokio::time::sleep_until(due(number).into()).await;
        let (client, submit) = (client.clone(), submit.clone());
        asking.push(tokio::spawn(async move {
            let answer = client.request(submit, received(&format!("b{number}")).into()).await;
            answer
                .is_ok_and(|answer| answer.headers.is_none_or(|all| all.get("Nats-Service-Error-Code").is_none()))
                .then(|| Instant::now().saturating_duration_since(due(number)))
        }));
    }
    let mut receipts = Vec::new();
    for one in asking {
        receipts.extend(one.await?);
    }
    Ok((receipts, hearing.await?, total))
}

fn received(id: &str) -> String {
    format!(
        r#"{{"type":"received","id":"{id}","source":"bench","occurred_at":"2026-03-01T08:00:00+01:00","lines":[{{"batch":{{"item":"milk","code":"{id}"}},"quantity":{{"value":"100","unit":"KGM"}}}}],"from":"farm","to":"dock"}}"#
    )
}

/// Each projector from the stream alone, in a process of its own; its digest has to be that of the ledger's own model.
fn replaying(dir: &Path, options: &Options, table: &mut Table, server: &Server) -> Outcome {
    let folder = fixture::dairy_ledger(dir, options.events)?;
    let reader = fixture::reader(&folder)?;
    let head = reader.head().commit;
    let bus = server.bus()?;
    let (publishing, relayed) = timed(|| Relay::new(&bus, reader.clone(), RelayOptions::default()).once(&Stop::new()));
    relayed?;
    table.add(Row {
        what: format!("the relay publishes {} events in {head} commits", options.events),
        figure: format!("{} events", per_second(rate(options.events, publishing))),
        ..Row::default()
    });
    let program = program()?;
    let mut rebuild = Command::new(&program);
    let own = rebuild.arg("rebuild").arg("--dir").arg(folder.path()).stderr(Stdio::null()).output()?;
    let own = String::from_utf8(own.stdout)?;
    for kind in KINDS {
        let (mut rounds, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let work = tempfile::tempdir_in(dir)?;
            let mut projector = Command::new(&program);
            projector.args([
                "projector",
                kind,
                "--nats",
                &server.url(),
                "--until",
                &head.to_string(),
                "--dir",
                "empty",
            ]);
            projector
                .current_dir(work.path())
                .env("RUST_LOG", "warn,lotline_bus=info,lotline::services=info")
                .env("NO_COLOR", "1");
            let begun = Instant::now();
            let mut projector = projector.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            // Applied and saved; after that it computes its digest, which settles every batch.
            let mut took = None;
            for line in BufReader::new(projector.stderr.take().expect("piped")).lines() {
                if line?.contains(&format!("saved commit={head}")) {
                    took.get_or_insert(begun.elapsed());
                }
            }
            let said = String::from_utf8(projector.wait_with_output()?.stdout)?;
            let took = took.ok_or("the projector did not save the last commit")?;
            whole.push(begun.elapsed());
            let (told, _) = said.split_once(';').ok_or_else(|| format!("the projector said {said:?}"))?;
            if !own.lines().any(|line| line == told) {
                return Err(format!("the {kind} of the stream is not that of the ledger: {told} and {own}").into());
            }
            rounds.push(took);
        }
        table.add(Row {
            what: format!("{kind} from the stream alone, in a process of its own"),
            figure: format!("{} events", per_second(rate(options.events, median(rounds)))),
            aim: "200 k/s".to_owned(),
            peer: "digest as of the ledger's own model".to_owned(),
            limit: format!("with its digest {}", time(median(whole))),
            ..Row::default()
        });
    }
    Ok(())
}
