//! CloudEvents in binary mode: attributes are headers, the body is the command.

use std::borrow::Cow;

use lotline_bus::Incoming;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

/// What the types of our events begin with.
const TYPES: &str = "lotline.";

#[derive(Deserialize)]
struct Has {
    #[serde(rename = "type")]
    word: Option<IgnoredAny>,
    id: Option<IgnoredAny>,
    occurred_at: Option<IgnoredAny>,
}

/// The text of a command, completed by what the attributes of a CloudEvent say and the text does not: `type` from
/// `ce-type` (without `lotline.` before it), `occurred_at` from `ce-time`, and `id` from `ce-source` and `ce-id`, which
/// only together name one event. Without `ce-specversion` it is no CloudEvent, and the text stays as it is.
///
/// # Errors
/// Where an attribute is missing, or is not understood.
pub(super) fn completed<'t>(message: &Incoming, text: &'t str) -> Result<Cow<'t, str>, String> {
    let Some(version) = message.header("ce-specversion") else { return Ok(text.into()) };
    if version != "1.0" {
        return Err(format!("is a CloudEvent of version {version}, and 1.0 is understood"));
    }
    let attribute = |name: &str| match message.header(name).map(str::trim) {
        Some(value) if !value.is_empty() => Ok(decoded(value)),
        _ => Err(format!("is a CloudEvent without {name}")),
    };
    let (id, source, kind) = (attribute("ce-id")?, attribute("ce-source")?, attribute("ce-type")?);
    // What is no JSON object is told where commands are read.
    let (Ok(has), Some(rest)) = (serde_json::from_str::<Has>(text), text.strip_prefix('{')) else {
        return Ok(text.into());
    };
    let mut more = Vec::new();
    if has.word.is_none() {
        let Some(word) = kind.strip_prefix(TYPES) else {
            return Err(format!("has no type, and its ce-type {kind:?} does not begin with {TYPES:?}"));
        };
        more.push(("type", word.to_owned()));
    }
    if has.id.is_none() {
        more.push(("id", format!("{source}#{id}")));
    }
    if let (None, Ok(time)) = (has.occurred_at, attribute("ce-time")) {
        more.push(("occurred_at", time));
    }
    if more.is_empty() {
        return Ok(text.into());
    }
    let fields: Vec<String> =
        more.into_iter().map(|(name, value)| format!("{}:{}", json!(name), json!(value))).collect();
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    Ok(format!("{{{}{comma}{rest}", fields.join(",")).into())
}

/// An attribute's value: in headers it is percent-encoded where it is not plain.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(headers: &[(&str, &str)], text: &str) -> Result<String, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let message = Incoming { source: "erp".to_owned(), headers, body: Vec::new() };
        completed(&message, text).map(Cow::into_owned)
    }

    const HEAD: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/plant%201/erp"), ("ce-type", "lotline.seen")];

    #[test]
    fn attributes_say_what_the_body_does_not() {
        let timed = [&HEAD[..], &[("ce-time", "2026-03-01T08:00:00Z")]].concat();
        let text = event(&timed, r#"{"place":"dock"}"#).expect("completed");
        assert_eq!(
            text,
            r##"{"type":"seen","id":"/plant 1/erp#7","occurred_at":"2026-03-01T08:00:00Z","place":"dock"}"##
        );
        assert_eq!(event(&HEAD, "{}").expect("completed"), r##"{"type":"seen","id":"/plant 1/erp#7"}"##);
        let whole = r#"{"type":"seen","id":"a","occurred_at":"2026-03-01Z"}"#;
        assert_eq!(event(&timed, whole).expect("as it was"), whole);
        assert_eq!(event(&[], "{}").expect("no event"), "{}");
    }

    #[test]
    fn what_is_missing_or_of_another_version_is_told() {
        for without in 0..4 {
            let mut head = HEAD.to_vec();
            head.remove(without);
            let told = event(&head, "{}");
            assert_eq!(told.is_ok(), without == 0, "{told:?}");
        }
        let mut other = HEAD;
        other[0].1 = "0.3";
        assert!(event(&other, "{}").is_err_and(|text| text.contains("0.3")));
        other = HEAD;
        other[3].1 = "com.example.seen";
        assert!(event(&other, "{}").is_err_and(|text| text.contains("com.example.seen")));
    }
}
