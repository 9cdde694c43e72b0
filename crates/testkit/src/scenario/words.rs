//! Words of the language: times, names, quantities.

use std::fmt::Display;

use lotline_domain::fact::Window;
use lotline_domain::id::{
    BatchCode, BatchId, BatchRef, ContainerId, Generation, ItemId, PartyId, Place, RunId, RunName, SourceId, VesselId,
};
use lotline_domain::quantity::{Difference, Stated, parse_decimal};
use lotline_domain::time::{Instant, OccurredAt};
use lotline_domain::unit::Unit;

/// The item of a batch that names none.
const ITEM: &str = "item";
/// Who names the runs that do not say it.
const RUNS: &str = "mes";
const HOUR: i64 = 3_600_000_000;

/// The instant that hours are counted from: 2026-03-01T00:00:00Z.
pub fn base() -> Instant {
    Instant(1_772_323_200_000_000)
}

/// A name as answers write it: without the item and the source that lines leave out.
pub fn short(name: &str) -> String {
    name.replace(&format!("{ITEM}/"), "").replace(&format!("run:{RUNS}:"), "run:")
}

/// Says which word an error is about.
pub fn bad<E: Display>(word: &str) -> impl Fn(E) -> String {
    move |error| format!("{word:?} {error}")
}

/// A line, word by word.
pub struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    pub fn of(text: &'a str) -> Self {
        Self { words: text.split_whitespace().collect(), at: 0 }
    }

    pub fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    pub fn next(&mut self, wanted: &str) -> Result<&'a str, String> {
        let word = self.peek().ok_or_else(|| format!("ends where {wanted} should come"))?;
        self.at += 1;
        Ok(word)
    }

    /// Takes the word if it is the next one.
    pub fn take(&mut self, word: &str) -> bool {
        let here = self.peek() == Some(word);
        self.at += usize::from(here);
        here
    }

    pub fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) { Ok(()) } else { Err(format!("has {:?} where {word:?} should come", self.peek())) }
    }

    pub fn finish(&self) -> Result<(), String> {
        self.peek().map_or(Ok(()), |word| Err(format!("{word:?} is too much")))
    }

    pub fn last_two(&self) -> Option<(&'a str, &'a str)> {
        match self.words[self.at..] {
            [.., key, value] => Some((key, value)),
            _ => None,
        }
    }

    pub fn drop_last_two(&mut self) {
        self.words.truncate(self.words.len().saturating_sub(2));
    }
}

/// `t1`, `t1.5`, `t10:05`, `t-3`; `d1` for a day; or as facts write it.
pub fn time(word: &str) -> Result<OccurredAt, String> {
    let wrong = || format!("{word:?} is no time, such as t1, t1.5, t10:05 or d1");
    if let Some(day) = word.strip_prefix('d') {
        let day: u8 = day.parse().map_err(|_| wrong())?;
        return OccurredAt::parse(&format!("2026-03-{day:02}Z")).map_err(|_| wrong());
    }
    let Some(hours) = word.strip_prefix('t') else {
        return OccurredAt::parse(word).map_err(|_| wrong());
    };
    let micros = match hours.split_once(':') {
        Some((hours, minutes)) => {
            let hours: i64 = hours.parse().map_err(|_| wrong())?;
            let minutes: i64 = minutes.parse().map_err(|_| wrong())?;
            hours * HOUR + minutes * (HOUR / 60)
        }
        None => {
            let hours = parse_decimal(hours).map_err(|_| wrong())?;
            let micros = hours.checked_mul(HOUR.into()).ok_or_else(wrong)?;
            i64::try_from(micros.round()).map_err(|_| wrong())?
        }
    };
    Ok(OccurredAt::utc(base().plus_micros(micros)))
}

/// `[t1..t2]`.
pub fn window(word: &str) -> Result<Window, String> {
    let inner = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    let (from, to) = inner.and_then(|inner| inner.split_once("..")).ok_or_else(|| format!("{word:?} is no window"))?;
    Ok(Window { from: time(from)?.instant, to: time(to)?.instant })
}

/// `A`, `milk/A`, `milk/A@S#2`, `?/A`.
pub fn batch(word: &str) -> Result<BatchRef, String> {
    let (item, rest) = word.split_once('/').unwrap_or((ITEM, word));
    if item == "?" {
        return Ok(BatchRef::Code(BatchCode::parse(rest).map_err(bad(word))?));
    }
    let (rest, generation) = generation(rest)?;
    let (code, issuer) = match rest.split_once('@') {
        Some((code, issuer)) => (code, Some(PartyId::parse(issuer).map_err(bad(word))?)),
        None => (rest, None),
    };
    let item = ItemId::parse(item).map_err(bad(word))?;
    Ok(BatchRef::Known(BatchId { item, issuer, code: BatchCode::parse(code).map_err(bad(word))?, generation }))
}

fn generation(word: &str) -> Result<(&str, Generation), String> {
    match word.split_once('#') {
        None => Ok((word, Generation::default())),
        Some((rest, number)) => {
            Ok((rest, Generation(number.parse().map_err(|_| format!("{word:?} has no generation behind #"))?)))
        }
    }
}

/// `R1`, `R1#2`, `erp:R1`.
///
/// # Errors
/// What is wrong with the word.
pub fn run_id(word: &str) -> Result<RunId, String> {
    let (rest, generation) = generation(word)?;
    let (source, name) = rest.split_once(':').unwrap_or((RUNS, rest));
    let source = SourceId::parse(source).map_err(bad(word))?;
    Ok(RunId { source, name: RunName::parse(name).map_err(bad(word))?, generation })
}

pub fn place(word: &str) -> Result<Place, String> {
    Place::parse(word).map_err(bad(word))
}

pub fn vessel(words: &mut Words<'_>) -> Result<VesselId, String> {
    let word = words.next("a vessel")?;
    VesselId::parse(word).map_err(bad(word))
}

pub fn container(word: &str) -> Result<ContainerId, String> {
    ContainerId::parse(word.strip_prefix("container:").unwrap_or(word)).map_err(bad(word))
}

/// `5`, `5LTR`.
pub fn stated(word: &str) -> Result<Stated, String> {
    let (value, unit) = measured(word)?;
    Stated::parse(value, unit).map_err(bad(word))
}

/// `-5`, `-5LTR`.
pub fn difference(word: &str) -> Result<Difference, String> {
    let (value, unit) = measured(word)?;
    Difference::new(parse_decimal(value).map_err(bad(word))?, unit).map_err(bad(word))
}

fn measured(word: &str) -> Result<(&str, Unit), String> {
    let split = word.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(word.len());
    let (value, unit) = word.split_at(split);
    let unit = if unit.is_empty() { Unit::KILOGRAM } else { Unit::parse(unit).map_err(bad(word))? };
    Ok((value, unit))
}

/// `5`, `5KGM+2C62`, `?`: a quantity and perhaps a second one.
pub fn quantity(word: &str) -> Result<(Option<Stated>, Option<Stated>), String> {
    if word == "?" {
        return Ok((None, None));
    }
    match word.split_once('+') {
        Some((first, second)) => Ok((Some(stated(first)?), Some(stated(second)?))),
        None => Ok((Some(stated(word)?), None)),
    }
}
