//! The pages in a real browser: Chromium, JavaScript disabled.

use std::process::Command;

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
