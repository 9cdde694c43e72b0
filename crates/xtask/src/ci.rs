//! `cargo xtask ci`: everything that must hold before a change is taken.

use std::process::Command;

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{process, schemas, testing, tidy};

type Check = fn(&Workspace) -> Result<()>;

/// Runs every check, cheapest first, and the tests last unless they are run apart. A failed check does
/// not keep the later ones from running: all that is to mend is told at once.
pub fn run(workspace: &Workspace, test: bool) -> Result<()> {
    let checks: [(&str, Check); 5] =
        [("format", format), ("tidy", tidy::run), ("schemas", schemas::check), ("deny", deny), ("clippy", clippy)];
    let mut failed = Vec::new();
    for (name, check) in checks {
        println!("== {name}");
        if let Err(error) = check(workspace) {
            error.report();
            failed.push(name);
        }
    }
    if test {
        println!("== test");
        if let Err(error) = testing::run(workspace, false, None) {
            error.report();
            failed.push("test");
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::Findings(format!("these checks failed: {}", failed.join(", "))))
}

fn format(workspace: &Workspace) -> Result<()> {
    if component_is_missing("fmt", "rustfmt")? {
        return Ok(());
    }
    // Names of files only: `cargo fmt --all` mends them.
    process::run(cargo(workspace).args(["fmt", "--all", "--check", "--", "-l"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    if component_is_missing("clippy", "clippy")? {
        return Ok(());
    }
    process::run(cargo(workspace).args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}

/// Rust's usual installation has both components; a bare one may skip them by hand, never in CI.
fn component_is_missing(subcommand: &str, component: &str) -> Result<bool> {
    if process::has_cargo(subcommand) {
        return Ok(false);
    }
    let message = format!("cargo {subcommand} is not installed: `rustup component add {component}`");
    if process::in_ci() {
        return Err(Error::Missing(message));
    }
    println!("SKIPPED: {message}");
    Ok(true)
}

/// Licences, sources and bans need only the lock file. Advisories need a database from outside: where
/// it cannot be reached, that is said.
fn deny(workspace: &Workspace) -> Result<()> {
    if !process::has_cargo("deny") {
        println!(
            "SKIPPED: cargo-deny is not installed here (`cargo install cargo-deny --locked`); tidy has \
             checked that every package comes from the registry"
        );
        return Ok(());
    }
    process::run(deny_check(workspace).args(["licenses", "bans", "sources"]))?;
    let mut advisories = deny_check(workspace);
    let output = advisories.arg("advisories").output().map_err(|source| process::start_error(&advisories, source))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && told.contains("failed to fetch advisory database") {
        println!("SKIPPED: advisories: the database of advisories cannot be reached from here");
        return Ok(());
    }
    eprint!("{told}");
    process::succeeded(&advisories, output.status)
}

fn deny_check(workspace: &Workspace) -> Command {
    let mut deny = cargo(workspace);
    deny.args(["deny", "--config", ".cargo/deny.toml", "check"]);
    deny
}

fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = process::cargo();
    cargo.current_dir(&workspace.root);
    cargo
}
