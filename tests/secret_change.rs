//! The secret of edge and origin is changed without refusing anybody: the new one becomes the second
//! everywhere, then the two change places, then the old one goes; one half is always a step ahead.

use crate::browser::{Browser, Form};
use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, WEB, is_alive};
use crate::server::{EDGE_SECRET, Server, until};

const NEW_SECRET: &str = "the-next-edge-secret-of-the-suite-0123456";

/// What one half has at one step: the secret, and the second one.
type Step = (&'static str, &'static str);

const STEPS: [Step; 4] =
    [(EDGE_SECRET, ""), (EDGE_SECRET, NEW_SECRET), (NEW_SECRET, EDGE_SECRET), (NEW_SECRET, "")];

fn step_edge(server: &mut Server, (secret, second): Step) {
    let edge = server.edge.as_mut().unwrap();
    edge.set("CADENCE_EDGE_SECRET", secret);
    edge.set("CADENCE_EDGE_SECRET_SECOND", second);
    edge.restart();
}

fn step_origin(server: &mut Server, (secret, second): Step) {
    server.origin.set("CADENCE_EDGE_SECRET", secret);
    if second.is_empty() {
        server.origin.unset("CADENCE_EDGE_SECRET_SECOND");
    } else {
        server.origin.set("CADENCE_EDGE_SECRET_SECOND", second);
    }
    server.origin.restart();
}

/// Everything that is under way at a step: it must be good after the next one.
struct UnderWay {
    code: String,
    refresh: String,
    /// The refresh token before that one, whose answer was lost.
    repeated: String,
    cookies: Vec<(String, String)>,
    form: Form,
}

impl UnderWay {
    fn begin(server: &Server) -> Self {
        let tokens = WEB.tokens(server, "openid profile");
        let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
        let mut browser = Browser::new(server);
        let page = browser.authorize(&WEB.authorization("openid").query()).expect(200);
        Self {
            code: WEB.code(server, "openid"),
            refresh: next.refresh,
            repeated: tokens.refresh,
            cookies: browser.cookies().to_vec(),
            form: Form::of(&page),
        }
    }

    fn go_on(self, server: &Server) {
        // The lost answer is given again, with the very same token.
        let again = Tokens::of(&WEB.refresh(server, &self.repeated));
        assert_eq!(again.refresh, self.refresh);
        let next = Tokens::of(&WEB.refresh(server, &self.refresh));
        is_alive(server, &next.access);
        Tokens::of(&WEB.redeem(server, &self.code));
        let mut browser = Browser::new(server);
        *browser.cookies_mut() = self.cookies;
        let form = self.form.with("username", ALICE).with("password", ALICES_PASSWORD);
        let mut answer = browser.submit(&form);
        answer = browser.follow(answer);
        if answer.is_html() {
            answer = browser.decide(&answer, "approve");
        }
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"), "{answer:?}");
    }
}

fn ready(server: &Server) {
    let url = format!("/oauth2/authorize?{}", WEB.authorization("openid").query());
    until("the edge is ready", || {
        // Connections to the one before may still be kept.
        server.get(&url).try_send().is_ok_and(|answer| answer.status == 303)
    });
}

#[test]
fn no_code_token_or_sign_in_is_refused_while_the_secret_is_changed() {
    let mut server = Server::start_edge();
    for steps in STEPS.windows(2) {
        for edge_first in [true, false] {
            let under_way = UnderWay::begin(&server);
            if edge_first {
                step_edge(&mut server, steps[1]);
            } else {
                step_origin(&mut server, steps[1]);
            }
            ready(&server);
            let _log = server.log_on_failure();
            under_way.go_on(&server);
        }
    }
    // What the old secret has made is nobody's now.
    let forged = crate::forge::refresh_token(crate::server::now() + 100, "web");
    WEB.refresh(&server, &forged).refused(400, "invalid_grant");
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    for (name, value, told) in [
        ("CADENCE_EDGE_SECRET_SECOND", "a second secret without a first one", "edge_secret_second"),
        ("CADENCE_REQUIRE_EDGE", "true", "require_edge"),
        ("CADENCE_REQUIRE_EDGE", "perhaps", "require_edge"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = crate::command_line::cadence(folder.path(), &[(name, value)], &["serve"]);
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(error.contains(told), "{name}: {error}");
    }
}
