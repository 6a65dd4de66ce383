//! What every [`Store`] must do, as plain functions over one: each back end runs them all.
//!
//! Time stands still at [`NOW`] and is moved by hand. Every function makes rows of its own, so
//! all of them can run on one store, one after the other or together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::client::ClientId;
use shared::limits::{LOGIN_SESSION_IDLE_IN, REFRESH_GRACE_IN, STATUS_BLOCK_LEN, STATUS_LIST_LEN};
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::status_list::{Bits, StatusIndex, StatusList, StatusListId};
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};
use tokio::task::JoinSet;

use super::{
    AccessRow, Attempt, CodeRecord, CodeRedemption, GrantRecord, NewGrant, Once, Redeemed,
    RefreshRotation, Rotated, SessionRecord, StatusBlock, Store, UserId,
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
            statuses_are_reserved_once
            status_list_is_found_and_others_are_not
            status_of_a_token_is_set_when_it_is_revoked
            statuses_of_a_grant_are_set_however_it_is_revoked
            statuses_of_many_tokens_are_set
            attempts_are_limited_within_their_window
            attempts_are_returned
            attempts_are_forgotten
            store_answers
            race_of_codes_has_one_winner_and_then_none
            race_of_refreshes_has_one_successor
            race_of_rotation_and_revocation_leaves_nothing_alive
            race_of_redemption_and_revocation_leaves_nothing_alive
            race_of_attempts_keeps_the_limit
            race_of_transactions_has_one_first
            race_of_reservations_has_no_overlap
        }
    };
}
pub(crate) use for_each_promise;

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

pub async fn session_is_found_until_it_is_idle(store: &AnyStore) {
    let session = put_session(store, 10 * LOGIN_SESSION_IDLE_IN).await;
    let last = NOW.plus(LOGIN_SESSION_IDLE_IN - 1);
    assert_eq!(store.find_session(&session.digest, last).await.unwrap().unwrap(), session);
    let moved = last.plus(LOGIN_SESSION_IDLE_IN - 1);
    assert_eq!(store.find_session(&session.digest, moved).await.unwrap().unwrap(), session);
    let idle = moved.plus(LOGIN_SESSION_IDLE_IN);
    assert_eq!(store.find_session(&session.digest, idle).await.unwrap(), None);
}

pub async fn session_is_found_until_its_absolute_end(store: &AnyStore) {
    let session = put_session(store, LOGIN_SESSION_IDLE_IN + 10).await;
    let used = NOW.plus(LOGIN_SESSION_IDLE_IN - 1);
    assert!(store.find_session(&session.digest, used).await.unwrap().is_some());
    let last = session.expires_at.minus(1);
    assert!(store.find_session(&session.digest, last).await.unwrap().is_some());
    assert_eq!(store.find_session(&session.digest, session.expires_at).await.unwrap(), None);
}

pub async fn session_that_is_taken_is_gone_and_names_its_grants(store: &AnyStore) {
    let session = put_session(store, GRANT_IN).await;
    let (begun, pending) = (Party::under(&session), Party::under(&session));
    begun.begin(store).await;
    store.put_code(&pending.code(), NOW).await.unwrap();

    let mut taken = store.take_session(&session.digest).await.unwrap();
    let mut expected = vec![begun.grant_id, pending.grant_id];
    taken.sort_by_key(GrantId::to_string);
    expected.sort_by_key(GrantId::to_string);
    assert_eq!(taken, expected);
    assert_eq!(store.find_session(&session.digest, NOW).await.unwrap(), None);
    let again = store.take_session(&session.digest).await.unwrap();
    assert_eq!(again.len(), 2, "whoever lost the answer can ask again");

    for grant_id in &taken {
        store.revoke_grant(grant_id, NOW).await.unwrap();
    }
    assert_dead(store, &begun).await;
    let redeemed = store.redeem_code(&pending.redemption(), NOW).await.unwrap();
    assert_eq!(redeemed, Redeemed::Missing);

    let never = secret("a session that never was");
    assert_eq!(store.take_session(&never).await.unwrap(), []);
}

