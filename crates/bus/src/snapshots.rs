//! Snapshots of read models, in a bucket: what a projector begins with that is not to read all commits.
//!
//! A snapshot is cut into parts, which stand in one of two places; when all are there the head says so, and names the
//! place. The next one goes to the other place. So a snapshot is never half there, and the bucket has two at most.

use std::collections::VecDeque;

use lotline_ledger::{CommitHash, CommitNumber, LedgerId};
use lotline_wire::channel;
use lotline_wire::feed::{SnapshotHead, print_snapshot_head, read_snapshot_head};

use crate::connect::Bus;
use crate::denied::{Act, names};
use crate::error::Trouble;
use crate::seam::{Acknowledgement, Failed, Publish, Said};

/// So many parts may wait for their acknowledgement.
const WINDOW: usize = 8;
const PLACES: [&str; 2] = ["a", "b"];

/// What a read model was saved as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Up to this commit,
    pub commit: CommitNumber,
    /// which has this hash.
    pub hash: CommitHash,
    /// Version of the read models that can read it.
    pub version: u32,
    /// Its bytes, in parts that fit into a message each.
    pub parts: Vec<Vec<u8>>,
}

/// What a server has of snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKept {
    /// Up to this commit.
    pub commit: CommitNumber,
    /// Version of the read models that can read it.
    pub version: u32,
}

/// Why there is no snapshot to begin with.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Read again, or begin at the first commit: another one may have been put in its place meanwhile.
    #[error("the snapshot as of commit {commit} is not whole: {why}")]
    Unsound {
        /// What it is as of.
        commit: CommitNumber,
        /// What is wrong.
        why: String,
    },
    /// The server does not do what it has to.
    #[error(transparent)]
    Server(#[from] Trouble),
}

struct Names {
    bucket: String,
    model: &'static str,
}

impl Names {
    fn new(ledger: LedgerId, model: &'static str) -> Self {
        Self { bucket: channel::snapshots_bucket(&ledger.to_string()), model }
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.bucket)
    }

    fn head(&self) -> String {
        format!("$KV.{}.{}", self.bucket, channel::snapshot_head_key(self.model))
    }

    fn part(&self, place: &str, number: usize) -> String {
        format!("$KV.{}.{}", self.bucket, channel::snapshot_part_key(self.model, place, &number.to_string()))
    }

    fn concerns(&self) -> impl Fn(Act, &str) -> bool + use<> {
        let (stream, keys) = (self.stream(), format!("$KV.{}.", self.bucket));
        move |_, subject| subject == "$JS.API.INFO" || subject.starts_with(&keys) || names(subject, &stream)
    }
}

