//! The gs1 room.
