//! Writes every page, in every state, as an HTML file: `cargo run -p shared --example pages -- DIR`.

use std::path::PathBuf;
use std::{env, fs, io};

use shared::page::{
    BackLink, ConsentPage, ErrorKind, ErrorPage, FormTarget, LoginPage, LoginProblem, LogoutPage,
    Page, ScopeItem, SignedOutPage,
};

const LONG_NAME: &str = "The Quarterly Reconciliation Workbench of Donaudampfschifffahrtselektrizitätenhauptbetriebswerk";
const LONG_USER: &str =
    "bartholomew.featherstonehaugh-cholmondeley.the.third@subsidiary.holdings.example.test";

fn main() -> io::Result<()> {
    let dir = PathBuf::from(env::args().nth(1).ok_or_else(|| io::Error::other("give a folder"))?);
    fs::create_dir_all(&dir)?;
    for (name, Page { html, content_security_policy }) in pages() {
        // From a file there are no headers: the policy stands in the page instead.
        let meta = format!(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">",
            content_security_policy.replace("; frame-ancestors 'none'", "")
        );
        let html = html.replacen("<head>", &format!("<head>{meta}"), 1);
        fs::write(dir.join(name).with_extension("html"), html)?;
    }
    Ok(())
}

fn pages() -> Vec<(&'static str, Page)> {
    let targets: Vec<FormTarget> =
        FormTarget::parse("http://localhost:3000/callback").into_iter().collect();
    let login = LoginPage {
        client_name: "Harbor Notes",
        tx: "5f2c",
        csrf: "c5rf",
        username: "",
        problem: None,
        form_targets: &targets,
    };
    let again = LoginPage { username: "alice@example.test", ..login };
    let consent = ConsentPage {
        client_name: "Harbor Notes",
        user: "alice@example.test",
        redirect_host: "localhost:3000",
        scopes: &[
            ScopeItem { scope: "openid", already_granted: true },
            ScopeItem { scope: "email", already_granted: false },
            ScopeItem { scope: "offline_access", already_granted: false },
        ],
        tx: "5f2c",
        csrf: "c5rf",
        form_targets: &targets,
    };
    let long_scopes = ["openid", "profile", "email", "offline_access", "ledger:entries:write"]
        .map(|scope| ScopeItem { scope, already_granted: false });
    let long_consent = ConsentPage {
        client_name: LONG_NAME,
        user: LONG_USER,
        redirect_host: "workbench.reconciliation.subsidiary.holdings.example.test:8443",
        scopes: &long_scopes,
        ..consent
    };
    let error = ErrorPage {
        kind: ErrorKind::Expired,
        sentence: ErrorKind::Expired.sentence(),
        code: "invalid_request",
        request_id: "01935d4e-8a07-7c1f-b3a8-52c7d0a1f3e9",
        back: BackLink::parse("Harbor Notes", "http://localhost:3000/").ok(),
    };
    let bad_request = ErrorPage {
        kind: ErrorKind::BadRequest,
        sentence: ErrorKind::BadRequest.sentence(),
        back: None,
        ..error
    };
    let logout = LogoutPage {
        client_name: Some("Harbor Notes"),
        csrf: "c5rf",
        id_token_hint: None,
        post_logout_redirect_uri: Some("http://localhost:3000/"),
        state: None,
        client_id: Some("demo-web"),
        form_targets: &targets,
    };
    let wrong = LoginProblem::WrongCredentials;
    let throttled = LoginProblem::Throttled { retry_in: 300 };
    let missing = LoginProblem::Missing { username: true, password: true };
    vec![
        ("login", login.render()),
        ("login-wrong", LoginPage { problem: Some(wrong), ..again }.render()),
        ("login-throttled", LoginPage { problem: Some(throttled), ..again }.render()),
        ("login-missing", LoginPage { problem: Some(missing), ..login }.render()),
        (
            "login-unavailable",
            LoginPage { problem: Some(LoginProblem::Unavailable), ..again }.render(),
        ),
        ("login-long", LoginPage { client_name: LONG_NAME, username: LONG_USER, ..login }.render()),
        ("consent", consent.render()),
        ("consent-long", long_consent.render()),
        ("error", error.render()),
        ("error-bad-request", bad_request.render()),
        ("logout", logout.render()),
        ("signed-out", SignedOutPage { back: error.back }.render()),
    ]
}
