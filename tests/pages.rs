//! The pages in a real browser: Chromium, JavaScript disabled.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::oauth::{ALICE, ALICES_PASSWORD};
use crate::server::Server;

/// The whole way of a person: wrong password, no, yes, remembered, error page, logout. Leaves a
/// screenshot of each page in `target/screenshots`.
#[test]
fn a_person_signs_in_with_chromium_and_no_javascript() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    assert!(
        std::path::Path::new("/usr/bin/chromium").exists(),
        "chromium is missing; `apt-get install chromium` brings it"
    );
    let root = stack::root();
    let screenshots = root.join("target/screenshots");
    let output = Command::new("node")
        .arg(root.join("tests/browser/pages.mjs"))
        .args([&server.url, &screenshots.display().to_string(), ALICE, ALICES_PASSWORD])
        .current_dir(&root)
        .output()
        .expect("node is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 3);
    for person in told {
        assert_eq!(person["problems"], serde_json::json!([]), "{person:#}");
        assert!(!person["alert"].as_str().unwrap().is_empty());
        assert_eq!(person["kept"], ALICE, "the username stays");
        assert_eq!(person["focusAtLogin"], "username");
        assert_eq!(person["focusAfterError"], "username", "the first field in error");
        assert_eq!(person["denied"]["error"], "access_denied");
        for back in ["denied", "approved", "remembered"] {
            assert_eq!(person[back]["state"], "state-of-the-app", "{back}");
            assert_eq!(person[back]["iss"], server.url, "{back}");
        }
        assert!(person["approved"]["code"].is_string());
        assert!(person["remembered"]["code"].is_string());
        assert_eq!(person["account"]["url"], format!("{}/account", server.url));
        assert!(!person["account"]["apps"].as_str().unwrap().is_empty(), "{person:#}");
        assert_eq!(person["error"]["status"], 400);
        assert!(person["heading"].as_str().unwrap().starts_with("Sign in to"), "signed out");
    }
}

/// Every page where a sign-in ends or goes wrong: its status, its heading, where it leads, and axe
/// without a complaint in the light, in the dark and on a phone.
#[test]
fn every_dead_end_says_what_happened_and_leads_on() {
    let mut server = Server::start_edge();
    let root = stack::root();
    let screenshots = root.join("target/screenshots").display().to_string();
    let mut node = Command::new("node")
        .arg(root.join("tests/browser/dead_ends.mjs"))
        .args([&server.url, &screenshots, ALICE, ALICES_PASSWORD])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut output = BufReader::new(node.stdout.take().unwrap());
    let mut say = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(say(), "ready\n");
    server.origin.kill();
    writeln!(node.stdin.as_mut().unwrap(), "go").unwrap();
    let said: Value = serde_json::from_str(&say()).unwrap();
    assert!(node.wait().unwrap().success());
    assert_eq!(said["problems"], serde_json::json!([]), "{said:#}");
    let mut pages: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for page in said["told"].as_array().unwrap() {
        pages.entry(page["what"].as_str().unwrap()).or_default().push(page);
    }
    let again = format!("{}/bff/login?return_to=", server.url);
    for (what, status, heading, leads_to) in [
        ("login", 200, "Sign in", ""),
        ("login-wrong", 400, "Sign in", ""),
        ("unknown-client", 400, "This link does not work", ""),
        ("foreign-redirect", 400, "This link does not work", ""),
        ("lost-transaction", 400, "This page has expired", "http://localhost:3000/"),
        ("lost-consent", 400, "This page has expired", "http://localhost:3000/"),
        ("bff-elsewhere", 400, "This link does not work", ""),
        ("bff-malformed", 400, "This link does not work", &again),
        ("bff-other-browser", 400, "This page has expired", &again),
        ("throttled", 429, "Sign in", ""),
        ("account", 200, "", ""),
        ("logout", 200, "", ""),
        ("away-account", 503, "We cannot do this right now", ""),
        ("away-logout", 503, "We cannot do this right now", ""),
        ("away-bff", 503, "We cannot do this right now", &again),
        ("away-login", 503, "We cannot do this right now", ""),
    ] {
        assert_eq!(pages[what].len(), 3, "{what}");
        for page in &pages[what] {
            assert_eq!(page["status"], status, "{page:#}");
            assert!(page["heading"].as_str().unwrap().starts_with(heading), "{page:#}");
            let links = page["links"].as_array().unwrap();
            let leads = links.iter().any(|link| link.as_str().unwrap().starts_with(leads_to));
            assert!(leads_to.is_empty() || leads, "{page:#}");
        }
    }
    assert_eq!(pages["consent"].len(), 3);
}
