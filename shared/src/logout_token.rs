//! Logout tokens: what a provider says to a client when somebody's login session has ended.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claims::{Audience, SessionId};
use crate::error::OAuthError;
use crate::issuer::Issuer;
use crate::jwt::{Verified, present};
use crate::limits::CLOCK_SKEW;
use crate::time::UnixTime;

/// The member of `events` that makes a token a logout token. Its value is an object, `{}`.
///
/// Source: OpenID Connect Back-Channel Logout 1.0 §2.4.
pub const BACKCHANNEL_LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The claims of a logout token but for `exp` and `iat`.
///
/// Source: OpenID Connect Back-Channel Logout 1.0 §2.4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutTokenClaims {
    /// The issuer.
    pub iss: String,
    /// The user whose session has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The client.
    pub aud: Audience,
    /// Its own identifier, a new one each time that it is sent.
    pub jti: String,
    /// What has happened: [`BACKCHANNEL_LOGOUT`], and nothing else in tokens of this server.
    pub events: BTreeMap<String, Value>,
    /// The session that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// Whether there is a `nonce`, whatever its value: an ID token may have one, a logout token
    /// never does. Is read, never written.
    #[serde(rename = "nonce", default, skip_serializing, deserialize_with = "present")]
    pub has_nonce: bool,
}

impl LogoutTokenClaims {
    /// Says that the session `sid` of the user `sub` has ended, to one client.
    #[must_use]
    pub fn new(issuer: &Issuer, client_id: &str, sub: String, sid: SessionId, jti: String) -> Self {
        let nothing = Value::Object(serde_json::Map::new());
        Self {
            iss: issuer.as_str().to_owned(),
            sub: Some(sub),
            aud: Audience::One(client_id.to_owned()),
            jti,
            events: BTreeMap::from([(BACKCHANNEL_LOGOUT.to_owned(), nothing)]),
            sid: Some(sid),
            has_nonce: false,
        }
    }
}

/// Why a recipient refuses a logout token whose signature is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutTokenRefused {
    /// It is of another issuer.
    Issuer,
    /// It is for another client.
    Audience,
    /// `exp` or `iat` is missing.
    Untimed,
    /// It has expired.
    Expired,
    /// `iat` or `nbf` lies in the future.
    Early,
    /// `jti` is empty.
    Jti,
    /// `events` does not say that somebody was logged out.
    Events,
    /// It has a `nonce`, as an ID token would.
    Nonce,
    /// It names neither a user nor a session.
    Nobody,
}

impl fmt::Display for LogoutTokenRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issuer => "the logout token is of another issuer",
            Self::Audience => "the logout token is for another client",
            Self::Untimed => "the logout token lacks exp or iat",
            Self::Expired => "the logout token has expired",
            Self::Early => "the logout token is from the future",
            Self::Jti => "the logout token has no jti",
            Self::Events => "the logout token does not say that somebody was logged out",
            Self::Nonce => "the logout token has a nonce",
            Self::Nobody => "the logout token names neither a user nor a session",
        })
    }
}

impl From<LogoutTokenRefused> for OAuthError {
    /// Source: OpenID Connect Back-Channel Logout 1.0 §2.8.
    fn from(_: LogoutTokenRefused) -> Self {
        Self::invalid_request("the logout token is not good")
    }
}

/// Whom a logout token logs out.
///
/// Source: OpenID Connect Back-Channel Logout 1.0 §2.6: with both a user and a session, what is
/// meant is that session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedOut {
    /// One session; `sub` is its user, where the token tells.
    Session {
        /// The session, as the ID token of its login named it.
        sid: SessionId,
        /// Its user. A recipient that knows another user for this session ignores the token.
        sub: Option<String>,
    },
    /// Every session of one user.
    User {
        /// The user.
        sub: String,
    },
}

/// A logout token that is of this issuer, for this client, and not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// Whom it logs out.
    pub logged_out: LoggedOut,
    /// Its identifier.
    pub jti: String,
    /// `exp`: until then a recipient that answers each token once remembers `jti`.
    pub expires_at: UnixTime,
}

