//! BLAKE3 in key derivation mode, one context per kind of thing.

use crate::ids::{CommitHash, EventHash};

const EVENT_CONTEXT: &str = "lotline 2026 event v1";
const COMMIT_CONTEXT: &str = "lotline 2026 commit v1";

/// Hashes many events or commits without deriving the context key each time.
pub(crate) struct Hasher {
    event: blake3::Hasher,
    commit: blake3::Hasher,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self {
            event: blake3::Hasher::new_derive_key(EVENT_CONTEXT),
            commit: blake3::Hasher::new_derive_key(COMMIT_CONTEXT),
        }
    }

    pub(crate) fn event(&mut self, event_bytes: &[u8]) -> EventHash {
        self.event.reset();
        EventHash::new(*self.event.update(event_bytes).finalize().as_bytes())
    }

    pub(crate) fn commit(&mut self, header: &[u8], events: impl IntoIterator<Item = EventHash>) -> CommitHash {
        self.commit.reset();
        self.commit.update(header);
        for event in events {
            self.commit.update(event.as_bytes());
        }
        CommitHash::new(*self.commit.finalize().as_bytes())
    }
}

thread_local! {
    static HASHER: std::cell::RefCell<Hasher> = std::cell::RefCell::new(Hasher::new());
}

/// Runs `work` with this thread's hasher.
pub(crate) fn with<R>(work: impl FnOnce(&mut Hasher) -> R) -> R {
    HASHER.with_borrow_mut(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_blake3_derive_key() {
        let event = with(|hasher| hasher.event(b"abc"));
        assert_eq!(event.as_bytes(), &blake3::derive_key(EVENT_CONTEXT, b"abc"));
        let commit = with(|hasher| hasher.commit(b"header", [event]));
        let mut material = b"header".to_vec();
        material.extend_from_slice(event.as_bytes());
        assert_eq!(commit.as_bytes(), &blake3::derive_key(COMMIT_CONTEXT, &material));
    }

    #[test]
    fn a_hasher_forgets_what_it_hashed_before() {
        let mut hasher = Hasher::new();
        let first = hasher.event(b"one");
        hasher.event(&[9; 5_000]);
        assert_eq!(hasher.event(b"one"), first);
    }
}
