//! Settlements kept for later questions: while there is room, and for as long as nothing that they follow
//! from was touched. A late fact makes those stale that it concerns, and no others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lotline_domain::book::{BatchIx, Bounds, PlaceIx};
use lotline_domain::settle::{Exception, Settled, Settlement, Slice};
use lotline_domain::time::{CommitNo, Instant};
use rustc_hash::FxHashMap;

use crate::changes::Changed;
use crate::model::ReadModel;
use crate::question::Borrow;

mod sources;

pub(crate) use self::sources::{Sources, Tree, bare_codes};

/// Room for kept settlements when nothing else is said.
pub const KEPT_BYTES: usize = 256 << 20;

/// Threads that ask at once seldom meet in one shard.
const SHARDS: usize = 16;

/// Kept settlements, all of them with an open effective bound.
#[derive(Debug)]
pub(crate) struct Settlements {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes: usize,
    made: AtomicU64,
    tree: Mutex<Option<(CommitNo, Arc<Tree>)>>,
}

impl Default for Settlements {
    fn default() -> Self {
        Self::with_room(KEPT_BYTES)
    }
}

/// Whose settlement; as known at a commit, where a later one differs. The past never changes, so one that is
/// kept for a commit holds for ever.
type Key = (BatchIx, Option<CommitNo>);

#[derive(Debug, Default)]
struct Shard {
    kept: FxHashMap<Key, Kept>,
    /// In which order room is made.
    queue: VecDeque<Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    settlement: Arc<Settlement>,
    /// The last commit from which it was made, or would be made just so.
    known: CommitNo,
    /// What it follows from besides its batch, its item and its codes.
    sources: Option<Box<Sources>>,
    /// Up to which commit the tree was looked at, and the last change of it that matters here.
    tree: (CommitNo, CommitNo),
    bytes: usize,
    asked_again: bool,
}

fn bytes_of(settlement: &Settlement) -> usize {
    let zeros: usize = settlement.slices.iter().map(|slice| slice.zeros.len()).sum();
    size_of::<(Key, Kept)>() * 8 / 7
        + size_of::<Key>()
        + size_of::<Settlement>()
        + settlement.flows.capacity() * size_of::<Settled>()
        + settlement.slices.capacity() * size_of::<Slice>()
        + zeros * size_of::<i64>()
        + settlement.exceptions.capacity() * size_of::<Exception>()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is whole at each of its steps, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Settlements {
    /// Room for so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            shard_bytes: bytes / SHARDS,
            made: AtomicU64::new(0),
            tree: Mutex::default(),
        }
    }

    fn shard(&self, batch: BatchIx) -> MutexGuard<'_, Shard> {
        locked(&self.shards[batch.at() % SHARDS])
    }

    /// How many were made because none at hand would do.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// How many bytes the kept ones take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).bytes).sum()
    }
}

impl Shard {
    fn put(&mut self, key: Key, kept: Kept, room: usize) {
        if kept.bytes > room {
            return;
        }
        self.bytes += kept.bytes;
        match self.kept.insert(key, kept) {
            Some(old) => self.bytes -= old.bytes,
            None => self.queue.push_back(key),
        }
        while self.bytes > room {
            let Some(oldest) = self.queue.pop_front() else { return };
            match self.kept.get_mut(&oldest) {
                // Who was asked again gets a second round.
                Some(kept) if kept.asked_again => {
                    kept.asked_again = false;
                    self.queue.push_back(oldest);
                }
                Some(_) => {
                    let gone = self.kept.remove(&oldest).map_or(0, |kept| kept.bytes);
                    self.bytes -= gone;
                }
                None => {}
            }
        }
    }
}

/// The last commit that touched anything a kept settlement follows from, the tree of places aside.
fn last_touched(model: &ReadModel, batch: BatchIx, sources: Option<&Sources>) -> CommitNo {
    let own = batch_touched(model, batch);
    sources.map_or(own, |sources| {
        let stations = sources.stations.iter().map(|place| model.changes().last(Changed::Station(*place)));
        let batches = sources.batches.iter().map(|batch| batch_touched(model, *batch));
        stations.chain(batches).fold(own, CommitNo::max)
    })
}

