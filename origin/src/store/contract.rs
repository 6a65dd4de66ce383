//! What every [`Store`] must do, as plain functions over one: each back end runs them all.
//!
//! Time stands still at [`NOW`] and is moved by hand. Every function makes rows of its own, so
//! all of them can run on one store, one after the other or together.

mod bff;
mod notices;
mod races;
mod refresh;
mod revocation;
mod sessions;
mod sign_in;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::claims::SessionId;
use shared::client::ClientId;
use shared::limits::{
    ACCESS_TOKENS_OF_A_GRANT, LOGIN_SESSION_IDLE_IN, LOGOUT_NOTICE_EXPIRES_IN, REFRESH_GRACE_IN,
    STATUS_BLOCK_LEN, STATUS_LIST_LEN,
};
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::status_list::{Bits, StatusIndex, StatusList, StatusListId};
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};
use tokio::task::JoinSet;

use super::{
    AccessName, AccessRow, Attempt, AttemptId, BffGrant, BffOpened, BffOwner, BffRenewal,
    BffSessionRecord, BffVersion, CodeRecord, CodeRedemption, GrantRecord, LateCode, LogoutNotice,
    NewGrant, Once, Redeemed, RefreshRotation, Rotated, SessionGrant, SessionRecord, StatusBlock,
    Store, StoreError, TakenNotice, UserId, UserSession,
};

