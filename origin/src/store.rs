//! What the origin remembers for a while: sign-ins, codes, grants, access tokens, attempts.
//!
//! Every method of [`Store`] is one atomic intent: it happens as a whole or not at all, whoever
//! else does the same at that moment. Two back ends keep the same contract (`contract.rs`): Redis
//! and an embedded SQLite database.
//!
//! # Key table (Redis)
//!
//! | key | type | fields | TTL |
//! |---|---|---|---|
//! | `cadence:session:{digest}` | hash | `user_id`, `auth_time`, `used_at`, `expires_at`, `idle_expires_at`, `user_agent`, `address` (both as at the login) | to `idle_expires_at` |
//! | `cadence:session-grants:{digest}` | set | what was begun under the session: grant id, `client_id`, `sid` and `user_id`, with a space between | absolute end of the session |
//! | `cadence:user-sessions:<digest>` | zset | digests of a user's sessions, by their absolute ends | absolute end of the last one |
//! | `cadence:transaction:<digest>` | string | `1`: the sign-in was completed | end of the transaction |
//! | `cadence:code:{grant_id}` | hash | `digest`, `binding`, `client_id`, `user_id`, `scope`, `nonce`, `auth_time`, `session`, `expires_at` | 60 s |
//! | `cadence:grant:{grant_id}` | hash | `client_id`, `user_id`, `scope`, `auth_time`, `code` (digest of the redeemed code), `generation`, `current`, `previous` (digests of refresh tokens; `previous` goes when something of the current generation is seen), `rotated_at` (the idle end while the previous one is held), `asked` (the one presentation since that may have been told the current one; empty when nobody was, `*` when it may be more than one), `numbers` (access tokens so far), `oldest` (the first of them that may be alive), `expires_at`, `idle_expires_at`, `revoked_at` | to `idle_expires_at` |
//! | `cadence:jti:{grant_id}:<number>` | hash | `generation`, `expires_at`, `list`, `idx` (its place in a status list), `revoked_at` (when it was revoked alone) | end of the access token, revoked or not |
//! | `cadence:status-lists:{status}` | hash | `list` (the one that is being filled), `next` (its first status that is not reserved) | [`STATUS_LIST_KEPT_IN`] after the last reservation |
//! | `cadence:status-list:{status}:<list>` | string | one bit per access token, the first one in the lowest bit of the first byte; 1: revoked | the same |
//! | `cadence:bff:{digest}` | hash | `user_id`, `client_id`, `grant_id`, `auth_time`, `sealed` (the tokens, sealed for the handle), `renew_at`, `version` (renewals so far), `renewal`, `renewal_expires_at` (one that is under way, or was and did not come back), `expires_at`, `idle_expires_at` | to `idle_expires_at` |
//! | `cadence:bff-owner:<digest>` | zset | digests of the sessions of a user, or under a login session, by their absolute ends | end of the last one |
//! | `cadence:notices:{notices}` | zset | digests of the notices that clients are yet to be sent, by the second in which each is due | end of the last one |
//! | `cadence:notice:{notices}:<digest>` | hash | `client_id`, `user_id`, `sid`, `attempt` (how often it was taken), `leased_until` (while somebody sends it), `expires_at` | to `expires_at` |
//! | `cadence:login-attempts:<digest>` | zset | random ids of attempts, by when each is not counted any more | end of the last one |
//!
//! Every row also lives [`ROW_LEEWAY`] longer. `expires_at` is the absolute end;
//! `idle_expires_at` is the end if nothing happens, and never later. A grant without a refresh
//! token ends with its access token.
//!
//! Every digest is SHA-256, so no secret can be read from a dump. The braces are Redis Cluster
//! hash tags: all rows of one grant lie in one slot, so one script reaches them, and likewise the
//! two of one session, all status lists, and all notices. The jti rows are an allow-list: no row, not active.
//! So are the status lists: a token whose list is gone is refused. A store that comes back empty
//! logs people out; it never revives a token. No jti row is deleted before its end, so among the
//! numbers of a grant one whose row is gone has ended.
//!
//! A revocation is two steps, because the grant and its tokens' statuses lie in different slots:
//! the grant dies, then its tokens' statuses are set. When the second step fails, the caller is
//! told so, and asking again repeats both: by whatever way it was revoked, a grant that is revoked
//! already has its statuses set once more. In SQLite both steps are one transaction.
//!
//! `cadence:guard:{notices}` is named by a script and never there: while a cluster moves the slot of the
//! notices from server to server, it keeps the script from running (`store/redis/grant.lua` says how;
//! there, code and grant are never both there).
//!
//! A user's sessions are listed in a slot of their own, after the session is written: what is listed
//! and not there has ended, and is taken off the list by whoever sees it.
//!
//! [`STATUS_LIST_KEPT_IN`]: shared::limits::STATUS_LIST_KEPT_IN

