//! What must hold when processes die and stores are away.

use std::time::{Duration, Instant};

use stack::Stopwatch;

use crate::browser::Form;
use crate::drain::{DRAINED_IN, ENDED_IN};
use crate::http::{Answer, parse_query};
use crate::oauth::{
    ALICE, ALICES_PASSWORD, LATER_THAN_THE_GRACE, OWN, Tokens, VERIFIER, WEB, grant_is_dead,
    is_alive, is_dead, own_tokens,
};
use crate::outage::is_unavailable;
use crate::server::{Server, until};

/// F1: how soon the token endpoint says that Redis is away.
const TOLD_IN: Duration = Duration::from_secs(1);

/// Asserts that somebody who asks hears of the outage, and soon.
#[track_caller]
fn is_soon_unavailable(ask: impl FnOnce() -> Answer) {
    let began = Stopwatch::start();
    let answer = ask();
    let took = began.elapsed();
    is_unavailable(&answer);
    assert!(took < TOLD_IN, "{took:?}: {answer:?}");
}

fn survives_kill_9_of_the_origin(mut server: Server) {
    let tokens = WEB.tokens(&server, "openid");
    let killed_with_a_code = WEB.code(&server, "openid");
    let revoked = WEB.tokens(&server, "openid");
    WEB.revoke(&server, &revoked.refresh).expect(200);
    let rotated = WEB.tokens(&server, "openid");
    let successor = Tokens::of(&WEB.refresh(&server, &rotated.refresh));
    let newest = Tokens::of(&WEB.refresh(&server, &successor.refresh));

    server.origin.kill();
    server.origin.restart();

    is_alive(&server, &tokens.access);
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    is_alive(&server, &next.access);
    let session = server.alice().authorize(&WEB.authorization("openid").query());
    assert!(session.redirects_to(WEB.redirect_uri).contains_key("code"));
    Tokens::of(&WEB.redeem(&server, &killed_with_a_code));
    grant_is_dead(&server, &WEB, &revoked);
    // RT08: what was reused before the restart is reused after it.
    is_alive(&server, &newest.access);
    WEB.refresh(&server, &rotated.refresh).refused(400, "invalid_grant");
    grant_is_dead(&server, &WEB, &newest);
    WEB.redeem(&server, &killed_with_a_code).refused(400, "invalid_grant");
}

#[test]
fn sessions_and_tokens_survive_kill_9_of_the_origin_on_redis() {
    survives_kill_9_of_the_origin(Server::start_edge());
}

#[test]
fn sessions_and_tokens_survive_kill_9_of_the_origin_on_the_embedded_store() {
    survives_kill_9_of_the_origin(Server::start_embedded());
}

/// F1, RT08: an append-only file keeps what was acknowledged.
#[test]
fn sessions_and_tokens_survive_kill_9_of_redis() {
    let mut server = Server::start_origin();
    let tokens = WEB.tokens(&server, "openid");
    let revoked = WEB.tokens(&server, "openid");
    WEB.revoke(&server, &revoked.refresh).expect(200);
    let rotated = WEB.tokens(&server, "openid");
    let successor = Tokens::of(&WEB.refresh(&server, &rotated.refresh));
    let newest = Tokens::of(&WEB.refresh(&server, &successor.refresh));
    server.redis.as_mut().unwrap().kill();
    server.redis.as_mut().unwrap().restart();
    until("the origin has found Redis again", || {
        server.get("/oauth2/userinfo").bearer(&tokens.access).send().status == 200
    });
    WEB.refresh(&server, &tokens.refresh).expect(200);
    grant_is_dead(&server, &WEB, &revoked);
    // RT08: what was used up before the restart is used up after it.
    is_alive(&server, &newest.access);
    WEB.refresh(&server, &rotated.refresh).refused(400, "invalid_grant");
    grant_is_dead(&server, &WEB, &newest);
}

