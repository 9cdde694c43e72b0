//! `cargo xtask mutants`: planted bugs, each of which a law must catch.
//!
//! A planted bug is a patch in `tests/planted`, applied to a copy of the checkout: nothing of it is
//! ever in the code. Before its diff, a patch says in header lines what it is and who must catch it:
//!
//! ```text
//! planted: position decides between facts of one instant
//! caught-by: order_of_arrival_does_not_matter
//! package: lotline-tests
//! --- a/crates/domain/src/order.rs
//! ```
//!
//! `caught-by` is a part of the names of the tests to run, `package` (if other than `lotline-planted`)
//! the package that they are in. A bug counts as caught only if the same tests pass without it, and it
//! compiles: a patch that no longer fits is a failure, not a catch.

mod copy;
mod laws;
mod patch;

use std::fmt;

use crate::error::{Error, Result};
use crate::workspace::Workspace;

use copy::Copy;
use laws::Verdict;
use patch::Patch;

const FOLDER: &str = "tests/planted/";

/// Plants every bug in turn, or those whose file name contains `name`, and prints what became of each.
pub fn run(workspace: &Workspace, name: Option<&str>) -> Result<()> {
    let patches = read(workspace, name)?;
    let outcomes = plant(workspace, &patches)?;
    let width = patches.iter().map(|patch| patch.name.len()).max();
    for (patch, outcome) in patches.iter().zip(&outcomes) {
        println!("{:width$}  {outcome}", patch.name, width = width.unwrap_or(0));
        println!("{:width$}  {}", "", patch.planted, width = width.unwrap_or(0));
    }
    let caught = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Caught { .. })).count();
    let missed = outcomes.len() - caught;
    println!("planted: {caught} passed, {missed} failed");
    if missed > 0 {
        return Err(Error::Findings(format!("{missed} planted bugs were not caught by the law that must catch them")));
    }
    Ok(())
}

fn read(workspace: &Workspace, name: Option<&str>) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    for path in workspace.files()? {
        let Some(file) = path.strip_prefix(FOLDER) else {
            continue;
        };
        let wanted = name.is_none_or(|name| file.contains(name));
        if let Some(stem) = file.strip_suffix(".patch")
            && wanted
        {
            let text = workspace.text(&path)?.unwrap_or_default();
            let patch = Patch::parse(stem, &text).map_err(|message| Error::Findings(format!("{path}: {message}")))?;
            patches.push(patch);
        }
    }
    if patches.is_empty() {
        return Err(Error::Findings(format!(
            "no planted bug is in {FOLDER}{}",
            name.map_or_else(String::new, |name| format!(" under the name `{name}`"))
        )));
    }
    Ok(patches)
}

/// What became of each planted bug, in the order of the patches.
fn plant(workspace: &Workspace, patches: &[Patch]) -> Result<Vec<Outcome>> {
    let copy = Copy::new(workspace)?;
    copy.sync()?;
    let mut sound = Vec::new();
    for patch in patches {
        if !sound.contains(&&patch.law) {
            println!("without a planted bug: {}", patch.law);
            match laws::run(&copy, &patch.law)? {
                Verdict::Passed { .. } => sound.push(&patch.law),
                verdict => {
                    return Err(Error::Findings(format!(
                        "{}: {verdict} without any planted bug, so it would show nothing",
                        patch.law
                    )));
                }
            }
        }
    }
    let mut outcomes = Vec::new();
    for patch in patches {
        println!("planting {}", patch.name);
        let outcome = if copy.apply(patch)? { Outcome::of(laws::run(&copy, &patch.law)?) } else { Outcome::Misfit };
        println!("  {outcome}");
        outcomes.push(outcome);
        copy.sync()?;
    }
    Ok(outcomes)
}

/// What became of one planted bug.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Caught {
        tests: u32,
    },
    Missed,
    /// The patch does not apply.
    Misfit,
    DoesNotBuild,
    TimedOut,
    /// The named tests are gone.
    NoSuchLaw,
}

