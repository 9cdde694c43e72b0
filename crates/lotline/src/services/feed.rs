//! Feeds: which rows of a read model differ between two commits.
//!
//! A step is computed from the read model alone, which answers for any earlier commit as it did then; so it is the same
//! whoever computes it, and when.

mod rows;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lotline_bus::{Bus, Change, Feed, FeedError, Step, Tail, Trouble, Wanted};
use lotline_domain::book::{BatchIx, Book, Bounds, Deed, FactIx, PlaceIx, PlaceKind};
use lotline_domain::time::CommitNo;
use lotline_ledger::{CommitHash, CommitNumber, LedgerId};
use lotline_projections::{Cursor, Dependents, Part};
use lotline_wire::feed::{AsOf, Change as Told};
use rustc_hash::FxHashMap;

use self::rows::{Kept, Row, Rows, rows_of};
use super::live::Live;
use crate::answer::on_hand::Tree;
use crate::failure::{Exit, Failure};

pub use self::rows::FeedKind;

/// Further behind than this, the feed goes to the head in one step: more steps would leave it ever further behind.
const SINGLE_STEPS: u64 = 8;
/// More events than these are not listed where none of them names a batch.
const CAUSES_MAX: usize = 16;

const MOMENT: Duration = Duration::from_millis(20);
/// After trouble with the server it is left alone for so long: each try may wait seconds for an answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Where a feed is.
enum At {
    /// It has to be found out.
    Unknown,
    /// Everything up to a commit is told and kept.
    Commit(CommitNo),
}

/// What is to be done next, computed and not told yet.
pub struct Due {
    step: Step,
    what: What,
}

enum What {
    /// Changes for the stream, without the first ones, which it has already.
    Told {
        changes: Vec<Change>,
        told: usize,
        rows: Found,
        /// What was found in the bucket that is to be put right with this step.
        also: Wanted,
    },
    /// The stream has the step whole, up to a sequence: the bucket is not what it says, or its mark is not.
    Kept {
        values: Wanted,
        sequence: u64,
        unfit: Option<AsOf>,
        /// No other step has begun behind it.
        is_all: bool,
    },
}

/// Rows by what they are looked at by.
type Found = FxHashMap<Part, Rows>;

/// The hash of a commit, where it is known.
pub type HashOf<'a> = &'a dyn Fn(CommitNo) -> Option<CommitHash>;

/// Tells what changed.
pub struct Feeder {
    kind: FeedKind,
    feed: Feed,
    ledger: LedgerId,
    at: At,
    /// The rows as of where it is.
    rows: Found,
    /// What else they follow from.
    dependents: Dependents,
    /// The tree of places that was needed last, and from which commit on it is that.
    tree: Option<(CommitNo, CommitNo, Tree)>,
    /// Not before this moment: the server had trouble.
    again: Option<Instant>,
    /// The bucket is not up to what was told.
    is_behind: bool,
    /// Keys whose values are as of later commits than the stream tells of: a server lost the stream's end. What they
    /// say may not be told again.
    ahead: BTreeMap<String, CommitNo>,
}

