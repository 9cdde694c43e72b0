//! The decider's clock, and how a step of it is noticed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lotline_domain::time::Instant;

/// Tells the time of day, and how long ago it began to run.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> Instant;

    /// Time passed since some fixed moment, by a clock that nobody sets.
    fn elapsed(&self) -> Duration;
}

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Instant(micros)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A step of more than this, either way, stops intents.
const STEP_MAX_MICROS: i64 = 5 * 60 * 1_000_000;

/// Notices when the time of day does not go on as time passes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StepWatch {
    /// A time of day that was trusted, and when.
    anchor: Option<(Instant, Duration)>,
    /// An operator has confirmed a clock that is behind what was recorded.
    behind_is_fine: bool,
}

impl StepWatch {
    /// Checks a reading of both clocks against the last ones and the last recording time.
    ///
    /// # Errors
    /// The time that was expected, when the reading is more than five minutes off.
    pub(crate) fn check(&mut self, now: Instant, elapsed: Duration, recorded: Option<Instant>) -> Result<(), Instant> {
        if let Some(recorded) = recorded
            && !self.behind_is_fine
            && recorded.0.saturating_sub(now.0) > STEP_MAX_MICROS
        {
            return Err(recorded);
        }
        if let Some((anchor, at)) = self.anchor {
            let passed = i64::try_from(elapsed.saturating_sub(at).as_micros()).unwrap_or(i64::MAX);
            let expected = anchor.plus_micros(passed);
            if now.0.abs_diff(expected.0) > STEP_MAX_MICROS.unsigned_abs() {
                return Err(expected);
            }
        }
        // The anchor follows, so that slow drift is no step.
        self.anchor = Some((now, elapsed));
        Ok(())
    }

    /// Trusts the clock as it is now: an operator has looked at it.
    pub(crate) fn accept(&mut self, now: Instant, elapsed: Duration) {
        self.anchor = Some((now, elapsed));
        self.behind_is_fine = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn passed(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn time_that_goes_on_as_it_passes_is_no_step_however_long_the_pause() {
        let mut watch = StepWatch::default();
        assert_eq!(watch.check(Instant(0), passed(0), None), Ok(()));
        assert_eq!(watch.check(Instant(600 * MINUTE), passed(600), None), Ok(()));
        assert_eq!(watch.check(Instant(604 * MINUTE), passed(600), None), Ok(()), "four minutes are drift");
    }

    #[test]
    fn six_minutes_either_way_are_a_step_until_somebody_accepts_them() {
        for step in [-6, 6] {
            let mut watch = StepWatch::default();
            watch.check(Instant(100 * MINUTE), passed(0), None).expect("the first reading");
            let now = Instant((100 + step) * MINUTE);
            assert_eq!(watch.check(now, passed(0), None), Err(Instant(100 * MINUTE)));
            assert_eq!(watch.check(now, passed(0), None), Err(Instant(100 * MINUTE)), "it stays one");
            watch.accept(now, passed(0));
            assert_eq!(watch.check(now, passed(0), None), Ok(()));
        }
    }

    #[test]
    fn a_clock_behind_what_was_recorded_is_a_step() {
        let mut watch = StepWatch::default();
        let recorded = Some(Instant(10 * MINUTE));
        assert_eq!(watch.check(Instant(4 * MINUTE), passed(0), recorded), Err(Instant(10 * MINUTE)));
        assert_eq!(watch.check(Instant(6 * MINUTE), passed(0), recorded), Ok(()));
    }
}
