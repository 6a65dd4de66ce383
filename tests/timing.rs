//! How long an answer takes tells nobody whether there is such a user or client, nor how much of a
//! secret was right.
//!
//! Answers of two kinds are asked for in a random order on one connection, and their times compared
//! by Yuen's test: Welch's t with a tenth of each end cut off, because what the machine does beside
//! makes a few answers late, and those say nothing. A leak shifts all answers of a kind, so it is
//! still there in the middle. Beyond 4.5 both samples are taken again, twice as large: chance does
//! not strike twice, and what is really there grows with the root of the sample.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Instant;

use stack::{Front, Postgres, Redis};

use crate::browser::{Browser, Form};
use crate::forge;
use crate::http::{Answer, Request, parse_query};
use crate::oauth::{WEB, own_tokens};
use crate::outage::{is_unavailable, past_outages};
use crate::server::{Server, unique};
use crate::wire::{self, Connection};

/// Where the difference of two kinds begins to be more than chance.
const BOUND: f64 = 4.5;

/// The part of a sample that is cut off at each of its ends.
const CUT: f64 = 0.1;

/// Of so many requests one may be answered 503, and is sent again: that is what the machine does beside,
/// and not what was asked.
const FEW: usize = 100;

/// Returns how many answers of each kind are timed: 2,000, or what `CADENCE_TEST_TIMINGS` says.
fn answers() -> usize {
    let many = std::env::var_os("CADENCE_TEST_TIMINGS");
    many.map_or(2_000, |text| text.to_str().unwrap().parse().unwrap())
}

/// Random numbers that are the same in every run.
struct Order(u64);

impl Order {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// A kind of requests: its name, and how the next one is made.
type Kind<'a> = (&'a str, &'a mut dyn FnMut() -> Request);

/// Asserts that kinds of requests cannot be told apart by their answers, of which `many` are timed, nor
/// by how long those take.
#[track_caller]
fn look_alike(url: &str, many: usize, kinds: &mut [Kind<'_>]) {
    let mut told = BTreeSet::new();
    let mut suspects: Vec<usize> = (1..kinds.len()).collect();
    for many in [many, 2 * many] {
        let times = times(url, many, kinds, &mut told);
        assert_eq!(told.len(), 1, "{told:#?}");
        suspects.retain(|&at| {
            let t = yuen(&times[0], &times[at]);
            let (one, other) = (middle(&times[0]), middle(&times[at]));
            println!(
                "{} {one:.3} ms, {} {other:.3} ms: t = {t:.2} ({many} each)",
                kinds[0].0, kinds[at].0
            );
            t.abs() >= BOUND
        });
        if suspects.is_empty() {
            return;
        }
    }
    let names: Vec<&str> = suspects.iter().map(|&at| kinds[at].0).collect();
    panic!("can be told from {} by their times: {names:?}", kinds[0].0);
}

/// Sends `many` requests of each kind in a random order; returns how long the answers took, in
/// milliseconds, and adds what they said to `told`.
fn times(
    url: &str,
    many: usize,
    kinds: &mut [Kind<'_>],
    told: &mut BTreeSet<(u16, String, BTreeSet<String>)>,
) -> Vec<Vec<f64>> {
    let mut order: Vec<usize> = (0..kinds.len()).flat_map(|at| vec![at; many]).collect();
    let mut random = Order(0x9e37_79b9_7f4a_7c15);
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at + 1));
    }
    let mut connection = Connection::open(url);
    let mut times = vec![Vec::new(); kinds.len()];
    let mut unanswered = vec![0; kinds.len()];
    // The first answers of a connection are nobody's measure.
    for (place, kind) in (0..kinds.len()).chain(order).enumerate() {
        let mut request = kinds[kind].1();
        let (mut took, mut answer) = timed(&mut connection, &request);
        while answer.status == 503 {
            if answer.is_html() {
                answer.is_page(503);
            } else {
                is_unavailable(&answer);
            }
            unanswered[kind] += 1;
            let name = kinds[kind].0;
            assert!(unanswered[kind] * FEW <= many, "{name}: {unanswered:?} were answered 503");
            request = kinds[kind].1();
            (took, answer) = timed(&mut connection, &request);
        }
        if place >= kinds.len() {
            times[kind].push(took);
            let body = without_what_was_sent(&request, &answer.body);
            told.insert((answer.status, body, answer.header_names()));
        }
    }
    times
}

