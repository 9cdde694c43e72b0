//! What was recorded of something, from the ledger by key.

use std::collections::BTreeSet;

use lotline_domain::book::{BatchIx, Book};
use lotline_domain::command::{Body, Command};
use lotline_domain::fact::{Correction, Event, Fact, HoldTarget, Input, Line, Output, ReleaseTarget};
use lotline_domain::id::{BatchCode, BatchRef, CommandId, EventId, Place};
use lotline_domain::time::{CommitNo, Instant};
use lotline_ledger::{Key, Keyring, Position, Reader};
use lotline_wire::answer::{History, HistoryKind, HistoryRow, Rejection, Said, SaidKind, instant};
use lotline_wire::command::print_command;
use lotline_wire::key;
use lotline_wire::payload::{self, Field, StoredEvent};
use lotline_wire::seal::{KeyId, KeyState, Keys, Opened, Secret};

use crate::bounds::Within;
use crate::failure::{Exit, Failure, undecodable};
use crate::named;

/// What a history is of.
#[derive(Debug)]
pub enum Subject {
    /// A batch, and the labels that it was given.
    Batch(BatchRef, Vec<BatchCode>),
    /// A container, vessel or shipment.
    Place(Place),
    /// One event and what corrects it.
    Event(EventId),
}

impl Subject {
    /// Reads it from the command line.
    ///
    /// # Errors
    /// Where it is written wrongly, or is no batch that is known.
    pub fn parse(text: &str, book: &Book, known: CommitNo) -> Result<Self, Failure> {
        if let Some(id) = text.strip_prefix("event:") {
            let id = EventId::parse(id)
                .map_err(|error| Failure::new(Exit::Input, format!("the event id {id:?} {error}")))?;
            return Ok(Self::Event(id));
        }
        match Place::parse(text) {
            Ok(place @ (Place::Container(_) | Place::Vessel(_) | Place::Transit(_))) => Ok(Self::Place(place)),
            _ => {
                let batch: BatchIx = named::any_batch(text, book, known)?;
                Ok(Self::Batch(book.batch(batch), book.labels_told(batch, known)))
            }
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Batch(batch, _) => batch.to_string(),
            Self::Place(place) => place.to_string(),
            Self::Event(id) => format!("event:{id}"),
        }
    }

    fn keys(&self) -> Vec<key::Key> {
        match self {
            Self::Batch(batch, labels) => {
                let own = match batch {
                    BatchRef::Known(id) => vec![key::batch(id), key::batch_code(&id.code)],
                    BatchRef::Code(code) => vec![key::batch_code(code)],
                };
                own.into_iter().chain(labels.iter().map(key::batch_code)).collect()
            }
            Self::Place(Place::Container(id)) => vec![key::container(id)],
            Self::Place(Place::Vessel(id)) => vec![key::vessel(id)],
            Self::Place(Place::Transit(id)) => vec![key::shipment(id)],
            Self::Place(_) => Vec::new(),
            // A refusal has no event: it is found by its command, which mostly has the same id.
            Self::Event(id) => {
                let command = CommandId::parse(id.as_str()).map(|id| key::command(&id));
                std::iter::once(key::event(id)).chain(command).collect()
            }
        }
    }

    /// Whether an event found by a key is about it: a code is that of other batches, too.
    fn concerns(&self, body: &Body) -> bool {
        let Self::Batch(asked, labels) = self else { return true };
        let mut named = Vec::new();
        match body {
            Body::Fact { event, .. } => batches_of(&event.fact, &mut named),
            Body::Refused { rejection, .. } => named.extend(rejection.batch.clone()),
        }
        let code = match asked {
            BatchRef::Known(id) => &id.code,
            BatchRef::Code(code) => code,
        };
        let by_code = |batch: &BatchRef| match batch {
            BatchRef::Code(named) => named == code || labels.contains(named),
            BatchRef::Known(_) => false,
        };
        named.iter().any(|batch| batch == asked || by_code(batch)) || has_label(body, asked)
    }
}

fn has_label(body: &Body, asked: &BatchRef) -> bool {
    let labelled = |label: &BatchCode| matches!(asked, BatchRef::Code(code) if code == label);
    matches!(body, Body::Fact { event: Event { fact: Fact::Labelled { label, .. }, .. }, .. } if labelled(label))
}

