//! Authorization codes that prove themselves.
//!
//! A code is base64url(key version ‖ 16 random bytes ‖ issued-at ‖ tag). The tag authenticates
//! those bytes together with what the code is bound to, so a forged code, or a right one with a
//! wrong verifier, client or redirect URI, can be told without asking anyone who keeps state.

use crate::client::ClientId;
use crate::edge_keys::TokenKeys;
use crate::limits::{CLOCK_SKEW, CODE_EXPIRES_IN, OPAQUE_LEN};
use crate::pkce::CodeChallenge;
use crate::secret::{Sha256Digest, base64url, base64url_decode, same_bytes};
use crate::time::UnixTime;
use crate::token::{GrantId, TokenKey};

const RANDOM_LEN: usize = 16;
const TAG_LEN: usize = 16;
/// Version, random bytes, seconds since the epoch.
const BODY_LEN: usize = 1 + RANDOM_LEN + 8;

/// What a code is bound to: who may redeem it, with which proof, and for which redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeBinding {
    /// The client that asked for the code.
    pub client_id: ClientId,
    /// The redirect URI, exactly as the request spelled it; `None` when the request left it out.
    pub redirect_uri: Option<String>,
    /// The challenge of the request; `None` only for clients that may go without PKCE.
    pub code_challenge: Option<CodeChallenge>,
}

impl CodeBinding {
    /// Digests the binding: equal digests mean equal bindings.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let optional = |value: Option<&str>| match value {
            Some(value) => format!("+{}:{value}", value.len()),
            None => "-".to_owned(),
        };
        let text = format!(
            "{}{}{}",
            optional(Some(self.client_id.as_str())),
            optional(self.redirect_uri.as_deref()),
            optional(self.code_challenge.as_ref().map(CodeChallenge::as_str)),
        );
        Sha256Digest::of(text.as_bytes())
    }
}

/// An authorization code that is well formed. Nothing else is known of it before
/// [`AuthorizationCode::verify`].
#[derive(Clone)]
pub struct AuthorizationCode {
    text: String,
    body: [u8; BODY_LEN],
    tag: [u8; TAG_LEN],
}

/// Why a code is refused without looking at any record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRefused {
    /// The text is not a code.
    Malformed,
    /// No key made this tag: forged, or presented with another verifier, client or redirect URI.
    Forged,
    /// Older than [`CODE_EXPIRES_IN`].
    Expired,
}

impl AuthorizationCode {
    /// Makes a code from 16 random bytes.
    #[must_use]
    pub fn issue(
        keys: &TokenKeys,
        random: [u8; RANDOM_LEN],
        issued_at: UnixTime,
        binding: &CodeBinding,
    ) -> Self {
        let mut body = [0; BODY_LEN];
        body[0] = keys.current().version();
        body[1..=RANDOM_LEN].copy_from_slice(&random);
        body[1 + RANDOM_LEN..].copy_from_slice(&issued_at.as_secs().to_be_bytes());
        let tag = keys.current().code_tag(&body, binding.digest().as_bytes());
        let text = base64url(&[body.as_slice(), &tag].concat());
        Self { text, body, tag }
    }