pub async fn session_that_has_ended_accepts_no_code(store: &AnyStore) {
    let session = put_session(store, GRANT_IN).await;
    let party = Party::under(&session);
    store.take_session(&session.digest).await.unwrap();
    store.put_code(&party.code(), NOW).await.unwrap();
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert_eq!(redeemed, Redeemed::Missing);
    assert_eq!(store.take_session(&session.digest).await.unwrap(), []);

    let idle = Party::under(&put_session(store, GRANT_IN + LOGIN_SESSION_IDLE_IN).await);
    let late = NOW.plus(LOGIN_SESSION_IDLE_IN);
    let code = CodeRecord { expires_at: late.plus(CODE_IN), ..idle.code() };
    store.put_code(&code, late).await.unwrap();
    let redeemed = store.redeem_code(&idle.redemption(), late).await.unwrap();
    assert_eq!(redeemed, Redeemed::Missing);
}

pub async fn transaction_is_spent_once(store: &AnyStore) {
    let digest = secret(&format!("transaction {}", unique()));
    let spend = async || store.spend_transaction(&digest, NOW.plus(600), NOW).await.unwrap();
    assert_eq!(spend().await, Once::First);
    assert_eq!(spend().await, Once::Again);
    let other = secret(&format!("transaction {}", unique()));
    let first = store.spend_transaction(&other, NOW.plus(600), NOW).await.unwrap();
    assert_eq!(first, Once::First);
}

pub async fn code_begins_its_grant_once(store: &AnyStore) {
    let party = Party::new(store).await;
    let mut code = party.code();
    code.nonce = Some("n-0S6_WzA2Mj".to_owned());
    store.put_code(&code, NOW).await.unwrap();
    let redeemed = store.redeem_code(&party.redemption(), NOW.plus(CODE_IN - 1)).await.unwrap();
    let access = party.first_access();
    let (grant, nonce) = (party.grant(), code.nonce);
    assert_eq!(redeemed, Redeemed::Once { grant: grant.clone(), nonce, access });
    assert_eq!(found_access(store, &party, 1, NOW).await, Some(grant));

    let plain = Party::new(store).await;
    store.put_code(&plain.code(), NOW).await.unwrap();
    let redeemed = store.redeem_code(&plain.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { nonce: None, .. }), "{redeemed:?}");
}

