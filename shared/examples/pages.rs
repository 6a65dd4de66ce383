//! Writes every page, in every state, as an HTML file: `cargo run -p shared --example pages -- DIR`.

use std::path::PathBuf;
use std::{env, fs, io};

use shared::page::{
    AccountPage, BackLink, ConsentItem, ConsentPage, ErrorKind, ErrorPage, FormTarget, LoginPage,
    LoginProblem, LogoutPage, Page, ScopeItem, SessionItem, SignedOutPage,
};
use shared::time::UnixTime;

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
    let account = account();
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
        ("account", account.render()),
        (
            "account-empty",
            AccountPage { consents: &[], name: None, email: None, ..account }.render(),
        ),
        (
            "account-long",
            AccountPage {
                username: LONG_USER,
                name: Some(LONG_NAME),
                sessions: &[SessionItem {
                    user_agent: Some(LONG_NAME),
                    apps: &[LONG_NAME, "Harbor Notes", LONG_NAME],
                    ..account.sessions[1]
                }],
                consents: &[ConsentItem { client_name: LONG_NAME, ..account.consents[0] }],
                more_sessions: 17,
                ..account
            }
            .render(),
        ),
        ("signed-out", SignedOutPage { back: error.back }.render()),
    ]
}

/// An account with two sessions and two consents.
fn account() -> AccountPage<'static> {
    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const SESSIONS: &[SessionItem<'static>] = &[
        SessionItem {
            sid: "AwMDAwMDAwMDAwMDAwMDAw",
            is_current: true,
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:138.0) Gecko Firefox/138.0"),
            address: Some("192.0.2.7"),
            auth_time: NOW.minus(7_200),
            used_at: NOW,
            apps: &["Harbor Notes", "Ledger"],
        },
        SessionItem {
            sid: "BAQEBAQEBAQEBAQEBAQEBA",
            is_current: false,
            user_agent: Some("Mozilla/5.0 (iPhone; CPU iPhone OS 18_4) Version/18.4 Safari/604.1"),
            address: Some("2001:db8:85a3:8d3:1319:8a2e:370:7348"),
            auth_time: NOW.minus(300_000),
            used_at: NOW.minus(10_000),
            apps: &["Harbor Notes"],
        },
        SessionItem {
            sid: "BQUFBQUFBQUFBQUFBQUFBQ",
            is_current: false,
            user_agent: Some("Kiosk/7 (lobby)"),
            address: None,
            auth_time: NOW.minus(90_000),
            used_at: NOW.minus(88_000),
            apps: &[],
        },
    ];
    const CONSENTS: &[ConsentItem<'static>] = &[
        ConsentItem {
            client_id: "harbor",
            client_name: "Harbor Notes",
            scopes: &["openid", "profile", "email", "offline_access"],
            since: NOW.minus(8_000_000),
        },
        ConsentItem {
            client_id: "ledger",
            client_name: "Ledger",
            scopes: &["openid", "ledger:entries:write"],
            since: NOW.minus(300_000),
        },
    ];
    AccountPage {
        username: "alice@example.test",
        name: Some("Alice Example"),
        email: Some("alice@mail.example.test"),
        sessions: SESSIONS,
        more_sessions: 0,
        consents: CONSENTS,
        csrf: "c5rf",
        now: NOW,
    }
}
