//! The standard input of a service: it ends when the service is asked to end, and then at the end of a line.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use lotline_bus::Stop;

use crate::failure::{Exit, Failure};

const BUFFER: usize = 1 << 16;
/// A line that has grown so long is passed on in pieces.
const HELD_MAX: usize = 4 << 20;
/// So many pieces may wait.
const PIECES: usize = 4;
/// How often it looks whether it has to end.
const LOOK: Duration = Duration::from_millis(50);

/// The standard input. A thread of its own waits for it: nothing else can be done about one that stays silent.
pub struct Input {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    stop: Stop,
}

impl Input {
    /// Reads it until its end or the stop.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(stop: &Stop) -> Result<Self, Failure> {
        let (pass, pieces) = mpsc::sync_channel(PIECES);
        let thread = std::thread::Builder::new().name("lotline-input".to_owned());
        let started = thread.spawn(move || pump(BufReader::with_capacity(BUFFER, io::stdin().lock()), &pass));
        started.map_err(|error| Failure::new(Exit::Disk, "no thread can be started for the input").because(error))?;
        Ok(Self { pieces, piece: Vec::new(), at: 0, stop: stop.clone() })
    }
}

/// Passes on what comes as soon as it is whole lines, so that what is taken ends with one.
fn pump(mut input: impl BufRead, pass: &SyncSender<io::Result<Vec<u8>>>) {
    let mut held = Vec::new();
    loop {
        let read = match input.fill_buf() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Who hears of it or not: there is nothing more to read.
                let _ = pass.send(Err(error));
                return;
            }
        };
        let ended = read.is_empty();
        let count = read.len();
        let whole = match read.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if ended || held.len() + count > HELD_MAX => count,
            None => 0,
        };
        if whole > 0 || ended {
            held.extend_from_slice(&read[..whole]);
            if !held.is_empty() && pass.send(Ok(std::mem::take(&mut held))).is_err() {
                return;
            }
        }
        if ended {
            return;
        }
        held.extend_from_slice(&read[whole..]);
        input.consume(count);
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.stop.is_told() {
                return Ok(0);
            }
            match self.pieces.recv_timeout(LOOK) {
                Ok(piece) => (self.piece, self.at) = (piece?, 0),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let count = into.len().min(self.piece.len() - self.at);
        into[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(input: &[u8], capacity: usize) -> Vec<Vec<u8>> {
        let (pass, pieces) = mpsc::sync_channel(1_000);
        pump(BufReader::with_capacity(capacity, input), &pass);
        drop(pass);
        pieces.into_iter().map(|piece| piece.expect("read")).collect()
    }

    #[test]
    fn pieces_are_whole_lines_and_nothing_is_lost() {
        let input = b"one\ntwo and more\n\nthree";
        for capacity in 1..30 {
            let pieces = pieces(input, capacity);
            assert_eq!(pieces.concat(), input, "{capacity}");
            let (last, before) = pieces.split_last().expect("a piece");
            assert!(before.iter().all(|piece| piece.ends_with(b"\n")), "{capacity}: {pieces:?}");
            assert!(last.ends_with(b"three"), "{capacity}");
        }
        assert!(pieces(b"", 8).is_empty());
    }
}
