//! One batch, swept step by step in effective order.

use rustc_hash::FxHashMap;

use crate::book::{BatchIx, Deed, DeedIx, EndKind, FactIx, FlowIx, PlaceIx, PlaceKind};
use crate::effect::Phase;

use super::candidates::{Said, Taken};
use super::measure::Statement;
use super::{Exception, ExceptionKind, Key, Mark, Measure, Node, Settled, Settlement, Settler, Slice};

/// What came to be in a slice, or was taken from it, and nothing explains: other slices of the batch may.
#[derive(Debug, Clone, Copy)]
struct Want {
    at: i64,
    latest: i64,
    fact: FactIx,
    stated: Option<FlowIx>,
    amount: Option<i128>,
}

/// A slice on the way.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) place: PlaceIx,
    pub(super) balance: i128,
    pub(super) arrived: i64,
    pub(super) first_in: i64,
    /// An unknown quantity came in and nothing ended it: covers whatever is asked.
    pub(super) open_unknown: bool,
    unknown: bool,
    assumed: bool,
    /// A count said something of it, be it that nothing was there.
    counted: bool,
    /// Since when its book is doubtful.
    disturbed: Option<i64>,
    /// Taken, not there, and not repaid.
    owed: i128,
    /// Since when the balance has been below zero, by which fact, and how far.
    negative_since: Option<(i64, FactIx, i128)>,
    /// What was taken in that time and was not there.
    shortages: Vec<Want>,
    /// What is to be linked with the other slices.
    wants: Vec<Want>,
    zeros: Vec<i64>,
    /// Something came in since the last zero.
    filled: bool,
    instant: i64,
    before: i128,
    before_unknown: bool,
}

impl State {
    fn new(place: PlaceIx) -> Self {
        Self {
            place,
            balance: 0,
            arrived: i64::MAX,
            first_in: i64::MAX,
            open_unknown: false,
            unknown: false,
            assumed: false,
            counted: false,
            disturbed: None,
            owed: 0,
            negative_since: None,
            shortages: Vec::new(),
            wants: Vec::new(),
            zeros: Vec::new(),
            filled: false,
            instant: i64::MIN,
            before: 0,
            before_unknown: false,
        }
    }

    /// Something is there that can be taken.
    pub(super) fn has_some(&self) -> bool {
        self.balance > 0 || self.open_unknown
    }

    /// How much of `want` it covers.
    pub(super) fn covers(&self, want: i128) -> i128 {
        if self.open_unknown { want } else { self.balance.clamp(0, want.max(0)) }
    }

    fn enter(&mut self, instant: i64) {
        if self.instant == instant {
            return;
        }
        self.close_instant();
        self.instant = instant;
        self.before = self.balance;
        self.before_unknown = self.unknown;
    }

    fn close_instant(&mut self) {
        // What is short for no longer than an instant is not short.
        if self.balance < 0 {
            self.disturb(self.instant);
        }
        if self.balance <= 0 && !self.unknown && self.filled {
            self.zeros.push(self.instant);
            self.filled = false;
        }
    }

    /// What nothing explains: what it still owes, and what was made up; in order of time.
    fn take_wants(&mut self) -> Option<(PlaceIx, Vec<Want>)> {
        let mut wants = std::mem::take(&mut self.wants);
        wants.append(&mut self.shortages);
        wants.sort_by_key(|want| want.at);
        (!wants.is_empty()).then_some((self.place, wants))
    }

    /// From an instant on its book proves nothing any more.
    fn disturb(&mut self, at: i64) {
        self.disturbed = Some(self.disturbed.map_or(at, |since| since.min(at)));
    }
}

/// Why a flow is posted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause {
    pub(super) key: Key,
    pub(super) fact: FactIx,
    pub(super) stated: Option<FlowIx>,
    pub(super) latest: i64,
}

