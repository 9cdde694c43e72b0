//! The verbs of the language, each a fact.

use lotline_domain::expiry::Expires;
use lotline_domain::fact::{
    ByLoss, CleanGrade, Correction, Destination, Fact, FactorScope, HoldTarget, Input, Line, MixModel, Output,
    ReleaseTarget, RunKind, RunReport, Window,
};
use lotline_domain::id::{
    BatchCode, BatchRef, ContainerId, EventId, HoldId, ItemId, LocationId, PartyId, Place, ShipmentId, Sink,
};
use lotline_domain::quantity::Stated;
use lotline_domain::unit::Unit;

use super::words::{self, Words, bad};

/// Words that end a list of goods.
const KEYWORDS: [&str; 9] = ["from", "->", "on", "to", "by", "at", "into", "of", "as"];

/// One of a list of goods: some of a batch, or a container.
struct Item<'a> {
    name: &'a str,
    quantity: Option<Stated>,
    second: Option<Stated>,
    place: Option<Place>,
    window: Option<Window>,
    document: Option<String>,
    expires: Option<Expires>,
}

impl Item<'_> {
    fn container(&self) -> Option<&str> {
        self.name.strip_prefix("container:")
    }

    fn line(self) -> Result<Line, String> {
        let batch = words::batch(self.name)?;
        let Self { quantity, second, place, document, expires, .. } = self;
        Ok(Line { batch, quantity, second, from: place, document, expires })
    }
}

/// `A 5 @line doc DN1/3, B ? [t1..t2], container:P`
fn items<'a>(words: &mut Words<'a>) -> Result<Vec<Item<'a>>, String> {
    let mut items = Vec::new();
    while let Some(first) = words.peek().filter(|word| !KEYWORDS.contains(word)) {
        words.next("goods")?;
        let mut ended = first.ends_with(',');
        let name = first.trim_end_matches(',');
        let mut item =
            Item { name, quantity: None, second: None, place: None, window: None, document: None, expires: None };
        while !ended {
            let Some(word) = words.peek().filter(|word| !KEYWORDS.contains(word)) else { break };
            words.next("goods")?;
            ended = word.ends_with(',');
            let word = word.trim_end_matches(',');
            if let Some(place) = word.strip_prefix('@') {
                item.place = Some(words::place(place)?);
            } else if word.starts_with('[') {
                item.window = Some(words::window(word)?);
            } else if word == "expires" {
                let told = words.next("a day or a time")?;
                ended = told.ends_with(',');
                let told = told.trim_end_matches(',');
                item.expires = Some(Expires::parse(told).map_err(|error| error.to_string())?);
            } else if word == "doc" {
                let document = words.next("a document line")?;
                ended = document.ends_with(',');
                item.document = Some(document.trim_end_matches(',').to_owned());
            } else {
                (item.quantity, item.second) = words::quantity(word)?;
            }
        }
        items.push(item);
    }
    Ok(items)
}

fn goods(words: &mut Words<'_>) -> Result<(Vec<Line>, Vec<ContainerId>), String> {
    let (mut lines, mut containers) = (Vec::new(), Vec::new());
    for item in items(words)? {
        match item.container() {
            Some(container) => containers.push(words::container(container)?),
            None => lines.push(item.line()?),
        }
    }
    Ok((lines, containers))
}

fn lines(words: &mut Words<'_>) -> Result<Vec<Line>, String> {
    match goods(words)? {
        (lines, containers) if containers.is_empty() => Ok(lines),
        _ => Err("names a container where only goods may be".to_owned()),
    }
}

/// The word behind a keyword, where that comes next.
fn after<'a>(words: &mut Words<'a>, keyword: &str) -> Result<Option<&'a str>, String> {
    if words.take(keyword) { words.next("a name").map(Some) } else { Ok(None) }
}

fn party(word: &str) -> Result<PartyId, String> {
    PartyId::parse(word).map_err(bad(word))
}

