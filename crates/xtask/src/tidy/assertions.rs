//! Tests can fail: each asserts something, itself or through a function that it calls.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::Finding;
use super::source::{Kind, Source};

const EMPTY: &str = "test-asserts";
const VACUOUS: &str = "vacuous-assert";

const TESTKIT: &str = "crates/testkit";

/// A function in test code or in testkit.
struct Function {
    name: String,
    body: Range<usize>,
}

pub fn check(sources: &[Source<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asserting = Asserting::of(sources);
    for source in sources {
        let knows = |name: &str| asserting.known_in(source.package, name);
        for at in 0..source.tokens.len() {
            let line = source.tokens[at].line;
            if let Some((name, body)) = test_function(source, at)
                && !asserts(source, body, &knows)
                && !claims_no_panic(name)
            {
                findings.push(Finding {
                    path: source.path.to_owned(),
                    line,
                    rule: EMPTY,
                    advice: format!("test `{name}` asserts nothing; let it claim what its name says"),
                });
            }
            if is_vacuous(source, at) {
                findings.push(Finding {
                    path: source.path.to_owned(),
                    line,
                    rule: VACUOUS,
                    advice: "this cannot fail; assert on a value, or take it out".to_owned(),
                });
            }
        }
    }
    findings
}

/// Whether the test claims no more than to come to its end, and says so.
fn claims_no_panic(name: &str) -> bool {
    name.contains("never_panics") || name.contains("never_a_panic")
}

/// Name and body of the test whose attributes start at `at`; `None` where the panic itself is claimed.
fn test_function<'s>(source: &'s Source<'_>, at: usize) -> Option<(&'s str, Range<usize>)> {
    let (inside, _) = source.attribute(at)?;
    if !source.is_test_attribute(inside) {
        return None;
    }
    let start = source.after_attributes(at);
    let attributes = at..start;
    if attributes.clone().any(|at| source.word(at) == Some("should_panic")) {
        return None;
    }
    let keyword = (start..source.tokens.len()).find(|at| source.word(*at) == Some("fn"))?;
    function(source, keyword)
}

/// Name and body of the function whose `fn` stands at `at`.
fn function<'s>(source: &'s Source<'_>, at: usize) -> Option<(&'s str, Range<usize>)> {
    if source.word(at)? != "fn" {
        return None;
    }
    let name = source.word(at + 1)?;
    let mut next = at + 2;
    while let Some(token) = source.tokens.get(next) {
        match token.kind {
            Kind::Open('{', close) => return Some((name, next + 1..close)),
            Kind::Open(_, close) => next = close,
            Kind::Mark(';') | Kind::Close => return None,
            _ => {}
        }
        next += 1;
    }
    None
}

/// Names of the functions, by package, that assert themselves or call one that does.
#[derive(Default)]
struct Asserting<'t>(HashMap<&'t str, HashSet<String>>);

