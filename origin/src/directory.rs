//! What the origin knows for long: users, clients, consents and signing keys.

#[cfg(test)]
#[expect(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "a promise is what the function's name says, and it panics when it is broken"
)]
pub mod contract;
pub mod postgres;
mod rows;
pub mod sqlite;

use async_trait::async_trait;
use shared::client::{Client, ClientId};
use shared::jwk::Alg;
use shared::limits::CLOCK_SKEW;
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use crate::store::UserId;

/// The directory cannot be reached, took too long, or holds something that cannot be read.
#[derive(Debug)]
pub struct DirectoryError(pub Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the directory is unavailable: {}", self.0)
    }
}

impl std::error::Error for DirectoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// A client with what only the origin may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// What is registered.
    pub client: Client,
    /// Digest of the secret; `None` for a public client.
    pub secret_digest: Option<Sha256Digest>,
    /// The secret before, while both are good.
    pub former_secret: Option<FormerSecret>,
    /// When it was disabled; a disabled client is treated as unknown.
    pub disabled_at: Option<UnixTime>,
}

/// A client's secret before the one that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerSecret {
    /// Its digest.
    pub digest: Sha256Digest,
    /// From when on it is not good any more.
    pub until: UnixTime,
}

impl ClientRecord {
    /// Returns the digests of the secrets that are good `now`.
    pub fn secrets(&self, now: UnixTime) -> impl Iterator<Item = &Sha256Digest> {
        let former = self.former_secret.as_ref().filter(|former| now < former.until);
        self.secret_digest.iter().chain(former.map(|former| &former.digest))
    }

    /// Gives the client a secret beside the one that it has, which is good for `overlap` seconds more.
    /// One before that is over at once.
    #[must_use]
    pub fn with_secret(self, secret: Sha256Digest, overlap: u64, now: UnixTime) -> Self {
        let former = |digest| FormerSecret { digest, until: now.plus(overlap) };
        let former_secret = self.secret_digest.map(former).filter(|_| overlap > 0);
        Self { secret_digest: Some(secret), former_secret, ..self }
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The `sub`.
    pub user_id: UserId,
    /// What is typed at login, in canonical form ([`canonical_username`]). Unique.
    pub username: String,
    /// The `email` claim.
    pub email: Option<String>,
    /// The `name` claim.
    pub name: Option<String>,
    /// Argon2id, PHC string format.
    pub password_hash: String,
    /// Sessions and grants of a login before this moment are dead: it moves when the user is
    /// disabled, when the password changes, and when the user signs out everywhere.
    pub valid_from: UnixTime,
    /// When the user was disabled.
    pub disabled_at: Option<UnixTime>,
}

impl UserRecord {
    /// Returns when a login that happens `now` counts as having happened: after what has ended older
    /// ones, which may have been in this very second, and by a clock that is ahead.
    #[must_use]
    pub fn auth_time(&self, now: UnixTime) -> UnixTime {
        now.max(self.valid_from.min(now.plus(LOGIN_LATER_AT_MOST)))
    }
}

/// How much later than it happens a login may count as having happened, seconds: a few clocks that are
/// ahead, one after the other.
pub const LOGIN_LATER_AT_MOST: u64 = 60;

/// Returns the moment before which logins are worth nothing that have happened until now, also by the
/// clock of a server that is ahead of this one.
#[must_use]
pub const fn older_logins_end(now: UnixTime) -> UnixTime {
    now.plus(1 + CLOCK_SKEW)
}

/// What a user has consented to for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRecord {
    /// The client; it may be gone.
    pub client_id: ClientId,
    /// All that was consented to.
    pub scope: Scope,
    /// When the first of it was.
    pub since: UnixTime,
}

/// A signing key, its private half encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The `kid`.
    pub kid: String,
    /// What it signs with.
    pub alg: Alg,
    /// PKCS#8 DER, encrypted under the server's secret.
    pub sealed_pkcs8: Vec<u8>,
    /// When it was made (and first published).
    pub created_at: UnixTime,
    /// From when it signs.
    pub signs_at: UnixTime,
    /// When it is no longer published; `None` while no successor was made.
    pub expires_at: Option<UnixTime>,
}

