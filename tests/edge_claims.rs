//! What the edge does without the origin, claim by claim: requests are counted at the origin, and a
//! table says how many there were.

use std::time::{Duration, Instant};

use crate::browser::{Browser, Form, attribute};
use crate::forge;
use crate::http::{Answer, Request};
use crate::oauth::{ALICE, App, CHALLENGE, OTHER, SPA, Tokens, VERIFIER, WEB};
use crate::scripted::{Scripted, reply};
use crate::server::{Server, now, until_within};

/// What was claimed, asked for and seen.
struct Ledger<'s> {
    server: &'s Server,
    rows: Vec<(&'static str, usize, u64)>,
}

impl Ledger<'_> {
    /// Counts what reaches the origin while `requests` runs, which returns how many it has sent.
    fn row(&mut self, claim: &'static str, requests: impl FnOnce() -> usize) {
        let before = self.server.asked_of_origin();
        let sent = requests();
        let reached = self.server.asked_of_origin() - before;
        self.rows.push((claim, sent, reached));
    }

    fn print(&self) {
        println!("| claim | requests | of them reached the origin |\n|---|---|---|");
        for (claim, sent, reached) in &self.rows {
            println!("| {claim} | {sent} | {reached} |");
        }
    }
}

/// An upstream that answers everything with 200.
fn upstream() -> Scripted {
    Scripted::start(|_, stream| reply(stream, "200 OK", &[("content-type", "text/plain")], "hello"))
}

/// The settings of a gateway with this upstream at `/api/echo`, which wants `profile`.
fn gateway(upstream: &Scripted) -> String {
    format!(
        r#"[{{"prefix":"/api/echo","url":"{}","scope":"profile","audience":"https://api.example"}}]"#,
        upstream.url()
    )
}

fn redeem_form<'a>(code: &'a str, uri: &'a str, verifier: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", uri),
        ("code_verifier", verifier),
    ]
}

fn refresh_form(token: &str) -> Vec<(&str, &str)> {
    vec![("grant_type", "refresh_token"), ("refresh_token", token)]
}

#[test]
fn the_edge_answers_alone() {
    let upstream = upstream();
    let gateway = gateway(&upstream);
    let server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_UPSTREAMS", &gateway));
    let _log = server.log_on_failure();
    // What everything below needs is loaded once: clients, keys, a session of Alice's.
    let tokens = WEB.tokens(&server, "openid profile");
    server.get("/api/me").bearer(&tokens.access).send().expect(200);
    let mut ledger = Ledger { server: &server, rows: Vec::new() };
    sign_ins(&mut ledger);
    codes_and_refresh_tokens(&mut ledger);
    access_tokens(&mut ledger, &upstream);
    ledger.print();
    let reached: Vec<_> = ledger.rows.iter().filter(|(_, _, reached)| *reached > 0).collect();
    assert!(reached.is_empty(), "these reached the origin: {reached:?}");
    assert!(ledger.rows.iter().all(|(_, sent, _)| *sent > 0));
}

