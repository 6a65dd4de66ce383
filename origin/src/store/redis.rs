//! The store in Redis: one command or one script per intent, to whatever server has its rows.

mod address;
mod bff;
mod breaker;
mod cluster;
mod deadlines;
mod grants;
mod kept;
mod keys;
mod link;
mod notices;
mod reply;
mod script;
mod sentinel;
mod server_settings;
mod servers;
mod sessions;
mod slot;
mod statuses;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind, ToRedisArgs};

use shared::limits::ACCESS_TOKEN_EXPIRES_IN;
use shared::secret::{Sha256Digest, base64url};
use shared::status_list::StatusListId;
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

use super::{
    AccessName, AccessRow, Attempt, AttemptId, BffGrant, BffOpened, BffOwner, BffRenewal,
    BffSessionRecord, BffVersion, CodeRecord, CodeRedemption, GrantRecord, LateCode, LogoutNotice,
    NewGrant, Once, ROW_LEEWAY, Redeemed, RefreshRotation, Rotated, SessionGrant, SessionRecord,
    StatusBlock, Store, StoreError, TakenNotice, UserId, UserSession,
};
use crate::config::RedisSettings;

use self::address::Address;
use self::deadlines::Deadlines;
use self::grants::read_grant;
use self::keys::{
    STATUS_LIST_KEYS, STATUS_LISTS_KEY, access_key, access_keys, attempts_key, bff_owner_key,
    bff_session_key, code_key, grant_key, row_lives_in, session_grants_key, session_key,
};
use self::reply::{Reply, failed, read_client_id, unreadable};
use self::script::{
    ADVANCE_BFF_SESSION, COUNT_ATTEMPT, FINISH_REVOCATION, HOLD_REFRESH, KEEP_ATTEMPT,
    RENEW_BFF_SESSION, REVOKE_ACCESS, REVOKE_GRANT, Script, TAKE_SESSION, YIELD_BFF_RENEWAL,
};
use self::servers::{Servers, key_of};
use self::statuses::set_statuses;

/// How often the servers' settings are looked at, and whether Sentinel still names the same one.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The store in Redis.
pub struct Redis {
    servers: Servers,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis(..)")
    }
}

impl Redis {
    /// Connects to the server, the primary or the cluster of the settings.
    ///
    /// A server that is away is only warned of: every intent fails until it is back, and then
    /// works again. Warns of settings under which a crash loses rows.
    ///
    /// # Errors
    /// When the settings lead nowhere, or to a server that evicts rows: somebody would be logged
    /// out whenever memory is full, and a token whose row is gone cannot be revoked everywhere.
    /// The error does not repeat the URL, as it may hold a password.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, StoreError> {
        Self::connect_within(settings, Deadlines::default()).await
    }

    async fn connect_within(
        settings: &RedisSettings,
        deadlines: Deadlines,
    ) -> Result<Self, StoreError> {
        let address = Address::parse(settings).map_err(failed)?;
        let redis = Self { servers: Servers::new(address, settings.wait, deadlines) };
        match redis.ping().await {
            Ok(()) => {
                redis.servers.check().await;
                redis.refuse_eviction()?;
            }
            Err(error) => {
                tracing::warn!(%error, "Redis does not answer; trying again with every request");
            }
        }
        Ok(redis)
    }

    /// Looks at the servers' settings, and follows Sentinel, for as long as the process lives.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            self.servers.check().await;
        }
    }

    fn refuse_eviction(&self) -> Result<(), StoreError> {
        match self.servers.eviction() {
            None => Ok(()),
            Some(policy) => Err(StoreError(
                format!(
                    "Redis has maxmemory-policy {policy}, under which sign-ins disappear and \
                     revocations are not seen; set noeviction"
                )
                .into(),
            )),
        }
    }

    /// Runs one command about one key, which changes nothing that anybody is told of.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(command, false).await
    }

    /// Runs one command about one key, and waits until enough replicas have what it wrote.
    async fn write<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(command, true).await
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd, is_kept: bool) -> Result<T, StoreError> {
        let answer = self.servers.ask(key_of(command), command, is_kept).await.map_err(failed)?;
        redis::from_redis_value(answer).map_err(|error| failed(error.into()))
    }

    /// Runs one script, about rows of one slot. The server knows it by its digest; only when it
    /// does not is the whole text sent, which it then remembers.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, StoreError> {
        let first = keys.first().map(|key| key.as_bytes()).unwrap_or_default();
        let call = async |verb: &str, body: &str| {
            let mut command = redis::cmd(verb);
            command.arg(body).arg(keys.len()).arg(keys);
            arguments(&mut command);
            self.servers.ask(first, &command, script.is_kept).await
        };
        let answer = match call("EVALSHA", script.digest()).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", script.text).await
            }
            answer => answer,
        };
        redis::from_redis_value(answer.map_err(failed)?).map_err(|error| failed(error.into()))
    }

    /// Runs a script about one grant: those with `grant.lua` before them.
    async fn run_on_grant<T: FromRedisValue>(
        &self,
        script: &Script,
        grant_id: &GrantId,
        now: UnixTime,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, StoreError> {
        let (grant, code) = (grant_key(grant_id), code_key(grant_id));
        let access_keys = access_keys(grant_id);
        self.run(script, &[&grant, &code], |command| {
            command.arg(&access_keys).arg(now.as_secs()).arg(ROW_LEEWAY);
            arguments(command);
        })
        .await
    }
}

