//! The example applications, the playground and the account page in Chromium: driven as people would,
//! with JavaScript, against the worker in `wrangler dev` with the site of development before it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stack::{API_AUDIENCE, Ending, Process};
use tempfile::TempDir;

use crate::oauth::{ALICE, ALICES_PASSWORD};
use crate::server::{EDGE_SECRET, Server};

/// What `cargo xtask dev` runs: an origin, the example API, and the worker in `wrangler dev` with the
/// site before it.
struct Development {
    server: Server,
    wrangler: Process,
    _api: Process,
    folder: TempDir,
}

impl Development {
    fn start() -> Self {
        let _ = stack::artifacts();
        let (port, api_port) = (stack::free_port(), stack::free_port());
        // Every wrangler listens for debuggers, too: at the same port, unless it is told another.
        let inspector_port = stack::free_port().to_string();
        // By name, as people type it: pages of 127.0.0.1 would be another site.
        let url = format!("http://localhost:{port}");
        let server = Server::start_behind(&url);
        let demo = fs::read_to_string(stack::root().join("examples/demo.toml")).unwrap();
        server.apply(&demo.replace("http://localhost:8787", &url));
        let folder = TempDir::new().unwrap();
        let artifacts = stack::artifacts();
        let log = folder.path().join("api.log");
        let api = stack::start_api(&artifacts.example_api, &url, api_port, &log);
        let upstreams = json!([{
            "prefix": "/api/notes",
            "url": format!("http://127.0.0.1:{api_port}"),
            "scope": "notes:read",
            "audience": API_AUDIENCE,
        }]);
        let settings = [
            ("CADENCE_ISSUER", url.clone()),
            ("CADENCE_ORIGIN_URL", server.origin.url()),
            ("CADENCE_EDGE_SECRET", EDGE_SECRET.to_owned()),
            ("CADENCE_UPSTREAMS", upstreams.to_string()),
        ];
        let site = stack::site_dir().display().to_string();
        let state = folder.path().join("state").display().to_string();
        let mut arguments =
            ["dev", "--ip", "localhost", "--port", &port.to_string()].map(str::to_owned).to_vec();
        arguments.extend(["--inspector-port", &inspector_port].map(str::to_owned));
        arguments.extend(["--assets", &site, "--persist-to", &state].map(str::to_owned));
        for (name, value) in settings {
            arguments.extend(["--var".to_owned(), format!("{name}:{value}")]);
        }
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let environment = environment(folder.path());
        let wrangler = Process::start_in(
            &stack::root(),
            &stack::root().join("node_modules/.bin/wrangler"),
            &arguments,
            &environment,
            &folder.path().join("wrangler.log"),
            Ending::Terminate,
        );
        // What it says before it is ready is not the worker's: nothing is expected of it.
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        stack::wait_until("wrangler", stack::PATIENCE, || {
            assert!(wrangler.runs(), "wrangler has ended:\n{}", wrangler.log());
            let answer = client.get(format!("{url}/healthz")).send();
            answer.is_ok_and(|answer| answer.status() == 200)
        });
        Self { server, wrangler, _api: api, folder }
    }

    /// Runs a driver of `tests/browser`, which must succeed, and returns what it says.
    #[track_caller]
    fn drive(&self, driver: &str, base: &str) -> Value {
        assert!(
            Path::new("/usr/bin/chromium").exists(),
            "chromium is missing; `apt-get install chromium` brings it"
        );
        let root = stack::root();
        let screenshots = root.join("target/screenshots");
        let output = Command::new("node")
            .arg(root.join("tests/browser").join(driver))
            .args([base, &screenshots.display().to_string(), ALICE, ALICES_PASSWORD])
            .current_dir(&root)
            .stdin(Stdio::null())
            .output()
            .expect("node is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{driver}: {said}\n--- wrangler\n{}\n--- origin\n{}",
            tail(&self.wrangler.log()),
            tail(&self.server.origin.log())
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// What wrangler is told about its surroundings. In place of the build there is a program that does
/// nothing: the modules are there already, and other tests are using them.
fn environment(folder: &Path) -> Vec<(String, String)> {
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    let cargo = programs.join("cargo");
    fs::write(&cargo, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var_os("PATH").unwrap().display());
    [("CI", "1"), ("NO_COLOR", "1"), ("WRANGLER_SEND_METRICS", "false"), ("PATH", &path)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// The single-page app with its tokens at the edge, and its contrast: sign-in, notes, two tabs, an
/// outage, the end of a session; no token anywhere in the browser (BF02), axe without a complaint.
#[test]
fn the_single_page_app_is_used() {
    let development = Development::start();
    let told = development.drive("spa.mjs", &development.server.url);
    assert_eq!(told.as_array().unwrap().len(), 3, "light, dark and phone");
}

/// The playground, step by step, and the start page's links.
#[test]
fn the_playground_is_walked() {
    let development = Development::start();
    let told = development.drive("playground.mjs", &development.server.url);
    let walks = told.as_array().unwrap();
    assert_eq!(walks.len(), 4, "light, dark, phone, and what is refused");
    let url = &development.server.url;
    for walk in &walks[..3] {
        assert_eq!(walk["problems"], json!([]));
        assert_eq!(walk["statuses"]["oldAgain"], 400, "an old refresh token");
        assert_eq!(walk["statuses"]["accessTokenAfterReuse"], 401);
        for path in ["/spa/", "/playground/", "/account"] {
            let links = walk["links"].as_array().unwrap();
            assert!(links.contains(&json!(format!("{url}{path}"))), "{links:?}");
        }
    }
}

/// The Nuxt application, built and run: its own backend-for-frontend.
#[test]
fn the_nuxt_application_is_used() {
    let development = Development::start();
    let port = stack::free_port();
    let base = format!("http://127.0.0.1:{port}");
    let environment = [
        ("NUXT_ISSUER", development.server.url.clone()),
        ("NUXT_BASE_URL", base.clone()),
        // A token is due five seconds after it was issued.
        ("NUXT_RENEW_BEFORE", "300".to_owned()),
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", port.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let nuxt = Process::start(
        Path::new("/usr/bin/env"),
        &[OsStr::new("node"), stack::nuxt_server().as_os_str()],
        &environment,
        &development.folder.path().join("nuxt.log"),
        Ending::Kill,
    );
    stack::wait_until("the Nuxt application", Duration::from_secs(30), || {
        assert!(nuxt.runs(), "the Nuxt application has ended:\n{}", nuxt.log());
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let told = development.drive("nuxt.mjs", &base);
    for empty in ["problems", "violations", "leaks", "unseen"] {
        assert_eq!(told[empty], json!([]), "{empty}: {told:#}");
    }
    assert_eq!(told["landed"], "/notes");
    assert_eq!(told["asked"], "/oauth2/login");
    assert_eq!(told["note_in_first_html"], true);
    assert_eq!(told["note_without_javascript"], 1);
    assert_eq!(told["parallel"], json!({ "statuses": [200], "ends": 1, "renewed": true }));
    assert_eq!(told["still_signed_in"], 200);
    assert_eq!(told["copied_cookie"], 401);
    assert!(told["cookie"]["bytes"].as_u64().unwrap() < 4_096);
}
