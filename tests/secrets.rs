//! G4: no secret lies in a log, in Redis or in a database as it is.
//!
//! Whatever a test sends or receives that opens something is remembered, and looked for when the
//! test has passed: in the logs of edge and origin, in every command that Redis has written down,
//! and in the files of the databases.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use stack::{Backing, Edge, Front};

use crate::browser::Browser;
use crate::http::{Answer, Request, query};
use crate::oauth::{ALICE, ALICES_PASSWORD, OWN, SPA, Tokens, VERIFIER, WEB, is_alive, own_tokens};
use crate::server::Server;

/// Fields of forms, bodies and redirects that open something.
const SECRET_FIELDS: [&str; 9] = [
    "access_token",
    "client_secret",
    "code",
    "code_verifier",
    "csrf",
    "id_token",
    "password",
    "refresh_token",
    "token",
];

/// Shorter ones are words that tests send for want of a secret.
const SHORTEST: usize = 12;

/// What has fewer different bytes is sent for want of a secret, too: `AAAA…`.
const FEWEST: usize = 8;

/// Bytes of a longer one that are looked for.
const LONGEST: usize = 40;

static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers a value, if it is the value of a field that opens something.
pub(crate) fn remember_field(name: &str, value: &str) {
    if SECRET_FIELDS.contains(&name) {
        remember(value);
    }
}

/// Remembers a secret.
pub(crate) fn remember(secret: &str) {
    // What is in a JWT is in the log in good part; its signature makes it worth something.
    let secret = match secret.rsplit_once('.') {
        Some((signed, signature)) if signed.starts_with("eyJ") => signature,
        _ => secret,
    };
    if secret.len() >= SHORTEST {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }
}

/// Remembers the credentials of a Basic header as they are sent, which show the secret in them to
/// nobody who looks for it as it is.
pub(crate) fn remember_basic(pair: &str, encoded: &str) {
    if pair.split_once(':').is_some_and(|(_, secret)| secret.len() >= SHORTEST) {
        remember(encoded);
    }
}

/// Remembers what an answer gives out: cookies, codes, tokens.
pub(crate) fn remember_answer(answer: &Answer) {
    for cookie in answer.headers("set-cookie") {
        let value = cookie.split(';').next().and_then(|pair| pair.split_once('='));
        remember(value.map_or("", |(_, value)| value));
    }
    for location in answer.headers("location") {
        let query = location.split_once('?').map_or("", |(_, query)| query);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            remember_field(name, value);
        }
    }
    if let Ok(Value::Object(body)) = serde_json::from_str(&answer.body) {
        for (name, value) in &body {
            remember_field(name, value.as_str().unwrap_or_default());
        }
    }
}

/// Looks for every remembered secret in all that a server has written.
///
/// # Panics
/// When one is there.
pub(crate) fn lie_nowhere(server: &Server) {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let finder = Finder::of(known.iter());
    for (place, text) in places(server) {
        let found = finder.find(&text);
        assert!(found.is_none(), "G4: {place} has {}", found.unwrap_or_default());
    }
}

/// All that the parts of a server have written, and where.
fn places(server: &Server) -> Vec<(String, Vec<u8>)> {
    let edge = server.edge.as_ref().map(Edge::log).unwrap_or_default();
    let mut places = vec![
        ("the origin's log".to_owned(), server.origin.log().into_bytes()),
        ("the edge's log".to_owned(), edge.into_bytes()),
    ];
    let data = server.origin.data_dir();
    add_files(data, &mut places);
    if let Some(redis) = &server.redis {
        add_files(redis.folder(), &mut places);
    }
    places
}

fn add_files(folder: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            add_files(&path, places);
        } else if let Ok(text) = fs::read(&path) {
            // Neither a socket nor a file that was removed meanwhile.
            places.push((path.display().to_string(), text));
        }
    }
}

/// Finds secrets in texts: as they are, or as the bytes that they encode.
struct Finder<'s> {
    automaton: AhoCorasick,
    secrets: Vec<&'s str>,
}

impl<'s> Finder<'s> {
    fn of(secrets: impl Iterator<Item = &'s String>) -> Self {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        let mut found = Vec::new();
        for secret in secrets {
            let decoded = URL_SAFE_NO_PAD.decode(secret).unwrap_or_default();
            for mut needle in [secret.as_bytes().to_vec(), decoded] {
                // Its end: a refresh token begins with the name of its grant, which is no secret.
                let needle = needle.split_off(needle.len().saturating_sub(LONGEST));
                let distinct: BTreeSet<u8> = needle.iter().copied().collect();
                if needle.len() >= SHORTEST && distinct.len() >= FEWEST {
                    needles.push(needle);
                    found.push(secret.as_str());
                }
            }
        }
        Self { automaton: AhoCorasick::new(needles).unwrap(), secrets: found }
    }

    fn find(&self, text: &[u8]) -> Option<String> {
        let found = self.automaton.find(text)?;
        Some(self.secrets[found.pattern().as_usize()].to_owned())
    }
}