#[async_trait]
impl Store for Redis {
    async fn put_session(&self, session: &SessionRecord, now: UnixTime) -> Result<(), StoreError> {
        sessions::put(self, session, now).await
    }

    async fn find_session(
        &self,
        digest: &Sha256Digest,
        now: UnixTime,
    ) -> Result<Option<SessionRecord>, StoreError> {
        sessions::find_by_digest(self, digest, now).await
    }

    async fn take_session(&self, digest: &Sha256Digest) -> Result<Vec<SessionGrant>, StoreError> {
        let keys = [&*session_key(digest), &*session_grants_key(digest)];
        sessions::read_grants(&self.run::<Vec<String>>(&TAKE_SESSION, &keys, |_| ()).await?)
    }

    async fn spend_transaction(
        &self,
        digest: &Sha256Digest,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<Once, StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(format!("cadence:transaction:{}", digest.to_base64url())).arg(1);
        command.arg("NX").arg("EX").arg(row_lives_in(expires_at, now));
        let written: Option<String> = self.write(&command).await?;
        Ok(if written.is_some() { Once::First } else { Once::Again })
    }

    async fn put_code(&self, code: &CodeRecord, now: UnixTime) -> Result<usize, StoreError> {
        grants::put_code(self, code, now).await
    }

    async fn link_grants(
        &self,
        session: &Sha256Digest,
        grants: &[SessionGrant],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        if grants.is_empty() {
            return Ok(());
        }
        sessions::add_session_grants(self, session, grants, now).await.map(|_| ())
    }

    async fn redeem_code(
        &self,
        redemption: &CodeRedemption,
        now: UnixTime,
    ) -> Result<Redeemed, StoreError> {
        grants::redeem_code(self, redemption, now).await
    }

    async fn put_grant(&self, new: &NewGrant, now: UnixTime) -> Result<AccessRow, StoreError> {
        grants::put_grant(self, new, now).await
    }

    async fn rotate_refresh(
        &self,
        rotation: &RefreshRotation,
        now: UnixTime,
    ) -> Result<Rotated, StoreError> {
        grants::rotate_refresh(self, rotation, now).await
    }

    async fn hold_refresh(
        &self,
        grant_id: &GrantId,
        presented: &Sha256Digest,
        untold: &[AttemptId],
    ) -> Result<(), StoreError> {
        self.run(&HOLD_REFRESH, &[&grant_key(grant_id)], |command| {
            command.arg(presented.to_base64url());
            for attempt in untold {
                command.arg(attempt.to_base64url());
            }
        })
        .await
    }

    async fn find_access(
        &self,
        jti: &Jti,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        grants::find_access(self, jti, now).await
    }

