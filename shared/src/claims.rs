//! The claims of access tokens and ID tokens.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use crate::client::ClientId;
use crate::error::OAuthError;
use crate::issuer::Issuer;
use crate::jwk::Alg;
use crate::jwt::Verified;
use crate::limits::{ACCESS_TOKEN_EXPIRES_IN, CLOCK_SKEW};
use crate::scope::Scope;
use crate::secret::{Sha256Digest, base64url, base64url_decode};
use crate::status_list::{Status, StatusIndex};
use crate::time::UnixTime;
use crate::token::Jti;

/// An `aud` claim: written as a string when there is one audience, read in both forms.
///
/// Source: RFC 7519 §4.1.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Audience {
    /// Makes the claim from a list.
    #[must_use]
    pub fn new(mut audiences: Vec<String>) -> Self {
        match audiences.pop() {
            Some(only) if audiences.is_empty() => Self::One(only),
            Some(last) => {
                audiences.push(last);
                Self::Many(audiences)
            }
            None => Self::Many(audiences),
        }
    }

    /// Tells whether `audience` is among them.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(only) => only == audience,
            Self::Many(all) => all.iter().any(|one| one == audience),
        }
    }
}

/// The claims of an access token but for `exp` and `iat`.
///
/// Source: RFC 9068 §2.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer.
    pub iss: String,
    /// The user.
    pub sub: String,
    /// Whom the token is for; always this server, and what the client's registration adds.
    pub aud: Audience,
    /// The client.
    pub client_id: String,
    /// What the token allows.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// Grant and number, see [`Jti`].
    pub jti: String,
    /// When the user's password was last checked.
    pub auth_time: UnixTime,
    /// Where its revocation is published.
    pub status: Status,
}

/// An access token that is of this issuer, for this audience, and not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The claims.
    pub claims: AccessTokenClaims,
    /// The parsed `jti`.
    pub jti: Jti,
    /// Where its revocation is published: in a list of this issuer.
    pub status: StatusIndex,
    /// `exp`.
    pub expires_at: UnixTime,
    /// `iat`.
    pub issued_at: UnixTime,
}

impl AccessToken {
    /// Validates verified claims.
    ///
    /// Checks, in order: its times ([`Verified::in_time`]), `iss`, `aud`, a life no longer than what is issued, the shape of `jti`, a
    /// `status` in a list of this issuer.
    /// **Does NOT** tell whether the token was revoked: the list at `status` does, and the store.
    ///
    /// # Errors
    /// `invalid_token`.
    ///
    /// Source: RFC 9068 §4.
    pub fn validate(
        verified: Verified<AccessTokenClaims>,
        issuer: &Issuer,
        audience: &str,
        now: UnixTime,
    ) -> Result<Self, OAuthError> {
        verified.in_time(now).ok_or(OAuthError::invalid_token())?;
        Self::validate_at_any_time(verified, issuer, audience)
    }

    /// Validates verified claims as [`Self::validate`] does, whatever the time is: for a revocation,
    /// which a clock that is wrong must not turn into nothing.
    ///
    /// # Errors
    /// `invalid_token`.
    pub fn validate_at_any_time(
        verified: Verified<AccessTokenClaims>,
        issuer: &Issuer,
        audience: &str,
    ) -> Result<Self, OAuthError> {
        const INVALID: OAuthError = OAuthError::invalid_token();
        let (expires_at, issued_at) = verified.expires_at.zip(verified.issued_at).ok_or(INVALID)?;
        let claims = verified.claims;
        let longest = ACCESS_TOKEN_EXPIRES_IN + CLOCK_SKEW;
        let holds = claims.iss == issuer.as_str()
            && claims.aud.contains(audience)
            && expires_at.since(issued_at) <= longest;
        let jti = Jti::parse(&claims.jti).filter(|_| holds).ok_or(INVALID)?;
        let status = claims.status.index(issuer).ok_or(INVALID)?;
        Ok(Self { claims, jti, status, expires_at, issued_at })
    }
}

