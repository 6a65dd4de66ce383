//! What the rows of the store say, and what its intents come to.

use std::net::IpAddr;

use shared::client::ClientId;
use shared::scope::Scope;
use shared::secret::{Sha256Digest, base64url};
use shared::status_list::{StatusIndex, StatusListId};
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

use super::Ends;

/// The `sub` of a user: opaque, never an e-mail address, never reused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub String);

impl std::fmt::Display for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A browser in which somebody has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Digest of the cookie's value.
    pub digest: Sha256Digest,
    /// Who logged in.
    pub user_id: UserId,
    /// When the password was last checked.
    pub auth_time: UnixTime,
    /// Absolute end.
    pub expires_at: UnixTime,
    /// The `User-Agent` of the login, at most [`USER_AGENT_LEN`] bytes.
    ///
    /// [`USER_AGENT_LEN`]: shared::limits::USER_AGENT_LEN
    pub user_agent: Option<String>,
    /// The address of the login, where it is known.
    pub address: Option<IpAddr>,
}

/// An authorization code that was sent and not yet redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRecord {
    /// The grant that redeeming it begins; computed from the code.
    pub grant_id: GrantId,
    /// Digest of the code.
    pub digest: Sha256Digest,
    /// Digest of what the code is bound to: client, redirect URI, challenge.
    pub binding: Sha256Digest,
    /// The client.
    pub client_id: ClientId,
    /// Who consented.
    pub user_id: UserId,
    /// What was consented to.
    pub scope: Scope,
    /// The request's `nonce`.
    pub nonce: Option<String>,
    /// When the user's password was last checked.
    pub auth_time: UnixTime,
    /// Digest of the login session under which the code was issued.
    pub session: Sha256Digest,
    /// End of the code.
    pub expires_at: UnixTime,
}

/// One authorization of a user to a client, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// The grant.
    pub grant_id: GrantId,
    /// The client.
    pub client_id: ClientId,
    /// The user.
    pub user_id: UserId,
    /// All that the grant covers.
    pub scope: Scope,
    /// When the user's password was last checked.
    pub auth_time: UnixTime,
    /// Absolute end.
    pub expires_at: UnixTime,
}

/// An access token that was just written into the allow-list and may now be minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRow {
    /// Its identifier.
    pub jti: Jti,
    /// Its end: the asked-for one, or the grant's own end if that comes first.
    pub expires_at: UnixTime,
    /// Its place in a status list.
    pub status: StatusIndex,
}

impl AccessRow {
    /// The first access token of a grant.
    pub(super) const fn first(grant_id: GrantId, ends: &Ends, status: StatusIndex) -> Self {
        Self { jti: Jti { grant_id, number: 1 }, expires_at: ends.access, status }
    }
}

/// An access token that somebody presents, by what is signed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessName {
    /// Its identifier.
    pub jti: Jti,
    /// Its place in a status list.
    pub status: StatusIndex,
}

/// A code that somebody presents, already proven to be of this server and client.
///
/// Does NOT say that it is still good: whether it was redeemed or has expired, its record decides.
#[derive(Clone, Debug)]
pub struct CodeRedemption {
    /// Computed from the code.
    pub grant_id: GrantId,
    /// Digest of the code.
    pub digest: Sha256Digest,
    /// Digest of what the presenter proved: client, redirect URI, verifier's challenge.
    pub binding: Sha256Digest,
    /// The authenticated client.
    pub client_id: ClientId,
    /// Digest of the first refresh token; `None` when the client gets none.
    pub refresh: Option<Sha256Digest>,
    /// End of the access token.
    pub access_expires_at: UnixTime,
    /// Place of the access token in a status list.
    pub status: StatusIndex,
    /// Absolute end of the grant when it has a refresh token.
    pub grant_expires_at: UnixTime,
    /// Seconds that a refresh token lives unused.
    pub refresh_idle_in: u64,
}

impl CodeRedemption {
    /// Computes when the parts of the grant end that begins.
    pub(super) fn ends(&self, now: UnixTime) -> Ends {
        Ends::of(
            self.refresh.as_ref(),
            self.access_expires_at,
            self.grant_expires_at,
            self.refresh_idle_in,
            now,
        )
    }
}

