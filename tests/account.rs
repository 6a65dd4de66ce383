//! The account page: where somebody is signed in, what apps may do, and taking it back.

use scraper::{ElementRef, Html, Selector};

use crate::browser::{Browser, Form};
use crate::http::{Answer, Request};
use crate::oauth::{App, Authorization, OWN, Tokens, WEB, grant_is_dead, is_alive, own_tokens};
use crate::outage::is_outage;
use crate::server::{Server, unique};

const PASSWORD: &str = "a-passphrase-for-tests";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:138.0) Gecko/20100101 Firefox/138.0";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 \
    (KHTML, like Gecko) Version/18.4 Mobile/15E148 Safari/604.1";

fn select(css: &str) -> Selector {
    Selector::parse(css).unwrap()
}

/// One form of the account page, and what stands around it.
#[derive(Clone, Debug)]
struct Entry {
    text: String,
    form: Form,
    is_current: bool,
}

/// What the account page shows.
#[derive(Debug)]
struct Shown {
    text: String,
    sessions: Vec<Entry>,
    consents: Vec<Entry>,
    everywhere: Form,
}

fn text_of(element: ElementRef<'_>) -> String {
    let text: String = element.text().collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a form with the button that sends it.
fn form_of(element: ElementRef<'_>) -> Form {
    assert_eq!(element.value().attr("method"), Some("post"));
    let controls = select("input, button");
    let fields = element.select(&controls).map(|field| {
        let value = |name| field.value().attr(name).unwrap_or_default().to_owned();
        (value("name"), value("value"))
    });
    Form { action: element.value().attr("action").unwrap().to_owned(), fields: fields.collect() }
}

impl Shown {
    #[track_caller]
    fn of(page: &Answer) -> Self {
        let page = page.clone().expect(200);
        let html = Html::parse_document(&page.body);
        let entries = |action: &str| {
            let is_of = |form: &Form| form.field("action") == action;
            html.select(&select(".entries > li"))
                .map(|entry| Entry {
                    text: text_of(entry),
                    form: form_of(entry.select(&select("form")).next().unwrap()),
                    is_current: entry.select(&select(".here")).next().is_some(),
                })
                .filter(|entry| is_of(&entry.form))
                .collect::<Vec<_>>()
        };
        let mut forms: Vec<Form> = html.select(&select("form")).map(form_of).collect();
        forms.retain(|it| it.field("action") == "sign_out_everywhere");
        Self {
            text: text_of(html.root_element()),
            sessions: entries("end_session"),
            consents: entries("revoke_consent"),
            everywhere: forms.pop().unwrap_or_else(|| panic!("no account page: {page:?}")),
        }
    }

    #[track_caller]
    fn other_session(&self) -> &Entry {
        self.sessions.iter().find(|entry| !entry.is_current).unwrap_or_else(|| panic!("{self:?}"))
    }

    #[track_caller]
    fn own_session(&self) -> &Entry {
        let own: Vec<&Entry> = self.sessions.iter().filter(|entry| entry.is_current).collect();
        assert_eq!(own.len(), 1, "{self:?}");
        own[0]
    }
}

/// A browser of a new kind, as far as it says.
struct Person<'s> {
    browser: Browser<'s>,
    server: &'s Server,
    username: String,
    user_agent: &'static str,
}

impl<'s> Person<'s> {
    fn new(server: &'s Server, username: &str, user_agent: &'static str) -> Self {
        let browser = Browser::new(server);
        Self { browser, server, username: username.to_owned(), user_agent }
    }

    /// The same person at another device.
    fn elsewhere(&self, user_agent: &'static str) -> Self {
        Self::new(self.server, &self.username, user_agent)
    }

    /// Logs in on a page that asks for it, saying which browser this is.
    #[track_caller]
    fn log_in(&mut self, page: &Answer) -> Answer {
        let form = Form::of(page);
        assert_eq!(form.action, "/oauth2/login", "{page:?}");
        let form = form.with("username", &self.username).with("password", PASSWORD);
        let request = self.browser.unsent(&form).header("user-agent", self.user_agent);
        let answer = self.browser.send(request);
        self.browser.follow(answer)
    }

    /// Signs in to a client, consents if asked, and redeems the code.
    #[track_caller]
    fn enter(&mut self, app: &App, scope: &str) -> Tokens {
        let mut answer = self.browser.authorize(&app.authorization(scope).query());
        for _ in 0..2 {
            if answer.status == 303 {
                break;
            }
            answer = match Form::of(&answer).action.as_str() {
                "/oauth2/login" => self.log_in(&answer),
                _ => self.browser.decide(&answer, "approve"),
            };
        }
        let code = answer.redirects_to(app.redirect_uri)["code"].clone();
        Tokens::of(&app.redeem(self.server, &code))
    }

