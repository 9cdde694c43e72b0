//! What may go wrong between here and a server, by what can be done about it.

use std::error::Error;

use crate::denied::Act;

/// Somebody else's error.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Why the server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Try again: it did not answer, or cannot now.
    #[error("the NATS server does not answer to \"{doing}\"")]
    Unreachable {
        /// What was asked for.
        doing: &'static str,
        /// What the client says.
        #[source]
        source: BoxError,
    },
    /// Let this user do it, or use another one: the server's permissions do not allow it.
    #[error("the NATS server denies this user to {act} {subject}, which is needed to {doing}")]
    Denied {
        /// What was asked for.
        doing: &'static str,
        /// What was denied.
        act: Act,
        /// On which subject.
        subject: String,
    },
    /// Start it with JetStream: it keeps no streams.
    #[error("the NATS server has JetStream switched off, and keeps no streams")]
    NoJetStream,
    /// Look at who made it: a stream that is there already is not as it has to be. It was left as it is.
    #[error("stream {stream} will not do: {why}")]
    Unsuitable {
        /// The stream.
        stream: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It said no: change its configuration, or the permissions.
    #[error("the NATS server refuses to {doing}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// Its reason.
        #[source]
        source: BoxError,
    },
}
