//! The testkit room.

pub mod disk;
pub mod generate;
pub mod naive;
pub mod scenario;
