//! The keys of rows, and how long rows are kept. What is in them stands in the key
//! table of `store`.

use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

use crate::store::{BffOwner, ROW_LEEWAY, UserId};

pub(super) const STATUS_LISTS_KEY: &str = "cadence:status-lists:{status}";

/// The keys of status lists, up to their identifiers.
pub(super) const STATUS_LIST_KEYS: &str = "cadence:status-list:{status}:";

/// The notices that wait.
pub(super) const NOTICES_KEY: &str = "cadence:notices:{notices}";

/// A key that is never there: a script about it and another one is put off while their slot moves
/// from one server of a cluster to another.
pub(super) const NOTICES_GUARD_KEY: &str = "cadence:guard:{notices}";

/// The keys of notices, up to their digests.
pub(super) const NOTICE_KEYS: &str = "cadence:notice:{notices}:";

pub(super) fn user_sessions_key(user_id: &UserId) -> String {
    let digest = Sha256Digest::of(user_id.0.as_bytes());
    format!("cadence:user-sessions:{}", digest.to_base64url())
}

pub(super) fn session_key(digest: &Sha256Digest) -> String {
    format!("cadence:session:{{{}}}", digest.to_base64url())
}

pub(super) fn session_grants_key(digest: &Sha256Digest) -> String {
    format!("cadence:session-grants:{{{}}}", digest.to_base64url())
}

pub(super) fn code_key(grant_id: &GrantId) -> String {
    format!("cadence:code:{{{grant_id}}}")
}

pub(super) fn grant_key(grant_id: &GrantId) -> String {
    format!("cadence:grant:{{{grant_id}}}")
}

/// The keys of a grant's access tokens, up to their numbers.
pub(super) fn access_keys(grant_id: &GrantId) -> String {
    format!("cadence:jti:{{{grant_id}}}:")
}

pub(super) fn access_key(jti: &Jti) -> String {
    format!("{}{}", access_keys(&jti.grant_id), jti.number)
}

pub(super) fn attempts_key(key: &Sha256Digest) -> String {
    format!("cadence:login-attempts:{}", key.to_base64url())
}

/// Seconds that a row with this end is kept; a row that has ended is kept for the leeway.
pub(super) fn row_lives_in(expires_at: UnixTime, now: UnixTime) -> u64 {
    expires_at.since(now) + ROW_LEEWAY
}

pub(super) fn bff_session_key(digest: &Sha256Digest) -> String {
    format!("cadence:bff:{{{}}}", digest.to_base64url())
}

pub(super) fn bff_owner_key(owner: &BffOwner) -> String {
    format!("cadence:bff-owner:{}", owner.digest().to_base64url())
}
