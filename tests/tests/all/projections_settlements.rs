//! Kept settlements: as good as new ones, and made again only for what a fact touches.

use lotline_domain::book::{BatchIx, Bounds};
use lotline_domain::fact::{Event, Fact, FactorScope, Line};
use lotline_domain::id::{
    BatchCode, BatchId, BatchRef, CommandId, ContainerId, EventId, ItemId, LocationId, PartyId, Place, SourceId,
};
use lotline_domain::quantity::Stated;
use lotline_domain::settle::Settler;
use lotline_domain::time::{CommitNo, Instant, OccurredAt};
use lotline_domain::unit::Unit;
use lotline_projections::{ReadModel, ReadModelKind};
use lotline_testkit::generate::plant;

use crate::projections_feed::{LEDGER, apply, fed, feed};

fn batches(model: &ReadModel) -> impl Iterator<Item = BatchIx> + use<> {
    (0..u32::try_from(model.book().batch_count()).expect("few batches")).map(BatchIx)
}

#[test]
fn a_kept_settlement_is_the_one_that_would_be_made_now_or_was_known_then() {
    for seed in 0..60 {
        let events: Vec<Event> = plant(seed).commands.into_iter().map(|command| command.event).collect();
        let feed = feed(&events, &[1]);
        let mut model = ReadModel::in_memory(ReadModelKind::Recall, LEDGER);
        for (meta, events) in &feed {
            model.apply(*meta, events).expect("it follows");
            let head = meta.number.0;
            for known in [head, head.saturating_sub(1), head / 2] {
                let settler = Settler::new(model.book(), CommitNo(known));
                for batch in batches(&model) {
                    let kept = model.settlement(batch, Bounds::known(CommitNo(known)));
                    let name = model.book().batch(batch);
                    assert_eq!(*kept, settler.settle(batch, i64::MAX), "seed {seed}, {name} at {known} of {head}");
                }
            }
        }
    }
}

#[test]
fn a_settlement_kept_after_a_restart_is_the_one_that_was_known_then() {
    for seed in 0..12 {
        let events: Vec<Event> = plant(seed).commands.into_iter().map(|command| command.event).collect();
        let feed = feed(&events, &[1]);
        let folder = tempfile::tempdir().expect("a folder");
        let open = || ReadModel::open(folder.path(), ReadModelKind::Recall, LEDGER).expect("opens");
        let mut model = open();
        for upto in [feed.len() / 3, feed.len() / 2, feed.len()] {
            apply(&mut model, &feed[..upto]);
            model.save().expect("saved");
        }
        drop(model);
        let model = open();
        for batch in batches(&model) {
            model.settlement(batch, Bounds::known(CommitNo(feed.len() as u64)));
        }
        let before = model.settlements_made();
        for known in 1..feed.len() as u64 {
            let settler = Settler::new(model.book(), CommitNo(known));
            for batch in batches(&model) {
                let kept = model.settlement(batch, Bounds::known(CommitNo(known)));
                assert_eq!(*kept, settler.settle(batch, i64::MAX), "seed {seed}, at {known}");
            }
        }
        let asked = (feed.len() as u64 - 1) * batches(&model).count() as u64;
        assert!(model.settlements_made() - before < asked, "some are known from before the restart");
    }
}

fn name<T>(parse: impl Fn(&str) -> Result<T, lotline_domain::id::NameError>, text: &str) -> T {
    parse(text).expect("a name")
}

fn batch(item: usize, code: usize) -> BatchRef {
    let item = name(ItemId::parse, &format!("item{item}"));
    BatchRef::Known(BatchId::own(item, name(BatchCode::parse, &format!("B{item_code}", item_code = code))))
}

fn event(number: usize, hour: i64, fact: Fact) -> Event {
    let id = format!("e{number}");
    Event {
        id: name(EventId::parse, &id),
        command: name(CommandId::parse, &id),
        source: name(SourceId::parse, "test"),
        occurred_at: OccurredAt::utc(Instant(1_700_000_000_000_000 + hour * 3_600_000_000)),
        sequence: None,
        fact,
    }
}

fn kilograms(number: u32) -> Option<Stated> {
    Some(Stated::parse(&number.to_string(), Unit::KILOGRAM).expect("a quantity"))
}

fn location(text: &str) -> Place {
    Place::Location(name(LocationId::parse, text))
}

fn container(number: usize) -> ContainerId {
    name(ContainerId::parse, &format!("P{number}"))
}

const BATCHES: usize = 60;
const CONTAINERS: usize = 6;

/// Sixty batches of three items, received at a dock; ten of them in each of six containers.
fn world() -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..BATCHES {
        let received = Fact::Received {
            lines: vec![Line::new(batch(number % 3, number), kilograms(100))],
            containers: Vec::new(),
            from: Some(name(PartyId::parse, "S")),
            shipment: None,
            by: None,
            to: location("dock"),
        };
        events.push(event(events.len(), 1, received));
    }
    for number in 0..BATCHES {
        let line = Line::new(batch(number % 3, number), kilograms(10)).from(location("dock"));
        let container = container(number % CONTAINERS);
        let packed = Fact::Packed { container, lines: vec![line], containers: Vec::new(), at: None };
        events.push(event(events.len(), 2, packed));
    }
    events
}

