//! `/bff/api/*`: APIs, with the session's access token in place of the browser's cookie.

use shared::endpoint::Endpoint;
use shared::error::{ErrorCode, OAuthError};
use web_sys::Headers;

use super::sessions::{self, Found};
use super::{guard, session};
use crate::answer::{Answer, Refusal};
use crate::config::Bff;
use crate::incoming::Incoming;
use crate::route::{self, Route};
use crate::{Edge, bearer, gateway, platform};

/// Hands a request to an API of the edge, as its own client.
///
/// Checks, in order: where it comes from, that it is no navigation (an API's answer is no page of this
/// host), a path that means the same to everybody and is on the allow-list, a session. Then the API's
/// own checks see the session's access token, and nothing of the browser's credentials.
///
/// # Errors
/// `access_denied` for what may not come from a page of this host, and when the API takes none of the
/// session's tokens; 404 for what is not on the list;
/// `login_required` with status 401 when nobody is signed in; those of the API; unavailable.
pub(super) async fn answer(edge: &Edge, incoming: &Incoming, bff: &Bff) -> Result<Answer, Refusal> {
    guard::check(incoming, &edge.config.issuer)?;
    if incoming.header("Sec-Fetch-Mode").is_some_and(|mode| mode == "navigate") {
        return Err(NO_PAGE.into());
    }
    let target = incoming.target.strip_prefix("/bff").ok_or(OAuthError::not_found())?;
    let path = route::split(target).0;
    if !gateway::is_plain(path) || !is_listed(&bff.api, path) {
        return Err(OAuthError::not_found().into());
    }
    let route = Route::find(&incoming.method, path, false, &edge.config.upstreams);
    // A request whose token has just died was refused before it did anything: it is tried once more.
    for is_last in [false, true] {
        let (handle, session) = match sessions::find(edge, incoming).await? {
            Found::Alive { handle, session } => (handle, session),
            Found::None => return Ok(session::nobody()),
        };
        let own = with_token(incoming, target, &session.access_token)?;
        let answered = hand_over(edge, &own, route).await;
        let is_dead = match &answered {
            Err(Refusal::Bearer { error: Some(error), .. }) => {
                error.code() == ErrorCode::InvalidToken
            }
            Ok(answer) => matches!(route, Route::Endpoint(_)) && answer.status() == 401,
            Err(_) => false,
        };
        if is_dead {
            sessions::forget(&handle);
            if is_last {
                let id = &incoming.request_id;
                platform::log(&format!("BFF: {path} does not take the session's token ({id})"));
                return Err(NOT_FOR_IT.into());
            }
            continue;
        }
        return match answered {
            // To the browser there are no access tokens, so there is no challenge for one.
            Err(Refusal::Bearer { error, .. }) => {
                Err(error.unwrap_or(OAuthError::invalid_token()).into())
            }
            answered => answered.map(of_no_page),
        };
    }
    Err(Refusal::Unavailable)
}

const NO_PAGE: OAuthError = OAuthError::new(ErrorCode::AccessDenied, "this is not a page");

const NOT_FOR_IT: OAuthError =
    OAuthError::new(ErrorCode::AccessDenied, "the API does not take the session's access token");

/// Takes from an API's answer what only a page, a client or a shared cache would make something of:
/// whatever it is, it is no page of this host, and this one person's.
fn of_no_page(answer: Answer) -> Answer {
    ["WWW-Authenticate", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control"]
        .into_iter()
        .fold(answer, Answer::without)
        .with("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
}

/// Hands a request with an access token to where its path leads.
async fn hand_over(edge: &Edge, own: &Incoming, route: Route) -> Result<Answer, Refusal> {
    match route {
        Route::Endpoint(endpoint @ (Endpoint::Me | Endpoint::ApiLogout)) => {
            bearer::answer(edge, own, endpoint).await
        }
        Route::Upstream(number) => {
            let upstream = edge.config.upstreams.get(number).ok_or(OAuthError::not_found())?;
            gateway::answer(edge, own, upstream).await
        }
        Route::MethodNotAllowed(endpoint) => {
            let error = OAuthError::method_not_allowed();
            let answer = Answer::json(error.status(), error.to_json());
            Ok(answer.with("Allow", endpoint.methods().join(", ")))
        }
        _ => Err(OAuthError::not_found().into()),
    }
}

/// Tells whether a path is one of the list's, or below one.
fn is_listed(listed: &[String], path: &str) -> bool {
    listed.iter().any(|prefix| route::is_at_or_below(path, prefix))
}

/// Makes the API's request: with the session's token, without the browser's credentials.
fn with_token(incoming: &Incoming, target: &str, token: &str) -> Result<Incoming, Refusal> {
    let headers = || {
        let headers = Headers::new_with_headers(&incoming.headers)?;
        headers.delete("Cookie")?;
        headers.set("Authorization", &format!("Bearer {token}"))?;
        Ok::<_, wasm_bindgen::JsValue>(headers)
    };
    let headers = headers().map_err(|error| {
        platform::log(&format!("BFF: the headers cannot be set: {error:?}"));
        Refusal::Unavailable
    })?;
    Ok(incoming.instead(target, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_paths_and_what_is_below_them_are_handed_over() {
        let listed = ["/api/me".to_owned(), "/api/notes".to_owned()];
        for path in ["/api/me", "/api/notes", "/api/notes/", "/api/notes/1"] {
            assert!(is_listed(&listed, path), "{path}");
        }
        for path in ["/api", "/api/", "/api/mes", "/api/notes2", "/api/auth/logout", "/api/Me", "/"]
        {
            assert!(!is_listed(&listed, path), "{path}");
        }
    }
}
