//! Settings of a server under which rows disappear, as its `INFO` tells them.
//!
//! `INFO` rather than `CONFIG GET`, because managed servers and careful operators forbid the latter.

/// The eviction policy under which no row disappears before its time.
const NO_EVICTION: &str = "noeviction";

/// What matters of a server's settings; `None` where it does not tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerSettings<'i> {
    eviction: Option<&'i str>,
    has_append_only_file: Option<bool>,
    replicas: Option<u32>,
}

impl<'i> ServerSettings<'i> {
    /// Reads the answer to `INFO`.
    pub(super) fn read(info: &'i str) -> Self {
        Self {
            eviction: field(info, "maxmemory_policy"),
            has_append_only_file: field(info, "aof_enabled").map(|value| value == "1"),
            replicas: field(info, "connected_slaves").and_then(|value| value.parse().ok()),
        }
    }

    /// Says what is wrong, when a write must reach `replicas`.
    pub(super) fn complaints(&self, replicas: u32) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.eviction.is_none() {
            complaints.push(
                "it does not tell its maxmemory-policy; see to it that it is noeviction".to_owned(),
            );
        }
        match self.has_append_only_file {
            Some(true) => {}
            Some(false) => complaints.push(
                "there is no append-only file: a crash forgets the last minutes or everything, \
                 revocations included; set appendonly yes"
                    .to_owned(),
            ),
            None => complaints
                .push("it does not tell whether it persists; see to it that it does".to_owned()),
        }
        if let Some(connected) = self.replicas.filter(|connected| *connected < replicas) {
            complaints.push(format!(
                "{connected} replicas are connected and redis_wait is {replicas}: nothing can be \
                 written"
            ));
        }
        complaints
    }
}

/// Returns the eviction policy of an `INFO` if rows may be evicted under it.
pub(super) fn evicts(info: &str) -> Option<String> {
    field(info, "maxmemory_policy").filter(|policy| *policy != NO_EVICTION).map(str::to_owned)
}

fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(policy: &str, append_only: u8, replicas: u32) -> String {
        format!(
            "# Memory\r\nmaxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:{append_only}\r\n\
             # Replication\r\nrole:master\r\nconnected_slaves:{replicas}\r\n"
        )
    }

    #[test]
    fn settings_that_lose_rows_are_complained_of() {
        let count = |info: &str, replicas| ServerSettings::read(info).complaints(replicas).len();
        assert_eq!(count(&info("noeviction", 1, 0), 0), 0);
        assert_eq!(count(&info("noeviction", 0, 0), 0), 1);
        assert_eq!(count(&info("noeviction", 0, 1), 2), 2);
        assert_eq!(count(&info("noeviction", 1, 2), 2), 0);
        assert_eq!(count("", 0), 2);
    }

    #[test]
    fn only_noeviction_evicts_nothing() {
        assert_eq!(evicts(&info("noeviction", 1, 0)), None);
        assert_eq!(evicts(&info("allkeys-lru", 1, 0)).as_deref(), Some("allkeys-lru"));
        assert_eq!(evicts(&info("volatile-ttl", 1, 0)).as_deref(), Some("volatile-ttl"));
        assert_eq!(evicts("# Memory\r\n"), None, "what is not told is warned of");
    }
}
