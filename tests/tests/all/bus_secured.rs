//! A server with the very permissions that `deploy/nats/secured.conf` has, with keys and certificates of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as TlsKey};
use tempfile::TempDir;

use super::bus_intake::ledger;
use super::bus_server::Server;
use super::bus_wire::Wire;
use super::cli_binary::{batch, feed, received};

/// The roles, as the configuration names their keys.
pub const ROLES: [&str; 6] = ["source_erp", "handler", "projector", "analyst", "administrator", "system"];

/// A ledger, and a server that lets each role do its work.
pub struct Secured {
    folder: TempDir,
    /// The server.
    pub server: Server,
    /// The ledger's id.
    pub ledger: String,
    seeds: BTreeMap<&'static str, String>,
}

/// A certificate authority, and certificates that it has signed; each with its key, as PEM.
pub struct Issued {
    /// What has to be trusted.
    pub ca: String,
    /// Certificate and key of the server.
    pub server: (String, String),
    /// Certificate and key of a client.
    pub client: (String, String),
}

/// Makes certificates for this machine.
pub fn issue() -> Issued {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, TlsKey::generate().expect("a key")).expect("a CA");
    let signed = || {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = TlsKey::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        (params.signed_by(&key, &ca).expect("signed").pem(), key.serialize_pem())
    };
    Issued { ca: ca.pem(), server: signed(), client: signed() }
}

/// Writes a file that its owner alone may read.
pub fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its owner's alone");
    }
}

impl Secured {
    /// Starts it, with one batch of milk in the ledger; `None` where there is no server to start.
    pub fn start() -> Option<Self> {
        Self::start_changed(|config, _| config)
    }

    /// The same, with another configuration made of the delivered one; the second argument is the folder of its files.
    pub fn start_changed(change: impl FnOnce(String, &Path) -> String) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let said = feed(path, &["submit", "--dir", "plant"], &received("r1", &batch("milk", "M1"), "100"));
        assert_eq!(said.code, 0, "{said:?}");
        let ledger = ledger(path);

        let issued = issue();
        fs::write(path.join("ca.crt"), &issued.ca).expect("written");
        fs::write(path.join("server.crt"), &issued.server.0).expect("written");
        fs::write(path.join("client.crt"), &issued.client.0).expect("written");
        write_secret(&path.join("server.key"), &issued.server.1);
        write_secret(&path.join("client.key"), &issued.client.1);
        let mut lines = format!(
            "tls_certificate: \"{}\"\ntls_key: \"{}\"\n",
            path.join("server.crt").display(),
            path.join("server.key").display()
        );
        let mut seeds = BTreeMap::new();
        for role in ROLES {
            let key = KeyPair::new_user();
            let seed = key.seed().expect("a seed");
            write_secret(&path.join(format!("{role}.nk")), &format!("# {role}\n{seed}\n"));
            lines.push_str(&format!("{role}: {}\n", key.public_key()));
            seeds.insert(role, seed);
        }
        fs::write(path.join("keys.conf"), lines).expect("written");
        let config = fs::read_to_string(delivered()).expect("the configuration").replace("LEDGER", &ledger);
        fs::write(path.join("secured.conf"), change(config, path)).expect("written");
        let server = Server::start_with(&path.join("secured.conf"))?;
        Some(Self { server, ledger, seeds, folder })
    }

    /// The folder with the data folder `plant` in it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The address, for who speaks TLS.
    pub fn url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.server.port())
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }

    /// What a command line needs to connect in a role.
    pub fn access(&self, role: &str) -> Vec<String> {
        let [ca, key] = ["ca.crt".to_owned(), format!("{role}.nk")].map(|name| self.file(&name));
        let inbox = format!("_INBOX.{}", role.trim_start_matches("source_"));
        let arguments = ["--nats", &self.url(), "--nats-ca", &ca, "--nats-nkey", &key, "--nats-inbox-prefix", &inbox];
        arguments.map(str::to_owned).to_vec()
    }

    /// A connection in a role, in the server's own protocol.
    pub fn wire(&self, role: &str) -> Wire {
        let ca = fs::read_to_string(self.path().join("ca.crt")).expect("the CA");
        let inbox = format!("_INBOX.{}", role.trim_start_matches("source_"));
        Wire::connect_as(self.server.port(), &ca, &self.seeds[role], &inbox)
    }
}

/// The configuration that is delivered.
pub fn delivered() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/secured.conf")
}
