//! One integration-test binary; one module per subject.

mod naive_generators;
mod ledger_basics;
