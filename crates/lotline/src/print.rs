//! Answers as people and spreadsheets read them: tables, CSV, and the lines below them.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use lotline_wire::answer::{Amount, Asked, Finality, Said};
use serde::Serialize;

use crate::args::Form;
use crate::failure::{Exit, Failure};

/// A column of a sheet.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    right: bool,
    /// In CSV the unit stands in a column of its own, so that the numbers can be summed.
    has_unit: bool,
}

/// A column of words.
pub const fn text(name: &'static str) -> Column {
    Column { name, right: false, has_unit: false }
}

/// A column of numbers.
pub const fn number(name: &'static str) -> Column {
    Column { name, right: true, has_unit: false }
}

/// A column of amounts with their units.
pub const fn amount(name: &'static str) -> Column {
    Column { name, right: true, has_unit: true }
}

/// One value of a sheet.
#[derive(Debug, Clone, Default)]
pub struct Value {
    /// For people.
    shown: String,
    /// For spreadsheets: all digits that an answer gives.
    plain: String,
    /// For spreadsheets: the code of the unit, where there is one.
    unit: String,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self { shown: text.clone(), plain: text, unit: String::new() }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        number.to_string().into()
    }
}

impl Value {
    /// Shown to people one way, written to spreadsheets another way.
    pub fn two(shown: impl Into<String>, plain: impl Into<String>) -> Self {
        Self { shown: shown.into(), plain: plain.into(), unit: String::new() }
    }

    /// An amount with its unit.
    pub fn amount(amount: Option<&Amount>) -> Self {
        amount.map_or_else(Self::default, |amount| Self {
            shown: quantity(amount),
            plain: amount.value.clone(),
            unit: amount.unit.clone(),
        })
    }

    /// A name that may be missing.
    pub fn maybe(text: Option<&String>) -> Self {
        text.map_or_else(Self::default, |text| text.as_str().into())
    }
}