/// F1, RV09, IN09, PW13, BR: while Redis is away nobody is told no, and the token endpoint says soon
/// what is the matter.
fn without_redis_nobody_is_told_no(mut server: Server) {
    let tokens = WEB.tokens(&server, "openid");
    let code = WEB.code(&server, "openid");
    let mut anonymous = crate::browser::Browser::new(&server);
    let page = anonymous.authorize(&WEB.authorization("openid").query()).expect(200);
    let login = Form::of(&page).with("username", ALICE).with("password", ALICES_PASSWORD);
    let login = anonymous.unsent(&login);
    let login = login.header("cookie", &anonymous.cookie());
    let session = server.alice().cookies()[0].clone();
    let session = format!("{}={}", session.0, session.1);

    server.redis.as_mut().unwrap().kill();

    let began = Instant::now();
    is_soon_unavailable(|| WEB.refresh(&server, &tokens.refresh));
    is_soon_unavailable(|| WEB.redeem(&server, &code));
    is_soon_unavailable(|| own_tokens(&server, ALICE, ALICES_PASSWORD));
    is_unavailable(&WEB.revoke(&server, &tokens.refresh));
    is_unavailable(&WEB.revoke(&server, &tokens.access));
    is_unavailable(&WEB.introspect(&server, &tokens.access));
    for path in ["/oauth2/userinfo", "/api/me"] {
        is_unavailable(&server.get(path).bearer(&tokens.access).send());
    }
    is_unavailable(&server.request("DELETE", "/api/auth/logout").bearer(&tokens.access).send());
    let url = format!("/oauth2/authorize?{}", WEB.authorization("openid").query());
    let answer = server.get(&url).header("cookie", &session).send();
    let told = answer.redirects_to(WEB.redirect_uri);
    assert_eq!(told["error"], "temporarily_unavailable");
    assert_eq!((told["state"].as_str(), &told["iss"]), ("st-&=+%", &server.url));
    login.send().is_page(503);
    let logout = server.get("/oauth2/logout").header("cookie", &session).send();
    logout.is_page(503);
    assert!(logout.header("retry-after").is_some(), "{logout:?}");
    assert!(began.elapsed() < Duration::from_secs(13), "503s are quick: {:?}", began.elapsed());

    // What is wrong whatever the store says is still refused as such.
    WEB.refresh(&server, "x").refused(400, "invalid_grant");
    server.get("/oauth2/userinfo").bearer("a.b.c").send().refused(401, "invalid_token");
    let wrong = server.post("/oauth2/revoke").basic("web", "wrong").form(&[("token", "x")]).send();
    wrong.refused(401, "invalid_client");
    server.get("/oauth2/jwks").send().expect(200);
    server.get("/.well-known/openid-configuration").send().expect(200);
    server.get("/healthz").send().expect(200);
    server.get("/readyz").send().expect(503);

    server.redis.as_mut().unwrap().restart();
    until("the system is ready again", || server.get("/readyz").send().status == 200);
    until("statuses are known again", || {
        server.get("/oauth2/userinfo").bearer(&tokens.access).send().status != 503
    });
    is_alive(&server, &tokens.access);
    Tokens::of(&WEB.redeem(&server, &code));
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    WEB.revoke(&server, &next.refresh).expect(200);
    is_dead(&server, &next.access);
    own_tokens(&server, ALICE, ALICES_PASSWORD).expect(200);
}

#[test]
fn without_redis_nobody_is_told_no_through_the_edge() {
    without_redis_nobody_is_told_no(Server::start_edge());
}

#[test]
fn without_redis_nobody_is_told_no_at_the_origin() {
    without_redis_nobody_is_told_no(Server::start_origin());
}

