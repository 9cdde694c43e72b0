//! `cargo xtask test`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{mutants, process, tools};

/// Tells the long batteries to run at their full length.
const FULL: &str = "LOTLINE_FULL";
/// Tells the tests that run the command line that the one beside them is of their own build.
const BINARY: &str = "LOTLINE_BINARY_IS_BUILT";

/// Fetches what the tests need, runs them, and ends with the runner's own summary; `full` adds the
/// long batteries and, after the tests, the planted bugs.
pub fn run(workspace: &Workspace, full: bool, filter: Option<&str>) -> Result<()> {
    let server = tools::nats_server(workspace)?;
    let client = tools::nats_py(workspace)?;
    let nextest = process::has_cargo("nextest");
    let cargo = || {
        let mut cargo = process::cargo();
        cargo
            .current_dir(&workspace.root)
            .env(tools::NATS_SERVER, &server)
            .env(tools::NATS_PY, &client)
            .env(BINARY, "1");
        if full {
            cargo.env(FULL, "1");
        }
        cargo
    };

    if nextest {
        let mut tests = cargo();
        tests.args(["nextest", "run", "--workspace"]);
        if full {
            tests.args(["--profile", "full"]);
        }
        process::run(tests.args(filter))?;
        if filter.is_none() {
            // It runs no examples of the documentation.
            process::run(cargo().args(["test", "--doc", "--workspace", "--quiet"]))?;
        }
    } else {
        let mut tests = cargo();
        tests.args(["test", "--workspace", "--no-fail-fast"]);
        run_cargo_test(tests.args(filter))?;
    }
    if full && filter.is_none() {
        mutants::run(workspace, None)?;
    }
    Ok(())
}

/// Runs `cargo test` in view and closes with one line over all of its test binaries, which it prints
/// one summary each for.
fn run_cargo_test(command: &mut Command) -> Result<()> {
    println!("$ {}", process::line(command));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|source| process::start_error(command, source))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(Error::file("read", Path::new("the tests' output")))?;
            let line = String::from_utf8_lossy(&line);
            tally.read(&line);
            // A closed pipe must not end the tests: they are still judged by their exit code.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
    let status = child.wait().map_err(|source| process::start_error(command, source))?;
    println!("tests: {tally}");
    process::succeeded(command, status)?;
    if tally.passed == 0 {
        return Err(Error::Findings("no test ran: the filter matches none".to_owned()));
    }
    Ok(())
}

/// Counts of a test run, summed over its binaries.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub struct Tally {
    pub passed: u32,
    pub failed: u32,
    pub ignored: u32,
}

impl Tally {
    /// Adds what a line of the test harness's output says, if it is a closing line.
    pub fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in counts.split("; ") {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(count) = count.parse::<u32>() else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, failed, ignored } = self;
        write!(f, "{passed} passed, {failed} failed, {ignored} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tally_sums_the_closing_lines_of_every_binary() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test tests::test_result ... ok",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.20s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally.to_string(), "7 passed, 2 failed, 1 skipped");
    }
}
