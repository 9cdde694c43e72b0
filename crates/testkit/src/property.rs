//! How many cases a property is tried with, and which.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// The same cases in every run, so that what fails has been changed; the long battery (`LOTLINE_FULL`) draws others,
/// and more of them. What fails is shrunk and printed with its seed.
#[must_use]
pub fn cases(short: u32, long: u32) -> ProptestConfig {
    let config = ProptestConfig { max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("LOTLINE_FULL") {
        Some(_) => ProptestConfig { cases: long, ..config },
        None => ProptestConfig { cases: short, rng_seed: RngSeed::Fixed(7), ..config },
    }
}
