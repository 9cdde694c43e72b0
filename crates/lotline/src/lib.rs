//! The binary: command line, composition of the rooms, and the simulated dairy.
//!
//! What it never does: decide, settle or store anything itself. The clock and the operating system's
//! randomness are used here and in `handler`, nowhere below.

pub mod answer;
pub mod args;
pub mod ask;
pub mod bounds;
pub mod capture;
pub mod dairy;
pub mod demo;
pub mod failure;
pub mod folder;
pub mod keep;
pub mod named;
pub mod outcome;
pub mod picture;
pub mod print;
pub mod progress;
pub mod services;
pub mod sheets;
pub mod submit;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::{Exit, Failure};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for_help = !error.use_stderr();
            // Where even that cannot be written there is nobody to tell.
            let _ = error.print();
            return code(if asked_for_help { Exit::Done } else { Exit::Usage });
        }
    };
    match run(&cli.command) {
        Ok(exit) => code(exit),
        Err(failure) => {
            eprintln!("lotline: {failure}");
            code(failure.exit())
        }
    }
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Capture(asked) => capture::capture(asked),
        Command::Submit(asked) => submit::submit(asked),
        Command::Trace(asked) => ask::trace(asked),
        Command::OnHand(asked) => ask::on_hand(asked),
        Command::Recall(asked) => ask::recall(asked),
        Command::History(asked) => ask::history(asked),
        Command::Exceptions(asked) => ask::exceptions(asked),
        Command::Verify(asked) => keep::verify(asked),
        Command::Rebuild(asked) => keep::rebuild(asked),
        Command::Demo(asked) => demo::demo(asked),
        Command::Serve(asked) => services::serve(asked),
        Command::Relay(asked) => services::relay(asked),
        Command::Projector(asked) => services::projector(asked),
        Command::DeadLetters(asked) => services::dead_letters(asked),
    }
}
