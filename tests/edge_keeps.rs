//! What the edge keeps: how often it asks the origin, how soon it sees a change, what it does while
//! the origin is away, and for how long.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use stack::Stopwatch;

use crate::browser::Browser;
use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, VERIFIER, WEB, jwt_part, own_tokens};
use crate::outage::ask_through;
use crate::outage::{answered_at_last, is_outage, is_unavailable, refreshes_at_last};
use crate::scripted::{Scripted, reply};
use crate::server::{Server, in_time, until, until_within};
use crate::signer::Thief;

/// How often the origin was asked for clients by edges: nobody else asks under `other`.
fn loads(server: &Server) -> u64 {
    server.origin.requests(Some("other"))
}

/// How soon another load may begin when one is given up: after its two seconds, and the pause behind
/// it.
const LOADS_AGAIN_IN: Duration = Duration::from_millis(2_250);

/// How long an isolate waits for the platform's cache, before it asks the origin.
const COPY_IN: Duration = Duration::from_millis(200);

/// A burst at an empty isolate loads the clients once, however many requests there are.
#[test]
fn an_empty_isolate_loads_once_for_all() {
    let mut server = Server::start_edge();
    let query = WEB.authorization("openid").query();
    for _ in 0..3 {
        server.edge.as_mut().unwrap().restart();
        let before = loads(&server);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    // Who has waited too long for the clients is told 503, and asks again.
                    until("a sign-in begins", || {
                        let answer = server.get(&format!("/oauth2/authorize?{query}")).send();
                        assert!(matches!(answer.status, 303 | 503), "{answer:?}");
                        answer.status == 303
                    });
                });
            }
        });
        // One, or on a machine that is very slow one for each that took too long.
        let most = 1 + began.elapsed().as_millis() / LOADS_AGAIN_IN.as_millis();
        let loads = loads(&server) - before;
        assert!(loads >= 1 && u128::from(loads) <= most, "{loads} in {:?}", began.elapsed());
    }
}