pub(super) struct Sweep<'s, 'b> {
    pub(super) settler: &'s Settler<'b>,
    pub(super) batch: BatchIx,
    pub(super) slices: Vec<State>,
    measure: Measure,
    as_of: i64,
    index: FxHashMap<PlaceIx, usize>,
    flows: Vec<Settled>,
    exceptions: Vec<Exception>,
    /// Vessels that something was filled into from behind an assumed pick.
    assumed_vessels: Vec<PlaceIx>,
    /// What was done to slices, step by step, where somebody asks for that.
    steps: Option<Vec<(Key, Done)>>,
}

/// What a step did to a slice.
#[derive(Debug, Clone, Copy)]
pub(super) enum Done {
    /// It posted a flow in the book: its number in the settlement.
    Posted(usize),
    /// It ended what was unknown of a slice: it was emptied or counted.
    Known(PlaceIx),
}

/// Up to this many links of one slice with all others each possible one is drawn.
const LINKS_MAX: usize = 1 << 16;

/// Below this many slices a linear look is faster than an index.
const FEW: usize = 8;

impl<'s, 'b> Sweep<'s, 'b> {
    pub(super) fn new(
        settler: &'s Settler<'b>,
        batch: BatchIx,
        measure: Measure,
        as_of: i64,
        many_steps: usize,
    ) -> Self {
        Self {
            settler,
            batch,
            slices: Vec::with_capacity(many_steps.min(FEW)),
            measure,
            as_of,
            index: FxHashMap::default(),
            flows: Vec::with_capacity(many_steps),
            exceptions: Vec::new(),
            assumed_vessels: Vec::new(),
            steps: None,
        }
    }

    /// Keeps what is done to slices for [`Sweep::take_steps`].
    pub(super) fn keep_steps(&mut self) {
        self.steps = Some(Vec::new());
    }

    fn done(&mut self, key: Key, done: Done) {
        if let Some(steps) = &mut self.steps {
            steps.push((key, done));
        }
    }

    fn kind(&self, place: PlaceIx) -> PlaceKind {
        self.settler.book.place_kind(place)
    }

    /// Vessels and sinks have no balance of the batch's own.
    pub(super) fn has_slice(&self, place: PlaceIx) -> bool {
        !matches!(self.kind(place), PlaceKind::Vessel | PlaceKind::Sink)
    }

    pub(super) fn find(&self, place: PlaceIx) -> Option<usize> {
        if self.slices.len() <= FEW {
            self.slices.iter().position(|slice| slice.place == place)
        } else {
            self.index.get(&place).copied()
        }
    }

    fn slice(&mut self, place: PlaceIx) -> usize {
        if let Some(at) = self.find(place) {
            return at;
        }
        let at = self.slices.len();
        self.slices.push(State::new(place));
        if at == FEW {
            self.index = self.slices.iter().enumerate().map(|(at, slice)| (slice.place, at)).collect();
        } else if at > FEW {
            self.index.insert(place, at);
        }
        at
    }

    pub(super) fn exception(
        &mut self,
        kind: ExceptionKind,
        place: Option<PlaceIx>,
        cause: Cause,
        amount: Option<i128>,
    ) {
        let at = cause.key.instant;
        let batch = Some(self.batch);
        self.exceptions.push(Exception { kind, batch, place, cause: cause.fact, at, until: None, amount });
    }

    fn amount(&self, statement: &Statement) -> Option<i128> {
        self.measure.amount(self.settler.book, &self.settler.master, self.batch, statement)
    }

