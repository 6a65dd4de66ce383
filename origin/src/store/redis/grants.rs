//! Codes, grants and access tokens in Redis.

use redis::Cmd;

use shared::limits::{ACCESS_TOKENS_OF_A_GRANT, REFRESH_GRACE_IN};
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::status_list::StatusIndex;
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

use super::keys::{access_key, code_key, grant_key, row_lives_in};
use super::reply::{Reply, read_client_id, unreadable};
use super::script::{
    FIND_ACCESS, PUT_GRANT, PUT_ROW, REDEEM_CODE, REVOKE_BY_LATE_CODE, ROTATE_REFRESH,
};
use super::sessions::add_session_grants;
use super::statuses::set_statuses;
use super::{Redis, field};
use crate::store::{
    AccessRow, CodeRecord, CodeRedemption, Ends, GrantRecord, LateCode, NewGrant, PRESENTATIONS,
    Redeemed, RefreshRotation, Rotated, SessionGrant, StoreError, UserId,
};

pub(super) async fn put_code(
    redis: &Redis,
    code: &CodeRecord,
    now: UnixTime,
) -> Result<usize, StoreError> {
    // Session and grant lie in different slots, so these are two steps. The code comes first:
    // a logout in between finds the session ended, and the code is taken back before its
    // client has seen it.
    let code_key = code_key(&code.grant_id);
    let () = redis
        .run(&PUT_ROW, &[&code_key], |command| {
            command.arg(row_lives_in(code.expires_at, now));
            field(command, "digest", code.digest.to_base64url());
            field(command, "binding", code.binding.to_base64url());
            field(command, "client_id", code.client_id.as_str());
            field(command, "user_id", &code.user_id.0);
            field(command, "scope", code.scope.to_string());
            field(command, "auth_time", code.auth_time.as_secs());
            field(command, "session", code.session.to_base64url());
            field(command, "expires_at", code.expires_at.as_secs());
            if let Some(nonce) = &code.nonce {
                field(command, "nonce", nonce);
            }
        })
        .await?;
    let count = add_session_grants(redis, &code.session, &[SessionGrant::of(code)], now).await?;
    if count == 0 {
        let () = redis.write(redis::cmd("DEL").arg(&code_key)).await?;
    }
    Ok(count)
}

pub(super) async fn redeem_code(
    redis: &Redis,
    redemption: &CodeRedemption,
    now: UnixTime,
) -> Result<Redeemed, StoreError> {
    let CodeRedemption { grant_id, client_id, .. } = redemption;
    let ends = redemption.ends(now);
    let reply: Vec<Option<String>> = redis
        .run_on_grant(&REDEEM_CODE, grant_id, now, |command| {
            command
                .arg(redemption.digest.to_base64url())
                .arg(redemption.binding.to_base64url())
                .arg(client_id.as_str())
                .arg(optional_digest(redemption.refresh.as_ref()));
            add_ends(command, &ends);
            add_status(command, &redemption.status);
        })
        .await?;
    let mut reply = Reply(reply.into_iter());
    match reply.text()?.as_str() {
        "once" => Ok(Redeemed::Once {
            grant: GrantRecord {
                grant_id: *grant_id,
                client_id: client_id.clone(),
                user_id: UserId(reply.text()?),
                scope: reply.scope()?,
                auth_time: reply.time()?,
                expires_at: ends.grant,
            },
            session: Sha256Digest::parse(&reply.text()?).ok_or_else(|| unreadable("digest"))?,
            nonce: reply.optional(),
            access: AccessRow::first(*grant_id, &ends, redemption.status),
        }),
        "replayed" => {
            set_statuses(redis, reply.0).await?;
            Ok(Redeemed::Replayed)
        }
        "mismatched" => Ok(Redeemed::Mismatched),
        "missing" => Ok(Redeemed::Missing),
        _ => Err(unreadable("reply")),
    }
}

pub(super) async fn put_grant(
    redis: &Redis,
    new: &NewGrant,
    now: UnixTime,
) -> Result<AccessRow, StoreError> {
    let grant = &new.grant;
    let refresh = new.refresh.as_ref();
    let ends = new.ends(now);
    let () = redis
        .run_on_grant(&PUT_GRANT, &grant.grant_id, now, |command| {
            command
                .arg(grant.client_id.as_str())
                .arg(&grant.user_id.0)
                .arg(grant.scope.to_string())
                .arg(grant.auth_time.as_secs())
                .arg(optional_digest(refresh));
            add_ends(command, &ends);
            add_status(command, &new.status);
        })
        .await?;
    Ok(AccessRow::first(grant.grant_id, &ends, new.status))
}

