//! Real processes for tests, benchmarks and development: Redis, PostgreSQL, the origin,
//! workerd.
//!
//! A process that is started here ends with whoever started it, however that ends.

mod api;
mod artifacts;
mod balancer;
mod certificates;
mod clock;
mod edge;
mod form;
mod origin;
mod postgres;
mod preload;
mod process;
mod randomness;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod standing;
mod stopwatch;

pub use api::{API_AUDIENCE, start_api};
pub use artifacts::{Artifacts, artifacts, cargo, nuxt_server, root, site_dir, worker_dir};
pub use balancer::Balancer;
pub use certificates::{Authority, Certificate};
pub use clock::Clock;
pub use edge::{Edge, EdgeSettings, copy_folder};
pub use form::{decode, encode, query};
pub use origin::{Origin, OriginSettings};
pub use postgres::{Frozen, Postgres, postgres_programs};
pub use process::{Ending, PATIENCE, Process, free_port, open_many_files, send, wait_until};
pub use randomness::Randomness;
pub use redis::{Redis, RedisOptions};
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use rustix::process::Signal;
pub use standing::Seen;
pub use stopwatch::{Stall, Stalls, Stopwatch, Watch, excuse, still_for};

use std::net::TcpStream;

/// What keeps the origin's codes, grants and sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A private redis-server.
    Redis,
    /// The SQLite store in the origin's data directory.
    Embedded,
}

/// Whom clients talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The edge worker in workerd; the origin stands behind it.
    Edge,
    /// The origin itself.
    Direct,
}

/// A whole system, with the demo clients and users.
#[derive(Debug)]
pub struct Stack {
    /// The Redis, with [`Backing::Redis`].
    pub redis: Option<Redis>,
    /// The origin.
    pub origin: Origin,
    /// The edge, with [`Front::Edge`].
    pub edge: Option<Edge>,
    /// The issuer: where clients begin.
    pub issuer: String,
}

/// The secret that edge and origin share in tests.
pub const EDGE_SECRET: &str = "an edge secret of the tests, shared by both halves";

impl Stack {
    /// Starts everything, and waits until it answers.
    ///
    /// # Panics
    /// When a part is missing or does not start: a test without its system has failed.
    #[must_use]
    pub fn start(backing: Backing, front: Front) -> Self {
        let artifacts = artifacts();
        let redis = (backing == Backing::Redis).then(|| Redis::start(artifacts));
        let port = free_port();
        let edge_port = free_port();
        let issuer = match front {
            Front::Direct => format!("http://127.0.0.1:{port}"),
            Front::Edge => format!("http://127.0.0.1:{edge_port}"),
        };
        let mut settings = OriginSettings::new(&artifacts.cadence, &issuer, port);
        settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
        if let Some(redis) = &redis {
            settings.set("CADENCE_REDIS_URL", &redis.url());
        }
        let origin = Origin::start(settings);
        origin.apply(&root().join("examples/demo.toml"));
        let edge = (front == Front::Edge).then(|| {
            let mut settings = EdgeSettings::new(&artifacts.workerd, &artifacts.worker, edge_port);
            settings.set("CADENCE_ISSUER", &issuer);
            settings.set("CADENCE_ORIGIN_URL", &origin.url());
            settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
            Edge::start(settings)
        });
        Self { redis, origin, edge, issuer }
    }

    /// Returns all that the processes have logged so far.
    #[must_use]
    pub fn logs(&self) -> String {
        let edge = self.edge.as_ref().map(Edge::log).unwrap_or_default();
        let redis = self.redis.as_ref().map(Redis::log).unwrap_or_default();
        format!("--- origin\n{}--- edge\n{edge}--- redis\n{redis}", self.origin.log())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// Tells whether somebody listens at a port of this host.
fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
