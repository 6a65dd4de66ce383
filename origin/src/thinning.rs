//! Login sessions that are rid of what is dead in them.
//!
//! A session knows the grants that were begun under it, so that a logout ends them. A page can send its
//! browser to sign in again and again, and each time leaves one more; what has long ended is of no use
//! to a logout, and makes it long.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use moka::sync::Cache;
use shared::client::ClientId;
use shared::limits::{CLOCK_SKEW, CODE_EXPIRES_IN};
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use crate::clock;
use crate::store::{GrantRecord, SessionGrant, Store, StoreError};

/// From so many grants on, a session is looked at.
const FROM: usize = 500;

/// Live grants of one client that a session keeps: of more, the oldest are revoked.
const OF_A_CLIENT: usize = 5_000;

/// How long what looks dead is left alone: it may be a code that is still to be redeemed.
const DEAD_IN: Duration = Duration::from_secs(CODE_EXPIRES_IN + CLOCK_SKEW);

/// Grants that are looked at at the same time.
const AT_ONCE: usize = 32;

/// Sessions that are being thinned, here; another process may thin one of them, too.
#[derive(Clone, Debug)]
pub struct Thinning(Cache<Sha256Digest, ()>);

impl Default for Thinning {
    fn default() -> Self {
        let under_way = Cache::builder().max_capacity(1_000).time_to_live(2 * DEAD_IN).build();
        Self(under_way)
    }
}

impl Thinning {
    /// Looks whether a session has so many grants that it is to be thinned, which happens aside: what
    /// fails, or ends with the process, begins anew with the next grant.
    pub fn look(&self, store: &Arc<dyn Store>, session: &Sha256Digest, grants: usize) {
        if grants < FROM || !self.0.entry(*session).or_insert(()).is_fresh() {
            return;
        }
        let (store, session, under_way) = (Arc::clone(store), *session, self.0.clone());
        tokio::spawn(async move {
            if let Err(error) = thin(&*store, &session, DEAD_IN, OF_A_CLIENT).await {
                tracing::warn!(%error, "a session with many grants is not rid of the dead ones");
                under_way.invalidate(&session);
            }
        });
    }
}

/// Takes out of a session what has been dead for `dead_in`; of each client that is to be told of a
/// logout, one grant stays. Of one client's live grants, the oldest beyond `of_a_client` are revoked.
pub(crate) async fn thin(
    store: &dyn Store,
    session: &Sha256Digest,
    dead_in: Duration,
    of_a_client: usize,
) -> Result<(), StoreError> {
    let now = clock::now();
    let (mut live, dead) = divide(store, store.find_session_grants(session).await?, now).await?;
    // The oldest end first.
    live.sort_by_key(|(_, grant)| std::cmp::Reverse(grant.expires_at));
    let mut of_clients: HashMap<ClientId, usize> = HashMap::new();
    for (_, grant) in &live {
        let count = of_clients.entry(grant.client_id.clone()).or_default();
        *count += 1;
        if *count > of_a_client {
            store.revoke_grant(&grant.grant_id, now).await?;
        }
    }
    tokio::time::sleep(dead_in).await;
    let now = clock::now();
    let (redeemed, dead) = divide(store, dead, now).await?;
    let stay = live.iter().chain(&redeemed).map(|(grant, _)| grant);
    let mut told: HashSet<_> = stay.map(|grant| grant.notice.clone()).collect();
    let gone: Vec<SessionGrant> =
        dead.into_iter().filter(|grant| !told.insert(grant.notice.clone())).collect();
    for grant in &gone {
        // A revocation may have stopped half way.
        store.finish_revocation(&grant.grant_id, now).await?;
    }
    store.unlink_grants(session, &gone).await
}

/// Grants of a session that are alive, with their records.
type Live = Vec<(SessionGrant, GrantRecord)>;

/// Tells live grants from all others: those that have ended, and codes that are not redeemed.
async fn divide(
    store: &dyn Store,
    grants: Vec<SessionGrant>,
    now: UnixTime,
) -> Result<(Live, Vec<SessionGrant>), StoreError> {
    let find = |grant: SessionGrant| async move {
        let found = store.find_grant(&grant.grant_id, now).await?;
        Ok::<_, StoreError>((grant, found))
    };
    let found: Vec<_> =
        stream::iter(grants).map(find).buffer_unordered(AT_ONCE).try_collect().await?;
    let (mut live, mut dead) = (Vec::new(), Vec::new());
    for (grant, found) in found {
        match found {
            Some(record) => live.push((grant, record)),
            None => dead.push(grant),
        }
    }
    Ok((live, dead))
}
