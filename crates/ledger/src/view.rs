//! What readers see: the sealed segments, the open one, and the head. Owned by one writer or follower,
//! shared with any number of readers.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rayon::slice::ParallelSliceMut;

use crate::chain::Head;
use crate::error::{DamageKind, ReadError};
use crate::frame::{CommitHeader, Frame, u64_at};
use crate::ids::{CommitHash, CommitNumber, Key, Micros, Position};
use crate::index::{self, About, CommitEntry, Index, Pair, Source, Unusable};
use crate::segment::{self, Next, SEGMENT_HEADER_BYTES, Segment};

/// The open segment, with its part of the key index in memory.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) segment: Segment,
    /// Where the last commit ends.
    pub(crate) end: u64,
    pub(crate) commits: Vec<CommitEntry>,
    pub(crate) events: u32,
    keys: HashMap<Key, Events, KeyHashing>,
}

/// Hashes keys for the table of the open segment. They are mostly hashes themselves, but whoever names things
/// chooses them: so a secret of this process decides where in the table they go.
#[derive(Clone, Debug)]
struct KeyHashing {
    secret: [u64; 2],
}

impl Default for KeyHashing {
    fn default() -> Self {
        let random = RandomState::new();
        Self { secret: [random.hash_one(0), random.hash_one(1)] }
    }
}

impl BuildHasher for KeyHashing {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { secret: self.secret, hash: 0 }
    }
}

struct KeyHasher {
    secret: [u64; 2],
    hash: u64,
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut halves = [0; 16];
        for part in bytes.chunks(16) {
            halves[..part.len()].copy_from_slice(part);
            let (high, low) = (u64_at(&halves, 0), u64_at(&halves, 8));
            let product = u128::from(high ^ self.secret[0] ^ self.hash) * u128::from(low ^ self.secret[1]);
            self.hash = (product >> 64) as u64 ^ product as u64;
        }
    }

    // The length of a key, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// Most keys stand on one event only (command ids), so that one costs no allocation.
#[derive(Debug)]
enum Events {
    One(u32),
    Many(Vec<u32>),
}

impl Events {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Many(events) => events,
        }
    }
}

impl OpenSegment {
    pub(crate) fn new(segment: Segment) -> Self {
        Self { segment, end: SEGMENT_HEADER_BYTES as u64, commits: Vec::new(), events: 0, keys: HashMap::default() }
    }

    /// Adds a commit that stands at the segment's end and continues its chain.
    pub(crate) fn add<B: AsRef<[u8]>>(&mut self, frame: &Frame<B>) {
        self.commits.push(CommitEntry {
            // Segments are smaller than 4 GiB; the writer's options see to it.
            offset: self.end as u32,
            event: self.events,
            recorded_at: frame.header().recorded_at,
        });
        for event in frame.events() {
            for key in event.keys() {
                self.keys
                    .entry(key)
                    .and_modify(|events| match events {
                        Events::One(first) => *events = Events::Many(vec![*first, self.events]),
                        Events::Many(all) => all.push(self.events),
                    })
                    .or_insert(Events::One(self.events));
            }
            self.events += 1;
        }
        self.end += frame.bytes().len() as u64;
    }

    /// The bytes of this segment's index file, as the segment is now.
    pub(crate) fn index_image(&self, last_hash: CommitHash) -> Vec<u8> {
        let mut pairs: Vec<Pair> =
            self.keys.iter().flat_map(|(key, events)| events.as_slice().iter().map(|event| (*key, *event))).collect();
        pairs.sort_unstable();
        let about = About {
            ledger: self.segment.before.ledger,
            first: self.segment.first,
            first_position: self.segment.before.next_position,
            segment_bytes: self.end,
            last_hash,
            commits: self.commits.len() as u32,
            events: self.events,
        };
        index::encode(&about, &self.commits, &pairs)
    }
}

/// A segment that gets no more commits.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) segment: Segment,
    pub(crate) len: u64,
    index: RwLock<Arc<Index>>,
}

