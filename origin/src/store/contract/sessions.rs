//! A user's sessions, and what was begun under each.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::*;
use crate::thinning::thin;

/// Puts a session of a user, begun at `now`.
async fn put_session_of(
    store: &AnyStore,
    user_id: &UserId,
    expires_in: u64,
    now: UnixTime,
) -> SessionRecord {
    let session = SessionRecord {
        digest: secret(&format!("session {}", unique())),
        user_id: user_id.clone(),
        auth_time: now,
        expires_at: now.plus(expires_in),
        user_agent: None,
        address: None,
    };
    store.put_session(&session, now).await.unwrap();
    session
}

fn new_user() -> UserId {
    UserId(format!("user {}", unique()))
}

async fn find(store: &AnyStore, user_id: &UserId, now: UnixTime) -> Vec<Sha256Digest> {
    let found = store.find_user_sessions(user_id, now).await.unwrap();
    assert!(found.iter().all(|session| session.record.user_id == *user_id));
    sorted(found.iter().map(UserSession::digest).collect())
}

fn sorted(mut digests: Vec<Sha256Digest>) -> Vec<Sha256Digest> {
    digests.sort_by_key(Sha256Digest::to_base64url);
    digests
}

pub async fn sessions_of_a_user_are_found_and_no_others(store: &AnyStore) {
    let (alice, bob, nobody) = (new_user(), new_user(), new_user());
    let one = put_session_of(store, &alice, GRANT_IN, NOW).await;
    let other = put_session_of(store, &alice, GRANT_IN, NOW).await;
    let bobs = put_session_of(store, &bob, GRANT_IN, NOW).await;
    assert_eq!(find(store, &alice, NOW).await, sorted(vec![one.digest, other.digest]));
    assert_eq!(find(store, &bob, NOW).await, [bobs.digest]);
    assert_eq!(find(store, &nobody, NOW).await, []);
    store.take_session(&one.digest).await.unwrap();
    for _ in 0..2 {
        assert_eq!(find(store, &alice, NOW).await, [other.digest]);
    }
    store.take_session(&other.digest).await.unwrap();
    assert_eq!(find(store, &alice, NOW).await, []);
    let again = put_session_of(store, &alice, GRANT_IN, NOW).await;
    assert_eq!(find(store, &alice, NOW).await, [again.digest]);
}

pub async fn session_of_a_user_is_found_as_it_was_put(store: &AnyStore) {
    let session = SessionRecord {
        digest: secret(&format!("session {}", unique())),
        user_id: new_user(),
        auth_time: NOW.minus(5),
        expires_at: NOW.plus(GRANT_IN),
        user_agent: Some("<b>Mozilla</b> \u{1F600} '\"".to_owned()),
        address: Some("2001:db8::7".parse().unwrap()),
    };
    store.put_session(&session, NOW).await.unwrap();
    let found = async |now| store.find_user_sessions(&session.user_id, now).await.unwrap();
    let expected = UserSession { record: session.clone(), used_at: NOW };
    for now in [NOW, NOW.plus(100)] {
        let found = found(now).await;
        assert_eq!(found, std::slice::from_ref(&expected), "looking is not using");
    }
    let used = store.find_session(&session.digest, NOW.plus(200)).await.unwrap();
    assert_eq!(used, Some(session.clone()));
    let [found] = found(NOW.plus(300)).await.try_into().unwrap();
    assert_eq!((found.record, found.used_at), (session, NOW.plus(200)));
}

pub async fn sessions_of_a_user_that_have_ended_are_not_found(store: &AnyStore) {
    let user = new_user();
    let short = put_session_of(store, &user, 100, NOW).await;
    let idle = put_session_of(store, &user, 10 * LOGIN_SESSION_IDLE_IN, NOW).await;
    let both = sorted(vec![short.digest, idle.digest]);
    assert_eq!(find(store, &user, NOW.plus(99)).await, both);
    assert_eq!(find(store, &user, NOW.plus(100)).await, [idle.digest]);
    assert_eq!(find(store, &user, NOW.plus(LOGIN_SESSION_IDLE_IN - 1)).await, [idle.digest]);
    assert_eq!(find(store, &user, NOW.plus(LOGIN_SESSION_IDLE_IN)).await, []);
    // It was looked at, which moves nothing.
    assert_eq!(
        store.find_session(&idle.digest, NOW.plus(LOGIN_SESSION_IDLE_IN)).await.unwrap(),
        None
    );
}

pub async fn sessions_of_a_user_that_are_too_many_are_usable_and_the_newest_found(
    store: &AnyStore,
) {
    let user = new_user();
    let put = |later: u64| {
        let (store, user) = (store.clone(), user.clone());
        async move { put_session_of(&store, &user, GRANT_IN, NOW.plus(later)).await.digest }
    };
    let digests: Vec<_> = stream::iter(0..1_005).map(put).buffered(16).collect().await;
    let found = find(store, &user, NOW.plus(1_005)).await;
    assert_eq!(found.len(), 1_000);
    assert!(found == sorted(digests[5..].to_vec()), "others than the newest are found");
    let newest = put(1_005).await;
    let found = find(store, &user, NOW.plus(1_005)).await;
    assert!(found.len() == 1_000 && found.contains(&newest) && !found.contains(&digests[5]));
    for digest in [&digests[0], &digests[5], &digests[6], &newest] {
        let session = store.find_session(digest, NOW.plus(1_005)).await.unwrap();
        assert_eq!(session.map(|session| session.digest), Some(*digest));
    }
}

