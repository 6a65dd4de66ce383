//! The password grant: RFC 6749 §4.3, for the operator's own confidential clients.

use crate::http::Answer;
use crate::oauth::{ALICE, ALICES_PASSWORD, OWN, Tokens, is_alive, own_tokens};
use crate::outage::answered_at_last;
use crate::server::{Server, in_time, unique};
use crate::throttling::{a_hundred_are_looked_at, ten_are_looked_at};

scenarios! { everywhere:
    /// PW01, and the curl line of the quick start.
    fn the_right_password_becomes_tokens(server) {
        let tokens = Tokens::of(&own_tokens(server, ALICE, ALICES_PASSWORD));
        assert_eq!(tokens.json["scope"], "openid email");
        is_alive(server, &tokens.access);
        assert!(!tokens.id.is_empty() && !tokens.refresh.is_empty());
        let next = Tokens::of(&OWN.refresh(server, &tokens.refresh));
        is_alive(server, &next.access);
        // PW06: one user however the name is spelled.
        for spelling in [" ALICE@example.test ", "Alice@Example.Test", "alice@example.test."] {
            own_tokens(server, spelling, ALICES_PASSWORD).expect(200);
        }
        let form = [
            ("grant_type", "password"),
            ("username", ALICE),
            ("password", ALICES_PASSWORD),
            ("scope", "openid"),
        ];
        let demo = server.post("/oauth2/token").basic("demo-cli", "demo-cli-secret").form(&form);
        Tokens::of(&demo.send());
    }
}

