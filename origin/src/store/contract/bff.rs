//! Sessions of the backend-for-frontend.

use shared::claims::SessionId;
use shared::limits::{BFF_RENEWAL_IN, BFF_SESSION_IDLE_IN};

use super::*;

const FIRST: BffVersion = BffVersion(0);
const RENEWAL: BffRenewal = BffRenewal([1; 16]);
const OTHER: BffRenewal = BffRenewal([2; 16]);

/// A session whose tokens are good for as long as an access token lives.
pub(super) fn bff_session(expires_in: u64) -> BffSessionRecord {
    let grant_id = next_grant_id();
    BffSessionRecord {
        digest: secret(&format!("handle of {grant_id}")),
        user_id: UserId(format!("user of {grant_id}")),
        client_id: client("bff"),
        grant_id,
        auth_time: NOW.minus(5),
        expires_at: NOW.plus(expires_in),
        renew_at: NOW.plus(ACCESS_IN),
        sealed: "sealed-0".to_owned(),
    }
}

async fn put(store: &AnyStore, expires_in: u64) -> BffSessionRecord {
    let session = bff_session(expires_in);
    store.put_bff_session(&session, &[], NOW).await.unwrap();
    session
}

async fn open(store: &AnyStore, session: &BffSessionRecord, now: UnixTime) -> BffOpened {
    store.open_bff_session(&session.digest, None, &RENEWAL, now).await.unwrap()
}

pub async fn bff_session_is_found_until_it_is_idle(store: &AnyStore) {
    let mut session = bff_session(10 * BFF_SESSION_IDLE_IN);
    session.renew_at = session.expires_at;
    store.put_bff_session(&session, &[], NOW).await.unwrap();
    let last = NOW.plus(BFF_SESSION_IDLE_IN - 1);
    assert_eq!(open(store, &session, last).await, BffOpened::Current(session.clone(), FIRST));
    let moved = last.plus(BFF_SESSION_IDLE_IN - 1);
    assert_eq!(open(store, &session, moved).await, BffOpened::Current(session.clone(), FIRST));
    let idle = moved.plus(BFF_SESSION_IDLE_IN);
    assert_eq!(open(store, &session, idle).await, BffOpened::Missing);
}

pub async fn bff_session_is_found_until_its_absolute_end(store: &AnyStore) {
    let session = put(store, 100).await;
    let last = session.expires_at.minus(1);
    assert_eq!(open(store, &session, last).await, BffOpened::Current(session.clone(), FIRST));
    assert_eq!(open(store, &session, session.expires_at).await, BffOpened::Missing);
}

pub async fn bff_session_is_listed_under_its_owners(store: &AnyStore) {
    let (one, two) = (bff_session(GRANT_IN), bff_session(GRANT_IN));
    let user = BffOwner::User(one.user_id.clone());
    let sid = BffOwner::LoginSession(SessionId::of_session(&one.digest));
    store.put_bff_session(&one, &[user.clone(), sid.clone()], NOW).await.unwrap();
    store.put_bff_session(&two, std::slice::from_ref(&user), NOW).await.unwrap();
    let mut listed = store.list_bff_sessions(&user).await.unwrap();
    let mut expected = vec![one.digest, two.digest];
    listed.sort_by_key(Sha256Digest::to_base64url);
    expected.sort_by_key(Sha256Digest::to_base64url);
    assert_eq!(listed, expected);
    assert_eq!(store.list_bff_sessions(&sid).await.unwrap(), [one.digest]);
    let nobody = BffOwner::User(UserId(format!("nobody beside {}", one.grant_id)));
    assert_eq!(store.list_bff_sessions(&nobody).await.unwrap(), []);
    let other = BffOwner::LoginSession(SessionId::of_session(&two.digest));
    assert_eq!(store.list_bff_sessions(&other).await.unwrap(), []);
}

pub async fn bff_session_that_has_ended_is_missing(store: &AnyStore) {
    let session = put(store, GRANT_IN).await;
    let found = store.find_bff_grant(&session.digest).await.unwrap();
    let BffSessionRecord { grant_id, user_id, client_id, .. } = session.clone();
    assert_eq!(found, Some(BffGrant { grant_id, user_id, client_id }));
    store.end_bff_session(&session.digest).await.unwrap();
    assert_eq!(open(store, &session, NOW).await, BffOpened::Missing);
    assert_eq!(store.find_bff_grant(&session.digest).await.unwrap(), None);
    store.end_bff_session(&session.digest).await.unwrap();
}