/// Returns what is told whoever asks: a login page has in it again who that is, and in which sign-in.
fn without_what_was_sent(request: &Request, body: &str) -> String {
    let form = parse_query(str::from_utf8(request.body_bytes()).unwrap());
    let sent = ["username", "tx", "csrf"].map(|name| (name, form.get(name)));
    sent.into_iter().fold(body.to_owned(), |body, (name, value)| match value {
        Some(value) => body.replace(value, name),
        None => body,
    })
}

/// Sends a request; returns how long the answer took, in milliseconds, and the answer.
fn timed(connection: &mut Connection, request: &Request) -> (f64, Answer) {
    let bytes = wire::bytes(request);
    let began = Instant::now();
    connection.write(&bytes);
    let answer = connection.read(request);
    (began.elapsed().as_secs_f64() * 1e3, answer)
}

/// Returns the values in order, and how many are cut off at each end.
fn in_order(sample: &[f64]) -> (Vec<f64>, usize) {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of a small number"
    )]
    let cut = (sorted.len() as f64 * CUT) as usize;
    (sorted, cut)
}

#[expect(clippy::cast_precision_loss, reason = "samples are small")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the mean of a sample without its ends.
fn middle(sample: &[f64]) -> f64 {
    let (sorted, cut) = in_order(sample);
    mean(&sorted[cut..sorted.len() - cut])
}

/// Returns the t of the means of two samples without their ends (K. K. Yuen 1974).
fn yuen(one: &[f64], other: &[f64]) -> f64 {
    (middle(one) - middle(other)) / (error(one) + error(other)).sqrt()
}

/// Returns the squared error of the mean of a sample without its ends.
#[expect(clippy::cast_precision_loss, reason = "samples are small")]
fn error(sample: &[f64]) -> f64 {
    let (mut values, cut) = in_order(sample);
    let last = values.len() - cut - 1;
    for at in 0..cut {
        values[at] = values[cut];
    }
    for at in last + 1..values.len() {
        values[at] = values[last];
    }
    let center = mean(&values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    let kept = (last + 1 - cut) as f64;
    squares / (kept * (kept - 1.0))
}

/// Returns how many microseconds each kind takes longer than the one before, by the line of least
/// squares through the middles of all, and its t.
#[expect(clippy::cast_precision_loss, reason = "there are few kinds")]
fn slope(samples: &[Vec<f64>]) -> (f64, f64) {
    let center = (samples.len() - 1) as f64 / 2.0;
    let [mut spread, mut rise, mut doubt] = [0.0; 3];
    for (at, sample) in samples.iter().enumerate() {
        let from_center = at as f64 - center;
        spread += from_center.powi(2);
        rise += from_center * middle(sample);
        doubt += from_center.powi(2) * error(sample);
    }
    (rise / spread * 1e3, rise / doubt.sqrt())
}

#[test]
fn the_test_itself_tells_apart_what_differs() {
    let mut random = Order(7);
    #[expect(clippy::cast_precision_loss, reason = "a random number")]
    let mut sample = |shift: f64| -> Vec<f64> {
        let mut noise = || (0..6).map(|_| random.below(1_000) as f64 / 1_000.0).sum::<f64>();
        (0..400).map(|at| shift + noise() + if at % 20 == 0 { 50.0 } else { 0.0 }).collect()
    };
    let (one, same, later) = (sample(0.0), sample(0.0), sample(0.3));
    assert!(yuen(&one, &same).abs() < BOUND, "{}", yuen(&one, &same));
    assert!(yuen(&one, &later) < -BOUND, "{}", yuen(&one, &later));
    let mut samples =
        |step: f64| -> Vec<Vec<f64>> { (0..32).map(|at| sample(step * f64::from(at))).collect() };
    let (even, steep) = (slope(&samples(0.0)), slope(&samples(0.01)));
    assert!(even.1.abs() < BOUND, "{even:?}");
    assert!(steep.1 > BOUND && (5.0..15.0).contains(&steep.0), "{steep:?}");
}

/// Makes addresses that were not used before.
fn addresses() -> impl FnMut() -> String {
    let mut number = 0_u32;
    move || {
        number += 1;
        format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff)
    }
}