/// The batches that a fact names.
fn batches_of(fact: &Fact, named: &mut Vec<BatchRef>) {
    let mut lines = |lines: &[Line]| named.extend(lines.iter().map(|line| line.batch.clone()));
    match fact {
        Fact::Received { lines: all, .. }
        | Fact::Moved { lines: all, .. }
        | Fact::Packed { lines: all, .. }
        | Fact::Unpacked { lines: all, .. }
        | Fact::Shipped { lines: all, .. }
        | Fact::Delivered { lines: all, .. }
        | Fact::Returned { lines: all, .. }
        | Fact::Seen { lines: all, .. }
        | Fact::Counted { lines: all, .. }
        | Fact::Disposed { lines: all, .. }
        | Fact::VesselFilled { lines: all, .. } => lines(all),
        Fact::Produced(report) => {
            named.extend(report.inputs.iter().filter_map(|Input { batch, .. }| batch.clone()));
            named.extend(report.outputs.iter().map(|Output { batch, .. }| batch.clone()));
            named.extend(report.mapping.iter().flat_map(|(input, output)| [input.clone(), output.clone()]));
        }
        Fact::Held { target: HoldTarget::Batch(batch) | HoldTarget::Slice(batch, _), .. }
        | Fact::Released { target: ReleaseTarget::Batch(batch), .. }
        | Fact::Adjusted { batch, .. }
        | Fact::Labelled { batch, .. } => named.push(batch.clone()),
        Fact::VesselDrawn { batch, .. } => named.extend(batch.clone()),
        Fact::FactorDefined { scope: lotline_domain::fact::FactorScope::Batch(id), .. } => {
            named.push(BatchRef::Known(id.clone()));
        }
        Fact::Noted { batches, .. } => named.extend(batches.iter().cloned()),
        Fact::Corrected { correction: Correction::Supersede { fact, .. }, .. } => batches_of(fact, named),
        _ => {}
    }
}

/// Answers it.
///
/// # Errors
/// Where the ledger or its keyring cannot be read.
pub fn answer(
    subject: &Subject,
    within: &Within,
    reader: &Reader,
    book: &Book,
    ring: &Keyring,
) -> Result<History, Failure> {
    let source = Source { reader, within, book, keys: RingKeys(ring) };
    let mut positions: BTreeSet<u64> = BTreeSet::new();
    for key in subject.keys() {
        for position in reader.positions(&Key::new(key))? {
            if source.read(position.get(), |_, stored| Ok(subject.concerns(&stored.body)))? == Some(true) {
                positions.insert(position.get());
            }
        }
    }
    positions.extend(source.related(&positions)?);
    let mut rows = Vec::new();
    for position in positions {
        rows.extend(source.row(position)?);
    }
    let mut said = within.said.clone();
    if rows.is_empty() {
        said.push(Said {
            kind: SaidKind::UnknownBatch,
            message: format!("as known at commit {}, nothing was recorded of {}", within.known(), subject.words()),
            batches: Vec::new(),
        });
    }
    Ok(History { asked: within.asked.clone(), of: subject.words(), rows, said })
}

struct Source<'a> {
    reader: &'a Reader,
    within: &'a Within,
    book: &'a Book,
    keys: RingKeys<'a>,
}

/// Where and when an event was recorded.
struct At {
    position: u64,
    commit: u64,
    recorded_at: Instant,
}

