//! The public keys.

use std::cell::RefCell;
use std::thread::LocalKey;

use shared::endpoint::Endpoint;
use shared::jwk::JwkSet;
use shared::limits::{JWKS_FRESH_IN, JWKS_STALE_IN};

use super::{Bounds, Kept, Slots, Unreadable, Written};
use crate::Edge;

/// The public keys, and the text that they were published in.
pub(crate) struct Keys {
    /// The set.
    pub(crate) set: JwkSet,
    written: Written,
}

impl Keys {
    /// Returns the set as the origin wrote it.
    pub(crate) fn json(&self) -> &str {
        match &self.written {
            Written::Text { text, .. } => text,
            Written::Gone => "",
        }
    }
}

impl Kept for Keys {
    type Key = ();

    /// Renewed every minute, so that it is never older than [`JWKS_FRESH_IN`] while the origin is
    /// there.
    const BOUNDS: Bounds = Bounds {
        fresh: 60_000,
        renewed_behind: JWKS_FRESH_IN * 1_000,
        stale: JWKS_STALE_IN * 1_000,
    };

    fn slots() -> &'static LocalKey<RefCell<Slots<Self>>> {
        thread_local!(static SLOTS: RefCell<Slots<Keys>> = RefCell::default());
        &SLOTS
    }

    fn path((): &()) -> String {
        Endpoint::Jwks.path().to_owned()
    }

    async fn read(_: &Edge, (): &(), written: &Written) -> Result<Self, Unreadable> {
        let Written::Text { text, .. } = written else {
            return Err(Unreadable::Malformed("there is none".to_owned()));
        };
        let set: JwkSet = serde_json::from_str(text)?;
        if set.keys.is_empty() {
            return Err(Unreadable::Malformed("there is no key in it".to_owned()));
        }
        Ok(Self { set, written: written.clone() })
    }

    fn written(&self) -> &Written {
        &self.written
    }
}
