//! The store in an embedded SQLite database: durable, and nothing to set up.
//!
//! Whatever decides and writes does both in one transaction of the only connection that writes.

mod attempts;
mod bff;
mod columns;
mod grants;
mod notices;
mod sessions;
mod statuses;
#[cfg(test)]
mod tests;

use std::path::Path;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::{Row as _, Sqlite, Transaction};

use shared::limits::ACCESS_TOKENS_OF_A_GRANT;
use shared::secret::Sha256Digest;
use shared::status_list::StatusListId;
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

use self::columns::{
    bytes, integer, read_client_id, read_digest, read_scope, read_time, seconds, unreadable,
};
use self::grants::{GrantRow, begin_grant, count_alive, put_access, revoke};
use super::sqlite_file::{BEGIN_WRITE, SqliteFile};
use super::{
    AccessName, AccessRow, Asked, Attempt, AttemptId, BffGrant, BffOpened, BffOwner, BffRenewal,
    BffSessionRecord, BffVersion, CodeRecord, CodeRedemption, Ends, GrantRecord, LateCode,
    LogoutNotice, NewGrant, Once, Presented, ROW_LEEWAY, Redeemed, RefreshRotation, Rotated,
    SessionGrant, SessionRecord, StatusBlock, Store, StoreError, TakenNotice, UserId, UserSession,
};
use crate::schema::Schema;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite/store");

/// Rows of one kind that one transaction of [`Embedded::sweep`] deletes at most, so that no
/// request waits long for its turn.
const SWEPT_AT_ONCE: u32 = 200;

/// The store in an embedded SQLite database.
#[derive(Clone, Debug)]
pub struct Embedded {
    file: SqliteFile,
}

