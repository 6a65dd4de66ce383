//! The servers that the suite talks to: real processes, started when a test first needs them and
//! shared by all tests of one process.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, OnceLock};
use std::time::{Duration, SystemTime};

use stack::{Backing, Edge, EdgeSettings, Front, Origin, OriginSettings, Redis, Stopwatch};

use crate::browser::Browser;
use crate::http::Request;
use crate::oauth::{ALICE, ALICES_PASSWORD, App, WEB};
use crate::secrets;

pub(crate) const EDGE_SECRET: &str = "an-edge-secret-of-the-suite-0123456789";

/// A whole system, as clients see it.
pub(crate) struct Server {
    /// Where clients begin; the issuer.
    pub(crate) url: String,
    pub(crate) redis: Option<Redis>,
    pub(crate) origin: Origin,
    pub(crate) edge: Option<Edge>,
    cookies_of_alice: Mutex<Option<Vec<(String, String)>>>,
}

impl Server {
    /// The edge, with an origin on Redis behind it.
    pub(crate) fn edge() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start_edge)
    }

    /// An origin on Redis, called directly.
    pub(crate) fn origin() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start_origin)
    }

    /// The edge, with an origin on the embedded store behind it.
    pub(crate) fn embedded() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start_embedded)
    }

    /// Starts what [`Server::edge`] is, for one test alone.
    pub(crate) fn start_edge() -> Self {
        Self::start(Backing::Redis, Front::Edge)
    }

    /// Starts what [`Server::origin`] is, for one test alone.
    pub(crate) fn start_origin() -> Self {
        Self::start(Backing::Redis, Front::Direct)
    }

    /// Starts what [`Server::embedded`] is, for one test alone.
    pub(crate) fn start_embedded() -> Self {
        Self::start(Backing::Embedded, Front::Edge)
    }

    /// Starts what [`Server::embedded`] is, as an environment of its own: with another edge secret
    /// than any other, and with the server secret that each origin generates for itself.
    pub(crate) fn start_environment(edge_secret: &str) -> Self {
        Self::start_with(Backing::Embedded, Front::Edge, edge_secret)
    }

    /// Starts what [`Server::edge`] is, with more settings of both halves.
    pub(crate) fn start_tuned(
        origin: impl FnOnce(&mut OriginSettings),
        edge: impl FnOnce(&mut EdgeSettings),
    ) -> Self {
        Self::start_whole(Backing::Redis, Front::Edge, EDGE_SECRET, origin, edge)
    }

    /// Starts what [`Server::edge`] or [`Server::origin`] is, on a Redis that the test itself starts at
    /// `redis_url`.
    pub(crate) fn start_on(
        redis_url: &str,
        front: Front,
        tune: impl FnOnce(&mut OriginSettings),
    ) -> Self {
        let tune = |origin: &mut OriginSettings| {
            origin.set("CADENCE_REDIS_URL", redis_url);
            tune(origin);
        };
        Self::start_whole(Backing::Embedded, front, EDGE_SECRET, tune, |_| ())
    }

    /// Starts what [`Server::edge`] or [`Server::embedded`] is, with an edge that believes
    /// `CF-Connecting-IP`: the test plays the platform, and comes from anywhere.
    pub(crate) fn start_anywhere(backing: Backing) -> Self {
        let trust = |edge: &mut EdgeSettings| edge.set("CADENCE_TRUST_CF_CONNECTING_IP", "true");
        Self::start_whole(backing, Front::Edge, EDGE_SECRET, |_| (), trust)
    }

    /// Starts a server whose origin logs whatever there is to log.
    pub(crate) fn start_that_logs_all(backing: Backing, front: Front) -> Self {
        let log_all = |origin: &mut OriginSettings| origin.set("CADENCE_LOG", "trace");
        Self::start_whole(backing, front, EDGE_SECRET, log_all, |_| ())
    }

    /// Starts what [`Server::embedded`] is, with more settings of the origin.
    pub(crate) fn start_embedded_tuned(origin: impl FnOnce(&mut OriginSettings)) -> Self {
        Self::start_whole(Backing::Embedded, Front::Edge, EDGE_SECRET, origin, |_| ())
    }

    /// Starts an origin on the embedded store, for an edge that the test itself starts at `url`.
    pub(crate) fn start_behind(url: &str) -> Self {
        Self::start_behind_with(url, Backing::Embedded, |_| ())
    }

    /// As [`Server::start_behind`], with a store and settings of the test's choice.
    pub(crate) fn start_behind_with(
        url: &str,
        backing: Backing,
        tune: impl FnOnce(&mut OriginSettings),
    ) -> Self {
        Self::start_at(url, stack::free_port(), backing, EDGE_SECRET, tune)
    }

    /// Starts what [`Server::origin`] is, with so many seconds to drain.
    pub(crate) fn start_at_drain(seconds: u64) -> Self {
        let tune = |origin: &mut OriginSettings| {
            origin.set("CADENCE_DRAIN_SECONDS", &seconds.to_string());
        };
        Self::start_whole(Backing::Redis, Front::Direct, EDGE_SECRET, tune, |_| ())
    }

    fn start(backing: Backing, front: Front) -> Self {
        Self::start_with(backing, front, EDGE_SECRET)
    }

    fn start_with(backing: Backing, front: Front, edge_secret: &str) -> Self {
        Self::start_whole(backing, front, edge_secret, |_| (), |_| ())
    }

    fn start_whole(
        backing: Backing,
        front: Front,
        edge_secret: &str,
        tune_origin: impl FnOnce(&mut OriginSettings),
        tune_edge: impl FnOnce(&mut EdgeSettings),
    ) -> Self {
        let (port, edge_port) = (stack::free_port(), stack::free_port());
        let url = match front {
            Front::Direct => format!("http://127.0.0.1:{port}"),
            Front::Edge => format!("http://127.0.0.1:{edge_port}"),
        };
        let mut server = Self::start_at(&url, port, backing, edge_secret, tune_origin);
        server.edge = (front == Front::Edge).then(|| {
            let artifacts = stack::artifacts();
            let mut settings = EdgeSettings::new(&artifacts.workerd, &artifacts.worker, edge_port);
            settings.set("CADENCE_ISSUER", &url);
            settings.set("CADENCE_ORIGIN_URL", &server.origin.url());
            settings.set("CADENCE_EDGE_SECRET", edge_secret);
            settings.set("CADENCE_CORS_ORIGINS", "https://settings.example");
            settings.set("CADENCE_BFF_CLIENT_ID", "demo-bff");
            settings.set("CADENCE_BFF_CLIENT_SECRET", "demo-bff-secret");
            tune_edge(&mut settings);
            Edge::start(settings)
        });
        server
    }

    /// Starts an origin with the clients and users of the suite, and no edge yet.
    fn start_at(
        url: &str,
        port: u16,
        backing: Backing,
        edge_secret: &str,
        tune: impl FnOnce(&mut OriginSettings),
    ) -> Self {
        keep_folders_together();
        let artifacts = stack::artifacts();
        let redis = (backing == Backing::Redis).then(|| Redis::start(artifacts));
        let mut settings = OriginSettings::new(&artifacts.cadence, url, port);
        settings.set("CADENCE_EDGE_SECRET", edge_secret);
        settings.set("CADENCE_CORS_ORIGINS", "https://settings.example");
        if let Some(redis) = &redis {
            settings.set("CADENCE_REDIS_URL", &redis.url());
        }
        tune(&mut settings);
        let origin = Origin::start(settings);
        origin.apply(&stack::root().join("examples/demo.toml"));
        origin.apply(&stack::root().join("tests/clients.toml"));
        let url = url.to_owned();
        Self { url, redis, origin, edge: None, cookies_of_alice: Mutex::default() }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    /// Returns a browser in which Alice is signed in, and has consented to what the usual clients
    /// ask for. All of them share one login: logging in is throttled by address.
    pub(crate) fn alice(&self) -> Browser<'_> {
        let mut browser = Browser::new(self);
        let mut known = self.cookies_of_alice.lock().unwrap();
        if known.is_none() {
            let query = WEB.authorization("openid profile email offline_access").query();
            browser.sign_in(&query, ALICE, ALICES_PASSWORD).redirects_to(WEB.redirect_uri);
            *known = Some(browser.cookies().to_vec());
        }
        *browser.cookies_mut() = known.iter().flatten().cloned().collect();
        browser
    }

    /// Registers a user with the password `a-passphrase-for-tests`; returns the username.
    pub(crate) fn new_user(&self, name: &str) -> String {
        let name = unique(name);
        self.apply(&format!(
            "[[users]]\nusername = \"{name}\"\nemail = \"{name}\"\n\
             password = \"a-passphrase-for-tests\"\n"
        ));
        name
    }

    /// Registers a confidential client like `web`, and waits until it is known everywhere.
    pub(crate) fn new_client(&self, name: &str) -> App {
        let app = self.register_client(name);
        self.wait_known(&app);
        app
    }

    /// Registers a confidential client like `web`, which nobody may know yet.
    pub(crate) fn register_client(&self, name: &str) -> App {
        let id: &'static str = unique(name).split('@').next().unwrap_or(name).to_owned().leak();
        let app = App {
            id,
            secret: Some("secret-of-a-new-client-0123456789"),
            redirect_uri: "https://new.example/cb",
        };
        self.apply(&format!(
            "[[clients]]\nclient_id = \"{id}\"\nclient_name = \"{id}\"\n\
             client_secret = \"secret-of-a-new-client-0123456789\"\n\
             token_endpoint_auth_method = \"client_secret_basic\"\n\
             grant_types = [\"authorization_code\", \"refresh_token\"]\n\
             redirect_uris = [\"https://new.example/cb\"]\nscope = \"openid profile email\"\n"
        ));
        app
    }

    /// Waits until a client is known: until a sign-in to it begins.
    #[track_caller]
    pub(crate) fn wait_known(&self, app: &App) {
        let url = format!("/oauth2/authorize?{}", app.authorization("openid").query());
        until("the client is known", || matches!(self.get(&url).send().status, 200 | 303));
    }

    /// Applies clients and users.
    pub(crate) fn apply(&self, toml: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.toml");
        std::fs::write(&file, toml).unwrap();
        self.origin.apply(&file);
    }

    /// Runs `cadence`, which must succeed.
    #[track_caller]
    pub(crate) fn cadence(&self, arguments: &[&str]) -> String {
        let output = self.try_cadence(arguments);
        assert!(output.status.success(), "cadence {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_cadence(&self, arguments: &[&str]) -> Output {
        self.origin.cadence(arguments)
    }

    /// Counts the requests that reached the origin on behalf of clients: the edge's own requests
    /// for clients, keys and status lists are not among them, nor are its reports.
    pub(crate) fn asked_of_origin(&self) -> u64 {
        let own = ["other", "/oauth2/jwks", "/oauth2/status/{list}"];
        self.origin.requests_where(|route| !own.contains(&route))
    }

    /// Prints what the processes have logged lately, if the test fails.
    pub(crate) fn log_on_failure(&self) -> LogOnFailure<'_> {
        LogOnFailure(self)
    }
}

