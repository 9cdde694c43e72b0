//! Reading a ledger: by number, position, key, recording time, and from a commit on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::chain::Head;
use crate::error::{Damage, DamageKind, Failure, OpenError, ReadError};
use crate::files;
use crate::frame::{Event, Frame, FrameError};
use crate::head::HeadFile;
use crate::ids::{CommitNumber, Key, LedgerId, Micros, Position};
use crate::load;
use crate::recovery;
use crate::segment::{self, Next, Segment};
use crate::storage::{Access, Storage};
use crate::view::{OpenSegment, View};

/// Reads a ledger. Cheap to clone; all clones share one view. A reader sees a commit when it is durable, and only
/// then.
#[derive(Clone, Debug)]
pub struct Reader {
    view: Arc<View>,
    /// Set if no writer of this process feeds the view.
    follower: Option<Arc<Follower>>,
}

/// Names a callback, for [`Reader::unwatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchId(u64);

impl Reader {
    pub(crate) fn of_writer(view: Arc<View>) -> Self {
        Self { view, follower: None }
    }

    /// Opens a ledger for reading beside its writer, which may be another process, or without one. Takes no lock and
    /// changes no file. It sees commits up to the head file; [`Reader::refresh`] looks for more.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is no ledger; damage with its place.
    pub fn open(storage: Arc<dyn Storage>, dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let Some(head_file) = HeadFile::open(&*storage, dir, Access::Read)? else {
            let names = match storage.list(dir) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                other => other.map_err(Failure::of("list", dir))?,
            };
            return Err(recovery::without_head(&*storage, dir, &names));
        };
        let slot = head_file.best()?;
        let loaded = load::load(&*storage, dir, &slot, Access::Read)?;
        let follower = Follower { storage, dir: dir.to_path_buf(), head_file, busy: Mutex::new(()) };
        Ok(Self {
            view: Arc::new(View::new(loaded.sealed, loaded.open, slot.head)),
            follower: Some(Arc::new(follower)),
        })
    }

    /// Looks for new commits of a writer in another process. Does nothing beside a writer of this process, which
    /// shows its commits by itself.
    ///
    /// # Errors
    /// If a new commit cannot be read or does not continue the chain.
    pub fn refresh(&self) -> Result<Head, ReadError> {
        if let Some(follower) = &self.follower {
            follower.refresh(&self.view)?;
        }
        Ok(self.head())
    }

    /// The ledger's id.
    pub fn ledger(&self) -> LedgerId {
        self.head().ledger
    }

    /// The last commit that this reader sees.
    pub fn head(&self) -> Head {
        self.view.head()
    }

    /// A commit by its number; `None` if it is not there (yet).
    ///
    /// # Errors
    /// If the stored bytes are damaged, or another commit's.
    pub fn frame(&self, commit: CommitNumber) -> Result<Option<Frame>, ReadError> {
        let Some(place) = self.view.place_of(commit)? else {
            return Ok(None);
        };
        let frame = place.segment.frame(place.offset, commit)?;
        check_number(&place.segment, place.offset, &frame, commit)?;
        Ok(Some(frame))
    }

    /// An event by its position; `None` if it is not there (yet).
    ///
    /// # Errors
    /// As [`Reader::frame`].
    pub fn event(&self, position: Position) -> Result<Option<Event>, ReadError> {
        let Some(commit) = self.commit_of(position)? else { return Ok(None) };
        let frame = match self.view.recent(commit) {
            Some(frame) => frame,
            None => {
                let Some(frame) = self.frame(commit)?.map(Arc::new) else { return Ok(None) };
                self.view.remember(frame.clone());
                frame
            }
        };
        let within = position.get().wrapping_sub(frame.header().first_position.get());
        let event = usize::try_from(within).ok().and_then(|within| frame.events().nth(within));
        Ok(event.map(|event| Event::new(*frame.header(), event)))
    }

    /// The commit that holds a position; `None` if it is not there (yet).
    ///
    /// # Errors
    /// If the ledger cannot be read there.
    pub fn commit_of(&self, position: Position) -> Result<Option<CommitNumber>, ReadError> {
        self.view.commit_of(position)
    }

    /// All positions whose events carry the key, ascending.
    ///
    /// # Errors
    /// If a key index is damaged and its segment, too, so that it cannot be rebuilt.
    pub fn positions(&self, key: &Key) -> Result<Vec<Position>, ReadError> {
        self.view.positions(key)
    }

    /// The last commit recorded at or before `time`; [`CommitNumber::ZERO`] if there is none. Not final if `time` is
    /// not before the head's recording time: a later commit may still be recorded at or before it.
    ///
    /// # Errors
    /// If the ledger cannot be read there.
    pub fn last_commit_at(&self, time: Micros) -> Result<CommitNumber, ReadError> {
        self.view.last_at(time)
    }

    /// The frames from a commit on, in order, up to the head. After the last one `next` gives `None`; once there are
    /// more commits it goes on. Each frame's own checks are done; the chain is the caller's to check
    /// ([`Head::check`]), who has the hash to begin with.
    pub fn frames(&self, from: CommitNumber) -> Frames {
        Frames { reader: self.clone(), next: from.max(CommitNumber::new(1)), chunk: None }
    }

    /// Waits until there is a commit beyond this one, or until `limit` has passed; the head then. Beside a writer in
    /// another process it looks about once a millisecond.
    ///
    /// # Errors
    /// As [`Reader::refresh`].
    pub fn wait_beyond(&self, commit: CommitNumber, limit: Duration) -> Result<Head, ReadError> {
        if self.follower.is_none() {
            return Ok(self.view.wait_beyond(commit, limit));
        }
        let started = std::time::Instant::now();
        loop {
            let head = self.refresh()?;
            let left = limit.saturating_sub(started.elapsed());
            if head.commit > commit || left.is_zero() {
                return Ok(head);
            }
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
    }

    /// Calls back with each new head, on the writer's thread: it has to be quick and must not append. Called once
    /// per commit, in order.
    pub fn watch(&self, callback: impl Fn(Head) + Send + Sync + 'static) -> WatchId {
        WatchId(self.view.watch(Box::new(callback)))
    }

    /// Ends a watch.
    pub fn unwatch(&self, id: WatchId) {
        self.view.unwatch(id.0);
    }
}

