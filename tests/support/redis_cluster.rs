//! A private Redis Cluster: three primaries with a replica each.

use std::time::Duration;

use crate::process::{PATIENCE, free_port, wait_until};
use crate::redis::{redis_cli, try_redis_cli};
use crate::{Redis, RedisOptions};

/// A running cluster.
#[derive(Debug)]
pub struct RedisCluster {
    /// Its servers, the first three of which have begun as primaries.
    pub nodes: Vec<Redis>,
    user: String,
}

impl RedisCluster {
    /// Starts six servers and makes them a cluster, which takes none for dead that is slow.
    ///
    /// # Panics
    /// When they do not become one.
    #[must_use]
    pub fn start() -> Self {
        Self::start_failing_over_after(Duration::from_secs(3))
    }

    /// Starts one in which a server is taken for dead that is silent for so long.
    ///
    /// # Panics
    /// When they do not become a cluster.
    #[must_use]
    pub fn start_failing_over_after(silence: Duration) -> Self {
        let silence = silence.as_millis().to_string();
        let node = |_| {
            let bus = free_port().to_string();
            let options = RedisOptions::default().at(free_port());
            let options = options.with(&["--cluster-enabled", "yes"]);
            Redis::start_with(options.with(&[
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                &silence,
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
            ]))
        };
        let nodes: Vec<Redis> = (0..6).map(node).collect();
        let addresses: Vec<String> = nodes.iter().map(address).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        redis_cli(&arguments);
        let cluster = Self { nodes, user: String::new() };
        cluster.wait_whole();
        cluster
    }

    /// Waits until every slot has a primary and every primary a replica that is in step.
    ///
    /// # Panics
    /// When it does not happen.
    pub fn wait_whole(&self) {
        wait_until("a whole cluster", PATIENCE, || {
            let running: Vec<&Redis> = self.nodes.iter().filter(|node| node.runs()).collect();
            let primaries: Vec<_> = running.iter().filter(|node| is_primary(node)).collect();
            let linked = |node: &&&Redis| {
                let replication = node.try_command(&["INFO", "replication"]).unwrap_or_default();
                replication.contains("master_link_status:up")
            };
            let ok = |node: &&Redis| {
                let info = node.try_command(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            };
            primaries.len() == 3
                && running.iter().all(ok)
                && running.iter().filter(|node| !is_primary(node)).filter(linked).count()
                    == running.len() - 3
        });
    }

    /// Makes the origin come as this user, `user:password@`.
    pub fn come_as(&mut self, user: &str) {
        user.clone_into(&mut self.user);
    }

    /// Returns the URL under which the origin finds it: two of its six servers.
    #[must_use]
    pub fn url(&self) -> String {
        let (first, last) = (address(&self.nodes[0]), address(&self.nodes[5]));
        format!("redis+cluster://{}{first},{last}", self.user)
    }

    /// Returns the place in [`Self::nodes`] of the primary that has the slot of `key`.
    ///
    /// # Panics
    /// When nobody has it.
    #[must_use]
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        let has = |node: &Redis| {
            let nodes = node.try_command(&["CLUSTER", "NODES"]).unwrap_or_default();
            let myself = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
            myself.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let ends = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
                ends.is_some_and(|(first, last)| (first..=last).contains(&slot))
            })
        };
        let mut owner = None;
        // While servers hear one from another who has it now, nobody may.
        wait_until("somebody to have a slot", PATIENCE, || {
            owner = self.nodes.iter().position(|node| node.runs() && has(node));
            owner.is_some()
        });
        owner.unwrap_or_default()
    }

    /// Moves `count` slots from one primary to another, with all rows in them.
    ///
    /// # Panics
    /// When that fails.
    pub fn move_slots(&self, from: usize, to: usize, count: u32) {
        // Servers hear of the last move one from another.
        wait_until("the servers to agree", PATIENCE, || {
            try_redis_cli(&["--cluster", "check", &address(&self.nodes[from])]).is_ok()
        });
        redis_cli(&[
            "--cluster",
            "reshard",
            &address(&self.nodes[from]),
            "--cluster-from",
            &self.name(from),
            "--cluster-to",
            &self.name(to),
            "--cluster-slots",
            &count.to_string(),
            "--cluster-yes",
        ]);
    }

    /// Moves the slot of `key` to another primary, with all rows in it.
    ///
    /// # Panics
    /// When that fails.
    pub fn move_slot_of(&self, key: &str, to: usize) {
        let from = self.owner(key);
        let slot = self.slot(key).to_string();
        let (old, new) = (self.name(from), self.name(to));
        let set = |at: usize, state: &[&str]| {
            let words = [&["CLUSTER", "SETSLOT", &slot], state].concat();
            assert_eq!(self.nodes[at].command(&words), "+OK\r\n");
        };
        set(to, &["IMPORTING", &old]);
        set(from, &["MIGRATING", &new]);
        let port = self.nodes[to].port().to_string();
        loop {
            let words = ["CLUSTER", "GETKEYSINSLOT", &slot, "10"];
            let answer = self.nodes[from].command(&words);
            let keys: Vec<&str> =
                answer.lines().filter(|line| line.starts_with("cadence:")).collect();
            if keys.is_empty() {
                break;
            }
            let whole = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let moved = self.nodes[from].command(&[&whole[..], &keys].concat());
            // Rows end by themselves, also now.
            assert!(["+OK\r\n", "+NOKEY\r\n"].contains(&moved.as_str()), "{moved}");
        }
        set(to, &["NODE", &new]);
        for at in self.primaries() {
            set(at, &["NODE", &new]);
        }
    }

    fn slot(&self, key: &str) -> u32 {
        let asked = self.nodes.iter().find(|node| node.runs()).expect("a server runs");
        let slot = asked.command(&["CLUSTER", "KEYSLOT", key]);
        slot.trim().trim_start_matches(':').parse().expect("a slot is a number")
    }

    fn name(&self, at: usize) -> String {
        let name = self.nodes[at].command(&["CLUSTER", "MYID"]);
        name.lines().nth(1).expect("a server has a name").to_owned()
    }

    /// Returns the places of the primaries.
    #[must_use]
    pub fn primaries(&self) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.runs() && is_primary(node)).map(|(at, _)| at).collect()
    }

    /// Returns the place of a replica of the primary at this place.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn replica_of(&self, primary: usize) -> usize {
        let port = format!("master_port:{}\r", self.nodes[primary].port());
        let follows = |node: &Redis| {
            node.try_command(&["INFO", "replication"]).is_some_and(|info| info.contains(&port))
        };
        self.nodes.iter().position(follows).expect("the primary has a replica")
    }
}

fn is_primary(node: &Redis) -> bool {
    node.try_command(&["ROLE"]).is_some_and(|role| role.contains("master\r\n"))
}

fn address(node: &Redis) -> String {
    format!("127.0.0.1:{}", node.port())
}
