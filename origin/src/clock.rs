//! Time and randomness: the only place of the origin where they come from.

use std::time::{Duration, UNIX_EPOCH};

use shared::time::UnixTime;

/// Reads the system's clock.
#[must_use]
pub fn now() -> UnixTime {
    #[expect(clippy::disallowed_methods, reason = "the one place where time comes from")]
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime::from_secs(since.unwrap_or(Duration::ZERO).as_secs())
}

/// Draws random bytes from the operating system, if it has any: for what is no secret, and without
/// which whoever asks is answered all the same.
#[must_use]
pub fn try_random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "the one place where randomness comes from")]
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// Draws random bytes from the operating system.
///
/// # Panics
/// When the operating system has none: nothing that is secret could be made then. The request
/// fails as one whose handler panics (503), the process goes on.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    try_random().expect("the operating system has a random source")
}
