//! Which form a message has, by its headers.

use lotline_bus::{Answer, Incoming};
use lotline_wire::channel::code;

use super::refusal;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A native command.
    Native,
    /// An EPCIS 2.0 document, or a bare event.
    Epcis,
}

/// The form of a message. JSON without a word about it is a native command; JSON-LD is EPCIS, and so is JSON under
/// the header that EPCIS 2.0 has for its version.
pub(super) fn of(message: &Incoming) -> Result<Form, Answer> {
    let given = message.header("content-type").or_else(|| message.header("ce-datacontenttype"));
    let kind = given.unwrap_or("application/json").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let version = message.header("GS1-EPCIS-Version");
    match (kind.as_str(), version) {
        ("application/ld+json" | "application/json", Some(version)) if !version.trim().starts_with('2') => {
            Err(refusal(code::CONTENT_TYPE, None, format!("is EPCIS {version}, and 2.0 is understood")))
        }
        ("application/ld+json", _) | ("application/json", Some(_)) => Ok(Form::Epcis),
        ("application/json", None) => Ok(Form::Native),
        ("application/cloudevents+json", _) => {
            let what =
                "is a CloudEvent in structured mode; send it in binary mode, with its attributes as ce-* headers";
            Err(refusal(code::CONTENT_TYPE, None, what.to_owned()))
        }
        (other, _) => {
            let what = format!(
                "has content type {other}; application/json is a native command, application/ld+json is EPCIS 2.0"
            );
            Err(refusal(code::CONTENT_TYPE, None, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(headers: &[(&str, &str)]) -> Option<Form> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        of(&Incoming { source: "erp".to_owned(), headers, body: Vec::new() }).ok()
    }

    #[test]
    fn the_content_type_tells_native_commands_from_epcis() {
        assert_eq!(form(&[]), Some(Form::Native));
        assert_eq!(form(&[("Content-Type", "application/json; charset=utf-8")]), Some(Form::Native));
        assert_eq!(form(&[("content-type", "Application/LD+JSON")]), Some(Form::Epcis));
        assert_eq!(form(&[("content-type", "application/json"), ("gs1-epcis-version", "2.0.0")]), Some(Form::Epcis));
        for other in ["text/xml", "application/cloudevents+json", ""] {
            assert_eq!(form(&[("content-type", other)]), None, "{other}");
        }
        assert_eq!(form(&[("content-type", "application/ld+json"), ("GS1-EPCIS-Version", "1.2")]), None);
    }
}
