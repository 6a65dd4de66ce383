//! Slots of a cluster that are on their way from one server to another: some of their rows are here,
//! some are there.

use stack::RedisCluster;

use super::topologies::connect;
use super::*;
use crate::store::LogoutNotice;

/// A store that does not wait long for rows that are on their way.
async fn connect_in_a_hurry(url: &str) -> AnyStore {
    Arc::new(Redis::connect(&settings(url)).await.unwrap())
}

/// A slot between two servers.
struct Moving<'c> {
    cluster: &'c RedisCluster,
    slot: String,
    from: usize,
    to: usize,
}

impl<'c> Moving<'c> {
    /// Begins to move the slot of `key`.
    fn begin(cluster: &'c RedisCluster, key: &str) -> Self {
        let from = cluster.owner(key);
        let to = cluster.primaries().into_iter().find(|at| *at != from).unwrap();
        let slot = slot::slot(key.as_bytes()).to_string();
        let moving = Self { cluster, slot, from, to };
        moving.set(to, &["IMPORTING", &moving.name(from)]);
        moving.set(from, &["MIGRATING", &moving.name(to)]);
        moving
    }

    fn name(&self, at: usize) -> String {
        self.cluster.nodes[at].command(&["CLUSTER", "MYID"]).lines().nth(1).unwrap().to_owned()
    }

    fn set(&self, at: usize, state: &[&str]) {
        let words = [&["CLUSTER", "SETSLOT", &self.slot], state].concat();
        assert_eq!(self.cluster.nodes[at].command(&words), "+OK\r\n");
    }

    /// Moves one row.
    fn take(&self, key: &str) {
        let port = self.cluster.nodes[self.to].port().to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        assert_eq!(self.cluster.nodes[self.from].command(&words), "+OK\r\n", "{key}");
    }

    /// The rows that are still where they were.
    fn left(&self) -> Vec<String> {
        let words = ["CLUSTER", "GETKEYSINSLOT", &self.slot, "1000"];
        let answer = self.cluster.nodes[self.from].command(&words);
        answer.lines().filter(|line| line.starts_with("cadence:")).map(str::to_owned).collect()
    }

    /// Moves what is left, and gives the slot to its new owner.
    fn finish(self) {
        for key in self.left() {
            self.take(&key);
        }
        let new = self.name(self.to);
        for at in [self.to, self.from] {
            self.set(at, &["NODE", &new]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_status_lists_that_are_moving() {
    let cluster = RedisCluster::start();
    let store = connect(&cluster.url()).await;
    for (number, first_moved) in [(0, STATUS_LISTS_KEY.to_owned()), (1, String::new())] {
        let party = contract::begin_with_statuses(&store).await;
        let list = format!("{STATUS_LIST_KEYS}{}", party.status(1).list);
        let moving = Moving::begin(&cluster, STATUS_LISTS_KEY);
        moving.take(if number == 0 { &first_moved } else { &list });
        store.revoke_grant(&party.grant_id, NOW).await.unwrap();
        assert_eq!(contract::statuses(&store, &party).await, [1, 0, 0, 0], "round {number}");
        moving.finish();
        assert_eq!(contract::statuses(&store, &party).await, [1, 0, 0, 0], "round {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notice_is_lost_while_its_slot_moves() {
    let cluster = RedisCluster::start();
    let store = connect(&cluster.url()).await;
    let hasty = connect_in_a_hurry(&cluster.url()).await;
    let notice: LogoutNotice = contract::notice("web");
    store.put_notices(std::slice::from_ref(&notice), NOW, NOW).await.unwrap();
    let moving = Moving::begin(&cluster, keys::NOTICES_KEY);
    moving.take(keys::NOTICES_KEY);
    let later = NOW.plus(60);
    hasty.take_due_notices(10, later, NOW).await.unwrap_err();
    // One more for the same client: it is there already, though not where the list is.
    hasty.put_notices(std::slice::from_ref(&notice), NOW, NOW).await.unwrap_err();
    moving.finish();
    let taken = store.take_due_notices(10, later, NOW).await.unwrap();
    assert_eq!(taken.iter().map(|taken| &taken.notice).collect::<Vec<_>>(), [&notice]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_whose_slot_moves_is_whole_before_and_after() {
    let cluster = RedisCluster::start();
    let store = connect(&cluster.url()).await;
    let hasty = connect_in_a_hurry(&cluster.url()).await;
    let (party, coming) = (Party::begun(&store).await, Party::new(&store).await);
    store.put_code(&coming.code(), NOW).await.unwrap();
    let access = access_key(&party.jti(1));
    for (party, first_moved) in
        [(&party, &grant_key(&party.grant_id)), (&coming, &code_key(&coming.grant_id))]
    {
        for moves_first in [false, true] {
            let moving = Moving::begin(&cluster, first_moved);
            if moves_first {
                moving.take(first_moved);
            }
            hasty.rotate_refresh(&party.rotation(1, NOW), NOW).await.unwrap_err();
            hasty.redeem_code(&party.redemption(), NOW).await.unwrap_err();
            hasty.revoke_grant(&party.grant_id, NOW).await.unwrap_err();
            moving.finish();
        }
    }
    // Nothing has happened by half.
    let rotated = contract::rotate(&store, &party, 1, NOW).await;
    assert!(matches!(rotated, Rotated::Next { .. }), "{rotated:?}");
    let redeemed = store.redeem_code(&coming.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");

    // An access token is found wherever both rows are.
    let moving = Moving::begin(&cluster, &access);
    let second = party.jti(2);
    let find = async || store.find_access(&second, NOW).await.unwrap();
    assert!(find().await.is_some());
    moving.take(&access_key(&second));
    hasty.find_access(&second, NOW).await.unwrap_err();
    moving.take(&grant_key(&party.grant_id));
    assert!(find().await.is_some());
    moving.finish();
    assert!(find().await.is_some());
}
