//! Values as the columns of the embedded database hold them.

use shared::client::ClientId;
use shared::scope::Scope;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::store::StoreError;

pub(super) fn bytes(digest: &Sha256Digest) -> &[u8] {
    digest.as_bytes()
}

pub(super) fn seconds(time: UnixTime) -> Result<i64, StoreError> {
    integer(time.as_secs())
}

pub(super) fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|error| StoreError(Box::new(error)))
}

pub(super) fn read_number(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unreadable(column))
}

pub(super) fn read_time(row: &SqliteRow, column: &'static str) -> Result<UnixTime, StoreError> {
    read_number(row, column).map(UnixTime::from_secs)
}

pub(super) fn read_digest(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<Sha256Digest>, StoreError> {
    let Some(bytes) = row.try_get::<Option<&[u8]>, _>(column)? else {
        return Ok(None);
    };
    let bytes = bytes.try_into().map_err(|_| unreadable(column))?;
    Ok(Some(Sha256Digest::from_bytes(bytes)))
}

pub(super) fn read_client_id(row: &SqliteRow) -> Result<ClientId, StoreError> {
    ClientId::parse(row.try_get("client_id")?).map_err(|_| unreadable("client_id"))
}

pub(super) fn read_scope(row: &SqliteRow) -> Result<Scope, StoreError> {
    Scope::parse(row.try_get("scope")?).map_err(|_| unreadable("scope"))
}

pub(super) fn unreadable(column: &str) -> StoreError {
    StoreError(format!("the embedded store holds an unreadable {column}").into())
}