    /// Settles a stated flow.
    pub(super) fn flow(&mut self, key: Key, flow: FlowIx) {
        let row = *self.settler.book.stated(flow);
        let extra = self.settler.book.extra(flow);
        let (second, beside) = extra.map_or((None, false), |extra| (extra.second, extra.beside));
        let amount = self.amount(&(row.quantity, second));
        let latest = self.settler.book.fact(row.fact).latest();
        let cause = Cause { key, fact: row.fact, stated: Some(flow), latest };
        let to = match (row.to.kind(), row.from.kind()) {
            (EndKind::Run(run), _) => Node::Run(run),
            (EndKind::Place(to), _) if beside => {
                Node::Place(self.settler.beside(to, key).unwrap_or(self.settler.special.unplaced))
            }
            (EndKind::Place(place), _) => Node::Place(place),
            _ => unreachable!("a flow goes to a place or a run"),
        };
        if amount.is_none() && (row.quantity.is_some() || second.is_some()) {
            self.exception(ExceptionKind::QuantityUnknown, place_of(to), cause, None);
        }
        if row.packs {
            self.check_container(cause, flow, to);
        }
        let posted = self.flows.len();
        match row.from.kind() {
            EndKind::Run(run) => self.post(cause, Node::Run(run), to, amount, Mark::Plain),
            EndKind::Supply(party) => self.supply(cause, party, to, amount),
            EndKind::Place(place) if !self.has_slice(place) => {
                self.post(cause, Node::Place(place), to, amount, Mark::Plain);
            }
            EndKind::Place(place) => {
                let taken = self.take_named(place, to, amount, key);
                self.post_taken(cause, &taken, to, Some(place));
            }
            EndKind::Receipt(by) => {
                let taken = self.take_unstated(to, amount, key, Said::Received(by));
                self.post_taken(cause, &taken, to, None);
                if let Some(excess) = taken.excess() {
                    let party = self.settler.special.unknown_party;
                    self.post(cause, Node::Supply(party), to, excess, Mark::Plain);
                }
            }
            EndKind::Sighting => {
                let taken = self.take_unstated(to, amount, key, Said::Seen);
                self.unsourced(cause, &taken, to);
            }
            EndKind::Unstated => {
                let taken = self.take_unstated(to, amount, key, Said::Moved);
                self.unsourced(cause, &taken, to);
            }
        }
        if row.packs
            && let Some(first) = self.flows[posted..].iter().find(|settled| settled.stated == Some(flow))
        {
            self.settler.packed(flow, first.from);
        }
    }

    fn check_container(&mut self, cause: Cause, flow: FlowIx, to: Node) {
        let Node::Place(container) = to else { return };
        if self.settler.packed_elsewhere(flow, cause.fact, container, cause.key) {
            self.exception(ExceptionKind::ContainerElsewhere, Some(container), cause, None);
        }
    }

    /// From a party: what lies there of it first, the rest from its supply.
    fn supply(&mut self, cause: Cause, party: PlaceIx, to: Node, amount: Option<i128>) {
        let there = self.find(party).map(|at| &self.slices[at]);
        let Some(amount) = amount else {
            let lies_there = there.is_some_and(State::has_some);
            let from = if lies_there { Node::Place(party) } else { Node::Supply(party) };
            return self.post(cause, from, to, None, Mark::Plain);
        };
        let back = there.map_or(0, |slice| slice.covers(amount));
        if back > 0 {
            self.post(cause, Node::Place(party), to, Some(back), Mark::Plain);
        }
        if amount > back || amount == 0 {
            self.post(cause, Node::Supply(party), to, Some(amount - back), Mark::Plain);
        }
    }

    /// What is new in the book pays what `unplaced` owes: from a supplier, a run, a vessel. `free` paid no other debt.
    fn pay_unplaced(&mut self, cause: Cause, from: Node, to: Node, free: i128) {
        let Node::Place(entered) = to else { return };
        if matches!(from, Node::Place(place) if self.kind(place) != PlaceKind::Vessel) {
            return;
        }
        let unplaced = self.settler.special.unplaced;
        let Some(at) = self.find(unplaced) else { return };
        let pays = self.slices[at].owed.min(free);
        if pays <= 0 || entered == unplaced || !self.has_slice(entered) || !self.settler.inside(entered, cause.key) {
            return;
        }
        let cause = Cause { stated: None, ..cause };
        self.post(cause, Node::Place(entered), Node::Place(unplaced), Some(pays), Mark::Plain);
    }

    /// What no candidate explains.
    fn unsourced(&mut self, cause: Cause, taken: &Taken, to: Node) {
        self.post_taken(cause, taken, to, None);
        let Some(excess) = taken.excess() else { return };
        let inside = match to {
            Node::Place(place) if self.has_slice(place) && self.settler.inside(place, cause.key) => Some(place),
            _ => None,
        };
        let Some(entered) = inside else {
            let unplaced = self.settler.special.unplaced;
            self.post(cause, Node::Place(unplaced), to, excess, Mark::Plain);
            if excess.is_none() {
                self.exception(ExceptionKind::SourceUnknown, Some(unplaced), cause, None);
            }
            return;
        };
        let nowhere = self.settler.special.unexplained;
        self.exception(ExceptionKind::SourceUnknown, Some(entered), cause, excess);
        self.post(cause, Node::Place(nowhere), to, excess, Mark::Plain);
    }

