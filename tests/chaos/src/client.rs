//! Clients as state machines: each has a user, a browser and a grant, draws what it does next, and
//! asks again with the same when it does not know what came of a request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use stack::Seen;
use tokio::sync::{Semaphore, watch};

use crate::checker::REVOKED_AT_UPSTREAM_IN;
use crate::history::{Act, Answer, By, Event, History, Line, Told};
use crate::random::Random;
use crate::wire::{Door, Raw};

/// The client that the load is registered as: see `system`.
pub const CLIENT_ID: &str = "chaos";
/// Its secret.
pub const CLIENT_SECRET: &str = "chaos-secret-0123456789abcdef";
/// Where its users come back.
pub const REDIRECT_URI: &str = "https://chaos.example/cb";
/// The path of the API behind the gateway.
pub const UPSTREAM_PATH: &str = "/api/chaos";

/// The pair of RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// How long a client waits before it asks again.
pub const ASKS_AGAIN_IN: Duration = Duration::from_millis(400);

/// A user's name: `user-N@example.test`.
#[must_use]
pub fn username(user: u32) -> String {
    format!("user-{user}@example.test")
}

/// Every user's password.
pub const PASSWORD: &str = "a-passphrase-of-the-load";

/// Tokens that a client holds.
#[derive(Clone, Debug)]
struct Tokens {
    access: String,
    refresh: String,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    by: By,
    user: u32,
    door: Door,
    history: Arc<History>,
    random: Random,
    cookies: Vec<(String, String)>,
    tokens: Option<Tokens>,
    /// Access tokens that are revoked, and since when: an API is asked about them later.
    revoked: VecDeque<(Instant, String)>,
    pause: Duration,
    /// Whether it waits for its turn to have a password checked.
    in_turn: bool,
    ending: watch::Receiver<bool>,
}

/// How many passwords the load has checked at a time: each takes a core for a while, and the server
/// rightly refuses more than it can do in time. What happens then is F22.
static PASSWORDS: Semaphore = Semaphore::const_new(2);

impl Client {
    /// A client that pauses for `pause` on average between two things that it does.
    #[must_use]
    pub fn new(
        number: u32,
        user: u32,
        door: Door,
        history: Arc<History>,
        pause: Duration,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self {
            by: By::Client(number),
            user,
            door,
            history,
            random: Random::new(u64::from(number) + 1),
            cookies: Vec::new(),
            tokens: None,
            revoked: VecDeque::new(),
            pause,
            in_turn: true,
            ending,
        }
    }

    /// Has its password checked whenever it likes, however many others do.
    #[must_use]
    pub fn in_a_flood(self) -> Self {
        Self { in_turn: false, ..self }
    }

    /// Goes on until the load ends.
    pub async fn run(mut self) {
        while !self.is_ending() {
            self.step().await;
            self.go_on_as_a_thief().await;
            let pause = self.pause.mul_f64(0.5 + self.random.share());
            self.wait(pause).await;
        }
    }

    /// Signs in, and gets tokens.
    pub async fn begin(&mut self) {
        self.log_in().await;
        self.code_flow().await;
    }

    /// Returns its access token, if it has one.
    #[must_use]
    pub fn access_token(&self) -> Option<&str> {
        self.tokens.as_ref().map(|tokens| tokens.access.as_str())
    }

