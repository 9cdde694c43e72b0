//! Invariants of absence: what a room never names, as `crates/ARCHITECTURE.md` says it.

use super::Finding;
use super::source::Source;

const ABSENT: &str = "absent";

/// A path that production code in some place never names.
struct Absence {
    /// Paths of files start with one of these.
    within: &'static [&'static str],
    /// The one file that may, because it is the seam.
    except: Option<&'static str>,
    /// First part of the forbidden path.
    head: &'static str,
    /// Second part, any of these; none means that the head alone is forbidden.
    names: &'static [&'static str],
    advice: &'static str,
}

const ABSENCES: [Absence; 8] = [
    Absence {
        within: &["crates/domain/src/"],
        except: None,
        head: "std",
        names: &["fs", "io", "net", "env", "process"],
        advice: "domain touches nothing outside; let the caller do it and pass the value in",
    },
    Absence {
        within: &["crates/ledger/src/"],
        except: Some("crates/ledger/src/storage.rs"),
        head: "std",
        names: &["fs", "net", "env", "process"],
        advice: "the ledger reaches files through its storage seam alone, or the faulty disk cannot stand in",
    },
    Absence {
        within: &["crates/audit/src/", "crates/bus/src/"],
        except: None,
        head: "lotline_ledger",
        names: &["Writer"],
        advice: "this room reads ledgers and never writes one; what must be written is handed to the caller",
    },
    naive("lotline_ledger", &[]),
    naive("lotline_handler", &[]),
    naive("lotline_projections", &[]),
    naive("lotline_wire", &[]),
    naive("lotline_domain", &["book", "settle"]),
];

/// What is compared with the naive model must not be in it.
const fn naive(head: &'static str, names: &'static [&'static str]) -> Absence {
    Absence {
        within: &["crates/testkit/src/naive"],
        except: None,
        head,
        names,
        advice: "the naive model shares no code with what it checks; write it again, simply",
    }
}

/// Where the time of day is an argument and nothing is async.
const TIMELESS: [&str; 2] = ["crates/domain/src/", "crates/ledger/src/"];
/// Where no time passes at all: the ledger may wait with a limit, a decision may not.
const INSTANT: &str = "crates/domain/src/";

pub fn check(sources: &[Source<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for at in 0..source.tokens.len() {
            let line = source.tokens[at].line;
            if source.is_test(line) {
                continue;
            }
            let absences = ABSENCES
                .iter()
                .filter(|absence| absence.holds_in(source.path) && absence.is_broken(source, at))
                .map(|absence| absence.advice);
            for advice in absences.chain(waits_or_reads_clock(source, at)) {
                findings.push(Finding { path: source.path.to_owned(), line, rule: ABSENT, advice: advice.to_owned() });
            }
        }
    }
    findings
}

impl Absence {
    fn holds_in(&self, path: &str) -> bool {
        self.within.iter().any(|within| path.starts_with(within)) && self.except != Some(path)
    }

    fn is_broken(&self, source: &Source<'_>, at: usize) -> bool {
        if source.word(at) != Some(self.head) {
            return false;
        }
        if self.names.is_empty() {
            return true;
        }
        let Some(next) = source.path_continues(at) else {
            return false;
        };
        let range = source.close_of(next, '{').map_or(next..next + 1, |close| next..close);
        range.filter_map(|at| source.word(at)).any(|word| self.names.contains(&word))
    }
}

const CLOCK: &str = "this room reads no clock; take the time as an argument";

fn waits_or_reads_clock(source: &Source<'_>, at: usize) -> Option<&'static str> {
    if !TIMELESS.iter().any(|within| source.path.starts_with(within)) {
        return None;
    }
    let asks_now = || {
        let next = source.path_continues(at)?;
        (source.word(next)? == "now").then_some(())
    };
    match source.word(at)? {
        "async" | "await" => Some("this room is not async; let the caller wait"),
        "SystemTime" => Some(CLOCK),
        "Utc" | "Local" => asks_now().map(|()| CLOCK),
        "Instant" if source.path.starts_with(INSTANT) => asks_now().map(|()| CLOCK),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{breaks, passes};
    use super::ABSENT;

    #[test]
    fn the_deciding_room_touches_nothing() {
        breaks(
            ABSENT,
            "crates/domain/src/decide.rs",
            "use std::{fmt, fs};\nfn f() { let now = chrono::Utc::now(); }\nasync fn g() {}\nfn h() { std::process::abort(); }\n",
            &[1, 2, 3, 4],
        );
        passes(
            "crates/domain/src/decide.rs",
            "use std::{fmt, time::Duration};\nstruct Instant;\nfn f(now: Instant) {}\n",
        );
        passes("crates/bus/src/lib.rs", "use std::fs;\nasync fn g() {}\n");
    }

    #[test]
    fn the_ledger_reaches_files_through_its_seam() {
        let text = "use std::fs::File;\n";
        breaks(ABSENT, "crates/ledger/src/segment.rs", text, &[1]);
        passes("crates/ledger/src/storage.rs", text);
        passes("crates/ledger/src/segment.rs", "#[cfg(test)]\nmod tests {\n    use std::fs::File;\n}\n");
    }

    #[test]
    fn a_wait_may_have_a_limit_and_a_decision_has_no_clock() {
        let limit = "fn f() { let end = std::time::Instant::now(); }\n";
        passes("crates/ledger/src/view.rs", limit);
        breaks(ABSENT, "crates/domain/src/decide.rs", limit, &[1]);
        breaks(ABSENT, "crates/ledger/src/view.rs", "fn f() { let now = std::time::SystemTime::now(); }\n", &[1]);
    }

    #[test]
    fn readers_of_a_ledger_do_not_name_its_writer() {
        breaks(
            ABSENT,
            "crates/bus/src/relay.rs",
            "use lotline_ledger::{Reader, Writer};\nfn f(w: &mut lotline_ledger::Writer) {}\n",
            &[1, 2],
        );
        passes("crates/bus/src/relay.rs", "use lotline_ledger::Reader;\nstruct Writer;\n");
        passes("crates/handler/src/lib.rs", "use lotline_ledger::Writer;\n");
    }

    #[test]
    fn the_naive_model_is_written_separately() {
        breaks(
            ABSENT,
            "crates/testkit/src/naive/trace.rs",
            "use lotline_domain::{fact::Fact, settle::Step};\nuse lotline_projections::Page;\n",
            &[1, 2],
        );
        passes("crates/testkit/src/naive/trace.rs", "use lotline_domain::fact::Fact;\n");
        passes("crates/testkit/src/runner.rs", "use lotline_projections::Page;\n");
    }
}
