//! Any command, fact and refusal, and a keyring in memory, for the tests of the stored and sent forms.

use std::collections::BTreeMap;

use lotline_domain::command::{Amount, Body, Command, Mode, Rejection, Rule};
use lotline_domain::expiry::{Day, Expires};
use lotline_domain::fact::{
    ByLoss, CleanGrade, Correction, Destination, Event, Fact, FactorScope, HoldTarget, Input, Line, MixModel, Output,
    ReleaseTarget, RunKind, RunReport, Window,
};
use lotline_domain::id::{
    ActorId, BatchCode, BatchId, BatchRef, CommandId, ContainerId, EventId, Generation, HoldId, ItemId, LocationId,
    PartyId, Place, RunId, RunName, ShipmentId, Sink, SourceId, VesselId,
};
use lotline_domain::quantity::{Difference, Ratio, Stated};
use lotline_domain::time::{CommitNo, Instant, OccurredAt, Position, Precision};
use lotline_domain::unit::Unit;
use lotline_wire::seal::{KeyId, KeyState, Keyring, KeyringError, Keys, Secret};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::BoxedStrategy;

/// Keys in memory, derived from their ids, so that tests give the same bytes every time.
#[derive(Debug, Default, Clone)]
pub(crate) struct MemoryKeys(pub(crate) BTreeMap<KeyId, KeyState>);

impl Keys for MemoryKeys {
    fn state(&self, id: KeyId) -> KeyState {
        self.0.get(&id).cloned().unwrap_or(KeyState::Unknown)
    }
}

impl Keyring for MemoryKeys {
    fn create(&mut self, id: KeyId) -> Result<Secret, KeyringError> {
        assert_eq!(self.state(id), KeyState::Unknown, "a key is made once");
        let mut secret = [0x5a; 32];
        secret[..16].copy_from_slice(&id.0);
        self.0.insert(id, KeyState::Present(Secret(secret)));
        Ok(Secret(secret))
    }
}

impl MemoryKeys {
    /// Destroys every key but the ledger's secret.
    pub(crate) fn erase_all(&mut self) {
        for (id, state) in &mut self.0 {
            if *id != KeyId::LEDGER_SECRET {
                *state = KeyState::Erased;
            }
        }
    }
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        6 => "[A-Za-z0-9._/-]{1,12}",
        1 => "(party|vessel|container|transit|location|sink|urn:epc:id):[A-Z0-9]{1,6}",
        1 => Just("unplaced".to_owned()),
        1 => "[a-zäöü€𝄞\"\\\\#@/ ]{0,8}[a-z]",
    ]
    .prop_map(|text| text.trim().to_owned())
    .boxed()
}

macro_rules! names {
    ($($function:ident: $name:ident),+ $(,)?) => {$(
        fn $function() -> impl Strategy<Value = $name> {
            text().prop_map(|text| $name::parse(&text).expect("a generated name"))
        }
    )+};
}

names! {
    actor: ActorId, code: BatchCode, command_id: CommandId, container: ContainerId, event_id: EventId, hold: HoldId,
    item: ItemId, location: LocationId, party: PartyId, run_name: RunName, shipment: ShipmentId, source: SourceId,
    vessel: VesselId,
}

fn generation() -> impl Strategy<Value = Generation> {
    prop_oneof![4 => Just(1u32), 1 => any::<u32>()].prop_map(Generation)
}

fn batch_id() -> BoxedStrategy<BatchId> {
    (item(), option::of(party()), code(), generation())
        .prop_map(|(item, issuer, code, generation)| BatchId { item, issuer, code, generation })
        .boxed()
}

fn batch() -> BoxedStrategy<BatchRef> {
    prop_oneof![3 => batch_id().prop_map(BatchRef::Known), 1 => code().prop_map(BatchRef::Code)].boxed()
}

fn sink() -> impl Strategy<Value = Sink> {
    proptest::sample::select(&Sink::ALL[..])
}

fn place() -> BoxedStrategy<Place> {
    prop_oneof![
        4 => location().prop_map(Place::Location),
        1 => vessel().prop_map(Place::Vessel),
        1 => container().prop_map(Place::Container),
        1 => shipment().prop_map(Place::Transit),
        1 => party().prop_map(Place::Party),
        1 => sink().prop_map(Place::Sink),
        1 => Just(Place::Unplaced),
    ]
    .boxed()
}

