//! The store in Redis: one command or one script per intent, over one connection.
//!
//! Only a connection that answers in time is kept. Replies come in the order of the requests, and
//! a request that timed out keeps its place in that order, so its late reply meets nobody; the
//! connection is given up all the same, because it may be dead.

mod bff;
mod keys;
mod link;
mod notices;
mod reply;
mod script;
mod sessions;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use async_trait::async_trait;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, ServerErrorKind, ToRedisArgs};

use shared::limits::{
    ACCESS_TOKEN_EXPIRES_IN, LOGIN_SESSION_IDLE_IN, REFRESH_GRACE_IN, STATUS_BLOCK_LEN,
    STATUS_LIST_KEPT_IN, STATUS_LIST_LEN,
};
use shared::scope::Scope;
use shared::secret::{Sha256Digest, base64url};
use shared::status_list::{StatusIndex, StatusListId};
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

use super::{
    AccessRow, Attempt, BffGrant, BffOpened, BffOwner, BffRenewal, BffSessionRecord, BffVersion,
    CodeRecord, CodeRedemption, Ends, GrantRecord, LateCode, LogoutNotice, NewGrant, Once,
    ROW_LEEWAY, Redeemed, RefreshRotation, Rotated, SessionGrant, SessionRecord, StatusBlock,
    Store, StoreError, TakenNotice, UserId, UserSession,
};

use self::keys::{
    STATUS_LIST_KEYS, STATUS_LISTS_KEY, access_key, attempts_key, bff_owner_key, bff_session_key,
    code_key, grant_key, row_lives_in, session_grants_key, session_key,
};
use self::link::Link;
use self::reply::{Reply, failed, read_client_id, unreadable};
use self::script::{
    ADD_SESSION_GRANTS, ADVANCE_BFF_SESSION, COUNT_ATTEMPT, FIND_ACCESS, FIND_SESSION,
    FINISH_REVOCATION, HOLD_REFRESH, PUT_GRANT, PUT_ROW, REDEEM_CODE, RENEW_BFF_SESSION,
    RESERVE_STATUSES, RETURN_ATTEMPT, REVOKE_ACCESS, REVOKE_BY_LATE_CODE, REVOKE_GRANT,
    ROTATE_REFRESH, SET_STATUSES, Script, TAKE_SESSION, YIELD_BFF_RENEWAL,
};

/// How long one intent may take, connecting included. Whoever asked gets a 503 then, well before
/// the origin's own deadline.
pub const COMMAND_DEADLINE: Duration = Duration::from_millis(500);

/// Statuses that one script sets at most: a few milliseconds, in which the server does nothing else.
const STATUSES_SET_AT_ONCE: usize = 1_000;

/// The store in Redis.
pub struct Redis {
    link: Link,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis(..)")
    }
}

