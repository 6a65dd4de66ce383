//! Sign-in transactions: a valid authorization request that the browser carries, sealed, while
//! its user logs in and consents. No server remembers anything about somebody who has not.

use serde::{Deserialize, Serialize};

use crate::authorize::AuthorizationRequest;
use crate::cookie::CookiePolicy;
use crate::edge_keys::Overlapping;
use crate::limits::{COOKIE_LEN, TRANSACTION_EXPIRES_IN, TRANSACTIONS};
use crate::seal::SealKey;
use crate::secret::{base64url, same_bytes};
use crate::time::UnixTime;

/// The base name of transaction cookies; the transaction's identifier follows.
pub const COOKIE: &str = "cadence_tx_";

/// Cookies of sign-ins that are looked at when one more begins: each costs a way through the whole
/// header, and no browser of ours has more than [`TRANSACTIONS`].
const LOOKED_AT: usize = 4 * TRANSACTIONS;

/// The identifier of a transaction: 16 base64url characters, in the URL of its pages and in the
/// name of its cookie, so that each tab has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionId(String);

impl TransactionId {
    /// Makes an identifier from 12 random bytes.
    #[must_use]
    pub fn new(random: [u8; 12]) -> Self {
        Self(base64url(&random))
    }

    /// Reads an identifier.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (text.len() == 16 && text.bytes().all(is_base64url)).then(|| Self(text.to_owned()))
    }

    /// Returns the 16 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the base name of the transaction's cookie.
    #[must_use]
    pub fn cookie(&self) -> String {
        format!("{COOKIE}{}", self.0)
    }
}

/// Removes the sign-ins that make room for one more: those that cannot be opened any more, and the
/// oldest beyond [`TRANSACTIONS`]. Returns `Set-Cookie` values.
///
/// Their cookies are named `base` and an identifier; `started_at` opens one. **Does NOT** look at
/// more than four times as many: the next one that begins meets the rest.
#[must_use]
pub fn make_room(
    policy: CookiePolicy,
    cookies: &[&str],
    base: &str,
    started_at: impl Fn(&TransactionId, &str) -> Option<UnixTime>,
) -> Vec<String> {
    let (mut live, mut removed) = (Vec::new(), Vec::new());
    let suffixes = policy.suffixes(cookies.iter().copied(), base);
    for id in suffixes.filter_map(TransactionId::parse).take(LOOKED_AT) {
        let name = format!("{base}{}", id.as_str());
        let cookie = policy.find(cookies.iter().copied(), &name);
        match cookie.and_then(|cookie| started_at(&id, cookie)) {
            Some(started_at) => live.push((started_at, name)),
            None => removed.push(name),
        }
    }
    live.sort();
    let too_many = (live.len() + 1).saturating_sub(TRANSACTIONS);
    removed.extend(live.into_iter().take(too_many).map(|(_, name)| name));
    removed.iter().map(|name| policy.remove(name)).collect()
}

/// A sign-in that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The request, as [`AuthorizationRequest::to_query`] writes it; it is validated again at each
    /// step, because the client may have changed meanwhile.
    pub query: String,
    /// When it began.
    pub started_at: UnixTime,
    /// The user whom the client expects (`id_token_hint`): no other may complete it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_sub: Option<String>,
    /// A random value that the transaction's forms carry: another site cannot know it.
    csrf: String,
}

/// Why a transaction cannot be begun or continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionError {
    /// The request does not fit into a cookie.
    TooLarge,
    /// The cookie is missing, was changed, or belongs to another transaction.
    Lost,
    /// Begun more than [`TRANSACTION_EXPIRES_IN`] seconds ago.
    Expired {
        /// The request, with which its user can begin again.
        query: String,
    },
    /// The form did not come from the transaction's own page.
    Forged,
}

impl Transaction {
    /// Begins a transaction; `random` makes its forms unguessable.
    #[must_use]
    pub fn begin(
        request: &AuthorizationRequest,
        expected_sub: Option<String>,
        random: [u8; 16],
        now: UnixTime,
    ) -> Self {
        let csrf = base64url(&random);
        Self { query: request.to_query(), started_at: now, expected_sub, csrf }
    }

    /// Tells whether this user may complete the transaction.
    #[must_use]
    pub fn expects(&self, sub: &str) -> bool {
        self.expected_sub.as_ref().is_none_or(|expected| expected == sub)
    }

    /// Seals the transaction into its cookie's value. `nonce` is 24 random bytes.
    ///
    /// # Errors
    /// [`TransactionError::TooLarge`].
    pub fn seal(
        &self,
        keys: &Overlapping<SealKey>,
        id: &TransactionId,
        nonce: [u8; 24],
    ) -> Result<String, TransactionError> {
        serde_json::to_vec(self)
            .ok()
            .and_then(|json| keys.current().seal(nonce, id.as_str().as_bytes(), &json))
            .filter(|sealed| sealed.len() <= COOKIE_LEN - "__Host-".len() - COOKIE.len() - 17)
            .ok_or(TransactionError::TooLarge)
    }

