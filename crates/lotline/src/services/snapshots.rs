//! Snapshots of a read model on the server: kept by one projector, for others to begin with.

use std::path::Path;
use std::time::{Duration, Instant};

use lotline_bus::{Bus, Snapshot, SnapshotError, Stop};
use lotline_ledger::{CommitHash, CommitNumber, LedgerId};
use lotline_projections::{LedgerId as ModelLedger, MODEL_VERSION, ReadModel, ReadModelKind};

use super::live::Live;
use crate::failure::{Exit, Failure};

const MOMENT: Duration = Duration::from_secs(1);
/// After trouble with the server a snapshot is not tried again for so long.
const AGAIN: Duration = Duration::from_secs(30);

/// The read model of a folder; where it has none yet, and there is a snapshot to begin with, that.
///
/// # Errors
/// Where the folder cannot be used, or the server refuses.
pub fn begun(
    bus: &Bus,
    ledger: LedgerId,
    kind: ReadModelKind,
    folder: &Path,
    from_snapshot: bool,
) -> Result<ReadModel, Failure> {
    let of = ModelLedger(*ledger.as_bytes());
    let model = ReadModel::open_own(folder, kind, of)?;
    if !from_snapshot || model.cursor().number.0 > 0 {
        return Ok(model);
    }
    let word = kind.word();
    let from_the_first = |why: &str| eprintln!("note: {why}; the {word} model begins at the first commit");
    // Another one may be put in its place while it is read.
    let found = match bus.snapshot(ledger, word) {
        Err(SnapshotError::Unsound { .. }) => bus.snapshot(ledger, word),
        other => other,
    };
    let snapshot = match found {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => {
            from_the_first("the server has no snapshot of it");
            return Ok(model);
        }
        Err(error @ SnapshotError::Unsound { .. }) => {
            from_the_first(&error.to_string());
            return Ok(model);
        }
        Err(SnapshotError::Server(trouble)) => return Err(super::troubled(trouble)),
    };
    let Snapshot { commit, hash, version, parts } = snapshot;
    if version != MODEL_VERSION {
        from_the_first(&format!("the snapshot as of commit {commit} is of version {version}, this is {MODEL_VERSION}"));
        return Ok(model);
    }
    drop(model);
    let model = ReadModel::begin_with(folder, kind, of, parts).map_err(|error| {
        Failure::new(Exit::Damage, error.to_string())
            .because(error)
            .advice("leave --from-snapshot out, or have another snapshot kept")
    })?;
    let cursor = model.cursor();
    let is_it = cursor.number.0 == commit.get() && cursor.hash.0 == *hash.as_bytes();
    match model.doubt() {
        Some(doubt) => from_the_first(&format!("the snapshot as of commit {commit} is no read model: {doubt}")),
        None if is_it => eprintln!("{word} of ledger {ledger}: begun with the snapshot as of commit {commit}"),
        None => {
            let mut model = model;
            model.begin_anew()?;
            from_the_first(&format!("the snapshot as of commit {commit} is as of commit {}", cursor.number.0));
            return Ok(model);
        }
    }
    Ok(model)
}

/// Keeps a snapshot whenever a read model has come so many commits further, until it is over.
pub fn keep_on(bus: &Bus, ledger: LedgerId, live: &Live, every: u64, over: &Stop) {
    let word = live.kind().word();
    let (mut seen, mut last, mut again) = (0, None, None::<Instant>);
    while !over.is_told() {
        seen = live.moved().beyond(seen, MOMENT);
        if again.is_some_and(|again| Instant::now() < again) || !bus.is_connected() {
            continue;
        }
        let kept = last.map_or_else(|| newest(bus, ledger, word), Ok).and_then(|kept| {
            last = Some(kept);
            if live.commit() >= kept.saturating_add(every) { keep(bus, ledger, live, word).map(Some) } else { Ok(None) }
        });
        match kept {
            Ok(kept) => last = kept.or(last),
            Err(failure) => {
                tracing::warn!(error = %failure, "no snapshot was kept; trying again");
                again = Some(Instant::now() + AGAIN);
            }
        }
    }
}

/// Keeps a snapshot of what a read model is now, unless the server has it.
///
/// # Errors
/// Where it cannot be saved, or the server does not take it.
pub fn keep_last(bus: &Bus, ledger: LedgerId, live: &Live) -> Result<(), Failure> {
    let word = live.kind().word();
    if newest(bus, ledger, word)? < live.commit() {
        keep(bus, ledger, live, word)?;
    }
    Ok(())
}

/// The commit of the snapshot that the server has; 0 for none that this version reads.
fn newest(bus: &Bus, ledger: LedgerId, word: &'static str) -> Result<u64, Failure> {
    let found = bus.snapshot_kept(ledger, word).map_err(super::troubled)?;
    Ok(found.filter(|kept| kept.version == MODEL_VERSION).map_or(0, |kept| kept.commit.get()))
}

fn keep(bus: &Bus, ledger: LedgerId, live: &Live, word: &'static str) -> Result<u64, Failure> {
    let Some(saved) = live.snapshot()? else { return Ok(0) };
    let commit = saved.cursor.number.0;
    let snapshot = Snapshot {
        commit: CommitNumber::new(commit),
        hash: CommitHash::new(saved.cursor.hash.0),
        version: MODEL_VERSION,
        parts: saved.parts,
    };
    let kept = bus.keep_snapshot(ledger, word, &snapshot).map_err(super::troubled)?;
    if kept {
        tracing::info!(commit, parts = snapshot.parts.len(), "a snapshot is kept");
    }
    Ok(commit)
}
