//! The pages that a person sees: login, consent, error, logout, signed out, account.
//!
//! Each is a struct with a `render` method. Pages work without JavaScript, load nothing, and carry
//! one inline style whose hash stands in the Content-Security-Policy that is returned beside the
//! HTML. Every value is escaped. Statuses, cookies and other headers are the caller's.

use std::borrow::Cow;
use std::sync::LazyLock;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

mod account;
mod device;
mod moment;
mod target;

pub use account::{AccountPage, ConsentItem, SessionItem};
pub use target::{BackLink, FormTarget, UnsafeTarget};

/// The style that every page carries, to the byte.
const STYLE: &str = include_str!("../templates/style.css");

/// The longest name, in characters, that is set in the large size: about two lines on a phone.
const HEADING_CHARS: usize = 32;

/// What the style must hash to in the eyes of a browser: made from the very text that is sent.
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE))));

/// A rendered page and the policy that must be sent with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The body, for `Content-Type: text/html; charset=utf-8`.
    pub html: String,
    /// The value of the `Content-Security-Policy` header.
    pub content_security_policy: String,
}

/// Asks who someone is. Posts `tx`, `csrf`, `username` and `password` to `/oauth2/login`.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "login.html")]
pub struct LoginPage<'a> {
    /// The name of the app that one signs in to.
    pub client_name: &'a str,
    /// The id of the transaction, posted back as it is.
    pub tx: &'a str,
    /// The value that ties the form to the browser, posted back as it is.
    pub csrf: &'a str,
    /// What stands in the field already: the last attempt's, or the request's `login_hint`.
    pub username: &'a str,
    /// Why the last attempt did not work.
    pub problem: Option<LoginProblem>,
    /// Where answers to the form may redirect, beside the issuer itself.
    pub form_targets: &'a [FormTarget],
}

/// Why an attempt to log in did not work, in as much detail as a stranger may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginProblem {
    /// No such user, a disabled one, or the wrong password: one and the same to the outside.
    WrongCredentials,
    /// Too many attempts.
    Throttled {
        /// Seconds until the next attempt is heard.
        retry_in: u64,
    },
    /// Fields were left empty; at least one of the two is true.
    Missing {
        /// The username was empty.
        username: bool,
        /// The password was empty.
        password: bool,
    },
    /// The directory or the store is away.
    Unavailable,
}

/// Asks whether an app may have what it asks for. Posts `tx`, `csrf` and `decision`, which is
/// `approve` or `deny`, to `/oauth2/consent/decision`.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "consent.html")]
pub struct ConsentPage<'a> {
    /// The name of the app that asks.
    pub client_name: &'a str,
    /// Who is asked, as that person knows it: an e-mail address or a username.
    pub user: &'a str,
    /// Where either answer leads, as in [`FormTarget::host`].
    pub redirect_host: &'a str,
    /// What is asked for.
    pub scopes: &'a [ScopeItem<'a>],
    /// The id of the transaction, posted back as it is.
    pub tx: &'a str,
    /// The value that ties the form to the browser, posted back as it is.
    pub csrf: &'a str,
    /// Where answers to the form may redirect, beside the issuer itself.
    pub form_targets: &'a [FormTarget],
}

/// One scope token on the consent page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeItem<'a> {
    /// The scope token.
    pub scope: &'a str,
    /// The user has allowed it to this app before.
    pub already_granted: bool,
}

/// Says that something cannot go on, and what to do about it. Has no form.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// The kind, which is the heading.
    pub kind: ErrorKind,
    /// One sentence for a person; [`ErrorKind::sentence`] where there is nothing more to say.
    pub sentence: &'a str,
    /// The OAuth error code.
    pub code: &'a str,
    /// The id under which the log knows this request.
    pub request_id: &'a str,
    /// The app to go back to, when it is known for sure.
    pub back: Option<BackLink<'a>>,
}

/// What kind of dead end an [`ErrorPage`] stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The app is unknown, or its request is malformed or names a redirect URI that is not its own.
    BadRequest,
    /// The transaction is over, lost, or belongs to another browser.
    Expired,
    /// A rule says no.
    Forbidden,
    /// There is no such page.
    NotFound,
    /// Too many requests.
    Throttled,
    /// A dependency is away.
    Unavailable,
    /// Something broke.
    Internal,
}

