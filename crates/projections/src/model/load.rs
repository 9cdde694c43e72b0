//! Pages to rows. The columns are read side by side; flows are about as long as all others together.

use bincode::Decode;
use lotline_domain::book::{
    BatchRow, Book, DeedRow, FactIx, FactRow, FlowExtra, FlowIx, FlowRow, Parts, PlaceRow, RunRow, TextColumn,
};
use lotline_domain::time::{CommitNo, Position};

use crate::changes::Changes;
use crate::cursor::{CommitHash, Cursor, LedgerId};
use crate::pages::{
    BatchForm, ChangeForm, Column, CommitForm, CursorForm, DeedForm, FactForm, FlowForm, PlaceForm, RunForm, Units,
};
use crate::store::{Doubt, ReadPage, Store};

use super::{ReadModel, ReadModelKind};

/// What a store holds; `None` when it holds nothing.
pub(super) fn load(store: &mut Store, kind: ReadModelKind, ledger: LedgerId) -> Result<Option<ReadModel>, Doubt> {
    let t0 = std::time::Instant::now();
    let Some((form, pages)) = store.read()? else { return Ok(None) };
    eprintln!("TMP read {:?}", t0.elapsed());
    if form.kind != kind as u8 {
        return Err(Doubt::OtherKind);
    }
    if form.ledger != ledger.0 {
        return Err(Doubt::OtherLedger { found: LedgerId(form.ledger) });
    }
    let columns = Columns { form: &form, pages };
    let (flows, rest) = rayon::join(|| columns.flows(), || columns.rest());
    eprintln!("TMP decoded {:?}", t0.elapsed());
    let (flows, extras) = flows?;
    let Rest { mut parts, recorded, changes } = rest?;
    parts.flows = flows;
    parts.extras = extras;
    parts.head = form.last.map(|(commit, position)| (CommitNo(commit), Position(position)));
    parts.without_statuses = kind.without_statuses();
    drop(columns);
    if recorded.len() as u64 != form.number {
        return Err(Doubt::OtherPages);
    }
    let book = Book::load(parts).map_err(Doubt::Rows)?;
    eprintln!("TMP loaded {:?}", t0.elapsed());
    let cursor = Cursor { ledger, number: CommitNo(form.number), hash: CommitHash(form.hash) };
    Ok(Some(ReadModel { book, cursor, recorded, changes, ..ReadModel::in_memory(kind, ledger) }))
}

struct Columns<'f> {
    form: &'f CursorForm,
    pages: Vec<ReadPage>,
}

struct Rest {
    parts: Parts,
    recorded: Vec<i64>,
    changes: Changes,
}

impl Columns<'_> {
    fn pages(&self, column: Column) -> &[ReadPage] {
        let first = self.pages.partition_point(|page| page.column < column);
        let count = self.pages[first..].partition_point(|page| page.column == column);
        &self.pages[first..first + count]
    }

    fn count(&self, column: Column) -> usize {
        usize::try_from(self.form.columns[column.at()].1).unwrap_or(0)
    }

    /// All rows of a column, each made from its form.
    fn rows<F: Decode<()>, R>(&self, column: Column, mut row: impl FnMut(F) -> Option<R>) -> Result<Vec<R>, Doubt> {
        // The count is sealed with the cursor, but a wrong one must not reserve the machine's memory.
        let mut rows = Vec::with_capacity(self.count(column).min(1 << 26));
        for page in self.pages(column) {
            page.read(|form| {
                rows.push(row(form)?);
                Some(())
            })?;
        }
        Ok(rows)
    }

    fn texts(&self, column: Column) -> Result<TextColumn, Doubt> {
        let pages = self.pages(column);
        let mut texts = TextColumn {
            text: String::with_capacity(pages.iter().map(ReadPage::len).sum()),
            ends: Vec::with_capacity(self.count(column).min(1 << 26)),
        };
        for page in pages {
            page.read_texts(|text| {
                texts.text.push_str(text);
                texts.ends.push(u32::try_from(texts.text.len()).ok()?);
                Some(())
            })?;
        }
        Ok(texts)
    }

    fn flows(&self) -> Result<(Vec<FlowRow>, Vec<(FlowIx, FlowExtra)>), Doubt> {
        let mut units = Units::default();
        let mut extras = Vec::new();
        let mut at = 0u32;
        let flows = self.rows(Column::Flows, |form: FlowForm| {
            let (row, extra) = form.row(&mut units)?;
            extras.extend(extra.map(|extra| (FlowIx(at), extra)));
            at = at.checked_add(1)?;
            Some(row)
        })?;
        Ok((flows, extras))
    }

    fn facts(&self) -> Result<(Vec<FactRow>, Vec<(FactIx, i64)>), Doubt> {
        let mut corrected_at = Vec::new();
        let mut at = 0u32;
        let facts = self.rows(Column::Facts, |form: FactForm| {
            let (row, corrected) = form.row()?;
            corrected_at.extend(corrected.map(|instant| (FactIx(at), instant)));
            at = at.checked_add(1)?;
            Some(row)
        })?;
        Ok((facts, corrected_at))
    }

    fn changes(&self) -> Result<Changes, Doubt> {
        let mut changes = Changes::default();
        let mut open = Vec::new();
        let mut first = 0;
        for page in self.pages(Column::Changes) {
            if page.is_open() {
                first = changes.rows();
            }
            page.read(|form: ChangeForm| {
                if page.is_open() {
                    open.push(form);
                }
                changes.restore(&form)
            })?;
        }
        changes.restore_log(first, open);
        Ok(changes)
    }

    fn rest(&self) -> Result<Rest, Doubt> {
        let (facts, corrected_at) = self.facts()?;
        let mut units = Units::default();
        let parts = Parts {
            words: self.texts(Column::Words)?,
            codes: self.texts(Column::Codes)?,
            event_ids: self.texts(Column::EventIds)?,
            batches: self.rows(Column::Batches, |form: BatchForm| Some::<BatchRow>(form.row()))?,
            places: self.rows(Column::Places, |form: PlaceForm| -> Option<PlaceRow> { form.row() })?,
            runs: self.rows(Column::Runs, |form: RunForm| Some::<RunRow>(form.row()))?,
            facts,
            corrected_at,
            deeds: self.rows(Column::Deeds, |form: DeedForm| -> Option<DeedRow> { form.row(&mut units) })?,
            ..Parts::default()
        };
        let recorded = self.rows(Column::Commits, |form: CommitForm| Some(form.0))?;
        Ok(Rest { parts, recorded, changes: self.changes()? })
    }
}