impl Embedded {
    /// Opens the database file at `path`, which is made when it is missing.
    ///
    /// # Errors
    /// When the file cannot be made, read or brought to the newest schema.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let file = SqliteFile::open(path, &MIGRATIONS).await.map_err(StoreError)?;
        Ok(Self { file })
    }

    /// Looks at the schema of the file at `path`; changes nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or its schema is newer than this program.
    pub async fn schema(path: &Path) -> Result<Schema, StoreError> {
        SqliteFile::schema(path, &MIGRATIONS).await.map_err(StoreError)
    }

    /// Deletes the rows that have ended, a few hundred at a time. Nothing depends on it but the
    /// size of the file.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep(&self, now: UnixTime) -> Result<(), StoreError> {
        const ENDED: [&str; 11] = [
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
        let ended_at = integer(now.minus(ROW_LEEWAY).as_secs())?;
        for statement in ENDED {
            loop {
                let deletion = sqlx::query(statement).bind(ended_at).bind(SWEPT_AT_ONCE);
                let deleted = deletion.execute(&self.file.writer).await?.rows_affected();
                if deleted < u64::from(SWEPT_AT_ONCE) {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.file.writer.begin_with(BEGIN_WRITE).await?)
    }
}

#[async_trait]
impl Store for Embedded {
    async fn put_session(&self, session: &SessionRecord, now: UnixTime) -> Result<(), StoreError> {
        sessions::put(&mut *self.file.writer.acquire().await?, session, now).await
    }

    async fn find_session(
        &self,
        digest: &Sha256Digest,
        now: UnixTime,
    ) -> Result<Option<SessionRecord>, StoreError> {
        sessions::use_once(&mut *self.file.writer.acquire().await?, digest, now).await
    }

    async fn take_session(&self, digest: &Sha256Digest) -> Result<Vec<SessionGrant>, StoreError> {
        let mut transaction = self.begin().await?;
        let grants = sessions::find_grants(&mut transaction, digest).await?;
        sqlx::query("DELETE FROM sessions WHERE digest = ?")
            .bind(bytes(digest))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(grants)
    }

    async fn spend_transaction(
        &self,
        digest: &Sha256Digest,
        expires_at: UnixTime,
        _now: UnixTime,
    ) -> Result<Once, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO transactions (digest, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(bytes(digest))
        .bind(seconds(expires_at)?)
        .execute(&self.file.writer)
        .await?;
        Ok(if inserted.rows_affected() == 1 { Once::First } else { Once::Again })
    }

    async fn put_code(&self, code: &CodeRecord, now: UnixTime) -> Result<usize, StoreError> {
        let mut transaction = self.begin().await?;
        let grant_id = code.grant_id.to_string();
        let grant = SessionGrant::of(code);
        if !sessions::link(&mut transaction, &code.session, &grant, now).await? {
            return Ok(0);
        }
        sqlx::query(
            "INSERT OR REPLACE INTO codes (grant_id, digest, binding, client_id, user_id, scope, \
             nonce, auth_time, session, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&grant_id)
        .bind(bytes(&code.digest))
        .bind(bytes(&code.binding))
        .bind(code.client_id.as_str())
        .bind(&code.user_id.0)
        .bind(code.scope.to_string())
        .bind(&code.nonce)
        .bind(seconds(code.auth_time)?)
        .bind(bytes(&code.session))
        .bind(seconds(code.expires_at)?)
        .execute(&mut *transaction)
        .await?;
        let count = sessions::count_grants(&mut transaction, &code.session).await?;
        transaction.commit().await?;
        Ok(count)
    }

    async fn link_grants(
        &self,
        session: &Sha256Digest,
        grants: &[SessionGrant],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for grant in grants {
            sessions::link(&mut transaction, session, grant, now).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn redeem_code(
        &self,
        redemption: &CodeRedemption,
        now: UnixTime,
    ) -> Result<Redeemed, StoreError> {
        let CodeRedemption { grant_id, client_id, digest, .. } = redemption;
        let mut transaction = self.begin().await?;

        // A grant that is there used up its code when it began. Only the client that redeemed it
        // can have it revoked.
        if let Some(row) = GrantRow::read(&mut transaction, grant_id).await? {
            if !row.began_with(digest, client_id) {
                return Ok(Redeemed::Missing);
            }
            revoke(&mut transaction, grant_id, now).await?;
            transaction.commit().await?;
            return Ok(Redeemed::Replayed);
        }

        let row = sqlx::query(
            "DELETE FROM codes WHERE grant_id = ? AND digest = ? AND expires_at > ? \
             RETURNING binding, client_id, user_id, scope, nonce, auth_time, session",
        )
        .bind(grant_id.to_string())
        .bind(bytes(digest))
        .bind(seconds(now)?)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else {
            return Ok(Redeemed::Missing);
        };
        // Returning before the commit leaves the code where it is.
        if read_digest(&row, "binding")? != Some(redemption.binding)
            || read_client_id(&row)? != *client_id
        {
            return Ok(Redeemed::Mismatched);
        }
        let ends = Ends::of(
            redemption.refresh.as_ref(),
            redemption.access_expires_at,
            redemption.grant_expires_at,
            redemption.refresh_idle_in,
            now,
        );
        let grant = GrantRecord {
            grant_id: *grant_id,
            client_id: client_id.clone(),
            user_id: UserId(row.try_get("user_id")?),
            scope: read_scope(&row)?,
            auth_time: read_time(&row, "auth_time")?,
            expires_at: ends.grant,
        };
        let refresh = redemption.refresh.as_ref();
        let access = AccessRow {
            jti: Jti { grant_id: *grant_id, number: 1 },
            expires_at: ends.access,
            status: redemption.status,
        };
        begin_grant(&mut transaction, &grant, Some(digest), refresh, &ends, &access, now).await?;
        let nonce = row.try_get("nonce")?;
        let session = read_digest(&row, "session")?.ok_or_else(|| unreadable("session"))?;
        transaction.commit().await?;
        Ok(Redeemed::Once { grant, nonce, access, session })
    }

    async fn put_grant(&self, new: &NewGrant, now: UnixTime) -> Result<AccessRow, StoreError> {
        let (grant, refresh) = (&new.grant, new.refresh.as_ref());
        let ends =
            Ends::of(refresh, new.access_expires_at, grant.expires_at, new.refresh_idle_in, now);
        let access = AccessRow {
            jti: Jti { grant_id: grant.grant_id, number: 1 },
            expires_at: ends.access,
            status: new.status,
        };
        let mut transaction = self.begin().await?;
        begin_grant(&mut transaction, grant, None, refresh, &ends, &access, now).await?;
        transaction.commit().await?;
        Ok(access)
    }

    async fn rotate_refresh(
        &self,
        rotation: &RefreshRotation,
        now: UnixTime,
    ) -> Result<Rotated, StoreError> {
        let RefreshRotation { grant_id, presented, successor, .. } = rotation;
        let mut transaction = self.begin().await?;
        let row = GrantRow::read(&mut transaction, grant_id).await?;
        let Some(row) = row.filter(|row| row.grant.client_id == rotation.client_id) else {
            return Ok(Rotated::Missing);
        };
        if !row.is_live(now) {
            return Ok(Rotated::Missing);
        }
        let verdict = row.generations.judge(presented, &rotation.untold, now);
        if verdict == Presented::Stale {
            // A generation that was never reached was lost with the store: nobody's fault.
            if rotation.generation > row.generations.generation {
                return Ok(Rotated::Missing);
            }
            revoke(&mut transaction, grant_id, now).await?;
            transaction.commit().await?;
            return Ok(Rotated::Reused);
        }
        if rotation.scope.as_ref().is_some_and(|scope| !scope.is_subset_of(&row.grant.scope)) {
            return Ok(Rotated::ScopeExceeded);
        }
        if row.numbers >= ACCESS_TOKENS_OF_A_GRANT
            && count_alive(&mut transaction, grant_id, now).await? >= ACCESS_TOKENS_OF_A_GRANT
        {
            return Ok(Rotated::Crowded);
        }

        let GrantRow { grant, generations, numbers, .. } = row;
        let jti = Jti { grant_id: *grant_id, number: numbers + 1 };
        let expires_at = rotation.access_expires_at.min(grant.expires_at);
        let access = AccessRow { jti, expires_at, status: rotation.status };
        let repeated = generations.current.filter(|_| verdict == Presented::Previous);
        let generation = if repeated.is_some() {
            // When nobody was told until now, whoever asks now is in the place of the first, and the
            // grace begins. Else there are two who may have been.
            let (rotated_at, asked) = if generations.asked.is_told(&rotation.untold) {
                (generations.rotated_at.min(now), Asked::Others)
            } else {
                (now, Asked::one(&rotation.attempt))
            };
            sqlx::query(
                "UPDATE grants SET rotated_at = ?, asked = ?, numbers = ? WHERE grant_id = ?",
            )
            .bind(seconds(rotated_at)?)
            .bind(asked.as_str())
            .bind(integer(jti.number)?)
            .bind(grant_id.to_string())
            .execute(&mut *transaction)
            .await?;
            generations.generation
        } else {
            let generation = generations.generation.checked_add(1);
            let generation = generation.ok_or_else(|| unreadable("generation"))?;
            let idle_expires_at = grant.expires_at.min(now.plus(rotation.refresh_idle_in));
            sqlx::query(
                "UPDATE grants SET generation = ?, current = ?, previous = ?, \
                 rotated_at = ?, asked = ?, numbers = ?, idle_expires_at = ? WHERE grant_id = ?",
            )
            .bind(generation)
            .bind(bytes(successor))
            .bind(bytes(presented))
            .bind(seconds(now)?)
            .bind(Asked::one(&rotation.attempt).as_str())
            .bind(integer(jti.number)?)
            .bind(seconds(idle_expires_at)?)
            .bind(grant_id.to_string())
            .execute(&mut *transaction)
            .await?;
            generation
        };
        put_access(&mut transaction, &access, generation).await?;
        transaction.commit().await?;
        Ok(match repeated {
            Some(current) => Rotated::Repeated { grant, access, current },
            None => Rotated::Next { grant, access },
        })
    }

    async fn hold_refresh(
        &self,
        grant_id: &GrantId,
        presented: &Sha256Digest,
        untold: &[AttemptId],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let row = GrantRow::read(&mut transaction, grant_id).await?;
        let is_held = row.is_some_and(|GrantRow { generations, .. }| {
            generations.previous.as_ref() == Some(presented) && !generations.asked.is_told(untold)
        });
        if !is_held {
            return Ok(());
        }
        sqlx::query("UPDATE grants SET asked = ?, rotated_at = idle_expires_at WHERE grant_id = ?")
            .bind(Asked::Nobody.as_str())
            .bind(grant_id.to_string())
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    async fn find_access(
        &self,
        jti: &Jti,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        let Ok(number) = i64::try_from(jti.number) else {
            return Ok(None);
        };
        let row = sqlx::query(
            "SELECT grants.*, access_tokens.generation AS token_generation \
             FROM access_tokens JOIN grants USING (grant_id) \
             WHERE grant_id = ? AND number = ? AND access_tokens.expires_at > ?",
        )
        .bind(jti.grant_id.to_string())
        .bind(number)
        .bind(seconds(now)?)
        .fetch_optional(&self.file.readers)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let generation: u32 = row.try_get("token_generation")?;
        let row = GrantRow::of(jti.grant_id, &row)?;
        if !row.is_live(now) || !row.generations.covers(generation, now) {
            return Ok(None);
        }
        let confirms = generation == row.generations.generation;
        if confirms && row.generations.previous.is_some() {
            // Unless it was rotated again since it was read.
            let confirmed = sqlx::query(
                "UPDATE grants SET previous = NULL WHERE grant_id = ? AND generation = ?",
            )
            .bind(jti.grant_id.to_string())
            .bind(generation)
            .execute(&self.file.writer)
            .await;
            if let Err(error) = confirmed {
                // The token is good all the same. While nothing can be written nothing rotates, and
                // the next one that sees it confirms.
                tracing::warn!(%error, "a refresh cannot be confirmed");
            }
        }
        Ok(Some(row.grant))
    }

    async fn find_refresh(
        &self,
        grant_id: &GrantId,
        digest: &Sha256Digest,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        let mut connection = self.file.readers.acquire().await?;
        let row = GrantRow::read(&mut connection, grant_id).await?;
        let row = row.filter(|row| row.is_live(now));
        Ok(row.filter(|row| row.generations.current.as_ref() == Some(digest)).map(|row| row.grant))
    }

    async fn revoke_grant(&self, grant_id: &GrantId, now: UnixTime) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        revoke(&mut transaction, grant_id, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn finish_revocation(
        &self,
        _grant_id: &GrantId,
        _now: UnixTime,
    ) -> Result<(), StoreError> {
        // A revocation and its statuses are one transaction here: none is ever half done.
        Ok(())
    }

    async fn revoke_by_late_code(
        &self,
        code: &LateCode,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let row = GrantRow::read(&mut transaction, &code.grant_id).await?;
        let row = row.filter(|row| row.began_with(&code.digest, &code.client_id));
        if row.is_none() {
            return Ok(false);
        }
        revoke(&mut transaction, &code.grant_id, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn revoke_access(&self, access: &AccessName, now: UnixTime) -> Result<(), StoreError> {
        let AccessName { jti, status } = access;
        let Ok(number) = i64::try_from(jti.number) else {
            return Ok(());
        };
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM access_tokens WHERE grant_id = ? AND number = ?")
            .bind(jti.grant_id.to_string())
            .bind(number)
            .execute(&mut *transaction)
            .await?;
        // One that was lost with the last writes was issued all the same: its number is used.
        sqlx::query("UPDATE grants SET numbers = max(numbers, ?) WHERE grant_id = ?")
            .bind(number)
            .bind(jti.grant_id.to_string())
            .execute(&mut *transaction)
            .await?;
        statuses::set_one(&mut transaction, status, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn reserve_statuses(
        &self,
        new: &StatusListId,
        now: UnixTime,
    ) -> Result<StatusBlock, StoreError> {
        let mut transaction = self.begin().await?;
        let block = statuses::reserve(&mut transaction, new, now).await?;
        transaction.commit().await?;
        Ok(block)
    }

    async fn has_status_list(
        &self,
        list: &StatusListId,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        statuses::has(&mut *self.file.readers.acquire().await?, list, now).await
    }

    async fn find_status_list(
        &self,
        list: &StatusListId,
        now: UnixTime,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        statuses::find(&mut *self.file.readers.acquire().await?, list, now).await
    }

    async fn find_grant(
        &self,
        grant_id: &GrantId,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        let mut connection = self.file.readers.acquire().await?;
        let row = GrantRow::read(&mut connection, grant_id).await?;
        Ok(row.filter(|row| row.is_live(now)).map(|row| row.grant))
    }

    async fn count_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
        limit: u32,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<Attempt, StoreError> {
        let mut transaction = self.begin().await?;
        let counted =
            attempts::count(&mut transaction, key, attempt, limit, expires_at, now).await?;
        transaction.commit().await?;
        Ok(counted)
    }

    async fn keep_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
        expires_at: UnixTime,
        _now: UnixTime,
    ) -> Result<(), StoreError> {
        attempts::keep(&mut *self.file.writer.acquire().await?, key, attempt, expires_at).await
    }

    async fn return_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
    ) -> Result<(), StoreError> {
        attempts::give_back(&mut *self.file.writer.acquire().await?, key, attempt).await
    }

    async fn forget_attempts(&self, key: &Sha256Digest) -> Result<(), StoreError> {
        attempts::forget(&mut *self.file.writer.acquire().await?, key).await
    }

    async fn put_bff_session(
        &self,
        session: &BffSessionRecord,
        owners: &[BffOwner],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        bff::put(&mut transaction, session, owners, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn open_bff_session(
        &self,
        digest: &Sha256Digest,
        refused: Option<&BffVersion>,
        renewal: &BffRenewal,
        now: UnixTime,
    ) -> Result<BffOpened, StoreError> {
        let mut transaction = self.begin().await?;
        let opened = bff::open(&mut transaction, digest, refused, renewal, now).await?;
        transaction.commit().await?;
        Ok(opened)
    }

    async fn renew_bff_session(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
        sealed: &str,
        renew_at: UnixTime,
    ) -> Result<bool, StoreError> {
        let mut connection = self.file.writer.acquire().await?;
        bff::renew(&mut connection, digest, renewal, sealed, renew_at).await
    }

    async fn advance_bff_session(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
        sealed: &str,
    ) -> Result<bool, StoreError> {
        bff::advance(&mut *self.file.writer.acquire().await?, digest, renewal, sealed).await
    }

    async fn yield_bff_renewal(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
    ) -> Result<(), StoreError> {
        bff::yield_renewal(&mut *self.file.writer.acquire().await?, digest, renewal).await
    }

    async fn find_bff_grant(&self, digest: &Sha256Digest) -> Result<Option<BffGrant>, StoreError> {
        bff::find_grant(&mut *self.file.readers.acquire().await?, digest).await
    }

    async fn list_bff_sessions(&self, owner: &BffOwner) -> Result<Vec<Sha256Digest>, StoreError> {
        bff::list(&mut *self.file.readers.acquire().await?, owner).await
    }

    async fn end_bff_session(&self, digest: &Sha256Digest) -> Result<(), StoreError> {
        bff::end(&mut *self.file.writer.acquire().await?, digest).await
    }

    async fn find_session_grants(
        &self,
        session: &Sha256Digest,
    ) -> Result<Vec<SessionGrant>, StoreError> {
        sessions::find_grants(&mut *self.file.readers.acquire().await?, session).await
    }

    async fn unlink_grants(
        &self,
        session: &Sha256Digest,
        grants: &[SessionGrant],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for grant in grants {
            sessions::unlink(&mut transaction, session, grant).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn find_user_sessions(
        &self,
        user_id: &UserId,
        now: UnixTime,
    ) -> Result<Vec<UserSession>, StoreError> {
        sessions::find(&mut *self.file.readers.acquire().await?, user_id, now).await
    }

    async fn put_notices(
        &self,
        notices: &[LogoutNotice],
        due_at: UnixTime,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        notices::put(&mut transaction, notices, due_at, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn take_due_notices(
        &self,
        limit: u32,
        leased_until: UnixTime,
        now: UnixTime,
    ) -> Result<Vec<TakenNotice>, StoreError> {
        // Asked every second, and the answer is almost always none: the writer is left alone then.
        if !notices::is_any_due(&mut *self.file.readers.acquire().await?, now).await? {
            return Ok(Vec::new());
        }
        let mut writer = self.file.writer.acquire().await?;
        notices::take_due(&mut writer, limit, leased_until, now).await
    }

    async fn finish_notice(&self, taken: &TakenNotice) -> Result<(), StoreError> {
        notices::finish(&mut *self.file.writer.acquire().await?, taken).await
    }

    async fn put_off_notice(
        &self,
        taken: &TakenNotice,
        due_at: UnixTime,
    ) -> Result<(), StoreError> {
        notices::put_off(&mut *self.file.writer.acquire().await?, taken, due_at).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM grants LIMIT 1").fetch_optional(&self.file.readers).await?;
        Ok(())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self(Box::new(error))
    }
}
