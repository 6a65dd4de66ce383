//! Who the primary is, as Redis Sentinel says.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{ConnectionInfo, ErrorKind, RedisError};

use super::address::{Certificates, another};
use super::link::{Link, Request, Target};

/// How long a sentinel is waited for.
const SENTINEL_DEADLINE: Duration = Duration::from_millis(200);

/// The sentinels of one primary.
pub(super) struct Sentinels {
    links: Vec<Link>,
    service: String,
    primary: ConnectionInfo,
}

/// What one sentinel says.
struct Named {
    epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    pub(super) fn new(
        sentinels: Vec<ConnectionInfo>,
        service: String,
        primary: ConnectionInfo,
        certificates: &Certificates,
    ) -> Self {
        let link = |info| Link::new(Target::Sentinel(info), certificates.clone(), 0);
        Self { links: sentinels.into_iter().map(link).collect(), service, primary }
    }

    /// The name of the primary.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Asks who the primary is. When the sentinels do not agree, whoever speaks of the latest
    /// failover is right; it is enough that more than half have answered.
    ///
    /// # Errors
    /// When none of them knows.
    pub(super) async fn primary(&self) -> Result<ConnectionInfo, RedisError> {
        let mut asked: FuturesUnordered<_> = self.links.iter().map(|link| self.ask(link)).collect();
        let (mut latest, mut answers, mut failure): (Option<Named>, usize, _) = (None, 0, None);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(named) => {
                    answers += 1;
                    if latest.as_ref().is_none_or(|known| known.epoch < named.epoch) {
                        latest = Some(named);
                    }
                }
                Err(error) => failure = Some(error),
            }
            if 2 * answers > self.links.len() {
                break;
            }
        }
        match (latest, failure) {
            (Some(Named { host, port, .. }), _) => Ok(another(&self.primary, &host, port)),
            (None, Some(error)) => Err(error),
            (None, None) => Err(unreadable()),
        }
    }

    async fn ask(&self, link: &Link) -> Result<Named, RedisError> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("MASTER").arg(&self.service);
        let deadline = tokio::time::Instant::now() + SENTINEL_DEADLINE;
        let answer = link.ask(Request::at_once(&command), deadline).await?;
        let mut fields: HashMap<String, String> = redis::from_redis_value(answer)?;
        let number = |text: Option<&String>| text.and_then(|text| text.parse::<u64>().ok());
        let epoch = number(fields.get("config-epoch")).ok_or_else(unreadable)?;
        let port = number(fields.get("port")).and_then(|port| u16::try_from(port).ok());
        let (host, port) = fields.remove("ip").zip(port).ok_or_else(unreadable)?;
        Ok(Named { epoch, host, port })
    }
}

fn unreadable() -> RedisError {
    RedisError::from((ErrorKind::Io, "the sentinels do not name a primary"))
}
