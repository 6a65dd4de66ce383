//! The directory, with a short memory for what every request asks.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use shared::client::{Client, ClientId};
use shared::cors::WebOrigin;
use shared::issuer::Issuer;
use shared::time::UnixTime;

use crate::account;
use crate::directory::{ClientRecord, Directory, DirectoryError, UserRecord};
use crate::store::UserId;

/// How long an answer of the directory is believed: the longest that a disabled user or client
/// goes on.
pub const BELIEVED_IN: Duration = Duration::from_secs(2);

/// Clients and users that are remembered at most.
const REMEMBERED: u64 = 10_000;

/// The directory. Absence is never remembered: what is registered is there at once.
pub struct Known {
    directory: Arc<dyn Directory>,
    /// The account page's own client, which is in no directory.
    account: Option<Arc<ClientRecord>>,
    clients: Cache<ClientId, Arc<ClientRecord>>,
    users: Cache<UserId, Arc<UserRecord>>,
    origins: Cache<(), Arc<Vec<WebOrigin>>>,
}

impl Known {
    /// Wraps the directory of a server at `issuer`.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>, issuer: &Issuer) -> Self {
        Self {
            directory,
            account: account::client(issuer).map(Arc::new),
            clients: believed(REMEMBERED),
            users: believed(REMEMBERED),
            origins: believed(1),
        }
    }

    /// Returns the directory itself, for everything that is not remembered.
    #[must_use]
    pub fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    /// Finds a client that is not disabled.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn client(&self, id: &ClientId) -> Result<Option<Arc<ClientRecord>>, DirectoryError> {
        if id.as_str() == account::CLIENT_ID {
            return Ok(self.account.clone());
        }
        let record = match self.clients.get(id).await {
            Some(record) => record,
            None => match self.directory.find_client(id).await? {
                Some(record) => {
                    let record = Arc::new(record);
                    self.clients.insert(id.clone(), record.clone()).await;
                    record
                }
                None => return Ok(None),
            },
        };
        Ok(Some(record).filter(|record| record.disabled_at.is_none()))
    }

    /// Finds the user of a session or grant that began with a login at `auth_time`, unless the
    /// user is disabled, or was, or has a new password since.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn user(
        &self,
        id: &UserId,
        auth_time: UnixTime,
    ) -> Result<Option<Arc<UserRecord>>, DirectoryError> {
        let record = match self.users.get(id).await {
            Some(record) => record,
            None => match self.directory.find_user(id).await? {
                Some(record) => {
                    let record = Arc::new(record);
                    self.users.insert(id.clone(), record.clone()).await;
                    record
                }
                None => return Ok(None),
            },
        };
        let valid = record.disabled_at.is_none() && auth_time >= record.valid_from;
        Ok(Some(record).filter(|_| valid))
    }

    /// Makes every login of a user before `valid_from` worth nothing, here at once.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn end_logins(
        &self,
        id: &UserId,
        valid_from: UnixTime,
    ) -> Result<(), DirectoryError> {
        self.directory.end_logins(id, valid_from).await?;
        self.users.invalidate(id).await;
        Ok(())
    }

    /// Lists the clients that are not disabled, the account page's among them, without what is the
    /// origin's own business: where they are told of logouts.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn clients(&self) -> Result<Vec<Client>, DirectoryError> {
        let records = self.directory.list_clients().await?;
        let is_shown = |record: &ClientRecord| {
            record.disabled_at.is_none() && record.client.client_id.as_str() != account::CLIENT_ID
        };
        let own = self.account.iter().map(|record| ClientRecord::clone(record));
        let enabled = records.into_iter().filter(is_shown).chain(own);
        let told = |client| Client {
            backchannel_logout_uri: None,
            backchannel_logout_session_required: false,
            ..client
        };
        Ok(enabled.map(|record| told(record.client)).collect())
    }

    /// Lists the browser origins of all clients; whoever asks at the same time shares one look at the
    /// directory.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn cors_origins(&self) -> Result<Arc<Vec<WebOrigin>>, Arc<DirectoryError>> {
        let look = async {
            let clients = self.clients().await?;
            Ok(Arc::new(clients.into_iter().flat_map(|client| client.cors_origins).collect()))
        };
        self.origins.try_get_with((), look).await
    }
}

fn believed<K, V>(remembered: u64) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(remembered).time_to_live(BELIEVED_IN).build()
}
