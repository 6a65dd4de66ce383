//! F24: names under which Redis and the origin are found come to lead elsewhere, or nowhere.

use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stack::{Front, Redis, RedisOptions};
use tempfile::TempDir;

use crate::apart;
use crate::oauth::{Tokens, WEB, is_alive};
use crate::outage::{is_unavailable, refreshes_at_last};
use crate::server::{Server, until};

/// Where a name leads at first: not where the server listens.
const DETOUR: &str = "127.0.0.3";

/// How soon a name is followed. The origin looks it up whenever it connects, workerd when an attempt
/// to connect has failed: at an address where nobody listens that is at once.
const FOLLOWED_IN: Duration = Duration::from_secs(5);

/// Carries bytes from a port of [`DETOUR`] to the same port of 127.0.0.1, until it is dropped.
struct Detour {
    port: u16,
    has_ended: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepts: Option<JoinHandle<()>>,
}

impl Detour {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind((DETOUR, port)).unwrap();
        let (has_ended, streams) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (ends, open) = (Arc::clone(&has_ended), Arc::clone(&streams));
        let accepts = std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                open.lock().unwrap().extend([near, far]);
            }
        });
        Self { port, has_ended, streams, accepts: Some(accepts) }
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((DETOUR, self.port));
        let _ = self.accepts.take().unwrap().join();
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A file of names and addresses that one program alone reads in place of the system's.
struct Names {
    folder: TempDir,
}

impl Names {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }

    /// Makes `name` lead to `address`, or nowhere; returns since when.
    fn lead(&self, name: &str, address: Option<&str>) -> Instant {
        let line = address.map(|address| format!("{address} {name}\n")).unwrap_or_default();
        fs::write(self.file(), line).unwrap();
        Instant::now()
    }

    /// Makes the program that reads it.
    fn known_to(&self, program: &Path) -> PathBuf {
        let mount = format!("mount --bind \"{}\" /etc/hosts", self.file().display());
        apart::program(self.folder.path(), program, &mount)
    }
}

/// The origin follows the name of Redis to another address, without a restart; a name that leads
/// nowhere is an outage like another.
#[test]
fn the_name_of_redis_leads_elsewhere() {
    const NAME: &str = "redis.cadence.test";
    let port = stack::free_port();
    let redis = Redis::start_with(RedisOptions::default().at(port));
    let detour = Detour::start(port);
    let names = Names::new();
    names.lead(NAME, Some(DETOUR));
    let program = names.known_to(&stack::artifacts().cadence);
    let url = format!("redis://{NAME}:{port}");
    let server = Server::start_on(&url, Front::Direct, |origin| origin.run_by(&program));
    let _log = server.log_on_failure();
    let mut tokens = WEB.tokens(&server, "openid");

    let led_at = names.lead(NAME, Some("127.0.0.1"));
    drop(detour);
    goes_on(&server, &mut tokens, led_at);

    names.lead(NAME, None);
    assert!(redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).starts_with(':'));
    is_unavailable(&WEB.refresh(&server, &tokens.refresh));
    is_unavailable(&server.get("/oauth2/userinfo").bearer(&tokens.access).send());
    server.get("/healthz").send().expect(200);

    let led_at = names.lead(NAME, Some("127.0.0.1"));
    goes_on(&server, &mut tokens, led_at);
}

/// So does the edge with the name of the origin.
#[test]
fn the_name_of_the_origin_leads_elsewhere() {
    const NAME: &str = "origin.cadence.test";
    let names = Names::new();
    names.lead(NAME, Some(DETOUR));
    let program = names.known_to(&stack::artifacts().workerd);
    let mut server = Server::start_tuned(|_| (), |edge| edge.run_by(&program));
    let port = server.origin.port();
    let detour = Detour::start(port);
    let edge = server.edge.as_mut().unwrap();
    edge.set("CADENCE_ORIGIN_URL", &format!("http://{NAME}:{port}"));
    edge.restart();
    let mut tokens = WEB.tokens(&server, "openid");

    let led_at = names.lead(NAME, Some("127.0.0.1"));
    drop(detour);
    goes_on(&server, &mut tokens, led_at);

    names.lead(NAME, None);
    server.origin.restart();
    // workerd goes by what it has resolved until nobody has asked for five seconds.
    until("the address is forgotten", || {
        std::thread::sleep(Duration::from_secs(6));
        server.get("/oauth2/userinfo").bearer(&tokens.access).send().status == 503
    });
    is_unavailable(&WEB.refresh(&server, &tokens.refresh));
    is_unavailable(&server.get("/oauth2/userinfo").bearer(&tokens.access).send());

    let led_at = names.lead(NAME, Some("127.0.0.1"));
    goes_on(&server, &mut tokens, led_at);
}

/// Refreshes until it works, which must be soon after `led_at`, and looks at what it gets.
#[track_caller]
fn goes_on(server: &Server, tokens: &mut Tokens, led_at: Instant) {
    // It waits for longer than it may take, to say how long it took.
    *tokens = refreshes_at_last(server, &tokens.refresh);
    let took = led_at.elapsed();
    println!("the name was followed after {took:?}");
    assert!(took < FOLLOWED_IN, "the name was followed after {took:?}");
    is_alive(server, &tokens.access);
}
