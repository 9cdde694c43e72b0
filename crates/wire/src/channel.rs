//! Names on a NATS server: subjects, streams, buckets and headers, all in one place, so that the document of them
//! in `schemas/asyncapi.json` is made of the very names that are used.
//!
//! A token of a subject is made of `A-Z a-z 0-9 _ -` alone. What users named (sources, items, batch codes, places)
//! may hold dots, wildcards and spaces: there they would be injection, so it is escaped by [`token`], and can be
//! read back by [`text_of`].

use std::fmt::Write;

/// The service by which ordinary NATS tools find the intake (`nats micro info lotline`).
pub const SERVICE: &str = "lotline";
/// The service that answers questions.
pub const ASK_SERVICE: &str = "lotline-ask";
/// The durable consumer of the queue: there is one, as there is one writer.
pub const CONSUMER: &str = "handler";

/// Where the answer to a queued command goes.
pub const REPLY_TO: &str = "Lotline-Reply-To";
/// The ledger that a sender means; another one's is refused.
pub const LEDGER: &str = "Lotline-Ledger";
/// What to do with the rest of a document when something in it is refused: `rollback` or `proceed`.
pub const ON_ERROR: &str = "Lotline-On-Error";
/// What came of it: the word that the answer begins with, such as `recorded`.
pub const ANSWER: &str = "Lotline-Answer";
/// With an error, the answer itself: there the body is empty.
pub const ANSWER_BODY: &str = "Lotline-Answer-Body";
/// After so many milliseconds the same message may be sent again.
pub const RETRY_AFTER: &str = "Lotline-Retry-After-Ms";
/// Of an answer to a question in several messages: its number, from 1, and how many there are: `2/5`.
pub const PART: &str = "Lotline-Part";
/// Of a dead letter: why.
pub const REASON: &str = "Lotline-Reason";
/// Of a dead letter: the code of why, as of an answer's error.
pub const REASON_CODE: &str = "Lotline-Reason-Code";
/// Of a dead letter: the subject that it was sent to.
pub const ORIGINAL_SUBJECT: &str = "Lotline-Original-Subject";
/// Of a dead letter: its sequence in the queue.
pub const ORIGINAL_SEQUENCE: &str = "Lotline-Original-Sequence";
/// Of a dead letter: when it came (RFC 3339).
pub const ORIGINAL_TIME: &str = "Lotline-Original-Time";
/// Of a dead letter: how often it was delivered.
pub const DELIVERIES: &str = "Lotline-Deliveries";
/// Of a dead letter: before the name of a header that came with it and means something to the server, or here.
pub const ORIGINAL_PREFIX: &str = "Lotline-Was-";
/// Of a settled letter: `sent` or `dropped`.
pub const SETTLED: &str = "Lotline-Settled";
/// Of a settled letter: why it was dropped.
pub const SETTLED_REASON: &str = "Lotline-Settled-Reason";

/// Of a change: the commit that it is as of.
pub const COMMIT: &str = "Lotline-Commit";
/// Of a change: the hash of that commit, hexadecimal.
pub const COMMIT_HASH: &str = "Lotline-Commit-Hash";
/// Of a change: the commit that what was before is as of.
pub const SINCE: &str = "Lotline-Since";
/// Of a change: its number among those of its step, from 1, and how many there are: `3/7`.
pub const STEP: &str = "Lotline-Step";
/// The key in a bucket that tells up to which change its values are.
pub const AS_OF_KEY: &str = "as-of";

/// Codes of errors, as the header `Nats-Service-Error-Code` has them; those of HTTP mean the same.
pub mod code {
    /// What is asked for fits several; the answer lists them.
    pub const SEVERAL: u16 = 300;
    /// Unreadable; the message has to be mended.
    pub const UNREADABLE: u16 = 400;
    /// It names another source than its subject does.
    pub const OTHER_SOURCE: u16 = 403;
    /// Nothing is recorded of what is asked for.
    pub const UNKNOWN: u16 = 404;
    /// Its id was used before with other content.
    pub const CONFLICT: u16 = 409;
    /// Too large; it has to be split.
    pub const TOO_LARGE: u16 = 413;
    /// A content type that is not understood.
    pub const CONTENT_TYPE: u16 = 415;
    /// It is for another ledger.
    pub const OTHER_LEDGER: u16 = 421;
    /// Too many wait; it may be sent again.
    pub const BUSY: u16 = 429;
    /// Whether it was recorded is not known, and nothing more is taken.
    pub const STOPPED: u16 = 500;
    /// Not now, for a reason that is not in the message; it may be sent again.
    pub const NOT_NOW: u16 = 503;
}

