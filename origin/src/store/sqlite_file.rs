//! How a SQLite database file is made and opened; used by the embedded store and the directory.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::schema::Schema;

/// How long a connection waits for another process's write to end.
const BUSY_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long a request waits for its turn to write.
const TURN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How often opening is tried before it counts as failed.
const OPEN_ATTEMPTS: u32 = 10;

/// How long to wait between two attempts.
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Connections that read; a handful, as each one is a thread.
const READERS: u32 = 4;

/// The begin of every transaction that writes: it takes the write lock at once, so that what it
/// reads is still true when it writes.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// Why a file cannot be opened.
type OpenError = Box<dyn std::error::Error + Send + Sync>;

/// An open database: reads run beside each other and beside the one write.
#[derive(Clone, Debug)]
pub(crate) struct SqliteFile {
    /// The one connection that writes.
    pub(crate) writer: SqlitePool,
    /// Connections that cannot write.
    pub(crate) readers: SqlitePool,
}

impl SqliteFile {
    /// Opens the file at `path` and brings it to the newest schema. A file or directory that is
    /// missing is made for the owner's eyes only (0600, 0700).
    ///
    /// Does NOT change the mode of what is there.
    pub(crate) async fn open(path: &Path, migrations: &Migrator) -> Result<Self, OpenError> {
        Self::open_within(path, migrations, TURN_TIMEOUT).await
    }

    /// Opens it for requests that wait so long for their turn.
    pub(crate) async fn open_within(
        path: &Path,
        migrations: &Migrator,
        turn_timeout: Duration,
    ) -> Result<Self, OpenError> {
        create(path)?;
        // With a write-ahead log, NORMAL keeps every commit through a crash of the process and
        // the database whole through a loss of power.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(turn_timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .after_release(|connection, _| Box::pin(is_free(connection)))
        };
        let mut attempts = 1;
        loop {
            let opened = async {
                let writer = open_writer(pool(1), options.clone(), migrations).await?;
                let readers = pool(READERS).connect_with(options.clone().read_only(true)).await?;
                Ok::<_, OpenError>(Self { writer, readers })
            };
            match opened.await {
                Ok(opened) => break Ok(opened),
                // Another process may be making or migrating the file at this very moment.
                Err(error) if attempts < OPEN_ATTEMPTS && error.is::<sqlx::Error>() => {
                    attempts += 1;
                }
                Err(error) => break Err(error),
            }
            tokio::time::sleep(OPEN_PAUSE).await;
        }
    }

    /// Looks at the schema of the file at `path`, which may be missing; changes nothing.
    pub(crate) async fn schema(path: &Path, migrations: &Migrator) -> Result<Schema, OpenError> {
        if !path.exists() {
            return Ok(Schema::compare(migrations, &[])?);
        }
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
        let mut connection = options.read_only(true).connect().await?;
        Ok(Schema::compare(migrations, &applied(&mut connection).await?)?)
    }
}

/// Tells whether a connection that is given back can be used again. When the disk is full, SQLite ends a
/// transaction by itself; the rollback after it fails, and no other would ever begin.
async fn is_free(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // Comes behind a rollback that is under way.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

async fn open_writer(
    pool: SqlitePoolOptions,
    options: SqliteConnectOptions,
    migrations: &Migrator,
) -> Result<SqlitePool, OpenError> {
    let writer = pool.connect_with(options).await?;
    let applied = applied(&mut *writer.acquire().await?).await?;
    if Schema::compare(migrations, &applied)?.is_old() {
        let run = migrations.run(&writer).await;
        run.map_err(|error| sqlx::Error::Migrate(Box::new(error)))?;
    }
    Ok(writer)
}

/// Lists the versions that were applied.
async fn applied(connection: &mut SqliteConnection) -> Result<Vec<i64>, sqlx::Error> {
    let table = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query_scalar(table).fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(connection)
        .await
}

fn create(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    // SQLite gives the files beside this one the same mode.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    Ok(())
}
