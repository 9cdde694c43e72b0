//! What a process ends with: an exit code that scripts can tell apart, and one message for people.

use std::error::Error;
use std::fmt;
use std::path::Path;

use lotline_domain::id::BatchRef;
use lotline_handler::{CaptureError, LoadError, SubmitError};
use lotline_ledger::{AppendError, GroupError, KeyringError, OpenError, ReadError};
use lotline_wire::payload::DecodeError;

/// Exit codes. They are part of the command line's interface: a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// A business no: an intent was rejected, an id was used twice, or nothing is known of what was asked.
    No = 1,
    /// The command line was not understood.
    Usage = 2,
    /// Input that cannot be read: malformed, a unit that is none, a code that fits several batches.
    Input = 3,
    /// Somebody else has the data folder open, the clock has to be looked at, or the NATS server cannot be used as it
    /// is: try again later.
    Busy = 4,
    /// Stored bytes are not what was written; nor are those of a stream that differs from its ledger.
    Damage = 5,
    /// A newer program wrote it.
    Newer = 6,
    /// A file or disk failed: full, read-only, gone.
    Disk = 7,
    /// The NATS server refuses the credentials or a permission, or one side does not trust the other's certificate.
    Denied = 8,
}

/// What the help says about the exit codes.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  a business no: an intent was rejected, an id came again with other content, nothing is known of it
  2  the command line was not understood, or names no data folder
  3  bad input: malformed, unknown unit, no offset, a code that fits several batches …
  4  the data folder is in use by another process, the clock has to be looked at, or the NATS server cannot
     be used as it is: try again later
  5  damage: stored bytes, or those of a stream, are not what was written
  6  written by a newer version of this program
  7  a file or disk failed: full, read-only, gone
  8  the NATS server refuses the credentials or a permission, or one side does not trust the other's certificate";

/// Why the process cannot do what it was asked.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    advice: Option<String>,
    candidates: Vec<BatchRef>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// With a message that says what is wrong.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: None, candidates: Vec::new(), source: None }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same, with the batches that a name fits.
    #[must_use]
    pub fn candidates(mut self, candidates: Vec<BatchRef>) -> Self {
        self.candidates = candidates;
        self
    }

    /// The batches that a name fits, where that is the failure.
    pub fn fits(&self) -> &[BatchRef] {
        &self.candidates
    }

    /// What to do about it.
    pub fn what_to_do(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// What is wrong and what is behind it, without what to do.
    pub fn message(&self) -> String {
        let mut said = self.message.clone();
        let mut source: Option<&(dyn Error + 'static)> = self.source.as_deref().map(|error| error as _);
        while let Some(error) = source {
            let text = error.to_string();
            // Some errors say what is behind them themselves.
            if !said.contains(&text) {
                said = format!("{said}: {text}");
            }
            source = error.source();
        }
        said
    }

    /// The same, with the error behind it.
    #[must_use]
    pub fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// A file that could not be read or written.
    pub fn file(doing: &str, path: &Path, source: std::io::Error) -> Self {
        let full = matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        let failure = Self::new(Exit::Disk, format!("cannot {doing} {}", path.display())).because(source);
        if full { failure.advice("free some space and try again") } else { failure }
    }

    /// Its exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// The message, what is behind it, and what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match &self.advice {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

/// Its text has all causes in it already.
impl Error for Failure {}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let (exit, advice) = match &error {
            OpenError::NotFound { .. } => (
                Exit::Usage,
                Some("name the data folder with --dir; `lotline capture` and `lotline submit` begin a new one"),
            ),
            OpenError::Exists { .. } => (Exit::Usage, Some("name another folder with --dir")),
            OpenError::InUse { .. } => {
                (Exit::Busy, Some("one process at a time records in a folder: wait for it, or stop it"))
            }
            OpenError::Options { .. } => (Exit::Usage, None),
            OpenError::DiskFull(_) | OpenError::Io(_) => (Exit::Disk, None),
            OpenError::Damaged(_) => (
                Exit::Damage,
                Some(
                    "nothing was changed; run `lotline verify` for the whole picture, and restore the folder from a copy",
                ),
            ),
            OpenError::NewerFormat(_) => (Exit::Newer, None),
        };
        let failure = Self::new(exit, error.to_string()).because(error);
        match advice {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        OpenError::from(error).into()
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        let exit = match &error {
            KeyringError::Taken { .. } | KeyringError::Damaged(_) => Exit::Damage,
            KeyringError::NewerFormat(_) => Exit::Newer,
            KeyringError::Io(_) => Exit::Disk,
        };
        Self::new(exit, "the keyring of sealed values cannot be used").because(error)
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let exit = match &error {
            AppendError::Rejected(_) => Exit::Input,
            AppendError::DiskFull(_) | AppendError::Poisoned(_) => Exit::Disk,
        };
        Self::new(exit, error.to_string()).because(error)
    }
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Append(error) => error.into(),
            other => Self::new(Exit::Disk, other.to_string()),
        }
    }
}

