//! What the edge has checked, the origin checks again: a request that the edge has signed is believed
//! as to where it comes from, and in nothing else.

use crate::forge::{self, from_address};
use crate::http::{Answer, Request};
use crate::oauth::{
    App, Authorization, CHALLENGE, OTHER, SPA, Tokens, VERIFIER, WEB, is_alive, jwt_part,
};
use crate::server::{Server, now};
use crate::signer::{Signer, Thief};
use serde_json::json;

const SOMEBODY: &str = "192.0.2.77";

/// Sends a request to the origin as the edge would.
#[track_caller]
fn signed(server: &Server, request: impl FnOnce(&str) -> Request) -> Answer {
    from_address(request(&server.origin.url()), SOMEBODY).send()
}

fn post(server: &Server, app: &App, path: &str, form: &[(&str, &str)]) -> Answer {
    signed(server, |url| app.sign(Request::new("POST", format!("{url}{path}")), form))
}

/// ED07: authorization requests that an edge would never forward.
#[test]
fn a_bad_authorization_request_is_refused_whoever_has_signed_it() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let good = WEB.authorization("openid");
    let ask = |request: &Authorization| {
        let query = request.query();
        signed(server, |url| Request::new("GET", format!("{url}/oauth2/authorize?{query}")))
    };
    for request in [
        good.clone().with("client_id", "nobody"),
        good.clone().without("client_id"),
        good.clone().with("redirect_uri", "https://evil.example/cb"),
        good.clone().with("redirect_uri", "https://app.example/cb/../evil"),
        good.clone().and("redirect_uri", "https://evil.example/cb"),
    ] {
        ask(&request).is_page(400);
    }
    for (request, error) in [
        (good.clone().without("code_challenge"), "invalid_request"),
        (good.clone().with("code_challenge", &CHALLENGE[1..]), "invalid_request"),
        (good.clone().with("code_challenge_method", "plain"), "invalid_request"),
        (good.clone().without("code_challenge_method"), "invalid_request"),
        (good.clone().with("response_type", "token"), "unsupported_response_type"),
        (good.clone().with("scope", "admin"), "invalid_scope"),
        (good.clone().with("request", "x"), "request_not_supported"),
    ] {
        assert_eq!(ask(&request).redirects_to(WEB.redirect_uri)["error"], error);
    }
    assert_eq!(ask(&good).status, 303);
}

/// ED07: codes, refresh tokens and access tokens that an edge would never forward.
#[test]
fn a_bad_token_is_refused_whoever_has_signed_the_request() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let code = WEB.code(server, "openid");
    let tokens = WEB.tokens(server, "openid");
    let redeem = |app: &App, code: &str, uri: &str, verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", uri),
            ("code_verifier", verifier),
        ];
        post(server, app, "/oauth2/token", &form)
    };
    let forged = format!("{}AAAA", &code[..code.len() - 4]);
    let late = forge::code(now() - 61, "web", WEB.redirect_uri, CHALLENGE);
    for (app, code, uri, verifier) in [
        (&WEB, &code, WEB.redirect_uri, &*"o".repeat(43)),
        (&WEB, &code, "https://app.example/other", VERIFIER),
        (&OTHER, &code, WEB.redirect_uri, VERIFIER),
        (&SPA, &code, WEB.redirect_uri, VERIFIER),
        (&WEB, &forged, WEB.redirect_uri, VERIFIER),
        (&WEB, &late, WEB.redirect_uri, VERIFIER),
    ] {
        redeem(app, code, uri, verifier).refused(400, "invalid_grant");
    }
    for (app, token) in [
        (&OTHER, tokens.refresh.clone()),
        (&SPA, tokens.refresh.clone()),
        (&WEB, forge::refresh_token(now() + 60, "web")),
        (&WEB, format!("{}AAAA", &tokens.refresh[..tokens.refresh.len() - 4])),
    ] {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        post(server, app, "/oauth2/token", &form).refused(400, "invalid_grant");
    }
    let unauthenticated = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.refresh.as_str()),
        ("client_id", "web"),
    ];
    let answer = signed(server, |url| {
        Request::new("POST", format!("{url}/oauth2/token")).form(&unauthenticated)
    });
    answer.refused(401, "invalid_client");
    let claims = jwt_part(&tokens.access, 1);
    let signer = Signer::of(server);
    let header = json!({ "typ": "at+jwt" });
    let mut of_nobody = claims.clone();
    of_nobody["jti"] = json!("AAAAAAAAAAAAAAAAAAAAAA.1");
    for token in [
        Thief::new().sign(&signer.key("ES256").named(&header), &claims),
        // Signed by the issuer, and never issued: the edge cannot tell, and the origin can.
        signer.key("ES256").sign(&header, &of_nobody),
        tokens.id.clone(),
        tokens.refresh.clone(),
    ] {
        for path in ["/oauth2/userinfo", "/api/me"] {
            let answer =
                signed(server, |url| Request::new("GET", format!("{url}{path}")).bearer(&token));
            answer.refused(401, "invalid_token");
        }
    }
    is_alive(server, &tokens.access);
    Tokens::of(&redeem(&WEB, &code, WEB.redirect_uri, VERIFIER));
    let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    Tokens::of(&post(server, &WEB, "/oauth2/token", &form));
}

scenarios! { doors:
    /// ED21: nobody gets in by what they call themselves.
    fn a_probe_is_nobody(server) {
        let probes = [
            "health-check",
            "GoogleHC/1.0",
            "kube-probe/1.31",
            "ELB-HealthChecker/2.0",
            "Mozilla/5.0 (compatible; Googlebot/2.1)",
            "curl/8.5.0",
            "cadence",
            "",
        ];
        for agent in probes {
            let get = |path: &str| server.get(path).header("user-agent", agent).send();
            get("/oauth2/userinfo").expect(401);
            get("/api/me").expect(401);
            assert!(matches!(get("/internal/clients").status, 403 | 404), "{agent}");
            get("/metrics").expect(404);
            get("/oauth2/consent").is_page(400);
            assert!(get("/account").location().contains("/oauth2/authorize"), "{agent}");
            get("/oauth2/userinfo?health=1").expect(401);
            let token = WEB.sign(server.post("/oauth2/token"), &[("grant_type", "refresh_token")]);
            let answer = token.header("user-agent", agent).send();
            answer.refused(400, "invalid_request");
            if server.edge.is_some() {
                get("/bff/session").expect(401);
                get("/bff/api/me").expect(401);
            }
        }
    }
}
