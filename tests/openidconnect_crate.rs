//! The Rust crate `openidconnect` as a client: from discovery to revocation.

use openidconnect::core::{CoreClient, CoreProviderMetadata, CoreResponseType, CoreUserInfoClaims};
use openidconnect::http::Response;
use openidconnect::{
    AccessTokenHash, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    HttpRequest, HttpResponse, IntrospectionUrl, IssuerUrl, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, RedirectUrl, Scope, TokenIntrospectionResponse as _, TokenResponse as _,
};

use crate::http::Request;
use crate::oauth::{App, RS256, WEB, is_dead};
use crate::server::Server;

/// Sends the crate's requests the suite's own way, so that the standing assertions hold for them.
fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let (parts, body) = request.into_parts();
    let mut outgoing = Request::new(parts.method.as_str(), parts.uri.to_string());
    for (name, value) in &parts.headers {
        outgoing = outgoing.header(name.as_str(), value.to_str().unwrap());
    }
    let answer = outgoing.untyped_body(body).try_send()?;
    let mut response = Response::builder().status(answer.status);
    if let Some(content_type) = answer.header("content-type") {
        response = response.header("content-type", content_type);
    }
    Ok(response.body(answer.body.into_bytes()).unwrap())
}

fn sign_in_and_out(server: &Server, app: &App) {
    let issuer = IssuerUrl::new(server.url.clone()).unwrap();
    let metadata = CoreProviderMetadata::discover(&issuer, &send).unwrap();
    let introspection_url =
        IntrospectionUrl::new(format!("{}/oauth2/introspect", server.url)).unwrap();
    let client = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new(app.id.into()),
        app.secret.map(|secret| ClientSecret::new(secret.into())),
    )
    .set_redirect_uri(RedirectUrl::new(app.redirect_uri.into()).unwrap())
    .set_introspection_url(introspection_url);

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(
            AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        )
        .add_scope(Scope::new("email".into()))
        .set_pkce_challenge(challenge)
        .url();
    let answer = server.alice().sign_in(url.query().unwrap(), "", "");
    let told = answer.redirects_to(app.redirect_uri);
    assert_eq!(&told["state"], state.secret());
    assert_eq!(told["iss"], server.url);

    let tokens = client
        .exchange_code(AuthorizationCode::new(told["code"].clone()))
        .unwrap()
        .set_pkce_verifier(verifier)
        .request(&send)
        .unwrap();
    let id_token = tokens.id_token().unwrap();
    let id_verifier = client.id_token_verifier();
    let claims = id_token.claims(&id_verifier, &nonce).unwrap();
    let hash = AccessTokenHash::from_token(
        tokens.access_token(),
        id_token.signing_alg().unwrap(),
        id_token.signing_key(&id_verifier).unwrap(),
    );
    assert_eq!(claims.access_token_hash(), Some(&hash.unwrap()));
    assert!(claims.auth_time().is_some());

    let told: CoreUserInfoClaims = client
        .user_info(tokens.access_token().clone(), Some(claims.subject().clone()))
        .unwrap()
        .request(&send)
        .unwrap();
    assert_eq!(told.email().map(|email| email.as_str()), Some("alice@example.test"));

    let introspected = client.introspect(tokens.access_token()).request(&send).unwrap();
    assert!(introspected.active());

    let refreshed = client
        .exchange_refresh_token(tokens.refresh_token().unwrap())
        .unwrap()
        .request(&send)
        .unwrap();
    assert_ne!(refreshed.access_token().secret(), tokens.access_token().secret());
    let no_nonce = |_: Option<&Nonce>| Ok(());
    let again = refreshed.id_token().unwrap().claims(&id_verifier, no_nonce).unwrap();
    assert_eq!(again.subject(), claims.subject());

    // The crate itself revokes at https URLs alone.
    app.revoke(server, refreshed.refresh_token().unwrap().secret()).expect(200);
    is_dead(server, refreshed.access_token().secret());
}

scenarios! { everywhere:
    /// Discovery → code with PKCE → ID token → userinfo → introspection → refresh → revocation.
    fn signs_in_refreshes_and_revokes(server) {
        sign_in_and_out(server, &WEB);
    }
}

scenarios! { doors:
    /// The same with an ID token in RS256, OpenID Connect's own default.
    fn takes_an_rs256_id_token(server) {
        sign_in_and_out(server, &RS256);
    }
}
