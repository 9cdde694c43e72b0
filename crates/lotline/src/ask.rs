//! The commands that ask: they read the ledger, bring a read model up to date, and answer.

use std::path::Path;

use lotline_domain::book::Bounds;
use lotline_domain::fact::CleanGrade;
use lotline_domain::id::Place;
use lotline_ledger::Reader;
use lotline_projections::{self as engine, ReadModel, ReadModelKind};

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

    fn bounds(&self) -> Bounds {
        self.within.bounds
    }
}

/// `trace`.
///
/// # Errors
/// Where the batch is not known, or a file cannot be read or written.
pub fn trace(asked: &args::Trace) -> Result<Exit, Failure> {
    let desk = Desk::open(&Folder::new(&asked.folder.dir), ReadModelKind::Genealogy, &asked.bounds)?;
    let question = desk.model.question(desk.bounds());
    let batch = named::batch(&asked.batch, question.book(), desk.bounds().known)?;
    let direction = if asked.direction.back { engine::Direction::Back } else { engine::Direction::Forward };
    let found = engine::trace(&question, &[batch], direction);
    let answer = answer::trace::answer(&question, &desk.within, batch, &found);
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
    Ok(if answer.edges.is_empty() { Exit::No } else { Exit::Done })
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
    let question = desk.model.question(desk.bounds());
    let batch =
        asked.batch.as_ref().map(|text| named::batch(text, question.book(), desk.bounds().known)).transpose()?;
    let place = asked
        .place
        .as_ref()
        .map(|text| Place::parse(text).map_err(|error| Failure::new(Exit::Input, format!("{text:?}: {error}"))))
        .transpose()?;
    let filter = answer::on_hand::Filter { item: asked.item.clone(), place, batch };
    let answer = answer::on_hand::answer(&question, &desk.within, &filter);
    print::answer(&asked.form, &answer, &sheets::on_hand(&answer), &below(&answer.asked, &answer.said))?;
    Ok(if answer.rows.is_empty() { Exit::No } else { Exit::Done })
}

/// `recall`.
///
/// # Errors
/// Where a batch is not known, or a file cannot be read.
pub fn recall(asked: &args::Recall) -> Result<Exit, Failure> {
    let desk = Desk::open(&Folder::new(&asked.folder.dir), ReadModelKind::Recall, &asked.bounds)?;
    let question = desk.model.question(desk.bounds()).hazard(CleanGrade(asked.clean_grade));
    let suspects: Vec<_> = asked
        .batches
        .iter()
        .map(|text| named::batch(text, question.book(), desk.bounds().known))
        .collect::<Result<_, _>>()?;
    let scope = engine::scope(&question, &suspects);
    let answer = answer::recall::answer(&question, &desk.within, &scope, asked.clean_grade);
    print::answer(&asked.form, &answer, &sheets::recall(&answer), &below(&answer.asked, &answer.said))?;
    Ok(if answer.rows.is_empty() { Exit::No } else { Exit::Done })
}

/// `history`.
///
/// # Errors
/// Where nothing is known of it, or a file cannot be read.
pub fn history(asked: &args::History) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let desk = Desk::open(&folder, ReadModelKind::Genealogy, &asked.bounds)?;
    let book = desk.model.book();
    let subject = answer::history::Subject::parse(&asked.of, book, desk.bounds().known)?;
    let ring = folder.keyring(&desk.reader)?;
    let answer = answer::history::answer(&subject, &desk.within, &desk.reader, book, &ring)?;
    // What was refused names batches that no fact does; where not even that is told, the batch is not known.
    if answer.rows.is_empty() && matches!(subject, answer::history::Subject::Batch(_)) {
        named::batch(&asked.of, book, desk.bounds().known)?;
    }
    print::answer(&asked.form, &answer, &sheets::history(&answer), &below(&answer.asked, &answer.said))?;
    Ok(if answer.rows.is_empty() { Exit::No } else { Exit::Done })
}

/// `exceptions`.
///
/// # Errors
/// Where a file cannot be read.
pub fn exceptions(asked: &args::Exceptions) -> Result<Exit, Failure> {
    let desk = Desk::open(&Folder::new(&asked.folder.dir), ReadModelKind::Recall, &asked.bounds)?;
    let question = desk.model.question(desk.bounds());
    let answer = answer::exceptions::answer(&question, &desk.within, &desk.reader)?;
    print::answer(&asked.form, &answer, &sheets::exceptions(&answer), &below(&answer.asked, &answer.said))?;
    Ok(Exit::Done)
}
