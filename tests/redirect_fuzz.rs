//! RU18: two parsers. Ten thousand redirect URIs that are nearly registered; wherever the server
//! redirects to, the parser of browsers must see the registered URI (WHATWG URL, in node).

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::http::{Answer, encode};
use crate::oauth::{CHALLENGE, NATIVE};
use crate::server::Server;
use crate::wire::{Connection, bytes};

const SEED: u64 = 0x5eed_cade_2ce0_0018;
const URIS: usize = 10_000;
const HANDS: usize = 4;

/// Clients, and what they have registered.
const CLIENTS: [(&str, &[&str]); 6] = [
    ("web", &["https://app.example/cb", "https://app.example/other"]),
    ("other", &["https://other.example/cb?x=1"]),
    ("queries", &["https://queries.example/cb?x=1&y=2"]),
    ("spa", &["https://spa.example/cb"]),
    ("native", &["http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb"]),
    ("demo-spa", &["http://localhost:5173/callback", "http://127.0.0.1/callback"]),
];

const SCHEMES: [&str; 16] = [
    "https",
    "http",
    "HTTPS",
    "Http",
    "javascript",
    "data",
    "blob:https",
    "ftp",
    "ws",
    "wss",
    "file",
    "com.example.app",
    "COM.example.app",
    "view-source:https",
    "%68ttps",
    "",
];
const SEPARATORS: [&str; 13] = [
    "://",
    ":",
    ":/",
    ":///",
    "://///",
    "//",
    ":\\\\",
    ":\\/",
    ":/\\",
    "%3a//",
    "%3A%2F%2F",
    ":\t//",
    "",
];
const USERS: [&str; 14] = [
    "evil@",
    "@",
    "a:b@",
    ":@",
    "app.example@",
    "app.example:443@",
    "127.0.0.1:80@",
    "app.example%25@",
    "app.example%2f@",
    "app.example%2F@",
    "app.example\\@",
    "app.example#@",
    "app.example?@",
    "evil%40",
];
const HOSTS: [&str; 32] = [
    "evil.example",
    "app.example",
    "other.example",
    "127.0.0.1",
    "[::1]",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "0.0.0.0",
    "127.0.0.2",
    "[::ffff:127.0.0.1]",
    "[::]",
    "[0::1]",
    "[::1%25lo]",
    "appXexample",
    "APP.example",
    "app.example.",
    "app.example.evil.example",
    "app.example\\.evil.example",
    "app.example%00.evil.example",
    "app.example%2eevil.example",
    "evil.example/app.example",
    "evil.example#app.example",
    "evil.example?app.example",
    "evil.example\\@app.example",
    "app\u{3002}example",
    "\u{24d0}pp.example",
    "app.ex\u{e4}mple",
    "app\u{ad}.example",
    "",
];
const PORTS: [&str; 17] = [
    ":443",
    ":80",
    ":8443",
    ":",
    ":0",
    ":1",
    ":5",
    ":49152",
    ":65535",
    ":65536",
    ":0443",
    ":-1",
    ":+1",
    ":80:80",
    ":80@evil.example",
    ":4294967739",
    ":\u{661}",
];
const PATHS: [&str; 22] = [
    "/cb",
    "/cb/",
    "/cb/x",
    "/CB",
    "/./cb",
    "/../cb",
    "/cb/..",
    "/cb/../evil",
    "/cb/..;/evil",
    "//cb",
    "/%63b",
    "/cb%2f",
    "/cb%2f..%2fevil",
    "/cb%252f",
    "/cb%00",
    "/cb%0d%0aSet-Cookie:x",
    "/cb;x",
    "/cb\\..\\evil",
    "/callback",
    "/other",
    "/",
    "",
];
const QUERIES: [&str; 14] = [
    "?",
    "?x=1",
    "?x=2",
    "?x=1&x=2",
    "?y=1",
    "?x=1&y=2",
    "?y=2&x=1",
    "?x=1%26",
    "?code=stolen",
    "?state=other",
    "?error=",
    "?x=1#",
    "?x=1?x=1",
    "?%78=1",
];
const FRAGMENTS: [&str; 6] = ["#", "#x", "#code=x", "%23x", "#/../evil", "#@evil.example/"];
const PIECES: [&str; 38] = [
    "/",
    "\\",
    ":",
    "@",
    "?",
    "#",
    "&",
    "=",
    "%",
    ".",
    "..",
    ";",
    "+",
    " ",
    "\t",
    "\n",
    "\r",
    "\0",
    "%00",
    "%0a",
    "%0d%0a",
    "%09",
    "%20",
    "%2e",
    "%2f",
    "%5c",
    "%23",
    "%3f",
    "%40",
    "%252f",
    "%ff",
    "\u{feff}",
    "\u{200d}",
    "\u{ad}",
    "\u{ff0f}",
    "\u{3002}",
    "evil.example",
    "\u{430}",
];

