//! How a process ends: it says so first, then takes no more connections, then is gone.

use std::time::Duration;

use tokio::sync::watch;

/// How far the process is on its way out. Goes forwards only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves, but says that it is not ready, and ends each connection with its next answer: time
    /// for whoever shares requests out to take others for it.
    Draining,
    /// It takes no new connections; requests under way are finished.
    Ending,
}

/// The phase of a process, and who moves it.
#[derive(Debug)]
pub struct Ending(watch::Sender<Phase>);

impl Default for Ending {
    fn default() -> Self {
        Self(watch::channel(Phase::Serving).0)
    }
}

impl Ending {
    /// Returns what follows the phase.
    #[must_use]
    pub fn follow(&self) -> Follow {
        Follow(self.0.subscribe())
    }

    /// Tells whether the process wants requests.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        *self.0.borrow() == Phase::Serving
    }

    /// Drains for as long as it is told, or until `at_once` has something to say, then ends.
    pub async fn begin(&self, drain_in: Duration, at_once: impl Future<Output = ()>) {
        self.0.send_replace(Phase::Draining);
        let _ = tokio::time::timeout(drain_in, at_once).await;
        self.0.send_replace(Phase::Ending);
    }
}

/// Follows the phase of a process.
#[derive(Clone, Debug)]
pub struct Follow(watch::Receiver<Phase>);

impl Follow {
    /// Tells whether connections end with their next answer.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() > Phase::Serving
    }

    /// Waits until the process takes no more connections.
    pub async fn ends(&mut self) {
        // Whoever could say so is gone: that is the end, too.
        let _ = self.0.wait_for(|phase| *phase == Phase::Ending).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_process_drains_before_it_ends() {
        let ending = Ending::default();
        let mut follow = ending.follow();
        assert!(ending.is_serving() && !follow.is_draining());
        let drain_in = Duration::from_millis(200);
        let began = Instant::now();
        let drain = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!ending.is_serving() && follow.is_draining());
            follow.ends().await;
            began.elapsed()
        };
        let (took, ()) = tokio::join!(drain, ending.begin(drain_in, pending()));
        assert!(took >= drain_in, "{took:?}");
    }

    #[tokio::test]
    async fn who_asks_twice_does_not_wait() {
        let ending = Ending::default();
        let began = Instant::now();
        ending.begin(Duration::from_mins(1), ready(())).await;
        ending.follow().ends().await;
        assert!(began.elapsed() < Duration::from_mins(1));
    }
}
