//! Rows to pages: from the open page of each column on.

use bincode::Encode;
use bincode::error::EncodeError;
use lotline_domain::book::{FactIx, FlowIx, NameNo, NameTable};

use crate::pages::{
    BatchForm, Column, CommitForm, CursorForm, DeedForm, Draft, FactForm, FlowForm, PlaceForm, RunForm,
};
use crate::store::{NewPage, SaveError, Store};

use super::ReadModel;

/// Writes what is new to the store.
pub(super) fn save(model: &mut ReadModel, store: &mut Store) -> Result<(), SaveError> {
    // A save that failed threw the pages away, and with them changes that are no longer in memory: the
    // commits that they tell of count as changed now, which costs settlements but no answer.
    if store.next_page(Column::Changes).1 == 0 {
        model.changes.begin_log();
    }
    let mut pages = Vec::new();
    for column in Column::ALL {
        column_pages(model, store, column, &mut pages)
            .map_err(|source| SaveError::Row { column: column.to_string(), source })?;
    }
    store.write(pages, cursor_of(model))?;
    let (_, open) = store.next_page(Column::Changes);
    model.changes.forget_before(open);
    Ok(())
}

fn column_pages(model: &ReadModel, store: &Store, column: Column, pages: &mut Vec<NewPage>) -> Result<(), EncodeError> {
    let book = &model.book;
    let mark = book.mark();
    let (_, first) = store.next_page(column);
    let from = usize::try_from(first).expect("rows in memory have indexes");
    let mut writer = Writer::new(store, column, pages);
    let mut names = |table, count: usize| {
        let numbers = (from..count).map(|at| NameNo(u32::try_from(at).expect("names are numbered in 32 bits")));
        writer.rows(numbers.map(|name| book.name(table, name)))
    };
    match column {
        Column::Words => names(NameTable::Words, mark.words)?,
        Column::Codes => names(NameTable::Codes, mark.codes)?,
        Column::EventIds => names(NameTable::EventIds, mark.event_ids)?,
        Column::Batches => writer.rows(book.batch_rows(from..mark.batches).iter().map(BatchForm::of))?,
        Column::Places => writer.rows(book.place_rows(from..mark.places).iter().map(PlaceForm::of))?,
        Column::Runs => writer.rows(book.run_rows(from..mark.runs).iter().map(RunForm::of))?,
        Column::Facts => {
            let numbers = (0..).map(FactIx).skip(from);
            let rows = book.fact_rows(from..mark.facts).iter().zip(numbers);
            writer.rows(rows.map(|(row, fact)| FactForm::of(row, book.corrected_at(fact))))?;
        }
        Column::Flows => {
            let numbers = (0..).map(FlowIx).skip(from);
            let rows = book.flow_rows(from..mark.flows).iter().zip(numbers);
            writer.rows(rows.map(|(row, flow)| FlowForm::of(row, book.extra(flow))))?;
        }
        Column::Deeds => writer.rows(book.deed_rows(from..mark.deeds).iter().map(DeedForm::of))?,
        Column::Commits => writer.rows(model.recorded[from..].iter().map(|micros| CommitForm(*micros)))?,
        Column::Changes => writer.rows(model.changes.rows_from(first).iter().copied())?,
    }
    writer.finish();
    Ok(())
}

/// Cuts rows into pages.
struct Writer<'p> {
    column: Column,
    number: u32,
    first: u64,
    draft: Draft,
    pages: &'p mut Vec<NewPage>,
}

impl<'p> Writer<'p> {
    fn new(store: &Store, column: Column, pages: &'p mut Vec<NewPage>) -> Self {
        let (number, first) = store.next_page(column);
        Self { column, number, first, draft: Draft::default(), pages }
    }

    fn rows<R: Encode>(&mut self, rows: impl Iterator<Item = R>) -> Result<(), EncodeError> {
        for row in rows {
            self.draft.push(&row)?;
            if self.draft.is_full() {
                self.close();
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let draft = std::mem::take(&mut self.draft);
        let rows = draft.rows();
        let (column, number, first) = (self.column, self.number, self.first);
        self.pages.push(NewPage { column, number, first, rows, content: draft.finish() });
        self.number += 1;
        self.first += u64::from(rows);
    }

    fn finish(mut self) {
        if self.draft.rows() > 0 {
            self.close();
        }
    }
}

/// Counts and seals of the pages are the store's to fill in.
fn cursor_of(model: &ReadModel) -> CursorForm {
    CursorForm {
        kind: model.kind as u8,
        ledger: model.cursor.ledger.0,
        number: model.cursor.number.0,
        hash: model.cursor.hash.0,
        last: model.book.last().map(|(commit, position)| (commit.0, position.0)),
        columns: Vec::new(),
        root: [0; 32],
    }
}
