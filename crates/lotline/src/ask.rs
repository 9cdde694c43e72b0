//! The commands that ask: they read the ledger, bring a read model up to date, and answer.

use std::ops::Deref;
use std::path::Path;

use lotline_domain::expiry::Expires;
use lotline_domain::fact::CleanGrade;
use lotline_domain::id::Place;
use lotline_ledger::Reader;
use lotline_projections::{self as engine, Question, ReadModel, ReadModelKind};
use lotline_wire::answer::{History, OnHand, Recall, Said, SaidKind, Trace};

use crate::answer;
use crate::args;
use crate::bounds::{Within, within};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::named;
use crate::picture;
use crate::print::{self, below};
use crate::sheets;

/// A folder opened to ask.
pub struct Desk {
    /// The ledger.
    pub reader: Reader,
    /// The read model that knows.
    pub model: ReadModel,
    /// Within which bounds.
    pub within: Within,
}

impl Desk {
    /// Opens a folder for questions of one kind.
    ///
    /// # Errors
    /// Where there is none, it cannot be read, or the bounds are none.
    pub fn open(folder: &Folder, kind: ReadModelKind, bounds: &args::Bounds) -> Result<Self, Failure> {
        let reader = folder.reader()?;
        let model = folder.up_to_date(kind, &reader)?;
        let within = within(bounds, &model)?;
        Ok(Self { reader, model, within })
    }
}

/// A trace with all that a picture of it needs.
pub struct Traced<'m> {
    question: Question<'m>,
    found: engine::Trace,
    /// The answer.
    pub answer: Trace,
}

/// Follows a batch.
///
/// # Errors
/// Where it is not known, or its name fits several.
pub fn traced<'m>(
    model: &'m ReadModel,
    within: &Within,
    batch: &str,
    direction: engine::Direction,
) -> Result<Traced<'m>, Failure> {
    let question = model.question(within.bounds);
    let batch = named::batch(batch, question.book(), within.bounds.known)?;
    let found = engine::trace(&question, &[batch], direction);
    let answer = answer::trace::answer(&question, within, batch, &found);
    Ok(Traced { question, found, answer })
}

/// What of all that is where is asked for, as it was written.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'t> {
    /// An item.
    pub item: Option<&'t str>,
    /// A place.
    pub place: Option<&'t str>,
    /// A batch.
    pub batch: Option<&'t str>,
    /// By when it is over, and how that is called where it was written.
    pub expires_before: (&'static str, Option<&'t str>),
}

/// What is where, of an item, below a place, of a batch. The read model is borrowed for a while at a time.
///
/// # Errors
/// Where one of them is written wrongly or nothing is known of it, or the batch's name fits several.
pub fn counted<M: Deref<Target = ReadModel>>(
    lend: impl Fn() -> M,
    within: &Within,
    wanted: Wanted<'_>,
) -> Result<OnHand, Failure> {
    let Wanted { item, place, batch, expires_before: (field, before) } = wanted;
    let batch = batch.map(|text| named::batch(text, lend().book(), within.bounds.known)).transpose()?;
    let place = place
        .map(|text| Place::parse(text).map_err(|error| Failure::new(Exit::Input, format!("{text:?}: {error}"))))
        .transpose()?;
    let expires_before = before
        .map(|text| Expires::parse(text).map_err(|error| Failure::new(Exit::Input, format!("{field}: {error}"))))
        .transpose()?;
    let filter = answer::on_hand::Filter { item: item.map(str::to_owned), place, batch, expires_before };
    let answer = answer::on_hand::answer_in_turns(&lend, within, &filter);
    if answer.rows.is_empty() {
        // Nothing is there of what is known; what was never heard of is more likely a slip of the pen.
        filter.is_known(lend().book())?;
    }
    Ok(answer)
}

/// What a recall must bring back.
///
/// # Errors
/// Where a batch is not known, or its name fits several.
pub fn recalled(model: &ReadModel, within: &Within, batches: &[String], clean_grade: u8) -> Result<Recall, Failure> {
    let question = model.question(within.bounds).hazard(CleanGrade(clean_grade));
    let named = |text: &String| named::batch(text, question.book(), within.bounds.known);
    let suspects: Vec<_> = batches.iter().map(named).collect::<Result<_, _>>()?;
    let scope = engine::scope(&question, &suspects);
    Ok(answer::recall::answer(&question, within, &scope, clean_grade))
}

