//! What most tests need: the registered clients, authorization queries, tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::browser::Browser;
use crate::http::{self, Answer, Request};
use crate::outage::{answered_at_last, is_unavailable, past_outages};
use crate::server::{Server, until};

/// When a refresh token that was rotated is good no more, unless its rotation was never answered.
pub(crate) const LATER_THAN_THE_GRACE: Duration = Duration::from_secs(12);

/// The pair of RFC 7636 Appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) const ALICE: &str = "alice@example.test";
pub(crate) const ALICES_PASSWORD: &str = "correct-horse-battery";

/// A client as `clients.toml` registers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct App {
    pub(crate) id: &'static str,
    pub(crate) secret: Option<&'static str>,
    pub(crate) redirect_uri: &'static str,
}

pub(crate) const WEB: App = App {
    id: "web",
    secret: Some("web-secret-0123456789"),
    redirect_uri: "https://app.example/cb",
};
pub(crate) const OTHER: App = App {
    id: "other",
    secret: Some("other-secret-0123456789"),
    redirect_uri: "https://other.example/cb?x=1",
};
pub(crate) const SPA: App = App { id: "spa", secret: None, redirect_uri: "https://spa.example/cb" };
pub(crate) const NATIVE: App =
    App { id: "native", secret: None, redirect_uri: "http://127.0.0.1:49152/cb" };
pub(crate) const LENIENT: App = App {
    id: "lenient",
    secret: Some("lenient-secret-0123456789"),
    redirect_uri: "https://lenient.example/cb",
};
pub(crate) const RS256: App = App {
    id: "rs256",
    secret: Some("rs256-secret-0123456789"),
    redirect_uri: "https://rs256.example/cb",
};

/// The parameters of an authorization request.
#[derive(Clone, Debug)]
pub(crate) struct Authorization(Vec<(String, String)>);

impl App {
    /// A complete, valid authorization request.
    pub(crate) fn authorization(&self, scope: &str) -> Authorization {
        let pairs = [
            ("response_type", "code"),
            ("client_id", self.id),
            ("redirect_uri", self.redirect_uri),
            ("scope", scope),
            ("state", "st-&=+%"),
            ("nonce", "n-0S6_WzA2Mj"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        Authorization(pairs.map(|(name, value)| (name.into(), value.into())).into())
    }

    /// Authenticates a request with these pairs in its form.
    pub(crate) fn sign(&self, request: Request, pairs: &[(&str, &str)]) -> Request {
        match self.secret {
            Some(secret) => request.basic(self.id, secret).form(pairs),
            None => request.form(&[&[("client_id", self.id)], pairs].concat()),
        }
    }

    /// Signs Alice in and returns a code.
    #[track_caller]
    pub(crate) fn code(&self, server: &Server, scope: &str) -> String {
        let answer =
            server.alice().sign_in(&self.authorization(scope).query(), ALICE, ALICES_PASSWORD);
        self.code_in(server, &answer)
    }

    /// Reads the code with which a browser is sent back.
    #[track_caller]
    fn code_in(&self, server: &Server, answer: &Answer) -> String {
        let mut params = answer.redirects_to(self.redirect_uri);
        assert_eq!(params.get("iss"), Some(&server.url), "{answer:?}");
        assert_eq!(params.get("state").map(String::as_str), Some("st-&=+%"), "{answer:?}");
        params.remove("code").unwrap_or_else(|| panic!("no code: {answer:?}"))
    }

    /// Redeems a code.
    #[track_caller]
    pub(crate) fn redeem(&self, server: &Server, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        self.sign(server.post("/oauth2/token"), &form).send()
    }

    /// Signs Alice in and returns tokens.
    #[track_caller]
    pub(crate) fn tokens(&self, server: &Server, scope: &str) -> Tokens {
        let code = self.code(server, scope);
        Tokens::of(&self.redeem(server, &code))
    }

    /// Does the same as somebody who asks again after an outage, by the session of Alice and what she
    /// has consented to; the code is returned, too. It is another one each time: a code that was sent
    /// into an outage may be used up.
    #[track_caller]
    pub(crate) fn redeemed_at_last(&self, server: &Server, scope: &str) -> (String, Tokens) {
        let mut redeemed = None;
        until("a sign-in is answered", || {
            let code = self.code_at_last(server, scope);
            let answer = self.redeem(server, &code);
            if answer.status == 503 {
                is_unavailable(&answer);
                return false;
            }
            redeemed = Some((code, Tokens::of(&answer)));
            true
        });
        redeemed.unwrap()
    }

    /// Returns the tokens of [`App::redeemed_at_last`].
    #[track_caller]
    pub(crate) fn tokens_at_last(&self, server: &Server, scope: &str) -> Tokens {
        self.redeemed_at_last(server, scope).1
    }

    /// Returns a code, as [`App::redeemed_at_last`] gets one.
    #[track_caller]
    pub(crate) fn code_at_last(&self, server: &Server, scope: &str) -> String {
        let query = self.authorization(scope).query();
        let answer = past_outages(|| server.alice().authorize(&query));
        self.code_in(server, &answer)
    }

    #[track_caller]
    pub(crate) fn refresh(&self, server: &Server, refresh_token: &str) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.sign(server.post("/oauth2/token"), &form).send()
    }

    #[track_caller]
    pub(crate) fn revoke(&self, server: &Server, token: &str) -> Answer {
        self.sign(server.post("/oauth2/revoke"), &[("token", token)]).send()
    }

    #[track_caller]
    pub(crate) fn introspect(&self, server: &Server, token: &str) -> Answer {
        self.sign(server.post("/oauth2/introspect"), &[("token", token)]).send()
    }
}

impl Authorization {
    /// Sets a parameter, in place of the one that is there.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.0.push((name.into(), value.into())),
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    /// Adds a parameter, beside any that is there.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    pub(crate) fn query(&self) -> String {
        http::query(&self.pairs())
    }

    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value)).collect()
    }
}

