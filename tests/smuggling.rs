//! Requests that two servers may read in two ways: nobody else's request is answered with what one
//! of them hides. RFC 9112 §2.2, §3.2, §6, §7.1 and §11.2.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::http::Request;
use crate::oauth::{OTHER, WEB};
use crate::outage::answered_at_last;
use crate::server::Server;
use crate::wire::{self, Connection};

/// How the origin reads an attack, and with it whatever follows on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Not at all: 400, and the connection ends.
    Refused,
    /// It is answered, and the connection ends.
    Last,
    /// As the RFC says it must be, or may be: what follows is another request.
    Whole,
    /// It is answered before it is read: what is left of it may be passed over, or not be awaited.
    Early,
}

/// What an attacker hides in a body.
const HIDDEN: &str = "GET /.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n";

/// What the origin refuses, and a bare workerd reads: what follows is the attacker's next request
/// there, on a connection that is the attacker's alone.
const READ_BY_WORKERD: [&str; 7] = [
    "TE.TE: space before the colon",
    "TE.TE: chunked twice",
    "TE.TE: two headers alike",
    "a coding in HTTP/1.0",
    "too large a number",
    "CR in a head",
    "a folded line",
];

/// A request to the token endpoint with these lines in its head.
fn post(head: &str, body: &str) -> String {
    let form = "Content-Type: application/x-www-form-urlencoded";
    format!("POST /oauth2/token HTTP/1.1\r\nHost: x\r\n{form}\r\n{head}\r\n\r\n{body}")
}

/// A request with one transfer coding, whose body is at its end at once if that is `chunked`, and
/// has something hidden in it if it is not.
fn coded(coding: &str) -> String {
    let body = format!("0\r\n\r\n{HIDDEN}");
    post(&format!("{coding}\r\nContent-Length: {}", body.len()), &body)
}

/// A request whose chunks are written by the attacker.
fn chunked(chunks: &str) -> String {
    post("Transfer-Encoding: chunked", chunks)
}

/// A request with its lengths as the attacker writes them.
fn long(lengths: &str) -> String {
    post(lengths, HIDDEN)
}

