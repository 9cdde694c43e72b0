//! Batches, quantities, places, facts, effects and commands; decides and evolves.
//!
//! This room never does I/O, never reads a clock, draws no randomness, knows no bytes: time and ids
//! come in as arguments. Its types are not serialisable; `wire` owns every stored or sent form.

pub mod book;
pub mod command;
pub mod decide;
pub mod effect;
pub mod expiry;
pub mod fact;
pub mod id;
pub mod quantity;
pub mod settle;
pub mod time;
pub mod told;
pub mod unit;