fn sign_ins(ledger: &mut Ledger<'_>) {
    let server = ledger.server;
    let request = WEB.authorization("openid profile");
    let query = request.query();
    let mut browser = Browser::new(server);
    let mut page = None;
    ledger.row("a click becomes a login form (GET)", || {
        page = Some(browser.authorize(&query).expect(200));
        2
    });
    let page = page.unwrap();
    assert_eq!(Form::of(&page).action, "/oauth2/login");
    ledger.row("a click becomes a login form (POST)", || {
        let mut browser = Browser::new(server);
        let form = server.post("/oauth2/authorize").form(&request.pairs());
        let answer = browser.send(form);
        let page = browser.follow(answer).expect(200);
        assert_eq!(Form::of(&page).action, "/oauth2/login");
        2
    });
    ledger.row("several tabs, each with its own sign-in", || {
        let mut tabs = Vec::new();
        for scope in ["openid", "profile", "openid email"] {
            let page = browser.authorize(&WEB.authorization(scope).query()).expect(200);
            tabs.push(Form::of(&page).field("tx").to_owned());
        }
        // The back button: every one of them is still there.
        for tx in &tabs {
            browser.open(&format!("/oauth2/login?tx={tx}")).expect(200);
        }
        tabs.sort();
        tabs.dedup();
        assert_eq!(tabs.len(), 3);
        9
    });
    ledger.row("prompt=none without a session: login_required", || {
        let answer = Browser::new(server).open(&format!("/oauth2/authorize?{query}&prompt=none"));
        let told = answer.redirects_to(WEB.redirect_uri);
        assert_eq!((told["error"].as_str(), &told["iss"]), ("login_required", &server.url));
        1
    });
    ledger.row("bad requests: error pages and error redirects", || {
        let bad = [
            request.clone().with("redirect_uri", "https://evil.example/cb"),
            request.clone().with("client_id", "nobody"),
            request.clone().with("scope", "admin"),
            request.clone().without("code_challenge"),
            request.clone().with("code_challenge", &CHALLENGE[1..]),
            request.clone().with("response_type", "token"),
        ];
        for request in &bad {
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            assert!(matches!(answer.status, 303 | 400), "{answer:?}");
        }
        bad.len()
    });
    let form = Form::of(&page);
    ledger.row("login forms of elsewhere, without csrf, or half empty", || {
        let filled = form.clone().with("username", ALICE).with("password", "x");
        browser.send(browser.unsent(&filled).header("origin", "https://evil.example")).is_page(403);
        browser.send(browser.unsent(&filled).header("sec-fetch-site", "cross-site")).is_page(403);
        browser.submit(&filled.clone().with("csrf", "x")).is_page(403);
        browser.submit(&filled.with("password", "")).is_page(400);
        4
    });
    ledger.row("lost, tampered, foreign and made-up sign-ins lead back to the app", || {
        let tx = form.field("tx");
        let url = format!("/oauth2/login?tx={tx}&client_id=web");
        let name = format!("cadence_tx_{tx}");
        let value = browser.cookies().iter().find(|(known, _)| *known == name).unwrap().1.clone();
        let tampered = format!("{name}={}", value.replace(&value[60..62], "--"));
        let elsewhere = browser.cookies().iter().find(|(known, _)| *known != name).unwrap();
        let swapped = format!("{name}={}", elsewhere.1);
        for cookie in [None, Some("cadence_tx_AAAAAAAAAAAAAAAA=x"), Some(&tampered), Some(&swapped)]
        {
            let request = server.get(&url);
            let request = match cookie {
                Some(cookie) => request.header("cookie", cookie),
                None => request,
            };
            let page = request.send();
            page.is_page(400);
            assert_eq!(attribute(&page, "main a", "href").as_deref(), Some("https://app.example/"));
        }
        server.get("/oauth2/login?tx=x").send().is_page(400);
        5
    });
}

/// What is wrong with a token request, whose it is, and its form.
type Attempt<'a> = (&'static str, &'a App, Vec<(&'a str, &'a str)>);

fn codes_and_refresh_tokens(ledger: &mut Ledger<'_>) {
    let server = ledger.server;
    let code = WEB.code(server, "openid");
    let tokens = WEB.tokens(server, "openid profile");
    let truncated = &code[..code.len() - 4];
    let mut forged = code.clone();
    forged.replace_range(30..32, if &code[30..32] == "AA" { "BB" } else { "AA" });
    let late = forge::code(now() - 61, "web", WEB.redirect_uri, CHALLENGE);
    let ahead = forge::code(now() + 61, "web", WEB.redirect_uri, CHALLENGE);
    let other = "o".repeat(43);
    let codes: Vec<Attempt<'_>> = vec![
        ("wrong code_verifier", &WEB, redeem_form(&code, WEB.redirect_uri, &other)),
        ("no code_verifier", &WEB, redeem_form(&code, WEB.redirect_uri, VERIFIER)[..3].to_vec()),
        ("code of another client", &OTHER, redeem_form(&code, WEB.redirect_uri, VERIFIER)),
        ("code of another client, public", &SPA, redeem_form(&code, WEB.redirect_uri, VERIFIER)),
        ("wrong redirect_uri", &WEB, redeem_form(&code, "https://app.example/other", VERIFIER)),
        ("forged code", &WEB, redeem_form(&forged, WEB.redirect_uri, VERIFIER)),
        ("truncated code", &WEB, redeem_form(truncated, WEB.redirect_uri, VERIFIER)),
        ("expired code", &WEB, redeem_form(&late, WEB.redirect_uri, VERIFIER)),
        ("code of the future", &WEB, redeem_form(&ahead, WEB.redirect_uri, VERIFIER)),
    ];
    let refresh = &tokens.refresh;
    let mut forged = refresh.clone();
    forged.replace_range(40..42, if &refresh[40..42] == "AA" { "BB" } else { "AA" });
    let expired = forge::refresh_token(now() - 1, "web");
    let tokens: Vec<Attempt<'_>> = vec![
        ("forged refresh token", &WEB, refresh_form(&forged)),
        ("truncated refresh token", &WEB, refresh_form(&refresh[..refresh.len() - 4])),
        ("refresh token of another client", &OTHER, refresh_form(refresh)),
        ("refresh token of another client, public", &SPA, refresh_form(refresh)),
        ("refresh token past the end of its grant", &WEB, refresh_form(&expired)),
    ];
    for (claim, app, form) in codes.iter().chain(&tokens) {
        let mut answer = None;
        ledger.row(claim, || {
            answer = Some(app.sign(server.post("/oauth2/token"), form).send());
            1
        });
        let answer = answer.unwrap();
        answer.refused(400, "invalid_grant");
        // The origin refuses it, too, in the same words.
        let url = format!("{}/oauth2/token", server.origin.url());
        let direct = app.sign(Request::new("POST", url), form).send();
        assert_eq!((direct.status, &direct.body), (answer.status, &answer.body), "{claim}");
    }
    // Nothing of it has burned the code or ended the grant.
    Tokens::of(&WEB.redeem(server, &code));
    Tokens::of(&WEB.refresh(server, refresh));
}

