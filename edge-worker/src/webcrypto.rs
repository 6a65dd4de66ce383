//! Signatures, checked by the platform's WebCrypto: some fifteen times faster than in wasm.

use std::cell::RefCell;
use std::collections::HashMap;

use js_sys::{Array, JSON, Object, Reflect};
use shared::jwk::{Alg, JwkSet, PublicJwk, PublicKey};
use shared::jwt::{UntrustedJwt, Verdict};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, SubtleCrypto};

use crate::answer::Refusal;
use crate::platform;

/// A key that was imported, and what it was imported from.
struct Imported {
    jwk: PublicJwk,
    ready: Ready,
}

/// What verifying takes, as WebCrypto wants it.
#[derive(Clone)]
struct Ready {
    subtle: SubtleCrypto,
    key: CryptoKey,
    algorithm: Object,
}

thread_local! {
    static IMPORTED: RefCell<HashMap<String, Imported>> = RefCell::new(HashMap::new());
}

/// Checks the signature of a token with `jwk`, which is of `set`.
///
/// # Errors
/// [`Refusal::Unavailable`] for a key that is not taken.
pub(crate) async fn verify(
    jwt: &UntrustedJwt<'_>,
    jwk: &PublicJwk,
    set: &JwkSet,
) -> Result<Verdict, Refusal> {
    verdict(jwk, set, jwt.signing_input(), jwt.signature()).await.map_err(|error| {
        platform::log(&format!("webcrypto: the key {} cannot be used: {error:?}", jwk.kid));
        Refusal::Unavailable
    })
}

/// Tells whether `signature` is the signature of `message` by `jwk`, a JSON Web Key, as it is told
/// of a token's parts.
///
/// The worker itself does not call it. Tests do, from an entry module of their own: so they ask
/// the very module that production runs.
/// **Does NOT** look at what the message says.
///
/// # Errors
/// A text, with which the promise is rejected, for a key that is not taken.
#[wasm_bindgen]
pub async fn verify_signature(
    jwk: String,
    message: Vec<u8>,
    signature: Vec<u8>,
) -> Result<bool, JsValue> {
    let jwk: PublicJwk = serde_json::from_str(&jwk).map_err(|error| error.to_string())?;
    let verdict = verdict(&jwk, &JwkSet::default(), &message, &signature).await;
    let verdict = verdict.map_err(|error| format!("{error:?}"))?;
    Ok(verdict == Verdict::Good)
}

/// Tells whether `signature` is the signature of `message` by `jwk`.
///
/// Imports each key once in an isolate's life, and forgets those that have left `set`.
///
/// # Errors
/// What [`PublicKey::parse`] or the platform has against the key.
async fn verdict(
    jwk: &PublicJwk,
    set: &JwkSet,
    message: &[u8],
    signature: &[u8],
) -> Result<Verdict, JsValue> {
    let known = IMPORTED.with_borrow(|imported| {
        let entry = imported.get(&jwk.kid).filter(|entry| entry.jwk == *jwk);
        entry.map(|entry| entry.ready.clone())
    });
    let Ready { subtle, key, algorithm } = if let Some(ready) = known {
        ready
    } else {
        let ready = import(jwk).await?;
        IMPORTED.with_borrow_mut(|imported| {
            imported.retain(|kid, _| set.has(kid));
            let entry = Imported { jwk: jwk.clone(), ready: ready.clone() };
            imported.insert(jwk.kid.clone(), entry);
        });
        ready
    };
    // The platform takes copies of both before it returns (WebCrypto §14.3.4).
    let verdict =
        subtle.verify_with_object_and_u8_array_and_u8_array(&algorithm, &key, signature, message);
    // A signature of a wrong length may be an exception instead of `false`.
    let is_good = match verdict {
        Ok(verdict) => JsFuture::from(verdict).await.is_ok_and(|it| it == JsValue::TRUE),
        Err(_) => false,
    };
    Ok(if is_good { Verdict::Good } else { Verdict::Bad })
}

async fn import(jwk: &PublicJwk) -> Result<Ready, JsValue> {
    let subtle = platform::global().crypto()?.subtle();
    PublicKey::parse(jwk).map_err(|refused| refused.to_string())?;
    let json = serde_json::to_string(&jwk.parameters).map_err(|error| error.to_string())?;
    let parameters: Object = JSON::parse(&json)?.unchecked_into();
    let usages = Array::of1(&"verify".into());
    let algorithm = algorithm(jwk.alg)?;
    let key = subtle.import_key_with_object("jwk", &parameters, &algorithm, false, &usages)?;
    let key = JsFuture::from(key).await?.unchecked_into();
    Ok(Ready { subtle, key, algorithm })
}

/// Writes an algorithm as WebCrypto wants it, for importing and for verifying.
fn algorithm(alg: Alg) -> Result<Object, JsValue> {
    let members: &[(&str, &str)] = match alg {
        Alg::ES256 => &[("name", "ECDSA"), ("namedCurve", "P-256"), ("hash", "SHA-256")],
        Alg::EdDsa => &[("name", "Ed25519")],
        Alg::RS256 => &[("name", "RSASSA-PKCS1-v1_5"), ("hash", "SHA-256")],
    };
    let object = Object::new();
    for (name, value) in members {
        Reflect::set(&object, &(*name).into(), &(*value).into())?;
    }
    Ok(object)
}
