//! The feed of what is on hand: which rows of the inventory differ between two commits.
//!
//! A step is computed from the read model alone, which answers for any earlier commit as it did then; so it is the same
//! whoever computes it, and when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lotline_bus::{Bus, Change, Feed, FeedError, Step, Trouble};
use lotline_domain::book::{BatchIx, Book, Bounds, Deed, EndKind, FactIx, NONE, PlaceIx, PlaceKind};
use lotline_domain::id::BatchRef;
use lotline_domain::time::CommitNo;
use lotline_ledger::{CommitHash, CommitNumber, LedgerId};
use lotline_projections::{Question, ReadModel, State, slices_of};
use lotline_wire::answer::OnHandRow;
use lotline_wire::channel::token;
use lotline_wire::feed::OnHandChange;
use rustc_hash::FxHashMap;

use crate::answer::on_hand::row;
use crate::failure::{Exit, Failure};

/// Further behind than this, the feed goes to the head in one step.
const SINGLE_STEPS: u64 = 16;
/// More events than these are not listed where none of them names a batch.
const CAUSES_MAX: usize = 16;

const MOMENT: Duration = Duration::from_millis(20);
/// After trouble with the server it is left alone for so long: each try may wait seconds for an answer.
const AGAIN: Duration = Duration::from_secs(1);

/// A row under its key, with what its subject and its causes need.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    row: OnHandRow,
    slice: PlaceIx,
}

type Rows = BTreeMap<String, Kept>;

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
    changes: Vec<Change>,
    told: usize,
    /// It is in the stream whole, and only the bucket lacks some of it.
    only_kept: bool,
    rows: FxHashMap<BatchIx, Rows>,
}

/// The hash of a commit, where it is known.
pub type HashOf<'a> = &'a dyn Fn(CommitNo) -> Option<CommitHash>;

/// Tells what changed.
pub struct Feeder {
    feed: Feed,
    ledger: LedgerId,
    at: At,
    /// The rows as of where it is.
    rows: FxHashMap<BatchIx, Rows>,
    /// Not before this moment: the server had trouble.
    again: Option<Instant>,
}