pub async fn grants_that_go_over_keep_the_name_of_their_session(store: &AnyStore) {
    let (before, after) = (put_session(store, GRANT_IN).await, put_session(store, GRANT_IN).await);
    let party = Party::under(&before);
    party.begin(store).await;
    let grants = store.take_session(&before.digest).await.unwrap();
    store.link_grants(&after.digest, &grants, NOW).await.unwrap();
    let over = store.find_session_grants(&after.digest).await.unwrap();
    assert_eq!(over, grants);
    let sid = over[0].notice.as_ref().map(|notice| &notice.sid);
    assert_eq!(sid, Some(&SessionId::of_session(&before.digest)));
    let bare = SessionGrant { grant_id: next_grant_id(), notice: None };
    store.link_grants(&after.digest, std::slice::from_ref(&bare), NOW).await.unwrap();
    let over = store.take_session(&after.digest).await.unwrap();
    assert!(over.len() == 2 && over.contains(&bare) && over.contains(&grants[0]), "{over:?}");
    assert_eq!(store.find_session_grants(&secret("no session")).await.unwrap(), []);
}

pub async fn grants_of_a_session_go_over_by_the_thousands(store: &AnyStore) {
    let (before, after) = (put_session(store, GRANT_IN).await, put_session(store, GRANT_IN).await);
    let notice = SessionGrant::of(&Party::under(&before).code()).notice;
    let grant = |_| SessionGrant { grant_id: next_grant_id(), notice: notice.clone() };
    let grants: Vec<SessionGrant> = (0..9_000).map(grant).collect();
    store.link_grants(&before.digest, &grants, NOW).await.unwrap();
    let taken = store.take_session(&before.digest).await.unwrap();
    assert_eq!(taken.len(), 9_000);
    store.link_grants(&after.digest, &taken, NOW).await.unwrap();
    let over = store.find_session_grants(&after.digest).await.unwrap();
    assert_eq!(over.len(), 9_000);
    let set = |grants: Vec<SessionGrant>| grants.into_iter().collect::<HashSet<_>>();
    assert!(set(over) == set(grants), "others have come over");
}

pub async fn grants_of_a_session_are_counted_and_forgotten(store: &AnyStore) {
    let session = put_session(store, GRANT_IN).await;
    for expected in 1..=3 {
        let code = Party::under(&session).code();
        assert_eq!(store.put_code(&code, NOW).await.unwrap(), expected);
        assert_eq!(store.put_code(&code, NOW).await.unwrap(), expected, "the same once more");
    }
    let grants = store.find_session_grants(&session.digest).await.unwrap();
    store.unlink_grants(&session.digest, &grants[..2]).await.unwrap();
    store.unlink_grants(&session.digest, &[]).await.unwrap();
    assert_eq!(store.find_session_grants(&session.digest).await.unwrap(), grants[2..]);
    store.take_session(&session.digest).await.unwrap();
    assert_eq!(store.put_code(&Party::under(&session).code(), NOW).await.unwrap(), 0);
}

pub async fn session_with_many_grants_is_rid_of_the_dead(store: &AnyStore) {
    let session = put_session(store, GRANT_IN).await;
    let begin = async || {
        let party = Party::under(&session);
        party.begin(store).await;
        party
    };
    let (alive, revoked) = (begin().await, begin().await);
    store.revoke_grant(&revoked.grant_id, NOW).await.unwrap();
    // Codes that nobody redeemed, and what is left of another client's, which has nothing else.
    let of_web = SessionGrant::of(&alive.code());
    let notice = of_web.notice.clone().map(|it| LogoutNotice { client_id: client("api"), ..it });
    let another = |_| SessionGrant { grant_id: next_grant_id(), notice: notice.clone() };
    let others: Vec<SessionGrant> = (0..3).map(another).collect();
    store.link_grants(&session.digest, &others, NOW).await.unwrap();
    store.put_code(&Party::under(&session).code(), NOW).await.unwrap();
    for _ in 0..2 {
        thin(&**store, &session.digest, Duration::ZERO, 1).await.unwrap();
        let left = store.find_session_grants(&session.digest).await.unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&of_web) && left.iter().any(|grant| others.contains(grant)));
    }
    assert!(store.find_grant(&alive.grant_id, NOW).await.unwrap().is_some());
}

pub async fn session_with_many_grants_keeps_the_newest_of_a_client(store: &AnyStore) {
    let session = put_session(store, GRANT_IN).await;
    for _ in 0..5 {
        Party::under(&session).begin(store).await;
    }
    thin(&**store, &session.digest, Duration::ZERO, 3).await.unwrap();
    let mut alive = 0;
    for grant in store.find_session_grants(&session.digest).await.unwrap() {
        alive += usize::from(store.find_grant(&grant.grant_id, NOW).await.unwrap().is_some());
    }
    assert_eq!(alive, 3);
}

/// A login while others look and log out is listed in the end.
pub async fn race_of_logins_and_looks_loses_no_session(store: &AnyStore) {
    for _ in 0..10 {
        let user = new_user();
        let ended = put_session_of(store, &user, GRANT_IN, NOW).await;
        let logins = race(30, |racer| {
            let (store, user, ended) = (store.clone(), user.clone(), ended.digest);
            async move {
                match racer % 3 {
                    0 => Some(put_session_of(&store, &user, GRANT_IN, NOW).await.digest),
                    1 => {
                        store.find_user_sessions(&user, NOW).await.unwrap();
                        None
                    }
                    _ => {
                        store.take_session(&ended).await.unwrap();
                        None
                    }
                }
            }
        })
        .await;
        let logins: Vec<Sha256Digest> = logins.into_iter().flatten().collect();
        assert_eq!(find(store, &user, NOW).await, sorted(logins));
    }
}
