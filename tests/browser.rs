//! A small browser: cookies, redirects followed by hand, forms read by a real HTML parser.

use std::time::Duration;

use scraper::{Html, Selector};

use crate::http::{Answer, Request};
use crate::outage::is_outage;
use crate::server::Server;

/// How often a person begins anew who is told that there is no room.
const TRIES: usize = 20;
/// … and how soon.
const PAUSE: Duration = Duration::from_millis(500);

/// A browser of one person at one server.
#[derive(Clone)]
pub(crate) struct Browser<'s> {
    url: &'s str,
    cookies: Vec<(String, String)>,
}

/// A form of a page.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Form {
    /// Reads the only form of a page.
    #[track_caller]
    pub(crate) fn of(page: &Answer) -> Self {
        Self::find(page).unwrap_or_else(|| panic!("there is no form: {page:?}"))
    }

    /// Reads the only form of a page, if it has one.
    pub(crate) fn find(page: &Answer) -> Option<Self> {
        let html = Html::parse_document(&page.body);
        let form = html.select(&selector("form")).next()?;
        assert_eq!(form.value().attr("method"), Some("post"), "{page:?}");
        let fields = form
            .select(&selector("input"))
            .filter_map(|input| {
                let name = input.value().attr("name")?;
                Some((name.to_owned(), input.value().attr("value").unwrap_or_default().to_owned()))
            })
            .collect();
        Some(Self { action: form.value().attr("action")?.to_owned(), fields })
    }

    /// Fills a field in, or adds what a button sends.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map_or("", |(_, value)| value)
    }
}

/// Returns the text of the first element that a CSS selector finds.
pub(crate) fn text(page: &Answer, css: &str) -> String {
    let html = Html::parse_document(&page.body);
    let found = html.select(&selector(css)).next();
    let text: String = found.map(|it| it.text().collect()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells whether a CSS selector finds anything.
pub(crate) fn has(page: &Answer, css: &str) -> bool {
    Html::parse_document(&page.body).select(&selector(css)).next().is_some()
}

/// Returns an attribute of the first element that a CSS selector finds.
pub(crate) fn attribute(page: &Answer, css: &str, name: &str) -> Option<String> {
    let html = Html::parse_document(&page.body);
    let found = html.select(&selector(css)).next()?;
    found.value().attr(name).map(str::to_owned)
}

fn selector(css: &str) -> Selector {
    Selector::parse(css).unwrap()
}

impl<'s> Browser<'s> {
    pub(crate) fn new(server: &'s Server) -> Self {
        Self::at(&server.url)
    }

    /// A browser that begins at an issuer, whoever runs it.
    pub(crate) const fn at(url: &'s str) -> Self {
        Self { url, cookies: Vec::new() }
    }

    /// Opens a URL or path of the server.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) -> Answer {
        let request = Request::new("GET", self.absolute(url));
        self.send(request)
    }

    /// Sends a form as the page's own button would: pages without a referrer post with the origin
    /// `null` (Fetch Standard, "append a request Origin header").
    #[track_caller]
    pub(crate) fn submit(&mut self, form: &Form) -> Answer {
        let request =
            self.unsent(form).header("origin", self.url).header("sec-fetch-site", "same-origin");
        self.send(request)
    }

    /// Prepares a form's request without what a browser says about where it comes from.
    pub(crate) fn unsent(&self, form: &Form) -> Request {
        let fields: Vec<(&str, &str)> =
            form.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        Request::new("POST", self.absolute(&form.action)).form(&fields)
    }

    /// Sends any request with the cookies, and keeps those that come back.
    #[track_caller]
    pub(crate) fn send(&mut self, request: Request) -> Answer {
        let request = if self.cookies.is_empty() {
            request
        } else {
            request.header("cookie", &self.cookie())
        };
        let answer = request.send();
        for cookie in answer.headers("set-cookie") {
            self.keep(cookie);
        }
        answer
    }

    /// Opens an authorization URL and goes on until the server has a question or sends the
    /// browser away.
    #[track_caller]
    pub(crate) fn authorize(&mut self, query: &str) -> Answer {
        let answer = self.open(&format!("/oauth2/authorize?{query}"));
        self.follow(answer)
    }

    /// Follows redirects that stay at the server.
    #[track_caller]
    pub(crate) fn follow(&mut self, mut answer: Answer) -> Answer {
        for _ in 0..10 {
            let next = match answer.status {
                302 | 303 => answer.location().to_owned(),
                _ => return answer,
            };
            if !next.starts_with('/') && !next.starts_with(&format!("{}/", self.url)) {
                return answer;
            }
            answer = self.open(&next);
        }
        panic!("redirects have no end: {answer:?}");
    }

    /// Fills in the login form of `page` and sends it.
    #[track_caller]
    pub(crate) fn log_in(&mut self, page: &Answer, username: &str, password: &str) -> Answer {
        let form = Form::of(page);
        assert_eq!(form.action, "/oauth2/login", "{page:?}");
        let answer = self.submit(&form.with("username", username).with("password", password));
        self.follow(answer)
    }

    /// Answers the consent page.
    #[track_caller]
    pub(crate) fn decide(&mut self, page: &Answer, decision: &str) -> Answer {
        let form = Form::of(page);
        assert_eq!(form.action, "/oauth2/consent/decision", "{page:?}");
        let answer = self.submit(&form.with("decision", decision));
        self.follow(answer)
    }

    /// Goes the whole way, as a person would who agrees, and who begins anew when the server has no
    /// room: returns the redirect to the client.
    #[track_caller]
    pub(crate) fn sign_in(&mut self, query: &str, username: &str, password: &str) -> Answer {
        let mut answer = self.try_sign_in(query, username, password);
        for _ in 0..TRIES {
            if !is_outage(&answer) {
                break;
            }
            std::thread::sleep(PAUSE);
            answer = self.try_sign_in(query, username, password);
        }
        answer
    }

    #[track_caller]
    fn try_sign_in(&mut self, query: &str, username: &str, password: &str) -> Answer {
        let mut answer = self.authorize(query);
        for _ in 0..3 {
            if matches!(answer.status, 302 | 303 | 503) {
                return answer;
            }
            answer = match Form::of(&answer).action.as_str() {
                "/oauth2/login" => self.log_in(&answer, username, password),
                _ => self.decide(&answer, "approve"),
            };
        }
        answer
    }

    pub(crate) fn cookies(&self) -> &[(String, String)] {
        &self.cookies
    }

    /// Returns what its `Cookie` header says.
    pub(crate) fn cookie(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<String>>().join("; ")
    }

    pub(crate) fn cookies_mut(&mut self) -> &mut Vec<(String, String)> {
        &mut self.cookies
    }

    fn absolute(&self, url: &str) -> String {
        if url.starts_with('/') { format!("{}{url}", self.url) } else { url.to_owned() }
    }

    fn keep(&mut self, set_cookie: &str) {
        let mut parts = set_cookie.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap();
        self.cookies.retain(|(known, _)| known != name);
        if !parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0")) {
            self.cookies.push((name.into(), value.into()));
        }
    }
}