/// What was recorded of a batch, a place or an event.
///
/// # Errors
/// Where nothing is known of it, or a file cannot be read.
pub fn recorded(
    model: &ReadModel,
    within: &Within,
    of: &str,
    folder: &Folder,
    reader: &Reader,
) -> Result<History, Failure> {
    let (book, known) = (model.book(), within.bounds.known);
    let subject = answer::history::Subject::parse(of, book, known)?;
    let ring = folder.keyring(reader)?;
    let answer = answer::history::answer(&subject, within, reader, book, &ring)?;
    // What was refused names batches that no fact does; where not even that is told, the batch is not known.
    if answer.rows.is_empty() && matches!(subject, answer::history::Subject::Batch(..)) {
        named::batch(of, book, known)?;
    }
    Ok(answer)
}

/// Nothing of a batch is an answer, too, unless nothing was known of the batch.
fn exit_of(said: &[Said]) -> Exit {
    if said.iter().any(|said| said.kind == SaidKind::UnknownBatch) { Exit::No } else { Exit::Done }
}

/// `trace`.
///
/// # Errors
/// Where the batch is not known, or a file cannot be read or written.
pub fn trace(asked: &args::Trace) -> Result<Exit, Failure> {
    let desk = Desk::open(&Folder::new(&asked.folder.dir), ReadModelKind::Genealogy, &asked.bounds)?;
    let direction = if asked.direction.back { engine::Direction::Back } else { engine::Direction::Forward };
    let Traced { question, found, answer } = traced(&desk.model, &desk.within, &asked.batch, direction)?;
    let mut written = Vec::new();
    if asked.dot.is_some() || asked.svg.is_some() {
        let picture = picture::of_trace(&question, &found);
        if let Some(path) = &asked.dot {
            write(path, &picture::dot(&picture))?;
            written.push(format!("Written: {}", path.display()));
        }
        if let Some(path) = &asked.svg {
            let drawn = picture::svg(&picture);
            write(path, &drawn.text)?;
            written.push(format!("Written: {}{}", path.display(), drawn.left_out_words()));
        }
    }
    let last = [vec![below(&answer.asked, &answer.said)], written].concat().join("\n");
    print::answer(&asked.form, &answer, &sheets::trace(&answer), &last)?;
    Ok(exit_of(&answer.said))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::file("write", path, error))
}

/// `on-hand`.
///
/// # Errors
/// Where a name is none, or a file cannot be read.
pub fn on_hand(asked: &args::OnHand) -> Result<Exit, Failure> {
    let desk = Desk::open(&Folder::new(&asked.folder.dir), ReadModelKind::Inventory, &asked.bounds)?;
    let [item, place, batch] = [&asked.item, &asked.place, &asked.batch].map(Option::as_deref);
    let wanted = Wanted { item, place, batch, expires_before: ("--expires-before", asked.expires_before.as_deref()) };
    let answer = counted(|| &desk.model, &desk.within, wanted)?;
    print::answer(&asked.form, &answer, &sheets::on_hand(&answer), &below(&answer.asked, &answer.said))?;
    Ok(exit_of(&answer.said))
}

/// `recall`.
///
/// # Errors
/// Where a batch is not known, or a file cannot be read.
pub fn recall(asked: &args::Recall) -> Result<Exit, Failure> {
    let desk = Desk::open(&Folder::new(&asked.folder.dir), ReadModelKind::Recall, &asked.bounds)?;
    let answer = recalled(&desk.model, &desk.within, &asked.batches, asked.clean_grade)?;
    print::answer(&asked.form, &answer, &sheets::recall(&answer), &below(&answer.asked, &answer.said))?;
    Ok(exit_of(&answer.said))
}

/// `history`.
///
/// # Errors
/// Where nothing is known of it, or a file cannot be read.
pub fn history(asked: &args::History) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let desk = Desk::open(&folder, ReadModelKind::Genealogy, &asked.bounds)?;
    let answer = recorded(&desk.model, &desk.within, &asked.of, &folder, &desk.reader)?;
    print::answer(&asked.form, &answer, &sheets::history(&answer), &below(&answer.asked, &answer.said))?;
    Ok(if answer.rows.is_empty() { Exit::No } else { Exit::Done })
}

/// `exceptions`.
///
/// # Errors
/// Where a file cannot be read.
pub fn exceptions(asked: &args::Exceptions) -> Result<Exit, Failure> {
    let desk = Desk::open(&Folder::new(&asked.folder.dir), ReadModelKind::Recall, &asked.bounds)?;
    let conflicts = answer::exceptions::conflicts(&desk.within, &desk.reader)?;
    let question = desk.model.question(desk.within.bounds);
    let answer = answer::exceptions::answer(&question, &desk.within, conflicts);
    print::answer(&asked.form, &answer, &sheets::exceptions(&answer), &below(&answer.asked, &answer.said))?;
    Ok(Exit::Done)
}