/// A change is seen within ten seconds, and what was unknown at once.
#[test]
fn a_change_of_a_client_is_seen_in_time() {
    let server = Server::start_edge();
    let _log = server.log_on_failure();
    let app = server.new_client("changing");
    let url = format!("/oauth2/authorize?{}", app.authorization("openid").query());
    for (command, status) in [("disable", 400), ("enable", 303), ("disable", 400)] {
        server.get(&url).send();
        server.cadence(&["client", command, app.id]);
        until_within("the change is seen", Duration::from_secs(10), || {
            server.get(&url).send().status == status
        });
    }
    // Nobody has to wait for what is new.
    let app = server.register_client("new");
    let began = Stopwatch::start();
    server.wait_known(&app);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// An isolate that knows nothing finds what another one of the same place has loaded: also when the
/// origin is away. What somebody else has put there, it does not take.
#[test]
fn a_new_isolate_finds_the_copies_of_another() {
    let twin = stack::free_port();
    let mut server = Server::start_tuned(|_| (), |edge| edge.twin_at(twin));
    let begin = format!("/oauth2/authorize?{}", WEB.authorization("openid").query());
    let tokens = WEB.tokens(&server, "openid profile");
    let twin = server.edge.as_ref().unwrap().twin_url();
    let at_twin = |path: &str| Request::new("GET", format!("{twin}{path}")).send();
    in_time("the twin finds copies", || {
        server.edge.as_mut().unwrap().restart();
        until("a sign-in begins", || server.get(&begin).send().status == 303);
        answered_at_last(|| server.get("/oauth2/userinfo").bearer(&tokens.access).send())
            .expect(200);
        // What an isolate takes to begin is not meant.
        at_twin("/healthz").expect(200);
        let before = server.origin.requests(None);
        let took = [(&*begin, 303), ("/oauth2/jwks", 200)].map(|(path, status)| {
            let asked = Instant::now();
            at_twin(path).expect(status);
            asked.elapsed()
        });
        let asked_nobody = server.origin.requests(None) == before;
        // Where the cache may have been too slow, the origin is asked, and that is right.
        let was_in_time = took.iter().all(|took| *took < COPY_IN * 3 / 4);
        assert!(asked_nobody || !was_in_time, "the twin asked somebody: {took:?}");
        asked_nobody.then_some(())
    });
    server.origin.kill();
    server.edge.as_mut().unwrap().restart();
    // The cache has begun anew with the process: without origin and copy there is nothing.
    server.get(&begin).send().is_page(503);
    server.origin.restart();
    until("clients are known", || server.get(&begin).send().status == 303);
    answered_at_last(|| server.get("/oauth2/jwks").send()).expect(200);
    server.origin.kill();
    // By the cache alone: nobody else is there who knows.
    until("the twin finds the clients", || at_twin(&begin).status == 303);
    until("the twin finds the keys", || at_twin("/oauth2/jwks").status == 200);
}

/// ED11: a revocation is seen at every isolate, whoever has asked it before: where the origin is asked,
/// at once; where the edge alone decides, within the five seconds of a status list and one fetch.
#[test]
fn a_revocation_is_seen_at_every_isolate() {
    let upstream = Scripted::start(|_, stream| reply(stream, "200 OK", &[], "hello"));
    let setting = format!(
        r#"[{{"prefix":"/api/up","url":"{}","audience":"https://api.example"}}]"#,
        upstream.url()
    );
    let twin = stack::free_port();
    let server = Server::start_tuned(
        |_| (),
        |edge| {
            edge.set("CADENCE_UPSTREAMS", &setting);
            edge.twin_at(twin);
        },
    );
    let _log = server.log_on_failure();
    let isolates = [server.url.clone(), server.edge.as_ref().unwrap().twin_url()];
    for _ in 0..3 {
        let tokens = WEB.tokens(&server, "openid profile");
        let ask = |url: &str, path: &str| {
            Request::new("GET", format!("{url}{path}")).bearer(&tokens.access).send()
        };
        for url in &isolates {
            answered_at_last(|| ask(url, "/oauth2/userinfo")).expect(200);
            answered_at_last(|| ask(url, "/api/up")).expect(200);
        }
        WEB.revoke(&server, &tokens.refresh).expect(200);
        let began = Instant::now();
        let mut refused = [false; 2];
        let look = |url: &str, refused: &mut bool| {
            let userinfo = || ask(url, "/oauth2/userinfo");
            answered_at_last(userinfo).refused(401, "invalid_token");
            let answer = ask(url, "/api/up");
            match answer.status {
                503 => is_unavailable(&answer),
                200 => assert!(!*refused, "it was refused before: {answer:?}"),
                _ => answer.refused(401, "invalid_token"),
            }
            *refused |= answer.status == 401;
        };
        for at in [0, 100, 1_000, 4_000] {
            std::thread::sleep(Duration::from_millis(at).saturating_sub(began.elapsed()));
            for (url, refused) in isolates.iter().zip(&mut refused) {
                look(url, refused);
            }
        }
        for (url, refused) in isolates.iter().zip(&mut refused) {
            let left = Duration::from_millis(6_500).saturating_sub(began.elapsed());
            until_within("the revocation is seen", left, || {
                look(url, refused);
                *refused
            });
        }
    }
}

/// ED13, JW25, F13: while the origin is away, a token is let through for as long as its status may be
/// known, and then nobody is let through and nobody is told no.
#[test]
fn beyond_its_bound_an_upstream_is_unavailable_and_never_guessed() {
    let upstream = Scripted::start(|_, stream| reply(stream, "200 OK", &[], "hello"));
    let setting = format!(
        r#"[{{"prefix":"/api/up","url":"{}","audience":"https://api.example"}}]"#,
        upstream.url()
    );
    let mut server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_UPSTREAMS", &setting));
    let tokens = WEB.tokens(&server, "openid");
    let other = WEB.tokens(&server, "openid");
    server.get("/api/up").bearer(&tokens.access).send().expect(200);
    server.origin.kill();
    let began = Instant::now();
    let mut last_good = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(22) {
        let asked = began.elapsed();
        let answer = server.get("/api/up").bearer(&tokens.access).send();
        match answer.status {
            200 => last_good = asked,
            _ => answer.refused(503, "temporarily_unavailable"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(last_good > Duration::from_secs(8), "an outage of seconds is not felt: {last_good:?}");
    assert!(last_good < Duration::from_millis(15_500), "{last_good:?}");
    // What is wrong in itself is still said to be wrong, and unknown keys are not guessed about.
    server.get("/api/up").bearer("a.b.c").send().refused(401, "invalid_token");
    server.get("/api/up").send().refused(401, "invalid_token");
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "nobody-knows-it" });
    let unknown = Thief::new().sign(&header, &jwt_part(&tokens.access, 1));
    server.get("/api/up").bearer(&unknown).send().refused(503, "temporarily_unavailable");
    server.origin.restart();
    until("it is back", || server.get("/api/up").bearer(&other.access).send().status == 200);
}

/// JW23: keys are rotated under load, and no token is refused for it.
#[test]
fn a_rotation_of_keys_refuses_nobody() {
    let upstream = Scripted::start(|_, stream| reply(stream, "200 OK", &[], "hello"));
    let setting = format!(
        r#"[{{"prefix":"/api/up","url":"{}","audience":"https://api.example"}}]"#,
        upstream.url()
    );
    let server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_UPSTREAMS", &setting));
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(&server, "openid");
    let kid = |access: &str| jwt_part(access, 0)["kid"].as_str().unwrap().to_owned();
    let before = kid(&tokens.access);
    server.get("/oauth2/jwks").send().expect(200);
    // The keys of the edge are older than the pause between two questions for new ones, as they
    // are in all but the first seconds of an isolate.
    std::thread::sleep(Duration::from_secs(11));
    let tokens = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    server.cadence(&["key", "rotate", "--signs-in", "8"]);
    let (ended, seen) = (AtomicBool::new(false), Mutex::<BTreeMap<String, usize>>::default());
    let stalls = stack::Stalls::watch();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut tokens = WEB.tokens(&server, "openid");
                while !ended.load(Ordering::Relaxed) {
                    for path in ["/api/up", "/oauth2/userinfo", "/api/me"] {
                        let ask = || server.get(path).bearer(&tokens.access).send();
                        ask_through(&stalls, ask).expect(200);
                    }
                    *seen.lock().unwrap().entry(kid(&tokens.access)).or_default() += 1;
                    let refresh = || WEB.refresh(&server, &tokens.refresh);
                    tokens = Tokens::of(&ask_through(&stalls, refresh));
                }
            });
        }
        std::thread::sleep(Duration::from_secs(16));
        ended.store(true, Ordering::Relaxed);
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.values().all(|count| *count > 20) && seen.contains_key(&before), "{seen:?}");
    // A token of the key before is still good.
    server.get("/oauth2/userinfo").bearer(&tokens.access).send().expect(200);
}

