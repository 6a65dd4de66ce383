//! The npm clients `openid-client` and `oauth4webapi`, run by node.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::oauth::{App, RS256, SPA, WEB};
use crate::server::Server;

/// Runs a script of `tests/clients`: it says where to sign in, hears where the browser came back,
/// and says what it got.
#[track_caller]
fn run(server: &Server, script: &str, app: &App, arguments: &[&str]) -> Value {
    let root = stack::root();
    let mut node = Command::new("node")
        .arg(root.join("tests/clients").join(script))
        .args(arguments)
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut output = BufReader::new(node.stdout.take().unwrap());
    let mut say = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("{script} said {line:?}"))
    };
    let url = say()["url"].as_str().unwrap().to_owned();
    let query = url.strip_prefix(&format!("{}/oauth2/authorize?", server.url)).unwrap();
    let answer = server.alice().sign_in(query, "", "");
    assert!(answer.location().starts_with(app.redirect_uri), "{answer:?}");
    writeln!(node.stdin.as_mut().unwrap(), "{}", answer.location()).unwrap();
    let said = say();
    assert!(node.wait().unwrap().success());
    said
}

fn openid_client(server: &Server, app: &App, alg: &str) {
    let secret = app.secret.unwrap_or_default();
    let arguments = [&server.url, app.id, secret, app.redirect_uri, "openid email", alg];
    let said = run(server, "openid-client.mjs", app, &arguments);
    assert_eq!(said["claims"]["iss"], server.url);
    assert_eq!(said["claims"]["aud"], app.id);
    assert!(said["claims"]["at_hash"].is_string());
    assert_eq!(said["userinfo"]["sub"], said["claims"]["sub"]);
    assert_eq!(said["userinfo"]["email"], "alice@example.test");
    if app.secret.is_some() {
        assert_eq!(said["introspected"]["active"], true);
        assert_eq!(said["introspected"]["client_id"], app.id);
    }
    assert_ne!(said["tokens"]["access_token"], said["refreshed"]["access_token"]);
    assert_ne!(said["tokens"]["refresh_token"], said["refreshed"]["refresh_token"]);
    assert_eq!(said["refreshed_claims"]["sub"], said["claims"]["sub"]);
    assert_eq!(said["after"]["error"], "invalid_grant");
    assert_eq!(said["after"]["status"], 400);
}

scenarios! { everywhere:
    /// `openid-client` with a secret, ID tokens in ES256.
    fn openid_client_signs_in_refreshes_and_revokes(server) {
        openid_client(server, &WEB, "ES256");
    }

    /// `oauth4webapi` as a public client that checks `iss`.
    fn oauth4webapi_signs_in_refreshes_and_revokes(server) {
        let arguments = [&server.url, SPA.id, SPA.redirect_uri, "openid email"];
        let said = run(server, "oauth4webapi.mjs", &SPA, &arguments);
        assert_eq!(said["userinfo"]["sub"], said["claims"]["sub"]);
        assert_eq!(said["userinfo"]["email"], "alice@example.test");
        assert_eq!(said["refreshed"], true);
        let refused = said["without_iss"].as_str().unwrap();
        assert!(refused.contains("iss"), "{refused}");
        assert_eq!(said["after"], "invalid_token");
    }
}

scenarios! { doors:
    /// `openid-client` with a secret, ID tokens in RS256.
    fn openid_client_takes_rs256_id_tokens(server) {
        openid_client(server, &RS256, "RS256");
    }

    /// `openid-client` without a secret.
    fn openid_client_signs_in_as_a_public_client(server) {
        openid_client(server, &SPA, "ES256");
    }
}
