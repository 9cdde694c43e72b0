//! Integration tests over all rooms live in `tests/all`.
