//! What an access token must say, door by door: JSON Web Tokens by RFC 7515, RFC 8725 and RFC 9068.
//!
//! The tokens are signed with the system's own keys wherever the signature is not what is wrong, so
//! each is refused for the one thing that the test says.

use std::fmt::Write as _;
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::gateway::in_front_of;
use crate::http::{Answer, Request};
use crate::oauth::{Tokens, WEB, base64url, jwt_part};
use crate::scripted::{Received, Scripted, reply};
use crate::server::{Server, now};
use crate::signer::{Key, Signer, Thief};

/// A system with an upstream behind its edge: where tokens are shown.
pub(crate) struct Doors {
    pub(crate) server: Server,
    upstream: Scripted,
    pub(crate) signer: Signer,
    pub(crate) tokens: Tokens,
    /// The header of a good token, without `alg` and `kid`.
    pub(crate) header: Value,
    /// The claims of a good token.
    pub(crate) claims: Value,
}

impl Doors {
    pub(crate) fn open() -> Self {
        let upstream = Scripted::start(|_: &Received, stream: &mut TcpStream| {
            reply(stream, "200 OK", &[("content-type", "text/plain")], "hello");
        });
        let (server, tokens) = in_front_of(&upstream);
        let signer = Signer::of(&server);
        let claims = jwt_part(&tokens.access, 1);
        Self { server, upstream, signer, tokens, header: json!({ "typ": "at+jwt" }), claims }
    }

    /// Shows a token to userinfo through the edge, to userinfo at the origin, and to the edge alone,
    /// which stands before an upstream.
    pub(crate) fn show(&self, token: &str) -> [Answer; 3] {
        let urls = [
            format!("{}/oauth2/userinfo", self.server.url),
            format!("{}/oauth2/userinfo", self.server.origin.url()),
            format!("{}/api/up", self.server.url),
        ];
        urls.map(|url| Request::new("GET", url).bearer(token).send())
    }

    #[track_caller]
    pub(crate) fn opens(&self, what: &str, token: &str) {
        for answer in self.show(token) {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        }
    }

    #[track_caller]
    pub(crate) fn opens_nothing(&self, what: &str, token: &str) {
        let before = self.upstream.received().len();
        for answer in self.show(token) {
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (401, "invalid_token"),
                "{what}: {answer:?}"
            );
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer "), "{what}: {answer:?}");
            assert!(challenge.contains("error=\"invalid_token\""), "{what}: {answer:?}");
        }
        assert_eq!(self.upstream.received().len(), before, "{what}");
    }

    pub(crate) fn key(&self, alg: &str) -> &Key {
        self.signer.key(alg)
    }

    /// A token with this change of the header, signed by the key that signs all tokens.
    fn with_header(&self, name: &str, value: Value) -> String {
        self.key("ES256").sign(&with(&self.header, name, value), &self.claims)
    }

    /// A token with this claim instead of its own.
    fn with_claim(&self, name: &str, value: Value) -> String {
        self.key("ES256").sign(&self.header, &with(&self.claims, name, value))
    }

    fn without_claim(&self, name: &str) -> String {
        self.key("ES256").sign(&self.header, &without(&self.claims, name))
    }

    /// A token whose times are these, as JSON.
    fn timed(&self, times: &[(&str, &str)]) -> String {
        let mut claims = self.claims.clone();
        for name in ["exp", "iat", "nbf"] {
            claims = without(&claims, name);
        }
        let mut text = claims.to_string();
        assert_eq!(text.pop(), Some('}'));
        for (name, value) in times {
            write!(text, ",\"{name}\":{value}").unwrap();
        }
        text.push('}');
        let key = self.key("ES256");
        key.sign_text(&key.named(&self.header).to_string(), &text)
    }

    pub(crate) fn control(&self) {
        for key in self.signer.keys() {
            self.opens(&key.alg, &key.sign(&self.header, &self.claims));
        }
    }
}

pub(crate) fn with(value: &Value, name: &str, to: Value) -> Value {
    let mut value = value.clone();
    value[name] = to;
    value
}

pub(crate) fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(name);
    value
}

/// JW06: keys come from the issuer alone, and nobody is asked for any.
#[test]
fn a_token_brings_no_key_along() {
    let doors = Doors::open();
    let thief = Thief::new();
    let jwk = thief.jwk("thief");
    let set = json!({ "keys": [jwk] }).to_string();
    let canary = Scripted::start(move |_: &Received, stream: &mut TcpStream| {
        reply(stream, "200 OK", &[("content-type", "application/json")], &set);
    });
    let url = |path: &str| json!(format!("{}/{path}", canary.url()));
    let certificate = STANDARD.encode([0x30, 0x82, 1, 0]);
    for kid in [doors.key("ES256").kid.as_str(), "thief"] {
        for (name, value) in [
            ("jku", url("jwks")),
            ("x5u", url("certificate")),
            ("jwk", jwk.clone()),
            ("x5c", json!([certificate])),
            ("x5t", json!("AAAA")),
            ("kid", url("kid")),
            ("iss", url("")),
        ] {
            let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": kid });
            let token = thief.sign(&with(&header, name, value.clone()), &doors.claims);
            doors.opens_nothing(&format!("{name}, of {kid}"), &token);
            let claims = with(&doors.claims, "iss", url(""));
            let token = thief.sign(&with(&header, name, value), &claims);
            doors.opens_nothing(&format!("{name}, of {kid}, by its own issuer"), &token);
        }
    }
    // Beside a good signature they say nothing, and nobody looks.
    doors.opens("jku", &doors.with_header("jku", url("jwks")));
    assert!(canary.received().is_empty(), "{:?}", canary.received());
}