impl Feeder {
    /// A feed of a ledger.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub fn open(bus: &Bus, ledger: LedgerId, kind: FeedKind) -> Result<Self, Failure> {
        let feed = bus.feed(ledger, kind.word()).map_err(super::troubled)?;
        let (rows, dependents) = (Found::default(), Dependents::default());
        let (at, ahead) = (At::Unknown, BTreeMap::new());
        Ok(Self { kind, feed, ledger, at, rows, dependents, tree: None, again: None, is_behind: false, ahead })
    }

    /// Which feed.
    pub fn kind(&self) -> FeedKind {
        self.kind
    }

    /// What it tells of.
    pub fn name(&self) -> &'static str {
        self.kind.word()
    }

    /// Whether its bucket is not up to what was told.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What is due; `None` where the feed is as far as the model, or further. At the last look the bucket is waited for.
    ///
    /// # Errors
    /// When the server does not tell where the stream ends.
    pub fn due(&mut self, live: &Live, hash_of: HashOf<'_>, is_last: bool) -> Result<Option<Due>, Trouble> {
        if !self.feed.is_connected() || self.again.is_some_and(|again| Instant::now() < again) {
            return Ok(None);
        }
        let due = self.look(live, hash_of, is_last);
        self.again = due.is_err().then(|| Instant::now() + AGAIN);
        due
    }

    /// The model is borrowed for a while at a time, and never while the server is waited for.
    fn look(&mut self, live: &Live, hash_of: HashOf<'_>, is_last: bool) -> Result<Option<Due>, Trouble> {
        // Another connection may be to a server that has lost something.
        let (at, begun) = match self.at {
            At::Commit(at) if self.feed.is_read() => (at, None),
            _ => {
                self.at = At::Unknown;
                let tail = self.feed.tail()?;
                if let Some(tail) = &tail {
                    if tail.commit.get() > live.commit() {
                        // The model was saved earlier; it will come to it.
                        return Ok(None);
                    }
                    let hash = hash_of(CommitNo(tail.commit.get()));
                    if hash.is_some_and(|hash| hash.to_string() != tail.hash) {
                        let why = "it tells of another history of the ledger; copy what is to be kept of it, and delete \
                                   it and its bucket: then it is told anew";
                        return Err(Trouble::Unsuitable { stream: self.feed.stream().to_owned(), why });
                    }
                }
                let whole = |tail: &Tail| if tail.is_whole() { tail.commit } else { tail.since };
                let at = CommitNo(tail.as_ref().map_or(0, |tail| whole(tail).get()));
                self.dependents = Dependents::default();
                self.rows = self.rows_at(live, at, &self.all(live));
                self.rows.retain(|_, rows| !rows.is_empty());
                let sequence = tail.as_ref().map_or(0, Tail::whole_sequence);
                let begun = tail.filter(|tail| !tail.is_whole());
                if let Some(due) = self.unkept(at, sequence, begun.is_none(), hash_of)? {
                    return Ok(Some(due));
                }
                self.at = At::Commit(at);
                (at, begun)
            }
        };
        let Cursor { number: head, hash, .. } = live.read().cursor();
        if at >= head {
            // Nothing is to be told; then the bucket is brought up to what was.
            let behind = if is_last { self.feed.settled().map(|()| false) } else { self.feed.go_on() };
            match behind {
                Ok(behind) => self.is_behind = behind,
                Err(error) => self.failed(error)?,
            }
            return Ok(None);
        }
        let begun_until = begun.as_ref().map(|tail| (CommitNo(tail.commit.get()), tail.hash.clone()));
        let (until, hash) = begun_until.unwrap_or_else(|| {
            let single = (head.0 - at.0 <= SINGLE_STEPS).then_some(CommitNo(at.0 + 1));
            let known = single.and_then(|next| Some((next, hash_of(next)?.to_string())));
            known.unwrap_or_else(|| (head, hash.to_string()))
        });
        let before = std::mem::take(&mut self.rows);
        let (changes, rows) = self.step(live, &before, at, until);
        self.rows = before;
        if begun.as_ref().is_some_and(|tail| tail.of != changes.len()) {
            let why = "its last step was begun by another version, which told it otherwise; let that one end it, or copy \
                       what is to be kept of it, and delete it and its bucket: then it is told anew";
            return Err(Trouble::Unsuitable { stream: self.feed.stream().to_owned(), why });
        }
        let told = begun.map_or(0, |tail| tail.number);
        let also = self.put_right(&rows, until);
        let step = Step { since: CommitNumber::new(at.0), commit: CommitNumber::new(until.0), hash };
        Ok(Some(Due { step, what: What::Told { changes, told, rows, also } }))
    }

    /// In what the bucket is not what the rows are, as of a commit with which the stream ends at a sequence.
    ///
    /// Its mark alone does not tell: of what came behind it some may have been written, also what is as it was before by
    /// now; and a server that lost its last writes has lost values, too, that those had replaced.
    fn unkept(
        &mut self,
        told: CommitNo,
        sequence: u64,
        is_all: bool,
        hash_of: HashOf<'_>,
    ) -> Result<Option<Due>, Trouble> {
        let mark = self.feed.as_of()?;
        let (at, to) = mark.as_ref().map_or((0, 0), |mark| (mark.commit, mark.sequence));
        // Somebody else tells, too, and keeps what is told.
        if self.feed.is_read() && self.ahead.is_empty() && at >= told.0 {
            return Ok(None);
        }
        let kept = self.feed.values()?;
        let mut wanted: BTreeMap<&String, &Kept> = self.rows.values().flatten().collect();
        let mut values = Wanted::new();
        self.ahead.clear();
        for (key, found) in kept {
            let row = wanted.remove(&key).map(|kept| &kept.row);
            let commit = CommitNo(found.commit.get());
            if commit > told {
                self.ahead.insert(key, commit);
            } else if row.map(|row| timeless(&json(row))) != found.value.as_deref().map(timeless) {
                values.insert(key, row.map(|row| json(&row.clone().known(told))));
            }
        }
        values.extend(wanted.into_iter().map(|(key, kept)| (key.clone(), Some(json(&kept.row.clone().known(told))))));
        let is_marked = (at, to) == (told.0, sequence);
        if values.is_empty() && is_marked {
            return Ok(None);
        }
        let unfit = mark.filter(|_| !is_marked && at >= told.0);
        let hash = hash_of(told).map(|hash| hash.to_string()).unwrap_or_default();
        let step = Step { since: CommitNumber::new(told.0), commit: CommitNumber::new(told.0), hash };
        Ok(Some(Due { step, what: What::Kept { values, sequence, unfit, is_all } }))
    }

    /// The rows up to a commit of keys that the bucket had later values of, whether they are told anew or not.
    fn put_right(&mut self, rows: &Found, until: CommitNo) -> Wanted {
        let mut wanted = Wanted::new();
        if self.ahead.is_empty() {
            return wanted;
        }
        let passed: Vec<String> =
            self.ahead.iter().filter(|(_, at)| **at <= until).map(|(key, _)| key.clone()).collect();
        let unchanged = self.rows.iter().filter(|(part, _)| !rows.contains_key(part)).map(|(_, rows)| rows);
        for key in passed {
            let row = rows.values().chain(unchanged.clone()).find_map(|rows| rows.get(&key));
            wanted.insert(key, row.map(|kept| json(&kept.row.clone().known(until))));
        }
        wanted
    }

    /// Tells what was due. What goes wrong is found out again at the next look.
    ///
    /// # Errors
    /// When the server does not do what it has to.
    pub fn tell(&mut self, due: Due) -> Result<(), Trouble> {
        let Due { step, what } = due;
        let commit = CommitNo(step.commit.get());
        let result = match what {
            What::Kept { values, sequence, unfit, is_all } => {
                self.feed.keep(step, values, sequence, unfit.as_ref()).map(|()| {
                    self.at = if is_all { At::Commit(commit) } else { At::Unknown };
                })
            }
            What::Told { changes, told, rows, also } => self.tell_step(step, changes, told, also).map(|()| {
                self.ahead.retain(|_, at| *at > commit);
                for (part, rows) in rows {
                    if rows.is_empty() {
                        self.rows.remove(&part)
                    } else {
                        self.rows.insert(part, rows)
                    };
                }
                self.at = At::Commit(commit);
            }),
        };
        result.or_else(|error| self.failed(error))
    }

    fn tell_step(&mut self, step: Step, changes: Vec<Change>, told: usize, also: Wanted) -> Result<(), FeedError> {
        if !changes.is_empty() {
            self.feed.tell(step.clone(), changes, told)?;
        }
        let sequence = self.feed.sequence();
        if also.is_empty() { Ok(()) } else { self.feed.keep(step, also, sequence, None) }
    }

    /// Where it is has to be found out again.
    fn failed(&mut self, error: FeedError) -> Result<(), Trouble> {
        self.at = At::Unknown;
        match error {
            // Somebody else tells, too: it is left to go on for a moment.
            FeedError::Moved => {
                std::thread::sleep(MOMENT);
                Ok(())
            }
            FeedError::Server(trouble) => {
                self.again = Some(Instant::now() + AGAIN);
                Err(trouble)
            }
        }
    }

    /// The changes between two commits, in the order of their keys, and the rows that were looked at.
    fn step(&mut self, live: &Live, before: &Found, since: CommitNo, until: CommitNo) -> (Vec<Change>, Found) {
        let touched = self.kind.touched(&self.dependents, &live.read(), since, until);
        let parts = touched.unwrap_or_else(|| self.all(live));
        let mut now = self.rows_at(live, until, &parts);
        let mut changed = BTreeMap::new();
        let none = Rows::new();
        for part in parts {
            let old = before.get(&part).unwrap_or(&none);
            let new = now.entry(part).or_default();
            for key in old.keys().chain(new.keys()) {
                let (old, new) = (old.get(key), new.get(key));
                if old.map(|old| &old.row) != new.map(|new| &new.row) {
                    changed.entry(key.clone()).or_insert_with(|| (old.cloned(), new.cloned()));
                }
            }
        }
        let model = live.read();
        let book = model.book();
        let named = Named::of(book, facts_between(book, since, until));
        let changes = changed.into_iter().map(|(key, (old, new))| {
            let kept = old.as_ref().or(new.as_ref()).expect("a row on one side");
            let (tokens, (batch, slice)) = (kept.tokens.clone(), kept.of);
            let (causes, indirect) = named.causes(batch, slice);
            let new = new.map(|kept| kept.row.known(until));
            let value = new.as_ref().map(json);
            let told = Told::<Row> {
                ledger: self.ledger.to_string(),
                commit: until.0,
                since: since.0,
                key: key.clone(),
                old: old.map(|kept| kept.row.known(since)),
                new,
                causes,
                indirect,
            };
            Change { tokens, key, body: json(&told), value }
        });
        (changes.collect(), now)
    }

    fn all(&self, live: &Live) -> Vec<Part> {
        let model = live.read();
        self.kind.parts(&model.question(Bounds::known(model.cursor().number)))
    }

    /// Rows as known at a commit. The past does not change, so the model may go on between some of them and others.
    fn rows_at(&mut self, live: &Live, known: CommitNo, parts: &[Part]) -> Found {
        let mut rows = Found::default();
        for some in parts.chunks(AT_ONCE) {
            let model = live.read();
            let question = model.question(Bounds::known(known));
            let changed = model.master_changed();
            // The tree of a commit holds until master data changes.
            let mut tree = match self.tree.take() {
                Some((from, to, tree)) if known >= from && (known <= to || from >= changed) => {
                    (from, to.max(known), tree)
                }
                _ => (known, known, Tree::at(model.book(), known)),
            };
            tree.2.known(known);
            for &part in some {
                if let Part::Batch(batch) = part {
                    self.dependents.note(&question, batch);
                }
                rows.insert(part, rows_of(self.kind, &question, &tree.2, part));
            }
            self.tree = Some(tree);
        }
        rows
    }
}