impl Source<'_> {
    /// Reads the event at a position; `None` for one that was not known yet.
    fn read<T>(
        &self,
        position: u64,
        take: impl FnOnce(At, StoredEvent<'_>) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let Some(event) = self.reader.event(Position::new(position))? else { return Ok(None) };
        let commit = event.commit.number.get();
        if commit > self.within.known() {
            return Ok(None);
        }
        let stored = payload::decode(event.payload()).map_err(|error| undecodable(position, error))?;
        let at = At { position, commit, recorded_at: Instant(event.commit.recorded_at.get()) };
        take(at, stored).map(Some)
    }

    /// What corrects these events, and what they correct, and so on.
    fn related(&self, found: &BTreeSet<u64>) -> Result<BTreeSet<u64>, Failure> {
        let mut all: BTreeSet<u64> = found.clone();
        let mut waiting: Vec<u64> = found.iter().copied().collect();
        while let Some(position) = waiting.pop() {
            let linked = self.read(position, |_, stored| {
                let Body::Fact { event, .. } = &stored.body else { return Ok(Vec::new()) };
                let mut keys = vec![key::correction_of(&event.id)];
                if let Fact::Corrected { target, .. } = &event.fact {
                    keys.push(key::event(target));
                }
                Ok(keys)
            })?;
            for key in linked.unwrap_or_default() {
                for position in self.reader.positions(&Key::new(key))? {
                    if all.insert(position.get()) {
                        waiting.push(position.get());
                    }
                }
            }
        }
        Ok(all)
    }

    fn row(&self, position: u64) -> Result<Option<HistoryRow>, Failure> {
        let row = self.read(position, |at, stored| {
            let row = HistoryRow {
                position: at.position,
                commit: at.commit,
                recorded_at: instant(at.recorded_at),
                kind: HistoryKind::Observation,
                command: String::new(),
                source: String::new(),
                fact: None,
                rejection: None,
                decided_on: None,
                corrected_by: None,
                withheld: Vec::new(),
                as_of: self.within.as_of(),
                as_known_at: self.within.known(),
            };
            match &stored.body {
                Body::Refused { command, source, rejection, decided_on } => Ok(Some(HistoryRow {
                    kind: HistoryKind::Refusal,
                    command: command.to_string(),
                    source: source.to_string(),
                    rejection: Some(Rejection::from(rejection)),
                    decided_on: Some(decided_on.0),
                    ..row
                })),
                Body::Fact { .. } => self.fact(row, &stored),
            }
        })?;
        Ok(row.flatten())
    }

    fn fact(&self, row: HistoryRow, stored: &StoredEvent<'_>) -> Result<Option<HistoryRow>, Failure> {
        use lotline_domain::command::Mode;
        let unsealed = |error: lotline_wire::seal::OpenError| {
            Failure::new(
                Exit::Damage,
                format!("a sealed value of the event at position {} cannot be opened", row.position),
            )
            .because(error)
        };
        let withheld = stored
            .texts(&self.keys)
            .map_err(unsealed)?
            .into_iter()
            .filter_map(|(field, opened)| match opened {
                Opened::Plain(_) => None,
                Opened::Erased => Some(format!("{} (erased)", field_word(field))),
                Opened::Unavailable => Some(format!("{} (its key is not here)", field_word(field))),
            })
            .collect();
        let Body::Fact { mode, event, decided_on } = stored.open_body(&self.keys).map_err(unsealed)? else {
            return Ok(None);
        };
        if event.occurred_at.instant > self.within.bounds.as_of {
            return Ok(None);
        }
        let corrected_by = self.corrected_by(&event.id)?;
        let told = HistoryRow {
            kind: if mode == Mode::Intent { HistoryKind::Intent } else { HistoryKind::Observation },
            command: event.command.to_string(),
            source: event.source.to_string(),
            decided_on: decided_on.map(|commit| commit.0),
            corrected_by,
            withheld,
            ..row
        };
        let text = print_command(&Command { mode, event });
        let fact = serde_json::from_str(&text)
            .map_err(|error| Failure::new(Exit::Damage, "a recorded command does not print as JSON").because(error))?;
        Ok(Some(HistoryRow { fact: Some(fact), ..told }))
    }

    /// The correction in force that speaks of an event: the latest by the rules of settlement.
    fn corrected_by(&self, id: &EventId) -> Result<Option<String>, Failure> {
        let known = CommitNo(self.within.known());
        let mut rivals: Vec<(i64, String)> = Vec::new();
        for position in self.reader.positions(&Key::new(key::correction_of(id)))? {
            let rival = self.read(position.get(), |_, stored| {
                Ok(match stored.body {
                    Body::Fact { event, .. } => Some((event.occurred_at.instant.0, event.id)),
                    Body::Refused { .. } => None,
                })
            })?;
            if let Some((at, rival)) = rival.flatten() {
                rivals.push((at, rival.to_string()));
            }
        }
        // A fact that counts although something corrects it: that correction was itself taken back.
        let fact = self.book.find_fact(id);
        if fact.is_some_and(|fact| self.book.in_force(fact, known)) {
            return Ok(None);
        }
        Ok(rivals.into_iter().max().map(|(_, id)| id))
    }
}

fn field_word(field: Field) -> &'static str {
    match field {
        Field::Reason => "reason",
        Field::Name => "name",
        Field::Note => "note",
        Field::Actor => "actor",
        Field::Original => "original document",
    }
}

/// The ledger's keyring, as sealed values want it.
struct RingKeys<'r>(&'r Keyring);

impl Keys for RingKeys<'_> {
    fn state(&self, id: KeyId) -> KeyState {
        match self.0.state(&lotline_ledger::KeyId::new(id.0)) {
            Some(lotline_ledger::KeyState::Present(secret, _)) => KeyState::Present(Secret(*secret.reveal())),
            Some(lotline_ledger::KeyState::Erased(_)) => KeyState::Erased,
            None => KeyState::Unknown,
        }
    }
}
