//! The contract, and what is the Redis store's own.

mod faults;
mod moving;
mod topologies;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use redis::Client;
use redis::aio::MultiplexedConnection;
use shared::limits::{ACCESS_TOKENS_OF_A_GRANT, STATUS_BLOCK_LEN};
use shared::status_list::StatusIndex;
use stack::PATIENCE;
use tempfile::TempDir;

use super::*;
use crate::config::Secret;
use crate::store::contract::{self, AnyStore, NOW, Party, SECRET, for_each_promise};

/// A private server on a Unix socket, killed when dropped.
pub(crate) struct Server {
    directory: TempDir,
    process: Child,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = Self::spawn(&directory);
        let server = Self { directory, process };
        server.wait().await;
        server
    }

    fn spawn(directory: &TempDir) -> Child {
        Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", ""])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed")
    }

    async fn wait(&self) {
        let socket = self.directory.path().join("redis.sock");
        let began = Instant::now();
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "redis-server does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn url(&self) -> String {
        format!("redis+unix://{}", self.directory.path().join("redis.sock").display())
    }

    /// A store that is patient.
    pub(crate) async fn store(&self) -> AnyStore {
        self.store_within(patient()).await
    }

    async fn store_within(&self, deadlines: Deadlines) -> AnyStore {
        Arc::new(Redis::connect_within(&settings(&self.url()), deadlines).await.unwrap())
    }

    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    async fn set(&self, name: &str, value: &str) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg(name).arg(value);
        let () = command.query_async(&mut self.raw().await).await.unwrap();
    }

    /// Makes a status list one that cannot be written: a revocation fails half way then.
    pub(crate) async fn spoil(&self, list: &str) {
        let raw = &mut self.raw().await;
        let key = format!("{STATUS_LIST_KEYS}{list}");
        let () = redis::cmd("RENAME").arg(&key).arg("kept").query_async(raw).await.unwrap();
        let () = redis::cmd("RPUSH").arg(&key).arg("spoiled").query_async(raw).await.unwrap();
    }

    /// Undoes [`Self::spoil`].
    pub(crate) async fn mend(&self, list: &str) {
        let key = format!("{STATUS_LIST_KEYS}{list}");
        let mut rename = redis::cmd("RENAME");
        let () = rename.arg("kept").arg(&key).query_async(&mut self.raw().await).await.unwrap();
    }

    pub(crate) async fn flush(&self) {
        let () = redis::cmd("FLUSHALL").query_async(&mut self.raw().await).await.unwrap();
    }

    /// Sends the server a signal: `STOP`, `CONT`.
    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).arg(self.process.id().to_string());
        assert!(kill.status().unwrap().success());
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn restart(&mut self) {
        self.process = Self::spawn(&self.directory);
        self.wait().await;
    }
}

pub(crate) fn settings(url: &str) -> RedisSettings {
    RedisSettings { url: Secret(url.to_owned()), ..RedisSettings::default() }
}

/// The deadlines of a store that is asked what it does, and not when: a machine that is busy makes
/// no answer late.
fn patient() -> Deadlines {
    Deadlines {
        command: Duration::from_secs(10),
        connect: Duration::from_secs(8),
        replicas: Duration::from_secs(4),
        sentinel: Duration::from_secs(4),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what they are for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

macro_rules! promises {
    ($($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let server = Server::start().await;
                contract::$promise(&server.store().await).await;
            }
        )*

        async fn keep_all_promises(store: &AnyStore) {
            $(contract::$promise(store).await;)*
        }
    };
}
for_each_promise!(promises);

#[tokio::test(flavor = "multi_thread")]
async fn no_row_tells_a_secret_and_every_row_ends() {
    let server = Server::start().await;
    keep_all_promises(&server.store().await).await;
    let mut raw = server.raw().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut raw).await.unwrap();
    assert!(keys.len() > 100, "the promises leave rows");
    for key in &keys {
        let code = key.replace(":grant:", ":code:");
        assert!(code == *key || !keys.contains(&code), "a redeemed code is still there");
        let room = key.split(':').nth(1).unwrap_or_default();
        let rooms = [
            "session",
            "session-grants",
            "user-sessions",
            "bff",
            "bff-owner",
            "notices",
            "notice",
            "transaction",
            "code",
            "grant",
            "jti",
            "login-attempts",
            "status-lists",
            "status-list",
        ];
        assert!(key.starts_with("cadence:") && rooms.contains(&room), "{key}");
        let ends_in: i64 = redis::cmd("TTL").arg(key).query_async(&mut raw).await.unwrap();
        if ends_in == -2 {
            // It has ended since.
            continue;
        }
        assert!(ends_in >= 0, "{key} ends in {ends_in}");
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut raw).await.unwrap();
        let mut read = match kind.as_str() {
            "hash" => redis::cmd("HGETALL"),
            "set" => redis::cmd("SMEMBERS"),
            "zset" => redis::cmd("ZRANGE"),
            "string" => redis::cmd("MGET"),
            other => panic!("{key} is a {other}"),
        };
        read.arg(key);
        if kind == "zset" {
            read.arg(0).arg(-1);
        }
        let values: Vec<Vec<u8>> = read.query_async(&mut raw).await.unwrap();
        let values: Vec<_> = values.iter().map(|it| String::from_utf8_lossy(it)).collect();
        let row = format!("{key} {values:?}");
        assert!(!row.contains(SECRET), "{row}");
    }
}