/// Asks for all settlements; how many had to be made.
fn ask_all(model: &ReadModel) -> u64 {
    let before = model.settlements_made();
    let bounds = Bounds::known(model.cursor().number);
    let settler = Settler::new(model.book(), model.cursor().number);
    for batch in batches(model) {
        assert_eq!(*model.settlement(batch, bounds), settler.settle(batch, i64::MAX));
    }
    model.settlements_made() - before
}

/// How many settlements are made again for one more fact.
fn made_again(fact: Fact) -> u64 {
    let mut events = world();
    let number = events.len();
    events.push(event(number, 3, fact));
    let feed = feed(&events, &[1]);
    let mut model = fed(ReadModelKind::Recall, &feed[..number]);
    assert_eq!(ask_all(&model), BATCHES as u64, "none is kept at first");
    assert_eq!(ask_all(&model), 0, "all are kept then");
    apply(&mut model, &feed);
    ask_all(&model)
}

#[test]
fn a_late_fact_settles_again_what_it_touches_and_no_more() {
    let line = Line::new(batch(1, 7), kilograms(5)).from(location("dock"));
    assert_eq!(made_again(Fact::Moved { lines: vec![line.clone()], to: location("line 1") }), 1, "a move of one");
    assert_eq!(
        made_again(Fact::Packed { container: container(0), lines: vec![line], containers: Vec::new(), at: None }),
        1 + 10,
        "one packed into a container, and the ten whose container it is"
    );
    let moved = Fact::ContainerMoved { containers: vec![container(2)], to: location("store") };
    assert_eq!(made_again(moved), 10, "the ten in the container");
    let nested = Fact::ContainerMoved { containers: vec![container(4)], to: Place::Container(container(3)) };
    assert_eq!(made_again(nested), 10, "the ten in the inner container");
}

#[test]
fn master_data_settles_again_what_it_speaks_of_and_no_more() {
    let item = || name(ItemId::parse, "item1");
    let defined = |item| Fact::ItemDefined { item, base: Unit::GRAM, name: None };
    assert_eq!(made_again(defined(item())), 20, "the batches of the item");
    assert_eq!(made_again(defined(name(ItemId::parse, "new"))), 0, "an item without batches");
    let factor = Fact::FactorDefined {
        scope: FactorScope::Item(item()),
        one: Stated::parse("1", Unit::PIECE).expect("a quantity"),
        equals: kilograms(2).expect("a quantity"),
    };
    assert_eq!(made_again(factor), 20, "the batches of the factor's item");
    let place = |place: &str, parent: &str| Fact::PlaceDefined {
        place: name(LocationId::parse, place),
        parent: Some(name(LocationId::parse, parent)),
        time_zone: None,
        name: None,
    };
    assert_eq!(made_again(place("elsewhere", "site")), 0, "a place where nothing was");
    assert_eq!(made_again(place("dock", "site")), BATCHES as u64, "all were at the dock");
    assert_eq!(made_again(Fact::PolicySet { holds_pass_runs: false }), 0, "no settlement asks for holds");
}

#[test]
fn kept_settlements_stay_within_their_room() {
    let feed = feed(&world(), &[1]);
    let mut model = fed(ReadModelKind::Recall, &feed);
    ask_all(&model);
    let all = model.kept_bytes();
    assert!(all > 0);
    model.keep_settlements(all / 2);
    ask_all(&model);
    assert!(model.kept_bytes() <= all / 2 && model.kept_bytes() > 0, "{} of {all}", model.kept_bytes());
    model.keep_settlements(0);
    assert_eq!(ask_all(&model), BATCHES as u64);
    assert_eq!(ask_all(&model), BATCHES as u64, "none is kept without room");
}

#[test]
fn many_threads_ask_one_model() {
    let feed = feed(&world(), &[1]);
    let model = fed(ReadModelKind::Recall, &feed);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| ask_all(&model))).collect();
        for asked in asking {
            assert!(asked.join().expect("no panic") <= BATCHES as u64 * 8);
        }
    });
    assert_eq!(ask_all(&model), 0);
}

#[test]
fn the_past_is_settled_once() {
    let mut events = world();
    let line = Line::new(batch(1, 7), kilograms(5)).from(location("dock"));
    events.push(event(events.len(), 3, Fact::Moved { lines: vec![line], to: location("line 1") }));
    let feed = feed(&events, &[1]);
    let model = fed(ReadModelKind::Recall, &feed);
    ask_all(&model);
    let past = Bounds::known(CommitNo(feed.len() as u64 - 1));
    let settler = Settler::new(model.book(), past.known);
    for again in [1, 0] {
        let before = model.settlements_made();
        for batch in batches(&model) {
            assert_eq!(*model.settlement(batch, past), settler.settle(batch, i64::MAX));
        }
        assert_eq!(model.settlements_made() - before, again, "only the moved one was another then");
    }
    assert_eq!(ask_all(&model), 0, "the latest are still kept beside it");
}
