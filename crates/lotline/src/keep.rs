//! The commands that look after a folder: `verify` and `rebuild`.

use std::io::Write;

use indicatif::ProgressBar;
use lotline_ledger::{DamageKind, OpenError, VerifyOptions, verify as verify_ledger};
use lotline_projections::{LedgerId, ReadModel, ReadModelKind};
use lotline_wire::answer::{Damage, Verified};

use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::{Folder, catch_up};
use crate::print::{self, finished};
use crate::progress;

/// What re-reading a ledger found; damage is an answer, too.
///
/// # Errors
/// Where there is no ledger, a newer program wrote it, or the disk fails.
pub fn verified(folder: &Folder) -> Result<(Verified, Vec<String>), Failure> {
    let mut bar: Option<ProgressBar> = None;
    let mut last = None;
    let result = verify_ledger(&Folder::storage(), folder.ledger(), VerifyOptions::default(), |progress| {
        last = Some(progress.head);
        bar.get_or_insert_with(|| progress::bar(progress.total_bytes, "verifying")).set_position(progress.bytes);
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    match result {
        Ok(proven) => {
            let mut notes = Vec::new();
            if proven.beside_writer {
                notes.push("a writer is at work: what follows the acknowledged head was left out".to_owned());
            }
            if proven.beyond_head > 0 {
                notes.push(format!("{} complete commits follow the one that the head file names", proven.beyond_head));
            }
            for index in &proven.missing_indexes {
                notes
                    .push(format!("{} is missing; it is rebuilt when the folder is opened to record", index.display()));
            }
            if !proven.keyring && proven.head.commit.get() > 0 {
                notes.push("there is no keyring: nothing that was sealed can be read".to_owned());
            }
            let answer = Verified {
                ledger: proven.head.ledger.to_string(),
                intact: true,
                commits: proven.head.commit.get(),
                events: proven.head.next_position.get(),
                commit_hash: proven.head.hash.to_string(),
                root: Some(proven.root.to_string()),
                damage: Vec::new(),
            };
            Ok((answer, notes))
        }
        Err(OpenError::Damaged(damage)) => {
            let file = damage.file.strip_prefix(folder.ledger()).unwrap_or(&damage.file);
            let advice = match damage.kind.is_mended_by_a_writer() {
                true if damage.kind == DamageKind::Index => {
                    "nothing that was recorded is lost: remove the file, and what records next in the folder makes it anew"
                }
                true => "nothing that was recorded is lost: what records next in the folder makes it anew",
                false => "restore the folder from a copy, or keep it as evidence",
            };
            let told = Damage {
                file: file.display().to_string(),
                offset: Some(damage.offset),
                commit: damage.commit.map(|commit| commit.get()),
                position: damage.position.map(|position| position.get()),
                message: format!("{}; {advice}", damage.kind),
            };
            let answer = Verified {
                ledger: last.map(|head| head.ledger.to_string()).unwrap_or_default(),
                intact: false,
                commits: last.map_or(0, |head| head.commit.get()),
                events: last.map_or(0, |head| head.next_position.get()),
                commit_hash: last.map(|head| head.hash.to_string()).unwrap_or_default(),
                root: None,
                damage: vec![told],
            };
            Ok((answer, vec![format!("{damage}; {advice}")]))
        }
        Err(error) => Err(error.into()),
    }
}

/// `verify`.
///
/// # Errors
/// As [`verified`].
pub fn verify(asked: &args::Verify) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let (answer, notes) = verified(&folder)?;
    let form = args::Form { json: asked.json, csv: false };
    let told = words(&answer, &notes);
    print::answer(&form, &answer, &[], &told)?;
    Ok(if answer.intact { Exit::Done } else { Exit::Damage })
}

/// A verification in words.
pub fn words(answer: &Verified, notes: &[String]) -> String {
    let mut lines = Vec::new();
    if answer.intact {
        lines.push(format!(
            "The ledger {} is whole: {} commits with {} events, each byte read, each hash computed, the chain closed.",
            answer.ledger, answer.commits, answer.events
        ));
        lines.push(format!("Hash of the last commit: {}", answer.commit_hash));
        lines.extend(answer.root.iter().map(|root| format!("Root of the tree:        {root}")));
    } else {
        lines.push(format!(
            "The ledger is DAMAGED. Before the damage {} commits with {} events were proven.",
            answer.commits, answer.events
        ));
    }
    lines.extend(notes.iter().map(|note| format!("Note: {note}")));
    lines.join("\n")
}

/// `rebuild`.
///
/// # Errors
/// Where a read model is in use, or a file cannot be read or written.
pub fn rebuild(asked: &args::Rebuild) -> Result<Exit, Failure> {
    let folder = Folder::new(&asked.folder.dir);
    let reader = folder.reader()?;
    let ledger = LedgerId(*reader.ledger().as_bytes());
    let mut models: Vec<ReadModel> = ReadModelKind::ALL
        .into_iter()
        .map(|kind| {
            let mut model = ReadModel::open(&folder.model(kind), kind, ledger)?;
            model.begin_anew()?;
            Ok(model)
        })
        .collect::<Result<_, Failure>>()?;
    catch_up(&mut models, &reader)?;
    for model in &mut models {
        model.save()?;
    }
    let mut out = std::io::stdout().lock();
    let written = models.iter().try_for_each(|model| {
        let (kind, commit) = (model.kind().word(), model.cursor().number.0);
        writeln!(out, "{kind:<10} as of commit {commit}, digest {}", model.digest())
    });
    finished(written)?;
    Ok(Exit::Done)
}
