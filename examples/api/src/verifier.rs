//! Whether an access token is good, and good for this.

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde::Deserialize;

use crate::bearer::Refused;
use crate::issuer::Issuer;
use crate::jwt::{self, BadJwt};
use crate::keys::Keys;
use crate::settings::Settings;
use crate::status::{Status, StatusLists};

/// What of a token this API acts upon; `iss`, `aud` and `exp` are checked and done with.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Claims {
    /// The user, by a name that never changes and is nobody else's at this issuer.
    pub(crate) sub: String,
    #[serde(default)]
    scope: String,
    status: Option<Status>,
}

/// Verifies access tokens of one issuer for one audience.
#[derive(Debug)]
pub(crate) struct Verifier {
    issuer: Issuer,
    audience: String,
    trust_gateway: bool,
    keys: Keys,
    status_lists: StatusLists,
}

impl Verifier {
    /// Makes a verifier; nothing is fetched yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            issuer: Issuer::new(&settings.issuer)?,
            audience: settings.audience.clone(),
            trust_gateway: settings.trust_gateway,
            keys: Keys::default(),
            status_lists: StatusLists::default(),
        })
    }

    /// Verifies a token and that it allows `scope`.
    ///
    /// Checks, in order: `typ`, `crit`, the key of `kid`, `alg` by that key, the signature, `exp`
    /// and `nbf`, `iss`, `aud`, the status list, the scope. With `API_TRUST_GATEWAY` the scope
    /// alone: the gateway knows one scope for all that lies below a prefix, and has checked the
    /// rest. **Does NOT** look a token up that names no status list: such a one ends by `exp`.
    ///
    /// # Errors
    /// [`Refused`].
    ///
    /// Source: RFC 9068 §4.
    pub(crate) async fn verify(&self, token: &str, scope: &'static str) -> Result<Claims, Refused> {
        let claims = if self.trust_gateway {
            insecure_decode_claims(token).map_err(|_| Refused::InvalidToken("malformed"))?
        } else {
            self.verify_signature_and_status(token).await?
        };
        claims.allows(scope)?;
        Ok(claims)
    }

    async fn verify_signature_and_status(&self, token: &str) -> Result<Claims, Refused> {
        let invalid = |BadJwt(why)| Refused::InvalidToken(why);
        let kid = jwt::kid(token, "at+jwt").map_err(invalid)?;
        let key = self.keys.find(&self.issuer, &kid).await?;
        let mut validation = key.validation();
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[self.issuer.as_str()]);
        validation.set_audience(&[&self.audience]);
        let claims: Claims = key.verify(token, &validation).map_err(invalid)?;
        if let Some(status) = &claims.status {
            self.status_lists.check(&self.issuer, &self.keys, status).await?;
        }
        Ok(claims)
    }
}

impl Claims {
    /// Checks that `scope` is one of those that the user has granted.
    fn allows(&self, scope: &'static str) -> Result<(), Refused> {
        let granted = self.scope.split(' ').any(|granted| granted == scope);
        granted.then_some(()).ok_or(Refused::InsufficientScope(scope))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Issuer as TestIssuer, ListAnswer, Signer, now};

    async fn start() -> (TestIssuer, Verifier) {
        let issuer = TestIssuer::start().await;
        let verifier = Verifier::new(&issuer.settings()).unwrap();
        (issuer, verifier)
    }

    async fn refused(verifier: &Verifier, token: &str) -> Option<Refused> {
        verifier.verify(token, "notes:read").await.err()
    }

    #[tokio::test]
    async fn a_good_token_tells_who_asks() {
        let (issuer, verifier) = start().await;
        let token = issuer.token(&issuer.claims());
        assert_eq!(verifier.verify(&token, "notes:read").await.unwrap().sub, "alice");
        let short = verifier.verify(&token, "notes:write").await.unwrap_err();
        assert_eq!(short, Refused::InsufficientScope("notes:write"));
        let part_of_a_word = verifier.verify(&token, "notes").await.unwrap_err();
        assert_eq!(part_of_a_word, Refused::InsufficientScope("notes"));
    }

    #[tokio::test]
    async fn each_wrong_claim_is_refused() {
        let (issuer, verifier) = start().await;
        for (name, value, why) in [
            ("iss", json!("https://other.example"), "iss"),
            ("iss", Value::Null, "a claim is missing"),
            ("aud", json!("https://other.example"), "aud"),
            ("aud", Value::Null, "a claim is missing"),
            ("exp", json!(now() - 11), "expired"),
            ("exp", Value::Null, "a claim is missing"),
            ("nbf", json!(now() + 60), "nbf"),
            ("sub", Value::Null, "malformed"),
        ] {
            let mut claims = issuer.claims();
            claims[name] = value.clone();
            let refused = refused(&verifier, &issuer.token(&claims)).await;
            assert_eq!(refused, Some(Refused::InvalidToken(why)), "{name} {value}");
        }
    }