    #[track_caller]
    fn account(&mut self) -> Shown {
        Shown::of(&self.browser.open("/account"))
    }

    /// Sends a form of the account page, and follows.
    #[track_caller]
    fn submit(&mut self, form: &Form) -> Answer {
        let answer = self.browser.submit(form);
        self.browser.follow(answer)
    }

    /// Says what the server asks for next: the login form, the consent page, or nothing.
    #[track_caller]
    fn next_question(&self, request: &Authorization) -> Option<String> {
        let answer = self.browser.clone().authorize(&request.query());
        (answer.status == 200).then(|| Form::of(&answer).action)
    }
}

#[track_caller]
fn must_log_in(person: &Person<'_>) {
    let question = person.next_question(&WEB.authorization("openid"));
    assert_eq!(question.as_deref(), Some("/oauth2/login"));
    let answer = person.browser.clone().open("/account");
    assert!(answer.location().starts_with("/oauth2/authorize?"), "{answer:?}");
}

#[track_caller]
fn is_signed_in(person: &Person<'_>) {
    let question = person.next_question(&WEB.authorization("openid"));
    assert_ne!(question.as_deref(), Some("/oauth2/login"));
}

scenarios! { everywhere:
    /// Who is not signed in is led to the login page and back, and sees the page then.
    fn the_page_signs_one_in_and_says_who_and_where_one_is(server) {
        let user = server.new_user("reader");
        let mut person = Person::new(server, &user, FIREFOX);
        let answer = person.browser.open("/account");
        let login = person.browser.follow(answer).expect(200);
        assert!(login.body.contains("Sign in to <bdi>your account</bdi>"), "{login:?}");
        let page = person.log_in(&login);
        let shown = Shown::of(&page);
        assert!(shown.text.contains(&user), "{}", shown.text);
        assert_eq!(shown.sessions.len(), 1);
        let own = shown.own_session();
        for part in ["Firefox on Linux", "just now", "UTC", "No app is signed in"] {
            assert!(own.text.contains(part), "{part}: {}", own.text);
        }
        // A bare workerd cannot tell who asks.
        assert_eq!(own.text.contains("From 127.0.0.1"), server.edge.is_none(), "{}", own.text);
        assert!(shown.consents.is_empty());

        // The same page again needs no login, and a code that comes along is of no interest.
        let answer = person.browser.open("/account?code=x&iss=y");
        assert_eq!(answer.location(), "/account");
        person.browser.open("/account?error=temporarily_unavailable").is_page(400);
        server.request("PUT", "/account").send().is_page(405);
    }

    /// Two devices: ending the other one's session ends all that was begun there, and nothing here.
    fn another_session_is_ended_with_everything_in_it(server) {
        let user = server.new_user("two");
        let mut person = Person::new(server, &user, FIREFOX);
        let mut phone = person.elsewhere(PHONE);
        let here = person.enter(&WEB, "openid profile");
        let there = phone.enter(&WEB, "openid profile offline_access");
        let shown = person.account();
        assert_eq!(shown.sessions.len(), 2, "{shown:?}");
        assert!(shown.own_session().text.contains("Firefox on Linux"));
        assert!(shown.own_session().text.contains("Web App"));
        let other = shown.other_session().clone();
        assert!(other.text.contains("Safari on an iPhone"), "{}", other.text);
        is_signed_in(&phone);

        let page = person.submit(&other.form);
        let shown = Shown::of(&page);
        assert_eq!(shown.sessions.len(), 1, "{shown:?}");
        must_log_in(&phone);
        grant_is_dead(server, &WEB, &there);
        is_alive(server, &here.access);
        is_signed_in(&person);
        // Once more: it is ended already.
        assert_eq!(Shown::of(&person.submit(&other.form)).sessions.len(), 1);
        // And the phone may come back.
        phone.enter(&WEB, "openid");
        assert_eq!(person.account().sessions.len(), 2);
    }

    /// A consent that is taken back is asked for again, and what it gave is dead; CD13: a code that
    /// was not redeemed before, too.
    fn a_consent_is_taken_back(server) {
        let user = server.new_user("consenting");
        let mut person = Person::new(server, &user, FIREFOX);
        let mut phone = person.elsewhere(PHONE);
        let other_app = server.new_client("kept");
        let here = person.enter(&WEB, "openid profile");
        let there = phone.enter(&WEB, "openid offline_access");
        let kept = person.enter(&other_app, "openid email");
        // Begun under a session that is over: it lives on without one.
        let mut gone = person.elsewhere(FIREFOX);
        let orphan = gone.enter(&WEB, "openid offline_access");
        gone.browser.open(&format!("/oauth2/logout?id_token_hint={}", orphan.id)).expect(200);
        let orphan = Tokens::of(&WEB.refresh(server, &orphan.refresh));

        let pending = person.browser.authorize(&WEB.authorization("openid").query());
        let pending = pending.redirects_to(WEB.redirect_uri)["code"].clone();

        let shown = person.account();
        assert_eq!(shown.consents.len(), 2, "{shown:?}");
        let web = shown.consents.iter().find(|it| it.form.field("client_id") == "web").unwrap();
        for part in ["Web App", "Know that it is you", "See your name", "Since", "20"] {
            assert!(web.text.contains(part), "{part}: {}", web.text);
        }
        let shown = Shown::of(&person.submit(&web.form));
        assert_eq!(shown.consents.len(), 1, "{shown:?}");
        WEB.redeem(server, &pending).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &here);
        grant_is_dead(server, &WEB, &there);
        WEB.refresh(server, &orphan.refresh).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &orphan);
        is_alive(server, &kept.access);
        Tokens::of(&other_app.refresh(server, &kept.refresh));
        is_signed_in(&person);
        for person in [&person, &phone] {
            let question = person.next_question(&WEB.authorization("openid"));
            assert_eq!(question.as_deref(), Some("/oauth2/consent/decision"));
        }
        person.enter(&WEB, "openid");
        assert_eq!(person.account().consents.len(), 2);
    }

    /// Everything ends: sessions, grants under them, grants that were to stay, grants of none.
    fn signing_out_everywhere_ends_everything(server) {
        let user = server.new_user("everywhere");
        let mut person = Person::new(server, &user, FIREFOX);
        let mut phone = person.elsewhere(PHONE);
        let here = person.enter(&WEB, "openid offline_access");
        let there = phone.enter(&WEB, "openid profile offline_access");
        let mut gone = person.elsewhere(FIREFOX);
        let orphan = gone.enter(&WEB, "openid offline_access");
        gone.browser.open(&format!("/oauth2/logout?id_token_hint={}", orphan.id)).expect(200);
        let orphan = Tokens::of(&WEB.refresh(server, &orphan.refresh));
        let by_password = Tokens::of(&own_tokens(server, &user, PASSWORD));
        // Another person's are another person's.
        let mut other = Person::new(server, &server.new_user("bystander"), FIREFOX);
        let others = other.enter(&WEB, "openid");

        let shown = person.account();
        assert_eq!(shown.sessions.len(), 2, "{shown:?}");
        let page = person.submit(&shown.everywhere);
        page.is_page(200);
        assert!(page.body.contains("You are signed out"), "{page:?}");
        assert!(page.headers("set-cookie").iter().any(|it| it.contains("Max-Age=0")), "{page:?}");
        must_log_in(&person);
        must_log_in(&phone);
        grant_is_dead(server, &WEB, &here);
        grant_is_dead(server, &WEB, &there);
        WEB.refresh(server, &orphan.refresh).refused(400, "invalid_grant");
        OWN.refresh(server, &by_password.refresh).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &orphan);
        grant_is_dead(server, &OWN, &by_password);
        is_alive(server, &others.access);
        is_signed_in(&other);
        // At once, in the same second: the next login is good, and so is what comes of it.
        let again = person.enter(&WEB, "openid");
        is_alive(server, &again.access);
        Tokens::of(&WEB.refresh(server, &again.refresh));
        assert_eq!(person.account().sessions.len(), 1);
        // The password grant as well.
        let everywhere = person.account().everywhere;
        person.submit(&everywhere).is_page(200);
        let by_password = Tokens::of(&own_tokens(server, &user, PASSWORD));
        is_alive(server, &by_password.access);
        Tokens::of(&OWN.refresh(server, &by_password.refresh));
    }
}

