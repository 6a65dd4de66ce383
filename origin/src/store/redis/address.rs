//! Where Redis is, and how to get there: the URL and the files of the settings.

use std::path::{Path, PathBuf};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    RedisError, TlsCertificates,
};

use crate::config::RedisSettings;

/// The port of a sentinel that names none.
const SENTINEL_PORT: u16 = 26379;

/// How the servers are put together.
#[derive(Clone, Debug)]
pub(super) enum Topology {
    /// One server.
    One(ConnectionInfo),
    /// A primary and its replicas, of which Sentinel knows who is who.
    Sentinel {
        /// Where the sentinels are.
        sentinels: Vec<ConnectionInfo>,
        /// What they call the primary.
        service: String,
        /// How to connect to it; its address is what they say.
        primary: ConnectionInfo,
    },
    /// A Redis Cluster: some of its servers.
    Cluster(Vec<ConnectionInfo>),
}

/// Where Redis is, and the certificates that it takes to get there.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) topology: Topology,
    pub(super) certificates: Certificates,
}

/// Files with certificates in PEM. They are read with each connection, so that a renewed one is
/// taken up.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    authorities: Option<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
}

impl Address {
    /// Reads the settings.
    ///
    /// # Errors
    /// When they lead nowhere. The error does NOT repeat them, as they may hold a password.
    pub(super) fn parse(settings: &RedisSettings) -> Result<Self, RedisError> {
        let certificates = Certificates {
            authorities: settings.ca_file.clone(),
            own: settings.client_cert_file.clone().zip(settings.client_key_file.clone()),
        };
        let address = Self { topology: topology(settings)?, certificates };
        if address.uses_tls() {
            address.certificates.read()?;
        } else if settings.ca_file.is_some() || settings.client_cert_file.is_some() {
            return Err(bad("certificates are set, but the URL is not one with TLS"));
        }
        Ok(address)
    }

    fn uses_tls(&self) -> bool {
        let first = match &self.topology {
            Topology::One(info) => Some(info),
            Topology::Sentinel { primary, .. } => Some(primary),
            Topology::Cluster(seeds) => seeds.first(),
        };
        first.is_some_and(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
    }
}

impl Certificates {
    /// Makes a client for one server.
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            Client::build_with_tls(info, self.read()?)
        } else {
            Client::open(info)
        }
    }

    fn read(&self) -> Result<TlsCertificates, RedisError> {
        let client_tls = match &self.own {
            Some((cert, key)) => {
                Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
            }
            None => None,
        };
        let root_cert = self.authorities.as_deref().map(read).transpose()?;
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, RedisError> {
    std::fs::read(file).map_err(|error| {
        let detail = format!("{}: {error}", file.display());
        RedisError::from((ErrorKind::InvalidClientConfig, "a certificate cannot be read", detail))
    })
}

fn topology(settings: &RedisSettings) -> Result<Topology, RedisError> {
    let (scheme, rest) = settings.url.0.split_once("://").ok_or_else(|| bad("it is no URL"))?;
    if rest.contains('#') {
        return Err(bad("a URL of Redis has no fragment"));
    }
    let password = settings.password.as_ref().map(|password| password.0.as_str());
    let node = |url: &str| with_password(url.into_connection_info()?, password);
    let plain = if scheme.starts_with("rediss") { "rediss" } else { "redis" };
    match scheme {
        "redis" | "rediss" | "unix" | "redis+unix" => Ok(Topology::One(node(&settings.url.0)?)),
        "redis+sentinel" | "rediss+sentinel" => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (service, db) = path.split_once('/').unwrap_or((path, "0"));
            if service.is_empty() {
                return Err(bad(
                    "it names no service: redis+sentinel://HOST:PORT,HOST:PORT/SERVICE",
                ));
            }
            let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
            // Where it is, the sentinels say.
            let primary = node(&format!("{plain}://{user}@localhost/{db}"))?;
            let sentinel = |host| {
                let url = format!("{plain}://{}", with_port(host));
                let password = settings.sentinel_password.as_ref().map(|it| it.0.as_str());
                with_password(url.as_str().into_connection_info()?, password)
            };
            Ok(Topology::Sentinel {
                sentinels: hosts.split(',').map(sentinel).collect::<Result<_, _>>()?,
                service: service.to_owned(),
                primary,
            })
        }
        "redis+cluster" | "rediss+cluster" => {
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            if authority.contains(['/', '?']) {
                return Err(bad("a cluster has one database and no options"));
            }
            let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
            let seed = |host| node(&format!("{plain}://{user}@{host}"));
            Ok(Topology::Cluster(hosts.split(',').map(seed).collect::<Result<_, _>>()?))
        }
        _ => Err(bad("its scheme is not known")),
    }
}

