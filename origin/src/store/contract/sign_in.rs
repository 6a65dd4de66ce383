//! Sessions, transactions, codes, and login attempts.

use super::*;

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

    let mut expected = vec![begun.grant_id, pending.grant_id];
    expected.sort_by_key(GrantId::to_string);
    let found = grant_ids(store.find_session_grants(&session.digest).await.unwrap());
    assert_eq!(found, expected, "looked at before");
    let taken = store.take_session(&session.digest).await.unwrap();
    let sid = SessionId::of_session(&session.digest);
    for grant in &taken {
        let notice = grant.notice.clone().unwrap();
        assert_eq!((notice.client_id, notice.user_id), (client("web"), session.user_id.clone()));
        assert_eq!(notice.sid, sid);
    }
    let taken = grant_ids(taken);
    assert_eq!(taken, expected);
    let found = grant_ids(store.find_session_grants(&session.digest).await.unwrap());
    assert_eq!(found, expected, "and afterwards");
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
    let (grant, nonce, session) = (party.grant(), code.nonce, party.session);
    assert_eq!(redeemed, Redeemed::Once { grant: grant.clone(), nonce, access, session });
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

fn attempt(number: u8) -> AttemptId {
    AttemptId([number; 16])
}

pub async fn attempts_are_limited_until_they_end(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    let count = async |number, lasts, now: UnixTime| {
        store.count_attempt(&key, &attempt(number), 3, now.plus(lasts), now).await.unwrap()
    };
    for (number, later) in [(1, 0), (2, 10), (3, 20)] {
        assert_eq!(count(number, 900, NOW.plus(later)).await, Attempt::Allowed);
    }
    // Each by itself, and refused ones move none.
    assert_eq!(count(4, 900, NOW.plus(20)).await, Attempt::Refused { retry_in: 880 });
    assert_eq!(count(4, 900, NOW.plus(899)).await, Attempt::Refused { retry_in: 1 });
    assert_eq!(count(4, 5, NOW.plus(900)).await, Attempt::Allowed);
    assert_eq!(count(5, 900, NOW.plus(900)).await, Attempt::Refused { retry_in: 5 });
    // Nothing was heard of the fourth.
    assert_eq!(count(5, 900, NOW.plus(905)).await, Attempt::Allowed);
    assert_eq!(count(6, 900, NOW.plus(905)).await, Attempt::Refused { retry_in: 5 });
    let refused = count(6, 900, NOW.minus(1_000)).await;
    assert!(matches!(refused, Attempt::Refused { .. }), "the clock went back: {refused:?}");
    let other = secret(&format!("attempts {}", unique()));
    let none = store.count_attempt(&other, &attempt(1), 0, NOW.plus(900), NOW).await.unwrap();
    assert_eq!(none, Attempt::Refused { retry_in: 1 });
    let allowed = store.count_attempt(&other, &attempt(1), 1, NOW.plus(900), NOW).await.unwrap();
    assert_eq!(allowed, Attempt::Allowed);
}

pub async fn attempts_are_kept(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    let count = async |number, now: UnixTime| {
        store.count_attempt(&key, &attempt(number), 2, now.plus(5), now).await.unwrap()
    };
    assert_eq!(count(1, NOW).await, Attempt::Allowed);
    store.keep_attempt(&key, &attempt(1), NOW.plus(900), NOW).await.unwrap();
    // One that is not counted any more counts again.
    store.keep_attempt(&key, &attempt(2), NOW.plus(901), NOW.plus(6)).await.unwrap();
    assert_eq!(count(3, NOW.plus(6)).await, Attempt::Refused { retry_in: 894 });
    assert_eq!(count(3, NOW.plus(899)).await, Attempt::Refused { retry_in: 1 });
    assert_eq!(count(3, NOW.plus(900)).await, Attempt::Allowed);
}

pub async fn attempts_are_returned(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    let give_back = async |number| store.return_attempt(&key, &attempt(number)).await.unwrap();
    let count = async |number| {
        store.count_attempt(&key, &attempt(number), 2, NOW.plus(900), NOW).await.unwrap()
    };
    give_back(1).await;
    assert_eq!(count(1).await, Attempt::Allowed);
    assert_eq!(count(2).await, Attempt::Allowed);
    give_back(1).await;
    give_back(1).await;
    give_back(3).await;
    assert_eq!(count(3).await, Attempt::Allowed, "one came back");
    assert!(matches!(count(4).await, Attempt::Refused { .. }), "and only one");
}

pub async fn attempts_are_forgotten(store: &AnyStore) {
    let key = secret(&format!("attempts {}", unique()));
    let count = async |number| {
        store.count_attempt(&key, &attempt(number), 1, NOW.plus(900), NOW).await.unwrap()
    };
    assert_eq!(count(1).await, Attempt::Allowed);
    assert!(matches!(count(2).await, Attempt::Refused { .. }));
    store.forget_attempts(&key).await.unwrap();
    assert_eq!(count(2).await, Attempt::Allowed);
    store.forget_attempts(&secret("attempts that never were")).await.unwrap();
}

pub async fn store_answers(store: &AnyStore) {
    store.ping().await.unwrap();
}

/// The grants that a session knows, in order.
fn grant_ids(grants: Vec<SessionGrant>) -> Vec<GrantId> {
    let mut grant_ids: Vec<_> = grants.into_iter().map(|grant| grant.grant_id).collect();
    grant_ids.sort_by_key(GrantId::to_string);
    grant_ids
}