/// Escapes a text into one token; every text has its own. `_` begins an escape: two hexadecimal digits of a byte.
/// The empty text is a lone `_`.
pub fn token(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(char::from(byte));
        } else {
            write!(token, "_{byte:02X}").expect("a text takes it");
        }
    }
    token
}

/// The text of a token; `None` where [`token`] makes no such token of any text.
pub fn text_of(escaped: &str) -> Option<String> {
    if escaped == "_" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'_' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    let text = String::from_utf8(bytes).ok()?;
    // One spelling only.
    (token(&text) == escaped).then_some(text)
}

/// Name of the stream that holds a ledger's commits.
pub fn commits_stream(ledger: &str, generation: &str) -> String {
    format!("lotline-{ledger}-{generation}")
}

/// Subject of the commits in that stream.
pub fn commits_subject(ledger: &str, generation: &str) -> String {
    format!("lotline.{ledger}.commits.{generation}")
}

/// Subject of requests of one source, or of all (`*`). `source` is a token.
pub fn submit_subject(ledger: &str, source: &str) -> String {
    format!("lotline.{ledger}.submit.{source}")
}

/// Subject of queued messages of one source, or of all (`*`). `source` is a token.
pub fn queue_subject(ledger: &str, source: &str) -> String {
    format!("lotline.{ledger}.queue.{source}")
}

/// Subject of questions of one kind.
pub fn ask_subject(ledger: &str, kind: &str) -> String {
    format!("lotline.{ledger}.ask.{kind}")
}

/// Name of the work-queue stream.
pub fn queue_stream(ledger: &str) -> String {
    format!("lotline-{ledger}-queue")
}

/// Subject of dead letters of one source, or of all (`*`). `source` is a token.
pub fn dead_subject(ledger: &str, source: &str) -> String {
    format!("lotline.{ledger}.dead-letters.{source}")
}

/// Subject of dead letters that were sent again or dropped.
pub fn settled_subject(ledger: &str, source: &str) -> String {
    format!("lotline.{ledger}.settled-letters.{source}")
}

/// Name of the stream of dead letters, open and settled ones.
pub fn dead_stream(ledger: &str) -> String {
    format!("lotline-{ledger}-dead-letters")
}

/// Name of the bucket of a feed: `on-hand`, `status`, `expiring`, `edges` or `exceptions`.
pub fn feed_bucket(ledger: &str, feed: &str) -> String {
    format!("lotline-{ledger}-{feed}")
}

/// Name of the bucket of a ledger's snapshots.
pub fn snapshots_bucket(ledger: &str) -> String {
    format!("lotline-{ledger}-snapshots")
}

/// Key of the newest whole snapshot of a read model.
pub fn snapshot_head_key(model: &str) -> String {
    format!("{model}.head")
}

/// Key of a part of a snapshot, which stands in one of two places: `a` or `b`.
pub fn snapshot_part_key(model: &str, place: &str, part: &str) -> String {
    format!("{model}.{place}.{part}")
}

/// Name of the stream of a feed's changes.
pub fn feed_stream(ledger: &str, feed: &str) -> String {
    format!("lotline-{ledger}-{feed}-changes")
}

/// Subject of a feed's changes by three tokens, or by wildcards.
pub fn feed_subject(ledger: &str, feed: &str, tokens: [&str; 3]) -> String {
    let [first, second, third] = tokens;
    format!("lotline.{ledger}.{feed}.{first}.{second}.{third}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_one_token_that_is_read_back() {
        for (text, expected) in [
            ("erp", "erp"),
            ("M-1", "M-1"),
            ("a.b", "a_2Eb"),
            ("*", "_2A"),
            (">", "_3E"),
            ("a b_c", "a_20b_5Fc"),
            ("käse/7", "k_C3_A4se_2F7"),
            ("", "_"),
            ("_", "_5F"),
            ("$SYS", "_24SYS"),
        ] {
            assert_eq!(token(text), expected);
            assert_eq!(text_of(expected).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_no_token_of_a_text_is_told() {
        for token in ["a_", "a_2", "a_2e", "a_41", "a_G0", "_FF", "a.b", "a b", "*", "a_é1"] {
            assert_eq!(text_of(token), None, "{token}");
        }
        assert_eq!(text_of(""), None);
    }
}
