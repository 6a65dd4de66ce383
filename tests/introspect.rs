//! `POST /oauth2/introspect`: RFC 7662.

use serde_json::{Value, json};

use crate::oauth::{ALICE, ALICES_PASSWORD, App, OTHER, SPA, Tokens, WEB, jwt_part};
use crate::server::{Server, now, unique, until};
use crate::signer::Signer;

const INACTIVE: &str = r#"{"active":false}"#;

scenarios! { everywhere:
    /// IN02.
    fn a_client_hears_about_its_own_token(server) {
        let tokens = WEB.tokens(server, "openid profile");
        let told = WEB.introspect(server, &tokens.access).expect(200).json();
        let claims = jwt_part(&tokens.access, 1);
        assert_eq!(told["active"], true);
        assert_eq!(told["token_type"], "Bearer");
        for claim in ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti"] {
            assert_eq!(told[claim], claims[claim], "{claim}");
        }
        WEB.revoke(server, &tokens.refresh).expect(200);
        assert_eq!(WEB.introspect(server, &tokens.access).expect(200).body, INACTIVE);
    }
}

scenarios! { doors:
        /// IN02: nobody hears of a token what it does not cover.
    fn the_username_is_told_with_the_scope_profile(server) {
        for (scope, told) in [("openid", None), ("openid profile", Some(ALICE))] {
            let tokens = WEB.tokens(server, scope);
            let answer = WEB.introspect(server, &tokens.access).expect(200).json();
            assert_eq!(answer["username"].as_str(), told, "{scope}");
            let form = [("token", &*tokens.refresh), ("token_type_hint", "refresh_token")];
            let answer = WEB.sign(server.post("/oauth2/introspect"), &form).send().expect(200).json();
            assert_eq!((&answer["active"], answer["username"].as_str()), (&json!(true), told));
        }
    }

    /// IN03, IN04: of what is not active, or not the asker's, nothing else is told.
    fn nobody_hears_about_anything_else(server) {
        let tokens = WEB.tokens(server, "openid");
        let code = WEB.code(server, "openid");
        let mut forged = tokens.access.clone();
        forged.pop();
        forged.push(if tokens.access.ends_with('A') { 'Q' } else { 'A' });
        assert_eq!(OTHER.introspect(server, &tokens.access).expect(200).body, INACTIVE);
        for token in [&tokens.refresh, &tokens.id, &code, &forged, "x", "é", "a.b.c"] {
            assert_eq!(WEB.introspect(server, token).expect(200).body, INACTIVE, "{token}");
        }
        let long = "A".repeat(50_000);
        assert_eq!(WEB.introspect(server, &long).expect(200).body, INACTIVE);
        let spas = SPA.tokens(server, "openid");
        assert_eq!(WEB.introspect(server, &spas.access).expect(200).body, INACTIVE);
        // Signed by this issuer, and yet of no grant, or past its end.
        let signer = Signer::of(server);
        let mut claims = jwt_part(&tokens.access, 1);
        let ask = |claims: &Value| {
            let token = signer.key("ES256").sign(&json!({ "typ": "at+jwt" }), claims);
            WEB.introspect(server, &token).expect(200)
        };
        assert_eq!(ask(&claims).json()["active"], true);
        claims["jti"] = json!("AAAAAAAAAAAAAAAAAAAAAA.1");
        assert_eq!(ask(&claims).body, INACTIVE);
        let mut claims = jwt_part(&tokens.access, 1);
        claims["exp"] = json!(now() - 60);
        claims["iat"] = json!(now() - 360);
        assert_eq!(ask(&claims).body, INACTIVE);
        WEB.revoke(server, &tokens.access).expect(200);
        assert_eq!(WEB.introspect(server, &tokens.access).expect(200).body, INACTIVE);
    }

    /// IN02, IN03, IN06: an API hears about tokens that are for it, and about no others; whatever
    /// form of answer it asks for, for there is one.
    fn an_api_hears_about_tokens_for_itself(server) {
        let api = registered(server, "resource", "grant_types = [\"refresh_token\"]");
        let app = registered(server, "caller", &format!(
            "grant_types = [\"password\", \"refresh_token\"]\nfirst_party = true\n\
             audience = [\"{}\"]", api.id
        ));
        let form = [
            ("grant_type", "password"),
            ("username", ALICE),
            ("password", ALICES_PASSWORD),
            ("scope", "openid"),
        ];
        let ours = Tokens::of(&app.sign(server.post("/oauth2/token"), &form).send());
        let others = WEB.tokens(server, "openid");
        for accept in [
            "application/json",
            "application/jwt",
            "application/token-introspection+jwt",
            "text/html",
            "*/*",
        ] {
            let ask = |asker: &App, token: &str| {
                let request = asker.sign(server.post("/oauth2/introspect"), &[("token", token)]);
                let answer = request.header("accept", accept).send().expect(200);
                assert_eq!(answer.header("content-type"), Some("application/json"), "{accept}");
                answer
            };
            let told = ask(&api, &ours.access).json();
            assert_eq!(told["active"], true, "{accept}");
            let claims = jwt_part(&ours.access, 1);
            for claim in ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti"] {
                assert_eq!(told[claim], claims[claim], "{claim}");
            }
            assert_eq!(ask(&app, &ours.access).json()["active"], true, "its own");
            // Neither another API's token, nor this one to anybody else.
            assert_eq!(ask(&api, &others.access).body, INACTIVE, "{accept}");
            assert_eq!(ask(&WEB, &ours.access).body, INACTIVE, "{accept}");
            assert_eq!(ask(&OTHER, &ours.access).body, INACTIVE, "{accept}");
            // A refresh token is its client's alone.
            for asker in [&api, &OTHER] {
                assert_eq!(ask(asker, &ours.refresh).body, INACTIVE, "{accept}");
            }
        }
        app.revoke(server, &ours.access).expect(200);
        assert_eq!(api.introspect(server, &ours.access).expect(200).body, INACTIVE);
    }

    /// A refresh token is told of only to its client, and only when it is asked for.
    fn a_refresh_token_is_told_of_when_the_hint_says_so(server) {
        let tokens = WEB.tokens(server, "openid");
        let ask = |app: &App| {
            let form = [("token", &*tokens.refresh), ("token_type_hint", "refresh_token")];
            app.sign(server.post("/oauth2/introspect"), &form).send().expect(200)
        };
        let told = ask(&WEB).json();
        assert_eq!((&told["active"], &told["client_id"]), (&true.into(), &"web".into()));
        assert_eq!(ask(&OTHER).body, INACTIVE);
    }

    /// IN01, IN05, IN08.
    fn only_authenticated_clients_may_ask(server) {
        let tokens = WEB.tokens(server, "openid");
        let form = [("token", &*tokens.access)];
        SPA.introspect(server, &tokens.access).refused(401, "invalid_client");
        let bearer = server.post("/oauth2/introspect").bearer(&tokens.access).form(&form).send();
        bearer.refused(401, "invalid_client");
        let anonymous = server.post("/oauth2/introspect").form(&form).send();
        anonymous.refused(401, "invalid_client");
        for (id, secret) in [("web", "wrong"), ("web", ""), ("nobody", "x")] {
            let request = server.post("/oauth2/introspect").basic(id, secret).form(&form);
            let answer = request.send();
            answer.refused(401, "invalid_client");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Basic "), "{answer:?}");
        }
        let url = format!("/oauth2/introspect?token={}", tokens.access);
        server.get(&url).send().expect(405);
        let post = |form: &[(&str, &str)]| WEB.sign(server.post("/oauth2/introspect"), form).send();
        post(&[]).refused(400, "invalid_request");
        post(&[("token", "x"), ("token", "x")]).refused(400, "invalid_request");
    }
}

/// Registers a confidential client with more lines of its registration.
fn registered(server: &Server, name: &str, lines: &str) -> App {
    let id: &'static str = unique(name).split('@').next().unwrap().to_owned().leak();
    let secret = "secret-of-a-new-client-0123456789";
    server.apply(&format!(
        "[[clients]]\nclient_id = \"{id}\"\nclient_name = \"{id}\"\n\
         client_secret = \"{secret}\"\ntoken_endpoint_auth_method = \"client_secret_basic\"\n\
         scope = \"openid\"\n{lines}\n"
    ));
    let app = App { id, secret: Some(secret), redirect_uri: "" };
    until("the client is known", || app.introspect(server, "x").status == 200);
    app
}
