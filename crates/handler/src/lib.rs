//! The handler room.
