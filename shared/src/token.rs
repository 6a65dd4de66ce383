//! Grants, refresh tokens, access-token identifiers, and the keys that authenticate them.

use core::fmt;

use crate::client::ClientId;
use crate::edge_keys::TokenKeys;
use crate::limits::OPAQUE_LEN;
use crate::secret::{MacKey, Sha256Digest, base64url, base64url_decode, same_bytes};
use crate::time::UnixTime;

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

/// One of the keys that make codes and refresh tokens prove themselves.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// Stands in what the key has made, so that the right key is tried first. Two keys may have the
    /// same: the tag decides.
    version: u8,
    code: MacKey,
    refresh: MacKey,
    successor: MacKey,
}

impl TokenKey {
    /// Derives the key from the secret of edge and origin.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let key = |purpose| MacKey::derive(secret, purpose);
        Self {
            version: key("cadence token key version").as_bytes()[0],
            code: key("cadence code"),
            refresh: key("cadence refresh token"),
            successor: key("cadence refresh token successor"),
        }
    }

    /// Returns the byte that stands in what the key has made.
    pub(crate) const fn version(&self) -> u8 {
        self.version
    }

    /// Tags an authorization code's bytes and binding.
    pub(crate) fn code_tag(&self, body: &[u8], binding: &[u8; 32]) -> [u8; 16] {
        half(self.code.tag(&[body, binding]))
    }
}

/// Version, grant, end of the grant, generation, secret bytes.
const REFRESH_BODY_LEN: usize = 1 + 16 + 8 + 4 + 16;
const TAG_LEN: usize = 16;

/// A refresh token that is well formed: base64url(key version ‖ grant ‖ end of the grant ‖
/// generation ‖ 16 secret bytes ‖ tag). Nothing else is known of it before
/// [`RefreshToken::verify`].
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
    /// Its grant has come to its absolute end.
    Expired,
}

impl RefreshToken {
    /// Makes the first refresh token of a grant (generation 1) from 16 random bytes.
    /// `expires_at` is the absolute end of the grant.
    #[must_use]
    pub fn first(
        keys: &TokenKeys,
        grant_id: GrantId,
        expires_at: UnixTime,
        random: [u8; 16],
        client_id: &ClientId,
    ) -> Self {
        Self::make(keys.current(), grant_id, expires_at, 1, random, client_id)
    }

    /// Makes the successor of this token: one with each of `keys`, the current one first. Empty at
    /// the last generation.
    ///
    /// A successor is a function of the presented token and a key: whoever presents the same token
    /// twice gets the same successor twice, and nothing that is stored can tell it.
    ///
    /// Does NOT check that a successor is due: the store's rotation does.
    #[must_use]
    pub fn successors(&self, keys: &TokenKeys, client_id: &ClientId) -> Vec<Self> {
        let generation = self.generation().checked_add(1);
        let successor = |key: &TokenKey| {
            let random = half(key.successor.tag(&[self.text.as_bytes()]));
            let (grant_id, expires_at) = (self.grant_id(), self.expires_at());
            Some(Self::make(key, grant_id, expires_at, generation?, random, client_id))
        };
        keys.accepted().filter_map(successor).collect()
    }

    fn make(
        key: &TokenKey,
        grant_id: GrantId,
        expires_at: UnixTime,
        generation: u32,
        random: [u8; 16],
        client_id: &ClientId,
    ) -> Self {
        let mut body = [0; REFRESH_BODY_LEN];
        body[0] = key.version;
        body[1..17].copy_from_slice(&grant_id.0);
        body[17..25].copy_from_slice(&expires_at.as_secs().to_be_bytes());
        body[25..29].copy_from_slice(&generation.to_be_bytes());
        body[29..].copy_from_slice(&random);
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

    /// Verifies that one of `keys` made this token for `client_id`, then that its grant has not come
    /// to its absolute end.
    ///
    /// Does NOT tell whether it is the live one, revoked, or unused for too long: only the store
    /// knows.
    ///
    /// # Errors
    /// [`RefreshTokenRefused::Forged`], [`RefreshTokenRefused::Expired`].
    pub fn verify(
        &self,
        keys: &TokenKeys,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<(), RefreshTokenRefused> {
        let made_by = |key: &TokenKey| {
            let expected = half(key.refresh.tag(&[&self.body, client_id.as_str().as_bytes()]));
            key.version == self.body[0] && same_bytes(&expected, &self.tag)
        };
        if !keys.accepted().any(made_by) {
            return Err(RefreshTokenRefused::Forged);
        }
        (now < self.expires_at()).then_some(()).ok_or(RefreshTokenRefused::Expired)
    }

    /// Returns the grant. Trust it only after [`Self::verify`].
    #[must_use]
    pub fn grant_id(&self) -> GrantId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.body[1..17]);
        GrantId(id)
    }

