//! Sessions of the backend-for-frontend in the embedded database.

use shared::limits::{BFF_RENEWAL_IN, BFF_SESSION_IDLE_IN};
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token::GrantId;
use sqlx::{Row as _, SqliteConnection};

use super::columns::{bytes, integer, read_client_id, read_number, read_time, seconds, unreadable};
use crate::store::{
    BffGrant, BffOpened, BffOwner, BffRenewal, BffSessionRecord, BffVersion, StoreError, UserId,
};

pub(super) async fn put(
    transaction: &mut SqliteConnection,
    session: &BffSessionRecord,
    owners: &[BffOwner],
    now: UnixTime,
) -> Result<(), StoreError> {
    for owner in owners {
        sqlx::query(
            "INSERT OR REPLACE INTO bff_owners (owner, session, expires_at) VALUES (?, ?, ?)",
        )
        .bind(bytes(&owner.digest()))
        .bind(bytes(&session.digest))
        .bind(seconds(session.expires_at)?)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query(
        "INSERT OR REPLACE INTO bff_sessions (digest, user_id, client_id, grant_id, auth_time, \
         sealed, renew_at, version, expires_at, idle_expires_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
    )
    .bind(bytes(&session.digest))
    .bind(&session.user_id.0)
    .bind(session.client_id.as_str())
    .bind(session.grant_id.to_string())
    .bind(seconds(session.auth_time)?)
    .bind(&session.sealed)
    .bind(seconds(session.renew_at)?)
    .bind(seconds(session.expires_at)?)
    .bind(seconds(session.expires_at.min(now.plus(BFF_SESSION_IDLE_IN)))?)
    .execute(transaction)
    .await?;
    Ok(())
}

pub(super) async fn open(
    transaction: &mut SqliteConnection,
    digest: &Sha256Digest,
    refused: Option<&BffVersion>,
    renewal: &BffRenewal,
    now: UnixTime,
) -> Result<BffOpened, StoreError> {
    let row = sqlx::query(
        "UPDATE bff_sessions SET idle_expires_at = min(expires_at, ?) \
         WHERE digest = ? AND idle_expires_at > ? \
         RETURNING version, user_id, client_id, grant_id, auth_time, sealed, renew_at, expires_at, \
         renewal_expires_at",
    )
    .bind(seconds(now.plus(BFF_SESSION_IDLE_IN))?)
    .bind(bytes(digest))
    .bind(seconds(now)?)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else {
        return Ok(BffOpened::Missing);
    };
    let grant_id = GrantId::parse(row.try_get("grant_id")?);
    let session = BffSessionRecord {
        digest: *digest,
        user_id: UserId(row.try_get("user_id")?),
        client_id: read_client_id(&row)?,
        grant_id: grant_id.ok_or_else(|| unreadable("grant_id"))?,
        auth_time: read_time(&row, "auth_time")?,
        expires_at: read_time(&row, "expires_at")?,
        renew_at: read_time(&row, "renew_at")?,
        sealed: row.try_get("sealed")?,
    };
    let version = BffVersion(read_number(&row, "version")?);
    if session.renew_at > now && refused != Some(&version) {
        return Ok(BffOpened::Current(session, version));
    }
    let under_way_until: Option<i64> = row.try_get("renewal_expires_at")?;
    if under_way_until.is_some_and(|until| seconds(now).is_ok_and(|now| until > now)) {
        return Ok(BffOpened::Underway);
    }
    sqlx::query("UPDATE bff_sessions SET renewal = ?, renewal_expires_at = ? WHERE digest = ?")
        .bind(renewal.0.as_slice())
        .bind(seconds(now.plus(BFF_RENEWAL_IN))?)
        .bind(bytes(digest))
        .execute(transaction)
        .await?;
    Ok(BffOpened::Renew { session, was_begun: under_way_until.is_some() })
}

/// Writes renewed tokens down, if the renewal is still the one under way.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    digest: &Sha256Digest,
    renewal: &BffRenewal,
    sealed: &str,
    renew_at: UnixTime,
) -> Result<bool, StoreError> {
    let renewed = sqlx::query(
        "UPDATE bff_sessions SET sealed = ?, renew_at = ?, version = version + 1, renewal = NULL, \
         renewal_expires_at = NULL WHERE digest = ? AND renewal = ?",
    )
    .bind(sealed)
    .bind(seconds(renew_at)?)
    .bind(bytes(digest))
    .bind(renewal.0.as_slice())
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Writes newer tokens down, if the renewal is still the one under way.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    digest: &Sha256Digest,
    renewal: &BffRenewal,
    sealed: &str,
) -> Result<bool, StoreError> {
    let advanced =
        sqlx::query("UPDATE bff_sessions SET sealed = ? WHERE digest = ? AND renewal = ?")
            .bind(sealed)
            .bind(bytes(digest))
            .bind(renewal.0.as_slice())
            .execute(connection)
            .await?;
    Ok(advanced.rows_affected() == 1)
}

pub(super) async fn yield_renewal(
    connection: &mut SqliteConnection,
    digest: &Sha256Digest,
    renewal: &BffRenewal,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE bff_sessions SET renewal_expires_at = ? WHERE digest = ? AND renewal = ?")
        .bind(integer(0)?)
        .bind(bytes(digest))
        .bind(renewal.0.as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn find_grant(
    connection: &mut SqliteConnection,
    digest: &Sha256Digest,
) -> Result<Option<BffGrant>, StoreError> {
    let row = sqlx::query("SELECT grant_id, user_id, client_id FROM bff_sessions WHERE digest = ?")
        .bind(bytes(digest))
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let grant_id = GrantId::parse(row.try_get("grant_id")?);
    let grant_id = grant_id.ok_or_else(|| unreadable("grant_id"))?;
    let user_id = UserId(row.try_get("user_id")?);
    Ok(Some(BffGrant { grant_id, user_id, client_id: read_client_id(&row)? }))
}

pub(super) async fn list(
    connection: &mut SqliteConnection,
    owner: &BffOwner,
) -> Result<Vec<Sha256Digest>, StoreError> {
    let listed: Vec<Vec<u8>> = sqlx::query_scalar("SELECT session FROM bff_owners WHERE owner = ?")
        .bind(bytes(&owner.digest()))
        .fetch_all(connection)
        .await?;
    let digest = |bytes: Vec<u8>| {
        bytes.try_into().map(Sha256Digest::from_bytes).map_err(|_| unreadable("session"))
    };
    listed.into_iter().map(digest).collect()
}

pub(super) async fn end(
    connection: &mut SqliteConnection,
    digest: &Sha256Digest,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM bff_sessions WHERE digest = ?")
        .bind(bytes(digest))
        .execute(connection)
        .await?;
    Ok(())
}
