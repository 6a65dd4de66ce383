//! The command line: one file per noun.

pub mod apply;
pub mod client;
pub mod key;
pub mod migrate;
pub mod output;
pub mod serve;
pub mod user;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};
use crate::directory::Directory;
use crate::directory::postgres::Postgres;
use crate::directory::sqlite::Sqlite;
use crate::schema::Schema;
use output::{Format, Output};

/// An authorization server: OAuth 2 and OpenID Connect.
#[derive(Debug, Parser)]
#[command(name = "cadence", version)]
pub struct Cli {
    /// Settings file; `cadence.toml` if there is one. `CADENCE_*` in the environment wins.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server.
    Serve,
    /// Brings clients and users to what a file says; doing it again changes nothing.
    Apply(apply::Apply),
    /// Clients.
    #[command(subcommand)]
    Client(client::Client),
    /// Users.
    #[command(subcommand)]
    User(user::User),
    /// Signing keys.
    #[command(subcommand)]
    Key(key::Key),
    /// Brings the databases to the newest schema, and says what it did.
    Migrate(migrate::Migrate),
}

/// Why a command fails: one sentence.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// What a command says that was overtaken.
const CHANGED_MEANWHILE: &str = "somebody else has changed this at this moment; try again";

/// Runs a command.
///
/// # Errors
/// One sentence for whoever typed it.
pub fn run(cli: Cli) -> Result<(), CommandError> {
    let config = Config::load(cli.config.as_deref())?;
    let output = Output::new(cli.format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve => serve::serve(&config).await,
            Command::Apply(apply) => apply.run(&config, &output).await,
            Command::Client(client) => client.run(&config, &output).await,
            Command::User(user) => user.run(&config, &output).await,
            Command::Key(key) => key.run(&config, &output).await,
            Command::Migrate(migrate) => migrate.run(&config, &output).await,
        }
    })
}

/// Opens the directory of the settings, and makes it if there is none.
///
/// # Errors
/// The directory's; also when its schema is old, and `migrate` is false.
pub async fn directory(config: &Config) -> Result<Arc<dyn Directory>, CommandError> {
    let place = Place::of(config);
    if !config.migrate {
        place
            .schema()
            .await?
            .check_current()
            .map_err(|refused| format!("the directory: {refused}"))?;
    }
    place.open(config).await
}

/// Where the directory is.
pub(crate) enum Place<'c> {
    Sqlite(PathBuf),
    Postgres(&'c str),
}

impl<'c> Place<'c> {
    pub(crate) fn of(config: &'c Config) -> Self {
        match config.database_url.as_ref().map(|url| url.0.as_str()) {
            Some(url) if config::is_postgres(url) => Self::Postgres(url),
            Some(url) => Self::Sqlite(PathBuf::from(url.strip_prefix("sqlite://").unwrap_or(url))),
            None => Self::Sqlite(config.data_file("directory.db")),
        }
    }

    /// What keeps it, in a word for the log: the URL is a secret.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    pub(crate) async fn open(&self, config: &Config) -> Result<Arc<dyn Directory>, CommandError> {
        Ok(match self {
            Self::Sqlite(path) => {
                make_private(&config.data_dir)?;
                Arc::new(Sqlite::open(path).await?)
            }
            Self::Postgres(url) => Arc::new(Postgres::open(url).await?),
        })
    }

    pub(crate) async fn schema(&self) -> Result<Schema, CommandError> {
        Ok(match self {
            Self::Sqlite(path) => Sqlite::schema(path).await?,
            Self::Postgres(url) => Postgres::schema(url).await?,
        })
    }
}

/// Makes a folder that only its owner can read.
pub(crate) fn make_private(path: &Path) -> Result<(), CommandError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| format!("{} cannot be made: {error}", path.display()).into())
}