pub async fn code_without_refresh_token_begins_a_grant_that_ends_with_its_access_token(
    store: &AnyStore,
) {
    let party = Party::new(store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    let redemption = CodeRedemption { refresh: None, ..party.redemption() };
    let redeemed = store.redeem_code(&redemption, NOW).await.unwrap();
    let expires_at = NOW.plus(ACCESS_IN);
    let Redeemed::Once { grant, access, .. } = redeemed else { panic!("{redeemed:?}") };
    assert_eq!((grant.expires_at, access.expires_at), (expires_at, expires_at));
    assert!(found_access(store, &party, 1, expires_at.minus(1)).await.is_some());
    assert_eq!(found_access(store, &party, 1, expires_at).await, None);
    assert_eq!(store.find_grant(&party.grant_id, expires_at).await.unwrap(), None);
}

pub async fn code_that_is_replayed_revokes_its_grant(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    assert!(found_access(store, &party, 1, NOW).await.is_some());
    assert!(found_access(store, &party, 2, NOW).await.is_some());
    let replay = async || store.redeem_code(&party.redemption(), NOW.plus(1)).await.unwrap();
    assert_eq!(replay().await, Redeemed::Replayed);
    assert_dead(store, &party).await;
    assert_eq!(replay().await, Redeemed::Replayed, "and once more");
}

pub async fn code_of_another_client_is_neither_burned_nor_revoking(store: &AnyStore) {
    let party = Party::new(store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    let stolen = CodeRedemption { client_id: client("thief"), ..party.redemption() };
    assert_eq!(store.redeem_code(&stolen, NOW).await.unwrap(), Redeemed::Mismatched);
    assert_eq!(store.find_grant(&party.grant_id, NOW).await.unwrap(), None);
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");

    assert_eq!(store.redeem_code(&stolen, NOW).await.unwrap(), Redeemed::Missing);
    assert!(found_access(store, &party, 1, NOW).await.is_some());
}

pub async fn code_with_another_binding_stays_redeemable(store: &AnyStore) {
    let party = Party::new(store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    let wrong = CodeRedemption { binding: secret("another verifier"), ..party.redemption() };
    assert_eq!(store.redeem_code(&wrong, NOW).await.unwrap(), Redeemed::Mismatched);
    let wrong = CodeRedemption { digest: secret("another code"), ..party.redemption() };
    assert_eq!(store.redeem_code(&wrong, NOW).await.unwrap(), Redeemed::Missing);
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");
    assert_eq!(store.redeem_code(&wrong, NOW).await.unwrap(), Redeemed::Missing);
    assert!(found_access(store, &party, 1, NOW).await.is_some());
}

pub async fn code_that_expired_is_missing(store: &AnyStore) {
    let party = Party::new(store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    let redeemed = store.redeem_code(&party.redemption(), NOW.plus(CODE_IN)).await.unwrap();
    assert_eq!(redeemed, Redeemed::Missing);
    assert_eq!(store.find_grant(&party.grant_id, NOW).await.unwrap(), None);
}

pub async fn code_that_was_never_issued_is_missing(store: &AnyStore) {
    let party = Party::new(store).await;
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert_eq!(redeemed, Redeemed::Missing);
    // A grant that began without a code was not begun by this one.
    let party = Party::new(store).await;
    store.put_grant(&party.new_grant(), NOW).await.unwrap();
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert_eq!(redeemed, Redeemed::Missing);
    assert!(found_access(store, &party, 1, NOW).await.is_some());
}

pub async fn code_of_a_revoked_grant_is_missing(store: &AnyStore) {
    let party = Party::new(store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert_eq!(redeemed, Redeemed::Missing);
}

pub async fn grant_begins_without_a_code(store: &AnyStore) {
    let party = Party::new(store).await;
    let access = store.put_grant(&party.new_grant(), NOW).await.unwrap();
    assert_eq!(access, party.first_access());
    assert_eq!(found_access(store, &party, 1, NOW).await, Some(party.grant()));
    assert!(matches!(rotate(store, &party, 1, NOW).await, Rotated::Next { .. }));

    let short = Party::new(store).await;
    let expires_at = NOW.plus(ACCESS_IN - 1);
    let grant = GrantRecord { expires_at, ..short.grant() };
    let new = NewGrant { grant, ..short.new_grant() };
    let access = store.put_grant(&new, NOW).await.unwrap();
    assert_eq!(access.expires_at, expires_at, "no access token outlives its grant");

    let bare = Party::new(store).await;
    let new = NewGrant { refresh: None, ..bare.new_grant() };
    store.put_grant(&new, NOW).await.unwrap();
    let found = store.find_grant(&bare.grant_id, NOW).await.unwrap().unwrap();
    assert_eq!(found.expires_at, NOW.plus(ACCESS_IN));
}

pub async fn grant_is_found_until_its_end(store: &AnyStore) {
    let party = Party::begun(store).await;
    let find = async |now| store.find_grant(&party.grant_id, now).await.unwrap();
    assert_eq!(find(NOW).await, Some(party.grant()));
    assert_eq!(find(NOW.plus(IDLE_IN - 1)).await, Some(party.grant()));
    assert_eq!(find(NOW.plus(IDLE_IN)).await, None);
    assert_eq!(store.find_grant(&next_grant_id(), NOW).await.unwrap(), None);
}

pub async fn grant_is_revoked_with_all_that_hangs_on_it(store: &AnyStore) {
    let party = Party::begun(store).await;
    // More access tokens than a revocation visits.
    for _ in 0..100 {
        rotate(store, &party, 1, NOW).await;
    }
    assert!(found_access(store, &party, 1, NOW).await.is_some());
    assert!(found_access(store, &party, 101, NOW).await.is_some());
    let other = Party::begun(store).await;
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_dead(store, &party).await;
    for number in 1..=101 {
        assert_eq!(found_access(store, &party, number, NOW).await, None);
    }
    store.revoke_grant(&party.grant_id, NOW.plus(1)).await.unwrap();
    store.revoke_grant(&next_grant_id(), NOW).await.unwrap();
    assert_dead(store, &party).await;
    assert!(found_access(store, &other, 1, NOW).await.is_some());
}

pub async fn refresh_rotates_generation_by_generation(store: &AnyStore) {
    let party = Party::begun(store).await;
    for generation in 1..=5 {
        let now = NOW.plus(u64::from(generation) * 100);
        let jti = party.jti(u64::from(generation) + 1);
        let status = party.status(generation + 1);
        let access = AccessRow { jti, expires_at: now.plus(ACCESS_IN), status };
        let rotated = rotate(store, &party, generation, now).await;
        assert_eq!(rotated, Rotated::Next { grant: party.grant(), access });
        assert_eq!(found_access(store, &party, jti.number, now).await, Some(party.grant()));
    }
    let narrowed = RefreshRotation { scope: Some(scope("profile")), ..party.rotation(6, NOW) };
    let rotated = store.rotate_refresh(&narrowed, NOW.plus(600)).await.unwrap();
    let Rotated::Next { grant, .. } = rotated else { panic!("{rotated:?}") };
    assert_eq!(grant.scope, party.grant().scope, "the grant's own scope stays");
}

pub async fn refresh_is_found_while_it_is_current(store: &AnyStore) {
    let party = Party::begun(store).await;
    let find = async |generation, now| {
        store.find_refresh(&party.grant_id, &party.token(generation), now).await.unwrap()
    };
    assert_eq!(find(1, NOW).await, Some(party.grant()));
    rotate(store, &party, 1, NOW).await;
    assert_eq!(find(1, NOW).await, None);
    assert_eq!(find(2, NOW).await, Some(party.grant()));
    assert_eq!(find(2, NOW.plus(IDLE_IN)).await, None);
    // Looking is not using: the answer to the rotation may still be asked for again.
    assert!(matches!(rotate(store, &party, 1, NOW).await, Rotated::Repeated { .. }));
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(find(2, NOW).await, None);
    let unknown = store.find_refresh(&next_grant_id(), &party.token(2), NOW).await.unwrap();
    assert_eq!(unknown, None);
}

pub async fn refresh_is_repeated_within_the_grace(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    for (number, later) in [(3, 0), (4, 1), (5, REFRESH_GRACE_IN)] {
        let now = NOW.plus(later);
        let (jti, status) = (party.jti(number), party.status(2));
        let access = AccessRow { jti, expires_at: now.plus(ACCESS_IN), status };
        let (grant, current) = (party.grant(), party.token(2));
        let repeated = rotate(store, &party, 1, now).await;
        assert_eq!(repeated, Rotated::Repeated { grant, access, current });
    }
    assert!(matches!(rotate(store, &party, 2, NOW.plus(11)).await, Rotated::Next { .. }));
    assert!(found_access(store, &party, 5, NOW.plus(11)).await.is_some());
}

pub async fn refresh_is_not_repeated_after_its_successor_was_used(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    rotate(store, &party, 2, NOW).await;
    assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Reused);
    assert_dead(store, &party).await;
}

pub async fn refresh_is_not_repeated_after_an_access_token_of_its_successor_was_seen(
    store: &AnyStore,
) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    assert!(found_access(store, &party, 2, NOW).await.is_some());
    assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Reused);
    assert_dead(store, &party).await;
}

pub async fn refresh_is_repeated_although_an_older_access_token_was_seen(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    assert!(found_access(store, &party, 1, NOW).await.is_some());
    assert!(matches!(rotate(store, &party, 1, NOW).await, Rotated::Repeated { .. }));
}

pub async fn refresh_is_not_repeated_after_the_grace(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    let late = NOW.plus(REFRESH_GRACE_IN + 1);
    assert_eq!(rotate(store, &party, 1, late).await, Rotated::Reused);
    assert_dead(store, &party).await;
}

pub async fn refresh_of_two_generations_back_kills_within_the_grace(store: &AnyStore) {
    let party = Party::begun(store).await;
    for generation in 1..=3 {
        rotate(store, &party, generation, NOW).await;
    }
    assert_eq!(rotate(store, &party, 2, NOW).await, Rotated::Reused);
    assert_dead(store, &party).await;
    assert_eq!(rotate(store, &party, 4, NOW).await, Rotated::Missing);
}

pub async fn refresh_of_another_client_changes_nothing(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    for generation in 1..=2 {
        let rotation = party.rotation(generation, NOW);
        let stolen = RefreshRotation { client_id: client("thief"), ..rotation };
        assert_eq!(store.rotate_refresh(&stolen, NOW).await.unwrap(), Rotated::Missing);
    }
    assert!(matches!(rotate(store, &party, 2, NOW).await, Rotated::Next { .. }));
}

pub async fn refresh_beyond_the_scope_changes_nothing(store: &AnyStore) {
    let party = Party::begun(store).await;
    for beyond in ["admin", "openid admin", "open", "openid profil", "%a+", "."] {
        let wide = RefreshRotation { scope: Some(scope(beyond)), ..party.rotation(1, NOW) };
        let rotated = store.rotate_refresh(&wide, NOW).await.unwrap();
        assert_eq!(rotated, Rotated::ScopeExceeded, "{beyond}");
    }
    let same = RefreshRotation { scope: Some(scope("profile openid")), ..party.rotation(1, NOW) };
    let rotated = store.rotate_refresh(&same, NOW).await.unwrap();
    let Rotated::Next { access, .. } = rotated else { panic!("{rotated:?}") };
    assert_eq!(access.jti, party.jti(2), "nothing was counted");
    let wide = RefreshRotation { scope: Some(scope("admin")), ..party.rotation(1, NOW) };
    assert_eq!(store.rotate_refresh(&wide, NOW).await.unwrap(), Rotated::ScopeExceeded);
    assert!(matches!(rotate(store, &party, 1, NOW).await, Rotated::Repeated { .. }));
}

pub async fn refresh_that_is_stale_kills_even_beyond_the_scope(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    rotate(store, &party, 2, NOW).await;
    let wide = RefreshRotation { scope: Some(scope("admin")), ..party.rotation(1, NOW) };
    assert_eq!(store.rotate_refresh(&wide, NOW).await.unwrap(), Rotated::Reused);
    assert_dead(store, &party).await;
}

pub async fn refresh_of_a_generation_that_was_lost_is_missing(store: &AnyStore) {
    let party = Party::begun(store).await;
    assert_eq!(rotate(store, &party, 2, NOW).await, Rotated::Missing);
    assert!(matches!(rotate(store, &party, 1, NOW).await, Rotated::Next { .. }));
}

pub async fn refresh_of_an_unknown_grant_is_missing(store: &AnyStore) {
    let party = Party::new(store).await;
    assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Missing);
}

pub async fn refresh_of_a_grant_without_one_is_missing(store: &AnyStore) {
    let party = Party::new(store).await;
    let new = NewGrant { refresh: None, ..party.new_grant() };
    store.put_grant(&new, NOW).await.unwrap();
    assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Missing);
    assert!(found_access(store, &party, 1, NOW).await.is_some());
}