    /// Possible links to what nothing explains, from every other slice of the batch reached by then (ruling 1).
    ///
    /// From each slice to each want that is not before something came to it. Where that would be very many
    /// links, only to the first such want after each thing that came: what came then leads on from there, but
    /// a hold, or a suspicion, that begins in between does not see the later ones.
    fn link_wants(&mut self) {
        let wanting: Vec<(PlaceIx, Vec<Want>)> = self.slices.iter_mut().filter_map(State::take_wants).collect();
        if wanting.is_empty() {
            return;
        }
        let mut entered: FxHashMap<PlaceIx, Vec<i64>> = FxHashMap::default();
        for flow in self.flows.iter().filter(|flow| flow.mark != Mark::Link) {
            // What went into a vessel may have been taken out of it again by its name.
            if let Node::Place(place) = flow.to
                && self.kind(place) != PlaceKind::Sink
            {
                entered.entry(place).or_default().push(flow.counts_from);
            }
        }
        // What is linked itself is reached by that.
        for (place, wants) in &wanting {
            entered.entry(*place).or_default().extend(wants.iter().map(|want| want.at));
        }
        let places: Vec<PlaceIx> = self.slices.iter().map(|slice| slice.place).collect();
        for (wanting, wants) in &wanting {
            let all = wants.len().saturating_mul(places.len()) <= LINKS_MAX;
            for from in places.iter().filter(|from| *from != wanting) {
                let mut linked = Vec::new();
                for moment in entered.get(from).into_iter().flatten() {
                    let later = wants.partition_point(|want| want.at < *moment);
                    let that_day = (0..later).filter(|at| wants[*at].latest >= *moment);
                    let until = if all { wants.len() } else { wants.len().min(later + 1) };
                    linked.extend(that_day.chain(later..until));
                }
                linked.sort_unstable();
                linked.dedup();
                for want in linked.into_iter().map(|at| wants[at]) {
                    let Want { at, latest, fact, stated, amount } = want;
                    let cause = Cause { key: Key::end_of(at), fact, stated, latest };
                    self.link(cause, Node::Place(*from), Node::Place(*wanting), amount, at);
                }
            }
        }
    }

    fn link(&mut self, cause: Cause, from: Node, to: Node, amount: Option<i128>, at: i64) {
        if from == to {
            return;
        }
        self.flows.push(Settled {
            amount,
            at,
            latest: cause.latest.max(at),
            counts_from: at,
            stated: cause.stated,
            fact: cause.fact,
            from,
            to,
            mark: Mark::Link,
            alone: false,
        });
    }

    fn post_taken(&mut self, cause: Cause, taken: &Taken, to: Node, named: Option<PlaceIx>) {
        if taken.ambiguous {
            self.exception(ExceptionKind::SourceAmbiguous, named.or(place_of(to)), cause, taken.wanted);
        }
        for pick in &taken.picks {
            let mark = if pick.assumed { Mark::Assumed } else { Mark::Plain };
            self.post(cause, Node::Place(pick.place), to, pick.amount, mark);
        }
        for other in &taken.others {
            self.link(cause, Node::Place(*other), to, taken.wanted, cause.key.instant);
        }
        if let (Some(named), Some(excess)) = (named, taken.excess()) {
            if excess.is_none() {
                self.want(cause, named, None);
            }
            self.post(cause, Node::Place(named), to, excess, Mark::Plain);
        }
    }

    /// Moves an amount in the book; where nothing explains it, other slices may.
    fn post(&mut self, cause: Cause, from: Node, to: Node, amount: Option<i128>, mark: Mark) {
        if let Node::Place(place) = to
            && self.has_slice(place)
            && self.is_made_up(from)
        {
            self.want(cause, place, amount);
        }
        self.post_explained(cause, from, to, amount, mark);
    }