/// Asks whether someone means to sign out (RP-Initiated Logout 1.0 §2). Posts `csrf` and the
/// request's own parameters to `/oauth2/logout`.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "logout.html")]
pub struct LogoutPage<'a> {
    /// The name of the app that asks, when it is known for sure.
    pub client_name: Option<&'a str>,
    /// The value that ties the form to the browser, posted back as it is.
    pub csrf: &'a str,
    /// The request's `id_token_hint`, carried over.
    pub id_token_hint: Option<&'a str>,
    /// The request's `post_logout_redirect_uri`, carried over.
    pub post_logout_redirect_uri: Option<&'a str>,
    /// The request's `state`, carried over.
    pub state: Option<&'a str>,
    /// The request's `client_id`, carried over.
    pub client_id: Option<&'a str>,
    /// Where answers to the form may redirect, beside the issuer itself.
    pub form_targets: &'a [FormTarget],
}

/// Says that the session has ended. Has no form.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "signed_out.html")]
pub struct SignedOutPage<'a> {
    /// The app to go back to, when it is known for sure.
    pub back: Option<BackLink<'a>>,
}

impl LoginPage<'_> {
    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> Page {
        page(self, Some(self.form_targets))
    }

    fn lacks_username(&self) -> bool {
        matches!(self.problem, Some(LoginProblem::Missing { username: true, .. }))
    }

    fn lacks_password(&self) -> bool {
        matches!(self.problem, Some(LoginProblem::Missing { password: true, .. }))
    }

    /// Returns the id of the text that says what is wrong with the username, if it may be wrong.
    fn username_described_by(&self) -> Option<&'static str> {
        match self.problem? {
            LoginProblem::WrongCredentials => Some("problem"),
            LoginProblem::Missing { username: true, .. } => Some("username-problem"),
            _ => None,
        }
    }

    /// Returns the id of the text that says what is wrong with the password, if it may be wrong.
    fn password_described_by(&self) -> Option<&'static str> {
        match self.problem? {
            LoginProblem::WrongCredentials => Some("problem"),
            LoginProblem::Missing { password: true, .. } => Some("password-problem"),
            _ => None,
        }
    }

    /// Tells whether one begins at the username: the first field in error, else the first empty one.
    fn focuses_username(&self) -> bool {
        self.username_described_by().is_some()
            || (self.password_described_by().is_none() && self.username.is_empty())
    }
}

impl LoginProblem {
    /// Returns what happened: the beginning of the title and the heading of the alert.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::WrongCredentials => "Wrong username or password",
            Self::Throttled { .. } => "Too many attempts",
            Self::Missing { username: true, password: false } => "Your username is missing",
            Self::Missing { username: false, password: true } => "Your password is missing",
            Self::Missing { .. } => "Your username and password are missing",
            Self::Unavailable => "Signing in does not work right now",
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn advice(self) -> Cow<'static, str> {
        match self {
            Self::WrongCredentials => "Check both and try again.".into(),
            Self::Throttled { retry_in } => format!("Try again in {}.", duration(retry_in)).into(),
            Self::Missing { .. } => "Fill in what is missing and try again.".into(),
            Self::Unavailable => {
                "Nothing is wrong with your password. Try again in a minute.".into()
            }
        }
    }
}

impl ConsentPage<'_> {
    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> Page {
        page(self, Some(self.form_targets))
    }
}

impl ScopeItem<'_> {
    /// Returns [`scope_sentence`] of the token.
    #[must_use]
    pub fn sentence(&self) -> Cow<'static, str> {
        scope_sentence(self.scope)
    }
}

/// Says in plain words what an app can do with a scope token; reads on from "the app can …".
///
/// Does NOT escape: the generic sentence contains the token.
///
/// Source: OpenID Connect Core §5.4 and §11.
#[must_use]
pub fn scope_sentence(scope: &str) -> Cow<'static, str> {
    match scope {
        "openid" => "Know that it is you, and recognize you next time".into(),
        "profile" => "See your name and profile".into(),
        "email" => "See your email address".into(),
        "offline_access" => "Keep this access while you are away, until you take it back".into(),
        other => format!("Use what this service calls “{other}”").into(),
    }
}

impl ErrorPage<'_> {
    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> Page {
        page(self, None)
    }
}

