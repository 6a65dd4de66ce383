//! The only state of the process: everything that a request may need.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use shared::claims::AccessTokenClaims;
use shared::cookie::CookiePolicy;
use shared::cors::WebOrigin;
use shared::edge_keys::EdgeKeys;
use shared::issuer::Issuer;
use shared::jwt::Verified;
use shared::limits::{ACCESS_TOKEN_EXPIRES_IN, LOGIN_WINDOW_IN};
use shared::seal::SealKey;
use shared::secret::{MacKey, Sha256Digest};
use shared::time::UnixTime;

use tokio::sync::{Notify, Semaphore};

use crate::config::Config;
use crate::directory::{Directory, DirectoryError};
use crate::ending::Ending;
use crate::holds::Holds;
use crate::keys::{KeyError, KeyRing, SigningFailed};
use crate::known::Known;
use crate::password::{Overloaded, PasswordPool};
use crate::seen_requests::SeenRequests;
use crate::statuses::Statuses;
use crate::store::{Store, StoreError};
use crate::thinning::Thinning;

/// Access tokens that are remembered as verified.
const VERIFIED: u64 = 20_000;

/// Requests that are answered at a time, once they have arrived in full: those beyond it are refused
/// at once, because what waits longer than a request may take is answered for nobody.
const ANSWERED_AT_ONCE: usize = 1_024;

/// The only state of the process.
pub struct App {
    /// Where the world finds this server.
    pub issuer: Issuer,
    /// How cookies are named and protected here.
    pub cookies: CookiePolicy,
    /// What is remembered for a while.
    pub store: Arc<dyn Store>,
    /// What is known for long.
    pub known: Known,
    /// The signing keys, replaced as a whole when they change.
    pub keys: ArcSwap<KeyRing>,
    /// Access tokens whose signatures were verified, by the digest of the whole token: only good ones
    /// get in, so no flood of bad ones drives them out.
    pub verified: Cache<[u8; 32], Arc<VerifiedToken>>,
    /// Failed client authentications lately, by client and network.
    pub client_failures: Cache<Sha256Digest, Arc<AtomicU32>>,
    /// The keys that the edge has, too.
    pub edge_keys: EdgeKeys,
    /// Sessions that are rid of what is dead in them.
    pub thinning: Thinning,
    /// Refreshes that nobody was told of.
    pub holds: Holds,
    /// Places of requests that are being answered.
    pub answering: Semaphore,
    /// Requests that the edge has signed lately.
    pub seen_requests: SeenRequests,
    /// Places in status lists for access tokens to come.
    pub statuses: Arc<Statuses>,
    /// Wakes whoever sends notices: some were put.
    pub notices_put: Notify,
    /// Whether the process is on its way out.
    pub ending: Ending,
    /// Ties forms to sessions.
    pub form_key: MacKey,
    /// Checks passwords.
    pub passwords: PasswordPool,
    /// Browser origins that may call the API, beside those of the clients.
    pub cors_origins: Vec<WebOrigin>,
    /// Whether requests that no edge has signed are refused.
    pub require_edge: bool,
    key_seal: SealKey,
}

/// An access token whose signature was verified.
pub struct VerifiedToken {
    /// The key that has signed it. The token is good only as long as this one is published.
    pub kid: String,
    /// What it says.
    pub verified: Verified<AccessTokenClaims>,
}

/// Something that a request needs is away: nothing was decided. Becomes a 503, never a "no".
#[derive(Debug)]
pub struct Unavailable(Box<dyn std::error::Error + Send + Sync>);

impl Unavailable {
    /// Says what is away.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unavailable {}

impl From<StoreError> for Unavailable {
    fn from(error: StoreError) -> Self {
        Self::new(error)
    }
}

impl From<DirectoryError> for Unavailable {
    fn from(error: DirectoryError) -> Self {
        Self::new(error)
    }
}

impl From<SigningFailed> for Unavailable {
    fn from(error: SigningFailed) -> Self {
        Self::new(error)
    }
}

impl From<Overloaded> for Unavailable {
    fn from(_: Overloaded) -> Self {
        Self::new("too many passwords wait to be checked")
    }
}

impl App {
    /// Puts the state together. `secret` encrypts the signing keys; the edge's secret comes from
    /// the settings, or from `secret` when there is no edge.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn new(
        config: &Config,
        secret: &[u8],
        store: Arc<dyn Store>,
        directory: Arc<dyn Directory>,
        now: UnixTime,
    ) -> Result<Self, KeyError> {
        let own_edge_secret = MacKey::derive(secret, "cadence edge secret");
        let edge_secret = match &config.edge_secret {
            Some(shared) => shared.0.as_bytes(),
            None => own_edge_secret.as_bytes(),
        };
        let second = config.edge_secret_second.as_ref();
        let key_seal = key_seal(secret);
        let keys = KeyRing::begin(&*directory, &key_seal, now).await?;
        Ok(Self {
            issuer: config.issuer.clone(),
            cookies: CookiePolicy::new(&config.issuer),
            statuses: Arc::new(Statuses::new(store.clone())),
            store,
            known: Known::new(directory, &config.issuer),
            keys: ArcSwap::from_pointee(keys),
            verified: Cache::builder()
                .max_capacity(VERIFIED)
                .time_to_live(Duration::from_secs(ACCESS_TOKEN_EXPIRES_IN))
                .build(),
            client_failures: Cache::builder()
                .max_capacity(VERIFIED)
                .time_to_live(Duration::from_secs(LOGIN_WINDOW_IN))
                .build(),
            edge_keys: EdgeKeys::derive(edge_secret, second.map(|it| it.0.as_bytes())),
            thinning: Thinning::default(),
            holds: Holds::default(),
            answering: Semaphore::new(ANSWERED_AT_ONCE),
            seen_requests: SeenRequests::default(),
            require_edge: config.require_edge,
            notices_put: Notify::new(),
            ending: Ending::default(),
            form_key: MacKey::derive(secret, "cadence form"),
            passwords: PasswordPool::new(),
            cors_origins: config.cors_origins.clone(),
            key_seal,
        })
    }

    /// Reads the signing keys again; another process may have rotated or revoked some.
    ///
    /// # Errors
    /// [`KeyError`]; the keys stay as they were.
    pub async fn reload_keys(&self) -> Result<(), KeyError> {
        let keys = KeyRing::load(self.known.directory(), &self.key_seal).await?;
        self.keys.store(Arc::new(keys));
        Ok(())
    }
}

/// Derives the key that encrypts signing keys at rest from the server's secret.
#[must_use]
pub fn key_seal(secret: &[u8]) -> SealKey {
    SealKey::derive(secret, "cadence signing keys")
}