fn password_grant(url: &str, username: &str, password: &str) -> Request {
    let form = [("grant_type", "password"), ("username", username), ("password", password)];
    Request::new("POST", format!("{url}/oauth2/token"))
        .basic("own", "own-secret-0123456789")
        .form(&form)
}

/// Opens a login page, as somebody who begins anew when the server has no room.
fn login_page(server: &Server) -> (Browser<'_>, Form) {
    let query = WEB.authorization("openid").query();
    let mut browser = Browser::new(server);
    let form = Form::of(&past_outages(|| browser.authorize(&query)));
    (browser, form)
}

/// Makes requests that send the login form. It is another one now and then, because each is good for ten
/// minutes.
fn login_forms(server: &Server) -> impl FnMut(&str, &str) -> Request {
    let (mut page, mut sent) = (login_page(server), 0);
    move |username, password| {
        sent += 1;
        if sent % 200 == 0 {
            page = login_page(server);
        }
        let (browser, form) = &page;
        let form = form.clone().with("username", username).with("password", password);
        let request = browser.unsent(&form).header("origin", &server.url);
        request.header("cookie", &browser.cookie())
    }
}

/// Asks with a wrong password, as a user who does not exist, and as one who is disabled, with the right
/// password.
#[track_caller]
fn no_user_and_a_wrong_password_look_alike(
    server: &Server,
    many: usize,
    request: impl FnMut(&str, &str) -> Request,
) {
    // Nobody may be guessed at so often that it is not looked at any more.
    let users = 3 * many / 40 + 2;
    let names: Vec<String> = (0..2 * users).map(|_| unique("timed")).collect();
    let table = |name| format!("[[users]]\nusername = \"{name}\"\npassword = \"right-{name}\"\n");
    server.apply(&names.iter().map(table).collect::<String>());
    let (known, disabled) = names.split_at(users);
    for name in disabled {
        server.cadence(&["user", "disable", name]);
    }
    let ghosts: Vec<String> = (0..users).map(|_| unique("timed")).collect();
    let mut next = [0_usize; 3];
    let (addresses, request) = (RefCell::new(addresses()), RefCell::new(request));
    let ask = |names: &[String], next: &mut usize, password: &dyn Fn(&str) -> String| {
        *next += 1;
        let name = &names[*next % names.len()];
        let request = (request.borrow_mut())(name, &password(name));
        forge::from_address(request, &(addresses.borrow_mut())())
    };
    let [first, second, third] = &mut next;
    let wrong = |name: &str| format!("wrong-{name}");
    let right = |name: &str| format!("right-{name}");
    look_alike(
        &server.url,
        many,
        &mut [
            ("a wrong password", &mut || ask(known, first, &wrong)),
            ("nobody", &mut || ask(&ghosts, second, &wrong)),
            ("a disabled user", &mut || ask(disabled, third, &right)),
        ],
    );
}

/// PW03, PW04, by the password grant.
#[test]
fn who_is_no_user_takes_as_long_as_a_wrong_password() {
    let server = Server::start_origin();
    no_user_and_a_wrong_password_look_alike(&server, answers(), |name, password| {
        password_grant(&server.url, name, password)
    });
}

/// PW03, PW04, by the login form: behind it is the same, so fewer answers show that nothing is before it.
#[test]
fn who_is_no_user_takes_as_long_as_a_wrong_password_at_the_form() {
    let server = Server::start_origin();
    no_user_and_a_wrong_password_look_alike(&server, answers() / 4, login_forms(&server));
}

