//! Rules about Rust source, read as tokens: comments and strings never match.

use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{File, Finding, Tree, absence, assertions};

const UNREADABLE: &str = "unreadable";
const FILE_SIZE: &str = "file-size";
const MOD_RS: &str = "mod-rs";
const GLOB: &str = "glob-import";
const FLOAT: &str = "float";
const UNFINISHED: &str = "unfinished";
const IGNORED: &str = "ignored-test";
const PRINT: &str = "print";
const UNWRAP: &str = "unwrap";

/// Most lines of production code that one file may have, comments and blank ones included.
const MOST_LINES: usize = 800;

/// Rooms that quantities pass through: exact from end to end.
const EXACT_ROOMS: [&str; 6] = ["domain", "wire", "handler", "epcis", "projections", "testkit"];
/// Rooms that may write to the terminal: the binary, and those that only people at work run.
const SPEAKING_ROOMS: [&str; 3] = ["lotline", "xtask", "testkit"];

/// A file of Rust as a flat list of tokens.
pub struct Source<'t> {
    pub path: &'t str,
    /// Folder of the package: `crates/domain`, `tests`, `benches`.
    pub package: &'t str,
    pub tokens: Vec<Token>,
    /// Nothing of this file is shipped: integration tests, benches, `#[cfg(test)] mod name;`.
    whole_file_is_test: bool,
    test_lines: Vec<RangeInclusive<usize>>,
    lines: usize,
}

#[derive(Debug)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Word(String),
    Mark(char),
    Literal(String),
    /// Opening delimiter and the index of its closing one.
    Open(char, usize),
    Close,
}

impl<'t> Source<'t> {
    fn parse(file: &'t File) -> Result<Self, String> {
        let stream = TokenStream::from_str(&file.text).map_err(|error| error.to_string())?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let package = package_of(&file.path);
        let mut source = Self {
            path: &file.path,
            package,
            tokens,
            whole_file_is_test: is_test_path(&file.path),
            test_lines: Vec::new(),
            lines: file.text.lines().count(),
        };
        source.test_lines = source.test_ranges();
        Ok(source)
    }

