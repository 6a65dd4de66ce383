//! Status lists in the embedded database.

use std::collections::BTreeMap;

use shared::limits::{STATUS_BLOCK_LEN, STATUS_LIST_KEPT_IN, STATUS_LIST_LEN};
use shared::status_list::{StatusIndex, StatusListId};
use shared::time::UnixTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::columns::{seconds, unreadable};
use crate::store::{StatusBlock, StoreError};

/// Reserves a block in the list that is being filled, or in a new one.
pub(super) async fn reserve(
    transaction: &mut SqliteConnection,
    new: &StatusListId,
    now: UnixTime,
) -> Result<StatusBlock, StoreError> {
    let row = sqlx::query(
        "SELECT list, next FROM status_lists WHERE next + ? <= ? AND expires_at > ? \
         ORDER BY expires_at DESC, list LIMIT 1",
    )
    .bind(STATUS_BLOCK_LEN)
    .bind(STATUS_LIST_LEN)
    .bind(seconds(now)?)
    .fetch_optional(&mut *transaction)
    .await?;
    let block = match &row {
        Some(row) => StatusBlock { list: read_list(row)?, first: row.try_get("next")? },
        None => StatusBlock { list: *new, first: 0 },
    };
    sqlx::query(
        "INSERT INTO status_lists (list, next, bits, expires_at) VALUES (?, ?, zeroblob(?), ?) \
         ON CONFLICT DO UPDATE SET next = excluded.next, expires_at = excluded.expires_at",
    )
    .bind(block.list.to_string())
    .bind(block.first + STATUS_BLOCK_LEN)
    .bind(STATUS_LIST_LEN / 8)
    .bind(seconds(now.plus(STATUS_LIST_KEPT_IN))?)
    .execute(transaction)
    .await?;
    Ok(block)
}

/// Tells whether a list is there.
pub(super) async fn has(
    connection: &mut SqliteConnection,
    list: &StatusListId,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let has = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM status_lists WHERE list = ? AND expires_at > ?)",
    )
    .bind(list.to_string())
    .bind(seconds(now)?)
    .fetch_one(connection)
    .await?;
    Ok(has)
}

/// Finds the bits of a list.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    list: &StatusListId,
    now: UnixTime,
) -> Result<Option<Vec<u8>>, StoreError> {
    let bits =
        sqlx::query_scalar("SELECT bits FROM status_lists WHERE list = ? AND expires_at > ?")
            .bind(list.to_string())
            .bind(seconds(now)?)
            .fetch_optional(connection)
            .await?;
    Ok(bits)
}

/// Sets the statuses in the `list` and `idx` of these rows to "revoked". A list that is gone stays
/// gone: its tokens are refused already.
pub(super) async fn set(
    transaction: &mut SqliteConnection,
    rows: &[SqliteRow],
    now: UnixTime,
) -> Result<(), StoreError> {
    let mut lists: BTreeMap<String, Vec<StatusIndex>> = BTreeMap::new();
    for row in rows {
        if let Some(status) = read_status(row)? {
            lists.entry(status.list.to_string()).or_default().push(status);
        }
    }
    for statuses in lists.into_values() {
        set_in_list(transaction, &statuses, now).await?;
    }
    Ok(())
}

/// Sets one status.
pub(super) async fn set_one(
    transaction: &mut SqliteConnection,
    status: &StatusIndex,
    now: UnixTime,
) -> Result<(), StoreError> {
    set_in_list(transaction, &[*status], now).await
}

/// Sets statuses of one list.
async fn set_in_list(
    transaction: &mut SqliteConnection,
    statuses: &[StatusIndex],
    now: UnixTime,
) -> Result<(), StoreError> {
    let Some(StatusIndex { list, .. }) = statuses.first() else { return Ok(()) };
    let Some(mut bits) = find(&mut *transaction, list, now).await? else { return Ok(()) };
    for StatusIndex { idx, .. } in statuses {
        let byte = usize::try_from(idx / 8).ok().and_then(|at| bits.get_mut(at));
        *byte.ok_or_else(|| unreadable("idx"))? |= 1 << (idx % 8);
    }
    sqlx::query("UPDATE status_lists SET bits = ? WHERE list = ?")
        .bind(bits)
        .bind(list.to_string())
        .execute(&mut *transaction)
        .await?;
    Ok(())
}

fn read_status(row: &SqliteRow) -> Result<Option<StatusIndex>, StoreError> {
    match row.try_get::<Option<u32>, _>("idx")? {
        Some(idx) => Ok(Some(StatusIndex { list: read_list(row)?, idx })),
        None => Ok(None),
    }
}

fn read_list(row: &SqliteRow) -> Result<StatusListId, StoreError> {
    StatusListId::parse(row.try_get("list")?).ok_or_else(|| unreadable("list"))
}