/// A server of one test alone has kept every secret to itself.
impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            secrets::lie_nowhere(self);
        }
    }
}

/// Makes all temporary folders of this process lie in one, and removes those of processes that
/// have ended: shared servers live as long as their process, so nobody else does.
fn keep_folders_together() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        const PREFIX: &str = "cadence-e2e-";
        let base = std::env::temp_dir();
        for entry in std::fs::read_dir(&base).unwrap().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                // Another process may be doing the same.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let own = base.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&own).unwrap();
        tempfile::env::override_temp_dir(&own).unwrap();
    });
}

/// Makes a name that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}@example.test", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Waits for what other processes do in their own time.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    stack::wait_until(what, Duration::from_secs(20), holds);
}

/// Waits until something is so, as it must be whenever one asks later than `within` from now.
///
/// What counts is when one asked last in vain, and not when the answer came: a machine that is busy
/// makes that no later. Nor does the time count for which the machine stood still.
#[track_caller]
pub(crate) fn until_within(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let began = Stopwatch::start();
    let mut asked_in_vain = None;
    stack::wait_until(what, within + Duration::from_secs(20), || {
        let asked = began.elapsed();
        let holds = holds();
        if !holds {
            asked_in_vain = Some(asked);
        }
        holds
    });
    let is_in_time = asked_in_vain.is_none_or(|asked| asked < within);
    assert!(is_in_time, "{what}: not yet when asked after {asked_in_vain:?}");
}

/// Does once more what a machine that was too busy has kept from being judged: `None`.
#[track_caller]
pub(crate) fn in_time<T>(what: &str, mut act: impl FnMut() -> Option<T>) -> T {
    (0..5).find_map(|_| act()).unwrap_or_else(|| panic!("never in time: {what}"))
}

/// Returns the UNIX time, seconds.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Prints a server's log when it is dropped by a panic, and looks for secrets when all went well.
pub(crate) struct LogOnFailure<'s>(&'s Server);

impl Drop for LogOnFailure<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Other tests may go on with this server, and nobody may ever drop it.
            secrets::lie_nowhere(self.0);
            return;
        }
        let edge = self.0.edge.as_ref().map(Edge::log).unwrap_or_default();
        for (name, log) in [("origin", self.0.origin.log()), ("edge", edge)] {
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(25)..];
            eprintln!("--- {name}\n{}", last.join("\n"));
        }
    }
}
