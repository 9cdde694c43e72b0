//! Commits for read models: a chain of made-up hashes over a plant's events.

use lotline_domain::command::Recorded;
use lotline_domain::fact::Event;
use lotline_domain::time::CommitNo;
use lotline_projections::{CommitHash, CommitMeta, Digest, LedgerId, ReadModel, ReadModelKind};

use crate::engine::{recorded, recorded_at};

pub const LEDGER: LedgerId = LedgerId([7; 16]);

/// Commits in order.
pub type Feed = Vec<(CommitMeta, Vec<Recorded>)>;

/// The hash of a commit of a chain.
pub fn hash(chain: u8, number: u64) -> CommitHash {
    let mut bytes = [chain; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    if number == 0 { CommitHash::ZERO } else { CommitHash(bytes) }
}

/// The events as commits of so many events each, the sizes used in turn; a size of 0 is an empty commit.
pub fn feed(events: &[Event], sizes: &[usize]) -> Feed {
    let mut feed = Feed::new();
    let mut rest = events.iter().enumerate();
    let mut sizes = sizes.iter().copied().cycle();
    let mut left = events.len();
    while left > 0 {
        let size = sizes.next().unwrap_or(1).min(left);
        let number = feed.len() as u64 + 1;
        let some = rest.by_ref().take(size).map(|(index, event)| recorded(index, number, event)).collect();
        let meta = CommitMeta {
            number: CommitNo(number),
            prev_hash: hash(1, number - 1),
            hash: hash(1, number),
            recorded_at: recorded_at(number),
        };
        feed.push((meta, some));
        left -= size;
    }
    feed
}

/// A read model in memory, fed up to a commit.
pub fn fed(kind: ReadModelKind, feed: &[(CommitMeta, Vec<Recorded>)]) -> ReadModel {
    let mut model = ReadModel::in_memory(kind, LEDGER);
    apply(&mut model, feed);
    model
}

/// Applies what it has not applied yet; how many commits that were.
pub fn apply(model: &mut ReadModel, feed: &[(CommitMeta, Vec<Recorded>)]) -> usize {
    let from = usize::try_from(model.cursor().number.0).expect("few commits");
    for (meta, events) in &feed[from..] {
        model.apply(*meta, events).expect("the commits follow each other");
    }
    feed.len() - from
}

/// The digest of a model that never was anywhere but in memory.
pub fn digest(kind: ReadModelKind, feed: &[(CommitMeta, Vec<Recorded>)]) -> Digest {
    fed(kind, feed).digest()
}
