//! Codes in the embedded database.

use shared::time::UnixTime;
use sqlx::{Row as _, Sqlite, Transaction};

use super::columns::{
    bytes, read_client_id, read_digest, read_scope, read_time, seconds, unreadable,
};
use super::grants::{GrantRow, begin_grant, revoke};
use super::sessions;
use crate::store::{
    AccessRow, CodeRecord, CodeRedemption, GrantRecord, Redeemed, SessionGrant, StoreError, UserId,
};

/// Keeps a code whose session is there; returns how many grants the session has then, 0 without one.
pub(super) async fn put(
    mut transaction: Transaction<'_, Sqlite>,
    code: &CodeRecord,
    now: UnixTime,
) -> Result<usize, StoreError> {
    let grant_id = code.grant_id.to_string();
    let grant = SessionGrant::of(code);
    if !sessions::link(&mut transaction, &code.session, &grant, now).await? {
        return Ok(0);
    }
    sqlx::query(
        "INSERT OR REPLACE INTO codes (grant_id, digest, binding, client_id, user_id, scope, \
         nonce, auth_time, session, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&grant_id)
    .bind(bytes(&code.digest))
    .bind(bytes(&code.binding))
    .bind(code.client_id.as_str())
    .bind(&code.user_id.0)
    .bind(code.scope.to_string())
    .bind(&code.nonce)
    .bind(seconds(code.auth_time)?)
    .bind(bytes(&code.session))
    .bind(seconds(code.expires_at)?)
    .execute(&mut *transaction)
    .await?;
    let count = sessions::count_grants(&mut transaction, &code.session).await?;
    transaction.commit().await?;
    Ok(count)
}

/// Redeems a code, and begins its grant.
pub(super) async fn redeem(
    mut transaction: Transaction<'_, Sqlite>,
    redemption: &CodeRedemption,
    now: UnixTime,
) -> Result<Redeemed, StoreError> {
    let CodeRedemption { grant_id, client_id, digest, .. } = redemption;
    // A grant that is there used up its code when it began. Only the client that redeemed it
    // can have it revoked.
    if let Some(row) = GrantRow::read(&mut transaction, grant_id).await? {
        if !row.began_with(digest, client_id) {
            return Ok(Redeemed::Missing);
        }
        revoke(&mut transaction, grant_id, now).await?;
        transaction.commit().await?;
        return Ok(Redeemed::Replayed);
    }

    let row = sqlx::query(
        "DELETE FROM codes WHERE grant_id = ? AND digest = ? AND expires_at > ? \
         RETURNING binding, client_id, user_id, scope, nonce, auth_time, session",
    )
    .bind(grant_id.to_string())
    .bind(bytes(digest))
    .bind(seconds(now)?)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else {
        return Ok(Redeemed::Missing);
    };
    // Returning before the commit leaves the code where it is.
    if read_digest(&row, "binding")? != Some(redemption.binding)
        || read_client_id(&row)? != *client_id
    {
        return Ok(Redeemed::Mismatched);
    }
    let ends = redemption.ends(now);
    let grant = GrantRecord {
        grant_id: *grant_id,
        client_id: client_id.clone(),
        user_id: UserId(row.try_get("user_id")?),
        scope: read_scope(&row)?,
        auth_time: read_time(&row, "auth_time")?,
        expires_at: ends.grant,
    };
    let refresh = redemption.refresh.as_ref();
    let access = AccessRow::first(*grant_id, &ends, redemption.status);
    begin_grant(&mut transaction, &grant, Some(digest), refresh, &ends, &access, now).await?;
    let nonce = row.try_get("nonce")?;
    let session = read_digest(&row, "session")?.ok_or_else(|| unreadable("session"))?;
    transaction.commit().await?;
    Ok(Redeemed::Once { grant, nonce, access, session })
}
