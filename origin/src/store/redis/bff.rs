//! Sessions of the backend-for-frontend in Redis.

use shared::limits::{BFF_RENEWAL_IN, BFF_SESSION_IDLE_IN};
use shared::secret::{Sha256Digest, base64url};
use shared::time::UnixTime;
use shared::token::GrantId;

use super::keys::{bff_owner_key, bff_session_key, row_lives_in};
use super::reply::{Reply, read_client_id, unreadable};
use super::script::{LIST_SESSION, OPEN_BFF_SESSION, PUT_ROW};
use super::{Redis, field};
use crate::store::{
    BffOpened, BffOwner, BffRenewal, BffSessionRecord, BffVersion, ROW_LEEWAY, StoreError, UserId,
};

/// Writes a session down. Its owners lie in other slots, so these are several steps, and the
/// owners come first: a session that is alive is listed.
pub(super) async fn put(
    redis: &Redis,
    session: &BffSessionRecord,
    owners: &[BffOwner],
    now: UnixTime,
) -> Result<(), StoreError> {
    for owner in owners {
        let () = redis
            .run(&LIST_SESSION, &[&bff_owner_key(owner)], |command| {
                command.arg(session.digest.to_base64url()).arg(session.expires_at.as_secs());
                command.arg(now.as_secs()).arg(ROW_LEEWAY);
            })
            .await?;
    }
    let idle_expires_at = session.expires_at.min(now.plus(BFF_SESSION_IDLE_IN));
    redis
        .run(&PUT_ROW, &[&bff_session_key(&session.digest)], |command| {
            command.arg(row_lives_in(idle_expires_at, now));
            field(command, "version", 0);
            field(command, "user_id", &session.user_id.0);
            field(command, "client_id", session.client_id.as_str());
            field(command, "grant_id", session.grant_id.to_string());
            field(command, "auth_time", session.auth_time.as_secs());
            field(command, "expires_at", session.expires_at.as_secs());
            field(command, "idle_expires_at", idle_expires_at.as_secs());
            field(command, "renew_at", session.renew_at.as_secs());
            field(command, "sealed", &session.sealed);
        })
        .await
}

pub(super) async fn open(
    redis: &Redis,
    digest: &Sha256Digest,
    refused: Option<&BffVersion>,
    renewal: &BffRenewal,
    now: UnixTime,
) -> Result<BffOpened, StoreError> {
    let reply: Vec<Option<String>> = redis
        .run(&OPEN_BFF_SESSION, &[&bff_session_key(digest)], |command| {
            command
                .arg(now.as_secs())
                .arg(now.plus(BFF_SESSION_IDLE_IN).as_secs())
                .arg(ROW_LEEWAY)
                .arg(refused.map(|version| version.0.to_string()).unwrap_or_default())
                .arg(base64url(&renewal.0))
                .arg(now.plus(BFF_RENEWAL_IN).as_secs());
        })
        .await?;
    let mut reply = Reply(reply.into_iter());
    let verdict = reply.text()?;
    match verdict.as_str() {
        "missing" => return Ok(BffOpened::Missing),
        "underway" => return Ok(BffOpened::Underway),
        _ => {}
    }
    let version = BffVersion(reply.number()?);
    let session = BffSessionRecord {
        digest: *digest,
        user_id: UserId(reply.text()?),
        client_id: read_client_id(&reply.text()?)?,
        grant_id: GrantId::parse(&reply.text()?).ok_or_else(|| unreadable("grant"))?,
        auth_time: reply.time()?,
        expires_at: reply.time()?,
        renew_at: reply.time()?,
        sealed: reply.text()?,
    };
    match verdict.as_str() {
        "current" => Ok(BffOpened::Current(session, version)),
        "renew" => Ok(BffOpened::Renew { session, was_begun: false }),
        "resume" => Ok(BffOpened::Renew { session, was_begun: true }),
        _ => Err(unreadable("reply")),
    }
}
