//! The keys that edge and origin share, derived from the secret that both have in their settings.
//!
//! A second secret may be set beside it, so that the secret can be changed without refusing anybody:
//! first the new one becomes the second everywhere, then the two change places everywhere, then the
//! old one goes. At every moment of it, everybody accepts what anybody makes.

use crate::seal::SealKey;
use crate::secret::MacKey;
use crate::token::TokenKey;

/// A key that makes things, and perhaps one more whose things are accepted.
#[derive(Clone, Debug)]
pub struct Overlapping<K> {
    current: K,
    second: Option<K>,
}

impl<K> Overlapping<K> {
    fn derive(current: &[u8], second: Option<&[u8]>, derive: impl Fn(&[u8]) -> K) -> Self {
        Self { current: derive(current), second: second.map(&derive) }
    }

    /// Returns the key that makes new things.
    #[must_use]
    pub const fn current(&self) -> &K {
        &self.current
    }

    /// Returns the keys whose things are accepted, the current one first.
    pub fn accepted(&self) -> impl Iterator<Item = &K> {
        core::iter::once(&self.current).chain(&self.second)
    }
}

/// What makes codes and refresh tokens prove themselves.
pub type TokenKeys = Overlapping<TokenKey>;

/// The keys that edge and origin share.
#[derive(Clone, Debug)]
pub struct EdgeKeys {
    /// For codes and refresh tokens.
    pub tokens: TokenKeys,
    /// For sign-in transactions.
    pub transactions: Overlapping<SealKey>,
    /// For requests that the edge signs.
    pub requests: Overlapping<MacKey>,
    /// For what the edge keeps where others may be able to write.
    pub kept: MacKey,
    /// For the handles of sessions at the backend-for-frontend.
    pub bff_handles: Overlapping<MacKey>,
    /// For sign-ins that the backend-for-frontend has begun.
    pub bff_sign_ins: Overlapping<SealKey>,
}

impl EdgeKeys {
    /// Derives the keys from the secret and, while it is being changed, the second one.
    ///
    /// Does NOT check that the secrets have enough entropy: whoever reads the settings does.
    #[must_use]
    pub fn derive(secret: &[u8], second: Option<&[u8]>) -> Self {
        Self {
            tokens: Overlapping::derive(secret, second, TokenKey::derive),
            transactions: Overlapping::derive(secret, second, |secret| {
                SealKey::derive(secret, "cadence transaction")
            }),
            requests: Overlapping::derive(secret, second, |secret| {
                MacKey::derive(secret, "cadence edge request")
            }),
            kept: MacKey::derive(secret, "cadence kept by the edge"),
            bff_handles: Overlapping::derive(secret, second, |secret| {
                MacKey::derive(secret, "cadence bff handle")
            }),
            bff_sign_ins: Overlapping::derive(secret, second, |secret| {
                SealKey::derive(secret, "cadence bff sign-in")
            }),
        }
    }
}
