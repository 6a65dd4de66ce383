//! Login sessions in the embedded database, and what was begun under them.

use std::net::IpAddr;

use shared::claims::SessionId;
use shared::client::ClientId;
use shared::limits::LOGIN_SESSION_IDLE_IN;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token::GrantId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::columns::{bytes, read_digest, read_time, seconds, unreadable};
use crate::store::sessions::LISTED_AT_MOST;
use crate::store::{LogoutNotice, SessionGrant, SessionRecord, StoreError, UserId, UserSession};

/// Remembers a session.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    session: &SessionRecord,
    now: UnixTime,
) -> Result<(), StoreError> {
    let idle_expires_at = session.expires_at.min(now.plus(LOGIN_SESSION_IDLE_IN));
    sqlx::query(
        "INSERT OR REPLACE INTO sessions (digest, user_id, auth_time, expires_at, \
         idle_expires_at, used_at, user_agent, address) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(bytes(&session.digest))
    .bind(&session.user_id.0)
    .bind(seconds(session.auth_time)?)
    .bind(seconds(session.expires_at)?)
    .bind(seconds(idle_expires_at)?)
    .bind(seconds(now)?)
    .bind(&session.user_agent)
    .bind(session.address.map(|address| address.to_string()))
    .execute(connection)
    .await?;
    Ok(())
}

/// Finds a live session, and moves its idle end.
pub(super) async fn use_once(
    connection: &mut SqliteConnection,
    digest: &Sha256Digest,
    now: UnixTime,
) -> Result<Option<SessionRecord>, StoreError> {
    let row = sqlx::query(
        "UPDATE sessions SET idle_expires_at = min(expires_at, ?), used_at = ? \
         WHERE digest = ? AND idle_expires_at > ? RETURNING *",
    )
    .bind(seconds(now.plus(LOGIN_SESSION_IDLE_IN))?)
    .bind(seconds(now)?)
    .bind(bytes(digest))
    .bind(seconds(now)?)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Finds a user's live sessions: of too many, those that end last.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    user_id: &UserId,
    now: UnixTime,
) -> Result<Vec<UserSession>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM sessions WHERE user_id = ? AND idle_expires_at > ? \
         ORDER BY expires_at DESC LIMIT ?",
    )
    .bind(&user_id.0)
    .bind(seconds(now)?)
    .bind(LISTED_AT_MOST)
    .fetch_all(connection)
    .await?;
    let session = |row: &SqliteRow| {
        let record = read(row)?;
        let is_known = row.try_get::<Option<i64>, _>("used_at")?.is_some();
        let used_at = if is_known { read_time(row, "used_at")? } else { record.auth_time };
        Ok(UserSession { record, used_at })
    };
    rows.iter().map(session).collect()
}

fn read(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    let address = row.try_get::<Option<&str>, _>("address")?.map(str::parse::<IpAddr>);
    Ok(SessionRecord {
        digest: read_digest(row, "digest")?.ok_or_else(|| unreadable("digest"))?,
        user_id: UserId(row.try_get("user_id")?),
        auth_time: read_time(row, "auth_time")?,
        expires_at: read_time(row, "expires_at")?,
        user_agent: row.try_get("user_agent")?,
        address: address.transpose().map_err(|_| unreadable("address"))?,
    })
}

/// Remembers a grant under a session, if that is live; tells whether it is.
pub(super) async fn link(
    connection: &mut SqliteConnection,
    session: &Sha256Digest,
    grant: &SessionGrant,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let notice = grant.notice.as_ref();
    let linked = sqlx::query(
        "INSERT OR REPLACE INTO session_grants \
         (session, grant_id, client_id, user_id, sid, expires_at) \
         SELECT digest, ?, ?, ?, ?, expires_at FROM sessions \
         WHERE digest = ? AND idle_expires_at > ?",
    )
    .bind(grant.grant_id.to_string())
    .bind(notice.map(|notice| notice.client_id.as_str()))
    .bind(notice.map(|notice| notice.user_id.0.as_str()))
    .bind(notice.map(|notice| notice.sid.as_str()))
    .bind(bytes(session))
    .bind(seconds(now)?)
    .execute(connection)
    .await?;
    Ok(linked.rows_affected() == 1)
}

/// Forgets a grant under a session.
pub(super) async fn unlink(
    connection: &mut SqliteConnection,
    session: &Sha256Digest,
    grant: &SessionGrant,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM session_grants WHERE session = ? AND grant_id = ?")
        .bind(bytes(session))
        .bind(grant.grant_id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts what was begun under a session.
pub(super) async fn count_grants(
    connection: &mut SqliteConnection,
    session: &Sha256Digest,
) -> Result<usize, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM session_grants WHERE session = ?")
        .bind(bytes(session))
        .fetch_one(connection)
        .await?;
    usize::try_from(count).map_err(|_| unreadable("count"))
}

/// Finds what was begun under a session.
pub(super) async fn find_grants(
    connection: &mut SqliteConnection,
    session: &Sha256Digest,
) -> Result<Vec<SessionGrant>, StoreError> {
    let rows = sqlx::query("SELECT * FROM session_grants WHERE session = ?")
        .bind(bytes(session))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read_grant).collect()
}

fn read_grant(row: &SqliteRow) -> Result<SessionGrant, StoreError> {
    let grant_id = GrantId::parse(row.try_get("grant_id")?);
    let grant_id = grant_id.ok_or_else(|| unreadable("grant_id"))?;
    let text = |column| row.try_get::<Option<&str>, _>(column);
    let notice = match (text("client_id")?, text("user_id")?, text("sid")?) {
        (Some(client_id), Some(user_id), Some(sid)) => Some(LogoutNotice {
            client_id: ClientId::parse(client_id).map_err(|_| unreadable("client_id"))?,
            user_id: UserId(user_id.to_owned()),
            sid: SessionId::parse(sid).ok_or_else(|| unreadable("sid"))?,
        }),
        _ => None,
    };
    Ok(SessionGrant { grant_id, notice })
}
