//! Access tokens in the embedded database.

use shared::time::UnixTime;
use shared::token::Jti;
use sqlx::{Row as _, Sqlite, Transaction};

use super::columns::seconds;
use super::grants::GrantRow;
use super::statuses;
use crate::store::sqlite_file::SqliteFile;
use crate::store::{AccessName, GrantRecord, StoreError};

/// Finds the grant of an access token that is good; whoever shows one confirms the refresh that
/// brought it.
pub(super) async fn find(
    file: &SqliteFile,
    jti: &Jti,
    now: UnixTime,
) -> Result<Option<GrantRecord>, StoreError> {
    let Ok(number) = i64::try_from(jti.number) else {
        return Ok(None);
    };
    let row = sqlx::query(
        "SELECT grants.*, access_tokens.generation AS token_generation \
         FROM access_tokens JOIN grants USING (grant_id) \
         WHERE grant_id = ? AND number = ? AND access_tokens.expires_at > ?",
    )
    .bind(jti.grant_id.to_string())
    .bind(number)
    .bind(seconds(now)?)
    .fetch_optional(&file.readers)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let generation: u32 = row.try_get("token_generation")?;
    let row = GrantRow::of(jti.grant_id, &row)?;
    if !row.is_live(now) || !row.generations.covers(generation, now) {
        return Ok(None);
    }
    let confirms = generation == row.generations.generation;
    if confirms && row.generations.previous.is_some() {
        // Unless it was rotated again since it was read.
        let confirmed =
            sqlx::query("UPDATE grants SET previous = NULL WHERE grant_id = ? AND generation = ?")
                .bind(jti.grant_id.to_string())
                .bind(generation)
                .execute(&file.writer)
                .await;
        if let Err(error) = confirmed {
            // The token is good all the same. While nothing can be written nothing rotates, and
            // the next one that sees it confirms.
            tracing::warn!(%error, "a refresh cannot be confirmed");
        }
    }
    Ok(Some(row.grant))
}

/// Revokes one access token.
pub(super) async fn revoke(
    mut transaction: Transaction<'_, Sqlite>,
    access: &AccessName,
    now: UnixTime,
) -> Result<(), StoreError> {
    let AccessName { jti, status } = access;
    let Ok(number) = i64::try_from(jti.number) else {
        return Ok(());
    };
    sqlx::query("DELETE FROM access_tokens WHERE grant_id = ? AND number = ?")
        .bind(jti.grant_id.to_string())
        .bind(number)
        .execute(&mut *transaction)
        .await?;
    // One that was lost with the last writes was issued all the same: its number is used.
    sqlx::query("UPDATE grants SET numbers = max(numbers, ?) WHERE grant_id = ?")
        .bind(number)
        .bind(jti.grant_id.to_string())
        .execute(&mut *transaction)
        .await?;
    statuses::set_one(&mut transaction, status, now).await?;
    Ok(transaction.commit().await?)
}
