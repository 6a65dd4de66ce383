//! `cargo xtask dev`: edge, origin and an API behind them with demo data, until Ctrl-C.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use stack::{Backing, Ending, Origin, OriginSettings, Process, Redis};

use crate::step::{Failed, cargo, root, run, step};
use crate::worker::{self, Build};
use crate::{examples, tools};

/// Where the edge listens, and the port in the development settings of `wrangler.toml`.
const EDGE_PORT: u16 = 8787;
const ORIGIN_PORT: u16 = 8888;
const ADMIN_PORT: u16 = 8889;
/// Where the example API listens, and the upstream in the development settings.
const API_PORT: u16 = 9090;
/// Where the Nuxt application listens, and the port of its registered redirect URI.
const NUXT_PORT: u16 = 3000;
const ISSUER: &str = "http://localhost:8787";

/// The value in the development settings of `wrangler.toml`; the origin takes it on loopback only.
const EDGE_SECRET: &str = "development-only-edge-secret";

/// Sets everything up, runs it, and returns when Ctrl-C is pressed or a part ends by itself.
///
/// A guard beside each process ends it should this one go without a word (SIGKILL).
pub(crate) fn run_until_interrupted(backing: Backing) -> Result<(), Failed> {
    let began = Instant::now();
    tools::check()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    if backing == Backing::Redis {
        tools::debian("redis-server", "redis-server")?;
    }
    for (port, what) in [
        (EDGE_PORT, "edge"),
        (ORIGIN_PORT, "origin"),
        (ADMIN_PORT, "admin"),
        (API_PORT, "example API"),
        (NUXT_PORT, "Nuxt example"),
    ] {
        require_free(port, what)?;
    }
    worker::build(Build::Quick)?;
    examples::build_all()?;
    step("build the origin", || run(&mut cargo(&["build", "--package", "origin"])))?;
    step("build the example API", || run(&mut cargo(&["build", "--package", "example-api"])))?;
    let signals = Signals::watch()?;
    let data = root().join("cadence-data");
    let redis = match backing {
        Backing::Embedded => None,
        Backing::Redis => Some(step("start redis-server", || start_redis(&data))?),
    };
    let origin = step("start the origin, apply examples/demo.toml", || {
        Ok(start_origin(&data, redis.as_ref()))
    })?;
    let api = step("start the example API", || start_api(&data))?;
    let edge = step("start the edge in `wrangler dev`", || start_edge(&data, &signals))?;
    let nuxt = step("start the Nuxt application", || start_nuxt(&data, &signals))?;
    println!("{}", welcome(began.elapsed(), redis.as_ref(), &data));
    while !signals.came() {
        std::thread::sleep(Duration::from_millis(100));
        if !edge.runs() {
            return Err(ended("wrangler", &edge.log()));
        }
        if !origin.runs() {
            return Err(ended("the origin", &origin.log()));
        }
        if !api.runs() {
            return Err(ended("the example API", &api.log()));
        }
        if !nuxt.runs() {
            return Err(ended("the Nuxt application", &nuxt.log()));
        }
    }
    eprintln!();
    step("stop", || {
        drop(nuxt);
        drop(edge);
        drop(api);
        drop(origin);
        drop(redis);
        Ok(())
    })
}

/// Fails when somebody listens at a port already, by whatever address `localhost` may mean.
fn require_free(port: u16, what: &str) -> Result<(), Failed> {
    let listened_at = |host: &str| TcpStream::connect((host, port)).is_ok();
    if TcpListener::bind(("127.0.0.1", port)).is_ok() && !listened_at("::1") {
        return Ok(());
    }
    Err(Failed(format!("port {port}, which the {what} listener needs, is taken")))
}

/// SIGINT and SIGTERM, which no longer end this process by themselves.
struct Signals(Arc<AtomicBool>);

impl Signals {
    fn watch() -> Result<Self, Failed> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The second one ends this process at once; the guards see to the rest.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&came))?;
            signal_hook::flag::register(signal, Arc::clone(&came))?;
        }
        Ok(Self(came))
    }

    fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn start_redis(data: &Path) -> Result<Redis, Failed> {
    let folder = data.join("dev-redis");
    fs::create_dir_all(&folder)?;
    let program =
        tools::find("redis-server").ok_or(Failed("redis-server is missing".to_owned()))?;
    Ok(Redis::start_in(&program, &folder))
}

fn start_origin(data: &Path, redis: Option<&Redis>) -> Origin {
    let binary = root().join("target/debug/cadence");
    let mut settings = OriginSettings::new(&binary, ISSUER, ORIGIN_PORT);
    settings.admin_at(ADMIN_PORT);
    settings.keep_in(&data.join("dev"));
    settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
    if let Some(redis) = redis {
        settings.set("CADENCE_REDIS_URL", &redis.url());
    }
    let origin = Origin::start(settings);
    origin.apply(&root().join("examples/demo.toml"));
    origin
}

fn start_api(data: &Path) -> Result<Process, Failed> {
    let folder = data.join("dev-api");
    fs::create_dir_all(&folder)?;
    let log = folder.join("api.log");
    let _ = fs::remove_file(&log);
    let program = root().join("target/debug/example-api");
    Ok(stack::start_api(&program, ISSUER, API_PORT, &log))
}

