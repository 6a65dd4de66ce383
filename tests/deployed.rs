//! Scenarios that need nothing but public endpoints, one user and registered clients, so that they
//! can be run against a deployed instance: `CADENCE_TEST_ISSUER` names it, and
//! `CADENCE_TEST_CLIENTS` a file like `deployed.example.toml` (docs/testing.md).
//!
//! Without `CADENCE_TEST_ISSUER` the same scenarios run against a server of the suite.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use crate::browser::{Browser, Form, attribute, text};
use crate::http::{Answer, Request, encode};
use crate::oauth::{App, Authorization, CHALLENGE, Tokens, VERIFIER, base64url};
use crate::server::{LogOnFailure, Server, until};

const INACTIVE: &str = r#"{"active":false}"#;
const STATE: &str = "st-&=+%";
const NOBODYS_PASSWORD: [(&str, &str); 4] = [
    ("grant_type", "password"),
    ("username", "nobody@example.test"),
    ("password", "not-the-password-of-anybody"),
    ("scope", "openid"),
];

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
struct Target {
    url: String,
    file: String,
    settings: toml::Table,
    own: Option<&'static Server>,
}

impl Target {
    /// The deployed instance that the environment names, else a server of the suite.
    #[track_caller]
    fn get() -> &'static Self {
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

    fn own() -> Self {
        let server = Server::edge();
        server.origin.apply(&stack::root().join("tests/deployed.clients.toml"));
        let file = "tests/deployed.example.toml".to_owned();
        let settings = parse(&file, include_str!("deployed.example.toml"));
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
    fn log_on_failure(&self) -> Option<LogOnFailure<'_>> {
        self.own.map(Server::log_on_failure)
    }

    fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, format!("{}{path}", self.url))
    }

    fn get_at(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    /// Returns a setting that may be left out.
    fn optional(&self, name: &str) -> Option<&str> {
        let (section, key) = name.split_once('.').unwrap();
        self.settings.get(section)?.get(key)?.as_str()
    }

    /// Returns a setting without which the test cannot be run.
    #[track_caller]
    fn setting(&self, name: &str) -> &str {
        let found = self.optional(name);
        found.unwrap_or_else(|| panic!("{} has no `{name}`, which this test needs", self.file))
    }

    /// Tells whether the settings name a feature. If they do not, says so on the terminal, also
    /// when the test passes: the test then asserts that the feature is not there.
    fn names(&self, feature: &str, what_holds_without: &str) -> bool {
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
    fn app(&'static self, section: &str, has_secret: bool) -> App {
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
    fn confidential(&'static self) -> App {
        self.app("confidential", true)
    }

    #[track_caller]
    fn public(&'static self) -> App {
        self.app("public", false)
    }

    /// The scope that the confidential client asks for.
    #[track_caller]
    fn scope(&self) -> &str {
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
    fn scope_without_openid(&self) -> String {
        let parts: Vec<&str> = self.scope().split(' ').filter(|it| *it != "openid").collect();
        parts.join(" ")
    }

    #[track_caller]
    fn user(&self) -> (&str, &str) {
        (self.setting("user.username"), self.setting("user.password"))
    }

    /// Lets `act` use a browser in which nobody is signed in yet, and in the end signs out whoever
    /// is, also when it has failed.
    fn in_a_browser(&'static self, act: impl FnOnce(&mut Browser<'static>)) {
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
    fn sign_in(&self, browser: &mut Browser<'_>, app: &App, scope: &str) -> String {
        let (username, password) = self.user();
        let answer = browser.sign_in(&app.authorization(scope).query(), username, password);
        self.told(&answer, app).remove("code").unwrap_or_else(|| panic!("no code: {answer:?}"))
    }

    /// Reads what a client is told by a redirect: with its state, and by this issuer.
    #[track_caller]
    fn told(&self, answer: &Answer, app: &App) -> BTreeMap<String, String> {
        let told = answer.redirects_to(app.redirect_uri);
        assert_eq!(told["iss"], self.url, "{answer:?}");
        assert_eq!(told["state"], STATE, "{answer:?}");
        told
    }

    #[track_caller]
    fn tokens(&self, browser: &mut Browser<'_>, app: &App, scope: &str) -> Tokens {
        let code = self.sign_in(browser, app, scope);
        Tokens::of(&self.redeem(app, &code))
    }

    #[track_caller]
    fn token(&self, app: &App, form: &[(&str, &str)]) -> Answer {
        app.sign(self.post("/oauth2/token"), form).send()
    }

    #[track_caller]
    fn redeem(&self, app: &App, code: &str) -> Answer {
        self.token(app, &exchange(app, code))
    }

    #[track_caller]
    fn refresh(&self, app: &App, refresh_token: &str) -> Answer {
        self.token(app, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
    }

    #[track_caller]
    fn revoke(&self, app: &App, token: &str) {
        let answer = app.sign(self.post("/oauth2/revoke"), &[("token", token)]).send();
        assert_eq!(answer.expect(200).body, "");
    }

    #[track_caller]
    fn introspect(&self, app: &App, token: &str) -> Answer {
        app.sign(self.post("/oauth2/introspect"), &[("token", token)]).send()
    }

    #[track_caller]
    fn userinfo(&self, access_token: &str) -> Value {
        self.get_at("/oauth2/userinfo").bearer(access_token).send().expect(200).json()
    }

    #[track_caller]
    fn is_dead(&self, access_token: &str) {
        let answer = self.get_at("/oauth2/userinfo").bearer(access_token).send();
        answer.refused(401, "invalid_token");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer "), "{answer:?}");
        assert!(challenge.contains("error=\"invalid_token\""), "{answer:?}");
    }

    #[track_caller]
    fn grant_is_dead(&self, app: &App, tokens: &Tokens) {
        self.is_dead(&tokens.access);
        self.refresh(app, &tokens.refresh).refused(400, "invalid_grant");
    }

    /// Verifies a token with the published keys, for whom it is and by whom; returns its claims.
    #[track_caller]
    fn verify(&self, token: &str, typ: &str, audience: &str) -> Value {
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
    fn verify_tokens(&self, app: &App, tokens: &Tokens) -> String {
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
    fn tells(&self, app: &App, request: &Authorization, error: &str) {
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
fn exchange<'a>(app: &App, code: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", app.redirect_uri),
        ("code_verifier", VERIFIER),
    ]
}

/// Sends as a page of the issuer's own host does.
#[track_caller]
fn call(target: &Target, browser: &mut Browser<'_>, method: &str, path: &str) -> Answer {
    let request = target.request(method, path);
    browser.send(request.header("x-csrf", "1").header("sec-fetch-site", "same-origin"))
}

/// Discovery §4, RFC 8414 §3: everything is where the document says, and nothing else is said.
#[test]
fn what_is_advertised_answers() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let answer = target.get_at("/.well-known/openid-configuration").send().expect(200);
    let other = target.get_at("/.well-known/oauth-authorization-server").send().expect(200);
    assert_eq!(answer.body, other.body);
    let document = answer.json();
    assert_eq!(document["issuer"], target.url);
    let table = [
        ("authorization_endpoint", "/oauth2/authorize", 400),
        ("token_endpoint", "/oauth2/token", 405),
        ("userinfo_endpoint", "/oauth2/userinfo", 401),
        ("jwks_uri", "/oauth2/jwks", 200),
        ("revocation_endpoint", "/oauth2/revoke", 405),
        ("introspection_endpoint", "/oauth2/introspect", 405),
        ("end_session_endpoint", "/oauth2/logout", 200),
    ];
    for (member, path, status) in table {
        assert_eq!(document[member], format!("{}{path}", target.url), "{member}");
        target.get_at(path).send().expect(status);
    }
    let names = document.as_object().unwrap().keys().map(|name| &**name);
    let places: BTreeSet<&str> =
        names.filter(|name| name.ends_with("_endpoint") || name.ends_with("_uri")).collect();
    assert_eq!(places, table.map(|row| row.0).into());
    assert_eq!(document["response_types_supported"], serde_json::json!(["code"]));
    assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);

    let jwks = target.get_at("/oauth2/jwks").send().expect(200).json();
    let keys = jwks["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{private} is private");
        }
    }
}

/// Core §3.1, RFC 9207: a wrong password, a no, a yes; then tokens that the published keys verify.
#[test]
fn a_person_signs_in_through_the_pages() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, (username, password)) = (target.confidential(), target.user());
    target.in_a_browser(|browser| {
        let request = app.authorization(target.scope()).with("prompt", "consent").query();
        let page = browser.authorize(&request).expect(200);
        assert_eq!(attribute(&page, "#password", "value"), None);
        let wrong = browser.log_in(&page, username, "the-one-wrong-password");
        assert!(matches!(wrong.status, 400 | 401), "{wrong:?}");
        assert!(!text(&wrong, "[role=alert]").is_empty(), "{wrong:?}");

        let page = browser.log_in(&wrong, username, password).expect(200);
        let shown = text(&page, "main").to_lowercase();
        assert!(shown.contains(&username.to_lowercase()), "consent names the user: {page:?}");
        let denied = browser.decide(&page, "deny");
        let told = target.told(&denied, &app);
        assert_eq!(told["error"], "access_denied");
        assert!(!told.contains_key("code"), "{denied:?}");

        let page = browser.authorize(&request).expect(200);
        let approved = browser.decide(&page, "approve");
        let told = target.told(&approved, &app);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
        let tokens = Tokens::of(&target.redeem(&app, &told["code"]));
        assert_eq!(tokens.json["scope"], target.scope());
        let sub = target.verify_tokens(&app, &tokens);
        let about = target.userinfo(&tokens.access);
        assert_eq!(about["sub"], sub);
        if target.scope().split(' ').any(|it| it == "profile") {
            let name = about["preferred_username"].as_str().unwrap_or_default();
            assert!(name.eq_ignore_ascii_case(username), "{about}");
        }

        // Signed in and agreed: nobody is asked again.
        let silent = app.authorization(target.scope()).with("prompt", "none");
        let answer = browser.authorize(&silent.query());
        assert!(target.told(&answer, &app).contains_key("code"), "{answer:?}");
    });
}

