//! Settings: the only reader of the environment.
//!
//! Each setting is `CADENCE_NAME` in the environment or `name` in `cadence.toml`; the environment
//! wins. Secrets also come from files (`CADENCE_NAME_FILE`). A name that is not known is an error
//! with a hint, because a misspelled setting is a setting that silently is not set.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use shared::cors::WebOrigin;
use shared::issuer::Issuer;

/// Everything that can be set.
#[derive(Clone)]
pub struct Config {
    /// `issuer`: where the world finds this server; the edge's URL when there is one.
    pub issuer: Issuer,
    /// `listen`: where the origin listens.
    pub listen: SocketAddr,
    /// `admin_listen`: where metrics and details of health are served.
    pub admin_listen: SocketAddr,
    /// `data_dir`: where the embedded databases and the generated secret lie.
    pub data_dir: PathBuf,
    /// `redis_…`: the Redis that keeps codes, grants and sessions; without it the embedded store.
    pub redis: Option<RedisSettings>,
    /// `database_url`: the directory; without it a SQLite file in `data_dir`.
    pub database_url: Option<Secret>,
    /// `migrate`: whether databases are brought to the newest schema when they are opened.
    pub migrate: bool,
    /// `edge_secret`: shared with the edge; authenticates its requests, codes and refresh tokens.
    pub edge_secret: Option<Secret>,
    /// `edge_secret_second`: accepted beside `edge_secret` while that is being changed.
    pub edge_secret_second: Option<Secret>,
    /// `require_edge`: whether requests that no edge has signed are refused.
    pub require_edge: bool,
    /// `secret`: encrypts private keys at rest; without it a generated file in `data_dir`.
    pub secret: Option<Secret>,
    /// `cors_origins`: browser origins that may call the API, beside those of the clients.
    pub cors_origins: Vec<WebOrigin>,
    /// `drain_seconds`: how long a process that was asked to end goes on taking connections. By default
    /// longer than workerd keeps a connection that nobody uses: a request may come on it until then.
    pub drain_seconds: u64,
    /// `log`: what is logged, as a `tracing` filter.
    pub log: String,
    /// `log_format`: how it is logged.
    pub log_format: LogFormat,
}

