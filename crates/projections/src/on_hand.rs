//! Inventory on hand: balances of slices, and what vessels hold by their mix model.

use lotline_domain::book::{BatchIx, EndKind, FlowIx, PlaceIx, PlaceKind};
use lotline_domain::command::Amount;
use lotline_domain::id::HoldId;
use lotline_domain::quantity::Ratio;
use lotline_domain::settle::{Fill, Node, Settled, Settlement};

use crate::content::{Content, Contents};
use crate::expiry::{Expiry, expiry_at};
use crate::question::Question;

/// Where goods are, seen from the walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Inside, at a place.
    OnHand,
    /// Inside, mixed in a vessel.
    InVessel,
    /// In an open run.
    InProcess,
    /// Nobody recorded where; below zero, so much is missing in the records.
    Unplaced,
    /// On its way.
    InTransit,
    /// At a party outside.
    AtParty,
    /// In a run, and not come out as itself.
    Consumed,
    /// Lost.
    Lost,
    /// Taken as a sample.
    Sampled,
    /// Destroyed.
    Destroyed,
    /// Booked away or in by a count or an adjustment.
    Adjusted,
    /// Appeared or vanished, and no record says how.
    Unexplained,
}

impl State {
    /// Its words.
    pub fn words(self) -> &'static str {
        match self {
            Self::OnHand => "on hand",
            Self::InVessel => "in vessel",
            Self::InProcess => "in process",
            Self::Unplaced => "unplaced",
            Self::InTransit => "in transit",
            Self::AtParty => "with customer",
            Self::Consumed => "consumed",
            Self::Lost => "lost",
            Self::Sampled => "sampled",
            Self::Destroyed => "destroyed",
            Self::Adjusted => "adjusted",
            Self::Unexplained => "unexplained",
        }
    }
}

/// How much of a batch is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnHand {
    /// Which batch.
    pub batch: BatchIx,
    /// Its slice: the very place, a container perhaps.
    pub slice: PlaceIx,
    /// Where that is: for a container where it stands; `None` is unplaced.
    pub place: Option<PlaceIx>,
    /// Seen from the walls.
    pub state: State,
    /// How much; below zero where the records lack something.
    pub amount: Amount,
    /// Something of unknown quantity went in or out.
    pub unknown: bool,
    /// The book picked it among several candidates.
    pub assumed: bool,
    /// It is the mix model's share of a vessel.
    pub by_model: bool,
    /// Holds that cover it.
    pub holds: Vec<HoldId>,
    /// For each of them that was set on a slice, how much of this is what it was set on.
    pub held: Vec<(HoldId, Content)>,
    /// Until when it is good there, if anybody told it.
    pub expires: Option<Expiry>,
}

/// The state of goods at a place, by what kind it is.
pub(crate) fn state_of(question: &Question<'_>, slice: PlaceIx, place: Option<PlaceIx>) -> State {
    let book = question.book();
    if book.place_kind(slice) == PlaceKind::Unplaced {
        return State::Unplaced;
    }
    match place.map(|place| book.place_kind(place)) {
        Some(PlaceKind::Transit) => State::InTransit,
        Some(PlaceKind::Party) => State::AtParty,
        Some(PlaceKind::Vessel) => State::InVessel,
        _ => State::OnHand,
    }
}

/// All slices of one batch with something in them, or of unknown content, wherever they are.
pub fn slices_of(question: &Question<'_>, batch: BatchIx) -> Vec<OnHand> {
    let settled = question.settlement(batch);
    let mut rows: Vec<OnHand> = Vec::new();
    for slice in &settled.slices {
        if slice.balance == 0 && !slice.unknown {
            continue;
        }
        let place = question.settler().place_at(slice.place, question.as_of());
        let covers = question.covers();
        let holds = if covers.is_empty() {
            Vec::new()
        } else {
            question.settler().holds_on(&covers, batch, slice.place, question.as_of())
        };
        let amount = amount(&settled, slice.balance);
        let held = held(question, &holds, amount, |contents| contents.held_in(question, batch, slice.place));
        rows.push(OnHand {
            batch,
            slice: slice.place,
            place,
            state: state_of(question, slice.place, place),
            amount,
            unknown: slice.unknown,
            assumed: slice.assumed,
            by_model: false,
            holds,
            held,
            expires: expiry_at(question, batch, place),
        });
    }
    rows.extend(in_vessels(question, batch, &settled));
    rows
}

/// How much of an amount each hold on a slice was set on; several of one id may mean the same.
fn held(
    question: &Question<'_>,
    holds: &[HoldId],
    whole: Amount,
    of: impl Fn(&Contents) -> Content,
) -> Vec<(HoldId, Content)> {
    let there = whole.value.max(Ratio::ZERO);
    let held = holds.iter().filter_map(|hold| {
        let contents = question.held(hold)?;
        let all = contents.iter().map(&of).reduce(|a, b| a.together(b, there));
        all.map(|content| (hold.clone(), content))
    });
    held.collect()
}