/// JW07, JW08: what changes the meaning of a token, and is not understood, refuses it.
#[test]
fn what_changes_the_meaning_of_a_token_refuses_it() {
    let doors = Doors::open();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["http://example.com/UNDEFINED"])),
        ("crit", json!([])),
        ("crit", json!("exp")),
        ("crit", json!({})),
        ("crit", json!(true)),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        doors.opens_nothing(&format!("{name}: {value}"), &doors.with_header(name, value));
    }
    // RFC 7797: the payload as it stands, with its `crit`; and a token in a token.
    let key = doors.key("ES256");
    let header = key.named(&json!({ "typ": "at+jwt", "b64": false, "crit": ["b64"] }));
    let header = base64url(header.to_string().as_bytes());
    let detached = format!("{header}.{}", doors.claims);
    let signature = base64url(&key.signature(detached.as_bytes()));
    let payload = base64url(doors.claims.to_string().as_bytes());
    doors.opens_nothing("b64", &format!("{header}.{payload}.{signature}"));
    let nested = key.named(&with(&doors.header, "cty", "JWT".into())).to_string();
    doors.opens_nothing("nested", &key.sign_text(&nested, &doors.tokens.access));
    doors.control();
}

/// JW09: a key is found by its whole identifier, and by nothing that looks like one.
#[test]
fn a_key_is_found_by_its_identifier_alone() {
    let doors = Doors::open();
    let key = doors.key("ES256");
    let own = &key.kid;
    for kid in [
        json!("unknown"),
        json!(""),
        json!("../../dev/null"),
        json!("' OR 1=1 --"),
        json!("__proto__"),
        json!("constructor"),
        json!(1),
        json!(null),
        json!([own]),
        json!("\0"),
        json!(format!("{own}\0")),
        json!(format!(" {own}")),
        json!(own.to_lowercase()),
        json!(&own[1..]),
        json!(doors.key("RS256").kid),
        json!("k".repeat(3_000)),
    ] {
        doors.opens_nothing(&kid.to_string(), &doors.with_header("kid", kid.clone()));
    }
    let header = without(&key.named(&doors.header), "kid").to_string();
    doors.opens_nothing("no kid", &key.sign_text(&header, &doors.claims.to_string()));
    // Longer than any token: refused unread, or by the server itself.
    let long = doors.with_header("kid", json!("k".repeat(65_536)));
    for answer in doors.show(&long) {
        assert!(matches!(answer.status, 401 | 431), "{answer:?}");
    }
    doors.control();
}

/// JW10, JW18: only an access token is one, whoever has signed the others.
#[test]
fn only_an_access_token_is_one() {
    let doors = Doors::open();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        doors.opens(typ, &doors.with_header("typ", typ.into()));
    }
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!(""),
        json!("at"),
        json!("at+jwt2"),
        json!(" at+jwt"),
        json!("application/application/at+jwt"),
        json!("logout+jwt"),
        json!("statuslist+jwt"),
        json!(["at+jwt"]),
        json!(1),
        json!(null),
    ] {
        doors.opens_nothing(&typ.to_string(), &doors.with_header("typ", typ.clone()));
    }
    let key = doors.key("ES256");
    doors.opens_nothing("no typ", &key.sign(&json!({}), &doors.claims));

    let code = WEB.code(&doors.server, "openid");
    doors.opens_nothing("an ID token", &doors.tokens.id);
    doors.opens_nothing("a refresh token", &doors.tokens.refresh);
    doors.opens_nothing("a code", &code);
    let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let logout = with(&doors.claims, "events", events);
    doors.opens_nothing("a logout token", &key.sign(&json!({ "typ": "logout+jwt" }), &logout));
    let of_status = doors.claims["status"]["status_list"]["uri"].as_str().unwrap();
    let list = Request::new("GET", of_status).send().expect(200).body;
    doors.opens_nothing("a status list", &list);
}

