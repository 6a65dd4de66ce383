//! An origin that is asked to end says so first, and loses nothing: rolling restarts.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stack::{Backing, Balancer, Edge, EdgeSettings, Origin, OriginSettings, Signal, Stalls};

use crate::http::{Answer, Request};
use crate::oauth::{OWN, Tokens, WEB, own_tokens};
use crate::outage::ask_through;
use crate::server::{EDGE_SECRET, Server, until};
use crate::wire::{self, Connection};

/// How long an origin takes to end when it takes no connections any more: ten seconds for requests that
/// are under way, and five for logout tokens.
pub(crate) const ENDED_IN: Duration = Duration::from_secs(15);

/// How long it takes connections before, where nobody says otherwise.
pub(crate) const DRAINED_IN: Duration = Duration::from_secs(6);

/// Two origins behind a balancer, and an edge before it.
struct Rolling {
    server: Server,
    second: Origin,
    balancer: Balancer,
}

impl Rolling {
    fn start(drain_seconds: u64) -> Self {
        let port = stack::free_port();
        let mut server = Server::start_behind_with(
            &format!("http://127.0.0.1:{port}"),
            Backing::Redis,
            |origin| origin.set("CADENCE_DRAIN_SECONDS", &drain_seconds.to_string()),
        );
        let artifacts = stack::artifacts();
        let mut settings = OriginSettings::new(&artifacts.cadence, &server.url, stack::free_port());
        settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
        settings.set("CADENCE_REDIS_URL", &server.redis.as_ref().unwrap().url());
        settings.set("CADENCE_DRAIN_SECONDS", &drain_seconds.to_string());
        settings.keep_in(server.origin.data_dir());
        let second = Origin::start(settings);
        let balancer = Balancer::start(&[server.origin.port(), second.port()]);
        let mut settings = EdgeSettings::new(&artifacts.workerd, &artifacts.worker, port);
        settings.set("CADENCE_ISSUER", &server.url);
        settings.set("CADENCE_ORIGIN_URL", &balancer.url());
        settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
        server.edge = Some(Edge::start(settings));
        Self { server, second, balancer }
    }

    /// Restarts one origin as whoever rolls a new version out does: asks it to end, waits until it
    /// has, starts it again, and goes on when it is in use.
    fn restart(&mut self, second: bool) {
        let origin = if second { &mut self.second } else { &mut self.server.origin };
        origin.signal(Signal::TERM);
        origin.wait_end();
        origin.restart();
        let port = origin.port();
        until("the balancer uses the origin again", || self.balancer.ready().contains(&port));
    }
}

/// A client that does one thing after the other, and expects each to succeed.
fn refreshes(url: &str, first: Tokens, ended: &AtomicBool, stalls: &Stalls) -> usize {
    let (mut tokens, mut requests) = (first, 0);
    while !ended.load(Ordering::Relaxed) {
        let userinfo = || {
            let request = Request::new("GET", format!("{url}/oauth2/userinfo"));
            request.bearer(&tokens.access).send()
        };
        ask_through(stalls, userinfo).expect(200);
        let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
        let refresh =
            || OWN.sign(Request::new("POST", format!("{url}/oauth2/token")), &form).send();
        let next = Tokens::of(&ask_through(stalls, refresh));
        assert_ne!(next.refresh, tokens.refresh);
        tokens = next;
        requests += 2;
        // It lasts, and other tests need the machine, too.
        std::thread::sleep(Duration::from_millis(20));
    }
    requests
}

/// F15: ten rounds, in which each of two origins is replaced under load: every request is answered
/// as if nothing were, and no refresh is lost.
#[test]
fn a_rolling_restart_of_two_origins_loses_nothing() {
    // Longer than workerd keeps a connection that is idle, five seconds: when the drain ends there is
    // none left that a request could be sent on just then.
    let mut rolling = Rolling::start(6);
    let url = rolling.server.url.clone();
    let names: Vec<String> = (0..6).map(|_| rolling.server.new_user("rolling")).collect();
    let ended = AtomicBool::new(false);
    let requests = Mutex::new(0);
    let stalls = Stalls::watch();
    std::thread::scope(|scope| {
        let clients: Vec<_> = names
            .iter()
            .map(|name| {
                let tokens =
                    Tokens::of(&own_tokens(&rolling.server, name, "a-passphrase-for-tests"));
                let (url, ended, requests, stalls) = (&url, &ended, &requests, &stalls);
                scope.spawn(move || {
                    let sent = refreshes(url, tokens, ended, stalls);
                    *requests.lock().unwrap() += sent;
                })
            })
            .collect();
        let stop = Stop(&ended);
        for round in 0..10 {
            rolling.restart(false);
            rolling.restart(true);
            assert!(clients.iter().all(|client| !client.is_finished()), "round {round}");
        }
        drop(stop);
    });
    let requests = requests.into_inner().unwrap();
    println!("{requests} requests during 20 restarts, all answered");
    assert!(requests > 200, "{requests}");
}

/// Ends the clients, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While an origin drains it is not ready, still answers, and ends each connection with its answer;
/// then nobody listens, and what was under way is finished.
#[test]
fn a_draining_origin_says_so_and_answers_what_comes() {
    let server = Server::start_at_drain(3);
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(&server, "openid");
    let userinfo = server.get("/oauth2/userinfo").bearer(&tokens.access);
    let whole = wire::bytes(&userinfo);
    let mut open = Connection::open(&server.url);
    open.write(&whole);
    let answer = open.read(&userinfo).expect(200);
    assert_eq!(answer.header("connection"), None);
    // The last byte of this one comes when the origin takes no connections any more.
    let mut slow = Connection::open(&server.url);
    slow.write(&whole[..whole.len() - 1]);

    let began = Instant::now();
    server.origin.signal(Signal::TERM);
    until("it is not ready", || server.get("/readyz").send().status == 503);
    let told = readiness(&server);
    assert_eq!((told.status, told.json()["process"].as_str()), (503, Some("ending")));
    server.get("/healthz").send().expect(200);
    for connection in [&mut open, &mut Connection::open(&server.url)] {
        connection.write(&whole);
        let answer = connection.read(&userinfo).expect(200);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.is_closed());
    }
    assert!(server.origin.runs());

    let port = server.origin.port();
    until("nobody listens", || TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(server.origin.runs(), "something is under way");
    slow.write(&whole[whole.len() - 1..]);
    slow.read(&userinfo).expect(200);
    assert!(server.origin.ends_in() < ENDED_IN);
}

/// A person who ends it does not wait, and neither does whoever asks twice.
#[test]
fn a_second_signal_ends_the_drain() {
    let server = Server::start_at_drain(300);
    server.origin.signal(Signal::INT);
    assert!(server.origin.ends_in() < ENDED_IN);
    let server = Server::start_at_drain(300);
    server.origin.signal(Signal::TERM);
    // Two signals that come together are one.
    until("it drains", || readiness(&server).json()["process"] == "ending");
    server.origin.signal(Signal::TERM);
    assert!(server.origin.ends_in() < ENDED_IN);
}

/// Asks the admin listener whether the origin is ready.
fn readiness(server: &Server) -> Answer {
    Request::new("GET", format!("{}/readyz", server.origin.admin_url())).send_elsewhere()
}
