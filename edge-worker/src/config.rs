//! Settings: the only reader of the worker's bindings.

use core::cmp::Reverse;
use std::cell::OnceCell;
use std::rc::Rc;

use serde::Deserialize;
use shared::client::ClientId;
use shared::cookie::{CookiePolicy, SameSite};
use shared::cors::WebOrigin;
use shared::edge_keys::EdgeKeys;
use shared::endpoint::{Endpoint, INTERNAL};
use shared::issuer::Issuer;
use shared::metadata::ProviderMetadata;
use shared::scope::Scope;
use shared::sign_in::Cookies;
use worker::Env;

use crate::{gateway, route};

/// Everything that can be set, and what follows from it.
pub(crate) struct Config {
    /// `CADENCE_ISSUER`: where the world finds this server.
    pub(crate) issuer: Issuer,
    /// `CADENCE_ORIGIN_URL`: where the edge finds the origin; without a trailing slash.
    pub(crate) origin_url: String,
    /// `CADENCE_CORS_ORIGINS`: browser origins that may call the API, beside those of the clients.
    pub(crate) cors_origins: Vec<WebOrigin>,
    /// `CADENCE_TRUST_CF_CONNECTING_IP`: whether the header `CF-Connecting-IP` names the client.
    pub(crate) trust_connecting_ip: TrustConnectingIp,
    /// The keys that the origin has, too; derived from `CADENCE_EDGE_SECRET` and, while that is
    /// being changed, `CADENCE_EDGE_SECRET_SECOND`.
    pub(crate) keys: EdgeKeys,
    /// `CADENCE_UPSTREAMS`: APIs behind the gateway, the longest prefix first.
    pub(crate) upstreams: Vec<Upstream>,
    /// The backend-for-frontend; `None` where there is none.
    pub(crate) bff: Option<Bff>,
    /// The discovery document, as the origin writes it.
    pub(crate) metadata: String,
}

/// What the backend-for-frontend is, and may do.
#[derive(PartialEq, Eq)]
pub(crate) struct Bff {
    /// `CADENCE_BFF_CLIENT_ID`: the confidential client that it is.
    pub(crate) client_id: ClientId,
    /// `CADENCE_BFF_CLIENT_SECRET`: that client's secret.
    pub(crate) client_secret: String,
    /// `CADENCE_BFF_SCOPE`: what its sign-ins ask for; `openid` among it.
    pub(crate) scope: String,
    /// `CADENCE_BFF_SAME_SITE`: of its session cookie.
    pub(crate) same_site: SameSite,
    /// `CADENCE_BFF_API`: the paths at and below which it reaches APIs.
    pub(crate) api: Vec<String>,
}

/// An API behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// The path at and below which it is, as in `/api/notes`.
    pub(crate) prefix: String,
    /// Where it is: `http(s)://host[:port]`. Paths stay as they are.
    pub(crate) url: String,
    /// The scope that every request needs, if any.
    pub(crate) scope: Option<String>,
    /// The audience that a token for it has.
    pub(crate) audience: String,
}

/// When `CF-Connecting-IP` is believed. The platform sets it over whatever a client sends; a bare
/// workerd passes the client's own through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustConnectingIp {
    /// On the platform, which says in `request.cf` where it runs: the default.
    OnPlatform,
    /// Behind a proxy that sets it.
    Always,
    /// Nowhere.
    Never,
}

/// A setting that cannot be used: names the key, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSetting {
    /// The key.
    pub(crate) key: &'static str,
    /// What it takes.
    pub(crate) takes: &'static str,
}

/// The edge secret of the development settings in `wrangler.toml`: everybody knows it, so only an
/// issuer on a loopback host may use it.
const DEVELOPMENT_EDGE_SECRET: &str = "development-only-edge-secret";

/// Bytes that the edge secret has at least.
const SECRET_LEN: usize = 24;

thread_local! {
    static CONFIG: OnceCell<Result<Rc<Config>, BadSetting>> = const { OnceCell::new() };
}

