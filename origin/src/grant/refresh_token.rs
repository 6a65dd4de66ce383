//! The refresh token grant (RFC 6749 §6, RFC 9700 §4.14.2).

use shared::client::Client;
use shared::edge_keys::TokenKeys;
use shared::limits::{ACCESS_TOKEN_EXPIRES_IN, REFRESH_IDLE_IN};
use shared::scope::Scope;
use shared::status_list::StatusIndex;
use shared::time::UnixTime;
use shared::token::RefreshToken;

use super::Denied;
use crate::store::{AccessRow, AttemptId, GrantRecord, RefreshRotation, Rotated};

/// What may follow a refresh token: one successor for each key that is accepted, the one that the
/// current key makes first.
#[derive(Debug)]
pub struct Successors {
    next: RefreshToken,
    others: Vec<RefreshToken>,
}

/// Says what the store is to rotate for a refresh token that is proven to be the client's, and
/// what may follow it. `status` is for the access token, `attempt` names this presentation.
///
/// Does NOT tell whether the token is the live one.
///
/// # Errors
/// [`Denied::RefreshTokenMissing`] at the last possible generation.
pub fn present(
    keys: &TokenKeys,
    client: &Client,
    presented: &RefreshToken,
    scope: Option<Scope>,
    status: StatusIndex,
    attempt: AttemptId,
    now: UnixTime,
) -> Result<(RefreshRotation, Successors), Denied> {
    let mut successors = presented.successors(keys, &client.client_id).into_iter();
    let next = successors.next().ok_or(Denied::RefreshTokenMissing)?;
    let rotation = RefreshRotation {
        grant_id: presented.grant_id(),
        generation: presented.generation(),
        presented: presented.digest(),
        successor: next.digest(),
        client_id: client.client_id.clone(),
        scope,
        access_expires_at: now.plus(ACCESS_TOKEN_EXPIRES_IN),
        status,
        refresh_idle_in: REFRESH_IDLE_IN,
        attempt,
        untold: Vec::new(),
    };
    Ok((rotation, Successors { next, others: successors.collect() }))
}

/// Reads what the store says became of the refresh token, and chooses the one that follows it.
///
/// # Errors
/// [`Denied::RefreshTokenReused`], [`Denied::RefreshTokenMissing`], [`Denied::ScopeExceeded`],
/// [`Denied::Crowded`], and [`Denied::SuccessorUnknown`] when the keys were replaced between two
/// presentations of the same token, so that its successor can no longer be told.
pub fn judge(
    rotated: Rotated,
    successors: Successors,
) -> Result<(GrantRecord, AccessRow, RefreshToken), Denied> {
    match rotated {
        Rotated::Next { grant, access } => Ok((grant, access, successors.next)),
        Rotated::Repeated { grant, access, current } => {
            let mut all = std::iter::once(successors.next).chain(successors.others);
            let handed_out = all.find(|successor| successor.digest() == current);
            Ok((grant, access, handed_out.ok_or(Denied::SuccessorUnknown)?))
        }
        Rotated::Reused => Err(Denied::RefreshTokenReused),
        Rotated::ScopeExceeded => Err(Denied::ScopeExceeded),
        Rotated::Crowded => Err(Denied::Crowded),
        Rotated::Missing => Err(Denied::RefreshTokenMissing),
    }
}

#[cfg(test)]
mod tests {
    use shared::edge_keys::EdgeKeys;
    use shared::secret::Sha256Digest;
    use shared::token::{GrantId, Jti};

    use super::*;
    use crate::grant::tests::{client, grant, keys, status};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn first() -> RefreshToken {
        let grant_id = GrantId::from_bytes([3; 16]);
        RefreshToken::first(&keys(), grant_id, NOW.plus(9), [7; 16], &client("web").client_id)
    }

    fn successors(keys: &TokenKeys) -> Successors {
        present(keys, &client("web"), &first(), None, status(), AttemptId([1; 16]), NOW).unwrap().1
    }

    #[test]
    fn a_repeated_successor_is_handed_out_only_when_it_is_the_current_one() {
        let access = AccessRow {
            jti: Jti { grant_id: first().grant_id(), number: 2 },
            expires_at: NOW.plus(300),
            status: status(),
        };
        let repeated = |keys: &TokenKeys, current| {
            let rotated = Rotated::Repeated { grant: grant(), access, current };
            judge(rotated, successors(keys)).map(|(_, _, token)| token.digest())
        };
        let handed_out = successors(&keys()).next.digest();
        assert_eq!(repeated(&keys(), handed_out), Ok(handed_out));
        let unknown = Err(Denied::SuccessorUnknown);
        assert_eq!(repeated(&keys(), Sha256Digest::of(b"x")), unknown);
        let new: &[u8] = b"the next master secret";
        let changing = EdgeKeys::derive(new, Some(b"a master secret of the tests")).tokens;
        assert_eq!(repeated(&changing, handed_out), Ok(handed_out), "by the key before");
        assert_eq!(repeated(&EdgeKeys::derive(new, None).tokens, handed_out), unknown);
    }

    #[test]
    fn what_the_store_says_is_denied_by_its_name() {
        let judge = |rotated| judge(rotated, successors(&keys())).unwrap_err();
        assert_eq!(judge(Rotated::Reused), Denied::RefreshTokenReused);
        assert_eq!(judge(Rotated::Missing), Denied::RefreshTokenMissing);
        assert_eq!(judge(Rotated::ScopeExceeded), Denied::ScopeExceeded);
    }
}
