//! An operating system that has no randomness: nothing secret can be made, and nothing is.

use stack::Randomness;
use tempfile::TempDir;

use crate::browser::Browser;
use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, WEB, is_alive, own_tokens};
use crate::outage::{is_outage, is_unavailable};
use crate::server::{Server, until};

/// F26: whatever draws randomness is answered 503, by the same process, and whatever does not is answered
/// as ever; when there is randomness again, all goes on with what there was.
fn nobody_is_told_no_and_nothing_is_lost(server: &Server, randomness: &Randomness) {
    let _log = server.log_on_failure();
    let (tokens, code) = (WEB.tokens(server, "openid"), WEB.code(server, "openid"));
    let mut signed_in = server.alice();
    let query = WEB.authorization("openid").query();
    let pid = server.origin.pid();
    randomness.fail(true);
    for door in [&server.url, &server.origin.url()] {
        let at = |method: &str, path: &str| Request::new(method, format!("{door}{path}"));
        at("GET", "/healthz").send().expect(200);
        at("GET", "/oauth2/userinfo").bearer(&tokens.access).send().expect(200);
        let refresh = |token: &str| {
            let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
            WEB.sign(at("POST", "/oauth2/token"), &form).send()
        };
        is_unavailable(&refresh(&tokens.refresh));
        // What is wrong in itself is still refused.
        refresh("made-up").refused(400, "invalid_grant");
    }
    is_unavailable(&own_tokens(server, ALICE, ALICES_PASSWORD));
    let answer: Answer = signed_in.authorize(&query);
    assert!(is_outage(&answer), "{answer:?}");
    assert!(server.origin.runs() && server.origin.pid() == pid, "the process goes on");

    randomness.fail(false);
    is_alive(server, &tokens.access);
    let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
    is_alive(server, &next.access);
    is_alive(server, &Tokens::of(&WEB.redeem(server, &code)).access);
    until("somebody can sign in", || own_tokens(server, ALICE, ALICES_PASSWORD).status == 200);
    Browser::new(server).sign_in(&query, ALICE, ALICES_PASSWORD).redirects_to(WEB.redirect_uri);
}

#[test]
fn without_randomness_nobody_is_told_no() {
    let folder = TempDir::new().unwrap();
    let randomness = Randomness::new(folder.path());
    let server = Server::start_tuned(|origin| origin.draw_from(&randomness), |_| ());
    nobody_is_told_no_and_nothing_is_lost(&server, &randomness);
}

#[test]
fn without_randomness_nobody_is_told_no_on_the_embedded_store() {
    let folder = TempDir::new().unwrap();
    let randomness = Randomness::new(folder.path());
    let server = Server::start_embedded_tuned(|origin| origin.draw_from(&randomness));
    nobody_is_told_no_and_nothing_is_lost(&server, &randomness);
}
