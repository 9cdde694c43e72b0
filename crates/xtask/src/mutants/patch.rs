//! The header of a planted bug.

use std::fmt;

/// It has nothing but the laws, and is built in seconds.
const DEFAULT_PACKAGE: &str = "lotline-planted";

/// A planted bug: what it is, what must catch it, and the diff.
#[derive(Debug, Clone)]
pub struct Patch {
    /// File name without its ending.
    pub name: String,
    /// What is wrong once it is applied, in a sentence.
    pub planted: String,
    pub law: Law,
    /// The whole file; what stands before the diff does not disturb it.
    pub text: String,
}

/// Tests, by package and part of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Law {
    pub package: String,
    pub filter: String,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.filter, self.package)
    }
}

impl Patch {
    /// The error says what the file lacks.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let header = || text.lines().take_while(|line| !line.starts_with("--- ") && !line.starts_with("diff "));
        let field = |key: &str| {
            header()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let need = |key: &str| field(key).ok_or_else(|| format!("has no line `{key}: …` before its diff"));
        let patch = Self {
            name: name.to_owned(),
            planted: need("planted")?,
            law: Law {
                package: field("package").unwrap_or_else(|| DEFAULT_PACKAGE.to_owned()),
                filter: need("caught-by")?,
            },
            text: text.to_owned(),
        };
        if header().count() == text.lines().count() {
            return Err("has no diff".to_owned());
        }
        Ok(patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_bug_law_and_package() {
        let text = "planted: ties by position\ncaught-by: law_3\n--- a/x\n+++ b/x\n";
        let patch = Patch::parse("ties", text).expect("whole");
        assert_eq!(patch.planted, "ties by position");
        assert_eq!(patch.law.to_string(), "law_3 in lotline-planted");
        let other = text.replace("caught-by", "package: lotline-ledger\ncaught-by");
        let patch = Patch::parse("ties", &other).expect("whole");
        assert_eq!(patch.law.package, "lotline-ledger");
    }

    #[test]
    fn a_header_without_its_lines_is_refused() {
        for (text, lacks) in [
            ("caught-by: law_3\n--- a/x\n", "planted"),
            ("planted: x\n--- a/x\ncaught-by: law_3\n", "caught-by"),
            ("planted: x\ncaught-by: \n--- a/x\n", "caught-by"),
            ("planted: x\ncaught-by: law_3\n", "diff"),
        ] {
            let message = Patch::parse("x", text).expect_err(text);
            assert!(message.contains(lacks), "{message}");
        }
    }
}