/// A whole number of a batch's measure as an amount.
pub(crate) fn amount(settled: &Settlement, value: i128) -> Amount {
    Amount { value: settled.measure.value(value), unit: settled.measure.base }
}

/// What the mix models say is left of a batch in vessels.
fn in_vessels(question: &Question<'_>, batch: BatchIx, settled: &Settlement) -> Vec<OnHand> {
    let mut vessels: Vec<PlaceIx> = Vec::new();
    for flow in &settled.flows {
        for node in [flow.to, flow.from] {
            if let Node::Place(place) = node
                && question.book().place_kind(place) == PlaceKind::Vessel
                && !vessels.contains(&place)
            {
                vessels.push(place);
            }
        }
    }
    let mut rows = Vec::new();
    for vessel in vessels {
        let mixed = question.vessel(vessel);
        let base = settled.measure.base;
        let mut value = Ratio::ZERO;
        let mut unknown = false;
        for (fill, left) in mixed.layers.iter().filter(|(fill, _)| mixed.fills[*fill].batch == batch) {
            match mixed.fills[*fill].in_base(*left).and_then(|left| value.add(left)) {
                Some(sum) => value = sum,
                None => unknown = true,
            }
        }
        for missing in mixed.missing.iter().filter(|missing| missing.batch == batch) {
            let factor = question.settler().convert(batch, missing.unit, base);
            match factor.and_then(|factor| value.sub(missing.amount.mul(factor)?)) {
                Some(rest) => value = rest,
                None => unknown = true,
            }
        }
        for fill in mixed.fills.iter().filter(|fill| fill.batch == batch && fill.amount.is_none()) {
            unknown = true;
            value = fill.base.and_then(|base| value.add(base)).unwrap_or(value);
        }
        let into = |flow: &&Settled| flow.in_book() && flow.to == Node::Place(vessel);
        unknown |= settled.flows.iter().filter(into).any(|flow| flow.amount.is_none());
        if value.is_zero() && !unknown {
            continue;
        }
        let own = mixed.layers.iter().map(|(fill, left)| (&mixed.fills[*fill], *left));
        let left: Vec<(&Fill, Ratio)> = own.filter(|(fill, _)| fill.batch == batch).collect();
        let open = mixed.fills.iter().filter(|fill| fill.batch == batch && fill.amount.is_none());
        let there = left.iter().filter(|(_, left)| *left > Ratio::ZERO).map(|(fill, _)| *fill);
        let fills: Vec<FlowIx> = there.chain(open).map(|fill| fill.flow).collect();
        let covers = question.covers();
        let holds = match covers.is_empty() {
            true => Vec::new(),
            false => question.settler().holds_in_vessel(&covers, batch, &fills, question.as_of()),
        };
        let amount = Amount { value, unit: base };
        let held = held(question, &holds, amount, |contents| contents.held_of_fills(question, &left, amount));
        rows.push(OnHand {
            batch,
            slice: vessel,
            place: Some(vessel),
            state: State::InVessel,
            amount,
            unknown,
            assumed: settled.assumed_vessels.contains(&vessel),
            by_model: true,
            holds,
            held,
            expires: expiry_at(question, batch, Some(vessel)),
        });
    }
    rows
}

/// Everything inside the walls, and on its way, of all batches; ordered by batch and place text.
pub fn on_hand(question: &Question<'_>) -> Vec<OnHand> {
    let count = u32::try_from(question.book().batch_count()).expect("fewer than 2^32 batches");
    let mut rows: Vec<OnHand> = Vec::new();
    for batch in (0..count).map(BatchIx) {
        rows.extend(slices_of(question, batch).into_iter().filter(|row| row.state != State::AtParty));
    }
    let book = question.book();
    rows.sort_by_cached_key(|row| (book.batch(row.batch).to_string(), book.place(row.slice).to_string()));
    rows
}

/// The vessels of a book, by their fills and draws.
pub fn vessels(question: &Question<'_>) -> Vec<PlaceIx> {
    let book = question.book();
    let count = u32::try_from(book.place_count()).expect("fewer than 2^32 places");
    let mut found: Vec<PlaceIx> =
        (0..count).map(PlaceIx).filter(|place| book.place_kind(*place) == PlaceKind::Vessel).collect();
    found.retain(|vessel| {
        let end = EndKind::Place(*vessel);
        let counted = || book.counted_at(*vessel).next().is_some();
        book.flows_to(end).next().is_some() || book.flows_from(end).next().is_some() || counted()
    });
    found
}