/// PW03, PW04: nor does a refusal that looks at no password tell whether there is a user.
#[test]
fn who_is_told_to_wait_does_not_hear_whether_there_is_a_user() {
    let server = Server::start_origin();
    let (name, ghost) = (server.new_user("timed"), unique("timed"));
    for name in [&name, &ghost] {
        for _ in 0..10 {
            own_tokens(&server, name, "guess").refused(400, "invalid_grant");
        }
        own_tokens(&server, name, "guess").refused(429, "temporarily_unavailable");
    }
    look_alike(
        &server.url,
        answers(),
        &mut [
            ("a user", &mut || password_grant(&server.url, &name, "guess")),
            ("nobody", &mut || password_grant(&server.url, &ghost, "guess")),
        ],
    );
}

/// CA11: an unknown client and a wrong secret.
fn no_client_and_a_wrong_secret_look_alike(server: &Server) {
    let mut addresses = addresses();
    let addresses = RefCell::new(&mut addresses);
    let ask = |id: &str| {
        let request = server.post("/oauth2/revoke").basic(id, "wrong-secret-0123456789");
        forge::from_address(request.form(&[("token", "x")]), &(addresses.borrow_mut())())
    };
    // Who looks for clients asks for each but once.
    let mut ghosts = (0..).map(|number| format!("wob-{number}"));
    look_alike(
        &server.url,
        answers(),
        &mut [
            ("a wrong secret", &mut || ask("web")),
            ("nobody", &mut || ask(&ghosts.next().unwrap())),
            ("another method", &mut || ask("post")),
        ],
    );
}

#[test]
fn who_is_no_client_takes_as_long_as_a_wrong_secret() {
    no_client_and_a_wrong_secret_look_alike(&Server::start_origin());
}

/// A directory that is another process is asked about a client that nobody knows, and remembered
/// about one that it knows: that takes longer by far than in a file.
#[test]
fn nor_does_a_directory_in_postgresql_tell_who_is_a_client() {
    let (postgres, redis) = (Postgres::start(), Redis::start(stack::artifacts()));
    let server = Server::start_on(&redis.url(), Front::Direct, |origin| {
        origin.set("CADENCE_DATABASE_URL", &postgres.url());
        origin.set("CADENCE_SECRET", "a-server-secret-of-the-suite-0123456789");
    });
    no_client_and_a_wrong_secret_look_alike(&server);
}

/// CA12: a secret of 32 bytes whose first 0, 1, 2, … 31 are right.
#[test]
fn how_much_of_a_secret_is_right_takes_no_time() {
    const SECRET: &str = "0123456789abcdef0123456789ABCDEF";
    let server = Server::start_origin();
    server.apply(&format!(
        "[[clients]]\nclient_id = \"compared\"\nclient_name = \"Compared\"\n\
         client_secret = \"{SECRET}\"\ntoken_endpoint_auth_method = \"client_secret_basic\"\n\
         grant_types = [\"refresh_token\"]\nscope = \"openid\"\n"
    ));
    let ask = |secret: &str| {
        let request = server.post("/oauth2/revoke").basic("compared", secret);
        request.form(&[("token", "x")])
    };
    ask(SECRET).send().expect(200);
    let addresses = RefCell::new(addresses());
    let guess = |right: usize| {
        let guess = format!("{}{}", &SECRET[..right], "-".repeat(32 - right));
        forge::from_address(ask(&guess), &(addresses.borrow_mut())())
    };
    let mut guesses: Vec<_> = (0..32).map(|right| move || guess(right)).collect();
    let mut kinds: Vec<Kind<'_>> = guesses
        .iter_mut()
        .map(|guess| ("some of it right", guess as &mut dyn FnMut() -> Request))
        .collect();
    let mut told = BTreeSet::new();
    let many = answers() / 20;
    let is_even = [many, 2 * many].into_iter().any(|many| {
        let (micros, t) = slope(&times(&server.url, many, &mut kinds, &mut told));
        assert_eq!(told.len(), 1, "{told:#?}");
        println!("{micros:.3} \u{3bc}s for each byte that is right: t = {t:.2} ({many} of each)");
        t.abs() < BOUND
    });
    assert!(is_even, "how much of a secret is right can be told from the time");
}
