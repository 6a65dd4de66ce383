//! `cadence serve`.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{CommandError, Place, directory, make_private};
use crate::app::App;
use crate::config::{Config, LogFormat};
use crate::http::{self, admin, listen};
use crate::store::Store;
use crate::store::embedded::Embedded;
use crate::store::redis::Redis;
use crate::{backchannel, clock, server_secret};

/// How often the signing keys are read again: another process may have rotated them.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// How often the embedded store is swept of rows that have ended.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// Serves until the process is asked to end.
///
/// # Errors
/// A sentence about what keeps it from starting.
pub async fn serve(config: &Config) -> Result<(), CommandError> {
    start_log(config)?;
    open_many_files();
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let directory = directory(config).await?;
    let secret = server_secret::find(config, &*directory).await?;
    let store = Opened::of(config).await?;
    let app = Arc::new(App::new(config, &secret, store.store(), directory, clock::now()).await?);
    let public = listen::bind(config.listen).await?;
    let private = listen::bind(config.admin_listen).await?;
    tokio::spawn(reload_keys(app.clone()));
    tokio::spawn(store.look_after());
    tokio::spawn(end_on_signal(app.clone(), config.drain_seconds)?);
    tracing::info!(
        issuer = %app.issuer,
        listen = %config.listen,
        admin_listen = %config.admin_listen,
        store = if config.redis.is_some() { "redis" } else { "embedded" },
        directory = Place::of(config).kind(),
        "serving"
    );
    let admin = admin::router(app.clone(), metrics);
    let ending = app.ending.follow();
    tokio::join!(
        listen::serve(public, http::router(app.clone()), ending.clone()),
        listen::serve(private, admin, ending.clone()),
        backchannel::run(app, ending),
    );
    tracing::info!("ended");
    Ok(())
}

async fn embedded(config: &Config) -> Result<Embedded, CommandError> {
    let path = config.data_file("store.db");
    make_private(&config.data_dir)?;
    if !config.migrate {
        let schema = Embedded::schema(&path).await?;
        schema.check_current().map_err(|refused| format!("the store: {refused}"))?;
    }
    Ok(Embedded::open(&path).await?)
}

/// The store of the settings.
enum Opened {
    Redis(Arc<Redis>),
    Embedded(Arc<Embedded>),
}

impl Opened {
    async fn of(config: &Config) -> Result<Self, CommandError> {
        Ok(match &config.redis {
            Some(settings) => Self::Redis(Arc::new(Redis::connect(settings).await?)),
            None => Self::Embedded(Arc::new(embedded(config).await?)),
        })
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Redis(redis) => redis.clone(),
            Self::Embedded(embedded) => embedded.clone(),
        }
    }

    /// Does what a store needs beside requests, for as long as the process lives.
    async fn look_after(self) {
        match self {
            Self::Redis(redis) => redis.watch().await,
            Self::Embedded(embedded) => sweep(embedded).await,
        }
    }
}

fn start_log(config: &Config) -> Result<(), CommandError> {
    let filter =
        EnvFilter::try_new(&config.log).map_err(|error| format!("log is not a filter: {error}"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
}

/// Lets the process open as many files as the system gives it: each connection is one, and the usual
/// 1024 are fewer than a few clients that do nothing can hold.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

async fn reload_keys(app: Arc<App>) {
    loop {
        tokio::time::sleep(RELOAD_EVERY).await;
        if let Err(error) = app.reload_keys().await {
            tracing::warn!(%error, "the signing keys cannot be read; those known go on");
        }
    }
}

async fn sweep(embedded: Arc<Embedded>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if let Err(error) = embedded.sweep(clock::now()).await {
            tracing::warn!(%error, "the embedded store cannot be swept");
        }
    }
}

/// Ends the process when it is asked to: SIGTERM comes from whoever runs it beside others, who need
/// time to notice; SIGINT from a person, who does not want to wait. So does whoever asks twice.
fn end_on_signal(
    app: Arc<App>,
    drain_seconds: u64,
) -> Result<impl Future<Output = ()> + Send + 'static, CommandError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let drain_in = tokio::select! {
            _ = interrupt.recv() => Duration::ZERO,
            _ = terminate.recv() => Duration::from_secs(drain_seconds),
        };
        tracing::info!(
            drain_seconds = drain_in.as_secs(),
            "ending: requests under way are finished first"
        );
        let again = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        app.ending.begin(drain_in, again).await;
    })
}
