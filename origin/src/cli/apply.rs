//! `cadence apply`: clients and users from a file.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::client::Client;
use shared::secret::Sha256Digest;
use shared::token_request::Password;

use super::output::Output;
use super::{CHANGED_MEANWHILE, CommandError, client, directory, user};
use crate::account;
use crate::clock;
use crate::config::Config;
use crate::directory::{ClientRecord, Directory, UserRecord, canonical_username, older_logins_end};
use crate::password::{self, PasswordPool, PasswordVerdict};

/// Brings clients and users to what a file says.
#[derive(Debug, Args)]
pub struct Apply {
    /// A TOML file with `[[clients]]` and `[[users]]`.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

/// Bytes that a client's secret has at least, but for development.
const SECRET_LEN: usize = 24;

/// How often an entry is tried again that somebody else has changed meanwhile.
const ATTEMPTS: u32 = 5;

/// What a file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// `development` keeps its secrets, which everybody can read, away from real servers.
    #[serde(default)]
    environment: Option<Environment>,
    #[serde(default)]
    clients: Vec<toml::Table>,
    #[serde(default)]
    users: Vec<UserEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Environment {
    Development,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    username: String,
    email: Option<String>,
    name: Option<String>,
    password: String,
}

impl Apply {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence; the entries before the one that is wrong are applied.
    pub async fn run(self, config: &Config, output: &Output) -> Result<(), CommandError> {
        let shown = self.file.display().to_string();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let document: Document =
            toml::from_str(&text).map_err(|error| format!("{shown}: {}", error.message()))?;
        if document.environment == Some(Environment::Development)
            && !config.issuer.is_loopback_http()
        {
            return Err(format!(
                "{shown} is for development alone, and the issuer is {}",
                config.issuer
            )
            .into());
        }
        let clients = document
            .clients
            .into_iter()
            .map(|table| parse_client(table).map_err(|error| format!("{shown}: {error}")))
            .collect::<Result<Vec<_>, _>>()?;
        let directory = directory(config).await?;
        let mut rows = Vec::new();
        let weak = clients.iter().find(|(_, secret)| {
            document.environment.is_none()
                && secret.as_ref().is_some_and(|secret| secret.len() < SECRET_LEN)
        });
        if let Some((client, _)) = weak {
            return Err(format!(
                "{shown}: client {}: client_secret has fewer than {SECRET_LEN} bytes; leave it out, \
                 and one is made",
                client.client_id
            )
            .into());
        }
        for (client, secret) in clients {
            rows.push(apply_client(&*directory, client, secret).await?);
        }
        for entry in document.users {
            rows.push(apply_user(&*directory, entry).await?);
        }
        let columns = ["kind", "id", "change", "client_secret"];
        let secret_shown = rows.iter().any(|row| !row["client_secret"].is_null());
        output.list(&rows, if secret_shown { &columns } else { &columns[..3] });
        Ok(())
    }
}

/// Splits a client's table into what is registered and its secret.
fn parse_client(mut table: toml::Table) -> Result<(Client, Option<String>), CommandError> {
    let id = table.get("client_id").and_then(toml::Value::as_str).unwrap_or("?").to_owned();
    let wrong = |what: &dyn std::fmt::Display| format!("client {id}: {what}");
    let secret = match table.remove("client_secret") {
        None => None,
        Some(toml::Value::String(secret)) if !secret.is_empty() => Some(secret),
        Some(_) => return Err(wrong(&"client_secret takes a string").into()),
    };
    let client: Client =
        table.try_into().map_err(|error: toml::de::Error| wrong(&error.message()))?;
    client.validate().map_err(|rule| wrong(&rule))?;
    account::check_not_reserved(&client.client_id).map_err(|rule| wrong(&rule))?;
    if client.is_public() && secret.is_some() {
        return Err(wrong(&"a public client has no secret").into());
    }
    Ok((client, secret))
}

/// Registers a client; a disabled one stays so. A confidential client without a secret in the file keeps the one that it
/// has, or gets one, which is shown once.
async fn apply_client(
    directory: &dyn Directory,
    client: Client,
    secret: Option<String>,
) -> Result<Value, CommandError> {
    let given = secret.map(|secret| Sha256Digest::of(secret.as_bytes()));
    for _ in 0..ATTEMPTS {
        if let Some(row) = try_client(directory, client.clone(), given).await? {
            return Ok(row);
        }
    }
    Err(CHANGED_MEANWHILE.into())
}

/// Returns nothing when somebody else was faster.
async fn try_client(
    directory: &dyn Directory,
    client: Client,
    given: Option<Sha256Digest>,
) -> Result<Option<Value>, CommandError> {
    let id = client.client_id.clone();
    let existing = directory.find_client(&id).await?;
    let kept = existing.as_ref().and_then(|record| record.secret_digest);
    // The secret of the file takes the place of others at once; what is the same changes nothing.
    let former_secret = existing.as_ref().and_then(|record| record.former_secret);
    let former_secret = former_secret.filter(|_| given.is_none() || given == kept);
    let disabled_at = existing.as_ref().and_then(|record| record.disabled_at);
    let (record, made) = if client.is_public() {
        (ClientRecord { client, secret_digest: None, former_secret: None, disabled_at }, None)
    } else if let Some(secret_digest) = given.or(kept) {
        (
            ClientRecord { client, secret_digest: Some(secret_digest), former_secret, disabled_at },
            None,
        )
    } else {
        let (record, made) = client::register(client);
        (ClientRecord { disabled_at, ..record }, made)
    };
    let change = change(existing.as_ref(), &record);
    if change != "unchanged" && !directory.change_client(existing.as_ref(), &record).await? {
        return Ok(None);
    }
    Ok(Some(json!({ "kind": "client", "id": id, "change": change, "client_secret": made })))
}

/// Registers a user; an existing one keeps the `sub`, and the password's hash if it fits.
async fn apply_user(directory: &dyn Directory, entry: UserEntry) -> Result<Value, CommandError> {
    for _ in 0..ATTEMPTS {
        if let Some(row) = try_user(directory, entry.clone()).await? {
            return Ok(row);
        }
    }
    Err(CHANGED_MEANWHILE.into())
}

/// Returns nothing when somebody else was faster.
async fn try_user(
    directory: &dyn Directory,
    entry: UserEntry,
) -> Result<Option<Value>, CommandError> {
    let username = canonical_username(&entry.username);
    let existing = directory.find_username(&username).await?;
    let record = match &existing {
        None => user::register(&username, entry.email, entry.name, &entry.password)?,
        Some(known) => {
            let password = Password::parse(&entry.password)?;
            let verdict = PasswordPool::new().verify(password, Some(&known.password_hash)).await;
            let (password_hash, valid_from) = match verdict {
                Ok(PasswordVerdict::Right) => (known.password_hash.clone(), known.valid_from),
                // A new password ends what was begun with the old one.
                _ => (
                    password::hash(entry.password.as_bytes()),
                    known.valid_from.max(older_logins_end(clock::now())),
                ),
            };
            UserRecord {
                email: entry.email,
                name: entry.name,
                password_hash,
                valid_from,
                ..known.clone()
            }
        }
    };
    let change = change(existing.as_ref(), &record);
    if change != "unchanged" {
        match directory.change_user(existing.as_ref(), &record).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                // The username may be taken, by the same line of the same file.
                let was_taken =
                    existing.is_none() && directory.find_username(&username).await?.is_some();
                return if was_taken { Ok(None) } else { Err(error.into()) };
            }
        }
    }
    Ok(Some(json!({ "kind": "user", "id": username, "change": change })))
}

fn change<T: PartialEq>(existing: Option<&T>, record: &T) -> &'static str {
    match existing {
        None => "created",
        Some(existing) if existing == record => "unchanged",
        Some(_) => "updated",
    }
}
