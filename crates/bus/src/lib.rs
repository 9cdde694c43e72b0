//! The bus room.
