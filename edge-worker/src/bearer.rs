//! Requests with an access token: refused here when the token cannot be good.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::rc::Rc;

use shared::bearer::{self, BearerCredentials};
use shared::claims::AccessToken;
use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use shared::jwt::{Typ, UntrustedJwt};
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use worker::Context;

use crate::answer::{Answer, Refusal};
use crate::config::Config;
use crate::incoming::Incoming;
use crate::snapshot::{self, Keys};
use crate::{origin, webcrypto};

/// How long an unknown `kid` does not make the edge ask for keys again, milliseconds.
const KEYS_AGAIN_IN_MS: u64 = 10_000;

/// How many verified tokens one generation remembers; there are two.
const REMEMBERED: usize = 2_048;

/// Forwards a request whose access token can be good.
///
/// Checks, in order: one way of sending the token, credentials, the JWT's header, its key, its
/// signature, its claims ([`AccessToken::validate`]), the endpoint's scope.
/// **Does NOT** tell whether the token was revoked: the origin does.
///
/// # Errors
/// A Bearer challenge; [`Refusal::Unavailable`] when there is no key to check with.
pub(crate) async fn answer(
    config: &Rc<Config>,
    context: &Context,
    incoming: &Incoming,
    endpoint: Endpoint,
) -> Result<Answer, Refusal> {
    let scope = (endpoint == Endpoint::Userinfo).then_some("openid");
    let refuse = |error| Refusal::Bearer { error, scope };
    let authorization = incoming.authorization();
    check_one_method(incoming, !authorization.is_empty())
        .map_err(|error| Refusal::Bearer { error: Some(error), scope: None })?;
    let text = match BearerCredentials::parse(authorization.iter().map(String::as_bytes)) {
        Ok(BearerCredentials::Token(text)) => text,
        Ok(BearerCredentials::None) => return Err(refuse(None)),
        Err(error) => return Err(refuse(Some(error))),
    };
    let granted = match verify(config, context, text, incoming.now).await {
        Ok(granted) => granted,
        Err(NotVerified::Refused) => return Err(refuse(Some(OAuthError::invalid_token()))),
        Err(NotVerified::Unknown(refusal)) => return Err(refusal),
    };
    if scope.is_some_and(|scope| !granted.contains(scope)) {
        return Err(refuse(Some(bearer::insufficient_scope())));
    }
    origin::forward(config, incoming, endpoint).await
}

/// Refuses a token in the form beside one in the header (RFC 6750 §2).
fn check_one_method(incoming: &Incoming, in_header: bool) -> Result<(), OAuthError> {
    let in_form = incoming.method == "POST"
        && in_header
        && incoming.form().is_ok_and(|form| form.has("access_token"));
    if in_form {
        return Err(OAuthError::invalid_request("the access token is sent twice"));
    }
    Ok(())
}

/// Why a token is not known to be good.
enum NotVerified {
    /// It is not good.
    Refused,
    /// It may be, but that cannot be told now.
    Unknown(Refusal),
}

/// Returns the scope of a good access token for this server.
async fn verify(
    config: &Rc<Config>,
    context: &Context,
    text: &str,
    now: UnixTime,
) -> Result<Rc<Scope>, NotVerified> {
    let digest = Sha256Digest::of(text.as_bytes());
    if let Some(scope) = VERIFIED.with_borrow(|verified| verified.find(&digest, now)) {
        return Ok(scope);
    }
    let jwt = UntrustedJwt::parse(text, Typ::AccessToken).map_err(|_| NotVerified::Refused)?;
    let keys = keys(config, context, jwt.kid()).await.map_err(NotVerified::Unknown)?;
    let key = keys.set.find(jwt.kid(), jwt.alg()).ok_or(NotVerified::Refused)?;
    let verdict = webcrypto::verify(&jwt, key, &keys.set).await.map_err(NotVerified::Unknown)?;
    let verified = jwt.accept(key, verdict).map_err(|_| NotVerified::Refused)?;
    let token = AccessToken::validate(verified, &config.issuer, config.issuer.as_str(), now)
        .map_err(|_| NotVerified::Refused)?;
    let scope = Rc::new(token.claims.scope);
    let entry = Entry { scope: Rc::clone(&scope), expires_at: token.expires_at };
    VERIFIED.with_borrow_mut(|verified| verified.put(&digest, entry));
    Ok(scope)
}

/// Returns the keys; asks for new ones, once in a while, when `kid` is not among them.
async fn keys(config: &Rc<Config>, context: &Context, kid: &str) -> Result<Rc<Keys>, Refusal> {
    let keys = snapshot::current::<Keys>(config, context).await?;
    if keys.set.has(kid) {
        return Ok(keys);
    }
    snapshot::renew::<Keys>(config, KEYS_AGAIN_IN_MS).await
}

/// Tokens that were verified, by the digest of the whole token. Nothing else enters, so a flood of
/// forged tokens pushes nothing out. When the young generation is full, it becomes the old one.
#[derive(Default)]
struct VerifiedTokens {
    young: HashMap<[u8; 32], Entry>,
    old: HashMap<[u8; 32], Entry>,
}

#[derive(Clone)]
struct Entry {
    scope: Rc<Scope>,
    expires_at: UnixTime,
}

thread_local! {
    static VERIFIED: RefCell<VerifiedTokens> = RefCell::new(VerifiedTokens::default());
}

impl VerifiedTokens {
    fn find(&self, digest: &Sha256Digest, now: UnixTime) -> Option<Rc<Scope>> {
        let entry = self.young.get(digest.as_bytes()).or_else(|| self.old.get(digest.as_bytes()));
        entry.filter(|entry| now < entry.expires_at).map(|entry| Rc::clone(&entry.scope))
    }

    fn put(&mut self, digest: &Sha256Digest, entry: Entry) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(*digest.as_bytes(), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Sha256Digest {
        Sha256Digest::of(number.to_string().as_bytes())
    }

    fn entry(expires_at: u64) -> Entry {
        Entry {
            scope: Rc::new(Scope::parse("openid").unwrap()),
            expires_at: UnixTime::from_secs(expires_at),
        }
    }

    #[test]
    fn a_token_is_remembered_until_it_expires() {
        let mut verified = VerifiedTokens::default();
        verified.put(&digest(1), entry(100));
        let found = |number, now| verified.find(&digest(number), UnixTime::from_secs(now));
        assert!(found(1, 99).is_some());
        assert!(found(1, 100).is_none());
        assert!(found(2, 99).is_none());
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut verified = VerifiedTokens::default();
        for number in 0..=2 * REMEMBERED {
            verified.put(&digest(number), entry(100));
        }
        assert_eq!(verified.young.len() + verified.old.len(), REMEMBERED + 1);
        let found = |number| verified.find(&digest(number), UnixTime::from_secs(0)).is_some();
        assert!(found(2 * REMEMBERED) && found(REMEMBERED) && !found(0));
    }
}
