//! Rows of the embedded database whose time is over.

use shared::time::UnixTime;
use sqlx::SqlitePool;

use super::columns::integer;
use crate::store::{ROW_LEEWAY, StoreError};

/// Rows of one kind that one transaction deletes at most, so that no request waits long for its turn.
pub(super) const AT_ONCE: u32 = 200;

/// Deletes so many at most of what ended before a time.
const STATEMENTS: [&str; 11] = [
    "DELETE FROM access_tokens WHERE (grant_id, number) IN \
     (SELECT grant_id, number FROM access_tokens WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM codes WHERE grant_id IN \
     (SELECT grant_id FROM codes WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM grants WHERE grant_id IN \
     (SELECT grant_id FROM grants WHERE idle_expires_at < ? LIMIT ?)",
    "DELETE FROM session_grants WHERE (session, grant_id) IN \
     (SELECT session, grant_id FROM session_grants WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM sessions WHERE digest IN \
     (SELECT digest FROM sessions WHERE idle_expires_at < ? LIMIT ?)",
    "DELETE FROM transactions WHERE digest IN \
     (SELECT digest FROM transactions WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM attempts WHERE (digest, attempt) IN \
     (SELECT digest, attempt FROM attempts WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM status_lists WHERE list IN \
     (SELECT list FROM status_lists WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM bff_sessions WHERE digest IN \
     (SELECT digest FROM bff_sessions WHERE idle_expires_at < ? LIMIT ?)",
    "DELETE FROM bff_owners WHERE (owner, session) IN \
     (SELECT owner, session FROM bff_owners WHERE expires_at < ? LIMIT ?)",
    "DELETE FROM notices WHERE digest IN \
     (SELECT digest FROM notices WHERE expires_at < ? LIMIT ?)",
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