impl Feeder {
    /// The feed of a ledger.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub fn open(bus: &Bus, ledger: LedgerId) -> Result<Self, Failure> {
        let feed = bus.on_hand_feed(ledger).map_err(super::troubled)?;
        Ok(Self { feed, ledger, at: At::Unknown, rows: FxHashMap::default(), again: None })
    }

    /// What it tells of.
    pub fn name(&self) -> &'static str {
        "on-hand"
    }

    /// What is due; `None` where the feed is as far as the model, or further.
    ///
    /// # Errors
    /// When the server does not tell where the stream ends.
    pub fn due(&mut self, model: &ReadModel, hash_of: HashOf<'_>) -> Result<Option<Due>, Trouble> {
        if !self.feed.is_connected() || self.again.is_some_and(|again| Instant::now() < again) {
            return Ok(None);
        }
        let due = self.look(model, hash_of);
        self.again = due.is_err().then(|| Instant::now() + AGAIN);
        due
    }

    fn look(&mut self, model: &ReadModel, hash_of: HashOf<'_>) -> Result<Option<Due>, Trouble> {
        let head = model.cursor().number;
        let (at, told, until) = match self.at {
            At::Commit(at) => (at, 0, None),
            At::Unknown => match self.feed.tail()? {
                None => (CommitNo(0), 0, None),
                // The model was saved earlier; it will come to it.
                Some(tail) if tail.commit.get() > head.0 => return Ok(None),
                Some(tail) => {
                    let commit = CommitNo(tail.commit.get());
                    if hash_of(commit).is_some_and(|hash| hash.to_string() != tail.hash) {
                        let why = "it tells of another history of the ledger; copy what is to be kept of it, and delete \
                                   it and its bucket: then it is told anew";
                        return Err(Trouble::Unsuitable { stream: self.feed.stream().to_owned(), why });
                    }
                    let at = if tail.is_whole() { commit } else { CommitNo(tail.since.get()) };
                    if let Some(due) = self.unkept(model, at, hash_of)? {
                        return Ok(Some(due));
                    }
                    if tail.is_whole() { (at, 0, None) } else { (at, tail.number, Some((commit, tail.hash))) }
                }
            },
        };
        if matches!(self.at, At::Unknown) {
            self.rows = rows_at(model, at, all(model.book()));
            self.at = At::Commit(at);
        }
        if at >= head {
            return Ok(None);
        }
        let (until, hash) = until.unwrap_or_else(|| {
            let single = (head.0 - at.0 <= SINGLE_STEPS).then_some(CommitNo(at.0 + 1));
            let known = single.and_then(|next| Some((next, hash_of(next)?.to_string())));
            known.unwrap_or_else(|| (head, model.cursor().hash.to_string()))
        });
        let (changes, rows) = self.step(model, &self.rows, at, until);
        let step = Step { since: CommitNumber::new(at.0), commit: CommitNumber::new(until.0), hash };
        Ok(Some(Due { step, changes, told, only_kept: false, rows }))
    }

    /// What the stream has up to a commit and the bucket has not.
    fn unkept(&mut self, model: &ReadModel, told: CommitNo, hash_of: HashOf<'_>) -> Result<Option<Due>, Trouble> {
        let kept = CommitNo(self.feed.as_of()?.map_or(0, |as_of| as_of.commit));
        if kept >= told {
            return Ok(None);
        }
        let before = rows_at(model, kept, all(model.book()));
        let (changes, rows) = self.step(model, &before, kept, told);
        let hash = hash_of(told).map(|hash| hash.to_string()).unwrap_or_default();
        let step = Step { since: CommitNumber::new(kept.0), commit: CommitNumber::new(told.0), hash };
        Ok(Some(Due { step, changes, told: 0, only_kept: true, rows }))
    }

    /// Tells what was due. What goes wrong is found out again at the next look.
    ///
    /// # Errors
    /// When the server does not do what it has to.
    pub fn tell(&mut self, due: Due) -> Result<(), Trouble> {
        let Due { step, changes, told, only_kept, rows } = due;
        let result = match (changes.is_empty(), only_kept) {
            (true, false) => Ok(()),
            (_, true) => self.feed.keep(&step, &changes),
            (false, false) => self.feed.tell(&step, &changes, told),
        };
        match result {
            Ok(()) if only_kept => {
                self.at = At::Unknown;
                Ok(())
            }
            Ok(()) => {
                self.rows.extend(rows);
                self.rows.retain(|_, rows| !rows.is_empty());
                self.at = At::Commit(CommitNo(step.commit.get()));
                Ok(())
            }
            Err(error) => {
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
        }
    }

    /// The changes between two commits, in the order of their keys, and the rows of the batches that were looked at.
    fn step(
        &self,
        model: &ReadModel,
        before: &FxHashMap<BatchIx, Rows>,
        since: CommitNo,
        until: CommitNo,
    ) -> (Vec<Change>, FxHashMap<BatchIx, Rows>) {
        let book = model.book();
        let facts = facts_between(book, since, until);
        let batches = concerned(book, &facts).unwrap_or_else(|| all(book));
        let mut now = rows_at(model, until, batches.iter().copied());
        let mut changed = BTreeMap::new();
        let none = Rows::new();
        for batch in batches {
            let old = before.get(&batch).unwrap_or(&none);
            let new = now.entry(batch).or_default();
            for key in old.keys().chain(new.keys()) {
                let (old, new) = (old.get(key), new.get(key));
                let is_same = old.zip(new).is_some_and(|(old, new)| {
                    OnHandRow { as_known_at: new.row.as_known_at, ..old.row.clone() } == new.row
                });
                if !is_same {
                    changed.entry(key.clone()).or_insert_with(|| (batch, old.cloned(), new.cloned()));
                }
            }
        }
        let changes = changed.into_iter().map(|(key, (batch, old, new))| {
            let slice = old.as_ref().or(new.as_ref()).map(|kept| kept.slice).expect("a row on one side");
            let (causes, indirect) = causes(book, &facts, batch, slice);
            let value = new.as_ref().map(|kept| json(&kept.row));
            let told = OnHandChange {
                ledger: self.ledger.to_string(),
                commit: until.0,
                since: since.0,
                key: key.clone(),
                old: old.map(|kept| OnHandRow { as_known_at: since.0, ..kept.row }),
                new: new.map(|kept| kept.row),
                causes,
                indirect,
            };
            Change {
                item: item(&book.batch(batch)),
                place: book.place(slice).to_string(),
                key,
                body: json(&told),
                value,
            }
        });
        (changes.collect(), now)
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has text keys only")
}

fn all(book: &Book) -> Vec<BatchIx> {
    let count = u32::try_from(book.batch_count()).expect("fewer than 2^32 batches");
    (0..count).map(BatchIx).collect()
}

fn rows_at(model: &ReadModel, known: CommitNo, batches: impl IntoIterator<Item = BatchIx>) -> FxHashMap<BatchIx, Rows> {
    let question = model.question(Bounds::known(known));
    batches.into_iter().map(|batch| (batch, rows_of(&question, batch, known))).collect()
}

/// The rows of a batch inside the walls and on its way.
fn rows_of(question: &Question<'_>, batch: BatchIx, known: CommitNo) -> Rows {
    let book = question.book();
    let found = slices_of(question, batch).into_iter().filter(|found| found.state != State::AtParty);
    let rows = found.map(|found| {
        let mut key = key(&book.batch(batch), &book.place(found.slice).to_string());
        if found.by_model {
            key.push_str(".share");
        }
        (key, Kept { row: row(book, &found, None, known.0), slice: found.slice })
    });
    rows.collect()
}

fn item(batch: &BatchRef) -> String {
    match batch {
        BatchRef::Known(id) => id.item.to_string(),
        BatchRef::Code(_) => String::new(),
    }
}

/// `ITEM.CODE.ISSUER.GENERATION.PLACE`, each a token.
fn key(batch: &BatchRef, place: &str) -> String {
    let (item, code, issuer, generation) = match batch {
        BatchRef::Known(id) => {
            let issuer = id.issuer.as_ref().map_or("", |issuer| issuer.as_str());
            (id.item.as_str(), id.code.as_str(), issuer, id.generation.0.to_string())
        }
        BatchRef::Code(code) => ("", code.as_str(), "", String::new()),
    };
    [item, code, issuer, &generation, place].map(token).join(".")
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

/// The batches whose rows may differ by these facts, where they are these facts' own alone. A container that moved, a
/// vessel, a correction, a hold or master data may concern any other: then `None`.
fn concerned(book: &Book, facts: &[FactIx]) -> Option<Vec<BatchIx>> {
    if book.has_pseudo() || !book.hold_deeds().is_empty() {
        return None;
    }
    let mut batches = Vec::new();
    for fact in facts {
        let is_plain = |deed: &Deed| matches!(deed, Deed::Mention { .. } | Deed::Count { .. } | Deed::Run { .. });
        // One that is corrected already wakes up its correction.
        let is_own = book.fact(*fact).target == NONE && book.in_force(*fact, book.head());
        if !is_own || !book.deeds_of_fact(*fact).all(is_plain) {
            return None;
        }
        for deed in book.deeds_of_fact(*fact) {
            if let Deed::Mention { batch } | Deed::Count { batch, .. } = deed {
                batches.push(*batch);
            }
        }
        for flow in book.flows_of_fact(*fact) {
            let is_mixed = |end: EndKind| {
                matches!(end, EndKind::Place(place)
                    if matches!(book.place_kind(place), PlaceKind::Vessel | PlaceKind::Container | PlaceKind::Transit))
            };
            if flow.packs || is_mixed(flow.from.kind()) || is_mixed(flow.to.kind()) {
                return None;
            }
            batches.push(flow.batch);
        }
    }
    batches.sort_unstable();
    batches.dedup();
    Some(batches)
}

/// The events behind a change, and whether none of them names the batch or where it is.
fn causes(book: &Book, facts: &[FactIx], batch: BatchIx, slice: PlaceIx) -> (Vec<String>, bool) {
    let names_it = |fact: &&FactIx| {
        let is_placed = |place: PlaceIx| place == slice && book.place_kind(slice) != PlaceKind::Location;
        book.flows_of_fact(**fact).any(|flow| flow.batch == batch)
            || book.deeds_of_fact(**fact).any(|deed| match deed {
                Deed::Mention { batch: named } | Deed::Count { batch: named, .. } | Deed::Hold { batch: named, .. } => {
                    *named == batch
                }
                Deed::Move { container: place, .. } | Deed::Empty { place, .. } => is_placed(*place),
                _ => false,
            })
    };
    let own: Vec<&FactIx> = facts.iter().filter(names_it).collect();
    let indirect = own.is_empty();
    let listed: Vec<&FactIx> = if indirect && facts.len() <= CAUSES_MAX { facts.iter().collect() } else { own };
    (listed.into_iter().map(|fact| book.event_id_text(*fact).to_owned()).collect(), indirect)
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