scenarios! { doors:
    /// PW03, PW10.
    fn every_other_password_is_an_invalid_grant(server) {
        let name = server.new_user("pia");
        let wrong = own_tokens(server, &name, "wrong");
        wrong.refused(400, "invalid_grant");
        for password in [
            "A-passphrase-for-tests",
            "a-passphrase-for-test",
            " a-passphrase-for-tests",
            "a-passphrase-for-tests ",
            &"p".repeat(1_024),
        ] {
            assert_eq!(own_tokens(server, &name, password).body, wrong.body, "{password}");
        }
        let disabled = server.new_user("disabled");
        server.cadence(&["user", "disable", &disabled]);
        for (name, password) in [
            (unique("ghost").as_str(), "a-passphrase-for-tests"),
            (&disabled, "a-passphrase-for-tests"),
            (&disabled, "wrong"),
        ] {
            let answer = own_tokens(server, name, password);
            assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body), "{name}");
            assert_eq!(answer.header_names(), wrong.header_names(), "{name}");
        }
        for password in ["", &"p".repeat(1_025), &"p".repeat(20_000), "a\0b"] {
            own_tokens(server, &name, password).refused(400, "invalid_request");
        }
        own_tokens(server, &name, &"p".repeat(1 << 20)).refused(413, "invalid_request");
        own_tokens(server, "", "x").refused(400, "invalid_request");
        own_tokens(server, &"u".repeat(300), "x").refused(400, "invalid_request");
        own_tokens(server, &name, "a-passphrase-for-tests").expect(200);
    }

    /// PW10: a password is compared as it is, up to its last byte.
    fn passwords_of_any_characters_are_compared_in_full(server) {
        let long = "0123456789abcdef".repeat(64);
        for (password, others) in [
            ("p", vec!["P", "p ", "pp", "\u{ff50}"]),
            (&long[..64], vec![&long[..63], &long[..65]]),
            (&long, vec![&long[..1_023], &long[..72], &long[..255]]),
            ("\u{1f40e}\u{1f50b}", vec!["\u{1f40e}", "\u{1f40e}\u{1f50c}", "??"]),
            ("  two spaces before", vec!["two spaces before", " two spaces before"]),
            ("e\u{301}", vec!["\u{e9}", "e"]),
            ("a+b&c=d%20\"\\", vec!["a b&c=d%20\"\\", "a+b"]),
        ] {
            let name = unique("exact");
            let table = toml::Table::from_iter([
                ("username".to_owned(), name.as_str().into()),
                ("password".to_owned(), password.into()),
            ]);
            server.apply(&format!("[[users]]\n{table}"));
            for other in others {
                own_tokens(server, &name, other).refused(400, "invalid_grant");
            }
            own_tokens(server, &name, password).expect(200);
        }
    }

    /// PW02: who may not have the grant is told before any password is looked at.
    fn only_clients_that_list_the_grant_may_use_it(server) {
        let form = [
            ("grant_type", "password"),
            ("username", ALICE),
            ("password", ALICES_PASSWORD),
            ("scope", "openid"),
        ];
        for (id, secret) in [("web", "web-secret-0123456789"), ("demo-web", "demo-web-secret")] {
            let answer = server.post("/oauth2/token").basic(id, secret).form(&form).send();
            answer.refused(400, "unauthorized_client");
        }
        for id in ["spa", "demo-spa"] {
            let form = [&form[..], &[("client_id", id)]].concat();
            let answer = server.post("/oauth2/token").form(&form).send();
            answer.refused(400, "unauthorized_client");
        }
        // Before any password is looked at: nothing was counted.
        let name = server.new_user("unlooked-at");
        let form_of = |password| {
            [("grant_type", "password"), ("username", name.as_str()), ("password", password)]
        };
        for hand in 0..24 {
            let password = if hand % 2 == 0 { "guess" } else { "a-passphrase-for-tests" };
            let request = server.post("/oauth2/token").basic("web", "web-secret-0123456789");
            request.form(&form_of(password)).send().refused(400, "unauthorized_client");
            let public = [&form_of(password)[..], &[("client_id", "spa")]].concat();
            let request = server.post("/oauth2/token").form(&public);
            request.send().refused(400, "unauthorized_client");
        }
        own_tokens(server, &name, "a-passphrase-for-tests").expect(200);
        let wide = [&form[..3], &[("scope", "openid offline_access admin")]].concat();
        let answer = server.post("/oauth2/token").basic("own", "own-secret-0123456789").form(&wide);
        answer.send().refused(400, "invalid_scope");
    }

    /// PW05, PW06: ten guesses, however they are spelled and however many come at once.
    fn guessing_is_throttled_for_the_user(server) {
        let name = in_time("ten guesses are looked at", || {
            let name = server.new_user("vic");
            let spelled = [name.clone(), name.to_uppercase(), format!(" {name} ")];
            let answers: Vec<Answer> = std::thread::scope(|scope| {
                let guess = |hand: usize| {
                    let name = &spelled[hand % spelled.len()];
                    scope.spawn(move || own_tokens(server, name, "guess"))
                };
                let hands: Vec<_> = (0..20).map(guess).collect();
                hands.into_iter().map(|hand| hand.join().unwrap()).collect()
            });
            ten_are_looked_at(&answers, |_| own_tokens(server, &name, "guess"))?;
            Some(name)
        });

        let answer = answered_at_last(|| own_tokens(server, &name, "a-passphrase-for-tests"));
        assert_eq!(answer.status, 429, "the right one as well: {answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=900).contains(&wait), "{wait}");
        // The form shares the counter.
        let request = crate::oauth::WEB.authorization("openid");
        let mut browser = crate::browser::Browser::new(server);
        let page = browser.authorize(&request.query()).expect(200);
        browser.log_in(&page, &name, "a-passphrase-for-tests").is_page(429);
        own_tokens(server, ALICE, ALICES_PASSWORD).expect(200);
    }
}

/// PW07: a hundred guesses from one address, whatever it says about itself.
#[test]
fn guessing_is_throttled_for_the_address() {
    let server = Server::start_origin();
    let guess = |hand: usize| {
        let name = format!("somebody-{hand}@example.test");
        let form = [("grant_type", "password"), ("username", &name), ("password", "x")];
        let request =
            server.post("/oauth2/token").basic("own", "own-secret-0123456789").form(&form);
        let spoofed = format!("192.0.2.{}", hand % 250);
        request
            .header("x-forwarded-for", &spoofed)
            .header("cf-connecting-ip", &spoofed)
            .header("forwarded", &format!("for={spoofed}"))
            .send()
    };
    a_hundred_are_looked_at(105, guess);
}
