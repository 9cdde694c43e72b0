//! Open and settled discrepancies.

use lotline_domain::book::FactIx;
use lotline_domain::command::{Amount as DomainAmount, Body, Rule};
use lotline_domain::settle::{Exception, ExceptionKind};
use lotline_domain::time::Instant;
use lotline_ledger::Reader;
use lotline_projections::{self as engine, Competing, Question};
use lotline_wire::answer::{Amount, ExceptionRow, ExceptionState, Exceptions, instant};
use lotline_wire::payload;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::batch;
use crate::bounds::Within;
use crate::failure::{Failure, undecodable};
use crate::print::quantity;

/// Answers it, with the [`conflicts`] within the same bounds.
pub fn answer(question: &Question<'_>, within: &Within, conflicts: Vec<ExceptionRow>) -> Exceptions {
    let mut rows: Vec<ExceptionRow> =
        engine::exceptions(question).iter().map(|found| row(question, found, within.as_of(), within.known())).collect();
    rows.extend(conflicts);
    rows.sort_by_cached_key(|row| {
        let batch = row.batch.as_ref().map(|batch| batch.0.to_string());
        (row.kind.clone(), row.at.clone(), row.cause.clone(), batch, row.place.clone())
    });
    Exceptions { asked: within.asked.clone(), rows, said: within.said.clone() }
}

/// A discrepancy in the answer's form.
pub(crate) fn row(question: &Question<'_>, found: &Exception, as_of: Option<String>, as_known_at: u64) -> ExceptionRow {
    let book = question.book();
    let run = engine::run_of_exception(question, found);
    let of_batch = found.amount.zip(found.batch).map(|(amount, batch)| {
        let settled = question.settlement(batch);
        DomainAmount { value: settled.measure.value(amount), unit: settled.measure.base }
    });
    let amount = of_batch.or(run.as_ref().and_then(|(_, amount)| *amount)).map(Amount::from);
    let named = found.batch.map(|batch| book.batch(batch).to_string());
    let of_run = || run.as_ref().map(|(run, _)| format!("run:{}", book.run(*run)));
    let place = found.place.map(|place| book.place(place).to_string()).or_else(of_run);
    ExceptionRow {
        kind: found.kind.words().to_owned(),
        batch: found.batch.map(|ix| batch(book, ix)),
        detail: match found.kind {
            ExceptionKind::CompetingCorrections => competing(question, found),
            ExceptionKind::ExpiryDiffers => expiries(question, found),
            kind => detail(kind, named.as_deref(), place.as_deref(), amount.as_ref()),
        },
        place,
        cause: book.event_id_text(found.cause).to_owned(),
        at: instant(Instant(found.at)),
        until: found.until.map(|until| instant(Instant(until))),
        amount,
        state: if found.until.is_some() { ExceptionState::Settled } else { ExceptionState::Open },
        as_of,
        as_known_at,
    }
}

/// Which facts tell which dates of a batch.
fn expiries(question: &Question<'_>, found: &Exception) -> String {
    let book = question.book();
    let (of, batch) = match found.batch {
        Some(batch) => (question.expiries(batch), book.batch(batch).to_string()),
        None => return "facts tell different expiry dates".to_owned(),
    };
    let told: Vec<String> =
        of.iter().map(|told| format!("{} by {}", told.expires, book.event_id_text(told.fact))).collect();
    format!("{batch} is told to be good until {}; what is over first counts", told.join(", "))
}

/// Which corrections compete, and for what.
fn competing(question: &Question<'_>, found: &Exception) -> String {
    let id = |fact: &FactIx| question.book().event_id_text(*fact);
    let ids = |facts: &[FactIx]| facts.iter().map(id).collect::<Vec<_>>().join(", ");
    match engine::competing(question, found.cause) {
        Competing::Rivals { target, rivals } => format!(
            "the corrections {} of one fact, {}, compete; the latest, {}, holds",
            ids(&rivals),
            id(&target),
            id(&found.cause)
        ),
        Competing::Circle(circle) if circle.len() == 1 => {
            format!("the correction {} corrects itself: it has no effect", ids(&circle))
        }
        Competing::Circle(circle) => {
            format!("the corrections {} correct each other in a circle: none of them has an effect", ids(&circle))
        }
    }
}