    fn post_explained(&mut self, cause: Cause, from: Node, to: Node, amount: Option<i128>, mark: Mark) {
        if from == to {
            return;
        }
        if amount.is_none() {
            self.exception(ExceptionKind::QuantityUnknown, place_of(to), cause, None);
        }
        let at = cause.key.instant;
        // An adjustment is a difference that somebody counted.
        let adjustment = Node::Place(self.settler.special.adjustment);
        let mut alone = true;
        if let Node::Place(place) = from
            && self.has_slice(place)
        {
            let slice = self.slice(place);
            self.slices[slice].enter(at);
            alone = self.slices[slice].before == 0 && !self.slices[slice].before_unknown;
            // A fact dated by day does not say what was there before or after it.
            if cause.latest != at {
                self.slices[slice].disturb(at);
            }
            self.withdraw(slice, cause, amount, mark);
            if to == adjustment {
                self.slices[slice].disturb(at);
            }
        }
        let flow = Settled {
            amount,
            at,
            latest: cause.latest,
            counts_from: at,
            stated: cause.stated,
            fact: cause.fact,
            from,
            to,
            mark,
            alone,
        };
        self.done(cause.key, Done::Posted(self.flows.len()));
        self.flows.push(flow);
        if let Node::Place(place) = to
            && self.has_slice(place)
        {
            let slice = self.slice(place);
            self.slices[slice].enter(at);
            if cause.latest != at || from == adjustment {
                self.slices[slice].disturb(at);
            }
            let paid = self.deposit(slice, &flow);
            if let Some(amount) = amount {
                self.pay_unplaced(cause, from, to, amount - paid);
            }
        }
        if let Node::Place(place) = to
            && self.kind(place) == PlaceKind::Vessel
        {
            let slice = self.slice(place);
            self.slices[slice].first_in = self.slices[slice].first_in.min(at);
        }
    }

    fn withdraw(&mut self, slice: usize, cause: Cause, amount: Option<i128>, mark: Mark) {
        let Cause { key: Key { instant: at, .. }, fact, latest, .. } = cause;
        let state = &mut self.slices[slice];
        if mark == Mark::Assumed {
            state.assumed = true;
            state.disturb(at);
        }
        let Some(amount) = amount else {
            state.unknown = true;
            state.disturb(at);
            return;
        };
        let had = state.balance.max(0);
        state.balance -= amount;
        if state.open_unknown || amount <= had {
            return;
        }
        let short = amount - had;
        state.owed += short;
        state.shortages.push(Want { at, latest, fact, stated: None, amount: Some(short) });
        match &mut state.negative_since {
            None => state.negative_since = Some((at, fact, short)),
            Some(interval) => interval.2 = interval.2.max(-state.balance),
        }
    }

    /// Notes what nothing explains.
    fn want(&mut self, cause: Cause, place: PlaceIx, amount: Option<i128>) {
        let Cause { key: Key { instant: at, .. }, fact, latest, stated } = cause;
        let slice = self.slice(place);
        self.slices[slice].wants.push(Want { at, latest, fact, stated, amount });
    }

    /// What a count or the like makes up, which no flow between slices explains.
    fn is_made_up(&self, from: Node) -> bool {
        let special = &self.settler.special;
        matches!(from, Node::Place(place) if place == special.adjustment || place == special.unexplained)
    }

