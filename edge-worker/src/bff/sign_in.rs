//! A sign-in that a browser has begun: carried by the browser, sealed, until it comes back. Pure.

use serde::{Deserialize, Serialize};
use shared::cookie::CookiePolicy;
use shared::edge_keys::Overlapping;
use shared::limits::TRANSACTION_EXPIRES_IN;
use shared::pkce::{CodeChallenge, CodeVerifier};
use shared::seal::SealKey;
use shared::secret::base64url;
use shared::time::UnixTime;
use shared::transaction::{self, TransactionId};

use super::return_to::ReturnTo;

/// The base name of the cookies; the `state` follows, so that each tab has its own.
const COOKIE: &str = "cadence_bff_tx_";

/// How long a sign-in may take, seconds: as long as the authorization server lets its own page
/// stand, and as long again for what comes after it.
const EXPIRES_IN: u64 = 2 * TRANSACTION_EXPIRES_IN;

/// Fresh random bytes for one sign-in.
pub(super) struct Randomness {
    /// For the `state`.
    pub(super) state: [u8; 12],
    /// For the `nonce`.
    pub(super) nonce: [u8; 16],
    /// For the `code_verifier`.
    pub(super) verifier: [u8; 32],
    /// For the seal.
    pub(super) seal: [u8; 24],
}

/// A sign-in that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignIn {
    /// Where it leads back to.
    pub(super) return_to: ReturnTo,
    /// The `nonce` of its ID token.
    pub(super) nonce: String,
    /// The `code_verifier` of its code.
    pub(super) verifier: String,
    started_at: UnixTime,
}

/// A sign-in on its way to the authorization server.
pub(super) struct Begun {
    /// The `state`.
    pub(super) state: String,
    /// The `nonce`.
    pub(super) nonce: String,
    /// The `code_challenge`.
    pub(super) code_challenge: CodeChallenge,
    /// `Set-Cookie` values.
    pub(super) set_cookies: Vec<String>,
}

/// Where sign-ins are kept: cookies of the browser, sealed by these keys.
pub(super) struct SignIns<'a> {
    /// How cookies are named and protected.
    pub(super) policy: CookiePolicy,
    /// What seals them.
    pub(super) keys: &'a Overlapping<SealKey>,
}

impl SignIns<'_> {
    /// Begins a sign-in. Those that the browser has begun already make room
    /// ([`transaction::make_room`]). `None` when it fits into no cookie.
    pub(super) fn begin(
        &self,
        cookies: Option<&str>,
        return_to: ReturnTo,
        random: &Randomness,
        now: UnixTime,
    ) -> Option<Begun> {
        let state = TransactionId::new(random.state);
        let verifier = base64url(&random.verifier);
        let code_challenge = CodeVerifier::parse(&verifier).ok()?.challenge();
        let nonce = base64url(&random.nonce);
        let sign_in = SignIn { return_to, nonce: nonce.clone(), verifier, started_at: now };
        let json = serde_json::to_vec(&sign_in).ok()?;
        let sealed = self.keys.current().seal(random.seal, state.as_str().as_bytes(), &json)?;
        let started_at = |state: &TransactionId, sealed: &str| {
            self.open(state, sealed, now).map(|sign_in| sign_in.started_at)
        };
        let mut set_cookies =
            transaction::make_room(self.policy, cookies.as_slice(), COOKIE, started_at);
        set_cookies.push(self.policy.set(&name(&state), &sealed, Some(EXPIRES_IN)));
        let state = state.as_str().to_owned();
        Some(Begun { state, nonce, code_challenge, set_cookies })
    }

    /// Finds the sign-in of a `state`; `None` when this browser has none, or none any more.
    pub(super) fn find(&self, cookies: Option<&str>, state: &str, now: UnixTime) -> Option<SignIn> {
        let state = TransactionId::parse(state)?;
        self.open(&state, self.policy.find(cookies, &name(&state))?, now)
    }

    fn open(&self, state: &TransactionId, sealed: &str, now: UnixTime) -> Option<SignIn> {
        let open = |key: &SealKey| key.open(state.as_str().as_bytes(), sealed).ok();
        let json = self.keys.accepted().find_map(open)?;
        let sign_in: SignIn = serde_json::from_slice(&json).ok()?;
        (now < sign_in.started_at.plus(EXPIRES_IN)).then_some(sign_in)
    }

    /// Returns the `Set-Cookie` value that removes the sign-in of a `state`.
    pub(super) fn remove(&self, state: &str) -> Option<String> {
        TransactionId::parse(state).map(|state| self.policy.remove(&name(&state)))
    }
}