pub async fn refresh_ends_absolutely(store: &AnyStore) {
    let party = Party::begun(store).await;
    let end = NOW.plus(GRANT_IN);
    let mut generation = 0;
    let mut now = NOW;
    while now < end {
        generation += 1;
        assert!(matches!(rotate(store, &party, generation, now).await, Rotated::Next { .. }));
        now = now.plus(IDLE_IN - 1);
    }
    assert_eq!(rotate(store, &party, generation + 1, end).await, Rotated::Missing);
    assert_eq!(store.find_grant(&party.grant_id, end).await.unwrap(), None);
}

pub async fn refresh_ends_when_idle(store: &AnyStore) {
    let party = Party::begun(store).await;
    let last = NOW.plus(IDLE_IN - 1);
    assert!(matches!(rotate(store, &party, 1, last).await, Rotated::Next { .. }));
    assert_eq!(rotate(store, &party, 2, last.plus(IDLE_IN)).await, Rotated::Missing);
    assert_eq!(rotate(store, &party, 1, last.plus(IDLE_IN)).await, Rotated::Missing);
}

pub async fn refresh_never_outlives_its_grant(store: &AnyStore) {
    let party = Party::new(store).await;
    let end = NOW.plus(ACCESS_IN);
    let grant = GrantRecord { expires_at: end, ..party.grant() };
    store.put_grant(&NewGrant { grant, ..party.new_grant() }, NOW).await.unwrap();
    for (generation, now) in [(1, NOW.plus(100)), (1, NOW.plus(101)), (2, NOW.plus(102))] {
        let rotated = rotate(store, &party, generation, now).await;
        let (Rotated::Next { grant, access } | Rotated::Repeated { grant, access, .. }) = rotated
        else {
            panic!("{rotated:?}")
        };
        assert_eq!((grant.expires_at, access.expires_at), (end, end));
    }
    assert_eq!(rotate(store, &party, 3, end).await, Rotated::Missing);
}

