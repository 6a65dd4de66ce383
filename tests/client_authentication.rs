//! Client authentication: RFC 6749 §2.3 and §5.2.

use std::time::Duration;

use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, WEB};
use crate::server::{Server, until};

/// What is well formed at every endpoint: only the client is left to complain about.
const GRANT: [(&str, &str); 3] =
    [("grant_type", "password"), ("username", "nobody@example.test"), ("password", "x")];

#[track_caller]
fn is_authenticated(answer: &Answer) {
    // An access token that is nobody's: whoever may ask gets 200.
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[track_caller]
fn is_not_authenticated(answer: &Answer) {
    answer.refused(401, "invalid_client");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Basic realm="), "{answer:?}");
}

fn ask(server: &Server) -> Request {
    server.post("/oauth2/revoke")
}

scenarios! { doors:
    /// CA01, CA02: both halves are form-encoded first.
    fn secrets_of_any_characters_work_when_they_are_encoded(server) {
        let form = [
            ("grant_type", "password"),
            ("username", ALICE),
            ("password", ALICES_PASSWORD),
            ("scope", "openid"),
        ];
        let secret = ":odd% +é/secret-0123456789";
        server.post("/oauth2/token").basic("odd", secret).form(&form).send().expect(200);
        let raw = server.post("/oauth2/token").basic_raw(&format!("odd:{secret}")).form(&form);
        is_not_authenticated(&raw.send());
    }

    /// CA06, CA07: only the registered method counts.
    fn only_the_registered_method_counts(server) {
        let token = ("token", "x");
        let (id, secret) = (("client_id", "post"), ("client_secret", "post-secret-0123456789"));
        is_authenticated(&ask(server).form(&[token, id, secret]).send());
        is_not_authenticated(&ask(server).basic(id.1, secret.1).form(&[token]).send());
        is_not_authenticated(&ask(server).form(&[token, id]).send());

        let (id, secret) = (("client_id", "web"), ("client_secret", "web-secret-0123456789"));
        is_authenticated(&ask(server).basic(id.1, secret.1).form(&[token]).send());
        is_authenticated(&ask(server).basic(id.1, secret.1).form(&[token, id]).send());
        is_not_authenticated(&ask(server).form(&[token, id, secret]).send());
        is_not_authenticated(&ask(server).form(&[token, id]).send());

        let id = ("client_id", "spa");
        is_authenticated(&ask(server).form(&[token, id]).send());
        is_not_authenticated(&ask(server).form(&[token, id, ("client_secret", "x")]).send());
        is_not_authenticated(&ask(server).basic("spa", "x").form(&[token]).send());
        is_not_authenticated(&ask(server).basic_raw("spa:").form(&[token]).send());
    }

    /// CA04, CA05, CA10.
    fn two_methods_at_once_are_an_invalid_request(server) {
        let token = ("token", "x");
        let signed = || ask(server).basic("web", "web-secret-0123456789");
        let secret = ("client_secret", "web-secret-0123456789");
        signed().form(&[token, secret]).send().refused(400, "invalid_request");
        signed().form(&[token, ("client_id", "other")]).send().refused(400, "invalid_request");
        let twice = [token, ("client_id", "post"), secret, secret];
        ask(server).form(&twice).send().refused(400, "invalid_request");
        let headers = signed().basic("web", "web-secret-0123456789").form(&[token]).send();
        assert!(matches!(headers.status, 400 | 401), "{headers:?}");
    }

    /// CA09, CA11, CA14, CA15: an unknown client and a wrong secret look the same.
    fn whoever_fails_hears_the_same(server) {
        let token = ("token", "x");
        let wrong = ask(server).basic("web", "wrong-secret-0123456789").form(&[token]).send();
        is_not_authenticated(&wrong);
        for (id, secret) in [
            ("nobody", "web-secret-0123456789"),
            ("web", ""),
            ("", "web-secret-0123456789"),
            ("WEB", "web-secret-0123456789"),
            ("web", "web-secret-012345678"),
            ("web", "web-secret-01234567890"),
            ("web\0", "web-secret-0123456789"),
            ("../web", "x"),
            ("*", "x"),
            ("' OR 1=1 --", "x"),
            ("web\r\nx", "x"),
            (&"w".repeat(4_000), "x"),
            ("web", &"x".repeat(4_000)),
        ] {
            let answer = ask(server).basic(id, secret).form(&[token]).send();
            is_not_authenticated(&answer);
            assert_eq!(answer.body, wrong.body, "{id:?} {secret:?}");
        }
        is_not_authenticated(&ask(server).form(&[token]).send());
        is_not_authenticated(&ask(server).form(&[token, ("client_secret", "x")]).send());
        is_not_authenticated(&ask(server).bearer("x").form(&[token]).send());
        is_not_authenticated(&ask(server).header("authorization", "Basic !!").form(&[token]).send());
        is_not_authenticated(&ask(server).header("authorization", "Basic").form(&[token]).send());
        let assertion = [
            token,
            ("client_id", "web"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "a.b.c"),
        ];
        is_not_authenticated(&ask(server).form(&assertion).send());
        let public = [&[("client_id", "spa")], &assertion[2..], &[token]].concat();
        is_not_authenticated(&ask(server).form(&public).send());
    }

    /// CA16: a changed secret is good at once, and the one before soon is not.
    fn a_changed_secret_replaces_the_one_before(server) {
        let app = server.new_client("changing");
        let revoke = |secret: &str| ask(server).basic(app.id, secret).form(&[("token", "x")]).send();
        is_authenticated(&revoke(app.secret.unwrap()));
        let shown = server.cadence(&["client", "show", app.id, "--format", "json"]);
        assert!(!shown.contains(app.secret.unwrap()), "{shown}");
        server.apply(&format!(
            "[[clients]]\nclient_id = \"{}\"\nclient_name = \"Changed\"\n\
             client_secret = \"another-secret-0123456789\"\n\
             token_endpoint_auth_method = \"client_secret_basic\"\n\
             grant_types = [\"authorization_code\"]\n\
             redirect_uris = [\"https://new.example/cb\"]\nscope = \"openid\"\n",
            app.id
        ));
        until("the new secret is known", || {
            // Slowly: who fails too often is throttled.
            std::thread::sleep(Duration::from_millis(100));
            revoke("another-secret-0123456789").status == 200
        });
        is_not_authenticated(&revoke(app.secret.unwrap()));
    }

    /// RV05, IN01, IN05: the same rules hold at every endpoint of clients.
    fn the_rules_hold_at_every_endpoint(server) {
        for path in ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"] {
            let form = [&GRANT[..], &[("token", "x")]].concat();
            is_not_authenticated(&server.post(path).form(&form).send());
            is_not_authenticated(&server.post(path).basic("web", "wrong").form(&form).send());
            is_not_authenticated(&server.post(path).basic("nobody", "x").form(&form).send());
            let twice = server.post(path).basic("web", "web-secret-0123456789");
            let both = [&form[..], &[("client_secret", "web-secret-0123456789")]].concat();
            twice.form(&both).send().refused(400, "invalid_request");
            let query = format!("{path}?client_secret=web-secret-0123456789");
            let answer = WEB.sign(server.post(&query), &form).send();
            answer.refused(400, "invalid_request");
        }
    }
}
