//! The projections room.