/// What [`Server`] counted while an intent ran: reads from sockets, and calls of `EVALSHA`.
async fn count(raw: &mut MultiplexedConnection, intent: impl Future<Output = ()>) -> (u64, u64) {
    let mut before = numbers(raw).await;
    intent.await;
    let after = numbers(raw).await;
    // The reading of `after` is one of those it counts.
    before.0 += 1;
    (after.0 - before.0, after.1 - before.1)
}

async fn numbers(raw: &mut MultiplexedConnection) -> (u64, u64) {
    let info: String = redis::cmd("INFO").arg("everything").query_async(raw).await.unwrap();
    let after = |start: &str, end: char| {
        let rest = info.split_once(start).map(|(_, rest)| rest)?;
        rest.split(end).next()?.trim().parse().ok()
    };
    let reads = after("total_reads_processed:", '\r').unwrap();
    (reads, after("cmdstat_evalsha:calls=", ',').unwrap_or(0))
}

#[tokio::test]
async fn an_intent_is_one_round_trip() {
    let server = Server::start().await;
    let store = server.store().await;
    let raw = &mut server.raw().await;
    for round in ["loading the scripts", "counting"] {
        let session = contract::put_session(&store, 1_000).await;
        let party = Party::new(&store).await;
        store.put_code(&party.code(), NOW).await.unwrap();
        let other = Party::new(&store).await;
        let (grant_id, jti, token) = (party.grant_id, party.jti(1), party.token(2));
        let counts = [
            count(raw, async {
                store.find_session(&session.digest, NOW).await.unwrap();
            })
            .await,
            count(raw, async {
                store.redeem_code(&party.redemption(), NOW).await.unwrap();
            })
            .await,
            count(raw, async {
                contract::rotate(&store, &party, 1, NOW).await;
            })
            .await,
            count(raw, async {
                store.find_access(&jti, NOW).await.unwrap().unwrap();
            })
            .await,
            count(raw, async {
                store.find_refresh(&grant_id, &token, NOW).await.unwrap().unwrap();
            })
            .await,
            count(raw, async {
                store.find_grant(&grant_id, NOW).await.unwrap().unwrap();
            })
            .await,
            count(raw, async {
                store.revoke_access(&party.name(1), NOW).await.unwrap();
            })
            .await,
            count(raw, async {
                store.revoke_grant(&grant_id, NOW).await.unwrap();
            })
            .await,
            count(raw, async {
                store.put_grant(&other.new_grant(), NOW).await.unwrap();
            })
            .await,
            count(raw, async {
                let attempt = AttemptId([7; 16]);
                store.count_attempt(&token, &attempt, 10, NOW.plus(5), NOW).await.unwrap();
            })
            .await,
            count(raw, async {
                store.take_session(&session.digest).await.unwrap();
            })
            .await,
        ];
        if round == "counting" {
            // Reads and scripts. A revocation sets statuses in a second step, because they lie in
            // another slot.
            let read = |scripts| (1, scripts);
            assert_eq!(counts[..6], [read(1), read(1), read(1), read(1), read(0), read(0)]);
            assert_eq!(counts[6..8], [(2, 2), (2, 2)], "revocations");
            assert_eq!(counts[8..], [read(1), read(1), read(1)]);
        }
    }
}

