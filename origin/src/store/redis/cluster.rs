//! A Redis Cluster: which server has which slot, and the way to each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant as Deadline, sleep, timeout_at};

use super::address::{Certificates, another};
use super::deadlines::Deadlines;
use super::link::{Link, Request, Target, is_of_the_connection, late};

/// How long nobody asks again who has which slot.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// How long to wait when the rows of a request are on their way from one server to another.
const TRY_AGAIN_IN: Duration = Duration::from_millis(20);

/// How often one request is sent on from server to server.
const REDIRECTIONS: usize = 8;

/// A cluster.
pub(super) struct Cluster {
    seeds: Vec<ConnectionInfo>,
    certificates: Certificates,
    replicas: u32,
    deadlines: Deadlines,
    /// Who has which slots, as last heard.
    slots: ArcSwap<Vec<Slots>>,
    links: Mutex<HashMap<String, Arc<Link>>>,
    /// Held by whoever asks who has which slot; when that was done last.
    looking: tokio::sync::Mutex<Option<Instant>>,
}

/// Slots in a row, both ends included, and who has them.
#[derive(Clone)]
struct Slots {
    first: u16,
    last: u16,
    link: Arc<Link>,
}

impl Cluster {
    pub(super) fn new(
        seeds: Vec<ConnectionInfo>,
        certificates: Certificates,
        replicas: u32,
        deadlines: Deadlines,
    ) -> Self {
        Self {
            seeds,
            certificates,
            replicas,
            deadlines,
            slots: ArcSwap::default(),
            links: Mutex::default(),
            looking: tokio::sync::Mutex::new(None),
        }
    }