fn location(word: &str) -> Result<LocationId, String> {
    LocationId::parse(word).map_err(bad(word))
}

fn shipment(word: &str) -> Result<ShipmentId, String> {
    ShipmentId::parse(word).map_err(bad(word))
}

fn required<T>(found: Option<T>, wanted: &str) -> Result<T, String> {
    found.ok_or_else(|| format!("lacks {wanted}"))
}

/// Reads a fact: its verb and all behind it.
pub fn fact(words: &mut Words<'_>) -> Result<Fact, String> {
    Ok(match words.next("a verb")? {
        "receive" => {
            let (lines, containers) = goods(words)?;
            let from = after(words, "from")?.map(party).transpose()?;
            let shipment = after(words, "on")?.map(shipment).transpose()?;
            let by = after(words, "by")?.map(party).transpose()?;
            let to = words::place(required(after(words, "->")?, "-> and a place")?)?;
            Fact::Received { lines, containers, from, shipment, by, to }
        }
        "run" => run(words, RunKind::Production)?,
        "split" => run(words, RunKind::Split)?,
        "merge" => run(words, RunKind::Merge)?,
        "repack" => run(words, RunKind::Repack)?,
        "move" => {
            let lines = lines(words)?;
            Fact::Moved { lines, to: words::place(required(after(words, "->")?, "-> and a place")?)? }
        }
        "pack" => {
            let (lines, containers) = goods(words)?;
            let container = words::container(required(after(words, "into")?, "into and a container")?)?;
            Fact::Packed { container, lines, containers, at: after(words, "at")?.map(location).transpose()? }
        }
        "unpack" => {
            let (lines, containers) = goods(words)?;
            let container = words::container(required(after(words, "of")?, "of and a container")?)?;
            Fact::Unpacked { container, lines, containers, to: after(words, "->")?.map(location).transpose()? }
        }
        "move-container" => {
            let containers = items(words)?.iter().map(|item| words::container(item.name)).collect::<Result<_, _>>()?;
            Fact::ContainerMoved { containers, to: words::place(required(after(words, "->")?, "-> and a place")?)? }
        }
        "empty" => Fact::ContainerEmptied { container: words::container(words.next("a container")?)? },
        "ship" => {
            let (lines, containers) = goods(words)?;
            let shipment = shipment(required(after(words, "on")?, "on and a shipment")?)?;
            let to = after(words, "to")?.map(|word| match word.strip_prefix("location:") {
                Some(place) => location(place).map(Destination::Location),
                None => party(word).map(Destination::Party),
            });
            Fact::Shipped { shipment, to: to.transpose()?, lines, containers }
        }
        "deliver" => {
            let (lines, containers) = goods(words)?;
            let shipment = after(words, "on")?.map(shipment).transpose()?;
            Fact::Delivered {
                shipment,
                to: party(required(after(words, "to")?, "to and a party")?)?,
                lines,
                containers,
            }
        }
        "return" => {
            let (lines, containers) = goods(words)?;
            let from = party(required(after(words, "from")?, "from and a party")?)?;
            let to = words::place(required(after(words, "->")?, "-> and a place")?)?;
            Fact::Returned { from, lines, containers, to }
        }
        "see" => {
            let (lines, containers) = goods(words)?;
            Fact::Seen { lines, containers, at: words::place(required(after(words, "at")?, "at and a place")?)? }
        }
        "count" => {
            let lines = lines(words)?;
            Fact::Counted { at: words::place(required(after(words, "at")?, "at and a place")?)?, lines }
        }
        "adjust" => {
            let batch = words::batch(words.next("a batch")?)?;
            let difference = words::difference(words.next("a difference")?)?;
            let at = words::place(required(after(words, "at")?, "at and a place")?)?;
            Fact::Adjusted { at, batch, difference, reason: None }
        }
        "dispose" => {
            let lines = lines(words)?;
            Fact::Disposed { lines, sink: sink(required(after(words, "as")?, "as and a sink")?)? }
        }
        "fill" => {
            let lines = lines(words)?;
            words.expect("into")?;
            Fact::VesselFilled { vessel: words::vessel(words)?, lines }
        }
        "draw" => {
            let mut drawn = items(words)?;
            let item = drawn.pop().filter(|_| drawn.is_empty()).ok_or("draws one batch, or - for a blend")?;
            words.expect("of")?;
            let batch = if item.name == "-" { None } else { Some(words::batch(item.name)?) };
            let vessel = words::vessel(words)?;
            let to = after(words, "->")?.map(words::place).transpose()?;
            Fact::VesselDrawn { vessel, batch, quantity: item.quantity, to, expires: item.expires }
        }
        "clean" => {
            let vessel = words::vessel(words)?;
            words.expect("grade")?;
            let grade = words.next("a grade")?.parse().map_err(|_| "a grade is a number up to 255")?;
            Fact::VesselCleaned { vessel, grade: CleanGrade(grade) }
        }
        "hold" => {
            let hold = hold(words)?;
            let batch = words::batch(words.next("a batch")?)?;
            let target = match words.peek().and_then(|word| word.strip_prefix('@')) {
                Some(place) => {
                    words.next("a place")?;
                    HoldTarget::Slice(batch, words::place(place)?)
                }
                None => HoldTarget::Batch(batch),
            };
            Fact::Held { hold, target, reason: None }
        }
        "release" => {
            let target = if words.take("batch") {
                ReleaseTarget::Batch(words::batch(words.next("a batch")?)?)
            } else {
                ReleaseTarget::Hold(hold(words)?)
            };
            Fact::Released { target, reason: None }
        }
        "void" => Fact::Corrected { target: event(words)?, correction: Correction::Void, reason: None, actor: None },
        "supersede" => {
            let target = event(words)?;
            words.expect("with")?;
            let occurred_at = words::time(words.next("a time")?)?;
            let fact = Box::new(fact(words)?);
            Fact::Corrected {
                target,
                correction: Correction::Supersede { occurred_at, fact },
                reason: None,
                actor: None,
            }
        }
        "define" => define(words)?,
        other => return Err(format!("{other:?} is no verb")),
    })
}

