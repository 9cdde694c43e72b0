//! Every stored or sent form, by version.
pub mod command;
pub mod content;
pub mod key;
mod names;
pub mod payload;
pub mod seal;
