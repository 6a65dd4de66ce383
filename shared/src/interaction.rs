//! What an authorization request needs next: a login, a consent, or nothing.

use crate::authorize::{AuthorizationRequest, Prompt};
use crate::client::Client;
use crate::error::{ErrorCode, OAuthError};
use crate::redirect_uri::RedirectUri;
use crate::scope::Scope;
use crate::time::UnixTime;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interaction {
    /// The user logs in.
    Login,
    /// The user is asked for consent.
    Consent,
    /// Nothing: the code can be issued.
    Issue,
    /// The client wants nobody to be asked, and somebody must be.
    Refuse(OAuthError),
}

/// What is known about the user at the browser.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// When the password was last checked; `None` when nobody is logged in.
    pub auth_time: Option<UnixTime>,
    /// What the user has consented to for this client.
    pub consented: Option<&'a Scope>,
}

/// Decides what comes next.
///
/// Checks, in order: a login that is recent enough, then consent. A first-party client is not
/// asked for; every other is, once per scope set, again when the set grows, and always when the
/// redirect URI can be claimed by other programs of the device (RFC 8252 §8.6).
///
/// Source: OpenID Connect Core §3.1.2.3 and §3.1.2.4.
#[must_use]
pub fn next(
    request: &AuthorizationRequest,
    client: &Client,
    standing: Standing<'_>,
    started_at: UnixTime,
    now: UnixTime,
) -> Interaction {
    let logged_in = standing
        .auth_time
        .is_some_and(|auth_time| request.accepts_login(auth_time, started_at, now));
    if !logged_in {
        return asked(
            request,
            Interaction::Login,
            OAuthError::new(ErrorCode::LoginRequired, "nobody is logged in recently enough"),
        );
    }
    let claimable = client.is_public()
        && client.registered(&request.redirect_uri).is_none_or(RedirectUri::is_claimable);
    let covered = standing.consented.is_some_and(|consented| request.scope.is_subset_of(consented));
    let consents = (client.first_party || covered) && !claimable && !request.prompt.wants_consent();
    if !consents {
        return asked(
            request,
            Interaction::Consent,
            OAuthError::new(ErrorCode::ConsentRequired, "the user has not consented"),
        );
    }
    Interaction::Issue
}

fn asked(request: &AuthorizationRequest, ask: Interaction, error: OAuthError) -> Interaction {
    if request.prompt == Prompt::None { Interaction::Refuse(error) } else { ask }
}

#[cfg(test)]
mod tests {
    use crate::client::AuthMethod;
    use crate::form::Params;

    use super::*;
    use crate::client::tests::web;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn decide(
        extra: &str,
        client: &Client,
        auth_time: Option<UnixTime>,
        consented: Option<&str>,
    ) -> Interaction {
        let query = format!(
            "response_type=code&client_id=web&redirect_uri=https%3A%2F%2Fapp.example%2Fcb\
             &scope=openid+email&code_challenge_method=S256\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM{extra}"
        );
        let params = Params::parse(query.as_bytes()).unwrap();
        let request = AuthorizationRequest::validate(&params, client).unwrap();
        let consented = consented.map(|scope| Scope::parse(scope).unwrap());
        let standing = Standing { auth_time, consented: consented.as_ref() };
        next(&request, client, standing, NOW, NOW)
    }

    fn code(interaction: &Interaction) -> Option<ErrorCode> {
        match interaction {
            Interaction::Refuse(error) => Some(error.code()),
            _ => None,
        }
    }

    #[test]
    fn login_comes_before_consent_before_the_code() {
        let web = web();
        let before = Some(NOW.minus(60));
        assert_eq!(decide("", &web, None, None), Interaction::Login);
        assert_eq!(decide("", &web, before, None), Interaction::Consent);
        assert_eq!(decide("", &web, before, Some("openid")), Interaction::Consent, "it grew");
        assert_eq!(decide("", &web, before, Some("openid email phone")), Interaction::Issue);
        assert_eq!(decide("&prompt=login", &web, before, Some("openid email")), Interaction::Login);
        assert_eq!(decide("&max_age=30", &web, before, Some("openid email")), Interaction::Login);
        let again = decide("&prompt=consent", &web, before, Some("openid email"));
        assert_eq!(again, Interaction::Consent);
    }

    #[test]
    fn nobody_is_asked_when_the_client_wants_none() {
        let web = web();
        let login = decide("&prompt=none", &web, None, None);
        assert_eq!(code(&login), Some(ErrorCode::LoginRequired));
        let consent = decide("&prompt=none", &web, Some(NOW), None);
        assert_eq!(code(&consent), Some(ErrorCode::ConsentRequired));
        let issue = decide("&prompt=none", &web, Some(NOW), Some("openid email"));
        assert_eq!(issue, Interaction::Issue);
    }

    #[test]
    fn first_party_clients_are_trusted_and_claimable_ones_never() {
        let own = Client { first_party: true, ..web() };
        assert_eq!(decide("", &own, Some(NOW), None), Interaction::Issue);
        let native = Client {
            token_endpoint_auth_method: AuthMethod::None,
            redirect_uris: vec![RedirectUri::parse("http://127.0.0.1/cb").unwrap()],
            ..own
        };
        let request = "response_type=code&client_id=web&redirect_uri=http%3A%2F%2F127.0.0.1%3A5%2Fcb\
             &scope=openid&code_challenge_method=S256\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let params = Params::parse(request.as_bytes()).unwrap();
        let request = AuthorizationRequest::validate(&params, &native).unwrap();
        let consented = Scope::parse("openid").unwrap();
        let standing = Standing { auth_time: Some(NOW), consented: Some(&consented) };
        assert_eq!(next(&request, &native, standing, NOW, NOW), Interaction::Consent);
    }
}
