//! Rules about the text of all files: what a checkout says must be true on every machine.

use super::{File, Finding, Tree};

const PATH: &str = "machine-path";
const URL: &str = "foreign-source";
const ISSUE: &str = "issue-number";
pub const README: &str = "readme";

/// The one place that packages come from, as cargo writes it.
const REGISTRY: &str = "https://github.com/rust-lang/crates.io-index";
const KNOWN_URLS: [&str; 2] = [REGISTRY, "https://rustsec.org/"];
const LOCK_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
/// Options that would make a package client look elsewhere.
const REDIRECTIONS: [&str; 5] = ["--index-url", "--extra-index-url", "--find-links", "--trusted-host", "replace-with"];

/// The second command of the README, which `.ci/run` runs too.
const TEST_COMMAND: &str = "cargo xtask test";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let parent = tree.parent.as_deref().filter(|parent| is_telling(parent));
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            let mut find = |rule, advice: &str| {
                findings.push(Finding { path: file.path.clone(), line: index + 1, rule, advice: advice.to_owned() });
            };
            if names_machine(line, parent) {
                find(PATH, "names a folder of one machine; find the place relative to the checkout");
            }
            if names_issue(line) {
                find(ISSUE, "names an issue by number; say what is meant");
            }
            if is_about_sources(&file.path) && names_foreign_source(&file.path, line) {
                find(URL, "packages come from the registry under its own name and from nowhere else");
            }
        }
    }
    findings.extend(check_readme(tree));
    findings
}

/// Whether a folder's name tells one machine from another: `/tmp` and its like do not.
fn is_telling(folder: &str) -> bool {
    !["/", "/tmp", "/var/tmp", "/home", "/opt", "/srv", "/usr/src"].contains(&folder)
}

fn names_machine(line: &str, parent: Option<&str>) -> bool {
    let inside_parent = parent.is_some_and(|parent| names_folder(line, &format!("{parent}/")));
    // Spelled in two pieces, or this file would be found too.
    let homes = [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/")];
    inside_parent || homes.iter().any(|home| names_folder(line, home))
}

/// Whether the line has an absolute path that starts with this folder.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let is_absolute = before.is_none_or(|before| {
            !before.is_alphanumeric() && !matches!(before, '.' | '_' | '-' | '}' | ')' | '~' | '/')
        });
        is_absolute && after.is_some_and(|after| after.is_alphanumeric() || matches!(after, '.' | '_'))
    })
}

fn names_issue(line: &str) -> bool {
    let line = line.to_lowercase();
    ["issue ", "issue #", "issues ", "issues #"].iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            let starts_word = !line[..at].ends_with(char::is_alphanumeric);
            let rest = line[at + word.len()..].trim_start_matches('#');
            starts_word && rest.starts_with(|c: char| c.is_ascii_digit())
        })
    })
}

fn is_about_sources(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["Cargo.lock", "Cargo.toml"].contains(&name)
        || path.starts_with(".cargo/")
        || path.starts_with(".ci/")
        || path.starts_with("crates/xtask/tools/")
}

fn names_foreign_source(path: &str, line: &str) -> bool {
    if path.ends_with("Cargo.lock") && line.starts_with("source = ") {
        return line != LOCK_SOURCE;
    }
    let redirected = REDIRECTIONS.iter().any(|option| line.contains(option));
    let foreign_url = ["https://", "http://"].iter().any(|scheme| {
        line.match_indices(scheme).any(|(at, _)| !KNOWN_URLS.iter().any(|known| line[at..].starts_with(known)))
    });
    redirected || foreign_url
}

/// The README names its two commands as they are run, and shows a session that a test replays.
fn check_readme(tree: &Tree) -> Vec<Finding> {
    let find =
        |advice: &str| Finding { path: "README.md".to_owned(), line: 1, rule: README, advice: advice.to_owned() };
    let Some(readme) = tree.file("README.md") else {
        return vec![find("is missing; say what this is, what it is not, and the two commands")];
    };
    let mut findings = Vec::new();
    let commands = fenced_lines(&readme.text);
    if !commands.iter().any(|line| line.trim() == TEST_COMMAND) {
        findings.push(find("has no code block with the line `cargo xtask test`, which CI runs as the README says it"));
    }
    let is_demo = |line: &&str| line.starts_with("cargo run") && line.contains(" demo");
    if !commands.iter().any(|line| is_demo(&line.trim())) {
        findings.push(find("has no code block with the command of the demo (`cargo run … demo`)"));
    }
    let is_session = |line: &&str| line.starts_with("$ lotline ") || line.starts_with("$ cargo run");
    if !commands.iter().any(is_session) {
        findings.push(find("shows no session: a code block with `$ lotline …` and its answer"));
    } else if !tree.files.iter().any(replays_readme) {
        findings.push(find("shows a session that no test replays; read README.md in a test and compare"));
    }
    findings
}

/// Lines inside of ``` fences.
fn fenced_lines(markdown: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            lines.push(line);
        }
    }
    lines
}

fn replays_readme(file: &File) -> bool {
    let is_rust_test = file.path.ends_with(".rs") && (file.path.starts_with("tests/") || file.path.contains("/tests/"));
    is_rust_test && file.text.contains("README.md")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{breaks, passes};
    use super::{File, ISSUE, PATH, Tree, URL, check_readme};

    #[test]
    fn folders_of_one_machine_are_found() {
        let named = |folder: &str| format!("first\nsee {folder}joe/lotline\n");
        breaks(PATH, "notes.md", "in /build/here/main\n", &[1]);
        breaks(PATH, "notes.md", &named(concat!("/ho", "me/")), &[2]);
        breaks(PATH, "notes.md", &named(concat!("/ro", "ot/")), &[2]);
        passes("notes.md", "target/build/here/x, ~/build/here/x, /build/hereafter/x\n");
        passes("notes.md", "https://example.org/home/page and /var/lib/lotline\n");
    }

    #[test]
    fn issue_numbers_are_found() {
        breaks(ISSUE, "notes.md", &format!("see Issue {}12\n", '#'), &[1]);
        passes("notes.md", "an issue of 12 kg; the tissue 4\n");
    }

    #[test]
    fn packages_come_from_the_registry() {
        breaks(URL, "Cargo.lock", "source = \"git+https://example.org/x\"\n", &[1]);
        breaks(URL, ".cargo/config.toml", "[source.mirror]\nregistry = \"https://example.org\"\n", &[2]);
        breaks(URL, ".ci/run", "pip install --index-url x y\n", &[1]);
        passes("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n");
        passes("schemas/words.md", "https://example.org\n");
    }

    fn readme_findings(readme: Option<&str>, replayed: bool) -> usize {
        let mut files = Vec::new();
        if let Some(readme) = readme {
            files.push(File { path: "README.md".to_owned(), text: readme.to_owned() });
        }
        if replayed {
            files.push(File {
                path: "tests/tests/all/readme.rs".to_owned(),
                text: "const README: &str = include_str!(\"../../../README.md\");\n".to_owned(),
            });
        }
        check_readme(&Tree { files, parent: None }).len()
    }

    #[test]
    fn readme_has_two_commands_and_a_replayed_session() {
        let whole =
            "```sh\ncargo run --release -- demo\ncargo xtask test\n```\n```console\n$ lotline verify\nok\n```\n";
        assert_eq!(readme_findings(Some(whole), true), 0);
        assert_eq!(readme_findings(Some(whole), false), 1, "nobody replays it");
        assert_eq!(readme_findings(Some("run cargo xtask test\n"), true), 3);
        assert_eq!(readme_findings(None, true), 1);
    }
}
