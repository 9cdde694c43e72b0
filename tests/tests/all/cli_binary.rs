//! The built command line, for the tests that run it.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output};
use std::sync::OnceLock;

use assert_cmd::Command;
use serde_json::Value;

/// The binary that stands beside this test's own: the same profile, the same build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let own = std::env::current_exe().expect("a test knows where it is");
        let folder = own.ancestors().nth(2).expect("tests are built into target/PROFILE/deps");
        let binary = folder.join(format!("lotline{}", std::env::consts::EXE_SUFFIX));
        // Tests of the whole workspace build it, too. For this package's alone it is made here, or made anew:
        // with other features of what it depends on, so that it takes as long as a first build.
        let of_this_build = ["LOTLINE_BINARY_IS_BUILT", "NEXTEST"].iter().any(|name| std::env::var_os(name).is_some());
        if !(binary.is_file() && of_this_build) {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Process::new(cargo);
            build.args(["build", "--quiet", "--package", "lotline", "--bin", "lotline", "--profile", "test"]);
            build.arg("--target-dir").arg(folder.parent().expect("a profile's folder is in the target folder"));
            let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
            assert!(built.success(), "the command line does not build");
        }
        binary
    })
}

/// The command line, in a folder.
pub fn lotline(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(folder).args(arguments);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

/// What the command line reads from the environment: a test says itself what is in it.
pub const VARIABLES: [&str; 8] =
    ["NATS_URL", "NATS_CREDS", "NATS_NKEY", "NATS_CA", "NATS_CERT", "NATS_KEY", "NATS_INBOX_PREFIX", "LOTLINE_METRICS"];

/// What a run said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("answers are UTF-8"),
            err: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        }
    }
}

impl Said {
    /// The standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The standard output as JSON Lines.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// Runs it to its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Said {
    lotline(folder, arguments).output().expect("it runs").into()
}

/// The same with something on its standard input.
pub fn feed(folder: &Path, arguments: &[&str], input: &str) -> Said {
    lotline(folder, arguments).write_stdin(input).output().expect("it runs").into()
}

/// Runs a line of a shell in a folder; `$LOTLINE` is the binary.
#[cfg(unix)]
pub fn shell(folder: &Path, line: &str) -> Said {
    let mut shell = Process::new("sh");
    shell.args(["-c", line]).current_dir(folder).env("LOTLINE", binary());
    shell.output().expect("a shell runs").into()
}

/// A received batch, as a line for `submit`.
pub fn received(id: &str, batch: &str, kilograms: &str) -> String {
    format!(
        r#"{{"type":"received","id":"{id}","source":"erp","occurred_at":"2026-03-01T08:00:00+01:00","lines":[{{"batch":{batch},"quantity":{{"value":"{kilograms}","unit":"KGM"}}}}],"from":"farm","to":"dock"}}"#
    )
}

/// An intent to ship some of a batch, as a line for `submit`.
pub fn ship(id: &str, batch: &str, kilograms: &str) -> String {
    format!(
        r#"{{"type":"shipped","id":"{id}","mode":"intent","source":"erp","occurred_at":"2026-03-02T08:00:00+01:00","shipment":"S-{id}","to":"party:shop","lines":[{{"batch":{batch},"quantity":{{"value":"{kilograms}","unit":"KGM"}},"from":"dock"}}]}}"#
    )
}

/// A batch named in full.
pub fn batch(item: &str, code: &str) -> String {
    format!(r#"{{"item":"{item}","code":"{code}"}}"#)
}

/// How many events the ledger of the default folder has; it has to be whole.
#[track_caller]
pub fn verified_events(folder: &Path) -> u64 {
    let said = run(folder, &["verify", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let answer = said.json();
    assert_eq!(answer["intact"], Value::Bool(true), "{answer}");
    answer["events"].as_u64().expect("a count")
}
