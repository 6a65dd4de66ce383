//! Who guesses passwords is told to wait: by user, by network and by both, whichever way in is
//! tried. RFC 6749 §4.3.2, NIST SP 800-63B §5.2.2.

use std::collections::BTreeMap;
use std::time::Duration;

use stack::Backing;

use crate::browser::{Browser, Form};
use crate::forge;
use crate::http::{Answer, Request};
use crate::oauth::WEB;
use crate::outage::{answered_at_last, is_unavailable};
use crate::pair::Pair;
use crate::server::{Server, in_time, unique, until};
use crate::wire;

const PASSWORD: &str = "a-passphrase-for-tests";

/// How often guesses race each other.
const ROUNDS: usize = 5;

/// Later than a guess is counted that was answered 503, unless it was looked at all the same.
const NOT_UNDER_WAY_ANY_MORE: Duration = Duration::from_secs(6);

/// A server to which requests come from any address.
struct Anywhere {
    server: Server,
    is_edge: bool,
}

impl Anywhere {
    /// Sends a request from an address, as the platform hands it to the edge, or the edge to the
    /// origin.
    fn from(&self, address: &str, request: Request) -> Request {
        if self.is_edge {
            request.header("cf-connecting-ip", address)
        } else {
            forge::from_address(request, address)
        }
    }

    /// Asks for tokens with a password.
    fn grant(&self, address: &str, username: &str, password: &str) -> Answer {
        let request = grant(&self.server.url, username, password);
        // What a client says about itself is another matter.
        let request = request.header("x-forwarded-for", &unique("192.0.2.1"));
        self.from(address, request).send()
    }

    /// Sends the login form.
    fn form(&self, address: &str, username: &str, password: &str) -> Answer {
        let mut browser = Browser::new(&self.server);
        let page = browser.authorize(&WEB.authorization("openid").query()).expect(200);
        let form = Form::of(&page).with("username", username).with("password", password);
        let request = browser.unsent(&form).header("origin", &self.server.url);
        browser.send(self.from(address, request))
    }
}

fn grant(url: &str, username: &str, password: &str) -> Request {
    let form = [
        ("grant_type", "password"),
        ("username", username),
        ("password", password),
        ("scope", "openid"),
    ];
    Request::new("POST", format!("{url}/oauth2/token"))
        .basic("own", "own-secret-0123456789")
        .form(&form)
}

/// Asserts that somebody has to wait, and for no longer than a window.
#[track_caller]
fn waits(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{answer:?}");
}

/// Counts answers by status.
fn count(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_default() += 1;
    }
    counts
}

/// Guesses until that is answered; returns the answer, and how often it was 503. On a machine that is
/// busy a guess may be, which was not looked at, or of which nobody has heard that it was.
#[track_caller]
fn guesses_at_last(guess: impl Fn() -> Answer) -> (Answer, usize) {
    for unanswered in 0..5 {
        let answer = guess();
        if answer.status != 503 {
            return (answer, unanswered);
        }
        is_unavailable(&answer);
        std::thread::sleep(NOT_UNDER_WAY_ANY_MORE);
    }
    panic!("a guess is never answered");
}

/// Asserts that of so many guesses of one network, one after the other, the first hundred are looked
/// at, and no more. Each that was answered 503 may have been one of them.
#[track_caller]
pub(crate) fn a_hundred_are_looked_at(guesses: usize, guess: impl Fn(usize) -> Answer) {
    let (mut statuses, mut unanswered) = (Vec::new(), 0);
    for hand in 0..guesses {
        let (answer, in_vain) = guesses_at_last(|| guess(hand));
        statuses.push(answer.status);
        unanswered += in_vain;
    }
    let looked_at = statuses.iter().take_while(|&&status| status == 400).count();
    let fewest = 100_usize.saturating_sub(unanswered);
    assert!((fewest..=100).contains(&looked_at), "{looked_at}, {unanswered} were not answered");
    let rest = &statuses[looked_at..];
    assert!(!rest.is_empty() && rest.iter().all(|&status| status == 429), "{rest:?}");
}

