//! Why a task stopped.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

pub type Result<T> = std::result::Result<T, Error>;

/// Ends a task. What a person must do is in the message, or was printed before it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}; `cargo xtask help` lists the tasks")]
    Usage(String),
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start `{program}`: is it installed?")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("`{command}` failed with {status}")]
    Command { command: String, status: String },
    /// A check found something; each finding was printed with its place and what to do.
    #[error("{0}")]
    Findings(String),
    /// Something that the task needs is not to be had on this machine.
    #[error("{0}")]
    Missing(String),
}

impl Error {
    /// Makes a `map_err` for file access: what was tried, and where.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Prints the error and its causes to standard error.
    pub fn report(&self) {
        eprint!("xtask: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            eprint!(": {error}");
            cause = error.source();
        }
        eprintln!();
    }

    /// 2 for a wrong call, 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}