    /// Returns how much of it paid debts.
    fn deposit(&mut self, slice: usize, flow: &Settled) -> i128 {
        let at = flow.at;
        let explains = !self.is_made_up(flow.from);
        let state = &mut self.slices[slice];
        if state.balance <= 0 && !state.open_unknown {
            state.arrived = at;
        }
        state.first_in = state.first_in.min(at);
        state.filled = true;
        if flow.mark == Mark::Assumed {
            state.disturb(at);
        }
        let began = state.negative_since.map(|(began, ..)| began).filter(|began| *began < at);
        let counts = |amount| began.map(|began| Settled { amount, counts_from: began, mark: Mark::Repays, ..*flow });
        let Some(amount) = flow.amount else {
            state.unknown = true;
            state.open_unknown = true;
            state.disturb(at);
            self.flows.extend(counts(None));
            return 0;
        };
        state.balance += amount;
        let paid = amount.min(state.owed);
        if paid > 0 {
            state.owed -= paid;
            if explains {
                self.flows.extend(counts(Some(paid)));
            } else {
                let shortages = state.shortages.clone();
                state.wants.extend(shortages);
            }
            if began.is_some() {
                state.disturb(at);
            }
        }
        if self.slices[slice].owed == 0 {
            self.slices[slice].shortages.clear();
            self.end_negative(slice, Some(at));
        }
        paid
    }

    fn end_negative(&mut self, slice: usize, until: Option<i64>) {
        let state = &mut self.slices[slice];
        let Some((at, cause, amount)) = state.negative_since.take() else { return };
        if until == Some(at) {
            return;
        }
        let place = state.place;
        let kind = match self.kind(place) {
            PlaceKind::Unplaced => ExceptionKind::SourceUnknown,
            PlaceKind::Party => ExceptionKind::ReturnedNeverSent,
            _ => ExceptionKind::Negative,
        };
        let batch = Some(self.batch);
        self.exceptions.push(Exception { kind, batch, place: Some(place), cause, at, until, amount: Some(amount) });
    }

    /// Settles what is no flow: emptying and counting.
    pub(super) fn deed(&mut self, key: Key, deed: DeedIx) {
        let row = self.settler.book.deed_row(deed);
        let latest = self.settler.book.fact(row.fact).latest();
        let cause = Cause { key, fact: row.fact, stated: None, latest };
        match row.deed {
            Deed::Empty { place, to } => {
                let to = to.or_else(|| self.settler.beside(place, key));
                let to = to.unwrap_or(self.settler.special.unplaced);
                self.empty(cause, place, to);
            }
            Deed::Count { at, quantity, second, .. } => self.count(cause, at, &(quantity, second)),
            _ => {}
        }
    }

    fn empty(&mut self, cause: Cause, place: PlaceIx, to: PlaceIx) {
        let Some(at) = self.find(place) else { return };
        let State { balance, open_unknown, unknown, .. } = self.slices[at];
        if balance > 0 {
            self.post(cause, Node::Place(place), Node::Place(to), Some(balance), Mark::Plain);
        }
        if open_unknown && balance < 0 {
            self.set_unknown(cause, place, 0);
        }
        if unknown {
            self.post(cause, Node::Place(place), Node::Place(to), None, Mark::Plain);
        }
        self.is_known(cause, at);
    }

    /// Nothing of unknown quantity is in a slice any more.
    fn is_known(&mut self, cause: Cause, at: usize) {
        let slice = &self.slices[at];
        if slice.unknown || slice.open_unknown {
            self.done(cause.key, Done::Known(slice.place));
        }
        let slice = &mut self.slices[at];
        slice.open_unknown = false;
        slice.unknown = false;
    }

    /// A book of unknown content is set: from or to `unexplained`, which explains itself.
    fn set_unknown(&mut self, cause: Cause, place: PlaceIx, to: i128) {
        let Some(at) = self.find(place) else { return };
        let difference = to - self.slices[at].balance;
        let (here, nowhere) = (Node::Place(place), Node::Place(self.settler.special.unexplained));
        let (from, to) = if difference > 0 { (nowhere, here) } else { (here, nowhere) };
        if difference != 0 {
            self.post_explained(cause, from, to, Some(difference.abs()), Mark::Plain);
        }
    }

