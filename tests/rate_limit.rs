//! The platform's rate limiters, in `wrangler dev`, which has them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use stack::{Ending, Process};
use tempfile::TempDir;

use crate::browser::{Browser, Form};
use crate::oauth::{ALICE, SPA, WEB};
use crate::server::{EDGE_SECRET, Server};

/// Starts `wrangler dev` with the settings of development, for another port and origin.
fn wrangler_dev(server: &Server, port: u16, folder: &Path) -> Process {
    // The modules are there already: in place of their build there is a program that does nothing.
    let _ = stack::artifacts();
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    let cargo = programs.join("cargo");
    fs::write(&cargo, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var_os("PATH").unwrap().display());
    let arguments = [
        "dev".to_owned(),
        format!("--port={port}"),
        "--ip=127.0.0.1".to_owned(),
        format!("--persist-to={}", folder.join("state").display()),
        format!("--var=CADENCE_ISSUER:{}", server.url),
        format!("--var=CADENCE_ORIGIN_URL:{}", server.origin.url()),
        format!("--var=CADENCE_EDGE_SECRET:{EDGE_SECRET}"),
        "--inspector-port=0".to_owned(),
    ];
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let environment =
        [("WRANGLER_SEND_METRICS", "false"), ("CI", "1"), ("NO_COLOR", "1"), ("PATH", &path)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let program = stack::root().join("node_modules/.bin/wrangler");
    let log = folder.join("wrangler.log");
    Process::start_in(&stack::root(), &program, &arguments, &environment, &log, Ending::Terminate)
}

#[test]
fn who_sends_too_many_forms_or_token_requests_is_told_to_wait() {
    let port = stack::free_port();
    let server = Server::start_behind(&format!("http://127.0.0.1:{port}"));
    let _log = server.log_on_failure();
    let folder = TempDir::new().unwrap();
    let wrangler = wrangler_dev(&server, port, folder.path());
    stack::wait_until("wrangler to answer", stack::PATIENCE, || {
        assert!(wrangler.runs(), "wrangler has ended:\n{}", wrangler.log());
        server.get("/healthz").try_send().is_ok_and(|answer| answer.status == 200)
    });

    let mut browser = Browser::new(&server);
    let page = browser.authorize(&WEB.authorization("openid").query()).expect(200);
    let form = Form::of(&page).with("username", ALICE).with("password", "");
    let mut told = Vec::new();
    // The platform counts by the minute of the clock, and this may take place in two of them.
    for _ in 0..70 {
        told.push(browser.submit(&form));
    }
    let limited: Vec<_> = told.iter().filter(|answer| answer.status == 429).collect();
    assert!((10..=40).contains(&limited.len()), "{} of 70 were limited", limited.len());
    for answer in &limited {
        answer.is_page(429);
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    assert_eq!(told[0].status, 400, "the first ones are read: {:?}", told[0]);

    // A confidential client asks for all its users: it is not counted by its address.
    for _ in 0..310 {
        WEB.refresh(&server, "x").refused(400, "invalid_grant");
    }
    // Who is nobody in particular has a limit, of its own.
    let before = server.asked_of_origin();
    let mut limited = 0;
    for _ in 0..700 {
        let form = [("grant_type", "password"), ("username", "nobody"), ("password", "x")];
        let answer = SPA.sign(server.post("/oauth2/token"), &form).send();
        match answer.status {
            429 => {
                answer.refused(429, "temporarily_unavailable");
                assert_eq!(answer.header("retry-after"), Some("60"));
                limited += 1;
            }
            _ => answer.refused(400, "unauthorized_client"),
        }
    }
    assert!((100..=400).contains(&limited), "{limited} of 700 were limited");
    let reached = server.asked_of_origin() - before;
    assert_eq!(reached, 700 - limited, "the rest never reached the origin");

    // ED23: lists of statuses that nobody has heard of are asked of the origin only so often.
    let asked = || server.origin.requests(Some("/oauth2/status/{list}"));
    let (before, mut limited) = (asked(), 0);
    for number in 0..700 {
        let answer = server.get(&format!("/oauth2/status/{number:021}A")).send();
        match answer.status {
            429 => {
                answer.refused(429, "temporarily_unavailable");
                limited += 1;
            }
            _ => answer.refused(404, "invalid_request"),
        }
    }
    assert!((100..=400).contains(&limited), "{limited} of 700 were limited");
    assert_eq!(asked() - before, 700 - limited);
}
