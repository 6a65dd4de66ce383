//! Taking a key out of use at once: one that somebody else may have.

use shared::seal::SealKey;
use shared::time::UnixTime;

use super::{KeyError, RETIRES_IN, SIGNS_IN, generate};
use crate::directory::{Directory, KeyRecord};

/// Takes a key out of the directory. Every token that it has signed is refused by whoever reads the
/// keys anew; nothing is signed with it again.
///
/// The keys of its algorithm that stay go on as if it had not been there: one that was to be replaced
/// by it stays, and its next successor is published before it signs, as ever. Only when none of them
/// signs at this moment, a new one does at once.
///
/// # Errors
/// [`KeyError`]; also when there is no such key, or somebody else has changed the keys meanwhile.
pub async fn revoke(
    directory: &dyn Directory,
    seal: &SealKey,
    kid: &str,
    now: UnixTime,
) -> Result<(), KeyError> {
    let records = directory.list_keys().await?;
    let revoked = records.iter().find(|key| key.kid == kid);
    let revoked = revoked.ok_or(KeyError::Engine("there is no key of this name"))?;
    let of_its_alg = |key: &&KeyRecord| key.alg == revoked.alg && key.kid != revoked.kid;
    let live = |key: &&KeyRecord| key.expires_at.is_none_or(|end| now < end);
    let rest: Vec<&KeyRecord> = records.iter().filter(of_its_alg).filter(live).collect();
    let signs = rest.iter().any(|key| key.signs_at <= now);
    // A key without an end is there already, and signs now or later.
    let heir = rest.iter().filter(|key| key.expires_at.is_none()).map(|key| key.signs_at).max();
    let latest = rest.iter().map(|key| key.signs_at.plus(1)).max().unwrap_or_default();
    let added = match heir {
        Some(_) if signs => None,
        Some(signs_at) => {
            let mut until_then = generate(revoked.alg, seal, now, now)?;
            until_then.expires_at = Some(signs_at.max(now).plus(RETIRES_IN));
            Some(until_then)
        }
        None if signs => Some(generate(revoked.alg, seal, now, now.plus(SIGNS_IN).max(latest))?),
        None => Some(generate(revoked.alg, seal, now, now.max(latest))?),
    };
    // Whoever signs until an heir does is published until its last token has expired.
    let follows = heir.or(added.as_ref().map(|key| key.signs_at)).unwrap_or(now);
    let prolonged: Vec<(String, UnixTime)> = rest
        .iter()
        .filter(|key| key.expires_at.is_some_and(|end| end < follows.plus(RETIRES_IN)))
        .map(|key| (key.kid.clone(), follows.plus(RETIRES_IN)))
        .collect();
    let known: Vec<String> = records.iter().map(|key| key.kid.clone()).collect();
    let added: Vec<KeyRecord> = added.into_iter().collect();
    if directory.change_keys(&known, &added, &prolonged, &[kid.to_owned()]).await? {
        Ok(())
    } else {
        Err(KeyError::Engine("somebody else has changed the keys at this moment; try again"))
    }
}

#[cfg(test)]
mod tests {
    use shared::jwk::Alg;
    use shared::jwt::{JwtRefused, Typ, UntrustedJwt};
    use tempfile::TempDir;

    use super::*;
    use crate::directory::sqlite::Sqlite;
    use crate::keys::{KeyRing, rotate};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    #[derive(serde::Deserialize)]
    struct Nothing {}

    /// A directory with keys, of which others are revoked.
    struct Keys {
        directory: Sqlite,
        seal: SealKey,
        _folder: TempDir,
    }

    impl Keys {
        async fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let directory = Sqlite::open(&folder.path().join("directory.db")).await.unwrap();
            let seal = SealKey::derive(b"a secret of the tests", "keys");
            let keys = Self { directory, seal, _folder: folder };
            KeyRing::begin(&keys.directory, &keys.seal, NOW).await.unwrap();
            keys
        }

        async fn ring(&self) -> KeyRing {
            KeyRing::load(&self.directory, &self.seal).await.unwrap()
        }

        async fn rotate(&self, now: UnixTime) {
            let signs_at = now.plus(SIGNS_IN);
            rotate(&self.directory, &self.seal, &[Alg::ES256], signs_at, now).await.unwrap();
        }

