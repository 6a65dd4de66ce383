//! F7, F2: Redis servers that evict rows, and what the operator hears of those that are away, or that
//! keep nothing.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use stack::{Front, Redis, RedisOptions};

use crate::oauth::{ALICE, ALICES_PASSWORD, WEB, own_tokens};
use crate::outage::is_unavailable;
use crate::server::{Server, until};

fn set(server: &Server, name: &str, value: &str) {
    let answer = server.redis.as_ref().unwrap().command(&["CONFIG", "SET", name, value]);
    assert_eq!(answer, "+OK\r\n");
}

fn ready(server: &Server) -> u16 {
    server.get("/readyz").send().status
}

/// Waits until the log says something, as it does just after others may notice it.
#[track_caller]
fn log_says(server: &Server, words: &str) {
    until(words, || server.origin.log().contains(words));
}

/// Starts `cadence serve`, which must end by itself, and returns how it does, and what it has
/// printed. When Redis is too late with its first answer it serves, and is started again.
fn serve_in_vain(server: &Server) -> (ExitStatus, String) {
    for _ in 0..5 {
        let printed = tempfile::NamedTempFile::new().unwrap();
        let mut command = server.origin.command();
        command.stdout(printed.reopen().unwrap()).stderr(printed.reopen().unwrap());
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        let (ended, told) = loop {
            let ended = child.try_wait().unwrap();
            let told = std::fs::read_to_string(printed.path()).unwrap();
            if ended.is_some() || is_late(&told) || began.elapsed() > stack::PATIENCE {
                break (ended, told);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let _ = child.kill();
        child.wait().unwrap();
        if let Some(status) = ended {
            return (status, told);
        }
        assert!(is_late(&told), "it serves: {told}");
    }
    panic!("Redis never answers in time");
}

fn is_late(told: &str) -> bool {
    told.contains("Redis does not answer")
}

/// F6, F7: with an eviction policy the origin does not start, and says why in one sentence.
#[test]
fn an_origin_does_not_start_on_a_server_that_evicts_rows() {
    let mut server = Server::start_origin();
    server.origin.kill();
    for policy in ["allkeys-lru", "volatile-lfu"] {
        set(&server, "maxmemory-policy", policy);
        let (status, told) = serve_in_vain(&server);
        assert!(!status.success(), "{told}");
        let sentence = format!("Redis has maxmemory-policy {policy}, under which");
        assert!(told.contains(&sentence) && told.contains("set noeviction"), "{told}");
    }
    set(&server, "maxmemory-policy", "noeviction");
    server.origin.restart();
    assert_eq!(ready(&server), 200);
}

/// F7: a policy that is changed later makes the origin unready. What was revoked stays so, whatever
/// rows are evicted.
#[test]
fn a_policy_that_evicts_makes_the_origin_unready_and_revives_nothing() {
    let server = Server::start_origin();
    let _log = server.log_on_failure();
    let revoked: Vec<_> = (0..20)
        .map(|_| {
            let tokens = WEB.tokens(&server, "openid");
            WEB.revoke(&server, &tokens.refresh).expect(200);
            tokens
        })
        .collect();
    let alive: Vec<_> = (0..20).map(|_| WEB.tokens(&server, "openid")).collect();
    set(&server, "maxmemory-policy", "allkeys-random");
    until("the origin is not ready", || ready(&server) == 503);
    log_says(&server, "maxmemory-policy allkeys-random");
    server.get("/healthz").send().expect(200);

    // Nobody is told that something is revoked while what was evicted cannot be found.
    is_unavailable(&WEB.revoke(&server, &alive[0].refresh));
    is_unavailable(&WEB.revoke(&server, &alive[1].access));
    for tokens in &alive[..2] {
        let answer = server.get("/oauth2/userinfo").bearer(&tokens.access).send();
        answer.refused(401, "invalid_token");
    }

    let redis = server.redis.as_ref().unwrap();
    until("rows are evicted", || {
        // Less and less: how much memory rows take is Redis's own business.
        let used: u64 = redis.info("memory", "used_memory").parse().unwrap();
        set(&server, "maxmemory", &(used - used / 50).to_string());
        redis.info("stats", "evicted_keys").parse::<u64>().unwrap() > 50
    });
    for tokens in &revoked {
        let answer = server.get("/oauth2/userinfo").bearer(&tokens.access).send();
        answer.refused(401, "invalid_token");
        WEB.refresh(&server, &tokens.refresh).refused(400, "invalid_grant");
    }
    let mut gone = 0;
    for tokens in &alive {
        let answer = server.get("/oauth2/userinfo").bearer(&tokens.access).send();
        assert!([200, 401].contains(&answer.status), "{answer:?}");
        gone += u32::from(answer.status == 401);
    }
    assert!(gone > 2, "rows of grants were among those evicted");

    set(&server, "maxmemory", "0");
    set(&server, "maxmemory-policy", "noeviction");
    until("the origin is ready again", || ready(&server) == 200);
    WEB.revoke(&server, &alive[0].refresh).expect(200);
    own_tokens(&server, ALICE, ALICES_PASSWORD).expect(200);
}

/// A server that would forget what was revoked is used, and the operator is told.
#[test]
fn a_server_without_an_append_only_file_is_warned_of() {
    let redis = Redis::start_with(RedisOptions::default().with(&["--appendonly", "no"]));
    let server = Server::start_on(&redis.url(), Front::Direct, |_| ());
    log_says(&server, "there is no append-only file");
    assert_eq!(ready(&server), 200);
}

/// F1, F2: the breaker opens, refuses at once, and closes; metrics and log tell of it.
#[test]
fn a_breaker_that_opens_is_seen_by_the_operator() {
    let mut server = Server::start_origin();
    let tokens = WEB.tokens(&server, "openid");
    let is_open = |server: &Server| {
        let metrics = server.origin.metrics();
        let gauge = metrics.lines().find(|line| line.starts_with("cadence_redis_breaker_open{"));
        gauge.unwrap_or_else(|| panic!("no gauge in {metrics}")).ends_with(" 1")
    };
    assert!(!is_open(&server));
    server.redis.as_mut().unwrap().kill();
    until("the breaker is open", || {
        is_unavailable(&server.get("/oauth2/userinfo").bearer(&tokens.access).send());
        is_open(&server)
    });
    log_says(&server, "Redis is away");
    server.redis.as_mut().unwrap().restart();
    until("the server is ready again", || ready(&server) == 200);
    until("the breaker is closed", || !is_open(&server));
    log_says(&server, "Redis is back");
}