fn unit() -> impl Strategy<Value = Unit> {
    proptest::sample::select(vec!["KGM", "GRM", "C62", "EA", "LTR", "XPX", "58"])
        .prop_map(|code| Unit::parse(code).expect("a listed code"))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0u64..100_000).prop_map(|whole| whole.to_string()),
        2 => (0u64..=999_999_999_999_998, 0u32..=999_999_999).prop_map(|(whole, part)| format!("{whole}.{part:09}")),
        1 => Just("999999999999999".to_owned()),
        1 => Just("0".to_owned()),
        1 => Just("1.500".to_owned()),
    ]
}

fn quantity() -> BoxedStrategy<Stated> {
    (number(), unit()).prop_map(|(number, unit)| Stated::parse(&number, unit).expect("in range")).boxed()
}

fn above_zero() -> impl Strategy<Value = Stated> {
    quantity().prop_filter("a factor is above zero", |stated| !stated.value().is_zero())
}

fn difference() -> impl Strategy<Value = Difference> {
    (quantity(), any::<bool>()).prop_map(|(size, minus)| {
        let value = if minus { -size.value() } else { size.value() };
        Difference::new(value, size.unit()).expect("in range")
    })
}

fn instant() -> impl Strategy<Value = Instant> {
    // Years 1000 to 9000, to the microsecond.
    (-30_000_000_000_000_000i64..220_000_000_000_000_000).prop_map(Instant)
}

fn occurred_at() -> BoxedStrategy<OccurredAt> {
    let offset = -1_080..=1_080i32;
    prop_oneof![
        (instant(), offset.clone()).prop_map(|(instant, offset_minutes)| OccurredAt {
            instant,
            offset_minutes,
            precision: Precision::Instant
        }),
        (-300_000i64..2_000_000, offset).prop_map(|(day, offset_minutes)| OccurredAt {
            instant: Instant(day * 86_400_000_000 - i64::from(offset_minutes) * 60_000_000),
            offset_minutes,
            precision: Precision::Day
        }),
    ]
    .boxed()
}

fn free_text() -> BoxedStrategy<String> {
    prop_oneof!["[ -~]{0,30}", any::<String>()].boxed()
}

fn line() -> BoxedStrategy<Line> {
    (batch(), option::of(quantity()), option::of(quantity()), option::of(place()), option::of(free_text()))
        .prop_map(|(batch, quantity, second, from, document)| Line {
            batch,
            quantity,
            second,
            from,
            document,
            expires: None,
        })
        .boxed()
}

/// A day or a moment of the years that can be kept.
fn expires() -> impl Strategy<Value = Expires> {
    prop_oneof![
        2 => (-719_162..=2_932_896i32).prop_map(|number| Expires::Day(Day::from_number(number).expect("a day"))),
        1 => (instant(), -1_080..=1_080i32)
            .prop_map(|(instant, offset_minutes)| Expires::Moment { instant, offset_minutes }),
    ]
}

fn received_lines() -> BoxedStrategy<Vec<Line>> {
    vec((line(), option::of(expires())).prop_map(|(line, expires)| Line { expires, ..line }), 0..3).boxed()
}

fn lines() -> BoxedStrategy<Vec<Line>> {
    vec(line(), 0..3).boxed()
}

fn some_lines() -> BoxedStrategy<Vec<Line>> {
    vec(line(), 1..3).boxed()
}

fn containers() -> BoxedStrategy<Vec<ContainerId>> {
    vec(container(), 0..3).boxed()
}

fn window() -> impl Strategy<Value = Window> {
    (instant(), instant()).prop_map(|(from, to)| Window { from, to })
}

fn input() -> BoxedStrategy<Input> {
    let named = (batch().prop_map(Some), option::of(place()));
    let drawn = (Just(None), vessel().prop_map(|vessel| Some(Place::Vessel(vessel))));
    (prop_oneof![3 => named, 1 => drawn], option::of(quantity()), option::of(quantity()), option::of(window()))
        .prop_map(|((batch, from), quantity, second, window)| Input { batch, quantity, second, from, window })
        .boxed()
}

