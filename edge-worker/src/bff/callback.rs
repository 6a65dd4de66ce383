//! `GET /bff/callback`: the browser comes back from the authorization server.

use serde::Deserialize;
use shared::authorization_response::AuthorizationResponse;
use shared::bff::{BEGIN, BeginSession, COOKIE, OpenedSession, SessionHandle};
use shared::claims::{IdToken, SessionId};
use shared::client_auth;
use shared::endpoint::Endpoint;
use shared::error::ErrorCode;
use shared::form::{self, Params};
use shared::jwt::{Typ, UntrustedJwt};
use shared::limits::BFF_SESSION_EXPIRES_IN;
use shared::page::{BackLink, ErrorKind, ErrorPage};

use super::endpoint::{CALLBACK, LOGIN};
use super::login::sign_ins;
use super::return_to::ReturnTo;
use super::sessions;
use super::sign_in::SignIn;
use crate::answer::{Answer, Refusal};
use crate::config::Bff;
use crate::incoming::Incoming;
use crate::origin::{self, Ask};
use crate::snapshot::{self, NotVerified};
use crate::{Edge, platform};

/// What the token endpoint answers (OpenID Connect Core §3.1.3.3).
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "these are the wire names")]
struct TokenResponse {
    access_token: String,
    refresh_token: String,
    id_token: String,
}

/// Ends a sign-in, and begins a session.
///
/// Checks, in order: the response ([`AuthorizationResponse::parse`]), the `state`, which must be one
/// that this very browser was given, then the code, by the token endpoint (its verifier never left
/// this sign-in), the ID token ([`IdToken::validate`]) with this sign-in's `nonce`.
///
/// The handle is always a new one; the session of the one before ends. When nobody was signed in,
/// because the user or the authorization server did not want to, the browser is led back with the
/// `error`, and whatever session it has stays.
///
/// # Errors
/// On a page that leads to a new sign-in. Unavailable: whatever session there was stays; the code may
/// be used up.
pub(super) async fn answer(edge: &Edge, incoming: &Incoming, bff: &Bff) -> Result<Answer, Refusal> {
    let issuer = &edge.config.issuer;
    let root = ReturnTo::parse("/");
    let params = Params::parse(incoming.query().unwrap_or_default().as_bytes())?;
    let Ok(response) = AuthorizationResponse::parse(&params, issuer) else {
        return Err(again(edge, incoming, root.as_ref(), ErrorKind::BadRequest));
    };
    let cookies = incoming.header("Cookie");
    let sign_ins = sign_ins(edge);
    let Some(sign_in) = sign_ins.find(cookies.as_deref(), &response.state, incoming.now) else {
        return Err(again(edge, incoming, root.as_ref(), ErrorKind::Expired));
    };
    let over = sign_ins.remove(&response.state);
    let code = match response.outcome {
        Ok(code) => code,
        Err(refused) => {
            if refused.error == ErrorCode::TemporarilyUnavailable.as_str() {
                return Err(again(
                    edge,
                    incoming,
                    Some(&sign_in.return_to),
                    ErrorKind::Unavailable,
                ));
            }
            let location = sign_in.return_to.url_with_error(issuer, &refused.error);
            return Ok(with_cookies(Answer::redirect(location), over));
        }
    };
    let (tokens, sid) = match redeem(edge, incoming, bff, &sign_in, &code).await? {
        Ok(redeemed) => redeemed,
        Err(NoTokens) => {
            return Err(again(edge, incoming, Some(&sign_in.return_to), ErrorKind::Expired));
        }
    };
    let random = platform::random().ok_or(Refusal::Unavailable)?;
    let handle = SessionHandle::issue(&edge.config.keys.bff_handles, random);
    let replaces = sessions::handle(edge, incoming);
    let begin = BeginSession {
        handle: handle.as_str().to_owned(),
        replaces: replaces.as_ref().map(|handle| handle.as_str().to_owned()),
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
        sid,
    };
    let told = origin::ask(edge, incoming, &Ask::json(BEGIN, &begin)).await?;
    match told.status {
        200 => {}
        400 | 401 => {
            return Err(again(edge, incoming, Some(&sign_in.return_to), ErrorKind::Expired));
        }
        _ => return Err(Refusal::Unavailable),
    }
    if let Ok(opened) = serde_json::from_str::<OpenedSession>(&told.text) {
        sessions::remember(&handle, opened);
    }
    if let Some(replaced) = replaces {
        sessions::forget(&replaced);
    }
    let policy = edge.config.cookies().policy;
    let cookie =
        policy.set_for(bff.same_site, COOKIE, handle.as_str(), Some(BFF_SESSION_EXPIRES_IN));
    let location = sign_in.return_to.url(issuer);
    Ok(with_cookies(Answer::redirect(location), over.into_iter().chain([cookie])))
}