/// Runs a macro with the name of every function of the contract.
macro_rules! for_each_promise {
    ($macro:ident) => {
        $macro! {
            session_is_found_until_it_is_idle
            session_is_found_until_its_absolute_end
            session_that_is_taken_is_gone_and_names_its_grants
            session_that_has_ended_accepts_no_code
            transaction_is_spent_once
            code_begins_its_grant_once
            code_without_refresh_token_begins_a_grant_that_ends_with_its_access_token
            code_that_is_replayed_revokes_its_grant
            code_of_another_client_is_neither_burned_nor_revoking
            code_with_another_binding_stays_redeemable
            code_that_expired_is_missing
            code_that_was_never_issued_is_missing
            code_of_a_revoked_grant_is_missing
            grant_begins_without_a_code
            grant_is_found_until_its_end
            grant_is_revoked_with_all_that_hangs_on_it
            refresh_rotates_generation_by_generation
            refresh_is_found_while_it_is_current
            refresh_is_repeated_within_the_grace
            refresh_is_not_repeated_after_its_successor_was_used
            refresh_is_not_repeated_after_an_access_token_of_its_successor_was_seen
            refresh_is_repeated_although_an_older_access_token_was_seen
            refresh_is_not_repeated_after_the_grace
            refresh_that_is_held_is_repeated_however_late
            refresh_that_is_held_has_its_grace_when_it_is_repeated
            refresh_that_is_held_is_over_when_its_successor_is_seen
            refresh_that_is_not_the_previous_one_is_not_held
            refresh_whose_successor_was_told_is_not_held_by_a_repetition
            refresh_that_two_have_asked_for_is_not_held
            refresh_is_held_when_none_of_several_at_once_was_told
            refresh_that_too_many_have_asked_for_is_not_held
            refresh_is_held_when_nobody_was_told_of_those_who_asked
            refresh_that_nobody_was_told_of_is_repeated_though_it_is_not_held
            refresh_of_two_generations_back_kills_within_the_grace
            refresh_of_another_client_changes_nothing
            refresh_beyond_the_scope_changes_nothing
            refresh_that_is_stale_kills_even_beyond_the_scope
            refresh_of_a_generation_that_was_lost_is_missing
            refresh_of_an_unknown_grant_is_missing
            refresh_of_a_grant_without_one_is_missing
            refresh_ends_absolutely
            refresh_ends_when_idle
            refresh_never_outlives_its_grant
            revocation_beats_the_grace
            access_token_ends
            access_token_of_the_previous_generation_ends_with_the_grace
            access_token_is_revoked_alone
            status_of_a_token_that_the_store_has_lost_is_set
            number_of_a_lost_token_that_was_revoked_is_not_used_again
            statuses_are_reserved_once
            status_list_is_found_and_others_are_not
            status_of_a_token_is_set_when_it_is_revoked
            statuses_of_a_grant_are_set_however_it_is_revoked
            statuses_of_many_tokens_are_set
            statuses_before_a_long_gap_are_set
            statuses_of_more_than_a_thousand_tokens_are_set
            grant_has_so_many_access_tokens_and_no_more
            finishing_a_revocation_revokes_nothing
            late_code_revokes_the_grant_that_it_began
            late_code_redeems_nothing
            attempts_are_limited_until_they_end
            attempts_are_kept
            attempts_are_returned
            attempts_are_forgotten
            bff_session_is_found_until_it_is_idle
            bff_session_is_found_until_its_absolute_end
            bff_session_is_listed_under_its_owners
            bff_session_that_has_ended_is_missing
            bff_tokens_are_renewed_by_the_first_who_asks
            bff_tokens_that_are_refused_are_renewed_once
            bff_renewal_that_does_not_come_back_is_resumed
            bff_renewal_that_was_yielded_is_resumed_at_once
            bff_renewal_goes_on_from_newer_tokens
            bff_renewal_of_an_ended_session_changes_nothing
            store_answers
            sessions_of_a_user_are_found_and_no_others
            session_of_a_user_is_found_as_it_was_put
            sessions_of_a_user_that_have_ended_are_not_found
            sessions_of_a_user_that_are_too_many_are_usable_and_the_newest_found
            grants_that_go_over_keep_the_name_of_their_session
            grants_of_a_session_go_over_by_the_thousands
            grants_of_a_session_are_counted_and_forgotten
            session_with_many_grants_is_rid_of_the_dead
            session_with_many_grants_keeps_the_newest_of_a_client
            notice_is_taken_when_it_is_due
            notice_is_taken_by_nobody_else_while_it_is_leased
            notice_that_is_finished_is_gone
            notice_that_is_put_off_is_due_again
            notice_that_was_taken_again_is_not_changed_by_the_first
            notice_waits_once_for_each_session_and_client
            notices_are_taken_a_few_at_a_time_the_longest_due_first
            notice_ends
            race_of_codes_has_one_winner_and_then_none
            race_of_refreshes_has_one_successor
            race_of_rotation_and_revocation_leaves_nothing_alive
            race_of_redemption_and_revocation_leaves_nothing_alive
            race_of_attempts_keeps_the_limit
            race_of_transactions_has_one_first
            race_of_reservations_has_no_overlap
            race_of_bff_renewals_has_one_winner
            race_of_senders_gives_each_notice_to_one
            race_of_putters_leaves_one_notice
            race_of_logins_and_looks_loses_no_session
        }
    };
}
pub(crate) use for_each_promise;

pub use self::bff::*;
pub use self::notices::*;
pub use self::races::*;
pub use self::refresh::*;
pub use self::revocation::*;
pub use self::sessions::*;
pub use self::sign_in::*;

/// Begins every text whose digest a store is given: it must not be found in any store.
pub const SECRET: &str = "known-to-its-bearer-alone";

/// When everything happens, unless a later time is said.
pub const NOW: UnixTime = UnixTime::from_secs(2_000_000_000);

const ACCESS_IN: u64 = 300;
const IDLE_IN: u64 = 5_000;
const GRANT_IN: u64 = 20_000;
const CODE_IN: u64 = 60;
const RACERS: u64 = 100;

/// A store that tasks can share.
pub type AnyStore = Arc<dyn Store>;

/// A user, a client and the grant between them.
#[derive(Clone, Debug)]
pub struct Party {
    /// The grant.
    pub grant_id: GrantId,
    session: Sha256Digest,
    /// Where the statuses of its access tokens are; `None` for a list that is in no store.
    pub(crate) block: Option<StatusBlock>,
}

