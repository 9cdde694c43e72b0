//! `serve`: recording, read models and relay in one process, until it is asked to end.

use std::io::Write;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lotline_bus::stream_name;
use lotline_projections::{LedgerId, ReadModel, ReadModelKind};
use serde_json::Value;
use tempfile::tempdir;

use super::bus_projectors::{commits, embedded};
use super::bus_relay::{deliver, frames, plant, reader};
use super::bus_server::{Running, Server, signal, until};
use super::bus_wire::Wire;
use super::cli_binary::{batch, binary, received, run, ship};

fn answer(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The read models as a service left them, in words as `rebuild` has them.
fn left(folder: &Path, dir: &str) -> Vec<String> {
    let ledger = LedgerId(*reader(folder, dir).ledger().as_bytes());
    let models = ReadModelKind::ALL.into_iter().map(|kind| {
        let folder = folder.join(dir).join("models").join(kind.word());
        let model = ReadModel::open(&folder, kind, ledger).expect("nobody has it open");
        assert!(model.doubt().is_none(), "{:?}", model.doubt());
        format!("as of commit {}, digest {}", model.cursor().number.0, model.digest())
    });
    models.collect()
}

#[test]
fn one_process_records_keeps_the_models_and_relays_and_ends_when_asked() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let mut serve = Running::start(folder, &["serve", "--dir", "plant", "--nats", &url]);
    let milk = batch("milk", "M1");
    serve.tell(&received("r1", &milk, "100"));
    assert_eq!(answer(&serve.line())["answer"], "recorded");
    let mut projector =
        Running::start_as_service(folder, &["projector", "inventory", "--nats", &url, "--dir", "beside"]);
    projector.note("commits are kept");
    for number in 2..40 {
        serve.tell(&received(&format!("r{number}"), &batch("milk", &format!("M{number}")), "100"));
        assert_eq!(answer(&serve.line())["answer"], "recorded");
    }
    // What is refused is told in its line, and does not end a service.
    serve.tell(&ship("s1", &milk, "1000"));
    assert_eq!(answer(&serve.line())["answer"], "rejected");
    serve.tell("{");
    assert_eq!(answer(&serve.line())["answer"], "refused");
    let said = run(folder, &["submit", "--dir", "plant"]);
    assert_eq!(said.code, 4, "only one process records in a folder: {said:?}");

    let said = serve.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    let head = commits(folder, "plant");
    assert!(head >= 40, "{head}");
    assert!(said.err.contains(&format!("{head} commits published; ")), "{said:?}");
    let kept = left(folder, "plant");
    assert_eq!(kept, embedded(folder, "plant"), "all three were saved up to the head");
    let stream = stream_name(reader(folder, "plant").ledger(), 1);
    assert_eq!(Wire::connect(&url).messages(&stream), frames(&reader(folder, "plant")));

    let said = run(folder, &["projector", "recall", "--nats", &url, "--dir", "beside", "--until", &head.to_string()]);
    assert!(said.out.contains(&kept[2]), "{said:?}");
    // The one that ran all the time has it, too.
    let again = ["projector", "inventory", "--nats", &url, "--dir", "beside", "--until", &head.to_string()];
    let said = run(folder, &again);
    assert_eq!(said.code, 4, "the folder is in use: {said:?}");
    let said = projector.interrupt("INT");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(&kept[1]), "{said:?}");
}

