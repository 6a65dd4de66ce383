//! What must hold when many ask at the same time.

use super::*;

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
    for round in 0..50 {
        let key = secret(&format!("attempts {}", unique()));
        let results = race(RACERS, |number| {
            let (store, attempt) = (store.clone(), AttemptId([u8::try_from(number).unwrap(); 16]));
            async move { store.count_attempt(&key, &attempt, 10, NOW.plus(5), NOW).await.unwrap() }
        })
        .await;
        let allowed = results.iter().filter(|result| **result == Attempt::Allowed).count();
        assert_eq!(allowed, 10, "round {round}");
    }
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

pub async fn race_of_bff_renewals_has_one_winner(store: &AnyStore) {
    let session = bff_session(GRANT_IN);
    store.put_bff_session(&session, &[], NOW).await.unwrap();
    let (digest, due) = (session.digest, session.renew_at);
    let results = race(RACERS, |number| {
        let store = store.clone();
        let renewal = BffRenewal([u8::try_from(number).unwrap(); 16]);
        async move { store.open_bff_session(&digest, None, &renewal, due).await.unwrap() }
    })
    .await;
    let winners = results.iter().filter(|result| matches!(result, BffOpened::Renew { .. }));
    assert_eq!(winners.count(), 1);
    let waiting = results.iter().filter(|result| **result == BffOpened::Underway);
    assert_eq!(waiting.count(), results.len() - 1);
}

/// Lets `racers` run at the same time and returns what they returned.
pub async fn race<F>(racers: u64, racer: impl Fn(u64) -> F) -> Vec<F::Output>
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