impl Party {
    /// Makes one whose grant has not begun, under a new session.
    pub(crate) async fn new(store: &AnyStore) -> Self {
        Self::under(&put_session(store, GRANT_IN).await)
    }

    /// Makes one whose grant has begun with a code.
    pub(crate) async fn begun(store: &AnyStore) -> Self {
        let party = Self::new(store).await;
        party.begin(store).await;
        party
    }

    fn under(session: &SessionRecord) -> Self {
        Self { grant_id: next_grant_id(), session: session.digest, block: None }
    }

    async fn begin(&self, store: &AnyStore) {
        store.put_code(&self.code(), NOW).await.unwrap();
        let redeemed = store.redeem_code(&self.redemption(), NOW).await.unwrap();
        assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");
    }

    /// The access token of this number.
    pub(crate) fn jti(&self, number: u64) -> Jti {
        Jti { grant_id: self.grant_id, number }
    }

    /// The access token of this generation, when none of it was issued twice.
    pub(crate) fn name(&self, generation: u32) -> AccessName {
        AccessName { jti: self.jti(generation.into()), status: self.status(generation) }
    }

    /// The place of the access token of this generation in a status list.
    pub(crate) fn status(&self, generation: u32) -> StatusIndex {
        let unknown = StatusListId::parse(&self.grant_id.to_string()).unwrap();
        let StatusBlock { list, first } =
            self.block.unwrap_or(StatusBlock { list: unknown, first: 0 });
        StatusIndex { list, idx: first + generation - 1 }
    }

    /// The row of the first access token.
    fn first_access(&self) -> AccessRow {
        AccessRow { jti: self.jti(1), expires_at: NOW.plus(ACCESS_IN), status: self.status(1) }
    }

    /// The digest of the refresh token of this generation.
    pub(crate) fn token(&self, generation: u32) -> Sha256Digest {
        secret(&format!("refresh token {generation} of {}", self.grant_id))
    }

    /// The grant's record.
    pub(crate) fn grant(&self) -> GrantRecord {
        GrantRecord {
            grant_id: self.grant_id,
            client_id: client("web"),
            user_id: UserId("alice".to_owned()),
            scope: scope("openid profile"),
            auth_time: NOW.minus(5),
            expires_at: NOW.plus(GRANT_IN),
        }
    }

    /// The grant, to begin it without a code.
    pub(crate) fn new_grant(&self) -> NewGrant {
        NewGrant {
            grant: self.grant(),
            refresh: Some(self.token(1)),
            access_expires_at: NOW.plus(ACCESS_IN),
            status: self.status(1),
            refresh_idle_in: IDLE_IN,
        }
    }

    /// The code that begins the grant.
    pub(crate) fn code(&self) -> CodeRecord {
        let GrantRecord { grant_id, client_id, user_id, scope, auth_time, .. } = self.grant();
        CodeRecord {
            grant_id,
            digest: secret(&format!("code of {grant_id}")),
            binding: secret(&format!("binding of {grant_id}")),
            client_id,
            user_id,
            scope,
            nonce: None,
            auth_time,
            session: self.session,
            expires_at: NOW.plus(CODE_IN),
        }
    }

    /// The redemption of that code by its client.
    pub(crate) fn redemption(&self) -> CodeRedemption {
        let CodeRecord { grant_id, digest, binding, client_id, .. } = self.code();
        CodeRedemption {
            grant_id,
            digest,
            binding,
            client_id,
            refresh: Some(self.token(1)),
            access_expires_at: NOW.plus(ACCESS_IN),
            status: self.status(1),
            grant_expires_at: NOW.plus(GRANT_IN),
            refresh_idle_in: IDLE_IN,
        }
    }

    /// That code, presented by its client when it is late.
    pub(crate) fn late_code(&self) -> LateCode {
        let CodeRecord { grant_id, digest, client_id, .. } = self.code();
        LateCode { grant_id, digest, client_id }
    }

