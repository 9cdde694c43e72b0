//! Section 9, first part: which batch a fact means.

use std::collections::{BTreeMap, BTreeSet};

use lotline_domain::fact::{Fact, FactorScope, HoldTarget, ReleaseTarget};
use lotline_domain::id::{BatchCode, BatchId, BatchRef};

use super::live::Live;

/// A batch as it is settled: fully named, or the pseudo-batch of a code that does not name one.
pub type Batch = BatchRef;

/// Codes and labels of all batches that live facts name.
pub struct Names {
    by_code: BTreeMap<BatchCode, BTreeSet<BatchId>>,
}

impl Names {
    /// CHOICE: a batch is known when any live fact names it fully, whatever `as_of` says. Labels of a
    /// batch that is itself named by a bare code count when that code alone fits one batch.
    pub fn new(live: &[Live]) -> Self {
        let mut names = Self { by_code: BTreeMap::new() };
        for event in live {
            for batch in named(&event.fact) {
                if let BatchRef::Known(id) = batch {
                    names.by_code.entry(id.code.clone()).or_default().insert(id);
                }
            }
        }
        let codes_alone = Self { by_code: names.by_code.clone() };
        for event in live {
            if let Fact::Labelled { batch, label } = &event.fact
                && let BatchRef::Known(id) = codes_alone.resolve(batch)
            {
                names.by_code.entry(label.clone()).or_default().insert(id);
            }
        }
        names
    }

    /// The batch that is meant.
    pub fn resolve(&self, batch: &BatchRef) -> Batch {
        match batch {
            BatchRef::Known(_) => batch.clone(),
            BatchRef::Code(code) => match self.candidates(code).first() {
                Some(only) if self.candidates(code).len() == 1 => BatchRef::Known(only.clone()),
                _ => batch.clone(),
            },
        }
    }

    /// Everything that a code fits.
    pub fn candidates(&self, code: &BatchCode) -> BTreeSet<BatchId> {
        self.by_code.get(code).cloned().unwrap_or_default()
    }

    /// The pseudo-batches that a batch may be, or the batches that a pseudo-batch may be.
    pub fn alternatives(&self, batch: &Batch) -> Vec<Batch> {
        match batch {
            BatchRef::Code(code) => self.candidates(code).into_iter().map(BatchRef::Known).collect(),
            BatchRef::Known(id) => {
                let ambiguous = self.by_code.iter().filter(|(_, ids)| ids.len() > 1 && ids.contains(id));
                ambiguous.map(|(code, _)| BatchRef::Code(code.clone())).collect()
            }
        }
    }

    /// Whether a reference is a code that fits several.
    pub fn is_ambiguous(&self, batch: &BatchRef) -> bool {
        matches!(batch, BatchRef::Code(code) if self.candidates(code).len() > 1)
    }
}

/// Every batch that a fact names, in whatever way.
pub fn named(fact: &Fact) -> Vec<BatchRef> {
    let of = |lines: &[lotline_domain::fact::Line]| lines.iter().map(|line| line.batch.clone()).collect::<Vec<_>>();
    match fact {
        Fact::Received { lines, .. }
        | Fact::Moved { lines, .. }
        | Fact::Packed { lines, .. }
        | Fact::Unpacked { lines, .. }
        | Fact::Shipped { lines, .. }
        | Fact::Delivered { lines, .. }
        | Fact::Returned { lines, .. }
        | Fact::Seen { lines, .. }
        | Fact::Counted { lines, .. }
        | Fact::Disposed { lines, .. }
        | Fact::VesselFilled { lines, .. } => of(lines),
        Fact::Produced(report) => {
            let mut all: Vec<BatchRef> = report.inputs.iter().filter_map(|input| input.batch.clone()).collect();
            all.extend(report.outputs.iter().map(|output| output.batch.clone()));
            all.extend(report.mapping.iter().flat_map(|(input, output)| [input.clone(), output.clone()]));
            all
        }
        Fact::Held { target: HoldTarget::Batch(batch) | HoldTarget::Slice(batch, _), .. }
        | Fact::Released { target: ReleaseTarget::Batch(batch), .. }
        | Fact::Adjusted { batch, .. }
        | Fact::Labelled { batch, .. } => vec![batch.clone()],
        Fact::VesselDrawn { batch, .. } => batch.iter().cloned().collect(),
        Fact::FactorDefined { scope: FactorScope::Batch(id), .. } => vec![BatchRef::Known(id.clone())],
        Fact::Noted { batches, .. } => batches.clone(),
        _ => Vec::new(),
    }
}
