//! How a stream stands to a ledger. Reads both, writes neither.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use lotline_ledger::{CommitNumber, Reader};
use tokio::time::sleep;

use super::{Kept, RelayError, Why};
use crate::error::Trouble;
use crate::stream::Commits;

/// A commit may reach the stream through another relay a moment before this reader sees it.
const MOMENT: Duration = Duration::from_millis(300);

/// So many commits are asked for at once when all are read back.
const READS: usize = 32;

pub(super) enum Standing {
    /// The stream is a prefix of the ledger, up to this commit.
    At(CommitNumber),
    /// The ledger is a prefix of the stream.
    Ahead { in_stream: CommitNumber, in_ledger: CommitNumber },
    /// Neither.
    Useless(Kept),
}

/// Compares the heads: equal bytes at the last commit that both have mean equal chains up to there, because each
/// commit holds the hash of the one before.
pub(super) async fn standing(commits: &Commits, reader: &Reader) -> Result<Standing, RelayError> {
    let first = look(commits, reader).await?;
    if let Standing::Ahead { .. } = first {
        sleep(MOMENT).await;
        return look(commits, reader).await;
    }
    Ok(first)
}

async fn look(commits: &Commits, reader: &Reader) -> Result<Standing, RelayError> {
    let Some(state) = commits.state().await? else {
        let source = format!("stream {} was there a moment ago", commits.name);
        return Err(Trouble::Unreachable { doing: "tell the state of a stream", source: source.into() }.into());
    };
    // After the stream's state, so that what another relay published is in what is seen here.
    let in_ledger = reader.refresh()?.commit;
    let in_stream = CommitNumber::new(state.last_sequence);
    let common = in_stream.min(in_ledger);
    let kept = |why| Standing::Useless(Kept { stream: commits.name.clone(), head: in_stream, why });
    if common != CommitNumber::ZERO {
        match same(commits, reader, common).await? {
            Some(true) => {}
            Some(false) => return Ok(kept(Why::Other { from: first_other(commits, reader, common).await? })),
            None => return Ok(kept(Why::Lost { commit: common })),
        }
    }
    if in_stream > in_ledger {
        return Ok(Standing::Ahead { in_stream, in_ledger });
    }
    if (state.messages < state.last_sequence || state.first_sequence > 1)
        && let Some(useless) = read_back(commits, reader, in_stream).await?
    {
        return Ok(Standing::Useless(useless));
    }
    Ok(Standing::At(in_stream))
}

/// Reads all commits of the stream up to one and compares them with the ledger's; the first that is not the same.
pub(super) async fn read_back(
    commits: &Commits,
    reader: &Reader,
    up_to: CommitNumber,
) -> Result<Option<Kept>, RelayError> {
    let mut answers = stream::iter(1..=up_to.get())
        .map(|number| {
            let commit = CommitNumber::new(number);
            async move { (commit, same(commits, reader, commit).await) }
        })
        .buffered(READS);
    while let Some((commit, answer)) = answers.next().await {
        let why = match answer? {
            Some(true) => continue,
            Some(false) => Why::Other { from: commit },
            None => Why::Lost { commit },
        };
        return Ok(Some(Kept { stream: commits.name.clone(), head: up_to, why }));
    }
    Ok(None)
}

/// Whether stream and ledger hold the same bytes as this commit; `None` if the stream holds nothing there.
async fn same(commits: &Commits, reader: &Reader, commit: CommitNumber) -> Result<Option<bool>, RelayError> {
    let Some(theirs) = commits.at(commit).await? else { return Ok(None) };
    let ours = reader.frame(commit)?;
    Ok(Some(ours.is_some_and(|ours| ours.bytes() == theirs)))
}

/// The first commit that differs; `other` is one that does. Chains that part never meet again, so halving finds it.
async fn first_other(commits: &Commits, reader: &Reader, other: CommitNumber) -> Result<CommitNumber, RelayError> {
    let (mut same_up_to, mut other) = (0, other.get());
    while other - same_up_to > 1 {
        let middle = same_up_to + (other - same_up_to) / 2;
        match same(commits, reader, CommitNumber::new(middle)).await? {
            Some(true) => same_up_to = middle,
            Some(false) | None => other = middle,
        }
    }
    Ok(CommitNumber::new(other))
}