        /// Signs, and returns the token and the name of its key.
        async fn sign(&self, now: UnixTime) -> (String, String) {
            let ring = self.ring().await;
            let token = ring.sign(Alg::ES256, Typ::IdToken, &serde_json::json!({}), now).unwrap();
            let kid = UntrustedJwt::parse(&token, Typ::IdToken).unwrap().kid().to_owned();
            (token, kid)
        }

        /// Revokes a key, and checks that nobody ever signs with it or misses it.
        async fn revoke(&self, kid: &str, now: UnixTime) {
            revoke(&self.directory, &self.seal, kid, now).await.unwrap();
            let mut before: Option<(String, u64)> = None;
            for later in [0, 1, 60, 299, 309, 310, 311, 400, 620, 640, 700, 1_000, 86_400] {
                let then = now.plus(later);
                let (token, signed_by) = self.sign(then).await;
                assert_ne!(signed_by, kid, "{later}");
                // What was signed up to a life ago is still verified.
                if let Some((token, at)) = before.filter(|(_, at)| later - at <= 300) {
                    let ring = self.ring().await;
                    let verified = ring.verify::<Nothing>(&token, Typ::IdToken, then);
                    assert!(verified.is_ok(), "of {at}, at {later}");
                }
                before = Some((token, later));
            }
        }
    }

    /// JW22: a key that is replaced goes when its last token has expired, and no sooner.
    #[tokio::test]
    async fn a_key_that_is_replaced_stays_until_its_last_token_has_expired() {
        let keys = Keys::new().await;
        keys.rotate(NOW).await;
        let last = NOW.plus(SIGNS_IN - 1);
        let (token, kid) = keys.sign(last).await;
        let ring = keys.ring().await;
        for (later, is_there) in [(300, true), (310, true), (320, true), (321, false)] {
            let then = last.plus(later);
            assert_eq!(ring.jwks(then).has(&kid), is_there, "{later}");
            let verified = ring.verify::<Nothing>(&token, Typ::IdToken, then);
            assert_eq!(verified.is_ok(), is_there, "{later}");
        }
    }

    #[tokio::test]
    async fn the_only_key_is_replaced_at_once() {
        let keys = Keys::new().await;
        let (token, kid) = keys.sign(NOW).await;
        keys.revoke(&kid, NOW).await;
        let ring = keys.ring().await;
        assert!(!ring.jwks(NOW).has(&kid));
        let refused = ring.verify::<Nothing>(&token, Typ::IdToken, NOW).err();
        assert_eq!(refused, Some(JwtRefused::Kid));
        let again = revoke(&keys.directory, &keys.seal, &kid, NOW).await;
        assert!(matches!(again, Err(KeyError::Engine(_))));
    }

    #[tokio::test]
    async fn of_two_keys_either_can_be_revoked_at_any_moment() {
        // Before the second one signs, while the first one is still published, and long after.
        for later in [1, 100, 309, 310, 311, 500, 629, 630, 631, 10_000] {
            let keys = Keys::new().await;
            let (_, first) = keys.sign(NOW).await;
            keys.rotate(NOW).await;
            let (_, second) = keys.sign(NOW.plus(SIGNS_IN)).await;
            assert_ne!(first, second);
            let now = NOW.plus(later);
            keys.revoke(if later % 2 == 0 { &first } else { &second }, now).await;

            let keys = Keys::new().await;
            let (_, first) = keys.sign(NOW).await;
            keys.rotate(NOW).await;
            let (_, second) = keys.sign(NOW.plus(SIGNS_IN)).await;
            keys.revoke(if later % 2 == 0 { &second } else { &first }, now).await;
        }
    }

    #[tokio::test]
    async fn both_of_two_keys_can_be_revoked() {
        for later in [0, 200, 400] {
            let keys = Keys::new().await;
            let (_, first) = keys.sign(NOW).await;
            keys.rotate(NOW).await;
            let (_, second) = keys.sign(NOW.plus(SIGNS_IN)).await;
            keys.revoke(&first, NOW.plus(later)).await;
            keys.revoke(&second, NOW.plus(later)).await;
        }
    }
}