/// RFC 7636, RFC 9700 §2.1.1: a public client, which PKCE alone protects.
#[test]
fn a_public_client_signs_in_with_pkce() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.public();
    for request in [
        app.authorization("openid").without("code_challenge").without("code_challenge_method"),
        app.authorization("openid").with("code_challenge_method", "plain"),
        app.authorization("openid").without("code_challenge_method"),
        app.authorization("openid").with("code_challenge", &CHALLENGE[1..]),
    ] {
        target.tells(&app, &request, "invalid_request");
    }
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, "openid");
        let sub = target.verify_tokens(&app, &tokens);
        assert_eq!(target.userinfo(&tokens.access)["sub"], sub);
        let next = Tokens::of(&target.refresh(&app, &tokens.refresh));
        target.introspect(&app, &next.access).refused(401, "invalid_client");
        target.revoke(&app, &next.refresh);
        target.grant_is_dead(&app, &next);
    });
}

/// RFC 6749 §4.1.3, RFC 7636 §4.6: who has not all that belongs to a code gets nothing and burns
/// nothing; who presents it again ends what it began.
#[test]
fn a_code_is_worth_tokens_once() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, thief) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let code = target.sign_in(browser, &app, target.scope());
        let good = exchange(&app, &code);
        let with = |name: &str, value: &'static str| {
            let mut form = good.to_vec();
            form.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                form.push((good.iter().find(|(known, _)| *known == name).unwrap().0, value));
            }
            target.token(&app, &form)
        };
        with("code_verifier", "").refused(400, "invalid_grant");
        with("code_verifier", "wrong-but-well-formed-verifier-0123456789-0")
            .refused(400, "invalid_grant");
        with("code_verifier", CHALLENGE).refused(400, "invalid_grant");
        with("redirect_uri", "").refused(400, "invalid_grant");
        with("redirect_uri", "https://elsewhere.example/cb").refused(400, "invalid_grant");
        with("code", "made-up").refused(400, "invalid_grant");
        target.token(&thief, &good).refused(400, "invalid_grant");
        let wrong = target.post("/oauth2/token").basic(app.id, "wrong-secret").form(&good);
        wrong.send().refused(401, "invalid_client");
        target.get_at("/oauth2/userinfo").bearer(&code).send().refused(401, "invalid_token");

        let tokens = Tokens::of(&target.redeem(&app, &code));
        target.userinfo(&tokens.access);
        target.redeem(&app, &code).refused(400, "invalid_grant");
        target.grant_is_dead(&app, &tokens);
    });
}

