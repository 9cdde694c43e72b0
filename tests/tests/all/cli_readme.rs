//! The README's session is what the built command line says, word for word.

use std::path::{Path, PathBuf};

use tempfile::tempdir;

use super::cli_binary::run;

const MARK: &str = "<!-- replayed by a test -->";
const PROMPT: &str = "$ lotline ";

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

/// The text before the session, its commands with their answers, and the text behind it.
fn parts(text: &str) -> (&str, Vec<(String, String)>, &str) {
    let begin = text.find(MARK).expect("a marked session") + MARK.len() + "\n```console\n".len();
    let end = begin + text[begin..].find("```\n").expect("the session ends");
    let mut session: Vec<(String, String)> = Vec::new();
    for line in text[begin..end].lines() {
        match (line.strip_prefix(PROMPT), session.last_mut()) {
            (Some(command), _) => session.push((command.to_owned(), String::new())),
            (None, Some((_, answer))) => {
                answer.push_str(line);
                answer.push('\n');
            }
            (None, None) => panic!("the session begins with an answer: {line}"),
        }
    }
    (&text[..begin], session, &text[end..])
}

/// What a command of the session says; with ` > FILE` behind it that goes there.
fn answer(folder: &Path, command: &str) -> String {
    let (command, file) = command.split_once(" > ").map_or((command, None), |(command, file)| (command, Some(file)));
    let arguments: Vec<&str> = command.split_whitespace().collect();
    let said = run(folder, &arguments);
    assert!(said.code <= 1 && said.err.is_empty(), "$ lotline {command}: {said:?}");
    match file {
        Some(file) => {
            std::fs::write(folder.join(file), said.out).expect("written");
            String::new()
        }
        None => said.out,
    }
}

/// With `LOTLINE_README=write` the answers are written into the README instead, to be read before they are committed.
#[test]
fn the_session_of_the_readme_is_what_is_said() {
    let folder = tempdir().expect("a folder");
    let text = std::fs::read_to_string(readme()).expect("a README");
    let (before, session, after) = parts(&text);
    assert!(session.len() >= 5, "a session of {} commands", session.len());
    let mut said = String::new();
    for (number, (command, told)) in session.iter().enumerate() {
        let answer = answer(folder.path(), command);
        let answer = answer.trim_end();
        if std::env::var("LOTLINE_README").as_deref() != Ok("write") {
            assert_eq!(answer, told.trim_end(), "$ lotline {command}");
        }
        let gap = if number == 0 { "" } else { "\n" };
        said.push_str(&format!("{gap}{PROMPT}{command}\n"));
        if !answer.is_empty() {
            said.push_str(answer);
            said.push('\n');
        }
    }
    if std::env::var("LOTLINE_README").as_deref() == Ok("write") {
        std::fs::write(readme(), format!("{before}{said}{after}")).expect("written");
    }
}
