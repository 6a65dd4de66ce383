//! Authorization requests: from parameters to a request that may be answered by a redirect.

use serde::{Deserialize, Serialize};

use crate::client::{Client, ClientId, GrantType};
use crate::error::{ErrorCode, OAuthError};
use crate::form::{self, Params};
use crate::issuer::Issuer;
use crate::limits::{LOGIN_HINT_LEN, NONCE_LEN, REDIRECT_URI_LEN, STATE_LEN};
use crate::pkce::CodeChallenge;
use crate::scope::Scope;
use crate::time::UnixTime;

/// A valid authorization request of a known client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The client.
    pub client_id: ClientId,
    /// Where the answer goes: proven to be the client's.
    pub redirect_uri: String,
    /// Whether the request spelled the redirect URI out (the token request must then, too).
    pub redirect_uri_given: bool,
    /// What is asked for, within what the client may ask for.
    pub scope: Scope,
    /// Echoed byte for byte.
    pub state: Option<String>,
    /// Copied into the ID token byte for byte.
    pub nonce: Option<String>,
    /// The PKCE challenge; `None` only for clients that may go without.
    pub code_challenge: Option<CodeChallenge>,
    /// What the client wants the user to be asked.
    pub prompt: Prompt,
    /// The longest time since the password was last checked, seconds.
    pub max_age: Option<u64>,
    /// What to put into the username field.
    pub login_hint: Option<String>,
    /// An ID token that names the user whom the client expects; not verified here.
    pub id_token_hint: Option<String>,
}

/// What a client wants the user to be asked (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// What is needed.
    #[default]
    Default,
    /// Nothing: fail instead.
    None,
    /// To log in again.
    Login,
    /// To consent again.
    Consent,
    /// Both.
    LoginAndConsent,
}

impl Prompt {
    fn parse(text: &str) -> Option<Self> {
        let values: Vec<&str> = text.split(' ').filter(|value| !value.is_empty()).collect();
        let known = |value: &&str| matches!(*value, "login" | "consent" | "select_account");
        if values == ["none"] {
            return Some(Self::None);
        }
        if !values.iter().all(known) {
            return None;
        }
        let login = values.contains(&"login") || values.contains(&"select_account");
        Some(match (login, values.contains(&"consent")) {
            (true, true) => Self::LoginAndConsent,
            (true, false) => Self::Login,
            (false, true) => Self::Consent,
            (false, false) => Self::Default,
        })
    }

    /// Tells whether the user must log in again.
    #[must_use]
    pub const fn wants_login(self) -> bool {
        matches!(self, Self::Login | Self::LoginAndConsent)
    }

    /// Tells whether the user must consent again.
    #[must_use]
    pub const fn wants_consent(self) -> bool {
        matches!(self, Self::Consent | Self::LoginAndConsent)
    }

    const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::None => Some("none"),
            Self::Login => Some("login"),
            Self::Consent => Some("consent"),
            Self::LoginAndConsent => Some("login consent"),
        }
    }
}

/// Why an authorization request fails, and where that may be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizeError {
    /// To the person, on a page. Client or redirect URI are not proven: there is no redirect.
    Page(OAuthError),
    /// To the client, by a redirect.
    Redirect(ErrorRedirect),
}

/// An error on its way to a redirect URI that is proven to be the client's. Only this module
/// makes one from parameters, so an open redirect does not type-check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRedirect {
    redirect_uri: String,
    state: Option<String>,
    /// What the client is told.
    pub error: OAuthError,
}

impl ErrorRedirect {
    /// Returns the `Location`, with `error`, `error_description`, `state` and `iss`.
    ///
    /// Source: RFC 6749 §4.1.2.1, RFC 9207 §2.
    #[must_use]
    pub fn location(&self, issuer: &Issuer) -> String {
        let mut pairs = vec![
            ("error", self.error.code().as_str()),
            ("error_description", self.error.description()),
        ];
        pairs.extend(self.state.as_deref().map(|state| ("state", state)));
        pairs.push(("iss", issuer.as_str()));
        form::with_query(&self.redirect_uri, pairs)
    }
}

