//! `cargo xtask schemas`: the generated files of `schemas/`.
//!
//! Their content comes from the stored and sent forms themselves; committed, so that a change of a
//! form is seen as a change of its schema.

use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// Path below `schemas/` and content of every generated file.
fn generated() -> Vec<(String, String)> {
    Vec::new()
}

/// Writes every generated file whose content differs.
pub fn write(workspace: &Workspace) -> Result<()> {
    for (path, content) in stale(workspace, generated())? {
        let file = workspace.root.join("schemas").join(&path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        }
        std::fs::write(&file, content).map_err(Error::file("write", &file))?;
        println!("wrote schemas/{path}");
    }
    Ok(())
}

/// Fails where a committed file is not what would be written now.
pub fn check(workspace: &Workspace) -> Result<()> {
    let generated = generated();
    let count = generated.len();
    let stale = stale(workspace, generated)?;
    for (path, _) in &stale {
        println!("schemas/{path}: not what the stored forms say; run `cargo xtask schemas`");
    }
    if stale.is_empty() {
        println!("{count} generated files are up to date");
        return Ok(());
    }
    Err(Error::Findings(format!("{} of {count} generated files are stale", stale.len())))
}

/// Those of the generated files that are missing or differ.
fn stale(workspace: &Workspace, generated: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    let mut stale = Vec::new();
    for (path, content) in generated {
        let file = workspace.root.join("schemas").join(&path);
        match std::fs::read(&file) {
            Ok(there) if there == content.as_bytes() => {}
            Ok(_) => stale.push((path, content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                stale.push((path, content));
            }
            Err(error) => return Err(Error::file("read", file)(error)),
        }
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_changed_files_are_stale_and_equal_ones_are_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = Workspace { root: folder.path().to_owned(), target: folder.path().join("target") };
        let schemas = folder.path().join("schemas");
        std::fs::create_dir(&schemas).expect("a folder");
        std::fs::write(schemas.join("same.json"), "{}\n").expect("a file");
        std::fs::write(schemas.join("changed.json"), "[]\n").expect("a file");
        let generated = ["same.json", "changed.json", "deep/missing.json"]
            .map(|path| (path.to_owned(), "{}\n".to_owned()))
            .to_vec();
        let stale = stale(&workspace, generated).expect("readable");
        let paths: Vec<&str> = stale.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["changed.json", "deep/missing.json"]);
    }
}