scenarios! { doors:
    /// The own session ends like any other.
    fn ending_the_own_session_signs_out(server) {
        let mut person = Person::new(server, &server.new_user("self"), FIREFOX);
        let mut phone = person.elsewhere(PHONE);
        let here = person.enter(&WEB, "openid");
        let there = phone.enter(&WEB, "openid");
        let own = person.account().own_session().form.clone();
        let page = person.submit(&own);
        page.is_page(200);
        assert!(page.body.contains("You are signed out"), "{page:?}");
        must_log_in(&person);
        grant_is_dead(server, &WEB, &here);
        is_alive(server, &there.access);
        is_signed_in(&phone);
    }

    /// CSRF: a form without the session's own value, or of another site, changes nothing.
    fn forms_of_elsewhere_change_nothing(server) {
        let mut person = Person::new(server, &server.new_user("target"), FIREFOX);
        let mut phone = person.elsewhere(PHONE);
        let mut attacker = Person::new(server, &server.new_user("attacker"), FIREFOX);
        let here = person.enter(&WEB, "openid");
        let there = phone.enter(&WEB, "openid");
        attacker.enter(&WEB, "openid");
        let shown = person.account();
        let own_csrf = shown.everywhere.field("csrf").to_owned();
        let stolen = attacker.account().everywhere.field("csrf").to_owned();
        let of_phone = phone.account().everywhere.field("csrf").to_owned();
        assert!(own_csrf != stolen && own_csrf != of_phone);
        let forms = [
            shown.everywhere.clone(),
            shown.own_session().form.clone(),
            shown.other_session().form.clone(),
            shown.consents[0].form.clone(),
        ];
        for form in &forms {
            for csrf in ["", "A", &stolen, &of_phone] {
                person.browser.clone().submit(&form.clone().with("csrf", csrf)).is_page(403);
            }
            person.browser.clone().submit(&form.clone().without("csrf")).is_page(403);
            let elsewhere: [&[(&str, &str)]; 3] = [
                &[("origin", "https://evil.example")],
                &[("sec-fetch-site", "cross-site")],
                &[("origin", "null"), ("sec-fetch-site", "same-site")],
            ];
            for headers in elsewhere {
                let mut request = person.browser.unsent(form);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                person.browser.clone().send(request).is_page(403);
            }
            // Nobody is signed in: there is nothing to do it for.
            let answer = Browser::new(server).submit(form);
            assert!(answer.location().starts_with("/oauth2/authorize?"), "{answer:?}");
            // And a form in the URL is none.
            let query = crate::http::query(
                &form.fields.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(),
            );
            person.browser.clone().open(&format!("/account?{query}")).expect(200);
        }
        for (form, name, value) in [
            (&forms[0], "action", "delete_everything"),
            (&forms[0], "action", ""),
            (&forms[2], "sid", ""),
            (&forms[2], "sid", "../../x"),
            (&forms[3], "client_id", "a b"),
        ] {
            person.browser.clone().submit(&form.clone().with(name, value)).is_page(400);
        }
        let twice = Request::new("POST", format!("{}/account", server.url)).body(
            "application/x-www-form-urlencoded",
            format!("csrf={own_csrf}&action=sign_out_everywhere&action=end_session"),
        );
        person.browser.clone().send(twice).is_page(400);
        is_alive(server, &here.access);
        is_alive(server, &there.access);
        is_signed_in(&person);
        is_signed_in(&phone);
        let shown = person.account();
        assert_eq!((shown.sessions.len(), shown.consents.len()), (2, 1));
    }

    /// Nobody reaches another person's sessions and consents, whatever the form names.
    fn another_persons_session_is_out_of_reach(server) {
        let mut victim = Person::new(server, &server.new_user("victim"), FIREFOX);
        let mut attacker = Person::new(server, &server.new_user("attacker"), PHONE);
        let tokens = victim.enter(&WEB, "openid");
        attacker.enter(&WEB, "openid");
        let sid = victim.account().own_session().form.field("sid").to_owned();
        let shown = attacker.account();
        let form = shown.own_session().form.clone().with("sid", &sid);
        assert_eq!(Shown::of(&attacker.submit(&form)).sessions.len(), 1);
        attacker.submit(&shown.consents[0].form.clone()).expect(200);
        is_alive(server, &tokens.access);
        is_signed_in(&victim);
        let shown = victim.account();
        assert_eq!((shown.sessions.len(), shown.consents.len()), (1, 1));
    }

    /// What a browser and a client call themselves is text, whatever stands in it.
    fn hostile_names_stay_text(server) {
        const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
        let id = unique("hostile").split('@').next().unwrap().to_owned();
        server.apply(&format!(
            "[[clients]]\nclient_id = \"{id}\"\nclient_name = '''{HOSTILE}'''\n\
             client_secret = \"secret-of-a-new-client-0123456789\"\n\
             token_endpoint_auth_method = \"client_secret_basic\"\n\
             grant_types = [\"authorization_code\", \"refresh_token\"]\n\
             redirect_uris = [\"https://new.example/cb\"]\nscope = \"openid\"\n"
        ));
        let app = App {
            id: id.leak(),
            secret: Some("secret-of-a-new-client-0123456789"),
            redirect_uri: "https://new.example/cb",
        };
        server.wait_known(&app);
        let mut person = Person::new(server, &server.new_user("reader"), HOSTILE);
        person.enter(&app, "openid");
        let page = person.browser.open("/account").expect(200);
        let html = Html::parse_document(&page.body);
        assert_eq!(html.select(&select("script, img")).count(), 0, "{page:?}");
        let shown = Shown::of(&page);
        assert_eq!(shown.own_session().text.matches(HOSTILE).count(), 2, "{shown:?}");
        assert_eq!(shown.consents[0].text.matches(HOSTILE).count(), 1, "{shown:?}");
        // The longest is cut, and one that is no text at all is no reason to fail.
        let long = "x".repeat(4_000).leak();
        let mut person = person.elsewhere(long);
        person.enter(&app, "openid");
        let text = person.account().own_session().text.clone();
        assert!(text.contains(&"x".repeat(256)) && !text.contains(&"x".repeat(257)), "{text}");
    }

    /// The page's own client is nobody else's.
    fn the_pages_own_client_is_worth_nothing(server) {
        let refused = server.try_cadence(&["client", "create", "account", "--redirect-uri", "https://app.example/cb"]);
        assert!(!refused.status.success());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("that of the account page"), "{said}");
        let mut person = Person::new(server, &server.new_user("reader"), FIREFOX);
        let answer = person.browser.open("/account");
        let login = person.browser.follow(answer);
        person.log_in(&login).expect(200);
        // Another redirect URI is not its own, and its code is nobody's.
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let url = |uri: &str| {
            format!(
                "/oauth2/authorize?response_type=code&client_id=account&redirect_uri={}\
                 &code_challenge={challenge}&code_challenge_method=S256",
                crate::http::encode(uri)
            )
        };
        let page = format!("{}/account", server.url);
        person.browser.open(&url("https://evil.example/account")).is_page(400);
        person.browser.open(&url(&format!("{page}/x"))).is_page(400);
        let answer = person.browser.open(&url(&page));
        let code = answer.redirects_to(&page)["code"].clone();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", &page),
            ("code_verifier", crate::oauth::VERIFIER),
        ];
        for secret in ["", "x"] {
            let answer = server.post("/oauth2/token").basic("account", secret).form(&form).send();
            assert_eq!(answer.status, 401, "{answer:?}");
        }
        let with_id = [&[("client_id", "account")], &form[..]].concat();
        server.post("/oauth2/token").form(&with_id).send().refused(401, "invalid_client");
        assert!(!person.account().own_session().text.contains("your account"));
    }
}