impl Sealed {
    pub(crate) fn new(segment: Segment, len: u64, index: Index) -> Self {
        Self { segment, len, index: RwLock::new(Arc::new(index)) }
    }

    pub(crate) fn into_shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the index. If it turns out to be damaged it is rebuilt in memory, once, and asked again; the next
    /// writer that opens the ledger replaces the file.
    pub(crate) fn ask<T>(&self, question: impl Fn(&Index) -> Result<T, Unusable>) -> Result<T, ReadError> {
        if let Ok(answer) = question(&self.index()) {
            return Ok(answer);
        }
        let rebuilt = Arc::new(rebuild(&self.segment, self.len)?.0);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = rebuilt.clone();
        question(&rebuilt).map_err(|_| {
            let damage = self.segment.damage(0, &self.segment.before, DamageKind::Index);
            ReadError::Damaged(damage)
        })
    }
}

/// Makes a sealed segment's index from the segment itself; also the bytes of its file. The frames are checked for
/// themselves and for their numbers; the chain is what [`verify`](crate::verify) is for.
pub(crate) fn rebuild(segment: &Segment, len: u64) -> Result<(Index, Vec<u8>), ReadError> {
    let image = rebuild_image(segment, len)?;
    let index = Index::load(Source::Memory(image.clone()))
        .map_err(|_| segment.damage(0, &segment.before, DamageKind::Index))?;
    Ok((index, image))
}

/// The bytes of the index that a sealed segment of so many bytes gives.
fn rebuild_image(segment: &Segment, len: u64) -> Result<Vec<u8>, ReadError> {
    let start = SEGMENT_HEADER_BYTES as u64;
    let bytes = segment.read(start, len)?;
    let mut content = Content::default();
    let (mut at, mut head) = (0, segment.before);
    let mut last = None;
    while at < bytes.len() {
        let offset = start + at as u64;
        let frame = match segment::next(&bytes[at..]) {
            Next::Frame(frame) if frame.header().number == head.commit.next() => frame,
            Next::Frame(_) | Next::Zeros => {
                return Err(segment.damage(offset, &head, DamageKind::SegmentEnd).into());
            }
            Next::Bad(error) => {
                let (commit, position) = (head.commit.next(), head.next_position);
                return Err(segment.bad_frame(error, offset, Some(commit), Some(position)));
            }
        };
        content.add(segment, offset, frame.header(), pairs_of(&frame, segment.before.next_position));
        at += frame.bytes().len();
        head = head.after(frame.header(), head.hash);
        last = Some(frame);
    }
    let Some(last) = last else {
        return Err(segment.damage(start, &head, DamageKind::SegmentEnd).into());
    };
    head.hash = last.hash();
    Ok(content.image(segment, len, &head))
}

/// The keys of a frame's events, which are counted from the segment's first position.
pub(crate) fn pairs_of<'a, B: AsRef<[u8]>>(
    frame: &'a Frame<B>,
    first: Position,
) -> impl Iterator<Item = Pair> + use<'a, B> {
    frame.events().flat_map(move |event| {
        // What does not follow the first position is refused with the frame, by who follows the chain.
        let number = event.position().get().wrapping_sub(first.get()) as u32;
        event.keys().map(move |key| (key, number))
    })
}

/// What a segment's index tells, as its frames give it one after the other.
#[derive(Debug, Default)]
pub(crate) struct Content {
    commits: Vec<CommitEntry>,
    pairs: Vec<Pair>,
}

impl Content {
    /// Adds a frame that stands at `offset` and continues the segment's chain.
    pub(crate) fn add(
        &mut self,
        segment: &Segment,
        offset: u64,
        header: &CommitHeader,
        pairs: impl IntoIterator<Item = Pair>,
    ) {
        self.commits.push(CommitEntry {
            // Segments are smaller than 4 GiB; the writer's options see to it.
            offset: offset as u32,
            event: (header.first_position.get() - segment.before.next_position.get()) as u32,
            recorded_at: header.recorded_at,
        });
        self.pairs.extend(pairs);
    }