#[test]
fn a_secret_is_found_as_text_and_as_bytes() {
    let secret = "c2VjcmV0LWluLWJhc2U2NHVybA".to_owned();
    let secrets = ["another-secret-0123".to_owned(), secret.clone()];
    let finder = Finder::of(secrets.iter());
    for text in [format!("token={secret}&"), "\0secret-in-base64url\u{1}".to_owned()] {
        assert_eq!(finder.find(text.as_bytes()), Some(secret.clone()), "{text}");
    }
    assert_eq!(finder.find(b"c2VjcmV0 secret-in another"), None);
}

/// G4: a header that is logged as it came, wherever in it the secret begins.
#[test]
fn a_basic_header_is_found() {
    const SECRET: &str = "a-secret-that-is-sent-as-half-of-a-pair-0123456789";
    let pair = |id: &str| STANDARD.encode(format!("{id}:{SECRET}"));
    let send = |id: &str, secret: &str| {
        let _unsent = Request::new("POST", "http://127.0.0.1:1/").basic(id, secret);
    };
    for id in ["b", "ba", "bas"] {
        send(id, SECRET);
    }
    // What is sent for want of a secret is none.
    send("a-client-with-a-long-name", "");
    send("a-client-with-a-long-name", "x");
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let finder = Finder::of(known.iter());
    for id in ["b", "ba", "bas"] {
        let logged = format!("authorization: Basic {}\n", pair(id));
        assert_eq!(finder.find(logged.as_bytes()), Some(pair(id)), "{id}");
    }
    for pair in ["a-client-with-a-long-name:", "a-client-with-a-long-name:x"] {
        assert!(!known.contains(&STANDARD.encode(pair)), "{pair}");
    }
}

#[test]
fn what_opens_something_is_remembered() {
    let server = Server::origin();
    let tokens = WEB.tokens(server, "openid");
    let known = KNOWN.lock().unwrap().clone();
    let (_, signature) = tokens.access.rsplit_once('.').unwrap();
    let secret = WEB.secret.unwrap();
    let pair = STANDARD.encode(format!("{}:{secret}", WEB.id));
    for secret in [&tokens.refresh, signature, VERIFIER, ALICES_PASSWORD, secret, &pair] {
        assert!(known.contains(secret), "{secret}");
    }
    // A code, a session's cookie and a transaction's.
    assert!(known.len() >= 8, "{known:?}");
    assert!(places(server).iter().any(|(place, _)| place.contains("appendonly")));
}

/// G4, at its hardest: everything is logged, and secrets are also where they do not belong.
fn nothing_is_written_down(backing: Backing, front: Front) {
    let server = &Server::start_that_logs_all(backing, front);
    for app in [WEB, SPA] {
        let code = app.code(server, "openid profile");
        let tokens = Tokens::of(&app.redeem(server, &code));
        is_alive(server, &tokens.access);
        let refreshed = Tokens::of(&app.refresh(server, &tokens.refresh));
        app.redeem(server, &code).refused(400, "invalid_grant");
        app.revoke(server, &refreshed.refresh).expect(200);
        for secret in [&tokens.access, &tokens.refresh, &code] {
            misplaced(server, secret);
        }
    }
    own_tokens(server, ALICE, ALICES_PASSWORD).expect(200);
    own_tokens(server, ALICE, "a-wrong-password-of-alice").refused(400, "invalid_grant");
    // People type a password into the field above its own.
    remember("my-password-as-my-name");
    own_tokens(server, "my-password-as-my-name", "x").refused(400, "invalid_grant");
    let wrong = server.post("/oauth2/token").basic(OWN.id, "a-wrong-secret-of-the-client");
    wrong.form(&[("grant_type", "password")]).send();
    let mut browser = Browser::new(server);
    browser.sign_in(&WEB.authorization("openid").query(), ALICE, "a-wrong-password-typed");
    lie_nowhere(server);
}

#[test]
fn nothing_is_written_down_through_the_edge() {
    nothing_is_written_down(Backing::Redis, Front::Edge);
}

#[test]
fn nothing_is_written_down_at_the_origin() {
    nothing_is_written_down(Backing::Redis, Front::Direct);
}

#[test]
fn nothing_is_written_down_on_the_embedded_store() {
    nothing_is_written_down(Backing::Embedded, Front::Edge);
}

/// Sends a secret to where it does not belong.
fn misplaced(server: &Server, secret: &str) {
    remember(secret);
    let query = query(&[("access_token", secret), ("token", secret)]);
    for path in ["/oauth2/userinfo", "/oauth2/authorize", "/oauth2/token", "/api/me", "/nowhere"] {
        server.get(&format!("{path}?{query}")).send();
        server.post(&format!("{path}?{query}")).form(&[("code", secret), ("scope", secret)]).send();
    }
    server.get(&format!("/oauth2/status/{secret}")).send();
    server.get(&format!("/{secret}")).send();
    server.get("/oauth2/userinfo").header("authorization", secret).send();
    server.get("/oauth2/userinfo").header("cookie", &format!("cadence_session={secret}")).send();
}
