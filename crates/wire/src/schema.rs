//! The JSON Schemas of everything that is sent, and the document of where it goes, as they are checked in.

use serde::Serialize;

use crate::answer::answer_schemas;
use crate::asyncapi;
use crate::command::facts::command_schemas;
use crate::feed::feed_schemas;
use crate::question::question_schemas;

/// The files below `schemas/` that are generated: their path there, and their content.
pub fn schemas() -> Vec<(String, String)> {
    let commands = command_schemas().into_iter().map(|(word, schema)| ("commands", word, schema));
    let answers = answer_schemas().into_iter().map(|(name, schema)| ("answers", name, schema));
    let feeds = feed_schemas().into_iter().map(|(name, schema)| ("feeds", name, schema));
    let queries = question_schemas().into_iter().map(|(name, schema)| ("queries", name, schema));
    commands
        .chain(answers)
        .chain(queries)
        .chain(feeds)
        // A schema has an order of its own, which its value has not.
        .map(|(folder, name, schema)| (format!("{folder}/{name}.schema.json"), print(&schema)))
        .chain([("asyncapi.json".to_owned(), print(&asyncapi::document()))])
        .collect()
}

fn print(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).expect("a document has text keys only") + "\n"
}