impl Outcome {
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed { .. } => Self::Missed,
            Verdict::Failed { tests } => Self::Caught { tests },
            Verdict::DoesNotBuild => Self::DoesNotBuild,
            Verdict::TimedOut => Self::TimedOut,
            Verdict::NoSuchTest => Self::NoSuchLaw,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught { tests } => write!(f, "caught, by {tests} tests"),
            Self::Missed => f.write_str("MISSED: the law passes with the bug in the code"),
            Self::Misfit => f.write_str("MISFIT: the patch does not apply; write it anew"),
            Self::DoesNotBuild => f.write_str("DOES NOT BUILD: write the patch anew"),
            Self::TimedOut => f.write_str("TIMED OUT: a law that hangs does not say what is wrong"),
            Self::NoSuchLaw => f.write_str("NO SUCH LAW: no test has that name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::process;

    const SUM: &str = "\
//! Adds.

/// The sum.
pub fn sum(a: u32, b: u32) -> u32 {
    a + b
}
";
    const LAWS: &str = "\
#[test]
fn sum_keeps_what_is_given() {
    assert_eq!(tiny::sum(2, 3), 5);
}

#[test]
fn sum_of_nothing_is_nothing() {
    assert_eq!(tiny::sum(0, 0), 0);
}
";
    const MANIFEST: &str = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";

    /// A checkout of one small package with two laws.
    fn checkout(folder: &Path) -> Workspace {
        let root = folder.join("checkout");
        for (path, text) in
            [("Cargo.toml", MANIFEST), ("src/lib.rs", SUM), ("tests/laws.rs", LAWS), (".gitignore", "/target\n")]
        {
            let file = root.join(path);
            let parent = file.parent().expect("every file has a folder");
            std::fs::create_dir_all(parent).expect("a folder");
            std::fs::write(file, text).expect("a file");
        }
        let mut git = Command::new("git");
        process::output(git.args(["init", "--quiet"]).current_dir(&root)).expect("git init");
        Workspace { target: root.join("target"), root }
    }

    fn patch(name: &str, law: &str, line: &str) -> Patch {
        let text = format!(
            "planted: {name}\ncaught-by: {law}\npackage: tiny\n--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -3,4 +3,4 @@\n /// The sum.\n pub fn sum(a: u32, b: u32) -> u32 {{\n-    a + b\n+    {line}\n }}\n"
        );
        Patch::parse(name, &text).expect("a whole patch")
    }

    #[test]
    fn a_planted_bug_is_caught_missed_or_told_to_be_no_bug_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = checkout(folder.path());
        let mut misfit = patch("misfit", "sum_keeps", "a * b");
        misfit.text = misfit.text.replace("-    a + b", "-    a - b");
        let patches = [
            patch("caught", "sum_keeps", "a * b"),
            patch("missed", "sum_of_nothing", "a * b"),
            patch("broken", "sum_keeps", "a +"),
            misfit,
            patch("caught again, by both", "sum_", "a + b + 1"),
        ];
        let outcomes = plant(&workspace, &patches).expect("planted");
        assert_eq!(
            outcomes,
            [
                Outcome::Caught { tests: 1 },
                Outcome::Missed,
                Outcome::DoesNotBuild,
                Outcome::Misfit,
                Outcome::Caught { tests: 2 },
            ]
        );
        let source = std::fs::read_to_string(workspace.root.join("src/lib.rs"));
        assert_eq!(source.expect("still there"), SUM, "only the copy is changed");
    }

    #[test]
    fn a_law_that_fails_or_does_not_exist_without_a_bug_shows_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = checkout(folder.path());
        let unknown = [patch("unknown", "no_such_law", "a * b")];
        let error = plant(&workspace, &unknown).expect_err("no such law");
        assert!(error.to_string().contains("no_such_law"), "{error}");

        let laws = LAWS.replace("sum(2, 3), 5", "sum(2, 3), 6");
        std::fs::write(workspace.root.join("tests/laws.rs"), laws).expect("a file");
        let caught = [patch("caught", "sum_keeps", "a * b")];
        let error = plant(&workspace, &caught).expect_err("fails without a bug");
        assert!(error.to_string().contains("would show nothing"), "{error}");
    }
}
