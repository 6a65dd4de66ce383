//! The whole system with proxies between its parts.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stack::{
    Backing, Balancer, Clock, EDGE_SECRET, Edge, EdgeSettings, Origin, OriginSettings, Redis,
    RedisOptions, free_port,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::client::{CLIENT_ID, CLIENT_SECRET, PASSWORD, REDIRECT_URI, UPSTREAM_PATH, username};
use crate::gate::Gate;
use crate::proxy::Proxy;

/// Users of the load.
pub const USERS: u32 = 8;

/// Who the API behind the gateway is.
const AUDIENCE: &str = "https://chaos-api.example";

/// Whether Redis has a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replica {
    /// It has none.
    Missing,
    /// One follows, and nobody waits for it.
    Follows,
    /// No write is answered before the replica has it (`redis_wait`).
    WaitedFor,
}

/// What a system is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What the origins keep their rows in.
    pub backing: Backing,
    /// How many origins there are.
    pub origins: usize,
    /// Whether the proxy before the edge understands HTTP.
    pub front_gate: bool,
    /// Whether the proxy between edge and origin does. Between the edge and several origins there is
    /// a balancer instead.
    pub middle_gate: bool,
    /// How many users there are beside [`USERS`], numbered behind them.
    pub more_users: u32,
    /// Whether the clocks of edge, origin and Redis can be set.
    pub clocks: bool,
    /// Whether Redis has a replica, and whether writes wait for it.
    pub replica: Replica,
}

impl Plan {
    /// An edge, an origin, a Redis, and TCP proxies between them.
    pub const PLAIN: Self = Self {
        backing: Backing::Redis,
        origins: 1,
        front_gate: false,
        middle_gate: false,
        more_users: 0,
        clocks: false,
        replica: Replica::Missing,
    };
}

/// A proxy between two parts.
#[derive(Debug)]
pub enum Hop {
    /// One that carries bytes.
    Line(Proxy),
    /// One that carries requests.
    Gate(Gate),
    /// One that leads to whoever is ready.
    Balancer(Balancer),
}

impl Hop {
    /// Returns the TCP proxy.
    ///
    /// # Panics
    /// When it is none: the plan and the fault do not fit.
    #[must_use]
    pub fn line(&self) -> &Proxy {
        match self {
            Self::Line(proxy) => proxy,
            other => panic!("the plan has no line here: {other:?}"),
        }
    }

    /// Returns the HTTP proxy.
    ///
    /// # Panics
    /// When it is none: the plan and the fault do not fit.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        match self {
            Self::Gate(gate) => gate,
            other => panic!("the plan has no gate here: {other:?}"),
        }
    }
}

/// A running system.
#[derive(Debug)]
pub struct System {
    /// Where clients begin.
    pub issuer: String,
    /// Between clients and edge.
    pub front: Hop,
    /// The edge.
    pub edge: Edge,
    /// Between edge and origins.
    pub middle: Hop,
    /// The origins.
    pub origins: Vec<Origin>,
    /// Between origins and Redis.
    pub store_line: Option<Proxy>,
    /// Redis.
    pub redis: Option<Redis>,
    /// Its replica, and the line between them.
    pub replica: Option<(Redis, Proxy)>,
    /// The clocks, if they can be set.
    pub clocks: Option<Clocks>,
    _folder: TempDir,
}

/// Clocks of the system's parts, each right until it is set.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// workerd's.
    pub edge: Clock,
    /// The origins'.
    pub origin: Clock,
    /// Redis's.
    pub redis: Clock,
}

impl Clocks {
    fn new(folder: &Path) -> Self {
        let clock = |name| Clock::new(folder, name);
        Self { edge: clock("edge"), origin: clock("origin"), redis: clock("redis") }
    }
}

