//! The instance that is tested, and what is asked of it again and again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use super::STATE;
use crate::browser::{Browser, Form};
use crate::http::{Answer, Request, encode};
use crate::oauth::{App, Authorization, Tokens, VERIFIER, base64url};
use crate::server::{LogOnFailure, Server, until};

/// Everything that a file of settings may say: what is required by the tests that need it, and
/// what may be left out.
const SETTINGS: [&str; 16] = [
    "bff",
    "user.username",
    "user.password",
    "confidential.client_id",
    "confidential.client_secret",
    "confidential.redirect_uri",
    "confidential.scope",
    "confidential.post_logout_redirect_uri",
    "public.client_id",
    "public.redirect_uri",
    "public.origin",
    "introspection.client_id",
    "introspection.client_secret",
    "password.client_id",
    "password.client_secret",
    "password.scope",
];

/// The instance that is tested, and what is registered there for the tests.
pub(super) struct Target {
    pub(super) url: String,
    pub(super) file: String,
    pub(super) settings: toml::Table,
    pub(super) own: Option<&'static Server>,
}

impl Target {
    /// The deployed instance that the environment names, else a server of the suite.
    #[track_caller]
    pub(super) fn get() -> &'static Self {
        static TARGET: OnceLock<Target> = OnceLock::new();
        TARGET.get_or_init(|| {
            let named = |name: &str| {
                let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
                Some(value.into_string().unwrap_or_else(|_| panic!("{name} is not UTF-8")))
            };
            let Some(url) = named("CADENCE_TEST_ISSUER") else { return Self::own() };
            assert!(
                url.starts_with("http") && url.splitn(4, '/').count() == 3,
                "CADENCE_TEST_ISSUER is {url:?}: it takes a URL without a path or a last slash, as \
                 in the instance's discovery document"
            );
            let file = named("CADENCE_TEST_CLIENTS").unwrap_or_else(|| {
                panic!(
                    "CADENCE_TEST_CLIENTS is not set: it names the file with the user and the \
                     clients of {url}"
                )
            });
            let path = stack::root().join(&file);
            let settings = std::fs::read_to_string(path)
                .unwrap_or_else(|error| panic!("{file} cannot be read: {error}"));
            Self { url, settings: parse(&file, &settings), file, own: None }
        })
    }

    pub(super) fn own() -> Self {
        let server = Server::edge();
        server.origin.apply(&stack::root().join("tests/deployed.clients.toml"));
        let file = "tests/deployed.example.toml".to_owned();
        let settings = parse(&file, include_str!("../deployed.example.toml"));
        let target = Self { url: server.url.clone(), file, settings, own: Some(server) };
        for section in ["confidential", "public"] {
            let named = |key: &str| encode(target.setting(&format!("{section}.{key}")));
            let (id, uri) = (named("client_id"), named("redirect_uri"));
            let path = format!("/oauth2/authorize?client_id={id}&redirect_uri={uri}");
            until("the client is known", || target.get_at(&path).send().status == 303);
        }
        for section in ["introspection", "password"] {
            let named = |key: &str| target.setting(&format!("{section}.{key}"));
            let (id, secret) = (named("client_id"), named("client_secret"));
            until("the client is known", || {
                let request = target.post("/oauth2/revoke").basic(id, secret);
                request.form(&[("token", "made-up")]).send().status == 200
            });
        }
        target
    }

    /// Prints what the suite's own server has logged, if the test fails. A deployed one keeps its
    /// log to itself: the `X-Request-Id` of the printed answer finds the lines there.
    pub(super) fn log_on_failure(&self) -> Option<LogOnFailure<'_>> {
        self.own.map(Server::log_on_failure)
    }

    pub(super) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, format!("{}{path}", self.url))
    }

    pub(super) fn get_at(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub(super) fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    /// Returns a setting that may be left out.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        let (section, key) = name.split_once('.').unwrap();
        self.settings.get(section)?.get(key)?.as_str()
    }

    /// Returns a setting without which the test cannot be run.
    #[track_caller]
    pub(super) fn setting(&self, name: &str) -> &str {
        let found = self.optional(name);
        found.unwrap_or_else(|| panic!("{} has no `{name}`, which this test needs", self.file))
    }

    /// Tells whether the settings name a feature. If they do not, says so on the terminal, also
    /// when the test passes: the test then asserts that the feature is not there.
    pub(super) fn names(&self, feature: &str, what_holds_without: &str) -> bool {
        let (section, key) = feature.split_once('.').unwrap_or((feature, ""));
        let found = self.settings.get(section);
        let found = if key.is_empty() { found } else { found.and_then(|it| it.get(key)) };
        let named = found.is_some_and(|it| it.as_bool() != Some(false));
        if !named {
            let line = format!("{} names no `{feature}`: {what_holds_without}\n", self.file);
            // Not `eprintln!`, which the test runner keeps to itself.
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        named
    }

    #[track_caller]
    pub(super) fn app(&'static self, section: &str, has_secret: bool) -> App {
        let name = |key: &str| format!("{section}.{key}");
        let redirect_uri = self.setting(&name("redirect_uri"));
        assert!(
            !redirect_uri.starts_with(&format!("{}/", self.url)),
            "`{section}.redirect_uri` is on the issuer's own host, where the tests' browser would \
             follow it"
        );
        App {
            id: self.setting(&name("client_id")),
            secret: has_secret.then(|| self.setting(&name("client_secret"))),
            redirect_uri,
        }
    }

    #[track_caller]
    pub(super) fn confidential(&'static self) -> App {
        self.app("confidential", true)
    }

    #[track_caller]
    pub(super) fn public(&'static self) -> App {
        self.app("public", false)
    }

    /// The scope that the confidential client asks for.
    #[track_caller]
    pub(super) fn scope(&self) -> &str {
        let scope = self.setting("confidential.scope");
        let parts: Vec<&str> = scope.split(' ').collect();
        assert!(
            parts.len() > 1 && parts.contains(&"openid") && !parts.contains(&"offline_access"),
            "`confidential.scope` in {} takes `openid` and one more, without `offline_access`, \
             whose grants would outlive the run",
            self.file
        );
        scope
    }

    /// The same without `openid`.
    #[track_caller]
    pub(super) fn scope_without_openid(&self) -> String {
        let parts: Vec<&str> = self.scope().split(' ').filter(|it| *it != "openid").collect();
        parts.join(" ")
    }

    #[track_caller]
    pub(super) fn user(&self) -> (&str, &str) {
        (self.setting("user.username"), self.setting("user.password"))
    }

    /// Lets `act` use a browser in which nobody is signed in yet, and in the end signs out whoever
    /// is, also when it has failed.
    pub(super) fn in_a_browser(&'static self, act: impl FnOnce(&mut Browser<'static>)) {
        let mut browser = Browser::at(&self.url);
        let outcome = catch_unwind(AssertUnwindSafe(|| act(&mut browser)));
        let page = browser.open("/oauth2/logout");
        if let Some(form) = Form::find(&page) {
            browser.submit(&form).is_page(200);
        }
        if let Err(failure) = outcome {
            resume_unwind(failure);
        }
    }

    /// Signs the user in, agrees to what is asked, and returns what the client is told.
    #[track_caller]
    pub(super) fn sign_in(&self, browser: &mut Browser<'_>, app: &App, scope: &str) -> String {
        let (username, password) = self.user();
        let answer = browser.sign_in(&app.authorization(scope).query(), username, password);
        self.told(&answer, app).remove("code").unwrap_or_else(|| panic!("no code: {answer:?}"))
    }

    /// Reads what a client is told by a redirect: with its state, and by this issuer.
    #[track_caller]
    pub(super) fn told(&self, answer: &Answer, app: &App) -> BTreeMap<String, String> {
        let told = answer.redirects_to(app.redirect_uri);
        assert_eq!(told["iss"], self.url, "{answer:?}");
        assert_eq!(told["state"], STATE, "{answer:?}");
        told
    }

    #[track_caller]
    pub(super) fn tokens(&self, browser: &mut Browser<'_>, app: &App, scope: &str) -> Tokens {
        let code = self.sign_in(browser, app, scope);
        Tokens::of(&self.redeem(app, &code))
    }

    #[track_caller]
    pub(super) fn token(&self, app: &App, form: &[(&str, &str)]) -> Answer {
        app.sign(self.post("/oauth2/token"), form).send()
    }

    #[track_caller]
    pub(super) fn redeem(&self, app: &App, code: &str) -> Answer {
        self.token(app, &exchange(app, code))
    }

    #[track_caller]
    pub(super) fn refresh(&self, app: &App, refresh_token: &str) -> Answer {
        self.token(app, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
    }

    #[track_caller]
    pub(super) fn revoke(&self, app: &App, token: &str) {
        let answer = app.sign(self.post("/oauth2/revoke"), &[("token", token)]).send();
        assert_eq!(answer.expect(200).body, "");
    }

    #[track_caller]
    pub(super) fn introspect(&self, app: &App, token: &str) -> Answer {
        app.sign(self.post("/oauth2/introspect"), &[("token", token)]).send()
    }

    #[track_caller]
    pub(super) fn userinfo(&self, access_token: &str) -> Value {
        self.get_at("/oauth2/userinfo").bearer(access_token).send().expect(200).json()
    }

    #[track_caller]
    pub(super) fn is_dead(&self, access_token: &str) {
        let answer = self.get_at("/oauth2/userinfo").bearer(access_token).send();
        answer.refused(401, "invalid_token");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer "), "{answer:?}");
        assert!(challenge.contains("error=\"invalid_token\""), "{answer:?}");
    }

    #[track_caller]
    pub(super) fn grant_is_dead(&self, app: &App, tokens: &Tokens) {
        self.is_dead(&tokens.access);
        self.refresh(app, &tokens.refresh).refused(400, "invalid_grant");
    }

    /// Verifies a token with the published keys, for whom it is and by whom; returns its claims.
    #[track_caller]
    pub(super) fn verify(&self, token: &str, typ: &str, audience: &str) -> Value {
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ));
        let jwks = self.get_at("/oauth2/jwks").send().expect(200).body;
        let jwks: JwkSet = serde_json::from_str(&jwks).unwrap();
        let key = jwks.find(&header.kid.unwrap()).expect("the key is published");
        let algorithm = key.common.key_algorithm.expect("a key says what it is for");
        assert_eq!(algorithm.to_string(), format!("{:?}", header.alg));
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&self.url]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let key = DecodingKey::from_jwk(key).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
    }

    /// Verifies an answer of the token endpoint as a client has to, and returns who it is about.
    #[track_caller]
    pub(super) fn verify_tokens(&self, app: &App, tokens: &Tokens) -> String {
        let id = self.verify(&tokens.id, "JWT", app.id);
        assert_eq!(id["aud"], app.id);
        assert_eq!(id["nonce"], "n-0S6_WzA2Mj");
        assert!(id["auth_time"].is_u64(), "{id}");
        let half = match jsonwebtoken::decode_header(&tokens.id).unwrap().alg {
            Algorithm::EdDSA => Sha512::digest(&tokens.access)[..32].to_vec(),
            _ => Sha256::digest(&tokens.access)[..16].to_vec(),
        };
        assert_eq!(id["at_hash"], base64url(&half));
        let access = self.verify(&tokens.access, "at+jwt", &self.url);
        assert_eq!(access["client_id"], app.id);
        assert_eq!(access["sub"], id["sub"]);
        id["sub"].as_str().unwrap().to_owned()
    }

    /// Asserts that an error is told to the client, at its redirect URI.
    #[track_caller]
    pub(super) fn tells(&self, app: &App, request: &Authorization, error: &str) {
        let answer = self.get_at(&format!("/oauth2/authorize?{}", request.query())).send();
        let told = self.told(&answer, app);
        assert_eq!(told["error"], error, "{request:?}");
        assert!(!told.contains_key("code"), "{request:?}");
    }
}

/// Reads a file of settings: only names and types that are known, so that a typing error is not
/// taken for a feature that is not there.
#[track_caller]
fn parse(file: &str, text: &str) -> toml::Table {
    let settings: toml::Table =
        text.parse().unwrap_or_else(|error: toml::de::Error| panic!("{file}: {error}"));
    for (section, value) in &settings {
        let names: Vec<(String, &toml::Value, bool)> = match value {
            toml::Value::Table(table) => {
                let names = table.iter().map(|(key, value)| (format!("{section}.{key}"), value));
                names.map(|(name, value)| (name, value, value.is_str())).collect()
            }
            value => vec![(section.clone(), value, value.is_bool())],
        };
        for (name, value, has_its_type) in names {
            assert!(SETTINGS.contains(&&*name), "{file} has `{name}`, which means nothing here");
            assert!(has_its_type, "{file} has `{name} = {value}`, which has the wrong type");
        }
    }
    settings
}

/// The form that exchanges a code.
pub(super) fn exchange<'a>(app: &App, code: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", app.redirect_uri),
        ("code_verifier", VERIFIER),
    ]
}
