//! CD10: nobody guesses a code (RFC 6749 §10.10).

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::Request;
use crate::oauth::WEB;
use crate::server::Server;
use crate::wire::{Connection, bytes};

const CODES: usize = 10_000;
const HANDS: usize = 4;

/// Gets codes for somebody who is signed in, over a few connections that stay open.
fn codes(server: &Server) -> Vec<String> {
    let cookies = server.alice().cookies().to_vec();
    let cookies: Vec<String> =
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let url = format!("{}/oauth2/authorize?{}", server.url, WEB.authorization("openid").query());
    let hand = || {
        let mut codes = Vec::new();
        while codes.len() < CODES / HANDS {
            let mut connection = Connection::open(&server.url);
            for _ in 0..500 {
                let request = Request::new("GET", &*url).header("cookie", &cookies.join("; "));
                connection.write(&bytes(&request));
                let answer = connection.read(&request);
                codes.push(answer.redirects_to(WEB.redirect_uri)["code"].clone());
            }
        }
        codes
    };
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|_| scope.spawn(hand)).collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    })
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

/// 16 random bytes in each: none is there twice, and each byte, bit and letter is even.
#[test]
fn ten_thousand_codes_are_even_and_all_different() {
    let server = Server::start_origin();
    let _log = server.log_on_failure();
    let codes = codes(&server);
    assert_eq!(codes.len(), CODES);
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), CODES, "a code is there twice");
    let parsed: Vec<Vec<u8>> =
        codes.iter().map(|code| URL_SAFE_NO_PAD.decode(code).unwrap()).collect();
    // version ‖ 16 random bytes ‖ issued-at ‖ tag
    assert!(parsed.iter().all(|code| code.len() == 1 + 16 + 8 + 16));
    let random: HashSet<&[u8]> = parsed.iter().map(|code| &code[1..17]).collect();
    assert_eq!(random.len(), CODES, "random bytes are there twice");
    for at in (1..17).chain(25..41) {
        let bytes = || parsed.iter().map(|code| usize::from(code[at]));
        is_even(bytes(), 256, &format!("byte {at}"));
        for bit in 0..8 {
            is_even(bytes().map(|byte| byte >> bit & 1), 2, &format!("bit {bit} of byte {at}"));
        }
        is_even(
            parsed.windows(2).map(|two| usize::from(two[0][at] ^ two[1][at])),
            256,
            &format!("byte {at} and the next code's"),
        );
    }
    // The letters that hold random bits alone.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for at in 2..22 {
        let letter = |code: &String| {
            let letter = code.as_bytes()[at];
            alphabet.iter().position(|known| *known == letter).unwrap()
        };
        is_even(codes.iter().map(letter), 64, &format!("letter {at}"));
    }
}
