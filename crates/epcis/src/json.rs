//! JSON read in place: every value knows where it stands, numbers stay as they are written, and a name
//! that stands twice in an object is an error and not a choice.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{EventError, Fault, Spot};

/// Deeper nesting than this is refused: nothing of EPCIS is, and what walks values is recursive.
pub(crate) const DEPTH_MAX: usize = 64;

/// A text that errors count their places in: the whole document, or one event of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) text: &'a str,
    /// Path of the text in its document.
    pub(crate) path: &'a str,
    /// Line and column of its first byte.
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Frame<'_> {
    /// Where the byte `offset` of the frame is.
    pub(crate) fn spot(&self, offset: usize) -> Spot {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let newlines = before.iter().filter(|byte| **byte == b'\n').count();
        let column = match before.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => before.len() - last,
            None => self.column + before.len(),
        };
        let inner = path_at(self.text, offset);
        let path = match (self.path.is_empty(), inner.is_empty()) {
            (true, _) => inner,
            (false, true) => self.path.to_owned(),
            (false, false) if inner.starts_with('[') => format!("{}{inner}", self.path),
            (false, false) => format!("{}.{inner}", self.path),
        };
        Spot { path, line: self.line + newlines, column }
    }
}

/// A value, where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    text: &'a str,
    frame: Frame<'a>,
}

/// The members of an object, by name.
pub(crate) struct Object<'a> {
    node: Node<'a>,
    members: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// The tolerated name stands there more than once.
    twice: bool,
}

impl<'a> Node<'a> {
    /// The value that is the whole frame. The frame has to be valid JSON.
    pub(crate) fn root(frame: Frame<'a>) -> Self {
        Self { text: frame.text.trim_matches([' ', '\t', '\n', '\r']), frame }
    }

    fn inner(&self, raw: &'a RawValue) -> Self {
        Self { text: raw.get(), frame: self.frame }
    }

    /// The value as it is written.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Byte offset within the frame.
    pub(crate) fn offset(&self) -> usize {
        // Both are slices of one text, so that their addresses can be compared.
        self.text.as_ptr().addr() - self.frame.text.as_ptr().addr()
    }

    pub(crate) fn spot(&self) -> Spot {
        self.frame.spot(self.offset())
    }

    pub(crate) fn error(&self, fault: impl Into<Fault>) -> EventError {
        EventError { spot: self.spot(), fault: fault.into() }
    }

    /// What kind of value it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self.text.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "a text",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.text == "null"
    }

    fn expected(&self, expected: &'static str) -> EventError {
        self.error(Fault::Type { found: self.kind(), expected })
    }

    pub(crate) fn object(&self) -> Result<Object<'a>, EventError> {
        self.object_where(|_| false)
    }

    /// An object of which names may stand twice; only for telling what it is.
    pub(crate) fn object_at_first_sight(&self) -> Result<Object<'a>, EventError> {
        self.object_where(|_| true)
    }

    /// An object in which one name may stand twice: the last one counts, as is usual in JSON.
    pub(crate) fn object_but(&self, tolerated: &str) -> Result<Object<'a>, EventError> {
        self.object_where(|name| name == tolerated)
    }

    fn object_where(&self, tolerated: impl Fn(&str) -> bool) -> Result<Object<'a>, EventError> {
        if !self.text.starts_with('{') {
            return Err(self.expected("an object"));
        }
        let Ok(Members { members, twice }) = serde_json::from_str::<Members<'a>>(self.text) else {
            return Err(self.expected("an object with names that are valid text"));
        };
        match twice.iter().find(|name| !tolerated(name)) {
            Some(name) => Err(self.error(Fault::Twice(name.clone()))),
            None => Ok(Object { node: *self, members, twice: !twice.is_empty() }),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Node<'a>>, EventError> {
        let items: Vec<&'a RawValue> = serde_json::from_str(self.text).map_err(|_| self.expected("a list"))?;
        Ok(items.into_iter().map(|raw| self.inner(raw)).collect())
    }

    pub(crate) fn string(&self) -> Result<String, EventError> {
        let expected = if self.text.starts_with('"') { "a text without broken escapes" } else { "a text" };
        serde_json::from_str(self.text).map_err(|_| self.expected(expected))
    }

    /// A number, as it is written.
    pub(crate) fn number(&self) -> Result<&'a str, EventError> {
        if self.text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            Ok(self.text)
        } else {
            Err(self.expected("a number"))
        }
    }
}