/// The code or what came of it is not good.
struct NoTokens;

/// Redeems the code as any client would, and validates the ID token; returns its `sid`, too.
async fn redeem(
    edge: &Edge,
    incoming: &Incoming,
    bff: &Bff,
    sign_in: &SignIn,
    code: &str,
) -> Result<Result<(TokenResponse, Option<SessionId>), NoTokens>, Refusal> {
    let redirect_uri = edge.config.issuer.url(CALLBACK);
    let form = form::encode([
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", &sign_in.verifier),
    ]);
    let basic = client_auth::basic_header(&bff.client_id, &bff.client_secret);
    let ask = Ask::form(Endpoint::Token.path(), form, basic);
    let told = origin::ask(edge, incoming, &ask).await?;
    match told.status {
        200 | 400 => {}
        // Not the person's fault, and nothing that trying again here would mend.
        401 => {
            platform::log("the BFF's client is not known, or its secret is another: see settings");
            return Err(Refusal::Unavailable);
        }
        _ => return Err(Refusal::Unavailable),
    }
    let tokens = serde_json::from_str::<TokenResponse>(&told.text);
    let Some(tokens) = tokens.ok().filter(|_| told.status == 200) else {
        let (status, id) = (told.status, &incoming.request_id);
        platform::log(&format!("BFF: the code is not redeemed: {status} ({id})"));
        return Ok(Err(NoTokens));
    };
    let Ok(jwt) = UntrustedJwt::parse(&tokens.id_token, Typ::IdToken) else {
        return Ok(Err(NoTokens));
    };
    let verified = match snapshot::signed_by_issuer(edge, &jwt).await {
        Ok(verified) => verified,
        Err(NotVerified::Refused) => return Ok(Err(NoTokens)),
        Err(NotVerified::Unknown(refusal)) => return Err(refusal),
    };
    let (issuer, nonce) = (&edge.config.issuer, &sign_in.nonce);
    match IdToken::validate(verified, issuer, &bff.client_id, nonce, incoming.now) {
        Ok(id_token) => Ok(Ok((tokens, id_token.claims.sid))),
        Err(_) => Ok(Err(NoTokens)),
    }
}

/// Says that a sign-in cannot go on, on a page that leads to a new one.
fn again(
    edge: &Edge,
    incoming: &Incoming,
    return_to: Option<&ReturnTo>,
    kind: ErrorKind,
) -> Refusal {
    let return_to = return_to.map_or("/", ReturnTo::as_str);
    let again = edge.config.issuer.url(LOGIN);
    let again = form::with_query(&again, [("return_to", return_to)]);
    let (status, code) = match kind {
        ErrorKind::Unavailable => (503, ErrorCode::TemporarilyUnavailable),
        _ => (400, ErrorCode::InvalidRequest),
    };
    let page = ErrorPage {
        kind,
        sentence: kind.sentence(),
        code: code.as_str(),
        request_id: &incoming.request_id,
        back: BackLink::parse("the sign-in", &again).ok(),
    };
    Refusal::Page(status, Box::new(page.render()))
}

fn with_cookies(mut answer: Answer, cookies: impl IntoIterator<Item = String>) -> Answer {
    for cookie in cookies {
        answer.append("Set-Cookie", cookie);
    }
    answer
}
