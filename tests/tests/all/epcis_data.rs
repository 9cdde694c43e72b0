//! Finding and taking apart the documents that the EPCIS tests read.

use std::path::{Path, PathBuf};

use lotline_domain::id::SourceId;
use lotline_epcis::{CaptureError, Captured, Mapped, Options, Outcome, parse};

/// The folder of documents that nobody here wrote; `None`, told on standard error, where it is not at hand.
pub fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("LOTLINE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    if folder.join("gdst").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is not there", folder.display());
    eprintln!("skipped: {} is not there", folder.display());
    None
}

/// All JSON documents of these folders, without schemas, in order of their names.
pub fn documents(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["gdst", "epcis-gs1", "epcis-932"].iter().map(|name| data.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".jsonld") || name == "events.json" {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn options() -> Options {
    Options::new(SourceId::parse("test").expect("a word is a name"))
}

pub fn capture(text: &str) -> Result<Captured, CaptureError> {
    parse(text.as_bytes(), &options())
}

/// The only event of a text, mapped.
#[track_caller]
pub fn mapped(text: &str) -> Mapped {
    let captured = capture(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(captured.events.len(), 1, "{text}");
    match captured.events.into_iter().next().expect("one event").outcome {
        Outcome::Mapped(mapped) => *mapped,
        other => panic!("{other:?}: {text}"),
    }
}

/// Why the only event of a text is refused.
#[track_caller]
pub fn refusal(text: &str) -> String {
    let captured = capture(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let refused: Vec<String> = captured.refused().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 1, "{refused:?}: {text}");
    refused.into_iter().next().expect("one refusal")
}
