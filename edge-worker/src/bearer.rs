//! Access tokens: refused here when they cannot be good.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use shared::bearer::{self, BearerCredentials};
use shared::claims::AccessToken;
use shared::client::ClientId;
use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use shared::jwt::{Typ, UntrustedJwt};
use shared::status_list::{StatusIndex, VALID};
use shared::time::UnixTime;

use crate::answer::{Answer, Refusal};
use crate::incoming::Incoming;
use crate::snapshot::{self, Keys, NotVerified, PublishedList};
use crate::{Edge, clients, origin};

/// How many verified tokens one generation remembers; there are two.
const REMEMBERED: usize = 2_048;

/// What a protected resource wants of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Whom the token is for.
    pub(crate) audience: &'a str,
    /// The scope that it covers.
    pub(crate) scope: Option<&'a str>,
}

/// Forwards a request to the origin's own API when its access token can be good.
///
/// **Does NOT** look for the token's row: the origin does.
///
/// # Errors
/// Those of [`check`].
pub(crate) async fn answer(
    edge: &Edge,
    incoming: &Incoming,
    endpoint: Endpoint,
) -> Result<Answer, Refusal> {
    let in_header = incoming.method == "POST" && incoming.header("Authorization").is_some();
    let form = if in_header { incoming.form().ok() } else { None };
    bearer::check_one_method(in_header, form.as_ref())
        .map_err(|error| Refusal::Bearer { error: Some(error), scope: None })?;
    let scope = (endpoint == Endpoint::Userinfo).then_some("openid");
    check(edge, incoming, Wanted { audience: edge.config.issuer.as_str(), scope }).await?;
    origin::forward(edge, incoming, endpoint).await
}

/// Lets a request through whose access token is good, as far as can be told without its row.
///
/// Checks, in order: credentials, the JWT's header, its key, its signature, its claims
/// ([`AccessToken::validate`]), the audience, the scope, its client, the status that is published for
/// it. **Does NOT** tell whether its user was disabled since: that ends what is issued, not what was.
///
/// # Errors
/// A Bearer challenge; [`Refusal::Unavailable`] when keys or statuses are not known and the origin
/// is away: nobody is let through, and nobody is told that a token is bad.
pub(crate) async fn check(
    edge: &Edge,
    incoming: &Incoming,
    wanted: Wanted<'_>,
) -> Result<(), Refusal> {
    let refuse = |error| Refusal::Bearer { error, scope: wanted.scope.map(str::to_owned) };
    let authorization = incoming.authorization();
    let text = match BearerCredentials::parse(authorization.iter().map(String::as_bytes)) {
        Ok(BearerCredentials::Token(text)) => text,
        Ok(BearerCredentials::None) => return Err(refuse(None)),
        Err(error) => return Err(refuse(Some(error))),
    };
    let invalid = || refuse(Some(OAuthError::invalid_token()));
    let verified = match verify(edge, text, incoming.now).await {
        Ok(verified) => verified,
        Err(NotVerified::Refused) => return Err(invalid()),
        Err(NotVerified::Unknown(refusal)) => return Err(refusal),
    };
    let token = &verified.token;
    if !token.claims.aud.contains(wanted.audience) {
        return Err(invalid());
    }
    if wanted.scope.is_some_and(|scope| !token.claims.scope.contains(scope)) {
        return Err(refuse(Some(bearer::insufficient_scope())));
    }
    let client_id = ClientId::parse(&token.claims.client_id).map_err(|_| invalid())?;
    clients::check(edge, &client_id, |client| client.map(|_| ()).ok_or_else(invalid)).await?;
    if is_revoked(edge, &token.status).await? { Err(invalid()) } else { Ok(()) }
}

/// Tells whether an access token is good and not revoked, as far as can be told without its row.
///
/// **Does NOT** look at its audience, scope and client.
///
/// # Errors
/// Unavailable, when keys or statuses are not known and the origin is away.
pub(crate) async fn is_active(edge: &Edge, text: &str, now: UnixTime) -> Result<bool, Refusal> {
    match verify(edge, text, now).await {
        Ok(verified) => is_revoked(edge, &verified.token.status).await.map(|revoked| !revoked),
        Err(NotVerified::Refused) => Ok(false),
        Err(NotVerified::Unknown(refusal)) => Err(refusal),
    }
}

