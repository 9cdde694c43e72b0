//! Measurements, beside their peers in the same run.
