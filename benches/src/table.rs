//! The table of a theme, in Markdown, so that it can be kept as it is.

use std::fmt;

use comfy_table::presets::ASCII_MARKDOWN;

/// One figure.
#[derive(Debug, Default)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How much it is.
    pub figure: String,
    /// What it is to be.
    pub aim: String,
    /// The peer, or the limit, of the same run.
    pub peer: String,
    /// Ours by the peer's: above 1 is better than the peer where a rate, worse where a time.
    pub ratio: String,
    /// What bounds it.
    pub limit: String,
}

/// The figures of a theme.
#[derive(Debug, Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a figure.
    pub fn add(&mut self, row: Row) {
        eprintln!("  {}: {}", row.what, row.figure);
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(["what", "figure", "aim", "peer, same run", "ratio", "limit"]);
        for row in &self.0 {
            table.add_row([&row.what, &row.figure, &row.aim, &row.peer, &row.ratio, &row.limit]);
        }
        table.fmt(f)
    }
}
