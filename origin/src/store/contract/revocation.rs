//! Grants, access tokens and their statuses: until they end or are revoked.

use super::*;
use crate::statuses::Statuses;

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
        store.revoke_access(&party.name(2), NOW).await.unwrap();
        assert_eq!(found_access(store, &party, 2, NOW).await, None);
    }
    assert!(found_access(store, &party, 1, NOW).await.is_some());
    assert!(matches!(rotate(store, &party, 2, NOW).await, Rotated::Next { .. }));
    let jti = Jti { grant_id: next_grant_id(), number: u64::MAX };
    let unknown = AccessName { jti, status: party.status(1) };
    store.revoke_access(&unknown, NOW).await.unwrap();
}

pub async fn status_of_a_token_that_the_store_has_lost_is_set(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    // As after a failover that has lost the rotation to the second token.
    for _ in 0..2 {
        store.revoke_access(&party.name(2), NOW).await.unwrap();
        assert_eq!(statuses(store, &party).await, [0, 1, 0, 0]);
        assert_eq!(found_access(store, &party, 2, NOW).await, None);
    }
    assert!(found_access(store, &party, 1, NOW).await.is_some());
}

pub async fn number_of_a_lost_token_that_was_revoked_is_not_used_again(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    for number in [2, 3] {
        store.revoke_access(&party.name(number), NOW).await.unwrap();
    }
    let rotated = rotate(store, &party, 1, NOW).await;
    let Rotated::Next { access, .. } = rotated else { panic!("{rotated:?}") };
    assert_eq!(access.jti, party.jti(4));
    for (number, is_alive) in [(2, false), (3, false), (4, true)] {
        assert_eq!(found_access(store, &party, number, NOW).await.is_some(), is_alive, "{number}");
    }
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
        store.revoke_access(&party.name(2), NOW).await.unwrap();
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
        let name = AccessName { jti: party.jti(number), status: party.status(2) };
        store.revoke_access(&name, NOW).await.unwrap();
    }
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(statuses(store, &party).await, [1, 1, 0, 0]);
    let bits = store.find_status_list(&list, NOW).await.unwrap().unwrap();
    let list = StatusList::new(Bits::One, bits);
    let set = (0..STATUS_BLOCK_LEN).filter(|at| list.status(first + at) == Some(1)).count();
    assert_eq!((list.status(idx), set), (Some(1), 3), "and no other");
}

pub async fn statuses_before_a_long_gap_are_set(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    let StatusBlock { list, first } = party.block.unwrap();
    let status = |number| StatusIndex { list, idx: first + number - 1 };
    issue_many(store, &party, 2..=250, status).await;
    // More than a hundred in a row that were revoked alone.
    for number in 51..=200 {
        let name = AccessName { jti: party.jti(number.into()), status: status(number) };
        store.revoke_access(&name, NOW).await.unwrap();
        assert_eq!(found_access(store, &party, number.into(), NOW).await, None);
    }
    assert!(found_access(store, &party, 50, NOW).await.is_some());
    assert_eq!(count_set(store, &list, first).await, 150);
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(count_set(store, &list, first).await, 250);
}

pub async fn statuses_of_more_than_a_thousand_tokens_are_set(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    let (one, two) = (party.block.unwrap(), reserve(store).await);
    issue_many(store, &party, 2..=1_200, |number| match number {
        ..=1_000 => StatusIndex { list: one.list, idx: one.first + number - 1 },
        _ => StatusIndex { list: two.list, idx: two.first + number - 1_001 },
    })
    .await;
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(count_set(store, &one.list, one.first).await, 1_000);
    assert_eq!(count_set(store, &two.list, two.first).await, 200);
}

pub async fn grant_has_so_many_access_tokens_and_no_more(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    let StatusIndex { list, idx: first } = party.status(1);
    let most = u32::try_from(ACCESS_TOKENS_OF_A_GRANT).unwrap();
    let status = |number| StatusIndex { list, idx: first + number % STATUS_BLOCK_LEN };
    issue_many(store, &party, 2..=most, status).await;
    for _ in 0..2 {
        assert_eq!(rotate(store, &party, 1, NOW).await, Rotated::Crowded);
        // That has used nothing up.
        assert!(found_access(store, &party, 1, NOW).await.is_some());
    }
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(found_access(store, &party, u64::from(most), NOW).await, None);
}

