//! The callers: what each connection asks, and what it makes of the answer.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::Range;

use shared::form::encode;
use shared::secret::{Sha256Digest, base64url};

use crate::load::{Answer, Caller, Failure};

/// `bench-web:bench-web-secret-0123456789` of `clients.toml`, as RFC 7617 writes it.
const WEB: &str = "Basic YmVuY2gtd2ViOmJlbmNoLXdlYi1zZWNyZXQtMDEyMzQ1Njc4OQ==";
/// `bench-cli:bench-cli-secret-0123456789`.
const CLI: &str = "Basic YmVuY2gtY2xpOmJlbmNoLWNsaS1zZWNyZXQtMDEyMzQ1Njc4OQ==";
const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// The verifier and challenge of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) const WITHOUT_ID_TOKEN: &str = "profile email";
pub(crate) const WITH_ID_TOKEN: &str = "openid profile email";

/// Tokens of one grant.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    fn of(answer: &Answer<'_>) -> Result<Self, Failure> {
        answer.expect(200)?;
        Ok(Self {
            access: answer.member("access_token")?.to_owned(),
            refresh: answer.member("refresh_token")?.to_owned(),
        })
    }
}

fn get(request: &mut String, target: &str, headers: &[(&str, &str)]) {
    let _ = write!(request, "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    request.push_str("\r\n");
}

fn post(request: &mut String, target: &str, headers: &[(&str, &str)], pairs: &[(&str, &str)]) {
    let body = encode(pairs.iter().copied());
    let _ = write!(request, "POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    let _ = write!(
        request,
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Asks the same again and again.
#[derive(Clone)]
pub(crate) struct Repeat {
    request: String,
    status: u16,
    left: usize,
}

impl Repeat {
    pub(crate) fn get(target: &str, status: u16) -> Self {
        let mut request = String::new();
        get(&mut request, target, &[]);
        Self { request, status, left: usize::MAX }
    }

    pub(crate) fn bearer(target: &str, token: &str, status: u16) -> Self {
        let mut request = String::new();
        get(&mut request, target, &[("Authorization", &format!("Bearer {token}"))]);
        Self { request, status, left: usize::MAX }
    }

    pub(crate) fn introspect(token: &str) -> Self {
        let mut request = String::new();
        post(&mut request, "/oauth2/introspect", &[("Authorization", WEB)], &[("token", token)]);
        Self { request, status: 200, left: usize::MAX }
    }

    /// Asks the ceiling for one row.
    pub(crate) fn look_up(token: &str) -> Self {
        let mut request = String::new();
        post(&mut request, "/get", &[("Authorization", WEB)], &[("token", token)]);
        Self { request, status: 200, left: usize::MAX }
    }

    /// Begins a sign-in without a login session.
    pub(crate) fn begin() -> Self {
        let mut request = String::new();
        get(&mut request, &authorize_target(WITH_ID_TOKEN), &[]);
        Self { request, status: 303, left: usize::MAX }
    }

    /// Presents a refresh token that is to be refused.
    pub(crate) fn refused(refresh_token: &str) -> Self {
        let mut request = String::new();
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        post(&mut request, "/oauth2/token", &[("Authorization", WEB)], &pairs);
        Self { request, status: 400, left: usize::MAX }
    }

    pub(crate) fn password() -> Self {
        let mut request = String::new();
        let pairs = [
            ("grant_type", "password"),
            ("username", "bench@example.test"),
            ("password", "correct-horse-battery"),
            ("scope", "profile email"),
        ];
        post(&mut request, "/oauth2/token", &[("Authorization", CLI)], &pairs);
        Self { request, status: 200, left: usize::MAX }
    }

    pub(crate) fn times(self, left: usize) -> Self {
        Self { left, ..self }
    }
}

impl Caller for Repeat {
    fn ask(&mut self, request: &mut String) -> bool {
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        request.push_str(&self.request);
        any
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        answer.expect(self.status)?;
        // Of a token that is not active, nothing but this is told.
        if answer.body == b"{\"active\":false}" {
            return Err("a token is not active".into());
        }
        Ok(true)
    }
}

/// Presents each of its access tokens once.
pub(crate) struct Present {
    pub(crate) target: &'static str,
    pub(crate) tokens: Vec<String>,
    pub(crate) status: u16,
}

impl Caller for Present {
    fn ask(&mut self, request: &mut String) -> bool {
        let Some(token) = self.tokens.pop() else { return false };
        get(request, self.target, &[("Authorization", &format!("Bearer {token}"))]);
        true
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        answer.expect(self.status)?;
        Ok(true)
    }
}

/// Presents access tokens with signatures that nobody has made, each another one.
pub(crate) struct Forge {
    target: &'static str,
    signed: String,
    numbers: Range<usize>,
}

impl Forge {
    /// Forges the signature of a good token, once for each number.
    pub(crate) fn new(target: &'static str, token: &str, numbers: Range<usize>) -> Self {
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed).to_owned();
        Self { target, signed, numbers }
    }
}

impl Caller for Forge {
    fn ask(&mut self, request: &mut String) -> bool {
        let Some(number) = self.numbers.next() else { return false };
        let half = |which| Sha256Digest::of(format!("{which} {number}").as_bytes());
        let signature = [*half("r").as_bytes(), *half("s").as_bytes()].concat();
        let token = format!("{}.{}", self.signed, base64url(&signature));
        get(request, self.target, &[("Authorization", &format!("Bearer {token}"))]);
        true
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        answer.expect(401)?;
        Ok(true)
    }
}

/// Asks an edge that counts how many signatures it has verified.
#[derive(Default)]
pub(crate) struct AskVerified {
    pub(crate) verified: Option<usize>,
}

impl Caller for AskVerified {
    fn ask(&mut self, request: &mut String) -> bool {
        get(request, "/verified", &[]);
        self.verified.is_none()
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        answer.expect(200)?;
        self.verified = Some(std::str::from_utf8(answer.body)?.parse()?);
        Ok(true)
    }
}

/// Revokes grants by their refresh tokens.
pub(crate) struct Revoke {
    pub(crate) tokens: Vec<String>,
}

impl Caller for Revoke {
    fn ask(&mut self, request: &mut String) -> bool {
        let Some(token) = self.tokens.pop() else { return false };
        let pairs = [("token", &*token), ("token_type_hint", "refresh_token")];
        post(request, "/oauth2/revoke", &[("Authorization", WEB)], &pairs);
        true
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        answer.expect(200)?;
        Ok(true)
    }
}

/// Rotates a refresh token and goes on with its successor; at the origin, or at the ceiling.
pub(crate) struct Rotate {
    target: &'static str,
    pub(crate) tokens: Tokens,
    left: usize,
    /// Access tokens on the way, if they are wanted.
    pub(crate) collected: Option<Vec<String>>,
}

impl Rotate {
    pub(crate) fn at_origin(tokens: Tokens) -> Self {
        Self { target: "/oauth2/token", tokens, left: usize::MAX, collected: None }
    }

    pub(crate) fn at_ceiling(tokens: Tokens) -> Self {
        Self { target: "/rotate", tokens, left: usize::MAX, collected: None }
    }

    pub(crate) fn times(self, left: usize) -> Self {
        Self { left, ..self }
    }

    pub(crate) fn collecting(self) -> Self {
        Self { collected: Some(Vec::new()), ..self }
    }
}

impl Caller for Rotate {
    fn ask(&mut self, request: &mut String) -> bool {
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", &*self.tokens.refresh)];
        post(request, self.target, &[("Authorization", WEB)], &pairs);
        any
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        self.tokens = Tokens::of(answer)?;
        if let Some(collected) = &mut self.collected {
            collected.push(self.tokens.access.clone());
        }
        Ok(true)
    }
}

/// Gets a first token of the ceiling.
#[derive(Default)]
pub(crate) struct Start {
    pub(crate) tokens: Option<Tokens>,
}

impl Caller for Start {
    fn ask(&mut self, request: &mut String) -> bool {
        post(request, "/start", &[], &[]);
        self.tokens.is_none()
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        self.tokens = Some(Tokens::of(answer)?);
        Ok(true)
    }
}

fn authorize_target(scope: &str) -> String {
    let pairs = [
        ("response_type", "code"),
        ("client_id", "bench-web"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", scope),
        ("state", "af0ifjsldkj"),
        ("nonce", "n-0S6_WzA2Mj"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    format!("/oauth2/authorize?{}", encode(pairs))
}

fn code(answer: &Answer<'_>) -> Result<String, Failure> {
    answer.expect(302).or_else(|_| answer.expect(303))?;
    let location = answer.header("location").unwrap_or_default();
    let (_, code) = location.split_once("code=").ok_or_else(|| format!("no code: {location}"))?;
    Ok(code.split('&').next().unwrap_or_default().to_owned())
}

fn redeem(request: &mut String, code: &str) {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    post(request, "/oauth2/token", &[("Authorization", WEB)], &pairs);
}

/// Logs in with the form, as a browser does, and keeps the session cookie.
#[derive(Default)]
pub(crate) struct LogIn {
    step: usize,
    cookies: Vec<(String, String)>,
    login: String,
    csrf: String,
    tx: String,
}

impl LogIn {
    /// Returns the session's `Cookie` header.
    pub(crate) fn session(&self) -> Result<String, Failure> {
        let session = self.cookies.iter().find(|(name, _)| name.ends_with("cadence_session"));
        let (name, value) = session.ok_or("the login form gave no session")?;
        Ok(format!("{name}={value}"))
    }

    fn cookie(&self) -> String {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        cookies.join("; ")
    }
}

impl Caller for LogIn {
    fn ask(&mut self, request: &mut String) -> bool {
        self.step += 1;
        let cookie = self.cookie();
        match self.step {
            1 => get(request, &authorize_target(WITH_ID_TOKEN), &[]),
            2 => get(request, &self.login, &[("Cookie", &cookie)]),
            3 => {
                let pairs = [
                    ("tx", &*self.tx),
                    ("csrf", &*self.csrf),
                    ("username", "bench@example.test"),
                    ("password", "correct-horse-battery"),
                ];
                post(request, "/oauth2/login", &[("Cookie", &cookie)], &pairs);
            }
            _ => return false,
        }
        true
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        for cookie in answer.headers("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        match self.step {
            1 => {
                let location = answer.header("location").unwrap_or_default();
                let (_, tx) = location.split_once("tx=").ok_or("no transaction was begun")?;
                let tx = tx.split('&').next().unwrap_or_default();
                (self.login, self.tx) = (location.to_owned(), tx.to_owned());
            }
            2 => {
                let page = std::str::from_utf8(answer.body)?;
                let (_, field) = page.split_once("name=\"csrf\"").ok_or("no csrf field")?;
                let (_, value) = field.split_once("value=\"").ok_or("no csrf value")?;
                value.split('"').next().unwrap_or_default().clone_into(&mut self.csrf);
            }
            _ => {
                code(answer)?;
            }
        }
        Ok(true)
    }
}

/// Gets codes with a live session.
pub(crate) struct Authorize {
    session: String,
    target: String,
    left: usize,
    pub(crate) codes: VecDeque<String>,
}

impl Authorize {
    pub(crate) fn new(session: &str, scope: &str) -> Self {
        let (session, target) = (session.to_owned(), authorize_target(scope));
        Self { session, target, left: usize::MAX, codes: VecDeque::new() }
    }

    pub(crate) fn times(self, left: usize) -> Self {
        Self { left, ..self }
    }
}

impl Caller for Authorize {
    fn ask(&mut self, request: &mut String) -> bool {
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        get(request, &self.target, &[("Cookie", &self.session)]);
        any
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        self.codes.push_back(code(answer)?);
        Ok(true)
    }
}

/// Redeems codes.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) codes: VecDeque<String>,
    pub(crate) tokens: Vec<Tokens>,
}

impl Caller for Exchange {
    fn ask(&mut self, request: &mut String) -> bool {
        let Some(code) = self.codes.pop_front() else { return false };
        redeem(request, &code);
        true
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        self.tokens.push(Tokens::of(answer)?);
        Ok(true)
    }
}

/// The whole code flow with a live session: authorize, token, userinfo. One is counted.
pub(crate) struct Flow {
    session: String,
    target: String,
    step: Step,
}

enum Step {
    Authorize,
    Token(String),
    Userinfo(String),
}

impl Flow {
    pub(crate) fn new(session: &str) -> Self {
        let target = authorize_target(WITH_ID_TOKEN);
        Self { session: session.to_owned(), target, step: Step::Authorize }
    }
}

impl Caller for Flow {
    fn ask(&mut self, request: &mut String) -> bool {
        match &self.step {
            Step::Authorize => get(request, &self.target, &[("Cookie", &self.session)]),
            Step::Token(code) => redeem(request, code),
            Step::Userinfo(token) => {
                get(request, "/oauth2/userinfo", &[("Authorization", &format!("Bearer {token}"))]);
            }
        }
        true
    }

    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure> {
        self.step = match &self.step {
            Step::Authorize => Step::Token(code(answer)?),
            Step::Token(_) => Step::Userinfo(Tokens::of(answer)?.access),
            Step::Userinfo(_) => {
                answer.expect(200)?;
                Step::Authorize
            }
        };
        Ok(matches!(self.step, Step::Authorize))
    }
}
