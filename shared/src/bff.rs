//! What edge and origin tell each other about the sessions of browsers at the backend-for-frontend.
//!
//! A browser holds a handle and nothing else. The origin keeps the tokens of its session, sealed
//! with a key that only the handle yields, under the handle's digest.

use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::claims::SessionId;
use crate::client::ClientId;
use crate::edge_keys::Overlapping;
use crate::seal::SealKey;
use crate::secret::{MacKey, Sha256Digest, base64url, base64url_decode, same_bytes};
use crate::time::UnixTime;

/// Begins a session: a [`BeginSession`], answered with an [`OpenedSession`].
pub const BEGIN: &str = "/internal/bff/begin";

/// Asks for a session: an [`OpenSession`], answered with an [`OpenedSession`], or 404 when it is over.
pub const OPEN: &str = "/internal/bff/open";

/// Ends a session: an [`EndSession`], answered with 204.
pub const END: &str = "/internal/bff/end";

/// Ends the sessions that a logout token names: an [`EndSessions`], answered with 204.
pub const END_ALL: &str = "/internal/bff/end-all";

/// The base name of the cookie with the handle.
pub const COOKIE: &str = "cadence_bff";

const RANDOM_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// What a browser holds of its session: base64url(32 random bytes ‖ tag), 64 characters. The tag
/// lets the edge refuse a handle that was never issued without asking anybody.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionHandle(String);

impl SessionHandle {
    /// Makes a handle from 32 random bytes.
    #[must_use]
    pub fn issue(keys: &Overlapping<MacKey>, random: [u8; RANDOM_LEN]) -> Self {
        Self(base64url(&[random.as_slice(), &tag(keys.current(), &random)].concat()))
    }

    /// Reads a handle that one of `keys` has made.
    ///
    /// Does NOT tell whether its session is still there: the origin does.
    #[must_use]
    pub fn parse(keys: &Overlapping<MacKey>, text: &str) -> Option<Self> {
        if text.len() != (RANDOM_LEN + TAG_LEN) * 4 / 3 {
            return None;
        }
        let bytes = base64url_decode(text)?;
        let (random, presented) = bytes.split_at_checked(RANDOM_LEN)?;
        let made = keys.accepted().any(|key| same_bytes(&tag(key, random), presented));
        made.then(|| Self(text.to_owned()))
    }

    /// Returns the digest under which the session is kept.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.0.as_bytes())
    }

    /// Derives the key that seals what is kept of the session: whoever has a copy of the store
    /// cannot open it.
    #[must_use]
    pub fn seal_key(&self) -> SealKey {
        SealKey::derive(self.0.as_bytes(), "cadence bff session")
    }

    /// Returns the text for the cookie. A secret: never log or store it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionHandle(..)")
    }
}

fn tag(key: &MacKey, random: &[u8]) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&key.tag(&[random])[..TAG_LEN]);
    tag
}

/// A session that is to begin with the tokens of a sign-in.
#[derive(Serialize, Deserialize)]
pub struct BeginSession {
    /// The handle, fresh.
    pub handle: String,
    /// The handle that the browser had before: its session ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// The ID token's `sid`: the login session under which its tokens were issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
}

/// A question for a session.
#[derive(Serialize, Deserialize)]
pub struct OpenSession {
    /// Its handle.
    pub handle: String,
}

/// A session that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedSession {
    /// An access token that is active.
    pub access_token: String,
    /// Its end.
    pub access_expires_at: UnixTime,
    /// The claims about the user that the scope allows, `sub` among them (OpenID Connect Core §5.1).
    pub claims: Map<String, Value>,
    /// When the user's password was last checked.
    pub auth_time: UnixTime,
    /// Absolute end of the session.
    pub expires_at: UnixTime,
    /// End of the session if nothing is asked until then.
    pub idle_expires_at: UnixTime,
}

/// A session that is to end.
#[derive(Serialize, Deserialize)]
pub struct EndSession {
    /// Its handle; `None` when the browser has none that was ever issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The value of the browser's login session cookie: that session ends, too, unless it is another
    /// user's than the session of the handle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_session: Option<String>,
}

/// Sessions that are to end because a logout token says so: those of `sid` if it names one, else
/// those of `sub`; with both, those of `sid` that are of `sub`.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndSessions {
    /// The client that the logout token is for: others' sessions stay.
    pub client_id: ClientId,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The login session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// The logout token's identifier: each works once.
    pub jti: String,
    /// The logout token's end.
    pub expires_at: UnixTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge_keys::EdgeKeys;

    fn keys(secret: &[u8], second: Option<&[u8]>) -> Overlapping<MacKey> {
        EdgeKeys::derive(secret, second).bff_handles
    }

    #[test]
    fn a_handle_is_read_back_and_by_no_other_key() {
        let old: &[u8] = b"a master secret of the tests";
        let new: &[u8] = b"the next master secret";
        let handle = SessionHandle::issue(&keys(old, None), [7; 32]);
        assert_eq!(handle.as_str().len(), 64);
        assert_eq!(SessionHandle::parse(&keys(old, None), handle.as_str()), Some(handle.clone()));
        let changing = keys(new, Some(old));
        assert_eq!(SessionHandle::parse(&changing, handle.as_str()), Some(handle.clone()));
        assert_eq!(SessionHandle::parse(&keys(new, None), handle.as_str()), None);
        assert_ne!(handle, SessionHandle::issue(&keys(old, None), [8; 32]));
    }

    #[test]
    fn a_changed_handle_is_refused() {
        let keys = keys(b"a master secret of the tests", None);
        let handle = SessionHandle::issue(&keys, [7; 32]);
        for at in 0..64 {
            let mut changed = handle.as_str().as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(SessionHandle::parse(&keys, &changed), None, "{at}");
        }
        for bad in ["", "short", &handle.as_str()[..63], &format!("{}A", handle.as_str())] {
            assert_eq!(SessionHandle::parse(&keys, bad), None);
        }
    }

    #[test]
    fn only_its_own_handle_opens_what_is_kept() {
        let keys = keys(b"a master secret of the tests", None);
        let (one, other) =
            (SessionHandle::issue(&keys, [7; 32]), SessionHandle::issue(&keys, [8; 32]));
        let sealed = one.seal_key().seal([1; 24], b"", b"tokens").unwrap();
        assert_eq!(one.seal_key().open(b"", &sealed), Ok(b"tokens".to_vec()));
        assert!(other.seal_key().open(b"", &sealed).is_err());
        assert!(!format!("{one:?}").contains(one.as_str()));
    }
}