fn start_edge(data: &Path, signals: &Signals) -> Result<Process, Failed> {
    let folder = data.join("dev-edge");
    fs::create_dir_all(&folder)?;
    let wrangler = root().join("node_modules/.bin/wrangler");
    let site = stack::site_dir();
    let arguments =
        [OsStr::new("dev"), OsStr::new("--assets"), site.as_os_str(), OsStr::new("--persist-to")];
    let arguments: Vec<&OsStr> = arguments.into_iter().chain([folder.as_os_str()]).collect();
    let environment = [("WRANGLER_SEND_METRICS", "false"), ("CI", "1"), ("NO_COLOR", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let log = folder.join("wrangler.log");
    let _ = fs::remove_file(&log);
    let process =
        Process::start_in(&root(), &wrangler, &arguments, &environment, &log, Ending::Terminate);
    until_it_answers(process, "wrangler", (EDGE_PORT, "/healthz"), signals)
}

fn start_nuxt(data: &Path, signals: &Signals) -> Result<Process, Failed> {
    let folder = data.join("dev-nuxt");
    fs::create_dir_all(&folder)?;
    let log = folder.join("nuxt.log");
    let _ = fs::remove_file(&log);
    let node = tools::find("node").ok_or(Failed("Node.js is missing".to_owned()))?;
    let environment = [("PORT", NUXT_PORT.to_string()), ("HOST", "localhost".to_owned())]
        .map(|(name, value)| (name.to_owned(), value));
    let server = stack::nuxt_server();
    let process = Process::start(&node, &[server.as_os_str()], &environment, &log, Ending::Kill);
    until_it_answers(process, "the Nuxt application", (NUXT_PORT, "/"), signals)
}

/// Waits until a process answers at a port and path.
fn until_it_answers(
    process: Process,
    what: &str,
    (port, path): (u16, &str),
    signals: &Signals,
) -> Result<Process, Failed> {
    let began = Instant::now();
    while !answers(port, path) {
        if signals.came() {
            return Err(Failed("interrupted".to_owned()));
        }
        if !process.runs() || began.elapsed() > Duration::from_mins(2) {
            return Err(Failed(format!("{what} did not start:\n{}", tail(&process.log()))));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(process)
}

/// Tells whether a path is answered with 200 at a port of `localhost`.
fn answers(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("localhost", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut line = [0; 12];
        stream.read_exact(&mut line)?;
        Ok(line == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn welcome(took: Duration, redis: Option<&Redis>, data: &Path) -> String {
    let rows = redis.map_or_else(String::new, |redis| {
        format!("  rows      redis-cli -s {} --scan\n", redis.socket().display())
    });
    format!(
        r#"
Cadence runs ({took:.1} s). Ctrl-C ends it.

Open {ISSUER}/ — from there, a click away: the playground, a single-page app with its tokens at the
edge, the same without, a Nuxt app (http://localhost:{NUXT_PORT}/), the account page.

  issuer    {ISSUER}
  discovery {ISSUER}/.well-known/openid-configuration
  origin    http://127.0.0.1:{ORIGIN_PORT}   metrics http://127.0.0.1:{ADMIN_PORT}/metrics
  API       {ISSUER}/api/notes (behind the edge)   http://127.0.0.1:{API_PORT}/api/notes (itself)
{rows}  logs      {logs}

  user      alice@example.test   password correct-horse-battery
  clients   demo-spa (public) · demo-web / demo-web-secret · demo-cli / demo-cli-secret

Sign in with a browser (the code arrives at http://127.0.0.1/callback, where nothing listens):

  {ISSUER}/oauth2/authorize?response_type=code&client_id=demo-web&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&scope=openid%20profile&state=demo&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256

Tokens for that code, within a minute (put it in place of CODE):

  curl -u demo-web:demo-web-secret -d grant_type=authorization_code -d code=CODE --data-urlencode redirect_uri=http://127.0.0.1/callback -d code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk {ISSUER}/oauth2/token

Or without a browser:

  curl -u demo-cli:demo-cli-secret -d grant_type=password -d username=alice@example.test -d password=correct-horse-battery -d scope=openid {ISSUER}/oauth2/token

A token for the example API (examples/api), and what it opens; add -d '{{"text":"milk"}}' and
-H 'Content-Type: application/json' for a note:

  TOKEN=$(curl -s -u demo-cli:demo-cli-secret -d grant_type=password -d username=alice@example.test -d password=correct-horse-battery -d 'scope=notes:read notes:write' {ISSUER}/oauth2/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -H "Authorization: Bearer $TOKEN" {ISSUER}/api/notes
  curl -N -H "Authorization: Bearer $TOKEN" {ISSUER}/api/notes/events
"#,
        took = took.as_secs_f64(),
        logs = format_args!(
            "{} (dev-edge/wrangler.log, dev-api/api.log, dev-nuxt/nuxt.log)",
            data.display()
        ),
    )
}

fn ended(what: &str, log: &str) -> Failed {
    Failed(format!("{what} has ended:\n{}", tail(log)))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
