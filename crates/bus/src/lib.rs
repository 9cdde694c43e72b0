//! The way of commands in from NATS, and of commits to a JetStream stream and out of it again. No other room names
//! NATS.
//!
//! - [`Bus::take_in`] hands requests and queued messages to a [`Taker`], and passes its answers on.
//! - A queued message that can never be taken becomes a dead [`Letter`], which can be sent again.
//! - [`Relay`] publishes the commits of a ledger, byte for byte: one commit is one message, and the sequence in
//!   the stream is the commit's number. The ledger is the truth and the outbox: the relay keeps no cursor, but
//!   compares heads.
//! - [`Bus::take_questions`] hands questions to a [`Taker`].
//! - [`Bus::project`] feeds a [`Model`] from a stream alone, and checks the chain link by link.
//!
//! A call that the server denies ends with [`Trouble::Denied`]; [`Bus::denied`] lists the last ones, and [`Bus::tally`]
//! has plain counts of what a connection has done.
//!
//! In place of a NATS server there may be one [in this process](in_process), and what is above is the same.
//!
//! All calls block; a [`Bus`] has its own thread for the connection.
//!
//! What this room never does: write a ledger (what has to be appended is handed to the caller); look into a
//! payload; delete a stream, or any message but a dead letter that was
//! copied to the settled ones first; go on behind a commit that is missing or damaged.

mod client;
mod connect;
mod credentials;
mod denied;
mod error;
mod feeds;
pub mod in_process;
mod intake;
mod letters;
mod model;
mod nats;
mod project;
mod questions;
mod relay;
mod seam;
mod snapshots;
mod stop;
mod stream;
mod tally;

pub use client::{Listening, Put, Received, SendError, StreamState};
pub use connect::{Bus, BusOptions, ConnectError};
pub use credentials::FileError;
pub use denied::{Act, Denied};
pub use error::{BoxError, Trouble};
pub use feeds::{Change, Feed, FeedError, Step, Tail, Value, Wanted};
pub use intake::{Answer, Incoming, IntakeError, IntakeOptions, MESSAGE_MAX, Means, Reply, TakenIn, Taker};
pub use letters::{Letter, Settled};
pub use model::{Cursor, Model};
pub use project::{ChainBroken, Checkpoints, Found, ProjectError, ProjectOptions, Projected};
pub use questions::QuestionOptions;
pub use relay::{Kept, OnDifference, Relay, RelayError, RelayOptions, Relayed, Why};
pub use snapshots::{Snapshot, SnapshotError, SnapshotKept};
pub use stop::Stop;
pub use stream::{Backlog, StreamHead, stream_name, subject};
pub use tally::Tally;