    /// The bytes of the index of this segment of so many bytes, whose chain ends at `head`.
    pub(crate) fn image(mut self, segment: &Segment, len: u64, head: &Head) -> Vec<u8> {
        self.pairs.par_sort_unstable();
        let about = About {
            ledger: segment.before.ledger,
            first: segment.first,
            first_position: segment.before.next_position,
            segment_bytes: len,
            last_hash: head.hash,
            commits: self.commits.len() as u32,
            events: (head.next_position.get() - segment.before.next_position.get()) as u32,
        };
        index::encode(&about, &self.commits, &self.pairs)
    }
}

/// The segments and the head, consistent with each other.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) sealed: Arc<Vec<Arc<Sealed>>>,
    pub(crate) open: OpenSegment,
    pub(crate) head: Head,
}

/// Where a commit stands.
pub(crate) struct Place {
    pub(crate) segment: Segment,
    pub(crate) offset: u64,
    /// Where the commits end that may be read from this segment.
    pub(crate) end: u64,
}

pub(crate) type Callback = Box<dyn Fn(Head) + Send + Sync>;

pub(crate) struct View {
    inner: RwLock<Inner>,
    /// The head once more, for those who wait for it.
    head: Mutex<Head>,
    moved: Condvar,
    watchers: Mutex<Vec<(u64, Arc<Callback>)>>,
    /// The commit that was read last: who reads one event often reads its neighbour next.
    recent: Mutex<Option<Arc<Frame>>>,
}

impl fmt::Debug for View {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "View({:?})", self.head())
    }
}

impl View {
    pub(crate) fn new(sealed: Vec<Arc<Sealed>>, open: OpenSegment, head: Head) -> Self {
        Self {
            inner: RwLock::new(Inner { sealed: Arc::new(sealed), open, head }),
            head: Mutex::new(head),
            moved: Condvar::new(),
            watchers: Mutex::new(Vec::new()),
            recent: Mutex::new(None),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a commit that is durable and continues the chain.
    pub(crate) fn publish<B: AsRef<[u8]>>(&self, frame: &Frame<B>, head: Head) {
        {
            let mut inner = self.write();
            inner.open.add(frame);
            inner.head = head;
        }
        self.announce(head);
    }

    /// Seals the open segment with this index and goes on with the next.
    pub(crate) fn seal(&self, index: Index, next: Segment) {
        let (segment, end) = {
            let inner = self.read();
            (inner.open.segment.clone(), inner.open.end)
        };
        self.seal_as(Sealed::new(segment, end, index), OpenSegment::new(next));
    }

    /// Replaces the open segment by its sealed form and the next one.
    pub(crate) fn seal_as(&self, sealed: Sealed, next: OpenSegment) {
        let mut inner = self.write();
        Arc::make_mut(&mut inner.sealed).push(Arc::new(sealed));
        inner.open = next;
    }

    pub(crate) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, head: Head) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        self.moved.notify_all();
        // Called without the lock held, so that a callback may watch or unwatch.
        let watchers: Vec<Arc<Callback>> = {
            let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
            watchers.iter().map(|(_, callback)| callback.clone()).collect()
        };
        watchers.iter().for_each(|callback| callback(head));
    }