    /// Opens the cookie of a transaction.
    ///
    /// Does NOT validate the request in it again, nor tell whether the transaction was completed.
    ///
    /// # Errors
    /// [`TransactionError::Lost`], [`TransactionError::Expired`].
    pub fn open(
        keys: &Overlapping<SealKey>,
        id: &TransactionId,
        cookie: Option<&str>,
        now: UnixTime,
    ) -> Result<Self, TransactionError> {
        let cookie = cookie.ok_or(TransactionError::Lost)?;
        let open = |key: &SealKey| key.open(id.as_str().as_bytes(), cookie).ok();
        let json = keys.accepted().find_map(open).ok_or(TransactionError::Lost)?;
        let transaction: Self =
            serde_json::from_slice(&json).map_err(|_| TransactionError::Lost)?;
        if now >= transaction.expires_at() {
            return Err(TransactionError::Expired { query: transaction.query });
        }
        Ok(transaction)
    }

    /// Checks that a form was made by the transaction's own page.
    ///
    /// # Errors
    /// [`TransactionError::Forged`].
    pub fn check_csrf(&self, presented: Option<&str>) -> Result<(), TransactionError> {
        presented
            .filter(|presented| same_bytes(presented.as_bytes(), self.csrf.as_bytes()))
            .map(|_| ())
            .ok_or(TransactionError::Forged)
    }

    /// Returns the value for the hidden `csrf` field.
    #[must_use]
    pub fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Returns the end of the transaction.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.started_at.plus(TRANSACTION_EXPIRES_IN)
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::edge_keys::EdgeKeys;
    use crate::issuer::Issuer;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn keys() -> Overlapping<SealKey> {
        EdgeKeys::derive(b"a master secret of the tests", None).transactions
    }

    fn transaction() -> Transaction {
        Transaction {
            query: "response_type=code".into(),
            started_at: NOW,
            expected_sub: None,
            csrf: "c".into(),
        }
    }

    #[test]
    fn a_transaction_opens_under_its_own_id_until_it_expires() {
        let key = keys();
        let id = TransactionId::new([1; 12]);
        let sealed = transaction().seal(&key, &id, [2; 24]).unwrap();
        let open = |id: &TransactionId, cookie, now| Transaction::open(&key, id, cookie, now);
        assert_eq!(open(&id, Some(&sealed), NOW.plus(599)), Ok(transaction()));
        assert_eq!(
            open(&id, Some(&sealed), NOW.plus(600)),
            Err(TransactionError::Expired { query: transaction().query })
        );
        let other = TransactionId::new([3; 12]);
        assert_eq!(open(&other, Some(&sealed), NOW), Err(TransactionError::Lost));
        assert_eq!(open(&id, None, NOW), Err(TransactionError::Lost));
        assert_eq!(open(&id, Some("x"), NOW), Err(TransactionError::Lost));
        let changed = EdgeKeys::derive(b"the next master secret", None).transactions;
        let refused = Transaction::open(&changed, &id, Some(&sealed), NOW);
        assert_eq!(refused, Err(TransactionError::Lost));
        let changing =
            EdgeKeys::derive(b"the next master secret", Some(b"a master secret of the tests"));
        let opened = Transaction::open(&changing.transactions, &id, Some(&sealed), NOW);
        assert_eq!(opened, Ok(transaction()));
    }

    #[test]
    fn a_transaction_that_fits_no_cookie_is_refused() {
        let key = keys();
        let large = Transaction { query: "q".repeat(3_000), ..transaction() };
        let refused = large.seal(&key, &TransactionId::new([1; 12]), [2; 24]);
        assert_eq!(refused, Err(TransactionError::TooLarge));
    }

    #[test]
    fn only_the_expected_user_completes_it() {
        assert!(transaction().expects("anyone"));
        let expecting = Transaction { expected_sub: Some("alice".into()), ..transaction() };
        assert!(expecting.expects("alice"));
        assert!(!expecting.expects("bob"));
    }

    #[test]
    fn forms_carry_the_csrf_value() {
        assert_eq!(transaction().check_csrf(Some("c")), Ok(()));
        for other in [None, Some(""), Some("d")] {
            assert_eq!(transaction().check_csrf(other), Err(TransactionError::Forged));
        }
    }

    #[test]
    fn a_header_full_of_sign_ins_costs_little_and_is_answered_by_few_lines() {
        let policy = CookiePolicy::new(&Issuer::parse("https://id.example").unwrap());
        let header = |name: fn(usize) -> String| -> String {
            let pair = |number| format!("__Host-tx_{}=x", name(number));
            (0..2_000).map(pair).collect::<Vec<_>>().join("; ")
        };
        let opened = Cell::new(0);
        let make_room = |header: &str, at: Option<UnixTime>| {
            opened.set(0);
            let removed = make_room(policy, &[header], "tx_", |_, _| {
                opened.set(opened.get() + 1);
                at
            });
            (opened.get(), removed.len())
        };
        let ids = header(|number| format!("{number:016}"));
        assert_eq!(make_room(&ids, None), (LOOKED_AT, LOOKED_AT));
        assert_eq!(make_room(&ids, Some(NOW)), (LOOKED_AT, LOOKED_AT - TRANSACTIONS + 1));
        // Two of one name are nobody's, and what is no identifier is not looked up.
        assert_eq!(make_room(&header(|_| "A".repeat(16)), Some(NOW)), (0, LOOKED_AT));
        assert_eq!(make_room(&header(|number| number.to_string()), Some(NOW)), (0, 0));
    }

    #[test]
    fn ids_are_16_base64url_characters() {
        let id = TransactionId::new([255; 12]);
        assert_eq!(TransactionId::parse(id.as_str()), Some(id));
        for bad in ["", "short", "AAAAAAAAAAAAAAA;", "AAAAAAAAAAAAAAAAA"] {
            assert_eq!(TransactionId::parse(bad), None);
        }
    }
}
