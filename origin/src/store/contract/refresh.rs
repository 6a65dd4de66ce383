//! Refresh tokens and their rotation.

use super::*;
use crate::store::PRESENTATIONS;

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

/// Rotates the first refresh token and holds it.
async fn hold(store: &AnyStore) -> Party {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    say_untold(store, &party, &[1]).await;
    party
}

/// The attempts of these numbers.
fn attempts(numbers: &[u8]) -> Vec<AttemptId> {
    numbers.iter().map(|number| AttemptId([*number; 16])).collect()
}

/// Presents the first refresh token by an attempt, when it is known that nobody was told of others.
async fn ask(store: &AnyStore, party: &Party, number: u8, untold: &[u8], now: UnixTime) -> Rotated {
    let (attempt, untold) = (AttemptId([number; 16]), attempts(untold));
    let rotation = RefreshRotation { attempt, untold, ..party.rotation(1, NOW) };
    store.rotate_refresh(&rotation, now).await.unwrap()
}

/// Says that nobody was told what came of presentations of the first refresh token.
async fn say_untold(store: &AnyStore, party: &Party, untold: &[u8]) {
    let untold = attempts(untold);
    store.hold_refresh(&party.grant_id, &party.token(1), &untold).await.unwrap();
}

const LATE: UnixTime = NOW.plus(REFRESH_GRACE_IN + 1);

pub async fn refresh_whose_successor_was_told_is_not_held_by_a_repetition(store: &AnyStore) {
    let party = Party::begun(store).await;
    // The first was told. A thief breaks off what comes then, and says so.
    ask(store, &party, 1, &[], NOW).await;
    for (number, untold) in [(2, &[][..]), (3, &[2]), (4, &[2, 3])] {
        let repeated = ask(store, &party, number, untold, NOW).await;
        assert!(matches!(repeated, Rotated::Repeated { .. }), "{repeated:?}");
        say_untold(store, &party, &[number]).await;
        say_untold(store, &party, &[2, 3, 4]).await;
    }
    assert_eq!(ask(store, &party, 5, &[2, 3, 4], LATE).await, Rotated::Reused);
    assert_dead(store, &party).await;
}

pub async fn refresh_that_two_have_asked_for_is_not_held(store: &AnyStore) {
    let party = Party::begun(store).await;
    // The second came before anybody knew that the first was not told, and was told.
    ask(store, &party, 1, &[], NOW).await;
    ask(store, &party, 2, &[], NOW).await;
    say_untold(store, &party, &[1]).await;
    assert_eq!(ask(store, &party, 3, &[1], LATE).await, Rotated::Reused);
    assert_dead(store, &party).await;
    // Nor when it came after it.
    let party = Party::begun(store).await;
    ask(store, &party, 1, &[], NOW).await;
    ask(store, &party, 2, &[1], NOW).await;
    say_untold(store, &party, &[1]).await;
    assert_eq!(ask(store, &party, 3, &[1], LATE).await, Rotated::Reused);
}

pub async fn refresh_is_held_when_none_of_several_at_once_was_told(store: &AnyStore) {
    // Each came before anybody knew what became of the others.
    for told_apart in [&[&[3][..], &[1], &[2]][..], &[&[2, 3], &[1, 3]], &[&[1, 2, 3, 4]]] {
        let party = Party::begun(store).await;
        for number in 1..=3 {
            ask(store, &party, number, &[], NOW).await;
        }
        for untold in told_apart {
            say_untold(store, &party, untold).await;
        }
        let repeated = ask(store, &party, 5, &[], LATE).await;
        assert!(matches!(repeated, Rotated::Repeated { .. }), "{told_apart:?} {repeated:?}");
    }
    // Or the next one says it, of all of them; and then is the one who was told.
    let party = Party::begun(store).await;
    for number in 1..=3 {
        ask(store, &party, number, &[], NOW).await;
    }
    let repeated = ask(store, &party, 4, &[1, 2, 3], LATE).await;
    assert!(matches!(repeated, Rotated::Repeated { .. }), "{repeated:?}");
    let later = LATE.plus(REFRESH_GRACE_IN + 1);
    assert_eq!(ask(store, &party, 5, &[1, 2, 3], later).await, Rotated::Reused);
}