    pub(crate) fn wait_beyond(&self, commit: CommitNumber, limit: Duration) -> Head {
        let until = Instant::now().checked_add(limit);
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        while head.commit <= commit {
            let left = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => left,
                None => Duration::MAX,
            };
            head = self.moved.wait_timeout(head, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *head
    }

    pub(crate) fn watch(&self, callback: Callback) -> u64 {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let id = watchers.last().map_or(0, |(id, _)| id + 1);
        watchers.push((id, Arc::new(callback)));
        id
    }

    pub(crate) fn unwatch(&self, id: u64) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|(other, _)| *other != id);
    }

    /// The commit that was read last, if it is this one.
    pub(crate) fn recent(&self, commit: CommitNumber) -> Option<Arc<Frame>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.as_ref().filter(|frame| frame.header().number == commit).cloned()
    }

    pub(crate) fn remember(&self, frame: Arc<Frame>) {
        *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = Some(frame);
    }

    /// Where a commit stands; `None` if it is not there (yet).
    pub(crate) fn place_of(&self, commit: CommitNumber) -> Result<Option<Place>, ReadError> {
        let sealed = {
            let inner = self.read();
            if commit == CommitNumber::ZERO || commit > inner.head.commit {
                return Ok(None);
            }
            if let Some(within) = commit.get().checked_sub(inner.open.segment.first.get()) {
                let entry = inner.open.commits[within as usize];
                return Ok(Some(Place {
                    segment: inner.open.segment.clone(),
                    offset: u64::from(entry.offset),
                    end: inner.open.end,
                }));
            }
            let at = inner.sealed.partition_point(|sealed| sealed.segment.first <= commit) - 1;
            inner.sealed[at].clone()
        };
        let within = (commit.get() - sealed.segment.first.get()) as u32;
        let entry = sealed.ask(|index| index.commit(within))?;
        Ok(Some(Place { segment: sealed.segment.clone(), offset: u64::from(entry.offset), end: sealed.len }))
    }

    /// The commit that holds a position; `None` if there is none (yet).
    pub(crate) fn commit_of(&self, position: Position) -> Result<Option<CommitNumber>, ReadError> {
        let sealed = {
            let inner = self.read();
            if position >= inner.head.next_position {
                return Ok(None);
            }
            let open = &inner.open;
            let first = open.segment.before.next_position;
            if let Some(within) = position.get().checked_sub(first.get()) {
                let upto = open.commits.partition_point(|c| u64::from(c.event) <= within);
                return Ok(Some(open.segment.before.commit.plus(upto as u64)));
            }
            let at = inner.sealed.partition_point(|sealed| sealed.segment.before.next_position <= position) - 1;
            inner.sealed[at].clone()
        };
        let within = position.get() - sealed.segment.before.next_position.get();
        let upto = sealed.ask(|index| index.count_while(|commit| u64::from(commit.event) <= within))?;
        Ok(Some(sealed.segment.before.commit.plus(u64::from(upto))))
    }

    /// The last commit recorded at or before a time; 0 if there is none.
    pub(crate) fn last_at(&self, time: Micros) -> Result<CommitNumber, ReadError> {
        let sealed = {
            let inner = self.read();
            let open = &inner.open;
            if open.segment.before.recorded_at <= time {
                let upto = open.commits.partition_point(|commit| commit.recorded_at <= time);
                return Ok(open.segment.before.commit.plus(upto as u64));
            }
            let at = inner.sealed.partition_point(|sealed| sealed.segment.before.recorded_at <= time) - 1;
            inner.sealed[at].clone()
        };
        let upto = sealed.ask(|index| index.count_while(|commit| commit.recorded_at <= time))?;
        Ok(sealed.segment.before.commit.plus(u64::from(upto)))
    }

    /// All positions whose events carry the key, ascending.
    pub(crate) fn positions(&self, key: &Key) -> Result<Vec<Position>, ReadError> {
        let (sealed, open) = {
            let inner = self.read();
            let base = inner.open.segment.before.next_position;
            let open: Vec<Position> = inner.open.keys.get(key).map_or(Vec::new(), |events| {
                events.as_slice().iter().map(|event| base.plus(u64::from(*event))).collect()
            });
            (inner.sealed.clone(), open)
        };
        let mut found = Vec::new();
        for sealed in sealed.iter() {
            let base = sealed.segment.before.next_position;
            let events = sealed.ask(|index| index.events_of(key))?;
            found.extend(events.into_iter().map(|event| base.plus(u64::from(event))));
        }
        found.extend(open);
        Ok(found)
    }
}