/// Gives a sentinel its usual port.
fn with_port(host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    if has_port { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") }
}

fn with_password(
    info: ConnectionInfo,
    password: Option<&str>,
) -> Result<ConnectionInfo, RedisError> {
    // What the library would tell of itself takes a right of its own, and one round trip.
    let mut redis = info.redis_settings().clone().set_skip_set_lib_name();
    if let Some(password) = password {
        if redis.password().is_some() {
            return Err(bad("it has a password, and another one is set"));
        }
        redis = redis.set_password(password);
    }
    Ok(info.set_redis_settings(redis))
}

fn bad(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, what))
}

/// Makes the way to another server that takes the same credentials.
pub(super) fn another(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let addr = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    info.clone().set_addr(addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn parse(url: &str) -> Result<Topology, String> {
        let settings = RedisSettings { url: Secret(url.to_owned()), ..RedisSettings::default() };
        Address::parse(&settings).map(|it| it.topology).map_err(|error| error.to_string())
    }

    /// Whom one connects to, as `user:password@address/db`.
    fn shown(info: &ConnectionInfo) -> String {
        let redis = info.redis_settings();
        let (user, password) = (redis.username(), redis.password());
        let tls = if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) { "tls " } else { "" };
        format!("{tls}{user:?} {password:?} {} {}", info.addr(), redis.db())
    }

    #[test]
    fn one_server_has_the_url_of_every_client() {
        for (url, expected) in [
            ("redis://localhost", "None None localhost:6379 0"),
            ("redis://ada:p%40ss@10.0.0.1:7000/3", "Some(\"ada\") Some(\"p@ss\") 10.0.0.1:7000 3"),
            ("rediss://:x@redis.example", "tls None Some(\"x\") redis.example:6379 0"),
            ("unix:///run/redis.sock?db=2&pass=x", "None Some(\"x\") /run/redis.sock 2"),
        ] {
            let Topology::One(info) = parse(url).unwrap() else { panic!("{url}") };
            assert_eq!(shown(&info), expected);
        }
    }

    #[test]
    fn sentinels_are_named_with_their_service() {
        let url = "rediss+sentinel://ada:pass@s1,s2:7000,[::1]/main/4";
        let Topology::Sentinel { sentinels, service, primary } = parse(url).unwrap() else {
            panic!("{url}")
        };
        assert_eq!(service, "main");
        let sentinels: Vec<_> = sentinels.iter().map(shown).collect();
        // The password is the primary's; sentinels have one of their own, or none.
        assert_eq!(
            sentinels,
            ["tls None None s1:26379 0", "tls None None s2:7000 0", "tls None None ::1:26379 0"]
        );
        let primary = another(&primary, "10.0.0.9", 6380);
        assert_eq!(shown(&primary), "tls Some(\"ada\") Some(\"pass\") 10.0.0.9:6380 4");
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_servers() {
        let Topology::Cluster(seeds) = parse("redis+cluster://:pw@a:1,b:2").unwrap() else {
            panic!("it is a cluster")
        };
        let seeds: Vec<_> = seeds.iter().map(shown).collect();
        assert_eq!(seeds, ["None Some(\"pw\") a:1 0", "None Some(\"pw\") b:2 0"]);
    }

    #[test]
    fn a_password_is_set_once_and_for_all_servers() {
        let password = Some(Secret("from-a-file".to_owned()));
        let settings = |url: &str| RedisSettings {
            url: Secret(url.to_owned()),
            password: password.clone(),
            ..RedisSettings::default()
        };
        let parsed = Address::parse(&settings("redis+cluster://ada@a,b")).unwrap();
        let Topology::Cluster(seeds) = parsed.topology else { panic!("it is a cluster") };
        assert_eq!(shown(&seeds[1]), "Some(\"ada\") Some(\"from-a-file\") b:6379 0");
        let error = Address::parse(&settings("redis://ada:hunter2@a")).unwrap_err();
        assert!(error.to_string().contains("another one is set"), "{error}");
    }

    #[test]
    fn what_leads_nowhere_is_refused_without_telling_its_password() {
        for url in [
            "",
            "localhost",
            "http://:hunter2@localhost",
            "redis://:hunter2@localhost:port",
            "rediss://:hunter2@localhost#insecure",
            "redis+sentinel://:hunter2@localhost",
            "redis+sentinel://:hunter2@localhost/",
            "redis+sentinel://:hunter2@localhost/main/x",
            "redis+sentinel://:hunter2@local host/main",
            "redis+cluster://:hunter2@localhost/1",
            "redis+cluster://:hunter2@a:1,b:x",
            "redis+cluster://:hunter2@",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn certificates_belong_to_a_url_with_tls_and_are_there() {
        let settings = |url: &str| RedisSettings {
            url: Secret(url.to_owned()),
            ca_file: Some(PathBuf::from("/nowhere/authority.pem")),
            ..RedisSettings::default()
        };
        let error = Address::parse(&settings("redis://localhost")).unwrap_err();
        assert!(error.to_string().contains("not one with TLS"), "{error}");
        let error = Address::parse(&settings("rediss://localhost")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/authority.pem"), "{error}");
    }
}
