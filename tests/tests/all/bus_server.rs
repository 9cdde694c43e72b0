//! A NATS server of a test's own, and processes of the command line beside it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use lotline_bus::{Bus, BusOptions};
use serde_json::Value;
use tempfile::TempDir;

use super::cli_binary::{Said, VARIABLES, binary};

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server to start; `None`, told on standard error, where none is at hand.
pub fn program() -> Option<PathBuf> {
    if let Some(server) = std::env::var_os("LOTLINE_NATS_SERVER") {
        return Some(server.into());
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "LOTLINE_NATS_SERVER names no NATS server");
    eprintln!("skipped: LOTLINE_NATS_SERVER names no NATS server; `cargo xtask test` fetches one");
    None
}

/// A NATS server as `deploy/` configures it, on a port of its own, with its streams in a folder of its own.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    folder: TempDir,
    child: Option<Child>,
    port: u16,
    config: PathBuf,
}

impl Server {
    /// Starts one; `None` where there is none to start.
    pub fn start() -> Option<Self> {
        Self::start_with(&Self::deployed())
    }

    /// The configuration that is delivered.
    pub fn deployed() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/lotline.conf")
    }

    /// The same with another configuration.
    pub fn start_with(config: &Path) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self { program, folder, child: None, port: 0, config: config.to_owned() };
        server.run();
        Some(server)
    }

    /// Starts it again, on the same port.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let ports = self.folder.path().join("ports");
        let _ = fs::remove_dir_all(&ports);
        fs::create_dir(&ports).expect("a folder");
        let log = fs::File::options().append(true).create(true).open(self.folder.path().join("log")).expect("a log");
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).args(["--addr", "127.0.0.1", "--port", &port]);
        command.arg("--ports_file_dir").arg(&ports).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("the server starts"));
        self.port = until("the server listens", || {
            let file = fs::read_dir(&ports).ok()?.next()?.ok()?.path();
            let told: Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
            let port = told["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()?;
            TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(port)
        });
    }

    /// Starts it again with another configuration.
    pub fn run_with(&mut self, config: &Path) {
        self.config = config.to_owned();
        self.run();
    }

    /// Makes it read its configuration again, as an operator does.
    pub fn reload(&self) {
        signal(self.child.as_ref().expect("it runs"), "HUP");
    }

    /// Ends it as an operator does; its files are complete then.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        signal(&child, "TERM");
        child.wait().expect("it ended");
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port that it listens to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its streams are kept.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("nats-data")
    }

    /// A connection to it.
    pub fn bus(&self) -> Bus {
        Bus::connect(&self.url(), &BusOptions::default()).expect("the server answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal to a process that was started here.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success(), "the process lives");
}

/// Looks again and again until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

#[track_caller]
fn until_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < patience, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The command line in a process of its own, which goes on beside the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    out: Lines,
    err: Lines,
}

impl Running {
    /// Starts it, with an open standard input.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.current_dir(folder).args(arguments).stdin(Stdio::piped());
        Self::spawn(command)
    }

    /// Starts it as a service is started: without a standard input.
    pub fn start_as_service(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.current_dir(folder).args(arguments).stdin(Stdio::null());
        Self::spawn(command)
    }

    /// Starts another program.
    pub fn start_other(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        for name in VARIABLES {
            command.env_remove(name);
        }
        command
            .env("RUST_LOG", "warn,lotline_bus=info,lotline::services=info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let out = Lines::of(child.stdout.take().expect("piped"));
        let err = Lines::of(child.stderr.take().expect("piped"));
        Self { input: child.stdin.take(), child, out, err }
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it reads");
    }

    /// Writes what is not a whole line to its standard input.
    pub fn tell_part(&mut self, part: &str) {
        let input = self.input.as_mut().expect("its input is open");
        write!(input, "{part}").and_then(|()| input.flush()).expect("it reads");
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        drop(self.input.take());
    }

    /// Waits for the next line of its standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.out.next("a line of the standard output")
    }

    /// Waits for a line of its standard error that has this in it.
    #[track_caller]
    pub fn note(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let line = self.err.next(text);
            if line.contains(text) {
                return line;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain: {text}; before it came {:#?}", self.err.come);
        }
    }

    /// Whether it has not ended.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// Kills it: it is not asked.
    pub fn kill(mut self) -> Said {
        self.child.kill().expect("killed");
        self.end()
    }

    /// Asks it to end, and waits until it has; its standard input stays open.
    #[track_caller]
    pub fn interrupt(self, name: &str) -> Said {
        signal(&self.child, name);
        self.ended()
    }

    /// Ends its standard input, and waits until it has ended by itself.
    #[track_caller]
    pub fn end(mut self) -> Said {
        self.end_input();
        self.ended()
    }

    /// Waits until it has ended by itself, longer than most.
    #[track_caller]
    pub fn end_within(mut self, patience: Duration) -> Said {
        self.end_input();
        self.ended_within(patience)
    }

    #[track_caller]
    fn ended(self) -> Said {
        self.ended_within(PATIENCE)
    }

    #[track_caller]
    fn ended_within(mut self, patience: Duration) -> Said {
        let status = until_within(patience, "the process ends", || self.child.try_wait().expect("it can be asked"));
        Said { code: status.code().unwrap_or(-1), out: self.out.rest(), err: self.err.rest() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come, without waiting in the test's own thread for one that never does.
#[derive(Debug)]
struct Lines {
    coming: Receiver<String>,
    come: Vec<String>,
}

impl Lines {
    fn of(from: impl Read + Send + 'static) -> Self {
        let (pass, coming) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if pass.send(line).is_err() {
                    return;
                }
            }
        });
        Self { coming, come: Vec::new() }
    }

    #[track_caller]
    fn next(&mut self, what: &str) -> String {
        let line = self.coming.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("in vain: {what}; before it came {:#?}", self.come));
        self.come.push(line.clone());
        line
    }

    /// All that came, to the end.
    fn rest(&mut self) -> String {
        self.come.extend(self.coming.iter());
        self.come.iter().map(|line| format!("{line}\n")).collect()
    }
}
