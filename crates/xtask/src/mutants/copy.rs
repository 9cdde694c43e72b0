//! The copy of the checkout that bugs are planted in.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::patch::Patch;
use crate::error::{Error, Result};
use crate::process;
use crate::workspace::Workspace;

pub struct Copy {
    original: Workspace,
    pub root: PathBuf,
    /// Shared by all planted bugs, so that each builds only what it changes.
    pub target: PathBuf,
}

impl Copy {
    pub fn new(workspace: &Workspace) -> Result<Self> {
        let root = workspace.target.join("planted").join("checkout");
        std::fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        let root = root.canonicalize().map_err(Error::file("find", &root))?;
        Ok(Self { original: workspace.clone(), root, target: workspace.target.join("planted-target") })
    }

    /// Where the tests find what stands beside the checkout, which does not stand beside the copy.
    pub fn data(&self) -> Option<PathBuf> {
        let data = self.original.root.parent()?.join("shared").join("data");
        data.is_dir().then_some(data)
    }

    /// Makes the copy equal to the checkout again. What is equal is not written, so that cargo does
    /// not build it again.
    pub fn sync(&self) -> Result<()> {
        let files: HashSet<PathBuf> = self.original.files()?.into_iter().map(PathBuf::from).collect();
        for file in &files {
            let (from, to) = (self.original.root.join(file), self.root.join(file));
            let content = std::fs::read(&from).map_err(Error::file("read", &from))?;
            if std::fs::read(&to).is_ok_and(|there| there == content) {
                continue;
            }
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
            }
            std::fs::write(&to, content).map_err(Error::file("write", &to))?;
        }
        self.remove_others(&self.root, &files)
    }

    /// Removes what the checkout does not have; a lock file that cargo made is kept.
    fn remove_others(&self, folder: &Path, files: &HashSet<PathBuf>) -> Result<()> {
        let entries = std::fs::read_dir(folder).map_err(Error::file("list", folder))?;
        for entry in entries {
            let path = entry.map_err(Error::file("list", folder))?.path();
            let relative = path.strip_prefix(&self.root).unwrap_or(&path);
            if path.is_dir() {
                self.remove_others(&path, files)?;
            } else if !files.contains(relative) && relative != Path::new("Cargo.lock") {
                std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Applies the patch; false where it does not fit.
    pub fn apply(&self, patch: &Patch) -> Result<bool> {
        let mut git = Command::new("git");
        git.args(["apply", "--whitespace=nowarn", "-"])
            .current_dir(&self.root)
            // Or git would take the copy for a part of the checkout that it lies in, and skip its files.
            .env("GIT_CEILING_DIRECTORIES", self.root.parent().unwrap_or(&self.root))
            .stdin(Stdio::piped());
        let mut child = git.spawn().map_err(|source| process::start_error(&git, source))?;
        if let Some(mut stdin) = child.stdin.take() {
            // Git may stop reading at the first misfit: its exit code tells.
            let _ = stdin.write_all(patch.text.as_bytes());
        }
        let status = child.wait().map_err(|source| process::start_error(&git, source))?;
        Ok(status.success())
    }
}