    async fn step(&mut self) {
        let drawn = self.random.below(100);
        if self.tokens.is_none() && drawn < 95 {
            return self.code_flow().await;
        }
        match drawn {
            0..40 => self.refresh().await,
            40..55 => self.look(Act::UserInfo).await,
            55..70 => self.look(Act::Upstream).await,
            70..85 => self.code_flow().await,
            85..90 => self.revoke().await,
            90..95 => self.look(Act::Introspect).await,
            _ => self.log_in().await,
        }
    }

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    async fn wait(&mut self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.ending.wait_for(|ending| *ending)).await;
    }

    /// Asks again and again until it is known what came of it; `None` when the load ends before.
    async fn ask_until_known(&mut self, act: Act) -> Option<Event> {
        loop {
            let event = self.ask(act.clone()).await;
            if event.failure().is_none() {
                return Some(event);
            }
            self.wait(ASKS_AGAIN_IN).await;
            if self.is_ending() {
                return None;
            }
        }
    }

    async fn refresh(&mut self) {
        let Some(tokens) = self.tokens.clone() else { return };
        let Some(event) = self.ask_until_known(Act::Refresh(tokens.refresh)).await else { return };
        self.keep_tokens(event.told());
    }

    fn keep_tokens(&mut self, told: Option<&Told>) {
        self.tokens = match told {
            Some(Told::Tokens { access, refresh }) => {
                Some(Tokens { access: access.clone(), refresh: refresh.clone() })
            }
            _ => None,
        };
    }

    async fn look(&mut self, act: impl FnOnce(String) -> Act) {
        let Some(tokens) = &self.tokens else { return };
        let event = self.ask(act(tokens.access.clone())).await;
        if matches!(event.told(), Some(Told::Error(_) | Told::Active(None)))
            && event.failure().is_none()
        {
            self.tokens = None;
        }
    }

    async fn revoke(&mut self) {
        let Some(tokens) = self.tokens.take() else { return };
        let act = if self.random.below(3) == 0 {
            Act::RevokeAccess(tokens.access.clone())
        } else {
            Act::RevokeGrant(tokens.refresh.clone())
        };
        let is_the_grant = matches!(act, Act::RevokeGrant(_));
        if self.ask_until_known(act).await.is_none() {
            return;
        }
        // A thief goes on with what was revoked.
        self.ask(Act::UserInfo(tokens.access.clone())).await;
        self.ask(Act::Introspect(tokens.access.clone())).await;
        if is_the_grant {
            self.ask(Act::Refresh(tokens.refresh)).await;
        }
        self.revoked.push_back((Instant::now(), tokens.access));
    }

    /// Asks the API behind the gateway about a token that it must know to be revoked by now.
    async fn go_on_as_a_thief(&mut self) {
        let bound = REVOKED_AT_UPSTREAM_IN + Duration::from_millis(500);
        if self.revoked.front().is_some_and(|(at, _)| at.elapsed() > bound)
            && let Some((_, access)) = self.revoked.pop_front()
        {
            self.ask(Act::Upstream(access)).await;
        }
    }

    async fn code_flow(&mut self) {
        if self.cookies.is_empty() {
            return self.log_in().await;
        }
        let Some(event) = self.ask_until_known(Act::Authorize).await else { return };
        match event.told() {
            Some(Told::Code(code)) => self.redeem(code.clone()).await,
            _ => self.cookies.clear(),
        }
    }

    /// Begins a grant that nobody goes on with, at the browser that it is signed in at: its first
    /// refresh is returned, or, of one that is not `redeemed`, the exchange of its code.
    pub async fn spare(&mut self, redeemed: bool) -> Option<Act> {
        if self.cookies.is_empty() {
            return None;
        }
        let event = self.ask_until_known(Act::Authorize).await?;
        let Some(Told::Code(code)) = event.told().cloned() else { return None };
        if !redeemed {
            return Some(Act::Redeem(code));
        }
        self.redeem(code).await;
        Some(Act::Refresh(self.tokens.take()?.refresh))
    }

    async fn redeem(&mut self, code: String) {
        let Some(event) = self.ask_until_known(Act::Redeem(code)).await else { return };
        self.keep_tokens(event.told());
    }

    /// Signs in at a new browser.
    async fn log_in(&mut self) {
        self.cookies.clear();
        let Some(page) = self.ask_until_known(Act::Begin).await else { return };
        if !matches!(page.told(), Some(Told::LoginPage(_))) {
            return;
        }
        let mut told = page.told().cloned();
        for _ in 0..20 {
            let act = match told {
                Some(Told::LoginPage(fields)) => Act::LogIn(fields),
                Some(Told::ConsentPage(fields)) => Act::Consent(fields),
                Some(Told::Code(code)) => return self.redeem(code).await,
                _ => break,
            };
            let event = match &act {
                Act::LogIn(_) if self.in_turn => {
                    let mut ending = self.ending.clone();
                    let turn = tokio::select! {
                        turn = PASSWORDS.acquire() => turn,
                        _ = ending.wait_for(|ending| *ending) => break,
                    };
                    let event = self.ask(act.clone()).await;
                    drop(turn);
                    event
                }
                _ => self.ask(act.clone()).await,
            };
            told = if matches!(event.told(), Some(Told::Unavailable)) {
                // The sign-in is over: the client has been told, and begins anew.
                break;
            } else if event.failure().is_some() {
                self.wait(ASKS_AGAIN_IN).await;
                if self.is_ending() {
                    break;
                }
                // The form is still there to be sent again.
                page_again(act)
            } else {
                event.told().cloned()
            };
        }
        self.cookies.clear();
    }

    /// Sends one request, and writes down what came of it.
    async fn ask(&mut self, act: Act) -> Event {
        let began = self.history.now();
        let answer = match self.send(&act).await {
            Ok((told, status, broke)) => Answer::Came { status, told, broke },
            Err(how) => Answer::Lost(how),
        };
        let ended = self.history.now();
        let event = Event { by: self.by, user: self.user, began, ended, act, answer };
        self.history.add(Line::Event(event.clone()));
        event
    }

    async fn send(&mut self, act: &Act) -> Result<(Told, u16, Option<String>), String> {
        match act {
            Act::Begin | Act::Authorize => {
                let path = format!("/oauth2/authorize?{}", authorization());
                self.browse(&path, None).await
            }
            Act::LogIn(fields) => {
                let name = username(self.user);
                let form = [
                    ("tx", &*fields.tx),
                    ("csrf", &*fields.csrf),
                    ("username", &*name),
                    ("password", PASSWORD),
                ];
                self.browse("/oauth2/login", Some(&form)).await
            }
            Act::Consent(fields) => {
                let form = [("tx", &*fields.tx), ("csrf", &*fields.csrf), ("decision", "approve")];
                self.browse("/oauth2/consent/decision", Some(&form)).await
            }
            act => call(&self.door, act).await,
        }
    }

    /// Opens a page, and goes on through redirects that stay at the server.
    async fn browse(
        &mut self,
        path: &str,
        form: Option<&[(&str, &str)]>,
    ) -> Result<(Told, u16, Option<String>), String> {
        let (mut path, mut form) = (path.to_owned(), form);
        let mut broke = None;
        for _ in 0..10 {
            let cookies: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut headers = vec![("origin", self.door.url().to_owned())];
            if !cookies.is_empty() {
                headers.push(("cookie", cookies.join("; ")));
            }
            let raw = self.door.send(&path, &headers, form).await?;
            let method = if form.is_some() { "POST" } else { "GET" };
            broke = broke.or(standing(method, &path, &raw));
            for cookie in raw.headers.get_all("set-cookie") {
                self.keep_cookie(cookie.to_str().unwrap_or_default());
            }
            let location = raw.headers.get("location").and_then(|it| it.to_str().ok());
            let Some(location) = location.filter(|_| matches!(raw.status, 302 | 303)) else {
                return Ok((page(&raw), raw.status, broke));
            };
            if let Some(query) = location.strip_prefix(REDIRECT_URI) {
                return Ok((come_back(query), raw.status, broke));
            }
            location.strip_prefix(self.door.url()).unwrap_or(location).clone_into(&mut path);
            form = None;
        }
        Err("redirects without end".to_owned())
    }

    fn keep_cookie(&mut self, set_cookie: &str) {
        let mut parts = set_cookie.split("; ");
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        self.cookies.retain(|(known, _)| known != name);
        if !parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0")) {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// Sends a request that needs no browser, and writes down what came of it.
pub async fn ask(door: &Door, history: &History, by: By, user: u32, act: Act) -> Event {
    let began = history.now();
    let answer = match call(door, &act).await {
        Ok((told, status, broke)) => Answer::Came { status, told, broke },
        Err(how) => Answer::Lost(how),
    };
    let event = Event { by, user, began, ended: history.now(), act, answer };
    history.add(Line::Event(event.clone()));
    event
}

/// Makes the page again that led to an act.
fn page_again(act: Act) -> Option<Told> {
    match act {
        Act::LogIn(fields) => Some(Told::LoginPage(fields)),
        Act::Consent(fields) => Some(Told::ConsentPage(fields)),
        _ => None,
    }
}

/// Sends a request that needs no browser.
///
/// # Errors
/// How the answer was lost.
pub async fn call(door: &Door, act: &Act) -> Result<(Told, u16, Option<String>), String> {
    let basic = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    let of_the_client = [("authorization", format!("Basic {basic}"))];
    let bearer = |token: &str| [("authorization", format!("Bearer {token}"))];
    let (path, raw) = match act {
        Act::Redeem(code) => {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", REDIRECT_URI),
                ("code_verifier", VERIFIER),
            ];
            ("/oauth2/token", door.send("/oauth2/token", &of_the_client, Some(&form)).await?)
        }
        Act::Refresh(token) => {
            let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
            ("/oauth2/token", door.send("/oauth2/token", &of_the_client, Some(&form)).await?)
        }
        Act::RevokeGrant(token) | Act::RevokeAccess(token) => {
            let form = [("token", &**token)];
            ("/oauth2/revoke", door.send("/oauth2/revoke", &of_the_client, Some(&form)).await?)
        }
        Act::Introspect(token) => {
            let form = [("token", &**token)];
            let path = "/oauth2/introspect";
            (path, door.send(path, &of_the_client, Some(&form)).await?)
        }
        Act::UserInfo(token) => {
            ("/oauth2/userinfo", door.send("/oauth2/userinfo", &bearer(token), None).await?)
        }
        Act::Upstream(token) => {
            (UPSTREAM_PATH, door.send(UPSTREAM_PATH, &bearer(token), None).await?)
        }
        Act::Begin | Act::Authorize | Act::LogIn(_) | Act::Consent(_) => {
            return Err("this needs a browser".to_owned());
        }
    };
    let method = if matches!(act, Act::UserInfo(_) | Act::Upstream(_)) { "GET" } else { "POST" };
    Ok((read(act, &raw), raw.status, standing(method, path, &raw)))
}

