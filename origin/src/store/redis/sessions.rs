//! A user's sessions in Redis.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use shared::limits::LOGIN_SESSION_IDLE_IN;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use super::keys::{row_lives_in, session_grants_key, session_key, user_sessions_key};
use super::reply::{Reply, unreadable};
use super::script::{ADD_SESSION_GRANTS, FIND_SESSION, LIST_SESSION, PUT_ROW};
use super::{Redis, field};
use crate::store::sessions::LISTED_AT_MOST;
use crate::store::{ROW_LEEWAY, SessionGrant, SessionRecord, StoreError, UserId, UserSession};

/// Sessions that are read at the same time.
const READ_AT_ONCE: usize = 32;

/// Grants that one command adds or removes at most: a millisecond or so, in which the server does nothing else.
const ADDED_AT_ONCE: usize = 1_000;

/// Writes a session, then lists it: they lie in different slots. Whatever fails, the browser gets no
/// cookie then, so a session that was never listed is nobody's.
pub(super) async fn put(
    redis: &Redis,
    session: &SessionRecord,
    now: UnixTime,
) -> Result<(), StoreError> {
    let idle_expires_at = session.expires_at.min(now.plus(LOGIN_SESSION_IDLE_IN));
    let () = redis
        .run(&PUT_ROW, &[&session_key(&session.digest)], |command| {
            command.arg(row_lives_in(idle_expires_at, now));
            field(command, "user_id", &session.user_id.0);
            field(command, "auth_time", session.auth_time.as_secs());
            field(command, "used_at", now.as_secs());
            field(command, "expires_at", session.expires_at.as_secs());
            field(command, "idle_expires_at", idle_expires_at.as_secs());
            if let Some(user_agent) = &session.user_agent {
                field(command, "user_agent", user_agent);
            }
            if let Some(address) = session.address {
                field(command, "address", address.to_string());
            }
        })
        .await?;
    redis
        .run(&LIST_SESSION, &[&user_sessions_key(&session.user_id)], |command| {
            command.arg(session.digest.to_base64url()).arg(session.expires_at.as_secs());
            command.arg(now.as_secs()).arg(ROW_LEEWAY).arg(LISTED_AT_MOST);
        })
        .await
}

/// Finds a live session and moves its idle end.
pub(super) async fn find_by_digest(
    redis: &Redis,
    digest: &Sha256Digest,
    now: UnixTime,
) -> Result<Option<SessionRecord>, StoreError> {
    let row: Option<Vec<Option<String>>> = redis
        .run(&FIND_SESSION, &[&session_key(digest)], |command| {
            let idle_expires_at = now.plus(LOGIN_SESSION_IDLE_IN);
            command.arg(now.as_secs()).arg(idle_expires_at.as_secs()).arg(ROW_LEEWAY);
        })
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let mut row = Reply(row.into_iter());
    Ok(Some(SessionRecord {
        digest: *digest,
        user_id: UserId(row.text()?),
        auth_time: row.time()?,
        expires_at: row.time()?,
        user_agent: row.optional(),
        address: row.address()?,
    }))
}

/// Remembers grants under a session; returns how many it has then, 0 when it has ended.
///
/// These are several steps when there are thousands. What failed half way can be repeated: a grant
/// that is there is not added twice.
pub(super) async fn add_session_grants(
    redis: &Redis,
    session: &Sha256Digest,
    grants: &[SessionGrant],
    now: UnixTime,
) -> Result<usize, StoreError> {
    let keys = [&*session_key(session), &*session_grants_key(session)];
    let mut count = 0;
    for some in grants.chunks(ADDED_AT_ONCE) {
        count = redis
            .run(&ADD_SESSION_GRANTS, &keys, |command| {
                command.arg(now.as_secs()).arg(ROW_LEEWAY);
                for grant in some {
                    command.arg(grant.to_text());
                }
            })
            .await?;
        if count == 0 {
            break;
        }
    }
    Ok(count)
}

/// Forgets grants under a session.
pub(super) async fn remove_session_grants(
    redis: &Redis,
    session: &Sha256Digest,
    grants: &[SessionGrant],
) -> Result<(), StoreError> {
    for some in grants.chunks(ADDED_AT_ONCE) {
        let mut command = redis::cmd("SREM");
        command.arg(session_grants_key(session));
        for grant in some {
            command.arg(grant.to_text());
        }
        let _removed: u64 = redis.ask(&command).await?;
    }
    Ok(())
}

/// Reads the sessions that are listed, and takes those that are not there off the list. Of a list
/// from before its limit, the newest.
pub(super) async fn find(
    redis: &Redis,
    user_id: &UserId,
    now: UnixTime,
) -> Result<Vec<UserSession>, StoreError> {
    let key = user_sessions_key(user_id);
    let mut range = redis::cmd("ZRANGE");
    range.arg(&key).arg(-LISTED_AT_MOST).arg(-1);
    let listed: Vec<String> = redis.ask(&range).await?;
    let digest = |text: &String| Sha256Digest::parse(text).ok_or_else(|| unreadable("digest"));
    let listed = listed.iter().map(digest).collect::<Result<Vec<_>, _>>()?;
    let found: Vec<_> = stream::iter(listed.clone())
        .map(|digest| read(redis, digest))
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await?;
    let ended = listed.iter().zip(&found).filter(|(_, found)| found.is_none());
    let ended: Vec<String> = ended.map(|(digest, _)| digest.to_base64url()).collect();
    if !ended.is_empty() {
        let mut unlist = redis::cmd("ZREM");
        unlist.arg(&key).arg(ended);
        let _removed: u64 = redis.ask(&unlist).await?;
    }
    let live = found.into_iter().flatten().filter(|(session, idle_expires_at)| {
        now < *idle_expires_at && session.record.user_id == *user_id
    });
    Ok(live.map(|(session, _)| session).collect())
}

/// Reads a session and its idle end.
async fn read(
    redis: &Redis,
    digest: Sha256Digest,
) -> Result<Option<(UserSession, UnixTime)>, StoreError> {
    const FIELDS: &[&str] = &[
        "user_id",
        "auth_time",
        "expires_at",
        "idle_expires_at",
        "used_at",
        "user_agent",
        "address",
    ];
    let mut command = redis::cmd("HMGET");
    command.arg(session_key(&digest)).arg(FIELDS);
    let mut row = Reply(redis.ask::<Vec<Option<String>>>(&command).await?.into_iter());
    let Some(user_id) = row.optional() else {
        return Ok(None);
    };
    let (auth_time, expires_at, idle_expires_at) = (row.time()?, row.time()?, row.time()?);
    let used_at = match row.optional() {
        Some(text) => UnixTime::from_secs(text.parse().map_err(|_| unreadable("number"))?),
        // One of before an update, which was not used since.
        None => auth_time,
    };
    let record = SessionRecord {
        digest,
        user_id: UserId(user_id),
        auth_time,
        expires_at,
        user_agent: row.optional(),
        address: row.address()?,
    };
    Ok(Some((UserSession { record, used_at }, idle_expires_at)))
}

/// Reads what was begun under a session.
pub(super) fn read_grants(members: &[String]) -> Result<Vec<SessionGrant>, StoreError> {
    let read = |text: &String| SessionGrant::parse(text).ok_or_else(|| unreadable("grant"));
    members.iter().map(read).collect()
}