/// Reads the `client_id`: the first thing to look at, because all else depends on the client.
///
/// # Errors
/// `invalid_request` or `invalid_client`, for a page.
pub fn client_id(params: &Params) -> Result<ClientId, OAuthError> {
    let id = params.one("client_id")?.ok_or(OAuthError::invalid_request("client_id is missing"))?;
    ClientId::parse(id).map_err(|_| UNKNOWN_CLIENT)
}

/// What the person is told when nobody has registered the client.
pub const UNKNOWN_CLIENT: OAuthError =
    OAuthError::new(ErrorCode::InvalidClient, "the application is not known here").with_status(400);

impl AuthorizationRequest {
    /// Validates the parameters of an authorization request against the client they name.
    ///
    /// Checks, in order: `redirect_uri` (shown as a page); then, told by redirect: repeated
    /// parameters, `state`, `response_type`, the client's grant, `request`, `request_uri`,
    /// `registration`, `response_mode`, `scope`, PKCE, `nonce`, `prompt`, `max_age`.
    /// **Does NOT** verify `id_token_hint`, nor that the client is enabled. Unknown parameters are
    /// ignored (RFC 6749 §3.1).
    ///
    /// # Errors
    /// [`AuthorizeError`]: what and where.
    ///
    /// Source: RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1. Stricter: `S256`
    /// only; the response mode is `query` only; an `openid` request spells its redirect URI out.
    pub fn validate(params: &Params, client: &Client) -> Result<Self, AuthorizeError> {
        let page = |description| AuthorizeError::Page(OAuthError::invalid_request(description));
        let given = params.one("redirect_uri").map_err(|_| page("redirect_uri is repeated"))?;
        let redirect_uri = match given {
            Some(uri) if uri.len() <= REDIRECT_URI_LEN && client.registered(uri).is_some() => uri,
            Some(_) => return Err(page("the redirect_uri is not registered for the application")),
            None => match client.redirect_uris.as_slice() {
                [only] => only.as_str(),
                _ => return Err(page("redirect_uri is missing")),
            },
        };
        // From here on errors go to the client. Its state goes along if it can be echoed.
        let state = params.one("state").ok().flatten().filter(|state| is_echoable(state));
        validated(params, client, redirect_uri, given.is_some()).map_err(|error| {
            AuthorizeError::Redirect(ErrorRedirect {
                redirect_uri: redirect_uri.to_owned(),
                state: state.map(str::to_owned),
                error,
            })
        })
    }

    /// Makes an error about this request for its client.
    #[must_use]
    pub fn refuse(&self, error: OAuthError) -> ErrorRedirect {
        ErrorRedirect { redirect_uri: self.redirect_uri.clone(), state: self.state.clone(), error }
    }

    /// Returns the `Location` that hands the code to the client (RFC 6749 §4.1.2, RFC 9207 §2).
    #[must_use]
    pub fn success_location(&self, code: &str, issuer: &Issuer) -> String {
        let mut pairs = vec![("code", code)];
        pairs.extend(self.state.as_deref().map(|state| ("state", state)));
        pairs.push(("iss", issuer.as_str()));
        form::with_query(&self.redirect_uri, pairs)
    }

    /// Tells whether a login at `auth_time` is recent enough for this request, which began at
    /// `started_at`.
    #[must_use]
    pub fn accepts_login(&self, auth_time: UnixTime, started_at: UnixTime, now: UnixTime) -> bool {
        let again = self.prompt.wants_login() || self.max_age == Some(0);
        let recent = self.max_age.is_none_or(|max_age| now.since(auth_time) <= max_age);
        if again { auth_time >= started_at } else { recent || auth_time >= started_at }
    }

