//! The directory in a SQLite database, which the server and the command line open side by side.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::migrate::Migrator;

use shared::client::ClientId;
use shared::scope::Scope;
use shared::time::UnixTime;

use super::rows::{
    failed, read_client, read_consent, read_key, read_scope, read_user, seconds, username_taken,
};
use super::{ClientRecord, ConsentRecord, Directory, DirectoryError, KeyRecord, UserRecord};
use crate::schema::Schema;
use crate::store::UserId;
use crate::store::sqlite_file::{BEGIN_WRITE, SqliteFile};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite/directory");

/// The directory in a SQLite database.
#[derive(Clone, Debug)]
pub struct Sqlite {
    file: SqliteFile,
}

impl Sqlite {
    /// Opens the database file at `path`, which is made when it is missing.
    ///
    /// # Errors
    /// When the file cannot be made, read or brought to the newest schema.
    pub async fn open(path: &Path) -> Result<Self, DirectoryError> {
        let file = SqliteFile::open(path, &MIGRATIONS).await.map_err(DirectoryError)?;
        Ok(Self { file })
    }

    /// Looks at the schema of the file at `path`; changes nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or its schema is newer than this program.
    pub async fn schema(path: &Path) -> Result<Schema, DirectoryError> {
        SqliteFile::schema(path, &MIGRATIONS).await.map_err(DirectoryError)
    }
}

