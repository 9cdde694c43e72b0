//! Group commit: a thread that owns the writer. While one commit is being synced the next one grows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::error::{AppendError, Rejected};
use crate::frame::{self, Entry, FRAME_OVERHEAD};
use crate::ids::Micros;
use crate::reader::Reader;
use crate::writer::{Receipt, Writer};
use crate::{MAX_EVENTS, MAX_FRAME_BYTES};

/// How a [`GroupWriter`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// [`GroupWriter::submit`] waits while this many bytes are queued. One submission always gets in.
    pub queue_bytes: usize,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self { queue_bytes: 16 << 20 }
    }
}

/// What became of a submission. The receipt tells the commit, and the first position and the number of the
/// submission's own events in it.
pub type Outcome = Result<Receipt, GroupError>;

/// Why a submission was not recorded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// The append failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A submission before this one failed, and this one may have been made in the belief that it would not. Nothing
    /// was written. Forget what was built on it, call [`GroupWriter::resume`], and submit again.
    #[error("an earlier commit failed, so this one was not written")]
    Halted,
    /// The writer's thread has ended.
    #[error("the ledger's writer has been closed")]
    Closed,
}

impl From<Rejected> for GroupError {
    fn from(rejected: Rejected) -> Self {
        Self::Append(rejected.into())
    }
}

type Done = Box<dyn FnOnce(Outcome) + Send>;

struct Submission {
    now: Micros,
    entries: Vec<Entry>,
    bytes: usize,
    alone: bool,
    done: Done,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Submission>,
    bytes: usize,
    halted: bool,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, or the queue was closed.
    filled: Condvar,
    /// The queue has room again.
    drained: Condvar,
    limit: usize,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends for many callers through one thread.
///
/// There is no timer: a commit takes what is queued when the one before it is done. Callbacks run on the writer's
/// thread in the order of submission, after the commit is durable; they have to be quick and must not wait for
/// another submission.
///
/// One who decides ahead (makes commit n + 1 while n is being synced) is safe: if n fails, n + 1 is not
/// written but told [`GroupError::Halted`], and so is everything else until [`GroupWriter::resume`].
pub struct GroupWriter {
    shared: Arc<Shared>,
    reader: Reader,
    thread: Option<JoinHandle<Writer>>,
}

impl fmt::Debug for GroupWriter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "GroupWriter({:?})", self.reader)
    }
}

impl GroupWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(writer: Writer, options: GroupOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            limit: options.queue_bytes,
        });
        let reader = writer.reader();
        let theirs = shared.clone();
        let thread =
            std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || run(&theirs, writer))?;
        Ok(Self { shared, reader, thread: Some(thread) })
    }

    /// A reader that sees each commit as soon as it is durable.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Queues entries that go into one commit, possibly together with those of other submissions. `done` is called
    /// once, whatever happens. Waits while the queue is full.
    ///
    /// # Errors
    /// What cannot fit into a commit is refused at once; `done` is not called then.
    pub fn submit(
        &self,
        now: Micros,
        entries: Vec<Entry>,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Result<(), Rejected> {
        self.queue(now, entries, false, Box::new(done))
    }

    /// As [`GroupWriter::submit`], but the entries are a commit of their own.
    ///
    /// # Errors
    /// As [`GroupWriter::submit`].
    pub fn submit_alone(
        &self,
        now: Micros,
        entries: Vec<Entry>,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Result<(), Rejected> {
        self.queue(now, entries, true, Box::new(done))
    }

    /// Submits and waits until the entries are durable.
    ///
    /// # Errors
    /// As [`Outcome`].
    pub fn append(&self, now: Micros, entries: Vec<Entry>) -> Outcome {
        let (tell, told) = mpsc::sync_channel(1);
        self.submit(now, entries, move |outcome| {
            // Nobody can have gone away: the receiver waits below.
            let _ = tell.send(outcome);
        })?;
        told.recv().unwrap_or(Err(GroupError::Closed))
    }

    /// Takes submissions again after one has failed.
    pub fn resume(&self) {
        self.shared.queue().halted = false;
    }

    /// Writes what is queued, ends the thread, and gives the writer back; `None` if a callback has panicked.
    pub fn close(mut self) -> Option<Writer> {
        self.end()
    }

    fn end(&mut self) -> Option<Writer> {
        self.shared.queue().closed = true;
        self.shared.filled.notify_all();
        self.shared.drained.notify_all();
        self.thread.take()?.join().ok()
    }

    fn queue(&self, now: Micros, entries: Vec<Entry>, alone: bool, done: Done) -> Result<(), Rejected> {
        let bytes = frame::check_limits(entries.iter())? - FRAME_OVERHEAD;
        let mut queue = self.shared.queue();
        while queue.bytes > 0 && queue.bytes + bytes > self.shared.limit && !(queue.halted || queue.closed) {
            queue = self.shared.drained.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let refused = if queue.closed { Some(GroupError::Closed) } else { queue.halted.then_some(GroupError::Halted) };
        if let Some(error) = refused {
            drop(queue);
            done(Err(error));
            return Ok(());
        }
        queue.bytes += bytes;
        queue.waiting.push_back(Submission { now, entries, bytes, alone, done });
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }
}

impl Drop for GroupWriter {
    fn drop(&mut self) {
        self.end();
    }
}

/// Closes the queue when the thread ends, also by a panic of a callback, so that nobody waits for ever.
struct CloseAtEnd<'a>(&'a Shared);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.closed = true;
        let left = std::mem::take(&mut queue.waiting);
        queue.bytes = 0;
        drop(queue);
        self.0.drained.notify_all();
        if !std::thread::panicking() {
            left.into_iter().for_each(|submission| (submission.done)(Err(GroupError::Closed)));
        }
    }
}

