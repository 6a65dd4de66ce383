//! The server's own secret: from the settings, or generated once and kept in the data directory.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use shared::secret::base64url;

use crate::cli::CommandError;
use crate::clock;
use crate::config::{Config, is_postgres};
use crate::directory::Directory;

/// File in the data directory.
const FILE: &str = "secret.key";

/// Finds the server's secret.
///
/// Generates one only for a directory without signing keys: keys that were encrypted under a lost
/// secret are never silently replaced. And only where the directory is this process's own: origins
/// that share one must have the same.
///
/// # Errors
/// When the file cannot be read or written, is open to others, or is missing although there are keys.
pub async fn find(config: &Config, directory: &dyn Directory) -> Result<Vec<u8>, CommandError> {
    if let Some(secret) = &config.secret {
        return Ok(secret.0.clone().into_bytes());
    }
    let path = config.data_file(FILE);
    let mode = std::fs::metadata(&path).map_or(0, |file| file.mode());
    if mode & 0o077 != 0 {
        return Err(format!(
            "{} can be read by others (mode {:o}): `chmod 600` it, and change it if it was read",
            path.display(),
            mode & 0o777
        )
        .into());
    }
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= 32 => return Ok(secret),
        Ok(_) => return Err(format!("{} is damaged: it is too short", path.display()).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display()).into()),
    }
    if !directory.list_keys().await?.is_empty() {
        return Err(format!(
            "{} is missing, and the directory has signing keys that were encrypted with it; \
             restore it, or set `secret`",
            path.display()
        )
        .into());
    }
    if config.database_url.as_ref().is_some_and(|url| is_postgres(&url.0)) {
        return Err("`secret` is not set: origins that share a PostgreSQL database need the same \
                    one (`openssl rand -base64 33` makes one)"
            .into());
    }
    let secret = base64url(&clock::random::<32>());
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(secret.into_bytes()),
        Err(error) => Err(format!("{} cannot be written: {error}", path.display()).into()),
    }
}