pub async fn revocation_beats_the_grace(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    for generation in [1, 2] {
        assert_eq!(rotate(store, &party, generation, NOW).await, Rotated::Missing);
    }
    assert_dead(store, &party).await;
}

pub async fn access_token_ends(store: &AnyStore) {
    let party = Party::begun(store).await;
    assert!(found_access(store, &party, 1, NOW.plus(ACCESS_IN - 1)).await.is_some());
    assert_eq!(found_access(store, &party, 1, NOW.plus(ACCESS_IN)).await, None);
    for number in [0, 2, u64::MAX] {
        assert_eq!(found_access(store, &party, number, NOW).await, None);
    }
    let unknown = Jti { grant_id: next_grant_id(), number: 1 };
    assert_eq!(store.find_access(&unknown, NOW).await.unwrap(), None);
}

pub async fn access_token_of_the_previous_generation_ends_with_the_grace(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    let last = NOW.plus(REFRESH_GRACE_IN);
    assert!(found_access(store, &party, 1, last).await.is_some());
    assert_eq!(found_access(store, &party, 1, last.plus(1)).await, None);
    assert!(found_access(store, &party, 2, last.plus(1)).await.is_some());
    rotate(store, &party, 2, last).await;
    assert_eq!(found_access(store, &party, 1, last).await, None, "two generations back");
    assert!(found_access(store, &party, 2, last).await.is_some());
}

