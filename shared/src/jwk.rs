//! Public keys and the three signature algorithms.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::RSA_MODULUS_BITS;
use crate::secret::{Sha256Digest, base64url_decode};

/// A signature algorithm that this server signs with and accepts.
///
/// Source: RFC 7518 §3.1, RFC 8037 §3.1. There is no `none`, and no symmetric algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alg {
    /// ECDSA with P-256 and SHA-256; signatures are r ‖ s, 64 bytes.
    #[default]
    ES256,
    /// Ed25519; signatures have 64 bytes.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
}

impl Alg {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::ES256, Self::EdDsa, Self::RS256];

    /// Returns the wire value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::RS256 => "RS256",
        }
    }

    /// Reads a wire value, by its exact case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == text)
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The public parameters of a key, base64url, without any private member.
///
/// Source: RFC 7518 §6, RFC 8037 §2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum KeyParameters {
    /// A point on an elliptic curve.
    #[serde(rename = "EC")]
    Ec {
        /// `P-256`.
        crv: String,
        /// 32 bytes.
        x: String,
        /// 32 bytes.
        y: String,
    },
    /// An octet key pair.
    #[serde(rename = "OKP")]
    Okp {
        /// `Ed25519`.
        crv: String,
        /// 32 bytes.
        x: String,
    },
    /// An RSA modulus and exponent.
    #[serde(rename = "RSA")]
    Rsa {
        /// Modulus, at least 2048 bits.
        n: String,
        /// Exponent.
        e: String,
    },
}

impl KeyParameters {
    /// Computes the key's thumbprint, 43 base64url characters; used as its `kid`.
    ///
    /// Source: RFC 7638 §3.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let members = match self {
            Self::Ec { crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        Sha256Digest::of(members.as_bytes()).to_base64url()
    }
}

/// A JSON Web Key that verifies signatures of one algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    /// The parameters of the key.
    #[serde(flatten)]
    pub parameters: KeyParameters,
    /// The key's identifier; unique in its set.
    pub kid: String,
    /// The one algorithm that the key is used with.
    pub alg: Alg,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub key_use: String,
}

impl PublicJwk {
    /// Makes a key for verifying signatures.
    #[must_use]
    pub fn for_signatures(parameters: KeyParameters, kid: String, alg: Alg) -> Self {
        Self { parameters, kid, alg, key_use: "sig".to_owned() }
    }
}

/// The public key that a [`PublicJwk`] tells of: of the kind and the size that its algorithm wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// For ES256: an uncompressed point, which is 4, then 32 bytes each of x and y (SEC 1 §2.3.3).
    Es256([u8; 65]),
    /// For `EdDSA`: a point of Ed25519 (RFC 8032 §5.1.2).
    EdDsa([u8; 32]),
    /// For RS256: two numbers, the most significant byte first, without leading zeros.
    Rs256 {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwkRefused {
    /// It is not for signatures.
    Use,
    /// Its `kty` or `crv` is not the one of its algorithm.
    Kind,
    /// A parameter is not base64url, or not of the length that it must have.
    Parameter,
    /// Its RSA modulus has fewer or more bits than [`RSA_MODULUS_BITS`].
    Modulus,
    /// Its RSA exponent is even, 1, or longer than 32 bits.
    Exponent,
}

impl fmt::Display for JwkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Use => "the key is not for signatures",
            Self::Kind => "the key is not of the kind of its algorithm",
            Self::Parameter => "a parameter of the key is malformed",
            Self::Modulus => "the modulus of the key is too short or too long",
            Self::Exponent => "the exponent of the key is not taken",
        })
    }
}

impl core::error::Error for JwkRefused {}

impl PublicKey {
    /// Reads the parameters of a key.
    ///
    /// Checks, in order: `use`, `kty` and `crv` against `alg`, encoding and length of each
    /// parameter; for RSA also the bits of the modulus and the exponent. Stricter than RFC 7517,
    /// where `use` and `alg` may be absent.
    /// **Does NOT** tell whether a point is on its curve, which is the engine's part, nor whether
    /// a modulus is the product of two good primes.
    ///
    /// # Errors
    /// [`JwkRefused`].
    ///
    /// Source: RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.
    pub fn parse(jwk: &PublicJwk) -> Result<Self, JwkRefused> {
        if jwk.key_use != "sig" {
            return Err(JwkRefused::Use);
        }
        match (jwk.alg, &jwk.parameters) {
            (Alg::ES256, KeyParameters::Ec { crv, x, y }) if crv == "P-256" => {
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&coordinate(x)?);
                point[33..].copy_from_slice(&coordinate(y)?);
                Ok(Self::Es256(point))
            }
            (Alg::EdDsa, KeyParameters::Okp { crv, x }) if crv == "Ed25519" => {
                Ok(Self::EdDsa(coordinate(x)?))
            }
            (Alg::RS256, KeyParameters::Rsa { n, e }) => {
                let (n, e) = (number(n)?, number(e)?);
                let bits = 8 * n.len() - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
                if !RSA_MODULUS_BITS.contains(&bits) {
                    return Err(JwkRefused::Modulus);
                }
                if e.len() > 4 || e == [1] || e.last().is_none_or(|byte| byte % 2 == 0) {
                    return Err(JwkRefused::Exponent);
                }
                Ok(Self::Rs256 { n, e })
            }
            _ => Err(JwkRefused::Kind),
        }
    }
}