    /// Name of the room, if the file is in one.
    pub fn room(&self) -> Option<&'t str> {
        self.package.strip_prefix("crates/")
    }

    pub fn is_test(&self, line: usize) -> bool {
        self.whole_file_is_test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    pub fn word(&self, at: usize) -> Option<&str> {
        match &self.tokens.get(at)?.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub fn is_mark(&self, at: usize, mark: char) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Mark(mark))
    }

    /// Index of the closing delimiter, if this delimiter opens at `at`.
    pub fn close_of(&self, at: usize, delimiter: char) -> Option<usize> {
        match self.tokens.get(at)?.kind {
            Kind::Open(open, close) if open == delimiter => Some(close),
            _ => None,
        }
    }

    /// Index after the `::` that follows the word at `at`.
    pub fn path_continues(&self, at: usize) -> Option<usize> {
        (self.is_mark(at + 1, ':') && self.is_mark(at + 2, ':')).then_some(at + 3)
    }

    /// First and last index inside the brackets, and the index after, of the attribute that starts at
    /// `at`; inner ones (`#!`) too.
    pub fn attribute(&self, at: usize) -> Option<(std::ops::Range<usize>, usize)> {
        if !self.is_mark(at, '#') {
            return None;
        }
        let open = if self.is_mark(at + 1, '!') { at + 2 } else { at + 1 };
        let close = self.close_of(open, '[')?;
        Some((open + 1..close, close + 1))
    }

    /// Index of the first token after all attributes that start at `at`.
    pub fn after_attributes(&self, mut at: usize) -> usize {
        while let Some((_, next)) = self.attribute(at) {
            at = next;
        }
        at
    }

    /// Index of the item's last token: its semicolon or the end of its braces.
    fn item_end(&self, start: usize) -> usize {
        let mut at = self.after_attributes(start);
        while let Some(token) = self.tokens.get(at) {
            match token.kind {
                Kind::Open('{', close) => return close,
                Kind::Open(_, close) => at = close,
                Kind::Mark(';') => return at,
                Kind::Close => return at.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
        self.tokens.len().saturating_sub(1)
    }

    fn is_test_only(&self, attribute: std::ops::Range<usize>) -> bool {
        let start = attribute.start;
        match self.word(start) {
            Some("cfg") => {
                let direct = self.word(start + 2) == Some("test");
                let all = self.word(start + 2) == Some("all")
                    && self
                        .close_of(start + 3, '(')
                        .is_some_and(|close| (start + 4..close).any(|at| self.word(at) == Some("test")));
                (direct && start + 4 == attribute.end) || all
            }
            _ => self.is_test_attribute(attribute),
        }
    }

    /// `test`, `tokio::test`, `tokio::test(…)`: a path that ends in `test`.
    pub fn is_test_attribute(&self, attribute: std::ops::Range<usize>) -> bool {
        let path_end = attribute
            .clone()
            .find(|at| self.close_of(*at, '(').is_some() || self.is_mark(*at, '='))
            .unwrap_or(attribute.end);
        self.word(path_end.saturating_sub(1)) == Some("test") && attribute.start < path_end
    }

    fn test_ranges(&self) -> Vec<RangeInclusive<usize>> {
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let Some((inside, next)) = self.attribute(at) else {
                at += 1;
                continue;
            };
            if !self.is_test_only(inside) {
                at = next;
                continue;
            }
            if self.is_mark(at + 1, '!') {
                return std::iter::once(0..=usize::MAX).collect();
            }
            let end = self.item_end(at);
            ranges.push(self.tokens[at].line..=self.tokens[end].line);
            at = end + 1;
        }
        ranges
    }

    /// Files and folders that `#[cfg(test)] mod name;` makes test code.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs")) => folder,
            _ => self.path.strip_suffix(".rs").unwrap_or(self.path),
        };
        let mut modules = Vec::new();
        for at in 0..self.tokens.len() {
            if let Some((inside, _)) = self.attribute(at)
                && self.is_test_only(inside)
            {
                let end = self.item_end(at);
                if self.is_mark(end, ';')
                    && self.word(end.saturating_sub(2)) == Some("mod")
                    && let Some(name) = self.word(end - 1)
                {
                    modules.push(format!("{folder}/{name}"));
                }
            }
        }
        modules
    }

    fn production_lines(&self) -> usize {
        if self.whole_file_is_test {
            return 0;
        }
        let test: usize = self
            .test_lines
            .iter()
            .map(|range| range.end().saturating_sub(*range.start()).saturating_add(1))
            .fold(0, usize::saturating_add);
        self.lines.saturating_sub(test)
    }
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(word) => into.push(Token { kind: Kind::Word(word.to_string()), line }),
            TokenTree::Punct(mark) => into.push(Token { kind: Kind::Mark(mark.as_char()), line }),
            TokenTree::Literal(literal) => into.push(Token { kind: Kind::Literal(literal.to_string()), line }),
            TokenTree::Group(group) => {
                let delimiter = match group.delimiter() {
                    Delimiter::Parenthesis => '(',
                    Delimiter::Brace => '{',
                    Delimiter::Bracket => '[',
                    Delimiter::None => ' ',
                };
                let open = into.len();
                into.push(Token { kind: Kind::Close, line });
                flatten(group.stream(), into);
                into[open].kind = Kind::Open(delimiter, into.len());
                into.push(Token { kind: Kind::Close, line: group.span_close().start().line });
            }
        }
    }
}

fn package_of(path: &str) -> &str {
    let depth = if path.starts_with("crates/") { 2 } else { 1 };
    let end = path.match_indices('/').nth(depth - 1);
    end.map_or("", |(end, _)| &path[..end])
}

fn is_test_path(path: &str) -> bool {
    let package = package_of(path);
    let inside = path[package.len()..].trim_start_matches('/');
    ["tests", "benches"].contains(&package) || inside.starts_with("tests/") || inside.starts_with("benches/")
}

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        match Source::parse(file) {
            Ok(source) => sources.push(source),
            Err(message) => findings.push(Finding {
                path: file.path.clone(),
                line: 1,
                rule: UNREADABLE,
                advice: format!("is not Rust: {message}"),
            }),
        }
    }
    let test_modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let stem = source.path.strip_suffix(".rs").unwrap_or(source.path);
        source.whole_file_is_test |= test_modules.iter().any(|module| {
            stem.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }
    for source in &sources {
        check_file(source, &mut findings);
        check_tokens(source, &mut findings);
    }
    findings.extend(absence::check(&sources));
    findings.extend(assertions::check(&sources));
    findings
}

fn check_file(source: &Source<'_>, findings: &mut Vec<Finding>) {
    if source.path.ends_with("/mod.rs") {
        findings.push(Finding {
            path: source.path.to_owned(),
            line: 1,
            rule: MOD_RS,
            advice: "name the file after its module, beside the module's folder".to_owned(),
        });
    }
    let lines = source.production_lines();
    if lines > MOST_LINES {
        findings.push(Finding {
            path: source.path.to_owned(),
            line: 1,
            rule: FILE_SIZE,
            advice: format!("{lines} lines of production code, at most {MOST_LINES}; split it by operation"),
        });
    }
}

