//! Requests that the edge has signed lately: none is answered twice.
//!
//! A process remembers what it has answered itself. Whoever replays a request at another origin of
//! the same deployment has seen it travel between edge and origin; that way is the operator's own,
//! and encrypted.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use shared::limits::SIGNED_REQUEST_EXPIRES_IN;
use shared::signed_request::EdgeStatement;
use shared::time::UnixTime;

/// Seconds of signing time whose nonces lie together, and are forgotten together.
const SPAN_IN: u64 = 10;

/// Most nonces of one span: 100,000 requests a second, 32 MB.
const NONCES: usize = 1_000_000;

/// Whether a signed request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It may.
    Never,
    /// It was answered before.
    Before,
    /// More are remembered than can be: nobody can tell.
    TooMany,
}

/// Requests that the edge has signed lately, by their nonces.
#[derive(Default)]
pub struct SeenRequests {
    spans: Mutex<VecDeque<Span>>,
}

struct Span {
    number: u64,
    nonces: HashSet<[u8; 16]>,
}

impl SeenRequests {
    /// Remembers a verified statement; tells whether it was seen before.
    ///
    /// What was signed longer ago than a statement is accepted is forgotten.
    pub fn see(&self, statement: &EdgeStatement, now: UnixTime) -> Seen {
        let number = statement.signed_at.as_secs() / SPAN_IN;
        let oldest = now.minus(SIGNED_REQUEST_EXPIRES_IN).as_secs() / SPAN_IN;
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.retain(|span| span.number >= oldest);
        let at = spans.partition_point(|span| span.number < number);
        if spans.get(at).is_none_or(|span| span.number != number) {
            spans.insert(at, Span { number, nonces: HashSet::new() });
        }
        let nonces = &mut spans[at].nonces;
        if nonces.len() >= NONCES {
            return Seen::TooMany;
        }
        if nonces.insert(statement.nonce) { Seen::Never } else { Seen::Before }
    }
}

impl std::fmt::Debug for SeenRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeenRequests(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(2_000_000_000);

    fn statement(nonce: u8, signed_at: UnixTime) -> EdgeStatement {
        EdgeStatement { signed_at, nonce: [nonce; 16], client_address: None }
    }

    #[test]
    fn a_request_is_seen_once_as_long_as_it_is_accepted() {
        let seen = SeenRequests::default();
        assert_eq!(seen.see(&statement(1, NOW), NOW), Seen::Never);
        assert_eq!(seen.see(&statement(2, NOW), NOW), Seen::Never);
        for later in [0, 1, 9, 10, SIGNED_REQUEST_EXPIRES_IN] {
            assert_eq!(seen.see(&statement(1, NOW), NOW.plus(later)), Seen::Before, "{later}");
        }
        // Clocks may differ: signed ahead, or a while ago.
        for signed_at in [NOW.plus(SIGNED_REQUEST_EXPIRES_IN), NOW.minus(5)] {
            assert_eq!(seen.see(&statement(3, signed_at), NOW), Seen::Never);
            assert_eq!(seen.see(&statement(3, signed_at), NOW), Seen::Before);
        }
    }

    #[test]
    fn what_is_no_longer_accepted_is_forgotten() {
        let seen = SeenRequests::default();
        for second in 0..1_000 {
            let now = NOW.plus(second);
            assert_eq!(
                seen.see(&statement(1, now), now),
                if second % SPAN_IN == 0 { Seen::Never } else { Seen::Before }
            );
        }
        assert!(seen.spans.lock().unwrap().len() <= 5);
    }
}
