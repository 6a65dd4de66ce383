//! The directory in a SQLite database, which the server and the command line open side by side.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use shared::client::ClientId;
use shared::jwk::Alg;
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;

use super::{ClientRecord, ConsentRecord, Directory, DirectoryError, KeyRecord, UserRecord};
use crate::store::UserId;
use crate::store::sqlite_file::{BEGIN_WRITE, SqliteFile};

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
        let file = SqliteFile::open(path, &sqlx::migrate!("migrations/sqlite/directory")).await?;
        Ok(Self { file })
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

    async fn put_client(&self, record: &ClientRecord) -> Result<(), DirectoryError> {
        sqlx::query(
            "INSERT INTO clients (client_id, registration, secret_digest, disabled_at) \
             VALUES (?, ?, ?, ?) ON CONFLICT (client_id) DO UPDATE SET \
             registration = excluded.registration, secret_digest = excluded.secret_digest, \
             disabled_at = excluded.disabled_at",
        )
        .bind(record.client.client_id.as_str())
        .bind(serde_json::to_string(&record.client).map_err(|error| failed(error.into()))?)
        .bind(record.secret_digest.as_ref().map(|digest| digest.as_bytes().as_slice()))
        .bind(record.disabled_at.map(seconds).transpose()?)
        .execute(&self.file.writer)
        .await?;
        Ok(())
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

    async fn put_user(&self, user: &UserRecord) -> Result<(), DirectoryError> {
        let written = sqlx::query(
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
        .execute(&self.file.writer)
        .await;
        match written {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(failed("another user has this username".into()))
            }
            written => Ok(written.map(|_| ())?),
        }
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

fn read_client(row: &SqliteRow) -> Result<ClientRecord, DirectoryError> {
    let secret_digest = match row.try_get::<Option<&[u8]>, _>("secret_digest")? {
        Some(bytes) => {
            let bytes = bytes.try_into().map_err(|_| unreadable("secret_digest"))?;
            Some(Sha256Digest::from_bytes(bytes))
        }
        None => None,
    };
    Ok(ClientRecord {
        client: serde_json::from_str(row.try_get("registration")?)
            .map_err(|error| failed(error.into()))?,
        secret_digest,
        disabled_at: read_optional_time(row, "disabled_at")?,
    })
}

fn read_user(row: &SqliteRow) -> Result<UserRecord, DirectoryError> {
    Ok(UserRecord {
        user_id: UserId(row.try_get("user_id")?),
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        password_hash: row.try_get("password_hash")?,
        valid_from: read_optional_time(row, "valid_from")?
            .ok_or_else(|| unreadable("valid_from"))?,
        disabled_at: read_optional_time(row, "disabled_at")?,
    })
}

fn read_consent(row: &SqliteRow) -> Result<ConsentRecord, DirectoryError> {
    Ok(ConsentRecord {
        client_id: ClientId::parse(row.try_get("client_id")?)
            .map_err(|_| unreadable("client_id"))?,
        scope: read_scope(row)?,
        since: read_optional_time(row, "since")?.ok_or_else(|| unreadable("since"))?,
    })
}

fn read_key(row: &SqliteRow) -> Result<KeyRecord, DirectoryError> {
    let time = |column| read_optional_time(row, column)?.ok_or_else(|| unreadable(column));
    Ok(KeyRecord {
        kid: row.try_get("kid")?,
        alg: Alg::parse(row.try_get("alg")?).ok_or_else(|| unreadable("alg"))?,
        sealed_pkcs8: row.try_get("sealed_pkcs8")?,
        created_at: time("created_at")?,
        signs_at: time("signs_at")?,
        expires_at: read_optional_time(row, "expires_at")?,
    })
}

fn read_scope(row: &SqliteRow) -> Result<Scope, DirectoryError> {
    Scope::parse(row.try_get("scope")?).map_err(|_| unreadable("scope"))
}

fn read_optional_time(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<UnixTime>, DirectoryError> {
    let Some(seconds) = row.try_get::<Option<i64>, _>(column)? else {
        return Ok(None);
    };
    let seconds = u64::try_from(seconds).map_err(|_| unreadable(column))?;
    Ok(Some(UnixTime::from_secs(seconds)))
}

fn seconds(time: UnixTime) -> Result<i64, DirectoryError> {
    i64::try_from(time.as_secs()).map_err(|error| failed(error.into()))
}

fn unreadable(column: &str) -> DirectoryError {
    failed(format!("the directory holds an unreadable {column}").into())
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> DirectoryError {
    DirectoryError(error)
}

impl From<sqlx::Error> for DirectoryError {
    fn from(error: sqlx::Error) -> Self {
        Self(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Arc;

    use super::super::contract::{self, AnyDirectory, for_each_promise};
    use super::*;

    macro_rules! promises {
        ($($promise:ident)*) => {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let folder = tempfile::tempdir().unwrap();
                let directory = Sqlite::open(&folder.path().join("directory.db")).await.unwrap();
                let directory: AnyDirectory = Arc::new(directory);
                contract::$promise(&directory).await;
            }
        )*};
    }
    for_each_promise!(promises);

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

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.db");
        std::fs::write(&path, "this is not a database, however long one reads it".repeat(100))
            .unwrap();
        Sqlite::open(&path).await.unwrap_err();
    }
}