/// A line above, below the head, and at the end.
const LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Rows under named columns.
#[derive(Debug)]
pub struct Sheet {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

impl Sheet {
    /// An empty one.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row, which has as many values as there are columns.
    pub fn row(&mut self, values: impl Into<Vec<Value>>) {
        let values = values.into();
        assert_eq!(values.len(), self.columns.len(), "a row has a value for each column");
        self.rows.push(values);
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table, as wide as the terminal; elsewhere as wide as it needs.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(LINES);
        if io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        table.set_header(self.columns.iter().map(|column| Cell::new(column.name)).collect::<Vec<_>>());
        for row in &self.rows {
            table.add_row(row.iter().map(|value| Cell::new(&value.shown)).collect::<Vec<_>>());
        }
        for (at, column) in self.columns.iter().enumerate() {
            if let (true, Some(shown)) = (column.right, table.column_mut(at)) {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    /// Comma-separated values, safe to open in a spreadsheet.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn csv(&self, out: impl Write) -> Result<(), csv::Error> {
        let mut csv = csv::Writer::from_writer(out);
        let header = self.columns.iter().flat_map(|column| {
            let unit = column.has_unit.then(|| format!("{} unit", column.name));
            [Some(column.name.to_owned()), unit].into_iter().flatten()
        });
        csv.write_record(header)?;
        for row in &self.rows {
            let cells = self.columns.iter().zip(row).flat_map(|(column, value)| {
                let unit = column.has_unit.then_some(&value.unit);
                [Some(&value.plain), unit].into_iter().flatten()
            });
            csv.write_record(cells.map(|cell| harmless(cell)))?;
        }
        Ok(csv.flush()?)
    }
}

/// A value that a spreadsheet takes as a value: what begins like a formula gets an apostrophe, unless it is a
/// number with its unit.
fn harmless(value: &str) -> String {
    let number = value.strip_prefix('-').unwrap_or(value);
    let (digits, unit) = number.split_once(' ').unwrap_or((number, ""));
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'))
        && unit.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_number && value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{value}")
    } else {
        value.to_owned()
    }
}

/// An amount for people: at most three digits behind the point (`~` where that is not all), unit in words.
pub fn quantity(amount: &Amount) -> String {
    let (whole, part) = amount.value.split_once('.').unwrap_or((&amount.value, ""));
    let unit = unit(&amount.unit);
    if part.len() <= 3 && amount.exact.is_none() {
        return format!("{} {unit}", amount.value);
    }
    let rounded = amount.value.parse::<rust_decimal::Decimal>().map(|value| {
        value.round_dp_with_strategy(3, rust_decimal::RoundingStrategy::MidpointAwayFromZero).normalize().to_string()
    });
    format!("~{} {unit}", rounded.unwrap_or_else(|_| whole.to_owned()))
}

/// The usual sign of a unit, where there is one; else its code.
pub fn unit(code: &str) -> &str {
    match code {
        "KGM" => "kg",
        "GRM" => "g",
        "TNE" => "t",
        "LTR" => "l",
        "MTR" => "m",
        "MTK" => "m²",
        "C62" | "H87" => "pcs",
        other => other,
    }
}

/// A count with its noun: "1 run", "3 runs".
pub fn count(many: usize, noun: &str) -> String {
    if many == 1 { format!("1 {noun}") } else { format!("{many} {noun}s") }
}

/// The lines below a table: within which bounds it holds, and what has to be said about it.
pub fn below(asked: &Asked, said: &[Said]) -> String {
    let mut lines = vec![bounds(asked)];
    lines.extend(said.iter().map(|said| format!("Note: {}", said.message)));
    lines.join("\n")
}

fn bounds(asked: &Asked) -> String {
    let as_of = asked.as_of.as_ref().map(|at| format!("As of {at}, as")).unwrap_or_else(|| "As".to_owned());
    let recorded = asked.recorded_at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
    let last = match asked.finality {
        Finality::Final => "this answer is final",
        Finality::NotFinal => "more may be recorded",
    };
    let Asked { as_known_at, ledger, model, .. } = asked;
    format!("{as_of} known at commit {as_known_at}{recorded} of ledger {ledger}; model {model}; {last}.")
}

/// An answer as JSON, to its last line's end: the bytes are the same whatever way it goes.
pub fn json<A: Serialize>(answer: &A) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(answer).expect("an answer has text keys only");
    bytes.push(b'\n');
    bytes
}

/// Writes an answer in the form that was asked for.
///
/// # Errors
/// Where the standard output cannot be written.
pub fn answer<A: Serialize>(form: &Form, answer: &A, sheets: &[Sheet], below: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = if form.json {
        out.write_all(&json(answer))
    } else if form.csv {
        sheets.first().map_or(Ok(()), |sheet| sheet.csv(&mut out).map_err(io::Error::other))
    } else {
        let mut tables = sheets.iter().filter(|sheet| !sheet.is_empty()).peekable();
        let nothing = if !sheets.is_empty() && tables.peek().is_none() { writeln!(out, "Nothing.\n") } else { Ok(()) };
        nothing
            .and_then(|()| tables.try_for_each(|sheet| writeln!(out, "{}\n", sheet.table())))
            .and_then(|()| writeln!(out, "{below}"))
    };
    finished(written.and_then(|()| out.flush()))
}

/// What became of writing to the standard output. A reader that went away (`| head`) is no failure.
///
/// # Errors
/// Any other one.
pub fn finished(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(Exit::Disk, "cannot write the answer").because(error)),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_a_formula_is_made_harmless_and_numbers_stay_numbers() {
        for (value, written) in [
            ("=1+1", "'=1+1"),
            ("+A1", "'+A1"),
            ("@x", "'@x"),
            ("-cmd", "'-cmd"),
            ("-60 KGM", "-60 KGM"),
            ("-1/3 KGM", "-1/3 KGM"),
            ("- 60", "'- 60"),
            ("cheese/1", "cheese/1"),
        ] {
            assert_eq!(harmless(value), written);
        }
    }

    #[test]
    fn an_amount_says_when_it_is_rounded() {
        let amount = |value: &str, exact: Option<&str>| Amount {
            value: value.to_owned(),
            unit: "KGM".to_owned(),
            exact: exact.map(str::to_owned),
        };
        assert_eq!(quantity(&amount("12.5", None)), "12.5 kg");
        assert_eq!(quantity(&amount("12.3456", None)), "~12.346 kg");
        assert_eq!(quantity(&amount("0.333333333", Some("1/3"))), "~0.333 kg");
    }
}
