//! Everybody hears about themselves alone, however many ask at the same time: an isolate's memory is
//! every request's.

use serde_json::Value;

use crate::browser::Browser;
use crate::http::Answer;
use crate::oauth::{OWN, Tokens, jwt_part, own_tokens};
use crate::outage::answered_at_last;
use crate::server::Server;

const PEOPLE: usize = 4;
const HANDS: usize = 64;
const QUESTIONS: usize = 10_000;

/// Somebody who is signed in to a client, and to the backend-for-frontend where there is one.
struct Person {
    name: String,
    sub: Value,
    access: String,
    cookie: Option<String>,
}

impl Person {
    fn new(server: &Server) -> Self {
        const PASSWORD: &str = "a-passphrase-for-tests";
        let name = server.new_user("crowd");
        let access = Tokens::of(&own_tokens(server, &name, PASSWORD)).access;
        let cookie = server.edge.as_ref().map(|_| {
            let mut browser = Browser::new(server);
            let begun = browser.open("/bff/login");
            let page = browser.follow(begun);
            browser.log_in(&page, &name, PASSWORD);
            let handle = browser.cookies().iter().find(|(name, _)| name == "cadence_bff").unwrap();
            format!("cadence_bff={}", handle.1)
        });
        Self { name, sub: jwt_part(&access, 1)["sub"].clone(), access, cookie }
    }

    /// Asks who this is, in one of five ways, until that is answered.
    fn ask(&self, server: &Server, way: usize) -> Value {
        answered_at_last(|| self.ask_once(server, way)).expect(200).json()
    }

    fn ask_once(&self, server: &Server, way: usize) -> Answer {
        let told = match way {
            0 => server.get("/oauth2/userinfo").bearer(&self.access).send(),
            1 => server.get("/api/me").bearer(&self.access).send(),
            2 => OWN.introspect(server, &self.access),
            _ => {
                let path = if way == 3 { "/bff/session" } else { "/bff/api/me" };
                let request = server.get(path).header("cookie", self.cookie.as_ref().unwrap());
                request.header("x-csrf", "1").header("sec-fetch-site", "same-origin").send()
            }
        };
        // Nothing in between may keep an answer for the next one.
        let stored = told.header("cache-control").unwrap_or_default().to_owned();
        assert!(stored.split(", ").any(|it| it == "no-store"), "{told:?}");
        told
    }
}

scenarios! { doors:
    /// ED09, BF11: ten thousand questions by sixty-four hands, about four people in turn.
    fn nobody_hears_about_somebody_else(server) {
        let people: Vec<Person> = (0..PEOPLE).map(|_| Person::new(server)).collect();
        let ways = if server.edge.is_some() { 5 } else { 3 };
        std::thread::scope(|scope| {
            for hand in 0..HANDS {
                let people = &people;
                scope.spawn(move || {
                    for turn in 0..QUESTIONS.div_ceil(HANDS) {
                        let person = &people[(hand + turn) % PEOPLE];
                        let way = (hand + turn / PEOPLE) % ways;
                        let told = person.ask(server, way);
                        assert_eq!(told["sub"], person.sub, "{way}: {told}");
                        if way == 0 {
                            assert_eq!(told["email"], *person.name, "{told}");
                        }
                    }
                });
            }
        });
    }
}