/// Follows a writer of another process through the files.
struct Follower {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    head_file: HeadFile,
    /// One clone refreshes at a time.
    busy: Mutex<()>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Follower({})", self.dir.display())
    }
}

impl Follower {
    fn refresh(&self, view: &View) -> Result<(), ReadError> {
        let _one = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.head_file.best()?;
        let mut head = view.head();
        if slot.head.commit <= head.commit {
            return Ok(());
        }
        loop {
            let (segment, end) = {
                let inner = view.read();
                (inner.open.segment.clone(), inner.open.end)
            };
            let last = segment.first == slot.segment;
            let to = if last { slot.end } else { segment.len()? };
            head = self.read_to(view, &segment, end, to, head)?;
            if last {
                break;
            }
            self.go_on(view, &segment, &head)?;
        }
        if head == slot.head {
            Ok(())
        } else {
            let path = self.dir.join(files::HEAD);
            let kind = DamageKind::HeadDiffers { head: slot.head.commit };
            let damage = view.read().open.segment.damage(slot.start, &head, kind);
            Err(ReadError::Damaged(Damage { file: path, offset: 0, ..damage }))
        }
    }

    fn read_to(&self, view: &View, segment: &Segment, from: u64, to: u64, mut head: Head) -> Result<Head, ReadError> {
        let bytes = segment.read(from, to)?;
        let mut at = 0;
        while from + (at as u64) < to {
            let frame = match segment::next(&bytes[at.min(bytes.len())..]) {
                Next::Frame(frame) => frame,
                Next::Zeros => {
                    let kind = DamageKind::Cut { commit: head.commit.next() };
                    return Err(segment.damage(from + at as u64, &head, kind).into());
                }
                Next::Bad(error) => {
                    let (commit, position) = (head.commit.next(), head.next_position);
                    let offset = from + at as u64;
                    return Err(segment.bad_frame(error, offset, Some(commit), Some(position)));
                }
            };
            if let Err(broken) = head.check(frame.header()) {
                let kind = DamageKind::Chain(Box::new(broken));
                return Err(segment.damage(from + at as u64, &head, kind).into());
            }
            head = head.after(frame.header(), frame.hash());
            at += frame.bytes().len();
            view.publish(&frame, head);
        }
        Ok(head)
    }