/// Asserts that of those guesses at a user that came at once, and of eleven more that come one by one,
/// ten are looked at, and no more. Each that was answered 503 may have been one of them: where fewer are
/// left, `None` says that it has to be tried once more, with another user.
#[track_caller]
pub(crate) fn ten_are_looked_at(at_once: &[Answer], guess: impl Fn(usize) -> Answer) -> Option<()> {
    let (mut looked_at, mut unanswered) = (0, 0);
    for answer in at_once {
        match answer.status {
            400 => looked_at += 1,
            429 => waits(answer),
            _ => {
                is_unavailable(answer);
                unanswered += 1;
            }
        }
    }
    assert!(looked_at <= 10, "{:?}", count(at_once));
    if unanswered > 0 {
        std::thread::sleep(NOT_UNDER_WAY_ANY_MORE);
    }
    for hand in 0..11 {
        let (answer, in_vain) = guesses_at_last(|| guess(hand));
        unanswered += in_vain;
        match answer.status {
            400 => looked_at += 1,
            _ => waits(&answer),
        }
    }
    let is_right = looked_at == 10 || looked_at < 10 && unanswered > 0;
    assert!(is_right, "{looked_at}, {unanswered} were not answered: {:?}", count(at_once));
    (looked_at == 10).then_some(())
}

/// Runs each scenario at both doors on Redis, and through the edge on the embedded store.
macro_rules! anywhere {
    ($($(#[$doc:meta])* fn $name:ident($here:ident) $body:block)+) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            fn scenario($here: &Anywhere) $body

            #[test]
            fn through_the_edge() {
                let server = Server::start_anywhere(Backing::Redis);
                scenario(&Anywhere { server, is_edge: true });
            }

            #[test]
            fn at_the_origin() {
                scenario(&Anywhere { server: Server::start_origin(), is_edge: false });
            }

            #[test]
            fn on_the_embedded_store() {
                let server = Server::start_anywhere(Backing::Embedded);
                scenario(&Anywhere { server, is_edge: true });
            }
        }
    )+};
}

anywhere! {
    /// PW06: one user is one user, however the name is spelled. The email is no name to log in by:
    /// guesses at it are nobody's.
    fn every_spelling_counts_for_one_user(here) {
        let name = unique("spelled");
        let email = unique("mail-of-spelled");
        here.server.apply(&format!(
            "[[users]]\nusername = \"{name}\"\nemail = \"{email}\"\npassword = \"{PASSWORD}\"\n"
        ));
        let wide: String = name
            .chars()
            .map(|c| match c {
                'a'..='z' => char::from_u32(u32::from(c) - 0x61 + 0xff41).unwrap(),
                c => c,
            })
            .collect();
        let spellings = [
            name.clone(),
            name.to_uppercase(),
            format!(" {name} "),
            format!("\t{name}\u{a0}"),
            format!("{name}."),
            format!("{}.", name.to_uppercase()),
            wide.clone(),
            wide.to_uppercase(),
            name.replace('@', "\u{ff20}"),
            name.replace("test", "te\u{17f}t"),
        ];
        let address = "192.0.2.7";
        for _ in 0..12 {
            let answer = here.grant(address, &email, PASSWORD);
            assert!(matches!(answer.status, 400 | 429), "{answer:?}");
        }
        for spelling in &spellings {
            here.grant(address, spelling, "guess").refused(400, "invalid_grant");
        }
        for spelling in &spellings {
            waits(&here.grant(address, spelling, PASSWORD));
        }
        for spelling in &spellings {
            here.grant("192.0.2.8", spelling, PASSWORD).expect(200);
        }
    }

    /// PW07: a thousand users, one password, one network: an IPv6 /64 is one, and so is an IPv4
    /// address however it is written.
    fn a_network_has_a_hundred_guesses(here) {
        let in_the_network = |hand: usize| format!("2001:db8:1:2:{hand:x}::{hand:x}");
        let guess = |address: &str, hand: usize| {
            here.grant(address, &format!("user-{hand}@example.test"), PASSWORD)
        };
        a_hundred_are_looked_at(1_000, |hand| guess(&in_the_network(hand), hand));
        let (answer, _) = guesses_at_last(|| guess("2001:db8:1:3::1", 1_001));
        assert_eq!(answer.status, 400, "the next network");
        let known = here.server.new_user("resident");
        waits(&here.grant("2001:DB8:1:2::1", &known, PASSWORD));
        here.grant("2001:db8:1:3::1", &known, PASSWORD).expect(200);
        a_hundred_are_looked_at(102, |hand| {
            let address = match hand {
                101 => "::ffff:c633:6407",
                _ if hand % 2 == 0 => "198.51.100.7",
                _ => "::ffff:198.51.100.7",
            };
            guess(address, 2_000 + hand)
        });
    }

    /// PW05, PW08: who guesses keeps the user out from his own network alone, at the form as with
    /// the grant; guessed at from many, the user waits for a window at most.
    fn a_user_who_is_guessed_at_gets_in_from_elsewhere(here) {
        let name = here.server.new_user("hunted");
        for hand in 0..10 {
            let answer = if hand % 2 == 0 {
                here.form("203.0.113.1", &name, "guess")
            } else {
                here.grant("203.0.113.1", &name, "guess")
            };
            assert_eq!(answer.status, 400, "{answer:?}");
        }
        waits(&here.grant("203.0.113.1", &name, PASSWORD));
        waits(&here.form("203.0.113.1", &name, PASSWORD));
        here.grant("203.0.113.2", &name, PASSWORD).expect(200);
        let answer = here.form("203.0.113.3", &name, PASSWORD);
        assert_eq!(answer.status, 303, "{answer:?}");
        // What the owner does elsewhere gives whoever guesses no more guesses.
        waits(&here.grant("203.0.113.1", &name, "guess"));

        for hand in 0..40 {
            let address = format!("203.0.113.{}", 10 + hand / 10);
            here.grant(&address, &name, "guess").refused(400, "invalid_grant");
        }
        waits(&here.grant("203.0.113.99", &name, PASSWORD));
        waits(&here.form("203.0.113.99", &name, PASSWORD));
        // Nobody else is concerned.
        let other = here.server.new_user("unhunted");
        here.grant("203.0.113.99", &other, PASSWORD).expect(200);
    }

    /// PW03, PW05: a name that is nobody's is counted as any other, and heard the same about.
    fn a_user_who_does_not_exist_is_throttled_alike(here) {
        let name = here.server.new_user("existing");
        let ghost = unique("not-existing");
        let mut told = Vec::new();
        for name in [&name, &ghost] {
            let answers: Vec<Answer> =
                (0..11).map(|_| here.grant("192.0.2.20", name, "guess")).collect();
            assert_eq!(count(&answers), BTreeMap::from([(400, 10), (429, 1)]));
            told.push(answers);
        }
        for (known, unknown) in told[0].iter().zip(&told[1]) {
            assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
            assert_eq!(known.header_names(), unknown.header_names());
        }
    }
}