    /// Writes the request as the query that [`AuthorizationRequest::validate`] reads back, without
    /// the hint that only the first step needs.
    #[must_use]
    pub fn to_query(&self) -> String {
        let scope = self.scope.to_string();
        let max_age = self.max_age.map(|max_age| max_age.to_string());
        let challenge = self.code_challenge.as_ref().map(CodeChallenge::as_str);
        let optional = [
            ("redirect_uri", self.redirect_uri_given.then_some(self.redirect_uri.as_str())),
            ("scope", (!scope.is_empty()).then_some(scope.as_str())),
            ("state", self.state.as_deref()),
            ("nonce", self.nonce.as_deref()),
            ("code_challenge", challenge),
            ("code_challenge_method", challenge.map(|_| "S256")),
            ("prompt", self.prompt.as_str()),
            ("max_age", max_age.as_deref()),
            ("login_hint", self.login_hint.as_deref()),
        ];
        let required = [("response_type", "code"), ("client_id", self.client_id.as_str())];
        let present = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        form::encode(required.into_iter().chain(present))
    }
}

/// The parameters that may stand once; `client_id` and `redirect_uri` were looked at before.
const KNOWN: [&str; 14] = [
    "response_type",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
    "response_mode",
    "request",
    "request_uri",
    "registration",
];

fn validated(
    params: &Params,
    client: &Client,
    redirect_uri: &str,
    redirect_uri_given: bool,
) -> Result<AuthorizationRequest, OAuthError> {
    for name in KNOWN {
        params.one(name)?;
    }
    let state = params.one("state")?;
    if state.is_some_and(|state| !is_echoable(state)) {
        return Err(OAuthError::invalid_request("the state is too long or has control characters"));
    }
    match params.one("response_type")? {
        Some("code") => {}
        Some(_) => {
            return Err(OAuthError::new(
                ErrorCode::UnsupportedResponseType,
                "the response type is code",
            ));
        }
        None => return Err(OAuthError::invalid_request("response_type is missing")),
    }
    client.may_use(GrantType::AuthorizationCode)?;
    refuse_unsupported(params)?;
    let scope = match params.one("scope")? {
        Some(scope) => Scope::parse(scope)?,
        None => Scope::default(),
    };
    if !scope.is_subset_of(&client.scope) {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "the scope is unknown or more than the application may ask for",
        ));
    }
    if scope.contains("openid") && !redirect_uri_given {
        return Err(OAuthError::invalid_request("an openid request has a redirect_uri"));
    }
    let nonce = params.one("nonce")?;
    if nonce.is_some_and(|nonce| nonce.len() > NONCE_LEN || nonce.chars().any(char::is_control)) {
        return Err(OAuthError::invalid_request("the nonce is too long or has control characters"));
    }
    let prompt = params.one("prompt")?.map_or(Some(Prompt::Default), Prompt::parse);
    let max_age = params.one("max_age")?.map(parse_seconds).transpose()?;
    Ok(AuthorizationRequest {
        client_id: client.client_id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        redirect_uri_given,
        code_challenge: code_challenge(params, client)?,
        scope,
        state: state.map(str::to_owned),
        nonce: nonce.map(str::to_owned),
        prompt: prompt.ok_or(OAuthError::invalid_request(
            "the prompt is none, or any of login, consent and select_account",
        ))?,
        max_age,
        login_hint: params
            .one("login_hint")?
            .filter(|hint| hint.len() <= LOGIN_HINT_LEN)
            .map(str::to_owned),
        id_token_hint: params.one("id_token_hint")?.map(str::to_owned),
    })
}

