//! `cadence key`.

use clap::Subcommand;
use serde_json::{Value, json};
use shared::jwk::Alg;

use super::output::Output;
use super::{CommandError, directory};
use crate::config::Config;
use crate::directory::KeyRecord;
use crate::keys::{self, SIGNS_IN};
use crate::{app, clock, server_secret};

/// What can be done with signing keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Lists all keys.
    List,
    /// Adds a key per algorithm. It is published at once and signs some minutes later, when every
    /// cached key set has been renewed; the one before stays until its last token has expired.
    Rotate {
        /// Only this algorithm: ES256, EdDSA or RS256.
        #[arg(long)]
        alg: Option<String>,
        /// Seconds until the new keys sign. Fewer than the default is for an emergency: whoever has
        /// not renewed its key set by then takes the first tokens for bad.
        #[arg(long, default_value_t = SIGNS_IN)]
        signs_in: u64,
    },
    /// Takes a key out of use at once, because somebody else may have it: every token that it has
    /// signed dies. When no other key of its algorithm signs, a new one does at once.
    Revoke {
        /// The key's name, as `cadence key list` shows it.
        kid: String,
    },
}

impl Key {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence.
    pub async fn run(self, config: &Config, output: &Output) -> Result<(), CommandError> {
        let directory = directory(config).await?;
        let now = clock::now();
        match self {
            Self::List => {}
            Self::Rotate { alg, signs_in } => {
                let algs = match alg {
                    Some(alg) => vec![Alg::parse(&alg).ok_or("--alg takes ES256, EdDSA or RS256")?],
                    None => Alg::ALL.to_vec(),
                };
                let secret = server_secret::find(config, &*directory).await?;
                let signs_at = now.plus(signs_in);
                keys::rotate(&*directory, &app::key_seal(&secret), &algs, signs_at, now).await?;
            }
            Self::Revoke { kid } => {
                let secret = server_secret::find(config, &*directory).await?;
                keys::revoke(&*directory, &app::key_seal(&secret), &kid, now).await?;
            }
        }
        let rows: Vec<Value> = directory.list_keys().await?.iter().map(shown).collect();
        output.list(&rows, &["kid", "alg", "created_at", "signs_at", "expires_at"]);
        Ok(())
    }
}

fn shown(record: &KeyRecord) -> Value {
    json!({
        "kid": record.kid,
        "alg": record.alg,
        "created_at": record.created_at,
        "signs_at": record.signs_at,
        "expires_at": record.expires_at,
    })
}