/// Where Redis is, and what it must have done before somebody is answered.
#[derive(Clone, Debug, Default)]
pub struct RedisSettings {
    /// `redis_url`: one server, a primary that Sentinel names, or a cluster.
    pub url: Secret,
    /// `redis_password`: that of the user in the URL, if it is not in there.
    pub password: Option<Secret>,
    /// `redis_sentinel_password`: that of the sentinels themselves.
    pub sentinel_password: Option<Secret>,
    /// `redis_ca_file`: the authorities of the servers' certificates; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// `redis_client_cert_file`: the certificate that is shown to the servers.
    pub client_cert_file: Option<PathBuf>,
    /// `redis_client_key_file`: its key.
    pub client_key_file: Option<PathBuf>,
    /// `redis_wait`: how many replicas must have a write before it is answered.
    pub wait: u32,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A setting that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A setting that cannot be used: names the key and says what it takes.
#[derive(Debug, PartialEq, Eq)]
pub struct BadSetting(String);

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSetting {}

/// The value of `edge_secret` in the development settings of `wrangler.toml`: everybody knows it,
/// so only an issuer on a loopback host may use it.
pub const DEVELOPMENT_EDGE_SECRET: &str = "development-only-edge-secret";

/// Bytes that a secret has at least.
const SECRET_LEN: usize = 24;

/// Longest `drain_seconds`: whoever waits longer has given up on it.
const DRAIN_SECONDS: u64 = 300;

/// Where the world finds an origin that nothing was set for.
const DEFAULT_LISTEN: &str = "127.0.0.1:8888";

const NAMES: [&str; 21] = [
    "issuer",
    "listen",
    "admin_listen",
    "data_dir",
    "redis_url",
    "redis_password",
    "redis_sentinel_password",
    "redis_ca_file",
    "redis_client_cert_file",
    "redis_client_key_file",
    "redis_wait",
    "database_url",
    "migrate",
    "edge_secret",
    "edge_secret_second",
    "require_edge",
    "secret",
    "cors_origins",
    "drain_seconds",
    "log",
    "log_format",
];

const SECRET_NAMES: [&str; 7] = [
    "redis_url",
    "redis_password",
    "redis_sentinel_password",
    "database_url",
    "edge_secret",
    "edge_secret_second",
    "secret",
];

/// The schemes of `redis_url`.
const REDIS_SCHEMES: [&str; 8] = [
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "redis+unix",
    "unix",
];

/// Replicas that a primary is thought to have at most.
const REPLICAS: u32 = 16;

/// What the URL of a PostgreSQL database may say behind its `?`.
const POSTGRES_PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

impl Config {
    /// Reads `file` (or `cadence.toml`, if there is one) and the environment.
    ///
    /// # Errors
    /// [`BadSetting`].
    pub fn load(file: Option<&Path>) -> Result<Self, BadSetting> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("CADENCE_") && !name.starts_with("CADENCE_TEST_"))
            .map(|(name, value)| {
                let value = value
                    .into_string()
                    .map_err(|_| BadSetting(format!("{name} is not valid UTF-8")))?;
                Ok((name, value))
            })
            .collect::<Result<Vec<_>, BadSetting>>()?;
        let named = environment.iter().find(|(name, _)| name == "CADENCE_CONFIG");
        let path = file
            .map(Path::to_owned)
            .or_else(|| named.map(|(_, path)| PathBuf::from(path)))
            .or_else(|| Some(PathBuf::from("cadence.toml")).filter(|path| path.exists()));
        let text = match &path {
            Some(path) => read(path)?,
            None => String::new(),
        };
        Self::parse(&text, environment)
    }

    /// Makes the settings from the text of a `cadence.toml` and pairs of the environment.
    ///
    /// # Errors
    /// [`BadSetting`].
    pub fn parse(
        file: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BadSetting> {
        let mut values = from_file(file)?;
        let mut set = Values::new();
        for (name, value) in environment {
            let Some(key) = name.strip_prefix("CADENCE_").filter(|key| *key != "CONFIG") else {
                continue;
            };
            let (key, value) = setting(&name, key.to_lowercase(), value)?;
            if let Some((other, _)) = set.insert(key, (name.clone(), value)) {
                return Err(BadSetting(format!("{name} and {other} are both set")));
            }
        }
        values.extend(set);
        Settings(values).build()
    }

    /// Returns the path of a file in the data directory.
    #[must_use]
    pub fn data_file(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config {{ issuer: {}, listen: {}, .. }}", self.issuer, self.listen)
    }
}

type Values = BTreeMap<String, (String, String)>;

fn from_file(text: &str) -> Result<Values, BadSetting> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        BadSetting(format!("cadence.toml: {}", error.message()))
    })?;
    let mut values = Values::new();
    for (key, value) in table {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(value) if key == "drain_seconds" => value.to_string(),
            toml::Value::Boolean(value) if ["require_edge", "migrate"].contains(&&*key) => {
                value.to_string()
            }
            toml::Value::Array(items) if key == "cors_origins" => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| BadSetting(format!("{key} takes a list of strings")))?
                .join(","),
            toml::Value::Integer(number) if key == "redis_wait" => number.to_string(),
            _ => return Err(BadSetting(format!("{key} takes a string"))),
        };
        let named = format!("`{key}` in cadence.toml");
        let (key, text) = setting(&named, key, text)?;
        values.insert(key, (named, text));
    }
    Ok(values)
}

/// Finds the setting that a name means; reads the file of a `_file` one.
fn setting(named: &str, key: String, value: String) -> Result<(String, String), BadSetting> {
    if let Some(secret) = key.strip_suffix("_file").filter(|key| SECRET_NAMES.contains(key)) {
        let text =
            read(Path::new(&value)).map_err(|error| BadSetting(format!("{named}: {error}")))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(BadSetting(format!("{named}: the file is empty")));
        }
        return Ok((secret.to_owned(), text.to_owned()));
    }
    if NAMES.contains(&key.as_str()) {
        return Ok((key, value));
    }
    let near = NAMES
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(name, &key), name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let hint = near.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default();
    Err(BadSetting(format!("{named} is not a setting{hint}")))
}