fn output() -> BoxedStrategy<Output> {
    let legs = (batch(), option::of(quantity()), option::of(quantity()), option::of(place()), option::of(window()));
    (legs, option::of(expires()))
        .prop_map(|((batch, quantity, second, to, window), expires)| Output {
            batch,
            quantity,
            second,
            to,
            window,
            expires,
        })
        .boxed()
}

fn run() -> BoxedStrategy<RunReport> {
    let kind = proptest::sample::select(vec![RunKind::Production, RunKind::Split, RunKind::Merge, RunKind::Repack]);
    let id =
        (source(), run_name(), generation()).prop_map(|(source, name, generation)| RunId { source, name, generation });
    let losses = vec((sink(), quantity()).prop_map(|(sink, quantity)| ByLoss { sink, quantity }), 0..2);
    (
        (id, kind, any::<bool>(), option::of(location())),
        vec(input(), 0..3),
        vec(output(), 0..3),
        losses,
        vec((batch(), batch()), 0..2),
        prop_oneof![Just(0i64), 0..i64::MAX],
    )
        .prop_map(|((run, kind, completed, at), inputs, outputs, losses, mapping, hold_up_micros)| RunReport {
            run,
            kind,
            inputs,
            outputs,
            losses,
            mapping,
            hold_up_micros,
            completed,
            at,
        })
        .boxed()
}

/// Any fact that a command can bring; corrections by corrections up to `depth`.
pub(crate) fn fact(depth: u8) -> BoxedStrategy<Fact> {
    let reason = || option::of(free_text());
    let movements = prop_oneof![
        (received_lines(), containers(), option::of(party()), option::of(shipment()), option::of(party()), place())
            .prop_map(|(lines, containers, from, shipment, by, to)| Fact::Received {
                lines,
                containers,
                from,
                shipment,
                by,
                to
            }),
        run().prop_map(Fact::Produced),
        (some_lines(), place()).prop_map(|(lines, to)| Fact::Moved { lines, to }),
        (container(), lines(), containers(), option::of(location()))
            .prop_map(|(container, lines, containers, at)| Fact::Packed { container, lines, containers, at }),
        (container(), lines(), containers(), option::of(location()))
            .prop_map(|(container, lines, containers, to)| Fact::Unpacked { container, lines, containers, to }),
        (vec(container(), 1..3), place()).prop_map(|(containers, to)| Fact::ContainerMoved { containers, to }),
        container().prop_map(|container| Fact::ContainerEmptied { container }),
        (
            shipment(),
            option::of(prop_oneof![party().prop_map(Destination::Party), location().prop_map(Destination::Location)]),
            lines(),
            containers()
        )
            .prop_map(|(shipment, to, lines, containers)| Fact::Shipped { shipment, to, lines, containers }),
        (option::of(shipment()), party(), lines(), containers())
            .prop_map(|(shipment, to, lines, containers)| Fact::Delivered { shipment, to, lines, containers }),
        (party(), lines(), containers(), place()).prop_map(|(from, lines, containers, to)| Fact::Returned {
            from,
            lines,
            containers,
            to
        }),
    ];
    let states = prop_oneof![
        (lines(), containers(), place()).prop_map(|(lines, containers, at)| Fact::Seen { lines, containers, at }),
        (
            hold(),
            prop_oneof![
                batch().prop_map(HoldTarget::Batch),
                (batch(), place()).prop_map(|(batch, at)| HoldTarget::Slice(batch, at))
            ],
            reason()
        )
            .prop_map(|(hold, target, reason)| Fact::Held { hold, target, reason }),
        (prop_oneof![hold().prop_map(ReleaseTarget::Hold), batch().prop_map(ReleaseTarget::Batch)], reason())
            .prop_map(|(target, reason)| Fact::Released { target, reason }),
        (place(), some_lines()).prop_map(|(at, lines)| Fact::Counted { at, lines }),
        (place(), batch(), difference(), reason()).prop_map(|(at, batch, difference, reason)| Fact::Adjusted {
            at,
            batch,
            difference,
            reason
        }),
        (some_lines(), sink()).prop_map(|(lines, sink)| Fact::Disposed { lines, sink }),
        (vessel(), some_lines()).prop_map(|(vessel, lines)| Fact::VesselFilled { vessel, lines }),
        (vessel(), option::of(batch()), option::of(quantity()), option::of(place()), option::of(expires())).prop_map(
            |(vessel, batch, quantity, to, expires)| Fact::VesselDrawn { vessel, batch, quantity, to, expires }
        ),
        (vessel(), any::<u8>()).prop_map(|(vessel, grade)| Fact::VesselCleaned { vessel, grade: CleanGrade(grade) }),
        (vec(batch(), 0..3), containers(), free_text()).prop_map(|(batches, containers, what)| Fact::Noted {
            batches,
            containers,
            what
        }),
    ];
    let definitions = prop_oneof![
        (item(), unit(), reason()).prop_map(|(item, base, name)| Fact::ItemDefined { item, base, name }),
        (location(), option::of(location()), option::of(free_text()), reason())
            .prop_map(|(place, parent, time_zone, name)| Fact::PlaceDefined { place, parent, time_zone, name }),
        (vessel(), proptest::sample::select(vec![MixModel::Full, MixModel::FirstInFirstOut]), option::of(location()))
            .prop_map(|(vessel, mix, at)| Fact::VesselDefined { vessel, mix, at }),
        (party(), reason()).prop_map(|(party, name)| Fact::PartyDefined { party, name }),
        (
            prop_oneof![item().prop_map(FactorScope::Item), batch_id().prop_map(FactorScope::Batch)],
            above_zero(),
            above_zero()
        )
            .prop_map(|(scope, one, equals)| Fact::FactorDefined { scope, one, equals }),
        (batch(), code()).prop_map(|(batch, label)| Fact::Labelled { batch, label }),
        any::<bool>().prop_map(|holds_pass_runs| Fact::PolicySet { holds_pass_runs }),
    ];
    let plain = prop_oneof![3 => movements, 3 => states, 2 => definitions].boxed();
    if depth == 0 {
        return plain;
    }
    let supersede = (occurred_at(), fact(depth - 1))
        .prop_map(|(occurred_at, fact)| Correction::Supersede { occurred_at, fact: Box::new(fact) });
    let corrected = (event_id(), prop_oneof![Just(Correction::Void), supersede], reason(), option::of(actor()))
        .prop_map(|(target, correction, reason, actor)| Fact::Corrected { target, correction, reason, actor });
    prop_oneof![8 => plain, 2 => corrected].boxed()
}

