//! Notices. All of a store wait in one queue, so each promise leaves it empty.

use super::*;

const LEASE_IN: u64 = 15;

pub(crate) fn notice(client_id: &str) -> LogoutNotice {
    LogoutNotice {
        client_id: client(client_id),
        user_id: UserId("alice".to_owned()),
        sid: SessionId::of_session(&secret(&format!("session {}", unique()))),
    }
}

async fn put(store: &AnyStore, notices: &[LogoutNotice], due_at: UnixTime, now: UnixTime) {
    store.put_notices(notices, due_at, now).await.unwrap();
}

async fn take(store: &AnyStore, now: UnixTime) -> Vec<TakenNotice> {
    store.take_due_notices(100, now.plus(LEASE_IN), now).await.unwrap()
}

/// Takes what is due, which is `expected` in any order, for the time of this number.
async fn takes(store: &AnyStore, now: UnixTime, attempt: u32, expected: &[&LogoutNotice]) {
    let taken = take(store, now).await;
    assert_eq!(taken.len(), expected.len(), "{taken:?}");
    for taken in &taken {
        assert!(expected.contains(&&taken.notice), "{taken:?}");
        assert_eq!(taken.attempt, attempt, "{taken:?}");
    }
}

async fn finish_all(store: &AnyStore, now: UnixTime) {
    for taken in take(store, now).await {
        store.finish_notice(&taken).await.unwrap();
    }
    assert_eq!(take(store, now.plus(10 * LEASE_IN)).await, []);
}

pub async fn notice_is_taken_when_it_is_due(store: &AnyStore) {
    put(store, &[], NOW, NOW).await;
    assert_eq!(take(store, NOW).await, []);
    let (web, other) = (notice("web"), notice("other"));
    put(store, &[web.clone(), other.clone()], NOW.plus(3), NOW).await;
    assert_eq!(take(store, NOW.plus(2)).await, []);
    takes(store, NOW.plus(3), 1, &[&web, &other]).await;
    finish_all(store, NOW.plus(3 + LEASE_IN)).await;
}

pub async fn notice_is_taken_by_nobody_else_while_it_is_leased(store: &AnyStore) {
    let web = notice("web");
    put(store, std::slice::from_ref(&web), NOW, NOW).await;
    takes(store, NOW, 1, &[&web]).await;
    assert_eq!(take(store, NOW.plus(LEASE_IN - 1)).await, []);
    takes(store, NOW.plus(LEASE_IN), 2, &[&web]).await;
    finish_all(store, NOW.plus(2 * LEASE_IN)).await;
}

pub async fn notice_that_is_finished_is_gone(store: &AnyStore) {
    let web = notice("web");
    put(store, std::slice::from_ref(&web), NOW, NOW).await;
    let taken = take(store, NOW).await;
    assert_eq!(taken[0].expires_at, NOW.plus(LOGOUT_NOTICE_EXPIRES_IN));
    for _ in 0..2 {
        store.finish_notice(&taken[0]).await.unwrap();
        assert_eq!(take(store, NOW.plus(LEASE_IN)).await, []);
        store.put_off_notice(&taken[0], NOW).await.unwrap();
        assert_eq!(take(store, NOW.plus(LEASE_IN)).await, [], "nothing comes back");
    }
    put(store, std::slice::from_ref(&web), NOW, NOW).await;
    takes(store, NOW, 1, &[&web]).await;
    finish_all(store, NOW.plus(LEASE_IN)).await;
}

pub async fn notice_that_is_put_off_is_due_again(store: &AnyStore) {
    let web = notice("web");
    put(store, std::slice::from_ref(&web), NOW, NOW).await;
    let taken = take(store, NOW).await;
    store.put_off_notice(&taken[0], NOW.plus(2)).await.unwrap();
    assert_eq!(take(store, NOW.plus(1)).await, []);
    takes(store, NOW.plus(2), 2, &[&web]).await;
    finish_all(store, NOW.plus(2 + LEASE_IN)).await;
}

