//! Rows of the embedded database whose time is over.

use shared::time::UnixTime;
use sqlx::SqlitePool;

use super::columns::integer;
use crate::store::{ROW_LEEWAY, StoreError};

/// Rows of one kind that one transaction deletes at most, so that no request waits long for its turn.
pub(super) const AT_ONCE: u32 = 200;

/// Deletes so many rows at most of a table that ended before a time: by their key, because a deletion has
/// no `LIMIT` in SQLite as it is commonly built.
macro_rules! delete {
    ($table:literal, $key:literal, $end:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE (",
            $key,
            ") IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE ",
            $end,
            " < ? LIMIT ?)"
        )
    };
}

const STATEMENTS: [&str; 11] = [
    delete!("access_tokens", "grant_id, number", "expires_at"),
    delete!("codes", "grant_id", "expires_at"),
    delete!("grants", "grant_id", "idle_expires_at"),
    delete!("session_grants", "session, grant_id", "expires_at"),
    delete!("sessions", "digest", "idle_expires_at"),
    delete!("transactions", "digest", "expires_at"),
    delete!("attempts", "digest, attempt", "expires_at"),
    delete!("status_lists", "list", "expires_at"),
    delete!("bff_sessions", "digest", "idle_expires_at"),
    delete!("bff_owners", "owner, session", "expires_at"),
    delete!("notices", "digest", "expires_at"),
];

/// Deletes what has ended, [`AT_ONCE`] rows in a transaction.
pub(super) async fn sweep(writer: &SqlitePool, now: UnixTime) -> Result<(), StoreError> {
    let ended_at = integer(now.minus(ROW_LEEWAY).as_secs())?;
    for statement in STATEMENTS {
        loop {
            let deletion = sqlx::query(statement).bind(ended_at).bind(AT_ONCE);
            let deleted = deletion.execute(writer).await?.rows_affected();
            if deleted < u64::from(AT_ONCE) {
                break;
            }
        }
    }
    Ok(())
}
