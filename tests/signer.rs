//! A system's own signing keys, taken out of its directory and opened with its secret, as the
//! documents say how: what they sign is authentic, whatever it says.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::oauth::base64url;
use crate::server::Server;

/// The signing keys of one system.
pub(crate) struct Signer(Vec<Key>);

/// One of them.
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) alg: String,
    pair: Pair,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl Signer {
    /// Reads the keys of a system's directory.
    pub(crate) fn of(server: &Server) -> Self {
        let folder = server.origin.data_dir();
        let secret = std::fs::read(folder.join("secret.key")).unwrap();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let seal = hmac::sign(&secret, b"cadence signing keys");
        let cipher = XChaCha20Poly1305::new_from_slice(seal.as_ref()).unwrap();
        let open = |(kid, alg, sealed): (String, String, Vec<u8>)| {
            let sealed = URL_SAFE_NO_PAD.decode(sealed).unwrap();
            let (nonce, msg) = sealed.split_first_chunk::<24>().unwrap();
            let payload = Payload { msg, aad: kid.as_bytes() };
            let pair = Pair::read(&alg, &cipher.decrypt(&(*nonce).into(), payload).unwrap());
            Key { kid, alg, pair }
        };
        let url = format!("sqlite://{}", folder.join("directory.db").display());
        Self(read_keys(&url).into_iter().map(open).collect())
    }

    /// Returns the key of an algorithm that signs last.
    pub(crate) fn key(&self, alg: &str) -> &Key {
        self.0.iter().rfind(|key| key.alg == alg).unwrap()
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.0
    }
}

/// Reads all keys, in the order in which they sign.
fn read_keys(url: &str) -> Vec<(String, String, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut directory = SqliteConnection::connect(url).await.unwrap();
        let keys = "SELECT kid, alg, sealed_pkcs8 FROM keys ORDER BY signs_at";
        sqlx::query_as(keys).fetch_all(&mut directory).await.unwrap()
    })
}

impl Pair {
    fn read(alg: &str, pkcs8: &[u8]) -> Self {
        match alg {
            "ES256" => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
                Self::Es256(pair.unwrap())
            }
            "EdDSA" => Self::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8).unwrap()),
            "RS256" => Self::Rs256(RsaKeyPair::from_pkcs8(pkcs8).unwrap()),
            alg => panic!("there is a key for {alg}"),
        }
    }
}

impl Key {
    /// Signs a token; the header names the key and its algorithm unless it says something else.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&self.named(header).to_string(), &claims.to_string())
    }

    /// Returns a header that names the key and its algorithm unless it says something else.
    pub(crate) fn named(&self, header: &Value) -> Value {
        let mut named = json!({ "alg": self.alg, "kid": self.kid });
        named.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
        named
    }

    /// Signs a token of these very texts.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        let signature = base64url(&self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// Signs bytes with the algorithm of the key.
    pub(crate) fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => {
                pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
            }
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rs256(pair) => rsa_signature(pair, &RSA_PKCS1_SHA256, message),
        }
    }

    /// Signs bytes with the RSA key as no token is signed: by RSASSA-PSS.
    pub(crate) fn pss_signature(&self, message: &[u8]) -> Vec<u8> {
        let Pair::Rs256(pair) = &self.pair else { panic!("{} is no RSA key", self.kid) };
        rsa_signature(pair, &RSA_PSS_SHA256, message)
    }

    /// Returns the public key as DER (RFC 5280 §4.1, `SubjectPublicKeyInfo`).
    pub(crate) fn public_der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Es256(pair) => pair.public_key().as_der().unwrap(),
            Pair::EdDsa(pair) => pair.public_key().as_der().unwrap(),
            Pair::Rs256(pair) => pair.public_key().as_der().unwrap(),
        };
        der.as_ref().to_vec()
    }
}

fn rsa_signature(pair: &RsaKeyPair, how: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(how, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

/// Returns what is signed of a token of these texts.
pub(crate) fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// Somebody with a key of their own.
pub(crate) struct Thief(EcdsaKeyPair);

impl Thief {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(&header.to_string(), &claims.to_string());
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", base64url(signature.as_ref()))
    }

    /// Returns the public key (RFC 7517 §4).
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        // An uncompressed point: 4, then 32 bytes each of x and y.
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y),
            "kid": kid, "alg": "ES256", "use": "sig",
        })
    }
}
