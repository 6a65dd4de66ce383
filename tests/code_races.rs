//! Many redemptions of one code at the same moment: RFC 6749 §4.1.2, §10.5.

use crate::http::{Answer, Request};
use crate::oauth::{Tokens, VERIFIER, WEB, grant_is_dead};
use crate::outage::at_once_at_last;
use crate::pair::Pair;
use crate::server::Server;

const ROUNDS: usize = 50;
const HANDS: usize = 100;
/// Redeems a code through all of these doors at once, again and again: one gets tokens, and they
/// are dead when all have been answered, because everybody else was a replay by the right client.
fn one_wins_and_keeps_nothing(server: &Server, doors: &[String]) {
    let mut winners = 0;
    for round in 0..ROUNDS {
        let code = WEB.code_at_last(server, "openid");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        let redeem =
            |door: &String| WEB.sign(Request::new("POST", format!("{door}/oauth2/token")), &form);
        let requests: Vec<Request> = doors.iter().cycle().take(HANDS).map(redeem).collect();
        let (answers, unanswered) = at_once_at_last(doors, requests);
        let (won, lost): (Vec<Answer>, Vec<Answer>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        for answer in lost {
            answer.refused(400, "invalid_grant");
        }
        assert!(won.len() <= 1, "round {round}");
        // Who was told 503 may have been the winner.
        assert!(won.len() == 1 || unanswered > 0, "round {round}: nobody has won");
        if let Some(won) = won.first() {
            winners += 1;
            grant_is_dead(server, &WEB, &Tokens::of(won));
        }
    }
    assert!(winners * 10 >= ROUNDS * 9, "{winners} winners in {ROUNDS} rounds");
}

scenarios! { everywhere:
    /// CD03: a hundred at a barrier, fifty times.
    fn of_a_hundred_redemptions_at_once_one_succeeds(server) {
        one_wins_and_keeps_nothing(server, std::slice::from_ref(&server.url));
    }
}

/// CD04: CD03 over two edges with two origins, and at the two origins themselves.
#[test]
fn of_a_hundred_redemptions_at_two_edges_and_origins_one_succeeds() {
    let pair = Pair::start();
    let _log = pair.server.log_on_failure();
    for doors in pair.doors() {
        one_wins_and_keeps_nothing(&pair.server, &doors);
    }
}
