//! A refresh that fails after its rotation.

use std::time::Duration;

use shared::limits::REFRESH_GRACE_IN;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::*;
use crate::store::redis::tests::Server as RedisServer;

/// Runs a statement on the directory from outside.
async fn execute(server: &Server, statement: &'static str) {
    let path = server.folder.path().join("directory.db");
    let mut directory = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
    sqlx::query(statement).execute(&mut directory).await.unwrap();
}

/// The directory goes away between a rotation and its answer, for longer than the grace.
async fn outage_of_the_directory_costs_no_grant(server: Server) {
    let code = code_of(&server.sign_in("web").await);
    let first = server.redeem("web", &code).await.json();
    let refresh = async |tokens: &Value| {
        let token = tokens["refresh_token"].as_str().unwrap();
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        server.token("web", &form).await
    };
    execute(&server, "ALTER TABLE consents RENAME TO consents_away").await;
    let failed = refresh(&first).await;
    assert_eq!(failed.status, 503, "{}", failed.body);
    tokio::time::sleep(Duration::from_secs(REFRESH_GRACE_IN + 2)).await;
    assert_eq!(refresh(&first).await.status, 503);
    execute(&server, "ALTER TABLE consents_away RENAME TO consents").await;
    let second = refresh(&first).await;
    assert_eq!(second.status, 200, "{}", second.body);
    let second = second.json();
    assert_eq!(refresh(&first).await.json()["refresh_token"], second["refresh_token"]);
    assert_eq!(refresh(&second).await.status, 200);
    assert_eq!(refresh(&first).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn an_outage_of_the_directory_costs_no_grant_in_the_embedded_store() {
    outage_of_the_directory_costs_no_grant(server().await).await;
}

#[tokio::test]
async fn an_outage_of_the_directory_costs_no_grant_in_redis() {
    let redis = RedisServer::start().await;
    let store = redis.store().await;
    outage_of_the_directory_costs_no_grant(server_over(store, TempDir::new().unwrap(), "").await)
        .await;
}