/// F2: a Redis that hangs costs half a second, and what it does late hurts nobody.
#[test]
fn a_redis_that_hangs_is_given_up_in_time() {
    let server = Server::start_edge();
    let tokens = WEB.tokens(&server, "openid");
    let redis = server.redis.as_ref().unwrap();
    redis.signal(stack::Signal::STOP);
    let began = Stopwatch::start();
    is_unavailable(&WEB.refresh(&server, &tokens.refresh));
    is_unavailable(&server.get("/oauth2/userinfo").bearer(&tokens.access).send());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    redis.signal(stack::Signal::CONT);
    until("the system is ready again", || server.get("/readyz").send().status == 200);
    // The refresh may have happened: the answer was lost, and is given again.
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    until("statuses are known again", || {
        server.get("/oauth2/userinfo").bearer(&next.access).send().status != 503
    });
    is_alive(&server, &next.access);
    Tokens::of(&WEB.refresh(&server, &next.refresh));
}

/// F2, I3: what Redis carries out only when it wakes up, for a client that was told 503 and is in no
/// hurry to ask again, ends no session.
#[test]
fn a_refresh_that_redis_carries_out_too_late_ends_no_session() {
    let server = Server::start_origin();
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(&server, "openid");
    let redis = server.redis.as_ref().unwrap();
    redis.signal(stack::Signal::STOP);
    is_unavailable(&WEB.refresh(&server, &tokens.refresh));
    redis.signal(stack::Signal::CONT);
    std::thread::sleep(LATER_THAN_THE_GRACE);
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    is_alive(&server, &next.access);
    // It was told now, and is used up.
    WEB.refresh(&server, &next.refresh).expect(200);
    WEB.refresh(&server, &tokens.refresh).refused(400, "invalid_grant");
}

/// F5: a store that comes back empty logs people out; it revives nothing.
#[test]
fn an_emptied_redis_revives_nothing() {
    let server = Server::start_edge();
    let tokens = WEB.tokens(&server, "openid");
    let code = WEB.code(&server, "openid");
    let revoked = WEB.tokens(&server, "openid");
    WEB.revoke(&server, &revoked.refresh).expect(200);
    assert_eq!(server.redis.as_ref().unwrap().command(&["FLUSHALL"]), "+OK\r\n");
    for tokens in [&tokens, &revoked] {
        grant_is_dead(&server, &WEB, tokens);
    }
    WEB.redeem(&server, &code).refused(400, "invalid_grant");
    let page = server.alice().authorize(&WEB.authorization("openid").query()).expect(200);
    assert_eq!(Form::of(&page).action, "/oauth2/login");
    own_tokens(&server, ALICE, ALICES_PASSWORD).expect(200);
}

/// F13, ED13, ED14: without the origin the edge says no to what is wrong, and never to what may
/// be right.
#[test]
fn without_the_origin_the_edge_goes_on_as_far_as_it_can() {
    let mut server = Server::start_edge();
    let tokens = WEB.tokens(&server, "openid");
    let discovery = server.get("/.well-known/openid-configuration").send().expect(200);
    let jwks = server.get("/oauth2/jwks").send().expect(200);
    is_alive(&server, &tokens.access);
    let session = server.alice().cookies()[0].clone();
    let session = format!("{}={}", session.0, session.1);

    server.origin.kill();

    let again = server.get("/.well-known/openid-configuration").send().expect(200);
    assert_eq!(again.body, discovery.body);
    assert_eq!(server.get("/oauth2/jwks").send().expect(200).body, jwks.body);
    server.get("/healthz").send().expect(200);
    server.get("/readyz").send().expect(503);

    WEB.sign(server.post("/oauth2/token"), &[("grant_type", "implicit")])
        .send()
        .refused(400, "unsupported_grant_type");
    WEB.refresh(&server, "x").refused(400, "invalid_grant");
    let public = server.post("/oauth2/introspect").form(&[("client_id", "spa"), ("token", "x")]);
    public.send().refused(401, "invalid_client");
    server.get("/oauth2/userinfo").send().expect(401);
    server.get("/oauth2/userinfo").bearer("a.b.c").send().refused(401, "invalid_token");
    let bad = WEB.authorization("openid").with("redirect_uri", "https://evil.example/");
    server.get(&format!("/oauth2/authorize?{}", bad.query())).send().is_page(400);
    let bad = WEB.authorization("openid").with("response_type", "token");
    let answer = server.get(&format!("/oauth2/authorize?{}", bad.query())).send();
    assert_eq!(answer.redirects_to(WEB.redirect_uri)["error"], "unsupported_response_type");
    server.request("PUT", "/oauth2/token").send().expect(405);
    let preflight = server
        .request("OPTIONS", "/oauth2/token")
        .header("origin", "https://spa.example")
        .header("access-control-request-method", "POST")
        .send();
    let allowed = preflight.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://spa.example"));

    is_unavailable(&WEB.refresh(&server, &tokens.refresh));
    is_unavailable(&WEB.revoke(&server, &tokens.refresh));
    is_unavailable(&WEB.introspect(&server, &tokens.access));
    is_unavailable(&server.get("/oauth2/userinfo").bearer(&tokens.access).send());
    is_unavailable(&server.get("/api/me").bearer(&tokens.access).send());
    let good = format!("/oauth2/authorize?{}", WEB.authorization("openid").query());
    let answer = server.get(&good).header("cookie", &session).send();
    if answer.is_html() {
        answer.is_page(503);
    } else {
        let told = answer.redirects_to(WEB.redirect_uri);
        assert_eq!(told["error"], "temporarily_unavailable");
        assert_eq!(told["iss"], server.url);
    }
    server.get("/oauth2/logout").header("cookie", &session).send().is_page(503);

    server.origin.restart();
    is_alive(&server, &tokens.access);
    WEB.refresh(&server, &tokens.refresh).expect(200);
}

