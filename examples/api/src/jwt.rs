//! Signed claims: access tokens and status lists alike.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::DeserializeOwned;

/// Why a JWT is not good: for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadJwt(pub(crate) &'static str);

/// Seconds by which the issuer's clock and this one may differ.
const CLOCK_SKEW: u64 = 10;

/// A public key, with the one algorithm that it is for.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Key {
    /// Reads a key for signatures, and its `kid`.
    ///
    /// `None` for keys of other uses and algorithms: a set may have them, and they verify nothing.
    pub(crate) fn of(jwk: &Jwk) -> Option<(String, Self)> {
        let algorithm = Algorithm::try_from(jwk.common.key_algorithm?).ok()?;
        // No symmetric algorithm: a public key would be its secret.
        let taken = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256].contains(&algorithm);
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| taken && signs)?;
        Some((jwk.common.key_id.clone()?, Self { algorithm, key }))
    }

    /// Prepares what a JWT by this key must hold beside its signature: `exp`, `nbf`, and that its
    /// `alg` is the key's own, whatever the header says (RFC 8725 §3.1).
    pub(crate) fn validation(&self) -> Validation {
        let mut validation = Validation::new(self.algorithm);
        validation.leeway = CLOCK_SKEW;
        validation.validate_nbf = true;
        validation
    }

    /// Verifies the signature, then the claims.
    ///
    /// # Errors
    /// [`BadJwt`].
    pub(crate) fn verify<T: DeserializeOwned>(
        &self,
        jwt: &str,
        validation: &Validation,
    ) -> Result<T, BadJwt> {
        let verified = decode::<T>(jwt, &self.key, validation);
        verified.map(|data| data.claims).map_err(|error| {
            BadJwt(match error.kind() {
                ErrorKind::InvalidSignature => "signature",
                ErrorKind::InvalidAlgorithm => "alg",
                ErrorKind::ExpiredSignature => "expired",
                ErrorKind::InvalidIssuer => "iss",
                ErrorKind::InvalidAudience => "aud",
                ErrorKind::InvalidSubject => "sub",
                ErrorKind::ImmatureSignature => "nbf",
                ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
                _ => "malformed",
            })
        })
    }
}

/// Reads the `kid` of a JWT, unverified, if its header is of the kind that is expected.
///
/// Checks, in order: the header can be read, `typ` (RFC 8725 §3.11: a token of one kind is never
/// taken for another), no `crit`, a `kid`. **Does NOT** look at signature or claims.
///
/// # Errors
/// [`BadJwt`].
pub(crate) fn kid(jwt: &str, typ: &str) -> Result<String, BadJwt> {
    let header = decode_header(jwt).map_err(|_| BadJwt("malformed"))?;
    let told = header.typ.unwrap_or_default().to_ascii_lowercase();
    if told.strip_prefix("application/").unwrap_or(&told) != typ {
        return Err(BadJwt("typ"));
    }
    if header.crit.is_some() {
        return Err(BadJwt("crit"));
    }
    header.kid.ok_or(BadJwt("kid"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Signer, now};

    fn verify(signer: &Signer, header: &Value) -> Result<Value, BadJwt> {
        let jwt = signer.sign(header, &json!({ "exp": now() + 60 }));
        kid(&jwt, "at+jwt")?;
        let (_, key) = Key::of(&signer.jwk()).unwrap();
        key.verify(&jwt, &key.validation())
    }

    #[test]
    fn a_header_of_another_kind_is_refused() {
        let signer = Signer::new("k");
        let good = json!({ "typ": "at+jwt", "alg": "ES256", "kid": "k" });
        assert!(verify(&signer, &good).is_ok());
        for (name, value, why) in [
            ("typ", json!("application/AT+jwt"), None),
            ("typ", json!("JWT"), Some("typ")),
            ("typ", Value::Null, Some("typ")),
            ("kid", Value::Null, Some("kid")),
            ("crit", json!(["exp"]), Some("crit")),
            ("alg", json!("HS256"), Some("alg")),
            ("alg", json!("EdDSA"), Some("alg")),
            ("alg", json!("none"), Some("malformed")),
        ] {
            let mut header = good.clone();
            header[name] = value.clone();
            assert_eq!(verify(&signer, &header).err(), why.map(BadJwt), "{name} {value}");
        }
    }

    #[test]
    fn only_keys_for_signatures_are_taken() {
        let good = Signer::new("k").jwk();
        assert!(Key::of(&good).is_some());
        let changes: [fn(&mut Jwk); 4] = [
            |jwk| jwk.common.key_algorithm = None,
            |jwk| jwk.common.key_algorithm = Some(Algorithm::HS256.into()),
            |jwk| jwk.common.public_key_use = Some(PublicKeyUse::Encryption),
            |jwk| jwk.common.key_id = None,
        ];
        for (case, change) in changes.into_iter().enumerate() {
            let mut jwk = good.clone();
            change(&mut jwk);
            assert!(Key::of(&jwk).is_none(), "case {case}");
        }
    }
}