/// What became of a presented code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub enum Redeemed {
    /// It was good, and is now used up.
    Once {
        /// The grant that begins.
        grant: GrantRecord,
        /// The authorization request's `nonce`.
        nonce: Option<String>,
        /// The first access token.
        access: AccessRow,
        /// Digest of the login session under which the code was issued.
        session: Sha256Digest,
    },
    /// It was redeemed before by this same client: everything of its grant is now revoked, as by
    /// [`super::Store::revoke_grant`].
    Replayed,
    /// A record exists, but for another client, redirect URI or challenge. Nothing changed.
    Mismatched,
    /// No record: never issued, expired, or lost with the store.
    Missing,
}

/// A code that somebody presents too late to get anything for it, already proven to be of this
/// server and client. Does NOT say whether it was ever redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateCode {
    /// Computed from the code.
    pub grant_id: GrantId,
    /// Digest of the code.
    pub digest: Sha256Digest,
    /// The authenticated client.
    pub client_id: ClientId,
}

/// A grant that begins without a code (password grant).
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// The grant, with its absolute end.
    pub grant: GrantRecord,
    /// Digest of the first refresh token; `None` when the client gets none.
    pub refresh: Option<Sha256Digest>,
    /// End of the access token.
    pub access_expires_at: UnixTime,
    /// Place of the access token in a status list.
    pub status: StatusIndex,
    /// Seconds that a refresh token lives unused.
    pub refresh_idle_in: u64,
}

impl NewGrant {
    /// Computes when its parts end.
    pub(super) fn ends(&self, now: UnixTime) -> Ends {
        Ends::of(
            self.refresh.as_ref(),
            self.access_expires_at,
            self.grant.expires_at,
            self.refresh_idle_in,
            now,
        )
    }
}

/// A refresh token that somebody presents, already proven to be of this server and client.
#[derive(Clone, Debug)]
pub struct RefreshRotation {
    /// The grant in the token.
    pub grant_id: GrantId,
    /// The generation in the token.
    pub generation: u32,
    /// Digest of the token.
    pub presented: Sha256Digest,
    /// Digest of its successor.
    pub successor: Sha256Digest,
    /// The authenticated client.
    pub client_id: ClientId,
    /// The scope that is asked for; `None` asks for all of the grant's.
    pub scope: Option<Scope>,
    /// End of the access token.
    pub access_expires_at: UnixTime,
    /// Place of the access token in a status list.
    pub status: StatusIndex,
    /// Seconds that the successor lives unused.
    pub refresh_idle_in: u64,
    /// Names this presentation.
    pub attempt: AttemptId,
    /// Presentations of the same token of which it is known that nobody was told what came of them.
    pub untold: Vec<AttemptId>,
}

/// What became of a presented refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// It was the current one; its successor is current now.
    Next {
        /// The grant.
        grant: GrantRecord,
        /// The new access token.
        access: AccessRow,
    },
    /// It was the previous one, within the grace or with a successor that nobody was told, and the
    /// successor is still unused: the same one stays current.
    Repeated {
        /// The grant.
        grant: GrantRecord,
        /// One more access token of the same generation.
        access: AccessRow,
        /// Digest of the refresh token that is current.
        current: Sha256Digest,
    },
    /// It had been used up: everything of the grant is now revoked, as by
    /// [`super::Store::revoke_grant`].
    Reused,
    /// The asked-for scope is more than the grant's. Nothing changed.
    ScopeExceeded,
    /// [`shared::limits::ACCESS_TOKENS_OF_A_GRANT`] access tokens of the grant are alive: no more
    /// begin until some have ended. Nothing changed.
    Crowded,
    /// No such live grant of this client. Nothing changed; but when it was this client's and is
    /// revoked, that is finished, as by [`super::Store::finish_revocation`].
    Missing,
}

/// Consecutive places in a status list, reserved for tokens that are yet to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusBlock {
    /// The list.
    pub list: StatusListId,
    /// The first index; there are [`shared::limits::STATUS_BLOCK_LEN`].
    pub first: u32,
}

/// Whether something that may happen once happened now, or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// Now.
    First,
    /// Before.
    Again,
}

/// Names one attempt to log in or to refresh: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId(pub [u8; 16]);

impl AttemptId {
    /// Returns the id as 22 characters.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        base64url(&self.0)
    }
}

/// Whether one more login attempt may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was counted and may go on.
    Allowed,
    /// The limit is reached; nothing was counted.
    Refused {
        /// Seconds until the first of those that are counted ends, at least 1.
        retry_in: u64,
    },
}
