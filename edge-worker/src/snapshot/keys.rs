//! The public keys, and what they have signed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::LocalKey;

use serde::de::DeserializeOwned;
use shared::endpoint::Endpoint;
use shared::jwk::JwkSet;
use shared::jwt::{UntrustedJwt, Verified};
use shared::limits::{JWKS_FRESH_IN, JWKS_STALE_IN};

use super::slot::{Bounds, since};
use super::{Kept, Slots, Unreadable, Written, current, look, renew};
use crate::answer::Refusal;
use crate::{Edge, platform, webcrypto};

/// How long an unknown `kid` does not make an isolate ask for keys again, milliseconds.
const ASKED_AGAIN_IN_MS: u64 = 10_000;

/// How old a key set may be that answers for an unknown `kid`, milliseconds: isolates of one place ask
/// no more often than that together.
const ASKED_LATELY_MS: u64 = 2_000;

thread_local! {
    /// When an unknown `kid` last made this isolate ask.
    static ASKED_AT: Cell<u64> = const { Cell::new(0) };
}

/// How old the key set may be while the origin is there, milliseconds: how far behind the revocation of
/// a key an idle isolate may be. Much less than [`JWKS_FRESH_IN`], which others may keep it for.
const RENEWED_BEHIND_MS: u64 = 30_000;

const _: () = assert!(RENEWED_BEHIND_MS < JWKS_FRESH_IN * 1_000);

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

    const BOUNDS: Bounds =
        Bounds { fresh: 10_000, renewed_behind: RENEWED_BEHIND_MS, stale: JWKS_STALE_IN * 1_000 };

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

/// Why a JWT is not known to be the issuer's.
pub(crate) enum NotVerified {
    /// It is not.
    Refused,
    /// It may be, but that cannot be told now.
    Unknown(Refusal),
}

/// Returns the claims of a JWT that a published key has signed.
///
/// **Does NOT** look at the claims.
///
/// # Errors
/// [`NotVerified`].
pub(crate) async fn signed_by_issuer<T: DeserializeOwned>(
    edge: &Edge,
    jwt: &UntrustedJwt<'_>,
) -> Result<Verified<T>, NotVerified> {
    let keys = with(edge, jwt.kid()).await.map_err(NotVerified::Unknown)?;
    let key = keys.set.find(jwt.kid(), jwt.alg()).ok_or(NotVerified::Refused)?;
    let verdict = webcrypto::verify(jwt, key, &keys.set).await.map_err(NotVerified::Unknown)?;
    jwt.accept(key, verdict).map_err(|_| NotVerified::Refused)
}

/// Returns the keys; asks for new ones, once in a while, when `kid` is not among them. Whoever comes
/// while they are asked for waits, too; and as long as they cannot be had, nobody can tell.
async fn with(edge: &Edge, kid: &str) -> Result<Rc<Keys>, Refusal> {
    let keys = current::<Keys>(edge, &()).await?;
    if keys.set.has(kid) {
        return Ok(keys);
    }
    let now = platform::now_ms();
    let (is_loading, has_failed) =
        look::<Keys, _>(&(), |slot| (slot.is_loading(now), slot.failed_at.is_some()));
    if !is_loading {
        if !has_failed && since(ASKED_AT.get(), now) < ASKED_AGAIN_IN_MS {
            return Ok(keys);
        }
        ASKED_AT.set(now);
    }
    renew::<Keys>(edge, &(), ASKED_LATELY_MS).await
}
