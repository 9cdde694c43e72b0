//! Permissions that the server denied. It does not answer a call that it denies, but tells the connection: what is
//! told there is kept here, and ends the call that it belongs to.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

/// So many different ones are remembered.
const KEPT: usize = 32;

/// What was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Sending to a subject.
    Publish,
    /// Listening to a subject.
    Subscribe,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish to",
            Self::Subscribe => "subscribe to",
        })
    }
}

/// A permission that the server denied to this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What was denied.
    pub act: Act,
    /// To which subject.
    pub subject: String,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: SystemTime,
}

/// Reads an error that a server tells.
pub(crate) fn parse(text: &str) -> Option<(Act, &str)> {
    let (_, rest) = text.split_once("ermissions Violation for ")?;
    let act = if rest.starts_with("Publish") {
        Act::Publish
    } else if rest.starts_with("Subscription") {
        Act::Subscribe
    } else {
        return None;
    };
    let (_, rest) = rest.split_once('"')?;
    Some((act, rest.split_once('"')?.0))
}

/// Whether a subject has this token: the name of a stream, most often.
pub(crate) fn names(subject: &str, token: &str) -> bool {
    subject.split('.').any(|own| own == token)
}

#[derive(Debug)]
pub(crate) struct Denials {
    kept: Mutex<Kept>,
    /// Counts them.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    count: u64,
    /// The latest last.
    all: Vec<(u64, Denied)>,
    /// The inbox to which answers cannot come while this connection lasts.
    inbox: Option<String>,
}

impl Denials {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), told: watch::Sender::new(0) }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> R {
        act(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes one; `inbox` is what this connection's inboxes begin with.
    pub(crate) fn note(&self, act: Act, subject: &str, inbox: &str) {
        let count = self.with(|kept| {
            kept.count += 1;
            let at = kept.all.iter().position(|(_, denied)| denied.act == act && denied.subject == subject);
            let before = at.map_or(0, |at| kept.all.remove(at).1.count);
            let denied = Denied { act, subject: subject.to_owned(), count: before + 1, last: SystemTime::now() };
            kept.all.push((kept.count, denied));
            if kept.all.len() > KEPT {
                kept.all.remove(0);
            }
            if act == Act::Subscribe && is_below(subject, inbox) {
                kept.inbox = Some(subject.to_owned());
            }
            kept.count
        });
        self.told.send_replace(count);
    }

    /// Another connection may have other permissions.
    pub(crate) fn connected_anew(&self) {
        self.with(|kept| kept.inbox = None);
    }

    pub(crate) fn count(&self) -> u64 {
        self.with(|kept| kept.count)
    }

    /// The last ones, the latest first.
    pub(crate) fn list(&self) -> Vec<Denied> {
        self.with(|kept| kept.all.iter().rev().map(|(_, denied)| denied.clone()).collect())
    }

    /// The next one that `concerns` the caller, counted from `from` on; or that no answer can come to this connection
    /// at all.
    pub(crate) async fn next(&self, from: u64, concerns: impl Fn(Act, &str) -> bool) -> (Act, String) {
        let mut told = self.told.subscribe();
        loop {
            told.mark_unchanged();
            let found = self.with(|kept| {
                let inbox = kept.inbox.clone().map(|subject| (Act::Subscribe, subject));
                inbox.or_else(|| {
                    let since = kept.all.iter().filter(|(number, _)| *number > from);
                    let mut since = since.map(|(_, denied)| (denied.act, denied.subject.clone()));
                    since.find(|(act, subject)| concerns(*act, subject))
                })
            });
            if let Some(found) = found {
                return found;
            }
            if told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn is_below(subject: &str, prefix: &str) -> bool {
    subject.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_tells_is_read() {
        for (text, expected) in [
            (
                r#"Permissions Violation for Publish to "$JS.API.STREAM.NAMES""#,
                Some((Act::Publish, "$JS.API.STREAM.NAMES")),
            ),
            (r#"Permissions Violation for Subscription to "a.>""#, Some((Act::Subscribe, "a.>"))),
            (r#"'Permissions Violation for Subscription to "a.*" using queue "q"'"#, Some((Act::Subscribe, "a.*"))),
            ("Permissions Violation", None),
            ("Unknown Protocol Operation", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn each_is_kept_once_with_its_count_and_the_latest_comes_first() {
        let denials = Denials::new();
        for subject in ["a", "b", "a"] {
            denials.note(Act::Publish, subject, "_INBOX");
        }
        let list: Vec<_> = denials.list().into_iter().map(|denied| (denied.subject, denied.count)).collect();
        assert_eq!(list, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        (0..100).for_each(|number| denials.note(Act::Publish, &number.to_string(), "_INBOX"));
        assert_eq!((denials.list().len(), denials.count()), (KEPT, 103));
    }
}