pub async fn refresh_that_too_many_have_asked_for_is_not_held(store: &AnyStore) {
    const MANY: u8 = PRESENTATIONS.to_le_bytes()[0];
    for (count, is_held) in [(MANY, true), (MANY + 1, false)] {
        let party = Party::begun(store).await;
        let all: Vec<u8> = (1..=count).collect();
        for number in &all {
            ask(store, &party, *number, &[], NOW).await;
        }
        say_untold(store, &party, &all).await;
        let rotated = ask(store, &party, 100, &all, LATE).await;
        assert_eq!(matches!(rotated, Rotated::Repeated { .. }), is_held, "{count} {rotated:?}");
    }
}

pub async fn refresh_is_held_when_nobody_was_told_of_those_who_asked(store: &AnyStore) {
    let party = Party::begun(store).await;
    // What has not happened cannot be held, and can later.
    say_untold(store, &party, &[1]).await;
    for (number, untold) in [(1, &[][..]), (2, &[1]), (3, &[1, 2])] {
        ask(store, &party, number, untold, NOW).await;
    }
    for _ in 0..2 {
        say_untold(store, &party, &[1, 2, 3]).await;
    }
    let repeated = ask(store, &party, 4, &[], LATE).await;
    assert!(matches!(repeated, Rotated::Repeated { .. }), "{repeated:?}");
    // The fourth was told, and its grace ends.
    say_untold(store, &party, &[1, 2, 3]).await;
    let later = LATE.plus(REFRESH_GRACE_IN + 1);
    assert_eq!(ask(store, &party, 5, &[1, 2, 3], later).await, Rotated::Reused);
}

pub async fn refresh_that_nobody_was_told_of_is_repeated_though_it_is_not_held(store: &AnyStore) {
    let party = Party::begun(store).await;
    ask(store, &party, 1, &[], NOW).await;
    // Whoever asks again is in the place of the first, and has a grace of its own.
    let repeated = ask(store, &party, 2, &[1], LATE).await;
    assert!(matches!(repeated, Rotated::Repeated { .. }), "{repeated:?}");
    let within = LATE.plus(REFRESH_GRACE_IN);
    assert!(matches!(ask(store, &party, 3, &[], within).await, Rotated::Repeated { .. }));
    assert_eq!(ask(store, &party, 4, &[1, 3], within.plus(1)).await, Rotated::Reused);
}

pub async fn refresh_that_is_held_is_repeated_however_late(store: &AnyStore) {
    let party = hold(store).await;
    let late = NOW.plus(IDLE_IN - 1);
    let repeated = rotate(store, &party, 1, late).await;
    let Rotated::Repeated { current, .. } = repeated else { panic!("{repeated:?}") };
    assert_eq!(current, party.token(2));
    assert!(matches!(rotate(store, &party, 2, late).await, Rotated::Next { .. }));
}

pub async fn refresh_that_is_held_has_its_grace_when_it_is_repeated(store: &AnyStore) {
    let party = hold(store).await;
    // Later than the minute by which a store's own clock may be ahead.
    let answered = NOW.plus(IDLE_IN / 2);
    rotate(store, &party, 1, answered).await;
    let within = answered.plus(REFRESH_GRACE_IN);
    assert!(matches!(rotate(store, &party, 1, within).await, Rotated::Repeated { .. }));
    assert_eq!(rotate(store, &party, 1, within.plus(1)).await, Rotated::Reused);
    assert_dead(store, &party).await;
}

pub async fn refresh_that_is_held_is_over_when_its_successor_is_seen(store: &AnyStore) {
    let party = hold(store).await;
    rotate(store, &party, 2, NOW).await;
    assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Reused);
    assert_dead(store, &party).await;
    let party = hold(store).await;
    assert!(found_access(store, &party, 2, NOW).await.is_some());
    assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Reused);
}

pub async fn refresh_that_is_not_the_previous_one_is_not_held(store: &AnyStore) {
    let party = Party::begun(store).await;
    rotate(store, &party, 1, NOW).await;
    for generation in [2, 3] {
        let token = party.token(generation);
        store.hold_refresh(&party.grant_id, &token, &attempts(&[1])).await.unwrap();
    }
    let late = NOW.plus(REFRESH_GRACE_IN + 1);
    assert_eq!(rotate(store, &party, 1, late).await, Rotated::Reused);
    store.hold_refresh(&next_grant_id(), &party.token(1), &attempts(&[1])).await.unwrap();
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