impl Bus {
    /// The newest snapshot of a read model by its word, such as `inventory`; `None` where there is none, or its head
    /// cannot be read.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn snapshot_kept(&self, ledger: LedgerId, model: &'static str) -> Result<Option<SnapshotKept>, Trouble> {
        let names = Names::new(ledger, model);
        let found = self.block_on(self.unless_denied(READING, names.concerns(), self.head(&names)))?;
        let head = found.and_then(|found| found.head);
        Ok(head.map(|head| SnapshotKept { commit: CommitNumber::new(head.commit), version: head.version }))
    }

    /// Keeps a snapshot; false where another one that is as new, or newer, was put there meanwhile.
    ///
    /// # Errors
    /// When the server does not take it; what it had before is whole.
    pub fn keep_snapshot(&self, ledger: LedgerId, model: &'static str, snapshot: &Snapshot) -> Result<bool, Trouble> {
        let names = Names::new(ledger, model);
        self.block_on(self.unless_denied(KEEPING, names.concerns(), self.keep(ledger, &names, snapshot)))
    }

    async fn keep(&self, ledger: LedgerId, names: &Names, snapshot: &Snapshot) -> Result<bool, Trouble> {
        let description = format!("snapshots of the read models of Lotline ledger {ledger}");
        let made = self.server().need_bucket(names.bucket.clone(), description).await;
        made.map_err(|error| error.trouble("make a bucket"))?;
        let (revision, before) = self.head(names).await?.map_or((0, None), |found| (found.revision, found.head));
        if before.as_ref().is_some_and(|head| head.version == snapshot.version && head.commit >= snapshot.commit.get())
        {
            return Ok(false);
        }
        let taken = before.as_ref().map(|head| head.place.as_str());
        let place = PLACES.into_iter().find(|place| Some(*place) != taken).expect("there are two");
        let mut hasher = blake3::Hasher::new();
        let mut under_way: VecDeque<Acknowledgement> = VecDeque::new();
        for (at, part) in snapshot.parts.iter().enumerate() {
            hasher.update(part);
            let message = value(names, snapshot.commit, part.clone());
            let sent = self.server().publish(names.part(place, at + 1), message).await;
            under_way.push_back(sent.map_err(kept)?);
            if under_way.len() == WINDOW {
                under_way.pop_front().expect("it has some").await.map_err(kept)?;
            }
        }
        for sent in under_way {
            sent.await.map_err(kept)?;
        }
        let head = SnapshotHead {
            ledger: ledger.to_string(),
            model: names.model.to_owned(),
            commit: snapshot.commit.get(),
            commit_hash: snapshot.hash.to_string(),
            version: snapshot.version,
            place: place.to_owned(),
            parts: u32::try_from(snapshot.parts.len()).expect("fewer than 2^32 parts"),
            bytes: snapshot.parts.iter().map(|part| part.len() as u64).sum(),
            blake3: hasher.finalize().to_hex().to_string(),
        };
        let message =
            value(names, snapshot.commit, print_snapshot_head(&head)).expected_last_subject_sequence(revision);
        let sent = self.server().publish(names.head(), message).await.map_err(kept)?;
        match sent.await {
            Ok(_) => Ok(true),
            Err(error) if error.said == Said::Moved => Ok(false),
            Err(error) => Err(kept(error)),
        }
    }

    /// Reads the newest snapshot of a read model; `None` where there is none.
    ///
    /// # Errors
    /// [`SnapshotError`] when it is not whole, or the server does not tell.
    pub fn snapshot(&self, ledger: LedgerId, model: &'static str) -> Result<Option<Snapshot>, SnapshotError> {
        let names = Names::new(ledger, model);
        self.block_on(self.unless_denied(READING, names.concerns(), self.whole(&names)))
    }

    async fn whole(&self, names: &Names) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(found) = self.head(names).await? else { return Ok(None) };
        let commit = found.head.as_ref().map_or(found.commit, |head| CommitNumber::new(head.commit));
        let unsound = |why: String| SnapshotError::Unsound { commit, why };
        let Some(head) = found.head else { return Err(unsound("its head cannot be read".to_owned())) };
        let mut hasher = blake3::Hasher::new();
        let mut parts = Vec::new();
        for number in 1..=head.parts as usize {
            match self.server().last_message(&names.stream(), &names.part(&head.place, number)).await {
                Ok(message) => {
                    hasher.update(&message.body);
                    parts.push(message.body.to_vec());
                }
                Err(error) if error.said == Said::NoMessage => {
                    return Err(unsound(format!("part {number} of {} is not there", head.parts)));
                }
                Err(error) => return Err(error.trouble(READING).into()),
            }
        }
        if hasher.finalize().to_hex().as_str() != head.blake3 {
            return Err(unsound("its parts are others than those it was made of".to_owned()));
        }
        let hash = CommitHash::parse(&head.commit_hash).ok_or_else(|| unsound("its commit has no hash".to_owned()))?;
        Ok(Some(Snapshot { commit, hash, version: head.version, parts }))
    }

    /// What the bucket says; nothing where there is no bucket.
    async fn head(&self, names: &Names) -> Result<Option<Found>, Trouble> {
        match self.server().last_message(&names.stream(), &names.head()).await {
            Ok(message) => {
                let commit = message.headers.value(channel::COMMIT).and_then(|text| text.parse().ok());
                let commit = CommitNumber::new(commit.unwrap_or(0));
                Ok(Some(Found { revision: message.sequence, commit, head: read_snapshot_head(&message.body) }))
            }
            Err(error) if matches!(error.said, Said::NoMessage | Said::NoStream) => Ok(None),
            Err(error) => Err(error.trouble(READING)),
        }
    }
}

/// A head as it was found.
struct Found {
    revision: u64,
    /// As its message says.
    commit: CommitNumber,
    /// `None` where it cannot be read.
    head: Option<SnapshotHead>,
}

const READING: &str = "read a snapshot";
const KEEPING: &str = "keep a snapshot";

fn kept(error: Failed) -> Trouble {
    error.trouble(KEEPING)
}

fn value(names: &Names, commit: CommitNumber, body: Vec<u8>) -> Publish {
    Publish::new(body).expected_stream(names.stream()).header(channel::COMMIT, commit.to_string())
}