/// RFC 6749 §6, RFC 9700 §4.14.2: an answer that was lost can be asked for again; what is older
/// ends the grant.
#[test]
fn an_old_refresh_token_ends_the_grant() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, thief) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let first = target.tokens(browser, &app, target.scope());
        target.refresh(&thief, &first.refresh).refused(400, "invalid_grant");
        target.refresh(&app, "made-up").refused(400, "invalid_grant");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*first.refresh)];
        let wide = [&form[..], &[("scope", "openid never-registered")]].concat();
        target.token(&app, &wide).refused(400, "invalid_scope");
        target.is_dead(&first.refresh);

        let lost = Tokens::of(&target.refresh(&app, &first.refresh));
        let again = Tokens::of(&target.refresh(&app, &first.refresh));
        assert_ne!(lost.refresh, first.refresh);
        assert_eq!(again.refresh, lost.refresh, "the same successor");
        target.userinfo(&again.access);
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*again.refresh)];
        let narrow = target.token(&app, &[&form[..], &[("scope", "openid")]].concat());
        let narrow = Tokens::of(&narrow);
        assert_eq!(narrow.json["scope"], "openid");
        target.userinfo(&narrow.access);

        target.refresh(&app, &first.refresh).refused(400, "invalid_grant");
        target.grant_is_dead(&app, &narrow);
        target.is_dead(&again.access);
    });
}

/// RFC 7009 §2.
#[test]
fn what_is_revoked_opens_nothing() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, other) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, target.scope());
        for token in ["made-up", &tokens.id] {
            target.revoke(&app, token);
        }
        for token in [&tokens.access, &tokens.refresh] {
            target.revoke(&other, token);
            let unsigned = [("client_id", app.id), ("token", token)];
            let answer = target.post("/oauth2/revoke").form(&unsigned).send();
            answer.refused(401, "invalid_client");
        }
        let post = |form: &[(&str, &str)]| app.sign(target.post("/oauth2/revoke"), form).send();
        post(&[]).refused(400, "invalid_request");
        post(&[("token", "x"), ("token", "x")]).refused(400, "invalid_request");
        target.userinfo(&tokens.access);

        target.revoke(&app, &tokens.access);
        target.is_dead(&tokens.access);
        let next = Tokens::of(&target.refresh(&app, &tokens.refresh));
        target.userinfo(&next.access);
        target.revoke(&app, &next.refresh);
        target.grant_is_dead(&app, &next);
    });
}

/// RFC 7662 §2.
#[test]
fn only_whom_it_concerns_hears_about_a_token() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, public) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, target.scope());
        let claims = target.verify(&tokens.access, "at+jwt", &target.url);
        let told = target.introspect(&app, &tokens.access).expect(200).json();
        assert_eq!((&told["active"], &told["token_type"]), (&true.into(), &"Bearer".into()));
        for claim in ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti"] {
            assert_eq!(told[claim], claims[claim], "{claim}");
        }
        target.introspect(&public, &tokens.access).refused(401, "invalid_client");
        for token in ["made-up", &tokens.refresh, &tokens.id] {
            assert_eq!(target.introspect(&app, token).expect(200).body, INACTIVE, "{token}");
        }
        let foreign = target.tokens(browser, &public, "openid");
        assert_eq!(target.introspect(&app, &foreign.access).expect(200).body, INACTIVE);

        if target.names("introspection", "only its own client asks about a token") {
            let api = App {
                id: target.setting("introspection.client_id"),
                secret: Some(target.setting("introspection.client_secret")),
                redirect_uri: "",
            };
            let told = target.introspect(&api, &tokens.access).expect(200).json();
            let told = (&told["active"], &told["client_id"]);
            let hint = "is `introspection.client_id` in the audience of `confidential.client_id`?";
            assert_eq!(told, (&true.into(), &app.id.into()), "{hint}");
            target.revoke(&api, &tokens.access);
            assert_eq!(target.introspect(&api, &foreign.access).expect(200).body, INACTIVE);
        }
        target.revoke(&app, &tokens.refresh);
        assert_eq!(target.introspect(&app, &tokens.access).expect(200).body, INACTIVE);
    });
}

