//! The backend-for-frontend's renewals: one, however many ask, and what an outage does to a session.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bff::{call, from_own_page, redis, row, row_of, signed_in};
use crate::browser::Browser;
use crate::http::Request;
use crate::oauth::{ALICE, ALICES_PASSWORD};
use crate::outage::{answered_at_last, is_unavailable};
use crate::server::{Server, until};
use crate::wire::at_once;

/// How often twenty tabs find out at the same moment that they need another token.
const ROUNDS: u64 = 50;

/// Makes the access token of a session due, and every isolate forget it.
fn make_due(server: &mut Server, row: &str) {
    redis(server, &["HSET", row, "renew_at", "1"]);
    server.edge.as_mut().unwrap().restart();
}

fn renewals(server: &Server, outcome: &str) -> u64 {
    server.origin.metric(&format!("cadence_bff_renewals_total{{outcome=\"{outcome}\"}}"))
}

/// BF09: however many ask, in however many isolates, the refresh token is used once, and the handle
/// stays what it was.
#[test]
fn twenty_tabs_renew_once() {
    let twin = stack::free_port();
    let mut server = Server::start_tuned(|_| (), |edge| edge.twin_at(twin));
    let browser = signed_in(&server);
    let row = row(&browser);
    let cookie = browser.cookie();
    drop(browser);
    let mut isolates = [server.url.clone(), server.edge.as_ref().unwrap().twin_url()];
    let mut was_unavailable = false;
    for round in 1..=ROUNDS {
        make_due(&mut server, &row);
        let _log = server.log_on_failure();
        // Another one is asked first.
        isolates.swap(0, 1);
        let ask = |tab: usize| {
            let url = format!("{}/bff/api/me", isolates[tab % 2]);
            from_own_page(Request::new("GET", url)).header("cookie", &cookie)
        };
        let tabs: Vec<Request> = (0..20).map(ask).collect();
        for (tab, mut answer) in at_once(&tabs).into_iter().enumerate() {
            if answer.status == 503 {
                is_unavailable(&answer);
                was_unavailable = true;
                answer = answered_at_last(|| ask(tab).send());
            }
            let answer = answer.expect(200);
            assert!(answer.headers("set-cookie").is_empty(), "the handle stays");
        }
        assert_eq!(renewals(&server, "renewed"), round);
    }
    assert_eq!(renewals(&server, "refused"), 0);
    // Somebody was told so.
    assert!(renewals(&server, "failed") == 0 || was_unavailable);
}

/// The same with twenty tabs of a real browser: each of them works, and none is signed out.
#[test]
fn twenty_tabs_of_a_browser_renew_once() {
    let mut server = Server::start_edge();
    let root = stack::root();
    let mut node = Command::new("node")
        .arg(root.join("tests/browser/tabs.mjs"))
        .args([&server.url, ALICE, ALICES_PASSWORD])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut output = BufReader::new(node.stdout.take().unwrap());
    let mut say = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("tabs.mjs said {line:?}"))
    };
    let handle = say()["handle"].as_str().unwrap().to_owned();
    make_due(&mut server, &row_of(&handle));
    let _log = server.log_on_failure();
    writeln!(node.stdin.as_mut().unwrap(), "go").unwrap();
    let told = say();
    assert!(node.wait().unwrap().success());
    assert_eq!(told["answers"], serde_json::json!(vec![200; 20]), "{told:#}");
    assert_eq!(told["handle"], handle, "the handle stays");
    assert_eq!(told["after"], serde_json::json!(vec![401; 20]), "one signs out, and all are");
    assert_eq!(renewals(&server, "renewed"), 1);
    assert_eq!(renewals(&server, "refused") + renewals(&server, "failed"), 0);
}

/// BF10: what is away ends no session; what is over does.
#[test]
fn an_outage_ends_no_session_and_a_revocation_does() {
    let mut server = Server::start_edge();
    let browser = signed_in(&server);
    let (row, cookies) = (row(&browser), browser.cookies().to_vec());
    drop(browser);
    let as_before = |server: &Server, method: &str, path: &str| {
        let mut browser = Browser::new(server);
        *browser.cookies_mut() = cookies.clone();
        call(&mut browser, server, method, path)
    };
    make_due(&mut server, &row);
    server.origin.kill();
    for (method, path) in [("GET", "/bff/session"), ("GET", "/bff/api/me"), ("POST", "/bff/logout")]
    {
        let answer = as_before(&server, method, path);
        answer.refused(503, "temporarily_unavailable");
        assert!(answer.headers("set-cookie").is_empty(), "the cookie stays: {answer:?}");
        assert!(answer.header("retry-after").is_some());
    }
    server.origin.restart();
    as_before(&server, "GET", "/bff/api/me").expect(200);
    assert_eq!(renewals(&server, "renewed"), 1);

    // Redis away in the middle of it.
    make_due(&mut server, &row);
    server.redis.as_ref().unwrap().signal(stack::Signal::STOP);
    as_before(&server, "GET", "/bff/session").refused(503, "temporarily_unavailable");
    server.redis.as_ref().unwrap().signal(stack::Signal::CONT);
    until("the session is back", || as_before(&server, "GET", "/bff/session").status == 200);

    // The grant goes: the session ends at the next question.
    let grant = redis(&server, &["HGET", &row, "grant_id"]);
    assert_eq!(redis(&server, &["DEL", &format!("cadence:grant:{{{grant}}}")]), ":1");
    make_due(&mut server, &row);
    let over = as_before(&server, "GET", "/bff/api/me");
    over.refused(401, "login_required");
    assert!(over.headers("set-cookie").is_empty(), "it may meet a newer cookie");
    assert_eq!(renewals(&server, "refused"), 1);
}

/// A renewal whose outcome was lost goes on from where it was, however late: nothing is presented
/// twice, and nobody is signed out.
#[test]
fn a_renewal_that_was_cut_short_is_resumed_after_the_grace() {
    let mut server = Server::start_edge();
    let browser = signed_in(&server);
    let (row, cookies) = (row(&browser), browser.cookies().to_vec());
    drop(browser);
    let fields = |server: &Server| -> Vec<String> {
        ["sealed", "renew_at"].map(|field| redis(server, &["HGET", &row, field])).to_vec()
    };
    let before = fields(&server);
    make_due(&mut server, &row);
    let ask = |server: &Server| {
        let mut browser = Browser::new(server);
        *browser.cookies_mut() = cookies.clone();
        call(&mut browser, server, "GET", "/bff/api/me")
    };
    ask(&server).expect(200);
    // As if the rotation had happened, and the answer to it had never been written down; again and
    // again, for each renewal begins where the one before was seen to have ended.
    let grant = format!("cadence:grant:{{{}}}", redis(&server, &["HGET", &row, "grant_id"]));
    let mut one_behind = before[0].clone();
    for renewed in 2..=4 {
        let newest = redis(&server, &["HGET", &row, "sealed"]);
        redis(&server, &["HSET", &row, "sealed", &one_behind, "renew_at", "1"]);
        redis(&server, &["HSET", &row, "renewal", "lost", "renewal_expires_at", "1"]);
        redis(&server, &["HSET", &grant, "rotated_at", "1"]);
        server.edge.as_mut().unwrap().restart();
        ask(&server).expect(200);
        assert_eq!(renewals(&server, "renewed"), renewed);
        assert_eq!(renewals(&server, "refused"), 0);
        one_behind = newest;
    }
}