/// A `sid`: names a login session to clients, and tells nothing else about it.
///
/// One session has one name, the same for all clients. That of this server is 22 base64url
/// characters; of another provider it may be any text.
///
/// Source: OpenID Connect Back-Channel Logout 1.0 §2.1 and §2.4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// Names the session with this digest: neither the digest nor the cookie can be told from it.
    #[must_use]
    pub fn of_session(session: &Sha256Digest) -> Self {
        let digest = Sha256::new().chain_update(b"cadence sid\0").chain_update(session.as_bytes());
        Self(base64url(&digest.finalize()[..16]))
    }

    /// Reads a name that this server gave: 22 base64url characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = base64url_decode(text).is_some_and(|bytes| bytes.len() == 16);
        is_one.then(|| Self(text.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The claims of an ID token but for `exp` and `iat`.
///
/// Source: OpenID Connect Core §2 and §3.1.3.6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdTokenClaims {
    /// The issuer.
    pub iss: String,
    /// The user.
    pub sub: String,
    /// The client.
    pub aud: Audience,
    /// The client again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azp: Option<String>,
    /// When the user's password was last checked.
    pub auth_time: UnixTime,
    /// The authorization request's `nonce`, byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Left half of the access token's SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
    /// The login session (OpenID Connect Back-Channel Logout 1.0 §2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
}

/// An ID token that a client may believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdToken {
    /// The claims.
    pub claims: IdTokenClaims,
}

impl IdToken {
    /// Validates the verified claims of an ID token that came straight from the token endpoint.
    ///
    /// Checks, in order: its times ([`Verified::in_time`]), `iss`, `aud` with this client and nobody
    /// else, `azp` if there is one, the `nonce` of this sign-in.
    /// **Does NOT** hold `at_hash` against the access token: both came in one answer of the issuer.
    ///
    /// # Errors
    /// `invalid_token`.
    ///
    /// Source: OpenID Connect Core §3.1.3.7.
    pub fn validate(
        verified: Verified<IdTokenClaims>,
        issuer: &Issuer,
        client_id: &ClientId,
        nonce: &str,
        now: UnixTime,
    ) -> Result<Self, OAuthError> {
        const INVALID: OAuthError = OAuthError::invalid_token();
        verified.in_time(now).ok_or(INVALID)?;
        let claims = verified.claims;
        let client_id = client_id.as_str();
        let is_only_ours = match &claims.aud {
            Audience::One(only) => only == client_id,
            Audience::Many(all) => !all.is_empty() && all.iter().all(|one| one == client_id),
        };
        let holds = claims.iss == issuer.as_str()
            && is_only_ours
            && claims.azp.as_deref().is_none_or(|azp| azp == client_id)
            && claims.nonce.as_deref() == Some(nonce);
        holds.then_some(Self { claims }).ok_or(INVALID)
    }
}