fn run(shared: &Shared, mut writer: Writer) -> Writer {
    let _end = CloseAtEnd(shared);
    while let Some(group) = next_group(shared) {
        let now = group.iter().map(|submission| submission.now).max().unwrap_or(Micros::NONE);
        let entries: Vec<&Entry> = group.iter().flat_map(|one| &one.entries).collect();
        match writer.append_all(now, entries.iter().copied()) {
            Ok(receipt) => tell(group, receipt),
            Err(error) => halt(shared, group, &error),
        }
    }
    writer
}

/// What is queued, as much as fits into one commit; `None` when closed and nothing is left.
fn next_group(shared: &Shared) -> Option<Vec<Submission>> {
    let mut queue = shared.queue();
    while queue.waiting.is_empty() {
        if queue.closed {
            return None;
        }
        queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    let mut group: Vec<Submission> = Vec::new();
    let (mut events, mut bytes) = (0, FRAME_OVERHEAD);
    while let Some(next) = queue.waiting.front() {
        let apart = next.alone || group.first().is_some_and(|first| first.alone);
        let fits = events + next.entries.len() <= MAX_EVENTS && bytes + next.bytes <= MAX_FRAME_BYTES;
        if !group.is_empty() && (apart || !fits) {
            break;
        }
        events += next.entries.len();
        bytes += next.bytes;
        group.extend(queue.waiting.pop_front());
    }
    queue.bytes -= bytes - FRAME_OVERHEAD;
    drop(queue);
    shared.drained.notify_all();
    Some(group)
}

fn tell(group: Vec<Submission>, receipt: Receipt) {
    let mut first_position = receipt.first_position;
    for submission in group {
        let events = submission.entries.len() as u32;
        (submission.done)(Ok(Receipt { first_position, events, ..receipt }));
        first_position = first_position.plus(u64::from(events));
    }
}

/// Fails the group, and all that was queued behind it.
fn halt(shared: &Shared, group: Vec<Submission>, error: &AppendError) {
    let mut queue = shared.queue();
    queue.halted = true;
    queue.bytes = 0;
    let behind = std::mem::take(&mut queue.waiting);
    drop(queue);
    shared.drained.notify_all();
    group.into_iter().for_each(|one| (one.done)(Err(GroupError::Append(error.clone()))));
    behind.into_iter().for_each(|one| (one.done)(Err(GroupError::Halted)));
}