    fn count(&mut self, cause: Cause, place: PlaceIx, statement: &Statement) {
        let Some(counted) = self.amount(statement) else {
            // Without any quantity a count says nothing about the book.
            if statement.0.is_some() || statement.1.is_some() {
                self.exception(ExceptionKind::QuantityUnknown, Some(place), cause, None);
            }
            return;
        };
        if !self.has_slice(place) {
            return;
        }
        let at = self.slice(place);
        self.slices[at].counted = true;
        if self.slices[at].open_unknown {
            self.set_unknown(cause, place, counted);
            self.is_known(cause, at);
            return;
        }
        self.is_known(cause, at);
        let difference = counted - self.slices[at].balance;
        if difference == 0 {
            return;
        }
        self.exception(ExceptionKind::CountDiffers, Some(place), cause, Some(difference));
        let book = self.settler.special.adjustment;
        if difference < 0 {
            self.post(cause, Node::Place(place), Node::Place(book), Some(-difference), Mark::Plain);
        } else {
            self.post(cause, Node::Place(book), Node::Place(place), Some(difference), Mark::Plain);
        }
        self.slices[at].disturb(cause.key.instant);
    }

    /// What was done so far, in step order.
    pub(super) fn take_steps(&mut self) -> Vec<(Key, Done)> {
        self.steps.take().unwrap_or_default()
    }

    /// Marks what an assumed pick entered, and all slices that something flows to from there (ruling 4).
    fn mark_assumed(&mut self) {
        let mut since: FxHashMap<PlaceIx, i64> = FxHashMap::default();
        if !self.flows.iter().any(|flow| flow.mark == Mark::Assumed) {
            return;
        }
        loop {
            let mut more = false;
            let mut picked = false;
            for flow in self.flows.iter().filter(|flow| flow.mark != Mark::Link) {
                // What repays is noted right behind its flow.
                picked = flow.mark == Mark::Assumed || (picked && flow.mark == Mark::Repays);
                let Node::Place(to) = flow.to else { continue };
                // What is drawn is made, also where it has the name of what went in.
                let drawn = flow.stated.is_some_and(|stated| self.settler.book.stated(stated).phase == Phase::Draw);
                let follows = match flow.from {
                    Node::Place(from) if drawn && self.kind(from) == PlaceKind::Vessel => false,
                    Node::Place(from) => since.get(&from).is_some_and(|since| *since <= flow.latest),
                    _ => false,
                };
                if self.kind(to) != PlaceKind::Sink && (picked || follows) {
                    let known = since.entry(to).or_insert(i64::MAX);
                    more |= flow.counts_from < *known;
                    *known = flow.counts_from.min(*known);
                }
            }
            if !more {
                break;
            }
        }
        for slice in &mut self.slices {
            slice.assumed |= since.contains_key(&slice.place);
        }
        let vessels = since.into_keys().filter(|place| self.kind(*place) == PlaceKind::Vessel);
        self.assumed_vessels = vessels.collect();
        self.assumed_vessels.sort_unstable();
    }

    /// Links for what was never paid, intervals that last, episodes.
    pub(super) fn finish(mut self) -> Settlement {
        for at in 0..self.slices.len() {
            self.end_negative(at, None);
        }
        self.link_wants();
        self.mark_assumed();
        let mut slices: Vec<Slice> = Vec::with_capacity(self.slices.len());
        let settler = self.settler;
        for mut state in self.slices {
            if settler.book.place_kind(state.place) == PlaceKind::Vessel {
                continue;
            }
            state.close_instant();
            // A move onto itself looks at a slice, and leaves nothing there.
            let looked_at = state.balance == 0 && !state.unknown && !state.counted && state.first_in == i64::MAX;
            if looked_at && state.disturbed.is_none() && state.zeros.is_empty() {
                continue;
            }
            slices.push(Slice {
                balance: state.balance,
                place: state.place,
                first_in: state.first_in,
                arrived: state.arrived,
                zeros: state.zeros.into_boxed_slice(),
                unknown: state.unknown,
                assumed: state.assumed,
                disturbed: state.disturbed,
            });
        }
        debug_assert!(self.flows.iter().all(|flow| flow.at <= self.as_of));
        Settlement {
            batch: self.batch,
            measure: self.measure,
            flows: self.flows,
            slices,
            exceptions: self.exceptions,
            assumed_vessels: self.assumed_vessels,
            by_end: None,
        }
    }
}

fn place_of(node: Node) -> Option<PlaceIx> {
    match node {
        Node::Place(place) => Some(place),
        _ => None,
    }
}
