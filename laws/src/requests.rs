//! Queries, forms and redirect URIs.

use shared::authorize::{self, AuthorizationRequest};
use shared::client::GrantType;
use shared::form::{self, Params};
use shared::redirect_uri::RedirectUri;
use shared::token_request::{ProvenRequest, TokenRequest};

use super::{NOW, check_error, check_location, check_refusal, client, client_id, issuer, keys};

/// The query of an authorization request.
pub(crate) fn authorize_query(data: &[u8]) {
    let params = match Params::parse(data) {
        Ok(params) => params,
        Err(error) => return check_error(&error),
    };
    check_params(&params);
    if let Err(error) = authorize::client_id(&params) {
        check_error(&error);
    }
    let client = client();
    let request = match AuthorizationRequest::validate(&params, &client) {
        Ok(request) => request,
        Err(refused) => return check_refusal(&refused, &client),
    };
    let same = Params::parse(request.to_query().as_bytes()).unwrap();
    let mut again = AuthorizationRequest::validate(&same, &client).unwrap();
    // The one thing that only the first step needs.
    again.id_token_hint.clone_from(&request.id_token_hint);
    assert_eq!(again, request, "what is read is written so that it is read alike");
    assert!(request.scope.is_subset_of(&client.scope));
    check_location(&request.success_location("a-code", &issuer()), &client);
}

/// The form of a token request.
pub(crate) fn token_form(data: &[u8]) {
    let params = match Params::parse(data) {
        Ok(params) => params,
        Err(error) => return check_error(&error),
    };
    check_params(&params);
    let request = match TokenRequest::parse(&params) {
        Ok(request) => request,
        Err(error) => return check_error(&error),
    };
    let named = params.one("grant_type").ok().flatten().unwrap();
    assert_eq!(GrantType::parse(named).ok(), Some(request.grant_type()));
    match request.prove(&keys().tokens, &client_id(), NOW) {
        Ok(ProvenRequest::AuthorizationCode(proven)) => {
            assert_eq!(proven.binding.client_id, client_id());
            assert_eq!(params.one("code").ok().flatten(), Some(proven.code.as_str()));
        }
        Ok(ProvenRequest::RefreshToken { refresh_token, .. }) => {
            assert_eq!(params.one("refresh_token").ok().flatten(), Some(refresh_token.as_str()));
        }
        Ok(ProvenRequest::Password { .. }) => {}
        Err(unproven) => check_error(&unproven.into()),
    }
}

/// A redirect URI: registered, then compared with what a request asks for.
pub(crate) fn redirect_uri(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    for registered in client().redirect_uris {
        if registered.matches(text) {
            let is_loopback = text.starts_with("http://127.0.0.1");
            assert!(text == registered.as_str() || is_loopback, "{text}");
        }
    }
    let Ok(uri) = RedirectUri::parse(text) else { return };
    assert_eq!(uri.as_str(), text);
    assert!(uri.matches(text), "it is itself");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['#', '\\', '"']));
    let lower = text.to_ascii_lowercase();
    for scheme in ["javascript:", "data:", "file:", "vbscript:", "blob:", "about:"] {
        assert!(!lower.starts_with(scheme), "{text}");
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let is_near = ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| {
            rest.strip_prefix(host)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
        });
        assert!(is_near, "{text}");
    }
    // A browser is sent to nobody else than the one whose prefix it is.
    for other in [format!("{text}x"), format!("{text}/.."), format!("{text}.evil.example")] {
        assert!(!uri.matches(&other), "{other} is taken for {text}");
    }
    let location = form::with_query(text, [("code", "a&b=c#d")]);
    assert!(location.starts_with(text) && !location.contains('#'), "{location}");
    let text = serde_json::to_string(&uri).unwrap();
    assert_eq!(serde_json::from_str::<RedirectUri>(&text).unwrap(), uri);
}

/// What was decoded is encoded so that it is decoded alike.
fn check_params(params: &Params) {
    let pairs: Vec<(&str, &str)> = params.iter().collect();
    assert!(pairs.len() <= shared::limits::PARAMETERS);
    assert!(pairs.iter().all(|(name, value)| !name.contains('\0') && !value.contains('\0')));
    let encoded = form::encode(pairs.iter().copied());
    assert_eq!(Params::parse(encoded.as_bytes()).as_ref(), Ok(params), "{encoded}");
}
