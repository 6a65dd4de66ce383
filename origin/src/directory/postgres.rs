//! The directory in a PostgreSQL database, which several origins share.
//!
//! Everything happens in READ COMMITTED: whatever decides by what it has read holds a lock on that
//! first, because nothing else keeps two writers apart here.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow, PgSslMode, Postgres as Database,
};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use shared::client::ClientId;
use shared::scope::Scope;
use shared::time::UnixTime;

use super::rows::{
    failed, read_client, read_consent, read_key, read_scope, read_user, seconds, username_taken,
};
use super::{ClientRecord, ConsentRecord, Directory, DirectoryError, KeyRecord, UserRecord};
use crate::schema::Schema;
use crate::store::UserId;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres/directory");

/// Connections of one origin at most: what it asks is little, and remembered for two seconds.
const CONNECTIONS: u32 = 10;

/// How long the first connection may take, at the start of the process.
const FIRST_CONNECTION_IN: Duration = Duration::from_secs(10);

/// After how much rest a connection is tried before it is used: the server may have been started
/// again meanwhile.
const TRIED_AFTER: Duration = Duration::from_secs(1);

const CLIENT: &str = "SELECT client_id, registration, secret_digest, former_secret_digest, \
                      former_secret_until, disabled_at FROM clients WHERE client_id = $1";
const USER: &str = "SELECT user_id, username, email, name, password_hash, valid_from, disabled_at \
                    FROM users WHERE user_id = $1";

/// How long the directory waits.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// For a connection, a new one included.
    connection: Duration,
    /// For an operation, the wait for its connection included; less than the deadline of a request.
    operation: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connection: Duration::from_secs(1), operation: Duration::from_millis(1_500) }
    }
}

/// The directory in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
    operation_in: Duration,
}

impl Postgres {
    /// Opens the database at `url` (`postgres://…`), and brings it to the newest schema. Of several
    /// that do so at once, one does it and the others wait.
    ///
    /// # Errors
    /// When it cannot be reached, or brought to the newest schema.
    pub async fn open(url: &str) -> Result<Self, DirectoryError> {
        Self::open_within(url, Deadlines::default()).await
    }

    async fn open_within(url: &str, deadlines: Deadlines) -> Result<Self, DirectoryError> {
        let operation_in = deadlines.operation;
        let options = options(url)?;
        let first = connect(options.clone()).await?;
        if schema(&first).await?.is_old() {
            MIGRATIONS.run(&first).await.map_err(failed)?;
        }
        first.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(deadlines.connection)
            .test_before_acquire(false)
            .before_acquire(|connection, rest| {
                Box::pin(async move {
                    if rest.idle_for > TRIED_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| Box::pin(begin_session(connection, operation_in)))
            .connect_lazy_with(options);
        Ok(Self { pool, operation_in })
    }

    /// Looks at the schema of the database at `url`; changes nothing.
    ///
    /// # Errors
    /// When it cannot be reached, or its schema is newer than this program.
    pub async fn schema(url: &str) -> Result<Schema, DirectoryError> {
        let first = connect(options(url)?).await?;
        let schema = schema(&first).await?;
        first.close().await;
        Ok(schema)
    }

    async fn link(&self) -> Result<Link, DirectoryError> {
        Ok(Link(Some(self.pool.acquire().await?)))
    }

    async fn within<T>(
        &self,
        operation: impl Future<Output = Result<T, DirectoryError>> + Send,
    ) -> Result<T, DirectoryError> {
        let done = tokio::time::timeout(self.operation_in, operation).await;
        done.unwrap_or_else(|_| Err(failed("PostgreSQL has not answered in time")))
    }

    async fn find(&self, query: Asked<'_>) -> Result<Option<PgRow>, DirectoryError> {
        self.within(async {
            let mut link = self.link().await?;
            let row = query.fetch_optional(link.connection()).await?;
            link.done();
            Ok(row)
        })
        .await
    }

    async fn list(&self, query: Asked<'_>) -> Result<Vec<PgRow>, DirectoryError> {
        self.within(async {
            let mut link = self.link().await?;
            let rows = query.fetch_all(link.connection()).await?;
            link.done();
            Ok(rows)
        })
        .await
    }

    async fn execute(&self, query: Asked<'_>) -> Result<(), DirectoryError> {
        self.within(async {
            let mut link = self.link().await?;
            query.execute(link.connection()).await?;
            link.done();
            Ok(())
        })
        .await
    }
}

type Asked<'q> = Query<'q, Database, PgArguments>;

/// A connection, for one operation. One that did not come to its end may still be under way at the
/// server, or hang for ever: its connection is closed, and the pool opens another.
struct Link(Option<PoolConnection<Database>>);

impl Link {
    fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it is there until the link goes")
    }

    /// Gives the connection back.
    fn done(mut self) {
        self.0.take();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

/// Reads a URL. What leads over a network is encrypted, and the server's certificate checked, unless
/// the URL says otherwise.
fn options(url: &str) -> Result<PgConnectOptions, DirectoryError> {
    let options: PgConnectOptions = url.parse()?;
    let is_near = options.get_socket().is_some()
        || options.get_host().starts_with('/')
        || ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&options.get_host());
    let options = if is_near || url.contains("sslmode=") {
        options
    } else {
        options.ssl_mode(PgSslMode::VerifyFull)
    };
    Ok(options.application_name("cadence").disable_statement_logging())
}

/// Makes the one connection of the start, without the deadlines of the others: another origin may be
/// changing the schema.
async fn connect(options: PgConnectOptions) -> Result<PgPool, DirectoryError> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(FIRST_CONNECTION_IN);
    let pool = pool.connect_with(options).await?;
    refuse_standby(&mut *pool.acquire().await?).await?;
    Ok(pool)
}

/// Says what holds for every connection.
async fn begin_session(
    connection: &mut PgConnection,
    operation_in: Duration,
) -> Result<(), sqlx::Error> {
    // The server gives up what nobody waits for any more, and locks of an origin that has gone in the
    // middle of something.
    let session = format!(
        "SET statement_timeout = '{}ms'; \
         SET idle_in_transaction_session_timeout = '5s'; \
         SET default_transaction_isolation = 'read committed'",
        operation_in.as_millis()
    );
    connection.execute(AssertSqlSafe(session)).await?;
    refuse_standby(connection).await
}

/// A standby may be behind, and what it does not know yet would be taken for a no.
async fn refuse_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let is_standby = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if is_standby { Err(sqlx::Error::Configuration("this is a standby".into())) } else { Ok(()) }
}

async fn schema(pool: &PgPool) -> Result<Schema, DirectoryError> {
    let known = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let applied: Vec<i64> = if sqlx::query_scalar(known).fetch_one(pool).await? {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(pool)
            .await?
    } else {
        Vec::new()
    };
    Schema::compare(&MIGRATIONS, &applied).map_err(failed)
}

#[async_trait]
impl Directory for Postgres {
    async fn find_client(&self, id: &ClientId) -> Result<Option<ClientRecord>, DirectoryError> {
        let row = self.find(sqlx::query(CLIENT).bind(id.as_str())).await?;
        row.as_ref().map(read_client).transpose()
    }

