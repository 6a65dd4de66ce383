//! Requests that nobody would think of, at the edge: each is answered as the standing assertions say,
//! and the isolate is what it was before.

use std::time::Instant;

use crate::http::{Request, encode};
use crate::oauth::{WEB, is_alive};
use crate::server::Server;
use crate::wire::{self, Connection};

const REQUESTS: usize = 20_000;
const HANDS: usize = 4;

/// `SplitMix64`: the same requests for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Text of a few characters, most of them odd.
    fn text(&mut self, longest: usize) -> String {
        const ODD: &[char] = &[
            'a', 'Z', '0', '.', '-', '_', '~', '/', '\\', ':', ';', '=', '&', '?', '+', ',', '"',
            '\'', '<', '>', '{', '}', '[', ']', '|', '^', '`', '@', '!', '$', '(', ')', '*', '%',
            'é', 'ß', '漢', '😀',
        ];
        let length = self.below(longest + 1);
        (0..length).map(|_| ODD[self.below(ODD.len())]).collect()
    }

    /// Text that a query or form may have, with what decoders stumble over.
    fn encoded(&mut self, longest: usize) -> String {
        match self.below(4) {
            0 => encode(&self.text(longest)),
            1 => self
                .one_of(&[
                    "%",
                    "%0",
                    "%zz",
                    "%00",
                    "%ff",
                    "%c0%af",
                    "%ed%a0%80",
                    "%f0%9f",
                    "%252f",
                    "%0d%0a",
                    "+",
                    "%20",
                    "%e2%80%8b",
                    "%ef%bb%bf",
                    "%F4%90%80%80",
                ])
                .to_owned(),
            2 => "A".repeat(self.below(longest * 20 + 1)),
            _ => format!("{}%{:02x}", encode(&self.text(longest / 2)), self.below(256)),
        }
    }

    /// Pairs, some of them twice.
    fn pairs(&mut self) -> String {
        let pairs = self.below(9);
        let pairs: Vec<String> = (0..pairs)
            .map(|_| {
                let name = match self.below(6) {
                    0 => self.encoded(6),
                    _ => self.one_of(NAMES).to_owned(),
                };
                match self.below(3) {
                    0 => format!("{name}={}", encode(self.one_of(VALUES))),
                    1 => format!("{name}={}", self.encoded(40)),
                    _ => name,
                }
            })
            .collect();
        pairs.join(self.one_of(&["&", "&", "&", "&&", ";"]))
    }

    fn target(&mut self) -> String {
        let mut target = match self.below(8) {
            0 => format!("/{}", self.encoded(12)),
            1 => format!("{}/{}", self.one_of(PATHS), self.encoded(8)),
            2 => format!("{}{}", self.one_of(PATHS), self.one_of(&["/", "//", "/..", ";x", "%2f"])),
            _ => self.one_of(PATHS).to_owned(),
        };
        if self.below(3) > 0 {
            target = format!("{target}?{}", self.pairs());
        }
        target
    }

    fn token(&mut self) -> String {
        let part = |dice: &mut Self| match dice.below(3) {
            0 => "A".repeat(dice.below(90)),
            1 => crate::oauth::base64url(dice.one_of(JSON).as_bytes()),
            _ => crate::oauth::base64url(dice.text(60).as_bytes()),
        };
        let parts = self.below(5);
        (0..parts).map(|_| part(self)).collect::<Vec<_>>().join(".")
    }

    fn request(&mut self, url: &str) -> Request {
        let method = self.one_of(&[
            "GET", "GET", "GET", "POST", "POST", "POST", "OPTIONS", "PUT", "DELETE", "PATCH",
        ]);
        let mut request = Request::new(method, format!("{url}{}", self.target()));
        for _ in 0..self.below(5) {
            let name = self.one_of(HEADERS);
            let value = match (name, self.below(3)) {
                ("authorization", 0) => format!("Bearer {}", self.token()),
                ("authorization", 1) => format!("Basic {}", self.token()),
                ("cookie", _) => {
                    let name =
                        self.one_of(&["cadence_session", "cadence_bff", "cadence_tx_AAAA", "x"]);
                    format!("{name}={}", self.token())
                }
                ("origin", 0) => self.one_of(&["null", "*", "https://spa.example", "x"]).to_owned(),
                (_, 0) => self.token(),
                _ => self.text(30).chars().filter(char::is_ascii).collect(),
            };
            request = request.header(name, value.trim());
        }
        if method == "POST" {
            let content_type = self.one_of(&[
                "application/x-www-form-urlencoded",
                "application/x-www-form-urlencoded",
                "application/x-www-form-urlencoded;charset=UTF-8",
                "application/json",
                "multipart/form-data; boundary=x",
                "text/plain",
                "x",
            ]);
            let body = if self.below(4) == 0 { self.text(200) } else { self.pairs() };
            request = request.body(content_type, body);
        }
        request
    }
}

