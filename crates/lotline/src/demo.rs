//! `demo`: a simulated dairy is recorded, and then everything that can be asked is asked about it.
//!
//! Nothing that is told is written here: the dairy invents what happened, the ledger keeps it, and every
//! number comes out of an answer.

mod record;
mod story;

use std::path::{Path, PathBuf};

use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::print::finished;

/// `demo`.
///
/// # Errors
/// Where the folder is in use already, or a file cannot be written.
pub fn demo(asked: &args::Demo) -> Result<Exit, Failure> {
    let dir = new_folder(asked.dir.as_deref())?;
    let folder = Folder::new(&dir);
    let recorded = record::record(&folder, asked.seed, asked.days)?;
    let text = story::tell(&folder, &recorded)?;
    finished(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()))?;
    Ok(Exit::Done)
}

/// A folder of one's own: the demo never writes into somebody's data.
fn new_folder(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    match asked {
        Some(dir) => {
            let used = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
            if used {
                return Err(Failure::new(Exit::Usage, format!("{} is there already, and not empty", dir.display()))
                    .advice("name a new folder with --dir, or delete that one"));
            }
            std::fs::create_dir_all(dir).map_err(|error| Failure::file("make the folder", dir, error))?;
            Ok(dir.to_owned())
        }
        None => {
            let made = tempfile::Builder::new().prefix("lotline-demo-").tempdir();
            let made = made.map_err(|error| Failure::file("make a folder in", &std::env::temp_dir(), error))?;
            Ok(made.keep())
        }
    }
}