    fn go_on(&self, view: &View, segment: &Segment, head: &Head) -> Result<(), ReadError> {
        let next = Segment::open(&*self.storage, &self.dir, head.commit.next(), Access::Read)?;
        if next.before != *head {
            return Err(next.damage(0, head, DamageKind::SegmentOrder).into());
        }
        let (sealed, _) = load::load_sealed(&*self.storage, &self.dir, segment.first, &segment.before)?;
        view.seal_as(sealed, OpenSegment::new(next));
        Ok(())
    }
}

fn check_number<B: AsRef<[u8]>>(
    segment: &Segment,
    offset: u64,
    frame: &Frame<B>,
    expected: CommitNumber,
) -> Result<(), ReadError> {
    let found = frame.header().number;
    if found == expected {
        return Ok(());
    }
    let broken = crate::chain::ChainBreak::Number { expected, found };
    let mut damage = segment.damage(offset, &segment.before, DamageKind::Chain(Box::new(broken)));
    damage.commit = Some(expected);
    damage.position = None;
    Err(damage.into())
}

/// The frames of a ledger from some commit on.
#[derive(Debug)]
pub struct Frames {
    reader: Reader,
    next: CommitNumber,
    chunk: Option<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    segment: Segment,
    bytes: Vec<u8>,
    /// Where `bytes` starts in the segment.
    from: u64,
    at: usize,
    /// Where the commits end that may be read.
    end: u64,
}

const CHUNK_BYTES: u64 = 1 << 20;

impl Frames {
    /// The commit that comes next.
    pub fn position(&self) -> CommitNumber {
        self.next
    }

    fn advance(&mut self) -> Result<Option<Frame>, ReadError> {
        if self.chunk.as_ref().is_none_or(Chunk::is_done) {
            let Some(place) = self.reader.view.place_of(self.next)? else {
                return Ok(None);
            };
            self.chunk =
                Some(Chunk { segment: place.segment, bytes: Vec::new(), from: place.offset, at: 0, end: place.end });
        }
        let chunk = self.chunk.as_mut().expect("set just now if it was not");
        let (frame, offset) = chunk.frame(self.next)?;
        check_number(&chunk.segment, offset, &frame, self.next)?;
        self.next = self.next.next();
        Ok(Some(frame))
    }
}

impl Chunk {
    fn is_done(&self) -> bool {
        self.from + self.at as u64 >= self.end
    }

    fn frame(&mut self, commit: CommitNumber) -> Result<(Frame, u64), ReadError> {
        let offset = self.from + self.at as u64;
        let mut length = crate::frame::length_at(&self.bytes[self.at..]);
        if matches!(length, Err(FrameError::Cut { .. })) {
            // The next frame is not there as a whole: read on from its start. A chunk holds any frame.
            self.bytes = self.segment.read(offset, self.end.min(offset + CHUNK_BYTES))?;
            (self.from, self.at) = (offset, 0);
            length = crate::frame::length_at(&self.bytes);
        }
        let decoded = length.and_then(|length| {
            let frame = Frame::decode(self.bytes[self.at..self.at + length].to_vec())?;
            self.at += length;
            Ok(frame)
        });
        let frame = decoded.map_err(|error| self.segment.bad_frame(error, offset, Some(commit), None))?;
        Ok((frame, offset))
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
