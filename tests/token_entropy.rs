//! RT19, JW21: nobody guesses a refresh token, and no two tokens have the same name (RFC 6749 §10.10,
//! RFC 9068 §2.2).

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::oauth::{Tokens, WEB, jwt_part};
use crate::server::Server;

const HANDS: usize = 4;
const GRANTS: usize = 5;
const EACH: usize = 150;

/// Thousands of refresh tokens, first ones and successors, and the access tokens beside them.
#[test]
fn thousands_of_tokens_are_even_and_all_different() {
    let server = Server::origin();
    let _log = server.log_on_failure();
    let hand = || {
        let mut all = Vec::new();
        for _ in 0..GRANTS {
            let mut tokens = WEB.tokens(server, "openid");
            for _ in 0..EACH {
                let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
                all.push(tokens);
                tokens = next;
            }
        }
        all
    };
    let all: Vec<Tokens> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|_| scope.spawn(hand)).collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    });
    let count = HANDS * GRANTS * EACH;
    assert_eq!(all.len(), count);
    let jtis: HashSet<String> =
        all.iter().map(|it| jwt_part(&it.access, 1)["jti"].to_string()).collect();
    assert_eq!(jtis.len(), count, "two access tokens have the same name");
    let parsed: Vec<Vec<u8>> =
        all.iter().map(|it| URL_SAFE_NO_PAD.decode(&it.refresh).unwrap()).collect();
    // version ‖ grant ‖ end of the grant ‖ generation ‖ 16 secret bytes ‖ tag
    assert!(parsed.iter().all(|it| it.len() == 1 + 16 + 8 + 4 + 16 + 16));
    let secrets = || parsed.iter().map(|it| &it[29..45]);
    assert_eq!(secrets().collect::<HashSet<_>>().len(), count, "two have the same secret");
    // Pearson's chi-square over all secret bytes and tags: 255 expected, with a deviation of 22.6.
    let mut counts = [0_u32; 256];
    for byte in parsed.iter().flat_map(|it| &it[29..]) {
        counts[usize::from(*byte)] += 1;
    }
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    let chi: f64 = counts.iter().map(|it| (f64::from(*it) - expected).powi(2) / expected).sum();
    assert!((119.0..391.0).contains(&chi), "{chi}");
}