fn hold(words: &mut Words<'_>) -> Result<HoldId, String> {
    let word = words.next("a hold")?;
    HoldId::parse(word).map_err(bad(word))
}

fn event(words: &mut Words<'_>) -> Result<EventId, String> {
    let word = words.next("an event")?;
    EventId::parse(word).map_err(bad(word))
}

fn sink(word: &str) -> Result<Sink, String> {
    Sink::ALL.into_iter().find(|sink| sink.word() == word).ok_or_else(|| format!("{word:?} is no sink"))
}

/// `R1: A 50 @line, B 50 -> D 98 @line; loss 2; completed; at line; map A>D; hold-up 1`
fn run(words: &mut Words<'_>, kind: RunKind) -> Result<Fact, String> {
    let name = words.next("a run")?;
    let run = words::run_id(name.strip_suffix(':').ok_or("the name of a run ends with a colon")?)?;
    let mut text = String::new();
    while let Ok(word) = words.next("more") {
        text.push_str(word);
        text.push(' ');
    }
    let mut sections = text.split(';');
    let mut legs = Words::of(sections.next().unwrap_or_default());
    let mut inputs = Vec::new();
    for item in items(&mut legs)? {
        let batch = if item.name == "-" { None } else { Some(words::batch(item.name)?) };
        let Item { quantity, second, place, window, .. } = item;
        inputs.push(Input { batch, quantity, second, from: place, window });
    }
    legs.expect("->")?;
    let mut outputs = Vec::new();
    for item in items(&mut legs)? {
        let batch = words::batch(item.name)?;
        let Item { quantity, second, place, window, expires, .. } = item;
        outputs.push(Output { batch, quantity, second, to: place, window, expires });
    }
    legs.finish()?;
    let mut report = RunReport {
        run,
        kind,
        inputs,
        outputs,
        losses: Vec::new(),
        mapping: Vec::new(),
        hold_up_micros: 0,
        completed: false,
        at: None,
    };
    for section in sections {
        let mut words = Words::of(section);
        match words.next("loss, completed, at, map or hold-up")? {
            "completed" => report.completed = true,
            "at" => report.at = Some(location(words.next("a place")?)?),
            "hold-up" => {
                let end = words::time(&format!("t{}", words.next("hours")?))?.instant;
                report.hold_up_micros = end.0 - words::base().0;
            }
            "map" => {
                while let Ok(pair) = words.next("a pair") {
                    let (from, to) = pair.split_once('>').ok_or_else(|| format!("{pair:?} is no pair, such as A>D"))?;
                    let pair: (BatchRef, BatchRef) = (words::batch(from)?, words::batch(to)?);
                    report.mapping.push(pair);
                }
            }
            word => {
                let quantity = words::stated(words.next("a quantity")?)?;
                report.losses.push(ByLoss { sink: sink(word)?, quantity });
            }
        }
        words.finish()?;
    }
    Ok(Fact::Produced(report))
}

