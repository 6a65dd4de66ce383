//! The store in an embedded SQLite database: durable, and nothing to set up.
//!
//! Whatever decides and writes does both in one transaction of the only connection that writes.

mod access;
mod attempts;
mod bff;
mod codes;
mod columns;
mod ended;
mod grants;
mod notices;
mod refresh;
mod sessions;
mod statuses;
#[cfg(test)]
mod tests;

use std::path::Path;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::{Sqlite, Transaction};

use shared::secret::Sha256Digest;
use shared::status_list::StatusListId;
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

use self::columns::{bytes, seconds, unreadable};
use self::grants::{GrantRow, begin_grant, revoke};
use super::sqlite_file::{BEGIN_WRITE, SqliteFile};
use super::{
    AccessName, AccessRow, Attempt, AttemptId, BffGrant, BffOpened, BffOwner, BffRenewal,
    BffSessionRecord, BffVersion, CodeRecord, CodeRedemption, GrantRecord, LateCode, LogoutNotice,
    NewGrant, Once, Redeemed, RefreshRotation, Rotated, SessionGrant, SessionRecord, StatusBlock,
    Store, StoreError, TakenNotice, UserId, UserSession,
};
use crate::schema::Schema;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite/store");

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
        ended::sweep(&self.file.writer, now).await
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
        codes::put(self.begin().await?, code, now).await
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
        codes::redeem(self.begin().await?, redemption, now).await
    }

    async fn put_grant(&self, new: &NewGrant, now: UnixTime) -> Result<AccessRow, StoreError> {
        let (grant, refresh) = (&new.grant, new.refresh.as_ref());
        let ends = new.ends(now);
        let access = AccessRow::first(grant.grant_id, &ends, new.status);
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
        refresh::rotate(self.begin().await?, rotation, now).await
    }

    async fn hold_refresh(
        &self,
        grant_id: &GrantId,
        presented: &Sha256Digest,
        untold: &[AttemptId],
    ) -> Result<(), StoreError> {
        refresh::hold(self.begin().await?, grant_id, presented, untold).await
    }

    async fn find_access(
        &self,
        jti: &Jti,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError> {
        access::find(&self.file, jti, now).await
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
        access::revoke(self.begin().await?, access, now).await
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