/// A mixed load: what was asked, what came of it, and when the answer was 503.
struct Load<'s> {
    server: &'s Server,
    code: String,
    counts: Mutex<BTreeMap<(&'static str, String), usize>>,
    unavailable: Mutex<Vec<(Instant, Instant)>>,
}

impl Load<'_> {
    /// Asks, and asserts that the answer is one that an outage allows.
    fn ask(&self, what: &'static str, ask: impl FnOnce() -> Answer, allowed: &[&str]) -> Answer {
        let asked = Instant::now();
        let answer = ask();
        if is_outage(&answer) {
            self.unavailable.lock().unwrap().push((asked, Instant::now()));
        }
        let told = match answer.status {
            303 => {
                let told = crate::http::parse_query(
                    answer.location().split_once('?').map_or("", |(_, query)| query),
                );
                let error = told.get("error").cloned();
                format!("303 {}", error.unwrap_or_else(|| "on".to_owned()))
            }
            status if answer.is_html() => format!("{status} page"),
            status if status >= 400 => format!("{status} {}", answer.error()),
            status => status.to_string(),
        };
        assert!(allowed.contains(&told.as_str()), "{what}: {told} {answer:?}");
        *self.counts.lock().unwrap().entry((what, told)).or_default() += 1;
        answer
    }

    fn round(&self, browser: &mut Browser<'_>, tokens: &mut Tokens) {
        const AWAY: &str = "503 temporarily_unavailable";
        let server = self.server;
        let access = tokens.access.clone();
        let get = |path: &str| server.get(path).send();
        let with_token = |path: &str| server.get(path).bearer(&access).send();
        let query = WEB.authorization("openid profile").query();
        let url = format!("/oauth2/authorize?{query}");
        self.ask("authorize, nobody logged in", || get(&url), &["303 on"]);
        let allowed = ["303 on", "303 temporarily_unavailable"];
        self.ask("authorize, logged in", || browser.open(&url), &allowed);
        let bad = format!("/oauth2/authorize?{}", WEB.authorization("admin").query());
        self.ask("authorize, bad scope", || get(&bad), &["303 invalid_scope"]);
        for path in ["/oauth2/userinfo", "/api/me"] {
            self.ask(path, || with_token(path), &["200", AWAY]);
        }
        self.ask("upstream", || with_token("/api/up"), &["200", AWAY]);
        let forged = || server.get("/oauth2/userinfo").bearer("a.b.c").send();
        self.ask("userinfo, no token", forged, &["401 invalid_token"]);
        self.ask("refresh, forged", || WEB.refresh(server, "x"), &["400 invalid_grant"]);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", self.code.as_str()),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", &VERIFIER.replace('d', "e")),
        ];
        let redeem = || WEB.sign(server.post("/oauth2/token"), &form).send();
        self.ask("code, wrong verifier", redeem, &["400 invalid_grant"]);
        self.ask("introspect", || WEB.introspect(server, &access), &["200", AWAY]);
        self.ask("revoke nothing", || WEB.revoke(server, "x"), &["200", AWAY]);
        self.ask("keys", || get("/oauth2/jwks"), &["200"]);
        self.ask("discovery", || get("/.well-known/openid-configuration"), &["200"]);
        let refresh = || WEB.refresh(server, &tokens.refresh);
        let answer = self.ask("refresh", refresh, &["200", AWAY]);
        if answer.status == 200 {
            *tokens = Tokens::of(&answer);
        }
    }
}