impl Redis {
    /// Connects to the server at `url` (`redis://…`, `redis+unix://…`).
    ///
    /// A server that is away is only warned of: every intent fails until it is back, and then
    /// works again. Warns of settings under which rows can disappear.
    ///
    /// # Errors
    /// When `url` is not one that can be connected to. The error does not repeat it, as it may
    /// hold a password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let redis = Self { link: Link::new(Client::open(url).map_err(failed)?) };
        if let Err(error) = redis.ping().await {
            tracing::warn!(%error, "Redis does not answer; trying again with every request");
        }
        Ok(redis)
    }

    /// Runs one command.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.link.ask(command).await.map_err(failed)
    }

    /// Runs one script. The server knows it by its digest; only when it does not is the whole
    /// text sent, which it then remembers.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, StoreError> {
        let call = |verb: &str, body: &str| {
            let mut command = redis::cmd(verb);
            command.arg(body).arg(keys.len()).arg(keys);
            arguments(&mut command);
            command
        };
        match self.link.ask(&call("EVALSHA", script.digest())).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.link.ask(&call("EVAL", script.text)).await
            }
            answer => answer,
        }
        .map_err(failed)
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
        let access_keys = format!("cadence:jti:{{{grant_id}}}:");
        self.run(script, &[&grant, &code], |command| {
            command.arg(&access_keys).arg(now.as_secs()).arg(ROW_LEEWAY);
            arguments(command);
        })
        .await
    }

    /// Sets the statuses that a revocation has returned: lists and indices in turn.
    async fn set_statuses(
        &self,
        lists_and_indices: impl IntoIterator<Item = Option<String>>,
    ) -> Result<(), StoreError> {
        let statuses: Vec<String> = lists_and_indices.into_iter().flatten().collect();
        for some in statuses.chunks(2 * STATUSES_SET_AT_ONCE) {
            let () = self
                .run(&SET_STATUSES, &[STATUS_LISTS_KEY], |command| {
                    command.arg(STATUS_LIST_KEYS).arg(ACCESS_TOKEN_EXPIRES_IN + ROW_LEEWAY);
                    command.arg(some);
                })
                .await?;
        }
        Ok(())
    }

    /// Remembers grants under a session; tells whether the session is live.
    async fn add_session_grants(
        &self,
        session: &Sha256Digest,
        grants: &[SessionGrant],
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let keys = [&*session_key(session), &*session_grants_key(session)];
        self.run(&ADD_SESSION_GRANTS, &keys, |command| {
            command.arg(now.as_secs()).arg(ROW_LEEWAY);
            for grant in grants {
                command.arg(grant.to_text());
            }
        })
        .await
    }

    /// Reads the row of a grant that is neither revoked nor ended, and its current refresh token.
    async fn read_grant(
        &self,
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
        let mut row = Reply(self.ask::<Vec<Option<String>>>(&command).await?.into_iter());
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
        let row: Option<Vec<Option<String>>> = self
            .run(&FIND_SESSION, &[&session_key(digest)], |command| {
                let idle_expires_at = now.plus(LOGIN_SESSION_IDLE_IN);
                command.arg(now.as_secs()).arg(idle_expires_at.as_secs()).arg(ROW_LEEWAY);
            })
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let mut row = Reply(row.into_iter());
        Ok(Some(SessionRecord {
            digest: *digest,
            user_id: UserId(row.text()?),
            auth_time: row.time()?,
            expires_at: row.time()?,
            user_agent: row.optional(),
            address: row.address()?,
        }))
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
        let written: Option<String> = self.ask(&command).await?;
        Ok(if written.is_some() { Once::First } else { Once::Again })
    }

    async fn put_code(&self, code: &CodeRecord, now: UnixTime) -> Result<(), StoreError> {
        // Session and grant lie in different slots, so these are two steps. The code comes first:
        // a logout in between finds the session ended, and the code is taken back before its
        // client has seen it.
        let code_key = code_key(&code.grant_id);
        let () = self
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
        if self.add_session_grants(&code.session, &[SessionGrant::of(code)], now).await? {
            return Ok(());
        }
        self.ask(redis::cmd("DEL").arg(&code_key)).await
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
        self.add_session_grants(session, grants, now).await.map(|_| ())
    }

    async fn redeem_code(
        &self,
        redemption: &CodeRedemption,
        now: UnixTime,
    ) -> Result<Redeemed, StoreError> {
        let CodeRedemption { grant_id, client_id, .. } = redemption;
        let ends = Ends::of(
            redemption.refresh.as_ref(),
            redemption.access_expires_at,
            redemption.grant_expires_at,
            redemption.refresh_idle_in,
            now,
        );
        let reply: Vec<Option<String>> = self
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
                access: first_access(grant_id, &ends, redemption.status),
            }),
            "replayed" => {
                self.set_statuses(reply.0).await?;
                Ok(Redeemed::Replayed)
            }
            "mismatched" => Ok(Redeemed::Mismatched),
            "missing" => Ok(Redeemed::Missing),
            _ => Err(unreadable("reply")),
        }
    }

    async fn put_grant(&self, new: &NewGrant, now: UnixTime) -> Result<AccessRow, StoreError> {
        let grant = &new.grant;
        let refresh = new.refresh.as_ref();
        let ends =
            Ends::of(refresh, new.access_expires_at, grant.expires_at, new.refresh_idle_in, now);
        let () = self
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
        Ok(first_access(&grant.grant_id, &ends, new.status))
    }

    async fn rotate_refresh(
        &self,
        rotation: &RefreshRotation,
        now: UnixTime,
    ) -> Result<Rotated, StoreError> {
        let RefreshRotation { grant_id, client_id, .. } = rotation;
        let reply: Vec<Option<String>> = self
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
            })
            .await?;
        let mut reply = Reply(reply.into_iter());
        let is_next = match reply.text()?.as_str() {
            "next" => true,
            "repeated" => false,
            "reused" => {
                self.set_statuses(reply.0).await?;
                return Ok(Rotated::Reused);
            }
            "scope_exceeded" => return Ok(Rotated::ScopeExceeded),
            "missing" => {
                self.set_statuses(reply.0).await?;
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

    async fn hold_refresh(
        &self,
        grant_id: &GrantId,
        presented: &Sha256Digest,
    ) -> Result<(), StoreError> {
        self.run(&HOLD_REFRESH, &[&grant_key(grant_id)], |command| {
            command.arg(presented.to_base64url());
        })
        .await
    }

    async fn find_access(
        &self,
        jti: &Jti,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        let keys = [&*grant_key(&jti.grant_id), &*access_key(jti)];
        let reply: Option<Vec<Option<String>>> = self
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

    async fn find_refresh(
        &self,
        grant_id: &GrantId,
        digest: &Sha256Digest,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        let found = self.read_grant(grant_id, now).await?;
        Ok(found
            .filter(|(_, current)| Sha256Digest::parse(current).as_ref() == Some(digest))
            .map(|(grant, _)| grant))
    }

    async fn revoke_grant(&self, grant_id: &GrantId, now: UnixTime) -> Result<(), StoreError> {
        let statuses: Vec<Option<String>> =
            self.run_on_grant(&REVOKE_GRANT, grant_id, now, |_| ()).await?;
        self.set_statuses(statuses).await
    }

    async fn finish_revocation(&self, grant_id: &GrantId, now: UnixTime) -> Result<(), StoreError> {
        let statuses: Vec<Option<String>> =
            self.run_on_grant(&FINISH_REVOCATION, grant_id, now, |_| ()).await?;
        self.set_statuses(statuses).await
    }

    async fn revoke_by_late_code(
        &self,
        code: &LateCode,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let reply: Vec<Option<String>> = self
            .run_on_grant(&REVOKE_BY_LATE_CODE, &code.grant_id, now, |command| {
                command.arg(code.digest.to_base64url()).arg(code.client_id.as_str());
            })
            .await?;
        let mut reply = Reply(reply.into_iter());
        let is_revoked = reply.optional().is_some();
        self.set_statuses(reply.0).await?;
        Ok(is_revoked)
    }

    async fn revoke_access(&self, jti: &Jti, now: UnixTime) -> Result<(), StoreError> {
        let status: Vec<Option<String>> = self
            .run(&REVOKE_ACCESS, &[&access_key(jti)], |command| {
                command.arg(now.as_secs());
            })
            .await?;
        self.set_statuses(status).await
    }

    async fn reserve_statuses(
        &self,
        new: &StatusListId,
        _now: UnixTime,
    ) -> Result<StatusBlock, StoreError> {
        let reply: Vec<Option<String>> = self
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
        Ok(self.read_grant(grant_id, now).await?.map(|(grant, _)| grant))
    }

    async fn count_attempt(
        &self,
        key: &Sha256Digest,
        limit: u32,
        window_in: u64,
        now: UnixTime,
    ) -> Result<Attempt, StoreError> {
        let retry_in: u64 = self
            .run(&COUNT_ATTEMPT, &[&attempts_key(key)], |command| {
                command.arg(now.as_secs()).arg(limit).arg(window_in).arg(ROW_LEEWAY);
            })
            .await?;
        Ok(if retry_in == 0 { Attempt::Allowed } else { Attempt::Refused { retry_in } })
    }

    async fn return_attempt(&self, key: &Sha256Digest) -> Result<(), StoreError> {
        self.run(&RETURN_ATTEMPT, &[&attempts_key(key)], |_| ()).await
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
        self.ask(redis::cmd("DEL").arg(bff_session_key(digest))).await
    }

    async fn find_session_grants(
        &self,
        session: &Sha256Digest,
    ) -> Result<Vec<SessionGrant>, StoreError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(session_grants_key(session));
        sessions::read_grants(&self.ask::<Vec<String>>(&command).await?)
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
        self.ask(&redis::cmd("PING")).await
    }
}

fn field(command: &mut Cmd, name: &str, value: impl ToRedisArgs) {
    command.arg(name).arg(value);
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

fn first_access(grant_id: &GrantId, ends: &Ends, status: StatusIndex) -> AccessRow {
    let jti = Jti { grant_id: *grant_id, number: 1 };
    AccessRow { jti, expires_at: ends.access, status }
}