/// Asked to end, the origin ends by itself, and nothing is lost.
#[test]
fn an_origin_that_is_asked_to_end_ends() {
    let mut server = Server::start_embedded();
    let tokens = WEB.tokens(&server, "openid");
    server.origin.signal(stack::Signal::TERM);
    assert!(server.origin.ends_in() < DRAINED_IN + ENDED_IN);
    server.origin.restart();
    is_alive(&server, &tokens.access);
    WEB.refresh(&server, &tokens.refresh).expect(200);
}

/// ED15, F16: an origin that hangs is given up within the edge's deadline.
#[test]
fn an_origin_that_hangs_is_given_up_in_time() {
    let server = Server::start_edge();
    let tokens = WEB.tokens(&server, "openid");
    is_alive(&server, &tokens.access);
    server.origin.signal(stack::Signal::STOP);
    let ask = || server.get("/oauth2/userinfo").bearer(&tokens.access).send();
    crate::bad_origin::is_given_up_in_time(&server.url, 1, ask);
    server.origin.signal(stack::Signal::CONT);
    until("the origin answers again", || {
        server.get("/oauth2/userinfo").bearer(&tokens.access).send().status == 200
    });
}

/// Rows that a sign-in, a refresh and a wrong password leave.
const WRITTEN: [&str; 7] =
    ["session:", "session-grants:", "transaction:", "code:", "grant:", "jti:", "login-attempts:"];

