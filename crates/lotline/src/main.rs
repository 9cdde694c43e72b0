//! The lotline command line.
fn main() {}
