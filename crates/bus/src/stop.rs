//! How the work is ended from outside.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;

/// How often a thread that waits looks.
const LOOK: Duration = Duration::from_millis(20);
/// What shells say of a process that was interrupted.
const ENDED_AT_ONCE: i32 = 130;

/// Ends relays and projectors; clones are one.
#[derive(Debug, Clone)]
pub struct Stop {
    told: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { told: watch::Sender::new(false) }
    }
}

impl Stop {
    /// Not stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is told when this process is asked to end: Ctrl-C, or the termination signal. Asked a second time it
    /// ends at once, with code 130: what was acknowledged is durable in any case.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn when_interrupted() -> io::Result<Self> {
        let stop = Self::new();
        let told = stop.clone();
        let runtime = Builder::new_current_thread().enable_io().build()?;
        // Building them installs them: from here on no signal is missed.
        let mut signals = {
            let _inside = runtime.enter();
            Signals::new()?
        };
        std::thread::Builder::new().name("lotline-signals".to_owned()).spawn(move || {
            runtime.block_on(signals.come());
            told.now();
            runtime.block_on(signals.come());
            std::process::exit(ENDED_AT_ONCE);
        })?;
        Ok(stop)
    }

    /// Ends everything that was given this.
    pub fn now(&self) {
        self.told.send_replace(true);
    }

    /// Whether it was told.
    pub fn is_told(&self) -> bool {
        *self.told.borrow()
    }

    /// Returns when it was told, or `limit` has passed; whether it was told.
    pub fn wait(&self, limit: Duration) -> bool {
        let started = std::time::Instant::now();
        while !self.is_told() {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(LOOK));
        }
        true
    }

    /// Returns when it was told.
    pub(crate) async fn told(&self) {
        // `self` holds a sender, so that the channel cannot be closed.
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn come(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Then the signal has its usual effect, and ends the process.
            std::future::pending::<()>().await;
        }
    }
}
