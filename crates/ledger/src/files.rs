//! Names of the files in a ledger folder.

use std::path::{Path, PathBuf};

use crate::ids::CommitNumber;

pub(crate) const HEAD: &str = "head";
pub(crate) const LOCK: &str = "lock";
pub(crate) const KEYRING: &str = "keyring";
pub(crate) const TEMPORARY: &str = ".tmp";

pub(crate) fn segment(dir: &Path, first: CommitNumber) -> PathBuf {
    dir.join(format!("segment-{:020}.ledger", first.get()))
}

pub(crate) fn index(dir: &Path, first: CommitNumber) -> PathBuf {
    dir.join(format!("segment-{:020}.index", first.get()))
}

pub(crate) fn cut(dir: &Path, commit: CommitNumber, offset: u64, number: u32) -> PathBuf {
    dir.join(format!("cut-{:020}-{offset:010}-{number}.bytes", commit.get()))
}

pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    name.into()
}

/// First commits of the segments among these names, ascending.
pub(crate) fn segments(names: &[String]) -> Vec<CommitNumber> {
    let mut found: Vec<CommitNumber> = names
        .iter()
        .filter_map(|name| name.strip_prefix("segment-")?.strip_suffix(".ledger"))
        .filter(|digits| digits.len() == 20)
        .filter_map(|digits| digits.parse().ok())
        .map(CommitNumber::new)
        .collect();
    found.sort_unstable();
    found
}
