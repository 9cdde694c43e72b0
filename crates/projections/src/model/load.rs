//! Pages to rows. The columns are read side by side.

use bincode::Decode;
use lotline_domain::book::{
    BatchIx, BatchRow, Book, ConflictRow, DeedRow, End, FactIx, FactRow, FlowExtra, FlowIx, FlowRow, Parts, PlaceRow,
    RunRow, TextColumn,
};
use lotline_domain::effect::Phase;
use lotline_domain::time::{CommitNo, Position};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use crate::changes::Changes;
use crate::cursor::{CommitHash, Cursor, LedgerId};
use crate::pages::{
    BatchForm, ChangeForm, Column, CommitForm, ConflictForm, CursorForm, DeedForm, FactForm, FlowForm, PlaceForm,
    RunForm, Units,
};
use crate::store::{Doubt, ReadPage, Store};

use super::{ReadModel, ReadModelKind};

/// What a store holds; `None` when it holds nothing.
pub(super) fn load(store: &mut Store, kind: ReadModelKind, ledger: LedgerId) -> Result<Option<ReadModel>, Doubt> {
    let Some((form, pages)) = store.read()? else { return Ok(None) };
    if form.kind != kind as u8 {
        return Err(Doubt::OtherKind);
    }
    if form.ledger != ledger.0 {
        return Err(Doubt::OtherLedger { found: LedgerId(form.ledger) });
    }
    let columns = Columns { form: &form, pages };
    let (flows, rest) = rayon::join(|| columns.flows(), || columns.rest());
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

    /// The longest column is read by all processors, each page into its own part of it.
    fn flows(&self) -> Result<(Vec<FlowRow>, Vec<(FlowIx, FlowExtra)>), Doubt> {
        let mut flows = vec![UNREAD; self.pages(Column::Flows).iter().map(ReadPage::rows).sum()];
        let mut parts = Vec::new();
        let mut rest = flows.as_mut_slice();
        let mut first = 0;
        for page in self.pages(Column::Flows) {
            let (part, others) = rest.split_at_mut(page.rows());
            parts.push((page, first, part));
            first += page.rows();
            rest = others;
        }
        let extras: Vec<Vec<(FlowIx, FlowExtra)>> = parts
            .into_par_iter()
            .with_min_len(PAGES_AT_ONCE)
            .map(|(page, first, part)| flows_of(page, first, part))
            .collect::<Result<_, Doubt>>()?;
        Ok((flows, extras.into_iter().flatten().collect()))
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
            conflicts: self.rows(Column::Conflicts, |form: ConflictForm| {
                Some(ConflictRow { commit: form.0, fact: FactIx(form.1) })
            })?,
            ..Parts::default()
        };
        let recorded = self.rows(Column::Commits, |form: CommitForm| Some(form.0))?;
        Ok(Rest { parts, recorded, changes: self.changes()? })
    }
}

/// Fewer pages are not worth a change of threads.
const PAGES_AT_ONCE: usize = 8;

/// Stands in a column until its row was read.
const UNREAD: FlowRow = FlowRow {
    quantity: None,
    fact: FactIx(0),
    batch: BatchIx(0),
    from: End::UNSTATED,
    to: End::UNSTATED,
    leg: 0,
    phase: Phase::In,
    packs: false,
};

fn flows_of(page: &ReadPage, first: usize, part: &mut [FlowRow]) -> Result<Vec<(FlowIx, FlowExtra)>, Doubt> {
    let mut units = Units::default();
    let mut extras = Vec::new();
    let mut slots = part.iter_mut().zip(first..);
    page.read(|form: FlowForm| {
        let (slot, at) = slots.next()?;
        let (row, extra) = form.row(&mut units)?;
        *slot = row;
        if let Some(extra) = extra {
            extras.push((FlowIx(u32::try_from(at).ok()?), extra));
        }
        Some(())
    })?;
    Ok(extras)
}
