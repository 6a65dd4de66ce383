//! The login page and its form.

use crate::browser::{Browser, Form, attribute, text};
use crate::oauth::{ALICE, ALICES_PASSWORD, LENIENT, Tokens, WEB, jwt_part, sign_in};
use crate::server::{Server, now, unique, until};

scenarios! { everywhere:
    /// AZ01, AZ29, AZ44.
    fn the_right_password_signs_in(server) {
        let mut browser = Browser::new(server);
        let page = browser.authorize(&WEB.authorization("openid").query()).expect(200);
        assert!(text(&page, "h1").contains("Web App"), "the page says where one signs in");
        let before = browser.cookies().to_vec();
        assert_eq!(before.len(), 1, "the transaction alone: {before:?}");
        let form = Form::of(&page).with("username", ALICE).with("password", ALICES_PASSWORD);
        // RFC 9700 §4.12: what follows is a GET, without the password.
        let answer = browser.submit(&form).expect(303);
        let answer = browser.follow(answer);
        let answer = if answer.is_html() {
            let form = Form::of(&answer).with("decision", "approve");
            browser.submit(&form).expect(303)
        } else {
            answer
        };
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
        let after = browser.cookies();
        assert_eq!(after.len(), 1, "the session alone: {after:?}");
        assert_ne!(after[0].0, before[0].0);

        // A second sign-in needs no password; the session that is there stays.
        let again = browser.authorize(&WEB.authorization("openid").query());
        assert!(again.redirects_to(WEB.redirect_uri).contains_key("code"));
    }

    /// PW03: a wrong password and an unknown user look the same.
    fn a_wrong_password_is_asked_for_again(server) {
        let mut browser = Browser::new(server);
        let page = browser.authorize(&WEB.authorization("openid").query()).expect(200);
        let wrong = browser.log_in(&page, "bob@example.test", "wrong");
        assert!(matches!(wrong.status, 400 | 401), "{wrong:?}");
        assert!(!text(&wrong, "[role=alert]").is_empty());
        assert_eq!(attribute(&wrong, "#username", "value").as_deref(), Some("bob@example.test"));
        assert_eq!(attribute(&wrong, "#password", "value"), None, "the password is not echoed");
        let unknown = browser.log_in(&page, "ghost@example.test", "wrong");
        assert_eq!(unknown.status, wrong.status);
        assert_eq!(text(&unknown, "main"), text(&wrong, "main"));
        for (username, password) in [("", "x"), ("bob@example.test", ""), ("", "")] {
            let answer = browser.log_in(&wrong, username, password);
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(attribute(&answer, "[aria-invalid=true]", "name").is_some(), "{answer:?}");
        }
        let right = browser.log_in(&wrong, "bob@example.test", "bobs-horse-battery");
        assert!(right.status == 303 || right.status == 302 || Form::find(&right).is_some());
    }
}

