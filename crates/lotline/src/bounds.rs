//! The bounds of a question: read from the command line, settled against a read model.

use lotline_domain::book::Bounds;
use lotline_domain::time::{CommitNo, Instant, OccurredAt};
use lotline_projections::{MODEL_VERSION, ReadModel};
use lotline_wire::answer::{Asked, Finality, Said, SaidKind, instant};

use crate::args;
use crate::failure::{Exit, Failure};

/// Bounds, and what an answer says about them.
#[derive(Debug, Clone)]
pub struct Within {
    /// The bounds themselves.
    pub bounds: Bounds,
    /// For the answer.
    pub asked: Asked,
    /// What has to be said about them.
    pub said: Vec<Said>,
}

impl Within {
    /// The effective bound as rows repeat it.
    pub fn as_of(&self) -> Option<String> {
        self.asked.as_of.clone()
    }

    /// The commit bound as rows repeat it.
    pub fn known(&self) -> u64 {
        self.asked.as_known_at
    }
}

/// Reads the bounds.
///
/// # Errors
/// Where one of them is no time or number, or names a commit that is not there yet.
pub fn within(asked: &args::Bounds, model: &ReadModel) -> Result<Within, Failure> {
    within_named(asked.as_of.as_deref(), asked.as_known_at.as_deref(), ["--as-of", "--as-known-at"], model)
}

/// The same, of bounds that have other names where they were written.
///
/// # Errors
/// As [`within`].
pub fn within_named(
    as_of: Option<&str>,
    as_known_at: Option<&str>,
    [as_of_name, known_name]: [&str; 2],
    model: &ReadModel,
) -> Result<Within, Failure> {
    let as_of = as_of.map(|text| time(as_of_name, text)).transpose()?;
    let head = model.cursor().number;
    let mut said = Vec::new();
    let (known, finality) = match as_known_at {
        None => (head, Finality::NotFinal),
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = text.parse().map(CommitNo).map_err(|_| no_commit(known_name, text, head))?;
            if number > head {
                return Err(no_commit(known_name, text, head));
            }
            (number, Finality::Final)
        }
        Some(text) => {
            let at = time(known_name, text)?;
            let known = model.known_at(at);
            let last = model.recorded_at(head).map(|at| at.0);
            // At the head's own time and later a further commit may still be recorded.
            if known == head && last.is_none_or(|last| at >= last) {
                let message =
                    format!("more may be recorded at or before {text}: answered as of commit {}, not final", head.0);
                said.push(Said { kind: SaidKind::NotFinal, message, batches: Vec::new() });
                (head, Finality::NotFinal)
            } else {
                (known, Finality::Final)
            }
        }
    };
    let bounds = Bounds { known, as_of: as_of.unwrap_or(Instant::MAX) };
    let asked = Asked {
        ledger: model.cursor().ledger.to_string(),
        as_of: as_of.map(instant),
        as_known_at: known.0,
        recorded_at: model.recorded_at(known).map(|at| instant(at.0)),
        finality,
        model: MODEL_VERSION,
    };
    Ok(Within { bounds, asked, said })
}

fn no_commit(name: &str, text: &str, head: CommitNo) -> Failure {
    Failure::new(Exit::Usage, format!("{name} {text}: the last commit is {}", head.0))
        .advice("name a commit up to that one, or a time")
}

/// A time; of a day its last instant.
fn time(option: &str, text: &str) -> Result<Instant, Failure> {
    OccurredAt::parse(text)
        .map(|at| at.latest())
        .map_err(|error| Failure::new(Exit::Usage, format!("{option} {error}")))
}