    /// Sends a request to the server that has `slot`, and follows where that sends it.
    ///
    /// A request whose outcome is unknown is NOT sent again.
    pub(super) async fn ask(
        self: &Arc<Self>,
        slot: u16,
        request: Request<'_>,
    ) -> Result<Value, RedisError> {
        let deadline = Deadline::now() + self.deadlines.command;
        let mut request = request;
        let mut link = timeout_at(deadline, self.owner(slot)).await.map_err(|_| late())??;
        let mut redirections = 0;
        loop {
            let error = match link.ask(request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Server(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask))
                    if redirections < REDIRECTIONS =>
                {
                    redirections += 1;
                    let Some((address, _)) = error.redirect_node() else { return Err(error) };
                    let Some(next) = self.link_at(address, &link) else { return Err(error) };
                    link = next;
                    request.is_asking = kind == ServerErrorKind::Ask;
                    if kind == ServerErrorKind::Moved {
                        self.look_behind();
                    }
                }
                ErrorKind::Server(ServerErrorKind::TryAgain)
                    if Deadline::now() + TRY_AGAIN_IN < deadline =>
                {
                    sleep(TRY_AGAIN_IN).await;
                    request.is_asking = false;
                    link = timeout_at(deadline, self.owner(slot)).await.map_err(|_| late())??;
                }
                ErrorKind::Server(ServerErrorKind::ClusterDown) => {
                    self.look_behind();
                    return Err(error);
                }
                _ => {
                    if is_of_the_connection(&error) {
                        // Perhaps another one has taken its place.
                        self.look_behind();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The ways to the servers that have slots, as far as is known.
    pub(super) fn owners(&self) -> Vec<Arc<Link>> {
        let mut owners: Vec<Arc<Link>> = Vec::new();
        for Slots { link, .. } in self.slots.load().iter() {
            if !owners.iter().any(|known| Arc::ptr_eq(known, link)) {
                owners.push(link.clone());
            }
        }
        owners
    }

    async fn owner(&self, slot: u16) -> Result<Arc<Link>, RedisError> {
        if let Some(link) = self.known_owner(slot) {
            return Ok(link);
        }
        self.look().await?;
        self.known_owner(slot).ok_or_else(|| {
            RedisError::from((ErrorKind::Io, "no server of the cluster has the slot"))
        })
    }

    fn known_owner(&self, slot: u16) -> Option<Arc<Link>> {
        let slots = self.slots.load();
        let has = |slots: &&Slots| (slots.first..=slots.last).contains(&slot);
        slots.iter().find(has).map(|slots| slots.link.clone())
    }

    /// Asks in the background who has which slot.
    fn look_behind(self: &Arc<Self>) {
        let cluster = self.clone();
        tokio::spawn(async move {
            if let Err(error) = cluster.look().await {
                tracing::debug!(%error, "the cluster does not tell its slots");
            }
        });
    }

    /// Asks who has which slot: all servers at once, and believes the first that answers. One that
    /// is behind is put right by those that it names.
    async fn look(&self) -> Result<(), RedisError> {
        let mut looked_at = self.looking.lock().await;
        if looked_at.is_some_and(|at| at.elapsed() < LOOK_PAUSE) && !self.slots.load().is_empty() {
            return Ok(());
        }
        let mut links: Vec<Arc<Link>> = self.lock().values().cloned().collect();
        for seed in &self.seeds {
            let link = self.link_to(seed.clone());
            if !links.iter().any(|known| Arc::ptr_eq(known, &link)) {
                links.push(link);
            }
        }
        let deadline = Deadline::now() + self.deadlines.command;
        let mut asked: FuturesUnordered<_> =
            links.iter().map(|link| self.told_by(link, deadline)).collect();
        let mut failure = None;
        while let Some(told) = asked.next().await {
            match told {
                Ok(slots) => {
                    *looked_at = Some(Instant::now());
                    self.slots.store(Arc::new(slots));
                    self.forget_the_gone();
                    return Ok(());
                }
                Err(error) => failure = Some(error),
            }
        }
        *looked_at = Some(Instant::now());
        Err(failure.unwrap_or_else(late))
    }

    async fn told_by(
        &self,
        link: &Arc<Link>,
        deadline: Deadline,
    ) -> Result<Vec<Slots>, RedisError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = link.ask(Request::at_once(&command), deadline).await?;
        let unreadable = || RedisError::from((ErrorKind::Io, "the cluster's slots are unreadable"));
        let Value::Array(ranges) = answer else { return Err(unreadable()) };
        let slots: Option<Vec<Slots>> =
            ranges.iter().map(|range| self.read_range(range, link)).collect();
        slots.filter(|slots| !slots.is_empty()).ok_or_else(unreadable)
    }

    /// Reads one range of slots: first, last, the primary (host, port, …), its replicas.
    fn read_range(&self, range: &Value, told_by: &Arc<Link>) -> Option<Slots> {
        let Value::Array(parts) = range else { return None };
        let [first, last, Value::Array(primary), ..] = parts.as_slice() else { return None };
        let [host, port, ..] = primary.as_slice() else { return None };
        let host: Option<String> = redis::from_redis_value_ref(host).ok()?;
        let port: u16 = redis::from_redis_value_ref(port).ok()?;
        let first = redis::from_redis_value_ref(first).ok()?;
        let last = redis::from_redis_value_ref(last).ok()?;
        let host = host.unwrap_or_default();
        Some(Slots { first, last, link: self.link_at(&format!("{host}:{port}"), told_by)? })
    }

    /// The way to an address that a server has named. One without a host is a port of that server.
    fn link_at(&self, address: &str, named_by: &Link) -> Option<Arc<Link>> {
        let (host, port) = address.rsplit_once(':')?;
        let host = match host.trim_matches(['[', ']']) {
            "" | "?" => named_by.name().rsplit_once(':')?.0,
            host => host,
        };
        let info = another(self.seeds.first()?, host, port.parse().ok()?);
        Some(self.link_to(info))
    }

    fn link_to(&self, info: ConnectionInfo) -> Arc<Link> {
        let mut links = self.lock();
        let make = |info| {
            let certificates = self.certificates.clone();
            Arc::new(Link::new(Target::Fixed(info), certificates, self.replicas, self.deadlines))
        };
        links.entry(info.addr().to_string()).or_insert_with(|| make(info)).clone()
    }

    /// Forgets servers that have no slots and cannot be reached: they may never come back.
    fn forget_the_gone(&self) {
        let owners = self.owners();
        self.lock().retain(|_, link| {
            link.is_connected() || owners.iter().any(|owner| Arc::ptr_eq(owner, link))
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Link>>> {
        // Nobody panics with it in hand.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
