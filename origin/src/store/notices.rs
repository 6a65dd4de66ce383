//! Notices: what clients are told when a login session has ended.

use shared::claims::SessionId;
use shared::client::ClientId;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use super::UserId;

/// That a login session has ended, for one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogoutNotice {
    /// Whom it is for.
    pub client_id: ClientId,
    /// Whose session it was.
    pub user_id: UserId,
    /// The session, as the client's ID token names it.
    pub sid: SessionId,
}

impl LogoutNotice {
    /// Returns what tells one notice from another: a client is told of a session once.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        // Neither part has a line feed in it.
        Sha256Digest::of(format!("{}\n{}", self.sid.as_str(), self.client_id).as_bytes())
    }
}

/// A notice that was taken, to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenNotice {
    /// What is to be said, and to whom.
    pub notice: LogoutNotice,
    /// How often it was taken, this time included.
    pub attempt: u32,
    /// When nobody tries any more.
    pub expires_at: UnixTime,
}