impl ErrorKind {
    /// Chooses the kind that goes with an HTTP status.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            403 => Self::Forbidden,
            404 => Self::NotFound,
            429 => Self::Throttled,
            503 => Self::Unavailable,
            _ => Self::BadRequest,
        }
    }

    /// Returns the title and heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "This link does not work",
            Self::Expired => "This page has expired",
            Self::Forbidden => "This is not allowed",
            Self::NotFound => "There is no such page",
            Self::Throttled => "That was too fast",
            Self::Unavailable => "We cannot do this right now",
            Self::Internal => "Something broke on our side",
        }
    }

    /// Returns the sentence that says what to do when nothing more is known.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest => {
                "The app that sent you here made a request that we cannot answer. Go back to it \
                 and try again."
            }
            Self::Expired => {
                "It was open for too long, or was begun in another browser. Go back to the app \
                 and sign in again."
            }
            Self::Forbidden => "Your account or the app may not do this.",
            Self::NotFound => "Check the address, or go back to the app that you came from.",
            Self::Throttled => "Wait a moment, then try again.",
            Self::Unavailable => {
                "A part of the service is away. Nothing is lost; try again in a minute."
            }
            Self::Internal => "It is not your fault. Try again in a minute.",
        }
    }
}

impl LogoutPage<'_> {
    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> Page {
        page(self, Some(self.form_targets))
    }

    /// Returns the parameters that the form carries over.
    fn carried(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("id_token_hint", self.id_token_hint),
            ("post_logout_redirect_uri", self.post_logout_redirect_uri),
            ("state", self.state),
            ("client_id", self.client_id),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

impl SignedOutPage<'_> {
    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> Page {
        page(self, None)
    }
}

/// Tells whether a name would fill a heading: such a heading is set smaller.
fn is_long(client_name: &str) -> bool {
    client_name.chars().count() > HEADING_CHARS
}

/// Fills a template and writes its policy; `form_targets` is `None` for a page without a form.
fn page(template: &impl Template, form_targets: Option<&[FormTarget]>) -> Page {
    // Rendering fails only when the writer or a value's `Display` does: a `String` takes all, and
    // the values are text.
    let html = template.render().expect("text is written to a String");
    Page { html, content_security_policy: policy(form_targets) }
}

/// Writes a policy that allows the one style, and forms to the issuer and onward to the targets.
///
/// Source: Content Security Policy Level 3; browsers hold `form-action` against the redirects that
/// answer a form, too.
fn policy(form_targets: Option<&[FormTarget]>) -> String {
    let mut sources = match form_targets {
        None => vec!["'none'"],
        Some(_) => vec!["'self'"],
    };
    for source in form_targets.into_iter().flatten().map(FormTarget::as_str) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    format!(
        "default-src 'none'; style-src {}; form-action {}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_SOURCE,
        sources.join(" "),
    )
}