fn access_tokens(ledger: &mut Ledger<'_>, upstream: &Scripted) {
    let server = ledger.server;
    let tokens = WEB.tokens(server, "openid profile");
    let ask = |path: &str, token: &str| server.get(path).bearer(token).send();
    ask("/api/echo/1", &tokens.access).expect(200);
    ledger.row("API calls through the gateway", || {
        for number in 0..50 {
            ask(&format!("/api/echo/{number}"), &tokens.access).expect(200);
        }
        50
    });
    assert!(upstream.received().len() > 50);
    let bare = WEB.tokens(server, "openid");
    ledger.row("forged, foreign, absent and too small tokens", || {
        let mut forged = tokens.access.clone();
        let at = forged.len() - 10;
        forged.replace_range(at..at + 2, if &forged[at..at + 2] == "AA" { "BB" } else { "AA" });
        server.get("/api/echo").send().refused(401, "invalid_token");
        for token in [&forged, &tokens.id, &tokens.refresh, "a.b.c"] {
            for path in ["/api/echo", "/oauth2/userinfo", "/api/me"] {
                ask(path, token).refused(401, "invalid_token");
            }
        }
        ask("/api/echo", &bare.access).refused(403, "insufficient_scope");
        14
    });
    ledger.row("10,000 tokens with keys that nobody knows", || {
        const HANDS: usize = 4;
        const EACH: usize = 2_500;
        let payload = tokens.access.split('.').nth(1).unwrap();
        let before = server.origin.requests(Some("/oauth2/jwks"));
        let began = Instant::now();
        std::thread::scope(|scope| {
            for hand in 0..HANDS {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let header =
                            format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{hand}-{number}"}}"#);
                        let header = crate::oauth::base64url(header.as_bytes());
                        let token = format!("{header}.{payload}.{}", "A".repeat(86));
                        ask("/api/echo", &token).refused(401, "invalid_token");
                    }
                });
            }
        });
        // One for each ten seconds that this has taken, begun ones as well: whatever loads the key
        // set, it is loaded when it is ten seconds old. One more may have been on its way before.
        let fetched = server.origin.requests(Some("/oauth2/jwks")) - before;
        let periods = began.elapsed().as_secs() / 10 + 1;
        assert!(fetched <= periods + 1, "{fetched} times in {:?}", began.elapsed());
        HANDS * EACH
    });
    revocations(ledger);
}

/// A way to revoke tokens.
type Revoke = fn(&Server, &Tokens);

/// A revocation is seen everywhere within the `ttl` of a list and one fetch.
fn revocations(ledger: &mut Ledger<'_>) {
    let server = ledger.server;
    let ask = |path: &str, token: &str| server.get(path).bearer(token).send();
    let ways: [(&'static str, Revoke); 4] = [
        ("an access token that was revoked", |server, tokens| {
            WEB.revoke(server, &tokens.access).expect(200);
        }),
        ("an access token whose refresh token was revoked", |server, tokens| {
            WEB.revoke(server, &tokens.refresh).expect(200);
        }),
        ("an access token whose refresh token was stolen and reused", |server, tokens| {
            let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
            Tokens::of(&WEB.refresh(server, &next.refresh));
            WEB.refresh(server, &tokens.refresh).refused(400, "invalid_grant");
        }),
        ("an access token of somebody who has logged out", |server, tokens| {
            let logout = server.request("DELETE", "/api/auth/logout").bearer(&tokens.access);
            logout.send().expect(204);
        }),
    ];
    for (claim, revoke) in ways {
        let tokens = WEB.tokens(server, "openid profile");
        ask("/api/echo", &tokens.access).expect(200);
        revoke(server, &tokens);
        until_within("the revocation is seen", Duration::from_millis(6_500), || {
            ask("/api/echo", &tokens.access).status == 401
        });
        ledger.row(claim, || {
            let refused = |answer: Answer| answer.refused(401, "invalid_token");
            for _ in 0..3 {
                refused(ask("/api/echo", &tokens.access));
                refused(ask("/oauth2/userinfo", &tokens.access));
                refused(ask("/api/me", &tokens.access));
            }
            9
        });
    }
}