impl<'t> Asserting<'t> {
    fn of(sources: &[Source<'t>]) -> Self {
        let functions: Vec<(&Source<'t>, Vec<Function>)> =
            sources.iter().map(|source| (source, helper_functions(source))).collect();
        let mut asserting = Self::default();
        loop {
            let mut grown = false;
            for (source, functions) in &functions {
                for function in functions {
                    let knows = |name: &str| asserting.known_in(source.package, name);
                    if !knows(&function.name) && asserts(source, function.body.clone(), &knows) {
                        asserting.0.entry(source.package).or_default().insert(function.name.clone());
                        grown = true;
                    }
                }
            }
            if !grown {
                return asserting;
            }
        }
    }

    /// Whether a function of this name that the package can call asserts something.
    fn known_in(&self, package: &str, name: &str) -> bool {
        [package, TESTKIT].iter().any(|package| self.0.get(package).is_some_and(|names| names.contains(name)))
    }
}

fn helper_functions(source: &Source<'_>) -> Vec<Function> {
    (0..source.tokens.len())
        .filter(|at| source.package == TESTKIT || source.is_test(source.tokens[*at].line))
        .filter_map(|at| function(source, at))
        .map(|(name, body)| Function { name: name.to_owned(), body })
        .collect()
}

fn asserts(source: &Source<'_>, body: Range<usize>, knows: &dyn Fn(&str) -> bool) -> bool {
    body.into_iter().any(|at| {
        if source.is_mark(at, '?') {
            return true;
        }
        let Some(word) = source.word(at) else {
            return false;
        };
        let is_macro = source.is_mark(at + 1, '!') && !source.is_mark(at + 2, '=');
        if is_macro {
            return ["assert", "debug_assert", "prop_assert", "panic", "unreachable"]
                .iter()
                .any(|start| word.starts_with(start));
        }
        let is_called = source.close_of(at + 1, '(').is_some();
        is_called
            && (["expect", "expect_err", "unwrap_err"].contains(&word)
                || word.starts_with("check")
                || word.starts_with("assert")
                || knows(word))
    })
}

/// `assert!(true)`, and `matches!(…);` as a statement, whose answer nobody looks at.
fn is_vacuous(source: &Source<'_>, at: usize) -> bool {
    let Some(word) = source.word(at) else {
        return false;
    };
    let Some(close) = source.is_mark(at + 1, '!').then(|| source.close_of(at + 2, '(')).flatten() else {
        return false;
    };
    match word {
        "assert" => close == at + 4 && source.word(at + 3) == Some("true"),
        "matches" => {
            let starts_statement = at == 0
                || source.is_mark(at - 1, ';')
                || matches!(source.tokens[at - 1].kind, Kind::Open('{', _) | Kind::Close);
            starts_statement && source.is_mark(close + 1, ';')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{breaks, passes, rules};
    use super::{EMPTY, VACUOUS};

    const PATH: &str = "tests/tests/all/laws.rs";

    #[test]
    fn a_test_without_an_assertion_is_found() {
        breaks(
            EMPTY,
            PATH,
            "#[test]\nfn a() {\n    let x = f().unwrap();\n}\n#[tokio::test(flavor = \"current_thread\")]\nasync fn b() { g().await; }\n",
            &[1, 5],
        );
        breaks(
            EMPTY,
            PATH,
            "proptest! {\n    #[test]\n    fn a(x in 0..9u8) {\n        let y = x != 3;\n    }\n}\n",
            &[2],
        );
    }

    #[test]
    fn every_way_to_assert_counts() {
        for body in [
            "assert_eq!(1, f());",
            "prop_assert!(f());",
            "f().expect(\"works\");",
            "g()?; Ok(())",
            "check(\"a\", 1);",
            "insta::assert_snapshot!(f());",
            "if f() { panic!(\"no\") }",
        ] {
            passes(PATH, &format!("#[test]\nfn a() {{ {body} }}\n"));
        }
        passes(PATH, "#[test]\nfn any_text_is_read_or_refused_and_never_a_panic() { f(); }\n");
        passes(PATH, "#[test]\n#[should_panic(expected = \"x\")]\nfn a() { f(); }\n");
    }

    #[test]
    fn helpers_of_the_package_and_of_testkit_are_looked_into() {
        let test = (PATH, "#[test]\nfn a() { outer(1); }\n");
        let outer = ("tests/tests/all/help.rs", "pub fn outer(x: u8) { inner(x); }\n");
        let asserting = "pub fn inner(x: u8) { assert!(x > 0); }\n";
        assert_eq!(rules(&[test, outer, ("crates/testkit/src/lib.rs", asserting)]), []);
        assert_eq!(rules(&[test, outer, ("tests/tests/all/more.rs", asserting)]), []);
        assert_eq!(rules(&[test, outer, ("crates/wire/tests/more.rs", asserting)]), [(PATH.to_owned(), 1, EMPTY)]);
    }

    #[test]
    fn an_assertion_that_cannot_fail_is_found() {
        breaks(
            VACUOUS,
            PATH,
            "#[test]\nfn a() {\n    assert!(true);\n    matches!(f(), Some(_));\n    assert!(f());\n}\n",
            &[3, 4],
        );
        passes(PATH, "#[test]\nfn a() {\n    let x = matches!(f(), Some(_));\n    assert!(matches!(f(), None));\n}\n");
    }
}
