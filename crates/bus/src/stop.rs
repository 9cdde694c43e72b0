//! How the work is ended from outside.

use tokio::sync::watch;

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

    /// Ends everything that was given this.
    pub fn now(&self) {
        self.told.send_replace(true);
    }

    /// Whether it was told.
    pub fn is_told(&self) -> bool {
        *self.told.borrow()
    }

    /// Returns when it was told.
    pub(crate) async fn told(&self) {
        // `self` holds a sender, so that the channel cannot be closed.
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }
}