    async fn find_refresh(
        &self,
        grant_id: &GrantId,
        digest: &Sha256Digest,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        let found = read_grant(self, grant_id, now).await?;
        Ok(found
            .filter(|(_, current)| Sha256Digest::parse(current).as_ref() == Some(digest))
            .map(|(grant, _)| grant))
    }

    async fn revoke_grant(&self, grant_id: &GrantId, now: UnixTime) -> Result<(), StoreError> {
        let statuses: Vec<Option<String>> =
            self.run_on_grant(&REVOKE_GRANT, grant_id, now, |_| ()).await?;
        set_statuses(self, statuses).await?;
        // What is not there may have been evicted, and what is written may be.
        self.refuse_eviction()
    }

    async fn finish_revocation(&self, grant_id: &GrantId, now: UnixTime) -> Result<(), StoreError> {
        let statuses: Vec<Option<String>> =
            self.run_on_grant(&FINISH_REVOCATION, grant_id, now, |_| ()).await?;
        set_statuses(self, statuses).await
    }

    async fn revoke_by_late_code(
        &self,
        code: &LateCode,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        grants::revoke_by_late_code(self, code, now).await
    }

    async fn revoke_access(&self, access: &AccessName, now: UnixTime) -> Result<(), StoreError> {
        let AccessName { jti, status } = access;
        let status: Vec<Option<String>> = self
            .run(&REVOKE_ACCESS, &[&access_key(jti)], |command| {
                command.arg(now.as_secs()).arg(status.list.to_string()).arg(status.idx);
                command.arg(ACCESS_TOKEN_EXPIRES_IN + ROW_LEEWAY);
            })
            .await?;
        set_statuses(self, status).await?;
        self.refuse_eviction()
    }

    async fn reserve_statuses(
        &self,
        new: &StatusListId,
        _now: UnixTime,
    ) -> Result<StatusBlock, StoreError> {
        statuses::reserve(self, new).await
    }

    async fn has_status_list(
        &self,
        list: &StatusListId,
        _now: UnixTime,
    ) -> Result<bool, StoreError> {
        self.ask(redis::cmd("EXISTS").arg(format!("{STATUS_LIST_KEYS}{list}"))).await
    }

    async fn find_status_list(
        &self,
        list: &StatusListId,
        _now: UnixTime,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(redis::cmd("GET").arg(format!("{STATUS_LIST_KEYS}{list}"))).await
    }

    async fn find_grant(
        &self,
        grant_id: &GrantId,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        Ok(read_grant(self, grant_id, now).await?.map(|(grant, _)| grant))
    }

    async fn count_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
        limit: u32,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<Attempt, StoreError> {
        let retry_in: u64 = self
            .run(&COUNT_ATTEMPT, &[&attempts_key(key)], |command| {
                command.arg(now.as_secs()).arg(limit).arg(attempt.to_base64url());
                command.arg(expires_at.as_secs()).arg(ROW_LEEWAY);
            })
            .await?;
        Ok(if retry_in == 0 { Attempt::Allowed } else { Attempt::Refused { retry_in } })
    }

