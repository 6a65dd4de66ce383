//! Public keys and the three signature algorithms.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::Sha256Digest;

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
