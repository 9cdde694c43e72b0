//! Whether two commands of one id say the same: compared as decoded values, never as bytes.
//!
//! Both hashes are over the command's canonical JSON (see [`crate::command::print_command`]): numbers in
//! their shortest form, defaults left out, fields in one order.

use std::fmt;

use lotline_domain::command::Command;

use crate::command::print_command;
use crate::seal::LedgerSecret;

/// The content of a command: equal for equal content, and of no use for guessing it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({})", blake3::Hash::from_bytes(self.0))
    }
}

/// The keyed hash of a command's content, sealed texts included. `unknown` is what the source said
/// beyond the command's own fields (extension fields of an EPCIS event, in a canonical form); empty for a
/// native command.
pub fn content_hash(command: &Command, unknown: &[u8], secret: &LedgerSecret) -> ContentHash {
    let canonical = print_command(command);
    let mut bytes = Vec::with_capacity(8 + canonical.len() + unknown.len());
    bytes.extend_from_slice(&(canonical.len() as u64).to_be_bytes());
    bytes.extend_from_slice(canonical.as_bytes());
    bytes.extend_from_slice(unknown);
    ContentHash(blake3::keyed_hash(&secret.content, &bytes).into())
}
