//! The connection to Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
};
use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::COMMAND_DEADLINE;

/// How long one attempt to connect may take: less than [`COMMAND_DEADLINE`], so that the request
/// that connects learns of the failure and the others need not try.
const CONNECT_DEADLINE: Duration = Duration::from_millis(400);

/// How long nobody tries to connect again after a failure; requests fail at once meanwhile.
pub(super) const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Requests that may wait to be written to the connection.
const QUEUE: usize = 1024;

/// One connection, made when it is needed and again when it is lost.
pub(super) struct Link {
    client: Client,
    live: ArcSwapOption<MultiplexedConnection>,
    /// Held by whoever connects; when connecting failed last.
    dialing: Mutex<Option<Instant>>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self { client, live: ArcSwapOption::empty(), dialing: Mutex::new(None) }
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let deadline = tokio::time::Instant::now() + COMMAND_DEADLINE;
        let live = timeout_at(deadline, self.connection()).await.map_err(|_| late())??;
        let mut connection = live.as_ref().clone();
        let answer = match timeout_at(deadline, command.query_async(&mut connection)).await {
            Ok(answer) => answer,
            Err(_) => Err(late()),
        };
        if answer.as_ref().is_err_and(is_of_the_connection) {
            self.live.compare_and_swap(&live, None);
        }
        answer
    }

    async fn connection(&self) -> Result<Arc<MultiplexedConnection>, RedisError> {
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        let mut failed_at = self.dialing.lock().await;
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        if failed_at.is_some_and(|at| at.elapsed() < RECONNECT_PAUSE) {
            return Err(RedisError::from((ErrorKind::Io, "Redis was away a moment ago")));
        }
        match self.dial().await {
            Ok(connection) => {
                *failed_at = None;
                let live = Arc::new(connection);
                self.live.store(Some(live.clone()));
                Ok(live)
            }
            Err(error) => {
                *failed_at = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn dial(&self) -> Result<MultiplexedConnection, RedisError> {
        // The deadline of a command is `ask`'s, so the connection has none of its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        tokio::spawn(warn_of_settings(connection.clone()));
        Ok(connection)
    }
}

fn late() -> RedisError {
    RedisError::from((ErrorKind::Io, "Redis did not answer in time"))
}

/// Tells whether an error says that another connection would do better: this one is broken or
/// silent, or leads to a server that is not the primary (any more).
fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}

/// Warns of settings under which rows disappear before their time.
async fn warn_of_settings(mut connection: MultiplexedConnection) {
    let mut settings = [const { String::new() }; 3];
    for (name, value) in ["maxmemory-policy", "appendonly", "save"].iter().zip(&mut settings) {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(name);
        match command.query_async::<Vec<String>>(&mut connection).await {
            Ok(pair) => *value = pair.into_iter().nth(1).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "Redis does not tell its settings; see to it that \
                    maxmemory-policy is noeviction and that it persists");
                return;
            }
        }
    }
    let [policy, appendonly, save] = &settings;
    for complaint in complaints(policy, appendonly, save) {
        tracing::warn!("Redis: {complaint}");
    }
}

pub(super) fn complaints(policy: &str, appendonly: &str, save: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if policy != "noeviction" {
        complaints.push(format!(
            "maxmemory-policy is {policy}: full memory logs people out; set noeviction"
        ));
    }
    if appendonly != "yes" {
        complaints.push(if save.is_empty() {
            "nothing is persisted: a restart logs everybody out; set appendonly yes".to_owned()
        } else {
            "only snapshots are persisted: a crash forgets the last minutes, revocations \
             included; set appendonly yes"
                .to_owned()
        });
    }
    complaints
}
