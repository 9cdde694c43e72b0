//! Settlements of the latest commit, kept for as long as nothing that they follow from changes and while
//! there is room for them.

/// Kept settlements.
#[derive(Debug, Default)]
pub(crate) struct Settlements {}
use std::sync::Arc;
use lotline_domain::book::{BatchIx, Bounds};
use lotline_domain::settle::Settlement;
impl crate::question::Borrow for crate::model::ReadModel {
    fn borrowed(&self, _batch: BatchIx, _bounds: Bounds) -> Option<Arc<Settlement>> {
        None
    }
}