/// Every row of RFC 6749 §5.2 that needs nobody who is signed in; `invalid_scope` is at the
/// refresh token's.
#[test]
fn a_bad_token_request_is_told_what_is_wrong() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, public) = (target.confidential(), target.public());
    let ask = |form: &[(&str, &str)]| target.token(&app, form);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "made-up")];

    ask(&[]).refused(400, "invalid_request");
    ask(&[("grant_type", "")]).refused(400, "invalid_request");
    ask(&[("grant_type", "authorization_code")]).refused(400, "invalid_request");
    ask(&[("grant_type", "refresh_token")]).refused(400, "invalid_request");
    for repeated in [refresh[0], refresh[1], ("refresh_token", "another")] {
        ask(&[&refresh[..], &[repeated]].concat()).refused(400, "invalid_request");
    }
    let json = target.post("/oauth2/token").body("application/json", "{}").send();
    json.refused(400, "invalid_request");
    let broken = "grant_type=refresh_token&refresh_token=%zz";
    let form = "application/x-www-form-urlencoded";
    target.post("/oauth2/token").body(form, broken).send().refused(400, "invalid_request");
    let in_query = target.post("/oauth2/token?refresh_token=x");
    app.sign(in_query, &refresh).send().refused(400, "invalid_request");
    let secret = app.secret.unwrap();
    let both = [&NOBODYS_PASSWORD[..], &[("client_secret", secret)]].concat();
    let both = target.post("/oauth2/token").basic(app.id, secret).form(&both);
    both.send().refused(400, "invalid_request");

    // With a form that is good in itself: a made-up token is refused as such, whoever sends it.
    for (id, secret) in [
        (app.id, "wrong-secret-0123456789"),
        ("nobody-is-registered-as-this", secret),
        (public.id, secret),
    ] {
        let answer = target.post("/oauth2/token").basic(id, secret).form(&NOBODYS_PASSWORD).send();
        answer.refused(401, "invalid_client");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Basic "), "{answer:?}");
    }
    for id in [app.id, "nobody-is-registered-as-this"] {
        let unsigned = [&NOBODYS_PASSWORD[..], &[("client_id", id)]].concat();
        let answer = target.post("/oauth2/token").form(&unsigned).send();
        answer.refused(401, "invalid_client");
    }
    let anonymous = target.post("/oauth2/token").form(&NOBODYS_PASSWORD).send();
    anonymous.refused(401, "invalid_client");

    ask(&refresh).refused(400, "invalid_grant");
    target.token(&public, &refresh).refused(400, "invalid_grant");
    for unknown in ["implicit", "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
    {
        ask(&[("grant_type", unknown)]).refused(400, "unsupported_grant_type");
    }
    has_no_password_grant(target, &app);
    has_no_password_grant(target, &public);
}

/// `unauthorized_client`: refused before anybody's password is looked at.
#[track_caller]
fn has_no_password_grant(target: &Target, app: &App) {
    target.token(app, &NOBODYS_PASSWORD).refused(400, "unauthorized_client");
}

/// RFC 6749 §4.1.2.1: a page while the redirect URI is not proven, and every other error told to
/// the client, with `state` and `iss`.
#[test]
fn a_bad_authorization_request_is_told_to_whom_it_may_be() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.confidential();
    let good = app.authorization(target.scope());
    let near = format!("{}x", app.redirect_uri);
    let elsewhere = good.clone().with("redirect_uri", "https://evil.example/cb");
    for request in [
        good.clone().without("client_id"),
        good.clone().with("client_id", "nobody-is-registered-as-this"),
        good.clone().and("client_id", app.id),
        good.clone().and("redirect_uri", app.redirect_uri),
        good.clone().with("redirect_uri", &near),
        good.clone().with("redirect_uri", "javascript:alert(1)"),
        good.clone().with("redirect_uri", target.public().redirect_uri),
        elsewhere.clone(),
        elsewhere.clone().with("response_type", "token"),
        elsewhere.with("prompt", "none"),
    ] {
        let answer = target.get_at(&format!("/oauth2/authorize?{}", request.query())).send();
        answer.is_page(400);
        assert!(!answer.body.contains("evil.example"), "reflected: {answer:?}");
    }
    for (request, error) in [
        (good.clone().without("response_type"), "invalid_request"),
        (good.clone().and("scope", "openid"), "invalid_request"),
        (good.clone().and("nonce", "n"), "invalid_request"),
        (good.clone().and("code_challenge", CHALLENGE), "invalid_request"),
        (good.clone().with("code_challenge_method", "plain"), "invalid_request"),
        (good.clone().without("code_challenge_method"), "invalid_request"),
        (good.clone().with("code_challenge", "short"), "invalid_request"),
        (good.clone().with("prompt", "none login"), "invalid_request"),
        (good.clone().with("response_mode", "fragment"), "invalid_request"),
        (good.clone().with("response_type", "token"), "unsupported_response_type"),
        (good.clone().with("response_type", "id_token"), "unsupported_response_type"),
        (good.clone().with("response_type", "code id_token"), "unsupported_response_type"),
        (good.clone().with("scope", "openid never-registered"), "invalid_scope"),
        (good.clone().with("scope", "openid \""), "invalid_scope"),
        (good.clone().with("request", "x.y.z"), "request_not_supported"),
        (good.clone().with("request_uri", "https://evil.example/"), "request_uri_not_supported"),
        (good.clone().with("prompt", "none"), "login_required"),
    ] {
        target.tells(&app, &request, error);
    }
}

