//! `submit`: commands in JSON Lines, one answer per line, in order.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};

use lotline_domain::id::SourceId;
use lotline_handler::{Handler, Outcome as Taken, SubmitError};
use lotline_ledger::LedgerId;
use lotline_wire::answer::{Outcome, Refusal};
use lotline_wire::command::{Defaults, parse_command_with};

use crate::args;
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::outcome::{Counted, Names, answer, failed, worst};
use crate::print::finished;

/// The longest line; a command that fits into the ledger is shorter.
const LINE_MAX: usize = 4 << 20;
/// So many answers may be outstanding. Fewer than what the handler queues, so that it is never busy.
const OUTSTANDING: usize = 8_192;

/// A byte order mark, which says nothing in UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A line's answer, on its way.
enum Pending {
    Refused(Refusal),
    Taken { line: u64, names: Names, told: Receiver<Result<Taken, SubmitError>> },
}

/// `submit`.
///
/// # Errors
/// Where the input cannot be read, the folder cannot be opened, or the disk fails.
pub fn submit(asked: &args::Submit) -> Result<Exit, Failure> {
    let source = asked
        .source
        .as_deref()
        .map(SourceId::parse)
        .transpose()
        .map_err(|error| Failure::new(Exit::Usage, format!("--source {error}")))?;
    let is_stdin = asked.file == Path::new("-");
    let file = (!is_stdin).then(|| asked.file.display().to_string());
    let input: Box<dyn Read> = if is_stdin { Box::new(io::stdin().lock()) } else { Box::new(open(&asked.file)?) };
    let handler = Folder::new(&asked.folder.dir).with_new_keyring(asked.new_keyring).handler(None)?;
    if asked.accept_clock {
        handler.accept_clock();
    }
    let answered = lines(&handler, input, file.as_deref(), source.as_ref(), &Counted::default());
    let closed = handler.close();
    let exit = answered?;
    closed?;
    Ok(exit)
}

/// Takes commands line by line and prints the answers, until the input ends.
///
/// # Errors
/// Where the input cannot be read, or the answers cannot be written.
pub fn lines(
    handler: &Handler,
    input: impl Read,
    file: Option<&str>,
    source: Option<&SourceId>,
    counted: &Counted,
) -> Result<Exit, Failure> {
    let ledger = handler.reader().ledger();
    let (queue, answers) = mpsc::sync_channel(OUTSTANDING);
    let stop = AtomicBool::new(false);
    let (read, printed) = std::thread::scope(|scope| {
        let stop = &stop;
        let printer = scope.spawn(move || print(&answers, ledger, file, counted, stop));
        let mut reading = Reading { handler, source, file, queue, stop };
        let read = reading.lines(BufReader::with_capacity(1 << 16, input));
        drop(reading);
        (read, printer.join().expect("the printer does not panic"))
    });
    let exit = printed?;
    let name = file.unwrap_or("the standard input");
    let read = read.map_err(|error| Failure::file("read", Path::new(name), error))?;
    if let (true, Some(last)) = (is_final(exit), read) {
        eprintln!(
            "{name}: stopped after line {last}, because of what its answers say: what follows was not read; when that is \
             mended send all of it again, and what was recorded is answered as a duplicate"
        );
    }
    Ok(exit)
}

/// Nothing that follows would be recorded.
fn is_final(exit: Exit) -> bool {
    matches!(exit, Exit::Disk | Exit::Damage | Exit::Newer)
}

/// Opens an input file.
///
/// # Errors
/// Where it is not there or cannot be read.
pub fn open(path: &Path) -> Result<File, Failure> {
    File::open(path)
        .map_err(|error| Failure::new(Exit::Input, format!("cannot read {}", path.display())).because(error))
}

struct Reading<'a> {
    handler: &'a Handler,
    source: Option<&'a SourceId>,
    file: Option<&'a str>,
    queue: SyncSender<Pending>,
    /// Nothing more can be recorded, or nobody reads the answers.
    stop: &'a AtomicBool,
}

