//! When what was last touched: by it a kept settlement is told from one that has to be made again.

use lotline_domain::book::{BatchIx, Book, NameNo, PlaceIx, Touched};
use lotline_domain::time::CommitNo;
use rustc_hash::FxHashMap;

use crate::pages::ChangeForm;

/// What a settlement may follow from besides its batch's own effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Changed {
    /// Effects of a batch.
    Batch(BatchIx),
    /// Where a container stands, where a shipment goes, what was emptied.
    Station(PlaceIx),
    /// A place's parent in the tree.
    Parent(PlaceIx),
    /// An item's base unit or factors.
    Item(NameNo),
    /// What a bare code may mean.
    Code(NameNo),
    /// Any master data.
    Master,
}

impl Changed {
    fn form(self, commit: CommitNo) -> ChangeForm {
        let (kind, number) = match self {
            Self::Batch(batch) => (0, batch.0),
            Self::Station(place) => (1, place.0),
            Self::Parent(place) => (2, place.0),
            Self::Item(item) => (3, item.0),
            Self::Code(code) => (4, code.0),
            Self::Master => (5, 0),
        };
        ChangeForm { kind, number, commit: commit.0 }
    }

    fn of(form: &ChangeForm) -> Option<Self> {
        Some(match form.kind {
            0 => Self::Batch(BatchIx(form.number)),
            1 => Self::Station(PlaceIx(form.number)),
            2 => Self::Parent(PlaceIx(form.number)),
            3 => Self::Item(NameNo(form.number)),
            4 => Self::Code(NameNo(form.number)),
            5 => Self::Master,
            _ => return None,
        })
    }
}

/// For everything that settlements follow from, the last commit that touched it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    batches: Vec<u64>,
    stations: FxHashMap<PlaceIx, u64>,
    parents: FxHashMap<PlaceIx, u64>,
    items: FxHashMap<NameNo, u64>,
    codes: FxHashMap<NameNo, u64>,
    master: u64,
    /// The last commit that changed any parent.
    tree: u64,
    /// Changes that no closed page has, the first of them as row `log_first`.
    log: Vec<ChangeForm>,
    log_first: u64,
}

impl Changes {
    /// Notes what a commit touched.
    pub(crate) fn note(&mut self, book: &Book, touched: &Touched, commit: CommitNo) {
        for &batch in &touched.batches {
            self.set(Changed::Batch(batch), commit);
            // Which batches a bare code means follows from which of them facts speak of.
            if book.has_pseudo() && book.pseudo_of(book.code_of(batch)).is_some() {
                self.set(Changed::Code(book.code_of(batch)), commit);
            }
        }
        for &place in &touched.stations {
            self.set(Changed::Station(place), commit);
        }
        for &place in &touched.parents {
            self.set(Changed::Parent(place), commit);
        }
        for &item in &touched.items {
            self.set(Changed::Item(item), commit);
        }
        for &code in &touched.codes {
            self.set(Changed::Code(code), commit);
        }
        if touched.everything {
            self.set(Changed::Master, commit);
        }
    }

    fn set(&mut self, changed: Changed, commit: CommitNo) {
        if self.put(changed, commit.0) < commit.0 {
            self.log.push(changed.form(commit));
        }
    }

    /// Sets the last commit, and returns the one before.
    fn put(&mut self, changed: Changed, commit: u64) -> u64 {
        let slot = match changed {
            Changed::Batch(batch) => {
                if batch.at() >= self.batches.len() {
                    self.batches.resize(batch.at() + 1, 0);
                }
                &mut self.batches[batch.at()]
            }
            Changed::Station(place) => self.stations.entry(place).or_default(),
            Changed::Parent(place) => {
                self.tree = self.tree.max(commit);
                self.parents.entry(place).or_default()
            }
            Changed::Item(item) => self.items.entry(item).or_default(),
            Changed::Code(code) => self.codes.entry(code).or_default(),
            Changed::Master => &mut self.master,
        };
        std::mem::replace(slot, commit.max(*slot))
    }

    /// The last commit that touched it; 0 when none did.
    pub(crate) fn last(&self, changed: Changed) -> CommitNo {
        CommitNo(match changed {
            Changed::Batch(batch) => self.batches.get(batch.at()).copied().unwrap_or(0),
            Changed::Station(place) => self.stations.get(&place).copied().unwrap_or(0),
            Changed::Parent(place) => self.parents.get(&place).copied().unwrap_or(0),
            Changed::Item(item) => self.items.get(&item).copied().unwrap_or(0),
            Changed::Code(code) => self.codes.get(&code).copied().unwrap_or(0),
            Changed::Master => self.master,
        })
    }

    /// The last commit that changed any place's parent.
    pub(crate) fn tree(&self) -> CommitNo {
        CommitNo(self.tree)
    }

    /// All that is known, as the log of a store that has nothing yet.
    pub(crate) fn begin_log(&mut self) {
        let batches = (0..).map(BatchIx).zip(&self.batches).map(|(batch, at)| (Changed::Batch(batch), at));
        let stations = self.stations.iter().map(|(place, at)| (Changed::Station(*place), at));
        let parents = self.parents.iter().map(|(place, at)| (Changed::Parent(*place), at));
        let items = self.items.iter().map(|(item, at)| (Changed::Item(*item), at));
        let codes = self.codes.iter().map(|(code, at)| (Changed::Code(*code), at));
        let all =
            batches.chain(stations).chain(parents).chain(items).chain(codes).chain([(Changed::Master, &self.master)]);
        self.log = all.filter(|(_, at)| **at > 0).map(|(changed, at)| changed.form(CommitNo(*at))).collect();
        self.log_first = 0;
    }

    /// Takes up a row that a page kept; `None` when nothing writes such a row.
    pub(crate) fn restore(&mut self, row: &ChangeForm) -> Option<()> {
        self.put(Changed::of(row)?, row.commit);
        self.log_first += 1;
        Some(())
    }

    /// Keeps the rows of the open page, the first of which is row `first`.
    pub(crate) fn restore_log(&mut self, first: u64, open: Vec<ChangeForm>) {
        self.log_first = first;
        self.log = open;
    }

    /// How many rows there are, closed pages included.
    pub(crate) fn rows(&self) -> u64 {
        self.log_first + self.log.len() as u64
    }

    /// The rows from one on, which is in no closed page.
    pub(crate) fn rows_from(&self, first: u64) -> &[ChangeForm] {
        let skip = usize::try_from(first.saturating_sub(self.log_first)).unwrap_or(usize::MAX);
        self.log.get(skip..).unwrap_or(&[])
    }

    /// Lets go of the rows before one: closed pages have them.
    pub(crate) fn forget_before(&mut self, first: u64) {
        let count = usize::try_from(first.saturating_sub(self.log_first)).unwrap_or(usize::MAX);
        self.log.drain(..count.min(self.log.len()));
        self.log_first = self.log_first.max(first);
    }
}
