//! Grants and access tokens in the embedded database.

use shared::client::ClientId;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token::GrantId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::columns::{
    bytes, integer, read_client_id, read_digest, read_number, read_scope, read_time, seconds,
};
use super::statuses;
use crate::store::{AccessRow, Asked, Ends, Generations, GrantRecord, StoreError, UserId};

/// A row of `grants`.
pub(super) struct GrantRow {
    pub(super) grant: GrantRecord,
    code: Option<Sha256Digest>,
    pub(super) generations: Generations,
    pub(super) numbers: u64,
    idle_expires_at: UnixTime,
    revoked_at: Option<i64>,
}

impl GrantRow {
    pub(super) async fn read(
        connection: &mut SqliteConnection,
        grant_id: &GrantId,
    ) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query("SELECT * FROM grants WHERE grant_id = ?")
            .bind(grant_id.to_string())
            .fetch_optional(connection)
            .await?;
        row.as_ref().map(|row| Self::of(*grant_id, row)).transpose()
    }

    pub(super) fn of(grant_id: GrantId, row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            grant: GrantRecord {
                grant_id,
                client_id: read_client_id(row)?,
                user_id: UserId(row.try_get("user_id")?),
                scope: read_scope(row)?,
                auth_time: read_time(row, "auth_time")?,
                expires_at: read_time(row, "expires_at")?,
            },
            code: read_digest(row, "code")?,
            generations: Generations {
                generation: row.try_get("generation")?,
                current: read_digest(row, "current")?,
                previous: read_digest(row, "previous")?,
                rotated_at: read_time(row, "rotated_at")?,
                asked: Asked::parse(row.try_get("asked")?),
            },
            numbers: read_number(row, "numbers")?,
            idle_expires_at: read_time(row, "idle_expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    }

    /// Tells whether it was begun with this code by this client.
    pub(super) fn began_with(&self, code: &Sha256Digest, client_id: &ClientId) -> bool {
        self.code.as_ref() == Some(code) && self.grant.client_id == *client_id
    }

    pub(super) fn is_live(&self, now: UnixTime) -> bool {
        self.revoked_at.is_none() && now < self.idle_expires_at
    }
}

pub(super) async fn begin_grant(
    transaction: &mut SqliteConnection,
    grant: &GrantRecord,
    code: Option<&Sha256Digest>,
    refresh: Option<&Sha256Digest>,
    ends: &Ends,
    access: &AccessRow,
    now: UnixTime,
) -> Result<(), StoreError> {
    let generation = u32::from(refresh.is_some());
    sqlx::query(
        "INSERT INTO grants (grant_id, client_id, user_id, scope, auth_time, code, generation, \
         current, rotated_at, numbers, expires_at, idle_expires_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
    )
    .bind(grant.grant_id.to_string())
    .bind(grant.client_id.as_str())
    .bind(&grant.user_id.0)
    .bind(grant.scope.to_string())
    .bind(seconds(grant.auth_time)?)
    .bind(code.map(bytes))
    .bind(generation)
    .bind(refresh.map(bytes))
    .bind(seconds(now)?)
    .bind(seconds(ends.grant)?)
    .bind(seconds(ends.idle)?)
    .execute(&mut *transaction)
    .await?;
    put_access(transaction, access, generation).await
}

pub(super) async fn put_access(
    transaction: &mut SqliteConnection,
    access: &AccessRow,
    generation: u32,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO access_tokens (grant_id, number, generation, expires_at, list, idx) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(access.jti.grant_id.to_string())
    .bind(integer(access.jti.number)?)
    .bind(generation)
    .bind(seconds(access.expires_at)?)
    .bind(access.status.list.to_string())
    .bind(access.status.idx)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Counts the access tokens of a grant that are alive.
pub(super) async fn count_alive(
    transaction: &mut SqliteConnection,
    grant_id: &GrantId,
    now: UnixTime,
) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM access_tokens WHERE grant_id = ? AND expires_at > ?",
    )
    .bind(grant_id.to_string())
    .bind(seconds(now)?)
    .fetch_one(transaction)
    .await?;
    u64::try_from(count).map_err(|_| super::unreadable("count"))
}

/// Revokes everything of a grant; one that has not begun has a code at most.
pub(super) async fn revoke(
    transaction: &mut SqliteConnection,
    grant_id: &GrantId,
    now: UnixTime,
) -> Result<(), StoreError> {
    let grant_id = grant_id.to_string();
    sqlx::query("UPDATE grants SET revoked_at = coalesce(revoked_at, ?) WHERE grant_id = ?")
        .bind(seconds(now)?)
        .bind(&grant_id)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM codes WHERE grant_id = ?")
        .bind(&grant_id)
        .execute(&mut *transaction)
        .await?;
    let rows = sqlx::query("DELETE FROM access_tokens WHERE grant_id = ? RETURNING list, idx")
        .bind(&grant_id)
        .fetch_all(&mut *transaction)
        .await?;
    statuses::set(transaction, &rows, now).await
}