fn read(path: &Path) -> Result<String, BadSetting> {
    std::fs::read_to_string(path)
        .map_err(|error| BadSetting(format!("{} cannot be read: {error}", path.display())))
}

/// Values by key, each with the name under which it was set.
struct Settings(Values);

impl Settings {
    fn build(self) -> Result<Config, BadSetting> {
        let address = |key, default| {
            self.parsed(key, default, "takes an IP address and a port, as in 127.0.0.1:8888")
        };
        let listen: SocketAddr = address("listen", DEFAULT_LISTEN)?;
        let admin_listen: SocketAddr = address("admin_listen", "127.0.0.1:8889")?;
        let default_issuer = format!("http://127.0.0.1:{}", listen.port());
        let issuer = Issuer::parse(self.text("issuer").unwrap_or(&default_issuer))
            .map_err(|error| self.bad("issuer", &format!("is not an issuer: {error}")))?;
        let edge_secret = self.secret("edge_secret");
        let edge_secret_second = self.secret("edge_secret_second");
        for (key, secret) in
            [("edge_secret", &edge_secret), ("edge_secret_second", &edge_secret_second)]
        {
            let is_known = secret.as_ref().is_some_and(|it| it.0 == DEVELOPMENT_EDGE_SECRET);
            if is_known && !issuer.is_loopback_http() {
                return Err(self.bad(key, "is the one of development, which everybody knows"));
            }
        }
        if edge_secret_second.is_some() && edge_secret.is_none() {
            return Err(self.bad("edge_secret_second", "is set, but edge_secret is not"));
        }
        let require_edge = self.switch("require_edge", false)?;
        if require_edge && edge_secret.is_none() {
            return Err(self.bad("require_edge", "is true, but edge_secret is not set"));
        }
        for key in ["edge_secret", "edge_secret_second", "secret"] {
            if self.secret(key).is_some_and(|secret| secret.0.len() < SECRET_LEN) {
                return Err(self.bad(key, &format!("has fewer than {SECRET_LEN} bytes")));
            }
        }
        let database_url = self.secret("database_url");
        if let Some(url) = &database_url {
            self.check_database_url(&url.0)?;
        }
        let drain_takes = "takes a number of seconds, at most 300";
        let drain_seconds = self.parsed("drain_seconds", "6", drain_takes)?;
        if drain_seconds > DRAIN_SECONDS {
            return Err(self.bad("drain_seconds", drain_takes));
        }
        Ok(Config {
            issuer,
            listen,
            admin_listen,
            data_dir: PathBuf::from(self.text("data_dir").unwrap_or("cadence-data")),
            redis: self.redis()?,
            database_url,
            migrate: self.switch("migrate", true)?,
            edge_secret,
            edge_secret_second,
            require_edge,
            secret: self.secret("secret"),
            cors_origins: self.origins()?,
            drain_seconds,
            log: self.text("log").unwrap_or("info").to_owned(),
            log_format: match self.text("log_format") {
                None | Some("text") => LogFormat::Text,
                Some("json") => LogFormat::Json,
                Some(_) => return Err(self.bad("log_format", "takes text or json")),
            },
        })
    }