pub mod bff;
#[cfg(test)]
#[expect(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "a promise is what the function's name says, and it panics when it is broken"
)]
pub mod contract;
pub mod embedded;
mod generations;
pub mod notices;
mod records;
pub mod redis;
pub mod sessions;
pub(crate) mod sqlite_file;

use async_trait::async_trait;
use shared::limits::CLOCK_SKEW;
use shared::secret::Sha256Digest;
use shared::status_list::StatusListId;
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};

pub use self::bff::{BffGrant, BffOpened, BffOwner, BffRenewal, BffSessionRecord, BffVersion};
use self::generations::Ends;
pub use self::generations::{Asked, Generations, PRESENTATIONS, Presented};
pub use self::notices::{LogoutNotice, TakenNotice};
pub use self::records::{
    AccessName, AccessRow, Attempt, AttemptId, CodeRecord, CodeRedemption, GrantRecord, LateCode,
    NewGrant, Once, Redeemed, RefreshRotation, Rotated, SessionRecord, StatusBlock, UserId,
};
pub use self::sessions::{SessionGrant, UserSession};

/// The store cannot be reached, took too long, or holds something that cannot be read. What
/// became of the intent is unknown; it is never a "no".
#[derive(Debug)]
pub struct StoreError(pub Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// Tells whether the intent may have been carried out, or may be yet.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        !self.0.is::<NotAsked>()
    }
}

