//! Plants for property tests. A failing plant shrinks by leaving events out, many at a time first, then
//! one by one; what is left keeps its order and its content.

use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::{Knobs, Plant, plant_with};

/// Plants with everything that the rules speak of.
pub fn plants() -> Plants {
    plants_with(Knobs::WILD)
}

/// Plants with what `knobs` allows.
pub fn plants_with(knobs: Knobs) -> Plants {
    Plants { knobs }
}

/// The strategy behind [`plants`].
#[derive(Debug, Clone, Copy)]
pub struct Plants {
    knobs: Knobs,
}

impl Strategy for Plants {
    type Tree = PlantTree;
    type Value = Plant;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        use proptest::prelude::RngExt;
        let plant = plant_with(runner.rng().random(), self.knobs);
        let chunk = plant.commands.len().div_ceil(2).max(1);
        Ok(PlantTree { plant, chunk, next: 0, before: None, removed_any: false })
    }
}

/// A plant that can lose events.
#[derive(Debug, Clone)]
pub struct PlantTree {
    plant: Plant,
    /// How many are left out at a time.
    chunk: usize,
    /// Where the next ones to be left out begin.
    next: usize,
    /// The plant before the last removal.
    before: Option<Plant>,
    /// Something was left out for good since `next` was 0.
    removed_any: bool,
}

impl ValueTree for PlantTree {
    type Value = Plant;

    fn current(&self) -> Plant {
        self.plant.clone()
    }

    fn simplify(&mut self) -> bool {
        if self.before.take().is_some() {
            self.removed_any = true;
        }
        loop {
            if self.next < self.plant.commands.len() {
                self.before = Some(self.plant.clone());
                let end = (self.next + self.chunk).min(self.plant.commands.len());
                self.plant.commands.drain(self.next..end);
                return true;
            }
            if self.chunk == 1 && !self.removed_any {
                return false;
            }
            self.chunk = if self.chunk == 1 { 1 } else { self.chunk.div_ceil(2) };
            self.next = 0;
            self.removed_any = false;
            if self.plant.commands.is_empty() {
                return false;
            }
        }
    }

    fn complicate(&mut self) -> bool {
        let Some(before) = self.before.take() else { return false };
        self.plant = before;
        self.next += self.chunk;
        true
    }
}
