//! The authorization code grant: RFC 6749 §4.1.3, RFC 7636 §4.5 and §4.6.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest as _;

use crate::forge;
use crate::http::Request;
use crate::oauth::{
    self, App, LENIENT, NATIVE, OTHER, SPA, Tokens, VERIFIER, WEB, grant_is_dead, is_alive,
    is_dead, jwt_part,
};
use crate::server::{Server, now, until};

/// A verifier with its challenge (RFC 7636 §4.2).
fn pkce(verifier: &str) -> (String, String) {
    let digest = sha2::Sha256::digest(verifier.as_bytes());
    (verifier.to_owned(), URL_SAFE_NO_PAD.encode(digest))
}

/// What is no code, though some of it is close to this one.
fn no_codes(code: &str) -> Vec<String> {
    let with_another = |at: usize| {
        let other = if &code[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &code[..at], &code[at + 1..])
    };
    vec![
        "x".to_owned(),
        "é".to_owned(),
        "A".repeat(55),
        "A".repeat(40_000),
        format!("{code}A"),
        format!(" {code}"),
        format!("{code}="),
        "../../etc/passwd".to_owned(),
        "*".to_owned(),
        code[..code.len() - 1].to_owned(),
        // Another version, and another tag.
        with_another(0),
        with_another(code.len() - 2),
    ]
}

scenarios! { everywhere:
    /// PK01 (with the pair of RFC 7636 Appendix B), HT15, JW20, JW21.
    fn a_code_becomes_the_tokens_that_were_asked_for(server) {
        let tokens = WEB.tokens(server, "openid profile");
        assert_eq!(tokens.json["scope"], "openid profile");
        assert_eq!(jwt_part(&tokens.access, 0)["typ"], "at+jwt");
        assert_eq!(jwt_part(&tokens.access, 0)["alg"], "ES256");
        let access = jwt_part(&tokens.access, 1);
        assert_eq!(access["iss"], server.url);
        assert_eq!(access["client_id"], "web");
        assert_eq!(access["scope"], "openid profile");
        assert_eq!(access["aud"], serde_json::json!([server.url, "https://api.example"]));
        assert_eq!(access["exp"].as_u64().unwrap() - access["iat"].as_u64().unwrap(), 300);
        let id = jwt_part(&tokens.id, 1);
        assert_eq!(id["iss"], server.url);
        assert_eq!(id["aud"], "web");
        assert_eq!(id["sub"], access["sub"]);
        assert_eq!(id["nonce"], "n-0S6_WzA2Mj");
        assert!(id["at_hash"].is_string() && id["auth_time"].is_u64());
        assert!(!access["sub"].as_str().unwrap().contains("alice"), "sub is not the e-mail");
        is_alive(server, &tokens.access);

        let without_openid = WEB.tokens(server, "profile");
        assert_eq!(without_openid.id, "");
        assert_ne!(jwt_part(&without_openid.access, 1)["jti"], access["jti"]);
    }

    /// CD01.
    fn a_replayed_code_kills_the_grants_tokens(server) {
        let code = WEB.code(server, "openid");
        let tokens = Tokens::of(&WEB.redeem(server, &code));
        is_alive(server, &tokens.access);
        WEB.redeem(server, &code).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &tokens);
        WEB.redeem(server, &code).refused(400, "invalid_grant");
    }
}