    /// The rotation of the refresh token of this generation by its client.
    pub(crate) fn rotation(&self, generation: u32, now: UnixTime) -> RefreshRotation {
        RefreshRotation {
            grant_id: self.grant_id,
            generation,
            presented: self.token(generation),
            successor: self.token(generation + 1),
            client_id: client("web"),
            scope: None,
            access_expires_at: now.plus(ACCESS_IN),
            status: self.status(generation + 1),
            refresh_idle_in: IDLE_IN,
            attempt: AttemptId([1; 16]),
            untold: Vec::new(),
        }
    }
}

/// Puts a login session of its own that lives `expires_in` seconds.
pub async fn put_session(store: &AnyStore, expires_in: u64) -> SessionRecord {
    let session = session(expires_in);
    store.put_session(&session, NOW).await.unwrap();
    session
}

/// Makes a login session that lives `expires_in` seconds.
#[must_use]
pub fn session(expires_in: u64) -> SessionRecord {
    SessionRecord {
        digest: secret(&format!("session {}", unique())),
        user_id: UserId("alice".to_owned()),
        auth_time: NOW.minus(5),
        expires_at: NOW.plus(expires_in),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64)".to_owned()),
        address: Some(IpAddr::from([192, 0, 2, 7])),
    }
}

/// Rotates the refresh token of this generation.
pub async fn rotate(store: &AnyStore, party: &Party, generation: u32, now: UnixTime) -> Rotated {
    store.rotate_refresh(&party.rotation(generation, now), now).await.unwrap()
}

/// Makes a party whose grant has begun, and whose access tokens are in a status list.
pub async fn begin_with_statuses(store: &AnyStore) -> Party {
    let party = Party { block: Some(reserve(store).await), ..Party::new(store).await };
    party.begin(store).await;
    party
}

/// Reserves a block of statuses.
pub async fn reserve(store: &AnyStore) -> StatusBlock {
    store.reserve_statuses(&new_list(), NOW).await.unwrap()
}

/// The statuses of a party's access tokens of the first four generations.
pub async fn statuses(store: &AnyStore, party: &Party) -> [u8; 4] {
    let list = party.status(1).list;
    let bits = store.find_status_list(&list, NOW).await.unwrap().unwrap();
    let list = StatusList::new(Bits::One, bits);
    [1, 2, 3, 4].map(|generation| list.status(party.status(generation).idx).unwrap())
}

/// An identifier that no list has.
fn new_list() -> StatusListId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&unique().to_be_bytes());
    StatusListId::from_bytes(bytes)
}

async fn found_access(
    store: &AnyStore,
    party: &Party,
    number: u64,
    now: UnixTime,
) -> Option<GrantRecord> {
    store.find_access(&party.jti(number), now).await.unwrap()
}

/// Nothing of the grant is accepted: looked at without changing anything first.
async fn assert_dead(store: &AnyStore, party: &Party) {
    assert_eq!(store.find_grant(&party.grant_id, NOW).await.unwrap(), None);
    for number in 1..=16 {
        assert_eq!(found_access(store, party, number, NOW).await, None, "access {number}");
    }
    for generation in 1..=5 {
        let token = party.token(generation);
        assert_eq!(store.find_refresh(&party.grant_id, &token, NOW).await.unwrap(), None);
        assert_eq!(rotate(store, party, generation, NOW).await, Rotated::Missing);
    }
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Missing | Redeemed::Replayed), "{redeemed:?}");
}

fn secret(what: &str) -> Sha256Digest {
    Sha256Digest::of(format!("{SECRET}: {what}").as_bytes())
}

fn client(id: &str) -> ClientId {
    ClientId::parse(id).unwrap()
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn next_grant_id() -> GrantId {
    GrantId::from_bytes(u128::from(unique()).to_be_bytes())
}

fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
