//! The refresh token grant (RFC 6749 §6, RFC 9700 §4.14.2).

use shared::client::Client;
use shared::limits::{ACCESS_TOKEN_EXPIRES_IN, REFRESH_IDLE_IN};
use shared::scope::Scope;
use shared::time::UnixTime;
use shared::token::{RefreshToken, TokenKeys};

use super::Denied;
use crate::store::{AccessRow, GrantRecord, RefreshRotation, Rotated};

/// Verifies a presented refresh token, and says what the store is to rotate.
///
/// Does NOT tell whether the token is the live one.
///
/// # Errors
/// [`Denied::RefreshTokenForged`], also for another client's token; [`Denied::RefreshTokenMissing`]
/// at the last possible generation.
pub fn present(
    keys: &TokenKeys,
    client: &Client,
    presented: &RefreshToken,
    scope: Option<Scope>,
    now: UnixTime,
) -> Result<(RefreshRotation, RefreshToken), Denied> {
    presented.verify(keys, &client.client_id).map_err(|_| Denied::RefreshTokenForged)?;
    let successor =
        presented.successor(keys, &client.client_id).ok_or(Denied::RefreshTokenMissing)?;
    let rotation = RefreshRotation {
        grant_id: presented.grant_id(),
        generation: presented.generation(),
        presented: presented.digest(),
        successor: successor.digest(),
        client_id: client.client_id.clone(),
        scope,
        access_expires_at: now.plus(ACCESS_TOKEN_EXPIRES_IN),
        refresh_idle_in: REFRESH_IDLE_IN,
    };
    Ok((rotation, successor))
}

/// Reads what the store says became of the refresh token.
///
/// # Errors
/// [`Denied::RefreshTokenReused`], [`Denied::RefreshTokenMissing`], [`Denied::ScopeExceeded`], and
/// [`Denied::SuccessorUnknown`] when the keys were rotated between two presentations of the same
/// token, so that its successor can no longer be told.
pub fn judge(
    rotated: Rotated,
    successor: &RefreshToken,
) -> Result<(GrantRecord, AccessRow), Denied> {
    match rotated {
        Rotated::Next { grant, access } => Ok((grant, access)),
        Rotated::Repeated { grant, access, current } if current == successor.digest() => {
            Ok((grant, access))
        }
        Rotated::Repeated { .. } => Err(Denied::SuccessorUnknown),
        Rotated::Reused => Err(Denied::RefreshTokenReused),
        Rotated::ScopeExceeded => Err(Denied::ScopeExceeded),
        Rotated::Missing => Err(Denied::RefreshTokenMissing),
    }
}

#[cfg(test)]
mod tests {
    use shared::secret::Sha256Digest;
    use shared::token::{GrantId, Jti};

    use super::*;
    use crate::grant::tests::{client, grant, keys};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn first() -> RefreshToken {
        let grant_id = GrantId::from_bytes([3; 16]);
        RefreshToken::first(&keys(), grant_id, [7; 16], &client("web").client_id)
    }

    #[test]
    fn another_clients_token_is_forged() {
        assert!(present(&keys(), &client("web"), &first(), None, NOW).is_ok());
        let refused = present(&keys(), &client("other"), &first(), None, NOW).unwrap_err();
        assert_eq!(refused, Denied::RefreshTokenForged);
    }

    #[test]
    fn a_repeated_successor_is_handed_out_only_when_it_is_the_current_one() {
        let (_, successor) = present(&keys(), &client("web"), &first(), None, NOW).unwrap();
        let access = AccessRow {
            jti: Jti { grant_id: first().grant_id(), number: 2 },
            expires_at: NOW.plus(300),
        };
        let repeated =
            |current| judge(Rotated::Repeated { grant: grant(), access, current }, &successor);
        assert!(repeated(successor.digest()).is_ok());
        assert_eq!(repeated(Sha256Digest::of(b"x")), Err(Denied::SuccessorUnknown));
    }

    #[test]
    fn what_the_store_says_is_denied_by_its_name() {
        let judge = |rotated| judge(rotated, &first()).unwrap_err();
        assert_eq!(judge(Rotated::Reused), Denied::RefreshTokenReused);
        assert_eq!(judge(Rotated::Missing), Denied::RefreshTokenMissing);
        assert_eq!(judge(Rotated::ScopeExceeded), Denied::ScopeExceeded);
    }
}
