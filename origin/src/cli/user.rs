//! `cadence user`.

use std::io::Read as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::limits::USERNAME_LEN;
use shared::secret::base64url;
use shared::time::UnixTime;
use shared::token_request::Password;

use super::output::Output;
use super::{CHANGED_MEANWHILE, CommandError, directory};
use crate::config::Config;
use crate::directory::{Directory, UserRecord, canonical_username, older_logins_end};
use crate::store::UserId;
use crate::{clock, password};

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Registers a user; a password that is made here is shown once, now.
    Create(Create),
    /// Lists all users.
    List,
    /// Shows one user.
    Show {
        /// The username.
        username: String,
    },
    /// Disables a user: no login, and no session or token of theirs is ever good again.
    Disable {
        /// The username.
        username: String,
    },
    /// Enables a user again, who then has to log in anew.
    Enable {
        /// The username.
        username: String,
    },
}

/// Who is registered.
#[derive(Debug, Args)]
pub struct Create {
    /// What the user types at login.
    username: String,
    /// The `email` claim.
    #[arg(long)]
    email: Option<String>,
    /// The `name` claim.
    #[arg(long)]
    name: Option<String>,
    /// Reads the password from standard input instead of making one.
    #[arg(long)]
    password_stdin: bool,
}

impl User {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence.
    pub async fn run(self, config: &Config, output: &Output) -> Result<(), CommandError> {
        let directory = directory(config).await?;
        match self {
            Self::Create(create) => {
                let username = checked_username(&create.username)?;
                let exists = || CommandError::from(format!("the user {username} exists"));
                if directory.find_username(&username).await?.is_some() {
                    return Err(exists());
                }
                let made = (!create.password_stdin).then(|| base64url(&clock::random::<15>()));
                let text = match &made {
                    Some(made) => made.clone(),
                    None => typed()?,
                };
                let record = register(&username, create.email, create.name, &text)?;
                if !directory.change_user(None, &record).await? {
                    return Err(exists());
                }
                output.object(&shown(&record, made.as_deref()));
            }
            Self::List => {
                let users = directory.list_users().await?;
                let rows: Vec<Value> = users.iter().map(|record| shown(record, None)).collect();
                output.list(&rows, &["username", "sub", "email", "name", "disabled_at"]);
            }
            Self::Show { username } => {
                output.object(&shown(&find(&*directory, &username).await?, None));
            }
            Self::Disable { username } => {
                let found = find(&*directory, &username).await?;
                let now = clock::now();
                let disabled_at = found.disabled_at.or(Some(now));
                let valid_from = found.valid_from.max(older_logins_end(now));
                let record = UserRecord { valid_from, disabled_at, ..found.clone() };
                change(&*directory, &found, &record, output).await?;
            }
            Self::Enable { username } => {
                let found = find(&*directory, &username).await?;
                let record = UserRecord { disabled_at: None, ..found.clone() };
                change(&*directory, &found, &record, output).await?;
            }
        }
        Ok(())
    }
}

/// Makes a user's record with a new `sub`.
///
/// # Errors
/// A sentence about the password.
pub fn register(
    username: &str,
    email: Option<String>,
    name: Option<String>,
    text: &str,
) -> Result<UserRecord, CommandError> {
    let password = Password::parse(text)?;
    Ok(UserRecord {
        user_id: UserId(base64url(&clock::random::<16>())),
        username: checked_username(username)?,
        email,
        name,
        password_hash: password::hash(password.as_bytes()),
        valid_from: UnixTime::default(),
        disabled_at: None,
    })
}

fn checked_username(typed: &str) -> Result<String, CommandError> {
    let username = canonical_username(typed);
    let fits = !username.is_empty()
        && typed.len() <= USERNAME_LEN
        && !username.chars().any(char::is_control);
    if fits { Ok(username) } else { Err("a username has 1 to 256 printable bytes".into()) }
}

fn typed() -> Result<String, CommandError> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn change(
    directory: &dyn Directory,
    found: &UserRecord,
    record: &UserRecord,
    output: &Output,
) -> Result<(), CommandError> {
    if !directory.change_user(Some(found), record).await? {
        return Err(CHANGED_MEANWHILE.into());
    }
    output.object(&shown(record, None));
    Ok(())
}

async fn find(directory: &dyn Directory, username: &str) -> Result<UserRecord, CommandError> {
    let record = directory.find_username(&canonical_username(username)).await?;
    record.ok_or_else(|| format!("there is no user {username}").into())
}

fn shown(record: &UserRecord, password: Option<&str>) -> Value {
    let mut value = json!({
        "username": record.username,
        "sub": record.user_id.0,
        "email": record.email,
        "name": record.name,
        "disabled_at": record.disabled_at,
    });
    if let Some(password) = password {
        value["password"] = json!(password);
    }
    value
}