/// Reads what an answer to `act` tells.
fn read(act: &Act, raw: &Raw) -> Told {
    read_answer(act, raw.status, &raw.body)
}

/// Reads what a status and a body tell, as the answer to `act`.
#[must_use]
pub fn read_answer(act: &Act, status: u16, body: &str) -> Told {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    if status != 200 {
        return Told::Error(text("error"));
    }
    match act {
        Act::Redeem(_) | Act::Refresh(_) => {
            Told::Tokens { access: text("access_token"), refresh: text("refresh_token") }
        }
        Act::UserInfo(_) => Told::Subject(text("sub")),
        Act::Introspect(_) => {
            Told::Active((json["active"] == Value::Bool(true)).then(|| text("sub")))
        }
        _ => Told::Yes,
    }
}

/// Checks the standing assertions.
fn standing(method: &str, path: &str, raw: &Raw) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let Raw { status, headers, body } = raw;
    Seen { method, path, status: *status, headers, body }.check().err()
}

fn authorization() -> String {
    stack::query(&[
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid profile email"),
        ("state", "a-state"),
        ("nonce", "a-nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ])
}

/// Reads the parameters with which the browser comes back.
fn come_back(query: &str) -> Told {
    let pairs = query.trim_start_matches('?').split('&').filter_map(|it| it.split_once('='));
    let find = |name: &str| {
        pairs.clone().find(|(known, _)| *known == name).map(|(_, value)| stack::decode(value))
    };
    match (find("code"), find("error")) {
        (Some(code), _) => Told::Code(code),
        (None, Some(error)) if error == "temporarily_unavailable" => Told::Unavailable,
        (None, error) => Told::Error(error.unwrap_or_default()),
    }
}

/// Reads a page.
fn page(raw: &Raw) -> Told {
    let hidden = |name: &str| {
        let rest = raw.body.split_once(&format!("name=\"{name}\" value=\""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let fields = || Some(crate::history::Fields { tx: hidden("tx")?, csrf: hidden("csrf")? });
    let has = |action: &str| raw.body.contains(&format!("action=\"{action}\""));
    let told = match raw.status {
        200 if has("/oauth2/login") => fields().map(Told::LoginPage),
        200 if has("/oauth2/consent/decision") => fields().map(Told::ConsentPage),
        _ => None,
    };
    told.unwrap_or_else(|| Told::Error("a page".to_owned()))
}