/// `SplitMix64`: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) >> 33).unwrap() % end
    }

    fn of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// The parts of a registered URI: scheme, separator, user, host, port, path, query, fragment.
fn parts(uri: &str) -> [String; 8] {
    let (scheme, rest) = uri.split_once(':').unwrap();
    let (separator, rest) = rest.strip_prefix("//").map_or((":", rest), |rest| ("://", rest));
    let end = if separator == ":" { 0 } else { rest.find('/').unwrap() };
    let (authority, rest) = rest.split_at(end);
    let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    [scheme, separator, "", host, port, path, query, ""].map(str::to_owned)
}

/// Makes a URI that is nearly a registered one, or is one.
fn nearly(random: &mut Random, registered: &str) -> String {
    let mut parts = parts(registered);
    match random.below(16) {
        0 => return registered.to_owned(),
        1 => parts[4] = format!(":{}", 1 + random.below(65_535)),
        _ => {}
    }
    for _ in 0..random.below(3) {
        let at = random.below(8);
        let table: &[&str] = match at {
            0 => &SCHEMES,
            1 => &SEPARATORS,
            2 => &USERS,
            3 => &HOSTS,
            4 => &PORTS,
            5 => &PATHS,
            6 => &QUERIES,
            _ => &FRAGMENTS,
        };
        let other = random.of(table);
        match random.below(4) {
            0 => parts[at].push_str(other),
            1 => parts[at].insert_str(0, other),
            _ => other.clone_into(&mut parts[at]),
        }
    }
    let mut letters: Vec<String> = parts.concat().chars().map(String::from).collect();
    for _ in 0..random.below(3) {
        let at = random.below(letters.len() + 1);
        let Some(letter) = letters.get_mut(at).filter(|letter| !letter.is_empty()) else {
            letters.push(random.of(&PIECES).to_owned());
            continue;
        };
        let encoded = |letter: &str| {
            letter.bytes().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "%{byte:02x}");
                text
            })
        };
        *letter = match random.below(7) {
            0 => String::new(),
            1 => letter.repeat(2),
            2 => letter.to_uppercase(),
            3 => encoded(letter),
            4 => format!("%25{}", &encoded(letter)[1..]),
            5 => random.of(&PIECES).to_owned(),
            _ => random.of(&PIECES).to_owned() + letter,
        };
    }
    letters.concat()
}

/// Tells whether the server may redirect to `uri`: it is registered, byte for byte, or differs from
/// a loopback IP's in the port alone.
fn is_registered(registered: &[&str], uri: &str) -> bool {
    registered.iter().any(|it| {
        let port = |uri: &str| {
            let host = ["http://127.0.0.1", "http://[::1]"]
                .into_iter()
                .find(|host| it.starts_with(host))?;
            let rest = uri.strip_prefix(host)?;
            let rest = match rest.strip_prefix(':') {
                Some(rest) => {
                    let digits = rest.find(|digit: char| !digit.is_ascii_digit())?;
                    let port = &rest[..digits];
                    let is_port =
                        port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
                    (is_port && port != "0").then(|| &rest[digits..])?
                }
                None => rest,
            };
            Some(rest.to_owned())
        };
        *it == uri || port(it).is_some_and(|path| port(uri) == Some(path))
    })
}

/// One request of the ten thousand.
struct Asked {
    registered: &'static [&'static str],
    uri: String,
    /// The URI stands in the query as it is, as far as a query allows.
    is_raw: bool,
    target: String,
}