/// What every Redis here has: a port, and somebody who may still do everything when others may not.
#[must_use]
pub fn redis_options(port: u16, appendfsync: &str) -> RedisOptions {
    let password = "of-the-administrator-alone";
    RedisOptions::default()
        .at(port)
        .with(&["--user", "administrator", "on", &format!(">{password}"), "~*", "&*", "+@all"])
        .with(&["--repl-diskless-sync-delay", "0"])
        .with(&["--appendfsync", appendfsync])
        .administered_by("administrator", password)
}

/// Starts a Redis that follows the one at `primary`, and waits until it has all that that one has.
///
/// # Panics
/// When it does not follow.
#[must_use]
pub fn follower(primary: u16, appendfsync: &str) -> Redis {
    let replica = Redis::start_with(redis_options(free_port(), appendfsync));
    let follows = replica.command(&["REPLICAOF", "127.0.0.1", &primary.to_string()]);
    assert_eq!(follows, "+OK\r\n");
    stack::wait_until("the replica to follow", stack::PATIENCE, || {
        replica.info("replication", "master_link_status") == "up"
    });
    replica
}

/// Returns an address of this host.
#[must_use]
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl System {
    /// Starts everything, and waits until it answers.
    ///
    /// # Panics
    /// When a part is missing or does not start.
    #[must_use]
    pub fn start(runtime: &Runtime, plan: Plan, appendfsync: &str) -> Self {
        let artifacts = stack::artifacts();
        let folder = TempDir::new().expect("a folder can be made");
        let clocks = plan.clocks.then(|| Clocks::new(folder.path()));
        let data_dir = folder.path().join("data");
        let [front_port, edge_port, middle_port, store_port, redis_port, api_port] =
            std::array::from_fn(|_| free_port());
        let issuer = format!("http://127.0.0.1:{front_port}");
        let redis = (plan.backing == Backing::Redis).then(|| {
            let mut options = redis_options(redis_port, appendfsync);
            if let Some(clocks) = &clocks {
                options = options.by_clock(&clocks.redis);
            }
            Redis::start_with(options)
        });
        let replica = (plan.replica != Replica::Missing).then(|| {
            let line = runtime.block_on(Proxy::start(free_port(), local(redis_port)));
            let line = line.expect("a proxy can be started");
            (follower(line.port(), appendfsync), line)
        });
        let store_line = redis.as_ref().map(|_| {
            let line = Proxy::start(store_port, local(redis_port));
            runtime.block_on(line).expect("a proxy can be started")
        });
        let origins: Vec<Origin> = (0..plan.origins)
            .map(|_| {
                let mut settings = OriginSettings::new(&artifacts.cadence, &issuer, free_port());
                settings.keep_in(&data_dir);
                settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
                if redis.is_some() {
                    let url = format!("redis://127.0.0.1:{store_port}");
                    settings.set("CADENCE_REDIS_URL", &url);
                }
                // Where one takes the other's place, it goes on for longer than the edge keeps a
                // connection that nobody uses, which is 5 s.
                let drains_for = if plan.origins > 1 { "6" } else { "1" };
                settings.set("CADENCE_DRAIN_SECONDS", drains_for);
                if plan.replica == Replica::WaitedFor {
                    settings.set("CADENCE_REDIS_WAIT", "1");
                }
                if let Some(clocks) = &clocks {
                    settings.by_clock(&clocks.origin);
                }
                Origin::start(settings)
            })
            .collect();
        let first = origins.first().expect("there is an origin");
        apply(first, folder.path(), USERS + plan.more_users);
        let ports: Vec<u16> = origins.iter().map(Origin::port).collect();
        let middle = match ports.as_slice() {
            [port] => hop(runtime, middle_port, *port, plan.middle_gate),
            ports => Hop::Balancer(Balancer::start(ports)),
        };
        let origin_url = match &middle {
            Hop::Balancer(balancer) => balancer.url(),
            Hop::Line(_) | Hop::Gate(_) => format!("http://127.0.0.1:{middle_port}"),
        };
        let mut settings = EdgeSettings::new(&artifacts.workerd, &artifacts.worker, edge_port);
        settings.set("CADENCE_ISSUER", &issuer);
        settings.set("CADENCE_ORIGIN_URL", &origin_url);
        settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
        settings.set(
            "CADENCE_UPSTREAMS",
            &format!(
                r#"[{{"prefix":"{UPSTREAM_PATH}","url":"http://127.0.0.1:{api_port}","audience":"{AUDIENCE}"}}]"#
            ),
        );
        if let Some(clocks) = &clocks {
            settings.by_clock(&clocks.edge);
        }
        runtime.block_on(start_api(api_port));
        let edge = Edge::start(settings);
        let front = hop(runtime, front_port, edge_port, plan.front_gate);
        Self {
            issuer,
            front,
            edge,
            middle,
            origins,
            store_line,
            redis,
            replica,
            clocks,
            _folder: folder,
        }
    }

    /// Returns Redis.
    ///
    /// # Panics
    /// When there is none: the plan and the fault do not fit.
    pub fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("the plan has a Redis")
    }

    /// Returns the clocks.
    ///
    /// # Panics
    /// When they cannot be set: the plan and the fault do not fit.
    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        self.clocks.as_ref().expect("the plan has clocks")
    }

    /// Returns the line between origins and Redis.
    ///
    /// # Panics
    /// When there is none: the plan and the fault do not fit.
    #[must_use]
    pub fn store_line(&self) -> &Proxy {
        self.store_line.as_ref().expect("the plan has a Redis")
    }

    /// Returns the only origin, or the first.
    ///
    /// # Panics
    /// When there is none.
    pub fn origin(&mut self) -> &mut Origin {
        self.origins.first_mut().expect("there is an origin")
    }

    /// Returns the last lines that the processes have logged: of failures if there are any.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let mut text = String::new();
        let logs = self.origins.iter().map(|origin| ("origin", origin.log()));
        for (name, log) in logs.chain([("edge", self.edge.log())]) {
            let mut lines: Vec<&str> = log.lines().collect();
            if lines.iter().any(is_warning) {
                lines.retain(is_warning);
            }
            let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
            let _ = writeln!(text, "--- {name}\n{}", last.join("\n"));
        }
        text
    }
}