/// A stored event that cannot be understood.
pub fn undecodable(position: u64, error: DecodeError) -> Failure {
    let exit = if matches!(error, DecodeError::UnknownVersion { .. }) { Exit::Newer } else { Exit::Damage };
    Failure::new(exit, format!("the event at position {position} cannot be read")).because(error)
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let exit = match &error {
            LoadError::Ledger(ReadError::NewerFormat(_)) => Exit::Newer,
            LoadError::Ledger(ReadError::Io(_)) => Exit::Disk,
            LoadError::Payload { source, .. } if matches!(**source, DecodeError::UnknownVersion { .. }) => Exit::Newer,
            _ => Exit::Damage,
        };
        Self::new(exit, error.to_string()).because(error)
    }
}

impl From<lotline_handler::OpenError> for Failure {
    fn from(error: lotline_handler::OpenError) -> Self {
        use lotline_handler::OpenError;
        match error {
            OpenError::Ledger(error) => error.into(),
            OpenError::Keyring(error) => error.into(),
            OpenError::Load(error) => error.into(),
            error @ OpenError::NoKeyring => Self::new(Exit::Damage, error.to_string()).advice(
                "nothing was recorded; put the copy of the keyring back into ledger/keyring; only if it is lost for ever, \
                 `lotline submit --new-keyring /dev/null` begins a new one",
            ),
            error @ OpenError::Secret(_) => Self::new(Exit::Damage, error.to_string()).because(error),
            error @ OpenError::System { .. } => Self::new(Exit::Disk, error.to_string()).because(error),
        }
    }
}

/// The exit code of a command that was not taken.
pub fn exit_of(error: &SubmitError) -> Exit {
    match error {
        SubmitError::Busy { .. } | SubmitError::ClockStepped { .. } => Exit::Busy,
        SubmitError::Unfit(_) | SubmitError::TooLarge(_) => Exit::Input,
        SubmitError::Load(error) => match &**error {
            LoadError::Ledger(ReadError::NewerFormat(_)) => Exit::Newer,
            LoadError::Ledger(ReadError::Io(_)) => Exit::Disk,
            _ => Exit::Damage,
        },
        SubmitError::DiskFull(_)
        | SubmitError::Halted
        | SubmitError::Keyring(_)
        | SubmitError::Stopped(_)
        | SubmitError::Closed => Exit::Disk,
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        Self::new(exit_of(&error), error.to_string()).because(error)
    }
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Failed(error) => error.into(),
            error => Self::new(Exit::Input, error.to_string()),
        }
    }
}

impl From<lotline_projections::OpenError> for Failure {
    fn from(error: lotline_projections::OpenError) -> Self {
        let exit = match &error {
            lotline_projections::OpenError::InUse(_) => Exit::Busy,
            lotline_projections::OpenError::OtherLedger { .. } => Exit::Usage,
            _ => Exit::Disk,
        };
        let advice = (exit == Exit::Usage).then_some("name another folder with --dir; nothing was changed");
        let failure = Self::new(exit, error.to_string()).because(error);
        match advice {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    }
}

impl From<lotline_projections::SaveError> for Failure {
    fn from(error: lotline_projections::SaveError) -> Self {
        Self::new(Exit::Disk, error.to_string()).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_each_cause_once_and_then_what_to_do() {
        let cause = std::io::Error::other("the cable is out");
        let failure = Failure::new(Exit::Disk, "cannot read x").because(cause).advice("plug it in");
        assert_eq!(failure.to_string(), "cannot read x: the cable is out\n  plug it in");
        let told = Failure::new(Exit::Disk, "cannot read x: the cable is out")
            .because(std::io::Error::other("the cable is out"));
        assert_eq!(told.to_string(), "cannot read x: the cable is out");
    }
}
