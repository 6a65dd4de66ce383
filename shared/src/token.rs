//! Grants, refresh tokens, access-token identifiers, and the keys that authenticate them.

use core::fmt;

use crate::client::ClientId;
use crate::limits::OPAQUE_LEN;
use crate::secret::{MacKey, Sha256Digest, base64url, base64url_decode, same_bytes};

/// The 16 random bytes that tie together everything of one authorization: its refresh tokens, its
/// access tokens, the code it came from. Written as 22 base64url characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantId([u8; 16]);

impl GrantId {
    /// Takes 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the 22 characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        base64url_decode(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantId({self})")
    }
}

/// The `jti` of an access token: its grant and the number of the token within it, as
/// `grant.number`, so that its row is found without an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Jti {
    /// The grant.
    pub grant_id: GrantId,
    /// The number, counted from 1.
    pub number: u64,
}

impl Jti {
    /// Reads a `jti` claim.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (grant_id, number) = text.split_once('.')?;
        let canonical = !number.starts_with(['0', '+']);
        let number = number.parse().ok().filter(|_| canonical)?;
        Some(Self { grant_id: GrantId::parse(grant_id)?, number })
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.grant_id, self.number)
    }
}

/// One version of the keys that make codes and refresh tokens prove themselves.
#[derive(Clone, Debug)]
pub struct TokenKey {
    code: MacKey,
    refresh: MacKey,
    successor: MacKey,
}

impl TokenKey {
    fn derive(master: &[u8]) -> Self {
        Self {
            code: MacKey::derive(master, "cadence code"),
            refresh: MacKey::derive(master, "cadence refresh token"),
            successor: MacKey::derive(master, "cadence refresh token successor"),
        }
    }

    /// Tags an authorization code's bytes and binding.
    pub(crate) fn code_tag(&self, body: &[u8], binding: &[u8; 32]) -> [u8; 16] {
        half(self.code.tag(&[body, binding]))
    }
}

/// The current version of the keys and, while a rotation lasts, the previous one.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    current: (u8, TokenKey),
    previous: Option<(u8, TokenKey)>,
}

impl TokenKeys {
    /// Derives the keys from the current master secret and, during a rotation, the previous one.
    #[must_use]
    pub fn new(version: u8, master: &[u8], previous: Option<(u8, &[u8])>) -> Self {
        Self {
            current: (version, TokenKey::derive(master)),
            previous: previous.map(|(version, master)| (version, TokenKey::derive(master))),
        }
    }

    /// Returns the key that makes new codes and tokens.
    #[must_use]
    pub const fn current(&self) -> &TokenKey {
        &self.current.1
    }

    /// Returns the version of [`Self::current`].
    #[must_use]
    pub const fn current_version(&self) -> u8 {
        self.current.0
    }

    /// Returns the key of a version that is still accepted.
    #[must_use]
    pub fn version(&self, version: u8) -> Option<&TokenKey> {
        core::iter::once(&self.current)
            .chain(&self.previous)
            .find(|(known, _)| *known == version)
            .map(|(_, key)| key)
    }
}

const REFRESH_BODY_LEN: usize = 1 + 16 + 4 + 16;
const TAG_LEN: usize = 16;

/// A refresh token that is well formed: base64url(key version ‖ grant ‖ generation ‖ 16 secret
/// bytes ‖ tag). Nothing else is known of it before [`RefreshToken::verify`].
#[derive(Clone)]
pub struct RefreshToken {
    text: String,
    body: [u8; REFRESH_BODY_LEN],
    tag: [u8; TAG_LEN],
}

/// Why a refresh token is refused without looking at any record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshTokenRefused {
    /// The text is not a refresh token.
    Malformed,
    /// No key made this tag: forged, or presented by another client.
    Forged,
}

impl RefreshToken {
    /// Makes the first refresh token of a grant (generation 1) from 16 random bytes.
    #[must_use]
    pub fn first(
        keys: &TokenKeys,
        grant_id: GrantId,
        random: [u8; 16],
        client_id: &ClientId,
    ) -> Self {
        Self::make(keys.current(), keys.current_version(), grant_id, 1, random, client_id)
    }

    /// Makes the successor of this token with the current keys.
    ///
    /// The successor is a function of the presented token and a key: whoever presents the same
    /// token twice gets the same successor twice, and nothing that is stored can tell it. Returns
    /// `None` at the last generation.
    ///
    /// Does NOT check that a successor is due: the store's rotation does.
    #[must_use]
    pub fn successor(&self, keys: &TokenKeys, client_id: &ClientId) -> Option<Self> {
        let key = keys.current();
        let random = half(key.successor.tag(&[self.text.as_bytes()]));
        let generation = self.generation().checked_add(1)?;
        Some(Self::make(
            key,
            keys.current_version(),
            self.grant_id(),
            generation,
            random,
            client_id,
        ))
    }