/// RFC 6750 §3.
#[test]
fn a_challenge_says_what_is_missing() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.confidential();
    let plain = target.get_at("/oauth2/userinfo").send().expect(401);
    let challenge = plain.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer realm=") && !challenge.contains("error="), "{plain:?}");
    target.is_dead("made-up");
    target.is_dead("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJ4In0.");
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, &target.scope_without_openid());
        assert_eq!(tokens.id, "", "without `openid` there is no ID token");
        let answer = target.get_at("/oauth2/userinfo").bearer(&tokens.access).send();
        answer.refused(403, "insufficient_scope");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{answer:?}");
        assert!(challenge.contains("scope=\"openid\""), "{answer:?}");
        let twice = target.get_at("/oauth2/userinfo").bearer(&tokens.access);
        twice.bearer(&tokens.access).send().refused(400, "invalid_request");
        let query = format!("/oauth2/userinfo?access_token={}", tokens.access);
        assert!(matches!(target.get_at(&query).send().status, 400 | 401));
        let (rest, last) = tokens.access.split_at(tokens.access.len() - 9);
        let other = if last.starts_with('A') { "B" } else { "A" };
        target.is_dead(&format!("{rest}{other}{}", &last[1..]));
        target.revoke(&app, &tokens.refresh);
    });
}

/// Fetch Standard: the public client's pages may read, nobody else's.
#[test]
fn only_a_registered_origin_may_read() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let preflight = |path: &str, method: &str, origin: &str| {
        let request = target.request("OPTIONS", path).header("origin", origin);
        let request = request.header("access-control-request-method", method);
        request.header("access-control-request-headers", "authorization,content-type").send()
    };
    let table =
        [("/oauth2/token", "POST"), ("/oauth2/revoke", "POST"), ("/oauth2/userinfo", "GET")];
    for origin in ["https://evil.example", "null"] {
        for (path, method) in table {
            let answer = preflight(path, method, origin);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
            let answer = target.request(method, path).header("origin", origin).send();
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
        }
    }
    let open = preflight("/oauth2/jwks", "GET", "https://any.example").expect(204);
    assert_eq!(open.header("access-control-allow-origin"), Some("*"));
    if target.names("public.origin", "no origin is asked for that may read tokens") {
        let origin = target.setting("public.origin");
        for (path, method) in table {
            let answer = preflight(path, method, origin).expect(204);
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
            let methods = answer.header("access-control-allow-methods").unwrap_or_default();
            assert!(methods.contains(method), "{answer:?}");
        }
        for path in ["/oauth2/introspect", "/oauth2/login", "/oauth2/consent/decision"] {
            let answer = preflight(path, "POST", origin);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
        }
    }
}

