//! The lotline command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    lotline::main()
}