/// A token response.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) id: String,
    pub(crate) json: Value,
}

impl Tokens {
    /// Reads the answer of the token endpoint (RFC 6749 §5.1).
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Self {
        let json = answer.clone().expect(200).json();
        assert_eq!(json["token_type"], "Bearer");
        assert_eq!(json["expires_in"], 300);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
            id: text("id_token"),
            json,
        }
    }
}

/// Asserts that an access token opens userinfo, once that is answered.
#[track_caller]
pub(crate) fn is_alive(server: &Server, access_token: &str) {
    answered_at_last(|| server.get("/oauth2/userinfo").bearer(access_token).send()).expect(200);
}

/// Asserts that an access token opens nothing any more, once that is answered.
#[track_caller]
pub(crate) fn is_dead(server: &Server, access_token: &str) {
    let ask = |path: &str| answered_at_last(|| server.get(path).bearer(access_token).send());
    let answer = ask("/oauth2/userinfo");
    answer.refused(401, "invalid_token");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""));
    ask("/api/me").refused(401, "invalid_token");
}

/// Asserts that a grant is dead: neither its access token nor its refresh token is good. Whoever is
/// told to ask again does so.
#[track_caller]
pub(crate) fn grant_is_dead(server: &Server, app: &App, tokens: &Tokens) {
    is_dead(server, &tokens.access);
    if !tokens.refresh.is_empty() {
        let answer = answered_at_last(|| app.refresh(server, &tokens.refresh));
        answer.refused(400, "invalid_grant");
    }
    if app.secret.is_some() {
        let told = answered_at_last(|| app.introspect(server, &tokens.access)).expect(200);
        assert_eq!(told.body, r#"{"active":false}"#);
    }
}

/// Encodes a part of a JWT.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads one of the first two parts of a JWT, unverified.
#[track_caller]
pub(crate) fn jwt_part(jwt: &str, index: usize) -> Value {
    let part = jwt.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Gets tokens with the password grant of the client `own`.
#[track_caller]
pub(crate) fn own_tokens(server: &Server, username: &str, password: &str) -> Answer {
    let form = [
        ("grant_type", "password"),
        ("username", username),
        ("password", password),
        ("scope", "openid email"),
    ];
    server.post("/oauth2/token").basic("own", "own-secret-0123456789").form(&form).send()
}

/// The client `own`, which has the password grant.
pub(crate) const OWN: App =
    App { id: "own", secret: Some("own-secret-0123456789"), redirect_uri: "" };

/// Signs somebody in at a new browser and returns what the client gets.
#[track_caller]
pub(crate) fn sign_in<'s>(
    server: &'s Server,
    request: &Authorization,
    username: &str,
    password: &str,
) -> (Browser<'s>, Answer) {
    let mut browser = Browser::new(server);
    let answer = browser.sign_in(&request.query(), username, password);
    (browser, answer)
}

/// Reads the parameters with which a browser comes back to a client.
#[track_caller]
pub(crate) fn come_back(answer: &Answer, app: &App) -> BTreeMap<String, String> {
    answer.redirects_to(app.redirect_uri)
}