impl Config {
    /// Returns the settings of this isolate, read once: bindings do not change while one lives.
    ///
    /// # Errors
    /// [`BadSetting`].
    pub(crate) fn of(env: &Env) -> Result<Rc<Self>, BadSetting> {
        let binding =
            |key: &str| js_sys::Reflect::get(env, &key.into()).ok().and_then(|it| it.as_string());
        CONFIG.with(|config| config.get_or_init(|| Self::parse(binding).map(Rc::new)).clone())
    }

    /// Returns where sign-ins are kept.
    pub(crate) fn cookies(&self) -> Cookies<'_> {
        Cookies { policy: CookiePolicy::new(&self.issuer), keys: &self.keys.transactions }
    }

    /// Makes the settings from named values.
    ///
    /// # Errors
    /// [`BadSetting`].
    fn parse(setting: impl Fn(&str) -> Option<String>) -> Result<Self, BadSetting> {
        let text = |key| setting(key).filter(|text| !text.is_empty());
        let bad = |key, takes| BadSetting { key, takes };
        let issuer = text("CADENCE_ISSUER").and_then(|text| Issuer::parse(&text).ok()).ok_or(
            bad("CADENCE_ISSUER", "https://host[:port], or http:// on a loopback host, no path"),
        )?;
        let origin_url = text("CADENCE_ORIGIN_URL")
            .and_then(|url| origin_url(&url))
            .ok_or(bad("CADENCE_ORIGIN_URL", "http(s)://host[:port] without a path"))?;
        let edge_secret =
            text("CADENCE_EDGE_SECRET")
                .filter(|secret| secret.len() >= SECRET_LEN)
                .ok_or(bad("CADENCE_EDGE_SECRET", "at least 24 bytes, the same as the origin's"))?;
        let second = text("CADENCE_EDGE_SECRET_SECOND");
        if second.as_ref().is_some_and(|secret| secret.len() < SECRET_LEN) {
            return Err(bad("CADENCE_EDGE_SECRET_SECOND", "at least 24 bytes, as the origin's"));
        }
        let both = [
            ("CADENCE_EDGE_SECRET", Some(&edge_secret)),
            ("CADENCE_EDGE_SECRET_SECOND", second.as_ref()),
        ];
        for (key, secret) in both {
            let is_known = secret.is_some_and(|secret| secret == DEVELOPMENT_EDGE_SECRET);
            if is_known && !issuer.is_loopback_http() {
                let takes = "a secret of its own: the one of development is known to everybody";
                return Err(bad(key, takes));
            }
        }
        let cors_origins = cors_origins(&text("CADENCE_CORS_ORIGINS").unwrap_or_default()).ok_or(
            bad("CADENCE_CORS_ORIGINS", "browser origins (https://host[:port]) between commas"),
        )?;
        let trust_connecting_ip = match text("CADENCE_TRUST_CF_CONNECTING_IP").as_deref() {
            None => TrustConnectingIp::OnPlatform,
            Some("true") => TrustConnectingIp::Always,
            Some("false") => TrustConnectingIp::Never,
            Some(_) => return Err(bad("CADENCE_TRUST_CF_CONNECTING_IP", "true or false")),
        };
        let metadata = serde_json::to_string(&ProviderMetadata::new(&issuer))
            .map_err(|_| bad("CADENCE_ISSUER", "an issuer that JSON can hold"))?;
        let keys = EdgeKeys::derive(edge_secret.as_bytes(), second.as_deref().map(str::as_bytes));
        let upstreams = upstreams(&text("CADENCE_UPSTREAMS").unwrap_or_default())
            .map_err(|takes| bad("CADENCE_UPSTREAMS", takes))?;
        let bff = bff(text, &upstreams)?;
        Ok(Self {
            issuer,
            origin_url,
            cors_origins,
            trust_connecting_ip,
            keys,
            upstreams,
            bff,
            metadata,
        })
    }
}