    async fn list_clients(&self) -> Result<Vec<ClientRecord>, DirectoryError> {
        let all = "SELECT client_id, registration, secret_digest, former_secret_digest, \
                   former_secret_until, disabled_at FROM clients ORDER BY client_id";
        self.list(sqlx::query(all)).await?.iter().map(read_client).collect()
    }

    async fn change_client(
        &self,
        found: Option<&ClientRecord>,
        record: &ClientRecord,
    ) -> Result<bool, DirectoryError> {
        self.within(async {
            let mut link = self.link().await?;
            let mut transaction = link.connection().begin().await?;
            // Nobody else inserts, changes or deletes a row of the table until this has ended.
            transaction.execute("LOCK TABLE clients IN SHARE ROW EXCLUSIVE MODE").await?;
            let row = sqlx::query(CLIENT)
                .bind(record.client.client_id.as_str())
                .fetch_optional(&mut *transaction)
                .await?;
            let is_found = row.as_ref().map(read_client).transpose()?.as_ref() == found;
            if is_found {
                let former = record.former_secret.as_ref();
                sqlx::query(
                    "INSERT INTO clients (client_id, registration, secret_digest, \
                     former_secret_digest, former_secret_until, disabled_at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (client_id) DO UPDATE SET \
                     registration = excluded.registration, \
                     secret_digest = excluded.secret_digest, \
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
            }
            transaction.commit().await?;
            link.done();
            Ok(is_found)
        })
        .await
    }

    async fn find_user(&self, id: &UserId) -> Result<Option<UserRecord>, DirectoryError> {
        let row = self.find(sqlx::query(USER).bind(&id.0)).await?;
        row.as_ref().map(read_user).transpose()
    }

    async fn find_username(&self, username: &str) -> Result<Option<UserRecord>, DirectoryError> {
        // PostgreSQL's text has no NUL, so nobody is called so; asked, it says that it is an error.
        if username.contains('\0') {
            return Ok(None);
        }
        let query = sqlx::query(
            "SELECT user_id, username, email, name, password_hash, valid_from, disabled_at \
             FROM users WHERE username = $1",
        );
        let row = self.find(query.bind(username)).await?;
        row.as_ref().map(read_user).transpose()
    }

    async fn list_users(&self) -> Result<Vec<UserRecord>, DirectoryError> {
        let all = "SELECT user_id, username, email, name, password_hash, valid_from, disabled_at \
                   FROM users ORDER BY username";
        self.list(sqlx::query(all)).await?.iter().map(read_user).collect()
    }

    async fn change_user(
        &self,
        found: Option<&UserRecord>,
        record: &UserRecord,
    ) -> Result<bool, DirectoryError> {
        self.within(async {
            let mut link = self.link().await?;
            let mut transaction = link.connection().begin().await?;
            transaction.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE").await?;
            let row =
                sqlx::query(USER).bind(&record.user_id.0).fetch_optional(&mut *transaction).await?;
            let is_found = row.as_ref().map(read_user).transpose()?.as_ref() == found;
            if is_found {
                write_user(&mut transaction, record).await?;
            }
            transaction.commit().await?;
            link.done();
            Ok(is_found)
        })
        .await
    }

    async fn end_logins(&self, user: &UserId, valid_from: UnixTime) -> Result<(), DirectoryError> {
        let statement = "UPDATE users SET valid_from = greatest(valid_from, $1) WHERE user_id = $2";
        self.execute(sqlx::query(statement).bind(seconds(valid_from)?).bind(&user.0)).await
    }

    async fn list_consents(&self, user: &UserId) -> Result<Vec<ConsentRecord>, DirectoryError> {
        let query = sqlx::query(
            "SELECT client_id, scope, since FROM consents WHERE user_id = $1 ORDER BY client_id",
        );
        self.list(query.bind(&user.0)).await?.iter().map(read_consent).collect()
    }

    async fn find_consent(
        &self,
        user: &UserId,
        client: &ClientId,
    ) -> Result<Option<Scope>, DirectoryError> {
        let query = sqlx::query("SELECT scope FROM consents WHERE user_id = $1 AND client_id = $2");
        let row = self.find(query.bind(&user.0).bind(client.as_str())).await?;
        row.as_ref().map(read_scope).transpose()
    }

    async fn add_consent(
        &self,
        user: &UserId,
        client: &ClientId,
        scope: &Scope,
        now: UnixTime,
    ) -> Result<(), DirectoryError> {
        self.within(async {
            let mut link = self.link().await?;
            let mut transaction = link.connection().begin().await?;
            // Makes the row or locks the one that is there: what it returns stays true until the end.
            let known = sqlx::query(
                "INSERT INTO consents (user_id, client_id, scope, granted_at, since) \
                 VALUES ($1, $2, $3, $4, $4) ON CONFLICT (user_id, client_id) DO UPDATE SET \
                 granted_at = excluded.granted_at RETURNING scope",
            )
            .bind(&user.0)
            .bind(client.as_str())
            .bind(scope.to_string())
            .bind(seconds(now)?)
            .fetch_one(&mut *transaction)
            .await?;
            sqlx::query("UPDATE consents SET scope = $3 WHERE user_id = $1 AND client_id = $2")
                .bind(&user.0)
                .bind(client.as_str())
                .bind(read_scope(&known)?.union(scope).to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            link.done();
            Ok(())
        })
        .await
    }

    async fn remove_consent(&self, user: &UserId, client: &ClientId) -> Result<(), DirectoryError> {
        let query = sqlx::query("DELETE FROM consents WHERE user_id = $1 AND client_id = $2");
        self.execute(query.bind(&user.0).bind(client.as_str())).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, DirectoryError> {
        let all = "SELECT kid, alg, sealed_pkcs8, created_at, signs_at, expires_at FROM keys \
                   ORDER BY created_at, kid";
        self.list(sqlx::query(all)).await?.iter().map(read_key).collect()
    }

    async fn change_keys(
        &self,
        expected: &[String],
        add: &[KeyRecord],
        expire: &[(String, UnixTime)],
        remove: &[String],
    ) -> Result<bool, DirectoryError> {
        self.within(async {
            let mut link = self.link().await?;
            let mut transaction = link.connection().begin().await?;
            transaction.execute("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE").await?;
            let found: Vec<String> =
                sqlx::query_scalar("SELECT kid FROM keys").fetch_all(&mut *transaction).await?;
            let is_expected = found.iter().collect::<BTreeSet<_>>() == expected.iter().collect();
            if is_expected {
                write_keys(&mut transaction, add, expire, remove).await?;
            }
            transaction.commit().await?;
            link.done();
            Ok(is_expected)
        })
        .await
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        self.find(sqlx::query("SELECT 1 FROM keys LIMIT 1")).await.map(drop)
    }
}

async fn write_user(
    connection: &mut PgConnection,
    user: &UserRecord,
) -> Result<(), DirectoryError> {
    sqlx::query(
        "INSERT INTO users (user_id, username, email, name, password_hash, valid_from, \
         disabled_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (user_id) DO UPDATE SET \
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

async fn write_keys(
    connection: &mut PgConnection,
    add: &[KeyRecord],
    expire: &[(String, UnixTime)],
    remove: &[String],
) -> Result<(), DirectoryError> {
    for key in add {
        sqlx::query(
            "INSERT INTO keys (kid, alg, sealed_pkcs8, created_at, signs_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&key.kid)
        .bind(key.alg.as_str())
        .bind(&key.sealed_pkcs8)
        .bind(seconds(key.created_at)?)
        .bind(seconds(key.signs_at)?)
        .bind(key.expires_at.map(seconds).transpose()?)
        .execute(&mut *connection)
        .await?;
    }
    for (kid, expires_at) in expire {
        sqlx::query("UPDATE keys SET expires_at = $1 WHERE kid = $2")
            .bind(seconds(*expires_at)?)
            .bind(kid)
            .execute(&mut *connection)
            .await?;
    }
    for kid in remove {
        sqlx::query("DELETE FROM keys WHERE kid = $1").bind(kid).execute(&mut *connection).await?;
    }
    Ok(())
}