/// The same fact, so that its JSON form is read: with something that happened, and where goods can lie.
fn readable(mut fact: Fact) -> Fact {
    let lies = |place: &mut Place| {
        if matches!(place, Place::Sink(_)) {
            *place = Place::Unplaced;
        }
    };
    let stands = |place: &mut Place, containers: &[ContainerId]| {
        lies(place);
        if matches!(place, Place::Vessel(_)) && !containers.is_empty() {
            *place = Place::Unplaced;
        }
    };
    let taken = |lines: &mut Vec<Line>| lines.iter_mut().filter_map(|line| line.from.as_mut()).for_each(lies);
    let some = |lines: &mut Vec<Line>, containers: &mut Vec<ContainerId>| {
        taken(lines);
        if lines.is_empty() && containers.is_empty() {
            containers.push(ContainerId::parse("K1").expect("a name"));
        }
    };
    match &mut fact {
        Fact::Received { lines, containers, to, .. }
        | Fact::Returned { lines, containers, to, .. }
        | Fact::Seen { lines, containers, at: to } => {
            some(lines, containers);
            stands(to, containers);
        }
        Fact::Packed { lines, containers, .. }
        | Fact::Unpacked { lines, containers, .. }
        | Fact::Shipped { lines, containers, .. }
        | Fact::Delivered { lines, containers, .. } => some(lines, containers),
        Fact::ContainerMoved { containers, to } => stands(to, containers),
        Fact::Moved { lines, to } | Fact::Counted { lines, at: to } => {
            taken(lines);
            lies(to);
        }
        Fact::Disposed { lines, .. } | Fact::VesselFilled { lines, .. } => taken(lines),
        Fact::VesselDrawn { to, .. } => to.iter_mut().for_each(lies),
        Fact::Adjusted { at, .. } | Fact::Held { target: HoldTarget::Slice(_, at), .. } => lies(at),
        Fact::Produced(report) => {
            report.inputs.iter_mut().filter_map(|leg| leg.from.as_mut()).for_each(lies);
            report.outputs.iter_mut().filter_map(|leg| leg.to.as_mut()).for_each(lies);
            report.completed |= report.inputs.is_empty() && report.outputs.is_empty();
        }
        Fact::Corrected { correction: Correction::Supersede { fact, .. }, .. } => **fact = readable((**fact).clone()),
        // What was recorded before zones were looked up may be any text.
        Fact::PlaceDefined { time_zone, .. } if time_zone.is_some() => *time_zone = Some("Asia/Kathmandu".to_owned()),
        _ => {}
    }
    fact
}

