//! Environments: each has its own worker, secrets, keys and clients, and nothing of one is good in
//! another.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use stack::{Edge, EdgeSettings};
use tempfile::TempDir;

use crate::browser::{Browser, Form};
use crate::command_line::cadence;
use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, App, Tokens, VERIFIER, WEB, grant_is_dead, is_alive};
use crate::server::Server;

/// Runs `wrangler deploy --dry-run` for an environment, without network or account.
///
/// In place of the build there is a program that notes what it was asked for: the modules are there
/// already, and other tests are using them.
fn dry_run(environment: &str, folder: &Path) -> (Output, String) {
    let _ = stack::artifacts();
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    let cargo = programs.join("cargo");
    fs::write(&cargo, "#!/bin/sh\necho \"$@\" >>\"$CARGO_ASKED\"\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var_os("PATH").unwrap().display());
    let asked = folder.join("asked");
    let output = Command::new(stack::root().join("node_modules/.bin/wrangler"))
        .args(["deploy", "--dry-run", "--env", environment, "--outdir"])
        .arg(folder.join("out"))
        .current_dir(stack::root())
        .env_clear()
        .envs([("CI", "1"), ("NO_COLOR", "1"), ("WRANGLER_SEND_METRICS", "false")])
        .envs([("PATH", path.as_str()), ("HTTPS_PROXY", "http://127.0.0.1:9")])
        .env("HOME", folder)
        .env("CARGO_ASKED", &asked)
        .output()
        .unwrap();
    (output, fs::read_to_string(asked).unwrap_or_default())
}

#[track_caller]
fn deploys_with(environment: &str, variables: &[(&str, &str)]) {
    let folder = TempDir::new().unwrap();
    let (output, asked) = dry_run(environment, folder.path());
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(asked, "xtask worker --optimize\n");
    let bindings: Vec<&str> = told
        .lines()
        .filter_map(|line| {
            line.trim_end().strip_suffix("Environment Variable")?.strip_prefix("env.")
        })
        .collect();
    assert_eq!(bindings.len(), variables.len(), "{told}");
    for (name, value) in variables {
        let binding = format!("{name} (\"{value}\") ");
        assert!(bindings.iter().any(|line| line.starts_with(&binding)), "{binding}: {told}");
    }
    for of_development in ["development-only", "localhost", "127.0.0.1"] {
        assert!(!told.contains(of_development), "{told}");
    }
    for module in ["index.js", "edge_worker.js", "edge_worker_bg.wasm"] {
        assert!(folder.path().join("out").join(module).exists(), "{module}: {told}");
    }
}

#[test]
fn staging_can_be_deployed() {
    deploys_with(
        "staging",
        &[
            ("CADENCE_ISSUER", "https://staging.id.example.com"),
            ("CADENCE_ORIGIN_URL", "https://origin.staging.id.example.com"),
            ("CADENCE_CORS_ORIGINS", "https://staging.app.example.com"),
            ("CADENCE_UPSTREAMS", "[]"),
        ],
    );
}

#[test]
fn production_can_be_deployed() {
    deploys_with(
        "production",
        &[
            ("CADENCE_ISSUER", "https://id.example.com"),
            ("CADENCE_ORIGIN_URL", "https://origin.id.example.com"),
            ("CADENCE_CORS_ORIGINS", "https://app.example.com"),
            ("CADENCE_UPSTREAMS", "[]"),
        ],
    );
}

#[test]
fn the_clients_of_staging_can_be_applied() {
    let folder = TempDir::new().unwrap();
    let file = stack::root().join("examples/clients.staging.toml").display().to_string();
    let issuer = [("CADENCE_ISSUER", "https://staging.id.example.com")];
    let apply = || {
        let output = cadence(folder.path(), &issuer, &["apply", "-f", &file, "--format", "json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = apply();
    let rows: Vec<_> =
        first.as_array().unwrap().iter().map(|row| (&row["id"], &row["change"])).collect();
    assert_eq!(rows, [(&"app".into(), &"created".into()), (&"shop".into(), &"created".into())]);
    assert!(first[0]["client_secret"].is_null(), "a public client has none");
    assert!(first[1]["client_secret"].as_str().unwrap().len() >= 32);
    assert_eq!(apply()[1]["change"], "unchanged");
    assert_eq!(apply()[1]["client_secret"], Value::Null, "it is shown once");
}

#[test]
fn the_edge_secret_of_development_opens_no_real_issuer() {
    let artifacts = stack::artifacts();
    let port = stack::free_port();
    let mut settings = EdgeSettings::new(&artifacts.workerd, &artifacts.worker, port);
    settings.set("CADENCE_ISSUER", "https://id.example.com");
    settings.set("CADENCE_ORIGIN_URL", "http://127.0.0.1:1");
    settings.set("CADENCE_EDGE_SECRET", "development-only-edge-secret");
    let edge = Edge::start(settings);
    for path in ["/healthz", "/oauth2/jwks", "/.well-known/openid-configuration", "/oauth2/login"] {
        let answer = Request::new("GET", format!("{}{path}", edge.url())).send();
        answer.refused(503, "temporarily_unavailable");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let log = edge.log();
    assert!(log.contains("the setting CADENCE_EDGE_SECRET"), "{log}");
    assert!(!log.contains("development-only-edge-secret"), "{log}");
}

/// An environment, with its own secret for the client `web` that all of them have.
struct Environment {
    server: Server,
    web: App,
}

impl Environment {
    fn start(edge_secret: &str, client_secret: &'static str) -> Self {
        let server = Server::start_environment(edge_secret);
        let clients = fs::read_to_string(stack::root().join("tests/clients.toml")).unwrap();
        server.apply(&clients.replace("web-secret-0123456789", client_secret));
        Self { server, web: App { secret: Some(client_secret), ..WEB } }
    }

    /// The edge, and the origin behind it.
    fn doors(&self) -> [String; 2] {
        [self.server.url.clone(), self.server.origin.url()]
    }

    /// Sends a form at one door, as the client `web` of this environment.
    fn post(&self, door: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        self.web.sign(Request::new("POST", format!("{door}{path}")), form).send()
    }
}

fn pair() -> [Environment; 2] {
    [
        Environment::start("the edge secret of staging 0123456789", "the-secret-of-web-in-staging"),
        Environment::start(
            "the edge secret of production 012345",
            "the-secret-of-web-in-production",
        ),
    ]
}

/// Both ways: what one environment issued, and what the other says to it.
fn each_way(check: impl Fn(&Environment, &Environment)) {
    let [staging, production] = pair();
    let (_here, _there) = (staging.server.log_on_failure(), production.server.log_on_failure());
    check(&staging, &production);
    check(&production, &staging);
}

/// Bearer tokens, refresh tokens, codes and client secrets: refused with the error of a made-up one,
/// and none the worse for it where they belong.
#[test]
fn what_one_environment_issued_is_refused_by_another() {
    each_way(|home, away| {
        let tokens = home.web.tokens(&home.server, "openid profile");
        let code = home.web.code(&home.server, "openid");
        for door in &away.doors() {
            for path in ["/oauth2/userinfo", "/api/me"] {
                let answer =
                    Request::new("GET", format!("{door}{path}")).bearer(&tokens.access).send();
                answer.refused(401, "invalid_token");
                let challenge = answer.header("www-authenticate").unwrap_or_default();
                assert!(challenge.contains("error=\"invalid_token\""), "{answer:?}");
            }
            let told = away.post(door, "/oauth2/introspect", &[("token", &tokens.access)]);
            assert_eq!(told.expect(200).body, r#"{"active":false}"#);
            // RFC 7009 §2.2: nothing to revoke is no error.
            away.post(door, "/oauth2/revoke", &[("token", &tokens.access)]).expect(200);
            away.post(door, "/oauth2/revoke", &[("token", &tokens.refresh)]).expect(200);
            let refresh =
                [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
            away.post(door, "/oauth2/token", &refresh).refused(400, "invalid_grant");
            let redeem = [
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", WEB.redirect_uri),
                ("code_verifier", VERIFIER),
            ];
            away.post(door, "/oauth2/token", &redeem).refused(400, "invalid_grant");
            // The client's secret is that of its own environment.
            for path in ["/oauth2/revoke", "/oauth2/introspect"] {
                let request = Request::new("POST", format!("{door}{path}"));
                let answer = home.web.sign(request, &[("token", &tokens.access)]).send();
                answer.refused(401, "invalid_client");
                assert!(answer.header("www-authenticate").is_some(), "{answer:?}");
            }
        }
        is_alive(&home.server, &tokens.access);
        let next = Tokens::of(&home.web.refresh(&home.server, &tokens.refresh));
        Tokens::of(&home.web.redeem(&home.server, &code));
        home.web.revoke(&home.server, &next.refresh).expect(200);
        grant_is_dead(&home.server, &home.web, &next);
    });
}

/// The sealed cookie of a sign-in, the cookie of a login session, and an ID token as a hint.
#[test]
fn a_sign_in_of_one_environment_goes_nowhere_in_another() {
    each_way(|home, away| {
        let query = home.web.authorization("openid").query();
        let mut browser = Browser::new(&home.server);
        let page = browser.authorize(&query).expect(200);
        let form = Form::of(&page).with("username", ALICE).with("password", ALICES_PASSWORD);
        let fields: Vec<(&str, &str)> =
            form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let begun = browser.cookie();
        for door in &away.doors() {
            let login = format!("{door}/oauth2/login");
            let request = Request::new("POST", login.clone()).form(&fields);
            let request = request.header("origin", &away.server.url).header("cookie", &begun);
            request.send().is_page(400);
            let shown = format!("{login}?tx={}", form.field("tx"));
            Request::new("GET", shown).header("cookie", &begun).send().is_page(400);
        }
        let answer = browser.sign_in(&query, ALICE, ALICES_PASSWORD);
        let code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
        let tokens = Tokens::of(&home.web.redeem(&home.server, &code));

        let signed_in = browser.cookie();
        let mut other = away.server.alice();
        for door in &away.doors() {
            let authorize = format!("{door}/oauth2/authorize?{query}");
            let answer = Request::new("GET", authorize).header("cookie", &signed_in).send();
            assert!(answer.location().contains("/oauth2/login?tx="), "{answer:?}");
            // Whoever is signed in is asked, as without a hint, and stays signed in.
            let logout = format!("{door}/oauth2/logout?id_token_hint={}", tokens.id);
            let request = Request::new("GET", logout).header("cookie", &other.cookie());
            let page = request.send().expect(200);
            assert_eq!(Form::of(&page).action, "/oauth2/logout", "{page:?}");
        }
        let answer = other.authorize(&query);
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"), "{answer:?}");
    });
}