/// Tells whether a token was revoked, by the list that it is in. One whose list is gone was lost
/// with the store, and is refused as well.
async fn is_revoked(edge: &Edge, status: &StatusIndex) -> Result<bool, Refusal> {
    let published = snapshot::current::<PublishedList>(edge, &status.list).await?;
    let status = published.list.as_ref().and_then(|list| list.status(status.idx));
    Ok(status != Some(VALID))
}

/// Returns an access token that this issuer has signed and that has not expired. Each is verified
/// once, as long as its key is published; its status is another matter.
async fn verify(edge: &Edge, text: &str, now: UnixTime) -> Result<Rc<VerifiedToken>, NotVerified> {
    if let Some(verified) = VERIFIED.with_borrow(|verified| verified.find(text, now)) {
        let keys = snapshot::current::<Keys>(edge, &()).await.map_err(NotVerified::Unknown)?;
        if keys.set.has(&verified.kid) {
            return Ok(verified);
        }
    }
    let jwt = UntrustedJwt::parse(text, Typ::AccessToken).map_err(|_| NotVerified::Refused)?;
    let signed = snapshot::signed_by_issuer(edge, &jwt).await?;
    let issuer = &edge.config.issuer;
    let token = AccessToken::validate(signed, issuer, issuer.as_str(), now)
        .map_err(|_| NotVerified::Refused)?;
    let verified = Rc::new(VerifiedToken { token, kid: jwt.kid().to_owned() });
    VERIFIED.with_borrow_mut(|known| known.put(text, Rc::clone(&verified)));
    Ok(verified)
}

/// A token that was verified, and the key that has signed it.
struct VerifiedToken {
    token: AccessToken,
    kid: String,
}

/// Tokens that were verified, by the whole token. Nothing else enters, so a flood of
/// forged tokens pushes nothing out. When the young generation is full, it becomes the old one.
#[derive(Default)]
struct VerifiedTokens {
    young: HashMap<Box<str>, Rc<VerifiedToken>>,
    old: HashMap<Box<str>, Rc<VerifiedToken>>,
}

thread_local! {
    static VERIFIED: RefCell<VerifiedTokens> = RefCell::new(VerifiedTokens::default());
}

impl VerifiedTokens {
    fn find(&self, text: &str, now: UnixTime) -> Option<Rc<VerifiedToken>> {
        let token = self.young.get(text).or_else(|| self.old.get(text));
        token.filter(|verified| now < verified.token.expires_at).cloned()
    }

    fn put(&mut self, text: &str, token: Rc<VerifiedToken>) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(text.into(), token);
    }
}

#[cfg(test)]
mod tests {
    use shared::claims::{AccessTokenClaims, Audience};
    use shared::issuer::Issuer;
    use shared::scope::Scope;
    use shared::status_list::{Status, StatusListId};
    use shared::token::{GrantId, Jti};

    use super::*;

    fn text(number: usize) -> String {
        number.to_string()
    }

    fn token(expires_at: u64) -> Rc<VerifiedToken> {
        let issuer = Issuer::parse("https://id.example").unwrap();
        let status = StatusIndex { list: StatusListId::from_bytes([3; 16]), idx: 4 };
        let jti = Jti { grant_id: GrantId::from_bytes([3; 16]), number: 1 };
        let token = AccessToken {
            claims: AccessTokenClaims {
                iss: issuer.as_str().to_owned(),
                sub: "u1".to_owned(),
                aud: Audience::One(issuer.as_str().to_owned()),
                client_id: "web".to_owned(),
                scope: Scope::parse("openid").unwrap(),
                jti: jti.to_string(),
                auth_time: UnixTime::from_secs(0),
                status: Status::new(&issuer, &status),
            },
            jti,
            status,
            expires_at: UnixTime::from_secs(expires_at),
            issued_at: UnixTime::from_secs(0),
        };
        Rc::new(VerifiedToken { token, kid: "k1".to_owned() })
    }

    #[test]
    fn a_token_is_remembered_until_it_expires() {
        let mut verified = VerifiedTokens::default();
        verified.put(&text(1), token(100));
        let found = |number, now| verified.find(&text(number), UnixTime::from_secs(now));
        assert!(found(1, 99).is_some());
        assert!(found(1, 100).is_none());
        assert!(found(2, 99).is_none());
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut verified = VerifiedTokens::default();
        for number in 0..=2 * REMEMBERED {
            verified.put(&text(number), token(100));
        }
        assert_eq!(verified.young.len() + verified.old.len(), REMEMBERED + 1);
        let found = |number| verified.find(&text(number), UnixTime::from_secs(0)).is_some();
        assert!(found(2 * REMEMBERED) && found(REMEMBERED) && !found(0));
    }
}
