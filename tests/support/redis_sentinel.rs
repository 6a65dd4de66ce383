//! A private primary with replicas, and three sentinels that watch over them.

use std::ffi::OsStr;
use std::fs;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Ending, PATIENCE, Process, free_port, wait_until};
use crate::redis::{converse, redis_server};
use crate::{Redis, RedisOptions};

/// What the sentinels call the primary.
const SERVICE: &str = "cadence";

/// Running servers and sentinels.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The servers, the first of which has begun as the primary.
    pub nodes: Vec<Redis>,
    sentinels: Vec<Sentinel>,
    user: String,
}

/// A running sentinel.
#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl RedisSentinel {
    /// Starts a primary, a replica and three sentinels, which take none for dead that is slow, and
    /// waits until they know each other.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn start() -> Self {
        Self::start_failing_over_after(Duration::from_secs(3), 1)
    }

    /// Starts one with so many replicas, in which a server is taken for dead that is silent for so
    /// long.
    ///
    /// # Panics
    /// When they do not find each other.
    #[must_use]
    pub fn start_failing_over_after(silence: Duration, replicas: usize) -> Self {
        let options = RedisOptions::default().with(&[
            "--repl-diskless-sync-delay",
            "0",
            "--repl-timeout",
            "5",
        ]);
        let primary = Redis::start_with(options.clone().at(free_port()));
        let port = primary.port();
        let follows = ["--replicaof", &format!("127.0.0.1 {port}")];
        let options = options.with(&follows);
        let replicas = (0..replicas).map(|_| Redis::start_with(options.clone().at(free_port())));
        let nodes = [primary].into_iter().chain(replicas).collect();
        let sentinels = (0..3).map(|_| Sentinel::start(port, silence)).collect();
        let system = Self { nodes, sentinels, user: String::new() };
        system.wait_whole();
        system
    }

    /// Waits until every other server is a replica in step, and all sentinels know of it.
    ///
    /// # Panics
    /// When it does not happen.
    pub fn wait_whole(&self) {
        wait_until("a whole set of servers", PATIENCE, || {
            let role = |node: &Redis, role: &str| {
                let info = node.try_command(&["INFO", "replication"]).unwrap_or_default();
                info.contains(role)
            };
            let replicas = self.nodes.iter().filter(|node| role(node, "master_link_status:up"));
            let knows = |sentinel: &Sentinel| {
                let told = sentinel.command(&["SENTINEL", "MASTER", SERVICE]).unwrap_or_default();
                let field = |name: &str, value: &str| {
                    told.contains(&format!("\r\n{name}\r\n${}\r\n{value}\r\n", value.len()))
                };
                field("num-other-sentinels", "2")
                    && field("num-slaves", &(self.nodes.len() - 1).to_string())
                    && field("flags", "master")
            };
            replicas.count() == self.nodes.len() - 1 && self.sentinels.iter().all(knows)
        });
    }

    /// Makes the origin come as this user, `user:password@`.
    pub fn come_as(&mut self, user: &str) {
        user.clone_into(&mut self.user);
    }

    /// Returns the URL under which the origin finds it.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<String> =
            self.sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
        format!("redis+sentinel://{}{}/{SERVICE}", self.user, addresses.join(","))
    }

    /// Returns the place in [`Self::nodes`] of the server that most of the sentinels name.
    ///
    /// # Panics
    /// When they name none.
    #[must_use]
    pub fn primary(&self) -> usize {
        self.named_by_most().expect("a primary is named")
    }

    fn named_by_most(&self) -> Option<usize> {
        let named: Vec<u16> = self.sentinels.iter().filter_map(Sentinel::names).collect();
        self.nodes.iter().position(|node| {
            let votes = named.iter().filter(|port| **port == node.port()).count();
            2 * votes > self.sentinels.len()
        })
    }

    /// Makes a replica the primary, as an operator would; returns when the sentinels name it.
    ///
    /// # Panics
    /// When that fails.
    pub fn fail_over(&self) {
        let before = self.primary();
        self.begin_failover();
        self.wait_other_primary(before);
    }

    fn begin_failover(&self) {
        wait_until("a failover to begin", PATIENCE, || {
            let answer = self.sentinels[0].command(&["SENTINEL", "FAILOVER", SERVICE]);
            answer.is_some_and(|answer| answer.starts_with("+OK"))
        });
    }

    /// Makes a replica the primary, while another one cannot follow it: the sentinel that leads the
    /// failover goes on with it. Returns when all sentinels name the new one.
    ///
    /// # Panics
    /// When that fails, or there is no other replica.
    pub fn begin_endless_failover(&self) {
        let before = self.primary();
        for sentinel in &self.sentinels {
            let set = ["SENTINEL", "SET", SERVICE, "failover-timeout", "60000"];
            assert_eq!(sentinel.command(&set).as_deref(), Some("+OK\r\n"));
        }
        let mut replicas = self.nodes.iter().enumerate().filter(|(at, _)| *at != before);
        let (_, stays) = replicas.next_back().expect("there is a replica");
        for (name, value) in [("replica-priority", "200"), ("masterauth", "one-that-is-wrong")] {
            assert_eq!(stays.command(&["CONFIG", "SET", name, value]), "+OK\r\n");
        }
        // The sentinels look at a replica's priority every ten seconds.
        wait_until("its priority to be known", PATIENCE, || {
            let told = self
                .sentinels
                .iter()
                .filter_map(|it| it.command(&["SENTINEL", "REPLICAS", SERVICE]));
            told.filter(|told| told.contains("\r\n200\r\n")).count() == self.sentinels.len()
        });
        self.begin_failover();
        wait_until("all sentinels to name another primary", PATIENCE, || {
            let named = self.sentinels.iter().filter_map(Sentinel::names);
            named.filter(|port| *port != self.nodes[before].port()).count() == self.sentinels.len()
        });
    }

    /// Waits until most of the sentinels name another primary than that at this place.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_other_primary(&self, before: usize) {
        wait_until("another primary", PATIENCE, || {
            self.named_by_most().is_some_and(|primary| primary != before)
        });
    }

    /// Waits until the replicas have all that the primary has written so far.
    ///
    /// # Panics
    /// When they do not get it.
    pub fn wait_replicated(&self) {
        let primary = &self.nodes[self.primary()];
        for replica in self.nodes.iter().filter(|node| node.port() != primary.port()) {
            replica.wait_replicated(primary);
        }
    }

    /// Cuts the link between the primary and its replicas: they come back to it no more, because
    /// they show a password that it does not have.
    ///
    /// # Panics
    /// When it is not cut.
    pub fn cut_replicas(&self) {
        let primary = self.primary();
        let replicas = self.nodes.iter().enumerate().filter(|(at, _)| *at != primary);
        for (_, replica) in replicas {
            let set = replica.command(&["CONFIG", "SET", "masterauth", "one-that-is-wrong"]);
            assert_eq!(set, "+OK\r\n");
            let _ = replica.command(&["CLIENT", "KILL", "TYPE", "master"]);
        }
        wait_until("the link to be cut", PATIENCE, || {
            self.nodes[primary].info("replication", "connected_slaves") == "0"
        });
    }

    /// Returns what all servers and sentinels have logged.
    #[must_use]
    pub fn log(&self) -> String {
        let servers = self.nodes.iter().map(Redis::log);
        servers.chain(self.sentinels.iter().map(|it| it.process.log())).collect()
    }
}

impl Sentinel {
    fn start(primary: u16, silence: Duration) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let port = free_port();
        let file = folder.path().join("sentinel.conf");
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {folder}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} {silence}\n\
             sentinel failover-timeout {SERVICE} 3000\n",
            folder = folder.path().display(),
            silence = silence.as_millis()
        );
        fs::write(&file, config).expect("the configuration can be written");
        let arguments = [file.as_os_str(), OsStr::new("--sentinel")];
        let log = folder.path().join("sentinel.log");
        let process = Process::start(&redis_server(), &arguments, &[], &log, Ending::Kill);
        let sentinel = Self { process, port, _folder: folder };
        wait_until("a sentinel", PATIENCE, || {
            assert!(sentinel.process.runs(), "a sentinel has ended:\n{}", sentinel.process.log());
            sentinel.command(&["PING"]).is_some()
        });
        sentinel
    }

    /// Returns the port of the primary that it names.
    fn names(&self) -> Option<u16> {
        let told = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])?;
        // The host, its length before it, and so the port.
        told.lines().nth(4)?.parse().ok()
    }

    fn command(&self, words: &[&str]) -> Option<String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        converse(&stream, || stream.shutdown(Shutdown::Write), None, words)
    }
}
