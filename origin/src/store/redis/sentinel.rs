//! Who the primary is, as Redis Sentinel says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{ConnectionInfo, ErrorKind, RedisError};

use super::address::{Certificates, another};
use super::deadlines::Deadlines;
use super::link::{Link, Request, Target};

/// The sentinels of one primary.
pub(super) struct Sentinels {
    links: Vec<Link>,
    service: String,
    primary: ConnectionInfo,
    deadlines: Deadlines,
    /// When they were last believed.
    believed_at: ArcSwapOption<Instant>,
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
        deadlines: Deadlines,
    ) -> Self {
        let link = |info| Link::new(Target::Sentinel(info), certificates.clone(), 0, deadlines);
        let links = sentinels.into_iter().map(link).collect();
        Self { links, service, primary, deadlines, believed_at: ArcSwapOption::empty() }
    }

    /// The name of the primary.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Tells whether they were believed within this time.
    pub(super) fn were_believed_within(&self, time: Duration) -> bool {
        self.believed_at.load_full().is_some_and(|at| at.elapsed() <= time)
    }

    /// Asks who the primary is; see [`believed`].
    ///
    /// # Errors
    /// When no more than half of them know.
    pub(super) async fn primary(&self) -> Result<ConnectionInfo, RedisError> {
        let mut asked: FuturesUnordered<_> = self.links.iter().map(|link| self.ask(link)).collect();
        let (mut answers, mut failure) = (Vec::new(), None);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(named) => answers.push(named),
                Err(error) => failure = Some(error),
            }
            if let Some(Named { host, port, .. }) = believed(&answers, self.links.len()) {
                self.believed_at.store(Some(Arc::new(Instant::now())));
                return Ok(another(&self.primary, host, *port));
            }
        }
        Err(unheard(failure.as_ref()))
    }

    /// Asks one sentinel. The one that leads a failover has its new epoch, and under `MASTER` still
    /// names the primary before, until the last replica follows the new one, which may take minutes:
    /// who the primary is stands under `GET-MASTER-ADDR-BY-NAME` alone. The epoch is asked for first,
    /// so that it is never newer than the address.
    async fn ask(&self, link: &Link) -> Result<Named, RedisError> {
        let deadline = tokio::time::Instant::now() + self.deadlines.sentinel;
        let told = async |what: &str| {
            let mut command = redis::cmd("SENTINEL");
            command.arg(what).arg(&self.service);
            link.ask(Request::at_once(&command), deadline).await
        };
        let fields: HashMap<String, String> = redis::from_redis_value(told("MASTER").await?)?;
        let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok());
        let address = told("GET-MASTER-ADDR-BY-NAME").await?;
        let address: Option<(String, u16)> = redis::from_redis_value(address)?;
        let (epoch, (host, port)) = epoch.zip(address).ok_or_else(unreadable)?;
        Ok(Named { epoch, host, port })
    }
}

/// Returns what is believed of the answers that some of so many sentinels have given: nothing until
/// more than half have answered, because a few that were cut off know nothing of a failover among
/// the others; then whoever speaks of the latest failover is right.
fn believed(answers: &[Named], sentinels: usize) -> Option<&Named> {
    let are_most = 2 * answers.len() > sentinels;
    answers.iter().max_by_key(|named| named.epoch).filter(|_| are_most)
}

fn unheard(failure: Option<&RedisError>) -> RedisError {
    const WHAT: &str = "no more than half of the sentinels name a primary";
    match failure {
        Some(error) => RedisError::from((ErrorKind::Io, WHAT, error.to_string())),
        None => RedisError::from((ErrorKind::Io, WHAT)),
    }
}

fn unreadable() -> RedisError {
    RedisError::from((ErrorKind::Io, "the sentinels do not name a primary"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_failover_is_believed_once_more_than_half_have_answered() {
        for (epochs, sentinels, expected) in [
            (&[7][..], 1, Some(7)),
            (&[], 1, None),
            (&[7], 2, None),
            (&[7, 8], 2, Some(8)),
            (&[7], 3, None),
            (&[7, 7], 3, Some(7)),
            (&[9, 8], 3, Some(9)),
            (&[8, 9, 8], 3, Some(9)),
            (&[8, 8], 4, None),
            (&[8, 8], 5, None),
            (&[8, 8, 9], 5, Some(9)),
        ] {
            let named = |epoch: &u64| Named { epoch: *epoch, host: String::new(), port: 6379 };
            let answers: Vec<Named> = epochs.iter().map(named).collect();
            let believed = believed(&answers, sentinels).map(|named| named.epoch);
            assert_eq!(believed, expected, "{epochs:?} of {sentinels}");
        }
    }
}