/// Refuses what would change the meaning of the request and is not supported.
fn refuse_unsupported(params: &Params) -> Result<(), OAuthError> {
    let unsupported = [
        ("request", ErrorCode::RequestNotSupported, "the request parameter is not supported"),
        ("request_uri", ErrorCode::RequestUriNotSupported, "request_uri is not supported"),
        ("registration", ErrorCode::RegistrationNotSupported, "registration is not supported"),
    ];
    for (name, code, description) in unsupported {
        if params.one(name)?.is_some() {
            return Err(OAuthError::new(code, description));
        }
    }
    match params.one("response_mode")? {
        None | Some("query") => Ok(()),
        Some(_) => Err(OAuthError::invalid_request("the response mode is query")),
    }
}

fn code_challenge(params: &Params, client: &Client) -> Result<Option<CodeChallenge>, OAuthError> {
    match (params.one("code_challenge")?, params.one("code_challenge_method")?) {
        (Some(challenge), Some("S256")) => {
            CodeChallenge::parse(challenge).map(Some).map_err(|_| {
                OAuthError::invalid_request("the code_challenge is not 43 base64url characters")
            })
        }
        (None, None) if !client.requires_pkce() => Ok(None),
        (None, None) => Err(OAuthError::invalid_request("code_challenge is missing")),
        _ => Err(OAuthError::invalid_request(
            "code_challenge and code_challenge_method=S256 go together",
        )),
    }
}

fn parse_seconds(text: &str) -> Result<u64, OAuthError> {
    let digits = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or(OAuthError::invalid_request("max_age is not a number of seconds"))
}

