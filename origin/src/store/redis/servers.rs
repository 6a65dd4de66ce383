//! The servers behind a store: one, a primary that Sentinel names, or a cluster.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Arg, Cmd, RedisError, Value};

use super::address::{Address, Topology};
use super::cluster::Cluster;
use super::deadlines::Deadlines;
use super::link::{Link, Request, Target};
use super::sentinel::Sentinels;
use super::slot::slot;

/// Whom a request is sent to.
pub(super) enum Servers {
    /// One server at a time.
    One(Box<Link>),
    /// The one that has the key's slot.
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Makes the way there; connects nowhere yet. A write counts when `replicas` have it, too.
    pub(super) fn new(address: Address, replicas: u32, deadlines: Deadlines) -> Self {
        let Address { topology, certificates } = address;
        let one = |target, certificates| {
            Self::One(Box::new(Link::new(target, certificates, replicas, deadlines)))
        };
        match topology {
            Topology::One(info) => one(Target::Fixed(info), certificates),
            Topology::Sentinel { sentinels, service, primary } => {
                let sentinels =
                    Sentinels::new(sentinels, service, primary, &certificates, deadlines);
                one(Target::Primary(sentinels), certificates)
            }
            Topology::Cluster(seeds) => {
                Self::Cluster(Arc::new(Cluster::new(seeds, certificates, replicas, deadlines)))
            }
        }
    }

    /// Sends a command about `key`, and waits for the answer, but no longer than for any command;
    /// with `is_kept`, until enough replicas have what it wrote.
    pub(super) async fn ask(
        &self,
        key: &[u8],
        command: &Cmd,
        is_kept: bool,
    ) -> Result<Value, RedisError> {
        let request = Request { command, is_kept, is_asking: false };
        match self {
            Self::One(link) => link.ask(request, link.deadline()).await,
            Self::Cluster(cluster) => cluster.ask(slot(key), request).await,
        }
    }

    /// Looks whether the servers are still the right ones, and whether they evict rows.
    pub(super) async fn check(&self) {
        let check = async |link: &Link| {
            link.follow().await;
            if let Err(error) = link.check_eviction().await {
                tracing::debug!(server = link.name(), %error, "Redis does not tell its settings");
            }
        };
        match self {
            Self::One(link) => check(link).await,
            Self::Cluster(cluster) => {
                let owners = cluster.owners();
                join_all(owners.iter().map(|link| check(link))).await;
            }
        }
    }

    /// Returns an eviction policy under which rows disappear, if a server has one.
    pub(super) fn eviction(&self) -> Option<Arc<String>> {
        match self {
            Self::One(link) => link.eviction(),
            Self::Cluster(cluster) => cluster.owners().iter().find_map(|link| link.eviction()),
        }
    }
}

/// The key of a command that has exactly one, right behind its name.
pub(super) fn key_of(command: &Cmd) -> &[u8] {
    match command.args_iter().nth(1) {
        Some(Arg::Simple(key)) => key,
        _ => b"",
    }
}