/// A new login while the person signs out everywhere elsewhere is listed, or dead; never alive and
/// unseen.
#[test]
fn logins_beside_signing_out_everywhere_are_seen_or_dead() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    // After an outage nobody knows which of them took place.
    let judged = (0..10).filter(|_| signs_out_beside_logins(server).is_some()).take(5).count();
    assert!(judged >= 3, "{judged} rounds without an outage");
}

/// Signs a person out everywhere while they log in at four other browsers. Returns `None` when any of
/// it was not answered.
fn signs_out_beside_logins(server: &Server) -> Option<()> {
    let answered = |answer: Answer| (!is_outage(&answer)).then_some(answer);
    let user = server.new_user("racing");
    let mut person = Person::new(server, &user, FIREFOX);
    person.enter(&WEB, "openid");
    let everywhere = person.account().everywhere;
    let query = WEB.authorization("openid").query();
    let (racers, signed_out) = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut racer = Person::new(server, &user, PHONE);
                    let page = answered(racer.browser.authorize(&query))?;
                    answered(racer.log_in(&page))?;
                    Some(racer.browser)
                })
            })
            .collect();
        let signs_out = scope.spawn(|| answered(person.browser.clone().submit(&everywhere)));
        let racers: Vec<_> = logins.into_iter().map(|login| login.join().unwrap()).collect();
        (racers, signs_out.join().unwrap())
    });
    assert!(signed_out.as_ref().is_none_or(|answer| answer.status < 400), "{signed_out:?}");
    signed_out?;
    let mut alive = 0;
    for racer in racers.into_iter().collect::<Option<Vec<Browser<'_>>>>()? {
        let page = answered(racer.clone().authorize(&query))?;
        let is_alive = page.status == 303 || Form::of(&page).action != "/oauth2/login";
        alive += usize::from(is_alive);
    }
    let mut person = person.elsewhere(FIREFOX);
    person.enter(&WEB, "openid");
    assert_eq!(person.account().sessions.len(), alive + 1);
    Some(())
}