const PATHS: &[&str] = &[
    "/oauth2/authorize",
    "/oauth2/login",
    "/oauth2/token",
    "/oauth2/userinfo",
    "/oauth2/revoke",
    "/oauth2/introspect",
    "/oauth2/jwks",
    "/oauth2/logout",
    "/oauth2/consent",
    "/oauth2/consent/context",
    "/oauth2/status/AAAAAAAAAAAAAAAAAAAAAA",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/api/me",
    "/api/auth/logout",
    "/api/up",
    "/bff/login",
    "/bff/callback",
    "/bff/session",
    "/bff/logout",
    "/bff/api/me",
    "/bff/backchannel-logout",
    "/internal/clients",
    "/account",
    "/healthz",
    "/",
];

const NAMES: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
    "request",
    "response_mode",
    "grant_type",
    "code",
    "code_verifier",
    "refresh_token",
    "token",
    "token_type_hint",
    "client_secret",
    "logout_token",
    "return_to",
    "tx",
    "csrf",
    "iss",
    "error",
];

const VALUES: &[&str] = &[
    "code",
    "web",
    "spa",
    "https://app.example/cb",
    "openid profile",
    "S256",
    "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "authorization_code",
    "refresh_token",
    "password",
    "none",
    "login",
    "0",
    "-1",
    "18446744073709551616",
    "/",
    "//x",
    "",
];

const JSON: &[&str] = &[
    r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#,
    r#"{"alg":"none"}"#,
    r#"{"alg":1e400}"#,
    r#"{"exp":1e400,"aud":[[[[]]]]}"#,
    "{}",
    "[]",
    "null",
    "\"",
];

const HEADERS: &[&str] = &[
    "authorization",
    "cookie",
    "origin",
    "accept",
    "accept-language",
    "access-control-request-method",
    "access-control-request-headers",
    "x-csrf",
    "sec-fetch-site",
    "sec-fetch-mode",
    "if-none-match",
    "range",
    "x-request-id",
    "cadence-edge",
    "x-forwarded-for",
    "user-agent",
    "x-odd",
];

/// ED18: none of twenty thousand odd requests ends an isolate: no page of the platform's about a
/// crashed worker, no answer that breaks a standing assertion, and whoever comes next is served.
#[test]
fn no_request_ends_an_isolate() {
    let server = Server::start_edge();
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(&server, "openid");
    let query = WEB.authorization("openid").query();
    let seed = std::env::var_os("CADENCE_TEST_SEED");
    let seed = seed.and_then(|seed| seed.into_string().ok()?.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 32 | crate::server::now());
    println!("CADENCE_TEST_SEED={seed}");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for hand in 0..HANDS {
            let (server, tokens, query) = (&server, &tokens, &query);
            scope.spawn(move || {
                let mut dice = Dice(seed ^ (hand as u64) << 56);
                let mut connection = Connection::open(&server.url);
                for number in 0..REQUESTS / HANDS {
                    let request = dice.request(&server.url);
                    let bytes = wire::bytes(&request);
                    connection.try_write(&bytes);
                    // The platform may have closed it behind the answer before: not behind none.
                    if connection.is_closed() {
                        connection = Connection::open(&server.url);
                        connection.write(&bytes);
                        assert!(!connection.is_closed(), "seed {seed}: {}", request.what());
                    }
                    connection.read(&request);
                    if number % 500 == 0 {
                        is_alive(server, &tokens.access);
                        let url = format!("/oauth2/authorize?{query}");
                        server.get(&url).send().expect(303);
                    }
                }
            });
        }
    });
    println!("{REQUESTS} requests in {:?}", began.elapsed());
    is_alive(&server, &tokens.access);
    let log = server.edge.as_ref().unwrap().log();
    for trace in ["panicked", "RuntimeError", "unreachable", "Uncaught"] {
        assert!(!log.contains(trace), "seed {seed}: {log}");
    }
}
