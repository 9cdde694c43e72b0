//! The dairy's commands, recorded with the dairy's own clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lotline_domain::command::{Command, Mode};
use lotline_domain::fact::{Destination, Event, Fact, FactorScope, Line};
use lotline_domain::id::{ActorId, BatchId, BatchRef, CommandId, EventId, Place, ShipmentId, SourceId};
use lotline_domain::quantity::Stated;
use lotline_domain::time::{Instant, OccurredAt, Precision};
use lotline_domain::unit::Unit;
use lotline_handler::{Clock, Handler, Options, Outcome, Submission};
use lotline_ledger::{KeyId as RingId, Keyring, LedgerId, Micros, Secret as RingSecret, Writer};
use lotline_wire::answer::{Outcome as Answer, Rejection};
use lotline_wire::seal::{KeyId, LedgerSecret, Scope, Secret};
use rust_decimal::Decimal;

use crate::dairy::{self, Dairy, OFFSET_MINUTES, Story, Told};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::outcome::{Names, answer};
use crate::progress;

/// What was recorded, and what the story is about.
#[derive(Debug)]
pub struct Recorded {
    /// The seed of it all.
    pub seed: u64,
    /// How many days.
    pub days: u32,
    /// When the dairy's last day ended.
    pub end: Instant,
    /// What is worth telling.
    pub story: Story,
    /// The shipment that was asked for at the end, and refused.
    pub refused: Refused,
}

/// An intent that was refused.
#[derive(Debug)]
pub struct Refused {
    /// What was to be shipped.
    pub batch: BatchId,
    /// How much.
    pub quantity: Stated,
    /// Why not.
    pub rejection: Rejection,
    /// Where the refusal stands.
    pub position: u64,
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// So many pieces of a held batch are asked for.
const PIECES: i64 = 10;

/// The dairy's clock: it stands where it was set.
#[derive(Debug)]
struct DairyClock {
    start: i64,
    now: AtomicI64,
}

impl DairyClock {
    fn set(&self, now: Instant) {
        self.now.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for DairyClock {
    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::SeqCst))
    }

    /// Nobody steps this clock: as much time has passed as it says.
    fn elapsed(&self) -> Duration {
        let passed = self.now.load(Ordering::SeqCst).saturating_sub(self.start);
        Duration::from_micros(u64::try_from(passed).unwrap_or(0))
    }
}

/// Records the dairy of a seed: an hour of its paperwork is a commit, a correction is one of its own.
///
/// # Errors
/// Where the folder cannot be written.
pub fn record(folder: &Folder, seed: u64, days: u32) -> Result<Recorded, Failure> {
    let options = dairy::Options { seed, days, ..dairy::Options::default() };
    let mut dairy = Dairy::new(options);
    let (start, end) = (dairy.end().plus_micros(-i64::from(days) * DAY), dairy.end());
    let clock = Arc::new(DairyClock { start: start.0, now: AtomicI64::new(start.0) });
    let handler = open(folder, options, start, clock.clone())?;
    let bar = progress::bar(u64::from(days), "recording days");
    let mut group: Vec<Told> = Vec::new();
    let mut weighed: BTreeSet<BatchId> = BTreeSet::new();
    for told in dairy.by_ref() {
        let is_correction = matches!(told.command.event.fact, Fact::Corrected { .. });
        let apart = group.last().is_some_and(|last| {
            let was_correction = matches!(last.command.event.fact, Fact::Corrected { .. });
            last.recorded_at.0.div_euclid(HOUR) != told.recorded_at.0.div_euclid(HOUR)
                || is_correction
                || was_correction
        });
        if apart || group.len() > lotline_ledger::MAX_EVENTS / 2 {
            write(&handler, &clock, &mut group)?;
            bar.set_position(u64::try_from((clock.now().0 - start.0) / DAY).unwrap_or(0));
        }
        let scales = weights(&told, &mut weighed);
        group.push(told);
        group.extend(scales);
    }
    write(&handler, &clock, &mut group)?;
    bar.finish_and_clear();
    let story = dairy.story().ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{days} days are too few for the whole story; 14 are enough"))
    })?;
    clock.set(end);
    let refused = ask_for_the_held(&handler, &story, end)?;
    handler.close()?;
    Ok(Recorded { seed, days, end, story, refused })
}

/// The ledger's id and its keys follow from the seed, so that the same seed makes the same ledger, byte for byte.
/// What they seal is invented; a real ledger draws them at random.
fn open(folder: &Folder, dairy: dairy::Options, start: Instant, clock: Arc<DairyClock>) -> Result<Handler, Failure> {
    let from_seed = |what: &[u8]| {
        let mut hasher = blake3::Hasher::new_derive_key("lotline 2026 demo v1");
        hasher.update(&dairy.seed.to_be_bytes()).update(&dairy.days.to_be_bytes()).update(what);
        *hasher.finalize().as_bytes()
    };
    let mut id = [0; 16];
    id.copy_from_slice(&from_seed(b"ledger")[..16]);
    let (storage, dir, id) = (Folder::storage(), folder.ledger(), LedgerId::new(id));
    let options = Options { clock, ..Options::default() };
    let writer = Writer::create(storage.clone(), &dir, id, options.ledger)?;
    let mut ring = Keyring::open(storage, &dir, id)?;
    let secret = Secret(from_seed(&KeyId::LEDGER_SECRET.0));
    let named = LedgerSecret::new(&secret);
    let scopes = scopes(dairy).into_iter().map(|scope| scope.key_id(&named, 0));
    let keys = scopes.map(|id| (RingId::new(id.0), RingSecret::new(from_seed(&id.0))));
    let own = (RingId::new(KeyId::LEDGER_SECRET.0), RingSecret::new(secret.0));
    ring.insert(std::iter::once(own).chain(keys), Micros::new(start.0))?;
    Ok(Handler::start(writer, ring, options)?)
}