/// For so many parts a model is borrowed at a time.
const AT_ONCE: usize = 4_096;

/// A row without the commit that it is as of; what is no row differs from all of them.
fn timeless(row: &[u8]) -> Option<serde_json::Value> {
    let mut row: serde_json::Value = serde_json::from_slice(row).ok()?;
    row.as_object_mut()?.remove("as_known_at");
    Some(row)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has text keys only")
}

/// The facts of the commits behind one and up to another.
fn facts_between(book: &Book, since: CommitNo, until: CommitNo) -> Vec<FactIx> {
    let count = u32::try_from(book.fact_count()).expect("fewer than 2^32 facts");
    let from_last = (0..count).rev().map(FactIx);
    let mut facts: Vec<FactIx> = from_last
        .skip_while(|fact| book.fact(*fact).commit > until.0)
        .take_while(|fact| book.fact(*fact).commit > since.0)
        .collect();
    facts.reverse();
    facts
}

/// Which facts of a step name a batch, or move or empty a place; looked up once, however many changes the step has.
struct Named<'b> {
    book: &'b Book,
    facts: Vec<FactIx>,
    batches: FxHashMap<BatchIx, Vec<FactIx>>,
    places: FxHashMap<PlaceIx, Vec<FactIx>>,
}

impl<'b> Named<'b> {
    fn of(book: &'b Book, facts: Vec<FactIx>) -> Self {
        let (mut batches, mut places) = (FxHashMap::default(), FxHashMap::default());
        for fact in facts.iter().copied() {
            for flow in book.flows_of_fact(fact) {
                note(&mut batches, flow.batch, fact);
            }
            for deed in book.deeds_of_fact(fact) {
                match deed {
                    Deed::Mention { batch }
                    | Deed::Count { batch, .. }
                    | Deed::Hold { batch, .. }
                    | Deed::Expiry { batch, .. } => {
                        note(&mut batches, *batch, fact);
                    }
                    Deed::Move { container: place, .. } | Deed::Empty { place, .. }
                        if book.place_kind(*place) != PlaceKind::Location =>
                    {
                        note(&mut places, *place, fact);
                    }
                    _ => {}
                }
            }
        }
        Self { book, facts, batches, places }
    }