fn is_echoable(state: &str) -> bool {
    state.len() <= STATE_LEN && !state.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::web;
    use crate::client::{AuthMethod, PkceRule};

    const GOOD: &str = "response_type=code&client_id=web\
        &redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=openid&state=s+%26%3D&nonce=n\
        &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    fn validate(query: &str, client: &Client) -> Result<AuthorizationRequest, AuthorizeError> {
        AuthorizationRequest::validate(&Params::parse(query.as_bytes()).unwrap(), client)
    }

    /// `page:` or `redirect:` and the code, or `ok`.
    fn outcome(query: &str, client: &Client) -> String {
        match validate(query, client) {
            Ok(_) => "ok".into(),
            Err(AuthorizeError::Page(error)) => format!("page:{}", error.code()),
            Err(AuthorizeError::Redirect(redirect)) => {
                format!("redirect:{}", redirect.error.code())
            }
        }
    }

    fn without(name: &str) -> String {
        let prefix = format!("{name}=");
        let kept: Vec<&str> = GOOD.split('&').filter(|pair| !pair.starts_with(&prefix)).collect();
        kept.join("&")
    }

    #[test]
    fn a_request_survives_the_way_through_its_query() {
        let request = validate(GOOD, &web()).unwrap();
        assert_eq!(request.state.as_deref(), Some("s &="));
        assert_eq!(validate(&request.to_query(), &web()).unwrap(), request);
        let prompted =
            validate(&format!("{GOOD}&prompt=consent+login&max_age=60"), &web()).unwrap();
        assert_eq!(validate(&prompted.to_query(), &web()).unwrap(), prompted);
    }

    #[test]
    fn a_bad_redirect_uri_is_never_redirected_to() {
        let elsewhere = without("redirect_uri") + "&redirect_uri=https%3A%2F%2Fevil.example%2Fcb";
        for other_error in
            ["", "&scope=%22", "&response_type=token", "&prompt=none", "&state=again"]
        {
            let query = format!("{elsewhere}{other_error}");
            assert_eq!(outcome(&query, &web()), "page:invalid_request", "{other_error}");
        }
        let twice = format!("{GOOD}&redirect_uri=https%3A%2F%2Fapp.example%2Fcb");
        assert_eq!(outcome(&twice, &web()), "page:invalid_request");
    }

    #[test]
    fn every_other_error_is_redirected() {
        for (query, expected) in [
            (GOOD.to_owned(), "ok"),
            (format!("{GOOD}&unknown=1&unknown=2"), "ok"),
            (format!("{GOOD}&scope="), "redirect:invalid_request"),
            (without("response_type"), "redirect:invalid_request"),
            (
                without("response_type") + "&response_type=token",
                "redirect:unsupported_response_type",
            ),
            (
                without("response_type") + "&response_type=code+token",
                "redirect:unsupported_response_type",
            ),
            (without("scope") + "&scope=admin", "redirect:invalid_scope"),
            (without("scope") + "&scope=%22", "redirect:invalid_scope"),
            (without("state") + "&state=%0A", "redirect:invalid_request"),
            (without("code_challenge"), "redirect:invalid_request"),
            (without("code_challenge_method"), "redirect:invalid_request"),
            (
                without("code_challenge_method") + "&code_challenge_method=plain",
                "redirect:invalid_request",
            ),
            (
                without("code_challenge_method") + "&code_challenge_method=s256",
                "redirect:invalid_request",
            ),
            (format!("{GOOD}&prompt=none+login"), "redirect:invalid_request"),
            (format!("{GOOD}&prompt=junk"), "redirect:invalid_request"),
            (format!("{GOOD}&max_age=-1"), "redirect:invalid_request"),
            (format!("{GOOD}&max_age=%2B1"), "redirect:invalid_request"),
            (format!("{GOOD}&request=x"), "redirect:request_not_supported"),
            (format!("{GOOD}&request_uri=https%3A%2F%2Fx"), "redirect:request_uri_not_supported"),
            (format!("{GOOD}&registration=x"), "redirect:registration_not_supported"),
            (format!("{GOOD}&response_mode=fragment"), "redirect:invalid_request"),
            (format!("{GOOD}&response_mode=query"), "ok"),
            (format!("{GOOD}&nonce=again"), "redirect:invalid_request"),
        ] {
            assert_eq!(outcome(&query, &web()), expected, "{query}");
        }
        let no_code = Client { grant_types: vec![GrantType::RefreshToken], ..web() };
        assert_eq!(outcome(GOOD, &no_code), "redirect:unauthorized_client");
    }

    #[test]
    fn pkce_is_optional_only_for_confidential_clients_that_say_so() {
        let bare = without("code_challenge").replace("&code_challenge_method=S256", "");
        assert_eq!(outcome(&bare, &web()), "redirect:invalid_request");
        let optional = Client { pkce: PkceRule::Optional, ..web() };
        assert_eq!(outcome(&bare, &optional), "ok");
        let public = Client { token_endpoint_auth_method: AuthMethod::None, ..optional };
        assert_eq!(outcome(&bare, &public), "redirect:invalid_request");
    }

    #[test]
    fn an_error_location_says_state_and_issuer() {
        let issuer = Issuer::parse("https://id.example").unwrap();
        let query = without("scope") + "&scope=admin";
        let Err(AuthorizeError::Redirect(redirect)) = validate(&query, &web()) else {
            panic!("not a redirect")
        };
        assert_eq!(
            redirect.location(&issuer),
            "https://app.example/cb?error=invalid_scope&error_description=the+scope+is+unknown+or+\
             more+than+the+application+may+ask+for&state=s+%26%3D&iss=https%3A%2F%2Fid.example"
        );
    }

    #[test]
    fn logins_are_recent_enough_or_not() {
        let at = UnixTime::from_secs;
        let accepts = |extra: &str, auth_time, started_at, now| {
            validate(&format!("{GOOD}{extra}"), &web()).unwrap().accepts_login(
                at(auth_time),
                at(started_at),
                at(now),
            )
        };
        assert!(accepts("", 100, 900, 900));
        assert!(!accepts("&prompt=login", 100, 900, 900));
        assert!(accepts("&prompt=login", 900, 900, 901));
        assert!(accepts("&max_age=10", 895, 900, 900));
        assert!(!accepts("&max_age=10", 880, 900, 900));
        assert!(accepts("&max_age=1", 905, 900, 910), "logged in during this very request");
        assert!(!accepts("&max_age=0", 899, 900, 900));
    }
}