impl LogoutToken {
    /// Validates verified claims, as a recipient. The envelope's `typ` was checked before
    /// ([`crate::jwt::Typ::LogoutToken`]: stricter than the source, which only recommends it).
    ///
    /// Checks, in order: `iss`, `aud`, `exp` and `iat` present, `exp` (with [`CLOCK_SKEW`]), `iat`
    /// and `nbf` not in the future, `jti` present, `events` with [`BACKCHANNEL_LOGOUT`] and an
    /// object as its value, no `nonce`, `sid` or `sub` present (an empty one is none).
    /// **Does NOT** remember `jti`: the same token validates again until it expires. Whom it names
    /// is logged out already then, so the second time ends nothing, unless the same session could
    /// begin again. **Does NOT** bound how long a token may live: its issuer's tokens live 120 s.
    ///
    /// # Errors
    /// [`LogoutTokenRefused`], the first that applies.
    ///
    /// Source: OpenID Connect Back-Channel Logout 1.0 §2.6.
    pub fn validate(
        verified: Verified<LogoutTokenClaims>,
        issuer: &Issuer,
        client_id: &str,
        now: UnixTime,
    ) -> Result<Self, LogoutTokenRefused> {
        use LogoutTokenRefused as Refused;
        let Verified { claims, expires_at, not_before, issued_at } = verified;
        let (expires_at, issued_at) = expires_at.zip(issued_at).ok_or(Refused::Untimed)?;
        let is_early = |time: UnixTime| time.since(now) > CLOCK_SKEW;
        let rules = [
            (claims.iss == issuer.as_str(), Refused::Issuer),
            (claims.aud.contains(client_id), Refused::Audience),
            (now < expires_at.plus(CLOCK_SKEW), Refused::Expired),
            (!is_early(issued_at) && !not_before.is_some_and(is_early), Refused::Early),
            (!claims.jti.is_empty(), Refused::Jti),
            (claims.events.get(BACKCHANNEL_LOGOUT).is_some_and(Value::is_object), Refused::Events),
            (!claims.has_nonce, Refused::Nonce),
        ];
        if let Some((_, refused)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(refused);
        }
        let sub = claims.sub.filter(|sub| !sub.is_empty());
        let sid = claims.sid.filter(|sid| !sid.as_str().is_empty());
        let logged_out = match (sid, sub) {
            (Some(sid), sub) => LoggedOut::Session { sid, sub },
            (None, Some(sub)) => LoggedOut::User { sub },
            (None, None) => return Err(Refused::Nobody),
        };
        Ok(Self { logged_out, jti: claims.jti, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::{Alg, KeyParameters, PublicJwk};
    use crate::jwt::{JwtRefused, Typ, UntrustedJwt, Verdict};
    use crate::limits::LOGOUT_TOKEN_EXPIRES_IN;
    use crate::secret::{Sha256Digest, base64url};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const EVENTS: &str = r#"{"http://schemas.openid.net/event/backchannel-logout":{}}"#;

    fn issuer() -> Issuer {
        Issuer::parse("https://id.example").unwrap()
    }

    fn sid() -> SessionId {
        SessionId::of_session(&Sha256Digest::of(b"a session"))
    }

    fn verified() -> Verified<LogoutTokenClaims> {
        Verified {
            claims: LogoutTokenClaims::new(&issuer(), "web", "u1".into(), sid(), "j1".into()),
            expires_at: Some(NOW.plus(LOGOUT_TOKEN_EXPIRES_IN)),
            not_before: None,
            issued_at: Some(NOW),
        }
    }

    fn validate(
        verified: Verified<LogoutTokenClaims>,
        now: UnixTime,
    ) -> Result<LogoutToken, LogoutTokenRefused> {
        LogoutToken::validate(verified, &issuer(), "web", now)
    }

    #[test]
    fn a_good_token_is_good_until_it_expires() {
        let good = validate(verified(), NOW).unwrap();
        assert_eq!(good.logged_out, LoggedOut::Session { sid: sid(), sub: Some("u1".into()) });
        assert_eq!((good.jti.as_str(), good.expires_at), ("j1", NOW.plus(120)));
        let end = NOW.plus(LOGOUT_TOKEN_EXPIRES_IN + CLOCK_SKEW);
        assert!(validate(verified(), end.minus(1)).is_ok());
        assert_eq!(validate(verified(), end), Err(LogoutTokenRefused::Expired));
        assert!(validate(verified(), NOW.minus(CLOCK_SKEW)).is_ok());
        let early = NOW.minus(CLOCK_SKEW + 1);
        assert_eq!(validate(verified(), early), Err(LogoutTokenRefused::Early));
    }

    #[test]
    fn a_user_or_a_session_is_enough() {
        let without = |change: fn(&mut LogoutTokenClaims)| {
            let mut token = verified();
            change(&mut token.claims);
            validate(token, NOW).map(|token| token.logged_out)
        };
        let only_session = without(|claims| claims.sub = None);
        assert_eq!(only_session, Ok(LoggedOut::Session { sid: sid(), sub: None }));
        let only_user = without(|claims| claims.sid = None);
        assert_eq!(only_user, Ok(LoggedOut::User { sub: "u1".into() }));
        let many = without(|claims| {
            claims.aud = Audience::Many(vec!["other".into(), "web".into()]);
        });
        assert!(many.is_ok());
        let further = without(|claims| {
            claims.events.insert("https://other.example/event".into(), Value::Null);
        });
        assert!(further.is_ok(), "events that are not understood are ignored");
    }

    #[test]
    fn each_wrong_claim_is_refused_by_its_name() {
        use LogoutTokenRefused as Refused;
        type Change = fn(&mut Verified<LogoutTokenClaims>);
        let wrong: [(Refused, Change); 17] = [
            (Refused::Issuer, |token| token.claims.iss = "https://id.example/".into()),
            (Refused::Issuer, |token| token.claims.iss = "https://other.example".into()),
            (Refused::Audience, |token| token.claims.aud = Audience::One("webber".into())),
            (Refused::Audience, |token| token.claims.aud = Audience::Many(vec![])),
            (Refused::Untimed, |token| token.expires_at = None),
            (Refused::Untimed, |token| token.issued_at = None),
            (Refused::Expired, |token| token.expires_at = Some(NOW.minus(CLOCK_SKEW))),
            (Refused::Early, |token| token.issued_at = Some(NOW.plus(CLOCK_SKEW + 1))),
            (Refused::Early, |token| token.not_before = Some(NOW.plus(CLOCK_SKEW + 1))),
            (Refused::Jti, |token| token.claims.jti = String::new()),
            (Refused::Events, |token| token.claims.events.clear()),
            (Refused::Events, |token| {
                token.claims.events.insert(BACKCHANNEL_LOGOUT.into(), Value::Null);
            }),
            (Refused::Events, |token| {
                token.claims.events.insert(BACKCHANNEL_LOGOUT.into(), Value::Bool(true));
            }),
            (Refused::Events, |token| {
                let value = token.claims.events.remove(BACKCHANNEL_LOGOUT).unwrap();
                token.claims.events.insert(format!("{BACKCHANNEL_LOGOUT}/"), value);
            }),
            (Refused::Nonce, |token| token.claims.has_nonce = true),
            (Refused::Nobody, |token| (token.claims.sub, token.claims.sid) = (None, None)),
            (Refused::Nobody, |token| {
                (token.claims.sub, token.claims.sid) = (Some(String::new()), None);
            }),
        ];
        for (case, (refused, change)) in wrong.into_iter().enumerate() {
            let mut token = verified();
            change(&mut token);
            assert_eq!(validate(token, NOW), Err(refused), "case {case}");
            assert_eq!(OAuthError::from(refused).status(), 400);
        }
    }

    /// Reads a token with these claims, whose signature is taken to be good.
    fn read(typ: &str, claims: &str) -> Result<LogoutTokenClaims, JwtRefused> {
        let header = format!(r#"{{"alg":"ES256","kid":"k","typ":"{typ}"}}"#);
        let (header, claims) = (base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let parameters = KeyParameters::Okp { crv: "Ed25519".into(), x: String::new() };
        let key = PublicJwk::for_signatures(parameters, "k".into(), Alg::ES256);
        let text = format!("{header}.{claims}.AAAA");
        let jwt = UntrustedJwt::parse(&text, Typ::LogoutToken)?;
        jwt.accept::<LogoutTokenClaims>(&key, Verdict::Good).map(|verified| verified.claims)
    }

    #[test]
    fn what_is_read_is_what_was_sent() {
        let good = format!(r#"{{"iss":"i","aud":"web","jti":"j","sub":"u","events":{EVENTS}}}"#);
        for typ in ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt"] {
            assert!(read(typ, &good).is_ok(), "{typ}");
        }
        for typ in ["JWT", "at+jwt", "logout", ""] {
            assert_eq!(read(typ, &good), Err(JwtRefused::Typ), "{typ}");
        }
        for nonce in ["\"n\"", "null", "\"\"", "1"] {
            let claims = format!(r#"{},"nonce":{nonce}}}"#, &good[..good.len() - 1]);
            assert!(read("logout+jwt", &claims).unwrap().has_nonce, "{nonce}");
        }
        for malformed in [
            r#"{"iss":"i","aud":"web","jti":"j"}"#.to_owned(),
            format!(r#"{{"iss":"i","aud":"web","events":{EVENTS}}}"#),
            format!(r#"{{"iss":"i","jti":"j","events":{EVENTS}}}"#),
            format!(r#"{{"aud":"web","jti":"j","events":{EVENTS}}}"#),
            r#"{"iss":"i","aud":"web","jti":"j","events":[]}"#.to_owned(),
            format!(r#"{{"iss":"i","aud":"web","jti":"j","sid":1,"events":{EVENTS}}}"#),
        ] {
            assert_eq!(read("logout+jwt", &malformed), Err(JwtRefused::Malformed), "{malformed}");
        }
    }

    #[test]
    fn what_is_written_has_the_wire_names_and_no_nonce() {
        let json = serde_json::to_value(verified().claims).unwrap();
        let expected = serde_json::json!({
            "iss": "https://id.example",
            "sub": "u1",
            "aud": "web",
            "jti": "j1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
            "sid": sid().as_str(),
        });
        assert_eq!(json, expected);
    }
}
