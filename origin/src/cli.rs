//! The command line: one file per noun.

pub mod apply;
pub mod client;
pub mod key;
pub mod output;
pub mod serve;
pub mod user;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::directory::sqlite::Sqlite;
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
}

/// Why a command fails: one sentence.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

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
        }
    })
}

/// Opens the directory of the settings, and makes it if there is none.
///
/// # Errors
/// The directory's.
pub async fn directory(config: &Config) -> Result<Sqlite, CommandError> {
    make_private(&config.data_dir)?;
    let path = config.database_url.as_ref().map_or_else(
        || config.data_file("directory.db"),
        |url| PathBuf::from(url.0.strip_prefix("sqlite://").unwrap_or(&url.0)),
    );
    Ok(Sqlite::open(&path).await?)
}

/// Makes a folder that only its owner can read.
fn make_private(path: &Path) -> Result<(), CommandError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| format!("{} cannot be made: {error}", path.display()).into())
}
