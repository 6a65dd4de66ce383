//! The resource owner password credentials grant (RFC 6749 §4.3), for the operator's own
//! confidential clients.

use shared::client::{Client, GrantType};
use shared::edge_keys::TokenKeys;
use shared::limits::{ACCESS_TOKEN_EXPIRES_IN, GRANT_EXPIRES_IN, REFRESH_IDLE_IN};
use shared::scope::Scope;
use shared::status_list::StatusIndex;
use shared::time::UnixTime;
use shared::token::{GrantId, RefreshToken};

use super::Denied;
use crate::store::{GrantRecord, NewGrant, UserId};

/// Chooses the scope before any password is looked at: what is asked for, else all that the
/// client may have.
///
/// # Errors
/// [`Denied::ScopeExceeded`].
pub fn scope(client: &Client, requested: Option<Scope>) -> Result<Scope, Denied> {
    let scope = requested.unwrap_or_else(|| client.scope.clone());
    if scope.is_subset_of(&client.scope) { Ok(scope) } else { Err(Denied::ScopeExceeded) }
}

/// Says which grant begins when the password was right, and the client's refresh token.
///
/// Does NOT check the password, nor that the client may use the grant. `random` are two times 16
/// bytes, for the grant and for the refresh token, `status` is for the access token.
#[must_use]
pub fn begin(
    keys: &TokenKeys,
    client: &Client,
    user_id: UserId,
    scope: Scope,
    random: [[u8; 16]; 2],
    status: StatusIndex,
    now: UnixTime,
) -> (NewGrant, Option<RefreshToken>) {
    let [id, secret] = random;
    let grant_id = GrantId::from_bytes(id);
    let expires_at = now.plus(GRANT_EXPIRES_IN);
    let refresh_token = client
        .may_use(GrantType::RefreshToken)
        .is_ok()
        .then(|| RefreshToken::first(keys, grant_id, expires_at, secret, &client.client_id));
    let grant = GrantRecord {
        grant_id,
        client_id: client.client_id.clone(),
        user_id,
        scope,
        auth_time: now,
        expires_at,
    };
    let new = NewGrant {
        grant,
        refresh: refresh_token.as_ref().map(RefreshToken::digest),
        access_expires_at: now.plus(ACCESS_TOKEN_EXPIRES_IN),
        status,
        refresh_idle_in: REFRESH_IDLE_IN,
    };
    (new, refresh_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::tests::client;

    #[test]
    fn the_scope_is_never_more_than_the_clients() {
        let client = client("web");
        let requested = |text| scope(&client, Some(Scope::parse(text).unwrap()));
        assert_eq!(scope(&client, None), Ok(client.scope.clone()));
        assert_eq!(requested("openid").unwrap().to_string(), "openid");
        assert_eq!(requested("openid admin"), Err(Denied::ScopeExceeded));
    }
}
