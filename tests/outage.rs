//! What an outage answers, and how one asks through it: 503 says neither yes nor no.

use std::time::{Duration, Instant};

use stack::Stalls;

use crate::http::{Answer, Request, parse_query};
use crate::oauth::{Tokens, WEB};
use crate::server::{Server, until};
use crate::wire::at_once;

/// Refreshes as a client does: 503 is no answer, so it asks again.
#[track_caller]
pub(crate) fn refreshes_at_last(server: &Server, token: &str) -> Tokens {
    Tokens::of(&answered_at_last(|| WEB.refresh(server, token)))
}

/// Asks until the answer is not 503, which says no more than that.
#[track_caller]
pub(crate) fn answered_at_last(mut ask: impl FnMut() -> Answer) -> Answer {
    past_outages(|| {
        let answer = ask();
        if answer.status == 503 {
            is_unavailable(&answer);
        }
        answer
    })
}

/// Asks, as a browser does, until the answer is not that of an outage.
#[track_caller]
pub(crate) fn past_outages(mut ask: impl FnMut() -> Answer) -> Answer {
    let mut answer = None;
    until("there is an answer", || {
        answer = Some(ask()).filter(|answer| !is_outage(answer));
        answer.is_some()
    });
    answer.unwrap()
}

/// How often those ask again that came at once: each answer takes two seconds at most, and a refresh
/// token is good for ten.
const TRIES: usize = 4;

/// Returns what was answered to requests that came at once, in no order, and how often that was 503: on
/// a machine that is busy many may wait for too long. They ask again once the doors are ready, and once
/// more all at once.
#[track_caller]
pub(crate) fn at_once_at_last(doors: &[String], requests: Vec<Request>) -> (Vec<Answer>, usize) {
    let is_ready =
        |door: &String| Request::new("GET", format!("{door}/readyz")).send().status == 200;
    let (mut told, mut unanswered, mut waiting) = (Vec::new(), 0, requests);
    for _ in 0..TRIES {
        let answers = at_once(&waiting);
        let (unavailable, given): (Vec<_>, Vec<_>) =
            answers.into_iter().zip(waiting).partition(|(answer, _)| answer.status == 503);
        for (answer, _) in &unavailable {
            is_unavailable(answer);
        }
        told.extend(given.into_iter().map(|(answer, _)| answer));
        unanswered += unavailable.len();
        waiting = unavailable.into_iter().map(|(_, request)| request).collect();
        until("all are ready again", || doors.iter().all(is_ready));
        if waiting.is_empty() {
            return (told, unanswered);
        }
    }
    panic!("{} were never answered, {} were", waiting.len(), told.len());
}

/// Asserts the only answer to an outage: never a no while nobody knows.
#[track_caller]
pub(crate) fn is_unavailable(answer: &Answer) {
    answer.refused(503, "temporarily_unavailable");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{answer:?}");
}

/// Tells whether an answer is that of an outage, which a browser may take to the client.
pub(crate) fn is_outage(answer: &Answer) -> bool {
    let sent = answer.header("location").and_then(|location| location.split_once('?'));
    let error = sent.and_then(|(_, query)| parse_query(query).remove("error"));
    answer.status == 503 || error.is_some_and(|error| error == "temporarily_unavailable")
}

/// For how long somebody asks.
const ASKED_FOR: Duration = Duration::from_secs(20);

/// Asks through a machine that stands still now and then, and through nothing else.
#[track_caller]
pub(crate) fn ask_through(stalls: &Stalls, ask: impl Fn() -> Answer) -> Answer {
    let since = Instant::now();
    loop {
        let began = Instant::now();
        let answer = ask();
        let is_final = answer.status != 503 || since.elapsed() > ASKED_FOR;
        if is_final || !stalls.excuse(began, Instant::now()) {
            return answer;
        }
        is_unavailable(&answer);
    }
}
