//! Notices in Redis.

use shared::claims::SessionId;
use shared::limits::LOGOUT_NOTICE_EXPIRES_IN;
use shared::time::UnixTime;

use super::Redis;
use super::keys::{NOTICE_KEYS, NOTICES_GUARD_KEY, NOTICES_KEY};
use super::reply::{Reply, read_client_id, unreadable};
use super::script::{FINISH_NOTICE, PUT_NOTICES, PUT_OFF_NOTICE, TAKE_DUE_NOTICES};
use crate::store::{LogoutNotice, ROW_LEEWAY, StoreError, TakenNotice, UserId};

pub(super) async fn put(
    redis: &Redis,
    notices: &[LogoutNotice],
    due_at: UnixTime,
    now: UnixTime,
) -> Result<(), StoreError> {
    if notices.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = notices.iter().map(key).collect();
    let keys: Vec<&str> =
        [NOTICES_KEY].into_iter().chain(keys.iter().map(String::as_str)).collect();
    redis
        .run(&PUT_NOTICES, &keys, |command| {
            command.arg(now.as_secs()).arg(due_at.as_secs());
            command.arg(now.plus(LOGOUT_NOTICE_EXPIRES_IN).as_secs()).arg(ROW_LEEWAY);
            for notice in notices {
                command.arg(notice.digest().to_base64url()).arg(notice.client_id.as_str());
                command.arg(&notice.user_id.0).arg(notice.sid.as_str());
            }
        })
        .await
}

pub(super) async fn take_due(
    redis: &Redis,
    limit: u32,
    leased_until: UnixTime,
    now: UnixTime,
) -> Result<Vec<TakenNotice>, StoreError> {
    const FIELDS: usize = 5;
    let reply: Vec<Option<String>> = redis
        .run(&TAKE_DUE_NOTICES, &[NOTICES_KEY, NOTICES_GUARD_KEY], |command| {
            command.arg(NOTICE_KEYS).arg(now.as_secs()).arg(limit).arg(leased_until.as_secs());
        })
        .await?;
    let count = reply.len() / FIELDS;
    let mut reply = Reply(reply.into_iter());
    (0..count).map(|_| read(&mut reply)).collect()
}

fn key(notice: &LogoutNotice) -> String {
    format!("{NOTICE_KEYS}{}", notice.digest().to_base64url())
}

fn read(reply: &mut Reply) -> Result<TakenNotice, StoreError> {
    let notice = LogoutNotice {
        client_id: read_client_id(&reply.text()?)?,
        user_id: UserId(reply.text()?),
        sid: SessionId::parse(&reply.text()?).ok_or_else(|| unreadable("sid"))?,
    };
    let attempt = u32::try_from(reply.number()?).map_err(|_| unreadable("attempt"))?;
    Ok(TakenNotice { notice, attempt, expires_at: reply.time()? })
}

pub(super) async fn finish(redis: &Redis, taken: &TakenNotice) -> Result<(), StoreError> {
    let digest = taken.notice.digest().to_base64url();
    let keys = [NOTICES_KEY, &*key(&taken.notice)];
    redis
        .run(&FINISH_NOTICE, &keys, |command| {
            command.arg(&digest).arg(taken.attempt);
        })
        .await
}

pub(super) async fn put_off(
    redis: &Redis,
    taken: &TakenNotice,
    due_at: UnixTime,
) -> Result<(), StoreError> {
    let digest = taken.notice.digest().to_base64url();
    let keys = [NOTICES_KEY, &*key(&taken.notice)];
    redis
        .run(&PUT_OFF_NOTICE, &keys, |command| {
            command.arg(&digest).arg(taken.attempt).arg(due_at.as_secs());
        })
        .await
}
