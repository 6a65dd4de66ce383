//! An issuer for tests: its keys, what it signs, and what it says about status lists.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::settings::Settings;

pub(crate) const AUDIENCE: &str = "https://notes.example.test";

/// Returns the UNIX time, seconds.
pub(crate) fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// A private key.
pub(crate) struct Signer {
    kid: String,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self { kid: kid.to_owned(), key: EncodingKey::from_ec_der(key.as_ref()) }
    }

    pub(crate) fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        jwk
    }

    /// Signs with ES256, whatever the header says.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }

    /// Signs claims as a token of this kind.
    pub(crate) fn sign_as(&self, typ: &str, claims: &Value) -> String {
        self.sign(&json!({ "typ": typ, "alg": "ES256", "kid": self.kid }), claims)
    }
}

/// What an issuer answers when it is asked for a status list.
#[derive(Clone)]
pub(crate) enum ListAnswer {
    /// A list with a status for each token, as the tests sign it.
    Signed(String),
    Gone,
    Broken,
}

/// An issuer that listens.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) signer: Signer,
    state: Arc<Served>,
}

struct Served {
    url: String,
    keys: Mutex<Vec<Jwk>>,
    list: Mutex<ListAnswer>,
    key_sets_asked: AtomicUsize,
    lists_asked: AtomicUsize,
}

impl Issuer {
    /// Starts one; it lives as long as the test's runtime.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let signer = Signer::new("first");
        let state = Arc::new(Served {
            url: url.clone(),
            keys: Mutex::new(vec![signer.jwk()]),
            list: Mutex::new(ListAnswer::Gone),
            key_sets_asked: AtomicUsize::new(0),
            lists_asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(key_set))
            .route("/status/1", get(status_list))
            .with_state(Arc::clone(&state));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, signer, state }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            issuer: self.url.clone(),
            audience: AUDIENCE.to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            trust_gateway: false,
        }
    }

    /// Returns the claims of a token that is good, and on no status list.
    pub(crate) fn claims(&self) -> Value {
        json!({
            "iss": self.url,
            "sub": "alice",
            "aud": [self.url, AUDIENCE],
            "scope": "openid notes:read",
            "iat": now(),
            "exp": now() + 300,
        })
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.signer.sign_as("at+jwt", claims)
    }

    /// Returns the claims of a token with a place in the status list.
    pub(crate) fn claims_with_status(&self, idx: usize) -> Value {
        let mut claims = self.claims();
        claims["status"] = json!({ "status_list": { "idx": idx, "uri": self.list_url() } });
        claims
    }

    pub(crate) fn list_url(&self) -> String {
        format!("{}/status/1", self.url)
    }

    /// Returns the claims of a list that is good: eight tokens, of which number 1 is revoked.
    pub(crate) fn list_claims(&self) -> Value {
        let lst = miniz_oxide::deflate::compress_to_vec_zlib(&[0b10], 6);
        let lst = URL_SAFE_NO_PAD.encode(lst);
        json!({
            "sub": self.list_url(),
            "iat": now(),
            "exp": now() + 60,
            "ttl": 5,
            "status_list": { "bits": 1, "lst": lst },
        })
    }

    pub(crate) fn serve_list(&self, answer: ListAnswer) {
        *self.state.list.lock().unwrap() = answer;
    }

    pub(crate) fn serve_key(&self, jwk: Jwk) {
        self.state.keys.lock().unwrap().push(jwk);
    }

    pub(crate) fn key_sets_asked(&self) -> usize {
        self.state.key_sets_asked.load(Ordering::Relaxed)
    }

    pub(crate) fn lists_asked(&self) -> usize {
        self.state.lists_asked.load(Ordering::Relaxed)
    }
}

async fn metadata(State(served): State<Arc<Served>>) -> String {
    json!({ "issuer": served.url, "jwks_uri": format!("{}/keys", served.url) }).to_string()
}

async fn key_set(State(served): State<Arc<Served>>) -> String {
    served.key_sets_asked.fetch_add(1, Ordering::Relaxed);
    json!({ "keys": *served.keys.lock().unwrap() }).to_string()
}

async fn status_list(State(served): State<Arc<Served>>) -> Result<String, StatusCode> {
    served.lists_asked.fetch_add(1, Ordering::Relaxed);
    match served.list.lock().unwrap().clone() {
        ListAnswer::Signed(list) => Ok(list),
        ListAnswer::Gone => Err(StatusCode::NOT_FOUND),
        ListAnswer::Broken => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}
