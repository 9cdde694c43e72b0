//! `cargo xtask tidy`: rules of the house that no compiler checks.
//!
//! Every rule is a function from the checkout's text to findings, so each is tested on small invented
//! checkouts; none reads a file or runs a program by itself.

mod absence;
mod assertions;
mod manifest;
mod rooms;
mod source;
mod text;

use std::fmt;

use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// Checks the checkout and prints each finding with its place and what to do.
pub fn run(workspace: &Workspace) -> Result<()> {
    let tree = Tree::read(workspace)?;
    let findings = findings(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing found", tree.files.len());
        return Ok(());
    }
    Err(Error::Findings(format!("tidy: {} findings", findings.len())))
}

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1; 1 also where the finding is about the whole file.
    line: usize,
    rule: &'static str,
    /// What is there, and what to do.
    advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, advice } = self;
        write!(f, "{path}:{line}: [{rule}] {advice}")
    }
}

/// The text files of a checkout.
struct Tree {
    files: Vec<File>,
    /// The folder that the checkout stands in, which no tracked file may name.
    parent: Option<String>,
}

struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Tree {
    fn read(workspace: &Workspace) -> Result<Self> {
        let mut files = Vec::new();
        for path in workspace.files()? {
            if let Some(text) = workspace.text(&path)? {
                files.push(File { path, text });
            }
        }
        let parent = workspace.root.parent().and_then(|parent| parent.to_str());
        Ok(Self { files, parent: parent.map(str::to_owned) })
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(rooms::check(tree));
    findings.extend(source::check(tree));
    findings.extend(text::check(tree));
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules broken by an invented checkout of these files, each once, in order of place.
    pub fn rules(files: &[(&str, &str)]) -> Vec<(String, usize, &'static str)> {
        let tree = Tree {
            files: files
                .iter()
                .map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() })
                .collect(),
            parent: Some("/build/here".to_owned()),
        };
        findings(&tree)
            .into_iter()
            .filter(|finding| finding.rule != text::README)
            .map(|finding| (finding.path, finding.line, finding.rule))
            .collect()
    }

    /// Asserts that one file breaks exactly this rule, at these lines, and no other.
    pub fn breaks(rule: &str, path: &str, text: &str, lines: &[usize]) {
        let found = rules(&[(path, text)]);
        let expected: Vec<_> = lines.iter().map(|line| (path.to_owned(), *line, rule)).collect();
        let found: Vec<_> = found.iter().map(|(path, line, rule)| (path.clone(), *line, *rule)).collect();
        assert_eq!(found, expected, "{path}:\n{text}");
    }

    /// Asserts that one file breaks no rule.
    pub fn passes(path: &str, text: &str) {
        breaks("", path, text, &[]);
    }

    #[test]
    fn a_finding_names_place_rule_and_advice() {
        let finding = Finding {
            path: "crates/domain/src/lib.rs".to_owned(),
            line: 3,
            rule: "float",
            advice: "use an exact type".to_owned(),
        };
        assert_eq!(finding.to_string(), "crates/domain/src/lib.rs:3: [float] use an exact type");
    }
}
