//! The testkit room.

pub mod generate;