    /// Reads a code's text.
    ///
    /// Does NOT verify anything.
    ///
    /// # Errors
    /// [`CodeRefused::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CodeRefused> {
        if text.len() > OPAQUE_LEN {
            return Err(CodeRefused::Malformed);
        }
        let bytes = base64url_decode(text).ok_or(CodeRefused::Malformed)?;
        let (body, tag) = bytes.split_at_checked(BODY_LEN).ok_or(CodeRefused::Malformed)?;
        Ok(Self {
            text: text.to_owned(),
            body: body.try_into().map_err(|_| CodeRefused::Malformed)?,
            tag: tag.try_into().map_err(|_| CodeRefused::Malformed)?,
        })
    }

    /// Verifies the tag against `binding`, then the age.
    ///
    /// Does NOT tell whether the code was redeemed before: only the store knows.
    ///
    /// # Errors
    /// [`CodeRefused::Forged`], [`CodeRefused::Expired`].
    pub fn verify(
        &self,
        keys: &TokenKeys,
        binding: &CodeBinding,
        now: UnixTime,
    ) -> Result<(), CodeRefused> {
        let binding = binding.digest();
        let made_by = |key: &TokenKey| {
            let expected = key.code_tag(&self.body, binding.as_bytes());
            key.version() == self.body[0] && same_bytes(&expected, &self.tag)
        };
        if !keys.accepted().any(made_by) {
            return Err(CodeRefused::Forged);
        }
        let issued_at = self.issued_at();
        if now.since(issued_at) >= CODE_EXPIRES_IN || issued_at.since(now) > CLOCK_SKEW {
            return Err(CodeRefused::Expired);
        }
        Ok(())
    }

    /// Returns the grant that redeeming the code begins. It is computed from the code, so that a
    /// replayed code leads to its grant even when the code's own record is gone.
    #[must_use]
    pub fn grant_id(&self) -> GrantId {
        let digest =
            Sha256Digest::of(&[b"grant of a code".as_slice(), &self.body, &self.tag].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        GrantId::from_bytes(id)
    }

    /// Returns the digest under which the code is stored.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.text.as_bytes())
    }

    /// Returns the moment in the code. Trust it only after [`Self::verify`].
    #[must_use]
    pub fn issued_at(&self) -> UnixTime {
        let mut secs = [0; 8];
        secs.copy_from_slice(&self.body[1 + RANDOM_LEN..]);
        UnixTime::from_secs(u64::from_be_bytes(secs))
    }

    /// Returns the text that is sent to the client. A secret: never log or store it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl core::fmt::Debug for AuthorizationCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AuthorizationCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edge_keys::EdgeKeys;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    const SECRET: &[u8] = b"a master secret of the tests";

    fn keys() -> TokenKeys {
        EdgeKeys::derive(SECRET, None).tokens
    }

    fn binding() -> CodeBinding {
        CodeBinding {
            client_id: ClientId::parse("web").unwrap(),
            redirect_uri: Some("https://app.example/cb".into()),
            code_challenge: Some(
                CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap(),
            ),
        }
    }

    #[test]
    fn a_code_verifies_until_it_expires() {
        let code = AuthorizationCode::issue(&keys(), [7; 16], NOW, &binding());
        let again = AuthorizationCode::parse(code.as_str()).unwrap();
        assert_eq!(again.grant_id(), code.grant_id());
        assert_eq!(again.verify(&keys(), &binding(), NOW.plus(59)), Ok(()));
        let late = again.verify(&keys(), &binding(), NOW.plus(CODE_EXPIRES_IN));
        assert_eq!(late, Err(CodeRefused::Expired));
    }

    #[test]
    fn another_binding_is_a_forgery() {
        let code = AuthorizationCode::issue(&keys(), [7; 16], NOW, &binding());
        let others = [
            CodeBinding { client_id: ClientId::parse("other").unwrap(), ..binding() },
            CodeBinding { redirect_uri: None, ..binding() },
            CodeBinding { redirect_uri: Some("https://app.example/cb2".into()), ..binding() },
            CodeBinding { code_challenge: None, ..binding() },
        ];
        for other in others {
            assert_eq!(code.verify(&keys(), &other, NOW), Err(CodeRefused::Forged), "{other:?}");
        }
        let other_keys = EdgeKeys::derive(b"another master secret", None).tokens;
        assert_eq!(code.verify(&other_keys, &binding(), NOW), Err(CodeRefused::Forged));
    }

    #[test]
    fn a_code_of_the_second_key_verifies() {
        let code = AuthorizationCode::issue(&keys(), [7; 16], NOW, &binding());
        let rotated = EdgeKeys::derive(b"the next master secret", Some(SECRET)).tokens;
        assert_eq!(code.verify(&rotated, &binding(), NOW), Ok(()));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_verifies(at in 0_usize..41, flip in 1_u8..) {
            let code = AuthorizationCode::issue(&keys(), [7; 16], NOW, &binding());
            let mut bytes = base64url_decode(code.as_str()).unwrap();
            bytes[at] ^= flip;
            let changed = AuthorizationCode::parse(&base64url(&bytes)).unwrap();
            prop_assert!(changed.verify(&keys(), &binding(), NOW).is_err());
        }

        #[test]
        fn no_text_panics(text in ".{0,100}") {
            let _ = AuthorizationCode::parse(&text);
        }
    }
}
