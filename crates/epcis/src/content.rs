//! What an event says, apart from how it is written: the basis of ids that events do not bring along,
//! and of telling a repetition from a contradiction.

use lotline_gs1::Identifier;

use crate::error::{EventError, Fault};
use crate::json::{DEPTH_MAX, Node};

/// Hash of an event's content. Equal for events that differ only in the order of their names, in white
/// space, in how a number, an identifier or the time is written (`10`, `10.0`, `1e1`; an EPC URN or a Digital
/// Link), and in `recordTime`, which the repository gives and not the source. Unknown fields count. The order of lists counts.
pub type ContentHash = [u8; 32];

const CONTEXT: &str = "lotline 2026 epcis event content v1";

/// The content of an event without the named members.
pub(crate) fn hash(event: Node<'_>, without: &[&str]) -> Result<ContentHash, EventError> {
    let mut canonical = String::new();
    write_event(event, without, &mut canonical, 0)?;
    Ok(*blake3::Hasher::new_derive_key(CONTEXT).update(canonical.as_bytes()).finalize().as_bytes())
}

/// The id of what brings none.
pub(crate) fn id(hash: &ContentHash) -> String {
    format!("urn:lotline:blake3:{}", blake3::Hash::from_bytes(*hash).to_hex())
}

/// The hash of a text that is too long to be a name.
pub(crate) fn id_of_text(text: &str) -> String {
    id(blake3::Hasher::new_derive_key("lotline 2026 epcis long name v1").update(text.as_bytes()).finalize().as_bytes())
}

fn write_event(node: Node<'_>, without: &[&str], out: &mut String, depth: usize) -> Result<(), EventError> {
    let object = node.object_but("eventID")?;
    out.push('{');
    for (name, value) in object.members() {
        if name == "recordTime" || without.contains(&name) {
            continue;
        }
        write_text(name, out);
        out.push(':');
        match name {
            // Members of the event itself, in the writing of EPCIS 1.2.
            "baseExtension" if value.kind() == "an object" => write_event(value, without, out, depth + 1)?,
            "eventTime" if value.kind() == "a text" => write_text(&time(&value.string()?), out),
            _ => write(value, out, depth + 1)?,
        }
        out.push(',');
    }
    out.push('}');
    Ok(())
}

fn write(node: Node<'_>, out: &mut String, depth: usize) -> Result<(), EventError> {
    if depth > DEPTH_MAX {
        return Err(node.error(Fault::Deep(DEPTH_MAX)));
    }
    match node.text().as_bytes().first() {
        Some(b'{') => {
            out.push('{');
            for (name, value) in node.object()?.members() {
                write_text(name, out);
                out.push(':');
                write(value, out, depth + 1)?;
                out.push(',');
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for value in node.list()? {
                write(value, out, depth + 1)?;
                out.push(',');
            }
            out.push(']');
        }
        Some(b'"') => write_text(&identifier(node.string()?), out),
        Some(b't' | b'f' | b'n') => out.push_str(node.text()),
        _ => out.push_str(&number(node.number()?)),
    }
    Ok(())
}

/// Length first, so that no text can look like structure.
fn write_text(text: &str, out: &mut String) {
    out.push_str(&format!("\"{}:{text}\"", text.len()));
}

/// One writing for all of a GS1 key; any other text as it is.
fn identifier(text: String) -> String {
    match Identifier::parse(&text) {
        Ok(Identifier::Other(_)) | Err(_) => text,
        Ok(id) => id.to_string(),
    }
}

/// A number by its value: digits without zeros at either end, and a power of ten.
fn number(text: &str) -> String {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    let dropped = digits.len() - digits.trim_end_matches('0').len();
    // An exponent that no counter holds is no number that anybody means; it compares by its text.
    let Ok(exponent) = exponent.parse::<i64>() else {
        return text.to_owned();
    };
    let power =
        exponent - i64::try_from(fraction.len()).unwrap_or(i64::MAX) + i64::try_from(dropped).unwrap_or(i64::MAX);
    format!("{}{significant}e{power}", if negative { "-" } else { "" })
}

/// A time without zeros at the end of its fraction, and with `+00:00` for `Z`: instant and offset as they
/// are.
fn time(text: &str) -> String {
    let text = text.trim().replace('t', "T");
    let text = match text.strip_suffix(['Z', 'z']) {
        Some(local) => format!("{local}+00:00"),
        None => text,
    };
    let Some(dot) = text.find('.') else { return text };
    let end = text[dot + 1..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| dot + 1 + at);
    let fraction = text[dot..end].trim_end_matches('0').trim_end_matches('.');
    format!("{}{fraction}{}", &text[..dot], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Frame;

    fn of(text: &str) -> ContentHash {
        hash(Node::root(Frame { text, path: "", line: 1, column: 1 }), &["eventID"]).unwrap()
    }

    #[test]
    fn writing_does_not_count() {
        let plain = of(
            r#"{"epc": "urn:epc:class:lgtin:0614141.077777.987", "a": [1, 20.5], "eventTime": "2022-01-20T11:10:14.025Z", "q": {"x": "y", "z": null}}"#,
        );
        let other = of(r#"{ "q":{"z":null,"x":"\u0079"}, "eventID": "e", "recordTime": "now",
            "eventTime":"2022-01-20T11:10:14.0250000+00:00", "a":[1.0,2.05e1],
            "epc": "https://example.com/01/00614141777778/10/987" }"#);
        assert_eq!(plain, other);
    }

    #[test]
    fn what_is_said_counts() {
        let base = of(r#"{"a": [1, 2], "eventTime": "2022-01-20T11:10:14Z"}"#);
        for other in [
            r#"{"a": [2, 1], "eventTime": "2022-01-20T11:10:14Z"}"#,
            r#"{"a": [1, "2"], "eventTime": "2022-01-20T11:10:14Z"}"#,
            r#"{"a": [1, 2], "eventTime": "2022-01-20T12:10:14+01:00"}"#,
            r#"{"a": [1, 2], "eventTime": "2022-01-20T11:10:14Z", "unknown": 1}"#,
            r#"{"a": [1, 2.0001], "eventTime": "2022-01-20T11:10:14Z"}"#,
        ] {
            assert_ne!(base, of(other), "{other}");
        }
    }

    #[test]
    fn numbers_compare_by_value() {
        for text in ["10", "10.0", "1e1", "1E+1", "0.1e2", "10.000"] {
            assert_eq!(number(text), "1e1", "{text}");
        }
        assert_eq!(number("-0.0"), "0");
        assert_eq!(number("0.05"), "5e-2");
        assert_eq!(number("-120"), "-12e1");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        let frame = Frame { text: &deep, path: "", line: 1, column: 1 };
        assert_eq!(hash(Node::root(frame), &[]).unwrap_err().fault, Fault::Deep(DEPTH_MAX));
    }
}