#[async_trait]
impl Directory for Sqlite {
    async fn find_client(&self, id: &ClientId) -> Result<Option<ClientRecord>, DirectoryError> {
        let row = sqlx::query("SELECT * FROM clients WHERE client_id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.file.readers)
            .await?;
        row.as_ref().map(read_client).transpose()
    }

    async fn list_clients(&self) -> Result<Vec<ClientRecord>, DirectoryError> {
        let rows = sqlx::query("SELECT * FROM clients ORDER BY client_id")
            .fetch_all(&self.file.readers)
            .await?;
        rows.iter().map(read_client).collect()
    }

    async fn change_client(
        &self,
        found: Option<&ClientRecord>,
        record: &ClientRecord,
    ) -> Result<bool, DirectoryError> {
        let mut transaction = self.file.writer.begin_with(BEGIN_WRITE).await?;
        let row = sqlx::query("SELECT * FROM clients WHERE client_id = ?")
            .bind(record.client.client_id.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        if row.as_ref().map(read_client).transpose()?.as_ref() != found {
            return Ok(false);
        }
        let former = record.former_secret.as_ref();
        sqlx::query(
            "INSERT INTO clients (client_id, registration, secret_digest, former_secret_digest, \
             former_secret_until, disabled_at) \
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (client_id) DO UPDATE SET \
             registration = excluded.registration, secret_digest = excluded.secret_digest, \
             former_secret_digest = excluded.former_secret_digest, \
             former_secret_until = excluded.former_secret_until, \
             disabled_at = excluded.disabled_at",
        )
        .bind(record.client.client_id.as_str())
        .bind(serde_json::to_string(&record.client).map_err(failed)?)
        .bind(record.secret_digest.as_ref().map(|digest| digest.as_bytes().as_slice()))
        .bind(former.map(|former| former.digest.as_bytes().as_slice()))
        .bind(former.map(|former| seconds(former.until)).transpose()?)
        .bind(record.disabled_at.map(seconds).transpose()?)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn find_user(&self, id: &UserId) -> Result<Option<UserRecord>, DirectoryError> {
        let row = sqlx::query("SELECT * FROM users WHERE user_id = ?")
            .bind(&id.0)
            .fetch_optional(&self.file.readers)
            .await?;
        row.as_ref().map(read_user).transpose()
    }

    async fn find_username(&self, username: &str) -> Result<Option<UserRecord>, DirectoryError> {
        let row = sqlx::query("SELECT * FROM users WHERE username = ?")
            .bind(username)
            .fetch_optional(&self.file.readers)
            .await?;
        row.as_ref().map(read_user).transpose()
    }

    async fn list_users(&self) -> Result<Vec<UserRecord>, DirectoryError> {
        let rows = sqlx::query("SELECT * FROM users ORDER BY username")
            .fetch_all(&self.file.readers)
            .await?;
        rows.iter().map(read_user).collect()
    }

    async fn change_user(
        &self,
        found: Option<&UserRecord>,
        record: &UserRecord,
    ) -> Result<bool, DirectoryError> {
        let mut transaction = self.file.writer.begin_with(BEGIN_WRITE).await?;
        let row = sqlx::query("SELECT * FROM users WHERE user_id = ?")
            .bind(&record.user_id.0)
            .fetch_optional(&mut *transaction)
            .await?;
        if row.as_ref().map(read_user).transpose()?.as_ref() != found {
            return Ok(false);
        }
        write_user(&mut transaction, record).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn end_logins(&self, user: &UserId, valid_from: UnixTime) -> Result<(), DirectoryError> {
        sqlx::query("UPDATE users SET valid_from = max(valid_from, ?) WHERE user_id = ?")
            .bind(seconds(valid_from)?)
            .bind(&user.0)
            .execute(&self.file.writer)
            .await?;
        Ok(())
    }

    async fn list_consents(&self, user: &UserId) -> Result<Vec<ConsentRecord>, DirectoryError> {
        let rows = sqlx::query("SELECT * FROM consents WHERE user_id = ? ORDER BY client_id")
            .bind(&user.0)
            .fetch_all(&self.file.readers)
            .await?;
        rows.iter().map(read_consent).collect()
    }

    async fn find_consent(
        &self,
        user: &UserId,
        client: &ClientId,
    ) -> Result<Option<Scope>, DirectoryError> {
        let row = sqlx::query("SELECT scope FROM consents WHERE user_id = ? AND client_id = ?")
            .bind(&user.0)
            .bind(client.as_str())
            .fetch_optional(&self.file.readers)
            .await?;
        row.as_ref().map(read_scope).transpose()
    }

    async fn add_consent(
        &self,
        user: &UserId,
        client: &ClientId,
        scope: &Scope,
        now: UnixTime,
    ) -> Result<(), DirectoryError> {
        let mut transaction = self.file.writer.begin_with(BEGIN_WRITE).await?;
        let row = sqlx::query("SELECT scope FROM consents WHERE user_id = ? AND client_id = ?")
            .bind(&user.0)
            .bind(client.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        let known = row.as_ref().map(read_scope).transpose()?.unwrap_or_default();
        sqlx::query(
            "INSERT INTO consents (user_id, client_id, scope, granted_at, since) \
             VALUES (?1, ?2, ?3, ?4, ?4) \
             ON CONFLICT (user_id, client_id) DO UPDATE SET \
             scope = excluded.scope, granted_at = excluded.granted_at",
        )
        .bind(&user.0)
        .bind(client.as_str())
        .bind(known.union(scope).to_string())
        .bind(seconds(now)?)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    async fn remove_consent(&self, user: &UserId, client: &ClientId) -> Result<(), DirectoryError> {
        sqlx::query("DELETE FROM consents WHERE user_id = ? AND client_id = ?")
            .bind(&user.0)
            .bind(client.as_str())
            .execute(&self.file.writer)
            .await?;
        Ok(())
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, DirectoryError> {
        let rows = sqlx::query("SELECT * FROM keys ORDER BY created_at, kid")
            .fetch_all(&self.file.readers)
            .await?;
        rows.iter().map(read_key).collect()
    }

    async fn change_keys(
        &self,
        expected: &[String],
        add: &[KeyRecord],
        expire: &[(String, UnixTime)],
        remove: &[String],
    ) -> Result<bool, DirectoryError> {
        let mut transaction = self.file.writer.begin_with(BEGIN_WRITE).await?;
        let found: Vec<String> =
            sqlx::query_scalar("SELECT kid FROM keys").fetch_all(&mut *transaction).await?;
        if found.iter().collect::<BTreeSet<_>>() != expected.iter().collect() {
            return Ok(false);
        }
        for key in add {
            sqlx::query(
                "INSERT INTO keys (kid, alg, sealed_pkcs8, created_at, signs_at, expires_at) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(&key.kid)
            .bind(key.alg.as_str())
            .bind(&key.sealed_pkcs8)
            .bind(seconds(key.created_at)?)
            .bind(seconds(key.signs_at)?)
            .bind(key.expires_at.map(seconds).transpose()?)
            .execute(&mut *transaction)
            .await?;
        }
        for (kid, expires_at) in expire {
            sqlx::query("UPDATE keys SET expires_at = ? WHERE kid = ?")
                .bind(seconds(*expires_at)?)
                .bind(kid)
                .execute(&mut *transaction)
                .await?;
        }
        for kid in remove {
            sqlx::query("DELETE FROM keys WHERE kid = ?")
                .bind(kid)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        sqlx::query("SELECT 1 FROM keys LIMIT 1").fetch_optional(&self.file.readers).await?;
        Ok(())
    }
}

async fn write_user(
    connection: &mut SqliteConnection,
    user: &UserRecord,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO users (user_id, username, email, name, password_hash, valid_from, \
         disabled_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET \
         username = excluded.username, email = excluded.email, name = excluded.name, \
         password_hash = excluded.password_hash, valid_from = excluded.valid_from, \
         disabled_at = excluded.disabled_at",
    )
    .bind(&user.user_id.0)
    .bind(&user.username)
    .bind(&user.email)
    .bind(&user.name)
    .bind(&user.password_hash)
    .bind(seconds(user.valid_from)?)
    .bind(user.disabled_at.map(seconds).transpose()?)
    .execute(connection)
    .await
    .map_err(username_taken)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::contract::{self, AnyDirectory, for_each_promise};
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(2_000_000_000);

    macro_rules! promises {
        ($($promise:ident)*) => {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let folder = tempfile::tempdir().unwrap();
                let directory: AnyDirectory =
                    Arc::new(patient(&folder.path().join("directory.db")).await);
                contract::$promise(&directory).await;
            }
        )*};
    }
    for_each_promise!(promises);

    /// Opens a directory whose races are about who wins, and not about how long the last one waits for
    /// its turn.
    async fn patient(path: &Path) -> Sqlite {
        let turn_timeout = Duration::from_secs(10);
        Sqlite { file: SqliteFile::open_within(path, &MIGRATIONS, turn_timeout).await.unwrap() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn several_open_and_write_one_new_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/directory.db");
        let mut openers = tokio::task::JoinSet::new();
        for number in 0..8 {
            let path = path.clone();
            openers.spawn(async move {
                let directory = Sqlite::open(&path).await.unwrap();
                let user = UserId("alice".to_owned());
                let client = ClientId::parse("web").unwrap();
                let scope = Scope::parse(&format!("scope{number}")).unwrap();
                let now = UnixTime::from_secs(2_000_000_000);
                directory.add_consent(&user, &client, &scope, now).await.unwrap();
            });
        }
        openers.join_all().await;
        let directory = Sqlite::open(&path).await.unwrap();
        let client = ClientId::parse("web").unwrap();
        let consent = directory.find_consent(&UserId("alice".to_owned()), &client).await.unwrap();
        assert_eq!(consent.unwrap().tokens().count(), 8);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    /// What a process that is killed has acknowledged, one line for each: a consent, or keys.
    async fn write_until_killed(path: &Path) {
        let directory = Sqlite::open(path).await.unwrap();
        let user = UserId("alice".to_owned());
        let known = directory.list_consents(&user).await.unwrap().len();
        let mut kids: Vec<_> =
            directory.list_keys().await.unwrap().into_iter().map(|key| key.kid).collect();
        for number in known.. {
            let client = ClientId::parse(&format!("client{number}")).unwrap();
            for more in ["openid", "email profile"] {
                let scope = Scope::parse(more).unwrap();
                directory.add_consent(&user, &client, &scope, NOW).await.unwrap();
            }
            println!("consent client{number}");
            let pair = ["a", "b"].map(|half| contract::key(&format!("{number}{half}"), NOW));
            let gone =
                std::mem::replace(&mut kids, pair.iter().map(|key| key.kid.clone()).collect());
            assert!(directory.change_keys(&gone, &pair, &[], &gone).await.unwrap());
            println!("keys {number}");
        }
    }

    /// F19: a process that is killed in the middle of its writes, two hundred times. The file opens
    /// each time, all that was acknowledged is there, and nothing by half.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_killed_process_leaves_all_it_has_acknowledged_and_nothing_by_half() {
        const NAME: &str = "a_killed_process_leaves_all_it_has_acknowledged_and_nothing_by_half";
        if let Some(path) = std::env::var_os("CADENCE_TEST_KILLED") {
            return write_until_killed(Path::new(&path)).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.db");
        let mut acknowledged = 0;
        for round in 0..200 {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", &format!("directory::sqlite::tests::{NAME}"), "--nocapture"])
                .env("CADENCE_TEST_KILLED", &path)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            // Another moment each time, from before the file is opened to many writes later.
            let mut told = String::new();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            if round % 4 > 0 {
                while !told.contains("consent ") && stdout.read_line(&mut told).unwrap() > 0 {}
            }
            tokio::time::sleep(Duration::from_millis(round * 7 % 60)).await;
            child.kill().unwrap();
            stdout.read_to_string(&mut told).unwrap();
            child.wait().unwrap();
            // A line may have been cut; the test runner's own begin with something else.
            let lines = told.split_inclusive('\n').filter(|line| line.ends_with('\n'));

            let directory = Sqlite::open(&path).await.unwrap();
            let whole: String = sqlx::query_scalar("PRAGMA integrity_check")
                .fetch_one(&directory.file.readers)
                .await
                .unwrap();
            assert_eq!(whole, "ok");
            let consents = directory.list_consents(&UserId("alice".to_owned())).await.unwrap();
            let scope_of = |client: &str| {
                let of_client = |it: &&ConsentRecord| it.client_id.as_str() == client;
                consents.iter().find(of_client).map(|consent| consent.scope.to_string())
            };
            let keys: Vec<_> =
                directory.list_keys().await.unwrap().into_iter().map(|key| key.kid).collect();
            for line in lines {
                if let Some(client) = line.trim_end().strip_prefix("consent ") {
                    assert_eq!(
                        scope_of(client).as_deref(),
                        Some("openid email profile"),
                        "{round}"
                    );
                    acknowledged += 1;
                } else if let Some(number) = line.trim_end().strip_prefix("keys ") {
                    let oldest: usize = keys[0].trim_end_matches('a').parse().unwrap();
                    assert!(oldest >= number.parse().unwrap(), "{round}: {keys:?}");
                }
            }
            let halves = ["openid", "openid email profile"];
            assert!(consents.iter().all(|it| halves.contains(&it.scope.to_string().as_str())));
            let numbers: Vec<_> = keys.iter().map(|kid| &kid[..kid.len() - 1]).collect();
            assert!(
                matches!(numbers[..], []) || matches!(numbers[..], [a, b] if a == b),
                "{keys:?}"
            );
        }
        assert!(acknowledged > 200, "the writer has hardly written: {acknowledged}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.db");
        std::fs::write(&path, "this is not a database, however long one reads it".repeat(100))
            .unwrap();
        Sqlite::open(&path).await.unwrap_err();
    }
}