/// Reads what the backend-for-frontend is. Without a client there is none.
fn bff(
    text: impl Fn(&'static str) -> Option<String>,
    upstreams: &[Upstream],
) -> Result<Option<Bff>, BadSetting> {
    let bad = |key, takes| BadSetting { key, takes };
    let Some(client_id) = text("CADENCE_BFF_CLIENT_ID") else { return Ok(None) };
    let client_id = ClientId::parse(&client_id)
        .map_err(|_| bad("CADENCE_BFF_CLIENT_ID", "the client_id of a registered client"))?;
    let client_secret = text("CADENCE_BFF_CLIENT_SECRET").ok_or(bad(
        "CADENCE_BFF_CLIENT_SECRET",
        "the secret of the client in CADENCE_BFF_CLIENT_ID",
    ))?;
    let scope = text("CADENCE_BFF_SCOPE").unwrap_or_else(|| "openid profile email".to_owned());
    if !Scope::parse(&scope).is_ok_and(|scope| scope.contains("openid")) {
        return Err(bad("CADENCE_BFF_SCOPE", "scope tokens between spaces, openid among them"));
    }
    let same_site = match text("CADENCE_BFF_SAME_SITE").as_deref() {
        None | Some("Strict") => SameSite::Strict,
        Some("Lax") => SameSite::Lax,
        Some(_) => return Err(bad("CADENCE_BFF_SAME_SITE", "Strict or Lax")),
    };
    let api = text("CADENCE_BFF_API").unwrap_or_else(|| r#"["/api/me"]"#.to_owned());
    let api: Vec<String> = serde_json::from_str(&api)
        .map_err(|_| bad("CADENCE_BFF_API", r#"a JSON list of paths, like ["/api/me"]"#))?;
    let leads_somewhere = |path: &String| {
        let own = [Endpoint::Me, Endpoint::ApiLogout];
        let is_own = own.iter().any(|endpoint| endpoint.path() == path);
        is_own || upstreams.iter().any(|upstream| route::is_at_or_below(path, &upstream.prefix))
    };
    if !api.iter().all(|path| gateway::is_plain(path) && leads_somewhere(path)) {
        let takes =
            "paths of the edge's own API (/api/me, /api/auth/logout) or of CADENCE_UPSTREAMS";
        return Err(bad("CADENCE_BFF_API", takes));
    }
    Ok(Some(Bff { client_id, client_secret, scope, same_site, api }))
}

/// Reads the list of upstreams, which is JSON.
fn upstreams(text: &str) -> Result<Vec<Upstream>, &'static str> {
    const LIST: &str = r#"a JSON list of {"prefix", "url", "scope", "audience"}"#;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut upstreams: Vec<Upstream> = serde_json::from_str(text).map_err(|_| LIST)?;
    for upstream in &mut upstreams {
        let prefix = &upstream.prefix;
        let is_prefix = prefix.starts_with('/')
            && prefix.len() > 1
            && prefix.split('/').skip(1).all(|segment| {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~.".contains(&byte);
                !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain)
            });
        if !is_prefix {
            return Err("prefixes like /api/notes, without a slash at the end");
        }
        let is_own = |own: &&str| route::is_at_or_below(prefix, own);
        if ["/oauth2", "/.well-known", INTERNAL, "/bff"].iter().any(is_own) {
            return Err("prefixes that are not the server's own");
        }
        upstream.url = origin_url(&upstream.url).ok_or("URLs http(s)://host[:port], no path")?;
        if upstream.audience.is_empty() {
            return Err("an audience for every upstream");
        }
        if upstream.scope.as_ref().is_some_and(|scope| {
            Scope::parse(scope).map_or(true, |scope| scope.tokens().count() != 1)
        }) {
            return Err("one scope token for an upstream, or none");
        }
    }
    upstreams.sort_by_key(|upstream| Reverse(upstream.prefix.len()));
    if upstreams.windows(2).any(|pair| matches!(pair, [a, b] if a.prefix == b.prefix)) {
        return Err("each prefix once");
    }
    Ok(upstreams)
}

/// Reads the origin's URL: a scheme and an authority, nothing behind them.
fn origin_url(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let good = matches!(scheme, "http" | "https")
        && !authority.is_empty()
        && authority.bytes().all(is_plain);
    good.then(|| format!("{scheme}://{authority}"))
}

/// Reads browser origins between commas.
fn cors_origins(text: &str) -> Option<Vec<WebOrigin>> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| WebOrigin::parse(item).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("CADENCE_ISSUER", "http://localhost:8787"),
        ("CADENCE_ORIGIN_URL", "http://127.0.0.1:8888/"),
        ("CADENCE_EDGE_SECRET", DEVELOPMENT_EDGE_SECRET),
        ("CADENCE_CORS_ORIGINS", "https://app.example, http://localhost:5173,"),
    ];

    fn parse(changes: &[(&str, &str)]) -> Result<Config, BadSetting> {
        Config::parse(|key| {
            let mut pairs = changes.iter().chain(&GOOD);
            pairs.find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_development_settings_are_good() {
        let config = parse(&[]).ok().unwrap();
        assert_eq!(config.issuer.as_str(), "http://localhost:8787");
        assert_eq!(config.origin_url, "http://127.0.0.1:8888");
        assert_eq!(config.cors_origins.len(), 2);
        assert_eq!(config.trust_connecting_ip, TrustConnectingIp::OnPlatform);
        assert!(config.metadata.starts_with(r#"{"issuer":"http://localhost:8787","#));
    }

    #[test]
    fn a_bad_setting_is_named() {
        for (key, value) in [
            ("CADENCE_ISSUER", ""),
            ("CADENCE_ISSUER", "https://id.example/"),
            ("CADENCE_ISSUER", "http://id.example"),
            ("CADENCE_ORIGIN_URL", ""),
            ("CADENCE_ORIGIN_URL", "127.0.0.1:8888"),
            ("CADENCE_ORIGIN_URL", "http://127.0.0.1:8888/path"),
            ("CADENCE_ORIGIN_URL", "http://user@origin"),
            ("CADENCE_EDGE_SECRET", ""),
            ("CADENCE_EDGE_SECRET", "short"),
            ("CADENCE_CORS_ORIGINS", "*"),
            ("CADENCE_CORS_ORIGINS", "https://app.example/"),
            ("CADENCE_TRUST_CF_CONNECTING_IP", "yes"),
            ("CADENCE_EDGE_SECRET_SECOND", "short"),
            ("CADENCE_BFF_CLIENT_ID", "bff\n"),
            ("CADENCE_UPSTREAMS", "x"),
            ("CADENCE_UPSTREAMS", "{}"),
            ("CADENCE_UPSTREAMS", r#"[{"prefix":"/api/notes","url":"http://127.0.0.1:9090"}]"#),
        ] {
            let refused = parse(&[(key, value)]).err().map(|bad| bad.key);
            assert_eq!(refused, Some(key), "{key}={value}");
        }
    }

    #[test]
    fn a_backend_for_frontend_is_a_client_with_a_list_of_apis() {
        assert!(parse(&[]).ok().unwrap().bff.is_none(), "there is none unless it is set");
        let client = [("CADENCE_BFF_CLIENT_ID", "bff"), ("CADENCE_BFF_CLIENT_SECRET", "s")];
        let notes = r#"[{"prefix":"/api/notes","url":"http://127.0.0.1:9090","audience":"a"}]"#;
        let with = |more: &[(&str, &str)]| {
            let upstreams = [("CADENCE_UPSTREAMS", notes)];
            parse(&[&client[..], &upstreams, more].concat()).map(|config| config.bff.unwrap())
        };
        let bff = with(&[]).ok().unwrap();
        assert_eq!((bff.client_id.as_str(), bff.client_secret.as_str()), ("bff", "s"));
        assert_eq!((bff.scope.as_str(), bff.same_site), ("openid profile email", SameSite::Strict));
        assert_eq!(bff.api, ["/api/me"]);
        let wide = r#"["/api/me","/api/notes","/api/notes/shared"]"#;
        let more = [("CADENCE_BFF_SAME_SITE", "Lax"), ("CADENCE_BFF_API", wide)];
        let bff = with(&more).ok().unwrap();
        assert_eq!((bff.same_site, bff.api.len()), (SameSite::Lax, 3));
        for (key, value) in [
            ("CADENCE_BFF_SCOPE", "profile"),
            ("CADENCE_BFF_SCOPE", "openid \"x"),
            ("CADENCE_BFF_SAME_SITE", "None"),
            ("CADENCE_BFF_API", "/api/me"),
            ("CADENCE_BFF_API", r#"["/api"]"#),
            ("CADENCE_BFF_API", r#"["/api/notes2"]"#),
            ("CADENCE_BFF_API", r#"["/api/notes/../me"]"#),
            ("CADENCE_BFF_API", r#"["/oauth2/token"]"#),
            ("CADENCE_BFF_API", r#"["/"]"#),
        ] {
            let refused = with(&[(key, value)]).err().map(|bad| bad.key);
            assert_eq!(refused, Some(key), "{key}={value}");
        }
        let refused = parse(&client[..1]).err().map(|bad| bad.key);
        assert_eq!(refused, Some("CADENCE_BFF_CLIENT_SECRET"));
    }

    #[test]
    fn upstreams_are_listed_with_the_longest_prefix_first() {
        let upstream = |prefix: &str, url: &str, rest: &str| {
            format!(r#"{{"prefix":"{prefix}","url":"{url}","audience":"a"{rest}}}"#)
        };
        let read = |list: &[String]| upstreams(&format!("[{}]", list.join(",")));
        let notes = upstream("/api/notes", "http://127.0.0.1:9090/", r#","scope":"notes:read""#);
        let archive = upstream("/api/notes/archive", "https://archive.example", "");
        let both = read(&[notes.clone(), archive]).unwrap();
        assert_eq!(both[0].prefix, "/api/notes/archive");
        assert_eq!(both[1].url, "http://127.0.0.1:9090");
        assert_eq!(both[1].scope.as_deref(), Some("notes:read"));
        assert_eq!(upstreams("[]"), Ok(vec![]));
        for bad in [
            upstream("/", "http://a", ""),
            upstream("api", "http://a", ""),
            upstream("/api/", "http://a", ""),
            upstream("/api/../x", "http://a", ""),
            upstream("/api/a%2fb", "http://a", ""),
            upstream("/oauth2/x", "http://a", ""),
            upstream("/.well-known", "http://a", ""),
            upstream("/internal", "http://a", ""),
            upstream("/api/x", "http://a/path", ""),
            upstream("/api/x", "ftp://a", ""),
            upstream("/api/x", "http://a", r#","scope":"two tokens""#),
            upstream("/api/x", "http://a", r#","scope":"""#),
            upstream("/api/x", "http://a", r#","extra":1"#),
        ] {
            assert!(read(std::slice::from_ref(&bad)).is_err(), "{bad}");
        }
        assert!(read(&[notes.clone(), notes]).is_err(), "the same prefix twice");
    }

    #[test]
    fn the_secret_of_development_stays_there() {
        let refused = parse(&[("CADENCE_ISSUER", "https://id.example")]).err();
        assert_eq!(refused.map(|bad| bad.key), Some("CADENCE_EDGE_SECRET"));
        let own = [
            ("CADENCE_ISSUER", "https://id.example"),
            ("CADENCE_EDGE_SECRET", "a secret that nobody else knows"),
        ];
        assert!(parse(&own).is_ok());
        let second = ("CADENCE_EDGE_SECRET_SECOND", DEVELOPMENT_EDGE_SECRET);
        let refused = parse(&[own[0], own[1], second]).err().map(|bad| bad.key);
        assert_eq!(refused, Some("CADENCE_EDGE_SECRET_SECOND"));
    }
}