fn asked(random: &mut Random, number: usize) -> Asked {
    let (client, registered) = CLIENTS[random.below(CLIENTS.len())];
    let one = random.of(registered);
    let uri = nearly(random, one);
    let is_raw = random.below(4) == 0;
    let value = if is_raw {
        let keep = |letter: char| letter.is_ascii_graphic() && !"&#\"<>".contains(letter);
        let encoded = |letter: char| encode(letter.encode_utf8(&mut [0; 4]));
        let letters = uri.chars();
        letters.map(|it| if keep(it) { it.to_string() } else { encoded(it) }).collect()
    } else {
        encode(&uri)
    };
    let target = format!(
        "/oauth2/authorize?response_type=code&client_id={client}&scope=openid&state={number}\
         &code_challenge={CHALLENGE}&code_challenge_method=S256&prompt=none&redirect_uri={value}"
    );
    Asked { registered, uri, is_raw, target }
}

/// Sends all requests, over a few connections that stay open.
fn ask(server: &Server, all: &[Asked]) -> Vec<Answer> {
    let hand = |some: &[Asked]| {
        let mut answers = Vec::new();
        for some in some.chunks(500) {
            let mut connection = Connection::open(&server.url);
            for asked in some {
                let request = server.get(&asked.target);
                connection.write(&bytes(&request));
                answers.push(connection.read(&request));
            }
        }
        answers
    };
    std::thread::scope(|scope| {
        let hands: Vec<_> =
            all.chunks(URIS.div_ceil(HANDS)).map(|some| scope.spawn(|| hand(some))).collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    })
}

/// Returns what the parser of browsers says against these redirects.
fn complaints(redirects: &[Value]) -> Vec<Value> {
    let mut node = Command::new("node")
        .arg(stack::root().join("tests/clients/locations.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    write!(node.stdin.take().unwrap(), "{}", Value::from(redirects)).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

scenarios! { doors:
    /// RU18, and so RU06 to RU12 in general.
    fn wherever_a_browser_is_sent_it_sees_a_registered_uri(server) {
        println!("seed {SEED:#x}");
        let mut random = Random(SEED);
        let all: Vec<Asked> = (0..URIS).map(|number| asked(&mut random, number)).collect();
        let mut redirects = Vec::new();
        for (number, (asked, answer)) in all.iter().zip(ask(server, &all)).enumerate() {
            let Asked { registered, uri, is_raw, .. } = asked;
            let may_be = is_registered(registered, uri);
            if answer.status == 303 {
                assert!(may_be || *is_raw, "{number}: {uri:?} {answer:?}");
                redirects.push(json!({
                    "registered": registered,
                    "location": answer.location(),
                    "added": { "error": "login_required", "state": number.to_string(), "iss": server.url },
                }));
            } else {
                answer.is_page(400);
                // What is registered is not refused; unencoded, a query may read as something else.
                assert!(!may_be || *is_raw, "{number}: {uri:?} {answer:?}");
            }
        }
        let good = redirects.len();
        assert!((500..URIS / 2).contains(&good), "{good} redirects");
        println!("{good} of {URIS} were redirected to");
        assert_eq!(complaints(&redirects), Vec::<Value>::new(), "seed {SEED:#x}");
        // It would complain.
        let elsewhere = json!({
            "registered": [NATIVE.redirect_uri],
            "location": "http://127.0.0.1:49152@evil.example/cb?error=login_required&state=1&iss=x",
            "added": { "error": "login_required", "state": "1", "iss": "x" },
        });
        assert_eq!(complaints(&[elsewhere]).len(), 1);
    }
}

#[test]
fn what_is_registered_is_told_from_what_is_nearly() {
    for (uri, good) in [
        ("http://127.0.0.1/cb", true),
        ("http://127.0.0.1:5/cb", true),
        ("http://[::1]:65535/cb", true),
        ("com.example.app:/cb", true),
        ("http://127.0.0.1:0/cb", false),
        ("http://127.0.0.1:05/cb", false),
        ("http://127.0.0.1:65536/cb", false),
        ("http://127.0.0.1:5/cb?", false),
        ("http://127.0.0.1:5@x/cb", false),
        ("com.example.app:5/cb", false),
    ] {
        assert_eq!(is_registered(CLIENTS[4].1, uri), good, "{uri}");
    }
    assert_eq!(parts("http://[::1]/cb?x")[3..7], ["[::1]", "", "/cb", "?x"]);
    assert_eq!(parts("http://localhost:5173/cb")[3..6], ["localhost", ":5173", "/cb"]);
}
