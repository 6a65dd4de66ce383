//! The authorization code grant (RFC 6749 §4.1.3, RFC 7636 §4.5).

use shared::claims::SessionId;
use shared::client::{Client, GrantType};
use shared::edge_keys::TokenKeys;
use shared::limits::{ACCESS_TOKEN_EXPIRES_IN, CODE_EXPIRES_IN, GRANT_EXPIRES_IN, REFRESH_IDLE_IN};
use shared::status_list::StatusIndex;
use shared::time::UnixTime;
use shared::token::RefreshToken;
use shared::token_request::ProvenCode;

use super::Denied;
use crate::store::{AccessRow, CodeRedemption, GrantRecord, LateCode, Redeemed};

/// Says what the store is to redeem, and the refresh token that the client gets if it does.
///
/// Does NOT look at the code's age: whoever calls asks about a late one with [`late`] instead.
/// `random` is for the refresh token, `status` for the access token.
#[must_use]
pub fn present(
    keys: &TokenKeys,
    client: &Client,
    proven: &ProvenCode,
    random: [u8; 16],
    status: StatusIndex,
    now: UnixTime,
) -> (CodeRedemption, Option<RefreshToken>) {
    let ProvenCode { code, binding, .. } = proven;
    let grant_expires_at = now.plus(GRANT_EXPIRES_IN);
    let refresh_token = client.may_use(GrantType::RefreshToken).is_ok().then(|| {
        RefreshToken::first(keys, code.grant_id(), grant_expires_at, random, &client.client_id)
    });
    let redemption = CodeRedemption {
        grant_id: code.grant_id(),
        digest: code.digest(),
        binding: binding.digest(),
        client_id: client.client_id.clone(),
        refresh: refresh_token.as_ref().map(RefreshToken::digest),
        access_expires_at: now.plus(ACCESS_TOKEN_EXPIRES_IN),
        status,
        grant_expires_at,
        refresh_idle_in: REFRESH_IDLE_IN,
    };
    (redemption, refresh_token)
}

/// Says what the store is to look for when a code gets nothing, because it is late: if it was
/// redeemed, this is a replay, and what it began is revoked.
///
/// `None` for one that is older than any grant: what it may have begun has ended. Does NOT look at
/// [`ProvenCode::is_late`]: a code that is not late by this clock may be so by another.
#[must_use]
pub fn late(client: &Client, proven: &ProvenCode, now: UnixTime) -> Option<LateCode> {
    let ProvenCode { code, .. } = proven;
    (now.since(code.issued_at()) < CODE_EXPIRES_IN + GRANT_EXPIRES_IN).then(|| LateCode {
        grant_id: code.grant_id(),
        digest: code.digest(),
        client_id: client.client_id.clone(),
    })
}

/// What a code has begun.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    /// The grant.
    pub grant: GrantRecord,
    /// The first access token.
    pub access: AccessRow,
    /// The authorization request's `nonce`.
    pub nonce: Option<String>,
    /// The login session under which the code was issued.
    pub sid: SessionId,
}

/// Reads what the store says became of the code.
///
/// # Errors
/// [`Denied::CodeReplayed`], [`Denied::CodeMismatched`], [`Denied::CodeMissing`].
pub fn judge(redeemed: Redeemed) -> Result<Begun, Denied> {
    match redeemed {
        Redeemed::Once { grant, nonce, access, session } => {
            Ok(Begun { grant, access, nonce, sid: SessionId::of_session(&session) })
        }
        Redeemed::Replayed => Err(Denied::CodeReplayed),
        Redeemed::Mismatched => Err(Denied::CodeMismatched),
        Redeemed::Missing => Err(Denied::CodeMissing),
    }
}

#[cfg(test)]
mod tests {
    use shared::code::{AuthorizationCode, CodeBinding};

    use super::*;
    use crate::grant::tests::{client, keys, status};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn proven() -> ProvenCode {
        let binding = CodeBinding {
            client_id: client("web").client_id,
            redirect_uri: Some("https://app.example/cb".into()),
            code_challenge: None,
        };
        let code = AuthorizationCode::issue(&keys(), [1; 16], NOW, &binding);
        ProvenCode { code, binding, is_late: false }
    }

    #[test]
    fn a_refresh_token_goes_to_clients_that_list_the_grant() {
        let mut web = client("web");
        let (redemption, token) = present(&keys(), &web, &proven(), [2; 16], status(), NOW);
        let token = token.unwrap();
        assert_eq!(redemption.refresh, Some(token.digest()));
        assert_eq!(redemption.grant_expires_at, token.expires_at());
        assert_eq!(token.grant_id(), redemption.grant_id);
        web.grant_types = vec![GrantType::AuthorizationCode];
        let (redemption, token) = present(&keys(), &web, &proven(), [2; 16], status(), NOW);
        assert!(redemption.refresh.is_none() && token.is_none());
    }

    #[test]
    fn a_late_code_is_asked_about_for_as_long_as_its_grant_may_live() {
        let (web, proven) = (client("web"), proven());
        let end = CODE_EXPIRES_IN + GRANT_EXPIRES_IN;
        let asked = late(&web, &proven, NOW.plus(end - 1)).unwrap();
        let (redemption, _) = present(&keys(), &web, &proven, [2; 16], status(), NOW);
        assert_eq!(asked.grant_id, redemption.grant_id);
        assert_eq!((asked.digest, asked.client_id), (redemption.digest, web.client_id.clone()));
        assert_eq!(late(&web, &proven, NOW.plus(end)), None);
    }

    #[test]
    fn what_the_store_says_is_denied_by_its_name() {
        assert_eq!(judge(Redeemed::Replayed), Err(Denied::CodeReplayed));
        assert_eq!(judge(Redeemed::Mismatched), Err(Denied::CodeMismatched));
        assert_eq!(judge(Redeemed::Missing), Err(Denied::CodeMissing));
    }
}
