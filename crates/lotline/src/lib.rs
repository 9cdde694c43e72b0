//! Composition of the services, and the simulated dairy.

pub mod dairy;