pub async fn notice_that_was_taken_again_is_not_changed_by_the_first(store: &AnyStore) {
    let web = notice("web");
    put(store, std::slice::from_ref(&web), NOW, NOW).await;
    let first = take(store, NOW).await;
    let later = NOW.plus(LEASE_IN);
    takes(store, later, 2, &[&web]).await;
    store.put_off_notice(&first[0], NOW).await.unwrap();
    assert_eq!(take(store, later).await, [], "still leased");
    store.finish_notice(&first[0]).await.unwrap();
    takes(store, later.plus(LEASE_IN), 3, &[&web]).await;
    finish_all(store, later.plus(2 * LEASE_IN)).await;
}

pub async fn notice_waits_once_for_each_session_and_client(store: &AnyStore) {
    let web = notice("web");
    let other_client = LogoutNotice { client_id: client("other"), ..web.clone() };
    let other_session = notice("web");
    let all = [web.clone(), other_client.clone(), other_session.clone()];
    put(store, &all, NOW.plus(3), NOW).await;
    put(store, &all, NOW.plus(5), NOW).await;
    assert_eq!(take(store, NOW.plus(2)).await, []);
    // Never later than it was, and earlier when it is asked for.
    takes(store, NOW.plus(3), 1, &[&web, &other_client, &other_session]).await;
    put(store, &all, NOW.plus(3), NOW.plus(3)).await;
    assert_eq!(take(store, NOW.plus(4)).await, [], "not while it is being sent");
    for taken in take(store, NOW.plus(3 + LEASE_IN)).await {
        store.put_off_notice(&taken, NOW.plus(300)).await.unwrap();
    }
    put(store, &all, NOW.plus(40), NOW.plus(40)).await;
    takes(store, NOW.plus(40), 3, &[&web, &other_client, &other_session]).await;
    finish_all(store, NOW.plus(40 + LEASE_IN)).await;
}

pub async fn notices_are_taken_a_few_at_a_time_the_longest_due_first(store: &AnyStore) {
    let notices: Vec<LogoutNotice> = (0..5).map(|_| notice("web")).collect();
    for (delay, notice) in (0..).zip(&notices) {
        put(store, std::slice::from_ref(notice), NOW.plus(10 - delay), NOW).await;
    }
    let now = NOW.plus(20);
    let two = store.take_due_notices(2, now.plus(LEASE_IN), now).await.unwrap();
    let two: Vec<_> = two.into_iter().map(|taken| taken.notice).collect();
    assert!(two.contains(&notices[4]) && two.contains(&notices[3]), "{two:?}");
    takes(store, now, 1, &[&notices[0], &notices[1], &notices[2]]).await;
    finish_all(store, now.plus(LEASE_IN)).await;
}

pub async fn notice_ends(store: &AnyStore) {
    put(store, &[notice("web")], NOW, NOW).await;
    assert_eq!(take(store, NOW.plus(LOGOUT_NOTICE_EXPIRES_IN)).await, []);
    finish_all(store, NOW.plus(LOGOUT_NOTICE_EXPIRES_IN)).await;
}

pub async fn race_of_senders_gives_each_notice_to_one(store: &AnyStore) {
    let notices: Vec<LogoutNotice> = (0..40).map(|_| notice("web")).collect();
    put(store, &notices, NOW, NOW).await;
    let taken = race(20, |_| {
        let store = store.clone();
        async move { store.take_due_notices(5, NOW.plus(LEASE_IN), NOW).await.unwrap() }
    })
    .await;
    let mut taken: Vec<_> = taken.into_iter().flatten().map(|taken| taken.notice).collect();
    let count = taken.len();
    taken.sort_by(|one, other| one.sid.cmp(&other.sid));
    taken.dedup();
    assert_eq!((count, taken.len()), (40, 40), "each once, and none is left");
    finish_all(store, NOW.plus(LEASE_IN)).await;
}

pub async fn race_of_putters_leaves_one_notice(store: &AnyStore) {
    let web = notice("web");
    race(20, |racer| {
        let (store, web) = (store.clone(), web.clone());
        async move { store.put_notices(&[web], NOW.plus(racer % 3), NOW).await.unwrap() }
    })
    .await;
    takes(store, NOW.plus(3), 1, &[&web]).await;
    finish_all(store, NOW.plus(3 + LEASE_IN)).await;
}