    async fn keep_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.run(&KEEP_ATTEMPT, &[&attempts_key(key)], |command| {
            command.arg(now.as_secs()).arg(attempt.to_base64url());
            command.arg(expires_at.as_secs()).arg(ROW_LEEWAY);
        })
        .await
    }

    async fn return_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
    ) -> Result<(), StoreError> {
        self.ask(redis::cmd("ZREM").arg(attempts_key(key)).arg(attempt.to_base64url())).await
    }

    async fn forget_attempts(&self, key: &Sha256Digest) -> Result<(), StoreError> {
        self.ask(redis::cmd("DEL").arg(attempts_key(key))).await
    }

    async fn put_bff_session(
        &self,
        session: &BffSessionRecord,
        owners: &[BffOwner],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        bff::put(self, session, owners, now).await
    }

    async fn open_bff_session(
        &self,
        digest: &Sha256Digest,
        refused: Option<&BffVersion>,
        renewal: &BffRenewal,
        now: UnixTime,
    ) -> Result<BffOpened, StoreError> {
        bff::open(self, digest, refused, renewal, now).await
    }

    async fn renew_bff_session(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
        sealed: &str,
        renew_at: UnixTime,
    ) -> Result<bool, StoreError> {
        self.run(&RENEW_BFF_SESSION, &[&bff_session_key(digest)], |command| {
            command.arg(base64url(&renewal.0)).arg(renew_at.as_secs()).arg(sealed);
        })
        .await
    }

    async fn advance_bff_session(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
        sealed: &str,
    ) -> Result<bool, StoreError> {
        self.run(&ADVANCE_BFF_SESSION, &[&bff_session_key(digest)], |command| {
            command.arg(base64url(&renewal.0)).arg(sealed);
        })
        .await
    }

    async fn yield_bff_renewal(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
    ) -> Result<(), StoreError> {
        self.run(&YIELD_BFF_RENEWAL, &[&bff_session_key(digest)], |command| {
            command.arg(base64url(&renewal.0));
        })
        .await
    }

    async fn find_bff_grant(&self, digest: &Sha256Digest) -> Result<Option<BffGrant>, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(bff_session_key(digest)).arg(&["grant_id", "user_id", "client_id"]);
        let mut row = Reply(self.ask::<Vec<Option<String>>>(&command).await?.into_iter());
        let Some(grant_id) = row.optional() else { return Ok(None) };
        let grant_id = GrantId::parse(&grant_id).ok_or_else(|| unreadable("grant"))?;
        let user_id = UserId(row.text()?);
        Ok(Some(BffGrant { grant_id, user_id, client_id: read_client_id(&row.text()?)? }))
    }

    async fn list_bff_sessions(&self, owner: &BffOwner) -> Result<Vec<Sha256Digest>, StoreError> {
        let listed: Vec<String> =
            self.ask(redis::cmd("ZRANGE").arg(bff_owner_key(owner)).arg(0).arg(-1)).await?;
        let digest = |text: &String| Sha256Digest::parse(text).ok_or_else(|| unreadable("digest"));
        listed.iter().map(digest).collect()
    }

    async fn end_bff_session(&self, digest: &Sha256Digest) -> Result<(), StoreError> {
        self.write(redis::cmd("DEL").arg(bff_session_key(digest))).await
    }

    async fn find_session_grants(
        &self,
        session: &Sha256Digest,
    ) -> Result<Vec<SessionGrant>, StoreError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(session_grants_key(session));
        sessions::read_grants(&self.ask::<Vec<String>>(&command).await?)
    }

    async fn unlink_grants(
        &self,
        session: &Sha256Digest,
        grants: &[SessionGrant],
    ) -> Result<(), StoreError> {
        sessions::remove_session_grants(self, session, grants).await
    }

    async fn find_user_sessions(
        &self,
        user_id: &UserId,
        now: UnixTime,
    ) -> Result<Vec<UserSession>, StoreError> {
        sessions::find(self, user_id, now).await
    }

    async fn put_notices(
        &self,
        notices: &[LogoutNotice],
        due_at: UnixTime,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        notices::put(self, notices, due_at, now).await
    }

    async fn take_due_notices(
        &self,
        limit: u32,
        leased_until: UnixTime,
        now: UnixTime,
    ) -> Result<Vec<TakenNotice>, StoreError> {
        notices::take_due(self, limit, leased_until, now).await
    }

    async fn finish_notice(&self, taken: &TakenNotice) -> Result<(), StoreError> {
        notices::finish(self, taken).await
    }

    async fn put_off_notice(
        &self,
        taken: &TakenNotice,
        due_at: UnixTime,
    ) -> Result<(), StoreError> {
        notices::put_off(self, taken, due_at).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Not `PING`, which a server answers that has lost its cluster. Without the list, nothing
        // is issued.
        let _is_there: bool = self.ask(redis::cmd("EXISTS").arg(STATUS_LISTS_KEY)).await?;
        self.refuse_eviction()
    }
}

fn field(command: &mut Cmd, name: &str, value: impl ToRedisArgs) {
    command.arg(name).arg(value);
}
