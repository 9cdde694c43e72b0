//! The JSON Schemas of everything that is sent, as they are checked in.

use crate::answer::answer_schemas;
use crate::command::facts::command_schemas;

/// The files below `schemas/` that are generated: their path there, and their content.
pub fn schemas() -> Vec<(String, String)> {
    let commands = command_schemas().into_iter().map(|(word, schema)| ("commands", word, schema));
    let answers = answer_schemas().into_iter().map(|(name, schema)| ("answers", name, schema));
    commands
        .chain(answers)
        .map(|(folder, name, schema)| {
            let text = serde_json::to_string_pretty(&schema).expect("a schema has text keys only");
            (format!("{folder}/{name}.schema.json"), text + "\n")
        })
        .collect()
}
