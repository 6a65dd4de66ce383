//! How long the store waits.

use std::time::Duration;

/// How long it waits, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// For one intent, connecting included. Whoever asked gets a 503 then, well before the origin's
    /// own deadline.
    pub(super) command: Duration,
    /// For one attempt to connect: less than for a command, so that the request that connects learns
    /// of the failure and the others need not try.
    pub(super) connect: Duration,
    /// For the replicas to have a write: one that has to wait for the batch before it still has its
    /// own time within that of its command.
    pub(super) replicas: Duration,
    /// For a sentinel to name the primary.
    pub(super) sentinel: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            command: Duration::from_millis(500),
            connect: Duration::from_millis(400),
            replicas: Duration::from_millis(200),
            sentinel: Duration::from_millis(200),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_longer_is_told_by_whoever_waits_less() {
        let Deadlines { command, connect, replicas, sentinel } = Deadlines::default();
        assert!(connect < command);
        assert!(2 * replicas < command, "a batch that waits behind another one");
        assert!(sentinel < connect, "who is connected to has to be known first");
    }
}