scenarios! { doors:
    /// OD11, and what a page must have for people and password managers.
    fn the_page_is_accessible_and_escapes_what_it_shows(server) {
        let hint = "\"><script>alert(1)</script>&'";
        let request = WEB.authorization("openid").with("login_hint", hint);
        let page = Browser::new(server).authorize(&request.query()).expect(200);
        assert_eq!(attribute(&page, "#username", "value").as_deref(), Some(hint));
        assert_eq!(attribute(&page, "html", "lang").as_deref(), Some("en"));
        for (field, autocomplete) in [("username", "username"), ("password", "current-password")] {
            assert!(!text(&page, &format!("label[for={field}]")).is_empty());
            let told = attribute(&page, &format!("#{field}"), "autocomplete");
            assert_eq!(told.as_deref(), Some(autocomplete));
        }
        assert!(attribute(&page, "meta[name=viewport]", "content").is_some());
        assert!(attribute(&page, "[src]", "src").is_none(), "nothing is loaded");
        assert!(attribute(&page, "[style]", "style").is_none(), "no inline styles");
    }

    /// AZ20, AZ21: with `prompt=none` nobody is asked.
    fn with_prompt_none_nobody_is_asked(server) {
        let request = WEB.authorization("openid").with("prompt", "none");
        let answer = Browser::new(server).authorize(&request.query());
        assert_eq!(answer.redirects_to(WEB.redirect_uri)["error"], "login_required");
        let answer = server.alice().authorize(&request.query());
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));

        let app = server.new_client("unasked");
        let request = app.authorization("openid").with("prompt", "none");
        let answer = server.alice().authorize(&request.query());
        assert_eq!(answer.redirects_to(app.redirect_uri)["error"], "consent_required");
    }

    /// AZ23, AZ24: a login is as recent as the client wants it.
    fn prompt_login_and_max_age_ask_again(server) {
        // A session of its own: a new login ends the one before.
        let request = WEB.authorization("openid");
        let (mut browser, answer) = sign_in(server, &request, ALICE, ALICES_PASSWORD);
        let code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
        let tokens = Tokens::of(&WEB.redeem(server, &code));
        let before = jwt_part(&tokens.id, 1)["auth_time"].as_u64().unwrap();
        // At once, in the same second, except for the one that asks for a second.
        for (name, value) in [("prompt", "login"), ("max_age", "0"), ("prompt", "select_account"), ("max_age", "1")] {
            if value == "1" {
                until("a second has passed", || now() > before + 1);
            }
            let request = WEB.authorization("openid").with(name, value);
            let page = browser.clone().authorize(&request.query());
            assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/login", "{name}={value}");
            let none = request.with("prompt", "none");
            if name == "max_age" {
                let answer = browser.clone().authorize(&none.query());
                let told = answer.redirects_to(WEB.redirect_uri);
                assert_eq!(told["error"], "login_required", "{name}={value}");
            }
        }
        let old_session = browser.clone();
        let request = WEB.authorization("openid").with("prompt", "login");
        let answer = browser.sign_in(&request.query(), ALICE, ALICES_PASSWORD);
        let code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
        let tokens = Tokens::of(&WEB.redeem(server, &code));
        let after = jwt_part(&tokens.id, 1)["auth_time"].as_u64().unwrap();
        assert!(after > before, "{after} > {before}");
        assert_ne!(old_session.cookies(), browser.cookies(), "AZ44: a new login, a new session");
        let page = old_session.clone().authorize(&WEB.authorization("openid").query());
        assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/login", "AZ44: the old one is over");
        // AZ24: a login that was asked for by its age counts, and its time is told.
        until("a second has passed", || now() > after + 1);
        let request = WEB.authorization("openid").with("max_age", "1");
        let answer = browser.sign_in(&request.query(), ALICE, ALICES_PASSWORD);
        let code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
        let tokens = Tokens::of(&WEB.redeem(server, &code));
        assert!(jwt_part(&tokens.id, 1)["auth_time"].as_u64().unwrap() > after);
        let lenient = WEB.authorization("openid").with("max_age", "3600");
        let answer = browser.authorize(&lenient.query());
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
    }

    /// AZ44: a session that somebody else has put into the browser is not the one that begins.
    fn a_planted_session_is_not_taken_over(server) {
        let request = WEB.authorization("openid").with("prompt", "login");
        let bob = ("bob@example.test", "bobs-horse-battery");
        let (mut attacker, _) = sign_in(server, &request, bob.0, bob.1);
        let planted = attacker.cookies()[0].clone();
        for value in [planted.1.as_str(), "chosen-by-somebody", &"A".repeat(43)] {
            let mut victim = Browser::new(server);
            victim.cookies_mut().push((planted.0.clone(), value.to_owned()));
            let answer = victim.sign_in(&request.query(), ALICE, ALICES_PASSWORD);
            assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
            let session = victim.cookies().iter().find(|(name, _)| *name == planted.0).unwrap();
            assert_ne!(session.1, value);
            let mut fixed = Browser::new(server);
            fixed.cookies_mut().push((planted.0.clone(), value.to_owned()));
            let page = fixed.authorize(&WEB.authorization("openid").query()).expect(200);
            assert_eq!(Form::of(&page).action, "/oauth2/login", "{value}");
        }
        let page = attacker.authorize(&WEB.authorization("openid").query()).expect(200);
        assert_eq!(Form::of(&page).action, "/oauth2/login");
    }

    /// AZ35, AZ36: the form is bound to the browser that began.
    fn a_form_of_elsewhere_is_refused(server) {
        let query = WEB.authorization("openid").query();
        let mut browser = Browser::new(server);
        let page = browser.authorize(&query).expect(200);
        let form = Form::of(&page).with("username", ALICE).with("password", ALICES_PASSWORD);
        let origin = &server.url;
        for request in [
            browser.unsent(&form).header("origin", "https://evil.example"),
            browser.unsent(&form).header("origin", "null").header("sec-fetch-site", "cross-site"),
            browser.unsent(&form).header("origin", origin).header("sec-fetch-site", "cross-site"),
            browser.unsent(&form).header("origin", origin).header("sec-fetch-site", "same-site"),
        ] {
            browser.clone().send(request).is_page(403);
        }
        for bad in [
            form_with(&page, "csrf", ""),
            form_with(&page, "csrf", "A"),
            Form::of(&page).with("username", ALICE).with("password", ALICES_PASSWORD).without("csrf"),
        ] {
            browser.clone().submit(&bad).is_page(403);
        }
        // Another browser, and one in which somebody else began.
        Browser::new(server).submit(&form).is_page(400);
        let mut other = Browser::new(server);
        other.authorize(&query).expect(200);
        other.submit(&form).is_page(400);
        for bad in [
            form_with(&page, "tx", "AAAAAAAAAAAAAAAA"),
            form_with(&page, "tx", "../../x"),
            form_with(&page, "tx", ""),
        ] {
            browser.clone().submit(&bad).is_page(400);
        }
        let mut tampered = browser.clone();
        for (_, value) in tampered.cookies_mut() {
            let middle = value.len() / 2;
            let other = if value[middle..].starts_with('A') { "B" } else { "A" };
            value.replace_range(middle..=middle, other);
        }
        tampered.submit(&form).is_page(400);
        let json = server.post("/oauth2/login").body("application/json", "{}").send();
        assert!(matches!(json.status, 400 | 415), "{json:?}");
        server.get("/oauth2/login").send().is_page(400);
        server.get("/oauth2/login?tx=x").send().is_page(400);
        // None of it has used the transaction up.
        let mut before = browser.clone();
        let answer = browser.submit(&form);
        let answer = browser.follow(answer);
        let answer = if answer.is_html() { browser.decide(&answer, "approve") } else { answer };
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
        // AZ35: now it is, even for a browser that has kept the cookie.
        before.submit(&form).is_page(400);
    }

    /// Several tabs: each sign-in has its own transaction.
    fn several_sign_ins_can_be_under_way(server) {
        let mut browser = Browser::new(server);
        let first = browser.authorize(&WEB.authorization("openid").with("state", "one").query());
        let second = browser.authorize(&LENIENT.authorization("openid").with("state", "two").query());
        assert!(text(&second, "h1").contains("Without PKCE"));
        let answer = browser.log_in(&first, ALICE, ALICES_PASSWORD);
        let answer = if answer.is_html() { browser.decide(&answer, "approve") } else { answer };
        assert_eq!(answer.redirects_to(WEB.redirect_uri)["state"], "one");
        let answer = browser.log_in(&second, ALICE, ALICES_PASSWORD);
        let answer = if answer.is_html() { browser.decide(&answer, "approve") } else { answer };
        assert_eq!(answer.redirects_to(LENIENT.redirect_uri)["state"], "two");
        // However many are begun, the browser's cookies stay few.
        for _ in 0..20 {
            browser.authorize(&WEB.authorization("openid").with("prompt", "login").query());
        }
        assert!(browser.cookies().len() <= 10, "{}", browser.cookies().len());
    }

    /// PW05 at the form: guessing is throttled, and the page says for how long.
    fn guessing_at_the_form_is_throttled(server) {
        let mut browser = Browser::new(server);
        let page = browser.authorize(&WEB.authorization("openid").query()).expect(200);
        let name = unique("target");
        for _ in 0..10 {
            let answer = browser.log_in(&page, &name, "guess");
            assert!(matches!(answer.status, 400 | 401), "{answer:?}");
        }
        let answer = browser.log_in(&page, &name, "guess");
        answer.is_page(429);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=900).contains(&wait), "{wait}");
        assert!(!text(&answer, "[role=alert]").is_empty());
    }
}

fn form_with(page: &crate::http::Answer, name: &str, value: &str) -> Form {
    let form = Form::of(page).with("username", ALICE).with("password", ALICES_PASSWORD);
    form.with(name, value)
}
