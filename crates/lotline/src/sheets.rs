//! Answers as rows and columns.

use lotline_wire::answer::{
    Batch, ContentTotal, ExceptionState, Exceptions, History, HistoryKind, OnHand, OnHandRow, Recall, State, Tier,
    Trace, TraceEdge,
};

use crate::answer::trace::words;
use crate::print::{Sheet, Value, amount, count, number, quantity, text};

/// A batch's name.
pub fn name(batch: &Batch) -> String {
    batch.0.to_string()
}

/// A state in words.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::OnHand => "on hand",
        State::InVessel => "in vessel",
        State::InProcess => "in process",
        State::Unplaced => "unplaced",
        State::InTransit => "in transit",
        State::WithCustomer => "with customer",
        State::Consumed => "consumed",
        State::Lost => "lost",
        State::Sampled => "sampled",
        State::Destroyed => "destroyed",
        State::Adjusted => "adjusted",
        State::Unexplained => "unexplained",
    }
}

/// A tier in words.
pub fn tier_word(tier: Tier) -> &'static str {
    match tier {
        Tier::Certain => "certain",
        Tier::Possible => "possible",
        Tier::Cleared => "cleared",
    }
}

fn flags<const N: usize>(flags: [(bool, &str); N]) -> String {
    flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect::<Vec<_>>().join(", ")
}

/// What is where.
pub fn on_hand(answer: &OnHand) -> Vec<Sheet> {
    let mut sheet = Sheet::new([
        text("batch"),
        text("place"),
        text("container"),
        text("state"),
        amount("quantity"),
        text("holds"),
        text("expires"),
        text("expires at"),
        text("remarks"),
    ]);
    for row in &answer.rows {
        let zone_unknown = row.expires.as_ref().is_some_and(|expires| expires.zone_unknown);
        let remarks = flags([
            (row.unknown, "unknown quantity"),
            (row.assumed, "assumed"),
            (row.by_model, "by mix model"),
            (zone_unknown, "time zone unknown"),
        ]);
        sheet.row([
            name(&row.batch).into(),
            row.place.as_str().into(),
            Value::maybe(row.container.as_ref()),
            state_word(row.state).into(),
            Value::amount(Some(&row.quantity)),
            holds(row).into(),
            Value::maybe(row.expires.as_ref().map(|expires| &expires.told)),
            Value::maybe(row.expires.as_ref().map(|expires| &expires.at)),
            remarks.into(),
        ]);
    }
    vec![sheet]
}

/// Each hold; for one on a slice with how much of this is what it was set on.
fn holds(row: &OnHandRow) -> String {
    let of_it = |hold: &String| {
        let held = row.held.iter().find(|held| held.hold == *hold)?;
        let (min, max) = (&held.content.min, &held.content.max);
        let most = quantity(max);
        let much = if min == max { most } else { format!("{} to {most}", min.value) };
        Some(format!("{hold} ({much} of it)"))
    };
    let holds = row.holds.iter().map(|hold| of_it(hold).unwrap_or_else(|| hold.clone()));
    holds.collect::<Vec<_>>().join(", ")
}

/// Reached batches, and the steps.
pub fn trace(answer: &Trace) -> Vec<Sheet> {
    let forward = answer.direction == lotline_wire::answer::Direction::Forward;
    let mut columns = vec![text("batch"), text("link"), text("since or until"), text("places")];
    columns.extend(forward.then(|| text("received by")));
    columns.push(text("remarks"));
    let mut nodes = Sheet::new(columns);
    for node in &answer.nodes {
        let moments = node.places.iter().filter_map(|place| place.moment.as_ref());
        let moment = match answer.direction {
            lotline_wire::answer::Direction::Forward => moments.min(),
            lotline_wire::answer::Direction::Back => moments.max(),
        };
        let some = |names: &[&str]| match names.len() {
            0..=3 => Value::from(names.join(", ")),
            more => Value::two(format!("{} and {} more", names[..3].join(", "), more - 3), names.join(", ")),
        };
        let places: Vec<&str> = node.places.iter().map(|place| place.place.as_str()).collect();
        let parties: Vec<&str> = node.received_by.iter().map(|received| received.party.as_str()).collect();
        let remarks = flags([
            (node.start, "begins here"),
            (node.rework, "rework"),
            (node.residue, "residue only"),
            (node.ambiguous, "ambiguous code"),
        ]);
        let mut row = vec![name(&node.batch).into(), tier_word(node.tier).into(), Value::maybe(moment), some(&places)];
        row.extend(forward.then(|| some(&parties)));
        row.push(remarks.into());
        nodes.row(row);
    }
    let mut edges = Sheet::new([
        text("when"),
        text("batch"),
        amount("quantity"),
        text("from"),
        text("to"),
        text("link"),
        text("event"),
    ]);
    for edge in &answer.edges {
        edges.row([
            edge.at.as_str().into(),
            name(&edge.batch).into(),
            Value::amount(edge.quantity.as_ref()),
            words(&edge.from).into(),
            words(&edge.to).into(),
            link(edge).into(),
            Value::maybe(edge.event.as_ref()),
        ]);
    }
    vec![nodes, edges]
}

