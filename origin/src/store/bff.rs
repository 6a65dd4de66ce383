//! Sessions of browsers at the backend-for-frontend, as both back ends keep them.

use shared::claims::SessionId;
use shared::client::ClientId;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token::GrantId;

use super::UserId;

/// A session of a browser at the backend-for-frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BffSessionRecord {
    /// Digest of the browser's handle.
    pub digest: Sha256Digest,
    /// Whose session it is.
    pub user_id: UserId,
    /// The client that the backend-for-frontend is.
    pub client_id: ClientId,
    /// The grant that its tokens are of.
    pub grant_id: GrantId,
    /// When the user's password was last checked.
    pub auth_time: UnixTime,
    /// Absolute end.
    pub expires_at: UnixTime,
    /// When the access token is to be renewed.
    pub renew_at: UnixTime,
    /// The tokens, sealed for the handle: nobody else can read them.
    pub sealed: String,
}

/// What a session of the backend-for-frontend hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BffGrant {
    /// The grant that its tokens are of.
    pub grant_id: GrantId,
    /// Whose session it is.
    pub user_id: UserId,
    /// The client that the backend-for-frontend is.
    pub client_id: ClientId,
}

/// Counts the renewals of a session's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BffVersion(pub u64);

/// Names a renewal that is under way: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BffRenewal(pub [u8; 16]);

/// What became of a question for a session of the backend-for-frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BffOpened {
    /// Its tokens are good for a while.
    Current(BffSessionRecord, BffVersion),
    /// Its tokens are to be renewed by whoever asked, and nobody else does meanwhile.
    Renew {
        /// The session.
        session: BffSessionRecord,
        /// Whether somebody else began a renewal and did not come back: it may have happened.
        was_begun: bool,
    },
    /// Its tokens are being renewed by somebody else.
    Underway,
    /// There is no such session, or none any more.
    Missing,
}

/// What a session of the backend-for-frontend is found by when its handle is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BffOwner {
    /// The user.
    User(UserId),
    /// The login session.
    LoginSession(SessionId),
}

impl BffOwner {
    /// Returns the digest under which the owner's sessions are listed.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(
            match self {
                Self::User(user) => format!("user {user}"),
                Self::LoginSession(sid) => format!("login session {}", sid.as_str()),
            }
            .as_bytes(),
        )
    }
}
