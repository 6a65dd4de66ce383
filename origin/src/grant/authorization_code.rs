//! The authorization code grant (RFC 6749 §4.1.3, RFC 7636 §4.5).

use shared::client::{Client, GrantType};
use shared::code::{AuthorizationCode, CodeBinding, CodeRefused};
use shared::limits::{ACCESS_TOKEN_EXPIRES_IN, GRANT_EXPIRES_IN, REFRESH_IDLE_IN};
use shared::pkce::CodeVerifier;
use shared::time::UnixTime;
use shared::token::{RefreshToken, TokenKeys};

use super::Denied;
use crate::store::{AccessRow, CodeRedemption, GrantRecord, Redeemed};

/// Verifies a presented code, and says what the store is to redeem and the refresh token that the
/// client gets if it does.
///
/// Does NOT tell whether the code has expired or was redeemed before: the store does. `random` is
/// for the refresh token.
///
/// # Errors
/// [`Denied::CodeForged`]. A missing, superfluous or wrong verifier is a
/// forged code.
pub fn present(
    keys: &TokenKeys,
    client: &Client,
    code: &AuthorizationCode,
    redirect_uri: Option<String>,
    code_verifier: Option<&CodeVerifier>,
    random: [u8; 16],
    now: UnixTime,
) -> Result<(CodeRedemption, Option<RefreshToken>), Denied> {
    let binding = CodeBinding {
        client_id: client.client_id.clone(),
        redirect_uri,
        code_challenge: code_verifier.map(CodeVerifier::challenge),
    };
    match code.verify(keys, &binding, now) {
        // The store has no row for an expired code, but it may have the grant that it began: a
        // replay revokes, however late.
        Ok(()) | Err(CodeRefused::Expired) => {}
        Err(CodeRefused::Malformed | CodeRefused::Forged) => return Err(Denied::CodeForged),
    }
    let refresh_token = client
        .may_use(GrantType::RefreshToken)
        .is_ok()
        .then(|| RefreshToken::first(keys, code.grant_id(), random, &client.client_id));
    let redemption = CodeRedemption {
        grant_id: code.grant_id(),
        digest: code.digest(),
        binding: binding.digest(),
        client_id: client.client_id.clone(),
        refresh: refresh_token.as_ref().map(RefreshToken::digest),
        access_expires_at: now.plus(ACCESS_TOKEN_EXPIRES_IN),
        grant_expires_at: now.plus(GRANT_EXPIRES_IN),
        refresh_idle_in: REFRESH_IDLE_IN,
    };
    Ok((redemption, refresh_token))
}

/// Reads what the store says became of the code.
///
/// # Errors
/// [`Denied::CodeReplayed`], [`Denied::CodeMismatched`], [`Denied::CodeMissing`].
pub fn judge(redeemed: Redeemed) -> Result<(GrantRecord, AccessRow, Option<String>), Denied> {
    match redeemed {
        Redeemed::Once { grant, nonce, access } => Ok((grant, access, nonce)),
        Redeemed::Replayed => Err(Denied::CodeReplayed),
        Redeemed::Mismatched => Err(Denied::CodeMismatched),
        Redeemed::Missing => Err(Denied::CodeMissing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::tests::{client, keys};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn verifier() -> CodeVerifier {
        CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap()
    }

    fn code(challenge: bool) -> AuthorizationCode {
        let binding = CodeBinding {
            client_id: client("web").client_id,
            redirect_uri: Some("https://app.example/cb".into()),
            code_challenge: challenge.then(|| verifier().challenge()),
        };
        AuthorizationCode::issue(&keys(), [1; 16], NOW, &binding)
    }

    fn check(
        client: &Client,
        code: &AuthorizationCode,
        uri: Option<&str>,
        verifier: Option<&CodeVerifier>,
        now: UnixTime,
    ) -> Result<bool, Denied> {
        present(&keys(), client, code, uri.map(str::to_owned), verifier, [2; 16], now)
            .map(|(_, refresh_token)| refresh_token.is_some())
    }

    #[test]
    fn a_code_is_for_its_client_redirect_uri_and_verifier() {
        let (uri, verifier) = (Some("https://app.example/cb"), verifier());
        let other = CodeVerifier::parse(&"o".repeat(43)).unwrap();
        let web = client("web");
        assert_eq!(check(&web, &code(true), uri, Some(&verifier), NOW), Ok(true));
        let forged = Err(Denied::CodeForged);
        assert_eq!(check(&client("other"), &code(true), uri, Some(&verifier), NOW), forged);
        assert_eq!(check(&web, &code(true), None, Some(&verifier), NOW), forged);
        let elsewhere = Some("https://app.example/cb2");
        assert_eq!(check(&web, &code(true), elsewhere, Some(&verifier), NOW), forged);
        assert_eq!(check(&web, &code(true), uri, Some(&other), NOW), forged);
        assert_eq!(check(&web, &code(true), uri, None, NOW), forged, "PKCE left out");
        assert_eq!(check(&web, &code(false), uri, Some(&verifier), NOW), forged, "PKCE added");
        let late = check(&web, &code(true), uri, Some(&verifier), NOW.plus(60));
        assert_eq!(late, Ok(true), "the store refuses it, and revokes what it began");
    }

    #[test]
    fn a_refresh_token_goes_to_clients_that_list_the_grant() {
        let mut web = client("web");
        web.grant_types = vec![GrantType::AuthorizationCode];
        let uri = Some("https://app.example/cb");
        assert_eq!(check(&web, &code(true), uri, Some(&verifier()), NOW), Ok(false));
    }

    #[test]
    fn what_the_store_says_is_denied_by_its_name() {
        assert_eq!(judge(Redeemed::Replayed), Err(Denied::CodeReplayed));
        assert_eq!(judge(Redeemed::Mismatched), Err(Denied::CodeMismatched));
        assert_eq!(judge(Redeemed::Missing), Err(Denied::CodeMissing));
    }
}
