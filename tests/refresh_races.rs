//! Refresh tokens that are presented by many at the same moment, or while they are revoked.

use std::collections::BTreeSet;

use crate::http::Request;
use crate::oauth::{Tokens, WEB, jwt_part};
use crate::outage::{answered_at_last, at_once_at_last};
use crate::pair::Pair;
use crate::server::Server;
use crate::wire::at_once;

const HANDS: usize = 100;
const ROUNDS: usize = 50;
const RACES: usize = 500;

fn refresh(door: &str, token: &str) -> Request {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    WEB.sign(Request::new("POST", format!("{door}/oauth2/token")), &form)
}

fn revoke(door: &str, token: &str) -> Request {
    WEB.sign(Request::new("POST", format!("{door}/oauth2/revoke")), &[("token", token)])
}

fn userinfo(door: &str, token: &str) -> Request {
    Request::new("GET", format!("{door}/oauth2/userinfo")).bearer(token)
}

/// Presents one refresh token by a hundred hands at once, through these doors in turn: all are given
/// the same successor, so there is one live leaf, and nobody is taken for a thief.
fn of_many_refreshes_at_once_there_is_one_successor(server: &Server, doors: &[String]) {
    let mut tokens = WEB.tokens_at_last(server, "openid");
    for round in 0..ROUNDS {
        let of_hand = |hand: usize| refresh(&doors[hand % doors.len()], &tokens.refresh);
        let requests: Vec<Request> = (0..HANDS).map(of_hand).collect();
        let (answers, _) = at_once_at_last(doors, requests);
        let told: Vec<Tokens> = answers.iter().map(Tokens::of).collect();
        let successors: BTreeSet<&str> = told.iter().map(|it| it.refresh.as_str()).collect();
        assert_eq!(successors.len(), 1, "round {round}");
        let jtis: BTreeSet<String> =
            told.iter().map(|it| jwt_part(&it.access, 1)["jti"].to_string()).collect();
        assert_eq!(jtis.len(), HANDS, "round {round}");
        // Every access token is good, and the successor goes on.
        let door = &doors[round % doors.len()];
        for one in [&told[0], &told[HANDS - 1]] {
            answered_at_last(|| userinfo(door, &one.access).send()).expect(200);
        }
        tokens = Tokens::of(&answered_at_last(|| refresh(door, &told[0].refresh).send()));
    }
}

/// Presents a refresh token and revokes it at once: whoever comes first, when both are answered
/// nothing of the grant is good any more. Whoever is told 503 asks again.
fn a_revocation_beats_every_refresh(server: &Server, doors: &[String]) {
    let mut refreshed = 0;
    for round in 0..RACES {
        let tokens = WEB.tokens_at_last(server, "openid");
        let [one, other] = [&doors[round % doors.len()], &doors[(round / 2) % doors.len()]];
        let again = || refresh(one, &tokens.refresh);
        let revokes = || revoke(other, &tokens.refresh);
        let mut race: [&dyn Fn() -> Request; 2] = [&again, &revokes];
        if round % 4 > 1 {
            race.reverse();
        }
        let mut answers = at_once(&race.map(|request| request()));
        for (answer, request) in answers.iter_mut().zip(race) {
            if answer.status == 503 {
                *answer = answered_at_last(|| request().send());
            }
        }
        let mut access = vec![tokens.access.clone()];
        let mut refresh_tokens = vec![tokens.refresh.clone()];
        for answer in &answers {
            match (answer.status, answer.body.as_str()) {
                (200, "") => {}
                (200, _) => {
                    let next = Tokens::of(answer);
                    access.push(next.access);
                    refresh_tokens.push(next.refresh);
                    refreshed += 1;
                }
                _ => answer.refused(400, "invalid_grant"),
            }
        }
        let dead = |request: &dyn Fn() -> Request, status, error: &str| {
            let answer = answered_at_last(|| request().send());
            let told = (answer.status, answer.error());
            assert_eq!(told, (status, error.into()), "round {round}: {answers:?} {answer:?}");
        };
        for token in &access {
            dead(&|| userinfo(one, token), 401, "invalid_token");
        }
        for token in &refresh_tokens {
            dead(&|| refresh(other, token), 400, "invalid_grant");
        }
    }
    // Both ways have happened, or this was no race.
    println!("{refreshed} of {RACES} were refreshed before they were revoked");
    assert!((1..RACES).contains(&refreshed), "{refreshed}");
}

/// RT06, at two edges and their origins.
#[test]
fn many_refreshes_at_once_through_two_edges() {
    let pair = Pair::start();
    let [edges, _] = pair.doors();
    of_many_refreshes_at_once_there_is_one_successor(&pair.server, &edges);
}

/// RT06, at two origins.
#[test]
fn many_refreshes_at_once_at_two_origins() {
    let pair = Pair::start();
    let [_, origins] = pair.doors();
    of_many_refreshes_at_once_there_is_one_successor(&pair.server, &origins);
}

/// RT06.
#[test]
fn many_refreshes_at_once_at_one_origin() {
    let server = Server::origin();
    let _log = server.log_on_failure();
    of_many_refreshes_at_once_there_is_one_successor(server, std::slice::from_ref(&server.url));
}

/// RT06.
#[test]
fn many_refreshes_at_once_on_the_embedded_store() {
    let server = Server::embedded();
    let _log = server.log_on_failure();
    of_many_refreshes_at_once_there_is_one_successor(server, std::slice::from_ref(&server.url));
}

/// RT09, at two edges and their origins.
#[test]
fn refreshes_beside_revocations_through_two_edges() {
    let pair = Pair::start();
    let [edges, _] = pair.doors();
    a_revocation_beats_every_refresh(&pair.server, &edges);
}

/// RT09, at two origins.
#[test]
fn refreshes_beside_revocations_at_two_origins() {
    let pair = Pair::start();
    let [_, origins] = pair.doors();
    a_revocation_beats_every_refresh(&pair.server, &origins);
}

/// RT09.
#[test]
fn refreshes_beside_revocations_on_the_embedded_store() {
    let server = Server::embedded();
    let _log = server.log_on_failure();
    a_revocation_beats_every_refresh(server, std::slice::from_ref(&server.url));
}
