//! `POST /bff/logout`, and `POST /bff/backchannel-logout`.

use shared::bff::{COOKIE, END, END_ALL, EndSession, EndSessions};
use shared::error::OAuthError;
use shared::form::Params;
use shared::jwt::{Typ, UntrustedJwt};
use shared::logout_token::{LoggedOut, LogoutToken};
use shared::sign_in::SESSION_COOKIE;

use super::{guard, sessions};
use crate::Edge;
use crate::answer::{Answer, Refusal};
use crate::config::Bff;
use crate::incoming::Incoming;
use crate::origin::{self, Ask};
use crate::snapshot::{self, NotVerified};

/// Ends the session of the browser, and the login session that it began with at the authorization
/// server, unless the query says `local=true`. The refresh token and all that came of it is revoked.
///
/// The origin ends the login session for the edge: to send the browser there with an ID token as
/// hint, as RP-initiated logout would, the browser would have to see one.
///
/// # Errors
/// `access_denied` for what may not come from a page of this host. Unavailable: the cookie stays, and
/// the same request goes on where this one stopped.
pub(super) async fn answer(edge: &Edge, incoming: &Incoming, bff: &Bff) -> Result<Answer, Refusal> {
    const LOCAL: OAuthError = OAuthError::invalid_request("local is true or false");
    guard::check(incoming, &edge.config.issuer)?;
    let params = Params::parse(incoming.query().unwrap_or_default().as_bytes())?;
    let is_local = match params.one("local").map_err(OAuthError::from)? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(LOCAL.into()),
    };
    let policy = edge.config.cookies().policy;
    let cookies = incoming.header("Cookie");
    let handle = sessions::handle(edge, incoming);
    let login = policy.find(cookies.as_deref(), SESSION_COOKIE).filter(|_| !is_local);
    if handle.is_some() || login.is_some() {
        let end = EndSession {
            handle: handle.as_ref().map(|handle| handle.as_str().to_owned()),
            login_session: login.map(str::to_owned),
        };
        let told = origin::ask(edge, incoming, &Ask::json(END, &end)).await?;
        if told.status != 204 {
            return Err(Refusal::Unavailable);
        }
    }
    if let Some(handle) = &handle {
        sessions::forget(handle);
    }
    let mut answer = Answer::empty(204);
    if policy.has(cookies.as_deref(), COOKIE) {
        answer.append("Set-Cookie", policy.set_for(bff.same_site, COOKIE, "", Some(0)));
    }
    Ok(answer)
}

/// Ends the sessions that a logout token of the authorization server names.
///
/// # Errors
/// `invalid_request` for a token that is not good, or was here before; unavailable.
///
/// Source: OpenID Connect Back-Channel Logout §2.5–2.8.
pub(super) async fn backchannel(
    edge: &Edge,
    incoming: &Incoming,
    bff: &Bff,
) -> Result<Answer, Refusal> {
    const REFUSED: OAuthError = OAuthError::invalid_request("the logout token is not good");
    let form = incoming.form()?;
    let text = form.one("logout_token").map_err(OAuthError::from)?.ok_or(REFUSED)?;
    let jwt = UntrustedJwt::parse(text, Typ::LogoutToken).map_err(|_| REFUSED)?;
    let verified = match snapshot::signed_by_issuer(edge, &jwt).await {
        Ok(verified) => verified,
        Err(NotVerified::Refused) => return Err(REFUSED.into()),
        Err(NotVerified::Unknown(refusal)) => return Err(refusal),
    };
    let issuer = &edge.config.issuer;
    let token = LogoutToken::validate(verified, issuer, bff.client_id.as_str(), incoming.now)
        .map_err(OAuthError::from)?;
    let (sub, sid) = match token.logged_out {
        LoggedOut::Session { sid, sub } => (sub, Some(sid)),
        LoggedOut::User { sub } => (Some(sub), None),
    };
    let client_id = bff.client_id.clone();
    let end = EndSessions { client_id, sub, sid, jti: token.jti, expires_at: token.expires_at };
    let told = origin::ask(edge, incoming, &Ask::json(END_ALL, &end)).await?;
    match told.status {
        204 => Ok(Answer::empty(200)),
        400 => Err(REFUSED.into()),
        _ => Err(Refusal::Unavailable),
    }
}