    /// Returns the absolute end of the grant. Trust it only after [`Self::verify`].
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        let mut secs = [0; 8];
        secs.copy_from_slice(&self.body[17..25]);
        UnixTime::from_secs(u64::from_be_bytes(secs))
    }

    /// Returns the generation, counted from 1. Trust it only after [`Self::verify`].
    #[must_use]
    pub fn generation(&self) -> u32 {
        let mut generation = [0; 4];
        generation.copy_from_slice(&self.body[25..29]);
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
    use crate::edge_keys::EdgeKeys;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const END: UnixTime = NOW.plus(1_000);
    const OLD: &[u8] = b"a master secret of the tests";
    const NEW: &[u8] = b"another master secret";

    fn keys(secret: &[u8], second: Option<&[u8]>) -> TokenKeys {
        EdgeKeys::derive(secret, second).tokens
    }

    fn web() -> ClientId {
        ClientId::parse("web").unwrap()
    }

    /// JW21: a thousand grants with a thousand tokens each, and no name is there twice.
    #[test]
    fn a_million_tokens_have_a_million_names() {
        let grants = (0..1_000_u64).map(|grant| {
            let mut bytes = [7; 16];
            bytes[..8].copy_from_slice(&grant.to_be_bytes());
            GrantId::from_bytes(bytes)
        });
        let mut names = std::collections::HashSet::new();
        for grant_id in grants {
            for number in 1..=1_000 {
                let jti = Jti { grant_id, number };
                let name = jti.to_string();
                assert_eq!(Jti::parse(&name), Some(jti));
                assert!(names.insert(name), "{jti}");
            }
        }
        assert_eq!(names.len(), 1_000_000);
    }

    fn first() -> RefreshToken {
        RefreshToken::first(&keys(OLD, None), GrantId([3; 16]), END, [7; 16], &web())
    }

    fn successor(token: &RefreshToken, keys: &TokenKeys) -> RefreshToken {
        token.successors(keys, &web()).remove(0)
    }

    #[test]
    fn a_token_verifies_for_its_client_alone_until_its_grant_ends() {
        let token = RefreshToken::parse(first().as_str()).unwrap();
        assert_eq!((token.grant_id(), token.generation()), (GrantId([3; 16]), 1));
        assert_eq!(token.expires_at(), END);
        let verify = |keys, client: &ClientId, now| token.verify(&keys, client, now);
        assert_eq!(verify(keys(OLD, None), &web(), END.minus(1)), Ok(()));
        let late = verify(keys(OLD, None), &web(), END);
        assert_eq!(late, Err(RefreshTokenRefused::Expired));
        let other = ClientId::parse("other").unwrap();
        let forged = Err(RefreshTokenRefused::Forged);
        assert_eq!(verify(keys(OLD, None), &other, NOW), forged);
        assert_eq!(verify(keys(NEW, None), &web(), NOW), forged);
    }

    #[test]
    fn the_successor_is_the_same_however_often_it_is_asked_for() {
        let once = successor(&first(), &keys(OLD, None));
        let twice = successor(&first(), &keys(OLD, None));
        assert_eq!(once.as_str(), twice.as_str());
        assert_eq!((once.generation(), once.expires_at()), (2, END));
        assert_eq!(once.verify(&keys(OLD, None), &web(), NOW), Ok(()));
    }

    /// New secret second everywhere, then both change places everywhere, then the old one goes:
    /// whoever is a step ahead and whoever is a step behind accept each other's tokens.
    #[test]
    fn the_secret_is_changed_without_refusing_a_token() {
        let steps = [keys(OLD, None), keys(OLD, Some(NEW)), keys(NEW, Some(OLD)), keys(NEW, None)];
        for pair in steps.windows(2) {
            for (maker, checker) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                let token = RefreshToken::first(maker, GrantId([3; 16]), END, [7; 16], &web());
                assert_eq!(token.verify(checker, &web(), NOW), Ok(()));
                let handed_out = successor(&token, maker);
                let told = token.successors(checker, &web());
                assert!(told.iter().any(|successor| successor.as_str() == handed_out.as_str()));
            }
        }
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
        fn a_changed_byte_never_verifies(at in 0_usize..61, flip in 1_u8..) {
            let mut bytes = base64url_decode(first().as_str()).unwrap();
            bytes[at] ^= flip;
            let changed = RefreshToken::parse(&base64url(&bytes)).unwrap();
            prop_assert!(changed.verify(&keys(OLD, None), &web(), NOW).is_err());
        }

        #[test]
        fn no_text_panics(text in ".{0,100}") {
            let _ = RefreshToken::parse(&text);
            let _ = Jti::parse(&text);
        }
    }
}