    /// The events behind a change, and whether none of them names the batch or where it is.
    fn causes(&self, batch: Option<BatchIx>, slice: Option<PlaceIx>) -> (Vec<String>, bool) {
        let of_batch = batch.and_then(|batch| self.batches.get(&batch)).into_iter().flatten();
        let of_place = slice.and_then(|slice| self.places.get(&slice)).into_iter().flatten();
        let mut own: Vec<FactIx> = of_batch.chain(of_place).copied().collect();
        own.sort_unstable();
        own.dedup();
        let indirect = own.is_empty();
        let listed = if indirect && self.facts.len() <= CAUSES_MAX { &self.facts } else { &own };
        (listed.iter().map(|fact| self.book.event_id_text(*fact).to_owned()).collect(), indirect)
    }
}

/// Facts come in their order; one may name a batch several times.
fn note<K: Eq + std::hash::Hash>(named: &mut FxHashMap<K, Vec<FactIx>>, key: K, fact: FactIx) {
    let facts = named.entry(key).or_default();
    if facts.last() != Some(&fact) {
        facts.push(fact);
    }
}

/// What trouble with the server means for a feed: one that is away is waited for.
///
/// # Errors
/// Where it has to be looked into.
pub fn troubled(told: Result<bool, Trouble>) -> Result<bool, Failure> {
    match told {
        Ok(told) => Ok(told),
        Err(error @ Trouble::Unsuitable { .. }) => Err(super::failure(Exit::Damage, error, None)),
        Err(error) => {
            tracing::warn!(%error, source = ?std::error::Error::source(&error), "changes cannot be told now; trying again");
            Ok(false)
        }
    }
}