/// Computes `at_hash`: the left half of the access token's hash, by the hash function of the ID
/// token's algorithm (SHA-256; SHA-512 for Ed25519, whose own hash that is).
///
/// Source: OpenID Connect Core §3.1.3.6, RFC 8032 §5.1.
#[must_use]
pub fn at_hash(alg: Alg, access_token: &str) -> String {
    match alg {
        Alg::ES256 | Alg::RS256 => base64url(&Sha256::digest(access_token.as_bytes())[..16]),
        Alg::EdDsa => base64url(&Sha512::digest(access_token.as_bytes())[..32]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status_list::StatusListId;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const LIST: StatusListId = StatusListId::from_bytes([3; 16]);

    fn issuer() -> Issuer {
        Issuer::parse("https://id.example").unwrap()
    }

    fn verified() -> Verified<AccessTokenClaims> {
        Verified {
            claims: AccessTokenClaims {
                iss: "https://id.example".into(),
                sub: "u1".into(),
                aud: Audience::Many(vec!["api".into(), "https://id.example".into()]),
                client_id: "web".into(),
                scope: Scope::parse("openid").unwrap(),
                jti: "AwMDAwMDAwMDAwMDAwMDAw.1".into(),
                auth_time: NOW,
                status: Status::new(&issuer(), &StatusIndex { list: LIST, idx: 7 }),
            },
            expires_at: Some(NOW.plus(300)),
            not_before: None,
            issued_at: Some(NOW),
        }
    }

    fn validate(
        verified: Verified<AccessTokenClaims>,
        now: UnixTime,
    ) -> Result<AccessToken, OAuthError> {
        AccessToken::validate(verified, &issuer(), "https://id.example", now)
    }

    #[test]
    fn a_good_token_is_good_until_it_expires() {
        assert!(validate(verified(), NOW).is_ok());
        assert!(validate(verified(), NOW.plus(300 + CLOCK_SKEW - 1)).is_ok());
        assert!(validate(verified(), NOW.plus(300 + CLOCK_SKEW)).is_err());
        assert!(validate(verified(), NOW.minus(CLOCK_SKEW)).is_ok());
        assert!(validate(verified(), NOW.minus(CLOCK_SKEW + 1)).is_err());
    }

    #[test]
    fn each_wrong_claim_is_refused() {
        let wrong: [fn(&mut Verified<AccessTokenClaims>); 10] = [
            |token| token.claims.iss = "https://id.example/".into(),
            |token| token.claims.iss = "https://other.example".into(),
            |token| token.claims.aud = Audience::One("https://id.example.evil".into()),
            |token| token.claims.jti = "1".into(),
            |token| token.expires_at = None,
            |token| token.issued_at = None,
            |token| token.expires_at = Some(NOW.plus(3_153_600_000)),
            |token| token.not_before = Some(NOW.plus(61)),
            |token| token.issued_at = Some(NOW.plus(61)),
            |token| {
                let other = Issuer::parse("https://other.example").unwrap();
                token.claims.status = Status::new(&other, &StatusIndex { list: LIST, idx: 7 });
            },
        ];
        for (case, change) in wrong.into_iter().enumerate() {
            let mut token = verified();
            change(&mut token);
            assert_eq!(validate(token, NOW), Err(OAuthError::invalid_token()), "case {case}");
        }
    }

    #[test]
    fn a_session_has_one_name_that_is_not_its_digest() {
        let (one, other) = (Sha256Digest::of(b"one"), Sha256Digest::of(b"other"));
        let sid = SessionId::of_session(&one);
        assert_eq!(sid, SessionId::of_session(&one));
        assert_ne!(sid, SessionId::of_session(&other));
        assert_eq!(sid.as_str().len(), 22);
        assert_eq!(SessionId::parse(sid.as_str()), Some(sid.clone()));
        for bad in ["", "x", &one.to_base64url(), &format!("{} ", sid.as_str())] {
            assert_eq!(SessionId::parse(bad), None, "{bad}");
        }
        assert!(!one.to_base64url().contains(sid.as_str()));
        assert_ne!(sid.as_str(), &Sha256Digest::of(one.as_bytes()).to_base64url()[..22]);
    }

    fn id_token() -> Verified<IdTokenClaims> {
        Verified {
            claims: IdTokenClaims {
                iss: "https://id.example".into(),
                sub: "u1".into(),
                aud: Audience::One("web".into()),
                azp: Some("web".into()),
                auth_time: NOW,
                nonce: Some("n".into()),
                at_hash: None,
                sid: None,
            },
            expires_at: Some(NOW.plus(300)),
            not_before: None,
            issued_at: Some(NOW),
        }
    }

    fn believe(token: Verified<IdTokenClaims>, now: UnixTime) -> bool {
        let client_id = ClientId::parse("web").unwrap();
        IdToken::validate(token, &issuer(), &client_id, "n", now).is_ok()
    }

    #[test]
    fn a_good_id_token_is_believed_until_it_expires() {
        assert!(believe(id_token(), NOW) && believe(id_token(), NOW.plus(300 + CLOCK_SKEW - 1)));
        assert!(!believe(id_token(), NOW.plus(300 + CLOCK_SKEW)));
        assert!(believe(id_token(), NOW.minus(CLOCK_SKEW)));
        assert!(!believe(id_token(), NOW.minus(CLOCK_SKEW + 1)));
        let mut listed = id_token();
        listed.claims.aud = Audience::Many(vec!["web".into()]);
        listed.claims.azp = None;
        assert!(believe(listed, NOW));
    }

    #[test]
    fn each_wrong_claim_of_an_id_token_is_refused() {
        let wrong: [fn(&mut Verified<IdTokenClaims>); 12] = [
            |token| token.claims.iss = "https://id.example/".into(),
            |token| token.claims.iss = "https://other.example".into(),
            |token| token.claims.aud = Audience::One("other".into()),
            |token| token.claims.aud = Audience::Many(vec!["web".into(), "other".into()]),
            |token| token.claims.aud = Audience::Many(vec![]),
            |token| token.claims.azp = Some("other".into()),
            |token| token.claims.nonce = None,
            |token| token.claims.nonce = Some("N".into()),
            |token| token.expires_at = None,
            |token| token.issued_at = None,
            |token| token.issued_at = Some(NOW.plus(CLOCK_SKEW + 1)),
            |token| token.not_before = Some(NOW.plus(CLOCK_SKEW + 1)),
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let mut token = id_token();
            change(&mut token);
            assert!(!believe(token, NOW), "{number}");
        }
    }

    #[test]
    fn at_hash_is_the_left_half() {
        // OpenID Connect Core, Appendix A.4 has this access token and hash.
        assert_eq!(
            at_hash(Alg::ES256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
    }
}
