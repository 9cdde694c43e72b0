//! `dead-letters`: messages of the queue that could not be taken.

use std::io::{self, Read, Write};
use std::path::Path;

use lotline_bus::{Bus, Letter, Settled};
use lotline_ledger::LedgerId;
use serde_json::{Value as Json, json};

use super::{connect, ledger, troubled};
use crate::args::{DeadLetters, Letters, Post};
use crate::failure::{Exit, Failure};
use crate::print::{Sheet, count, finished, number, text};
use crate::submit;

/// `dead-letters`.
///
/// # Errors
/// Where the server does not answer, there is no such letter, or a file cannot be read.
pub fn dead_letters(asked: &DeadLetters) -> Result<Exit, Failure> {
    match &asked.what {
        Letters::List { all, json, post } => list(&Office::open(post)?, *all, *json),
        Letters::Show { number, json, post } => show(&Office::open(post)?.letter(*number)?, *json),
        Letters::Send { number, file, post } => send(&Office::open(post)?, *number, file.as_deref()),
        Letters::Drop { number, reason, post } => drop_one(&Office::open(post)?, *number, reason),
    }
}

/// The letters of one ledger.
struct Office {
    bus: Bus,
    ledger: LedgerId,
}

impl Office {
    fn open(post: &Post) -> Result<Self, Failure> {
        let bus = connect(&post.nats, &post.access, "dead-letters")?;
        let ledger = ledger(&bus, post.ledger.as_deref())?;
        Ok(Self { bus, ledger })
    }

    fn letter(&self, number: u64) -> Result<Letter, Failure> {
        let found = self.bus.letter(self.ledger, number).map_err(troubled)?;
        found.ok_or_else(|| {
            Failure::new(Exit::No, format!("there is no dead letter {number}"))
                .advice("`lotline dead-letters list` shows those that there are")
        })
    }

    fn open_letter(&self, number: u64) -> Result<Letter, Failure> {
        let letter = self.letter(number)?;
        match &letter.settled {
            None => Ok(letter),
            Some(settled) => Err(Failure::new(Exit::No, format!("letter {number} is settled: {}", state(settled)))),
        }
    }
}

fn state(settled: &Settled) -> String {
    match settled {
        Settled::Sent => "sent again".to_owned(),
        Settled::Dropped { reason } => format!("dropped: {reason}"),
    }
}

fn form(letter: &Letter) -> Json {
    let headers: Vec<Json> =
        letter.headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    // Nothing is lost where the body is no text: it is given byte by byte.
    let body = std::str::from_utf8(&letter.body).map_or_else(|_| json!(letter.body), |text| json!(text));
    json!({
        "number": letter.number, "reason": letter.reason, "code": letter.code, "subject": letter.subject,
        "sequence": letter.sequence, "came": letter.came, "deliveries": letter.deliveries, "headers": headers,
        "body": body, "settled": letter.settled.as_ref().map(state),
    })
}

fn list(office: &Office, all: bool, as_json: bool) -> Result<Exit, Failure> {
    let letters = office.bus.letters(office.ledger, all).map_err(troubled)?;
    let mut out = io::stdout().lock();
    if as_json {
        finished(letters.iter().try_for_each(|letter| writeln!(out, "{}", form(letter))))?;
        return Ok(Exit::Done);
    }
    let mut sheet =
        Sheet::new([number("letter"), text("came"), text("subject"), number("code"), text("reason"), text("state")]);
    for letter in &letters {
        sheet.row([
            letter.number.into(),
            letter.came.as_str().into(),
            letter.subject.as_str().into(),
            u64::from(letter.code).into(),
            letter.reason.as_str().into(),
            letter.settled.as_ref().map_or_else(|| "open".to_owned(), state).into(),
        ]);
    }
    let table = if sheet.is_empty() { String::new() } else { format!("{}\n\n", sheet.table()) };
    let last = format!("{} of ledger {}", count(letters.len(), "dead letter"), office.ledger);
    finished(writeln!(out, "{table}{last}"))?;
    Ok(Exit::Done)
}

fn show(letter: &Letter, as_json: bool) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    if as_json {
        finished(writeln!(out, "{}", form(letter)))?;
        return Ok(Exit::Done);
    }
    let mut lines = vec![
        format!("letter {}, {}", letter.number, letter.settled.as_ref().map_or_else(|| "open".to_owned(), state)),
        format!("reason:  {} (code {})", letter.reason, letter.code),
        format!("subject: {}", letter.subject),
        format!(
            "came:    {}, as message {} of the queue, delivered {} times",
            letter.came, letter.sequence, letter.deliveries
        ),
    ];
    lines.extend(letter.headers.iter().map(|(name, value)| format!("header:  {name}: {value}")));
    lines.push(String::new());
    let written = writeln!(out, "{}", lines.join("\n")).and_then(|()| out.write_all(&letter.body));
    finished(written.and_then(|()| writeln!(out)))?;
    Ok(Exit::Done)
}

fn send(office: &Office, number: u64, file: Option<&Path>) -> Result<Exit, Failure> {
    let letter = office.open_letter(number)?;
    let mended = file.map(read).transpose()?;
    office.bus.send_again(office.ledger, &letter, mended).map_err(troubled)?;
    finished(writeln!(io::stdout(), "letter {number} is in the queue again"))?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        submit::open(path)?.read_to_end(&mut bytes)
    };
    read.map_err(|error| Failure::new(Exit::Input, format!("cannot read {}", path.display())).because(error))?;
    // An editor ends a file with a line feed, which was not in the message.
    Ok(bytes.trim_ascii_end().to_vec())
}

fn drop_one(office: &Office, number: u64, reason: &str) -> Result<Exit, Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "--reason says nothing"));
    }
    let letter = office.open_letter(number)?;
    office.bus.drop_letter(office.ledger, &letter, reason.trim()).map_err(troubled)?;
    finished(writeln!(io::stdout(), "letter {number} is dropped; `lotline dead-letters list --all` still shows it"))?;
    Ok(Exit::Done)
}
