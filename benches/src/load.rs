//! What else the machine was doing: a figure that was taken beside others' work says so.

use std::fs;
use std::time::{Duration, Instant};

/// Processor time is told in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// Processor time from a moment on.
#[derive(Debug)]
pub struct Load {
    begun: Instant,
    everybody: u64,
    own: u64,
}

impl Load {
    /// From now on.
    pub fn begin() -> Self {
        Self { begun: Instant::now(), everybody: everybody(), own: own() }
    }

    /// How long it was, and how busy the machine.
    pub fn end(&self) -> String {
        let passed = self.begun.elapsed();
        let processors = passed.as_secs_f64() * processors() as f64 / TICK.as_secs_f64();
        let own = own() - self.own;
        let others = (everybody() - self.everybody).saturating_sub(own);
        format!(
            "Taken in {:.0} s; of the processors' time this process had {:.0} %, others {:.0} %. Load average {}.",
            passed.as_secs_f64(),
            100.0 * own as f64 / processors,
            100.0 * others as f64 / processors,
            average()
        )
    }
}

/// The machine in a line.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{} processors ({model}), load average {} when it began.", processors(), average())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Processor time of this process, its children that ended among it.
pub fn own() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in brackets: user and system time, then those of children.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    (11..15).filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum()
}

/// Processor time of this process as a duration.
pub fn processor() -> Duration {
    TICK * u32::try_from(own()).unwrap_or(u32::MAX)
}

/// Time in which the processors did anything: all but idle and waiting for the disk.
fn everybody() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next() else { return 0 };
    let fields = line.split_whitespace().skip(1).enumerate();
    fields.filter(|(at, _)| ![3, 4, 8, 9].contains(at)).filter_map(|(_, field)| field.parse::<u64>().ok()).sum()
}

/// A line of this process's status, in bytes: `VmRSS`, `VmHWM`.
pub fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or(0, |kilobytes| kilobytes * 1024)
}
