//! Scopes: ordered sets of scope tokens.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, OAuthError};
use crate::limits::{SCOPE_LEN, SCOPE_TOKENS};

/// A set of scope tokens in the order in which they were first named.
///
/// Every token is `1*( %x21 / %x23-5B / %x5D-7E )` and stands once.
///
/// Source: RFC 6749 §3.3 and Appendix A.4.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Vec<String>);

/// Why a text is not a [`Scope`].
const MALFORMED: OAuthError =
    OAuthError::new(ErrorCode::InvalidScope, "the scope is malformed or too long");

impl Scope {
    /// Reads scope tokens that are separated by spaces. The empty text is the empty scope.
    ///
    /// # Errors
    /// `invalid_scope` for other characters, more than [`SCOPE_LEN`] bytes or more than
    /// [`SCOPE_TOKENS`] tokens.
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        if text.len() > SCOPE_LEN {
            return Err(MALFORMED);
        }
        let mut tokens: Vec<String> = Vec::new();
        for token in text.split(' ').filter(|token| !token.is_empty()) {
            let is_token_char = |byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
            if !token.bytes().all(is_token_char) {
                return Err(MALFORMED);
            }
            if tokens.iter().all(|known| known != token) {
                tokens.push(token.to_owned());
            }
        }
        if tokens.len() > SCOPE_TOKENS {
            return Err(MALFORMED);
        }
        Ok(Self(tokens))
    }

    /// Tells whether `token` is in the set.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|known| known == token)
    }

    /// Tells whether every token of this set is in `other`.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.0.iter().all(|token| other.contains(token))
    }

    /// Returns the tokens of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let added = other.0.iter().filter(|token| !self.contains(token)).cloned();
        Self(self.0.iter().cloned().chain(added).collect())
    }

    /// Returns the tokens of this set that are in `other`.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|token| other.contains(token)).cloned().collect())
    }

    /// Returns the tokens in order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Tells whether there is no token.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl TryFrom<String> for Scope {
    type Error = OAuthError;

    fn try_from(text: String) -> Result<Self, OAuthError> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_keeps_order_and_drops_repeats() {
        assert_eq!(Scope::parse("b  a b ").unwrap().to_string(), "b a");
        assert_eq!(Scope::parse("").unwrap(), Scope::default());
    }

    #[test]
    fn characters_outside_appendix_a_4_are_refused() {
        for bad in ["a\"b", "a\\b", "a\tb", "a\nb", "ä", "a\u{7f}"] {
            assert_eq!(Scope::parse(bad).unwrap_err().code(), ErrorCode::InvalidScope, "{bad:?}");
        }
        assert!(Scope::parse(&"a".repeat(SCOPE_LEN + 1)).is_err());
        let many: Vec<String> = (0..=SCOPE_TOKENS).map(|n| n.to_string()).collect();
        assert!(Scope::parse(&many.join(" ")).is_err());
    }

    #[test]
    fn subsets_and_unions() {
        let scope = |text| Scope::parse(text).unwrap();
        assert!(scope("a").is_subset_of(&scope("b a")));
        assert!(!scope("a c").is_subset_of(&scope("b a")));
        assert_eq!(scope("a b").union(&scope("b c")), scope("a b c"));
        assert_eq!(scope("a b").intersection(&scope("c b")), scope("b"));
    }
}
