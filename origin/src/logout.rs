//! Ending login sessions: who is told, and what is revoked.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use crate::app::{App, Unavailable};
use crate::store::{LogoutNotice, SessionGrant};

/// How long notices are held back while their session is being ended, seconds: no client hears of
/// it before it is true, unless the ending stopped half way.
const NOTICES_HELD_IN: u64 = 3;

/// Grants of one session that are revoked at the same time. A session may have thousands, because a
/// page can send its browser to sign in again and again; all of them are to be revoked within the time
/// that one request may take.
const REVOKED_AT_ONCE: usize = 64;

/// Which grants outlive the session under which they were begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outliving {
    /// Those with `offline_access`: the user was promised that they would.
    Offline,
    /// None.
    Nothing,
}

/// Ends a session: tells the clients that the user has signed in to under it, and revokes what was
/// begun under it, but for what is `outliving`. With `user`, that user's alone.
///
/// The notices are remembered before anything ends, then what is known is revoked, and when the
/// session accepts no code any more, the same once more for what was begun in between. So whoever
/// stops half way, and however, has told everybody; and a session that is still there can be ended
/// again, with everything that is left.
///
/// # Errors
/// Unavailable; the same call goes on where this one stopped.
pub async fn end(
    app: &App,
    session: &Sha256Digest,
    user: Option<&str>,
    outliving: Outliving,
    now: UnixTime,
) -> Result<(), Unavailable> {
    let grants = app.store.find_session_grants(session).await?;
    put_notices(app, &grants, user, now.plus(NOTICES_HELD_IN), now).await?;
    revoke(app, &grants, user, outliving, now).await?;
    let mut all = app.store.take_session(session).await?;
    tell(app, &all, user, now).await?;
    let revoked: HashSet<SessionGrant> = grants.into_iter().collect();
    all.retain(|grant| !revoked.contains(grant));
    revoke(app, &all, user, outliving, now).await
}

/// Tells the clients of grants that their sessions have ended; with `user`, about that user's alone.
///
/// # Errors
/// Unavailable.
pub async fn tell(
    app: &App,
    grants: &[SessionGrant],
    user: Option<&str>,
    now: UnixTime,
) -> Result<(), Unavailable> {
    put_notices(app, grants, user, now, now).await?;
    app.notices_put.notify_one();
    Ok(())
}

/// Revokes grants, but for those that are `outliving`; with `user`, that user's alone. Those that
/// are dead are revoked again, as their revocation may have failed half way.
///
/// # Errors
/// Unavailable; the same call goes on where this one stopped.
pub async fn revoke(
    app: &App,
    grants: &[SessionGrant],
    user: Option<&str>,
    outliving: Outliving,
    now: UnixTime,
) -> Result<(), Unavailable> {
    let revoke_one = |grant: SessionGrant| async move {
        let SessionGrant { grant_id, .. } = grant;
        let grant = app.store.find_grant(&grant_id, now).await?;
        let stays = grant.is_some_and(|grant| {
            (outliving == Outliving::Offline && grant.scope.contains("offline_access"))
                || user.is_some_and(|user| user != grant.user_id.0)
        });
        if stays { Ok(()) } else { app.store.revoke_grant(&grant_id, now).await }
    };
    let all = stream::iter(grants.to_vec()).map(revoke_one).buffer_unordered(REVOKED_AT_ONCE);
    Ok(all.try_collect().await?)
}

/// Remembers whom to tell: clients that are enabled and have said where.
async fn put_notices(
    app: &App,
    grants: &[SessionGrant],
    user: Option<&str>,
    due_at: UnixTime,
    now: UnixTime,
) -> Result<(), Unavailable> {
    let mut notices: Vec<LogoutNotice> = Vec::new();
    let all: HashSet<&LogoutNotice> =
        grants.iter().filter_map(|grant| grant.notice.as_ref()).collect();
    for notice in all {
        let is_meant = user.is_none_or(|user| user == notice.user_id.0);
        if !is_meant {
            continue;
        }
        let record = app.known.client(&notice.client_id).await?;
        if record.is_some_and(|record| record.client.backchannel_logout_uri.is_some()) {
            notices.push(notice.clone());
        }
    }
    if notices.is_empty() {
        return Ok(());
    }
    Ok(app.store.put_notices(&notices, due_at, now).await?)
}
