//! The binary by itself: what it says about itself.

use std::process::Command;

/// Standard output of a run that has to succeed.
fn said(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lotline")).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

#[test]
fn help_names_every_command_and_exit_code() {
    let help = said(&["--help"]);
    let asking = ["trace", "on-hand", "recall", "history", "exceptions"];
    let keeping = ["demo", "capture", "submit", "verify", "rebuild", "serve", "relay", "projector"];
    for command in asking.iter().chain(&keeping) {
        assert!(help.contains(&format!("  {command} ")), "{command} is not in {help}");
        assert!(said(&[*command, "--help"]).contains("Usage:"), "{command}");
    }
    for code in 0..=7 {
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} is not in {help}");
    }
}
