//! The way to one server: its connections, deadlines and circuit breaker.
//!
//! Only connections that answer in time are kept. Replies come in the order of the requests, and
//! a request that timed out keeps its place in that order, so its late reply meets nobody; the
//! connection is given up all the same, because it may be dead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::{timeout, timeout_at};

use super::address::Certificates;
use super::breaker::{Breaker, Turned};
use super::deadlines::Deadlines;
use super::kept::Writer;
use super::sentinel::Sentinels;
use super::server_settings::{self, ServerSettings};

/// How long a connection to a primary is kept while no more than half of the sentinels name one: it
/// may lead to one that was replaced, where nobody hears of it. A few rounds of asking them.
const UNHEARD_IN: Duration = Duration::from_secs(5);

/// Requests that may wait to be written to the connection.
const QUEUE: usize = 1024;

/// The name of the gauge that is 1 while requests to a server are refused.
const BREAKER_OPEN: &str = "cadence_redis_breaker_open";

/// One request to one server.
#[derive(Clone, Copy)]
pub(super) struct Request<'c> {
    /// What is asked.
    pub(super) command: &'c Cmd,
    /// Whether the answer waits until enough replicas have what was written.
    pub(super) is_kept: bool,
    /// Whether another server has sent one here for this request alone (`ASK`).
    pub(super) is_asking: bool,
}

impl<'c> Request<'c> {
    /// One that is answered at once.
    pub(super) const fn at_once(command: &'c Cmd) -> Self {
        Self { command, is_kept: false, is_asking: false }
    }
}

/// Where a [`Link`] leads.
pub(super) enum Target {
    /// Always to this server.
    Fixed(ConnectionInfo),
    /// To the one that is the primary now.
    Primary(Sentinels),
    /// To this sentinel, which keeps no rows.
    Sentinel(ConnectionInfo),
}

/// The way to one server, made when it is needed and again when it is lost.
pub(super) struct Link {
    name: String,
    target: Target,
    certificates: Certificates,
    /// How many replicas must have a write before it is answered.
    replicas: u32,
    deadlines: Deadlines,
    live: ArcSwapOption<Lines>,
    /// Held by whoever connects; when connecting failed last.
    dialing: Mutex<Option<Instant>>,
    breaker: Breaker,
    /// The eviction policy, if it is one that is not accepted.
    eviction: ArcSwapOption<String>,
}

/// The connections to one process: both were made when it was the one to talk to.
struct Lines {
    /// The address.
    to: String,
    /// For whatever is answered at once.
    plain: MultiplexedConnection,
    /// For writes that replicas must have: waiting for them holds up a connection.
    kept: Option<Writer>,
}

impl Link {
    pub(super) fn new(
        target: Target,
        certificates: Certificates,
        replicas: u32,
        deadlines: Deadlines,
    ) -> Self {
        let name = match &target {
            Target::Fixed(info) | Target::Sentinel(info) => info.addr().to_string(),
            Target::Primary(sentinels) => sentinels.service().to_owned(),
        };
        metrics::gauge!(BREAKER_OPEN, "server" => name.clone()).set(0.0);
        Self {
            name,
            target,
            certificates,
            replicas,
            deadlines,
            live: ArcSwapOption::empty(),
            dialing: Mutex::new(None),
            breaker: Breaker::default(),
            eviction: ArcSwapOption::empty(),
        }
    }