impl<'a> Object<'a> {
    pub(crate) fn node(&self) -> Node<'a> {
        self.node
    }

    pub(crate) fn has_one_twice(&self) -> bool {
        self.twice
    }

    /// The member of this name; a `null` is as good as none.
    pub(crate) fn get(&self, name: &str) -> Option<Node<'a>> {
        let node = self.node.inner(self.members.get(name)?);
        (!node.is_null()).then_some(node)
    }

    pub(crate) fn need(&self, name: &'static str) -> Result<Node<'a>, EventError> {
        self.get(name).ok_or_else(|| self.node.error(Fault::Missing(name)))
    }

    /// A text that is not empty; an empty one is as good as none.
    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, EventError> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let text = node.string()?;
        Ok((!text.trim().is_empty()).then(|| text.trim().to_owned()))
    }

    /// The items of a list; none when the list is not there.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Node<'a>>, EventError> {
        self.get(name).map_or_else(|| Ok(Vec::new()), |node| node.list())
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, Node<'a>)> {
        self.members.iter().map(|(name, raw)| (name.as_ref(), self.node.inner(raw)))
    }

    /// The member whose name has this local part, whatever its prefix (`gdst:productOwner`).
    pub(crate) fn local(&self, local: &str) -> Option<Node<'a>> {
        let (_, node) =
            self.members().find(|(name, _)| name.rsplit(':').next() == Some(local) && !name.starts_with('@'))?;
        (!node.is_null()).then_some(node)
    }
}

struct Members<'a> {
    members: BTreeMap<Cow<'a, str>, &'a RawValue>,
    twice: Vec<String>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Seen<'a> {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut seen = Members { members: BTreeMap::new(), twice: Vec::new() };
                while let Some((name, raw)) = map.next_entry::<String, &'a RawValue>()? {
                    if seen.members.insert(Cow::Owned(name.clone()), raw).is_some() {
                        seen.twice.push(name);
                    }
                }
                Ok(seen)
            }
        }
        deserializer.deserialize_map(Seen(std::marker::PhantomData))
    }
}

/// The path of the value that begins at, or contains, the byte `offset` of a JSON text. The text after
/// `offset` is not looked at, so that it also serves where reading had to stop.
pub(crate) fn path_at(text: &str, offset: usize) -> String {
    enum Level {
        Object { key: Option<String>, at_key: bool },
        List { index: usize },
    }
    let bytes = &text.as_bytes()[..offset.min(text.len())];
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => levels.push(Level::Object { key: None, at_key: true }),
            b'[' => levels.push(Level::List { index: 0 }),
            b'}' | b']' => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::Object { key, at_key }) => {
                    *key = None;
                    *at_key = true;
                }
                Some(Level::List { index }) => *index += 1,
                None => {}
            },
            b':' => {
                if let Some(Level::Object { at_key, .. }) = levels.last_mut() {
                    *at_key = false;
                }
            }
            b'"' => {
                let start = at + 1;
                at = start;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if let Some(Level::Object { key, at_key: true }) = levels.last_mut() {
                    *key = Some(String::from_utf8_lossy(&bytes[start..at.min(bytes.len())]).into_owned());
                }
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in levels.iter().take(DEPTH_MAX) {
        match level {
            Level::Object { key: Some(key), .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Level::Object { key: None, .. } => {}
            Level::List { index } => path.push_str(&format!("[{index}]")),
        }
    }
    if levels.len() > DEPTH_MAX {
        path.push('…');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_where_reading_stands() {
        let text = r#"{"a": {"b": [1, {"c \" ,": true}, [[], "x"]]}, "d": 2}"#;
        for (needle, path) in [("1,", "a.b[0]"), ("true", "a.b[1].c \\\" ,"), ("\"x\"", "a.b[2][1]"), ("2}", "d")] {
            assert_eq!(path_at(text, text.find(needle).unwrap()), path);
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_found() {
        let frame = Frame { text: "\n {\"a\": 1, \"a\": 2}", path: "list[0]", line: 7, column: 3 };
        let error = Node::root(frame).object().err().unwrap();
        assert_eq!(error.to_string(), "list[0] (line 8, column 2): has \"a\" twice");
    }
}
