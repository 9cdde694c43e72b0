//! The commit that is growing: its entries, and who waits for what of it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lotline_domain::command::Rejection;
use lotline_domain::time::{CommitNo, Instant, Position, RecordedAt};
use lotline_ledger::Entry;
use rustc_hash::FxHashMap;

use crate::outcome::{CaptureError, Outcome, Receipt, SubmitError};

/// What comes of a command, or why nothing did.
pub(crate) type Answer = Result<Outcome, SubmitError>;

/// Who waits for an answer. One that is dropped says that the handler was closed, so that nobody waits for ever.
pub(crate) struct Reply(Option<To>);

enum To {
    Call(Box<dyn FnOnce(Answer) + Send>),
    Slot(Arc<Tray>, usize),
}

impl Reply {
    /// One command's caller.
    pub(crate) fn call(call: impl FnOnce(Answer) + Send + 'static) -> Self {
        Self(Some(To::Call(Box::new(call))))
    }

    /// One of many.
    pub(crate) fn slot(tray: Arc<Tray>, at: usize) -> Self {
        Self(Some(To::Slot(tray, at)))
    }

    pub(crate) fn give(mut self, answer: Answer) {
        self.once(answer);
    }

    fn once(&mut self, answer: Answer) {
        match self.0.take() {
            Some(To::Call(call)) => call(answer),
            Some(To::Slot(tray, at)) => tray.put(at, answer),
            None => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.once(Err(SubmitError::Closed));
    }
}

/// The answers to many commands.
#[derive(Default)]
pub(crate) struct Tray {
    state: Mutex<TrayState>,
    full: Condvar,
}

#[derive(Default)]
struct TrayState {
    answers: Vec<Option<Answer>>,
    given: usize,
}

impl Tray {
    fn lock(&self) -> MutexGuard<'_, TrayState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for so many more; the number of the first.
    pub(crate) fn expect(&self, more: usize) -> usize {
        let mut state = self.lock();
        let first = state.answers.len();
        state.answers.resize_with(first + more, || None);
        first
    }

    fn put(&self, at: usize, answer: Answer) {
        let mut state = self.lock();
        state.answers[at] = Some(answer);
        state.given += 1;
        if state.given == state.answers.len() {
            self.full.notify_all();
        }
    }

    /// Waits for all that is expected.
    pub(crate) fn wait(&self) -> Vec<Answer> {
        let mut state = self.lock();
        while state.given < state.answers.len() {
            state = self.full.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.given = 0;
        let answers = std::mem::take(&mut state.answers);
        answers.into_iter().map(|answer| answer.unwrap_or(Err(SubmitError::Closed))).collect()
    }
}

/// What an entry is, for the answer.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Fact,
    Refused(Rejection, CommitNo),
    Conflict(Receipt),
}

impl Kind {
    fn outcome(&self, receipt: Receipt, again: bool) -> Outcome {
        match (self, again) {
            (Self::Fact, false) => Outcome::Accepted(receipt),
            (Self::Fact, true) => Outcome::Duplicate { first: receipt, rejection: None },
            (Self::Refused(rejection, decided_on), false) => {
                Outcome::Rejected { rejection: rejection.clone(), decided_on: *decided_on, receipt }
            }
            (Self::Refused(rejection, decided_on), true) => {
                Outcome::Duplicate { first: receipt, rejection: Some((rejection.clone(), *decided_on)) }
            }
            (Self::Conflict(first), _) => Outcome::Conflict { first: *first, receipt },
        }
    }
}

/// Waits for one entry of a commit.
struct Waiting {
    at: usize,
    again: bool,
    reply: Reply,
}

/// Waits for a whole capture.
pub(crate) struct Whole {
    /// The entry of each command, and whether it is the first with its id; or an answer that stood before.
    pub(crate) items: Vec<WholeItem>,
    pub(crate) reply: Box<dyn FnOnce(Result<Vec<Outcome>, CaptureError>) + Send>,
}

/// One command of a whole capture.
pub(crate) enum WholeItem {
    Entry { at: usize, again: bool },
    Before(Box<Outcome>),
}

/// A commit on its way.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) entries: Vec<Entry>,
    pub(crate) bytes: usize,
    kinds: Vec<Kind>,
    waiting: Vec<Waiting>,
    whole: Vec<Whole>,
    /// Ids of this group's commands and events: the entry.
    pub(crate) ids: FxHashMap<lotline_ledger::Key, usize>,
    pub(crate) contents: Vec<[u8; 32]>,
}

impl Group {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many callers wait.
    pub(crate) fn callers(&self) -> usize {
        self.waiting.len() + self.whole.iter().map(|whole| whole.items.len()).sum::<usize>()
    }

    /// Adds an entry; its number.
    pub(crate) fn push(&mut self, entry: Entry, kind: Kind, content: [u8; 32]) -> usize {
        self.bytes += entry.frame_bytes();
        self.entries.push(entry);
        self.kinds.push(kind);
        self.contents.push(content);
        self.entries.len() - 1
    }

    pub(crate) fn wait(&mut self, at: usize, again: bool, reply: Reply) {
        self.waiting.push(Waiting { at, again, reply });
    }

    pub(crate) fn wait_whole(&mut self, whole: Whole) {
        self.whole.push(whole);
    }

    pub(crate) fn answers(self) -> Answers {
        Answers { kinds: self.kinds, waiting: self.waiting, whole: self.whole }
    }
}

/// Who waits for a commit that is being written.
pub(crate) struct Answers {
    kinds: Vec<Kind>,
    waiting: Vec<Waiting>,
    whole: Vec<Whole>,
}

impl Answers {
    /// Tells everybody: it is durable.
    pub(crate) fn tell(self, written: &lotline_ledger::Receipt) {
        let outcome = |at: usize, again: bool| self.kinds[at].outcome(receipt(written, at), again);
        for Waiting { at, again, reply } in self.waiting {
            reply.give(Ok(outcome(at, again)));
        }
        for Whole { items, reply } in self.whole {
            let outcomes = items.into_iter().map(|item| match item {
                WholeItem::Entry { at, again } => outcome(at, again),
                WholeItem::Before(outcome) => *outcome,
            });
            reply(Ok(outcomes.collect()));
        }
    }

    /// Tells everybody: it is not.
    pub(crate) fn fail(self, error: &SubmitError) {
        for waiting in self.waiting {
            waiting.reply.give(Err(error.clone()));
        }
        for whole in self.whole {
            (whole.reply)(Err(error.clone().into()));
        }
    }
}

fn receipt(written: &lotline_ledger::Receipt, at: usize) -> Receipt {
    Receipt {
        position: Position(written.first_position.get() + at as u64),
        commit: CommitNo(written.commit.get()),
        hash: written.hash,
        recorded_at: RecordedAt(Instant(written.recorded_at.get())),
    }
}