impl Reading<'_> {
    /// Hands in all lines; returns after which one it stopped before the end.
    fn lines(&mut self, mut input: impl BufRead) -> io::Result<Option<u64>> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let whole = read_line(&mut input, &mut line)?;
            if line.is_empty() {
                return Ok(None);
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Some(number - 1));
            }
            // Some editors begin a file with a byte order mark.
            if let (1, Some(rest)) = (number, line.strip_prefix(BOM)) {
                line = rest.to_vec();
            }
            let pending = match whole {
                false => self.refused(number, format!("is longer than {LINE_MAX} bytes; split the command")),
                true => match std::str::from_utf8(&line) {
                    Ok(text) if text.trim().is_empty() => continue,
                    Ok(text) => self.command(number, text.trim()),
                    Err(error) => {
                        self.refused(number, format!("is not UTF-8: byte {} begins no character", error.valid_up_to()))
                    }
                },
            };
            if self.queue.send(pending).is_err() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn refused(&self, line: u64, message: String) -> Pending {
        Pending::Refused(Refusal { file: self.file.map(str::to_owned), line: Some(line), path: None, message })
    }

    fn command(&self, line: u64, text: &str) -> Pending {
        let defaults = Defaults { source: self.source, secret: Some(self.handler.secret()) };
        match parse_command_with(text, defaults) {
            Err(error) => Pending::Refused(Refusal::of_line(self.file, line, &error)),
            Ok(command) => {
                let names = Names::from(&command);
                let (tell, told) = mpsc::sync_channel(1);
                let again = tell.clone();
                let submitted = self.handler.submit_with(command, move |answer| {
                    // The printer has gone away only if the process ends.
                    let _ = tell.send(answer);
                });
                if let Err(error) = submitted {
                    let _ = again.send(Err(error));
                }
                Pending::Taken { line, names, told }
            }
        }
    }
}

/// Reads a line; false when it is too long, then the rest of it is skipped.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    input.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', line)?;
    if line.len() <= LINE_MAX || line.ends_with(b"\n") {
        return Ok(true);
    }
    loop {
        let rest = input.fill_buf()?;
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (skip, done) = end.map_or((rest.len(), rest.is_empty()), |at| (at + 1, true));
        input.consume(skip);
        if done {
            return Ok(false);
        }
    }
}

/// Prints the answers in order; what nobody waits for is flushed at once.
fn print(
    answers: &Receiver<Pending>,
    ledger: LedgerId,
    file: Option<&str>,
    counted: &Counted,
    stop: &AtomicBool,
) -> Result<Exit, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut exit = Exit::Done;
    loop {
        let pending = match answers.try_recv() {
            Ok(pending) => pending,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                if written(out.flush(), stop)?.is_none() {
                    return Ok(exit);
                }
                match answers.recv() {
                    Ok(pending) => pending,
                    Err(_) => break,
                }
            }
        };
        let (outcome, means) = match pending {
            Pending::Refused(refusal) => (Outcome::Refused(refusal), Exit::Input),
            Pending::Taken { line, names, told } => {
                let taken = match told.try_recv() {
                    Ok(taken) => taken,
                    Err(_) => {
                        if written(out.flush(), stop)?.is_none() {
                            return Ok(exit);
                        }
                        told.recv().unwrap_or(Err(SubmitError::Closed))
                    }
                };
                match taken {
                    Ok(taken) => answer(ledger, &names, &taken),
                    Err(error) => failed(file, Some(line), &names, &error),
                }
            }
        };
        counted.count(&outcome);
        exit = worst(exit, means);
        if is_final(means) {
            stop.store(true, Ordering::Relaxed);
        }
        let line =
            serde_json::to_writer(&mut out, &outcome).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"));
        if written(line, stop)?.is_none() {
            return Ok(exit);
        }
    }
    finished(out.flush())?;
    Ok(exit)
}

/// `None` when the reader of the answers has gone away: nothing more is taken then.
fn written(result: io::Result<()>, stop: &AtomicBool) -> Result<Option<()>, Failure> {
    match result {
        Ok(()) => Ok(Some(())),
        Err(error) => {
            stop.store(true, Ordering::Relaxed);
            finished(Err(error)).map(|()| None)
        }
    }
}