/// G4, and the key table of the origin's store: rows are where it says, each with an end, and
/// nothing that is secret can be read from them, nor from any log.
#[test]
fn rows_are_where_the_key_table_says_and_hold_no_secret() {
    let server = Server::start_edge();
    let query = WEB.authorization("openid").query();
    let (browser, answer) =
        crate::oauth::sign_in(&server, &WEB.authorization("openid"), ALICE, ALICES_PASSWORD);
    let redeemed = parse_query(answer.location().split_once('?').unwrap().1)["code"].clone();
    let tokens = Tokens::of(&WEB.redeem(&server, &redeemed));
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    is_alive(&server, &next.access);
    let mut under_way = crate::browser::Browser::new(&server);
    under_way.authorize(&query);
    let code = WEB.code(&server, "openid");
    let own = Tokens::of(&own_tokens(&server, ALICE, ALICES_PASSWORD));
    own_tokens(&server, ALICE, "a-wrong-password").refused(400, "invalid_grant");
    OWN.refresh(&server, &own.refresh).expect(200);
    // Where secrets do not belong, and are sent nevertheless.
    let misplaced = format!("/oauth2/token?client_secret={}", WEB.secret.unwrap());
    server.post(&misplaced).form(&[]).send().expect(400);
    server.get(&format!("/oauth2/userinfo?access_token={}", next.access)).send();

    let mut secrets = vec![redeemed, code, "a-wrong-password".into(), VERIFIER.into()];
    secrets.extend([
        ALICES_PASSWORD.into(),
        WEB.secret.unwrap().into(),
        OWN.secret.unwrap().into(),
    ]);
    for tokens in [tokens, next, own] {
        secrets.extend([tokens.access, tokens.refresh, tokens.id]);
    }
    for cookies in [browser.cookies(), under_way.cookies()] {
        secrets.extend(cookies.iter().map(|(_, value)| value.clone()));
    }

    let redis = server.redis.as_ref().unwrap();
    let keys = strings(&redis.command(&["KEYS", "*"]));
    let mut dump = String::new();
    for key in &keys {
        assert!(
            [
                "cadence:session:{",
                "cadence:session-grants:{",
                "cadence:user-sessions:",
                "cadence:notices:{",
                "cadence:notice:{",
                "cadence:transaction:",
                "cadence:code:{",
                "cadence:grant:{",
                "cadence:jti:{",
                "cadence:login-attempts:",
                "cadence:status-lists:{",
                "cadence:status-list:{",
            ]
            .iter()
            .any(|prefix| key.starts_with(prefix)),
            "{key}"
        );
        let ttl = redis.command(&["TTL", key]);
        let ttl: i64 = ttl.trim().trim_start_matches(':').parse().unwrap();
        assert!(ttl > 0, "{key} has no end");
        let read: &[&str] = match redis.command(&["TYPE", key]).trim() {
            "+hash" => &["HGETALL", key],
            "+set" => &["SMEMBERS", key],
            "+zset" => &["ZRANGE", key, "0", "-1"],
            _ => &["GET", key],
        };
        dump.push_str(key);
        dump.push_str(&redis.command(read));
    }
    for prefix in WRITTEN {
        let prefix = format!("cadence:{prefix}");
        assert!(keys.iter().any(|key| key.starts_with(&prefix)), "{prefix} is missing: {keys:?}");
    }
    let edge = server.edge.as_ref().unwrap().log();
    for (place, text) in
        [("Redis", &dump), ("the origin's log", &server.origin.log()), ("the edge's log", &edge)]
    {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in {place}");
        }
    }
    // Redis's append-only file has the scripts' arguments, and every file of the data directory.
    for (file, bytes) in
        files(server.origin.data_dir()).into_iter().chain(files(redis.socket().parent().unwrap()))
    {
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {file}");
        }
    }
    let metrics = server.origin.metrics();
    assert!(
        metrics.lines().any(|line| {
            line.starts_with("cadence_http_requests_total{")
                && ["route=\"/oauth2/token\"", "method=\"POST\"", "status=\"200\""]
                    .iter()
                    .all(|label| line.contains(label))
        }),
        "{metrics}"
    );
}

/// The same for the embedded store's files.
#[test]
fn the_embedded_stores_files_hold_no_secret() {
    let server = Server::start_embedded();
    let code = WEB.code(&server, "openid");
    let tokens = WEB.tokens(&server, "openid");
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    let session = server.alice().cookies()[0].1.clone();
    for (file, bytes) in files(server.origin.data_dir()) {
        for secret in
            [&code, &tokens.access, &tokens.refresh, &next.access, &next.refresh, &session]
        {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {file}");
        }
    }
}

/// Reads the strings of an array in Redis's protocol.
fn strings(resp: &str) -> Vec<String> {
    resp.split("\r\n")
        .filter(|line| !line.is_empty() && !line.starts_with(['*', '$']))
        .map(str::to_owned)
        .collect()
}

fn files(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return files(&path);
            }
            std::fs::read(&path)
                .map(|bytes| vec![(path.display().to_string(), bytes)])
                .unwrap_or_default()
        })
        .collect()
}
