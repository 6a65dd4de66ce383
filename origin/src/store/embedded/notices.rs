//! Notices in the embedded database.

use shared::claims::SessionId;
use shared::limits::LOGOUT_NOTICE_EXPIRES_IN;
use shared::time::UnixTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::columns::{bytes, read_client_id, read_time, seconds, unreadable};
use crate::store::{LogoutNotice, StoreError, TakenNotice, UserId};

/// Remembers notices; those that wait already become due no later.
pub(super) async fn put(
    transaction: &mut SqliteConnection,
    notices: &[LogoutNotice],
    due_at: UnixTime,
    now: UnixTime,
) -> Result<(), StoreError> {
    for notice in notices {
        sqlx::query(
            "INSERT INTO notices (digest, client_id, user_id, sid, due_at, attempt, expires_at) \
             VALUES (?, ?, ?, ?, ?, 0, ?) \
             ON CONFLICT DO UPDATE SET due_at = min(due_at, excluded.due_at) \
             WHERE leased_until IS NULL OR leased_until <= ?",
        )
        .bind(bytes(&notice.digest()))
        .bind(notice.client_id.as_str())
        .bind(&notice.user_id.0)
        .bind(notice.sid.as_str())
        .bind(seconds(due_at)?)
        .bind(seconds(now.plus(LOGOUT_NOTICE_EXPIRES_IN))?)
        .bind(seconds(now)?)
        .execute(&mut *transaction)
        .await?;
    }
    Ok(())
}

/// Tells whether a notice is due.
pub(super) async fn is_any_due(
    connection: &mut SqliteConnection,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let is_due = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM notices WHERE due_at <= ?)")
        .bind(seconds(now)?)
        .fetch_one(connection)
        .await?;
    Ok(is_due)
}

/// Takes notices that are due: each is due again when its lease ends.
pub(super) async fn take_due(
    connection: &mut SqliteConnection,
    limit: u32,
    leased_until: UnixTime,
    now: UnixTime,
) -> Result<Vec<TakenNotice>, StoreError> {
    let rows = sqlx::query(
        "UPDATE notices SET attempt = attempt + 1, leased_until = ?1, due_at = ?1 \
         WHERE digest IN (SELECT digest FROM notices WHERE due_at <= ?2 AND expires_at > ?2 \
         ORDER BY due_at LIMIT ?3) RETURNING *",
    )
    .bind(seconds(leased_until)?)
    .bind(seconds(now)?)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<TakenNotice, StoreError> {
    let notice = LogoutNotice {
        client_id: read_client_id(row)?,
        user_id: UserId(row.try_get("user_id")?),
        sid: SessionId::parse(row.try_get("sid")?).ok_or_else(|| unreadable("sid"))?,
    };
    let expires_at = read_time(row, "expires_at")?;
    Ok(TakenNotice { notice, attempt: row.try_get("attempt")?, expires_at })
}

/// Forgets a notice, unless it was taken again.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    taken: &TakenNotice,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM notices WHERE digest = ? AND attempt = ?")
        .bind(bytes(&taken.notice.digest()))
        .bind(taken.attempt)
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts a notice off, unless it was taken again.
pub(super) async fn put_off(
    connection: &mut SqliteConnection,
    taken: &TakenNotice,
    due_at: UnixTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE notices SET due_at = ?, leased_until = NULL WHERE digest = ? AND attempt = ?",
    )
    .bind(seconds(due_at)?)
    .bind(bytes(&taken.notice.digest()))
    .bind(taken.attempt)
    .execute(connection)
    .await?;
    Ok(())
}