scenarios! { doors:
    /// PK09, PK10, PK14, PK16, PK17: a wrong verifier gets nothing, burns nothing, ends nothing.
    fn a_wrong_verifier_gets_nothing(server) {
        let code = WEB.code(server, "openid");
        // PK17: of another transaction of the same user at the same client.
        let (verifier, challenge) = pkce("another-transaction-0123456789-0123456789-01");
        let request = WEB.authorization("openid").with("code_challenge", &challenge);
        let answer = server.alice().authorize(&request.query());
        let others_code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
        WEB.redeem(server, &others_code).refused(400, "invalid_grant");
        let redeem = |verifier: &[(&str, &str)]| {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", WEB.redirect_uri),
            ];
            WEB.sign(server.post("/oauth2/token"), &[&form, verifier].concat()).send()
        };
        redeem(&[]).refused(400, "invalid_grant");
        redeem(&[("code_verifier", "")]).refused(400, "invalid_grant");
        for verifier in [
            "wrong-but-well-formed-verifier-0123456789-0",
            oauth::CHALLENGE,
            &verifier,
            &VERIFIER[1..],
        ] {
            redeem(&[("code_verifier", verifier)]).refused(400, "invalid_grant");
        }
        redeem(&[("code_verifier", VERIFIER), ("code_verifier", VERIFIER)])
            .refused(400, "invalid_request");
        let tokens = Tokens::of(&redeem(&[("code_verifier", VERIFIER)]));
        // Who does not know the verifier is no replay of who does.
        for _ in 0..5 {
            redeem(&[("code_verifier", &verifier)]).refused(400, "invalid_grant");
            redeem(&[]).refused(400, "invalid_grant");
        }
        is_alive(server, &tokens.access);
        WEB.refresh(server, &tokens.refresh).expect(200);

        // PK14: a malformed verifier gets nothing, even where the challenge is its own.
        for malformed in [
            "v".repeat(42),
            "v".repeat(129),
            format!("{VERIFIER} "),
            format!("{VERIFIER}+"),
            format!("{VERIFIER}%"),
            format!("{VERIFIER}é"),
        ] {
            let (_, challenge) = pkce(&malformed);
            let request = WEB.authorization("openid").with("code_challenge", &challenge);
            let answer = server.alice().authorize(&request.query());
            let code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
            let form = [
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", WEB.redirect_uri),
                ("code_verifier", &malformed),
            ];
            WEB.sign(server.post("/oauth2/token"), &form).send().refused(400, "invalid_grant");
        }
    }

    /// PK15: 43 to 128 characters.
    fn verifiers_of_every_length_are_good(server) {
        for verifier in ["~Az09-._".repeat(16), "~Az09-._".repeat(8), "a-._~".repeat(9)[..43].to_owned()] {
            let (verifier, challenge) = pkce(&verifier);
            let request = WEB.authorization("openid").with("code_challenge", &challenge);
            let answer = server.alice().authorize(&request.query());
            let code = &answer.redirects_to(WEB.redirect_uri)["code"];
            let form = [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", WEB.redirect_uri),
                ("code_verifier", &verifier),
            ];
            WEB.sign(server.post("/oauth2/token"), &form).send().expect(200);
        }
    }

    /// PK18: what the edge has let pass, the origin looks at again.
    fn the_origin_believes_no_edge_about_pkce(server) {
        let request = SPA.authorization("openid").without("code_challenge");
        for request in [request.clone(), request.without("code_challenge_method")] {
            let url = format!("{}/oauth2/authorize?{}", server.origin.url(), request.query());
            let answer = forge::from_address(Request::new("GET", url), "192.0.2.1").send();
            let told = answer.redirects_to(SPA.redirect_uri);
            assert_eq!(told["error"], "invalid_request", "{answer:?}");
        }
        let code = SPA.code(server, "openid");
        for verifier in [&[][..], &[("code_verifier", oauth::CHALLENGE)]] {
            let form = [
                ("grant_type", "authorization_code"),
                ("client_id", SPA.id),
                ("redirect_uri", SPA.redirect_uri),
                ("code", &code),
            ];
            let request = Request::new("POST", format!("{}/oauth2/token", server.origin.url()));
            let request = request.form(&[&form[..], verifier].concat());
            forge::from_address(request, "192.0.2.1").send().refused(400, "invalid_grant");
        }
        SPA.redeem(server, &code).expect(200);
    }

    /// PK11, PK12: a verifier for a code without a challenge is a downgrade, and nobody's business.
    fn a_code_without_a_challenge_takes_no_verifier(server) {
        let request = LENIENT
            .authorization("openid")
            .without("code_challenge")
            .without("code_challenge_method");
        let answer = server.alice().sign_in(&request.query(), "", "");
        let code = answer.redirects_to(LENIENT.redirect_uri)["code"].clone();
        LENIENT.redeem(server, &code).refused(400, "invalid_grant");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", LENIENT.redirect_uri),
        ];
        let tokens = Tokens::of(&LENIENT.sign(server.post("/oauth2/token"), &form).send());
        assert_eq!(tokens.refresh, "", "the client does not list the refresh_token grant");
    }

    /// CD05, CD06, CD16: someone else's attempt changes nothing.
    fn a_code_is_its_clients_alone(server) {
        let code = WEB.code(server, "openid");
        for thief in [&OTHER, &SPA] {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", WEB.redirect_uri),
                ("code_verifier", VERIFIER),
            ];
            thief.sign(server.post("/oauth2/token"), &form).send().refused(400, "invalid_grant");
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let wrong = server.post("/oauth2/token").basic("web", "wrong-secret-0123456789").form(&form);
        wrong.send().refused(401, "invalid_client");
        let unsigned = [&[("client_id", "web")], &form[..]].concat();
        server.post("/oauth2/token").form(&unsigned).send().refused(401, "invalid_client");

        let tokens = Tokens::of(&WEB.redeem(server, &code));
        // Nor does it later.
        for thief in [&OTHER, &SPA] {
            thief.sign(server.post("/oauth2/token"), &form).send().refused(400, "invalid_grant");
        }
        is_alive(server, &tokens.access);
        WEB.refresh(server, &tokens.refresh).expect(200);

        // And back: a public client's code is no confidential client's, with its secret or without.
        let code = SPA.code(server, "openid");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", SPA.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        WEB.sign(server.post("/oauth2/token"), &form).send().refused(400, "invalid_grant");
        let unsigned = [&[("client_id", "web")], &form[..]].concat();
        server.post("/oauth2/token").form(&unsigned).send().refused(401, "invalid_client");
        NATIVE.sign(server.post("/oauth2/token"), &form).send().refused(400, "invalid_grant");
        SPA.redeem(server, &code).expect(200);
    }

    /// CD07.
    fn the_redirect_uri_is_the_one_of_the_request(server) {
        let code = WEB.code(server, "openid");
        let redeem = |uri: &[(&str, &str)]| {
            let form =
                [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
            WEB.sign(server.post("/oauth2/token"), &[&form, uri].concat()).send()
        };
        redeem(&[]).refused(400, "invalid_grant");
        redeem(&[("redirect_uri", "")]).refused(400, "invalid_grant");
        redeem(&[("redirect_uri", "https://evil.example/cb")]).refused(400, "invalid_grant");
        redeem(&[("redirect_uri", "https://app.example/other")]).refused(400, "invalid_grant");
        redeem(&[("redirect_uri", "https://app.example/cb/")]).refused(400, "invalid_grant");
        redeem(&[("redirect_uri", &format!("https://app.example/{}", "x".repeat(2_000)))])
            .refused(400, "invalid_grant");
        redeem(&[("redirect_uri", WEB.redirect_uri)]).expect(200);
    }

    /// CD09, CD11, CD12.
    fn what_is_no_code_is_an_invalid_grant(server) {
        let code = WEB.code(server, "openid");
        let no_codes = no_codes(&code);
        let none_is_a_code = || {
            for bad in &no_codes {
                WEB.redeem(server, bad).refused(400, "invalid_grant");
            }
        };
        none_is_a_code();
        WEB.redeem(server, "").refused(400, "invalid_request");
        WEB.redeem(server, "a\0b").refused(400, "invalid_request");
        WEB.redeem(server, &"A".repeat(64 * 1024)).refused(413, "invalid_request");
        let array = [("grant_type", "authorization_code"), ("code[]", &*code)];
        let answer = WEB.sign(server.post("/oauth2/token"), &array).send();
        answer.refused(400, "invalid_request");
        // CD12: nothing but an access token opens anything, and nothing but a refresh token refreshes.
        is_dead(server, &code);
        WEB.refresh(server, &code).refused(400, "invalid_grant");
        let tokens = Tokens::of(&WEB.redeem(server, &code));
        let claims = jwt_part(&tokens.access, 1);
        let jti = claims["jti"].as_str().unwrap();
        for other in [&*tokens.refresh, &tokens.id, jti] {
            is_dead(server, other);
            WEB.redeem(server, other).refused(400, "invalid_grant");
        }
        for other in [&*tokens.access, &tokens.id, jti] {
            WEB.refresh(server, other).refused(400, "invalid_grant");
        }
        is_alive(server, &tokens.access);
        // CD09: what only looks like the code is no replay of it, and the code itself is.
        none_is_a_code();
        is_alive(server, &tokens.access);
        let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
        WEB.redeem(server, &code).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &tokens);
        grant_is_dead(server, &WEB, &next);
    }

    /// CD14, CD15: a good code is no grant by itself.
    fn a_code_needs_its_own_grant(server) {
        let code = WEB.code(server, "openid");
        let form = [
            ("code", &*code),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let send = |grant_type: &[(&str, &str)]| {
            WEB.sign(server.post("/oauth2/token"), &[grant_type, &form].concat()).send()
        };
        send(&[]).refused(400, "invalid_request");
        send(&[("grant_type", "")]).refused(400, "invalid_request");
        for unknown in [
            "implicit",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
            "Authorization_Code",
            "authorization_code ",
            "code",
        ] {
            send(&[("grant_type", unknown)]).refused(400, "unsupported_grant_type");
        }
        send(&[("grant_type", "refresh_token")]).refused(400, "invalid_request");
        send(&[("grant_type", "password")]).refused(400, "invalid_request");
        WEB.redeem(server, &code).expect(200);

        // A code that proves itself to be of a client that may have none.
        let codeless = App {
            id: "codeless",
            secret: Some("codeless-secret-0123456789"),
            redirect_uri: "https://codeless.example/cb",
        };
        let code = forge::code(now(), codeless.id, codeless.redirect_uri, oauth::CHALLENGE);
        codeless.redeem(server, &code).refused(400, "unauthorized_client");
    }

    /// CD18: the scope is the one that was consented to.
    fn a_scope_at_the_exchange_widens_nothing(server) {
        let code = WEB.code(server, "openid");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", VERIFIER),
            ("scope", "openid profile email admin"),
        ];
        let answer = WEB.sign(server.post("/oauth2/token"), &form).send().expect(200);
        assert_eq!(answer.json()["scope"], "openid");
        let access = jwt_part(answer.json()["access_token"].as_str().unwrap(), 1);
        assert_eq!(access["scope"], "openid");
    }

    /// CD13: between authorization and exchange things may change.
    fn a_code_of_a_disabled_user_or_client_is_worth_nothing(server) {
        let name = server.new_user("dora");
        let mut browser = crate::browser::Browser::new(server);
        let query = WEB.authorization("openid").query();
        let mut code = || {
            let answer = browser.sign_in(&query, &name, "a-passphrase-for-tests");
            answer.redirects_to(WEB.redirect_uri)["code"].clone()
        };
        let (first, second) = (code(), code());
        let tokens = Tokens::of(&WEB.redeem(server, &first));
        is_alive(server, &tokens.access);

        server.cadence(&["user", "disable", &name]);
        until("the user is disabled", || {
            let answer = server.get("/api/me").bearer(&tokens.access).send();
            answer.status == 401
        });
        WEB.redeem(server, &second).refused(400, "invalid_grant");
        is_dead(server, &tokens.access);
        WEB.refresh(server, &tokens.refresh).refused(400, "invalid_grant");
        let answer = browser.authorize(&query);
        assert!(answer.is_html(), "the session is over: {answer:?}");

        let app = server.new_client("fleeting");
        let code = app.code(server, "openid");
        server.cadence(&["client", "disable", app.id]);
        // For two seconds the client may still be believed: meanwhile the code stays unused.
        until("the client is disabled", || app.revoke(server, "x").status == 401);
        app.redeem(server, &code).refused(401, "invalid_client");
        let url = format!("/oauth2/authorize?{}", app.authorization("openid").query());
        // The edge begins no sign-in for it either, once its snapshot has been renewed.
        until("the client is unknown", || server.get(&url).send().status == 400);
        server.get(&url).send().is_page(400);
    }
}
