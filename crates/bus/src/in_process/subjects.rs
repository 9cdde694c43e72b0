//! Subjects and the patterns that they fit, and who listens to which.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::seam::Message;

/// So many messages may wait for one listener; further ones are dropped, as a client drops them.
const WAITING: usize = 65_536;

/// Whether a subject fits a pattern: `*` is one token, `>` at the end is one or more.
pub(super) fn fits(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether some subject fits both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Listeners {
    all: BTreeMap<u64, Listener>,
    last: u64,
    /// Whose turn it is in groups.
    turn: usize,
}

#[derive(Debug)]
struct Listener {
    pattern: String,
    group: Option<String>,
    messages: mpsc::Sender<Message>,
}

impl Listeners {
    /// Adds one; its number, by which it is removed.
    pub(super) fn add(&mut self, pattern: String, group: Option<String>) -> (u64, mpsc::Receiver<Message>) {
        let (messages, coming) = mpsc::channel(WAITING);
        self.last += 1;
        self.all.insert(self.last, Listener { pattern, group, messages });
        (self.last, coming)
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.all.remove(&number);
    }

    /// Hands a message to all that listen, and of each group to one; whether there was anybody.
    pub(super) fn pass(&mut self, message: &Message) -> bool {
        self.all.retain(|_, listener| !listener.messages.is_closed());
        let mut groups: BTreeMap<&str, Vec<&Listener>> = BTreeMap::new();
        let mut heard = false;
        for listener in self.all.values().filter(|listener| fits(&listener.pattern, &message.subject)) {
            heard = true;
            match &listener.group {
                Some(group) => groups.entry(group).or_default().push(listener),
                None => listener.hand(message),
            }
        }
        self.turn = self.turn.wrapping_add(1);
        for members in groups.values() {
            members[self.turn % members.len()].hand(message);
        }
        heard
    }
}

impl Listener {
    fn hand(&self, message: &Message) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.messages.try_send(message.clone()) {
            tracing::error!(
                subject = message.subject,
                "messages came faster than they were read, and some were dropped unanswered"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_as_the_servers_do() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*.c", "a.b.c", true),
            ("a.b", "a.b.c", false),
            ("*", "a", true),
        ] {
            assert_eq!(fits(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn patterns_overlap_where_a_subject_fits_both() {
        for (one, other, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "*.b", true),
            ("a.>", "a.b.c", true),
            ("a.*", "a.b.c", false),
            ("a.b", "a.c", false),
            (">", "a", true),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn of_a_group_each_message_comes_to_one_member() {
        let mut listeners = Listeners::default();
        let mut coming: Vec<_> = (0..3).map(|_| listeners.add("a.*".to_owned(), Some("q".to_owned())).1).collect();
        let mut plain = listeners.add("a.>".to_owned(), None).1;
        let message = Message {
            subject: "a.b".to_owned(),
            reply: None,
            headers: crate::seam::Headers::new(),
            body: bytes::Bytes::new(),
            is_unheard: false,
        };
        for _ in 0..30 {
            assert!(listeners.pass(&message));
        }
        let counts: Vec<usize> =
            coming.iter_mut().map(|coming| std::iter::from_fn(|| coming.try_recv().ok()).count()).collect();
        assert_eq!(counts, [10, 10, 10]);
        assert_eq!(std::iter::from_fn(|| plain.try_recv().ok()).count(), 30);
    }
}
