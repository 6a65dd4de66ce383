//! What a row of the directory means, whichever database it comes from.

use shared::client::ClientId;
use shared::jwk::Alg;
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::{ClientRecord, ConsentRecord, DirectoryError, FormerSecret, KeyRecord, UserRecord};
use crate::store::UserId;

/// The columns of a row; each name is one of the schema's.
pub(super) trait Columns {
    fn text(&self, column: &str) -> Result<Option<&str>, sqlx::Error>;
    fn bytes(&self, column: &str) -> Result<Option<&[u8]>, sqlx::Error>;
    fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error>;
}

macro_rules! columns_of {
    ($($row:ty)*) => {$(
        impl Columns for $row {
            fn text(&self, column: &str) -> Result<Option<&str>, sqlx::Error> {
                self.try_get(column)
            }

            fn bytes(&self, column: &str) -> Result<Option<&[u8]>, sqlx::Error> {
                self.try_get(column)
            }

            fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
                self.try_get(column)
            }
        }
    )*};
}
columns_of!(SqliteRow PgRow);

pub(super) fn read_client(row: &impl Columns) -> Result<ClientRecord, DirectoryError> {
    let former = optional_digest(row, "former_secret_digest")?;
    let until = optional_time(row, "former_secret_until")?;
    Ok(ClientRecord {
        client: serde_json::from_str(text(row, "registration")?).map_err(failed)?,
        secret_digest: optional_digest(row, "secret_digest")?,
        former_secret: former.zip(until).map(|(digest, until)| FormerSecret { digest, until }),
        disabled_at: optional_time(row, "disabled_at")?,
    })
}

pub(super) fn read_user(row: &impl Columns) -> Result<UserRecord, DirectoryError> {
    Ok(UserRecord {
        user_id: UserId(text(row, "user_id")?.to_owned()),
        username: text(row, "username")?.to_owned(),
        email: row.text("email")?.map(str::to_owned),
        name: row.text("name")?.map(str::to_owned),
        password_hash: text(row, "password_hash")?.to_owned(),
        valid_from: time(row, "valid_from")?,
        disabled_at: optional_time(row, "disabled_at")?,
    })
}

pub(super) fn read_consent(row: &impl Columns) -> Result<ConsentRecord, DirectoryError> {
    Ok(ConsentRecord {
        client_id: ClientId::parse(text(row, "client_id")?).map_err(|_| unreadable("client_id"))?,
        scope: read_scope(row)?,
        since: time(row, "since")?,
    })
}

pub(super) fn read_scope(row: &impl Columns) -> Result<Scope, DirectoryError> {
    Scope::parse(text(row, "scope")?).map_err(|_| unreadable("scope"))
}

pub(super) fn read_key(row: &impl Columns) -> Result<KeyRecord, DirectoryError> {
    let sealed = row.bytes("sealed_pkcs8")?.ok_or_else(|| unreadable("sealed_pkcs8"))?;
    Ok(KeyRecord {
        kid: text(row, "kid")?.to_owned(),
        alg: Alg::parse(text(row, "alg")?).ok_or_else(|| unreadable("alg"))?,
        sealed_pkcs8: sealed.to_owned(),
        created_at: time(row, "created_at")?,
        signs_at: time(row, "signs_at")?,
        expires_at: optional_time(row, "expires_at")?,
    })
}

/// Brings a time into the form in which it is kept.
pub(super) fn seconds(time: UnixTime) -> Result<i64, DirectoryError> {
    i64::try_from(time.as_secs()).map_err(failed)
}

/// Says why a user could not be written.
pub(super) fn username_taken(error: sqlx::Error) -> DirectoryError {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => {
            DirectoryError("another user has this username".into())
        }
        error => error.into(),
    }
}

pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DirectoryError {
    DirectoryError(error.into())
}

impl From<sqlx::Error> for DirectoryError {
    fn from(error: sqlx::Error) -> Self {
        Self(Box::new(error))
    }
}

fn text<'r>(row: &'r impl Columns, column: &str) -> Result<&'r str, DirectoryError> {
    row.text(column)?.ok_or_else(|| unreadable(column))
}

fn time(row: &impl Columns, column: &str) -> Result<UnixTime, DirectoryError> {
    optional_time(row, column)?.ok_or_else(|| unreadable(column))
}

fn optional_digest(
    row: &impl Columns,
    column: &str,
) -> Result<Option<Sha256Digest>, DirectoryError> {
    let Some(bytes) = row.bytes(column)? else {
        return Ok(None);
    };
    let bytes = bytes.try_into().map_err(|_| unreadable(column))?;
    Ok(Some(Sha256Digest::from_bytes(bytes)))
}

fn optional_time(row: &impl Columns, column: &str) -> Result<Option<UnixTime>, DirectoryError> {
    let Some(seconds) = row.integer(column)? else {
        return Ok(None);
    };
    let seconds = u64::try_from(seconds).map_err(|_| unreadable(column))?;
    Ok(Some(UnixTime::from_secs(seconds)))
}

fn unreadable(column: &str) -> DirectoryError {
    failed(format!("the directory holds an unreadable {column}"))
}
