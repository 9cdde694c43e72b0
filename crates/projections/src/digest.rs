//! Digest.
