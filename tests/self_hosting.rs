//! The edge outside Cloudflare: workerd with exactly the configuration of `examples/self-hosting`.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use stack::{Ending, Process};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, WEB, is_alive, is_dead};
use crate::outage::ask_through;
use crate::server::{EDGE_SECRET, Server, until};

/// Lays a folder out as docs/self-hosting.md says.
fn install(folder: &Path) -> PathBuf {
    stack::copy_folder(&stack::root().join("examples/self-hosting"), folder);
    stack::copy_folder(&stack::artifacts().worker, &folder.join("worker"));
    folder.join("edge.capnp")
}

fn settings(server: &Server) -> [(String, String); 4] {
    [
        ("CADENCE_ISSUER", server.url.as_str()),
        ("CADENCE_ORIGIN_URL", &server.origin.url()),
        ("CADENCE_EDGE_SECRET", EDGE_SECRET),
        ("CADENCE_TRUST_CF_CONNECTING_IP", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[test]
fn a_user_signs_in_and_the_client_refreshes() {
    let port = stack::free_port();
    let server = Server::start_behind(&format!("http://127.0.0.1:{port}"));
    let _log = server.log_on_failure();
    let folder = TempDir::new().unwrap();
    let config = install(folder.path());
    let address = format!("--socket-addr=http=127.0.0.1:{port}");
    let arguments = [OsStr::new("serve"), OsStr::new(&address), config.as_os_str()];
    let log = folder.path().join("workerd.log");
    let program = &stack::artifacts().workerd;
    let edge = Process::start(program, &arguments, &settings(&server), &log, Ending::Kill);
    until("workerd listens", || {
        assert!(edge.runs(), "workerd has ended:\n{}", edge.log());
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });

    let query = WEB.authorization("openid profile offline_access").query();
    let answer = Browser::new(&server).sign_in(&query, ALICE, ALICES_PASSWORD);
    let told = answer.redirects_to(WEB.redirect_uri);
    assert_eq!(told["iss"], server.url);
    let tokens = Tokens::of(&WEB.redeem(&server, &told["code"]));
    is_alive(&server, &tokens.access);
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    is_alive(&server, &next.access);
    WEB.revoke(&server, &next.refresh).expect(200);
    is_dead(&server, &next.access);

    // The edge keeps clients and keys: it goes on refusing without an origin.
    server.origin.signal(stack::Signal::STOP);
    WEB.refresh(&server, "x").refused(400, "invalid_grant");
    server.get("/oauth2/jwks").send().expect(200);
    server.origin.signal(stack::Signal::CONT);
    assert!(!edge.log().contains("Cache"), "the Cache API works: {}", edge.log());
}

/// A workerd on a socket that outlives it, as systemd hands it over.
struct OnSocket(Child);

impl OnSocket {
    fn start(config: &Path, server: &Server, socket: &TcpListener) -> Self {
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        // `timeout` ends it even if nobody is left to.
        let child = Command::new("timeout")
            .arg("60")
            .arg(&stack::artifacts().workerd)
            .args(["serve", "--socket-fd=http=0"])
            .arg(config)
            .envs(settings(server))
            .stdin(Stdio::from(socket))
            .spawn()
            .unwrap();
        Self(child)
    }

    fn terminate(&self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

impl Drop for OnSocket {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.terminate();
        }
        let _ = self.0.wait();
    }
}

/// Asks for what the client may not have, on a connection of its own.
fn ask_apart(server: &Server) -> Answer {
    let url = format!("{}/oauth2/token", server.url);
    let request = Request::new("POST", url).header("connection", "close");
    let form = [("grant_type", "password"), ("username", "x"), ("password", "x")];
    WEB.sign(request, &form).send()
}

/// While one workerd takes over from another, connections wait and requests are finished.
#[test]
fn an_upgrade_drops_no_request() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start_behind(&format!("http://{}", socket.local_addr().unwrap()));
    let _log = server.log_on_failure();
    let folder = TempDir::new().unwrap();
    let config = install(folder.path());
    let mut edge = OnSocket::start(&config, &server, &socket);
    server.get("/oauth2/jwks").send().expect(200);
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let stalls = stack::Stalls::watch();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let answer = ask_through(&stalls, || ask_apart(&server));
                        answer.refused(400, "unauthorized_client");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let go_on = || {
            let before = answered.load(Ordering::Relaxed);
            until("more requests are answered", || {
                clients.iter().any(ScopedJoinHandle::is_finished)
                    || answered.load(Ordering::Relaxed) > before + 100
            });
        };
        for _ in 0..3 {
            go_on();
            edge.terminate();
            until("the old one has ended", || matches!(edge.0.try_wait(), Ok(Some(_))));
            std::thread::sleep(Duration::from_millis(100));
            edge = OnSocket::start(&config, &server, &socket);
        }
        go_on();
        over.store(true, Ordering::Relaxed);
    });
}