#[test]
fn without_an_input_a_service_follows_what_other_processes_record() {
    let Some(server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let arguments = ["serve", "--dir", "plant", "--nats", &url, "--no-intake"];
    let mut serve = Running::start_as_service(folder, &arguments);
    serve.note("the input has ended; other processes may record in plant now");
    deliver(folder, "plant", 0..12);
    let stream = stream_name(reader(folder, "plant").ledger(), 1);
    let head = commits(folder, "plant");
    let mut wire = Wire::connect(&url);
    until("the stream has all commits", || (wire.count(&stream).1 == head).then_some(()));
    let said = serve.interrupt("INT");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(left(folder, "plant"), embedded(folder, "plant"));
    assert_eq!(wire.messages(&stream), frames(&reader(folder, "plant")));
}

#[test]
fn without_a_server_a_service_goes_on_behind_its_input_until_it_is_asked_to_end() {
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    plant(folder, "plant");
    let mut serve = Running::start(folder, &["serve", "--dir", "plant"]);
    serve.tell(&received("in", &batch("milk", "M99"), "1"));
    assert_eq!(answer(&serve.line())["answer"], "recorded");
    serve.end_input();
    serve.note("the input has ended");
    deliver(folder, "plant", 20..23);
    assert!(serve.lives());
    let said = serve.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(commits(folder, "plant"), 10);
    assert_eq!(left(folder, "plant"), embedded(folder, "plant"));
}

#[test]
fn a_service_that_is_asked_to_end_takes_no_half_of_a_line() {
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let mut serve = Running::start(folder, &["serve", "--dir", "plant"]);
    serve.tell(&received("whole", &batch("milk", "M1"), "1"));
    assert_eq!(answer(&serve.line())["answer"], "recorded");
    // Without its end this line might say anything.
    serve.tell_part(&received("half", &batch("milk", "M2"), "1"));
    let said = serve.interrupt("TERM");
    assert_eq!((said.code, said.out.lines().count()), (0, 1), "{said:?}");
    assert_eq!(commits(folder, "plant"), 1);
}

#[test]
fn a_service_records_on_while_the_server_is_away_and_publishes_it_later() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempdir().expect("a folder");
    let folder = folder.path();
    let url = server.url();
    let mut serve = Running::start(folder, &["serve", "--dir", "plant", "--nats", &url]);
    let record = |serve: &mut Running, number: u32| {
        serve.tell(&received(&format!("r{number}"), &batch("milk", &format!("M{number}")), "100"));
        assert_eq!(answer(&serve.line())["answer"], "recorded");
    };
    record(&mut serve, 1);
    server.stop();
    serve.note("the connection to the NATS server broke");
    for number in 2..5 {
        record(&mut serve, number);
    }
    // For a while one answers that keeps no streams.
    let plain = folder.join("plain.conf");
    std::fs::write(&plain, "server_name: plain\n").expect("written");
    server.run_with(&plain);
    serve.note("has JetStream switched off");
    for number in 5..8 {
        record(&mut serve, number);
    }
    server.stop();
    server.run_with(&Server::deployed());
    let stream = stream_name(reader(folder, "plant").ledger(), 1);
    until("the stream has all commits", || (Wire::connect(&url).count(&stream).1 == 7).then_some(()));
    // At the end the server is away again: what is not published is not lost, and it says so.
    server.stop();
    record(&mut serve, 8);
    let said = serve.interrupt("TERM");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("not everything could be published"), "{said:?}");
    server.run();
    let said = run(folder, &["relay", "--once", "--dir", "plant", "--nats", &url]);
    assert!(said.out.starts_with("1 commits published; "), "{said:?}");
    assert_eq!(Wire::connect(&url).messages(&stream), frames(&reader(folder, "plant")));
}

#[test]
fn a_service_that_cannot_end_as_it_should_ends_at_the_second_signal() {
    let folder = tempdir().expect("a folder");
    let mut command = Process::new(binary());
    command.args(["serve", "--dir", "plant"]).current_dir(folder.path());
    let mut serve = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = serve.stdin.take().expect("piped");
    // Nobody reads the answers. When they have filled their pipe, no more is read, and the input fills its own.
    let lines = b"{}\n".repeat(1_000);
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let writer = std::thread::spawn(move || {
        while input.write_all(&lines).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut before = 0;
    until("nothing goes on", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = written.load(Ordering::Relaxed);
        let stuck = now > 20 && now == before;
        before = now;
        stuck.then_some(())
    });
    let status = until("it ends", || {
        let ended = serve.try_wait().expect("it can be asked");
        if ended.is_none() {
            signal(&serve, "TERM");
            std::thread::sleep(Duration::from_millis(300));
        }
        ended
    });
    assert_eq!(status.code(), Some(130));
    writer.join().expect("it ends with the pipe");
}