fn detail(kind: ExceptionKind, batch: Option<&str>, place: Option<&str>, amount: Option<&Amount>) -> String {
    let batch = batch.unwrap_or("it");
    let run = place.unwrap_or("the run");
    let at = place.map_or_else(String::new, |place| format!(" at {place}"));
    let much = amount.map_or_else(|| "some".to_owned(), quantity);
    match kind {
        ExceptionKind::Negative => format!("{much} of {batch} went out{at} that had not come in: a record is missing"),
        ExceptionKind::SourceUnknown => format!("nobody recorded where {much} of {batch}{at} came from"),
        ExceptionKind::SourceAmbiguous => format!("{batch}{at} may have come from several places; all are followed"),
        ExceptionKind::QuantityUnknown => format!("no quantity of {batch}{at} was stated that can be summed up"),
        ExceptionKind::CountDiffers => format!("the count of {batch}{at} differs from the book by {much}"),
        ExceptionKind::ReturnedNeverSent => format!("{much} of {batch} came back{at} that had never been sent there"),
        ExceptionKind::Conflict => "an id was used again with other content; the first stands".to_owned(),
        ExceptionKind::CompetingCorrections => "corrections compete".to_owned(),
        ExceptionKind::ExpiryDiffers => format!("facts tell different expiry dates of {batch}"),
        ExceptionKind::CorrectionOfUnknown => "it corrects a fact that is not known".to_owned(),
        ExceptionKind::SuspectedDuplicate => format!("looks like another record of the same delivery of {batch}"),
        ExceptionKind::RunLostMass => {
            format!("{much} less came out of {run} than went in, and no loss explains it")
        }
        ExceptionKind::RunGainedMass => format!("{much} more came out of {run} than went in"),
        ExceptionKind::NoWindow => format!("no time window for {batch} in {run}, which gives some"),
        ExceptionKind::VesselOverdrawn => format!("more was drawn{at} than was in it"),
        ExceptionKind::VesselDrawnBeforeFilled => format!("drawn{at} before what it was drawn from was filled in"),
        ExceptionKind::VesselHasLess => format!("the vessel's model has less of {batch}{at} than a record names"),
        ExceptionKind::CleanedWithContent => format!("cleaned{at} while the book still had {much} of {batch} in it"),
        ExceptionKind::ContainerElsewhere => format!("packed into a container that stands elsewhere{at}"),
        ExceptionKind::ContainerReused => {
            format!("{batch} was packed into a container that still had other content{at}")
        }
        ExceptionKind::CodeAmbiguous => format!("the code {batch} fits several batches; all are followed"),
        ExceptionKind::FutureDate => "dated after it was recorded".to_owned(),
        ExceptionKind::ShippedUnderHold => format!("{batch} was shipped under hold{at}"),
        ExceptionKind::ConsumedUnderHold => format!("{batch} was consumed under hold{at}"),
        ExceptionKind::DeliveredUnderHold => format!("{batch} was delivered under hold{at}"),
    }
}

/// So many commits are decoded at once.
const CHUNK: usize = 256;

/// Ids that came again with other content. The read models do not know refusals, so the ledger is read for them.
///
/// # Errors
/// Where the ledger cannot be read.
pub fn conflicts(within: &Within, reader: &Reader) -> Result<Vec<ExceptionRow>, Failure> {
    let mut rows = Vec::new();
    let mut frames = reader.frames(lotline_ledger::CommitNumber::new(1));
    loop {
        let chunk: Vec<_> = frames.by_ref().take(CHUNK).collect::<Result<_, _>>().map_err(Failure::from)?;
        let known: Vec<_> = chunk.iter().filter(|frame| frame.header().number.get() <= within.known()).collect();
        let found: Vec<Vec<ExceptionRow>> =
            known.par_iter().map(|frame| conflicts_of(within, frame)).collect::<Result<_, Failure>>()?;
        rows.extend(found.into_iter().flatten());
        if known.len() < chunk.len() || chunk.is_empty() {
            return Ok(rows);
        }
    }
}

fn conflicts_of(within: &Within, frame: &lotline_ledger::Frame) -> Result<Vec<ExceptionRow>, Failure> {
    let mut rows = Vec::new();
    for event in frame.events() {
        let position = event.position().get();
        let stored = payload::decode(event.payload()).map_err(|error| undecodable(position, error))?;
        let Body::Refused { command, source, rejection, .. } = stored.body else { continue };
        let Rule::Conflict { first } = rejection.rule else { continue };
        rows.push(ExceptionRow {
            kind: ExceptionKind::Conflict.words().to_owned(),
            batch: rejection.batch.as_ref().map(Into::into),
            place: None,
            cause: command.to_string(),
            at: instant(Instant(frame.header().recorded_at.get())),
            until: None,
            amount: None,
            detail: format!(
                "{source} used the id {command} again with other content; the first, at position {}, stands",
                first.0
            ),
            state: ExceptionState::Open,
            as_of: within.as_of(),
            as_known_at: within.known(),
        });
    }
    Ok(rows)
}
