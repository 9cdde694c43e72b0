//! One integration-test binary; one module per subject.
