//! Builds and runs the named tests in the copy.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::copy::Copy;
use super::patch::Law;
use crate::error::{Error, Result};
use crate::process;
use crate::testing::Tally;

/// A law that takes longer with a bug in the code is stopped.
const MOST_TIME: Duration = Duration::from_secs(900);

/// What the named tests did.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed { tests: u32 },
    Failed { tests: u32 },
    DoesNotBuild,
    TimedOut,
    NoSuchTest,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { tests } => write!(f, "{tests} tests pass"),
            Self::Failed { tests } => write!(f, "{tests} tests fail"),
            Self::DoesNotBuild => f.write_str("does not build"),
            Self::TimedOut => write!(f, "takes over {} s", MOST_TIME.as_secs()),
            Self::NoSuchTest => f.write_str("no test has that name"),
        }
    }
}

/// Runs the law in the copy as it is now.
pub fn run(copy: &Copy, law: &Law) -> Result<Verdict> {
    let Some(binaries) = build(copy, law)? else {
        return Ok(Verdict::DoesNotBuild);
    };
    let mut tally = Tally::default();
    let mut crashed = 0;
    for (binary, package) in binaries {
        let log = copy.target.join("law.log");
        let Some(status) = run_binary(copy, law, &binary, &package, &log)? else {
            return Ok(Verdict::TimedOut);
        };
        let told = std::fs::read(&log).map_err(Error::file("read", &log))?;
        let before = tally;
        for line in String::from_utf8_lossy(&told).lines() {
            tally.read(line);
        }
        // A test that aborts leaves no closing line.
        crashed += u32::from(!status.success() && tally == before);
    }
    let failed = tally.failed + crashed;
    Ok(if failed > 0 {
        Verdict::Failed { tests: failed }
    } else if tally.passed > 0 {
        Verdict::Passed { tests: tally.passed }
    } else {
        Verdict::NoSuchTest
    })
}

/// Test binaries of the law's package with that package's folder; `None` where it does not build.
fn build(copy: &Copy, law: &Law) -> Result<Option<Vec<(PathBuf, PathBuf)>>> {
    let mut cargo = process::cargo();
    cargo
        .args(["test", "--quiet", "--no-run", "--package", &law.package])
        // By name: `--tests` would leave out those that `cargo test` does not run by itself.
        .args(["--test", "*", "--offline"])
        .args(["--message-format", "json-render-diagnostics"])
        .env("CARGO_TARGET_DIR", &copy.target)
        // Each bug changes a line or two, and only what depends on them is built again.
        .env("CARGO_INCREMENTAL", "1")
        .current_dir(&copy.root);
    let output = cargo.stderr(Stdio::inherit()).output().map_err(|source| process::start_error(&cargo, source))?;
    if !output.status.success() {
        return Ok(None);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(Some(messages.lines().filter_map(test_binary).collect()))
}

/// The test binary and its package's folder, if this message of cargo's is about one.
fn test_binary(message: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let binary = PathBuf::from(message["executable"].as_str()?);
    let package = Path::new(message["manifest_path"].as_str()?).parent()?;
    is_test.then(|| (binary, package.to_owned()))
}

/// Runs one test binary by itself, so that it can be stopped; `None` where it had to be.
fn run_binary(copy: &Copy, law: &Law, binary: &Path, package: &Path, log: &Path) -> Result<Option<ExitStatus>> {
    let file = || File::create(log).map_err(Error::file("write", log));
    let mut test = Command::new(binary);
    test.arg(&law.filter)
        .current_dir(package)
        .env("CARGO_MANIFEST_DIR", package)
        // What one planted bug makes fail must not be tried first with the next one.
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        // That it fails is enough; the smallest case is not asked for.
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .stdin(Stdio::null())
        .stdout(file()?)
        .stderr(Stdio::null());
    if std::env::var_os("LOTLINE_DATA").is_none()
        && let Some(data) = copy.data()
    {
        test.env("LOTLINE_DATA", data);
    }
    let mut child = test.spawn().map_err(|source| process::start_error(&test, source))?;
    let started = Instant::now();
    loop {
        let status = child.try_wait().map_err(|source| process::start_error(&test, source))?;
        if status.is_some() {
            return Ok(status);
        }
        if started.elapsed() > MOST_TIME {
            // It may have ended just now; either way it is gone after the wait.
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