/// Tells whether a line of the origin's log tells of what went wrong in the origin itself.
fn is_warning(line: &&str) -> bool {
    line.contains(" WARN ") || line.contains(" ERROR ")
}

fn hop(runtime: &Runtime, port: u16, target: u16, is_gate: bool) -> Hop {
    runtime.block_on(async {
        if is_gate {
            let gate = Gate::start(port, &format!("http://127.0.0.1:{target}")).await;
            return Hop::Gate(gate.expect("a gate can be started"));
        }
        let proxy = Proxy::start(port, local(target)).await;
        Hop::Line(proxy.expect("a proxy can be started"))
    })
}

/// Registers the client and the users of the load.
fn apply(origin: &Origin, folder: &Path, users: u32) {
    let mut toml = format!(
        "[[clients]]\nclient_id = \"{CLIENT_ID}\"\nclient_name = \"Load\"\n\
         client_secret = \"{CLIENT_SECRET}\"\n\
         token_endpoint_auth_method = \"client_secret_basic\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n\
         redirect_uris = [\"{REDIRECT_URI}\"]\nscope = \"openid profile email\"\n\
         audience = [\"{AUDIENCE}\"]\n"
    );
    for user in 0..users {
        let name = username(user);
        let _ = write!(
            toml,
            "[[users]]\nusername = \"{name}\"\nemail = \"{name}\"\npassword = \"{PASSWORD}\"\n"
        );
    }
    let file = folder.join("load.toml");
    std::fs::write(&file, toml).expect("a file can be written");
    origin.apply(&file);
}

/// Starts the API behind the gateway: it lets everybody in whom the edge lets through.
async fn start_api(port: u16) {
    let listener = TcpListener::bind(local(port)).await.expect("the API can listen");
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            tokio::spawn(async move {
                let service = service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("ok")))
                });
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}
