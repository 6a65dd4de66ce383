//! Client authentication: RFC 6749 §2.3 and §5.2.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use stack::EdgeSettings;

use crate::forge;
use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, VERIFIER, WEB};
use crate::server::{Server, now, until};

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
    /// CA01, CA02: both halves are form-encoded first; what is not, is read as if it were.
    fn secrets_of_any_characters_work_when_they_are_encoded(server) {
        let form = [
            ("grant_type", "password"),
            ("username", ALICE),
            ("password", ALICES_PASSWORD),
            ("scope", "openid"),
        ];
        let secret = ":odd% +é/secret-0123456789";
        let send = |request: Request| request.form(&form).send();
        let odd = || server.post("/oauth2/token");
        send(odd().basic("odd", secret)).expect(200);
        // Encoded more, or differently, is the same.
        let every_byte: Vec<_> = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let every_byte = every_byte.concat();
        send(odd().basic_raw(&format!("%6fdd:{every_byte}"))).expect(200);
        send(odd().basic_raw("odd::odd%25+%2B%C3%A9/secret-0123456789")).expect(200);
        for raw in [
            secret,
            ":odd%25 %2B%c3%a9/secret-0123456789%00",
            "%3Aodd%2525%20%2B%C3%A9%2Fsecret-0123456789",
            ":odd%25 +é/secret-0123456789",
            ":odd%25+%2B%E9/secret-0123456789",
            ":odd%25+%2B%C3/secret-0123456789",
        ] {
            is_not_authenticated(&send(odd().basic_raw(&format!("odd:{raw}"))));
        }
        // In the form it is encoded once, as all is.
        let post = [("client_id", "odd"), ("client_secret", secret)];
        is_not_authenticated(&odd().form(&[&form[..], &post].concat()).send());
    }

    /// CA06, CA07: only the registered method counts; a confidential client is never taken for a
    /// public one, and a public one that sends a secret has none.
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
        is_not_authenticated(&ask(server).basic_raw("web:").form(&[token]).send());
        is_not_authenticated(&ask(server).basic_raw("web").form(&[token]).send());
        is_not_authenticated(&ask(server).form(&[token, ("client_id", "web"), ("client_secret", "")]).send());

        // So at the token endpoint, with what would be good.
        let code = WEB.code(server, "openid");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let tokens = server.post("/oauth2/token");
        is_not_authenticated(&tokens.form(&[&[("client_id", "web")], &form[..]].concat()).send());
        let refresh = Tokens::of(&WEB.redeem(server, &code)).refresh;
        let form = [("client_id", "web"), ("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        is_not_authenticated(&server.post("/oauth2/token").form(&form).send());
        WEB.refresh(server, &refresh).expect(200);
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
        for other in ["other-secret-0123456789", "web-secret-0123456789"] {
            let other_client = signed().form(&[token, ("client_id", "other"), ("client_secret", other)]);
            other_client.send().refused(400, "invalid_request");
        }
        signed().form(&[token, ("client_id", "spa")]).send().refused(400, "invalid_request");
        for second in ["Basic d2ViOndlYi1zZWNyZXQtMDEyMzQ1Njc4OQ==", "Basic d2ViOng=", "Bearer x", "x"] {
            let headers = signed().header("authorization", second).form(&[token]).send();
            assert!(matches!(headers.status, 400 | 401), "{second}: {headers:?}");
            let headers = ask(server).header("authorization", second);
            let headers = headers.basic("web", "web-secret-0123456789").form(&[token]).send();
            assert!(matches!(headers.status, 400 | 401), "{second}: {headers:?}");
        }
        // Two in one header are none, or two.
        let basic = "Basic d2ViOndlYi1zZWNyZXQtMDEyMzQ1Njc4OQ==";
        for both in [format!("{basic}, Bearer y"), format!("Bearer y, {basic}"), format!("{basic}, {basic}")] {
            let answer = ask(server).header("authorization", &both).form(&[token]).send();
            assert!(matches!(answer.status, 400 | 401), "{both}: {answer:?}");
        }
    }

    /// CA09, CA11, CA14, CA15: an unknown client and a wrong secret look the same, and no name of a
    /// client becomes a part of anything that is kept.
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
            ("{web}", "x"),
            ("we?", "x"),
            ("web:x", "x"),
            ("' OR 1=1 --", "x"),
            ("web\r\nx", "x"),
            ("web\r\nDEL x\r\n", "x"),
            ("wéb", "x"),
            ("\u{1f941}", "x"),
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
        // Not even beside a good secret, nor one half of it alone.
        for half in [&assertion[2..], &assertion[2..3], &assertion[3..]] {
            let form = [&[token], half].concat();
            let signed = ask(server).basic("web", "web-secret-0123456789").form(&form);
            is_not_authenticated(&signed.send());
        }
        WEB.tokens(server, "openid");
        let keys = server.redis.as_ref().unwrap().command(&["KEYS", "*"]);
        assert!(keys.lines().count() > 2, "{keys}");
        for part in ["1=1", "../web", "{web}", "wwww", "DEL x", "wéb", "we?", "WEB"] {
            assert!(!keys.contains(part), "{part} is in {keys}");
        }
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

    /// CA16: either secret is good until the old one's end, and then the new one alone, to the second.
    fn a_rotated_secret_is_good_until_its_end(server) {
        let app = server.new_client("rotating");
        let revoke = |secret: &str| ask(server).basic(app.id, secret).form(&[("token", "x")]).send();
        let rotate = |overlap: &str| -> Value {
            let rotate = ["client", "rotate-secret", app.id, "--overlap", overlap, "--format", "json"];
            serde_json::from_str(&server.cadence(&rotate)).unwrap()
        };
        let old = app.secret.unwrap();
        is_authenticated(&revoke(old));
        let rotated = rotate("8");
        let new = rotated["client_secret"].as_str().unwrap();
        let end = rotated["former_secret_until"].as_u64().unwrap();
        assert!(!server.cadence(&["client", "show", app.id, "--format", "json"]).contains(new));
        let mut good = 0;
        until("the old secret has come to its end", || {
            // Slowly: who fails too often is throttled.
            std::thread::sleep(Duration::from_millis(100));
            let answer = revoke(old);
            if now() < end {
                is_authenticated(&answer);
                good += u32::from(revoke(new).status == 200);
            }
            now() >= end
        });
        assert!(good > 0, "the new one is good meanwhile");
        is_not_authenticated(&revoke(old));
        is_authenticated(&revoke(new));

        // One that has leaked has no time left.
        let next = rotate("0");
        assert_eq!(next.get("former_secret_until"), None);
        let next = next["client_secret"].as_str().unwrap();
        until("the next secret is known", || {
            std::thread::sleep(Duration::from_millis(100));
            revoke(next).status == 200
        });
        is_not_authenticated(&revoke(new));
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
            // CA08: what stands in the query is not read, and it is said that it must not.
            for query in [
                "client_secret=web-secret-0123456789",
                "client_id=web&client_secret=web-secret-0123456789",
                "client_secret=",
            ] {
                let target = format!("{path}?{query}");
                for request in [
                    WEB.sign(server.post(&target), &form),
                    server.post(&target).form(&form),
                    server.post(&target).form(&[&form[..], &[("client_id", "web")]].concat()),
                ] {
                    request.send().refused(400, "invalid_request");
                }
            }
        }
    }
}