pub async fn access_token_is_revoked_alone(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    for _ in 0..2 {
        store.revoke_access(&party.jti(2), NOW).await.unwrap();
        assert_eq!(found_access(store, &party, 2, NOW).await, None);
    }
    assert!(found_access(store, &party, 1, NOW).await.is_some());
    assert!(matches!(rotate(store, &party, 2, NOW).await, Rotated::Next { .. }));
    let unknown = Jti { grant_id: next_grant_id(), number: u64::MAX };
    store.revoke_access(&unknown, NOW).await.unwrap();
}

pub async fn statuses_are_reserved_once(store: &AnyStore) {
    let mut reserved = std::collections::HashSet::new();
    let mut lists = std::collections::HashSet::new();
    // One block more than a list has: wherever the first one lay, a new list has begun.
    for _ in 0..=STATUS_LIST_LEN / STATUS_BLOCK_LEN {
        let StatusBlock { list, first } = reserve(store).await;
        assert!(first + STATUS_BLOCK_LEN <= STATUS_LIST_LEN, "{first}");
        assert_eq!(first % STATUS_BLOCK_LEN, 0);
        assert!(reserved.insert((list, first)), "{first} was reserved twice");
        lists.insert(list);
    }
    assert!((2..=3).contains(&lists.len()), "{}", lists.len());
}

pub async fn status_list_is_found_and_others_are_not(store: &AnyStore) {
    let list = reserve(store).await.list;
    let bits = store.find_status_list(&list, NOW).await.unwrap().unwrap();
    assert_eq!(bits.len(), STATUS_LIST_LEN as usize / 8);
    assert!(store.has_status_list(&list, NOW).await.unwrap());
    assert!(!store.has_status_list(&new_list(), NOW).await.unwrap());
    assert_eq!(store.find_status_list(&new_list(), NOW).await.unwrap(), None);
}

pub async fn status_of_a_token_is_set_when_it_is_revoked(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    rotate(store, &party, 1, NOW).await;
    assert_eq!(statuses(store, &party).await, [0, 0, 0, 0]);
    for _ in 0..2 {
        store.revoke_access(&party.jti(2), NOW).await.unwrap();
        assert_eq!(statuses(store, &party).await, [0, 1, 0, 0]);
    }
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(statuses(store, &party).await, [1, 1, 0, 0]);
}

pub async fn statuses_of_a_grant_are_set_however_it_is_revoked(store: &AnyStore) {
    for way in ["revoked", "code replayed", "refresh token reused"] {
        let party = begin_with_statuses(store).await;
        rotate(store, &party, 1, NOW).await;
        rotate(store, &party, 2, NOW).await;
        assert_eq!(statuses(store, &party).await, [0, 0, 0, 0], "{way}");
        match way {
            "revoked" => store.revoke_grant(&party.grant_id, NOW).await.unwrap(),
            "code replayed" => {
                let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
                assert_eq!(redeemed, Redeemed::Replayed);
            }
            _ => assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Reused),
        }
        assert_eq!(statuses(store, &party).await, [1, 1, 1, 0], "{way}");
        store.revoke_grant(&party.grant_id, NOW).await.unwrap();
        assert_eq!(statuses(store, &party).await, [1, 1, 1, 0], "{way}, and once more");
    }
}

