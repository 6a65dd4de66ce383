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
#[cfg(test)]
mod tests;

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