fn batch_touched(model: &ReadModel, batch: BatchIx) -> CommitNo {
    let (book, changes) = (model.book(), model.changes());
    let own = changes.last(Changed::Batch(batch));
    let item = book.item_of(batch).map_or(CommitNo(0), |item| changes.last(Changed::Item(item)));
    if !book.has_pseudo() {
        return own.max(item);
    }
    let codes = sources::bare_codes(book, batch).map(|code| changes.last(Changed::Code(code)));
    codes.fold(own.max(item), CommitNo::max)
}

impl ReadModel {
    /// The tree of places with all parents that any place ever had.
    fn tree(&self) -> Arc<Tree> {
        let at = self.changes().tree();
        let mut kept = locked(&self.settlements().tree);
        match &*kept {
            Some((made, tree)) if *made == at => tree.clone(),
            _ => {
                let tree = Arc::new(Tree::of(self.book()));
                *kept = Some((at, tree.clone()));
                tree
            }
        }
    }

    fn tree_touched(&self, settlement: &Settlement) -> CommitNo {
        let tree = self.tree();
        let places = tree.with_ancestors(sources::places(self.book(), settlement));
        let touched = places.into_iter().map(|place: PlaceIx| self.changes().last(Changed::Parent(place)));
        touched.max().unwrap_or(CommitNo(0))
    }

    /// The settlement of a batch within bounds: one that is kept if it would be the same, else a new one
    /// from what was known then.
    pub fn settlement(&self, batch: BatchIx, bounds: Bounds) -> Arc<Settlement> {
        let kept = self.borrowed(batch, bounds);
        kept.unwrap_or_else(|| self.question(bounds).settlement(batch))
    }

    /// How many settlements had to be made anew since it was opened.
    pub fn settlements_made(&self) -> u64 {
        self.settlements().made()
    }

    /// How many bytes kept settlements take, about.
    pub fn kept_bytes(&self) -> usize {
        self.settlements().bytes()
    }
}

impl Borrow for ReadModel {
    fn borrowed(&self, batch: BatchIx, bounds: Bounds) -> Option<Arc<Settlement>> {
        if bounds.as_of != Instant::MAX {
            return None;
        }
        let mut shard = self.settlements().shard(batch);
        if let Some(kept) = shard.kept.get_mut(&(batch, None))
            && self.holds_at(batch, kept, bounds.known)
        {
            kept.asked_again = true;
            return Some(kept.settlement.clone());
        }
        let kept = shard.kept.get_mut(&(batch, Some(bounds.known)))?;
        kept.asked_again = true;
        Some(kept.settlement.clone())
    }

    fn settled(&self, bounds: Bounds, settlement: &Arc<Settlement>) {
        self.settlements().made.fetch_add(1, Ordering::Relaxed);
        if bounds.as_of != Instant::MAX {
            return;
        }
        let batch = settlement.batch;
        let sources = Sources::of(self.book(), settlement, bounds.known);
        let moved_in_tree = || self.changes().tree() > bounds.known && self.tree_touched(settlement) > bounds.known;
        let is_past = last_touched(self, batch, sources.as_ref()) > bounds.known || moved_in_tree();
        let sources = if is_past { None } else { sources };
        let bytes = bytes_of(settlement) + sources.as_ref().map_or(0, Sources::bytes);
        let kept = Kept {
            settlement: settlement.clone(),
            known: bounds.known,
            sources: sources.map(Box::new),
            tree: (CommitNo(0), CommitNo(0)),
            bytes,
            asked_again: false,
        };
        let key = (batch, is_past.then_some(bounds.known));
        self.settlements().shard(batch).put(key, kept, self.settlements().shard_bytes);
    }
}

impl ReadModel {
    /// True when nothing that a kept settlement follows from was touched since it was made, or since the
    /// asked commit.
    fn holds_at(&self, batch: BatchIx, kept: &mut Kept, known: CommitNo) -> bool {
        let (usable, now) = (kept.known.min(known), self.cursor().number);
        if usable >= now {
            return true;
        }
        let holds = self.is_untouched_since(batch, kept, usable);
        if holds {
            // From all that is known now the same would be made.
            kept.known = now;
        }
        holds
    }

    fn is_untouched_since(&self, batch: BatchIx, kept: &mut Kept, usable: CommitNo) -> bool {
        if last_touched(self, batch, kept.sources.as_deref()) > usable {
            return false;
        }
        let tree = self.changes().tree();
        if tree <= usable {
            return true;
        }
        if kept.tree.0 < tree {
            kept.tree = (tree, self.tree_touched(&kept.settlement));
        }
        kept.tree.1 <= usable
    }
}