/// The store was not asked, because it has not answered lately.
#[derive(Debug)]
pub struct NotAsked(pub Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for NotAsked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotAsked {}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the store is unavailable: {}", self.0)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// Seconds that a row outlives its own end, so that clocks may differ.
pub const ROW_LEEWAY: u64 = CLOCK_SKEW;

/// What the origin remembers for a while. See the module for the key table.
#[async_trait]
pub trait Store: Send + Sync {
    /// Remembers a login session.
    async fn put_session(&self, session: &SessionRecord, now: UnixTime) -> Result<(), StoreError>;

    /// Finds a live session, and moves its idle end to `now` + [`shared::limits::LOGIN_SESSION_IDLE_IN`].
    async fn find_session(
        &self,
        digest: &Sha256Digest,
        now: UnixTime,
    ) -> Result<Option<SessionRecord>, StoreError>;

    /// Ends a session. Returns the grants that were begun under it, for the caller to revoke.
    ///
    /// Idempotent: asked again before the session's absolute end, it returns them again, so that
    /// a logout whose answer was lost can be repeated.
    async fn take_session(&self, digest: &Sha256Digest) -> Result<Vec<SessionGrant>, StoreError>;

    /// Marks a sign-in transaction as completed.
    async fn spend_transaction(
        &self,
        digest: &Sha256Digest,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<Once, StoreError>;

    /// Remembers a code, and its grant under its login session.
    ///
    /// When that session has ended meanwhile, the code is not kept, so that a logout is never
    /// outrun by a code: redeeming finds nothing. Returns how many grants the session has then; 0
    /// when it has ended.
    async fn put_code(&self, code: &CodeRecord, now: UnixTime) -> Result<usize, StoreError>;

    /// Remembers grants under a session, as if they were begun under it.
    async fn link_grants(
        &self,
        session: &Sha256Digest,
        grants: &[SessionGrant],
        now: UnixTime,
    ) -> Result<(), StoreError>;

    /// Takes a code and begins its grant, in one step. See [`Redeemed`].
    async fn redeem_code(
        &self,
        redemption: &CodeRedemption,
        now: UnixTime,
    ) -> Result<Redeemed, StoreError>;

    /// Begins a grant without a code.
    async fn put_grant(&self, new: &NewGrant, now: UnixTime) -> Result<AccessRow, StoreError>;

    /// Rotates a refresh token and writes the new access token's row, in one step. See [`Rotated`].
    async fn rotate_refresh(
        &self,
        rotation: &RefreshRotation,
        now: UnixTime,
    ) -> Result<Rotated, StoreError>;

    /// Says that nobody was told what came of some presentations of a refresh token. When that is known
    /// of all since it was rotated, the token may be presented again, however late, as long as nothing of
    /// the new generation is seen; its grace begins when it is repeated. One whose successor somebody may
    /// have been told is not held, and whoever breaks off a further repetition gains nothing by that.
    ///
    /// Idempotent. Changes nothing when the token is not the previous one.
    async fn hold_refresh(
        &self,
        grant_id: &GrantId,
        presented: &Sha256Digest,
        untold: &[AttemptId],
    ) -> Result<(), StoreError>;

    /// Tells whether an access token is active: its row is there, its grant is not revoked, and
    /// its generation is covered ([`Generations::covers`]). Seeing a token of the current
    /// generation confirms that generation.
    async fn find_access(
        &self,
        jti: &Jti,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError>;

    /// Finds the grant whose *current* refresh token has this digest. Changes nothing.
    async fn find_refresh(
        &self,
        grant_id: &GrantId,
        digest: &Sha256Digest,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError>;

    /// Revokes everything of a grant: code, refresh tokens, access tokens; sets the statuses of
    /// the access tokens. Idempotent.
    async fn revoke_grant(&self, grant_id: &GrantId, now: UnixTime) -> Result<(), StoreError>;

    /// Sets the statuses of a grant that is revoked already, for whoever cannot know whether its
    /// revocation came to its end. Idempotent. Does NOT revoke: any other grant stays as it is.
    async fn finish_revocation(&self, grant_id: &GrantId, now: UnixTime) -> Result<(), StoreError>;

    /// Revokes the grant that was begun with this code by this client, as by
    /// [`Store::revoke_grant`]; tells whether there is one, dead or alive. Idempotent.
    ///
    /// Does NOT redeem: a code that is still good stays so, and no grant begins.
    async fn revoke_by_late_code(&self, code: &LateCode, now: UnixTime)
    -> Result<bool, StoreError>;

    /// Revokes one access token, and sets its status, also when the store has lost the token's row:
    /// whoever goes by the status alone would believe it, and no later token of its grant must bear
    /// its name. Idempotent: it is asked again with the same result until the token's own end.
    async fn revoke_access(&self, access: &AccessName, now: UnixTime) -> Result<(), StoreError>;

    /// Reserves a block of statuses: in the list that is being filled, or in a new one with the
    /// identifier `new` when that is full or gone. No two reservations overlap.
    async fn reserve_statuses(
        &self,
        new: &StatusListId,
        now: UnixTime,
    ) -> Result<StatusBlock, StoreError>;

    /// Tells whether a status list is there.
    async fn has_status_list(&self, list: &StatusListId, now: UnixTime)
    -> Result<bool, StoreError>;

    /// Finds the bits of a status list, the first one in the lowest bit of the first byte; `None`
    /// when there is no such list, or none any more.
    async fn find_status_list(
        &self,
        list: &StatusListId,
        now: UnixTime,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Finds a grant that is not revoked and not expired. Changes nothing.
    async fn find_grant(
        &self,
        grant_id: &GrantId,
        now: UnixTime,
    ) -> Result<Option<GrantRecord>, StoreError>;

    /// Counts an attempt that is under way under `key`, until `expires_at`, unless `limit` of them are
    /// counted. Whoever sees what comes of it says so ([`Store::keep_attempt`],
    /// [`Store::return_attempt`]); else it ends by itself, so that an outage in between shuts nobody
    /// out.
    async fn count_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
        limit: u32,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<Attempt, StoreError>;

    /// Counts an attempt under `key` until `expires_at`, whatever became of it before.
    async fn keep_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<(), StoreError>;

    /// Takes a counted attempt under `key` back: it was none.
    async fn return_attempt(
        &self,
        key: &Sha256Digest,
        attempt: &AttemptId,
    ) -> Result<(), StoreError>;

    /// Forgets the attempts under `key`.
    async fn forget_attempts(&self, key: &Sha256Digest) -> Result<(), StoreError>;

    /// Remembers a session of the backend-for-frontend, and lists it under its owners.
    async fn put_bff_session(
        &self,
        session: &BffSessionRecord,
        owners: &[BffOwner],
        now: UnixTime,
    ) -> Result<(), StoreError>;

    /// Finds a live session of the backend-for-frontend, moves its idle end to `now` +
    /// [`shared::limits::BFF_SESSION_IDLE_IN`], and tells who renews its tokens: when they are due, or
    /// when their version is `refused`, the first one who asks; after
    /// [`shared::limits::BFF_RENEWAL_IN`] seconds without an outcome, the next. `renewal` is fresh.
    async fn open_bff_session(
        &self,
        digest: &Sha256Digest,
        refused: Option<&BffVersion>,
        renewal: &BffRenewal,
        now: UnixTime,
    ) -> Result<BffOpened, StoreError>;

    /// Writes renewed tokens down; tells whether `renewal` was still the one under way. If not,
    /// nothing changed.
    async fn renew_bff_session(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
        sealed: &str,
        renew_at: UnixTime,
    ) -> Result<bool, StoreError>;

    /// Writes down newer tokens of a session whose renewal goes on from them; tells whether `renewal`
    /// was still the one under way. If not, nothing changed.
    async fn advance_bff_session(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
        sealed: &str,
    ) -> Result<bool, StoreError>;

    /// Lets the next one who asks go on with a renewal that came to nothing.
    async fn yield_bff_renewal(
        &self,
        digest: &Sha256Digest,
        renewal: &BffRenewal,
    ) -> Result<(), StoreError>;

    /// Finds whose a session of the backend-for-frontend is, live or not. Changes nothing.
    async fn find_bff_grant(&self, digest: &Sha256Digest) -> Result<Option<BffGrant>, StoreError>;

    /// Lists the sessions of an owner; some of them may be over.
    async fn list_bff_sessions(&self, owner: &BffOwner) -> Result<Vec<Sha256Digest>, StoreError>;

    /// Ends a session of the backend-for-frontend. Idempotent. Does NOT revoke its grant.
    async fn end_bff_session(&self, digest: &Sha256Digest) -> Result<(), StoreError>;

    /// Finds the grants that were begun under a session, live or ended, until its absolute end.
    /// Changes nothing.
    async fn find_session_grants(
        &self,
        session: &Sha256Digest,
    ) -> Result<Vec<SessionGrant>, StoreError>;

    /// Forgets grants under a session. Does NOT revoke them.
    async fn unlink_grants(
        &self,
        session: &Sha256Digest,
        grants: &[SessionGrant],
    ) -> Result<(), StoreError>;

    /// Finds a user's live sessions, in no order. Does NOT move their idle ends.
    async fn find_user_sessions(
        &self,
        user_id: &UserId,
        now: UnixTime,
    ) -> Result<Vec<UserSession>, StoreError>;

    /// Remembers that clients are to be told, each once for each session, from `due_at` on. A
    /// notice that waits already becomes due no later than `due_at`; one that is being sent at
    /// this moment stays as it is.
    async fn put_notices(
        &self,
        notices: &[LogoutNotice],
        due_at: UnixTime,
        now: UnixTime,
    ) -> Result<(), StoreError>;

    /// Takes up to `limit` notices that are due, the longest due first, for whoever sends them:
    /// nobody else is given them until `leased_until`. Then, if they were neither finished nor put
    /// off, they are due again.
    async fn take_due_notices(
        &self,
        limit: u32,
        leased_until: UnixTime,
        now: UnixTime,
    ) -> Result<Vec<TakenNotice>, StoreError>;

    /// Forgets a notice that was taken: its client has been told, or never will be. Does nothing
    /// when it was taken again meanwhile.
    async fn finish_notice(&self, taken: &TakenNotice) -> Result<(), StoreError>;

    /// Puts a notice that was taken off until `due_at`. Does nothing when it was taken again
    /// meanwhile.
    async fn put_off_notice(&self, taken: &TakenNotice, due_at: UnixTime)
    -> Result<(), StoreError>;

    /// Asks whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
