//! Project tasks: run as `cargo xtask TASK`.
//!
//! Never part of what is shipped. Of the rooms it uses `wire` alone, to write the generated schemas.

mod ci;
mod error;
mod mutants;
mod process;
mod schemas;
mod testing;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use crate::error::{Error, Result};
use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask TASK

  test [--full] [FILTER]  every test, with what they need fetched first (a NATS server, pinned by hash)
                          FILTER: only tests whose name contains it (documentation tests are left out)
                          --full: the long batteries and the planted bugs too
  ci [--no-test]          format, clippy, tidy, schemas, deny, test
  schemas [--check]       write the generated files of schemas/, or compare them with what is there
  tidy                    the rules of the house that no compiler checks
  mutants [NAME]          apply each planted bug of tests/planted to a copy; its law must fail there
  tools                   fetch what the tests need and print where it is
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Task::parse(&arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            error.exit_code()
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::here();
    match task {
        Task::Help => {
            print!("{HELP}");
            Ok(())
        }
        Task::Test { full, filter } => testing::run(&workspace, full, filter.as_deref()),
        Task::Ci { test } => ci::run(&workspace, test),
        Task::Schemas { check: true } => schemas::check(&workspace),
        Task::Schemas { check: false } => schemas::write(&workspace),
        Task::Tidy => tidy::run(&workspace),
        Task::Mutants { name } => mutants::run(&workspace, name.as_deref()),
        Task::Tools => {
            println!("{}", tools::nats_server(&workspace)?.display());
            Ok(())
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Task {
    Help,
    Test { full: bool, filter: Option<String> },
    Ci { test: bool },
    Schemas { check: bool },
    Tidy,
    Mutants { name: Option<String> },
    Tools,
}

impl Task {
    fn parse(arguments: &[String]) -> Result<Self> {
        let Some((task, rest)) = arguments.split_first() else {
            return Ok(Self::Help);
        };
        let mut rest = Arguments(rest.to_vec());
        let task = match task.as_str() {
            "help" | "--help" | "-h" => Self::Help,
            "test" => Self::Test { full: rest.flag("--full"), filter: rest.word() },
            "ci" => Self::Ci { test: !rest.flag("--no-test") },
            "schemas" => Self::Schemas { check: rest.flag("--check") },
            "tidy" => Self::Tidy,
            "mutants" => Self::Mutants { name: rest.word() },
            "tools" => Self::Tools,
            other => return Err(Error::Usage(format!("no task is named `{other}`"))),
        };
        rest.nothing_left()?;
        Ok(task)
    }
}

/// What follows the task's name, consumed piece by piece.
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() < before
    }

    fn word(&mut self) -> Option<String> {
        let at = self.0.iter().position(|argument| !argument.starts_with('-'))?;
        Some(self.0.remove(at))
    }

    fn nothing_left(&self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(argument) => Err(Error::Usage(format!("`{argument}` is not understood here"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Task::parse(&arguments)
    }

    #[test]
    fn flags_and_words_stand_in_any_order() {
        let expected = Task::Test { full: true, filter: Some("law".to_owned()) };
        assert_eq!(parse("test --full law").expect("understood"), expected);
        assert_eq!(parse("test law --full").expect("understood"), expected);
        assert_eq!(parse("ci --no-test").expect("understood"), Task::Ci { test: false });
        assert_eq!(parse("").expect("understood"), Task::Help);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["tests", "test --fast", "tidy crates", "test one two", "ci --full"] {
            assert!(matches!(parse(line), Err(Error::Usage(_))), "{line}");
        }
    }
}
