//! `cargo xtask dev`: edge and origin with demo data, until Ctrl-C.

use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use stack::{Backing, Ending, Origin, OriginSettings, Process, Redis};

use crate::step::{Failed, cargo, root, run, step};
use crate::tools;
use crate::worker::{self, Build};

/// Where the edge listens, and the port in the development settings of `wrangler.toml`.
const EDGE_PORT: u16 = 8787;
const ORIGIN_PORT: u16 = 8888;
const ADMIN_PORT: u16 = 8889;
const ISSUER: &str = "http://localhost:8787";

/// The value in the development settings of `wrangler.toml`; the origin takes it on loopback only.
const EDGE_SECRET: &str = "development-only-edge-secret";

/// Sets everything up, runs it, and does not return before something ends.
///
/// Ctrl-C ends this process, and with it every process that it has started.
pub(crate) fn run_until_interrupted(backing: Backing) -> Result<(), Failed> {
    let began = Instant::now();
    tools::check()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    if backing == Backing::Redis {
        tools::debian("redis-server", "redis-server")?;
    }
    for (port, what) in
        [(EDGE_PORT, "edge"), (ORIGIN_PORT, "origin"), (ADMIN_PORT, "origin's admin")]
    {
        TcpListener::bind(("127.0.0.1", port)).map_err(|_| {
            Failed(format!("port {port} of 127.0.0.1, which the {what} listener needs, is taken"))
        })?;
    }
    worker::build(Build::Quick)?;
    step("build the origin", || run(&mut cargo(&["build", "--quiet", "--package", "origin"])))?;
    let data = root().join("cadence-data/dev");
    fs::create_dir_all(&data)?;
    let redis = match backing {
        Backing::Embedded => None,
        Backing::Redis => Some(step("start redis-server", || start_redis(&data))?),
    };
    let origin = step("start the origin, apply examples/demo.toml", || {
        Ok(start_origin(&data, redis.as_ref()))
    })?;
    let edge = step("start the edge in `wrangler dev`", || start_edge(&data))?;
    println!("{}", welcome(began.elapsed(), redis.as_ref(), &data));
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if !edge.runs() {
            return Err(Failed(format!("wrangler has ended:\n{}", tail(&edge.log()))));
        }
        if !origin.runs() {
            return Err(Failed(format!("the origin has ended:\n{}", tail(&origin.log()))));
        }
    }
}

fn start_redis(data: &Path) -> Result<Redis, Failed> {
    let folder = data.join("redis");
    fs::create_dir_all(&folder)?;
    Ok(Redis::start_in(Path::new("redis-server"), &folder))
}

fn start_origin(data: &Path, redis: Option<&Redis>) -> Origin {
    let binary = root().join("target/debug/cadence");
    let mut settings = OriginSettings::new(&binary, ISSUER, ORIGIN_PORT);
    settings.admin_at(ADMIN_PORT);
    settings.keep_in(&data.join("origin"));
    settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
    if let Some(redis) = redis {
        settings.set("CADENCE_REDIS_URL", &redis.url());
    }
    let origin = Origin::start(settings);
    origin.apply(&root().join("examples/demo.toml"));
    origin
}

fn start_edge(data: &Path) -> Result<Process, Failed> {
    let state = data.join("wrangler");
    let wrangler = root().join("node_modules/.bin/wrangler");
    let port = EDGE_PORT.to_string();
    let arguments = ["dev", "--port", &port, "--persist-to"].map(OsStr::new);
    let arguments: Vec<&OsStr> = arguments.into_iter().chain([state.as_os_str()]).collect();
    let environment = [("WRANGLER_SEND_METRICS", "false"), ("CI", "1"), ("NO_COLOR", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let log = data.join("wrangler.log");
    let _ = fs::remove_file(&log);
    let process =
        Process::start_in(&root(), &wrangler, &arguments, &environment, &log, Ending::Terminate);
    let began = Instant::now();
    while TcpStream::connect(("localhost", EDGE_PORT)).is_err() {
        if !process.runs() || began.elapsed() > Duration::from_secs(120) {
            return Err(Failed(format!("wrangler did not start:\n{}", tail(&process.log()))));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(process)
}

fn welcome(took: Duration, redis: Option<&Redis>, data: &Path) -> String {
    let rows = redis.map_or_else(String::new, |redis| {
        format!("  rows      redis-cli -s {} --scan\n", redis.socket().display())
    });
    format!(
        "
Cadence runs ({took:.1} s). Ctrl-C ends it.

  issuer    {ISSUER}
  discovery {ISSUER}/.well-known/openid-configuration
  origin    http://127.0.0.1:{ORIGIN_PORT}   metrics http://127.0.0.1:{ADMIN_PORT}/metrics
{rows}  logs      {logs}

  user      alice@example.test   password correct-horse-battery
  clients   demo-spa (public) · demo-web / demo-web-secret · demo-cli / demo-cli-secret

Sign in with a browser (the code arrives at http://127.0.0.1/callback, where nothing listens):

  {ISSUER}/oauth2/authorize?response_type=code&client_id=demo-web&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&scope=openid%20profile&state=demo&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256

Tokens for that code, within a minute (put it in place of CODE):

  curl -u demo-web:demo-web-secret -d grant_type=authorization_code -d code=CODE --data-urlencode redirect_uri=http://127.0.0.1/callback -d code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk {ISSUER}/oauth2/token

Or without a browser:

  curl -u demo-cli:demo-cli-secret -d grant_type=password -d username=alice@example.test -d password=correct-horse-battery -d scope='openid profile' {ISSUER}/oauth2/token
",
        took = took.as_secs_f64(),
        logs = data.join("wrangler.log").display(),
    )
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
