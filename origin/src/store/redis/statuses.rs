//! Status lists in Redis.

use shared::limits::{
    ACCESS_TOKEN_EXPIRES_IN, STATUS_BLOCK_LEN, STATUS_LIST_KEPT_IN, STATUS_LIST_LEN,
};
use shared::status_list::StatusListId;

use super::Redis;
use super::keys::{STATUS_LIST_KEYS, STATUS_LISTS_KEY};
use super::reply::{Reply, unreadable};
use super::script::{RESERVE_STATUSES, SET_STATUSES};
use crate::store::{ROW_LEEWAY, StatusBlock, StoreError};

/// Statuses that one script sets at most: a few milliseconds, in which the server does nothing else.
const SET_AT_ONCE: usize = 1_000;

/// Sets the statuses that a revocation has returned: lists and indices in turn.
pub(super) async fn set_statuses(
    redis: &Redis,
    lists_and_indices: impl IntoIterator<Item = Option<String>>,
) -> Result<(), StoreError> {
    let statuses: Vec<String> = lists_and_indices.into_iter().flatten().collect();
    for some in statuses.chunks(2 * SET_AT_ONCE) {
        let mut keys: Vec<String> = Vec::new();
        let mut places = Vec::new();
        for status in some.chunks_exact(2) {
            let [list, idx] = status else { continue };
            let key = format!("{STATUS_LIST_KEYS}{list}");
            let known = keys.iter().position(|known| *known == key);
            let at = known.unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
            places.extend([(at + 1).to_string(), idx.clone()]);
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let () = redis
            .run(&SET_STATUSES, &keys, |command| {
                command.arg(ACCESS_TOKEN_EXPIRES_IN + ROW_LEEWAY).arg(&places);
            })
            .await?;
    }
    Ok(())
}

pub(super) async fn reserve(redis: &Redis, new: &StatusListId) -> Result<StatusBlock, StoreError> {
    let reply: Vec<Option<String>> = redis
        .run(&RESERVE_STATUSES, &[STATUS_LISTS_KEY], |command| {
            command.arg(STATUS_LIST_KEYS).arg(new.to_string());
            command.arg(STATUS_LIST_LEN).arg(STATUS_BLOCK_LEN).arg(STATUS_LIST_KEPT_IN);
        })
        .await?;
    let mut reply = Reply(reply.into_iter());
    let list = StatusListId::parse(&reply.text()?).ok_or_else(|| unreadable("list"))?;
    let first = u32::try_from(reply.number()?).map_err(|_| unreadable("index"))?;
    Ok(StatusBlock { list, first })
}