/// Whose values the dairy's facts seal: who reported what on which day, and who answers for corrections.
fn scopes(options: dairy::Options) -> Vec<Scope> {
    let mut days: BTreeSet<(SourceId, i64)> = BTreeSet::new();
    let mut people: BTreeSet<ActorId> = BTreeSet::new();
    for told in Dairy::new(options) {
        let event = &told.command.event;
        days.insert((event.source.clone(), event.occurred_at.instant.0.div_euclid(DAY)));
        if let Fact::Corrected { actor: Some(actor), .. } = &event.fact {
            people.insert(actor.clone());
        }
    }
    let days = days.into_iter().map(|(source, day)| Scope::SourceDay { source, day: Some(day) });
    days.chain(people.into_iter().map(Scope::Person)).collect()
}

/// The scales behind the packing lines: what the pieces of a batch of packs weigh is stated with its run, and told
/// as a factor here, so that shares of it can go by mass.
fn weights(told: &Told, weighed: &mut BTreeSet<BatchId>) -> Vec<Told> {
    let event = &told.command.event;
    let Fact::Produced(report) = &event.fact else { return Vec::new() };
    let mut factors = Vec::new();
    for output in &report.outputs {
        let (Some(one), Some(equals), BatchRef::Known(batch)) = (output.quantity, output.second, &output.batch) else {
            continue;
        };
        if one.value().is_zero() || equals.value().is_zero() || !weighed.insert(batch.clone()) {
            continue;
        }
        let name = format!("scales:{batch}");
        let (Ok(id), Ok(command), Ok(source)) =
            (EventId::parse(&name), CommandId::parse(&name), SourceId::parse("packing-scales"))
        else {
            continue;
        };
        let fact = Fact::FactorDefined { scope: FactorScope::Batch(batch.clone()), one, equals };
        let event = Event { id, command, source, occurred_at: event.occurred_at, sequence: None, fact };
        let command = Command { mode: Mode::Observation, event };
        factors.push(Told { recorded_at: told.recorded_at, command });
    }
    factors
}

fn write(handler: &Handler, clock: &DairyClock, group: &mut Vec<Told>) -> Result<(), Failure> {
    let Some(last) = group.last() else { return Ok(()) };
    clock.set(last.recorded_at);
    let submissions: Vec<Submission> = group.drain(..).map(|told| told.command.into()).collect();
    for outcome in handler.all_or_nothing(submissions)? {
        if !matches!(outcome, Outcome::Accepted(_)) {
            return Err(Failure::new(Exit::No, format!("the dairy said something twice: {outcome:?}")));
        }
    }
    Ok(())
}

/// Asks to ship some of what is held: it is refused, and the refusal is recorded.
fn ask_for_the_held(handler: &Handler, story: &Story, now: Instant) -> Result<Refused, Failure> {
    let missing = || Failure::new(Exit::No, "nothing of the dairy is held at the end");
    let batch = story.held.still_held.first().ok_or_else(missing)?.clone();
    let word = "the names are words";
    let quantity = Stated::new(Decimal::from(PIECES), Unit::PIECE).expect("a small number of pieces");
    let line = Line::new(batch.clone(), Some(quantity)).from(Place::Location(story.held.quarantine.clone()));
    let fact = Fact::Shipped {
        shipment: ShipmentId::parse("SH-ASKED-FOR").expect(word),
        to: Some(Destination::Party(story.returned.customer.clone())),
        lines: vec![line],
        containers: Vec::new(),
    };
    let event = Event {
        id: EventId::parse("order-desk-1").expect(word),
        command: CommandId::parse("order-desk-1").expect(word),
        source: SourceId::parse("order-desk").expect(word),
        occurred_at: OccurredAt { instant: now, offset_minutes: OFFSET_MINUTES, precision: Precision::Instant },
        sequence: None,
        fact,
    };
    let command = Command { mode: Mode::Intent, event };
    let names = Names::from(&command);
    let outcome = handler.submit(command)?;
    match answer(handler.reader().ledger(), &names, &outcome).0 {
        Answer::Rejected { rejection, receipt, .. } => {
            Ok(Refused { batch, quantity, rejection, position: receipt.position })
        }
        other => Err(Failure::new(Exit::No, format!("a shipment out of a held batch was not refused: {other:?}"))),
    }
}
