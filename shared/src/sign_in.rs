//! Signing in, as far as it needs no server state: the transaction that the browser carries, and
//! the pages along the way. Both halves begin sign-ins and show the same pages.

use crate::authorize::AuthorizationRequest;
use crate::client::Client;
use crate::cookie::CookiePolicy;
use crate::cors::WebOrigin;
use crate::edge_keys::Overlapping;
use crate::endpoint::Endpoint;
use crate::error::{ErrorCode, OAuthError};
use crate::form::{self, Params};
use crate::issuer::Issuer;
use crate::limits::{TRANSACTION_KEPT_IN, USERNAME_LEN};
use crate::page::{BackLink, ErrorKind, ErrorPage, FormTarget, LoginPage, LoginProblem, Page};
use crate::redirect_uri::RedirectUri;
use crate::seal::SealKey;
use crate::time::UnixTime;
use crate::token_request::Password;
use crate::transaction::{self, Transaction, TransactionError, TransactionId};

/// Base name of the login session's cookie.
pub const SESSION_COOKIE: &str = "cadence_session";

/// Where an issuer keeps sign-ins: the cookies' names and the keys that seal them.
#[derive(Clone, Copy, Debug)]
pub struct Cookies<'a> {
    /// How cookies are named and protected.
    pub policy: CookiePolicy,
    /// What transactions are sealed with.
    pub keys: &'a Overlapping<SealKey>,
}

/// Random bytes for a transaction that begins.
#[derive(Clone, Copy, Debug)]
pub struct Randomness {
    /// For its identifier.
    pub id: [u8; 12],
    /// For its forms.
    pub csrf: [u8; 16],
    /// For its seal.
    pub nonce: [u8; 24],
}

/// A transaction that has begun: where the browser goes, and the cookies that it takes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Path and query of the next step.
    pub location: String,
    /// `Set-Cookie` values.
    pub set_cookies: Vec<String>,
}

/// A transaction that the browser has brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its identifier.
    pub id: TransactionId,
    /// The transaction. Its request is not validated again yet.
    pub transaction: Transaction,
}

/// A transaction that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The request with which the user can begin again, when it is known.
    pub query: Option<String>,
}

impl Cookies<'_> {
    /// Begins a transaction for a valid request, whose next step is `step`.
    ///
    /// Transactions that the browser has already, as `cookies` (the `Cookie` headers) tells, make
    /// room ([`transaction::make_room`]).
    ///
    /// # Errors
    /// `invalid_request`, for the client, when the request does not fit into a cookie.
    pub fn begin(
        &self,
        cookies: &[&str],
        request: &AuthorizationRequest,
        expected_sub: Option<String>,
        step: Endpoint,
        random: &Randomness,
        now: UnixTime,
    ) -> Result<Begun, OAuthError> {
        let id = TransactionId::new(random.id);
        let transaction = Transaction::begin(request, expected_sub, random.csrf, now);
        let sealed = transaction
            .seal(self.keys, &id, random.nonce)
            .map_err(|_| OAuthError::invalid_request("the request is too large"))?;
        let started_at = |id: &TransactionId, cookie: &str| {
            let opened = Transaction::open(self.keys, id, Some(cookie), now);
            opened.ok().map(|transaction| transaction.started_at)
        };
        let mut set_cookies =
            transaction::make_room(self.policy, cookies, transaction::COOKIE, started_at);
        set_cookies.push(self.policy.set(&id.cookie(), &sealed, Some(TRANSACTION_KEPT_IN)));
        Ok(Begun { location: location(step, &id, request), set_cookies })
    }

    /// Opens the transaction that the parameter `tx` names.
    ///
    /// Does NOT validate the request in it again, nor tell whether it was completed.
    ///
    /// # Errors
    /// `invalid_request` for a repeated parameter; [`Over`] inside of `Ok`.
    pub fn open(
        &self,
        cookies: &[&str],
        params: &Params,
        now: UnixTime,
    ) -> Result<Result<Opened, Over>, OAuthError> {
        let lost = Over { query: None };
        let Some(id) = params.one("tx")?.and_then(TransactionId::parse) else {
            return Ok(Err(lost));
        };
        let cookie = self.policy.find(cookies.iter().copied(), &id.cookie());
        Ok(match Transaction::open(self.keys, &id, cookie, now) {
            Ok(transaction) => Ok(Opened { id, transaction }),
            Err(TransactionError::Expired { query }) => Err(Over { query: Some(query) }),
            Err(_) => Err(lost),
        })
    }
}

