//! Login attempts in the embedded database.

use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use sqlx::SqliteConnection;

use super::columns::{bytes, read_number, seconds};
use crate::store::{Attempt, AttemptId, StoreError};

pub(super) async fn count(
    transaction: &mut SqliteConnection,
    key: &Sha256Digest,
    attempt: &AttemptId,
    limit: u32,
    expires_at: UnixTime,
    now: UnixTime,
) -> Result<Attempt, StoreError> {
    let row = sqlx::query(
        "SELECT count(*) AS count, coalesce(min(expires_at), 0) AS first FROM attempts \
         WHERE digest = ? AND expires_at > ?",
    )
    .bind(bytes(key))
    .bind(seconds(now)?)
    .fetch_one(&mut *transaction)
    .await?;
    if read_number(&row, "count")? >= u64::from(limit) {
        let first = UnixTime::from_secs(read_number(&row, "first")?);
        return Ok(Attempt::Refused { retry_in: first.since(now).max(1) });
    }
    keep(transaction, key, attempt, expires_at).await?;
    Ok(Attempt::Allowed)
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    key: &Sha256Digest,
    attempt: &AttemptId,
    expires_at: UnixTime,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO attempts (digest, attempt, expires_at) VALUES (?, ?, ?)")
        .bind(bytes(key))
        .bind(attempt.0.as_slice())
        .bind(seconds(expires_at)?)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn give_back(
    connection: &mut SqliteConnection,
    key: &Sha256Digest,
    attempt: &AttemptId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM attempts WHERE digest = ? AND attempt = ?")
        .bind(bytes(key))
        .bind(attempt.0.as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn forget(
    connection: &mut SqliteConnection,
    key: &Sha256Digest,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM attempts WHERE digest = ?")
        .bind(bytes(key))
        .execute(connection)
        .await?;
    Ok(())
}