fn link(edge: &TraceEdge) -> String {
    match &edge.mark {
        Some(mark) => format!("{} ({mark})", tier_word(edge.tier)),
        None => tier_word(edge.tier).to_owned(),
    }
}

/// What must come back, and the sums.
pub fn recall(answer: &Recall) -> Vec<Sheet> {
    let mut rows = Sheet::new([
        text("batch"),
        text("place"),
        text("state"),
        amount("quantity"),
        text("link"),
        amount("least"),
        amount("expected"),
        amount("most"),
        amount("ever received"),
        amount("net"),
        text("why"),
    ]);
    for row in &answer.rows {
        let place = match &row.container {
            Some(container) => format!("{} (in {container})", row.place),
            None => row.place.clone(),
        };
        // People see how long the way is and where it ends; each step of it is in CSV and JSON.
        let why = match (&row.cleared_at, &row.why[..]) {
            (Some(at), _) => format!("cleared: slice was empty at {at}"),
            (None, [only]) if !only.contains(" recorded in ") => only.clone(),
            (None, [.., last]) => {
                let event = last.rsplit_once(" recorded in ").map_or(last.as_str(), |(_, event)| event);
                format!("{}, to {event}", count(row.why.len(), "step"))
            }
            (None, []) => String::new(),
        };
        rows.row([
            row.batch.as_ref().map(name).unwrap_or_default().into(),
            place.into(),
            state_word(row.state).into(),
            Value::amount(Some(&row.quantity)),
            tier_word(row.tier).into(),
            Value::amount(Some(&row.content.min)),
            Value::amount(row.content.expected.as_ref()),
            Value::amount(Some(&row.content.max)),
            Value::amount(row.ever_received.as_ref()),
            Value::amount(row.net.as_ref()),
            Value::two(why, row.why.join("; ")),
        ]);
    }
    vec![rows, totals(&answer.totals)]
}

fn totals(totals: &[ContentTotal]) -> Sheet {
    let mut sheet =
        Sheet::new([text("in all"), amount("quantity"), amount("least"), amount("expected"), amount("most")]);
    for total in totals {
        let content = total.content.as_ref();
        sheet.row([
            state_word(total.state).into(),
            Value::amount(Some(&total.quantity)),
            Value::amount(content.map(|content| &content.min)),
            Value::amount(content.and_then(|content| content.expected.as_ref())),
            Value::amount(content.map(|content| &content.max)),
        ]);
    }
    sheet
}

/// Discrepancies.
pub fn exceptions(answer: &Exceptions) -> Vec<Sheet> {
    let mut sheet = Sheet::new([
        text("kind"),
        text("state"),
        text("since"),
        text("batch"),
        text("place"),
        amount("amount"),
        text("cause"),
        text("in words"),
    ]);
    for row in &answer.rows {
        let state = match row.state {
            ExceptionState::Open => "open",
            ExceptionState::Settled => "settled",
        };
        sheet.row([
            row.kind.as_str().into(),
            state.into(),
            row.at.as_str().into(),
            row.batch.as_ref().map(name).unwrap_or_default().into(),
            Value::maybe(row.place.as_ref()),
            Value::amount(row.amount.as_ref()),
            row.cause.as_str().into(),
            row.detail.as_str().into(),
        ]);
    }
    vec![sheet]
}

/// Recorded events.
pub fn history(answer: &History) -> Vec<Sheet> {
    let mut sheet = Sheet::new([
        number("position"),
        number("commit"),
        text("recorded"),
        text("occurred"),
        text("source"),
        text("what"),
        text("event"),
        text("corrected by"),
        text("remarks"),
    ]);
    for row in &answer.rows {
        let field = |name: &str| {
            row.fact.as_ref().and_then(|fact| fact.get(name)).and_then(|value| value.as_str()).unwrap_or_default()
        };
        let what = match (&row.rejection, row.kind) {
            (Some(rejection), _) => format!("refused: {}", rejection.message),
            (None, HistoryKind::Intent) => format!("{} (intent)", field("type")),
            (None, _) => field("type").to_owned(),
        };
        let id = if field("id").is_empty() { row.command.as_str() } else { field("id") };
        let withheld =
            if row.withheld.is_empty() { String::new() } else { format!("withheld: {}", row.withheld.join(", ")) };
        sheet.row([
            row.position.into(),
            row.commit.into(),
            row.recorded_at.as_str().into(),
            field("occurred_at").into(),
            row.source.as_str().into(),
            what.into(),
            id.into(),
            Value::maybe(row.corrected_by.as_ref()),
            withheld.into(),
        ]);
    }
    vec![sheet]
}