/// Returns path and query of a step of a transaction. The client stands in it for whoever comes
/// back without the cookie: a page can lead back to the client then.
#[must_use]
pub fn location(step: Endpoint, id: &TransactionId, request: &AuthorizationRequest) -> String {
    format!("{}?tx={}&client_id={}", step.path(), id.as_str(), request.client_id)
}

/// What a login form holds.
#[derive(Debug)]
pub struct LoginForm {
    /// What was typed as username.
    pub username: String,
    /// What was typed as password; else what is missing.
    pub password: Result<Password, LoginProblem>,
}

impl Opened {
    /// Reads the login form of this transaction.
    ///
    /// Checks, in order: that the form was made for the transaction (its `csrf`), that fields are
    /// not repeated, filled in, and not too long.
    ///
    /// # Errors
    /// `access_denied`, `invalid_request`.
    pub fn login_form(&self, form: &Params) -> Result<LoginForm, OAuthError> {
        self.transaction.check_csrf(form.one("csrf")?).map_err(|_| {
            OAuthError::new(ErrorCode::AccessDenied, "the form does not belong to this sign-in")
        })?;
        let username = form.one("username")?.unwrap_or_default();
        let password = form.one("password")?.unwrap_or_default();
        if username.len() > USERNAME_LEN {
            return Err(OAuthError::invalid_request("the username is too long"));
        }
        let password = if username.is_empty() || password.is_empty() {
            let (username, password) = (username.is_empty(), password.is_empty());
            Err(LoginProblem::Missing { username, password })
        } else {
            Ok(Password::parse(password)?)
        };
        Ok(LoginForm { username: username.to_owned(), password })
    }

    /// Renders the login page of this transaction. `username` is what stands in the field already.
    #[must_use]
    pub fn login_page(
        &self,
        client: &Client,
        request: &AuthorizationRequest,
        username: &str,
        problem: Option<LoginProblem>,
    ) -> Page {
        LoginPage {
            client_name: &client.client_name,
            tx: self.id.as_str(),
            csrf: self.transaction.csrf(),
            username,
            problem,
            form_targets: &form_targets(request, client),
        }
        .render()
    }
}

impl Over {
    /// Renders a page that leads on: to the beginning of the sign-in where that is known, else to
    /// the client that stood in the URL, where it can be led to.
    #[must_use]
    pub fn page(&self, client: Option<&Client>, issuer: &Issuer, request_id: &str) -> Page {
        let again = self
            .query
            .as_ref()
            .map(|query| issuer.url(&format!("{}?{query}", Endpoint::Authorize.path())));
        let home = client.and_then(|client| client_home(client, issuer));
        let back = match (&again, &home, client) {
            (Some(again), ..) => BackLink::parse("the sign-in", again).ok(),
            (None, Some(home), Some(client)) => BackLink::parse(&client.client_name, home).ok(),
            _ => None,
        };
        let kind = ErrorKind::Expired;
        let code = ErrorCode::InvalidRequest.as_str();
        ErrorPage { kind, sentence: kind.sentence(), code, request_id, back }.render()
    }
}

/// Finds where a sign-in of a client begins: where it says that logins are initiated, else the root
/// of the first site that it has a redirect URI at.
///
/// Source: OpenID Connect Core §4 (`initiate_login_uri`, which is told the issuer).
fn client_home(client: &Client, issuer: &Issuer) -> Option<String> {
    if let Some(uri) = &client.initiate_login_uri {
        return Some(form::with_query(uri.as_str(), [("iss", issuer.as_str())]));
    }
    let site = |uri: &RedirectUri| {
        let uri = uri.as_str();
        let rest =
            uri.split_once("://").filter(|(scheme, _)| matches!(*scheme, "https" | "http"))?;
        let end = uri.len() - rest.1.len() + rest.1.find(['/', '?']).unwrap_or(rest.1.len());
        Some(format!("{}/", uri.get(..end)?))
    };
    client.redirect_uris.iter().find_map(site)
}

/// Lists where the forms of a client's sign-in may lead to.
#[must_use]
pub fn form_targets(request: &AuthorizationRequest, client: &Client) -> Vec<FormTarget> {
    let registered = client.redirect_uris.iter().map(RedirectUri::as_str);
    let origins = client.cors_origins.iter().map(WebOrigin::as_str);
    let mut targets: Vec<FormTarget> = Vec::new();
    for uri in core::iter::once(request.redirect_uri.as_str()).chain(registered).chain(origins) {
        if let Ok(target) = FormTarget::parse(uri)
            && targets.iter().all(|known| known.as_str() != target.as_str())
        {
            targets.push(target);
        }
    }
    targets
}

