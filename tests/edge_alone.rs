//! What the edge answers by itself: the origin's request counter does not move.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::oauth::{ALICE, ALICES_PASSWORD, CHALLENGE, Tokens, WEB, is_alive, own_tokens};
use crate::server::Server;

/// Returns an edge of these tests alone, for one of them at a time: others would be counted.
fn edge() -> (&'static Server, MutexGuard<'static, ()>) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (SERVER.get_or_init(Server::start_edge), turn)
}

/// Runs requests and asserts that none of them reached the origin.
#[track_caller]
fn alone(server: &Server, requests: impl FnOnce()) {
    // Clients and keys are loaded, and refreshed in the background every few seconds: those are
    // the edge's own requests, and counted under other routes.
    let before = server.asked_of_origin();
    requests();
    let after = server.asked_of_origin();
    assert_eq!(before, after, "requests reached the origin");
}

#[test]
fn refuses_unknown_grants_and_malformed_token_requests_alone() {
    let (server, _turn) = edge();
    WEB.refresh(server, "x").refused(400, "invalid_grant");
    let token = |form: &[(&str, &str)]| WEB.sign(server.post("/oauth2/token"), form).send();
    alone(server, || {
        for grant in ["implicit", "client_credentials", "", "urn:x"] {
            assert_eq!(token(&[("grant_type", grant)]).status, 400);
        }
        token(&[("grant_type", "authorization_code"), ("code", "x")]).refused(400, "invalid_grant");
        token(&[("grant_type", "authorization_code")]).refused(400, "invalid_request");
        token(&[("grant_type", "refresh_token"), ("refresh_token", "x")])
            .refused(400, "invalid_grant");
        token(&[("grant_type", "refresh_token"), ("grant_type", "refresh_token")])
            .refused(400, "invalid_request");
        let nobody = server.post("/oauth2/token").basic("web", "").form(&[]).send();
        assert!(matches!(nobody.status, 400 | 401));
        let post = server.post("/oauth2/revoke").form(&[("client_id", "web"), ("token", "x")]);
        post.send().refused(401, "invalid_client");
        let public =
            server.post("/oauth2/introspect").form(&[("client_id", "spa"), ("token", "x")]);
        public.send().refused(401, "invalid_client");
        WEB.sign(server.post("/oauth2/introspect"), &[]).send().refused(400, "invalid_request");
        let json = server.post("/oauth2/token").body("application/json", "{}");
        json.send().refused(400, "invalid_request");
        let large = vec![b'x'; 65 * 1024];
        let large = server.post("/oauth2/token").body("application/x-www-form-urlencoded", large);
        large.send().refused(413, "invalid_request");
    });
}

#[test]
fn refuses_bad_authorization_requests_alone() {
    let (server, _turn) = edge();
    let good = WEB.authorization("openid");
    server.get(&format!("/oauth2/authorize?{}", good.query())).send();
    alone(server, || {
        for request in [
            good.clone().with("redirect_uri", "https://evil.example/cb"),
            good.clone().without("client_id"),
            good.clone().with("response_type", "token"),
            good.clone().with("scope", "admin"),
            good.clone().without("code_challenge"),
            good.clone().with("code_challenge", &CHALLENGE[1..]),
            good.clone().with("code_challenge_method", "plain"),
            good.clone().and("state", "again"),
        ] {
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            assert!(matches!(answer.status, 302 | 303 | 400), "{answer:?}");
        }
    });
}

#[test]
fn refuses_wrong_methods_and_paths_alone() {
    let (server, _turn) = edge();
    server.get("/oauth2/jwks").send().expect(200);
    alone(server, || {
        for (method, path) in [
            ("GET", "/oauth2/token"),
            ("PUT", "/oauth2/authorize"),
            ("DELETE", "/oauth2/userinfo"),
            ("POST", "/api/me"),
        ] {
            server.request(method, path).send().expect(405);
        }
        for path in ["/", "/internal/clients", "/metrics", "/oauth2/nothing"] {
            server.get(path).send().expect(404);
        }
    });
}

#[test]
fn refuses_forged_and_absent_bearer_tokens_alone() {
    let (server, _turn) = edge();
    let tokens = Tokens::of(&own_tokens(server, ALICE, ALICES_PASSWORD));
    is_alive(server, &tokens.access);
    let mut forged = tokens.access.clone();
    let at = forged.len() - 10;
    let other = if forged[at..].starts_with('A') { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    alone(server, || {
        for path in ["/oauth2/userinfo", "/api/me"] {
            server.get(path).send().expect(401);
            for token in [&forged, &tokens.id, &tokens.refresh, "a.b.c", "x"] {
                server.get(path).bearer(token).send().refused(401, "invalid_token");
            }
            server.get(path).bearer(&"A".repeat(9_000)).send().expect(401);
        }
    });
}

#[test]
fn serves_discovery_keys_and_preflights_alone() {
    let (server, _turn) = edge();
    server.get("/oauth2/jwks").send().expect(200);
    alone(server, || {
        for _ in 0..5 {
            server.get("/oauth2/jwks").send().expect(200);
            server.get("/.well-known/openid-configuration").send().expect(200);
            server.get("/.well-known/oauth-authorization-server").send().expect(200);
            server
                .request("OPTIONS", "/oauth2/token")
                .header("origin", "https://spa.example")
                .header("access-control-request-method", "POST")
                .send()
                .expect(204);
            server.get("/healthz").send().expect(200);
        }
    });
}

/// ED01, ED02: the origin believes nobody but the edge, and nobody can speak for the edge.
#[test]
fn a_forged_signature_of_the_edge_is_refused() {
    let server = Server::origin();
    for header in [
        "",
        "x",
        "v1",
        "v1;1800000000;AAAAAAAAAAAAAAAAAAAAAA;192.0.2.1;AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let request =
            server.get("/.well-known/openid-configuration").header("cadence-edge", header);
        request.send().expect(403);
        server.get("/internal/clients").header("cadence-edge", header).send().expect(403);
    }
    let clients = server.get("/internal/clients").send();
    assert!(matches!(clients.status, 401 | 403 | 404), "{clients:?}");
    // A stranger's header does not reach the origin through the edge.
    let server = Server::edge();
    let request = server.get("/oauth2/logout").header("cadence-edge", "x");
    request.send().expect(200);
}