/// RP-initiated logout: with a hint at once, without one only after a question.
#[test]
fn a_logout_ends_the_session_and_its_grants() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.confidential();
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, target.scope());
        let silent = app.authorization(target.scope()).with("prompt", "none").query();
        let asked = browser.open("/oauth2/logout").expect(200);
        assert_eq!(Form::of(&asked).action, "/oauth2/logout");
        let hint = format!("/oauth2/logout?id_token_hint={}", tokens.id);
        let elsewhere = encode("https://evil.example/bye");
        let answer =
            browser.clone().open(&format!("/oauth2/logout?post_logout_redirect_uri={elsewhere}"));
        assert!(answer.is_html(), "{answer:?}");
        browser.open(&format!("{hint}x")).is_page(400);
        let answer = browser.authorize(&silent);
        assert!(target.told(&answer, &app).contains_key("code"), "still signed in: {answer:?}");

        if target.names("confidential.post_logout_redirect_uri", "a logout ends at a page") {
            let bye = target.setting("confidential.post_logout_redirect_uri");
            let url = format!("{hint}&post_logout_redirect_uri={}&state=s%26t", encode(bye));
            assert_eq!(browser.open(&url).redirects_to(bye)["state"], "s&t");
        } else {
            browser.open(&hint).is_page(200);
        }
        let answer = browser.authorize(&silent);
        assert_eq!(target.told(&answer, &app)["error"], "login_required");
        target.grant_is_dead(&app, &tokens);
    });
}

/// docs/bff.md: sign-in, session, logout, and no token in between.
#[test]
fn a_session_of_the_backend_for_frontend_begins_and_ends() {
    // A path of the issuer's own that is always there.
    const BACK: &str = "/.well-known/openid-configuration";
    let target = Target::get();
    let _log = target.log_on_failure();
    let mut nobody = Browser::at(&target.url);
    if !target.names("bff", "there must be no backend-for-frontend") {
        let answer = call(target, &mut nobody, "GET", "/bff/session");
        assert_eq!(answer.status, 404, "is there one? then `bff = true` is missing: {answer:?}");
        nobody.open("/bff/login").expect(404);
        return;
    }
    let answer = call(target, &mut nobody, "GET", "/bff/session");
    answer.refused(401, "login_required");
    nobody.open("/bff/login?return_to=https://evil.example/").is_page(400);

    let (username, password) = target.user();
    target.in_a_browser(|browser| {
        let mut answer = browser.open(&format!("/bff/login?return_to={BACK}"));
        answer = browser.follow(answer);
        for _ in 0..2 {
            answer = match Form::find(&answer) {
                None => break,
                Some(form) if form.action == "/oauth2/login" => {
                    browser.log_in(&answer, username, password)
                }
                Some(_) => browser.decide(&answer, "approve"),
            };
        }
        assert_eq!(answer.expect(200).url, format!("{}{BACK}", target.url));
        let session = call(target, browser, "GET", "/bff/session").expect(200);
        assert!(session.json()["sub"].is_string(), "{session:?}");
        assert_eq!(session.header("cache-control"), Some("private, no-store"));
        assert!(!session.body.contains("eyJ"), "a token: {session:?}");
        let cross = target.get_at("/bff/session").header("sec-fetch-site", "cross-site");
        browser.send(cross).refused(403, "access_denied");
        browser.send(target.post("/bff/logout")).refused(403, "access_denied");
        call(target, browser, "GET", "/bff/session").expect(200);

        call(target, browser, "POST", "/bff/logout").expect(204);
        call(target, browser, "GET", "/bff/session").refused(401, "login_required");
        let app = target.confidential();
        let silent = app.authorization(target.scope()).with("prompt", "none");
        let answer = browser.authorize(&silent.query());
        assert_eq!(target.told(&answer, &app)["error"], "login_required");
    });
}

/// RFC 6749 §4.3, for the operator's own client alone.
#[test]
fn a_password_becomes_tokens_for_a_client_that_may() {
    let target = Target::get();
    let _log = target.log_on_failure();
    has_no_password_grant(target, &target.confidential());
    if !target.names("password", "the password grant is refused") {
        return;
    }
    let app = App {
        id: target.setting("password.client_id"),
        secret: Some(target.setting("password.client_secret")),
        redirect_uri: "",
    };
    let (username, password) = target.user();
    let scope = target.optional("password.scope").unwrap_or("openid");
    let ask = |password: &str, scope: &str| {
        let form = [
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
            ("scope", scope),
        ];
        target.token(&app, &form)
    };
    ask(password, "openid never-registered").refused(400, "invalid_scope");
    ask("the-other-wrong-password", scope).refused(400, "invalid_grant");
    let tokens = Tokens::of(&ask(password, scope));
    target.verify(&tokens.access, "at+jwt", &target.url);
    target.userinfo(&tokens.access);
    target.revoke(&app, &tokens.refresh);
    target.grant_is_dead(&app, &tokens);
}
