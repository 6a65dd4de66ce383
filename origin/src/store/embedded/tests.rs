//! The contract, and what is the embedded store's own.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::store::ROW_LEEWAY;
use crate::store::contract::{self, AnyStore, NOW, Party, for_each_promise};

/// A store of its own, and the directory that it lies in. A race is about who wins, and not about
/// how long the last one waits for its turn.
async fn fresh() -> (AnyStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/store.db");
    let file = SqliteFile::open_within(&path, &MIGRATIONS, Duration::from_secs(10)).await.unwrap();
    (Arc::new(Embedded { file }), directory)
}

macro_rules! promises {
    ($($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let (store, _directory) = fresh().await;
            contract::$promise(&store).await;
        }
    )*};
}
for_each_promise!(promises);

#[tokio::test]
async fn files_are_for_the_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = Embedded::open(&data.join("store.db")).await.unwrap();
    let any: AnyStore = Arc::new(store);
    Party::begun(&any).await;
    assert_eq!(std::fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&data).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        files += 1;
    }
    assert!(files >= 2, "the database and its log");
}

#[tokio::test]
async fn rows_survive_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store: AnyStore = Arc::new(Embedded::open(&path).await.unwrap());
    let party = Party::begun(&store).await;
    drop(store);
    let store: AnyStore = Arc::new(Embedded::open(&path).await.unwrap());
    let rotated = contract::rotate(&store, &party, 1, NOW).await;
    assert!(matches!(rotated, Rotated::Next { .. }), "{rotated:?}");
}

#[tokio::test]
async fn sweeping_deletes_what_has_ended_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.db")).await.unwrap();
    let any: AnyStore = Arc::new(store.clone());
    let party = Party::begun(&any).await;
    for _ in 0..3 * ended::AT_ONCE {
        contract::rotate(&any, &party, 1, NOW).await;
    }
    let other = Party::new(&any).await;
    store.put_code(&other.code(), NOW).await.unwrap();
    let attempt = AttemptId([7; 16]);
    store.count_attempt(&party.token(1), &attempt, 1, NOW.plus(900), NOW).await.unwrap();
    store.spend_transaction(&party.token(1), NOW.plus(600), NOW).await.unwrap();
    let counts = async || {
        let mut counts = Vec::new();
        for table in [
            "SELECT count(*) FROM access_tokens",
            "SELECT count(*) FROM codes",
            "SELECT count(*) FROM grants",
            "SELECT count(*) FROM session_grants",
            "SELECT count(*) FROM sessions",
            "SELECT count(*) FROM transactions",
            "SELECT count(*) FROM attempts",
            "SELECT count(*) FROM status_lists",
            "SELECT count(*) FROM notices",
        ] {
            let count: u32 =
                sqlx::query_scalar(table).fetch_one(&store.file.readers).await.unwrap();
            counts.push(count);
        }
        counts
    };
    contract::reserve(&any).await;
    let grants = store.find_session_grants(&other.code().session).await.unwrap();
    store.put_notices(&[grants[0].notice.clone().unwrap()], NOW, NOW).await.unwrap();
    let all = [3 * ended::AT_ONCE + 1, 1, 1, 2, 2, 1, 1, 1, 1];
    assert_eq!(counts().await, all);
    store.sweep(NOW.plus(60 + ROW_LEEWAY)).await.unwrap();
    assert_eq!(counts().await, all, "ended, but within the leeway");
    store.sweep(NOW.plus(61 + ROW_LEEWAY)).await.unwrap();
    assert_eq!(counts().await, [all[0], 0, 1, 2, 2, 1, 1, 1, 1]);
    store.sweep(NOW.plus(1_000)).await.unwrap();
    assert_eq!(counts().await, [0, 0, 1, 2, 2, 0, 0, 0, 1]);
    store.sweep(NOW.plus(100_000)).await.unwrap();
    assert_eq!(counts().await, [0; 9]);
}

#[tokio::test]
async fn a_revocation_that_failed_is_completed_by_asking_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.db")).await.unwrap();
    let any: AnyStore = Arc::new(store.clone());
    let run = async |statement: &'static str, list: StatusListId| {
        sqlx::query(statement).bind(list.to_string()).execute(&store.file.writer).await.unwrap();
    };
    // A list that is too short for its tokens.
    contract::revocation_that_failed_is_completed_by_asking_again(
        &any,
        async |list| run("UPDATE status_lists SET bits = x'' WHERE list = ?", list).await,
        async |list| {
            run("UPDATE status_lists SET bits = zeroblob(16384) WHERE list = ?", list).await;
        },
    )
    .await;
}

#[tokio::test]
async fn places_are_not_handed_out_after_the_lists_were_lost() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.db")).await.unwrap();
    let any: AnyStore = Arc::new(store.clone());
    contract::places_of_a_lost_list_are_not_handed_out(&any, async || {
        sqlx::query("DELETE FROM status_lists").execute(&store.file.writer).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_row_is_an_error_and_not_a_no() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.db")).await.unwrap();
    let any: AnyStore = Arc::new(store.clone());
    let party = Party::begun(&any).await;
    sqlx::query("UPDATE grants SET client_id = '?'").execute(&store.file.writer).await.unwrap();
    assert!(store.find_access(&party.jti(1), NOW).await.is_err());
    assert!(store.rotate_refresh(&party.rotation(1, NOW), NOW).await.is_err());
}