/// CA13: where no address is known, nobody is kept out by what somebody else has tried.
#[test]
fn a_client_is_let_in_from_where_no_address_is_known() {
    let server = Server::start_embedded();
    let _log = server.log_on_failure();
    let ask = |secret: &str| {
        let request = server.post("/oauth2/revoke").basic("web", secret);
        request.form(&[("token", "x")]).send().status
    };
    let told: BTreeSet<u16> = (0..150).map(|_| ask("wrong-secret-0123456789")).collect();
    assert_eq!(told, [401, 429].into());
    assert_eq!(ask("web-secret-0123456789"), 200);
}

/// CA13: of a thousand wrong secrets in a row a hundred are looked at, for each client and network;
/// the client itself is let in from elsewhere, and so is another client from there.
#[test]
fn guessing_a_secret_is_throttled_for_client_and_network() {
    let trusting = |edge: &mut EdgeSettings| edge.set("CADENCE_TRUST_CF_CONNECTING_IP", "true");
    let server = Server::start_tuned(|_| (), trusting);
    let _log = server.log_on_failure();
    let at_the_origin = |address: &str, secret: &str| {
        let request = Request::new("POST", format!("{}/oauth2/revoke", server.origin.url()));
        forge::from_address(request.basic("web", secret).form(&[("token", "x")]), address).send()
    };
    let at_the_edge = |address: &str, secret: &str| {
        let request = ask(&server).basic("web", secret).form(&[("token", "x")]);
        request.header("cf-connecting-ip", address).send()
    };
    let (good, wrong) = ("web-secret-0123456789", "wrong-secret-0123456789");
    // IPv6: each guess from another address of the same /64.
    for (of_guess, send) in [
        (
            &(|_| "192.0.2.7".to_owned()) as &dyn Fn(usize) -> String,
            &at_the_edge as &dyn Fn(&str, &str) -> Answer,
        ),
        (&|guess| format!("2001:db8:0:7:{guess:x}::1"), &at_the_edge),
        (&|_| "198.51.100.7".to_owned(), &at_the_origin),
        (&|guess| format!("2001:db8:0:8::{guess:x}"), &at_the_origin),
    ] {
        send(&of_guess(0), good).expect(200);
        let told: Vec<Answer> = (0..1_000).map(|guess| send(&of_guess(guess), wrong)).collect();
        let (looked_at, throttled) = told.split_at(100);
        looked_at.iter().for_each(is_not_authenticated);
        for answer in throttled {
            answer.refused(429, "temporarily_unavailable");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=900).contains(&wait), "{answer:?}");
        }
        // Who guesses is not told that he has guessed right.
        assert_eq!(send(&of_guess(1_000), good).status, 429);
        for elsewhere in ["203.0.113.9", "2001:db8:0:9::1"] {
            send(elsewhere, good).expect(200);
        }
    }
    let other = ask(&server).basic("other", "other-secret-0123456789").form(&[("token", "x")]);
    other.header("cf-connecting-ip", "192.0.2.7").send().expect(200);
}