fn name(state: &TransactionId) -> String {
    format!("{COOKIE}{}", state.as_str())
}

#[cfg(test)]
mod tests {
    use shared::edge_keys::EdgeKeys;
    use shared::issuer::Issuer;
    use shared::limits::TRANSACTIONS;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn with_sign_ins<T>(run: impl FnOnce(SignIns<'_>) -> T) -> T {
        let keys = EdgeKeys::derive(b"a master secret of the tests", None);
        let policy = CookiePolicy::new(&Issuer::parse("https://id.example").unwrap());
        run(SignIns { policy, keys: &keys.bff_sign_ins })
    }

    fn begin(sign_ins: &SignIns<'_>, cookies: Option<&str>, number: u8, now: UnixTime) -> Begun {
        let random = Randomness {
            state: [number; 12],
            nonce: [number; 16],
            verifier: [number; 32],
            seal: [number; 24],
        };
        let return_to = ReturnTo::parse("/spa/").unwrap();
        sign_ins.begin(cookies, return_to, &random, now).unwrap()
    }

    fn cookie(begun: &Begun) -> String {
        begun.set_cookies.last().unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_sign_in_is_found_by_its_state_in_its_own_browser() {
        with_sign_ins(|sign_ins| {
            let begun = begin(&sign_ins, None, 1, NOW);
            let cookie = cookie(&begun);
            assert!(cookie.starts_with("__Host-cadence_bff_tx_"));
            let found =
                sign_ins.find(Some(&cookie), &begun.state, NOW.plus(EXPIRES_IN - 1)).unwrap();
            assert_eq!(found.nonce, begun.nonce);
            let challenge = CodeVerifier::parse(&found.verifier).unwrap().challenge();
            assert_eq!(challenge, begun.code_challenge);
            assert_eq!(sign_ins.find(Some(&cookie), &begun.state, NOW.plus(EXPIRES_IN)), None);
            assert_eq!(sign_ins.find(None, &begun.state, NOW), None, "another browser");
            let other = begin(&sign_ins, None, 2, NOW);
            assert_eq!(sign_ins.find(Some(&cookie), &other.state, NOW), None, "another state");
            let swapped = cookie.replace(&begun.state, &other.state);
            assert_eq!(sign_ins.find(Some(&swapped), &other.state, NOW), None, "another's cookie");
            assert_eq!(sign_ins.find(Some(&cookie), "x", NOW), None);
        });
    }

    #[test]
    fn the_oldest_sign_ins_make_room() {
        with_sign_ins(|sign_ins| {
            let count = u8::try_from(TRANSACTIONS).unwrap();
            let begun: Vec<Begun> = (0..count)
                .map(|number| begin(&sign_ins, None, number, NOW.plus(number.into())))
                .collect();
            let mut cookies: Vec<String> = begun.iter().map(cookie).collect();
            cookies.push("__Host-cadence_bff_tx_xxxxxxxxxxxxxxxx=rubbish".to_owned());
            cookies.push("__Host-cadence_bff_tx_x=not one of ours".to_owned());
            let header = cookies.join("; ");
            let one_more = begin(&sign_ins, Some(&header), count, NOW.plus(100));
            let removed = &one_more.set_cookies[..one_more.set_cookies.len() - 1];
            assert_eq!(removed.len(), 2, "what cannot be opened, and the oldest: {removed:?}");
            assert!(removed[0].starts_with("__Host-cadence_bff_tx_xxxxxxxxxxxxxxxx=;"));
            assert!(removed[1].contains(&begun[0].state));
        });
    }
}