fn attacks() -> Vec<(&'static str, String, Reading)> {
    use Reading::{Early, Last, Refused, Whole};
    let (hidden, length) = (format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len()), HIDDEN.len());
    let whole = format!("Content-Length: {length}");
    let get = |head: &str| format!("GET /oauth2/jwks HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
    vec![
        ("CL.TE", coded("Transfer-Encoding: chunked"), Last),
        ("CL.TE, as it may be spelled", coded("transfer-encoding:\tCHUNKED \t"), Last),
        ("TE.CL", post("Content-Length: 4\r\nTransfer-Encoding: chunked", &hidden), Last),
        ("TE.TE: xchunked", coded("Transfer-Encoding: xchunked"), Refused),
        ("TE.TE: identity", coded("Transfer-Encoding: identity"), Refused),
        ("TE.TE: vertical tab", coded("Transfer-Encoding: \u{b}chunked"), Refused),
        ("TE.TE: quoted", coded("Transfer-Encoding: \"chunked\""), Refused),
        ("TE.TE: parameter", coded("Transfer-Encoding: chunked;x=1"), Refused),
        ("TE.TE: space before the colon", coded("Transfer-Encoding : chunked"), Refused),
        ("TE.TE: folded", coded("Transfer-Encoding:\r\n chunked"), Refused),
        ("TE.TE: chunked twice", coded("Transfer-Encoding: chunked, chunked"), Refused),
        ("TE.TE: not last", coded("Transfer-Encoding: chunked, identity"), Refused),
        ("TE.TE: another before", coded("Transfer-Encoding: gzip, chunked"), Refused),
        (
            "TE.TE: two headers",
            coded("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
            Refused,
        ),
        (
            "TE.TE: two headers alike",
            coded("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            Refused,
        ),
        (
            "a coding in HTTP/1.0",
            coded("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0"),
            Refused,
        ),
        ("CL.0 at GET", get(&whole) + HIDDEN, Whole),
        ("CL.0 with a bad signature", long(&format!("{whole}\r\ncadence-edge: x")), Early),
        ("CL.0 at no method", long(&whole).replace("POST", "PUT"), Whole),
        ("CL.0 at no path", long(&whole).replace("/oauth2/token", "/nowhere"), Whole),
        ("two lengths", long(&format!("{whole}\r\nContent-Length: 0")), Refused),
        ("two lengths alike", long(&format!("{whole}\r\n{whole}")), Whole),
        ("a list of lengths", long(&format!("{whole}, {length}")), Refused),
        ("+", long(&format!("Content-Length: +{length}")), Refused),
        ("-", long("Content-Length: -1"), Refused),
        ("hexadecimal", long("Content-Length: 0x20"), Refused),
        ("no number", long("Content-Length: x"), Refused),
        ("too large a number", long("Content-Length: 18446744073709551617"), Refused),
        ("another name", long(&format!("{whole}\r\nContent_Length: 0")), Whole),
        (
            "above the cap",
            post("Content-Length: 100000", &HIDDEN.repeat(100_000 / length + 1)[..100_000]),
            Early,
        ),
        ("a chunk extension", chunked("3;a=\"0\r\n\r\n\"\r\na=b\r\n0\r\n\r\n"), Last),
        ("a good chunk extension", chunked("3;a=b\r\na=b\r\n0\r\n\r\n"), Whole),
        ("LF in a chunk extension", chunked(&format!("3;a\nb\r\na=b\r\n{hidden}")), Last),
        ("LF behind a chunk's size", chunked(&format!("3\na=b\n0\n\n{HIDDEN}")), Last),
        ("0x", chunked(&format!("0x3\r\na=b\r\n0\r\n\r\n{HIDDEN}")), Last),
        ("too large a chunk", chunked(&format!("fffffffffffffffff\r\n{HIDDEN}")), Last),
        ("a chunk longer than it says", chunked(&format!("1\r\na=b\r\n0\r\n\r\n{HIDDEN}")), Last),
        ("trailers", chunked("3\r\na=b\r\n0\r\nContent-Length: 9\r\nHost: y\r\n\r\n"), Whole),
        ("LF in a head", get(&format!("X: y\n{whole}")) + HIDDEN, Whole),
        ("CR in a head", get(&format!("X: y\r{whole}")) + HIDDEN, Refused),
        ("NUL in a head", get("X: y\0z"), Refused),
        ("a folded line", get(&format!("X: y\r\n {whole}")), Refused),
        ("two hosts", get("Host: y"), Refused),
        ("no host", get("").replace("Host: x\r\n", ""), Refused),
        ("an empty host", get("").replace("Host: x", "Host:"), Refused),
        ("a host with a user", get("").replace("Host: x", "Host: x@y"), Refused),
        ("two hosts in one", get("").replace("Host: x", "Host: x, y"), Refused),
    ]
}

/// Sends an attack and a victim's request on one connection; returns the answers, without the name of
/// the protocol, and whether the connection was closed. Once more on another connection when somebody
/// is told that the server cannot tell now: that is nobody's own answer.
#[track_caller]
fn answers_on_a_shared_connection(
    server: &Server,
    attack: &str,
    victim: &Request,
) -> (Vec<String>, bool) {
    for _ in 0..5 {
        let mut shared = Connection::open(&server.url);
        shared.try_write(attack.as_bytes());
        shared.try_write(&wire::bytes(victim));
        let (told, is_closed) = shared.rest();
        assert!(!told.contains("authorization_endpoint"), "{attack:?}: {told}");
        let answers: Vec<String> = told.split("HTTP/1.").skip(1).map(str::to_owned).collect();
        let is_unavailable = |answer: &String| {
            answer[2..].starts_with("503") && answer.contains("temporarily_unavailable")
        };
        if !answers.iter().any(is_unavailable) {
            return (answers, is_closed);
        }
    }
    panic!("never answered: {attack:?}");
}

/// ED04 at the origin, as if a proxy before it kept one connection for everybody: an attacker's
/// request, then a victim's. The victim gets the own answer or none, and what was hidden gets none.
#[test]
fn nothing_hidden_is_answered_on_a_shared_connection() {
    let server = Server::origin();
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(server, "openid");
    let sub = crate::oauth::jwt_part(&tokens.access, 1)["sub"].as_str().unwrap().to_owned();
    let victim = server.get("/oauth2/userinfo").bearer(&tokens.access);
    let mut own = Connection::open(&server.url);
    for (what, attack, reading) in attacks() {
        let (answers, is_closed) = answers_on_a_shared_connection(server, &attack, &victim);
        let status = answers.first().map_or("", |answer| &answer[2..5]);
        let as_read = match reading {
            Reading::Refused => status == "400" && answers.len() == 1 && is_closed,
            Reading::Last => matches!(status, "400" | "413") && answers.len() == 1 && is_closed,
            Reading::Whole => answers.len() == 2,
            Reading::Early => status == "413" || status == "403",
        };
        // What follows is the victim's own, or nothing.
        for answer in answers.iter().skip(1) {
            assert!(
                answer[2..].starts_with("200") && answer.contains(&sub),
                "{what}: {answers:#?}"
            );
        }
        assert!(answers.len() <= 2, "{what}: {answers:#?}");
        assert!(as_read, "{what}: {reading:?}, {is_closed}: {answers:#?}");
        // Whoever has another connection notices nothing.
        let answer = answered_at_last(|| {
            own.write(&wire::bytes(&victim));
            own.read(&victim)
        });
        assert_eq!(answer.expect(200).json()["sub"], sub, "{what}");
    }
}

/// ED04 through the edge, which keeps connections to the origin for everybody: while an attacker
/// sends all of it, two people get their own answers alone, and the attacker gets none of theirs.
/// What nobody can read is refused, and its connection ends.
#[test]
fn nothing_hidden_reaches_anybody_through_the_edge() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let people = [&WEB, &OTHER].map(|app| app.tokens(server, "openid"));
    let ended = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        for tokens in &people {
            let ended = &ended;
            scope.spawn(move || {
                let claims = crate::oauth::jwt_part(&tokens.access, 1);
                let id = [("client_id", claims["client_id"].as_str().unwrap())];
                let app = if id[0].1 == "web" { &WEB } else { &OTHER };
                while !ended.load(Ordering::Relaxed) {
                    let userinfo = || server.get("/oauth2/userinfo").bearer(&tokens.access).send();
                    let told = answered_at_last(userinfo).expect(200).json();
                    assert_eq!(told["sub"], claims["sub"]);
                    let told = answered_at_last(|| app.introspect(server, &tokens.access));
                    let told = told.expect(200).json();
                    assert_eq!((&told["active"], &told["jti"]), (&true.into(), &claims["jti"]));
                }
            });
        }
        let send = |attack: &str| {
            let mut connection = Connection::open(&server.url);
            connection.try_write(attack.as_bytes());
            connection
        };
        for _ in 0..2 {
            for (_, attack, _) in attacks() {
                let _connection = send(&attack);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let told = |(what, attack, reading): (&'static str, String, Reading)| {
            (what, reading, send(&attack).rest())
        };
        let answers: Vec<_> = attacks().into_iter().map(told).collect();
        ended.store(true, Ordering::Relaxed);
        answers
    });
    let sub = crate::oauth::jwt_part(&people[0].access, 1)["sub"].as_str().unwrap().to_owned();
    for (what, reading, (told, is_closed)) in answers {
        assert!(!told.contains(&sub), "{what}: {told}");
        if reading != Reading::Refused || READ_BY_WORKERD.contains(&what) {
            continue;
        }
        let status = told.get(9..12).unwrap_or_default();
        assert!(matches!(status, "400" | "500") && is_closed, "{what}, {is_closed}: {told}");
        assert!(!told.contains("authorization_endpoint"), "{what}: {told}");
    }
}

scenarios! { doors:
    /// HT16: there is HTTP/1.1, and nothing else is taken for it.
    fn other_versions_are_not_taken_for_http_1_1(server) {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
        let pseudo = ":path: /oauth2/jwks\r\n:path: /healthz";
        for attack in [
            preface.to_owned(),
            format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{pseudo}\r\n\r\n"),
            "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
            "GET /healthz\r\n\r\n".to_owned(),
        ] {
            let mut connection = Connection::open(&server.url);
            connection.try_write(attack.as_bytes());
            let (told, _) = connection.rest();
            let status = told.get(9..12).unwrap_or_default();
            assert!(matches!(status, "" | "400" | "501" | "505"), "{attack:?}: {told}");
        }
    }
}

/// HT16 at the origin, which speaks HTTP/1.0 to whoever cannot do better, and lets no version of
/// the future pass for one that it knows.
#[test]
fn the_origin_answers_http_1_0_and_refuses_versions_that_it_does_not_know() {
    let server = Server::origin();
    let ask = |line: &str| {
        let mut connection = Connection::open(&server.url);
        connection.try_write(format!("{line}\r\n\r\n").as_bytes());
        connection.rest()
    };
    let (told, is_closed) = ask("GET /healthz HTTP/1.0");
    assert!(told.starts_with("HTTP/1.0 200 OK\r\n") && is_closed, "{told}");
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/3", "HTTP/0.9", "http/1.1", "JUNK/1.1"] {
        let (told, is_closed) = ask(&format!("GET /healthz {version}\r\nHost: x"));
        assert!(told.starts_with("HTTP/1.1 400 ") && is_closed, "{version}: {told}");
    }
}
