//! Files that tell a server who one is, and whom to trust: looked at before the server is asked, so that a wrong file
//! is told as that.

use std::io;
use std::path::{Path, PathBuf};

use nkeys::{KeyPair, KeyPairType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A file that will not do; name another one, or mend it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or this user may not read it.
    #[error("the {what} {} cannot be read", path.display())]
    Unreadable {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("the {what} {} is none: {why}", path.display())]
    Unfit {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is a secret, and others may read or change it.
    #[error("the {what} {} has mode {mode:04o}: every user of this machine may read it, or others may change it", path.display())]
    TooOpen {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

const CREDENTIALS: &str = "credentials file";
const SEED: &str = "nkey file";
const ROOTS: &str = "CA file";
const CERTIFICATE: &str = "client certificate";
const KEY: &str = "key of the client certificate";

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Unreadable { what, path: path.to_owned(), source })
}

/// Reads a file that nobody else should.
fn secret(what: &'static str, path: &Path) -> Result<String, FileError> {
    let bytes = read(what, path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let told = std::fs::metadata(path);
        let told = told.map_err(|source| FileError::Unreadable { what, path: path.to_owned(), source })?;
        let mode = told.permissions().mode() & 0o777;
        // A group may read it: that is how secrets are handed to services.
        if mode & 0o027 != 0 {
            return Err(FileError::TooOpen { what, path: path.to_owned(), mode });
        }
    }
    String::from_utf8(bytes).map_err(|_| unfit(what, path, "it is no text"))
}

fn unfit(what: &'static str, path: &Path, why: impl Into<String>) -> FileError {
    FileError::Unfit { what, path: path.to_owned(), why: why.into() }
}

fn of_user(what: &'static str, path: &Path, seed: &str) -> Result<(), FileError> {
    let key = KeyPair::from_seed(seed).map_err(|error| unfit(what, path, format!("its seed is none: {error}")))?;
    match key.key_pair_type() {
        KeyPairType::User => Ok(()),
        _ => Err(unfit(what, path, "its seed is not that of a user, which begins with SU")),
    }
}

/// JWT and seed of a user, as `nsc generate creds` writes them.
///
/// # Errors
/// [`FileError`].
pub(crate) fn credentials(path: &Path) -> Result<String, FileError> {
    let text = secret(CREDENTIALS, path)?;
    let block = |name: &str| {
        let mut lines = text.lines().skip_while(|line| !line.contains(&format!("BEGIN {name}")));
        lines.nth(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('-')).map(str::to_owned)
    };
    if block("NATS USER JWT").is_none() {
        return Err(unfit(CREDENTIALS, path, "it has no block \"BEGIN NATS USER JWT\""));
    }
    match block("USER NKEY SEED") {
        Some(seed) => of_user(CREDENTIALS, path, &seed)?,
        None => return Err(unfit(CREDENTIALS, path, "it has no block \"BEGIN USER NKEY SEED\"")),
    }
    Ok(text)
}

/// The seed of a user: the first line that is neither empty nor a comment.
///
/// # Errors
/// [`FileError`].
pub(crate) fn seed(path: &Path) -> Result<String, FileError> {
    let text = secret(SEED, path)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seed = lines.next().ok_or_else(|| unfit(SEED, path, "it is empty"))?;
    of_user(SEED, path, seed)?;
    Ok(seed.to_owned())
}

/// Certificates to trust.
///
/// # Errors
/// [`FileError`].
pub(crate) fn roots(path: &Path) -> Result<(), FileError> {
    certificates(ROOTS, path)
}

/// A certificate and its key.
///
/// # Errors
/// [`FileError`].
pub(crate) fn client(certificate: &Path, key: &Path) -> Result<(), FileError> {
    certificates(CERTIFICATE, certificate)?;
    let text = secret(KEY, key)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| unfit(KEY, key, format!("it has no private key in PEM form: {error}")))?;
    Ok(())
}

fn certificates(what: &'static str, path: &Path) -> Result<(), FileError> {
    let bytes = read(what, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if all.is_empty() => Err(unfit(what, path, "it has no certificate in PEM form")),
        Ok(_) => Ok(()),
        Err(error) => Err(unfit(what, path, format!("it is no PEM: {error}"))),
    }
}