/// Of a hundred guesses at the same moment, ten are looked at: each time at another user, and from
/// another network, which has a limit of its own. An edge of the suite tells no networks.
#[track_caller]
fn of_a_hundred_guesses_ten_are_looked_at(server: &Server, urls: &[String]) {
    let is_edge = !urls.contains(&server.origin.url());
    let mut networks = (1..).map(|number| format!("2001:db8:9:{number:x}::1"));
    for round in 0..ROUNDS {
        in_time("ten guesses are looked at", || {
            let (name, network) = (server.new_user("raced"), networks.next().unwrap());
            let ask = |hand: usize, password: &str| {
                let request = grant(&urls[hand % urls.len()], &name, password);
                if is_edge { request } else { forge::from_address(request, &network) }
            };
            let guesses: Vec<Request> = (0..100).map(|hand| ask(hand, "guess")).collect();
            let answers = wire::at_once(&guesses);
            ten_are_looked_at(&answers, |hand| ask(hand, "guess").send())?;
            waits(&answered_at_last(|| ask(round, PASSWORD).send()));
            Some(())
        });
    }
}

/// PW09, through both edges and at both origins of a pair.
#[test]
fn of_a_hundred_guesses_at_two_origins_ten_are_looked_at() {
    let pair = Pair::start();
    for urls in pair.doors() {
        of_a_hundred_guesses_ten_are_looked_at(&pair.server, &urls);
    }
}

/// F2, F4: logins that Redis counts when nobody waits for it any more shut their user out no longer than
/// one that is under way.
#[test]
fn an_outage_shuts_nobody_out() {
    let server = Server::start_origin();
    let _log = server.log_on_failure();
    let name = server.new_user("cut-off");
    let login = || grant(&server.url, &name, PASSWORD);
    login().send().expect(200);
    let redis = server.redis.as_ref().unwrap();
    // More than a user has from one network; few of those that come at once are sent to Redis.
    for _ in 0..4 {
        redis.signal(stack::Signal::STOP);
        let answers = wire::at_once(&(0..30).map(|_| login()).collect::<Vec<_>>());
        redis.signal(stack::Signal::CONT);
        let count = count(&answers);
        assert!(count.keys().all(|status| matches!(status, 429 | 503)), "{count:?}");
        until("Redis is back", || server.get("/readyz").send().status == 200);
    }
    until("the user is let in", || login().send().status == 200);
}

scenarios! { everywhere:
    /// PW09, at one origin.
    fn of_a_hundred_guesses_at_once_ten_are_looked_at(server) {
        of_a_hundred_guesses_ten_are_looked_at(server, std::slice::from_ref(&server.url));
    }
}
