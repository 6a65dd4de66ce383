//! A crowd at one door starves nobody at the others: many logins at once, and many who are slow.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::forge;
use crate::http::{Answer, Request};
use crate::oauth::WEB;
use crate::server::{Server, unique};
use crate::wire::{self, Connection};

/// What userinfo may take in a crowd beyond twice what it takes otherwise: more than other tests that run
/// beside add, and less than anybody waits who stands in a queue behind the crowd.
const BESIDE: Duration = Duration::from_millis(100);

/// How many answers it takes to say within which time 99 of 100 came: ten may come later.
const SAMPLES: usize = 1_000;

/// How long these are waited for, in which a tenth of them must come at least.
const SAMPLED_IN: Duration = Duration::from_secs(12);

/// Returns the time within which 99 of 100 answers of userinfo came while a crowd came wave by wave,
/// until there are answers enough; and what each `wave` returned.
fn userinfo_while<T>(
    server: &Server,
    access: &str,
    mut wave: impl FnMut() -> T,
) -> (Duration, Vec<T>) {
    let (ended, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let asks = || {
            let request = server.get("/oauth2/userinfo").bearer(access);
            let whole = wire::bytes(&request);
            let mut connection = Connection::open(&server.url);
            let mut times = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                connection.write(&whole);
                connection.read(&request).expect(200);
                times.push(began.elapsed());
                answered.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
            times
        };
        let asking: Vec<_> = (0..2).map(|_| scope.spawn(asks)).collect();
        let began = Instant::now();
        let mut waves = Vec::new();
        while waves.is_empty()
            || answered.load(Ordering::Relaxed) < SAMPLES && began.elapsed() < SAMPLED_IN
        {
            waves.push(wave());
        }
        ended.store(true, Ordering::Relaxed);
        let mut times: Vec<Duration> =
            asking.into_iter().flat_map(|times| times.join().unwrap()).collect();
        times.sort();
        println!("{} answers of userinfo, {} waves", times.len(), waves.len());
        assert!(times.len() >= SAMPLES / 10, "userinfo was answered {} times", times.len());
        (times[times.len() * 99 / 100], waves)
    })
}

/// Asserts that userinfo was answered about as soon in a crowd as otherwise (F21).
#[track_caller]
fn is_not_starved(otherwise: Duration, crowded: Duration) {
    println!("userinfo, 99 of 100: {otherwise:?}, in a crowd {crowded:?}");
    assert!(crowded < 2 * otherwise + BESIDE, "{otherwise:?}, in a crowd {crowded:?}");
}

scenarios! { doors:
    /// PW11, F22: of two hundred logins at once some are refused in time, and userinfo does not
    /// wait for any of them.
    fn two_hundred_logins_starve_nobody(server) {
        let tokens = WEB.tokens(server, "openid");
        // As many forms whose passwords nobody looks at: the passwords are what is tried here.
        let (otherwise, _) = userinfo_while(server, &tokens.access, || {
            let answers = wire::at_once(&forms(server, "none"));
            assert!(answers.iter().all(|it| matches!(it.status, 400 | 503)), "{answers:?}");
            std::thread::sleep(Duration::from_secs(1));
        });
        let logins = || wire::at_once(&forms(server, "password"));
        let (crowded, waves) = userinfo_while(server, &tokens.access, logins);
        for answers in waves {
            are_refused_or_checked(&answers);
        }
        is_not_starved(otherwise, crowded);
        // Who was refused was not counted: the next one is looked at.
        let name = server.new_user("after-the-crowd");
        crate::oauth::own_tokens(server, &name, "a-passphrase-for-tests").expect(200);
    }
}

/// Makes the forms of two hundred logins, each of somebody else.
fn forms(server: &Server, grant_type: &str) -> Vec<Request> {
    let form = |hand: usize| {
        let username = unique("crowd");
        let form = [("grant_type", grant_type), ("username", &username), ("password", "x")];
        let request = server.post("/oauth2/token").basic("own", "own-secret-0123456789");
        let request = request.form(&form);
        match server.edge {
            Some(_) => request,
            None => forge::from_address(request, &format!("2001:db8:0:{hand:x}::1")),
        }
    };
    (0..200).map(form).collect()
}

