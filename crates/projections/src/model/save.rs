//! Rows to pages: from the open page of each column on.

use bincode::Encode;
use lotline_domain::book::{FactIx, FlowIx, NameNo, NameTable};

use crate::pages::{
    BatchForm, Column, CommitForm, ConflictForm, CursorForm, DeedForm, Draft, FactForm, FlowForm, PlaceForm, RunForm,
};
use crate::store::{NewPage, SaveError, Store};

use super::ReadModel;

/// The pages that the store has not.
pub(super) fn pages(model: &mut ReadModel, store: &Store) -> Result<Vec<NewPage>, SaveError> {
    // A save that failed threw the pages away, and with them changes that are no longer in memory: the
    // commits that they tell of count as changed now, which costs settlements but no answer.
    if store.next_page(Column::Changes).1 == 0 {
        model.changes.begin_log();
    }
    let mut pages = Vec::new();
    Column::ALL.into_iter().try_for_each(|column| column_pages(model, store, column, &mut pages))?;
    Ok(pages)
}

fn column_pages(model: &ReadModel, store: &Store, column: Column, pages: &mut Vec<NewPage>) -> Result<(), SaveError> {
    let book = &model.book;
    let mark = book.mark();
    let (number, first) = store.next_page(column);
    let from = usize::try_from(first).expect("rows in memory have indexes");
    let mut cut = Cut { column, number, first, draft: Draft::default(), pages };
    let names = |table, count: usize| {
        let numbers = (from..count).map(|at| NameNo(u32::try_from(at).expect("names are numbered in 32 bits")));
        numbers.map(move |name| book.name(table, name))
    };
    match column {
        Column::Words => cut.rows(names(NameTable::Words, mark.words))?,
        Column::Codes => cut.rows(names(NameTable::Codes, mark.codes))?,
        Column::EventIds => cut.rows(names(NameTable::EventIds, mark.event_ids))?,
        Column::Batches => cut.rows(book.batch_rows(from..mark.batches).iter().map(BatchForm::of))?,
        Column::Places => cut.rows(book.place_rows(from..mark.places).iter().map(PlaceForm::of))?,
        Column::Runs => cut.rows(book.run_rows(from..mark.runs).iter().map(RunForm::of))?,
        Column::Facts => {
            let numbers = (0..).map(FactIx).skip(from);
            let rows = book.fact_rows(from..mark.facts).iter().zip(numbers);
            cut.rows(rows.map(|(row, fact)| FactForm::of(row, book.corrected_at(fact))))?;
        }
        Column::Flows => {
            let numbers = (0..).map(FlowIx).skip(from);
            let rows = book.flow_rows(from..mark.flows).iter().zip(numbers);
            cut.rows(rows.map(|(row, flow)| FlowForm::of(row, book.extra(flow))))?;
        }
        Column::Deeds => cut.rows(book.deed_rows(from..mark.deeds).iter().map(DeedForm::of))?,
        Column::Conflicts => {
            let rows = book.conflict_rows(from..mark.conflicts).iter();
            cut.rows(rows.map(|row| ConflictForm(row.commit, row.fact.0)))?;
        }
        Column::Commits => cut.rows(model.recorded[from..].iter().map(|micros| CommitForm(*micros)))?,
        Column::Changes => cut.rows(model.changes.rows_from(first).iter().copied())?,
    }
    cut.finish();
    Ok(())
}

/// Cuts rows into pages.
struct Cut<'p> {
    column: Column,
    number: u32,
    first: u64,
    draft: Draft,
    pages: &'p mut Vec<NewPage>,
}

impl Cut<'_> {
    fn rows<R: Encode>(&mut self, rows: impl Iterator<Item = R>) -> Result<(), SaveError> {
        let column = self.column;
        for row in rows {
            self.draft.push(&row).map_err(|source| SaveError::Row { column: column.to_string(), source })?;
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
        self.number += 1;
        self.first += u64::from(rows);
        self.pages.push(NewPage { column, number, first, rows, content: draft.finish() });
    }

    fn finish(mut self) {
        if self.draft.rows() > 0 {
            self.close();
        }
    }
}

/// Counts and seals of the pages are the store's to fill in.
pub(super) fn cursor_of(model: &ReadModel) -> CursorForm {
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
