//! Proof Key for Code Exchange, `S256` only.

use serde::{Deserialize, Serialize};

use crate::secret::{Sha256Digest, same_bytes};

/// A `code_challenge` of method `S256`: 43 base64url characters, the SHA-256 of the verifier.
///
/// Source: RFC 7636 §4.2. Stricter: the method `plain` does not exist here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeChallenge(String);

/// A value is not what RFC 7636 says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a value of RFC 7636")
    }
}

impl CodeChallenge {
    /// Reads a challenge.
    ///
    /// # Errors
    /// [`Malformed`] unless the text is the base64url form of exactly 32 bytes.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Sha256Digest::parse(text).map(|_| Self(text.to_owned())).ok_or(Malformed)
    }

    /// Returns the 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CodeChallenge {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::parse(&text)
    }
}

impl From<CodeChallenge> for String {
    fn from(challenge: CodeChallenge) -> Self {
        challenge.0
    }
}

/// A `code_verifier`: 43–128 unreserved characters. Secret until it is sent.
///
/// Source: RFC 7636 §4.1.
#[derive(Clone)]
pub struct CodeVerifier(String);

impl CodeVerifier {
    /// Reads a verifier.
    ///
    /// # Errors
    /// [`Malformed`] for other lengths and characters.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let is_unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let well_formed = (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved);
        well_formed.then(|| Self(text.to_owned())).ok_or(Malformed)
    }

    /// Computes `BASE64URL-ENCODE(SHA256(ASCII(code_verifier)))`.
    #[must_use]
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(Sha256Digest::of(self.0.as_bytes()).to_base64url())
    }

    /// Compares the verifier's challenge with the one of the authorization request.
    ///
    /// # Errors
    /// [`Malformed`] when they differ.
    ///
    /// Source: RFC 7636 §4.6.
    pub fn verify(&self, challenge: &CodeChallenge) -> Result<(), Malformed> {
        same_bytes(self.challenge().0.as_bytes(), challenge.0.as_bytes())
            .then_some(())
            .ok_or(Malformed)
    }
}

impl core::fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CodeVerifier(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_pair_of_rfc_7636_appendix_b_matches() {
        let verifier = CodeVerifier::parse(VERIFIER).unwrap();
        let challenge = CodeChallenge::parse(CHALLENGE).unwrap();
        assert_eq!(verifier.challenge(), challenge);
        assert_eq!(verifier.verify(&challenge), Ok(()));
        let other = CodeVerifier::parse(&"a".repeat(43)).unwrap();
        assert_eq!(other.verify(&challenge), Err(Malformed));
    }

    #[test]
    fn a_challenge_is_exactly_43_base64url_characters() {
        for bad in ["", &CHALLENGE[1..], "plain", &format!("{CHALLENGE}A"), &"a".repeat(128)] {
            assert_eq!(CodeChallenge::parse(bad), Err(Malformed), "{bad}");
        }
        for character in ["=", "+", "/", " ", "\0"] {
            let bad = format!("{}{character}", &CHALLENGE[..42]);
            assert_eq!(CodeChallenge::parse(&bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        for good in [43, 128] {
            assert!(CodeVerifier::parse(&"~".repeat(good)).is_ok());
        }
        for bad in [0, 42, 129] {
            assert!(CodeVerifier::parse(&"a".repeat(bad)).is_err());
        }
        for character in ["+", "%", "ä", " "] {
            assert!(CodeVerifier::parse(&format!("{}{character}", "a".repeat(50))).is_err());
        }
    }
}