/// Says a number of seconds as a person would: seconds up to 90, then minutes, then hours, rounded
/// up so that nobody comes back too early.
fn duration(secs: u64) -> String {
    let (count, unit) = match secs {
        0..=90 => (secs.max(1), "second"),
        91..=5400 => (secs.div_ceil(60), "minute"),
        _ => (secs.div_ceil(3600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks out of text, attributes of either quote, the title and the style, where unescaped.
    const HOSTILE: &str = "\"'></title></style><script>alert(1)</script><p style=\"x\">&amp;";

    fn hostile_pages() -> Vec<Page> {
        let targets = [FormTarget::parse("https://app.example/cb").unwrap()];
        let back = BackLink::parse(HOSTILE, "https://app.example/?a=\"><script>");
        let login = LoginPage {
            client_name: HOSTILE,
            tx: HOSTILE,
            csrf: HOSTILE,
            username: HOSTILE,
            problem: None,
            form_targets: &targets,
        };
        let consent = ConsentPage {
            client_name: HOSTILE,
            user: HOSTILE,
            redirect_host: HOSTILE,
            scopes: &[ScopeItem { scope: HOSTILE, already_granted: true }],
            tx: HOSTILE,
            csrf: HOSTILE,
            form_targets: &targets,
        };
        let error = ErrorPage {
            kind: ErrorKind::BadRequest,
            sentence: HOSTILE,
            code: HOSTILE,
            request_id: HOSTILE,
            back: back.ok(),
        };
        let logout = LogoutPage {
            client_name: Some(HOSTILE),
            csrf: HOSTILE,
            id_token_hint: Some(HOSTILE),
            post_logout_redirect_uri: Some(HOSTILE),
            state: Some(HOSTILE),
            client_id: Some(HOSTILE),
            form_targets: &targets,
        };
        let mut pages: Vec<Page> =
            problems().map(|problem| LoginPage { problem, ..login }.render()).collect();
        pages.extend([
            consent.render(),
            error.render(),
            logout.render(),
            SignedOutPage { back: back.ok() }.render(),
        ]);
        pages
    }

    fn problems() -> impl Iterator<Item = Option<LoginProblem>> {
        let missing = |username, password| LoginProblem::Missing { username, password };
        [
            None,
            Some(LoginProblem::WrongCredentials),
            Some(LoginProblem::Throttled { retry_in: 300 }),
            Some(missing(true, false)),
            Some(missing(false, true)),
            Some(missing(true, true)),
            Some(LoginProblem::Unavailable),
        ]
        .into_iter()
    }

    fn login(username: &str, problem: Option<LoginProblem>) -> String {
        let page = LoginPage {
            client_name: "Harbor",
            tx: "tx-1",
            csrf: "csrf-1",
            username,
            problem,
            form_targets: &[],
        };
        page.render().html
    }

    /// Returns the start tags of `html` as name and attributes.
    fn start_tags(html: &str) -> Vec<(&str, &str)> {
        html.split('<')
            .skip(1)
            .filter_map(|rest| rest.split_once('>'))
            .map(|(tag, _)| tag.split_once([' ', '\n']).unwrap_or((tag, "")))
            .filter(|(name, _)| !name.starts_with(['/', '!']))
            .collect()
    }

    /// Returns an attribute's value.
    fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
        let attributes = attributes
            .strip_prefix(&format!("{name}=\""))
            .or_else(|| attributes.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest))?;
        attributes.split_once('"').map(|(value, _)| value)
    }

    fn field<'a>(html: &'a str, id: &str) -> &'a str {
        let is_it = |(name, attributes): &(&str, &str)| {
            *name == "input" && attribute(attributes, "id") == Some(id)
        };
        start_tags(html).into_iter().find(is_it).unwrap().1
    }

    #[test]
    fn hostile_values_stay_text_in_every_field() {
        let escaped =
            "&#34;&#39;&#62;&#60;/title&#62;&#60;/style&#62;&#60;script&#62;alert(1)&#60;/script";
        for (Page { html, .. }, times) in
            hostile_pages().iter().zip([5, 5, 5, 5, 5, 5, 5, 8, 4, 6, 1])
        {
            assert!(!html.contains("<script"), "{html}");
            assert!(!html.contains("style=\""), "{html}");
            assert_eq!(html.matches("</title>").count(), 1);
            assert_eq!(html.matches("</style>").count(), 1);
            assert_eq!(html.matches(escaped).count(), times, "{html}");
        }
    }

    #[test]
    fn pages_load_nothing_and_run_nothing() {
        for Page { html, .. } in hostile_pages() {
            for (name, attributes) in start_tags(&html) {
                assert!(
                    !["script", "img", "link", "iframe", "object", "embed", "base", "use"]
                        .contains(&name),
                    "{name}"
                );
                for banned in ["style", "src", "srcset", "onclick", "onload", "onfocus"] {
                    assert_eq!(attribute(attributes, banned), None, "{name} {attributes}");
                }
            }
            for part in ["url(", "@import", "javascript:"] {
                assert!(!html.contains(part), "{part}");
            }
        }
    }

    #[test]
    fn the_policy_allows_the_style_that_is_sent_and_nothing_else() {
        for Page { html, content_security_policy } in hostile_pages() {
            let sent = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
            let hash = STANDARD.encode(Sha256::digest(sent));
            let form_action =
                if html.contains("<form") { "'self' https://app.example" } else { "'none'" };
            assert_eq!(
                content_security_policy,
                format!(
                    "default-src 'none'; style-src 'sha256-{hash}'; form-action {form_action}; \
                     base-uri 'none'; frame-ancestors 'none'"
                )
            );
        }
    }

    #[test]
    fn equal_form_targets_are_named_once() {
        let target = |uri| FormTarget::parse(uri).unwrap();
        let targets = [
            target("https://app.example/a"),
            target("https://app.example/b"),
            target("com.example.app:/cb"),
        ];
        let policy = policy(Some(&targets));
        assert!(policy.contains("form-action 'self' https://app.example com.example.app:;"));
    }

    #[test]
    fn every_visible_field_has_a_label_and_every_description_exists() {
        for Page { html, .. } in hostile_pages() {
            let tags = start_tags(&html);
            let ids: Vec<&str> = tags.iter().filter_map(|tag| attribute(tag.1, "id")).collect();
            for (position, id) in ids.iter().enumerate() {
                assert!(!ids[..position].contains(id), "{id} stands twice");
            }
            let labels: Vec<&str> = tags.iter().filter_map(|tag| attribute(tag.1, "for")).collect();
            for (_, input) in tags.iter().filter(|(name, attributes)| {
                *name == "input" && attribute(attributes, "type") != Some("hidden")
            }) {
                assert!(labels.contains(&attribute(input, "id").unwrap()), "{input}");
            }
            for name in ["aria-describedby", "aria-labelledby", "for"] {
                for reference in tags.iter().filter_map(|tag| attribute(tag.1, name)) {
                    assert!(ids.contains(&reference), "{reference}");
                }
            }
        }
    }

    #[test]
    fn the_login_form_is_what_password_managers_and_the_endpoint_expect() {
        let html = login("alice@example.test", None);
        assert!(html.contains(r#"<form method="post" action="/oauth2/login">"#));
        assert!(html.contains(r#"<input type="hidden" name="tx" value="tx-1">"#));
        assert!(html.contains(r#"<input type="hidden" name="csrf" value="csrf-1">"#));
        let (username, password) = (field(&html, "username"), field(&html, "password"));
        assert_eq!(attribute(username, "name"), Some("username"));
        assert_eq!(attribute(username, "autocomplete"), Some("username"));
        assert_eq!(attribute(username, "value"), Some("alice@example.test"));
        assert_eq!(attribute(password, "name"), Some("password"));
        assert_eq!(attribute(password, "type"), Some("password"));
        assert_eq!(attribute(password, "autocomplete"), Some("current-password"));
        assert_eq!(attribute(password, "value"), None);
        assert!(html.contains("<title>Sign in to Harbor · Cadence</title>"));
        assert!(html.contains("<h1>Sign in to <bdi>Harbor</bdi></h1>"));
        assert!(!html.contains("role=\"alert\""));
    }

    #[test]
    fn problems_come_first_and_the_focus_goes_to_the_first_field_in_error() {
        // Username prefilled or not, problem → described username, described password, focus.
        let missing = |username, password| Some(LoginProblem::Missing { username, password });
        let wrong = Some(LoginProblem::WrongCredentials);
        let throttled = Some(LoginProblem::Throttled { retry_in: 30 });
        for (prefill, problem, username, password, focus) in [
            ("", None, None, None, "username"),
            ("alice", None, None, None, "password"),
            ("alice", wrong, Some("problem"), Some("problem"), "username"),
            ("", missing(true, false), Some("username-problem"), None, "username"),
            ("alice", missing(false, true), None, Some("password-problem"), "password"),
            ("", missing(false, true), None, Some("password-problem"), "password"),
            (
                "",
                missing(true, true),
                Some("username-problem"),
                Some("password-problem"),
                "username",
            ),
            ("alice", throttled, None, None, "password"),
            ("alice", Some(LoginProblem::Unavailable), None, None, "password"),
        ] {
            let html = login(prefill, problem);
            for (id, described_by) in [("username", username), ("password", password)] {
                let input = field(&html, id);
                assert_eq!(attribute(input, "aria-describedby"), described_by, "{problem:?}");
                let invalid = described_by.map(|_| "true");
                assert_eq!(attribute(input, "aria-invalid"), invalid, "{problem:?}");
                assert_eq!(input.ends_with(" autofocus"), id == focus, "{problem:?} {input}");
            }
            let Some(problem) = problem else { continue };
            assert!(html.contains(&format!("<title>{} · Sign in", problem.title())));
            assert!(html.contains("id=\"problem\" role=\"alert\""));
        }
    }

    #[test]
    fn waiting_times_are_said_as_people_say_them() {
        for (secs, said) in [
            (0, "1 second"),
            (1, "1 second"),
            (30, "30 seconds"),
            (90, "90 seconds"),
            (91, "2 minutes"),
            (300, "5 minutes"),
            (301, "6 minutes"),
            (5401, "2 hours"),
            (u64::MAX, "5124095576030432 hours"),
        ] {
            assert_eq!(duration(secs), said);
        }
    }

    #[test]
    fn denying_is_as_easy_as_allowing() {
        let page = ConsentPage {
            client_name: "Harbor",
            user: "alice@example.test",
            redirect_host: "app.example",
            scopes: &[
                ScopeItem { scope: "openid", already_granted: true },
                ScopeItem { scope: "reports:read", already_granted: false },
            ],
            tx: "tx-1",
            csrf: "csrf-1",
            form_targets: &[],
        };
        let html = page.render().html;
        assert!(html.contains(r#"<form method="post" action="/oauth2/consent/decision">"#));
        assert!(html.contains(r#"name="decision" value="deny">Deny</button>"#));
        assert!(html.contains(r#"name="decision" value="approve">Allow</button>"#));
        assert!(!html.contains("autofocus"));
        assert_eq!(html.matches("Already allowed").count(), 1);
        assert!(html.contains("Use what this service calls “reports:read”"));
        for shown in ["alice@example.test", "app.example", "<code>openid</code>"] {
            assert!(html.contains(shown), "{shown}");
        }
    }

    #[test]
    fn logout_carries_over_what_it_was_given_and_no_more() {
        let page = LogoutPage {
            client_name: None,
            csrf: "csrf-1",
            id_token_hint: None,
            post_logout_redirect_uri: Some("https://app.example/bye"),
            state: Some("s"),
            client_id: None,
            form_targets: &[],
        };
        let html = page.render().html;
        assert!(html.contains(r#"<form method="post" action="/oauth2/logout">"#));
        let fields: Vec<_> = start_tags(&html)
            .into_iter()
            .filter(|(name, _)| *name == "input")
            .map(|(_, input)| (attribute(input, "name"), attribute(input, "value")))
            .collect();
        assert_eq!(
            fields,
            [
                (Some("csrf"), Some("csrf-1")),
                (Some("post_logout_redirect_uri"), Some("https://app.example/bye")),
                (Some("state"), Some("s")),
            ]
        );
    }

    #[test]
    fn every_page_says_its_language_and_keeps_to_itself() {
        for Page { html, .. } in hostile_pages() {
            for part in [
                "<!doctype html>\n<html lang=\"en\">",
                r#"<meta name="referrer" content="no-referrer">"#,
                r#"<meta name="robots" content="noindex, nofollow">"#,
                r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#,
            ] {
                assert!(html.contains(part), "{part}");
            }
            assert_eq!(html.matches("<h1").count(), 1);
        }
    }

    /// Reads the custom properties between `from` and the next closing brace.
    fn palette(from: &str) -> impl Fn(&str) -> f64 {
        let block = STYLE.split_once(from).unwrap().1.split_once('}').unwrap().0;
        move |name| {
            let (_, value) = block.split_once(&format!("--{name}: #")).unwrap();
            let channel = |at| f64::from(u8::from_str_radix(&value[at..at + 2], 16).unwrap());
            let linear = |value: f64| match value / 255.0 {
                low if low <= 0.04045 => low / 12.92,
                high => ((high + 0.055) / 1.055).powf(2.4),
            };
            0.2126 * linear(channel(0)) + 0.7152 * linear(channel(2)) + 0.0722 * linear(channel(4))
        }
    }

    #[test]
    fn text_has_a_contrast_of_4_5_and_controls_of_3() {
        for block in [":root {\n  color-scheme", "dark) {\n  :root {"] {
            let luminance = palette(block);
            for (front, back, least) in [
                ("ink", "paper", 7.0),
                ("ink", "field", 7.0),
                ("ink", "danger-paper", 7.0),
                ("muted", "paper", 4.5),
                ("accent", "paper", 4.5),
                ("accent", "field", 4.5),
                ("accent-strong", "field", 4.5),
                ("on-accent", "accent", 4.5),
                ("on-accent", "accent-strong", 4.5),
                ("danger", "paper", 4.5),
                ("danger", "danger-paper", 4.5),
                ("edge", "paper", 3.0),
                ("edge", "field", 3.0),
            ] {
                let (front_is, back_is) = (luminance(front), luminance(back));
                let contrast = (front_is.max(back_is) + 0.05) / (front_is.min(back_is) + 0.05);
                assert!(contrast >= least, "{block} {front} on {back}: {contrast:.2}");
            }
        }
    }
}