/// Asserts that of many logins with a wrong password some were looked at, and all others told when
/// to come again.
#[track_caller]
fn are_refused_or_checked(answers: &[Answer]) {
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    println!("{} of {} logins were refused", refused.len(), answers.len());
    for answer in &refused {
        answer.refused(503, "temporarily_unavailable");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{answer:?}");
    }
    let checked = answers.iter().filter(|answer| answer.status == 400).count();
    assert!(checked > 0 && !refused.is_empty());
    assert_eq!(checked + refused.len(), answers.len(), "{answers:?}");
}

/// A client that sends a byte a second.
struct Slow {
    stream: TcpStream,
    began: Instant,
    cut_after: Option<Duration>,
}

impl Slow {
    fn begin(url: &str, head: &str) -> Self {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, began: Instant::now(), cut_after: None }
    }

    /// Sends one more byte, and looks whether the server has had enough.
    fn go_on(&mut self) {
        let written = self.stream.write(b"a");
        let mut told = [0; 1_024];
        let is_cut = loop {
            match self.stream.read(&mut told) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        if is_cut || written.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.cut_after.get_or_insert(self.began.elapsed());
        }
    }
}

/// Two thousand clients send a byte a second, half of them of a head, half of a body.
fn two_thousand_slow_clients_starve_nobody(server: &Server, head_in: u64, body_in: u64) {
    stack::open_many_files();
    let tokens = WEB.tokens(server, "openid");
    let pause = || std::thread::sleep(Duration::from_secs(1));
    let (alone, _) = userinfo_while(server, &tokens.access, pause);
    let head = "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let body = "POST /oauth2/token HTTP/1.1\r\nHost: x\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n";
    let (crowded, waves) = userinfo_while(server, &tokens.access, || {
        let mut heads: Vec<_> = (0..1_000).map(|_| Slow::begin(&server.url, head)).collect();
        let mut bodies: Vec<_> = (0..1_000).map(|_| Slow::begin(&server.url, body)).collect();
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(40) {
            let round = Instant::now();
            if heads.iter().chain(&bodies).all(|slow| slow.cut_after.is_some()) {
                break;
            }
            let all = heads.iter_mut().chain(&mut bodies);
            all.filter(|slow| slow.cut_after.is_none()).for_each(Slow::go_on);
            std::thread::sleep(Duration::from_secs(1));
            longest = longest.max(round.elapsed());
        }
        (heads, bodies, longest)
    });
    for (heads, bodies, round) in waves {
        for (what, slow, at_most) in [("head", heads, head_in), ("body", bodies, body_in)] {
            let last = slow.iter().map(|slow| slow.cut_after.unwrap_or(Duration::MAX));
            let last = last.max().unwrap();
            println!("the last slow {what} was cut after {last:?}");
            // Each looks once in a round, of a second and what a busy machine adds.
            let bound = Duration::from_secs(at_most + 1) + 2 * round;
            assert!(last < bound, "{what}: {last:?}, rounds of {round:?}");
        }
    }
    is_not_starved(alone, crowded);
}

/// HT09, F21 at the origin: a head has ten seconds, and so has a body.
#[test]
fn two_thousand_slow_clients_starve_nobody_at_the_origin() {
    two_thousand_slow_clients_starve_nobody(&Server::start_origin(), 10, 10);
}

/// HT09, F21 at the edge, where heads are workerd's, which gives them fifteen seconds. A body has
/// the edge's own ten, and workerd listens for one more before it closes the connection.
#[test]
fn two_thousand_slow_clients_starve_nobody_through_the_edge() {
    two_thousand_slow_clients_starve_nobody(&Server::start_edge(), 15, 11);
}

/// HT09, F21: who asks and asks and reads no answer is cut as well.
#[test]
fn a_client_that_reads_no_answers_is_cut() {
    let server = Server::origin();
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_nonblocking(true).unwrap();
    let requests = "GET /.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let began = Instant::now();
    let error = loop {
        assert!(began.elapsed() < Duration::from_mins(1), "it is never cut");
        match stream.write(requests.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => break error,
        }
    };
    println!("cut after {:?}: {error}", began.elapsed());
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    server.get("/healthz").send().expect(200);
}
