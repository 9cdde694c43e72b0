//! An append-only, hash-chained store of opaque entries with keys: one writer, many readers.
//!
//! The bytes are described in `schemas/ledger-format.md`. In short: a *commit* holds 1..=4,096
//! events, is stored as one *frame*, and names the hash of the commit before it. Each event has a
//! dense *position* and carries 16-byte keys by which it is found again.
//!
//! ```
//! use lotline_ledger::{Entry, Key, LedgerId, Micros, Options, OsStorage, Writer};
//!
//! # let dir = std::env::temp_dir().join(format!("lotline-ledger-doc-{}", std::process::id()));
//! # let _ = std::fs::remove_dir_all(&dir);
//! let key = Key::new([7; 16]);
//! let mut writer = Writer::create(OsStorage::shared(), &dir, LedgerId::new([1; 16]), Options::default())?;
//! let receipt = writer.append(Micros::new(1_000), &[Entry::new([key], b"payload")?])?;
//! assert_eq!(receipt.commit.get(), 1);
//!
//! let reader = writer.reader();
//! let position = reader.positions(&key)?[0];
//! assert_eq!(reader.event(position)?.expect("just appended").payload(), b"payload");
//! # drop(writer);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What this room never does: look into a payload; read a clock or draw a random number (times and
//! ids are arguments); touch a file but through [`Storage`]; write again what failed to sync.

mod chain;
mod error;
mod files;
mod frame;
mod group;
mod hash;
mod head;
mod ids;
mod index;
mod keyring;
mod load;
mod reader;
mod recovery;
mod roll;
mod segment;
mod storage;
mod tree;
mod verify;
mod view;
mod writer;

pub use chain::{ChainBreak, Head};
pub use error::{AppendError, Damage, DamageKind, Failure, NewerFormat, OpenError, ReadError, Rejected};
pub use frame::{CommitHeader, Entry, Event, EventRef, Frame, FrameError};
pub use group::{GroupError, GroupOptions, GroupWriter, Outcome};
pub use ids::{CommitHash, CommitNumber, Epoch, EventHash, Key, LedgerId, Micros, Position};
pub use keyring::{KeyId, KeyState, Keyring, KeyringError, Secret};
pub use reader::{Frames, Reader, WatchId};
pub use recovery::{Cut, Recovery};
pub use storage::{Access, LockError, LockGuard, OsStorage, Storage, StorageFile};
pub use tree::{Tree, TreeHash, leaf_hash, node_hash};
pub use verify::{Progress, Verified, VerifyOptions, verify};
pub use writer::{Options, Receipt, Writer};

/// The format version that this build reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// Most events that one commit may hold.
pub const MAX_EVENTS: usize = 4_096;
/// Most bytes that one frame may have.
pub const MAX_FRAME_BYTES: usize = 900_000;
/// Most keys that one event may carry.
pub const MAX_KEYS: usize = 4_096;

// A frame must fit into one message of a stream whose limit is 1 MB, headers included.
const _: () = assert!(MAX_FRAME_BYTES + 64 * 1024 < 1_000_000);
// An event with the most keys must fit into a frame, so that the two limits do not contradict.
const _: () = assert!(frame::FRAME_OVERHEAD + 4 + 2 + MAX_KEYS * 16 < MAX_FRAME_BYTES);