/// Asks until there is an answer.
async fn until_it_answers<T>(ask: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_silent_server_is_an_error_in_time() {
    let server = Server::start().await;
    let party = Party::begun(&server.store().await).await;
    let deadlines = Deadlines::default();
    let store = server.store_within(deadlines).await;
    server.signal("STOP");
    for _ in 0..6 {
        // Beside a clock of the same deadline: what keeps one of them late does so with the other.
        let asks = async {
            store.find_grant(&party.grant_id, NOW).await.unwrap_err();
            Instant::now()
        };
        let waits = async {
            tokio::time::sleep(deadlines.command).await;
            Instant::now()
        };
        let (answered, waited) = tokio::join!(asks, waits);
        let late = answered.saturating_duration_since(waited);
        assert!(late < Duration::from_millis(200), "{late:?}");
    }
    server.signal("CONT");
    let found = until_it_answers(async || store.find_grant(&party.grant_id, NOW).await).await;
    assert!(found.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_reply_is_never_taken_for_another() {
    let server = Server::start().await;
    let patient = server.store().await;
    let (late, punctual) = (Party::begun(&patient).await, Party::begun(&patient).await);
    let deadlines = Deadlines::default();
    let store = server.store_within(deadlines).await;
    // Only the row tells which refresh token is current: its own for each party.
    let ask = |party: &Party| {
        let (store, party) = (store.clone(), party.clone());
        tokio::spawn(async move { store.find_refresh(&party.grant_id, &party.token(1), NOW).await })
    };
    // On a machine that is busy the second one may be late as well: then it is tried again.
    let mut was_punctual = false;
    for _ in 0..20 {
        server.signal("STOP");
        let first = ask(&late);
        tokio::time::sleep(deadlines.command / 2).await;
        let second = ask(&punctual);
        first.await.unwrap().unwrap_err();
        server.signal("CONT");
        if let Ok(found) = second.await.unwrap() {
            assert_eq!(found, Some(punctual.grant()));
            was_punctual = true;
            break;
        }
        until_it_answers(async || store.ping().await).await;
    }
    assert!(was_punctual);
    for party in [&late, &punctual].into_iter().cycle().take(20) {
        let found = until_it_answers(async || ask(party).await.unwrap()).await;
        assert_eq!(found, Some(party.grant()));
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_until_it_is_back() {
    let mut server = Server::start().await;
    server.kill();
    let store = server.store().await;
    store.ping().await.unwrap_err();
    server.restart().await;
    until_it_answers(async || store.ping().await).await;
    let party = Party::begun(&store).await;

    server.kill();
    store.find_grant(&party.grant_id, NOW).await.unwrap_err();
    store.ping().await.unwrap_err();
    server.restart().await;
    until_it_answers(async || store.ping().await).await;
    // It came back empty: nothing is revived, and it works at once.
    assert_eq!(contract::rotate(&store, &party, 1, NOW).await, Rotated::Missing);
    assert_eq!(store.find_access(&party.jti(1), NOW).await.unwrap(), None);
    Party::begun(&store).await;
}

#[tokio::test]
async fn full_memory_refuses_what_is_new_and_loses_nothing() {
    let server = Server::start().await;
    let store = server.store().await;
    let (party, coming) = (Party::begun(&store).await, Party::new(&store).await);
    contract::rotate(&store, &party, 1, NOW).await;
    store.put_code(&coming.code(), NOW).await.unwrap();
    let guessed = Sha256Digest::of(b"guessed");
    store.count_attempt(&guessed, &AttemptId([1; 16]), 10, NOW.plus(5), NOW).await.unwrap();
    server.set("maxmemory", "1").await;
    store.rotate_refresh(&party.rotation(2, NOW), NOW).await.unwrap_err();
    store.redeem_code(&coming.redemption(), NOW).await.unwrap_err();
    store.put_grant(&coming.new_grant(), NOW).await.unwrap_err();
    // Nobody guesses what cannot be counted, also where there is something to delete first.
    store.count_attempt(&guessed, &AttemptId([2; 16]), 10, NOW.plus(5), NOW).await.unwrap_err();
    let later = NOW.plus(900);
    store.count_attempt(&guessed, &AttemptId([2; 16]), 10, later, later).await.unwrap_err();
    // Its generation is confirmed by this, which is a write too.
    assert!(store.find_access(&party.jti(2), NOW).await.unwrap().is_some());

    server.set("maxmemory", "0").await;
    let redeemed = store.redeem_code(&coming.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");
    let rotated = contract::rotate(&store, &party, 2, NOW).await;
    assert!(matches!(rotated, Rotated::Next { .. }), "{rotated:?}");

    server.set("maxmemory", "1").await;
    assert_eq!(contract::rotate(&store, &party, 1, NOW).await, Rotated::Reused);
    let redeemed = store.redeem_code(&coming.redemption(), NOW).await.unwrap();
    assert_eq!(redeemed, Redeemed::Replayed);
    server.set("maxmemory", "0").await;
    let party_with_status = contract::begin_with_statuses(&store).await;
    server.set("maxmemory", "1").await;
    store.revoke_access(&party_with_status.name(1), NOW).await.unwrap();
    assert_eq!(store.find_access(&party_with_status.jti(1), NOW).await.unwrap(), None);
    assert_eq!(contract::statuses(&store, &party_with_status).await, [1, 0, 0, 0]);
    for party in [party, coming, party_with_status] {
        store.revoke_grant(&party.grant_id, NOW).await.unwrap();
        assert_eq!(store.find_grant(&party.grant_id, NOW).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_row_of_another_type_is_an_error_before_anything_is_written() {
    let server = Server::start().await;
    let store = server.store().await;
    let party = Party::new(&store).await;
    store.put_code(&party.code(), NOW).await.unwrap();
    let mut raw = server.raw().await;
    let mut spoil = redis::cmd("SET");
    spoil.arg(grant_key(&party.grant_id)).arg("spoiled");
    let () = spoil.query_async(&mut raw).await.unwrap();
    store.redeem_code(&party.redemption(), NOW).await.unwrap_err();
    store.find_grant(&party.grant_id, NOW).await.unwrap_err();
    store.rotate_refresh(&party.rotation(1, NOW), NOW).await.unwrap_err();
    let mut mend = redis::cmd("DEL");
    let () = mend.arg(grant_key(&party.grant_id)).query_async(&mut raw).await.unwrap();
    let redeemed = store.redeem_code(&party.redemption(), NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Once { .. }), "{redeemed:?}");
}

#[tokio::test]
async fn a_revocation_that_failed_half_way_is_completed_by_asking_again() {
    let server = Server::start().await;
    let store = server.store().await;
    contract::revocation_that_failed_is_completed_by_asking_again(
        &store,
        async |list| server.spoil(&list.to_string()).await,
        async |list| server.mend(&list.to_string()).await,
    )
    .await;
}

#[tokio::test]
async fn a_half_revoked_grant_is_finished_by_its_owner_in_any_way() {
    let server = Server::start().await;
    let store = server.store().await;
    for way in ["finished", "refreshed", "revoked", "code replayed", "code late"] {
        let party = contract::begin_with_statuses(&store).await;
        contract::rotate(&store, &party, 1, NOW).await;
        let list = party.status(1).list.to_string();
        server.spoil(&list).await;
        store.revoke_grant(&party.grant_id, NOW).await.unwrap_err();
        // What the first step did, holds.
        assert_eq!(store.find_grant(&party.grant_id, NOW).await.unwrap(), None);
        store.rotate_refresh(&party.rotation(2, NOW), NOW).await.unwrap_err();
        server.mend(&list).await;
        let thief = shared::client::ClientId::parse("thief").unwrap();
        let stolen = RefreshRotation { client_id: thief, ..party.rotation(2, NOW) };
        assert_eq!(store.rotate_refresh(&stolen, NOW).await.unwrap(), Rotated::Missing);
        assert_eq!(contract::statuses(&store, &party).await, [0, 0, 0, 0], "{way}");
        match way {
            "finished" => store.finish_revocation(&party.grant_id, NOW).await.unwrap(),
            "refreshed" => {
                assert_eq!(contract::rotate(&store, &party, 2, NOW).await, Rotated::Missing);
            }
            _ => contract::revoke_by(&store, &party, way).await.unwrap(),
        }
        assert_eq!(contract::statuses(&store, &party).await, [1, 1, 0, 0], "{way}");
    }
}

#[tokio::test]
async fn rows_that_are_gone_hide_no_others_from_a_revocation() {
    let server = Server::start().await;
    let store = server.store().await;
    let party = contract::begin_with_statuses(&store).await;
    let StatusBlock { list, first } = party.block.unwrap();
    let status = |number| StatusIndex { list, idx: first + number - 1 };
    contract::issue_many(&store, &party, 2..=300, status).await;
    let raw = &mut server.raw().await;
    let mut end = async |numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            let () = redis::cmd("DEL")
                .arg(access_key(&party.jti(number)))
                .query_async(raw)
                .await
                .unwrap();
        }
    };
    // The oldest have ended, and some in the middle before their time.
    end(1..=100).await;
    end(150..=250).await;
    let numbers = async || -> (u32, u32) {
        let mut command = redis::cmd("HMGET");
        command.arg(grant_key(&party.grant_id)).arg("oldest").arg("numbers");
        command.query_async(&mut server.raw().await).await.unwrap()
    };
    assert_eq!(numbers().await, (1, 300));
    contract::issue_many(&store, &party, 301..=305, status).await;
    assert_eq!(numbers().await, (41, 305), "a few steps each time");
    contract::issue_many(&store, &party, 306..=320, status).await;
    assert_eq!(numbers().await, (101, 320), "up to the first that is there");
    store.revoke_grant(&party.grant_id, NOW).await.unwrap();
    assert_eq!(contract::count_set(&store, &list, first).await, 49 + 70);
}

#[tokio::test]
async fn a_row_that_was_revoked_stays_until_its_end() {
    let server = Server::start().await;
    let store = server.store().await;
    let party = contract::begin_with_statuses(&store).await;
    let row = access_key(&party.jti(1));
    let ends_in = async || -> i64 {
        redis::cmd("TTL").arg(&row).query_async(&mut server.raw().await).await.unwrap()
    };
    let before = ends_in().await;
    store.revoke_access(&party.name(1), NOW).await.unwrap();
    assert!((before - 5..=before).contains(&ends_in().await), "neither longer nor shorter");
}

/// A grant that has as many access tokens as it may goes on when some of them have ended.
#[tokio::test]
async fn a_crowded_grant_goes_on_when_tokens_have_ended() {
    let server = Server::start().await;
    let store = server.store().await;
    let party = contract::begin_with_statuses(&store).await;
    let StatusIndex { list, idx: first } = party.status(1);
    let most = u32::try_from(ACCESS_TOKENS_OF_A_GRANT).unwrap();
    contract::issue_many(&store, &party, 2..=most, |number| StatusIndex {
        list,
        idx: first + number % STATUS_BLOCK_LEN,
    })
    .await;
    assert_eq!(contract::rotate(&store, &party, 1, NOW).await, Rotated::Crowded);
    for number in 1..=20 {
        let mut end = redis::cmd("DEL");
        end.arg(access_key(&party.jti(number)));
        let () = end.query_async(&mut server.raw().await).await.unwrap();
    }
    for _ in 0..20 {
        let rotated = contract::rotate(&store, &party, 1, NOW).await;
        assert!(matches!(rotated, Rotated::Repeated { .. }), "{rotated:?}");
    }
    assert_eq!(contract::rotate(&store, &party, 1, NOW).await, Rotated::Crowded);
}

/// As after a failover that has lost rotations: the number of a token that was revoked since is not
/// given to another one, which would bring it back to life.
#[tokio::test]
async fn the_revocation_of_a_lost_token_is_kept_as_long_as_it_may_live() {
    let server = Server::start().await;
    let store = server.store().await;
    let party = contract::begin_with_statuses(&store).await;
    store.revoke_access(&party.name(3), NOW).await.unwrap();
    let row = access_key(&party.jti(3));
    let ends_in: i64 =
        redis::cmd("TTL").arg(&row).query_async(&mut server.raw().await).await.unwrap();
    assert!(ends_in > 300, "{ends_in}");
}

#[tokio::test]
async fn places_are_not_handed_out_after_the_server_came_back_empty() {
    let server = Server::start().await;
    contract::places_of_a_lost_list_are_not_handed_out(&server.store().await, async || {
        server.flush().await;
    })
    .await;
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = Server::start().await;
    let store = server.store().await;
    let party = Party::begun(&store).await;
    let mut flush = redis::cmd("SCRIPT");
    let () = flush.arg("FLUSH").query_async(&mut server.raw().await).await.unwrap();
    let rotated = contract::rotate(&store, &party, 1, NOW).await;
    assert!(matches!(rotated, Rotated::Next { .. }), "{rotated:?}");
}