pub(super) async fn rotate_refresh(
    redis: &Redis,
    rotation: &RefreshRotation,
    now: UnixTime,
) -> Result<Rotated, StoreError> {
    let RefreshRotation { grant_id, client_id, .. } = rotation;
    let reply: Vec<Option<String>> = redis
        .run_on_grant(&ROTATE_REFRESH, grant_id, now, |command| {
            command
                .arg(client_id.as_str())
                .arg(rotation.generation)
                .arg(rotation.presented.to_base64url())
                .arg(rotation.successor.to_base64url())
                .arg(rotation.scope.as_ref().map(Scope::to_string).unwrap_or_default())
                .arg(rotation.access_expires_at.as_secs())
                .arg(now.plus(rotation.refresh_idle_in).as_secs())
                .arg(REFRESH_GRACE_IN);
            add_status(command, &rotation.status);
            command
                .arg(ACCESS_TOKENS_OF_A_GRANT)
                .arg(PRESENTATIONS)
                .arg(rotation.attempt.to_base64url());
            for attempt in &rotation.untold {
                command.arg(attempt.to_base64url());
            }
        })
        .await?;
    let mut reply = Reply(reply.into_iter());
    let is_next = match reply.text()?.as_str() {
        "next" => true,
        "repeated" => false,
        "reused" => {
            set_statuses(redis, reply.0).await?;
            return Ok(Rotated::Reused);
        }
        "scope_exceeded" => return Ok(Rotated::ScopeExceeded),
        "crowded" => return Ok(Rotated::Crowded),
        "missing" => {
            set_statuses(redis, reply.0).await?;
            return Ok(Rotated::Missing);
        }
        _ => return Err(unreadable("reply")),
    };
    let grant = GrantRecord {
        grant_id: *grant_id,
        client_id: client_id.clone(),
        user_id: UserId(reply.text()?),
        scope: reply.scope()?,
        auth_time: reply.time()?,
        expires_at: reply.time()?,
    };
    let jti = Jti { grant_id: *grant_id, number: reply.number()? };
    let access = AccessRow { jti, expires_at: reply.time()?, status: rotation.status };
    if is_next {
        return Ok(Rotated::Next { grant, access });
    }
    let current = Sha256Digest::parse(&reply.text()?).ok_or_else(|| unreadable("digest"))?;
    Ok(Rotated::Repeated { grant, access, current })
}

pub(super) async fn find_access(
    redis: &Redis,
    jti: &Jti,
    now: UnixTime,
) -> Result<Option<GrantRecord>, StoreError> {
    let keys = [&*grant_key(&jti.grant_id), &*access_key(jti)];
    let reply: Option<Vec<Option<String>>> = redis
        .run(&FIND_ACCESS, &keys, |command| {
            command.arg(now.as_secs()).arg(REFRESH_GRACE_IN);
        })
        .await?;
    let Some(reply) = reply else {
        return Ok(None);
    };
    let mut reply = Reply(reply.into_iter());
    Ok(Some(GrantRecord {
        grant_id: jti.grant_id,
        client_id: read_client_id(&reply.text()?)?,
        user_id: UserId(reply.text()?),
        scope: reply.scope()?,
        auth_time: reply.time()?,
        expires_at: reply.time()?,
    }))
}

pub(super) async fn revoke_by_late_code(
    redis: &Redis,
    code: &LateCode,
    now: UnixTime,
) -> Result<bool, StoreError> {
    let reply: Vec<Option<String>> = redis
        .run_on_grant(&REVOKE_BY_LATE_CODE, &code.grant_id, now, |command| {
            command.arg(code.digest.to_base64url()).arg(code.client_id.as_str());
        })
        .await?;
    let mut reply = Reply(reply.into_iter());
    let is_revoked = reply.optional().is_some();
    set_statuses(redis, reply.0).await?;
    Ok(is_revoked)
}

/// Reads the row of a grant that is neither revoked nor ended, and its current refresh token.
pub(super) async fn read_grant(
    redis: &Redis,
    grant_id: &GrantId,
    now: UnixTime,
) -> Result<Option<(GrantRecord, String)>, StoreError> {
    const FIELDS: &[&str] = &[
        "client_id",
        "user_id",
        "scope",
        "auth_time",
        "expires_at",
        "idle_expires_at",
        "current",
        "revoked_at",
    ];
    let mut command = redis::cmd("HMGET");
    command.arg(grant_key(grant_id)).arg(FIELDS);
    let mut row = Reply(redis.ask::<Vec<Option<String>>>(&command).await?.into_iter());
    let Some(client_id) = row.optional() else {
        return Ok(None);
    };
    let grant = GrantRecord {
        grant_id: *grant_id,
        client_id: read_client_id(&client_id)?,
        user_id: UserId(row.text()?),
        scope: row.scope()?,
        auth_time: row.time()?,
        expires_at: row.time()?,
    };
    let is_live = now < row.time()?;
    let current = row.text()?;
    let is_revoked = row.optional().is_some();
    Ok((is_live && !is_revoked).then_some((grant, current)))
}

fn add_ends(command: &mut Cmd, ends: &Ends) {
    command.arg(ends.grant.as_secs()).arg(ends.idle.as_secs()).arg(ends.access.as_secs());
}

fn add_status(command: &mut Cmd, status: &StatusIndex) {
    command.arg(status.list.to_string()).arg(status.idx);
}

/// The scripts write "no digest" as the empty text.
fn optional_digest(digest: Option<&Sha256Digest>) -> String {
    digest.map(Sha256Digest::to_base64url).unwrap_or_default()
}