    #[tokio::test]
    async fn what_another_key_signed_is_refused() {
        let (issuer, verifier) = start().await;
        let forged = Signer::new("first").sign_as("at+jwt", &issuer.claims());
        let refused_for = refused(&verifier, &forged).await;
        assert_eq!(refused_for, Some(Refused::InvalidToken("signature")));
        let id_token = issuer.signer.sign_as("JWT", &issuer.claims());
        assert_eq!(refused(&verifier, &id_token).await, Some(Refused::InvalidToken("typ")));
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_once_in_a_while() {
        let (issuer, verifier) = start().await;
        let second = Signer::new("second");
        issuer.serve_key(second.jwk());
        let token = second.sign_as("at+jwt", &issuer.claims());
        assert_eq!(refused(&verifier, &token).await, None);
        for kid in ["third", "fourth", "fifth"] {
            let token = Signer::new(kid).sign_as("at+jwt", &issuer.claims());
            assert_eq!(refused(&verifier, &token).await, Some(Refused::InvalidToken("kid")));
        }
        assert_eq!(issuer.key_sets_asked(), 1);
    }

    #[tokio::test]
    async fn an_issuer_that_is_away_refuses_nobody() {
        let issuer = TestIssuer::start().await;
        let settings = Settings { issuer: "http://127.0.0.1:1".to_owned(), ..issuer.settings() };
        let verifier = Verifier::new(&settings).unwrap();
        let refused = refused(&verifier, &issuer.token(&issuer.claims())).await;
        assert_eq!(refused, Some(Refused::Unavailable("the issuer does not answer")));
    }

    #[tokio::test]
    async fn a_revoked_token_is_refused() {
        let (issuer, verifier) = start().await;
        let list = issuer.signer.sign_as("statuslist+jwt", &issuer.list_claims());
        issuer.serve_list(ListAnswer::Signed(list));
        let place = |idx| issuer.token(&issuer.claims_with_status(idx));
        for (idx, expected) in [
            (0, None),
            (1, Some(Refused::InvalidToken("revoked"))),
            (7, None),
            (8, Some(Refused::InvalidToken("not in its status list"))),
        ] {
            assert_eq!(refused(&verifier, &place(idx)).await, expected, "{idx}");
        }
        assert_eq!(issuer.lists_asked(), 1, "a list is kept for its ttl");
    }

    #[tokio::test]
    async fn without_its_list_a_token_is_not_let_in() {
        for (answer, expected) in [
            (ListAnswer::Gone, Refused::InvalidToken("the status list is gone")),
            (ListAnswer::Broken, Refused::Unavailable("the issuer cannot tell")),
        ] {
            let (issuer, verifier) = start().await;
            issuer.serve_list(answer);
            let token = issuer.token(&issuer.claims_with_status(0));
            for _ in 0..3 {
                assert_eq!(refused(&verifier, &token).await, Some(expected));
            }
            assert_eq!(issuer.lists_asked(), 1);
        }
        let (issuer, verifier) = start().await;
        let mut claims = issuer.claims();
        claims["status"] = json!({ "status_list": { "idx": 0, "uri": "http://127.0.0.1:1/1" } });
        let elsewhere = refused(&verifier, &issuer.token(&claims)).await;
        assert_eq!(elsewhere, Some(Refused::InvalidToken("the status list is elsewhere")));
    }

    #[tokio::test]
    async fn a_list_that_proves_nothing_is_not_believed() {
        let wrong: [fn(&TestIssuer) -> String; 4] = [
            |issuer| Signer::new("first").sign_as("statuslist+jwt", &issuer.list_claims()),
            |issuer| issuer.signer.sign_as("JWT", &issuer.list_claims()),
            |issuer| {
                let mut claims = issuer.list_claims();
                claims["sub"] = json!(format!("{}/status/2", issuer.url));
                issuer.signer.sign_as("statuslist+jwt", &claims)
            },
            |issuer| {
                let mut claims = issuer.list_claims();
                claims["exp"] = json!(now() - 11);
                issuer.signer.sign_as("statuslist+jwt", &claims)
            },
        ];
        for (case, list) in wrong.into_iter().enumerate() {
            let (issuer, verifier) = start().await;
            issuer.serve_list(ListAnswer::Signed(list(&issuer)));
            let refused = refused(&verifier, &issuer.token(&issuer.claims_with_status(0))).await;
            let expected = Refused::Unavailable("the status list is not good");
            assert_eq!(refused, Some(expected), "case {case}");
        }
    }

    #[tokio::test]
    async fn behind_a_trusted_gateway_only_the_scope_is_checked() {
        let issuer = TestIssuer::start().await;
        let settings = Settings { trust_gateway: true, ..issuer.settings() };
        let verifier = Verifier::new(&settings).unwrap();
        let unknown = Signer::new("unknown").sign_as("at+jwt", &issuer.claims());
        assert_eq!(refused(&verifier, &unknown).await, None);
        let short = verifier.verify(&unknown, "notes:write").await.unwrap_err();
        assert_eq!(short, Refused::InsufficientScope("notes:write"));
        assert_eq!(issuer.key_sets_asked(), 0);
    }
}