/// The origin is away for a minute under a mixed load: every answer is one that an outage allows,
/// nobody is signed out by it, and everything goes on afterwards.
#[test]
fn a_minute_without_the_origin_says_no_to_nobody() {
    let upstream = Scripted::start(|_, stream| reply(stream, "200 OK", &[], "hello"));
    let setting = format!(
        r#"[{{"prefix":"/api/up","url":"{}","audience":"https://api.example"}}]"#,
        upstream.url()
    );
    let mut server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_UPSTREAMS", &setting));
    let mut tokens: Vec<Tokens> = (0..3).map(|_| WEB.tokens(&server, "openid profile")).collect();
    let code = WEB.code(&server, "openid");
    let cookies = server.alice().cookies().to_vec();
    let load = |server: &Server, tokens: &mut Vec<Tokens>, lasts: Duration| {
        let (counts, unavailable) = (Mutex::default(), Mutex::default());
        let load = Load { server, code: code.clone(), counts, unavailable };
        let began = Instant::now();
        std::thread::scope(|scope| {
            for tokens in tokens {
                scope.spawn(|| {
                    let mut browser = Browser::new(server);
                    browser.cookies_mut().clone_from(&cookies);
                    while began.elapsed() < lasts {
                        load.round(&mut browser, tokens);
                    }
                });
            }
        });
        (load.counts.into_inner().unwrap(), load.unavailable.into_inner().unwrap())
    };
    let stalls = stack::Stalls::watch();
    let (before, unavailable) = load(&server, &mut tokens, Duration::from_secs(2));
    assert!(unavailable.iter().all(|(from, to)| stalls.excuse(*from, *to)), "{before:?}");
    server.origin.kill();
    let (away, _) = load(&server, &mut tokens, Duration::from_mins(1));
    server.origin.restart();
    until("it is back", || WEB.introspect(&server, &tokens[0].access).status == 200);
    until("statuses are known again", || {
        server.get("/oauth2/userinfo").bearer(&tokens[0].access).send().status != 503
    });
    // The access tokens may have been replaced by a refresh whose answer was lost: all go on.
    for tokens in &mut tokens {
        *tokens = refreshes_at_last(&server, &tokens.refresh);
    }
    let (after, unavailable) = load(&server, &mut tokens, Duration::from_secs(2));
    assert!(unavailable.iter().all(|(from, to)| stalls.excuse(*from, *to)), "{after:?}");
    own_tokens(&server, ALICE, ALICES_PASSWORD).expect(200);
    println!("| asked while the origin was away | answered | times |\n|---|---|---|");
    for ((what, told), count) in &away {
        println!("| {what} | {told} | {count} |");
    }
}
