//! Revocation: Token Status Lists (draft-ietf-oauth-status-list), kept for as long as they say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::bearer::Refused;
use crate::issuer::{Answer, Issuer, Unreachable};
use crate::jwt;
use crate::keys::Keys;

/// Bytes of an uncompressed list at most: eight million tokens of one bit.
const LIST_LEN: usize = 1024 * 1024;

/// How long a list is kept at most, and when it does not say for how long.
const LONGEST_TTL: Duration = Duration::from_mins(1);
const DEFAULT_TTL: Duration = Duration::from_secs(5);

/// How long it is remembered that a list is gone.
const GONE_IN: Duration = Duration::from_mins(1);

/// How long it is remembered that nobody could tell: an issuer that hangs is not asked by each of
/// many requests in turn.
const RETRY_IN: Duration = Duration::from_secs(1);

/// The claim `status` of an access token.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    status_list: Reference,
}

/// Where a token's status stands.
#[derive(Clone, Debug, Deserialize)]
struct Reference {
    idx: usize,
    uri: String,
}

/// The lists that were needed lately.
#[derive(Debug, Default)]
pub(crate) struct StatusLists(Mutex<HashMap<String, Arc<Mutex<Entry>>>>);

/// A list, or why there is none.
#[derive(Debug, Default)]
struct Entry {
    /// What is known, and until when it counts.
    kept: Option<(Outcome, Instant)>,
}

#[derive(Clone, Debug)]
enum Outcome {
    Listed(Arc<List>),
    Gone,
    Unknown(Unreachable),
}

/// The statuses of many tokens, `bits` for each, the first in the lowest bits of the first byte.
#[derive(Debug, PartialEq, Eq)]
struct List {
    bits: u8,
    bytes: Vec<u8>,
}

impl StatusLists {
    /// Checks that a token was not revoked.
    ///
    /// # Errors
    /// [`Refused::InvalidToken`] when it was, or its list is gone, which ends all of its tokens;
    /// [`Refused::Unavailable`] when nobody can tell.
    pub(crate) async fn check(
        &self,
        issuer: &Issuer,
        keys: &Keys,
        status: &Status,
    ) -> Result<(), Refused> {
        let Reference { idx, uri } = &status.status_list;
        if !issuer.is_home_of(uri) {
            return Err(Refused::InvalidToken("the status list is elsewhere"));
        }
        match self.outcome(issuer, keys, uri).await {
            Outcome::Gone => Err(Refused::InvalidToken("the status list is gone")),
            Outcome::Unknown(Unreachable(why)) => Err(Refused::Unavailable(why)),
            Outcome::Listed(list) => match list.get(*idx) {
                Some(0) => Ok(()),
                Some(_) => Err(Refused::InvalidToken("revoked")),
                None => Err(Refused::InvalidToken("not in its status list")),
            },
        }
    }

    /// Returns what is known of a list; one request asks for all that wait for the same.
    async fn outcome(&self, issuer: &Issuer, keys: &Keys, uri: &str) -> Outcome {
        let entry = {
            let mut lists = self.0.lock().await;
            lists.retain(|_, entry| entry.try_lock().map_or(true, |entry| entry.counts()));
            Arc::clone(lists.entry(uri.to_owned()).or_default())
        };
        let mut entry = entry.lock().await;
        if let Some((outcome, _)) = entry.kept.as_ref().filter(|_| entry.counts()) {
            return outcome.clone();
        }
        let (outcome, counts_in) = match fetch(issuer, keys, uri).await {
            Ok(Some((list, ttl))) => (Outcome::Listed(Arc::new(list)), ttl),
            Ok(None) => (Outcome::Gone, GONE_IN),
            Err(unreachable) => (Outcome::Unknown(unreachable), RETRY_IN),
        };
        entry.kept = Some((outcome.clone(), Instant::now() + counts_in));
        outcome
    }
}

impl Entry {
    fn counts(&self) -> bool {
        self.kept.as_ref().is_some_and(|(_, until)| Instant::now() < *until)
    }
}

/// Fetches a list and verifies it; `None` when it is gone.
///
/// Checks, in order: `typ`, `alg` by the key of `kid`, the signature, `exp`, and that `sub` is the
/// URL that was asked for: a list of other tokens says nothing about these.
///
/// Source: draft-ietf-oauth-status-list §8.3.
async fn fetch(
    issuer: &Issuer,
    keys: &Keys,
    uri: &str,
) -> Result<Option<(List, Duration)>, Unreachable> {
    const BAD: Unreachable = Unreachable("the status list is not good");
    let Answer::Found(body) = issuer.get(uri, "application/statuslist+jwt").await? else {
        return Ok(None);
    };
    let jwt = String::from_utf8(body).map_err(|_| BAD)?;
    let kid = jwt::kid(&jwt, "statuslist+jwt").map_err(|_| BAD)?;
    let key = keys.find(issuer, &kid).await.map_err(|_| BAD)?;
    let mut validation = key.validation();
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation.sub = Some(uri.to_owned());
    let claims: ListClaims = key.verify(&jwt, &validation).map_err(|_| BAD)?;
    let ttl = claims.ttl.map_or(DEFAULT_TTL, Duration::from_secs).min(LONGEST_TTL);
    let list = List::of(&claims.status_list).ok_or(BAD)?;
    Ok(Some((list, ttl)))
}

/// The claims of a status list but for `sub` and `exp`.
#[derive(Debug, Deserialize)]
struct ListClaims {
    ttl: Option<u64>,
    status_list: CompressedList,
}

/// A list as it travels: base64url of zlib.
#[derive(Debug, Deserialize)]
struct CompressedList {
    bits: u8,
    lst: String,
}

impl List {
    /// Unpacks a list.
    fn of(list: &CompressedList) -> Option<Self> {
        let compressed = URL_SAFE_NO_PAD.decode(&list.lst).ok()?;
        let bytes = decompress_to_vec_zlib_with_limit(&compressed, LIST_LEN).ok()?;
        matches!(list.bits, 1 | 2 | 4 | 8).then_some(Self { bits: list.bits, bytes })
    }

    /// Returns a token's status: 0 is valid, and everything else is not.
    ///
    /// Source: draft-ietf-oauth-status-list §4.1.
    fn get(&self, idx: usize) -> Option<u8> {
        let per_byte = 8 / usize::from(self.bits);
        let byte = self.bytes.get(idx / per_byte)?;
        let mask = u8::MAX >> (8 - self.bits);
        Some(byte >> (idx % per_byte * usize::from(self.bits)) & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bits: u8, lst: &str) -> Option<List> {
        List::of(&CompressedList { bits, lst: lst.to_owned() })
    }

    /// The examples of draft-ietf-oauth-status-list §4.1.
    #[test]
    fn statuses_are_read_from_the_lowest_bit() {
        for (bits, lst, expected) in [
            (1, "eNrbuRgAAhcBXQ", &[1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1][..]),
            (2, "eNo76fITAAPfAgc", &[1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
        ] {
            let list = list(bits, lst).unwrap();
            let read: Vec<u8> = (0..).map_while(|idx| list.get(idx)).collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (bits, lst) in [(3, "eNrbuRgAAhcBXQ"), (0, "eNrbuRgAAhcBXQ"), (1, "eNrb"), (1, "%")] {
            assert_eq!(list(bits, lst), None, "{bits} {lst}");
        }
        let large = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; LIST_LEN + 1], 6);
        assert_eq!(list(1, &URL_SAFE_NO_PAD.encode(large)), None);
    }
}