    /// Its address, or the name of the service.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// When a command that is sent now has to be answered.
    pub(super) fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.deadlines.command
    }

    /// Tells whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.live.load().is_some()
    }

    /// The eviction policy of the server, if rows may be evicted there.
    pub(super) fn eviction(&self) -> Option<Arc<String>> {
        self.eviction.load_full()
    }

    /// Sends a request and returns the answer.
    ///
    /// # Errors
    /// What became of the request is unknown, unless the server itself has refused it.
    pub(super) async fn ask(
        &self,
        request: Request<'_>,
        deadline: tokio::time::Instant,
    ) -> Result<Value, RedisError> {
        if !self.breaker.admits(Instant::now()) {
            return Err(RedisError::from((ErrorKind::Io, NOT_ASKED)));
        }
        let lines = match timeout_at(deadline, self.lines()).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => return Err(self.failed(late())),
        };
        let answer = match timeout_at(deadline, lines.send(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(late()),
        };
        match answer {
            Err(error) if is_away(&error) => {
                if is_of_the_connection(&error) {
                    self.live.compare_and_swap(&lines, None);
                }
                Err(self.failed(error))
            }
            answer => {
                self.turned(self.breaker.succeeded(), None);
                answer
            }
        }
    }

    /// Gives up the connection if it does not lead to the primary any more, or if nobody could tell
    /// for [`UNHEARD_IN`].
    pub(super) async fn follow(&self) {
        let Target::Primary(sentinels) = &self.target else { return };
        let Some(lines) = self.live.load_full() else { return };
        let info = match sentinels.primary().await {
            Ok(info) => info,
            Err(_) if sentinels.were_believed_within(UNHEARD_IN) => return,
            Err(error) => {
                tracing::warn!(
                    service = self.name,
                    from = lines.to,
                    %error,
                    "nobody can tell any more whether this is the primary"
                );
                self.live.compare_and_swap(&lines, None);
                return;
            }
        };
        let primary = info.addr().to_string();
        if lines.to != primary {
            tracing::warn!(
                service = self.name,
                from = lines.to,
                to = primary,
                "the sentinels name another primary"
            );
            self.live.compare_and_swap(&lines, None);
        }
    }

    /// Looks at the server's eviction policy.
    ///
    /// # Errors
    /// When the server does not tell.
    pub(super) async fn check_eviction(&self) -> Result<(), RedisError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let info = self.ask(Request::at_once(&command), self.deadline()).await?;
        let found = server_settings::evicts(&redis::from_redis_value::<String>(info)?);
        let known = self.eviction.swap(found.map(Arc::new));
        match (known, self.eviction()) {
            (None, Some(policy)) => tracing::error!(
                server = self.name,
                "Redis has maxmemory-policy {policy}, under which sign-ins disappear and \
                 revocations are not seen; set noeviction. Not ready until then"
            ),
            (Some(_), None) => {
                tracing::info!(server = self.name, "Redis has maxmemory-policy noeviction again");
            }
            _ => {}
        }
        Ok(())
    }

    fn failed(&self, error: RedisError) -> RedisError {
        self.turned(self.breaker.failed(Instant::now()), Some(&error));
        error
    }

    fn turned(&self, turned: Option<Turned>, error: Option<&RedisError>) {
        let Some(turned) = turned else { return };
        let gauge = metrics::gauge!(BREAKER_OPEN, "server" => self.name.clone());
        match turned {
            Turned::Open => {
                gauge.set(1.0);
                let error = error.map(ToString::to_string).unwrap_or_default();
                tracing::warn!(
                    server = self.name,
                    error,
                    "Redis is away: requests are refused at \
                    once, and one in 250 ms looks whether it is back"
                );
            }
            Turned::Closed => {
                gauge.set(0.0);
                tracing::info!(server = self.name, "Redis is back");
            }
        }
    }

    async fn lines(&self) -> Result<Arc<Lines>, RedisError> {
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        let since = Instant::now();
        let mut failed_at = self.dialing.lock().await;
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        // Whoever has waited for somebody else's failure has failed, too.
        if failed_at.is_some_and(|at| at > since) {
            return Err(RedisError::from((ErrorKind::Io, "Redis was away a moment ago")));
        }
        let dialed = match timeout(self.deadlines.connect, self.dial()).await {
            Ok(dialed) => dialed,
            Err(_) => Err(late()),
        };
        match dialed {
            Ok(lines) => {
                *failed_at = None;
                let live = Arc::new(lines);
                self.live.store(Some(live.clone()));
                Ok(live)
            }
            Err(error) => {
                *failed_at = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn dial(&self) -> Result<Lines, RedisError> {
        let info = match &self.target {
            Target::Fixed(info) | Target::Sentinel(info) => info.clone(),
            // Sentinels are found by links, which do not ask for a primary in turn.
            Target::Primary(sentinels) => Box::pin(sentinels.primary()).await?,
        };
        let to = info.addr().to_string();
        let client = self.certificates.client(info)?;
        // The deadlines are `ask`'s and `lines`'s, so the connection has none of its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let connect = || client.get_multiplexed_async_connection_with_config(&config);
        let mut plain = connect().await?;
        if matches!(self.target, Target::Primary(_)) {
            is_primary(&mut plain).await?;
        }
        let kept = match self.replicas {
            0 => None,
            replicas => Some(Writer::new(connect().await?, replicas, self.deadlines)),
        };
        if !matches!(self.target, Target::Sentinel(_)) {
            tokio::spawn(warn_of_settings(self.name.clone(), plain.clone(), self.replicas));
        }
        Ok(Lines { to, plain, kept })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        metrics::gauge!(BREAKER_OPEN, "server" => self.name.clone()).set(0.0);
    }
}

impl Lines {
    async fn send(&self, request: Request<'_>) -> Result<Value, RedisError> {
        let Request { command, is_kept, is_asking } = request;
        if let (true, Some(writer)) = (is_kept, &self.kept) {
            return writer.write(command, is_asking).await;
        }
        let mut connection = self.plain.clone();
        if !is_asking {
            return connection.req_packed_command(command).await?.extract_error();
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").add_command(command.clone());
        let answers = connection.req_packed_commands(&pipeline, 0, 2).await?;
        answers.into_iter().next_back().unwrap_or(Value::Nil).extract_error()
    }
}

/// Asks a server whether it is the primary: sentinels may be behind.
async fn is_primary(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let role = redis::cmd("ROLE").query_async::<Value>(connection).await?;
    let is_primary = match &role {
        Value::Array(parts) => {
            matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master")
        }
        _ => false,
    };
    if is_primary {
        return Ok(());
    }
    Err(RedisError::from((ErrorKind::Io, "the server that sentinels name is not the primary")))
}

/// What is said of a request that was not sent.
const NOT_ASKED: &str = "Redis has not answered lately";

/// Tells whether an error says that the request was not sent.
pub(super) fn was_not_asked(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Io && error.to_string().starts_with(NOT_ASKED)
}

pub(super) fn late() -> RedisError {
    RedisError::from((ErrorKind::Io, "Redis did not answer in time"))
}

/// Tells whether an error says that another connection would do better: this one is broken or
/// silent, or leads to a server that is not the primary (any more).
pub(super) fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}

/// Tells whether an error says that this server does not serve now.
fn is_away(error: &RedisError) -> bool {
    is_of_the_connection(error)
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::ClusterDown)
        )
}

/// Warns of settings under which rows disappear before their time, or nothing can be written.
async fn warn_of_settings(server: String, mut connection: MultiplexedConnection, replicas: u32) {
    match redis::cmd("INFO").query_async::<String>(&mut connection).await {
        Ok(info) => {
            for complaint in ServerSettings::read(&info).complaints(replicas) {
                tracing::warn!(server, "Redis: {complaint}");
            }
        }
        Err(error) => {
            tracing::warn!(server, %error, "Redis does not tell its settings (INFO); see to it \
                that maxmemory-policy is noeviction and that it persists");
        }
    }
}