    fn redis(&self) -> Result<Option<RedisSettings>, BadSetting> {
        let Some(url) = self.secret("redis_url") else {
            let without = NAMES
                .into_iter()
                .find(|name| name.starts_with("redis_") && self.text(name).is_some());
            return without
                .map_or(Ok(None), |name| Err(self.bad(name, "is set, but redis_url is not")));
        };
        if !has_scheme(&url.0, &REDIS_SCHEMES) {
            return Err(self.bad(
                "redis_url",
                "takes redis://, rediss://, redis+sentinel://, rediss+sentinel://, \
                 redis+cluster://, rediss+cluster:// or unix://",
            ));
        }
        let wait = self.parsed("redis_wait", "0", "takes a number of replicas")?;
        if wait > REPLICAS {
            return Err(self.bad("redis_wait", &format!("takes a number up to {REPLICAS}")));
        }
        let file = |key| self.text(key).map(PathBuf::from);
        let (cert, key) = (file("redis_client_cert_file"), file("redis_client_key_file"));
        match (&cert, &key) {
            (Some(_), None) => {
                return Err(self.bad("redis_client_cert_file", "is set without its key"));
            }
            (None, Some(_)) => {
                return Err(self.bad("redis_client_key_file", "is set without a certificate"));
            }
            _ => {}
        }
        Ok(Some(RedisSettings {
            url,
            password: self.secret("redis_password"),
            sentinel_password: self.secret("redis_sentinel_password"),
            ca_file: file("redis_ca_file"),
            client_cert_file: cert,
            client_key_file: key,
            wait,
        }))
    }

    fn check_database_url(&self, url: &str) -> Result<(), BadSetting> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            if path.is_empty() || path.contains('?') {
                return Err(self.bad("database_url", "takes sqlite:// and a path, without options"));
            }
            return Ok(());
        }
        if !is_postgres(url) {
            return Err(self.bad("database_url", "takes sqlite:// or postgres://"));
        }
        let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        for name in names.filter(|name| !name.is_empty()) {
            if !POSTGRES_PARAMETERS.contains(&name) {
                let takes = POSTGRES_PARAMETERS.join(", ");
                let what = format!("has a parameter that is none of {takes}");
                return Err(self.bad("database_url", &what));
            }
        }
        Ok(())
    }

    fn switch(&self, key: &str, default: bool) -> Result<bool, BadSetting> {
        match self.text(key) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(self.bad(key, "takes true or false")),
        }
    }

    fn origins(&self) -> Result<Vec<WebOrigin>, BadSetting> {
        let text = self.text("cors_origins").unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
            .map(|origin| {
                WebOrigin::parse(origin)
                    .map_err(|error| self.bad("cors_origins", &format!("has `{origin}`: {error}")))
            })
            .collect()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn secret(&self, key: &str) -> Option<Secret> {
        self.text(key).map(|value| Secret(value.to_owned()))
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        key: &str,
        default: &str,
        takes: &str,
    ) -> Result<T, BadSetting> {
        self.text(key).unwrap_or(default).parse().map_err(|_| self.bad(key, takes))
    }

    fn bad(&self, key: &str, what: &str) -> BadSetting {
        let named = self.0.get(key).map_or(key, |(named, _)| named.as_str());
        BadSetting(format!("{named} {what}"))
    }
}

/// Tells whether a `database_url` leads to PostgreSQL.
#[must_use]
pub fn is_postgres(url: &str) -> bool {
    has_scheme(url, &["postgres", "postgresql"])
}

fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let pairs = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Config::parse(file, pairs).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_is_a_complete_setting() {
        let config = parse("", &[]).unwrap();
        assert_eq!(config.issuer.as_str(), "http://127.0.0.1:8888");
        assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8889");
        assert!(config.redis.is_none());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = "listen = \"127.0.0.1:1\"\ncors_origins = [\"https://a.example\"]";
        let config = parse(file, &[("CADENCE_LISTEN", "127.0.0.1:2")]).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.cors_origins.len(), 1);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (file, name, value, message) in [
            ("", "CADENCE_ISUER", "x", "CADENCE_ISUER is not a setting; did you mean `issuer`?"),
            ("", "CADENCE_WHATEVER", "x", "CADENCE_WHATEVER is not a setting"),
            (
                "lissten = \"x\"",
                "",
                "",
                "`lissten` in cadence.toml is not a setting; did you mean `listen`?",
            ),
            ("listen = 1", "", "", "listen takes a string"),
            (
                "",
                "CADENCE_LISTEN",
                "8888",
                "CADENCE_LISTEN takes an IP address and a port, as in 127.0.0.1:8888",
            ),
            ("", "CADENCE_SECRET", "short", "CADENCE_SECRET has fewer than 24 bytes"),
            (
                "",
                "CADENCE_REDIS_URL",
                "localhost",
                "CADENCE_REDIS_URL takes redis://, rediss://, redis+sentinel://, \
                 rediss+sentinel://, redis+cluster://, rediss+cluster:// or unix://",
            ),
            ("", "CADENCE_REDIS_WAIT", "1", "CADENCE_REDIS_WAIT is set, but redis_url is not"),
            (
                "redis_url = \"redis://a\"\nredis_wait = 17",
                "",
                "",
                "`redis_wait` in cadence.toml takes a number up to 16",
            ),
            (
                "redis_url = \"redis://a\"",
                "CADENCE_REDIS_CLIENT_KEY_FILE",
                "key.pem",
                "CADENCE_REDIS_CLIENT_KEY_FILE is set without a certificate",
            ),
            (
                "drain_seconds = 301",
                "",
                "",
                "`drain_seconds` in cadence.toml takes a number of seconds, at most 300",
            ),
            (
                "",
                "CADENCE_DATABASE_URL",
                "mysql://x",
                "CADENCE_DATABASE_URL takes sqlite:// or postgres://",
            ),
            (
                "",
                "CADENCE_DATABASE_URL",
                "postgres://x/y?pasword=secret",
                "CADENCE_DATABASE_URL has a parameter that is none of application_name, dbname, host, \
                 hostaddr, password, port, sslcert, sslkey, sslmode, sslrootcert, user",
            ),
            ("", "CADENCE_MIGRATE", "no", "CADENCE_MIGRATE takes true or false"),
            ("", "CADENCE_LOG_FORMAT", "xml", "CADENCE_LOG_FORMAT takes text or json"),
            (
                "",
                "CADENCE_SECRET_FILE",
                "/nowhere",
                "CADENCE_SECRET_FILE: /nowhere cannot be read: No such file or directory (os error 2)",
            ),
        ] {
            let environment = [(name, value)];
            let environment = if name.is_empty() { &[][..] } else { &environment[..] };
            assert_eq!(parse(file, environment).unwrap_err(), message);
        }
        let issuer = parse("", &[("CADENCE_ISSUER", "http://id.example")]).unwrap_err();
        assert!(issuer.starts_with("CADENCE_ISSUER is not an issuer"), "{issuer}");
        let origins = parse("", &[("CADENCE_CORS_ORIGINS", "https://a.example, *")]).unwrap_err();
        assert!(origins.starts_with("CADENCE_CORS_ORIGINS has `*`"), "{origins}");
    }

    #[test]
    fn a_secret_is_set_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("secret");
        let path = file.display().to_string();
        std::fs::write(&file, "a secret from a file, long enough\n").unwrap();
        let from_file = ("CADENCE_SECRET_FILE", path.as_str());
        let config = parse("", &[from_file]).unwrap();
        assert_eq!(config.secret.unwrap().0, "a secret from a file, long enough");
        let both = parse("", &[from_file, ("CADENCE_SECRET", "another secret, long enough too")]);
        assert!(both.unwrap_err().ends_with("are both set"));
        std::fs::write(&file, "\n").unwrap();
        let empty = parse("", &[from_file]).unwrap_err();
        assert_eq!(empty, "CADENCE_SECRET_FILE: the file is empty");
    }

    #[test]
    fn the_secret_that_everybody_knows_stays_on_loopback() {
        let secret = ("CADENCE_EDGE_SECRET", DEVELOPMENT_EDGE_SECRET);
        assert!(parse("", &[secret]).is_ok());
        let elsewhere = ("CADENCE_ISSUER", "https://id.example");
        let refused = parse("", &[secret, elsewhere]).unwrap_err();
        assert!(refused.starts_with("CADENCE_EDGE_SECRET is the one of development"), "{refused}");
        let own = ("CADENCE_EDGE_SECRET", "a secret that only two know, and long");
        let second = ("CADENCE_EDGE_SECRET_SECOND", DEVELOPMENT_EDGE_SECRET);
        let refused = parse("", &[own, second, elsewhere]).unwrap_err();
        assert!(refused.starts_with("CADENCE_EDGE_SECRET_SECOND is the one of"), "{refused}");
    }
}
