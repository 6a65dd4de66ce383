//! CD10, RT19, JW21: nobody guesses a code or a refresh token, and no two tokens have the same name (RFC
//! 6749 §10.10, RFC 9068 §2.2).

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::Request;
use crate::oauth::{Tokens, WEB, jwt_part};
use crate::outage::{past_outages, refreshes_at_last};
use crate::server::Server;
use crate::wire::{Connection, bytes};

const CODES: usize = 10_000;
const TOKENS: usize = 10_000;
const HANDS: usize = 4;

/// Collects what several threads make beside each other.
fn by_all_hands<T: Send>(hand: impl Fn() -> Vec<T> + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|_| scope.spawn(&hand)).collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    })
}

/// Gets codes for somebody who is signed in, over a few connections that stay open.
fn codes(server: &Server) -> Vec<String> {
    let cookie = server.alice().cookie();
    let url = format!("{}/oauth2/authorize?{}", server.url, WEB.authorization("openid").query());
    let hand = || {
        let mut codes = Vec::new();
        while codes.len() < CODES / HANDS {
            let mut connection = Connection::open(&server.url);
            for _ in 0..500 {
                let request = Request::new("GET", &*url).header("cookie", &cookie);
                let answer = past_outages(|| {
                    connection.write(&bytes(&request));
                    connection.read(&request)
                });
                codes.push(answer.redirects_to(WEB.redirect_uri)["code"].clone());
            }
        }
        codes
    };
    by_all_hands(hand)
}

/// Asserts that values below `kinds` are as likely as each other: Pearson's chi-square, as the
/// standard deviations of a normal distribution (Wilson and Hilferty's cube root). Six are exceeded
/// by one true source of a thousand million.
fn is_even(values: impl Iterator<Item = usize>, kinds: usize, what: &str) {
    let mut counts = vec![0.0_f64; kinds];
    values.for_each(|value| counts[value] += 1.0);
    let freedom = f64::from(u32::try_from(kinds - 1).unwrap());
    let expected = counts.iter().sum::<f64>() / (freedom + 1.0);
    let chi: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
    let spread = 2.0 / (9.0 * freedom);
    let deviations = ((chi / freedom).cbrt() - (1.0 - spread)) / spread.sqrt();
    // Too even is no chance, either.
    assert!((-6.0..6.0).contains(&deviations), "{what}: chi-square {chi:.0}, {deviations:.1} sd");
}

/// Asserts that each byte, bit and letter of secrets is even, whatever stood there before: `parsed`
/// holds the bytes, `bytes` says which of them are secret, `letters` which of the `texts` hold
/// nothing else.
fn are_even(
    texts: &[String],
    parsed: &[Vec<u8>],
    bytes: impl Iterator<Item = usize>,
    letters: impl Iterator<Item = usize>,
) {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for at in bytes {
        let bytes = || parsed.iter().map(|it| usize::from(it[at]));
        is_even(bytes(), 256, &format!("byte {at}"));
        for bit in 0..8 {
            is_even(bytes().map(|byte| byte >> bit & 1), 2, &format!("bit {bit} of byte {at}"));
        }
        is_even(
            parsed.windows(2).map(|two| usize::from(two[0][at] ^ two[1][at])),
            256,
            &format!("byte {at} and the next one's"),
        );
    }
    for at in letters {
        let letter = |text: &String| {
            let letter = text.as_bytes()[at];
            ALPHABET.iter().position(|known| *known == letter).unwrap()
        };
        is_even(texts.iter().map(letter), 64, &format!("letter {at}"));
    }
}

fn parse(texts: &[String]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap()).collect()
}

/// CD10: 16 random bytes in each: none is there twice, and each byte, bit and letter is even.
#[test]
fn ten_thousand_codes_are_even_and_all_different() {
    let server = Server::start_origin();
    let _log = server.log_on_failure();
    let codes = codes(&server);
    assert_eq!(codes.len(), CODES);
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), CODES, "a code is there twice");
    let parsed = parse(&codes);
    // version ‖ 16 random bytes ‖ issued-at ‖ tag
    assert!(parsed.iter().all(|code| code.len() == 1 + 16 + 8 + 16));
    let random: HashSet<&[u8]> = parsed.iter().map(|code| &code[1..17]).collect();
    assert_eq!(random.len(), CODES, "random bytes are there twice");
    are_even(&codes, &parsed, (1..17).chain(25..41), 2..22);
}

/// Begins grants and refreshes each many times: first refresh tokens and successors, and the access
/// tokens beside them.
fn tokens(server: &Server) -> Vec<Tokens> {
    const GRANTS: usize = 10;
    const EACH: usize = TOKENS / HANDS / GRANTS;
    let hand = || {
        let mut all = Vec::new();
        for _ in 0..GRANTS {
            let mut tokens = WEB.tokens_at_last(server, "openid");
            for _ in 0..EACH {
                let next = refreshes_at_last(server, &tokens.refresh);
                all.push(tokens);
                tokens = next;
            }
        }
        all
    };
    by_all_hands(hand)
}

/// RT19, JW21: 16 secret bytes in each refresh token, as even as a code's; no two access tokens have
/// the same name.
#[test]
fn ten_thousand_tokens_are_even_and_all_different() {
    let server = Server::start_origin();
    let _log = server.log_on_failure();
    let all = tokens(&server);
    assert_eq!(all.len(), TOKENS);
    let jtis: HashSet<String> =
        all.iter().map(|it| jwt_part(&it.access, 1)["jti"].to_string()).collect();
    assert_eq!(jtis.len(), TOKENS, "two access tokens have the same name");
    let refresh: Vec<String> = all.into_iter().map(|it| it.refresh).collect();
    let parsed = parse(&refresh);
    // version ‖ grant ‖ end of the grant ‖ generation ‖ 16 secret bytes ‖ tag
    assert!(parsed.iter().all(|it| it.len() == 1 + 16 + 8 + 4 + 16 + 16));
    let secrets: HashSet<&[u8]> = parsed.iter().map(|it| &it[29..45]).collect();
    assert_eq!(secrets.len(), TOKENS, "two have the same secret");
    // The last letter has four bits that are none.
    are_even(&refresh, &parsed, 29..61, 39..81);
}