/// Checks that a form was sent by a page of this issuer: what browsers say about it in the headers
/// `Sec-Fetch-Site` and `Origin` must not say otherwise.
///
/// Does NOT make up for the form's own `csrf` value: older browsers say nothing.
///
/// # Errors
/// `access_denied`.
///
/// Source: W3C Fetch Metadata §2.4.
pub fn check_same_origin(
    issuer: &Issuer,
    site: Option<&[u8]>,
    origin: Option<&[u8]>,
) -> Result<(), OAuthError> {
    let site_is_good = site.is_none_or(|site| site == b"same-origin" || site == b"none");
    // Pages without a referrer post with the origin `null`, which says nothing: then the form's
    // own value alone tells, where the browser does not send the site.
    let origin_is_good =
        origin.is_none_or(|origin| origin == issuer.as_str().as_bytes() || origin == b"null");
    (site_is_good && origin_is_good)
        .then_some(())
        .ok_or(OAuthError::new(ErrorCode::AccessDenied, "the form was sent by another site"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::web;
    use crate::edge_keys::EdgeKeys;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const QUERY: &str = "response_type=code&client_id=web\
        &redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=openid\
        &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    fn issuer() -> Issuer {
        Issuer::parse("https://id.example").unwrap()
    }

    fn request() -> AuthorizationRequest {
        AuthorizationRequest::validate(&Params::parse(QUERY.as_bytes()).unwrap(), &web()).unwrap()
    }

    fn random(byte: u8) -> Randomness {
        Randomness { id: [byte; 12], csrf: [byte; 16], nonce: [byte; 24] }
    }

    fn with_cookies<T>(run: impl FnOnce(Cookies<'_>) -> T) -> T {
        let keys = EdgeKeys::derive(b"a master secret of the tests", None);
        run(Cookies { policy: CookiePolicy::new(&issuer()), keys: &keys.transactions })
    }

    /// The `Cookie` header of a browser that has taken these `Set-Cookie` values.
    fn header(set_cookies: &[String]) -> String {
        let pairs: Vec<&str> = set_cookies.iter().map(|it| it.split(';').next().unwrap()).collect();
        pairs.join("; ")
    }

    fn begin(cookies: &Cookies<'_>, header: &str, byte: u8, now: UnixTime) -> Begun {
        cookies.begin(&[header], &request(), None, Endpoint::Login, &random(byte), now).unwrap()
    }

    #[test]
    fn what_has_begun_can_be_opened_in_the_same_browser() {
        with_cookies(|cookies| {
            let begun = begin(&cookies, "", 1, NOW);
            assert_eq!(begun.location, "/oauth2/login?tx=AQEBAQEBAQEBAQEB&client_id=web");
            let params = Params::parse(b"tx=AQEBAQEBAQEBAQEB&client_id=web").unwrap();
            let header = header(&begun.set_cookies);
            let open = |header: &str, now| cookies.open(&[header], &params, now).unwrap();
            let opened = open(&header, NOW).unwrap();
            assert_eq!(opened.transaction.query, request().to_query());
            assert_eq!(open("", NOW), Err(Over { query: None }));
            assert_eq!(open(&header.replace("=A", "=B"), NOW), Err(Over { query: None }));
            let late = open(&header, NOW.plus(600));
            assert_eq!(late, Err(Over { query: Some(request().to_query()) }));
            let nothing = Params::parse(b"tx=x").unwrap();
            let unnamed = cookies.open(&[header.as_str()], &nothing, NOW).unwrap();
            assert_eq!(unnamed, Err(Over { query: None }));
            let twice = Params::parse(b"tx=a&tx=b").unwrap();
            assert!(cookies.open(&[header.as_str()], &twice, NOW).is_err());
        });
    }

    #[test]
    fn the_oldest_transactions_make_room_and_so_do_those_that_are_over() {
        with_cookies(|cookies| {
            let mut jar: Vec<String> = Vec::new();
            for byte in 0..8 {
                let now = NOW.plus(u64::from(byte));
                let begun = begin(&cookies, &header(&jar), byte, now);
                assert_eq!(begun.set_cookies.len(), 1, "{byte}");
                jar.extend(begun.set_cookies);
            }
            let full = begin(&cookies, &header(&jar), 9, NOW.plus(9));
            assert_eq!(full.set_cookies.len(), 2);
            assert!(full.set_cookies[0].starts_with("__Host-cadence_tx_AAAAAAAAAAAAAAAA=;"));
            let over = begin(&cookies, &header(&jar), 9, NOW.plus(605));
            assert_eq!(over.set_cookies.len(), 7, "six that are over, and the new one");
        });
    }

    #[test]
    fn a_request_that_fits_no_cookie_is_the_clients_fault() {
        let large = AuthorizationRequest { state: Some("s".repeat(4_000)), ..request() };
        with_cookies(|cookies| {
            let begun = cookies.begin(&[], &large, None, Endpoint::Login, &random(1), NOW);
            assert_eq!(begun.unwrap_err().code(), ErrorCode::InvalidRequest);
        });
    }

    #[test]
    fn a_login_form_is_of_its_transaction_and_filled_in() {
        with_cookies(|cookies| {
            let begun = begin(&cookies, "", 1, NOW);
            let header = header(&begun.set_cookies);
            let params = Params::parse(b"tx=AQEBAQEBAQEBAQEB").unwrap();
            let opened = cookies.open(&[header.as_str()], &params, NOW).unwrap().unwrap();
            let csrf = opened.transaction.csrf();
            let read = |form: &str| {
                let form = Params::parse(form.replace("CSRF", csrf).as_bytes()).unwrap();
                opened.login_form(&form)
            };
            let good = read("csrf=CSRF&username=a&password=b").unwrap();
            assert!(good.password.is_ok() && good.username == "a");
            let missing = read("csrf=CSRF&username=a").unwrap();
            let problem = LoginProblem::Missing { username: false, password: true };
            assert_eq!(missing.password.err(), Some(problem));
            for (form, code) in [
                ("username=a&password=b", ErrorCode::AccessDenied),
                ("csrf=x&username=a&password=b", ErrorCode::AccessDenied),
                ("csrf=CSRF&username=a&username=b&password=b", ErrorCode::InvalidRequest),
                ("csrf=CSRF&csrf=CSRF&username=a&password=b", ErrorCode::InvalidRequest),
            ] {
                assert_eq!(read(form).unwrap_err().code(), code, "{form}");
            }
            let long = format!("csrf=CSRF&username={}&password=b", "u".repeat(257));
            assert_eq!(read(&long).unwrap_err().code(), ErrorCode::InvalidRequest);
        });
    }

    #[test]
    fn who_is_lost_is_led_back_to_the_client() {
        let page = |query: Option<&str>, client: Option<&Client>| {
            Over { query: query.map(str::to_owned) }.page(client, &issuer(), "r1").html
        };
        let again = page(Some("client_id=web"), Some(&web()));
        assert!(again.contains("https://id.example/oauth2/authorize?client_id=web"));
        let home = page(None, Some(&web()));
        assert!(home.contains("href=\"https://app.example/\""), "{home}");
        let initiated = RedirectUri::parse("https://app.example/login").unwrap();
        let client = Client { initiate_login_uri: Some(initiated), ..web() };
        let home = page(None, Some(&client));
        assert!(home.contains("https://app.example/login?iss=https%3A%2F%2Fid.example"), "{home}");
        let native = RedirectUri::parse("com.example.app:/cb").unwrap();
        let client = Client { redirect_uris: vec![native], ..web() };
        assert!(!page(None, Some(&client)).contains("href"), "nowhere to lead to");
        assert!(!page(None, None).contains("href"));
    }

    #[test]
    fn a_form_of_another_site_is_refused() {
        let check = |site: Option<&str>, origin: Option<&str>| {
            check_same_origin(&issuer(), site.map(str::as_bytes), origin.map(str::as_bytes)).is_ok()
        };
        assert!(check(None, None));
        assert!(check(Some("same-origin"), Some("https://id.example")));
        assert!(check(Some("none"), Some("null")));
        for (site, origin) in [
            (Some("cross-site"), None),
            (Some("same-site"), None),
            (None, Some("https://evil.example")),
            (Some("same-origin"), Some("https://id.example.evil")),
            (Some("cross-site"), Some("null")),
        ] {
            assert!(!check(site, origin), "{site:?} {origin:?}");
        }
    }
}