    fn make(
        key: &TokenKey,
        version: u8,
        grant_id: GrantId,
        generation: u32,
        random: [u8; 16],
        client_id: &ClientId,
    ) -> Self {
        let mut body = [0; REFRESH_BODY_LEN];
        body[0] = version;
        body[1..17].copy_from_slice(&grant_id.0);
        body[17..21].copy_from_slice(&generation.to_be_bytes());
        body[21..].copy_from_slice(&random);
        let tag = half(key.refresh.tag(&[&body, client_id.as_str().as_bytes()]));
        let text = base64url(&[body.as_slice(), &tag].concat());
        Self { text, body, tag }
    }

    /// Reads a refresh token's text.
    ///
    /// Does NOT verify anything.
    ///
    /// # Errors
    /// [`RefreshTokenRefused::Malformed`].
    pub fn parse(text: &str) -> Result<Self, RefreshTokenRefused> {
        const MALFORMED: RefreshTokenRefused = RefreshTokenRefused::Malformed;
        if text.len() > OPAQUE_LEN {
            return Err(MALFORMED);
        }
        let bytes = base64url_decode(text).ok_or(MALFORMED)?;
        let (body, tag) = bytes.split_at_checked(REFRESH_BODY_LEN).ok_or(MALFORMED)?;
        Ok(Self {
            text: text.to_owned(),
            body: body.try_into().map_err(|_| MALFORMED)?,
            tag: tag.try_into().map_err(|_| MALFORMED)?,
        })
    }

    /// Verifies that one of `keys` made this token for `client_id`.
    ///
    /// Does NOT tell whether it is the live one, revoked or expired: only the store knows.
    ///
    /// # Errors
    /// [`RefreshTokenRefused::Forged`].
    pub fn verify(
        &self,
        keys: &TokenKeys,
        client_id: &ClientId,
    ) -> Result<(), RefreshTokenRefused> {
        let key = keys.version(self.body[0]).ok_or(RefreshTokenRefused::Forged)?;
        let expected = half(key.refresh.tag(&[&self.body, client_id.as_str().as_bytes()]));
        same_bytes(&expected, &self.tag).then_some(()).ok_or(RefreshTokenRefused::Forged)
    }

    /// Returns the grant. Trust it only after [`Self::verify`].
    #[must_use]
    pub fn grant_id(&self) -> GrantId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.body[1..17]);
        GrantId(id)
    }

    /// Returns the generation, counted from 1. Trust it only after [`Self::verify`].
    #[must_use]
    pub fn generation(&self) -> u32 {
        let mut generation = [0; 4];
        generation.copy_from_slice(&self.body[17..21]);
        u32::from_be_bytes(generation)
    }

    /// Returns the digest under which the token is stored.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.text.as_bytes())
    }

    /// Returns the text that is sent to the client. A secret: never log or store it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(..)")
    }
}

fn half(tag: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&tag[..16]);
    half
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> TokenKeys {
        TokenKeys::new(1, b"a master secret of the tests", None)
    }

    fn web() -> ClientId {
        ClientId::parse("web").unwrap()
    }

    fn first() -> RefreshToken {
        RefreshToken::first(&keys(), GrantId([3; 16]), [7; 16], &web())
    }

    #[test]
    fn a_token_verifies_for_its_client_alone() {
        let token = RefreshToken::parse(first().as_str()).unwrap();
        assert_eq!((token.grant_id(), token.generation()), (GrantId([3; 16]), 1));
        assert_eq!(token.verify(&keys(), &web()), Ok(()));
        let other = ClientId::parse("other").unwrap();
        assert_eq!(token.verify(&keys(), &other), Err(RefreshTokenRefused::Forged));
        let other_keys = TokenKeys::new(1, b"another master secret", None);
        assert_eq!(token.verify(&other_keys, &web()), Err(RefreshTokenRefused::Forged));
    }

    #[test]
    fn the_successor_is_the_same_however_often_it_is_asked_for() {
        let once = first().successor(&keys(), &web()).unwrap();
        let twice = first().successor(&keys(), &web()).unwrap();
        assert_eq!(once.as_str(), twice.as_str());
        assert_eq!(once.generation(), 2);
        assert_eq!(once.verify(&keys(), &web()), Ok(()));
    }

    #[test]
    fn jtis_have_one_spelling() {
        let jti = Jti { grant_id: GrantId([3; 16]), number: 12 };
        assert_eq!(Jti::parse(&jti.to_string()), Some(jti));
        for bad in [
            "",
            "x.1",
            "AwMDAwMDAwMDAwMDAwMDAw",
            "AwMDAwMDAwMDAwMDAwMDAw.01",
            "AwMDAwMDAwMDAwMDAwMDAw.+1",
        ] {
            assert_eq!(Jti::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_verifies(at in 0_usize..53, flip in 1_u8..) {
            let mut bytes = base64url_decode(first().as_str()).unwrap();
            bytes[at] ^= flip;
            let changed = RefreshToken::parse(&base64url(&bytes)).unwrap();
            prop_assert!(changed.verify(&keys(), &web()).is_err());
        }

        #[test]
        fn no_text_panics(text in ".{0,100}") {
            let _ = RefreshToken::parse(&text);
            let _ = Jti::parse(&text);
        }
    }
}