/// Reads 32 bytes.
fn coordinate(text: &str) -> Result<[u8; 32], JwkRefused> {
    let bytes = base64url_decode(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(JwkRefused::Parameter)
}

/// Reads a number in as few bytes as it needs (RFC 7518 §2, `Base64urlUInt`).
fn number(text: &str) -> Result<Vec<u8>, JwkRefused> {
    let bytes = base64url_decode(text).filter(|bytes| bytes.first().is_some_and(|byte| *byte != 0));
    bytes.ok_or(JwkRefused::Parameter)
}

/// A JSON Web Key Set (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<PublicJwk>,
}

impl JwkSet {
    /// Finds the key with this `kid`, if its algorithm is `alg`: the header never chooses how a
    /// key is used (RFC 8725 §3.1).
    #[must_use]
    pub fn find(&self, kid: &str, alg: Alg) -> Option<&PublicJwk> {
        self.keys.iter().find(|key| key.kid == kid && key.alg == alg)
    }

    /// Tells whether any key has this `kid`.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::base64url;

    #[test]
    fn the_json_has_the_members_of_rfc_7517() {
        let key = PublicJwk::for_signatures(
            KeyParameters::Okp { crv: "Ed25519".into(), x: "eA".into() },
            "k1".into(),
            Alg::EdDsa,
        );
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(
            json,
            r#"{"kty":"OKP","crv":"Ed25519","x":"eA","kid":"k1","alg":"EdDSA","use":"sig"}"#
        );
        assert_eq!(serde_json::from_str::<PublicJwk>(&json).unwrap(), key);
    }

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_8037_appendix_a_3() {
        let key = KeyParameters::Okp {
            crv: "Ed25519".into(),
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
        };
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    fn refused(json: &str) -> Option<JwkRefused> {
        PublicKey::parse(&serde_json::from_str(json).unwrap()).err()
    }

    #[test]
    fn keys_that_are_refused() {
        use JwkRefused::{Exponent, Kind, Modulus, Parameter, Use};
        let full = "A".repeat(43);
        let short = "A".repeat(42);
        let loose = format!("{}B", "A".repeat(42));
        let ec = |alg: &str, crv: &str, x: &str, key_use: &str| {
            let members =
                format!(r#""crv":"{crv}","x":"{x}","y":"{full}","kid":"k","alg":"{alg}""#);
            refused(&format!(r#"{{"kty":"EC",{members},"use":"{key_use}"}}"#))
        };
        assert_eq!(ec("ES256", "P-256", &full, "sig"), None);
        assert_eq!(ec("ES256", "P-256", &full, "enc"), Some(Use));
        assert_eq!(ec("ES256", "P-384", &full, "sig"), Some(Kind));
        assert_eq!(ec("ES256", "p-256", &full, "sig"), Some(Kind));
        assert_eq!(ec("RS256", "P-256", &full, "sig"), Some(Kind));
        assert_eq!(ec("ES256", "P-256", &short, "sig"), Some(Parameter));
        assert_eq!(ec("ES256", "P-256", &loose, "sig"), Some(Parameter));
        assert_eq!(ec("ES256", "P-256", &format!("{full}="), "sig"), Some(Parameter));
        let okp = |crv: &str, x: &str| {
            let members = format!(r#""crv":"{crv}","x":"{x}","kid":"k","alg":"EdDSA""#);
            refused(&format!(r#"{{"kty":"OKP",{members},"use":"sig"}}"#))
        };
        assert_eq!(okp("Ed25519", &full), None);
        assert_eq!(okp("X25519", &full), Some(Kind));
        assert_eq!(okp("Ed25519", &format!("{full}A")), Some(Parameter));
        let rsa = |first: u8, length: usize, e: &str| {
            let mut n = vec![first; length];
            n[0] = first;
            let members = format!(r#""n":"{}","e":"{e}","kid":"k","alg":"RS256""#, base64url(&n));
            refused(&format!(r#"{{"kty":"RSA",{members},"use":"sig"}}"#))
        };
        assert_eq!(rsa(0x80, 256, "AQAB"), None);
        assert_eq!(rsa(0x80, 256, "Aw"), None);
        assert_eq!(rsa(0xff, 1024, "AQAB"), None);
        assert_eq!(rsa(0x7f, 256, "AQAB"), Some(Modulus));
        assert_eq!(rsa(0x01, 1025, "AQAB"), Some(Modulus));
        assert_eq!(rsa(0x00, 257, "AQAB"), Some(Parameter));
        assert_eq!(rsa(0x80, 256, "AQ"), Some(Exponent));
        assert_eq!(rsa(0x80, 256, "Ag"), Some(Exponent));
        assert_eq!(rsa(0x80, 256, "AQAAAAE"), Some(Exponent));
        assert_eq!(rsa(0x80, 256, "AAEAAQ"), Some(Parameter));
        assert_eq!(rsa(0x80, 256, ""), Some(Parameter));
    }

    #[test]
    fn a_private_member_does_not_get_in() {
        let json = r#"{"kty":"OKP","crv":"Ed25519","x":"eA","d":"c2VjcmV0","kid":"k1","alg":"EdDSA","use":"sig"}"#;
        let key: PublicJwk = serde_json::from_str(json).unwrap();
        assert!(!serde_json::to_string(&key).unwrap().contains("c2VjcmV0"));
        assert!(!format!("{key:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn a_key_is_found_only_for_its_own_algorithm() {
        let key = PublicJwk::for_signatures(
            KeyParameters::Okp { crv: "Ed25519".into(), x: "eA".into() },
            "k1".into(),
            Alg::EdDsa,
        );
        let set = JwkSet { keys: vec![key] };
        assert!(set.find("k1", Alg::EdDsa).is_some());
        assert!(set.find("k1", Alg::ES256).is_none());
        assert_eq!(Alg::parse("none"), None);
        assert_eq!(Alg::parse("es256"), None);
    }
}
