//! "Notes": a protected resource, and how an API verifies Cadence's access tokens by itself.
//!
//! The way of a request: [`routes`] → [`bearer`] takes the token out of the header → [`verifier`]
//! checks it, by the keys that [`keys`] and the revocations that [`status`] have fetched through
//! [`issuer`] → [`notes`]. Nothing of Cadence's own code is in it: these are ordinary libraries.

mod bearer;
mod issuer;
mod jwt;
mod keys;
mod notes;
mod routes;
mod settings;
mod status;
#[cfg(test)]
mod testing;
mod verifier;

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::settings::Settings;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_ansi(std::io::stdout().is_terminal()).init();
    let settings = Settings::load()?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("API_LISTEN: nothing can listen at {}", settings.listen))?;
    tracing::info!(listen = %settings.listen, issuer = settings.issuer, "notes");
    axum::serve(listener, routes::router(&settings)?).await?;
    Ok(())
}