pub async fn statuses_of_many_tokens_are_set(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    let StatusIndex { list, idx: first } = party.status(1);
    // Of the same generation: each is good for as long as any other.
    for _ in 0..200 {
        rotate(store, &party, 1, NOW).await;
    }
    let idx = first + 500;
    let status = StatusIndex { list, idx };
    let rotation = RefreshRotation { status, ..party.rotation(1, NOW) };
    store.rotate_refresh(&rotation, NOW).await.unwrap();
    // The newest and the oldest, with a gap of tokens that were revoked alone.
    for number in 100..140 {
        store.revoke_access(&party.jti(number), NOW).await.unwrap();
    }
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(statuses(store, &party).await, [1, 1, 0, 0]);
    let bits = store.find_status_list(&list, NOW).await.unwrap().unwrap();
    let list = StatusList::new(Bits::One, bits);
    let set = (0..STATUS_BLOCK_LEN).filter(|at| list.status(first + at) == Some(1)).count();
    assert_eq!((list.status(idx), set), (Some(1), 3), "and no other");
}

pub async fn attempts_are_limited_within_their_window(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    let attempt = async |now| store.count_attempt(&key, 3, 900, now).await.unwrap();
    for later in [0, 10, 20] {
        assert_eq!(attempt(NOW.plus(later)).await, Attempt::Allowed);
    }
    // The window began with the first attempt, and refused ones do not move it.
    assert_eq!(attempt(NOW.plus(20)).await, Attempt::Refused { retry_in: 880 });
    assert_eq!(attempt(NOW.plus(899)).await, Attempt::Refused { retry_in: 1 });
    for _ in 0..3 {
        assert_eq!(attempt(NOW.plus(900)).await, Attempt::Allowed);
    }
    assert_eq!(attempt(NOW.plus(900)).await, Attempt::Refused { retry_in: 900 });
    assert_eq!(attempt(NOW).await, Attempt::Refused { retry_in: 900 }, "the clock went back");
    let other = secret(&format!("attempts {}", unique()));
    let allowed = store.count_attempt(&other, 3, 900, NOW).await.unwrap();
    assert_eq!(allowed, Attempt::Allowed);
    let none = secret(&format!("attempts {}", unique()));
    let refused = store.count_attempt(&none, 0, 900, NOW).await.unwrap();
    assert_eq!(refused, Attempt::Refused { retry_in: 900 });
}

pub async fn attempts_are_returned(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    store.return_attempt(&key).await.unwrap();
    let attempt = async || store.count_attempt(&key, 2, 900, NOW).await.unwrap();
    assert_eq!(attempt().await, Attempt::Allowed);
    assert_eq!(attempt().await, Attempt::Allowed);
    store.return_attempt(&key).await.unwrap();
    assert_eq!(attempt().await, Attempt::Allowed, "one came back");
    assert!(matches!(attempt().await, Attempt::Refused { .. }), "and only one");
}

pub async fn attempts_are_forgotten(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    let attempt = async || store.count_attempt(&key, 1, 900, NOW).await.unwrap();
    assert_eq!(attempt().await, Attempt::Allowed);
    assert!(matches!(attempt().await, Attempt::Refused { .. }));
    store.forget_attempts(&key).await.unwrap();
    assert_eq!(attempt().await, Attempt::Allowed);
    store.forget_attempts(&secret("attempts that never were")).await.unwrap();
}

pub async fn store_answers(store: &AnyStore) {
    store.ping().await.unwrap();
}

