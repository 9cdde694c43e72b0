//! The testkit room.

pub mod disk;
pub mod generate;
pub mod naive;
pub mod property;
pub mod scenario;
