//! First answers: what was recorded under an id, and where. Frames are kept for a while, because duplicates
//! come in the order of the originals.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use lotline_domain::command::{Body, Command, Rule};
use lotline_domain::id::{CommandId, EventId};
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_ledger::{CommitHash, CommitNumber, Frame, Reader};
use lotline_wire::content::{ContentHash, content_hash};
use lotline_wire::payload;
use lotline_wire::seal::LedgerSecret;

use crate::outcome::{LoadError, Outcome, Receipt};

const FRAMES_KEPT: usize = 8;

/// A commit that was read, with the places of its payloads.
pub(crate) struct Kept {
    frame: Frame,
    hash: OnceLock<CommitHash>,
    payloads: Vec<Range<usize>>,
}

impl Kept {
    fn new(frame: Frame) -> Self {
        let base = frame.bytes().as_ptr() as usize;
        let payloads = frame
            .events()
            .map(|event| {
                let payload = event.payload();
                let start = payload.as_ptr() as usize - base;
                start..start + payload.len()
            })
            .collect();
        Self { frame, hash: OnceLock::new(), payloads }
    }

    fn within(&self, position: u64) -> Option<usize> {
        let within = position.checked_sub(self.frame.header().first_position.get())?;
        usize::try_from(within).ok().filter(|within| *within < self.payloads.len())
    }

    /// The payload of the event at a position of this commit.
    pub(crate) fn payload(&self, position: u64) -> Option<&[u8]> {
        self.within(position).map(|at| &self.frame.bytes()[self.payloads[at].clone()])
    }

    pub(crate) fn commit(&self) -> CommitNo {
        CommitNo(self.frame.header().number.get())
    }

    pub(crate) fn recorded_at(&self) -> RecordedAt {
        RecordedAt(Instant(self.frame.header().recorded_at.get()))
    }

    fn receipt(&self, position: u64) -> Receipt {
        Receipt {
            position: Position(position),
            commit: self.commit(),
            hash: *self.hash.get_or_init(|| self.frame.hash()),
            recorded_at: self.recorded_at(),
        }
    }
}

/// Reads events by position, a commit at a time.
pub(crate) struct Frames {
    reader: Reader,
    kept: VecDeque<(CommitNumber, Arc<Kept>)>,
}

impl Frames {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, kept: VecDeque::new() }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(crate) fn holding(&mut self, position: u64) -> Result<Arc<Kept>, LoadError> {
        if let Some(at) = self.kept.iter().position(|(_, kept)| kept.within(position).is_some()) {
            if at > 0 {
                self.kept.swap(0, at);
            }
            return Ok(self.kept[0].1.clone());
        }
        let missing = || LoadError::Missing(Position(position));
        let commit = self.reader.commit_of(lotline_ledger::Position::new(position))?.ok_or_else(missing)?;
        let frame = self.reader.frame(commit)?.ok_or_else(missing)?;
        let kept = Arc::new(Kept::new(frame));
        self.kept.truncate(FRAMES_KEPT - 1);
        self.kept.push_front((commit, kept.clone()));
        Ok(kept)
    }
}

/// What a ledger already says to a command.
pub(crate) enum Before {
    /// Nothing: it is new.
    Nothing,
    /// The same command came before, and this was its answer.
    Same(Box<Outcome>),
    /// Its id is another content's.
    Other(Receipt),
}

/// What was recorded under the ids of a command.
pub(crate) fn before(
    frames: &mut Frames,
    command: &Command,
    content: ContentHash,
    secret: &LedgerSecret,
    unknown: &[u8],
    keys: [lotline_ledger::Key; 2],
) -> Result<Before, LoadError> {
    let mut other: Option<Receipt> = None;
    let [command_key, event_key] = keys;
    for (key, of_event) in [(command_key, false), (event_key, true)] {
        if of_event && event_key == command_key {
            break;
        }
        for position in frames.reader().positions(&key)? {
            let kept = frames.holding(position.get())?;
            let bytes = kept.payload(position.get()).ok_or(LoadError::Missing(Position(position.get())))?;
            let stored = payload::decode(bytes).map_err(|source| LoadError::Payload {
                position: Position(position.get()),
                source: Arc::new(source),
            })?;
            if !concerns(&stored.body, &command.event.command, &command.event.id) {
                continue;
            }
            let same = stored.content == content
                || same_event(&stored.body, stored.content, command, unknown, secret)
                || undated(&stored.body, stored.content, command, unknown, secret);
            let receipt = kept.receipt(position.get());
            if same {
                let answer = answer(frames, &stored.body, receipt)?;
                return Ok(Before::Same(Box::new(answer)));
            }
            other.get_or_insert(receipt);
        }
    }
    Ok(other.map_or(Before::Nothing, Before::Other))
}

/// The index may give what only shares the 16 bytes of a key.
fn concerns(body: &Body, command: &CommandId, id: &EventId) -> bool {
    match body {
        Body::Fact { event, .. } => event.command == *command || event.id == *id,
        Body::Refused { command: refused, .. } => refused == command,
    }
}

/// The same event, brought by another command: that is a duplicate, too.
fn same_event(body: &Body, content: ContentHash, command: &Command, unknown: &[u8], secret: &LedgerSecret) -> bool {
    let Body::Fact { event, .. } = body else { return false };
    if event.id != command.event.id || event.command == command.event.command {
        return false;
    }
    let mut theirs = command.clone();
    theirs.event.command = event.command.clone();
    content_hash(&theirs, unknown, secret) == content
}

/// The same event, recorded when its mapping did not read expiry dates yet: `unknown` compares all that it says.
fn undated(body: &Body, content: ContentHash, command: &Command, unknown: &[u8], secret: &LedgerSecret) -> bool {
    if unknown.is_empty() {
        return false;
    }
    let mut theirs = command.clone();
    if !theirs.event.fact.forget_expiries() {
        return false;
    }
    content_hash(&theirs, unknown, secret) == content || same_event(body, content, &theirs, unknown, secret)
}

fn answer(frames: &mut Frames, body: &Body, receipt: Receipt) -> Result<Outcome, LoadError> {
    Ok(match body {
        Body::Fact { .. } => Outcome::Duplicate { first: receipt, rejection: None },
        Body::Refused { rejection, decided_on, .. } => match rejection.rule {
            Rule::Conflict { first } => {
                let first = frames.holding(first.0)?.receipt(first.0);
                Outcome::Conflict { first, receipt }
            }
            _ => Outcome::Duplicate { first: receipt, rejection: Some((rejection.clone(), *decided_on)) },
        },
    })
}
