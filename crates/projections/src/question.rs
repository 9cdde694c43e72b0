//! A question: a book, its bounds, and the settlements made or borrowed while it is answered.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use lotline_domain::book::{BatchIx, Book, Bounds, PlaceIx, RunIx};
use lotline_domain::fact::CleanGrade;
use lotline_domain::id::HoldId;
use lotline_domain::settle::{Covers, MasterData, RunSettlement, Settlement, Settler, VesselSettlement};
use rustc_hash::FxHashMap;

use crate::content::Contents;
use crate::expiry::{self, ToldExpiry};

/// Where settlements within given bounds may be borrowed from.
pub trait Borrow {
    /// The settlement of a batch, if it is at hand for exactly these bounds.
    fn borrowed(&self, batch: BatchIx, bounds: Bounds) -> Option<Arc<Settlement>>;

    /// Takes note of a settlement that had to be made; the lender may keep it for others.
    fn settled(&self, _bounds: Bounds, _settlement: &Arc<Settlement>) {}
}

/// Borrows nothing: every settlement is made anew.
#[derive(Debug, Clone, Copy)]
pub struct NothingBorrowed;

impl Borrow for NothingBorrowed {
    fn borrowed(&self, _: BatchIx, _: Bounds) -> Option<Arc<Settlement>> {
        None
    }
}

/// One question within its bounds. Not shared between threads; make one for each.
pub struct Question<'a> {
    settler: Settler<'a>,
    bounds: Bounds,
    hazard: CleanGrade,
    lender: &'a dyn Borrow,
    settled: RefCell<FxHashMap<BatchIx, Arc<Settlement>>>,
    runs: RefCell<FxHashMap<RunIx, Arc<RunSettlement>>>,
    vessels: RefCell<FxHashMap<PlaceIx, Arc<VesselSettlement>>>,
    covers: RefCell<Option<Arc<Covers>>>,
    /// Of each hold on slices alone, what of everything it was set on; `None` for one on a whole batch.
    held: RefCell<FxHashMap<HoldId, Option<Rc<[Contents]>>>>,
    expiries: RefCell<FxHashMap<BatchIx, Rc<[ToldExpiry]>>>,
}

impl<'a> Question<'a> {
    /// A question that settles everything itself.
    pub fn new(book: &'a Book, bounds: Bounds) -> Self {
        Self::lent(book, bounds, &MasterData::at(book, bounds.known), &NothingBorrowed)
    }

    /// A question with master data in force at its commit and a lender of settlements.
    pub fn lent(book: &'a Book, bounds: Bounds, master: &MasterData, lender: &'a dyn Borrow) -> Self {
        Self {
            settler: Settler::with_master(book, bounds.known, master).up_to(bounds.as_of.0),
            bounds,
            hazard: CleanGrade(1),
            lender,
            settled: RefCell::default(),
            runs: RefCell::default(),
            vessels: RefCell::default(),
            covers: RefCell::default(),
            held: RefCell::default(),
            expiries: RefCell::default(),
        }
    }

    /// The same for a hazard that asks for cleans of at least a grade (default 1).
    pub fn hazard(mut self, grade: CleanGrade) -> Self {
        self.hazard = grade;
        self
    }

    /// Its bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The effective bound in microseconds.
    pub fn as_of(&self) -> i64 {
        self.bounds.as_of.0
    }

    /// Its settler.
    pub fn settler(&self) -> &Settler<'a> {
        &self.settler
    }

    /// The book that it asks.
    pub fn book(&self) -> &'a Book {
        self.settler.book()
    }

    /// The settlement of a batch within the bounds.
    pub fn settlement(&self, batch: BatchIx) -> Arc<Settlement> {
        if let Some(known) = self.settled.borrow().get(&batch) {
            return known.clone();
        }
        // What is borrowed is looked at once: the lender has to find out whether it still holds.
        let settled = self.lender.borrowed(batch, self.bounds).unwrap_or_else(|| {
            let settled = Arc::new(self.settler.settle(batch, self.as_of()));
            self.lender.settled(self.bounds, &settled);
            settled
        });
        self.settled.borrow_mut().insert(batch, settled.clone());
        settled
    }

    /// The same, for the settler's own look-ups.
    pub(crate) fn cow(&self, batch: BatchIx) -> Cow<'static, Settlement> {
        Cow::Owned((*self.settlement(batch)).clone())
    }

    /// A run within the bounds.
    pub fn run(&self, run: RunIx) -> Arc<RunSettlement> {
        if let Some(known) = self.runs.borrow().get(&run) {
            return known.clone();
        }
        let told = Arc::new(self.settler.run(run, self.as_of()));
        self.runs.borrow_mut().insert(run, told.clone());
        told
    }

    /// A vessel within the bounds.
    pub fn vessel(&self, vessel: PlaceIx) -> Arc<VesselSettlement> {
        if let Some(known) = self.vessels.borrow().get(&vessel) {
            return known.clone();
        }
        let mixed = Arc::new(self.settler.vessel(vessel, self.as_of(), self.hazard, &|batch| self.cow(batch)));
        self.vessels.borrow_mut().insert(vessel, mixed.clone());
        mixed
    }

    /// The dates that facts within the bounds tell of a batch, or of what it inherits from; in the order of their
    /// steps. Which of them is over first follows from where it lies ([`crate::expiry_at`]).
    pub fn expiries(&self, batch: BatchIx) -> Rc<[ToldExpiry]> {
        if let Some(known) = self.expiries.borrow().get(&batch) {
            return known.clone();
        }
        let told = expiry::of(self, batch);
        self.expiries.borrow_mut().insert(batch, told.clone());
        told
    }

    /// All holds within the bounds and what they cover.
    pub fn covers(&self) -> Arc<Covers> {
        if let Some(known) = &*self.covers.borrow() {
            return known.clone();
        }
        let covers = Arc::new(self.settler.covers(self.as_of(), &|batch| self.cow(batch)));
        *self.covers.borrow_mut() = Some(covers.clone());
        covers
    }

    /// What holds on slices were set on, wherever it is now; `None` where the hold is on a whole batch. Several holds
    /// may have one id.
    pub(crate) fn held(&self, hold: &HoldId) -> Option<Rc<[Contents]>> {
        if let Some(known) = self.held.borrow().get(hold) {
            return known.clone();
        }
        let holds = self.settler.slice_holds(&self.covers(), hold);
        let held: Option<Rc<[Contents]>> =
            holds.map(|holds| holds.iter().map(|hold| Contents::held(self, hold)).collect());
        self.held.borrow_mut().insert(hold.clone(), held.clone());
        held
    }
}