fn check_tokens(source: &Source<'_>, findings: &mut Vec<Finding>) {
    for at in 0..source.tokens.len() {
        let line = source.tokens[at].line;
        let found = [
            glob_import(source, at),
            float(source, at),
            unfinished(source, at),
            ignored_test(source, at),
            print(source, at),
            unwrap(source, at),
        ];
        for (rule, advice) in found.into_iter().flatten() {
            findings.push(Finding { path: source.path.to_owned(), line, rule, advice });
        }
    }
}

type Found = Option<(&'static str, String)>;

fn glob_import(source: &Source<'_>, at: usize) -> Found {
    if source.word(at)? != "use" || source.is_mark(at + 1, '<') || source.is_test(source.tokens[at].line) {
        return None;
    }
    let end = (at..source.tokens.len()).find(|end| source.is_mark(*end, ';'))?;
    (at..end).any(|inside| source.is_mark(inside, '*')).then(|| (GLOB, "name what is imported".to_owned()))
}

fn float(source: &Source<'_>, at: usize) -> Found {
    if !EXACT_ROOMS.contains(&source.room()?) {
        return None;
    }
    let is_float = match &source.tokens[at].kind {
        Kind::Word(word) => word == "f32" || word == "f64",
        // `pair.0.1` is read as a field `0.1`.
        Kind::Literal(literal) => is_float(literal) && !(at > 0 && source.is_mark(at - 1, '.')),
        _ => false,
    };
    is_float.then(|| {
        (
            FLOAT,
            "quantities and what is computed beside them are exact; use an integer, a decimal or a ratio".to_owned(),
        )
    })
}

fn is_float(literal: &str) -> bool {
    let based = ["0x", "0b", "0o"].iter().any(|base| literal.starts_with(base));
    let number = literal.starts_with(|first: char| first.is_ascii_digit()) && !based;
    let digits = literal.split(|c: char| c.is_alphabetic() && c != 'e' && c != 'E').next();
    number
        && (literal.ends_with("f32")
            || literal.ends_with("f64")
            || digits
                .is_some_and(|digits| digits.contains('.') || digits.trim_end_matches(['e', 'E']).contains(['e', 'E'])))
}

fn unfinished(source: &Source<'_>, at: usize) -> Found {
    let name = source.word(at)?;
    let unfinished = ["todo", "unimplemented", "dbg"].contains(&name) && source.is_mark(at + 1, '!');
    unfinished.then(|| (UNFINISHED, format!("`{name}!` is left; finish it or take it out")))
}

fn ignored_test(source: &Source<'_>, at: usize) -> Found {
    let (inside, _) = source.attribute(at)?;
    let ignored = match source.word(inside.start)? {
        "ignore" => true,
        "cfg_attr" => inside.clone().any(|at| source.word(at) == Some("ignore")),
        _ => false,
    };
    ignored.then(|| {
        (
            IGNORED,
            "an ignored test shows nothing; mend it, take it out, or scale it by the full battery's switch".to_owned(),
        )
    })
}

fn print(source: &Source<'_>, at: usize) -> Found {
    if SPEAKING_ROOMS.contains(&source.room()?) || source.is_test(source.tokens[at].line) {
        return None;
    }
    let name = source.word(at)?;
    let prints = ["print", "println", "eprint", "eprintln"].contains(&name) && source.is_mark(at + 1, '!');
    prints.then(|| (PRINT, format!("`{name}!` in a library room; return the value, or use tracing")))
}

fn unwrap(source: &Source<'_>, at: usize) -> Found {
    if source.word(at)? != "unwrap" || source.room()? == "testkit" || source.is_test(source.tokens[at].line) {
        return None;
    }
    let called = at > 0 && source.is_mark(at - 1, '.') && source.close_of(at + 1, '(') == Some(at + 2);
    called.then(|| (UNWRAP, "return the error, or state the invariant in `.expect(\"…\")`".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{breaks, passes, rules};
    use super::{FILE_SIZE, FLOAT, GLOB, IGNORED, MOD_RS, MOST_LINES, PRINT, UNFINISHED, UNREADABLE, UNWRAP, is_float};

    #[test]
    fn globs_are_for_tests() {
        let text = "use std::fmt::*;\nuse std::{io, fmt::{self, *}};\nfn f() { let x = 2 * 3; }\n";
        breaks(GLOB, "crates/wire/src/lib.rs", text, &[1, 2]);
        passes("tests/tests/all/laws.rs", text);
        passes("crates/wire/src/lib.rs", "use std::fmt;\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n");
    }

    #[test]
    fn what_follows_a_test_module_is_production_again() {
        breaks(
            GLOB,
            "crates/wire/src/lib.rs",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n}\nuse std::fmt::*;\n",
            &[5],
        );
        breaks(GLOB, "crates/wire/src/lib.rs", "#[cfg(not(test))]\nmod shipped {\n    use super::*;\n}\n", &[3]);
    }

    #[test]
    fn a_file_declared_for_tests_alone_is_test_code() {
        let declared = ("crates/wire/src/lib.rs", "#[cfg(test)]\nmod golden;\n");
        let shipped = ("crates/wire/src/lib.rs", "mod golden;\n");
        let golden = ("crates/wire/src/golden.rs", "use super::*;\n");
        assert_eq!(rules(&[declared, golden]), []);
        assert_eq!(rules(&[shipped, golden]), [("crates/wire/src/golden.rs".to_owned(), 1, GLOB)]);
    }

    #[test]
    fn floats_are_found_where_quantities_are() {
        breaks(
            FLOAT,
            "crates/domain/src/quantity.rs",
            "fn f(x: f64) -> u8 {\n    let y = 1.5;\n    (x * y) as u8\n}\n",
            &[1, 2],
        );
        passes(
            "crates/domain/src/quantity.rs",
            "/// Never an f64.\nfn f(x: ((u8, u8), u8)) -> u8 {\n    x.0.1 + \"1.5\".len() as u8\n}\n",
        );
        passes("crates/lotline/src/picture.rs", "const SCALE: f64 = 1.5;\n");
        for literal in ["1.0", "1e5", "2f32", "1_000.5f64", "3E-2"] {
            assert!(is_float(literal), "{literal}");
        }
        for literal in ["1", "0x1e5", "1_000u64", "\"1.0\"", "'e'", "0b1", "7usize"] {
            assert!(!is_float(literal), "{literal}");
        }
    }

    #[test]
    fn nothing_is_left_unfinished() {
        breaks(
            UNFINISHED,
            "crates/wire/src/lib.rs",
            "fn f() {\n    todo!()\n}\nfn g() { unimplemented!(\"later\") }\nfn h() { dbg!(1); }\n",
            &[2, 4, 5],
        );
        passes("crates/wire/src/lib.rs", "// todo!() is not code\nfn todo() -> &'static str { \"todo!()\" }\n");
    }

    #[test]
    fn no_test_is_ignored() {
        breaks(
            IGNORED,
            "tests/tests/all/laws.rs",
            "#[test]\n#[ignore = \"slow\"]\nfn a() { assert!(f()); }\n#[cfg_attr(windows, ignore)]\n#[test]\nfn b() { assert!(f()); }\n",
            &[2, 4],
        );
        passes("tests/tests/all/laws.rs", "#[allow(unused)]\nfn ignore() {}\n");
    }

    #[test]
    fn library_rooms_are_silent() {
        let text = "fn f() {\n    println!(\"x\");\n    eprintln!(\"x\");\n}\n";
        breaks(PRINT, "crates/bus/src/lib.rs", text, &[2, 3]);
        passes("crates/lotline/src/main.rs", text);
        passes("tests/tests/all/laws.rs", text);
    }

    #[test]
    fn production_code_states_why_it_cannot_fail() {
        breaks(UNWRAP, "crates/bus/src/lib.rs", "fn f(x: Option<u8>) -> u8 {\n    x\n        .unwrap()\n}\n", &[3]);
        passes(
            "crates/bus/src/lib.rs",
            "fn f(x: Option<u8>) -> u8 { x.unwrap_or(1) + x.expect(\"set above\") }\n#[cfg(test)]\nmod tests {\n    fn g() { f(None).unwrap(); }\n}\n",
        );
    }

    #[test]
    fn long_files_are_counted_without_their_tests() {
        let production = "// a line\n".repeat(MOST_LINES);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    // a line\n".repeat(200));
        passes("crates/bus/src/lib.rs", &format!("{production}{tests}"));
        breaks(FILE_SIZE, "crates/bus/src/lib.rs", &format!("{production}const LAST: u8 = 1;\n{tests}"), &[1]);
    }

    #[test]
    fn modules_are_files_of_their_own_name() {
        breaks(MOD_RS, "crates/bus/src/relay/mod.rs", "const A: u8 = 1;\n", &[1]);
        passes("crates/bus/src/relay.rs", "const A: u8 = 1;\n");
        breaks(UNREADABLE, "crates/bus/src/relay.rs", "fn f( {\n", &[1]);
    }
}