/// Any command whose JSON form is read back.
pub(crate) fn readable_command() -> BoxedStrategy<Command> {
    command()
        .prop_map(|Command { mode, event }| {
            let fact = readable(event.fact);
            Command { mode, event: Event { fact, ..event } }
        })
        .boxed()
}

/// Any command.
pub(crate) fn command() -> BoxedStrategy<Command> {
    let mode = proptest::sample::select(vec![Mode::Intent, Mode::Observation]);
    (mode, event_id(), option::of(command_id()), source(), occurred_at(), option::of(any::<u64>()), fact(3))
        .prop_map(|(mode, id, command, source, occurred_at, sequence, fact)| {
            let command = command.unwrap_or_else(|| CommandId::parse(id.as_str()).expect("a name"));
            Command { mode, event: Event { id, command, source, occurred_at, sequence, fact } }
        })
        .boxed()
}

fn amount() -> impl Strategy<Value = Amount> {
    (any::<i64>(), 1..i64::MAX, unit())
        .prop_map(|(num, den, unit)| Amount { value: Ratio::new(num.into(), den.into()).expect("above zero"), unit })
}

fn rejection() -> BoxedStrategy<Rejection> {
    let rule = prop_oneof![
        Just(Rule::UnknownBatch),
        vec(batch(), 0..3).prop_map(|candidates| Rule::AmbiguousCode { candidates }),
        (amount(), amount()).prop_map(|(available, asked)| Rule::NotEnough { available, asked }),
        Just(Rule::QuantityUnknown),
        vec(place(), 0..3).prop_map(|candidates| Rule::AmbiguousSource { candidates }),
        vec(hold(), 0..3).prop_map(|holds| Rule::UnderHold { holds }),
        instant().prop_map(|now| Rule::FutureDate { now }),
        event_id().prop_map(|target| Rule::UnknownTarget { target }),
        Just(Rule::NothingToRelease),
        Just(Rule::UnknownPlace),
        Just(Rule::RunClosed),
        any::<u64>().prop_map(|first| Rule::Conflict { first: Position(first) }),
        (amount(), amount()).prop_map(|(available, asked)| Rule::NeverSent { available, asked }),
    ];
    (rule, option::of(batch()), option::of(place()))
        .prop_map(|(rule, batch, place)| Rejection { rule, batch, place })
        .boxed()
}

/// Anything that is recorded.
pub(crate) fn body() -> BoxedStrategy<Body> {
    let fact = (command(), option::of(any::<u64>().prop_map(CommitNo)))
        .prop_map(|(Command { mode, event }, decided_on)| Body::Fact { mode, event, decided_on });
    let refused = (command_id(), source(), rejection(), any::<u64>().prop_map(CommitNo))
        .prop_map(|(command, source, rejection, decided_on)| Body::Refused { command, source, rejection, decided_on });
    prop_oneof![4 => fact, 1 => refused].boxed()
}

/// The folder of schemas and vectors, from wherever the test is built.
pub(crate) fn schemas() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("schemas"))
        .find(|folder| folder.join("payload-format.md").exists())
        .expect("the workspace has schemas/payload-format.md")
}