pub async fn finishing_a_revocation_revokes_nothing(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    let finish = async || store.finish_revocation(&party.grant_id, NOW).await.unwrap();
    finish().await;
    assert!(found_access(store, &party, 1, NOW).await.is_some());
    assert_eq!(statuses(store, &party).await, [0, 0, 0, 0]);
    assert!(matches!(rotate(store, &party, 1, NOW).await, Rotated::Next { .. }));
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    finish().await;
    assert_eq!(statuses(store, &party).await, [1, 1, 0, 0]);
    assert_dead(store, &party).await;
    store.finish_revocation(&next_grant_id(), NOW).await.unwrap();

    // A code that was not redeemed stays good, too.
    let pending = Party::new(store).await;
    store.put_code(&pending.code(), NOW).await.unwrap();
    store.finish_revocation(&pending.grant_id, NOW).await.unwrap();
    let redeemed = store.redeem_code(&pending.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");
}

pub async fn late_code_revokes_the_grant_that_it_began(store: &AnyStore) {
    let party = begin_with_statuses(store).await;
    rotate(store, &party, 1, NOW).await;
    for later in [0, 1] {
        let now = NOW.plus(CODE_IN + later);
        assert!(store.revoke_by_late_code(&party.late_code(), now).await.unwrap());
        assert_eq!(statuses(store, &party).await, [1, 1, 0, 0]);
    }
    assert_dead(store, &party).await;
}

pub async fn late_code_redeems_nothing(store: &AnyStore) {
    let party = Party::new(store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    let report = async |code: &LateCode| store.revoke_by_late_code(code, NOW).await.unwrap();
    assert!(!report(&party.late_code()).await);
    assert_eq!(store.find_grant(&party.grant_id, NOW).await.unwrap(), None);
    assert_eq!(found_access(store, &party, 1, NOW).await, None);
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");

    assert!(!report(&LateCode { client_id: client("thief"), ..party.late_code() }).await);
    assert!(!report(&LateCode { digest: secret("another code"), ..party.late_code() }).await);
    assert!(found_access(store, &party, 1, NOW).await.is_some());
    // A grant that began without a code was not begun by this one.
    let bare = Party::new(store).await;
    store.put_grant(&bare.new_grant(), NOW).await.unwrap();
    assert!(!report(&bare.late_code()).await);
    assert!(found_access(store, &bare, 1, NOW).await.is_some());
}

/// However a revocation began, and failed before the statuses were set: the same call again sets
/// them. `spoil` makes a status list one that cannot be written, `mend` undoes it.
pub async fn revocation_that_failed_is_completed_by_asking_again(
    store: &AnyStore,
    spoil: impl AsyncFn(StatusListId),
    mend: impl AsyncFn(StatusListId),
) {
    for way in WAYS {
        let party = begin_with_statuses(store).await;
        rotate(store, &party, 1, NOW).await;
        rotate(store, &party, 2, NOW).await;
        let list = party.status(1).list;
        spoil(list).await;
        revoke_by(store, &party, way).await.unwrap_err();
        mend(list).await;
        assert_eq!(statuses(store, &party).await, [0, 0, 0, 0], "{way}");
        revoke_by(store, &party, way).await.unwrap();
        let set = if way == "revoked alone" { [0, 1, 0, 0] } else { [1, 1, 1, 0] };
        assert_eq!(statuses(store, &party).await, set, "{way}");
        assert_eq!(found_access(store, &party, 2, NOW).await, None, "{way}");
    }
}

/// Every way in which tokens are revoked.
pub const WAYS: [&str; 5] =
    ["revoked", "revoked alone", "code replayed", "code late", "refresh token reused"];

/// Revokes a party's grant, or its second access token, in one of [`WAYS`].
///
/// # Errors
/// As the store says.
pub async fn revoke_by(store: &AnyStore, party: &Party, way: &str) -> Result<(), StoreError> {
    match way {
        "revoked" => store.revoke_grant(&party.grant_id, NOW).await,
        "revoked alone" => store.revoke_access(&party.name(2), NOW).await,
        "code replayed" => store.redeem_code(&party.redemption(), NOW).await.map(|_| ()),
        "code late" => store.revoke_by_late_code(&party.late_code(), NOW).await.map(|_| ()),
        _ => store.rotate_refresh(&party.rotation(1, NOW), NOW).await.map(|_| ()),
    }
}

/// Issues access tokens with these numbers, all of one generation, each with a status of its own.
pub async fn issue_many(
    store: &AnyStore,
    party: &Party,
    numbers: std::ops::RangeInclusive<u32>,
    status: impl Fn(u32) -> StatusIndex,
) {
    for number in numbers {
        let rotation = RefreshRotation { status: status(number), ..party.rotation(1, NOW) };
        let rotated = store.rotate_refresh(&rotation, NOW).await.unwrap();
        let (Rotated::Next { access, .. } | Rotated::Repeated { access, .. }) = rotated else {
            panic!("{rotated:?}")
        };
        assert_eq!(access.jti, party.jti(u64::from(number)));
    }
}

/// Counts the statuses in a block that say "revoked".
pub async fn count_set(store: &AnyStore, list: &StatusListId, first: u32) -> usize {
    let bits = store.find_status_list(list, NOW).await.unwrap().unwrap();
    let list = StatusList::new(Bits::One, bits);
    (first..first + STATUS_BLOCK_LEN).filter(|at| list.status(*at) == Some(1)).count()
}

/// A supply of places takes none in a list that the store has lost: `lose` makes it lose all.
pub async fn places_of_a_lost_list_are_not_handed_out(store: &AnyStore, lose: impl AsyncFn()) {
    let statuses = Arc::new(Statuses::new(store.clone()));
    let gone = statuses.take(NOW).await.unwrap().list;
    lose().await;
    assert!(!store.has_status_list(&gone, NOW).await.unwrap());
    statuses.confirm(NOW).await.unwrap();
    let begun = statuses.take(NOW).await.unwrap().list;
    assert!(store.has_status_list(&begun, NOW).await.unwrap(), "for a new grant, at once");
    lose().await;
    let refreshed = statuses.take(NOW.plus(1)).await.unwrap().list;
    assert!(store.has_status_list(&refreshed, NOW).await.unwrap(), "for others, within a second");
}