pub async fn race_of_codes_has_one_winner_and_then_none(store: &AnyStore) {
    let party = Party::new(store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    let results = race(RACERS, |_| {
        let (store, redemption) = (store.clone(), party.redemption());
        async move { store.redeem_code(&redemption, NOW).await.unwrap() }
    })
    .await;
    let winners = results.iter().filter(|result| matches!(result, Redeemed::Once { .. })).count();
    let replays = results.iter().filter(|result| **result == Redeemed::Replayed).count();
    assert_eq!((winners, replays), (1, results.len() - 1));
    assert_dead(store, &party).await;
}

pub async fn race_of_refreshes_has_one_successor(store: &AnyStore) {
    let party = Party::begun(store).await;
    for generation in 1..=3 {
        let results = race(RACERS, |_| {
            let (store, rotation) = (store.clone(), party.rotation(generation, NOW));
            async move { store.rotate_refresh(&rotation, NOW).await.unwrap() }
        })
        .await;
        let mut next = 0;
        let mut numbers = std::collections::BTreeSet::new();
        for result in &results {
            match result {
                Rotated::Next { access, .. } => {
                    next += 1;
                    numbers.insert(access.jti.number);
                }
                Rotated::Repeated { access, current, .. } => {
                    assert_eq!(*current, party.token(generation + 1));
                    numbers.insert(access.jti.number);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(next, 1, "one rotation");
        assert_eq!(numbers.len(), results.len(), "no two access tokens share a jti");
        for token in 1..=generation + 2 {
            let digest = party.token(token);
            let found = store.find_refresh(&party.grant_id, &digest, NOW).await.unwrap();
            assert_eq!(found.is_some(), token == generation + 1, "one live leaf");
        }
    }
}

pub async fn race_of_rotation_and_revocation_leaves_nothing_alive(store: &AnyStore) {
    for _ in 0..50 {
        let party = Party::begun(store).await;
        race(8, |racer| {
            let (store, rotation) = (store.clone(), party.rotation(1, NOW));
            async move {
                if racer == 4 {
                    store.revoke_grant(&rotation.grant_id, NOW).await.unwrap();
                } else {
                    let rotated = store.rotate_refresh(&rotation, NOW).await.unwrap();
                    assert_ne!(rotated, Rotated::Reused);
                }
            }
        })
        .await;
        assert_dead(store, &party).await;
    }
}

pub async fn race_of_redemption_and_revocation_leaves_nothing_alive(store: &AnyStore) {
    for _ in 0..50 {
        let party = Party::new(store).await;
        store.put_code(&party.code(), NOW).await.unwrap();
        race(2, |racer| {
            let (store, redemption) = (store.clone(), party.redemption());
            async move {
                if racer == 0 {
                    store.revoke_grant(&redemption.grant_id, NOW).await.unwrap();
                } else {
                    store.redeem_code(&redemption, NOW).await.unwrap();
                }
            }
        })
        .await;
        assert_dead(store, &party).await;
    }
}

pub async fn race_of_attempts_keeps_the_limit(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    let results = race(RACERS, |_| {
        let store = store.clone();
        async move { store.count_attempt(&key, 10, 900, NOW).await.unwrap() }
    })
    .await;
    let allowed = results.iter().filter(|result| **result == Attempt::Allowed).count();
    assert_eq!(allowed, 10);
}

pub async fn race_of_transactions_has_one_first(store: &AnyStore) {
    let digest = secret(&format!("transaction {}", unique()));
    let results = race(RACERS, |_| {
        let store = store.clone();
        async move { store.spend_transaction(&digest, NOW.plus(600), NOW).await.unwrap() }
    })
    .await;
    assert_eq!(results.iter().filter(|result| **result == Once::First).count(), 1);
}

pub async fn race_of_reservations_has_no_overlap(store: &AnyStore) {
    let blocks = race(RACERS, |_| {
        let store = store.clone();
        async move { reserve(&store).await }
    })
    .await;
    let all: std::collections::HashSet<_> =
        blocks.iter().map(|block| (block.list, block.first)).collect();
    assert_eq!(all.len(), blocks.len());
}

/// A user, a client and the grant between them.
#[derive(Clone, Debug)]
pub struct Party {
    /// The grant.
    pub grant_id: GrantId,
    session: Sha256Digest,
    /// Where the statuses of its access tokens are; `None` for a list that is in no store.
    block: Option<StatusBlock>,
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

    /// The place of the access token of this generation in a status list.
    fn status(&self, generation: u32) -> StatusIndex {
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
        }
    }
}

/// Puts a login session of its own that lives `expires_in` seconds.
pub async fn put_session(store: &AnyStore, expires_in: u64) -> SessionRecord {
    let session = SessionRecord {
        digest: secret(&format!("session {}", unique())),
        user_id: UserId("alice".to_owned()),
        auth_time: NOW.minus(5),
        expires_at: NOW.plus(expires_in),
    };
    store.put_session(&session, NOW).await.unwrap();
    session
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
async fn statuses(store: &AnyStore, party: &Party) -> [u8; 4] {
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

/// Lets `racers` run at the same time and returns what they returned.
async fn race<F>(racers: u64, racer: impl Fn(u64) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(usize::try_from(racers).unwrap()));
    let mut set = JoinSet::new();
    for number in 0..racers {
        let (start, run) = (start.clone(), racer(number));
        set.spawn(async move {
            start.wait().await;
            run.await
        });
    }
    set.join_all().await
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