pub async fn bff_tokens_are_renewed_by_the_first_who_asks(store: &AnyStore) {
    let session = put(store, GRANT_IN).await;
    let due = session.renew_at;
    let before = open(store, &session, due.minus(1)).await;
    assert_eq!(before, BffOpened::Current(session.clone(), FIRST));
    let first = open(store, &session, due).await;
    assert_eq!(first, BffOpened::Renew { session: session.clone(), was_begun: false });
    assert_eq!(open(store, &session, due).await, BffOpened::Underway);

    let next = due.plus(ACCESS_IN);
    assert!(!store.renew_bff_session(&session.digest, &OTHER, "x", next).await.unwrap());
    assert!(store.renew_bff_session(&session.digest, &RENEWAL, "sealed-1", next).await.unwrap());
    let again = store.renew_bff_session(&session.digest, &RENEWAL, "sealed-2", next).await.unwrap();
    assert!(!again, "a renewal ends once");
    let renewed =
        BffSessionRecord { sealed: "sealed-1".to_owned(), renew_at: next, ..session.clone() };
    assert_eq!(open(store, &session, due).await, BffOpened::Current(renewed, BffVersion(1)));
}

pub async fn bff_tokens_that_are_refused_are_renewed_once(store: &AnyStore) {
    let session = put(store, GRANT_IN).await;
    let refuse = async || {
        store.open_bff_session(&session.digest, Some(&FIRST), &RENEWAL, NOW).await.unwrap()
    };
    let first = refuse().await;
    assert_eq!(first, BffOpened::Renew { session: session.clone(), was_begun: false });
    assert_eq!(refuse().await, BffOpened::Underway);
    let next = session.renew_at;
    store.renew_bff_session(&session.digest, &RENEWAL, "sealed-1", next).await.unwrap();
    assert!(matches!(refuse().await, BffOpened::Current(_, BffVersion(1))), "others than refused");
}

pub async fn bff_renewal_that_does_not_come_back_is_resumed(store: &AnyStore) {
    let session = put(store, GRANT_IN).await;
    let due = session.renew_at;
    open(store, &session, due).await;
    assert_eq!(open(store, &session, due.plus(BFF_RENEWAL_IN - 1)).await, BffOpened::Underway);
    let late = due.plus(BFF_RENEWAL_IN);
    let resumed = store.open_bff_session(&session.digest, None, &OTHER, late).await.unwrap();
    assert_eq!(resumed, BffOpened::Renew { session: session.clone(), was_begun: true });
    let lost = store.renew_bff_session(&session.digest, &RENEWAL, "x", late).await.unwrap();
    assert!(!lost, "the first one has lost its turn");
    assert!(store.renew_bff_session(&session.digest, &OTHER, "sealed-1", late).await.unwrap());
}

pub async fn bff_renewal_that_was_yielded_is_resumed_at_once(store: &AnyStore) {
    let session = put(store, GRANT_IN).await;
    let due = session.renew_at;
    open(store, &session, due).await;
    store.yield_bff_renewal(&session.digest, &OTHER).await.unwrap();
    assert_eq!(open(store, &session, due).await, BffOpened::Underway, "somebody else's");
    store.yield_bff_renewal(&session.digest, &RENEWAL).await.unwrap();
    let resumed = open(store, &session, due).await;
    assert_eq!(resumed, BffOpened::Renew { session: session.clone(), was_begun: true });
}

pub async fn bff_renewal_goes_on_from_newer_tokens(store: &AnyStore) {
    let session = put(store, GRANT_IN).await;
    let due = session.renew_at;
    open(store, &session, due).await;
    assert!(!store.advance_bff_session(&session.digest, &OTHER, "x").await.unwrap());
    assert!(store.advance_bff_session(&session.digest, &RENEWAL, "sealed-1").await.unwrap());
    assert_eq!(open(store, &session, due).await, BffOpened::Underway, "it goes on");
    store.yield_bff_renewal(&session.digest, &RENEWAL).await.unwrap();
    let advanced = BffSessionRecord { sealed: "sealed-1".to_owned(), ..session.clone() };
    let resumed = open(store, &session, due).await;
    assert_eq!(resumed, BffOpened::Renew { session: advanced, was_begun: true });
}

pub async fn bff_renewal_of_an_ended_session_changes_nothing(store: &AnyStore) {
    let session = put(store, GRANT_IN).await;
    open(store, &session, session.renew_at).await;
    store.end_bff_session(&session.digest).await.unwrap();
    let next = session.expires_at;
    assert!(!store.renew_bff_session(&session.digest, &RENEWAL, "x", next).await.unwrap());
    store.yield_bff_renewal(&session.digest, &RENEWAL).await.unwrap();
    assert_eq!(open(store, &session, NOW).await, BffOpened::Missing, "nothing comes back");
}