/// JW11, JW12: the times of a token, with ten seconds for clocks that differ.
#[test]
fn a_token_is_good_in_its_time() {
    let doors = Doors::open();
    let check = |opens: bool, exp: &str, iat: &str, nbf: Option<&str>| {
        let mut times = vec![("exp", exp), ("iat", iat)];
        times.extend(nbf.map(|nbf| ("nbf", nbf)));
        times.retain(|(_, value)| !value.is_empty());
        let token = doors.timed(&times);
        let what = format!("{times:?}");
        if opens { doors.opens(&what, &token) } else { doors.opens_nothing(&what, &token) }
    };
    let at = |offset: i64| (i64::try_from(now()).unwrap() + offset).to_string();
    let from_now = |opens, exp, iat, nbf: Option<i64>| {
        let nbf = nbf.map(at);
        check(opens, &at(exp), &at(iat), nbf.as_deref());
    };
    from_now(true, 300, 0, None);
    from_now(true, 300, 0, Some(0));
    // `exp`: good for ten seconds more, and not one longer. A test takes a moment: the bounds to
    // the second are those of `shared/src/claims.rs`.
    from_now(true, -5, -305, None);
    from_now(false, -11, -311, None);
    from_now(false, -3_600, -3_900, None);
    // `iat` and `nbf`: a clock that is ahead.
    from_now(true, 305, 5, None);
    from_now(true, 300, 0, Some(5));
    from_now(false, 361, 61, None);
    from_now(false, 300, 0, Some(61));
    // No token of this issuer lives that long.
    from_now(false, 100 * 365 * 86_400, 0, None);
    from_now(false, 320, 0, None);
    let (exp, iat) = (at(300), at(0));
    let quoted = format!("\"{exp}\"");
    let (exp_and_a_half, iat_and_a_half) = (format!("{exp}.5"), format!("{iat}.5"));
    for exp in [
        "",
        quoted.as_str(),
        "1e400",
        "-1",
        "0",
        exp_and_a_half.as_str(),
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "null",
        "true",
        "[]",
        "{}",
    ] {
        check(false, exp, &iat, None);
    }
    for iat in ["", "\"0\"", "-1", "1e400", "null", "0", iat_and_a_half.as_str()] {
        check(false, &exp, iat, None);
    }
    for nbf in ["\"0\"", "-1", "1e400", "[]", "9223372036854775807", iat_and_a_half.as_str()] {
        check(false, &exp, &iat, Some(nbf));
    }
    check(false, &format!("{exp},\"exp\":{exp}"), &iat, None);
}

/// JW13, JW14: whose token it is, and for whom.
#[test]
fn a_token_is_of_its_issuer_for_its_audience() {
    let doors = Doors::open();
    let issuer = &doors.server.url;
    for iss in [
        json!("https://evil.example"),
        json!(format!("{issuer}/")),
        json!(issuer.to_uppercase()),
        json!(issuer.replace("http:", "HTTP:")),
        json!(issuer.replace("127.0.0.1", "localhost")),
        json!(format!("{issuer}#")),
        json!(format!(" {issuer}")),
        json!(""),
        json!([issuer]),
        json!(1),
        json!(null),
    ] {
        doors.opens_nothing(&format!("iss: {iss}"), &doors.with_claim("iss", iss.clone()));
    }
    doors.opens_nothing("no iss", &doors.without_claim("iss"));

    let api = "https://api.example";
    doors.opens("both, exchanged", &doors.with_claim("aud", json!([api, issuer])));
    doors.opens("and others", &doors.with_claim("aud", json!(["x", api, "y", issuer])));
    for aud in [
        json!("https://evil.example"),
        json!(["https://evil.example"]),
        json!([]),
        json!(""),
        json!(format!("{issuer}/")),
        json!(&issuer[..issuer.len() - 1]),
        json!(format!("{issuer} {api}")),
        json!([format!("{issuer},{api}")]),
        json!([[issuer, api]]),
        json!({ "aud": [issuer, api] }),
        json!(1),
        json!(null),
    ] {
        doors.opens_nothing(&format!("aud: {aud}"), &doors.with_claim("aud", aud.clone()));
    }
    doors.opens_nothing("no aud", &doors.without_claim("aud"));
    // For the server itself, but not for the API behind its edge.
    let [edge, origin, upstream] = doors.show(&doors.with_claim("aud", json!(issuer)));
    assert_eq!((edge.status, origin.status), (200, 200));
    upstream.refused(401, "invalid_token");
    for claim in ["sub", "client_id", "jti", "status", "auth_time"] {
        doors.opens_nothing(claim, &doors.without_claim(claim));
    }
}

/// JW16: the keys of one environment open nothing in another, under whatever name.
#[test]
fn the_keys_of_another_environment_open_nothing() {
    let doors = Doors::open();
    let staging = Server::start_environment("the edge secret of staging 0123456789");
    let keys = Signer::of(&staging);
    for key in keys.keys() {
        let own = doors.key(&key.alg).kid.as_str();
        for kid in [key.kid.as_str(), own] {
            let header = with(&doors.header, "kid", kid.into());
            for iss in [&doors.server.url, &staging.url] {
                let claims = with(&doors.claims, "iss", json!(iss));
                doors.opens_nothing(
                    &format!("{}, {kid}, {iss}", key.alg),
                    &key.sign(&header, &claims),
                );
            }
        }
    }
    doors.control();
}