/// What the origin knows for long.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Finds a client, disabled or not.
    async fn find_client(&self, id: &ClientId) -> Result<Option<ClientRecord>, DirectoryError>;

    /// Lists all clients by `client_id`.
    async fn list_clients(&self) -> Result<Vec<ClientRecord>, DirectoryError>;

    /// Registers a client, or replaces what was found of it; refuses (returns `false`) when that is
    /// no longer what is registered, because somebody else has changed it.
    async fn change_client(
        &self,
        found: Option<&ClientRecord>,
        client: &ClientRecord,
    ) -> Result<bool, DirectoryError>;

    /// Finds a user by `sub`.
    async fn find_user(&self, id: &UserId) -> Result<Option<UserRecord>, DirectoryError>;

    /// Finds a user by canonical username.
    async fn find_username(&self, username: &str) -> Result<Option<UserRecord>, DirectoryError>;

    /// Lists all users by username.
    async fn list_users(&self) -> Result<Vec<UserRecord>, DirectoryError>;

    /// Registers a user, or replaces what was found of the one with this `user_id`; refuses (returns
    /// `false`) when that is no longer what is known, because somebody else has changed it.
    ///
    /// # Errors
    /// Also when another user has the username.
    async fn change_user(
        &self,
        found: Option<&UserRecord>,
        user: &UserRecord,
    ) -> Result<bool, DirectoryError>;

    /// Makes every login of a user before `valid_from` worth nothing. The moment only ever moves on.
    async fn end_logins(&self, user: &UserId, valid_from: UnixTime) -> Result<(), DirectoryError>;

    /// Lists what a user has consented to, by `client_id`.
    async fn list_consents(&self, user: &UserId) -> Result<Vec<ConsentRecord>, DirectoryError>;

    /// Finds what a user has consented to for a client.
    async fn find_consent(
        &self,
        user: &UserId,
        client: &ClientId,
    ) -> Result<Option<Scope>, DirectoryError>;

    /// Adds to what a user has consented to for a client (the union is remembered), atomically.
    async fn add_consent(
        &self,
        user: &UserId,
        client: &ClientId,
        scope: &Scope,
        now: UnixTime,
    ) -> Result<(), DirectoryError>;

    /// Forgets a consent.
    async fn remove_consent(&self, user: &UserId, client: &ClientId) -> Result<(), DirectoryError>;

    /// Lists all signing keys, oldest first.
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, DirectoryError>;

    /// Adds a key and, in the same step, sets the ends of others; refuses (returns `false`) when
    /// the set of `kid`s is no longer `expected`, because somebody else has changed it.
    async fn change_keys(
        &self,
        expected: &[String],
        add: &[KeyRecord],
        expire: &[(String, UnixTime)],
        remove: &[String],
    ) -> Result<bool, DirectoryError>;

    /// Asks whether the directory answers.
    async fn ping(&self) -> Result<(), DirectoryError>;

    /// Registers a client, whatever is there.
    #[cfg(test)]
    async fn put_client(&self, client: &ClientRecord) -> Result<(), DirectoryError> {
        let found = self.find_client(&client.client.client_id).await?;
        assert!(self.change_client(found.as_ref(), client).await?, "nobody else changes it");
        Ok(())
    }

    /// Registers a user, whatever is there.
    #[cfg(test)]
    async fn put_user(&self, user: &UserRecord) -> Result<(), DirectoryError> {
        let found = self.find_user(&user.user_id).await?;
        assert!(self.change_user(found.as_ref(), user).await?, "nobody else changes them");
        Ok(())
    }
}

/// Brings what somebody typed as a username into the one form that is stored, compared and
/// counted: NFKC, lower case, no white space around it, no dot at its end.
#[must_use]
pub fn canonical_username(typed: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    let folded: String = typed.trim().nfkc().collect::<String>().to_lowercase().nfkc().collect();
    folded.trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_comes_after_what_has_ended_older_ones() {
        let now = UnixTime::from_secs(1_800_000_000);
        let auth_time = |valid_from| {
            let user = UserRecord {
                user_id: UserId("u1".to_owned()),
                username: "alice".to_owned(),
                email: None,
                name: None,
                password_hash: String::new(),
                valid_from,
                disabled_at: None,
            };
            user.auth_time(now)
        };
        assert_eq!(auth_time(UnixTime::default()), now);
        assert_eq!(auth_time(now.plus(1)), now.plus(1));
        assert_eq!(auth_time(older_logins_end(now)), older_logins_end(now));
        let ahead = now.plus(CLOCK_SKEW);
        assert_eq!(auth_time(older_logins_end(ahead)), older_logins_end(ahead));
        assert_eq!(auth_time(now.plus(3_600)), now.plus(LOGIN_LATER_AT_MOST), "not for ever");
    }

    #[test]
    fn spellings_of_one_username_are_one() {
        for spelling in [
            "alice@example.test",
            " ALICE@example.test ",
            "ａｌｉｃｅ@example.test",
            "alice@example.test.",
        ] {
            assert_eq!(canonical_username(spelling), "alice@example.test");
        }
        assert_ne!(canonical_username("alice"), canonical_username("bob"));
    }
}