/// `item milk base LTR`, `place bin in hall zone Europe/Berlin`, `vessel S1 fifo`, `party C1`, `factor A 1LTR = 0.9KGM`,
/// `factor item:milk 1LTR = 1.03KGM`, `label A X9`, `policy holds-stop-at-runs`.
fn define(words: &mut Words<'_>) -> Result<Fact, String> {
    Ok(match words.next("what is defined")? {
        "item" => {
            let item = item(words.next("an item")?)?;
            words.expect("base")?;
            let unit = words.next("a unit")?;
            Fact::ItemDefined { item, base: Unit::parse(unit).map_err(bad(unit))?, name: None }
        }
        "place" => {
            let place = location(words.next("a place")?)?;
            let parent = after(words, "in")?.map(location).transpose()?;
            let time_zone = after(words, "zone")?.map(str::to_owned);
            Fact::PlaceDefined { place, parent, time_zone, name: None }
        }
        "vessel" => {
            let vessel = words::vessel(words)?;
            let mix = match words.next("fifo or full")? {
                "fifo" => MixModel::FirstInFirstOut,
                "full" => MixModel::Full,
                other => return Err(format!("{other:?} is no mix model: fifo or full")),
            };
            Fact::VesselDefined { vessel, mix, at: after(words, "at")?.map(location).transpose()? }
        }
        "party" => Fact::PartyDefined { party: party(words.next("a party")?)?, name: None },
        "factor" => {
            let word = words.next("a batch or item:…")?;
            let scope = match word.strip_prefix("item:") {
                Some(name) => FactorScope::Item(item(name)?),
                None => match words::batch(word)? {
                    BatchRef::Known(batch) => FactorScope::Batch(batch),
                    BatchRef::Code(_) => return Err("a factor needs a full batch".to_owned()),
                },
            };
            let one = words::stated(words.next("a quantity")?)?;
            words.expect("=")?;
            Fact::FactorDefined { scope, one, equals: words::stated(words.next("a quantity")?)? }
        }
        "label" => {
            let batch = words::batch(words.next("a batch")?)?;
            let label = words.next("a label")?;
            Fact::Labelled { batch, label: BatchCode::parse(label).map_err(bad(label))? }
        }
        "policy" => match words.next("a policy")? {
            "holds-pass-runs" => Fact::PolicySet { holds_pass_runs: true },
            "holds-stop-at-runs" => Fact::PolicySet { holds_pass_runs: false },
            other => return Err(format!("{other:?} is no policy: holds-pass-runs or holds-stop-at-runs")),
        },
        other => return Err(format!("{other:?} cannot be defined")),
    })
}

fn item(word: &str) -> Result<ItemId, String> {
    ItemId::parse(word).map_err(bad(word))
}
